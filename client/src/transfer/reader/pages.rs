//! Extent pages: from memory, from the cache of this machine, from the server. A page is believed because its hash is the id by which
//! the page above it, or the commit, names it; so it does not matter where it comes from.

use std::ops::Range;

use cyx_core::extent::tree::extents_in;
use cyx_core::extent::{Extent, Page, PageId, TreeError};

use super::{FileReader, Map};
use crate::error::Result;

/// Pages of one file that are kept in memory; when there are more, those that are needed are asked for again.
const PAGES_KEPT: usize = 8192;

impl FileReader {
    /// The extents in a range, whole and in order.
    pub(crate) async fn extents_in(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        let mut map = self.shared.map.lock().await;
        self.extents_known(&mut map, range).await
    }

    /// As [`Self::extents_in`], for who holds the map.
    pub(super) async fn extents_known(&self, map: &mut Map, range: Range<u64>) -> Result<Vec<Extent>> {
        let version = &self.shared.version;
        let range = range.start..range.end.min(version.size());
        if range.is_empty() {
            return Ok(Vec::new());
        }
        if map.pages.len() > PAGES_KEPT {
            map.pages.clear();
        }
        loop {
            match extents_in(&map.pages, version.root(), range.clone()) {
                Ok(extents) if extents.last().is_none_or(|last| last.end() <= version.size()) => return Ok(extents),
                Err(TreeError::MissingPage(missing)) if self.page_from_cache(map, missing) => {}
                // The server is asked, or the error is told.
                _ => break,
            }
        }
        let extents = self.shared.bucket.extents(version, range, &mut map.pages).await?;
        self.keep_pages(map);
        Ok(extents)
    }

    fn page_from_cache(&self, map: &mut Map, id: PageId) -> bool {
        let bytes = self.shared.transfer.cache().and_then(|cache| cache.page(id));
        let page = bytes.filter(|bytes| PageId::of(bytes) == id).and_then(|bytes| Page::decode(&bytes).ok());
        page.is_some_and(|page| {
            map.pages.insert(id, page);
            true
        })
    }

    /// Gives pages that came from elsewhere to the cache.
    pub(super) fn keep_pages(&self, map: &Map) {
        let Some(cache) = self.shared.transfer.cache() else { return };
        for (id, page) in &map.pages {
            if !cache.has_page(*id) {
                cache.put_page(*id, &page.encode());
            }
        }
    }
}
