//! Audits in the database.

use cyx_core::ids::{NodeId, SegmentId};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::probe::Outcome;
use super::score::{Reputation, Standing};
use crate::collect::holdings::Held;
use crate::db::{Backend, Conn, DbError};

const MILLION: f64 = 1e6;

/// What is kept about a node's audits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record {
    /// Its score and standing.
    pub reputation: Reputation,
    /// Since when it has that standing, Unix nanoseconds.
    pub standing_ns: i64,
    /// Confirmed failures, in the order of [`FAILURES`].
    pub failed: [u64; 4],
    /// Rounds in which it reported and could not be reached.
    pub unreachable: u64,
    /// Since when; 0 if it was reached in the newest round.
    pub unreachable_ns: i64,
    /// It is audited more until then.
    pub alarm_ns: i64,
    /// Of the newest audit.
    pub last_ns: i64,
    /// What became of it.
    pub last_outcome: Outcome,
}

/// The outcomes that cost something once they are confirmed.
pub const FAILURES: [Outcome; 4] = [Outcome::Lost, Outcome::Corrupt, Outcome::TimedOut, Outcome::Refused];

impl Record {
    /// Of a node that was never audited.
    #[must_use]
    pub fn new(now: i64) -> Self {
        Self {
            reputation: Reputation::default(),
            standing_ns: now,
            failed: [0; 4],
            unreachable: 0,
            unreachable_ns: 0,
            alarm_ns: 0,
            last_ns: 0,
            last_outcome: Outcome::Passed,
        }
    }

    /// Counts a confirmed failure.
    pub fn count(&mut self, outcome: Outcome) {
        if let Some(at) = FAILURES.iter().position(|failure| *failure == outcome) {
            self.failed[at] += 1;
        }
    }
}

const COLUMNS: &str = "SELECT node, standing, standing_ns, vetted, good, bad, passed, lost, corrupt, timed_out, refused, unreachable, \
                       unreachable_ns, alarm_ns, last_ns, last_outcome FROM node_audit";

/// The records of all nodes that were audited.
///
/// # Errors
/// [`DbError`].
pub async fn load_all(conn: &mut Conn) -> Result<Vec<(NodeId, Record)>, DbError> {
    sqlx::query(COLUMNS).fetch_all(conn).await?.iter().map(from_row).collect()
}

/// One node's record, if it was audited. It stays as it is until the transaction ends: what is saved follows from what was read.
///
/// # Errors
/// [`DbError`].
pub async fn load(conn: &mut Conn, node: NodeId) -> Result<Option<Record>, DbError> {
    let lock = Backend::of(conn).for_no_key_update();
    let text = sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE node = $1{lock}"));
    let row = sqlx::query(text).bind(&node.0[..]).fetch_optional(conn).await?;
    Ok(row.as_ref().map(from_row).transpose()?.map(|(_, record)| record))
}

