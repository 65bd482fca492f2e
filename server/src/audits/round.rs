//! One round of audits, and the task that begins them.
//!
//! A round draws slices for every node that answers, adds what has to be asked once more, asks all nodes, several at a time, and writes
//! down what follows, one transaction for each node. A round in which more than half of the nodes fail to answer says more about the
//! server's own network than about theirs: then only proofs count, and what is lost or corrupt.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cyx_core::ids::NodeId;
use futures_util::stream::{StreamExt as _, iter};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::probe::{Auditor, Outcome, ProbeOptions, QUESTIONS_MAX};
use super::rows::{self, Recheck};
use super::sample::{self, Slice};
use super::score::Standing;
use super::settle::{self, Asked, Terms, Verdict};
use super::{AuditOptions, hints};
use crate::app::{App, AppState};
use crate::collect::holdings::Held;
use crate::db::DbError;
use crate::error::ApiError;
use crate::nodes::{Liveness, NodeRecord};
use crate::time::now_ns;

/// Most slices that a node is asked for in a round, beside what is asked once more.
pub const SLICES_MAX: u32 = 64;
/// Nodes that are asked at a time.
const NODES_AT_A_TIME: usize = 16;
/// How much more a node is asked that failed of late.
const ALARM_FACTOR: u32 = 8;
/// Rechecks of a round.
const RECHECKS: usize = 1024;
/// With fewer nodes than this nothing follows from how many fail.
const CROWD: usize = 4;
/// The first round begins after this, however long the interval is.
const FIRST_AFTER: Duration = Duration::from_secs(30);
/// Hints are followed after this, or as often as rounds begin.
const HINTS_EVERY: Duration = Duration::from_secs(15);
/// Name of the lease, and its least life.
const LEASE: &str = "audits";
const LEASE_LEAST: Duration = Duration::from_secs(60);

/// What a round did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Nodes that were asked.
    pub nodes: usize,
    /// What became of the questions, by [`Outcome::ALL`].
    pub outcomes: [u64; 6],
    /// Failures that were confirmed.
    pub confirmed: u64,
    /// Shards that count as missing now.
    pub missing: u64,
    /// Too many nodes failed to answer for that to mean anything.
    pub void: bool,
}

impl Summary {
    /// How often this became of a question.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        Outcome::ALL.iter().zip(self.outcomes).find(|(known, _)| **known == outcome).map_or(0, |(_, count)| count)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} nodes", self.nodes)?;
        for (outcome, count) in Outcome::ALL.iter().zip(self.outcomes).filter(|(_, count)| *count > 0) {
            write!(f, ", {count} {}", outcome.as_str())?;
        }
        if self.missing > 0 {
            write!(f, "; {} shards are missing", self.missing)?;
        }
        if self.void {
            f.write_str("; too many nodes did not answer, so that counts against nobody")?;
        }
        Ok(())
    }
}

/// Begins rounds until the server stops.
pub async fn run(app: AppState) {
    let options = app.network.options.audits;
    if options.slices == 0 {
        tracing::info!("nodes are not audited: --node-audit-slices is 0");
        return;
    }
    let auditor = Auditor::default();
    // Long enough for a server that is busy, short enough for another to take over within two rounds.
    let life = nanoseconds(options.every.saturating_mul(2).max(LEASE_LEAST));
    let first = tokio::time::Instant::now() + options.every.min(FIRST_AFTER);
    let mut tick = tokio::time::interval_at(first, options.every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut look = tokio::time::interval_at(first, options.every.min(HINTS_EVERY));
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let is_round = tokio::select! {
            biased;
            () = app.shutdown.cancelled() => return,
            _ = tick.tick() => true,
            _ = look.tick() => false,
        };
        if !is_round && !hints::any(&app).await.unwrap_or(false) {
            continue;
        }
        let (leases, now) = (&app.network.job_leases, now_ns());
        match leases.hold(LEASE, now, life).await {
            Ok(Some(_)) => {}
            // Another server does it.
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot tell whose turn it is to audit");
                continue;
            }
        }
        let work = async {
            if is_round {
                round(&app, &auditor, &options, now_ns()).await
            } else {
                hints::follow(&app, &auditor, &options, now_ns()).await
            }
        };
        let outcome = tokio::select! {
            outcome = leases.keep(LEASE, now, life, work) => outcome,
            // Each node's answers are written down by themselves, so a round can stop anywhere.
            () = app.shutdown.cancelled() => return,
        };
        match outcome {
            Ok(summary) if summary.confirmed > 0 || summary.void => tracing::warn!(%summary, "audited"),
            Ok(summary) => tracing::debug!(%summary, "audited"),
            Err(error) => tracing::warn!(%error, "a round of audits failed and is tried again"),
        }
    }
}

