//! `/api/auth/sessions`: the caller's devices.

use axum::extract::{Query, State};
use cyx_core::ids::SessionId;
use serde::{Deserialize, Serialize};

use super::{Answer, Empty};
use crate::accounts::devices;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::http::extract::{ClientIp, Path};
use crate::time::rfc3339;

/// A logged-in device.
#[derive(Serialize)]
pub struct DeviceBody {
    id: SessionId,
    device_name: String,
    created_at: String,
    last_used_at: String,
    address: String,
    current: bool,
}

/// Answer of `GET /api/auth/sessions`.
#[derive(Serialize)]
pub struct DevicesResponse {
    sessions: Vec<DeviceBody>,
}

/// `GET /api/auth/sessions`
pub async fn list(State(app): State<AppState>, caller: Caller) -> Answer<DevicesResponse> {
    let devices = devices::list(&app, caller.account).await?;
    let sessions = devices.into_iter().map(|device| DeviceBody {
        id: device.session,
        device_name: device.name,
        created_at: rfc3339(device.created_ns),
        last_used_at: rfc3339(device.last_used_ns),
        address: device.address,
        current: device.session == caller.session,
    });
    Ok(axum::Json(DevicesResponse { sessions: sessions.collect() }))
}

/// `DELETE /api/auth/sessions/{id}`
pub async fn end(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Path(id): Path<String>,
    caller: Caller,
) -> Answer<Empty> {
    let session = id.parse().map_err(|_| ApiError::not_found("there is no such session"))?;
    devices::end(&app, &caller, session, ip).await?;
    Ok(axum::Json(Empty {}))
}

/// Parameters of `DELETE /api/auth/sessions`.
#[derive(Deserialize)]
pub struct EndAll {
    #[serde(default)]
    keep_current: bool,
}

/// Answer of `DELETE /api/auth/sessions`.
#[derive(Serialize)]
pub struct RevokedResponse {
    revoked: u64,
}

/// `DELETE /api/auth/sessions`
pub async fn end_all(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    parameters: Result<Query<EndAll>, axum::extract::rejection::QueryRejection>,
    caller: Caller,
) -> Answer<RevokedResponse> {
    let Query(parameters) = parameters.map_err(|_| ApiError::invalid("keep_current is true or false"))?;
    let revoked = devices::end_others(&app, &caller, parameters.keep_current, ip).await?;
    Ok(axum::Json(RevokedResponse { revoked }))
}
