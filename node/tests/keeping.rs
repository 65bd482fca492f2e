//! What a node keeps whatever happens around it: its trash, its credentials, its identity, and count of all damage.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that cannot go on has failed")]

mod server;

use std::future::pending;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cyx_core::ids::{BucketTag, ChunkId};
use cyx_core::keeplist::{Incarnation, KeepList};
use cyx_core::sign;
use cyx_core::units::NODE_TRASH_SECONDS;
use cyx_node::store::{ChunkState, ChunkStore as _, Clock, DiskOptions, DiskStore, NewChunk};
use cyx_node::{Config, Error, Options, Running, start};
use cyx_proto::node::v1::KeepListPart;
use server::{ENROLMENT, Server, key};

fn options(server: &Server, folder: &Path) -> Options {
    Options {
        home: Some(folder.join("home")),
        storage_path: Some(folder.join("data")),
        storage_gb: Some(3),
        gateway: Some(format!("http://{}", server.rest)),
        central_server: Some(format!("http://{}", server.grpc)),
        grpc_host: Some("127.0.0.1".parse().unwrap()),
        grpc_port: Some(0),
        metrics_port: Some(0),
        grace_seconds: Some(5),
        enroll_token: Some(ENROLMENT.to_owned().into()),
        ..Options::default()
    }
}

fn config(options: Options) -> Config {
    Config { heartbeat: Some(Duration::from_millis(30)), ..Config::resolve(options).unwrap() }
}

fn chunk(id: ChunkId) -> NewChunk {
    let bytes = Bytes::from_static(b"some bytes");
    NewChunk { id, tag: BucketTag([1; 16]), root: *blake3::hash(&bytes).as_bytes(), pieces: vec![bytes] }
}

const LONG_AGO: u64 = NODE_TRASH_SECONDS + 24 * 3600;

/// What a node that was off for eight days has: chunks in the trash since then, under the incarnation that the server begins with.
async fn trashed_long_ago(data: &Path, ids: &[ChunkId], server: &Server) {
    std::fs::create_dir(data).unwrap();
    let clock = Clock::new(|| Clock::system().now() - LONG_AGO);
    let store = DiskStore::open(data, DiskOptions { margin: 0, clock, ..DiskOptions::default() }).unwrap();
    let incarnation = server.book().incarnation;
    store.note_incarnation(incarnation).await.unwrap();
    for id in ids {
        store.store(chunk(*id)).await.unwrap();
    }
    store.trash(ids.to_vec(), u64::MAX).await.unwrap();
    store.close().await.unwrap();
}

async fn state(node: &Running, id: ChunkId) -> Option<ChunkState> {
    node.node().store.stat(id).await.unwrap().map(|info| info.state)
}

async fn more_heartbeats(server: &Server) {
    let beats = server.book().heartbeats.len();
    server.until("more heartbeats", |book| book.heartbeats.len() > beats + 2).await;
}

/// Announces a round that names these chunks.
fn announce(server: &Server, node: &Running, sequence: u64, first: ChunkId, ids: &[ChunkId]) {
    let mut book = server.book();
    let list = KeepList {
        key: sign::key_id(&key().verifying_key().to_bytes()),
        node: node.id(),
        incarnation: book.incarnation,
        sequence,
        before: Clock::system().now(),
        first,
        last: ChunkId([0xff; 16]),
    };
    let named = ids.iter().flat_map(|id| id.0).collect::<Vec<u8>>().into();
    book.lists = vec![KeepListPart { signed: list.sign(ids, &key()).into(), ids: named }];
    book.sequence = sequence;
}

#[tokio::test]
async fn a_node_that_was_off_for_days_hears_of_a_restored_server_before_it_deletes_anything() {
    let (server, folder, id) = (Server::start(), tempfile::tempdir().unwrap(), ChunkId([1; 16]));
    trashed_long_ago(&folder.path().join("data"), &[id], &server).await;
    let new = Incarnation { time: 50, random: 1 };
    server.book().incarnation = new;
    let node = start(config(options(&server, folder.path())), pending()).await.unwrap();
    assert_eq!(node.node().store.held_incarnation().unwrap(), Some(new));
    assert_eq!(state(&node, id).await, Some(ChunkState::Trashed));
    node.stop().await.unwrap();
}

