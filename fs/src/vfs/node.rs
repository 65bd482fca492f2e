//! An inode as this machine knows it: what the server said last, and how long that is believed.
//!
//! Everything known carries a [`Seen`]. It is believed while the stream of events stands and nothing was heard to the contrary, or
//! for a second. An answer that crosses an event about the same thing on its way is not believed at all: every event and every
//! change of this machine's own moves a counter, and an answer counts only if the counter stands where it stood when the question
//! was asked.

use std::ops::Deref;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cyx_client::tree::names::DirectoryKeys;
use cyx_client::{Bucket, Directory, Located};
use cyx_core::ids::{BucketId, InodeId};
use cyx_core::inode::InodeKind;
use cyx_crypto::keys::InodeKey;
use cyx_crypto::wrap::{Field, InodeKeyring, epoch_of, open_field, open_history};
use cyx_proto::meta::v1 as pb;

pub(crate) use super::health::Health;
pub(crate) use super::listing::{Edge, KEPT, Listing, Name, Shown};
use super::local::Local;
use super::name_limit::{ListingGuard, NameCount};
use super::own_changes::Flights;
use super::xattr::Xattrs;
use crate::attributes::{Attr, BLOCK, Ino, Kind};
use crate::content::Content;
use crate::errno::Errno;

/// How long something is believed while the stream of events is down.
pub(crate) const UNWATCHED: Duration = Duration::from_secs(1);
/// Bytes that a directory says it has.
const DIRECTORY_SIZE: u64 = 4096;

/// Locks a mutex; what a panic left behind is as good as it was.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bucket that was opened.
pub(crate) struct Opened {
    pub(crate) id: BucketId,
    pub(crate) bucket: Remote,
    pub(crate) health: Arc<Health>,
    pub(crate) flights: Flights,
    pub(crate) local: Local,
    names: Arc<NameCount>,
    /// Rises when everything known of the bucket is to be asked for anew.
    generation: AtomicU64,
    /// Rises with every change of the bucket that is heard of or made.
    moved: AtomicU64,
    /// When the bucket last changed through this machine, Unix nanoseconds.
    last: AtomicI64,
    /// Rises when the key of anything in the bucket may have been replaced.
    keys: AtomicU64,
    /// Rises with every key of the bucket that is heard to have been replaced.
    keys_heard: AtomicU64,
}

/// A bucket as the server is asked about it.
pub(crate) enum Remote {
    /// By the client.
    Client(Box<Bucket>),
    /// In tests, which do not ask.
    #[cfg(test)]
    Nobody,
}

impl Deref for Remote {
    type Target = Bucket;

    fn deref(&self) -> &Bucket {
        match self {
            Self::Client(bucket) => bucket,
            #[cfg(test)]
            Self::Nobody => panic!("there is no server to ask"),
        }
    }
}

impl Opened {
    pub(crate) fn new(bucket: Bucket, health: Arc<Health>, local: Local, names: Arc<NameCount>) -> Self {
        Self::of(bucket.id, Remote::Client(Box::new(bucket)), health, local, names)
    }

    pub(super) fn of(id: BucketId, bucket: Remote, health: Arc<Health>, local: Local, names: Arc<NameCount>) -> Self {
        Self {
            id,
            bucket,
            health,
            flights: Flights::default(),
            local,
            names,
            generation: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            last: AtomicI64::new(0),
            keys: AtomicU64::new(0),
            keys_heard: AtomicU64::new(0),
        }
    }

    /// Keys of any inode may have been replaced.
    pub(crate) fn doubt_keys(&self) {
        self.hear_of_keys();
        self.keys.fetch_add(1, Ordering::AcqRel);
    }

