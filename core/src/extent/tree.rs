//! The copy-on-write B+tree of pages: every change makes new pages up to a new root and leaves the old ones as they are.
//!
//! Everything here is pure. Pages come from a [`PageSource`]; when one is missing the error names it, so that a caller whose
//! pages lie elsewhere can fetch it and try again.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use thiserror::Error;

use super::page::LEVEL_MAX;
use super::{Child, Extent, OFFSET_MAX, Page, PageId};
use crate::wire::DecodeError;

/// Entries that a page gets when pages are made. Well below the most that is allowed, because a change re-sends whole
/// pages: a full leaf of this size is 30 KiB.
pub const PAGE_FILL: usize = 256;

/// Where pages come from. They must have passed [`Page::decode`] and must hash to the id they are asked for by.
pub trait PageSource {
    /// The page of this id, if it is at hand.
    fn page(&self, id: PageId) -> Option<&Page>;
}

/// Pages in memory.
pub type PageMap = HashMap<PageId, Page>;

impl PageSource for PageMap {
    fn page(&self, id: PageId) -> Option<&Page> {
        self.get(&id)
    }
}

impl<S: PageSource + ?Sized> PageSource for &S {
    fn page(&self, id: PageId) -> Option<&Page> {
        (**self).page(id)
    }
}

/// Why a tree cannot be read or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ExtentTreeError {
    /// The source has no such page.
    #[error("extent page {0} is missing")]
    MissingPage(PageId),
    /// A page does not lie where the page above it says, or on another level.
    #[error("extent page {0} is not in its place")]
    Misplaced(PageId),
    /// The new extents are not sorted, overlap, or leave the range they replace.
    #[error("the extents from byte {0} on are out of order")]
    OutOfOrder(u64),
    /// An extent is not possible.
    #[error("the extent is {0}")]
    InvalidExtent(#[from] DecodeError),
}

/// A new tree: its root and the pages that did not exist before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Built {
    /// The root, [`PageId::EMPTY`] if there are no extents.
    pub root: PageId,
    /// New pages with their canonical bytes, the lower before the higher.
    pub pages: Vec<(PageId, Vec<u8>)>,
}

/// Makes a tree of sorted extents.
///
/// # Errors
/// [`ExtentTreeError::OutOfOrder`] or [`ExtentTreeError::InvalidExtent`].
pub fn build(extents: &[Extent]) -> Result<Built, ExtentTreeError> {
    check_extents(extents, &(0..OFFSET_MAX))?;
    Ok(grow(Entries::Extents(extents.to_vec()), true, Vec::new()))
}

/// Replaces what the file bytes `range` are, and nothing else. Extents that lie partly in the range are cut; `new` may leave
/// holes. Truncation is [`truncate`].
///
/// # Errors
/// [`ExtentTreeError`].
pub fn replace(
    source: &impl PageSource,
    root: PageId,
    range: Range<u64>,
    new: &[Extent],
) -> Result<Built, ExtentTreeError> {
    check_extents(new, &range)?;
    if range.is_empty() {
        return Ok(Built { root, pages: Vec::new() });
    }
    if root == PageId::EMPTY || (range.start == 0 && range.end >= OFFSET_MAX) {
        return build(new);
    }
    let mut editor = Editor { source, range: &range, new, pages: Vec::new() };
    let edited = editor.edit(load_root(source, root)?, OFFSET_MAX, true)?;
    if edited.entries.top_level() > LEVEL_MAX {
        // Only a tree that was thinned out again and again gets here: building it anew packs it tight.
        let (before, after) = (0..range.start, range.end..OFFSET_MAX);
        let clipped = |part: Range<u64>| -> Result<Vec<Extent>, ExtentTreeError> {
            Ok(extents_in(source, root, part.clone())?.iter().filter_map(|extent| extent.clip(&part)).collect())
        };
        return build(&[clipped(before)?, new.to_vec(), clipped(after)?].concat());
    }
    let built = grow(edited.entries, edited.ends_with_new, editor.pages);
    shrink(source, built)
}

