//! A node and a server: enrolment, registration, heartbeats, keep-lists, damage, ends.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that cannot go on has failed")]

mod server;

use std::future::pending;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use cyx_core::enrol::EnrolmentToken;
use cyx_core::error::ErrorCode;
use cyx_core::grant::{Grant, Operations};
use cyx_core::ids::{BucketTag, ChunkId, GrantId, KeyId, NodeId, Random as _};
use cyx_core::keeplist::{Incarnation, KeepList};
use cyx_core::order::Order;
use cyx_core::sign;
use cyx_core::units::{GIB, NODE_RESERVED};
use cyx_node::store::{ChunkState, NewChunk};
use cyx_node::{Config, Error, Options, Running, start};
use cyx_proto::node::v1::KeepListPart;
use cyx_proto::node::v1::exit_request::Action;
use ed25519_dalek::SigningKey;
use server::{CODE, EMAIL, ENROLMENT, PASSWORD, Server, identity, key};

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
        ..Options::default()
    }
}

fn config(options: Options) -> Config {
    Config { heartbeat: Some(Duration::from_millis(30)), ..Config::resolve(options).unwrap() }
}

fn enrolled(server: &Server, folder: &Path) -> Config {
    config(Options { enroll_token: Some(ENROLMENT.to_owned().into()), ..options(server, folder) })
}

fn chunk(id: ChunkId, bytes: &'static [u8]) -> NewChunk {
    NewChunk {
        id,
        tag: BucketTag([1; 16]),
        root: *blake3::hash(bytes).as_bytes(),
        pieces: vec![Bytes::from_static(bytes)],
    }
}

async fn store(node: &Running, id: ChunkId, bytes: &'static [u8]) {
    node.node().store.store(chunk(id, bytes)).await.unwrap();
}

#[tokio::test]
async fn an_enrolment_token_makes_a_machine_that_reports_to_both_services() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let node = start(enrolled(&server, folder.path()), pending()).await.unwrap();
    store(&node, ChunkId([1; 16]), b"hello").await;
    server
        .until("a heartbeat with the chunk", |book| {
            book.heartbeats.iter().any(|beat| beat.metrics.as_ref().is_some_and(|metrics| metrics.used_bytes == 5))
        })
        .await;
    {
        let book = server.book();
        let registration = &book.registrations[0];
        assert_eq!(NodeId::from_public_key(&registration.public_key[..].try_into().unwrap()), node.id());
        assert_eq!(registration.address, node.grpc().to_string());
        assert_eq!((registration.capacity_bytes, registration.tls), (3 * GIB, false));
        assert_eq!(book.machine_heartbeats[0]["address"], node.grpc().to_string());
        assert_eq!(book.machines.len(), 1);
        let usage = node.node().store.usage();
        assert_eq!(usage.capacity_bytes, 3 * GIB - NODE_RESERVED);
    }
    let mode = |path: &str| folder.path().join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("home"), mode("home/node_credentials.json")), (0o700, 0o600));
    assert_eq!((mode("data"), mode("data/node.key")), (0o700, 0o600));
    let id = node.id();
    node.stop().await.unwrap();
    // The saved credentials are enough from now on, and nothing is enrolled twice.
    let again = start(config(options(&server, folder.path())), pending()).await.unwrap();
    assert_eq!(again.id(), id);
    assert_eq!(server.book().machines.len(), 1);
    assert_eq!(again.node().store.usage().chunks, 1);
    again.stop().await.unwrap();
}

