//! Telling the echo of this machine's own changes from changes of others.
//!
//! Every change comes back as an event, and what it says is known already. The session does not tell: two mounts and the command
//! line of one login have the same. The sequence number does, but it is known only when the answer has arrived, and the event may
//! overtake it. An event of this session is therefore kept for as long as calls are under way, a fraction of a second at most.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cyx_core::ids::InodeId;
use cyx_proto::meta::v1 as pb;

use super::node::lock;

/// How long an event waits for the answer of the call that may have caused it.
const PATIENCE: Duration = Duration::from_millis(100);
/// Sequence numbers that are remembered; events that are older than that were answered long ago.
const REMEMBERED: usize = 8192;

#[derive(Default)]
pub(crate) struct Flights {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    under_way: usize,
    own: BTreeSet<u64>,
    /// Versions that were committed here and did not come back yet.
    versions: HashSet<(InodeId, u64)>,
    /// Versions and lengths that were committed here last: answers that were under way meanwhile are of before.
    newest: HashMap<InodeId, (u64, u64)>,
    waiting: Vec<(Instant, pb::Change)>,
    held: Vec<(Instant, pb::Change)>,
}

/// A call that is under way.
pub(crate) struct Flight<'a>(&'a Flights);

impl Flights {
    pub(crate) fn begin(&self) -> Flight<'_> {
        lock(&self.inner).under_way += 1;
        Flight(self)
    }

    /// The changes with these numbers were made here.
    pub(crate) fn made(&self, last: u64, count: u64) {
        let mut inner = lock(&self.inner);
        inner.own.extend(last.saturating_sub(count) + 1..=last);
        while inner.own.len() > REMEMBERED {
            inner.own.pop_first();
        }
    }

    /// This version, of this length, was committed here. False if what was remembered of earlier ones had to be given up.
    #[must_use]
    pub(crate) fn committed(&self, inode: InodeId, version: u64, size: u64) -> bool {
        let mut inner = lock(&self.inner);
        // Those whose echo never came were committed while nobody listened.
        if inner.versions.len() >= REMEMBERED {
            inner.versions.clear();
        }
        inner.versions.insert((inode, version));
        let has_room = inner.newest.len() < REMEMBERED;
        if !has_room {
            inner.newest.clear();
        }
        let newest = inner.newest.entry(inode).or_default();
        *newest = (version, size).max(*newest);
        has_room
    }

    /// What was committed here of an inode behind this version, with its length.
    pub(crate) fn committed_since(&self, inode: InodeId, version: u64) -> Option<(u64, u64)> {
        lock(&self.inner).newest.get(&inode).copied().filter(|(newest, _)| *newest > version)
    }

    /// Whether a version was committed here. That it is known is no sign: it may have been asked for.
    pub(crate) fn take_commit(&self, inode: InodeId, version: u64) -> bool {
        lock(&self.inner).versions.remove(&(inode, version))
    }

    /// Whether a change was made by others. `None`: that shows later, see [`Self::settle`].
    pub(crate) fn is_foreign(&self, change: &pb::Change, same_session: bool) -> Option<bool> {
        let mut inner = lock(&self.inner);
        if inner.own.remove(&change.sequence) {
            return Some(false);
        }
        if same_session && inner.under_way > 0 {
            inner.waiting.push((Instant::now(), change.clone()));
            return None;
        }
        Some(true)
    }

    /// Whether a change was made by others shows later, see [`Self::settle`].
    pub(crate) fn hold(&self, change: &pb::Change) {
        lock(&self.inner).held.push((Instant::now(), change.clone()));
    }

    /// Changes that waited and are those of others after all.
    pub(crate) fn settle(&self) -> Vec<pb::Change> {
        let mut inner = lock(&self.inner);
        let (over, mut foreign) = (inner.under_way == 0, Vec::new());
        for (since, change) in std::mem::take(&mut inner.waiting) {
            if inner.own.remove(&change.sequence) {
                continue;
            }
            if over || since.elapsed() >= PATIENCE {
                foreign.push(change);
            } else {
                inner.waiting.push((since, change));
            }
        }
        for (since, change) in std::mem::take(&mut inner.held) {
            if since.elapsed() >= PATIENCE {
                foreign.push(change);
            } else {
                inner.held.push((since, change));
            }
        }
        foreign
    }

    /// Some changes wait.
    pub(crate) fn unsettled(&self) -> bool {
        let inner = lock(&self.inner);
        !inner.waiting.is_empty() || !inner.held.is_empty()
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        lock(&self.0.inner).under_way -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(sequence: u64) -> pb::Change {
        pb::Change { sequence, ..pb::Change::default() }
    }

    #[test]
    fn an_echo_is_recognised_before_and_after_its_answer() {
        let flights = Flights::default();
        let flight = flights.begin();
        assert_eq!(flights.is_foreign(&change(7), true), None, "it may be our own");
        flights.made(8, 2);
        assert!(flights.settle().is_empty());
        assert!(!flights.unsettled());
        assert_eq!(flights.is_foreign(&change(8), true), Some(false));
        drop(flight);
    }

    #[test]
    fn what_another_program_of_the_same_session_did_is_foreign() {
        let flights = Flights::default();
        assert_eq!(flights.is_foreign(&change(3), true), Some(true), "no call is under way");
        let flight = flights.begin();
        assert_eq!(flights.is_foreign(&change(4), false), Some(true), "another session");
        assert_eq!(flights.is_foreign(&change(5), true), None);
        assert!(flights.unsettled());
        flights.made(6, 1);
        drop(flight);
        assert_eq!(flights.settle(), [change(5)]);
    }

    #[test]
    fn a_commit_is_recognised_once_by_its_version() {
        let (flights, inode) = (Flights::default(), InodeId([1; 16]));
        assert!(flights.committed(inode, 3, 30));
        assert!(!flights.take_commit(inode, 2));
        assert!(flights.take_commit(inode, 3));
        assert!(!flights.take_commit(inode, 3), "another mount would have to have committed it again");
    }

    #[test]
    fn what_was_committed_here_last_is_known_beside_older_answers() {
        let (flights, inode) = (Flights::default(), InodeId([1; 16]));
        assert_eq!(flights.committed_since(inode, 0), None);
        assert!(flights.committed(inode, 3, 30) && flights.committed(inode, 2, 20));
        assert_eq!(flights.committed_since(inode, 2), Some((3, 30)));
        assert_eq!(flights.committed_since(inode, 3), None);
        let other = |number: usize| InodeId((number as u128 + 1000).to_be_bytes());
        assert!((1..REMEMBERED).all(|number| flights.committed(other(number), 1, 1)));
        assert!(!flights.committed(other(0), 1, 1), "whoever asked before cannot be told");
        assert_eq!(flights.committed_since(inode, 2), None);
    }
}
