//! What killed, emptied and leaving nodes held is made anew by the others while people work, and every byte reads back.

#![allow(clippy::unwrap_used, missing_docs)]

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cyx_tests::mount::run;
use cyx_tests::{Cluster, Over, User, noise, program, wait_until};
use serde_json::Value;

const MIB: usize = 1 << 20;

fn stat(user: &User, key: &str) -> Value {
    user.ok(["stat", "docs", key, "--json"]).json()
}

/// Whether a file is as whole as on the first day, and nobody who cannot be reached holds a part of it.
fn is_whole(user: &User, key: &str) -> bool {
    let found = stat(user, key);
    found["shards_healthy"] == found["shards_total"] && found["nodes_unreachable"].as_array().is_some_and(Vec::is_empty)
}

#[test]
fn a_killed_node_is_replaced_and_when_it_comes_back_nothing_is_lost() {
    let cluster = Cluster::start(16);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let content = noise(1, 7 * MIB);
    user.write("docs", "file", &content);
    for index in 0..2 {
        cluster.kill_node(index);
    }
    wait_until("what the killed nodes held is made anew", || is_whole(&user, "file"));
    assert_eq!(user.read("docs", "file"), content);
    for index in 0..2 {
        cluster.start_node(index);
    }
    // Now others may go: the repaired shards are as good as the first ones.
    for index in 2..6 {
        cluster.kill_node(index);
    }
    assert_eq!(user.read("docs", "file"), content);
}

/// Files that are written and read without a pause to speak of, until it is over; what they hold then.
fn work(user: &User, over: &AtomicBool) -> Vec<Vec<u8>> {
    let mut contents: Vec<Vec<u8>> = Vec::new();
    let mut round = 0;
    while !over.load(Ordering::Acquire) {
        let content = noise(1000 + round, 200_000 + 150_001 * usize::try_from(round % 7).unwrap());
        let at = usize::try_from(round).unwrap() % 12;
        user.write("docs", &format!("work-{at}"), &content);
        if at < contents.len() {
            contents[at] = content;
        } else {
            contents.push(content);
        }
        let back = usize::try_from(round).unwrap() * 5 % contents.len();
        assert_eq!(user.read("docs", &format!("work-{back}")), contents[back], "round {round}");
        round += 1;
        // A person at work, and not a benchmark.
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(round > 5, "only {round} files were written meanwhile");
    contents
}

#[test]
fn six_of_twenty_nodes_are_replaced_one_after_the_other_while_people_work() {
    let cluster = Cluster::start(26);
    // Those that will take the places of others.
    for index in 20..26 {
        cluster.stop_node(index);
    }
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let mut contents = vec![noise(100, 9 * MIB)];
    user.write("docs", "file-0", &contents[0]);
    let over = AtomicBool::new(false);
    let worked = std::thread::scope(|scope| {
        let worker = scope.spawn(|| work(&user, &over));
        let ending = Over(&over);
        for round in 0..6 {
            cluster.kill_node(round);
            // Work goes on while the node is missed.
            let content = noise(u64::try_from(round).unwrap(), 3 * MIB + round);
            user.write("docs", &format!("file-{}", round + 1), &content);
            contents.push(content);
            assert_eq!(user.read("docs", &format!("file-{round}")), contents[round]);
            cluster.start_node(20 + round);
            // More than a few at once would be more than any segment survives.
            if round % 2 == 1 {
                for key in 0..contents.len() {
                    wait_until("the killed nodes are replaced", || is_whole(&user, &format!("file-{key}")));
                }
            }
        }
        drop(ending);
        worker.join().unwrap()
    });
    for (key, content) in worked.iter().enumerate() {
        assert_eq!(user.read("docs", &format!("work-{key}")), *content);
    }
    for (key, content) in contents.iter().enumerate() {
        let found = stat(&user, &format!("file-{key}"));
        assert_eq!((&found["scheme"], &found["survives"]), (&"10+4".into(), &4.into()), "{found}");
        assert_eq!(user.read("docs", &format!("file-{key}")), *content);
    }
}

/// What `cyx-node exit` says of a node.
fn exit(cluster: &Cluster, index: usize, flag: Option<&str>) -> Value {
    let (data, status) = (cluster.node_dir(index), cluster.status());
    let mut command = Command::new(program("cyx-node"));
    command.arg("exit").args(flag).arg("--home").arg(&data).arg("--storage-path").arg(&data);
    command.env("CYXWIZ_API_URL", status["gateway"].as_str().unwrap());
    command.env(
        "CENTRAL_SERVER_ADDR",
        format!("http://{}", status["grpc"].as_str().unwrap().trim_start_matches("http://")),
    );
    run(&mut command).json()
}

#[test]
fn a_drained_node_is_emptied_and_an_exiting_one_gets_its_receipt() {
    let cluster = Cluster::start_with(16, &["--admin=root@example.org"], &[]);
    let (root, user) = (cluster.user("root"), cluster.user("ada"));
    user.ok(["bucket", "create", "docs"]);
    let content = noise(3, 7 * MIB);
    user.write_whole("docs", "file", &content);
    let drained = exit(&cluster, 0, Some("--status"))["node_id"].as_str().unwrap().to_owned();
    user.fails(4, ["admin", "drain", &drained]);
    let last = root.ok(["admin", "drain", &drained, "--wait", "--json"]).json_lines().pop().unwrap();
    assert_eq!((&last["leaving"], &last["chunks_left"]), (&"draining".into(), &0.into()), "{last}");
    cluster.kill_node(0);
    assert!(is_whole(&user, "file"), "nothing of it was on the drained node any more");

    assert_eq!(exit(&cluster, 1, Some("--status"))["leaving"], "none");
    assert_eq!(exit(&cluster, 1, Some("--yes"))["leaving"], "exiting");
    wait_until("the node has left", || exit(&cluster, 1, Some("--status"))["leaving"] == "exited");
    let ended = exit(&cluster, 1, Some("--status"));
    assert_eq!(ended["chunks_left"], 0, "{ended}");
    assert!(ended["receipt"].as_str().is_some_and(|receipt| !receipt.is_empty()), "{ended}");
    cluster.kill_node(1);
    assert!(is_whole(&user, "file"));
    assert_eq!(user.read("docs", "file"), content);
}
