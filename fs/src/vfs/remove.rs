//! Removing names.
//!
//! What is removed here does not go to the trash, which would fill with the temporary files of every program. It stays readable for
//! whoever has it open.

use std::sync::Arc;

use cyx_core::error::ErrorCode;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;

use super::apply::{Applied, Change, DECISIONS, decide_again, expected};
use super::node::{Node, lock};
use super::rename::both;
use super::{Filesystem, Found, Inner};
use crate::attributes::Ino;
use crate::errno::Errno;

impl Filesystem {
    /// Removes a name of something that is no directory.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `EROFS`; `EPERM` at the top of all buckets.
    pub async fn unlink(&self, parent: Ino, name: &[u8]) -> Result<(), Errno> {
        let directory = self.inner.directory_to_change(parent, name, Errno::EPERM)?;
        self.inner.remove(&directory, name, false).await
    }

    /// Removes an empty directory; at the top of all buckets, an empty bucket.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`, `EROFS`.
    pub async fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<(), Errno> {
        if matches!(self.inner.found(parent)?, Found::Top) {
            return self.remove_bucket(name).await;
        }
        let directory = self.inner.directory_to_change(parent, name, Errno::EPERM)?;
        match name {
            b"." => Err(Errno::EINVAL),
            b".." => Err(Errno::ENOTEMPTY),
            name => self.inner.remove(&directory, name, true).await,
        }
    }
}

impl Inner {
    async fn remove(&self, directory: &Arc<Node>, name: &[u8], is_directory: bool) -> Result<(), Errno> {
        let (mut asked, mut busy) = (None, None);
        for _ in 0..DECISIONS {
            let child: Option<Arc<Node>> = busy.take();
            let _changing = match &child {
                Some(child) => both(directory, child).await,
                None => (directory.changing.lock().await, None),
            };
            busy = self.remove_in(directory, name, is_directory, child.as_ref(), &mut asked).await?;
            if busy.is_none() {
                return Ok(());
            }
        }
        Err(Errno::EBUSY)
    }

    /// As [`Self::remove`] in a directory that is locked, as is `locked`. Does nothing if what the name leads to is locked by somebody else,
    /// and returns it: whoever has it may wait for the directory, so both have to be taken in the order in which everybody takes them.
    async fn remove_in(
        &self,
        directory: &Arc<Node>,
        name: &[u8],
        is_directory: bool,
        locked: Option<&Arc<Node>>,
        asked: &mut Option<pb::Mutation>,
    ) -> Result<Option<Arc<Node>>, Errno> {
        for _ in 0..DECISIONS {
            let turn = self.turn(&directory.home).await;
            let edge = self.find(directory, name).await?.ok_or(Errno::ENOENT)?;
            match (edge.node.is_directory(), is_directory) {
                (true, false) => return Err(Errno::EISDIR),
                (false, true) => return Err(Errno::ENOTDIR),
                _ => {}
            }
            // Nothing can be put into a directory from here while it is being removed.
            let is_locked = locked.is_some_and(|locked| Arc::ptr_eq(locked, &edge.node));
            let inside = if is_directory && !is_locked {
                let Ok(inside) = edge.node.changing.try_lock() else { return Ok(Some(edge.node)) };
                Some(inside)
            } else {
                None
            };
            if turn.is_here() {
                self.fresh(&edge.node).await?;
                if is_directory && !self.list(&edge.node).await?.entries.is_empty() {
                    return Err(Errno::ENOTEMPTY);
                }
            }
            let mode = if is_directory { pb::unlink::Mode::Directory } else { pb::unlink::Mode::File };
            let unlink = pb::Unlink {
                directory: bytes_of(directory.id),
                names: directory.directory_keys()?.tokens(name)?,
                expected: Some(expected(&edge)),
                mode: mode.into(),
            };
            let stamp = directory.home.stamp();
            let (names_moved, moved) = (directory.names_moved(), edge.node.facts_moved());
            let loses = self.known_of(&edge.node, turn);
            let change = Change { loses, asked: asked.take(), ..Change::new(Op::Unlink(unlink), stamp) };
            match self.apply(&directory.home, turn, change, asked).await {
                Ok(applied) => {
                    drop(inside);
                    directory.names_changed(stamp, -i32::from(is_directory));
                    directory.drop_name(name, names_moved);
                    match applied {
                        Applied::Here => edge.node.lose_link(stamp),
                        Applied::There(done) => {
                            self.take_results(&edge.node, &done, moved);
                        }
                    }
                    self.drop_if_gone(&edge.node);
                    return Ok(None);
                }
                Err(error) if decide_again(&error) => directory.doubt_name(name),
                Err(error) => {
                    // What is not as it was believed to be is looked at again.
                    directory.doubt_name(name);
                    lock(&edge.node.facts).disbelieve();
                    if error.code() == ErrorCode::NotEmpty {
                        edge.node.listing().forget();
                    }
                    return Err(error.into());
                }
            }
        }
        Err(Errno::EBUSY)
    }

    /// What nobody can open any more need not be uploaded.
    fn drop_if_gone(&self, node: &Arc<Node>) {
        if lock(&node.facts).nlink == 0 && !node.is_directory() {
            self.removed_here(node);
        }
    }

    /// Something was renamed over a name of an inode. How many are left is asked for if it matters, which it does for what is open as
    /// well, because it may be written to later: somebody else may have made one that is not known here.
    pub(super) async fn replaced(&self, node: &Arc<Node>, stamp: i64) {
        node.lose_link(stamp);
        let has_content = self.content_if_any(node).is_some();
        if has_content && lock(&node.facts).nlink == 0 && !node.home.local.decides() {
            lock(&node.facts).disbelieve();
            let asked = self.fresh(node).await;
            // What is decided here and not sent is looked at again when it is.
            let is_sent = !node.home.local.touches(&[node.id]);
            if asked.is_err() || (is_sent && node.home.health.offline()) {
                return;
            }
        }
        self.drop_if_gone(node);
    }
}
