//! Shipping the write-ahead log of a running server.
//!
//! Several times a second everything that was committed since is written to the folder as a piece and made durable there. SQLite itself
//! never checkpoints while this runs; the shipper does, in three steps: it copies what it can while others write, then takes the
//! write lock for a moment, ships the rest and copies the rest. Only then may the log begin a new life, and nothing of the old one is
//! missing. A new generation begins once a day, when the pieces of one have become much larger than its copy, and whenever the
//! log is not the continuation of what was shipped; while its copy is made and until its pieces have everything that was committed, the
//! old generation goes on. A clean stop, after which there is no
//! log any more, leaves word of how the database file was ([`super::end`]); a crash leaves the log.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, Executor as _, Row as _};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::end::{End, STILL, Stamp};
use super::generation::{Generation, prune};
use super::piece;
use super::tail::{Checkpoint, Step, Tail, log_of};
use crate::db::{Backend, Conn, Db, DbError};
use crate::time::now_ns;

/// Name of the file in the folder that whoever ships into it locks.
pub(crate) const LOCK: &str = "shipping.lock";
/// How often the log is looked at.
const EVERY: Duration = Duration::from_millis(200);
/// The log is checkpointed when so much of it was shipped.
const CHECKPOINT_BYTES: u64 = 8 << 20;
/// A checkpoint that readers kept from being complete is tried again after this.
const CHECKPOINT_AGAIN: Duration = Duration::from_secs(5);
/// If nothing can be shipped, the log may grow to this before it is checkpointed all the same and shipping begins anew.
const UNSHIPPED_MAX: u64 = 1 << 30;
/// A generation whose copy failed is followed by the next attempt after this.
const GENERATION_AGAIN: Duration = Duration::from_secs(30);
/// A generation lasts at most this long.
const GENERATION_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Or until its pieces are this many times as large as its copy, and at least so many bytes.
const GROWTH: u64 = 4;
const GROWTH_LEAST: u64 = 256 << 20;
/// A step that takes longer is reported. Unless the folder was away, it has little to ship.
const ANSWER: Duration = Duration::from_secs(30);
/// How often a failure is reported.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Where to ship to.
#[derive(Debug, Clone)]
pub struct ShipOptions {
    /// The folder.
    pub folder: PathBuf,
    /// The server's data folder, whose secrets are copied too.
    pub data_dir: PathBuf,
    /// How long superseded generations are kept.
    pub keep: Duration,
}

/// Why the log cannot be shipped.
#[derive(Debug, Error)]
pub enum ShipError {
    /// The database is a PostgreSQL server.
    #[error("only the embedded database ships its log: PostgreSQL has `archive_command` and `pg_receivewal`")]
    Postgres,
    /// Another server ships into the folder.
    #[error("another running cyx-server ships its log into {}: give this one a folder of its own, or none", .0.display())]
    Taken(PathBuf),
    /// The folder cannot be used.
    #[error("shipping the write-ahead log: {0}")]
    Folder(#[from] io::Error),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<sqlx::Error> for ShipError {
    fn from(error: sqlx::Error) -> Self {
        Self::Db(error.into())
    }
}

/// A generation that is being copied.
struct Copying {
    generation: Generation,
    task: JoinHandle<io::Result<Stamp>>,
    began: Instant,
}

/// A generation that pieces go to.
struct Current {
    generation: Generation,
    tail: Tail,
    base_bytes: u64,
    shipped: u64,
}

/// Ships the log of one database.
pub struct Shipper {
    options: ShipOptions,
    database: PathBuf,
    /// The database, to be copied. Open for as long as anything is: to close any descriptor of a file takes all locks on it from its process, and
    /// without SQLite's the next program to close the database would believe that it is the last and take the log away.
    file: Arc<File>,
    /// Holds the write lock during a checkpoint.
    lock: Conn,
    /// Does the checkpoints.
    copy: Conn,
    current: Option<Current>,
    copying: Option<Copying>,
    /// Copied, but not yet as far as the log.
    next: Option<Current>,
    checkpoint: Option<Checkpoint>,
    next_checkpoint: Instant,
    next_generation: Instant,
    next_report: Instant,
    /// Held for as long as anything is shipped.
    _claim: Option<File>,
}

impl Shipper {
    /// Goes on with the newest generation if the log continues it. The database must not checkpoint by itself.
    ///
    /// # Errors
    /// [`ShipError`].
    pub async fn start(db: &Db, options: ShipOptions) -> Result<Self, ShipError> {
        let database = match (db.backend(), db.path()) {
            (Backend::Sqlite, Some(path)) => path.to_owned(),
            _ => return Err(ShipError::Postgres),
        };
        let file = Arc::new(File::open(&database)?);
        let (lock, copy) = (db.connect().await?, db.connect().await?);
        super::copy::private_folder(&options.folder)?;
        let claim = claim(&options.folder)?;
        // The alarm counts from here on: a gauge that is not there raises none, even if shipping never works.
        metrics::gauge!("cyx_wal_shipped_at_seconds").set(0.0);
        let now = Instant::now();
        let current = resume(&options.folder, &database)?;
        Ok(Self {
            options,
            database,
            file,
            lock,
            copy,
            current,
            copying: None,
            next: None,
            checkpoint: None,
            next_checkpoint: now,
            next_generation: now,
            next_report: now,
            _claim: claim,
        })
    }

