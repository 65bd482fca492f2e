//! Draws chunks of a node, each with the same chance.
//!
//! Nothing lists chunks by node: they are the segments of its placements, less those whose shard lies elsewhere, and its overrides. These
//! are its *strata*. A stratum is drawn by its size, then a segment in it: from a random id on, one of the next [`WINDOW`]. Gaps
//! between random ids differ, and taking the very next id would favour those behind large gaps for ever; among so many it evens out, and
//! a stratum of no more than [`WINDOW`] is drawn from evenly to the last.

use std::collections::HashMap;

use cyx_core::ids::{BucketId, ID_LEN, NodeId, PlacementId, SegmentId};
use cyx_core::proof::GROUP;
use cyx_core::scheme::Scheme;
use cyx_core::segment::shard_len;
use rand::{Rng, RngExt as _};
use sqlx::Row as _;

use crate::collect::holdings::Held;
use crate::db::{Conn, DbError};

/// Neighbours among which one is drawn.
const WINDOW: usize = 64;
/// Segments that are drawn for one slice before it is given up: those that were freed or lie elsewhere do not do.
const DRAWS: usize = 8;

/// A part of what a node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stratum {
    /// Shard `shard` of every segment of a placement.
    Placement {
        /// The placement.
        placement: PlacementId,
        /// Which shard.
        shard: u8,
    },
    /// Whatever lies there beside its placement.
    Overrides,
}

/// What a node holds, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    strata: Vec<(Stratum, u64)>,
}

impl Holdings {
    /// Draws a stratum by its size.
    fn draw<R: Rng>(&self, rng: &mut R) -> Option<Stratum> {
        let all: u64 = self.strata.iter().map(|(_, count)| count).sum();
        let mut ticket = if all == 0 { return None } else { rng.random_range(0..all) };
        for (stratum, count) in &self.strata {
            match ticket.checked_sub(*count) {
                Some(rest) => ticket = rest,
                None => return Some(*stratum),
            }
        }
        None
    }
}

/// Counts what every node holds. One walk over the index of segments.
///
/// # Errors
/// [`DbError`].
pub async fn count(conn: &mut Conn) -> Result<HashMap<NodeId, Holdings>, DbError> {
    let mut sizes: HashMap<Vec<u8>, u64> = HashMap::new();
    let text = "SELECT placement, CAST(COUNT(*) AS BIGINT) FROM segment GROUP BY placement";
    for row in sqlx::query(text).fetch_all(&mut *conn).await? {
        sizes.insert(row.try_get(0)?, unsigned(row.try_get(1)?));
    }
    let mut found: HashMap<NodeId, Holdings> = HashMap::new();
    for row in sqlx::query("SELECT node, placement, shard FROM placement_node").fetch_all(&mut *conn).await? {
        let placement: Vec<u8> = row.try_get(1)?;
        let Some(size) = sizes.get(&placement) else { continue };
        let placement = PlacementId::try_from(&placement[..]).map_err(|_| DbError::Corrupt("placement_node"))?;
        let stratum = Stratum::Placement { placement, shard: shard(row.try_get(2)?)? };
        found.entry(node(&row.try_get::<Vec<u8>, _>(0)?)?).or_default().strata.push((stratum, *size));
    }
    let text = "SELECT node, CAST(COUNT(*) AS BIGINT) FROM segment_override GROUP BY node";
    for row in sqlx::query(text).fetch_all(&mut *conn).await? {
        let entry = found.entry(node(&row.try_get::<Vec<u8>, _>(0)?)?).or_default();
        entry.strata.push((Stratum::Overrides, unsigned(row.try_get(1)?)));
    }
    Ok(found)
}

/// A shard, and what its node has to prove of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The shard.
    pub held: Held,
    /// Whose it is.
    pub bucket: BucketId,
    /// BLAKE3 of the chunk.
    pub root: [u8; 32],
    /// Bytes of the chunk.
    pub length: u64,
    /// Where the slice begins: at a multiple of [`GROUP`], below `length`.
    pub offset: u64,
}

impl Slice {
    /// The bytes to be proven.
    #[must_use]
    pub fn range(&self) -> std::ops::Range<u64> {
        self.offset..(self.offset + GROUP).min(self.length)
    }
}

/// A shard as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// The node whose it is to hold.
    pub node: Option<NodeId>,
    /// Whose it is.
    pub bucket: BucketId,
    /// BLAKE3 of the chunk.
    pub root: [u8; 32],
    /// Bytes of the chunk.
    pub length: u64,
    /// It is stored, and something refers to it.
    pub wanted: bool,
}

