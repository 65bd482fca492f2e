//! Replaying shipped pieces onto a copy of a database file.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::piece::{self, Head};
use super::wal::{Cursor, HEADER_LEN, Header, WalError};

/// Why pieces cannot be replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The file system.
    #[error("{}: {error}", path.display())]
    File {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A piece is missing.
    #[error("a piece before {} is missing; everything up to {} is there: restore with --at", path.display(), crate::time::rfc3339(until_ns(*until)))]
    Gap {
        /// The first one behind the gap.
        path: PathBuf,
        /// Unix milliseconds of the last one before it.
        until: u64,
    },
    /// A piece does not continue the one before.
    #[error("{} is damaged; everything up to {} is good: restore with --at", path.display(), crate::time::rfc3339(until_ns(*until)))]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Unix milliseconds of the last good one.
        until: u64,
    },
}

fn until_ns(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX / 1_000_000).saturating_mul(1_000_000)
}

/// What was replayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Pieces.
    pub pieces: u64,
    /// Commits.
    pub commits: u64,
    /// Unix milliseconds at which the last piece was shipped; 0 if there was none.
    pub until: u64,
}

/// Replays the pieces of `folder` that were shipped at `until` (Unix milliseconds) or before onto `database`.
///
/// # Errors
/// [`ReplayError`]; the database is then worth nothing.
pub fn replay(folder: &Path, database: &Path, until: u64) -> Result<Replayed, ReplayError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| ReplayError::File { path, error }
    };
    let file = fs::OpenOptions::new().write(true).open(database).map_err(failed(database))?;
    let mut done = Replayed::default();
    let mut place: Option<(u64, Cursor)> = None;
    let pieces = piece::list(folder).map_err(failed(folder))?;
    for (head, path) in pieces.into_iter().take_while(|(head, _)| head.time <= until) {
        let from = expect(head, place).ok_or_else(|| ReplayError::Gap { path: path.clone(), until: done.until })?;
        let damaged = || ReplayError::Damaged { path: path.clone(), until: done.until };
        let (_, bytes) = piece::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => damaged(),
            _ => failed(&path)(error),
        })?;
        let (cursor, frames) = open(from, &bytes).ok_or_else(damaged)?;
        let (end, commits) = apply(&file, cursor, frames).map_err(failed(database))?.ok_or_else(damaged)?;
        done = Replayed { pieces: done.pieces + 1, commits: done.commits + commits, until: head.time };
        place = Some((head.log, end));
    }
    file.sync_all().map_err(failed(database))?;
    Ok(done)
}

/// Where a piece begins.
#[derive(Clone, Copy)]
enum From {
    /// With the header of a life of the log.
    Header,
    /// Behind the piece before.
    Cursor(Cursor),
}

/// Checks that a piece comes next.
fn expect(head: Head, place: Option<(u64, Cursor)>) -> Option<From> {
    match place {
        Some((log, cursor)) if head.log == log && head.offset == cursor.offset() => Some(From::Cursor(cursor)),
        Some((log, _)) if head.log == log + 1 && head.offset == 0 => Some(From::Header),
        None if head.log == 0 && head.offset == 0 => Some(From::Header),
        _ => None,
    }
}

fn open(from: From, bytes: &[u8]) -> Option<(Cursor, &[u8])> {
    match from {
        From::Cursor(cursor) => Some((cursor, bytes)),
        From::Header => {
            let (header, frames) = bytes.split_first_chunk::<HEADER_LEN>()?;
            let header: Result<Header, WalError> = Header::parse(header);
            Some((Cursor::start(header.ok()?), frames))
        }
    }
}

/// Writes the pages of all frames to their places. `None` if the bytes are not frames up to a commit.
fn apply(file: &fs::File, from: Cursor, frames: &[u8]) -> io::Result<Option<(Cursor, u64)>> {
    let (committed, _) = from.committed(frames);
    if committed != frames.len() || frames.is_empty() {
        return Ok(None);
    }
    let (mut cursor, mut at, mut commits) = (from, 0, 0);
    let page_size = u64::from(from.header().page_size);
    while let Some(frame) = frames.get(at..).and_then(|rest| cursor.take(rest)) {
        at += from.header().frame_len();
        file.write_all_at(frame.content, (u64::from(frame.page) - 1) * page_size)?;
        if let Some(pages) = frame.commit {
            commits += 1;
            file.set_len(u64::from(pages) * page_size)?;
        }
    }
    Ok(Some((cursor, commits)))
}
