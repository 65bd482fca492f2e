//! The tree of extents against a plain model: one entry for every byte of the file.

use std::ops::Range;

use cyx_core::extent::tree::{self, ExtentTreeError, PAGE_FILL};
use cyx_core::extent::{BlobHeader, Built, Child, Extent, OFFSET_MAX, Page, PageId, PageMap, check_new};
use cyx_core::ids::BlobId;
use proptest::prelude::*;

use crate::support::Numbers;

/// An extent of a blob of 1 MiB.
pub(crate) fn extent(file_offset: u64, len: u64, blob: u8, blob_offset: u64) -> Extent {
    Extent {
        file_offset,
        len,
        blob: BlobId([blob; 16]),
        blob_offset,
        key_epoch: 1,
        header: BlobHeader::new(1 << 20).unwrap(),
        wrapped_key: [blob; 60],
    }
}

/// What each byte of a file is: a byte of a blob, or a hole.
type Model = Vec<Option<(BlobId, u64)>>;

/// A file whose pages are all kept.
struct File {
    pages: PageMap,
    root: PageId,
}

impl File {
    fn empty() -> Self {
        Self { pages: PageMap::new(), root: PageId::EMPTY }
    }

    fn take(&mut self, built: &Built) {
        for (id, bytes) in &built.pages {
            assert_eq!(PageId::of(bytes), *id);
            self.pages.insert(*id, Page::decode(bytes).unwrap());
        }
        self.root = built.root;
    }

    fn replace(&mut self, range: Range<u64>, new: &[Extent]) {
        let built = tree::replace(&self.pages, self.root, range, new).unwrap();
        self.take(&built);
    }

    fn extents(&self, range: Range<u64>) -> Vec<Extent> {
        tree::extents_in(&self.pages, self.root, range).unwrap()
    }

    fn depth(&self) -> u8 {
        self.pages.get(&self.root).map_or(0, |page| page.level() + 1)
    }
}

fn spread(extents: &[Extent], len: usize) -> Model {
    let mut model = vec![None; len];
    for extent in extents {
        for at in 0..extent.len {
            let place = &mut model[usize::try_from(extent.file_offset + at).unwrap()];
            assert_eq!(*place, None, "two extents hold byte {}", extent.file_offset + at);
            *place = Some((extent.blob, extent.blob_offset + at));
        }
    }
    model
}

fn many(count: u64, step: u64) -> Vec<Extent> {
    (0..count).map(|at| extent(at * step, step, u8::try_from(at % 251).unwrap(), at % 1000)).collect()
}

#[test]
fn a_file_without_extents_has_no_pages() {
    let built = tree::build(&[]).unwrap();
    assert_eq!(built, Built { root: PageId::EMPTY, pages: vec![] });
    assert_eq!(tree::extents_in(&PageMap::new(), PageId::EMPTY, 0..OFFSET_MAX), Ok(vec![]));
    let mut file = File::empty();
    file.replace(0..10, &[extent(0, 10, 1, 0)]);
    file.replace(0..10, &[]);
    assert_eq!(file.root, PageId::EMPTY);
}

#[test]
fn partly_covered_extents_are_cut() {
    let mut file = File::empty();
    file.replace(0..100, &[extent(0, 100, 1, 50)]);
    file.replace(30..40, &[extent(32, 5, 2, 0)]);
    let expected = [extent(0, 30, 1, 50), extent(32, 5, 2, 0), extent(40, 60, 1, 90)];
    assert_eq!(file.extents(0..OFFSET_MAX), expected);
    assert_eq!(file.extents(30..32), []);
    assert_eq!(file.extents(31..33), expected[1..2]);
    let built = tree::truncate(&file.pages, file.root, 50).unwrap();
    file.take(&built);
    assert_eq!(file.extents(0..OFFSET_MAX)[2], extent(40, 10, 1, 90));
}

#[test]
fn a_large_tree_is_changed_in_few_pages() {
    let count = 70_000;
    let mut file = File::empty();
    file.take(&tree::build(&many(count, 10)).unwrap());
    assert_eq!(file.depth(), 3);
    let before = file.pages.len();
    let built = tree::replace(&file.pages, file.root, 123_455..123_465, &[extent(123_455, 10, 9, 0)]).unwrap();
    assert!(built.pages.len() <= 5, "{} pages for one extent", built.pages.len());
    assert!(built.pages.iter().all(|(id, _)| !file.pages.contains_key(id)));
    file.take(&built);
    assert!(file.pages.len() > before);
    assert_eq!(
        file.extents(123_450..123_470).iter().map(|e| (e.file_offset, e.len)).collect::<Vec<_>>(),
        [(123_450, 5), (123_455, 10), (123_465, 5)]
    );
    // Nearly all of it at once, over the borders of inner pages.
    file.replace(5..count * 10 - 5, &[extent(5, 7, 1, 0)]);
    assert_eq!(file.extents(0..OFFSET_MAX).len(), 3);
    assert!(file.depth() <= 2, "what became small is not deep");
}

