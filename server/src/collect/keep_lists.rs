//! Keep-lists: telling each node what it is to go on holding, so that it can drop the rest.
//!
//! A *round* covers all chunk ids of one node once, in ranges. It fixes a sequence and a time `before`: only chunks whose newest receipt
//! is older are covered. That is safe whenever the ids are read, as long as it is after the round began: receipts expire
//! after a day, so a chunk that old and not referred to now can never be referred to again. A round is resumed where the node
//! last confirmed a range, for as long as that takes; only then a next one begins.
//!
//! Nothing is dropped after a restore: the restored database may be older than what nodes hold. The network is *held* until an
//! administrator resumes it, and nodes on their own keep what they were told to drop while the incarnation is new to them.

use cyx_core::ids::{ChunkId, NodeId};
use cyx_core::keeplist::KeepList;
use cyx_core::units::KEEP_LIST_MARGIN_SECONDS;
use sqlx::Row as _;

use super::holdings;
use super::ranges::{KEPT_IDS, LAST, RANGE_IDS, Range, Smallest, cut};
use crate::db::{Conn, Db, DbError};
use crate::keys::ServerKeys;
use crate::nodes::NetworkOptions;
use crate::time::{now_ns, now_seconds};

/// Rounds of one node begin at least this many seconds apart, unless the margin is shorter than the standard one.
const ROUND_SECONDS: u64 = 24 * 3600;

/// A node's newest round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Grows from round to round, over all nodes.
    pub sequence: u64,
    /// Unix seconds.
    pub before: u64,
    /// Last id that the node confirmed.
    pub done: Option<ChunkId>,
}

impl Round {
    /// Whether everything is confirmed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.done == Some(LAST)
    }
}

/// The newest round of a node.
///
/// # Errors
/// [`DbError`].
pub async fn round(conn: &mut Conn, node: NodeId) -> Result<Option<Round>, DbError> {
    let row = sqlx::query("SELECT sequence, before, done FROM keep_list_round WHERE node = $1")
        .bind(&node.0[..])
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let done: Vec<u8> = row.try_get(2)?;
    Ok(Some(Round {
        sequence: u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0),
        before: u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0),
        done: if done.is_empty() {
            None
        } else {
            Some(ChunkId::try_from(&done[..]).map_err(|_| DbError::Corrupt("keep_list_round.done"))?)
        },
    }))
}

/// Whether an administrator still has to look at a restored database before anything is dropped.
///
/// # Errors
/// [`DbError`].
pub async fn is_held(conn: &mut Conn) -> Result<bool, DbError> {
    let held: Option<i64> = sqlx::query_scalar("SELECT held FROM network WHERE id = 1").fetch_optional(conn).await?;
    Ok(held.unwrap_or(0) != 0)
}

/// Lets rounds begin again after a restore.
///
/// # Errors
/// [`DbError`].
pub async fn resume(conn: &mut Conn) -> Result<(), DbError> {
    sqlx::query("UPDATE network SET held = 0 WHERE id = 1").execute(conn).await?;
    Ok(())
}

