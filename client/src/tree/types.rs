//! The types that the modules of a client hand to each other.
//!
//! What has been checked shows in the type: a [`Located`] has a key that was unwrapped for exactly this directory, name, child
//! and kind; a [`VerifiedVersion`] has a signature of a writer of the bucket and is not older than what was seen before.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cyx_core::extent::PageId;
use cyx_core::ids::{BucketId, InodeId};
use cyx_core::writers::WriterList;
use cyx_crypto::keys::InodeKey;
use cyx_crypto::wrap::{InodeKeyring, open_history};
use cyx_proto::meta::v1 as pb;

use crate::client::Client;
use crate::error::{IntegrityError, Result};
use crate::tree::path::shown;
use crate::tree::resolve::DirectoryCache;

/// The newest key of a root directory and the older ones, as the server keeps them.
pub(crate) struct RootKeys(Mutex<(InodeKey, Bytes)>);

impl RootKeys {
    pub(crate) const fn new(key: InodeKey, history: Bytes) -> Self {
        Self(Mutex::new((key, history)))
    }

    pub(crate) fn get(&self) -> (InodeKey, Bytes) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, key: InodeKey, history: Bytes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (key, history);
    }
}

/// A bucket whose root key is open and whose writer list was verified.
pub struct OpenBucket {
    /// The bucket.
    pub id: BucketId,
    /// Its root directory.
    pub root: InodeId,
    /// Keys of the root directory. They change while the bucket is open if its owner replaces them.
    pub(crate) root_keys: Arc<RootKeys>,
    /// The owner's Ed25519 public key that the writer list begins with: it stays, whatever key its owner has now.
    pub owner_key: [u8; 32],
    /// It belongs to the account.
    pub(crate) own: bool,
    /// Who may commit. The list grows while the bucket is open.
    pub(crate) writers: Mutex<Arc<WriterList>>,
    /// The plain name.
    pub name: String,
    /// The bucket asks for 10+10.
    pub durable: bool,
    /// Bucket sequence when it was opened.
    pub sequence: u64,
}

impl OpenBucket {
    /// Who may commit, as far as is known here.
    #[must_use]
    pub fn writers(&self) -> Arc<WriterList> {
        Arc::clone(&self.writers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A list that was verified takes the place of the one that was known, unless it is an older one.
    pub(crate) fn set_writers(&self, writers: WriterList) {
        let mut known = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        if writers.len() >= known.len() {
            *known = Arc::new(writers);
        }
    }
}

/// An open bucket and the client that opened it. Cheap to clone; everything below a bucket is done through it.
#[derive(Clone)]
pub struct Bucket {
    pub(crate) client: Client,
    pub(crate) open: Arc<OpenBucket>,
    pub(crate) directories: Arc<DirectoryCache>,
}

impl Bucket {
    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The root directory.
    #[must_use]
    pub fn root_directory(&self) -> Directory {
        let (key, key_history) = self.open.root_keys.get();
        Directory { id: self.open.root, key, key_history, attributes: None }
    }

    /// A key for something new, of the bucket's epoch.
    #[must_use]
    pub fn make_key(&self) -> InodeKey {
        InodeKey::make_at(self.key_epoch())
    }

    /// Epoch of the bucket's keys, as far as is known here: what has a key of a lower one has not got its newest yet.
    #[must_use]
    pub fn key_epoch(&self) -> u32 {
        self.open.root_keys.get().0.epoch()
    }
}

impl Deref for Bucket {
    type Target = OpenBucket;

    fn deref(&self) -> &OpenBucket {
        &self.open
    }
}

/// An opened directory: names in it can be encrypted and decrypted, keys of its children wrapped and unwrapped.
#[derive(Clone)]
pub struct Directory {
    /// The directory.
    pub id: InodeId,
    /// Its newest key.
    pub key: InodeKey,
    /// Its older keys, as the server keeps them.
    pub key_history: Bytes,
    /// Mode and times, where they were asked for (never for a root).
    pub attributes: Option<pb::Attributes>,
}

impl Directory {
    /// All its keys.
    ///
    /// # Errors
    /// [`IntegrityError::WrappedKey`].
    pub fn keyring(&self) -> Result<InodeKeyring> {
        open_history(self.key.clone(), self.id, &self.key_history)
            .map_err(|_| IntegrityError::WrappedKey(format!("directory {}", self.id)).into())
    }
}

/// An entry that was found, with everything needed to use it.
#[derive(Clone)]
pub struct Located {
    /// The entry as the server has it.
    pub entry: pb::Entry,
    /// The plain name: no `/`, no NUL, neither `.` nor `..`, at most 255 bytes.
    pub name: Vec<u8>,
    /// The inode it leads to, with the same id and kind.
    pub inode: pb::Inode,
    /// That inode.
    pub id: InodeId,
    /// Newest key of the inode: for everything new.
    pub key: InodeKey,
    /// The directory that has the entry.
    pub parent: InodeId,
}

impl Located {
    /// What kind of thing it is.
    #[must_use]
    pub fn kind(&self) -> pb::InodeKind {
        self.inode.kind()
    }

    /// It is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind() == pb::InodeKind::Directory
    }

    /// As an opened directory, if it is one.
    #[must_use]
    pub fn directory(&self) -> Option<Directory> {
        self.is_directory().then(|| Directory {
            id: self.id,
            key: self.key.clone(),
            key_history: self.inode.key_history.clone(),
            attributes: self.inode.attributes,
        })
    }

    /// All keys of the inode: an extent names the epoch of the one that wraps its blob's key.
    ///
    /// # Errors
    /// [`IntegrityError::WrappedKey`].
    pub fn keyring(&self) -> Result<InodeKeyring> {
        open_history(self.key.clone(), self.id, &self.inode.key_history)
            .map_err(|_| IntegrityError::WrappedKey(shown(&self.name)).into())
    }

    /// What an operation on this entry expects to find.
    #[must_use]
    pub fn expected(&self) -> pb::Expected {
        pb::Expected { child: self.entry.child.clone(), entry_version: self.entry.version }
    }
}

/// An inode that does not exist yet, with the operation that creates it.
pub struct NewInode {
    /// Its id.
    pub id: InodeId,
    /// Its key.
    pub key: InodeKey,
    /// The directory it goes into.
    pub parent: InodeId,
    /// Its plain name.
    pub name: Vec<u8>,
    /// A `Create`, to stand first in a mutation.
    pub operation: pb::Operation,
}

/// A version whose commit was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedVersion {
    pub(crate) inode: InodeId,
    pub(crate) version: u64,
    pub(crate) size: u64,
    pub(crate) root: PageId,
}

impl VerifiedVersion {
    /// The file.
    #[must_use]
    pub const fn inode(&self) -> InodeId {
        self.inode
    }

    /// Number of the version; 0 if nothing was committed yet.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Plain bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Root of the extent pages.
    #[must_use]
    pub const fn root(&self) -> PageId {
        self.root
    }
}

/// One thing that a listing found.
#[derive(Clone)]
pub struct Item {
    /// Path from the bucket's root, parts joined by `/`.
    pub path: Vec<u8>,
    /// The entry.
    pub located: Located,
}
