//! Between a directory's plain names and what the server has: tokens, wrapped keys, sealed targets.
//!
//! Everything that comes from the server is checked here before it becomes a [`Located`]: the entry is of the directory asked
//! for, its name decrypts there, its key was wrapped for exactly this directory, name, child and kind, and the inode beside it
//! is the child.

use cyx_core::ids::InodeId;
use cyx_core::inode::InodeKind;
use cyx_core::name::EncryptedName;
use cyx_crypto::keys::{InodeKey, NameKey};
use cyx_crypto::names::{decrypt_name, encrypt_name};
use cyx_crypto::wrap::{ChildKeys, Edge, Field, InodeKeyring, epoch_of, open_child_key, open_field};
use cyx_proto::convert::{id, required};
use cyx_proto::meta::v1 as pb;

use crate::error::{Error, IntegrityError, Result};
use crate::tree::path::{check_name, shown};
use crate::tree::types::{Directory, Located};

/// Most epochs under which a name is asked for. Whoever replaces keys takes the names along, so older ones are in use no more.
const EPOCHS_MAX: usize = 16;

/// The keys of one directory, derived once for many entries.
pub struct DirectoryKeys {
    id: InodeId,
    keyring: InodeKeyring,
    /// Of the newest key, under which almost all children are.
    children: ChildKeys,
    /// The oldest first.
    names: Vec<(u32, NameKey)>,
}

impl DirectoryKeys {
    /// Derives the keys of a directory.
    ///
    /// # Errors
    /// [`IntegrityError::WrappedKey`] if its older keys are not authentic.
    pub fn new(directory: &Directory) -> Result<Self> {
        let keyring = directory.keyring()?;
        let mut names: Vec<_> =
            keyring.all().take(EPOCHS_MAX).map(|key| (key.epoch(), key.derive_name_key())).collect();
        names.reverse();
        Ok(Self { id: directory.id, children: ChildKeys::of(keyring.newest()), keyring, names })
    }

    /// Epoch of the newest key.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.keyring.newest().epoch()
    }

    /// A name under every epoch in use, the newest last.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that no entry can have.
    pub fn tokens(&self, name: &[u8]) -> Result<Vec<pb::NameToken>> {
        check_name(name)?;
        self.names
            .iter()
            .map(|(epoch, key)| {
                let name = encrypt_name(key, self.id, name).map_err(|error| Error::invalid(error.to_string()))?;
                Ok(pb::NameToken { epoch: *epoch, name: name.into_bytes().into() })
            })
            .collect()
    }

    /// The plain name of a token of this directory.
    ///
    /// # Errors
    /// [`IntegrityError::Name`].
    pub fn name_of(&self, token: &pb::NameToken) -> Result<Vec<u8>> {
        let broken = || IntegrityError::Name(self.id.to_string());
        let encrypted = EncryptedName::try_from(&token.name[..]).map_err(|_| broken())?;
        let (_, key) = self.names.iter().find(|(epoch, _)| *epoch == token.epoch).ok_or_else(broken)?;
        Ok(decrypt_name(key, self.id, &encrypted).map_err(|_| broken())?)
    }

    /// The key of a child, wrapped for the newest of `tokens`.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is no token.
    pub fn wrap(&self, tokens: &[pb::NameToken], child: InodeId, kind: InodeKind, key: &InodeKey) -> Result<Vec<u8>> {
        let newest = tokens.last().ok_or(Error::Internal("a name has no token"))?;
        let name = EncryptedName::try_from(&newest.name[..]).map_err(|_| Error::Internal("a token is no name"))?;
        let edge = Edge { directory: self.id, name: &name, child, kind };
        Ok(self.children.seal(&edge, key))
    }

    /// Checks an entry and the inode that came with it.
    ///
    /// # Errors
    /// An integrity error that names the entry as far as it is known.
    pub fn open(&self, entry: pb::Entry, inode: pb::Inode) -> Result<Located> {
        let (name, child, key) = self.open_entry(&entry)?;
        let found: InodeId = id(&inode.id, "inode.id")?;
        if found != child || inode.kind != entry.kind {
            return Err(IntegrityError::Mismatch("an entry leads to another inode than it says").into());
        }
        Ok(Located { entry, name, inode, id: child, key, parent: self.id })
    }

    /// Checks an entry: its plain name, its child and the child's key.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_entry(&self, entry: &pb::Entry) -> Result<(Vec<u8>, InodeId, InodeKey)> {
        let broken_name = || IntegrityError::Name(self.id.to_string());
        if id::<InodeId>(&entry.directory, "entry.directory")? != self.id {
            return Err(IntegrityError::Mismatch("an entry is of another directory").into());
        }
        let token = required(entry.name.as_ref(), "entry.name")?;
        let encrypted = EncryptedName::try_from(&token.name[..]).map_err(|_| broken_name())?;
        let (_, name_key) = self.names.iter().find(|(epoch, _)| *epoch == token.epoch).ok_or_else(broken_name)?;
        let name = decrypt_name(name_key, self.id, &encrypted).map_err(|_| broken_name())?;

        let child: InodeId = id(&entry.child, "entry.child")?;
        let broken_key = || IntegrityError::WrappedKey(shown(&name));
        let kind = InodeKind::from_number(entry.kind).map_err(Error::decode("the entry's kind"))?;
        let epoch = epoch_of(&entry.wrapped_key).map_err(|_| broken_key())?;
        let edge = Edge { directory: self.id, name: &encrypted, child, kind };
        let key = if epoch == self.children.epoch() {
            self.children.open(&edge, &entry.wrapped_key)
        } else {
            self.keyring.of_epoch(epoch).and_then(|key| open_child_key(key, &edge, &entry.wrapped_key))
        };
        let key = key.map_err(|_| broken_key())?;
        Ok((name, child, key))
    }
}

