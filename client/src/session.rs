//! A session: its tokens, which stay fresh, its signing key and the way to the account's keys.
//!
//! Two kinds. A device that logged in keeps a refresh token and a secret in its home folder. An API key keeps nothing: its token
//! is exchanged for a short access token whenever one is needed, and all keys come from its secret.

use std::path::PathBuf;
use std::sync::Arc;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, SessionId};
use cyx_core::sign::{self, Purpose, SIGNATURE_LEN};
use cyx_crypto::account::Login;
use cyx_crypto::apikey::ApiToken;
use cyx_crypto::keys::DeviceKey;
use cyx_crypto::wrap::AccountKek;
use ed25519_dalek::SigningKey;
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::clock;
use crate::config::{Config, Gateway};
use crate::credentials::{CredentialStore, Credentials, Tokens};
use crate::error::{Error, Result};
use crate::identity::messages::{RefreshRequest, RefreshResponse, WrappedKeys};
use crate::identity::rest::{Repeat, Rest};
use crate::identity::{self, Identity};
use crate::keys::Keys;
use crate::nodes::SessionProof;
use crate::nodes::orders::Orders;
use crate::secret::Secret32;

mod exchange;

use exchange::Exchanged;

/// A session.
pub struct Session {
    rest: Rest,
    home: PathBuf,
    account: AccountId,
    id: SessionId,
    email: String,
    signing: SigningKey,
    source: Source,
    tokens: Mutex<Tokens>,
    /// Drawn anew each time; see [`Self::reader`].
    reader: [u8; 16],
    orders: Arc<Orders>,
    /// What the server last said who the caller is.
    heard: std::sync::Mutex<Option<Identity>>,
}

/// Where tokens and keys come from.
enum Source {
    /// The home folder of a device that logged in.
    Device { store: CredentialStore, secret: Secret32, keyless: bool },
    /// An API key, and what the server said when its token was exchanged.
    ApiKey { token: ApiToken, exchanged: Box<Exchanged> },
}

impl Session {
    /// Takes the API key of the settings, else the credentials of the home folder. An API key is exchanged for an access token;
    /// nothing is sent otherwise.
    ///
    /// # Errors
    /// As [`Self::open`]; [`Error::ApiKeyRefused`]; network errors.
    pub async fn connect(config: &Config) -> Result<Self> {
        let Some(token) = &config.token else { return Self::open(config) };
        let token = token.0.clone();
        let rest = identity::rest_for(config, identity::api_key_gateway(config)?)?;
        let (tokens, exchanged) = exchange::exchange(&rest, &token).await?;
        Ok(Self {
            rest,
            home: config.home.clone(),
            account: exchanged.account.id,
            id: exchanged.session,
            heard: std::sync::Mutex::new(Some(exchanged.account.clone())),
            email: exchanged.account.email.clone(),
            signing: SigningKey::from_bytes(&token.derive_session_seed()),
            source: Source::ApiKey { token, exchanged: Box::new(exchanged) },
            tokens: Mutex::new(tokens),
            reader: rand::random(),
            orders: Arc::default(),
        })
    }

