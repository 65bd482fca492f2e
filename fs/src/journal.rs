//! The journal of a mount: everything that was promised to programs and is not committed yet, encrypted, in the order in which it
//! happened.
//!
//! Records are only appended, to files of some megabytes each. A record is *pinned* until its owner releases it; a file is removed
//! when nothing in it and before it is pinned, always the oldest first and only after what made it superfluous is durable. So what
//! is found at the next start is the end of the journal without a gap. A torn end is what a power cut leaves, and is left out, with what
//! is behind it.
//!
//! | module | what it does |
//! |---|---|
//! | `append`, `write_cache` | records to the end of the journal; the last long writes in memory as well |
//! | `blocking` | whether a thread may wait for the disk itself |
//! | `unsynced` | marks of files of which nothing was promised yet |
//! | `removal`, `reserve` | files that nothing needs go; room for what sets room free |
//! | `replay`, `damaged_read` | what a journal says at the next start, also on a disk that lost a part of it |
//! | `intents` | commits that are on their way |
//! | `owner` | whose changes these are |

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cyx_crypto::keys::MountKey;
use cyx_crypto::mount::RecordCipher;
use thiserror::Error;
use tokio::sync::Notify;

mod append;
pub(crate) mod blocking;
mod damaged_read;
mod intents;
mod owner;
mod removal;
mod replay;
mod reserve;
#[cfg(test)]
mod tests;
mod unsynced;
mod write_cache;

pub use append::Room;
pub use cyx_crypto::mount::format::{self, Base, FileId, Intent, PlainRecord, Record, Share};
pub use intents::Watch;
pub(crate) use intents::bound;
pub use replay::{Change, Replayed, ReplayedFile};

use format::RECORD_OVERHEAD;
use reserve::Reserve;
use write_cache::WriteCache;

/// So many bytes are durable after about as long as one is.
const QUICK: u64 = 256 << 10;
/// How often is looked whether the lock was let go of.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Why the journal did not take or give something.
#[derive(Debug, Error)]
pub enum JournalError {
    /// There is no room, and none was set free in time.
    #[error("the journal is full")]
    Full,
    /// Another program uses the folder.
    #[error("{} is used by another mount", .0.display())]
    InUse(PathBuf),
    /// The folder of the mount, which holds what is of other keys.
    #[error("{} holds changes that may not be sent yet, of another account or API key", .0.display())]
    Foreign(PathBuf),
    /// The disk failed.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// An earlier failure of the disk left it unknown what is durable.
    #[error("the journal's disk failed before")]
    Broken,
    /// A record does not read back as it was written.
    #[error("a record of the journal is damaged")]
    Damaged,
}

/// How large a journal may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of all its files.
    pub total: u64,
    /// Bytes after which another file is begun.
    pub file: u64,
    /// How long a writer waits for room.
    pub patience: Duration,
    /// Bytes of the last writes that are kept in memory as well.
    pub recent: usize,
    /// How long is waited for whoever has the folder: a process that was killed keeps its lock until its last thread is gone.
    pub lock: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: 1 << 30,
            file: 16 << 20,
            patience: Duration::from_secs(30),
            recent: 32 << 20,
            lock: Duration::from_secs(5),
        }
    }
}

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Its place in the order of all records.
    pub sequence: u64,
    /// Number of the file.
    pub file: u64,
    /// Where in it.
    offset: u64,
    /// Its sealed bytes.
    len: u32,
}

impl Position {
    /// Bytes of a file that it has, if it is a record of written bytes.
    #[must_use]
    pub const fn written(&self) -> u64 {
        (self.len as u64).saturating_sub((RECORD_OVERHEAD + format::WRITE_DATA_AT) as u64)
    }

    /// A position of a test's own making.
    #[cfg(test)]
    pub(crate) const fn for_tests(sequence: u64) -> Self {
        Self { sequence, file: 1, offset: 0, len: 0 }
    }
}

/// Records that keep files from being removed: how many in which file.
#[derive(Debug, Default)]
pub struct Pins {
    count: BTreeMap<u64, u64>,
}

impl Pins {
    /// Takes over the pin of a record.
    pub fn add(&mut self, position: Position) {
        *self.count.entry(position.file).or_default() += 1;
    }

