//! The gRPC service that nodes call.
//!
//! A node registers once per start: its machine's token says whose it is, its signature says that it holds its key, and the server dials
//! back to see that clients will find it. From then on it reports. Heartbeats change memory only; see [`super::watch`].

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::grant::CLOCK_SKEW_SECONDS;
use cyx_core::ids::{AccountId, ChunkId, MachineId, NodeId};
use cyx_core::sign::{self, Purpose};
use cyx_core::units::{GIB, NODE_MINIMUM, NODE_RESERVED};
use cyx_proto::convert::{self, bytes_of};
use cyx_proto::node::v1 as pb;
use cyx_proto::node::v1::node_service_server::NodeService;
use tonic::{Request, Response, Status};

use super::damage::{Damage, REPORT_MAX, WalkLimiter};
use super::dial::Dials;
use super::registry::{CAPACITY_MAX, Leaving, Liveness, NodeRecord, Report, SCORE_FULL, SCORE_NEW};
use super::streams::{PartSender, Parts, Streams};
use super::{address, dial, joining, rows};
use crate::app::AppState;
use crate::audits::Standing;
use crate::auth::{Machine, machine_of};
use crate::collect::keep_lists::{self, Confirmed};
use crate::error::ApiError;
use crate::network::Network;
use crate::orders;
use crate::repair;
use crate::time::{now_ns, now_seconds};

/// A registration must have been signed within so many seconds.
const SIGNED_WITHIN: u64 = 600;
/// Longest version, region and reason.
const WORD_MAX: usize = 64;
const SENTENCE_MAX: usize = 200;
/// The operator of machines that the server's own administrator enrolled.
const HOUSE_OPERATOR: AccountId = AccountId([0; 16]);

/// The service.
pub struct NodeServer {
    app: AppState,
    dials: Dials,
    walks: WalkLimiter,
    damage: Damage,
    streams: Streams,
}

impl NodeServer {
    /// The service of a server.
    #[must_use]
    pub fn new(app: AppState) -> Self {
        let walks = WalkLimiter::default();
        let damage = Damage::new(walks.clone());
        Self { app, dials: Dials::default(), damage, walks, streams: Streams::default() }
    }

    fn network(&self) -> &Network {
        &self.app.network
    }

    /// The registered node that calls.
    async fn caller<T>(&self, request: &Request<T>, node: &[u8]) -> Result<NodeRecord, ApiError> {
        let machine = machine_of(&self.app, request).await?;
        let node: NodeId = convert::id(node, "node_id")?;
        let known = match self.network().registry.get(node) {
            Some(known) => known,
            None => self.look_up(node).await?,
        };
        if known.machine != machine.id.to_string() {
            return Err(ApiError::denied("this machine's token does not speak for that node"));
        }
        Ok(known)
    }

    /// A node that registered at another server of the same database a moment ago.
    async fn look_up(&self, node: NodeId) -> Result<NodeRecord, ApiError> {
        let found = rows::load(&mut *self.app.db.read().await?, &[node]).await?.pop();
        let found = found.ok_or_else(|| ApiError::not_found("this node is not registered"))?;
        self.network().registry.merge(vec![found.clone()], Instant::now(), now_ns());
        Ok(found)
    }

    fn server_keys(&self) -> Vec<pb::ServerKey> {
        let keys = self.network().keys.announced();
        keys.iter()
            .map(|key| pb::ServerKey { key_id: bytes_of(key.id), public_key: Bytes::copy_from_slice(&key.public) })
            .collect()
    }

    fn incarnation(&self) -> Bytes {
        Bytes::copy_from_slice(&self.network().keys.incarnation().to_bytes())
    }

    async fn register(&self, machine: Machine, request: pb::RegisterNodeRequest) -> Result<NodeRecord, ApiError> {
        let public_key = check_identity(&request, machine.id)?;
        joining::check_payout(&request.payout_address)?;
        self.check_stays(NodeId::from_public_key(&public_key)).await?;
        let payout = request.payout_address.clone();
        let record = self.locate(machine, public_key, request).await?;
        let row = record.clone();
        self.app
            .db
            .write(move |conn| {
                let (row, payout) = (row.clone(), payout.clone());
                Box::pin(async move {
                    rows::register(conn, &row).await?;
                    Ok::<_, ApiError>(joining::set_payout(conn, row.id, &payout).await?)
                })
            })
            .await?;
        let record = self.network().registry.register(record, Instant::now());
        tracing::info!(node = %record.id, address = %record.address, operator = %record.operator, "a node registered");
        Ok(record)
    }

