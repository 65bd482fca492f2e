//! Boxes that belong to the tree.
//!
//! | purpose | key | bound to | holds |
//! |---|---|---|---|
//! | 7 | directory's child wrap key, its epoch | directory 16, child 16, kind u8, encrypted name | child's epoch u32, child's key 32 |
//! | 9 | inode's field key, its epoch | inode 16, field u8 | the field |
//! | – | file's blob wrap key, its epoch | "cyx v1 blob key", blob 16, header 13 | blob key 32 |

use aes_gcm::{Aes256Gcm, KeyInit as _};
use cyx_core::extent::{BlobHeader, WRAPPED_BLOB_KEY_LEN};
use cyx_core::ids::{BlobId, InodeId, random_bytes};
use cyx_core::inode::InodeKind;
use cyx_core::name::EncryptedName;

use super::{
    BOX_MAX, BOX_OVERHEAD, NONCE_LEN, Purpose, key_plain, open, open_bare, open_with, seal, seal_bare, seal_with,
    split_key,
};
use crate::Undecryptable;
use crate::keys::{BlobKey, InodeKey};

const BLOB_KEY_CONTEXT: &[u8] = b"cyx v1 blob key";

/// An entry of a directory, as far as the key it holds is bound to it.
#[derive(Clone, Copy, Debug)]
pub struct Edge<'a> {
    /// The directory.
    pub directory: InodeId,
    /// The entry's encrypted name.
    pub name: &'a EncryptedName,
    /// What it leads to.
    pub child: InodeId,
    /// What that is.
    pub kind: InodeKind,
}

impl Edge<'_> {
    fn context(&self) -> Vec<u8> {
        [&self.directory.0[..], &self.child.0, &[self.kind.number()], self.name.as_bytes()].concat()
    }
}

/// Wraps a child's key under its directory's key.
#[must_use]
pub fn seal_child_key(directory: &InodeKey, edge: &Edge<'_>, child: &InodeKey) -> Vec<u8> {
    ChildKeys::of(directory).seal(edge, child)
}

/// Unwraps a child's key.
///
/// # Errors
/// [`Undecryptable`], also if the entry has another name, child, kind or directory than the one it was made for.
pub fn open_child_key(directory: &InodeKey, edge: &Edge<'_>, bytes: &[u8]) -> Result<InodeKey, Undecryptable> {
    ChildKeys::of(directory).open(edge, bytes)
}

/// Wraps and unwraps the keys of many children of one directory: what is derived from the directory's key is derived once.
pub struct ChildKeys {
    epoch: u32,
    cipher: Aes256Gcm,
}

impl ChildKeys {
    /// For children whose keys are wrapped by this key of their directory.
    #[must_use]
    pub fn of(directory: &InodeKey) -> Self {
        let key = directory.derive_child_wrap_key();
        Self { epoch: directory.epoch(), cipher: Aes256Gcm::new(key.bytes().into()) }
    }

    /// Epoch of that key.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// As [`seal_child_key`].
    #[must_use]
    pub fn seal(&self, edge: &Edge<'_>, child: &InodeKey) -> Vec<u8> {
        let plain = key_plain(child.epoch(), child.expose());
        seal_with(Purpose::ChildKey, self.epoch, &self.cipher, &edge.context(), &*plain)
    }

    /// As [`open_child_key`].
    ///
    /// # Errors
    /// As there.
    pub fn open(&self, edge: &Edge<'_>, bytes: &[u8]) -> Result<InodeKey, Undecryptable> {
        let plain = open_with(Purpose::ChildKey, self.epoch, &self.cipher, &edge.context(), bytes)?;
        let (epoch, key) = split_key(&plain)?;
        Ok(InodeKey::from_parts(epoch, key))
    }
}

/// A sealed field of an inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Field {
    /// Where a symbolic link leads.
    LinkTarget = 1,
    /// Extended attributes, content type and user metadata together.
    Meta = 2,
}

fn field_context(inode: InodeId, field: Field) -> [u8; 17] {
    let mut context = [field as u8; 17];
    context[..16].copy_from_slice(&inode.0);
    context
}

/// A field is longer than a box may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the field has {0} bytes, more than {max} are not possible", max = BOX_MAX - BOX_OVERHEAD)]
pub struct FieldTooLong(pub usize);

/// Seals a field under its inode's key.
///
/// # Errors
/// [`FieldTooLong`].
pub fn seal_field(key: &InodeKey, inode: InodeId, field: Field, plain: &[u8]) -> Result<Vec<u8>, FieldTooLong> {
    if plain.len() > BOX_MAX - BOX_OVERHEAD {
        return Err(FieldTooLong(plain.len()));
    }
    Ok(seal(Purpose::Field, key.epoch(), key.derive_field_key().bytes(), &field_context(inode, field), plain))
}

/// Opens a field.
///
/// # Errors
/// [`Undecryptable`].
pub fn open_field(key: &InodeKey, inode: InodeId, field: Field, bytes: &[u8]) -> Result<Vec<u8>, Undecryptable> {
    let plain = open(Purpose::Field, key.epoch(), key.derive_field_key().bytes(), &field_context(inode, field), bytes)?;
    Ok(plain.to_vec())
}

fn blob_context(blob: BlobId, header: BlobHeader) -> Vec<u8> {
    [BLOB_KEY_CONTEXT, &blob.0, &header.to_bytes()].concat()
}

/// Wraps a blob's key under its file's key, as it lies in an extent.
#[must_use]
pub fn seal_blob_key(file: &InodeKey, blob: BlobId, header: BlobHeader, key: &BlobKey) -> [u8; WRAPPED_BLOB_KEY_LEN] {
    seal_blob_key_with(file, blob, header, key, &random_bytes())
}

fn seal_blob_key_with(
    file: &InodeKey,
    blob: BlobId,
    header: BlobHeader,
    key: &BlobKey,
    nonce: &[u8; NONCE_LEN],
) -> [u8; WRAPPED_BLOB_KEY_LEN] {
    let mut bytes = Vec::with_capacity(WRAPPED_BLOB_KEY_LEN);
    let wrap_key = file.derive_blob_wrap_key();
    seal_bare(wrap_key.bytes(), &blob_context(blob, header), key.expose(), nonce, &mut bytes);
    let mut wrapped = [0; WRAPPED_BLOB_KEY_LEN];
    wrapped.copy_from_slice(&bytes);
    wrapped
}

/// Unwraps a blob's key.
///
/// # Errors
/// [`Undecryptable`], also if the blob or its header is not the one it was wrapped with.
pub fn open_blob_key(
    file: &InodeKey,
    blob: BlobId,
    header: BlobHeader,
    wrapped: &[u8; WRAPPED_BLOB_KEY_LEN],
) -> Result<BlobKey, Undecryptable> {
    let plain = open_bare(file.derive_blob_wrap_key().bytes(), &blob_context(blob, header), wrapped)?;
    plain.as_slice().try_into().map(BlobKey::from_bytes).map_err(|_| Undecryptable)
}
