//! The store on a filesystem: `index.redb`, `volumes/*.cyxvol` and a lock in one directory.
//!
//! Reads go through the operating system's page cache and are verified group by group (see [`super::groups`]) before a
//! byte leaves. A read that does not verify marks the chunk as damaged, unless the chunk went away meanwhile.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use cyx_core::ids::{ChunkId, random_bytes};
use cyx_core::keeplist::{Incarnation, KeepList};
use cyx_core::units::{GIB, KIB, MIB};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redb::Durability;

use super::groups::{self, GROUP, GroupHasher, Value};
use super::index::{Entry, Index};
use super::record::{RECORD_HEADER, StoreKey};
use super::volume::{DiskIo, RealIo, Volume, sync_directory};
use super::writer::{Job, Writer};
use super::{
    ChunkInfo, ChunkState, ChunkStore, Clock, Health, KeepOutcome, NewChunk, READ_MAX, StoreError, Stored, Usage,
};

const LOCK_FILE: &str = "lock";
const INDEX_FILE: &str = "index.redb";
const VOLUME_FOLDER: &str = "volumes";
const META_KEY: &str = "store key";
/// Bytes that a scrub reads at a time.
const SCRUB_STEP: u64 = MIB;

/// How a [`DiskStore`] is opened.
#[derive(Clone)]
pub struct DiskOptions {
    /// Bytes that chunks may take in all.
    pub capacity: u64,
    /// A volume is closed when it has this many bytes.
    pub volume_max: u64,
    /// Bytes of the filesystem that stay free for the index and for others.
    pub margin: u64,
    /// Appended bytes after which the index is made durable.
    pub checkpoint: u64,
    /// Write volumes past the page cache where the filesystem can do it.
    pub direct: bool,
    /// The time.
    pub clock: Clock,
    /// The system calls.
    pub io: Arc<dyn DiskIo>,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            capacity: u64::MAX,
            volume_max: GIB,
            margin: 256 * MIB,
            checkpoint: 64 * MIB,
            direct: true,
            clock: Clock::system(),
            io: Arc::new(RealIo),
        }
    }
}

/// What the threads of a store share.
pub(crate) struct Shared {
    pub(crate) options: DiskOptions,
    pub(crate) volume_folder: PathBuf,
    pub(crate) key: StoreKey,
    pub(crate) index: Index,
    volumes: RwLock<HashMap<u32, Arc<Volume>>>,
    health: Mutex<Health>,
    /// Bytes appended that the index does not count yet.
    pub(crate) pending: AtomicU64,
    /// Bytes that chunks may take in all.
    capacity: AtomicU64,
    /// Number of the volume that is being appended to.
    pub(crate) active: AtomicU64,
    _lock: File,
}

/// A chunk store on a filesystem. Dropping it stops its threads after what was asked is done.
pub struct DiskStore {
    pub(crate) shared: Arc<Shared>,
    writer: Writer,
}

impl DiskStore {
    /// Opens the store in a directory, making it if need be, and recovers from whatever crash there was.
    ///
    /// This blocks: call it before serving, or off the async threads.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it; anything that the disk says.
    pub fn open(directory: &Path, options: DiskOptions) -> Result<Self, StoreError> {
        let volume_folder = directory.join(VOLUME_FOLDER);
        std::fs::create_dir_all(&volume_folder).map_err(StoreError::io("make the data directory"))?;
        let lock = lock(directory)?;
        let index = Index::open(&directory.join(INDEX_FILE))?;
        sync_directory(directory).map_err(StoreError::io("sync the data directory"))?;
        let key = store_key(&index, &volume_folder)?;
        let shared = Arc::new(Shared {
            capacity: AtomicU64::new(options.capacity),
            options,
            volume_folder,
            key,
            index,
            volumes: RwLock::default(),
            health: Mutex::new(Health::Writable),
            pending: AtomicU64::new(0),
            active: AtomicU64::new(0),
            _lock: lock,
        });
        let active = super::recover::recover(&shared)?;
        shared.give_back()?;
        let writer = Writer::start(Arc::clone(&shared), active)?;
        Ok(Self { shared, writer })
    }