/// Begins a round for every node that has none or finished its last one long enough ago. With `now`, long enough is not waited for.
/// Returns the nodes and sequences. None while the network is held.
///
/// # Errors
/// [`DbError`].
pub async fn begin_rounds(db: &Db, options: &NetworkOptions, now: bool) -> Result<Vec<(NodeId, u64)>, DbError> {
    let margin = options.keep_list_margin_seconds;
    let apart = if margin < KEEP_LIST_MARGIN_SECONDS { options.job_seconds.min(ROUND_SECONDS) } else { ROUND_SECONDS };
    let apart_ns = if now { 0 } else { i64::try_from(apart).unwrap_or(0).saturating_mul(1_000_000_000) };
    db.write(move |conn| {
        Box::pin(async move {
            // First, because on PostgreSQL this row orders servers that begin rounds at the same time.
            let row = sqlx::query("UPDATE network SET keep_list_sequence = keep_list_sequence + 1 WHERE id = 1 RETURNING keep_list_sequence")
                .fetch_one(&mut *conn)
                .await?;
            let sequence: i64 = row.try_get(0)?;
            if is_held(conn).await? {
                return Ok(Vec::new());
            }
            let (time_ns, before) = (now_ns(), now_seconds().saturating_sub(margin));
            let rows = sqlx::query(
                "INSERT INTO keep_list_round (node, sequence, before, done, started_ns, finished_ns, trashed_chunks, trashed_bytes) \
                 SELECT n.id, $1, $2, $3, $4, 0, 0, 0 FROM node n WHERE n.state NOT IN ('offline', 'lost') \
                 ON CONFLICT (node) DO UPDATE SET sequence = excluded.sequence, before = excluded.before, done = excluded.done, \
                 started_ns = excluded.started_ns, finished_ns = 0, trashed_chunks = 0, trashed_bytes = 0 \
                 WHERE keep_list_round.finished_ns <> 0 AND keep_list_round.started_ns <= $5 RETURNING node",
            )
            .bind(sequence)
            .bind(i64::try_from(before).unwrap_or(0))
            .bind(Vec::<u8>::new())
            .bind(time_ns)
            .bind(time_ns.saturating_sub(apart_ns))
            .fetch_all(conn)
            .await?;
            let sequence = u64::try_from(sequence).unwrap_or(0);
            rows.iter()
                .map(|row| {
                    let node: Vec<u8> = row.try_get(0)?;
                    Ok((NodeId::try_from(&node[..]).map_err(|_| DbError::Corrupt("node.id"))?, sequence))
                })
                .collect()
        })
    })
    .await
}

/// The next ranges of a round behind `after`, read from one snapshot, and whether more come after them.
///
/// # Errors
/// [`DbError`].
pub async fn next_ranges(db: &Db, node: NodeId, after: Option<ChunkId>) -> Result<(Vec<Range>, bool), DbError> {
    let mut snapshot = db.read().await?;
    let mut smallest = Smallest::new(after, KEPT_IDS);
    holdings::walk(&mut snapshot, node, |held| smallest.offer(held.chunk())).await?;
    drop(snapshot);
    let (ids, more) = smallest.finish();
    Ok((cut(after, &ids, more, RANGE_IDS), more))
}

/// Signs one range of a round.
#[must_use]
pub fn sign(keys: &ServerKeys, node: NodeId, round: &Round, range: &Range) -> Vec<u8> {
    let list = KeepList {
        key: keys.id(),
        node,
        incarnation: keys.incarnation(),
        sequence: round.sequence,
        before: round.before,
        first: range.first,
        last: range.last,
    };
    keys.sign_keep_list(&list, &range.ids)
}

/// What a node did with a range.
#[derive(Debug, Clone, Copy)]
pub struct Confirmed {
    /// The round.
    pub sequence: u64,
    /// End of the range.
    pub last: ChunkId,
    /// Chunks that went to its trash.
    pub chunks: u64,
    /// And their bytes.
    pub bytes: u64,
}

/// Writes a confirmation down. Repeated and outdated ones change nothing. Whether it was news.
///
/// # Errors
/// [`DbError`].
pub async fn confirm(db: &Db, node: NodeId, confirmed: Confirmed) -> Result<bool, DbError> {
    db.write(move |conn| {
        Box::pin(async move {
            let finished = if confirmed.last == LAST { now_ns() } else { 0 };
            let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX / 2);
            let done = sqlx::query(
                "UPDATE keep_list_round SET done = $1, finished_ns = $2, trashed_chunks = trashed_chunks + $3, \
                 trashed_bytes = trashed_bytes + $4 WHERE node = $5 AND sequence = $6 AND done < $1",
            )
            .bind(&confirmed.last.0[..])
            .bind(finished)
            .bind(signed(confirmed.chunks.min(1 << 40)))
            .bind(signed(confirmed.bytes.min(1 << 60)))
            .bind(&node.0[..])
            .bind(signed(confirmed.sequence))
            .execute(conn)
            .await?;
            Ok(done.rows_affected() > 0)
        })
    })
    .await
}
