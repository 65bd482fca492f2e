//! Quota: what an account has used, what it has under way, and what it may.
//!
//! *Used* is a counter of the account that changes in the same transaction as the tree: sealed bytes of blobs that something live refers to,
//! and the slack of segments. *Pending* is summed up when it is asked for: what leases still allow, and what is staged. A commit that
//! adds bytes is refused if used and pending together exceed the limit; superseded bytes do not count.

use cyx_core::ids::AccountId;
use cyx_proto::meta::v1 as pb;
use sqlx::Row as _;

use crate::accounts::growth;
use crate::db::{Backend, Conn, DbError};
use crate::orders;
use crate::placement;
use crate::time::to_seconds;

/// An account's use, as a transaction found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Most bytes.
    pub limit: i64,
    /// Bytes used, without what this transaction adds.
    pub used: i64,
    /// Bytes under way, if they were summed up.
    pub pending: Option<i64>,
}

/// Reads an account's use and keeps others from changing it until the transaction ends.
///
/// # Errors
/// [`DbError`].
pub async fn lock(conn: &mut Conn, backend: Backend, account: AccountId) -> Result<Usage, DbError> {
    let text = format!("SELECT limit_bytes, used_bytes FROM account WHERE id = $1{}", backend.for_update());
    let row = sqlx::query(sqlx::AssertSqlSafe(text)).bind(account.to_vec()).fetch_optional(conn).await?;
    let row = row.ok_or(DbError::Corrupt("a bucket's owner does not exist"))?;
    Ok(Usage { limit: row.try_get(0)?, used: row.try_get(1)?, pending: None })
}

/// Bytes that leases still allow and that are staged. `now` in Unix nanoseconds.
///
/// # Errors
/// [`DbError`].
pub async fn pending(conn: &mut Conn, account: AccountId, now: i64) -> Result<i64, DbError> {
    let leased = placement::pending_bytes(conn, account, to_seconds(now)).await?;
    let staged: i64 =
        sqlx::query_scalar("SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM staged WHERE account = $1")
            .bind(account.to_vec())
            .fetch_one(conn)
            .await?;
    Ok(i64::try_from(leased).unwrap_or(i64::MAX).saturating_add(staged))
}

/// Adds to an account's counters; negative numbers give back.
///
/// # Errors
/// [`DbError`].
pub async fn charge(conn: &mut Conn, account: AccountId, used: i64, superseded: i64) -> Result<(), DbError> {
    if used == 0 && superseded == 0 {
        return Ok(());
    }
    sqlx::query(
        "UPDATE account SET used_bytes = used_bytes + $2, superseded_bytes = superseded_bytes + $3 WHERE id = $1",
    )
    .bind(account.to_vec())
    .bind(used)
    .bind(superseded)
    .execute(conn)
    .await?;
    Ok(())
}

/// An account's quota as its owner sees it. `now` in Unix nanoseconds.
///
/// # Errors
/// [`DbError`].
pub async fn of_account(conn: &mut Conn, account: AccountId, now: i64) -> Result<pb::Quota, DbError> {
    let row = sqlx::query("SELECT limit_bytes, used_bytes, superseded_bytes, plan FROM account WHERE id = $1")
        .bind(account.to_vec())
        .fetch_optional(&mut *conn)
        .await?;
    let row = row.ok_or(DbError::Corrupt("an account does not exist"))?;
    let traffic = orders::of_account(conn, account, to_seconds(now)).await?;
    let measured = growth::oldest(conn, account, now).await?;
    let bytes =
        |column: usize| -> Result<u64, DbError> { Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0)) };
    Ok(pb::Quota {
        limit_bytes: bytes(0)?,
        used_bytes: bytes(1)?,
        superseded_bytes: bytes(2)?,
        plan: row.try_get(3)?,
        traffic_limit_bytes: traffic.limit,
        traffic_used_bytes: traffic.settled,
        traffic_pending_bytes: traffic.promised,
        measured_bytes: measured.map_or(0, |measured| measured.used_bytes),
        measured_ns: measured.map_or(0, |measured| measured.time_ns),
        pending_bytes: u64::try_from(pending(conn, account, now).await?).unwrap_or(0),
    })
}
