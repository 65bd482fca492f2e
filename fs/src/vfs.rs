//! The filesystem itself: every operation as an async method that returns a result or an [`Errno`].
//!
//! Cheap to clone. No method blocks a thread; every one may be dropped half-way (a deadline), after which caches heal themselves.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cyx_client::Client;

use crate::attributes::{Attr, Caller, Ino, Kind, SetAttr};
use crate::errno::Errno;

/// An open file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub u64);

/// What the kernel has to forget. Implemented by the adapter on a thread of its own; calls return at once and are made while no
/// lock is held.
pub trait Invalidator: Send + Sync {
    /// Attributes of an inode, and its content in this range (`0..u64::MAX`: all of it; empty: attributes only).
    fn inode(&self, ino: Ino, range: Range<u64>);
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

/// When something counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Done {
    /// As soon as the journal of this machine has it.
    #[default]
    Local,
    /// As soon as it is committed and every machine can see it.
    Remote,
}

/// How a filesystem behaves.
#[derive(Debug, Clone, Default)]
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
    pub fsync: Done,
    /// What `close` waits for.
    pub close: Done,
    /// Name of this machine, in the names of conflict copies.
    pub host: String,
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
    /// Writes go to the end.
    pub append: bool,
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
    /// Files with such bytes.
    pub dirty_files: u64,
    /// Bytes in the read cache.
    pub cache_bytes: u64,
    /// Bytes of the journal on disk.
    pub journal_bytes: u64,
    /// The stream of events stands.
    pub connected: bool,
    /// Open files and directories.
    pub handles: u64,
    /// Inodes that the kernel knows.
    pub inodes: u64,
    /// Conflict copies made since the mount began.
    pub conflicts: u64,
    /// The last thing that went wrong behind everybody's back, in one sentence.
    pub last_error: Option<String>,
}

/// A mounted filesystem. Cheap to clone.
#[derive(Clone)]
pub struct Filesystem {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    options: Options,
}

#[allow(clippy::unused_async)]
impl Filesystem {
    /// Opens the filesystem of a client's buckets.
    ///
    /// # Errors
    /// Those of the client.
    pub async fn open(client: Client, options: Options) -> cyx_client::Result<Self> {
        Ok(Self { inner: Arc::new(Inner { client, options }) })
    }

    /// Says whom to tell what the kernel has to forget. Without it nobody is told.
    pub fn set_invalidator(&self, invalidator: Arc<dyn Invalidator>) {
        let _ = (invalidator, &self.inner.client, &self.inner.options);
    }

    /// How long the kernel may believe names and attributes.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// What a name leads to. Counts a lookup.
    pub async fn lookup(&self, _parent: Ino, _name: &[u8]) -> Result<Attr, Errno> {
        Err(Errno::ENOSYS)
    }

    /// The kernel forgets `lookups` lookups.
    pub fn forget(&self, _ino: Ino, _lookups: u64) {}

