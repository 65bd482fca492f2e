//! The content of one file: the version that was committed last, and over it what was changed on this machine.
//!
//! | module | what it does |
//! |---|---|
//! | [`store`] | all contents of a mount: opens, commits in the background, replays after a crash |
//! | [`read`] | what is read: changes over the version below; data and holes |
//! | [`mod@write`] | what is written, cut, punched and copied |
//! | [`records`] | changes as records of the journal |
//! | [`changes`] | which ranges were changed, and where in the journal their bytes are |
//! | [`remote`] | versions: read, and committed |
//! | [`commit`] | changes become versions |
//! | [`due`] | when they do, and when again if that failed |
//! | [`ahead`] | long files are sent while they are written |
//! | [`prefetch`] | reading ahead |
//! | [`options`] | where everything lies, and what it may take |
//! | [`gone`] | changes of buckets that are not there any more |
//! | [`error`] | what can go wrong |
//!
//! A change is done when the journal has it; it is promised when [`Content::sync_local`] returned. Everything is found by inode:
//! a content lives as long as somebody holds it or it has changes, whatever becomes of its names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cyx_client::transfer::KnownVersion;
use cyx_core::ids::InodeId;
use cyx_crypto::wrap::InodeKeyring;
use tokio::time::Instant;

mod ahead;
pub mod changes;
mod commit;
mod due;
pub mod error;
pub mod options;
mod prefetch;
mod read;
mod records;
pub mod remote;
pub mod store;
mod stranded;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use error::journal_error;
pub use error::{ContentError, Result};
pub use options::StoreOptions;
pub use store::{Recovered, Status, Store, StoreEvent};

use crate::journal::{FileId, Intent, Pins, PlainRecord};
use ahead::Stream;
use changes::Changes;
use due::Pause;
use prefetch::Prefetch;
use remote::Version;
use store::Shared;

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
type Opened = (u64, Arc<PlainRecord>);

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

/// Where shared bytes are: in which version, and from which byte on.
#[derive(Clone)]
struct Origin {
    version: Arc<dyn Version>,
    offset: u64,
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
    /// What is shared, by the sequences of the records that say so.
    origins: BTreeMap<u64, Origin>,
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
    /// Bytes that were added at its end since it was last frozen.
    grown: u64,
    stream: Stream,
    /// Commits whose answer is not known.
    intents: Vec<Intent>,
    held: bool,
    /// It has only a part of what it is to have.
    filling: bool,
    /// The last name was removed on this machine.
    orphaned: bool,
    lost: bool,
    failures: u32,
    /// Why it was not committed last.
    failed: Option<String>,
    /// Somebody was told why it is not committed.
    told: bool,
    pause: Option<Pause>,
}

impl Inner {
    fn is_dirty(&self) -> bool {
        self.newest > self.committed
    }

    /// Nothing is left to be committed, and the journal says so.
    fn is_settled(&self) -> bool {
        !self.is_dirty() && self.pins.is_empty()
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
            origins: BTreeMap::new(),
            logged: false,
            pins: Pins::default(),
            newest,
            committed: newest,
            since: None,
            latest: None,
            soon: false,
            grown: 0,
            stream: Stream::default(),
            intents: Vec::new(),
            held: false,
            filling: false,
            orphaned: false,
            lost: false,
            failures: 0,
            failed: None,
            told: false,
            pause: None,
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

    /// The oldest file of the journal that holds some of its changes.
    pub(super) fn oldest_kept(&self) -> Option<u64> {
        self.inner().pins.oldest()
    }

    /// A commit was begun of which is not known what became.
    #[must_use]
    pub fn is_attempted(&self) -> bool {
        !self.inner().intents.is_empty()
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

    /// The last name of the file was removed on this machine: nothing is committed until [`Self::allow`], and nobody misses it.
    pub fn orphan(&self) {
        let mut inner = self.inner();
        (inner.held, inner.orphaned, inner.lost) = (true, true, false);
    }

    /// Whether the last name was removed on this machine.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        self.inner().orphaned
    }

    /// Changes may be committed.
    pub fn allow(&self) {
        let mut inner = self.inner();
        (inner.held, inner.orphaned) = (false, false);
        drop(inner);
        self.store.mark_stream(self.id);
    }

    /// It is being filled, by somebody who is the only one to write to it, or that is over. Whether it may be committed is another matter, decided
    /// by others meanwhile. Until it is over it is not committed.
    pub(crate) fn set_filling(&self, filling: bool) {
        self.inner().filling = filling;
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
            remote.newest(self.id, keys.newest(), Some(version), &what).await?
        };
        let mut inner = self.inner();
        inner.keys = base.keys();
        inner.len = base.known().size;
        inner.base = Some(Arc::clone(&base));
        Ok(base)
    }

    /// Takes note of the newest version as the server says. One that is not opened yet is opened as of this one: what is remembered of the
    /// one that was the newest before will not do any more.
    pub fn expect(&self, version: u64, size: u64) {
        let mut inner = self.inner();
        if inner.base.is_none() && inner.version < version && !inner.is_dirty() {
            inner.version = version;
            inner.len = size;
        }
    }

    /// Opens the committed version, if that was not done yet. What is remembered of it needs nobody else.
    ///
    /// # Errors
    /// Errors of the client.
    pub async fn open(&self) -> Result<()> {
        self.base().await.map(|_| ())
    }

    /// Whether something is shared with another file and not committed yet: the journal alone does not make it durable.
    #[must_use]
    pub fn shares(&self) -> bool {
        !self.inner().origins.is_empty()
    }

    /// Returns when everything that was changed before is durable on this machine. What is shared with another file is nowhere on
    /// this machine: it is durable when it is committed.
    ///
    /// # Errors
    /// If the disk failed; if something is shared, as [`Self::commit`].
    pub async fn sync_local(self: &Arc<Self>) -> Result<()> {
        if !self.is_dirty() {
            return Ok(());
        }
        let target = self.inner().newest;
        self.store.journal.sync().await?;
        let is_waiting = || {
            let inner = self.inner();
            !inner.held && !inner.filling && !inner.lost && inner.origins.range(..=target).next().is_some()
        };
        while is_waiting() {
            match self.commit().await {
                Ok(()) => {}
                // A copy is made beside, of everything that is here.
                Err(ContentError::Lost) => break,
                Err(ContentError::Client(error)) if self.lacks_shared(&error) => {
                    self.unshare().await?;
                    self.store.journal.sync().await?;
                }
                Err(error) => return Err(error),
            }
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
            inner.origins.clear();
            let len = inner.base.as_ref().map_or(0, |base| base.known().size);
            inner.stream.restart(len);
            inner.len = len;
            self.clean(&mut inner)?
        };
        self.store.mark_clean(self.id);
        self.store.journal.release(pins);
        Ok(())
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
        let newest = self.store.remote.newest(self.id, keys.newest(), None, &what);
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
}

impl Drop for Content {
    fn drop(&mut self) {
        self.store.forget(self.id);
    }
}

async fn within<T>(deadline: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(deadline, work).await.unwrap_or(Err(ContentError::Deadline))
}
