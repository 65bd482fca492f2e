//! Choosing nodes for shards and making tasks.
//!
//! The queue is worked off in the order of risk: first the segments that can lose the fewest shards, then those that have waited
//! longest; moves of healthy shards come last, because their segments can lose the most. The target is a node that holds no other shard
//! of the segment and shares neither operator nor network with one that does. If there is none and the segment is in danger, a node
//! that shares them is better than none; the shard is moved on when there is a better one.

use std::collections::{HashMap, HashSet};

use cyx_core::ids::{NodeId, Random as _, SegmentId, TaskId};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sqlx::Row as _;

use super::queue::{Verdict, delete, judge, set_aside};
use super::segment::{self, Segment};
use super::{Nodes, SECOND_NS};
use crate::db::{Backend, Conn, Db, DbError};
use crate::jobs::lease::{self, JobError};
use crate::nodes::{NetworkOptions, NodeRecord};
use crate::placement::choice::{Candidate, Diversity, choose};
use crate::tree::sql;

/// Rows that are looked at in one transaction.
const TOGETHER: u64 = 32;
/// A shard for which there is no node, or whose segment cannot be read, is looked at again after this.
const RETRY_NS: i64 = 10 * SECOND_NS;
/// A task that its node has not fetched by then is given to another one.
const FETCH_NS: i64 = 5 * 60 * SECOND_NS;
/// The first pause after a task failed; each is twice as long as the one before.
const PAUSE_NS: i64 = 5 * SECOND_NS;
/// The longest pause is this many doublings.
const PAUSE_DOUBLINGS: u32 = 9;

/// What planning did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planned {
    /// Tasks that were made.
    pub tasks: u64,
    /// Shards for which no node was found.
    pub homeless: u64,
    /// Shards whose segment cannot be read now.
    pub unreadable: u64,
}

/// Makes tasks for what is due, as many as may be under way.
///
/// # Errors
/// [`JobError`]; what was done before stays.
pub async fn plan(
    db: &Db,
    held: lease::Held,
    nodes: &Nodes,
    options: NetworkOptions,
    now: i64,
) -> Result<Planned, JobError> {
    let backend = db.backend();
    let mut all = Planned::default();
    loop {
        let nodes = nodes.clone();
        let (done, looked_at) = db
            .write(move |conn| {
                let nodes = nodes.clone();
                Box::pin(async move {
                    lease::check(conn, backend, held).await?;
                    plan_some(conn, backend, &nodes, options, now).await
                })
            })
            .await?;
        all.tasks += done.tasks;
        all.homeless += done.homeless;
        all.unreadable += done.unreadable;
        if looked_at < TOGETHER {
            return Ok(all);
        }
    }
}

/// Looks at the most urgent rows. What was done and how many rows were looked at.
async fn plan_some(
    conn: &mut Conn,
    backend: Backend,
    nodes: &Nodes,
    options: NetworkOptions,
    now: i64,
) -> Result<(Planned, u64), JobError> {
    let mut load = Load::of(conn).await?;
    let room = options.repair_tasks.saturating_sub(load.all).min(TOGETHER);
    let rows = sqlx::query(
        "SELECT r.segment, r.shard, r.reason, r.attempts FROM repair r WHERE r.due = 1 AND r.not_before_ns <= $1 \
         AND NOT EXISTS (SELECT 1 FROM repair_task t WHERE t.segment = r.segment AND t.shard = r.shard) \
         ORDER BY r.margin, r.queued_ns, r.segment, r.shard LIMIT $2",
    )
    .bind(now)
    .bind(sql::as_int(room))
    .fetch_all(&mut *conn)
    .await?;
    segment::lock(conn, &rows.iter().map(|row| sql::id(row, 0)).collect::<Result<_, _>>()?).await?;
    let mut planned = Planned::default();
    let mut rng = StdRng::from_rng(&mut rand::rng());
    for row in &rows {
        let (id, shard): (SegmentId, u8) = (sql::id(row, 0)?, sql::uint(row, 1)?);
        let reason: String = row.try_get(2)?;
        let segment = match Segment::load(conn, id, Some(backend)).await {
            Ok(Some(segment)) => segment,
            Ok(None) => {
                delete(conn, id, i64::from(shard)).await?;
                continue;
            }
            Err(DbError::Corrupt(what)) => {
                set_aside(conn, id, what, now).await?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let health = segment.health(nodes);
        let kind = match judge(&segment, shard, &reason, nodes, &health) {
            Verdict::Done => {
                delete(conn, id, i64::from(shard)).await?;
                continue;
            }
            Verdict::Wait => {
                set_due(conn, id, shard, false).await?;
                continue;
            }
            Verdict::Rebuild if !health.is_readable() => {
                planned.unreadable += 1;
                postpone(conn, id, shard, now + RETRY_NS).await?;
                continue;
            }
            Verdict::Rebuild => Kind::Rebuild,
            // What could not be copied is made from the others: its node may be the one that fails.
            Verdict::Move if sql::int(row, 3)? > 0 && health.is_readable() => Kind::Rebuild,
            Verdict::Move => Kind::Copy,
        };
        let coming = coming(conn, id).await?;
        let wish = Wish { segment: &segment, shard, coming: &coming, emptier: reason == "rebalance" };
        let Some(target) = wish.choose(nodes, options, &load, health.is_urgent(), &mut rng) else {
            if matches!(reason.as_str(), "rebalance" | "diversity") {
                // It does well where it is; the next round looks again.
                delete(conn, id, i64::from(shard)).await?;
                continue;
            }
            planned.homeless += 1;
            postpone(conn, id, shard, now + RETRY_NS).await?;
            continue;
        };
        insert(conn, &segment, shard, kind, target, now).await?;
        load.add(target);
        planned.tasks += 1;
    }
    Ok((planned, rows.len() as u64))
}

/// How a chunk is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// From any k others.
    Rebuild,
    /// From where it is.
    Copy,
}

impl Kind {
    /// The word in the database and in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Rebuild => "rebuild",
            Self::Copy => "copy",
        }
    }

    /// The opposite.
    pub(super) fn parse(text: &str) -> Self {
        if text == "copy" { Self::Copy } else { Self::Rebuild }
    }
}

