//! Traffic: what clients sign is added up for their account, and the plan's limit ends it.

#![allow(clippy::unwrap_used, missing_docs)]

use std::process::{Command, Stdio};

use cyx_client::transfer::{Transfer, Tuning};
use cyx_client::{Client, Config};
use cyx_tests::mount::run;
use cyx_tests::skip::skip;
use cyx_tests::{Cluster, User, noise, wait_until};

const MB: u64 = 1_000_000;

/// True if the month (UTC) may end before a test does, which is skipped then: what was moved is counted anew in each (`month`).
fn month_ends() -> bool {
    let ends = ends_soon_after("now");
    if ends {
        skip("month", "the month ends within half an hour (UTC), and traffic is counted anew then");
    }
    ends
}

fn ends_soon_after(time: &str) -> bool {
    let month = |time: &str| run(Command::new("date").args(["-u", "+%Y-%m", "-d", time])).stdout;
    month(time) != month(&format!("{time} 30 minutes"))
}

#[test]
fn the_end_of_a_month_is_seen() {
    for (time, soon) in [
        ("2026-01-31 23:29:59 UTC", false),
        ("2026-01-31 23:30:01 UTC", true),
        ("2028-02-28 23:50:00 UTC", false),
        ("2026-12-31 23:59:59 UTC", true),
        ("2027-01-01 00:00:00 UTC", false),
    ] {
        assert_eq!(ends_soon_after(time), soon, "{time}");
    }
}

fn quota(user: &User, field: &str) -> u64 {
    let quota = user.ok(["quota", "--json"]).json();
    quota[field].as_u64().unwrap_or_else(|| panic!("no {field}: {quota}"))
}

#[test]
fn what_was_moved_shows_in_the_quota_once_nodes_handed_it_in() {
    if month_ends() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    assert_eq!(quota(&user, "traffic_limit_bytes"), 10_000 * MB);
    let content = noise(1, 20 * 1_000_000);
    user.write("docs", "film", &content);
    // 2+1: half as much again as the file. What a client has not signed for in the end is less than one of its four segments.
    wait_until("the upload is settled", || quota(&user, "traffic_used_bytes") >= 29 * MB);
    let uploaded = quota(&user, "traffic_used_bytes");
    assert!(uploaded <= 32 * MB, "{uploaded}");
    assert_eq!(user.read("docs", "film"), content);
    wait_until("the download is settled", || quota(&user, "traffic_used_bytes") >= uploaded + 14 * MB);
    // At most all shards are read, and a few of them again.
    assert!(quota(&user, "traffic_used_bytes") <= uploaded + 40 * MB);
    let shown = String::from_utf8(user.ok(["quota"]).stdout).unwrap();
    assert!(shown.contains("of 9.31 GiB this month"), "{shown}");
    cluster.assert_consistent();
}

#[test]
fn every_program_of_a_login_pays_for_what_it_reads() {
    if month_ends() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let size = 12 * 1_000_000;
    let content = noise(1, size);
    user.write("docs", "film", &content);
    wait_until("the upload is settled", || quota(&user, "traffic_used_bytes") >= 10 * MB);
    let mut before = quota(&user, "traffic_used_bytes");
    // One after the other: each leaves at most a quarter unsigned.
    for _ in 0..4 {
        assert!(user.read("docs", "film") == content);
    }
    wait_until("four reads are settled", || quota(&user, "traffic_used_bytes") >= before + 4 * 8 * MB);
    before = quota(&user, "traffic_used_bytes");
    // At the same time.
    let read = || {
        let mut command = user.command(["download", "docs", "--key", "film", "-o", "-"]);
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    for child in [read(), read(), read()] {
        assert!(child.wait_with_output().unwrap().stdout == content);
    }
    wait_until("three reads are settled", || quota(&user, "traffic_used_bytes") >= before + 3 * 8 * MB);
    // What they might still read holds up nothing.
    wait_until("nothing is reserved", || quota(&user, "traffic_pending_bytes") == 0);
    let shown = String::from_utf8(user.ok(["quota"]).stdout).unwrap();
    assert!(!shown.contains("by transfers under way"), "{shown}");
    cluster.assert_consistent();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_stays_and_others_that_come_and_go_do_not_disturb_each_other() {
    if month_ends() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let content = noise(1, 24 * 1_000_000);
    user.write("docs", "film", &content);
    wait_until("the upload is settled", || quota(&user, "traffic_used_bytes") >= 20 * MB);
    let before = quota(&user, "traffic_used_bytes");
    let gateway = Some(cluster.gateway().parse().unwrap());
    let config = Config { home: user.home(), gateway, email: None, ca_file: None, token: None };
    let client = Client::open(&config).await.unwrap();
    let bucket = client.bucket("docs").await.unwrap();
    let found = bucket.lookup_one(&bucket.root_directory(), b"film").await.unwrap().unwrap();
    // Two engines of one program use the same grants.
    let engines = [(); 2].map(|()| Transfer::new(&client, None, Tuning::default()));
    for _ in 0..3 {
        for engine in &engines {
            let reader = engine.open(&bucket, &found).await.unwrap();
            assert!(reader.read_range(0..u64::MAX).await.unwrap() == content);
        }
        assert!(user.read("docs", "film") == content);
    }
    wait_until("nine reads are settled", || quota(&user, "traffic_used_bytes") >= before + 9 * 17 * MB);
    cluster.assert_consistent();
}

#[test]
fn a_plan_whose_traffic_is_used_up_moves_no_more() {
    if month_ends() {
        return;
    }
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
            let moved = 32 * MB * kept.len() as u64;
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
    let found = user.ok(["stat", "docs", &kept[0], "--json"]).json();
    assert_eq!(found["shards_healthy"], found["shards_total"], "{found}");
    user.ok(["delete", "docs", &kept[0], "--permanent"]);
}

#[test]
fn reading_a_little_in_many_buckets_and_logins_leaves_the_plan_to_uploads() {
    if month_ends() {
        return;
    }
    let server = ["--plan-free-traffic-bytes=1000000000"];
    let cluster = Cluster::start_with(3, &server, &[]);
    let user = cluster.user("ada");
    let small = noise(1, 100_000);
    let buckets: Vec<String> = (0..15).map(|number| format!("bucket-{number}")).collect();
    for bucket in &buckets {
        user.ok(["bucket", "create", bucket]);
        user.write(bucket, "note", &small);
        assert!(user.read(bucket, "note") == small);
    }
    // What was reserved before is not forgotten with the memory of the server, nor with the logins.
    cluster.kill_server();
    cluster.up();
    for _ in 0..6 {
        let again = user.elsewhere(&cluster);
        assert!(again.read(&buckets[0], "note") == small);
        again.ok(["logout"]);
    }
    let large = noise(2, 200 * 1_000_000);
    user.write(&buckets[0], "film", &large);
    // It was stored for 300 MB and is read for 200 MB or a little more.
    assert!(user.read(&buckets[0], "film") == large);
    wait_until("both are settled", || quota(&user, "traffic_used_bytes") >= 490 * MB);
    assert!(quota(&user, "traffic_used_bytes") <= 700 * MB);
    cluster.assert_consistent();
}
