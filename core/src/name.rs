//! Encrypted names as everybody but their owner sees them: a synthetic IV of 16 bytes and the padded name.
//!
//! The server compares them byte by byte; only the client makes and reads them (`cyx-crypto`). Their length tells the length
//! of the name in steps of 16 and nothing more.

use std::fmt;

use thiserror::Error;

use crate::units::{NAME_MAX, NAME_PADDING};

/// Bytes of the synthetic IV in front of the encrypted name.
pub const IV_LEN: usize = 16;
/// Fewest bytes of an encrypted name.
pub const ENCRYPTED_NAME_MIN: usize = IV_LEN + NAME_PADDING;
/// Most bytes of an encrypted name: 255 bytes, padded to 256.
pub const ENCRYPTED_NAME_MAX: usize = IV_LEN + (NAME_MAX / NAME_PADDING + 1) * NAME_PADDING;

/// A name under its directory's key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncryptedName(Vec<u8>);

/// Some bytes cannot be an encrypted name because of their length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an encrypted name has {ENCRYPTED_NAME_MIN} to {ENCRYPTED_NAME_MAX} bytes in steps of {NAME_PADDING}, not {0}")]
pub struct InvalidEncryptedName(pub usize);

impl EncryptedName {
    /// Checks the length.
    ///
    /// # Errors
    /// [`InvalidEncryptedName`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, InvalidEncryptedName> {
        let len = bytes.len();
        if (ENCRYPTED_NAME_MIN..=ENCRYPTED_NAME_MAX).contains(&len) && len.is_multiple_of(NAME_PADDING) {
            Ok(Self(bytes))
        } else {
            Err(InvalidEncryptedName(len))
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl TryFrom<&[u8]> for EncryptedName {
    type Error = InvalidEncryptedName;
    fn try_from(bytes: &[u8]) -> Result<Self, InvalidEncryptedName> {
        match bytes.len() {
            len if len > ENCRYPTED_NAME_MAX => Err(InvalidEncryptedName(len)),
            _ => Self::new(bytes.to_vec()),
        }
    }
}

impl fmt::Debug for EncryptedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptedName({})", hex::encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_possible_lengths_are_accepted() {
        let accepted: Vec<usize> = (0..400).filter(|len| EncryptedName::new(vec![0; *len]).is_ok()).collect();
        let expected: Vec<usize> = (32..=272).step_by(16).collect();
        assert_eq!(accepted, expected);
        assert!(EncryptedName::try_from(&[0; 33][..]).is_err());
    }
}
