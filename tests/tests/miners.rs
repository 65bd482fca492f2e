//! Becoming an operator: a token or a login, a node, and what it earns.

#![allow(clippy::unwrap_used, missing_docs)]

use std::process::{Child, Command, Stdio};

use cyx_tests::{Cluster, User, noise, program, wait_until};
use serde_json::Value;

/// Collections every second, epochs of five, and rates at which seconds are worth something.
const SERVER: [&str; 6] = [
    "--job-seconds=1",
    "--epoch-seconds=5",
    "--storage-rate=1000000000000",
    "--traffic-rate=1000000",
    "--hold-percent=20",
    "--heartbeat-seconds=1",
];

/// A node of this user on this machine; stopped when dropped.
struct Miner<'a> {
    user: &'a User,
    id: String,
}

impl<'a> Miner<'a> {
    /// The server says where nodes register, and a later start remembers it.
    fn start(user: &'a User) -> Self {
        let started = user.ok(start(None)).json();
        Self { user, id: started["node_id"].as_str().unwrap().to_owned() }
    }

    fn status(&self) -> Value {
        self.user.ok(["node", "status", "--json"]).json()
    }

    fn earnings(&self) -> Vec<Value> {
        self.user.ok(["node", "earnings", "--epochs", "400", "--json"]).json_lines()
    }
}

impl Drop for Miner<'_> {
    fn drop(&mut self) {
        self.user.cyx(["node", "stop"]);
    }
}

fn start(central: Option<&str>) -> Vec<&str> {
    let mut typed = vec!["node", "start", "--storage-gb", "3", "--grpc-port", "0", "--metrics-port", "0"];
    typed.extend(["--payout-address", "account-7", "--json"]);
    typed.extend(central.into_iter().flat_map(|central| ["--central-server", central]));
    typed.extend(["--", "--grpc-host", "127.0.0.1"]);
    typed
}

#[test]
fn a_node_of_ones_own_is_started_watched_paid_and_stopped() {
    let cluster = Cluster::start_with(1, &SERVER, &[]);
    let ada = cluster.user("ada");
    assert_eq!(ada.cyx(["node", "status"]).code, 1);
    let miner = Miner::start(&ada);
    let again = ada.cyx(start(None));
    assert!(again.code == 1 && again.stderr.contains("runs already"), "{again:?}");

    let status = miner.status();
    assert_eq!((&status["running"], &status["local"]["registered"]), (&true.into(), &true.into()));
    assert_eq!(status["local"]["reserved_bytes"], 2_147_483_648_u64);
    assert_eq!(
        (&status["server"]["state"], &status["server"]["payout_address"]),
        (&"online".into(), &"account-7".into())
    );
    assert!(status["server"]["hardware"]["disk_mb"].as_u64().unwrap() > 0);
    let listed = ada.ok(["node", "list", "--json"]).json_lines();
    assert_eq!(listed.iter().map(|node| node["node_id"].as_str().unwrap()).collect::<Vec<_>>(), [miner.id.as_str()]);

    // Two nodes: each holds a copy.
    ada.ok(["bucket", "create", "docs"]);
    ada.write("docs", "film", &noise(1, 2_000_000));
    wait_until("the node holds a copy", || miner.status()["local"]["chunks"].as_u64().unwrap() > 0);
    let earned = |line: &Value| {
        line["open"] == false && line["traffic_bytes"].as_u64() > Some(0) && line["operator_micros"].as_u64() > Some(0)
    };
    wait_until("an epoch with traffic is over", || miner.earnings().iter().any(earned));
    let kept = |line: &Value| line["open"] == false && line["user_byte_seconds"] != "0";
    wait_until("an epoch with the copy is over", || miner.earnings().iter().any(kept));
    let lines = miner.earnings();
    let line = lines.iter().find(|line| earned(line)).unwrap();
    let (operator, platform) = (line["operator_micros"].as_u64().unwrap(), line["platform_micros"].as_u64().unwrap());
    assert_eq!(operator, (operator + platform) * 90 / 100);
    assert_eq!(line["held_micros"], operator * 20 / 100);

    let verified = ada.ok(["node", "earnings", "--epochs", "400", "--verify", "--json"]).json_lines();
    let closed: Vec<&Value> = verified.iter().filter(|line| line["open"] == false).collect();
    assert!(!closed.is_empty() && closed.iter().all(|line| line["verified"] == true), "{verified:?}");
    let payouts = cluster.dir().join("server/payouts");
    wait_until("payouts are written", || {
        let files = std::fs::read_dir(&payouts).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).any(|text| text.contains("\"account-7\""))
    });

    ada.ok(["node", "stop"]);
    assert_eq!(ada.cyx(["node", "status", "--json"]).code, 1);
    assert_eq!(Miner::start(&ada).id, miner.id, "it is the same node");
    cluster.assert_consistent();
}