#[tokio::test]
async fn only_a_round_of_keep_lists_of_this_run_of_the_node_lets_it_empty_the_trash() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let [wanted, dropped] = [1, 2].map(|first| ChunkId([first; 16]));
    trashed_long_ago(&folder.path().join("data"), &[wanted, dropped], &server).await;
    let node = start(config(options(&server, folder.path())), pending()).await.unwrap();
    more_heartbeats(&server).await;
    assert_eq!(state(&node, dropped).await, Some(ChunkState::Trashed), "without any list");
    // The rest of a round that was begun before says nothing of what came first.
    announce(&server, &node, 1, ChunkId([0x80; 16]), &[]);
    server.until("the confirmation", |book| book.confirmed.len() == 1).await;
    more_heartbeats(&server).await;
    assert_eq!(state(&node, dropped).await, Some(ChunkState::Trashed), "after the end of a round");
    // Nor is a list followed by a clock that is wrong.
    let wrong = Clock::system().now() - 3600;
    server.book().clock = Some(Clock::new(move || wrong));
    more_heartbeats(&server).await;
    announce(&server, &node, 2, ChunkId([0; 16]), &[wanted]);
    more_heartbeats(&server).await;
    assert_eq!(server.book().confirmed.len(), 1);
    server.book().clock = None;
    server.until("the confirmation", |book| book.confirmed.len() == 2).await;
    while state(&node, dropped).await.is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(state(&node, wanted).await, Some(ChunkState::Live));
    node.stop().await.unwrap();
}

#[tokio::test]
async fn all_damage_is_reported_however_much_there_is() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let store = DiskStore::open(&data, DiskOptions { margin: 0, ..DiskOptions::default() }).unwrap();
    let ids: Vec<ChunkId> = (0..2500_u128).map(|n| ChunkId(n.to_be_bytes())).collect();
    for stored in futures_util::future::join_all(ids.iter().map(|id| store.store(chunk(*id)))).await {
        stored.unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    std::fs::remove_file(data.join("volumes/00000001.cyxvol")).unwrap();
    let node = start(config(options(&server, folder.path())), pending()).await.unwrap();
    more_heartbeats(&server).await;
    assert!(server.book().damaged == ids, "each once");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_refusal_that_passes_does_not_cost_the_credentials() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let token = "for one machine";
    server.book().single.push(token.to_owned());
    let again = || config(Options { enroll_token: Some(token.to_owned().into()), ..options(&server, folder.path()) });
    start(again(), pending()).await.unwrap().stop().await.unwrap();
    let machines = {
        let mut book = server.book();
        book.used.clear();
        std::mem::take(&mut book.machines)
    };
    let error = start(again(), pending()).await.err().unwrap();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    server.book().machines = machines;
    start(again(), pending()).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn the_empty_mountpoint_of_a_disk_is_not_made_another_node() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let [data, elsewhere] = ["data", "elsewhere"].map(|name| folder.path().join(name));
    let start = || start(config(options(&server, folder.path())), pending());
    let node = start().await.unwrap();
    let id = node.id();
    node.stop().await.unwrap();
    std::fs::rename(&data, &elsewhere).unwrap();
    std::fs::create_dir(&data).unwrap();
    let error = start().await.err().unwrap();
    assert!(matches!(error, Error::KeyGone { expected, .. } if expected == id) && error.exit_code() == 66, "{error}");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
    // Unless the operator means it.
    std::fs::remove_file(folder.path().join("home/node_id")).unwrap();
    let other = start().await.unwrap();
    assert_ne!(other.id(), id);
    other.stop().await.unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&elsewhere, &data).unwrap();
    let node = start().await.unwrap();
    assert_eq!(node.id(), id);
    node.stop().await.unwrap();
}
