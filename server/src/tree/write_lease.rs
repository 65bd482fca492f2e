//! Write leases: the right to decide a bucket's namespace locally.
//!
//! The rule: a bucket has at most one lease, which lasts a while from its last renewal. While it lasts, changes are accepted only from
//! calls that name it and its fencing number. Any other call that changes the bucket, of whatever session, recalls it: the holder is told
//! by an event, cannot prolong it any more, and the other call goes on as soon as the lease is released or over. A call that
//! names a lease which is not the present one is refused with `STALE_LEASE`, so what a sleeper decided long ago never lands.
//! Fencing numbers of a bucket only grow.
//!
//! After a lease that was recalled the bucket is quiet: nobody gets another for a while, because whoever recalled it will likely write again,
//! and handing leases to and fro costs more than doing without. The time doubles with every recall that follows soon.
//!
//! The row of a bucket stays when its lease ends, for what it says about recalls.

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, BucketId, random_bytes};
use cyx_proto::meta::v1 as pb;
use sqlx::any::AnyRow;

use super::error::TreeError;
use super::sql;
use super::work::Work;
use crate::db::{Conn, DbError};
use crate::time::to_seconds;

/// Longest name of a holder.
pub const HOLDER_MAX: usize = 256;
/// The first quiet time is this part of a lease's life: 5 seconds of 30.
const QUIET_PART: u64 = 6;
/// The longest one is this many times the first.
const QUIET_GROWTH: u64 = 60;
/// A recall this many first quiet times after the last quiet time ended counts as the first again: 10 minutes.
const FORGET: u64 = 120;

/// A lease that was recalled, as those who watch the bucket are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recalled {
    /// Its fencing number.
    pub fencing: u64,
    /// Unix second at which it ends by itself.
    pub expires_at: u64,
}

/// What acquiring a lease came to.
#[derive(Debug)]
pub enum Acquired {
    /// It is the caller's.
    Lease(pb::WriteLease),
    /// Not now.
    Refused {
        /// Somebody else holds it; otherwise the bucket is quiet.
        held: bool,
        /// Until this Unix second, or longer if it is renewed.
        until: u64,
    },
}

/// A bucket's row.
struct Row {
    lease: [u8; 16],
    fencing: u64,
    session: Vec<u8>,
    holder: String,
    expires_at: u64,
    recalled: bool,
    recalls: u64,
    quiet_until: u64,
}

impl Row {
    fn read(row: &AnyRow) -> Result<Self, DbError> {
        use sqlx::Row as _;
        Ok(Self {
            lease: sql::array(row, 0)?,
            fencing: sql::uint(row, 1)?,
            session: sql::bytes(row, 2)?,
            holder: row.try_get(3)?,
            expires_at: sql::uint(row, 4)?,
            recalled: sql::int(row, 5)? != 0,
            recalls: sql::uint(row, 6)?,
            quiet_until: sql::uint(row, 7)?,
        })
    }

    const fn is_held(&self, seconds: u64) -> bool {
        self.expires_at > seconds
    }

    fn to_pb(&self, now: i64) -> pb::WriteLease {
        let end = i64::try_from(self.expires_at).unwrap_or(i64::MAX).saturating_mul(super::SECOND_NS);
        pb::WriteLease {
            lease: self.lease.to_vec().into(),
            fencing: self.fencing,
            expires_at: self.expires_at,
            recalled: self.recalled,
            remaining_ms: u64::try_from(end.saturating_sub(now) / 1_000_000).unwrap_or(0),
        }
    }
}

/// How long a bucket is quiet after so many recalls in a row, in seconds.
fn quiet_seconds(life: u64, recalls: u64) -> u64 {
    let first = (life / QUIET_PART).max(1);
    let doublings = u32::try_from(recalls.saturating_sub(1)).unwrap_or(u32::MAX).min(32);
    first.saturating_mul(1 << doublings).min(first.saturating_mul(QUIET_GROWTH))
}