    /// A node that has exited would idle for ever if it registered, as after a restart of its machine. Which have, the database knows first.
    async fn check_stays(&self, node: NodeId) -> Result<(), ApiError> {
        let known = rows::load(&mut *self.app.db.read().await?, &[node]).await?.pop();
        let has_exited = known.is_some_and(|known| known.leaving == Leaving::Exited);
        if has_exited { Err(repair::leave::has_exited()) } else { Ok(()) }
    }

    /// Dials back and puts together what is known of the node.
    async fn locate(
        &self,
        machine: Machine,
        public_key: [u8; 32],
        request: pb::RegisterNodeRequest,
    ) -> Result<NodeRecord, ApiError> {
        let invalid = |error: &dyn std::fmt::Display| ApiError::invalid(format!("{}: {error}", request.address));
        let allow_loopback = self.network().options.allow_colocated;
        // Machines of the administrator do not wait for each other: all of them may start at once.
        let whose = machine.owner.map_or(machine.id.0, |owner| owner.0);
        let turn = self.dials.turn(whose).await.map_err(ApiError::internal)?;
        let found: SocketAddr =
            address::resolve(&request.address, request.tls, allow_loopback).await.map_err(|error| invalid(&error))?;
        dial::dial_back(found, public_key, request.tls).await.map_err(|error| invalid(&error))?;
        drop(turn);
        let now = now_ns();
        Ok(NodeRecord {
            id: NodeId::from_public_key(&public_key),
            public_key,
            operator: machine.owner.unwrap_or(HOUSE_OPERATOR),
            machine: machine.id.to_string(),
            ip: found.ip(),
            tls: request.tls,
            capacity: request.capacity_bytes,
            // Until it reports, it is taken at its word.
            report: Report { free: request.capacity_bytes, ..Report::default() },
            state: Liveness::Online,
            score: SCORE_NEW,
            audit_score: SCORE_FULL,
            standing: Standing::Vetting,
            registered_ns: now,
            last_heartbeat_ns: now,
            keep_list_sequence: 0,
            leaving: Leaving::None,
            version: request.version,
            region: request.region,
            address: request.address,
        })
    }
}

/// Checks everything about a registration that needs no network; the node's key.
fn check_identity(request: &pb::RegisterNodeRequest, machine: MachineId) -> Result<[u8; 32], ApiError> {
    let public_key: [u8; 32] = convert::array(&request.public_key, "public_key")?;
    if request.machine_id != machine.to_string() {
        return Err(ApiError::denied("this token belongs to another machine"));
    }
    if request.issued_at.abs_diff(now_seconds()) > SIGNED_WITHIN {
        return Err(ApiError::invalid("the registration was signed at another time; is the node's clock right?"));
    }
    let node = NodeId::from_public_key(&public_key);
    let body = sign::registration_body(node, request.issued_at, &request.address);
    sign::verify(&public_key, Purpose::Possession, &body, &request.signature)
        .map_err(|error| ApiError::denied(error.to_string()))?;
    for (word, name) in [(&request.version, "version"), (&request.region, "region")] {
        if word.len() > WORD_MAX || !word.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ApiError::invalid(format!("the {name} is at most {WORD_MAX} printable ASCII characters")));
        }
    }
    if request.capacity_bytes < NODE_MINIMUM {
        let message = format!(
            "Insufficient storage: a node offers at least {} GiB, of which the network reserves {} GiB; this one offers {} bytes",
            NODE_MINIMUM / GIB,
            NODE_RESERVED / GIB,
            request.capacity_bytes
        );
        return Err(ApiError::new(ErrorCode::InsufficientStorage, message));
    }
    if request.capacity_bytes > CAPACITY_MAX {
        let message = format!("a node offers at most 1 PiB; this one offers {} bytes", request.capacity_bytes);
        return Err(ApiError::invalid(message));
    }
    Ok(public_key)
}

/// Seconds by which a node's clock is ahead of the server's; 0 if it does not say.
fn skew(node: NodeId, node_time: u64, now: u64) -> i64 {
    if node_time == 0 {
        return 0;
    }
    let apart = node_time.abs_diff(now);
    if apart > CLOCK_SKEW_SECONDS {
        // Grants and receipts near their ends are refused by such a node, or not believed from it.
        metrics::counter!("cyx_node_clock_skew_total").increment(1);
        tracing::warn!(%node, seconds = apart, "a node's clock is wrong, or the server's");
    }
    let apart = i64::try_from(apart).unwrap_or(i64::MAX);
    if node_time >= now { apart } else { -apart }
}

