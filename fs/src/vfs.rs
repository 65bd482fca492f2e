//! The filesystem itself: every operation as an async method that returns a result or an [`Errno`].
//!
//! Cheap to clone. No method blocks a thread; every one may be dropped half-way (a deadline), after which caches heal themselves:
//! what was under way comes back as an event. Changes of names and attributes are decided here while this machine is the only one that
//! changes a bucket, else by the server before they are answered; content goes to the journal of this machine and is committed behind.
//!
//! | module | what it does |
//! |---|---|
//! | [`types`] | what the filesystem and its adapter hand to each other |
//! | `node`, `table` | inodes as this machine knows them, and their numbers |
//! | `buckets`, `stranded` | the top of the mount, and what is not there any more |
//! | `look` | asking the server, and when an answer is believed |
//! | `health` | whether it can be asked |
//! | `listing`, `index`, `name_limit` | the names of directories, of large ones, and of many |
//! | `own_changes` | telling own changes from those of others |
//! | `apply` | changing the tree |
//! | `local` | deciding that here, under the bucket's write lease |
//! | `make`, `remove`, `rename` | names |
//! | `attr`, `xattr`, `space` | attributes |
//! | `keys` | keys that a bucket's owner replaces meanwhile |
//! | `orphans` | files without a name that are still written to |
//! | `files`, `dirs`, `cookies` | open files and directories, and where a listing goes on |
//! | `problems` | what went wrong, for whoever looks later |

mod apply;
mod attr;
mod buckets;
mod cookies;
mod dirs;
mod files;
pub(crate) mod health;
mod index;
mod keys;
mod listing;
pub(crate) mod local;
mod look;
mod make;
mod name_limit;
pub(crate) mod node;
mod orphans;
mod own_changes;
mod problems;
mod remove;
mod rename;
mod space;
mod stranded;
mod table;
#[cfg(test)]
mod tests;
pub mod types;
mod xattr;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cyx_client::Client;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{BucketId, InodeId};
use cyx_core::units::NAME_MAX;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attributes::{Attr, Ino};
use crate::content::{Content, ContentError, Status, Store, journal_error};
use crate::errno::Errno;
use crate::journal::{FileId, JournalError, Position, Record};
use crate::repeats::is_news;
use buckets::Buckets;
use local::kept::KeptNames;
use local::note::Note;
pub(crate) use make::New;
use name_limit::NameCount;
use node::{Health, Look, Node, lock};
pub use problems::Problem;
use problems::Problems;
use table::Table;
pub use types::{
    DirEntry, Durability, Handle, Invalidator, MountState, OpenFlags, Options, Remember, RenameFlags, Seek, SetXattr,
    Space, Top,
};

/// How long the kernel may believe names and attributes while changes are pushed. They are also invalidated when they change, so this
/// bounds what is believed after a connection broke unnoticed.
const TTL_WATCHED: Duration = Duration::from_secs(30);

/// Version of an entry that is not known: any will do.
const ANY_VERSION: u64 = 0;

/// Who mounts waits for an answer of the server for so long. The client would try for minutes.
const FIRST_ANSWER: Duration = Duration::from_secs(60);

/// A mounted filesystem. Cheap to clone.
#[derive(Clone)]
pub struct Filesystem {
    pub(crate) inner: Arc<Inner>,
}

/// An open file or directory.
pub(crate) enum Open {
    /// A file.
    File(OpenFile),
    /// A directory.
    Directory(dirs::OpenDirectory),
}

/// An open file.
pub(crate) struct OpenFile {
    pub(crate) node: Arc<Node>,
    pub(crate) content: Arc<Content>,
    pub(crate) flags: OpenFlags,
    /// Something was written through it and not flushed.
    pub(crate) wrote: std::sync::atomic::AtomicBool,
}

/// What a number leads to.
pub(crate) enum Found {
    /// The list of buckets.
    Top,
    /// An inode.
    Node(Arc<Node>),
}

