//! The task that keeps the network whole, on one server at a time.
//!
//! Every server looks once a second for whom tasks wait, so that heartbeats can tell. The one that holds the lease also follows what became of
//! nodes, assesses, plans and takes back; now and then it looks for moves. Each step is a transaction of its own and begins with a check
//! of the lease, so it can stop anywhere and another server can go on.

use std::collections::BTreeSet;
use std::time::Duration;

use cyx_core::ids::NodeId;

use super::plan::Planned;
use super::{Nodes, SECOND_NS, leave, moves, plan, queue};
use crate::app::AppState;
use crate::db::{Conn, DbError};
use crate::jobs::lease::{Held, JobError};
use crate::time::now_ns;
use crate::tree::sql;

/// Name of the lease.
pub const LEASE: &str = "repair";
/// Its life.
const LEASE_NS: i64 = 30 * SECOND_NS;
/// Between two steps.
const STEP: Duration = Duration::from_secs(1);
/// Segments that are assessed in one step.
const ASSESSED: usize = 1024;
/// Between two looks at how long the queue is.
const MEASURE_NS: i64 = 10 * SECOND_NS;
/// What lies on a node that is lost or leaves is queued again after this, for the sake of late commits.
const REPEAT_NS: i64 = 3600 * SECOND_NS;

/// What one step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Step {
    /// Whether this server holds the lease.
    pub holds: bool,
    /// Segments that were assessed.
    pub assessed: usize,
    /// Tasks that were made.
    pub planned: Planned,
    /// Tasks that were taken back.
    pub expired: u64,
    /// Exits that were completed.
    pub exited: usize,
    /// Shards that were queued to be moved.
    pub moves: u64,
}

/// Does the work of one server.
pub struct Worker {
    app: AppState,
    /// The nodes that could be reached when outages were last looked at.
    reachable: Option<BTreeSet<NodeId>>,
    /// How far it looked for shards that lie too close together.
    scan: moves::Scan,
    moves_ns: i64,
    measured_ns: i64,
}

/// What there is to do.
#[derive(Debug, Clone, Copy)]
struct Work {
    unassessed: bool,
    due: bool,
    tasks: bool,
}

impl Work {
    async fn find(conn: &mut Conn) -> Result<Self, DbError> {
        let row = sqlx::query(
            "SELECT CAST((SELECT COUNT(*) FROM (SELECT 1 FROM repair WHERE assessed_ns = 0 LIMIT 1) a) AS BIGINT), \
             CAST((SELECT COUNT(*) FROM (SELECT 1 FROM repair WHERE due = 1 LIMIT 1) d) AS BIGINT), \
             CAST((SELECT COUNT(*) FROM (SELECT 1 FROM repair_task LIMIT 1) t) AS BIGINT)",
        )
        .fetch_one(conn)
        .await?;
        let some = |column| Ok::<_, DbError>(sql::int(&row, column)? > 0);
        Ok(Self { unassessed: some(0)?, due: some(1)?, tasks: some(2)? })
    }
}

impl Worker {
    /// The work of a server.
    #[must_use]
    pub fn new(app: AppState) -> Self {
        Self { app, reachable: None, scan: moves::Scan::anywhere(), moves_ns: 0, measured_ns: 0 }
    }

    /// Does what there is to do. `now` in Unix nanoseconds.
    ///
    /// # Errors
    /// [`JobError`]; what was done before stays, and the next step goes on.
    pub async fn step(&mut self, now: i64) -> Result<Step, JobError> {
        let mut step = Step::default();
        // What lies on a large node takes longer to queue than the lease lives.
        let leases = self.app.network.job_leases.clone();
        let outcome = leases.keep(LEASE, now, LEASE_NS, self.work(now, &mut step)).await;
        // Also when something failed: what was planned before waits for its nodes.
        let mut read = self.app.db.read().await?;
        self.app.network.repair.refresh(&mut read).await?;
        drop(read);
        outcome.map(|()| step)
    }

