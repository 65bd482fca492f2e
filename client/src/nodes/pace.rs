//! The way to the nodes, shared out among the connections that send.
//!
//! A segment is stored when the last of its nodes has it, so all connections should be done at the same time. Left alone each looks for its rate by
//! itself and takes the whole way while others pause; when these go on, more is sent than gets through, packets are lost everywhere, and
//! some connections believe for seconds that they can send but little. So while much is sent, four times a second:
//!
//! 1. What got through in the last seconds, over all connections, is taken for what the way has.
//! 2. Each connection gets a part of it and a little more, by which more is found if there is more: the larger, the more it has left to send.
//! 3. One that has fallen far behind is to find its rate anew, within its part.
//!
//! Connections inside one machine are left alone (`cyx_proto::socket`).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cyx_core::ids::NodeId;
use cyx_core::units::{KIB, MIB};
use tokio::time::{Instant, MissedTickBehavior};

use super::NodePool;

/// How often parts are computed.
const STEP: Duration = Duration::from_millis(250);
/// Rates are taken over so many steps: in one of them buffers may fill and nothing more.
const WINDOW: usize = 8;
const WINDOW_MS: u64 = 2000;
/// The best rate of so many steps counts, because a pause says nothing about the way.
const REMEMBERED: usize = 40;
/// In its first steps a transfer has not filled the way yet: all may send so many quarters of what got through,
const BEGINNING: usize = 16;
const BEGINNING_GAIN: u64 = 12;
/// and afterwards a quarter more than that, which is what `bbr` tries now and then as well.
const GAIN: u64 = 5;
/// Whoever sends anything at all counts as having so many bytes more, so that the last bytes have their part too.
const LEAST: u64 = 512 * KIB;
/// Nobody's part is larger than that of one who has so many times as much to send as is usual: a node that takes no more would have it in vain.
const MOST: u64 = 2;
/// Who has half as much again to send as is usual, and so many bytes more, has fallen behind.
const BEHIND: u64 = MIB;

/// What got through. Part of a [`NodePool`].
#[derive(Default)]
pub(super) struct Pace(Mutex<State>);

#[derive(Default)]
struct State {
    at_work: bool,
    last: Option<Instant>,
    /// Bytes that had been sent at each step, the newest last.
    sent: VecDeque<u64>,
}

impl State {
    /// Whether somebody has to begin.
    fn begin(&mut self) -> bool {
        if std::mem::replace(&mut self.at_work, true) {
            return false;
        }
        if self.last.is_none_or(|last| last.elapsed() > 2 * STEP) {
            self.sent.clear();
        }
        true
    }

    /// A step: bytes that all together may send in a second, once that is known.
    fn step(&mut self, sent: u64) -> Option<u64> {
        self.last = Some(Instant::now());
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(sent);
        let windows = self.sent.iter().skip(WINDOW).zip(&self.sent).map(|(newer, older)| newer.saturating_sub(*older));
        let best = windows.max().filter(|best| *best > 0)?;
        let gain = if self.sent.len() < BEGINNING { BEGINNING_GAIN } else { GAIN };
        Some(best * gain / 4 * 1000 / WINDOW_MS)
    }
}

/// What one connection may do.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    node: NodeId,
    bytes_per_second: u64,
    is_behind: bool,
}

/// Shares a rate out to nodes that have so many bytes left to be sent.
fn parts(waiting: &[(NodeId, u64)], rate: u64) -> Vec<Part> {
    let mut sorted: Vec<u64> = waiting.iter().map(|(_, bytes)| *bytes).collect();
    sorted.sort_unstable();
    let usual = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
    let counts = |bytes: u64| u128::from(bytes.min(usual * MOST) + LEAST);
    let all: u128 = sorted.iter().map(|bytes| counts(*bytes)).sum();
    let part = |(node, bytes): &(NodeId, u64)| Part {
        node: *node,
        bytes_per_second: u64::try_from(u128::from(rate) * counts(*bytes) / all).unwrap_or(u64::MAX),
        is_behind: *bytes > usual + (usual / 2).max(BEHIND),
    };
    waiting.iter().map(part).collect()
}

