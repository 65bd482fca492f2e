//! A storage node that keeps chunks in memory and lies about them as it is told. Who asks is checked as real nodes do.

use std::collections::{HashMap, HashSet};
use std::io::Cursor;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::grant::{Grant, Operations};
use cyx_core::ids::{BucketId, ChunkId};
use cyx_core::proof::prove;
use cyx_core::sign::{self, Purpose};
use cyx_proto::chunk::v1::chunk_service_server::{ChunkService, ChunkServiceServer};
use cyx_proto::chunk::v1::*;
use cyx_proto::status::status;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use crate::keys::ServerKeys;
use crate::nodes::NodeRecord;
use crate::nodes::testing::{node, node_key};
use crate::time::now_seconds;

/// What a node does when it is asked for a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// It proves.
    Honest,
    /// A bit of what it keeps has flipped, and it proves that.
    Flipped,
    /// Only its fourth group is not what was stored.
    FlippedInOneGroup,
    /// It sends an honest proof with a flipped bit.
    FlippedProof,
    /// It lost the end of the chunk and proves the rest.
    Truncated,
    /// It breaks off in the middle of the proof.
    Short,
    /// It sends more and more.
    Endless,
    /// It says that it has nothing.
    Dropped,
    /// It says that what it has is damaged.
    Confessing,
    /// It wants nothing to do with it.
    Refusing,
    /// It is busy whenever it is asked for a chunk that [`is_every_second`].
    Evasive,
    /// When it is asked for such a chunk it is gone, for the rest of the round.
    Fleeing,
    /// It does not answer when it is asked for such a chunk. When it is asked for another one for the first time it is gone, for the rest of
    /// the round.
    Stalling,
    /// It never answers.
    Slow,
}

/// Half of all chunks, so to speak.
pub(super) fn is_every_second(id: ChunkId) -> bool {
    id.0[0] & 1 == 0
}

/// The node.
pub(super) struct Liar {
    number: u8,
    address: SocketAddr,
    inner: Arc<Inner>,
    task: tokio::task::JoinHandle<()>,
}

struct Inner {
    record: NodeRecord,
    keys: Arc<ServerKeys>,
    chunks: Mutex<HashMap<ChunkId, (BucketId, Vec<u8>)>>,
    behaviour: Mutex<Behaviour>,
    proven: Mutex<Option<[u8; 32]>>,
    /// It answers nobody until it is told what it [`Liar::becomes`].
    fled: Mutex<bool>,
    /// What it goes away for only once.
    asked: Mutex<HashSet<ChunkId>>,
}

const CHALLENGE: [u8; 32] = [5; 32];

impl Liar {
    /// Starts one on loopback.
    pub(super) async fn start(number: u8, keys: &Arc<ServerKeys>) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let record =
            NodeRecord { address: address.to_string(), ip: IpAddr::from([127, 0, 0, 1]), tls: false, ..node(number) };
        let inner = Arc::new(Inner {
            record,
            keys: Arc::clone(keys),
            chunks: Mutex::default(),
            behaviour: Mutex::new(Behaviour::Honest),
            proven: Mutex::default(),
            fled: Mutex::default(),
            asked: Mutex::default(),
        });
        let service = ChunkServiceServer::new(Service(Arc::clone(&inner)));
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let serving = tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming);
        let task = tokio::spawn(async move {
            serving.await.unwrap();
        });
        Self { number, address, inner, task }
    }

    pub(super) fn record(&self) -> NodeRecord {
        self.inner.record.clone()
    }

    pub(super) fn keep(&self, bucket: BucketId, id: ChunkId, bytes: Vec<u8>) {
        self.inner.chunks.lock().unwrap().insert(id, (bucket, bytes));
    }

    pub(super) fn becomes(&self, behaviour: Behaviour) {
        *self.inner.behaviour.lock().unwrap() = behaviour;
        *self.inner.fled.lock().unwrap() = false;
    }

    /// Nobody listens at its address any more.
    pub(super) async fn vanish(self) {
        self.task.abort();
        let _ = self.task.await;
        // Connections that are open keep nobody from noticing: each audit makes its own.
        while tokio::net::TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.inner.record.id, node(self.number).id);
    }
}

struct Service(Arc<Inner>);

type Answers<T> = BoxStream<'static, Result<T, Status>>;

impl Inner {
    fn allowed(&self, wanted: &GetChunkRequest) -> Result<ChunkId, Status> {
        let keys = self.keys.announced();
        let find = |id| keys.iter().find(|key| key.id == id).map(|key| key.public);
        let denied = |why: &str| status(ErrorCode::PermissionDenied, why);
        let grant = Grant::verify(&wanted.grant, find, self.record.id, now_seconds())
            .map_err(|error| denied(&error.to_string()))?;
        if *self.proven.lock().unwrap() != Some(grant.session_key) || !grant.operations.allows(Operations::READ) {
            return Err(denied("who are you?"));
        }
        let id = ChunkId::try_from(&wanted.chunk_id[..]).map_err(|_| denied("no id"))?;
        let bucket = self.chunks.lock().unwrap().get(&id).map(|(bucket, _)| *bucket);
        let tag = bucket.map(|bucket| self.keys.tag(self.record.id, bucket));
        if tag.is_some_and(|tag| !grant.tags.contains(&tag) || wanted.bucket_tag != tag.0[..]) {
            return Err(denied("another bucket"));
        }
        Ok(id)
    }

