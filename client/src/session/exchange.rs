//! The token of an API key for an access token. The secret stays here.

use cyx_core::error::ErrorCode;
use cyx_core::ids::{BucketId, SessionId};
use cyx_crypto::apikey::ApiToken;
use cyx_crypto::wrap::{AccountKek, BucketAccess};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::credentials::Tokens;
use crate::error::{Error, IntegrityError, Result};
use crate::identity::messages::WrappedKeys;
use crate::identity::rest::Rest;
use crate::identity::{self, Identity};
use crate::keys::Keys;
use crate::secret::{Secret32, base64_bytes};

#[derive(Serialize)]
struct Request<'a> {
    id: SessionId,
    auth: Secret32,
    #[serde(serialize_with = "base64_bytes::serialize")]
    session_public_key: &'a [u8],
}

#[derive(Deserialize)]
struct Response {
    #[serde(deserialize_with = "crate::secret::text")]
    access_token: Zeroizing<String>,
    access_expires_at: u64,
    #[serde(flatten)]
    exchanged: Exchanged,
}

/// What the server says and keeps of an API key.
#[derive(Deserialize)]
pub(super) struct Exchanged {
    #[serde(rename = "session_id")]
    pub(super) session: SessionId,
    pub(super) account: Identity,
    #[serde(default)]
    bucket: Option<BucketId>,
    #[serde(deserialize_with = "base64_bytes::deserialize")]
    wrapped_keys: Vec<u8>,
    #[serde(deserialize_with = "base64_bytes::deserialize")]
    signing_public_key: Vec<u8>,
    #[serde(deserialize_with = "base64_bytes::deserialize")]
    exchange_public_key: Vec<u8>,
    #[serde(deserialize_with = "base64_bytes::deserialize")]
    wrapped_private_keys: Vec<u8>,
    #[serde(default)]
    account_key_epoch: u32,
    #[serde(default, deserialize_with = "base64_bytes::deserialize")]
    account_key_history: Vec<u8>,
}

/// Exchanges a token.
///
/// # Errors
/// [`Error::ApiKeyRefused`]; network errors.
pub(super) async fn exchange(rest: &Rest, token: &ApiToken) -> Result<(Tokens, Exchanged)> {
    let public_key = SigningKey::from_bytes(&token.derive_session_seed()).verifying_key().to_bytes();
    let request = Request { id: token.id(), auth: Secret32::new(*token.auth()), session_public_key: &public_key };
    let answer = match rest.post_again::<_, Response>("/api/auth/api-keys/token", &request).await {
        Err(error) if error.code() == ErrorCode::InvalidCredentials => return Err(Error::ApiKeyRefused),
        other => other?,
    };
    let Response { access_token, access_expires_at, exchanged } = answer.body;
    let tokens = identity::received(&access_token, access_expires_at, "", answer.server_time);
    Ok((tokens, exchanged))
}

impl Exchanged {
    /// Opens what the API key may decrypt.
    ///
    /// # Errors
    /// An integrity error if it does not open, or if the server names another bucket than the one sealed for the key.
    pub(super) fn open(&self, token: &ApiToken) -> Result<Keys> {
        let device = token.device_key();
        let Some(bucket) = self.bucket else {
            let wrapped = WrappedKeys {
                wrapped_account_key: self.wrapped_keys.clone(),
                signing_public_key: self.signing_public_key.clone(),
                exchange_public_key: self.exchange_public_key.clone(),
                wrapped_private_keys: self.wrapped_private_keys.clone(),
                account_key_epoch: self.account_key_epoch,
                account_key_history: self.account_key_history.clone(),
            };
            let kek = AccountKek::Device(&device);
            return Ok(Keys::of_account(identity::open_account_keys(kek, &wrapped, self.account.id)?));
        };
        let access = BucketAccess::open(&device, token.id(), &self.wrapped_keys)
            .map_err(|_| IntegrityError::Sealed("bucket's key"))?;
        if access.bucket != bucket {
            return Err(IntegrityError::Mismatch("the API key is for another bucket").into());
        }
        Ok(Keys::of_bucket(access))
    }
}
