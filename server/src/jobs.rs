//! Work that the server does on its own, and the record of it.
//!
//! Every run of a job is a row in the table `job` and a `JobStatusChanged` event when it begins and ends, so that an administrator sees
//! what runs, what failed and why.

pub mod lease;

use std::time::Duration;

use cyx_core::ids::random_bytes;

use crate::app::AppState;
use crate::collect;
use crate::db::{Conn, Db, DbError};
use crate::error::ApiError;
use crate::nodes::{ClusterEvent, Registry};
use crate::time::{now_ns, rfc3339};

/// The first collection after a start waits no longer than this, however long the interval is: a server that is restarted every
/// night collects all the same.
const FIRST_AFTER: Duration = Duration::from_secs(60);
/// Name of the lease of the server that collects, and its shortest life.
const LEASE: &str = "collect";
const LEASE_LEAST: Duration = Duration::from_secs(60);
/// How long runs are remembered.
const REMEMBERED_NS: i64 = 7 * 24 * 3600 * 1_000_000_000;
/// Longest description of a failure.
const DETAIL_MAX: usize = 500;

/// Collects at the configured interval until the server stops.
pub async fn run(app: AppState) {
    let stop = app.shutdown.clone();
    let every = Duration::from_secs(app.network.options.job_seconds.max(1));
    let first = tokio::time::Instant::now() + every.min(FIRST_AFTER);
    let mut tick = tokio::time::interval_at(first, every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        // Twice the interval, so that a server that is held up does not lose it to another one every time.
        let life = crate::time::nanos(every.saturating_mul(2).max(LEASE_LEAST));
        let (leases, now) = (&app.network.job_leases, now_ns());
        match leases.hold(LEASE, now, life).await {
            Ok(Some(_)) => {}
            // Another server does it.
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot tell whose turn it is to collect");
                continue;
            }
        }
        let work = collect::collect(&app, collect::Pace::Regular);
        let outcome = tokio::select! {
            outcome = leases.keep(LEASE, now, life, record(&app.db, &app.network.registry, "collect", work)) => outcome,
            // Every step of a collection is a transaction of its own, so it can stop anywhere.
            () = stop.cancelled() => return,
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "the collection failed and is tried again");
        }
    }
}

/// Runs a job and records how it went.
///
/// # Errors
/// The job's own, or that of the record.
pub async fn record<T: std::fmt::Display>(
    db: &Db,
    registry: &Registry,
    kind: &'static str,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let id: [u8; 16] = random_bytes();
    db.write(move |conn| Box::pin(begin(conn, id, kind))).await?;
    publish(registry, id, "running", 0);
    let outcome = work.await;
    let (status, detail) = match &outcome {
        Ok(done) => ("done", done.to_string()),
        Err(error) => ("failed", error.to_string()),
    };
    let detail: String = detail.chars().take(DETAIL_MAX).collect();
    db.write(move |conn| {
        let detail = detail.clone();
        Box::pin(async move { end(conn, id, status, &detail).await })
    })
    .await?;
    publish(registry, id, status, 100);
    outcome
}

fn publish(registry: &Registry, id: [u8; 16], status: &str, progress: u8) {
    let job_id = hex::encode(id);
    registry.publish(ClusterEvent::JobStatusChanged { job_id, status: status.to_owned(), progress });
}

async fn begin(conn: &mut Conn, id: [u8; 16], kind: &str) -> Result<(), DbError> {
    let now = now_ns();
    // What was running when a server died will not end any more.
    sqlx::query("DELETE FROM job WHERE started_ns < $1").bind(now - REMEMBERED_NS).execute(&mut *conn).await?;
    sqlx::query(
        "INSERT INTO job (id, kind, status, progress, detail, started_ns, finished_ns) VALUES ($1, $2, 'running', 0, '', $3, 0)",
    )
    .bind(&id[..])
    .bind(kind)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

async fn end(conn: &mut Conn, id: [u8; 16], status: &str, detail: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE job SET status = $1, progress = 100, detail = $2, finished_ns = $3 WHERE id = $4")
        .bind(status)
        .bind(detail)
        .bind(now_ns())
        .bind(&id[..])
        .execute(conn)
        .await?;
    Ok(())
}

/// A run of a job, for administrators.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct JobView {
    /// Its id.
    pub job_id: String,
    /// What it does.
    pub kind: String,
    /// `running`, `done` or `failed`.
    pub status: String,
    /// Per cent.
    pub progress: i64,
    /// What it did, or why it failed.
    pub detail: String,
    /// RFC 3339.
    pub started_at: String,
}

/// The newest runs, the newest first.
///
/// # Errors
/// [`DbError`].
pub async fn newest(conn: &mut Conn, limit: u32) -> Result<Vec<JobView>, DbError> {
    use sqlx::Row as _;
    let rows =
        sqlx::query("SELECT id, kind, status, progress, detail, started_ns FROM job ORDER BY started_ns DESC LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?;
    rows.iter()
        .map(|row| {
            Ok(JobView {
                job_id: hex::encode(row.try_get::<Vec<u8>, _>(0)?),
                kind: row.try_get(1)?,
                status: row.try_get(2)?,
                progress: row.try_get(3)?,
                detail: row.try_get(4)?,
                started_at: rfc3339(row.try_get(5)?),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::testing::server_with;

    #[tokio::test]
    async fn runs_are_recorded_and_announced() {
        let test = server_with([], |_| {}).await;
        let (db, registry) = (&test.app.db, &test.app.network.registry);
        let mut events = registry.subscribe();
        record(db, registry, "good", async { Ok("did it") }).await.unwrap();
        let failed = record::<String>(db, registry, "bad", async { Err(ApiError::invalid("no")) }).await;
        assert!(failed.is_err());
        let runs = newest(&mut db.read().await.unwrap(), 10).await.unwrap();
        let seen: Vec<(&str, &str, &str)> =
            runs.iter().map(|run| (run.kind.as_str(), run.status.as_str(), run.detail.as_str())).collect();
        assert_eq!(seen, [("bad", "failed", "INVALID_ARGUMENT: no"), ("good", "done", "did it")]);
        let statuses: Vec<String> = std::iter::from_fn(|| events.try_recv().ok())
            .filter_map(|event| match event {
                ClusterEvent::JobStatusChanged { status, .. } => Some(status),
                _ => None,
            })
            .collect();
        assert_eq!(statuses, ["running", "done", "running", "failed"]);
    }
}
