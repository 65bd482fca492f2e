//! What the server says about blobs, segments and nodes, checked as far as it can be.

use std::collections::HashMap;
use std::sync::Arc;

use cyx_core::extent::Extent;
use cyx_core::ids::{BlobId, NodeId, PlacementId};
use cyx_core::segment::shard_len;
use cyx_core::units::CHUNK_MAX;
use cyx_proto::convert::{self, id, required};
use cyx_proto::meta::v1 as pb;

use super::{BlobAt, Map};
use crate::error::{IntegrityError, Result};
use crate::nodes::NodeAccess;
use crate::transfer::fetch::{AccessMap, SegmentAt};

impl Map {
    /// The blobs of these extents of which is not known where they lie, once each.
    pub(super) fn unknown(&self, extents: &[Extent]) -> Vec<BlobId> {
        let mut unknown: Vec<BlobId> =
            extents.iter().map(|extent| extent.blob).filter(|blob| !self.blobs.contains_key(blob)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    pub(super) fn take_segments(&mut self, segments: Vec<pb::Segment>, placements: Vec<pb::Placement>) -> Result<()> {
        for placement in placements {
            let scheme = convert::scheme(placement.scheme, "placement.scheme")?;
            let nodes: Vec<NodeId> =
                placement.nodes.iter().map(|node| id(node, "placement.node")).collect::<std::result::Result<_, _>>()?;
            if !(scheme.k()..=scheme.n()).contains(&nodes.len()) {
                return Err(IntegrityError::Mismatch("a placement has the wrong number of nodes").into());
            }
            self.placements.insert(id(&placement.id, "placement.id")?, nodes);
        }
        for segment in segments {
            let segment = segment_at(&segment, &self.placements)?;
            self.segments.insert(segment.id, Arc::new(segment));
        }
        Ok(())
    }

    pub(super) fn take_blobs(&mut self, blobs: Vec<pb::Blob>) -> Result<()> {
        for blob in blobs {
            let at = match required(blob.place, "blob.place")? {
                pb::blob::Place::Inline(sealed) => BlobAt::Inline(sealed),
                pb::blob::Place::Segment(place) => {
                    BlobAt::Segment { segment: id(&place.segment, "blob.segment")?, offset: place.offset }
                }
            };
            self.blobs.insert(id(&blob.id, "blob.id")?, at);
        }
        Ok(())
    }
}

/// Nodes and how to reach them, checked.
pub(super) fn access_of(nodes: Vec<pb::NodeAccess>) -> Result<AccessMap> {
    let nodes = nodes.into_iter().map(|node| NodeAccess::try_from(node).map(|access| (access.node, access)));
    Ok(nodes.collect::<std::result::Result<_, _>>()?)
}

fn segment_at(segment: &pb::Segment, placements: &HashMap<PlacementId, Vec<NodeId>>) -> Result<SegmentAt> {
    let scheme = convert::scheme(segment.scheme, "segment.scheme")?;
    let roots = convert::roots(&segment.roots, scheme, "segment.roots")?;
    let placement: PlacementId = id(&segment.placement, "segment.placement")?;
    let nodes = placements.get(&placement).ok_or(IntegrityError::Mismatch("it withholds a placement"))?;
    let is_present = |index: usize| segment.present & (1 << index) != 0;
    let mut holders: Vec<Option<NodeId>> =
        (0..scheme.n()).map(|index| nodes.get(index).copied().filter(|_| is_present(index))).collect();
    for moved in &segment.overrides {
        let index = usize::try_from(moved.shard).unwrap_or(usize::MAX);
        if let Some(holder) = holders.get_mut(index).filter(|_| index < scheme.n() && is_present(index)) {
            *holder = Some(id(&moved.node, "segment.override")?);
        }
    }
    let shard_len = shard_len(scheme, segment.length);
    if shard_len > CHUNK_MAX {
        return Err(IntegrityError::Mismatch("a segment is longer than any can be").into());
    }
    Ok(SegmentAt {
        id: id(&segment.id, "segment.id")?,
        scheme,
        length: segment.length,
        shard_len,
        holders,
        roots,
        audited_ns: segment.audited_ns,
    })
}
