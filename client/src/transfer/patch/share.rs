//! Ranges that are those of another file: no content moves. The keys of the same blobs are wrapped under this file's key.

use std::ops::Range;

use cyx_core::extent::Extent;
use cyx_crypto::keys::InodeKey;

use crate::error::Result;
use crate::transfer::content::rewrapped;
use crate::transfer::reader::FileReader;

/// A range of a file that is a range of a version of a file of the same bucket.
pub struct Shared {
    /// The range.
    pub range: Range<u64>,
    /// The version.
    pub from: FileReader,
    /// Where the range begins there.
    pub offset: u64,
}

impl Shared {
    /// The extents that the range gets.
    pub(super) async fn extents(&self, key: &InodeKey) -> Result<Vec<Extent>> {
        let len = self.range.end - self.range.start;
        let there = self.offset..self.offset.saturating_add(len);
        let found = self.from.extents_in(there.clone()).await?;
        let moved = found.iter().filter_map(|extent| extent.clip(&there)).map(|extent| {
            let mut own = rewrapped(&extent, self.from.keyring(), key)?;
            own.file_offset = self.range.start + (extent.file_offset - there.start);
            Ok(own)
        });
        moved.collect()
    }
}
