//! The real program, killed in the middle of transfers: what has a receipt is there afterwards, and grants stay used.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "not every test file uses all of it")]
mod cluster;
#[expect(dead_code, reason = "not every test file uses all of it")]
mod server;

use std::collections::HashMap;
use std::io::BufRead as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cluster::{Client, TAG, chunk_parts, content, get, open, order};
use cyx_core::grant::{Grant, Operations};
use cyx_core::ids::{ChunkId, GrantId, NodeId, Random as _};
use cyx_core::receipt::Receipt;
use cyx_core::sign;
use cyx_core::units::MIB;
use cyx_node::store::Clock;
use cyx_proto::chunk::v1::store_chunk_response::Part as Answer;
use cyx_proto::chunk::v1::{GetChunkRequest, StoreChunkRequest};
use ed25519_dalek::SigningKey;
use server::{ENROLMENT, Server};
use tonic::transport::Channel;

struct Program {
    child: Child,
    id: NodeId,
    address: String,
}

impl Program {
    async fn start(server: &Server, folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cyx-node"))
            .args(["--grpc-host", "127.0.0.1", "--grpc-port", "0", "--metrics-port", "0", "--print-ready"])
            .args([
                "--gateway",
                &format!("http://{}", server.rest),
                "--central-server",
                &format!("http://{}", server.grpc),
            ])
            .env("CYXWIZ_ENROLL_TOKEN", ENROLMENT)
            .env("CYXCLOUD_HOME", folder)
            .env("STORAGE_PATH", folder.join("data"))
            .env("RUST_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            std::io::BufReader::new(out).read_line(&mut line).unwrap();
            line
        });
        let ready: serde_json::Value = serde_json::from_str(&line.await.unwrap()).unwrap();
        let id = ready["node_id"].as_str().unwrap().parse().unwrap();
        Self { child, id, address: ready["grpc"].as_str().unwrap().to_owned() }
    }

    async fn client(&self, session: &SigningKey) -> Client {
        let channel = Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap();
        let mut client = Client::new(channel);
        client.prove(session).await.unwrap();
        client
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A failed test leaves no process behind; one that is gone already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn grant(node: NodeId, session: &SigningKey, allowance: u64) -> Grant {
    let now = Clock::system().now();
    Grant {
        key: sign::key_id(&server::key().verifying_key().to_bytes()),
        id: GrantId::random(),
        node,
        session_key: session.verifying_key().to_bytes(),
        operations: Operations::STORE.and(Operations::READ),
        allowance,
        not_before: now - 10,
        expires: now + 3000,
        tags: vec![TAG],
    }
}

/// Streams chunks without end and counts those with a receipt, until `enough` have one or the node is gone.
async fn store_until(client: &mut Client, grant: &Grant, round: u64, enough: usize) -> Vec<u64> {
    let mut seeds = HashMap::new();
    let named =
        |seed: u64| (ChunkId(content(seed, 16).try_into().unwrap()), content(seed, 1 + seed as usize * 7919 % 90_000));
    for seed in round * 10_000..round * 10_000 + 4000 {
        seeds.insert(named(seed).0, seed);
    }
    let parts = (round * 10_000..round * 10_000 + 4000).flat_map(move |seed| {
        let (id, bytes) = named(seed);
        chunk_parts(id, TAG, &bytes)
    });
    let requests = std::iter::once(open(grant)).chain(parts).map(|part| StoreChunkRequest { part: Some(part) });
    let mut answers = client.rpc.store_chunk(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut stored = Vec::new();
    while stored.len() < enough {
        match answers.message().await.unwrap().unwrap().part.unwrap() {
            Answer::Receipt(bytes) => {
                stored.extend(Receipt::read_unchecked(&bytes).unwrap().chunks.iter().map(|chunk| seeds[&chunk.id]));
            }
            Answer::Refused(refused) => panic!("{}", refused.message),
        }
    }
    stored
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_a_receipt_survives_sigkill() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let session = SigningKey::from_bytes(&[42; 32]);
    let mut stored: Vec<u64> = Vec::new();
    for round in 0..4_u64 {
        let node = Program::start(&server, folder.path()).await;
        let mut client = node.client(&session).await;
        let grant = grant(node.id, &session, 1000 * MIB);
        for seed in &stored {
            let id = ChunkId(content(*seed, 16).try_into().unwrap());
            // How much has a receipt depends on how fast the machine is, and may be more than what is given without an order.
            let request = GetChunkRequest { order: order(&grant, grant.allowance), ..get(&grant, id) };
            let read = client.get(request).await.unwrap();
            assert!(read == content(*seed, 1 + *seed as usize * 7919 % 90_000), "chunk {seed} in round {round}");
        }
        // The stream is still running when the node is killed.
        stored.extend(store_until(&mut client, &grant, round, 20 + round as usize * 60).await);
        node.kill();
    }
    assert!(stored.len() >= 4 * 20 + 6 * 60);
}

/// A node remembers the server's keys, so it serves while the server is away, and a grant that was used up stays so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_grant_stays_used_and_a_node_serves_without_its_server() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let session = SigningKey::from_bytes(&[42; 32]);
    let node = Program::start(&server, folder.path()).await;
    let used = grant(node.id, &session, 1000);
    let (id, bytes) = (ChunkId::random(), content(1, 1000));
    let mut client = node.client(&session).await;
    assert_eq!(client.store(&used, &[(id, bytes.clone())]).await.stored(), [id]);
    let old = node.id;
    node.kill();

    // The server is gone: nothing answers at its addresses. The node says in its log where it listens.
    let (away, _sockets) = Server::bind();
    let mut child = Command::new(env!("CARGO_BIN_EXE_cyx-node"))
        .args(["--grpc-host", "127.0.0.1", "--grpc-port", "0", "--metrics-port", "0"])
        .args(["--gateway", &format!("http://{}", server.rest), "--central-server", &format!("http://{}", away.grpc)])
        .env("CYXCLOUD_HOME", folder.path())
        .env("STORAGE_PATH", folder.path().join("data"))
        .env("RUST_LOG", "info")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = child.stderr.take().unwrap();
    let address = tokio::task::spawn_blocking(move || {
        let mut lines = std::io::BufReader::new(log).lines().map(Result::unwrap);
        let line = lines.find(|line| line.contains("listening")).expect("the node listens");
        // Whoever writes to a closed pipe fails, so the rest is read too.
        std::thread::spawn(move || lines.for_each(drop));
        line.split(' ').find_map(|word| word.strip_prefix("grpc=")).unwrap().to_owned()
    });
    let channel = Channel::from_shared(format!("http://{}", address.await.unwrap())).unwrap().connect().await.unwrap();
    let mut client = Client::new(channel);
    client.prove(&session).await.unwrap();
    assert!(client.read(&used, id).await.unwrap() == bytes);
    let outcome = client.store(&used, &[(ChunkId::random(), vec![1])]).await;
    assert_eq!(outcome.refused[0].code, "QUOTA_EXCEEDED");
    let fresh = grant(old, &session, 1000);
    assert_eq!(client.store(&fresh, &[(id, bytes)]).await.stored(), [id], "a new grant is honoured offline");
    child.kill().unwrap();
    child.wait().unwrap();
}
