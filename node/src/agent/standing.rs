//! What the server last said about this node.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::error::Error;

/// Without an accepted heartbeat for so long, a server that is not configured otherwise counts a node as offline.
const SILENCE: Duration = Duration::from_secs(300);
/// Heartbeats that may be missing where they are far apart.
const MISSING: u32 = 3;

/// Whether the server counts on this node.
#[derive(Default)]
pub struct Standing(Mutex<State>);

#[derive(Clone, Copy, Default)]
enum State {
    /// It has not registered since it was started.
    #[default]
    Joining,
    /// A heartbeat was accepted; the next ones would be until then.
    Known { until: Instant },
    /// The last heartbeat or registration was refused.
    Refused,
}

impl Standing {
    /// A heartbeat was accepted, and the next one comes after `interval`.
    pub(crate) fn accepted(&self, interval: Duration) {
        self.set(State::Known { until: Instant::now() + SILENCE.max(interval * MISSING) });
    }

    /// A heartbeat or a registration failed. What may succeed another time says nothing about the node.
    pub(crate) fn failed(&self, error: &Error) {
        if matches!(error, Error::Refused { .. }) && !error.is_passing() {
            self.set(State::Refused);
        }
    }

    /// Whether the server accepted a heartbeat not long ago, and has refused none since.
    pub(crate) fn is_registered(&self) -> bool {
        matches!(self.state(), State::Known { until } if Instant::now() < until)
    }

    /// Why nobody is sent to this node, if that is certain: a word. A server that is silent may still have sent those who come.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        match self.state() {
            State::Joining => Some("starting"),
            State::Refused => Some("refused"),
            State::Known { .. } => None,
        }
    }

    fn state(&self) -> State {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

#[cfg(test)]
mod tests {
    use cyx_core::error::ErrorCode;

    use super::*;

    fn refused(code: ErrorCode) -> Error {
        Error::Refused { what: "a heartbeat", code, message: String::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_registered_while_its_heartbeats_are_accepted() {
        let standing = Standing::default();
        assert_eq!((standing.is_registered(), standing.trouble()), (false, Some("starting")));
        standing.accepted(Duration::from_secs(30));
        standing.failed(&refused(ErrorCode::Unavailable));
        tokio::time::advance(Duration::from_secs(299)).await;
        assert_eq!((standing.is_registered(), standing.trouble()), (true, None));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!((standing.is_registered(), standing.trouble()), (false, None));
        standing.accepted(Duration::from_secs(1000));
        tokio::time::advance(Duration::from_secs(2900)).await;
        assert!(standing.is_registered());
        standing.failed(&refused(ErrorCode::NotFound));
        assert_eq!((standing.is_registered(), standing.trouble()), (false, Some("refused")));
        standing.accepted(Duration::from_secs(30));
        assert_eq!((standing.is_registered(), standing.trouble()), (true, None));
    }
}
