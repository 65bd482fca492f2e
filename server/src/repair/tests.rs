//! A network in memory: nodes that keep chunks, fetch tasks and report, on a clock of its own. See [`churn`] for weeks of it.

mod behaviour;
mod churn;
mod locks;
mod moving;
mod pay;
mod refusals;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cyx_core::chunk::chunk_id;
use cyx_core::erasure::Coder;
use cyx_core::grant::{Grant, Operations};
use cyx_core::ids::{BucketId, ChunkId, GrantId, NodeId, Random as _, SegmentId};
use cyx_core::receipt::{Receipt, ReceivedChunk};
use cyx_core::scheme::Scheme;
use cyx_core::units::GIB;
use cyx_proto::convert;
use cyx_proto::node::v1 as pb;
use cyx_proto::node::v1::failed_source::Reason;
use ed25519_dalek::SigningKey;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::run::{self, Step, Worker};
use super::segment::Segment;
use super::{Nodes, hand, report};
use crate::config::Config;
use crate::nodes::registry::Report;
use crate::nodes::testing::{execute, literal, node, node_key, number, placement, server_with};
use crate::nodes::{NodeRecord, Registry};
use crate::placement::Placement;
use crate::test_support::TestApp;
use crate::time::{now_ns, to_seconds};

/// A node as the simulation has it.
struct Sim {
    record: NodeRecord,
    key: SigningKey,
    chunks: HashMap<ChunkId, Vec<u8>>,
    /// Reports, and answers its peers.
    up: bool,
    /// Serves other bytes than it was given.
    lies: bool,
    /// What its heartbeats say is used.
    used: u64,
    /// Its heartbeats say that it takes part in no repairs.
    takes_no_tasks: bool,
}

/// What was uploaded.
struct Upload {
    id: SegmentId,
    scheme: Scheme,
    shards: Vec<Vec<u8>>,
}

/// The network.
struct World {
    test: TestApp,
    worker: Worker,
    nodes: BTreeMap<NodeId, Sim>,
    uploads: Vec<Upload>,
    began: (Instant, i64),
    elapsed: Duration,
    rng: StdRng,
}

impl World {
    /// A server and nodes with these numbers.
    async fn new(numbers: impl IntoIterator<Item = u8>, seed: u64) -> Self {
        Self::with(numbers.into_iter().map(|number| (number, node(number))), seed, |_| {}).await
    }

    async fn with(
        nodes: impl IntoIterator<Item = (u8, NodeRecord)>,
        seed: u64,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let began = (Instant::now(), now_ns());
        let nodes: Vec<(u8, NodeRecord)> = nodes
            .into_iter()
            .map(|(number, record)| (number, NodeRecord { last_heartbeat_ns: began.1, ..record }))
            .collect();
        let test = server_with(nodes.iter().map(|(_, record)| record.clone()), change).await;
        let worker = Worker::new(test.app.clone());
        let nodes = nodes.into_iter().map(|(number, record)| {
            let key = node_key(number);
            (
                record.id,
                Sim { record, key, chunks: HashMap::new(), up: true, lies: false, used: 0, takes_no_tasks: false },
            )
        });
        let (nodes, rng) = (nodes.collect(), StdRng::seed_from_u64(seed));
        Self { test, worker, nodes, uploads: Vec::new(), began, elapsed: Duration::ZERO, rng }
    }

    fn now(&self) -> i64 {
        self.began.1 + i64::try_from(self.elapsed.as_nanos()).unwrap()
    }

    fn registry(&self) -> &Registry {
        &self.test.app.network.registry
    }

    /// Another node joins.
    async fn join(&mut self, number: u8) -> NodeId {
        let record = NodeRecord { last_heartbeat_ns: self.now(), ..node(number) };
        let row = record.clone();
        let write = self.test.app.db.write(move |conn| {
            let row = row.clone();
            Box::pin(async move { crate::nodes::rows::register(conn, &row).await })
        });
        write.await.unwrap();
        self.registry().register(record.clone(), self.began.0 + self.elapsed);
        let id = record.id;
        let key = node_key(number);
        self.nodes.insert(
            id,
            Sim { record, key, chunks: HashMap::new(), up: true, lies: false, used: 0, takes_no_tasks: false },
        );
        id
    }

    /// Uploads a segment of random bytes to these nodes.
    async fn upload_to(&mut self, scheme: Scheme, nodes: &[NodeId]) -> SegmentId {
        let place = placement(&self.test, scheme, nodes).await;
        self.upload(&place).await
    }

