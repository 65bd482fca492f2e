//! Where versions come from and go to: the client, or whatever stands in its place in tests.

use std::collections::HashMap;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cyx_client::transfer::{
    Ahead, FileReader, KnownVersion, OnItsWay as ClientOnItsWay, Patch, Patched, PlainSource, SharedRange, Transfer,
    Uploads, WriteLease,
};
use cyx_client::{Bucket, Error, IntegrityError};
use cyx_core::ids::{BucketId, TxnId};
use cyx_crypto::keys::InodeKey;
use cyx_crypto::wrap::{InodeKeyring, open_history};
use futures_util::future::{BoxFuture, FutureExt as _};

use crate::cache::pages::PageStore;
use crate::journal::FileId;

/// What was brought to this machine, by its place in the file.
pub type Brought = Vec<(Range<u64>, Bytes)>;

/// A version of a file that can be read.
pub trait Version: Send + Sync {
    /// Which one it is.
    fn known(&self) -> KnownVersion;
    /// The keys of the file.
    fn keys(&self) -> InodeKeyring;
    /// Fills `out` with the bytes from `offset` on; zeros where there are none.
    fn read<'a>(&'a self, offset: u64, out: &'a mut [u8]) -> BoxFuture<'a, Result<(), Error>>;
    /// Where there is content, in order, inside a range.
    fn data_ranges(&self, range: Range<u64>) -> BoxFuture<'_, Result<Vec<Range<u64>>, Error>>;
    /// Brings a range to this machine, as far as it is not there.
    fn warm(&self, range: Range<u64>) -> BoxFuture<'_, Result<Brought, Error>>;
    /// What the client calls it.
    fn reader(&self) -> Option<&FileReader>;
}

/// A range that is one of a version of a file of the same bucket.
pub struct Shared {
    /// The range.
    pub range: Range<u64>,
    /// The version.
    pub version: Arc<dyn Version>,
    /// Where the range begins there.
    pub offset: u64,
}

/// A range that is stored and waits for its commit.
pub enum Sent {
    /// By the client.
    Client(Ahead),
    /// By a test.
    #[cfg(test)]
    Memory(Vec<u8>),
}

/// A range that is sent ahead of its commit.
pub struct OnItsWay {
    /// The range.
    pub range: Range<u64>,
    /// What becomes of it; `None` if that failed.
    pub sent: Pin<Box<dyn Future<Output = Option<Sent>> + Send + Sync>>,
}

/// What is to be committed of one file.
pub struct Change {
    /// The version it is based on.
    pub base: Arc<dyn Version>,
    /// Bytes of the file afterwards.
    pub size: u64,
    /// Ranges that were written.
    pub data: Vec<Range<u64>>,
    /// Ranges that are holes now.
    pub holes: Vec<Range<u64>>,
    /// Ranges that are those of versions of other files.
    pub shared: Vec<Shared>,
    /// The written bytes.
    pub source: Arc<dyn PlainSource>,
    /// Parts of `data` that were sent ahead, in order.
    pub ahead: Vec<OnItsWay>,
    /// When the content last changed.
    pub mtime_ns: i64,
    /// When that was decided.
    pub changed_ns: i64,
    /// The transaction.
    pub txn: TxnId,
}

/// What became of it.
pub enum Outcome {
    /// It is the version that this reads.
    Committed(Arc<dyn Version>),
    /// Somebody else committed another one first, or the file is gone.
    Lost(Error),
}

/// What will be committed, for each change that could be prepared.
pub type Intents = Vec<Option<(TxnId, KnownVersion)>>;
/// Remembers what will be committed, before it is.
pub type Remember<'a> = Box<dyn FnOnce(Intents) -> BoxFuture<'a, Result<(), Error>> + Send + 'a>;

/// Where versions come from and go to.
pub trait Remote: Send + Sync {
    /// The newest version of a file. If `named` is the number of the newest one as far as is known, one that was verified earlier and
    /// is no older will do: then nobody need be asked.
    fn newest<'a>(
        &'a self,
        file: FileId,
        key: &'a InodeKey,
        named: Option<u64>,
        what: &'a str,
    ) -> BoxFuture<'a, Result<Arc<dyn Version>, Error>>;
    /// The keys of a file as its bucket's owner has replaced them; `None` if they are never replaced.
    fn keys(&self, file: FileId) -> BoxFuture<'_, Result<Option<InodeKeyring>, Error>>;
    /// A version that was verified before.
    ///
    /// # Errors
    /// If the bucket is not open.
    fn known(
        &self,
        bucket: BucketId,
        keys: InodeKeyring,
        known: KnownVersion,
        what: &str,
    ) -> Result<Arc<dyn Version>, Error>;
    /// Stores a range of a file that will be committed later. `coming` is how many bytes will probably follow.
    fn ahead(
        &self,
        bucket: BucketId,
        range: Range<u64>,
        source: Arc<dyn PlainSource>,
        coming: u64,
    ) -> BoxFuture<'static, Result<Sent, Error>>;
    /// Stores and commits changes of files of one bucket. Results are in the order of the changes.
    fn commit<'a>(
        &'a self,
        bucket: BucketId,
        changes: Vec<Change>,
        remember: Remember<'a>,
    ) -> BoxFuture<'a, Vec<Result<Outcome, Error>>>;
    /// Whether exactly this version was committed.
    fn is_committed<'a>(
        &'a self,
        bucket: BucketId,
        version: KnownVersion,
        what: &'a str,
    ) -> BoxFuture<'a, Result<bool, Error>>;
}

