//! What is queued because of its node, and assessing what is queued.
//!
//! When a node is lost, or is to be emptied, all that it holds is queued in one walk over its segments. When it comes back, or stays after
//! all, the rows go again: nothing else was changed. Uploads that began before may still be committed with shards on such a node, so
//! the walk is repeated for as long as receipts live.
//!
//! Assessing looks at whole segments: how many shards are kept, how many can be reached, and whether something is to be done about each
//! of its rows. Whatever changes a segment marks its rows as not assessed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cyx_core::ids::{NodeId, PlacementId, SegmentId};
use cyx_core::scheme::Scheme;
use cyx_core::units::{KEEP_LIST_MARGIN_SECONDS, RECEIPT_LIFETIME_SECONDS};
use sqlx::any::AnyRow;

use super::policy::{Health, ShardState, urgent_at};
use super::segment::{self, Segment};
use super::{Nodes, SECOND_NS};
use crate::collect::holdings::{self, Held};
use crate::db::{Backend, Conn, Db, DbError, insert_many};
use crate::jobs::lease::{self, JobError};
use crate::nodes::{Leaving, Liveness};
use crate::tree::sql;

/// Rows that are written in one transaction.
const BATCH: usize = 500;
/// Segments that are assessed in one transaction.
const ASSESSED_TOGETHER: usize = 32;
/// What is found to lie on a leaving node after its queue is empty is queued again after this.
const AGAIN_NS: i64 = 2 * SECOND_NS;
/// A node that is lost or leaves is walked over again for so long: receipts that name it may still be committed.
const REPEAT_NS: i64 = KEEP_LIST_MARGIN_SECONDS.cast_signed() * SECOND_NS;
const _: () = assert!(KEEP_LIST_MARGIN_SECONDS > RECEIPT_LIFETIME_SECONDS, "every receipt is over by then");

/// Why all that a node holds is queued; empty: it is not.
type Why = &'static str;
const GONE: Why = "gone";
const LEAVING: Why = "leaving";

/// What the database says about a node.
struct Known {
    node: NodeId,
    queued: String,
    /// When it was walked over.
    queued_ns: i64,
    /// When it was last heard of, or began to leave.
    since_ns: i64,
}

/// Queues what lies on nodes that are lost or leaving, and takes back what lies on those that are not any more. A walk is repeated after
/// `every` nanoseconds. How many nodes were walked over.
///
/// # Errors
/// [`JobError`]; what was done before stays.
pub async fn follow_nodes(db: &Db, held: lease::Held, nodes: &Nodes, now: i64, every: i64) -> Result<u64, JobError> {
    let mut walked = 0;
    for known in known(&mut *db.read().await?).await? {
        let wanted = nodes.get(known.node).map_or("", |node| {
            if node.is_gone() {
                GONE
            } else if matches!(node.leaving, Leaving::Draining | Leaving::Exiting) {
                LEAVING
            } else {
                ""
            }
        });
        let again =
            now.saturating_sub(known.queued_ns) >= every && known.queued_ns.saturating_sub(known.since_ns) < REPEAT_NS;
        if wanted == known.queued && (wanted.is_empty() || !again) {
            continue;
        }
        if wanted != known.queued && known.queued != LEAVING && !known.queued.is_empty() || wanted.is_empty() {
            take_back(db, held, known.node).await?;
        }
        if !wanted.is_empty() {
            queue_all(db, held, known.node, wanted, now).await?;
            walked += 1;
        }
        note(db, held, known.node, wanted, now).await?;
    }
    Ok(walked)
}

async fn known(conn: &mut Conn) -> Result<Vec<Known>, DbError> {
    let rows =
        sqlx::query("SELECT id, queued, queued_ns, last_heartbeat_ns, leaving_ns FROM node").fetch_all(conn).await?;
    let known = rows.iter().map(|row| {
        use sqlx::Row as _;
        let since_ns = sql::int(row, 3)?.max(sql::int(row, 4)?);
        Ok(Known { node: sql::id(row, 0)?, queued: row.try_get(1)?, queued_ns: sql::int(row, 2)?, since_ns })
    });
    known.collect()
}

