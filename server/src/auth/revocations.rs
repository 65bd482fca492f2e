//! What streams hear of revoked sessions.

use cyx_core::ids::AccountId;
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// Revocations that a slow stream may be behind.
pub(super) const REVOCATIONS_MAX: usize = 256;

/// The revocations since this was made.
pub struct Revocations(Receiver<AccountId>);

impl Revocations {
    pub(super) const fn new(receiver: Receiver<AccountId>) -> Self {
        Self(receiver)
    }

    /// Waits until sessions of an account were revoked, or until they may have been.
    pub async fn of(&mut self, account: AccountId) {
        loop {
            match self.0.recv().await {
                Ok(revoked) if revoked != account => {}
                Ok(_) | Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
