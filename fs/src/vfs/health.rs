//! Whether the server can be reached, and whether changes of others are heard.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cyx_client::{Error, Result};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

/// What is asked while the server is away is given up after this time, if nothing is known before.
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
    /// Whether the server is there is asked once for everybody who wants to know.
    looks: watch::Sender<Looks>,
    /// Somebody wants to know.
    wanted: Notify,
}

/// Attempts to find out whether the server is there, counted from 1.
#[derive(Debug, Clone, Copy, Default)]
struct Looks {
    begun: u64,
    /// Since when the last one waits for an answer, if it does.
    waits: Option<Instant>,
    /// The last one that had none.
    failed: u64,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            watched: watch::Sender::new(false),
            away: watch::Sender::new(false),
            doubts: Notify::new(),
            signs: AtomicU64::new(0),
            looks: watch::Sender::default(),
            wanted: Notify::new(),
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

    /// Returns when the stream is down.
    pub(crate) async fn lost(&self) {
        // The sender is here, so this ends with nothing but that.
        let _ = self.watched.subscribe().wait_for(|watched| !*watched).await;
    }

    /// Returns when the stream is down, or something makes doubtful whether the server is there.
    pub(crate) async fn doubted(&self) {
        tokio::select! {
            () = self.lost() => {}
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

    /// Returns when the server is away. Who waits for long asks whether it is.
    async fn is_away(&self, away: &mut watch::Receiver<bool>) {
        // The sender is here, so it ends with nothing but that.
        while tokio::time::timeout(SLOW, away.wait_for(|away| *away)).await.is_err() {
            self.doubt();
        }
    }

    /// Returns when the server has been away for a time.
    async fn missed(&self, patience: Duration) {
        let mut away = self.away.subscribe();
        loop {
            self.is_away(&mut away).await;
            if tokio::time::timeout(patience, away.wait_for(|away| !*away)).await.is_err() {
                return;
            }
        }
    }

    /// Finds out whether the server is there, for everybody who waits for something while it is away.
    pub(crate) async fn look(&self, answers: impl Future<Output = bool>) -> bool {
        self.looks.send_modify(|looks| (looks.begun, looks.waits) = (looks.begun + 1, Some(Instant::now())));
        let is_there = answers.await;
        if is_there {
            self.set_online();
        }
        self.looks.send_modify(|looks| {
            looks.waits = None;
            looks.failed = if is_there { looks.failed } else { looks.begun };
        });
        is_there
    }

    /// Returns when somebody waits for something while the server is away.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Returns when the server is away for sure. An attempt to reach it that was made since has failed, or one has waited for an answer for a
    /// moment and still does: then whatever else is asked waits for the same. So of many who ask one after the other the first waits, and as
    /// soon as the server is back, it answers that as well.
    async fn unanswered(&self) {
        let mut away = self.away.subscribe();
        loop {
            self.is_away(&mut away).await;
            tokio::select! {
                biased;
                () = self.looked() => return,
                _ = away.wait_for(|away| !*away) => {}
            }
        }
    }

    /// See [`Self::unanswered`].
    async fn looked(&self) {
        let mut looks = self.looks.subscribe();
        let (begun, latest) = (looks.borrow().begun, Instant::now() + MOMENT);
        self.wanted.notify_one();
        loop {
            let last = *looks.borrow_and_update();
            if last.failed > begun {
                return;
            }
            let until = last.waits.map_or(latest, |since| latest.min(since + MOMENT));
            // The sender is here, so it ends with a change or at that time.
            if timeout_at(until, looks.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Waits for an answer of the server, but not for longer than it is there.
    ///
    /// # Errors
    /// Those of what is asked; one that may pass if the server is away.
    pub(crate) async fn ask<T>(&self, asking: impl Future<Output = Result<T>>) -> Result<T> {
        // Boxed: the futures of calls are large and lie in those of everybody who asks.
        let asking = Box::pin(asking);
        tokio::select! {
            biased;
            answer = asking => answer,
            () = self.unanswered() => Err(gone()),
        }
    }

    /// As [`Self::ask`], for what may need no server after all: that has a moment.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) async fn try_to<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.while_there(MOMENT, Box::pin(work)).await.unwrap_or_else(|| Err(gone()))
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

    /// Asks many times, one after the other, while the server is looked for with attempts that end like this. How long it took.
    async fn ask_often<F: Future<Output = bool>>(health: &Health, attempt: impl Fn() -> F) -> Duration {
        let began = Instant::now();
        let asking = async {
            for _ in 0..50 {
                assert!(health.ask(std::future::pending::<Result<()>>()).await.is_err());
            }
        };
        let looking = async {
            loop {
                health.wanted().await;
                health.look(attempt()).await;
            }
        };
        tokio::select! {
            () = asking => began.elapsed(),
            () = looking => Duration::MAX,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_who_ask_while_the_server_is_away_at_most_the_first_waits() {
        let health = Health::default();
        health.set_offline();
        let refused = || std::future::ready(false);
        assert_eq!(ask_often(&health, refused).await, Duration::ZERO, "an attempt says that it is away");
        let silent = || async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            false
        };
        assert_eq!(ask_often(&health, silent).await, MOMENT, "somebody waits for it already");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_back_is_used_at_once() {
        let health = Health::default();
        health.set_offline();
        let answer = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(())
        };
        // It was refused a moment ago, and is there now: who asks finds it, and waits for its answer as long as that takes.
        health.look(async { false }).await;
        let looking = async {
            health.wanted().await;
            health.look(async { true }).await
        };
        let (answered, there) = tokio::join!(health.ask(answer()), looking);
        assert!(answered.is_ok() && there && !health.offline());
        // An attempt that was made before says nothing of now.
        health.set_offline();
        let looking = async {
            health.wanted().await;
            health.look(async { true }).await
        };
        let before = health.look(async {
            tokio::time::sleep(MOMENT / 4).await;
            false
        });
        let (_, answered, _) = tokio::join!(before, health.ask(answer()), async {
            tokio::time::sleep(MOMENT / 2).await;
            looking.await
        });
        assert!(answered.is_ok());
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
