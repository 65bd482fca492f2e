//! `/api/v1/nodes/*`: the network, an operator's own nodes, and what they earn.

use std::collections::{BTreeMap, HashMap};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use cyx_core::earnings::{Rates, Work};
use cyx_core::ids::{GrantId, NodeId};
use cyx_core::units::NODE_RESERVATION;
use serde::{Deserialize, Serialize};

use super::{Answer, node_id};
use crate::accounts::role::Role;
use crate::app::{App, AppState};
use crate::auth::{Caller, Member};
use crate::db::Conn;
use crate::error::ApiError;
use crate::http::body::Base64;
use crate::http::extract::Path;
use crate::ledger::epoch::Epoch;
use crate::ledger::view::{self, ORDERS_MAX, OrderLine, PeriodLine, Statement};
use crate::nodes::NodeRecord;
use crate::nodes::summary::{self, Audits, Own, StorageSummary};
use crate::placement::cluster::NodeView;
use crate::time::{now_seconds, rfc3339};

/// Nodes of a page if nothing else is said, and at most.
const NODES: usize = 1000;
/// Epochs of a page if nothing else is said.
const EPOCHS: i64 = 60;

/// Answer of `GET /api/v1/nodes`.
#[derive(Serialize)]
pub struct NodesResponse {
    nodes: Vec<NodeView>,
    /// To be given as `after` for the next ones.
    next: Option<String>,
    /// Of all nodes, not only those of the page.
    summary: StorageSummary,
    /// What the reserve of every node is for.
    reservation: BTreeMap<&'static str, u64>,
}

