//! One HTTP/2 connection to a node, from the dial to the proof of possession.
//!
//! This is not a `tonic` channel, because a channel reconnects by itself, and the node would then face a connection on
//! which nothing was proven.

use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use cyx_core::ids::NodeId;
use cyx_core::sign::possession_body;
use cyx_core::units::MIB;
use cyx_proto::chunk::v1::chunk_service_client::ChunkServiceClient;
use cyx_proto::chunk::v1::{GetChallengeRequest, ProbeBandwidthRequest, ProvePossessionRequest};
use cyx_proto::socket::Sending;
use cyx_proto::status::error_code;
use cyx_proto::tls::pinned_config;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::body::Body;

use super::access::NodeAccess;
use super::heard::{Heard, Heeded};
use super::{Patience, Problem, SessionProof};

/// Ten nodes are read at once, so that these keep a link of 1 Gbit/s and 100 ms busy together. What waits in a window is memory that
/// no permit covers: on a machine that is busy with other work all of it fills.
const STREAM_WINDOW: u32 = 1536 << 10;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW;
const FRAME: u32 = 1 << 20;
/// Bytes that one stream may hold ready for the socket.
const SEND_BUFFER: usize = 512 << 10;
/// Largest message that is read: a piece of a chunk with its proof, and then some.
pub(super) const MESSAGE_MAX: usize = 4 << 20;

/// A connection has so long to find its rate until it looks for it again: over a long way that takes a second.
const PROBES_AGAIN: Duration = Duration::from_secs(3);

/// Over a way on which an answer takes so long, a connection needs many times as long to find its rate.
const FAR: Duration = Duration::from_millis(10);

/// The client that requests are made with.
pub(crate) type NodeClient = ChunkServiceClient<Wire>;

/// One connection. Clones share it; it is closed when the last is dropped.
#[derive(Clone)]
pub(crate) struct Wire {
    sender: SendRequest<Body>,
    shared: Arc<Shared>,
}

struct Shared {
    address: String,
    opened: Instant,
    retired: AtomicBool,
    heard: Arc<Heard>,
    /// What lies below it, while it stands.
    line: Weak<OwnedFd>,
    /// Whether an answer takes long.
    is_far: AtomicBool,
    /// Whether much was sent.
    has_sent: AtomicBool,
    /// Milliseconds after `opened` at which either side was asked to look for its rate last.
    probed: AtomicU64,
    /// Bytes that had arrived at the node when somebody asked last.
    arrived: AtomicU64,
}

