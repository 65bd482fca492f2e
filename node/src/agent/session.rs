//! The machine's access token, renewed before it ends and after the server refused it.

use std::sync::Arc;

use cyx_core::ids::{KeyId, MachineId};
use tokio::sync::Mutex;

use super::api::{Api, Machine, Token};
use super::config::{Config, Secret};
use super::error::Error;
use super::login;
use crate::store::Clock;

/// A token is renewed when less than this many seconds are left.
const MARGIN_SECONDS: u64 = 300;

struct State {
    machine: Machine,
    token: Option<Token>,
    /// The server that the enrolment token was from, if the machine was enrolled with one since the program began.
    enrolled_at: Option<KeyId>,
}

/// The machine's session at the server.
#[derive(Clone)]
pub(crate) struct Session {
    api: Api,
    config: Arc<Config>,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

impl Session {
    /// Finds or makes the machine's credentials.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn open(api: Api, config: Arc<Config>, clock: Clock) -> Result<Self, Error> {
        let (machine, token) = login::machine(&api, &config).await?;
        // With a token of its own, the machine has just been enrolled.
        let enrolled_at =
            if token.is_some() { config.enroll_token.as_ref().and_then(login::fingerprint) } else { None };
        Ok(Self { api, config, clock, state: Arc::new(Mutex::new(State { machine, token, enrolled_at })) })
    }

    /// The fingerprint of the server that this machine was enrolled at a moment ago, if it is known.
    pub(crate) async fn enrolled_at(&self) -> Option<KeyId> {
        self.state.lock().await.enrolled_at
    }

    /// The machine's id and a token that is good for a while.
    ///
    /// If the server does not know the machine's key any more and there is an enrolment token or a password, the machine is
    /// enrolled anew.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn token(&self) -> Result<(MachineId, Secret), Error> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        if let Some(token) = &state.token
            && now.saturating_add(MARGIN_SECONDS) < token.expires
        {
            return Ok((state.machine.id, token.value.clone()));
        }
        let token = match self.api.token(&state.machine).await {
            Err(error) if error.is_unknown_caller() => {
                tracing::warn!(%error, machine = %state.machine.id, "the saved credentials are not accepted");
                if self.config.enroll_token.is_none() && self.config.password.is_none() {
                    return Err(error);
                }
                // The saved ones stay until there are others: the refusal may pass, and the enrolment may be refused as well.
                let (machine, token) = login::enrol(&self.api, &self.config).await?;
                state.machine = machine;
                state.enrolled_at = self.config.enroll_token.as_ref().and_then(login::fingerprint);
                token
            }
            other => other?,
        };
        let value = token.value.clone();
        state.token = Some(token);
        Ok((state.machine.id, value))
    }

    /// Forgets the token, because the server refused it.
    pub(crate) async fn token_was_refused(&self) {
        self.state.lock().await.token = None;
    }

    /// The REST API.
    #[must_use]
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }
}