/// Drops everything from byte `size` on.
///
/// # Errors
/// [`ExtentTreeError`].
pub fn truncate(source: &impl PageSource, root: PageId, size: u64) -> Result<Built, ExtentTreeError> {
    replace(source, root, size..OFFSET_MAX.max(size), &[])
}

/// The extents that have bytes in the file bytes `range`, whole and in order; [`Extent::clip`] cuts them.
///
/// # Errors
/// [`ExtentTreeError`].
pub fn extents_in(source: &impl PageSource, root: PageId, range: Range<u64>) -> Result<Vec<Extent>, ExtentTreeError> {
    let mut found = Vec::new();
    if root != PageId::EMPTY && !range.is_empty() {
        collect(source, load_root(source, root)?, OFFSET_MAX, &range, &mut found)?;
    }
    Ok(found)
}

/// A page of an earlier version that a new tree goes on using, and the place it must fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reused {
    /// The page.
    pub id: PageId,
    /// The level it must have; `None` for a root, which may have any.
    pub level: Option<u8>,
    /// The first offset it must have; `None` for a root.
    pub first_offset: Option<u64>,
    /// No extent below it may reach beyond this file offset.
    pub upper: u64,
}

impl Reused {
    /// Checks that the page of this id fits its place, as far as can be seen without the pages below it.
    ///
    /// # Errors
    /// [`ExtentTreeError::Misplaced`].
    pub fn check(&self, page: &Page) -> Result<(), ExtentTreeError> {
        let reaches = match page {
            Page::Leaf(extents) => extents.last().map_or(0, Extent::end),
            Page::Branch { children, .. } => children.last().map_or(0, |last| last.first_offset.saturating_add(1)),
        };
        let fits = self.level.is_none_or(|level| level == page.level())
            && self.first_offset.is_none_or(|offset| offset == page.first_offset())
            && reaches <= self.upper;
        if fits { Ok(()) } else { Err(ExtentTreeError::Misplaced(self.id)) }
    }
}

/// What [`check_new`] found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NewTree {
    /// New pages that the root leads to, each once.
    pub new: Vec<PageId>,
    /// Pages that were not among the new ones, each once. The caller has to know them and to [`Reused::check`] them.
    pub reused: Vec<Reused>,
}

/// Checks the pages of a commit: follows them from the root as far as `new` goes.
///
/// # Errors
/// [`ExtentTreeError::Misplaced`] if a page is not where the one above it says, is used twice, or has bytes from `size` on. Never
/// [`ExtentTreeError::MissingPage`]: what is not among `new` is reported as reused.
pub fn check_new(new: &impl PageSource, root: PageId, size: u64) -> Result<NewTree, ExtentTreeError> {
    let mut found = NewTree::default();
    if root == PageId::EMPTY {
        return Ok(found);
    }
    let mut seen = HashSet::new();
    let mut waiting = vec![Reused { id: root, level: None, first_offset: None, upper: size.min(OFFSET_MAX) }];
    while let Some(place) = waiting.pop() {
        // Every page has one first offset, so a tree that uses one twice is out of order.
        if !seen.insert(place.id) {
            return Err(ExtentTreeError::Misplaced(place.id));
        }
        let Some(page) = new.page(place.id) else {
            found.reused.push(place);
            continue;
        };
        place.check(page)?;
        found.new.push(place.id);
        waiting.extend((0..page.children().len()).filter_map(|at| below(page, at, place.upper)));
    }
    Ok(found)
}

/// The place of a branch's child: the level below, its own first offset, and up to where its next sibling begins.
fn below(page: &Page, at: usize, upper: u64) -> Option<Reused> {
    let children = page.children();
    let child = children.get(at)?;
    Some(Reused {
        id: child.id,
        level: page.level().checked_sub(1),
        first_offset: Some(child.first_offset),
        upper: children.get(at + 1).map_or(upper, |next| next.first_offset),
    })
}

