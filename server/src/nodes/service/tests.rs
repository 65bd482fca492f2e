//! The service over a real connection to a node that answers on loopback.

use std::sync::Arc;
use std::time::Duration;

use cyx_core::enrol;
use cyx_core::ids::{Random as _, SegmentId};
use cyx_core::keeplist::KeepList;
use cyx_core::scheme::Scheme;
use cyx_proto::chunk::v1 as chunk;
use cyx_proto::chunk::v1::chunk_service_server::{ChunkService, ChunkServiceServer};
use cyx_proto::status::error_code;
use ed25519_dalek::SigningKey;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_stream::{Empty, StreamExt as _};

use super::*;
use crate::nodes::testing::{execute, literal, node_key, number, placement, segment, server_with};
use crate::test_support::TestApp;
use crate::tokens::{Subject, UserType};

/// Answers challenges as the node of a key, and nothing else.
struct Answering(NodeId);

#[tonic::async_trait]
impl ChunkService for Answering {
    type StoreChunkStream = Empty<Result<chunk::StoreChunkResponse, Status>>;
    type GetChunkStream = Empty<Result<chunk::GetChunkResponse, Status>>;

    async fn get_challenge(
        &self,
        _: Request<chunk::GetChallengeRequest>,
    ) -> Result<Response<chunk::GetChallengeResponse>, Status> {
        let challenge = Bytes::from_static(&[1; 32]);
        Ok(Response::new(chunk::GetChallengeResponse { node_id: bytes_of(self.0), challenge, version: String::new() }))
    }

    async fn prove_possession(
        &self,
        _: Request<chunk::ProvePossessionRequest>,
    ) -> Result<Response<chunk::ProvePossessionResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn store_chunk(
        &self,
        _: Request<tonic::Streaming<chunk::StoreChunkRequest>>,
    ) -> Result<Response<Self::StoreChunkStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_chunk(&self, _: Request<chunk::GetChunkRequest>) -> Result<Response<Self::GetChunkStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn verify_chunk(
        &self,
        _: Request<chunk::VerifyChunkRequest>,
    ) -> Result<Response<chunk::VerifyChunkResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn probe_bandwidth(
        &self,
        _: Request<chunk::ProbeBandwidthRequest>,
    ) -> Result<Response<chunk::ProbeBandwidthResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn delete_chunk(
        &self,
        _: Request<chunk::DeleteChunkRequest>,
    ) -> Result<Response<chunk::DeleteChunkResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// A self-signed certificate of a node's key.
fn tls_config(key: &SigningKey) -> rustls::ServerConfig {
    // RFC 8410: an Ed25519 key in PKCS #8.
    let mut pkcs8 = hex::decode("302e020100300506032b657004220420").unwrap();
    pkcs8.extend_from_slice(&key.to_bytes());
    let der = PrivatePkcs8KeyDer::from(pkcs8);
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ED25519).unwrap();
    let certificate =
        rcgen::CertificateParams::new(["node.cyx.invalid".to_owned()]).unwrap().self_signed(&pair).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], PrivateKeyDer::Pkcs8(der))
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Starts answering on a free port of loopback: as the node of `key`, with the certificate of `tls`, if any.
async fn answer_as(key: &SigningKey, tls: Option<&SigningKey>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let node = NodeId::from_public_key(&key.verifying_key().to_bytes());
    let acceptor = tls.map(|key| tokio_rustls::TlsAcceptor::from(Arc::new(tls_config(key))));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let service = TowerToHyperService::new(ChunkServiceServer::new(Answering(node)));
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                match acceptor {
                    None => drop(builder.serve_connection(TokioIo::new(stream), service).await),
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            drop(builder.serve_connection(TokioIo::new(stream), service).await);
                        }
                    }
                }
            });
        }
    });
    address
}

struct Cluster {
    test: TestApp,
    server: NodeServer,
    machine: MachineId,
    token: String,
}

impl Cluster {
    async fn new() -> Self {
        Self::with(true).await
    }

