//! The little encoder and decoder behind every byte layout of this crate.
//!
//! Integers are little-endian and fixed width; lists are a `u16` or `u32` count and their items. Every layout begins with
//! four bytes of magic and one version byte, and decoding refuses bytes left over, so a layout has exactly one encoding.

use thiserror::Error;

/// Foreign bytes were not what they should have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("cut short")]
    Truncated,
    /// Bytes are left over after the value.
    #[error("followed by {0} unexpected bytes")]
    Trailing(usize),
    /// The first bytes name another kind of value.
    #[error("not a {0}")]
    WrongMagic(&'static str),
    /// A version that this program does not know.
    #[error("of version {0}, which this program does not know")]
    UnknownVersion(u8),
    /// A field has a value that is not allowed.
    #[error("invalid: {0}")]
    Invalid(&'static str),
}

/// Appends values to a byte vector.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Starts a layout with its magic and version.
    #[must_use]
    pub fn new(magic: &[u8; 4], version: u8) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(magic);
        bytes.push(version);
        Self { bytes }
    }

    /// Makes room for so many bytes, where more are to come than usual.
    pub fn reserve(&mut self, more: usize) -> &mut Self {
        self.bytes.reserve(more);
        self
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes.push(value);
        self
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// The bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// The finished bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Takes values from a byte slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads the magic and the version; `what` names the layout in errors.
    ///
    /// # Errors
    /// [`DecodeError::WrongMagic`], [`DecodeError::UnknownVersion`] or [`DecodeError::Truncated`].
    pub fn new(bytes: &'a [u8], magic: &[u8; 4], version: u8, what: &'static str) -> Result<Self, DecodeError> {
        let mut reader = Self { rest: bytes };
        if reader.take(4)? != magic {
            return Err(DecodeError::WrongMagic(what));
        }
        match reader.u8()? {
            found if found == version => Ok(reader),
            other => Err(DecodeError::UnknownVersion(other)),
        }
    }

    /// Reads a layout that has no magic of its own because another one contains it.
    #[must_use]
    pub fn bare(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Ends the layout.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] if bytes are left.
    pub fn end(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing(left)),
        }
    }
}