/// Writes a record down.
///
/// # Errors
/// [`DbError`].
pub async fn save(conn: &mut Conn, node: NodeId, record: &Record) -> Result<(), DbError> {
    let [lost, corrupt, timed_out, refused] = record.failed.map(signed);
    let reputation = &record.reputation;
    sqlx::query(
        "INSERT INTO node_audit (node, standing, standing_ns, vetted, good, bad, score, passed, lost, corrupt, timed_out, refused, \
         unreachable, unreachable_ns, alarm_ns, last_ns, last_outcome) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
         ON CONFLICT (node) DO UPDATE SET standing = excluded.standing, standing_ns = excluded.standing_ns, vetted = excluded.vetted, \
         good = excluded.good, bad = excluded.bad, score = excluded.score, passed = excluded.passed, lost = excluded.lost, \
         corrupt = excluded.corrupt, timed_out = excluded.timed_out, refused = excluded.refused, unreachable = excluded.unreachable, \
         unreachable_ns = excluded.unreachable_ns, alarm_ns = excluded.alarm_ns, last_ns = excluded.last_ns, \
         last_outcome = excluded.last_outcome",
    )
    .bind(&node.0[..])
    .bind(reputation.standing.as_str())
    .bind(record.standing_ns)
    .bind(i64::from(reputation.vetted))
    .bind(millionths(reputation.good))
    .bind(millionths(reputation.bad))
    .bind(i64::from(reputation.thousandths()))
    .bind(signed(reputation.passed))
    .bind(lost)
    .bind(corrupt)
    .bind(timed_out)
    .bind(refused)
    .bind(signed(record.unreachable))
    .bind(record.unreachable_ns)
    .bind(record.alarm_ns)
    .bind(record.last_ns)
    .bind(record.last_outcome.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

fn from_row(row: &AnyRow) -> Result<(NodeId, Record), DbError> {
    let number = |column: usize| -> Result<i64, DbError> { Ok(row.try_get::<i64, _>(column)?) };
    let count = |column: usize| -> Result<u64, DbError> { Ok(unsigned(number(column)?)) };
    let reputation = Reputation {
        standing: Standing::parse(&row.try_get::<String, _>(1)?),
        vetted: number(3)? != 0,
        good: from_millionths(number(4)?),
        bad: from_millionths(number(5)?),
        passed: count(6)?,
    };
    let record = Record {
        reputation,
        standing_ns: number(2)?,
        failed: [count(7)?, count(8)?, count(9)?, count(10)?],
        unreachable: count(11)?,
        unreachable_ns: number(12)?,
        alarm_ns: number(13)?,
        last_ns: number(14)?,
        last_outcome: Outcome::parse(&row.try_get::<String, _>(15)?),
    };
    Ok((node(&row.try_get::<Vec<u8>, _>(0)?)?, record))
}

/// A slice that was not proven and is asked for once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recheck {
    /// The shard.
    pub held: Held,
    /// Where it was then.
    pub node: NodeId,
    /// Where the slice begins.
    pub offset: u64,
    /// How it failed last.
    pub outcome: Outcome,
    /// How often.
    pub tries: u32,
    /// The server has not asked for it yet: another node could not use the chunk.
    pub hinted: bool,
}

/// Rechecks that are due, the longest waiting first.
///
/// # Errors
/// [`DbError`].
pub async fn due(conn: &mut Conn, now: i64, limit: usize) -> Result<Vec<Recheck>, DbError> {
    let text = "SELECT segment, shard, node, slice, outcome, tries, hinted FROM audit_recheck WHERE hinted = 0 AND due_ns <= $1 \
                ORDER BY due_ns LIMIT $2";
    let rows = sqlx::query(text).bind(now).bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(conn).await?;
    rows.iter().map(recheck_from_row).collect()
}

/// Chunks that other nodes could not use and that were not asked for yet, the longest waiting first.
///
/// # Errors
/// [`DbError`].
pub async fn hinted(conn: &mut Conn, limit: usize) -> Result<Vec<Recheck>, DbError> {
    let text = "SELECT segment, shard, node, slice, outcome, tries, hinted FROM audit_recheck WHERE hinted = 1 \
                ORDER BY due_ns, segment, shard LIMIT $1";
    let rows = sqlx::query(text).bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(conn).await?;
    rows.iter().map(recheck_from_row).collect()
}

fn recheck_from_row(row: &AnyRow) -> Result<Recheck, DbError> {
    let segment: Vec<u8> = row.try_get(0)?;
    Ok(Recheck {
        held: Held {
            segment: SegmentId::try_from(&segment[..]).map_err(|_| DbError::Corrupt("audit_recheck.segment"))?,
            shard: u8::try_from(row.try_get::<i64, _>(1)?).map_err(|_| DbError::Corrupt("audit_recheck.shard"))?,
        },
        node: node(&row.try_get::<Vec<u8>, _>(2)?)?,
        offset: unsigned(row.try_get(3)?),
        outcome: Outcome::parse(&row.try_get::<String, _>(4)?),
        tries: u32::try_from(row.try_get::<i64, _>(5)?).unwrap_or(u32::MAX),
        hinted: row.try_get::<i64, _>(6)? != 0,
    })
}

/// Remembers that another node could not use a chunk of this one. What waits for a recheck already goes on waiting.
///
/// # Errors
/// [`DbError`].
pub async fn hint(
    conn: &mut Conn,
    held: Held,
    node: NodeId,
    (outcome, offset): (Outcome, u64),
    now: i64,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO audit_recheck (segment, shard, node, slice, outcome, tries, due_ns, hinted) VALUES ($1, $2, $3, $4, $5, 0, $6, 1) \
         ON CONFLICT (segment, shard) DO NOTHING",
    )
    .bind(&held.segment.0[..])
    .bind(i64::from(held.shard))
    .bind(&node.0[..])
    .bind(signed(offset))
    .bind(outcome.as_str())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// How many wait.
///
/// # Errors
/// [`DbError`].
pub async fn waiting(conn: &mut Conn) -> Result<u64, DbError> {
    let count: i64 = sqlx::query_scalar("SELECT CAST(COUNT(*) AS BIGINT) FROM audit_recheck").fetch_one(conn).await?;
    Ok(unsigned(count))
}

/// Remembers to ask again. A shard waits once, whatever else of it fails.
///
/// # Errors
/// [`DbError`].
pub async fn recheck(conn: &mut Conn, recheck: &Recheck, due_ns: i64) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO audit_recheck (segment, shard, node, slice, outcome, tries, due_ns, hinted) VALUES ($1, $2, $3, $4, $5, $6, $7, 0) \
         ON CONFLICT (segment, shard) DO UPDATE SET node = excluded.node, slice = excluded.slice, outcome = excluded.outcome, \
         tries = excluded.tries, due_ns = excluded.due_ns, hinted = 0 WHERE excluded.tries > audit_recheck.tries OR excluded.node <> audit_recheck.node",
    )
    .bind(&recheck.held.segment.0[..])
    .bind(i64::from(recheck.held.shard))
    .bind(&recheck.node.0[..])
    .bind(signed(recheck.offset))
    .bind(recheck.outcome.as_str())
    .bind(i64::from(recheck.tries))
    .bind(due_ns)
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts a recheck off without counting it. A hint becomes one like any other.
///
/// # Errors
/// [`DbError`].
pub async fn postpone(conn: &mut Conn, held: Held, due_ns: i64) -> Result<(), DbError> {
    let text = "UPDATE audit_recheck SET due_ns = $1, hinted = 0 WHERE segment = $2 AND shard = $3";
    sqlx::query(text).bind(due_ns).bind(&held.segment.0[..]).bind(i64::from(held.shard)).execute(conn).await?;
    Ok(())
}

