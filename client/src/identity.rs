//! Accounts: registering, logging in with a one-time code, logging out. REST, see `docs/openapi.json`.
//!
//! A password never leaves this machine. It is stretched to an authentication key, which the server compares, and a key that
//! opens the account key, which the server keeps wrapped. After a login this device has a secret of its own; the server keeps
//! the account key wrapped under it until the session ends.
//!
//! Registering and logging in stand here. The rest:
//!
//! | module | what it does |
//! |---|---|
//! | `rest`, `messages` | calls to one gateway, and their bodies |
//! | [`password`] | rules for names, addresses and passwords |
//! | `pending` | a login that waits for its code |
//! | [`factors`] | codes by mail, authenticator apps, backup codes |
//! | [`devices`], [`api_keys`], [`wallets`], [`wallet_login`] | what else may log in |
//! | [`recovery`], [`email`], [`account_key`] | a new password, address or account key |
//! | [`account_data`], [`audit`] | export and end of the account, its log |
//! | [`nodes`], [`earnings`] | what operators of nodes do and get |
//! | [`admin`] | what administrators do |

use std::path::Path;
use std::sync::Arc;

use cyx_core::auth::{SALT_LEN, StretchError, StretchParams};
use cyx_core::error::ErrorCode;
use cyx_core::ids::AccountId;
use cyx_core::ids::SessionId;
use cyx_crypto::account::{AccountError, AccountSecrets, Login, derive_login, make_account, open_account};
use cyx_crypto::identity::PublicIdentity;
use cyx_crypto::keys::{DeviceKey, PasswordKek};
use cyx_crypto::wrap::{AccountKek, open_account_history, seal_account_key};
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use crate::clock;
use crate::config::{Config, Gateway};
use crate::credentials::{CredentialStore, Credentials, Tokens};
use crate::error::{Error, IntegrityError, Result};
use crate::keys::AccountKeys;
use crate::memory::{Memory, StretchMemory};
use crate::secret::Secret32;
use crate::session::Session;
use crate::tls;

pub mod account_data;
pub mod account_key;
pub mod admin;
pub mod api_keys;
pub mod audit;
pub mod devices;
pub mod earnings;
pub mod email;
pub mod factors;
pub(crate) mod messages;
pub mod nodes;
pub mod password;
mod pending;
pub mod recovery;
pub(crate) mod rest;
pub mod wallet_login;
pub mod wallets;

use messages::{
    DeviceKeyRequest, LoginRequest, LoginResponse, PreloginRequest, PreloginResponse, RegisterRequest, VerifyRequest,
    VerifyResponse, WrappedKeys,
};
pub use messages::{Identity, QuotaSummary};
use pending::{PendingFile, PendingStore};
use rest::{Ignored, Rest};

/// What a registration leaves to do: note the words, read the mail, log in.
pub struct Registered {
    /// 24 words that open the account if the password is lost. Shown once; nobody can show them again.
    pub recovery_words: Zeroizing<String>,
    /// Where the account is.
    pub gateway: String,
}

/// A login whose one-time code is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingLogin {
    /// Names it when it is finished, also in another process.
    pub session_id: String,
    /// Where the code comes from: `email` or `totp`, an authenticator app.
    pub otp_method: String,
    /// Until when it can be used, Unix seconds.
    pub otp_expires_at: u64,
    /// The gateway.
    pub gateway: String,
}

/// Registers an account. The answer is the same whether or not the address has one already: a mail says more.
///
/// # Errors
/// `INVALID_USERNAME`, `INVALID_EMAIL`, `WEAK_PASSWORD` (found here), `ALREADY_EXISTS` for a user name that is taken.
pub async fn register(config: &Config, username: &str, email: &str, password: &str) -> Result<Registered> {
    password::check_username(username)?;
    password::check_email(email)?;
    password::check_password(password, username, email)?;
    let rest = rest_for(config, login_gateway(config)?)?;
    let secret = Zeroizing::new(password.as_bytes().to_vec());
    let made = blocking(move || make_account(&secret)).await?.map_err(|error| stretch_error(&error))?;
    let registration = &made.registration;
    let request = RegisterRequest {
        username,
        email,
        salt: &registration.password.salt,
        params: registration.password.params,
        auth_key: Secret32::new(*registration.password.auth_key),
        wrapped_account_key: &registration.password.wrapped_account_key,
        recovery_wrapped_account_key: &registration.recovery_wrapped_account_key,
        signing_public_key: &registration.identity.signing,
        exchange_public_key: &registration.identity.exchange,
        wrapped_private_keys: &registration.wrapped_identity,
    };
    rest.post::<_, Ignored>("/api/auth/register", None, &request).await?;
    Ok(Registered { recovery_words: made.recovery_words, gateway: rest.gateway().to_string() })
}

