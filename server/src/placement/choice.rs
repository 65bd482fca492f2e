//! Which nodes get the shards of a placement: a pure function of what is known about them and of a random generator.
//!
//! Every node gets a random rank that favours free space and a good record (weighted sampling without replacement after
//! Efraimidis and Spirakis: `ln(u) / weight`, the greatest first). Regions take turns in that order. Then the nodes are taken from the
//! top such that no two belong to one operator or one network. Taking greedily could end with fewer nodes than possible, and a
//! node too few can cost a whole scheme, so operators and networks are matched by augmenting paths (Kuhn's algorithm): an operator
//! once chosen stays chosen, but may be moved to another of its nodes when that makes room for one more.

use std::collections::HashMap;
use std::net::IpAddr;

use cyx_core::ids::{AccountId, NodeId};
use rand::{Rng, RngExt as _};

/// What the choice knows about a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// Whose it is.
    pub operator: AccountId,
    /// The network it is in.
    pub subnet: Subnet,
    /// Where it says it is; may be empty.
    pub region: String,
    /// Bytes it can still take.
    pub free: u64,
    /// How far it is trusted, from 0 to 1.
    pub score: f64,
}

/// Addresses that are likely to fail together: the first 24 bits of IPv4, the first 64 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet([u8; 8]);

impl Subnet {
    /// The network of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        let mut bytes = [0; 8];
        match address.to_canonical() {
            // 0xff marks IPv4: no unicast IPv6 address begins with it.
            IpAddr::V4(v4) => {
                bytes[0] = 0xff;
                bytes[1..4].copy_from_slice(&v4.octets()[..3]);
            }
            IpAddr::V6(v6) => bytes.copy_from_slice(&v6.octets()[..8]),
        }
        Self(bytes)
    }
}

/// Whether nodes that are likely to fail together may hold shards of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Diversity {
    /// At most one node per operator and per network.
    Apart,
    /// Any nodes: for clusters on one machine.
    Colocated,
}

/// Chooses up to `want` nodes, the most suitable first. The result is as long as the rules allow.
pub fn choose<R: Rng>(candidates: &[Candidate], want: usize, diversity: Diversity, rng: &mut R) -> Vec<NodeId> {
    let order = spread_over_regions(candidates, &rank(candidates, rng));
    let chosen = match diversity {
        Diversity::Colocated => order.into_iter().take(want).collect(),
        Diversity::Apart => keep_apart(candidates, &order, want),
    };
    chosen.into_iter().map(|index| candidates[index].node).collect()
}

/// How many nodes can be chosen together.
#[must_use]
pub fn capacity(candidates: &[Candidate], diversity: Diversity) -> usize {
    match diversity {
        Diversity::Colocated => candidates.len(),
        Diversity::Apart => {
            let order: Vec<usize> = (0..candidates.len()).collect();
            keep_apart(candidates, &order, usize::MAX).len()
        }
    }
}

/// Indices in random order, favouring weight.
fn rank<R: Rng>(candidates: &[Candidate], rng: &mut R) -> Vec<usize> {
    let mut keyed: Vec<(f64, usize)> = candidates
        .iter()
        .enumerate()
        .map(|(index, candidate)| {
            // In (0, 1], so that its logarithm is finite.
            let uniform = 1.0 - rng.random::<f64>();
            (uniform.ln() / weight(candidate), index)
        })
        .collect();
    keyed.sort_by(|a, b| b.0.total_cmp(&a.0));
    keyed.into_iter().map(|(_, index)| index).collect()
}

/// Free GiB times score; never zero, so that a full or distrusted node comes last instead of never.
fn weight(candidate: &Candidate) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a weight needs no exact bytes")]
    let free = candidate.free as f64 / (1_u64 << 30) as f64;
    (free * candidate.score.clamp(0.0, 1.0)).max(1e-6)
}

/// Lets regions take turns: the first of each, then the second of each, and so on.
fn spread_over_regions(candidates: &[Candidate], order: &[usize]) -> Vec<usize> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut turns: Vec<(usize, usize)> = order
        .iter()
        .map(|&index| {
            let turn = seen.entry(candidates[index].region.as_str()).or_default();
            *turn += 1;
            (*turn, index)
        })
        .collect();
    turns.sort_by_key(|&(turn, _)| turn);
    turns.into_iter().map(|(_, index)| index).collect()
}