#[tokio::test]
async fn a_token_for_one_machine_is_shown_to_its_server_alone() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let token = EnrolmentToken::make(sign::key_id(&identity().verifying_key().to_bytes()));
    server.book().single.push(token.expose().to_string());
    let enrolling = |token: &EnrolmentToken| {
        config(Options {
            enroll_token: Some(token.expose().to_string().into()),
            payout_address: Some("account-7".to_owned()),
            ..options(&server, folder.path())
        })
    };
    // Another server's token is not even sent.
    let elsewhere = EnrolmentToken::make(KeyId([1; 16]));
    server.book().single.push(elsewhere.expose().to_string());
    let error = start(enrolling(&elsewhere), pending()).await.err().unwrap();
    assert!(matches!(error, Error::OtherServer { .. }) && error.exit_code() == 76, "{error}");
    assert_eq!(server.book().single.len(), 2);
    // Nor one to whoever only repeats the right public key.
    server.book().answering = SigningKey::from_bytes(&[1; 32]);
    let error = start(enrolling(&token), pending()).await.err().unwrap();
    assert!(matches!(error, Error::OtherServer { .. }), "{error}");
    assert!(server.book().machines.is_empty());
    server.book().answering = identity();

    let node = start(enrolling(&token), pending()).await.unwrap();
    assert_eq!(server.book().single, [elsewhere.expose().to_string()]);
    assert_eq!(server.book().registrations[0].payout_address, "account-7");
    node.stop().await.unwrap();
    // The credentials are enough; the token, which is still configured, is not used again.
    start(enrolling(&token), pending()).await.unwrap().stop().await.unwrap();
    assert_eq!(server.book().machines.len(), 1);
}

/// The token is used up, and nobody knows the machine's key: the node tries again and is the same machine, also after a restart.
#[tokio::test]
async fn a_lost_answer_does_not_use_the_token_up() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let token = EnrolmentToken::make(sign::key_id(&identity().verifying_key().to_bytes())).expose().to_string();
    server.book().single.push(token.clone());
    server.book().lose_answers = u32::MAX;
    let enrolling = |folder: &Path| {
        config(Options { enroll_token: Some(token.clone().into()), repair_tasks: Some(0), ..options(&server, folder) })
    };
    let gone = server.until("the token is used", |book| book.used.contains_key(&token));
    let error = start(enrolling(folder.path()), gone).await.err().unwrap();
    assert!(matches!(error, Error::Ended), "{error}");
    server.book().lose_answers = 1;
    let node = start(enrolling(folder.path()), pending()).await.unwrap();
    assert_eq!(server.book().machines.len(), 1);
    assert!(server.book().heartbeats[0].metrics.as_ref().unwrap().takes_no_tasks);
    node.stop().await.unwrap();
    let other = tempfile::tempdir().unwrap();
    let error = start(enrolling(other.path()), pending()).await.err().unwrap();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}

#[tokio::test]
async fn keys_that_the_server_of_the_token_does_not_vouch_for_are_not_believed() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let token = EnrolmentToken::make(sign::key_id(&identity().verifying_key().to_bytes()));
    server.book().single.push(token.expose().to_string());
    server.book().vouching = SigningKey::from_bytes(&[1; 32]);
    let enrolling =
        Options { enroll_token: Some(token.expose().to_string().into()), ..options(&server, folder.path()) };
    let error = start(config(enrolling), pending()).await.err().unwrap();
    assert!(matches!(error, Error::OtherServer { .. }), "{error}");
}

/// A hundred bytes of anything, for ever.
fn grant_to_read(node: &Running, session: &SigningKey) -> Grant {
    Grant {
        key: sign::key_id(&key().verifying_key().to_bytes()),
        id: GrantId::random(),
        node: node.id(),
        session_key: session.verifying_key().to_bytes(),
        operations: Operations::READ,
        allowance: 100,
        not_before: 0,
        expires: u64::MAX,
        tags: vec![],
    }
}

#[tokio::test]
async fn orders_are_handed_in_once_and_again_after_more_traffic() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let node = start(enrolled(&server, folder.path()), pending()).await.unwrap();
    let session = SigningKey::from_bytes(&[42; 32]);
    let grant = grant_to_read(&node, &session);
    let order = |traffic| Bytes::from(Order { node: grant.node, grant: grant.id, traffic }.sign(&session));
    let orders = node.node().ledger.orders();
    orders.take(&grant, &order(40)).await.unwrap();
    server.until("the order", |book| book.orders == [order(40)]).await;
    orders.take(&grant, &order(60)).await.unwrap();
    server.until("the next order", |book| book.orders == [order(40), order(60)]).await;
    // What is refused is not handed in again, and the others are.
    server.book().refuse_orders = "unknown_grant";
    orders.take(&grant, &order(70)).await.unwrap();
    server.until("the refused order", |book| book.orders.len() == 3).await;
    server.book().refuse_orders = "";
    orders.take(&grant, &order(80)).await.unwrap();
    server.until("the last order", |book| book.orders.len() >= 4).await;
    assert_eq!(server.book().orders, [order(40), order(60), order(70), order(80)]);
    node.stop().await.unwrap();
}

