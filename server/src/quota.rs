//! Quota: what an account has used, what it has under way, and what it may.
//!
//! *Used* is a counter of the account that changes in the same transaction as the tree: sealed bytes of blobs that something live refers to,
//! and the slack of segments. *Pending* is summed up when it is asked for: what leases still allow, and what is staged. A commit that
//! adds bytes is refused if used and pending together exceed the limit; superseded bytes do not count.

use cyx_core::error::ErrorCode;
use cyx_core::ids::AccountId;
use cyx_proto::meta::v1 as pb;
use sqlx::Row as _;

use crate::accounts::growth;
use crate::db::{Backend, Conn, DbError};
use crate::error::ApiError;
use crate::orders;
use crate::placement;
use crate::time::to_seconds;
use crate::tree::TreeError;

/// An account's use, as a transaction found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Most bytes.
    pub limit: i64,
    /// Bytes used, without what this transaction adds.
    pub used: i64,
    /// Bytes under way, if they were summed up.
    pub pending: Option<Pending>,
}

/// Bytes that are not used yet and count against the quota nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// What leases still allow.
    pub leased: i64,
    /// What is staged.
    pub staged: i64,
}

impl Pending {
    /// Both.
    #[must_use]
    pub const fn total(self) -> i64 {
        self.leased.saturating_add(self.staged)
    }

    /// Says what holds these bytes and for how long; each part begins with a comma.
    fn text(self) -> String {
        let mut text = String::new();
        let (Self { leased, staged }, minutes) = (self, placement::IDLE_SECONDS / 60);
        if leased > 0 {
            text +=
                &format!(", {leased} are reserved by uploads under way or broken off less than {minutes} minutes ago");
        }
        if staged > 0 {
            text += &format!(", {staged} are kept for uploads that are not complete");
        }
        text
    }
}

/// Bytes of the plan that are neither used nor promised.
#[must_use]
pub fn left(usage: &Usage, pending: Pending) -> u64 {
    u64::try_from(usage.limit.saturating_sub(usage.used).saturating_sub(pending.total())).unwrap_or(0)
}

/// The refusal of a lease for so many bytes.
#[must_use]
pub fn exceeded(usage: &Usage, pending: Pending, bytes: u64) -> ApiError {
    let Usage { limit, used, .. } = usage;
    let held = pending.text();
    let message = if left(usage, pending) == 0 {
        // Clients that do not know a length yet ask for a single byte.
        format!("the plan is full: of {limit} bytes {used} are used{held}")
    } else {
        format!("{bytes} bytes more do not fit: of {limit} bytes of the plan {used} are used{held}")
    };
    ApiError::new(ErrorCode::QuotaExceeded, message)
}

/// The refusal of a change that would take an account to `total` bytes, of which so many are pending.
#[must_use]
pub fn beyond(limit: i64, total: i64, pending: Pending) -> TreeError {
    let mut message = format!("this would take the account to {total} of {limit} bytes");
    if pending.total() > 0 {
        message += &format!(": of these{}", pending.text().trim_start_matches(','));
    }
    TreeError::refused(ErrorCode::QuotaExceeded, message)
}

/// Reads an account's use and keeps others from changing it until the transaction ends.
///
/// # Errors
/// [`DbError`].
pub async fn lock(conn: &mut Conn, backend: Backend, account: AccountId) -> Result<Usage, DbError> {
    let text = format!("SELECT limit_bytes, used_bytes FROM account WHERE id = $1{}", backend.for_no_key_update());
    let row = sqlx::query(sqlx::AssertSqlSafe(text)).bind(account.to_vec()).fetch_optional(conn).await?;
    let row = row.ok_or(DbError::Corrupt("a bucket's owner does not exist"))?;
    Ok(Usage { limit: row.try_get(0)?, used: row.try_get(1)?, pending: None })
}

/// Bytes that leases still allow and that are staged. `now` in Unix nanoseconds.
///
/// # Errors
/// [`DbError`].
pub async fn pending(conn: &mut Conn, account: AccountId, now: i64) -> Result<Pending, DbError> {
    let leased = placement::pending_bytes(conn, account, to_seconds(now)).await?;
    let staged: i64 =
        sqlx::query_scalar("SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM staged WHERE account = $1")
            .bind(account.to_vec())
            .fetch_one(conn)
            .await?;
    Ok(Pending { leased: i64::try_from(leased).unwrap_or(i64::MAX), staged })
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
        traffic_pending_bytes: traffic.reserved(),
        measured_bytes: measured.map_or(0, |measured| measured.used_bytes),
        measured_ns: measured.map_or(0, |measured| measured.time_ns),
        pending_bytes: u64::try_from(pending(conn, account, now).await?.total()).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_holds_the_plan() {
        let usage = |used| Usage { limit: 100, used, pending: None };
        let none = Pending { leased: 0, staged: 0 };
        let both = Pending { leased: 30, staged: 20 };
        assert_eq!(exceeded(&usage(100), none, 1).message, "the plan is full: of 100 bytes 100 are used");
        assert_eq!(
            exceeded(&usage(40), none, 61).message,
            "61 bytes more do not fit: of 100 bytes of the plan 40 are used"
        );
        assert_eq!(
            exceeded(&usage(50), both, 1).message,
            "the plan is full: of 100 bytes 50 are used, 30 are reserved by uploads under way or broken off less than 3 minutes ago, \
             20 are kept for uploads that are not complete"
        );
        assert_eq!(
            beyond(100, 101, none).to_string(),
            "QUOTA_EXCEEDED: this would take the account to 101 of 100 bytes"
        );
        assert_eq!(
            beyond(100, 130, Pending { leased: 0, staged: 20 }).to_string(),
            "QUOTA_EXCEEDED: this would take the account to 130 of 100 bytes: of these 20 are kept for uploads that are not complete"
        );
    }
}
