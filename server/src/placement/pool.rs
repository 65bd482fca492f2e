//! The placements that new leases use.
//!
//! Every distinct set of nodes is one more way for simultaneous failures to hit more nodes of a segment than it can lose, and one more
//! row; too few placements, on the other hand, leave nodes idle. Each node therefore takes part in about [`PER_NODE`]
//! placements. Placements of the same nodes in another order are of use too: data shards are read more often than parity.

use std::collections::HashMap;
use std::sync::Arc;

use cyx_core::ids::{NodeId, PlacementId, Random as _};
use cyx_core::scheme::Scheme;
use rand::{Rng, RngExt as _};

use super::Placement;
use super::choice::{Candidate, Diversity, capacity, choose};

/// Placements that a node takes part in.
const PER_NODE: usize = 4;
/// Fewest and most placements that are in use for one scheme at a time.
const IN_USE: std::ops::RangeInclusive<usize> = 4..=256;
/// How many placements of one scheme may exist for every one that is wanted: nodes that come and go leave some behind that are
/// usable only now and then.
const SPARE_FACTOR: usize = 4;

/// The open placements.
#[derive(Default, Clone)]
pub struct Pool {
    open: Vec<Arc<Placement>>,
}

/// What [`Pool::pick`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    /// The placement.
    pub placement: Arc<Placement>,
    /// Whether it was made just now and is not in the database yet.
    pub is_new: bool,
}

impl Pool {
    /// A pool of these placements.
    #[must_use]
    pub fn new(open: Vec<Placement>) -> Self {
        Self { open: open.into_iter().map(Arc::new).collect() }
    }

    /// Puts a placement into use.
    pub fn add(&mut self, placement: Arc<Placement>) {
        if !self.open.iter().any(|open| open.id == placement.id) {
            self.open.push(placement);
        }
    }

    /// Takes placements out of use; which they were.
    pub fn close(&mut self, which: impl Fn(&Placement) -> bool) -> Vec<PlacementId> {
        let closed = self.open.iter().filter(|open| which(open)).map(|open| open.id).collect();
        self.open.retain(|open| !which(open));
        closed
    }

    /// Finds or makes a placement of `candidates` for a scheme. `None` if fewer than the write quorum of them may be together.
    pub fn pick<R: Rng>(
        &self,
        scheme: Scheme,
        candidates: &[Candidate],
        diversity: Diversity,
        rng: &mut R,
    ) -> Option<Picked> {
        let reach = capacity(candidates, diversity);
        if reach < scheme.write_quorum() {
            return None;
        }
        let width = scheme.n().min(reach);
        let by_node: HashMap<NodeId, &Candidate> = candidates.iter().map(|c| (c.node, c)).collect();
        let of_scheme = || self.open.iter().filter(|open| open.scheme == scheme);
        let usable: Vec<&Arc<Placement>> =
            of_scheme().filter(|open| open.nodes.len() >= width && is_usable(open, &by_node, diversity)).collect();
        let wanted = wanted(candidates.len(), scheme);
        let may_make = usable.is_empty() || (usable.len() < wanted && of_scheme().count() < wanted * SPARE_FACTOR);
        if may_make {
            let nodes = choose(candidates, width, diversity, rng);
            let placement = Arc::new(Placement { id: PlacementId::random(), scheme, nodes });
            return Some(Picked { placement, is_new: true });
        }
        // The fuller its fullest node, the less often a placement is used.
        let room = |placement: &Placement| {
            placement
                .nodes
                .iter()
                .filter_map(|node| by_node.get(node))
                .map(|candidate| candidate.free)
                .min()
                .unwrap_or(0)
        };
        let rooms: Vec<u64> = usable.iter().map(|placement| (room(placement) >> 20).max(1)).collect();
        let mut ticket = rng.random_range(0..rooms.iter().sum::<u64>().max(1));
        for (placement, room) in usable.iter().zip(rooms) {
            match ticket.checked_sub(room) {
                Some(rest) => ticket = rest,
                None => return Some(Picked { placement: Arc::clone(placement), is_new: false }),
            }
        }
        None
    }
}

/// How many placements there should be.
fn wanted(nodes: usize, scheme: Scheme) -> usize {
    (nodes.div_ceil(scheme.n()) * PER_NODE).clamp(*IN_USE.start(), *IN_USE.end())
}

/// Whether all of its nodes can take more and may still be together.
fn is_usable(placement: &Placement, by_node: &HashMap<NodeId, &Candidate>, diversity: Diversity) -> bool {
    let found: Vec<Candidate> =
        placement.nodes.iter().map_while(|node| by_node.get(node).map(|candidate| (*candidate).clone())).collect();
    found.len() == placement.nodes.len() && capacity(&found, diversity) == found.len()
}

