//! Extents and the copy-on-write pages that hold them.

/// BLAKE3 of a page's canonical bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PageId(pub [u8; 32]);

impl PageId {
    /// The root of a file without extents: 32 zero bytes, which no page hashes to.
    pub const EMPTY: Self = Self([0; 32]);
}
