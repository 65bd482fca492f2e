//! New accounts.
//!
//! The answer is always "check your mail": it does not say whether an address has an account. An account that was never logged in to is
//! replaced by a later registration with its address; one that was gets a letter instead. So whoever registers an address and then asks
//! for its salt learns whether somebody uses it, at the price of that letter. User names are public, so a taken one is refused.

use std::net::IpAddr;
use std::time::Duration;

use cyx_core::auth::{SALT_LEN, StretchParams};
use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, Random as _};

use super::confirm::granted;
use super::limits::{self, REGISTRATION_MAILS, REGISTRATIONS};
use super::plan::Plan;
use super::rules;
use crate::app::App;
use crate::audit_log::{self, Action, Event};
use crate::db::{Conn, DbError};
use crate::error::ApiError;
use crate::mail::{self, Letter};
use crate::time::{nanos, now_ns};

/// Most bytes of a wrapped 32-byte key.
pub const WRAPPED_KEY_MAX: usize = 1024;
/// Most bytes of the wrapped private keys.
pub const WRAPPED_PRIVATE_KEYS_MAX: usize = 4096;
/// A user name whose account was not used for this long after its registration is free again.
const UNVERIFIED_KEPT: Duration = Duration::from_secs(48 * 3600);

/// What a password leaves on the server.
#[derive(Clone)]
pub struct Password {
    /// Salt.
    pub salt: Vec<u8>,
    /// How the password is stretched.
    pub params: StretchParams,
    /// SHA-256 of the auth key.
    pub auth_hash: [u8; 32],
    /// The account key under the password's key.
    pub wrapped_account_key: Vec<u8>,
}

impl Password {
    /// Checks sizes and parameters.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`].
    pub fn check(&self) -> Result<(), ApiError> {
        let (floor, ceiling, params) = (StretchParams::DEFAULT, StretchParams::CEILING, self.params);
        let within = (floor.memory_kib..=ceiling.memory_kib).contains(&params.memory_kib)
            && (floor.passes..=ceiling.passes).contains(&params.passes)
            && (floor.lanes..=ceiling.lanes).contains(&params.lanes);
        fields(&[
            ("salt", self.salt.len() == SALT_LEN),
            ("params", within),
            ("wrapped_account_key", is_wrapped_key(&self.wrapped_account_key)),
        ])
    }
}

/// What a new account consists of. The server can read none of the wrapped keys.
#[derive(Clone)]
pub struct Registration {
    /// User name.
    pub username: String,
    /// Email address.
    pub email: String,
    /// What the password leaves here.
    pub password: Password,
    /// The account key under the recovery key.
    pub recovery_wrapped_account_key: Vec<u8>,
    /// Ed25519.
    pub signing_public_key: Vec<u8>,
    /// X25519.
    pub exchange_public_key: Vec<u8>,
    /// Both private keys under the account key.
    pub wrapped_private_keys: Vec<u8>,
}

impl Registration {
    /// Checks everything that can be checked without the database.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidUsername`], [`ErrorCode::InvalidEmail`], [`ErrorCode::InvalidArgument`].
    pub fn check(&self) -> Result<(), ApiError> {
        rules::username(&self.username)?;
        rules::email(&self.email)?;
        self.password.check()?;
        fields(&[
            ("recovery_wrapped_account_key", is_wrapped_key(&self.recovery_wrapped_account_key)),
            ("signing_public_key", is_signing_key(&self.signing_public_key)),
            ("exchange_public_key", self.exchange_public_key.len() == 32),
            ("wrapped_private_keys", (1..=WRAPPED_PRIVATE_KEYS_MAX).contains(&self.wrapped_private_keys.len())),
        ])
    }
}

/// Names the first field that does not fit.
pub(super) fn fields(checked: &[(&str, bool)]) -> Result<(), ApiError> {
    match checked.iter().find(|(_, fits)| !fits) {
        Some((field, _)) => Err(ApiError::invalid(format!("the field {field} is not valid"))),
        None => Ok(()),
    }
}

/// Whether bytes may be a wrapped key.
pub(super) fn is_wrapped_key(bytes: &[u8]) -> bool {
    (1..=WRAPPED_KEY_MAX).contains(&bytes.len())
}

/// Whether bytes are an Ed25519 public key that strict verification accepts.
#[must_use]
pub fn is_signing_key(bytes: &[u8]) -> bool {
    let key = bytes.try_into().ok().and_then(|bytes| ed25519_dalek::VerifyingKey::from_bytes(bytes).ok());
    key.is_some_and(|key| !key.is_weak())
}

