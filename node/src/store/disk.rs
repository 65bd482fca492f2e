//! The store on a filesystem: `index.redb`, `volumes/*.cyxvol` and a lock in one directory.
//!
//! Small reads go through the operating system's page cache, large ones past it (see [`super::direct`]); all are verified group by group
//! (see [`super::groups`]) before a byte leaves. A read that does not verify marks the chunk as damaged, unless the chunk went away meanwhile.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use cyx_core::chunk::Root;
use cyx_core::ids::{ChunkId, random_bytes};
use cyx_core::keeplist::{Incarnation, KeepList};
use cyx_core::units::{GIB, KIB, MIB};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redb::Durability;

use super::books::{BookOptions, Books, methods_of_books, values_in};
use super::bucket;
use super::direct::{Direct, WORTH};
use super::groups::{self, GROUP, GroupHasher, Value};
use super::index::{Entry, Index};
use super::record::{RECORD_HEADER, StoreKey};
use super::volume::{DiskIo, RealIo, Volume, is_loss};
use super::whole::WholeChunk;
use super::writer::{Incoming, Job, Writer};
use super::{
    ChunkInfo, ChunkState, ChunkStore, Clock, Health, KeepOutcome, NewChunk, READ_MAX, StoreError, Stored, Usage,
};

const VOLUME_FOLDER: &str = "volumes";
/// Name of the store's secret among the facts of the index.
pub(crate) const META_KEY: &str = "store key";
/// Bytes that a scrub reads at a time.
const SCRUB_STEP: u64 = MIB;

/// Chunks whose values are kept in memory, and how many values such a chunk has at most: 256 KiB in all.
const CHUNKS_KEPT: usize = 32;
const VALUES_KEPT: usize = 256;

/// How volumes are read.
#[derive(Clone, Copy)]
enum Way {
    /// Through the page cache.
    Cached,
    /// Past it, if the filesystem can do that.
    Direct,
}

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
    /// Write volumes, and read much of them, past the page cache where the filesystem can do it.
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
    pub(crate) books: Arc<Books>,
    volumes: RwLock<HashMap<u32, Arc<Volume>>>,
    direct: Direct,
    /// Values of chunks that are being read in several steps.
    values: Mutex<VecDeque<(Root, Arc<[Value]>)>>,
    /// Number of the volume that is being appended to.
    pub(crate) active: AtomicU64,
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
        let books = Books::open(
            directory,
            BookOptions {
                capacity: options.capacity,
                margin: options.margin,
                with_values: false,
                clock: options.clock.clone(),
                io: Arc::clone(&options.io),
            },
        )?;
        if books.index.meta(bucket::META_MARK)?.is_some_and(|mark| !mark.is_empty()) {
            if books.index.total().span > 0 {
                return Err(StoreError::Elsewhere("the chunks of this data directory are in a bucket"));
            }
            books.index.write(Durability::Immediate, |tables| tables.set_meta(bucket::META_MARK, &[]))?;
        }
        let key = store_key(&books.index, &volume_folder, &options.io)?;
        let direct = Direct::new(volume_folder.clone(), options.direct);
        let shared = Arc::new(Shared {
            options,
            volume_folder,
            key,
            books,
            volumes: RwLock::default(),
            direct,
            values: Mutex::default(),
            active: AtomicU64::new(0),
        });
        let active = super::recover::recover(&shared)?;
        shared.give_back()?;
        let writer = Writer::start(Arc::clone(&shared), active)?;
        Ok(Self { shared, writer })
    }

    /// Bytes of the disk that chunks take, trash and damaged ones included.
    #[must_use]
    pub fn taken_bytes(&self) -> u64 {
        self.shared.books.index.total().span
    }

    /// Changes how many bytes chunks may take in all.
    pub fn set_capacity(&self, bytes: u64) {
        self.shared.books.set_capacity(bytes);
    }

    pub(super) fn books(&self) -> &Arc<Books> {
        &self.shared.books
    }

    async fn append(&self, chunk: Incoming) -> Result<Stored, StoreError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.writer.send(Job::Store { chunk, rewrite: false, reply })?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.books().work.spawn_blocking(move || work(&shared)).await.map_err(|_| StoreError::Stopped)?
    }
}