/// The client.
pub struct ClientRemote {
    transfer: Transfer,
    pages: Arc<PageStore>,
    open: Mutex<HashMap<BucketId, Open>>,
}

#[derive(Clone)]
struct Open {
    bucket: Bucket,
    uploads: Uploads,
    lease: Option<WriteLease>,
    calls: Arc<tokio::sync::RwLock<()>>,
}

impl ClientRemote {
    /// Over a transfer engine; versions are remembered in `pages`.
    #[must_use]
    pub fn new(transfer: Transfer, pages: Arc<PageStore>) -> Self {
        Self { transfer, pages, open: Mutex::default() }
    }

    /// Bytes that went to storage nodes.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.transfer.pool().sent_bytes()
    }

    fn remember(&self, file: FileId, reader: &FileReader) {
        self.pages.put_version(file, reader.known(), reader.keyring());
    }

    fn table(&self) -> MutexGuard<'_, HashMap<BucketId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a bucket known, or known anew.
    pub fn attach(&self, bucket: &Bucket) {
        let mut table = self.table();
        match table.get_mut(&bucket.id) {
            Some(open) => open.bucket = bucket.clone(),
            None => {
                let uploads = self.transfer.uploads(bucket);
                let open = Open { bucket: bucket.clone(), uploads, lease: None, calls: Arc::default() };
                table.insert(bucket.id, open);
            }
        }
    }

    /// Whether a bucket was made known.
    #[must_use]
    pub fn knows(&self, bucket: BucketId) -> bool {
        self.table().contains_key(&bucket)
    }

    /// Commits go under this write lease from now on, or under none.
    pub fn set_write_lease(&self, bucket: BucketId, lease: Option<WriteLease>) {
        if let Some(open) = self.table().get_mut(&bucket) {
            open.lease = lease;
        }
    }

    /// Read by every call that changes a bucket, written by whoever asks for its write lease: a call that is on its way without the lease
    /// would recall it.
    #[must_use]
    pub fn calls(&self, bucket: BucketId) -> Option<Arc<tokio::sync::RwLock<()>>> {
        self.table().get(&bucket).map(|open| Arc::clone(&open.calls))
    }

    /// Gives placement leases back.
    pub async fn finish(&self) {
        let all: Vec<Uploads> = self.table().values().map(|open| open.uploads.clone()).collect();
        for uploads in all {
            uploads.finish().await;
        }
    }

    fn find(&self, bucket: BucketId) -> Result<Open, Error> {
        self.table().get(&bucket).cloned().ok_or_else(|| Error::NotFound(format!("the bucket {bucket}")))
    }
}

impl Version for FileReader {
    fn known(&self) -> KnownVersion {
        self.version().into()
    }

    fn keys(&self) -> InodeKeyring {
        self.keyring().clone()
    }

    fn read<'a>(&'a self, offset: u64, out: &'a mut [u8]) -> BoxFuture<'a, Result<(), Error>> {
        self.read_cached(offset, out).boxed()
    }

    fn data_ranges(&self, range: Range<u64>) -> BoxFuture<'_, Result<Vec<Range<u64>>, Error>> {
        Self::data_ranges(self, range).boxed()
    }

    fn warm(&self, range: Range<u64>) -> BoxFuture<'_, Result<Brought, Error>> {
        Self::warm(self, range).boxed()
    }

    fn reader(&self) -> Option<&FileReader> {
        Some(self)
    }
}

