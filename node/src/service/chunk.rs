//! The methods of `ChunkService`.

use std::sync::Arc;

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::grant::{Grant, Operations};
use cyx_core::ids::{BucketTag, ChunkId};
use cyx_core::units::KEEP_LIST_MARGIN_SECONDS;
use cyx_proto::chunk::v1::chunk_service_server::ChunkService;
use cyx_proto::chunk::v1::chunk_state::Presence;
use cyx_proto::chunk::v1::store_chunk_request::Part;
use cyx_proto::chunk::v1::{
    ChunkState as ChunkStateMessage, DeleteChunkRequest, DeleteChunkResponse, GetChallengeRequest,
    GetChallengeResponse, GetChunkRequest, GetChunkResponse, ProbeBandwidthRequest, ProbeBandwidthResponse,
    ProvePossessionRequest, ProvePossessionResponse, StoreChunkRequest, StoreChunkResponse, VerifyChunkRequest,
    VerifyChunkResponse,
};
use cyx_proto::convert;
use cyx_proto::status::status;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::listen::Connection;
use super::{Node, READ_STALL, VERSION, access, count_error, count_request, reads, receive, serve, store_status};
use crate::store::{ChunkInfo, ChunkState, StoreError};

/// Most chunks of one `VerifyChunk`.
const VERIFY_MAX: usize = 4096;
/// Most chunks of one `VerifyChunk` that reads them.
const SCRUB_MAX: usize = 64;

/// The service, as `tonic` wants it.
#[derive(Clone)]
pub struct ChunkApi {
    node: Arc<Node>,
}

impl ChunkApi {
    /// Serves a node.
    #[must_use]
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// Begins to store what comes on a connection.
    pub(super) fn store(
        &self,
        extensions: &http::Extensions,
        parts: BoxStream<'static, Result<Part, Status>>,
    ) -> Result<ReceiverStream<Result<StoreChunkResponse, Status>>, Status> {
        count_request("StoreChunk");
        Ok(receive::start(Arc::clone(&self.node), connection_in(extensions)?, parts))
    }
}

fn connection<T>(request: &Request<T>) -> Result<Arc<Connection>, Status> {
    connection_in(request.extensions())
}

fn connection_in(extensions: &http::Extensions) -> Result<Arc<Connection>, Status> {
    let found = extensions.get::<Arc<Connection>>().cloned();
    found.ok_or_else(|| status(ErrorCode::Internal, "the connection is unknown"))
}

#[tonic::async_trait]
impl ChunkService for ChunkApi {
    async fn get_challenge(
        &self,
        request: Request<GetChallengeRequest>,
    ) -> Result<Response<GetChallengeResponse>, Status> {
        count_request("GetChallenge");
        let connection = connection(&request)?;
        Ok(Response::new(GetChallengeResponse {
            node_id: convert::bytes_of(self.node.identity.id()),
            challenge: Bytes::copy_from_slice(connection.challenge()),
            version: VERSION.to_owned(),
        }))
    }

    async fn prove_possession(
        &self,
        request: Request<ProvePossessionRequest>,
    ) -> Result<Response<ProvePossessionResponse>, Status> {
        count_request("ProvePossession");
        let connection = connection(&request)?;
        let proof = request.into_inner();
        let key = convert::array(&proof.session_key, "session_key")?;
        self.node.access.prove(&connection, key, &proof.signature)?;
        Ok(Response::new(ProvePossessionResponse {}))
    }

    async fn probe_bandwidth(
        &self,
        request: Request<ProbeBandwidthRequest>,
    ) -> Result<Response<ProbeBandwidthResponse>, Status> {
        count_request("ProbeBandwidth");
        let connection = connection(&request)?;
        if !connection.is_proven() {
            return Err(status(ErrorCode::InvalidCredentials, "nothing was proven on this connection"));
        }
        connection.limit_rate(request.get_ref().max_rate);
        connection.probe_bandwidth();
        Ok(Response::new(ProbeBandwidthResponse {}))
    }

    type StoreChunkStream = ReceiverStream<Result<StoreChunkResponse, Status>>;

    async fn store_chunk(
        &self,
        request: Request<Streaming<StoreChunkRequest>>,
    ) -> Result<Response<Self::StoreChunkStream>, Status> {
        let (_, extensions, messages) = request.into_parts();
        let parts = messages.map(|message| {
            message?.part.ok_or_else(|| status(ErrorCode::InvalidArgument, "a message without content"))
        });
        self.store(&extensions, parts.boxed()).map(Response::new)
    }

    type GetChunkStream = BoxStream<'static, Result<GetChunkResponse, Status>>;