    /// A key in the bucket was replaced: answers that are under way may be of before.
    pub(crate) fn hear_of_keys(&self) {
        self.keys_heard.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn seen_now(&self) -> Seen {
        Seen {
            at: Instant::now(),
            generation: self.generation.load(Ordering::Acquire),
            keys: self.keys_heard.load(Ordering::Acquire),
            stale: false,
        }
    }

    pub(crate) fn believes(&self, seen: &Seen) -> bool {
        // Without the server nothing better is to be had.
        self.health.offline() || self.trusts(seen)
    }

    fn trusts(&self, seen: &Seen) -> bool {
        !seen.stale
            && seen.generation == self.generation.load(Ordering::Acquire)
            && (self.health.get() || seen.at.elapsed() < UNWATCHED || self.local.decides())
    }

    /// Learnt before everything was to be asked for anew.
    pub(crate) fn is_older(&self, seen: &Seen) -> bool {
        seen.generation != self.generation.load(Ordering::Acquire)
    }

    /// Believes nothing any more that is known by now.
    pub(crate) fn forget_all(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.moved();
    }

    pub(crate) fn moved(&self) {
        self.moved.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn moves(&self) -> u64 {
        self.moved.load(Ordering::Acquire)
    }

    /// Moves with every change of the bucket that is heard of or made, and with every one that was decided here and is done.
    pub(crate) fn course(&self) -> (u64, u64) {
        (self.moves(), self.local.done())
    }

    /// The time of a change that is decided now: later than that of the one before, whatever the clock does.
    pub(crate) fn stamp(&self) -> i64 {
        let now = super::now_ns();
        let last = self.last.fetch_max(now, Ordering::AcqRel);
        if now > last { now } else { self.last.fetch_add(1, Ordering::AcqRel) + 1 }
    }
}

/// When something was learnt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) generation: u64,
    /// Keys of the bucket that were heard to have been replaced until then.
    pub(crate) keys: u64,
    pub(crate) stale: bool,
}

/// What is known of an inode.
pub(crate) struct Facts {
    pub(crate) key: InodeKey,
    pub(crate) history: Bytes,
    keys: Option<Arc<DirectoryKeys>>,
    pub(crate) attributes: pb::Attributes,
    pub(crate) nlink: u32,
    pub(crate) size: u64,
    pub(crate) version: u64,
    sealed_target: Bytes,
    /// As opened, or that it cannot be.
    target: Option<Result<Bytes, Errno>>,
    pub(crate) sealed_meta: Bytes,
    pub(crate) meta_version: u64,
    pub(crate) xattrs: Option<Arc<Xattrs>>,
    pub(crate) seen: Seen,
    /// Moves with every event and every change that concerns the inode.
    pub(crate) moved: u64,
    /// Times of writes that are not committed yet.
    pub(crate) written: Option<Written>,
}

/// Times of a file whose newest content is on this machine only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) mtime_ns: i64,
    pub(crate) ctime_ns: i64,
}

/// Names that lead to an inode. A directory in the trash keeps its count, and has no name.
pub(crate) fn links(inode: &pb::Inode) -> u32 {
    let is_directory = inode.kind == InodeKind::Directory as i32;
    if is_directory && inode.trashed > 0 { 0 } else { inode.nlink }
}

impl Facts {
    /// Takes what the server says, except times that were decided here and are not committed.
    pub(crate) fn take(&mut self, inode: &pb::Inode, seen: Seen) {
        self.attributes = inode.attributes.unwrap_or_default();
        self.nlink = links(inode);
        self.size = inode.size;
        self.version = inode.version;
        // A history only grows; a shorter one is of an answer that was under way when the key was replaced.
        if self.history.len() < inode.key_history.len() {
            self.history = inode.key_history.clone();
            self.keys = None;
        }
        if self.sealed_target != inode.sealed_target || matches!(self.target, Some(Err(_))) {
            self.sealed_target = inode.sealed_target.clone();
            self.target = None;
        }
        if self.sealed_meta != inode.sealed_meta {
            self.sealed_meta = inode.sealed_meta.clone();
            self.xattrs = None;
        }
        self.meta_version = inode.meta_version;
        self.seen = seen;
    }

