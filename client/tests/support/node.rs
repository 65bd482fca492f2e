//! A storage node that keeps its chunks in memory and can be told to misbehave.

use std::collections::{HashMap, HashSet};
use std::io::Cursor;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use cyx_core::chunk;
use cyx_core::error::ErrorCode;
use cyx_core::grant::{Grant, Operations};
use cyx_core::ids::{BucketTag, ChunkId, GrantId, KeyId, NodeId, Random as _, random_bytes};
use cyx_core::proof;
use cyx_core::receipt::{Receipt, ReceivedChunk};
use cyx_core::sign::{self, Purpose};
use cyx_proto::chunk::v1 as pb;
use cyx_proto::chunk::v1::chunk_service_server::{ChunkService, ChunkServiceServer};
use cyx_proto::chunk::v1::chunk_state::Presence;
use cyx_proto::chunk::v1::store_chunk_request::Part;
use cyx_proto::chunk::v1::store_chunk_response::Part as Answer;
use cyx_proto::meta::v1::NodeAccess;
use cyx_proto::status::status;
use ed25519_dalek::SigningKey;
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status, Streaming};

/// How a node treats its clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    #[default]
    Honest,
    /// It takes requests and never answers until [`FakeNode::release`] is called.
    Hanging,
    /// It is stopped: connections stand, new ones too, and not a byte comes of it until [`FakeNode::release`] is called.
    Frozen,
    /// It takes so many stores and then hangs.
    HangsAfter(u64),
    /// It never answers the read of this number.
    MissesRead(u64),
    /// It breaks off every store after this many bytes.
    BreaksAfter(usize),
    /// It refuses to store, with this code.
    Refuses(ErrorCode),
    /// It refuses so many stores, as if its grants had ended.
    RefusesUntil(u64),
    /// It answers reads with one bit changed.
    FlipsBits,
    /// It answers reads with fewer bytes.
    Truncates,
    /// It answers reads with another chunk's bytes.
    Swaps,
    /// It answers reads, but not those that want a proof.
    ProvesNothing,
    /// It answers reads with one bit changed, and those that want a proof with messages without bytes and without end.
    DripsProofs,
    /// Its receipts name another root.
    WrongRoot,
    /// Its receipts are signed by another key.
    WrongSignature,
    /// Its receipts are for another grant.
    WrongGrant,
    /// Its receipts are of the year 1970.
    WrongTime,
    /// It ends the stream without a receipt.
    NoReceipt,
    /// It sends receipts for no chunk for as long as it is heard.
    EmptyReceipts,
    /// It forgot every chunk.
    Forgets,
}

/// What tests look at and change while the node runs.
pub struct State {
    pub key: SigningKey,
    pub manner: Mutex<Manner>,
    pub chunks: Mutex<HashMap<ChunkId, Bytes>>,
    pub stores: AtomicU64,
    pub reads: AtomicU64,
    pub read_bytes: AtomicU64,
    pub connections: AtomicU64,
    proven: Mutex<HashSet<u64>>,
    challenges: Mutex<HashMap<u64, [u8; 32]>>,
    gate: Notify,
    frozen: Mutex<Vec<Waker>>,
    /// With this id it presents itself.
    pub claimed: Mutex<NodeId>,
}

/// A running node. Dropping it kills it: connections break.
pub struct FakeNode {
    pub state: Arc<State>,
    pub address: SocketAddr,
    pub tls: bool,
    accept: JoinHandle<()>,
    live: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
}

impl FakeNode {
    pub async fn start(seed: u8) -> Self {
        Self::launch(seed, None).await
    }

    /// Speaks TLS with a certificate of `certificate_key`, which an honest node takes from its own key.
    pub async fn start_tls(seed: u8, certificate_key: &SigningKey) -> Self {
        Self::launch(seed, Some(certificate_key.clone())).await
    }