    async fn with(allow_colocated: bool) -> Self {
        let test = server_with([], |config| {
            config.allow_colocated = allow_colocated;
            config.keep_list_margin = Duration::ZERO;
            config.job = Duration::from_secs(1);
        })
        .await;
        let (machine, token) = machine(&test).await;
        let server = NodeServer::new(test.app.clone());
        Self { test, server, machine, token }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        with_token(&self.token, message)
    }

    async fn register(&self, request: pb::RegisterNodeRequest) -> Result<pb::RegisterNodeResponse, Status> {
        self.server.register_node(self.request(request)).await.map(Response::into_inner)
    }

    /// Registers the node of a key, which answers on loopback; its id and address.
    async fn join(&self, key: &SigningKey) -> (NodeId, String) {
        let address = answer_as(key, None).await;
        let answer = self.register(registration(key, self.machine, &address)).await.unwrap();
        (NodeId::try_from(&answer.node_id[..]).unwrap(), address)
    }

    async fn beat(
        &self,
        node: NodeId,
        address: &str,
        metrics: pb::NodeMetrics,
    ) -> Result<pb::HeartbeatResponse, Status> {
        let beat = pb::HeartbeatRequest {
            node_id: bytes_of(node),
            address: address.to_owned(),
            version: "1".to_owned(),
            metrics: Some(metrics),
            node_time: now_seconds(),
        };
        self.server.heartbeat(self.request(beat)).await.map(Response::into_inner)
    }

    async fn fetch(&self, node: NodeId, sequence: u64, after: Bytes) -> Vec<pb::KeepListPart> {
        let request = pb::FetchKeepListsRequest { node_id: bytes_of(node), sequence, after };
        let parts = self.server.fetch_keep_lists(self.request(request)).await.unwrap().into_inner();
        parts.map(Result::unwrap).collect().await
    }

    async fn confirm(&self, node: NodeId, sequence: u64, last: ChunkId, missing: Vec<ChunkId>) -> Result<(), Status> {
        let request = pb::ConfirmKeepListRequest {
            node_id: bytes_of(node),
            sequence,
            last: bytes_of(last),
            trashed_chunks: 2,
            trashed_bytes: 30,
            missing: missing.into_iter().map(bytes_of).collect(),
        };
        self.server.confirm_keep_list(self.request(request)).await.map(drop)
    }
}

fn with_token<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// A machine that the administrator enrolled, with its token.
async fn machine(test: &TestApp) -> (MachineId, String) {
    let machine = MachineId::random();
    let (id, none) = (literal(test, &machine.0), literal(test, &[]));
    let text = format!(
        "INSERT INTO machine (id, hostname, os, hardware, api_key_hash, created_ns, last_seen_ns) VALUES ({id}, '', '', '', {none}, 1, 1)"
    );
    execute(test, &[text]).await;
    let life = Duration::from_secs(100);
    let token = test
        .app
        .tokens
        .jwt
        .issue(UserType::Node, Subject { id: machine.to_string(), ..Subject::default() }, life)
        .unwrap();
    (machine, token.token)
}

fn registration(key: &SigningKey, machine: MachineId, address: &str) -> pb::RegisterNodeRequest {
    let public_key = key.verifying_key().to_bytes();
    let issued_at = now_seconds();
    let node = NodeId::from_public_key(&public_key);
    let body = [&node.0[..], &issued_at.to_le_bytes(), address.as_bytes()].concat();
    pb::RegisterNodeRequest {
        public_key: Bytes::copy_from_slice(&public_key),
        address: address.to_owned(),
        tls: false,
        version: "0.1.0".to_owned(),
        capacity_bytes: 10 * GIB,
        region: "eu".to_owned(),
        machine_id: machine.to_string(),
        issued_at,
        signature: Bytes::copy_from_slice(&sign::sign(key, Purpose::Possession, &body)),
        payout_address: "account-7".to_owned(),
    }
}