/// One operator's nodes in order of preference.
struct Operator {
    nodes: Vec<usize>,
    taken: Option<usize>,
}

fn keep_apart(candidates: &[Candidate], order: &[usize], want: usize) -> Vec<usize> {
    let mut operators: Vec<Operator> = Vec::new();
    let mut by_id: HashMap<AccountId, usize> = HashMap::new();
    for &index in order {
        let place = *by_id.entry(candidates[index].operator).or_insert_with(|| {
            operators.push(Operator { nodes: Vec::new(), taken: None });
            operators.len() - 1
        });
        operators[place].nodes.push(index);
    }
    let mut holder: HashMap<Subnet, usize> = HashMap::new();
    let mut found = 0;
    for operator in 0..operators.len() {
        if found == want {
            break;
        }
        if augment(candidates, &mut operators, &mut holder, operator) {
            found += 1;
        }
    }
    let position: HashMap<usize, usize> = order.iter().enumerate().map(|(at, &index)| (index, at)).collect();
    let mut chosen: Vec<usize> = operators.iter().filter_map(|operator| operator.taken).collect();
    chosen.sort_by_key(|index| position.get(index).copied());
    chosen
}

/// Finds a network for `operator`, moving others to other nodes of theirs if need be. Breadth first, so that as few as possible move
/// and no stack grows with the number of nodes.
fn augment(
    candidates: &[Candidate],
    operators: &mut [Operator],
    holder: &mut HashMap<Subnet, usize>,
    operator: usize,
) -> bool {
    // How each network was reached: by which operator, with which node.
    let mut reached: HashMap<Subnet, (usize, usize)> = HashMap::new();
    let mut queue = std::collections::VecDeque::from([operator]);
    while let Some(current) = queue.pop_front() {
        for &index in &operators[current].nodes {
            let subnet = candidates[index].subnet;
            if reached.contains_key(&subnet) {
                continue;
            }
            reached.insert(subnet, (current, index));
            match holder.get(&subnet) {
                Some(&other) => queue.push_back(other),
                None => {
                    claim(candidates, operators, holder, &reached, subnet, operator);
                    return true;
                }
            }
        }
    }
    false
}

