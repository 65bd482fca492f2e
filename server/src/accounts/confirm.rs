//! Password and code once more, before something that a stolen session must not be able to do.
//!
//! [`begin`] proves the password and has a code made. Every change that needs both then goes through [`confirmed`], which takes the code
//! in the transaction of the change itself. Which paths those are stands in the table of routes ([`crate::http::access::Access`]).

use std::net::IpAddr;
use std::sync::Arc;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, Random as _, SessionId};
use futures_util::future::BoxFuture;
use sqlx::Row as _;
use subtle::ConstantTimeEq as _;

use super::challenge::{self, Challenge, Kind};
use super::codes::{self, Method, Taken};
use super::guard::Attempt;
use super::limits::{self, LOGIN_CODES};
use crate::app::{App, AppState};
use crate::audit_log::{self, Action, Event};
use crate::auth::{self, Caller, Sessions, column_array};
use crate::db::{Backend, Conn, DbError};
use crate::error::ApiError;
use crate::mail::{self, CODE_LIFETIME, Letter};
use crate::time::to_seconds;
use crate::tokens::{CodeKeys, stored_hash};

/// What a job answers: an error of the database undoes it; a refusal of its own keeps what it counted.
pub(crate) type Outcome<T> = Result<Result<T, ApiError>, DbError>;

/// The value of an [`Outcome`], or its refusal as the answer of the function around.
macro_rules! granted {
    ($outcome:expr) => {
        match $outcome {
            Ok(value) => value,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}
pub(crate) use granted;

/// Runs a job whose refusals keep what it counted, then sends the letters it wrote.
pub(crate) async fn run<T, F>(app: &App, job: F) -> Result<T, ApiError>
where
    F: for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, Outcome<T>> + Send + Sync + 'static,
    T: Send + 'static,
{
    let outcome = app.db.write::<_, DbError, _>(job).await?;
    app.mailer.wake();
    outcome
}

/// As [`run`], for a job that may end sessions: they are forgotten, whether anybody still waits for the answer or not.
pub(crate) async fn run_and_forget<T, F>(
    app: &AppState,
    forget: impl FnOnce(&Sessions, &Outcome<T>) + Send + 'static,
    job: F,
) -> Result<T, ApiError>
where
    F: for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, Outcome<T>> + Send + Sync + 'static,
    T: Send + 'static,
{
    let outcome = auth::write_and_forget(app, forget, job).await?;
    app.mailer.wake();
    outcome
}

/// Does something that a stolen session must not be able to do: takes the confirmation, then runs the job, in one transaction. The
/// confirmation is used up even if the job refuses.
///
/// # Errors
/// [`ErrorCode::OtpInvalid`], [`ErrorCode::OtpExpired`], [`ErrorCode::AccountLocked`], [`ErrorCode::RateLimited`]; what the job refuses.
pub(super) async fn confirmed<T, F>(
    app: &App,
    caller: &Caller,
    confirmation: Confirmation,
    ip: IpAddr,
    job: F,
) -> Result<T, ApiError>
where
    F: for<'c> Fn(&'c mut Conn, Asker) -> BoxFuture<'c, Outcome<T>> + Send + Sync + 'static,
    T: Send + 'static,
{
    run(app, after(Asker::new(app, caller, ip), confirmation, job)).await
}

/// As [`confirmed`], for a job that may end sessions of the caller's account.
pub(super) async fn confirmed_and_forget<T, F>(
    app: &AppState,
    caller: &Caller,
    confirmation: Confirmation,
    ip: IpAddr,
    job: F,
) -> Result<T, ApiError>
where
    F: for<'c> Fn(&'c mut Conn, Asker) -> BoxFuture<'c, Outcome<T>> + Send + Sync + 'static,
    T: Send + 'static,
{
    let account = caller.account;
    let job = after(Asker::new(app, caller, ip), confirmation, job);
    run_and_forget(app, move |sessions, _| sessions.forget_account(account), job).await
}

/// A job that takes the confirmation and then does what it is for.
fn after<T, F>(
    asker: Asker,
    confirmation: Confirmation,
    job: F,
) -> impl for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, Outcome<T>> + Send + Sync + 'static
where
    F: for<'c> Fn(&'c mut Conn, Asker) -> BoxFuture<'c, Outcome<T>> + Send + Sync + 'static,
    T: Send + 'static,
{
    let job = Arc::new(job);
    move |c| {
        let (asker, confirmation, job) = (asker.clone(), confirmation.clone(), Arc::clone(&job));
        Box::pin(async move {
            let taken = granted!(asker.confirmed(c, &confirmation).await?);
            let outcome = job(c, asker.clone()).await?;
            asker.note_confirmed(c, taken).await?;
            Ok(outcome)
        })
    }
}

/// Something that waits for its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// Its id.
    pub id: SessionId,
    /// Where the code comes from.
    pub method: Method,
    /// When it ends, Unix seconds.
    pub expires_at: u64,
}

/// What a caller sends with a change that needs it.
#[derive(Clone)]
pub struct Confirmation {
    /// Of the challenge.
    pub id: SessionId,
    /// Its code.
    pub otp: String,
}

