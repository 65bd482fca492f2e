//! The content of one file: the version that was committed last, and over it what was changed on this machine.
//!
//! | module | what it does |
//! |---|---|
//! | [`store`] | all contents of a mount: opens, commits in the background, replays after a crash |
//! | [`changes`] | which ranges were changed, and where in the journal their bytes are |
//! | [`remote`] | versions: read, and committed |
//! | [`commit`] | changes become versions |
//! | [`prefetch`] | reading ahead |
//! | [`error`] | what can go wrong |
//!
//! A change is done when the journal has it; it is promised when [`Content::sync_local`] returned. Everything is found by inode:
//! a content lives as long as somebody holds it or it has changes, whatever becomes of its names.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cyx_client::transfer::KnownVersion;
use cyx_core::extent::OFFSET_MAX;
use cyx_core::ids::InodeId;
use cyx_crypto::wrap::InodeKeyring;
use tokio::time::Instant;
use zeroize::Zeroizing;

pub mod changes;
mod commit;
pub mod error;
mod prefetch;
pub mod remote;
pub mod store;
#[cfg(test)]
mod tests;

pub use error::{ContentError, Result};
pub use store::{Recovered, Status, Store, StoreEvent, StoreOptions};

use crate::journal::format::{WRITE_DATA_AT, WRITE_MAX};
use crate::journal::{Base, Change, FileId, Intent, JournalError, Pins, Position, Record, ReplayedFile};
use crate::vfs::Seek;
use changes::{Changes, Kind, Part};
use prefetch::Prefetch;
use remote::Version;
use store::Shared;

/// How often a read begins anew because a commit changed what it reads from.
const TRIES: usize = 16;
/// Copied in one go.
const COPY_STEP: u64 = 1 << 20;

/// What is known of a file when its content is asked for.
#[derive(Clone)]
pub struct InodeFacts {
    /// The file.
    pub id: InodeId,
    /// Its keys.
    pub keys: InodeKeyring,
    /// Its newest version, 0 for none, as the server says; it is verified before anything is read.
    pub version: u64,
    /// Bytes of that version, as the server says.
    pub size: u64,
    /// Its name, for errors.
    pub what: String,
}

/// A record's sequence and its plain bytes.
type Opened = (u64, Arc<Zeroizing<Vec<u8>>>);

/// The content of a file. Shared by everything that has the file open.
pub struct Content {
    id: FileId,
    store: Arc<Shared>,
    inner: Mutex<Inner>,
    opening: tokio::sync::Mutex<()>,
    /// Held for changes of several steps, and where what is written depends on the length.
    writing: tokio::sync::Mutex<()>,
    /// Held while a version is being made.
    committing: Arc<tokio::sync::Mutex<()>>,
    prefetch: Prefetch,
    /// The record that was read last: small reads go through one record many times.
    memo: Mutex<Option<Opened>>,
}

struct Inner {
    what: String,
    keys: InodeKeyring,
    version: u64,
    base: Option<Arc<dyn Version>>,
    len: u64,
    mtime_ns: i64,
    changed_ns: i64,
    changes: Changes,
    /// What the changes are based on is in the journal.
    logged: bool,
    pins: Pins,
    /// The newest record of this file.
    newest: u64,
    /// Records up to this one are part of the base.
    committed: u64,
    since: Option<Instant>,
    latest: Option<Instant>,
    soon: bool,
    intents: Vec<(u64, KnownVersion)>,
    held: bool,
    lost: bool,
    failures: u32,
    retry_at: Option<Instant>,
}

impl Inner {
    fn is_dirty(&self) -> bool {
        self.newest > self.committed
    }

    fn base_record(&self, file: FileId) -> Record {
        let known = self.base.as_ref().map(|base| base.known());
        let known = known.unwrap_or(KnownVersion {
            inode: file.inode,
            version: 0,
            size: 0,
            root: cyx_core::extent::PageId::EMPTY,
        });
        Record::Base(Base {
            file,
            version: known.version,
            size: known.size,
            root: known.root,
            keys: self.keys.all().cloned().collect(),
            upto: self.committed,
        })
    }

