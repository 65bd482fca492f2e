//! The database: SQLite in the data folder, or PostgreSQL, behind one small API.
//!
//! Modules write plain SQL that both understand and run it in two ways only:
//! - [`Db::read`] gives a consistent snapshot that cannot write;
//! - [`Db::write`] runs a job in a transaction of its own and answers when it is durable.
//!
//! On SQLite one writer task takes all jobs that wait, runs each behind a savepoint and makes them durable with one commit, so that
//! many small changes share one `fsync` (see [`writer`]). On PostgreSQL every job is a transaction and is repeated when the
//! database asks for it (see [`postgres`]). A job therefore may run more than once: it changes nothing but the database. A job that
//! wants to undo a part of its work uses [`sqlx::Connection::begin`], which makes a savepoint inside a job.
//!
//! Portable SQL: types `BIGINT`, `TEXT` and `BYTES` (replaced in migrations), `$1` placeholders, `ON CONFLICT`, `RETURNING`, no booleans,
//! sums and counts as `CAST(… AS BIGINT)`. Rows are locked with [`Backend::for_update`] or by an `UPDATE` that comes first.

mod batch;
mod error;
mod migrations;
mod postgres;
mod writer;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, ConnectOptions as _, Connection as _, Executor as _};
use tokio::sync::oneshot;

pub use self::batch::{Statement, insert_many};
pub use self::error::DbError;
pub use sqlx::AnyConnection as Conn;

use self::postgres::run_on_postgres;
use self::writer::{Task, Writer};

/// Which database it is, for the few places where their SQL differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The embedded database: one file in the data folder.
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
}

impl Backend {
    /// That of a connection.
    #[must_use]
    pub fn of(connection: &Conn) -> Self {
        if connection.backend_name() == "SQLite" { Self::Sqlite } else { Self::Postgres }
    }

    /// What makes a `SELECT` lock its rows: `" FOR UPDATE"`, or nothing where there is only one writer anyway.
    #[must_use]
    pub const fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE",
        }
    }

    /// As [`Self::for_update`] for rows that stay: `" FOR NO KEY UPDATE"`. Others may write rows that refer to them meanwhile.
    #[must_use]
    pub const fn for_no_key_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR NO KEY UPDATE",
        }
    }

    /// As [`Self::for_update`], together with others who read: `" FOR SHARE"`.
    #[must_use]
    pub const fn for_share(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR SHARE",
        }
    }
}

/// Where the database is.
#[derive(Clone)]
pub enum Location {
    /// A file.
    Sqlite(PathBuf),
    /// A `postgres://` address. It may contain a password and is never shown.
    Postgres(String),
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres(…)"),
        }
    }
}

/// How to open the database.
#[derive(Debug, Clone)]
pub struct DbConfig {
    /// Where it is.
    pub location: Location,
    /// Most connections at once: readers on SQLite, readers and writers on PostgreSQL.
    pub connections: u32,
}

impl DbConfig {
    /// Looks at the address without connecting to it.
    ///
    /// # Errors
    /// [`DbError`] if it is none.
    pub fn check(&self) -> Result<(), DbError> {
        connect_options(&self.location, "rwc").map(drop)
    }
}

/// What the tables of a database have to be that is opened as it is.
#[derive(Clone, Copy)]
enum Tables {
    /// This program's, or those of its past.
    Known,
    /// This program's.
    Current,
}

/// A handle on the database. Cheap to clone.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    location: Location,
    pool: AnyPool,
    /// Only on SQLite.
    writer: Option<Writer>,
}

/// How long SQLite waits for a lock that another process (a backup, a shell) holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pages of the log after which SQLite copies them into the file, where it may.
const CHECKPOINT_PAGES: u32 = 1000;
/// How long a caller waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

impl Db {
    /// Opens the database, creating the file if there is none, and brings its tables up to date.
    ///
    /// # Errors
    /// [`DbError`] if it cannot be opened, or if its tables were made by another version than this program's past.
    pub async fn open(config: &DbConfig) -> Result<Self, DbError> {
        sqlx::any::install_default_drivers();
        if let Location::Sqlite(path) = &config.location {
            create_private(path)?;
        }
        let mut connection = connect(&config.location).await?;
        migrations::run(&mut connection, backend_of(&config.location)).await?;
        Self::with(connection, config).await
    }

    /// Opens a database beside a server that may be running: its tables are exactly those of this program, and stay as they are.
    ///
    /// # Errors
    /// [`DbError::Missing`] if there is none, [`DbError::Older`], [`DbError::Newer`] or [`DbError::ForeignMigration`] if its tables are
    /// another version's; otherwise if it cannot be opened.
    pub async fn open_existing(config: &DbConfig) -> Result<Self, DbError> {
        Self::must_have(config, Tables::Current).await?;
        Self::with(connect(&config.location).await?, config).await
    }

