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
fn frames_that_cannot_be_read_are_kept_anew() {
    let folder = tempfile::tempdir().unwrap();
    let blob = BlobId::random();
    let store = FrameStore::open(folder.path(), 10 * 16_432).unwrap();
    (0..6).for_each(|at| store.put(blob, at, &frame(1, 16_400)));
    store.files.frames.set_len(3 * 16_400 + 100).unwrap();
    let mut sealed = vec![0; 6 * 16_400];
    assert!(store.has(blob, 0..6) && !store.get_run(blob, 0, 16_400, &mut sealed));
    store.put_run(blob, 0, 16_400, &vec![2; 6 * 16_400]);
    assert!(store.get_run(blob, 0, 16_400, &mut sealed), "what could not be read has made room");
    store.files.frames.set_len(3 * 16_400 + 100).unwrap();
    drop(store);
    let store = FrameStore::open(folder.path(), 10 * 16_432).unwrap();
    assert!(store.used() == 3 * 16_400, "the next run believes in nothing beyond the end");
}

/// Frames of a run that is worth a copy, each of which says which one it is.
fn long_run(first: u64, count: u64) -> Vec<u8> {
    (first..first + count).flat_map(|at| frame(u8::try_from(at % 251).unwrap(), 16_400)).collect()
}

fn get_long(store: &FrameStore, blob: BlobId, first: u64, count: u64) -> bool {
    let mut sealed = vec![0; usize::try_from(count).unwrap() * 16_400];
    store.get_run(blob, first, 16_400, &mut sealed) && sealed == long_run(first, count)
}

/// Waits until every copy is written.
fn settle(store: &FrameStore) {
    while !store.table().on_their_way.is_empty() {
        std::thread::yield_now();
    }
}

#[test]
fn long_runs_are_read_while_they_are_written_and_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let blob = BlobId::random();
    {
        let store = FrameStore::open(folder.path(), 1100 * 16_432).unwrap();
        // In the middle of a group and of a block, over the border of groups, and with a short frame at the end.
        store.put(blob, 5000, &frame(9, 100));
        store.put_run(blob, 3, 16_400, &long_run(3, 600));
        assert!(get_long(&store, blob, 3, 600), "from wherever they are");
        let mut tail = long_run(2000, 40);
        tail.truncate(39 * 16_400 + 7);
        store.put_run(blob, 2000, 16_400, &tail);
        let mut back = vec![0; tail.len()];
        assert!(store.get_run(blob, 2000, 16_400, &mut back) && back == tail);
        settle(&store);
        assert!(get_long(&store, blob, 3, 600), "from the file");
        back.fill(0);
        assert!(store.get_run(blob, 2000, 16_400, &mut back) && back == tail);
        store.put_run(blob, 700, 16_400, &long_run(700, 300));
        assert_eq!(store.used(), 941 * 16_400);
    }
    let store = FrameStore::open(folder.path(), 1100 * 16_432).unwrap();
    assert!(get_long(&store, blob, 3, 600) && get_long(&store, blob, 700, 300));
    assert_eq!(get(&store, blob, 5000, 100).unwrap(), frame(9, 100));
}

/// Whether there are copies, or the filesystem cannot write past the page cache.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn can_copy(store: &FrameStore) -> bool {
    let can = store.files.frames.is_direct();
    if !can {
        eprintln!("skipped: nothing is written past the page cache here");
    }
    can
}

#[test]
fn what_loses_its_slot_before_it_is_written_is_not_written_over_what_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (BlobId::random(), BlobId::random());
    let store = FrameStore::open(folder.path(), 100 * 16_432).unwrap();
    if !can_copy(&store) {
        return;
    }
    let writing = store.files.writing();
    store.put_run(one, 0, 16_400, &long_run(0, 100));
    assert_eq!(store.table().on_their_way.len(), 100);
    assert!(get_long(&store, one, 0, 100), "they are read from the copy");
    store.forget(one, 10..20);
    // Forgotten slots, then those of the frames that were not used for longest.
    (0..30).for_each(|at| store.put(two, at, &frame(200, 16_400)));
    drop(writing);
    settle(&store);
    (0..30).for_each(|at| assert_eq!(get(&store, two, at, 16_400).unwrap(), frame(200, 16_400)));
    let kept: Vec<u64> = (0..100).filter(|at| store.has(one, *at..at + 1)).collect();
    assert_eq!(kept.len(), 70);
    kept.iter().for_each(|at| assert!(get_long(&store, one, *at, 1), "{at}"));
}

#[test]
fn what_gives_way_is_not_written_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let blob = BlobId::random();
    let store = FrameStore::open(folder.path(), 100 * 16_432).unwrap();
    if !can_copy(&store) {
        return;
    }
    let writing = store.files.writing();
    store.put_run(blob, 0, 16_400, &long_run(0, 80));
    store.table().cut(40);
    drop(writing);
    settle(&store);
    assert!(get_long(&store, blob, 0, 40) && !store.has(blob, 40..41));
    drop(store);
    assert_eq!(std::fs::metadata(folder.path().join("frames")).unwrap().len(), 40 * 16_400);
}

#[test]
fn without_room_for_copies_frames_are_kept_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let blob = BlobId::random();
    let store = FrameStore::open(folder.path(), 900 * 16_432).unwrap();
    let writing = store.files.writing();
    (0..9).for_each(|run| store.put_run(blob, run * 100, 16_400, &long_run(run * 100, 100)));
    let coming = store.table().on_their_way.len();
    assert!(coming < 900, "{coming} are in memory");
    (0..9).for_each(|run| assert!(get_long(&store, blob, run * 100, 100)));
    drop(writing);
    settle(&store);
    (0..9).for_each(|run| assert!(get_long(&store, blob, run * 100, 100)));
}

#[test]
fn what_cannot_be_written_is_not_in_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let blob = BlobId::random();
    let store = FrameStore::open(folder.path(), 100 * 16_432).unwrap();
    store.put_run(blob, 0, 16_400, &long_run(0, 50));
    settle(&store);
    let copied = { store.behind.copy(0, (blob, 0), &long_run(0, 50)) };
    let Some(copied) = copied else { return };
    let mut table = store.table();
    (0..50).for_each(|slot| drop(table.on_their_way.insert(slot, Arc::clone(&copied))));
    let slots: Vec<u32> = (0..20).collect();
    table.arrived(&copied, &slots, false);
    assert_eq!((table.found.len(), table.free.len(), table.on_their_way.len()), (30, 20, 30));
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
