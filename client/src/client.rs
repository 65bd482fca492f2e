//! A client: one session, its keys, and the server's metadata service.

use std::sync::Arc;

use cyx_core::commit::Commit;
use cyx_core::ids::AccountId;
use cyx_crypto::account::AccountSecrets;
use cyx_crypto::keys::{AccountKey, MountKey};
use cyx_proto::meta::v1 as pb;

use crate::config::{Config, Gateway};
use crate::error::Result;
use crate::identity::Identity;
use crate::keys::{AccountKeys, Keys, Scope};
use crate::memory::Memory;
use crate::meta::MetaClient;
use crate::session::Session;

/// A logged-in client. Cheap to clone; all clones share connections, tokens and memory.
#[derive(Clone)]
pub struct Client {
    /// The metadata service.
    pub meta: MetaClient,
    /// The session.
    pub session: Arc<Session>,
    keys: Arc<Keys>,
    memory: Arc<Memory>,
}

impl Client {
    /// Takes the API key of the settings or else the credentials of the home folder, and opens the account with them.
    ///
    /// # Errors
    /// [`crate::Error::NotLoggedIn`], [`crate::Error::ApiKeyRefused`], [`crate::Error::OtherGateway`], network errors; an integrity error if the server's copy of
    /// the keys was changed.
    pub async fn open(config: &Config) -> Result<Self> {
        let session = Arc::new(Session::connect(config).await?);
        let memory = Arc::new(Memory::open(&config.home, session.gateway().as_str(), session.account())?);
        let meta = MetaClient::connect(config, Arc::clone(&session), Arc::clone(&memory));
        // At the same time, because each way to the server takes round trips of its own to build.
        let (keys, meta) = tokio::try_join!(session.fetch_keys(), meta)?;
        if keys.scope.is_none() {
            memory.check_account_epoch(keys.account().epoch)?;
        }
        Ok(Self { meta, session, keys: Arc::new(keys), memory })
    }

    /// The account's keys; for an API key of one bucket, what stands in for them. They change while a client is open if their owner
    /// replaces them.
    #[must_use]
    pub fn secrets(&self) -> Arc<AccountSecrets> {
        Arc::clone(&self.keys.account().secrets)
    }

    /// The same with the account keys of before.
    pub(crate) fn account_keys(&self) -> Arc<AccountKeys> {
        self.keys.account()
    }

    /// What seals journals of mounts on this machine, and what sealed them before: the newest first.
    #[must_use]
    pub fn mount_keys(&self) -> Vec<MountKey> {
        self.keys.account().all().map(AccountKey::derive_mount_key).collect()
    }

    /// Gets the account's newest keys, which another program may have made. Whether they are newer than those that were known.
    ///
    /// # Errors
    /// As [`Self::open`]; an integrity error if the server goes back to older ones.
    pub(crate) async fn renew_keys(&self) -> Result<bool> {
        let known = self.keys.account().epoch;
        if self.scope().is_some() {
            return Ok(false);
        }
        let fresh = self.session.fetch_keys_anew().await?.account();
        self.memory.check_account_epoch(fresh.epoch)?;
        let newer = fresh.epoch > known;
        self.keys.set_account(fresh);
        Ok(newer)
    }

    /// The only bucket that this client may open, if there is only one.
    pub(crate) fn scope(&self) -> Option<&Scope> {
        self.keys.scope.as_ref()
    }

    /// The account.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.session.account()
    }

    /// The gateway logged in to.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        self.session.gateway()
    }

    /// What this machine remembers of the server.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Remembers a version that was just committed, so that the server cannot show an older one later.
    ///
    /// # Errors
    /// An integrity error if the server showed another version of the same number.
    pub fn remember(&self, commit: &Commit, what: &str) -> Result<()> {
        self.memory.versions().remember(commit, what)
    }

    /// Who is logged in, as the server sees it.
    ///
    /// # Errors
    /// [`crate::Error::NotLoggedIn`], network errors.
    pub async fn identity(&self) -> Result<Identity> {
        self.session.identity().await
    }

    /// The account's space.
    ///
    /// # Errors
    /// As every call of [`MetaClient`].
    pub async fn quota(&self) -> Result<pb::Quota> {
        self.meta.quota().await
    }
}
