//! Extended attributes: sealed together, in one field of their inode.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cyx_client::tree::meta::{ExtendedAttributes, VALUE_MAX};
use cyx_core::ids::InodeId;
use cyx_core::units::NAME_MAX;
use cyx_crypto::keys::InodeKey;
use cyx_crypto::wrap::{Field, seal_field};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;

use super::apply::{Applied, Change, DECISIONS, decide_again};
use super::node::{Node, lock};
use super::{Filesystem, Found, Inner, SetXattr};
use crate::attributes::{Caller, Ino};
use crate::errno::Errno;

/// Attributes of an inode, and what else is sealed with them.
pub(crate) type Xattrs = ExtendedAttributes;

/// What these begin with is for those who may administrate the system. The kernel keeps others from it, but does not look through lists of names.
const TRUSTED: &[u8] = b"trusted.";

/// Where programs may keep attributes. ACLs (`system.`) would have to be understood, and are not.
fn check_name(name: &[u8]) -> Result<(), Errno> {
    if name.len() > NAME_MAX {
        return Err(Errno::ERANGE);
    }
    match [&b"user."[..], TRUSTED, b"security."].iter().find_map(|prefix| name.strip_prefix(*prefix)) {
        Some(b"") => Err(Errno::EINVAL),
        Some(_) => Ok(()),
        None => Err(Errno::EOPNOTSUPP),
    }
}

impl Filesystem {
    /// Value of an extended attribute.
    ///
    /// # Errors
    /// `ENODATA`; `EOPNOTSUPP` for a kind of attribute that there is not here, `EINVAL` for a kind without a name.
    pub async fn getxattr(&self, ino: Ino, name: &[u8]) -> Result<Bytes, Errno> {
        check_name(name)?;
        let Found::Node(node) = self.inner.found(ino)? else { return Err(Errno::ENODATA) };
        let xattrs = self.inner.xattrs(&node).await?;
        xattrs.attributes.get(name).map(|value| Bytes::copy_from_slice(value)).ok_or(Errno::ENODATA)
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// `EEXIST`, `ENODATA` as the flag wants; `E2BIG` for a value of more than 64 KiB, `ENOSPC` if all together are too large.
    pub async fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], flag: SetXattr) -> Result<(), Errno> {
        check_name(name)?;
        if value.len() > VALUE_MAX {
            return Err(Errno::E2BIG);
        }
        self.inner
            .change_xattrs(ino, |xattrs| {
                match (flag, xattrs.contains_key(name)) {
                    (SetXattr::Create, true) => return Err(Errno::EEXIST),
                    (SetXattr::Replace, false) => return Err(Errno::ENODATA),
                    _ => {}
                }
                xattrs.insert(name.to_vec(), value.to_vec());
                Ok(())
            })
            .await
    }

    /// Names of the extended attributes, each with a NUL behind it. Those that begin with `trusted.` are root's alone: who else may administrate
    /// the system is not known here.
    ///
    /// # Errors
    /// `EIO`.
    pub async fn listxattr(&self, ino: Ino, caller: Caller) -> Result<Bytes, Errno> {
        let Found::Node(node) = self.inner.found(ino)? else { return Ok(Bytes::new()) };
        let xattrs = self.inner.xattrs(&node).await?;
        let mut names = Vec::new();
        for name in xattrs.attributes.keys().filter(|name| caller.uid == 0 || !name.starts_with(TRUSTED)) {
            names.extend_from_slice(name);
            names.push(0);
        }
        Ok(names.into())
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// `ENODATA`.
    pub async fn removexattr(&self, ino: Ino, name: &[u8]) -> Result<(), Errno> {
        check_name(name)?;
        self.inner.change_xattrs(ino, |xattrs| xattrs.remove(name).map(|_| ()).ok_or(Errno::ENODATA)).await
    }
}

/// Seals them; nothing, if there are none.
pub(super) fn seal_meta(key: &InodeKey, inode: InodeId, plain: &[u8]) -> Result<Bytes, Errno> {
    if plain.is_empty() {
        return Ok(Bytes::new());
    }
    seal_field(key, inode, Field::Meta, plain).map(Bytes::from).map_err(|_| Errno::ENOSPC)
}

impl Inner {
    /// What is sealed with an inode, for a copy of it: as it is known, for it may be gone.
    pub(crate) async fn sealed_with(&self, node: &Arc<Node>) -> Result<Vec<u8>, Errno> {
        match self.fresh(node).await {
            Ok(()) | Err(Errno::ESTALE) => {}
            Err(errno) => return Err(errno),
        }
        // Those that cannot be read keep nobody from what was written.
        Ok(node.xattrs().ok().and_then(|xattrs| xattrs.encode()).unwrap_or_default())
    }

    async fn xattrs(&self, node: &Arc<Node>) -> Result<Arc<Xattrs>, Errno> {
        self.fresh(node).await?;
        node.xattrs()
    }

    async fn change_xattrs(
        &self,
        ino: Ino,
        change: impl Fn(&mut BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        self.writable()?;
        let node = self.node(ino, Errno::EPERM)?;
        let _changing = node.changing.lock().await;
        for _ in 0..DECISIONS {
            let turn = self.turn(&node.home).await;
            let mut xattrs = Xattrs::clone(&*self.xattrs(&node).await?);
            change(&mut xattrs.attributes)?;
            let plain = xattrs.encode().ok_or(Errno::ENOSPC)?;
            let key = node.key();
            let sealed_meta = seal_meta(&key, node.id, &plain)?;
            let (expected_meta_version, moved) = {
                let facts = lock(&node.facts);
                (facts.meta_version, facts.moved)
            };
            let set = pb::SetMeta {
                inode: bytes_of(node.id),
                sealed_meta: sealed_meta.clone(),
                expected_meta_version,
                key_epoch: key.epoch(),
            };
            let stamp = node.home.stamp();
            match self.apply(&node.home, turn, Change::new(Op::SetMeta(set), stamp), &mut None).await {
                Ok(Applied::Here) => {
                    node.meta_changed(sealed_meta, stamp);
                    return Ok(());
                }
                Ok(Applied::There(done)) => {
                    self.take_results(&node, &done, moved);
                    return Ok(());
                }
                Err(error) if decide_again(&error) => lock(&node.facts).disbelieve(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::EBUSY)
    }
}

impl Node {
    fn xattrs(&self) -> Result<Arc<Xattrs>, Errno> {
        let sealed = {
            let facts = lock(&self.facts);
            if let Some(xattrs) = &facts.xattrs {
                return Ok(Arc::clone(xattrs));
            }
            facts.sealed_meta.clone()
        };
        let xattrs = if sealed.is_empty() {
            Xattrs::default()
        } else {
            let plain = self.open_sealed(Field::Meta, &sealed)?;
            Xattrs::decode(&plain).map_err(|_| self.broken("its extended attributes"))?
        };
        let xattrs = Arc::new(xattrs);
        let mut facts = lock(&self.facts);
        if facts.sealed_meta == sealed {
            facts.xattrs = Some(Arc::clone(&xattrs));
        }
        Ok(xattrs)
    }
}