    /// Bytes of the disk that chunks take, trash and damaged ones included.
    #[must_use]
    pub fn taken_bytes(&self) -> u64 {
        self.shared.index.total().span
    }

    /// Changes how many bytes chunks may take in all.
    pub fn set_capacity(&self, bytes: u64) {
        self.shared.capacity.store(bytes, Ordering::Relaxed);
    }

    async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || work(&shared)).await.map_err(|_| StoreError::Stopped)?
    }
}

/// One process per data directory.
fn lock(directory: &Path) -> Result<File, StoreError> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(directory.join(LOCK_FILE))
        .map_err(StoreError::io("open the lock file"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse(directory.display().to_string())),
        Err(std::fs::TryLockError::Error(source)) => Err(StoreError::Io { doing: "lock the data directory", source }),
    }
}

/// The secret of this store: drawn when it is made, found in its volumes again if the index was lost.
fn store_key(index: &Index, volume_folder: &Path) -> Result<StoreKey, StoreError> {
    if let Some(found) = index.meta(META_KEY)? {
        return found.try_into().map_err(|_| cyx_core::wire::DecodeError::Invalid("store key").into());
    }
    let key = match super::recover::key_of_volumes(volume_folder)? {
        Some(key) => {
            tracing::warn!("the index is new, the volumes are not: rebuilding the index from them");
            key
        }
        None => random_bytes(),
    };
    index.write(Durability::Immediate, |tables| tables.set_meta(META_KEY, &key))?;
    Ok(key)
}

impl Shared {
    pub(crate) fn now(&self) -> u64 {
        self.options.clock.now()
    }

