//! Sessions: refresh tokens that rotate, logout, the wrapped key of a device.
//!
//! A session's refresh tokens are one family, numbered by generation. Using the newest gives its successor. Using the one before gives
//! the same successor again, as long as that was not used itself: its answer may have been lost. Using an older one means that
//! somebody copied it, and ends the session.

use std::net::IpAddr;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, SessionId};
use sqlx::{AssertSqlSafe, Row as _};

use super::account_key::Lineage;
use super::confirm::{Outcome, run_and_forget};
use super::login::WrappedKeys;
use super::register::WRAPPED_KEY_MAX;
use crate::app::{App, AppState};
use crate::audit_log::{self, Action, Event};
use crate::auth::{self, Caller, Sessions, column_id};
use crate::db::{Backend, Conn, DbError};
use crate::error::ApiError;
use crate::time::{nanos, now_ns};
use crate::tokens::{Issued, UserType, stored_hash};

/// Old tokens are remembered for this many generations, to notice their reuse.
const GENERATIONS_KEPT: i64 = 1000;

pub(super) async fn store_refresh(
    c: &mut Conn,
    session: SessionId,
    hash: &[u8; 32],
    generation: i64,
) -> Result<(), DbError> {
    sqlx::query("INSERT INTO refresh_token (hash, session, generation) VALUES ($1, $2, $3)")
        .bind(&hash[..])
        .bind(session.to_vec())
        .bind(generation)
        .execute(c)
        .await?;
    Ok(())
}

/// New tokens.
#[derive(Clone)]
pub struct Refreshed {
    /// Access token.
    pub access: Issued,
    /// Refresh token.
    pub refresh_token: String,
}

enum Rotation {
    /// Goes on with this token.
    Next {
        account: AccountId,
        session: SessionId,
        token: String,
        wallet: Option<String>,
    },
    /// A copied token: the session was ended.
    Reused(AccountId, SessionId),
    Refused,
}

/// Exchanges a refresh token.
///
/// # Errors
/// [`ErrorCode::InvalidCredentials`] if the token is unknown, or its session over; after a reuse the session is over.
pub async fn refresh(app: &AppState, token: &str, ip: IpAddr) -> Result<Refreshed, ApiError> {
    let refused =
        || ApiError::new(ErrorCode::InvalidCredentials, "the refresh token is not valid any more; log in again");
    let hash = stored_hash(token.as_bytes());
    let mut tx = app.db.read().await?;
    let row = sqlx::query("SELECT session FROM refresh_token WHERE hash = $1")
        .bind(&hash[..])
        .fetch_optional(&mut *tx)
        .await?;
    drop(tx);
    let Some(row) = row else { return Err(refused()) };
    let session: SessionId = column_id(&row, 0)?;
    let next = app.tokens.next_refresh_token(session, token);
    let (backend, expires_ns) = (app.db.backend(), now_ns().saturating_add(nanos(app.config.refresh_token)));
    let forget = |sessions: &Sessions, rotation: &Result<Rotation, DbError>| {
        if let Ok(Rotation::Reused(account, session)) = rotation {
            sessions.forget(*account, *session);
        }
    };
    let rotation = auth::write_and_forget(app, forget, move |c| {
        let step = Step { session, hash, next: next.clone(), expires_ns, ip };
        Box::pin(rotate(c, step, backend))
    })
    .await?;
    match rotation {
        Rotation::Next { account, session, token, wallet } => {
            Ok(Refreshed { access: app.tokens.access(account, session, wallet)?, refresh_token: token })
        }
        Rotation::Reused(_, session) => {
            metrics::counter!("cyx_refresh_token_reuses_total").increment(1);
            tracing::warn!(%session, "an old refresh token was used again: the session was ended");
            Err(refused())
        }
        Rotation::Refused => Err(refused()),
    }
}

struct Step {
    session: SessionId,
    hash: [u8; 32],
    next: String,
    expires_ns: i64,
    ip: IpAddr,
}

async fn rotate(c: &mut Conn, step: Step, backend: Backend) -> Result<Rotation, DbError> {
    let text = format!(
        "SELECT account, generation, expires_ns, revoked_ns, wallet FROM session WHERE id = $1{}",
        backend.for_update()
    );
    let row = sqlx::query(AssertSqlSafe(text)).bind(step.session.to_vec()).fetch_optional(&mut *c).await?;
    let Some(row) = row else { return Ok(Rotation::Refused) };
    let account: AccountId = column_id(&row, 0)?;
    let (newest, expires_ns, revoked): (i64, i64, Option<i64>) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    if revoked.is_some() || expires_ns <= now_ns() {
        return Ok(Rotation::Refused);
    }
    // Under the lock, because the session may have moved on meanwhile.
    let generation: Option<i64> = sqlx::query_scalar("SELECT generation FROM refresh_token WHERE hash = $1")
        .bind(&step.hash[..])
        .fetch_optional(&mut *c)
        .await?;
    let Some(generation) = generation else { return Ok(Rotation::Refused) };
    let wallet = row.try_get(4)?;
    let next = Rotation::Next { account, session: step.session, token: step.next.clone(), wallet };
    if generation == newest {
        sqlx::query(
            "UPDATE session SET generation = $2, expires_ns = $3, last_used_ns = $4, last_address = $5 WHERE id = $1",
        )
        .bind(step.session.to_vec())
        .bind(newest + 1)
        .bind(step.expires_ns)
        .bind(now_ns())
        .bind(step.ip.to_canonical().to_string())
        .execute(&mut *c)
        .await?;
        store_refresh(c, step.session, &stored_hash(step.next.as_bytes()), newest + 1).await?;
        sqlx::query("DELETE FROM refresh_token WHERE session = $1 AND generation < $2")
            .bind(step.session.to_vec())
            .bind(newest - GENERATIONS_KEPT)
            .execute(c)
            .await?;
        return Ok(next);
    }
    if generation + 1 == newest {
        return Ok(next);
    }
    auth::revoke(c, step.session).await?;
    audit_log::record(c, Event::anyone(Some(account), Action::RefreshReused, step.ip).refused()).await?;
    Ok(Rotation::Reused(account, step.session))
}

