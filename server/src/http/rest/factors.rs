//! `/api/auth/confirm` and `/api/auth/factors/*`: fresh confirmations, second factors.

use axum::extract::State;
use cyx_core::ids::SessionId;
use serde::{Deserialize, Serialize};

use super::auth::auth_key;
use super::{Answer, Empty, unsigned};
use crate::accounts::{confirm as confirmations, factors};
use crate::app::AppState;
use crate::auth::Caller;
use crate::http::body::{Base64, Confirmed, Json, Nothing};
use crate::http::extract::ClientIp;
use crate::time::rfc3339;

/// Body of `POST /api/auth/confirm`.
#[derive(Deserialize)]
pub struct ConfirmRequest {
    auth_key: Base64,
}

/// Answer of `POST /api/auth/confirm`.
#[derive(Serialize)]
pub struct ConfirmResponse {
    confirmation_id: SessionId,
    otp_method: &'static str,
    otp_expires_at: u64,
}

/// `POST /api/auth/confirm`
pub async fn confirm(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    caller: Caller,
    Json(body): Json<ConfirmRequest>,
) -> Answer<ConfirmResponse> {
    let begun = confirmations::begin(&app, &caller, auth_key(&body.auth_key)?, ip).await?;
    Ok(axum::Json(ConfirmResponse {
        confirmation_id: begun.id,
        otp_method: begun.method.as_str(),
        otp_expires_at: begun.expires_at,
    }))
}

/// An authenticator app.
#[derive(Serialize)]
pub struct AppBody {
    created_at: String,
    last_used_at: Option<String>,
}

/// Answer of `GET /api/auth/factors`.
#[derive(Serialize)]
pub struct FactorsResponse {
    login_method: &'static str,
    totp: Option<AppBody>,
    backup_codes_left: u64,
}

/// `GET /api/auth/factors`
pub async fn list(State(app): State<AppState>, caller: Caller) -> Answer<FactorsResponse> {
    let factors = factors::list(&app, caller.account).await?;
    let totp = factors
        .app_since_ns
        .map(|since| AppBody { created_at: rfc3339(since), last_used_at: factors.app_used_ns.map(rfc3339) });
    Ok(axum::Json(FactorsResponse {
        login_method: factors.method.as_str(),
        totp,
        backup_codes_left: unsigned(factors.backup_codes),
    }))
}

/// Answer of `POST /api/auth/factors/totp`.
#[derive(Serialize)]
pub struct EnrolResponse {
    secret: String,
    uri: String,
    expires_at: u64,
}

/// `POST /api/auth/factors/totp`
pub async fn enrol(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    caller: Caller,
    Confirmed { confirmation, body: Nothing {} }: Confirmed<Nothing>,
) -> Answer<EnrolResponse> {
    let enrolment = factors::enrol_app(&app, &caller, confirmation, ip).await?;
    Ok(axum::Json(EnrolResponse { secret: enrolment.secret, uri: enrolment.uri, expires_at: enrolment.expires_at }))
}

/// Body of `POST /api/auth/factors/totp/confirm`.
#[derive(Deserialize)]
pub struct AppCodeRequest {
    otp: String,
}

/// Backup codes, shown once.
#[derive(Serialize)]
pub struct BackupCodesResponse {
    backup_codes: Vec<String>,
}

/// `POST /api/auth/factors/totp/confirm`
pub async fn confirm_app(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    caller: Caller,
    Json(body): Json<AppCodeRequest>,
) -> Answer<BackupCodesResponse> {
    let backup_codes = factors::confirm_app(&app, &caller, body.otp, ip).await?;
    Ok(axum::Json(BackupCodesResponse { backup_codes }))
}

/// `POST /api/auth/factors/totp/remove`
pub async fn remove_app(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    caller: Caller,
    Confirmed { confirmation, body: Nothing {} }: Confirmed<Nothing>,
) -> Answer<Empty> {
    factors::remove_app(&app, &caller, confirmation, ip).await?;
    Ok(axum::Json(Empty {}))
}

/// `POST /api/auth/factors/backup-codes`
pub async fn backup_codes(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    caller: Caller,
    Confirmed { confirmation, body: Nothing {} }: Confirmed<Nothing>,
) -> Answer<BackupCodesResponse> {
    let backup_codes = factors::renew_backup_codes(&app, &caller, confirmation, ip).await?;
    Ok(axum::Json(BackupCodesResponse { backup_codes }))
}