fn load<S: PageSource>(source: &S, place: Reused) -> Result<&Page, ExtentTreeError> {
    let page = source.page(place.id).ok_or(ExtentTreeError::MissingPage(place.id))?;
    place.check(page)?;
    Ok(page)
}

fn load_root<S: PageSource>(source: &S, root: PageId) -> Result<&Page, ExtentTreeError> {
    load(source, Reused { id: root, level: None, first_offset: None, upper: OFFSET_MAX })
}

fn check_extents(extents: &[Extent], range: &Range<u64>) -> Result<(), ExtentTreeError> {
    let mut at = range.start;
    for extent in extents {
        extent.check()?;
        if extent.file_offset < at || extent.end() > range.end {
            return Err(ExtentTreeError::OutOfOrder(extent.file_offset));
        }
        at = extent.end();
    }
    Ok(())
}

fn collect(
    source: &impl PageSource,
    page: &Page,
    upper: u64,
    range: &Range<u64>,
    found: &mut Vec<Extent>,
) -> Result<(), ExtentTreeError> {
    match page {
        Page::Leaf(extents) => {
            let first = extents.partition_point(|extent| extent.end() <= range.start);
            found.extend(extents[first..].iter().take_while(|extent| extent.file_offset < range.end).cloned());
        }
        Page::Branch { children, .. } => {
            let first = children.partition_point(|child| child.first_offset <= range.start).saturating_sub(1);
            let last = children.partition_point(|child| child.first_offset < range.end);
            for place in (first..last).filter_map(|at| below(page, at, upper)) {
                collect(source, load(source, place)?, place.upper, range, found)?;
            }
        }
    }
    Ok(())
}

/// The entries of one level: what a page of it would hold if pages had no limit.
enum Entries {
    Extents(Vec<Extent>),
    Children(u8, Vec<Child>),
}

impl Entries {
    fn len(&self) -> usize {
        match self {
            Self::Extents(extents) => extents.len(),
            Self::Children(_, children) => children.len(),
        }
    }

    const fn level(&self) -> u8 {
        match self {
            Self::Extents(_) => 0,
            Self::Children(level, _) => *level,
        }
    }

    /// The level of the root that these entries end under.
    fn top_level(&self) -> u8 {
        let (mut level, mut len) = (self.level(), self.len());
        while len > PAGE_FILL {
            (level, len) = (level + 1, len.div_ceil(PAGE_FILL));
        }
        level
    }

    /// Appends entries that [`load`] has found to be of the same level.
    fn append(&mut self, more: Self) {
        match (self, more) {
            (Self::Extents(all), Self::Extents(more)) => all.extend(more),
            (Self::Children(_, all), Self::Children(_, more)) => all.extend(more),
            (Self::Extents(_), Self::Children(..)) | (Self::Children(..), Self::Extents(_)) => {}
        }
    }

    /// Cuts the entries into pages and returns the references to them. A file that grows at its end fills its pages; a
    /// change in the middle leaves room on both sides.
    fn into_pages(mut self, at_the_end: bool, pages: &mut Vec<(PageId, Vec<u8>)>) -> Vec<Child> {
        let parts = self.len().div_ceil(PAGE_FILL);
        let mut children = Vec::with_capacity(parts);
        for part in 0..parts {
            let take = if at_the_end { PAGE_FILL.min(self.len()) } else { self.len() / (parts - part) };
            let page = self.split_page(take);
            let bytes = page.encode();
            let id = PageId::of(&bytes);
            children.push(Child { first_offset: page.first_offset(), id });
            pages.push((id, bytes));
        }
        children
    }

    fn split_page(&mut self, take: usize) -> Page {
        match self {
            Self::Extents(extents) => Page::Leaf(extents.drain(..take).collect()),
            Self::Children(level, children) => {
                Page::Branch { level: *level, children: children.drain(..take).collect() }
            }
        }
    }
}