pub(super) fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// What is to be asked of one node.
struct Questions {
    node: NodeRecord,
    asked: Vec<(Slice, Option<Recheck>)>,
}

/// Does one round. `now` in Unix nanoseconds.
///
/// # Errors
/// That of the database; what was written down before stays.
pub async fn round(app: &App, auditor: &Auditor, options: &AuditOptions, now: i64) -> Result<Summary, ApiError> {
    let began = Instant::now();
    let network = &app.network;
    let questions = prepare(app, options, now).await?;
    let probing = ProbeOptions { allow_loopback: network.options.allow_colocated, patience: options.patience };
    let mut answers: Vec<(NodeId, Vec<Asked>)> = iter(questions)
        .map(|questions| async move {
            let slices: Vec<Slice> = questions.asked.iter().map(|(slice, _)| slice.clone()).collect();
            let outcomes = auditor.ask(&network.keys, &questions.node, &slices, probing).await;
            let asked = questions.asked.into_iter().zip(outcomes);
            let asked = asked.map(|((slice, earlier), outcome)| Asked { slice, earlier, outcome }).collect();
            (questions.node.id, asked)
        })
        .buffer_unordered(NODES_AT_A_TIME)
        .collect()
        .await;
    let mut summary = Summary { nodes: answers.len(), ..Summary::default() };
    for question in answers.iter().flat_map(|(_, asked)| asked) {
        count(&mut summary, question.outcome);
    }
    summary.void = drop_if_void(&mut answers);
    let terms = Terms::new(options, network.options.node_offline_seconds, now);
    answers.retain(|(_, asked)| !asked.is_empty());
    // Several at once, so that they share durable commits.
    let mut verdicts =
        iter(answers).map(|(node, asked)| write_down(app, node, asked, terms)).buffer_unordered(NODES_AT_A_TIME);
    while let Some(verdict) = verdicts.next().await {
        let verdict = verdict?;
        summary.confirmed += verdict.confirmed.len() as u64;
        summary.missing += verdict.missing;
        announce(app, &verdict);
    }
    drop(verdicts);
    measure(app, &summary, began.elapsed()).await?;
    Ok(summary)
}

pub(super) fn count(summary: &mut Summary, outcome: Outcome) {
    for (known, count) in Outcome::ALL.iter().zip(&mut summary.outcomes) {
        *count += u64::from(*known == outcome);
    }
    metrics::counter!("cyx_audits_total", "outcome" => outcome.as_str()).increment(1);
}

/// Takes out what was not answered if that is so for more than half of the nodes; whether it did.
fn drop_if_void(answers: &mut [(NodeId, Vec<Asked>)]) -> bool {
    let silent = |asked: &Asked| matches!(asked.outcome, Outcome::TimedOut | Outcome::Refused | Outcome::Offline);
    let failing = answers.iter().filter(|(_, asked)| asked.iter().any(silent)).count();
    if answers.len() < CROWD || failing * 2 <= answers.len() {
        return false;
    }
    for (_, asked) in answers {
        asked.retain(|question| !silent(question));
    }
    metrics::counter!("cyx_audit_rounds_void_total").increment(1);
    true
}

pub(super) async fn write_down(app: &App, node: NodeId, asked: Vec<Asked>, terms: Terms) -> Result<Verdict, DbError> {
    let asked: Arc<[Asked]> = asked.into();
    app.db
        .write(move |conn| {
            let asked = Arc::clone(&asked);
            Box::pin(async move { settle::settle(conn, node, &asked, terms).await })
        })
        .await
}