impl NodePool {
    /// Something large is to be sent: from now on the way is shared out, until nothing is.
    pub(super) fn pace(&self) {
        if !self.pace_state().begin() {
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
        let waiting = self.loads().to_store();
        if waiting.is_empty() {
            self.pace_state().at_work = false;
            self.every_wire(|wire| wire.limit_rate(u64::MAX));
            return false;
        }
        let rate = self.pace_state().step(self.loads().all_sent());
        for part in rate.map(|rate| parts(&waiting, rate)).unwrap_or_default() {
            if let Some(wire) = self.wire_of(part.node) {
                wire.limit_rate(part.bytes_per_second);
                if part.is_behind {
                    wire.probe_bandwidth();
                }
            }
        }
        true
    }

    fn pace_state(&self) -> std::sync::MutexGuard<'_, State> {
        self.inner.pace.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            let total: u64 = parts.iter().map(|part| part.bytes_per_second).sum();
            assert!((999_990..=1_000_000).contains(&total), "{total}");
            parts.into_iter().map(|part| (part.bytes_per_second, part.is_behind)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[MIB, MIB]), [(500_000, false); 2]);
        assert_eq!(of(&[MIB / 2, MIB / 2, 3 * MIB / 2]), [(285_714, false), (285_714, false), (428_571, false)]);
        assert_eq!(of(&[MIB, MIB, 9 * MIB]), [(272_727, false), (272_727, false), (454_545, true)]);
        assert_eq!(of(&[4 * MIB]), [(1_000_000, false)], "it has the way to itself");
        assert!(parts(&[], 1_000_000).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_best_of_the_last_seconds_counts_and_a_pause_does_not() {
        let mut state = State::default();
        assert!(state.begin() && !state.begin());
        let mut sent = 0;
        let mut steps = |state: &mut State, count: usize, each: u64| {
            let mut rate = None;
            for _ in 0..count {
                sent += each;
                rate = state.step(sent);
            }
            rate
        };
        assert_eq!(steps(&mut state, WINDOW, 1000), None, "too early");
        assert_eq!(steps(&mut state, 1, 1000), Some(12_000), "three times");
        assert_eq!(steps(&mut state, BEGINNING, 1000), Some(5000), "a quarter more");
        assert_eq!(steps(&mut state, WINDOW, 0), Some(5000));
        assert_eq!(steps(&mut state, WINDOW, 2000), Some(10_000));
        assert_eq!(steps(&mut state, REMEMBERED, 10), Some(50));
        // A moment later it is still known, and long afterwards it is not.
        state.at_work = false;
        assert!(state.begin());
        assert_eq!(steps(&mut state, 1, 10), Some(50));
        state.at_work = false;
        tokio::time::advance(STEP * 3).await;
        assert!(state.begin());
        assert_eq!(steps(&mut state, 1, 10), None);
    }

    #[test]
    fn a_window_is_as_long_as_its_steps() {
        assert_eq!(STEP.as_millis() * WINDOW as u128, u128::from(WINDOW_MS));
    }

    #[tokio::test]
    async fn steps_are_taken_until_nothing_is_to_be_sent() {
        let cluster = Cluster::start(1).await;
        let (pool, lease) = (cluster.pool(), cluster.lease(Scheme::SINGLE, 0));
        let access = &lease.nodes[0];
        pool.wire(access).await.ok().unwrap();
        let turn = pool.loads().turn_to_store(access.node, 2 * MIB).await;
        assert_eq!(pool.loads().to_store(), [(access.node, 2 * MIB)]);
        pool.pace();
        assert!(pool.share_out());
        turn.left(MIB);
        assert_eq!(pool.loads().to_store(), [(access.node, 3 * MIB / 2)], "half of what moved may lie in buffers");
        drop(turn);
        assert_eq!(pool.loads().to_store(), []);
        assert!(!pool.share_out() && !pool.pace_state().at_work);
    }
}