/// A bucket's row. A lease whose session was ended is over: its holder can neither change anything nor give it back.
async fn find(work: &mut Work<'_>) -> Result<Option<Row>, DbError> {
    let row = sqlx::query(
        "SELECT w.lease, w.fencing, w.session, w.holder, CASE WHEN s.revoked_ns IS NULL THEN w.expires_at ELSE 0 END, \
         w.recalled, w.recalls, w.quiet_until FROM write_lease w LEFT JOIN session s ON s.id = w.session WHERE w.bucket = $1",
    )
    .bind(work.bucket.id.to_vec())
    .fetch_optional(&mut *work.conn)
    .await?;
    row.as_ref().map(Row::read).transpose()
}

async fn held(work: &mut Work<'_>) -> Result<Option<Row>, DbError> {
    let seconds = to_seconds(work.now);
    Ok(find(work).await?.filter(|row| row.is_held(seconds)))
}

async fn put(work: &mut Work<'_>, row: &Row) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO write_lease (bucket, lease, fencing, session, holder, expires_at, recalled, recalls, quiet_until) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (bucket) DO UPDATE SET lease = excluded.lease, \
         fencing = excluded.fencing, session = excluded.session, holder = excluded.holder, \
         expires_at = excluded.expires_at, recalled = excluded.recalled, recalls = excluded.recalls, \
         quiet_until = excluded.quiet_until",
    )
    .bind(work.bucket.id.to_vec())
    .bind(row.lease.to_vec())
    .bind(sql::as_int(row.fencing))
    .bind(row.session.clone())
    .bind(row.holder.clone())
    .bind(sql::as_int(row.expires_at))
    .bind(i64::from(row.recalled))
    .bind(sql::as_int(row.recalls))
    .bind(sql::as_int(row.quiet_until))
    .execute(&mut *work.conn)
    .await?;
    Ok(())
}

fn stale() -> TreeError {
    TreeError::refused(ErrorCode::StaleLease, "the write lease is over")
}

/// The lease that a bucket has, read once for all calls that a transaction serves.
pub(super) struct Standing(Option<Row>);

impl Standing {
    pub(super) async fn of(work: &mut Work<'_>) -> Result<Self, DbError> {
        held(work).await.map(Self)
    }

    /// See [`check`]; of several calls that may not be made yet the first recalls the lease.
    pub(super) async fn check(
        &mut self,
        work: &mut Work<'_>,
        named: Option<([u8; 16], u64)>,
    ) -> Result<Option<Recalled>, TreeError> {
        match (named, &mut self.0) {
            (None, None) => Ok(None),
            (None, Some(held)) => {
                if !held.recalled {
                    let life = work.settings.write_lease_seconds;
                    let first = quiet_seconds(life, 1);
                    let soon = to_seconds(work.now) < held.quiet_until.saturating_add(first.saturating_mul(FORGET));
                    held.recalls = if soon && held.recalls > 0 { held.recalls + 1 } else { 1 };
                    held.quiet_until = held.expires_at.saturating_add(quiet_seconds(life, held.recalls));
                    held.recalled = true;
                    put(work, held).await?;
                }
                Ok(Some(Recalled { fencing: held.fencing, expires_at: held.expires_at }))
            }
            (Some((lease, fencing)), Some(held)) if held.lease == lease && held.fencing == fencing => Ok(None),
            (Some(_), _) => Err(stale()),
        }
    }
}

/// Whether a change may be made now by a caller who names this lease and fencing number, or none. `Some`: not before the lease that stands, which
/// is recalled, is released or over. Nothing may be done for the caller in this transaction then, and it has to be kept.
///
/// # Errors
/// `STALE_LEASE` if the lease that is named is not the present one.
pub async fn check(work: &mut Work<'_>, named: Option<([u8; 16], u64)>) -> Result<Option<Recalled>, TreeError> {
    Standing::of(work).await?.check(work, named).await
}

