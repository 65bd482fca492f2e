//! The store in an S3-compatible bucket: the index on this machine, the bytes in objects.
//!
//! An object is a volume that is written once: chunks that arrive together are packed into one, and are acknowledged when the bucket has
//! it and the index knows of it. The layout is that of volumes on a disk, so an index that is lost can be made anew from the objects, and
//! an object that a crash left without an entry is found at the next start. The values of chunks' groups are kept in the index too, so
//! that a small read is one request. What is read is verified as on a disk; a bucket that does not answer is no damage.
//!
//! | module | what it does |
//! |---|---|
//! | [`objects`] | requests to the bucket |
//! | [`pack`] | packing chunks into objects |
//! | [`start`] | opening, and taking over what the index does not know |
//! | [`space`] | deleting dead objects, writing half-dead ones anew |

mod objects;
mod pack;
mod space;
mod start;

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use cyx_core::ids::{ChunkId, NodeId};
use cyx_core::keeplist::{Incarnation, KeepList};
use cyx_core::units::MIB;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use object_store::ObjectStore;
use tokio::sync::{Notify, mpsc, oneshot};

use super::books::{Books, methods_of_books, values_in};
use super::groups::{self, GROUP, GroupHasher, Value};
use super::index::Entry;
use super::record::{RECORD_HEADER, StoreKey};
use super::volume::{DiskIo, RealIo};
use super::{
    ChunkInfo, ChunkState, ChunkStore, Clock, Health, KeepOutcome, NewChunk, READ_MAX, StoreError, Stored, Usage,
};
use objects::{Fault, OBJECT_MAX, Objects};
use pack::{Job, Numbers};

/// Not empty in the index of a store whose bytes are in a bucket.
pub(crate) const META_MARK: &str = "bucket";
/// Bytes of one request of a check.
const STEP: u64 = 8 * MIB;
/// Between two looks at whether the bucket is still there, so that a node which nobody asks notices it too.
const PING: Duration = Duration::from_secs(60);
/// Between two looks at whether the bucket answers again, at first and at most.
const LOOK: Duration = Duration::from_millis(500);
const LOOK_MAX: Duration = Duration::from_secs(30);

/// How a [`BucketStore`] is opened.
#[derive(Clone)]
pub struct BucketOptions {
    /// The node whose chunks these are: no other uses the same part of the bucket.
    pub owner: NodeId,
    /// What stands before the names of the objects.
    pub prefix: String,
    /// Bytes that objects may take in all, with what is dead in them.
    pub capacity: u64,
    /// Bytes of the filesystem of the index that stay free.
    pub margin: u64,
    /// Bytes after which an object is not waited for any longer.
    pub pack: u64,
    /// How long an object is waited for that is smaller.
    pub linger: Duration,
    /// The time.
    pub clock: Clock,
    /// The system calls of the index's disk.
    pub io: Arc<dyn DiskIo>,
}

impl BucketOptions {
    /// What is usual for a node.
    #[must_use]
    pub fn new(owner: NodeId) -> Self {
        Self {
            owner,
            prefix: String::new(),
            capacity: u64::MAX,
            margin: 256 * MIB,
            pack: 8 * MIB,
            linger: Duration::from_millis(10),
            clock: Clock::system(),
            io: Arc::new(RealIo),
        }
    }
}

/// What the parts of a store share.
struct Shared {
    books: Arc<Books>,
    objects: Objects,
    key: StoreKey,
    options: BucketOptions,
    numbers: Mutex<Numbers>,
    /// Objects that may be there although nothing refers to them, and their lengths: putting them seemed to fail.
    doubtful: Mutex<Vec<(u32, u64)>>,
    /// The bucket was found to be out of reach.
    went_away: Arc<Notify>,
}

/// A chunk store in a bucket. Dropping it ends it after what was asked is done.
pub struct BucketStore {
    shared: Arc<Shared>,
    jobs: mpsc::UnboundedSender<Job>,
    watcher: tokio::task::JoinHandle<()>,
}

impl Drop for BucketStore {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl BucketStore {
    /// Opens the store whose index is in a directory and whose objects are in a bucket, making it if need be, and recovers from whatever
    /// crash there was. Has to be called in a runtime.
    ///
    /// # Errors
    /// [`StoreError::Away`] if the bucket does not answer; [`StoreError::Elsewhere`] if the objects are another node's, or not there any
    /// more; [`StoreError::InUse`]; anything that the disk of the index says.
    pub async fn open(
        directory: &Path,
        bucket: Arc<dyn ObjectStore>,
        options: BucketOptions,
    ) -> Result<Self, StoreError> {
        let shared = start::open(directory, Objects::new(bucket, &options.prefix), options).await?;
        let jobs = pack::start(Arc::clone(&shared));
        let watcher = tokio::spawn(watch(Arc::downgrade(&shared), Arc::clone(&shared.went_away)));
        let store = Self { shared, jobs, watcher };
        store.give_back().await?;
        Ok(store)
    }

