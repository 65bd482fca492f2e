//! New names: of new inodes, and second ones of files.

use std::sync::Arc;

use bytes::Bytes;
use cyx_client::tree::change::TARGET_MAX;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{InodeId, TimeOrdered as _};
use cyx_crypto::wrap::{Field, seal_field};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;

use super::apply::{Applied, Change, DECISIONS};
use super::local::Turn;
use super::local::note::Named;
use super::node::{Node, Seen, lock};
use super::xattr::seal_meta;
use super::{ANY_VERSION, Filesystem, Found, Handle, Inner, OpenFlags, check_new_name};
use crate::attributes::{Attr, Caller, Ino, Kind};
use crate::errno::Errno;

const SET_GROUP_ID: u32 = 0o2000;

/// What is to be made.
pub(crate) struct New<'a> {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) rdev: u32,
    pub(crate) target: &'a [u8],
    /// Extended attributes, and what else is sealed with them.
    pub(crate) meta: &'a [u8],
}

impl Filesystem {
    /// Makes a file, fifo, socket or device node. Counts a lookup, as all that return the attributes of something new.
    ///
    /// # Errors
    /// `EEXIST`, `ENAMETOOLONG`, `EROFS`; `EPERM` at the top of all buckets.
    pub async fn mknod(
        &self,
        parent: Ino,
        name: &[u8],
        kind: Kind,
        mode: u32,
        rdev: u32,
        caller: Caller,
    ) -> Result<Attr, Errno> {
        if matches!(kind, Kind::Directory | Kind::Symlink) {
            return Err(Errno::EINVAL);
        }
        let rdev = if matches!(kind, Kind::CharDevice | Kind::BlockDevice) { rdev } else { 0 };
        self.make(parent, name, &New { kind, mode, rdev, target: &[], meta: &[] }, caller).await
    }

