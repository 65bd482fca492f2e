//! What nodes made, and where shards lie from then on.
//!
//! A report counts only with the node's receipt for exactly the chunk that it was to make. Then, in one transaction, the segment is looked
//! at once more: it still exists, the shard is still nowhere or where it was when the task was planned, and the node holds no
//! other shard of it. Only then the shard lies at the node. In every other case nothing changes, and the chunk that was made for nothing
//! is dropped by a keep-list like any other that nobody refers to.
//!
//! A node also says from whom it could not read. That is no proof of anything, and makes the server look for itself ([`audits::hints`]).

use std::collections::BTreeSet;
use std::sync::Arc;

use cyx_core::error::ErrorCode;
use cyx_core::grant::CLOCK_SKEW_SECONDS;
use cyx_core::ids::{ChunkId, NodeId, TaskId};
use cyx_core::receipt::Receipt;
use cyx_core::units::RECEIPT_LIFETIME_SECONDS;
use cyx_proto::convert;
use cyx_proto::node::v1 as pb;
use cyx_proto::node::v1::failed_source::Reason;

use super::hand::Row;
use super::segment::{self, Segment};
use super::{plan, queue};
use crate::app::App;
use crate::audits;
use crate::collect::holdings::Held;
use crate::db::{Backend, Conn, DbError};
use crate::error::ApiError;
use crate::ledger::changes::{self, Change};
use crate::nodes::{ClusterEvent, NodeRecord};
use crate::time::to_seconds;

/// Most sources of a report that are believed.
const FAILED_MAX: usize = 64;
/// Longest reason that is kept.
const ERROR_MAX: usize = 200;

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// There is no such task any more.
    Unknown,
    /// It belongs to another node.
    NotYours,
    /// The shard lies at the node now.
    Done(TaskSummary),
    /// The chunk is there, but is not needed.
    Needless(TaskSummary),
    /// It came to nothing.
    Failed(TaskSummary, String),
}

/// What events and metrics say about a task.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TaskSummary {
    chunk: Option<ChunkId>,
    source: NodeId,
    kind: &'static str,
    bytes: u64,
}

/// What a node reports about a task.
#[derive(Clone)]
struct TaskReport {
    task: TaskId,
    node: NodeId,
    /// Its key, with which it signs.
    key: [u8; 32],
    receipt: bytes::Bytes,
    error: String,
    /// Sources that did not do: the node, which shard, how, and from where on.
    failed: Vec<(NodeId, u32, audits::probe::Outcome, u64)>,
    now: i64,
}

/// Takes a report. `now` in Unix nanoseconds.
///
/// # Errors
/// [`ApiError`].
pub async fn take(
    app: &App,
    node: &NodeRecord,
    request: pb::ReportTaskRequest,
    now: i64,
) -> Result<pb::ReportTaskResponse, ApiError> {
    let (db, network) = (&app.db, &app.network);
    if request.failed.len() > FAILED_MAX {
        return Err(ApiError::invalid(format!("at most {FAILED_MAX} sources fail")));
    }
    let task: TaskId = convert::id(&request.task_id, "task_id")?;
    let mut failed = Vec::new();
    for source in &request.failed {
        let id: NodeId = convert::id(&source.node, "failed")?;
        if let Some(outcome) = count_failure(node.id, id, source.reason()) {
            failed.push((id, source.shard, outcome, source.offset));
        }
    }
    if network.options.audits.slices == 0 {
        failed.clear();
    }
    let code: String = request.error_code.chars().filter(|c| c.is_ascii_graphic()).take(40).collect();
    let words: String = request.error.chars().filter(|c| !c.is_control()).take(ERROR_MAX).collect();
    let report = Arc::new(TaskReport {
        task,
        node: node.id,
        key: node.public_key,
        receipt: request.receipt,
        error: if code.is_empty() { words } else { format!("{code}: {words}") },
        failed,
        now,
    });
    let backend = db.backend();
    let outcome = db
        .write::<_, DbError, _>(move |conn| {
            let report = Arc::clone(&report);
            Box::pin(async move { settle(conn, backend, &report).await })
        })
        .await?;
    let counts = tell(app, node.id, outcome)?;
    Ok(pb::ReportTaskResponse { counts, tasks_wait: network.repair.has(node.id) })
}

