//! A new email address: who has confirmed it with password and code must show codes from the old and from the new mailbox.

use std::net::IpAddr;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{Random as _, SessionId};
use sqlx::Row as _;
use subtle::ConstantTimeEq as _;

use super::challenge::{self, Challenge, Kind};
use super::confirm::{Asker, Confirmation, Outcome, confirmed, granted, over, wrong_code};
use super::guard::Attempt;
use super::limits::{self, RECOVERIES, REGISTRATION_MAILS};
use super::rules;
use crate::app::App;
use crate::audit_log::{self, Action, Event};
use crate::auth::Caller;
use crate::db::{Conn, DbError};
use crate::error::ApiError;
use crate::mail::{self, EMAIL_CODE_LIFETIME, Letter, Notice};
use crate::time::to_seconds;

/// A change that waits for its codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// Its id.
    pub change: SessionId,
    /// When the codes end, Unix seconds.
    pub expires_at: u64,
}

/// Mails a code to each address. The answer does not say whether the new one has an account already: its owner is told.
///
/// # Errors
/// As [`confirmed`]; [`ErrorCode::InvalidEmail`].
pub async fn begin(
    app: &App,
    caller: &Caller,
    new: &str,
    confirmation: Confirmation,
    ip: IpAddr,
) -> Result<Begun, ApiError> {
    rules::email(new)?;
    let (new, change) = (new.to_owned(), SessionId::random());
    confirmed(app, caller, confirmation, ip, move |c, asker| {
        let new = new.clone();
        Box::pin(async move { open(c, &asker, change, new).await })
    })
    .await
}

async fn open(c: &mut Conn, asker: &Asker, change: SessionId, new: String) -> Outcome<Begun> {
    let row = sqlx::query("SELECT email FROM account WHERE id = $1").bind(asker.account.to_vec());
    let old: String = row.fetch_one(&mut *c).await?.try_get(0)?;
    let (by_account, by_email) = (limits::account(&rules::key(&old)), limits::account(&rules::key(&new)));
    let text = "too many changes were asked for; try again later";
    // Looked at before anything is counted: what the second refuses is not to use up the first.
    granted!(REGISTRATION_MAILS.check(c, &by_email, text).await?);
    granted!(RECOVERIES.take(c, &by_account, text).await?);
    granted!(REGISTRATION_MAILS.take(c, &by_email, text).await?);
    let letter = if is_taken(c, asker, &new).await? {
        Letter::AddressTaken
    } else {
        Letter::NewAddressCode { challenge: change }
    };
    mail::enqueue(c, &new, &letter).await?;
    mail::enqueue(c, &old, &Letter::OldAddressCode { challenge: change }).await?;
    let (account, session) = (Some(asker.account), Some(asker.session));
    let opened = Challenge { id: change, kind: Kind::Email, account, session, detail: new, passed: false };
    let expires_ns = challenge::begin(c, &opened, EMAIL_CODE_LIFETIME).await?;
    audit_log::record(c, Event::owner(asker.account, Action::EmailAsked, asker.ip)).await?;
    Ok(Ok(Begun { change, expires_at: to_seconds(expires_ns) }))
}

/// Whether another account, whose address is known to be its owner's, has it.
async fn is_taken(c: &mut Conn, asker: &Asker, email: &str) -> Result<bool, DbError> {
    let found = sqlx::query("SELECT 1 FROM account WHERE email_key = $1 AND id <> $2 AND verified = 1")
        .bind(rules::key(email))
        .bind(asker.account.to_vec())
        .fetch_optional(c)
        .await?;
    Ok(found.is_some())
}

/// The codes of both mailboxes.
#[derive(Clone)]
pub struct Codes {
    /// Of the change.
    pub change: SessionId,
    /// From the present address.
    pub old: String,
    /// From the new one.
    pub new: String,
}

/// Takes both codes and changes the address. Whatever else waits for codes of the account is over: some were mailed to the old one.
///
/// # Errors
/// [`ErrorCode::OtpInvalid`], [`ErrorCode::OtpExpired`], [`ErrorCode::Conflict`] if the new address got an account meanwhile.
pub async fn confirm(app: &App, caller: &Caller, codes: Codes, ip: IpAddr) -> Result<(), ApiError> {
    let asker = Asker::new(app, caller, ip);
    let changed = app
        .db
        .write::<_, DbError, _>(move |c| {
            let (asker, codes) = (asker.clone(), codes.clone());
            Box::pin(async move { change(c, &asker, &codes).await })
        })
        .await;
    app.mailer.wake();
    match changed {
        // Somebody registered the address at the same moment.
        Err(error) if error.is_unique_violation() => Err(taken()),
        other => other?,
    }
}

fn taken() -> ApiError {
    ApiError::new(ErrorCode::Conflict, "the new address has an account")
}

async fn change(c: &mut Conn, asker: &Asker, codes: &Codes) -> Outcome<()> {
    granted!(Attempt::from_address(asker.ip).check(c).await?);
    let found = challenge::attempt(c, codes.change, Kind::Email).await?;
    let own = |found: &Challenge| (found.account, found.session) == (Some(asker.account), Some(asker.session));
    let Some(found) = found.filter(own) else { return Ok(Err(over())) };
    let row = sqlx::query("SELECT email, email_key FROM account WHERE id = $1")
        .bind(asker.account.to_vec())
        .fetch_one(&mut *c)
        .await?;
    let (old, old_key): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    // Both are compared, so that an answer does not say which one was wrong.
    let right = asker.keys.mailed(codes.change).as_bytes().ct_eq(codes.old.trim().as_bytes())
        & asker.keys.mailed_elsewhere(codes.change).as_bytes().ct_eq(codes.new.trim().as_bytes());
    if !bool::from(right) {
        Attempt::new(&old_key, asker.ip).failed(c, asker.backend, Some(asker.account)).await?;
        audit_log::record(c, Event::owner(asker.account, Action::EmailChanged, asker.ip).refused()).await?;
        return Ok(Err(wrong_code()));
    }
    challenge::end(c, codes.change).await?;
    if is_taken(c, asker, &found.detail).await? {
        return Ok(Err(taken()));
    }
    let new_key = rules::key(&found.detail);
    // Whoever registered it without ever logging in gives way.
    sqlx::query("DELETE FROM account WHERE email_key = $1 AND verified = 0 AND id <> $2")
        .bind(&new_key)
        .bind(asker.account.to_vec())
        .execute(&mut *c)
        .await?;
    sqlx::query("UPDATE account SET email = $2, email_key = $3 WHERE id = $1")
        .bind(asker.account.to_vec())
        .bind(&found.detail)
        .bind(&new_key)
        .execute(&mut *c)
        .await?;
    challenge::end_all(c, asker.account).await?;
    audit_log::record(c, Event::owner(asker.account, Action::EmailChanged, asker.ip)).await?;
    for address in [&old, &found.detail] {
        let notice = Letter::Notice { notice: Notice::EmailChanged, detail: asker.ip.to_string() };
        mail::enqueue(c, address, &notice).await?;
    }
    Ok(Ok(()))
}
