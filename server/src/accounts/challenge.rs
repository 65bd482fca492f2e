//! Something that waits for a code: the confirmation of a change, a recovery, a new email address.
//!
//! A challenge is counted before its code is looked at, so that no number of concurrent guesses gets more than [`TRIES`].

use std::time::Duration;

use cyx_core::ids::{AccountId, SessionId};
use sqlx::Row as _;

use crate::auth::column_id;
use crate::db::{Conn, DbError};
use crate::time::{nanos, now_ns};

/// How often a code may be guessed.
pub(super) const TRIES: i64 = 5;

/// What a challenge is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Password and code before a change of the account.
    Confirm,
    /// A new password by recovery words.
    Recover,
    /// A new email address.
    Email,
    /// A text that a wallet signs to log in; there is no code.
    WalletLogin,
    /// A text that a wallet signs to be linked.
    WalletLink,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Recover => "recover",
            Self::Email => "email",
            Self::WalletLogin => "wallet-login",
            Self::WalletLink => "wallet-link",
        }
    }
}

/// A challenge.
#[derive(Debug, Clone)]
pub(super) struct Challenge {
    pub(super) id: SessionId,
    pub(super) kind: Kind,
    /// None if somebody wants to recover what does not exist.
    pub(super) account: Option<AccountId>,
    /// The session that asked.
    pub(super) session: Option<SessionId>,
    pub(super) detail: String,
    /// Whether its code was taken and more is to come.
    pub(super) passed: bool,
}

/// Keeps a challenge for some time. Returns when it ends, Unix nanoseconds.
pub(super) async fn begin(c: &mut Conn, challenge: &Challenge, life: Duration) -> Result<i64, DbError> {
    let expires_ns = now_ns().saturating_add(nanos(life));
    sqlx::query(
        "INSERT INTO challenge (id, kind, account, session, detail, stage, expires_ns) VALUES ($1, $2, $3, $4, $5, 0, $6)",
    )
    .bind(challenge.id.to_vec())
    .bind(challenge.kind.as_str())
    .bind(challenge.account.map(AccountId::to_vec))
    .bind(challenge.session.map(SessionId::to_vec))
    .bind(&challenge.detail)
    .bind(expires_ns)
    .execute(c)
    .await?;
    Ok(expires_ns)
}

/// Counts a try and gives the challenge; `None` if there is none, if it is over, or if it was tried too often.
pub(super) async fn attempt(c: &mut Conn, id: SessionId, kind: Kind) -> Result<Option<Challenge>, DbError> {
    let row = sqlx::query(
        "UPDATE challenge SET tries = tries + 1 WHERE id = $1 AND kind = $2 \
         RETURNING account, session, detail, stage, tries, expires_ns",
    )
    .bind(id.to_vec())
    .bind(kind.as_str())
    .fetch_optional(&mut *c)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (tries, expires_ns): (i64, i64) = (row.try_get(4)?, row.try_get(5)?);
    if tries > TRIES || expires_ns <= now_ns() {
        end(c, id).await?;
        return Ok(None);
    }
    let account = match row.try_get::<Option<Vec<u8>>, _>(0)? {
        Some(_) => Some(column_id(&row, 0)?),
        None => None,
    };
    let session = match row.try_get::<Option<Vec<u8>>, _>(1)? {
        Some(_) => Some(column_id(&row, 1)?),
        None => None,
    };
    Ok(Some(Challenge { id, kind, account, session, detail: row.try_get(2)?, passed: row.try_get::<i64, _>(3)? != 0 }))
}

/// Its code was taken; it goes on for some time, with new tries. Returns when it ends, Unix nanoseconds.
pub(super) async fn pass(c: &mut Conn, id: SessionId, life: Duration) -> Result<i64, DbError> {
    let expires_ns = now_ns().saturating_add(nanos(life));
    sqlx::query("UPDATE challenge SET stage = 1, tries = 0, expires_ns = $2 WHERE id = $1")
        .bind(id.to_vec())
        .bind(expires_ns)
        .execute(c)
        .await?;
    Ok(expires_ns)
}

/// It is used up.
pub(super) async fn end(c: &mut Conn, id: SessionId) -> Result<(), DbError> {
    sqlx::query("DELETE FROM challenge WHERE id = $1").bind(id.to_vec()).execute(c).await?;
    Ok(())
}

/// Recoveries of an account that wait are used up: what they were shown is under words that open nothing any more.
pub(super) async fn end_recoveries(c: &mut Conn, account: AccountId) -> Result<(), DbError> {
    sqlx::query("DELETE FROM challenge WHERE account = $1 AND kind = $2")
        .bind(account.to_vec())
        .bind(Kind::Recover.as_str())
        .execute(c)
        .await?;
    Ok(())
}

/// Everything that waits for codes of an account is used up.
pub(super) async fn end_all(c: &mut Conn, account: AccountId) -> Result<(), DbError> {
    for text in ["DELETE FROM challenge WHERE account = $1", "DELETE FROM login WHERE account = $1"] {
        sqlx::query(text).bind(account.to_vec()).execute(&mut *c).await?;
    }
    Ok(())
}
