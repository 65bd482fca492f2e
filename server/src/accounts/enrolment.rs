//! Enrolment tokens: an operator makes one, a fresh machine uses it, once.
//!
//! Only the hash of a token is kept. It is used up in the transaction that registers the machine, so of two machines with the same
//! token one is refused. A machine names its attempt, a secret that it can tell again: if the answer was lost, it gets another one.

use std::net::IpAddr;
use std::time::Duration;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, MachineId};
use sqlx::Row as _;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::confirm::{Outcome, run};
use super::rules;
use crate::app::App;
use crate::audit_log::{self, Action, Event};
use crate::auth::{Caller, Permission, column_id};
use crate::db::{Backend, Conn, DbError};
use crate::error::ApiError;
use crate::time::{nanos, now_ns, to_seconds};
use crate::tokens::stored_hash;

/// How long a token is good if nothing else is said.
pub const LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long it may be good.
pub const LIFE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Unused tokens of an account.
const OPEN_MAX: i64 = 100;
/// How long it is remembered which machine a token enrolled.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// A token that was made. It is shown once.
pub struct Enrolment {
    /// The token.
    pub token: Zeroizing<String>,
    /// Unix seconds.
    pub expires_at: u64,
}

/// Makes a token for the caller's account. `label` is for people and may be empty.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for a life that is too long, [`ErrorCode::Conflict`] for too many unused tokens.
pub async fn create(
    app: &App,
    caller: &Caller,
    label: &str,
    life: Option<Duration>,
    ip: IpAddr,
) -> Result<Enrolment, ApiError> {
    caller.require(Permission::StorageWrite)?;
    let life = life.unwrap_or(LIFE);
    if life.is_zero() || life > LIFE_MAX {
        let days = LIFE_MAX.as_secs() / 86_400;
        return Err(ApiError::invalid(format!("an enrolment token is good for up to {days} days")));
    }
    let token = app.tokens.enrolment().expose();
    let (hash, owner, now) = (stored_hash(token.as_bytes()), caller.account, now_ns());
    let expires = now.saturating_add(nanos(life));
    let label = if label.trim().is_empty() { String::new() } else { rules::device_name(label) };
    run(app, move |c| {
        let label = label.clone();
        Box::pin(async move { insert(c, owner, &hash, &label, now, expires, ip).await })
    })
    .await?;
    Ok(Enrolment { token, expires_at: to_seconds(expires) })
}

async fn insert(
    c: &mut Conn,
    owner: AccountId,
    hash: &[u8; 32],
    label: &str,
    now: i64,
    expires: i64,
    ip: IpAddr,
) -> Outcome<()> {
    let open: i64 = sqlx::query_scalar(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM enrolment WHERE owner = $1 AND machine IS NULL AND expires_ns > $2",
    )
    .bind(owner.to_vec())
    .bind(now)
    .fetch_one(&mut *c)
    .await?;
    if open >= OPEN_MAX {
        let text = format!("{OPEN_MAX} enrolment tokens are unused; use them, or wait until they expire");
        return Ok(Err(ApiError::new(ErrorCode::Conflict, text)));
    }
    sqlx::query("INSERT INTO enrolment (token_hash, owner, label, created_ns, expires_ns) VALUES ($1, $2, $3, $4, $5)")
        .bind(&hash[..])
        .bind(owner.to_vec())
        .bind(label)
        .bind(now)
        .bind(expires)
        .execute(&mut *c)
        .await?;
    audit_log::record(c, Event::owner(owner, Action::EnrolmentCreated, ip).with(label)).await?;
    Ok(Ok(()))
}

/// Whom a token enrols.
pub(super) struct Redeemed {
    /// Whose machine it is.
    pub(super) owner: AccountId,
    /// The machine that the same attempt made before.
    pub(super) again: Option<MachineId>,
}

/// Uses a token up for a machine and the hash of its attempt, in the transaction that registers it.
///
/// # Errors
/// [`DbError`]; inside, [`ErrorCode::InvalidCredentials`] for a token that does not exist, is used or too old, or whose account is
/// disabled. All sound the same.
pub(super) async fn redeem(
    c: &mut Conn,
    backend: Backend,
    hash: &[u8; 32],
    (machine, attempt): (MachineId, Option<[u8; 32]>),
    now: i64,
) -> Outcome<Redeemed> {
    let refused =
        || ApiError::new(ErrorCode::InvalidCredentials, "this enrolment token was used, is too old, or is wrong");
    let text = format!(
        "SELECT e.owner, e.machine, e.attempt_hash FROM enrolment e JOIN account a ON a.id = e.owner WHERE e.token_hash = $1 \
         AND e.expires_ns > $2 AND a.disabled = 0 AND a.erased_ns IS NULL{}",
        backend.for_update()
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(text)).bind(&hash[..]).bind(now).fetch_optional(&mut *c).await?;
    let Some(row) = row else { return Ok(Err(refused())) };
    let owner = column_id(&row, 0)?;
    if row.try_get::<Option<Vec<u8>>, _>(1)?.is_some() {
        let used_by: Option<Vec<u8>> = row.try_get(2)?;
        // Hashes of secrets, so that the comparison says nothing by its time.
        let same = attempt.zip(used_by).is_some_and(|(attempt, used_by)| attempt[..].ct_eq(&used_by).into());
        return Ok(if same { Ok(Redeemed { owner, again: Some(column_id(&row, 1)?) }) } else { Err(refused()) });
    }
    let used =
        sqlx::query("UPDATE enrolment SET machine = $2, attempt_hash = $3 WHERE token_hash = $1 AND machine IS NULL")
            .bind(&hash[..])
            .bind(machine.to_vec())
            .bind(attempt.map(|attempt| attempt.to_vec()))
            .execute(c)
            .await?;
    Ok(if used.rows_affected() == 1 { Ok(Redeemed { owner, again: None }) } else { Err(refused()) })
}

/// A token as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What its maker called it.
    pub label: String,
    /// Unix nanoseconds.
    pub created_ns: i64,
    /// Unix nanoseconds.
    pub expires_ns: i64,
    /// The machine that used it.
    pub machine: Option<MachineId>,
}

/// The tokens that an account made and that are remembered, the newest first.
///
/// # Errors
/// [`ErrorCode::Internal`].
pub async fn list(app: &App, owner: AccountId) -> Result<Vec<Listed>, ApiError> {
    let mut tx = app.db.read().await?;
    let text = "SELECT label, created_ns, expires_ns, machine FROM enrolment WHERE owner = $1 ORDER BY created_ns DESC, token_hash \
                LIMIT 1000";
    let rows = sqlx::query(text).bind(owner.to_vec()).fetch_all(&mut *tx).await?;
    let read = |row: &sqlx::any::AnyRow| -> Result<Listed, DbError> {
        let machine = match row.try_get::<Option<Vec<u8>>, _>(3)? {
            Some(_) => Some(column_id(row, 3)?),
            None => None,
        };
        Ok(Listed { label: row.try_get(0)?, created_ns: row.try_get(1)?, expires_ns: row.try_get(2)?, machine })
    };
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}