    /// Makes a directory; at the top of all buckets, a bucket.
    ///
    /// # Errors
    /// As [`Self::mknod`]; `EINVAL` for a name that a bucket cannot have.
    pub async fn mkdir(&self, parent: Ino, name: &[u8], mode: u32, caller: Caller) -> Result<Attr, Errno> {
        if matches!(self.inner.found(parent)?, Found::Top) {
            return self.make_bucket(name).await;
        }
        self.make(parent, name, &New { kind: Kind::Directory, mode, rdev: 0, target: &[], meta: &[] }, caller).await
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// As [`Self::mknod`]; `ENAMETOOLONG` also for the target.
    pub async fn symlink(&self, parent: Ino, name: &[u8], target: &[u8], caller: Caller) -> Result<Attr, Errno> {
        match target {
            [] => return Err(Errno::ENOENT),
            target if target.len() > TARGET_MAX => return Err(Errno::ENAMETOOLONG),
            target if target.contains(&0) => return Err(Errno::EINVAL),
            _ => {}
        }
        self.make(parent, name, &New { kind: Kind::Symlink, mode: 0o777, rdev: 0, target, meta: &[] }, caller).await
    }

    async fn make(&self, parent: Ino, name: &[u8], new: &New<'_>, caller: Caller) -> Result<Attr, Errno> {
        let inner = &*self.inner;
        let directory = inner.directory_to_change(parent, name, Errno::EPERM)?;
        let node = inner.make_in(&directory, name, new, caller).await?;
        let attr = node.attr(&inner.look);
        inner.table.count(&node);
        Ok(attr)
    }

    /// Makes a regular file and opens it; one that is there is opened, unless that was to be an error.
    ///
    /// # Errors
    /// As [`Self::mknod`] and [`Self::open_file`].
    pub async fn create(
        &self,
        parent: Ino,
        name: &[u8],
        mode: u32,
        flags: OpenFlags,
        caller: Caller,
    ) -> Result<(Attr, Handle), Errno> {
        let inner = &*self.inner;
        let directory = inner.directory_to_change(parent, name, Errno::EPERM)?;
        let new = New { kind: Kind::File, mode, rdev: 0, target: &[], meta: &[] };
        for _ in 0..super::apply::DECISIONS {
            let node = match inner.make_in(&directory, name, &new, caller).await {
                Err(Errno::EEXIST) if !flags.exclusive => match inner.find(&directory, name).await? {
                    Some(edge) if edge.node.kind == Kind::File => edge.node,
                    Some(edge) if edge.node.is_directory() => return Err(Errno::EISDIR),
                    Some(_) => return Err(Errno::EEXIST),
                    // It was removed again in between.
                    None => continue,
                },
                other => other?,
            };
            let handle = inner.open_node(&node, flags).await?;
            let attr = node.attr(&inner.look);
            inner.table.count(&node);
            return Ok((attr, handle));
        }
        Err(Errno::EBUSY)
    }

    /// Gives something a second name.
    ///
    /// # Errors
    /// `EPERM` for a directory, `EXDEV` between buckets, and as [`Self::mknod`].
    pub async fn link(&self, ino: Ino, new_parent: Ino, new_name: &[u8]) -> Result<Attr, Errno> {
        let inner = &*self.inner;
        let directory = inner.directory_to_change(new_parent, new_name, Errno::EXDEV)?;
        check_new_name(new_name)?;
        let node = inner.node(ino, Errno::EPERM)?;
        if node.is_directory() {
            return Err(Errno::EPERM);
        }
        if node.home.id != directory.home.id {
            return Err(Errno::EXDEV);
        }
        for _ in 0..DECISIONS {
            if inner.try_to_link(&node, &directory, new_name).await? {
                let attr = node.attr(&inner.look);
                inner.table.count(&node);
                return Ok(attr);
            }
        }
        Err(Errno::EBUSY)
    }
}

impl Inner {
    /// Gives a file a second name; false if a key that was used has been replaced.
    async fn try_to_link(&self, node: &Arc<Node>, directory: &Arc<Node>, new_name: &[u8]) -> Result<bool, Errno> {
        let _changing = directory.changing.lock().await;
        let mut turn = self.turn(&directory.home).await;
        if self.find(directory, new_name).await?.is_some() {
            return Err(Errno::EEXIST);
        }
        self.fresh(node).await?;
        if lock(&node.facts).nlink == 0 {
            // Whether a file that has no name can get one again is not for this machine to say.
            turn = Turn::THERE;
        }
        self.still_there(turn, directory).await?;
        let keys = directory.directory_keys()?;
        let names = keys.tokens(new_name)?;
        let key = node.key();
        let wrapped_key = keys.wrap(&names, node.id, node.kind, &key)?.into();
        let link = pb::Link {
            inode: bytes_of(node.id),
            directory: bytes_of(directory.id),
            names,
            wrapped_key,
            key_epoch: key.epoch(),
        };
        let stamp = directory.home.stamp();
        let (names_moved, moved) = (directory.names_moved(), node.facts_moved());
        let named = Named { kind: node.kind, key, name: new_name.to_vec() };
        let change = Change { named: Some(named), ..Change::new(Op::Link(link), stamp) };
        let version = match self.apply(&directory.home, turn, change, &mut None).await {
            Ok(Applied::There(done)) => self.take_results(node, &done, moved),
            Ok(Applied::Here) => {
                node.gain_link(stamp);
                ANY_VERSION
            }
            Err(error) => {
                directory.doubt_name(new_name);
                return if error.code() == ErrorCode::StaleKey { Ok(false) } else { Err(error.into()) };
            }
        };
        directory.names_changed(stamp, 0);
        directory.set_name(new_name, node, version, names_moved);
        Ok(true)
    }

    /// What is decided here in a directory is decided only if that was not removed.
    pub(super) async fn still_there(&self, turn: Turn, directory: &Arc<Node>) -> Result<(), Errno> {
        if turn.is_here() {
            self.fresh(directory).await?;
            if lock(&directory.facts).nlink == 0 {
                return Err(Errno::ENOENT);
            }
        }
        Ok(())
    }

    /// Takes what the server says about an inode after a change of it; `moved` is where its counter stood before. Returns the version
    /// of the entry.
    pub(super) fn take_results(&self, node: &Node, done: &[pb::OperationResult], moved: u64) -> u64 {
        let Some(done) = done.first() else { return ANY_VERSION };
        if let Some(inode) = &done.inode {
            let seen = node.home.seen_now();
            let mut facts = lock(&node.facts);
            let unheard = facts.moved == moved;
            facts.moved += 1;
            facts.take(inode, Seen { stale: !unheard, ..seen });
        }
        done.entry.as_ref().map_or(ANY_VERSION, |entry| entry.version)
    }

    /// Makes a new inode in a directory.
    pub(crate) async fn make_in(
        &self,
        directory: &Arc<Node>,
        name: &[u8],
        new: &New<'_>,
        caller: Caller,
    ) -> Result<Arc<Node>, Errno> {
        check_new_name(name)?;
        for _ in 0..DECISIONS {
            if let Some(node) = self.try_to_make(directory, name, new, caller).await? {
                return Ok(node);
            }
        }
        Err(Errno::EBUSY)
    }