    /// Ships until it is to stop, then ships the rest and closes. To be stopped after the last write.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => break,
            }
            let step = patiently(self.step(), ANSWER, REPORT_EVERY, || {
                tracing::error!("shipping the write-ahead log does not come to an end; does the folder answer?");
            });
            match step.await {
                Ok(()) => self.report_long_copy(),
                Err(error) => self.report(&error),
            }
        }
        if let Err(error) = self.finish().await {
            tracing::error!(%error, "the last changes were not shipped");
        }
    }

    fn report(&mut self, error: &ShipError) {
        let now = Instant::now();
        if now >= self.next_report {
            self.next_report = now + REPORT_EVERY;
            tracing::error!(%error, "the write-ahead log is not shipped at present");
        }
    }

    /// No step waits for a copy, so a folder that does not answer while the first one is made fails none.
    fn report_long_copy(&mut self) {
        let is_long = |copying: &Copying| copying.began.elapsed() >= ANSWER;
        let now = Instant::now();
        if self.current.is_none() && self.copying.as_ref().is_some_and(is_long) && now >= self.next_report {
            self.next_report = now + REPORT_EVERY;
            tracing::warn!(
                "nothing is shipped before the first copy of the database is made; is it large, or does the folder not answer?"
            );
        }
    }

    /// Ships what is there, and does whatever else it is time for.
    ///
    /// # Errors
    /// [`ShipError`]; the step can be repeated.
    pub async fn step(&mut self) -> Result<(), ShipError> {
        let outcome = self.advance().await;
        if outcome.is_err() {
            self.give_up_if_too_long().await?;
        }
        outcome
    }

    async fn advance(&mut self) -> Result<(), ShipError> {
        self.adopt_copy(false).await?;
        self.ship().await?;
        let is_settled = self.copying.is_none() && self.next.is_none();
        if is_settled && self.wants_generation() && Instant::now() >= self.next_generation {
            self.next_generation = Instant::now() + GENERATION_AGAIN;
            self.begin_generation().await?;
        }
        let is_long = self.current.as_ref().is_some_and(|current| current.tail.offset() >= CHECKPOINT_BYTES);
        // Not while a copy is made, nor before its first piece: the file must not change under it.
        let is_settled = self.copying.is_none() && self.next.is_none();
        if is_long && is_settled && Instant::now() >= self.next_checkpoint {
            self.next_checkpoint = Instant::now() + CHECKPOINT_AGAIN;
            self.checkpoint().await?;
        }
        Ok(())
    }

    /// Ships everything that is committed now, into a finished generation. Waits for a copy of the database only if there is none: that of a
    /// large one takes longer than a stop may.
    ///
    /// # Errors
    /// [`ShipError`].
    pub async fn flush(&mut self) -> Result<(), ShipError> {
        loop {
            self.ship().await?;
            if self.current.is_some() {
                return Ok(());
            }
            if self.copying.is_none() {
                self.begin_generation().await?;
            }
            self.adopt_copy(true).await?;
        }
    }

    async fn finish(mut self) -> Result<(), ShipError> {
        self.flush().await?;
        let end = self.end().await?;
        self.lock.close().await?;
        // The last one to close takes the log away.
        self.copy.close().await?;
        if let (Some(end), Some(current)) = (end, self.current) {
            let database = self.database;
            let write = move || {
                if Stamp::of(&database)? == end.stamp { end.write(&current.generation) } else { Ok(()) }
            };
            apart(write).await?;
        }
        if let Some(Copying { generation, .. }) = self.copying {
            // Whatever is still written into it goes with the process, and the next copy may need the space.
            remove(generation).await;
        }
        Ok(())
    }

    /// What the next start needs to go on in the generation, if everything is shipped and in the database file. Nobody can write meanwhile, and for
    /// long enough after that for a later change of the file to show in its times.
    async fn end(&mut self) -> Result<Option<End>, ShipError> {
        passive(&mut self.copy).await?;
        self.lock.execute(sqlx::raw_sql("BEGIN IMMEDIATE")).await?;
        let outcome = self.end_locked().await;
        self.lock.execute(sqlx::raw_sql("ROLLBACK")).await?;
        outcome
    }

    async fn end_locked(&mut self) -> Result<Option<End>, ShipError> {
        self.ship().await?;
        let whole = passive(&mut self.copy).await?;
        let stamp = Stamp::of(&self.database)?;
        tokio::time::sleep(STILL).await;
        Ok(whole.zip(self.current.as_ref()).and_then(|(frames, current)| current.tail.end(frames, stamp)))
    }

    /// Ships until nothing is left. A broken tail ends its generation; one that has caught up takes over.
    async fn ship(&mut self) -> Result<(), ShipError> {
        loop {
            loop {
                let now = unix_ms();
                let Some(step) = step(&mut self.current, self.checkpoint, now).await? else { break };
                match step {
                    Step::UpToDate => {
                        #[expect(clippy::cast_precision_loss, reason = "seconds fit")]
                        metrics::gauge!("cyx_wal_shipped_at_seconds").set(now as f64 / 1000.0);
                        break;
                    }
                    Step::Shipped(_) => {}
                    Step::Broken(reason) => {
                        tracing::warn!(reason, "shipping begins anew with a copy of the database");
                        self.current = None;
                        self.next_generation = Instant::now();
                    }
                }
            }
            // One piece at a time: until it has everything, the other is what a restore takes.
            match step(&mut self.next, self.checkpoint, unix_ms()).await? {
                None => return Ok(()),
                Some(Step::UpToDate) => return self.turn_to_next().await,
                Some(Step::Shipped(_)) => {}
                Some(Step::Broken(reason)) => {
                    tracing::warn!(reason, "a copy of the database is given up and another one made");
                    self.discard_next().await;
                }
            }
        }
    }

    /// Everything that was committed is in the generation that was copied last: it is finished.
    async fn turn_to_next(&mut self) -> Result<(), ShipError> {
        let Some(next) = &mut self.next else { return Ok(()) };
        let mut generation = next.generation.clone();
        let (generation, completed) = apart(move || {
            let completed = generation.complete();
            Ok((generation, completed))
        })
        .await?;
        next.tail.move_to(generation.wal());
        next.generation = generation;
        completed?;
        tracing::info!(folder = %next.generation.folder.display(), "shipping into a new generation");
        self.current = self.next.take();
        let keep = u64::try_from(self.options.keep.as_millis()).unwrap_or(u64::MAX);
        let root = self.options.folder.clone();
        apart(move || prune(&root, unix_ms().saturating_sub(keep))).await?;
        Ok(())
    }

    async fn discard_next(&mut self) {
        if let Some(next) = self.next.take() {
            remove(next.generation).await;
        }
    }

    fn wants_generation(&self) -> bool {
        self.current.as_ref().is_none_or(|current| {
            // By the clock, because servers may restart more often than generations end.
            let age = Duration::from_millis(unix_ms().saturating_sub(current.generation.began));
            let is_old = age >= GENERATION_LIFE && current.shipped > 0;
            is_old || current.shipped > (current.base_bytes * GROWTH).max(GROWTH_LEAST)
        })
    }

    async fn begin_generation(&mut self) -> Result<(), ShipError> {
        let root = self.options.folder.clone();
        let create = move || {
            // Behind the one before it even if the clock was put back meanwhile: the last is what is restored and gone on with.
            let after = Generation::list(&root)?.pop().map_or(0, |newest| newest.began + 1);
            Generation::create(&root, unix_ms().max(after))
        };
        let generation = apart(create).await?;
        let (copy, database, data_dir) = (generation.clone(), self.database.clone(), self.options.data_dir.clone());
        let file = Arc::clone(&self.file);
        let task = tokio::task::spawn_blocking(move || copy.fill(&database, &file, &data_dir));
        self.copying = Some(Copying { generation, task, began: Instant::now() });
        Ok(())
    }

    async fn adopt_copy(&mut self, wait: bool) -> Result<(), ShipError> {
        match &mut self.copying {
            Some(copying) if wait || copying.task.is_finished() => {
                let outcome = (&mut copying.task).await;
                self.adopt(outcome.unwrap_or_else(|error| Err(io::Error::other(error)))).await
            }
            _ => Ok(()),
        }
    }

    /// Begins to catch up into the generation whose copy is finished. The whole present life of the log goes to it: if no checkpoint
    /// happened since its copy began, this and the copy are everything.
    async fn adopt(&mut self, outcome: io::Result<Stamp>) -> Result<(), ShipError> {
        let Some(Copying { generation, .. }) = self.copying.take() else { return Ok(()) };
        let stamp = match outcome {
            Ok(stamp) => stamp,
            Err(error) => {
                // It may have taken the space that the next attempt needs.
                remove(generation).await;
                return Err(error.into());
            }
        };
        let tail = Tail::new(log_of(&self.database), generation.wal()).upon(self.database.clone(), stamp);
        self.next = Some(Current { generation, tail, base_bytes: stamp.length(), shipped: 0 });
        Ok(())
    }

    /// Copies the log into the database file, so that it may begin a new life.
    async fn checkpoint(&mut self) -> Result<(), ShipError> {
        passive(&mut self.copy).await?;
        self.lock.execute(sqlx::raw_sql("BEGIN IMMEDIATE")).await?;
        let outcome = self.checkpoint_locked().await;
        // Nothing was written under it; if even this fails, closing the connection ends it.
        self.lock.execute(sqlx::raw_sql("ROLLBACK")).await?;
        outcome
    }

    async fn checkpoint_locked(&mut self) -> Result<(), ShipError> {
        self.ship().await?;
        let whole = passive(&mut self.copy).await?;
        self.checkpoint =
            whole.zip(self.current.as_ref()).and_then(|(frames, current)| current.tail.checkpointed(frames));
        Ok(())
    }

    /// A log that cannot be shipped must not fill the server's own disk.
    async fn give_up_if_too_long(&mut self) -> Result<(), ShipError> {
        let length = std::fs::metadata(log_of(&self.database)).map_or(0, |metadata| metadata.len());
        if length > UNSHIPPED_MAX && self.copying.is_none() && Instant::now() >= self.next_checkpoint {
            self.next_checkpoint = Instant::now() + CHECKPOINT_AGAIN;
            tracing::error!(length, "the write-ahead log could not be shipped for too long; shipping will begin anew");
            self.current = None;
            self.checkpoint = None;
            self.discard_next().await;
            passive(&mut self.copy).await?;
        }
        Ok(())
    }

    /// The generation that pieces go to.
    #[must_use]
    pub fn generation(&self) -> Option<&Path> {
        self.current.as_ref().map(|current| current.generation.folder.as_path())
    }
}

