//! What nodes keep: bytes times seconds, from the segments' own times.
//!
//! Every half hour or so all segments are walked once in one snapshot. A shard that is there counts for the seconds of the period that lie
//! between its commit and the moment its segment was freed. Segments that were freed stay in the table until the meter has passed them.
//! A shard that was lost or moved meanwhile counts for each node that had it, from the second on in which it got there until the one in
//! which it went ([`super::changes`]); a node that was lost, left or failed counts until then.

use std::collections::HashMap;

use cyx_core::earnings::overlap;
use cyx_core::ids::NodeId;
use cyx_core::scheme::Scheme;
use cyx_core::segment::shard_len;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::changes::{self, Moment};
use super::close::close;
use super::epoch::{self, Epoch};
use super::{PayOptions, signed, unsigned};
use crate::audits::Standing;
use crate::auth::column_id;
use crate::db::{Conn, Db, DbError, insert_many};
use crate::nodes::{Leaving, Liveness, Registry};
use crate::time::{now_ns, to_seconds};

/// Segments per statement.
const PAGE: i64 = 4096;
/// A period ends after so many seconds at the latest, so that its sums fit a column.
const PERIOD_MAX: u64 = 24 * 3600;

/// When a node was heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Its first registration, Unix seconds.
    pub registered: u64,
    /// Its newest heartbeat, Unix seconds.
    pub last: u64,
    /// From this Unix second on it counts for nothing any more: it is lost, has left or is disqualified.
    pub ended: Option<u64>,
}

/// All nodes, with when they were heard of.
///
/// # Errors
/// [`DbError`].
pub async fn heard(conn: &mut Conn, registry: &Registry) -> Result<HashMap<NodeId, Heard>, DbError> {
    let rows = sqlx::query(
        "SELECT n.id, n.leaving_ns, COALESCE(a.standing_ns, 0) FROM node n \
         LEFT JOIN node_audit a ON a.node = n.id WHERE n.leaving = 'exited' OR a.standing = 'disqualified'",
    )
    .fetch_all(conn)
    .await?;
    let mut since: HashMap<NodeId, (i64, i64)> = HashMap::with_capacity(rows.len());
    for row in &rows {
        since.insert(column_id(row, 0)?, (row.try_get(1)?, row.try_get(2)?));
    }
    let nodes = registry.all().into_iter().map(|node| {
        let (left, failed) = since.get(&node.id).copied().unwrap_or_default();
        let ends = [
            (node.state == Liveness::Lost, node.last_heartbeat_ns),
            (node.leaving == Leaving::Exited, left),
            (node.standing == Standing::Disqualified, failed),
        ];
        let ended = ends.into_iter().filter(|(holds, _)| *holds).map(|(_, at)| to_seconds(at)).min();
        let (registered, last) = (to_seconds(node.registered_ns), to_seconds(node.last_heartbeat_ns));
        (node.id, Heard { registered, last, ended })
    });
    Ok(nodes.collect())
}

/// What a node kept in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// Shards at its end.
    pub shards: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes times seconds.
    pub byte_seconds: u128,
}

/// Writes down what nodes kept until a Unix second, period by period, and closes the epochs that are over by then. Nothing is done for less
/// than `least` seconds within an epoch. Returns until when it is written down.
///
/// # Errors
/// [`DbError`].
pub async fn catch_up(
    db: &Db,
    options: PayOptions,
    nodes: &HashMap<NodeId, Heard>,
    until: u64,
    least: u64,
) -> Result<u64, DbError> {
    loop {
        let mut snapshot = db.read().await?;
        let (from, open) = (position(&mut snapshot).await?, epoch::open(&mut snapshot).await?);
        let to = until.min(open.ends).min(from.saturating_add(PERIOD_MAX));
        if to < from.saturating_add(least.max(1)) && to < open.ends {
            return Ok(from);
        }
        let kept = measure(&mut snapshot, from, to, nodes).await?;
        drop(snapshot);
        let period = Period { from, to: to.max(from), epoch: open };
        let rows: Vec<Row> =
            nodes.iter().filter_map(|(node, heard)| period.row(*node, *heard, kept.get(node))).collect();
        db.write(move |conn| {
            let rows = rows.clone();
            Box::pin(async move { write(conn, options, period, &rows).await })
        })
        .await?;
    }
}

