//! Traffic: what clients sign is added up for their account, and the plan's limit ends it.

#![allow(clippy::unwrap_used, missing_docs)]

use cyx_tests::{Cluster, User, noise, wait_until};

const MB: u64 = 1_000_000;

fn quota(user: &User, field: &str) -> u64 {
    let quota = user.ok(["quota", "--json"]).json();
    quota[field].as_u64().unwrap_or_else(|| panic!("no {field}: {quota}"))
}

#[test]
fn what_was_moved_shows_in_the_quota_once_nodes_handed_it_in() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    assert_eq!(quota(&user, "traffic_limit_bytes"), 10_000 * MB);
    let content = noise(1, 20 * 1_000_000);
    user.write("docs", "film", &content);
    // 2+1: half as much again as the file. What a client has not signed for yet is at most a quarter of what it has.
    wait_until("the upload is settled", || quota(&user, "traffic_used_bytes") >= 24 * MB);
    let uploaded = quota(&user, "traffic_used_bytes");
    assert!(uploaded <= 32 * MB, "{uploaded}");
    assert_eq!(user.read("docs", "film"), content);
    wait_until("the download is settled", || quota(&user, "traffic_used_bytes") >= uploaded + 15 * MB);
    assert!(quota(&user, "traffic_used_bytes") <= uploaded + 30 * MB);
    let shown = String::from_utf8(user.ok(["quota"]).stdout).unwrap();
    assert!(shown.contains("of 9.31 GiB this month"), "{shown}");
    cluster.assert_consistent();
}

#[test]
fn a_plan_whose_traffic_is_used_up_moves_no_more() {
    let cluster = Cluster::start_with(3, &["--plan-free-traffic-bytes=150000000"], &[]);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let mut kept = Vec::new();
    let refused = (0..6).find_map(|number| {
        let key = format!("film-{number}");
        let content = noise(number, 30_000_000);
        let run = user.cyx_with_input(["upload", "-", "--bucket", "docs", "--key", &key], &content);
        if run.code == 0 {
            kept.push(key);
            let moved = 36 * MB * kept.len() as u64;
            wait_until("the upload is settled", || quota(&user, "traffic_used_bytes") >= moved);
        }
        (run.code != 0).then_some(run)
    });
    let refused = refused.expect("six uploads of 45 MB each were taken with 150 MB of traffic");
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("traffic"), "{refused:?}");
    assert!(!kept.is_empty(), "not even the first upload was taken");
    assert!(quota(&user, "traffic_used_bytes") <= 150 * MB);
    // What needs no node works on.
    user.ok(["list", "docs"]);
    user.ok(["delete", "docs", &kept[0], "--permanent"]);
}
