//! A new password: from the current one, or from the recovery words.
//!
//! Either way the account key stays and is wrapped anew, 32 bytes: no file is touched. With the words the new password is signed
//! by the account's identity key, which only they open, so that reading somebody's mail is not enough to lock them out.

use std::path::Path;

use cyx_core::auth::{StretchParams, recovery_body};
use cyx_core::ids::SessionId;
pub use cyx_crypto::account::AccountSecrets;
use cyx_crypto::account::{PasswordSecrets, make_password, make_recovery};
use cyx_crypto::keys::AccountKey;
use cyx_crypto::recovery::parse_words;
use cyx_crypto::wrap::AccountKek;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::{Config, Gateway};
use crate::error::{Error, IntegrityError, Result};
use crate::identity::factors::Proof;
use crate::identity::messages::{NewPassword, PreloginRequest, WrappedKeys};
use crate::identity::rest::{Ignored, Repeat, Rest};
use crate::identity::{blocking, login_gateway, open_keys, password, rest_for, stretch_error};
use crate::memory::StretchMemory;
use crate::secret::base64_bytes;
use crate::session::Session;

/// A recovery whose mailed code is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRecovery {
    /// Names it when it is finished, also in another process.
    pub recovery_id: SessionId,
    /// Until when its code can be used, Unix seconds.
    pub otp_expires_at: u64,
}

/// A recovery whose code was right: the server has handed over the keys, which the words will open.
pub struct Recovery {
    rest: Rest,
    id: SessionId,
    email: String,
    keys: WrappedKeys,
}

/// Recovery words that do not count yet: to be shown before they are sent, because the answer by which they count may be lost.
pub struct NewWords {
    words: Zeroizing<String>,
    by_words: Vec<u8>,
    /// Of the account key that they open.
    account_key_epoch: u32,
}

impl NewWords {
    fn make(key: &AccountKey, account_key_epoch: u32) -> Self {
        let made = make_recovery(key);
        Self { words: made.words, by_words: made.wrapped_account_key, account_key_epoch }
    }

    /// The words.
    #[must_use]
    pub fn words(&self) -> &Zeroizing<String> {
        &self.words
    }
}

/// What becomes of the rest of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryChoices {
    /// Removes the authenticator app: it was lost too.
    pub remove_factors: bool,
    /// Ends API keys too, not only sessions.
    pub revoke_api_keys: bool,
}

#[derive(Serialize)]
struct VerifyRequest<'a> {
    recovery_id: SessionId,
    otp: &'a str,
}

#[derive(Deserialize)]
struct VerifyResponse {
    #[serde(deserialize_with = "base64_bytes::deserialize")]
    recovery_wrapped_account_key: Vec<u8>,
    #[serde(deserialize_with = "base64_bytes::deserialize")]
    signing_public_key: Vec<u8>,
    #[serde(deserialize_with = "base64_bytes::deserialize")]
    exchange_public_key: Vec<u8>,
    #[serde(deserialize_with = "base64_bytes::deserialize")]
    wrapped_private_keys: Vec<u8>,
}

#[derive(Serialize)]
struct FinishRequest<'a> {
    recovery_id: SessionId,
    new: NewPassword,
    #[serde(serialize_with = "base64_bytes::serialize")]
    recovery_wrapped_account_key: &'a [u8],
    #[serde(serialize_with = "base64_bytes::serialize")]
    signature: &'a [u8],
    remove_totp: bool,
    revoke_api_keys: bool,
}

#[derive(Serialize)]
struct ChangeRequest<'a> {
    new: NewPassword,
    revoke_api_keys: bool,
    account_key_epoch: u32,
    #[serde(flatten)]
    proof: Proof<'a>,
}

#[derive(Deserialize)]
struct Changed {
    revoked_sessions: u64,
}

#[derive(Serialize)]
struct WordsRequest<'a> {
    #[serde(serialize_with = "base64_bytes::serialize")]
    recovery_wrapped_account_key: &'a [u8],
    account_key_epoch: u32,
    #[serde(flatten)]
    proof: Proof<'a>,
}

/// Checks that some text can be recovery words at all.
///
/// # Errors
/// [`Error::Invalid`] that says what is wrong; it never repeats a word.
pub fn check_words(words: &str) -> Result<()> {
    parse_words(words).map(drop).map_err(|error| Error::invalid(error.to_string()))
}

/// Begins a recovery. The answer is the same whether or not the address has an account: only a mail says more.
///
/// # Errors
/// `INVALID_EMAIL`, `RATE_LIMITED`; network errors.
pub async fn begin_recovery(config: &Config, email: &str) -> Result<PendingRecovery> {
    password::check_email(email)?;
    let rest = rest_for(config, login_gateway(config)?)?;
    Ok(rest.post::<_, PendingRecovery>("/api/auth/recover", None, &PreloginRequest { email }).await?.body)
}

/// Gives the mailed code and gets the account's keys as the words wrap them.
///
/// # Errors
/// `OTP_INVALID` (it can be tried again), `OTP_EXPIRED`.
pub async fn verify_recovery(config: &Config, email: &str, id: SessionId, otp: &str) -> Result<Recovery> {
    password::check_email(email)?;
    let rest = rest_for(config, login_gateway(config)?)?;
    let request = VerifyRequest { recovery_id: id, otp: otp.trim() };
    let answer = rest.post::<_, VerifyResponse>("/api/auth/recover/verify", None, &request).await?.body;
    let keys = WrappedKeys {
        wrapped_account_key: answer.recovery_wrapped_account_key,
        signing_public_key: answer.signing_public_key,
        exchange_public_key: answer.exchange_public_key,
        wrapped_private_keys: answer.wrapped_private_keys,
        // Nothing on this machine is opened with what the words open.
        account_key_epoch: 0,
        account_key_history: Vec::new(),
    };
    Ok(Recovery { rest, id, email: email.to_owned(), keys })
}