/// It ends with a code after which systemd does not start it again, and not before it has handed in what it is still to be paid for.
#[tokio::test]
async fn a_node_that_has_left_does_not_start_again_and_loses_no_pay() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let patient = Config { heartbeat: Some(Duration::from_secs(3600)), ..enrolled(&server, folder.path()) };
    let node = start(patient, pending()).await.unwrap();
    let session = SigningKey::from_bytes(&[42; 32]);
    let grant = grant_to_read(&node, &session);
    let order = Bytes::from(Order { node: grant.node, grant: grant.id, traffic: 40 }.sign(&session));
    node.node().ledger.orders().take(&grant, &order).await.unwrap();
    node.stop().await.unwrap();
    server.book().refuse_registration = Some(ErrorCode::Conflict);
    let error = start(enrolled(&server, folder.path()), pending()).await.err().unwrap();
    assert_eq!(error.exit_code(), 77, "{error}");
    assert_eq!(server.book().orders, [order]);
    let unit = include_str!("../../deploy/cyx-node.service");
    let prevented = unit.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus=")).unwrap();
    assert!(prevented.split(' ').any(|code| code == "77"), "{prevented}");
}

#[tokio::test]
async fn no_node_leaves_for_good_without_a_word() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    start(enrolled(&server, folder.path()), pending()).await.unwrap().stop().await.unwrap();
    let (data, home) = (folder.path().join("data"), folder.path().join("home"));
    let (gateway, central) = (format!("http://{}", server.rest), format!("http://{}", server.grpc));
    let exit = async |flag: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cyx-node"));
        command.arg("exit").args(flag).env("CYXCLOUD_HOME", &home).env("STORAGE_PATH", &data).stdin(Stdio::null());
        command.env("CYXWIZ_API_URL", &gateway).env("CENTRAL_SERVER_ADDR", &central);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    let refused = exit(None).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(64), "{said}");
    assert!(said.contains("has to be confirmed") && said.contains("--yes"), "{said}");
    let begin = i32::from(Action::Begin);
    assert!(!server.book().exits.contains(&begin));
    let meant = exit(Some("--yes")).await;
    assert!(meant.status.success(), "{meant:?}");
    assert!(server.book().exits.contains(&begin));
}