/// Builds levels until one page is left.
fn grow(mut entries: Entries, at_the_end: bool, mut pages: Vec<(PageId, Vec<u8>)>) -> Built {
    loop {
        let level = entries.level();
        let children = entries.into_pages(at_the_end, &mut pages);
        match children.as_slice() {
            [] => return Built { root: PageId::EMPTY, pages },
            [only] => return Built { root: only.id, pages },
            _ => entries = Entries::Children(level + 1, children),
        }
    }
}

/// Removes roots that have one child.
fn shrink(source: &impl PageSource, built: Built) -> Result<Built, ExtentTreeError> {
    let Built { mut root, mut pages } = built;
    while root != PageId::EMPTY {
        let fresh = pages.iter().position(|(id, _)| *id == root);
        let child = match fresh {
            Some(at) => only_child(&Page::decode(&pages[at].1)?),
            None => only_child(source.page(root).ok_or(ExtentTreeError::MissingPage(root))?),
        };
        let Some(child) = child else { break };
        if let Some(at) = fresh {
            pages.remove(at);
        }
        root = child;
    }
    Ok(Built { root, pages })
}

fn only_child(page: &Page) -> Option<PageId> {
    match page.children() {
        [only] => Some(only.id),
        _ => None,
    }
}

/// One change on its way down the tree and up again.
struct Editor<'a, S> {
    source: &'a S,
    range: &'a Range<u64>,
    new: &'a [Extent],
    pages: Vec<(PageId, Vec<u8>)>,
}

/// What is left of a page after a change, as entries of its level.
struct Edited {
    entries: Entries,
    /// Whether nothing follows the new extents.
    ends_with_new: bool,
}

impl<S: PageSource> Editor<'_, S> {
    /// Puts the change into `page`, below which nothing reaches beyond `upper`. `place_new` is false on the way to the last
    /// of several pages, whose new extents have already been placed.
    fn edit(&mut self, page: &Page, upper: u64, place_new: bool) -> Result<Edited, ExtentTreeError> {
        match page {
            Page::Leaf(extents) => Ok(self.edit_leaf(extents, place_new)),
            Page::Branch { level, children } => self.edit_branch(page, *level, children, upper, place_new),
        }
    }

    fn edit_leaf(&self, extents: &[Extent], place_new: bool) -> Edited {
        let before = 0..self.range.start;
        let after = self.range.end..OFFSET_MAX;
        let mut entries: Vec<Extent> = extents.iter().filter_map(|extent| extent.clip(&before)).collect();
        if place_new {
            entries.extend_from_slice(self.new);
        }
        let len = entries.len();
        entries.extend(extents.iter().filter_map(|extent| extent.clip(&after)));
        Edited { ends_with_new: place_new && entries.len() == len, entries: Entries::Extents(entries) }
    }

    fn edit_branch(
        &mut self,
        page: &Page,
        level: u8,
        children: &[Child],
        upper: u64,
        place_new: bool,
    ) -> Result<Edited, ExtentTreeError> {
        let source = self.source;
        // The first child that the change touches takes the new extents; the last one loses its beginning; those between
        // lie in the range entirely and are dropped unread.
        let first = children.partition_point(|child| child.first_offset <= self.range.start).saturating_sub(1);
        let end = children.partition_point(|child| child.first_offset < self.range.end).max(first + 1);
        let Some(place) = below(page, first, upper) else { return Err(ExtentTreeError::Misplaced(PageId::EMPTY)) };
        let mut edited = self.edit(load(source, place)?, place.upper, place_new)?;
        if let Some(place) = below(page, end - 1, upper).filter(|place| end - 1 > first && place.upper > self.range.end)
        {
            let last = self.edit(load(source, place)?, place.upper, false)?;
            edited.ends_with_new &= last.entries.len() == 0;
            edited.entries.append(last.entries);
        }
        let ends_with_new = edited.ends_with_new && end == children.len();
        let middle = edited.entries.into_pages(ends_with_new, &mut self.pages);
        let entries = [&children[..first], &middle, &children[end..]].concat();
        Ok(Edited { entries: Entries::Children(level, entries), ends_with_new })
    }
}
