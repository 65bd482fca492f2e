//! How many lost nodes a file survives, as the server knows it: which shards are stored, and which of their nodes are alive.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use cyx_core::extent::PageMap;
use cyx_core::ids::InodeId;
use cyx_core::scheme::Scheme;
use cyx_proto::convert::{required, scheme};
use cyx_proto::meta::v1 as pb;

use crate::error::{Error, IntegrityError, Result};
use crate::tree::types::{Bucket, VerifiedVersion};

/// Blobs asked for in one call.
const BLOBS_PER_CALL: usize = 1024;

/// How the content of a version is stored. Of several segments the one that can lose the least decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durability {
    /// Segments that hold something of it.
    pub segments: u64,
    /// Bytes of it that lie in the server's database, sealed.
    pub inline_bytes: u64,
    /// The worst segment; absent if all of it lies in the server's database.
    pub worst: Option<SegmentHealth>,
}

/// How one segment is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHealth {
    /// Its scheme.
    pub scheme: Scheme,
    /// Shards that are stored on nodes that are alive.
    pub healthy: usize,
}

impl SegmentHealth {
    /// Nodes that may still be lost; `None` if it cannot be read now.
    #[must_use]
    pub const fn survives(&self) -> Option<usize> {
        self.scheme.survives(self.healthy)
    }
}

/// What the server says about blobs, gathered over several answers.
#[derive(Default)]
struct Known {
    blobs: HashMap<Bytes, pb::Blob>,
    segments: HashMap<Bytes, pb::Segment>,
    placements: HashMap<Bytes, pb::Placement>,
    alive: HashSet<Bytes>,
}

impl Known {
    fn add(
        &mut self,
        blobs: Vec<pb::Blob>,
        segments: Vec<pb::Segment>,
        placements: Vec<pb::Placement>,
        nodes: Vec<pb::NodeAccess>,
    ) {
        self.blobs.extend(blobs.into_iter().map(|blob| (blob.id.clone(), blob)));
        self.segments.extend(segments.into_iter().map(|segment| (segment.id.clone(), segment)));
        self.placements.extend(placements.into_iter().map(|placement| (placement.id.clone(), placement)));
        self.alive.extend(nodes.into_iter().filter(|node| node.alive).map(|node| node.node));
    }

    fn health(&self, segment: &Bytes) -> Result<SegmentHealth> {
        let withheld = || Error::from(IntegrityError::Mismatch("it does not say where a segment is"));
        let segment = self.segments.get(segment).ok_or_else(withheld)?;
        let placement = self.placements.get(&segment.placement).ok_or_else(withheld)?;
        let scheme = scheme(segment.scheme, "segment.scheme")?;
        let node_of = |shard: usize| {
            let moved = segment.overrides.iter().find(|other| other.shard as usize == shard).map(|other| &other.node);
            moved.or_else(|| placement.nodes.get(shard))
        };
        let healthy = (0..scheme.n())
            .filter(|shard| segment.present >> shard & 1 == 1)
            .filter(|shard| node_of(*shard).is_some_and(|node| self.alive.contains(node)))
            .count();
        Ok(SegmentHealth { scheme, healthy })
    }
}

impl Bucket {
    /// The newest version of a file, believed, and how it is stored; `what` names the file in errors.
    ///
    /// # Errors
    /// As [`Self::fetch_file`].
    pub async fn durability(&self, file: InodeId, what: &str) -> Result<(VerifiedVersion, Durability)> {
        let (version, mut pages, answer) = self.fetch_file(file, 0..u64::MAX, what).await?;
        let mut known = Known::default();
        known.add(answer.blobs, answer.segments, answer.placements, answer.nodes);
        let wanted = self.blobs_of(&version, &mut pages).await?;
        let missing: Vec<Bytes> = wanted.iter().filter(|blob| !known.blobs.contains_key(*blob)).cloned().collect();
        for ids in missing.chunks(BLOBS_PER_CALL) {
            let request = pb::GetBlobsRequest { bucket: self.id.to_vec().into(), ids: ids.to_vec() };
            let answer = self.client.meta.get_blobs(request).await?;
            known.add(answer.blobs, answer.segments, answer.placements, answer.nodes);
        }
        Ok((version, summary(&known, &wanted)?))
    }