    /// Applies a change that a record says.
    fn apply(&mut self, position: Position, change: Change) {
        let sequence = position.sequence;
        match change {
            Change::Write { offset, len, time_ns } => {
                self.changes.set(offset..offset + len, Kind::Data { position, skip: 0 }, sequence);
                self.len = self.len.max(offset + len);
                self.mtime_ns = time_ns;
                self.changed_ns = time_ns;
            }
            Change::Length { len, time_ns } => {
                // What is cut off must not come back when the file grows again.
                self.changes.set(len..self.len.max(len), Kind::Hole, sequence);
                self.len = len;
                self.mtime_ns = time_ns;
                self.changed_ns = time_ns;
            }
            Change::Hole { start, end, time_ns } => {
                self.changes.set(start..end, Kind::Hole, sequence);
                self.mtime_ns = time_ns;
                self.changed_ns = time_ns;
            }
            Change::Time { mtime_ns } => self.mtime_ns = mtime_ns,
        }
        self.newest = self.newest.max(sequence);
    }
}

impl Content {
    fn new(store: &Arc<Shared>, id: FileId, facts: InodeFacts) -> Self {
        let newest = store.journal.newest();
        let inner = Inner {
            what: facts.what,
            keys: facts.keys,
            version: facts.version,
            base: None,
            len: facts.size,
            mtime_ns: 0,
            changed_ns: 0,
            changes: Changes::default(),
            logged: false,
            pins: Pins::default(),
            newest,
            committed: newest,
            since: None,
            latest: None,
            soon: false,
            intents: Vec::new(),
            held: false,
            lost: false,
            failures: 0,
            retry_at: None,
        };
        Self {
            id,
            store: Arc::clone(store),
            inner: Mutex::new(inner),
            opening: tokio::sync::Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            committing: Arc::default(),
            prefetch: Prefetch::default(),
            memo: Mutex::default(),
        }
    }

    /// A content with the changes that were found in the journal.
    fn replay(store: &Arc<Shared>, id: FileId, found: ReplayedFile) -> Result<Self> {
        let ReplayedFile { base, base_at, changes, intents } = found;
        let mut keys = base.keys.into_iter();
        let newest = keys.next().ok_or(JournalError::Damaged)?;
        let keys = InodeKeyring::from_keys(newest, keys.collect());
        let known = KnownVersion { inode: id.inode, version: base.version, size: base.size, root: base.root };
        let what = format!("file {}", id.inode);
        let version = store.remote.known(id.bucket, keys.clone(), known, &what)?;
        let facts = InodeFacts { id: id.inode, keys, version: base.version, size: base.size, what };
        let content = Self::new(store, id, facts);
        {
            let mut inner = content.inner();
            inner.base = Some(version);
            inner.logged = true;
            inner.committed = base.upto;
            inner.pins.add(base_at);
            for (position, intent) in intents {
                inner.pins.add(position);
                let Intent { version, size, root, .. } = intent;
                inner.intents.push((intent.upto, KnownVersion { inode: id.inode, version, size, root }));
            }
            for (position, change) in changes {
                inner.pins.add(position);
                inner.apply(position, change);
            }
            let now = Instant::now();
            (inner.since, inner.latest) = (Some(now), Some(now));
        }
        Ok(content)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file.
    #[must_use]
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Bytes of the file now.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.inner().len
    }

