//! The calls to the server's `NodeService`, and what the node does with the answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cyx_core::ids::ChunkId;
use cyx_core::keeplist::Incarnation;
use cyx_core::sign::{self, Purpose};
use cyx_proto::convert;
use cyx_proto::node::v1::node_service_client::NodeServiceClient;
use cyx_proto::node::v1::{
    ConfirmKeepListRequest, FetchKeepListsRequest, HeartbeatRequest, NodeMetrics, RegisterNodeRequest,
    ReportDamageRequest, ServerKey,
};
use cyx_proto::status::error_code;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::error::Error;
use super::session::Session;
use super::system;
use crate::service::{Node, VERSION};
use crate::store::{Health, KeepOutcome, StoreError};

/// Largest part of a keep-list that is accepted.
const PART_MAX: usize = 16 << 20;
/// Most damaged chunks of one report.
const DAMAGE_MAX: usize = 10_000;
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
    /// Bytes offered in all, the reserve included.
    pub(crate) capacity: u64,
}

/// What the server wants of the node next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Seconds until the next heartbeat.
    pub(crate) heartbeat_seconds: u64,
    /// The newest round of keep-lists made for this node.
    pub(crate) keep_list_sequence: u64,
}

/// The line to the server.
pub(crate) struct Link {
    node: Arc<Node>,
    session: Session,
    rpc: NodeServiceClient<Channel>,
    at: String,
    profile: Profile,
    started: Instant,
    /// Damaged chunks that the server knows of.
    reported: HashSet<ChunkId>,
    /// The newest round of keep-lists that is done.
    kept: u64,
}

/// The server keys that were remembered from the last contact.
///
/// # Errors
/// If the ledger fails.
pub(crate) fn remembered_keys(ledger: &crate::service::ledger::Ledger) -> Result<Vec<[u8; 32]>, Error> {
    let bytes = ledger.meta(SERVER_KEYS)?.unwrap_or_default();
    Ok(bytes.as_chunks::<32>().0.to_vec())
}

impl Link {
    /// Over a channel to the server at `at`.
    #[must_use]
    pub(crate) fn new(node: Arc<Node>, session: Session, channel: Channel, at: String, profile: Profile) -> Self {
        let rpc = NodeServiceClient::new(channel).max_decoding_message_size(PART_MAX);
        let started = Instant::now();
        Self { node, session, rpc, at, profile, started, reported: HashSet::new(), kept: 0 }
    }

    async fn with_token<T>(&self, message: T) -> Result<Request<T>, Error> {
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
    async fn refused(&self, what: &'static str, status: Status) -> Error {
        let code = error_code(&status);
        if status.code() == tonic::Code::Unauthenticated {
            self.session.token_was_refused().await;
        }
        let own = status.metadata().contains_key(cyx_proto::status::CODE_KEY);
        if !own && matches!(code, cyx_core::error::ErrorCode::Unavailable) {
            let reason = match std::error::Error::source(&status) {
                Some(source) => format!("{}: {source}", status.message()),
                None => status.message().to_owned(),
            };
            return Error::Unreachable { at: self.at.clone(), reason };
        }
        let message = status.message().chars().filter(|c| !c.is_control()).take(300).collect();
        Error::Refused { what, code, message }
    }

    /// Registers the node: who it is, where it is, what it offers.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn register(&mut self) -> Result<Wish, Error> {
        let what = "the registration of this node";
        let (machine, _) = self.session.token().await?;
        let issued_at = self.node.clock.now();
        let id = self.node.identity.id();
        let body = [&id.0[..], &issued_at.to_le_bytes(), self.profile.address.as_bytes()].concat();
        let signature = sign::sign(self.node.identity.signing_key(), Purpose::Possession, &body);
        let message = RegisterNodeRequest {
            public_key: Bytes::copy_from_slice(&self.node.identity.public_key()),
            address: self.profile.address.clone(),
            tls: self.profile.tls,
            version: VERSION.to_owned(),
            capacity_bytes: self.profile.capacity,
            region: self.profile.region.clone(),
            machine_id: machine.to_string(),
            issued_at,
            signature: Bytes::copy_from_slice(&signature),
        };
        let request = self.with_token(message).await?;
        let answer = match self.rpc.register_node(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return Err(self.refused(what, status).await),
        };
        if answer.node_id != id.0[..] {
            return Err(Error::Nonsense { what, reason: "it names another node".to_owned() });
        }
        self.learn(what, &answer.server_keys, &answer.incarnation).await?;
        tracing::info!(node = %id, address = self.profile.address, "registered");
        Ok(Wish { heartbeat_seconds: u64::from(answer.heartbeat_seconds), keep_list_sequence: 0 })
    }

    /// Takes over the server's keys and notes its database's incarnation.
    async fn learn(&self, what: &'static str, keys: &[ServerKey], incarnation: &[u8]) -> Result<(), Error> {
        let nonsense = |reason: &str| Error::Nonsense { what, reason: reason.to_owned() };
        let keys: Option<Vec<[u8; 32]>> = keys.iter().map(|key| key.public_key[..].try_into().ok()).collect();
        let keys = keys.filter(|keys| !keys.is_empty() && keys.len() <= 64).ok_or_else(|| nonsense("server keys"))?;
        let incarnation = incarnation.try_into().map_err(|_| nonsense("incarnation"))?;
        if remembered_keys(&self.node.ledger)? != keys {
            self.node.ledger.set_meta(SERVER_KEYS, keys.as_flattened())?;
        }
        self.node.access.set_server_keys(&keys);
        self.node.store.note_incarnation(Incarnation::from_bytes(incarnation)).await?;
        Ok(())
    }