/// Queues again what lies on a leaving node whose queue is empty: commits of uploads that had begun before brought it after the walk.
///
/// # Errors
/// [`JobError`].
pub(super) async fn queue_late(db: &Db, held: lease::Held, node: NodeId, now: i64) -> Result<(), JobError> {
    let walked = known(&mut *db.read().await?).await?.into_iter().find(|known| known.node == node);
    if walked.is_some_and(|known| known.queued == LEAVING && now.saturating_sub(known.queued_ns) >= AGAIN_NS) {
        queue_all(db, held, node, LEAVING, now).await?;
        note(db, held, node, LEAVING, now).await?;
    }
    Ok(())
}

async fn note(db: &Db, held: lease::Held, node: NodeId, queued: Why, now: i64) -> Result<(), JobError> {
    let backend = db.backend();
    db.write(move |conn| {
        Box::pin(async move {
            lease::check(conn, backend, held).await?;
            sqlx::query("UPDATE node SET queued = $1, queued_ns = $2 WHERE id = $3")
                .bind(queued)
                .bind(now)
                .bind(node.to_vec())
                .execute(conn)
                .await?;
            Ok(())
        })
    })
    .await
}

/// Queues every shard whose place is the node.
async fn queue_all(db: &Db, held: lease::Held, node: NodeId, why: Why, now: i64) -> Result<(), JobError> {
    let mut all: Vec<Held> = Vec::new();
    let mut snapshot = db.read().await?;
    holdings::walk(&mut snapshot, node, |shard| all.push(shard)).await?;
    drop(snapshot);
    tracing::info!(%node, why, shards = all.len(), "what a node holds is queued");
    for batch in all.chunks(BATCH) {
        let (batch, backend): (Arc<[Held]>, _) = (batch.into(), db.backend());
        db.write(move |conn| {
            let batch = Arc::clone(&batch);
            Box::pin(async move {
                lease::check(conn, backend, held).await?;
                Ok::<_, JobError>(queue_shards(conn, node, &batch, why, now).await?)
            })
        })
        .await?;
    }
    Ok(())
}

/// Queues shards at a node. What is queued already for a better reason stays as it is.
///
/// # Errors
/// [`DbError`].
pub(super) async fn queue_shards(
    conn: &mut Conn,
    node: NodeId,
    shards: &[Held],
    why: Why,
    now: i64,
) -> Result<(), DbError> {
    let tail = match why {
        GONE => {
            "ON CONFLICT (segment, shard) DO UPDATE SET reason = excluded.reason, node = excluded.node, assessed_ns = 0, \
             queued_ns = excluded.queued_ns WHERE repair.reason IN ('leaving', 'away', 'rebalance', 'diversity')"
        }
        LEAVING => {
            "ON CONFLICT (segment, shard) DO UPDATE SET reason = excluded.reason, node = excluded.node, assessed_ns = 0 \
             WHERE repair.reason IN ('away', 'rebalance', 'diversity')"
        }
        _ => "ON CONFLICT (segment, shard) DO NOTHING",
    };
    let segments: BTreeSet<SegmentId> = shards.iter().map(|shard| shard.segment).collect();
    segment::lock(conn, &segments).await?;
    let head = "INSERT INTO repair (segment, shard, reason, node, queued_ns)";
    insert_many(conn, head, 5, tail, shards, |statement, shard| {
        let statement = statement.bind(shard.segment.to_vec()).bind(i64::from(shard.shard));
        statement.bind(why).bind(node.to_vec()).bind(now)
    })
    .await?;
    reassess(conn, segments).await
}

/// Marks all rows of segments as not assessed.
///
/// # Errors
/// [`DbError`].
pub(super) async fn reassess(conn: &mut Conn, segments: impl IntoIterator<Item = SegmentId>) -> Result<(), DbError> {
    let keys: Vec<[u8; 16]> = segments.into_iter().map(|segment| segment.0).collect();
    sql::execute_in(conn, "UPDATE repair SET assessed_ns = 0 WHERE segment IN (", ")", &[], &keys).await?;
    Ok(())
}

