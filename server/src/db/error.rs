//! What goes wrong below the SQL.

use thiserror::Error;

/// A failure of the database. Callers of the server never see its text.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DbError {
    /// The database refused or could not do a statement.
    #[error("database: {0}")]
    Sql(#[source] sqlx::Error),
    /// A group of jobs could not be made durable; none of it happened.
    #[error("the transaction could not be made durable: {0}")]
    Commit(String),
    /// A folder or file of the database cannot be made.
    #[error("the database file cannot be created: {0}")]
    File(#[from] std::io::Error),
    /// Nothing was ever made at this place, and the caller does not make it.
    #[error("{0}: there is no database of cyx-server; only starting the server makes one")]
    Missing(String),
    /// The database's address makes no sense.
    #[error("{0}")]
    Location(&'static str),
    /// The tables were made by something else than this program's past.
    #[error(
        "migration {number:04} of this database is not one of this program: use the version of cyx-server that ran it"
    )]
    ForeignMigration {
        /// Number of the migration.
        number: i64,
    },
    /// The tables are those of a later version.
    #[error(
        "the database is newer than this program (migration {number:04}): use the version of cyx-server that made it so"
    )]
    Newer {
        /// Number of a migration that this program does not have.
        number: i64,
    },
    /// The tables are those of an earlier version, and the caller does not change them.
    #[error(
        "the database is older than this program (no migration {number:04}): start the server of this version once, or use the version of \
         cyx-server that belongs to the database"
    )]
    Older {
        /// Number of the first migration that was not run.
        number: i64,
    },
    /// A row holds what no version of this program writes.
    #[error("the database holds an impossible value: {0}")]
    Corrupt(&'static str),
    /// A job ended by a panic; its changes were undone.
    #[error("a job of the database panicked")]
    Panicked,
    /// The server is stopping.
    #[error("the database is closed")]
    Closed,
}

tokio::task_local! {
    /// Whether the running PostgreSQL job met an error after which the whole job should be repeated. A job's own error type says
    /// nothing about that, and every error of a statement passes through the conversion below.
    pub(super) static REPEAT: std::cell::Cell<bool>;
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        if is_repeatable(&error) {
            // Outside a PostgreSQL job there is nothing to tell.
            let _ = REPEAT.try_with(|repeat| repeat.set(true));
        }
        Self::Sql(error)
    }
}

/// Serialization failure or deadlock.
fn is_repeatable(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "40001" || code == "40P01")
}

impl DbError {
    /// Whether a unique key was violated: what was to be inserted is there already.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        let Self::Sql(error) = self else { return false };
        error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
    }
}
