//! Leases of placements, read access, quota, cluster.

use bytes::Bytes;
use cyx_core::ids::{BucketId, GrantId, LeaseId};
use cyx_core::units::{CHUNK_MAX, MIB};
use cyx_proto::convert::{self, InvalidField};
use cyx_proto::meta::v1 as pb;

use super::{MetaServer, too_many};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::orders::limit::FIRST_MAX;
use crate::placement::{LeaseRequest, ReadFrom, Session};
use crate::quota;
use crate::time::now_ns;

/// Most nodes of one question.
const NODES_MAX: usize = 256;
/// Most leases that are ended by one call.
const LEASES_MAX: usize = 64;
/// Taken for what will be read from a node if the client does not say.
const UNKNOWN_READ: u64 = 4 * MIB;

impl MetaServer {
    pub(super) async fn lease(
        &self,
        caller: &Caller,
        request: pb::LeasePlacementRequest,
    ) -> Result<pb::LeasePlacementResponse, ApiError> {
        let (read, bucket) = self.open(caller, convert::id(&request.bucket, "bucket")?).await?;
        drop(read);
        let wanted = LeaseRequest::new(&request, bucket.id, bucket.owner, bucket.durable)?;
        let session = Session { id: caller.session, key: caller.session_key };
        self.app.network.placements.lease(session, &wanted).await
    }

    pub(super) async fn end_leases(
        &self,
        caller: &Caller,
        request: pb::ReleaseLeaseRequest,
    ) -> Result<pb::ReleaseLeaseResponse, ApiError> {
        if request.leases.len() > LEASES_MAX {
            return Err(too_many("leases", LEASES_MAX));
        }
        let leases = request.leases.iter().map(|lease| convert::id(lease, "leases"));
        let leases: Vec<LeaseId> = leases.collect::<Result<_, _>>()?;
        self.app.network.placements.release(caller.session, leases).await?;
        Ok(pb::ReleaseLeaseResponse {})
    }

    pub(super) async fn read_access(
        &self,
        caller: &Caller,
        request: pb::GetReadAccessRequest,
    ) -> Result<pb::GetReadAccessResponse, ApiError> {
        if request.nodes.len() > NODES_MAX {
            return Err(too_many("nodes", NODES_MAX));
        }
        if request.spent.len() > NODES_MAX {
            return Err(too_many("grants", NODES_MAX));
        }
        let spent: Vec<GrantId> =
            request.spent.iter().map(|grant| convert::id(grant, "spent")).collect::<Result<_, _>>()?;
        let bytes = match request.bytes {
            _ if request.asks_only => 0,
            0 => UNKNOWN_READ,
            said => said.min(CHUNK_MAX),
        };
        let from = |node: &Bytes| Ok::<_, InvalidField>(ReadFrom { node: convert::id(node, "nodes")?, bytes });
        let nodes: Vec<ReadFrom> = request.nodes.iter().map(from).collect::<Result<_, _>>()?;
        let (read, bucket) = self.open(caller, convert::id(&request.bucket, "bucket")?).await?;
        drop(read);
        let nodes = self.app.network.placements.read_access(caller.into(), bucket.id, &nodes, &spent).await?;
        Ok(pb::GetReadAccessResponse { nodes })
    }

    /// Access to the nodes of what a question led to, of which `length` bytes will be read at most. Of much the client may want little, and
    /// asks for more when it reads on.
    pub(super) async fn first_access(
        &self,
        caller: &Caller,
        bucket: BucketId,
        nodes: Vec<ReadFrom>,
        length: u64,
    ) -> Result<Vec<pb::NodeAccess>, ApiError> {
        let most = length.min(FIRST_MAX / 2);
        let nodes: Vec<ReadFrom> =
            nodes.into_iter().map(|ReadFrom { node, bytes }| ReadFrom { node, bytes: bytes.min(most) }).collect();
        self.app.network.placements.read_access(caller.into(), bucket, &nodes, &[]).await
    }

    pub(super) async fn quota(
        &self,
        caller: &Caller,
        _request: pb::GetQuotaRequest,
    ) -> Result<pb::GetQuotaResponse, ApiError> {
        let mut read = self.app.db.read().await?;
        Ok(pb::GetQuotaResponse { quota: Some(quota::of_account(&mut read, caller.account, now_ns()).await?) })
    }

    #[expect(clippy::unused_async, reason = "all handlers have one shape")]
    pub(super) async fn cluster(
        &self,
        _caller: &Caller,
        _request: pb::GetClusterRequest,
    ) -> Result<pb::GetClusterResponse, ApiError> {
        Ok(self.app.network.placements.cluster())
    }
}
