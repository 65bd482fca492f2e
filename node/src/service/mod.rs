//! The gRPC side of a node: who may do what, and how bytes flow.
//!
//! | module | what it does |
//! |---|---|
//! | [`identity`] | the node's Ed25519 key, its id and its TLS certificate |
//! | [`listen`] | connections: TCP or TLS, and the challenge bound to each |
//! | [`unfinished`] | TLS handshakes that are not done: how many of whom |
//! | [`access`] | server keys, grants, possession: may this connection do that? |
//! | [`ledger`] | how much of each grant's allowance is used, across restarts |
//! | [`orders`] | traffic, and what clients signed for it |
//! | [`facts`] | the node's own record of what it is paid for |
//! | [`chunk`] | the service's methods |
//! | [`bulk`] | those that move data, past the codec |
//! | [`reads`] | who reads at the same time, and for how long |
//! | [`receive`] | one `StoreChunk` stream |
//! | [`serve`] | one `GetChunk` stream, plain or with proofs |

pub mod access;
mod bulk;
mod chunk;
pub mod facts;
pub mod identity;
pub mod ledger;
pub mod listen;
pub mod orders;
mod reads;
mod receive;
mod serve;
mod unfinished;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cyx_core::error::ErrorCode;
use cyx_core::units::{CHUNK_MAX, KIB};
use cyx_proto::status::status;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::store::{ChunkStore, Clock, StoreError};
use access::Access;
use identity::Identity;
use ledger::Ledger;
use reads::Reads;

pub use chunk::ChunkApi;

/// Name and version as a node states them.
pub const VERSION: &str = concat!("cyx-node/", env!("CARGO_PKG_VERSION"));
/// Bytes of chunks being received that are in memory at the same time, on all connections together.
pub const RECEIVE_MEMORY: u64 = 96 * cyx_core::units::MIB;
/// Chunks being read at the same time, on all connections together.
pub const READS_MAX: usize = 64;

/// A client that sends nothing for so long in the middle of a chunk has lost it.
const STALL: Duration = Duration::from_secs(60);
/// A client that takes nothing of an answer for so long does not want it. Over a narrow link that many share, a piece takes its time.
const READ_STALL: Duration = Duration::from_secs(300);

const _: () = assert!(RECEIVE_MEMORY >= CHUNK_MAX, "the largest chunk has to fit");

/// What all connections share.
pub struct Node {
    /// Who this node is.
    pub identity: Identity,
    /// Where the chunks are.
    pub store: Arc<dyn ChunkStore>,
    /// Who may do what.
    pub access: Access,
    /// What is used of the grants.
    pub ledger: Ledger,
    /// The time.
    pub clock: Clock,
    /// Totals since the start.
    pub counters: Counters,
    /// Permits of 1 KiB for chunks being received.
    memory: Arc<Semaphore>,
    /// Permits for chunks being read.
    reads: Reads,
}

impl Node {
    /// Puts the parts together.
    #[must_use]
    pub fn new(identity: Identity, store: Arc<dyn ChunkStore>, access: Access, ledger: Ledger, clock: Clock) -> Self {
        let kib = usize::try_from(RECEIVE_MEMORY / KIB).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            identity,
            store,
            access,
            ledger,
            clock,
            counters: Counters::default(),
            memory: Arc::new(Semaphore::new(kib)),
            reads: Reads::new(),
        }
    }
}

impl Node {
    /// Takes memory for a chunk of so many bytes out of what chunks may take together. `None`: the node is shutting down.
    pub(crate) async fn reserve(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX);
        Arc::clone(&self.memory).acquire_many_owned(permits).await.ok()
    }
}

/// Window of one HTTP/2 stream.
const STREAM_WINDOW: u32 = 4 << 20;
/// Window of one HTTP/2 connection.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Largest HTTP/2 frame that is accepted.
const FRAME_MAX: u32 = 1 << 20;
/// Calls at the same time on one connection.
const STREAMS_MAX: u32 = 256;
/// Largest message of the methods that move data: it comes in pieces of 256 KiB.
const MESSAGE_MAX: usize = 2 << 20;

/// Why the service does not run.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The listener is reachable from other machines, but was to be plain.
    #[error("{0} is not a loopback address: there the node serves with TLS only")]
    PlainOffLoopback(SocketAddr),
    /// The listener has no address.
    #[error("the listener is not usable: {0}")]
    Listener(#[from] std::io::Error),
    /// No certificate.
    #[error(transparent)]
    Identity(#[from] identity::IdentityError),
    /// The transport failed.
    #[error("the gRPC service failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves `ChunkService` until `shutdown`, then finishes the calls that are running.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    node: Arc<Node>,
    listener: TcpListener,
    tls: bool,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    if !tls && !listen::may_be_plain(address) {
        return Err(ServeError::PlainOffLoopback(address));
    }
    let config = if tls { Some(node.identity.tls_config()?) } else { None };
    let incoming = ReceiverStream::new(listen::accept(listener, config));
    let service = bulk::Service::new(ChunkApi::new(node));
    tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await?;
    Ok(())
}

/// Totals since the start, for heartbeats and metrics.
#[derive(Debug, Default)]
pub struct Counters {
    stored: AtomicU64,
    served: AtomicU64,
}

impl Counters {
    /// Bytes of chunks acknowledged.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Bytes of chunks sent.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    fn add_stored(&self, bytes: u64) {
        self.stored.fetch_add(bytes, Ordering::Relaxed);
        metrics::counter!("cyx_node_stored_bytes_total").increment(bytes);
        metrics::counter!("cyx_node_stored_chunks_total").increment(1);
    }

    fn add_served(&self, bytes: u64) {
        self.served.fetch_add(bytes, Ordering::Relaxed);
        metrics::counter!("cyx_node_served_bytes_total").increment(bytes);
    }
}

/// The stable code and the words for what a store refuses. What failed inside stays in the log.
pub(crate) fn store_refusal(error: &StoreError) -> (ErrorCode, String) {
    let code = match error {
        StoreError::NotFound | StoreError::Trashed => ErrorCode::NotFound,
        StoreError::Damaged | StoreError::WrongBytes => ErrorCode::Integrity,
        StoreError::OtherContent => ErrorCode::AlreadyExists,
        StoreError::InvalidLength => ErrorCode::TooLarge,
        StoreError::OutOfRange | StoreError::StaleKeepList => ErrorCode::InvalidArgument,
        StoreError::Full => ErrorCode::InsufficientStorage,
        StoreError::ReadOnly(_) => {
            return (ErrorCode::Unavailable, "the node takes no chunks because its disk failed".to_owned());
        }
        StoreError::Stopped | StoreError::Away => ErrorCode::Unavailable,
        StoreError::Elsewhere(_)
        | StoreError::InUse(_)
        | StoreError::Io { .. }
        | StoreError::Index(_)
        | StoreError::Layout(_) => {
            tracing::error!(%error, "the store failed");
            return (ErrorCode::Internal, "the node's store failed".to_owned());
        }
    };
    (code, error.to_string())
}

fn store_status(error: &StoreError) -> Status {
    let (code, message) = store_refusal(error);
    count_error(code);
    status(code, message)
}

fn count_error(code: ErrorCode) {
    metrics::counter!("cyx_node_errors_total", "code" => code.as_str()).increment(1);
}

fn count_request(method: &'static str) {
    metrics::counter!("cyx_node_requests_total", "method" => method).increment(1);
}