    /// Bytes of objects that chunks take, trash and damaged ones included.
    #[must_use]
    pub fn taken_bytes(&self) -> u64 {
        self.shared.books.index.total().span
    }

    fn books(&self) -> &Arc<Books> {
        &self.shared.books
    }
}

/// Looks now and then whether the bucket answers, and whether one that was out of reach answers again.
async fn watch(shared: Weak<Shared>, went_away: Arc<Notify>) {
    loop {
        if tokio::time::timeout(PING, went_away.notified()).await.is_err() {
            let Some(shared) = shared.upgrade() else { return };
            if shared.is_ours().await.is_ok() {
                continue;
            }
        }
        let mut pause = LOOK;
        loop {
            tokio::time::sleep(pause).await;
            let Some(shared) = shared.upgrade() else { return };
            if !matches!(shared.books.health(), Health::Away(_)) {
                break;
            }
            if shared.is_ours().await.is_ok() {
                shared.books.set_away(None);
                break;
            }
            pause = (pause * 2).min(LOOK_MAX);
        }
    }
}

impl Shared {
    /// What chunks that arrive may take.
    fn room(&self) -> u64 {
        // The index has to have room too.
        if self.books.free() == 0 {
            return 0;
        }
        let pending = self.books.pending.load(Ordering::Acquire);
        self.limit(false).saturating_sub(self.books.index.total().tail.saturating_add(pending))
    }

    /// Bytes that the bucket may have. Chunks that arrive leave room for what is written anew, without which a full bucket could not be
    /// rid of what is dead in it: the useful half of the largest object, or less where little is offered.
    fn limit(&self, moving: bool) -> u64 {
        let capacity = self.books.capacity();
        if moving { capacity } else { capacity - (capacity / 16).min(OBJECT_MAX / 2) }
    }

    /// Counts bytes that are about to be put, if they may be. Whole objects count, until they are deleted.
    fn claim(&self, bytes: u64, moving: bool) -> bool {
        let limit = self.limit(moving);
        let claimed = self.books.pending.fetch_update(Ordering::AcqRel, Ordering::Acquire, |pending| {
            let pending = pending.checked_add(bytes)?;
            // Looked at after `pending`: what the index took over meanwhile counts twice, and never not at all.
            (self.books.index.total().tail.checked_add(pending)? <= limit).then_some(pending)
        });
        claimed.is_ok()
    }

    /// Forgets bytes that were claimed, once the index counts them or they are not there.
    fn release(&self, bytes: u64) {
        self.books.pending.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Notes that the bucket is out of reach.
    fn away(&self, reason: &str) -> StoreError {
        if self.books.set_away(Some(reason)) {
            metrics::counter!("cyx_node_bucket_failures_total").increment(1);
            self.went_away.notify_one();
        }
        StoreError::Away
    }

    fn fault(&self, fault: Fault) -> StoreError {
        match fault {
            Fault::Missing => StoreError::Damaged,
            Fault::Away(reason) => self.away(reason),
        }
    }

    /// Whether the bucket still says that these are this node's objects. If not, what is missing in it is no damage.
    async fn is_ours(&self) -> Result<(), StoreError> {
        match self.objects.marker().await {
            Ok(Some(Some(marker))) if marker == (self.options.owner, self.key) => Ok(()),
            Ok(_) => Err(self.away("the bucket does not hold this node's chunks any more")),
            Err(fault) => Err(self.fault(fault)),
        }
    }

    /// Notes an object that may have arrived. It counts as if it had until it is deleted.
    fn doubt(&self, number: u32, len: u64) {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).push((number, len));
    }

    /// What is wanted of a live chunk, verified. What does not verify twice, in the same place, is damaged.
    async fn obtain(&self, id: ChunkId, wanted: &Wanted) -> Result<Served, StoreError> {
        let mut failed = None;
        loop {
            let (entry, kept) =
                self.books.blocking(move |books| Ok((books.live(id)?, books.index.values(id)?))).await?;
            match self.try_to_obtain(&entry, kept, wanted).await {
                Err(StoreError::Damaged) if failed == Some((entry.volume, entry.offset)) => {
                    self.is_ours().await?;
                    self.books.blocking(move |books| books.mark_damaged(id, &entry)).await?;
                    return Err(StoreError::Damaged);
                }
                // It may have been written anew elsewhere meanwhile.
                Err(StoreError::Damaged) => failed = Some((entry.volume, entry.offset)),
                other => return other,
            }
        }
    }

