//! Shards that a node lost: they count as missing from now on and wait for repair.
//!
//! Chunk ids lead nowhere by themselves, so what a node reports is looked for among all that it is supposed to hold. That costs one walk
//! over its segments whatever the number of chunks, and only a few walks run at a time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use cyx_core::ids::{ChunkId, NodeId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::collect::holdings::{self, Held};
use crate::db::{Conn, Db, DbError};
use crate::ledger::changes::{self, Change};
use crate::repair::segment;

/// Most chunks of one report.
pub const REPORT_MAX: usize = 10_000;
/// Shards that are marked in one transaction.
const BATCH: usize = 500;
/// Walks over a node's segments at a time, for whatever reason: each keeps a connection to the database for as long as it takes.
const WALKS: usize = 2;

/// Lets only a few walks run at a time, and of these only one per node: what one node asks for keeps no other from its turn.
#[derive(Clone)]
pub struct WalkLimiter(Arc<WalkSemaphores>);

struct WalkSemaphores {
    all: Semaphore,
    of_nodes: Mutex<HashMap<NodeId, Arc<Semaphore>>>,
}

/// The right to walk, until it is dropped.
pub struct WalkPermit<'a> {
    _all: SemaphorePermit<'a>,
    _of_node: OwnedSemaphorePermit,
}

impl Default for WalkLimiter {
    fn default() -> Self {
        Self(Arc::new(WalkSemaphores { all: Semaphore::new(WALKS), of_nodes: Mutex::default() }))
    }
}

impl WalkLimiter {
    /// Waits for a node's turn, which lasts until it is dropped.
    ///
    /// # Errors
    /// [`DbError::Closed`], which never happens.
    pub async fn acquire(&self, node: NodeId) -> Result<WalkPermit<'_>, DbError> {
        let own = self.of_node(node);
        let of_node = own.acquire_owned().await.map_err(|_| DbError::Closed)?;
        let all = self.0.all.acquire().await.map_err(|_| DbError::Closed)?;
        Ok(WalkPermit { _all: all, _of_node: of_node })
    }

    fn of_node(&self, node: NodeId) -> Arc<Semaphore> {
        let mut nodes = self.0.of_nodes.lock().unwrap_or_else(PoisonError::into_inner);
        // Permits and those who wait for one refer to theirs.
        nodes.retain(|_, own| Arc::strong_count(own) > 1);
        Arc::clone(nodes.entry(node).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

/// Takes reports of damage.
pub struct Damage {
    walks: WalkLimiter,
}

impl Damage {
    /// Shares a limiter with others that walk.
    #[must_use]
    pub const fn new(walks: WalkLimiter) -> Self {
        Self { walks }
    }

    /// Marks chunks that a node does not have (any more) as missing. How many shards were not marked before. `now` in Unix nanoseconds.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn mark_missing(
        &self,
        db: &Db,
        node: NodeId,
        chunks: HashSet<ChunkId>,
        now: i64,
    ) -> Result<u64, DbError> {
        if chunks.is_empty() {
            return Ok(0);
        }
        let permit = self.walks.acquire(node).await?;
        let mut found = Vec::new();
        let mut snapshot = db.read().await?;
        holdings::walk(&mut snapshot, node, |held| {
            if chunks.contains(&held.chunk()) {
                found.push(held);
            }
        })
        .await?;
        drop(snapshot);
        drop(permit);
        let mut marked = 0;
        for batch in found.chunks(BATCH) {
            let batch: Arc<[Held]> = batch.into();
            marked += db
                .write(move |conn| {
                    let batch = Arc::clone(&batch);
                    Box::pin(async move { mark(conn, node, &batch, "lost", now).await })
                })
                .await?;
        }
        Ok(marked)
    }
}

/// Clears the bits of shards whose place is still this node, and queues them for repair; how many that were. `now` in Unix nanoseconds.
///
/// # Errors
/// [`DbError`].
pub async fn mark(conn: &mut Conn, node: NodeId, shards: &[Held], reason: &str, now: i64) -> Result<u64, DbError> {
    // Before it is looked at where they lie: an UPDATE that waited would still go by the overrides from before.
    segment::lock(conn, &shards.iter().map(|held| held.segment).collect()).await?;
    let mut marked = 0;
    for Held { segment, shard } in shards {
        let bit = 1_i64 << shard;
        let changed = sqlx::query(
            "UPDATE segment SET present = present - $1 WHERE id = $2 AND (present & $1) <> 0 AND $3 = COALESCE(\
             (SELECT o.node FROM segment_override o WHERE o.segment = segment.id AND o.shard = $4), \
             (SELECT p.node FROM placement_node p WHERE p.placement = segment.placement AND p.shard = $4))",
        )
        .bind(bit)
        .bind(&segment.0[..])
        .bind(&node.0[..])
        .bind(i64::from(*shard))
        .execute(&mut *conn)
        .await?
        .rows_affected();
        if changed > 0 {
            marked += changed;
            let change = Change { segment: *segment, shard: *shard, had: Some(node), has: None };
            changes::note(conn, change, now).await?;
            // Whatever it was queued for before, it is lost now, and stays so when its node comes back.
            let text = "INSERT INTO repair (segment, shard, reason, queued_ns) VALUES ($1, $2, $3, $4) \
                        ON CONFLICT (segment, shard) DO UPDATE SET reason = excluded.reason, node = NULL, queued_ns = CASE \
                        WHEN repair.reason IN ('leaving', 'rebalance', 'diversity') THEN excluded.queued_ns ELSE repair.queued_ns END";
            sqlx::query(text)
                .bind(&segment.0[..])
                .bind(i64::from(*shard))
                .bind(reason)
                .bind(now)
                .execute(&mut *conn)
                .await?;
            // Its segment is at a greater risk than it was.
            let text = "UPDATE repair SET assessed_ns = 0 WHERE segment = $1";
            sqlx::query(text).bind(&segment.0[..]).execute(&mut *conn).await?;
        }
    }
    Ok(marked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_takes_one_turn_at_a_time() {
        let walks = WalkLimiter::default();
        let [one, other] = [1, 2].map(|number| NodeId([number; 16]));
        let first = walks.acquire(one).await.unwrap();
        let mut second = Box::pin(walks.acquire(one));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(walks.acquire(other).await.unwrap());
        drop(first);
        drop(second.await.unwrap());
        drop(walks.acquire(other).await.unwrap());
        assert_eq!(walks.0.of_nodes.lock().unwrap().len(), 1, "nobody else is remembered");
    }
}
