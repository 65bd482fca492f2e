//! One node's service in this process, a server's signing key, and clients of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cyx_core::grant::{Grant, Operations};
use cyx_core::ids::{BucketTag, ChunkId, GrantId, NodeId, Random as _};
use cyx_core::order::Order;
use cyx_core::receipt::Receipt;
use cyx_core::sign::{self, Purpose};
use cyx_node::service::access::Access;
use cyx_node::service::identity::Identity;
use cyx_node::service::ledger::Ledger;
use cyx_node::service::{self, Node};
use cyx_node::store::volume::{DiskIo, RealIo};
use cyx_node::store::{Clock, DiskOptions, DiskStore};
use cyx_proto::chunk::v1::chunk_service_client::ChunkServiceClient;
use cyx_proto::chunk::v1::store_chunk_request::Part;
use cyx_proto::chunk::v1::store_chunk_response::Part as Answer;
use cyx_proto::chunk::v1::{
    ChunkHeader, ChunkRefused, GetChallengeRequest, GetChunkRequest, ProvePossessionRequest, StoreChunkRequest,
    StoreOpen,
};
use ed25519_dalek::SigningKey;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::Channel;

pub(crate) const TAG: BucketTag = BucketTag([5; 16]);
pub(crate) const NOW: u64 = 1_000_000;

pub(crate) fn server_key() -> SigningKey {
    SigningKey::from_bytes(&[77; 32])
}

pub(crate) struct Running {
    pub(crate) node: Arc<Node>,
    pub(crate) address: String,
    /// What its clock says, Unix seconds.
    pub(crate) time: Arc<AtomicU64>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(folder: &Path, tls: bool) -> Self {
        Self::start_on(folder, tls, Arc::new(RealIo)).await
    }

    /// On a disk that is not as others are.
    pub(crate) async fn start_on(folder: &Path, tls: bool, io: Arc<dyn DiskIo>) -> Self {
        let time = Arc::new(AtomicU64::new(NOW));
        let shown = Arc::clone(&time);
        let clock = Clock::new(move || shown.load(Ordering::SeqCst));
        let options = DiskOptions { margin: 0, clock: clock.clone(), io, ..DiskOptions::default() };
        let store = Arc::new(DiskStore::open(folder, options).unwrap());
        let identity = Identity::open(folder).unwrap();
        let access = Access::new(identity.id(), &[server_key().verifying_key().to_bytes()]);
        let ledger = Ledger::open(&folder.join("ledger.redb"), clock.clone()).unwrap();
        let node = Arc::new(Node::new(identity, store, access, ledger, clock));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = service::serve(Arc::clone(&node), listener, tls, async {
            let _ = stopped.await;
        });
        let task = tokio::spawn(async { serving.await.unwrap() });
        Self { node, address, time, stop, task }
    }

    /// Ends the service and closes everything, without settling the ledger: as a crash would.
    pub(crate) async fn crash(self) {
        let _ = self.stop.send(());
        self.task.abort();
        let _ = self.task.await;
        let mut node = self.node;
        // Streams that are still running hold the node for a moment.
        while Arc::strong_count(&node) > 1 {
            tokio::task::yield_now().await;
        }
        assert!(Arc::get_mut(&mut node).is_some());
    }

    pub(crate) fn id(&self) -> NodeId {
        self.node.identity.id()
    }

    pub(crate) fn grant(&self, session: &SigningKey, operations: Operations, allowance: u64) -> Grant {
        Grant {
            key: sign::key_id(&server_key().verifying_key().to_bytes()),
            id: GrantId::random(),
            node: self.id(),
            session_key: session.verifying_key().to_bytes(),
            operations,
            allowance,
            not_before: NOW - 10,
            expires: NOW + 1000,
            tags: vec![TAG],
        }
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// A client that has proved its session key.
    pub(crate) async fn client(&self, session: &SigningKey) -> Client {
        let mut client = Client::new(self.channel().await);
        client.prove(session).await.unwrap();
        client
    }
}

pub(crate) struct Client {
    pub(crate) rpc: ChunkServiceClient<Channel>,
}

/// What became of a stream: receipts, refusals, and how it ended.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) receipts: Vec<Bytes>,
    pub(crate) refused: Vec<ChunkRefused>,
    pub(crate) end: Option<Status>,
}

impl Outcome {
    pub(crate) fn stored(&self) -> Vec<ChunkId> {
        let read = |bytes: &Bytes| Receipt::read_unchecked(bytes).unwrap().chunks;
        self.receipts.iter().flat_map(read).map(|chunk| chunk.id).collect()
    }
}

