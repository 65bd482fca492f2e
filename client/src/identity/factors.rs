//! Second factors: codes by mail, codes of an authenticator app, backup codes.
//!
//! Changing them, as every other sensitive change, needs the password and a code at that very moment, not only a session: whoever finds
//! an unlocked machine must not be able to lock its owner out.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::Result;
use crate::identity::NoBody;
use crate::identity::messages::AuthKeyRequest;
use crate::identity::rest::{Ignored, Repeat};
use crate::secret::Secret32;
use crate::session::Session;

/// A password that was proved a moment ago; a code is still to be given. Good for one change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Confirmation {
    /// Names it.
    #[serde(rename = "confirmation_id")]
    pub id: String,
    /// Where the code comes from: `email` or `totp`.
    pub otp_method: String,
    /// Until when it can be used, Unix seconds.
    pub otp_expires_at: u64,
}

/// The factors of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factors {
    /// Where the code of a login comes from: `email` or `totp`.
    pub login_method: String,
    /// The authenticator app, if there is one.
    pub totp: Option<Totp>,
    /// Backup codes that were not used yet.
    pub backup_codes_left: u64,
}

/// An authenticator app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totp {
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; absent before the first login with it.
    pub last_used_at: Option<String>,
}

/// What an authenticator app is told. It does not count before one of its codes confirms it.
#[derive(Deserialize)]
pub struct Enrollment {
    /// For typing, in base32.
    #[serde(deserialize_with = "crate::secret::text")]
    pub secret: Zeroizing<String>,
    /// For scanning: `otpauth://…`.
    #[serde(deserialize_with = "crate::secret::text")]
    pub uri: Zeroizing<String>,
    /// Until when it can be confirmed, Unix seconds.
    pub expires_at: u64,
}

/// A confirmation with its code: what every sensitive change takes.
#[derive(Clone, Copy, Serialize)]
pub struct Proof<'a> {
    confirmation_id: &'a str,
    otp: &'a str,
}

impl<'a> Proof<'a> {
    /// The code for a confirmation.
    #[must_use]
    pub fn new(confirmation: &'a str, otp: &'a str) -> Self {
        Self { confirmation_id: confirmation, otp: otp.trim() }
    }
}

#[derive(Serialize)]
struct Code<'a> {
    otp: &'a str,
}

#[derive(Deserialize)]
struct BackupCodes {
    backup_codes: Vec<String>,
}

/// Codes that are shown once.
pub struct OneTimeCodes(pub Vec<Zeroizing<String>>);

impl From<BackupCodes> for OneTimeCodes {
    fn from(codes: BackupCodes) -> Self {
        Self(codes.backup_codes.into_iter().map(Zeroizing::new).collect())
    }
}

impl Session {
    /// Proves the password and lets the server send a code, unless an app makes them.
    ///
    /// # Errors
    /// `INVALID_CREDENTIALS`, `RATE_LIMITED`, `ACCOUNT_LOCKED`; [`crate::Error::NotLoggedIn`].
    pub async fn begin_confirmation(&self, password: &str) -> Result<Confirmation> {
        let login = self.prove(password).await?;
        let request = AuthKeyRequest { auth_key: Secret32::new(*login.auth_key) };
        self.send_proof(Method::POST, "/api/auth/confirm", Some(&request), Repeat::IfNotSent).await
    }

    /// The factors of the account.
    ///
    /// # Errors
    /// [`crate::Error::NotLoggedIn`], network errors.
    pub async fn factors(&self) -> Result<Factors> {
        self.get("/api/auth/factors").await
    }

    /// Begins to enrol an authenticator app.
    ///
    /// # Errors
    /// `OTP_INVALID` (the confirmation can be tried again), `OTP_EXPIRED`.
    pub async fn enroll_totp(&self, proof: Proof<'_>) -> Result<Enrollment> {
        self.confirmed("/api/auth/factors/totp", proof).await
    }

    /// Confirms the app with one of its codes. From now on logins take its codes, and the backup codes.
    ///
    /// # Errors
    /// `OTP_INVALID` (it can be tried again), `OTP_EXPIRED` without an enrolment.
    pub async fn confirm_totp(&self, otp: &str) -> Result<OneTimeCodes> {
        let request = Code { otp: otp.trim() };
        let codes: BackupCodes =
            self.send_proof(Method::POST, "/api/auth/factors/totp/confirm", Some(&request), Repeat::IfNotSent).await?;
        Ok(codes.into())
    }

    /// Removes the authenticator app; codes come by mail again.
    ///
    /// # Errors
    /// As [`Self::enroll_totp`]; `NOT_FOUND` if there is none.
    pub async fn remove_totp(&self, proof: Proof<'_>) -> Result<()> {
        let _: Ignored = self.confirmed("/api/auth/factors/totp/remove", proof).await?;
        Ok(())
    }

    /// Replaces the backup codes.
    ///
    /// # Errors
    /// As [`Self::remove_totp`].
    pub async fn renew_backup_codes(&self, proof: Proof<'_>) -> Result<OneTimeCodes> {
        let codes: BackupCodes = self.confirmed("/api/auth/factors/backup-codes", proof).await?;
        Ok(codes.into())
    }

    /// A sensitive change that takes nothing but its proof.
    pub(super) async fn confirmed<T: serde::de::DeserializeOwned>(&self, path: &str, proof: Proof<'_>) -> Result<T> {
        self.send_proof(Method::POST, path, Some(&proof), Repeat::IfNotSent).await
    }

    pub(super) async fn post_nothing<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send(Method::POST, path, Some(&NoBody {}), Repeat::IfNotSent).await
    }
}