    async fn work(&mut self, now: i64, step: &mut Step) -> Result<(), JobError> {
        let app = self.app.clone();
        let (db, network) = (&app.db, &app.network);
        let Some(held) = network.job_leases.hold(LEASE, now, LEASE_NS).await? else {
            // Whoever takes over looks at everything anew, and shows what there is.
            self.reachable = None;
            if std::mem::take(&mut self.measured_ns) != 0 {
                show([0; 5]);
            }
            return Ok(());
        };
        step.holds = true;
        let nodes = Nodes::of(&network.registry, network.options.repair_eager);
        queue::follow_nodes(db, held, &nodes, now, REPEAT_NS).await?;
        let reachable: BTreeSet<NodeId> =
            nodes.iter().filter(|node| node.state.is_reachable() && !node.is_gone()).map(|node| node.id).collect();
        if self.reachable.as_ref() != Some(&reachable) {
            queue::follow_outages(db, held, &nodes, now).await?;
            self.reachable = Some(reachable);
        }
        let work = Work::find(&mut *db.read().await?).await?;
        if work.unassessed {
            step.assessed = queue::assess(db, held, &nodes, now, ASSESSED).await?;
        }
        if work.tasks {
            step.expired = plan::expire(db, held, &nodes, now).await?;
        }
        if (work.due || work.unassessed) && network.options.repair_tasks > 0 {
            step.planned = plan::plan(db, held, &nodes, network.options, now).await?;
        }
        step.exited = leave::complete(&self.app, held, &nodes, now).await?.len();
        step.moves = self.look_for_moves(held, &nodes, now).await?;
        if now.saturating_sub(self.measured_ns) >= MEASURE_NS {
            self.measured_ns = now;
            show(measure(&mut *db.read().await?, now).await?);
        }
        Ok(())
    }

    async fn look_for_moves(&mut self, held: Held, nodes: &Nodes, now: i64) -> Result<u64, JobError> {
        let options = self.app.network.options;
        let every = sql::as_int(options.job_seconds).saturating_mul(SECOND_NS);
        if now.saturating_sub(self.moves_ns) < every || options.repair_tasks == 0 {
            return Ok(0);
        }
        self.moves_ns = now;
        let db = &self.app.db;
        let rebalanced = moves::rebalance(db, held, nodes, now).await?;
        let spread = if options.allow_colocated {
            0
        } else {
            self.scan.look(db, held, nodes, moves::Bounds::default(), now).await?
        };
        if rebalanced + spread > 0 {
            tracing::info!(rebalanced, spread, "shards are to be moved");
        }
        Ok(rebalanced + spread)
    }
}

/// How the queue is: shards in it, those that are due, segments that cannot be read now, seconds since the oldest shard that is not merely
/// to be moved is due, and tasks under way.
pub(super) async fn measure(conn: &mut Conn, now: i64) -> Result<[i64; 5], DbError> {
    let row = sqlx::query(
        "SELECT CAST(COUNT(*) AS BIGINT), CAST(COALESCE(SUM(due), 0) AS BIGINT), \
         CAST(COUNT(DISTINCT CASE WHEN unreadable = 1 AND due = 1 THEN segment END) AS BIGINT), \
         CAST(COALESCE(MIN(CASE WHEN due = 1 AND reason NOT IN ('rebalance', 'diversity', 'leaving') THEN queued_ns END), 0) AS BIGINT) \
         FROM repair",
    )
    .fetch_one(&mut *conn)
    .await?;
    let tasks: i64 = sqlx::query_scalar("SELECT CAST(COUNT(*) AS BIGINT) FROM repair_task")
        .fetch_one(conn)
        .await
        .map_err(DbError::from)?;
    let [all, due, unreadable, oldest] =
        [sql::int(&row, 0)?, sql::int(&row, 1)?, sql::int(&row, 2)?, sql::int(&row, 3)?];
    let waits = if oldest == 0 { 0 } else { now.saturating_sub(oldest) / SECOND_NS };
    Ok([all, due, unreadable, waits, tasks])
}

/// Shows that to Prometheus.
fn show(values: [i64; 5]) {
    let names = [
        "cyx_repair_queue",
        "cyx_repair_due",
        "cyx_repair_unreadable",
        "cyx_repair_oldest_seconds",
        "cyx_repair_tasks",
    ];
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    for (name, value) in names.into_iter().zip(values) {
        metrics::gauge!(name).set(value as f64);
    }
}

/// Works until the server stops.
pub async fn run(app: AppState) {
    let stop = app.shutdown.clone();
    let mut tick = tokio::time::interval(STEP);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut worker = Worker::new(app.clone());
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => break,
        }
        let outcome = tokio::select! {
            outcome = worker.step(now_ns()) => outcome,
            // Every step is a row of transactions, so it can stop anywhere.
            () = stop.cancelled() => break,
        };
        match outcome {
            Ok(step) if step.planned.tasks > 0 || step.expired > 0 => tracing::debug!(?step, "repairs"),
            Ok(_) => {}
            Err(JobError::Taken) => tracing::info!("another server takes care of repairs now"),
            Err(error) => tracing::warn!(%error, "repairs do not go on; they are tried again"),
        }
    }
    if let Err(error) = app.network.job_leases.release().await {
        tracing::debug!(%error, "the leases of jobs end by themselves");
    }
}
