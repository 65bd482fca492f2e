//! Regular work in processes of their own, beside a server that leaves it to them, on one PostgreSQL. Without PostgreSQL it is skipped and says so.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cyx_tests::admin::scrape;
use cyx_tests::postgres::Postgres;
use cyx_tests::{Cluster, User, noise, program, wait_until};
use serde_json::Value;

const MIB: usize = 1 << 20;
/// Patient enough for a busy machine, and the same for all processes.
const TIMINGS: [&str; 6] = [
    "--heartbeat-seconds=2",
    "--node-suspect-seconds=20",
    "--node-offline-seconds=30",
    "--node-lost-seconds=45",
    "--node-audit-seconds=10",
    "--job-seconds=5",
];

/// `cyx-server --role rebalancer`; killed when dropped.
struct Rebalancer {
    child: Child,
    address: String,
}

impl Rebalancer {
    fn start(folder: &Path, name: &str, url_file: &Path) -> Self {
        let log = std::fs::File::create(folder.join(format!("{name}.log"))).unwrap();
        let mut child = Command::new(program("cyx-server"))
            .args(["--role=rebalancer", "--http=127.0.0.1:0", "--allow-colocated", "--repair-eager", "--print-ready"])
            .args(TIMINGS)
            .arg("--data-dir")
            .arg(folder.join(name))
            .arg("--database-url-file")
            .arg(url_file)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("{line}{}", std::fs::read_to_string(folder.join(format!("{name}.log"))).unwrap_or_default())
        });
        Self { child, address: ready["http"].as_str().unwrap().to_owned() }
    }

    /// Whether it is the one that repairs.
    fn repairs(&self) -> bool {
        scrape(&self.address).lines().any(|line| line == "cyx_job_lease{job=\"repair\"} 1")
    }

    /// As a power failure would.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Rebalancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn verify(user: &User, key: &str) -> Value {
    let run = user.cyx(["verify", "docs", key, "--json"]);
    assert!(matches!(run.code, 0 | 1), "{run:?}");
    run.json()
}

fn is_whole(user: &User, key: &str) -> bool {
    let found = verify(user, key);
    found["shards_healthy"] == 14 && found["survives"] == 4
}

fn nodes(root: &User, state: &str) -> Vec<Value> {
    root.ok(["admin", "nodes", "--state", state, "--json"]).json_lines()
}

#[test]
fn rebalancers_alone_repair_and_move_and_when_one_is_killed_another_goes_on() {
    let Some(postgres) = Postgres::start("rebalancer") else { return };
    let folder = tempfile::tempdir().unwrap();
    let url_file = folder.path().join("database-url");
    std::fs::write(&url_file, postgres.url()).unwrap();
    let database = format!("--database-url-file={}", url_file.display());
    let mut args = vec!["--role=gateway", &database, "--admin=root@example.org", "--repair-eager"];
    args.extend(TIMINGS);
    let cluster = Cluster::start_with(19, &args, &[]);
    let (root, user) = (cluster.user("root"), cluster.user("ada"));
    user.ok(["bucket", "create", "docs"]);
    let content = noise(1, 11 * MIB);
    user.write("docs", "file", &content);

    // The server serves, and repairs nothing.
    for index in 0..2 {
        cluster.kill_node(index);
    }
    wait_until("the killed nodes are lost", || nodes(&root, "lost").len() == 2);
    assert!(nodes(&root, "lost").iter().all(|node| node["repairs_queued"] == 0), "nobody has looked at them");
    assert_eq!(postgres.value("SELECT count(*) FROM job_lease"), "0", "the server takes part in no job");
    assert_eq!(postgres.value("SELECT count(*) FROM repair_task"), "0");

    let rebalancers = ["first", "second"].map(|name| Rebalancer::start(folder.path(), name, &url_file));
    wait_until("what the killed nodes held is made anew", || is_whole(&user, "file"));
    assert_eq!(user.read("docs", "file"), content);
    // The nodes believe the key of whoever audits them.
    wait_until("the file was audited", || verify(&user, "file")["last_audit"].is_string());

    // Whoever does it dies in the middle of the next work.
    let (mut holders, mut others) = (Vec::new(), Vec::new());
    for rebalancer in rebalancers {
        if rebalancer.repairs() { holders.push(rebalancer) } else { others.push(rebalancer) }
    }
    assert_eq!((holders.len(), others.len()), (1, 1), "one of them has the lease");
    let drained = nodes(&root, "online").pop().unwrap()["node_id"].as_str().unwrap().to_owned();
    let killed: Vec<usize> = (2..19).filter(|index| node_id(&cluster, *index) != drained).take(2).collect();
    root.ok(["admin", "drain", &drained]);
    holders.into_iter().for_each(Rebalancer::kill);
    killed.iter().for_each(|index| cluster.kill_node(*index));
    wait_until("the other one goes on", || others[0].repairs());
    wait_until("the drained node is empty", || {
        root.ok(["admin", "drain", &drained, "--status", "--json"]).json()["chunks_left"] == 0
    });
    wait_until("everything is whole again", || is_whole(&user, "file"));
    assert_eq!(user.read("docs", "file"), content);
    let shown = root.ok(["admin", "nodes", "show", &drained, "--json"]).json();
    assert_eq!((&shown["leaving"], &shown["leaving_progress"]["chunks_left"]), (&"draining".into(), &0.into()));

    // No job ever ran twice at a time, and nothing lies twice on a node.
    let twice = "SELECT count(*) FROM job a JOIN job b ON a.kind = b.kind AND a.id <> b.id \
                 AND b.started_ns BETWEEN a.started_ns AND a.finished_ns";
    assert_eq!(postgres.value(twice), "0");
    assert_ne!(postgres.value("SELECT count(*) FROM job WHERE status = 'done'"), "0");
    let fencing: i64 = postgres.value("SELECT fencing FROM job_lease WHERE name = 'repair'").parse().unwrap();
    assert!(fencing >= 2, "the lease went from one to the other");
}

fn node_id(cluster: &Cluster, index: usize) -> String {
    let ready = cluster.dir().join("logs").join(format!("node-{index:02}.ready"));
    let said: Value = serde_json::from_str(std::fs::read_to_string(ready).unwrap().lines().next().unwrap()).unwrap();
    said["node_id"].as_str().unwrap().to_owned()
}