/// Locks the folder. Of two servers that ship into one, each would take the other's state for the newest, above all a restored one that was
/// started to try the backup out, beside the server that the backup is of. Whoever takes the place of a server that is gone finds the
/// lock free.
fn claim(folder: &Path) -> Result<Option<File>, ShipError> {
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(folder.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(ShipError::Taken(folder.to_owned())),
        Err(TryLockError::Error(error)) => {
            tracing::warn!(%error, folder = %folder.display(), "whether another server ships into the folder cannot be told");
            Ok(None)
        }
    }
}

/// The newest generation, if the log continues it.
fn resume(folder: &Path, database: &Path) -> io::Result<Option<Current>> {
    let Some(generation) = Generation::list(folder)?.pop() else { return Ok(None) };
    let tail = match go_on(&generation, database) {
        Ok(tail) => tail,
        Err(error) => {
            tracing::warn!(%error, folder = %generation.folder.display(), "cannot go on with the newest generation");
            None
        }
    };
    let Some(tail) = tail else { return Ok(None) };
    let base_bytes = std::fs::metadata(generation.base())?.len();
    let mut shipped = 0;
    for (_, path) in piece::list(&generation.wal())? {
        shipped += std::fs::metadata(path)?.len();
    }
    Ok(Some(Current { generation, tail, base_bytes, shipped }))
}

