//! Over-full nodes, and shards that lie too close together: both are queued like what is lost, and moved when nothing is at risk.
//!
//! *Rebalancing* takes some shards from nodes that are much fuller than the mean, so that nodes that are new or were emptied fill up. A
//! round queues only a few for each node, and the next one looks again. *Diversity* looks for segments of which one operator or one
//! network holds more than one shard: a node moved, an operator took another one's nodes over, or a repair had no choice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cyx_core::ids::{NodeId, PlacementId, SegmentId, random_bytes};
use sqlx::Row as _;

use super::Nodes;
use super::queue::queue_shards;
use super::segment::Segment;
use crate::collect::holdings::Held;
use crate::db::{Conn, Db, DbError};
use crate::jobs::lease::{self, JobError};
use crate::nodes::{Leaving, NodeRecord};
use crate::placement::choice::Subnet;
use crate::placement::rows;
use crate::tree::sql;

/// A node is over-full when it is so much fuller than the mean.
const ABOVE_MEAN: f64 = 0.10;
/// Or when so much of it is used.
const NEARLY_FULL: f64 = 0.95;
/// Shards that one round takes from a node.
const PER_ROUND: usize = 64;
/// Segments that one round of diversity queues.
const QUEUED_MAX: usize = 1024;
/// Segments per statement.
const PAGE: i64 = 1024;

/// Queues some shards of nodes that are too full. How many. `now` in Unix nanoseconds.
///
/// # Errors
/// [`JobError`].
pub async fn rebalance(db: &Db, held: lease::Held, nodes: &Nodes, now: i64) -> Result<u64, JobError> {
    let full = over_full(nodes);
    let mut queued = 0;
    for node in full {
        let shards = some_of(&mut *db.read().await?, node, PER_ROUND).await?;
        queued += shards.len() as u64;
        put(db, held, node, shards, "rebalance", now).await?;
    }
    Ok(queued)
}

/// Nodes that are too full while others are not.
fn over_full(nodes: &Nodes) -> Vec<NodeId> {
    let able: Vec<&NodeRecord> =
        nodes.iter().filter(|node| node.state.is_reachable() && node.leaving == Leaving::None).collect();
    let (used, room) = able.iter().fold((0_u64, 0_u64), |(used, room), node| {
        (used.saturating_add(node.report.used), room.saturating_add(node.allocatable()))
    });
    if room == 0 {
        return Vec::new();
    }
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no exact bytes")]
    let mean = used as f64 / room as f64;
    let someone_is_emptier = able.iter().any(|node| node.can_take(0) && node.utilization() < mean);
    let is_full = |node: &&&NodeRecord| {
        let part = node.utilization();
        part > mean + ABOVE_MEAN || (part > NEARLY_FULL && part > mean)
    };
    if !someone_is_emptier {
        return Vec::new();
    }
    able.iter().filter(is_full).map(|node| node.id).collect()
}

/// Up to `most` shards at a node that are not queued, from somewhere among its segments.
async fn some_of(conn: &mut Conn, node: NodeId, most: usize) -> Result<Vec<Held>, DbError> {
    let start: [u8; 16] = random_bytes();
    let mut found = behind(conn, node, &start, most).await?;
    if found.len() < most {
        // Around the end of the ids.
        found.append(&mut behind(conn, node, &[], most).await?);
    }
    let mut seen = HashSet::new();
    found.retain(|held| seen.insert((held.segment, held.shard)));
    found.truncate(most);
    Ok(found)
}

/// The first shards at a node, in the order of their segments' ids, that come behind an id.
async fn behind(conn: &mut Conn, node: NodeId, after: &[u8], most: usize) -> Result<Vec<Held>, DbError> {
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    let placements = sqlx::query("SELECT placement, shard FROM placement_node WHERE node = $1")
        .bind(node.to_vec())
        .fetch_all(&mut *conn)
        .await?;
    for row in &placements {
        let (placement, shard): (PlacementId, u8) = (sql::id(row, 0)?, sql::uint(row, 1)?);
        let rows = sqlx::query(
            "SELECT s.id FROM segment s WHERE s.placement = $1 AND s.id > $2 AND s.freed_ns = 0 AND (s.present & $3) <> 0 \
             AND NOT EXISTS (SELECT 1 FROM segment_override o WHERE o.segment = s.id AND o.shard = $4) \
             AND NOT EXISTS (SELECT 1 FROM repair r WHERE r.segment = s.id AND r.shard = $4) ORDER BY s.id LIMIT $5",
        )
        .bind(placement.to_vec())
        .bind(after)
        .bind(1_i64 << shard)
        .bind(i64::from(shard))
        .bind(limit)
        .fetch_all(&mut *conn)
        .await?;
        for row in &rows {
            found.push(Held { segment: sql::id(row, 0)?, shard });
        }
    }
    let rows = sqlx::query(
        "SELECT o.segment, o.shard FROM segment_override o JOIN segment s ON s.id = o.segment \
         WHERE o.node = $1 AND o.segment > $2 AND s.freed_ns = 0 \
         AND NOT EXISTS (SELECT 1 FROM repair r WHERE r.segment = o.segment AND r.shard = o.shard) \
         ORDER BY o.segment, o.shard LIMIT $3",
    )
    .bind(node.to_vec())
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    for row in &rows {
        found.push(Held { segment: sql::id(row, 0)?, shard: sql::uint(row, 1)? });
    }
    // The ids are random, so no placement is preferred.
    found.sort_by_key(|held| held.segment);
    found.truncate(most);
    Ok(found)
}

