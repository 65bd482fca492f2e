//! The calls to the server's `NodeService`, and what the node does with the answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cyx_core::enrol;
use cyx_core::ids::{ChunkId, KeyId};
use cyx_core::keeplist::Incarnation;
use cyx_core::sign::{self, Purpose};
use cyx_proto::convert;
use cyx_proto::node::v1::node_service_client::NodeServiceClient;
use cyx_proto::node::v1::{
    HeartbeatRequest, NodeMetrics, RegisterNodeRequest, RegisterNodeResponse, ReportDamageRequest, ServerKey,
};
use cyx_proto::status::error_code;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::error::Error;
use super::session::Session;
use super::system;
use crate::service::{Node, VERSION};
use crate::store::Health;

/// Largest part of a keep-list that is accepted.
const PART_MAX: usize = 16 << 20;
/// Most damaged chunks of one report; servers take more.
const DAMAGE_MAX: usize = 1000;
/// How long a heartbeat goes on reporting damage: a node that is silent counts as lost with all it has.
const DAMAGE_TIME: Duration = Duration::from_secs(10);
/// Name of the remembered server keys in the ledger's facts: 32 bytes each.
const SERVER_KEYS: &str = "server keys";

/// What the node tells of itself.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// Where clients reach it.
    pub(crate) address: String,
    /// Whether they have to use TLS.
    pub(crate) tls: bool,
    /// A word, or empty.
    pub(crate) region: String,
    /// Where the operator wants to be paid, or empty.
    pub(crate) payout_address: String,
    /// Bytes offered in all, the reserve included.
    pub(crate) capacity: u64,
    /// Whether it takes part in no repairs.
    pub(crate) takes_no_tasks: bool,
}

/// What the server wants of the node until the next heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Instructions {
    /// Seconds until the next heartbeat.
    pub(crate) heartbeat_seconds: u64,
    /// The newest round of keep-lists made for this node, or 0 if there is none to follow.
    pub(crate) keep_list_sequence: u64,
    /// Whether it has tasks for this node.
    pub(crate) tasks_wait: bool,
}

/// How the node calls the server.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) node: Arc<Node>,
    session: Session,
    pub(crate) rpc: NodeServiceClient<Channel>,
    at: String,
}

/// The line to the server: who the node is and how it is.
pub(crate) struct Link {
    caller: Caller,
    profile: Profile,
    started: Instant,
    /// Damaged chunks that the server knows of.
    reported: HashSet<ChunkId>,
}

/// The server keys that were remembered from the last contact.
///
/// # Errors
/// If the ledger fails.
pub(crate) fn remembered_keys(ledger: &crate::service::ledger::Ledger) -> Result<Vec<[u8; 32]>, Error> {
    let bytes = ledger.meta(SERVER_KEYS)?.unwrap_or_default();
    Ok(bytes.as_chunks::<32>().0.to_vec())
}

impl Caller {
    /// Over a channel to the server at `at`.
    #[must_use]
    pub(crate) fn new(node: Arc<Node>, session: Session, channel: Channel, at: String) -> Self {
        let rpc = NodeServiceClient::new(channel).max_decoding_message_size(PART_MAX);
        Self { node, session, rpc, at }
    }

    /// A request with the machine's token.
    pub(crate) async fn with_token<T>(&self, message: T) -> Result<Request<T>, Error> {
        let (_, token) = self.session.token().await?;
        let mut request = Request::new(message);
        let value = format!("Bearer {}", token.expose()).parse();
        let mut value: tonic::metadata::AsciiMetadataValue = value.map_err(|_| Error::Nonsense {
            what: "this machine's key",
            reason: "the token is not a token".to_owned(),
        })?;
        value.set_sensitive(true);
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }

    /// What a status means. One that never left this machine or its network says nothing about what was asked.
    pub(crate) async fn refused(&self, what: &'static str, status: Status) -> Error {
        let code = error_code(&status);
        if status.code() == tonic::Code::Unauthenticated {
            self.session.token_was_refused().await;
        }
        let own = status.metadata().contains_key(cyx_proto::status::CODE_KEY);
        if !own && matches!(code, cyx_core::error::ErrorCode::Unavailable) {
            let reason = std::error::Error::source(&status)
                .map_or_else(|| status.message().to_owned(), cyx_proto::connect_error::reason);
            return Error::Unreachable { at: self.at.clone(), reason };
        }
        let message = status.message().chars().filter(|c| !c.is_control()).take(300).collect();
        Error::Refused { what, code, message }
    }
}

