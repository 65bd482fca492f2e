//! All nodes in memory: what the server decides from when it places, reads and reports.
//!
//! Liveness follows from the time since the last heartbeat, measured on the monotonic clock, which stands still while the machine
//! sleeps: a server that wakes up does not find all of its nodes lost. After a start, nodes that were online before have one interval of
//! grace, so that a restart interrupts no upload, and nodes that were offline wait for their loss anew.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use cyx_core::ids::{AccountId, NodeId};
use cyx_core::units::NODE_RESERVED;
use tokio::sync::broadcast;

use super::events::ClusterEvent;
use crate::audits::Standing;
use crate::placement::choice::{Candidate, Subnet};

/// More than any node can have, 1 PiB: what more is claimed would overflow sums, and draw every placement.
pub const CAPACITY_MAX: u64 = 1 << 50;
/// The score of a node that nothing bad is known of.
pub const SCORE_FULL: u32 = 1000;
/// What a new node starts with.
pub const SCORE_NEW: u32 = 500;
/// No node falls below, so that one can recover.
const SCORE_LEAST: u32 = 50;
/// A node with less room than this gets no new placements: the largest chunk must fit.
const ROOM_MIN: u64 = cyx_core::units::CHUNK_MAX;
/// Events that a slow listener may lag behind.
const EVENTS_KEPT: usize = 1024;

/// A time that is further ahead of the clock, in nanoseconds, was told by one that has been set back since.
pub(super) const AHEAD_MAX_NS: i64 = 60 * 1_000_000_000;

/// Whether a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Liveness {
    /// Its heartbeats come.
    Online,
    /// Some failed to come: it is read from, but gets nothing new.
    Suspect,
    /// It has been silent for long enough that nobody waits for it. What it holds is expected to come back with it.
    Offline,
    /// It has been silent for so long that what it holds is made anew elsewhere.
    Lost,
}

impl Liveness {
    /// The word in the database and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Suspect => "suspect",
            Self::Offline => "offline",
            Self::Lost => "lost",
        }
    }

    /// The opposite of [`Self::as_str`]; unknown words are offline.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "online" => Self::Online,
            "suspect" => Self::Suspect,
            "lost" => Self::Lost,
            _ => Self::Offline,
        }
    }

    /// Whether it is worth asking.
    #[must_use]
    pub const fn is_reachable(self) -> bool {
        matches!(self, Self::Online | Self::Suspect)
    }
}

/// Whether a node is to be emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Leaving {
    /// It stays.
    #[default]
    None,
    /// An administrator empties it.
    Draining,
    /// Its operator ends it.
    Exiting,
    /// It handed over everything and is no part of the network any more.
    Exited,
}

impl Leaving {
    /// The word in the database and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Draining => "draining",
            Self::Exiting => "exiting",
            Self::Exited => "exited",
        }
    }

    /// The opposite of [`Self::as_str`]; unknown words are none.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "draining" => Self::Draining,
            "exiting" => Self::Exiting,
            "exited" => Self::Exited,
            _ => Self::None,
        }
    }
}

/// What is known about one node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRecord {
    /// Its id.
    pub id: NodeId,
    /// Its Ed25519 key.
    pub public_key: [u8; 32],
    /// The account it belongs to.
    pub operator: AccountId,
    /// The machine id it got from its account.
    pub machine: String,
    /// Where clients reach it.
    pub address: String,
    /// What that resolved to.
    pub ip: IpAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Of its program.
    pub version: String,
    /// Where it says it is.
    pub region: String,
    /// Bytes offered in all.
    pub capacity: u64,
    /// Newest report.
    pub report: Report,
    /// Whether it answers.
    pub state: Liveness,
    /// Thousandths: how well it serves.
    pub score: u32,
    /// Thousandths: how well it proves what it holds; see [`crate::audits::score`].
    pub audit_score: u32,
    /// How far it is trusted after its audits.
    pub standing: Standing,
    /// Unix nanoseconds.
    pub registered_ns: i64,
    /// Unix nanoseconds.
    pub last_heartbeat_ns: i64,
    /// Sequence of the newest keep-list round; 0: none.
    pub keep_list_sequence: u64,
    /// Whether it is to be emptied.
    pub leaving: Leaving,
}

/// What a node says about itself in a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Bytes of live chunks.
    pub used: u64,
    /// Bytes in its trash.
    pub trash: u64,
    /// Bytes it would still accept.
    pub free: u64,
    /// Live chunks.
    pub chunks: u64,
    /// Chunks found damaged.
    pub damaged: u64,
    /// Why it refuses to store; empty if it does not.
    pub read_only: String,
    /// Seconds by which its clock is ahead of the server's.
    pub skew: i64,
    /// Whether it takes part in no repairs.
    pub takes_no_tasks: bool,
}