    /// Reports how the node is, to both services, and what is damaged.
    ///
    /// # Errors
    /// [`Error`]; the node has to register again after [`cyx_core::error::ErrorCode::NotFound`].
    pub(crate) async fn heartbeat(&mut self) -> Result<Wish, Error> {
        let what = "a heartbeat";
        self.machine_heartbeat().await?;
        let message = HeartbeatRequest {
            node_id: convert::bytes_of(self.node.identity.id()),
            address: self.profile.address.clone(),
            version: VERSION.to_owned(),
            metrics: Some(self.metrics()),
        };
        let request = self.with_token(message).await?;
        let answer = match self.rpc.heartbeat(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return Err(self.refused(what, status).await),
        };
        self.learn(what, &answer.server_keys, &answer.incarnation).await?;
        if answer.server_time.abs_diff(self.node.clock.now()) > cyx_core::grant::CLOCK_SKEW_SECONDS {
            tracing::warn!(server = answer.server_time, "this machine's clock differs from the server's by minutes");
        }
        self.report_damage().await?;
        Ok(Wish {
            heartbeat_seconds: u64::from(answer.heartbeat_seconds),
            keep_list_sequence: answer.keep_list_sequence,
        })
    }

    async fn machine_heartbeat(&self) -> Result<(), Error> {
        let (machine, token) = self.session.token().await?;
        let life = super::api::Life { address: &self.profile.address, version: VERSION, load: system::load() };
        let lived = self.session.api().heartbeat(machine, &token, &life).await;
        if lived.as_ref().is_err_and(Error::is_unknown_caller) {
            self.session.token_was_refused().await;
        }
        lived
    }

    fn metrics(&self) -> NodeMetrics {
        let usage = self.node.store.usage();
        let health = self.node.store.health();
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
                Health::Failed(reason) => reason,
            },
            load: system::load(),
            uptime_seconds: self.started.elapsed().as_secs(),
            stored_bytes_total: self.node.counters.stored(),
            served_bytes_total: self.node.counters.served(),
        }
    }

    async fn report_damage(&mut self) -> Result<(), Error> {
        let damaged = self.node.store.damaged(DAMAGE_MAX).await?;
        // What was repaired may be damaged again one day and is then news.
        self.reported.retain(|id| damaged.contains(id));
        let news: Vec<ChunkId> = damaged.into_iter().filter(|id| !self.reported.contains(id)).collect();
        if news.is_empty() {
            return Ok(());
        }
        let message = ReportDamageRequest {
            node_id: convert::bytes_of(self.node.identity.id()),
            chunk_ids: news.iter().copied().map(convert::bytes_of).collect(),
        };
        let request = self.with_token(message).await?;
        if let Err(status) = self.rpc.report_damage(request).await {
            return Err(self.refused("a report of damage", status).await);
        }
        tracing::warn!(chunks = news.len(), "damaged chunks were reported");
        self.reported.extend(news);
        Ok(())
    }

    /// Fetches and applies the round of keep-lists that the server announced, unless it is done already.
    ///
    /// # Errors
    /// [`Error`]; what was applied and confirmed until then stays so.
    pub(crate) async fn follow_keep_lists(&mut self, sequence: u64) -> Result<(), Error> {
        if sequence == 0 || sequence == self.kept {
            return Ok(());
        }
        let what = "keep-lists";
        let node_id = convert::bytes_of(self.node.identity.id());
        let message = FetchKeepListsRequest { node_id: node_id.clone(), sequence, after: Bytes::new() };
        let mut request = self.with_token(message).await?;
        request.set_timeout(std::time::Duration::from_secs(3600));
        let mut parts = match self.rpc.fetch_keep_lists(request).await {
            Ok(parts) => parts.into_inner(),
            Err(status) => return Err(self.refused(what, status).await),
        };
        loop {
            let part = match parts.message().await {
                Ok(Some(part)) => part,
                Ok(None) => break,
                Err(status) => return Err(self.refused(what, status).await),
            };
            let nonsense = |reason: String| Error::Nonsense { what, reason };
            let (list, keep) =
                self.node.access.keep_list(&part.signed, &part.ids).map_err(|error| nonsense(error.to_string()))?;
            if list.sequence != sequence {
                return Err(nonsense("another round than the one announced".to_owned()));
            }
            let last = list.last;
            let outcome = match self.node.store.apply_keep_list(list, keep).await {
                Ok(outcome) => outcome,
                // Applied before a confirmation that got lost.
                Err(StoreError::StaleKeepList) => KeepOutcome::default(),
                Err(error) => return Err(error.into()),
            };
            if outcome.trashed_chunks > 0 || outcome.restored_chunks > 0 || !outcome.missing.is_empty() {
                let (trashed, restored) = (outcome.trashed_chunks, outcome.restored_chunks);
                tracing::info!(sequence, trashed, restored, missing = outcome.missing.len(), "a keep-list was applied");
            }
            let message = ConfirmKeepListRequest {
                node_id: node_id.clone(),
                sequence,
                last: convert::bytes_of(last),
                trashed_chunks: outcome.trashed_chunks,
                trashed_bytes: outcome.trashed_bytes,
                missing: outcome.missing.into_iter().map(convert::bytes_of).collect(),
            };
            let request = self.with_token(message).await?;
            if let Err(status) = self.rpc.confirm_keep_list(request).await {
                return Err(self.refused(what, status).await);
            }
        }
        self.kept = sequence;
        Ok(())
    }
}
