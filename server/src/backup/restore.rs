//! A new data folder from a backup.
//!
//! The folder is made beside its final name and gets that name when everything in it was checked, so that no server ever starts on half of
//! it. The restored database gets a new incarnation: clients resync and ask their users before they go on, nodes stop emptying their
//! trash, and no keep-lists are made until an administrator resumes them.

use std::io;
use std::path::{Path, PathBuf};

use cyx_core::keeplist::Incarnation;
use sqlx::Row as _;
use thiserror::Error;

use super::generation::Generation;
use super::online::{FORMAT, MANIFEST, Manifest};
use super::replay::{ReplayError, Replayed, replay};
use super::{DATABASE, copy, online};
use crate::db::{Db, DbConfig, DbError, Location};
use crate::keys::file::must_exist;
use crate::keys::{KeyError, new_incarnation};
use crate::tokens::SECRET_FILE;

/// Most problems of a damaged database that are named.
const PROBLEMS: usize = 10;

/// Why nothing was restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// There is no backup in the folder.
    #[error("{} holds neither a backup nor shipped logs from that time or before", .0.display())]
    NoBackup(PathBuf),
    /// The backup is not what its description says.
    #[error("the backup in {} is damaged", .0.display())]
    Damaged(PathBuf),
    /// The copy has no signing keys.
    #[error(
        "{} has no signing keys under secrets/: the server would draw a new one, and nodes take its grants only once they have heard of that; \
         copy the folder once more, or pass --without-secrets"
    , .0.display())]
    NoSigningKeys(PathBuf),
    /// The copy has no secret behind tokens and codes, and none was given.
    #[error(
        "{} has no secrets/jwt.secret: with another one everybody logs in again, and authenticator apps and backup codes are worth nothing; \
         give JWT_SECRET or --jwt-secret-file if the server had that, or else pass --without-secrets"
    , .0.display())]
    NoTokenSecret(PathBuf),
    /// The new data folder exists.
    #[error("{} exists already: a restore makes a new data folder", .0.display())]
    Exists(PathBuf),
    /// `--at` names a time and the backup is of one moment.
    #[error("this backup is of one moment: --at needs shipped logs")]
    NoTimes,
    /// A file or folder cannot be used.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The pieces do not fit.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A signing key is damaged.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The restored database contradicts itself.
    #[error("the restored database is damaged: {0}")]
    Inconsistent(String),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What a copy needs to have beside the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// Signing keys, and the secret behind tokens and codes.
    All,
    /// Signing keys; that secret comes from elsewhere.
    SigningKeys,
    /// Nothing: what is missing will be drawn anew.
    Any,
}

impl Secrets {
    /// Looks whether everything came along.
    fn check(self, from: &Path, data_dir: &Path) -> Result<(), RestoreError> {
        if self == Self::Any {
            return Ok(());
        }
        match must_exist(data_dir) {
            Err(KeyError::Missing(_)) => return Err(RestoreError::NoSigningKeys(from.to_owned())),
            other => other?,
        }
        if self == Self::All && !data_dir.join(SECRET_FILE).is_file() {
            return Err(RestoreError::NoTokenSecret(from.to_owned()));
        }
        Ok(())
    }
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The state of the database is that of this time, in Unix milliseconds.
    pub until: u64,
    /// What was replayed, if it came from shipped logs.
    pub replayed: Option<Replayed>,
    /// The new incarnation.
    pub incarnation: Incarnation,
}

/// Makes a new data folder from the backup or the shipped logs in `from`, as of `at` (Unix milliseconds) or the newest.
///
/// # Errors
/// [`RestoreError`]; nothing is left behind then.
pub async fn restore(
    from: &Path,
    at: Option<u64>,
    data_dir: &Path,
    secrets: Secrets,
) -> Result<Restored, RestoreError> {
    if data_dir.symlink_metadata().is_ok() {
        return Err(RestoreError::Exists(data_dir.to_owned()));
    }
    let unfinished = beside(data_dir);
    let outcome = restore_into(from, at, &unfinished, secrets).await;
    match outcome {
        Ok(restored) => {
            std::fs::rename(&unfinished, data_dir)
                .and_then(|()| copy::sync_parent(data_dir))
                .map_err(failed(data_dir))?;
            Ok(restored)
        }
        Err(error) => {
            if let Err(error) = std::fs::remove_dir_all(&unfinished) {
                tracing::debug!(%error, "nothing to clear away");
            }
            Err(error)
        }
    }
}