#[test]
fn a_file_that_grows_at_its_end_fills_its_pages() {
    let mut file = File::empty();
    let total = 3 * PAGE_FILL as u64;
    for at in 0..total {
        file.replace(at..at + 1, &[extent(at, 1, 1, 0)]);
    }
    let Some(Page::Branch { children, .. }) = file.pages.get(&file.root) else { panic!("one level is not enough") };
    assert_eq!(children.len(), 3);
    assert_eq!(file.extents(0..OFFSET_MAX).len() as u64, total);
}

#[test]
fn thinning_and_growing_again_and_again_never_makes_a_tree_too_deep() {
    let mut file = File::empty();
    for round in 0..12 {
        let base = round * 1_000_000;
        for at in 0..600 {
            let start = base + at * 10;
            file.replace(start..start + 10, &[extent(start, 10, 1, 0)]);
        }
        // Leaves a few extents far apart.
        file.replace(base + 15..base + 5_985, &[]);
        assert!(file.depth() <= 8);
    }
    assert_eq!(file.extents(0..OFFSET_MAX).len(), 12 * 4);
}

#[test]
fn a_missing_page_is_named() {
    let built = tree::build(&many(1000, 10)).unwrap();
    let mut pages = PageMap::new();
    assert_eq!(tree::extents_in(&pages, built.root, 0..1), Err(ExtentTreeError::MissingPage(built.root)));
    let (id, bytes) = built.pages.last().unwrap();
    pages.insert(*id, Page::decode(bytes).unwrap());
    let leaf = built.pages[1].0;
    let second = 10 * PAGE_FILL as u64;
    assert_eq!(tree::extents_in(&pages, built.root, second..second + 1), Err(ExtentTreeError::MissingPage(leaf)));
    assert_eq!(tree::replace(&pages, built.root, second..second + 1, &[]), Err(ExtentTreeError::MissingPage(leaf)));
    let reused = check_new(&pages, built.root, 10_000).unwrap().reused;
    assert_eq!(reused.len(), 4);
    assert!(built.pages.iter().filter(|(page, _)| page != id).all(|(page, _)| reused.iter().any(|r| r.id == *page)));
}

/// A tree of two leaves whose root is made by `change`.
fn tampered(change: impl FnOnce(&mut Vec<Child>)) -> (PageMap, PageId) {
    let mut file = File::empty();
    file.take(&tree::build(&many(2 * PAGE_FILL as u64, 10)).unwrap());
    let Some(Page::Branch { level, children }) = file.pages.get(&file.root) else { panic!("no branch") };
    let mut children = children.clone();
    change(&mut children);
    let page = Page::Branch { level: *level, children };
    let bytes = page.encode();
    let root = PageId::of(&bytes);
    file.pages.insert(root, Page::decode(&bytes).unwrap());
    (file.pages, root)
}

#[test]
fn pages_out_of_place_are_noticed() {
    let all = 0..OFFSET_MAX;
    let (pages, root) = tampered(|_| ());
    assert!(tree::extents_in(&pages, root, all.clone()).is_ok());
    let changes: [fn(&mut Vec<Child>); 4] = [
        // Swapped.
        |children| {
            let first = children[0].id;
            children[0].id = children[1].id;
            children[1].id = first;
        },
        // One twice.
        |children| children[1].id = children[0].id,
        // Not where it begins.
        |children| children[1].first_offset += 1,
        // The second begins inside the first.
        |children| children[1].first_offset -= 1,
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let (pages, root) = tampered(change);
        assert!(matches!(tree::extents_in(&pages, root, all.clone()), Err(ExtentTreeError::Misplaced(_))), "{at}");
        assert!(matches!(check_new(&pages, root, OFFSET_MAX), Err(ExtentTreeError::Misplaced(_))), "{at}");
    }
}

#[test]
fn a_page_of_another_level_is_noticed() {
    let (mut pages, root) = tampered(|_| ());
    let children = pages[&root].children().to_vec();
    let page = Page::Branch { level: 3, children };
    let id = PageId::of(&page.encode());
    pages.insert(id, page);
    assert!(matches!(tree::extents_in(&pages, id, 0..1), Err(ExtentTreeError::Misplaced(_))));
    assert!(matches!(check_new(&pages, id, OFFSET_MAX), Err(ExtentTreeError::Misplaced(_))));
}

