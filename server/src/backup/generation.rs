//! The folder that the write-ahead log is shipped to.
//!
//! ```text
//! DIR/generations/<Unix ms, 16 digits>-<random>/
//!     base.db          a copy of the database file; a generation without it was never finished and is worth nothing
//!     secrets/         what else of the data folder a server cannot do without
//!     wal/             pieces of the log, to be replayed onto the copy from the beginning
//! ```
//! The copy alone has only what was checkpointed. Until the pieces behind it have everything that was committed it is called `base.copy` and
//! the generation is unfinished; then the folder gets the time of the newest of them, and the copy its name.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use cyx_core::ids::random_bytes;

use super::end::Stamp;
use super::{copy, piece};

const FOLDER: &str = "generations";
/// The copy of the database file.
pub const BASE: &str = "base.db";
/// What it is called until the generation is finished.
const COPY: &str = "base.copy";
/// Folder of the secrets.
pub const SECRETS: &str = "secrets";
const WAL: &str = "wal";

/// One generation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation {
    /// Unix milliseconds. Every state from then on can be had from it; while it is unfinished, when it was begun.
    pub began: u64,
    /// Its folder.
    pub folder: PathBuf,
}

impl Generation {
    /// Makes an empty one, at `now` in Unix milliseconds.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(root: &Path, now: u64) -> io::Result<Self> {
        // The last one is the newest even if the clock was set back.
        let began = Self::list_all(root)?.last().map_or(now, |last| now.max(last.began.saturating_add(1)));
        let folder = root.join(FOLDER).join(format!("{began:016}-{}", hex::encode(random_bytes::<4>())));
        let generation = Self { began, folder };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(generation.wal())?;
        fs::File::open(root.join(FOLDER))?.sync_all()?;
        Ok(generation)
    }

    /// The finished ones, the oldest first.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn list(root: &Path) -> io::Result<Vec<Self>> {
        Ok(Self::list_all(root)?.into_iter().filter(Self::is_finished).collect())
    }

    fn list_all(root: &Path) -> io::Result<Vec<Self>> {
        let entries = match fs::read_dir(root.join(FOLDER)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let folder = entry?.path();
            let name = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('-'));
            if let Some(began) = name.and_then(|(began, _)| began.parse().ok()) {
                found.push(Self { began, folder });
            }
        }
        found.sort();
        Ok(found)
    }

    /// The copy of the database file.
    #[must_use]
    pub fn base(&self) -> PathBuf {
        self.folder.join(BASE)
    }

    /// Folder of the pieces.
    #[must_use]
    pub fn wal(&self) -> PathBuf {
        self.folder.join(WAL)
    }

    /// Folder of the secrets.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.folder.join(SECRETS)
    }

    fn is_finished(&self) -> bool {
        self.base().is_file()
    }

    /// Copies the secrets and the database file, which is open as `file`, and returns how the file was before. If it is like that still when
    /// the log is read, nothing was written to it meanwhile, and the log has everything that the copy lacks.
    ///
    /// # Errors
    /// Those of the file system; if the file changes just now.
    pub fn fill(&self, database: &Path, file: &fs::File, data_dir: &Path) -> io::Result<Stamp> {
        copy::secrets(data_dir, &self.secrets())?;
        let stamp = Stamp::still(database)?;
        copy::opened(file, &self.folder.join(COPY))?;
        Ok(stamp)
    }

    /// Finishes a generation whose pieces have everything that was committed. It gets another folder, even if this fails; it can be
    /// repeated.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn complete(&mut self) -> io::Result<()> {
        let pieces = piece::list(&self.wal())?;
        self.began = pieces.iter().map(|(head, _)| head.time).fold(self.began, u64::max);
        let name = self.folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('-'));
        let (Some(root), Some((_, random))) = (self.folder.parent(), name) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let folder = root.join(format!("{:016}-{random}", self.began));
        fs::rename(&self.folder, &folder)?;
        let parent = fs::File::open(root);
        self.folder = folder;
        parent?.sync_all()?;
        if !self.is_finished() {
            fs::rename(self.folder.join(COPY), self.base())?;
        }
        fs::File::open(&self.folder)?.sync_all()
    }

    /// When the newest piece was shipped, in Unix milliseconds; the beginning if there is none.
    ///
    /// # Errors
    /// As [`piece::list`].
    pub fn newest(&self) -> io::Result<u64> {
        Ok(piece::list(&self.wal())?.last().map_or(self.began, |(head, _)| head.time))
    }
}

/// Removes generations that were succeeded before `before` (Unix milliseconds), but never the newest finished one nor the one before it, and
/// what was never finished and is older than the newest. How many.
///
/// # Errors
/// Those of the file system.
pub fn prune(root: &Path, before: u64) -> io::Result<usize> {
    let all = Generation::list_all(root)?;
    let finished: Vec<&Generation> = all.iter().filter(|generation| generation.is_finished()).collect();
    let Some(newest) = finished.last() else { return Ok(0) };
    let mut removed = 0;
    for generation in all.iter().filter(|generation| generation.began < newest.began) {
        let successor = finished.iter().position(|other| *other == generation).map(|at| at + 1);
        let is_old = match successor {
            Some(successor) => successor + 1 < finished.len() && finished[successor].began < before,
            None => true,
        };
        if is_old {
            fs::remove_dir_all(&generation.folder)?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_unfinished_generations_go_and_two_always_stay() {
        let dir = tempfile::tempdir().unwrap();
        let made: Vec<Generation> = (1..=5).map(|time| Generation::create(dir.path(), time * 10).unwrap()).collect();
        for generation in [0, 1, 3].map(|at: usize| &made[at]) {
            fs::write(generation.base(), b"x").unwrap();
        }
        assert_eq!(Generation::list(dir.path()).unwrap(), [0, 1, 3].map(|at: usize| made[at].clone()));
        // The third was never finished; the fifth may yet be; the first was succeeded by the second at 20.
        assert_eq!(prune(dir.path(), 20).unwrap(), 1);
        assert!(!made[2].folder.exists() && made[4].folder.exists() && made[0].folder.exists());
        assert_eq!(prune(dir.path(), 1000).unwrap(), 1);
        assert_eq!(Generation::list(dir.path()).unwrap(), [1, 3].map(|at: usize| made[at].clone()));
        assert_eq!(prune(Path::new("/nonexistent"), 5).unwrap(), 0);
    }

    #[test]
    fn a_generation_counts_when_it_is_complete_and_from_its_newest_piece_on() {
        let dir = tempfile::tempdir().unwrap();
        let (root, data) = (dir.path().join("shipped"), dir.path().join("data"));
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("db"), b"content").unwrap();
        let mut made = Generation::create(&root, 10).unwrap();
        let file = fs::File::open(data.join("db")).unwrap();
        made.fill(&data.join("db"), &file, &data).unwrap();
        piece::write(&made.wal(), piece::Head { log: 0, offset: 0, time: 17 }, b"piece").unwrap();
        assert_eq!(Generation::list(&root).unwrap(), []);
        made.complete().unwrap();
        made.complete().unwrap();
        assert_eq!((made.began, Generation::list(&root).unwrap()), (17, vec![made.clone()]));
        assert_eq!(fs::read(made.base()).unwrap(), b"content");
        // A clock that was set back makes none that is older than it.
        assert_eq!(Generation::create(&root, 3).unwrap().began, 18);
    }
}
