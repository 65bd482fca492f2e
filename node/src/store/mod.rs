//! The chunk store: what stands between the gRPC service and whatever keeps the bytes.
//!
//! [`ChunkStore`] is the contract; [`DiskStore`] keeps it on a filesystem, [`BucketStore`] in an S3-compatible bucket. A chunk is opaque bytes with an id, a BLAKE3 root
//! and a bucket tag. Whatever a store returns has been verified against the root it stored; whatever it acknowledges is
//! durable; whatever it is told to drop stays in a trash for seven days first.
//!
//! | module | what it does |
//! |---|---|
//! | [`groups`] | hashes of 16 KiB groups, so that ranges can be verified |
//! | [`record`] | byte layout of volumes |
//! | [`volume`] | one volume file and its system calls |
//! | [`index`] | which chunk lies where |
//! | [`books`] | what all stores keep on a disk of their own |
//! | [`enter`] | entering chunks into the index |
//! | [`disk`] | the store on a filesystem: opening, reading, verifying |
//! | [`direct`] | large reads past the page cache |
//! | [`writer`] | the two threads that append, sync and acknowledge |
//! | [`staging`] | the buffer through which records are written |
//! | [`whole`] | large chunks put together as they arrive |
//! | [`recover`] | replaying volumes after a crash |
//! | [`trash`] | trash, keep-lists, giving space back |
//! | [`bucket`] | the store in a bucket |

mod books;
mod bucket;
mod direct;
mod disk;
mod enter;
pub mod groups;
mod index;
mod record;
mod recover;
mod staging;
mod trash;
pub mod volume;
mod whole;
mod writer;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use cyx_core::chunk::Root;
use cyx_core::ids::{BucketTag, ChunkId};
use cyx_core::keeplist::{Incarnation, KeepList};
use cyx_core::units::PIECE;
use futures_util::future::BoxFuture;
use thiserror::Error;

pub use bucket::{BucketOptions, BucketStore};
pub use disk::{DiskOptions, DiskStore};
pub use whole::{WHOLE_MIN, WholeChunk, WholeChunkBuilder};

/// Most bytes of one [`ChunkStore::read`].
pub const READ_MAX: u64 = 4 * PIECE as u64;

/// Tells the time in Unix seconds; tests let it jump.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| {
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
        })
    }

    /// A clock of one's own.
    #[must_use]
    pub fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Unix seconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// A chunk to be stored.
#[derive(Clone, Debug)]
pub struct NewChunk {
    /// Its id.
    pub id: ChunkId,
    /// The tag of its bucket.
    pub tag: BucketTag,
    /// BLAKE3 that its bytes must have.
    pub root: Root,
    /// Its bytes, in pieces as they arrived.
    pub pieces: Vec<Bytes>,
}

impl NewChunk {
    /// Bytes of all pieces.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A chunk that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The age that the store remembers for it: what its receipt has to say.
    pub at: u64,
    /// Whether it had been there (or in the trash) before.
    pub known: bool,
}

/// Where a chunk stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChunkState {
    /// Kept and served.
    Live,
    /// Kept for some days, not served.
    Trashed,
    /// Found not to be what was stored; never served.
    Damaged,
}

/// What a store knows about a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkInfo {
    /// Its length in bytes.
    pub len: u64,
    /// Its BLAKE3.
    pub root: Root,
    /// The tag of its bucket.
    pub tag: BucketTag,
    /// Unix second of its newest receipt.
    pub stored_at: u64,
    /// Where it stands.
    pub state: ChunkState,
}

/// What applying a keep-list did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepOutcome {
    /// Chunks moved to the trash.
    pub trashed_chunks: u64,
    /// Their bytes.
    pub trashed_bytes: u64,
    /// Chunks taken out of the trash again.
    pub restored_chunks: u64,
    /// Chunks that the list names and that are not here, at most [`MISSING_MAX`].
    pub missing: Vec<ChunkId>,
}

/// Most missing chunks that one keep-list reports.
pub const MISSING_MAX: usize = 10_000;

/// How a store is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It takes chunks.
    Writable,
    /// It has no room; it takes chunks again when there is some.
    Full,
    /// The disk failed: it takes nothing until it is restarted. The text says what failed.
    Failed(String),
    /// What keeps the bytes is out of reach: it takes and serves nothing until that answers again. The text says why.
    Away(String),
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Chunks that are live.
    pub chunks: u64,
    /// Their bytes.
    pub used_bytes: u64,
    /// Chunks in the trash.
    pub trash_chunks: u64,
    /// Their bytes.
    pub trash_bytes: u64,
    /// Chunks found damaged.
    pub damaged_chunks: u64,
    /// Bytes it would still accept.
    pub free_bytes: u64,
    /// Bytes it was given in all.
    pub capacity_bytes: u64,
}

