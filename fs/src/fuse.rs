//! The adapter between the kernel and the [`Filesystem`]: the only module that knows types of `fuser`.
//!
//! Every request has a deadline, and becomes a task if it has to wait (`task.rs`); what the kernel remembers is invalidated by threads of their own
//! (`invalidate.rs`); types are converted in `convert.rs`; `requests.rs` has a method per request. What the kernel decides itself is left to it: permissions
//! (`default_permissions`), locks of this machine, what `O_DIRECT` means. It says when a write has to clear set-user-id bits, and leaves that to
//! the filesystem.

mod convert;
mod invalidate;
mod killed;
#[cfg(test)]
mod late;
mod requests;
mod task;

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fuser::{
    FopenFlags, Generation, INodeNo, Notifier, ReplyAttr, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyXattr,
    Request,
};
use tokio::runtime::Handle as Runtime;
use tokio::sync::oneshot;

use crate::attributes::{Attr, Caller, Ino, Kind};
use crate::errno::Errno;
use crate::vfs::{DirEntry, Filesystem, Invalidator, OpenFlags, Remember};

use convert::{errno, file_attr};
use invalidate::{Epoch, KernelInvalidator};
pub use task::Counters;
use task::{Counted, Outcome, Plain, SHORT};

/// Inode numbers are not used again while the kernel knows them.
const GENERATION: Generation = Generation(0);
/// Longest name, in bytes.
const NAME_MAX: usize = 255;
/// While the stream of events stands, names and attributes may be believed for longer than this.
const UNHEALTHY_TTL: Duration = Duration::from_secs(1);

/// A filesystem as `fuser` serves it.
pub struct Adapter {
    fs: Filesystem,
    runtime: Runtime,
    counters: Arc<Counters>,
    epoch: Arc<Epoch>,
    ended: Option<oneshot::Sender<()>>,
}

/// What stays with the mount when the adapter was handed to the session.
#[derive(Clone)]
pub struct Remote {
    counters: Arc<Counters>,
    epoch: Arc<Epoch>,
}

impl Remote {
    /// What invalidates the caches of the kernel.
    ///
    /// # Errors
    /// If its threads cannot be started.
    pub fn invalidator(&self, notifier: Notifier) -> io::Result<Arc<dyn Invalidator>> {
        Ok(Arc::new(KernelInvalidator::start(notifier, Arc::clone(&self.epoch))?))
    }

    /// Counts of requests.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }
}

impl Adapter {
    /// Serves a filesystem with tasks of this runtime. The receiver hears when the kernel has let go of the mount.
    #[must_use]
    pub fn new(fs: Filesystem, runtime: Runtime) -> (Self, Remote, oneshot::Receiver<()>) {
        let remote = Remote { counters: Arc::default(), epoch: Arc::default() };
        let (counters, epoch) = (Arc::clone(&remote.counters), Arc::clone(&remote.epoch));
        let (ended, receiver) = oneshot::channel();
        (Self { fs, runtime, counters, epoch, ended: Some(ended) }, remote, receiver)
    }

    /// Serves a request. Most are answered from memory and the journal: those are done here, on the thread that took the request, because a
    /// visit to another one costs more than the work. What has to wait for something goes on as a task.
    fn serve<T, F>(
        &self,
        req: &Request,
        limit: Duration,
        operation: impl FnOnce(Filesystem) -> F,
        answer: impl FnOnce(&Filesystem, Result<T, Errno>) + Send + 'static,
    ) where
        T: Outcome + 'static,
        F: Future<Output = Result<T, Errno>> + Send + 'static,
    {
        self.counters.begin();
        let operation = operation(self.fs.clone());
        let caller = req.pid();
        let (fs, counters) = (self.fs.clone(), Arc::clone(&self.counters));
        let task = async move {
            let told = fs.clone();
            task::run(&fs, &counters, caller, limit, operation, move |result| answer(&told, result)).await;
        };
        task::begin(&self.runtime, task);
    }

    /// A request that only succeeds or fails.
    fn serve_empty<F>(&self, req: &Request, limit: Duration, reply: ReplyEmpty, operation: impl FnOnce(Filesystem) -> F)
    where
        F: Future<Output = Result<(), Errno>> + Send + 'static,
    {
        let operation = |fs| {
            let operation = operation(fs);
            async move { operation.await.map(Plain) }
        };
        self.serve(req, limit, operation, move |_, result| match result {
            Ok(Plain(())) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        });
    }

    /// A request whose answer is a name in `parent` that leads somewhere. With `absent` the kernel may remember that it leads nowhere.
    fn serve_entry<F>(
        &self,
        req: &Request,
        parent: Ino,
        absent: bool,
        reply: ReplyEntry,
        operation: impl FnOnce(Filesystem) -> F,
    ) where
        F: Future<Output = Result<Attr, Errno>> + Send + 'static,
    {
        let (epoch, since) = (Arc::clone(&self.epoch), self.epoch.now());
        let operation = |fs| {
            let operation = operation(fs);
            async move { operation.await.map(Counted) }
        };
        self.serve(req, SHORT, operation, move |fs, result| match result {
            Ok(Counted(attr)) => {
                epoch.answer(since, fs.ttl_in(parent), |ttl| reply.entry(&ttl, &file_attr(&attr), GENERATION));
            }
            Err(Errno::ENOENT) if absent => epoch.answer(since, fs.ttl_in(parent), |ttl| {
                // Inode number 0 is how the protocol says that there is none.
                reply.entry(&ttl, &convert::bare_attr(0, Kind::File), GENERATION);
            }),
            Err(error) => reply.error(errno(error)),
        });
    }

