//! The one writer of an SQLite database: many jobs, one durable commit.
//!
//! The writer takes all jobs that wait, runs each behind a savepoint and commits the whole group; only then are they answered. A
//! job that fails rolls back to its savepoint. If the group itself cannot go on (an error that ended the transaction, a
//! failed commit), every job of it is repeated alone, so that one job never takes others down with it.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::sync::{mpsc, oneshot};

use super::{Conn, DbError, Location, connect};

/// Most jobs of one group: bounds how long the first one waits for the last.
const GROUP_MAX: usize = 256;
/// Jobs that may wait; further callers wait to be let in.
const QUEUE_MAX: usize = 1024;

/// A job without its types.
pub(super) trait Job: Send {
    /// Runs the job and keeps its outcome. Whether its changes are to stay.
    fn run<'a>(&'a mut self, connection: &'a mut Conn) -> BoxFuture<'a, bool>;
    /// Answers the caller: with the outcome, or with this error instead of a success that did not last.
    fn finish(self: Box<Self>, durable: Result<(), DbError>);
}

/// A job with its caller.
pub(super) struct Task<T, E, F> {
    job: F,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Task<T, E, F> {
    pub(super) const fn new(job: F, reply: oneshot::Sender<Result<T, E>>) -> Self {
        Self { job, outcome: None, reply }
    }
}

impl<T, E, F> Job for Task<T, E, F>
where
    F: for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, Result<T, E>> + Send + Sync,
    T: Send,
    E: From<DbError> + Send,
{
    fn run<'a>(&'a mut self, connection: &'a mut Conn) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            self.outcome = None;
            // A panic ends this job, not the writer that all others depend on.
            let call = AssertUnwindSafe(async { (self.job)(connection).await }).catch_unwind().await;
            let outcome = call.unwrap_or_else(|_| Err(DbError::Panicked.into()));
            let keep = outcome.is_ok();
            self.outcome = Some(outcome);
            keep
        })
    }

    fn finish(self: Box<Self>, durable: Result<(), DbError>) {
        let answer = match (self.outcome, durable) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(error)) => Err(error.into()),
            (None, Ok(())) => Err(DbError::Closed.into()),
        };
        // The caller may have stopped waiting; the job happened all the same.
        let _ = self.reply.send(answer);
    }
}

