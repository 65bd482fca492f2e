//! Leases of background jobs: which server runs a job that must run once.
//!
//! A lease is a row with a holder and an end. Whoever has it renews it in time; when it is over, another server may take it, and the
//! *fencing number* grows. A holder that was held up for too long finds out when it writes: [`check`] stands at the beginning of every
//! transaction of such a job and fails if the lease went to another one, so two servers never do the same work, however their clocks
//! run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cyx_core::ids::random_bytes;
use thiserror::Error;

use crate::db::{Backend, Conn, Db, DbError};
use crate::error::ApiError;
use crate::time::nanos;

/// A server's claim on a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Which job.
    pub name: &'static str,
    fencing: i64,
}

/// Why a job does not go on.
#[derive(Debug, Error)]
pub enum JobError {
    /// Another server took over.
    #[error("another server runs this job now")]
    Taken,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<sqlx::Error> for JobError {
    fn from(error: sqlx::Error) -> Self {
        Self::Db(error.into())
    }
}

impl From<JobError> for ApiError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Taken => Self::new(cyx_core::error::ErrorCode::Unavailable, error.to_string()),
            JobError::Db(error) => error.into(),
        }
    }
}

/// Leases of background jobs that one server holds. Placements are leased by [`crate::placement::lease`], which has nothing to do with these.
#[derive(Clone)]
pub struct JobLeases {
    db: Db,
    holder: [u8; 16],
    /// Whether it takes any.
    competes: bool,
    held: Arc<Mutex<Vec<(Held, i64)>>>,
}

impl JobLeases {
    /// For a server that begins now. An embedded database has one server, which need not wait for what it held before a crash.
    #[must_use]
    pub fn of_server(db: Db) -> Self {
        let holder = match db.backend() {
            Backend::Sqlite => [0; 16],
            Backend::Postgres => random_bytes(),
        };
        Self { db, holder, competes: true, held: Arc::default() }
    }

    /// For a process that leaves all jobs to others.
    #[must_use]
    pub fn abstaining(db: Db) -> Self {
        Self { competes: false, ..Self::of_server(db) }
    }

    /// Takes or renews the lease of a job until `now + life` (nanoseconds). `None` while another server has it. The database is
    /// asked only when half of the life is over.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn hold(&self, name: &'static str, now: i64, life: i64) -> Result<Option<Held>, DbError> {
        if !self.competes {
            return Ok(None);
        }
        let known = self.known(name);
        if let Some((held, until)) = known
            && (until.saturating_sub(life)..until.saturating_sub(life / 2)).contains(&now)
        {
            return Ok(Some(held));
        }
        let (holder, until) = (self.holder, now.saturating_add(life));
        let fencing =
            self.db.write(move |conn| Box::pin(async move { take(conn, name, holder, now, until).await })).await?;
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(held, _)| held.name != name);
        metrics::gauge!("cyx_job_lease", "job" => name).set(if fencing.is_some() { 1.0 } else { 0.0 });
        Ok(fencing.map(|fencing| {
            let held = Held { name, fencing };
            all.push((held, until));
            held
        }))
    }

    /// Does work under a lease and renews it meanwhile, so that work which takes longer than a lease lives is not begun anew by another
    /// server. Whether the lease was lost all the same is found out by [`check`]. `now` is when the work begins, in nanoseconds as `life`.
    pub async fn keep<T>(&self, name: &'static str, now: i64, life: i64, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        // The second of these comes when half of the life is over.
        let pause = Duration::from_nanos(u64::try_from(life / 4).unwrap_or(0));
        let renew = async {
            loop {
                tokio::time::sleep(pause).await;
                if let Err(error) = self.hold(name, now.saturating_add(nanos(began.elapsed())), life).await {
                    tracing::warn!(%error, name, "the lease of a job could not be renewed");
                }
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            never = renew => never,
        }
    }

    fn known(&self, name: &str) -> Option<(Held, i64)> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|(held, _)| held.name == name).copied()
    }

    /// Gives all leases back, so that another server can go on at once.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn release(&self) -> Result<(), DbError> {
        let holder = self.holder;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    sqlx::query("UPDATE job_lease SET expires_ns = 0 WHERE holder = $1")
                        .bind(holder.to_vec())
                        .execute(conn)
                        .await?;
                    Ok(())
                })
            })
            .await
    }
}

