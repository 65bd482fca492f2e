//! What nodes say of each other: they are asked about it soon, and nobody is blamed for what another one says.
//!
//! A node that makes a chunk anew reads from others, and reports those that did not do. Such a report is a hint: it counts only for a chunk
//! that the server told that node to read, on the node that is to hold it. The server then asks for the chunk itself, within seconds instead
//! of whenever the draw hits it: for all of the range that could not be proven, or for a slice of it. A chunk that is proven is forgotten,
//! and the proof raises no score, so that nodes of one operator gain nothing by reporting each other. One that is said to be gone or is not
//! proven becomes a recheck like any other, and only that one costs something. Silence becomes one as well, as if it had not been asked
//! for yet: one node alone says nothing about whose network is at fault.

use std::collections::BTreeMap;

use cyx_core::ids::NodeId;
use cyx_core::proof::GROUP;
use futures_util::stream::{StreamExt as _, iter};

use super::AuditOptions;
use super::probe::{Auditor, Outcome, ProbeOptions, QUESTIONS_MAX};
use super::round::{Summary, announce, count, nanoseconds, tidy, write_down};
use super::rows::{self, Recheck};
use super::sample::{self, Slice};
use super::settle::{Asked, Terms};
use crate::app::App;
use crate::collect::holdings::Held;
use crate::db::DbError;
use crate::error::ApiError;
use crate::nodes::{Liveness, NodeRecord};

/// Chunks that one look asks about.
const CHUNKS: usize = 256;
/// Slices of a range that could not be proven: as many as a node reads at once.
const RANGE_GROUPS: u64 = 16;
/// Nodes that are asked at a time.
const NODES_AT_A_TIME: usize = 16;

/// Chunks of one node, with the slices to be proven of each.
struct Questions {
    node: NodeRecord,
    chunks: Vec<(Recheck, Vec<Slice>)>,
}

/// Whether there are hints that nobody followed.
///
/// # Errors
/// That of the database.
pub async fn any(app: &App) -> Result<bool, DbError> {
    Ok(!rows::hinted(&mut *app.db.read().await?, 1).await?.is_empty())
}

/// Follows hints: what nodes answered about the chunks in question. `now` in Unix nanoseconds.
///
/// # Errors
/// That of the database; what was written down before stays.
pub async fn follow(app: &App, auditor: &Auditor, options: &AuditOptions, now: i64) -> Result<Summary, ApiError> {
    let network = &app.network;
    let questions = prepare(app, options, now).await?;
    let probing = ProbeOptions { allow_loopback: network.options.allow_colocated, patience: options.patience };
    let answers: Vec<(NodeId, Vec<Asked>)> = iter(questions)
        .map(|Questions { node, chunks }| async move {
            let slices: Vec<Slice> = chunks.iter().flat_map(|(_, slices)| slices.iter().cloned()).collect();
            let outcomes = auditor.ask(&network.keys, &node, &slices, probing).await;
            (node.id, conclude(chunks, &outcomes))
        })
        .buffer_unordered(NODES_AT_A_TIME)
        .collect()
        .await;
    let mut summary = Summary { nodes: answers.len(), ..Summary::default() };
    for question in answers.iter().flat_map(|(_, asked)| asked) {
        count(&mut summary, question.outcome);
        metrics::counter!("cyx_audit_hints_total", "outcome" => question.outcome.as_str()).increment(1);
    }
    let terms = Terms::new(options, network.options.node_offline_seconds, now);
    for (node, asked) in answers {
        let verdict = write_down(app, node, asked, terms).await?;
        announce(app, &verdict);
    }
    Ok(summary)
}

/// One answer for each chunk: the first slice that was not proven, if there is one.
fn conclude(chunks: Vec<(Recheck, Vec<Slice>)>, outcomes: &[Outcome]) -> Vec<Asked> {
    let mut outcomes = outcomes.iter().copied();
    let conclude = |(hint, slices): (Recheck, Vec<Slice>)| {
        let mut answers = slices.into_iter().zip(&mut outcomes).collect::<Vec<_>>().into_iter();
        let first = answers.next()?;
        let decisive = if first.1 == Outcome::Passed {
            answers.find(|(_, outcome)| *outcome != Outcome::Passed).unwrap_or(first)
        } else {
            first
        };
        Some(Asked { slice: decisive.0, earlier: Some(hint), outcome: decisive.1 })
    };
    chunks.into_iter().filter_map(conclude).collect()
}

async fn prepare(app: &App, options: &AuditOptions, now: i64) -> Result<Vec<Questions>, DbError> {
    let (mut moot, mut away) = (Vec::new(), Vec::new());
    let mut questions: BTreeMap<NodeId, Questions> = BTreeMap::new();
    let mut read = app.db.read().await?;
    for hint in rows::hinted(&mut read, CHUNKS).await? {
        let held: Held = hint.held;
        let shard = sample::load(&mut read, held).await?;
        let Some(shard) = shard.filter(|shard| shard.wanted && shard.node == Some(hint.node)) else {
            moot.push(held);
            continue;
        };
        let node = app.network.registry.get(hint.node).filter(|node| node.state == Liveness::Online);
        let Some(node) = node else {
            away.push(held);
            continue;
        };
        let slices = slices(&hint, &shard);
        let entry = questions.entry(node.id).or_insert_with(|| Questions { node, chunks: Vec::new() });
        let asked: usize = entry.chunks.iter().map(|(_, slices)| slices.len()).sum();
        // What is too much for one look comes with the next.
        if asked + slices.len() <= QUESTIONS_MAX {
            entry.chunks.push((hint, slices));
        }
    }
    drop(read);
    tidy(app, moot, away, now.saturating_add(nanoseconds(options.recheck))).await?;
    Ok(questions.into_values().filter(|questions| !questions.chunks.is_empty()).collect())
}

/// What is to be proven: all of the range that another node got wrong bytes for, or the slice at its beginning.
fn slices(hint: &Recheck, shard: &sample::Shard) -> Vec<Slice> {
    let groups = shard.length.div_ceil(GROUP).max(1);
    let first = (hint.offset / GROUP).min(groups - 1);
    let count = if hint.outcome == Outcome::Corrupt { RANGE_GROUPS } else { 1 };
    let slice = |group: u64| Slice {
        held: hint.held,
        bucket: shard.bucket,
        root: shard.root,
        length: shard.length,
        offset: group * GROUP,
    };
    (first..groups.min(first + count)).map(slice).collect()
}
