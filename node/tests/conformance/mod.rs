//! What every kind of chunk store must do, whatever keeps its bytes.
//!
//! `suite` runs all of it against stores that `make` opens; every case gets a fresh one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use cyx_core::ids::{BucketTag, ChunkId, KeyId, NodeId, Random as _, random_bytes};
use cyx_core::keeplist::{Incarnation, KeepList};
use cyx_core::units::NODE_TRASH_SECONDS;
use cyx_node::store::{ChunkState, ChunkStore, Clock, NewChunk, StoreError, groups};

/// A clock that only moves when told.
#[derive(Clone)]
pub(crate) struct HandClock(Arc<AtomicU64>);

impl HandClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_000_000_000)))
    }
    pub(crate) fn clock(&self) -> Clock {
        let now = Arc::clone(&self.0);
        Clock::new(move || now.load(Ordering::SeqCst))
    }
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
    pub(crate) fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

/// Bytes that differ everywhere and from each other.
pub(crate) fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) const TAG: BucketTag = BucketTag([5; 16]);

/// A chunk in pieces of `piece` bytes.
pub(crate) fn chunk_in_pieces(id: ChunkId, bytes: &[u8], piece: usize) -> NewChunk {
    let pieces = bytes.chunks(piece).map(Bytes::copy_from_slice).collect();
    NewChunk { id, tag: TAG, root: *blake3::hash(bytes).as_bytes(), pieces }
}

pub(crate) fn chunk(id: ChunkId, bytes: &[u8]) -> NewChunk {
    chunk_in_pieces(id, bytes, 256 * 1024)
}

/// Reads a whole chunk in as many reads as it takes.
pub(crate) async fn read_all(store: &dyn ChunkStore, id: ChunkId) -> Result<Vec<u8>, StoreError> {
    let len = store.stat(id).await?.ok_or(StoreError::NotFound)?.len;
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < len {
        let at = bytes.len() as u64;
        bytes.extend_from_slice(&store.read(id, at..len.min(at + cyx_node::store::READ_MAX)).await?);
    }
    Ok(bytes)
}

pub(crate) fn keep_list(sequence: u64, before: u64, first: ChunkId, last: ChunkId) -> KeepList {
    KeepList {
        key: KeyId([0; 16]),
        node: NodeId([0; 16]),
        incarnation: Incarnation { time: 10, random: 1 },
        sequence,
        before,
        first,
        last,
    }
}

pub(crate) const FIRST: ChunkId = ChunkId([0; 16]);
pub(crate) const LAST: ChunkId = ChunkId([0xff; 16]);

async fn state(store: &dyn ChunkStore, id: ChunkId) -> Option<ChunkState> {
    store.stat(id).await.unwrap().map(|info| info.state)
}

/// Runs every case against a fresh store.
pub(crate) async fn suite<S: ChunkStore>(mut make: impl FnMut(Clock) -> S) {
    let mut fresh = || {
        let clock = HandClock::new();
        (make(clock.clock()), clock)
    };
    let (store, _) = fresh();
    what_was_stored_is_read_back(&store).await;
    let (store, _) = fresh();
    ranges_are_exact(&store).await;
    let (store, _) = fresh();
    wrong_chunks_are_refused(&store).await;
    let (store, clock) = fresh();
    storing_again_renews(&store, &clock).await;
    let (store, _) = fresh();
    many_at_once_are_all_durable(&store).await;
    let (store, clock) = fresh();
    the_trash_keeps_for_seven_days(&store, &clock).await;
    let (store, clock) = fresh();
    keep_lists_move_what_is_old_and_not_named(&store, &clock).await;
    let (store, clock) = fresh();
    keep_lists_do_not_go_back(&store, &clock).await;
    let (store, clock) = fresh();
    a_new_incarnation_stops_the_emptying(&store, &clock).await;
    let (store, clock) = fresh();
    keep_lists_agree_with_a_simple_model(&store, &clock).await;
    let (store, _) = fresh();
    a_closed_store_takes_nothing(&store).await;
}

