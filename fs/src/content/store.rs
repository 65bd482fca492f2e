//! All contents of a mount, over one folder: journal and read cache. Changes are committed in the background, small ones of many
//! files together; what a crash left behind is found when the store is opened.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use cyx_client::transfer::{FrameCache, Transfer, Tuning, WriteLease};
use cyx_client::{Bucket, Client};
use cyx_core::ids::{BucketId, InodeId};
use cyx_core::units::MIB;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;

use super::commit::commit;
use super::error::{ContentError, Result};
use super::options::StoreOptions;
use super::prefetch::Budget;
use super::remote::{ClientRemote, Remote};
use super::{Content, InodeFacts};
use crate::cache::FrameStore;
use crate::cache::pages::PageStore;
use crate::journal::{FileId, Journal, JournalError, Position, Replayed, ReplayedFile};

/// Contents with more changed bytes than this are committed alone.
const LARGE: u64 = 8 * MIB;
/// Changed bytes of contents that are committed together, about.
const TOGETHER_BYTES: u64 = 32 * MIB;
/// Contents that are committed together, at most.
const TOGETHER: usize = 256;
/// Commits on their way at a time.
const AT_ONCE: usize = 3;

/// Bytes of pages and versions that are remembered: this part of the read cache's size, within bounds.
const PAGES_PART: u64 = 64;
const PAGES_LEAST: u64 = 2 * MIB;
const PAGES_MOST: u64 = 256 * MIB;

/// What happened to a content behind everybody's back.
#[derive(Clone)]
pub enum StoreEvent {
    /// Changes became a version.
    Committed {
        /// The content of the file.
        content: Arc<Content>,
        /// The version.
        version: u64,
        /// Its bytes.
        size: u64,
    },
    /// Somebody else committed first: a conflict copy has to be made.
    Lost {
        /// The file.
        file: FileId,
    },
    /// The journal is full, and something in its oldest file that is no content may keep that.
    Crowded {
        /// Number of the file of the journal.
        file: u64,
    },
    /// Something cannot be committed, perhaps because its bucket is gone.
    Refused,
    /// It could not be committed several times in a row, or for a reason that does not pass by itself. It is tried again.
    Failing {
        /// Why.
        error: String,
    },
    /// It is a copy of something that is not there any more, and this machine does not have its bytes either.
    Unreadable {
        /// The file.
        file: FileId,
    },
}

/// What an earlier run left behind.
pub struct Recovered {
    /// Buckets with changes that are not committed: [`Store::attach`] makes them go on.
    pub buckets: Vec<BucketId>,
    /// Notes in the journal that are not done.
    pub notes: Vec<(Position, u8, Bytes)>,
    /// Copies of files of the journal that could not be read completely.
    pub damaged: Vec<PathBuf>,
    /// Records of the journal that are missing, as far as can be told.
    pub lost: u64,
}

/// How a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Contents with changes.
    pub dirty_files: u64,
    /// Changed bytes.
    pub dirty_bytes: u64,
    /// Contents that wait to become conflict copies.
    pub lost_files: u64,
    /// Contents with changes of buckets that are not there any more; they count nowhere else.
    pub gone_files: u64,
    /// Their changed bytes.
    pub gone_bytes: u64,
    /// Bytes that went to storage nodes since the store was opened.
    pub sent_bytes: u64,
    /// Bytes of the journal.
    pub journal_used: u64,
    /// Bytes that the journal may have.
    pub journal_limit: u64,
    /// Bytes of the read cache.
    pub cache_used: u64,
    /// Bytes that the read cache may have.
    pub cache_limit: u64,
}

pub(crate) struct Shared {
    pub(super) journal: Journal,
    pub(super) remote: Arc<dyn Remote>,
    client: Option<Arc<ClientRemote>>,
    cache: Option<Arc<FrameStore>>,
    pub(super) options: StoreOptions,
    contents: Mutex<HashMap<FileId, Weak<Content>>>,
    pub(super) dirty: Mutex<HashMap<FileId, Arc<Content>>>,
    /// Files with pieces to be sent ahead.
    streams: Mutex<HashSet<FileId>>,
    pub(super) replayed: Mutex<HashMap<FileId, ReplayedFile>>,
    /// Buckets that are not there any more.
    pub(super) gone: Mutex<HashSet<BucketId>>,
    /// Bytes of what else is kept of them.
    pub(super) notes_kept: AtomicU64,
    pub(super) wake: Arc<Notify>,
    pub(super) prefetch: Budget,
    events: mpsc::UnboundedSender<StoreEvent>,
    uploads: Semaphore,
    pub(super) busy: Mutex<HashSet<FileId>>,
    abandoned: AtomicBool,
}