/// Why a store did not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is no such chunk.
    #[error("the chunk is not here")]
    NotFound,
    /// The chunk is in the trash.
    #[error("the chunk is in the trash")]
    Trashed,
    /// The chunk is not what was stored.
    #[error("the chunk is damaged")]
    Damaged,
    /// The id is taken by a chunk with another root, length or tag.
    #[error("another chunk is stored under this id")]
    OtherContent,
    /// The bytes do not have the root that was announced.
    #[error("the bytes do not have the announced hash")]
    WrongBytes,
    /// The chunk is empty or larger than a node accepts.
    #[error("a chunk has 1 to {} bytes", cyx_core::units::CHUNK_MAX)]
    InvalidLength,
    /// The range does not lie within the chunk or is longer than one read may be.
    #[error("the range is not within the chunk")]
    OutOfRange,
    /// There is no room.
    #[error("the node has no room for the chunk")]
    Full,
    /// The disk failed before; the text says how.
    #[error("the store is read-only: {0}")]
    ReadOnly(String),
    /// What keeps the bytes cannot be reached; nothing is known about the chunk's bytes.
    #[error("the chunks are out of reach for now")]
    Away,
    /// The data directory, or the bucket, belongs to something else; the text says to what.
    #[error("{0}")]
    Elsewhere(&'static str),
    /// A keep-list speaks for a time that is over: its sequence or its incarnation was seen already or is older.
    #[error("the keep-list is older than one that was applied")]
    StaleKeepList,
    /// The store is shutting down.
    #[error("the store is shutting down")]
    Stopped,
    /// The data directory belongs to another running node.
    #[error("the data directory {0} is in use by another process")]
    InUse(String),
    /// A file could not be read or written.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The index failed.
    #[error("the chunk index failed: {0}")]
    Index(#[from] Box<redb::Error>),
    /// The index holds what this program did not write.
    #[error("the chunk index is {0}")]
    Layout(#[from] cyx_core::wire::DecodeError),
}

impl StoreError {
    /// Wraps what the system said with what was tried.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                Self::Index(Box::new(error.into()))
            }
        })*
    };
}
from_redb!(
    redb::Error,
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);

/// What every kind of store does. One suite (`tests/conformance`) holds all of them to it.
pub trait ChunkStore: Send + Sync + 'static {
    /// Makes a chunk durable; returns when it is.
    ///
    /// Storing a chunk that is present or in the trash with equal root and tag restores it and durably renews its time.
    /// A damaged one is replaced.
    ///
    /// # Errors
    /// [`StoreError::WrongBytes`], [`StoreError::OtherContent`], [`StoreError::InvalidLength`], [`StoreError::Full`],
    /// [`StoreError::ReadOnly`], [`StoreError::Stopped`].
    fn store(&self, chunk: NewChunk) -> BoxFuture<'_, Result<Stored, StoreError>>;

    /// As [`Self::store`], for a chunk that was hashed and put together as it arrived.
    ///
    /// # Errors
    /// As [`Self::store`].
    fn store_whole(&self, chunk: WholeChunk) -> BoxFuture<'_, Result<Stored, StoreError>> {
        self.store(chunk.into_pieces())
    }

    /// Whether [`Self::store_whole`] costs less than [`Self::store`].
    fn prefers_whole(&self) -> bool {
        false
    }

    /// What is known about a chunk, whatever its state.
    ///
    /// # Errors
    /// Only if the store itself fails.
    fn stat(&self, id: ChunkId) -> BoxFuture<'_, Result<Option<ChunkInfo>, StoreError>>;

    /// A range of a live chunk, verified; at most [`READ_MAX`] bytes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Trashed`], [`StoreError::Damaged`], [`StoreError::OutOfRange`].
    fn read(&self, id: ChunkId, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, StoreError>>;

    /// The values of a live chunk's groups, verified; empty for a chunk of one group.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn values(&self, id: ChunkId) -> BoxFuture<'_, Result<Vec<groups::Value>, StoreError>>;

    /// Reads all of a chunk that is live or damaged and compares it with its root. A damaged one that proves whole
    /// is live again.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn scrub(&self, id: ChunkId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Moves chunks to the trash, durably; returns how many were not there already. A chunk whose newest receipt is not
    /// older than `before` stays. One that was damaged is damaged again when it is taken out of there.
    ///
    /// # Errors
    /// Only if the store itself fails.
    fn trash(&self, ids: Vec<ChunkId>, before: u64) -> BoxFuture<'_, Result<u32, StoreError>>;

    /// Applies a keep-list whose signature has been checked. Repeating one that was cut short is allowed.
    ///
    /// # Errors
    /// [`StoreError::StaleKeepList`].
    fn apply_keep_list(&self, list: KeepList, keep: Vec<ChunkId>) -> BoxFuture<'_, Result<KeepOutcome, StoreError>>;

    /// Notes which life of the server's database speaks to this node. The first is adopted; a later change stops the
    /// emptying of the trash until [`Self::confirm_incarnation`]; an older one is ignored.
    ///
    /// # Errors
    /// Only if the store itself fails.
    fn note_incarnation(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The incarnation whose confirmation is awaited, if the emptying of the trash is stopped.
    ///
    /// # Errors
    /// Only if the store itself fails.
    fn held_incarnation(&self) -> Result<Option<Incarnation>, StoreError>;

    /// The operator's word that this incarnation is right. Returns whether it was the one awaited.
    ///
    /// # Errors
    /// Only if the store itself fails.
    fn confirm_incarnation(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Purges what had been in the trash for seven days at `as_of` (Unix seconds), or nothing without a time, and gives space back;
    /// returns the bytes of chunks purged.
    ///
    /// # Errors
    /// Only if the store itself fails.
    fn expire_trash(&self, as_of: Option<u64>) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Up to `limit` chunks of any state behind `after`, in the order of their ids.
    ///
    /// # Errors
    /// Only if the store itself fails.
    fn list(
        &self,
        after: Option<ChunkId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(ChunkId, ChunkInfo)>, StoreError>>;

    /// Up to `limit` chunks known to be damaged behind `after`, in the order of their ids.
    ///
    /// # Errors
    /// Only if the store itself fails.
    fn damaged(&self, after: Option<ChunkId>, limit: usize) -> BoxFuture<'_, Result<Vec<ChunkId>, StoreError>>;

    /// How much it holds.
    fn usage(&self) -> Usage;

    /// How it is doing.
    fn health(&self) -> Health;

    /// Finishes what was asked and makes everything durable; later calls to [`Self::store`] fail. Nothing works on the store any more
    /// when it returns, also nothing whose caller is gone.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}
