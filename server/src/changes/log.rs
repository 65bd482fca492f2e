//! Changes in the database.

use cyx_core::ids::BucketId;
use cyx_proto::meta::v1 as pb;
use prost::Message as _;
use sqlx::Row as _;

use crate::db::{Conn, DbError, insert_many};

/// Writes changes whose numbers were given out under the bucket's lock.
///
/// # Errors
/// [`DbError`].
pub async fn append(conn: &mut Conn, bucket: BucketId, changes: &[pb::Change]) -> Result<(), DbError> {
    let head = "INSERT INTO change (bucket, sequence, at_ns, content)";
    insert_many(conn, head, 4, "", changes, |statement, change| {
        statement
            .bind(bucket.to_vec())
            .bind(i64::try_from(change.sequence).unwrap_or(i64::MAX))
            .bind(change.at_ns)
            .bind(change.encode_to_vec())
    })
    .await?;
    Ok(())
}

/// What follows a number in a bucket's log.
#[derive(Debug, Clone, PartialEq)]
pub enum Since {
    /// The next changes without gaps; none if there is nothing new.
    Changes(Vec<pb::Change>),
    /// Some are not kept any more. The bucket's newest number.
    Gap(u64),
    /// There is no such bucket (any more).
    Gone,
}

/// Reads up to `limit` changes behind `after`.
///
/// # Errors
/// [`DbError`].
pub async fn since(conn: &mut Conn, bucket: BucketId, after: u64, limit: i64) -> Result<Since, DbError> {
    let newest: Option<i64> = sqlx::query_scalar("SELECT sequence FROM bucket WHERE id = $1 AND deleted_ns = 0")
        .bind(bucket.to_vec())
        .fetch_optional(&mut *conn)
        .await?;
    let Some(newest) = newest.and_then(|newest| u64::try_from(newest).ok()) else { return Ok(Since::Gone) };
    if after == newest {
        return Ok(Since::Changes(Vec::new()));
    }
    if after > newest {
        // A restored database is older than what the subscriber has seen.
        return Ok(Since::Gap(newest));
    }
    let rows = sqlx::query("SELECT content FROM change WHERE bucket = $1 AND sequence > $2 ORDER BY sequence LIMIT $3")
        .bind(bucket.to_vec())
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(&mut *conn)
        .await?;
    let mut changes = Vec::with_capacity(rows.len());
    for row in &rows {
        let content: &[u8] = row.try_get(0)?;
        changes.push(pb::Change::decode(content).map_err(|_| DbError::Corrupt("a change"))?);
    }
    if changes.is_empty() || (after + 1..).zip(&changes).any(|(expected, change)| change.sequence != expected) {
        return Ok(Since::Gap(newest));
    }
    Ok(Since::Changes(changes))
}

/// Drops changes that are older than `before` (Unix nanoseconds); how many. Of each bucket only those before the first that stays: times
/// need not grow with the numbers, as when a clock was set back, and what is kept has no holes.
///
/// # Errors
/// [`DbError`].
pub async fn forget(conn: &mut Conn, before: i64) -> Result<u64, DbError> {
    let text = "SELECT DISTINCT bucket FROM change WHERE at_ns < $1";
    let buckets: Vec<Vec<u8>> = sqlx::query_scalar(text).bind(before).fetch_all(&mut *conn).await?;
    let mut forgotten = 0;
    for bucket in buckets {
        let text = "DELETE FROM change WHERE bucket = $1 AND at_ns < $2 AND sequence < \
                    COALESCE((SELECT MIN(k.sequence) FROM change k WHERE k.bucket = $1 AND k.at_ns >= $2), $3)";
        let deleted = sqlx::query(text).bind(bucket).bind(before).bind(i64::MAX).execute(&mut *conn).await?;
        forgotten += deleted.rows_affected();
    }
    Ok(forgotten)
}
