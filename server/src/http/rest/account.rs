//! `/api/identity`, `/api/v1/quota`, `/api/v1/buckets`, `/api/v1/nodes`: what belongs to the caller, and the network.

use axum::extract::State;
use cyx_core::ids::AccountId;
use serde::Serialize;

use super::unsigned;
use crate::accounts::identity;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::placement::cluster::NodeView;
use crate::time::rfc3339;

type Answer<T> = Result<axum::Json<T>, ApiError>;

/// An account as its owner sees it.
#[derive(Serialize)]
pub struct AccountBody {
    id: AccountId,
    username: String,
    email: String,
    plan: String,
    role: String,
    permissions: Vec<String>,
    quota: QuotaBody,
    created_at: String,
}

/// Space of an account.
#[derive(Serialize)]
pub struct QuotaBody {
    limit_bytes: u64,
    used_bytes: u64,
}

/// The caller's account.
pub(super) async fn account_body(app: &App, caller: &Caller) -> Result<AccountBody, ApiError> {
    let profile = identity::profile(app, caller.account).await?;
    Ok(AccountBody {
        id: profile.id,
        username: profile.username,
        email: profile.email,
        plan: profile.plan,
        role: profile.role,
        permissions: caller.permissions.clone(),
        quota: QuotaBody { limit_bytes: unsigned(profile.limit_bytes), used_bytes: unsigned(profile.used_bytes) },
        created_at: rfc3339(profile.created_ns),
    })
}

/// `GET /api/identity`
pub async fn identity(State(app): State<AppState>, caller: Caller) -> Answer<AccountBody> {
    Ok(axum::Json(account_body(&app, &caller).await?))
}

/// Answer of `GET /api/v1/nodes`.
#[derive(Serialize)]
pub struct NodesResponse {
    nodes: Vec<NodeView>,
}

/// `GET /api/v1/nodes`
pub async fn nodes(State(app): State<AppState>, _caller: Caller) -> Answer<NodesResponse> {
    Ok(axum::Json(NodesResponse { nodes: app.network.placements.node_views() }))
}