#[tokio::test]
async fn the_server_vouches_for_the_keys_that_it_announces() {
    let cluster = Cluster::new().await;
    let address = answer_as(&node_key(1), None).await;
    let request = registration(&node_key(1), cluster.machine, &address);
    let issued_at = request.issued_at;
    let answer = cluster.register(request).await.unwrap();
    let keys: Vec<[u8; 32]> = answer.server_keys.iter().map(|key| key.public_key[..].try_into().unwrap()).collect();
    let node = NodeId::from_public_key(&node_key(1).verifying_key().to_bytes());
    let body = enrol::announcement_body(node, issued_at, &keys);
    let identity: [u8; 32] = answer.identity_key[..].try_into().unwrap();
    let fingerprint = cluster.test.app.tokens.fingerprint();
    enrol::verify_identity(fingerprint, &identity, &body, &answer.identity_signature).unwrap();
}

#[tokio::test]
async fn a_payout_address_is_a_short_word() {
    let cluster = Cluster::new().await;
    let address = answer_as(&node_key(1), None).await;
    for bad in ["two words", "tab\t", &"x".repeat(129)] {
        let mut request = registration(&node_key(1), cluster.machine, &address);
        request.payout_address = bad.to_owned();
        let refused = cluster.register(request).await.unwrap_err();
        assert!(refused.message().contains("payout address"), "{refused}");
    }
}

#[tokio::test]
async fn no_node_offers_more_than_there_can_be() {
    let cluster = Cluster::new().await;
    let address = answer_as(&node_key(1), None).await;
    let claims = |capacity_bytes| {
        let request = registration(&node_key(1), cluster.machine, &address);
        cluster.register(pb::RegisterNodeRequest { capacity_bytes, ..request })
    };
    for capacity in [CAPACITY_MAX + 1, u64::MAX] {
        let refused = claims(capacity).await.unwrap_err();
        assert_eq!(error_code(&refused), ErrorCode::InvalidArgument);
        assert!(refused.message().contains("at most 1 PiB"), "{refused}");
    }
    let node = NodeId::try_from(&claims(CAPACITY_MAX).await.unwrap().node_id[..]).unwrap();
    let (used_bytes, trash_bytes, free_bytes) = (u64::MAX, u64::MAX, u64::MAX);
    let metrics = pb::NodeMetrics { used_bytes, trash_bytes, free_bytes, ..pb::NodeMetrics::default() };
    cluster.beat(node, &address, metrics).await.unwrap();
    let report = cluster.test.app.network.registry.get(node).unwrap().report;
    assert_eq!([report.used, report.trash, report.free], [CAPACITY_MAX; 3]);
}

#[tokio::test]
async fn who_dials_back_does_not_tell_what_is_at_an_address() {
    let cluster = Cluster::new().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let other = answer_as(&node_key(2), None).await;
    let mut said = Vec::new();
    for address in [closed, other] {
        let refused = cluster.register(registration(&node_key(1), cluster.machine, &address)).await.unwrap_err();
        said.push((error_code(&refused), refused.message().replace(&address, "ADDRESS")));
    }
    assert_eq!(said[0], said[1]);
}

#[tokio::test]
async fn a_node_that_answers_at_its_address_is_registered() {
    let cluster = Cluster::new().await;
    let address = answer_as(&node_key(1), None).await;
    let answer = cluster.register(registration(&node_key(1), cluster.machine, &address)).await.unwrap();
    assert_eq!((answer.reserved_bytes, answer.allocatable_bytes), (2 * GIB, 8 * GIB));
    assert_eq!(answer.reservations.len(), 5);
    assert_eq!(answer.reservations.iter().map(|part| part.bytes).sum::<u64>(), answer.reserved_bytes);
    let paid = "SELECT CAST(COUNT(*) AS BIGINT) FROM node WHERE payout_address = 'account-7'";
    assert_eq!(number(&cluster.test, paid).await, 1);
    assert_eq!(answer.heartbeat_seconds, 30);
    assert_eq!(&answer.server_keys[0].key_id[..], cluster.test.app.network.keys.id().as_bytes());
    assert_eq!(&answer.incarnation[..], cluster.test.app.network.keys.incarnation().to_bytes());
    let node = NodeId::try_from(&answer.node_id[..]).unwrap();
    assert_eq!(node, NodeId::from_public_key(&node_key(1).verifying_key().to_bytes()));
    let record = cluster.test.app.network.registry.get(node).unwrap();
    assert_eq!((record.address.as_str(), record.status()), (address.as_str(), "online"));
    // After a restart it is there again.
    let rows = rows::load_all(&mut cluster.test.app.db.read().await.unwrap()).await.unwrap();
    assert_eq!(rows, [record]);
}

