//! Whether the server can be reached, and whether changes of others are heard.

use std::future::Future;
use std::time::Duration;

use cyx_client::{Error, Result};
use tokio::sync::watch;

/// What is asked while the server is away is given up after this time.
const MOMENT: Duration = Duration::from_millis(200);

/// Whether the stream of events can be relied on, and whether the server answers at all. While the stream is down, somebody asks again and
/// again, so neither is for ever.
#[derive(Debug)]
pub(crate) struct Health {
    watched: watch::Sender<bool>,
    away: watch::Sender<bool>,
}

impl Default for Health {
    fn default() -> Self {
        Self { watched: watch::Sender::new(false), away: watch::Sender::new(false) }
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
    pub(crate) async fn silent(&self) {
        // The sender is here, so this ends with nothing but that.
        let _ = self.watched.subscribe().wait_for(|watched| !*watched).await;
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

    /// Waits for an answer of the server, but not for longer than it is there.
    ///
    /// # Errors
    /// Those of what is asked; one that may pass if the server is away.
    pub(crate) async fn ask<T>(&self, asking: impl Future<Output = Result<T>>) -> Result<T> {
        let mut away = self.away.subscribe();
        // Boxed: the futures of calls are large and lie in those of everybody who asks.
        let asking = Box::pin(asking);
        let is_away = async {
            // The sender is here, so this ends with nothing but that.
            let _ = away.wait_for(|away| *away).await;
            // What needs no server after all may need a moment.
            tokio::time::sleep(MOMENT).await;
        };
        tokio::select! {
            biased;
            answer = asking => answer,
            () = is_away => Err(gone()),
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
}