impl NodeRecord {
    /// Bytes that users' chunks may take: all but the reserve.
    #[must_use]
    pub const fn allocatable(&self) -> u64 {
        self.capacity.saturating_sub(NODE_RESERVED)
    }

    /// Bytes that it can still take.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.allocatable().saturating_sub(self.report.used).min(self.report.free)
    }

    /// `used / allocatable`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    pub fn utilization(&self) -> f64 {
        if self.allocatable() == 0 { 1.0 } else { self.report.used as f64 / self.allocatable() as f64 }
    }

    /// `online`, `suspect`, `offline`, `lost` or `read-only`.
    #[must_use]
    pub fn status(&self) -> &'static str {
        if self.state == Liveness::Online && !self.report.read_only.is_empty() {
            "read-only"
        } else {
            self.state.as_str()
        }
    }

    /// Whether what it holds counts as gone: it is to be made anew elsewhere.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.state == Liveness::Lost || self.standing == Standing::Disqualified || self.leaving == Leaving::Exited
    }

    /// Whether it may get new shards, each node `need` bytes.
    #[must_use]
    pub fn can_take(&self, need: u64) -> bool {
        self.state == Liveness::Online
            && self.leaving == Leaving::None
            && self.standing.takes_new()
            && self.report.read_only.is_empty()
            && self.available() >= need.max(ROOM_MIN)
    }

    /// What the choice of nodes knows about it.
    #[must_use]
    pub fn candidate(&self) -> Candidate {
        Candidate {
            node: self.id,
            operator: self.operator,
            subnet: Subnet::of(self.ip),
            region: self.region.clone(),
            free: self.available(),
            score: thousandths(self.score) * thousandths(self.audit_score) * self.standing.weight(),
        }
    }
}

struct Slot {
    record: NodeRecord,
    seen: Instant,
    /// Changed since it was last written down.
    dirty: bool,
    /// It was punished within this hour.
    punished: bool,
}

impl Slot {
    /// Whether what another server wrote down takes its place.
    fn is_older_than(&self, record: &NodeRecord, now: i64) -> bool {
        let (own, other) = (self.record.last_heartbeat_ns, record.last_heartbeat_ns);
        match (is_ahead(own, now), is_ahead(other, now)) {
            (true, false) => true,
            // The right time is not written down yet.
            (false, true) => !self.dirty,
            _ => own < other,
        }
    }
}

/// When silence means something.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A node is suspect after this.
    pub suspect: Duration,
    /// Offline after this.
    pub offline: Duration,
    /// And lost after this.
    pub lost: Duration,
}

impl Patience {
    /// As configured, but such that a node is not suspect before two heartbeats failed to come, and that no state comes before an
    /// earlier one.
    #[must_use]
    pub fn of_seconds(suspect: u64, offline: u64, lost: u64, heartbeat: u32) -> Self {
        let [suspect, offline, lost] = [suspect, offline, lost].map(Duration::from_secs);
        let missed = Duration::from_secs(u64::from(heartbeat) * 5 / 2);
        Self { suspect: suspect.max(missed).min(offline), offline, lost: lost.max(offline) }
    }

    /// What a node is that has been silent for so long.
    fn judge(&self, silent: Duration) -> Liveness {
        if silent >= self.lost {
            Liveness::Lost
        } else if silent >= self.offline {
            Liveness::Offline
        } else if silent >= self.suspect {
            Liveness::Suspect
        } else {
            Liveness::Online
        }
    }
}

/// The nodes. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    nodes: Arc<RwLock<BTreeMap<NodeId, Slot>>>,
    patience: Patience,
    events: broadcast::Sender<ClusterEvent>,
}

impl Registry {
    /// A registry of the nodes in the database, as they were last written down.
    #[must_use]
    pub fn new(records: Vec<NodeRecord>, patience: Patience, now: Instant) -> Self {
        let slots = records.into_iter().map(|record| {
            let silent = match record.state {
                Liveness::Online | Liveness::Suspect => Duration::ZERO,
                Liveness::Offline => patience.offline,
                Liveness::Lost => patience.lost,
            };
            let seen = now.checked_sub(silent).unwrap_or(now);
            (record.id, Slot { record, seen, dirty: false, punished: false })
        });
        let nodes = Arc::new(RwLock::new(slots.collect()));
        Self { nodes, patience, events: broadcast::channel(EVENTS_KEPT).0 }
    }