async fn what_was_stored_is_read_back(store: &dyn ChunkStore) {
    for (seed, len) in [1, 100, 16_383, 16_384, 16_385, 524_800, 3_000_001].into_iter().enumerate() {
        let (id, bytes) = (ChunkId::random(), content(seed as u64, len));
        for piece in [777.max(len / 50), 256 * 1024] {
            store.store(chunk_in_pieces(id, &bytes, piece)).await.unwrap();
            assert_eq!(read_all(store, id).await.unwrap(), bytes, "{len} bytes");
        }
        let info = store.stat(id).await.unwrap().unwrap();
        assert_eq!((info.len, info.root, info.tag), (len as u64, *blake3::hash(&bytes).as_bytes(), TAG));
        store.scrub(id).await.unwrap();
        let values = store.values(id).await.unwrap();
        assert_eq!(values.len() as u64, groups::stored_count(len as u64));
        if !values.is_empty() {
            assert_eq!(groups::merge(&values, len as u64), Some(info.root));
        }
    }
    assert_eq!(store.usage().chunks, 7);
    assert!(matches!(store.read(ChunkId::random(), 0..1).await, Err(StoreError::NotFound)));
    assert_eq!(store.stat(ChunkId::random()).await.unwrap(), None);
}

async fn ranges_are_exact(store: &dyn ChunkStore) {
    let (id, bytes) = (ChunkId::random(), content(1, 100_000));
    store.store(chunk(id, &bytes)).await.unwrap();
    for (start, end) in [(0, 0), (0, 1), (16_383, 16_385), (5, 99_999), (99_999, 100_000), (16_384, 32_768)] {
        let read = store.read(id, start as u64..end as u64).await.unwrap();
        assert_eq!(read, bytes[start..end], "{start}..{end}");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "this is what has to be refused")]
    for range in [0..100_001, 100_000..100_001, u64::MAX - 1..u64::MAX, 9..8] {
        assert!(matches!(store.read(id, range.clone()).await, Err(StoreError::OutOfRange)), "{range:?}");
    }
}

async fn wrong_chunks_are_refused(store: &dyn ChunkStore) {
    let (id, bytes) = (ChunkId::random(), content(1, 1000));
    let good = chunk(id, &bytes);
    let wrong_root = NewChunk { root: [1; 32], ..good.clone() };
    assert!(matches!(store.store(wrong_root.clone()).await, Err(StoreError::WrongBytes)));
    assert!(matches!(store.store(NewChunk { pieces: vec![], ..good.clone() }).await, Err(StoreError::InvalidLength)));
    let huge = vec![Bytes::from(vec![0; 1 << 20]); 65];
    assert!(matches!(store.store(NewChunk { pieces: huge, ..good.clone() }).await, Err(StoreError::InvalidLength)));
    assert_eq!(store.stat(id).await.unwrap(), None, "a refused chunk leaves nothing");
    store.store(good.clone()).await.unwrap();
    assert!(matches!(store.store(wrong_root).await, Err(StoreError::OtherContent)));
    assert!(matches!(store.store(chunk(id, &content(2, 1000))).await, Err(StoreError::OtherContent)));
    let other_tag = NewChunk { tag: BucketTag([9; 16]), ..good };
    assert!(matches!(store.store(other_tag).await, Err(StoreError::OtherContent)));
    assert_eq!(read_all(store, id).await.unwrap(), bytes);
    assert_eq!(store.usage().chunks, 1);
}

