//! Logging in with a wallet: its signature takes the place of password and code, and opens nothing.
//!
//! Whoever logs in this way gets a session without keys. They come from the password, or from this machine: if it is still logged in to
//! the account, its own secret opens them, and the new session takes the place of the one before.

use cyx_core::ids::SessionId;
use cyx_core::wallet::WalletAddress;
use cyx_crypto::account::AccountSecrets;
use cyx_crypto::keys::PasswordKek;
use cyx_crypto::wrap::AccountKek;
use ed25519_dalek::SigningKey;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::error::Result;
use crate::identity::messages::{AuthKeyRequest, WrappedKeys};
use crate::identity::rest::{Ignored, Repeat, Rest};
use crate::identity::wallets::{ChallengeRequest, ChallengeResponse, WalletText};
use crate::identity::{
    Identity, NewSession, NoBody, device_name, login_gateway, open_keys, received, rest_for, stretch_for,
};
use crate::memory::StretchMemory;
use crate::secret::{Secret32, base64_bytes};
use crate::session::Session;

#[derive(Serialize)]
struct LoginRequest<'a> {
    challenge_id: &'a str,
    signature: &'a str,
    #[serde(serialize_with = "base64_bytes::serialize")]
    session_public_key: &'a [u8],
    device_name: &'a str,
}

#[derive(Deserialize)]
struct LoginResponse {
    #[serde(deserialize_with = "crate::secret::text")]
    access_token: Zeroizing<String>,
    access_expires_at: u64,
    #[serde(deserialize_with = "crate::secret::text")]
    refresh_token: Zeroizing<String>,
    session_id: SessionId,
    account: Identity,
    incarnation: String,
}

/// A session that a wallet began and that this machine does not keep yet.
pub struct WalletLogin {
    rest: Rest,
    session: NewSession,
}

/// Asks for the text that logs a wallet in.
///
/// # Errors
/// `RATE_LIMITED`; network errors; an integrity error if it is not what such a text says: a wallet must never sign something else.
pub async fn wallet_login_text(config: &Config, wallet: WalletAddress) -> Result<WalletText> {
    let rest = rest_for(config, login_gateway(config)?)?;
    let address = wallet.to_string();
    let request = ChallengeRequest { wallet: &address };
    let answer = rest.post::<_, ChallengeResponse>("/api/v1/auth/challenge", None, &request).await?;
    answer.body.checked(wallet, rest.gateway(), false)
}

/// Gives the signature of a text and gets a session, which is to be kept with [`WalletLogin::keep`] or ended with [`WalletLogin::end`].
///
/// # Errors
/// `INVALID_CREDENTIALS` for a wrong signature or a wallet that is not linked, `OTP_EXPIRED` for a text that is too old or was used,
/// `RATE_LIMITED`; network errors.
pub async fn begin_wallet_session(config: &Config, text: &str, signature: &str) -> Result<WalletLogin> {
    let rest = rest_for(config, login_gateway(config)?)?;
    let seed = Secret32::random();
    let public_key = SigningKey::from_bytes(seed.expose()).verifying_key().to_bytes();
    let device_name = device_name();
    let request = LoginRequest {
        challenge_id: text,
        signature: signature.trim(),
        session_public_key: &public_key,
        device_name: &device_name,
    };
    let answer = rest.post::<_, LoginResponse>("/api/v1/auth/wallet", None, &request).await?;
    let server_time = answer.server_time;
    let LoginResponse { access_token, access_expires_at, refresh_token, session_id, account, incarnation } =
        answer.body;
    let tokens = received(&access_token, access_expires_at, &refresh_token, server_time);
    Ok(WalletLogin { rest, session: NewSession { id: session_id, account, incarnation, seed, tokens } })
}

impl WalletLogin {
    /// The account's keys, if this machine is still logged in to the same account: its secret opens them.
    pub async fn keys_of_this_machine(&self, config: &Config) -> Option<AccountSecrets> {
        let before = Session::open(&Config { token: None, ..config.clone() }).ok()?;
        if before.account() != self.session.account.id || before.gateway() != self.rest.gateway() {
            return None;
        }
        match before.fetch_keys().await {
            Ok(keys) => Some(AccountSecrets::clone(&keys.account().secrets)),
            Err(error) => {
                tracing::debug!(%error, "the login of before opens no keys");
                None
            }
        }
    }

    /// The account's keys by its password.
    ///
    /// # Errors
    /// `INVALID_CREDENTIALS`, `ACCOUNT_LOCKED`, `RATE_LIMITED`; network errors; an integrity error if the server's copy of the keys does not
    /// open with the password it accepted.
    pub async fn keys_by_password(&self, config: &Config, password: &str) -> Result<AccountSecrets> {
        let email = &self.session.account.email;
        let (login, params) = stretch_for(&self.rest, &config.home, email, password).await?;
        let request = AuthKeyRequest { auth_key: Secret32::new(*login.auth_key) };
        let access = Some(self.session.tokens.access.as_str());
        let answer =
            self.rest.call::<_, WrappedKeys>(Method::POST, "/api/auth/keys", access, Some(&request), Repeat::IfNotSent);
        let keys = answer.await?.body;
        let secrets = open_keys(AccountKek::Password(&PasswordKek::from_bytes(*login.kek.expose())), &keys)?;
        StretchMemory::new(&config.home).remember(self.rest.gateway().as_str(), email, params)?;
        Ok(secrets)
    }

    /// Keeps the session on this machine, with keys or without. The one before is ended.
    ///
    /// # Errors
    /// [`crate::Error::IncarnationChanged`] unless changes are accepted; network errors; [`crate::Error::Local`].
    pub async fn keep(
        self,
        config: &Config,
        secrets: Option<&AccountSecrets>,
        accept_changes: bool,
    ) -> Result<Identity> {
        let Self { rest, session } = self;
        let access = Zeroizing::new(session.tokens.access.clone());
        let kept = session.keep(config, &rest, secrets, accept_changes).await;
        if kept.is_err() {
            end(&rest, &access).await;
        }
        kept
    }

    /// Ends the session, as far as that works.
    pub async fn end(self) {
        end(&self.rest, &self.session.tokens.access).await;
    }
}

/// A session that nobody keeps is better ended than left to expire.
async fn end(rest: &Rest, access: &str) {
    let ended = rest.post::<_, Ignored>("/api/auth/logout", Some(access), &NoBody {}).await;
    if let Err(error) = ended {
        tracing::debug!(%error, "an unusable session was not ended");
    }
}
