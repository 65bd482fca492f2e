//! The task that notices silence and writes heartbeats down.
//!
//! Heartbeats change the registry at once and the database in batches: one transaction every few seconds for all nodes that
//! reported meanwhile, none when nobody did.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::registry::{Leaving, NodeRecord, Registry};
use super::rows;
use crate::audits::Standing;
use crate::db::{Backend, Db, DbError};
use crate::keys::ServerKeys;
use crate::placement::choice::{Diversity, capacity};
use crate::time::now_ns;

const SWEEP_EVERY: Duration = Duration::from_millis(500);
const WRITE_EVERY: Duration = Duration::from_secs(10);
const REWARD_EVERY: Duration = Duration::from_secs(3600);
/// How often a server looks for what others wrote: its siblings, or on an embedded database a command of its administrator.
const MERGE_EVERY: Duration = Duration::from_secs(5);
/// How often it is counted how many nodes a placement can have.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// Watches until it is to stop, then writes down what is left. `diversity` is that of placements.
pub async fn watch(db: Db, keys: Arc<ServerKeys>, registry: Registry, diversity: Diversity, stop: CancellationToken) {
    let mut tick = tokio::time::interval(SWEEP_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (write_every, merge_every) = exchange(db.backend(), registry.patience().suspect);
    let (mut written, mut rewarded, mut merged) = (Instant::now(), Instant::now(), Instant::now());
    let mut counted: Option<Instant> = None;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => {
                write_down(&db, &registry).await;
                return;
            }
        }
        let now = Instant::now();
        let changed = registry.sweep(now);
        measure(&registry);
        if counted.is_none_or(|counted| now.duration_since(counted) >= COUNT_EVERY) {
            counted = Some(now);
            let together = capacity(&registry.candidates(0, &HashSet::new()), diversity);
            metrics::gauge!("cyx_placement_nodes").set(f64::from(u32::try_from(together).unwrap_or(u32::MAX)));
        }
        if now.duration_since(rewarded) >= REWARD_EVERY {
            rewarded = now;
            registry.reward();
        }
        if changed || now.duration_since(written) >= write_every {
            written = now;
            write_down(&db, &registry).await;
        }
        if now.duration_since(merged) >= merge_every {
            merged = now;
            if let Err(error) = merge(&db, &keys, &registry).await {
                tracing::warn!(%error, "cannot read what other servers know of the nodes");
            }
        }
    }
}

/// How often heartbeats are written down, and how often those of other servers are read. Where other processes judge nodes by what is
/// written, they hear of a heartbeat long before they take its node for suspect.
fn exchange(backend: Backend, suspect: Duration) -> (Duration, Duration) {
    match backend {
        Backend::Sqlite => (WRITE_EVERY, MERGE_EVERY),
        Backend::Postgres => (WRITE_EVERY.min(suspect / 4), MERGE_EVERY.min(suspect / 4)),
    }
}

/// What nodes are counted under.
const STATES: [&str; 7] = ["online", "suspect", "offline", "lost", "read-only", "exited", "disqualified"];

/// The one of these that a node is counted under. Who has left, or was shut out and went, is no loss.
fn shown(node: &NodeRecord) -> &'static str {
    if node.leaving == Leaving::Exited {
        "exited"
    } else if node.standing == Standing::Disqualified && !node.state.is_reachable() {
        "disqualified"
    } else {
        node.status()
    }
}

/// Shows the state of the network to Prometheus.
fn measure(registry: &Registry) {
    let (mut states, mut available) = (STATES.map(|state| (state, 0_u32)), 0_u64);
    for node in registry.all() {
        if let Some((_, count)) = states.iter_mut().find(|(state, _)| *state == shown(&node)) {
            *count += 1;
        }
        if node.can_take(0) {
            available = available.saturating_add(node.available());
        }
    }
    let all = registry.all();
    for standing in Standing::ALL {
        let count = all.iter().filter(|node| node.standing == standing).count();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        metrics::gauge!("cyx_nodes_standing", "standing" => standing.as_str()).set(f64::from(count));
    }
    for (state, count) in states {
        metrics::gauge!("cyx_nodes", "state" => state).set(f64::from(count));
    }
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!("cyx_nodes_available_bytes").set(available as f64);
}

/// Writes all news about nodes in one transaction.
pub async fn write_down(db: &Db, registry: &Registry) {
    let dirty: Arc<[_]> = registry.take_dirty().into();
    if dirty.is_empty() {
        return;
    }
    let job = Arc::clone(&dirty);
    let outcome = db
        .write(move |conn| {
            let job = Arc::clone(&job);
            Box::pin(async move { rows::write_reports(conn, &job).await })
        })
        .await;
    if let Err::<(), DbError>(error) = outcome {
        tracing::warn!(%error, "cannot write down the state of the nodes");
        registry.mark_dirty(&dirty);
    }
}