async fn position(conn: &mut Conn) -> Result<u64, DbError> {
    let row = sqlx::query("SELECT until FROM ledger_meter WHERE id = 1").fetch_optional(conn).await?;
    unsigned(&row.ok_or(DbError::Corrupt("ledger_meter is empty"))?, 0)
}

#[derive(Clone, Copy)]
struct Period {
    from: u64,
    to: u64,
    epoch: Epoch,
}

#[derive(Clone, Copy)]
struct Row {
    node: NodeId,
    kept: Kept,
    reserved_seconds: u64,
}

impl Period {
    /// What is written down about a node; nothing if it was not heard of.
    fn row(&self, node: NodeId, heard: Heard, kept: Option<&Kept>) -> Option<Row> {
        let reserved_seconds = overlap(self.from, self.to, heard.registered, heard.ended);
        let is_heard = heard.last >= self.from && reserved_seconds > 0;
        is_heard.then(|| Row { node, kept: kept.copied().unwrap_or_default(), reserved_seconds })
    }
}

/// Writes a period, unless somebody else did meanwhile, and closes its epoch if it is the last one of it.
async fn write(conn: &mut Conn, options: PayOptions, period: Period, rows: &[Row]) -> Result<(), DbError> {
    let Period { from, to, epoch } = period;
    let moved = sqlx::query("UPDATE ledger_meter SET until = $1 WHERE id = 1 AND until = $2")
        .bind(signed(to))
        .bind(signed(from))
        .execute(&mut *conn)
        .await?;
    if moved.rows_affected() == 0 {
        return Ok(());
    }
    let head = "INSERT INTO ledger_period (node, begins, ends, epoch, shards, bytes, byte_seconds, reserved_seconds)";
    insert_many(conn, head, 8, "", rows, |statement, row| {
        statement
            .bind(row.node.to_vec())
            .bind(signed(from))
            .bind(signed(to))
            .bind(epoch.id)
            .bind(signed(row.kept.shards))
            .bind(signed(row.kept.bytes))
            .bind(i64::try_from(row.kept.byte_seconds).unwrap_or(i64::MAX))
            .bind(signed(row.reserved_seconds))
    })
    .await?;
    changes::forget(conn, to).await?;
    if to >= epoch.ends {
        close(conn, options, &epoch, now_ns()).await?;
    }
    Ok(())
}

/// What every node kept between two Unix seconds, as a snapshot shows it. A node that ended counts until then.
///
/// # Errors
/// [`DbError`].
pub async fn measure(
    conn: &mut Conn,
    from: u64,
    to: u64,
    nodes: &HashMap<NodeId, Heard>,
) -> Result<HashMap<NodeId, Kept>, DbError> {
    let placements = placements(conn).await?;
    let mut sums = Sums { from, to, nodes, found: HashMap::new() };
    let mut after: Vec<u8> = Vec::new();
    loop {
        let rows = sqlx::query(
            "SELECT id, k, m, length, placement, present, created_ns, freed_ns FROM segment WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(&after[..])
        .bind(PAGE)
        .fetch_all(&mut *conn)
        .await?;
        let Some(last) = rows.last() else { return Ok(sums.kept()) };
        let last: Vec<u8> = last.try_get(0)?;
        let elsewhere = overrides(conn, &after, &last).await?;
        let changed = changes::load(conn, &after, &last, from).await?;
        for row in &rows {
            let shards = Shards::read(row)?;
            if overlap(from, to, shards.created, shards.freed) == 0 {
                continue;
            }
            let id: Vec<u8> = row.try_get(0)?;
            let usual = placements.get(&row.try_get::<Vec<u8>, _>(4)?).map_or(&[][..], |nodes| nodes);
            for shard in (0..64).filter(|shard| (shards.present >> shard) & 1 == 1) {
                let moved = elsewhere.get(&(id.clone(), shard)).copied();
                let Some(node) = moved.or_else(|| usual.get(usize::try_from(shard).ok()?).copied()) else { continue };
                sums.add(node, &shards, u64::MAX, 1);
            }
            for Moment { at, had, has } in changed.get(&id).into_iter().flatten() {
                // Until then the one had it and the other had not.
                if let Some(node) = has {
                    sums.add(*node, &shards, *at, -1);
                }
                if let Some(node) = had {
                    sums.add(*node, &shards, *at, 1);
                }
            }
        }
        after = last;
    }
}

/// Adds up what nodes kept in a period.
struct Sums<'a> {
    from: u64,
    to: u64,
    nodes: &'a HashMap<NodeId, Heard>,
    /// Shards and bytes at the end, and bytes times seconds.
    found: HashMap<NodeId, (i64, i128, i128)>,
}