pub(super) fn announce(app: &App, verdict: &Verdict) {
    for outcome in &verdict.confirmed {
        metrics::counter!("cyx_audits_confirmed_total", "outcome" => outcome.as_str()).increment(1);
    }
    if !verdict.confirmed.is_empty() {
        let standing = verdict.standing.as_str();
        tracing::warn!(node = %verdict.node, failures = verdict.confirmed.len(), score = verdict.score, standing, "a node failed its audits");
    }
    app.network.registry.set_standing(verdict.node, verdict.standing, verdict.score);
}

async fn measure(app: &App, summary: &Summary, took: Duration) -> Result<(), DbError> {
    let waiting = rows::waiting(&mut *app.db.read().await?).await?;
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!("cyx_audit_rechecks").set(waiting as f64);
    metrics::counter!("cyx_audit_missing_shards_total").increment(summary.missing);
    metrics::gauge!("cyx_audit_round_seconds").set(took.as_secs_f64());
    metrics::counter!("cyx_audit_rounds_total").increment(1);
    Ok(())
}

/// Draws what is to be asked.
async fn prepare(app: &App, options: &AuditOptions, now: i64) -> Result<Vec<Questions>, DbError> {
    let all = app.network.registry.all();
    let mut read = app.db.read().await?;
    let records: HashMap<NodeId, rows::Record> = rows::load_all(&mut read).await?.into_iter().collect();
    let holdings = sample::count(&mut read).await?;
    let mut questions: HashMap<NodeId, Questions> = HashMap::new();
    // Seeded anew for each round from the operating system; not the thread's own, because it is kept across awaits.
    let mut rng = StdRng::from_rng(&mut rand::rng());
    for node in all.into_iter().filter(|node| node.state == Liveness::Online) {
        let Some(holdings) = holdings.get(&node.id) else { continue };
        if node.standing == Standing::Disqualified {
            continue;
        }
        let alarm = records.get(&node.id).is_some_and(|record| record.alarm_ns > now);
        let factor = if alarm || node.standing == Standing::Suspended { ALARM_FACTOR } else { 1 };
        let count = options.slices.saturating_mul(factor).min(SLICES_MAX);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let slices = sample::draw(&mut read, node.id, holdings, count, &mut rng).await?;
        let asked = slices.into_iter().map(|slice| (slice, None)).collect();
        questions.insert(node.id, Questions { node, asked });
    }
    let mut moot = Vec::new();
    let mut away = Vec::new();
    for recheck in rows::due(&mut read, now, RECHECKS).await? {
        let held = recheck.held;
        let shard = sample::load(&mut read, held).await?;
        let Some(shard) = shard.filter(|shard| shard.wanted && shard.node == Some(recheck.node)) else {
            moot.push(held);
            continue;
        };
        let Some(questions) = questions.get_mut(&recheck.node).filter(|known| known.asked.len() < QUESTIONS_MAX) else {
            away.push(held);
            continue;
        };
        let sample::Shard { bucket, root, length, .. } = shard;
        questions.asked.retain(|(slice, _)| slice.held != held);
        questions.asked.push((Slice { held, bucket, root, length, offset: recheck.offset }, Some(recheck)));
    }
    drop(read);
    for questions in questions.values_mut() {
        // A node that breaks off may not be asked the rest: what is in doubt comes first, or it would never be settled.
        questions.asked.sort_by_key(|(_, earlier)| earlier.is_none());
    }
    tidy(app, moot, away, now.saturating_add(nanoseconds(options.recheck))).await?;
    Ok(questions.into_values().filter(|questions| !questions.asked.is_empty()).collect())
}

/// Forgets rechecks of what is gone or elsewhere, and puts off those of nodes that do not answer at present.
pub(super) async fn tidy(app: &App, moot: Vec<Held>, away: Vec<Held>, later: i64) -> Result<(), DbError> {
    if moot.is_empty() && away.is_empty() {
        return Ok(());
    }
    let (moot, away): (Arc<[_]>, Arc<[_]>) = (moot.into(), away.into());
    app.db
        .write(move |conn| {
            let (moot, away) = (Arc::clone(&moot), Arc::clone(&away));
            Box::pin(async move {
                for held in moot.iter() {
                    rows::forget(conn, *held).await?;
                }
                for held in away.iter() {
                    rows::postpone(conn, *held, later).await?;
                }
                Ok(())
            })
        })
        .await
}
