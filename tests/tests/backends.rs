//! Nodes that keep their chunks in a bucket do what nodes with disks do.

#![allow(clippy::unwrap_used, missing_docs)]

use cyx_tests::s3::S3;
use cyx_tests::{Cluster, noise, wait_until};

#[test]
fn fourteen_nodes_in_one_bucket_store_serve_and_stand_in_for_each_other() {
    let Some(s3) = S3::start() else { return };
    let mut args = s3.node_args();
    args.push("--storage-gb=4".to_owned());
    let cluster = Cluster::start_with(14, &[], &args.iter().map(String::as_str).collect::<Vec<_>>());
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let contents = [noise(1, 100), noise(2, 70_000), noise(3, 3 << 20), noise(4, (12 << 20) + 5)];
    let read_all = || {
        for (key, content) in contents.iter().enumerate() {
            assert_eq!(user.read("docs", &format!("file-{key}")), *content, "file {key}");
        }
    };
    for (key, content) in contents.iter().enumerate() {
        user.write_whole("docs", &format!("file-{key}"), content);
    }
    read_all();
    for index in 0..4 {
        cluster.kill_node(index);
    }
    read_all();
    // What was acknowledged before the kill is in the bucket, and the index finds it again.
    for index in 0..4 {
        cluster.start_node(index);
    }
    wait_until("the nodes are back", || {
        let found = user.ok(["stat", "docs", "file-3", "--json"]).json();
        found["shards_healthy"] == found["shards_total"]
    });
    for index in 4..8 {
        cluster.kill_node(index);
    }
    read_all();
    cluster.assert_consistent();
    let volumes = cluster.node_dir(0).join("volumes");
    assert!(!volumes.exists(), "nothing is on the disk: {}", volumes.display());
}
