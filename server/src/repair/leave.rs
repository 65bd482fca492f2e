//! Nodes that are emptied: by an administrator (*draining*) or by their operators, for good (*exiting*).
//!
//! Such a node gets nothing new, is read from as before, and everything on it is queued. Uploads that were promised the node before may
//! still put shards there; these are queued when they are committed. An exit is complete when no segment has a shard there any more and no
//! lease that names it is in use. From then on the node is *exited*: the server signs an exit receipt, and in a late commit a shard
//! there counts as not stored.

use bytes::Bytes;
use cyx_core::exit::ExitReceipt;
use cyx_core::ids::NodeId;
use cyx_proto::node::v1 as pb;
use sqlx::Row as _;

use super::{Nodes, SECOND_NS};
use crate::app::App;
use crate::db::{Backend, Conn, DbError};
use crate::error::ApiError;
use crate::jobs::lease::{self, JobError};
use crate::keys::ServerKeys;
use crate::nodes::Leaving;
use crate::placement;
use crate::time::to_seconds;
use crate::tree::sql;

/// So long after it began, an exit that was taken back can begin again: each time all that lies on the node is queued, and taken back.
const AGAIN_NS: i64 = 3600 * SECOND_NS;

/// How far a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Whether it leaves.
    pub leaving: Leaving,
    /// Shards that still lie there.
    pub chunks_left: u64,
    /// Their bytes.
    pub bytes_left: u64,
    /// Shards that were handed over.
    pub chunks_moved: u64,
    /// Their bytes.
    pub bytes_moved: u64,
    /// The server's word that it is over; empty until then.
    pub receipt: Vec<u8>,
}

impl From<Progress> for pb::ExitResponse {
    fn from(progress: Progress) -> Self {
        Self {
            leaving: progress.leaving.as_str().to_owned(),
            chunks_left: progress.chunks_left,
            bytes_left: progress.bytes_left,
            chunks_moved: progress.chunks_moved,
            bytes_moved: progress.bytes_moved,
            receipt: Bytes::from(progress.receipt),
        }
    }
}

/// Begins to empty a node, or takes that back with [`Leaving::None`]. `now` in Unix nanoseconds. An exit that is complete stays complete.
///
/// # Errors
/// [`cyx_core::error::ErrorCode::NotFound`], and [`cyx_core::error::ErrorCode::Conflict`] if the node has exited, or is to exit again within an
/// hour.
pub async fn set(app: &App, node: NodeId, leaving: Leaving, now: i64) -> Result<Progress, ApiError> {
    let backend = app.db.backend();
    let outcome =
        app.db.write(move |conn| Box::pin(async move { set_row(conn, backend, node, leaving, now).await })).await?;
    app.network.registry.set_leaving(node, outcome);
    tracing::info!(%node, leaving = outcome.as_str(), "a node is to be emptied, or not any more");
    progress(app, node).await
}

/// What a node is told that has exited and wants to be part of the network again.
#[must_use]
pub fn has_exited() -> ApiError {
    let message =
        "this node has exited for good; it can come back as a new one, with a new key in an empty data directory";
    ApiError::new(cyx_core::error::ErrorCode::Conflict, message)
}

/// The operator takes the exit of a node back. What an administrator drains goes on being drained.
///
/// # Errors
/// As [`set`].
pub async fn cancel_exit(app: &App, node: NodeId, now: i64) -> Result<Progress, ApiError> {
    match progress(app, node).await?.leaving {
        Leaving::Exiting | Leaving::Exited => set(app, node, Leaving::None, now).await,
        Leaving::None | Leaving::Draining => progress(app, node).await,
    }
}

async fn set_row(
    conn: &mut Conn,
    backend: Backend,
    node: NodeId,
    wanted: Leaving,
    now: i64,
) -> Result<Leaving, ApiError> {
    let text = format!("SELECT leaving, leaving_ns FROM node WHERE id = $1{}", backend.for_update());
    let row = sqlx::query(sqlx::AssertSqlSafe(text)).bind(node.to_vec()).fetch_optional(&mut *conn).await?;
    let row = row.ok_or_else(|| ApiError::not_found("there is no such node"))?;
    let present = Leaving::parse(&row.try_get::<String, _>(0)?);
    // Who asks for its exit again wants the receipt.
    if present == wanted || (present, wanted) == (Leaving::Exited, Leaving::Exiting) {
        return Ok(present);
    }
    if present == Leaving::Exited {
        return Err(has_exited());
    }
    if (present, wanted) == (Leaving::None, Leaving::Exiting) && now.saturating_sub(sql::int(&row, 1)?) < AGAIN_NS {
        let message = "an exit of this node began less than an hour ago and was taken back; try again later";
        return Err(ApiError::new(cyx_core::error::ErrorCode::Conflict, message));
    }
    let (text, began) = match (present, wanted) {
        (Leaving::None, _) => (
            "UPDATE node SET leaving = $1, leaving_ns = $3, moved_chunks = 0, moved_bytes = 0 WHERE id = $2",
            Some(now),
        ),
        // What an administrator began and took back is no exit, and keeps no operator from one.
        (Leaving::Draining, Leaving::None) => {
            ("UPDATE node SET leaving = $1, leaving_ns = $3 WHERE id = $2", Some(0_i64))
        }
        // A node that is drained and then exits has one beginning.
        _ => ("UPDATE node SET leaving = $1 WHERE id = $2", None),
    };
    let query = sqlx::query(text).bind(wanted.as_str()).bind(node.to_vec());
    let query = if let Some(began) = began { query.bind(began) } else { query };
    query.execute(conn).await?;
    Ok(wanted)
}