#[test]
fn a_token_makes_a_machine_without_a_login_a_node_once() {
    let cluster = Cluster::start(1);
    let ada = cluster.user("ada");
    let made = ada.ok(["node", "enroll", "--label", "rack 1", "--json"]).json();
    let token = made["token"].as_str().unwrap();
    let central = made["central_server"].as_str().unwrap();
    assert_eq!(
        (&made["gateway"], central.rsplit(':').next()),
        (&cluster.gateway().into(), made["node_port"].as_u64().map(|port| port.to_string()).as_deref())
    );
    let stranger = User::new(&cluster, "nobody");
    let refused = stranger.cyx(start(None));
    assert!(refused.code == 1 && refused.stderr.contains("cyx login"), "{refused:?}");
    let enrolled = |user: &User, token: &str| {
        let output = user.command(start(Some(central))).env("CYXWIZ_ENROLL_TOKEN", token).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, words) = enrolled(&stranger, token);
    let stop = Miner { user: &stranger, id: String::new() };
    assert_eq!(code, Some(0), "{words}");
    assert_eq!(ada.ok(["node", "list", "--json"]).json_lines().len(), 1);
    let other = User::new(&cluster, "other");
    let (code, words) = enrolled(&other, token);
    assert!(code == Some(1) && words.contains("was used"), "{words}");
    // A token of another server is not sent to this one.
    let foreign = format!("cyxn_{}_{}", "0".repeat(32), &token[38..]);
    let (code, words) = enrolled(&other, &foreign);
    assert!(code == Some(1) && words.contains("is not the one that made this enrolment token"), "{words}");
    drop(stop);
}

/// A program; ended when dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_command_that_comes_with_a_token_makes_a_machine_a_node() {
    let cluster = Cluster::start(1);
    let ada = cluster.user("ada");
    let made = ada.ok(["node", "enroll"]);
    let token = String::from_utf8(made.stdout).unwrap();
    let (_, shown) = made.stderr.lines().find_map(|line| line.split_once("CYXWIZ_ENROLL_TOKEN=… ")).unwrap();
    let mut words = shown.split(' ');
    assert_eq!(words.next(), Some("cyx-node"));
    let home = tempfile::tempdir().unwrap();
    // Where it keeps things and listens is this machine's affair.
    let mut command = Command::new(program("cyx-node"));
    command.args(words).args([
        "--storage-gb",
        "3",
        "--grpc-host",
        "127.0.0.1",
        "--grpc-port",
        "0",
        "--metrics-port",
        "0",
    ]);
    command.arg("--home").arg(home.path()).arg("--storage-path").arg(home.path().join("data"));
    command.env("CYXWIZ_ENROLL_TOKEN", token.trim()).env_remove("CENTRAL_SERVER_ADDR");
    let mut node = Program(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    wait_until("the node is registered", || {
        assert!(node.0.try_wait().unwrap().is_none(), "the node ended");
        ada.ok(["node", "list", "--json"]).json_lines().len() == 1
    });
}

/// Files go up while the node hands over what it has. What was promised to the node before is still stored there, moved, and waited for.
#[test]
fn a_node_that_leaves_hands_everything_over_while_people_work() {
    let cluster = Cluster::start_with(3, &SERVER, &[]);
    let ada = cluster.user("ada");
    let miner = Miner::start(&ada);
    let online = || {
        let status = ada.ok(["status", "--json"]).json();
        status["nodes"].as_array().unwrap().iter().filter(|node| node["state"] == "online").count()
    };
    // Three shards each: as long as one of the four is away, the node has one of every file; when it is back, it has none of them.
    cluster.stop_node(2);
    wait_until("the stopped node is missed", || online() == 3);
    ada.ok(["bucket", "create", "docs"]);
    let contents: Vec<_> = (0..12).map(|seed| noise(seed, 400_000 + usize::try_from(seed).unwrap())).collect();
    for (key, content) in contents.iter().take(6).enumerate() {
        ada.write("docs", &format!("file-{key}"), content);
    }
    wait_until("the node holds something", || miner.status()["local"]["chunks"].as_u64().unwrap() > 0);
    assert_eq!(ada.ok(["node", "exit", "--status", "--json"]).json()["leaving"], "none");
    cluster.start_node(2);
    wait_until("the stopped node is back", || online() == 4);
    let ended = std::thread::scope(|scope| {
        let leaving = scope.spawn(|| ada.ok(["node", "exit", "--yes", "--json"]).json_lines().pop().unwrap());
        for (key, content) in contents.iter().enumerate().skip(6) {
            ada.write("docs", &format!("file-{key}"), content);
        }
        leaving.join().unwrap()
    });
    assert_eq!((&ended["leaving"], &ended["chunks_left"]), (&"exited".into(), &0.into()), "{ended}");
    assert!(ended["chunks_moved"].as_u64() > Some(0) && ended["receipt"].is_string(), "{ended}");
    assert_eq!(ada.ok(["node", "exit", "--json"]).json(), ended, "whoever asks again has the receipt");
    let again = ada.cyx(["node", "exit", "--cancel"]);
    assert!(again.code == 1 && again.stderr.contains("exited for good"), "{again:?}");
    drop(miner);
    for (key, content) in contents.iter().enumerate() {
        let key = format!("file-{key}");
        let found = ada.ok(["stat", "docs", &key, "--json"]).json();
        assert_eq!(found["shards_healthy"], found["shards_total"], "{found}");
        assert_eq!(ada.read("docs", &key), *content);
    }
    cluster.assert_consistent();
}

#[test]
fn too_little_room_is_refused_in_words() {
    let cluster = Cluster::start(1);
    let folder = tempfile::tempdir().unwrap();
    let mut node = Command::new(program("cyx-node"));
    node.env_clear().env("CYXCLOUD_HOME", folder.path()).env("STORAGE_PATH", folder.path().join("data"));
    node.args(["--gateway", &cluster.gateway(), "--storage-gb", "2"]);
    let output = node.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(78) && words.contains("Insufficient storage"), "{words}");
}
