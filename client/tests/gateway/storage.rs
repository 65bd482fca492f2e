//! The part of the fake gateway that knows where content is. Receipts are checked as a server checks them.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{LeaseId, PlacementId, Random as _, SegmentId};
use cyx_core::receipt::Receipt;
use cyx_core::scheme::Scheme;
use cyx_proto::convert;
use cyx_proto::meta::v1 as pb;
use cyx_proto::status::status;
use tonic::Status;

/// Nodes, and what is stored on them.
#[derive(Default)]
pub struct Storage {
    /// Nodes that can be leased and read, with grants for everything.
    pub nodes: Vec<pb::NodeAccess>,
    pub blobs: HashMap<Bytes, pb::Blob>,
    pub segments: HashMap<Bytes, pb::Segment>,
    pub placements: HashMap<Bytes, pb::Placement>,
    pub leases: Vec<Bytes>,
    pub leased: u32,
    /// Why no lease is given.
    pub refuses_leases: Option<(ErrorCode, &'static str)>,
    /// Bytes that leases may still be for, if that is limited.
    pub room: Option<u64>,
    /// What leases took of that.
    held: HashMap<Bytes, u64>,
    /// Blobs by staging transaction.
    pub staged: HashMap<Bytes, Vec<Bytes>>,
}

impl Storage {
    pub fn release(&mut self, leases: &[Bytes]) {
        self.leases.retain(|lease| !leases.contains(lease));
        let back: u64 = leases.iter().filter_map(|lease| self.held.remove(lease)).sum();
        self.room = self.room.map(|room| room + back);
    }

    pub fn lease(&mut self, asked: &pb::LeasePlacementRequest) -> Result<pb::LeasePlacementResponse, Status> {
        if let Some((code, message)) = self.refuses_leases {
            return Err(status(code, message));
        }
        if self.room.is_some_and(|room| room < asked.bytes) {
            return Err(status(ErrorCode::QuotaExceeded, "no room"));
        }
        let usable: Vec<pb::NodeAccess> =
            self.nodes.iter().filter(|access| !asked.avoid.contains(&access.node)).cloned().collect();
        let most = asked.at_most.map_or(usize::MAX, |scheme| (scheme.k + scheme.m) as usize);
        let fits = |scheme: &Scheme| scheme.n() <= most && scheme.write_quorum() <= usable.len();
        let scheme = Scheme::LADDER.into_iter().find(fits).ok_or_else(|| status(ErrorCode::TooFewNodes, "too few"))?;
        let nodes: Vec<pb::NodeAccess> = usable.iter().take(scheme.n()).cloned().collect();
        let spares = usable.iter().skip(scheme.n()).take(4).cloned().collect();
        let (lease, placement) = (convert::bytes_of(LeaseId::random()), convert::bytes_of(PlacementId::random()));
        self.leases.push(lease.clone());
        self.leased += 1;
        if let Some(room) = &mut self.room {
            *room -= asked.bytes;
            self.held.insert(lease.clone(), asked.bytes);
        }
        let row = pb::Placement {
            id: placement.clone(),
            scheme: Some(scheme.into()),
            nodes: nodes.iter().map(|access| access.node.clone()).collect(),
        };
        self.placements.insert(placement.clone(), row);
        let lease = pb::PlacementLease {
            lease,
            placement,
            scheme: Some(scheme.into()),
            nodes,
            spares,
            allowance: asked.bytes,
            expires_at: super::now() + 3600,
            warning: String::new(),
        };
        Ok(pb::LeasePlacementResponse { leases: vec![lease] })
    }

    /// Takes segments and blobs over, if receipts prove every shard where it is said to be.
    pub fn take(
        &mut self,
        segments: &[pb::SegmentUpload],
        blobs: &[pb::Blob],
        receipts: &[Bytes],
        staged: &[u8],
    ) -> Result<(), ErrorCode> {
        let mut proven = HashSet::new();
        for receipt in receipts {
            let named = Receipt::read_unchecked(receipt).map_err(|_| ErrorCode::InvalidArgument)?;
            let access = self.nodes.iter().find(|access| access.node == named.node.0[..]);
            let key: [u8; 32] = access.ok_or(ErrorCode::InvalidArgument)?.public_key[..].try_into().unwrap();
            let receipt = Receipt::verify(receipt, &key).map_err(|_| ErrorCode::InvalidArgument)?;
            proven.extend(receipt.chunks.iter().map(|chunk| (receipt.node, chunk.id, chunk.root)));
        }
        for upload in segments {
            let segment = upload.segment.clone().unwrap();
            if !self.leases.contains(&upload.lease) {
                return Err(ErrorCode::Restage);
            }
            let placement = self.placements.get(&segment.placement).ok_or(ErrorCode::InvalidArgument)?;
            let id = SegmentId::try_from(&segment.id[..]).unwrap();
            for shard in (0..32_u8).filter(|shard| segment.present & (1 << shard) != 0) {
                let moved = segment.overrides.iter().find(|moved| moved.shard == u32::from(shard));
                let node = moved.map_or_else(|| &placement.nodes[usize::from(shard)], |moved| &moved.node);
                let node = cyx_core::ids::NodeId::try_from(&node[..]).unwrap();
                let root: [u8; 32] = segment.roots[usize::from(shard) * 32..][..32].try_into().unwrap();
                if !proven.contains(&(node, cyx_core::chunk::chunk_id(id, shard), root)) {
                    return Err(ErrorCode::InvalidArgument);
                }
            }
            self.segments.insert(segment.id.clone(), segment);
        }
        for blob in blobs {
            if let Some(pb::blob::Place::Segment(place)) = &blob.place
                && !self.segments.contains_key(&place.segment)
            {
                return Err(ErrorCode::InvalidArgument);
            }
            self.blobs.insert(blob.id.clone(), blob.clone());
        }
        self.staged.remove(staged);
        Ok(())
    }

    pub fn blobs_answer(&self, ids: &[Bytes]) -> pb::GetBlobsResponse {
        let blobs: Vec<pb::Blob> = ids.iter().filter_map(|id| self.blobs.get(id).cloned()).collect();
        let segments: Vec<pb::Segment> = blobs
            .iter()
            .filter_map(|blob| match &blob.place {
                Some(pb::blob::Place::Segment(place)) => self.segments.get(&place.segment).cloned(),
                _ => None,
            })
            .collect();
        let placements =
            segments.iter().filter_map(|segment| self.placements.get(&segment.placement).cloned()).collect();
        pb::GetBlobsResponse { blobs, segments, nodes: self.nodes.clone(), placements }
    }
}