/// Takes back what was queued because of a node.
async fn take_back(db: &Db, held: lease::Held, node: NodeId) -> Result<(), JobError> {
    loop {
        let backend = db.backend();
        let done = db.write(move |conn| {
            Box::pin(async move {
                lease::check(conn, backend, held).await?;
                let rows = sqlx::query("SELECT segment, shard FROM repair WHERE node = $1 LIMIT 500")
                    .bind(node.to_vec())
                    .fetch_all(&mut *conn)
                    .await?;
                let segments = ids(&rows)?;
                segment::lock(conn, &segments).await?;
                let text = "DELETE FROM repair WHERE segment = $1 AND shard = $2 AND node = $3";
                for row in &rows {
                    sqlx::query(text)
                        .bind(sql::bytes(row, 0)?)
                        .bind(sql::int(row, 1)?)
                        .bind(node.to_vec())
                        .execute(&mut *conn)
                        .await?;
                }
                reassess(conn, segments).await?;
                Ok::<_, JobError>(rows.len())
            })
        });
        if done.await? == 0 {
            return Ok(());
        }
    }
}

/// The segments in the first column.
fn ids(rows: &[AnyRow]) -> Result<BTreeSet<SegmentId>, DbError> {
    rows.iter().map(|row| sql::id(row, 0)).collect()
}

/// Takes a row out of the queue.
pub(super) async fn delete(conn: &mut Conn, segment: SegmentId, shard: i64) -> Result<(), DbError> {
    sqlx::query("DELETE FROM repair WHERE segment = $1 AND shard = $2")
        .bind(segment.to_vec())
        .bind(shard)
        .execute(conn)
        .await?;
    Ok(())
}

/// Looks for segments that became urgent because several of their nodes are offline, and has those looked at again that are queued
/// already. To be called when the set of nodes that can be reached changed.
///
/// # Errors
/// [`JobError`].
pub async fn follow_outages(db: &Db, held: lease::Held, nodes: &Nodes, now: i64) -> Result<(), JobError> {
    let backend = db.backend();
    let away: HashSet<NodeId> =
        nodes.iter().filter(|node| node.state == Liveness::Offline).map(|node| node.id).collect();
    look_again(db, held, away.len()).await?;
    let out: HashSet<NodeId> = nodes.iter().filter(|node| !node.state.is_reachable()).map(|node| node.id).collect();
    if away.is_empty() {
        return Ok(());
    }
    for (node, shards) in at_risk(db, &away, &out).await? {
        for batch in shards.chunks(BATCH) {
            let batch: Arc<[Held]> = batch.into();
            db.write(move |conn| {
                let batch = Arc::clone(&batch);
                Box::pin(async move {
                    lease::check(conn, backend, held).await?;
                    Ok::<_, JobError>(queue_shards(conn, node, &batch, "away", now).await?)
                })
            })
            .await?;
        }
    }
    Ok(())
}

/// Has everything assessed anew that the nodes which can be reached matter for. With `away` nodes offline no segment cannot be read that
/// may lose as many shards.
async fn look_again(db: &Db, held: lease::Held, away: usize) -> Result<(), JobError> {
    let mut after = Arc::<[u8]>::default();
    let away = i64::try_from(away).unwrap_or(i64::MAX);
    loop {
        let (backend, from) = (db.backend(), Arc::clone(&after));
        let last = db.write(move |conn| {
            let from = Arc::clone(&from);
            Box::pin(async move {
                lease::check(conn, backend, held).await?;
                let text = "SELECT DISTINCT segment FROM repair WHERE segment > $1 AND assessed_ns <> 0 \
                            AND (due = 0 OR reason = 'away' OR unreadable = 1 OR margin < $2) ORDER BY segment LIMIT $3";
                let most = i64::try_from(BATCH).unwrap_or(i64::MAX);
                let rows = sqlx::query(text).bind(&from[..]).bind(away).bind(most).fetch_all(&mut *conn).await?;
                let segments = ids(&rows)?;
                segment::lock(conn, &segments).await?;
                let last = segments.last().map(|segment| segment.0);
                reassess(conn, segments).await?;
                Ok::<_, JobError>(last)
            })
        });
        match last.await? {
            Some(last) => after = last.as_slice().into(),
            None => return Ok(()),
        }
    }
}

