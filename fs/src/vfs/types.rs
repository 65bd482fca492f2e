//! The types in which the filesystem and its adapter talk.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use cyx_client::transfer::Tuning;

use super::problems::Problem;
use crate::attributes::{Attr, Ino, Kind, ROOT_INO};
use crate::content::StoreOptions;

/// More names than that are not remembered, usually. With the inodes that they lead to they take a few hundred bytes each.
const NAMES_MAX: usize = 400_000;

/// An open file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub u64);

/// What the kernel has to forget. Implemented by the adapter on a thread of its own; calls return at once and are made while no
/// lock is held.
pub trait Invalidator: Send + Sync {
    /// Something was changed by others, maybe something that is not known here yet: answers that are under way may say how it was before,
    /// and are not to be remembered. Called before it is looked for what is known of it.
    fn overtake(&self);
    /// Attributes of an inode, and its content in this range (`0..u64::MAX`: all of it; empty: attributes only).
    fn inode(&self, ino: Ino, range: Range<u64>);
    /// As [`Self::inode`] of all content. `then` is called when the kernel has forgotten it, and has written back what programs had changed
    /// in pages of it.
    fn inode_then(&self, ino: Ino, then: Box<dyn FnOnce() + Send>);
    /// A name in a directory leads elsewhere, or nowhere, or somewhere again.
    fn entry(&self, parent: Ino, name: &[u8]);
    /// A name was removed by somebody else.
    fn delete(&self, parent: Ino, ino: Ino, name: &[u8]);
}

/// What lies at the top of the mount.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Top {
    /// A directory for each bucket.
    #[default]
    Buckets,
    /// The content of one bucket.
    Bucket(String),
}

impl Top {
    /// Whether a number is that of the list of buckets.
    pub(crate) fn is_list(&self, ino: Ino) -> bool {
        ino == ROOT_INO && *self == Self::Buckets
    }
}

/// What has to be true before `fsync` or `close` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The journal of this machine has it.
    #[default]
    Local,
    /// Storage nodes have it and the server committed it, so that every machine can see it.
    Remote,
}

/// How a filesystem behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// What lies at its top.
    pub top: Top,
    /// Nothing is ever changed.
    pub read_only: bool,
    /// Everything belongs to this user, whatever was stored.
    pub uid: Option<u32>,
    /// Everything belongs to this group, whatever was stored.
    pub gid: Option<u32>,
    /// Mode bits that nothing has, whatever was stored.
    pub umask: u32,
    /// What `fsync` waits for.
    pub fsync: Durability,
    /// What `close` waits for.
    pub close: Durability,
    /// Name of this machine, in the names of conflict copies.
    pub host: String,
    /// Where the journal and the read cache are, and how large.
    pub store: StoreOptions,
    /// Sizes and times of the transfers.
    pub tuning: Tuning,
    /// Names that are remembered of all directories together, but for what only this machine knows.
    pub names_max: usize,
    /// Lets go of what is kept of buckets that are not there any more, or not open to this account.
    pub discard_deleted: bool,
}

impl Options {
    /// Everything as usual, with a journal and a read cache in this folder.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            top: Top::default(),
            read_only: false,
            uid: None,
            gid: None,
            umask: 0,
            fsync: Durability::default(),
            close: Durability::default(),
            host: String::new(),
            store: StoreOptions::new(folder),
            // What cannot be stored waits in the journal, and what cannot be read has a deadline.
            tuning: Tuning { outage: Duration::ZERO, ..Tuning::default() },
            names_max: NAMES_MAX,
            discard_deleted: false,
        }
    }
}

/// An entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Number of the inode.
    pub ino: Ino,
    /// Its kind.
    pub kind: Kind,
    /// Its name; `.` and `..` come first.
    pub name: Vec<u8>,
    /// Where the listing goes on behind this entry.
    pub cookie: u64,
    /// Its attributes, if they were asked for. A lookup was counted then, except for `.` and `..`.
    pub attr: Option<Attr>,
}

/// What the kernel may do with the listing of a directory that is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remember {
    /// Ask each time.
    Nothing,
    /// Forget the one that it has, and keep the one that it is told now.
    Anew,
    /// Use the one that it has, which is of now.
    Kept,
}

/// What `lseek` looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// The next byte that was written.
    Data,
    /// The next byte that was not, or the end.
    Hole,
}

/// Flags of `rename`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RenameFlags {
    /// Fails if the new name is taken.
    pub no_replace: bool,
    /// Both names change places.
    pub exchange: bool,
}

/// Flags of `setxattr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SetXattr {
    /// Creates or replaces.
    #[default]
    Any,
    /// Fails if it exists.
    Create,
    /// Fails unless it exists.
    Replace,
}

/// How a file is opened: the flags of `open(2)` that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenFlags {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// The content is dropped first.
    pub truncate: bool,
    /// `create` fails if the name exists.
    pub exclusive: bool,
    /// Every write is as durable as after `fsync`.
    pub sync: bool,
}

/// Space as `statfs` reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes of a block, the unit of the other numbers.
    pub block: u32,
    /// All blocks of the plan.
    pub blocks: u64,
    /// Those not used.
    pub free: u64,
    /// Files of the buckets that are open.
    pub files: u64,
    /// Longest name.
    pub name_max: u32,
}

/// What a mount is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountState {
    /// Written bytes that are not committed yet.
    pub dirty_bytes: u64,
    /// Files with such bytes, or whose names or attributes are not sent yet.
    pub dirty_files: u64,
    /// Bytes that went to storage nodes since the mount began. What is dirty is not less before all of a file is there, and committed.
    pub sent_bytes: u64,
    /// Bytes in the read cache.
    pub cache_bytes: u64,
    /// Bytes of the journal on disk.
    pub journal_bytes: u64,
    /// The stream of events stands.
    pub connected: bool,
    /// The server was restored from a backup, which was not accepted yet: it can neither be asked nor sent anything.
    pub restored: bool,
    /// Open files and directories.
    pub handles: u64,
    /// Inodes that the kernel knows.
    pub inodes: u64,
    /// Conflict copies made since the mount began.
    pub conflicts: u64,
    /// Buckets whose only writer this machine is: names in them are decided here.
    pub leases: u64,
    /// Bytes in the journal that were written to buckets which are not there any more, or not open to this account. They cannot be sent.
    pub deleted_bytes: u64,
    /// Files with such bytes, or whose names or attributes are such.
    pub deleted_files: u64,
    /// The last thing that went wrong behind everybody's back, in one sentence.
    pub last_error: Option<String>,
    /// The latest of those things, that one last.
    pub problems: Vec<Problem>,
}
