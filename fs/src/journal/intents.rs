//! Commits that are on their way, beside the journal: they have to be durable before the server is asked, and that must not wait for
//! everything that was written meanwhile. A file of records as the journal's own, of intents alone and in an order of its own, small enough to
//! be begun anew now and then. At the next start they become records of the journal.
//!
//! Which versions of a file this machine has made itself is remembered for as long as somebody watches it, over the end of a commit and of the
//! process: whoever is about to take the last name of a file can tell a version of another machine from one of its own.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cyx_core::extent::PageId;
use cyx_core::ids::{TxnId, random_bytes};
use cyx_crypto::keys::MountKey;
use cyx_crypto::mount::RecordCipher;
use cyx_crypto::mount::salvage::salvage;

use super::damaged_read::read_whole;
use super::format::{self, FILE_HEADER_LEN, FileId, Intent, Record};
use super::replay::numbered;
use super::{Journal, JournalError, ReplayedFile, Shared, disk};

/// Files of intents end with this, after a number as the journal's have.
pub(super) const ENDING: &str = "intents";
/// Bytes after which another file is begun with what is still on its way.
const ANEW: u64 = 256 * 1024;
/// Longest file that is read.
const FILE_MAX: u64 = 64 << 20;

/// Commits that are remembered of a file that is watched, besides those on their way. Only the newest are of use: later versions are built on
/// earlier ones.
const REMEMBERED: usize = 256;

/// Of commits of a file whose answer is not known, so many of the first and of the newest are kept. Each attempt adds one while the server is
/// away; most probably it was one of these that arrived.
const FIRST: usize = 8;
const NEWEST: usize = 248;

/// Bounds commits of a file whose answer is not known.
pub(crate) fn bound(intents: &mut Vec<Intent>) {
    if intents.len() > FIRST + NEWEST {
        intents.drain(FIRST..intents.len() - NEWEST);
    }
}

/// Commits on their way, and those that are remembered.
#[derive(Default)]
pub(super) struct Intents {
    known: Arc<Mutex<Known>>,
    log: Arc<tokio::sync::Mutex<Option<Log>>>,
}

#[derive(Default)]
struct Known {
    /// On their way.
    live: HashMap<FileId, Vec<Intent>>,
    /// Of files that are watched.
    watched: HashMap<FileId, Watched>,
    /// Of earlier runs. They may be of files that will be watched.
    earlier: HashMap<FileId, Vec<Intent>>,
}

#[derive(Default)]
struct Watched {
    watches: u32,
    ended: Vec<Intent>,
}

impl Known {
    /// Everything that another file of intents has to begin with.
    fn all(&self) -> Vec<Intent> {
        let watched = self.watched.values().flat_map(|watched| &watched.ended);
        self.live.values().flatten().chain(watched).chain(self.earlier.values().flatten()).copied().collect()
    }
}

/// While it lives, the commits of a file are remembered.
#[derive(Debug)]
pub struct Watch {
    file: FileId,
    known: Arc<Mutex<Known>>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Known")
    }
}

