//! Puts one coded segment on the nodes of its placement: all shards at once, spares for nodes that fail or lag, and an end
//! when enough shards are durable and the rest had its time.
//!
//! | when | what |
//! |---|---|
//! | a node fails | its shard goes to a spare |
//! | half of the shards are stored and some time passed | spares get the missing shards as well; whoever is first counts |
//! | the write quorum is reached and most nodes have nothing to do | the connections of the rest look for more room |
//! | the write quorum is reached and the tail is over | done; what is missing is left to repair, and who lagged is passed over for a while |
//! | so too, but one of the rest stores for others about as much as they do | it has longer, because what it does first is what takes long |
//! | the write quorum is reached and all others lagged elsewhere meanwhile | done at once |
//! | nothing is under way any more | done, or too few |

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cyx_core::ids::NodeId;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::Instant;

use super::coded::Coded;
use super::lease::Lease;
use super::tuning::Tuning;
use crate::nodes::{Chunk, NodeAccess, NodeError, NodePool, Stored};

/// How often is looked whether other segments have found out who lags.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A node keeps up with others that stores one of so many bytes that they do.
const KEPT_UP: u64 = 3;

/// A segment that is durable on enough nodes.
pub(crate) struct Placed {
    pub(crate) upload: pb::SegmentUpload,
    pub(crate) receipts: Vec<Bytes>,
    /// Shards that are durable.
    pub(crate) present: usize,
    /// Whether a node of the placement failed, so that the lease should be exchanged.
    pub(crate) lease_is_poor: bool,
}

/// Too few nodes took their shard.
pub(crate) struct Short {
    /// Shards that are durable.
    pub(crate) present: usize,
    /// Shards that must be.
    pub(crate) needed: usize,
    /// What the last node that failed said.
    pub(crate) last: Option<NodeError>,
}

/// Places a segment. With `all` every shard has to be durable, otherwise the write quorum.
pub(crate) async fn place(
    pool: &NodePool,
    tuning: &Tuning,
    lease: &Lease,
    coded: &Coded,
    all: bool,
) -> Result<Placed, Short> {
    let needed = if all { lease.scheme.n() } else { lease.scheme.write_quorum() };
    let mut placing = Placing::new(pool, lease, coded);
    placing.begin(needed);
    let began = Instant::now();
    let mut late: Option<Instant> = None;
    let mut end: Option<Instant> = None;
    let mut last: Option<Instant> = None;
    loop {
        if end.is_some() {
            placing.hurry();
            if placing.waits_for_laggards() {
                // Another segment has found out that it waits for them in vain.
                late = late.map(|late| late.min(Instant::now()));
                if placing.spares.is_empty() {
                    break;
                }
            }
        }
        let look = end.is_some().then(|| Instant::now() + LOOK_AGAIN);
        let timer = [late, end, look].into_iter().flatten().min();
        let event = tokio::select! {
            biased;
            event = placing.attempts.next(), if !placing.attempts.is_empty() => event,
            () = sleep_until(timer), if timer.is_some() => None,
            else => break,
        };
        let now = Instant::now();
        if event.is_none() && last.is_some_and(|last| now < last) && placing.keeps_up() {
            let again = now + LOOK_AGAIN;
            late = late.map(|late| late.max(again));
            end = end.map(|end| end.max(again));
        }
        match event {
            Some(outcome) => {
                let before = placing.stored();
                placing.settle(outcome);
                let stored = placing.stored();
                if stored * 2 >= lease.scheme.n() && late.is_none() {
                    late = Some(now + tuning.late_store.max(3 * (now - began)));
                }
                if stored >= needed && stored > before && !all {
                    // Whoever is still busy gets as long again as the others took, then a spare may try for as long. If another one comes in
                    // meanwhile it is the way that is busy.
                    let tail = now + tuning.tail(now - began);
                    if end.is_none() {
                        late = late.map(|late| late.min(tail));
                        last = Some(now + tuning.tail_max);
                    }
                    end = Some(end.map_or(tail, |end| end.max(tail)));
                }
            }
            None if late.is_some_and(|late| late <= now) => {
                late = None;
                if placing.hedge() && end.is_some() {
                    end = Some(now + tuning.tail(now - began));
                }
                // Never again: half of the shards are stored for good.
                late = late.or(Some(now + Duration::from_secs(86_400)));
            }
            None if end.is_some_and(|end| end > now) => {}
            None => break,
        }
        if placing.is_settled() && (placing.stored() >= needed || !placing.last_resort()) {
            break;
        }
    }
    placing.finish(needed)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// One attempt's outcome: which shard, where, and how it went.
struct Outcome<'a> {
    shard: usize,
    access: &'a NodeAccess,
    result: Result<Stored, NodeError>,
}