/// A shard's present state; `None` if there is no such segment any more.
///
/// # Errors
/// [`DbError`].
pub async fn load(conn: &mut Conn, held: Held) -> Result<Option<Shard>, DbError> {
    let row = sqlx::query(
        "SELECT s.bucket, s.k, s.m, s.length, s.present, s.roots, s.freed_ns, COALESCE(\
         (SELECT o.node FROM segment_override o WHERE o.segment = s.id AND o.shard = $2), \
         (SELECT p.node FROM placement_node p WHERE p.placement = s.placement AND p.shard = $2)) \
         FROM segment s WHERE s.id = $1",
    )
    .bind(&held.segment.0[..])
    .bind(i64::from(held.shard))
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let bucket: Vec<u8> = row.try_get(0)?;
    let [k, m] = [row.try_get::<i64, _>(1)?, row.try_get(2)?].map(|value| u32::try_from(value).unwrap_or(u32::MAX));
    let scheme = Scheme::new(k, m).map_err(|_| DbError::Corrupt("segment.k"))?;
    let roots: Vec<u8> = row.try_get(5)?;
    let root = roots.as_chunks::<32>().0.get(usize::from(held.shard)).copied();
    let present = row.try_get::<i64, _>(4)? & (1_i64 << held.shard.min(62)) != 0;
    let holder: Option<Vec<u8>> = row.try_get(7)?;
    Ok(Some(Shard {
        node: holder.as_deref().map(node).transpose()?,
        bucket: BucketId::try_from(&bucket[..]).map_err(|_| DbError::Corrupt("segment.bucket"))?,
        length: shard_len(scheme, unsigned(row.try_get(3)?)),
        // Without a root nothing can be proven.
        wanted: present && row.try_get::<i64, _>(6)? == 0 && root.is_some(),
        root: root.unwrap_or_default(),
    }))
}

/// Draws up to `count` different chunks that `of` is to hold, with a slice of each.
///
/// # Errors
/// [`DbError`].
pub async fn draw<R: Rng>(
    conn: &mut Conn,
    of: NodeId,
    holdings: &Holdings,
    count: usize,
    rng: &mut R,
) -> Result<Vec<Slice>, DbError> {
    let mut found: Vec<Slice> = Vec::with_capacity(count);
    for _ in 0..count {
        for _ in 0..DRAWS {
            let Some(stratum) = holdings.draw(rng) else { return Ok(found) };
            let Some(held) = draw_from(conn, of, stratum, &found, rng).await? else { continue };
            let Some(shard) = load(conn, held).await? else { continue };
            if shard.node != Some(of) || !shard.wanted {
                continue;
            }
            let groups = shard.length.div_ceil(GROUP).max(1);
            let offset = rng.random_range(0..groups) * GROUP;
            let Shard { bucket, root, length, .. } = shard;
            found.push(Slice { held, bucket, root, length, offset });
            break;
        }
    }
    Ok(found)
}

/// One of the next segments behind a random id, around the end if need be, that was not found before. Who holds few chunks is asked
/// about every one of them this way.
async fn draw_from<R: Rng>(
    conn: &mut Conn,
    of: NodeId,
    stratum: Stratum,
    found: &[Slice],
    rng: &mut R,
) -> Result<Option<Held>, DbError> {
    let from: [u8; ID_LEN] = rng.random();
    let mut window = next_in(conn, of, stratum, &from).await?;
    if window.len() < WINDOW {
        let first = next_in(conn, of, stratum, &[]).await?.into_iter().filter(|held| held.segment.0 <= from);
        window.extend(first.take(WINDOW - window.len()));
    }
    window.retain(|held| found.iter().all(|slice| slice.held != *held));
    Ok(if window.is_empty() { None } else { Some(window[rng.random_range(0..window.len())]) })
}

/// The first shards of a stratum behind an id.
async fn next_in(conn: &mut Conn, of: NodeId, stratum: Stratum, after: &[u8]) -> Result<Vec<Held>, DbError> {
    let limit = i64::try_from(WINDOW).unwrap_or(i64::MAX);
    let rows = match stratum {
        Stratum::Placement { placement, .. } => {
            sqlx::query("SELECT id FROM segment WHERE placement = $1 AND id > $2 ORDER BY id LIMIT $3")
                .bind(placement.to_vec())
                .bind(after)
                .bind(limit)
                .fetch_all(conn)
                .await?
        }
        Stratum::Overrides => {
            let text = "SELECT segment, shard FROM segment_override WHERE node = $1 AND segment > $2 \
                        ORDER BY segment, shard LIMIT $3";
            sqlx::query(text).bind(of.to_vec()).bind(after).bind(limit).fetch_all(conn).await?
        }
    };
    rows.iter()
        .map(|row| {
            let segment: Vec<u8> = row.try_get(0)?;
            let segment = SegmentId::try_from(&segment[..]).map_err(|_| DbError::Corrupt("segment.id"))?;
            let shard = match stratum {
                Stratum::Placement { shard, .. } => shard,
                Stratum::Overrides => shard(row.try_get(1)?)?,
            };
            Ok(Held { segment, shard })
        })
        .collect()
}

fn node(bytes: &[u8]) -> Result<NodeId, DbError> {
    NodeId::try_from(bytes).map_err(|_| DbError::Corrupt("the id of a node"))
}

