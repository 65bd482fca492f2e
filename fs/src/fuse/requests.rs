//! A method per request of the kernel: takes its arguments, starts its task, sends its answer.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::convert::{self, WriteFrom, errno, file_attr};
use super::task::{self, Changed, Created, Kept, LONG, Listed, Opened, OpenedDir, Plain, SHORT};
use super::{Adapter, GENERATION, caller, file_opened, fill_plus, keep_listing, owned, reply_xattr, reserved_xattr};
use crate::attributes::{SetAttr, SetTime};
use crate::errno::Errno;
use crate::vfs::{self, Filesystem, Handle, Seek, SetXattr};

/// Largest write of one request, in bytes: what the kernel's own limit of 256 pages allows.
const MAX_WRITE: u32 = 1 << 20;
/// Read-ahead and other background requests that may wait for answers at once.
const MAX_BACKGROUND: u16 = 64;
/// Entries that are listed at once, without and with attributes: what usually fits into the kernel's buffer.
const ENTRIES: usize = 512;
const ENTRIES_PLUS: usize = 192;

impl Adapter {
    /// A change that only succeeds or fails; with what the kernel keeps of what it changes.
    fn serve_change<F>(
        &self,
        req: &Request,
        limit: Duration,
        reply: ReplyEmpty,
        operation: impl FnOnce(Filesystem) -> F,
    ) where
        F: Future<Output = Result<Kept, Errno>> + Send + 'static,
    {
        let operation = |fs| {
            let operation = operation(fs);
            async move { operation.await.map(|kept| Changed((), kept)) }
        };
        self.serve(req, limit, operation, |_, result| match result {
            Ok(Changed((), _)) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        });
    }
}