    /// As [`Self::make_in`]; `None` if a key that was used has been replaced.
    async fn try_to_make(
        &self,
        directory: &Arc<Node>,
        name: &[u8],
        new: &New<'_>,
        caller: Caller,
    ) -> Result<Option<Arc<Node>>, Errno> {
        let _changing = directory.changing.lock().await;
        let turn = self.turn(&directory.home).await;
        if self.find(directory, name).await?.is_some() {
            return Err(Errno::EEXIST);
        }
        self.still_there(turn, directory).await?;
        let (id, key) = (InodeId::now(), directory.home.bucket.make_key());
        let stamp = directory.home.stamp();
        let keys = directory.directory_keys()?;
        let names = keys.tokens(name)?;
        let wrapped_key = keys.wrap(&names, id, new.kind, &key)?.into();
        let sealed_target = match new.kind {
            Kind::Symlink => {
                Bytes::from(seal_field(&key, id, Field::LinkTarget, new.target).map_err(|_| Errno::ENAMETOOLONG)?)
            }
            _ => Bytes::new(),
        };
        let create = pb::Create {
            inode: bytes_of(id),
            kind: i32::from(new.kind.number()),
            directory: bytes_of(directory.id),
            names,
            wrapped_key,
            attributes: Some(self.new_attributes(directory, new, caller, stamp)),
            sealed_target,
            sealed_meta: seal_meta(&key, id, new.meta)?,
        };
        let (moved, moves) = (directory.names_moved(), directory.home.moves());
        // What is heard while it is asked for may be about it.
        let seen = directory.home.seen_now();
        let made = new_inode(&create);
        let mut is_here = false;
        let named = Named { kind: new.kind, key: key.clone(), name: name.to_vec() };
        let change = Change { named: Some(named), ..Change::new(Op::Create(create), stamp) };
        let (inode, version) = match self.apply(&directory.home, turn, change, &mut None).await {
            Ok(Applied::Here) => {
                is_here = true;
                (made, ANY_VERSION)
            }
            Ok(Applied::There(done)) => {
                let done = done.into_iter().next().unwrap_or_default();
                (done.inode.ok_or(Errno::EIO)?, done.entry.map_or(ANY_VERSION, |entry| entry.version))
            }
            Err(error) => {
                directory.doubt_name(name);
                if error.code() == ErrorCode::StaleKey {
                    return Ok(None);
                }
                if error.code() == ErrorCode::NotFound {
                    lock(&directory.facts).disbelieve();
                }
                return Err(error.into());
            }
        };
        let (node, _) = self.table.get_or_make(directory.home.id, id, None, |ino| {
            Node::new(ino, Arc::clone(&directory.home), id, new.kind, key, &inode, seen)
        });
        if new.kind == Kind::Directory && (is_here || directory.home.moves() == moves) {
            // Nobody else knows of it; or cannot put anything into it without an event about that, and none was heard since before it was there.
            node.listing().complete = Some(seen);
        }
        directory.names_changed(stamp, i32::from(new.kind == Kind::Directory));
        directory.set_name(name, &node, version, moved);
        Ok(Some(node))
    }

    /// In a directory with the set-group-id bit everything new gets its group, and directories get the bit.
    fn new_attributes(&self, directory: &Node, new: &New<'_>, caller: Caller, stamp: i64) -> pb::Attributes {
        let above = lock(&directory.facts).attributes;
        let inherits = above.mode & SET_GROUP_ID != 0;
        let inherited = if inherits && new.kind == Kind::Directory { SET_GROUP_ID } else { 0 };
        pb::Attributes {
            mode: new.mode & 0o7777 | inherited,
            uid: caller.uid,
            gid: if inherits { above.gid } else { caller.gid },
            rdev: u64::from(new.rdev),
            mtime_ns: stamp,
            ctime_ns: stamp,
            atime_ns: stamp,
        }
    }
}

/// The inode that a create makes, as the server will have it.
fn new_inode(create: &pb::Create) -> pb::Inode {
    pb::Inode {
        id: create.inode.clone(),
        kind: create.kind,
        attributes: create.attributes,
        nlink: if create.kind == i32::from(Kind::Directory.number()) { 2 } else { 1 },
        sealed_target: create.sealed_target.clone(),
        sealed_meta: create.sealed_meta.clone(),
        ..pb::Inode::default()
    }
}