fn shard(value: i64) -> Result<u8, DbError> {
    u8::try_from(value).map_err(|_| DbError::Corrupt("the index of a shard"))
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use cyx_core::ids::Random as _;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;
    use crate::nodes::testing::{execute, literal, node, placement, segment, server_with};
    use crate::test_support::TestApp;

    /// The shard goes to another node.
    async fn send(test: &TestApp, segment: SegmentId, shard: u8, to: NodeId) {
        let (segment, to) = (literal(test, &segment.0), literal(test, &to.0));
        let text = format!("INSERT INTO segment_override (segment, shard, node) VALUES ({segment}, {shard}, {to})");
        execute(test, &[text]).await;
    }

    async fn rooted(test: &TestApp, placement: &crate::placement::Placement) -> SegmentId {
        let id = SegmentId::random();
        segment(test, id, placement).await;
        let roots = literal(test, &vec![7; placement.scheme.n() * 32]);
        let key = literal(test, &id.0);
        let bucket = literal(test, &[3; 16]);
        let text = format!("UPDATE segment SET roots = {roots}, length = 100000, bucket = {bucket} WHERE id = {key}");
        execute(test, &[text]).await;
        id
    }

    async fn drawn(test: &TestApp, of: NodeId, count: usize, seed: u64) -> Vec<Slice> {
        let mut read = test.app.db.read().await.unwrap();
        let holdings = self::count(&mut read).await.unwrap().remove(&of).unwrap_or_default();
        draw(&mut read, of, &holdings, count, &mut StdRng::seed_from_u64(seed)).await.unwrap()
    }

    #[tokio::test]
    async fn every_chunk_of_a_node_is_drawn_as_often_as_any_other_and_no_other_is() {
        let test = server_with((1..=4).map(node), |_| {}).await;
        let scheme = Scheme::new(2, 1).unwrap();
        let nodes: Vec<NodeId> = (1..=4).map(|number| node(number).id).collect();
        let first = placement(&test, scheme, &nodes[..3]).await;
        let second = placement(&test, scheme, &nodes[1..]).await;
        let mut mine: HashMap<Held, u32> = HashMap::new();
        for _ in 0..12 {
            let id = rooted(&test, &first).await;
            mine.insert(Held { segment: id, shard: 1 }, 0);
        }
        for number in 0..6 {
            let id = rooted(&test, &second).await;
            if number < 2 {
                // These went to the fourth node; these came from it.
                send(&test, id, 0, nodes[0]).await;
                continue;
            }
            mine.insert(Held { segment: id, shard: 0 }, 0);
        }
        let id = rooted(&test, &first).await;
        send(&test, id, 2, nodes[1]).await;
        mine.insert(Held { segment: id, shard: 1 }, 0);
        mine.insert(Held { segment: id, shard: 2 }, 0);
        let draws = 3000;
        for seed in 0..draws {
            for slice in drawn(&test, nodes[1], 1, seed).await {
                *mine.get_mut(&slice.held).expect("only what it is to hold") += 1;
                assert!(slice.offset.is_multiple_of(GROUP) && slice.offset < slice.length);
                assert_eq!((slice.length, slice.root), (50_000, [7; 32]));
            }
        }
        // 18 chunks: 167 times each, with a standard deviation of 13.
        assert_eq!(mine.len(), 18);
        assert!(mine.values().all(|times| (100..240).contains(times)), "{mine:?}");
    }

    #[tokio::test]
    async fn who_holds_few_chunks_is_asked_about_every_one() {
        let test = server_with((1..=3).map(node), |_| {}).await;
        let nodes: Vec<NodeId> = (1..=3).map(|number| node(number).id).collect();
        let place = placement(&test, Scheme::new(2, 1).unwrap(), &nodes).await;
        for _ in 0..4 {
            rooted(&test, &place).await;
        }
        for seed in 0..500 {
            assert_eq!(drawn(&test, nodes[0], 5, seed).await.len(), 4, "seed {seed}");
            assert_eq!(drawn(&test, nodes[0], 3, seed).await.len(), 3, "seed {seed}");
        }
    }

    #[tokio::test]
    async fn what_is_missing_or_freed_is_not_asked_for_and_nothing_twice() {
        let test = server_with((1..=3).map(node), |_| {}).await;
        let nodes: Vec<NodeId> = (1..=3).map(|number| node(number).id).collect();
        let place = placement(&test, Scheme::new(2, 1).unwrap(), &nodes).await;
        let mut wanted = HashSet::new();
        for number in 0..6 {
            let id = rooted(&test, &place).await;
            let key = literal(&test, &id.0);
            match number {
                0 => execute(&test, &[format!("UPDATE segment SET freed_ns = 5 WHERE id = {key}")]).await,
                1 => execute(&test, &[format!("UPDATE segment SET present = 6 WHERE id = {key}")]).await,
                _ => {
                    wanted.insert(id);
                }
            }
        }
        let found = drawn(&test, nodes[0], 50, 1).await;
        let ids: HashSet<SegmentId> = found.iter().map(|slice| slice.held.segment).collect();
        assert_eq!(ids.len(), found.len(), "nothing twice");
        assert_eq!(ids, wanted);
        assert_eq!(drawn(&test, NodeId::random(), 5, 1).await, []);
    }
}
