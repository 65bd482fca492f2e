//! Extents: which bytes of which blob make up which bytes of a file.
//!
//! ```text
//! header: format u8 | frame_plain u32 | plain_len u64                                             13 bytes
//! extent: file_offset u64 | len u64 | blob 16 | blob_offset u64 | key_epoch u32 | header 13 | wrapped key 60
//! ```
//! An extent says nothing about *where* its blob lies: that is the server's business and may change without any key. A hole
//! is a range without extents. Extents live in pages ([`Page`]) that form a copy-on-write B+tree ([`tree`]).

use std::fmt;
use std::ops::Range;

use thiserror::Error;

use crate::ids::BlobId;
use crate::units::{FRAME_PLAIN, FRAME_TAG, KIB, MIB};
use crate::wire::{DecodeError, Reader, Writer};

mod page;
pub mod tree;

pub use page::{Child, LEVEL_MAX, Page};
pub use tree::{Built, ExtentTreeError, NewTree, PageMap, PageSource, Reused, check_new};

/// Files end here at the latest: offsets fit a signed 64-bit number, as the kernel wants them.
pub const OFFSET_MAX: u64 = i64::MAX as u64;
/// Most plain bytes of one blob.
pub const BLOB_PLAIN_MAX: u64 = 1024 * MIB;
/// Bytes of a wrapped blob key: nonce 12, key 32, tag 16.
pub const WRAPPED_BLOB_KEY_LEN: usize = 60;
/// Bytes of an encoded [`BlobHeader`].
pub const HEADER_LEN: usize = 13;
/// Bytes of an encoded [`Extent`].
pub const EXTENT_LEN: usize = 8 + 8 + 16 + 8 + 4 + HEADER_LEN + WRAPPED_BLOB_KEY_LEN;

/// BLAKE3 of a page's canonical bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageId(pub [u8; 32]);

impl PageId {
    /// The root of a file without extents: 32 zero bytes, which no page hashes to.
    pub const EMPTY: Self = Self([0; 32]);

    /// `BLAKE3(bytes)`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The bytes as a vector, as the wire and the database want them.
    #[must_use]
    pub fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl fmt::Display for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageId({self})")
    }
}

/// Some bytes are not a page id because they are not 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a page id: expected 32 bytes")]
pub struct InvalidPageId;

impl TryFrom<&[u8]> for PageId {
    type Error = InvalidPageId;
    fn try_from(bytes: &[u8]) -> Result<Self, InvalidPageId> {
        bytes.try_into().map(Self).map_err(|_| InvalidPageId)
    }
}

/// How a blob is cut into frames. A value of this type is always one that this program can read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BlobHeader {
    frame_plain: u32,
    plain_len: u64,
}

impl BlobHeader {
    /// Frames of AES-256-GCM, not compressed: the only format in use.
    pub const FORMAT_PLAIN: u8 = 1;
    /// Reserved for frames that were compressed before they were sealed; refused until then.
    pub const FORMAT_COMPRESSED: u8 = 2;