    /// Takes a key if it is a newer one, and the older ones with it.
    pub(crate) fn take_key(&mut self, key: &InodeKey, history: &Bytes) {
        if key.epoch() > self.key.epoch() {
            self.key = key.clone();
            self.history = history.clone();
            self.keys = None;
            self.target = None;
        }
    }

    /// A version that was committed here, of which what is known may not tell yet.
    pub(crate) fn take_commit(&mut self, version: u64, size: u64) {
        if version > self.version {
            (self.version, self.size) = (version, size);
            self.disbelieve();
        }
    }

    /// Something about it changed elsewhere.
    pub(crate) fn disbelieve(&mut self) {
        self.seen.stale = true;
        self.moved += 1;
    }
}

/// The content of a file while it is open or dirty.
#[derive(Default)]
pub(crate) struct FileState {
    pub(crate) handles: u32,
    pub(crate) content: Option<Arc<Content>>,
    /// A directory and the name in it by which it was last found: where a conflict copy goes, and what it lies in.
    pub(crate) place: Option<(Weak<Node>, Box<[u8]>)>,
    /// Conflict copies of what was written here, which may not be committed yet.
    pub(crate) copies: Vec<InodeId>,
    /// The conflict copy of a version that was replaced here, for as long as the kernel may have pages of that.
    pub(crate) replaced: Option<Arc<Content>>,
}

/// An inode.
pub(crate) struct Node {
    pub(crate) ino: Ino,
    pub(crate) home: Arc<Opened>,
    pub(crate) id: InodeId,
    pub(crate) kind: Kind,
    pub(crate) facts: Mutex<Facts>,
    listing: Mutex<Listing>,
    pub(crate) file: Mutex<FileState>,
    /// Rises when the key may have been replaced.
    key_doubts: AtomicU64,
    /// How far it and the bucket's had risen when the key was the newest.
    key_trusted: AtomicU64,
    /// Held by whoever changes names in this directory, so that what is known changes in the order of the server's answers.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// Held by whoever opens or writes the content, so that appends do not interleave.
    pub(crate) writing: tokio::sync::Mutex<()>,
    /// Held by whoever makes a conflict copy of it.
    pub(crate) settling: tokio::sync::Mutex<()>,
}

impl Node {
    pub(crate) fn new(
        ino: Ino,
        home: Arc<Opened>,
        id: InodeId,
        kind: Kind,
        key: InodeKey,
        inode: &pb::Inode,
        seen: Seen,
    ) -> Self {
        let mut facts = Facts {
            key,
            history: Bytes::new(),
            keys: None,
            attributes: pb::Attributes::default(),
            nlink: 0,
            size: 0,
            version: 0,
            sealed_target: Bytes::new(),
            target: None,
            sealed_meta: Bytes::new(),
            meta_version: 0,
            xattrs: None,
            seen,
            moved: 0,
            written: None,
        };
        facts.take(inode, seen);
        let key_trusted = AtomicU64::new(home.keys.load(Ordering::Acquire));
        let key_doubts = AtomicU64::new(u64::from(seen.keys != home.keys_heard.load(Ordering::Acquire)));
        Self {
            ino,
            home,
            id,
            kind,
            facts: Mutex::new(facts),
            listing: Mutex::default(),
            file: Mutex::default(),
            key_doubts,
            key_trusted,
            changing: tokio::sync::Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            settling: tokio::sync::Mutex::default(),
        }
    }