async fn storing_again_renews(store: &dyn ChunkStore, clock: &HandClock) {
    let (id, bytes) = (ChunkId::random(), content(1, 5000));
    let first = store.store(chunk(id, &bytes)).await.unwrap();
    assert_eq!((first.at, first.known), (clock.now(), false));
    clock.pass(100);
    let second = store.store(chunk(id, &bytes)).await.unwrap();
    assert_eq!((second.at, second.known), (clock.now(), true));
    assert_eq!(store.stat(id).await.unwrap().unwrap().stored_at, clock.now());
    assert_eq!(store.usage().chunks, 1);
    assert_eq!(store.trash(vec![id], u64::MAX).await.unwrap(), 1);
    assert_eq!(state(store, id).await, Some(ChunkState::Trashed));
    clock.pass(100);
    let third = store.store(chunk(id, &bytes)).await.unwrap();
    assert_eq!((third.at, third.known), (clock.now(), true));
    assert_eq!(read_all(store, id).await.unwrap(), bytes);
    assert_eq!((store.usage().chunks, store.usage().trash_chunks), (1, 0));
}

async fn many_at_once_are_all_durable(store: &dyn ChunkStore) {
    let chunks: Vec<_> = (0..200).map(|seed| (ChunkId::random(), content(seed, 1000 + seed as usize * 37))).collect();
    // Every chunk twice at the same time: both are acknowledged, and there is one.
    let storing = chunks.iter().chain(&chunks).map(|(id, bytes)| store.store(chunk(*id, bytes)));
    for stored in futures_util::future::join_all(storing).await {
        stored.unwrap();
    }
    assert_eq!(store.usage().chunks, 200);
    for (id, bytes) in &chunks {
        assert_eq!(read_all(store, *id).await.unwrap(), *bytes);
    }
}

async fn the_trash_keeps_for_seven_days(store: &dyn ChunkStore, clock: &HandClock) {
    let (id, bytes) = (ChunkId::random(), content(1, 50_000));
    let other = ChunkId::random();
    store.store(chunk(id, &bytes)).await.unwrap();
    store.store(chunk(other, &content(2, 100))).await.unwrap();
    assert_eq!(store.trash(vec![id], clock.now()).await.unwrap(), 0, "too young");
    assert_eq!(store.trash(vec![id, ChunkId::random()], clock.now() + 1).await.unwrap(), 1);
    assert_eq!(store.trash(vec![id], u64::MAX).await.unwrap(), 0, "once is enough");
    assert!(matches!(store.read(id, 0..1).await, Err(StoreError::Trashed)));
    assert!(matches!(store.scrub(id).await, Err(StoreError::Trashed)));
    clock.pass(NODE_TRASH_SECONDS - 1);
    assert_eq!(store.expire_trash(Some(clock.now())).await.unwrap(), 0);
    assert_eq!(state(store, id).await, Some(ChunkState::Trashed));
    clock.pass(1);
    assert_eq!(store.expire_trash(None).await.unwrap(), 0, "nobody said that it may be");
    assert_eq!(store.expire_trash(Some(clock.now())).await.unwrap(), 50_000);
    assert_eq!(state(store, id).await, None);
    assert_eq!(state(store, other).await, Some(ChunkState::Live));
    let usage = store.usage();
    assert_eq!((usage.chunks, usage.used_bytes, usage.trash_chunks, usage.trash_bytes), (1, 100, 0, 0));
    store.store(chunk(id, &bytes)).await.unwrap();
    assert_eq!(read_all(store, id).await.unwrap(), bytes, "a purged chunk can be stored anew");
}

async fn keep_lists_move_what_is_old_and_not_named(store: &dyn ChunkStore, clock: &HandClock) {
    let [kept, dropped, young, absent] = [1, 2, 3, 4].map(|first| ChunkId([first; 16]));
    for id in [kept, dropped] {
        store.store(chunk(id, &content(1, 100))).await.unwrap();
    }
    clock.pass(1000);
    let before = clock.now();
    store.store(chunk(young, &content(1, 100))).await.unwrap();
    let outcome = store.apply_keep_list(keep_list(1, before, FIRST, LAST), vec![kept, absent]).await.unwrap();
    assert_eq!((outcome.trashed_chunks, outcome.trashed_bytes, outcome.missing), (1, 100, vec![absent]));
    assert_eq!(state(store, kept).await, Some(ChunkState::Live));
    assert_eq!(state(store, dropped).await, Some(ChunkState::Trashed));
    assert_eq!(state(store, young).await, Some(ChunkState::Live));
    // A later list that names it takes it out again.
    let outcome = store.apply_keep_list(keep_list(2, before, FIRST, LAST), vec![kept, dropped]).await.unwrap();
    assert_eq!((outcome.trashed_chunks, outcome.restored_chunks), (0, 1));
    assert_eq!(state(store, dropped).await, Some(ChunkState::Live));
}