/// How far a node is.
///
/// # Errors
/// [`cyx_core::error::ErrorCode::NotFound`].
pub async fn progress(app: &App, node: NodeId) -> Result<Progress, ApiError> {
    let mut read = app.db.read().await?;
    let row = sqlx::query("SELECT leaving, moved_chunks, moved_bytes, exit_receipt FROM node WHERE id = $1")
        .bind(node.to_vec())
        .fetch_optional(&mut *read)
        .await?;
    let row = row.ok_or_else(|| ApiError::not_found("there is no such node"))?;
    let leaving = Leaving::parse(&row.try_get::<String, _>(0)?);
    let (chunks_left, bytes_left) = match leaving {
        Leaving::Exited => (0, 0),
        _ => left(&mut read, node).await?,
    };
    Ok(Progress {
        leaving,
        chunks_left,
        bytes_left,
        chunks_moved: sql::uint(&row, 1)?,
        bytes_moved: sql::uint(&row, 2)?,
        receipt: sql::optional_bytes(&row, 3)?.unwrap_or_default(),
    })
}

/// Shards that lie on a node, and their bytes.
async fn left(conn: &mut Conn, node: NodeId) -> Result<(u64, u64), DbError> {
    let of_placements = sqlx::query(
        "SELECT CAST(COUNT(*) AS BIGINT), CAST(COALESCE(SUM((s.length + s.k - 1) / s.k), 0) AS BIGINT) \
         FROM placement_node p JOIN segment s ON s.placement = p.placement \
         WHERE p.node = $1 AND s.freed_ns = 0 AND (s.present >> CAST(p.shard AS INTEGER)) & 1 = 1 \
         AND NOT EXISTS (SELECT 1 FROM segment_override o WHERE o.segment = s.id AND o.shard = p.shard)",
    )
    .bind(node.to_vec())
    .fetch_one(&mut *conn)
    .await?;
    let of_overrides = sqlx::query(
        "SELECT CAST(COUNT(*) AS BIGINT), CAST(COALESCE(SUM((s.length + s.k - 1) / s.k), 0) AS BIGINT) \
         FROM segment_override o JOIN segment s ON s.id = o.segment \
         WHERE o.node = $1 AND s.freed_ns = 0 AND (s.present >> CAST(o.shard AS INTEGER)) & 1 = 1",
    )
    .bind(node.to_vec())
    .fetch_one(conn)
    .await?;
    let sum = |column: usize| -> Result<u64, DbError> {
        Ok(sql::uint::<u64>(&of_placements, column)? + sql::uint::<u64>(&of_overrides, column)?)
    };
    Ok((sum(0)?, sum(1)?))
}

/// Completes exits of nodes on which nothing lies any more. Which they are.
///
/// # Errors
/// [`JobError`].
pub async fn complete(app: &App, held: lease::Held, nodes: &Nodes, now: i64) -> Result<Vec<NodeId>, JobError> {
    let mut done = Vec::new();
    for node in nodes.iter().filter(|node| node.leaving == Leaving::Exiting) {
        let node = node.id;
        // Cheap, and enough as long as it is not over.
        let waiting: i64 = sqlx::query_scalar("SELECT CAST(COUNT(*) AS BIGINT) FROM repair WHERE node = $1")
            .bind(node.to_vec())
            .fetch_one(&mut *app.db.read().await?)
            .await?;
        if waiting > 0 {
            continue;
        }
        if left(&mut *app.db.read().await?, node).await?.0 > 0 {
            super::queue::queue_late(&app.db, held, node, now).await?;
            continue;
        }
        if placement::rows::is_promised(&mut *app.db.read().await?, node, to_seconds(now)).await? {
            continue;
        }
        let (backend, keys) = (app.db.backend(), std::sync::Arc::clone(&app.network.keys));
        let completed = app.db.write(move |conn| {
            let keys = std::sync::Arc::clone(&keys);
            Box::pin(async move {
                lease::check(conn, backend, held).await?;
                Ok::<_, JobError>(complete_one(conn, &keys, node, now).await?)
            })
        });
        if completed.await? {
            app.network.registry.set_leaving(node, Leaving::Exited);
            tracing::info!(%node, "a node handed over everything and has exited");
            done.push(node);
        }
    }
    Ok(done)
}

async fn complete_one(conn: &mut Conn, keys: &ServerKeys, node: NodeId, now: i64) -> Result<bool, DbError> {
    // Once more, now that nothing can come between.
    if left(conn, node).await?.0 > 0 {
        return Ok(false);
    }
    let row =
        sqlx::query("SELECT leaving_ns, moved_chunks, moved_bytes FROM node WHERE id = $1 AND leaving = 'exiting'")
            .bind(node.to_vec())
            .fetch_optional(&mut *conn)
            .await?;
    let Some(row) = row else { return Ok(false) };
    let receipt = ExitReceipt {
        key: keys.id(),
        node,
        began: to_seconds(sql::int(&row, 0)?),
        ended: to_seconds(now),
        chunks: sql::uint(&row, 1)?,
        bytes: sql::uint(&row, 2)?,
    };
    sqlx::query("UPDATE node SET leaving = 'exited', leaving_ns = $1, exit_receipt = $2 WHERE id = $3")
        .bind(now)
        .bind(keys.sign_exit(&receipt))
        .bind(node.to_vec())
        .execute(conn)
        .await?;
    Ok(true)
}