impl Client {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { rpc: ChunkServiceClient::new(channel) }
    }

    pub(crate) async fn prove(&mut self, session: &SigningKey) -> Result<(), Status> {
        let challenge = self.rpc.get_challenge(GetChallengeRequest {}).await?.into_inner();
        let body = [&challenge.node_id[..], &challenge.challenge].concat();
        let proof = ProvePossessionRequest {
            session_key: Bytes::copy_from_slice(&session.verifying_key().to_bytes()),
            signature: Bytes::copy_from_slice(&sign::sign(session, Purpose::Possession, &body)),
        };
        self.rpc.prove_possession(proof).await.map(drop)
    }

    pub(crate) async fn send(&mut self, parts: Vec<Part>) -> Outcome {
        let requests = parts.into_iter().map(|part| StoreChunkRequest { part: Some(part) });
        let mut outcome = Outcome::default();
        let mut answers = match self.rpc.store_chunk(tokio_stream::iter(requests.collect::<Vec<_>>())).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return Outcome { end: Some(status), ..outcome },
        };
        loop {
            match answers.message().await {
                Ok(Some(answer)) => match answer.part.unwrap() {
                    Answer::Receipt(bytes) => outcome.receipts.push(bytes),
                    Answer::Refused(refused) => outcome.refused.push(refused),
                },
                Ok(None) => return outcome,
                Err(status) => return Outcome { end: Some(status), ..outcome },
            }
        }
    }

    /// Stores chunks under a grant.
    pub(crate) async fn store(&mut self, grant: &Grant, chunks: &[(ChunkId, Vec<u8>)]) -> Outcome {
        let mut parts = vec![open(grant)];
        for (id, bytes) in chunks {
            parts.extend(chunk_parts(*id, TAG, bytes));
        }
        self.send(parts).await
    }

    pub(crate) async fn get(&mut self, request: GetChunkRequest) -> Result<Vec<u8>, Status> {
        let mut messages = self.rpc.get_chunk(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(message) = messages.message().await? {
            bytes.extend_from_slice(&message.data);
        }
        Ok(bytes)
    }

    pub(crate) async fn read(&mut self, grant: &Grant, id: ChunkId) -> Result<Vec<u8>, Status> {
        self.get(get(grant, id)).await
    }
}

pub(crate) fn signed(grant: &Grant) -> Bytes {
    grant.sign(&server_key()).into()
}

/// The session of clients that pay for everything.
pub(crate) fn session() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

/// The session's order for this much traffic.
pub(crate) fn order(grant: &Grant, traffic: u64) -> Bytes {
    Order { node: grant.node, grant: grant.id, traffic }.sign(&session()).into()
}

/// Opens a stream with an order for all that the grant allows.
pub(crate) fn open(grant: &Grant) -> Part {
    Part::Open(StoreOpen { grant: signed(grant), order: order(grant, grant.allowance) })
}

pub(crate) fn get(grant: &Grant, id: ChunkId) -> GetChunkRequest {
    GetChunkRequest {
        grant: signed(grant),
        bucket_tag: TAG.to_vec().into(),
        chunk_id: id.to_vec().into(),
        offset: 0,
        length: 0,
        with_proof: false,
        order: Bytes::new(),
        max_rate: 0,
    }
}

pub(crate) fn header(id: ChunkId, tag: BucketTag, bytes: &[u8]) -> ChunkHeader {
    ChunkHeader {
        chunk_id: id.to_vec().into(),
        bucket_tag: tag.to_vec().into(),
        length: u32::try_from(bytes.len()).unwrap(),
        root: Bytes::copy_from_slice(blake3::hash(bytes).as_bytes()),
    }
}

pub(crate) fn chunk_parts(id: ChunkId, tag: BucketTag, bytes: &[u8]) -> Vec<Part> {
    let data = bytes.chunks(256 * 1024).map(|piece| Part::Data(Bytes::copy_from_slice(piece)));
    std::iter::once(Part::Header(header(id, tag, bytes))).chain(data).collect()
}

/// Bytes that differ everywhere and from each other.
pub(crate) fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Lets this much time pass for the node, which then has a moment to notice.
pub(crate) async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_millis(50)).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// What is to come has come by then, on slow machines too.
pub(crate) const AT_MOST: Duration = Duration::from_secs(60);