impl fuser::Filesystem for Adapter {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Not asked for on purpose: the writeback cache, which would keep its own idea of sizes and times while others change
        // the file; locks, which the kernel then keeps for this machine; O_TRUNC, which it then sends as a change of size.
        for flag in [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_CACHE_SYMLINKS,
            // What others change is invalidated explicitly; a new time alone must not drop what this machine just wrote.
            InitFlags::FUSE_EXPLICIT_INVAL_DATA,
            // Set-user-id bits are cleared here: otherwise the kernel asks for `security.capability` before each write.
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
        ] {
            if config.add_capabilities(flag).is_err() {
                tracing::debug!(?flag, "the kernel cannot do this");
            }
        }
        // Each returns the nearest possible value if this one is not.
        if let Err(nearest) = config.set_max_write(MAX_WRITE) {
            let _ = config.set_max_write(nearest);
        }
        let _ = config.set_max_background(MAX_BACKGROUND);
        Ok(())
    }

    fn destroy(&mut self) {
        if let Some(ended) = self.ended.take() {
            // Nobody listens if the mount failed before it began.
            let _ = ended.send(());
        }
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = owned(name);
        self.serve_entry(req, parent.0, true, reply, |fs| async move { fs.lookup(parent.0, &name?).await });
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.fs.forget(ino.0, nlookup);
    }

    fn getattr(&self, req: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        let handle = fh.map(|fh| Handle(fh.0));
        self.serve_attr(req, SHORT, reply, |fs| async move { fs.getattr(ino.0, handle).await });
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = SetAttr {
            mode: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            size,
            atime: atime.map(convert::set_time),
            mtime: mtime.map(convert::set_time),
            ctime: ctime.map(|time| SetTime::At(convert::nanoseconds(time))),
            clear_set_id: false,
            handle: fh.map(|fh| Handle(fh.0)),
        };
        // `fuser` 0.18 does not pass `FATTR_KILL_SUIDGID` on. The kernel sets it with every new owner, and with another length if the caller
        // must not keep the bits, which root may. Where it asks for nothing else it changes nothing at all.
        let clear_set_id = match set {
            SetAttr { uid: Some(_), .. } | SetAttr { gid: Some(_), .. } => true,
            SetAttr { size: Some(_), .. } => req.uid() != 0,
            SetAttr { handle, .. } => set == SetAttr { handle, ..SetAttr::default() },
        };
        let set = SetAttr { clear_set_id, ..set };
        let caller = caller(req, 0);
        let limit = if set.size.is_some() { LONG } else { SHORT };
        self.serve_attr(req, limit, reply, |fs| async move { fs.setattr(ino.0, set, caller).await });
    }

    fn readlink(&self, req: &Request, ino: INodeNo, reply: ReplyData) {
        self.serve(
            req,
            SHORT,
            |fs| async move { fs.readlink(ino.0).await.map(Plain) },
            |_, result| match result {
                Ok(Plain(target)) => reply.data(&target),
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn mknod(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, rdev: u32, reply: ReplyEntry) {
        let (name, caller) = (owned(name), caller(req, umask));
        self.serve_entry(req, parent.0, false, reply, |fs| async move {
            let kind = convert::kind_of_mode(mode).ok_or(Errno::EINVAL)?;
            fs.mknod(parent.0, &name?, kind, mode & 0o7777, rdev, caller).await
        });
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let (name, caller) = (owned(name), caller(req, umask));
        self.serve_entry(req, parent.0, false, reply, |fs| async move {
            fs.mkdir(parent.0, &name?, mode & 0o7777, caller).await
        });
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = owned(name);
        self.serve_change(req, SHORT, reply, |fs| async move {
            let name = name?;
            fs.unlink(parent.0, &name).await?;
            Ok(Kept::Names(vec![(parent.0, name)]))
        });
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = owned(name);
        self.serve_change(req, SHORT, reply, |fs| async move {
            let name = name?;
            fs.rmdir(parent.0, &name).await?;
            Ok(Kept::Names(vec![(parent.0, name)]))
        });
    }

    fn symlink(&self, req: &Request, parent: INodeNo, link_name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (name, target, caller) = (owned(link_name), target.as_os_str().as_bytes().to_vec(), caller(req, 0));
        self.serve_entry(req, parent.0, false, reply, |fs| async move {
            let name = name?;
            fs.symlink(parent.0, &name, &target, caller).await
        });
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (name, new_name) = (owned(name), owned(newname));
        self.serve_change(req, LONG, reply, |fs| async move {
            if !(flags - RenameFlags::RENAME_NOREPLACE - RenameFlags::RENAME_EXCHANGE).is_empty() {
                return Err(Errno::EINVAL);
            }
            let flags = vfs::RenameFlags {
                no_replace: flags.contains(RenameFlags::RENAME_NOREPLACE),
                exchange: flags.contains(RenameFlags::RENAME_EXCHANGE),
            };
            let (name, new_name) = (name?, new_name?);
            fs.rename(parent.0, &name, newparent.0, &new_name, flags).await?;
            Ok(Kept::Names(vec![(parent.0, name), (newparent.0, new_name)]))
        });
    }

    fn link(&self, req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let name = owned(newname);
        self.serve_entry(req, newparent.0, false, reply, |fs| async move { fs.link(ino.0, newparent.0, &name?).await });
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let flags = convert::open_flags(flags.0);
        let epoch = Arc::clone(&self.epoch);
        self.serve(
            req,
            SHORT,
            |fs| async move { fs.open_file(ino.0, flags).await.map(Opened) },
            move |fs, result| match result {
                Ok(Opened(handle)) => {
                    reply.opened(FileHandle(handle.0), file_opened(fs, &epoch, ino.0, flags));
                }
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn read(
        &self,
        req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.serve(
            req,
            LONG,
            |fs| async move { fs.read(Handle(fh.0), offset, size).await.map(Plain) },
            |_, result| match result {
                Ok(Plain(data)) => reply.data(&data),
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn write(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (handle, from) = (Handle(fh.0), convert::write_from(flags.0, write_flags));
        let data = Bytes::copy_from_slice(data);
        let unprivileged = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        self.serve(
            req,
            LONG,
            |fs| async move {
                if unprivileged {
                    fs.clear_set_id(ino.0).await?;
                }
                let written = match from {
                    WriteFrom::Offset => fs.write(handle, offset, data).await,
                    WriteFrom::End => fs.append(handle, offset, data).await,
                    WriteFrom::Mapping => fs.write_back(handle, offset, data).await,
                };
                written.map(Plain)
            },
            |_, result| match result {
                Ok(Plain(written)) => reply.written(written),
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn flush(&self, req: &Request, _ino: INodeNo, fh: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        self.serve_empty(req, LONG, reply, |fs| async move { fs.flush(Handle(fh.0)).await });
    }

    fn release(
        &self,
        req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.serve_empty(req, LONG, reply, |fs| async move {
            fs.release(Handle(fh.0)).await;
            Ok(())
        });
    }

    fn fsync(&self, req: &Request, _ino: INodeNo, fh: FileHandle, datasync: bool, reply: ReplyEmpty) {
        self.serve_empty(req, LONG, reply, |fs| async move { fs.fsync(Handle(fh.0), datasync).await });
    }

    fn opendir(&self, req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.serve(
            req,
            SHORT,
            |fs| async move {
                let (handle, remember) = fs.opendir(ino.0).await?;
                Ok(OpenedDir(handle, remember))
            },
            |_, result| match result {
                Ok(OpenedDir(handle, remember)) => reply.opened(FileHandle(handle.0), keep_listing(remember)),
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn readdir(&self, req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.serve(
            req,
            SHORT,
            |fs| async move { fs.readdir(Handle(fh.0), offset, false, ENTRIES).await.map(Plain) },
            move |_, result| match result {
                Ok(Plain(entries)) => {
                    for entry in &entries {
                        let kind = convert::file_type(entry.kind);
                        if reply.add(INodeNo(entry.ino), entry.cookie, kind, OsStr::from_bytes(&entry.name)) {
                            break;
                        }
                    }
                    reply.ok();
                }
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn readdirplus(&self, req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let (epoch, since) = (Arc::clone(&self.epoch), self.epoch.now());
        self.serve(
            req,
            SHORT,
            |fs| async move { fs.readdir(Handle(fh.0), offset, true, ENTRIES_PLUS).await.map(Listed) },
            move |fs, result| match result {
                Ok(Listed(entries)) => epoch.answer(since, fs.ttl_in(ino.0), |ttl| {
                    let rest = fill_plus(&mut reply, &entries, ttl);
                    reply.ok();
                    task::forget_entries(fs, rest);
                }),
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn releasedir(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.fs.releasedir(Handle(fh.0));
        reply.ok();
    }

    fn fsyncdir(&self, req: &Request, _ino: INodeNo, fh: FileHandle, datasync: bool, reply: ReplyEmpty) {
        self.serve_empty(req, LONG, reply, |fs| async move { fs.fsyncdir(Handle(fh.0), datasync).await });
    }

    fn statfs(&self, req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        self.serve(
            req,
            SHORT,
            |fs| async move { fs.statfs().await.map(Plain) },
            |_, result| match result {
                Ok(Plain(space)) => reply.statfs(
                    space.blocks,
                    space.free,
                    space.free,
                    // Inodes are not limited, so all of those that are told are free: whoever watches disks is not alarmed.
                    space.files,
                    space.files,
                    space.block,
                    space.name_max,
                    space.block,
                ),
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn setxattr(
        &self,
        req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        if let Some((_, refused)) = reserved_xattr(name) {
            self.counters.begin();
            return reply.error(errno(refused));
        }
        // XATTR_CREATE and XATTR_REPLACE of setxattr(2).
        let flags = match flags {
            0 => SetXattr::Any,
            1 => SetXattr::Create,
            2 => SetXattr::Replace,
            _ => return reply.error(fuser::Errno::EINVAL),
        };
        let (name, value) = (owned(name), value.to_vec());
        self.serve_empty(req, SHORT, reply, |fs| async move { fs.setxattr(ino.0, &name?, &value, flags).await });
    }

    fn getxattr(&self, req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if let Some((absent, _)) = reserved_xattr(name) {
            self.counters.begin();
            return reply.error(errno(absent));
        }
        let name = owned(name);
        self.serve(
            req,
            SHORT,
            |fs| async move { fs.getxattr(ino.0, &name?).await.map(Plain) },
            move |_, result| reply_xattr(size, reply, result.map(|Plain(data)| data)),
        );
    }

    fn listxattr(&self, req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let caller = caller(req, 0);
        self.serve(
            req,
            SHORT,
            move |fs| async move { fs.listxattr(ino.0, caller).await.map(Plain) },
            move |_, result| reply_xattr(size, reply, result.map(|Plain(data)| data)),
        );
    }

    fn removexattr(&self, req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        if let Some((absent, _)) = reserved_xattr(name) {
            self.counters.begin();
            return reply.error(errno(absent));
        }
        let name = owned(name);
        self.serve_empty(req, SHORT, reply, |fs| async move { fs.removexattr(ino.0, &name?).await });
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (name, caller, flags) = (owned(name), caller(req, umask), convert::open_flags(flags));
        let (epoch, since) = (Arc::clone(&self.epoch), self.epoch.now());
        self.serve(
            req,
            SHORT,
            |fs| async move {
                let (attr, handle) = fs.create(parent.0, &name?, mode & 0o7777, flags, caller).await?;
                Ok(Created(attr, handle))
            },
            move |fs, result| match result {
                Ok(Created(attr, handle)) => epoch.answer(since, fs.ttl(), |ttl| {
                    let opened = file_opened(fs, &epoch, attr.ino, flags);
                    reply.created(&ttl, &file_attr(&attr), GENERATION, FileHandle(handle.0), opened);
                }),
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn fallocate(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.serve_change(req, LONG, reply, |fs| async move {
            fs.fallocate(Handle(fh.0), mode, offset, length).await?;
            Ok(Kept::Content(ino.0))
        });
    }

    fn lseek(&self, req: &Request, _ino: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        // SEEK_DATA and SEEK_HOLE of lseek(2); the kernel answers the others itself.
        let what = match whence {
            3 => Seek::Data,
            4 => Seek::Hole,
            _ => return reply.error(fuser::Errno::EINVAL),
        };
        let Ok(offset) = u64::try_from(offset) else { return reply.error(fuser::Errno::ENXIO) };
        self.serve(
            req,
            LONG,
            |fs| async move { fs.lseek(Handle(fh.0), offset, what).await.map(Plain) },
            |_, result| match result.map(|Plain(offset)| i64::try_from(offset)) {
                Ok(Ok(offset)) => reply.offset(offset),
                Ok(Err(_)) => reply.error(fuser::Errno::EOVERFLOW),
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn copy_file_range(
        &self,
        req: &Request,
        _ino_in: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        ino_out: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        // The answer has 32 bits: more is copied by further requests. Whole pages, so that clones stay aligned.
        let len = len.min(u64::from(u32::MAX) & !0xfff);
        self.serve(
            req,
            LONG,
            |fs| async move {
                let copied = fs.copy_file_range(Handle(fh_in.0), offset_in, Handle(fh_out.0), offset_out, len).await?;
                let copied = u32::try_from(copied).map_err(|_| Errno::EIO)?;
                Ok(Changed(copied, Kept::Content(ino_out.0)))
            },
            |_, result| match result {
                Ok(Changed(copied, _)) => reply.written(copied),
                Err(error) => reply.error(errno(error)),
            },
        );
    }
}