impl Wire {
    /// Connects, checks who is there, and proves who this is.
    pub(crate) async fn open(
        access: &NodeAccess,
        session: &dyn SessionProof,
        patience: Patience,
    ) -> Result<Self, Problem> {
        let opening = async {
            let wire = Self::connect(access).await?;
            wire.prove(access.node, session).await?;
            Ok(wire)
        };
        match tokio::time::timeout(patience.connect, opening).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Problem::Unreachable("no answer in time".to_owned())),
        }
    }

    async fn connect(access: &NodeAccess) -> Result<Self, Problem> {
        let unreachable = |error: std::io::Error| Problem::Unreachable(cyx_proto::connect_error::reason(&error));
        let stream = cyx_proto::socket::connect(&access.address).await.map_err(unreachable)?;
        let line = stream.as_fd().try_clone_to_owned().map_err(unreachable)?;
        if !access.tls {
            let peer = stream.peer_addr().map_err(unreachable)?;
            if !peer.ip().to_canonical().is_loopback() {
                return Err(Problem::PlainText);
            }
            return Self::handshake(access, stream, line).await;
        }
        let config = pinned_config(access.public_key).map_err(|error| Problem::Unreachable(error.to_string()))?;
        // The name is not checked: the key is. Nodes are found by address, and some have no name at all.
        let name = ServerName::try_from("node.cyx.invalid").map_err(|_| Problem::Impostor("its name"))?;
        match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
            Ok(stream) => Self::handshake(access, stream, line).await,
            Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::InvalidCertificate(_)) => Err(Problem::Impostor("its TLS key is another")),
                _ => Err(unreachable(error)),
            },
        }
    }

    /// `line` is what lies below the stream.
    async fn handshake<S>(access: &NodeAccess, stream: S, line: OwnedFd) -> Result<Self, Problem>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |error: hyper::Error| Problem::Unreachable(error.to_string());
        let heard = Arc::new(Heard::default());
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20))
            .handshake(TokioIo::new(Heeded::new(stream, Arc::clone(&heard))))
            .await
            .map_err(broken)?;
        let node = access.node;
        let line = Arc::new(line);
        let lent = Arc::downgrade(&line);
        // Ends when the last sender is dropped or the connection breaks.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%node, %error, "connection to a storage node ended");
            }
            drop(line);
        });
        let shared = Shared {
            address: access.address.clone(),
            opened: Instant::now(),
            retired: AtomicBool::new(false),
            heard,
            line: lent,
            is_far: AtomicBool::new(false),
            has_sent: AtomicBool::new(false),
            probed: AtomicU64::new(0),
            arrived: AtomicU64::new(0),
        };
        Ok(Self { sender, shared: Arc::new(shared) })
    }

    async fn prove(&self, node: NodeId, session: &dyn SessionProof) -> Result<(), Problem> {
        let mut client = self.client();
        let asked = Instant::now();
        let answer =
            client.get_challenge(GetChallengeRequest {}).await.map_err(|status| problem(&status))?.into_inner();
        self.shared.is_far.store(asked.elapsed() >= FAR, Ordering::Relaxed);
        if answer.node_id != node.0[..] {
            return Err(Problem::Impostor("its id is another"));
        }
        if answer.challenge.len() != 32 {
            return Err(Problem::Impostor("its challenge has the wrong length"));
        }
        let body = possession_body(node, &answer.challenge);
        let request = ProvePossessionRequest {
            session_key: session.public_key().to_vec().into(),
            signature: session.prove(&body).to_vec().into(),
        };
        client.prove_possession(request).await.map_err(|status| problem(&status))?;
        Ok(())
    }

    /// Returns when the node answers anything at all.
    pub(super) async fn ask_for_a_sign(&self) {
        // Whatever the answer is; that this connection is proven does not change.
        drop(self.client().get_challenge(GetChallengeRequest {}).await);
    }

    /// Whether a byte arrived since then, of whatever was asked for.
    pub(super) fn heard_since(&self, since: std::time::Instant) -> bool {
        self.shared.heard.since(since)
    }

    /// A client over this connection.
    pub(crate) fn client(&self) -> NodeClient {
        ChunkServiceClient::with_origin(self.clone(), self.uri("/")).max_decoding_message_size(MESSAGE_MAX)
    }

    /// The address of something on the node.
    pub(super) fn uri(&self, path: &'static str) -> http::Uri {
        http::Uri::builder()
            .scheme("http")
            .authority(self.shared.address.as_str())
            .path_and_query(path)
            .build()
            .unwrap_or_else(|_| http::Uri::from_static("http://node.cyx.invalid/"))
    }

    /// Whether new requests to this node can be made over it.
    pub(crate) fn is_usable_for(&self, access: &NodeAccess) -> bool {
        !self.is_closed() && !self.shared.retired.load(Ordering::Relaxed) && self.shared.address == access.address
    }

    /// Whether the other side is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// No new requests are made over it. Whether some were until now.
    pub(crate) fn retire(&self) -> bool {
        !self.shared.retired.swap(true, Ordering::Relaxed)
    }

    /// Has it look for the rate anew at which it can send, unless it did just now.
    pub(super) fn probe_bandwidth(&self) {
        if self.shared.may_probe()
            && let Some(line) = self.shared.line.upgrade()
        {
            cyx_proto::socket::probe_bandwidth(&line);
        }
    }

    /// Whether it leads over a long way.
    pub(super) fn is_far(&self) -> bool {
        self.shared.is_far.load(Ordering::Relaxed)
    }

    /// Much is sent over it. What it believes of its rate it has from a few small messages, if this is the first time.
    pub(super) fn begin_to_send(&self) {
        if self.is_far()
            && !self.shared.has_sent.swap(true, Ordering::Relaxed)
            && let Some(line) = self.shared.line.upgrade()
        {
            cyx_proto::socket::probe_bandwidth(&line);
        }
    }

    /// Bytes that it was given to send and that have not arrived.
    pub(super) fn backlog(&self) -> u64 {
        self.sending().map_or(0, |sending| sending.left)
    }

    /// Bytes that arrived at the node since this was asked last.
    pub(super) fn newly_arrived(&self) -> u64 {
        let Some(Sending { arrived, .. }) = self.sending() else { return 0 };
        arrived.saturating_sub(self.shared.arrived.swap(arrived, Ordering::Relaxed))
    }

    fn sending(&self) -> Option<Sending> {
        cyx_proto::socket::sending(&*self.shared.line.upgrade()?)
    }

    /// Has it send no more than so many bytes a second, if it leads to another machine.
    pub(super) fn limit_rate(&self, bytes_per_second: u64) {
        if let Some(line) = self.shared.line.upgrade() {
            cyx_proto::socket::limit_rate(&line, bytes_per_second);
        }
    }

    /// Has the node do so, up to so many bytes a second. One that is too old to know how goes on as it was.
    pub(super) fn ask_to_probe_bandwidth(&self, max_rate: u64) {
        if self.shared.may_probe() {
            let mut client = self.client();
            tokio::spawn(async move { drop(client.probe_bandwidth(ProbeBandwidthRequest { max_rate }).await) });
        }
    }
}

