//! A new password, and new recovery words: 32 bytes are wrapped again, no file is touched.

use std::net::IpAddr;

use cyx_core::ids::{AccountId, SessionId};

use super::account_key::require_newest;
use super::challenge;
use super::confirm::{Confirmation, confirmed, confirmed_and_forget, granted};
use super::register::{Password, fields, is_wrapped_key};
use super::{api_keys, devices};
use crate::app::{App, AppState};
use crate::audit_log::{self, Action, Event};
use crate::auth::Caller;
use crate::db::{Conn, DbError};
use crate::error::ApiError;
use crate::mail::{self, Letter, Notice};

/// What a change of the password needs.
#[derive(Clone)]
pub struct Change {
    /// The new one.
    pub new: Password,
    /// Whether API keys end too.
    pub revoke_api_keys: bool,
    /// Of the account key that the new password wraps.
    pub account_key_epoch: u32,
}

/// Changes the password. All other sessions end. Returns how many.
///
/// # Errors
/// As [`confirmed`]; [`cyx_core::error::ErrorCode::InvalidArgument`].
pub async fn change(
    app: &AppState,
    caller: &Caller,
    change: Change,
    confirmation: Confirmation,
    ip: IpAddr,
) -> Result<u64, ApiError> {
    change.new.check()?;
    confirmed_and_forget(app, caller, confirmation, ip, move |c, asker| {
        let change = change.clone();
        Box::pin(async move {
            granted!(require_newest(c, asker.backend, asker.account, change.account_key_epoch).await?);
            let ended = replace(c, asker.account, &change.new, Some(asker.session), change.revoke_api_keys).await?;
            audit_log::record(c, Event::owner(asker.account, Action::PasswordChanged, asker.ip)).await?;
            told(c, asker.account, Notice::PasswordChanged, asker.ip).await?;
            Ok(Ok(ended))
        })
    })
    .await
}

/// Sets a password and ends what the old one opened: sessions but one, logins and challenges that wait, and perhaps API keys.
pub(super) async fn replace(
    c: &mut Conn,
    account: AccountId,
    new: &Password,
    keep: Option<SessionId>,
    revoke_api_keys: bool,
) -> Result<u64, DbError> {
    sqlx::query(
        "UPDATE account SET salt = $2, memory_kib = $3, passes = $4, lanes = $5, auth_hash = $6, wrapped_account_key = $7 WHERE id = $1",
    )
    .bind(account.to_vec())
    .bind(&new.salt[..])
    .bind(i64::from(new.params.memory_kib))
    .bind(i64::from(new.params.passes))
    .bind(i64::from(new.params.lanes))
    .bind(&new.auth_hash[..])
    .bind(&new.wrapped_account_key[..])
    .execute(&mut *c)
    .await?;
    challenge::end_all(c, account).await?;
    if revoke_api_keys {
        api_keys::revoke_all(c, account).await?;
    }
    devices::end_all(c, account, keep).await
}

/// Tells the owner.
pub(super) async fn told(c: &mut Conn, account: AccountId, notice: Notice, ip: IpAddr) -> Result<(), DbError> {
    mail::enqueue_to(c, account, &Letter::Notice { notice, detail: ip.to_string() }).await
}

/// Takes the account key as new recovery words wrap it; the old words open nothing any more, and recoveries that wait are over.
///
/// # Errors
/// As [`change`].
pub async fn change_words(
    app: &App,
    caller: &Caller,
    wrapped: Vec<u8>,
    account_key_epoch: u32,
    confirmation: Confirmation,
    ip: IpAddr,
) -> Result<(), ApiError> {
    fields(&[("recovery_wrapped_account_key", is_wrapped_key(&wrapped))])?;
    confirmed(app, caller, confirmation, ip, move |c, asker| {
        let wrapped = wrapped.clone();
        Box::pin(async move {
            granted!(require_newest(c, asker.backend, asker.account, account_key_epoch).await?);
            replace_words(c, asker.account, &wrapped).await?;
            challenge::end_recoveries(c, asker.account).await?;
            audit_log::record(c, Event::owner(asker.account, Action::WordsChanged, asker.ip)).await?;
            told(c, asker.account, Notice::WordsChanged, asker.ip).await?;
            Ok(Ok(()))
        })
    })
    .await
}

pub(super) async fn replace_words(c: &mut Conn, account: AccountId, wrapped: &[u8]) -> Result<(), DbError> {
    sqlx::query("UPDATE account SET recovery_wrapped_account_key = $2 WHERE id = $1")
        .bind(account.to_vec())
        .bind(wrapped)
        .execute(c)
        .await?;
    Ok(())
}
