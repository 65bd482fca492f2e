//! Weeks of a network in which everything goes wrong: nodes die for good, are away for hours, their disks rot, some lie. As long as k shards
//! of a segment exist anywhere, nothing of it is lost, and when it is quiet again everything is whole. Whoever had a shard is paid for it, to
//! the byte and the second.

use cyx_core::scheme::Scheme;
use rand::seq::IndexedRandom as _;

use super::pay::Pay;
use super::*;
use crate::nodes::Leaving;
use crate::nodes::damage::{Damage, WalkLimiter};

/// Time between two looks.
const STEP: Duration = Duration::from_secs(20 * 60);
const DAYS: u32 = 10;
/// Nodes that live at a time.
const POPULATION: usize = 22;

struct Churn {
    world: World,
    pay: Pay,
    next: u8,
    /// When nodes that are away come back.
    away: BTreeMap<NodeId, Duration>,
    died: u32,
    rotten: u32,
}

impl Churn {
    async fn new(seed: u64) -> Self {
        let world = World::new(1..=u8::try_from(POPULATION).unwrap(), seed).await;
        let next = u8::try_from(POPULATION).unwrap() + 1;
        let pay = Pay::begin(&world).await;
        Self { world, pay, next, away: BTreeMap::new(), died: 0, rotten: 0 }
    }

    /// An upload to nodes that take something, as wide as there are any.
    async fn upload(&mut self, scheme: Scheme) {
        let able: Vec<NodeId> = self
            .world
            .registry()
            .all()
            .into_iter()
            .filter(|node| node.can_take(0) && self.world.nodes[&node.id].up)
            .map(|node| node.id)
            .collect();
        let chosen: Vec<NodeId> = able.sample(&mut self.world.rng, scheme.n()).copied().collect();
        // What only liars are given to keep beyond what the code bears was never there.
        let honest = chosen.iter().filter(|node| !self.world.nodes[*node].lies).count();
        if chosen.len() >= scheme.write_quorum() && honest >= scheme.k() {
            self.world.upload_to(scheme, &chosen).await;
        }
    }

    /// How few intact shards a segment may have left for one more to be taken: what is destroyed faster than anybody could repair is no
    /// fault of the repair.
    async fn can_spare(&self, chunk_gone: impl Fn(&Segment, u8) -> bool) -> bool {
        for upload in &self.world.uploads {
            let segment = self.world.segment(upload.id).await;
            let intact = self.world.intact(upload).await;
            let left = intact.iter().filter(|shard| !chunk_gone(&segment, **shard)).count();
            if left < upload.scheme.k() {
                return false;
            }
        }
        true
    }

    fn pick_up(&mut self) -> Option<NodeId> {
        let up: Vec<NodeId> =
            self.world.nodes.values().filter(|node| node.up && !node.lies).map(|node| node.record.id).collect();
        up.choose(&mut self.world.rng).copied()
    }

    /// A node dies with all that it has, and another one joins.
    async fn kill(&mut self) {
        let Some(victim) = self.pick_up() else { return };
        if !self.can_spare(|segment, shard| segment.holder(shard) == Some(victim)).await {
            return;
        }
        let node = self.world.nodes.get_mut(&victim).unwrap();
        node.up = false;
        node.chunks.clear();
        self.died += 1;
        self.world.join(self.next).await;
        self.next += 1;
    }

    /// A chunk rots, and its node finds out.
    async fn rot(&mut self) {
        let Some(victim) = self.pick_up() else { return };
        let chunks: Vec<ChunkId> = self.world.nodes[&victim].chunks.keys().copied().collect();
        let Some(chunk) = chunks.choose(&mut self.world.rng).copied() else { return };
        if !self
            .can_spare(|segment, shard| segment.holder(shard) == Some(victim) && segment.chunk(shard) == chunk)
            .await
        {
            return;
        }
        self.world.nodes.get_mut(&victim).unwrap().chunks.remove(&chunk);
        let db = &self.world.test.app.db;
        Damage::new(WalkLimiter::default()).mark_missing(db, victim, [chunk].into(), self.world.now()).await.unwrap();
        self.rotten += 1;
    }

    /// A node is away for some hours.
    fn partition(&mut self) {
        if self.away.len() >= 2 {
            return;
        }
        let Some(victim) = self.pick_up() else { return };
        let hours = self.world.rng.random_range(1..9_u32);
        self.world.nodes.get_mut(&victim).unwrap().up = false;
        self.away.insert(victim, self.world.elapsed + hours * HOUR);
    }

