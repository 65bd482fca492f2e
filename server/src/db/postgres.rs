//! Jobs on PostgreSQL: a transaction each, repeated when the database asks for it.
//!
//! Isolation is `READ COMMITTED`. Jobs that depend on what they read begin by locking the row that orders them (the bucket's, the
//! account's), so they see the newest state of it and never need to be repeated for it; deadlocks between jobs that lock several
//! rows are resolved by the database and repeated here.
//!
//! Each of these costs a second, so they must be rare. Whoever locks several rows keeps to one order:
//!
//! 1. `job_lease`, `bucket`, `node_audit`;
//! 2. leases, by id (`placement::rows::lock`);
//! 3. segments, by id (`repair::segment::lock`): who has one may write its overrides, its tasks and what is queued for it, in any order, and
//!    who has not may not;
//! 4. `account`, in the mode that lets others refer to it (`quota::lock`);
//! 5. placements, by id; only folding takes them before segments;
//! 6. grants, by id;
//! 7. `audit_head`, after all of the above and after the rows of sessions, keys, wallets, challenges and failures.

use std::cell::Cell;
use std::time::Duration;

use sqlx::AnyPool;

use super::DbError;
use super::error::REPEAT;
use super::writer::Job;

/// How often a job is tried.
const ATTEMPTS: u32 = 10;

/// Runs a job and answers its caller.
pub(super) async fn run_on_postgres(pool: AnyPool, mut job: Box<dyn Job>) {
    for attempt in 1.. {
        let mut repeat = false;
        let durable = try_once(&pool, job.as_mut(), &mut repeat).await;
        if !repeat || attempt == ATTEMPTS {
            job.finish(durable);
            return;
        }
        // Different jobs wait differently long, so that they do not meet again.
        let jitter = u64::from(rand::random::<u8>());
        tokio::time::sleep(Duration::from_millis(u64::from(attempt) * 2 + jitter / 16)).await;
    }
}

async fn try_once(pool: &AnyPool, job: &mut dyn Job, repeat: &mut bool) -> Result<(), DbError> {
    let mut transaction = pool.begin().await?;
    let (keep, wants_repeat) = REPEAT
        .scope(Cell::new(false), async {
            let keep = job.run(&mut transaction).await;
            (keep, REPEAT.with(Cell::get))
        })
        .await;
    *repeat = wants_repeat && !keep;
    if !keep {
        return Ok(transaction.rollback().await?);
    }
    let committed = REPEAT
        .scope(Cell::new(false), async { (transaction.commit().await.map_err(DbError::from), REPEAT.with(Cell::get)) });
    let (result, wants_repeat) = committed.await;
    *repeat = wants_repeat;
    result.map_err(|error| DbError::Commit(error.to_string()))
}
