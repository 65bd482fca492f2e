//! Shards that were lost, made anew or moved: who had them until then.
//!
//! The meter knows where shards lie when it looks. What they were before stands here, written in the transaction that changed it: until the
//! moment of a change the node that had the shard is paid for it, from then on the one that has it. Changes that the meter has passed go.

use std::collections::HashMap;

use cyx_core::ids::{ID_LEN, NodeId, SegmentId, random_bytes};
use sqlx::Row as _;

use crate::db::{Conn, DbError};
use crate::time::to_seconds;
use crate::tree::sql;

/// A shard that is elsewhere, or nowhere, or somewhere again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The segment.
    pub segment: SegmentId,
    /// Which of its shards.
    pub shard: u8,
    /// The node that had it.
    pub had: Option<NodeId>,
    /// The node that has it since.
    pub has: Option<NodeId>,
}

/// Writes a change down, in the transaction that makes it. `at` in Unix nanoseconds.
///
/// # Errors
/// [`DbError`].
pub async fn note(conn: &mut Conn, change: Change, at: i64) -> Result<(), DbError> {
    let bytes = |node: Option<NodeId>| node.map(NodeId::to_vec).unwrap_or_default();
    sqlx::query("INSERT INTO shard_change (id, segment, shard, at_ns, had, has) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(random_bytes::<ID_LEN>().to_vec())
        .bind(change.segment.to_vec())
        .bind(i64::from(change.shard))
        .bind(at)
        .bind(bytes(change.had))
        .bind(bytes(change.has))
        .execute(conn)
        .await?;
    Ok(())
}

/// A change of a shard, as the meter needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Unix seconds.
    pub(super) at: u64,
    pub(super) had: Option<NodeId>,
    pub(super) has: Option<NodeId>,
}

/// The changes from a Unix second on, of the segments behind one and up to another, by segment.
pub(super) async fn load(
    conn: &mut Conn,
    after: &[u8],
    last: &[u8],
    from: u64,
) -> Result<HashMap<Vec<u8>, Vec<Moment>>, DbError> {
    let rows = sqlx::query(
        "SELECT segment, at_ns, had, has FROM shard_change WHERE segment > $1 AND segment <= $2 AND at_ns >= $3",
    )
    .bind(after)
    .bind(last)
    .bind(nanoseconds(from))
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<Vec<u8>, Vec<Moment>> = HashMap::new();
    for row in &rows {
        let node = |column: usize| -> Result<Option<NodeId>, DbError> {
            let bytes = sql::bytes(row, column)?;
            if bytes.is_empty() { Ok(None) } else { Ok(Some(sql::id(row, column)?)) }
        };
        let moment = Moment { at: to_seconds(sql::int(row, 1)?), had: node(2)?, has: node(3)? };
        found.entry(row.try_get(0)?).or_default().push(moment);
    }
    Ok(found)
}

/// Forgets the changes before a Unix second.
pub(super) async fn forget(conn: &mut Conn, before: u64) -> Result<(), DbError> {
    sqlx::query("DELETE FROM shard_change WHERE at_ns < $1").bind(nanoseconds(before)).execute(conn).await?;
    Ok(())
}

fn nanoseconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000_000)
}