async fn take(conn: &mut Conn, name: &str, holder: [u8; 16], now: i64, until: i64) -> Result<Option<i64>, DbError> {
    // One's own is prolonged; that of another is taken over when it is over, and then what the other still wants to write is refused.
    let fencing: Option<i64> = sqlx::query_scalar(
        "INSERT INTO job_lease (name, holder, fencing, expires_ns) VALUES ($1, $2, 1, $3) ON CONFLICT (name) DO UPDATE SET \
         fencing = CASE WHEN job_lease.holder = excluded.holder THEN job_lease.fencing ELSE job_lease.fencing + 1 END, \
         holder = excluded.holder, expires_ns = excluded.expires_ns \
         WHERE job_lease.holder = excluded.holder OR job_lease.expires_ns <= $4 RETURNING fencing",
    )
    .bind(name)
    .bind(holder.to_vec())
    .bind(until)
    .bind(now)
    .fetch_optional(conn)
    .await?;
    Ok(fencing)
}

/// Fails unless the lease is still this one. Nobody else can take it until the transaction ends.
///
/// # Errors
/// [`JobError::Taken`].
pub async fn check(conn: &mut Conn, backend: Backend, held: Held) -> Result<(), JobError> {
    let text = format!("SELECT fencing FROM job_lease WHERE name = $1{}", backend.for_update());
    let fencing: Option<i64> =
        sqlx::query_scalar(sqlx::AssertSqlSafe(text)).bind(held.name).fetch_optional(conn).await?;
    if fencing == Some(held.fencing) { Ok(()) } else { Err(JobError::Taken) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::TestDb;

    const LIFE: i64 = 1000;

    fn server(db: &Db) -> JobLeases {
        JobLeases { holder: random_bytes(), ..JobLeases::of_server(db.clone()) }
    }

    async fn may_write(db: &Db, held: Held) -> bool {
        let backend = db.backend();
        let write = db.write(move |conn| Box::pin(async move { check(conn, backend, held).await }));
        match write.await {
            Ok(()) => true,
            Err(JobError::Taken) => false,
            Err(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn one_server_at_a_time_has_a_lease_and_an_old_holder_cannot_write() {
        let test = TestDb::new().await;
        let (one, other) = (server(&test.db), server(&test.db));
        let first = one.hold("job", 0, LIFE).await.unwrap().unwrap();
        assert_eq!(other.hold("job", 999, LIFE).await.unwrap(), None);
        assert!(other.hold("another", 999, LIFE).await.unwrap().is_some());
        assert_eq!(one.hold("job", 900, LIFE).await.unwrap(), Some(first), "renewed");
        assert_eq!(other.hold("job", 1800, LIFE).await.unwrap(), None);
        assert!(may_write(&test.db, first).await);
        let second = other.hold("job", 1900, LIFE).await.unwrap().unwrap();
        assert!(!may_write(&test.db, first).await && may_write(&test.db, second).await);
        assert_eq!(one.hold("job", 1901, LIFE).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_lease_is_renewed_while_work_under_it_goes_on() {
        let test = TestDb::new().await;
        let life = nanos(Duration::from_millis(200));
        let (one, other) = (server(&test.db), server(&test.db));
        let first = one.hold("job", 0, life).await.unwrap().unwrap();
        let db = test.db.clone();
        let renewed = one.keep("job", 0, life, async {
            for _ in 0..1000 {
                let text = "SELECT expires_ns FROM job_lease WHERE name = 'job'";
                let until: i64 = sqlx::query_scalar(text).fetch_one(&mut *db.read().await.unwrap()).await.unwrap();
                if until > life {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            false
        });
        assert!(renewed.await);
        assert_eq!(other.hold("job", life, life).await.unwrap(), None);
        assert!(may_write(&test.db, first).await, "with the same number");
    }

    #[tokio::test]
    async fn who_abstains_takes_nothing() {
        let test = TestDb::new().await;
        assert_eq!(JobLeases::abstaining(test.db.clone()).hold("job", 0, LIFE).await.unwrap(), None);
        assert!(server(&test.db).hold("job", 0, LIFE).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_is_given_back_is_taken_at_once() {
        let test = TestDb::new().await;
        let (one, other) = (server(&test.db), server(&test.db));
        let first = one.hold("job", 0, LIFE).await.unwrap().unwrap();
        one.release().await.unwrap();
        assert!(other.hold("job", 1, LIFE).await.unwrap().is_some());
        assert!(!may_write(&test.db, first).await);
    }
}
