//! Keys: one type each, so that the compiler refuses to use one for another's purpose.
//!
//! ```text
//! password ──Argon2id──▶ PasswordKek ─┐
//! 24 words ────────────▶ RecoveryKey ─┼─wraps─▶ AccountKey ─▶ identity keys, bucket name tokens, fingerprints
//! device, API key ─────▶ DeviceKey  ──┘             │
//!                                                wraps (per member)
//!                                                   ▼
//!                                                RootKey ─▶ root directory's InodeKey, the bucket's name
//!                                                              │ wraps, entry by entry
//!                                                              ▼
//!                                          InodeKey of a directory or file ─▶ names, fields, older epochs
//!                                                              │ wraps (files)
//!                                                              ▼
//!                                                           BlobKey ─▶ frames
//! ```
//! Every arrow to the right of a key is `HKDF-SHA256(key, no salt, label)` (RFC 5869), so a key is used with one algorithm for
//! one purpose only.

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use cyx_core::auth::StretchedPassword;
use cyx_core::ids::random_bytes;

/// Bytes of a key, except of those for AES-SIV, which have twice as many.
pub const KEY_LEN: usize = 32;
/// Epoch of the first key of an inode.
pub const FIRST_EPOCH: u32 = 1;

/// `derive_*` of [`PasswordKek`].
const PASSWORD_KEK_LABEL: &[u8] = b"cyx v1 password kek";
/// What wraps the account key under the recovery key.
const RECOVERY_KEK_LABEL: &[u8] = b"cyx v1 recovery kek";
/// What wraps the account key under a device's or an API key's secret.
const DEVICE_KEK_LABEL: &[u8] = b"cyx v1 device kek";
/// The seed of the key that the grants of an API key are bound to.
const API_KEY_SESSION_LABEL: &[u8] = b"cyx v1 api key session";
/// What wraps the keks of an account's API keys for their owner.
const API_KEY_WRAP_LABEL: &[u8] = b"cyx v1 api key wrap";
/// What wraps the private halves of the identity keys.
const IDENTITY_WRAP_LABEL: &[u8] = b"cyx v1 identity wrap";
/// What wraps the root keys of the buckets that an account is a member of.
const ROOT_WRAP_LABEL: &[u8] = b"cyx v1 root wrap";
/// Finds buckets by name.
const BUCKET_TOKEN_LABEL: &[u8] = b"cyx v1 bucket name token";
/// Fingerprints of plaintexts.
const FINGERPRINT_LABEL: &[u8] = b"cyx v1 plaintext fingerprint";
/// What wraps the account key of before.
const ACCOUNT_HISTORY_LABEL: &[u8] = b"cyx v1 account key history";
/// What seals journals of transfers on this machine.
const JOURNAL_LABEL: &[u8] = b"cyx v1 transfer journal";
/// What seals journals of mounts on this machine.
const MOUNT_LABEL: &[u8] = b"cyx v1 mount journal";
/// From there to the key of one file of such a journal; the file's id follows.
const MOUNT_FILE_LABEL: &[u8] = b"cyx v1 mount journal file";
/// By which a mount finds out whether a journal is of its key.
const MOUNT_FINGERPRINT_LABEL: &[u8] = b"cyx v1 mount journal fingerprint";
/// From a bucket's root key to the key of its root directory.
const ROOT_DIRECTORY_LABEL: &[u8] = b"cyx v1 root directory";
/// What seals a bucket's name for its members.
const BUCKET_NAME_LABEL: &[u8] = b"cyx v1 bucket name";
/// What wraps the keys of a directory's children.
const CHILD_WRAP_LABEL: &[u8] = b"cyx v1 child wrap";
/// What encrypts the names in a directory.
const NAME_LABEL: &[u8] = b"cyx v1 names";
/// What seals link targets, extended attributes and the like.
const FIELD_LABEL: &[u8] = b"cyx v1 fields";
/// What wraps the keys of a file's blobs.
const BLOB_WRAP_LABEL: &[u8] = b"cyx v1 blob wrap";
/// What wraps an inode's older keys.
const HISTORY_LABEL: &[u8] = b"cyx v1 key history";

