//! `/api/v1/admin/nodes`: the storage nodes, as those see them who run the server.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use cyx_core::ids::{AccountId, NodeId};
use serde::{Deserialize, Serialize};

use super::{Answer, node_id};
use crate::admin;
use crate::app::{App, AppState};
use crate::audits::Standing;
use crate::error::ApiError;
use crate::nodes::registry::SCORE_FULL;
use crate::nodes::summary::Audits;
use crate::nodes::{Leaving, NodeRecord, inspect};
use crate::placement::cluster::NodeView;
use crate::repair::leave;
use crate::time::{now_seconds, rfc3339};

/// Nodes of a page if nothing else is said, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 500;
/// Longest region and name that are looked for.
const WORD_MAX: usize = 256;
const STATES: [&str; 5] = ["online", "suspect", "offline", "lost", "read-only"];

/// How far a node is that is emptied.
#[derive(Serialize)]
pub struct LeavingProgress {
    since: String,
    chunks_left: u64,
    bytes_left: u64,
    chunks_moved: u64,
    bytes_moved: u64,
}

/// A node, as administrators see it.
#[derive(Serialize)]
pub struct AdminNodeBody {
    #[serde(flatten)]
    node: NodeView,
    owner: Option<String>,
    operator: AccountId,
    machine_id: String,
    hostname: String,
    os: String,
    hardware: serde_json::Value,
    registered_at: String,
    /// From 0 to 1: how well it serves.
    score: f64,
    chunks: u64,
    damaged_chunks: u64,
    trash_bytes: u64,
    /// Why it stores nothing; empty if it does.
    read_only_reason: String,
    audits: Option<Audits>,
    standing_since: Option<String>,
    last_audit: Option<String>,
    last_audit_outcome: Option<String>,
    held_micros: u64,
    payout_address: String,
    traffic_month_bytes: u64,
    repairs_queued: u64,
    leaving_progress: Option<LeavingProgress>,
}

/// Which nodes.
#[derive(Deserialize)]
pub struct AdminNodesRequest {
    state: Option<String>,
    standing: Option<String>,
    leaving: Option<String>,
    owner: Option<String>,
    region: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// Answer of `GET /api/v1/admin/nodes`.
#[derive(Serialize)]
pub struct AdminNodesResponse {
    nodes: Vec<AdminNodeBody>,
    next: Option<NodeId>,
}

/// `GET /api/v1/admin/nodes`
pub async fn all(
    State(app): State<AppState>,
    request: Result<Query<AdminNodesRequest>, QueryRejection>,
) -> Answer<AdminNodesResponse> {
    let Query(request) = request.map_err(|_| {
        ApiError::invalid("the parameters are state, standing, leaving, owner, region, after and limit, a number")
    })?;
    let limit = request.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(ApiError::invalid(format!("limit is from 1 to {PAGE_MAX}")));
    }
    let after: Option<NodeId> = request.after.as_deref().map(node_id).transpose()?;
    let filter = Filter::of(&app, &request).await?;
    let registry = &app.network.registry;
    // One more, to see whether there is a next page.
    let behind = |node: &NodeRecord| after.is_none_or(|after| node.id > after) && filter.fits(node);
    let mut found: Vec<NodeRecord> = registry.all().into_iter().filter(behind).take(limit + 1).collect();
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|node| node.id);
    let mut nodes = Vec::with_capacity(found.len());
    for node in found {
        // A node that another server has just registered comes a moment later.
        nodes.extend(body(&app, node).await?);
    }
    Ok(axum::Json(AdminNodesResponse { nodes, next }))
}

/// `GET /api/v1/admin/nodes/{node}`
pub async fn one(State(app): State<AppState>, Path(node): Path<String>) -> Answer<AdminNodeBody> {
    let absent = || ApiError::not_found("there is no such node");
    let record = app.network.registry.get(node_id(&node)?).ok_or_else(absent)?;
    Ok(axum::Json(body(&app, record).await?.ok_or_else(absent)?))
}