    /// Uploads a segment to a placement; shards behind its nodes are left out.
    async fn upload(&mut self, place: &Placement) -> SegmentId {
        let (scheme, len) = (place.scheme, 40 + self.rng.random_range(0..40));
        let mut shards: Vec<Vec<u8>> =
            (0..scheme.n()).map(|_| (0..len).map(|_| self.rng.random::<u8>()).collect()).collect();
        let (data, parity) = shards.split_at_mut(scheme.k());
        Coder::new(scheme).encode(data, parity).unwrap();
        let id = SegmentId::random();
        for (shard, node) in place.nodes.iter().enumerate() {
            let chunk = chunk_id(id, u8::try_from(shard).unwrap());
            self.nodes.get_mut(node).unwrap().chunks.insert(chunk, shards[shard].clone());
        }
        let roots: Vec<u8> = shards.iter().flat_map(|shard| *blake3::hash(shard).as_bytes()).collect();
        let present = (1_u64 << place.nodes.len()) - 1;
        let (segment, bucket, place, roots) = (
            literal(&self.test, &id.0),
            literal(&self.test, &BucketId::random().0),
            literal(&self.test, &place.id.0),
            literal(&self.test, &roots),
        );
        let (k, m, length, now) = (scheme.k(), scheme.m(), len * scheme.k(), self.now());
        let mut text = vec![format!(
            "INSERT INTO segment (id, bucket, k, m, length, slack, placement, present, roots, live_blobs, created_ns, freed_ns) \
             VALUES ({segment}, {bucket}, {k}, {m}, {length}, 0, {place}, {present}, {roots}, 1, {now}, 0)"
        )];
        for shard in (0..scheme.n()).filter(|shard| present >> shard & 1 == 0) {
            text.push(format!(
                "INSERT INTO repair (segment, shard, reason, queued_ns) VALUES ({segment}, {shard}, 'unplaced', 1)"
            ));
        }
        execute(&self.test, &text).await;
        self.uploads.push(Upload { id, scheme, shards });
        id
    }

    async fn segment(&self, id: SegmentId) -> Segment {
        Segment::load(&mut self.test.app.db.read().await.unwrap(), id, None).await.unwrap().unwrap()
    }

    /// Time goes by; everybody who is up reports.
    fn pass(&mut self, time: Duration) {
        self.elapsed += time;
        let (instant, ns) = (self.began.0 + self.elapsed, self.now());
        for node in self.nodes.values().filter(|node| node.up) {
            let takes_no_tasks = node.takes_no_tasks;
            let report = Report { free: 100 * GIB, used: node.used, takes_no_tasks, ..Report::default() };
            self.test.app.network.registry.heartbeat(node.record.id, "0.1.0", report, instant, ns).unwrap();
        }
        self.test.app.network.registry.sweep(instant);
    }

    /// The server does its work, then the nodes do theirs, until there is nothing more to do.
    async fn settle(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        loop {
            let now = self.now();
            let step = self.worker.step(now).await.unwrap();
            steps.push(step);
            let mut done = 0;
            for id in self.with_tasks().await {
                if self.nodes[&id].up {
                    done += self.do_tasks(id).await;
                }
            }
            if step.planned.tasks == 0 && step.moves == 0 && done == 0 {
                return steps;
            }
        }
    }

    /// Nodes that have something to do.
    async fn with_tasks(&self) -> Vec<NodeId> {
        let mut read = self.test.app.db.read().await.unwrap();
        let targets: Vec<Vec<u8>> = sqlx::query_scalar("SELECT DISTINCT target FROM repair_task ORDER BY target")
            .fetch_all(&mut *read)
            .await
            .unwrap();
        targets.iter().map(|target| NodeId::try_from(&target[..]).unwrap()).collect()
    }

    async fn fetch(&self, node: NodeId, most: u32) -> pb::FetchTasksResponse {
        let record = self.registry().get(node).unwrap();
        let request = pb::FetchTasksRequest { node_id: convert::bytes_of(node), most, running: Vec::new() };
        hand::fetch(&self.test.app, &record, &request, self.now()).await.unwrap()
    }

    async fn report(&self, node: NodeId, request: pb::ReportTaskRequest) -> bool {
        let record = self.registry().get(node).unwrap();
        report::take(&self.test.app, &record, request, self.now()).await.unwrap().counts
    }

    /// A node does what it is told. How many tasks.
    async fn do_tasks(&mut self, id: NodeId) -> usize {
        let answer = self.fetch(id, 4).await;
        for task in &answer.tasks {
            let (made, failed) = self.make(id, task, &answer.peers);
            let request = match made {
                Some(bytes) => {
                    let request = self.receipt(id, task, &bytes, failed);
                    self.nodes.get_mut(&id).unwrap().chunks.insert(chunk_of(task), bytes);
                    request
                }
                None => pb::ReportTaskRequest {
                    task_id: task.task_id.clone(),
                    error_code: "UNAVAILABLE".to_owned(),
                    failed,
                    ..Default::default()
                },
            };
            self.report(id, request).await;
        }
        answer.tasks.len()
    }

    /// A report with a receipt for these bytes.
    fn receipt(
        &self,
        id: NodeId,
        task: &pb::Task,
        bytes: &[u8],
        failed: Vec<pb::FailedSource>,
    ) -> pb::ReportTaskRequest {
        let chunk = ReceivedChunk {
            id: chunk_of(task),
            length: u32::try_from(bytes.len()).unwrap(),
            root: *blake3::hash(bytes).as_bytes(),
        };
        let receipt = Receipt {
            node: id,
            grant: GrantId(task.task_id[..].try_into().unwrap()),
            issued: to_seconds(self.now()),
            chunks: vec![chunk],
        };
        pb::ReportTaskRequest {
            node_id: convert::bytes_of(id),
            task_id: task.task_id.clone(),
            receipt: receipt.sign(&self.nodes[&id].key).into(),
            failed,
            ..Default::default()
        }
    }

