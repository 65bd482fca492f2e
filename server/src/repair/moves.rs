//! Over-full nodes, and shards that lie too close together: both are queued like what is lost, and moved when nothing is at risk.
//!
//! *Rebalancing* takes some shards from nodes that are much fuller than the mean, so that nodes that are new or were emptied fill up. A
//! round queues only a few for each node, and the next one looks again. *Diversity* looks for segments of which one operator or one
//! network holds more than one shard: a node moved, an operator took another one's nodes over, or a repair had no choice. A round looks at
//! a part of the placements and segments, and the next one goes on behind it ([`Scan`]).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cyx_core::ids::{ID_LEN, NodeId, PlacementId, SegmentId, random_bytes};

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
    let start: [u8; ID_LEN] = random_bytes();
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
    let limit = limit(most);
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

/// How far looks for diversity have come. Each looks at a bounded number of placements and segments and the next one goes on behind them, around
/// the end of the ids, so one look is enough for a small network; the first one begins anywhere, so that a process which is restarted often
/// sees everything of a large one all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The last placement that was looked at.
    placements: Vec<u8>,
    /// Of the one behind it, the last segment that was; empty: none yet.
    within: Vec<u8>,
    /// The last segment with overrides that was.
    overrides: Vec<u8>,
}

/// How much one look takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Placements.
    pub placements: usize,
    /// Segments of placements that do not do, and again as many with overrides.
    pub segments: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { placements: 1024, segments: 2048 }
    }
}

impl Scan {
    /// Begins anywhere.
    #[must_use]
    pub fn anywhere() -> Self {
        let random = || random_bytes::<ID_LEN>().to_vec();
        Self { placements: random(), within: Vec::new(), overrides: random() }
    }

    /// Queues shards that lie beside another one of their segment. How many. `now` in Unix nanoseconds.
    ///
    /// # Errors
    /// [`JobError`]; what was done before stays, and the next look begins where this one did.
    pub async fn look(
        &mut self,
        db: &Db,
        held: lease::Held,
        nodes: &Nodes,
        bounds: Bounds,
        now: i64,
    ) -> Result<u64, JobError> {
        let (mut next, mut found) = (self.clone(), HashMap::new());
        let mut snapshot = db.read().await?;
        let mut count = next.placements(&mut snapshot, nodes, bounds, None, &mut found).await?;
        if next.placements.is_empty() && !self.placements.is_empty() {
            count += next.placements(&mut snapshot, nodes, bounds, Some(&self.placements), &mut found).await?;
        }
        count += next.overrides(&mut snapshot, nodes, bounds, None, &mut found).await?;
        if next.overrides.is_empty() && !self.overrides.is_empty() {
            count += next.overrides(&mut snapshot, nodes, bounds, Some(&self.overrides), &mut found).await?;
        }
        drop(snapshot);
        for (node, shards) in found {
            put(db, held, node, shards, "diversity", now).await?;
        }
        *self = next;
        Ok(count as u64)
    }

    /// Placements, up to one if it is given, whose nodes are too close together, and their segments.
    async fn placements(
        &mut self,
        conn: &mut Conn,
        nodes: &Nodes,
        bounds: Bounds,
        until: Option<&[u8]>,
        found: &mut HashMap<NodeId, Vec<Held>>,
    ) -> Result<usize, DbError> {
        let (mut count, mut left) = (0, bounds.segments);
        let rows = sqlx::query("SELECT id FROM placement WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(&self.placements[..])
            .bind(limit(bounds.placements))
            .fetch_all(&mut *conn)
            .await?;
        for row in &rows {
            let id: PlacementId = sql::id(row, 0)?;
            if until.is_some_and(|until| id.0[..] > *until) {
                return Ok(count);
            }
            let Some(placement) = rows::load(conn, id).await? else { continue };
            if !close_together(placement.nodes.iter().copied(), nodes).is_empty() {
                let text =
                    "SELECT id FROM segment WHERE placement = $1 AND id > $2 AND freed_ns = 0 ORDER BY id LIMIT $3";
                let query = sqlx::query(text).bind(id.to_vec()).bind(&self.within[..]).bind(limit(left));
                let segments = ids(&query.fetch_all(&mut *conn).await?)?;
                count += collect(conn, &segments, nodes, found).await?;
                if segments.len() == left {
                    self.within = segments.last().map_or_else(Vec::new, |last| last.to_vec());
                    return Ok(count);
                }
                left -= segments.len();
            }
            self.within = Vec::new();
            self.placements = id.to_vec();
        }
        if rows.len() < bounds.placements {
            self.placements = Vec::new();
        }
        Ok(count)
    }

    /// Segments with overrides, up to one if it is given.
    async fn overrides(
        &mut self,
        conn: &mut Conn,
        nodes: &Nodes,
        bounds: Bounds,
        until: Option<&[u8]>,
        found: &mut HashMap<NodeId, Vec<Held>>,
    ) -> Result<usize, DbError> {
        let rows =
            sqlx::query("SELECT DISTINCT segment FROM segment_override WHERE segment > $1 ORDER BY segment LIMIT $2")
                .bind(&self.overrides[..])
                .bind(limit(bounds.segments))
                .fetch_all(&mut *conn)
                .await?;
        let mut segments = ids(&rows)?;
        let is_end = segments.len() < bounds.segments;
        segments.retain(|id| until.is_none_or(|until| id.0[..] <= *until));
        self.overrides = match segments.last() {
            Some(last) if !is_end || until.is_some() => last.to_vec(),
            _ => Vec::new(),
        };
        collect(conn, &segments, nodes, found).await
    }
}

fn ids(rows: &[sqlx::any::AnyRow]) -> Result<Vec<SegmentId>, DbError> {
    rows.iter().map(|row| sql::id(row, 0)).collect()
}

fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
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
        let segment = match Segment::load(conn, *id, None).await {
            Err(DbError::Corrupt(what)) => {
                tracing::error!(segment = %id, what, "a segment's rows are corrupt");
                continue;
            }
            other => other?,
        };
        let Some(segment) = segment.filter(|segment| !segment.is_freed) else { continue };
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
