//! A new password by the 24 recovery words.
//!
//! The words open the account key, that opens the account's identity key, and that signs the new password: the server checks the
//! signature against the public key that it has had since the registration, and so learns nothing of the words. The code by mail
//! comes first, so that nobody else can even try. Addresses without an account get the same answers: their codes are never sent.

use std::net::IpAddr;
use std::time::Duration;

use cyx_core::auth::{SALT_LEN, recovery_body};
use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, Random as _, SessionId};
use cyx_core::sign::{self, Purpose, SIGNATURE_LEN};
use sqlx::Row as _;
use subtle::ConstantTimeEq as _;

use super::challenge::{self, Challenge, Kind};
use super::confirm::{Outcome, granted, over, run, run_and_forget, wrong_code};
use super::guard::Attempt;
use super::limits::{self, RECOVERIES, RECOVERIES_FROM};
use super::password::{replace, replace_words, told};
use super::register::{Password, fields, is_wrapped_key};
use super::{factors, rules};
use crate::app::{App, AppState};
use crate::audit_log::{self, Action, Event};
use crate::auth::{Sessions, column_array, column_id};
use crate::db::{Backend, Conn};
use crate::error::ApiError;
use crate::mail::{self, CODE_LIFETIME, Letter, Notice};
use crate::time::to_seconds;
use crate::tokens::{CodeKeys, stored_hash};

/// How long words may be typed once the code was taken.
const WORDS_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// A recovery that waits for its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// Its id.
    pub recovery: SessionId,
    /// When the code ends, Unix seconds.
    pub expires_at: u64,
}

/// Mails a code, if there is an account.
///
/// # Errors
/// [`ErrorCode::RateLimited`], for unknown addresses just the same.
pub async fn begin(app: &App, email: &str, ip: IpAddr) -> Result<Begun, ApiError> {
    let (email_key, recovery) = (rules::key(email), SessionId::random());
    run(app, move |c| {
        let email_key = email_key.clone();
        Box::pin(async move { open(c, recovery, email_key, ip).await })
    })
    .await
}

async fn open(c: &mut Conn, recovery: SessionId, email_key: String, ip: IpAddr) -> Outcome<Begun> {
    let (by_account, by_address) = (limits::account(&email_key), limits::address(ip));
    let text = "too many recoveries were asked for; try again later";
    // Looked at before anything is counted: what the second refuses is not to use up the first, which a whole household shares.
    granted!(RECOVERIES.check(c, &by_account, text).await?);
    granted!(RECOVERIES_FROM.take(c, &by_address, text).await?);
    granted!(RECOVERIES.take(c, &by_account, text).await?);
    let row = sqlx::query("SELECT id, email FROM account WHERE email_key = $1 AND disabled = 0")
        .bind(&email_key)
        .fetch_optional(&mut *c)
        .await?;
    let letter = Letter::RecoveryCode { challenge: recovery };
    let account: Option<AccountId> = match row {
        Some(row) => {
            mail::enqueue(c, &row.try_get::<String, _>(1)?, &letter).await?;
            Some(column_id(&row, 0)?)
        }
        None => {
            mail::enqueue_nothing(c, &letter).await?;
            None
        }
    };
    let kind = Kind::Recover;
    let opened = Challenge { id: recovery, kind, account, session: None, detail: email_key, passed: false };
    let expires_ns = challenge::begin(c, &opened, CODE_LIFETIME).await?;
    audit_log::record(c, Event::anyone(account, Action::RecoveryAsked, ip)).await?;
    Ok(Ok(Begun { recovery, expires_at: to_seconds(expires_ns) }))
}

/// What the words are to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// The account key under the recovery words.
    pub account_key: Vec<u8>,
    /// Ed25519.
    pub signing_public_key: Vec<u8>,
    /// X25519.
    pub exchange_public_key: Vec<u8>,
    /// Both private keys under the account key.
    pub private_keys: Vec<u8>,
    /// When the new password must be there, Unix seconds.
    pub expires_at: u64,
}

/// Takes the code and gives what the words open.
///
/// # Errors
/// [`ErrorCode::OtpInvalid`], [`ErrorCode::OtpExpired`], [`ErrorCode::RateLimited`].
pub async fn verify(app: &App, recovery: SessionId, otp: String, ip: IpAddr) -> Result<Wrapped, ApiError> {
    let (keys, backend) = (app.tokens.codes.clone(), app.db.backend());
    run(app, move |c| {
        let (keys, otp) = (keys.clone(), otp.clone());
        Box::pin(async move { take_code(c, &keys, backend, recovery, &otp, ip).await })
    })
    .await
}

