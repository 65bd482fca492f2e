//! Logging in: salt and parameters, then the auth key, then the code from the mail.
//!
//! An address without an account gets the same kind of answers after the same work: a stable made-up salt, and the refusal that a wrong
//! password gets. Only who has the right auth key gets a login id and causes a mail. With an authenticator app its codes are
//! taken instead, and no mail is sent.

use std::net::IpAddr;

use cyx_core::auth::StretchParams;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, Random as _, SessionId};
use sqlx::Row as _;
use subtle::ConstantTimeEq as _;

use super::account_key::Lineage;
use super::codes::{self, Method, Taken};
use super::confirm::{self, Outcome, granted};
use super::guard::Attempt;
use super::register::is_signing_key;
use super::rules;
use crate::app::App;
use crate::audit_log::{self, Action, Actor, Event};
use crate::auth::{column_array, column_id};
use crate::db::{Backend, Conn, DbError};
use crate::error::ApiError;
use crate::mail::{self, CODE_LIFETIME, Letter};
use crate::time::{nanos, now_ns, to_seconds};
use crate::tokens::{CodeKeys, Issued, stored_hash};

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
    /// Where the code comes from.
    pub method: Method,
    /// When the code ends, Unix seconds.
    pub expires_at: u64,
}

/// First step: checks the auth key and mails a code, if codes come by mail.
///
/// # Errors
/// [`ErrorCode::InvalidCredentials`], [`ErrorCode::AccountLocked`], [`ErrorCode::RateLimited`], [`ErrorCode::PermissionDenied`] for a
/// disabled account.
pub async fn begin(app: &App, email: &str, auth_key: &[u8], device: &str, ip: IpAddr) -> Result<Begun, ApiError> {
    let attempt = Login {
        id: SessionId::random(),
        email_key: rules::key(email),
        auth_hash: stored_hash(auth_key),
        device: rules::device_name(device),
        ip,
        backend: app.db.backend(),
    };
    confirm::run(app, move |c| {
        let attempt = attempt.clone();
        Box::pin(async move { check_auth_key(c, attempt).await })
    })
    .await
}

#[derive(Clone)]
struct Login {
    id: SessionId,
    email_key: String,
    auth_hash: [u8; 32],
    device: String,
    ip: IpAddr,
    backend: Backend,
}

async fn check_auth_key(c: &mut Conn, login: Login) -> Outcome<Begun> {
    let attempt = Attempt::new(&login.email_key, login.ip);
    granted!(attempt.check(c).await?);
    let row = sqlx::query("SELECT id, auth_hash, email, disabled FROM account WHERE email_key = $1")
        .bind(&login.email_key)
        .fetch_optional(&mut *c)
        .await?;
    let (account, stored, email, disabled) = match row {
        Some(row) => (Some(column_id(&row, 0)?), column_array(&row, 1)?, row.try_get(2)?, row.try_get(3)?),
        None => (None::<AccountId>, [0; 32], String::new(), 0_i64),
    };
    let equal = bool::from(stored.ct_eq(&login.auth_hash));
    let account = match account {
        Some(account) if equal => account,
        unknown_or_wrong => {
            attempt.failed(c, login.backend, unknown_or_wrong).await?;
            // For unknown addresses too, so that both take the same time.
            audit_log::record(c, Event::anyone(unknown_or_wrong, Action::Password, login.ip).refused()).await?;
            return Ok(Err(ApiError::new(ErrorCode::InvalidCredentials, "email or password is wrong")));
        }
    };
    if disabled != 0 {
        return Ok(Err(ApiError::denied("this account is disabled")));
    }
    let method = codes::method(c, account).await?;
    // Of an app's codes too, though nothing is mailed: each login that waits can be tried a few times.
    granted!(confirm::count_code(c, &login.email_key).await?);
    if method == Method::Email {
        mail::enqueue(c, &email, &Letter::LoginCode { login: login.id, device: login.device.clone() }).await?;
    }
    let expires_ns = now_ns().saturating_add(nanos(CODE_LIFETIME));
    sqlx::query("INSERT INTO login (id, account, device_name, expires_ns) VALUES ($1, $2, $3, $4)")
        .bind(login.id.to_vec())
        .bind(account.to_vec())
        .bind(&login.device)
        .bind(expires_ns)
        .execute(&mut *c)
        .await?;
    audit_log::record(c, Event::anyone(Some(account), Action::Password, login.ip).with(login.device)).await?;
    Ok(Ok(Begun { login: login.id, method, expires_at: to_seconds(expires_ns) }))
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
    /// Which of its account keys this is, and those of before under it.
    pub lineage: Lineage,
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
/// [`ErrorCode::OtpInvalid`], [`ErrorCode::OtpExpired`] (too old, used, or tried too often), [`ErrorCode::AccountLocked`],
/// [`ErrorCode::RateLimited`], [`ErrorCode::InvalidArgument`] for a bad key.
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
    let refresh_token = app.tokens.first_refresh_token(login);
    let new = NewSession {
        id: login,
        otp: otp.to_owned(),
        public_key: public_key.to_vec(),
        refresh_hash: stored_hash(refresh_token.as_bytes()),
        expires_ns: now_ns().saturating_add(nanos(app.config.refresh_token)),
        ip,
        backend: app.db.backend(),
        keys: app.tokens.codes.clone(),
        admins: app.config.admins.clone(),
    };
    let (account, keys) = confirm::run(app, move |c| {
        let new = new.clone();
        Box::pin(async move { take_code(c, new).await })
    })
    .await?;
    let access = app.tokens.access(account, login, None)?;
    Ok(LoggedIn { account, session: login, access, refresh_token, keys })
}