/// Up to `want` nodes that may take the place of any of a placement's.
pub fn spares<R: Rng>(
    placement: &Placement,
    candidates: &[Candidate],
    want: usize,
    diversity: Diversity,
    rng: &mut R,
) -> Vec<NodeId> {
    let taken: Vec<&Candidate> = candidates.iter().filter(|c| placement.nodes.contains(&c.node)).collect();
    let apart = |candidate: &Candidate| {
        diversity == Diversity::Colocated
            || taken.iter().all(|t| t.operator != candidate.operator && t.subnet != candidate.subnet)
    };
    let free: Vec<Candidate> =
        candidates.iter().filter(|c| !placement.nodes.contains(&c.node) && apart(c)).cloned().collect();
    choose(&free, want, diversity, rng)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::IpAddr;

    use cyx_core::ids::AccountId;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::super::choice::Subnet;
    use super::*;

    fn candidates(count: u8) -> Vec<Candidate> {
        (0..count)
            .map(|i| Candidate {
                node: NodeId([i; 16]),
                operator: AccountId([i; 16]),
                subnet: Subnet::of(IpAddr::from([10, 0, i, 1])),
                region: String::new(),
                free: 100 << 30,
                score: 1.0,
            })
            .collect()
    }

    /// Picks many times, putting what is new into use; the ids in the order they came.
    fn use_up(pool: &mut Pool, candidates: &[Candidate], times: usize, rng: &mut StdRng) -> Vec<Arc<Placement>> {
        (0..times)
            .map(|_| {
                let picked = pool.pick(Scheme::DEFAULT, candidates, Diversity::Apart, rng).unwrap();
                pool.add(Arc::clone(&picked.placement));
                picked.placement
            })
            .collect()
    }

    #[test]
    fn placements_stay_few_and_every_node_is_used() {
        let (mut pool, mut rng) = (Pool::default(), StdRng::seed_from_u64(1));
        let nodes = candidates(28);
        let used = use_up(&mut pool, &nodes, 1000, &mut rng);
        let distinct: HashSet<PlacementId> = used.iter().map(|placement| placement.id).collect();
        assert_eq!(distinct.len(), 8);
        let touched: HashSet<NodeId> = used.iter().flat_map(|placement| placement.nodes.clone()).collect();
        assert_eq!(touched.len(), 28);
        assert!(used.iter().all(|placement| placement.nodes.iter().collect::<HashSet<_>>().len() == 14));
    }

    #[test]
    fn a_placement_with_a_failed_node_is_not_used_until_the_node_is_back() {
        let (mut pool, mut rng) = (Pool::default(), StdRng::seed_from_u64(2));
        let all = candidates(14);
        use_up(&mut pool, &all, 50, &mut rng);
        let without: Vec<Candidate> = all.iter().filter(|c| c.node != NodeId([3; 16])).cloned().collect();
        for placement in use_up(&mut pool, &without, 50, &mut rng) {
            assert_eq!(placement.nodes.len(), 13, "as wide as possible");
            assert!(!placement.nodes.contains(&NodeId([3; 16])));
        }
        let before = pool.open.len();
        assert!(use_up(&mut pool, &all, 50, &mut rng).iter().all(|placement| placement.nodes.len() == 14));
        assert_eq!(pool.open.len(), before, "the old ones serve again");
    }

    #[test]
    fn flapping_nodes_do_not_make_placements_without_end() {
        let (mut pool, mut rng) = (Pool::default(), StdRng::seed_from_u64(3));
        let all = candidates(20);
        for round in 0..250_u8 {
            let some: Vec<Candidate> =
                all.iter().filter(|c| (u32::from(round) + u32::from(c.node.0[0])) % 7 != 0).cloned().collect();
            use_up(&mut pool, &some, 3, &mut rng);
        }
        assert!(pool.open.len() <= 60, "{}", pool.open.len());
    }

    #[test]
    fn too_few_nodes_have_no_placement() {
        let (pool, mut rng) = (Pool::default(), StdRng::seed_from_u64(4));
        assert_eq!(pool.pick(Scheme::DEFAULT, &candidates(11), Diversity::Apart, &mut rng), None);
        let picked = pool.pick(Scheme::DEFAULT, &candidates(12), Diversity::Apart, &mut rng).unwrap();
        assert_eq!(picked.placement.nodes.len(), 12);
        assert!(picked.is_new);
    }

    #[test]
    fn spares_are_apart_from_the_placement() {
        let mut rng = StdRng::seed_from_u64(5);
        let mut nodes = candidates(18);
        nodes[17].operator = nodes[0].operator;
        nodes[16].subnet = nodes[1].subnet;
        let placement = Placement {
            id: PlacementId([1; 16]),
            scheme: Scheme::DEFAULT,
            nodes: nodes[..14].iter().map(|c| c.node).collect(),
        };
        let mut found = spares(&placement, &nodes, 4, Diversity::Apart, &mut rng);
        found.sort();
        assert_eq!(found, [nodes[14].node, nodes[15].node]);
        assert_eq!(spares(&placement, &nodes, 4, Diversity::Colocated, &mut rng).len(), 4);
    }
}