async fn take_code(
    c: &mut Conn,
    keys: &CodeKeys,
    backend: Backend,
    recovery: SessionId,
    otp: &str,
    ip: IpAddr,
) -> Outcome<Wrapped> {
    granted!(Attempt::from_address(ip).check(c).await?);
    let found = challenge::attempt(c, recovery, Kind::Recover).await?;
    let Some(found) = found.filter(|found| !found.passed) else { return Ok(Err(over())) };
    let right = bool::from(keys.mailed(recovery).as_bytes().ct_eq(otp.trim().as_bytes()));
    let Some(account) = found.account.filter(|_| right) else {
        Attempt::new(&found.detail, ip).failed(c, backend, found.account).await?;
        audit_log::record(c, Event::anyone(found.account, Action::RecoveryCode, ip).refused()).await?;
        return Ok(Err(wrong_code()));
    };
    let row = sqlx::query(
        "SELECT recovery_wrapped_account_key, signing_public_key, exchange_public_key, wrapped_private_keys \
         FROM account WHERE id = $1",
    )
    .bind(account.to_vec())
    .fetch_one(&mut *c)
    .await?;
    let expires_ns = challenge::pass(c, recovery, WORDS_LIFETIME).await?;
    audit_log::record(c, Event::anyone(Some(account), Action::RecoveryCode, ip)).await?;
    Ok(Ok(Wrapped {
        account_key: row.try_get(0)?,
        signing_public_key: row.try_get(1)?,
        exchange_public_key: row.try_get(2)?,
        private_keys: row.try_get(3)?,
        expires_at: to_seconds(expires_ns),
    }))
}

/// A new password, signed by the account's identity key.
#[derive(Clone)]
pub struct Recovered {
    /// Of the recovery.
    pub recovery: SessionId,
    /// The new auth key.
    pub auth_key: [u8; 32],
    /// What the new password leaves here.
    pub password: Password,
    /// The account key under the recovery words, new or the same.
    pub recovery_wrapped_account_key: Vec<u8>,
    /// Over [`recovery_body`].
    pub signature: Vec<u8>,
    /// Whether the authenticator app goes too: it may be lost with the password.
    pub remove_app: bool,
    /// Whether API keys end too.
    pub revoke_api_keys: bool,
}

impl Recovered {
    /// What must be signed.
    fn body(&self) -> Result<Vec<u8>, ApiError> {
        self.password.check()?;
        fields(&[
            ("recovery_wrapped_account_key", is_wrapped_key(&self.recovery_wrapped_account_key)),
            ("signature", self.signature.len() == SIGNATURE_LEN),
            ("auth_key", self.password.auth_hash == stored_hash(&self.auth_key)),
        ])?;
        let salt: &[u8; SALT_LEN] =
            self.password.salt.as_slice().try_into().map_err(|_| ApiError::invalid("the field salt is not valid"))?;
        Ok(recovery_body(
            self.recovery,
            salt,
            self.password.params,
            &self.auth_key,
            &self.password.wrapped_account_key,
            &self.recovery_wrapped_account_key,
        ))
    }
}

/// Sets the new password. All sessions end.
///
/// # Errors
/// [`ErrorCode::InvalidCredentials`] for a signature that is not the account's, [`ErrorCode::OtpExpired`] if no code was taken or it is
/// too late, [`ErrorCode::RateLimited`], [`ErrorCode::InvalidArgument`].
pub async fn finish(app: &AppState, recovered: Recovered, ip: IpAddr) -> Result<(), ApiError> {
    let (body, backend) = (recovered.body()?, app.db.backend());
    let forget = |sessions: &Sessions, outcome: &Outcome<AccountId>| {
        if let Ok(Ok(account)) = outcome {
            sessions.forget_account(*account);
        }
    };
    let done = run_and_forget(app, forget, move |c| {
        let (recovered, body) = (recovered.clone(), body.clone());
        Box::pin(async move { set(c, &recovered, &body, backend, ip).await })
    });
    done.await.map(drop)
}

async fn set(c: &mut Conn, recovered: &Recovered, body: &[u8], backend: Backend, ip: IpAddr) -> Outcome<AccountId> {
    granted!(Attempt::from_address(ip).check(c).await?);
    let found = challenge::attempt(c, recovered.recovery, Kind::Recover).await?.filter(|found| found.passed);
    let Some((account, email_key)) = found.and_then(|found| Some((found.account?, found.detail))) else {
        return Ok(Err(over()));
    };
    let attempt = Attempt::new(&email_key, ip);
    let row = sqlx::query("SELECT signing_public_key FROM account WHERE id = $1")
        .bind(account.to_vec())
        .fetch_one(&mut *c)
        .await?;
    let key = column_array(&row, 0)?;
    if sign::verify(&key, Purpose::Recovery, body, &recovered.signature).is_err() {
        attempt.failed(c, backend, Some(account)).await?;
        audit_log::record(c, Event::anyone(Some(account), Action::Recovered, ip).refused()).await?;
        return Ok(Err(ApiError::new(ErrorCode::InvalidCredentials, "the recovery words are wrong")));
    }
    replace(c, account, &recovered.password, None, recovered.revoke_api_keys).await?;
    replace_words(c, account, &recovered.recovery_wrapped_account_key).await?;
    if recovered.remove_app {
        factors::forget_app(c, account).await?;
    }
    attempt.passed(c).await?;
    if recovered.remove_app {
        audit_log::record(c, Event::anyone(Some(account), Action::TotpRemoved, ip)).await?;
    }
    audit_log::record(c, Event::anyone(Some(account), Action::Recovered, ip)).await?;
    told(c, account, Notice::Recovered, ip).await?;
    Ok(Ok(account))
}