/// Ends the caller's session: its tokens are refused from now on and its wrapped key is gone.
///
/// # Errors
/// [`ErrorCode::Internal`].
pub async fn logout(app: &AppState, caller: &Caller, ip: IpAddr) -> Result<(), ApiError> {
    let (account, session) = (caller.account, caller.session);
    let forget = move |sessions: &Sessions, _: &Outcome<()>| sessions.forget(account, session);
    run_and_forget(app, forget, move |c| {
        Box::pin(async move {
            auth::revoke(c, session).await?;
            audit_log::record(c, Event::owner(account, Action::Logout, ip)).await?;
            Ok(Ok(()))
        })
    })
    .await
}

/// What is known of a token that somebody asks about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// Account id, or machine id for nodes.
    pub subject: String,
    /// Kind of caller.
    pub user_type: UserType,
    /// What it may do.
    pub permissions: Vec<String>,
    /// Unix seconds.
    pub expires_at: u64,
    /// Address of the wallet that it logged in with.
    pub wallet: Option<String>,
}

/// Whether an access token is good; `None` if not.
///
/// # Errors
/// [`ErrorCode::Internal`].
pub async fn validate(app: &App, token: &str) -> Result<Option<Validity>, ApiError> {
    let Ok(claims) = app.tokens.jwt.check(token) else { return Ok(None) };
    let good = match claims.user_type {
        UserType::Node => auth::authenticate_machine(app, token).await.map(drop),
        UserType::User | UserType::ApiKey => auth::authenticate_member(app, token).await.map(drop),
    };
    match good {
        Ok(()) => Ok(Some(Validity {
            subject: claims.sub,
            user_type: claims.user_type,
            permissions: claims.permissions,
            expires_at: claims.exp,
            wallet: claims.wallet,
        })),
        Err(error) if error.code == ErrorCode::Internal || error.code == ErrorCode::Unavailable => Err(error),
        Err(_) => Ok(None),
    }
}

/// Stores the account key as wrapped under the device's own secret.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for a wrong size, [`ErrorCode::InvalidCredentials`] if the session ended meanwhile.
pub async fn put_device_key(app: &App, caller: &Caller, wrapped: Vec<u8>) -> Result<(), ApiError> {
    if !(1..=WRAPPED_KEY_MAX).contains(&wrapped.len()) {
        return Err(ApiError::invalid("the field wrapped_account_key is not valid"));
    }
    let session = caller.session;
    let changed = app
        .db
        .write::<u64, DbError, _>(move |c| {
            let wrapped = wrapped.clone();
            Box::pin(async move {
                let statement =
                    sqlx::query("UPDATE session SET wrapped_account_key = $2 WHERE id = $1 AND revoked_ns IS NULL");
                Ok(statement.bind(session.to_vec()).bind(wrapped).execute(c).await?.rows_affected())
            })
        })
        .await?;
    if changed == 0 {
        return Err(ApiError::new(ErrorCode::InvalidCredentials, "this session was logged out or revoked"));
    }
    Ok(())
}

/// The account's keys as this device stored them.
///
/// # Errors
/// [`ErrorCode::NotFound`] if it stored none.
pub async fn device_key(app: &App, caller: &Caller) -> Result<WrappedKeys, ApiError> {
    let mut tx = app.db.read().await?;
    let row = sqlx::query(
        "SELECT s.wrapped_account_key, a.signing_public_key, a.exchange_public_key, a.wrapped_private_keys, \
         a.key_epoch, a.key_history FROM session s JOIN account a ON a.id = s.account WHERE s.id = $1 AND s.revoked_ns IS NULL",
    )
    .bind(caller.session.to_vec())
    .fetch_optional(&mut *tx)
    .await?;
    let none = || ApiError::not_found("this device has stored no key");
    let row = row.ok_or_else(none)?;
    Ok(WrappedKeys {
        account_key: row.try_get::<Option<Vec<u8>>, _>(0)?.ok_or_else(none)?,
        signing_public_key: row.try_get(1)?,
        exchange_public_key: row.try_get(2)?,
        private_keys: row.try_get(3)?,
        lineage: Lineage::read(&row, 4)?,
    })
}