impl Sums<'_> {
    /// A node has one shard of a segment until a Unix second, `times` 1 or −1.
    fn add(&mut self, node: NodeId, shards: &Shards, until: u64, times: i8) {
        let ended = self.nodes.get(&node).and_then(|heard| heard.ended).unwrap_or(u64::MAX);
        let until = until.min(ended);
        let ends = shards.freed.map_or(until, |freed| freed.min(until));
        let (times, bytes) = (i64::from(times), i128::from(shards.bytes));
        let (count, at_the_end, byte_seconds) = self.found.entry(node).or_default();
        *byte_seconds +=
            i128::from(times) * bytes * i128::from(overlap(self.from, self.to, shards.created, Some(ends)));
        if ends >= self.to {
            *count += times;
            *at_the_end += i128::from(times) * bytes;
        }
    }

    fn kept(self) -> HashMap<NodeId, Kept> {
        let kept = |(count, bytes, byte_seconds): (i64, i128, i128)| Kept {
            shards: u64::try_from(count).unwrap_or(0),
            bytes: u64::try_from(bytes).unwrap_or(0),
            byte_seconds: u128::try_from(byte_seconds).unwrap_or(0),
        };
        self.found.into_iter().map(|(node, sums)| (node, kept(sums))).collect()
    }
}

/// A segment's shards.
struct Shards {
    bytes: u64,
    present: u64,
    created: u64,
    freed: Option<u64>,
}

impl Shards {
    fn read(row: &AnyRow) -> Result<Self, DbError> {
        let number = |column| u32::try_from(row.try_get::<i64, _>(column)?).map_err(|_| DbError::Corrupt("segment.k"));
        let scheme = Scheme::new(number(1)?, number(2)?).map_err(|_| DbError::Corrupt("segment.k"))?;
        let freed: i64 = row.try_get(7)?;
        Ok(Self {
            bytes: shard_len(scheme, unsigned(row, 3)?),
            present: unsigned(row, 5)?,
            created: to_seconds(row.try_get(6)?),
            freed: (freed != 0).then(|| to_seconds(freed)),
        })
    }
}

async fn placements(conn: &mut Conn) -> Result<HashMap<Vec<u8>, Vec<NodeId>>, DbError> {
    let rows = sqlx::query("SELECT id, nodes FROM placement").fetch_all(conn).await?;
    let read = |row: &AnyRow| -> Result<_, DbError> {
        let nodes = row.try_get::<Vec<u8>, _>(1)?;
        Ok((row.try_get(0)?, nodes.as_chunks::<16>().0.iter().copied().map(NodeId).collect()))
    };
    rows.iter().map(read).collect()
}

/// Shards of the segments behind one and up to another that lie elsewhere than their placement says.
async fn overrides(conn: &mut Conn, after: &[u8], last: &[u8]) -> Result<HashMap<(Vec<u8>, i64), NodeId>, DbError> {
    let rows = sqlx::query("SELECT segment, shard, node FROM segment_override WHERE segment > $1 AND segment <= $2")
        .bind(after)
        .bind(last)
        .fetch_all(conn)
        .await?;
    let read = |row: &AnyRow| -> Result<_, DbError> {
        let node = row.try_get::<Vec<u8>, _>(2)?;
        let node = NodeId::try_from(&node[..]).map_err(|_| DbError::Corrupt("segment_override.node"))?;
        Ok(((row.try_get(0)?, row.try_get(1)?), node))
    };
    rows.iter().map(read).collect()
}