    /// What is known of the names in it.
    pub(crate) fn listing(&self) -> ListingGuard<'_> {
        ListingGuard::new(lock(&self.listing), &self.home.names)
    }

    /// Takes what came with an entry that leads here.
    pub(crate) fn take_located(&self, located: &Located, seen: Seen) {
        let mut facts = lock(&self.facts);
        facts.take_key(&located.key, &located.inode.key_history);
        let level = self.key_level();
        if seen.keys == self.home.keys_heard.load(Ordering::Acquire) {
            self.trust_key(level);
        }
        // What is believed already may be newer than an answer that was under way when it was learnt.
        if self.home.local.touches(&[self.id]) {
            // What was decided here since is not in the answer.
            return;
        }
        if !self.home.believes(&facts.seen) {
            facts.take(&located.inode, seen);
        } else if located.inode.version > facts.version || located.inode.meta_version > facts.meta_version {
            // The answer was faster than the event about the same.
            facts.disbelieve();
        }
    }

    /// The key that is known may not be the newest.
    pub(crate) fn doubts_key(&self) -> bool {
        self.key_trusted.load(Ordering::Acquire) != self.key_level()
    }

    /// Its key was replaced.
    pub(crate) fn doubt_key(&self) {
        self.key_doubts.fetch_add(1, Ordering::AcqRel);
    }

    /// How often its key was doubted so far.
    pub(crate) fn key_level(&self) -> u64 {
        self.home.keys.load(Ordering::Acquire).wrapping_add(self.key_doubts.load(Ordering::Acquire))
    }

    /// Its key was the newest when it had been doubted so often.
    pub(crate) fn trust_key(&self, level: u64) {
        self.key_trusted.fetch_max(level, Ordering::AcqRel);
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// As the client wants it.
    pub(crate) fn directory(&self) -> Directory {
        let facts = lock(&self.facts);
        Directory { id: self.id, key: facts.key.clone(), key_history: facts.history.clone(), attributes: None }
    }

    /// Its keys for names and children.
    pub(crate) fn directory_keys(&self) -> Result<Arc<DirectoryKeys>, Errno> {
        let mut facts = lock(&self.facts);
        if let Some(keys) = &facts.keys {
            return Ok(Arc::clone(keys));
        }
        let directory =
            Directory { id: self.id, key: facts.key.clone(), key_history: facts.history.clone(), attributes: None };
        let keys = Arc::new(DirectoryKeys::new(&directory)?);
        facts.keys = Some(Arc::clone(&keys));
        Ok(keys)
    }

    pub(crate) fn key(&self) -> InodeKey {
        lock(&self.facts).key.clone()
    }

    /// All keys of the inode.
    pub(crate) fn keyring(&self) -> Result<InodeKeyring, Errno> {
        let facts = lock(&self.facts);
        open_history(facts.key.clone(), self.id, &facts.history).map_err(|_| self.broken("its older keys"))
    }

    /// Opens a sealed field.
    pub(crate) fn open_sealed(&self, field: Field, sealed: &[u8]) -> Result<Vec<u8>, Errno> {
        let broken = |_| self.broken("a sealed field");
        let epoch = epoch_of(sealed).map_err(broken)?;
        let keyring = self.keyring()?;
        let key = keyring.of_epoch(epoch).map_err(broken)?;
        open_field(key, self.id, field, sealed).map_err(broken)
    }

    pub(crate) fn broken(&self, what: &str) -> Errno {
        tracing::error!(inode = %self.id, bucket = %self.home.id, what, "not authentic");
        Errno::EIO
    }

    /// Where a symbolic link leads.
    pub(crate) fn target(&self) -> Result<Bytes, Errno> {
        let (sealed, epoch) = {
            let facts = lock(&self.facts);
            if let Some(target) = &facts.target {
                return target.clone();
            }
            (facts.sealed_target.clone(), facts.key.epoch())
        };
        let target = match self.open_sealed(Field::LinkTarget, &sealed) {
            Ok(target) if target.is_empty() || target.contains(&0) => Err(self.broken("a link's target")),
            opened => opened.map(Bytes::from),
        };
        let mut facts = lock(&self.facts);
        if facts.sealed_target == sealed && facts.key.epoch() == epoch {
            // Also that it is broken, which is said once and not at every look.
            facts.target = Some(target.clone());
        }
        target
    }

    /// Something was heard that contradicts what is known.
    pub(crate) fn doubted(&self) -> bool {
        let facts = lock(&self.facts);
        facts.seen.stale || self.home.is_older(&facts.seen)
    }

    pub(crate) fn content(&self) -> Option<Arc<Content>> {
        lock(&self.file).content.clone()
    }

    /// Bounds what is remembered of the names in it, after another one was. Without the server nobody could say what is forgotten.
    pub(crate) fn bound(&self, mut listing: ListingGuard<'_>) {
        if !listing.is_much() || self.home.health.offline() {
            return;
        }
        let forgotten = listing.bound(&self.home.local.touched());
        // Outside of the lock: the last to hold many inodes.
        drop(listing);
        drop(forgotten);
    }

    /// Where the counter of what is heard of the names in it stands.
    pub(crate) fn names_moved(&self) -> u64 {
        self.listing().moved
    }

    /// Where the counter of what is heard of its attributes stands.
    pub(crate) fn facts_moved(&self) -> u64 {
        lock(&self.facts).moved
    }

    /// Its name was removed: so many links are left.
    pub(crate) fn lose_link(&self, stamp: i64) {
        let mut facts = lock(&self.facts);
        facts.moved += 1;
        facts.attributes.ctime_ns = stamp;
        facts.nlink = if self.is_directory() { 0 } else { facts.nlink.saturating_sub(1) };
        if let Some(written) = &mut facts.written {
            written.ctime_ns = stamp;
        }
    }

    /// A name in this directory changed, and the number of directories in it by `subdirectories`.
    pub(crate) fn names_changed(&self, stamp: i64, subdirectories: i32) {
        let mut facts = lock(&self.facts);
        facts.moved += 1;
        facts.attributes.mtime_ns = stamp;
        facts.attributes.ctime_ns = stamp;
        facts.nlink = facts.nlink.saturating_add_signed(subdirectories);
    }

    /// Its content was changed on this machine: the times are those that its commit will carry.
    pub(crate) fn note_times(&self, content: &Content) {
        if let Some((mtime_ns, ctime_ns)) = content.times() {
            lock(&self.facts).written = Some(Written { mtime_ns, ctime_ns });
        }
    }

    /// Attributes as they are known, with what was written here. A link whose target cannot be opened has none: only who reads it is told
    /// so, for its directory can be listed and it can be removed.
    pub(crate) fn attr(&self, look: &Look) -> Attr {
        let content = self.content();
        let target = match self.kind {
            Kind::Symlink => self.target().map_or(0, |target| target.len() as u64),
            _ => 0,
        };
        let facts = lock(&self.facts);
        let size = match self.kind {
            Kind::File => match content {
                Some(content) if content.is_dirty() => content.len(),
                Some(content) if content.version().is_some_and(|known| known.version >= facts.version) => content.len(),
                _ => facts.size,
            },
            Kind::Directory => DIRECTORY_SIZE,
            Kind::Symlink => target,
            _ => 0,
        };
        let attributes = &facts.attributes;
        let (mtime_ns, ctime_ns) = match &facts.written {
            Some(written) => (written.mtime_ns, written.ctime_ns.max(attributes.ctime_ns)),
            None => (attributes.mtime_ns, attributes.ctime_ns),
        };
        Attr {
            ino: self.ino,
            kind: self.kind,
            mode: attributes.mode & 0o7777 & !look.umask,
            uid: look.uid.unwrap_or(attributes.uid),
            gid: look.gid.unwrap_or(attributes.gid),
            nlink: facts.nlink,
            rdev: u32::try_from(attributes.rdev).unwrap_or(0),
            size,
            blocks: if self.kind == Kind::Symlink { 0 } else { size.div_ceil(BLOCK) },
            atime_ns: attributes.atime_ns,
            mtime_ns,
            ctime_ns,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let listing = self.listing.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.home.names.change(listing.size(), 0);
    }
}

/// What everything looks like, whatever was stored.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) umask: u32,
}