fn beside(data_dir: &Path) -> PathBuf {
    let mut name = data_dir.file_name().unwrap_or_default().to_owned();
    name.push(format!(".restoring-{}", std::process::id()));
    data_dir.with_file_name(name)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> RestoreError + Clone {
    let path = path.to_owned();
    move |error| RestoreError::File { path: path.clone(), error }
}

async fn restore_into(
    from: &Path,
    at: Option<u64>,
    data_dir: &Path,
    secrets: Secrets,
) -> Result<Restored, RestoreError> {
    let (source, target) = (from.to_owned(), data_dir.to_owned());
    let copied = tokio::task::spawn_blocking(move || copy_back(&source, at, &target));
    let (until, replayed) = copied.await.map_err(io::Error::other).map_err(failed(from))??;
    secrets.check(from, data_dir)?;
    let location = Location::Sqlite(data_dir.join(DATABASE));
    let db = Db::open(&DbConfig { location, connections: 1 }).await?;
    check(&db).await?;
    let incarnation = db.write(|conn| Box::pin(new_incarnation(conn))).await?;
    db.close().await;
    Ok(Restored { until, replayed, incarnation })
}

fn copy_back(from: &Path, at: Option<u64>, data_dir: &Path) -> Result<(u64, Option<Replayed>), RestoreError> {
    copy::private_folder(data_dir).map_err(failed(data_dir))?;
    if from.join(MANIFEST).is_file() {
        if at.is_some() {
            return Err(RestoreError::NoTimes);
        }
        return Ok((from_backup(from, data_dir)?, None));
    }
    let replayed = from_logs(from, at.unwrap_or(u64::MAX), data_dir)?;
    Ok((replayed.until, Some(replayed)))
}

fn from_backup(from: &Path, data_dir: &Path) -> Result<u64, RestoreError> {
    let damaged = || RestoreError::Damaged(from.to_owned());
    let text = std::fs::read(from.join(MANIFEST)).map_err(failed(from))?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|_| damaged())?;
    let target = data_dir.join(DATABASE);
    copy::file(&from.join(DATABASE), &target).map_err(failed(from))?;
    let (length, blake3) = copy::hash(&target).map_err(failed(&target))?;
    if manifest.format != FORMAT || manifest.length != length || manifest.blake3 != blake3 {
        return Err(damaged());
    }
    copy::secrets(&from.join(online::SECRETS), data_dir).map_err(failed(from))?;
    Ok(manifest.created.saturating_mul(1000))
}

fn from_logs(from: &Path, until: u64, data_dir: &Path) -> Result<Replayed, RestoreError> {
    let generations = Generation::list(from).map_err(failed(from))?;
    let generation = generations.into_iter().rfind(|generation| generation.began <= until);
    let generation = generation.ok_or_else(|| RestoreError::NoBackup(from.to_owned()))?;
    let target = data_dir.join(DATABASE);
    copy::file(&generation.base(), &target).map_err(failed(&generation.folder))?;
    copy::secrets(&generation.secrets(), data_dir).map_err(failed(&generation.folder))?;
    let replayed = replay(&generation.wal(), &target, until)?;
    Ok(Replayed { until: replayed.until.max(generation.began), ..replayed })
}

/// Lets SQLite look through everything.
async fn check(db: &Db) -> Result<(), RestoreError> {
    let mut read = db.read().await?;
    let rows = sqlx::query("PRAGMA integrity_check").fetch_all(&mut *read).await.map_err(DbError::from)?;
    let mut problems: Vec<String> = Vec::new();
    for row in &rows {
        let line: String = row.try_get(0).map_err(DbError::from)?;
        if line != "ok" {
            problems.push(line);
        }
    }
    let broken = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut *read).await.map_err(DbError::from)?;
    if !broken.is_empty() {
        problems.push(format!("{} rows refer to others that do not exist", broken.len()));
    }
    problems.truncate(PROBLEMS);
    if problems.is_empty() { Ok(()) } else { Err(RestoreError::Inconsistent(problems.join("; "))) }
}
