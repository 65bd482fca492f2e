//! Whether the server can be reached, and whether changes of others are heard.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cyx_client::{Error, Result};
use tokio::sync::{Notify, watch};

/// What is asked while the server is away is given up after this time.
const MOMENT: Duration = Duration::from_millis(200);
/// An answer that takes longer raises the question whether the server is there at all.
const SLOW: Duration = Duration::from_secs(3);

/// Whether the stream of events can be relied on, and whether the server answers at all. While the stream is down, or somebody waits for
/// long, somebody asks again and again, so neither is for ever.
#[derive(Debug)]
pub(crate) struct Health {
    watched: watch::Sender<bool>,
    away: watch::Sender<bool>,
    /// Somebody has waited for long.
    doubts: Notify,
    /// How often something was heard of the server.
    signs: AtomicU64,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            watched: watch::Sender::new(false),
            away: watch::Sender::new(false),
            doubts: Notify::new(),
            signs: AtomicU64::new(0),
        }
    }
}

fn change(what: &watch::Sender<bool>, to: bool) {
    what.send_if_modified(|now| std::mem::replace(now, to) != to);
}

impl Health {
    /// The stream stands, or not.
    pub(crate) fn set(&self, watched: bool) {
        change(&self.watched, watched);
        if watched {
            self.set_online();
        }
    }

    pub(crate) fn get(&self) -> bool {
        *self.watched.borrow()
    }

    /// Returns when the stream is down, or something makes doubtful whether the server is there.
    pub(crate) async fn doubted(&self) {
        let mut watched = self.watched.subscribe();
        tokio::select! {
            // The sender is here, so this ends with nothing but that.
            _ = watched.wait_for(|watched| !*watched) => {}
            () = self.doubts.notified() => {}
        }
    }

    /// Nothing is heard of the server although something should be.
    pub(crate) fn doubt(&self) {
        self.doubts.notify_one();
    }

    /// Something was heard of the server.
    pub(crate) fn note_sign(&self) {
        self.signs.fetch_add(1, Ordering::AcqRel);
    }

    /// How often something was heard of the server.
    pub(crate) fn signs(&self) -> u64 {
        self.signs.load(Ordering::Acquire)
    }

    /// The server takes what it is sent and says nothing: that it is connected means nothing then, and it counts as one that is away.
    pub(crate) fn fell_silent(&self) {
        change(&self.watched, false);
        change(&self.away, true);
    }

    /// The server was asked and does not answer: what is known is believed until it does, because nobody could say better, and nobody
    /// waits for an answer that does not come.
    pub(crate) fn set_offline(&self) {
        if !self.get() {
            change(&self.away, true);
        }
    }

    /// It answers.
    pub(crate) fn set_online(&self) {
        change(&self.away, false);
    }

    pub(crate) fn offline(&self) -> bool {
        *self.away.borrow()
    }

    /// Returns when the server has been away for a time.
    async fn missed(&self, patience: Duration) {
        let mut away = self.away.subscribe();
        loop {
            loop {
                // The sender is here, so it ends with nothing but that.
                if tokio::time::timeout(SLOW, away.wait_for(|away| *away)).await.is_ok() {
                    break;
                }
                self.doubt();
            }
            if tokio::time::timeout(patience, away.wait_for(|away| !*away)).await.is_err() {
                return;
            }
        }
    }

    /// Waits for an answer of the server, but not for longer than it is there.
    ///
    /// # Errors
    /// Those of what is asked; one that may pass if the server is away.
    pub(crate) async fn ask<T>(&self, asking: impl Future<Output = Result<T>>) -> Result<T> {
        // Boxed: the futures of calls are large and lie in those of everybody who asks. What needs no server after all may need a moment.
        self.while_there(MOMENT, Box::pin(asking)).await.unwrap_or_else(|| Err(gone()))
    }

    /// Does what may need the server, but not for longer than this while the server is away: `None` then.
    pub(crate) async fn while_there<T>(&self, patience: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.missed(patience) => None,
        }
    }
}

/// What whoever asks is told while the server is away.
pub(crate) fn gone() -> Error {
    Error::Network { what: "the server is asked later".to_owned(), reason: "it does not answer".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_a_server_that_is_away() {
        let health = Health::default();
        assert!(health.ask(async { Ok(1) }).await.is_ok());
        let waiting = health.ask(std::future::pending::<Result<()>>());
        let (answer, ()) = tokio::join!(waiting, async { health.set_offline() });
        assert!(answer.is_err_and(|error| error.is_transient()));
        assert!(health.offline());
        assert!(health.ask(std::future::pending::<Result<()>>()).await.is_err(), "it still is");
        health.set(true);
        assert!(!health.offline());
        health.set_offline();
        assert!(!health.offline(), "the stream stands: it is there");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_long_asks_whether_the_server_is_there() {
        let health = Health::default();
        health.set(true);
        let waiting = health.ask(std::future::pending::<Result<()>>());
        let looking = async {
            health.doubted().await;
            // It is, and is only slow; the next time it is not.
            health.doubted().await;
            assert!(health.get() && !health.offline());
            health.fell_silent();
        };
        let (answer, ()) = tokio::join!(waiting, looking);
        assert!(answer.is_err_and(|error| error.is_transient()));
        assert!(!health.get() && health.offline());
        health.doubted().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_without_the_server_has_its_time_and_what_it_comes_back_for_is_not_given_up() {
        let health = Health::default();
        health.set_offline();
        let work = |seconds| async move { tokio::time::sleep(Duration::from_secs(seconds)).await };
        assert!(health.while_there(Duration::from_secs(10), work(9)).await.is_some());
        assert!(health.while_there(Duration::from_secs(10), work(11)).await.is_none());
        let waiting = health.while_there(Duration::from_secs(10), work(60));
        let (done, ()) = tokio::join!(waiting, async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            health.set_online();
        });
        assert!(done.is_some());
    }
}