    pub(crate) fn volume(&self, number: u32) -> Option<Arc<Volume>> {
        self.volumes.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    pub(crate) fn add_volume(&self, volume: &Arc<Volume>) {
        let mut volumes = self.volumes.write().unwrap_or_else(PoisonError::into_inner);
        volumes.insert(volume.number, Arc::clone(volume));
    }

    pub(crate) fn remove_volume(&self, number: u32) {
        self.volumes.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    pub(crate) fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that the disk is full or has room again. A failed disk stays failed.
    pub(crate) fn set_full(&self, full: bool) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let next = if full { Health::Full } else { Health::Writable };
        if !matches!(*health, Health::Failed(_)) && *health != next {
            match full {
                true => tracing::warn!("the disk is full: no chunks are taken until there is room"),
                false => tracing::info!("there is room again: chunks are taken"),
            }
            *health = next;
        }
    }

    /// Notes that the disk failed: nothing more is written until a restart has looked at it anew.
    pub(crate) fn set_failed(&self, reason: &str) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*health, Health::Failed(_)) {
            tracing::error!(reason, "the store is read-only from now on");
            *health = Health::Failed(reason.to_owned());
        }
    }

    /// Bytes that may still be appended: what the operator gave, and what the filesystem has.
    pub(crate) fn room(&self) -> u64 {
        let taken = self.index.total().span.saturating_add(self.pending.load(Ordering::Relaxed));
        let given = self.capacity.load(Ordering::Relaxed).saturating_sub(taken);
        let free = self.options.io.free(&self.volume_folder).unwrap_or(0);
        given.min(free.saturating_sub(self.options.margin))
    }

    fn live(&self, id: ChunkId) -> Result<Entry, StoreError> {
        let entry = self.index.get(id)?.ok_or(StoreError::NotFound)?;
        match entry.state {
            ChunkState::Live => Ok(entry),
            ChunkState::Trashed => Err(StoreError::Trashed),
            ChunkState::Damaged => Err(StoreError::Damaged),
        }
    }

    fn read(&self, id: ChunkId, range: &Range<u64>) -> Result<Bytes, StoreError> {
        self.with_live(id, |entry| {
            let len = range.end.checked_sub(range.start).ok_or(StoreError::OutOfRange)?;
            if len > READ_MAX || range.end > entry.len {
                return Err(StoreError::OutOfRange);
            }
            let values = self.verified_values(entry)?;
            self.read_verified(entry, &values, range)
        })
    }

    /// Works on a live chunk. What does not verify is marked as damaged if it is still the same chunk in the same place.
    fn with_live<R>(&self, id: ChunkId, work: impl Fn(&Entry) -> Result<R, StoreError>) -> Result<R, StoreError> {
        let mut entry = self.live(id)?;
        loop {
            match work(&entry) {
                Err(StoreError::Damaged) => {
                    let now = self.live(id)?;
                    if (now.volume, now.offset) == (entry.volume, entry.offset) {
                        self.mark_damaged(id, &entry)?;
                        return Err(StoreError::Damaged);
                    }
                    entry = now;
                }
                other => return other,
            }
        }
    }

    fn mark_damaged(&self, id: ChunkId, seen: &Entry) -> Result<(), StoreError> {
        tracing::warn!(chunk = %id, volume = seen.volume, offset = seen.offset, "a chunk is damaged");
        metrics::counter!("cyx_node_damage_found_total").increment(1);
        self.set_state(id, seen, ChunkState::Damaged)
    }

    /// Changes the state of a chunk unless it moved or changed since it was looked at.
    fn set_state(&self, id: ChunkId, seen: &Entry, state: ChunkState) -> Result<(), StoreError> {
        let now = self.now();
        self.index.write(Durability::Immediate, |tables| match tables.get(id)? {
            Some(entry) if entry == *seen => tables.put(id, &Entry { state, changed_at: now, ..entry }),
            _ => Ok(()),
        })
    }

    /// The values beside a chunk if they merge to its root; otherwise those computed from its bytes if these do.
    fn verified_values(&self, entry: &Entry) -> Result<Vec<Value>, StoreError> {
        let count = groups::stored_count(entry.len);
        if count == 0 {
            return Ok(Vec::new());
        }
        let len = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(groups::VALUE_LEN);
        if let Ok(bytes) = self.read_raw(entry, entry.len, len) {
            let values = bytes.as_chunks::<{ groups::VALUE_LEN }>().0.to_vec();
            if groups::merge(&values, entry.len) == Some(entry.root) {
                return Ok(values);
            }
        }
        self.hash(entry)
    }

    /// Hashes a whole chunk and compares it with its root.
    fn hash(&self, entry: &Entry) -> Result<Vec<Value>, StoreError> {
        let mut hasher = GroupHasher::new(entry.len);
        let mut at = 0;
        while at < entry.len {
            let step = SCRUB_STEP.min(entry.len - at);
            hasher.update(&self.read_raw(entry, at, usize::try_from(step).unwrap_or_default())?);
            at += step;
        }
        hasher
            .finish()
            .filter(|hashed| hashed.root == entry.root)
            .map(|hashed| hashed.values)
            .ok_or(StoreError::Damaged)
    }

    fn read_verified(&self, entry: &Entry, values: &[Value], range: &Range<u64>) -> Result<Bytes, StoreError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let start = range.start - range.start % GROUP;
        let end = range.end.next_multiple_of(GROUP).min(entry.len);
        let bytes = self.read_raw(entry, start, usize::try_from(end - start).unwrap_or_default())?;
        if !groups::verify(&entry.root, values, entry.len, start, &bytes) {
            return Err(StoreError::Damaged);
        }
        let [from, to] = [range.start, range.end].map(|at| usize::try_from(at - start).unwrap_or(0));
        Ok(Bytes::from(bytes).slice(from..to))
    }

    /// Bytes of a record behind its header. A disk that cannot read them has lost them: that is damage.
    fn read_raw(&self, entry: &Entry, at: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let volume = self.volume(entry.volume).ok_or(StoreError::Damaged)?;
        volume.read(entry.offset + RECORD_HEADER + at, len).map_err(|error| {
            tracing::warn!(volume = entry.volume, offset = entry.offset, %error, "a chunk cannot be read");
            StoreError::Damaged
        })
    }

    fn scrub(&self, id: ChunkId) -> Result<(), StoreError> {
        match self.live(id) {
            Ok(_) => self.with_live(id, |entry| self.hash(entry).map(drop)),
            Err(StoreError::Damaged) => {
                let Some(entry) = self.index.get(id)? else { return Err(StoreError::NotFound) };
                self.hash(&entry)?;
                self.set_state(id, &entry, ChunkState::Live)
            }
            Err(error) => Err(error),
        }
    }

    fn usage(&self) -> Usage {
        let total = self.index.total();
        Usage {
            chunks: total.live.chunks,
            used_bytes: total.live.bytes,
            trash_chunks: total.trash.chunks,
            trash_bytes: total.trash.bytes,
            damaged_chunks: total.damaged.chunks,
            free_bytes: if self.health() == Health::Writable { self.room() } else { 0 },
            capacity_bytes: self.capacity.load(Ordering::Relaxed),
        }
    }
}

