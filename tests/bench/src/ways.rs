//! Ways between a client and everything else: a [`Link`] where this machine lets one be made, else proxies ([`crate::proxy`]).

use std::net::SocketAddr;
use std::time::Duration;

use crate::bench::Bench;
use crate::link::{Link, Side};
use crate::proxy::{Narrows, Road, Roads};
use crate::{Plan, Result, say};

/// What waits before a narrow place, as in the buffer of a router.
pub(crate) const QUEUE: Duration = Duration::from_millis(40);

/// What a way is like.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Conditions {
    /// There and back.
    pub(crate) round_trip: Duration,
    /// Bytes a second, each way.
    pub(crate) width: Option<f64>,
    /// The share of packets that are lost; nothing is lost in proxies.
    pub(crate) loss: f64,
    /// A node that is reached through a narrow place of its own, in bytes a second.
    pub(crate) slow_node: Option<(usize, f64)>,
}

/// The ways to the server and to each node.
pub(crate) enum Ways {
    /// Packets. The ports of the server and of the nodes.
    Link(Box<Link>, Vec<u16>),
    /// Bytes. The roads to the server and to the nodes, and what keeps them open.
    Proxies(Vec<Road>, #[expect(dead_code, reason = "dropped with the roads")] Roads),
}

impl Ways {
    /// A cluster at the other end of ways. Where they are a link, this thread is on the client's side of it until they are dropped.
    pub(crate) fn to_cluster(plan: &Plan) -> Result<(Bench<'_>, Self)> {
        match Link::new() {
            Ok(link) => Self::over_link(plan, link),
            Err(error) => {
                say(&format!("ways are proxies, which lose nothing, because no link can be made: {error}"));
                let roads = Roads::new()?;
                let (bench, built) = Bench::start_far(plan, &roads)?;
                Ok((bench, Self::Proxies(built, roads)))
            }
        }
    }

    fn over_link(plan: &Plan, link: Link) -> Result<(Bench<'_>, Self)> {
        link.enter(Side::Server)?;
        let cluster = Bench::cluster(plan, &[], &[]);
        link.enter(Side::Client)?;
        let status = cluster.status();
        let nodes = status["nodes"].as_array().ok_or("the status has no nodes")?;
        let nodes = nodes.iter().map(|node| node["address"].as_str().unwrap_or_default());
        let gateway = cluster.gateway();
        let addresses = std::iter::once(gateway.trim_start_matches("http://")).chain(nodes);
        let ports = addresses.map(|address| Ok(address.parse::<SocketAddr>()?.port())).collect::<Result<_>>()?;
        Ok((Bench::of_cluster(plan, cluster)?, Self::Link(Box::new(link), ports)))
    }

    /// The link, if these are one.
    pub(crate) fn link(&self) -> Option<&Link> {
        match self {
            Self::Link(link, _) => Some(link),
            Self::Proxies(..) => None,
        }
    }

    /// What they are like from now on.
    pub(crate) fn set(&self, conditions: Conditions) {
        match self {
            Self::Link(link, ports) => {
                let slow = conditions.slow_node.and_then(|(node, width)| Some((*ports.get(node + 1)?, width)));
                link.set(conditions, slow);
            }
            Self::Proxies(roads, _) => {
                let both = |width| [Narrows::new(width), Narrows::new(width)];
                let link = conditions.width.map(both);
                for (index, road) in roads.iter().enumerate() {
                    road.set_round_trip(conditions.round_trip);
                    let slow = conditions.slow_node.filter(|(node, _)| node + 1 == index);
                    road.set_narrows(link.iter().cloned().chain(slow.map(|(_, width)| both(width))).collect());
                }
            }
        }
    }

    /// Bytes that passed to the server and back, then to each node and back.
    pub(crate) fn counts(&self) -> Vec<[u64; 2]> {
        match self {
            Self::Link(link, ports) => ports.iter().map(|port| link.counts(*port)).collect(),
            Self::Proxies(roads, _) => roads.iter().map(Road::counts).collect(),
        }
    }
}
