//! The way to the nodes and back, shared out among connections.
//!
//! A segment is stored when the last of its nodes has it, so all connections should be done at the same time. Left alone each looks for its rate by
//! itself and takes the whole way while others pause; when these go on, more is sent than gets through, packets are lost everywhere, and
//! some connections believe for seconds that they can send but little. So while much waits to be sent or read, four times a second:
//!
//! 1. What got through in the last seconds, over all connections, is taken for what the way has. Until something did, all begin with the same
//!    moderate rate if it is a long one. What lies in buffers did not get through: of what is sent, the kernel says what the nodes have.
//! 2. Each connection gets a part of it and a little more, by which more is found if there is more: the larger, the more it has left to move.
//!
//! While little waits nobody is limited: what gets through then says what was asked for, and not what the way has. What nodes send is theirs to
//! limit; each request says to what. Connections inside one machine are left alone (`cyx_proto::socket`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cyx_core::ids::NodeId;
use cyx_core::units::{KIB, MIB};
use tokio::time::{Instant, MissedTickBehavior};

use super::{NodePool, Work};

/// So many bytes are much: more than wait while a file is played, less than always wait while one is copied.
const MUCH: u64 = 8 * MIB;
/// How often parts are computed.
const STEP: Duration = Duration::from_millis(250);
/// Rates are taken over so many steps: in one of them what was lost before may arrive and nothing more.
const WINDOW: usize = 8;
const WINDOW_MS: u64 = 2000;
/// The best rate of so many steps counts, because a pause says nothing about the way.
const REMEMBERED: usize = 40;
/// What was found counts for so long after that, also if little waited meanwhile.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// While a quarter more gets through than a second before the way is not full: all may send so many sixteenths of what got through,
const GROWING: u64 = 48;
/// and otherwise a sixteenth more than that. The best of several windows is more than usually gets through, and what is too much is lost and sent
/// again.
const GAIN: u64 = 17;
/// Bytes a second that all connections together begin to send with over a long way, 160 Mbit/s. With more than the way has, much of the first
/// seconds is lost, and what a connection then believes it keeps to for seconds more.
const FIRST_RATE: u64 = 20_000_000;
/// Bytes a second that nodes begin to send with together, a third of 1 Gbit/s: most ways back are wider than those there.
pub(super) const FIRST_RATE_BACK: u64 = 40_000_000;
/// Whoever sends anything at all counts as having so many bytes more, so that the last bytes have their part too.
const LEAST: u64 = 512 * KIB;
/// Nobody's part is larger than that of one who has so many times as much to send as is usual: a node that takes no more would have it in vain.
const MOST: u64 = 2;

/// What is known of the way. Part of a [`NodePool`].
#[derive(Default)]
pub(super) struct Pace {
    at_work: AtomicBool,
    there: Mutex<Steps>,
    /// Bytes that arrived at nodes, as far as was asked.
    arrived: AtomicU64,
    back: Mutex<Steps>,
}

/// What got through in one direction while much waited.
#[derive(Default)]
struct Steps {
    /// Bytes that had moved at each step, the newest last.
    moved: VecDeque<u64>,
    /// The most that got through in a window when much waited the last time and the way was full, and until when that counts.
    before: Option<(u64, Instant)>,
}

impl Steps {
    /// So many bytes have moved by now.
    fn step(&mut self, moved: u64) {
        if self.moved.len() == REMEMBERED {
            self.moved.pop_front();
        }
        self.moved.push_back(moved);
    }

    /// Little waits: what moves from now on says what was asked for, and not what the way has.
    fn pause(&mut self) {
        if !self.grows()
            && let Some(best) = self.windows().max()
            && self.before().is_none_or(|before| before <= best)
        {
            self.before = Some((best, Instant::now() + KNOWN_FOR));
        }
        self.moved.clear();
    }

    fn windows(&self) -> impl Iterator<Item = u64> {
        let newer = self.moved.iter().skip(WINDOW);
        newer.zip(&self.moved).map(|(newer, older)| newer.saturating_sub(*older))
    }

    fn before(&self) -> Option<u64> {
        self.before.filter(|(_, until)| Instant::now() < *until).map(|(best, _)| best)
    }

    /// Whether the way seems to have more than what gets through.
    fn grows(&self) -> bool {
        let windows: Vec<u64> = self.windows().collect();
        let earlier = windows[..windows.len().saturating_sub(WINDOW / 2)].iter().copied().chain(self.before()).max();
        windows.last().is_some_and(|latest| latest * 4 >= earlier.unwrap_or(0) * 5)
    }

    /// Bytes that all together may move in a second, once that is known.
    fn rate(&self) -> Option<u64> {
        let best = self.windows().chain(self.before()).max().filter(|best| *best > 0)?;
        Some(best * if self.grows() { GROWING } else { GAIN } / 16 * 1000 / WINDOW_MS)
    }
}

