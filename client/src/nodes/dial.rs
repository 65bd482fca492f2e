//! Connections as they are made, and looks at nodes that let somebody wait. Both go on when whoever began them does not wait any more: a read
//! that others finished must not make the next one find out the same again.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use cyx_core::ids::NodeId;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};

use super::access::NodeAccess;
use super::store::Progress;
use super::wire::Wire;
use super::{NodeError, NodePool, Problem, Work};

/// Who reads waits so long for a node that was waited for in vain before. A node that takes no longer to say that it cannot be reached has made
/// nobody wait.
pub(super) const MOMENT: Duration = Duration::from_secs(1);

/// The place of a node's connection.
#[derive(Default)]
pub(super) struct Slot {
    wire: Option<Wire>,
    dial: Option<Dial>,
}

/// A connection that is being made; all who need it wait for the same one.
#[derive(Clone)]
struct Dial {
    address: String,
    began: Instant,
    outcome: Shared<BoxFuture<'static, Result<Wire, NodeError>>>,
}

enum Reached {
    Wire(Wire),
    Dial(Dial),
}

impl NodePool {
    /// A proven connection to a node: the one at hand if it still stands.
    pub(super) async fn wire(&self, access: &NodeAccess) -> Result<Wire, NodeError> {
        match self.reach(access) {
            Reached::Wire(wire) => Ok(wire),
            Reached::Dial(dial) => dial.outcome.await,
        }
    }

    /// As [`Self::wire`], but a dial that is under way for longer than a moment is not waited for.
    pub(super) async fn wire_soon(&self, access: &NodeAccess) -> Result<Wire, NodeError> {
        match self.reach(access) {
            Reached::Wire(wire) => Ok(wire),
            Reached::Dial(Dial { began, outcome, .. }) => {
                let soon = tokio::time::Instant::from_std(began + MOMENT);
                tokio::time::timeout_at(soon, outcome).await.unwrap_or_else(|_| Err(access.error(Problem::Stalled)))
            }
        }
    }

    /// Dials a node, if it is silent and nobody does already. Nobody has to wait for the outcome.
    pub(crate) fn look_for(&self, access: &NodeAccess) {
        if self.health().is_silent(access.node) && matches!(self.reach(access), Reached::Wire(_)) {
            self.health().heard(access.node);
        }
    }

    fn reach(&self, access: &NodeAccess) -> Reached {
        let mut slots = self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.entry(access.node).or_default();
        if let Some(wire) = slot.wire.as_ref().filter(|wire| wire.is_usable_for(access)) {
            return Reached::Wire(wire.clone());
        }
        if let Some(dial) = slot.dial.as_ref().filter(|dial| dial.address == access.address) {
            return Reached::Dial(dial.clone());
        }
        let dial = self.dial(access);
        *slot = Slot { wire: None, dial: Some(dial.clone()) };
        Reached::Dial(dial)
    }

    fn dial(&self, access: &NodeAccess) -> Dial {
        let (pool, began) = (self.clone(), Instant::now());
        let (dialled, broken) = (access.clone(), access.error(Problem::Unreachable("dialling ended".to_owned())));
        let dialling = tokio::spawn(async move {
            let opened = Wire::open(&dialled, &*pool.inner.session, pool.inner.patience).await;
            pool.settle(&dialled, began, opened)
        });
        let outcome = async move { dialling.await.unwrap_or(Err(broken)) };
        Dial { address: access.address.clone(), began, outcome: outcome.boxed().shared() }
    }

    fn settle(&self, access: &NodeAccess, began: Instant, opened: Result<Wire, Problem>) -> Result<Wire, NodeError> {
        // A node that refuses at once costs nobody time, and whoever asked it counts the failure.
        match &opened {
            Err(_) if began.elapsed() >= MOMENT => self.health().fell_silent(access.node),
            Ok(_) | Err(_) => self.health().heard(access.node),
        }
        let mut slots = self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.entry(access.node).or_default();
        // Somebody may have been told of another address meanwhile, and dials that.
        if slot.dial.as_ref().is_some_and(|dial| dial.began == began && dial.address == access.address) {
            *slot = Slot { wire: opened.as_ref().ok().cloned(), dial: None };
        }
        opened.map_err(|problem| access.error(problem))
    }

    /// What is sent to a node is waited for, and nobody else needs the way: its connection looks for more room.
    pub(crate) fn send_faster(&self, node: NodeId) {
        if let Some(wire) = self.wire_of(node) {
            wire.probe_bandwidth();
        }
    }

    /// The same of what a node sends.
    pub(crate) fn read_faster(&self, node: NodeId) {
        if let Some(wire) = self.wire_of(node) {
            wire.ask_to_probe_bandwidth(self.rate_back(node, Work::LargeRead));
        }
    }

    /// Does something with every connection.
    pub(super) fn every_wire(&self, what: impl Fn(&Wire)) {
        let slots = self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.values().filter_map(|slot| slot.wire.as_ref()).for_each(what);
    }

    pub(super) fn wire_of(&self, node: NodeId) -> Option<Wire> {
        let slots = self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(&node).and_then(|slot| slot.wire.clone())
    }

    /// A node lets a read wait. If nothing was heard of it since, the others that read ask it last until it says something; it has as long
    /// as nodes may take.
    pub(crate) fn doubt(&self, access: &NodeAccess, since: Instant) {
        if self.wire_of(access.node).is_some_and(|wire| wire.heard_since(since)) || !self.health().doubt(access.node) {
            return;
        }
        let (pool, access) = (self.clone(), access.clone());
        tokio::spawn(async move {
            pool.look_at(&access).await;
            pool.health().looked(access.node);
        });
    }

    async fn look_at(&self, access: &NodeAccess) {
        let Ok(wire) = self.wire(access).await else { return };
        let looked = Progress::default().watch(self.inner.patience.idle, wire.ask_for_a_sign()).await;
        // Whoever waited for something else over it may have found out already.
        if looked.is_err() && wire.retire() {
            self.health().failed(access.node, false);
            self.health().fell_silent(access.node);
        }
    }
}