/// Begins a login: proves the password and lets the server send a one-time code. `accept_changes` goes on with a server that
/// was restored from a backup.
///
/// # Errors
/// `INVALID_CREDENTIALS`, `RATE_LIMITED`, `ACCOUNT_LOCKED`; an integrity error for password parameters that are too weak.
pub async fn begin_login(config: &Config, email: &str, password: &str, accept_changes: bool) -> Result<PendingLogin> {
    password::check_email(email)?;
    let rest = rest_for(config, login_gateway(config)?)?;
    let gateway = rest.gateway().to_string();
    let (Login { auth_key, kek }, params) = stretch_for(&rest, &config.home, email, password).await?;
    let device_name = device_name();
    let request = LoginRequest { email, auth_key: Secret32::new(*auth_key), device_name: &device_name };
    let answered = rest.post::<_, LoginResponse>("/api/auth/login", None, &request).await?;
    let (answer, now) = (answered.body, clock::unix_seconds());

    let pending = PendingStore::new(&config.home);
    pending.prune(now);
    let file = PendingFile {
        gateway: gateway.clone(),
        email: email.to_owned(),
        params,
        password_kek: Secret32::new(*kek.expose()),
        otp_expires_at: pending::ends_here(answer.otp_expires_at, answered.server_time, now),
        accept_changes,
    };
    pending.save(&answer.session_id, &file)?;
    Ok(PendingLogin {
        session_id: answer.session_id,
        otp_method: answer.otp_method,
        otp_expires_at: answer.otp_expires_at,
        gateway,
    })
}

/// Finishes a login with its one-time code and writes the credentials.
///
/// # Errors
/// `OTP_INVALID` (the login still waits), `OTP_EXPIRED`; [`Error::IncarnationChanged`] unless changes are accepted; an integrity
/// error if the server's copy of the keys does not open with the password it accepted.
pub async fn finish_login(config: &Config, session_id: &str, otp: &str, accept_changes: bool) -> Result<Identity> {
    let otp = otp.trim();
    let store = PendingStore::new(&config.home);
    let pending = store.load(session_id)?;
    let gateway: Gateway = pending.gateway.parse()?;
    if let Some(named) = &config.gateway
        && *named != gateway
    {
        return Err(Error::OtherGateway { logged_in: gateway.to_string(), asked: named.to_string() });
    }
    let rest = rest_for(config, gateway.clone())?;
    let seed = Secret32::random();
    let public_key = SigningKey::from_bytes(seed.expose()).verifying_key().to_bytes();
    let request = VerifyRequest { session_id, otp, session_public_key: &public_key };
    let answer = match rest.post::<_, VerifyResponse>("/api/auth/login/verify", None, &request).await {
        Ok(answer) => answer,
        Err(error) => {
            if matches!(error.code(), ErrorCode::OtpExpired | ErrorCode::NotFound) {
                store.remove(session_id)?;
            }
            return Err(error);
        }
    };
    store.remove(session_id)?;
    let tokens = received(
        &answer.body.access_token,
        answer.body.access_expires_at,
        &answer.body.refresh_token,
        answer.server_time,
    );
    let access = Zeroizing::new(tokens.access.clone());
    let accept = accept_changes || pending.accept_changes;
    let finished = take_over(config, &rest, &pending, answer.body, seed, tokens, accept).await;
    if finished.is_err() {
        // A session that this machine cannot use is better ended than left to expire.
        let ended: Result<_> = rest.post::<_, Ignored>("/api/auth/logout", Some(&access), &NoBody {}).await;
        if let Err(error) = ended {
            tracing::debug!(%error, "an unusable session was not ended");
        }
    }
    finished
}