#[tokio::test]
async fn tls_is_pinned_to_the_nodes_own_key() {
    let cluster = Cluster::new().await;
    let own = answer_as(&node_key(1), Some(&node_key(1))).await;
    let with_tls =
        |address: &str| pb::RegisterNodeRequest { tls: true, ..registration(&node_key(1), cluster.machine, address) };
    cluster.register(with_tls(&own)).await.unwrap();
    let other = answer_as(&node_key(1), Some(&node_key(2))).await;
    let refused = cluster.register(with_tls(&other)).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::InvalidArgument);
    assert!(refused.message().contains("the node does not answer"), "{refused}");
}

#[tokio::test]
async fn nobody_registers_for_somebody_else() {
    let cluster = Cluster::new().await;
    let address = answer_as(&node_key(1), None).await;
    // Another node answers there.
    let refused = cluster.register(registration(&node_key(2), cluster.machine, &address)).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::InvalidArgument);
    // The signature is somebody else's, or over another address or time.
    let good = registration(&node_key(1), cluster.machine, &address);
    let foreign = registration(&node_key(2), cluster.machine, &address).signature;
    for bad in [
        pb::RegisterNodeRequest { signature: foreign, ..good.clone() },
        pb::RegisterNodeRequest { address: "127.0.0.1:9".to_owned(), ..good.clone() },
        pb::RegisterNodeRequest { issued_at: good.issued_at + 1, ..good.clone() },
        pb::RegisterNodeRequest { machine_id: MachineId::random().to_string(), ..good.clone() },
    ] {
        let refused = cluster.register(bad).await.unwrap_err();
        assert_eq!(error_code(&refused), ErrorCode::PermissionDenied, "{refused}");
    }
    // No token, a person's token.
    let refused = cluster.server.register_node(Request::new(good.clone())).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::InvalidCredentials);
    let tokens = &cluster.test.app.tokens;
    let person = tokens
        .jwt
        .issue(
            UserType::User,
            Subject { id: cluster.machine.to_string(), ..Subject::default() },
            Duration::from_secs(9),
        )
        .unwrap();
    let refused = cluster.server.register_node(with_token(&person.token, good)).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::PermissionDenied);
    assert!(cluster.test.app.network.registry.all().is_empty());
}

#[tokio::test]
async fn a_node_that_has_exited_does_not_register_again() {
    let cluster = Cluster::new().await;
    let (node, address) = cluster.join(&node_key(1)).await;
    let again = || cluster.register(registration(&node_key(1), cluster.machine, &address));
    let id = literal(&cluster.test, &node.0);
    let set = |leaving: &str| format!("UPDATE node SET leaving = '{leaving}' WHERE id = {id}");
    execute(&cluster.test, &[set("exiting")]).await;
    again().await.unwrap();
    execute(&cluster.test, &[set("exited")]).await;
    let refused = again().await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::Conflict);
    assert!(refused.message().contains("exited for good"), "{refused}");
}