/// Waits for a step for as long as it takes; says so after `first`, and then every `again`.
async fn patiently<T>(step: impl Future<Output = T>, first: Duration, again: Duration, mut say: impl FnMut()) -> T {
    let mut step = std::pin::pin!(step);
    let mut wait = first;
    loop {
        if let Ok(outcome) = tokio::time::timeout(wait, step.as_mut()).await {
            return outcome;
        }
        say();
        wait = again;
    }
}

/// Does something with the folder on a thread that may wait for it: one that hangs must not hold up timers, by which a stop ends all the same.
async fn apart<T: Send + 'static>(job: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(job).await.map_err(io::Error::other)?
}

/// Removes a generation that is not finished. If that fails, it goes with the next one that is.
async fn remove(generation: Generation) {
    let _ = apart(move || std::fs::remove_dir_all(generation.folder)).await;
}

/// Ships up to about one piece into a generation, if there is one.
async fn step(
    place: &mut Option<Current>,
    checkpoint: Option<Checkpoint>,
    now: u64,
) -> Result<Option<Step>, ShipError> {
    let Some(mut current) = place.take() else { return Ok(None) };
    let (current, step) = apart(move || {
        let step = current.tail.step(checkpoint, now);
        Ok((current, step))
    })
    .await?;
    let current = place.insert(current);
    let step = step?;
    if let Step::Shipped(bytes) = step {
        current.shipped += bytes;
        metrics::counter!("cyx_wal_shipped_bytes_total").increment(bytes);
    }
    Ok(Some(step))
}

