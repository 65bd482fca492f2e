//! What an API key of one bucket may open.
//!
//! | purpose | key | bound to | holds |
//! |---|---|---|---|
//! | 12 | device kek | id of the API key 16 | bucket 16, owner's Ed25519 public 32, root key's epoch u32, root key 32, stand-in for the account key 32, Ed25519 seed 32, X25519 private 32 |
//! | 13 | account's API key wrap key | id of the API key 16 | device kek of the API key 32 |
//!
//! The account key is not in it, nor anything that leads to it: who has it reads one bucket. The stand-in keys what an account
//! key keys on the machine where it is used (fingerprints, journals); the identity signs the key's own commits. The second box lets
//! the owner open and seal the first without the secret, to put the bucket's next root key into it.

use cyx_core::ids::{BucketId, SessionId};
use zeroize::Zeroizing;

use super::{Purpose, key_plain, open, seal, split_key};
use crate::Undecryptable;
use crate::account::AccountSecrets;
use crate::identity::IdentityKeys;
use crate::keys::{AccountKey, DeviceKek, DeviceKey, KEY_LEN, RootKey};

const PLAIN_LEN: usize = 16 + 32 + 4 + 4 * KEY_LEN;

/// What an API key of one bucket may open.
pub struct BucketAccess {
    /// The bucket.
    pub bucket: BucketId,
    /// The Ed25519 public key of its owner, whose writer list is to be believed.
    pub owner: [u8; 32],
    /// Its root key.
    pub root: RootKey,
    /// The stand-in for the account key, and the API key's own identity.
    pub secrets: AccountSecrets,
}

impl BucketAccess {
    /// Access to a bucket for a new API key.
    ///
    /// # Panics
    /// If the operating system cannot give random bytes.
    #[must_use]
    pub fn make(bucket: BucketId, owner: [u8; 32], root: RootKey) -> Self {
        let secrets = AccountSecrets { key: AccountKey::make(), identity: IdentityKeys::make() };
        Self { bucket, owner, root, secrets }
    }

    /// Seals it under the secret of an API key.
    #[must_use]
    pub fn seal(&self, key: &DeviceKey, api_key: SessionId) -> Vec<u8> {
        self.seal_under(&key.derive_kek(), api_key)
    }

    /// What lets the owner of an API key renew what it may open.
    #[must_use]
    pub fn seal_kek_for_owner(account: &AccountKey, key: &DeviceKey, api_key: SessionId) -> Vec<u8> {
        let wrap = account.derive_api_key_wrap_key();
        seal(Purpose::ApiKeyKek, 0, wrap.bytes(), &api_key.0, key.derive_kek().bytes())
    }

    /// What [`Self::seal_kek_for_owner`] gave, for the owner's next account key.
    ///
    /// # Errors
    /// [`Undecryptable`] if it is not what was made for this API key under `older`.
    pub fn reseal_kek_for_owner(
        older: &AccountKey,
        newer: &AccountKey,
        api_key: SessionId,
        owner_wrapped_kek: &[u8],
    ) -> Result<Vec<u8>, Undecryptable> {
        let wrap = older.derive_api_key_wrap_key();
        let kek = open(Purpose::ApiKeyKek, 0, wrap.bytes(), &api_key.0, owner_wrapped_kek)?;
        if kek.len() != KEY_LEN {
            return Err(Undecryptable);
        }
        Ok(seal(Purpose::ApiKeyKek, 0, newer.derive_api_key_wrap_key().bytes(), &api_key.0, &kek))
    }

    /// Access of an API key as its owner opens it, and what seals it again.
    ///
    /// # Errors
    /// [`Undecryptable`] if either is not what was made for this API key.
    pub fn open_as_owner(
        account: &AccountKey,
        api_key: SessionId,
        owner_wrapped_kek: &[u8],
        bytes: &[u8],
    ) -> Result<(Self, DeviceKek), Undecryptable> {
        let wrap = account.derive_api_key_wrap_key();
        let plain = open(Purpose::ApiKeyKek, 0, wrap.bytes(), &api_key.0, owner_wrapped_kek)?;
        let kek = plain.as_slice().try_into().map(DeviceKek::from_bytes).map_err(|_| Undecryptable)?;
        Ok((Self::open_under(&kek, api_key, bytes)?, kek))
    }

    /// Seals it again, as [`Self::open_as_owner`] opened it.
    #[must_use]
    pub fn seal_under(&self, kek: &DeviceKek, api_key: SessionId) -> Vec<u8> {
        let mut plain = Zeroizing::new(Vec::with_capacity(PLAIN_LEN));
        plain.extend_from_slice(&self.bucket.0);
        plain.extend_from_slice(&self.owner);
        plain.extend_from_slice(&*key_plain(self.root.epoch(), self.root.expose()));
        plain.extend_from_slice(self.secrets.key.expose());
        plain.extend_from_slice(&*self.secrets.identity.private());
        seal(Purpose::BucketAccess, 0, kek.bytes(), &api_key.0, &plain)
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`Undecryptable`].
    pub fn open(key: &DeviceKey, api_key: SessionId, bytes: &[u8]) -> Result<Self, Undecryptable> {
        Self::open_under(&key.derive_kek(), api_key, bytes)
    }

    fn open_under(kek: &DeviceKek, api_key: SessionId, bytes: &[u8]) -> Result<Self, Undecryptable> {
        let plain = open(Purpose::BucketAccess, 0, kek.bytes(), &api_key.0, bytes)?;
        let (bucket, rest) = plain.split_first_chunk::<16>().ok_or(Undecryptable)?;
        let (owner, rest) = rest.split_first_chunk::<32>().ok_or(Undecryptable)?;
        let (root, rest) = rest.split_first_chunk::<{ 4 + KEY_LEN }>().ok_or(Undecryptable)?;
        let (account, rest) = rest.split_first_chunk::<KEY_LEN>().ok_or(Undecryptable)?;
        let private: &[u8; 64] = rest.try_into().map_err(|_| Undecryptable)?;
        let (epoch, root) = split_key(root)?;
        let secrets =
            AccountSecrets { key: AccountKey::from_bytes(*account), identity: IdentityKeys::from_private(private) };
        Ok(Self { bucket: BucketId(*bucket), owner: *owner, root: RootKey::from_parts(epoch, root), secrets })
    }
}
