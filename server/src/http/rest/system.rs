//! `/health`, `/version`, `/metrics`, `/openapi.json`: about the server itself.

use axum::extract::State;
use axum::response::IntoResponse;
use cyx_core::error::ErrorCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use crate::app::AppState;
use crate::error::ApiError;

/// The description of the REST part.
pub const OPENAPI: &str = include_str!("../../../../docs/openapi.json");

/// Answer of `GET /health`.
#[derive(Serialize)]
pub struct Health {
    status: &'static str,
}

/// `GET /health`: whether the server can do its work, which needs its database.
pub async fn health(State(app): State<AppState>) -> Result<axum::Json<Health>, ApiError> {
    let unavailable = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "the database does not answer");
        ApiError::new(ErrorCode::Unavailable, "the database does not answer")
    };
    let mut tx = app.db.read().await.map_err(|error| unavailable(&error))?;
    let asked = sqlx::query("SELECT 1").execute(&mut *tx).await;
    asked.map_err(|error| unavailable(&error))?;
    Ok(axum::Json(Health { status: "ok" }))
}

/// Answer of `GET /version`.
#[derive(Serialize)]
pub struct Version {
    name: &'static str,
    version: &'static str,
}

/// `GET /version`
pub async fn version() -> axum::Json<Version> {
    axum::Json(Version { name: "cyx-server", version: env!("CARGO_PKG_VERSION") })
}

/// `GET /metrics`, in the text format of Prometheus.
pub async fn metrics() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], crate::metrics::render())
}

/// `GET /openapi.json`
pub async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], OPENAPI)
}