/// Forgets a recheck.
///
/// # Errors
/// [`DbError`].
pub async fn forget(conn: &mut Conn, held: Held) -> Result<(), DbError> {
    let text = "DELETE FROM audit_recheck WHERE segment = $1 AND shard = $2";
    sqlx::query(text).bind(&held.segment.0[..]).bind(i64::from(held.shard)).execute(conn).await?;
    Ok(())
}

/// A slice of a shard of this segment was proven.
///
/// # Errors
/// [`DbError`].
pub async fn proven(conn: &mut Conn, segment: SegmentId, now: i64) -> Result<(), DbError> {
    sqlx::query("UPDATE segment SET audited_ns = $1 WHERE id = $2 AND audited_ns < $1")
        .bind(now)
        .bind(&segment.0[..])
        .execute(conn)
        .await?;
    Ok(())
}

fn node(bytes: &[u8]) -> Result<NodeId, DbError> {
    NodeId::try_from(bytes).map_err(|_| DbError::Corrupt("the id of a node"))
}

#[expect(clippy::cast_possible_truncation, reason = "counts of audits are below a million")]
fn millionths(value: f64) -> i64 {
    (value * MILLION).round() as i64
}

#[expect(clippy::cast_precision_loss, reason = "a million millionths of a million fit")]
fn from_millionths(value: i64) -> f64 {
    value.max(0) as f64 / MILLION
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
