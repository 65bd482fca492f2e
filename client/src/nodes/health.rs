//! What is remembered about nodes while the program runs: which failed or stopped answering, and how fast the rest answer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cyx_core::ids::NodeId;

use crate::times::Times;

/// A node is avoided for this long after its first failure, twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// A node that others had to be acknowledged without is avoided longer at once: every further attempt would hold up a segment as long.
const LAG_PAUSE: Duration = Duration::from_secs(30);
/// A node that lied is avoided for the rest of most runs.
const LIAR_PAUSE: Duration = Duration::from_secs(3600);

/// Kinds of work whose times are comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Reading up to 64 KiB.
    SmallRead,
    /// Reading more.
    LargeRead,
}

impl Work {
    /// The kind of a read of `bytes` bytes.
    #[must_use]
    pub const fn read(bytes: u64) -> Self {
        if bytes <= 64 * 1024 { Self::SmallRead } else { Self::LargeRead }
    }
}

/// The memory. Shared by all that use one pool.
#[derive(Default)]
pub struct Health {
    nodes: Mutex<HashMap<NodeId, Record>>,
    small: Times,
    large: Times,
}

#[derive(Default)]
struct Record {
    failures: u32,
    lied: bool,
    avoid_until: Option<Instant>,
    /// Others had to be acknowledged without it.
    lagged: bool,
    /// Something was waited for in vain, and nothing that was asked for was done since.
    stalled: bool,
    /// Nothing at all was heard since.
    silent: bool,
    /// Somebody looks whether it is there.
    doubted: bool,
}

impl Record {
    fn is_avoided(&self) -> bool {
        self.avoid_until.is_some_and(|until| until > Instant::now())
    }
}

impl Health {
    /// A node did what it was asked. One that lied may do so every other time, and stays avoided.
    pub fn succeeded(&self, node: NodeId) {
        let mut nodes = lock(&self.nodes);
        if let Some(record) = nodes.remove(&node).filter(|record| record.lied && record.is_avoided()) {
            let Record { failures, lied, avoid_until, .. } = record;
            nodes.insert(node, Record { failures, lied, avoid_until, ..Record::default() });
        }
    }

    /// A node was waited for, for as long as nodes may take, and nothing came.
    pub(super) fn fell_silent(&self, node: NodeId) {
        let mut nodes = lock(&self.nodes);
        let record = nodes.entry(node).or_default();
        (record.stalled, record.silent) = (true, true);
    }

    /// A node is heard of again, which is not yet to say that it does what it is asked.
    pub(super) fn heard(&self, node: NodeId) {
        self.change(node, |record| record.silent = false);
    }

    /// A node lets somebody wait. Whether nobody doubted before that it is there: whoever is told so has to find out.
    pub(super) fn doubt(&self, node: NodeId) -> bool {
        let mut nodes = lock(&self.nodes);
        !std::mem::replace(&mut nodes.entry(node).or_default().doubted, true)
    }

    /// It was found out whether a node is there that was doubted.
    pub(super) fn looked(&self, node: NodeId) {
        self.change(node, |record| record.doubted = false);
    }

    fn change(&self, node: NodeId, how: impl FnOnce(&mut Record)) {
        if let Some(record) = lock(&self.nodes).get_mut(&node) {
            how(record);
        }
    }

    /// A node failed; `lied` if it did worse than that.
    pub fn failed(&self, node: NodeId, lied: bool) {
        self.avoid(node, if lied { LIAR_PAUSE } else { FIRST_PAUSE });
        self.change(node, |record| record.lied |= lied);
    }

    /// It was not these nodes that failed but the way to all of them. Liars stay what they are.
    pub fn excuse(&self, nodes: impl IntoIterator<Item = NodeId>) {
        for node in nodes {
            self.change(node, |record| {
                if !record.lied {
                    (record.failures, record.avoid_until, record.lagged) = (0, None, false);
                }
            });
        }
    }