async fn take_over(
    config: &Config,
    rest: &Rest,
    pending: &PendingFile,
    answer: VerifyResponse,
    seed: Secret32,
    tokens: Tokens,
    accept_changes: bool,
) -> Result<Identity> {
    let kek = PasswordKek::from_bytes(*pending.password_kek.expose());
    let keys = open_account_keys(AccountKek::Password(&kek), &answer.keys, answer.account.id)?;
    if !accept_changes {
        Memory::open(&config.home, rest.gateway().as_str(), answer.account.id)?.check_account_epoch(keys.epoch)?;
    }
    let session =
        NewSession { id: answer.session_id, account: answer.account, incarnation: answer.incarnation, seed, tokens };
    let account = session.keep(config, rest, Some(&keys.secrets), accept_changes).await?;
    StretchMemory::new(&config.home).remember(rest.gateway().as_str(), &pending.email, pending.params)?;
    Ok(account)
}

/// A session that this machine is about to keep.
pub(crate) struct NewSession {
    pub(crate) id: SessionId,
    pub(crate) account: Identity,
    pub(crate) incarnation: String,
    /// Of the session's signing key.
    pub(crate) seed: Secret32,
    pub(crate) tokens: Tokens,
}

impl NewSession {
    /// Has the server keep the account key under a secret of this machine, if there are keys at all, and writes the credentials. The
    /// session before is ended.
    ///
    /// # Errors
    /// [`Error::IncarnationChanged`] unless changes are accepted; network errors; [`Error::Local`].
    pub(crate) async fn keep(
        self,
        config: &Config,
        rest: &Rest,
        secrets: Option<&AccountSecrets>,
        accept_changes: bool,
    ) -> Result<Identity> {
        let Self { id, account, incarnation, seed, tokens } = self;
        let gateway = rest.gateway().as_str();
        let memory = Memory::open(&config.home, gateway, account.id)?;
        if accept_changes {
            memory.accept_incarnation(&incarnation)?;
        } else {
            memory.check_incarnation(&incarnation)?;
        }

        let device = DeviceKey::make();
        if let Some(secrets) = secrets {
            let wrapped = seal_account_key(AccountKek::Device(&device), &secrets.key);
            let request = DeviceKeyRequest { wrapped_account_key: &wrapped };
            rest.put::<_, Ignored>("/api/auth/device-key", Some(&tokens.access), &request).await?;
        }
        let mut credentials = Credentials::new(
            gateway.to_owned(),
            account.id,
            id,
            account.email.clone(),
            account.username.clone(),
            Secret32::new(*device.expose()),
            seed,
            tokens,
        );
        credentials.keyless = secrets.is_none();
        let store = CredentialStore::new(&config.home);
        let lock = store.lock().await?;
        let before = store.load().unwrap_or_default();
        store.save(&lock, &credentials)?;
        drop(lock);
        PendingStore::new(&config.home).remove_of(gateway, &account.email, clock::unix_seconds());
        if let Some(before) = before {
            end_session(config, &before).await;
        }
        Ok(account)
    }
}

/// Ends this device's session. `false` if nobody was logged in. The credentials are forgotten even if the server cannot be
/// reached; then its session lasts until it expires.
///
/// # Errors
/// [`Error::Local`].
pub async fn logout(config: &Config) -> Result<bool> {
    let store = CredentialStore::new(&config.home);
    let lock = store.lock().await?;
    let (pending, now) = (PendingStore::new(&config.home), clock::unix_seconds());
    let Some(credentials) = store.load()? else {
        // Nothing says whose they are, and whoever logs out leaves nothing here that opens an account.
        pending.remove_all();
        return Ok(false);
    };
    store.remove(&lock)?;
    drop(lock);
    pending.remove_of(&credentials.gateway, &credentials.email, now);
    end_session(config, &credentials).await;
    Ok(true)
}

/// Who is logged in, as the server sees it.
///
/// # Errors
/// [`Error::NotLoggedIn`], network errors.
pub async fn whoami(config: &Config) -> Result<Identity> {
    Session::connect(config).await?.identity().await
}

/// Ends a session whose credentials are no longer kept, as far as that works.
async fn end_session(config: &Config, credentials: &Credentials) {
    let end = async {
        let rest = rest_for(config, credentials.gateway.parse()?)?;
        let mut access = Zeroizing::new(credentials.tokens.access.clone());
        if !credentials.tokens.is_fresh(clock::unix_seconds()) {
            let request = messages::RefreshRequest { refresh_token: &credentials.tokens.refresh };
            let answer = rest.post_again::<_, messages::RefreshResponse>("/api/auth/refresh", &request).await?;
            access = answer.body.access_token;
        }
        rest.post::<_, Ignored>("/api/auth/logout", Some(&access), &NoBody {}).await
    };
    if let Err(error) = end.await {
        tracing::debug!(%error, "the server was not told that a session ends");
    }
}

