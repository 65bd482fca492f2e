//! Ranges of a segment from nodes that die, hang, forget and lie.

use super::*;
use crate::nodes::Patience;
use crate::test_nodes::node::{FakeNode, Manner};
use crate::test_nodes::{Cluster, coded, patient, segment_at};
use crate::transfer::coded::Coded;
use crate::transfer::liar::judge;
use cyx_core::units::KIB;
use std::sync::atomic::Ordering;

/// A segment on 14 nodes, its first 200,003 bytes in shards of 20,001.
struct Stored {
    cluster: Cluster,
    coded: Coded,
    segment: SegmentAt,
    pool: NodePool,
    access: AccessMap,
    reserve: Budget,
}

const LENGTH: u64 = 200_003;

impl Stored {
    async fn new() -> Self {
        let cluster = Cluster::start(14).await;
        let coded = coded(Scheme::DEFAULT, usize::try_from(LENGTH).unwrap()).await;
        for (index, node) in cluster.nodes.iter().enumerate() {
            let chunk = coded.chunk(index);
            node.state.chunks.lock().unwrap().insert(chunk.id, chunk.bytes);
        }
        let (segment, access) = (segment_at(&cluster, &coded), cluster.access());
        let pool = cluster.pool();
        // As much as two shards: there is no room for all that a degraded read may need.
        Self { cluster, coded, segment, pool, access, reserve: Budget::new(40 * KIB) }
    }