    /// Takes over the pins of others.
    pub fn merge(&mut self, others: Self) {
        for (file, count) in others.count {
            *self.count.entry(file).or_default() += count;
        }
    }

    /// Whether there are any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count.is_empty()
    }

    /// The oldest file of the journal that they keep.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.count.keys().next().copied()
    }

    /// Whether there are any in this file.
    #[must_use]
    pub fn are_in(&self, file: u64) -> bool {
        self.count.contains_key(&file)
    }

    /// The pins in one file, which are given up here.
    pub fn split_off_file(&mut self, file: u64) -> Self {
        Self { count: self.count.remove_entry(&file).into_iter().collect() }
    }
}

struct Segment {
    path: PathBuf,
    file: Arc<File>,
    cipher: Arc<RecordCipher>,
    len: u64,
    pinned: u64,
    /// Bytes that are durable.
    synced: u64,
}

/// What is to be made durable: number, length and file of each.
struct Unsynced {
    upto: u64,
    files: Vec<(u64, u64, Arc<File>)>,
    bytes: u64,
    /// One of them is new.
    begun: bool,
    /// Files that are not fresh any more behind that.
    fresh: BTreeSet<u64>,
}

impl Unsynced {
    fn is_quick(&self) -> bool {
        !self.begun && self.bytes <= QUICK
    }

    fn sync(&self, folder: &Path) -> Result<(), Unsure> {
        for (_, _, file) in &self.files {
            file.sync_data().map_err(Unsure::OfAll)?;
        }
        // In their order, so that those that still are come last at every moment.
        for number in &self.fresh {
            unsynced::end(folder, *number).map_err(Unsure::OfNames)?;
        }
        if self.begun {
            File::open(folder).map_err(Unsure::OfNames)?.sync_all().map_err(Unsure::OfAll)?;
        }
        Ok(())
    }
}

/// Why it is not known that something is durable.
enum Unsure {
    /// The disk failed. The kernel may have dropped what it could not write, and never says so again.
    OfAll(io::Error),
    /// The folder could not be brought up to date, which can be tried again.
    OfNames(io::Error),
}

#[derive(Default)]
struct State {
    segments: BTreeMap<u64, Segment>,
    /// The one that is appended to.
    active: Option<u64>,
    /// Files of which nobody was promised anything.
    fresh: BTreeSet<u64>,
    next_file: u64,
    next_sequence: u64,
    used: u64,
    broken: bool,
    /// Nothing is taken any more.
    ended: bool,
    /// The folder says that something in it may not be sent.
    claimed: bool,
    reserve: Reserve,
    /// Room to seal the next record in.
    sealed: Vec<u8>,
}

struct Shared {
    folder: PathBuf,
    key: MountKey,
    limits: Limits,
    state: Mutex<State>,
    recent: Mutex<WriteCache>,
    /// Held while the disk is made durable, so that those who wait meanwhile find it done.
    syncing: tokio::sync::Mutex<u64>,
    removing: tokio::sync::Mutex<()>,
    /// Bytes that it may have besides, for what is kept and not sent.
    besides: AtomicU64,
    /// Room was set free.
    freed: Notify,
    /// Somebody waits for room.
    hungry: Arc<Notify>,
    intents: intents::Intents,
    _lock: File,
}

/// A journal. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

impl Journal {
    /// Opens the journal in a folder, or begins one, and reads what is there. Blocks the thread.
    ///
    /// # Errors
    /// [`JournalError::InUse`] if another mount goes on using it; [`JournalError::Foreign`] if it may hold what was not sent with another key;
    /// [`JournalError::Disk`].
    pub fn open(folder: &Path, key: MountKey, limits: Limits) -> Result<(Self, Replayed), JournalError> {
        Self::open_with_older(folder, key, &[], limits)
    }

