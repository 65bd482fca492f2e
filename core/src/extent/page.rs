//! A page: a leaf of extents or a branch of pages, in one canonical encoding.
//!
//! ```text
//! "cyxP" 1 | level u8 | count u16 | entries
//! level 0:  extents, 117 bytes each, sorted by file offset, not overlapping
//! level 1+: children, first_offset u64 | page id 32, sorted by first offset, all of the level below
//! ```
//! `first_offset` is the file offset of the first extent below that child.

use super::{EXTENT_LEN, Extent, PageId};
use crate::ids::BlobId;
use crate::units::PAGE_ENTRIES_MAX;
use crate::wire::{DecodeError, Reader, Writer};

const MAGIC: &[u8; 4] = b"cyxP";
const VERSION: u8 = 1;
const CHILD_LEN: usize = 40;
/// Highest level of a page. Eight levels of even a few entries hold more than any file has.
pub const LEVEL_MAX: u8 = 7;

/// A branch's reference to a page below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Child {
    /// File offset of the first extent below it.
    pub first_offset: u64,
    /// The page.
    pub id: PageId,
}

/// One page of a file's extents. Never empty: a file without extents has the root [`PageId::EMPTY`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Page {
    /// Extents.
    Leaf(Vec<Extent>),
    /// Pages of the level below.
    Branch {
        /// At least 1.
        level: u8,
        /// The pages.
        children: Vec<Child>,
    },
}

impl Page {
    /// 0 for a leaf.
    #[must_use]
    pub const fn level(&self) -> u8 {
        match self {
            Self::Leaf(_) => 0,
            Self::Branch { level, .. } => *level,
        }
    }

    /// File offset of the first extent at or below it.
    #[must_use]
    pub fn first_offset(&self) -> u64 {
        match self {
            Self::Leaf(extents) => extents.first().map_or(0, |extent| extent.file_offset),
            Self::Branch { children, .. } => children.first().map_or(0, |child| child.first_offset),
        }
    }

    /// The pages it refers to, none for a leaf.
    #[must_use]
    pub fn children(&self) -> &[Child] {
        match self {
            Self::Leaf(_) => &[],
            Self::Branch { children, .. } => children,
        }
    }

    /// The extents it holds, none for a branch.
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        match self {
            Self::Leaf(extents) => extents,
            Self::Branch { .. } => &[],
        }
    }

    /// The blobs its extents use, once per extent: what a page that exists keeps alive.
    pub fn blobs(&self) -> impl Iterator<Item = BlobId> + '_ {
        self.extents().iter().map(|extent| extent.blob)
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(MAGIC, VERSION);
        writer.u8(self.level());
        match self {
            Self::Leaf(extents) => {
                writer.u16(u16::try_from(extents.len()).unwrap_or(u16::MAX));
                for extent in extents {
                    extent.write(&mut writer);
                }
            }
            Self::Branch { children, .. } => {
                writer.u16(u16::try_from(children.len()).unwrap_or(u16::MAX));
                for child in children {
                    writer.u64(child.first_offset).raw(&child.id.0);
                }
            }
        }
        writer.finish()
    }

    /// Reads a page and checks everything that can be checked without other pages.
    ///
    /// # Errors
    /// [`DecodeError`] for anything but the canonical bytes of a page of 1 ..= [`PAGE_ENTRIES_MAX`] entries.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, MAGIC, VERSION, "page of extents")?;
        let level = reader.u8()?;
        if level > LEVEL_MAX {
            return Err(DecodeError::Invalid("page level"));
        }
        let count = usize::from(reader.u16()?);
        if count == 0 || count > PAGE_ENTRIES_MAX {
            return Err(DecodeError::Invalid("number of page entries"));
        }
        let entry_len = if level == 0 { EXTENT_LEN } else { CHILD_LEN };
        // Before anything is allocated: a short page cannot claim many entries.
        if reader.remaining() < count * entry_len {
            return Err(DecodeError::Truncated);
        }
        let page = if level == 0 {
            Self::Leaf((0..count).map(|_| Extent::read(&mut reader)).collect::<Result<_, _>>()?)
        } else {
            let child = |_| Ok(Child { first_offset: reader.u64()?, id: PageId(reader.array()?) });
            Self::Branch { level, children: (0..count).map(child).collect::<Result<_, _>>()? }
        };
        reader.end()?;
        page.check_order()?;
        Ok(page)
    }

    fn check_order(&self) -> Result<(), DecodeError> {
        let sorted = match self {
            Self::Leaf(extents) => extents.is_sorted_by(|a, b| a.end() <= b.file_offset),
            Self::Branch { children, .. } => {
                children.is_sorted_by(|a, b| a.first_offset < b.first_offset)
                    && children.iter().all(|child| child.id != PageId::EMPTY && child.first_offset < super::OFFSET_MAX)
            }
        };
        if sorted { Ok(()) } else { Err(DecodeError::Invalid("page entries out of order")) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::BlobHeader;
    use super::*;

    fn extent(file_offset: u64, len: u64) -> Extent {
        Extent {
            file_offset,
            len,
            blob: BlobId([1; 16]),
            blob_offset: 3,
            key_epoch: 2,
            header: BlobHeader::new(1000).unwrap(),
            wrapped_key: [9; 60],
        }
    }

    #[test]
    fn both_kinds_round_trip() {
        let leaf = Page::Leaf(vec![extent(0, 10), extent(10, 5), extent(100, 1)]);
        let id = PageId::of(&leaf.encode());
        let children = vec![Child { first_offset: 0, id }, Child { first_offset: 7, id }];
        for page in [leaf, Page::Branch { level: 1, children }] {
            assert_eq!(Page::decode(&page.encode()), Ok(page));
        }
    }

    #[test]
    fn pages_that_are_not_canonical_are_refused() {
        let id = PageId([1; 32]);
        let child = |first_offset| Child { first_offset, id };
        let too_many = (0..=PAGE_ENTRIES_MAX as u64).map(child).collect();
        let refused = [
            Page::Leaf(vec![]),
            Page::Leaf(vec![extent(0, 10), extent(9, 5)]),
            Page::Leaf(vec![extent(5, 1), extent(0, 1)]),
            Page::Leaf(vec![extent(0, 0)]),
            Page::Leaf(vec![extent(0, 998)]),
            Page::Leaf(vec![extent(super::super::OFFSET_MAX, 1)]),
            Page::Branch { level: 1, children: vec![] },
            Page::Branch { level: 1, children: vec![child(4), child(4)] },
            Page::Branch { level: 1, children: vec![child(4), child(3)] },
            Page::Branch { level: 1, children: vec![Child { first_offset: 0, id: PageId::EMPTY }] },
            Page::Branch { level: LEVEL_MAX + 1, children: vec![child(1)] },
            Page::Branch { level: 1, children: too_many },
        ];
        for page in refused {
            assert!(Page::decode(&page.encode()).is_err(), "{page:?}");
        }
        let mut longer = Page::Leaf(vec![extent(0, 1)]).encode();
        longer.push(0);
        assert_eq!(Page::decode(&longer), Err(DecodeError::Trailing(1)));
    }
}