/// Registers an account.
///
/// # Errors
/// As [`Registration::check`]; [`ErrorCode::AlreadyExists`] for a taken user name, [`ErrorCode::RateLimited`].
pub async fn register(app: &App, registration: Registration, ip: IpAddr) -> Result<(), ApiError> {
    registration.check()?;
    let plan = app.config.plan;
    let limits = match plan {
        Plan::Free => (app.config.plan_free_bytes, app.config.plan_free_traffic_bytes),
        other => (other.storage_bytes(), other.traffic_bytes()),
    };
    let outcome = app
        .db
        .write(move |c| {
            let registration = registration.clone();
            Box::pin(async move { insert(c, &registration, plan, limits, ip).await })
        })
        .await?;
    outcome?;
    app.mailer.wake();
    Ok(())
}

fn name_is_taken() -> ApiError {
    ApiError::new(ErrorCode::AlreadyExists, "this user name is taken")
}

/// The inner result is the caller's answer, the outer one decides whether counters stay.
async fn insert(
    c: &mut Conn,
    new: &Registration,
    plan: Plan,
    (limit, traffic): (u64, u64),
    ip: IpAddr,
) -> Result<Result<(), ApiError>, ApiError> {
    let (email_key, username_key) = (rules::key(&new.email), rules::key(&new.username));
    let (by_address, by_email) = (limits::address(ip), limits::account(&email_key));
    // Looked at before anything is counted: what an email address is refused is not to use up the network address.
    let too_many_mails = "too many mails to this address; try again later";
    granted!(REGISTRATION_MAILS.check(c, &by_email, too_many_mails).await?);
    granted!(REGISTRATIONS.take(c, &by_address, "too many registrations from this address; try again later").await?);

    let now = now_ns();
    let abandoned = now.saturating_sub(nanos(UNVERIFIED_KEPT));
    // Whoever registered this address before without ever logging in gives way, and so does a name that was left unused.
    sqlx::query(
        "DELETE FROM account WHERE verified = 0 AND (email_key = $1 OR (username_key = $2 AND created_ns < $3))",
    )
    .bind(&email_key)
    .bind(&username_key)
    .bind(abandoned)
    .execute(&mut *c)
    .await?;
    let taken = sqlx::query("SELECT id FROM account WHERE username_key = $1")
        .bind(&username_key)
        .fetch_optional(&mut *c)
        .await?;
    if taken.is_some() {
        return Err(name_is_taken());
    }
    granted!(REGISTRATION_MAILS.take(c, &by_email, too_many_mails).await?);

    let id = AccountId::random();
    let inserted = sqlx::query(
        "INSERT INTO account (id, username, username_key, email, email_key, verified, role, plan, limit_bytes, traffic_limit_bytes, \
         salt, memory_kib, passes, lanes, auth_hash, wrapped_account_key, recovery_wrapped_account_key, signing_public_key, \
         exchange_public_key, wrapped_private_keys, created_ns) \
         VALUES ($1, $2, $3, $4, $5, 0, 'basic', $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) \
         ON CONFLICT (email_key) DO NOTHING RETURNING id",
    )
    .bind(id.to_vec())
    .bind(&new.username)
    .bind(&username_key)
    .bind(&new.email)
    .bind(&email_key)
    .bind(plan.as_str())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind(i64::try_from(traffic).unwrap_or(i64::MAX))
    .bind(&new.password.salt[..])
    .bind(i64::from(new.password.params.memory_kib))
    .bind(i64::from(new.password.params.passes))
    .bind(i64::from(new.password.params.lanes))
    .bind(&new.password.auth_hash[..])
    .bind(&new.password.wrapped_account_key[..])
    .bind(&new.recovery_wrapped_account_key[..])
    .bind(&new.signing_public_key[..])
    .bind(&new.exchange_public_key[..])
    .bind(&new.wrapped_private_keys[..])
    .bind(now)
    .fetch_optional(&mut *c)
    .await
    .map_err(DbError::from);
    let inserted = match inserted {
        // Somebody else took the user name at the same moment.
        Err(error) if error.is_unique_violation() => return Err(name_is_taken()),
        other => other?,
    };
    let letter = match inserted {
        Some(_) => Letter::Welcome { username: new.username.clone() },
        None => Letter::AlreadyRegistered,
    };
    mail::enqueue(c, &new.email, &letter).await?;
    audit_log::record(c, Event::anyone(inserted.is_some().then_some(id), Action::Registered, ip)).await?;
    Ok(Ok(()))
}
