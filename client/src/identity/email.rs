//! Another email address: its owner confirms it with password and code, then shows codes from the old mailbox and from the new one.

use cyx_core::ids::SessionId;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::identity::factors::Proof;
use crate::identity::password;
use crate::identity::rest::{Ignored, Repeat};
use crate::session::Session;

/// A change of the address whose codes are on their way, one to each mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingEmail {
    /// Names it when it is finished, also in another process.
    pub change_id: SessionId,
    /// Until when the codes can be used, Unix seconds.
    pub otp_expires_at: u64,
}

#[derive(Serialize)]
struct BeginRequest<'a> {
    email: &'a str,
    #[serde(flatten)]
    proof: Proof<'a>,
}

#[derive(Serialize)]
struct ConfirmRequest<'a> {
    change_id: SessionId,
    otp_old: &'a str,
    otp_new: &'a str,
}

impl Session {
    /// Has a code sent to the old and to the new address. The answer does not say whether the new one has an account already: its
    /// mailbox does.
    ///
    /// # Errors
    /// `INVALID_EMAIL` (found here), `OTP_INVALID` (the confirmation can be tried again), `OTP_EXPIRED`, `RATE_LIMITED`;
    /// [`crate::Error::NotLoggedIn`].
    pub async fn begin_email_change(&self, email: &str, proof: Proof<'_>) -> Result<PendingEmail> {
        password::check_email(email)?;
        let request = BeginRequest { email, proof };
        self.send_proof(Method::POST, "/api/auth/email", Some(&request), Repeat::IfNotSent).await
    }

    /// Gives both codes; the address is changed then, also in the credentials of this machine. Says what it is now.
    ///
    /// # Errors
    /// `OTP_INVALID` (it can be tried again; which of the two is wrong is not said), `OTP_EXPIRED`, `CONFLICT` if the new address
    /// got an account meanwhile.
    pub async fn finish_email_change(&self, change: SessionId, otp_old: &str, otp_new: &str) -> Result<String> {
        let request = ConfirmRequest { change_id: change, otp_old: otp_old.trim(), otp_new: otp_new.trim() };
        let _: Ignored =
            self.send_proof(Method::POST, "/api/auth/email/confirm", Some(&request), Repeat::IfNotSent).await?;
        let email = self.identity().await?.email;
        self.keep_email(&email).await?;
        Ok(email)
    }
}
