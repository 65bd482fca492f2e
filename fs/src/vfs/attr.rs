//! Attributes.

use std::sync::Arc;

use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;

use super::apply::{Applied, Change};
use super::files::content_changed;
use super::node::{Node, lock};
use super::{Durability, Filesystem, Found, Handle, Inner, Open};
use crate::attributes::{Attr, Caller, Ino, Kind, SetAttr, SetTime, without_set_id};
use crate::errno::Errno;

impl SetTime {
    fn at(self, now: i64) -> i64 {
        match self {
            Self::Now => now,
            Self::At(time) => time,
        }
    }
}

impl Filesystem {
    /// Attributes.
    ///
    /// # Errors
    /// `ESTALE` for an inode that is gone; `EIO`.
    pub async fn getattr(&self, ino: Ino, _handle: Option<Handle>) -> Result<Attr, Errno> {
        let inner = &*self.inner;
        match inner.found(ino)? {
            Found::Top => Ok(inner.top_attr()),
            Found::Node(node) => {
                inner.fresh(&node).await?;
                Ok(node.attr(&inner.look))
            }
        }
    }

    /// Clears the bits that let a file run as its owner or group, as somebody without privileges is about to write to it.
    ///
    /// # Errors
    /// `ESTALE`, `EIO`.
    pub async fn clear_set_id(&self, ino: Ino) -> Result<(), Errno> {
        let inner = &*self.inner;
        let node = inner.node(ino, Errno::EPERM)?;
        let Some(mode) = inner.mode_to_set(&node).await? else { return Ok(()) };
        let stamp = node.home.stamp();
        let change = pb::SetAttributes {
            inode: bytes_of(node.id),
            mode: Some(mode),
            ctime_ns: Some(stamp),
            ..pb::SetAttributes::default()
        };
        inner.set_attributes(&node, change, stamp).await
    }

    /// Changes attributes. Whether the caller may was checked by the kernel.
    ///
    /// # Errors
    /// `EROFS`; `EISDIR` or `EINVAL` for the length of what is no file, `EFBIG`; `EPERM` for the list of buckets, and for owners
    /// when all have the same.
    pub async fn setattr(&self, ino: Ino, set: SetAttr, _caller: Caller) -> Result<Attr, Errno> {
        let inner = &*self.inner;
        inner.writable()?;
        let node = inner.node(ino, Errno::EPERM)?;
        if set.size.is_some() {
            match node.kind {
                Kind::File => {}
                Kind::Directory => return Err(Errno::EISDIR),
                _ => return Err(Errno::EINVAL),
            }
        }
        let fixed = |fixed: Option<u32>, asked: Option<u32>| match (fixed, asked) {
            (Some(fixed), Some(asked)) if fixed != asked => Err(Errno::EPERM),
            (Some(_), _) => Ok(None),
            (None, asked) => Ok(asked),
        };
        let (uid, gid) = (fixed(inner.look.uid, set.uid)?, fixed(inner.look.gid, set.gid)?);
        let mode = match set.mode {
            None if set.clear_set_id => inner.mode_to_set(&node).await?,
            asked => asked.map(|mode| mode & 0o7777),
        };
        let stamp = node.home.stamp();
        if let Some(size) = set.size {
            inner.set_len(&node, size, set.handle).await?;
        }
        let change = pb::SetAttributes {
            inode: bytes_of(node.id),
            mode,
            uid,
            gid,
            mtime_ns: set.mtime.map(|time| time.at(stamp)),
            atime_ns: set.atime.map(|time| time.at(stamp)),
            ctime_ns: Some(set.ctime.map_or(stamp, |time| time.at(stamp))),
        };
        let something = mode.is_some()
            || set.uid.is_some()
            || set.gid.is_some()
            || set.mtime.is_some()
            || set.atime.is_some()
            || set.ctime.is_some();
        if something {
            inner.set_attributes(&node, change, stamp).await?;
        }
        inner.fresh(&node).await?;
        Ok(node.attr(&inner.look))
    }

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// `EINVAL` for anything else; `EIO`.
    pub async fn readlink(&self, ino: Ino) -> Result<Vec<u8>, Errno> {
        let node = self.inner.node(ino, Errno::EINVAL)?;
        if node.kind == Kind::Symlink { Ok(node.target()?.to_vec()) } else { Err(Errno::EINVAL) }
    }
}