/// One node says that another one failed; how, as an audit calls it.
fn count_failure(target: NodeId, source: NodeId, reason: Reason) -> Option<audits::probe::Outcome> {
    use audits::probe::Outcome as Found;
    let (reason, outcome) = match reason {
        Reason::Unreachable => ("unreachable", Some(Found::Offline)),
        Reason::Missing => ("missing", Some(Found::Lost)),
        Reason::Corrupt => ("corrupt", Some(Found::Corrupt)),
        Reason::Refused => ("refused", Some(Found::Refused)),
        Reason::Unspecified => ("unspecified", None),
    };
    metrics::counter!("cyx_repair_source_failures_total", "reason" => reason).increment(1);
    tracing::info!(%target, %source, reason, "a node could not read from another one");
    outcome
}

/// That is a hint and no proof: whoever was to be read from, and should hold what was asked for, is asked about it by an audit.
async fn pass_on(conn: &mut Conn, segment: &Segment, row: &Row, report: &TaskReport) -> Result<(), DbError> {
    for (source, shard, outcome, offset) in &report.failed {
        let Ok(shard) = u8::try_from(*shard) else { continue };
        if row.asked.contains(source) && segment.holder(shard) == Some(*source) && *offset < segment.shard_len() {
            let held = Held { segment: segment.id, shard };
            audits::rows::hint(conn, held, *source, (*outcome, *offset), report.now).await?;
        }
    }
    Ok(())
}

/// Counts and announces what became of a task. Whether the chunk counts.
fn tell(app: &App, target: NodeId, outcome: Outcome) -> Result<bool, ApiError> {
    let registry = &app.network.registry;
    let count = |summary: &TaskSummary, result: &'static str| {
        metrics::counter!("cyx_repair_tasks_total", "kind" => summary.kind, "result" => result).increment(1);
    };
    match outcome {
        Outcome::Unknown => Ok(false),
        Outcome::NotYours => Err(ApiError::new(ErrorCode::PermissionDenied, "this task was given to another node")),
        Outcome::Done(summary) => {
            count(&summary, "done");
            metrics::counter!("cyx_repaired_bytes_total", "kind" => summary.kind).increment(summary.bytes);
            if let Some(chunk_id) = summary.chunk {
                let (source_node, target_node) = (summary.source, target);
                registry.publish(ClusterEvent::ReplicationComplete { chunk_id, source_node, target_node });
            }
            Ok(true)
        }
        Outcome::Needless(summary) => {
            count(&summary, "needless");
            if let Some(chunk_id) = summary.chunk {
                let error = "the shard is not needed there any more".to_owned();
                registry.publish(ClusterEvent::ReplicationFailed { chunk_id, error });
            }
            Ok(false)
        }
        Outcome::Failed(summary, error) => {
            count(&summary, "failed");
            tracing::warn!(%target, kind = summary.kind, error, "a repair came to nothing and is tried again");
            if let Some(chunk_id) = summary.chunk {
                registry.publish(ClusterEvent::ReplicationFailed { chunk_id, error });
            }
            Ok(false)
        }
    }
}

