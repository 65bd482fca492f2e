//! What follows from one node's answers in a round: its score, what is asked once more, and which shards count as lost.
//!
//! Nobody is blamed for a first failure. A slice that was not proven is asked for again after a while, the same one, so that a node cannot
//! hope for another draw: a chunk that is said to be gone or damaged twice is, and one that was not proven four times for other reasons
//! may as well be. Only then does the failure cost anything, and the shard waits for repair. What repair makes is stored before the old
//! place is given up, so a node that was judged too harshly loses a shard and the file loses nothing.

use std::time::Duration;

use cyx_core::ids::NodeId;

use super::AuditOptions;
use super::probe::Outcome;
use super::rows::{self, Recheck, Record};
use super::sample::{self, Slice};
use super::score::Standing;
use crate::db::{Conn, DbError};
use crate::nodes::damage;
use crate::repair::segment;

/// How often a node has to say that a chunk is lost, or prove something else, until it is believed.
const TRIES_OF_A_LOSS: u32 = 2;
/// How often it may refuse or keep the server waiting.
const TRIES_OF_SILENCE: u32 = 4;
/// A node with a confirmed failure is audited more for so long.
const ALARM_NS: i64 = 24 * 3600 * 1_000_000_000;

/// A question and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What was to be proven.
    pub slice: Slice,
    /// If it had failed before.
    pub earlier: Option<Recheck>,
    /// What became of it.
    pub outcome: Outcome,
}

impl Asked {
    /// Whether another node's word is why it was asked.
    fn is_hint(&self) -> bool {
        self.earlier.is_some_and(|earlier| earlier.hinted)
    }
}

/// What a node's answers mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The node.
    pub node: NodeId,
    /// Its standing from now on.
    pub standing: Standing,
    /// Its score in thousandths.
    pub score: u32,
    /// Failures that were confirmed.
    pub confirmed: Vec<Outcome>,
    /// Shards that count as missing now and did not before.
    pub missing: u64,
}

/// Times that a round's consequences depend on.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Unix nanoseconds.
    pub now: i64,
    /// Until the same is asked once more.
    pub recheck: Duration,
    /// A node that reports and cannot be reached for this long fails in every further round.
    pub unreachable: Duration,
}

impl Terms {
    /// For a round that begins at `now`. A node is offline after `offline` seconds of silence.
    #[must_use]
    pub fn new(options: &AuditOptions, offline_seconds: u64, now: i64) -> Self {
        // Long enough that a node which is simply gone has been noticed to be.
        let unreachable = (options.every * 4).max(Duration::from_secs(offline_seconds.saturating_mul(2)));
        Self { now, recheck: options.recheck, unreachable }
    }

    fn after(&self, pause: Duration) -> i64 {
        self.now.saturating_add(nanoseconds(pause))
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Writes down what follows from a node's answers.
///
/// # Errors
/// [`DbError`].
pub async fn settle(conn: &mut Conn, node: NodeId, asked: &[Asked], terms: Terms) -> Result<Verdict, DbError> {
    let mut record = rows::load(conn, node).await?.unwrap_or_else(|| Record::new(terms.now));
    // Other nodes' answers are about the same segments.
    segment::lock(conn, &asked.iter().map(|question| question.slice.held.segment).collect()).await?;
    let before = record.reputation.standing;
    let mut verdict = Verdict { node, standing: before, score: 0, confirmed: Vec::new(), missing: 0 };
    note_reach(&mut record, asked, terms);
    for question in asked {
        let held = question.slice.held;
        match question.outcome {
            Outcome::Passed => {
                if !question.is_hint() {
                    record.reputation.pass();
                }
                rows::proven(conn, held.segment, terms.now).await?;
                if question.earlier.is_some() {
                    rows::forget(conn, held).await?;
                }
            }
            // Whoever was asked alone did not fail among others that answered.
            Outcome::TimedOut | Outcome::Refused if question.is_hint() => {
                rows::postpone(conn, held, terms.after(terms.recheck)).await?;
            }
            Outcome::Offline => {
                if question.earlier.is_some() {
                    rows::postpone(conn, held, terms.after(terms.recheck)).await?;
                }
            }
            _ => fail(conn, &mut record, question, terms, &mut verdict).await?,
        }
        (record.last_ns, record.last_outcome) = (terms.now, question.outcome);
    }
    if record.reputation.standing != before {
        record.standing_ns = terms.now;
    }
    rows::save(conn, node, &record).await?;
    (verdict.standing, verdict.score) = (record.reputation.standing, record.reputation.thousandths());
    Ok(verdict)
}

/// Whether the node could be reached, and what follows if it could not for long although it reports.
fn note_reach(record: &mut Record, asked: &[Asked], terms: Terms) {
    if asked.iter().any(|question| question.outcome != Outcome::Offline) {
        record.unreachable_ns = 0;
    } else if asked.iter().any(|question| !question.is_hint()) {
        record.unreachable += 1;
        if record.unreachable_ns == 0 {
            record.unreachable_ns = terms.now;
        } else if terms.now.saturating_sub(record.unreachable_ns) >= nanoseconds(terms.unreachable) {
            record.reputation.fail();
        }
    }
}

/// A slice was not proven: it is asked for once more, or the failure is confirmed.
async fn fail(
    conn: &mut Conn,
    record: &mut Record,
    question: &Asked,
    terms: Terms,
    verdict: &mut Verdict,
) -> Result<(), DbError> {
    let (held, outcome) = (question.slice.held, question.outcome);
    // What was deleted or went elsewhere meanwhile is nobody's fault.
    let present = sample::load(conn, held).await?;
    if !present.is_some_and(|shard| shard.wanted && shard.node == Some(verdict.node)) {
        return rows::forget(conn, held).await;
    }
    let tries = question.earlier.map_or(0, |earlier| earlier.tries).saturating_add(1);
    let (needed, reason) = match outcome {
        Outcome::Lost | Outcome::Corrupt => (TRIES_OF_A_LOSS, outcome.as_str()),
        _ => (TRIES_OF_SILENCE, "unproven"),
    };
    if tries < needed {
        let again = Recheck { held, node: verdict.node, offset: question.slice.offset, outcome, tries, hinted: false };
        return rows::recheck(conn, &again, terms.after(terms.recheck)).await;
    }
    record.reputation.fail();
    record.count(outcome);
    record.alarm_ns = terms.now.saturating_add(ALARM_NS);
    verdict.confirmed.push(outcome);
    verdict.missing += damage::mark(conn, verdict.node, &[held], reason, terms.now).await?;
    rows::forget(conn, held).await
}
