//! What is deleted leaves the nodes, slowly; what is not, never does: not after an interrupted upload, not after a restore.

#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "metrics are floats")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cyx_tests::{Cluster, noise, program, wait_until};

const MIB: usize = 1 << 20;

/// Collects every second; keep-lists cover what is older than two days.
const SLOW: [&str; 3] = ["--job-seconds=1", "--heartbeat-seconds=1", "--superseded-seconds=1"];
/// They cover what is older than a few seconds. No upload may be on its way: on a slow machine it would lose what it has stored.
const QUICK: [&str; 4] = [SLOW[0], SLOW[1], SLOW[2], "--keep-list-margin-seconds=10"];

/// Sum of a number over the metrics of all nodes.
fn sum(cluster: &Cluster, name: &str) -> u64 {
    let status = cluster.status();
    let nodes = status["nodes"].as_array().expect("a list of nodes");
    nodes.iter().map(|node| metric(node["metrics"].as_str().expect("an address of metrics"), name)).sum()
}

fn metric(url: &str, name: &str) -> u64 {
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("an address");
    let mut stream = TcpStream::connect(host).expect("the node answers");
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").expect("the request is sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the answer is text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse::<f64>().map_or(0, |value| value as u64)
}

fn live(cluster: &Cluster) -> u64 {
    sum(cluster, "cyx_node_chunks")
}

fn trashed(cluster: &Cluster) -> u64 {
    sum(cluster, "cyx_node_trash_chunks")
}

/// Runs `cyx-server` with a command on the cluster's data folder, or another.
fn server(data_dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new(program("cyx-server"));
    let output = command.args(args).arg("--data-dir").arg(data_dir).output().expect("cyx-server runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Begins rounds of keep-lists which cover what is older than a second: whoever begins a round decides that. What was deleted a second ago is
/// given up.
fn collect_young(data_dir: &Path) -> String {
    server(data_dir, &["collect", SLOW[0], SLOW[2], "--keep-list-margin-seconds=1"])
}

/// Waits for a whole such round of all three nodes that began after this was called.
fn await_round(data_dir: &Path) {
    // A round begins for a node only when its last one is finished: the second time that rounds begin for all, those that began
    // the first time are.
    for _ in 0..2 {
        wait_until("rounds begin for all nodes", || {
            let all = collect_young(data_dir).contains("keep-lists for 3 nodes");
            if !all {
                // Begun again at once, a node that is slower than the others would be out of step with them for ever.
                std::thread::sleep(Duration::from_secs(3));
            }
            all
        });
    }
}

#[test]
fn deleted_content_leaves_the_nodes_and_everything_else_stays() {
    let cluster = Cluster::start_with(3, &SLOW, &[]);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let kept = noise(1, 3 * MIB);
    user.write("docs", "kept", &kept);
    let chunks_of_kept = live(&cluster);
    user.write("docs", "gone", &noise(2, 3 * MIB));
    user.write("docs", "replaced", &noise(3, 3 * MIB));
    assert!(chunks_of_kept > 0 && live(&cluster) > 2 * chunks_of_kept);

    user.ok(["delete", "docs", "gone", "--permanent"]);
    user.write("docs", "replaced", b"short now");
    cluster.kill_server();
    cluster.up_with(&QUICK);
    wait_until("the nodes dropped what nothing refers to", || live(&cluster) == chunks_of_kept);
    assert!(trashed(&cluster) > 0, "it is in their trash, not destroyed");
    assert_eq!(user.read("docs", "kept"), kept);
    assert_eq!(user.read("docs", "replaced"), b"short now");
    let stat = user.ok(["stat", "docs", "kept", "--json"]).json();
    assert_eq!(stat["survives"], 1, "{stat}");
}

#[test]
fn a_server_restored_from_an_old_backup_destroys_nothing() {
    let cluster = Cluster::start_with(3, &SLOW, &[]);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let old = noise(1, 3 * MIB);
    user.write("docs", "old", &old);
    let data_dir = cluster.dir().join("server");
    let backup = cluster.dir().join("backup");
    server(&data_dir, &["backup", "--to", backup.to_str().expect("UTF-8")]);
    let new = noise(2, 3 * MIB);
    user.write("docs", "new", &new);
    let chunks = live(&cluster);

    // Yesterday's database takes the place of today's.
    cluster.kill_server();
    let today = cluster.dir().join("server-of-today");
    fs::rename(&data_dir, &today).expect("the data folder can be moved");
    server(&data_dir, &["restore", "--from", backup.to_str().expect("UTF-8")]);
    cluster.up_with(&QUICK);
    let refused = user.fails(4, ["list", "docs"]);
    assert!(refused.stderr.contains("--accept-changes"), "{}", refused.stderr);
    for _ in 0..3 {
        server(&data_dir, &["collect"]);
    }
    assert_eq!((live(&cluster), trashed(&cluster)), (chunks, 0), "no node was told to drop anything");

    // An administrator who did not notice lets the server go on.
    server(&data_dir, &["collect", "--resume"]);
    wait_until("the nodes dropped what the old database does not know", || live(&cluster) < chunks);
    // What moves between the two looks is seen twice.
    wait_until("but destroyed none of it", || live(&cluster) + trashed(&cluster) == chunks);

    // And then finds today's database.
    cluster.kill_server();
    fs::remove_dir_all(&data_dir).expect("the restored folder can be removed");
    fs::rename(&today, &data_dir).expect("the data folder can be moved back");
    server(&data_dir, &["new-incarnation"]);
    cluster.up();
    server(&data_dir, &["collect", "--resume"]);
    wait_until("the nodes took everything back", || live(&cluster) == chunks);
    // Another machine has not seen the server go back, and need not be asked.
    let user = user.elsewhere(&cluster);
    assert_eq!(user.read("docs", "old"), old);
    assert_eq!(user.read("docs", "new"), new);
}

#[test]
fn an_upload_interrupted_for_longer_than_a_collection_goes_on() {
    // Only this test begins rounds, so that it knows when one is over.
    let cluster = Cluster::start_with(3, &["--job-seconds=3600", "--heartbeat-seconds=1"], &[]);
    let data_dir = cluster.dir().join("server");
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "gone", &noise(2, 3 * MIB));
    let gone = live(&cluster);
    user.ok(["delete", "docs", "gone", "--permanent"]);
    wait_until("rounds reach what is young, too", || {
        collect_young(&data_dir);
        gone > 0 && trashed(&cluster) == gone
    });
    let content = noise(1, 96 * MIB);
    let source = user.file("big", &content);
    let upload = ["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref()];
    let mut child = user.command(upload).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("cyx runs");
    wait_until("some of it is stored", || live(&cluster) > 0);
    child.kill().expect("the upload is ours");
    child.wait().expect("it ends");
    await_round(&data_dir);
    user.ok(upload);
    assert_eq!(user.read("docs", "big"), content);
}
