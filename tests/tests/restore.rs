//! The server's disk is gone; what it shipped is left.

#![allow(clippy::unwrap_used, missing_docs)]

use std::process::Command;

use cyx_tests::{Cluster, noise, wait_until};

const MIB: usize = 1 << 20;

/// UTC to the second, in the order of time.
fn now() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_server_that_lost_its_disk_comes_back_from_what_it_shipped() {
    let shipped = tempfile::tempdir().unwrap();
    let ship = format!("--ship-wal={}", shipped.path().join("log").display());
    let cluster = Cluster::start_with(3, &[&ship, "--heartbeat-seconds=1"], &[]);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let (large, last) = (noise(1, 7 * MIB), noise(3, 3000));
    user.write("docs", "dir/large", &large);
    user.write("docs", "small", &noise(2, 2000));
    user.write("docs", "small", &last);
    user.write("docs", "gone", &noise(4, MIB));
    user.ok(["delete", "docs", "gone", "--permanent"]);

    let acknowledged = now();
    let from = shipped.path().join("log");
    let restore = |to: &std::path::Path| {
        let mut command = Command::new(cyx_tests::program("cyx-server"));
        command.args(["restore", "--from"]).arg(&from).arg("--data-dir").arg(to);
        command.output().unwrap()
    };
    let mut number = 0;
    wait_until("everything acknowledged is shipped", || {
        number += 1;
        let output = restore(&shipped.path().join(format!("trial-{number}")));
        // A copy may be taken while it is being replaced by a newer one.
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let until = text.split("holds the state of ").nth(1).and_then(|rest| rest.get(..19));
        until.is_some_and(|until| until > acknowledged.as_str())
    });
    cluster.kill_server();
    std::fs::remove_dir_all(cluster.server_dir()).unwrap();
    let output = restore(&cluster.server_dir());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    cluster.up();
    cluster.assert_consistent();

    let refused = user.fails(4, ["list", "docs"]);
    assert!(refused.stderr.contains("--accept-changes"), "{refused:?}");
    user.login_with(&cluster, &["--accept-changes"]);
    assert_eq!(user.read("docs", "dir/large"), large);
    assert_eq!(user.read("docs", "small"), last);
    user.fails(3, ["stat", "docs", "gone"]);
    let stat = user.ok(["stat", "docs", "dir/large", "--scrub", "--json"]).json();
    assert_eq!(stat["survives"], 1, "{stat}");

    // Life goes on, and is shipped again.
    let new = noise(5, 2 * MIB);
    user.write("docs", "new", &new);
    assert_eq!(user.read("docs", "new"), new);
    cluster.assert_consistent();
}