    /// When silence means something.
    #[must_use]
    pub const fn patience(&self) -> Patience {
        self.patience
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<NodeId, Slot>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<NodeId, Slot>> {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Events from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<ClusterEvent> {
        self.events.subscribe()
    }

    /// Tells all listeners.
    pub fn publish(&self, event: ClusterEvent) {
        // Without listeners there is nobody to tell.
        let _ = self.events.send(event);
    }

    /// One node.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<NodeRecord> {
        self.read().get(&node).map(|slot| slot.record.clone())
    }

    /// All nodes, by id.
    #[must_use]
    pub fn all(&self) -> Vec<NodeRecord> {
        self.read().values().map(|slot| slot.record.clone()).collect()
    }

    /// The nodes that can take `need` bytes each and are not to be avoided.
    #[must_use]
    pub fn candidates(&self, need: u64, avoid: &HashSet<NodeId>) -> Vec<Candidate> {
        let nodes = self.read();
        let able = nodes.values().filter(|slot| slot.record.can_take(need) && !avoid.contains(&slot.record.id));
        able.map(|slot| slot.record.candidate()).collect()
    }

    /// A node registered: it is alive now. Keeps what an earlier registration is remembered for.
    pub fn register(&self, mut record: NodeRecord, now: Instant) -> NodeRecord {
        record.state = Liveness::Online;
        let mut nodes = self.write();
        let old = nodes.get(&record.id).map(|slot| slot.record.clone());
        if let Some(old) = &old {
            record.score = old.score;
            (record.audit_score, record.standing) = (old.audit_score, old.standing);
            record.report = old.report.clone();
            record.registered_ns = old.registered_ns;
            record.last_heartbeat_ns = behind(old.last_heartbeat_ns, record.last_heartbeat_ns);
            record.keep_list_sequence = old.keep_list_sequence;
            record.leaving = old.leaving;
        }
        nodes.insert(record.id, Slot { record: record.clone(), seen: now, dirty: false, punished: false });
        drop(nodes);
        let is_news = old.is_none_or(|old| old.state >= Liveness::Offline || old.address != record.address);
        if is_news {
            self.publish(ClusterEvent::NodeJoined { node_id: record.id, address: record.address.clone() });
        }
        record
    }

    /// A heartbeat came. `None` if the node is unknown.
    pub fn heartbeat(
        &self,
        node: NodeId,
        version: &str,
        report: Report,
        now: Instant,
        now_ns: i64,
    ) -> Option<NodeRecord> {
        let mut nodes = self.write();
        let slot = nodes.get_mut(&node)?;
        let old_status = slot.record.status();
        let was_away = slot.record.state >= Liveness::Offline;
        if slot.record.version != version {
            version.clone_into(&mut slot.record.version);
        }
        slot.record.report = report;
        slot.record.last_heartbeat_ns = behind(slot.record.last_heartbeat_ns, now_ns);
        slot.record.state = Liveness::Online;
        slot.seen = now;
        slot.dirty = true;
        let record = slot.record.clone();
        drop(nodes);
        if was_away {
            self.publish(ClusterEvent::NodeJoined { node_id: node, address: record.address.clone() });
        } else if old_status != record.status() {
            self.publish(health_changed(&record));
        }
        Some(record)
    }

    /// Judges silence. Returns whether any node's state changed.
    pub fn sweep(&self, now: Instant) -> bool {
        let mut news = Vec::new();
        for slot in self.write().values_mut() {
            let silent = now.saturating_duration_since(slot.seen);
            let state = self.patience.judge(silent);
            let old = std::mem::replace(&mut slot.record.state, state);
            if state == old {
                continue;
            }
            slot.dirty = true;
            if state >= Liveness::Offline && old < Liveness::Offline {
                slot.record.score = (slot.record.score * 4 / 5).max(SCORE_LEAST);
                let reason = format!("no heartbeat for {} seconds", silent.as_secs());
                news.push(ClusterEvent::NodeLeft { node_id: slot.record.id, reason });
            } else {
                news.push(health_changed(&slot.record));
            }
        }
        let changed = !news.is_empty();
        for event in news {
            self.publish(event);
        }
        changed
    }

    /// An hour of good service was done by all that are alive.
    pub fn reward(&self) {
        let mut nodes = self.write();
        nodes.values_mut().for_each(|slot| slot.punished = false);
        for slot in nodes.values_mut().filter(|slot| slot.record.state == Liveness::Online) {
            slot.record.score += (SCORE_FULL.saturating_sub(slot.record.score)).div_ceil(20);
            slot.dirty = true;
        }
    }

    /// A node lost shards. Once in an hour: it reports what it lost in several parts.
    pub fn punish(&self, node: NodeId) {
        if let Some(slot) = self.write().get_mut(&node).filter(|slot| !slot.punished) {
            slot.punished = true;
            slot.record.score = (slot.record.score * 9 / 10).max(SCORE_LEAST);
            slot.dirty = true;
        }
    }

    /// A new round of keep-lists was made for a node.
    pub fn set_keep_list_sequence(&self, node: NodeId, sequence: u64) {
        if let Some(slot) = self.write().get_mut(&node) {
            slot.record.keep_list_sequence = slot.record.keep_list_sequence.max(sequence);
        }
    }

    /// Whether a node is to be emptied, as it was just written down.
    pub fn set_leaving(&self, node: NodeId, leaving: Leaving) {
        if let Some(slot) = self.write().get_mut(&node) {
            slot.record.leaving = leaving;
        }
    }

    /// What a node's audits say of it, as it was just written down.
    pub fn set_standing(&self, node: NodeId, standing: Standing, audit_score: u32) {
        let mut nodes = self.write();
        let Some(slot) = nodes.get_mut(&node) else { return };
        let old = std::mem::replace(&mut slot.record.standing, standing);
        slot.record.audit_score = audit_score;
        drop(nodes);
        if old != standing {
            self.publish(standing_changed(node, standing, old));
        }
    }

    /// Takes what changed since the last time, to write it down.
    #[must_use]
    pub fn take_dirty(&self) -> Vec<NodeRecord> {
        let mut nodes = self.write();
        let dirty = nodes.values_mut().filter(|slot| slot.dirty);
        dirty
            .map(|slot| {
                slot.dirty = false;
                slot.record.clone()
            })
            .collect()
    }

    /// Writing down failed: these are to be tried again.
    pub fn mark_dirty(&self, records: &[NodeRecord]) {
        let mut nodes = self.write();
        for record in records {
            if let Some(slot) = nodes.get_mut(&record.id) {
                slot.dirty = true;
            }
        }
    }

    /// Takes over what other servers of the same database wrote down: new nodes, and heartbeats that went to them.
    pub fn merge(&self, records: Vec<NodeRecord>, now: Instant, now_ns: i64) {
        let mut news = Vec::new();
        let mut nodes = self.write();
        for record in records {
            let known = nodes.get(&record.id);
            let newer = known.is_none_or(|known| known.is_older_than(&record, now_ns));
            if let Some(was) = known.map(|known| known.record.standing).filter(|was| *was != record.standing) {
                // Another server audited it.
                news.push(standing_changed(record.id, record.standing, was));
            }
            if !newer {
                if let Some(slot) = nodes.get_mut(&record.id) {
                    slot.record.keep_list_sequence = slot.record.keep_list_sequence.max(record.keep_list_sequence);
                    slot.record.leaving = record.leaving;
                    (slot.record.standing, slot.record.audit_score) = (record.standing, record.audit_score);
                }
                continue;
            }
            let age = Duration::from_nanos(u64::try_from(now_ns.saturating_sub(record.last_heartbeat_ns)).unwrap_or(0));
            let seen = now.checked_sub(age).unwrap_or(now);
            if nodes.get(&record.id).is_none_or(|slot| slot.record.state >= Liveness::Offline) {
                news.push(ClusterEvent::NodeJoined { node_id: record.id, address: record.address.clone() });
            }
            nodes.insert(record.id, Slot { record, seen, dirty: false, punished: false });
        }
        drop(nodes);
        for event in news {
            self.publish(event);
        }
    }
}

/// The time of what happens now and comes behind something else: later than that even if the clock was set back, for of two the later one
/// counts, here and in the database. Unless that time is far ahead: when a node was heard of also decides what it is paid, and when what it holds is
/// given up.
fn behind(last: i64, now: i64) -> i64 {
    if is_ahead(last, now) { now } else { now.max(last.saturating_add(1)) }
}

/// Whether a time was told by a clock that has been set back since.
const fn is_ahead(time: i64, now: i64) -> bool {
    time > now.saturating_add(AHEAD_MAX_NS)
}

fn thousandths(value: u32) -> f64 {
    f64::from(value) / f64::from(SCORE_FULL)
}

fn health_changed(record: &NodeRecord) -> ClusterEvent {
    let details = if record.state == Liveness::Online { record.report.read_only.clone() } else { String::new() };
    ClusterEvent::NodeHealthChanged { node_id: record.id, status: record.status().to_owned(), details }
}

fn standing_changed(node_id: NodeId, standing: Standing, was: Standing) -> ClusterEvent {
    let details = format!("by its audits it is {} and was {}", standing.as_str(), was.as_str());
    ClusterEvent::NodeHealthChanged { node_id, status: standing.as_str().to_owned(), details }
}

#[cfg(test)]
mod tests;
