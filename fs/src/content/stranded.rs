//! Changes of buckets that are not there any more, or not open to this account. They can never be committed, and are kept until somebody says that they may go: in the
//! journal, which has room of their own for them, so that they take none from others. If a bucket is there again, the next run commits them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cyx_client::Error;
use cyx_client::transfer::{FileReader, KnownVersion};
use cyx_core::ids::BucketId;
use cyx_crypto::wrap::InodeKeyring;
use futures_util::future::{BoxFuture, FutureExt as _, ready};

use super::Content;
use super::error::Result;
use super::remote::{Brought, Version};
use super::store::{Shared, Store, lock};
use crate::journal::FileId;

/// Room in the journal for what is noted of a content besides its bytes.
const AROUND: u64 = 4096;

/// A version that nobody can be asked for any more.
struct Gone {
    known: KnownVersion,
    keys: InodeKeyring,
}

fn gone<T: Send + 'static>() -> BoxFuture<'static, Result<T, Error>> {
    ready(Err(Error::NotFound("a bucket that was deleted, or is not open to this account any more".to_owned()))).boxed()
}

impl Version for Gone {
    fn known(&self) -> KnownVersion {
        self.known
    }

    fn keys(&self) -> InodeKeyring {
        self.keys.clone()
    }

    fn read<'a>(&'a self, _offset: u64, _out: &'a mut [u8]) -> BoxFuture<'a, Result<(), Error>> {
        gone()
    }

    fn data_ranges(&self, _range: Range<u64>) -> BoxFuture<'_, Result<Vec<Range<u64>>, Error>> {
        gone()
    }

    fn warm(&self, _range: Range<u64>) -> BoxFuture<'_, Result<Brought, Error>> {
        gone()
    }

    fn reader(&self) -> Option<&FileReader> {
        None
    }
}

impl Content {
    /// Its changes may be committed.
    pub(super) fn is_sendable(&self) -> bool {
        let inner = self.inner();
        !inner.held && !inner.filling && !self.store.is_gone(self.id.bucket)
    }
}

impl Shared {
    /// The bucket is not there any more.
    pub(super) fn is_gone(&self, bucket: BucketId) -> bool {
        lock(&self.gone).contains(&bucket)
    }

    /// A version that was verified before, whether or not it can still be read.
    pub(super) fn known(
        &self,
        bucket: BucketId,
        keys: InodeKeyring,
        known: KnownVersion,
        what: &str,
    ) -> Result<Arc<dyn Version>> {
        if self.is_gone(bucket) {
            return Ok(Arc::new(Gone { known, keys }));
        }
        Ok(self.remote.known(bucket, keys, known, what)?)
    }
}

impl Store {
    /// A bucket is not there any more: its changes are kept, and not committed.
    ///
    /// # Errors
    /// If what is in the journal makes no sense.
    pub fn strand(&self, bucket: BucketId) -> Result<()> {
        lock(&self.shared.gone).insert(bucket);
        let resumed = self.resume_held(bucket, &[]).map(drop);
        self.make_room();
        resumed
    }

    /// So many bytes of notes are kept of buckets that are not there any more.
    pub fn keep_notes(&self, bytes: u64) {
        self.shared.notes_kept.store(bytes, Ordering::Release);
        self.make_room();
    }

    /// Whether a bucket was found to be gone.
    #[must_use]
    pub fn is_stranded(&self, bucket: BucketId) -> bool {
        self.shared.is_gone(bucket)
    }

    /// The files with changes of buckets that are not there any more.
    #[must_use]
    pub fn stranded(&self) -> Vec<FileId> {
        self.stranded_contents().iter().map(|content| content.id).collect()
    }

    /// Lets go of all changes of buckets that are not there any more.
    ///
    /// # Errors
    /// If the journal's disk failed.
    pub async fn discard_stranded(&self) -> Result<()> {
        for content in self.stranded_contents() {
            content.discard().await?;
        }
        self.make_room();
        Ok(self.shared.journal.sync().await?)
    }

    fn stranded_contents(&self) -> Vec<Arc<Content>> {
        self.dirty().into_iter().filter(|content| self.shared.is_gone(content.id.bucket)).collect()
    }

    fn make_room(&self) {
        let bytes: u64 = self.stranded_contents().iter().map(|content| content.dirty_bytes() + AROUND).sum();
        self.shared.journal.make_room(bytes.saturating_add(self.shared.notes_kept.load(Ordering::Acquire)));
    }
}