pub(crate) struct Inner {
    /// Itself, for its own tasks.
    me: Weak<Self>,
    pub(crate) runtime: tokio::runtime::Handle,
    /// Who asks for write leases: this folder, whichever process uses it.
    holder: String,
    /// What an earlier run decided and did not send, of buckets that are not open yet.
    notes: Mutex<HashMap<BucketId, Vec<(Position, Note)>>>,
    /// What was decided in buckets that are not there any more.
    pub(crate) kept: KeptNames,
    /// Notes that nothing can be made of. They are kept.
    strays: Mutex<Vec<(Position, Record)>>,
    /// Where is noted which files were removed here and are open.
    orphans: Arc<Mutex<HashMap<FileId, Position>>>,
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) look: Look,
    pub(crate) health: Arc<Health>,
    pub(crate) table: Table,
    pub(crate) buckets: Buckets,
    pub(crate) store: Store,
    pub(crate) invalidator: OnceLock<Arc<dyn Invalidator>>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) conflicts: AtomicU64,
    pub(crate) problems: Mutex<Problems>,
    pub(crate) names: Arc<NameCount>,
    handles: Mutex<HashMap<u64, Arc<Open>>>,
    next_handle: AtomicU64,
    space: tokio::sync::Mutex<Option<(std::time::Instant, Space)>>,
}

/// Unix nanoseconds now.
pub(crate) fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

impl Filesystem {
    /// Opens the filesystem of a client's buckets, and begins to commit what an earlier run left in the journal.
    ///
    /// # Errors
    /// Those of the client; if the journal is in use or cannot be read.
    pub async fn open(client: Client, options: Options) -> cyx_client::Result<Self> {
        let opened = Store::open(&client, options.tuning, options.store.clone()).await;
        let (store, recovered, events) = opened.map_err(store_error)?;
        let holder = local::lease::holder(&options.store.folder)?;
        let notes = local::note::read_all(&recovered.notes);
        let losing = notes.losing();
        store.journal().forget_intents(|file| losing.contains(&(file.bucket, file.inode)));
        let strange = notes.strange.len();
        let health = Arc::new(Health::default());
        let look = Look { uid: options.uid, gid: options.gid, umask: options.umask };
        let names = Arc::new(NameCount::new(options.names_max));
        let inner = Arc::new_cyclic(|me| Inner {
            me: Weak::clone(me),
            runtime: tokio::runtime::Handle::current(),
            holder,
            notes: Mutex::new(notes.changes),
            kept: KeptNames::default(),
            strays: Mutex::new(notes.strange),
            orphans: Arc::new(Mutex::new(notes.orphans)),
            buckets: Buckets::new(&health),
            client,
            options,
            look,
            health,
            table: Table::default(),
            store,
            invalidator: OnceLock::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            conflicts: AtomicU64::new(0),
            problems: Mutex::default(),
            names,
            handles: Mutex::default(),
            next_handle: AtomicU64::new(1),
            space: tokio::sync::Mutex::default(),
        });
        let this = Self { inner };
        for again in notes.again {
            this.inner.store.journal().finish(again).map_err(journal_error)?;
        }
        // A server that may not be asked, such as one that was restored from a backup, says so here and not to every program.
        match &this.inner.options.top {
            Top::Bucket(name) => drop(answered(this.inner.open_bucket(name)).await?),
            Top::Buckets => drop(answered(this.inner.ask_for_buckets(this.inner.client.buckets())).await?),
        }
        for path in &recovered.damaged {
            this.inner.report(&format!(
                "a part of the journal is damaged ({} records are missing); what can be read goes on, and the file is kept as {}",
                recovered.lost,
                path.display()
            ));
        }
        if strange > 0 {
            this.inner.report(&format!("{strange} changes of names in the journal make no sense and stay there"));
        }
        this.begin_events();
        this.inner.begin_bounding();
        this.begin_commits(events);
        let mut buckets = recovered.buckets;
        buckets.extend(lock(&this.inner.notes).keys().copied());
        buckets.sort_unstable();
        buckets.dedup();
        this.inner.open_recovered(&buckets).await?;
        if this.inner.options.discard_deleted {
            this.inner.discard_deleted().await?;
        }
        Ok(this)
    }

    /// Says whom to tell what the kernel has to forget. Without it nobody is told. Only the first call counts.
    pub fn set_invalidator(&self, invalidator: Arc<dyn Invalidator>) {
        let _ = self.inner.invalidator.set(invalidator);
    }

    /// The kernel is to forget what it has of a file.
    pub(crate) fn forget_content(&self, ino: Ino) {
        if let Some(invalidator) = self.inner.invalidator.get() {
            invalidator.inode(ino, 0..u64::MAX);
        }
    }