enum Message {
    Job(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// The way to the writer task.
pub(super) struct Writer {
    sender: mpsc::Sender<Message>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the task with its connection.
    pub(super) fn start(connection: Conn, location: Location) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let commits = Arc::new(AtomicU64::new(0));
        tokio::spawn(serve(connection, location, receiver, Arc::clone(&commits)));
        Self { sender, commits }
    }

    /// Durable commits so far.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Jobs that wait.
    pub(super) fn waiting(&self) -> usize {
        QUEUE_MAX - self.sender.capacity()
    }

    /// Hands over a job.
    pub(super) async fn submit(&self, job: Box<dyn Job>) -> Result<(), DbError> {
        self.sender.send(Message::Job(job)).await.map_err(|_| DbError::Closed)
    }

    /// Returns when all jobs handed over before are done and the connection is closed.
    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.sender.send(Message::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

async fn serve(connection: Conn, location: Location, mut receiver: mpsc::Receiver<Message>, commits: Arc<AtomicU64>) {
    let mut bench = Bench { connection: Some(connection), location, settings: Kept::new(), commits };
    let mut messages = Vec::with_capacity(GROUP_MAX);
    let mut closing = Vec::new();
    while receiver.recv_many(&mut messages, GROUP_MAX).await > 0 {
        let mut jobs = Vec::with_capacity(messages.len());
        for message in messages.drain(..) {
            match message {
                Message::Job(job) => jobs.push(job),
                Message::Close(done) => {
                    // What is in the queue is still done; then the loop ends.
                    receiver.close();
                    closing.push(done);
                }
            }
        }
        bench.run_group(jobs).await;
    }
    if let Some(connection) = bench.connection
        && let Err(error) = connection.close().await
    {
        tracing::warn!(%error, "the database did not close cleanly");
    }
    for done in closing {
        let _ = done.send(());
    }
}

/// Where jobs are done.
struct Bench {
    /// None after a failure that left it in an unknown state.
    connection: Option<Conn>,
    location: Location,
    /// What the last connection that failed was set to, for every one that follows.
    settings: Kept,
    commits: Arc<AtomicU64>,
}

impl Bench {
    async fn run_group(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        metrics::counter!("cyx_db_jobs_total").increment(jobs.len() as u64);
        if jobs.len() > 1 {
            match self.try_group(&mut jobs).await {
                Ok(()) => {
                    for job in jobs {
                        job.finish(Ok(()));
                    }
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, jobs = jobs.len(), "a group of jobs failed; each is repeated alone");
                }
            }
        }
        for mut job in jobs {
            let durable = self.try_alone(job.as_mut()).await;
            job.finish(durable);
        }
    }

    async fn try_group(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), DbError> {
        let done = run_together(self.connection().await?, jobs).await;
        self.settle(done).await
    }

    async fn try_alone(&mut self, job: &mut dyn Job) -> Result<(), DbError> {
        let done = run_alone(self.connection().await?, job).await;
        self.settle(done).await
    }

    async fn connection(&mut self) -> Result<&mut Conn, DbError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect_again(&self.location, &self.settings).await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Counts a commit, or replaces the connection. After some failures (a full disk is one) SQLite ends the transaction by itself while
    /// the driver still believes in it, and every later transaction would be refused.
    async fn settle(&mut self, done: Result<(), DbError>) -> Result<(), DbError> {
        match done {
            Ok(()) => {
                self.commits.fetch_add(1, Ordering::Relaxed);
                metrics::counter!("cyx_db_commits_total").increment(1);
            }
            Err(_) => {
                if let Some(old) = self.connection.take() {
                    self.replace(old).await;
                }
            }
        }
        done
    }

    /// Goes on with a new connection; none if the database cannot be opened now, which is tried again for the next job.
    async fn replace(&mut self, mut old: Conn) {
        for name in KEPT_SETTINGS {
            let asked = sqlx::query_scalar::<_, i64>(AssertSqlSafe(format!("PRAGMA {name}"))).fetch_one(&mut old).await;
            if let Ok(value) = asked {
                self.settings.insert(name, value);
            }
        }
        // An open transaction ends with its connection.
        let _ = old.close().await;
        match connect_again(&self.location, &self.settings).await {
            Ok(new) => self.connection = Some(new),
            Err(error) => tracing::error!(%error, "the database cannot be opened"),
        }
    }
}

/// Settings that somebody may have changed on the writer's connection.
const KEPT_SETTINGS: [&str; 2] = ["wal_autocheckpoint", "max_page_count"];
/// Their names and values.
type Kept = BTreeMap<&'static str, i64>;

/// A connection with the settings of the one before. It is not used without them.
async fn connect_again(location: &Location, settings: &Kept) -> Result<Conn, DbError> {
    let mut connection = connect(location).await?;
    let settings: String = settings.iter().map(|(name, value)| format!("PRAGMA {name} = {value};")).collect();
    connection.execute(sqlx::raw_sql(AssertSqlSafe(settings))).await?;
    Ok(connection)
}

/// Runs all jobs in one transaction, each behind a savepoint.
async fn run_together(connection: &mut Conn, jobs: &mut [Box<dyn Job>]) -> Result<(), DbError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for job in jobs {
        let mut savepoint = transaction.begin().await?;
        if job.run(&mut savepoint).await {
            savepoint.commit().await?;
        } else {
            savepoint.rollback().await?;
        }
    }
    transaction.commit().await.map_err(|error| DbError::Commit(error.to_string()))
}

/// Runs one job in its own transaction.
async fn run_alone(connection: &mut Conn, job: &mut dyn Job) -> Result<(), DbError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if job.run(&mut transaction).await {
        transaction.commit().await.map_err(|error| DbError::Commit(error.to_string()))
    } else {
        Ok(transaction.rollback().await?)
    }
}