    /// The header of a new blob of `plain_len` bytes in frames of [`FRAME_PLAIN`].
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] unless the length is 1 ..= [`BLOB_PLAIN_MAX`]: there is no empty blob, because a file
    /// without bytes has no extents.
    pub fn new(plain_len: u64) -> Result<Self, DecodeError> {
        Self::with_frames(plain_len, u32::try_from(FRAME_PLAIN).unwrap_or(u32::MAX))
    }

    /// As [`Self::new`], with frames of `frame_plain` bytes, a power of two of 1 KiB ..= 1 MiB.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`].
    pub fn with_frames(plain_len: u64, frame_plain: u32) -> Result<Self, DecodeError> {
        if !frame_plain.is_power_of_two() || !(KIB..=MIB).contains(&u64::from(frame_plain)) {
            return Err(DecodeError::Invalid("frame size"));
        }
        if plain_len == 0 || plain_len > BLOB_PLAIN_MAX {
            return Err(DecodeError::Invalid("blob length"));
        }
        Ok(Self { frame_plain, plain_len })
    }

    /// The format, [`Self::FORMAT_PLAIN`].
    #[must_use]
    pub const fn format(self) -> u8 {
        Self::FORMAT_PLAIN
    }

    /// Plain bytes of each frame but the last.
    #[must_use]
    pub const fn frame_plain(self) -> u32 {
        self.frame_plain
    }

    /// Plain bytes of the blob, at least 1.
    #[must_use]
    pub const fn plain_len(self) -> u64 {
        self.plain_len
    }

    /// Frames of the blob, at least 1.
    #[must_use]
    pub const fn frames(self) -> u64 {
        self.plain_len.div_ceil(self.frame_plain as u64)
    }

    /// Bytes of the sealed blob: a tag more for each frame.
    #[must_use]
    pub const fn sealed_len(self) -> u64 {
        self.plain_len + self.frames() * FRAME_TAG
    }

    /// The frames that hold the plain bytes `range`. Empty for an empty range; what lies beyond the end is cut off.
    #[must_use]
    pub fn frames_of(self, range: Range<u64>) -> Range<u64> {
        let end = range.end.min(self.plain_len);
        if range.start >= end {
            return 0..0;
        }
        let size = u64::from(self.frame_plain);
        range.start / size..end.div_ceil(size)
    }

    /// Where the given frames lie in the plain blob.
    #[must_use]
    pub fn plain_range(self, frames: Range<u64>) -> Range<u64> {
        let at = |frame: u64| frame.saturating_mul(u64::from(self.frame_plain)).min(self.plain_len);
        at(frames.start)..at(frames.end)
    }

    /// Where the given frames lie in the sealed blob.
    #[must_use]
    pub fn sealed_range(self, frames: Range<u64>) -> Range<u64> {
        let at = |frame: u64| {
            frame.saturating_mul(u64::from(self.frame_plain).saturating_add(FRAME_TAG)).min(self.sealed_len())
        };
        at(frames.start)..at(frames.end)
    }

    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = self.format();
        bytes[1..5].copy_from_slice(&self.frame_plain.to_le_bytes());
        bytes[5..].copy_from_slice(&self.plain_len.to_le_bytes());
        bytes
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`], also for formats that this program does not know.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::bare(bytes);
        let header = Self::read(&mut reader)?;
        reader.end()?;
        Ok(header)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.u8()? != Self::FORMAT_PLAIN {
            return Err(DecodeError::Invalid("blob format"));
        }
        let (frame_plain, plain_len) = (reader.u32()?, reader.u64()?);
        Self::with_frames(plain_len, frame_plain)
    }
}

/// A run of a file's bytes and the run of a blob's bytes that it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extent {
    /// First byte in the file.
    pub file_offset: u64,
    /// Bytes, at least 1.
    pub len: u64,
    /// The blob.
    pub blob: BlobId,
    /// First plain byte in the blob.
    pub blob_offset: u64,
    /// Epoch of the file key that wraps the blob's key.
    pub key_epoch: u32,
    /// How the blob is cut into frames; authenticated by the wrap.
    pub header: BlobHeader,
    /// The blob's key under the file's key.
    pub wrapped_key: [u8; WRAPPED_BLOB_KEY_LEN],
}

impl Extent {
    /// The first byte in the file that is no longer part of it.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.file_offset.saturating_add(self.len)
    }

    /// The plain bytes of the blob that it uses.
    #[must_use]
    pub const fn blob_range(&self) -> Range<u64> {
        self.blob_offset..self.blob_offset.saturating_add(self.len)
    }

    /// The part of it inside the file bytes `range`, if any.
    #[must_use]
    pub fn clip(&self, range: &Range<u64>) -> Option<Self> {
        let (start, end) = (self.file_offset.max(range.start), self.end().min(range.end));
        let len = end.checked_sub(start).filter(|len| *len > 0)?;
        Some(Self {
            file_offset: start,
            len,
            blob_offset: self.blob_offset + (start - self.file_offset),
            ..self.clone()
        })
    }

    /// Checks that it has bytes, ends within a file and lies within its blob.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`].
    pub fn check(&self) -> Result<(), DecodeError> {
        if self.len == 0 {
            return Err(DecodeError::Invalid("extent without bytes"));
        }
        if self.file_offset.checked_add(self.len).is_none_or(|end| end > OFFSET_MAX) {
            return Err(DecodeError::Invalid("extent beyond the largest file"));
        }
        if self.blob_offset.checked_add(self.len).is_none_or(|end| end > self.header.plain_len) {
            return Err(DecodeError::Invalid("extent beyond its blob"));
        }
        Ok(())
    }

    fn write(&self, writer: &mut Writer) {
        writer.u64(self.file_offset).u64(self.len).raw(&self.blob.0).u64(self.blob_offset).u32(self.key_epoch);
        writer.raw(&self.header.to_bytes()).raw(&self.wrapped_key);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let extent = Self {
            file_offset: reader.u64()?,
            len: reader.u64()?,
            blob: BlobId(reader.array()?),
            blob_offset: reader.u64()?,
            key_epoch: reader.u32()?,
            header: BlobHeader::read(reader)?,
            wrapped_key: reader.array()?,
        };
        extent.check()?;
        Ok(extent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_cover_a_blob_without_gaps() {
        for plain in [1, 16_383, 16_384, 16_385, 5 << 20] {
            let header = BlobHeader::new(plain).unwrap();
            let (mut plain_at, mut sealed_at) = (0, 0);
            for frame in 0..header.frames() {
                let (plain, sealed) = (header.plain_range(frame..frame + 1), header.sealed_range(frame..frame + 1));
                assert_eq!((plain.start, sealed.start), (plain_at, sealed_at));
                assert_eq!(sealed.end - sealed.start, plain.end - plain.start + FRAME_TAG);
                (plain_at, sealed_at) = (plain.end, sealed.end);
            }
            assert_eq!((plain_at, sealed_at), (plain, header.sealed_len()));
        }
    }

    #[test]
    fn a_range_is_found_in_the_fewest_frames() {
        let header = BlobHeader::new(40_000).unwrap();
        assert_eq!(header.frames_of(0..1), 0..1);
        assert_eq!(header.frames_of(16_383..16_385), 0..2);
        assert_eq!(header.frames_of(16_384..32_768), 1..2);
        assert_eq!(header.frames_of(39_999..u64::MAX), 2..3);
        assert_eq!(header.frames_of(40_000..50_000), 0..0);
        assert_eq!(header.frames_of(7..7), 0..0);
    }

    #[test]
    fn unknown_formats_and_sizes_are_refused() {
        let bytes = BlobHeader::new(5).unwrap().to_bytes();
        assert_eq!(BlobHeader::from_bytes(&bytes), BlobHeader::new(5));
        for (at, value) in [(0, 0), (0, BlobHeader::FORMAT_COMPRESSED), (1, 1), (3, 1), (12, 1), (5, 0)] {
            let mut changed = bytes;
            changed[at] = value;
            assert!(BlobHeader::from_bytes(&changed).is_err(), "byte {at} = {value}");
        }
        assert!(BlobHeader::from_bytes(&bytes[..12]).is_err());
        assert!(BlobHeader::new(0).is_err());
        assert!(BlobHeader::new(BLOB_PLAIN_MAX + 1).is_err());
    }
}
