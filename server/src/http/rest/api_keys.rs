//! `/api/auth/api-keys/*`: keys of programs.

use axum::extract::State;
use axum::response::IntoResponse;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{ApiKeyId, BucketId, SessionId};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::identity::{AccountBody, account_body};
use super::{Answer, Empty};
use crate::accounts::api_keys::{self, ApiKey, NewKey};
use crate::app::AppState;
use crate::auth::{self, Caller};
use crate::error::ApiError;
use crate::http::body::{Base64, Confirmed, Json};
use crate::http::extract::{ClientIp, Path};
use crate::time::rfc3339;

/// A key.
#[derive(Serialize)]
pub struct ApiKeyBody {
    id: ApiKeyId,
    name: String,
    permissions: Vec<String>,
    bucket: Option<BucketId>,
    signing_public_key: Option<Base64>,
    created_at: String,
    expires_at: u64,
    last_used_at: Option<String>,
    last_address: String,
}

impl From<ApiKey> for ApiKeyBody {
    fn from(key: ApiKey) -> Self {
        Self {
            expires_at: api_keys::expires_at(&key),
            id: key.id,
            name: key.name,
            permissions: key.permissions,
            bucket: key.bucket,
            signing_public_key: key.signing_public_key.map(Base64::from),
            created_at: rfc3339(key.created_ns),
            last_used_at: key.last_used_ns.map(rfc3339),
            last_address: key.last_address,
        }
    }
}

/// Answer of `GET /api/auth/api-keys`.
#[derive(Serialize)]
pub struct ApiKeysResponse {
    api_keys: Vec<ApiKeyBody>,
}

/// `GET /api/auth/api-keys`
pub async fn list(State(app): State<AppState>, caller: Caller) -> Answer<ApiKeysResponse> {
    let keys = api_keys::list(&app, caller.account).await?;
    Ok(axum::Json(ApiKeysResponse { api_keys: keys.into_iter().map(ApiKeyBody::from).collect() }))
}

/// A key that is for one bucket, with what its owner needs to give it the bucket's next root key.
#[derive(Serialize)]
pub struct BucketKeyBody {
    id: ApiKeyId,
    name: String,
    wrapped_keys: Base64,
    owner_wrapped_kek: Option<Base64>,
}

/// Answer of `GET /api/auth/api-keys/buckets/{bucket}`.
#[derive(Serialize)]
pub struct BucketKeysResponse {
    api_keys: Vec<BucketKeyBody>,
}

/// `GET /api/auth/api-keys/buckets/{bucket}`
pub async fn of_bucket(
    State(app): State<AppState>,
    Path(bucket): Path<String>,
    caller: Caller,
) -> Answer<BucketKeysResponse> {
    let bucket = bucket.parse().map_err(|_| ApiError::not_found("there is no such bucket"))?;
    let keys = api_keys::of_bucket(&app, &caller, bucket).await?;
    let body = |key: api_keys::LivingKey| BucketKeyBody {
        id: key.id(),
        name: key.name,
        wrapped_keys: key.wrapped_keys.into(),
        owner_wrapped_kek: key.owner_wrapped_kek.map(Base64::from),
    };
    Ok(axum::Json(BucketKeysResponse { api_keys: keys.into_iter().map(body).collect() }))
}

/// Body of `POST /api/auth/api-keys`.
#[derive(Deserialize)]
pub struct CreateRequest {
    id: String,
    name: String,
    permissions: Vec<String>,
    #[serde(default)]
    bucket: Option<String>,
    #[serde(default)]
    expires_at: Option<u64>,
    auth_hash: Base64,
    wrapped_keys: Base64,
    #[serde(default)]
    owner_wrapped_kek: Option<Base64>,
    #[serde(default)]
    signing_public_key: Option<Base64>,
    #[serde(default)]
    account_key_epoch: u32,
}

/// `POST /api/auth/api-keys`
pub async fn create(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    caller: Caller,
    Confirmed { confirmation, body }: Confirmed<CreateRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let bucket = body.bucket.map(|bucket| bucket.parse()).transpose();
    let new = NewKey {
        id: body.id.parse().map_err(|_| ApiError::invalid("the field id is not valid"))?,
        name: body.name,
        permissions: body.permissions,
        bucket: bucket.map_err(|_| ApiError::invalid("the field bucket is not valid"))?,
        expires_at: body.expires_at,
        auth_hash: body.auth_hash.to_vec(),
        wrapped_keys: body.wrapped_keys.to_vec(),
        owner_wrapped_kek: body.owner_wrapped_kek.map(|kek| kek.to_vec()),
        signing_public_key: body.signing_public_key.map(|key| key.to_vec()),
        account_key_epoch: body.account_key_epoch,
    };
    let made = api_keys::create(&app, &caller, new, confirmation, ip).await?;
    Ok((StatusCode::CREATED, axum::Json(ApiKeyBody::from(made))))
}

/// `DELETE /api/auth/api-keys/{id}`
pub async fn revoke(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Path(id): Path<String>,
    caller: Caller,
) -> Answer<Empty> {
    let key = id.parse().map_err(|_| ApiError::not_found("there is no such API key"))?;
    api_keys::revoke(&app, &caller, key, ip).await?;
    Ok(axum::Json(Empty {}))
}

/// Body of `POST /api/auth/api-keys/token`.
#[derive(Deserialize)]
pub struct TokenRequest {
    id: String,
    auth: Base64,
    session_public_key: Base64,
}

/// Answer of `POST /api/auth/api-keys/token`.
#[derive(Serialize)]
pub struct TokenResponse {
    access_token: String,
    access_expires_at: u64,
    session_id: SessionId,
    account: AccountBody,
    bucket: Option<BucketId>,
    permissions: Vec<String>,
    wrapped_keys: Base64,
    signing_public_key: Base64,
    exchange_public_key: Base64,
    wrapped_private_keys: Base64,
    account_key_epoch: u32,
    account_key_history: Base64,
    incarnation: String,
}

/// `POST /api/auth/api-keys/token`
pub async fn exchange(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Json(body): Json<TokenRequest>,
) -> Answer<TokenResponse> {
    // A malformed id is as wrong as an unknown one.
    let refused = || ApiError::new(ErrorCode::InvalidCredentials, "the API key is not valid");
    let id: ApiKeyId = body.id.parse().map_err(|_| refused())?;
    let exchanged = api_keys::exchange(&app, id, &body.auth.0, &body.session_public_key.0, ip).await?;
    let caller = auth::authenticate(&app, &exchanged.access.token).await?;
    Ok(axum::Json(TokenResponse {
        account: account_body(&app, &caller.into()).await?,
        access_token: exchanged.access.token,
        access_expires_at: exchanged.access.expires_at,
        session_id: exchanged.session,
        bucket: exchanged.key.bucket,
        permissions: exchanged.key.permissions,
        wrapped_keys: exchanged.wrapped_keys.into(),
        signing_public_key: exchanged.signing_public_key.into(),
        exchange_public_key: exchanged.exchange_public_key.into(),
        wrapped_private_keys: exchanged.wrapped_private_keys.into(),
        account_key_epoch: exchanged.lineage.epoch,
        account_key_history: exchanged.lineage.history.into(),
        incarnation: hex::encode(app.network.keys.incarnation().to_bytes()),
    }))
}