/// Tasks under way, in all and by the node that is to do them.
struct Load {
    all: u64,
    by_target: HashMap<NodeId, u64>,
}

impl Load {
    async fn of(conn: &mut Conn) -> Result<Self, DbError> {
        let text = "SELECT target, CAST(COUNT(*) AS BIGINT) FROM repair_task GROUP BY target";
        let rows = sqlx::query(text).fetch_all(conn).await?;
        let by_target: HashMap<NodeId, u64> =
            rows.iter().map(|row| Ok((sql::id(row, 0)?, sql::uint(row, 1)?))).collect::<Result<_, DbError>>()?;
        Ok(Self { all: by_target.values().sum(), by_target })
    }

    fn add(&mut self, target: NodeId) {
        self.all += 1;
        *self.by_target.entry(target).or_default() += 1;
    }
}

/// Nodes that are to get a shard of the segment.
async fn coming(conn: &mut Conn, segment: SegmentId) -> Result<Vec<NodeId>, DbError> {
    let rows =
        sqlx::query("SELECT target FROM repair_task WHERE segment = $1").bind(segment.to_vec()).fetch_all(conn).await?;
    rows.iter().map(|row| sql::id(row, 0)).collect()
}

/// A shard that needs a node.
struct Wish<'a> {
    segment: &'a Segment,
    shard: u8,
    coming: &'a [NodeId],
    /// Whether only nodes are of use that are emptier than the present one.
    emptier: bool,
}

impl Wish<'_> {
    fn choose(
        &self,
        nodes: &Nodes,
        options: NetworkOptions,
        load: &Load,
        urgent: bool,
        rng: &mut StdRng,
    ) -> Option<NodeId> {
        let near: HashSet<NodeId> = self.segment.others(self.shard).chain(self.coming.iter().copied()).collect();
        let here = self.segment.place(self.shard);
        let stored = self.segment.has(self.shard);
        let full = here.and_then(|node| nodes.get(node)).map_or(1.0, NodeRecord::utilization);
        let busy =
            |node: NodeId| load.by_target.get(&node).is_some_and(|tasks| *tasks >= options.repair_tasks_per_node);
        let need = self.segment.shard_len();
        let left_alone = |node: &NodeRecord| {
            near.contains(&node.id)
                || busy(node.id)
                || (stored && here == Some(node.id))
                || (self.emptier && node.utilization() >= full)
        };
        let able = |node: &&NodeRecord| node.can_take(need) && !node.report.takes_no_tasks && !left_alone(node);
        let able: Vec<Candidate> = nodes.iter().filter(able).map(NodeRecord::candidate).collect();
        let taken: Vec<Candidate> =
            near.iter().filter_map(|node| nodes.get(*node)).map(NodeRecord::candidate).collect();
        let apart = |candidate: &Candidate| {
            options.allow_colocated
                || taken.iter().all(|t| t.operator != candidate.operator && t.subnet != candidate.subnet)
        };
        let good: Vec<Candidate> = able.iter().filter(|candidate| apart(candidate)).cloned().collect();
        let good = if good.is_empty() && urgent { able } else { good };
        // Whoever lost the shard gets it back only if nobody else can take it.
        let fresh: Vec<Candidate> = good.iter().filter(|candidate| Some(candidate.node) != here).cloned().collect();
        let good = if fresh.is_empty() { good } else { fresh };
        // Regions that have the fewest shards of the segment come first.
        let shards_in = |region: &str| taken.iter().filter(|t| t.region == region).count();
        let least = good.iter().map(|candidate| shards_in(&candidate.region)).min()?;
        let good: Vec<Candidate> = good.into_iter().filter(|candidate| shards_in(&candidate.region) == least).collect();
        choose(&good, 1, Diversity::Colocated, rng).first().copied()
    }
}