/// The store of a mount. Cheap to clone. Background work ends when the last clone and the last content are gone.
#[derive(Clone)]
pub struct Store {
    pub(super) shared: Arc<Shared>,
}

impl Store {
    /// Opens the store of a folder: takes its lock, reads its journal.
    ///
    /// # Errors
    /// [`JournalError::InUse`] while another mount uses the folder; [`JournalError::Foreign`] if it may hold changes of another account; what the
    /// disk says.
    pub async fn open(
        client: &Client,
        tuning: Tuning,
        options: StoreOptions,
    ) -> Result<(Self, Recovered, mpsc::UnboundedReceiver<StoreEvent>)> {
        let keys = client.mount_keys();
        let pages_key = client.secrets().key.derive_mount_key();
        let (folder, limits, capacity) = (options.folder.clone(), options.journal, options.cache);
        let opening = tokio::task::spawn_blocking(move || -> Result<_> {
            let (key, older) =
                keys.split_first().ok_or(ContentError::Client(cyx_client::Error::Internal("an account has a key")))?;
            let (journal, replayed) = Journal::open_with_older(&folder.join("journal"), key.clone(), older, limits)?;
            let remembered = (capacity / PAGES_PART).clamp(PAGES_LEAST, PAGES_MOST);
            let cache = folder.join("cache");
            if replayed.taken_over {
                crate::cache::clear(&cache).map_err(ContentError::Folder)?;
            }
            let frames = FrameStore::open(&cache, capacity).map_err(ContentError::Folder)?;
            let pages = Arc::new(PageStore::open(&cache, pages_key, remembered).map_err(ContentError::Folder)?);
            Ok(((journal, replayed), (frames.with_pages(Arc::clone(&pages)), pages)))
        });
        let cut_off = |_| ContentError::Client(cyx_client::Error::Interrupted);
        let ((journal, replayed), (cache, pages)) = opening.await.map_err(cut_off)??;
        let cache = Arc::new(cache);
        let frames: Arc<dyn FrameCache> = Arc::<FrameStore>::clone(&cache);
        let remote = Arc::new(ClientRemote::new(Transfer::with_cache(client, None, tuning, frames), pages));
        let opened = Opened { journal, replayed, remote: Arc::<ClientRemote>::clone(&remote) };
        Ok(Self::start(opened, Some(remote), Some(cache), options))
    }

    /// A store over something else than a client.
    ///
    /// # Errors
    /// As [`Self::open`].
    #[cfg(test)]
    pub(crate) fn open_with(
        key: cyx_crypto::keys::MountKey,
        remote: Arc<dyn Remote>,
        options: StoreOptions,
    ) -> Result<(Self, Recovered, mpsc::UnboundedReceiver<StoreEvent>)> {
        let (journal, replayed) = Journal::open(&options.folder.join("journal"), key, options.journal)?;
        Ok(Self::start(Opened { journal, replayed, remote }, None, None, options))
    }

    fn start(
        opened: Opened,
        client: Option<Arc<ClientRemote>>,
        cache: Option<Arc<FrameStore>>,
        options: StoreOptions,
    ) -> (Self, Recovered, mpsc::UnboundedReceiver<StoreEvent>) {
        let Opened { journal, replayed, remote } = opened;
        let (events, receiver) = mpsc::unbounded_channel();
        let file = |found: &ReplayedFile| found.base.file;
        let mut buckets: Vec<BucketId> = replayed.files.iter().map(|found| file(found).bucket).collect();
        buckets.sort_unstable();
        buckets.dedup();
        let prefetch = Budget::new(options.prefetch, options.prefetched);
        let shared = Shared {
            journal,
            remote,
            client,
            cache,
            options,
            contents: Mutex::default(),
            dirty: Mutex::default(),
            streams: Mutex::default(),
            replayed: Mutex::new(replayed.files.into_iter().map(|found| (file(&found), found)).collect()),
            gone: Mutex::default(),
            notes_kept: AtomicU64::new(0),
            wake: Arc::default(),
            abandoned: AtomicBool::new(false),
            prefetch,
            events,
            uploads: Semaphore::new(AT_ONCE),
            busy: Mutex::default(),
        };
        let shared = Arc::new(shared);
        tokio::spawn(upload(Arc::downgrade(&shared)));
        let recovered = Recovered { buckets, notes: replayed.notes, damaged: replayed.damaged, lost: replayed.lost };
        (Self { shared }, recovered, receiver)
    }

