//! Open files. Content belongs to the inode, not to the handle: what was written through one is read through all, and a write that
//! arrives after the file was renamed or removed goes where its inode is.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::health::gone;
use super::node::{Node, lock};
use super::{Durability, Filesystem, Found, Handle, Inner, Open, OpenFile, OpenFlags, Seek};
use crate::attributes::{Ino, Kind};
use crate::content::{Content, InodeFacts};
use crate::errno::Errno;

/// Bytes that a copy moves in one go into another bucket.
const COPY_STEP: usize = 1 << 20;
/// Bytes that one request copies where they cannot be shared: not so many that its deadline comes.
const COPY_MOST: u64 = 64 << 20;

/// How long a program that reads waits for bytes while the server is away: where they are may be known, and nodes need no server.
const AWAY: Duration = Duration::from_secs(10);

/// `fallocate(2)`: the size stays.
const KEEP_SIZE: i32 = 0x01;
/// `fallocate(2)`: a hole.
const PUNCH_HOLE: i32 = 0x02;
/// `fallocate(2)`: zeros.
const ZERO_RANGE: i32 = 0x10;

impl Filesystem {
    /// Opens a file.
    ///
    /// # Errors
    /// `EISDIR`; `EROFS` for writing; `ESTALE`, `EIO`.
    pub async fn open_file(&self, ino: Ino, flags: OpenFlags) -> Result<Handle, Errno> {
        match self.inner.found(ino)? {
            Found::Node(node) => self.inner.open_node(&node, flags).await,
            Found::Top => Err(Errno::EISDIR),
        }
    }

    /// Reads; fewer bytes than asked for only at the end.
    ///
    /// # Errors
    /// `EBADF`; `EIO` if the content cannot be had or is not authentic.
    pub async fn read(&self, handle: Handle, offset: u64, len: u32) -> Result<Bytes, Errno> {
        let open = self.inner.opened(handle)?;
        let Open::File(file) = &*open else { return Err(Errno::EBADF) };
        self.inner.ready(&file.node, &file.content).await?;
        let reading = file.content.read(offset, len as usize);
        match file.node.home.health.while_there(AWAY, reading).await {
            Some(read) => Ok(read?),
            None => Err(gone().into()),
        }
    }

    /// Writes bytes; says how many, which are fewer if there was no room for more.
    ///
    /// # Errors
    /// `EBADF`, `EFBIG`, `ENOSPC`.
    pub async fn write(&self, handle: Handle, offset: u64, data: Bytes) -> Result<u32, Errno> {
        self.write_where(handle, offset, Origin::Write, data).await
    }