impl Remote for ClientRemote {
    fn newest<'a>(
        &'a self,
        file: FileId,
        key: &'a InodeKey,
        named: Option<u64>,
        what: &'a str,
    ) -> BoxFuture<'a, Result<Arc<dyn Version>, Error>> {
        async move {
            let open = self.find(file.bucket)?;
            let remembered = named.and_then(|named| {
                let (known, keys) = self.pages.version(file)?;
                // A server that names an older one than was seen, here or by another program, has to explain itself.
                let seen = open.bucket.client().memory().versions().seen(file.bucket, file.inode);
                let least = named.max(seen.map_or(0, |seen| seen.version()));
                (known.version >= least && keys.newest().epoch() == key.epoch()).then_some((known, keys))
            });
            if let Some((known, keys)) = remembered {
                let reader = self.transfer.open_known(&open.bucket, keys, known, what.to_owned());
                return Ok(Arc::new(reader) as Arc<dyn Version>);
            }
            let whole = 0..u64::MAX;
            let reader = self.transfer.open_newest(&open.bucket, file.inode, key, whole, what.to_owned()).await?;
            self.remember(file, &reader);
            Ok(Arc::new(reader) as Arc<dyn Version>)
        }
        .boxed()
    }

    fn keys(&self, file: FileId) -> BoxFuture<'_, Result<Option<InodeKeyring>, Error>> {
        async move {
            let (key, history) = self.find(file.bucket)?.bucket.renewed_key(file.inode).await?;
            let broken = |_| IntegrityError::WrappedKey(format!("file {}", file.inode));
            Ok(Some(open_history(key, file.inode, &history).map_err(broken)?))
        }
        .boxed()
    }

    fn known(
        &self,
        bucket: BucketId,
        keys: InodeKeyring,
        known: KnownVersion,
        what: &str,
    ) -> Result<Arc<dyn Version>, Error> {
        let open = self.find(bucket)?;
        Ok(Arc::new(self.transfer.open_known(&open.bucket, keys, known, what.to_owned())))
    }

    fn ahead(
        &self,
        bucket: BucketId,
        range: Range<u64>,
        source: Arc<dyn PlainSource>,
        coming: u64,
    ) -> BoxFuture<'static, Result<Sent, Error>> {
        let open = self.find(bucket);
        async move { Ok(Sent::Client(open?.uploads.ahead(range, source, coming).await?)) }.boxed()
    }

    fn commit<'a>(
        &'a self,
        bucket: BucketId,
        changes: Vec<Change>,
        remember: Remember<'a>,
    ) -> BoxFuture<'a, Vec<Result<Outcome, Error>>> {
        async move {
            let count = changes.len();
            let all = |error: Error| {
                let mut error = Some(error);
                let next = move |_| Err(error.take().unwrap_or_else(with_others));
                (0..count).map(next).collect()
            };
            let open = match self.find(bucket) {
                Ok(open) => open,
                Err(error) => return all(error),
            };
            let patches: Option<Vec<Patch>> = changes.into_iter().map(Change::into_patch).collect();
            let Some(patches) = patches else { return all(Error::Internal("a version is one of the client's")) };
            let prepared = open.uploads.prepare(patches).await;
            if let Err(error) = remember(prepared.intents().collect()).await {
                return all(error);
            }
            let call = open.calls.read().await;
            // The lease of this moment; storing took its time.
            let lease = self.find(bucket).map_or(open.lease, |open| open.lease);
            let committed = prepared.commit(lease.as_ref()).await;
            drop(call);
            let outcome = |patched| match patched {
                Patched::Committed(reader) => {
                    self.remember(FileId { bucket, inode: reader.inode() }, &reader);
                    Outcome::Committed(Arc::new(reader))
                }
                Patched::Lost(error) => Outcome::Lost(error),
            };
            committed.into_iter().map(|result| result.map(outcome)).collect()
        }
        .boxed()
    }

    fn is_committed<'a>(
        &'a self,
        bucket: BucketId,
        version: KnownVersion,
        what: &'a str,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        async move { self.find(bucket)?.uploads.is_committed(version, what).await }.boxed()
    }
}

fn with_others() -> Error {
    Error::Network {
        what: "changes could not be committed".to_owned(),
        reason: "what they were sent with failed".to_owned(),
    }
}

impl Sent {
    fn of_client(self) -> Option<Ahead> {
        match self {
            Self::Client(ahead) => Some(ahead),
            #[cfg(test)]
            Self::Memory(_) => None,
        }
    }
}

impl Change {
    fn into_patch(self) -> Option<Patch> {
        let shared = |Shared { range, version, offset }: Shared| {
            Some(SharedRange { range, from: version.reader()?.clone(), offset })
        };
        let ahead = |OnItsWay { range, sent }: OnItsWay| ClientOnItsWay {
            range,
            ahead: Box::pin(sent.map(|sent| sent.and_then(Sent::of_client))),
        };
        Some(Patch {
            ahead: self.ahead.into_iter().map(ahead).collect(),
            shared: self.shared.into_iter().map(shared).collect::<Option<_>>()?,
            base: self.base.reader()?.clone(),
            size: self.size,
            data: self.data,
            holes: self.holes,
            source: self.source,
            mtime_ns: self.mtime_ns,
            changed_ns: self.changed_ns,
            txn: self.txn,
        })
    }
}
