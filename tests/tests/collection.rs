//! What is replaced, deleted and given up disappears from the quota and the nodes; what is interrupted can go on for a while.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::Path;
use std::process::Stdio;

use cyx_tests::{Cluster, User, noise, wait_until};

const MIB: usize = 1 << 20;

/// What was deleted and replaced is collected as soon as possible.
const QUICK: [&str; 4] = ["--job-seconds=1", "--heartbeat-seconds=1", "--trash-seconds=1", "--superseded-seconds=1"];
/// And what is on its way, so no upload may be: on a slow machine it would lose what it has stored.
const AT_ONCE: [&str; 6] =
    [QUICK[0], QUICK[1], QUICK[2], QUICK[3], "--staged-seconds=2", "--keep-list-margin-seconds=8"];

fn quota(user: &User, field: &str) -> u64 {
    user.ok(["quota", "--json"]).json()[field].as_u64().unwrap()
}

/// Begins an upload of 160 MiB and kills it when a node has a quarter of what it will get.
fn interrupt(cluster: &Cluster, user: &User, source: &Path) {
    let volume = cluster.volumes(0).pop().unwrap();
    let length = || fs::metadata(&volume).map_or(0, |found| found.len());
    let before = length();
    let mut command = user.command(["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref()]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("a part of it is stored", || length() > before + (20 << 20));
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was killed before it was done");
}

#[test]
fn in_the_end_nodes_hold_what_files_need_and_the_quota_is_its_sum() {
    let cluster = Cluster::start_with(3, &QUICK, &[]);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let kept = noise(1, 3 * MIB);
    user.write("docs", "kept", &kept);
    let (used, chunks) = (quota(&user, "used_bytes"), cluster.metric_sum("cyx_node_chunks"));

    user.write("docs", "replaced", &noise(2, 2 * MIB));
    user.write("docs", "replaced", &noise(3, MIB));
    user.ok(["delete", "docs", "replaced"]);
    for number in 0..20 {
        user.file(&format!("tree/{number}"), &noise(number, 10_000));
    }
    let tree = user.path("tree");
    user.ok(["upload".as_ref(), tree.as_os_str(), "--bucket".as_ref(), "docs".as_ref(), "-r".as_ref()]);
    user.ok(["delete", "docs", "tree", "-r"]);
    // Given up by its owner, and given up in silence.
    for (seed, name) in [(5, "aborted"), (6, "forgotten")] {
        let source = user.file(name, &noise(seed, 160 * MIB));
        interrupt(&cluster, &user, &source);
        if name == "aborted" {
            user.ok(["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref(), "--abort".as_ref()]);
        }
    }

    cluster.kill_server();
    cluster.up_with(&AT_ONCE);
    wait_until("the nodes dropped what nothing refers to", || cluster.metric_sum("cyx_node_chunks") == chunks);
    assert!(cluster.metric_sum("cyx_node_trash_chunks") > 0, "it is in their trash, not destroyed");
    wait_until("the quota is that of the file that is left", || quota(&user, "used_bytes") == used);
    assert_eq!(user.read("docs", "kept"), kept);
    assert_eq!(user.ok(["list", "docs", "-r", "--json"]).json_lines().len(), 1);
    cluster.assert_consistent();
}

#[test]
fn an_upload_whose_stages_were_collected_stores_them_again() {
    let cluster = Cluster::start_with(3, &QUICK, &[]);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let content = noise(1, 160 * MIB);
    let source = user.file("big", &content);
    interrupt(&cluster, &user, &source);
    user.fails(3, ["stat", "docs", "big"]);
    cluster.kill_server();
    cluster.up_with(&AT_ONCE);
    wait_until("what was staged is collected", || cluster.metric_sum("cyx_node_chunks") == 0);
    cluster.kill_server();
    cluster.up_with(&QUICK);
    user.ok(["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref()]);
    assert_eq!(user.read("docs", "big"), content);
    let stat = user.ok(["stat", "docs", "big", "--scrub", "--json"]).json();
    assert_eq!(stat["survives"], 1, "{stat}");
    cluster.assert_consistent();
}