#[test]
fn bytes_beyond_the_size_are_noticed() {
    let mut file = File::empty();
    file.take(&tree::build(&many(2 * PAGE_FILL as u64, 10)).unwrap());
    let size = 20 * PAGE_FILL as u64;
    assert_eq!(check_new(&file.pages, file.root, size).unwrap().new.len(), 3);
    assert!(matches!(check_new(&file.pages, file.root, size - 1), Err(ExtentTreeError::Misplaced(_))));
    let unknown = check_new(&PageMap::new(), file.root, size).unwrap();
    assert_eq!(unknown.reused.len(), 1);
    assert!(unknown.reused[0].check(&file.pages[&file.root]).is_ok());
}

#[test]
fn extents_that_do_not_belong_are_refused() {
    let pages = PageMap::new();
    let refused: [(Range<u64>, Vec<Extent>); 5] = [
        (0..10, vec![extent(0, 6, 1, 0), extent(5, 5, 2, 0)]),
        (0..10, vec![extent(5, 5, 1, 0), extent(0, 5, 2, 0)]),
        (0..10, vec![extent(0, 11, 1, 0)]),
        (5..10, vec![extent(4, 1, 1, 0)]),
        (5..5, vec![extent(5, 1, 1, 0)]),
    ];
    for (range, new) in refused {
        assert!(
            matches!(tree::replace(&pages, PageId::EMPTY, range, &new), Err(ExtentTreeError::OutOfOrder(_))),
            "{new:?}"
        );
    }
    let beyond_blob = extent(0, 10, 1, 1 << 20);
    assert!(matches!(tree::build(&[beyond_blob]), Err(ExtentTreeError::InvalidExtent(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Random writes and truncations, small enough to make many pages, against the model.
    #[test]
    fn changes_do_what_the_model_does(seed: u64, start in 0_u64..2000) {
        const LEN: usize = 3000;
        let mut numbers = Numbers(seed);
        let mut file = File::empty();
        file.take(&tree::build(&many(start, 1)).unwrap());
        let mut model = spread(&file.extents(0..OFFSET_MAX), LEN);
        for _ in 0..30 {
            let (old_root, old_model) = (file.root, model.clone());
            let from = numbers.below(LEN - 1);
            let to = match numbers.below(4) {
                0 => LEN,
                _ => from + 1 + numbers.below((LEN - from).min(400)),
            };
            let mut new = Vec::new();
            let mut at = from;
            // One change in five only punches a hole.
            while numbers.below(5) != 0 {
                at += numbers.below(3);
                let len = 1 + numbers.below(8);
                if at + len > to {
                    break;
                }
                let blob_offset = numbers.next() % 1000;
                new.push(extent(at as u64, len as u64, numbers.next().to_le_bytes()[0], blob_offset));
                at += len;
            }
            let end = if to == LEN { OFFSET_MAX } else { to as u64 };
            let built = tree::replace(&file.pages, file.root, from as u64..end, &new).unwrap();
            file.take(&built);
            model[from..to].fill(None);
            for (place, byte) in model.iter_mut().zip(spread(&new, LEN)) {
                *place = byte.or(*place);
            }
            prop_assert!(spread(&file.extents(0..OFFSET_MAX), LEN) == model, "after {}..{}", from, to);
            let found = check_new(&file.pages, file.root, LEN as u64).unwrap();
            prop_assert!(found.reused.is_empty());
            // What was there before is still there: nothing is changed in place.
            let old = tree::extents_in(&file.pages, old_root, 0..OFFSET_MAX).unwrap();
            prop_assert!(spread(&old, LEN) == old_model);
            // Any part is found as part of the whole.
            let from = numbers.below(LEN) as u64;
            let part = from..from + 1 + numbers.next() % 300;
            let all = file.extents(0..OFFSET_MAX);
            let expected: Vec<Extent> = all.into_iter().filter(|e| e.clip(&part).is_some()).collect();
            prop_assert_eq!(file.extents(part), expected);
        }
    }

    /// A rebuilt tree and a changed one hold the same, and both are canonical pages.
    #[test]
    fn only_new_pages_are_sent(count in 1_u64..3000, at in 0_u64..3000) {
        let mut file = File::empty();
        file.take(&tree::build(&many(count, 4)).unwrap());
        let built = tree::replace(&file.pages, file.root, at..at + 2, &[extent(at, 2, 77, 5)]).unwrap();
        let new: PageMap = built.pages.iter().map(|(id, bytes)| (*id, Page::decode(bytes).unwrap())).collect();
        let found = check_new(&new, built.root, OFFSET_MAX).unwrap();
        prop_assert_eq!(found.new.len(), built.pages.len());
        for reused in &found.reused {
            prop_assert!(reused.check(&file.pages[&reused.id]).is_ok());
        }
    }
}