#[tokio::test]
async fn impossible_registrations_say_why() {
    let cluster = Cluster::new().await;
    let address = answer_as(&node_key(1), None).await;
    let good = registration(&node_key(1), cluster.machine, &address);
    let small = pb::RegisterNodeRequest { capacity_bytes: 3 * GIB - 1, ..good.clone() };
    let refused = cluster.register(small).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::InsufficientStorage);
    assert!(refused.message().starts_with("Insufficient storage"), "{refused}");
    let old = pb::RegisterNodeRequest { issued_at: now_seconds() - 700, ..good.clone() };
    assert!(cluster.register(old).await.unwrap_err().message().contains("clock"));
    let region = pb::RegisterNodeRequest { region: "a b".to_owned(), ..good };
    assert!(cluster.register(region).await.unwrap_err().message().contains("region"));
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let refused = cluster.register(registration(&node_key(1), cluster.machine, &closed)).await.unwrap_err();
    assert!(refused.message().contains("the node does not answer"), "{refused}");

    let apart = Cluster::with(false).await;
    let refused = apart.register(registration(&node_key(1), apart.machine, &address)).await.unwrap_err();
    assert!(refused.message().contains("loopback"), "{refused}");
}

#[tokio::test]
async fn heartbeats_are_believed_from_the_nodes_own_machine() {
    let cluster = Cluster::new().await;
    let (node, address) = cluster.join(&node_key(1)).await;
    let metrics = pb::NodeMetrics {
        used_bytes: 5,
        free_bytes: 7,
        read_only: true,
        read_only_reason: "full\u{7}".to_owned(),
        ..Default::default()
    };
    let answer = cluster.beat(node, &address, metrics).await.unwrap();
    assert_eq!((answer.keep_list_sequence, answer.heartbeat_seconds), (0, 30));
    assert!(answer.server_time.abs_diff(now_seconds()) < 60);
    let record = cluster.test.app.network.registry.get(node).unwrap();
    assert_eq!((record.report.used, record.report.read_only.as_str(), record.version.as_str()), (5, "full", "1"));

    let (_, other) = machine(&cluster.test).await;
    let beat = pb::HeartbeatRequest { node_id: bytes_of(node), address: address.clone(), ..Default::default() };
    let refused = cluster.server.heartbeat(with_token(&other, beat)).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::PermissionDenied);
    let refused = cluster.beat(node, "127.0.0.1:1", pb::NodeMetrics::default()).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::NotFound, "a moved node has to register again");
    let refused = cluster.beat(NodeId::random(), &address, pb::NodeMetrics::default()).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::NotFound);
}

#[test]
fn a_clock_that_is_minutes_away_is_counted() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let page = recorder.handle();
    let (node, now) = (NodeId::random(), 1_000_000);
    metrics::with_local_recorder(&recorder, || {
        let near = [0, now, now + CLOCK_SKEW_SECONDS, now - CLOCK_SKEW_SECONDS].map(|time| skew(node, time, now));
        assert_eq!(near, [0, 0, 120, -120]);
        assert!(!page.render().contains("cyx_node_clock_skew_total"), "{}", page.render());
        assert_eq!([now + 130, now - 130].map(|time| skew(node, time, now)), [130, -130]);
        assert!(page.render().contains("cyx_node_clock_skew_total 2"), "{}", page.render());
    });
}

#[tokio::test]
async fn how_far_away_a_nodes_clock_is_is_shown() {
    let cluster = Cluster::new().await;
    let (node, address) = cluster.join(&node_key(1)).await;
    for ahead in [130, -130] {
        let beat = pb::HeartbeatRequest {
            node_id: bytes_of(node),
            address: address.clone(),
            node_time: now_seconds().checked_add_signed(ahead).unwrap(),
            ..Default::default()
        };
        cluster.server.heartbeat(cluster.request(beat)).await.unwrap();
        let shown = cluster.test.app.network.placements.node_views()[0].clock_skew_seconds;
        // The server looks at its clock a moment later.
        assert!((ahead - 60..=ahead).contains(&shown), "{shown} where it is {ahead}");
    }
}