    /// A node was still busy when all others had been done for as long as they had taken. While it is avoided for that, others that found out
    /// at the same time, or believed it, say nothing new.
    pub fn lagged(&self, node: NodeId) {
        if self.is_lagging(node) {
            return;
        }
        self.avoid(node, LAG_PAUSE);
        if let Some(record) = lock(&self.nodes).get_mut(&node) {
            record.lagged = true;
        }
    }

    /// Whether a node is avoided because it lagged: it still is if it is busy for somebody else.
    #[must_use]
    pub fn is_lagging(&self, node: NodeId) -> bool {
        self.is(node, |record| record.lagged && record.is_avoided())
    }

    fn avoid(&self, node: NodeId, first_pause: Duration) {
        let mut nodes = lock(&self.nodes);
        let record = nodes.entry(node).or_default();
        let pause = first_pause.saturating_mul(1 << record.failures.min(16)).min(LONGEST_PAUSE.max(first_pause));
        record.failures += 1;
        let until = Instant::now() + pause;
        record.avoid_until = Some(record.avoid_until.map_or(until, |before| before.max(until)));
    }

    /// Whether it is better to ask others for now.
    #[must_use]
    pub fn is_avoided(&self, node: NodeId) -> bool {
        self.is(node, Record::is_avoided)
    }

    /// Whether who reads should ask others first: this one failed lately, is silent, or may be.
    #[must_use]
    pub fn is_read_last(&self, node: NodeId) -> bool {
        self.is(node, |record| record.is_avoided() || record.silent || record.doubted)
    }

    /// Whether nothing was heard of a node since it was waited for in vain.
    #[must_use]
    pub fn is_silent(&self, node: NodeId) -> bool {
        self.is(node, |record| record.silent)
    }

    /// Whether a node was waited for in vain and has not made up for it: who reads waits a moment for it and no longer. One that is heard of
    /// again is waited for as others are once it is not avoided any more.
    #[must_use]
    pub fn has_stalled(&self, node: NodeId) -> bool {
        self.is(node, |record| record.stalled && (record.silent || record.is_avoided()))
    }

    fn is(&self, node: NodeId, what: impl FnOnce(&Record) -> bool) -> bool {
        lock(&self.nodes).get(&node).is_some_and(what)
    }

    /// The nodes that are avoided now, for the server to leave out of placements.
    #[must_use]
    pub fn avoided(&self) -> Vec<NodeId> {
        let nodes = lock(&self.nodes);
        nodes.iter().filter(|(_, record)| record.is_avoided()).map(|(node, _)| *node).collect()
    }

    /// Remembers how long a piece of work took.
    pub fn took(&self, work: Work, time: Duration) {
        self.times(work).took(time);
    }

    /// The time within which 95 of 100 such pieces of work are done, once enough of them are known.
    #[must_use]
    pub fn p95(&self, work: Work) -> Option<Duration> {
        self.times(work).percentile(95)
    }

    /// When such a piece of work is worth asking for again over the same connection, once enough of them are known.
    #[must_use]
    pub fn repeat_after(&self, work: Work) -> Option<Duration> {
        self.times(work).repeat_after()
    }