impl Watch {
    /// Whether this machine was about to make exactly this version, since the watch began or before: on its way then, or in an earlier run.
    #[must_use]
    pub fn made(&self, version: u64, root: PageId) -> bool {
        let known = lock(&self.known);
        let live = known.live.get(&self.file).into_iter().flatten();
        let ended = known.watched.get(&self.file).into_iter().flat_map(|watched| &watched.ended);
        live.chain(ended).any(|intent| (intent.version, intent.root) == (version, root))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut known = lock(&self.known);
        if let Some(watched) = known.watched.get_mut(&self.file) {
            watched.watches -= 1;
            if watched.watches == 0 {
                known.watched.remove(&self.file);
            }
        }
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file that is appended to.
struct Log {
    path: PathBuf,
    file: File,
    cipher: RecordCipher,
    len: u64,
    /// With what it began.
    begun: u64,
    sequence: u64,
}

impl Journal {
    /// Notes durably what is about to be committed.
    ///
    /// # Errors
    /// [`JournalError::Disk`], [`JournalError::Full`].
    pub async fn intend(&self, intents: Vec<Intent>) -> Result<(), JournalError> {
        if intents.is_empty() {
            return Ok(());
        }
        let mut log = Arc::clone(&self.shared.intents.log).lock_owned().await;
        let all: Vec<Intent> = {
            let mut known = lock(&self.shared.intents.known);
            for intent in &intents {
                let of_file = known.live.entry(intent.file).or_default();
                of_file.push(*intent);
                bound(of_file);
            }
            known.all()
        };
        let has_room = |log: &Log| log.len < ANEW.max(2 * log.begun);
        let journal = self.clone();
        let writing = tokio::task::spawn_blocking(move || {
            let Shared { folder, key, .. } = &*journal.shared;
            journal.at_any_rate(|| {
                // One whose write fails is not appended to again.
                let next = match log.take() {
                    Some(mut log) if has_room(&log) => log.append(&intents).map(|()| log)?,
                    _ => {
                        let before = numbered(folder, ENDING)?;
                        if !before.is_empty() {
                            // What is not in the next file any more is known from records of the journal, of which a power cut must leave them.
                            journal.sync_blocking()?;
                        }
                        Log::begin(folder, key, before, &all)?
                    }
                };
                *log = Some(next);
                Ok(())
            })
        });
        writing.await.unwrap_or_else(|_| Err(disk(&self.shared.folder)(io::Error::other("the work was cut off"))))
    }

    /// What became of a file's commits up to a record is known.
    pub fn intended(&self, file: FileId, upto: u64) {
        let mut known = lock(&self.shared.intents.known);
        let Known { live, watched, .. } = &mut *known;
        let Some(intents) = live.get_mut(&file) else { return };
        let ended = intents.extract_if(.., |intent| intent.upto <= upto);
        match watched.get_mut(&file) {
            Some(watched) => {
                watched.ended.extend(ended);
                let most = watched.ended.len().saturating_sub(REMEMBERED);
                watched.ended.drain(..most);
            }
            None => ended.for_each(drop),
        }
        if intents.is_empty() {
            live.remove(&file);
        }
    }

    /// Remembers the commits of a file from now on, those that are on their way among them.
    #[must_use]
    pub fn watch(&self, file: FileId) -> Watch {
        let mut known = lock(&self.shared.intents.known);
        let earlier = known.earlier.remove(&file).unwrap_or_default();
        let watched = known.watched.entry(file).or_default();
        watched.watches += 1;
        watched.ended.extend(earlier);
        Watch { file, known: Arc::clone(&self.shared.intents.known) }
    }

    /// Forgets commits of earlier runs, except of files that will be watched.
    pub fn forget_intents(&self, except: impl Fn(&FileId) -> bool) {
        lock(&self.shared.intents.known).earlier.retain(|file, _| except(file));
    }

    /// Commits that were on their way when an earlier run ended become records of the journal. With `remember` they are kept besides, until
    /// they are forgotten. Blocks the thread.
    pub(super) fn take_over_intents(
        &self,
        older: &[MountKey],
        replayed: &mut [ReplayedFile],
        remember: bool,
    ) -> Result<(), JournalError> {
        let folder = &self.shared.folder;
        let files = numbered(folder, ENDING)?;
        if files.is_empty() && !remember {
            return Ok(());
        }
        let mut found = Vec::new();
        for (_, path) in &files {
            found.extend(read(path, &self.shared.key, older)?);
        }
        // A power cut may have taken the newest records that they name; whatever is written from now on is behind them all the same.
        let newest = self.newest();
        for file in replayed.iter_mut() {
            let base = (file.base.file, file.base.version, file.base.upto);
            let is_open = |intent: &&Intent| intent.file == base.0 && intent.version > base.1 && intent.upto > base.2;
            let known: Vec<TxnId> = file.intents.iter().map(|(_, intent)| intent.txn).collect();
            for intent in found.iter().filter(is_open).filter(|intent| !known.contains(&intent.txn)) {
                let intent = Intent { upto: intent.upto.min(newest), ..*intent };
                file.intents.push((self.append_now(&Record::Intent(intent))?, intent));
            }
        }
        self.sync_blocking()?;
        if remember {
            let of_records = replayed.iter().flat_map(|file| &file.intents).map(|(_, intent)| *intent);
            found.extend(of_records.collect::<Vec<_>>());
            self.remember(found, files.last().map_or(1, |(last, _)| last + 1))?;
        }
        for (_, path) in &files {
            std::fs::remove_file(path).map_err(disk(path))?;
        }
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk(folder))
    }

    /// Begins a file with the commits of earlier runs, before the ones that they are in go.
    fn remember(&self, found: Vec<Intent>, number: u64) -> Result<(), JournalError> {
        let Shared { folder, key, intents, .. } = &*self.shared;
        let mut known = lock(&intents.known);
        for intent in found {
            let of_file = known.earlier.entry(intent.file).or_default();
            if !of_file.iter().any(|other| other.txn == intent.txn) {
                of_file.push(intent);
            }
        }
        let all = known.all();
        drop(known);
        let log = self.at_any_rate(|| Log::create(folder, key, number, &all))?;
        if let Ok(mut place) = intents.log.try_lock() {
            *place = Some(log);
        }
        Ok(())
    }
}

impl Log {
    /// Begins a file with everything that is remembered, in the place of those before, also of one whose write failed.
    fn begin(
        folder: &Path,
        key: &MountKey,
        before: Vec<(u64, PathBuf)>,
        intents: &[Intent],
    ) -> Result<Self, JournalError> {
        let log = Self::create(folder, key, before.last().map_or(1, |(last, _)| last + 1), intents)?;
        for (_, path) in before {
            std::fs::remove_file(&path).map_err(disk(&path))?;
        }
        Ok(log)
    }