    /// Whether an earlier run left changes of a bucket's files behind that do not go on yet.
    #[must_use]
    pub fn recovers(&self, bucket: BucketId) -> bool {
        lock(&self.shared.replayed).keys().any(|file| file.bucket == bucket)
    }

    /// Makes a bucket known, without going on with anything.
    pub fn know(&self, bucket: &Bucket) {
        if let Some(client) = &self.shared.client {
            client.attach(bucket);
        }
    }

    /// Makes a bucket known. Changes of its files that an earlier run left behind go on from here, those of the files in `held` not before
    /// they are allowed to; says which files have some.
    ///
    /// # Errors
    /// If what is in the journal makes no sense.
    pub fn attach(&self, bucket: &Bucket, held: &[InodeId]) -> Result<Vec<Arc<Content>>> {
        self.know(bucket);
        self.resume_held(bucket.id, held)
    }

    /// Changes of a bucket's files that an earlier run left behind go on.
    #[cfg(test)]
    pub(crate) fn resume(&self, bucket: BucketId) -> Result<Vec<Arc<Content>>> {
        self.resume_held(bucket, &[])
    }

    pub(super) fn resume_held(&self, bucket: BucketId, held: &[InodeId]) -> Result<Vec<Arc<Content>>> {
        let found: Vec<(FileId, ReplayedFile)> =
            lock(&self.shared.replayed).extract_if(|file, _| file.bucket == bucket).collect();
        let mut contents = Vec::with_capacity(found.len());
        for (file, replayed) in found {
            let content = Arc::new(Content::replay(&self.shared, file, replayed)?);
            if held.contains(&file.inode) {
                content.hold();
            }
            lock(&self.shared.contents).insert(file, Arc::downgrade(&content));
            lock(&self.shared.dirty).insert(file, Arc::clone(&content));
            contents.push(content);
        }
        self.shared.wake.notify_one();
        Ok(contents)
    }

    /// The content of a file of a bucket. As long as somebody holds it, or it has changes, it is the same one.
    ///
    /// # Errors
    /// As [`Self::attach`].
    pub fn content(&self, bucket: &Bucket, facts: InodeFacts) -> Result<Arc<Content>> {
        let is_new = self.shared.client.as_ref().is_some_and(|client| !client.knows(bucket.id));
        if is_new {
            self.attach(bucket, &[])?;
        }
        Ok(self.content_of(FileId { bucket: bucket.id, inode: facts.id }, facts))
    }

    pub(crate) fn content_of(&self, file: FileId, facts: InodeFacts) -> Arc<Content> {
        let mut contents = lock(&self.shared.contents);
        if let Some(content) = contents.get(&file).and_then(Weak::upgrade) {
            return content;
        }
        let content = Arc::new(Content::new(&self.shared, file, facts));
        contents.insert(file, Arc::downgrade(&content));
        content
    }

    /// The content of a file, if somebody holds it or it has changes.
    #[must_use]
    pub fn existing(&self, bucket: BucketId, inode: InodeId) -> Option<Arc<Content>> {
        lock(&self.shared.contents).get(&FileId { bucket, inode }).and_then(Weak::upgrade)
    }

    /// The journal, for notes that belong in the order of changes.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// Commits go under this write lease from now on, or under none.
    pub fn set_write_lease(&self, bucket: BucketId, lease: Option<WriteLease>) {
        if let Some(client) = &self.shared.client {
            client.set_write_lease(bucket, lease);
        }
    }

    /// See [`ClientRemote::calls`].
    #[must_use]
    pub fn calls(&self, bucket: BucketId) -> Option<Arc<tokio::sync::RwLock<()>>> {
        self.shared.client.as_ref()?.calls(bucket)
    }

    /// Contents with changes that are not committed.
    #[must_use]
    pub fn dirty(&self) -> Vec<Arc<Content>> {
        lock(&self.shared.dirty).values().cloned().collect()
    }

