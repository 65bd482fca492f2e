//! `kill -9` of the server, of nodes and of clients: what was acknowledged is there, nothing else appears.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use cyx_tests::{Cluster, noise};

/// Rounds of the loop; each kills something at another point.
const ROUNDS: u64 = 6;

#[test]
fn acknowledged_files_survive_killed_servers_nodes_and_clients() {
    let cluster = Cluster::start(14);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    // What each key may hold: the acknowledged content, and what an unacknowledged upload may have made of it.
    let mut acknowledged: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for round in 0..ROUNDS {
        let key = format!("file-{}", round % 4);
        let size = [3_000, 150_000, 6 << 20][usize::try_from(round).unwrap() % 3];
        let content = noise(round + 100, size);
        let source = user.file(&format!("source-{round}"), &content);
        let mut command =
            user.command(["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref()]);
        command.args(["--key", &key]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(150 * (round % 5)));
        match round % 3 {
            0 => cluster.kill_server(),
            1 => cluster.kill_node(usize::try_from(round).unwrap() % 14),
            _ => child.kill().unwrap(),
        }
        cluster.up();
        let done = child.wait_with_output().unwrap().status.success();
        let found = user.cyx(["download", "docs", "--key", &key, "-o", "-"]);
        let before = acknowledged.get(&key);
        if done {
            assert_eq!(found.stdout, content, "round {round}: an acknowledged upload");
        } else if found.code == 0 {
            let whole = found.stdout == content || before.is_some_and(|before| *before == found.stdout);
            assert!(whole, "round {round}: {} bytes of neither version", found.stdout.len());
        } else {
            assert_eq!(found.code, 3, "round {round}: {found:?}");
            assert!(before.is_none(), "round {round}: an acknowledged file is gone");
        }
        if found.code == 0 {
            acknowledged.insert(key, found.stdout);
        }
    }
    for (key, content) in &acknowledged {
        assert_eq!(user.read("docs", key), *content, "{key}");
    }
    let keys = user.ok(["list", "docs", "-r", "--json"]).json_lines();
    assert_eq!(keys.len(), acknowledged.len(), "{keys:?}");
}

#[test]
fn an_interrupted_upload_goes_on_where_it_was() {
    let cluster = Cluster::start(14);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let content = noise(1, 160 << 20);
    let source = user.file("big", &content);
    let upload = || {
        let mut command = user.command(["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut child = upload().spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let transfers = user.home().join("transfers");
    cyx_tests::wait_until("the upload keeps a state", || {
        let kept = std::fs::read_dir(&transfers).is_ok_and(|mut entries| entries.next().is_some());
        kept || child.try_wait().unwrap().is_some()
    });
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    child.wait().unwrap();
    assert_eq!(user.cyx(["stat", "docs", "big"]).code, 3, "nothing may appear before the commit");

    let output = upload().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(user.read("docs", "big"), content);
    let left = std::fs::read_dir(&transfers).map(Iterator::count).unwrap_or(0);
    assert_eq!(left, 0, "a finished upload keeps no state");
}
