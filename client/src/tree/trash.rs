//! The trash: listing it, restoring from it, emptying it.
//!
//! An entry in the trash is still under the key of the directory it was in. The server sends the way from the root to that
//! directory with it, entry by entry, and each is opened like any other.

use std::collections::HashMap;

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{InodeId, TrashId};
use cyx_crypto::keys::FIRST_EPOCH;
use cyx_proto::convert::{InvalidField, bytes_of, id, required};
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;

use crate::error::{Error, IntegrityError, Result};
use crate::tree::change::{kind_of, mutation};
use crate::tree::names::DirectoryKeys;
use crate::tree::path::TreePath;
use crate::tree::types::{Bucket, Directory, Located};

/// Deeper ways are not followed.
const DEPTH_MAX: usize = 2048;
/// Entries removed for good in one mutation.
const PURGE_PER_MUTATION: usize = 500;

/// Inodes asked for in one call. With the largest metadata that there can be the answer is still a message.
const INODES_PER_CALL: usize = 300;

/// Older keys by inode.
type Histories = HashMap<Bytes, Bytes>;

/// Something in the trash.
#[derive(Clone)]
pub struct Trashed {
    /// Names it when it is restored.
    pub id: TrashId,
    /// Where it was.
    pub path: Vec<u8>,
    /// The entry.
    pub located: Located,
    /// When it was removed, Unix nanoseconds.
    pub deleted_ns: i64,
    /// When it goes away for good, Unix nanoseconds.
    pub expires_ns: i64,
    /// The directory it was in is in the trash as well, or one above: that has to be restored first.
    pub below_trash: bool,
    pub(crate) directory: Directory,
}

/// Something in the trash whose name cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Names it when it is removed for good.
    pub id: TrashId,
    /// Number of its kind ([`cyx_core::inode::InodeKind`]) and bytes of it, as the server says.
    pub kind: i32,
    /// See there.
    pub size: u64,
    /// When it was removed, Unix nanoseconds.
    pub deleted_ns: i64,
    /// When it goes away for good, Unix nanoseconds.
    pub expires_ns: i64,
    /// Why: [`Error::NotFound`] if its directory is gone, and its name with that.
    pub error: Error,
}

/// What became of entries of the trash that were to be removed for good.
#[derive(Debug)]
#[must_use]
pub struct Purged {
    /// So many are gone.
    pub deleted: u64,
    /// So many are not, or it is not known.
    pub left: u64,
    /// Why, if any are left.
    pub error: Option<Error>,
}

impl Bucket {
    /// What is in the trash, the newest first, and then what cannot be read of it.
    ///
    /// # Errors
    /// As every call of [`crate::meta::MetaClient`].
    pub async fn trash(&self) -> Result<Vec<std::result::Result<Trashed, Unreadable>>> {
        let request = pb::ListTrashRequest { bucket: bytes_of(self.id) };
        let mut stream = self.client.meta.list_trash(request).await?;
        let mut found = Vec::new();
        while let Some(message) = stream.next().await? {
            let ways = message.entries.iter().map(|entry| &entry.ancestors[..]);
            let histories = self.histories(ways).await?;
            for entry in message.entries {
                found.push(self.read_trashed(entry, &histories)?);
            }
        }
        found.sort_by_key(|entry| match entry {
            Ok(entry) => (0, std::cmp::Reverse(entry.deleted_ns)),
            Err(entry) => (1, std::cmp::Reverse(entry.deleted_ns)),
        });
        Ok(found)
    }

    /// Puts something back under its old name or under another one of the same directory.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if the name is taken; [`Error::NotFound`] if the directory is gone; [`Error::Invalid`] if it is in the trash.
    pub async fn restore(&self, trashed: &Trashed, new_name: Option<&[u8]>) -> Result<TreePath> {
        let name = new_name.unwrap_or(&trashed.located.name);
        // Always wrapped anew: the directory may have a newer key than when the entry was removed.
        let keys = DirectoryKeys::new(&trashed.directory)?;
        let names = keys.tokens(name)?;
        let key = &trashed.located.key;
        let wrapped_key = keys.wrap(&names, trashed.located.id, kind_of(&trashed.located)?, key)?.into();
        let above = TreePath::parse(&trashed.path)?.split().map_or_else(TreePath::root, |(above, _)| above);
        let path = above.join(name)?;
        let restore = pb::TrashRestore { trash: bytes_of(trashed.id), names, wrapped_key, key_epoch: key.epoch() };
        let operation = pb::Operation { operation: Some(Op::TrashRestore(restore)) };
        let restored = self.apply_one(vec![operation]).await;
        self.directories.forget();
        restored.map_err(|error| match error {
            Error::Server { code: ErrorCode::NotFound, .. } if trashed.below_trash => Error::Invalid {
                code: ErrorCode::NotFound,
                message: format!("{path} was in a directory that is in the trash itself"),
                advice: Some("Restore the directory first (`cyx trash list` names it), then this.".to_owned()),
            },
            other => super::change::named(other, &path),
        })?;
        if trashed.located.key.epoch() < self.key_epoch()
            && let Err(error) = self.renew_below(&trashed.directory, name).await
        {
            tracing::debug!(%error, "what was restored keeps its older keys until the next rotation");
        }
        Ok(path)
    }