    /// Commits everything of a bucket, or of all, that may be committed. The first error is returned after everything was tried.
    ///
    /// # Errors
    /// As [`Content::commit`].
    pub async fn commit_all(&self, bucket: Option<BucketId>) -> Result<()> {
        let wanted = |content: &Arc<Content>| bucket.is_none_or(|bucket| content.id.bucket == bucket);
        let contents: Vec<Arc<Content>> =
            self.dirty().into_iter().filter(wanted).filter(|content| content.is_sendable()).collect();
        let mut first = Ok(());
        for (bucket, group) in groups(contents) {
            for result in commit(&self.shared, bucket, group).await {
                if first.is_ok() {
                    first = result;
                }
            }
        }
        first
    }

    /// Commits what was changed before in these contents, those that may not be committed by themselves included; says what became of each.
    pub(crate) async fn commit_each(&self, contents: Vec<Arc<Content>>) -> Vec<(InodeId, Result<()>)> {
        let mut all = Vec::with_capacity(contents.len());
        for (bucket, group) in groups(contents) {
            let inodes: Vec<InodeId> = group.iter().map(|content| content.id.inode).collect();
            all.extend(inodes.into_iter().zip(commit(&self.shared, bucket, group).await));
        }
        all
    }

    /// Commits until nothing is left that can be, for at most this long. Then gives leases back.
    ///
    /// # Errors
    /// The last error, if something is left.
    pub async fn drain(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let result = tokio::time::timeout_at(deadline, self.commit_all(None)).await;
            if self.status().dirty_files == 0 {
                if let Some(client) = &self.shared.client {
                    client.finish().await;
                }
                return self.shared.journal.remove_free().await.map_err(ContentError::from);
            }
            let result = result.unwrap_or_else(|_| Err(self.late()));
            // Contents that are lost or held wait for somebody else.
            let waits = |content: &Arc<Content>| !content.is_sendable() || content.inner().lost;
            let dirty = self.dirty();
            if Instant::now() >= deadline || (!dirty.is_empty() && dirty.iter().all(waits)) {
                return result;
            }
            tokio::time::sleep(Duration::from_millis(200).min(deadline - Instant::now())).await;
        }
    }

    /// Commits nothing any more and lets go of everything: what is not committed stays in the journal for the next run.
    pub fn abandon(&self) {
        self.shared.abandoned.store(true, Ordering::Release);
        let dirty = std::mem::take(&mut *lock(&self.shared.dirty));
        drop(dirty);
        lock(&self.shared.replayed).clear();
        self.shared.wake.notify_one();
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> Status {
        let mut status = Status {
            sent_bytes: self.shared.client.as_ref().map_or(0, |client| client.sent_bytes()),
            journal_used: self.shared.journal.used(),
            journal_limit: self.shared.journal.limit(),
            cache_used: self.shared.cache.as_ref().map_or(0, |cache| cache.used()),
            cache_limit: self.shared.cache.as_ref().map_or(0, |cache| cache.capacity()),
            ..Status::default()
        };
        for content in self.dirty() {
            if self.shared.is_gone(content.id.bucket) {
                status.gone_files += 1;
                status.gone_bytes += content.dirty_bytes();
                continue;
            }
            status.dirty_files += 1;
            status.dirty_bytes += content.dirty_bytes();
            status.lost_files += u64::from(content.inner().lost);
        }
        status
    }
}

struct Opened {
    journal: Journal,
    replayed: Replayed,
    remote: Arc<dyn Remote>,
}

impl Shared {
    /// A content has changes: it is kept until they are committed.
    pub(super) fn mark_dirty(self: &Arc<Self>, file: FileId) {
        let content = lock(&self.contents).get(&file).and_then(Weak::upgrade);
        if let Some(content) = content {
            let mut dirty = lock(&self.dirty);
            // Whoever commits meanwhile may have been faster; one who is slower finds it here.
            if content.is_dirty() && !self.is_abandoned() {
                dirty.insert(file, content);
            }
        }
        self.wake.notify_one();
    }

    /// A content may have a piece to be sent ahead.
    pub(super) fn mark_stream(&self, file: FileId) {
        lock(&self.streams).insert(file);
        self.wake.notify_one();
    }

    fn send_ahead(&self) {
        for file in std::mem::take(&mut *lock(&self.streams)) {
            let content = lock(&self.contents).get(&file).and_then(Weak::upgrade);
            if let Some(content) = content {
                content.send_ahead();
            }
        }
    }

    /// Nothing is to be committed any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// A content has no changes any more.
    pub(super) fn mark_clean(&self, file: FileId) {
        let removed = {
            let mut dirty = lock(&self.dirty);
            match dirty.get(&file) {
                Some(content) if !content.is_dirty() => dirty.remove(&file),
                _ => None,
            }
        };
        drop(removed);
    }

