//! Connections to other nodes, and ranges of their chunks, with proofs or without.
//!
//! A connection is pinned to the peer's key, plain text is spoken on loopback only, and it begins with a proof that this node holds the
//! key to which its grants are bound. Orders for the traffic are signed with the same key. A connection that failed is replaced by a new one.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{GrantId, NodeId};
use cyx_core::order::Order;
use cyx_core::proof;
use cyx_core::sign::{self, Purpose};
use cyx_proto::chunk::v1::chunk_service_client::ChunkServiceClient;
use cyx_proto::chunk::v1::{GetChallengeRequest, GetChunkRequest, ProvePossessionRequest};
use cyx_proto::convert::bytes_of;
use cyx_proto::status::error_code;
use cyx_proto::tls::pinned_config;
use ed25519_dalek::SigningKey;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::body::Body;

use super::task::Source;

/// For a connection and everything that comes before the first request.
const CONNECT: Duration = Duration::from_secs(10);
/// Without a message.
const IDLE: Duration = Duration::from_secs(20);
/// Connections that are kept for the next task.
const KEPT: usize = 64;
/// Grants of which the traffic is remembered.
const GRANTS: usize = 4096;
const WINDOW: u32 = 1 << 20;
/// Largest message that is read: a piece of a chunk with its proof, and then some.
const MESSAGE_MAX: usize = 2 << 20;

/// Another node, with the grant to read from it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) address: String,
    pub(crate) public_key: [u8; 32],
    pub(crate) tls: bool,
    pub(crate) grant: Bytes,
    pub(crate) grant_id: GrantId,
    pub(crate) allowance: u64,
}

/// Why a source does not do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Failure {
    /// No connection, or it broke.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// It says that it does not have the chunk.
    #[error("does not have the chunk")]
    Missing,
    /// What it sends is not the chunk, or it says itself that its chunk is damaged.
    #[error("does not have the chunk as it was")]
    Corrupt,
    /// It refuses for another reason.
    #[error("refuses: {message} ({code})")]
    Refused {
        /// The stable code.
        code: ErrorCode,
        /// Its words.
        message: String,
    },
}

impl Failure {
    fn of(status: &Status) -> Self {
        let carried = status.metadata().contains_key(cyx_proto::status::CODE_KEY);
        let message: String = status.message().chars().filter(|c| !c.is_control()).take(200).collect();
        match error_code(status) {
            ErrorCode::NotFound if carried => Self::Missing,
            ErrorCode::Integrity if carried => Self::Corrupt,
            code if carried => Self::Refused { code, message },
            _ => Self::Unreachable(message),
        }
    }
}

/// Connections to other nodes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Peers {
    key: Arc<SigningKey>,
    wires: Arc<Mutex<HashMap<NodeId, (String, Wire)>>>,
    /// Bytes that were asked for under each grant.
    moved: Arc<Mutex<HashMap<GrantId, u64>>>,
}

impl Peers {
    /// For the node with this key.
    pub(crate) fn new(key: SigningKey) -> Self {
        Self { key: Arc::new(key), wires: Arc::default(), moved: Arc::default() }
    }

