//! Nodes that make chunks anew from those of others, told by a server what and from whom.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod server;

use std::future::pending;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cyx_core::erasure::Coder;
use cyx_core::grant::{Grant, Operations};
use cyx_core::ids::{BucketTag, ChunkId, GrantId, Random as _, TaskId};
use cyx_core::receipt::Receipt;
use cyx_core::scheme::Scheme;
use cyx_core::sign;
use cyx_node::store::NewChunk;
use cyx_node::{Config, Options, Running, start};
use cyx_proto::node::v1::failed_source::Reason;
use cyx_proto::node::v1::{FetchTasksResponse, Peer, ReportTaskRequest, Source, Task, task};
use server::{ENROLMENT, Server, key};
use tempfile::TempDir;

const SCHEME: (u32, u32) = (3, 2);
/// More than one range and no whole number of groups.
const LENGTH: usize = 600_001;
const SOURCE_TAG: BucketTag = BucketTag([3; 16]);
const TARGET_TAG: BucketTag = BucketTag([4; 16]);

fn config(server: &Server, folder: &TempDir, (tls, repair_tasks): (bool, usize)) -> Config {
    let options = Options {
        home: Some(folder.path().join("home")),
        storage_path: Some(folder.path().join("data")),
        storage_gb: Some(3),
        gateway: Some(format!("http://{}", server.rest)),
        central_server: Some(format!("http://{}", server.grpc)),
        grpc_host: Some("127.0.0.1".parse().unwrap()),
        grpc_port: Some(0),
        metrics_port: Some(0),
        enroll_token: Some(ENROLMENT.to_owned().into()),
        grace_seconds: Some(1),
        tls,
        repair_tasks: Some(repair_tasks),
        ..Options::default()
    };
    Config { heartbeat: Some(Duration::from_millis(30)), ..Config::resolve(options).unwrap() }
}

/// A target, and peers that hold the shards of one segment.
struct World {
    server: Server,
    target: Running,
    peers: Vec<Running>,
    shards: Vec<Vec<u8>>,
    ids: Vec<ChunkId>,
    _folders: Vec<TempDir>,
}

impl World {
    /// Shard `wanted` is on no peer.
    async fn new(wanted: usize) -> Self {
        let server = Server::start();
        let scheme = Scheme::new(SCHEME.0, SCHEME.1).unwrap();
        let mut shards: Vec<Vec<u8>> = (0..scheme.n())
            .map(|shard| {
                let mut bytes = vec![0; LENGTH];
                blake3::Hasher::new().update(&[u8::try_from(shard).unwrap()]).finalize_xof().fill(&mut bytes);
                bytes
            })
            .collect();
        let (data, parity) = shards.split_at_mut(scheme.k());
        Coder::new(scheme).encode(data, parity).unwrap();
        let ids: Vec<ChunkId> = shards.iter().map(|_| ChunkId::random()).collect();
        let mut folders = vec![tempfile::tempdir().unwrap()];
        let target = start(config(&server, &folders[0], (false, 2)), pending()).await.unwrap();
        let mut peers = Vec::new();
        for shard in 0..scheme.n() {
            let folder = tempfile::tempdir().unwrap();
            // One of them over TLS, as peers on other machines are.
            let peer = start(config(&server, &folder, (shard == 1, 0)), pending()).await.unwrap();
            if shard != wanted {
                let root = *blake3::hash(&shards[shard]).as_bytes();
                let pieces = vec![Bytes::from(shards[shard].clone())];
                let chunk = NewChunk { id: ids[shard], tag: SOURCE_TAG, root, pieces };
                peer.node().store.store(chunk).await.unwrap();
            }
            folders.push(folder);
            peers.push(peer);
        }
        Self { server, target, peers, shards, ids, _folders: folders }
    }