impl Inner {
    /// The mode that a file is to have, if it can be run as its owner or group now.
    async fn mode_to_set(&self, node: &Arc<Node>) -> Result<Option<u32>, Errno> {
        if node.kind != Kind::File {
            return Ok(None);
        }
        if node.doubted() {
            self.fresh(node).await?;
        }
        let mode = lock(&node.facts).attributes.mode & 0o7777;
        Ok(Some(without_set_id(mode)).filter(|cleared| *cleared != mode))
    }

    async fn set_attributes(&self, node: &Arc<Node>, change: pb::SetAttributes, stamp: i64) -> Result<(), Errno> {
        let (mtime, ctime) = (change.mtime_ns, change.ctime_ns.unwrap_or(stamp));
        let content = mtime.and_then(|_| self.content_if_any(node));
        let was_dirty = content.as_ref().is_some_and(|content| content.is_dirty());
        self.send_attributes(node, &change, stamp).await?;
        // The commit that is still to come must not bring the time of the write back. One that was on its way and is done by
        // now may have done so already.
        if let (Some(mtime), Some(content)) = (mtime, content)
            && !content.set_mtime(mtime).await?
            && was_dirty
        {
            self.send_attributes(node, &change, stamp).await?;
        }
        if let Some(written) = &mut lock(&node.facts).written {
            written.ctime_ns = ctime;
            written.mtime_ns = mtime.unwrap_or(written.mtime_ns);
        }
        Ok(())
    }

    async fn send_attributes(&self, node: &Arc<Node>, change: &pb::SetAttributes, stamp: i64) -> Result<(), Errno> {
        let _changing = node.changing.lock().await;
        let turn = self.turn(&node.home).await;
        if turn.is_here() {
            self.fresh(node).await?;
        }
        let moved = node.facts_moved();
        match self.apply(&node.home, turn, Change::new(Op::SetAttributes(change.clone()), stamp), &mut None).await {
            Ok(Applied::Here) => {
                node.attributes_changed(change);
                Ok(())
            }
            Ok(Applied::There(done)) => {
                self.take_results(node, &done, moved);
                Ok(())
            }
            Err(error) => {
                lock(&node.facts).disbelieve();
                Err(error.into())
            }
        }
    }

    async fn set_len(&self, node: &Arc<Node>, size: u64, handle: Option<Handle>) -> Result<(), Errno> {
        let writing = node.writing.lock().await;
        let open = handle.map(|handle| self.opened(handle)).transpose()?;
        let file = match open.as_deref() {
            Some(Open::File(file)) if Arc::ptr_eq(&file.node, node) => Some(file),
            _ => None,
        };
        let content = match file {
            Some(file) => Arc::clone(&file.content),
            None => self.content_of(node).await?,
        };
        self.ready(node, &content).await?;
        content.set_len(size).await?;
        // An earlier commit of which is only now taken note of may have let go of it: the length would be that of before.
        lock(&node.file).content.get_or_insert_with(|| Arc::clone(&content));
        match file {
            Some(file) => content_changed(file),
            None => node.note_times(&content),
        }
        drop(writing);
        if file.is_some() || self.options.close == Durability::Local {
            return Ok(());
        }
        // The kernel names the file when it is cut because it is opened, and what is to be written would be seen to be missing.
        if size == 0 && self.leave_to_close(node) {
            return Ok(());
        }
        // By its name: nobody closes it afterwards.
        let committed = self.commit_now(node).await;
        if let (Err(_), Some(invalidator)) = (&committed, self.invalidator.get()) {
            // The kernel takes a call that failed for one that changed nothing. The file is cut all the same, and the journal has it. The
            // length alone is to be asked for: what the kernel has of the content may be had from nobody else now.
            invalidator.inode(node.ino, 0..0);
        }
        committed
    }
}
