//! New extent trees from those of a version. Only pages that change are made, over those that are known; a page that is not known is
//! found first, and meanwhile the file can be read.

use std::collections::HashMap;
use std::ops::Range;

use cyx_core::extent::{Extent, ExtentTreeError, OFFSET_MAX, Page, PageId, PageMap, PageSource, tree};

use super::FileReader;
use crate::error::{Error, Result};

/// Changes that lie closer together than this become one change of the tree.
const CLUSTER: u64 = 1 << 20;

/// A part of a file that gets new extents, or none.
pub(crate) struct Edit {
    pub(crate) range: Range<u64>,
    pub(crate) extents: Vec<Extent>,
}

/// Pages that were made, over those that are known.
struct Over<'a> {
    fresh: &'a Fresh,
    known: &'a PageMap,
}

type Fresh = HashMap<PageId, (Page, Vec<u8>)>;

impl PageSource for Over<'_> {
    fn page(&self, id: PageId) -> Option<&Page> {
        self.fresh.get(&id).map(|(page, _)| page).or_else(|| self.known.get(&id))
    }
}

impl FileReader {
    /// The tree of this version with other extents in some ranges, cut off at `size`. The edits are in order and do not overlap.
    pub(crate) async fn edited(&self, size: u64, edits: &[Edit]) -> Result<tree::Built> {
        let mut steps = Vec::new();
        let mut rest = edits;
        while let Some(first) = rest.first() {
            let mut end = first.range.end;
            let mut count = 1;
            while let Some(next) = rest.get(count).filter(|next| next.range.start.saturating_sub(end) <= CLUSTER) {
                end = next.range.end;
                count += 1;
            }
            let (cluster, behind) = rest.split_at(count);
            rest = behind;
            let span = first.range.start..end;
            let base = self.extents_in(span.clone()).await?;
            steps.push((span.clone(), overlaid(&base, span, cluster)));
        }
        if size < self.size() {
            steps.push((size..OFFSET_MAX, Vec::new()));
        }
        let mut root = self.shared.version.root();
        let mut fresh = Fresh::new();
        for (span, extents) in steps {
            let built = self.replaced(&fresh, root, span, &extents).await?;
            root = built.root;
            for (id, bytes) in built.pages {
                fresh.insert(id, (Page::decode(&bytes).map_err(Error::decode("an extent page"))?, bytes));
            }
        }
        // Every step made a new root; only pages that the last one leads to are part of the version.
        let mut pages = Vec::with_capacity(fresh.len());
        let mut made = PageMap::with_capacity(fresh.len());
        let mut waiting = vec![root];
        while let Some(id) = waiting.pop() {
            let Some((page, bytes)) = fresh.remove(&id) else { continue };
            waiting.extend(page.children().iter().map(|child| child.id));
            made.insert(id, page);
            pages.push((id, bytes));
        }
        self.keep_pages(made.iter());
        self.map().pages.extend(made);
        pages.reverse();
        Ok(tree::Built { root, pages })
    }

    async fn replaced(&self, fresh: &Fresh, root: PageId, span: Range<u64>, extents: &[Extent]) -> Result<tree::Built> {
        loop {
            let built = {
                let known = &self.map().pages;
                tree::replace(&Over { fresh, known }, root, span.clone(), extents)
            };
            match built {
                Err(ExtentTreeError::MissingPage(missing)) => self.find_pages(vec![missing]).await?,
                other => return Ok(other?),
            }
        }
    }
}

/// What a span holds when edits lie over the extents that were there.
fn overlaid(base: &[Extent], span: Range<u64>, edits: &[Edit]) -> Vec<Extent> {
    let mut out = Vec::with_capacity(base.len() + edits.len());
    let mut at = span.start;
    let between = |range: Range<u64>, out: &mut Vec<Extent>| {
        let first = base.partition_point(|extent| extent.end() <= range.start);
        let touched = base[first..].iter().take_while(|extent| extent.file_offset < range.end);
        out.extend(touched.filter_map(|extent| extent.clip(&range)));
    };
    for edit in edits {
        if at < edit.range.start {
            between(at..edit.range.start, &mut out);
        }
        out.extend(edit.extents.iter().cloned());
        at = edit.range.end;
    }
    if at < span.end {
        between(at..span.end, &mut out);
    }
    out
}
