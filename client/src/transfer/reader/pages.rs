//! Extent pages: from memory, from the cache of this machine, from the server. A page is believed because its hash is the id by which
//! the page above it, or the commit, names it; so it does not matter where it comes from.

use std::ops::Range;
use std::sync::Mutex;

use cyx_core::extent::{Extent, Page, PageId, PageMap};

use super::{FileReader, Map, lock};
use crate::error::Result;
use crate::tree::version::{Known, extents_known, take_pages};

/// Pages of one file that are kept in memory; when there are more, those that are needed are asked for again.
const PAGES_KEPT: usize = 8192;
/// While somebody looks for extents, so many are: well below what counts as too many of one file.
const PAGES_MOST: usize = 4 * PAGES_KEPT;

/// Somebody who looks for extents. Pages that are too many are forgotten when nobody does: who looks for many finds them bit by bit. But
/// there may always be somebody.
struct Looking<'a>(&'a Mutex<Map>);

impl<'a> Looking<'a> {
    fn begin(map: &'a Mutex<Map>) -> Self {
        let mut known = lock(map);
        let most = if known.looking == 0 { PAGES_KEPT } else { PAGES_MOST };
        if known.pages.len() > most {
            known.pages.clear();
        }
        known.looking += 1;
        Self(map)
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        lock(self.0).looking -= 1;
    }
}

impl FileReader {
    /// The extents in a range, whole and in order.
    pub(crate) async fn extents_in(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        let version = &self.shared.version;
        let range = range.start..range.end.min(version.size());
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let _looking = Looking::begin(&self.shared.map);
        loop {
            let known = extents_known(&self.map().pages, version, &range)?;
            match known {
                Known::All(extents) => return Ok(extents),
                Known::Missing(missing) => self.find_pages(missing).await?,
            }
        }
    }

    /// Brings the first of some pages into memory, and the others if they are in the cache or the server is asked anyway.
    pub(super) async fn find_pages(&self, missing: Vec<PageId>) -> Result<()> {
        let Some(first) = missing.first().copied() else { return Ok(()) };
        let absent: Vec<PageId> = missing.into_iter().filter(|id| !self.page_from_cache(*id)).collect();
        if absent.first() != Some(&first) {
            return Ok(());
        }
        let _turn = self.shared.asking.lock().await;
        // Somebody may have asked for the same meanwhile.
        if self.map().pages.contains_key(&first) {
            return Ok(());
        }
        let mut found = PageMap::new();
        take_pages(self.shared.bucket.pages(absent).await?, &mut found)?;
        self.keep_pages(found.iter());
        self.map().pages.extend(found);
        Ok(())
    }

    fn page_from_cache(&self, id: PageId) -> bool {
        let bytes = self.shared.transfer.cache().and_then(|cache| cache.page(id));
        let page = bytes.filter(|bytes| PageId::of(bytes) == id).and_then(|bytes| Page::decode(&bytes).ok());
        page.is_some_and(|page| {
            self.map().pages.insert(id, page);
            true
        })
    }

    /// Gives pages that came from elsewhere to the cache.
    pub(super) fn keep_pages<'a>(&self, pages: impl Iterator<Item = (&'a PageId, &'a Page)>) {
        let Some(cache) = self.shared.transfer.cache() else { return };
        for (id, page) in pages {
            if !cache.has_page(*id) {
                cache.put_page(*id, &page.encode());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_forgotten_when_nobody_looks_or_they_are_far_too_many() {
        let map = Mutex::new(Map::default());
        let first = Looking::begin(&map);
        let fill = |to: usize| {
            let id = |number: usize| (PageId::of(&number.to_le_bytes()), Page::Leaf(Vec::new()));
            lock(&map).pages.extend((0..to).map(id));
        };
        fill(PAGES_KEPT + 1);
        let second = Looking::begin(&map);
        assert_eq!(lock(&map).pages.len(), PAGES_KEPT + 1);
        drop((first, second));
        let third = Looking::begin(&map);
        assert!(lock(&map).pages.is_empty());
        fill(PAGES_MOST + 1);
        drop(Looking::begin(&map));
        assert!(lock(&map).pages.is_empty(), "nobody looks for ever");
        drop(third);
    }
}