/// Forgets logins of a home folder whose code has ended.
pub(crate) fn forget_unfinished_logins(home: &Path) {
    PendingStore::new(home).prune(clock::unix_seconds());
}

/// `{}`.
#[derive(serde::Serialize)]
pub(crate) struct NoBody {}

/// Stretches a password as the server says the account does, within what this machine allows and remembers of it.
///
/// # Errors
/// An integrity error for parameters that are too weak or too costly; network errors.
pub(crate) async fn stretch_for(
    rest: &Rest,
    home: &Path,
    email: &str,
    password: &str,
) -> Result<(Login, StretchParams)> {
    let answer = rest.post_again::<_, PreloginResponse>("/api/auth/prelogin", &PreloginRequest { email }).await?;
    let PreloginResponse { salt, params } = answer.body;
    let salt: [u8; SALT_LEN] =
        salt.try_into().map_err(|_| IntegrityError::Mismatch("its salt has not the length of one"))?;
    StretchMemory::new(home).check(rest.gateway().as_str(), email, params)?;
    let secret = Zeroizing::new(password.as_bytes().to_vec());
    let login = blocking(move || derive_login(&secret, &salt, params)).await?.map_err(|error| stretch_error(&error))?;
    Ok((login, params))
}

/// Opens the account's keys and checks that the public halves belong to the private ones.
pub(crate) fn open_keys(kek: AccountKek<'_>, keys: &WrappedKeys) -> Result<AccountSecrets> {
    let public = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).map_err(|_| IntegrityError::Sealed("account's public key"));
    let identity =
        PublicIdentity { signing: public(&keys.signing_public_key)?, exchange: public(&keys.exchange_public_key)? };
    open_account(kek, &keys.wrapped_account_key, &identity, &keys.wrapped_private_keys)
        .map_err(|_| IntegrityError::Sealed("account key").into())
}

/// As [`open_keys`], with the account keys of before.
pub(crate) fn open_account_keys(kek: AccountKek<'_>, keys: &WrappedKeys, account: AccountId) -> Result<AccountKeys> {
    let secrets = open_keys(kek, keys)?;
    let (epoch, history) = (keys.account_key_epoch, &keys.account_key_history);
    let older = open_account_history(&secrets.key, epoch, account, history)
        .map_err(|_| IntegrityError::Sealed("account keys of before"))?;
    Ok(AccountKeys { secrets: Arc::new(secrets), epoch, older, history: history.clone() })
}

/// Tokens as they were received, with their end by this machine's clock.
pub(crate) fn received(access: &str, expires_at: u64, refresh: &str, server_time: Option<u64>) -> Tokens {
    let now = clock::unix_seconds();
    let life = expires_at.saturating_sub(server_time.unwrap_or(now));
    Tokens {
        access: access.to_owned(),
        access_expires_at: now.saturating_add(life),
        received_at: now,
        refresh: refresh.to_owned(),
    }
}

/// The gateway for an API key: the one named, else the one logged in to, else the default.
///
/// # Errors
/// If none is named and the credentials cannot be read: what an API key shows of itself is for its own server, and not for whoever listens
/// at the default.
pub(crate) fn api_key_gateway(config: &Config) -> Result<Gateway> {
    if let Some(gateway) = &config.gateway {
        return Ok(gateway.clone());
    }
    match CredentialStore::new(&config.home).load()? {
        Some(credentials) => credentials.gateway.parse(),
        None => config.gateway_or_default(),
    }
}

/// The same for a new login. Damaged credentials must not stand in the way of the login that replaces them.
pub(crate) fn login_gateway(config: &Config) -> Result<Gateway> {
    api_key_gateway(config).or_else(|_| config.gateway_or_default())
}

pub(crate) fn rest_for(config: &Config, gateway: Gateway) -> Result<Rest> {
    let tls = tls::settings(&gateway, config.ca_file.as_deref())?;
    Rest::new(gateway, tls)
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Internal("stretching a password was cut off"))
}

pub(crate) fn stretch_error(error: &StretchError) -> Error {
    match error {
        StretchError::TooWeak => IntegrityError::WeakParameters.into(),
        StretchError::TooCostly => IntegrityError::CostlyParameters.into(),
        StretchError::Failed => Error::invalid(AccountError::Stretch(*error).to_string()),
    }
}

/// Shown in the list of sessions.
pub(crate) fn device_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "unnamed".into() } else { name.chars().take(64).collect() }
}