#[tokio::test]
async fn heartbeats_are_written_down_together() {
    let cluster = Cluster::new().await;
    let (node, address) = cluster.join(&node_key(1)).await;
    cluster.beat(node, &address, pb::NodeMetrics { used_bytes: 77, ..Default::default() }).await.unwrap();
    assert_eq!(number(&cluster.test, "SELECT used FROM node").await, 0, "not yet");
    crate::nodes::watch::write_down(&cluster.test.app.db, &cluster.test.app.network.registry).await;
    assert_eq!(number(&cluster.test, "SELECT used FROM node").await, 77);
}

/// A node with two placed segments and one override; the chunks it is to hold, sorted.
async fn with_content(cluster: &Cluster, node: NodeId) -> Vec<ChunkId> {
    let test = &cluster.test;
    let scheme = Scheme::new(2, 1).unwrap();
    let others = [NodeId::random(), NodeId::random()];
    let place = placement(test, scheme, &[others[0], node, others[1]]).await;
    let segments = [(); 4].map(|()| SegmentId::random());
    for id in &segments[..3] {
        segment(test, *id, &place).await;
    }
    let elsewhere = placement(test, scheme, &[others[0], others[1], NodeId::random()]).await;
    segment(test, segments[3], &elsewhere).await;
    // Shard 1 of the third is somewhere else now, shard 2 of the fourth is here.
    let text = |segment: SegmentId, shard: u8, node: NodeId| {
        let (segment, node) = (literal(test, &segment.0), literal(test, &node.0));
        format!("INSERT INTO segment_override (segment, shard, node) VALUES ({segment}, {shard}, {node})")
    };
    execute(test, &[text(segments[2], 1, others[0]), text(segments[3], 2, node)]).await;
    let chunk = cyx_core::chunk::chunk_id;
    let mut held = vec![chunk(segments[0], 1), chunk(segments[1], 1), chunk(segments[3], 2)];
    held.sort();
    held
}

#[tokio::test]
async fn keep_lists_name_exactly_what_a_node_is_to_hold() {
    let cluster = Cluster::new().await;
    let (node, address) = cluster.join(&node_key(1)).await;
    let held = with_content(&cluster, node).await;
    let network = &cluster.test.app.network;
    let rounds = keep_lists::begin_rounds(&cluster.test.app.db, &network.options, false).await.unwrap();
    let (_, sequence) = rounds[0];
    assert_eq!(rounds, [(node, sequence)]);
    network.registry.set_keep_list_sequence(node, sequence);
    assert_eq!(cluster.beat(node, &address, pb::NodeMetrics::default()).await.unwrap().keep_list_sequence, sequence);

    let parts = cluster.fetch(node, sequence, Bytes::new()).await;
    assert_eq!(parts.len(), 1);
    let key = |id| network.keys.announced().iter().find(|key| key.id == id).map(|key| key.public);
    let (list, ids) = KeepList::verify(&parts[0].signed, &parts[0].ids, key, node).unwrap();
    assert_eq!(ids, held);
    assert_eq!((list.first, list.last), (ChunkId([0; 16]), ChunkId([0xff; 16])));
    assert_eq!((list.sequence, list.incarnation), (sequence, network.keys.incarnation()));
    assert!(list.before <= now_seconds());

    assert!(cluster.fetch(node, sequence + 1, Bytes::new()).await.is_empty(), "no such round");
    let again = keep_lists::begin_rounds(&cluster.test.app.db, &network.options, true).await.unwrap();
    assert!(again.is_empty(), "the round is not confirmed yet");
    cluster.confirm(node, sequence, list.last, vec![]).await.unwrap();
    cluster.confirm(node, sequence, list.last, vec![]).await.unwrap();
    let sum = number(&cluster.test, "SELECT trashed_chunks * 1000 + trashed_bytes FROM keep_list_round").await;
    assert_eq!(sum, 2030, "repeating counts once");
    assert!(cluster.fetch(node, sequence, Bytes::new()).await.is_empty(), "nothing is left of it");
    let next = keep_lists::begin_rounds(&cluster.test.app.db, &network.options, true).await.unwrap();
    assert!(next[0].1 > sequence);
}

