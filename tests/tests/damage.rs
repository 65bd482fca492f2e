//! Nodes whose disks rot: what they keep is found not to be what they were given, said so, and read around.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use cyx_tests::{Cluster, User, noise, wait_until};
use serde_json::Value;

const MIB: usize = 1 << 20;
/// Bytes of a volume before its first record, and the distance of records.
const BLOCK: u64 = 4096;

/// Flips a bit in every block behind the volume's header.
fn flip_bits(volume: &Path) {
    let file = OpenOptions::new().read(true).write(true).open(volume).unwrap();
    let mut at = BLOCK + 2000;
    while at < file.metadata().unwrap().len() {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
        at += BLOCK;
    }
}

/// Does something to the only volume of a node while the node is down.
fn with_volume(cluster: &Cluster, index: usize, harm: impl FnOnce(&Path)) {
    cluster.stop_node(index);
    let volumes = cluster.volumes(index);
    assert_eq!(volumes.len(), 1, "{volumes:?}");
    harm(&volumes[0]);
    cluster.start_node(index);
}

fn stat(user: &User, extra: &[&str]) -> Value {
    user.ok(["stat", "docs", "file", "--json"].iter().chain(extra)).json()
}

#[test]
fn bits_that_flip_volumes_that_end_early_and_swapped_ones_are_found_and_survived() {
    let cluster = Cluster::start_with(14, &["--heartbeat-seconds=1", "--repair-tasks=0"], &[]);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let content = noise(1, 11 * MIB);
    user.write_whole("docs", "file", &content);
    let lost: u64 = (0..4).map(|index| cluster.metric(index, "cyx_node_chunks")).sum();
    assert!(lost > 0);

    with_volume(&cluster, 0, flip_bits);
    with_volume(&cluster, 1, |volume| {
        OpenOptions::new().write(true).open(volume).unwrap().set_len(BLOCK + 1000).unwrap();
    });
    cluster.stop_node(3);
    with_volume(&cluster, 2, |volume| {
        let (other, aside) = (cluster.volumes(3).remove(0), volume.with_extension("aside"));
        fs::rename(volume, &aside).unwrap();
        fs::rename(&other, volume).unwrap();
        fs::rename(&aside, &other).unwrap();
    });
    cluster.start_node(3);

    assert_eq!(user.read("docs", "file"), content);
    let found = stat(&user, &["--scrub"]);
    assert_eq!((&found["survives"], &found["shards_healthy"]), (&0.into(), &10.into()), "{found}");
    let damaged = || (0..4).map(|index| cluster.metric(index, "cyx_node_damaged_chunks")).sum::<u64>();
    assert_eq!(damaged(), lost, "every chunk of the four nodes is known to be damaged");
    // What nodes reported counts as missing for the server: clients are not sent there any more.
    wait_until("the server knows", || {
        let found = stat(&user, &[]);
        found["nodes_faulty"].as_array().is_some_and(Vec::is_empty) && found["shards_healthy"] == 10
    });
    assert_eq!(user.read("docs", "file"), content);

    // The four nodes go on with what is new.
    let more = noise(2, 3 * MIB);
    user.write_whole("docs", "more", &more);
    assert_eq!(user.read("docs", "more"), more);
    let found = user.ok(["stat", "docs", "more", "--scrub", "--json"]).json();
    assert_eq!(found["survives"], 4, "{found}");
}

#[test]
fn with_five_nodes_damaged_a_download_says_so_and_leaves_nothing() {
    let cluster = Cluster::start_with(14, &["--repair-tasks=0"], &[]);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    user.write_whole("docs", "file", &noise(1, 5 * MIB));
    for index in [1, 3, 5, 7, 9] {
        with_volume(&cluster, index, flip_bits);
    }
    let target = user.path("file");
    let download = ["download".as_ref(), "docs".as_ref(), "--key".as_ref(), "file".as_ref(), "-o".as_ref()];
    let run = user.fails(1, download.into_iter().chain([target.as_os_str()]));
    assert!(run.stderr.contains("5 shards are damaged or lost") && run.stderr.contains("10 are needed"), "{run:?}");
    assert!(!run.stderr.contains("Try again later"), "waiting does not help: {run:?}");
    assert!(!target.exists(), "nothing may stand under the final name");
    let found = stat(&user, &[]);
    assert_eq!((&found["readable"], &found["shards_healthy"]), (&false.into(), &9.into()), "{found}");
}