async fn keep_lists_do_not_go_back(store: &dyn ChunkStore, clock: &HandClock) {
    let id = ChunkId([8; 16]);
    store.store(chunk(id, &content(1, 100))).await.unwrap();
    clock.pass(10);
    let list = |sequence, first, last| keep_list(sequence, clock.now(), first, last);
    let (low, high) = (ChunkId([0x40; 16]), ChunkId([0x41; 16]));
    store.apply_keep_list(list(5, FIRST, low), vec![id]).await.unwrap();
    store.apply_keep_list(list(5, high, LAST), vec![]).await.unwrap();
    for (sequence, first, last) in [(5, FIRST, low), (4, FIRST, low), (4, FIRST, LAST), (4, id, id), (4, high, LAST)] {
        let refused = store.apply_keep_list(list(sequence, first, last), vec![]).await;
        assert!(matches!(refused, Err(StoreError::StaleKeepList)), "{sequence} {first} {last}");
    }
    assert_eq!(state(store, id).await, Some(ChunkState::Live));
    let older = KeepList { incarnation: Incarnation { time: 9, random: 9 }, ..list(99, FIRST, LAST) };
    assert!(matches!(store.apply_keep_list(older, vec![]).await, Err(StoreError::StaleKeepList)));
    assert_eq!(store.apply_keep_list(list(6, FIRST, LAST), vec![]).await.unwrap().trashed_chunks, 1);
    let refused = store.apply_keep_list(list(5, high, LAST), vec![]).await;
    assert!(matches!(refused, Err(StoreError::StaleKeepList)), "swallowed by a wider, later one");
}

async fn a_new_incarnation_stops_the_emptying(store: &dyn ChunkStore, clock: &HandClock) {
    let id = ChunkId([8; 16]);
    store.store(chunk(id, &content(1, 100))).await.unwrap();
    let [old, new] = [10, 11].map(|time| Incarnation { time, random: 1 });
    store.note_incarnation(old).await.unwrap();
    assert_eq!(store.held_incarnation().unwrap(), None, "the first is adopted");
    clock.pass(10);
    let list = KeepList { incarnation: new, ..keep_list(1, clock.now(), FIRST, LAST) };
    assert_eq!(store.apply_keep_list(list, vec![]).await.unwrap().trashed_chunks, 1);
    assert_eq!(store.held_incarnation().unwrap(), Some(new));
    clock.pass(NODE_TRASH_SECONDS + 1);
    assert_eq!(store.expire_trash(Some(clock.now())).await.unwrap(), 0);
    assert_eq!(state(store, id).await, Some(ChunkState::Trashed));
    assert!(!store.confirm_incarnation(old).await.unwrap());
    store.note_incarnation(old).await.unwrap();
    assert_eq!(store.held_incarnation().unwrap(), Some(new), "an older one changes nothing");
    assert!(store.confirm_incarnation(new).await.unwrap());
    assert_eq!(store.held_incarnation().unwrap(), None);
    assert_eq!(store.expire_trash(Some(clock.now())).await.unwrap(), 100);
}

