//! Where shards are now. A file may be read for as long as it is open, for weeks, while its shards move to other nodes, because some
//! left or were lost, and nodes to other addresses.

use std::sync::Arc;
use std::time::Duration;

use cyx_core::ids::{BlobId, NodeId};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;

use super::{BlobAt, FileReader, lock};
use crate::error::Result;
use crate::transfer::fetch::SegmentAt;
use crate::tree::version::Purpose;

/// So long is waited for the server to say it: who cannot read may not reach the server either.
const PATIENCE: Duration = Duration::from_secs(3);

impl FileReader {
    /// The segment in which a blob lies as it is now, if it is elsewhere than `before`, where too few of its shards were found.
    pub(super) async fn moved(&self, blob: BlobId, before: &Arc<SegmentAt>) -> Option<Arc<SegmentAt>> {
        let asked = async {
            let _turn = self.shared.asking.lock().await;
            let now = self.segment_of(blob)?;
            let addresses = self.addresses(before);
            // Somebody may have asked for the same meanwhile.
            if now.holders == before.holders
                && let Err(error) = self.ask_where(blob).await
            {
                tracing::debug!(%error, "where a segment is now is not known");
            }
            let now = self.segment_of(blob)?;
            let is_it = now.id == before.id && now.scheme == before.scheme && now.length == before.length;
            let is_elsewhere = now.holders != before.holders || self.addresses(&now) != addresses;
            (is_it && is_elsewhere).then_some(now)
        };
        tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
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

    /// Where the nodes of a segment can be reached, as far as is known.
    fn addresses(&self, segment: &SegmentAt) -> Vec<Option<String>> {
        let known = lock(&self.shared.access);
        let address = |node: &NodeId| known.get(node).map(|access| access.address.clone());
        segment.holders.iter().map(|holder| holder.as_ref().and_then(address)).collect()
    }
}
