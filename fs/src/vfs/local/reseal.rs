//! Changes that were decided under keys which the bucket's owner has replaced before they were sent: the same names and keys, sealed anew.
//!
//! Older keys open what was sealed, the newest seal it. A key of something that only this machine knows stays: nobody else ever had it.

use std::sync::Arc;

use bytes::Bytes;
use cyx_client::tree::names::DirectoryKeys;
use cyx_client::{Error, IntegrityError, Result};
use cyx_core::error::ErrorCode;
use cyx_core::ids::InodeId;
use cyx_core::inode::InodeKind;
use cyx_crypto::wrap::{Field, epoch_of, open_field, open_history, seal_field};
use cyx_proto::convert::id;
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;

use super::note::operation_of;
use super::refused::instead_of;
use crate::vfs::Inner;
use crate::vfs::node::Opened;

/// Names in a directory under its newest key, and that key.
struct Renewed {
    keys: Arc<DirectoryKeys>,
    names: Vec<pb::NameToken>,
    /// They were under an older one.
    changed: bool,
}

impl Renewed {
    /// The newest key of an inode, wrapped for its name here, and its epoch.
    async fn wrap(&self, inner: &Inner, home: &Opened, inode: &Bytes, epoch: u32) -> Result<(Bytes, u32)> {
        let child: InodeId = id(inode, "inode")?;
        let gone = || Error::NotFound(format!("the inode {child}"));
        let found = inner.inode_at_server(home, inode).await?.ok_or_else(gone)?;
        let kind = InodeKind::from_number(found.kind).map_err(Error::decode("the kind of an inode"))?;
        let (key, _) = home.health.ask(home.bucket.renewed_key(child)).await?;
        let epoch = key.epoch().max(epoch);
        Ok((self.keys.wrap(&self.names, child, kind, &key)?.into(), epoch))
    }
}

impl Inner {
    /// The same change under the newest keys. `None` if there are none that are newer, or what it is about is gone.
    pub(super) async fn resealed(&self, home: &Opened, mutation: &pb::Mutation) -> Result<Option<pb::Mutation>> {
        let Some(operation) = operation_of(mutation) else { return Ok(None) };
        match self.reseal(home, operation).await {
            Ok(resealed) => Ok(resealed.map(|operation| instead_of(mutation, operation))),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn reseal(&self, home: &Opened, operation: &Op) -> Result<Option<Op>> {
        match operation {
            Op::Create(create) => {
                let new = self.renewed(home, &create.directory, &create.names).await?;
                let entry = pb::Entry {
                    directory: create.directory.clone(),
                    name: create.names.last().cloned(),
                    child: create.inode.clone(),
                    kind: create.kind,
                    wrapped_key: create.wrapped_key.clone(),
                    version: 0,
                };
                let (_, child, key) = new.keys.open_entry(&entry)?;
                let kind = InodeKind::from_number(create.kind).map_err(Error::decode("the kind of something new"))?;
                let wrapped_key = new.keys.wrap(&new.names, child, kind, &key)?.into();
                Ok(new.changed.then(|| Op::Create(pb::Create { names: new.names, wrapped_key, ..create.clone() })))
            }
            Op::Link(link) => {
                let new = self.renewed(home, &link.directory, &link.names).await?;
                let (wrapped_key, key_epoch) = new.wrap(self, home, &link.inode, link.key_epoch).await?;
                let changed = new.changed || key_epoch > link.key_epoch;
                let (names, link) = (new.names, link.clone());
                Ok(changed.then(|| Op::Link(pb::Link { names, wrapped_key, key_epoch, ..link })))
            }
            Op::Unlink(unlink) => {
                let new = self.renewed(home, &unlink.directory, &unlink.names).await?;
                // Whatever leads there has got another version with its key.
                let expected = any_version(unlink.expected.as_ref());
                Ok(new.changed.then(|| Op::Unlink(pb::Unlink { names: new.names, expected, ..unlink.clone() })))
            }
            Op::Rename(rename) => {
                let old = self.renewed(home, &rename.directory, &rename.names).await?;
                let new = self.renewed(home, &rename.new_directory, &rename.new_names).await?;
                let child = rename.expected.as_ref().map(|expected| expected.child.clone()).unwrap_or_default();
                let (new_wrapped_key, key_epoch) = new.wrap(self, home, &child, rename.key_epoch).await?;
                let mut renamed = pb::Rename {
                    expected: any_version(rename.expected.as_ref()),
                    replaced: any_version(rename.replaced.as_ref()),
                    new_wrapped_key,
                    key_epoch,
                    ..rename.clone()
                };
                if let Some(other) = rename.replaced.as_ref().filter(|_| rename.exchange) {
                    let (wrapped, epoch) = old.wrap(self, home, &other.child, rename.exchanged_key_epoch).await?;
                    (renamed.exchanged_wrapped_key, renamed.exchanged_key_epoch) = (wrapped, epoch);
                }
                let newer = renamed.key_epoch > rename.key_epoch
                    || renamed.exchanged_key_epoch > rename.exchanged_key_epoch
                    || old.changed
                    || new.changed;
                (renamed.names, renamed.new_names) = (old.names, new.names);
                Ok(newer.then_some(Op::Rename(renamed)))
            }
            Op::SetMeta(set) => {
                let inode: InodeId = id(&set.inode, "set_meta.inode")?;
                let (key, history) = home.health.ask(home.bucket.renewed_key(inode)).await?;
                if key.epoch() <= set.key_epoch {
                    return Ok(None);
                }
                let key_epoch = key.epoch();
                let broken = |_| IntegrityError::WrappedKey(format!("inode {inode}"));
                let sealed_meta = if set.sealed_meta.is_empty() {
                    Bytes::new()
                } else {
                    let keyring = open_history(key, inode, &history).map_err(broken)?;
                    let older = epoch_of(&set.sealed_meta).and_then(|epoch| keyring.of_epoch(epoch)).map_err(broken)?;
                    let plain = open_field(older, inode, Field::Meta, &set.sealed_meta).map_err(broken)?;
                    let sealed = seal_field(keyring.newest(), inode, Field::Meta, &plain);
                    sealed.map_err(|_| Error::Internal("what was sealed can be sealed again"))?.into()
                };
                Ok(Some(Op::SetMeta(pb::SetMeta { sealed_meta, key_epoch, ..set.clone() })))
            }
            _ => Ok(None),
        }
    }

    async fn renewed(&self, home: &Opened, directory: &Bytes, names: &[pb::NameToken]) -> Result<Renewed> {
        let directory: InodeId = id(directory, "directory")?;
        let newest = home.health.ask(home.bucket.renewed_directory(directory)).await?;
        let keys = Arc::new(DirectoryKeys::new(&newest)?);
        let before = names.last().ok_or(Error::Internal("a name has a token"))?;
        let names = keys.tokens(&keys.name_of(before)?)?;
        Ok(Renewed { changed: keys.epoch() > before.epoch, keys, names })
    }
}

fn any_version(expected: Option<&pb::Expected>) -> Option<pb::Expected> {
    expected.map(|expected| pb::Expected { entry_version: 0, ..expected.clone() })
}