    /// The kernel is to forget where a name leads.
    pub(crate) fn forget_name(&self, parent: Ino, name: &[u8]) {
        if let Some(invalidator) = self.inner.invalidator.get() {
            invalidator.entry(parent, name);
        }
    }

    /// How long the kernel may believe names and attributes.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        if self.inner.health.get() { TTL_WATCHED } else { node::UNWATCHED }
    }

    /// How long the kernel may believe where a name in this directory leads, or that it leads nowhere: buckets come and go without an
    /// event that would tell it otherwise.
    #[must_use]
    pub fn ttl_in(&self, parent: Ino) -> Duration {
        name_ttl(&self.inner.options.top, parent, self.ttl())
    }

    /// What a name leads to. Counts a lookup.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENAMETOOLONG`; `EIO` if the server cannot be asked or its answer is not authentic.
    pub async fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Attr, Errno> {
        let inner = &*self.inner;
        check_length(name)?;
        let found = match inner.found(parent)? {
            Found::Top => inner.find_bucket(name).await?,
            Found::Node(directory) => inner.find(&directory, name).await?.map(|edge| edge.node),
        };
        let node = found.ok_or(Errno::ENOENT)?;
        inner.fresh(&node).await?;
        let attr = node.attr(&inner.look);
        inner.table.count(&node);
        Ok(attr)
    }

    /// The kernel forgets `lookups` lookups.
    pub fn forget(&self, ino: Ino, lookups: u64) {
        let Some(node) = self.inner.table.forget(ino, lookups) else { return };
        let has_name = node.is_directory() || lock(&node.facts).nlink > 0;
        let content = self.inner.content_if_any(&node);
        if content.is_some_and(|content| content.is_dirty() && (!has_name || content.is_orphaned())) {
            self.inner.begin(|inner| async move { inner.closed_without_name(&node) });
        }
    }

    /// What the mount is doing.
    #[must_use]
    pub fn state(&self) -> MountState {
        let inner = &*self.inner;
        let status = inner.store.status();
        let problems = lock(&inner.problems).all();
        MountState {
            dirty_bytes: status.dirty_bytes,
            dirty_files: inner.dirty_files(&status),
            sent_bytes: status.sent_bytes,
            cache_bytes: status.cache_used,
            journal_bytes: status.journal_used,
            connected: inner.health.get(),
            restored: inner.client.memory().is_restored(),
            handles: lock(&inner.handles).len() as u64,
            inodes: inner.table.known(),
            conflicts: inner.conflicts.load(Ordering::Relaxed),
            leases: inner.buckets.roots().iter().filter(|root| root.home.local.decides()).count() as u64,
            deleted_bytes: status.gone_bytes,
            deleted_files: inner.deleted_files(),
            last_error: problems.last().map(|problem| problem.what.clone()),
            problems,
        }
    }
}

impl Inner {
    /// What a number leads to.
    pub(crate) fn found(&self, ino: Ino) -> Result<Found, Errno> {
        if self.options.top.is_list(ino) {
            return Ok(Found::Top);
        }
        self.table.by_number(ino).map(Found::Node).ok_or(Errno::ESTALE)
    }

    /// The inode of a number; `top` if it is the list of buckets.
    pub(crate) fn node(&self, ino: Ino, top: Errno) -> Result<Arc<Node>, Errno> {
        match self.found(ino)? {
            Found::Node(node) => Ok(node),
            Found::Top => Err(top),
        }
    }

    /// The directory of a number, for a change in it.
    pub(crate) fn directory_to_change(&self, ino: Ino, name: &[u8], top: Errno) -> Result<Arc<Node>, Errno> {
        self.writable()?;
        check_length(name)?;
        let node = self.node(ino, top)?;
        if node.is_directory() { Ok(node) } else { Err(Errno::ENOTDIR) }
    }

    pub(crate) fn writable(&self) -> Result<(), Errno> {
        if self.options.read_only { Err(Errno::EROFS) } else { Ok(()) }
    }

    pub(crate) fn keep(&self, open: Open) -> Handle {
        let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
        lock(&self.handles).insert(handle, Arc::new(open));
        Handle(handle)
    }

