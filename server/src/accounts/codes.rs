//! Which codes an account takes, and whether one is right.

use cyx_core::ids::{AccountId, SessionId};
use sqlx::Row as _;
use subtle::ConstantTimeEq as _;

use crate::auth::column_array;
use crate::db::{Conn, DbError};
use crate::time::{now_ns, now_seconds};
use crate::tokens::CodeKeys;

/// Where an account's codes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// From a letter.
    Email,
    /// From an authenticator app, or from the list of backup codes.
    Totp,
}

impl Method {
    /// As it stands in bodies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Totp => "totp",
        }
    }
}

/// How a right code was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// The ordinary way.
    Code,
    /// It was a backup code, which is used up now.
    Backup,
}

/// An account's app, if it has one.
async fn app(c: &mut Conn, account: AccountId) -> Result<Option<([u8; 16], i64)>, DbError> {
    let row = sqlx::query("SELECT totp_enrolment, totp_step FROM account WHERE id = $1")
        .bind(account.to_vec())
        .fetch_one(c)
        .await?;
    match row.try_get::<Option<Vec<u8>>, _>(0)? {
        Some(_) => Ok(Some((column_array(&row, 0)?, row.try_get(1)?))),
        None => Ok(None),
    }
}

/// Where an account's codes come from.
pub(super) async fn method(c: &mut Conn, account: AccountId) -> Result<Method, DbError> {
    Ok(if app(c, account).await?.is_some() { Method::Totp } else { Method::Email })
}

/// Takes a code for a login or challenge of this id. A code of an app counts once, also when it is shown for longer.
pub(super) async fn take(
    c: &mut Conn,
    keys: &CodeKeys,
    account: AccountId,
    id: SessionId,
    code: &str,
) -> Result<Option<Taken>, DbError> {
    let Some((enrolment, newest)) = app(c, account).await? else {
        let equal = bool::from(keys.mailed(id).as_bytes().ct_eq(code.trim().as_bytes()));
        return Ok(equal.then_some(Taken::Code));
    };
    if let Some(step) = keys.app_step(account, &enrolment, code, now_seconds()) {
        if step <= newest {
            return Ok(None);
        }
        let taken =
            sqlx::query("UPDATE account SET totp_step = $2, totp_used_ns = $3 WHERE id = $1 AND totp_step < $2")
                .bind(account.to_vec())
                .bind(step)
                .bind(now_ns())
                .execute(c)
                .await?;
        return Ok((taken.rows_affected() == 1).then_some(Taken::Code));
    }
    let Some(hash) = keys.backup_hash(account, code) else { return Ok(None) };
    let used = sqlx::query("DELETE FROM backup_code WHERE account = $1 AND hash = $2")
        .bind(account.to_vec())
        .bind(&hash[..])
        .execute(c)
        .await?;
    Ok((used.rows_affected() == 1).then_some(Taken::Backup))
}