    fn serve_attr<F>(&self, req: &Request, limit: Duration, reply: ReplyAttr, operation: impl FnOnce(Filesystem) -> F)
    where
        F: Future<Output = Result<Attr, Errno>> + Send + 'static,
    {
        let (epoch, since) = (Arc::clone(&self.epoch), self.epoch.now());
        let operation = |fs| {
            let operation = operation(fs);
            async move { operation.await.map(Plain) }
        };
        self.serve(req, limit, operation, move |fs, result| match result {
            Ok(Plain(attr)) => epoch.answer(since, fs.ttl(), |ttl| reply.attr(&ttl, &file_attr(&attr))),
            Err(error) => reply.error(errno(error)),
        });
    }
}

fn caller(req: &Request, umask: u32) -> Caller {
    Caller { uid: req.uid(), gid: req.gid(), pid: req.pid(), umask }
}

/// A name that can be stored.
fn owned(name: &OsStr) -> Result<Vec<u8>, Errno> {
    let name = name.as_bytes();
    if name.len() > NAME_MAX { Err(Errno::ENAMETOOLONG) } else { Ok(name.to_vec()) }
}

/// The kernel keeps what it has of a file that is opened if it has been told of every change. It tells of closed descriptors only if
/// something is done then.
fn file_opened(fs: &Filesystem, epoch: &Epoch, ino: Ino, flags: OpenFlags) -> FopenFlags {
    let is_current = fs.ttl() > UNHEALTHY_TTL && !epoch.is_stale(ino);
    let keep = if is_current { FopenFlags::FOPEN_KEEP_CACHE } else { FopenFlags::empty() };
    if fs.waits_for_close(flags) { keep } else { keep | FopenFlags::FOPEN_NOFLUSH }
}

/// The kernel keeps what it lists of a directory, unless that is not of now.
fn keep_listing(remember: Remember) -> FopenFlags {
    match remember {
        Remember::Nothing => FopenFlags::empty(),
        Remember::Anew => FopenFlags::FOPEN_CACHE_DIR,
        Remember::Kept => FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE,
    }
}

/// How an extended attribute is answered without asking the filesystem: when it is read, and when it is set. The kernel asks for
/// `security.capability` before the first write after it heard of the attributes of a file.
fn reserved_xattr(name: &OsStr) -> Option<(Errno, Errno)> {
    let name = name.as_bytes();
    if name == b"security.capability" {
        // Programs on a mount have no capabilities of their own.
        return Some((Errno::ENODATA, Errno::EOPNOTSUPP));
    }
    // Access control lists are not kept, nor labels, which belong to the policy of one machine. `ls -l` asks about both: if it hears that
    // there are none here at all it does not ask about the next file, and that is what costs most in a long listing.
    let never = name.starts_with(b"system.") || name == b"security.selinux";
    never.then_some((Errno::EOPNOTSUPP, Errno::EOPNOTSUPP))
}

/// Answers a request for an extended attribute or the list of them.
fn reply_xattr(size: u32, reply: ReplyXattr, result: Result<Bytes, Errno>) {
    match result {
        Ok(data) if size == 0 => reply.size(u32::try_from(data.len()).unwrap_or(u32::MAX)),
        Ok(data) if data.len() > size as usize => reply.error(fuser::Errno::ERANGE),
        Ok(data) => reply.data(&data),
        Err(error) => reply.error(errno(error)),
    }
}

/// Fills an answer; returns the entries that did not fit.
fn fill_plus<'a>(reply: &mut ReplyDirectoryPlus, entries: &'a [DirEntry], ttl: Duration) -> &'a [DirEntry] {
    for (index, entry) in entries.iter().enumerate() {
        let attr = entry.attr.as_ref().map_or_else(|| convert::bare_attr(entry.ino, entry.kind), file_attr);
        let name = OsStr::from_bytes(&entry.name);
        if reply.add(INodeNo(entry.ino), entry.cookie, name, &ttl, &attr, GENERATION) {
            return &entries[index..];
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_there_is_told_apart_from_what_cannot_be() {
        let reserved = |name: &str| reserved_xattr(OsStr::new(name));
        assert_eq!(reserved("security.capability"), Some((Errno::ENODATA, Errno::EOPNOTSUPP)));
        for name in ["system.posix_acl_access", "system.posix_acl_default", "security.selinux"] {
            assert_eq!(reserved(name), Some((Errno::EOPNOTSUPP, Errno::EOPNOTSUPP)), "{name}");
        }
        for name in ["user.note", "security.ima", "trusted.overlay.opaque"] {
            assert_eq!(reserved(name), None, "{name}");
        }
    }
}