/// Who asks for something, as far as jobs need it.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) account: AccountId,
    pub(super) session: SessionId,
    pub(super) ip: IpAddr,
    pub(super) backend: Backend,
    pub(super) keys: CodeKeys,
}

impl Asker {
    pub(super) fn new(app: &App, caller: &Caller, ip: IpAddr) -> Self {
        let (account, session) = (caller.account, caller.session);
        Self { account, session, ip, backend: app.db.backend(), keys: app.tokens.codes.clone() }
    }

    /// The caller's attempt at something that needs a secret, and the caller's address.
    async fn attempt(&self, c: &mut Conn) -> Result<(Attempt, [u8; 32], String), DbError> {
        let row = sqlx::query("SELECT email_key, auth_hash, email FROM account WHERE id = $1")
            .bind(self.account.to_vec())
            .fetch_one(c)
            .await?;
        let email_key: String = row.try_get(0)?;
        Ok((Attempt::new(&email_key, self.ip), column_array(&row, 1)?, row.try_get(2)?))
    }

    /// Checks the password of the caller's account; gives its email address.
    pub(super) async fn password(&self, c: &mut Conn, auth_hash: &[u8; 32]) -> Outcome<String> {
        let (attempt, stored, email) = self.attempt(c).await?;
        granted!(attempt.check(c).await?);
        if bool::from(stored.ct_eq(auth_hash)) {
            return Ok(Ok(email));
        }
        attempt.failed(c, self.backend, Some(self.account)).await?;
        audit_log::record(c, Event::owner(self.account, Action::Password, self.ip).refused()).await?;
        Ok(Err(ApiError::new(ErrorCode::InvalidCredentials, "the password is wrong")))
    }

    /// Takes a confirmation: it is used up. [`Self::note_confirmed`] writes it down, once the job it is for has all its rows.
    pub(super) async fn confirmed(&self, c: &mut Conn, confirmation: &Confirmation) -> Outcome<Taken> {
        let (attempt, ..) = self.attempt(c).await?;
        granted!(attempt.check(c).await?);
        let found = challenge::attempt(c, confirmation.id, Kind::Confirm).await?;
        // Somebody else's is as good as none.
        let own = |found: &Challenge| (found.account, found.session) == (Some(self.account), Some(self.session));
        if found.filter(own).is_none() {
            return Ok(Err(over()));
        }
        let taken = codes::take(c, &self.keys, self.account, confirmation.id, &confirmation.otp).await?;
        let Some(taken) = taken else {
            attempt.failed(c, self.backend, Some(self.account)).await?;
            audit_log::record(c, Event::owner(self.account, Action::Confirmed, self.ip).refused()).await?;
            return Ok(Err(wrong_code()));
        };
        challenge::end(c, confirmation.id).await?;
        Ok(Ok(taken))
    }

    /// Writes down that a confirmation was taken: at the end, because whoever has the end of the log waits for nothing else.
    pub(super) async fn note_confirmed(&self, c: &mut Conn, taken: Taken) -> Result<(), DbError> {
        if taken == Taken::Backup {
            audit_log::record(c, Event::owner(self.account, Action::BackupCodeUsed, self.ip)).await?;
        }
        audit_log::record(c, Event::owner(self.account, Action::Confirmed, self.ip)).await
    }
}

/// There is nothing that waits for this code.
pub(super) fn over() -> ApiError {
    ApiError::new(ErrorCode::OtpExpired, "the code is too old, was used or was tried too often; begin again")
}

/// The code is wrong.
pub(super) fn wrong_code() -> ApiError {
    ApiError::new(ErrorCode::OtpInvalid, "the code is wrong")
}

/// Checks the password and sends a code, if codes come by mail.
///
/// # Errors
/// [`ErrorCode::InvalidCredentials`], [`ErrorCode::AccountLocked`], [`ErrorCode::RateLimited`].
pub async fn begin(app: &App, caller: &Caller, auth_key: &[u8], ip: IpAddr) -> Result<Begun, ApiError> {
    let (asker, auth_hash, id) = (Asker::new(app, caller, ip), stored_hash(auth_key), SessionId::random());
    run(app, move |c| {
        let asker = asker.clone();
        Box::pin(async move { open(c, &asker, &auth_hash, id).await })
    })
    .await
}

async fn open(c: &mut Conn, asker: &Asker, auth_hash: &[u8; 32], id: SessionId) -> Outcome<Begun> {
    let email = granted!(asker.password(c, auth_hash).await?);
    let method = codes::method(c, asker.account).await?;
    if method == Method::Email {
        granted!(count_code(c, &super::rules::key(&email)).await?);
        mail::enqueue(c, &email, &Letter::ConfirmCode { challenge: id }).await?;
    }
    let (account, session) = (Some(asker.account), Some(asker.session));
    let opened = Challenge { id, kind: Kind::Confirm, account, session, detail: String::new(), passed: false };
    let expires_ns = challenge::begin(c, &opened, CODE_LIFETIME).await?;
    Ok(Ok(Begun { id, method, expires_at: to_seconds(expires_ns) }))
}

/// Counts a code that was asked for.
pub(super) async fn count_code(c: &mut Conn, email_key: &str) -> Outcome<()> {
    let who = limits::account(email_key);
    LOGIN_CODES.take(c, &who, "too many codes were asked for; try again later").await
}
