//! What a session may decrypt: everything of its account, or one bucket.

use std::sync::{Mutex, PoisonError};

use cyx_core::ids::BucketId;
use cyx_crypto::account::AccountSecrets;
use cyx_crypto::keys::RootKey;
use cyx_crypto::wrap::BucketAccess;

/// The keys of a session.
pub(crate) struct Keys {
    /// The account's; for one bucket alone, what stands in for them.
    pub(crate) secrets: AccountSecrets,
    /// The only bucket, if there is only one.
    pub(crate) scope: Option<Scope>,
}

/// One bucket.
pub(crate) struct Scope {
    pub(crate) bucket: BucketId,
    /// The public key of its owner, as sealed for this session.
    pub(crate) owner: [u8; 32],
    root: Mutex<RootKey>,
}

impl Scope {
    /// The newest root key that is known.
    pub(crate) fn root(&self) -> RootKey {
        self.root.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The owner has replaced it.
    pub(crate) fn set_root(&self, root: RootKey) {
        *self.root.lock().unwrap_or_else(PoisonError::into_inner) = root;
    }
}

impl Keys {
    pub(crate) const fn of_account(secrets: AccountSecrets) -> Self {
        Self { secrets, scope: None }
    }

    pub(crate) fn of_bucket(access: BucketAccess) -> Self {
        let BucketAccess { bucket, owner, root, secrets } = access;
        Self { secrets, scope: Some(Scope { bucket, owner, root: Mutex::new(root) }) }
    }
}
