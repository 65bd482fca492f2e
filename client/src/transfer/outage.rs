//! Waiting out a moment in which hardly any node can be reached. Then it is not so many nodes that are gone but the way to them: a
//! laptop changes its network, a router starts again. Who moves a large file should not have to begin anew for that.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// From one attempt to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Since when nothing gets through, for all transfers of one engine: when that was waited for once, nobody else waits.
#[derive(Default)]
pub(crate) struct Outage {
    since: Mutex<Option<Instant>>,
}

/// Whether so few of the shards that are needed can be reached that it must be the way.
pub(crate) const fn is_likely(reachable: usize, needed: usize) -> bool {
    reachable * 2 < needed
}

impl Outage {
    /// Something got through.
    pub(crate) fn is_over(&self) {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Waits a moment for the way to be back. False, at once, if it has not been for `patience`.
    pub(crate) async fn wait(&self, patience: Duration) -> bool {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        if since.elapsed() >= patience {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_waited_for_once_until_something_gets_through() {
        let (outage, patience, began) = (Outage::default(), Duration::from_secs(5), Instant::now());
        let mut tries = 0;
        while outage.wait(patience).await {
            tries += 1;
        }
        assert_eq!((tries, began.elapsed()), (5, patience));
        assert!(!outage.wait(patience).await && began.elapsed() == patience, "others do not wait for it again");
        outage.is_over();
        assert!(outage.wait(patience).await);
        assert!(!outage.wait(Duration::ZERO).await);
    }

    #[test]
    fn it_is_likely_when_fewer_than_half_can_be_reached() {
        assert!(is_likely(0, 1) && is_likely(4, 10) && !is_likely(5, 10) && !is_likely(9, 10));
    }
}
