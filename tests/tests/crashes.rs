//! `kill -9` of the server, of nodes and of clients: what was acknowledged is there, nothing else appears.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use cyx_tests::admin::scrape;
use cyx_tests::{Cluster, User, noise};
use rustix::process::{Pid, Signal, kill_process};

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
        let mut command = user.command(["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref()]);
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
    const MIB: u64 = 1 << 20;
    const SIZE: u64 = 240 * MIB;
    let cluster = Cluster::start(14);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let content = noise(1, usize::try_from(SIZE).unwrap());
    let source = user.file("big", &content);
    let upload = || {
        let mut command = user.command(["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut child = upload().spawn().unwrap();
    let pid = Pid::from_child(&child);
    let transfers = user.home().join("transfers");
    let gateway = cluster.gateway();
    cyx_tests::wait_until("64 MiB or more of it are staged", || {
        assert!(child.try_wait().unwrap().is_none(), "it was done before it was interrupted");
        scrape(&gateway).lines().any(|line| line.starts_with("cyx_requests_total") && line.contains("/Stage\""))
    });
    kill_process(pid, Signal::INT).unwrap();
    child.wait().unwrap();
    assert_eq!(user.cyx(["stat", "docs", "big"]).code, 3, "nothing may appear before the commit");
    assert_eq!(std::fs::read_dir(&transfers).unwrap().count(), 1, "the upload keeps a state");

    let stored = || cluster.metric_sum("cyx_node_stored_bytes_total");
    let before = stored();
    let output = upload().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("goes on after"), "{said}");
    // With ten shards of content and four beside; what was on its way when the first one was interrupted may still arrive.
    let sent = stored() - before;
    assert!(sent < (SIZE - 40 * MIB) / 10 * 14, "{sent} bytes were stored to go on");
    assert_eq!(user.read("docs", "big"), content);
    let left = std::fs::read_dir(&transfers).map(Iterator::count).unwrap_or(0);
    assert_eq!(left, 0, "a finished upload keeps no state");
}

/// A process that ends with the test, however that ends.
struct Ends(Child);

impl Ends {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_was_staged_by_interrupted_commands_that_cannot_go_on_counts_against_no_quota() {
    const SIZE: usize = 240 << 20;
    let cluster = Cluster::start(14);
    let user = cluster.user("ada");
    for bucket in ["docs", "other"] {
        user.ok(["bucket", "create", bucket]);
    }
    let content = noise(1, SIZE);
    let source = user.file("source", &content);
    user.ok(["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref()]);
    let quota = || user.ok(["quota", "--json"]).json();
    let before = quota();
    let gateway = cluster.gateway();
    let staged = || {
        let metrics = scrape(&gateway);
        let calls = metrics.lines().find(|line| line.starts_with("cyx_requests_total") && line.contains("/Stage\""));
        calls.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default()
    };
    for arguments in [
        &["upload", "-", "--bucket", "docs", "--key", "piped"][..],
        &["cp", "docs", "source", "copy", "--to-bucket", "other"],
    ] {
        let earlier = staged();
        let mut command = user.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let content = &content;
        std::thread::scope(|scope| {
            let mut process = Ends(command.spawn().unwrap());
            let mut stdin = process.0.stdin.take().unwrap();
            scope.spawn(move || {
                // More than what is staged at a time, and no end, until nobody reads it any more.
                while stdin.write_all(content).is_ok() {}
            });
            cyx_tests::wait_until("a part of it is staged", || {
                assert!(process.0.try_wait().unwrap().is_none(), "it was done before it was interrupted");
                staged() > earlier
            });
            process.signal(Signal::STOP);
            assert_ne!(quota()["pending_bytes"], before["pending_bytes"], "what is staged counts");
            process.signal(Signal::INT);
            process.signal(Signal::CONT);
            assert_eq!(process.0.wait().unwrap().code(), Some(130));
        });
        cyx_tests::wait_until("nothing counts that was staged", || {
            let now = quota();
            ["used_bytes", "pending_bytes"].iter().all(|field| now[field] == before[field])
        });
    }
}

/// Operations of the random loop at most, and how long it begins new ones.
const OPERATIONS: u64 = 60;
const LOOP: Duration = Duration::from_secs(45);

/// What a key holds as far as its owner can know; `None` is no file.
type Tree = BTreeMap<String, Option<Vec<u8>>>;

/// Small numbers in a row that is the same in every run.
struct Dice(Vec<u8>, usize);

impl Dice {
    fn roll(&mut self, sides: u8) -> u8 {
        self.1 += 1;
        self.0[self.1 % self.0.len()] % sides
    }
}

/// Does one thing to one key while something is killed; gives what may be there afterwards.
fn strike(cluster: &Cluster, user: &User, dice: &mut Dice, round: u64, tree: &mut Tree) {
    let key = format!("file-{}", dice.roll(6));
    let content = noise(round + 500, [700, 5_000, 90_000, 1_500_000, 7 << 20][usize::from(dice.roll(5))]);
    let source = user.file("source", &content);
    let deletes = dice.roll(4) == 0;
    let mut command = match deletes {
        true => user.command(["delete", "docs", &key, "--permanent"]),
        false => user.command(["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref()]),
    };
    if !deletes {
        command.args(["--key", &key]);
    }
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // Not to wait for something: this is the random point at which the axe falls.
    std::thread::sleep(Duration::from_millis(u64::from(dice.roll(120)) * 10));
    match dice.roll(3) {
        0 => cluster.kill_server(),
        1 => cluster.kill_node(usize::from(dice.roll(14))),
        _ => child.kill().unwrap(),
    }
    cluster.up();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let before = tree.get(&key).cloned().flatten();
    let after = if deletes { None } else { Some(content) };
    let found = user.cyx(["download", "docs", "--key", &key, "-o", "-"]);
    let found = match found.code {
        0 => Some(found.stdout),
        3 => None,
        _ => panic!("round {round}: {found:?}"),
    };
    // A deletion of what is not there fails in peace.
    let done = output.status.success();
    let lengths = |file: &Option<Vec<u8>>| file.as_ref().map(Vec::len);
    let (is, was, will) = (lengths(&found), lengths(&before), lengths(&after));
    assert!(found == after || !done && found == before, "round {round}: {is:?}, not {was:?} or {will:?}: {said}");
    tree.insert(key, found);
}

#[test]
fn a_random_life_with_many_deaths_loses_and_invents_nothing() {
    let cluster = Cluster::start(14);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let (mut dice, mut tree) = (Dice(noise(7, 4096), 0), Tree::new());
    let began = Instant::now();
    for round in 0..OPERATIONS {
        strike(&cluster, &user, &mut dice, round, &mut tree);
        if began.elapsed() > LOOP {
            break;
        }
    }
    for (key, content) in &tree {
        match content {
            Some(content) => assert_eq!(user.read("docs", key), *content, "{key}"),
            None => drop(user.fails(3, ["stat", "docs", key])),
        }
    }
    let left: Vec<&String> = tree.iter().filter_map(|(key, content)| content.as_ref().map(|_| key)).collect();
    let listed = user.ok(["list", "docs", "-r", "--json"]).json_lines();
    assert_eq!(listed.len(), left.len(), "{listed:?}");
    cluster.assert_consistent();
    let used = |user: &User| user.ok(["quota", "--json"]).json()["used_bytes"].as_u64().unwrap();
    assert!(left.is_empty() || used(&user) > 0);
    for key in left {
        user.ok(["delete", "docs", key, "--permanent"]);
    }
    assert_eq!(used(&user), 0, "the quota is the sum of what exists");
}