#[tokio::test]
async fn a_round_goes_on_behind_what_was_confirmed() {
    let cluster = Cluster::new().await;
    let (node, _) = cluster.join(&node_key(1)).await;
    let held = with_content(&cluster, node).await;
    let options = cluster.test.app.network.options;
    let sequence = keep_lists::begin_rounds(&cluster.test.app.db, &options, true).await.unwrap()[0].1;
    cluster.confirm(node, sequence, held[0], vec![]).await.unwrap();
    // The node asks from the beginning, as it does when it lost its place.
    let parts = cluster.fetch(node, sequence, Bytes::new()).await;
    let network = &cluster.test.app.network;
    let key = |id| network.keys.announced().iter().find(|key| key.id == id).map(|key| key.public);
    let (list, ids) = KeepList::verify(&parts[0].signed, &parts[0].ids, key, node).unwrap();
    assert!(list.first > held[0]);
    assert_eq!(ids, held[1..]);
}

#[tokio::test]
async fn nothing_is_dropped_after_a_restore_until_an_administrator_says_so() {
    let cluster = Cluster::new().await;
    let (node, _) = cluster.join(&node_key(1)).await;
    let (app, options) = (&cluster.test.app, cluster.test.app.network.options);
    let sequence = keep_lists::begin_rounds(&app.db, &options, true).await.unwrap()[0].1;
    app.db.write(|conn| Box::pin(crate::keys::new_incarnation(conn))).await.unwrap();
    assert!(cluster.fetch(node, sequence, Bytes::new()).await.is_empty(), "not even the rest of an old round");
    cluster.confirm(node, sequence, ChunkId([0xff; 16]), vec![]).await.unwrap();
    assert!(keep_lists::begin_rounds(&app.db, &options, true).await.unwrap().is_empty());
    app.db.write(|conn| Box::pin(keep_lists::resume(conn))).await.unwrap();
    assert_eq!(keep_lists::begin_rounds(&app.db, &options, true).await.unwrap().len(), 1);
}

#[tokio::test]
async fn lost_shards_count_as_missing_and_wait_for_repair() {
    let cluster = Cluster::new().await;
    let (node, _) = cluster.join(&node_key(1)).await;
    let held = with_content(&cluster, node).await;
    let app = &cluster.test.app;
    let shards = "SELECT CAST(SUM(present) AS BIGINT) FROM segment";
    assert_eq!(number(&cluster.test, shards).await, 4 * 7);
    let foreign = ChunkId([9; 16]);
    let report = |ids: Vec<ChunkId>| pb::ReportDamageRequest {
        node_id: bytes_of(node),
        chunk_ids: ids.into_iter().map(bytes_of).collect(),
    };
    let score = app.network.registry.get(node).unwrap().score;
    cluster.server.report_damage(cluster.request(report(vec![foreign]))).await.unwrap();
    assert_eq!(app.network.registry.get(node).unwrap().score, score, "what it never had it cannot lose");
    cluster.server.report_damage(cluster.request(report(vec![held[0], foreign]))).await.unwrap();
    cluster.server.report_damage(cluster.request(report(vec![held[0]]))).await.unwrap();
    assert_eq!(number(&cluster.test, "SELECT CAST(COUNT(*) AS BIGINT) FROM repair").await, 1);
    assert!(app.network.registry.get(node).unwrap().score < score);

    // Missing from a keep-list is the same.
    let sequence = keep_lists::begin_rounds(&app.db, &app.network.options, true).await.unwrap()[0].1;
    cluster.confirm(node, sequence, ChunkId([0xff; 16]), held.clone()).await.unwrap();
    assert_eq!(number(&cluster.test, "SELECT CAST(COUNT(*) AS BIGINT) FROM repair").await, 3);
    // Bit 1 of two segments and bit 2 of one are gone, however often they were reported.
    assert_eq!(number(&cluster.test, shards).await, 4 * 7 - 2 - 2 - 4);
    let too_many = report(vec![foreign; REPORT_MAX + 1]);
    assert!(cluster.server.report_damage(cluster.request(too_many)).await.is_err());
}
