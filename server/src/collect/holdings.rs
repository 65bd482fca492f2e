//! What a node is supposed to hold: every shard whose place it is.
//!
//! Shard i of a segment lies at its override, if there is one, or else at node i of the segment's placement. Nothing lists chunks by
//! node; they are derived by walking the segments of the node's placements and its overrides, page by page in one snapshot.

use cyx_core::chunk::chunk_id;
use cyx_core::ids::{ChunkId, NodeId, PlacementId, SegmentId};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::db::{Conn, DbError};
use crate::tree::sql;

/// Segments per statement.
const PAGE: i64 = 4096;

/// A shard at its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Held {
    /// The segment.
    pub segment: SegmentId,
    /// Which of its shards.
    pub shard: u8,
}

impl Held {
    /// What the node knows it by.
    #[must_use]
    pub fn chunk(&self) -> ChunkId {
        chunk_id(self.segment, self.shard)
    }
}

/// Calls `each` for every shard whose place is `node`, whether it is there or not, segments that wait to be freed included. Each
/// shard comes once.
///
/// # Errors
/// [`DbError`].
pub async fn walk(conn: &mut Conn, node: NodeId, mut each: impl FnMut(Held) + Send) -> Result<(), DbError> {
    let placements = sqlx::query("SELECT placement, shard FROM placement_node WHERE node = $1")
        .bind(&node.0[..])
        .fetch_all(&mut *conn)
        .await?;
    for row in &placements {
        let index = u8::try_from(row.try_get::<i64, _>(1)?).map_err(|_| DbError::Corrupt("placement_node.shard"))?;
        walk_shard(conn, node, sql::id(row, 0)?, index, &mut each).await?;
    }
    walk_overrides(conn, node, &mut each).await
}

/// Calls `each` for one shard of every segment of a placement, as far as it has no override.
///
/// # Errors
/// [`DbError`].
pub async fn walk_shard(
    conn: &mut Conn,
    node: NodeId,
    placement: PlacementId,
    index: u8,
    mut each: impl FnMut(Held) + Send,
) -> Result<(), DbError> {
    let shard = i64::from(index);
    let mut after: Vec<u8> = Vec::new();
    loop {
        let rows = sqlx::query(
            "SELECT s.id, o.node FROM segment s LEFT JOIN segment_override o ON o.segment = s.id AND o.shard = $1 \
             WHERE s.placement = $2 AND s.id > $3 ORDER BY s.id LIMIT $4",
        )
        .bind(shard)
        .bind(placement.to_vec())
        .bind(&after[..])
        .bind(PAGE)
        .fetch_all(&mut *conn)
        .await?;
        for row in &rows {
            // Overrides are walked by their own node.
            if row.try_get::<Option<Vec<u8>>, _>(1)?.is_none() {
                each(Held { segment: segment(row)?, shard: index });
            }
        }
        let Some(last) = rows.last() else { return Ok(()) };
        after = segment(last)?.to_vec();
        tracing::trace!(%node, segments = rows.len(), "walked a page of a placement");
    }
}

/// Calls `each` for every shard that an override puts on `node`.
///
/// # Errors
/// [`DbError`].
pub async fn walk_overrides(
    conn: &mut Conn,
    node: NodeId,
    each: &mut (impl FnMut(Held) + Send),
) -> Result<(), DbError> {
    let (mut after, mut after_shard): (Vec<u8>, i64) = (Vec::new(), -1);
    loop {
        let rows = sqlx::query(
            "SELECT o.segment, o.shard FROM segment_override o JOIN segment s ON s.id = o.segment \
             WHERE o.node = $1 AND (o.segment > $2 OR (o.segment = $2 AND o.shard > $3)) \
             ORDER BY o.segment, o.shard LIMIT $4",
        )
        .bind(&node.0[..])
        .bind(&after[..])
        .bind(after_shard)
        .bind(PAGE)
        .fetch_all(&mut *conn)
        .await?;
        for row in &rows {
            let shard =
                u8::try_from(row.try_get::<i64, _>(1)?).map_err(|_| DbError::Corrupt("segment_override.shard"))?;
            each(Held { segment: segment(row)?, shard });
        }
        let Some(last) = rows.last() else { return Ok(()) };
        (after, after_shard) = (segment(last)?.to_vec(), last.try_get(1)?);
    }
}

fn segment(row: &AnyRow) -> Result<SegmentId, DbError> {
    let id: Vec<u8> = row.try_get(0)?;
    SegmentId::try_from(&id[..]).map_err(|_| DbError::Corrupt("segment.id"))
}
