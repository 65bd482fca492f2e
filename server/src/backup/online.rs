//! Complete copies of a running server's database.
//!
//! ```text
//! DIR/
//!     cyx.db           the database as of one moment, compacted, without a log
//!     backup.json      when it was made, and the BLAKE3 of the database
//!     secrets/         what else of the data folder a server cannot do without
//! ```

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sqlx::Connection as _;
use thiserror::Error;

use super::{DATABASE, copy};
use crate::db::{Backend, Db, DbError};
use crate::time::now_seconds;

/// Name of the description.
pub const MANIFEST: &str = "backup.json";
/// Folder of the secrets.
pub const SECRETS: &str = "secrets";
/// Version of the layout.
pub const FORMAT: u32 = 1;

/// What a backup says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the layout.
    pub format: u32,
    /// Unix seconds.
    pub created: u64,
    /// Bytes of the database.
    pub length: u64,
    /// BLAKE3 of the database, in hexadecimal digits.
    pub blake3: String,
}

/// Why no backup was made.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The database is a PostgreSQL server.
    #[error("only the embedded database is copied by this command: use `pg_dump` or `pg_basebackup` for PostgreSQL")]
    Postgres,
    /// The folder has something in it.
    #[error("{} is not empty: a backup gets a folder of its own", .0.display())]
    NotEmpty(PathBuf),
    /// The folder cannot be used.
    #[error("{}: {error}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Copies the database and the secrets of `data_dir` into a new or empty folder. The server goes on meanwhile.
///
/// # Errors
/// [`BackupError`]; what was written so far is not a backup, because its description is missing.
pub async fn backup(db: &Db, data_dir: &Path, folder: &Path) -> Result<Manifest, BackupError> {
    if db.backend() != Backend::Sqlite {
        return Err(BackupError::Postgres);
    }
    let failed = |error| BackupError::Folder { path: folder.to_owned(), error };
    copy::private_folder(folder).map_err(failed)?;
    if std::fs::read_dir(folder).map_err(failed)?.next().is_some() {
        return Err(BackupError::NotEmpty(folder.to_owned()));
    }
    let database = folder.join(DATABASE);
    let target = database.to_str().ok_or_else(|| failed(io::Error::other("the path is not UTF-8")))?;
    // Created first, because SQLite would make it readable for others.
    copy::empty_private_file(&database).map_err(failed)?;
    let mut conn = db.connect().await?;
    sqlx::query("VACUUM INTO $1").bind(target).execute(&mut conn).await.map_err(DbError::from)?;
    conn.close().await.map_err(DbError::from)?;
    let (folder_owned, data_dir) = (folder.to_owned(), data_dir.to_owned());
    tokio::task::spawn_blocking(move || complete(&folder_owned, &data_dir))
        .await
        .map_err(|error| failed(io::Error::other(error)))?
        .map_err(failed)
}

fn complete(folder: &Path, data_dir: &Path) -> io::Result<Manifest> {
    let database = folder.join(DATABASE);
    std::fs::File::open(&database)?.sync_all()?;
    copy::secrets(data_dir, &folder.join(SECRETS))?;
    let (length, blake3) = copy::hash(&database)?;
    let manifest = Manifest { format: FORMAT, created: now_seconds(), length, blake3 };
    let text = serde_json::to_vec_pretty(&manifest).map_err(io::Error::other)?;
    copy::write_private(&folder.join(MANIFEST), &text)?;
    copy::sync_parent(folder)?;
    Ok(manifest)
}
