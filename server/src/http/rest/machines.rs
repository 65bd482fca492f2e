//! `/api/machines/*`: machines of storage nodes.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use cyx_core::enrol::CHALLENGE_LEN;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{KeyId, MachineId};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::{Answer, Empty};
use crate::accounts::enrolment;
use crate::accounts::machines::{self, Description, Report};
use crate::app::AppState;
use crate::auth::{Caller, Machine, bearer};
use crate::error::ApiError;
use crate::http::body::{Base64, Json};
use crate::http::extract::{ClientIp, Path};
use crate::time::{rfc3339, to_seconds};

/// Body of `POST /api/machines/register`.
#[derive(Deserialize)]
pub struct RegisterRequest {
    hostname: String,
    os: String,
    #[serde(default)]
    hardware: serde_json::Value,
    #[serde(default)]
    attempt: Option<String>,
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
    let description =
        Description { hostname: &body.hostname, os: &body.os, hardware: &hardware, attempt: body.attempt.as_deref() };
    let registered = machines::register(&app, bearer(&headers)?, description, ip).await?;
    Ok(axum::Json(RegisterResponse {
        machine_id: registered.machine,
        api_key: registered.api_key,
        access_token: registered.access.token,
        expires_at: registered.access.expires_at,
    }))
}

/// Body of `POST /api/machines/enrolments`.
#[derive(Deserialize)]
pub struct EnrolmentRequest {
    #[serde(default)]
    label: String,
    #[serde(default)]
    expires_in_seconds: Option<u64>,
}

/// Answer of `POST /api/machines/enrolments`.
#[derive(Serialize)]
pub struct EnrolmentResponse {
    token: String,
    fingerprint: KeyId,
    expires_at: u64,
    /// Of this host, where nodes register; absent if a proxy stands in front and has ports of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    node_port: Option<u16>,
}

/// `POST /api/machines/enrolments`
pub async fn create_enrolment(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    caller: Caller,
    Json(body): Json<EnrolmentRequest>,
) -> Result<(StatusCode, axum::Json<EnrolmentResponse>), ApiError> {
    let life = body.expires_in_seconds.map(Duration::from_secs);
    let made = enrolment::create(&app, &caller, &body.label, life, ip).await?;
    let answer = EnrolmentResponse {
        token: made.token.to_string(),
        fingerprint: app.tokens.fingerprint(),
        expires_at: made.expires_at,
        node_port: app.config.node_port(),
    };
    Ok((StatusCode::CREATED, axum::Json(answer)))
}

/// An enrolment token without the token.
#[derive(Serialize)]
pub struct EnrolmentBody {
    label: String,
    created_at: String,
    expires_at: u64,
    machine_id: Option<MachineId>,
}

/// Answer of `GET /api/machines/enrolments`.
#[derive(Serialize)]
pub struct EnrolmentsResponse {
    enrolments: Vec<EnrolmentBody>,
}

/// `GET /api/machines/enrolments`
pub async fn enrolments(State(app): State<AppState>, caller: Caller) -> Answer<EnrolmentsResponse> {
    let listed = enrolment::list(&app, caller.account).await?;
    let body = |listed: enrolment::Listed| EnrolmentBody {
        label: listed.label,
        created_at: rfc3339(listed.created_ns),
        expires_at: to_seconds(listed.expires_ns),
        machine_id: listed.machine,
    };
    Ok(axum::Json(EnrolmentsResponse { enrolments: listed.into_iter().map(body).collect() }))
}

/// What a machine asks a server to sign.
#[derive(Deserialize)]
pub struct ChallengeRequest {
    challenge: String,
}

/// Answer of `GET /api/machines/server-key`.
#[derive(Serialize)]
pub struct ServerKeyResponse {
    fingerprint: KeyId,
    public_key: Base64,
    signature: Base64,
}

/// `GET /api/machines/server-key?challenge=…`: shows a machine who the server is, before it sends its enrolment token.
pub async fn server_key(
    State(app): State<AppState>,
    request: Result<Query<ChallengeRequest>, QueryRejection>,
) -> Answer<ServerKeyResponse> {
    let mut challenge = [0; CHALLENGE_LEN];
    let read = request.ok().and_then(|Query(asked)| hex::decode_to_slice(&asked.challenge, &mut challenge).ok());
    if read.is_none() {
        return Err(ApiError::invalid(format!("challenge is {} hexadecimal digits", 2 * CHALLENGE_LEN)));
    }
    Ok(axum::Json(ServerKeyResponse {
        fingerprint: app.tokens.fingerprint(),
        public_key: app.tokens.identity_key().to_vec().into(),
        signature: app.tokens.answer_challenge(&challenge).to_vec().into(),
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