type Attempt<'a> = Pin<Box<dyn Future<Output = Outcome<'a>> + Send + 'a>>;

struct Placing<'a> {
    pool: &'a NodePool,
    lease: &'a Lease,
    coded: &'a Coded,
    shards: Vec<Shard>,
    spares: VecDeque<&'a NodeAccess>,
    attempts: FuturesUnordered<Attempt<'a>>,
    /// What each node of the lease had acknowledged before.
    before: Vec<u64>,
    poor: bool,
    last: Option<NodeError>,
}

#[derive(Default)]
struct Shard {
    /// Nodes that it is being sent to.
    under_way: Vec<NodeId>,
    tried_own_node: bool,
    stored: Option<(NodeId, Vec<Bytes>)>,
}

impl<'a> Placing<'a> {
    fn new(pool: &'a NodePool, lease: &'a Lease, coded: &'a Coded) -> Self {
        let (mut good, avoided): (Vec<_>, Vec<_>) =
            lease.spares.iter().partition(|spare| !pool.health().is_avoided(spare.node));
        good.extend(avoided);
        Self {
            pool,
            lease,
            coded,
            shards: (0..lease.scheme.n()).map(|_| Shard::default()).collect(),
            spares: good.into(),
            attempts: FuturesUnordered::new(),
            before: lease.nodes.iter().map(|node| pool.loads().stored_by(node.node)).collect(),
            poor: false,
            last: None,
        }
    }

    /// Sends every shard to its node. A node that failed lately is passed over for a spare; without spares it is tried all the
    /// same if the quorum needs it.
    fn begin(&mut self, needed: usize) {
        // The shards behind have no node of their own.
        let placed = self.lease.nodes.len().min(self.shards.len());
        let avoided: Vec<usize> =
            (0..placed).filter(|shard| self.pool.health().is_avoided(self.lease.nodes[*shard].node)).collect();
        for shard in (0..placed).filter(|shard| !avoided.contains(shard)) {
            self.attempt_own(shard);
        }
        self.poor |= !avoided.is_empty();
        for shard in avoided {
            let spare_is_good = self.spares.front().is_some_and(|spare| !self.pool.health().is_avoided(spare.node));
            if spare_is_good {
                self.attempt_spare(shard);
            } else if self.attempts.len() < needed {
                self.attempt_own(shard);
            }
        }
    }

    fn attempt_own(&mut self, shard: usize) {
        self.shards[shard].tried_own_node = true;
        if let Some(node) = self.lease.nodes.get(shard) {
            self.attempt(shard, node);
        }
    }

    fn attempt_spare(&mut self, shard: usize) -> bool {
        let Some(spare) = self.spares.pop_front() else { return false };
        self.attempt(shard, spare);
        true
    }

    fn attempt(&mut self, shard: usize, access: &'a NodeAccess) {
        let chunks: Arc<[Chunk]> = Arc::new([self.coded.chunk(shard)]);
        self.shards[shard].under_way.push(access.node);
        let pool = self.pool;
        self.attempts.push(Box::pin(async move {
            let result = pool.store(access, chunks).await;
            Outcome { shard, access, result }
        }));
    }

    fn settle(&mut self, outcome: Outcome<'a>) {
        let Outcome { shard, access, result } = outcome;
        self.shards[shard].under_way.retain(|node| *node != access.node);
        match result {
            Ok(stored) => {
                self.shards[shard].stored.get_or_insert((access.node, stored.receipts));
            }
            Err(error) => {
                tracing::debug!(%error, shard, "a shard was not stored");
                self.poor = true;
                self.last = Some(error);
                if self.shards[shard].stored.is_none() && self.shards[shard].under_way.is_empty() {
                    self.replace(shard);
                }
            }
        }
    }

    fn replace(&mut self, shard: usize) {
        if !self.attempt_spare(shard) && !self.shards[shard].tried_own_node {
            self.attempt_own(shard);
        }
    }

