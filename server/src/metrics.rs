//! Metrics for Prometheus. Names begin with `cyx_`; `docs/operations-server.md` lists them.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::audits::probe::Outcome;
use crate::audits::rows::FAILURES;

/// Bounds of the histograms in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

fn handle() -> Option<&'static PrometheusHandle> {
    let install = || {
        let builder = PrometheusBuilder::new().set_buckets(&SECONDS).ok()?;
        // Only fails if another recorder is there already, which then gets everything.
        builder.install_recorder().ok()
    };
    HANDLE.get_or_init(install).as_ref()
}

/// Begins to collect. Further calls change nothing.
pub fn install() {
    let _ = handle();
    metrics::describe_counter!("cyx_requests_total", "Requests, by path, method and HTTP status");
    metrics::describe_histogram!("cyx_request_seconds", "Time until the answer's head was ready, by path");
    metrics::describe_counter!("cyx_mails_total", "Letters that were accepted by the mail server or the outbox");
    metrics::describe_counter!("cyx_mail_failures_total", "Failed attempts to send a letter");
    metrics::describe_counter!(
        "cyx_refresh_token_reuses_total",
        "Sessions ended because an old refresh token was used"
    );
    metrics::describe_counter!("cyx_db_jobs_total", "Jobs that the database writer did");
    metrics::describe_gauge!("cyx_nodes", "Storage nodes, by state");
    metrics::describe_gauge!("cyx_placement_nodes", "Nodes on which shards of one new segment may lie together");
    metrics::describe_gauge!("cyx_nodes_available_bytes", "Bytes that living nodes can still take");
    metrics::describe_gauge!(
        "cyx_repair_queue",
        "Shards that are queued: lost, on nodes that are lost or leave, or to be moved"
    );
    metrics::describe_gauge!("cyx_repair_due", "Queued shards about which something is to be done now");
    metrics::describe_gauge!(
        "cyx_repair_unreadable",
        "Queued segments of which too few shards can be reached to read them"
    );
    metrics::describe_gauge!("cyx_repair_oldest_seconds", "For how long the oldest lost shard has been due");
    metrics::describe_gauge!("cyx_repair_tasks", "Repairs and moves under way");
    metrics::describe_counter!(
        "cyx_repair_tasks_total",
        "Tasks that nodes reported, by kind and by what became of them"
    );
    metrics::describe_counter!("cyx_repaired_bytes_total", "Bytes of chunks that were made anew or moved, by kind");
    metrics::describe_counter!(
        "cyx_repair_source_failures_total",
        "Sources of tasks that did not do, by reason, as their readers say"
    );
    metrics::describe_counter!("cyx_node_clock_skew_total", "Heartbeats of nodes whose clock differs by minutes");
    metrics::describe_counter!("cyx_audits_total", "Slices that nodes were asked to prove, by what became of it");
    metrics::describe_counter!("cyx_audits_confirmed_total", "Failed audits that failed again, by how");
    metrics::describe_counter!("cyx_audit_missing_shards_total", "Shards that count as missing because of audits");
    metrics::describe_counter!("cyx_audit_rounds_total", "Rounds of audits");
    metrics::describe_counter!("cyx_audit_rounds_void_total", "Rounds in which most nodes did not answer");
    metrics::describe_gauge!("cyx_audit_rechecks", "Failed audits that wait to be asked once more");
    metrics::describe_gauge!("cyx_audit_round_seconds", "How long the newest round of audits took");
    metrics::describe_gauge!("cyx_nodes_standing", "Storage nodes, by what follows from their audits");
    begin_counting();
    metrics::describe_counter!("cyx_wal_shipped_bytes_total", "Bytes of the database's log that were shipped");
    metrics::describe_gauge!("cyx_wal_shipped_at_seconds", "Unix time at which everything committed was shipped");
    metrics::describe_counter!("cyx_orders_total", "Orders that nodes handed in, by what became of them");
    metrics::describe_counter!("cyx_traffic_settled_bytes_total", "Bytes that counted orders added");
    metrics::describe_counter!("cyx_ledger_epochs_closed_total", "Epochs of the ledger that were closed");
    metrics::describe_counter!("cyx_db_commits_total", "Durable commits of the database writer");
}

/// What is counted by its kind is there from the start: a rate that begins with the first event misses it.
fn begin_counting() {
    for kind in ["rebuild", "copy"] {
        metrics::counter!("cyx_repair_tasks_total", "kind" => kind, "result" => "done").increment(0);
        metrics::counter!("cyx_repaired_bytes_total", "kind" => kind).increment(0);
    }
    metrics::counter!("cyx_traffic_settled_bytes_total").increment(0);
    metrics::counter!("cyx_mails_total").increment(0);
    metrics::counter!("cyx_mail_failures_total").increment(0);
    for outcome in Outcome::ALL {
        metrics::counter!("cyx_audits_total", "outcome" => outcome.as_str()).increment(0);
    }
    for outcome in FAILURES {
        metrics::counter!("cyx_audits_confirmed_total", "outcome" => outcome.as_str()).increment(0);
    }
    metrics::counter!("cyx_audit_missing_shards_total").increment(0);
    metrics::counter!("cyx_audit_rounds_total").increment(0);
    metrics::counter!("cyx_audit_rounds_void_total").increment(0);
    metrics::gauge!("cyx_audit_rechecks").increment(0.0);
    metrics::gauge!("cyx_audit_round_seconds").increment(0.0);
}

/// Everything that was collected, as text.
#[must_use]
pub fn render() -> String {
    handle().map(PrometheusHandle::render).unwrap_or_default()
}

/// Merges samples of histograms; call it now and then.
pub fn upkeep() {
    if let Some(handle) = handle() {
        handle.run_upkeep();
    }
}