    /// Whether the file has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether something is not committed yet.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.inner().is_dirty()
    }

    /// Written bytes that are not committed yet.
    #[must_use]
    pub fn dirty_bytes(&self) -> u64 {
        self.inner().changes.dirty_bytes()
    }

    /// The times of content that is not committed: of the last change of content, and of the last change at all.
    #[must_use]
    pub fn times(&self) -> Option<(i64, i64)> {
        let inner = self.inner();
        inner.is_dirty().then_some((inner.mtime_ns, inner.changed_ns))
    }

    /// The version that changes are based on, once it was opened.
    #[must_use]
    pub fn version(&self) -> Option<KnownVersion> {
        self.inner().base.as_ref().map(|base| base.known())
    }

    /// Nothing is committed until [`Self::allow`]: the file does not exist on the server yet.
    pub fn hold(&self) {
        self.inner().held = true;
    }

    /// Changes may be committed.
    pub fn allow(&self) {
        self.inner().held = false;
        self.store.wake.notify_one();
    }

    /// Changes should be committed now rather than later: the file was closed.
    pub fn upload_soon(&self) {
        let mut inner = self.inner();
        if inner.is_dirty() {
            inner.soon = true;
            drop(inner);
            self.store.wake.notify_one();
        }
    }

    /// The committed version, opened and verified.
    async fn base(&self) -> Result<Arc<dyn Version>> {
        if let Some(base) = &self.inner().base {
            return Ok(Arc::clone(base));
        }
        let _one = self.opening.lock().await;
        let (version, keys, what) = {
            let inner = self.inner();
            if let Some(base) = &inner.base {
                return Ok(Arc::clone(base));
            }
            (inner.version, inner.keys.clone(), inner.what.clone())
        };
        let remote = &self.store.remote;
        let base = if version == 0 {
            let none =
                KnownVersion { inode: self.id.inode, version: 0, size: 0, root: cyx_core::extent::PageId::EMPTY };
            remote.known(self.id.bucket, keys, none, &what)?
        } else {
            remote.newest(self.id, keys.newest(), &what).await?
        };
        let mut inner = self.inner();
        inner.keys = base.keys();
        inner.len = base.known().size;
        inner.base = Some(Arc::clone(&base));
        Ok(base)
    }

    /// Reads at most `len` bytes from `offset` on: fewer at the end of the file.
    ///
    /// # Errors
    /// [`ContentError::Deadline`], errors of the client and of the journal.
    pub async fn read(&self, offset: u64, len: usize) -> Result<Bytes> {
        within(self.store.options.deadline, self.read_now(offset, len)).await
    }

    async fn read_now(&self, offset: u64, len: usize) -> Result<Bytes> {
        self.base().await?;
        let mut tries = 0;
        loop {
            let (base, range, parts) = {
                let inner = self.inner();
                let range = offset..offset.saturating_add(len as u64).min(inner.len);
                if range.is_empty() {
                    return Ok(Bytes::new());
                }
                (inner.base.clone(), range.clone(), inner.changes.parts(range))
            };
            let base = base.ok_or(JournalError::Damaged)?;
            let mut out = vec![0; usize::try_from(range.end - range.start).map_err(|_| ContentError::TooLarge)?];
            match self.fill(&base, range.start, &parts, &mut out).await {
                Ok(()) => return Ok(Bytes::from(out)),
                // The record became part of a version and is gone; what is read is there now.
                Err(ContentError::Journal(JournalError::Damaged)) if tries < TRIES && self.moved_on(&parts) => {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn moved_on(&self, parts: &[Part]) -> bool {
        let committed = self.inner().committed;
        let relocated = |part: &Part| match part.kind {
            Some(Kind::Data { position, .. }) => {
                position.sequence <= committed
                    || self.inner().changes.parts(part.range.clone()).iter().all(|now| now.kind != part.kind)
            }
            _ => false,
        };
        parts.iter().any(relocated)
    }

    async fn fill(&self, base: &Arc<dyn Version>, start: u64, parts: &[Part], out: &mut [u8]) -> Result<()> {
        for part in parts {
            let from = usize::try_from(part.range.start - start).unwrap_or(usize::MAX);
            let len = usize::try_from(part.range.end - part.range.start).unwrap_or(usize::MAX);
            let Some(room) = out.get_mut(from..).and_then(|rest| rest.get_mut(..len)) else { continue };
            match part.kind {
                None => {
                    self.prefetch.settle(&part.range).await;
                    self.prefetch.note(base, part.range.clone(), &self.store.prefetch);
                    base.read(part.range.start, room).await?;
                }
                Some(Kind::Hole) => room.fill(0),
                Some(Kind::Data { position, skip }) => {
                    let record = self.record(position)?;
                    copy_out(&record, skip, room)?;
                }
            }
        }
        Ok(())
    }

    fn record(&self, position: Position) -> Result<Arc<Zeroizing<Vec<u8>>>> {
        let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, record)) = memo.as_ref().filter(|(sequence, _)| *sequence == position.sequence) {
            return Ok(Arc::clone(record));
        }
        let record = Arc::new(self.store.journal.read(position)?);
        *memo = Some((position.sequence, Arc::clone(&record)));
        Ok(record)
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// [`ContentError::TooLarge`], a full journal, errors of the client if the file could not be opened.
    pub async fn write(&self, offset: u64, data: Bytes) -> Result<()> {
        within(self.store.options.deadline, self.base()).await?;
        let _in_order = self.writing.lock().await;
        self.write_in_order(offset, data).await
    }

    /// Writes bytes at the end of the file, wherever that is; says where.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn append(&self, data: Bytes) -> Result<u64> {
        within(self.store.options.deadline, self.base()).await?;
        let _in_order = self.writing.lock().await;
        let offset = self.len();
        self.write_in_order(offset, data).await?;
        Ok(offset)
    }

    async fn write_in_order(&self, offset: u64, mut data: Bytes) -> Result<()> {
        self.check_end(offset, data.len() as u64)?;
        let mut offset = offset;
        while !data.is_empty() {
            let part = data.split_to(data.len().min(WRITE_MAX));
            let len = part.len() as u64;
            let time_ns = now_ns();
            self.change(
                &Record::Write { file: self.id, offset, time_ns, data: part },
                Change::Write { offset, len, time_ns },
            )
            .await?;
            offset += len;
        }
        Ok(())
    }

    fn check_end(&self, offset: u64, len: u64) -> Result<()> {
        let most = self.store.options.file_max.min(OFFSET_MAX);
        if offset.checked_add(len).is_none_or(|end| end > most) { Err(ContentError::TooLarge) } else { Ok(()) }
    }

    /// Makes the file this long: what is beyond is gone, what is missing is a hole.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn set_len(&self, len: u64) -> Result<()> {
        within(self.store.options.deadline, self.base()).await?;
        self.check_end(0, len)?;
        let _in_order = self.writing.lock().await;
        self.set_len_in_order(len).await
    }

    async fn set_len_in_order(&self, len: u64) -> Result<()> {
        let time_ns = now_ns();
        self.change(&Record::Length { file: self.id, len, time_ns }, Change::Length { len, time_ns }).await
    }

    /// Makes a range zeros that take no room. The file grows if the range reaches beyond its end, unless its size is to be kept.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn punch(&self, range: Range<u64>, keep_size: bool) -> Result<()> {
        within(self.store.options.deadline, self.base()).await?;
        self.check_end(range.end, 0)?;
        let _in_order = self.writing.lock().await;
        let len = self.len();
        let (start, end) = (range.start, range.end.min(len));
        if start < end {
            let time_ns = now_ns();
            self.change(&Record::Hole { file: self.id, start, end, time_ns }, Change::Hole { start, end, time_ns })
                .await?;
        }
        if range.end > len && !keep_size {
            self.set_len_in_order(range.end).await?;
        }
        Ok(())
    }

    /// Makes sure that the file is at least as long as the range reaches, unless its size is to be kept. Room is not reserved:
    /// the journal and the account's quota bound what can be written.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn allocate(&self, range: Range<u64>, keep_size: bool) -> Result<()> {
        within(self.store.options.deadline, self.base()).await?;
        self.check_end(range.end, 0)?;
        let _in_order = self.writing.lock().await;
        if !keep_size && range.end > self.len() {
            self.set_len_in_order(range.end).await?;
        }
        Ok(())
    }

    /// Sets the time of the last change of content, if the content is not committed: then the commit carries it. Otherwise it is
    /// an attribute like others, and `false`.
    ///
    /// # Errors
    /// A full journal.
    pub async fn set_mtime(&self, mtime_ns: i64) -> Result<bool> {
        let _in_order = self.writing.lock().await;
        if !self.is_dirty() {
            return Ok(false);
        }
        self.change(&Record::Time { file: self.id, mtime_ns }, Change::Time { mtime_ns }).await?;
        Ok(true)
    }

    /// Appends a record and applies it. `writing` is held.
    async fn change(&self, record: &Record, change: Change) -> Result<()> {
        let journal = &self.store.journal;
        let became_dirty = journal.with_room(|| {
            // Appended and applied in one step, so that everything is applied in the order in which it is found again.
            let mut inner = self.inner();
            let Some(position) = journal.offer(record)? else { return Ok(None) };
            let was_dirty = inner.is_dirty();
            inner.pins.add(position);
            inner.apply(position, change);
            if !inner.logged {
                let base = journal.append_now(&inner.base_record(self.id))?;
                inner.pins.add(base);
                inner.logged = true;
            }
            let now = Instant::now();
            inner.latest = Some(now);
            if !was_dirty {
                inner.since = Some(now);
            }
            Ok(Some(!was_dirty))
        });
        if became_dirty.await? {
            self.store.mark_dirty(self.id);
        }
        Ok(())
    }

    /// Where there is data, in order, inside a range and the file.
    async fn data_segments(&self, range: Range<u64>) -> Result<Vec<Range<u64>>> {
        self.base().await?;
        let (base, range, parts) = {
            let inner = self.inner();
            let range = range.start..range.end.min(inner.len);
            if range.is_empty() {
                return Ok(Vec::new());
            }
            (inner.base.clone(), range.clone(), inner.changes.parts(range))
        };
        let base = base.ok_or(JournalError::Damaged)?;
        let mut found: Vec<Range<u64>> = Vec::new();
        let mut add = |range: Range<u64>| match found.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => found.push(range),
        };
        let below = base.data_ranges(range).await?;
        for part in parts {
            match part.kind {
                Some(Kind::Hole) => {}
                Some(Kind::Data { .. }) => add(part.range),
                None => {
                    let first = below.partition_point(|data| data.end <= part.range.start);
                    for data in below[first..].iter().take_while(|data| data.start < part.range.end) {
                        add(data.start.max(part.range.start)..data.end.min(part.range.end));
                    }
                }
            }
        }
        Ok(found)
    }

    /// The next data, or the next hole, from `offset` on. The end of the file is a hole.
    ///
    /// # Errors
    /// [`ContentError::Nothing`] beyond the end, or behind the last data.
    pub async fn seek(&self, offset: u64, what: Seek) -> Result<u64> {
        within(self.store.options.deadline, self.seek_now(offset, what)).await
    }

    async fn seek_now(&self, offset: u64, what: Seek) -> Result<u64> {
        self.base().await?;
        let len = self.len();
        if offset >= len {
            return Err(ContentError::Nothing);
        }
        let data = self.data_segments(offset..len).await?;
        match what {
            Seek::Data => data.first().map(|first| first.start).ok_or(ContentError::Nothing),
            Seek::Hole => {
                Ok(data.first().filter(|first| first.start == offset).map_or(offset, |first| first.end.min(len)))
            }
        }
    }

    /// Copies a range of a content to `offset`, holes as holes. Says how many bytes that were: fewer at the source's end.
    ///
    /// # Errors
    /// As [`Self::read`] and [`Self::write`].
    pub async fn clone_range(&self, source: &Self, range: Range<u64>, offset: u64) -> Result<u64> {
        within(self.store.options.deadline, source.base()).await?;
        let range = range.start..range.end.min(source.len());
        if range.is_empty() {
            return Ok(0);
        }
        self.check_end(offset, range.end - range.start)?;
        let place = |at: u64| offset + (at - range.start);
        let mut at = range.start;
        for data in source.data_segments(range.clone()).await? {
            if data.start > at {
                self.punch(place(at)..place(data.start), false).await?;
            }
            at = data.start;
            while at < data.end {
                let len = (data.end - at).min(COPY_STEP);
                let bytes = source.read(at, usize::try_from(len).unwrap_or(usize::MAX)).await?;
                if bytes.is_empty() {
                    // It was cut off meanwhile.
                    return Ok(at - range.start);
                }
                let read = bytes.len() as u64;
                self.write(place(at), bytes).await?;
                at += read;
            }
        }
        if at < range.end {
            self.punch(place(at)..place(range.end), false).await?;
        }
        Ok(range.end - range.start)
    }

    /// Returns when everything that was changed before is durable on this machine.
    ///
    /// # Errors
    /// If the disk failed.
    pub async fn sync_local(&self) -> Result<()> {
        if self.is_dirty() {
            self.store.journal.sync().await?;
        }
        Ok(())
    }

    /// Commits what was changed before. Returns when every machine can see it.
    ///
    /// # Errors
    /// [`ContentError::Lost`] if somebody else was faster; errors of the client.
    pub async fn commit(self: &Arc<Self>) -> Result<()> {
        if !self.is_dirty() {
            return Ok(());
        }
        let results = commit::commit(&self.store, self.id.bucket, vec![Arc::clone(self)]).await;
        results.into_iter().next().unwrap_or(Ok(()))
    }

    /// Gives up all changes that are not committed.
    ///
    /// # Errors
    /// If the journal's disk failed.
    pub async fn discard(&self) -> Result<()> {
        let _one = self.committing.lock().await;
        let pins = {
            let mut inner = self.inner();
            inner.committed = inner.newest;
            inner.changes = Changes::default();
            inner.len = inner.base.as_ref().map_or(0, |base| base.known().size);
            self.clean(&mut inner)?
        };
        self.store.mark_clean(self.id);
        self.store.journal.release(pins);
        Ok(())
    }

    /// Notes in the journal that nothing is left to be committed; gives back the pins.
    fn clean(&self, inner: &mut Inner) -> Result<Pins> {
        let note = self.store.journal.append_now(&inner.base_record(self.id))?;
        let mut pins = std::mem::take(&mut inner.pins);
        pins.add(note);
        (inner.logged, inner.lost, inner.soon, inner.failures) = (false, false, false, 0);
        (inner.since, inner.latest, inner.retry_at) = (None, None, None);
        inner.intents.clear();
        Ok(pins)
    }

    /// Takes over a version that somebody else committed, unless there are changes that are based on this one. Whether there was
    /// one.
    ///
    /// # Errors
    /// Errors of the client.
    pub async fn refresh(&self) -> Result<bool> {
        let (keys, what) = {
            let inner = self.inner();
            if inner.is_dirty() {
                return Ok(false);
            }
            (inner.keys.clone(), inner.what.clone())
        };
        let newest = self.store.remote.newest(self.id, keys.newest(), &what);
        let newest = within(self.store.options.deadline, async { Ok(newest.await?) }).await?;
        let mut inner = self.inner();
        let known = newest.known();
        let before = inner.base.as_ref().map(|base| base.known());
        if inner.is_dirty() || before.is_some_and(|before| known.version <= before.version) {
            return Ok(false);
        }
        inner.keys = newest.keys();
        inner.len = known.size;
        inner.version = known.version;
        inner.base = Some(newest);
        drop(inner);
        self.prefetch.reset();
        Ok(true)
    }

    /// Writes what a file of the journal holds of this content to its end, so that the file can be removed.
    fn relocate(&self, file: u64) -> Result<()> {
        let Ok(_one) = self.committing.try_lock() else { return Ok(()) };
        let pins = {
            let mut inner = self.inner();
            if !inner.is_dirty() {
                return Ok(());
            }
            let journal = &self.store.journal;
            let time_ns = inner.mtime_ns;
            let kept: Vec<(Range<u64>, Kind)> = inner.changes.kept_by(file).collect();
            for (range, kind) in kept {
                let record = match kind {
                    Kind::Hole => Record::Hole { file: self.id, start: range.start, end: range.end, time_ns },
                    Kind::Data { position, skip } => {
                        let record = journal.read(position)?;
                        let mut data = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
                        copy_out(&record, skip, &mut data)?;
                        Record::Write { file: self.id, offset: range.start, time_ns, data: Bytes::from(data) }
                    }
                };
                let position = journal.append_now(&record)?;
                inner.pins.add(position);
                let kind = if kind == Kind::Hole { kind } else { Kind::Data { position, skip: 0 } };
                inner.changes.set(range, kind, position.sequence);
                inner.newest = position.sequence;
            }
            let len = inner.len;
            for record in [inner.base_record(self.id), Record::Length { file: self.id, len, time_ns }] {
                let position = journal.append_now(&record)?;
                inner.pins.add(position);
                inner.newest = position.sequence;
            }
            inner.pins.split_off_file(file)
        };
        self.store.journal.release(pins);
        Ok(())
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.store.forget(self.id);
    }
}

/// Copies written bytes out of a record.
fn copy_out(record: &[u8], skip: u64, room: &mut [u8]) -> Result<(), JournalError> {
    let from = usize::try_from(skip).ok().and_then(|skip| skip.checked_add(WRITE_DATA_AT));
    let bytes = from.and_then(|from| record.get(from..)).and_then(|rest| rest.get(..room.len()));
    room.copy_from_slice(bytes.ok_or(JournalError::Damaged)?);
    Ok(())
}

async fn within<T>(deadline: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(deadline, work).await.unwrap_or(Err(ContentError::Deadline))
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