    fn create(folder: &Path, key: &MountKey, number: u64, intents: &[Intent]) -> Result<Self, JournalError> {
        let (path, id) = (folder.join(format!("{number:016x}.{ENDING}")), random_bytes());
        let create = || -> io::Result<File> {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all_at(&format::file_header(&id, 1), 0)?;
            Ok(file)
        };
        let begin = |file: File| {
            let cipher = RecordCipher::new(key, &id);
            let mut log = Self { path: path.clone(), file, cipher, len: FILE_HEADER_LEN as u64, begun: 0, sequence: 1 };
            log.append(intents)?;
            log.begun = log.len;
            // Its name has to be durable before the others go: a power cut in between must not take all.
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk(folder))?;
            Ok(log)
        };
        // What is not begun after all would take room each time that it is tried.
        create().map_err(disk(&path)).and_then(begin).inspect_err(|_| super::append::remove_unused(&path))
    }

    fn append(&mut self, intents: &[Intent]) -> Result<(), JournalError> {
        let mut bytes = Vec::new();
        for intent in intents {
            let sealed = format::seal(&self.cipher, self.sequence, &Record::Intent(*intent));
            bytes.extend(sealed.ok_or(JournalError::Full)?);
            self.sequence += 1;
        }
        let written = self.file.write_all_at(&bytes, self.len).and_then(|()| self.file.sync_data());
        written.map_err(disk(&self.path))?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

/// The intents of a file, as far as they became durable.
fn read(path: &Path, key: &MountKey, older: &[MountKey]) -> Result<Vec<Intent>, JournalError> {
    let bytes = read_whole(path, FILE_MAX).map_err(disk(path))?;
    let records = std::iter::once(key).chain(older).find_map(|key| {
        let found = salvage(&bytes, |id| RecordCipher::new(key, id)).ok()?;
        (!found.records.is_empty()).then_some(found.records)
    });
    let intent = |record| if let Record::Intent(intent) = record { Some(intent) } else { None };
    Ok(records.into_iter().flatten().filter_map(|found| intent(found.record)).collect())
}