#[derive(Clone)]
struct NewSession {
    id: SessionId,
    otp: String,
    public_key: Vec<u8>,
    refresh_hash: [u8; 32],
    expires_ns: i64,
    ip: IpAddr,
    backend: Backend,
    keys: CodeKeys,
    admins: Vec<String>,
}

async fn take_code(c: &mut Conn, new: NewSession) -> Outcome<(AccountId, WrappedKeys)> {
    granted!(Attempt::from_address(new.ip).check(c).await?);
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
    if tries > super::challenge::TRIES || expires_ns <= now {
        remove_login(c, new.id).await?;
        return Ok(Err(ended()));
    }
    let row = sqlx::query("SELECT email_key, disabled FROM account WHERE id = $1")
        .bind(account.to_vec())
        .fetch_one(&mut *c)
        .await?;
    let email_key: String = row.try_get(0)?;
    let attempt = Attempt::new(&email_key, new.ip);
    // The lock holds for logins that were begun before it too, or each of them would buy more guesses.
    granted!(attempt.check(c).await?);
    let Some(taken) = codes::take(c, &new.keys, account, new.id, &new.otp).await? else {
        attempt.failed(c, new.backend, Some(account)).await?;
        audit_log::record(c, Event::anyone(Some(account), Action::Login, new.ip).refused().with(device)).await?;
        return Ok(Err(confirm::wrong_code()));
    };
    if row.try_get::<i64, _>(1)? != 0 {
        return Ok(Err(ApiError::denied("this account is disabled")));
    }
    remove_login(c, new.id).await?;
    attempt.passed(c).await?;
    sqlx::query("UPDATE account SET verified = 1 WHERE id = $1 AND verified = 0")
        .bind(account.to_vec())
        .execute(&mut *c)
        .await?;
    let is_new_admin = new.admins.contains(&email_key) && make_admin(c, account).await?;
    sqlx::query(
        "INSERT INTO session (id, account, device_name, public_key, generation, created_ns, last_used_ns, expires_ns, last_address) \
         VALUES ($1, $2, $3, $4, 1, $5, $5, $6, $7)",
    )
    .bind(new.id.to_vec())
    .bind(account.to_vec())
    .bind(&device)
    .bind(new.public_key)
    .bind(now)
    .bind(new.expires_ns)
    .bind(new.ip.to_canonical().to_string())
    .execute(&mut *c)
    .await?;
    super::sessions::store_refresh(c, new.id, &new.refresh_hash, 1).await?;
    if taken == Taken::Backup {
        audit_log::record(c, Event::anyone(Some(account), Action::BackupCodeUsed, new.ip)).await?;
    }
    audit_log::record(c, Event::anyone(Some(account), Action::Login, new.ip).with(device)).await?;
    if is_new_admin {
        let event = Event::new(Some(account), Actor::Server, Action::RoleChanged, None);
        audit_log::record(c, event.with("to admin, by the configuration")).await?;
    }
    let keys = under_password(c, account).await?;
    Ok(Ok((account, keys)))
}

/// The keys of an account as its password opens them.
pub(super) async fn under_password(c: &mut Conn, account: AccountId) -> Result<WrappedKeys, DbError> {
    let row = sqlx::query(
        "SELECT wrapped_account_key, signing_public_key, exchange_public_key, wrapped_private_keys, key_epoch, key_history \
         FROM account WHERE id = $1",
    )
    .bind(account.to_vec())
    .fetch_one(c)
    .await?;
    Ok(WrappedKeys {
        account_key: row.try_get(0)?,
        signing_public_key: row.try_get(1)?,
        exchange_public_key: row.try_get(2)?,
        private_keys: row.try_get(3)?,
        lineage: Lineage::read(&row, 4)?,
    })
}

/// Makes an administrator of who the configuration names and who has just shown to read the mail of that address. `false` if it was one.
async fn make_admin(c: &mut Conn, account: AccountId) -> Result<bool, DbError> {
    let changed = sqlx::query("UPDATE account SET role = 'admin' WHERE id = $1 AND role <> 'admin'")
        .bind(account.to_vec())
        .execute(c)
        .await?;
    Ok(changed.rows_affected() > 0)
}

async fn remove_login(c: &mut Conn, login: SessionId) -> Result<(), DbError> {
    sqlx::query("DELETE FROM login WHERE id = $1").bind(login.to_vec()).execute(c).await?;
    Ok(())
}