    /// As [`Self::write`], at the end of the file, wherever that is by then. `offset` is where the kernel takes the end to be, and where it
    /// keeps the bytes: if that is elsewhere, it is told to forget what it has of the file.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn append(&self, handle: Handle, offset: u64, data: Bytes) -> Result<u32, Errno> {
        self.write_where(handle, offset, Origin::Append, data).await
    }

    /// As [`Self::write`], of pages of a shared mapping that the kernel writes back. They are of the version that was here when they were read:
    /// written over a newer one of somebody else, whole pages of that would be gone. So they stay with their version, and its commit finds
    /// out that both have to be kept.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn write_back(&self, handle: Handle, offset: u64, data: Bytes) -> Result<u32, Errno> {
        self.write_where(handle, offset, Origin::Mapping, data).await
    }

    async fn write_where(&self, handle: Handle, offset: u64, origin: Origin, data: Bytes) -> Result<u32, Errno> {
        let inner = &*self.inner;
        let open = inner.opened(handle)?;
        let Open::File(file) = &*open else { return Err(Errno::EBADF) };
        if !file.flags.write {
            return Err(Errno::EBADF);
        }
        if data.is_empty() {
            return Ok(0);
        }
        let writing = file.node.writing.lock().await;
        let replaced = if origin == Origin::Mapping { lock(&file.node.file).replaced.clone() } else { None };
        if let Some(copy) = replaced {
            return inner.write_to_copy(file, &copy, offset, data).await;
        }
        match origin {
            Origin::Mapping => inner.opened_version(&file.node, &file.content).await?,
            Origin::Write | Origin::Append => inner.ready(&file.node, &file.content).await?,
        }
        let written = match origin {
            Origin::Append => file.content.append(data).await?,
            Origin::Write | Origin::Mapping => file.content.write(offset, data).await?,
        };
        content_changed(file);
        drop(writing);
        let durable = if file.flags.sync { inner.make_durable(file).await } else { Ok(()) };
        if written.start != offset
            && let Some(invalidator) = inner.invalidator.get()
        {
            // Not before: the kernel keeps the pages locked until it has its answer, and what is forgotten behind these would wait for it as well.
            invalidator.inode(file.node.ino, 0..u64::MAX);
        }
        durable?;
        u32::try_from(written.end - written.start).map_err(|_| Errno::EINVAL)
    }

    /// Whether something is waited for when a descriptor of a file that was opened like this is closed. Otherwise [`Self::flush`] need not be
    /// called: what follows without waiting, [`Self::release`] does as well.
    #[must_use]
    pub fn waits_for_close(&self, flags: OpenFlags) -> bool {
        self.inner.options.close == Durability::Remote && flags.write
    }

    /// A descriptor was closed; others of the handle may be open.
    ///
    /// # Errors
    /// If close waits for the commit: `EDQUOT`, `EIO`. What was written is in the journal all the same.
    pub async fn flush(&self, handle: Handle) -> Result<(), Errno> {
        let inner = &*self.inner;
        let open = inner.opened(handle)?;
        let Open::File(file) = &*open else { return Err(Errno::EBADF) };
        let wrote = file.wrote.swap(false, Ordering::AcqRel);
        match inner.options.close {
            // Also if an earlier close failed or is still under way, or if what was mapped was written through another handle.
            Durability::Remote if wrote || (file.flags.write && file.content.is_dirty()) => {
                inner.commit_now(&file.node).await
            }
            // Nothing was written to it, but it may be new.
            Durability::Remote if file.flags.write => Ok(inner.send_all(&file.node.home).await?),
            Durability::Local if wrote => {
                file.content.upload_soon();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The last descriptor of a file was closed.
    pub async fn release(&self, handle: Handle) {
        let inner = &*self.inner;
        let Some(open) = inner.close(handle) else { return };
        let Open::File(file) = &*open else { return };
        let last = {
            let mut state = lock(&file.node.file);
            state.handles = state.handles.saturating_sub(1);
            state.handles == 0
        };
        if !last {
            return;
        }
        if lock(&file.node.facts).nlink == 0 || file.content.is_orphaned() {
            inner.closed_without_name(&file.node);
        } else {
            file.content.upload_soon();
            inner.let_go(&file.node);
        }
    }

    /// Waits until what was written is durable.
    ///
    /// # Errors
    /// `EIO`, `EDQUOT`, `ENOSPC`.
    pub async fn fsync(&self, handle: Handle, _data_only: bool) -> Result<(), Errno> {
        let open = self.inner.opened(handle)?;
        let Open::File(file) = &*open else { return Err(Errno::EBADF) };
        self.inner.make_durable(file).await
    }

    /// Allocates, punches holes, zeroes: the modes of `fallocate(2)`.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for other modes; `EFBIG`, `ENOSPC`, `EINVAL`.
    pub async fn fallocate(&self, handle: Handle, mode: i32, offset: u64, len: u64) -> Result<(), Errno> {
        let inner = &*self.inner;
        let open = inner.opened(handle)?;
        let Open::File(file) = &*open else { return Err(Errno::EBADF) };
        if !file.flags.write {
            return Err(Errno::EBADF);
        }
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let writing = file.node.writing.lock().await;
        inner.ready(&file.node, &file.content).await?;
        let done = match mode {
            0 | KEEP_SIZE => file.content.allocate(offset..end, mode == KEEP_SIZE).await,
            mode if mode == PUNCH_HOLE | KEEP_SIZE => file.content.punch(offset..end, true).await,
            mode if mode & !KEEP_SIZE == ZERO_RANGE => file.content.punch(offset..end, mode & KEEP_SIZE != 0).await,
            _ => return Err(Errno::EOPNOTSUPP),
        };
        content_changed(file);
        drop(writing);
        Ok(done.inspect_err(|_| inner.doubt_content(file, offset..end))?)
    }

    /// The next data or hole at or behind an offset.
    ///
    /// # Errors
    /// `ENXIO` at and behind the end.
    pub async fn lseek(&self, handle: Handle, offset: u64, what: Seek) -> Result<u64, Errno> {
        let open = self.inner.opened(handle)?;
        let Open::File(file) = &*open else { return Err(Errno::EBADF) };
        self.inner.ready(&file.node, &file.content).await?;
        match file.node.home.health.while_there(AWAY, file.content.seek(offset, what)).await {
            Some(found) => Ok(found?),
            None => Err(gone().into()),
        }
    }

    /// Copies a range, by reference where that is possible. How many bytes were copied.
    ///
    /// # Errors
    /// `EINVAL` for ranges of one file that overlap; `EFBIG`, `ENOSPC`, `EIO`.
    pub async fn copy_file_range(
        &self,
        from: Handle,
        from_offset: u64,
        to: Handle,
        to_offset: u64,
        len: u64,
    ) -> Result<u64, Errno> {
        let inner = &*self.inner;
        let (from, to) = (inner.opened(from)?, inner.opened(to)?);
        let (Open::File(from), Open::File(to)) = (&*from, &*to) else { return Err(Errno::EBADF) };
        if !to.flags.write {
            return Err(Errno::EBADF);
        }
        let same = Arc::ptr_eq(&from.node, &to.node);
        inner.ready(&from.node, &from.content).await?;
        let len = len.min(from.content.len().saturating_sub(from_offset));
        let to_end = to_offset.checked_add(len).ok_or(Errno::EFBIG)?;
        if same && from_offset < to_end && to_offset < from_offset + len {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(0);
        }
        let writing = to.node.writing.lock().await;
        inner.ready(&to.node, &to.content).await?;
        let copied = if from.node.home.id == to.node.home.id {
            to.content.copy_range(&from.content, from_offset..from_offset + len, to_offset, COPY_MOST).await
        } else {
            let data = from.content.read(from_offset, usize::try_from(len).unwrap_or(COPY_STEP).min(COPY_STEP)).await?;
            to.content.write(to_offset, data).await.map(|copied| copied.end - copied.start)
        };
        content_changed(to);
        drop(writing);
        Ok(copied.inspect_err(|_| inner.doubt_content(to, to_offset..to_end))?)
    }
}

/// What writes: the three calls above.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Write,
    Append,
    Mapping,
}

/// The content was changed through this handle.
pub(super) fn content_changed(file: &OpenFile) {
    file.node.note_times(&file.content);
    file.wrote.store(true, Ordering::Release);
}

impl Inner {
    pub(super) async fn open_node(&self, node: &Arc<Node>, flags: OpenFlags) -> Result<Handle, Errno> {
        match node.kind {
            Kind::File => {}
            Kind::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
        if flags.write || flags.truncate {
            self.writable()?;
        }
        let writing = node.writing.lock().await;
        let content = self.content_of(node).await?;
        let cuts = flags.truncate && !content.is_empty();
        if cuts {
            self.ready(node, &content).await?;
            content.set_len(0).await?;
            node.note_times(&content);
        }
        {
            let mut state = lock(&node.file);
            state.handles += 1;
            // An earlier commit of which is only now taken note of may have let go of it.
            state.content.get_or_insert_with(|| Arc::clone(&content));
        }
        drop(writing);
        if flags.read && flags.write {
            // It may be mapped: of which version the pages are has to be known before they are written back. Who cannot be told that now
            // is when something is read or written.
            let _ = self.opened_version(node, &content).await;
        }
        let file = OpenFile { node: Arc::clone(node), content, flags, wrote: AtomicBool::new(cuts) };
        Ok(self.keep(Open::File(file)))
    }

    /// Whoever closes a file after writing commits what was changed by its name as well. Whether there is anybody.
    pub(super) fn leave_to_close(&self, node: &Arc<Node>) -> bool {
        if lock(&node.file).handles == 0 {
            return false;
        }
        let mut is_some = false;
        for open in lock(&self.handles).values() {
            if let Open::File(file) = &**open
                && file.flags.write
                && Arc::ptr_eq(&file.node, node)
            {
                file.wrote.store(true, Ordering::Release);
                is_some = true;
            }
        }
        is_some
    }

    /// The content of a file: of its newest version, and with what was written here since.
    pub(crate) async fn content_of(&self, node: &Arc<Node>) -> Result<Arc<Content>, Errno> {
        self.fresh(node).await?;
        let content = match node.content() {
            Some(content) => content,
            None => {
                let facts = self.inode_facts(node)?;
                let content = self.store.content(&node.home.bucket, facts)?;
                node.home.local.if_held(node.id, || content.hold());
                Arc::clone(lock(&node.file).content.get_or_insert(content))
            }
        };
        self.catch_up(node, &content).await?;
        Ok(content)
    }

    /// What the content has to know about its inode.
    fn inode_facts(&self, node: &Node) -> Result<InodeFacts, Errno> {
        let keys = node.keyring()?;
        let place = lock(&node.file).place.clone();
        let what = place.map_or_else(|| node.id.to_string(), |(_, name)| String::from_utf8_lossy(&name).into_owned());
        let facts = lock(&node.facts);
        Ok(InodeFacts { id: node.id, keys, version: facts.version, size: facts.size, what })
    }

    /// If somebody else committed a version since, and nothing was written here, the content becomes that of the new version.
    pub(crate) async fn catch_up(&self, node: &Arc<Node>, content: &Arc<Content>) -> Result<(), Errno> {
        if node.doubted() {
            self.fresh(node).await?;
        }
        let (newest, size) = {
            let facts = lock(&node.facts);
            (facts.version, facts.size)
        };
        content.expect(newest, size);
        if content.version().is_some_and(|known| known.version < newest) && !content.is_dirty() {
            let refreshed = node.home.health.try_to(async { Ok(content.refresh().await) }).await?;
            refreshed?;
        }
        Ok(())
    }

    /// Before something is done with content: it is of the newest version, and that is opened. If what it is made of is not known, only the
    /// server can say.
    pub(crate) async fn ready(&self, node: &Arc<Node>, content: &Arc<Content>) -> Result<(), Errno> {
        self.catch_up(node, content).await?;
        self.opened_version(node, content).await
    }

    /// Writes pages of a version of which a conflict copy was made.
    async fn write_to_copy(
        &self,
        file: &OpenFile,
        copy: &Arc<Content>,
        offset: u64,
        data: Bytes,
    ) -> Result<u32, Errno> {
        self.opened_version(&file.node, copy).await?;
        let written = copy.write(offset, data).await?;
        if let Some(node) = self.table.by_id(copy.id().bucket, copy.id().inode) {
            node.note_times(copy);
        }
        // Nobody will ask for it: what is synced is the file.
        copy.sync_local().await?;
        file.wrote.store(true, Ordering::Release);
        u32::try_from(written.end - written.start).map_err(|_| Errno::EINVAL)
    }

    /// The version that the content is of is opened.
    async fn opened_version(&self, node: &Node, content: &Content) -> Result<(), Errno> {
        if content.version().is_none() {
            node.home.health.try_to(async { Ok(content.open().await) }).await??;
        }
        Ok(())
    }

    /// A request that changes content failed, maybe behind a part of it: the kernel takes it for one that changed nothing.
    fn doubt_content(&self, file: &OpenFile, range: Range<u64>) {
        if let Some(invalidator) = self.invalidator.get() {
            invalidator.inode(file.node.ino, range);
        }
    }

    async fn make_durable(&self, file: &OpenFile) -> Result<(), Errno> {
        match self.options.fsync {
            // Its name may be in nothing but the journal as well.
            Durability::Local => {
                self.store.journal().sync().await?;
                // The bytes of a copy by reference are not on this machine.
                if file.content.shares() { self.commit_now(&file.node).await } else { Ok(()) }
            }
            Durability::Remote => {
                self.send_all(&file.node.home).await?;
                self.commit_now(&file.node).await
            }
        }
    }

    /// Nobody has the file open, and nothing is dirty: the content need not be held. Not before it was taken note of its last commit:
    /// without it, what is known of the inode is from before that.
    pub(crate) fn let_go(&self, node: &Node) {
        let known = lock(&node.facts).version;
        let mut state = lock(&node.file);
        let is_idle = |content: &Arc<Content>| {
            !content.is_dirty() && content.version().is_none_or(|version| version.version <= known)
        };
        let idle = state.handles == 0 && state.content.as_ref().is_some_and(is_idle);
        let content = if idle { state.content.take() } else { None };
        drop(state);
        drop(content);
    }
}