impl Shared {
    /// In milliseconds.
    fn age(&self) -> u64 {
        millis(self.opened.elapsed())
    }

    fn may_probe(&self) -> bool {
        let (now, probed) = (self.age(), self.probed.load(Ordering::Relaxed));
        let may = now.saturating_sub(probed) >= millis(PROBES_AGAIN);
        if may {
            self.probed.store(now, Ordering::Relaxed);
        }
        may
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl tower::Service<http::Request<Body>> for Wire {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.sender.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}

/// What a failed call means.
pub(crate) fn problem(status: &Status) -> Problem {
    use cyx_core::error::ErrorCode;
    let carried = status.metadata().contains_key(cyx_proto::status::CODE_KEY);
    match error_code(status) {
        code if carried => Problem::Refused { code, message: clean(status.message()) },
        ErrorCode::Unavailable | ErrorCode::Internal => Problem::Broken(clean(status.message())),
        code => Problem::Refused { code, message: clean(status.message()) },
    }
}

/// A node's words, cut to what may reach a log or a terminal.
pub(crate) fn clean(message: &str) -> String {
    message.chars().filter(|c| !c.is_control()).take(200).collect()
}

const _: () = assert!(MESSAGE_MAX as u64 >= MIB);

#[cfg(test)]
mod tests {
    use cyx_core::scheme::Scheme;

    use super::*;
    use crate::nodes::NodePool;
    use crate::nodes::Work;
    use crate::nodes::pace::FIRST_RATE_BACK;
    use crate::test_nodes::Cluster;

    #[tokio::test]
    async fn a_connection_over_a_long_way_begins_with_a_moderate_rate() {
        let cluster = Cluster::start(1).await;
        let (pool, lease) = (cluster.pool(), cluster.lease(Scheme::SINGLE, 0));
        let access = &lease.nodes[0];
        let wire = pool.wire(access).await.ok().unwrap();
        let _much = pool.loads().permit_to_read(access.node, 64 * MIB).await;
        for (is_far, rate) in [(true, FIRST_RATE_BACK), (false, u64::MAX)] {
            wire.shared.is_far.store(is_far, Ordering::Relaxed);
            assert_eq!(pool.rate_back(access.node, Work::LargeRead), rate);
            wire.limit_rate(rate);
            wire.begin_to_send();
            assert!(wire.shared.has_sent.load(Ordering::Relaxed));
        }
        wire.client().get_challenge(GetChallengeRequest {}).await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_looks_for_its_rate_now_and_then_and_goes_on() {
        let cluster = Cluster::start(1).await;
        let (pool, lease) = (cluster.pool(), cluster.lease(Scheme::SINGLE, 0));
        let access = &lease.nodes[0];
        let wire = pool.wire(access).await.ok().unwrap();
        let probed = || wire.shared.probed.load(Ordering::Relaxed);
        for ask in [NodePool::send_faster, NodePool::read_faster] {
            let before = probed();
            ask(&pool, access.node);
            assert_eq!(probed(), before, "it is young, or did so just now");
            tokio::time::pause();
            tokio::time::advance(PROBES_AGAIN).await;
            tokio::time::resume();
            ask(&pool, access.node);
            assert!(probed() > before);
            wire.client().get_challenge(GetChallengeRequest {}).await.unwrap();
            assert!(pool.wire(access).await.ok().unwrap().is_usable_for(access) && !wire.is_closed());
        }
    }
}