    /// Takes the credentials of the home folder. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`]; [`Error::OtherGateway`] if another gateway is named than the one logged in to.
    pub fn open(config: &Config) -> Result<Self> {
        identity::forget_unfinished_logins(&config.home);
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
            home: config.home.clone(),
            account: credentials.account,
            id: credentials.session,
            email: credentials.email.clone(),
            signing: SigningKey::from_bytes(credentials.session_seed.expose()),
            source: Source::Device { store, secret: credentials.device_secret.clone(), keyless: credentials.keyless },
            tokens: Mutex::new(credentials.tokens.clone()),
            reader: rand::random(),
            orders: Arc::default(),
            heard: std::sync::Mutex::default(),
        })
    }

    /// Tells this program from the others that use the session: each counts its traffic for itself, so each has grants of its own.
    pub(crate) const fn reader(&self) -> &[u8; 16] {
        &self.reader
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

    /// The home folder.
    pub(crate) const fn home(&self) -> &PathBuf {
        &self.home
    }

    /// REST calls to the gateway, without a token.
    pub(crate) const fn rest(&self) -> &Rest {
        &self.rest
    }

    /// An access token that is good for some time to come.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`] or [`Error::ApiKeyRefused`] if the session has ended; network errors.
    pub async fn access_token(&self) -> Result<Zeroizing<String>> {
        let mut tokens = self.tokens.lock().await;
        if !tokens.is_fresh(clock::unix_seconds()) {
            let stale = Zeroizing::new(tokens.access.clone());
            *tokens = self.renew(&stale).await?;
        }
        Ok(Zeroizing::new(tokens.access.clone()))
    }

    /// The access token there is, which may have ended.
    pub(crate) async fn present_token(&self) -> Zeroizing<String> {
        Zeroizing::new(self.tokens.lock().await.access.clone())
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

    async fn renew(&self, stale: &str) -> Result<Tokens> {
        match &self.source {
            Source::Device { store, .. } => self.refresh(store, stale).await,
            Source::ApiKey { token, .. } => exchange::exchange(&self.rest, token).await.map(|(tokens, _)| tokens),
        }
    }

    /// Takes the tokens that another process got meanwhile, or gets new ones.
    async fn refresh(&self, store: &CredentialStore, stale: &str) -> Result<Tokens> {
        let ended = || Error::NotLoggedIn { ended: true };
        let lock = store.lock().await?;
        let mut credentials: Credentials =
            store.load()?.filter(|credentials| credentials.session == self.id).ok_or_else(ended)?;
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
        store.save(&lock, &credentials)?;
        Ok(tokens)
    }

    /// What a token that is no longer taken means.
    pub(crate) const fn ended(&self) -> Error {
        match &self.source {
            Source::Device { .. } => Error::NotLoggedIn { ended: true },
            Source::ApiKey { .. } => Error::ApiKeyRefused,
        }
    }

    /// Who the caller is, as the server says it now.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`], network errors.
    pub async fn identity(&self) -> Result<Identity> {
        let identity: Identity = self.get("/api/identity").await?;
        *self.heard() = Some(identity.clone());
        Ok(identity)
    }

    /// Who the caller is, as the server said it last; asked once if it never did. Plan, quota and address may have changed since.
    ///
    /// # Errors
    /// As [`Self::identity`].
    pub async fn known_identity(&self) -> Result<Identity> {
        let known = self.heard().clone();
        match known {
            Some(known) => Ok(known),
            None => self.identity().await,
        }
    }

    /// Drops what the server said: the next who wants to know asks again.
    pub fn forget_identity(&self) {
        *self.heard() = None;
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Option<Identity>> {
        // Every change of it is one assignment, so it is whole after any panic.
        self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Opens what this session may decrypt: fetches the copies of the keys that the server keeps for it.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`] if the device was revoked; an integrity error if the copy does not open.
    pub(crate) async fn fetch_keys(&self) -> Result<Keys> {
        match &self.source {
            Source::ApiKey { token, exchanged } => exchanged.open(token),
            Source::Device { keyless: true, .. } => Err(Error::Invalid {
                code: ErrorCode::PermissionDenied,
                message: "this login has no keys: a wallet made it, and a wallet opens nothing".into(),
                advice: Some("Log in with the password too, with `cyx login` or `cyx login --wallet`.".into()),
            }),
            Source::Device { secret, .. } => {
                let wrapped: WrappedKeys = match self.get("/api/auth/device-key").await {
                    Err(error) if error.code() == ErrorCode::NotFound => return Err(self.ended()),
                    other => other?,
                };
                let device = DeviceKey::from_bytes(*secret.expose());
                Ok(Keys::of_account(identity::open_account_keys(AccountKek::Device(&device), &wrapped, self.account)?))
            }
        }
    }

    /// What proves the password of the account, whose address may have been changed from another machine.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`], network errors; an integrity error for password parameters that are too weak.
    pub(crate) async fn prove(&self, password: &str) -> Result<Login> {
        let email = self.identity().await?.email;
        Ok(identity::stretch_for(&self.rest, &self.home, &email, password).await?.0)
    }

    /// Keeps the account's address, as it is now, in the credentials of this machine.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub(crate) async fn keep_email(&self, email: &str) -> Result<()> {
        let Source::Device { store, .. } = &self.source else { return Ok(()) };
        let lock = store.lock().await?;
        match store.load()? {
            Some(mut credentials) if credentials.session == self.id => {
                email.clone_into(&mut credentials.email);
                store.save(&lock, &credentials)
            }
            _ => Ok(()),
        }
    }

    /// The secret of this device, under which the server keeps the account key for it.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` for an API key.
    pub(crate) fn device_key(&self) -> Result<DeviceKey> {
        match &self.source {
            Source::Device { secret, .. } => Ok(DeviceKey::from_bytes(*secret.expose())),
            Source::ApiKey { .. } => Err(Error::Invalid {
                code: ErrorCode::PermissionDenied,
                message: "this needs a login; an API key does not suffice".into(),
                advice: None,
            }),
        }
    }

    /// As [`Self::fetch_keys`], but an API key is exchanged once more: what it may open was sealed anew.
    ///
    /// # Errors
    /// As [`Self::fetch_keys`].
    pub(crate) async fn fetch_keys_anew(&self) -> Result<Keys> {
        match &self.source {
            Source::ApiKey { token, .. } => exchange::exchange(&self.rest, token).await?.1.open(token),
            Source::Device { .. } => self.fetch_keys().await,
        }
    }

    /// An authenticated GET.
    ///
    /// # Errors
    /// What the server refuses; [`Error::NotLoggedIn`]; network errors.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send(Method::GET, path, None::<&()>, Repeat::Always).await
    }

    /// Any authenticated call. A token that the server calls too old is renewed once.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) async fn send<Q: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Q>,
        repeat: Repeat,
    ) -> Result<T> {
        let result = self.send_proof(method, path, body, repeat).await;
        result.map_err(|error| if is_ended(error.code()) { self.ended() } else { error })
    }

    /// As [`Self::send`], for calls that prove a password: `INVALID_CREDENTIALS` is about what they prove.
    ///
    /// # Errors
    /// As [`Self::get`]; `INVALID_CREDENTIALS`.
    pub(crate) async fn send_proof<Q: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Q>,
        repeat: Repeat,
    ) -> Result<T> {
        let token = self.access_token().await?;
        match self.rest.call(method.clone(), path, Some(&token), body, repeat).await {
            Err(error) if error.code() == ErrorCode::TokenExpired => {
                let token = self.access_token_after(&token).await?;
                self.rest.call(method, path, Some(&token), body, repeat).await.map(|answer| answer.body)
            }
            other => other.map(|answer| answer.body),
        }
    }
}

impl SessionProof for Session {
    fn public_key(&self) -> [u8; 32] {
        self.signing.verifying_key().to_bytes()
    }

    fn prove(&self, body: &[u8]) -> [u8; SIGNATURE_LEN] {
        sign::sign(&self.signing, Purpose::Possession, body)
    }

    fn order(&self, body: &[u8]) -> [u8; SIGNATURE_LEN] {
        sign::sign(&self.signing, Purpose::Order, body)
    }

    fn orders(&self) -> Arc<Orders> {
        Arc::clone(&self.orders)
    }
}

/// A token that the server does not take although it was renewed: the session has ended.
pub(crate) const fn is_ended(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::InvalidCredentials | ErrorCode::TokenExpired)
}