fn expand<const N: usize>(key: &[u8; KEY_LEN], label: &[u8]) -> [u8; N] {
    let mut derived = [0; N];
    // At most 64 bytes are asked for, far from HKDF's limit of 255 blocks, the only way to fail.
    let _ = Hkdf::<Sha256>::new(None, key).expand(label, &mut derived);
    derived
}

/// `HKDF(secret of an API key, "cyx v1 api key session")`.
pub(crate) fn derive_api_key_session_seed(secret: &[u8; KEY_LEN]) -> Zeroizing<[u8; KEY_LEN]> {
    Zeroizing::new(expand(secret, API_KEY_SESSION_LABEL))
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; $len]);

        impl PartialEq for $name {
            /// In constant time.
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl Eq for $name {}
    };
}

/// Keys that are derived from others and never leave this crate.
macro_rules! derived_key {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        key!($(#[$doc])* $name, $len);

        impl $name {
            pub(crate) const fn bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }
    };
}

/// Keys that are drawn at random.
macro_rules! random_key {
    ($(#[$doc:meta])* $name:ident) => {
        key!($(#[$doc])* $name, KEY_LEN);

        impl $name {
            /// Draws a new key.
            ///
            /// # Panics
            /// If the operating system cannot give random bytes.
            #[must_use]
            pub fn make() -> Self {
                Self(random_bytes())
            }

            /// A key that was kept elsewhere.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
                Self(bytes)
            }

            /// The key itself, to keep it elsewhere. It must not be shown, logged or sent.
            #[must_use]
            pub const fn expose(&self) -> &[u8; KEY_LEN] {
                &self.0
            }
        }
    };
}

random_key!(
    /// The key of an account, from which everything else can be reached.
    AccountKey
);
random_key!(
    /// What the 24 recovery words say.
    RecoveryKey
);
random_key!(
    /// The secret of a device or an API key, under which the server keeps a copy of the account key until it is revoked.
    DeviceKey
);
random_key!(
    /// The key of one blob. It seals one plaintext once.
    BlobKey
);
derived_key!(
    /// Wraps the account key; derived from the password and never sent.
    PasswordKek, KEY_LEN
);
derived_key!(
    /// Wraps the account key; derived from the recovery key.
    RecoveryKek, KEY_LEN
);
derived_key!(
    /// Wraps the account key; derived from a device's or an API key's secret.
    DeviceKek, KEY_LEN
);
derived_key!(
    /// Wraps the keks of an account's API keys for their owner.
    ApiKeyWrapKey, KEY_LEN
);
derived_key!(
    /// Wraps the private halves of the identity keys.
    IdentityWrapKey, KEY_LEN
);
derived_key!(
    /// Wraps root keys of buckets for one member.
    RootWrapKey, KEY_LEN
);
derived_key!(
    /// Wraps the account key of before.
    AccountHistoryKey, KEY_LEN
);
derived_key!(
    /// Encrypts bucket names so that equal names of one account look equal. For AES-SIV.
    BucketTokenKey, 2 * KEY_LEN
);
derived_key!(
    /// Fingerprints plaintexts.
    FingerprintKey, KEY_LEN
);
derived_key!(
    /// Seals journals of transfers on this machine.
    JournalKey, KEY_LEN
);
key!(
    /// Seals the journals of mounts on this machine, through a key for each of their files.
    MountKey, KEY_LEN
);
derived_key!(
    /// Seals the records of one file of a mount's journal.
    MountFileKey, KEY_LEN
);
derived_key!(
    /// Seals a bucket's name for its members.
    BucketNameKey, KEY_LEN
);
derived_key!(
    /// Wraps the keys of a directory's children.
    ChildWrapKey, KEY_LEN
);
derived_key!(
    /// Encrypts the names in one directory. For AES-SIV.
    NameKey, 2 * KEY_LEN
);
derived_key!(
    /// Seals the fields of one inode.
    FieldKey, KEY_LEN
);
derived_key!(
    /// Wraps the keys of one file's blobs.
    BlobWrapKey, KEY_LEN
);
derived_key!(
    /// Wraps the older keys of one inode.
    HistoryKey, KEY_LEN
);

impl PasswordKek {
    /// `HKDF(stretched password, "cyx v1 password kek")`.
    #[must_use]
    pub fn derive(stretched: &StretchedPassword) -> Self {
        Self(stretched.derive(PASSWORD_KEK_LABEL))
    }

    /// A key that was kept while a login waited for its one-time code.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// The key itself, to keep it while a login waits for its one-time code. It must not be shown, logged or sent.
    #[must_use]
    pub const fn expose(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl RecoveryKey {
    /// What wraps the account key.
    #[must_use]
    pub fn derive_kek(&self) -> RecoveryKek {
        RecoveryKek(expand(&self.0, RECOVERY_KEK_LABEL))
    }
}

impl DeviceKey {
    /// What wraps the account key.
    #[must_use]
    pub fn derive_kek(&self) -> DeviceKek {
        DeviceKek(expand(&self.0, DEVICE_KEK_LABEL))
    }
}

impl DeviceKek {
    /// A key that its owner kept.
    pub(crate) const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }
}

impl AccountKey {
    /// What wraps the keks of the account's API keys for their owner.
    #[must_use]
    pub fn derive_api_key_wrap_key(&self) -> ApiKeyWrapKey {
        ApiKeyWrapKey(expand(&self.0, API_KEY_WRAP_LABEL))
    }

    /// What wraps the private halves of the identity keys.
    #[must_use]
    pub fn derive_identity_wrap_key(&self) -> IdentityWrapKey {
        IdentityWrapKey(expand(&self.0, IDENTITY_WRAP_LABEL))
    }

    /// What wraps the root keys of the account's own buckets.
    #[must_use]
    pub fn derive_root_wrap_key(&self) -> RootWrapKey {
        RootWrapKey(expand(&self.0, ROOT_WRAP_LABEL))
    }

    /// What finds buckets by name.
    #[must_use]
    pub fn derive_bucket_token_key(&self) -> BucketTokenKey {
        BucketTokenKey(expand(&self.0, BUCKET_TOKEN_LABEL))
    }

    /// What fingerprints plaintexts.
    #[must_use]
    pub fn derive_fingerprint_key(&self) -> FingerprintKey {
        FingerprintKey(expand(&self.0, FINGERPRINT_LABEL))
    }

    /// What wraps the account key of before.
    #[must_use]
    pub fn derive_history_key(&self) -> AccountHistoryKey {
        AccountHistoryKey(expand(&self.0, ACCOUNT_HISTORY_LABEL))
    }

    /// What seals journals of transfers on this machine.
    #[must_use]
    pub fn derive_journal_key(&self) -> JournalKey {
        JournalKey(expand(&self.0, JOURNAL_LABEL))
    }

    /// What seals journals of mounts on this machine.
    #[must_use]
    pub fn derive_mount_key(&self) -> MountKey {
        MountKey(expand(&self.0, MOUNT_LABEL))
    }
}

impl MountKey {
    /// What seals the records of one file of a journal.
    #[must_use]
    pub(crate) fn derive_file_key(&self, file: &[u8; 16]) -> MountFileKey {
        MountFileKey(expand(&self.0, &[MOUNT_FILE_LABEL, file].concat()))
    }

    /// Tells journals of this key from those of others. It is no secret, and leads to none.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        expand(&self.0, MOUNT_FINGERPRINT_LABEL)
    }
}

/// A key of which there are several in the course of time, told apart by their epoch.
macro_rules! epoch_key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Zeroize, ZeroizeOnDrop)]
        pub struct $name {
            epoch: u32,
            key: [u8; KEY_LEN],
        }

        impl $name {
            /// Draws the first key.
            ///
            /// # Panics
            /// If the operating system cannot give random bytes.
            #[must_use]
            pub fn make() -> Self {
                Self { epoch: FIRST_EPOCH, key: random_bytes() }
            }

            /// Draws the key of the next epoch. It tells nothing about this one and this one nothing about it.
            ///
            /// # Panics
            /// If the operating system cannot give random bytes.
            #[must_use]
            pub fn make_next(&self) -> Self {
                Self::make_at(self.epoch.saturating_add(1))
            }

            /// Draws a key of a given epoch. It tells nothing about those of other epochs.
            ///
            /// # Panics
            /// If the operating system cannot give random bytes.
            #[must_use]
            pub fn make_at(epoch: u32) -> Self {
                Self { epoch, key: random_bytes() }
            }

            /// A key that was kept elsewhere.
            #[must_use]
            pub const fn from_parts(epoch: u32, key: [u8; KEY_LEN]) -> Self {
                Self { epoch, key }
            }

            /// The key itself, to keep it elsewhere. It must not be shown, logged or sent.
            #[must_use]
            pub const fn expose(&self) -> &[u8; KEY_LEN] {
                &self.key
            }

            /// Its epoch.
            #[must_use]
            pub const fn epoch(&self) -> u32 {
                self.epoch
            }
        }

        impl PartialEq for $name {
            /// In constant time.
            fn eq(&self, other: &Self) -> bool {
                (self.key.ct_eq(&other.key) & self.epoch.ct_eq(&other.epoch)).into()
            }
        }

        impl Eq for $name {}
    };
}