/// Walks the path back from a free network to the operator that asked.
fn claim(
    candidates: &[Candidate],
    operators: &mut [Operator],
    holder: &mut HashMap<Subnet, usize>,
    reached: &HashMap<Subnet, (usize, usize)>,
    free: Subnet,
    operator: usize,
) {
    let mut subnet = free;
    while let Some(&(current, index)) = reached.get(&subnet) {
        let left = operators[current].taken.replace(index);
        holder.insert(subnet, current);
        match left {
            Some(left) if current != operator => subnet = candidates[left].subnet,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    fn candidate(node: u8, operator: u8, subnet: u8, free_gib: u64) -> Candidate {
        Candidate {
            node: NodeId([node; 16]),
            operator: AccountId([operator; 16]),
            subnet: Subnet::of(IpAddr::from([10, 0, subnet, node])),
            region: String::new(),
            free: free_gib << 30,
            score: 1.0,
        }
    }

    /// The largest set that the rules allow, by trying every subset.
    fn largest(candidates: &[Candidate]) -> usize {
        (0_u32..1 << candidates.len())
            .filter(|subset| {
                let taken: Vec<&Candidate> =
                    candidates.iter().enumerate().filter(|(i, _)| subset & (1 << i) != 0).map(|(_, c)| c).collect();
                let operators: HashSet<_> = taken.iter().map(|c| c.operator).collect();
                let subnets: HashSet<_> = taken.iter().map(|c| c.subnet).collect();
                operators.len() == taken.len() && subnets.len() == taken.len()
            })
            .map(|subset| subset.count_ones() as usize)
            .max()
            .unwrap_or(0)
    }

    proptest! {
        #[test]
        fn no_two_share_an_operator_or_a_network_and_none_is_left_out(
            nodes in proptest::collection::vec((0_u8..5, 0_u8..5, 0_u64..100), 0..11),
            want in 0_usize..12,
            seed: u64,
        ) {
            let candidates: Vec<Candidate> = nodes
                .iter()
                .enumerate()
                .map(|(i, &(operator, subnet, free))| candidate(u8::try_from(i).unwrap(), operator, subnet, free))
                .collect();
            let chosen = choose(&candidates, want, Diversity::Apart, &mut StdRng::seed_from_u64(seed));
            let find = |node: &NodeId| candidates.iter().find(|c| c.node == *node).unwrap();
            let operators: HashSet<_> = chosen.iter().map(|node| find(node).operator).collect();
            let subnets: HashSet<_> = chosen.iter().map(|node| find(node).subnet).collect();
            prop_assert_eq!(operators.len(), chosen.len());
            prop_assert_eq!(subnets.len(), chosen.len());
            prop_assert_eq!(chosen.len(), largest(&candidates).min(want));
            prop_assert_eq!(capacity(&candidates, Diversity::Apart), largest(&candidates));
        }

        #[test]
        fn the_same_seed_gives_the_same_choice(seed: u64, want in 1_usize..20) {
            let candidates: Vec<Candidate> = (0..20).map(|i| candidate(i, i % 7, i, u64::from(i))).collect();
            for diversity in [Diversity::Apart, Diversity::Colocated] {
                let [a, b] = [(); 2].map(|()| choose(&candidates, want, diversity, &mut StdRng::seed_from_u64(seed)));
                prop_assert_eq!(a, b);
            }
        }
    }

    #[test]
    fn colocated_nodes_are_taken_when_allowed_and_never_twice() {
        let candidates: Vec<Candidate> = (0..14).map(|i| candidate(i, 0, 0, 10)).collect();
        let mut rng = StdRng::seed_from_u64(1);
        assert_eq!(choose(&candidates, 14, Diversity::Apart, &mut rng).len(), 1);
        let chosen = choose(&candidates, 20, Diversity::Colocated, &mut rng);
        assert_eq!(chosen.iter().collect::<HashSet<_>>().len(), 14);
        assert_eq!(chosen.len(), 14);
    }

    #[test]
    fn free_space_decides_how_often_a_node_is_chosen() {
        let candidates: Vec<Candidate> = (0..10).map(|i| candidate(i, i, i, if i == 0 { 300 } else { 100 })).collect();
        let mut rng = StdRng::seed_from_u64(2);
        let mut first = [0_u32; 10];
        for _ in 0..12_000 {
            let chosen = choose(&candidates, 1, Diversity::Apart, &mut rng);
            first[usize::from(chosen[0].0[0])] += 1;
        }
        // 300 of 1,200 GiB: 3,000 expected, 47 the standard deviation; 1,000 and 30 for the others.
        assert!((2_700..3_300).contains(&first[0]), "{first:?}");
        assert!(first[1..].iter().all(|count| (800..1_200).contains(count)), "{first:?}");
    }

    #[test]
    fn a_distrusted_node_comes_last() {
        let mut candidates: Vec<Candidate> = (0..10).map(|i| candidate(i, i, i, 100)).collect();
        candidates[3].score = 0.0;
        for seed in 0..50 {
            let chosen = choose(&candidates, 10, Diversity::Apart, &mut StdRng::seed_from_u64(seed));
            assert_eq!(chosen.last(), Some(&NodeId([3; 16])));
        }
    }

    #[test]
    fn regions_get_equal_parts_whatever_their_size() {
        let mut candidates: Vec<Candidate> = (0..20).map(|i| candidate(i, i, i, 100)).collect();
        for (index, candidate) in candidates.iter_mut().enumerate() {
            candidate.region = if index < 14 {
                "eu"
            } else if index < 17 {
                "us"
            } else {
                "ap"
            }
            .to_owned();
        }
        for seed in 0..50 {
            let chosen = choose(&candidates, 9, Diversity::Apart, &mut StdRng::seed_from_u64(seed));
            let of = |range: std::ops::Range<u8>| chosen.iter().filter(|node| range.contains(&node.0[0])).count();
            assert_eq!([of(0..14), of(14..17), of(17..20)], [3, 3, 3]);
        }
    }

    #[test]
    fn networks_are_24_bits_of_ipv4_and_64_of_ipv6() {
        let subnet = |text: &str| Subnet::of(text.parse().unwrap());
        assert_eq!(subnet("192.0.2.1"), subnet("192.0.2.200"));
        assert_eq!(subnet("192.0.2.1"), subnet("::ffff:192.0.2.9"));
        assert_ne!(subnet("192.0.2.1"), subnet("192.0.3.1"));
        assert_eq!(subnet("2001:db8:0:1::1"), subnet("2001:db8:0:1:ffff::2"));
        assert_ne!(subnet("2001:db8:0:1::1"), subnet("2001:db8:0:2::1"));
    }
}