async fn body(app: &App, node: NodeRecord) -> Result<Option<AdminNodeBody>, ApiError> {
    let mut read = app.db.read().await?;
    let Some(detail) = inspect::detail(&mut read, node.id, now_seconds()).await? else { return Ok(None) };
    drop(read);
    let leaving_progress = match node.leaving {
        Leaving::None => None,
        _ => {
            let progress = leave::progress(app, node.id).await?;
            Some(LeavingProgress {
                since: rfc3339(detail.leaving_ns),
                chunks_left: progress.chunks_left,
                bytes_left: progress.bytes_left,
                chunks_moved: progress.chunks_moved,
                bytes_moved: progress.bytes_moved,
            })
        }
    };
    let when = |ns: i64| (ns != 0).then(|| rfc3339(ns));
    Ok(Some(AdminNodeBody {
        owner: detail.owner,
        operator: detail.operator,
        machine_id: detail.machine,
        hostname: detail.hostname,
        os: detail.os,
        hardware: serde_json::from_str(&detail.hardware).unwrap_or_default(),
        registered_at: rfc3339(node.registered_ns),
        score: f64::from(node.score) / f64::from(SCORE_FULL),
        chunks: node.report.chunks,
        damaged_chunks: node.report.damaged,
        trash_bytes: node.report.trash,
        read_only_reason: node.report.read_only.clone(),
        audits: detail.audits,
        standing_since: when(detail.standing_ns),
        last_audit: when(detail.last_audit_ns),
        last_audit_outcome: Some(detail.last_audit_outcome).filter(|outcome| !outcome.is_empty()),
        held_micros: detail.held_micros,
        payout_address: detail.payout_address,
        traffic_month_bytes: detail.traffic_month_bytes,
        repairs_queued: detail.queued,
        leaving_progress,
        node: NodeView::from(node),
    }))
}

/// Which nodes are wanted.
struct Filter {
    state: Option<String>,
    standing: Option<Standing>,
    leaving: Option<Leaving>,
    operator: Option<AccountId>,
    region: Option<String>,
}

impl Filter {
    async fn of(app: &App, request: &AdminNodesRequest) -> Result<Self, ApiError> {
        let words = |words: &[&str]| ApiError::invalid(format!("the words are {}", words.join(", ")));
        let state = request.state.clone();
        if state.as_deref().is_some_and(|state| !STATES.contains(&state)) {
            return Err(words(&STATES));
        }
        let standings = Standing::ALL.map(Standing::as_str);
        let standing = request.standing.as_deref().map(|word| {
            let found = Standing::ALL.into_iter().find(|standing| standing.as_str() == word);
            found.ok_or_else(|| words(&standings))
        });
        let ways = [Leaving::None, Leaving::Draining, Leaving::Exiting, Leaving::Exited];
        let leaving = request.leaving.as_deref().map(|word| {
            let found = ways.into_iter().find(|leaving| leaving.as_str() == word);
            found.ok_or_else(|| words(&ways.map(Leaving::as_str)))
        });
        if [&request.owner, &request.region].into_iter().flatten().any(|word| word.len() > WORD_MAX) {
            return Err(ApiError::invalid(format!("owner and region have at most {WORD_MAX} bytes")));
        }
        let operator = match &request.owner {
            Some(who) => Some(admin::user(app, who).await?.id),
            None => None,
        };
        let region = request.region.clone();
        Ok(Self { state, standing: standing.transpose()?, leaving: leaving.transpose()?, operator, region })
    }

    fn fits(&self, node: &NodeRecord) -> bool {
        self.state.as_deref().is_none_or(|state| node.status() == state)
            && self.standing.is_none_or(|standing| node.standing == standing)
            && self.leaving.is_none_or(|leaving| node.leaving == leaving)
            && self.operator.is_none_or(|operator| node.operator == operator)
            && self.region.as_deref().is_none_or(|region| node.region == region)
    }
}
