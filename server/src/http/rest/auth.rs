//! `/api/auth/*`: registration, login, tokens.

use axum::extract::State;
use axum::response::IntoResponse;
use cyx_core::auth::StretchParams;
use cyx_core::error::ErrorCode;
use cyx_core::ids::SessionId;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::identity::{AccountBody, account_body};
use super::{Answer, Empty};
use crate::accounts::login::WrappedKeys;
use crate::accounts::register::{Password, Registration};
use crate::accounts::{login, register as accounts_register, sessions};
use crate::app::AppState;
use crate::auth::{self, Caller};
use crate::error::ApiError;
use crate::http::body::{Base64, Json};
use crate::http::extract::ClientIp;
use crate::tokens::{UserType, stored_hash};

/// Body of `POST /api/auth/register`.
#[derive(Deserialize)]
pub struct RegisterRequest {
    username: String,
    email: String,
    salt: Base64,
    params: StretchParams,
    auth_key: Base64,
    wrapped_account_key: Base64,
    recovery_wrapped_account_key: Base64,
    signing_public_key: Base64,
    exchange_public_key: Base64,
    wrapped_private_keys: Base64,
}

#[derive(Serialize)]
struct Message {
    message: &'static str,
}

/// `POST /api/auth/register`
pub async fn register(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Json(body): Json<RegisterRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let registration = Registration {
        username: body.username,
        email: body.email,
        password: Password {
            salt: body.salt.to_vec(),
            params: body.params,
            auth_hash: stored_hash(auth_key(&body.auth_key)?),
            wrapped_account_key: body.wrapped_account_key.to_vec(),
        },
        recovery_wrapped_account_key: body.recovery_wrapped_account_key.to_vec(),
        signing_public_key: body.signing_public_key.to_vec(),
        exchange_public_key: body.exchange_public_key.to_vec(),
        wrapped_private_keys: body.wrapped_private_keys.to_vec(),
    };
    accounts_register::register(&app, registration, ip).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(Message { message: "check your mail" })))
}

pub(super) fn auth_key(key: &Base64) -> Result<&[u8], ApiError> {
    if key.0.len() == 32 { Ok(&key.0) } else { Err(ApiError::invalid("the field auth_key is not valid")) }
}

/// Body of `POST /api/auth/prelogin`.
#[derive(Deserialize)]
pub struct PreloginRequest {
    email: String,
}

/// Answer of `POST /api/auth/prelogin`.
#[derive(Serialize)]
pub struct PreloginResponse {
    salt: Base64,
    params: StretchParams,
}

/// `POST /api/auth/prelogin`
pub async fn prelogin(State(app): State<AppState>, Json(body): Json<PreloginRequest>) -> Answer<PreloginResponse> {
    let prelogin = login::prelogin(&app, &body.email).await?;
    Ok(axum::Json(PreloginResponse { salt: prelogin.salt.into(), params: prelogin.params }))
}

/// Body of `POST /api/auth/login`.
#[derive(Deserialize)]
pub struct LoginRequest {
    email: String,
    auth_key: Base64,
    #[serde(default)]
    device_name: String,
}

/// Answer of `POST /api/auth/login`.
#[derive(Serialize)]
pub struct LoginResponse {
    session_id: SessionId,
    otp_method: &'static str,
    otp_expires_at: u64,
}

/// `POST /api/auth/login`
pub async fn login(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Json(body): Json<LoginRequest>,
) -> Answer<LoginResponse> {
    let begun = login::begin(&app, &body.email, auth_key(&body.auth_key)?, &body.device_name, ip).await?;
    Ok(axum::Json(LoginResponse {
        session_id: begun.login,
        otp_method: begun.method.as_str(),
        otp_expires_at: begun.expires_at,
    }))
}

/// Body of `POST /api/auth/login/verify`.
#[derive(Deserialize)]
pub struct VerifyRequest {
    session_id: String,
    otp: String,
    session_public_key: Base64,
}

/// Keys of the account, wrapped.
#[derive(Serialize)]
pub struct KeysBody {
    wrapped_account_key: Base64,
    signing_public_key: Base64,
    exchange_public_key: Base64,
    wrapped_private_keys: Base64,
    account_key_epoch: u32,
    account_key_history: Base64,
}

impl From<WrappedKeys> for KeysBody {
    fn from(keys: WrappedKeys) -> Self {
        Self {
            wrapped_account_key: keys.account_key.into(),
            signing_public_key: keys.signing_public_key.into(),
            exchange_public_key: keys.exchange_public_key.into(),
            wrapped_private_keys: keys.private_keys.into(),
            account_key_epoch: keys.lineage.epoch,
            account_key_history: keys.lineage.history.into(),
        }
    }
}

