use std::collections::VecDeque;

use super::*;
use cyx_core::ids::Random as _;
use proptest::prelude::*;

fn frame(byte: u8, len: usize) -> Vec<u8> {
    vec![byte; len]
}

fn get(store: &FrameStore, blob: BlobId, at: u64, len: usize) -> Option<Vec<u8>> {
    let mut sealed = vec![0; len];
    store.get(blob, at, &mut sealed).then_some(sealed)
}

#[test]
fn frames_are_found_again_by_the_next_program() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (BlobId::random(), BlobId::random());
    {
        let store = FrameStore::open(folder.path(), 10 * 16_432).unwrap();
        store.put(one, 0, &frame(1, 16_400));
        store.put(two, 7, &frame(2, 100));
        store.put(two, 8, &frame(3, 100));
        store.forget(two, 8..9);
    }
    let store = FrameStore::open(folder.path(), 10 * 16_432).unwrap();
    assert!(store.has(one, 0..1) && !store.has(one, 0..2) && !store.has(two, 7..9));
    assert_eq!(get(&store, one, 0, 16_400).unwrap(), frame(1, 16_400));
    assert_eq!(get(&store, two, 7, 100).unwrap(), frame(2, 100));
    assert!(get(&store, two, 7, 101).is_none(), "a frame has one length");
    assert_eq!(store.used(), 2 * 16_400);
}

#[test]
fn a_smaller_cache_drops_what_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let blob = BlobId::random();
    {
        let store = FrameStore::open(folder.path(), 10 * 16_432).unwrap();
        (0..10).for_each(|at| store.put(blob, at, &frame(1, 16_400)));
    }
    let store = FrameStore::open(folder.path(), 4 * 16_432).unwrap();
    assert_eq!(store.used(), store.capacity());
    assert_eq!(std::fs::metadata(folder.path().join("frames")).unwrap().len(), 4 * 16_400);
    store.put(blob, 20, &frame(2, 16_400));
    assert_eq!(get(&store, blob, 20, 16_400).unwrap(), frame(2, 16_400));
    assert_eq!(store.used(), store.capacity());
}

#[test]
fn an_index_that_is_none_is_an_empty_cache() {
    let folder = tempfile::tempdir().unwrap();
    let blob = BlobId::random();
    FrameStore::open(folder.path(), 1 << 20).unwrap().put(blob, 0, &frame(1, 10));
    let whole = std::fs::read(folder.path().join("index")).unwrap();
    for cut in 0..whole.len() {
        std::fs::write(folder.path().join("index"), &whole[..cut]).unwrap();
        assert_eq!(FrameStore::open(folder.path(), 1 << 20).unwrap().used(), 0, "cut at {cut}");
    }
    for (at, value) in [(0, b'x'), (4, 2), (9, 1), (58, 9), (62, 1)] {
        let mut changed = whole.clone();
        changed[at] = value;
        std::fs::write(folder.path().join("index"), changed).unwrap();
        assert_eq!(FrameStore::open(folder.path(), 1 << 20).unwrap().used(), 0, "byte {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The cache holds exactly what a queue in the order of use holds.
    #[test]
    fn what_was_not_used_for_longest_makes_room(steps in prop::collection::vec((0..3_u8, 0..12_u64), 1..120)) {
        let folder = tempfile::tempdir().unwrap();
        let store = FrameStore::open(folder.path(), 5 * 16_432).unwrap();
        let blob = BlobId([9; 16]);
        let mut model: VecDeque<u64> = VecDeque::new();
        for (action, at) in steps {
            let bytes = frame(u8::try_from(at).unwrap(), 50);
            match action {
                0 => {
                    store.put(blob, at, &bytes);
                    if !model.contains(&at) {
                        if model.len() == 5 {
                            model.pop_front();
                        }
                        model.push_back(at);
                    }
                }
                1 => {
                    let found = get(&store, blob, at, 50);
                    prop_assert_eq!(found.is_some(), model.contains(&at));
                    if found.is_some() {
                        prop_assert_eq!(found.unwrap(), bytes);
                        model.retain(|other| *other != at);
                        model.push_back(at);
                    }
                }
                _ => {
                    store.forget(blob, at..at + 1);
                    model.retain(|other| *other != at);
                }
            }
            for at in 0..12 {
                prop_assert_eq!(store.has(blob, at..at + 1), model.contains(&at));
            }
        }
    }
}