    /// The key that grants have to be bound to.
    pub(crate) fn own_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// A range of a source's chunk of `length` bytes; if it is `proven`, these are the bytes of the chunk, otherwise it is what the source says.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn read(
        &self,
        source: &Source,
        length: u64,
        range: Range<u64>,
        proven: bool,
    ) -> Result<Bytes, Failure> {
        let outcome = self.try_read(source, length, range, proven).await;
        if matches!(
            outcome,
            Err(Failure::Unreachable(_) | Failure::Refused { code: ErrorCode::InvalidCredentials, .. })
        ) {
            self.wires.lock().unwrap_or_else(PoisonError::into_inner).remove(&source.peer.node);
        }
        outcome
    }

    async fn try_read(&self, source: &Source, length: u64, range: Range<u64>, proven: bool) -> Result<Bytes, Failure> {
        let mut client = self.wire(&source.peer).await?.client(&source.peer);
        let request = GetChunkRequest {
            grant: source.peer.grant.clone(),
            bucket_tag: bytes_of(source.tag),
            chunk_id: bytes_of(source.chunk),
            offset: range.start,
            length: range.end - range.start,
            with_proof: proven,
            order: self.order(&source.peer, range.end - range.start),
            max_rate: 0,
        };
        let stalled = |_| Failure::Unreachable("it stopped answering".to_owned());
        let answered = tokio::time::timeout(IDLE, client.get_chunk(request)).await.map_err(stalled)?;
        let mut answers = answered.map_err(|status| Failure::of(&status))?.into_inner();
        let plain = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let limit = if proven { proof_len_max(&range) } else { plain };
        let mut sent = Vec::with_capacity(plain);
        loop {
            let message = tokio::time::timeout(IDLE, answers.message()).await.map_err(stalled)?;
            let Some(message) = message.map_err(|status| Failure::of(&status))? else { break };
            if message.data.len() > limit - sent.len() {
                return Err(Failure::Corrupt);
            }
            sent.extend_from_slice(&message.data);
        }
        if !proven {
            return if sent.len() == plain { Ok(sent.into()) } else { Err(Failure::Corrupt) };
        }
        let root = source.root;
        // Hashing is not for the threads that serve others.
        let verified = tokio::task::spawn_blocking(move || proof::verify(&root, length, range, &sent)).await;
        match verified {
            Ok(Ok(bytes)) => Ok(bytes.into()),
            Ok(Err(_)) => Err(Failure::Corrupt),
            Err(error) => Err(Failure::Unreachable(error.to_string())),
        }
    }

    /// Signs for all traffic under a grant, the coming one included.
    fn order(&self, peer: &Peer, bytes: u64) -> Bytes {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        if moved.len() >= GRANTS {
            // What is forgotten is signed for anew from nothing, and the peer keeps the higher order that it has.
            moved.clear();
        }
        let traffic = moved.entry(peer.grant_id).or_default();
        *traffic = traffic.saturating_add(bytes).min(peer.allowance);
        Order { node: peer.node, grant: peer.grant_id, traffic: *traffic }.sign(&self.key).into()
    }

    async fn wire(&self, peer: &Peer) -> Result<Wire, Failure> {
        {
            let wires = self.wires.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((address, wire)) = wires.get(&peer.node)
                && *address == peer.address
                && !wire.0.is_closed()
            {
                return Ok(wire.clone());
            }
        }
        let opening = async {
            let wire = connect(peer).await?;
            self.prove(peer, &wire).await?;
            Ok(wire)
        };
        let late = |_| Failure::Unreachable("no connection in time".to_owned());
        let wire: Wire = tokio::time::timeout(CONNECT, opening).await.map_err(late)??;
        let mut wires = self.wires.lock().unwrap_or_else(PoisonError::into_inner);
        if wires.len() >= KEPT {
            wires.clear();
        }
        wires.insert(peer.node, (peer.address.clone(), wire.clone()));
        Ok(wire)
    }

    async fn prove(&self, peer: &Peer, wire: &Wire) -> Result<(), Failure> {
        let mut client = wire.client(peer);
        let answer = client.get_challenge(GetChallengeRequest {}).await.map_err(|status| Failure::of(&status))?;
        let answer = answer.into_inner();
        if answer.node_id != peer.node.0[..] || answer.challenge.len() != 32 {
            return Err(Failure::Unreachable("another node answers there".to_owned()));
        }
        let body = sign::possession_body(peer.node, &answer.challenge);
        let request = ProvePossessionRequest {
            session_key: Bytes::copy_from_slice(&self.own_key()),
            signature: Bytes::copy_from_slice(&sign::sign(&self.key, Purpose::Possession, &body)),
        };
        client.prove_possession(request).await.map_err(|status| Failure::of(&status))?;
        Ok(())
    }
}

/// No proof of this range is longer: its groups, a hash pair for each, and two paths down the tree.
fn proof_len_max(range: &Range<u64>) -> usize {
    let groups = range.end.div_ceil(proof::GROUP) - range.start / proof::GROUP;
    let most = groups.saturating_mul(proof::GROUP + 64).saturating_add(2 * 64 * 64 + 16);
    usize::try_from(most).unwrap_or(usize::MAX)
}

async fn connect(peer: &Peer) -> Result<Wire, Failure> {
    let unreachable = |error: std::io::Error| Failure::Unreachable(error.to_string());
    let stream = cyx_proto::socket::connect(&peer.address).await.map_err(unreachable)?;
    if !peer.tls {
        let there = stream.peer_addr().map_err(unreachable)?;
        if !there.ip().to_canonical().is_loopback() {
            return Err(Failure::Unreachable("it offers plain text beyond this machine".to_owned()));
        }
        return handshake(stream).await;
    }
    let config = pinned_config(peer.public_key).map_err(|error| Failure::Unreachable(error.to_string()))?;
    // The name is not checked: the key is. Nodes are found by address, and some have no name at all.
    let name = ServerName::try_from("node.cyx.invalid").map_err(|error| Failure::Unreachable(error.to_string()))?;
    handshake(TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(unreachable)?).await
}

async fn handshake<S>(stream: S) -> Result<Wire, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::Unreachable(error.to_string()))?;
    // Ends when the last sender is dropped or the connection breaks.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to another node ended");
        }
    });
    Ok(Wire(sender))
}

/// One HTTP/2 connection. A `tonic` channel would connect again by itself, and the peer would face a connection on which nothing was proven.
#[derive(Clone)]
struct Wire(SendRequest<Body>);

impl Wire {
    fn client(&self, peer: &Peer) -> ChunkServiceClient<Self> {
        let origin = http::Uri::builder()
            .scheme("http")
            .authority(peer.address.as_str())
            .path_and_query("/")
            .build()
            .unwrap_or_else(|_| http::Uri::from_static("http://node.cyx.invalid/"));
        ChunkServiceClient::with_origin(self.clone(), origin).max_decoding_message_size(MESSAGE_MAX)
    }
}

impl tower::Service<http::Request<Body>> for Wire {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
