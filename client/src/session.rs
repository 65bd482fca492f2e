//! A logged-in session: its tokens, which stay fresh, its signing key and the way to the account's keys.

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, SessionId};
use cyx_core::sign::{self, Purpose, SIGNATURE_LEN};
use cyx_crypto::account::AccountSecrets;
use cyx_crypto::keys::DeviceKey;
use cyx_crypto::wrap::AccountKek;
use ed25519_dalek::SigningKey;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::clock;
use crate::config::{Config, Gateway};
use crate::credentials::{CredentialStore, Credentials, Tokens};
use crate::error::{Error, Result};
use crate::identity::messages::{RefreshRequest, RefreshResponse, WrappedKeys};
use crate::identity::rest::Rest;
use crate::identity::{self, Identity};
use crate::nodes::SessionProof;
use crate::secret::Secret32;

/// A session of this device.
pub struct Session {
    rest: Rest,
    store: CredentialStore,
    account: AccountId,
    id: SessionId,
    email: String,
    signing: SigningKey,
    device_secret: Secret32,
    tokens: Mutex<Tokens>,
}

impl Session {
    /// Takes the credentials of the home folder. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`]; [`Error::OtherGateway`] if another gateway is named than the one logged in to.
    pub fn open(config: &Config) -> Result<Self> {
        let store = CredentialStore::new(&config.home);
        let credentials = store.load()?.ok_or(Error::NotLoggedIn { ended: false })?;
        let gateway: Gateway = credentials.gateway.parse()?;
        if let Some(asked) = &config.gateway
            && *asked != gateway
        {
            return Err(Error::OtherGateway { logged_in: gateway.to_string(), asked: asked.to_string() });
        }
        Ok(Self {
            rest: identity::rest_for(config, gateway)?,
            store,
            account: credentials.account,
            id: credentials.session,
            email: credentials.email.clone(),
            signing: SigningKey::from_bytes(credentials.session_seed.expose()),
            device_secret: credentials.device_secret.clone(),
            tokens: Mutex::new(credentials.tokens.clone()),
        })
    }

    /// The gateway logged in to.
    #[must_use]
    pub const fn gateway(&self) -> &Gateway {
        self.rest.gateway()
    }

    /// The account.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// The session.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// The account's email address.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.email
    }

    /// An access token that is good for some time to come.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`] if the session has ended; network errors.
    pub async fn access_token(&self) -> Result<Zeroizing<String>> {
        let mut tokens = self.tokens.lock().await;
        if !tokens.is_fresh(clock::unix_seconds()) {
            let stale = Zeroizing::new(tokens.access.clone());
            *tokens = self.renew(&stale).await?;
        }
        Ok(Zeroizing::new(tokens.access.clone()))
    }

    /// Another access token than `refused`, which a server did not take.
    ///
    /// # Errors
    /// As [`Self::access_token`].
    pub async fn access_token_after(&self, refused: &str) -> Result<Zeroizing<String>> {
        let mut tokens = self.tokens.lock().await;
        if tokens.access == refused {
            *tokens = self.renew(refused).await?;
        }
        Ok(Zeroizing::new(tokens.access.clone()))
    }

    /// Takes the tokens that another process got meanwhile, or gets new ones.
    async fn renew(&self, stale: &str) -> Result<Tokens> {
        let ended = || Error::NotLoggedIn { ended: true };
        let lock = self.store.lock().await?;
        let mut credentials: Credentials =
            self.store.load()?.filter(|credentials| credentials.session == self.id).ok_or_else(ended)?;
        if credentials.tokens.access != stale && credentials.tokens.is_fresh(clock::unix_seconds()) {
            return Ok(credentials.tokens.clone());
        }
        let request = RefreshRequest { refresh_token: &credentials.tokens.refresh };
        let answer = match self.rest.post_again::<_, RefreshResponse>("/api/auth/refresh", &request).await {
            Ok(answer) => answer,
            Err(error) if is_ended(error.code()) => return Err(ended()),
            Err(error) => return Err(error),
        };
        let body = answer.body;
        let tokens =
            identity::received(&body.access_token, body.access_expires_at, &body.refresh_token, answer.server_time);
        credentials.tokens = tokens.clone();
        self.store.save(&lock, &credentials)?;
        Ok(tokens)
    }

    /// Who the caller is.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`], network errors.
    pub async fn identity(&self) -> Result<Identity> {
        self.get("/api/identity").await
    }

    /// Fetches this device's copy of the account key and opens the account with it.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`] if the device was revoked; an integrity error if the copy does not open.
    pub async fn fetch_secrets(&self) -> Result<AccountSecrets> {
        let keys: WrappedKeys = match self.get("/api/auth/device-key").await {
            Err(error) if error.code() == ErrorCode::NotFound => return Err(Error::NotLoggedIn { ended: true }),
            other => other?,
        };
        let device = DeviceKey::from_bytes(*self.device_secret.expose());
        identity::open_keys(AccountKek::Device(&device), &keys)
    }

    /// An authenticated GET whose token is renewed once if the server calls it too old.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let token = self.access_token().await?;
        let first = self.rest.get(path, Some(&token)).await;
        let result = match first {
            Err(error) if error.code() == ErrorCode::TokenExpired => {
                let token = self.access_token_after(&token).await?;
                self.rest.get(path, Some(&token)).await
            }
            other => other,
        };
        result.map_err(|error| if is_ended(error.code()) { Error::NotLoggedIn { ended: true } } else { error })
    }
}

impl SessionProof for Session {
    fn public_key(&self) -> [u8; 32] {
        self.signing.verifying_key().to_bytes()
    }

    fn prove(&self, body: &[u8]) -> [u8; SIGNATURE_LEN] {
        sign::sign(&self.signing, Purpose::Possession, body)
    }
}

/// A token that the server does not take although it was renewed: the session has ended.
pub(crate) const fn is_ended(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::InvalidCredentials | ErrorCode::TokenExpired)
}