impl Link {
    /// A line that has told nothing yet.
    #[must_use]
    pub(crate) fn new(caller: Caller, profile: Profile) -> Self {
        Self { caller, profile, started: Instant::now(), reported: HashSet::new() }
    }

    /// How it calls.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Registers the node: who it is, where it is, what it offers.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn register(&mut self) -> Result<Instructions, Error> {
        let what = "the registration of this node";
        let (machine, _) = self.caller.session.token().await?;
        let issued_at = self.caller.node.clock.now();
        let id = self.caller.node.identity.id();
        let body = sign::registration_body(id, issued_at, &self.profile.address);
        let signature = sign::sign(self.caller.node.identity.signing_key(), Purpose::Possession, &body);
        let message = RegisterNodeRequest {
            public_key: Bytes::copy_from_slice(&self.caller.node.identity.public_key()),
            address: self.profile.address.clone(),
            tls: self.profile.tls,
            version: VERSION.to_owned(),
            capacity_bytes: self.profile.capacity,
            region: self.profile.region.clone(),
            machine_id: machine.to_string(),
            issued_at,
            signature: Bytes::copy_from_slice(&signature),
            payout_address: self.profile.payout_address.clone(),
        };
        let request = self.caller.with_token(message).await?;
        let answer = match self.caller.rpc.register_node(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return Err(self.caller.refused(what, status).await),
        };
        if answer.node_id != id.0[..] {
            return Err(Error::Nonsense { what, reason: "it names another node".to_owned() });
        }
        if let Some(fingerprint) = self.caller.session.enrolled_at().await {
            self.recognise(fingerprint, issued_at, &answer)?;
        }
        self.learn(what, &answer.server_keys, &answer.incarnation).await?;
        let (reserved, allocatable) = (answer.reserved_bytes, answer.allocatable_bytes);
        tracing::info!(node = %id, address = self.profile.address, reserved, allocatable, "registered");
        Ok(Instructions {
            heartbeat_seconds: u64::from(answer.heartbeat_seconds),
            keep_list_sequence: 0,
            tasks_wait: false,
        })
    }

    /// Checks that the keys which the node is told to believe come from the server that it was enrolled at.
    fn recognise(&self, fingerprint: KeyId, issued_at: u64, answer: &RegisterNodeResponse) -> Result<(), Error> {
        let other = || Error::OtherServer { at: self.caller.at.clone() };
        let key = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).map_err(|_| other());
        let keys: Vec<[u8; 32]> =
            answer.server_keys.iter().map(|announced| key(&announced.public_key)).collect::<Result<_, _>>()?;
        let body = enrol::announcement_body(self.caller.node.identity.id(), issued_at, &keys);
        let identity = key(&answer.identity_key)?;
        enrol::verify_identity(fingerprint, &identity, &body, &answer.identity_signature).map_err(|_| other())
    }

    /// Takes over the server's keys and notes its database's incarnation.
    async fn learn(&self, what: &'static str, keys: &[ServerKey], incarnation: &[u8]) -> Result<(), Error> {
        let nonsense = |reason: &str| Error::Nonsense { what, reason: reason.to_owned() };
        let keys: Option<Vec<[u8; 32]>> = keys.iter().map(|key| key.public_key[..].try_into().ok()).collect();
        let keys = keys.filter(|keys| !keys.is_empty() && keys.len() <= 64).ok_or_else(|| nonsense("server keys"))?;
        let incarnation = incarnation.try_into().map_err(|_| nonsense("incarnation"))?;
        if remembered_keys(&self.caller.node.ledger)? != keys {
            self.caller.node.ledger.set_meta(SERVER_KEYS, keys.as_flattened())?;
        }
        self.caller.node.access.set_server_keys(&keys);
        self.caller.node.store.note_incarnation(Incarnation::from_bytes(incarnation)).await?;
        Ok(())
    }

    /// Reports how the node is, to both services, and what is damaged.
    ///
    /// # Errors
    /// [`Error`]; the node has to register again after [`cyx_core::error::ErrorCode::NotFound`].
    pub(crate) async fn heartbeat(&mut self) -> Result<Instructions, Error> {
        let what = "a heartbeat";
        // The two services may be two processes: when one is away, the other still hears from the node.
        if let Err(error) = self.machine_heartbeat().await {
            tracing::warn!(%error, "the identity API did not take a heartbeat");
        }
        let message = HeartbeatRequest {
            node_id: convert::bytes_of(self.caller.node.identity.id()),
            address: self.profile.address.clone(),
            version: VERSION.to_owned(),
            metrics: Some(self.metrics()),
            node_time: self.caller.node.clock.now(),
        };
        let request = self.caller.with_token(message).await?;
        let answer = match self.caller.rpc.heartbeat(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return Err(self.caller.refused(what, status).await),
        };
        self.learn(what, &answer.server_keys, &answer.incarnation).await?;
        // What goes to the trash at a wrong time would leave it at another than the seventh day.
        let in_time = answer.server_time.abs_diff(self.caller.node.clock.now()) <= cyx_core::grant::CLOCK_SKEW_SECONDS;
        if !in_time {
            tracing::warn!(
                server = answer.server_time,
                "this machine's clock differs from the server's by minutes: no keep-lists are followed"
            );
        }
        // What the server wants of the node does not wait for it.
        if let Err(error) = self.report_damage().await {
            tracing::warn!(%error, "damage was not reported, the next heartbeat tries again");
        }
        Ok(Instructions {
            heartbeat_seconds: u64::from(answer.heartbeat_seconds),
            keep_list_sequence: if in_time { answer.keep_list_sequence } else { 0 },
            tasks_wait: answer.tasks_wait,
        })
    }

    async fn machine_heartbeat(&self) -> Result<(), Error> {
        let (machine, token) = self.caller.session.token().await?;
        let life = super::api::Life { address: &self.profile.address, version: VERSION, load: system::load() };
        let lived = self.caller.session.api().heartbeat(machine, &token, &life).await;
        if lived.as_ref().is_err_and(Error::is_unknown_caller) {
            self.caller.session.token_was_refused().await;
        }
        lived
    }

    fn metrics(&self) -> NodeMetrics {
        let usage = self.caller.node.store.usage();
        let health = self.caller.node.store.health();
        NodeMetrics {
            used_bytes: usage.used_bytes,
            trash_bytes: usage.trash_bytes,
            free_bytes: usage.free_bytes,
            chunks: usage.chunks,
            damaged_chunks: usage.damaged_chunks,
            read_only: health != Health::Writable,
            read_only_reason: match health {
                Health::Writable => String::new(),
                Health::Full => "the disk is full".to_owned(),
                Health::Failed(reason) | Health::Away(reason) => reason,
            },
            load: system::load(),
            uptime_seconds: self.started.elapsed().as_secs(),
            stored_bytes_total: self.caller.node.counters.stored(),
            served_bytes_total: self.caller.node.counters.served(),
            takes_no_tasks: self.profile.takes_no_tasks,
        }
    }

    /// Reports what is damaged and was not reported yet. What takes too long goes on with the next heartbeat.
    async fn report_damage(&mut self) -> Result<(), Error> {
        let begun = Instant::now();
        let (mut damaged, mut after) = (HashSet::new(), None);
        loop {
            if begun.elapsed() >= DAMAGE_TIME {
                return Ok(());
            }
            let page = self.caller.node.store.damaged(after, DAMAGE_MAX).await?;
            after = page.last().copied();
            if after.is_none() {
                break;
            }
            let news: Vec<ChunkId> = page.iter().copied().filter(|id| !self.reported.contains(id)).collect();
            damaged.extend(page);
            if !news.is_empty() {
                self.report(news).await?;
            }
        }
        // What was repaired may be damaged again one day and is then news.
        self.reported.retain(|id| damaged.contains(id));
        Ok(())
    }

    async fn report(&mut self, news: Vec<ChunkId>) -> Result<(), Error> {
        let message = ReportDamageRequest {
            node_id: convert::bytes_of(self.caller.node.identity.id()),
            chunk_ids: news.iter().copied().map(convert::bytes_of).collect(),
        };
        let request = self.caller.with_token(message).await?;
        if let Err(status) = self.caller.rpc.report_damage(request).await {
            return Err(self.caller.refused("a report of damage", status).await);
        }
        tracing::warn!(chunks = news.len(), "damaged chunks were reported");
        self.reported.extend(news);
        Ok(())
    }
}
