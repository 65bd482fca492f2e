//! `/health`, `/version`, `/metrics`, and for operators `/status` and `/facts`, on the metrics port.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use cyx_core::units::{NODE_RESERVATION, NODE_RESERVED};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::agent::standing::Standing;
use crate::service::{Node, VERSION};
use crate::store::Health as StoreHealth;

static METRICS: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Seconds of the histogram of syncs.
const FSYNC_BUCKETS: [f64; 10] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];
const BATCH_BUCKETS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0];

/// Begins to count. Once per process, whatever the number of nodes in it; if the process counts elsewhere already, that stays.
pub fn install_metrics() {
    METRICS.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full("cyx_node_fsync_seconds".to_owned()), &FSYNC_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Full("cyx_node_batch_chunks".to_owned()), &BATCH_BUCKETS)
            })
            .ok()?
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).ok()?;
        Some(handle)
    });
}

#[derive(Clone)]
struct Seen {
    node: Arc<Node>,
    standing: Arc<Standing>,
    since: Instant,
}

#[derive(Serialize)]
struct HealthBody {
    status: &'static str,
    node_id: String,
    version: &'static str,
    registered: bool,
    read_only_reason: Option<String>,
    trash_held: bool,
    chunks: u64,
    used_bytes: u64,
    trash_bytes: u64,
    damaged_chunks: u64,
    free_bytes: u64,
}

/// Serves until `shutdown`, then finishes the answers that are under way.
pub async fn serve(
    listener: TcpListener,
    node: Arc<Node>,
    standing: Arc<Standing>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let router = Router::new()
        .route("/health", get(health))
        .route("/version", get(async || Json(serde_json::json!({ "version": VERSION }))))
        .route("/status", get(status))
        .route("/facts", get(facts))
        .route("/metrics", get(render))
        .with_state(Seen { node, standing, since: Instant::now() });
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(shutdown).await {
        tracing::error!(%error, "the metrics port failed");
    }
}

async fn health(State(seen): State<Seen>) -> impl IntoResponse {
    let usage = seen.node.store.usage();
    let (status, code, reason) = match (seen.node.store.health(), seen.standing.trouble()) {
        (StoreHealth::Failed(reason), _) => ("failed", StatusCode::SERVICE_UNAVAILABLE, Some(reason)),
        (StoreHealth::Away(reason), _) => ("unreachable", StatusCode::SERVICE_UNAVAILABLE, Some(reason)),
        (_, Some(trouble)) => (trouble, StatusCode::SERVICE_UNAVAILABLE, None),
        (StoreHealth::Full, None) => ("full", StatusCode::OK, Some("the disk is full".to_owned())),
        (StoreHealth::Writable, None) => ("ok", StatusCode::OK, None),
    };
    let body = HealthBody {
        status,
        node_id: seen.node.identity.id().to_string(),
        version: VERSION,
        registered: seen.standing.is_registered(),
        read_only_reason: reason,
        trash_held: matches!(seen.node.store.held_incarnation(), Ok(Some(_))),
        chunks: usage.chunks,
        used_bytes: usage.used_bytes,
        trash_bytes: usage.trash_bytes,
        damaged_chunks: usage.damaged_chunks,
        free_bytes: usage.free_bytes,
    };
    (code, Json(body))
}

#[derive(Serialize)]
struct StatusBody {
    node_id: String,
    version: &'static str,
    registered: bool,
    uptime_seconds: u64,
    offered_bytes: u64,
    reserved_bytes: u64,
    /// What the reserve is for.
    reservation: BTreeMap<&'static str, u64>,
    allocatable_bytes: u64,
    used_bytes: u64,
    available_bytes: u64,
    trash_bytes: u64,
    chunks: u64,
    damaged_chunks: u64,
    stored_bytes_total: u64,
    served_bytes_total: u64,
    /// Bytes that clients signed for and the server has not counted.
    orders_waiting_bytes: u64,
}

/// What an operator looks at.
async fn status(State(seen): State<Seen>) -> impl IntoResponse {
    let (node, usage) = (&seen.node, seen.node.store.usage());
    Json(StatusBody {
        node_id: node.identity.id().to_string(),
        version: VERSION,
        registered: seen.standing.is_registered(),
        uptime_seconds: seen.since.elapsed().as_secs(),
        offered_bytes: usage.capacity_bytes.saturating_add(NODE_RESERVED),
        reserved_bytes: NODE_RESERVED,
        reservation: NODE_RESERVATION.into_iter().collect(),
        allocatable_bytes: usage.capacity_bytes,
        used_bytes: usage.used_bytes,
        available_bytes: usage.free_bytes,
        trash_bytes: usage.trash_bytes,
        chunks: usage.chunks,
        damaged_chunks: usage.damaged_chunks,
        stored_bytes_total: node.counters.stored(),
        served_bytes_total: node.counters.served(),
        orders_waiting_bytes: node.ledger.orders().waiting_bytes(),
    })
}

#[derive(Deserialize)]
struct Between {
    from: u64,
    to: u64,
}

/// What the node remembers of what it is paid for.
async fn facts(State(seen): State<Seen>, Query(asked): Query<Between>) -> Response {
    match seen.node.ledger.blocking(move |ledger| ledger.facts().between(asked.from, asked.to)).await {
        Ok(hours) => Json(serde_json::json!({ "hours": hours })).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn render(State(seen): State<Seen>) -> impl IntoResponse {
    let usage = seen.node.store.usage();
    #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
    let set = |name: &'static str, value: u64| metrics::gauge!(name).set(value as f64);
    set("cyx_node_chunks", usage.chunks);
    set("cyx_node_used_bytes", usage.used_bytes);
    set("cyx_node_trash_chunks", usage.trash_chunks);
    set("cyx_node_trash_bytes", usage.trash_bytes);
    set("cyx_node_damaged_chunks", usage.damaged_chunks);
    set("cyx_node_free_bytes", usage.free_bytes);
    set("cyx_node_capacity_bytes", usage.capacity_bytes);
    set("cyx_node_read_only", u64::from(seen.node.store.health() != StoreHealth::Writable));
    set("cyx_node_registered", u64::from(seen.standing.is_registered()));
    match METRICS.get() {
        Some(Some(handle)) => {
            handle.run_upkeep();
            (StatusCode::OK, [(CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render())
        }
        _ => {
            let text = "this process counts elsewhere\n".to_owned();
            (StatusCode::NOT_FOUND, [(CONTENT_TYPE, "text/plain")], text)
        }
    }
}
