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
fn what_gives_way_to_others_takes_no_room_and_holds_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let blob = BlobId::random();
    let store = FrameStore::open(folder.path(), 10 * 16_432).unwrap();
    (0..8).for_each(|at| store.put(blob, at, &frame(u8::try_from(at).unwrap(), 16_400)));
    for left in [4, 2, 1, 0, 0] {
        store.give_way();
        assert_eq!((store.used(), store.capacity()), (left * 16_400, left * 16_400));
        assert_eq!(std::fs::metadata(folder.path().join("frames")).unwrap().len(), left * 16_400);
        (0..left).for_each(|at| assert_eq!(get(&store, blob, at, 16_400).unwrap()[0], u8::try_from(at).unwrap()));
        assert!(!store.has(blob, left..left + 1));
        if left > 1 {
            // It goes on with what it has.
            store.put(blob, 20, &frame(20, 16_400));
            assert!(store.has(blob, 20..21) && !store.has(blob, 0..1) && store.used() == left * 16_400);
            store.forget(blob, 20..21);
            store.put(blob, 0, &frame(0, 16_400));
        }
    }
    store.put(blob, 0, &frame(1, 16_400));
    assert!(!store.has(blob, 0..1));
    drop(store);
    let store = FrameStore::open(folder.path(), 10 * 16_432).unwrap();
    assert_eq!((store.used(), store.capacity()), (0, 10 * 16_400));
}

#[test]
fn runs_of_frames_are_found_wherever_there_was_room_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (BlobId::random(), BlobId::random());
    let long: Vec<u8> = (0..8).flat_map(|at| frame(at, if at == 7 { 900 } else { 16_400 })).collect();
    let read = |store: &FrameStore, blob| {
        let mut sealed = vec![0; long.len()];
        store.get_run(blob, 3, 16_400, &mut sealed).then_some(sealed)
    };
    {
        let store = FrameStore::open(folder.path(), 20 * 16_432).unwrap();
        store.put_run(one, 3, 16_400, &long);
        assert!(read(&store, one).unwrap() == long);
        // Gaps between what stays, one of which is filled by a frame that is there before its run.
        store.forget(one, 4..6);
        store.forget(one, 8..9);
        store.put(two, 5, &frame(2, 16_400));
        store.put_run(two, 3, 16_400, &long);
        assert!(read(&store, one).is_none() && read(&store, two).unwrap() == long);
    }
    let store = FrameStore::open(folder.path(), 20 * 16_432).unwrap();
    assert!(read(&store, two).unwrap() == long);
    assert_eq!(get(&store, one, 7, 16_400).unwrap(), frame(4, 16_400));
    assert_eq!(store.used(), 13 * 16_400);
    store.put_run(one, 3, 16_400, &long);
    assert!(read(&store, one).unwrap() == long && read(&store, two).unwrap() == long);
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
    fn what_was_not_used_for_longest_makes_room(steps in prop::collection::vec((0..5_u8, 0..12_u64, 1..5_u64), 1..120)) {
        let folder = tempfile::tempdir().unwrap();
        let store = FrameStore::open(folder.path(), 5 * 16_432).unwrap();
        let blob = BlobId([9; 16]);
        let mut model: VecDeque<u64> = VecDeque::new();
        for (action, at, count) in steps {
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
                2 => {
                    let bytes: Vec<u8> = (at..at + count).flat_map(|at| frame(u8::try_from(at).unwrap(), 50)).collect();
                    store.put_run(blob, at, 50, &bytes);
                    let new: Vec<u64> = (at..at + count).filter(|at| !model.contains(at)).collect();
                    while model.len() + new.len() > 5 {
                        model.pop_front();
                    }
                    model.extend(new);
                }
                3 => {
                    let mut bytes = vec![0; 50 * usize::try_from(count).unwrap()];
                    let found = store.get_run(blob, at, 50, &mut bytes);
                    prop_assert_eq!(found, (at..at + count).all(|at| model.contains(&at)));
                    // Those before one that is missing were looked at as well.
                    for at in (at..at + count).take_while(|at| model.contains(at)).collect::<Vec<_>>() {
                        model.retain(|other| *other != at);
                        model.push_back(at);
                    }
                    if found {
                        let same = (at..).zip(bytes.chunks(50)).all(|(at, one)| one == frame(u8::try_from(at).unwrap(), 50));
                        prop_assert!(same);
                    }
                }
                _ => {
                    store.forget(blob, at..at + 1);
                    model.retain(|other| *other != at);
                }
            }
            for at in 0..16 {
                prop_assert_eq!(store.has(blob, at..at + 1), model.contains(&at));
            }
        }
    }
}