/// Gives the caller the lease, unless somebody else has it or the bucket is quiet. Recalls nothing. A holder who has it already, and was not told
/// to give it back, gets it anew: what was sent under the old one and has not arrived yet is refused from now on.
///
/// # Errors
/// [`TreeError`].
pub async fn acquire(work: &mut Work<'_>, holder: &str) -> Result<Acquired, TreeError> {
    if holder.len() > HOLDER_MAX {
        return Err(TreeError::invalid("the holder's name is too long"));
    }
    let seconds = to_seconds(work.now);
    let (mut recalls, mut quiet_until) = (0, 0);
    if let Some(row) = find(work).await? {
        let own = row.session == work.actor.session.0 && row.holder == holder && !row.recalled;
        if row.is_held(seconds) && !own {
            return Ok(Acquired::Refused { held: true, until: row.expires_at });
        }
        if seconds < row.quiet_until {
            return Ok(Acquired::Refused { held: false, until: row.quiet_until });
        }
        (recalls, quiet_until) = (row.recalls, row.quiet_until);
    }
    let fencing = work.bucket.fencing + 1;
    let row = Row {
        lease: random_bytes(),
        fencing,
        session: work.actor.session.to_vec(),
        holder: holder.to_owned(),
        expires_at: seconds + work.settings.write_lease_seconds,
        recalled: false,
        recalls,
        quiet_until,
    };
    sqlx::query("UPDATE bucket SET fencing = $2 WHERE id = $1")
        .bind(work.bucket.id.to_vec())
        .bind(sql::as_int(fencing))
        .execute(&mut *work.conn)
        .await?;
    work.bucket.fencing = fencing;
    put(work, &row).await?;
    Ok(Acquired::Lease(row.to_pb(work.now)))
}

/// Prolongs the caller's lease, unless it was recalled: then the answer says so and its end stays.
///
/// # Errors
/// `STALE_LEASE` if it is over.
pub async fn renew(work: &mut Work<'_>, lease: [u8; 16]) -> Result<pb::WriteLease, TreeError> {
    let Some(mut held) = held(work).await?.filter(|held| held.lease == lease) else { return Err(stale()) };
    if !held.recalled {
        held.expires_at = to_seconds(work.now) + work.settings.write_lease_seconds;
        put(work, &held).await?;
    }
    Ok(held.to_pb(work.now))
}

/// Ends the caller's lease. One that is over already is no reason to complain.
///
/// # Errors
/// [`TreeError`].
pub async fn release(work: &mut Work<'_>, lease: [u8; 16]) -> Result<(), TreeError> {
    let Some(mut held) = held(work).await?.filter(|held| held.lease == lease) else { return Ok(()) };
    held.expires_at = to_seconds(work.now);
    if held.recalled {
        held.quiet_until = held.expires_at + quiet_seconds(work.settings.write_lease_seconds, held.recalls);
    }
    put(work, &held).await?;
    Ok(())
}

/// Leases of an account's buckets that were recalled and stand at this Unix second.
///
/// # Errors
/// [`DbError`].
pub async fn recalled(conn: &mut Conn, account: AccountId, seconds: u64) -> Result<Vec<(BucketId, Recalled)>, DbError> {
    let rows = sqlx::query(
        "SELECT w.bucket, w.fencing, w.expires_at FROM bucket_member m JOIN write_lease w ON w.bucket = m.bucket \
         WHERE m.account = $1 AND w.recalled = 1 AND w.expires_at > $2",
    )
    .bind(account.to_vec())
    .bind(sql::as_int(seconds))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| Ok((sql::id(row, 0)?, Recalled { fencing: sql::uint(row, 1)?, expires_at: sql::uint(row, 2)? })))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::quiet_seconds;

    #[test]
    fn the_quiet_time_doubles_up_to_a_bound() {
        let of = |recalls| quiet_seconds(30, recalls);
        assert_eq!([1, 2, 3, 6, 7, 8, u64::MAX].map(of), [5, 10, 20, 160, 300, 300, 300]);
        assert_eq!([1, 2].map(|recalls| quiet_seconds(2, recalls)), [1, 2]);
    }
}
