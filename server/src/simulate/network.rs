//! A network whose nodes die at random, and the segments on it.
//!
//! Every node that dies is replaced by an empty one; its shards are missing until their segment is due and its repair is done, which puts
//! all of them on other nodes. Events happen in the order of their times, so years take seconds.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use cyx_core::scheme::Scheme;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::count;
use crate::repair::policy::repair_at;

/// What is simulated. Rates are per year.
#[derive(Debug, Clone, Copy)]
pub struct World {
    /// How the segments are coded.
    pub scheme: Scheme,
    /// Nodes, at least as many as a segment has shards.
    pub nodes: usize,
    /// Segments.
    pub segments: usize,
    /// At which each node dies.
    pub death: f64,
    /// At which a due segment is repaired.
    pub repair: f64,
}

/// What happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Segments that were lost.
    pub lost: usize,
    /// Nodes that died.
    pub deaths: u64,
    /// Shards that were made anew.
    pub rebuilt: u64,
}

/// The end of a segment's repair.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Repair {
    at: f64,
    segment: usize,
}

impl Eq for Repair {}

impl Ord for Repair {
    /// The earliest is the greatest, as the heap wants it.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.total_cmp(&self.at).then(other.segment.cmp(&self.segment))
    }
}

impl PartialOrd for Repair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

struct State<'a> {
    world: &'a World,
    rng: StdRng,
    /// Where the shards of each segment are that are not missing; nothing for a lost one.
    places: Vec<Vec<usize>>,
    /// Segments with a shard on each node.
    held: Vec<Vec<usize>>,
    /// Whether a repair is under way.
    under_way: Vec<bool>,
    repairs: BinaryHeap<Repair>,
    outcome: Outcome,
}

/// Lets years pass.
#[must_use]
pub fn simulate(world: &World, years: f64, seed: [u8; 32]) -> Outcome {
    let nodes = world.nodes.max(world.scheme.n());
    let mut state = State {
        world,
        rng: StdRng::from_seed(seed),
        places: vec![Vec::new(); world.segments],
        held: vec![Vec::new(); nodes],
        under_way: vec![false; world.segments],
        repairs: BinaryHeap::new(),
        outcome: Outcome::default(),
    };
    for segment in 0..world.segments {
        state.place(segment);
    }
    let deaths = count(nodes) * world.death;
    let mut next_death = state.wait(deaths);
    loop {
        let next_repair = state.repairs.peek().map_or(f64::INFINITY, |repair| repair.at);
        let now = next_death.min(next_repair);
        if now > years {
            return state.outcome;
        }
        if next_repair < next_death {
            if let Some(repair) = state.repairs.pop() {
                state.repaired(repair.segment);
            }
        } else {
            state.die(now);
            next_death = now + state.wait(deaths);
        }
    }
}

impl State<'_> {
    /// A time until something that happens at this rate.
    fn wait(&mut self, rate: f64) -> f64 {
        // In (0, 1], so that its logarithm is finite.
        let uniform = 1.0 - self.rng.random::<f64>();
        -uniform.ln() / rate
    }

    /// Puts the missing shards of a segment on nodes that have none of it; how many that were.
    fn place(&mut self, segment: usize) -> u64 {
        let mut placed = 0;
        while self.places[segment].len() < self.world.scheme.n() {
            let node = self.rng.random_range(0..self.held.len());
            if !self.places[segment].contains(&node) {
                self.places[segment].push(node);
                self.held[node].push(segment);
                placed += 1;
            }
        }
        placed
    }

    fn die(&mut self, now: f64) {
        let node = self.rng.random_range(0..self.held.len());
        self.outcome.deaths += 1;
        for segment in std::mem::take(&mut self.held[node]) {
            let places = &mut self.places[segment];
            places.retain(|place| *place != node);
            let left = places.len();
            if left < self.world.scheme.k() {
                self.lose(segment);
            } else if left <= repair_at(self.world.scheme) && !self.under_way[segment] {
                self.under_way[segment] = true;
                let at = now + self.wait(self.world.repair);
                self.repairs.push(Repair { at, segment });
            }
        }
    }

    fn lose(&mut self, segment: usize) {
        self.outcome.lost += 1;
        for node in std::mem::take(&mut self.places[segment]) {
            self.held[node].retain(|held| *held != segment);
        }
    }

    fn repaired(&mut self, segment: usize) {
        self.under_way[segment] = false;
        // What was lost meanwhile stays lost.
        if !self.places[segment].is_empty() {
            self.outcome.rebuilt += self.place(segment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORLD: World = World { scheme: Scheme::DEFAULT, nodes: 50, segments: 200, death: 1.0, repair: 1e6 };

    #[test]
    fn nothing_is_lost_when_repairs_are_at_once_and_all_without_any() {
        let fast = simulate(&WORLD, 5.0, [1; 32]);
        assert_eq!(fast.lost, 0);
        // 250 deaths are expected, with a standard deviation of 16.
        assert!((170..330).contains(&fast.deaths), "{fast:?}");
        // Each death takes 200 · 14 / 50 = 56 shards, but the last one of a segment may not be due yet.
        assert!(fast.rebuilt > fast.deaths * 45 && fast.rebuilt <= fast.deaths * 70, "{fast:?}");
        let never = simulate(&World { repair: 1e-9, ..WORLD }, 50.0, [1; 32]);
        assert_eq!((never.lost, never.rebuilt), (200, 0));
    }

    #[test]
    fn fewer_nodes_than_shards_are_as_many() {
        assert_eq!(simulate(&World { nodes: 3, ..WORLD }, 1.0, [2; 32]).lost, 0);
    }
}