/// What waits, if it is much.
fn much(waiting: Vec<(NodeId, u64)>) -> Option<Vec<(NodeId, u64)>> {
    (waiting.iter().map(|(_, bytes)| bytes).sum::<u64>() >= MUCH).then_some(waiting)
}

/// Shares a rate out to nodes that have so many bytes left to be moved.
fn parts(waiting: &[(NodeId, u64)], rate: u64) -> Vec<(NodeId, u64)> {
    let mut sorted: Vec<u64> = waiting.iter().map(|(_, bytes)| *bytes).collect();
    sorted.sort_unstable();
    let usual = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
    let counts = |bytes: u64| u128::from(bytes.min(usual * MOST) + LEAST);
    let all: u128 = sorted.iter().map(|bytes| counts(*bytes)).sum();
    let part = |(node, bytes): &(NodeId, u64)| {
        let part = u128::from(rate) * counts(*bytes) / all;
        (*node, u64::try_from(part).unwrap_or(u64::MAX))
    };
    waiting.iter().map(part).collect()
}

impl NodePool {
    /// Something large is to be moved: from now on the way is shared out, until nothing is.
    pub(super) fn pace(&self) {
        if self.inner.pace.at_work.swap(true, Ordering::Relaxed) {
            return;
        }
        let pool = self.clone();
        tokio::spawn(async move {
            let mut steps = tokio::time::interval(STEP);
            steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                steps.tick().await;
                if !pool.share_out() {
                    break;
                }
            }
        });
    }

    /// One step. Whether there is to be another one.
    fn share_out(&self) -> bool {
        let Pace { at_work, there, arrived, back } = &self.inner.pace;
        let (mut to_store, to_read) = (self.loads().to_store(), self.loads().to_read());
        let goes_on = !to_store.is_empty() || !to_read.is_empty();
        match much(to_read) {
            Some(_) => lock(back).step(self.loads().all_arrived()),
            None => lock(back).pause(),
        }
        // What a connection took it has not sent yet.
        for (node, bytes) in &mut to_store {
            *bytes += self.wire_of(*node).map_or(0, |wire| wire.backlog());
        }
        self.every_wire(|wire| {
            arrived.fetch_add(wire.newly_arrived(), Ordering::Relaxed);
        });
        if let Some(to_store) = much(to_store) {
            let rate = {
                let mut there = lock(there);
                there.step(arrived.load(Ordering::Relaxed));
                there.rate()
            };
            for (node, part) in self.parts(&to_store, rate, FIRST_RATE) {
                if let Some(wire) = self.wire_of(node) {
                    wire.limit_rate(part);
                    wire.begin_to_send();
                }
            }
        } else {
            lock(there).pause();
            self.every_wire(|wire| wire.limit_rate(u64::MAX));
        }
        at_work.store(goes_on, Ordering::Relaxed);
        goes_on
    }

    /// Bytes a second that a node may send of what is read there; 0: as before.
    pub(super) fn rate_back(&self, node: NodeId, work: Work) -> u64 {
        let Some(to_read) = much(self.loads().to_read()) else { return u64::MAX };
        if work == Work::SmallRead {
            return 0;
        }
        let rate = lock(&self.inner.pace.back).rate();
        self.parts(&to_read, rate, FIRST_RATE_BACK)
            .into_iter()
            .find(|(other, _)| *other == node)
            .map_or(u64::MAX, |(_, part)| part)
    }

    /// As [`parts`] of a rate, or of the first one over a long way, or no limits.
    fn parts(&self, waiting: &[(NodeId, u64)], rate: Option<u64>, first: u64) -> Vec<(NodeId, u64)> {
        let is_far = |node: NodeId| self.wire_of(node).is_some_and(|wire| wire.is_far());
        let first = || waiting.iter().any(|(node, _)| is_far(*node)).then_some(first);
        match rate.or_else(first) {
            Some(rate) => parts(waiting, rate),
            None => waiting.iter().map(|(node, _)| (*node, u64::MAX)).collect(),
        }
    }
}