    /// What a node makes of a task, reading from its peers as far as their grants allow.
    fn make(&self, id: NodeId, task: &pb::Task, peers: &[pb::Peer]) -> (Option<Vec<u8>>, Vec<pb::FailedSource>) {
        let copy = task.kind() == pb::task::Kind::Copy;
        let needed = if copy { 1 } else { usize::try_from(task.k).unwrap() };
        let (mut read, mut failed) = (Vec::new(), Vec::new());
        for source in &task.sources {
            if read.len() == needed {
                break;
            }
            let peer = &peers[usize::try_from(source.peer).unwrap()];
            let node: NodeId = convert::id(&peer.node, "node").unwrap();
            self.check_grant(id, node, peer, source);
            match self.serve(node, source) {
                Ok(bytes) => read.push((usize::try_from(source.shard).unwrap(), bytes)),
                Err(reason) => failed.push(pb::FailedSource {
                    shard: source.shard,
                    node: peer.node.clone(),
                    reason: reason.into(),
                    offset: 0,
                }),
            }
        }
        if read.len() < needed {
            return (None, failed);
        }
        if copy {
            return (read.pop().map(|(_, bytes)| bytes), failed);
        }
        let mut out = vec![0; usize::try_from(task.length).unwrap()];
        let present: Vec<(usize, &[u8])> = read.iter().map(|(shard, bytes)| (*shard, &bytes[..])).collect();
        let coder = Coder::new(Scheme::new(task.k, task.m).unwrap());
        coder.reconstruct(&present, &mut [(usize::try_from(task.shard).unwrap(), &mut out[..])]).unwrap();
        assert_eq!(blake3::hash(&out).as_bytes()[..], task.root[..], "k good shards make what the server expects");
        (Some(out), failed)
    }

    /// The grant lets this node, and no other, read this chunk there.
    fn check_grant(&self, target: NodeId, source: NodeId, peer: &pb::Peer, wanted: &pb::Source) {
        let keys = self.test.app.network.keys.announced();
        let find = |id| keys.iter().find(|key| key.id == id).map(|key| key.public);
        let grant = Grant::verify(&peer.grant, find, source, to_seconds(self.now())).unwrap();
        assert_eq!(grant.session_key, self.nodes[&target].record.public_key);
        assert!(grant.operations.allows(Operations::READ) && !grant.operations.allows(Operations::STORE));
        assert!(grant.tags.iter().any(|tag| tag.0[..] == wanted.bucket_tag[..]));
    }

    /// What a peer answers, after the reader has checked it.
    fn serve(&self, node: NodeId, source: &pb::Source) -> Result<Vec<u8>, Reason> {
        let peer = &self.nodes[&node];
        if !peer.up {
            return Err(Reason::Unreachable);
        }
        let chunk: ChunkId = convert::id(&source.chunk_id, "chunk").unwrap();
        let mut bytes = peer.chunks.get(&chunk).ok_or(Reason::Missing)?.clone();
        if peer.lies {
            bytes[0] ^= 1;
        }
        if blake3::hash(&bytes).as_bytes()[..] == source.root[..] { Ok(bytes) } else { Err(Reason::Corrupt) }
    }

    /// Shards of a segment that are where the server says and are what they were, whether their nodes are up or not.
    async fn intact(&self, upload: &Upload) -> Vec<u8> {
        let segment = self.segment(upload.id).await;
        let good = |shard: &u8| {
            let holder = segment.holder(*shard).and_then(|node| self.nodes.get(&node));
            let chunk = segment.chunk(*shard);
            holder
                .is_some_and(|node| !node.lies && node.chunks.get(&chunk) == Some(&upload.shards[usize::from(*shard)]))
        };
        segment.shards().filter(good).collect()
    }

    /// No node has two shards of a segment.
    async fn check_places(&self) {
        for upload in &self.uploads {
            let segment = self.segment(upload.id).await;
            let holders: Vec<NodeId> = segment.shards().filter_map(|shard| segment.holder(shard)).collect();
            assert_eq!(holders.iter().collect::<BTreeSet<_>>().len(), holders.len(), "a node holds two shards");
        }
    }

    async fn count(&self, what: &str) -> i64 {
        number(&self.test, &format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {what}")).await
    }

    fn nodes_now(&self) -> Nodes {
        Nodes::of(self.registry(), false)
    }
}

fn chunk_of(task: &pb::Task) -> ChunkId {
    convert::id(&task.chunk_id, "chunk").unwrap()
}

fn ids(numbers: impl IntoIterator<Item = u8>) -> Vec<NodeId> {
    numbers.into_iter().map(|number| node(number).id).collect()
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Bytes that nobody signed.
const NOTHING: Bytes = Bytes::new();