    /// Tries the nodes that were passed over because they failed lately. Whether there was any.
    fn last_resort(&mut self) -> bool {
        let untried = |shard: &Shard| shard.stored.is_none() && !shard.tried_own_node;
        let untried: Vec<usize> = (0..self.shards.len()).filter(|index| untried(&self.shards[*index])).collect();
        untried.iter().for_each(|shard| self.attempt_own(*shard));
        !self.attempts.is_empty()
    }

    /// Sends every shard that is not stored yet to a spare as well. Whether there was any.
    fn hedge(&mut self) -> bool {
        let waiting: Vec<usize> = (0..self.shards.len()).filter(|shard| self.shards[*shard].stored.is_none()).collect();
        let sent = waiting.into_iter().filter(|shard| self.attempt_spare(*shard)).count();
        self.poor |= sent > 0;
        sent > 0
    }

    /// Has the connections of nodes that are still busy look for more room, if most others have nothing to do: the way may be theirs then.
    fn hurry(&self) {
        let nodes = &self.lease.nodes;
        let idle = nodes.iter().filter(|node| self.pool.loads().stores_nothing(node.node)).count();
        if idle * 2 > nodes.len() {
            let busy = self.shards.iter().filter(|shard| shard.stored.is_none()).flat_map(|shard| &shard.under_way);
            busy.for_each(|node| self.pool.send_faster(*node));
        }
    }

    /// Whether every node that is still busy has lagged by now.
    fn waits_for_laggards(&self) -> bool {
        let mut busy = self.shards.iter().filter(|shard| shard.stored.is_none()).flat_map(|shard| &shard.under_way);
        busy.all(|node| self.pool.health().is_lagging(*node))
    }

    /// Whether a node that is still busy has stored, for this segment and others, no less than a part of what nodes usually have meanwhile.
    fn keeps_up(&self) -> bool {
        let done = |index: usize| self.pool.loads().stored_by(self.lease.nodes[index].node) - self.before[index];
        let mut all: Vec<u64> = (0..self.lease.nodes.len()).map(done).collect();
        all.sort_unstable();
        let usual = all[all.len() / 2];
        let is_busy = |index: usize| {
            let node = self.lease.nodes[index].node;
            let shard = self.shards.get(index);
            shard.is_some_and(|shard| shard.stored.is_none() && shard.under_way.contains(&node))
        };
        (0..self.lease.nodes.len()).any(|index| is_busy(index) && done(index) > 0 && done(index) * KEPT_UP >= usual)
    }

    fn stored(&self) -> usize {
        self.shards.iter().filter(|shard| shard.stored.is_some()).count()
    }

    fn is_settled(&self) -> bool {
        self.shards.iter().all(|shard| shard.stored.is_some() || shard.under_way.is_empty())
    }