    fn plain(&self, range: Range<u64>) -> Vec<u8> {
        let all: Vec<u8> = (0..10).flat_map(|index| self.coded.chunk(index).bytes.to_vec()).collect();
        all[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
    }

    async fn fetch(&self, range: Range<u64>) -> Result<(Fetched, Vec<u8>), TooFew> {
        self.fetch_with(&patient(), range).await
    }

    async fn fetch_with(&self, tuning: &Tuning, range: Range<u64>) -> Result<(Fetched, Vec<u8>), TooFew> {
        let mut buffer = vec![0; usize::try_from(range.end - range.start).unwrap()];
        let excluded = HashSet::new();
        let means = Means { pool: &self.pool, tuning, reserve: &self.reserve };
        let fetching = fetch(means, &self.segment, &self.access, &excluded, range, &mut buffer);
        let fetched = fetching.await?;
        assert!(fetched.complete(&Coder::new(Scheme::DEFAULT), &mut buffer));
        Ok((fetched, buffer))
    }

    async fn check(&self, range: Range<u64>) {
        let (_, bytes) = self.fetch(range.clone()).await.unwrap();
        assert!(bytes == self.plain(range.clone()), "{range:?}");
    }

    /// Connects to all nodes.
    async fn connect(&self) {
        let all: Vec<NodeAccess> = self.access.values().cloned().collect();
        self.pool.prepare(&all).await;
    }

    fn reads(&self) -> Vec<u64> {
        self.cluster.nodes.iter().map(|node| node.state.reads.load(Ordering::SeqCst)).collect()
    }
}

const RANGES: [Range<u64>; 7] =
    [0..LENGTH, 0..1, LENGTH - 1..LENGTH, 20_000..20_002, 19_000..61_000, 40_002..60_003, 180_009..LENGTH];

#[tokio::test]
async fn a_small_range_touches_one_node_and_no_more_bytes_than_asked_for() {
    let stored = Stored::new().await;
    stored.check(45_000..46_000).await;
    let mut expected = vec![0; 14];
    expected[2] = 1;
    assert_eq!(stored.reads(), expected);
    assert_eq!(stored.cluster.nodes[2].state.read_bytes.load(Ordering::SeqCst), 1000);
}

#[tokio::test]
async fn every_range_reads_back_while_any_four_nodes_are_dead() {
    for dead in [[0, 1, 2, 3], [10, 11, 12, 13], [2, 9, 10, 13]] {
        let stored = Stored::new().await;
        for range in RANGES {
            stored.check(range).await;
        }
        dead.iter().for_each(|index| stored.cluster.nodes[*index].kill());
        for range in RANGES {
            stored.check(range).await;
        }
    }
}

#[tokio::test]
async fn degraded_reads_that_wait_for_the_same_memory_all_end() {
    let stored = Stored::new().await;
    stored.cluster.nodes[..4].iter().for_each(FakeNode::kill);
    let reads = (0..8).map(|_| stored.check(0..LENGTH));
    futures_util::future::join_all(reads).await;
    let room = stored.reserve.room(1, 40 << 10);
    assert!(futures_util::FutureExt::now_or_never(room).is_some(), "everything was given back");
}

#[tokio::test]
async fn a_degraded_read_moves_only_the_columns_it_needs() {
    let stored = Stored::new().await;
    stored.cluster.nodes[2].kill();
    stored.check(45_000..46_000).await;
    let moved: u64 = stored.cluster.nodes.iter().map(|node| node.state.read_bytes.load(Ordering::SeqCst)).sum();
    assert_eq!(moved, 10 * 1000);
}

#[tokio::test]
async fn with_five_dead_the_error_says_how_many_are_reachable() {
    let stored = Stored::new().await;
    stored.cluster.nodes[..5].iter().for_each(FakeNode::kill);
    for range in [0..LENGTH, 0..1] {
        let error = stored.fetch(range).await.err().unwrap();
        assert_eq!((error.reachable, error.needed, error.lost), (9, 10, 0));
    }
    // What lies on nodes that are alive is still read.
    stored.check(180_009..LENGTH).await;
}

#[tokio::test]
async fn what_is_lost_is_told_from_what_is_away() {
    let mut stored = Stored::new().await;
    stored.cluster.nodes[..2].iter().for_each(|node| node.behave(Manner::Forgets));
    stored.cluster.nodes[2].behave(Manner::Truncates);
    stored.segment.holders[3] = None;
    stored.cluster.nodes[4].kill();
    let error = stored.fetch(0..LENGTH).await.err().unwrap();
    assert_eq!((error.reachable, error.needed, error.lost), (9, 10, 4));
}

#[tokio::test]
async fn a_node_that_hangs_is_left_behind() {
    let stored = Stored::new().await;
    stored.cluster.nodes[4].behave(Manner::Hanging);
    stored.check(0..LENGTH).await;
    stored.check(90_000..90_100).await;
}

/// Long enough for whatever does not wait for nodes that say nothing.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn frozen_nodes_are_waited_for_by_one_read_and_read_from_again_when_they_go_on() {
    for connected in [true, false] {
        let stored = Stored::new().await;
        if connected {
            stored.connect().await;
        }
        stored.cluster.nodes[..4].iter().for_each(|node| node.behave(Manner::Frozen));
        stored.check(0..LENGTH).await;
        // Nobody is hedged any more: who asks one of them waits in vain.
        let never = Duration::from_secs(86_400);
        let tuning = Tuning { hedge_min: never, hedge_unknown: never, ..patient() };
        for range in RANGES {
            let read = tokio::time::timeout(SOON, stored.fetch_with(&tuning, range.clone())).await;
            let (_, bytes) = read.expect("others are asked at once").unwrap();
            assert!(bytes == stored.plain(range));
        }
        assert_eq!(stored.reads()[..4], [0; 4]);
        stored.cluster.nodes[..4].iter().for_each(FakeNode::release);
        while stored.reads()[..4].contains(&0) {
            stored.check(0..LENGTH).await;
        }
    }
}

#[tokio::test]
async fn with_too_many_frozen_nodes_only_the_first_read_has_patience() {
    let mut stored = Stored::new().await;
    // Whoever dials one of them again, and waits for it, is late.
    let patience = Patience { connect: Duration::from_secs(300), idle: Duration::from_secs(3) };
    stored.pool = stored.cluster.pool_with(patience);
    stored.connect().await;
    stored.cluster.nodes[..6].iter().for_each(|node| node.behave(Manner::Frozen));
    assert!(stored.fetch(0..LENGTH).await.is_err());
    for range in [0..LENGTH, 0..1, 19_000..61_000] {
        let read = tokio::time::timeout(SOON, stored.fetch(range)).await;
        assert!(read.expect("it is known that nobody answers").is_err());
    }
    stored.cluster.nodes[..6].iter().for_each(FakeNode::release);
    // The dials that are under way are answered now.
    while stored.fetch(0..LENGTH).await.is_err() {
        tokio::task::yield_now().await;
    }
    for range in RANGES {
        stored.check(range).await;
    }
}

