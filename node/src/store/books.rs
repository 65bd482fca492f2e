//! What every kind of store keeps on a disk of its own: the lock, the index, and how the store is doing.
//!
//! Where the bytes are is another matter ([`super::disk`], [`super::bucket`]); what is known about them, and everything that is decided
//! about a chunk's life, is the same for all and stands here and in [`super::trash`].

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cyx_core::ids::ChunkId;
use redb::Durability;
use tokio_util::task::TaskTracker;

use super::groups::{self, Value};
use super::index::{Entry, Index};
use super::volume::{DiskIo, sync_directory};
use super::{ChunkInfo, ChunkState, Clock, Health, StoreError, Usage};

const LOCK_FILE: &str = "lock";
const INDEX_FILE: &str = "index.redb";

/// How the books are opened.
pub(crate) struct BookOptions {
    /// Bytes that chunks may take in all.
    pub(crate) capacity: u64,
    /// Bytes of the filesystem that stay free.
    pub(crate) margin: u64,
    /// Whether the values of chunks' groups are kept in the index.
    pub(crate) with_values: bool,
    pub(crate) clock: Clock,
    pub(crate) io: Arc<dyn DiskIo>,
}

/// The index of a store and its health.
pub(crate) struct Books {
    pub(crate) index: Index,
    clock: Clock,
    health: Mutex<Health>,
    /// Bytes that are being stored, or may be there, and that the index does not count.
    pub(crate) pending: AtomicU64,
    capacity: AtomicU64,
    directory: PathBuf,
    margin: u64,
    io: Arc<dyn DiskIo>,
    /// Work on other threads, which goes on when whoever asked for it is gone.
    pub(crate) work: TaskTracker,
    _lock: File,
}

impl Books {
    /// Opens the index in a directory, making it if need be, for this process alone.
    pub(crate) fn open(directory: &Path, options: BookOptions) -> Result<Arc<Self>, StoreError> {
        std::fs::create_dir_all(directory).map_err(StoreError::io("make the data directory"))?;
        let lock = lock(directory)?;
        let index = Index::open(&directory.join(INDEX_FILE), options.with_values)?;
        sync_directory(directory).map_err(StoreError::io("sync the data directory"))?;
        Ok(Arc::new(Self {
            index,
            clock: options.clock,
            health: Mutex::new(Health::Writable),
            pending: AtomicU64::new(0),
            capacity: AtomicU64::new(options.capacity),
            directory: directory.to_owned(),
            margin: options.margin,
            io: options.io,
            work: TaskTracker::new(),
            _lock: lock,
        }))
    }