/// Behind what was shipped: in the log that a crash left, or in the one that began after a clean stop.
fn go_on(generation: &Generation, database: &Path) -> io::Result<Option<Tail>> {
    let end = End::take(generation, database)?;
    match (Tail::resume(log_of(database), generation.wal())?, end) {
        (Some(tail), _) => Ok(Some(tail)),
        (None, Some(end)) => {
            let tail = Tail::follow(log_of(database), generation.wal(), &end)?;
            Ok(tail.map(|tail| tail.upon(database.to_owned(), end.stamp)))
        }
        (None, None) => Ok(None),
    }
}

/// Copies as much of the log as nobody is in the way of. How many frames there are, if all were copied.
async fn passive(conn: &mut Conn) -> Result<Option<u64>, DbError> {
    let row = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(conn).await?;
    let [busy, frames, copied] = [row.try_get::<i64, _>(0)?, row.try_get(1)?, row.try_get(2)?];
    Ok(if busy == 0 && frames == copied { u64::try_from(frames).ok() } else { None })
}

fn unix_ms() -> u64 {
    u64::try_from(now_ns() / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn a_step_that_hangs_is_reported_again_and_again_and_not_given_up() {
        let said = Cell::new(0);
        let step = std::future::poll_fn(|_| if said.get() < 3 { Poll::Pending } else { Poll::Ready("done") });
        let outcome = patiently(step, Duration::ZERO, Duration::ZERO, || said.set(said.get() + 1)).await;
        assert_eq!((outcome, said.get()), ("done", 3));
    }
}
