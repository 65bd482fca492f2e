//! What a session may decrypt: everything of its account, or one bucket.

use std::sync::{Arc, Mutex, PoisonError};

use cyx_core::ids::BucketId;
use cyx_crypto::account::AccountSecrets;
use cyx_crypto::keys::{AccountKey, RootKey};
use cyx_crypto::wrap::BucketAccess;

/// The keys of a session.
pub(crate) struct Keys {
    /// The account's; for one bucket alone, what stands in for them.
    account: Mutex<Arc<AccountKeys>>,
    /// The only bucket, if there is only one.
    pub(crate) scope: Option<Scope>,
}

/// The keys of an account.
pub(crate) struct AccountKeys {
    pub(crate) secrets: Arc<AccountSecrets>,
    /// How often the account key was replaced.
    pub(crate) epoch: u32,
    /// Account keys of before, the newest first.
    pub(crate) older: Vec<AccountKey>,
    /// The same, as the server keeps them.
    pub(crate) history: Vec<u8>,
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

impl AccountKeys {
    /// Every account key, the newest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &AccountKey> {
        std::iter::once(&self.secrets.key).chain(&self.older)
    }
}

impl Keys {
    pub(crate) fn of_account(account: AccountKeys) -> Self {
        Self { account: Mutex::new(Arc::new(account)), scope: None }
    }

    pub(crate) fn of_bucket(access: BucketAccess) -> Self {
        let BucketAccess { bucket, owner, root, secrets } = access;
        let account = AccountKeys { secrets: Arc::new(secrets), epoch: 0, older: Vec::new(), history: Vec::new() };
        let scope = Some(Scope { bucket, owner, root: Mutex::new(root) });
        Self { account: Mutex::new(Arc::new(account)), scope }
    }

    /// The account's keys, as far as is known now.
    pub(crate) fn account(&self) -> Arc<AccountKeys> {
        Arc::clone(&self.account.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The owner has replaced them. An older one than is known is left alone.
    pub(crate) fn set_account(&self, fresh: Arc<AccountKeys>) {
        let mut known = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        if fresh.epoch > known.epoch {
            *known = fresh;
        }
    }
}
