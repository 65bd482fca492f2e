//! Storage nodes as a client sees them: connections, what is stored and read over them, and which nodes are worth asking.
//!
//! A [`NodePool`] keeps one connection per node. TLS is pinned to the node's own Ed25519 key, which the server names;
//! plain text is spoken on loopback only. A connection begins with a challenge and a proof that this client holds the session
//! key that its grants name, and a connection that breaks is replaced by a new one that is proven anew, never silently
//! repaired: a [`wire::Wire`] is exactly one connection.
//!
//! | file | what it does |
//! |---|---|
//! | [`access`] | a node with its address, key and grant, checked |
//! | [`wire`] | one HTTP/2 connection with its proof of possession, over [`cyx_proto::tls`] |
//! | [`heard`] | when something last arrived over it |
//! | [`dial`] | connections as they are made, and looks at nodes that let somebody wait |
//! | [`bulk`] | calls that move data |
//! | [`health`] | what is remembered about nodes: failures, silence and response times |
//! | [`load`] | what they have to do, and whose turn it is |
//! | [`pace`] | the way to them, shared out among connections |
//! | [`orders`] | what is signed about the traffic |
//! | [`store`] | chunks out, receipts back |
//! | [`read`] | chunk ranges, proofs and presence back |

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cyx_core::error::ErrorCode;
use cyx_core::ids::NodeId;
use cyx_core::sign::SIGNATURE_LEN;
use thiserror::Error;

pub mod access;
pub(crate) mod bulk;
mod dial;
pub mod health;
mod heard;
mod load;
pub(crate) mod orders;
mod pace;
pub mod read;
pub mod store;
pub(crate) mod wire;

pub use access::NodeAccess;
pub use health::{Health, Work};
pub use store::{Chunk, Stored};

use dial::{MOMENT, Slot};
use load::{Loads, TransferPermit};
use orders::{Counted, Orders};
use pace::Pace;
use wire::Wire;

/// Signs for the session key that this client's grants name: that it is at hand, and what traffic it had.
pub trait SessionProof: Send + Sync {
    /// The session's Ed25519 public key.
    fn public_key(&self) -> [u8; 32];
    /// Signs `body` for [`cyx_core::sign::Purpose::Possession`].
    fn prove(&self, body: &[u8]) -> [u8; SIGNATURE_LEN];
    /// Signs `body` for [`cyx_core::sign::Purpose::Order`].
    fn order(&self, body: &[u8]) -> [u8; SIGNATURE_LEN];
    /// What was signed for. All pools that use the same grants count together.
    fn orders(&self) -> Arc<Orders> {
        Arc::default()
    }
}

/// How long nodes may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a connection, its TLS handshake and its proof of possession, all together.
    pub connect: Duration,
    /// Without any byte moving in either direction on a stream.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), idle: Duration::from_secs(20) }
    }
}

/// What went wrong with a node.
#[derive(Debug, Clone, Error)]
#[error("storage node {node} at {address}: {problem}")]
pub struct NodeError {
    /// The node.
    pub node: NodeId,
    /// Where it was asked.
    pub address: String,
    /// What it did.
    pub problem: Problem,
}

/// Kinds of trouble with a node.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// It cannot be connected to.
    #[error("cannot be reached ({0})")]
    Unreachable(String),
    /// It stopped moving bytes for longer than [`Patience`] allows.
    #[error("stopped answering")]
    Stalled,
    /// It broke off in the middle.
    #[error("broke the connection ({0})")]
    Broken(String),
    /// It does not hold the key that the server says it has.
    #[error("is not the node it should be ({0})")]
    Impostor(&'static str),
    /// It may only be spoken to over TLS.
    #[error("offers plain text beyond this machine, which is refused")]
    PlainText,
    /// It refuses, and says why.
    #[error("refuses: {message} ({code})")]
    Refused {
        /// The stable code.
        code: ErrorCode,
        /// Its words.
        message: String,
    },
    /// Its receipts do not say what they should.
    #[error("gives receipts that are wrong: {0}")]
    WrongReceipt(&'static str),
    /// It answers with other bytes than were stored.
    #[error("answers with wrong data: {0}")]
    WrongData(&'static str),
    /// The grant for it allows no more traffic.
    #[error("may not be read from any more under the grant at hand")]
    UsedUp,
    /// No grant for it is at hand.
    #[error("there is no grant for it")]
    NoGrant,
}

impl Problem {
    /// Whether the node misbehaves, rather than being away or busy.
    #[must_use]
    pub const fn is_lie(&self) -> bool {
        matches!(self, Self::Impostor(_) | Self::WrongReceipt(_) | Self::WrongData(_))
    }

    /// Whether a new grant may help.
    #[must_use]
    pub const fn is_stale_grant(&self) -> bool {
        matches!(
            self,
            Self::NoGrant
                | Self::UsedUp
                | Self::Refused {
                    code: ErrorCode::PermissionDenied | ErrorCode::TokenExpired | ErrorCode::QuotaExceeded,
                    ..
                }
        )
    }

    /// Whether it may be the way to the node that is gone.
    #[must_use]
    pub const fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Stalled | Self::Broken(_))
    }
}