    async fn launch(seed: u8, certificate_key: Option<SigningKey>) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let id = NodeId::from_public_key(&key.verifying_key().to_bytes());
        let state = Arc::new(State {
            key,
            manner: Mutex::default(),
            chunks: Mutex::default(),
            stores: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            proven: Mutex::default(),
            challenges: Mutex::default(),
            gate: Notify::new(),
            frozen: Mutex::default(),
            claimed: Mutex::new(id),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let live = Arc::new(Mutex::new(Vec::new()));
        let tls = certificate_key.is_some();
        let acceptor = certificate_key.map(|key| TlsAcceptor::from(Arc::new(tls_config(&key))));
        let accept = tokio::spawn(accept(listener, acceptor, Arc::clone(&state), Arc::clone(&live)));
        Self { state, address, tls, accept, live }
    }

    pub fn id(&self) -> NodeId {
        NodeId::from_public_key(&self.state.key.verifying_key().to_bytes())
    }

    pub fn behave(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    /// Lets everything go on that [`Manner::Hanging`] or [`Manner::Frozen`] held back.
    pub fn release(&self) {
        self.behave(Manner::Honest);
        self.state.gate.notify_waiters();
        self.state.frozen.lock().unwrap().drain(..).for_each(Waker::wake);
    }

    /// Breaks all connections but goes on listening.
    pub fn drop_connections(&self) {
        for connection in self.live.lock().unwrap().drain(..) {
            connection.abort();
        }
    }

    /// Stops listening and breaks all connections.
    pub fn kill(&self) {
        self.accept.abort();
        self.drop_connections();
    }

    /// Access as a server gives it.
    pub fn access(&self, server: &SigningKey, session_key: [u8; 32], operations: Operations) -> NodeAccess {
        let public = self.state.key.verifying_key().to_bytes();
        let tag = BucketTag([9; 16]);
        let grant = Grant {
            key: KeyId::random(),
            id: GrantId::random(),
            node: self.id(),
            session_key,
            operations,
            allowance: 1 << 40,
            not_before: now(),
            expires: u64::MAX,
            tags: vec![tag],
        };
        NodeAccess {
            node: Bytes::copy_from_slice(&self.id().0),
            address: self.address.to_string(),
            public_key: Bytes::copy_from_slice(&public),
            tls: self.tls,
            grant: grant.sign(server).into(),
            bucket_tag: Bytes::copy_from_slice(&tag.0),
            alive: true,
        }
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    state: Arc<State>,
    live: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let number = state.connections.fetch_add(1, Ordering::SeqCst);
        let service = Service { state: Arc::clone(&state), connection: number };
        let stream = Freezing { stream, state: Arc::clone(&state) };
        let acceptor = acceptor.clone();
        let task = tokio::spawn(async move {
            match acceptor {
                None => serve(service, stream).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(service, stream).await;
                    }
                }
            }
        });
        live.lock().unwrap().push(task.abort_handle());
    }
}

/// A connection on which nothing moves while the node is frozen.
struct Freezing<S> {
    stream: S,
    state: Arc<State>,
}

