//! Logging in: salt and parameters, then the auth key, then the code from the mail.
//!
//! An address without an account gets the same kind of answers after the same work: a stable made-up salt, and the refusal that a wrong
//! password gets. Only who has the right auth key gets a login id and causes a mail.

use std::net::IpAddr;

use cyx_core::auth::StretchParams;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, Random as _, SessionId};
use sqlx::Row as _;
use subtle::ConstantTimeEq as _;

use super::limits::{self, FAILED_LOGINS, LOGIN_CODES};
use super::register::is_signing_key;
use super::rules;
use crate::app::App;
use crate::auth::{column_array, column_id};
use crate::db::{Conn, DbError};
use crate::error::ApiError;
use crate::mail::{self, CODE_LIFETIME, Letter};
use crate::time::{nanos, now_ns, to_seconds};
use crate::tokens::{Issued, stored_hash};

/// How often a code may be guessed.
const TRIES: i64 = 5;

/// What a client needs to derive its auth key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prelogin {
    /// Salt.
    pub salt: Vec<u8>,
    /// Parameters.
    pub params: StretchParams,
}

/// Salt and parameters of an account, or a stable fake.
///
/// # Errors
/// [`ErrorCode::Internal`].
pub async fn prelogin(app: &App, email: &str) -> Result<Prelogin, ApiError> {
    let email_key = rules::key(email);
    let fake = Prelogin { salt: app.tokens.fake_salt(&email_key).to_vec(), params: StretchParams::DEFAULT };
    let mut tx = app.db.read().await?;
    let row = sqlx::query("SELECT salt, memory_kib, passes, lanes FROM account WHERE email_key = $1")
        .bind(email_key)
        .fetch_optional(&mut *tx)
        .await?;
    let Some(row) = row else { return Ok(fake) };
    let number = |index: usize| -> Result<u32, ApiError> {
        let value: i64 = row.try_get(index)?;
        Ok(u32::try_from(value).map_err(|_| DbError::Corrupt("a parameter out of range"))?)
    };
    let params = StretchParams { memory_kib: number(1)?, passes: number(2)?, lanes: number(3)? };
    Ok(Prelogin { salt: row.try_get(0)?, params })
}

/// A login that waits for its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// Its id.
    pub login: SessionId,
    /// When the code ends, Unix seconds.
    pub expires_at: u64,
}

/// First step: checks the auth key and mails a code.
///
/// # Errors
/// [`ErrorCode::InvalidCredentials`], [`ErrorCode::AccountLocked`], [`ErrorCode::RateLimited`], [`ErrorCode::PermissionDenied`] for a
/// disabled account.
pub async fn begin(app: &App, email: &str, auth_key: &[u8], device: &str, ip: IpAddr) -> Result<Begun, ApiError> {
    let (email_key, auth_hash, device) = (rules::key(email), stored_hash(auth_key), rules::device_name(device));
    let login = SessionId::random();
    let outcome = app
        .db
        .write(move |c| {
            let attempt = Attempt { login, email_key: email_key.clone(), auth_hash, device: device.clone(), ip };
            Box::pin(async move { check_auth_key(c, attempt).await })
        })
        .await?;
    let begun = outcome?;
    app.post.wake();
    Ok(begun)
}

struct Attempt {
    login: SessionId,
    email_key: String,
    auth_hash: [u8; 32],
    device: String,
    ip: IpAddr,
}

/// The inner result is the caller's answer: a refusal must not undo the counting of failures.
async fn check_auth_key(c: &mut Conn, attempt: Attempt) -> Result<Result<Begun, ApiError>, DbError> {
    let by_account = limits::account(&attempt.email_key);
    let by_address = limits::address(attempt.ip);
    if FAILED_LOGINS.is_reached(c, &by_address).await? {
        return Ok(Err(ApiError::new(
            ErrorCode::RateLimited,
            "too many failed logins from this address; try again later",
        )));
    }
    if FAILED_LOGINS.is_reached(c, &by_account).await? {
        return Ok(Err(locked()));
    }
    let row = sqlx::query("SELECT id, auth_hash, email, disabled FROM account WHERE email_key = $1")
        .bind(&attempt.email_key)
        .fetch_optional(&mut *c)
        .await?;
    let (account, stored, email, disabled) = match row {
        Some(row) => (Some(column_id(&row, 0)?), column_array(&row, 1)?, row.try_get(2)?, row.try_get(3)?),
        None => (None::<AccountId>, [0; 32], String::new(), 0_i64),
    };
    let equal = bool::from(stored.ct_eq(&attempt.auth_hash));
    let account = match account {
        Some(account) if equal => account,
        _ => {
            FAILED_LOGINS.count(c, &by_account).await?;
            FAILED_LOGINS.count(c, &by_address).await?;
            return Ok(Err(ApiError::new(ErrorCode::InvalidCredentials, "email or password is wrong")));
        }
    };
    if disabled != 0 {
        return Ok(Err(ApiError::denied("this account is disabled")));
    }
    if LOGIN_CODES.is_reached(c, &by_account).await? {
        return Ok(Err(ApiError::new(ErrorCode::RateLimited, "too many codes were sent; try again later")));
    }
    LOGIN_CODES.count(c, &by_account).await?;
    let expires_ns = now_ns().saturating_add(nanos(CODE_LIFETIME));
    sqlx::query("INSERT INTO login (id, account, device_name, expires_ns) VALUES ($1, $2, $3, $4)")
        .bind(attempt.login.to_vec())
        .bind(account.to_vec())
        .bind(&attempt.device)
        .bind(expires_ns)
        .execute(&mut *c)
        .await?;
    mail::enqueue(c, &email, &Letter::LoginCode { login: attempt.login, device: attempt.device }).await?;
    Ok(Ok(Begun { login: attempt.login, expires_at: to_seconds(expires_ns) }))
}