    /// As [`Db::open_existing`], also with tables of this program's past: for who copies them whatever they are.
    ///
    /// # Errors
    /// As [`Db::open_existing`], but never [`DbError::Older`].
    pub async fn open_to_copy(config: &DbConfig) -> Result<Self, DbError> {
        Self::must_have(config, Tables::Known).await?;
        Self::with(connect(&config.location).await?, config).await
    }

    async fn with(connection: Conn, config: &DbConfig) -> Result<Self, DbError> {
        let writer = match &config.location {
            Location::Sqlite(_) => Some(Writer::start(connection, config.location.clone())),
            Location::Postgres(_) => {
                connection.close().await?;
                None
            }
        };
        let pool = open_pool(config).await?;
        Ok(Self(Arc::new(Inner { location: config.location.clone(), pool, writer })))
    }

    /// Makes sure that there is a database with such tables, and makes and changes nothing.
    async fn must_have(config: &DbConfig, tables: Tables) -> Result<(), DbError> {
        sqlx::any::install_default_drivers();
        let place = match &config.location {
            Location::Sqlite(path) => path.display().to_string(),
            // Its address may contain a password.
            Location::Postgres(_) => "PostgreSQL".to_owned(),
        };
        if matches!(&config.location, Location::Sqlite(path) if !path.try_exists()?) {
            return Err(DbError::Missing(place));
        }
        // Not prepared as others are: that would make a write-ahead log of an empty file.
        let mut connection = connect_options(&config.location, "ro")?.connect().await?;
        let backend = backend_of(&config.location);
        let found = match (migrations::exist(&mut connection, backend).await, tables) {
            (Ok(true), Tables::Known) => migrations::are_known(&mut connection, backend).await,
            (Ok(true), Tables::Current) => migrations::are_current(&mut connection, backend).await,
            (Ok(false), _) => Err(DbError::Missing(place)),
            (Err(error), _) => Err(error),
        };
        connection.close().await?;
        found
    }

    /// Makes sure that the tables, if there are any, were made by this program's past, and makes and changes nothing.
    ///
    /// # Errors
    /// [`DbError::Newer`] or [`DbError::ForeignMigration`] if a start would be refused; otherwise if the database cannot be asked.
    pub async fn must_be_known(config: &DbConfig) -> Result<(), DbError> {
        sqlx::any::install_default_drivers();
        let mode = match &config.location {
            Location::Sqlite(path) if !path.try_exists()? => return Ok(()),
            // Without a log nothing runs and the file has everything. SQLite would make a log even to read, and leave it there.
            Location::Sqlite(path) if !log_of(path).try_exists()? => "ro&immutable=1",
            Location::Sqlite(_) | Location::Postgres(_) => "ro",
        };
        let mut connection = connect_options(&config.location, mode)?.connect().await?;
        let known = migrations::are_known(&mut connection, backend_of(&config.location)).await;
        connection.close().await?;
        known
    }

    /// Which database it is.
    #[must_use]
    pub fn backend(&self) -> Backend {
        backend_of(&self.0.location)
    }

    /// Most connections at once, as configured.
    #[must_use]
    pub fn connections(&self) -> usize {
        usize::try_from(self.0.pool.options().get_max_connections()).unwrap_or(usize::MAX)
    }

