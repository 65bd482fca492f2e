//! Waiting out a moment in which hardly any node can be reached. Then it is not so many nodes that are gone but the way to them: a
//! laptop changes its network, a router starts again. Who moves a large file should not have to begin anew for that.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::nodes::NodeError;

/// From one attempt to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Since when nothing gets through, for all transfers of one engine: when that was waited for once, nobody else waits.
#[derive(Default)]
pub(crate) struct Outage {
    since: Mutex<Option<Instant>>,
}

/// One piece of work that may have to wait.
pub(crate) struct Waiting<'a> {
    outage: &'a Outage,
    patience: Duration,
    /// Since when it waits itself: it may be its nodes alone that are gone, while others get through.
    began: Option<Instant>,
    /// So few could be reached once that it must be the way. They come back one after the other.
    is_likely: bool,
}

impl Outage {
    /// Something got through.
    pub(crate) fn is_over(&self) {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// What waits for at most so long.
    pub(crate) const fn waiting(&self, patience: Duration) -> Waiting<'_> {
        Waiting { outage: self, patience, began: None, is_likely: false }
    }

    /// Waits a moment for the way to be back. False, at once, if it has not been for `patience`.
    async fn wait(&self, patience: Duration) -> bool {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        if since.elapsed() >= patience {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
        true
    }
}

impl Waiting<'_> {
    /// Waits a moment, if so few of the shards that are needed could be reached that it must be the way. True if it should be tried again.
    pub(crate) async fn wait(&mut self, reachable: usize, needed: usize, last: Option<&NodeError>) -> bool {
        let is_silence = last.is_some_and(|error| error.problem.is_silence());
        self.is_likely |= is_silence && reachable * 2 < needed;
        // Some may have been there still when the way broke, so that the second attempt tells more.
        let is_worth_it = self.is_likely || self.began.is_none();
        if !is_silence || !is_worth_it || self.began.get_or_insert_with(Instant::now).elapsed() >= self.patience {
            return false;
        }
        self.outage.wait(self.patience).await
    }
}

#[cfg(test)]
mod tests {
    use cyx_core::ids::NodeId;

    use super::*;
    use crate::nodes::Problem;

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

    #[tokio::test(start_paused = true)]
    async fn what_fails_otherwise_or_reaches_most_is_not_tried_again_and_nothing_is_for_ever() {
        let error = |problem| NodeError { node: NodeId([1; 16]), address: "there:1".into(), problem };
        let (silent, refused) = (error(Problem::Stalled), error(Problem::UsedUp));
        let (outage, began) = (Outage::default(), Instant::now());
        let mut waiting = outage.waiting(Duration::from_secs(5));
        assert!(!waiting.wait(0, 10, None).await && !waiting.wait(0, 10, Some(&refused)).await);
        assert!(waiting.wait(9, 10, Some(&silent)).await, "the first time it may be worse than it looks");
        assert!(!waiting.wait(5, 10, Some(&silent)).await && waiting.wait(4, 10, Some(&silent)).await);
        assert!(waiting.wait(9, 10, Some(&silent)).await, "they come back one after the other");
        while waiting.wait(0, 10, Some(&silent)).await {
            outage.is_over();
        }
        assert_eq!(began.elapsed(), Duration::from_secs(5), "its own patience ends while others get through");
    }
}