    async fn blobs_of(&self, version: &VerifiedVersion, pages: &mut PageMap) -> Result<HashSet<Bytes>> {
        let extents = self.extents(version, 0..version.size(), pages).await?;
        Ok(extents.iter().map(|extent| extent.blob.to_vec().into()).collect())
    }
}

fn summary(known: &Known, wanted: &HashSet<Bytes>) -> Result<Durability> {
    let mut durability = Durability::default();
    let mut segments = HashSet::new();
    for id in wanted {
        let blob = known.blobs.get(id).ok_or(IntegrityError::Mismatch("it withholds a blob"))?;
        match required(blob.place.as_ref(), "blob.place")? {
            pb::blob::Place::Inline(sealed) => durability.inline_bytes += sealed.len() as u64,
            pb::blob::Place::Segment(place) => {
                segments.insert(place.segment.clone());
            }
        }
    }
    durability.segments = segments.len() as u64;
    for segment in &segments {
        let health = known.health(segment)?;
        // One that cannot be read is worse than one that survives nothing.
        if durability.worst.is_none_or(|worst| health.survives() < worst.survives()) {
            durability.worst = Some(health);
        }
    }
    Ok(durability)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> Bytes {
        vec![byte; 16].into()
    }

    /// Two blobs in segments of 2+1 on nodes 1 to 3; the second has shard 2 moved to node 4 and lacks shard 0.
    fn known(alive: &[u8]) -> (Known, HashSet<Bytes>) {
        let blob = |blob: u8, segment: u8| pb::Blob {
            id: id(blob),
            length: 10,
            place: Some(pb::blob::Place::Segment(pb::BlobPlace { segment: id(segment), offset: 0 })),
        };
        let segment = |segment: u8, present, overrides| pb::Segment {
            id: id(segment),
            scheme: Some(pb::Scheme { k: 2, m: 1 }),
            placement: id(9),
            present,
            overrides,
            ..pb::Segment::default()
        };
        let nodes =
            alive.iter().map(|node| pb::NodeAccess { node: id(*node), alive: true, ..pb::NodeAccess::default() });
        let mut known = Known::default();
        known.add(
            vec![blob(1, 11), blob(2, 12)],
            vec![segment(11, 0b111, vec![]), segment(12, 0b110, vec![pb::Override { shard: 2, node: id(4) }])],
            vec![pb::Placement { id: id(9), scheme: None, nodes: vec![id(1), id(2), id(3)] }],
            nodes.collect(),
        );
        (known, [id(1), id(2)].into())
    }

    fn survives(alive: &[u8]) -> Option<usize> {
        let (known, wanted) = known(alive);
        summary(&known, &wanted).unwrap().worst.unwrap().survives()
    }

    #[test]
    fn the_segment_that_can_lose_the_least_decides() {
        assert_eq!(survives(&[1, 2, 3, 4]), Some(0));
        let (known, _) = known(&[1, 2, 3, 4]);
        assert_eq!(known.health(&id(11)).unwrap().survives(), Some(1));
    }

    #[test]
    fn shards_on_dead_nodes_do_not_count() {
        assert_eq!(survives(&[1, 2, 3]), None, "the moved shard's node is dead");
        assert_eq!(survives(&[2, 3, 4]), Some(0));
    }

    #[test]
    fn a_server_that_withholds_where_something_is_is_noticed() {
        let (mut known, wanted) = known(&[1, 2, 3, 4]);
        known.segments.remove(&id(12));
        assert!(summary(&known, &wanted).is_err());
    }
}
