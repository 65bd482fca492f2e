//! Write leases: the right to decide a bucket's namespace locally.
//!
//! The rule: a bucket has at most one lease, for [`LEASE_SECONDS`] from its last renewal. While it lasts, changes are accepted only from calls
//! that name it and its fencing number. Any other call that changes the bucket, of whatever session, recalls it: the holder is told
//! by an event, cannot renew it any more, and the other call goes on as soon as the lease is released or over. A call that
//! names a lease which is not the present one is refused with `STALE_LEASE`, so what a sleeper decided long ago never lands.
//! Fencing numbers of a bucket only grow.

use cyx_core::error::ErrorCode;
use cyx_core::ids::random_bytes;
use cyx_proto::meta::v1 as pb;

use super::error::TreeError;
use super::sql;
use super::work::Work;
use crate::db::DbError;

/// Life of a lease, from when it was acquired or renewed.
pub const LEASE_SECONDS: u64 = 30;
/// Longest name of a holder.
pub const HOLDER_MAX: usize = 256;

struct Held {
    lease: [u8; 16],
    fencing: u64,
    expires_at: u64,
    recalled: bool,
}

impl Held {
    fn to_pb(&self) -> pb::WriteLease {
        pb::WriteLease {
            lease: self.lease.to_vec().into(),
            fencing: self.fencing,
            expires_at: self.expires_at,
            recalled: self.recalled,
        }
    }
}

/// What acquiring a lease came to.
#[derive(Debug)]
pub enum Acquired {
    /// It is the caller's.
    Lease(pb::WriteLease),
    /// Somebody else holds it; it is recalled and ends at this Unix second at the latest.
    Held {
        /// When it ends by itself.
        until: u64,
    },
}

async fn held(work: &mut Work<'_>) -> Result<Option<Held>, DbError> {
    let row = sqlx::query("SELECT lease, fencing, expires_at, recalled FROM write_lease WHERE bucket = $1")
        .bind(work.bucket.id.to_vec())
        .fetch_optional(&mut *work.conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let held = Held {
        lease: sql::array(&row, 0)?,
        fencing: sql::uint(&row, 1)?,
        expires_at: sql::uint(&row, 2)?,
        recalled: sql::int(&row, 3)? != 0,
    };
    Ok(Some(held).filter(|held| held.expires_at > crate::time::to_seconds(work.now)))
}

async fn recall(work: &mut Work<'_>) -> Result<(), DbError> {
    sqlx::query("UPDATE write_lease SET recalled = 1 WHERE bucket = $1")
        .bind(work.bucket.id.to_vec())
        .execute(&mut *work.conn)
        .await?;
    Ok(())
}

fn stale() -> TreeError {
    TreeError::refused(ErrorCode::StaleLease, "the write lease is over")
}

/// Whether a change may be made now. `Some`: not before this Unix second, unless the lease, which is recalled, is released earlier.
pub(super) async fn check(work: &mut Work<'_>, named: Option<([u8; 16], u64)>) -> Result<Option<u64>, TreeError> {
    let held = held(work).await?;
    match (named, held) {
        (None, None) => Ok(None),
        (None, Some(held)) => {
            recall(work).await?;
            Ok(Some(held.expires_at))
        }
        (Some((lease, fencing)), Some(held)) if held.lease == lease && held.fencing == fencing => Ok(None),
        (Some(_), _) => Err(stale()),
    }
}

/// Gives the caller the lease if nobody else has it.
///
/// # Errors
/// [`TreeError`].
pub async fn acquire(work: &mut Work<'_>, holder: &str) -> Result<Acquired, TreeError> {
    if holder.len() > HOLDER_MAX {
        return Err(TreeError::invalid("the holder's name is too long"));
    }
    if let Some(held) = held(work).await? {
        recall(work).await?;
        return Ok(Acquired::Held { until: held.expires_at });
    }
    let fencing = work.bucket.fencing + 1;
    let lease = Held {
        lease: random_bytes(),
        fencing,
        expires_at: crate::time::to_seconds(work.now) + LEASE_SECONDS,
        recalled: false,
    };
    sqlx::query("UPDATE bucket SET fencing = $2 WHERE id = $1")
        .bind(work.bucket.id.to_vec())
        .bind(sql::as_int(fencing))
        .execute(&mut *work.conn)
        .await?;
    work.bucket.fencing = fencing;
    sqlx::query(
        "INSERT INTO write_lease (bucket, lease, fencing, session, holder, expires_at, recalled) \
         VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT (bucket) DO UPDATE SET lease = excluded.lease, \
         fencing = excluded.fencing, session = excluded.session, holder = excluded.holder, \
         expires_at = excluded.expires_at, recalled = 0",
    )
    .bind(work.bucket.id.to_vec())
    .bind(lease.lease.to_vec())
    .bind(sql::as_int(fencing))
    .bind(work.actor.session.to_vec())
    .bind(holder)
    .bind(sql::as_int(lease.expires_at))
    .execute(&mut *work.conn)
    .await?;
    Ok(Acquired::Lease(lease.to_pb()))
}

/// Prolongs the caller's lease, unless it was recalled: then the answer says so and its end stays.
///
/// # Errors
/// `STALE_LEASE` if it is over.
pub async fn renew(work: &mut Work<'_>, lease: [u8; 16]) -> Result<pb::WriteLease, TreeError> {
    let Some(mut held) = held(work).await?.filter(|held| held.lease == lease) else { return Err(stale()) };
    if !held.recalled {
        held.expires_at = crate::time::to_seconds(work.now) + LEASE_SECONDS;
        sqlx::query("UPDATE write_lease SET expires_at = $2 WHERE bucket = $1")
            .bind(work.bucket.id.to_vec())
            .bind(sql::as_int(held.expires_at))
            .execute(&mut *work.conn)
            .await?;
    }
    Ok(held.to_pb())
}

/// Ends the caller's lease. One that is over already is no reason to complain.
///
/// # Errors
/// [`TreeError`].
pub async fn release(work: &mut Work<'_>, lease: [u8; 16]) -> Result<(), TreeError> {
    sqlx::query("DELETE FROM write_lease WHERE bucket = $1 AND lease = $2")
        .bind(work.bucket.id.to_vec())
        .bind(lease.to_vec())
        .execute(&mut *work.conn)
        .await?;
    Ok(())
}