/// Random stores, trashings and lists over a small set of ids, compared with a map.
async fn keep_lists_agree_with_a_simple_model(store: &dyn ChunkStore, clock: &HandClock) {
    let ids: Vec<ChunkId> = (0..40_u8).map(|n| ChunkId([n * 6; 16])).collect();
    let bytes = content(1, 64);
    // id → (newest time, since when in the trash)
    let mut model = std::collections::BTreeMap::<ChunkId, (u64, Option<u64>)>::new();
    for round in 1..=120_u64 {
        let [kind, pick, from, to, mask @ ..] = random_bytes::<12>();
        let (id, now) = (ids[usize::from(pick) % ids.len()], clock.now());
        match kind % 4 {
            0 | 1 => {
                store.store(chunk(id, &bytes)).await.unwrap();
                model.insert(id, (now, None));
            }
            2 => {
                store.trash(vec![id], u64::MAX).await.unwrap();
                if let Some((_, trashed @ None)) = model.get_mut(&id) {
                    *trashed = Some(now);
                }
            }
            _ => {
                let (first, last) = (ChunkId([from.min(to); 16]), ChunkId([from.max(to); 16]));
                let named = |at: usize| mask[at % 8] >> (at / 8) & 1 == 1;
                let keep: Vec<_> = ids
                    .iter()
                    .enumerate()
                    .filter(|(at, id)| named(*at) && (first..=last).contains(id))
                    .map(|(_, id)| *id)
                    .collect();
                let before = now - u64::from(pick) * 1000;
                store.apply_keep_list(keep_list(round, before, first, last), keep.clone()).await.unwrap();
                for (id, (at, trashed)) in model.range_mut(first..=last) {
                    match (keep.contains(id), *trashed) {
                        (true, Some(_)) => *trashed = None,
                        (false, None) if *at < before => *trashed = Some(now),
                        _ => {}
                    }
                }
            }
        }
        clock.pass(20_000);
        store.expire_trash(Some(clock.now())).await.unwrap();
        let now = clock.now();
        model.retain(|_, (_, trashed)| trashed.is_none_or(|since| now < since + NODE_TRASH_SECONDS));
        for id in &ids {
            let expected = model.get(id).map(|(_, trashed)| match trashed {
                Some(_) => ChunkState::Trashed,
                None => ChunkState::Live,
            });
            assert_eq!(state(store, *id).await, expected, "round {round}, {id}");
        }
    }
}

async fn a_closed_store_takes_nothing(store: &dyn ChunkStore) {
    let (id, bytes) = (ChunkId::random(), content(1, 100));
    store.store(chunk(id, &bytes)).await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(store.store(chunk(ChunkId::random(), &bytes)).await, Err(StoreError::Stopped)));
    assert_eq!(read_all(store, id).await.unwrap(), bytes, "reading goes on until it is dropped");
    store.close().await.unwrap();
}

/// A chunk that is spoilt by `spoil` stays a damaged one in the trash: what restores it finds it damaged, what stores it again replaces it.
pub(crate) async fn the_trash_does_not_mend(store: &dyn ChunkStore, clock: &HandClock, spoil: impl AsyncFn()) {
    let (id, bytes) = (ChunkId([8; 16]), content(1, 50_000));
    store.store(chunk(id, &bytes)).await.unwrap();
    spoil().await;
    assert!(matches!(store.scrub(id).await, Err(StoreError::Damaged)));
    clock.pass(10);
    let list = |sequence| keep_list(sequence, clock.now(), FIRST, LAST);
    assert_eq!(store.apply_keep_list(list(1), vec![]).await.unwrap().trashed_chunks, 1);
    assert_eq!(store.damaged(None, 9).await.unwrap(), []);
    assert_eq!(store.apply_keep_list(list(2), vec![id]).await.unwrap().restored_chunks, 1);
    assert_eq!(state(store, id).await, Some(ChunkState::Damaged));
    assert_eq!(store.damaged(None, 9).await.unwrap(), [id]);
    assert_eq!(store.trash(vec![id], u64::MAX).await.unwrap(), 1);
    clock.pass(10);
    let stored = store.store(chunk(id, &bytes)).await.unwrap();
    assert_eq!((stored.at, stored.known), (clock.now(), true));
    assert_eq!(read_all(store, id).await.unwrap(), bytes);
    assert_eq!((store.usage().chunks, store.usage().trash_chunks, store.usage().damaged_chunks), (1, 0, 0));
}