fn locked() -> ApiError {
    ApiError::new(ErrorCode::AccountLocked, "too many failed logins; this account is locked for a while")
}

/// The keys of an account as one device gets them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKeys {
    /// The account key under the password's key or the device's secret.
    pub account_key: Vec<u8>,
    /// Ed25519.
    pub signing_public_key: Vec<u8>,
    /// X25519.
    pub exchange_public_key: Vec<u8>,
    /// Both private keys under the account key.
    pub private_keys: Vec<u8>,
}

/// A new session.
#[derive(Clone)]
pub struct LoggedIn {
    /// Whose.
    pub account: AccountId,
    /// The session.
    pub session: SessionId,
    /// Access token.
    pub access: Issued,
    /// Refresh token.
    pub refresh_token: String,
    /// Keys under the password's key.
    pub keys: WrappedKeys,
}

/// Second step: takes the code and makes a session bound to the device's Ed25519 key.
///
/// # Errors
/// [`ErrorCode::OtpInvalid`], [`ErrorCode::OtpExpired`] (too old, used, or tried too often), [`ErrorCode::RateLimited`],
/// [`ErrorCode::InvalidArgument`] for a bad key.
pub async fn verify(
    app: &App,
    login: SessionId,
    otp: &str,
    public_key: &[u8],
    ip: IpAddr,
) -> Result<LoggedIn, ApiError> {
    if !is_signing_key(public_key) {
        return Err(ApiError::invalid("the field session_public_key is not valid"));
    }
    let right = bool::from(app.tokens.otp(login).as_bytes().ct_eq(otp.trim().as_bytes()));
    let refresh_token = app.tokens.first_refresh_token(login);
    let new = NewSession {
        id: login,
        public_key: public_key.to_vec(),
        refresh_hash: stored_hash(refresh_token.as_bytes()),
        expires_ns: now_ns().saturating_add(nanos(app.config.refresh_token)),
    };
    let outcome = app
        .db
        .write(move |c| {
            let new = new.clone();
            Box::pin(async move { take_code(c, new, right, ip).await })
        })
        .await?;
    let (account, keys) = outcome?;
    let access = app.tokens.access(account, login)?;
    Ok(LoggedIn { account, session: login, access, refresh_token, keys })
}

#[derive(Clone)]
struct NewSession {
    id: SessionId,
    public_key: Vec<u8>,
    refresh_hash: [u8; 32],
    expires_ns: i64,
}

async fn take_code(
    c: &mut Conn,
    new: NewSession,
    right: bool,
    ip: IpAddr,
) -> Result<Result<(AccountId, WrappedKeys), ApiError>, DbError> {
    let by_address = limits::address(ip);
    if FAILED_LOGINS.is_reached(c, &by_address).await? {
        return Ok(Err(ApiError::new(
            ErrorCode::RateLimited,
            "too many failed logins from this address; try again later",
        )));
    }
    let ended =
        || ApiError::new(ErrorCode::OtpExpired, "the code is too old, was used or was tried too often; log in again");
    // Counting comes first and stays, so that no number of concurrent guesses gets more tries.
    let row = sqlx::query(
        "UPDATE login SET tries = tries + 1 WHERE id = $1 RETURNING account, device_name, tries, expires_ns",
    )
    .bind(new.id.to_vec())
    .fetch_optional(&mut *c)
    .await?;
    let Some(row) = row else { return Ok(Err(ended())) };
    let account: AccountId = column_id(&row, 0)?;
    let (device, tries, expires_ns): (String, i64, i64) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    let now = now_ns();
    if tries > TRIES || expires_ns <= now {
        remove_login(c, new.id).await?;
        return Ok(Err(ended()));
    }
    let row = sqlx::query(
        "SELECT email_key, disabled, wrapped_account_key, signing_public_key, exchange_public_key, wrapped_private_keys \
         FROM account WHERE id = $1",
    )
    .bind(account.to_vec())
    .fetch_one(&mut *c)
    .await?;
    let by_account = limits::account(&row.try_get::<String, _>(0)?);
    if !right {
        FAILED_LOGINS.count(c, &by_account).await?;
        FAILED_LOGINS.count(c, &by_address).await?;
        return Ok(Err(ApiError::new(ErrorCode::OtpInvalid, "the code is wrong")));
    }
    if row.try_get::<i64, _>(1)? != 0 {
        return Ok(Err(ApiError::denied("this account is disabled")));
    }
    remove_login(c, new.id).await?;
    FAILED_LOGINS.clear(c, &by_account).await?;
    sqlx::query("UPDATE account SET verified = 1 WHERE id = $1 AND verified = 0")
        .bind(account.to_vec())
        .execute(&mut *c)
        .await?;
    sqlx::query(
        "INSERT INTO session (id, account, device_name, public_key, generation, created_ns, expires_ns) VALUES ($1, $2, $3, $4, 1, $5, $6)",
    )
    .bind(new.id.to_vec())
    .bind(account.to_vec())
    .bind(device)
    .bind(new.public_key)
    .bind(now)
    .bind(new.expires_ns)
    .execute(&mut *c)
    .await?;
    super::sessions::store_refresh(c, new.id, &new.refresh_hash, 1).await?;
    let keys = WrappedKeys {
        account_key: row.try_get(2)?,
        signing_public_key: row.try_get(3)?,
        exchange_public_key: row.try_get(4)?,
        private_keys: row.try_get(5)?,
    };
    Ok(Ok((account, keys)))
}

async fn remove_login(c: &mut Conn, login: SessionId) -> Result<(), DbError> {
    sqlx::query("DELETE FROM login WHERE id = $1").bind(login.to_vec()).execute(c).await?;
    Ok(())
}