async fn put(
    db: &Db,
    held: lease::Held,
    node: NodeId,
    shards: Vec<Held>,
    why: &'static str,
    now: i64,
) -> Result<(), JobError> {
    if shards.is_empty() {
        return Ok(());
    }
    let (shards, backend): (Arc<[Held]>, _) = (shards.into(), db.backend());
    db.write(move |conn| {
        let shards = Arc::clone(&shards);
        Box::pin(async move {
            lease::check(conn, backend, held).await?;
            Ok(queue_shards(conn, node, &shards, why, now).await?)
        })
    })
    .await
}

/// Queues shards that lie beside another one of their segment, up to some thousand. How many. `now` in Unix nanoseconds.
///
/// # Errors
/// [`JobError`].
pub async fn diversity(db: &Db, held: lease::Held, nodes: &Nodes, now: i64) -> Result<u64, JobError> {
    let mut found: HashMap<NodeId, Vec<Held>> = HashMap::new();
    let mut snapshot = db.read().await?;
    let mut count = 0;
    let placements = sqlx::query("SELECT id FROM placement").fetch_all(&mut *snapshot).await?;
    for row in &placements {
        let id: PlacementId = sql::id(row, 0)?;
        let Some(placement) = rows::load(&mut snapshot, id).await? else { continue };
        if close_together(placement.nodes.iter().copied(), nodes).is_empty() || count >= QUEUED_MAX {
            continue;
        }
        let rows = sqlx::query("SELECT id FROM segment WHERE placement = $1 AND freed_ns = 0 ORDER BY id LIMIT $2")
            .bind(id.to_vec())
            .bind(PAGE)
            .fetch_all(&mut *snapshot)
            .await?;
        let segments: Vec<SegmentId> = rows.iter().map(|row| sql::id(row, 0)).collect::<Result<_, _>>()?;
        count += collect(&mut snapshot, &segments, nodes, &mut found).await?;
    }
    let mut after: Vec<u8> = Vec::new();
    while count < QUEUED_MAX {
        let rows = sqlx::query(
            "SELECT DISTINCT o.segment FROM segment_override o WHERE o.segment > $1 ORDER BY o.segment LIMIT $2",
        )
        .bind(&after[..])
        .bind(PAGE)
        .fetch_all(&mut *snapshot)
        .await?;
        let Some(last) = rows.last() else { break };
        after = last.try_get(0)?;
        let segments: Vec<SegmentId> = rows.iter().map(|row| sql::id(row, 0)).collect::<Result<_, _>>()?;
        count += collect(&mut snapshot, &segments, nodes, &mut found).await?;
    }
    drop(snapshot);
    for (node, shards) in found {
        put(db, held, node, shards, "diversity", now).await?;
    }
    Ok(count as u64)
}

/// Adds the shards of these segments that lie beside another one.
async fn collect(
    conn: &mut Conn,
    segments: &[SegmentId],
    nodes: &Nodes,
    found: &mut HashMap<NodeId, Vec<Held>>,
) -> Result<usize, DbError> {
    let mut count = 0;
    for id in segments {
        let Some(segment) = Segment::load(conn, *id, None).await?.filter(|segment| !segment.is_freed) else { continue };
        let held: Vec<(u8, NodeId)> =
            segment.shards().filter_map(|shard| Some((shard, segment.holder(shard)?))).collect();
        for at in close_together(held.iter().map(|(_, node)| *node), nodes) {
            if let Some((shard, node)) = held.get(at) {
                found.entry(*node).or_default().push(Held { segment: *id, shard: *shard });
                count += 1;
            }
        }
    }
    Ok(count)
}

/// Positions of nodes that share the operator or the network of an earlier one.
fn close_together(held: impl Iterator<Item = NodeId>, nodes: &Nodes) -> Vec<usize> {
    let (mut operators, mut networks) = (HashSet::new(), HashSet::new());
    let mut beside = Vec::new();
    for (at, node) in held.enumerate() {
        let Some(node) = nodes.get(node).filter(|node| !node.is_gone()) else { continue };
        let new_operator = operators.insert(node.operator);
        let new_network = networks.insert(Subnet::of(node.ip));
        if !(new_operator && new_network) {
            beside.push(at);
        }
    }
    beside
}
