//! Overrides become placements.
//!
//! Spares that stepped in and repairs leave shards at other nodes than their segment's placement says, one row each. Where many segments
//! have the same nodes in the same order by now, they get a placement that says so, and their overrides go: rows are fewer, and whatever
//! walks placements is faster. Where a shard lies never changes by that, so readers, keep-lists and audits see no difference; an
//! answer that was given before stays right.
//!
//! Placements are to stay few, so a new one is made only for many segments, the most common ones first. It is never given out in
//! leases. Overrides of segments that share their nodes with few others stay.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cyx_core::ids::{NodeId, PlacementId, Random as _, SegmentId};
use cyx_core::scheme::Scheme;
use sqlx::Row as _;

use crate::db::{Backend, Conn, Db, DbError};
use crate::placement::{Placement, rows};
use crate::tree::sql;

/// Segments that are worth a placement of their own.
pub const WORTH: u64 = 64;
/// Most placements that one run makes.
const MADE_MAX: usize = 16;
/// Most ways to differ from placements that one run looks at; the rest comes next time.
const WAYS_MAX: usize = 1 << 16;
/// Overrides per statement.
const PAGE: i64 = 4096;
/// Segments that are changed in one transaction.
const BATCH: usize = 256;

/// How a segment's nodes differ from its placement: shard and node, by shard.
type Overrides = Vec<(u8, NodeId)>;

/// A segment with overrides.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Overridden {
    segment: SegmentId,
    placement: PlacementId,
    overrides: Overrides,
}

/// The nodes of a segment in the order of its shards.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Nodes {
    scheme: (usize, usize),
    nodes: Vec<NodeId>,
}

/// Folds what is worth it: whose nodes a placement has already, or that are `worth` segments with the same nodes. How many segments lost
/// their overrides. `now` in Unix nanoseconds.
///
/// # Errors
/// [`DbError`]; what was done before stays.
pub async fn fold(db: &Db, worth: u64, now: i64) -> Result<u64, DbError> {
    let targets = Arc::new(plan(db, worth, now).await?);
    if targets.is_empty() {
        return Ok(0);
    }
    let mut folded = 0;
    let mut walk = Walk::default();
    loop {
        let page = walk.next(&mut *db.read().await?).await?;
        if page.is_empty() {
            return Ok(folded);
        }
        let known: Vec<Overridden> = page
            .into_iter()
            .filter(|found| targets.contains_key(&(found.placement, found.overrides.clone())))
            .collect();
        for batch in known.chunks(BATCH) {
            let (batch, targets, backend): (Arc<[Overridden]>, _, _) =
                (batch.into(), Arc::clone(&targets), db.backend());
            folded += db
                .write(move |conn| {
                    let (batch, targets) = (Arc::clone(&batch), Arc::clone(&targets));
                    Box::pin(async move { fold_batch(conn, backend, &batch, &targets).await })
                })
                .await?;
        }
    }
}

/// A placement and how segments differ from it.
type Way = (PlacementId, Overrides);
type Targets = HashMap<Way, PlacementId>;

/// Segments with the same nodes.
#[derive(Default)]
struct Group {
    segments: u64,
    ways: Vec<Way>,
}

/// Decides which ways to differ from a placement are folded, and into what. Makes the placements that are missing.
async fn plan(db: &Db, worth: u64, now: i64) -> Result<Targets, DbError> {
    let mut read = db.read().await?;
    let mut ways: HashMap<Way, u64> = HashMap::new();
    let mut walk = Walk::default();
    loop {
        let page = walk.next(&mut read).await?;
        if page.is_empty() {
            break;
        }
        for found in page {
            let way = (found.placement, found.overrides);
            if ways.len() < WAYS_MAX || ways.contains_key(&way) {
                *ways.entry(way).or_default() += 1;
            }
        }
    }
    let mut placements: HashMap<PlacementId, Option<Placement>> = HashMap::new();
    let mut wanted: HashMap<Nodes, Group> = HashMap::new();
    for (way, count) in ways {
        let placement = match placements.entry(way.0) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(rows::load(&mut read, way.0).await?),
        };
        if let Some(nodes) = placement.as_ref().and_then(|placement| overridden(placement, &way.1)) {
            let group = wanted.entry(nodes).or_default();
            group.segments += count;
            group.ways.push(way);
        }
    }
    // The most common ones first; the nodes decide between equals.
    let mut wanted: Vec<(Nodes, Group)> = wanted.into_iter().collect();
    wanted.sort_by(|(a, many), (b, more)| more.segments.cmp(&many.segments).then_with(|| a.cmp(b)));
    let (mut targets, mut made) = (Targets::new(), Vec::new());
    for (nodes, Group { segments, ways }) in wanted {
        let target = match rows::find(&mut read, nodes.scheme, &nodes.nodes).await? {
            Some(found) => found,
            None if segments >= worth && made.len() < MADE_MAX => {
                let (k, m) = nodes.scheme;
                let [k, m] = [k, m].map(|part| u32::try_from(part).unwrap_or(u32::MAX));
                let scheme = Scheme::new(k, m).map_err(|_| DbError::Corrupt("placement.k"))?;
                let placement = Placement { id: PlacementId::random(), scheme, nodes: nodes.nodes };
                let id = placement.id;
                made.push(placement);
                id
            }
            None => continue,
        };
        targets.extend(ways.into_iter().map(|way| (way, target)));
    }
    drop(read);
    let (made, backend): (Arc<[Placement]>, _) = (made.into(), db.backend());
    db.write(move |conn| {
        let made = Arc::clone(&made);
        Box::pin(async move {
            for placement in made.iter() {
                rows::insert(conn, backend, placement, now).await?;
                rows::close(conn, placement.id).await?;
            }
            Ok::<_, DbError>(())
        })
    })
    .await?;
    Ok(targets)
}