    /// A content is gone.
    pub(super) fn forget(&self, file: FileId) {
        let mut contents = lock(&self.contents);
        if contents.get(&file).is_some_and(|content| content.strong_count() == 0) {
            contents.remove(&file);
        }
    }

    pub(super) fn tell(&self, event: StoreEvent) {
        // Nobody may listen any more.
        let _ = self.events.send(event);
    }

    /// Moves what keeps the oldest file of a full journal to its end, if that is little.
    fn compact(&self) {
        let Some(oldest) = self.journal.oldest_pinned() else { return };
        self.tell(StoreEvent::Crowded { file: oldest });
        let dirty: Vec<Arc<Content>> = lock(&self.dirty).values().cloned().collect();
        // For those of buckets that are gone there is room of their own.
        let theirs = dirty.iter().filter(|content| !self.is_gone(content.id.bucket));
        let bytes: u64 = theirs.map(|content| content.dirty_bytes()).sum();
        if bytes.saturating_mul(2) > self.journal.used() {
            return;
        }
        for content in dirty {
            if let Err(error) = content.relocate(oldest) {
                tracing::debug!(%error, "the journal stays as large as it is");
                return;
            }
        }
    }
}

/// Contents that are committed together: large ones alone. Those that keep the oldest files of the journal come first, because these become
/// free in their order: otherwise almost everything would have to be committed before a full journal takes anything again.
pub(super) fn groups(mut contents: Vec<Arc<Content>>) -> Vec<(BucketId, Vec<Arc<Content>>)> {
    contents.sort_by_cached_key(|content| content.oldest_kept());
    let mut groups: Vec<(BucketId, Vec<Arc<Content>>)> = Vec::new();
    let mut open: HashMap<BucketId, (Vec<Arc<Content>>, u64)> = HashMap::new();
    for content in contents {
        let (bucket, bytes) = (content.id.bucket, content.dirty_bytes());
        if bytes > LARGE {
            groups.push((bucket, vec![content]));
            continue;
        }
        let (group, total) = open.entry(bucket).or_default();
        group.push(content);
        *total += bytes;
        if group.len() >= TOGETHER || *total >= TOGETHER_BYTES {
            *total = 0;
            groups.push((bucket, std::mem::take(group)));
        }
    }
    groups.extend(open.into_iter().map(|(bucket, (group, _))| (bucket, group)).filter(|(_, group)| !group.is_empty()));
    groups
}

/// Commits changes when they are due, as long as there is a store.
async fn upload(store: Weak<Shared>) {
    let mut hungry = false;
    loop {
        let Some(shared) = store.upgrade().filter(|shared| !shared.is_abandoned()) else { return };
        let (due, next) = shared.due(hungry);
        shared.send_ahead();
        if hungry && shared.journal.is_disk_full() {
            for cache in shared.cache.iter().map(Arc::clone) {
                let _ = tokio::task::spawn_blocking(move || cache.give_way()).await;
            }
        }
        if hungry && due.is_empty() {
            shared.compact();
        }
        hungry = false;
        for (bucket, group) in groups(due) {
            let files: Vec<FileId> = group.iter().map(|content| content.id).collect();
            lock(&shared.busy).extend(files.iter().copied());
            let working = Arc::clone(&shared);
            // They wait for their turn there: here somebody may ask for room meanwhile, or have something to be sent ahead.
            tokio::spawn(async move {
                let turn = working.uploads.acquire().await;
                commit(&working, bucket, group).await;
                {
                    let mut busy = lock(&working.busy);
                    files.iter().for_each(|file| {
                        busy.remove(file);
                    });
                }
                drop(turn);
                working.wake.notify_one();
            });
        }
        // Without a reference, so that the store can end; looked after now and then all the same.
        let wait = next.map_or(Duration::from_secs(1), |next| next.saturating_duration_since(Instant::now()));
        let (wake, hunger) = (Arc::clone(&shared.wake), shared.journal.hunger());
        drop(shared);
        tokio::select! {
            () = tokio::time::sleep(wait.min(Duration::from_secs(1))) => {}
            () = wake.notified() => {}
            () = hunger.notified() => hungry = true,
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<JournalError> for crate::errno::Errno {
    fn from(error: JournalError) -> Self {
        Self::from(ContentError::from(error))
    }
}