/// One shard of each segment that may be urgent, by the offline node that it lies on: the segments of placements with too many nodes out of
/// reach, and those with an override that is.
async fn at_risk(
    db: &Db,
    away: &HashSet<NodeId>,
    out: &HashSet<NodeId>,
) -> Result<BTreeMap<NodeId, Vec<Held>>, DbError> {
    let mut snapshot = db.read().await?;
    let mut found: BTreeMap<NodeId, Vec<Held>> = BTreeMap::new();
    let mut hit: HashMap<PlacementId, (usize, Option<NodeId>)> = HashMap::new();
    for node in out {
        let rows = sqlx::query("SELECT placement FROM placement_node WHERE node = $1")
            .bind(node.to_vec())
            .fetch_all(&mut *snapshot)
            .await?;
        for row in &rows {
            let (count, at) = hit.entry(sql::id(row, 0)?).or_default();
            *count += 1;
            if away.contains(node) {
                *at = Some(*node);
            }
        }
    }
    for (placement, (count, at)) in hit {
        let (Some(at), Some(placement)) = (at, crate::placement::rows::load(&mut snapshot, placement).await?) else {
            continue;
        };
        if count >= too_many(placement.scheme)
            && let Some(shard) = placement.nodes.iter().position(|node| *node == at)
        {
            let shard = u8::try_from(shard).map_err(|_| DbError::Corrupt("placement.nodes"))?;
            holdings::walk_shard(&mut snapshot, at, placement.id, shard, |held| {
                found.entry(at).or_default().push(held);
            })
            .await?;
        }
    }
    for node in away {
        holdings::walk_overrides(&mut snapshot, *node, &mut |held| found.entry(*node).or_default().push(held)).await?;
    }
    Ok(found)
}

/// So many shards out of reach make a segment urgent.
const fn too_many(scheme: Scheme) -> usize {
    scheme.n() - urgent_at(scheme)
}

/// What is to be done about a queued shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: it is where it should be.
    Done,
    /// Nothing yet.
    Wait,
    /// It is made anew from others.
    Rebuild,
    /// It is copied to another node.
    Move,
}

/// What is to be done about a shard that is queued for a reason.
pub(super) fn judge(segment: &Segment, shard: u8, reason: &str, nodes: &Nodes, health: &Health) -> Verdict {
    if segment.is_freed || usize::from(shard) >= segment.scheme.n() {
        return Verdict::Done;
    }
    match segment.state(shard, nodes) {
        ShardState::Missing | ShardState::Gone if health.is_due() => Verdict::Rebuild,
        ShardState::Missing | ShardState::Gone => Verdict::Wait,
        ShardState::Away if health.is_urgent() => Verdict::Rebuild,
        ShardState::Away if matches!(reason, "away" | "rebalance" | "diversity") => Verdict::Done,
        // It was on a node that is lost, or that leaves, and it will be seen which.
        ShardState::Away => Verdict::Wait,
        ShardState::Leaving => Verdict::Move,
        ShardState::Sound if matches!(reason, "rebalance" | "diversity") => Verdict::Move,
        ShardState::Sound => Verdict::Done,
    }
}

