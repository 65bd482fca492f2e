//! Logged-in devices of an account.

use cyx_core::ids::SessionId;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::identity::rest::{Ignored, Repeat};
use crate::session::Session;

/// A logged-in device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its session.
    pub id: SessionId,
    /// What it called itself when it logged in.
    pub device_name: String,
    /// When it logged in, RFC 3339.
    pub created_at: String,
    /// When it last got a token, RFC 3339.
    pub last_used_at: String,
    /// From where; empty if the server does not know.
    pub address: String,
    /// It is the one that asks.
    pub current: bool,
}

#[derive(Deserialize)]
struct Devices {
    sessions: Vec<Device>,
}

#[derive(Deserialize)]
struct Revoked {
    revoked: u64,
}

impl Session {
    /// Devices that are logged in, the one used last first.
    ///
    /// # Errors
    /// [`crate::Error::NotLoggedIn`], network errors.
    pub async fn devices(&self) -> Result<Vec<Device>> {
        Ok(self.get::<Devices>("/api/auth/sessions").await?.sessions)
    }

    /// Ends the session of a device; the server forgets the keys it kept for it.
    ///
    /// # Errors
    /// `NOT_FOUND` if the account has no such session.
    pub async fn revoke_device(&self, session: SessionId) -> Result<()> {
        let path = format!("/api/auth/sessions/{session}");
        let _: Ignored = self.send(Method::DELETE, &path, None::<&()>, Repeat::IfNotSent).await?;
        Ok(())
    }

    /// Ends all sessions, or all but this one, and says how many.
    ///
    /// # Errors
    /// [`crate::Error::NotLoggedIn`], network errors.
    pub async fn revoke_all_devices(&self, keep_current: bool) -> Result<u64> {
        let path = format!("/api/auth/sessions?keep_current={keep_current}");
        Ok(self.send::<_, Revoked>(Method::DELETE, &path, None::<&()>, Repeat::IfNotSent).await?.revoked)
    }
}