async fn insert(
    conn: &mut Conn,
    segment: &Segment,
    shard: u8,
    kind: Kind,
    target: NodeId,
    now: i64,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO repair_task (id, segment, shard, kind, target, source, bytes, asked, created_ns, handed_ns, deadline_ns) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10) ON CONFLICT DO NOTHING",
    )
    .bind(TaskId::random().to_vec())
    .bind(segment.id.to_vec())
    .bind(i64::from(shard))
    .bind(kind.as_str())
    .bind(target.to_vec())
    .bind(segment.holder(shard).map_or_else(Vec::new, |node| node.to_vec()))
    .bind(sql::as_int(segment.shard_len()))
    .bind(Vec::<u8>::new())
    .bind(now)
    .bind(now.saturating_add(FETCH_NS))
    .execute(conn)
    .await?;
    Ok(())
}

async fn set_due(conn: &mut Conn, segment: SegmentId, shard: u8, due: bool) -> Result<(), DbError> {
    sqlx::query("UPDATE repair SET due = $1 WHERE segment = $2 AND shard = $3")
        .bind(i64::from(due))
        .bind(segment.to_vec())
        .bind(i64::from(shard))
        .execute(conn)
        .await?;
    Ok(())
}

/// Leaves a row alone until then.
async fn postpone(conn: &mut Conn, segment: SegmentId, shard: u8, until: i64) -> Result<(), DbError> {
    sqlx::query("UPDATE repair SET not_before_ns = $1 WHERE segment = $2 AND shard = $3")
        .bind(until)
        .bind(segment.to_vec())
        .bind(i64::from(shard))
        .execute(conn)
        .await?;
    Ok(())
}

/// A task came to nothing: its shard is tried again after a pause that grows.
pub(super) async fn failed(conn: &mut Conn, segment: SegmentId, shard: u8, now: i64) -> Result<(), DbError> {
    let row =
        sqlx::query("UPDATE repair SET attempts = attempts + 1 WHERE segment = $1 AND shard = $2 RETURNING attempts")
            .bind(segment.to_vec())
            .bind(i64::from(shard))
            .fetch_optional(&mut *conn)
            .await?;
    let Some(row) = row else { return Ok(()) };
    let doublings = sql::uint::<u32>(&row, 0)?.saturating_sub(1).min(PAUSE_DOUBLINGS);
    postpone(conn, segment, shard, now.saturating_add(PAUSE_NS << doublings)).await
}

/// Takes tasks back that will not be done: their time is over, or their node is out of reach. How many.
///
/// # Errors
/// [`JobError`].
pub async fn expire(db: &Db, held: lease::Held, nodes: &Nodes, now: i64) -> Result<u64, JobError> {
    let (backend, nodes) = (db.backend(), nodes.clone());
    db.write(move |conn| {
        let nodes = nodes.clone();
        Box::pin(async move {
            lease::check(conn, backend, held).await?;
            let text = "SELECT id, segment, shard, target, deadline_ns FROM repair_task";
            let rows = sqlx::query(text).fetch_all(&mut *conn).await?;
            let mut over: Vec<(SegmentId, u8, TaskId, i64)> = Vec::new();
            for row in &rows {
                let (target, deadline): (NodeId, i64) = (sql::id(row, 3)?, sql::int(row, 4)?);
                let reachable =
                    nodes.get(target).is_some_and(|node| node.state.is_reachable() && !node.report.takes_no_tasks);
                if !reachable || deadline <= now {
                    over.push((sql::id(row, 1)?, sql::uint(row, 2)?, sql::id(row, 0)?, deadline));
                }
            }
            segment::lock(conn, &over.iter().map(|(segment, ..)| *segment).collect()).await?;
            let mut expired = 0;
            for (segment, shard, task, deadline) in over {
                // It may have been reported, or handed out for the first time, meanwhile.
                let deleted = sqlx::query("DELETE FROM repair_task WHERE id = $1 AND deadline_ns = $2")
                    .bind(task.to_vec())
                    .bind(deadline)
                    .execute(&mut *conn)
                    .await?;
                if deleted.rows_affected() > 0 {
                    failed(conn, segment, shard, now).await?;
                    expired += 1;
                }
            }
            Ok::<_, JobError>(expired)
        })
    })
    .await
}