/// Answer of `POST /api/auth/login/verify`.
#[derive(Serialize)]
pub struct VerifyResponse {
    access_token: String,
    access_expires_at: u64,
    refresh_token: String,
    session_id: SessionId,
    account: AccountBody,
    #[serde(flatten)]
    keys: KeysBody,
    incarnation: String,
}

/// `POST /api/auth/login/verify`
pub async fn verify(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Json(body): Json<VerifyRequest>,
) -> Answer<VerifyResponse> {
    // A malformed id is as wrong as an unknown one.
    let ended =
        || ApiError::new(ErrorCode::OtpExpired, "the code is too old, was used or was tried too often; log in again");
    let login: SessionId = body.session_id.parse().map_err(|_| ended())?;
    let logged_in = login::verify(&app, login, &body.otp, &body.session_public_key.0, ip).await?;
    let caller = auth::authenticate_member(&app, &logged_in.access.token).await?;
    Ok(axum::Json(VerifyResponse {
        access_token: logged_in.access.token,
        access_expires_at: logged_in.access.expires_at,
        refresh_token: logged_in.refresh_token,
        session_id: logged_in.session,
        account: account_body(&app, &caller).await?,
        keys: logged_in.keys.into(),
        incarnation: hex::encode(app.network.keys.incarnation().to_bytes()),
    }))
}

/// Body of `PUT /api/auth/device-key`.
#[derive(Deserialize)]
pub struct DeviceKeyRequest {
    wrapped_account_key: Base64,
}

/// `PUT /api/auth/device-key`
pub async fn put_device_key(
    State(app): State<AppState>,
    caller: Caller,
    Json(body): Json<DeviceKeyRequest>,
) -> Answer<Empty> {
    sessions::put_device_key(&app, &caller, body.wrapped_account_key.to_vec()).await?;
    Ok(axum::Json(Empty {}))
}

/// `GET /api/auth/device-key`
pub async fn device_key(State(app): State<AppState>, caller: Caller) -> Answer<KeysBody> {
    Ok(axum::Json(sessions::device_key(&app, &caller).await?.into()))
}

/// Body of `POST /api/auth/refresh`.
#[derive(Deserialize)]
pub struct RefreshRequest {
    refresh_token: String,
}

/// Answer of `POST /api/auth/refresh`.
#[derive(Serialize)]
pub struct RefreshResponse {
    access_token: String,
    access_expires_at: u64,
    refresh_token: String,
}

/// `POST /api/auth/refresh`
pub async fn refresh(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Json(body): Json<RefreshRequest>,
) -> Answer<RefreshResponse> {
    let refreshed = sessions::refresh(&app, &body.refresh_token, ip).await?;
    Ok(axum::Json(RefreshResponse {
        access_token: refreshed.access.token,
        access_expires_at: refreshed.access.expires_at,
        refresh_token: refreshed.refresh_token,
    }))
}

/// `POST /api/auth/logout`
pub async fn logout(State(app): State<AppState>, ClientIp(ip): ClientIp, caller: Caller) -> Answer<Empty> {
    sessions::logout(&app, &caller, ip).await?;
    Ok(axum::Json(Empty {}))
}

/// Body of `POST /api/auth/validate`.
#[derive(Deserialize)]
pub struct ValidateRequest {
    token: String,
}

/// Answer of `POST /api/auth/validate`. All but the first are absent if the token is not good.
#[derive(Serialize)]
pub struct ValidateResponse {
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_type: Option<UserType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wallet: Option<String>,
}

/// `POST /api/auth/validate`: the token in the body, or else the bearer token of the request.
pub async fn validate(
    State(app): State<AppState>,
    headers: HeaderMap,
    body: Result<Json<ValidateRequest>, ApiError>,
) -> Answer<ValidateResponse> {
    let token = match body {
        Ok(Json(body)) => body.token,
        Err(error) => auth::bearer(&headers).map_err(|_| error)?.to_owned(),
    };
    let good = sessions::validate(&app, &token).await?;
    Ok(axum::Json(match good {
        Some(good) => ValidateResponse {
            valid: true,
            account_id: Some(good.subject),
            user_type: Some(good.user_type),
            permissions: Some(good.permissions),
            expires_at: Some(good.expires_at),
            wallet: good.wallet,
        },
        None => ValidateResponse {
            valid: false,
            account_id: None,
            user_type: None,
            permissions: None,
            expires_at: None,
            wallet: None,
        },
    }))
}