/// Which nodes.
#[derive(Deserialize)]
pub struct NodesRequest {
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/nodes`
pub async fn all(
    State(app): State<AppState>,
    request: Result<Query<NodesRequest>, QueryRejection>,
    _caller: Member,
) -> Answer<NodesResponse> {
    let Query(request) = request.map_err(|_| ApiError::invalid("limit is a number"))?;
    let limit = request.limit.unwrap_or(NODES);
    if !(1..=NODES).contains(&limit) {
        return Err(ApiError::invalid(format!("limit is from 1 to {NODES}")));
    }
    let after = request.after.as_deref().map(node_id).transpose()?;
    let behind = |node: &NodeRecord| after.is_none_or(|after| node.id > after);
    let found = app.network.registry.all().into_iter().filter(behind);
    let mut nodes: Vec<NodeView> = found.take(limit + 1).map(NodeView::from).collect();
    let more = nodes.len() > limit;
    nodes.truncate(limit);
    let next = nodes.last().filter(|_| more).map(|node| node.node_id.clone());
    let summary = summary::storage(&mut *app.db.read().await?).await?;
    let reservation = NODE_RESERVATION.into_iter().collect();
    Ok(axum::Json(NodesResponse { nodes, next, summary, reservation }))
}

/// A node, as its operator sees it.
#[derive(Serialize)]
pub struct OwnNodeBody {
    #[serde(flatten)]
    node: NodeView,
    machine_id: String,
    hostname: String,
    os: String,
    hardware: serde_json::Value,
    payout_address: String,
    traffic_month_bytes: u64,
    audits: Option<Audits>,
}

/// Answer of `GET /api/v1/nodes/own`.
#[derive(Serialize)]
pub struct OwnNodesResponse {
    nodes: Vec<OwnNodeBody>,
}

/// `GET /api/v1/nodes/own`
pub async fn own(State(app): State<AppState>, caller: Caller) -> Answer<OwnNodesResponse> {
    let own = summary::own(&mut *app.db.read().await?, caller.account, now_seconds()).await?;
    let views = app.network.placements.node_views().into_iter();
    let mut views: HashMap<String, NodeView> = views.map(|view| (view.node_id.clone(), view)).collect();
    // A node that this server has not read from the database yet comes a moment later.
    let nodes = own.into_iter().filter_map(|own| Some(own_body(views.remove(&own.node.to_string())?, own))).collect();
    Ok(axum::Json(OwnNodesResponse { nodes }))
}

fn own_body(node: NodeView, own: Own) -> OwnNodeBody {
    OwnNodeBody {
        node,
        machine_id: own.machine,
        hostname: own.hostname,
        os: own.os,
        hardware: serde_json::from_str(&own.hardware).unwrap_or_default(),
        payout_address: own.payout_address,
        traffic_month_bytes: own.traffic_month_bytes,
        audits: own.audits,
    }
}

/// An epoch, and what is paid in it.
#[derive(Serialize)]
pub struct EpochBody {
    epoch: i64,
    begins: u64,
    ends: u64,
    /// Micros for 10⁹ bytes kept for 30 days.
    storage_rate: u64,
    /// Micros for 10⁹ bytes moved.
    traffic_rate: u64,
    hold_percent: u64,
}

impl From<Epoch> for EpochBody {
    fn from(epoch: Epoch) -> Self {
        let Epoch { id, begins, ends, rates: Rates { storage, traffic }, hold_percent, .. } = epoch;
        Self { epoch: id, begins, ends, storage_rate: storage, traffic_rate: traffic, hold_percent }
    }
}

/// What an epoch came to.
#[derive(Serialize)]
pub struct StatementBody {
    #[serde(flatten)]
    epoch: EpochBody,
    /// Decimal numbers, because they may have more digits than a number in JSON.
    user_byte_seconds: String,
    reserved_byte_seconds: String,
    traffic_bytes: u64,
    storage_micros: u64,
    traffic_micros: u64,
    operator_micros: u64,
    platform_micros: u64,
    held_micros: u64,
    paid_at: Option<String>,
}

impl StatementBody {
    fn new(epoch: Epoch, work: Work, held: u64, settled_ns: i64) -> Self {
        let pay = work.pay(epoch.rates);
        Self {
            epoch: epoch.into(),
            user_byte_seconds: work.user_byte_seconds.to_string(),
            reserved_byte_seconds: work.reserved_byte_seconds.to_string(),
            traffic_bytes: work.traffic_bytes,
            storage_micros: pay.storage,
            traffic_micros: pay.traffic,
            operator_micros: pay.operator,
            platform_micros: pay.platform,
            held_micros: held,
            paid_at: (settled_ns != 0).then(|| rfc3339(settled_ns)),
        }
    }
}

impl From<Statement> for StatementBody {
    fn from(statement: Statement) -> Self {
        Self::new(statement.epoch, statement.work, statement.held, statement.settled_ns)
    }
}

/// Which epochs.
#[derive(Deserialize)]
pub struct EarningsRequest {
    before: Option<i64>,
    limit: Option<i64>,
}

/// Answer of `GET /api/v1/nodes/{id}/earnings`.
#[derive(Serialize)]
pub struct EarningsResponse {
    node_id: NodeId,
    /// What is held of the node until it has left in order.
    held_micros: u64,
    /// The open epoch so far.
    open: StatementBody,
    /// Closed epochs, the newest first.
    epochs: Vec<StatementBody>,
}

/// `GET /api/v1/nodes/{id}/earnings`
pub async fn earnings(
    State(app): State<AppState>,
    Path(node): Path<String>,
    request: Result<Query<EarningsRequest>, QueryRejection>,
    caller: Caller,
) -> Answer<EarningsResponse> {
    let Query(request) = request.map_err(|_| ApiError::invalid("before and limit are numbers"))?;
    let (node, mut tx) = owned(&app, &caller, &node).await?;
    let before = request.before.unwrap_or(i64::MAX);
    let statements = view::statements(&mut tx, node, before, request.limit.unwrap_or(EPOCHS)).await?;
    let (epoch, work) = view::so_far(&mut tx, node).await?;
    let held_so_far = cyx_core::earnings::held(work.pay(epoch.rates).operator, epoch.hold_percent);
    Ok(axum::Json(EarningsResponse {
        node_id: node,
        held_micros: view::held(&mut tx, node).await?,
        open: StatementBody::new(epoch, work, held_so_far, 0),
        epochs: statements.into_iter().map(StatementBody::from).collect(),
    }))
}

/// Behind which grant.
#[derive(Deserialize)]
pub struct LinesRequest {
    after: Option<String>,
}

/// A part of an epoch.
#[derive(Serialize)]
pub struct PeriodBody {
    begins: u64,
    ends: u64,
    shards: u64,
    bytes: u64,
    byte_seconds: u64,
    reserved_seconds: u64,
}

impl From<PeriodLine> for PeriodBody {
    fn from(line: PeriodLine) -> Self {
        let PeriodLine { begins, ends, shards, bytes, byte_seconds, reserved_seconds } = line;
        Self { begins, ends, shards, bytes, byte_seconds, reserved_seconds }
    }
}

/// An order that is paid.
#[derive(Serialize)]
pub struct OrderBody {
    grant: GrantId,
    session_key: Base64,
    allowance: u64,
    paid_before: u64,
    traffic: u64,
    order: Base64,
}

impl From<OrderLine> for OrderBody {
    fn from(line: OrderLine) -> Self {
        Self {
            grant: line.grant,
            session_key: line.session_key.to_vec().into(),
            allowance: line.allowance,
            paid_before: line.paid_before,
            traffic: line.traffic,
            order: line.content.into(),
        }
    }
}

/// Answer of `GET /api/v1/nodes/{id}/earnings/{epoch}`.
#[derive(Serialize)]
pub struct LinesResponse {
    #[serde(flatten)]
    epoch: EpochBody,
    node_id: NodeId,
    /// All of them, with the first page of orders only.
    periods: Vec<PeriodBody>,
    orders: Vec<OrderBody>,
    /// To be given as `after` for the next orders.
    next: Option<GrantId>,
}

/// `GET /api/v1/nodes/{id}/earnings/{epoch}`: the facts of an epoch, kept for 90 days after its end.
pub async fn lines(
    State(app): State<AppState>,
    Path((node, epoch)): Path<(String, String)>,
    request: Result<Query<LinesRequest>, QueryRejection>,
    caller: Caller,
) -> Answer<LinesResponse> {
    let absent = || ApiError::not_found("there is no such epoch");
    let (node, mut tx) = owned(&app, &caller, &node).await?;
    let epoch = view::epoch(&mut tx, epoch.parse().map_err(|_| absent())?).await?.ok_or_else(absent)?;
    let after = request.ok().and_then(|Query(request)| request.after);
    let after: Option<GrantId> =
        after.map(|after| after.parse()).transpose().map_err(|_| ApiError::invalid("after is the id of a grant"))?;
    let periods = if after.is_none() { view::periods(&mut tx, node, epoch.id).await? } else { Vec::new() };
    let orders = view::orders(&mut tx, node, epoch.id, after).await?;
    let is_full = i64::try_from(orders.len()).is_ok_and(|count| count >= ORDERS_MAX);
    Ok(axum::Json(LinesResponse {
        epoch: epoch.into(),
        node_id: node,
        next: orders.last().filter(|_| is_full).map(|line| line.grant),
        periods: periods.into_iter().map(PeriodBody::from).collect(),
        orders: orders.into_iter().map(OrderBody::from).collect(),
    }))
}

/// A node that is the caller's, or any for an administrator, and a snapshot. Somebody else's is as absent as one that does not exist.
async fn owned(app: &App, caller: &Caller, node: &str) -> Result<(NodeId, crate::db::ReadTx), ApiError> {
    let absent = || ApiError::not_found("you have no such node");
    let node: NodeId = node.parse().map_err(|_| absent())?;
    let mut tx = app.db.read().await?;
    let conn: &mut Conn = &mut tx;
    match view::operator_of(conn, node).await? {
        Some(operator) if operator == caller.account || caller.role == Role::Admin => Ok((node, tx)),
        _ => Err(absent()),
    }
}