#[tokio::test]
async fn a_small_read_that_is_late_is_asked_for_again_before_other_nodes_are() {
    let stored = Stored::new().await;
    stored.cluster.nodes[2].behave(Manner::MissesRead(1));
    for _ in 0..3 {
        stored.pool.health().took(Work::SmallRead, std::time::Duration::from_millis(10));
    }
    stored.check(45_000..46_000).await;
    assert_eq!(stored.reads()[2], 2);
}

#[tokio::test]
async fn what_is_large_and_nearly_here_is_waited_for_once_more() {
    let stored = Stored::new().await;
    let (tuning, excluded) = (patient(), HashSet::new());
    let means = Means { pool: &stored.pool, tuning: &tuning, reserve: &stored.reserve };
    let mut fetching = Fetching::new(means, &stored.segment, &stored.access, &excluded);
    let part =
        |columns, arrived| Part { columns, state: State::Waiting, arrived: Arc::new(arrived), ..Part::default() };
    let large = 0..1_000_000;
    let mut parts = [part(large.clone(), 500_000.into()), part(large, 499_999.into()), part(0..10_000, 9_999.into())];
    let states = |parts: &[Part]| parts.iter().map(|part| part.state == State::Late).collect::<Vec<_>>();
    fetching.hedge(&mut parts, true);
    assert_eq!(states(&parts), [false, true, true]);
    fetching.hedge(&mut parts, true);
    assert_eq!(states(&parts), [false, true, true]);
    fetching.hedge(&mut parts, false);
    assert_eq!(states(&parts), [true; 3]);
}

#[tokio::test]
async fn a_node_that_forgot_or_sends_too_little_is_as_good_as_dead() {
    let stored = Stored::new().await;
    stored.cluster.nodes[0].behave(Manner::Forgets);
    stored.cluster.nodes[1].behave(Manner::Truncates);
    stored.check(0..LENGTH).await;
}

#[tokio::test]
async fn a_shard_that_was_never_stored_is_not_asked_for() {
    let mut stored = Stored::new().await;
    stored.segment.holders[3] = None;
    stored.check(0..LENGTH).await;
    assert_eq!(stored.reads()[3], 0);
}

#[tokio::test]
async fn a_liar_is_named_whether_it_sent_a_whole_shard_or_a_part() {
    for (range, manner) in [(0..LENGTH, Manner::FlipsBits), (45_000..47_500, Manner::FlipsBits)] {
        let stored = Stored::new().await;
        stored.cluster.nodes[2].behave(manner);
        let (fetched, bytes) = stored.fetch(range.clone()).await.unwrap();
        assert!(bytes != stored.plain(range));
        let verdict = judge(&stored.pool, &stored.segment, &stored.access, &fetched, &bytes).await;
        assert_eq!(verdict.liars, HashSet::from([stored.cluster.nodes[2].id()]));
        assert!(verdict.unproven.is_empty());
    }
}

#[tokio::test]
async fn a_liar_among_the_sources_of_a_restored_range_is_named() {
    let stored = Stored::new().await;
    stored.cluster.nodes[2].kill();
    stored.cluster.nodes[7].behave(Manner::FlipsBits);
    let (fetched, bytes) = stored.fetch(45_000..47_500).await.unwrap();
    assert!(bytes != stored.plain(45_000..47_500));
    let verdict = judge(&stored.pool, &stored.segment, &stored.access, &fetched, &bytes).await;
    assert_eq!(verdict.liars, HashSet::from([stored.cluster.nodes[7].id()]));
}