/// The secret of this store: drawn when it is made, found in its volumes again if the index was lost.
fn store_key(index: &Index, volume_folder: &Path, io: &Arc<dyn DiskIo>) -> Result<StoreKey, StoreError> {
    if let Some(found) = index.meta(META_KEY)? {
        return found.try_into().map_err(|_| cyx_core::wire::DecodeError::Invalid("store key").into());
    }
    let key = match super::recover::key_of_volumes(volume_folder, io)? {
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

    /// Bytes that may still be appended: what the operator gave, and what the filesystem has.
    pub(crate) fn room(&self) -> u64 {
        self.books.left().min(self.books.free())
    }

    fn read(&self, id: ChunkId, range: &Range<u64>) -> Result<Bytes, StoreError> {
        self.with_live(id, |entry| {
            let len = range.end.checked_sub(range.start).ok_or(StoreError::OutOfRange)?;
            if len > READ_MAX || range.end > entry.len {
                return Err(StoreError::OutOfRange);
            }
            if range.is_empty() {
                return Ok(Bytes::new());
            }
            let start = range.start - range.start % GROUP;
            let end = range.end.next_multiple_of(GROUP).min(entry.len);
            let way = match usize::try_from(end - start) {
                Ok(len) if len >= WORTH && !self.direct.is_popular(entry.volume, entry.offset + start) => Way::Direct,
                _ => Way::Cached,
            };
            let values = self.verified_values(entry, way)?;
            let bytes = self.read_raw(entry, start, usize::try_from(end - start).unwrap_or_default(), way)?;
            if !groups::verify(&entry.root, &values, entry.len, start, &bytes) {
                return Err(StoreError::Damaged);
            }
            let [from, to] = [range.start, range.end].map(|at| usize::try_from(at - start).unwrap_or(0));
            Ok(bytes.slice(from..to))
        })
    }

    /// Works on a live chunk. What does not verify is marked as damaged if it is still the same chunk in the same place.
    fn with_live<R>(&self, id: ChunkId, work: impl Fn(&Entry) -> Result<R, StoreError>) -> Result<R, StoreError> {
        let mut entry = self.books.live(id)?;
        loop {
            match work(&entry) {
                Err(StoreError::Damaged) => {
                    let now = self.books.live(id)?;
                    if (now.volume, now.offset) == (entry.volume, entry.offset) {
                        self.books.mark_damaged(id, &entry)?;
                        return Err(StoreError::Damaged);
                    }
                    entry = now;
                }
                other => return other,
            }
        }
    }

    /// The values beside a chunk if they merge to its root; otherwise those computed from its bytes if these do.
    fn verified_values(&self, entry: &Entry, way: Way) -> Result<Arc<[Value]>, StoreError> {
        let count = groups::stored_count(entry.len);
        if count == 0 {
            return Ok(Arc::default());
        }
        if let Some(values) = self.kept_values(&entry.root, entry.len) {
            return Ok(values);
        }
        let len = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(groups::VALUE_LEN);
        let beside = self.read_raw(entry, entry.len, len, way).ok();
        let values: Arc<[Value]> = match beside.and_then(|bytes| values_in(&bytes, entry)) {
            Some(values) => values.into(),
            None => self.hash(entry)?.into(),
        };
        if values.len() <= VALUES_KEPT {
            let mut kept = self.values.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_front((entry.root, Arc::clone(&values)));
            kept.truncate(CHUNKS_KEPT);
        }
        Ok(values)
    }

    /// Values that were found to merge to a root, which is true for ever.
    fn kept_values(&self, root: &Root, len: u64) -> Option<Arc<[Value]>> {
        let kept = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(of, values)| of == root && values.len() as u64 == groups::count(len));
        found.map(|(_, values)| Arc::clone(values))
    }

    /// Hashes a whole chunk and compares it with its root.
    fn hash(&self, entry: &Entry) -> Result<Vec<Value>, StoreError> {
        let mut hasher = GroupHasher::new(entry.len);
        let mut at = 0;
        while at < entry.len {
            let step = SCRUB_STEP.min(entry.len - at);
            hasher.update(&self.read_raw(entry, at, usize::try_from(step).unwrap_or_default(), Way::Direct)?);
            at += step;
        }
        hasher
            .finish()
            .filter(|hashed| hashed.root == entry.root)
            .map(|hashed| hashed.values)
            .ok_or(StoreError::Damaged)
    }

    /// Bytes of a record behind its header. A disk that says that they are bad or gone has lost them: that is damage.
    fn read_raw(&self, entry: &Entry, at: u64, len: usize, way: Way) -> Result<Bytes, StoreError> {
        let offset = entry.offset + RECORD_HEADER + at;
        let direct = match way {
            Way::Direct => self.direct.read(entry.volume, offset, len),
            Way::Cached => None,
        };
        let read = match direct {
            Some(read) => read,
            None => {
                let volume = self.volume(entry.volume).ok_or(StoreError::Damaged)?;
                volume.read(offset, len).map(Bytes::from)
            }
        };
        read.map_err(|source| {
            tracing::warn!(volume = entry.volume, offset = entry.offset, error = %source, "a chunk cannot be read");
            if is_loss(&source) { StoreError::Damaged } else { StoreError::Io { doing: "read a chunk", source } }
        })
    }

    fn scrub(&self, id: ChunkId) -> Result<(), StoreError> {
        match self.books.live(id) {
            Ok(_) => self.with_live(id, |entry| self.hash(entry).map(drop)),
            Err(StoreError::Damaged) => {
                let Some(entry) = self.books.index.get(id)? else { return Err(StoreError::NotFound) };
                self.hash(&entry)?;
                self.books.set_state(id, &entry, ChunkState::Live)
            }
            Err(error) => Err(error),
        }
    }
}

