//! Storage nodes fail: before, during and after a transfer.

#![allow(clippy::unwrap_used, missing_docs)]

use std::process::Stdio;

use cyx_tests::{Cluster, noise, wait_until};

const MIB: usize = 1 << 20;

#[test]
fn with_five_of_fourteen_nodes_dead_a_download_says_so_and_leaves_nothing() {
    let cluster = Cluster::start(14);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let content = noise(1, 6 * MIB);
    user.write_whole("docs", "file", &content);

    for index in 0..4 {
        cluster.kill_node(index);
    }
    assert_eq!(user.read("docs", "file"), content);

    cluster.kill_node(4);
    let target = user.path("file");
    let run = user.fails(
        6,
        ["download".as_ref(), "docs".as_ref(), "--key".as_ref(), "file".as_ref(), "-o".as_ref(), target.as_os_str()],
    );
    assert!(run.stderr.contains("9 shards are reachable, 10 are needed"), "{run:?}");
    assert!(!target.exists(), "nothing may stand under the final name");

    cluster.start_node(2);
    assert_eq!(user.read("docs", "file"), content);
}

#[test]
fn what_stat_says_a_file_survives_is_what_it_survives() {
    let cluster = Cluster::start(14);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let content = noise(2, 3 * MIB);
    user.write_whole("docs", "file", &content);
    let survives = |user: &cyx_tests::User| user.ok(["stat", "docs", "file", "--json"]).json()["survives"].as_u64();
    assert_eq!(survives(&user), Some(4));
    cluster.kill_node(3);
    cluster.kill_node(11);
    assert_eq!(survives(&user), Some(2));
    cluster.kill_node(5);
    cluster.kill_node(6);
    assert_eq!(survives(&user), Some(0));
    assert_eq!(user.read("docs", "file"), content);
    cluster.kill_node(7);
    let stat = user.ok(["stat", "docs", "file", "--json"]).json();
    assert_eq!((&stat["survives"], &stat["readable"]), (&serde_json::Value::Null, &serde_json::json!(false)), "{stat}");
    assert_eq!(stat["nodes_unreachable"].as_array().map(Vec::len), Some(5), "{stat}");
    user.fails(6, ["download", "docs", "--key", "file", "-o", "-"]);
}

#[test]
fn two_nodes_dying_during_an_upload_leave_it_acknowledged() {
    let cluster = Cluster::start(14);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let content = noise(3, 160 * MIB);
    let source = user.file("big", &content);
    let volume = cluster.volumes(1).pop().unwrap();
    let length = || std::fs::metadata(&volume).map_or(0, |found| found.len());
    let empty = length();
    let mut command = user.command(["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("a part of it is stored", || length() > empty + MIB as u64);
    cluster.kill_node(1);
    cluster.kill_node(8);
    assert!(child.try_wait().unwrap().is_none(), "the upload was done before the nodes died");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(user.read("docs", "big"), content);
}

#[test]
fn with_ten_nodes_alive_the_next_scheme_is_used() {
    // The server takes them for alive for longer than this test lasts: the client finds out which are not.
    let cluster = Cluster::start(14);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    for index in 0..4 {
        cluster.kill_node(index);
    }
    let content = noise(4, 2 * MIB);
    user.write_whole("docs", "file", &content);
    let stat = user.ok(["stat", "docs", "file", "--json"]).json();
    assert_eq!(stat["scheme"], "6+3", "{stat}");
    assert_eq!(user.read("docs", "file"), content);
    for index in 4..7 {
        cluster.kill_node(index);
    }
    assert_eq!(user.read("docs", "file"), content);
}

#[test]
fn a_cluster_without_enough_nodes_refuses_to_upload() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    for index in 0..3 {
        cluster.kill_node(index);
    }
    let source = user.file("file", &noise(5, MIB));
    let run = user.fails(6, ["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref()]);
    // Who says it depends on whether the server has noticed yet.
    let said = ["0 shards are reachable", "none of 3 storage nodes can store anything now"];
    assert!(said.iter().any(|sentence| run.stderr.contains(sentence)), "{run:?}");
    user.fails(3, ["stat", "docs", "file"]);
}

/// A shard that is missing is computed from as many bytes of others as a whole segment has.
#[test]
fn a_long_file_is_read_once_though_nodes_are_dead() {
    let cluster = Cluster::start_with(14, &["--plan-free-traffic-bytes=1000000000000"], &[]);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let content = noise(3, 240 * MIB);
    user.write_whole("docs", "file", &content);
    (0..4).for_each(|index| cluster.kill_node(index));
    let served = || (4..14).map(|index| cluster.metric(index, "cyx_node_served_bytes_total")).sum::<u64>();
    let read = || {
        assert!(user.read("docs", "file") == content, "other bytes came back");
        served()
    };
    // Each download finds out who is dead, and on a busy machine asks others for what is late: that is a part of it, once in a while more.
    let counts = [read(), read(), read(), read()];
    let least = counts.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(least < content.len() as u64 * 6 / 5, "{least} bytes were read for {}", content.len());
}