impl ChunkStore for DiskStore {
    fn store(&self, chunk: NewChunk) -> BoxFuture<'_, Result<Stored, StoreError>> {
        async move {
            let (reply, answer) = tokio::sync::oneshot::channel();
            self.writer.send(Job::Store { chunk, rewrite: false, reply })?;
            answer.await.map_err(|_| StoreError::Stopped)?
        }
        .boxed()
    }

    fn stat(&self, id: ChunkId) -> BoxFuture<'_, Result<Option<ChunkInfo>, StoreError>> {
        async move { self.blocking(move |shared| Ok(shared.index.get(id)?.map(|entry| entry.info()))).await }.boxed()
    }

    fn read(&self, id: ChunkId, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        async move { self.blocking(move |shared| shared.read(id, &range)).await }.boxed()
    }

    fn values(&self, id: ChunkId) -> BoxFuture<'_, Result<Vec<Value>, StoreError>> {
        async move { self.blocking(move |shared| shared.with_live(id, |entry| shared.verified_values(entry))).await }
            .boxed()
    }

    fn scrub(&self, id: ChunkId) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.blocking(move |shared| shared.scrub(id)).await }.boxed()
    }

    fn trash(&self, ids: Vec<ChunkId>, before: u64) -> BoxFuture<'_, Result<u32, StoreError>> {
        async move { self.blocking(move |shared| shared.trash(&ids, before)).await }.boxed()
    }

    fn apply_keep_list(&self, list: KeepList, keep: Vec<ChunkId>) -> BoxFuture<'_, Result<KeepOutcome, StoreError>> {
        async move { self.blocking(move |shared| shared.apply_keep_list(&list, &keep)).await }.boxed()
    }

    fn note_incarnation(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.blocking(move |shared| shared.note_incarnation(incarnation)).await }.boxed()
    }

    fn held_incarnation(&self) -> Result<Option<Incarnation>, StoreError> {
        self.shared.held_incarnation()
    }

    fn confirm_incarnation(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<bool, StoreError>> {
        async move { self.blocking(move |shared| shared.confirm_incarnation(incarnation)).await }.boxed()
    }

    fn expire_trash(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        async move { self.blocking(Shared::expire_trash).await }.boxed()
    }

    fn list(
        &self,
        after: Option<ChunkId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(ChunkId, ChunkInfo)>, StoreError>> {
        let first = match after.map(|id| u128::from_be_bytes(id.0).checked_add(1)) {
            None => Some(ChunkId([0; 16])),
            Some(next) => next.map(|next| ChunkId(next.to_be_bytes())),
        };
        async move {
            // Behind the last id there is none.
            let Some(first) = first else { return Ok(Vec::new()) };
            let found = self.blocking(move |shared| shared.index.range(first, ChunkId([0xff; 16]), limit)).await?;
            Ok(found.into_iter().map(|(id, entry)| (id, entry.info())).collect())
        }
        .boxed()
    }

    fn damaged(&self, limit: usize) -> BoxFuture<'_, Result<Vec<ChunkId>, StoreError>> {
        async move { self.blocking(move |shared| shared.index.damaged(limit)).await }.boxed()
    }

    fn usage(&self) -> Usage {
        self.shared.usage()
    }

    fn health(&self) -> Health {
        self.shared.health()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let (reply, answer) = tokio::sync::oneshot::channel();
            match self.writer.send(Job::Stop { reply }) {
                Ok(()) => answer.await.map_err(|_| StoreError::Stopped)?,
                Err(_) => Ok(()),
            }
        }
        .boxed()
    }
}

/// Shortest span of volume that is worth a volume of its own; tests use small ones.
pub(crate) const VOLUME_MIN: u64 = 64 * KIB;