    fn come_back(&mut self) {
        let now = self.world.elapsed;
        let back: Vec<NodeId> = self.away.iter().filter(|(_, until)| **until <= now).map(|(node, _)| *node).collect();
        for node in back {
            self.away.remove(&node);
            self.world.nodes.get_mut(&node).unwrap().up = true;
        }
    }

    async fn step(&mut self) {
        self.come_back();
        self.world.pass(STEP);
        let what = self.world.rng.random_range(0..12_u32);
        match what {
            0 => self.kill().await,
            1 | 2 => self.rot().await,
            3 => self.partition(),
            4 if self.world.uploads.len() < 40 => self.upload(Scheme::DEFAULT).await,
            5 if self.world.uploads.len() < 40 => self.upload(Scheme::new(2, 1).unwrap()).await,
            _ => {}
        }
        let steps = self.world.settle().await;
        // Without tasks and without harm, shards are where they were.
        if what < 6 || steps.len() > 1 {
            self.pay.look(&self.world).await;
        }
        if self.world.rng.random_range(0..8_u32) == 0 {
            self.pay.meter(&self.world).await;
        }
    }
}

async fn weeks(seed: u64) {
    let mut churn = Churn::new(seed).await;
    for _ in 0..8 {
        churn.upload(Scheme::DEFAULT).await;
    }
    churn.pay.look(&churn.world).await;
    // Two of them lie about everything that they keep, from the first day on.
    for liar in ids([1, 2]) {
        churn.world.nodes.get_mut(&liar).unwrap().lies = true;
    }
    let steps = DAYS * 24 * 3;
    for step in 0..steps {
        churn.step().await;
        if step % 36 == 0 {
            churn.world.check_places().await;
            for upload in &churn.world.uploads {
                let intact = churn.world.intact(upload).await.len();
                assert!(intact >= upload.scheme.k(), "seed {seed}, step {step}: {} of {}", intact, upload.scheme);
            }
        }
    }
    assert!(churn.died >= 10 && churn.rotten >= 20, "{} died, {} chunks rotted", churn.died, churn.rotten);

    // Quiet: the liars are found out and everybody else is back.
    for node in churn.away.keys() {
        churn.world.nodes.get_mut(node).unwrap().up = true;
    }
    for liar in ids([1, 2]) {
        crate::repair::leave::set(&churn.world.test.app, liar, Leaving::Draining, churn.world.now()).await.unwrap();
    }
    for _ in 0..36 {
        churn.world.pass(STEP);
        churn.world.settle().await;
        churn.pay.look(&churn.world).await;
    }
    let world = &churn.world;
    assert_eq!(world.count("repair WHERE due = 1").await, 0, "seed {seed}: everything that was due is done");
    assert_eq!(world.count("repair_task").await, 0);
    world.check_places().await;
    let nodes = world.nodes_now();
    for upload in &world.uploads {
        let segment = world.segment(upload.id).await;
        let health = segment.health(&nodes);
        assert!(!health.is_due(), "seed {seed}: {health:?}");
        let intact = world.intact(upload).await;
        assert!(intact.len() >= upload.scheme.k());
        // Every byte reads back from what is left.
        let read: Vec<(usize, Vec<u8>)> = intact
            .iter()
            .map(|shard| {
                let holder = segment.holder(*shard).unwrap();
                (usize::from(*shard), world.nodes[&holder].chunks[&segment.chunk(*shard)].clone())
            })
            .collect();
        let present: Vec<(usize, &[u8])> = read.iter().map(|(shard, bytes)| (*shard, &bytes[..])).collect();
        let coder = Coder::new(upload.scheme);
        for wanted in 0..upload.scheme.k() {
            if present.iter().any(|(shard, _)| *shard == wanted) {
                continue;
            }
            let mut out = vec![0; upload.shards[wanted].len()];
            coder.reconstruct(&present, &mut [(wanted, &mut out[..])]).unwrap();
            assert_eq!(out, upload.shards[wanted]);
        }
    }
    let Churn { world, pay, .. } = churn;
    pay.check(&world).await;
}

#[tokio::test]
async fn ten_days_of_deaths_rot_partitions_and_lies_lose_nothing() {
    for seed in [1, 2] {
        weeks(seed).await;
    }
}