    async fn try_to_obtain(&self, entry: &Entry, kept: Option<Vec<u8>>, wanted: &Wanted) -> Result<Served, StoreError> {
        let values = match wanted {
            Wanted::Whole => self.hash(entry).await?,
            _ if groups::stored_count(entry.len) == 0 => Vec::new(),
            _ => match kept.and_then(|kept| values_in(&kept, entry)) {
                Some(values) => values,
                None => self.hash(entry).await?,
            },
        };
        let Wanted::Range(range) = wanted else { return Ok(Served { bytes: Bytes::new(), values }) };
        let len = range.end.checked_sub(range.start).ok_or(StoreError::OutOfRange)?;
        if len > READ_MAX || range.end > entry.len {
            return Err(StoreError::OutOfRange);
        }
        if range.is_empty() {
            return Ok(Served { bytes: Bytes::new(), values });
        }
        let start = range.start - range.start % GROUP;
        let end = range.end.next_multiple_of(GROUP).min(entry.len);
        let bytes = self.raw(entry, start..end).await?;
        if !groups::verify(&entry.root, &values, entry.len, start, &bytes) {
            return Err(StoreError::Damaged);
        }
        let [from, to] = [range.start, range.end].map(|at| usize::try_from(at - start).unwrap_or(0));
        Ok(Served { bytes: bytes.slice(from..to), values })
    }

    /// Bytes of a chunk as the bucket has them.
    async fn raw(&self, entry: &Entry, range: Range<u64>) -> Result<Bytes, StoreError> {
        let base = entry.offset + RECORD_HEADER;
        let bytes = self.objects.range(entry.volume, base + range.start..base + range.end).await;
        bytes.map_err(|fault| self.fault(fault))
    }

    /// Hashes a whole chunk and compares it with its root.
    async fn hash(&self, entry: &Entry) -> Result<Vec<Value>, StoreError> {
        let mut hasher = GroupHasher::new(entry.len);
        let mut at = 0;
        while at < entry.len {
            let end = (at + STEP).min(entry.len);
            let bytes = self.raw(entry, at..end).await?;
            let hashing = tokio::task::spawn_blocking(move || {
                hasher.update(&bytes);
                hasher
            });
            hasher = hashing.await.map_err(|_| StoreError::Stopped)?;
            at = end;
        }
        let hashed = hasher.finish().filter(|hashed| hashed.root == entry.root);
        hashed.map(|hashed| hashed.values).ok_or(StoreError::Damaged)
    }

    async fn scrub(&self, id: ChunkId) -> Result<(), StoreError> {
        match self.obtain(id, &Wanted::Whole).await {
            Ok(_) => Ok(()),
            Err(StoreError::Damaged) => {
                let found = self.books.blocking(move |books| books.index.get(id)).await?.ok_or(StoreError::NotFound)?;
                if found.state != ChunkState::Damaged {
                    return Err(StoreError::Damaged);
                }
                self.hash(&found).await?;
                self.books.blocking(move |books| books.set_state(id, &found, ChunkState::Live)).await
            }
            Err(error) => Err(error),
        }
    }
}

/// What a reader wants of a chunk.
enum Wanted {
    Range(Range<u64>),
    Values,
    /// That all of it is read and compared with its root.
    Whole,
}

struct Served {
    bytes: Bytes,
    values: Vec<Value>,
}

impl ChunkStore for BucketStore {
    methods_of_books!();

    fn store(&self, chunk: NewChunk) -> BoxFuture<'_, Result<Stored, StoreError>> {
        async move {
            let (reply, answer) = oneshot::channel();
            self.jobs.send(Job::Store { chunk, rewrite: false, reply }).map_err(|_| StoreError::Stopped)?;
            answer.await.map_err(|_| StoreError::Stopped)?
        }
        .boxed()
    }

    fn read(&self, id: ChunkId, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        async move { Ok(self.shared.obtain(id, &Wanted::Range(range)).await?.bytes) }.boxed()
    }

    fn values(&self, id: ChunkId) -> BoxFuture<'_, Result<Vec<Value>, StoreError>> {
        async move { Ok(self.shared.obtain(id, &Wanted::Values).await?.values) }.boxed()
    }

    fn scrub(&self, id: ChunkId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.shared.scrub(id).boxed()
    }

    fn expire_trash(&self, as_of: Option<u64>) -> BoxFuture<'_, Result<u64, StoreError>> {
        async move {
            let purged = self.shared.books.blocking(move |books| books.purge(as_of)).await?;
            self.give_back().await?;
            Ok(purged)
        }
        .boxed()
    }

    fn usage(&self) -> Usage {
        self.shared.books.usage(self.shared.room())
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let (reply, answer) = oneshot::channel();
            let stopped = match self.jobs.send(Job::Stop { reply }) {
                Ok(()) => answer.await.map_err(|_| StoreError::Stopped)?,
                Err(_) => Ok(()),
            };
            self.books().rest().await;
            stopped
        }
        .boxed()
    }
}
