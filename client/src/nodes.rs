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
//! | [`tls`] | the pinned certificate check |
//! | [`wire`] | one HTTP/2 connection with its proof of possession |
//! | [`bulk`] | calls that move data |
//! | [`health`] | what is remembered about nodes: failures and response times |
//! | [`orders`] | what is signed about the traffic |
//! | [`store`] | chunks out, receipts back |
//! | [`read`] | chunk ranges, proofs and presence back |

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cyx_core::error::ErrorCode;
use cyx_core::ids::NodeId;
use cyx_core::sign::SIGNATURE_LEN;
use thiserror::Error;
use tokio::sync::Mutex as AsyncMutex;

pub mod access;
pub(crate) mod bulk;
pub mod health;
pub(crate) mod orders;
pub mod read;
pub mod store;
pub(crate) mod wire;

pub use access::NodeAccess;
pub use health::{Health, Work};
pub use store::{Chunk, Stored};

use orders::{Counted, Orders};
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
                | Self::Refused { code: ErrorCode::PermissionDenied | ErrorCode::TokenExpired, .. }
        )
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
    orders: Arc<Orders>,
    slots: Mutex<HashMap<NodeId, Arc<AsyncMutex<Slot>>>>,
}

/// The place of a node's connection. Its lock is held while connecting, so that a node is dialled once however many ask.
#[derive(Default)]
struct Slot {
    wire: Option<Wire>,
    failed: Option<(Instant, NodeError)>,
}

impl NodePool {
    /// A pool without connections.
    #[must_use]
    pub fn new(session: Arc<dyn SessionProof>, patience: Patience) -> Self {
        let (health, orders) = (Health::default(), session.orders());
        Self { inner: Arc::new(Pool { session, patience, health, orders, slots: Mutex::default() }) }
    }

    /// What is remembered about the nodes.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.inner.health
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

    /// Sees to it that there are connections to nodes that will be used soon. What fails is found out when they are.
    pub(crate) async fn prepare(&self, nodes: &[NodeAccess]) {
        futures_util::future::join_all(nodes.iter().map(|node| self.wire(node))).await;
    }

    /// A proven connection to a node: the one at hand if it still stands.
    async fn wire(&self, access: &NodeAccess) -> Result<Wire, NodeError> {
        let asked = Instant::now();
        let slot = {
            let mut slots = self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(access.node).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(wire) = slot.wire.as_ref().filter(|wire| wire.is_usable_for(access)) {
            return Ok(wire.clone());
        }
        // Whoever waited while another attempt failed has its answer.
        if let Some((at, error)) = slot.failed.as_ref().filter(|(at, _)| *at >= asked) {
            tracing::trace!(node = %access.node, waited = ?at.duration_since(asked), "shares a failed attempt");
            return Err(error.clone());
        }
        slot.wire = None;
        match Wire::open(access, &*self.inner.session, self.inner.patience).await {
            Ok(wire) => {
                slot.failed = None;
                slot.wire = Some(wire.clone());
                Ok(wire)
            }
            Err(problem) => {
                let error = access.error(problem);
                slot.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Does something over a proven connection. If the node has forgotten the proof, or the connection turns out to be
    /// broken before anything happened on it, this is repeated once over a new one. Outcomes are remembered in
    /// [`Self::health`].
    async fn with_wire<T, F>(&self, access: &NodeAccess, job: impl Fn(Wire) -> F) -> Result<T, NodeError>
    where
        F: Future<Output = Result<T, Problem>>,
    {
        let mut repeated = false;
        let outcome = loop {
            let wire = match self.wire(access).await {
                Ok(wire) => wire,
                Err(error) => break Err(error),
            };
            match job(wire.clone()).await {
                Ok(value) => break Ok(value),
                Err(problem) => {
                    let unproven = matches!(problem, Problem::Refused { code: ErrorCode::InvalidCredentials, .. });
                    let closed = matches!(problem, Problem::Broken(_)) && wire.is_closed();
                    if unproven || closed || matches!(problem, Problem::Stalled) {
                        wire.retire();
                    }
                    if (unproven || (closed && wire.was_idle())) && !repeated {
                        repeated = true;
                        continue;
                    }
                    break Err(access.error(problem));
                }
            }
        };
        match &outcome {
            Ok(_) => self.inner.health.succeeded(access.node),
            // A refusal of one chunk or grant says nothing about the next.
            Err(NodeError { problem: Problem::Refused { code, .. }, .. })
                if !matches!(code, ErrorCode::Unavailable | ErrorCode::Internal | ErrorCode::InsufficientStorage) => {}
            Err(NodeError { problem: Problem::NoGrant | Problem::UsedUp, .. }) => {}
            Err(error) => self.inner.health.failed(access.node, error.problem.is_lie()),
        }
        outcome
    }
}
