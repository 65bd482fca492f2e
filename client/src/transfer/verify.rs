//! Is a file still there, whatever its nodes say? Each of them proves what it keeps.
//!
//! Every node reads its chunk and compares it with the hash (an honest one finds rot so), and then proves a random slice of it against the
//! hash that the file's owner recorded (a liar cannot). Neither needs a key: chunks are checked as they are, sealed. A [`Verifier`] asks about
//! each segment once, however many files lie in it.

use std::collections::HashMap;
use std::ops::Range;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{NodeId, SegmentId, random_bytes};
use cyx_core::proof::GROUP;
use cyx_core::scheme::Scheme;
use cyx_core::units::MIB;
use futures_util::stream::{StreamExt as _, iter};

use super::fetch::{AccessMap, SegmentAt};
use super::health::FileHealth;
use super::progress::Progress;
use super::reader::{FileReader, RENEWALS_MAX};
use crate::error::Result;
use crate::nodes::read::{ChunkHealth, ChunkRef};
use crate::nodes::{NodeAccess, NodeError, NodePool, Problem};

/// Segments asked about at a time.
const SEGMENTS_AT_A_TIME: usize = 4;
/// Bytes of a chunk that are proven in one call.
const PIECE: u64 = MIB;
/// Segments whose health is remembered.
const REMEMBERED_MAX: usize = 65_536;

/// What nodes have to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// A random slice of 16 KiB of every shard, after they have read all of it.
    Slices,
    /// Every byte of every shard, which is as much traffic as downloading all shards.
    Whole,
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileVerified {
    /// What its nodes proved.
    pub health: FileHealth,
    /// Segments of which a shard is missing.
    pub degraded: usize,
    /// Segments with fewer shards than an upload would have been acknowledged with.
    pub at_risk: usize,
    /// When the server had a node prove something of the segment for which that is the longest ago, Unix nanoseconds; 0: never, or there is
    /// no segment.
    pub audited_ns: i64,
}

/// What became of one segment.
#[derive(Debug, Clone)]
struct SegmentHealth {
    scheme: Scheme,
    healthy: usize,
    unreachable: Vec<NodeId>,
    faulty: Vec<NodeId>,
    audited_ns: i64,
}

/// What became of one shard.
enum Shard {
    Healthy,
    Faulty,
    Unreachable,
    /// A new grant may help.
    Stale,
}

/// Verifies files, one after the other.
pub struct Verifier {
    depth: Depth,
    known: HashMap<SegmentId, SegmentHealth>,
}

impl Verifier {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(depth: Depth) -> Self {
        Self { depth, known: HashMap::new() }
    }

    /// Has the nodes of a file prove what they keep of it.
    ///
    /// # Errors
    /// Network and integrity errors about the file itself. Nodes that fail are counted, not errors.
    pub async fn file(&mut self, reader: &FileReader, progress: &dyn Progress) -> Result<FileVerified> {
        let segments = reader.segments(0..reader.size()).await?;
        let mut left = reader.size();
        let depth = self.depth;
        let unknown: Vec<_> = segments.iter().filter(|segment| !self.known.contains_key(&segment.id)).collect();
        if self.known.len() + unknown.len() > REMEMBERED_MAX {
            self.known.retain(|id, _| segments.iter().any(|segment| segment.id == *id));
        }
        let mut asked = iter(unknown)
            .map(|segment| async move { (segment, prove_segment(reader, segment, depth).await) })
            .buffer_unordered(SEGMENTS_AT_A_TIME);
        while let Some((segment, health)) = asked.next().await {
            self.known.insert(segment.id, health?);
            let done = segment.length.min(left);
            left -= done;
            progress.bytes(done);
        }
        drop(asked);
        progress.bytes(left);
        Ok(summary(segments.iter().filter_map(|segment| self.known.get(&segment.id))))
    }
}

fn summary<'a>(segments: impl Iterator<Item = &'a SegmentHealth>) -> FileVerified {
    let mut worst: Option<&SegmentHealth> = None;
    let (mut count, mut degraded, mut at_risk, mut oldest) = (0, 0, 0, i64::MAX);
    let (mut unreachable, mut faulty) = (Vec::new(), Vec::new());
    for segment in segments {
        count += 1;
        degraded += usize::from(segment.healthy < segment.scheme.n());
        at_risk += usize::from(segment.healthy < segment.scheme.write_quorum());
        oldest = oldest.min(segment.audited_ns);
        unreachable.extend_from_slice(&segment.unreachable);
        faulty.extend_from_slice(&segment.faulty);
        // One that cannot be read (`None`) is worse than one that survives nothing.
        let survives = |health: &SegmentHealth| health.scheme.survives(health.healthy);
        if worst.is_none_or(|worst| survives(segment) < survives(worst)) {
            worst = Some(segment);
        }
    }
    for nodes in [&mut unreachable, &mut faulty] {
        nodes.sort_unstable();
        nodes.dedup();
    }
    let survives = worst.and_then(|worst| worst.scheme.survives(worst.healthy));
    FileVerified {
        health: FileHealth {
            segments: count,
            scheme: worst.map(|worst| worst.scheme),
            shards_healthy: worst.map_or(0, |worst| worst.healthy),
            survives,
            readable: worst.is_none() || survives.is_some(),
            unreachable,
            faulty,
        },
        degraded,
        at_risk,
        audited_ns: if count == 0 { 0 } else { oldest },
    }
}