impl Recovery {
    /// Address of the account, as it was given.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.email
    }

    /// Opens the account with the words.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they are no words, or not those of this account.
    pub fn open(&self, words: &str) -> Result<AccountSecrets> {
        let key = parse_words(words).map_err(|error| Error::invalid(error.to_string()))?;
        open_keys(AccountKek::Recovery(&key), &self.keys).map_err(|error| match error {
            Error::Integrity(IntegrityError::Sealed(_)) => {
                Error::invalid("these are not the recovery words of this account")
            }
            other => other,
        })
    }

    /// Makes recovery words for [`Self::finish`]. Nothing changes yet.
    #[must_use]
    pub fn make_words(&self, secrets: &AccountSecrets) -> NewWords {
        NewWords::make(&secrets.key, self.keys.account_key_epoch)
    }

    /// Sets a new password and, if there are any, new words. All sessions end.
    ///
    /// # Errors
    /// `WEAK_PASSWORD`, found here; `OTP_EXPIRED` if it took too long. Nothing was set, unless [`Error::leaves_open`] says that nobody
    /// knows.
    pub async fn finish(
        &self,
        config: &Config,
        secrets: &AccountSecrets,
        new_password: &str,
        new_words: Option<&NewWords>,
        choices: RecoveryChoices,
    ) -> Result<()> {
        password::check_password(new_password, "", &self.email)?;
        let new = wrap(new_password, secrets).await?;
        let by_words = new_words.map_or(&self.keys.wrapped_account_key, |new| &new.by_words);
        let body = recovery_body(self.id, &new.salt, new.params, &new.auth_key, &new.wrapped_account_key, by_words);
        let request = FinishRequest {
            recovery_id: self.id,
            new: NewPassword::from(&new),
            recovery_wrapped_account_key: by_words,
            signature: &secrets.identity.sign_recovery(&body),
            remove_totp: choices.remove_factors,
            revoke_api_keys: choices.revoke_api_keys,
        };
        self.rest.post::<_, Ignored>("/api/auth/recover/finish", None, &request).await?;
        remember(&config.home, self.rest.gateway(), &self.email, new.params);
        Ok(())
    }
}

impl Session {
    /// Checks that a password can be this account's, before anybody is asked for a code.
    ///
    /// # Errors
    /// `WEAK_PASSWORD`; [`Error::NotLoggedIn`], network errors.
    pub async fn check_new_password(&self, new: &str) -> Result<()> {
        let identity = self.known_identity().await?;
        password::check_password(new, &identity.username, &identity.email)
    }

    /// Changes the password and ends all other sessions; says how many. The account key stays, so no file changes.
    ///
    /// # Errors
    /// `OTP_INVALID` (the confirmation can be tried again), `OTP_EXPIRED`; `WEAK_PASSWORD`, found here; [`Error::NotLoggedIn`].
    pub async fn change_password(&self, new: &str, revoke_api_keys: bool, proof: Proof<'_>) -> Result<u64> {
        let identity = self.identity().await?;
        password::check_password(new, &identity.username, &identity.email)?;
        let keys = self.fetch_keys().await?.account();
        let made = wrap(new, &keys.secrets).await?;
        let account_key_epoch = keys.epoch;
        let request = ChangeRequest { new: NewPassword::from(&made), revoke_api_keys, account_key_epoch, proof };
        let changed: Changed =
            self.send_proof(Method::POST, "/api/auth/password", Some(&request), Repeat::IfNotSent).await?;
        remember(self.home(), self.gateway(), &identity.email, made.params);
        Ok(changed.revoked_sessions)
    }

    /// Makes recovery words for [`Self::renew_recovery_words`]. Nothing changes yet.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`], network errors.
    pub async fn make_recovery_words(&self) -> Result<NewWords> {
        let keys = self.fetch_keys().await?.account();
        Ok(NewWords::make(&keys.secrets.key, keys.epoch))
    }

    /// Lets new recovery words count; the old ones open nothing any more.
    ///
    /// # Errors
    /// `OTP_INVALID` (the confirmation can be tried again), `OTP_EXPIRED`; `STALE_KEY` if the account key was replaced meanwhile;
    /// [`Error::NotLoggedIn`]. The old ones still count, unless [`Error::leaves_open`] says that nobody knows.
    pub async fn renew_recovery_words(&self, new: &NewWords, proof: Proof<'_>) -> Result<()> {
        let request = WordsRequest {
            recovery_wrapped_account_key: &new.by_words,
            account_key_epoch: new.account_key_epoch,
            proof,
        };
        let _: Ignored = self.send_proof(Method::PUT, "/api/auth/recovery", Some(&request), Repeat::IfNotSent).await?;
        Ok(())
    }
}

/// Notes the parameters of a password that counts by now: it must not look as if it did not because they cannot be noted. The next login
/// notes them.
fn remember(home: &Path, gateway: &Gateway, email: &str, params: StretchParams) {
    if let Err(error) = StretchMemory::new(home).remember(gateway.as_str(), email, params) {
        tracing::warn!(%error, "the parameters of the new password could not be noted");
    }
}

async fn wrap(new_password: &str, secrets: &AccountSecrets) -> Result<PasswordSecrets> {
    let (secret, key) = (Zeroizing::new(new_password.as_bytes().to_vec()), secrets.key.clone());
    blocking(move || make_password(&secret, &key)).await?.map_err(|error| stretch_error(&error))
}