epoch_key!(
    /// The root key of a bucket, wrapped for each member.
    RootKey
);
epoch_key!(
    /// The key of one directory, file or other inode: what its edge holds.
    InodeKey
);

impl RootKey {
    /// The key of the bucket's root directory, of the same epoch.
    #[must_use]
    pub fn derive_directory_key(&self) -> InodeKey {
        InodeKey { epoch: self.epoch, key: expand(&self.key, ROOT_DIRECTORY_LABEL) }
    }

    /// What seals the bucket's name.
    #[must_use]
    pub fn derive_bucket_name_key(&self) -> BucketNameKey {
        BucketNameKey(expand(&self.key, BUCKET_NAME_LABEL))
    }
}

impl InodeKey {
    /// What wraps the keys of a directory's children.
    #[must_use]
    pub fn derive_child_wrap_key(&self) -> ChildWrapKey {
        ChildWrapKey(expand(&self.key, CHILD_WRAP_LABEL))
    }

    /// What encrypts the names in a directory.
    #[must_use]
    pub fn derive_name_key(&self) -> NameKey {
        NameKey(expand(&self.key, NAME_LABEL))
    }

    /// What seals the inode's fields.
    #[must_use]
    pub fn derive_field_key(&self) -> FieldKey {
        FieldKey(expand(&self.key, FIELD_LABEL))
    }