    fn finish(self, needed: usize) -> Result<Placed, Short> {
        let stored = self.stored();
        if stored < needed {
            return Err(Short { present: stored, needed, last: self.last });
        }
        // The next segments would wait for these in vain again. A spare that was overtaken by the node it stood in for is none of them.
        for (index, shard) in self.shards.iter().enumerate() {
            let own = self.lease.nodes.get(index).map(|own| own.node);
            for lagging in shard.under_way.iter().filter(|node| shard.stored.is_none() || own == Some(**node)) {
                tracing::debug!(node = %lagging, "a storage node lags and is passed over for a while");
                self.pool.health().lagged(*lagging);
            }
        }
        let mut segment = self.coded.describe();
        segment.placement = self.lease.placement.clone();
        let mut receipts = Vec::with_capacity(stored);
        let mut poor = self.poor;
        for (index, shard) in self.shards.into_iter().enumerate() {
            let Some((node, signed)) = shard.stored else {
                poor |= index < self.lease.nodes.len();
                continue;
            };
            segment.present |= 1 << index;
            if self.lease.nodes.get(index).is_none_or(|own| own.node != node) {
                let shard = u32::try_from(index).unwrap_or(u32::MAX);
                segment.overrides.push(pb::Override { shard, node: bytes_of(node) });
            }
            receipts.extend(signed);
        }
        let upload = pb::SegmentUpload { segment: Some(segment), lease: self.lease.id.clone() };
        Ok(Placed { upload, receipts, present: stored, lease_is_poor: poor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_nodes::node::{FakeNode, Manner};
    use crate::test_nodes::{Cluster, coded, patient};
    use cyx_core::scheme::Scheme;
    use std::sync::atomic::Ordering;

    async fn put(cluster: &Cluster, spares: usize, all: bool) -> Result<Placed, Short> {
        put_with(&patient(), cluster, spares, all).await
    }

    async fn put_with(tuning: &Tuning, cluster: &Cluster, spares: usize, all: bool) -> Result<Placed, Short> {
        let (lease, pool) = (cluster.lease(Scheme::DEFAULT, spares), cluster.pool());
        let coded = coded(Scheme::DEFAULT, 300_000).await;
        let placed = place(&pool, tuning, &lease, &coded, all).await;
        if let Ok(placed) = &placed {
            let segment = placed.upload.segment.as_ref().unwrap();
            assert_eq!(segment.present.count_ones() as usize, placed.present);
            assert_eq!(placed.receipts.len(), placed.present);
            for index in (0..14).filter(|index| segment.present & (1 << index) != 0) {
                let moved = segment.overrides.iter().find(|moved| moved.shard as usize == index);
                let holder = moved.map_or_else(|| lease.nodes[index].node.0.to_vec(), |moved| moved.node.to_vec());
                let chunk = coded.chunk(index);
                let node = cluster.nodes.iter().find(|node| node.id().0[..] == holder[..]).unwrap();
                assert_eq!(node.state.chunks.lock().unwrap()[&chunk.id], chunk.bytes, "shard {index}");
            }
        }
        placed
    }

    fn overrides(placed: &Placed) -> Vec<u32> {
        placed.upload.segment.as_ref().unwrap().overrides.iter().map(|moved| moved.shard).collect()
    }

    #[tokio::test]
    async fn every_node_gets_its_shard() {
        let cluster = Cluster::start(14).await;
        let placed = put(&cluster, 0, false).await.ok().unwrap();
        assert_eq!((placed.present, placed.lease_is_poor), (14, false));
    }

    #[tokio::test]
    async fn a_spare_takes_the_place_of_a_dead_node() {
        let cluster = Cluster::start(16).await;
        cluster.nodes[3].kill();
        let placed = put(&cluster, 2, false).await.ok().unwrap();
        assert_eq!((placed.present, overrides(&placed)), (14, vec![3]));
        assert!(placed.lease_is_poor);
    }

    #[tokio::test]
    async fn nodes_that_break_off_or_lie_about_what_they_store_are_replaced_too() {
        let cluster = Cluster::start(18).await;
        cluster.nodes[0].behave(Manner::BreaksAfter(1000));
        cluster.nodes[1].behave(Manner::WrongRoot);
        cluster.nodes[2].behave(Manner::NoReceipt);
        cluster.nodes[3].behave(Manner::Refuses(cyx_core::error::ErrorCode::InsufficientStorage));
        let placed = put(&cluster, 4, true).await.ok().unwrap();
        assert_eq!((placed.present, overrides(&placed)), (14, vec![0, 1, 2, 3]));
    }

    #[tokio::test]
    async fn two_dead_nodes_without_spares_leave_twelve() {
        let cluster = Cluster::start(14).await;
        cluster.nodes[0].kill();
        cluster.nodes[13].kill();
        let placed = put(&cluster, 0, false).await.ok().unwrap();
        assert_eq!((placed.present, placed.lease_is_poor), (12, true));
    }

    #[tokio::test]
    async fn a_placement_without_nodes_for_the_last_shards_is_used_as_it_is() {
        let cluster = Cluster::start(12).await;
        let placed = put(&cluster, 0, false).await.ok().unwrap();
        assert_eq!((placed.present, placed.lease_is_poor), (12, false));
        assert!(overrides(&placed).is_empty());
        assert!(put(&cluster, 0, true).await.is_err(), "not every shard has a node");
    }

    #[tokio::test]
    async fn a_placement_of_twelve_nodes_takes_twelve_shards() {
        let cluster = Cluster::start(12).await;
        let placed = put(&cluster, 0, false).await.ok().unwrap();
        assert_eq!((placed.present, placed.lease_is_poor, overrides(&placed)), (12, false, vec![]));
        let short = put(&cluster, 0, true).await.err().unwrap();
        assert_eq!((short.present, short.needed), (12, 14));
    }

    #[tokio::test]
    async fn three_dead_nodes_are_too_few() {
        let cluster = Cluster::start(14).await;
        cluster.nodes[..3].iter().for_each(FakeNode::kill);
        let short = put(&cluster, 0, false).await.err().unwrap();
        assert_eq!((short.present, short.needed), (11, 12));
        let cluster = Cluster::start(14).await;
        cluster.nodes[0].kill();
        let short = put(&cluster, 0, true).await.err().unwrap();
        assert_eq!((short.present, short.needed), (13, 14));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_node_that_hangs_once_the_quorum_is_there() {
        let cluster = Cluster::start(15).await;
        cluster.nodes[5].behave(Manner::Hanging);
        cluster.nodes[6].behave(Manner::Hanging);
        // Long enough for the others, and then for the spare, however busy the machine is.
        let tuning = Tuning { tail_min: Duration::from_secs(5), ..patient() };
        let placed = put_with(&tuning, &cluster, 1, false).await.ok().unwrap();
        assert_eq!(placed.present, 13);
        assert!(overrides(&placed) == [5] || overrides(&placed) == [6]);
    }

    #[tokio::test]
    async fn the_next_segment_passes_over_a_node_that_lagged() {
        let cluster = Cluster::start(14).await;
        let slow = &cluster.nodes[5];
        slow.behave(Manner::Hanging);
        let (lease, pool) = (cluster.lease(Scheme::DEFAULT, 0), cluster.pool());
        // Long enough for the others, however busy the machine is.
        let tuning = Tuning { tail_min: Duration::from_secs(5), ..patient() };
        for _ in 0..2 {
            let coded = coded(Scheme::DEFAULT, 1000).await;
            assert_eq!(place(&pool, &tuning, &lease, &coded, false).await.ok().unwrap().present, 13);
            assert!(pool.health().is_avoided(slow.id()));
        }
        assert_eq!(slow.state.stores.load(Ordering::SeqCst), 1, "it was asked again");
    }

    #[tokio::test]
    async fn what_one_segment_finds_out_about_a_node_is_believed_by_another_that_waits_for_it() {
        let cluster = Cluster::start(14).await;
        cluster.nodes[5].behave(Manner::Hanging);
        let (lease, pool) = (cluster.lease(Scheme::DEFAULT, 0), cluster.pool());
        let short = Tuning { tail_min: Duration::from_secs(5), ..patient() };
        let endless = Tuning { tail_min: Duration::from_secs(3600), tail_max: Duration::from_secs(3600), ..patient() };
        let [first, second] = [coded(Scheme::DEFAULT, 1000).await, coded(Scheme::DEFAULT, 1000).await];
        let both = futures_util::future::join(
            place(&pool, &short, &lease, &first, false),
            place(&pool, &endless, &lease, &second, false),
        );
        let (one, other) = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
        assert_eq!((one.ok().unwrap().present, other.ok().unwrap().present), (13, 13));
    }

    #[tokio::test]
    async fn a_node_keeps_up_that_stores_for_others_meanwhile() {
        let cluster = Cluster::start(14).await;
        let (lease, pool) = (cluster.lease(Scheme::DEFAULT, 0), cluster.pool());
        let coded = coded(Scheme::DEFAULT, 1000).await;
        let node = |index: usize| cluster.nodes[index].id();
        // From before, which does not count.
        pool.loads().stored(node(0), 1 << 30);
        let mut placing = Placing::new(&pool, &lease, &coded);
        placing.shards[0].under_way.push(node(0));
        (1..14).for_each(|index| placing.shards[index].stored = Some((node(index), Vec::new())));
        (1..14).for_each(|index| pool.loads().stored(node(index), 3000));
        assert!(!placing.keeps_up(), "it did nothing while the others did");
        pool.loads().stored(node(0), 999);
        assert!(!placing.keeps_up());
        pool.loads().stored(node(0), 1);
        assert!(placing.keeps_up());
        placing.shards[0].under_way.clear();
        assert!(!placing.keeps_up(), "nobody is busy");
    }

    #[tokio::test]
    async fn a_node_that_failed_lately_is_tried_again_when_nobody_else_is_left() {
        let cluster = Cluster::start(14).await;
        let (lease, pool) = (cluster.lease(Scheme::DEFAULT, 0), cluster.pool());
        for node in &cluster.nodes[..4] {
            pool.health().failed(node.id(), false);
        }
        let coded = coded(Scheme::DEFAULT, 1000).await;
        let placed = place(&pool, &patient(), &lease, &coded, false).await.ok().unwrap();
        assert!(placed.present >= 12);
        let asked = cluster.nodes[..4].iter().filter(|node| node.state.stores.load(Ordering::SeqCst) > 0).count();
        assert!(asked >= 2);
    }
}