impl ChunkStore for DiskStore {
    methods_of_books!();

    fn store(&self, chunk: NewChunk) -> BoxFuture<'_, Result<Stored, StoreError>> {
        self.append(Incoming::Pieces(chunk)).boxed()
    }

    fn store_whole(&self, chunk: WholeChunk) -> BoxFuture<'_, Result<Stored, StoreError>> {
        self.append(Incoming::Whole(Box::new(chunk))).boxed()
    }

    fn prefers_whole(&self) -> bool {
        true
    }

    fn read(&self, id: ChunkId, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        async move { self.blocking(move |shared| shared.read(id, &range)).await }.boxed()
    }

    fn values(&self, id: ChunkId) -> BoxFuture<'_, Result<Vec<Value>, StoreError>> {
        async move {
            self.blocking(move |shared| {
                shared.with_live(id, |entry| shared.verified_values(entry, Way::Cached).map(|values| values.to_vec()))
            })
            .await
        }
        .boxed()
    }

    fn scrub(&self, id: ChunkId) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.blocking(move |shared| shared.scrub(id)).await }.boxed()
    }

    fn expire_trash(&self, as_of: Option<u64>) -> BoxFuture<'_, Result<u64, StoreError>> {
        async move { self.blocking(move |shared| shared.expire_trash(as_of)).await }.boxed()
    }

    fn usage(&self) -> Usage {
        self.shared.books.usage(self.shared.room())
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let (reply, answer) = tokio::sync::oneshot::channel();
            let stopped = match self.writer.send(Job::Stop { reply }) {
                Ok(()) => answer.await.map_err(|_| StoreError::Stopped)?,
                Err(_) => Ok(()),
            };
            self.books().rest().await;
            stopped
        }
        .boxed()
    }
}

/// Shortest span of volume that is worth a volume of its own; tests use small ones.
pub(crate) const VOLUME_MIN: u64 = 64 * KIB;