    /// Runs what may wait for the disk where waiting is allowed.
    pub(crate) async fn blocking<R: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let books = Arc::clone(self);
        self.work.spawn_blocking(move || work(&books)).await.map_err(|_| StoreError::Stopped)?
    }

    /// Returns when no thread works on the store any more, so that dropping the store frees the directory.
    pub(crate) async fn rest(&self) {
        self.work.close();
        self.work.wait().await;
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.capacity.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that chunks may take in all.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    /// What is left of the bytes that chunks may take where the room of each is given back: trash and damaged ones count.
    pub(crate) fn left(&self) -> u64 {
        let taken = self.index.total().span.saturating_add(self.pending.load(Ordering::Relaxed));
        self.capacity().saturating_sub(taken)
    }

    /// Bytes that the filesystem of the directory has beyond what stays free.
    pub(crate) fn free(&self) -> u64 {
        self.io.free(&self.directory).unwrap_or(0).saturating_sub(self.margin)
    }

    pub(crate) fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that the store is full or has room again. Neither says anything about one that failed or is out of reach.
    pub(crate) fn set_full(&self, full: bool) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let next = if full { Health::Full } else { Health::Writable };
        if matches!(*health, Health::Full | Health::Writable) && *health != next {
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

    /// Notes that what keeps the bytes is out of reach (with the reason) or answers again. Whether that is news.
    pub(crate) fn set_away(&self, reason: Option<&str>) -> bool {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        match (reason, &*health) {
            (_, Health::Failed(_)) | (Some(_), Health::Away(_)) | (None, Health::Writable | Health::Full) => false,
            (Some(reason), _) => {
                tracing::error!(reason, "the chunks are out of reach");
                *health = Health::Away(reason.to_owned());
                true
            }
            (None, Health::Away(_)) => {
                tracing::info!("the chunks are within reach again");
                *health = Health::Writable;
                true
            }
        }
    }

    pub(crate) fn live(&self, id: ChunkId) -> Result<Entry, StoreError> {
        let entry = self.index.get(id)?.ok_or(StoreError::NotFound)?;
        match entry.state {
            ChunkState::Live => Ok(entry),
            ChunkState::Trashed => Err(StoreError::Trashed),
            ChunkState::Damaged => Err(StoreError::Damaged),
        }
    }

    pub(crate) fn mark_damaged(&self, id: ChunkId, seen: &Entry) -> Result<(), StoreError> {
        tracing::warn!(chunk = %id, volume = seen.volume, offset = seen.offset, "a chunk is damaged");
        metrics::counter!("cyx_node_damage_found_total").increment(1);
        self.set_state(id, seen, ChunkState::Damaged)
    }

    /// Changes the state of a chunk unless it moved or changed since it was looked at.
    pub(crate) fn set_state(&self, id: ChunkId, seen: &Entry, state: ChunkState) -> Result<(), StoreError> {
        let now = self.now();
        self.index.write(Durability::Immediate, |tables| match tables.get(id)? {
            Some(entry) if entry == *seen => tables.put(id, &Entry { state, changed_at: now, ..entry }),
            _ => Ok(()),
        })
    }

    pub(crate) fn usage(&self, room: u64) -> Usage {
        let total = self.index.total();
        Usage {
            chunks: total.live.chunks,
            used_bytes: total.live.bytes,
            trash_chunks: total.trash.chunks,
            trash_bytes: total.trash.bytes,
            damaged_chunks: total.damaged.chunks,
            free_bytes: if self.health() == Health::Writable { room } else { 0 },
            capacity_bytes: self.capacity(),
        }
    }

    pub(crate) fn stat(&self, id: ChunkId) -> Result<Option<ChunkInfo>, StoreError> {
        Ok(self.index.get(id)?.map(|entry| entry.info()))
    }

    /// Up to `limit` chunks of any state behind `after`, in the order of their ids.
    pub(crate) fn list(&self, after: Option<ChunkId>, limit: usize) -> Result<Vec<(ChunkId, ChunkInfo)>, StoreError> {
        let first = match after {
            None => ChunkId([0; 16]),
            Some(id) => match u128::from_be_bytes(id.0).checked_add(1) {
                Some(next) => ChunkId(next.to_be_bytes()),
                // Behind the last id there is none.
                None => return Ok(Vec::new()),
            },
        };
        let found = self.index.range(first, ChunkId([0xff; 16]), limit)?;
        Ok(found.into_iter().map(|(id, entry)| (id, entry.info())).collect())
    }
}

/// The values in a list of bytes if they merge to the root of the chunk.
pub(crate) fn values_in(bytes: &[u8], entry: &Entry) -> Option<Vec<Value>> {
    let values = bytes.as_chunks::<{ groups::VALUE_LEN }>().0.to_vec();
    (groups::merge(&values, entry.len) == Some(entry.root)).then_some(values)
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

/// The methods of [`super::ChunkStore`] that need nothing but the books, for an `impl` of a type that has `books()`.
macro_rules! methods_of_books {
    () => {
        fn stat(&self, id: ChunkId) -> BoxFuture<'_, Result<Option<ChunkInfo>, StoreError>> {
            self.books().blocking(move |books| books.stat(id)).boxed()
        }

        fn trash(&self, ids: Vec<ChunkId>, before: u64) -> BoxFuture<'_, Result<u32, StoreError>> {
            self.books().blocking(move |books| books.trash(&ids, before)).boxed()
        }

        fn apply_keep_list(
            &self,
            list: KeepList,
            keep: Vec<ChunkId>,
        ) -> BoxFuture<'_, Result<KeepOutcome, StoreError>> {
            self.books().blocking(move |books| books.apply_keep_list(&list, &keep)).boxed()
        }

        fn note_incarnation(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), StoreError>> {
            self.books().blocking(move |books| books.note_incarnation(incarnation)).boxed()
        }

        fn held_incarnation(&self) -> Result<Option<Incarnation>, StoreError> {
            self.books().held_incarnation()
        }

        fn confirm_incarnation(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<bool, StoreError>> {
            self.books().blocking(move |books| books.confirm_incarnation(incarnation)).boxed()
        }

        fn list(
            &self,
            after: Option<ChunkId>,
            limit: usize,
        ) -> BoxFuture<'_, Result<Vec<(ChunkId, ChunkInfo)>, StoreError>> {
            self.books().blocking(move |books| books.list(after, limit)).boxed()
        }

        fn damaged(&self, after: Option<ChunkId>, limit: usize) -> BoxFuture<'_, Result<Vec<ChunkId>, StoreError>> {
            self.books().blocking(move |books| books.index.damaged(after, limit)).boxed()
        }

        fn health(&self) -> Health {
            self.books().health()
        }
    };
}
pub(crate) use methods_of_books;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::poll;

    use super::super::{ChunkStore as _, DiskOptions, DiskStore};
    use super::*;

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_is_over_when_the_store_rests() {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStore::open(folder.path(), DiskOptions::default()).unwrap();
        let books = Arc::clone(store.books());
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (go_on, waits) = mpsc::channel::<()>();
        let asked = tokio::spawn(async move {
            books
                .blocking(move |_| {
                    begun.send(()).unwrap();
                    waits.recv().unwrap();
                    Ok(())
                })
                .await
        });
        begins.await.unwrap();
        asked.abort();
        asked.await.unwrap_err();
        {
            let mut resting = std::pin::pin!(store.books().rest());
            assert!(poll!(&mut resting).is_pending(), "a thread still works");
            go_on.send(()).unwrap();
            resting.await;
        }
        store.close().await.unwrap();
        drop(store);
        DiskStore::open(folder.path(), DiskOptions::default()).unwrap();
    }
}