async fn settle(conn: &mut Conn, backend: Backend, report: &TaskReport) -> Result<Outcome, DbError> {
    let Some(row) = Row::load(conn, report.task).await? else { return Ok(Outcome::Unknown) };
    if row.target != report.node {
        return Ok(Outcome::NotYours);
    }
    segment::lock(conn, &BTreeSet::from([row.segment])).await?;
    let Some(row) = Row::load(conn, report.task).await? else { return Ok(Outcome::Unknown) };
    sqlx::query("DELETE FROM repair_task WHERE id = $1").bind(row.id.to_vec()).execute(&mut *conn).await?;
    let (segment, corrupt) = match Segment::load(conn, row.segment, Some(backend)).await {
        Err(DbError::Corrupt(what)) => (None, Some(what)),
        other => (other?, None),
    };
    let summary = TaskSummary {
        chunk: segment.as_ref().map(|segment| segment.chunk(row.shard)),
        source: row.shown_source(),
        kind: row.kind.as_str(),
        bytes: row.bytes,
    };
    if let Some(what) = corrupt {
        queue::set_aside(conn, row.segment, what, report.now).await?;
        return Ok(Outcome::Needless(summary));
    }
    let Some(segment) = segment.filter(|segment| !segment.is_freed) else {
        queue::delete(conn, row.segment, i64::from(row.shard)).await?;
        return Ok(Outcome::Needless(summary));
    };
    pass_on(conn, &segment, &row, report).await?;
    if report.receipt.is_empty() {
        plan::failed(conn, row.segment, row.shard, report.now).await?;
        return Ok(Outcome::Failed(summary, report.error.clone()));
    }
    if let Err(why) = check(&segment, &row, report)? {
        plan::failed(conn, row.segment, row.shard, report.now).await?;
        return Ok(Outcome::Failed(summary, why.to_owned()));
    }
    let moved_meanwhile = segment.holder(row.shard).is_some_and(|holder| row.source != Some(holder));
    let holds_another = segment.others(row.shard).any(|other| other == report.node);
    if moved_meanwhile || holds_another {
        queue::reassess(conn, [row.segment]).await?;
        return Ok(Outcome::Needless(summary));
    }
    place(conn, &segment, row.shard, report.node).await?;
    let (had, has) = (segment.holder(row.shard), Some(report.node));
    changes::note(conn, Change { segment: row.segment, shard: row.shard, had, has }, report.now).await?;
    queue::delete(conn, row.segment, i64::from(row.shard)).await?;
    queue::reassess(conn, [row.segment]).await?;
    if let Some(source) = row.source {
        let text = "UPDATE node SET moved_chunks = moved_chunks + 1, moved_bytes = moved_bytes + $1 \
                    WHERE id = $2 AND leaving IN ('draining', 'exiting')";
        sqlx::query(text).bind(crate::tree::sql::as_int(row.bytes)).bind(source.to_vec()).execute(conn).await?;
    }
    Ok(Outcome::Done(summary))
}

/// Whether the receipt is the node's word for exactly this chunk.
fn check(segment: &Segment, row: &Row, report: &TaskReport) -> Result<Result<(), &'static str>, DbError> {
    let Ok(receipt) = Receipt::verify(&report.receipt, &report.key) else { return Ok(Err("the receipt is not valid")) };
    let now = to_seconds(report.now);
    let fresh = now.saturating_sub(receipt.issued) <= RECEIPT_LIFETIME_SECONDS
        && receipt.issued <= now.saturating_add(CLOCK_SKEW_SECONDS);
    let root = segment.root(row.shard)?;
    let names_it = receipt.chunks.iter().any(|chunk| {
        chunk.id == segment.chunk(row.shard) && chunk.root == root && u64::from(chunk.length) == segment.shard_len()
    });
    Ok(match (receipt.grant.0 == report.task.0, fresh, names_it) {
        (false, _, _) => Err("the receipt is for another task"),
        (_, false, _) => Err("the receipt is from another time"),
        (_, _, false) => Err("the receipt is for another chunk"),
        (true, true, true) => Ok(()),
    })
}

/// Says that a shard lies at a node.
async fn place(conn: &mut Conn, segment: &Segment, shard: u8, node: NodeId) -> Result<(), DbError> {
    sqlx::query("UPDATE segment SET present = present | $1 WHERE id = $2")
        .bind(1_i64 << shard)
        .bind(segment.id.to_vec())
        .execute(&mut *conn)
        .await?;
    if segment.placed.get(usize::from(shard)) == Some(&node) {
        sqlx::query("DELETE FROM segment_override WHERE segment = $1 AND shard = $2")
            .bind(segment.id.to_vec())
            .bind(i64::from(shard))
            .execute(conn)
            .await?;
        return Ok(());
    }
    let text = "INSERT INTO segment_override (segment, shard, node) VALUES ($1, $2, $3) \
                ON CONFLICT (segment, shard) DO UPDATE SET node = excluded.node";
    sqlx::query(text).bind(segment.id.to_vec()).bind(i64::from(shard)).bind(node.to_vec()).execute(conn).await?;
    Ok(())
}
