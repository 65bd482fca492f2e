//! Boxes that belong to an account or a bucket.
//!
//! | purpose | key | bound to | holds |
//! |---|---|---|---|
//! | 1 | password kek | – | account key 32 |
//! | 2 | recovery kek | – | account key 32 |
//! | 3 | device kek | – | account key 32 |
//! | 4 | identity wrap key | Ed25519 public 32, X25519 public 32 | Ed25519 seed 32, X25519 private 32 |
//! | 5 | root wrap key | bucket 16, owner's Ed25519 public 32, member's account 16 | root key's epoch u32, root key 32 |
//! | 6 | bucket name key, its epoch | bucket 16 | name |
//!
//! Boxes 1 to 3 are bound to nothing because an account has no id yet when they are made, and to nothing else that a server
//! could not choose; their keys belong to one account alone.

use zeroize::Zeroizing;

use cyx_core::ids::{AccountId, BucketId};

use super::{Purpose, key_plain, open, seal, split_key};
use crate::Undecryptable;
use crate::identity::PublicIdentity;
use crate::keys::{AccountKey, DeviceKey, KEY_LEN, PasswordKek, RecoveryKey, RootKey};
use crate::names::{NameError, check_name};

/// What an account key is wrapped under.
#[derive(Clone, Copy)]
pub enum AccountKek<'a> {
    /// The password.
    Password(&'a PasswordKek),
    /// The recovery words.
    Recovery(&'a RecoveryKey),
    /// The secret of a device or an API key.
    Device(&'a DeviceKey),
}

impl AccountKek<'_> {
    fn key(&self) -> (Purpose, Zeroizing<[u8; KEY_LEN]>) {
        let (purpose, key) = match self {
            Self::Password(kek) => (Purpose::AccountKeyByPassword, *kek.bytes()),
            Self::Recovery(key) => (Purpose::AccountKeyByRecovery, *key.derive_kek().bytes()),
            Self::Device(key) => (Purpose::AccountKeyByDevice, *key.derive_kek().bytes()),
        };
        (purpose, Zeroizing::new(key))
    }
}

/// Wraps an account key.
#[must_use]
pub fn seal_account_key(kek: AccountKek<'_>, account: &AccountKey) -> Vec<u8> {
    let (purpose, key) = kek.key();
    seal(purpose, 0, &key, &[], account.expose())
}

/// Unwraps an account key.
///
/// # Errors
/// [`Undecryptable`], most often because the password or the words are wrong.
pub fn open_account_key(kek: AccountKek<'_>, bytes: &[u8]) -> Result<AccountKey, Undecryptable> {
    let (purpose, key) = kek.key();
    let plain = open(purpose, 0, &key, &[], bytes)?;
    plain.as_slice().try_into().map(AccountKey::from_bytes).map_err(|_| Undecryptable)
}

/// Wraps the private halves of an identity, bound to the public ones.
pub(crate) fn seal_identity(account: &AccountKey, public: &PublicIdentity, private: &[u8; 64]) -> Vec<u8> {
    seal(Purpose::IdentityKeys, 0, account.derive_identity_wrap_key().bytes(), &public.to_bytes(), private)
}

pub(crate) fn open_identity(
    account: &AccountKey,
    public: &PublicIdentity,
    bytes: &[u8],
) -> Result<Zeroizing<[u8; 64]>, Undecryptable> {
    let key = account.derive_identity_wrap_key();
    let plain = open(Purpose::IdentityKeys, 0, key.bytes(), &public.to_bytes(), bytes)?;
    plain.as_slice().try_into().map(Zeroizing::new).map_err(|_| Undecryptable)
}

fn root_context(bucket: BucketId, owner: &[u8; 32], member: AccountId) -> Vec<u8> {
    [&bucket.0[..], owner, &member.0].concat()
}

/// Wraps a bucket's root key for the account itself. `owner` is the Ed25519 public key of the bucket's owner, so that a member
/// who opens the box knows whose writer list to believe.
#[must_use]
pub fn seal_root_key(
    account: &AccountKey,
    root: &RootKey,
    bucket: BucketId,
    owner: &[u8; 32],
    member: AccountId,
) -> Vec<u8> {
    let context = root_context(bucket, owner, member);
    let plain = key_plain(root.epoch(), root.expose());
    seal(Purpose::RootKey, 0, account.derive_root_wrap_key().bytes(), &context, &*plain)
}

/// Unwraps a bucket's root key.
///
/// # Errors
/// [`Undecryptable`], also if the server names another owner than the one it was wrapped with.
pub fn open_root_key(
    account: &AccountKey,
    bytes: &[u8],
    bucket: BucketId,
    owner: &[u8; 32],
    member: AccountId,
) -> Result<RootKey, Undecryptable> {
    let context = root_context(bucket, owner, member);
    let plain = open(Purpose::RootKey, 0, account.derive_root_wrap_key().bytes(), &context, bytes)?;
    let (epoch, key) = split_key(&plain)?;
    Ok(RootKey::from_parts(epoch, key))
}

/// Seals a bucket's name for its members.
///
/// # Errors
/// [`NameError`].
pub fn seal_bucket_name(root: &RootKey, bucket: BucketId, name: &[u8]) -> Result<Vec<u8>, NameError> {
    check_name(name)?;
    Ok(seal(Purpose::BucketName, root.epoch(), root.derive_bucket_name_key().bytes(), &bucket.0, name))
}

/// Opens a bucket's name.
///
/// # Errors
/// [`Undecryptable`], also for a name that no entry could have.
pub fn open_bucket_name(root: &RootKey, bucket: BucketId, bytes: &[u8]) -> Result<Vec<u8>, Undecryptable> {
    let key = root.derive_bucket_name_key();
    let name = open(Purpose::BucketName, root.epoch(), key.bytes(), &bucket.0, bytes)?;
    check_name(&name).map_err(|_| Undecryptable)?;
    Ok(name.to_vec())
}