#[tokio::test]
async fn an_operator_logs_in_with_password_and_code() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let operator = |password: &str, otp: &str| Options {
        email: Some(EMAIL.to_owned()),
        password: Some(password.to_owned().into()),
        otp: Some(otp.to_owned().into()),
        ..options(&server, folder.path())
    };
    let wrong = start(config(operator("wrong", CODE)), pending()).await.err().unwrap();
    assert!(matches!(wrong, Error::Refused { code: ErrorCode::InvalidCredentials, .. }) && wrong.exit_code() == 77);
    let wrong = start(config(operator(PASSWORD, "000000")), pending()).await.err().unwrap();
    assert!(matches!(wrong, Error::Refused { code: ErrorCode::OtpInvalid, .. }));
    let node = start(config(operator(PASSWORD, CODE)), pending()).await.unwrap();
    assert_eq!(server.book().logouts, 1);
    assert_eq!(server.book().machines.len(), 1);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_can_never_work_ends_with_a_sentence() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let bad_token = Options { enroll_token: Some("nonsense".to_owned().into()), ..options(&server, folder.path()) };
    let error = start(config(bad_token), pending()).await.err().unwrap();
    assert!(error.to_string().starts_with("the server refused the registration of this machine"), "{error}");
    let small = Options { storage_gb: Some(2), ..options(&server, folder.path()) };
    let error = start(config(small), pending()).await.err().unwrap();
    assert!(error.to_string().starts_with("Insufficient storage") && error.exit_code() == 78, "{error}");
    let other = Options { node_id: Some(NodeId([9; 16])), ..options(&server, folder.path()) };
    let error = start(config(other), pending()).await.err().unwrap();
    assert!(matches!(error, Error::OtherNode { .. }), "{error}");
    server.book().refuse_registration = Some(ErrorCode::InvalidArgument);
    let error = start(enrolled(&server, folder.path()), pending()).await.err().unwrap();
    assert_eq!(
        (error.to_string().as_str(), error.exit_code()),
        ("the server refused the registration of this node: not here", 78)
    );
    // A failed start leaves nothing running: the data directory is free.
    server.book().refuse_registration = None;
    start(enrolled(&server, folder.path()), pending()).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_node_waits_for_a_server_that_is_away() {
    let (server, sockets) = Server::bind();
    let folder = tempfile::tempdir().unwrap();
    let starting = tokio::spawn(start(enrolled(&server, folder.path()), pending()));
    // It has come as far as its files, so it is running and waiting.
    while !folder.path().join("data/ledger.redb").exists() && !starting.is_finished() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.open(sockets);
    starting.await.unwrap().unwrap().stop().await.unwrap();
    // And ends in order while it waits.
    let (away, _sockets) = Server::bind();
    let other = tempfile::tempdir().unwrap();
    let abandoned = start(enrolled(&away, other.path()), tokio::time::sleep(Duration::from_millis(50))).await;
    assert!(matches!(abandoned.err().unwrap(), Error::Ended));
}