    fn peer(&self, peer: usize) -> Peer {
        let (running, now) = (&self.peers[peer], SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
        let grant = Grant {
            key: sign::key_id(&key().verifying_key().to_bytes()),
            id: GrantId::random(),
            node: running.id(),
            session_key: self.target.node().identity.public_key(),
            operations: Operations::READ,
            allowance: 4 << 20,
            not_before: now - 10,
            expires: now + 1000,
            tags: vec![SOURCE_TAG],
        };
        Peer {
            node: running.id().to_vec().into(),
            address: running.grpc().to_string(),
            public_key: Bytes::copy_from_slice(&running.node().identity.public_key()),
            tls: peer == 1,
            grant: grant.sign(&key()).into(),
        }
    }

    fn root(&self, shard: usize) -> Bytes {
        Bytes::copy_from_slice(blake3::hash(&self.shards[shard]).as_bytes())
    }

    /// Plans a task to make shard `wanted` from these shards, and waits for the report.
    async fn make(&self, kind: task::Kind, wanted: usize, from: &[usize]) -> ReportTaskRequest {
        let sources = from.iter().map(|shard| Source {
            peer: u32::try_from(*shard).unwrap(),
            shard: u32::try_from(*shard).unwrap(),
            chunk_id: self.ids[*shard].to_vec().into(),
            root: self.root(*shard),
            bucket_tag: SOURCE_TAG.to_vec().into(),
        });
        let task = Task {
            task_id: TaskId::random().to_vec().into(),
            kind: kind.into(),
            k: SCHEME.0,
            m: SCHEME.1,
            shard: u32::try_from(wanted).unwrap(),
            chunk_id: self.ids[wanted].to_vec().into(),
            length: u32::try_from(LENGTH).unwrap(),
            root: self.root(wanted),
            bucket_tag: TARGET_TAG.to_vec().into(),
            sources: sources.collect(),
            deadline: u64::MAX,
        };
        let id = task.task_id.clone();
        let peers = (0..self.peers.len()).map(|peer| self.peer(peer)).collect();
        self.server.book().tasks = FetchTasksResponse { tasks: vec![task], peers };
        self.server.until("a report", |book| book.reports.iter().any(|report| report.task_id == id)).await;
        let book = self.server.book();
        book.reports.iter().find(|report| report.task_id == id).unwrap().clone()
    }

    /// The chunk is there, and the report proves it.
    async fn assert_made(&self, report: &ReportTaskRequest, wanted: usize) {
        let receipt = Receipt::verify(&report.receipt, &self.target.node().identity.public_key()).unwrap();
        assert_eq!(receipt.grant.0[..], report.task_id[..]);
        assert_eq!(receipt.chunks.len(), 1);
        assert_eq!(
            (receipt.chunks[0].id, receipt.chunks[0].root[..].to_vec()),
            (self.ids[wanted], self.root(wanted).to_vec())
        );
        let store = &self.target.node().store;
        let mut read = Vec::new();
        while read.len() < LENGTH {
            let end = (read.len() + 65_536).min(LENGTH) as u64;
            read.extend_from_slice(&store.read(self.ids[wanted], read.len() as u64..end).await.unwrap());
        }
        assert_eq!(read, self.shards[wanted]);
        assert_eq!(store.stat(self.ids[wanted]).await.unwrap().unwrap().tag, TARGET_TAG);
    }

    /// What the target said about shards of others.
    fn failed(report: &ReportTaskRequest) -> Vec<(u32, Reason)> {
        report.failed.iter().map(|failed| (failed.shard, failed.reason())).collect()
    }

    /// Another chunk, as long as the shard, on the peer that should have it: its name.
    async fn lie(&self, shard: usize) -> ChunkId {
        let (id, bytes) = (ChunkId::random(), vec![7_u8; LENGTH]);
        let root = *blake3::hash(&bytes).as_bytes();
        let chunk = NewChunk { id, tag: SOURCE_TAG, root, pieces: vec![Bytes::from(bytes)] };
        self.peers[shard].node().store.store(chunk).await.unwrap();
        id
    }

    async fn damage(&self, shard: usize) {
        let store = &self.peers[shard].node().store;
        store.trash(vec![self.ids[shard]], u64::MAX).await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_shard_is_made_from_any_k_others_and_signed_for() {
    for (wanted, from) in [(0, &[1, 3, 4][..]), (4, &[0, 1, 2])] {
        let world = World::new(wanted).await;
        let report = world.make(task::Kind::Rebuild, wanted, from).await;
        assert_eq!(World::failed(&report), []);
        world.assert_made(&report, wanted).await;
    }
}

#[tokio::test]
async fn sources_that_fail_are_named_and_others_take_their_places() {
    let mut world = World::new(0).await;
    world.damage(1).await;
    let lied = world.lie(2).await;
    let honest = std::mem::replace(&mut world.ids[2], lied);
    let report = world.make(task::Kind::Rebuild, 0, &[1, 2, 3, 4]).await;
    let mut failed = World::failed(&report);
    failed.sort_by_key(|(shard, _)| *shard);
    assert_eq!(failed, [(1, Reason::Missing), (2, Reason::Corrupt)]);
    assert!(report.receipt.is_empty() && !report.error_code.is_empty(), "two of three are not enough");

    world.ids[2] = honest;
    let report = world.make(task::Kind::Rebuild, 0, &[1, 2, 3, 4]).await;
    assert_eq!(World::failed(&report), [(1, Reason::Missing)]);
    world.assert_made(&report, 0).await;
}

#[tokio::test]
async fn one_that_lies_is_found_out_and_the_chunk_is_made_without_it() {
    let mut world = World::new(0).await;
    world.ids[2] = world.lie(2).await;
    let report = world.make(task::Kind::Rebuild, 0, &[1, 2, 3, 4]).await;
    assert_eq!(World::failed(&report), [(2, Reason::Corrupt)]);
    world.assert_made(&report, 0).await;
}

#[tokio::test]
async fn a_move_copies_and_a_peer_that_is_gone_is_said_so() {
    let mut world = World::new(0).await;
    let report = world.make(task::Kind::Copy, 3, &[3]).await;
    world.assert_made(&report, 3).await;
    let gone = world.peers.pop().unwrap();
    let peer = Peer { address: gone.grpc().to_string(), ..world.peer(0) };
    gone.stop().await.unwrap();
    let task = Task {
        task_id: TaskId::random().to_vec().into(),
        kind: task::Kind::Copy.into(),
        k: SCHEME.0,
        m: SCHEME.1,
        shard: 4,
        chunk_id: world.ids[4].to_vec().into(),
        length: u32::try_from(LENGTH).unwrap(),
        root: world.root(4),
        bucket_tag: TARGET_TAG.to_vec().into(),
        sources: vec![Source {
            peer: 0,
            shard: 4,
            chunk_id: world.ids[4].to_vec().into(),
            root: world.root(4),
            bucket_tag: SOURCE_TAG.to_vec().into(),
        }],
        deadline: u64::MAX,
    };
    let id = task.task_id.clone();
    world.server.book().tasks = FetchTasksResponse { tasks: vec![task], peers: vec![peer] };
    world.server.until("a report", |book| book.reports.iter().any(|report| report.task_id == id)).await;
    let book = world.server.book();
    let report = book.reports.iter().find(|report| report.task_id == id).unwrap();
    assert_eq!(World::failed(report), [(4, Reason::Unreachable)]);
    assert_eq!(report.error_code, "UNAVAILABLE");
}

#[tokio::test]
async fn shards_that_do_not_belong_together_make_nothing() {
    let mut world = World::new(0).await;
    // The server expects something else than the sources make.
    world.shards[0][5] ^= 1;
    let report = world.make(task::Kind::Rebuild, 0, &[1, 2, 3]).await;
    assert_eq!((report.error_code.as_str(), World::failed(&report)), ("INTEGRITY", vec![]));
    assert!(report.receipt.is_empty());
    assert_eq!(world.target.node().store.stat(world.ids[0]).await.unwrap(), None);
}