impl Located {
    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// [`IntegrityError::Sealed`]; [`Error::Invalid`] if it is no symbolic link.
    pub fn link_target(&self) -> Result<Vec<u8>> {
        if self.kind() != pb::InodeKind::Symlink {
            return Err(Error::invalid(format!("{} is not a symbolic link", shown(&self.name))));
        }
        let broken = |_| IntegrityError::Sealed("target of a symbolic link");
        let epoch = epoch_of(&self.inode.sealed_target).map_err(broken)?;
        let keyring = self.keyring()?;
        let key = keyring.of_epoch(epoch).map_err(broken)?;
        let target = open_field(key, self.id, Field::LinkTarget, &self.inode.sealed_target).map_err(broken)?;
        if target.is_empty() || target.contains(&0) {
            return Err(IntegrityError::Sealed("target of a symbolic link").into());
        }
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use cyx_core::ids::Random as _;
    use cyx_crypto::wrap::extend_history;
    use cyx_proto::convert::bytes_of;

    fn directory() -> Directory {
        Directory { id: InodeId::random(), key: InodeKey::make(), key_history: Bytes::new(), attributes: None }
    }

    fn entry(directory: &Directory, name: &[u8], kind: InodeKind) -> (pb::Entry, pb::Inode, InodeKey) {
        let keys = DirectoryKeys::new(directory).unwrap();
        let (child, key) = (InodeId::random(), InodeKey::make());
        let tokens = keys.tokens(name).unwrap();
        let wrapped = keys.wrap(&tokens, child, kind, &key).unwrap();
        let entry = pb::Entry {
            directory: bytes_of(directory.id),
            name: tokens.last().cloned(),
            child: bytes_of(child),
            kind: i32::from(kind.number()),
            wrapped_key: wrapped.into(),
            version: 1,
        };
        let inode = pb::Inode { id: bytes_of(child), kind: entry.kind, ..pb::Inode::default() };
        (entry, inode, key)
    }

    fn integrity(result: Result<Located>) -> IntegrityError {
        match result {
            Err(Error::Integrity(error)) => error,
            Err(error) => panic!("another error: {error}"),
            Ok(_) => panic!("it was accepted"),
        }
    }

    #[test]
    fn an_entry_opens_with_its_name_and_key() {
        let directory = directory();
        let (entry, inode, key) = entry(&directory, b"\xff name\n", InodeKind::File);
        let located = DirectoryKeys::new(&directory).unwrap().open(entry, inode).unwrap();
        assert_eq!(located.name, b"\xff name\n");
        assert!(located.key == key);
    }

    #[test]
    fn a_key_on_another_child_name_kind_or_directory_is_an_integrity_error() {
        let directory = directory();
        let keys = DirectoryKeys::new(&directory).unwrap();
        let (first, first_inode, _) = entry(&directory, b"first", InodeKind::File);
        let (second, second_inode, _) = entry(&directory, b"second", InodeKind::File);

        let swapped_key = pb::Entry { wrapped_key: second.wrapped_key.clone(), ..first.clone() };
        assert_eq!(integrity(keys.open(swapped_key, first_inode.clone())), IntegrityError::WrappedKey("first".into()));
        let other_child = pb::Entry { child: second.child.clone(), ..first.clone() };
        assert_eq!(integrity(keys.open(other_child, second_inode.clone())), IntegrityError::WrappedKey("first".into()));
        let other_name = pb::Entry { name: second.name, ..first.clone() };
        assert_eq!(integrity(keys.open(other_name, first_inode.clone())), IntegrityError::WrappedKey("second".into()));
        let kind = i32::from(InodeKind::Directory.number());
        let other_kind = pb::Entry { kind, ..first.clone() };
        let inode = pb::Inode { kind, ..first_inode.clone() };
        assert_eq!(integrity(keys.open(other_kind, inode)), IntegrityError::WrappedKey("first".into()));

        let elsewhere = self::directory();
        let moved = pb::Entry { directory: bytes_of(elsewhere.id), ..first.clone() };
        let elsewhere_keys = DirectoryKeys::new(&elsewhere).unwrap();
        assert_eq!(
            integrity(elsewhere_keys.open(moved.clone(), first_inode.clone())),
            IntegrityError::Name(elsewhere.id.to_string())
        );
        assert!(matches!(integrity(keys.open(moved, first_inode)), IntegrityError::Mismatch(_)));
        assert!(matches!(integrity(keys.open(first, second_inode)), IntegrityError::Mismatch(_)));
    }

    #[test]
    fn names_of_an_older_epoch_are_still_read_and_asked_for() {
        let old = directory();
        let (entry, inode, _) = entry(&old, b"name", InodeKind::File);
        let (newer, old_epoch) = (old.key.make_next(), old.key.epoch());
        let history = extend_history(&[], old.id, &old.key, &newer).unwrap();
        let new = Directory { key: newer.clone(), key_history: history.into(), ..old };
        let keys = DirectoryKeys::new(&new).unwrap();
        assert_eq!(keys.open(entry.clone(), inode).unwrap().name, b"name");
        let tokens = keys.tokens(b"name").unwrap();
        assert_eq!(tokens.iter().map(|token| token.epoch).collect::<Vec<_>>(), [old_epoch, newer.epoch()]);
        assert_eq!(entry.name, tokens.first().cloned());
    }

    #[test]
    fn a_link_target_belongs_to_its_inode() {
        let directory = directory();
        let (entry, mut inode, key) = entry(&directory, b"link", InodeKind::Symlink);
        let target: InodeId = id(&entry.child, "child").unwrap();
        let sealed = cyx_crypto::wrap::seal_field(&key, target, Field::LinkTarget, b"../there").unwrap();
        inode.sealed_target = sealed.into();
        let keys = DirectoryKeys::new(&directory).unwrap();
        let mut located = keys.open(entry, inode).unwrap();
        assert_eq!(located.link_target().unwrap(), b"../there");
        let sealed = cyx_crypto::wrap::seal_field(&key, InodeId::random(), Field::LinkTarget, b"x").unwrap();
        located.inode.sealed_target = sealed.into();
        assert!(matches!(located.link_target(), Err(Error::Integrity(IntegrityError::Sealed(_)))));
    }
}