impl<S> Freezing<S> {
    fn is_frozen(&self, cx: &Context<'_>) -> bool {
        // Held, so that a release does not come in between.
        let mut frozen = self.state.frozen.lock().unwrap();
        let is_frozen = *self.state.manner.lock().unwrap() == Manner::Frozen;
        if is_frozen {
            frozen.push(cx.waker().clone());
        }
        is_frozen
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Freezing<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.is_frozen(cx) { Poll::Pending } else { Pin::new(&mut self.stream).poll_read(cx, buf) }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Freezing<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        if self.is_frozen(cx) { Poll::Pending } else { Pin::new(&mut self.stream).poll_write(cx, buf) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.is_frozen(cx) { Poll::Pending } else { Pin::new(&mut self.stream).poll_flush(cx) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Serves one connection with a service of its own, which is how the proof of possession is bound to the connection.
async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(service: Service, stream: S) {
    let service = ChunkServiceServer::new(service).max_decoding_message_size(1 << 20);
    let service = tower::ServiceExt::<http::Request<tonic::body::Body>>::map_request(
        service,
        |request: http::Request<hyper::body::Incoming>| request.map(tonic::body::Body::new),
    );
    let service = hyper_util::service::TowerToHyperService::new(service);
    let _ = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
        .initial_stream_window_size(1 << 20)
        .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
        .await;
}

fn tls_config(key: &SigningKey) -> rustls::ServerConfig {
    // RFC 8410: a PKCS #8 private key without its public half.
    let mut der = vec![0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    der.extend_from_slice(&key.to_bytes());
    let private = rustls_pki_types::PrivatePkcs8KeyDer::from(der);
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&private, &rcgen::PKCS_ED25519).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["node".to_owned()]).unwrap().self_signed(&pair).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private.into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

#[derive(Clone)]
struct Service {
    state: Arc<State>,
    connection: u64,
}

impl Service {
    fn manner(&self) -> Manner {
        self.state.manner.lock().unwrap().clone()
    }

    /// Waits while the node hangs; `number` is that of the store, 0 for anything else.
    async fn pause(&self, number: u64) {
        loop {
            let gate = self.state.gate.notified();
            match self.manner() {
                Manner::Hanging => gate.await,
                Manner::HangsAfter(stores) if number > stores => gate.await,
                _ => return,
            }
        }
    }

    #[allow(clippy::result_large_err, reason = "the error type of the generated trait")]
    fn check(&self, grant: &[u8], operation: Operations) -> Result<Grant, Status> {
        if !self.state.proven.lock().unwrap().contains(&self.connection) {
            return Err(status(ErrorCode::InvalidCredentials, "prove possession first"));
        }
        let grant = Grant::read_unchecked(grant).map_err(|e| status(ErrorCode::PermissionDenied, e.to_string()))?;
        if grant.node != *self.state.claimed.lock().unwrap() || !grant.operations.allows(operation) {
            return Err(status(ErrorCode::PermissionDenied, "the grant is for another node"));
        }
        Ok(grant)
    }

    fn receipt(&self, grant: &Grant, id: ChunkId, bytes: &[u8]) -> Bytes {
        let manner = self.manner();
        let mut root = chunk::root(bytes);
        if manner == Manner::WrongRoot {
            root[0] ^= 1;
        }
        let received = ReceivedChunk { id, length: u32::try_from(bytes.len()).unwrap(), root };
        let receipt = Receipt {
            node: *self.state.claimed.lock().unwrap(),
            grant: if manner == Manner::WrongGrant { GrantId([0; 16]) } else { grant.id },
            issued: if manner == Manner::WrongTime { 0 } else { now() },
            chunks: if manner == Manner::EmptyReceipts { vec![] } else { vec![received] },
        };
        let other = SigningKey::from_bytes(&[200; 32]);
        receipt.sign(if manner == Manner::WrongSignature { &other } else { &self.state.key }).into()
    }
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ChunkService for Service {
    async fn get_challenge(
        &self,
        _request: Request<pb::GetChallengeRequest>,
    ) -> Result<Response<pb::GetChallengeResponse>, Status> {
        let challenge: [u8; 32] = random_bytes();
        self.state.challenges.lock().unwrap().insert(self.connection, challenge);
        Ok(Response::new(pb::GetChallengeResponse {
            node_id: Bytes::copy_from_slice(&self.state.claimed.lock().unwrap().0),
            challenge: Bytes::copy_from_slice(&challenge),
            version: "test".to_owned(),
        }))
    }

    async fn prove_possession(
        &self,
        request: Request<pb::ProvePossessionRequest>,
    ) -> Result<Response<pb::ProvePossessionResponse>, Status> {
        let request = request.into_inner();
        let challenge = self.state.challenges.lock().unwrap().remove(&self.connection);
        let body = [&self.state.claimed.lock().unwrap().0[..], &challenge.unwrap_or_default()[..]].concat();
        let key: [u8; 32] = request.session_key[..].try_into().unwrap();
        sign::verify(&key, Purpose::Possession, &body, &request.signature)
            .map_err(|_| status(ErrorCode::InvalidCredentials, "the proof is not valid"))?;
        self.state.proven.lock().unwrap().insert(self.connection);
        Ok(Response::new(pb::ProvePossessionResponse {}))
    }

    type StoreChunkStream = Answers<pb::StoreChunkResponse>;

    async fn store_chunk(
        &self,
        request: Request<Streaming<pb::StoreChunkRequest>>,
    ) -> Result<Response<Self::StoreChunkStream>, Status> {
        let number = self.state.stores.fetch_add(1, Ordering::SeqCst) + 1;
        let mut parts = request.into_inner();
        let Some(Ok(pb::StoreChunkRequest { part: Some(Part::Open(open)) })) = parts.next().await else {
            return Err(status(ErrorCode::InvalidArgument, "open comes first"));
        };
        let grant = self.check(&open.grant, Operations::STORE)?;
        let (send, receive) = tokio::sync::mpsc::channel(16);
        let service = self.clone();
        tokio::spawn(async move {
            if let Err(error) = service.take(parts, &grant, number, &send).await {
                let _ = send.send(Err(error)).await;
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receive))))
    }

    type GetChunkStream = Answers<pb::GetChunkResponse>;

    async fn get_chunk(&self, request: Request<pb::GetChunkRequest>) -> Result<Response<Self::GetChunkStream>, Status> {
        let request = request.into_inner();
        let number = self.state.reads.fetch_add(1, Ordering::SeqCst) + 1;
        self.pause(0).await;
        if self.manner() == Manner::MissesRead(number) {
            std::future::pending::<()>().await;
        }
        self.check(&request.grant, Operations::READ)?;
        let id = ChunkId::try_from(&request.chunk_id[..]).unwrap();
        let manner = self.manner();
        if manner == Manner::ProvesNothing && request.with_proof {
            return Err(Status::unavailable("not now"));
        }
        if manner == Manner::DripsProofs && request.with_proof {
            let chunk_length = self.state.chunks.lock().unwrap().get(&id).map_or(0, |bytes| bytes.len() as u64);
            let drip = move |()| async move {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                Some((Ok(pb::GetChunkResponse { chunk_length, data: Bytes::new() }), ()))
            };
            return Ok(Response::new(Box::pin(futures_util::stream::unfold((), drip))));
        }
        let chunks = self.state.chunks.lock().unwrap().clone();
        let found = if manner == Manner::Swaps {
            let length = chunks.get(&id).map(Bytes::len);
            chunks.iter().find(|(other, bytes)| **other != id && Some(bytes.len()) == length).map(|(_, bytes)| bytes)
        } else {
            chunks.get(&id)
        };
        let bytes = found.filter(|_| manner != Manner::Forgets).cloned();
        let mut bytes = bytes.ok_or_else(|| status(ErrorCode::NotFound, "no such chunk"))?.to_vec();
        let total = bytes.len() as u64;
        if matches!(manner, Manner::FlipsBits | Manner::DripsProofs) {
            for byte in bytes.iter_mut().step_by(1000) {
                *byte ^= 4;
            }
        }
        let end = if request.length == 0 { total } else { request.offset + request.length };
        let mut data = if request.with_proof {
            proof::prove(Cursor::new(&bytes), total, request.offset..end).unwrap().bytes
        } else {
            bytes[usize::try_from(request.offset).unwrap()..usize::try_from(end).unwrap()].to_vec()
        };
        if manner == Manner::Truncates {
            data.truncate(data.len() - 1);
        }
        self.state.read_bytes.fetch_add(data.len() as u64, Ordering::SeqCst);
        let data = Bytes::from(data);
        let pieces: Vec<_> = (0..data.len())
            .step_by(256 * 1024)
            .map(|at| {
                Ok(pb::GetChunkResponse {
                    chunk_length: if at == 0 { total } else { 0 },
                    data: data.slice(at..data.len().min(at + 256 * 1024)),
                })
            })
            .collect();
        Ok(Response::new(Box::pin(futures_util::stream::iter(pieces))))
    }

    async fn verify_chunk(
        &self,
        request: Request<pb::VerifyChunkRequest>,
    ) -> Result<Response<pb::VerifyChunkResponse>, Status> {
        let request = request.into_inner();
        self.pause(0).await;
        self.check(&request.grant, Operations::READ)?;
        let chunks = self.state.chunks.lock().unwrap().clone();
        let manner = self.manner();
        let states = request.chunk_ids.iter().map(|id| {
            match chunks.get(&ChunkId::try_from(&id[..]).unwrap()).filter(|_| manner != Manner::Forgets) {
                None => pb::ChunkState { presence: Presence::Missing.into(), ..Default::default() },
                Some(bytes) => pb::ChunkState {
                    presence: Presence::Present.into(),
                    length: u32::try_from(bytes.len()).unwrap(),
                    root: Bytes::copy_from_slice(&chunk::root(bytes)),
                },
            }
        });
        Ok(Response::new(pb::VerifyChunkResponse { states: states.collect() }))
    }

    async fn probe_bandwidth(
        &self,
        _request: Request<pb::ProbeBandwidthRequest>,
    ) -> Result<Response<pb::ProbeBandwidthResponse>, Status> {
        Ok(Response::new(pb::ProbeBandwidthResponse {}))
    }

    async fn delete_chunk(
        &self,
        _request: Request<pb::DeleteChunkRequest>,
    ) -> Result<Response<pb::DeleteChunkResponse>, Status> {
        Err(status(ErrorCode::PermissionDenied, "not here"))
    }
}

impl Service {
    async fn take(
        &self,
        mut parts: Streaming<pb::StoreChunkRequest>,
        grant: &Grant,
        number: u64,
        answers: &tokio::sync::mpsc::Sender<Result<pb::StoreChunkResponse, Status>>,
    ) -> Result<(), Status> {
        let mut header: Option<pb::ChunkHeader> = None;
        let mut bytes = Vec::new();
        let mut total = 0;
        while let Some(part) = parts.next().await {
            self.pause(number).await;
            match part?.part {
                Some(Part::Header(next)) => {
                    header = Some(next);
                    bytes = Vec::new();
                }
                Some(Part::Data(data)) => {
                    bytes.extend_from_slice(&data);
                    total += data.len();
                }
                Some(Part::Open(_) | Part::Flush(_)) | None => continue,
            }
            match self.manner() {
                Manner::BreaksAfter(limit) if total > limit => return Err(Status::unavailable("gone")),
                Manner::Refuses(code) => return Err(status(code, "it is told to refuse")),
                Manner::RefusesUntil(stores) if number <= stores => {
                    return Err(status(ErrorCode::TokenExpired, "the grant is over"));
                }
                _ => {}
            }
            let Some(chunk) = header.as_ref().filter(|header| header.length as usize == bytes.len()) else { continue };
            let id = ChunkId::try_from(&chunk.chunk_id[..]).unwrap();
            assert_eq!(chunk.root, &chunk::root(&bytes)[..], "a client must send what it announced");
            if self.manner() == Manner::NoReceipt {
                return Ok(());
            }
            let receipt = self.receipt(grant, id, &bytes);
            while self.manner() == Manner::EmptyReceipts {
                let answer = pb::StoreChunkResponse { part: Some(Answer::Receipt(receipt.clone())) };
                if answers.send(Ok(answer)).await.is_err() {
                    return Ok(());
                }
            }
            self.state.chunks.lock().unwrap().insert(id, Bytes::from(std::mem::take(&mut bytes)));
            header = None;
            let answer = pb::StoreChunkResponse { part: Some(Answer::Receipt(receipt)) };
            let _ = answers.send(Ok(answer)).await;
        }
        Ok(())
    }
}