    /// The file, on SQLite.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.0.location {
            Location::Sqlite(path) => Some(path),
            Location::Postgres(_) => None,
        }
    }

    /// Lets SQLite copy its log into the file whenever it is long, as only a running server may whose log nobody ships. Others leave it to the
    /// server, or to the last who closes the database.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn checkpoint_by_itself(&self) -> Result<(), DbError> {
        if self.backend() != Backend::Sqlite {
            return Ok(());
        }
        self.write(|conn| {
            Box::pin(async move {
                let text = format!("PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}");
                conn.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(text))).await?;
                Ok(())
            })
        })
        .await
    }

    /// A connection of one's own, outside all transactions: for copying the database, not for changing it.
    ///
    /// # Errors
    /// [`DbError`] if there is none to be had.
    pub async fn connect(&self) -> Result<Conn, DbError> {
        connect(&self.0.location).await
    }

    /// A consistent snapshot of everything that was committed before.
    ///
    /// # Errors
    /// [`DbError`] if no connection becomes free.
    pub async fn read(&self) -> Result<ReadTx, DbError> {
        let transaction = match self.backend() {
            Backend::Sqlite => self.0.pool.begin().await?,
            Backend::Postgres => {
                // In a task of its own: the driver does not undo a BEGIN whose caller stops waiting, and the next one to get the connection
                // would find itself in this transaction.
                let pool = self.0.pool.clone();
                let begin = async move { pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await };
                tokio::spawn(begin).await.map_err(|_| DbError::Closed)??
            }
        };
        Ok(ReadTx(transaction))
    }

    /// Runs a job in a transaction and answers when its changes are durable. If the job returns an error, exactly its own changes are
    /// undone. The job goes on to its end even if the caller stops waiting; it may run more than once.
    ///
    /// # Errors
    /// The job's own error, or a [`DbError`] turned into one.
    pub async fn write<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, Result<T, E>> + Send + Sync + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Task::new(job, reply));
        match &self.0.writer {
            Some(writer) => writer.submit(task).await?,
            // A task of its own, because this future may be dropped at any moment.
            None => drop(tokio::spawn(run_on_postgres(self.0.pool.clone(), task))),
        }
        answer.await.unwrap_or_else(|_| Err(DbError::Closed.into()))
    }

    /// Durable commits of the writer so far; 0 on PostgreSQL.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.0.writer.as_ref().map_or(0, Writer::commits)
    }

    /// Jobs that wait for the writer; 0 on PostgreSQL.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.writer.as_ref().map_or(0, Writer::waiting)
    }

    /// Lets waiting jobs end, refuses new ones and closes the database.
    pub async fn close(&self) {
        if let Some(writer) = &self.0.writer {
            writer.close().await;
        }
        self.0.pool.close().await;
    }
}

/// A consistent snapshot. Use `&mut *tx` or `&mut tx` where a connection is wanted; it ends when dropped.
pub struct ReadTx(sqlx::Transaction<'static, sqlx::Any>);

impl Deref for ReadTx {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        &self.0
    }
}

impl DerefMut for ReadTx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.0
    }
}

const fn backend_of(location: &Location) -> Backend {
    match location {
        Location::Sqlite(_) => Backend::Sqlite,
        Location::Postgres(_) => Backend::Postgres,
    }
}

/// Creates the file, readable by its owner only; SQLite gives its side files the same mode.
fn create_private(path: &Path) -> Result<(), DbError> {
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    Ok(())
}

/// The write-ahead log beside a file.
fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

/// `mode` is what SQLite may do: `rwc` or `ro`.
fn connect_options(location: &Location, mode: &str) -> Result<AnyConnectOptions, DbError> {
    let url = match location {
        Location::Sqlite(path) => {
            let path = path.to_str().ok_or(DbError::Location("the path of the database is not UTF-8"))?;
            format!("sqlite://{}?mode={mode}", percent_encode(path))
        }
        Location::Postgres(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => url.clone(),
        Location::Postgres(_) => return Err(DbError::Location("the database URL does not begin with postgres://")),
    };
    let options: AnyConnectOptions = url.parse()?;
    // Statements are not logged: nearly a tenth of the time of a small job would go there.
    Ok(options.disable_statement_logging())
}

/// Everything but what a URL's path shows as it is.
fn percent_encode(path: &str) -> String {
    path.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

async fn connect(location: &Location) -> Result<Conn, DbError> {
    let mut connection = connect_options(location, "rwc")?.connect().await?;
    prepare(&mut connection, backend_of(location), false).await?;
    Ok(connection)
}

async fn open_pool(config: &DbConfig) -> Result<AnyPool, DbError> {
    let backend = backend_of(&config.location);
    let pool = AnyPoolOptions::new()
        .max_connections(config.connections.max(1))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A file does not hang up; a server may.
        .test_before_acquire(backend == Backend::Postgres)
        // A connection whose transaction could not be ended properly is not used again.
        .before_acquire(|connection, _| Box::pin(std::future::ready(Ok(!connection.is_in_transaction()))))
        .after_connect(move |connection, _| Box::pin(prepare(connection, backend, true)))
        .connect_with(connect_options(&config.location, "rwc")?)
        .await?;
    Ok(pool)
}

/// Settings of every connection.
async fn prepare(connection: &mut Conn, backend: Backend, reader: bool) -> Result<(), sqlx::Error> {
    if backend == Backend::Sqlite {
        let busy = BUSY_TIMEOUT.as_millis();
        let text = format!(
            "PRAGMA busy_timeout = {busy}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
             PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 0; PRAGMA query_only = {};",
            if reader { "ON" } else { "OFF" }
        );
        connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(text))).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
