//! Making chunks anew from those of other nodes: repairs and moves, as the server plans them.
//!
//! The server says which chunk, from which other chunks, where those are, and which hash each has. This node reads ranges of them from its
//! peers, decodes column by column, compares the whole with the expected hash, makes it durable like any other chunk, signs for it and
//! reports. If the hash is wrong, it reads the ranges again with proofs, so that the peer that lies is found out and another one takes its
//! place. The chunk and one range of each source are held in memory; the chunk counts against the memory of all chunks that are being
//! received.
//!
//! | module | what it does |
//! |---|---|
//! | [`task`] | a task, checked |
//! | [`peer`] | connections to other nodes, ranges of their chunks |
//! | [`make`] | from ranges to a chunk |
//! | [`worker`] | fetching tasks, doing some at a time, reporting |

pub(crate) mod make;
pub(crate) mod peer;
pub(crate) mod task;
pub(crate) mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// How much a node does for repairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairOptions {
    /// Tasks at a time; 0: none.
    pub tasks: usize,
    /// Bytes a second that may be read from other nodes; `None`: as many as come.
    pub rate: Option<u64>,
}

/// Lets so many bytes a second through, for all who share it.
#[derive(Clone)]
pub(crate) struct Throttle {
    rate: Option<u64>,
    free_at: Arc<Mutex<Instant>>,
}

impl Throttle {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Self { rate, free_at: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Waits until so many bytes may be moved.
    pub(crate) async fn take(&self, bytes: u64) {
        let Some(rate) = self.rate.filter(|rate| *rate > 0) else { return };
        let until = {
            let mut free_at = self.free_at.lock().await;
            let begin = (*free_at).max(Instant::now());
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
            *free_at = begin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            begin
        };
        tokio::time::sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_throttle_lets_its_rate_through_and_no_rate_everything() {
        let (throttle, begun) = (Throttle::new(Some(1000)), Instant::now());
        for _ in 0..5 {
            throttle.take(500).await;
        }
        // The fifth begins when the first four are through.
        assert_eq!(begun.elapsed().as_secs(), 2);
        let free = Throttle::new(None);
        free.take(u64::MAX).await;
        assert_eq!(begun.elapsed().as_secs(), 2);
    }
}