    const fn times(&self, work: Work) -> &Times {
        match work {
            Work::SmallRead => &self.small,
            Work::LargeRead => &self.large,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_node_is_avoided_until_it_succeeds() {
        let (health, node) = (Health::default(), NodeId([1; 16]));
        assert!(!health.is_avoided(node));
        health.failed(node, false);
        assert!(health.is_avoided(node));
        assert_eq!(health.avoided(), [node]);
        health.succeeded(node);
        assert!(!health.is_avoided(node));
    }

    #[test]
    fn a_later_failure_never_shortens_the_pause_of_a_liar() {
        let (health, node) = (Health::default(), NodeId([1; 16]));
        health.failed(node, true);
        health.failed(node, false);
        let until = lock(&health.nodes)[&node].avoid_until.unwrap();
        assert!(until > Instant::now() + LONGEST_PAUSE);
    }

    #[test]
    fn nodes_are_excused_when_it_was_the_way_and_liars_are_not() {
        let health = Health::default();
        let [failed, liar] = [NodeId([1; 16]), NodeId([2; 16])];
        health.failed(failed, false);
        health.failed(liar, true);
        health.failed(liar, false);
        health.excuse([failed, liar, NodeId([3; 16])]);
        assert_eq!(health.avoided(), [liar]);
        health.succeeded(liar);
        assert_eq!(health.avoided(), [liar], "it may lie every other time");
        health.failed(failed, false);
        let until = lock(&health.nodes)[&failed].avoid_until.unwrap();
        assert!(until <= Instant::now() + FIRST_PAUSE, "as if it were the first time");
    }

    #[test]
    fn a_node_that_lags_is_avoided_longer_than_one_that_failed_once() {
        let health = Health::default();
        let [failed, lagging] = [NodeId([1; 16]), NodeId([2; 16])];
        health.failed(failed, false);
        health.lagged(lagging);
        let until = |node| lock(&health.nodes)[&node].avoid_until.unwrap();
        assert!(until(lagging) > until(failed) + LAG_PAUSE / 2);
        assert!(health.is_lagging(lagging) && !health.is_lagging(failed));
        // Another segment that waited for it at the same time is no second time.
        let first = until(lagging);
        health.lagged(lagging);
        assert_eq!(until(lagging), first);
        lock(&health.nodes).get_mut(&lagging).unwrap().avoid_until = Some(Instant::now());
        health.lagged(lagging);
        assert!(until(lagging) > Instant::now() + LAG_PAUSE * 3 / 2);
        health.succeeded(lagging);
        assert!(!health.is_avoided(lagging) && !health.is_lagging(lagging));
    }

    #[test]
    fn a_node_that_stalled_has_a_moment_until_it_does_something_or_had_its_pause_and_is_heard_of() {
        let (health, node) = (Health::default(), NodeId([1; 16]));
        health.failed(node, false);
        assert!(!health.has_stalled(node) && !health.is_silent(node), "it failed at once");
        health.fell_silent(node);
        assert!(health.has_stalled(node) && health.is_silent(node));
        // The pause is over, and still nothing is heard of it.
        lock(&health.nodes).get_mut(&node).unwrap().avoid_until = None;
        assert!(health.has_stalled(node) && health.is_read_last(node) && !health.is_avoided(node));
        health.heard(node);
        assert!(!health.has_stalled(node) && !health.is_read_last(node));
        // It is heard of, and stalled a moment ago.
        health.failed(node, false);
        assert!(health.has_stalled(node) && !health.is_silent(node));
        health.succeeded(node);
        assert!(!health.has_stalled(node) && !health.is_read_last(node));
    }

    #[test]
    fn a_node_that_is_doubted_is_read_last_until_somebody_looked_and_uploads_do_not_mind() {
        let (health, node) = (Health::default(), NodeId([1; 16]));
        assert!(health.doubt(node));
        assert!(!health.doubt(node), "somebody looks already");
        assert!(health.is_read_last(node) && !health.is_avoided(node) && !health.has_stalled(node));
        assert_eq!(health.avoided(), []);
        health.looked(node);
        assert!(!health.is_read_last(node));
        assert!(health.doubt(node));
    }

    #[test]
    fn kinds_of_work_are_told_apart() {
        let health = Health::default();
        (0..20).for_each(|_| health.took(Work::SmallRead, Duration::from_millis(70)));
        assert_eq!(health.p95(Work::SmallRead), Some(Duration::from_millis(70)));
        assert_eq!(health.repeat_after(Work::SmallRead), Some(Duration::from_millis(105)));
        assert_eq!((health.p95(Work::LargeRead), health.repeat_after(Work::LargeRead)), (None, None));
    }
}
