//! Room on the disk for what sets room free.
//!
//! On a full disk nothing could be noted any more, not even that something is not needed any more, and so nothing would ever be removed.
//! Therefore files without content have some room beside the journal. When the disk is full they are given up, for records that set room free and
//! for commits on their way alone: nothing else is taken before they have their room again.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::{Errno, retry_on_intr};

use super::{Journal, JournalError, State};

/// A full disk may have no room for another name either: one for a file of the journal, one for its mark, and one for commits on their way.
const NAMES: [&str; 3] = ["reserve", "reserve.mark", "reserve.intents"];
/// To note of a file of the journal that nothing in it is needed any more takes less than this part of it.
const PART: u64 = 4;
/// There has to be so much more room than is asked for before it is tried: filesystems need some of their own.
const SLACK: u64 = 64 << 10;

/// The room, and whether the disk has any other.
#[derive(Default)]
pub(super) struct Reserve {
    folder: PathBuf,
    bytes: u64,
    is_kept: bool,
    is_disk_full: bool,
}

impl Reserve {
    /// Of a journal with files of so many bytes.
    pub(super) fn new(folder: &Path, file: u64) -> Self {
        let mut reserve = Self { folder: folder.to_owned(), bytes: file.div_ceil(PART), ..Self::default() };
        reserve.keep();
        reserve
    }

    fn keep(&mut self) {
        let allocate = || -> io::Result<()> {
            for (name, bytes) in NAMES.iter().zip([self.bytes, 0, 0]) {
                let mut options = OpenOptions::new();
                options.create(true).truncate(false).write(true).mode(0o600);
                let file = options.open(self.folder.join(name))?;
                if bytes > 0 {
                    retry_on_intr(|| fallocate(&file, FallocateFlags::KEEP_SIZE, 0, bytes))?;
                }
            }
            Ok(())
        };
        let kept = allocate();
        self.is_kept = kept.is_ok();
        self.is_disk_full = kept.as_ref().is_err_and(is_full);
        if let Err(error) = kept {
            tracing::debug!(%error, "there is no room beside the journal");
            self.remove();
        }
    }

    fn remove(&self) {
        for name in NAMES {
            match std::fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::debug!(%error, "the room beside the journal stays");
                }
                _ => {}
            }
        }
    }

    /// The disk was full.
    pub(super) fn note_full(&mut self) {
        self.is_disk_full = true;
    }

    /// Gives it up because the disk is full. Whether there was any.
    fn give_up(&mut self) -> bool {
        self.note_full();
        let was_kept = std::mem::take(&mut self.is_kept);
        if was_kept {
            self.remove();
        }
        was_kept
    }

    pub(super) fn is_disk_full(&self) -> bool {
        self.is_disk_full
    }

    /// Whether the disk may have room for so many bytes of what is new.
    pub(super) fn has_disk(&mut self, bytes: u64) -> bool {
        if self.is_disk_full {
            let missing = if self.is_kept { 0 } else { self.bytes };
            if free_bytes(&self.folder).is_some_and(|free| free < missing + bytes + SLACK) {
                return false;
            }
            self.keep();
        }
        !self.is_disk_full
    }
}

impl Journal {
    /// Does what sets room free: on a full disk again with the room that is kept for that.
    pub(super) fn at_any_rate<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let done = match attempt() {
            Err(JournalError::Full) if self.state().reserve.give_up() => attempt(),
            done => done,
        };
        if matches!(done, Err(JournalError::Full)) {
            // Nobody may be writing who asks for room, and without some nothing is committed that would set it free.
            self.shared.hungry.notify_one();
        }
        done
    }

    /// Does what is new. A full disk is as a full journal: room may be set free.
    pub(super) fn if_disk_has_room<T>(
        state: &mut State,
        bytes: u64,
        write: impl FnOnce(&mut State) -> Result<T, JournalError>,
    ) -> Result<Option<T>, JournalError> {
        if !state.reserve.has_disk(bytes) {
            return Ok(None);
        }
        match write(state) {
            Err(JournalError::Full) => {
                state.reserve.note_full();
                Ok(None)
            }
            done => done.map(Some),
        }
    }

    /// Whether the disk was full when something was last written to it.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.state().reserve.is_disk_full()
    }
}

/// Whether this says that the disk, or what this user may have of it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::NOSPC | Errno::DQUOT))
}

/// Bytes of the disk that this user may still have.
fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = statvfs(folder).ok()?;
    let blocks = if rustix::process::geteuid().is_root() { stat.f_bfree } else { stat.f_bavail };
    Some(blocks.saturating_mul(stat.f_frsize))
}
