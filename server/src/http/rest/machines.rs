//! `/api/machines/*`: machines of storage nodes.

use axum::extract::{Path, State};
use cyx_core::error::ErrorCode;
use cyx_core::ids::MachineId;
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::Empty;
use crate::accounts::machines::{self, Report};
use crate::app::AppState;
use crate::auth::{Machine, bearer};
use crate::error::ApiError;
use crate::http::body::Json;
use crate::http::extract::ClientIp;

type Answer<T> = Result<axum::Json<T>, ApiError>;

/// Body of `POST /api/machines/register`.
#[derive(Deserialize)]
pub struct RegisterRequest {
    hostname: String,
    os: String,
    #[serde(default)]
    hardware: serde_json::Value,
}

/// Answer of `POST /api/machines/register`.
#[derive(Serialize)]
pub struct RegisterResponse {
    machine_id: MachineId,
    api_key: String,
    access_token: String,
    expires_at: u64,
}

/// `POST /api/machines/register`, with a person's access token or an enrolment token as bearer.
pub async fn register(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    headers: HeaderMap,
    Json(body): Json<RegisterRequest>,
) -> Answer<RegisterResponse> {
    let hardware = body.hardware.to_string();
    let registered = machines::register(&app, bearer(&headers)?, &body.hostname, &body.os, &hardware, ip).await?;
    Ok(axum::Json(RegisterResponse {
        machine_id: registered.machine,
        api_key: registered.api_key,
        access_token: registered.access.token,
        expires_at: registered.access.expires_at,
    }))
}

/// Body of `POST /api/machines/token`.
#[derive(Deserialize)]
pub struct TokenRequest {
    machine_id: String,
    api_key: String,
}

/// Answer of `POST /api/machines/token`.
#[derive(Serialize)]
pub struct TokenResponse {
    access_token: String,
    expires_at: u64,
}

/// `POST /api/machines/token`
pub async fn token(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Json(body): Json<TokenRequest>,
) -> Answer<TokenResponse> {
    let machine = body.machine_id.parse::<MachineId>();
    let machine = machine.map_err(|_| ApiError::new(ErrorCode::InvalidCredentials, "machine id or key is wrong"))?;
    let issued = machines::token(&app, machine, &body.api_key, ip).await?;
    Ok(axum::Json(TokenResponse { access_token: issued.token, expires_at: issued.expires_at }))
}

/// Body of `POST /api/machines/{id}/heartbeat`.
#[derive(Deserialize)]
pub struct HeartbeatRequest {
    address: String,
    version: String,
    #[serde(default)]
    load: f64,
}

/// `POST /api/machines/{id}/heartbeat`, with the machine's access token.
pub async fn heartbeat(
    State(app): State<AppState>,
    Path(id): Path<String>,
    machine: Machine,
    Json(body): Json<HeartbeatRequest>,
) -> Answer<Empty> {
    if id.parse() != Ok(machine.id) {
        return Err(ApiError::denied("this token belongs to another machine"));
    }
    let report = Report { address: body.address, version: body.version, load: body.load };
    machines::heartbeat(&app, &machine, report).await?;
    Ok(axum::Json(Empty {}))
}