    /// As [`Self::open`], and reads files that were sealed under one of the keys of before. What is written goes under `key`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with_older(
        folder: &Path,
        key: MountKey,
        older: &[MountKey],
        limits: Limits,
    ) -> Result<(Self, Replayed), JournalError> {
        let disk = disk(folder);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(&disk)?;
        let lock = folder.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(lock).map_err(&disk)?;
        let deadline = Instant::now() + limits.lock;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
                Err(TryLockError::WouldBlock) => return Err(JournalError::InUse(folder.to_owned())),
                Err(TryLockError::Error(error)) => return Err(disk(error)),
            }
        }
        let mut state = State { next_file: 1, next_sequence: 1, ..State::default() };
        let taken = owner::take(folder, &key, older)?;
        state.claimed = taken.claimed;
        let mut replayed = replay::read(folder, &key, older, &mut state)?;
        replayed.taken_over = taken.over;
        state.reserve = Reserve::new(folder, limits.file);
        let shared = Shared {
            folder: folder.to_owned(),
            key,
            limits,
            state: Mutex::new(state),
            recent: Mutex::new(WriteCache::new(limits.recent)),
            syncing: tokio::sync::Mutex::new(0),
            removing: tokio::sync::Mutex::default(),
            besides: AtomicU64::new(0),
            freed: Notify::new(),
            hungry: Arc::default(),
            intents: intents::Intents::default(),
            _lock: lock,
        };
        let journal = Self { shared: Arc::new(shared) };
        // Whoever goes on with a note may have to know which versions of a file are this machine's.
        journal.take_over_intents(older, &mut replayed.files, !replayed.notes.is_empty())?;
        Ok((journal, replayed))
    }

    fn recent(&self) -> MutexGuard<'_, WriteCache> {
        self.shared.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes everything durable that was appended before. Those who ask at the same time share the work.
    ///
    /// # Errors
    /// [`JournalError::Disk`]; if the disk failed the journal takes nothing any more, because nobody knows what is durable.
    pub async fn sync(&self) -> Result<(), JournalError> {
        let target = self.state().next_sequence;
        let mut synced = self.shared.syncing.lock().await;
        if *synced >= target {
            return Ok(());
        }
        *synced = self.sync_files(0).await?;
        Ok(())
    }

    /// As [`Self::sync`], but only what lies in this file and later ones.
    async fn sync_from(&self, file: u64) -> Result<(), JournalError> {
        let _one = self.shared.syncing.lock().await;
        self.sync_files(file).await.map(|_| ())
    }

    /// Makes files durable from this one on; says up to which sequence they are.
    async fn sync_files(&self, first: u64) -> Result<u64, JournalError> {
        let unsynced = self.unsynced(first)?;
        if blocking::is_allowed() && unsynced.is_quick() {
            // One thread at a time comes here; whoever else waits for this is a task.
            return self.synced(&unsynced, unsynced.sync(&self.shared.folder));
        }
        let working = Arc::clone(&unsynced);
        let folder = self.shared.folder.clone();
        let done = tokio::task::spawn_blocking(move || working.sync(&folder));
        let cut_off = |_| Err(Unsure::OfAll(io::Error::other("the work was cut off")));
        self.synced(&unsynced, done.await.unwrap_or_else(cut_off))
    }

    /// As [`Self::sync`], on this thread.
    fn sync_blocking(&self) -> Result<(), JournalError> {
        let unsynced = self.unsynced(0)?;
        self.synced(&unsynced, unsynced.sync(&self.shared.folder)).map(|_| ())
    }

    fn unsynced(&self, first: u64) -> Result<Arc<Unsynced>, JournalError> {
        let state = self.state();
        if state.broken {
            return Err(JournalError::Broken);
        }
        // What is before may be torn until the journal begins with this file.
        let fresh = if first == 0 { state.fresh.clone() } else { BTreeSet::new() };
        let mut unsynced =
            Unsynced { upto: state.next_sequence, files: Vec::new(), bytes: 0, begun: !fresh.is_empty(), fresh };
        for (number, segment) in state.segments.range(first..).filter(|(_, segment)| segment.synced < segment.len) {
            unsynced.begun |= segment.synced == 0;
            unsynced.bytes += segment.len - segment.synced;
            unsynced.files.push((*number, segment.len, Arc::clone(&segment.file)));
        }
        Ok(Arc::new(unsynced))
    }

    /// Takes note of what was made durable, or that nobody knows.
    fn synced(&self, unsynced: &Unsynced, done: Result<(), Unsure>) -> Result<u64, JournalError> {
        let mut state = self.state();
        if let Err(unsure) = done {
            state.broken |= matches!(unsure, Unsure::OfAll(_));
            let (Unsure::OfAll(source) | Unsure::OfNames(source)) = unsure;
            return Err(JournalError::Disk { path: self.shared.folder.clone(), source });
        }
        for (number, len, _) in &unsynced.files {
            if let Some(segment) = state.segments.get_mut(number) {
                segment.synced = segment.synced.max(*len);
            }
        }
        state.fresh.retain(|number| !unsynced.fresh.contains(number));
        Ok(unsynced.upto)
    }

    /// Reads a record back: its plain bytes, kind first.
    ///
    /// # Errors
    /// [`JournalError::Disk`], [`JournalError::Damaged`].
    pub fn read(&self, position: Position) -> Result<PlainRecord, JournalError> {
        let (file, cipher, path) = {
            let state = self.state();
            let segment = state.segments.get(&position.file).ok_or(JournalError::Damaged)?;
            (Arc::clone(&segment.file), Arc::clone(&segment.cipher), segment.path.clone())
        };
        let mut sealed = vec![0; position.len as usize];
        file.read_exact_at(&mut sealed, position.offset).map_err(|error| match error.kind() {
            // It was cut when it was not needed any more.
            io::ErrorKind::UnexpectedEof => JournalError::Damaged,
            _ => disk(&path)(error),
        })?;
        format::open(&cipher, position.sequence, sealed).map_err(|_| JournalError::Damaged)
    }

    /// The bytes of a write, if they are still in memory. Whoever is their last reader takes them away.
    #[must_use]
    pub fn recently_written(&self, position: Position, last: bool) -> Option<Bytes> {
        self.recent().get(position.sequence, last)
    }

    /// Marks a note as done: it is not found any more at the next start.
    ///
    /// # Errors
    /// As [`Self::append_now`].
    pub fn finish(&self, note: Position) -> Result<(), JournalError> {
        self.finish_all(&[note])
    }

    /// As [`Self::finish`], all of them or none.
    ///
    /// # Errors
    /// As [`Self::append_now`].
    pub fn finish_all(&self, notes: &[Position]) -> Result<(), JournalError> {
        if notes.is_empty() {
            return Ok(());
        }
        let sequences = notes.iter().map(|note| note.sequence).collect();
        let done = self.append_now(&Record::Done { sequences })?;
        let mut pins = Pins::default();
        notes.iter().for_each(|note| pins.add(*note));
        pins.add(done);
        self.release(pins);
        Ok(())
    }

    /// The oldest file that something keeps, unless it is the one being written.
    #[must_use]
    pub fn oldest_pinned(&self) -> Option<u64> {
        let state = self.state();
        let oldest = state.segments.iter().next();
        oldest
            .filter(|(number, segment)| segment.pinned > 0 && state.active != Some(**number))
            .map(|(number, _)| *number)
    }

    /// Whether there is nothing that is needed, and nothing that can be removed.
    fn has_nothing(&self) -> bool {
        let state = self.state();
        !removal::oldest_is_free(&state) && state.segments.values().all(|segment| segment.pinned == 0)
    }

    /// Bytes of all files.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().used
    }

    /// Bytes that it may have.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.shared.limits.total.saturating_add(self.shared.besides.load(Ordering::Acquire))
    }

    /// So many bytes may be there besides those that it may have: they are kept, and not sent.
    pub fn make_room(&self, bytes: u64) {
        self.shared.besides.store(bytes, Ordering::Release);
        self.shared.freed.notify_waiters();
    }

    /// Notified when somebody waits for room.
    #[must_use]
    pub fn hunger(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.hungry)
    }

    /// The sequence of the newest record.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.state().next_sequence.saturating_sub(1)
    }
}

/// Whether the file that is written has enough in it to be worth beginning another one.
fn is_worth(segment: &Segment) -> bool {
    segment.len > 64 * 1024
}

fn file_name(number: u64) -> String {
    format!("{number:016x}.journal")
}

fn disk(path: &Path) -> impl Fn(io::Error) -> JournalError + use<'_> {
    move |source| {
        if reserve::is_full(&source) {
            return JournalError::Full;
        }
        JournalError::Disk { path: path.to_owned(), source }
    }
}
