//! `/api/v1/admin/nodes/{node}/drain` and `/api/v1/nodes/{node}/exit`: nodes that are emptied, by administrators or by their operators.

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cyx_core::ids::NodeId;
use serde::{Deserialize, Serialize};

use super::{Answer, node_id};
use crate::app::AppState;
use crate::audit_log::{self, Action, Actor, Event};
use crate::auth::Caller;
use crate::db::DbError;
use crate::error::ApiError;
use crate::http::body::Json;
use crate::http::extract::{ClientIp, Path};
use crate::nodes::Leaving;
use crate::repair::leave::{self, Progress};
use crate::time::now_ns;

/// How far a node is.
#[derive(Serialize)]
pub struct LeavingBody {
    node_id: NodeId,
    /// `none`, `draining`, `exiting` or `exited`.
    leaving: &'static str,
    chunks_left: u64,
    bytes_left: u64,
    chunks_moved: u64,
    bytes_moved: u64,
    /// The server's signed word that the node has exited, in base64.
    receipt: Option<String>,
}

impl LeavingBody {
    fn new(node_id: NodeId, progress: Progress) -> Self {
        let receipt = Some(progress.receipt).filter(|receipt| !receipt.is_empty());
        Self {
            node_id,
            leaving: progress.leaving.as_str(),
            chunks_left: progress.chunks_left,
            bytes_left: progress.bytes_left,
            chunks_moved: progress.chunks_moved,
            bytes_moved: progress.bytes_moved,
            receipt: receipt.map(|receipt| STANDARD.encode(receipt)),
        }
    }
}

/// Body of `PUT /api/v1/admin/nodes/{node}/drain`.
#[derive(Deserialize)]
pub struct DrainRequest {
    drain: bool,
}

/// `PUT /api/v1/admin/nodes/{node}/drain`
pub async fn drain(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Path(node): Path<String>,
    caller: Caller,
    Json(body): Json<DrainRequest>,
) -> Answer<LeavingBody> {
    let node = node_id(&node)?;
    let leaving = if body.drain { Leaving::Draining } else { Leaving::None };
    let progress = leave::set(&app, node, leaving, now_ns()).await?;
    note(&app, Actor::Admin, &caller, node, leaving, ip).await?;
    Ok(axum::Json(LeavingBody::new(node, progress)))
}

/// `GET /api/v1/admin/nodes/{node}/drain`
pub async fn drained(State(app): State<AppState>, Path(node): Path<String>) -> Answer<LeavingBody> {
    let node = node_id(&node)?;
    Ok(axum::Json(LeavingBody::new(node, leave::progress(&app, node).await?)))
}

/// Body of `PUT /api/v1/nodes/{node}/exit`.
#[derive(Deserialize)]
pub struct ExitRequest {
    exit: bool,
}

/// `PUT /api/v1/nodes/{node}/exit`
pub async fn exit(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Path(node): Path<String>,
    caller: Caller,
    Json(body): Json<ExitRequest>,
) -> Answer<LeavingBody> {
    let node = own(&app, &caller, &node)?;
    let progress = if body.exit {
        leave::set(&app, node, Leaving::Exiting, now_ns()).await?
    } else {
        leave::cancel_exit(&app, node, now_ns()).await?
    };
    note(&app, Actor::Owner, &caller, node, progress.leaving, ip).await?;
    Ok(axum::Json(LeavingBody::new(node, progress)))
}

/// `GET /api/v1/nodes/{node}/exit`
pub async fn exited(State(app): State<AppState>, Path(node): Path<String>, caller: Caller) -> Answer<LeavingBody> {
    let node = own(&app, &caller, &node)?;
    Ok(axum::Json(LeavingBody::new(node, leave::progress(&app, node).await?)))
}

/// A node of the caller's. Those of others do not exist as far as the caller is concerned.
fn own(app: &AppState, caller: &Caller, node: &str) -> Result<NodeId, ApiError> {
    let node = node_id(node)?;
    let record = app.network.registry.get(node).filter(|record| record.operator == caller.account);
    record.map(|record| record.id).ok_or_else(|| ApiError::not_found("you have no such node"))
}

async fn note(
    app: &AppState,
    actor: Actor,
    caller: &Caller,
    node: NodeId,
    leaving: Leaving,
    ip: std::net::IpAddr,
) -> Result<(), ApiError> {
    let account = caller.account;
    app.db
        .write(move |conn| {
            Box::pin(async move {
                let event = Event::new(Some(account), actor, Action::NodeLeaving, Some(ip));
                let what = format!("{node} {}", leaving.as_str());
                audit_log::record(conn, event.with(what)).await?;
                Ok::<_, DbError>(())
            })
        })
        .await?;
    Ok(())
}