    pub(crate) fn opened(&self, handle: Handle) -> Result<Arc<Open>, Errno> {
        lock(&self.handles).get(&handle.0).cloned().ok_or(Errno::EBADF)
    }

    pub(crate) fn close(&self, handle: Handle) -> Option<Arc<Open>> {
        lock(&self.handles).remove(&handle.0)
    }

    /// What an earlier run decided in a bucket and did not send.
    pub(crate) fn notes_of(&self, bucket: BucketId) -> Vec<(Position, Note)> {
        lock(&self.notes).remove(&bucket).unwrap_or_default()
    }

    /// Files with content, a name or attributes that are not on the server yet.
    fn dirty_files(&self, status: &Status) -> u64 {
        let pending: HashSet<InodeId> =
            self.buckets.roots().iter().flat_map(|root| root.home.local.pending()).collect();
        if pending.is_empty() {
            return status.dirty_files;
        }
        let dirty = self.store.dirty();
        let others = dirty.iter().filter(|content| !pending.contains(&content.id().inode)).count();
        (pending.len() + others) as u64
    }

    /// Remembers what went wrong behind everybody's back.
    pub(crate) fn report(&self, what: &str) {
        if is_news(what) {
            tracing::error!("{what}");
        }
        lock(&self.problems).note(what);
    }

    /// Two versions of something are both kept. Nothing went wrong, but somebody has to look at them.
    pub(crate) fn report_conflict(&self, what: &str) {
        self.conflicts.fetch_add(1, Ordering::Relaxed);
        if is_news(what) {
            tracing::warn!("{what}");
        }
        lock(&self.problems).note(what);
    }
}

/// How long a name in a directory is believed of which everything else is believed for so long.
fn name_ttl(top: &Top, parent: Ino, ttl: Duration) -> Duration {
    if top.is_list(parent) { ttl.min(node::UNWATCHED) } else { ttl }
}

/// What the server is asked before anything is mounted: it is given up if no answer comes.
///
/// # Errors
/// Those of the asking; [`cyx_client::Error::Network`] if it takes too long.
pub async fn answered<T>(asking: impl Future<Output = cyx_client::Result<T>>) -> cyx_client::Result<T> {
    let silent = |_| cyx_client::Error::Network {
        what: "cannot reach the server".to_owned(),
        reason: "no answer in time".to_owned(),
    };
    tokio::time::timeout(FIRST_ANSWER, asking).await.map_err(silent)?
}

/// An error of the store, as an error of the client.
pub(crate) fn store_error(error: ContentError) -> cyx_client::Error {
    match error {
        ContentError::Client(error) => error,
        // Over in a moment, if a mount that was taken off is still finishing: no mistake of whoever mounts.
        ContentError::Journal(error @ JournalError::InUse(_)) => cyx_client::Error::Invalid {
            code: ErrorCode::Conflict,
            message: error.to_string(),
            advice: Some("Take that one off first, or give this one a folder of its own with --cache-dir.".to_owned()),
        },
        ContentError::Journal(error @ JournalError::Foreign(_)) => cyx_client::Error::Invalid {
            code: ErrorCode::InvalidArgument,
            message: error.to_string(),
            advice: Some(
                "Mount it with those credentials and take it off again, or name another folder with --cache-dir; if the changes may be lost, \
                 remove it."
                    .to_owned(),
            ),
        },
        ContentError::Journal(JournalError::Disk { path, source }) => cyx_client::Error::Local { path, source },
        ContentError::Folder(source) => cyx_client::Error::Local { path: "the cache of the mount".into(), source },
        other => cyx_client::Error::Config { path: "the journal of the mount".into(), reason: other.to_string() },
    }
}

/// A name is not too long. Empty ones do not exist.
pub(crate) fn check_length(name: &[u8]) -> Result<(), Errno> {
    match name.len() {
        0 => Err(Errno::ENOENT),
        1..=NAME_MAX => Ok(()),
        _ => Err(Errno::ENAMETOOLONG),
    }
}

/// A name can be given to something.
pub(crate) fn check_new_name(name: &[u8]) -> Result<(), Errno> {
    check_length(name)?;
    match name {
        b"." | b".." => Err(Errno::EEXIST),
        name if name.contains(&b'/') || name.contains(&0) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}
