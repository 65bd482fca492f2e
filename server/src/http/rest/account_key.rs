//! `/api/auth/account-key`: a new account key.

use axum::extract::State;
use cyx_core::ids::{ApiKeyId, BucketId};
use serde::{Deserialize, Serialize};

use super::auth::auth_key;
use super::credentials::NewPassword;
use crate::accounts::account_key::{self, Replacement, RewrappedBucket};
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::http::body::{Base64, Confirmed};
use crate::http::extract::ClientIp;
use crate::tokens::stored_hash;

/// Most bytes of this body: an account may have a thousand buckets, and each comes with its keys.
pub const BODY_MAX: usize = 4 * 1024 * 1024;

/// A bucket in a body of `POST /api/auth/account-key`.
#[derive(Deserialize)]
pub struct BucketBody {
    id: BucketId,
    replaces: Base64,
    name_token: Base64,
    wrapped_root_key: Base64,
    #[serde(default)]
    hand_over: Option<Base64>,
}

/// An API key in a body of `POST /api/auth/account-key`.
#[derive(Deserialize)]
pub struct ApiKeyBody {
    id: ApiKeyId,
    owner_wrapped_kek: Base64,
}

/// Body of `POST /api/auth/account-key`.
#[derive(Deserialize)]
pub struct ReplaceRequest {
    auth_key: Base64,
    expected_epoch: u32,
    account_key_history: Base64,
    new: NewPassword,
    recovery_wrapped_account_key: Base64,
    device_wrapped_account_key: Base64,
    signing_public_key: Base64,
    exchange_public_key: Base64,
    wrapped_private_keys: Base64,
    buckets: Vec<BucketBody>,
    api_keys: Vec<ApiKeyBody>,
}

/// Answer of `POST /api/auth/account-key`.
#[derive(Serialize)]
pub struct ReplaceResponse {
    account_key_epoch: u32,
}

/// `POST /api/auth/account-key`
pub async fn replace(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    caller: Caller,
    Confirmed { confirmation, body }: Confirmed<ReplaceRequest>,
) -> Result<axum::Json<ReplaceResponse>, ApiError> {
    let bucket = |bucket: BucketBody| RewrappedBucket {
        bucket: bucket.id,
        replaces: bucket.replaces.to_vec(),
        name_token: bucket.name_token.to_vec(),
        wrapped_root_key: bucket.wrapped_root_key.to_vec(),
        hand_over: bucket.hand_over.map(|entry| entry.to_vec()),
    };
    let new = Replacement {
        auth_hash: stored_hash(auth_key(&body.auth_key)?),
        expected_epoch: body.expected_epoch,
        history: body.account_key_history.to_vec(),
        password: body.new.password()?,
        recovery_wrapped_account_key: body.recovery_wrapped_account_key.to_vec(),
        device_wrapped_account_key: body.device_wrapped_account_key.to_vec(),
        signing_public_key: body.signing_public_key.to_vec(),
        exchange_public_key: body.exchange_public_key.to_vec(),
        wrapped_private_keys: body.wrapped_private_keys.to_vec(),
        buckets: body.buckets.into_iter().map(bucket).collect(),
        api_keys: body.api_keys.into_iter().map(|key| (key.id, key.owner_wrapped_kek.to_vec())).collect(),
    };
    let account_key_epoch = account_key::replace(&app, &caller, new, confirmation, ip).await?;
    Ok(axum::Json(ReplaceResponse { account_key_epoch }))
}