/// Connections to storage nodes. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct NodePool {
    inner: Arc<Pool>,
}

struct Pool {
    session: Arc<dyn SessionProof>,
    patience: Patience,
    health: Health,
    loads: Loads,
    pace: Pace,
    orders: Arc<Orders>,
    slots: Mutex<HashMap<NodeId, Slot>>,
}

/// For how long somebody waits for nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// As [`Patience`] says.
    Always,
    /// So too, but only for a moment if the same node was waited for in vain before: others have the same bytes, or nobody has.
    Once,
}

impl NodePool {
    /// A pool without connections.
    #[must_use]
    pub fn new(session: Arc<dyn SessionProof>, patience: Patience) -> Self {
        let (health, loads, orders) = (Health::default(), Loads::default(), session.orders());
        Self {
            inner: Arc::new(Pool {
                session,
                patience,
                health,
                loads,
                pace: Pace::default(),
                orders,
                slots: Mutex::default(),
            }),
        }
    }

    /// What is remembered about the nodes.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.inner.health
    }

    /// What the nodes have to do.
    pub(crate) fn loads(&self) -> &Loads {
        &self.inner.loads
    }

    /// Bytes that connections took to be stored, those included that were sent again or not acknowledged yet. It grows as long as anything
    /// gets through.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.inner.loads.all_sent()
    }

    /// How long nodes may take.
    #[must_use]
    pub fn patience(&self) -> Patience {
        self.inner.patience
    }

    /// Counts bytes that are about to be moved under a node's grant.
    fn count(&self, access: &NodeAccess, bytes: u64, reads: bool) -> Result<Counted<'_>, Problem> {
        self.inner.orders.begin(&self.inner.session, (access.node, access.grant()?), bytes, reads)
    }

    /// Whether a grant still allows this program a read of so many bytes.
    pub(crate) fn allows(&self, grant: &access::AccessGrant, bytes: u64) -> bool {
        self.inner.orders.allows(grant, bytes)
    }

    /// Whether half of what a grant allows was moved by this program.
    pub(crate) fn is_half_spent(&self, grant: &access::AccessGrant) -> bool {
        self.inner.orders.is_half_spent(grant)
    }

    /// Sees to it that there are connections to nodes that will be used soon. What fails is found out when they are.
    pub(crate) async fn prepare(&self, nodes: &[NodeAccess]) {
        futures_util::future::join_all(nodes.iter().map(|node| self.wire(node))).await;
    }

    /// Does something over a proven connection, within the time without progress that it is told. If the node has forgotten the proof, or the
    /// connection turns out to be broken before anything happened on it, this is repeated once over a new one. Outcomes are remembered
    /// in [`Self::health`].
    async fn with_wire<T, F>(
        &self,
        access: &NodeAccess,
        waits: Waits,
        job: impl Fn(Wire, Duration) -> F,
    ) -> Result<T, NodeError>
    where
        F: Future<Output = Result<T, Problem>>,
    {
        let health = self.health();
        let mut repeated = false;
        // Whether the node has a moment only, and whether it was found out here that its connection stands still.
        let mut hurried;
        let mut found_out = false;
        let outcome = loop {
            hurried = waits == Waits::Once && health.is_silent(access.node);
            let reached = if hurried { self.wire_soon(access).await } else { self.wire(access).await };
            let wire = match reached {
                Ok(wire) => wire,
                Err(error) => break Err(error),
            };
            hurried = waits == Waits::Once && health.has_stalled(access.node);
            let idle = if hurried { MOMENT.min(self.inner.patience.idle) } else { self.inner.patience.idle };
            let began = Instant::now();
            match job(wire.clone(), idle).await {
                Ok(value) => break Ok(value),
                Err(problem) => {
                    let unproven = matches!(problem, Problem::Refused { code: ErrorCode::InvalidCredentials, .. });
                    let closed = matches!(problem, Problem::Broken(_)) && wire.is_closed();
                    let stalled = matches!(problem, Problem::Stalled) && !hurried;
                    if unproven || closed || stalled {
                        found_out = wire.retire() && stalled;
                    }
                    // Of what broke before anything was heard on it, nothing can be said of the node: it may have given the connection up long ago.
                    if (unproven || (closed && !wire.heard_since(began))) && !repeated {
                        repeated = true;
                        continue;
                    }
                    break Err(access.error(problem));
                }
            }
        };
        match &outcome {
            Ok(_) => health.succeeded(access.node),
            // A refusal of one chunk or grant says nothing about the next.
            Err(NodeError { problem: Problem::Refused { code, .. }, .. })
                if !matches!(code, ErrorCode::Unavailable | ErrorCode::Internal | ErrorCode::InsufficientStorage) => {}
            Err(NodeError { problem: Problem::NoGrant | Problem::UsedUp, .. }) => {}
            // What is known already, and a moment is too short to say more.
            Err(NodeError { problem: Problem::Stalled, .. }) if hurried => {}
            Err(error) => {
                health.failed(access.node, error.problem.is_lie());
                // Who waited for the same connection for longer says nothing about the one that took its place.
                if found_out {
                    health.fell_silent(access.node);
                }
            }
        }
        outcome
    }
}