/// Assesses rows that were not, up to `limit` segments. How many segments were.
///
/// # Errors
/// [`JobError`].
pub async fn assess(db: &Db, held: lease::Held, nodes: &Nodes, now: i64, limit: usize) -> Result<usize, JobError> {
    let (backend, mut assessed) = (db.backend(), 0);
    while assessed < limit {
        let nodes = nodes.clone();
        let done = db.write(move |conn| {
            let nodes = nodes.clone();
            Box::pin(async move {
                lease::check(conn, backend, held).await?;
                let text = "SELECT DISTINCT segment FROM repair WHERE assessed_ns = 0 LIMIT $1";
                let together = i64::try_from(ASSESSED_TOGETHER).unwrap_or(1);
                let rows = sqlx::query(text).bind(together).fetch_all(&mut *conn).await?;
                let segments = ids(&rows)?;
                segment::lock(conn, &segments).await?;
                for id in segments {
                    match assess_one(conn, backend, id, &nodes, now).await {
                        Err(DbError::Corrupt(what)) => set_aside(conn, id, what, now).await?,
                        other => other?,
                    }
                }
                Ok::<_, JobError>(rows.len())
            })
        });
        match done.await? {
            0 => break,
            done => assessed += done,
        }
    }
    Ok(assessed)
}

/// A segment whose rows make no sense is nothing to repair from. It stays queued and is not due, so that all others are repaired.
pub(super) async fn set_aside(conn: &mut Conn, id: SegmentId, what: &'static str, now: i64) -> Result<(), DbError> {
    tracing::error!(segment = %id, what, "a segment cannot be repaired: its rows are corrupt");
    sqlx::query("UPDATE repair SET due = 0, assessed_ns = $1 WHERE segment = $2")
        .bind(now.max(1))
        .bind(id.to_vec())
        .execute(conn)
        .await?;
    Ok(())
}

async fn assess_one(conn: &mut Conn, backend: Backend, id: SegmentId, nodes: &Nodes, now: i64) -> Result<(), DbError> {
    use sqlx::Row as _;
    let Some(segment) = Segment::load(conn, id, Some(backend)).await? else {
        sqlx::query("DELETE FROM repair WHERE segment = $1").bind(id.to_vec()).execute(conn).await?;
        return Ok(());
    };
    let health = segment.health(nodes);
    let rows = sqlx::query("SELECT shard, reason FROM repair WHERE segment = $1")
        .bind(id.to_vec())
        .fetch_all(&mut *conn)
        .await?;
    let mut queued = HashSet::new();
    for row in &rows {
        let (shard, reason): (u8, String) = (sql::uint(row, 0)?, row.try_get(1)?);
        queued.insert(shard);
        let verdict = judge(&segment, shard, &reason, nodes, &health);
        if verdict == Verdict::Done {
            delete(conn, id, i64::from(shard)).await?;
            continue;
        }
        // What turns due has waited since now, however long it had nothing to wait for.
        sqlx::query(
            "UPDATE repair SET queued_ns = CASE WHEN due < $2 THEN $3 ELSE queued_ns END, margin = $1, due = $2, assessed_ns = $3, \
             unreadable = $4 WHERE segment = $5 AND shard = $6",
        )
        .bind(health.margin())
        .bind(i64::from(verdict != Verdict::Wait))
        .bind(now.max(1))
        .bind(i64::from(!health.is_readable()))
        .bind(id.to_vec())
        .bind(i64::from(shard))
        .execute(&mut *conn)
        .await?;
    }
    if segment.is_freed || !health.is_urgent() {
        return Ok(());
    }
    // What was found by one of its shards is repaired in all.
    for shard in segment.shards().filter(|shard| !queued.contains(shard)) {
        if segment.state(shard, nodes) <= ShardState::Away {
            let head = "INSERT INTO repair (segment, shard, reason, node, queued_ns, margin, due, assessed_ns, unreadable) \
                        VALUES ($1, $2, 'away', $3, $4, $5, 1, $6, $7) ON CONFLICT (segment, shard) DO NOTHING";
            sqlx::query(head)
                .bind(id.to_vec())
                .bind(i64::from(shard))
                .bind(segment.place(shard).map(|node| node.to_vec()))
                .bind(now)
                .bind(health.margin())
                .bind(now.max(1))
                .bind(i64::from(!health.is_readable()))
                .execute(&mut *conn)
                .await?;
        }
    }
    Ok(())
}