#[tokio::test]
async fn refused_tokens_are_renewed_and_a_forgotten_node_registers_again() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let node = start(enrolled(&server, folder.path()), pending()).await.unwrap();
    let beats = server.book().heartbeats.len();
    server.book().tokens.clear();
    server.until("a heartbeat with a new token", |book| book.heartbeats.len() > beats + 1).await;
    server.book().known = false;
    server.until("another registration", |book| book.registrations.len() == 2).await;
    // A machine that was revoked enrols anew, because the enrolment token is at hand.
    server.book().machines.clear();
    server.book().tokens.clear();
    let beats = server.book().heartbeats.len();
    server.until("a new machine", |book| book.machines.len() == 1 && book.heartbeats.len() > beats).await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_node_that_the_server_refuses_does_not_say_that_it_is_registered() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let node = start(enrolled(&server, folder.path()), pending()).await.unwrap();
    let get = async |path: &str| reqwest::get(format!("http://{}{path}", node.metrics())).await.unwrap();
    let until = async |healthy: bool, status: &str| {
        for _ in 0..200 {
            let answer = get("/health").await;
            let code = answer.status().as_u16();
            let health: serde_json::Value = answer.json().await.unwrap();
            if health["registered"] == healthy {
                assert_eq!((health["status"].as_str().unwrap(), code), (status, if healthy { 200 } else { 503 }));
                let seen: serde_json::Value = get("/status").await.json().await.unwrap();
                assert_eq!(seen["registered"], healthy);
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it is never {status}");
    };
    until(true, "ok").await;
    {
        let mut book = server.book();
        (book.known, book.refuse_registration) = (false, Some(ErrorCode::Conflict));
    }
    until(false, "refused").await;
    server.book().refuse_registration = None;
    until(true, "ok").await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn keep_lists_are_followed_and_confirmed() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let node = start(enrolled(&server, folder.path()), pending()).await.unwrap();
    let [kept, dropped, absent] = [1, 2, 3].map(|first| ChunkId([first; 16]));
    store(&node, kept, b"kept").await;
    store(&node, dropped, b"dropped").await;
    let list = KeepList {
        key: sign::key_id(&key().verifying_key().to_bytes()),
        node: node.id(),
        incarnation: Incarnation { time: 5, random: 6 },
        sequence: 9,
        before: u64::MAX,
        first: ChunkId([0; 16]),
        last: ChunkId([0xff; 16]),
    };
    let ids = [kept, absent];
    {
        let mut book = server.book();
        book.lists = vec![KeepListPart {
            signed: list.sign(&ids, &key()).into(),
            ids: ids.iter().flat_map(|id| id.0).collect::<Vec<u8>>().into(),
        }];
        book.sequence = 9;
    }
    server.until("the confirmation", |book| !book.confirmed.is_empty()).await;
    let confirmed = server.book().confirmed[0].clone();
    assert_eq!((confirmed.sequence, &confirmed.last[..], confirmed.trashed_chunks), (9, &[0xff; 16][..], 1));
    assert_eq!(confirmed.missing, [Bytes::copy_from_slice(&absent.0)]);
    let state = async |id| node.node().store.stat(id).await.unwrap().unwrap().state;
    assert_eq!((state(kept).await, state(dropped).await), (ChunkState::Live, ChunkState::Trashed));
    // Done is done.
    let beats = server.book().heartbeats.len();
    server.until("more heartbeats", |book| book.heartbeats.len() > beats + 3).await;
    assert_eq!(server.book().confirmed.len(), 1);
    // A list that the server did not sign moves nothing.
    let forged = KeepList { sequence: 10, ..list };
    {
        let mut book = server.book();
        let signed = forged.sign(&[], &ed25519_dalek::SigningKey::from_bytes(&[1; 32])).into();
        book.lists = vec![KeepListPart { signed, ids: Bytes::new() }];
        book.sequence = 10;
    }
    let beats = server.book().heartbeats.len();
    server.until("more heartbeats", |book| book.heartbeats.len() > beats + 3).await;
    assert_eq!(state(kept).await, ChunkState::Live);
    assert_eq!(server.book().confirmed.len(), 1);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn damage_is_reported_once() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let node = start(enrolled(&server, folder.path()), pending()).await.unwrap();
    let id = ChunkId::random();
    store(&node, id, b"some bytes").await;
    let volume =
        std::fs::OpenOptions::new().write(true).open(folder.path().join("data/volumes/00000001.cyxvol")).unwrap();
    volume.write_all_at(b"S", 4096 + 128).unwrap();
    assert!(node.node().store.read(id, 0..1).await.is_err());
    server.until("the report", |book| book.damaged == [id]).await;
    let beats = server.book().heartbeats.len();
    server.until("more heartbeats", |book| book.heartbeats.len() > beats + 3).await;
    assert_eq!(server.book().damaged, [id]);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn damage_that_cannot_be_reported_holds_up_nothing_else() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    server.book().refuse_damage = true;
    let node = start(enrolled(&server, folder.path()), pending()).await.unwrap();
    let id = ChunkId::random();
    store(&node, id, b"some bytes").await;
    let volume =
        std::fs::OpenOptions::new().write(true).open(folder.path().join("data/volumes/00000001.cyxvol")).unwrap();
    volume.write_all_at(b"S", 4096 + 128).unwrap();
    assert!(node.node().store.read(id, 0..1).await.is_err());
    let list = KeepList {
        key: sign::key_id(&key().verifying_key().to_bytes()),
        node: node.id(),
        incarnation: Incarnation { time: 5, random: 6 },
        sequence: 9,
        before: 1,
        first: ChunkId([0; 16]),
        last: ChunkId([0xff; 16]),
    };
    {
        let mut book = server.book();
        book.lists = vec![KeepListPart { signed: list.sign(&[id], &key()).into(), ids: id.0.to_vec().into() }];
        book.sequence = 9;
    }
    server.until("the confirmation", |book| !book.confirmed.is_empty()).await;
    server.book().refuse_damage = false;
    server.until("the report", |book| book.damaged == [id]).await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn damage_that_nobody_asked_for_is_found_and_reported() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let node = start(enrolled(&server, folder.path()), pending()).await.unwrap();
    let (id, whole) = (ChunkId([3; 16]), ChunkId([4; 16]));
    store(&node, id, b"some bytes").await;
    store(&node, whole, b"other bytes").await;
    node.stop().await.unwrap();
    let volume =
        std::fs::OpenOptions::new().write(true).open(folder.path().join("data/volumes/00000001.cyxvol")).unwrap();
    volume.write_all_at(b"S", 4096 + 128).unwrap();
    let node = start(enrolled(&server, folder.path()), pending()).await.unwrap();
    server.until("the report", |book| book.damaged == [id]).await;
    assert!(node.node().store.read(whole, 0..1).await.is_ok());
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_restored_server_is_noticed_by_its_incarnation() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let node = start(enrolled(&server, folder.path()), pending()).await.unwrap();
    assert_eq!(node.node().store.held_incarnation().unwrap(), None);
    let new = Incarnation { time: 50, random: 1 };
    server.book().incarnation = new;
    let beats = server.book().heartbeats.len();
    server.until("more heartbeats", |book| book.heartbeats.len() > beats + 2).await;
    assert_eq!(node.node().store.held_incarnation().unwrap(), Some(new));
    node.stop().await.unwrap();
}

/// The program itself: the ready line, the metrics port, and an orderly end on SIGTERM.
#[tokio::test]
async fn the_program_says_when_it_is_ready_and_ends_in_order() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut child = Command::new(env!("CARGO_BIN_EXE_cyx-node"))
        .args(["--grpc-host", "127.0.0.1", "--grpc-port", "0", "--metrics-port", "0", "--print-ready"])
        .args(["--gateway", &format!("http://{}", server.rest), "--central-server", &format!("http://{}", server.grpc)])
        .arg("--ready-file")
        .arg(folder.path().join("ready.json"))
        .env("CYXWIZ_ENROLL_TOKEN", ENROLMENT)
        .env("CYXCLOUD_HOME", folder.path())
        .env("STORAGE_PATH", folder.path().join("data"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = child.stdout.take().unwrap();
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        line
    });
    let line = line.await.unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("ready.json")).unwrap(), line);
    assert_eq!((&ready["ready"], &ready["pid"]), (&serde_json::json!(true), &serde_json::json!(child.id())));
    let metrics = ready["metrics"].as_str().unwrap();
    let get = async |path: &str| reqwest::get(format!("http://{metrics}{path}")).await.unwrap().text().await.unwrap();
    let health: serde_json::Value = serde_json::from_str(&get("/health").await).unwrap();
    assert_eq!((&health["status"], &health["node_id"]), (&serde_json::json!("ok"), &ready["node_id"]));
    assert!(get("/version").await.contains(env!("CARGO_PKG_VERSION")));
    let text = get("/metrics").await;
    for name in ["cyx_node_chunks 0", "cyx_node_registered 1", "cyx_node_free_bytes"] {
        assert!(text.contains(name), "{name} in {text}");
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn usage_and_configuration_have_exit_codes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cyx-node"));
        command.args(args).env("CYXCLOUD_HOME", folder.path()).env("STORAGE_PATH", folder.path()).output().unwrap()
    };
    assert_eq!(run(&["--no-such-flag"]).status.code(), Some(64));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    let plain = run(&["--gateway", "http://cloud.example.org"]);
    assert_eq!(plain.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&plain.stderr).contains("plain text"));
    assert_eq!(run(&["--storage-gb", "1"]).status.code(), Some(78));
    for question in ["status", "confirm"] {
        let nowhere = folder.path().join("none");
        let refused = run(&["trash", question, "--storage-path", nowhere.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!((refused.status.code(), &refused.stdout[..]), (Some(66), &b""[..]), "{said}");
        assert!(said.contains("there is no storage node in") && said.contains("none"), "{said}");
        assert!(!nowhere.exists());
    }
    cyx_node::service::identity::Identity::open(folder.path()).unwrap();
    let nothing = run(&["trash", "confirm"]);
    assert_eq!((nothing.status.code(), &nothing.stdout[..]), (Some(0), &b"Nothing waits for a confirmation.\n"[..]));
}

#[test]
fn who_stops_reading_what_is_printed_is_no_failure() {
    for command in ["example-config", "man"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = Command::new(env!("CARGO_BIN_EXE_cyx-node")).arg(command).stdout(writer).output().unwrap();
        assert!(ended.status.success() && ended.stderr.is_empty(), "{command}: {ended:?}");
    }
}
