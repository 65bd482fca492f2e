//! Whose changes a journal holds.
//!
//! A journal that was sealed under somebody else's key looks like a damaged one, and would be put aside as such. So a file says whose it is before
//! there is any record: by a fingerprint of the key, which leads nowhere. From a mount's first record on, and after one that left something behind,
//! it also says that something may not be sent; when everything is sent the folder is anybody's.
//!
//! ```text
//! owner: fingerprint of the mount key 32 in hexadecimal digits | "+" something may not be sent, "-" nothing | "\n"
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use cyx_crypto::keys::MountKey;

use super::format::FILE_HEADER_LEN;
use super::replay::numbered;
use super::{Journal, JournalError, disk, intents, replay, unsynced};

const NAME: &str = "owner";
/// Digits of a fingerprint.
const DIGITS: usize = 64;
const UNSENT: u8 = b'+';
const SENT: u8 = b'-';

/// How a folder was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Somebody else had it before.
    pub(super) over: bool,
    /// It says that something may not be sent.
    pub(super) claimed: bool,
}

/// Takes a folder for whoever has these keys. Nothing is changed if it may hold what somebody else has not sent.
pub(super) fn take(folder: &Path, key: &MountKey, older: &[MountKey]) -> Result<Taken, JournalError> {
    let newest = fingerprint(key);
    let foreign = || JournalError::Foreign(folder.parent().unwrap_or(folder).to_owned());
    match found(folder)? {
        None => {
            // From before there were owners.
            if replay::is_sealed_otherwise(folder, key, older)? {
                return Err(foreign());
            }
            unless_full(note(folder, &newest, UNSENT))?;
            Ok(Taken { over: false, claimed: true })
        }
        Some((owner, left)) if owner == newest || older.iter().any(|key| fingerprint(key) == owner) => {
            if owner != newest {
                unless_full(note(folder, &newest, left))?;
            }
            Ok(Taken { over: false, claimed: left != SENT })
        }
        Some((_, left)) => {
            if left != SENT && has_records(folder)? {
                return Err(foreign());
            }
            clear(folder)?;
            note(folder, &newest, SENT)?;
            Ok(Taken { over: true, claimed: false })
        }
    }
}

/// Says that something may not be sent, before the first record of a mount.
pub(super) fn claim(folder: &Path) -> Result<(), JournalError> {
    mark(folder, UNSENT)
}

impl Journal {
    /// If nothing in it is needed, the folder is anybody's from now on, and nothing is taken any more. Blocks the thread.
    ///
    /// # Errors
    /// [`JournalError::Disk`].
    pub fn end(&self) -> Result<(), JournalError> {
        {
            let mut state = self.state();
            if state.broken || state.segments.values().any(|segment| segment.pinned > 0) {
                return Ok(());
            }
            state.ended = true;
            if !state.claimed {
                return Ok(());
            }
        }
        match mark(&self.shared.folder, SENT) {
            // Its folder was removed, or its disk was full when it was to be said whose it is.
            Err(JournalError::Disk { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            marked => marked,
        }
    }
}

fn fingerprint(key: &MountKey) -> String {
    hex::encode(key.fingerprint())
}

/// What the file says, if it says anything.
fn found(folder: &Path) -> Result<Option<(String, u8)>, JournalError> {
    let path = folder.join(NAME);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(disk(&path))?,
    };
    let Some((owner, [left, b'\n'])) = bytes.split_at_checked(DIGITS) else { return Ok(None) };
    Ok(String::from_utf8(owner.to_vec()).ok().map(|owner| (owner, *left)))
}

/// Says whose it is, and whether something may not be sent.
fn note(folder: &Path, owner: &str, left: u8) -> Result<(), JournalError> {
    let (path, new) = (folder.join(NAME), folder.join("owner.new"));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(&[owner.as_bytes(), &[left, b'\n']].concat())?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(disk(&path)).inspect_err(|_| super::append::remove_unused(&new))
}

/// Says whether something may not be sent. In its place, which takes no room.
fn mark(folder: &Path, left: u8) -> Result<(), JournalError> {
    let path = folder.join(NAME);
    let write = || -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(&path)?;
        file.write_all_at(&[left], DIGITS as u64)?;
        file.sync_all()
    };
    write().map_err(disk(&path))
}

/// A full disk keeps nobody from what is their own: it could not be emptied any more.
fn unless_full(noted: Result<(), JournalError>) -> Result<(), JournalError> {
    match noted {
        Err(JournalError::Full) => {
            tracing::debug!("the disk has no room to say whose the journal is");
            Ok(())
        }
        noted => noted,
    }
}

fn has_records(folder: &Path) -> Result<bool, JournalError> {
    for ending in [replay::ENDING, intents::ENDING] {
        for (_, path) in numbered(folder, ending)? {
            if std::fs::metadata(&path).map_err(disk(&path))?.len() > FILE_HEADER_LEN as u64 {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Removes records that nobody needs.
fn clear(folder: &Path) -> Result<(), JournalError> {
    for ending in [replay::ENDING, intents::ENDING, unsynced::ENDING] {
        for (_, path) in numbered(folder, ending)? {
            std::fs::remove_file(&path).map_err(disk(&path))?;
        }
    }
    Ok(())
}