/// A report with foreign text and sizes made harmless.
fn report(metrics: &pb::NodeMetrics) -> Report {
    let reason: String = metrics.read_only_reason.chars().filter(|c| !c.is_control()).take(SENTENCE_MAX).collect();
    let read_only = match (metrics.read_only, reason.trim()) {
        (false, _) => String::new(),
        (true, "") => "the node stores nothing at present".to_owned(),
        (true, reason) => reason.to_owned(),
    };
    Report {
        used: metrics.used_bytes.min(CAPACITY_MAX),
        trash: metrics.trash_bytes.min(CAPACITY_MAX),
        free: metrics.free_bytes.min(CAPACITY_MAX),
        chunks: metrics.chunks,
        damaged: metrics.damaged_chunks,
        read_only,
        skew: 0,
        takes_no_tasks: metrics.takes_no_tasks,
    }
}

fn chunk_ids(ids: &[Bytes], field: &'static str) -> Result<HashSet<ChunkId>, ApiError> {
    if ids.len() > REPORT_MAX {
        return Err(ApiError::invalid(format!("at most {REPORT_MAX} chunks at once")));
    }
    Ok(ids.iter().map(|id| convert::id(id, field)).collect::<Result<_, _>>()?)
}

#[tonic::async_trait]
impl NodeService for NodeServer {
    async fn register_node(
        &self,
        request: Request<pb::RegisterNodeRequest>,
    ) -> Result<Response<pb::RegisterNodeResponse>, Status> {
        let machine = machine_of(&self.app, &request).await?;
        let issued_at = request.get_ref().issued_at;
        let record = self.register(machine, request.into_inner()).await?;
        let server_keys = self.server_keys();
        let (identity_key, identity_signature) = joining::vouch(&self.app.tokens, record.id, issued_at, &server_keys);
        Ok(Response::new(pb::RegisterNodeResponse {
            node_id: bytes_of(record.id),
            server_keys,
            incarnation: self.incarnation(),
            heartbeat_seconds: self.network().options.heartbeat_seconds,
            reserved_bytes: NODE_RESERVED,
            allocatable_bytes: record.allocatable(),
            reservations: joining::reservations(),
            identity_key,
            identity_signature,
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<pb::HeartbeatRequest>,
    ) -> Result<Response<pb::HeartbeatResponse>, Status> {
        let known = self.caller(&request, &request.get_ref().node_id).await?;
        let request = request.into_inner();
        if known.address != request.address {
            return Err(ApiError::not_found("this node registered with another address: register again").into());
        }
        let version: String = request.version.chars().filter(char::is_ascii_graphic).take(WORD_MAX).collect();
        let mut report = report(&request.metrics.unwrap_or_default());
        report.skew = skew(known.id, request.node_time, now_seconds());
        let network = self.network();
        let record = network.registry.heartbeat(known.id, &version, report, Instant::now(), now_ns());
        let record = record.ok_or_else(|| ApiError::not_found("this node is not registered"))?;
        Ok(Response::new(pb::HeartbeatResponse {
            server_keys: self.server_keys(),
            incarnation: self.incarnation(),
            keep_list_sequence: record.keep_list_sequence,
            heartbeat_seconds: network.options.heartbeat_seconds,
            server_time: now_seconds(),
            tasks_wait: network.repair.has(known.id),
        }))
    }

    type FetchKeepListsStream = Parts<pb::KeepListPart>;

    async fn fetch_keep_lists(
        &self,
        request: Request<pb::FetchKeepListsRequest>,
    ) -> Result<Response<Self::FetchKeepListsStream>, Status> {
        let node = self.caller(&request, &request.get_ref().node_id).await?.id;
        let request = request.into_inner();
        let after = match &request.after[..] {
            [] => None,
            after => Some(convert::id(after, "after")?),
        };
        let (app, walks) = (self.app.clone(), self.walks.clone());
        let parts = self.streams.begin(node, |sender| async move {
            send_parts((&app, &walks), node, request.sequence, after, &sender).await
        });
        Ok(Response::new(parts))
    }

    async fn confirm_keep_list(
        &self,
        request: Request<pb::ConfirmKeepListRequest>,
    ) -> Result<Response<pb::ConfirmKeepListResponse>, Status> {
        let node = self.caller(&request, &request.get_ref().node_id).await?.id;
        let request = request.into_inner();
        let last = convert::id(&request.last, "last")?;
        let missing = chunk_ids(&request.missing, "missing")?;
        // First what is missing: a confirmation that is lost is repeated, and this with it.
        self.note_missing(node, missing).await?;
        let (chunks, bytes) = (request.trashed_chunks, request.trashed_bytes);
        keep_lists::confirm(&self.app.db, node, Confirmed { sequence: request.sequence, last, chunks, bytes })
            .await
            .map_err(ApiError::from)?;
        Ok(Response::new(pb::ConfirmKeepListResponse {}))
    }

    async fn hand_in_orders(
        &self,
        request: Request<pb::HandInOrdersRequest>,
    ) -> Result<Response<pb::HandInOrdersResponse>, Status> {
        let node = self.caller(&request, &request.get_ref().node_id).await?.id;
        let results = orders::hand_in(&self.app.db, node, request.into_inner().orders).await?;
        Ok(Response::new(pb::HandInOrdersResponse { results }))
    }

    async fn fetch_tasks(
        &self,
        request: Request<pb::FetchTasksRequest>,
    ) -> Result<Response<pb::FetchTasksResponse>, Status> {
        let node = self.caller(&request, &request.get_ref().node_id).await?;
        Ok(Response::new(repair::hand::fetch(&self.app, &node, request.get_ref(), now_ns()).await?))
    }

    async fn report_task(
        &self,
        request: Request<pb::ReportTaskRequest>,
    ) -> Result<Response<pb::ReportTaskResponse>, Status> {
        let node = self.caller(&request, &request.get_ref().node_id).await?;
        Ok(Response::new(repair::report::take(&self.app, &node, request.into_inner(), now_ns()).await?))
    }

    async fn exit(&self, request: Request<pb::ExitRequest>) -> Result<Response<pb::ExitResponse>, Status> {
        let node = self.caller(&request, &request.get_ref().node_id).await?.id;
        let permit = self.walks.acquire(node).await.map_err(ApiError::from)?;
        let progress = match request.get_ref().action() {
            pb::exit_request::Action::Unspecified => repair::leave::progress(&self.app, node).await?,
            pb::exit_request::Action::Begin => repair::leave::set(&self.app, node, Leaving::Exiting, now_ns()).await?,
            pb::exit_request::Action::Cancel => repair::leave::cancel_exit(&self.app, node, now_ns()).await?,
        };
        drop(permit);
        Ok(Response::new(progress.into()))
    }

    async fn report_damage(
        &self,
        request: Request<pb::ReportDamageRequest>,
    ) -> Result<Response<pb::ReportDamageResponse>, Status> {
        let node = self.caller(&request, &request.get_ref().node_id).await?.id;
        let chunks = chunk_ids(&request.get_ref().chunk_ids, "chunk_ids")?;
        self.note_missing(node, chunks).await?;
        Ok(Response::new(pb::ReportDamageResponse {}))
    }
}

impl NodeServer {
    async fn note_missing(&self, node: NodeId, chunks: HashSet<ChunkId>) -> Result<(), ApiError> {
        let reported = chunks.len();
        let marked = self.damage.mark_missing(&self.app.db, node, chunks, now_ns()).await?;
        if marked > 0 {
            tracing::warn!(%node, reported, marked, "a node lost shards");
            self.network().registry.punish(node);
        }
        Ok(())
    }
}

/// Sends the ranges of a node's round that are not confirmed yet. Nothing for a round that is over or was replaced.
async fn send_parts(
    (app, walks): (&AppState, &WalkLimiter),
    node: NodeId,
    sequence: u64,
    after: Option<ChunkId>,
    sender: &PartSender<pb::KeepListPart>,
) -> Result<(), ApiError> {
    let mut snapshot = app.db.read().await?;
    let held = keep_lists::is_held(&mut snapshot).await?;
    let round = keep_lists::round(&mut snapshot, node).await?;
    drop(snapshot);
    let Some(round) = round.filter(|round| round.sequence == sequence && !round.is_finished() && !held) else {
        return Ok(());
    };
    let mut after = after.max(round.done);
    loop {
        let permit = walks.acquire(node).await?;
        let (ranges, more) = keep_lists::next_ranges(&app.db, node, after).await?;
        drop(permit);
        for range in &ranges {
            let signed = keep_lists::sign(&app.network.keys, node, &round, range).into();
            let ids: Vec<u8> = range.ids.iter().flat_map(|id| id.0).collect();
            sender.send(pb::KeepListPart { signed, ids: ids.into() }).await?;
            after = Some(range.last);
        }
        if !more {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