    /// Attributes.
    pub async fn getattr(&self, _ino: Ino, _handle: Option<Handle>) -> Result<Attr, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Changes attributes.
    pub async fn setattr(&self, _ino: Ino, _set: SetAttr, _caller: Caller) -> Result<Attr, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Where a symbolic link leads.
    pub async fn readlink(&self, _ino: Ino) -> Result<Vec<u8>, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Makes a file, fifo, socket or device node. Counts a lookup, as all that return the attributes of something new.
    pub async fn mknod(
        &self,
        _parent: Ino,
        _name: &[u8],
        _kind: Kind,
        _mode: u32,
        _rdev: u32,
        _caller: Caller,
    ) -> Result<Attr, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Makes a directory; at the top of all buckets, a bucket.
    pub async fn mkdir(&self, _parent: Ino, _name: &[u8], _mode: u32, _caller: Caller) -> Result<Attr, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Removes a name of something that is no directory.
    pub async fn unlink(&self, _parent: Ino, _name: &[u8]) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Removes an empty directory; at the top of all buckets, an empty bucket.
    pub async fn rmdir(&self, _parent: Ino, _name: &[u8]) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Makes a symbolic link.
    pub async fn symlink(&self, _parent: Ino, _name: &[u8], _target: &[u8], _caller: Caller) -> Result<Attr, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Renames, replaces or exchanges.
    pub async fn rename(
        &self,
        _parent: Ino,
        _name: &[u8],
        _new_parent: Ino,
        _new_name: &[u8],
        _flags: RenameFlags,
    ) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Gives something a second name.
    pub async fn link(&self, _ino: Ino, _new_parent: Ino, _new_name: &[u8]) -> Result<Attr, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Makes a regular file, or opens it if it is there, and opens it.
    pub async fn create(
        &self,
        _parent: Ino,
        _name: &[u8],
        _mode: u32,
        _flags: OpenFlags,
        _caller: Caller,
    ) -> Result<(Attr, Handle), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Opens a file.
    pub async fn open_file(&self, _ino: Ino, _flags: OpenFlags) -> Result<Handle, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Reads; fewer bytes than asked for only at the end.
    pub async fn read(&self, _handle: Handle, _offset: u64, _len: u32) -> Result<Bytes, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Writes all of it. Files opened for appending write at the end, whatever the offset.
    pub async fn write(&self, _handle: Handle, _offset: u64, _data: Bytes) -> Result<u32, Errno> {
        Err(Errno::ENOSYS)
    }

    /// A descriptor was closed; others of the handle may be open.
    pub async fn flush(&self, _handle: Handle) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// The last descriptor of a file was closed.
    pub async fn release(&self, _handle: Handle) {}

    /// Waits until what was written is durable.
    pub async fn fsync(&self, _handle: Handle, _data_only: bool) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Allocates, punches holes, zeroes: the modes of `fallocate(2)`.
    pub async fn fallocate(&self, _handle: Handle, _mode: i32, _offset: u64, _len: u64) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// The next data or hole at or behind an offset; `ENXIO` at the end.
    pub async fn lseek(&self, _handle: Handle, _offset: u64, _what: Seek) -> Result<u64, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Copies a range by reference where that is possible. How many bytes were copied.
    pub async fn copy_file_range(
        &self,
        _from: Handle,
        _from_offset: u64,
        _to: Handle,
        _to_offset: u64,
        _len: u64,
    ) -> Result<u64, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Opens a directory.
    pub async fn opendir(&self, _ino: Ino) -> Result<Handle, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Up to `max` entries behind a cookie (0: from the beginning, as it is now). With `plus` a lookup is counted for each but
    /// `.` and `..`: those that do not fit into the answer have to be forgotten again.
    pub async fn readdir(
        &self,
        _handle: Handle,
        _cookie: u64,
        _plus: bool,
        _max: usize,
    ) -> Result<Vec<DirEntry>, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Closes a directory.
    pub fn releasedir(&self, _handle: Handle) {}

    /// Waits until the changes of a directory are durable.
    pub async fn fsyncdir(&self, _handle: Handle, _data_only: bool) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Value of an extended attribute.
    pub async fn getxattr(&self, _ino: Ino, _name: &[u8]) -> Result<Bytes, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Sets an extended attribute.
    pub async fn setxattr(&self, _ino: Ino, _name: &[u8], _value: &[u8], _flags: SetXattr) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Names of the extended attributes, each with a NUL behind it.
    pub async fn listxattr(&self, _ino: Ino) -> Result<Bytes, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Removes an extended attribute.
    pub async fn removexattr(&self, _ino: Ino, _name: &[u8]) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Space of the account.
    pub async fn statfs(&self) -> Result<Space, Errno> {
        Err(Errno::ENOSYS)
    }

    /// What the mount is doing.
    #[must_use]
    pub fn state(&self) -> MountState {
        MountState::default()
    }

    /// Commits everything that is dirty; tells `progress` the state now and then. What could not be committed stays in the
    /// journal, and the number of such files is returned.
    pub async fn drain(&self, _progress: &(dyn Fn(&MountState) + Sync)) -> Result<u64, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Ends the background work. Nothing may be called afterwards.
    pub async fn shutdown(&self) {}
}