fn lock(steps: &Mutex<Steps>) -> MutexGuard<'_, Steps> {
    steps.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use cyx_core::scheme::Scheme;

    use super::*;
    use crate::test_nodes::Cluster;

    fn node(number: u8) -> NodeId {
        NodeId([number; 16])
    }

    #[test]
    fn whoever_has_more_left_has_a_larger_part_and_nobody_more_than_one_who_could_use_it() {
        let of = |left: &[u64]| {
            let waiting: Vec<_> = (0..).zip(left).map(|(number, bytes)| (node(number), *bytes)).collect();
            let parts = parts(&waiting, 1_000_000);
            let total: u64 = parts.iter().map(|(_, part)| *part).sum();
            assert!((999_990..=1_000_000).contains(&total), "{total}");
            parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>()
        };
        assert_eq!(of(&[MIB, MIB]), [500_000; 2]);
        assert_eq!(of(&[MIB / 2, MIB / 2, 3 * MIB / 2]), [285_714, 285_714, 428_571]);
        assert_eq!(of(&[MIB, MIB, 9 * MIB]), [272_727, 272_727, 454_545]);
        assert_eq!(of(&[4 * MIB]), [1_000_000], "it has the way to itself");
        assert!(parts(&[], 1_000_000).is_empty());
    }

    #[test]
    fn the_best_of_the_last_seconds_counts() {
        let mut state = Steps::default();
        let mut moved = 0;
        let mut steps = |count: usize, each: u64| {
            for _ in 0..count {
                moved += each;
                state.step(moved);
            }
            state.rate()
        };
        assert_eq!(steps(WINDOW, 1000), None, "too early");
        assert_eq!(steps(1, 1000), Some(12_000), "three times");
        assert_eq!(steps(WINDOW, 1000), Some(4250), "a sixteenth more");
        assert_eq!(steps(WINDOW, 0), Some(4250));
        assert_eq!(steps(WINDOW, 2000), Some(24_000), "it grows");
        assert_eq!(steps(WINDOW, 2000), Some(8500));
        assert_eq!(steps(REMEMBERED, 10), Some(42));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_full_way_has_is_known_for_a_while_when_little_waited() {
        let mut state = Steps::default();
        let mut moved = 0;
        let mut steps = |state: &mut Steps, count: usize, each: u64| {
            for _ in 0..count {
                moved += each;
                state.step(moved);
            }
            state.rate()
        };
        assert_eq!(steps(&mut state, WINDOW + 1, 1000), Some(12_000));
        state.pause();
        assert_eq!(state.rate(), None, "it might have had more");
        assert_eq!(steps(&mut state, 2 * WINDOW, 1000), Some(4250));
        for _ in 0..2 {
            state.pause();
            assert_eq!(state.rate(), Some(4250));
            assert_eq!(steps(&mut state, WINDOW + 1, 500), Some(4250), "it has more than is asked for");
            tokio::time::advance(KNOWN_FOR / 2).await;
        }
        tokio::time::advance(KNOWN_FOR / 2).await;
        assert_eq!(state.rate(), Some(6000), "that was long ago");
        assert_eq!(steps(&mut state, 2 * WINDOW, 500), Some(2125));
    }

    #[test]
    fn a_window_is_as_long_as_its_steps() {
        assert_eq!(STEP.as_millis() * WINDOW as u128, u128::from(WINDOW_MS));
    }

    #[tokio::test]
    async fn steps_are_taken_until_nothing_waits_and_count_while_much_does() {
        let cluster = Cluster::start(1).await;
        let (pool, lease) = (cluster.pool(), cluster.lease(Scheme::SINGLE, 0));
        let access = &lease.nodes[0];
        pool.wire(access).await.ok().unwrap();
        let at_work = || pool.inner.pace.at_work.load(Ordering::Relaxed);
        pool.inner.pace.at_work.store(true, Ordering::Relaxed);
        let permit = pool.loads().permit_to_store(access.node, MUCH).await;
        assert_eq!(pool.loads().to_store(), [(access.node, MUCH)]);
        assert!(pool.share_out() && lock(&pool.inner.pace.there).moved.len() == 1);
        permit.not_taken(MUCH / 2);
        assert_eq!(pool.loads().to_store(), [(access.node, MUCH / 2)]);
        assert!(pool.share_out() && lock(&pool.inner.pace.there).moved.is_empty(), "little waits");
        assert!(pool.inner.pace.arrived.load(Ordering::Relaxed) > 0, "the proof of possession did");
        permit.not_taken(0);
        assert!(pool.share_out(), "nobody has acknowledged it");
        drop(permit);
        assert_eq!(pool.loads().to_store(), []);
        let permit = pool.loads().permit_to_read(access.node, MUCH).await;
        for _ in 0..=WINDOW {
            assert_eq!(pool.rate_back(access.node, Work::LargeRead), u64::MAX, "too early");
            pool.loads().arrived(1000);
            assert!(pool.share_out());
        }
        assert_eq!(
            (pool.rate_back(access.node, Work::LargeRead), pool.rate_back(node(9), Work::LargeRead)),
            (12_000, u64::MAX)
        );
        assert_eq!(pool.rate_back(access.node, Work::SmallRead), 0, "what is large goes on as it was");
        permit.left(MUCH - 1);
        assert_eq!(pool.rate_back(access.node, Work::SmallRead), u64::MAX);
        assert_eq!(pool.rate_back(access.node, Work::LargeRead), u64::MAX, "little waits");
        assert!(at_work());
        drop(permit);
        assert!(!pool.share_out() && !at_work());
    }
}