async fn merge(db: &Db, keys: &ServerKeys, registry: &Registry) -> Result<(), DbError> {
    let mut read = db.read().await?;
    let records = rows::load_all(&mut read).await?;
    keys.refresh(&mut read).await?;
    registry.merge(records, Instant::now(), now_ns());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::registry::{Liveness, Report};
    use crate::nodes::testing::{add, execute, node, number, server_with};

    #[test]
    fn who_has_left_is_not_lost() {
        let lost = NodeRecord { state: Liveness::Lost, ..node(1) };
        assert_eq!(shown(&lost), "lost");
        assert_eq!(shown(&NodeRecord { leaving: Leaving::Exited, ..lost.clone() }), "exited");
        assert_eq!(shown(&NodeRecord { leaving: Leaving::Exiting, ..lost.clone() }), "lost");
        let failed = NodeRecord { standing: Standing::Disqualified, ..lost };
        assert_eq!(shown(&failed), "disqualified");
        assert_eq!(shown(&NodeRecord { state: Liveness::Online, ..failed }), "online");
        assert!(STATES.contains(&shown(&node(2))));
    }

    #[tokio::test]
    async fn heartbeats_count_after_the_clock_was_set_back() {
        let test = server_with([], |_| {}).await;
        let late = NodeRecord { last_heartbeat_ns: 5_000_000_000, ..node(1) };
        add(&test, late.clone()).await;
        let (db, registry) = (&test.app.db, &test.app.network.registry);
        let sibling = Registry::new(vec![late.clone()], registry.patience(), Instant::now());
        let report = Report { used: 7, ..late.report.clone() };
        registry.heartbeat(late.id, "0.2.0", report, Instant::now(), 1_000_000_000).unwrap();
        write_down(db, registry).await;
        merge(db, &test.app.network.keys, &sibling).await.unwrap();
        let heard = sibling.get(late.id).unwrap();
        assert_eq!((heard.report.used, heard.version.as_str()), (7, "0.2.0"));

        // So does a registration.
        let again = NodeRecord { address: "10.9.9.9:1".to_owned(), last_heartbeat_ns: 2_000_000_000, ..late };
        let row = again.clone();
        let write = db.write(move |conn| {
            let row = row.clone();
            Box::pin(async move { rows::register(conn, &row).await })
        });
        write.await.unwrap();
        merge(db, &test.app.network.keys, &sibling).await.unwrap();
        assert_eq!(sibling.get(again.id).unwrap().address, again.address);
        let known = registry.register(again, Instant::now());
        assert!(known.last_heartbeat_ns > heard.last_heartbeat_ns);
    }

    #[tokio::test]
    async fn a_clock_that_was_far_ahead_is_not_believed_once_it_is_right() {
        let test = server_with([], |_| {}).await;
        let (db, registry) = (&test.app.db, &test.app.network.registry);
        let hour = 3_600_000_000_000;
        let ahead = NodeRecord { last_heartbeat_ns: now_ns() + hour, ..node(1) };
        add(&test, ahead.clone()).await;
        let sibling = Registry::new(vec![ahead.clone()], registry.patience(), Instant::now());
        let report = Report { used: 7, ..ahead.report.clone() };
        let heard = registry.heartbeat(ahead.id, "0.2.0", report, Instant::now(), now_ns()).unwrap();
        assert!(heard.last_heartbeat_ns <= now_ns());
        // What was written down before is not taken back meanwhile.
        merge(db, &test.app.network.keys, registry).await.unwrap();
        let kept = registry.get(ahead.id).unwrap();
        assert_eq!((kept.report.used, kept.last_heartbeat_ns), (7, heard.last_heartbeat_ns));
        write_down(db, registry).await;
        assert_eq!(number(&test, "SELECT last_heartbeat_ns FROM node").await, heard.last_heartbeat_ns);
        merge(db, &test.app.network.keys, &sibling).await.unwrap();
        let known = sibling.get(ahead.id).unwrap();
        assert_eq!((known.report.used, known.last_heartbeat_ns), (7, heard.last_heartbeat_ns));

        // Nor by a registration.
        execute(&test, &[format!("UPDATE node SET last_heartbeat_ns = {}", now_ns() + hour)]).await;
        merge(db, &test.app.network.keys, registry).await.unwrap();
        let again = NodeRecord { last_heartbeat_ns: now_ns(), ..ahead };
        let row = again.clone();
        let write = db.write(move |conn| {
            let row = row.clone();
            Box::pin(async move { rows::register(conn, &row).await })
        });
        write.await.unwrap();
        assert_eq!(number(&test, "SELECT last_heartbeat_ns FROM node").await, again.last_heartbeat_ns);
        assert_eq!(registry.register(again.clone(), Instant::now()).last_heartbeat_ns, again.last_heartbeat_ns);
    }

    #[test]
    fn others_hear_of_a_heartbeat_in_time() {
        let seconds = Duration::from_secs;
        assert_eq!(exchange(Backend::Postgres, seconds(90)), (seconds(10), seconds(5)));
        // As in `cyx dev`: heartbeats every 2 seconds, suspect after 10.
        let (write, read) = exchange(Backend::Postgres, seconds(10));
        assert!(seconds(2) + write + read < seconds(10));
        assert_eq!(exchange(Backend::Sqlite, seconds(10)), (seconds(10), seconds(5)));
    }
}