    async fn answer(&self, wanted: GetChunkRequest) -> Result<Vec<GetChunkResponse>, Status> {
        let id = self.allowed(&wanted)?;
        let behaviour = *self.behaviour.lock().unwrap();
        let missing = || status(ErrorCode::NotFound, "the chunk is not here");
        let (_, mut bytes) = self.chunks.lock().unwrap().get(&id).cloned().ok_or_else(missing)?;
        match behaviour {
            Behaviour::Dropped => return Err(missing()),
            Behaviour::Confessing => return Err(status(ErrorCode::Integrity, "the chunk is damaged")),
            Behaviour::Refusing => return Err(status(ErrorCode::RateLimited, "not now")),
            Behaviour::Evasive if is_every_second(id) => return Err(Status::unavailable("")),
            Behaviour::Fleeing if is_every_second(id) => {
                *self.fled.lock().unwrap() = true;
                return Err(Status::unavailable(""));
            }
            Behaviour::Stalling if !is_every_second(id) && self.asked.lock().unwrap().insert(id) => {
                *self.fled.lock().unwrap() = true;
                return Err(Status::unavailable(""));
            }
            Behaviour::Stalling if !is_every_second(id) => {
                self.asked.lock().unwrap().remove(&id);
            }
            Behaviour::Slow | Behaviour::Stalling => std::future::pending().await,
            Behaviour::Flipped => {
                let at = usize::try_from(wanted.offset).unwrap();
                bytes[at] ^= 1;
            }
            Behaviour::Truncated => bytes.truncate(bytes.len() / 2),
            _ => {}
        }
        let total = bytes.len() as u64;
        let end = (wanted.offset + wanted.length).min(total);
        // What is lost cannot even be pretended.
        let range = if wanted.offset < end { wanted.offset..end } else { 0..end.min(1) };
        let mut proof = prove(Cursor::new(&bytes), total, range).unwrap().bytes;
        match behaviour {
            Behaviour::FlippedInOneGroup if wanted.offset == 3 * 16 * 1024 => *proof.last_mut().unwrap() ^= 1,
            Behaviour::FlippedProof => *proof.last_mut().unwrap() ^= 0x80,
            Behaviour::Short => proof.truncate(proof.len() / 2),
            Behaviour::Endless => proof = vec![0; 60_000],
            _ => {}
        }
        let first = |data: &[u8]| GetChunkResponse { chunk_length: total, data: Bytes::copy_from_slice(data) };
        Ok(proof.chunks(7000).map(first).collect())
    }
}

#[tonic::async_trait]
impl ChunkService for Service {
    async fn get_challenge(&self, _: Request<GetChallengeRequest>) -> Result<Response<GetChallengeResponse>, Status> {
        if *self.0.fled.lock().unwrap() {
            return Err(Status::unavailable(""));
        }
        Ok(Response::new(GetChallengeResponse {
            node_id: Bytes::copy_from_slice(&self.0.record.id.0),
            challenge: Bytes::from_static(&CHALLENGE),
            version: "liar".to_owned(),
        }))
    }

    async fn prove_possession(
        &self,
        request: Request<ProvePossessionRequest>,
    ) -> Result<Response<ProvePossessionResponse>, Status> {
        let request = request.into_inner();
        let key: [u8; 32] = request.session_key[..].try_into().unwrap();
        let body = [&self.0.record.id.0[..], &CHALLENGE].concat();
        sign::verify(&key, Purpose::Possession, &body, &request.signature)
            .map_err(|_| status(ErrorCode::InvalidCredentials, "not you"))?;
        *self.0.proven.lock().unwrap() = Some(key);
        Ok(Response::new(ProvePossessionResponse {}))
    }

    type StoreChunkStream = Answers<StoreChunkResponse>;

    async fn store_chunk(
        &self,
        _: Request<Streaming<StoreChunkRequest>>,
    ) -> Result<Response<Self::StoreChunkStream>, Status> {
        Err(Status::unimplemented("nothing is stored here"))
    }

    type GetChunkStream = Answers<GetChunkResponse>;

    async fn get_chunk(&self, request: Request<GetChunkRequest>) -> Result<Response<Self::GetChunkStream>, Status> {
        assert!(request.get_ref().with_proof && request.get_ref().order.is_empty());
        let answers = self.0.answer(request.into_inner()).await?;
        Ok(Response::new(stream::iter(answers.into_iter().map(Ok)).boxed()))
    }

    async fn verify_chunk(&self, _: Request<VerifyChunkRequest>) -> Result<Response<VerifyChunkResponse>, Status> {
        Err(Status::unimplemented("nobody is believed"))
    }

    async fn probe_bandwidth(
        &self,
        _: Request<ProbeBandwidthRequest>,
    ) -> Result<Response<ProbeBandwidthResponse>, Status> {
        Err(Status::unimplemented("nothing is sent here"))
    }

    async fn delete_chunk(&self, _: Request<DeleteChunkRequest>) -> Result<Response<DeleteChunkResponse>, Status> {
        Err(Status::unimplemented("nothing is deleted here"))
    }
}

#[test]
fn a_liar_has_the_key_of_its_number() {
    assert_eq!(node(3).public_key, node_key(3).verifying_key().to_bytes());
}
