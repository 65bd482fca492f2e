//! `/api/v1/admin/nodes/{node}/reinstate`: how a disqualified node comes back.

use axum::extract::State;
use cyx_core::ids::NodeId;
use serde::Serialize;

use super::node_id;
use crate::app::AppState;
use crate::audits::appeal;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::http::extract::{ClientIp, Path};
use crate::nodes::registry::SCORE_FULL;

/// Answer of `POST /api/v1/admin/nodes/{node}/reinstate`.
#[derive(Serialize)]
pub struct ReinstateResponse {
    node_id: NodeId,
    /// Slices that it proved.
    proven: usize,
    standing: &'static str,
    /// From 0 to 1.
    audit_score: f64,
}

/// `POST /api/v1/admin/nodes/{node}/reinstate`
pub async fn reinstate(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Path(node): Path<String>,
    caller: Caller,
) -> Result<axum::Json<ReinstateResponse>, ApiError> {
    let node = node_id(&node)?;
    let done = appeal::reinstate(&app, node, caller.account, ip).await?;
    Ok(axum::Json(ReinstateResponse {
        node_id: node,
        proven: done.proven,
        standing: done.standing.as_str(),
        audit_score: f64::from(done.score) / f64::from(SCORE_FULL),
    }))
}