/// Has all nodes of a segment prove what they keep of it, at once.
async fn prove_segment(reader: &FileReader, segment: &SegmentAt, depth: Depth) -> Result<SegmentHealth> {
    let pool = reader.transfer().pool();
    let holders: Vec<(usize, NodeId)> =
        segment.holders.iter().enumerate().filter_map(|(shard, holder)| Some((shard, (*holder)?))).collect();
    let bytes = match depth {
        Depth::Slices => GROUP.min(segment.shard_len),
        Depth::Whole => segment.shard_len,
    };
    let mut access: AccessMap = reader.access(segment, bytes).await?;
    let mut found = ask(pool, segment, &access, &holders, depth).await;
    for _ in 0..RENEWALS_MAX {
        let is_stale =
            |shard: &usize| found.iter().any(|(known, state)| known == shard && matches!(state, Shard::Stale));
        let stale: Vec<(usize, NodeId)> = holders.iter().filter(|(shard, _)| is_stale(shard)).copied().collect();
        if stale.is_empty() {
            break;
        }
        let nodes = stale.iter().map(|(_, node)| *node).collect();
        access = reader.access_anew(segment, (&access, &nodes), bytes).await?;
        found.retain(|(_, state)| !matches!(state, Shard::Stale));
        found.extend(ask(pool, segment, &access, &stale, depth).await);
    }
    let mut health = SegmentHealth {
        scheme: segment.scheme,
        healthy: 0,
        unreachable: Vec::new(),
        faulty: Vec::new(),
        audited_ns: segment.audited_ns,
    };
    for (shard, state) in found {
        let Some(node) = segment.holders.get(shard).copied().flatten() else { continue };
        match state {
            Shard::Healthy => health.healthy += 1,
            Shard::Faulty => health.faulty.push(node),
            Shard::Unreachable | Shard::Stale => health.unreachable.push(node),
        }
    }
    Ok(health)
}

async fn ask(
    pool: &NodePool,
    segment: &SegmentAt,
    access: &AccessMap,
    holders: &[(usize, NodeId)],
    depth: Depth,
) -> Vec<(usize, Shard)> {
    iter(holders.iter().copied())
        .map(|(shard, node)| async move {
            let state = match access.get(&node) {
                Some(access) => prove_chunk(pool, access, segment.chunk(shard), depth).await,
                None => Shard::Unreachable,
            };
            (shard, state)
        })
        .buffer_unordered(holders.len().max(1))
        .collect()
        .await
}

/// Has one node prove one chunk.
async fn prove_chunk(pool: &NodePool, access: &NodeAccess, chunk: ChunkRef, depth: Depth) -> Shard {
    let ranges: Vec<Range<u64>> = match depth {
        Depth::Slices => match pool.verify(access, &[chunk], true).await.as_deref() {
            Ok([ChunkHealth::Present]) => vec![slice(chunk.length)],
            Ok(_) => return Shard::Faulty,
            Err(error) => return failed(error),
        },
        Depth::Whole => {
            let step = usize::try_from(PIECE).unwrap_or(usize::MAX);
            (0..chunk.length).step_by(step).map(|start| start..(start + PIECE).min(chunk.length)).collect()
        }
    };
    for range in ranges {
        if let Err(error) = pool.read_proven(access, chunk, range).await {
            return failed(&error);
        }
    }
    Shard::Healthy
}

/// A random group of a chunk.
fn slice(length: u64) -> Range<u64> {
    let groups = length.div_ceil(GROUP).max(1);
    // The bias of the remainder is far below what anybody could notice: there are at most 4,096 groups.
    let start = u64::from_le_bytes(random_bytes()) % groups * GROUP;
    start..(start + GROUP).min(length)
}

fn failed(error: &NodeError) -> Shard {
    tracing::debug!(%error, "a storage node does not prove what it keeps");
    match &error.problem {
        Problem::WrongData(_) => Shard::Faulty,
        Problem::Refused { code: ErrorCode::NotFound | ErrorCode::Integrity, .. } => Shard::Faulty,
        problem if problem.is_stale_grant() => Shard::Stale,
        _ => Shard::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(healthy: usize, audited_ns: i64) -> SegmentHealth {
        let (unreachable, faulty) = (vec![NodeId([2; 16]), NodeId([1; 16])], vec![NodeId([3; 16])]);
        SegmentHealth { scheme: Scheme::DEFAULT, healthy, unreachable, faulty, audited_ns }
    }

    #[test]
    fn the_worst_segment_speaks_for_the_file() {
        let found = summary([segment(14, 5), segment(11, 0), segment(12, 9)].iter());
        assert_eq!((found.health.segments, found.health.shards_healthy, found.health.survives), (3, 11, Some(1)));
        assert_eq!((found.degraded, found.at_risk, found.audited_ns), (2, 1, 0));
        assert_eq!(found.health.unreachable, [NodeId([1; 16]), NodeId([2; 16])]);
        assert_eq!(found.health.faulty.len(), 1);
        let lost = summary([segment(9, 1), segment(10, 1)].iter());
        assert_eq!((lost.health.survives, lost.health.readable), (None, false));
    }

    #[test]
    fn what_lies_in_no_segment_is_readable() {
        let found = summary([].iter());
        assert_eq!((found.health.segments, found.health.readable, found.audited_ns), (0, true, 0));
    }

    #[test]
    fn slices_lie_within_the_chunk_and_reach_its_end() {
        let mut last = false;
        for _ in 0..200 {
            let range = slice(3 * GROUP + 5);
            assert!(range.start.is_multiple_of(GROUP) && !range.is_empty() && range.end <= 3 * GROUP + 5);
            last |= range.end == 3 * GROUP + 5;
        }
        assert!(last);
        assert_eq!(slice(1), 0..1);
    }
}
