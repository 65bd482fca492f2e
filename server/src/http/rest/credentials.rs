//! `/api/auth/password`, `/api/auth/recovery`, `/api/auth/recover/*`, `/api/auth/email/*`.

use axum::extract::State;
use axum::response::IntoResponse;
use cyx_core::auth::StretchParams;
use cyx_core::ids::SessionId;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::auth::auth_key;
use super::{Answer, Empty, challenge_id};
use crate::accounts::email::Codes;
use crate::accounts::password::Change;
use crate::accounts::recovery::Recovered;
use crate::accounts::register::Password;
use crate::accounts::{email as addresses, password as passwords, recovery};
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::http::body::{Base64, Confirmed, Json};
use crate::http::extract::ClientIp;
use crate::tokens::stored_hash;

/// What a client says whether there is an account or not.
const CHECK_YOUR_MAIL: &str = "check your mail";

/// A new password, as it leaves the client.
#[derive(Deserialize)]
pub struct NewPassword {
    salt: Base64,
    params: StretchParams,
    auth_key: Base64,
    wrapped_account_key: Base64,
}

impl NewPassword {
    pub(super) fn password(&self) -> Result<Password, ApiError> {
        Ok(Password {
            salt: self.salt.to_vec(),
            params: self.params,
            auth_hash: stored_hash(auth_key(&self.auth_key)?),
            wrapped_account_key: self.wrapped_account_key.to_vec(),
        })
    }
}

/// Body of `POST /api/auth/password`.
#[derive(Deserialize)]
pub struct PasswordRequest {
    new: NewPassword,
    #[serde(default)]
    revoke_api_keys: bool,
    #[serde(default)]
    account_key_epoch: u32,
}

/// Answer of `POST /api/auth/password`.
#[derive(Serialize)]
pub struct PasswordResponse {
    revoked_sessions: u64,
}

/// `POST /api/auth/password`
pub async fn password(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    caller: Caller,
    Confirmed { confirmation, body }: Confirmed<PasswordRequest>,
) -> Answer<PasswordResponse> {
    let PasswordRequest { new, revoke_api_keys, account_key_epoch } = body;
    let change = Change { new: new.password()?, revoke_api_keys, account_key_epoch };
    let revoked_sessions = passwords::change(&app, &caller, change, confirmation, ip).await?;
    Ok(axum::Json(PasswordResponse { revoked_sessions }))
}

/// Body of `PUT /api/auth/recovery`.
#[derive(Deserialize)]
pub struct WordsRequest {
    recovery_wrapped_account_key: Base64,
    #[serde(default)]
    account_key_epoch: u32,
}

/// `PUT /api/auth/recovery`
pub async fn words(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    caller: Caller,
    Confirmed { confirmation, body }: Confirmed<WordsRequest>,
) -> Answer<Empty> {
    let wrapped = body.recovery_wrapped_account_key.to_vec();
    passwords::change_words(&app, &caller, wrapped, body.account_key_epoch, confirmation, ip).await?;
    Ok(axum::Json(Empty {}))
}

/// Body of `POST /api/auth/recover`.
#[derive(Deserialize)]
pub struct RecoverRequest {
    email: String,
}

/// Answer of `POST /api/auth/recover`.
#[derive(Serialize)]
pub struct RecoverResponse {
    recovery_id: SessionId,
    otp_expires_at: u64,
    message: &'static str,
}

/// `POST /api/auth/recover`
pub async fn recover(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Json(body): Json<RecoverRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let begun = recovery::begin(&app, &body.email, ip).await?;
    let (recovery_id, otp_expires_at) = (begun.recovery, begun.expires_at);
    let answer = RecoverResponse { recovery_id, otp_expires_at, message: CHECK_YOUR_MAIL };
    Ok((StatusCode::ACCEPTED, axum::Json(answer)))
}

/// Body of `POST /api/auth/recover/verify`.
#[derive(Deserialize)]
pub struct RecoverVerifyRequest {
    recovery_id: String,
    otp: String,
}

/// Answer of `POST /api/auth/recover/verify`.
#[derive(Serialize)]
pub struct RecoverVerifyResponse {
    expires_at: u64,
    recovery_wrapped_account_key: Base64,
    signing_public_key: Base64,
    exchange_public_key: Base64,
    wrapped_private_keys: Base64,
}

/// `POST /api/auth/recover/verify`
pub async fn recover_verify(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Json(body): Json<RecoverVerifyRequest>,
) -> Answer<RecoverVerifyResponse> {
    let wrapped = recovery::verify(&app, challenge_id(&body.recovery_id)?, body.otp, ip).await?;
    Ok(axum::Json(RecoverVerifyResponse {
        expires_at: wrapped.expires_at,
        recovery_wrapped_account_key: wrapped.account_key.into(),
        signing_public_key: wrapped.signing_public_key.into(),
        exchange_public_key: wrapped.exchange_public_key.into(),
        wrapped_private_keys: wrapped.private_keys.into(),
    }))
}

/// Body of `POST /api/auth/recover/finish`.
#[derive(Deserialize)]
pub struct RecoverFinishRequest {
    recovery_id: String,
    new: NewPassword,
    recovery_wrapped_account_key: Base64,
    signature: Base64,
    #[serde(default)]
    remove_totp: bool,
    #[serde(default = "yes")]
    revoke_api_keys: bool,
}

const fn yes() -> bool {
    true
}

/// `POST /api/auth/recover/finish`
pub async fn recover_finish(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Json(body): Json<RecoverFinishRequest>,
) -> Answer<Empty> {
    let key = auth_key(&body.new.auth_key)?;
    let recovered = Recovered {
        recovery: challenge_id(&body.recovery_id)?,
        auth_key: key.try_into().map_err(|_| ApiError::invalid("the field auth_key is not valid"))?,
        password: body.new.password()?,
        recovery_wrapped_account_key: body.recovery_wrapped_account_key.to_vec(),
        signature: body.signature.to_vec(),
        remove_app: body.remove_totp,
        revoke_api_keys: body.revoke_api_keys,
    };
    recovery::finish(&app, recovered, ip).await?;
    Ok(axum::Json(Empty {}))
}

/// Body of `POST /api/auth/email`.
#[derive(Deserialize)]
pub struct EmailRequest {
    email: String,
}

/// Answer of `POST /api/auth/email`.
#[derive(Serialize)]
pub struct EmailResponse {
    change_id: SessionId,
    otp_expires_at: u64,
    message: &'static str,
}

/// `POST /api/auth/email`
pub async fn email(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    caller: Caller,
    Confirmed { confirmation, body }: Confirmed<EmailRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let begun = addresses::begin(&app, &caller, &body.email, confirmation, ip).await?;
    let answer = EmailResponse { change_id: begun.change, otp_expires_at: begun.expires_at, message: CHECK_YOUR_MAIL };
    Ok((StatusCode::ACCEPTED, axum::Json(answer)))
}

/// Body of `POST /api/auth/email/confirm`.
#[derive(Deserialize)]
pub struct EmailConfirmRequest {
    change_id: String,
    otp_old: String,
    otp_new: String,
}

/// `POST /api/auth/email/confirm`
pub async fn email_confirm(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    caller: Caller,
    Json(body): Json<EmailConfirmRequest>,
) -> Answer<Empty> {
    let codes = Codes { change: challenge_id(&body.change_id)?, old: body.otp_old, new: body.otp_new };
    addresses::confirm(&app, &caller, codes, ip).await?;
    Ok(axum::Json(Empty {}))
}
