//! Where shards are now. A file may be read for as long as it is open, for weeks, while its shards move to other nodes, because some
//! left or were lost, and nodes to other addresses.

use std::sync::Arc;
use std::time::Duration;

use cyx_core::ids::{BlobId, NodeId};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;

use super::{BlobAt, FileReader, lock};
use crate::error::Result;
use crate::transfer::fetch::{AccessMap, SegmentAt};
use crate::tree::version::Purpose;

/// So long is waited for the server to say it: who cannot read may not reach the server either.
const PATIENCE: Duration = Duration::from_secs(3);

impl FileReader {
    /// The segment in which a blob lies as it is now, if it is elsewhere than `before`, where too few of its shards were found with this access.
    pub(super) async fn moved(&self, blob: BlobId, before: &SegmentAt, access: &AccessMap) -> Option<Arc<SegmentAt>> {
        // Somebody may have asked for the same meanwhile, or does now.
        if let Some(now) = self.elsewhere(blob, before, access) {
            return Some(now);
        }
        let asked = async {
            let _turn = self.shared.asking.lock().await;
            if self.elsewhere(blob, before, access).is_none()
                && let Err(error) = self.ask_where(blob).await
            {
                tracing::debug!(%error, "where a segment is now is not known");
            }
        };
        // Without an answer there may still be one that somebody else got.
        let _ = tokio::time::timeout(PATIENCE, asked).await;
        self.elsewhere(blob, before, access)
    }

    fn elsewhere(&self, blob: BlobId, before: &SegmentAt, access: &AccessMap) -> Option<Arc<SegmentAt>> {
        let now = self.segment_of(blob)?;
        let is_it = now.id == before.id && now.scheme == before.scheme && now.length == before.length;
        let known = lock(&self.shared.access);
        let has_moved = |node: &NodeId| {
            let (now, then) = (known.get(node), access.get(node));
            now.map(|access| &access.address) != then.map(|access| &access.address)
        };
        let is_elsewhere = now.holders != before.holders || now.holders.iter().flatten().any(has_moved);
        drop(known);
        (is_it && is_elsewhere).then_some(now)
    }

    async fn ask_where(&self, blob: BlobId) -> Result<()> {
        let request = pb::GetBlobsRequest {
            bucket: bytes_of(self.shared.bucket.id),
            ids: vec![bytes_of(blob)],
            no_access: self.shared.purpose == Purpose::Look,
        };
        let answer = self.shared.bucket.client().meta.get_blobs(request).await?;
        self.take(answer.blobs, answer.segments, answer.nodes, answer.placements)
    }

    fn segment_of(&self, blob: BlobId) -> Option<Arc<SegmentAt>> {
        let map = self.map();
        match map.blobs.get(&blob)? {
            BlobAt::Segment { segment, .. } => map.segments.get(segment).cloned(),
            BlobAt::Inline(_) => None,
        }
    }
}