    /// Removes entries of the trash for good.
    pub async fn purge(&self, trash: &[TrashId]) -> Purged {
        let purge = |part: &[TrashId]| {
            let purge = pb::TrashPurge { trash: part.iter().map(|id| bytes_of(*id)).collect() };
            mutation(vec![pb::Operation { operation: Some(Op::TrashPurge(purge)) }])
        };
        let mut purged = Purged { deleted: 0, left: 0, error: None };
        match self.apply(trash.chunks(PURGE_PER_MUTATION).map(purge).collect()).await {
            Ok(results) => {
                for (part, result) in trash.chunks(PURGE_PER_MUTATION).zip(results) {
                    match result {
                        Ok(_) => purged.deleted += part.len() as u64,
                        Err(error) => {
                            purged.left += part.len() as u64;
                            purged.error.get_or_insert(error);
                        }
                    }
                }
            }
            Err(error) => (purged.left, purged.error) = (trash.len() as u64, Some(error)),
        }
        purged
    }

    /// Empties the trash: also of entries whose names are not authentic.
    ///
    /// # Errors
    /// If it cannot be listed, as every call of [`crate::meta::MetaClient`].
    pub async fn empty_trash(&self) -> Result<Purged> {
        let request = pb::ListTrashRequest { bucket: bytes_of(self.id) };
        let mut stream = self.client.meta.list_trash(request).await?;
        let mut ids = Vec::new();
        while let Some(message) = stream.next().await? {
            for entry in message.entries {
                ids.push(id(&entry.id, "trash.id")?);
            }
        }
        Ok(self.purge(&ids).await)
    }

    /// Opens an entry, or keeps what can be said without.
    fn read_trashed(
        &self,
        trashed: pb::TrashEntry,
        histories: &Histories,
    ) -> Result<std::result::Result<Trashed, Unreadable>> {
        let inode = trashed.inode.as_ref().ok_or(InvalidField { field: "trash.inode" })?;
        let (id, kind, size) = (id(&trashed.id, "trash.id")?, inode.kind, inode.size);
        let (deleted_ns, expires_ns) = (trashed.deleted_ns, trashed.expires_ns);
        let opened = self.open_trashed(trashed, histories);
        Ok(opened.map_err(|error| Unreadable { id, kind, size, deleted_ns, expires_ns, error }))
    }

    fn open_trashed(&self, trashed: pb::TrashEntry, histories: &Histories) -> Result<Trashed> {
        let entry = required(trashed.entry, "trash.entry")?;
        let inode = required(trashed.inode, "trash.inode")?;
        let parent: InodeId = id(&entry.directory, "trash.entry.directory")?;
        let (directory, mut path) = self.follow(parent, &trashed.ancestors, histories)?;
        let located = DirectoryKeys::new(&directory)?.open(entry, inode)?;
        path.push(located.name.clone());
        Ok(Trashed {
            id: id(&trashed.id, "trash.id")?,
            path: path.join(&b'/'),
            located,
            deleted_ns: trashed.deleted_ns,
            expires_ns: trashed.expires_ns,
            below_trash: trashed.below_trash,
            directory,
        })
    }

    /// The older keys of the directories on some ways from the root. There are none before the bucket's first key change.
    async fn histories<'e>(&self, ways: impl Iterator<Item = &'e [pb::Entry]>) -> Result<Histories> {
        let mut histories = Histories::new();
        if self.key_epoch() == FIRST_EPOCH {
            return Ok(histories);
        }
        let mut ids: Vec<Bytes> = ways.flatten().map(|entry| entry.child.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        for ids in ids.chunks(INODES_PER_CALL) {
            let request = pb::GetInodesRequest { bucket: bytes_of(self.id), ids: ids.to_vec() };
            let inodes = self.client.meta.get_inodes(request).await?.inodes;
            histories.extend(inodes.into_iter().map(|inode| (inode.id, inode.key_history)));
        }
        Ok(histories)
    }

    /// Opens the directory `id` by the entries that lead to it from the root.
    fn follow(&self, id: InodeId, ancestors: &[pb::Entry], histories: &Histories) -> Result<(Directory, Vec<Vec<u8>>)> {
        if ancestors.len() > DEPTH_MAX {
            return Err(IntegrityError::Mismatch("a way from the root is far too long").into());
        }
        let (mut directory, mut path) = (self.root_directory(), Vec::new());
        for entry in ancestors {
            let (name, child, key) = DirectoryKeys::new(&directory)?.open_entry(entry)?;
            let key_history = histories.get(&entry.child).cloned().unwrap_or_default();
            directory = Directory { id: child, key, key_history, attributes: None };
            path.push(name);
        }
        if directory.id == id { Ok((directory, path)) } else { Err(Error::NotFound(format!("directory {id}"))) }
    }
}