/// The nodes of a segment of this placement with these overrides. `None` if no placement can say the same: one would have a gap, or a node
/// twice.
fn overridden(placement: &Placement, overrides: &Overrides) -> Option<Nodes> {
    let mut nodes = placement.nodes.clone();
    for (shard, node) in overrides {
        let shard = usize::from(*shard);
        if shard < nodes.len() {
            nodes[shard] = *node;
        } else if shard == nodes.len() {
            nodes.push(*node);
        } else {
            return None;
        }
    }
    let scheme = placement.scheme;
    let fits = nodes.len() <= scheme.n() && nodes.iter().collect::<HashSet<_>>().len() == nodes.len();
    fits.then_some(Nodes { scheme: (scheme.k(), scheme.m()), nodes })
}

/// Goes over the segments that have overrides.
#[derive(Default)]
struct Walk {
    after: Vec<u8>,
}

impl Walk {
    /// The next ones, in the order of their ids. None: it is over.
    async fn next(&mut self, conn: &mut Conn) -> Result<Vec<Overridden>, DbError> {
        let rows = sqlx::query(
            "SELECT o.segment, s.placement, o.shard, o.node FROM segment_override o JOIN segment s ON s.id = o.segment \
             WHERE o.segment > $1 ORDER BY o.segment, o.shard LIMIT $2",
        )
        .bind(&self.after[..])
        .bind(PAGE)
        .fetch_all(conn)
        .await?;
        let mut found: Vec<Overridden> = Vec::new();
        for row in &rows {
            let segment: SegmentId = sql::id(row, 0)?;
            let (shard, node) = (sql::uint(row, 2)?, sql::id(row, 3)?);
            match found.last_mut() {
                Some(last) if last.segment == segment => last.overrides.push((shard, node)),
                _ => found.push(Overridden { segment, placement: sql::id(row, 1)?, overrides: vec![(shard, node)] }),
            }
        }
        // The last one may go on in the next page. No segment has as many shards as a page has rows.
        if i64::try_from(rows.len()) == Ok(PAGE) {
            found.pop();
        }
        if let Some(last) = found.last() {
            self.after = last.segment.to_vec();
        }
        Ok(found)
    }
}

/// Gives segments their new placement, those that still are as they were found.
async fn fold_batch(
    conn: &mut Conn,
    backend: Backend,
    batch: &[Overridden],
    targets: &Targets,
) -> Result<u64, DbError> {
    let way = |found: &Overridden| targets.get(&(found.placement, found.overrides.clone())).copied();
    // Nothing refers to a new placement yet, so another collection may have deleted it since.
    let there = still_there(conn, backend, batch.iter().filter_map(way).collect()).await?;
    let mut folded = 0;
    for found in batch {
        let Some(target) = way(found).filter(|target| there.contains(target)) else { continue };
        if now_of(conn, backend, found.segment).await? != Some((found.placement, found.overrides.clone())) {
            continue;
        }
        sqlx::query("UPDATE segment SET placement = $2 WHERE id = $1")
            .bind(found.segment.to_vec())
            .bind(target.to_vec())
            .execute(&mut *conn)
            .await?;
        sqlx::query("DELETE FROM segment_override WHERE segment = $1")
            .bind(found.segment.to_vec())
            .execute(&mut *conn)
            .await?;
        folded += 1;
    }
    Ok(folded)
}

/// Those of the placements that exist, kept from being deleted until the transaction ends.
async fn still_there(
    conn: &mut Conn,
    backend: Backend,
    placements: BTreeSet<PlacementId>,
) -> Result<HashSet<PlacementId>, DbError> {
    let text = format!("SELECT 1 FROM placement WHERE id = $1{}", backend.for_share());
    let mut there = HashSet::new();
    // In the order of their ids, as whoever deletes them does: nobody then waits for the other for ever.
    for id in placements {
        let row = sqlx::query(sqlx::AssertSqlSafe(&text[..])).bind(id.to_vec()).fetch_optional(&mut *conn).await?;
        if row.is_some() {
            there.insert(id);
        }
    }
    Ok(there)
}

/// A segment's placement and overrides, kept from changing until the transaction ends.
async fn now_of(conn: &mut Conn, backend: Backend, segment: SegmentId) -> Result<Option<Way>, DbError> {
    let lock = backend.for_update();
    let text = format!("SELECT placement FROM segment WHERE id = $1{lock}");
    let row = sqlx::query(sqlx::AssertSqlSafe(text)).bind(segment.to_vec()).fetch_optional(&mut *conn).await?;
    let Some(row) = row else { return Ok(None) };
    let text = format!("SELECT shard, node FROM segment_override WHERE segment = $1 ORDER BY shard{lock}");
    let rows = sqlx::query(sqlx::AssertSqlSafe(text)).bind(segment.to_vec()).fetch_all(&mut *conn).await?;
    let overrides = rows.iter().map(|row| Ok((sql::uint(row, 0)?, sql::id(row, 1)?)));
    let overrides: Overrides = overrides.collect::<Result<_, DbError>>()?;
    let placement = row.try_get::<Vec<u8>, _>(0)?;
    let placement = PlacementId::try_from(&placement[..]).map_err(|_| DbError::Corrupt("segment.placement"))?;
    Ok(Some((placement, overrides)))
}

#[cfg(test)]
mod tests;