    /// What wraps the keys of a file's blobs.
    #[must_use]
    pub fn derive_blob_wrap_key(&self) -> BlobWrapKey {
        BlobWrapKey(expand(&self.key, BLOB_WRAP_LABEL))
    }

    /// What wraps the inode's older keys.
    #[must_use]
    pub fn derive_history_key(&self) -> HistoryKey {
        HistoryKey(expand(&self.key, HISTORY_LABEL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_has_a_label_of_its_own() {
        let mut labels = vec![
            PASSWORD_KEK_LABEL,
            RECOVERY_KEK_LABEL,
            DEVICE_KEK_LABEL,
            API_KEY_SESSION_LABEL,
            API_KEY_WRAP_LABEL,
            IDENTITY_WRAP_LABEL,
            ROOT_WRAP_LABEL,
            BUCKET_TOKEN_LABEL,
            FINGERPRINT_LABEL,
            ACCOUNT_HISTORY_LABEL,
            JOURNAL_LABEL,
            MOUNT_LABEL,
            MOUNT_FILE_LABEL,
            MOUNT_FINGERPRINT_LABEL,
            ROOT_DIRECTORY_LABEL,
            BUCKET_NAME_LABEL,
            CHILD_WRAP_LABEL,
            NAME_LABEL,
            FIELD_LABEL,
            BLOB_WRAP_LABEL,
            HISTORY_LABEL,
            b"cyx v1 auth key",
        ];
        let count = labels.len();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), count);
    }

    #[test]
    fn the_next_epoch_has_another_key() {
        let first = InodeKey::make();
        let next = first.make_next();
        assert_eq!((first.epoch(), next.epoch()), (1, 2));
        assert!(first.expose() != next.expose());
        assert!(first == first.clone() && first != next);
        assert!(InodeKey::from_parts(2, *first.expose()) != first, "the epoch is part of the key");
    }
}