    async fn get_chunk(&self, request: Request<GetChunkRequest>) -> Result<Response<Self::GetChunkStream>, Status> {
        count_request("GetChunk");
        let connection = connection(&request)?;
        let wanted = request.into_inner();
        let reading = self.reading(&connection, &wanted.grant, &wanted.bucket_tag)?;
        connection.limit_rate(wanted.max_rate);
        let (tag, id) = reading.chunk(&wanted.chunk_id)?;
        let orders = self.node.ledger.orders();
        orders.take(&reading.grant, &wanted.order).await?;
        let info = self.find(tag, id).await?.ok_or_else(|| store_status(&StoreError::NotFound))?;
        let end = match wanted.length {
            0 => Some(info.len),
            length => wanted.offset.checked_add(length),
        };
        let range = end.filter(|end| *end <= info.len && wanted.offset <= *end).map(|end| wanted.offset..end);
        let range = range.ok_or_else(|| store_status(&StoreError::OutOfRange))?;
        let charged = orders.read(&reading.grant, range.end - range.start)?;
        let (node, session) = (Arc::clone(&self.node), &reading.grant.session_key);
        let stream = match wanted.with_proof {
            false => serve::plain(node, session, id, info.len, range).await?.boxed(),
            true => serve::proven(node, session, id, info.len, range).await?.boxed(),
        };
        charged.keep();
        Ok(Response::new(reads::taken_within(READ_STALL, stream).boxed()))
    }

    async fn verify_chunk(
        &self,
        request: Request<VerifyChunkRequest>,
    ) -> Result<Response<VerifyChunkResponse>, Status> {
        count_request("VerifyChunk");
        let connection = connection(&request)?;
        let wanted = request.into_inner();
        let reading = self.reading(&connection, &wanted.grant, &wanted.bucket_tag)?;
        if wanted.chunk_ids.len() > if wanted.scrub { SCRUB_MAX } else { VERIFY_MAX } {
            return Err(status(ErrorCode::TooLarge, "too many chunks in one request"));
        }
        let mut states = Vec::with_capacity(wanted.chunk_ids.len());
        for id in &wanted.chunk_ids {
            let (tag, id) = reading.chunk(id)?;
            states.push(self.verify(&reading.grant.session_key, tag, id, wanted.scrub).await?);
        }
        Ok(Response::new(VerifyChunkResponse { states }))
    }

    async fn delete_chunk(
        &self,
        request: Request<DeleteChunkRequest>,
    ) -> Result<Response<DeleteChunkResponse>, Status> {
        count_request("DeleteChunk");
        let now = self.node.clock.now();
        let denied = |reason: String| {
            count_error(ErrorCode::PermissionDenied);
            status(ErrorCode::PermissionDenied, reason)
        };
        let order = self.node.access.deletion(&request.into_inner().order, now);
        let order = order.map_err(|error| denied(error.to_string()))?;
        // An order does not say which life of the server's database it is from, so none is followed until the operator knows.
        if self.node.store.held_incarnation().map_err(|error| store_status(&error))?.is_some() {
            return Err(denied("the server's database was restored, and the operator has not confirmed it".to_owned()));
        }
        tracing::info!(chunks = order.chunks.len(), "the server orders a deletion");
        // As old as keep-lists ask for, by this machine's clock: whoever has the server's key cannot take away what was just stored.
        let before = order.issued.min(now.saturating_sub(KEEP_LIST_MARGIN_SECONDS));
        let trashed = self.node.store.trash(order.chunks, before).await;
        Ok(Response::new(DeleteChunkResponse { trashed: trashed.map_err(|error| store_status(&error))? }))
    }
}

/// The right to read one bucket's chunks, checked.
struct Reading {
    grant: Arc<Grant>,
    tag: BucketTag,
}

impl Reading {
    fn chunk(&self, id: &[u8]) -> Result<(BucketTag, ChunkId), Status> {
        Ok((self.tag, convert::id(id, "chunk_id")?))
    }
}

impl ChunkApi {
    fn reading(&self, connection: &Connection, grant: &[u8], tag: &[u8]) -> Result<Reading, Status> {
        let grant = self.node.access.grant(connection, grant, Operations::READ, self.node.clock.now())?;
        let tag = convert::id(tag, "bucket_tag")?;
        access::covers(&grant, tag)?;
        Ok(Reading { grant, tag })
    }

    /// A chunk of the bucket. One of another bucket is not there.
    async fn find(&self, tag: BucketTag, id: ChunkId) -> Result<Option<ChunkInfo>, Status> {
        let found = self.node.store.stat(id).await.map_err(|error| store_status(&error))?;
        Ok(found.filter(|info| info.tag == tag))
    }

    async fn verify(
        &self,
        session: &[u8; 32],
        tag: BucketTag,
        id: ChunkId,
        scrub: bool,
    ) -> Result<ChunkStateMessage, Status> {
        let Some(info) = self.find(tag, id).await? else {
            return Ok(ChunkStateMessage { presence: Presence::Missing.into(), length: 0, root: Bytes::new() });
        };
        let mut state = info.state;
        if scrub && state != ChunkState::Trashed {
            let _permit = self.node.reads.permit(session).await?;
            state = match self.node.store.scrub(id).await {
                Ok(()) => ChunkState::Live,
                Err(StoreError::Damaged) => ChunkState::Damaged,
                Err(error) => return Err(store_status(&error)),
            };
        }
        let presence = match state {
            ChunkState::Live => Presence::Present,
            ChunkState::Trashed => Presence::Trashed,
            ChunkState::Damaged => Presence::Damaged,
        };
        Ok(ChunkStateMessage {
            presence: presence.into(),
            length: u32::try_from(info.len).unwrap_or(u32::MAX),
            root: Bytes::copy_from_slice(&info.root),
        })
    }
}
