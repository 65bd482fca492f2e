//! Sessions as their owner sees them: which devices are logged in, from where they were last used, and ending them.
//!
//! "Used" means the login or the newest refresh: a device that is in use refreshes at least once in the life of an access token.

use std::net::IpAddr;

use cyx_core::ids::{AccountId, SessionId};
use sqlx::Row as _;

use super::confirm::{Outcome, run_and_forget};
use super::password::told;
use crate::app::{App, AppState};
use crate::audit_log::{self, Action, Event};
use crate::auth::{self, Caller, Sessions, column_id};
use crate::db::{Conn, DbError};
use crate::error::ApiError;
use crate::mail::Notice;
use crate::time::now_ns;

/// Most sessions that are shown.
const SHOWN: i64 = 1000;

/// A logged-in device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its session.
    pub session: SessionId,
    /// As it called itself.
    pub name: String,
    /// Unix nanoseconds.
    pub created_ns: i64,
    /// Unix nanoseconds.
    pub last_used_ns: i64,
    /// From where it was last used; empty if unknown.
    pub address: String,
}

/// The devices of an account that are logged in, the most recently used first.
///
/// # Errors
/// [`cyx_core::error::ErrorCode::Internal`].
pub async fn list(app: &App, account: AccountId) -> Result<Vec<Device>, ApiError> {
    let mut tx = app.db.read().await?;
    let rows = sqlx::query(
        "SELECT id, device_name, created_ns, last_used_ns, last_address FROM session \
         WHERE account = $1 AND revoked_ns IS NULL AND expires_ns > $2 AND api_key IS NULL \
         ORDER BY last_used_ns DESC, id LIMIT $3",
    )
    .bind(account.to_vec())
    .bind(now_ns())
    .bind(SHOWN)
    .fetch_all(&mut *tx)
    .await?;
    let device = |row: &sqlx::any::AnyRow| -> Result<Device, ApiError> {
        let created_ns = row.try_get(2)?;
        Ok(Device {
            session: column_id(row, 0)?,
            name: row.try_get(1)?,
            created_ns,
            last_used_ns: row.try_get::<i64, _>(3)?.max(created_ns),
            address: row.try_get(4)?,
        })
    };
    rows.iter().map(device).collect()
}

/// Ends one session of the caller's account.
///
/// # Errors
/// [`cyx_core::error::ErrorCode::NotFound`] if the account has no such session that is logged in.
pub async fn end(app: &AppState, caller: &Caller, session: SessionId, ip: IpAddr) -> Result<(), ApiError> {
    let account = caller.account;
    let forget = move |sessions: &Sessions, outcome: &Outcome<()>| {
        if !matches!(outcome, Ok(Err(_))) {
            sessions.forget(account, session);
        }
    };
    run_and_forget(app, forget, move |c| {
        Box::pin(async move {
            let found = sqlx::query(
                "SELECT device_name FROM session WHERE id = $1 AND account = $2 AND revoked_ns IS NULL AND expires_ns > $3 \
                 AND api_key IS NULL",
            )
            .bind(session.to_vec())
            .bind(account.to_vec())
            .bind(now_ns())
            .fetch_optional(&mut *c)
            .await?;
            let Some(found) = found else { return Ok(Err(ApiError::not_found("there is no such session"))) };
            auth::revoke(c, session).await?;
            let event = Event::owner(account, Action::SessionsRevoked, ip).with(found.try_get::<String, _>(0)?);
            audit_log::record(c, event).await?;
            Ok(Ok(()))
        })
    })
    .await
}

/// Ends all sessions of the caller's account, or all but the caller's. Returns how many.
///
/// # Errors
/// [`cyx_core::error::ErrorCode::Internal`].
pub async fn end_others(app: &AppState, caller: &Caller, keep_current: bool, ip: IpAddr) -> Result<u64, ApiError> {
    let (account, keep) = (caller.account, keep_current.then_some(caller.session));
    let forget = move |sessions: &Sessions, outcome: &Outcome<u64>| {
        if !matches!(outcome, Ok(Ok(0) | Err(_))) {
            sessions.forget_account(account);
        }
    };
    run_and_forget(app, forget, move |c| {
        Box::pin(async move {
            let ended = end_all(c, account, keep).await?;
            let event = Event::owner(account, Action::SessionsRevoked, ip).with(format!("{ended} sessions"));
            audit_log::record(c, event).await?;
            if ended > 0 {
                told(c, account, Notice::SessionsEnded, ip).await?;
            }
            Ok(Ok(ended))
        })
    })
    .await
}

/// Ends the sessions of an account's devices but one. The caller runs it in [`auth::write_and_forget`].
pub(super) async fn end_all(c: &mut Conn, account: AccountId, keep: Option<SessionId>) -> Result<u64, DbError> {
    let rows = sqlx::query(
        "SELECT id FROM session WHERE account = $1 AND revoked_ns IS NULL AND expires_ns > $2 AND api_key IS NULL",
    )
    .bind(account.to_vec())
    .bind(now_ns())
    .fetch_all(&mut *c)
    .await?;
    let mut ended = 0;
    for row in rows {
        let session = column_id(&row, 0)?;
        if Some(session) != keep {
            auth::revoke(c, session).await?;
            ended += 1;
        }
    }
    Ok(ended)
}
