//! The life of a development cluster, with the real programs.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

struct Dev {
    parent: tempfile::TempDir,
}

impl Dev {
    fn new() -> Self {
        Self { parent: tempfile::tempdir().unwrap() }
    }

    fn dir(&self) -> std::path::PathBuf {
        self.parent.path().join("cluster")
    }

    fn output(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cyx"));
        command.arg("dev").args(args).arg("--dir").arg(self.dir());
        // What is meant for other installations must not reach the cluster.
        command.env("HOME", self.parent.path()).env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
        command.env("CYXWIZ_EMAIL", "nobody@example.org").output().unwrap()
    }

    fn run(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        let output = self.output(&args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cyx dev {args:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn code(&self, args: &[&str]) -> Option<i32> {
        self.output(args).status.code()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.output(&["down"]);
    }
}

fn states(status: &Value) -> Vec<&str> {
    status["nodes"].as_array().unwrap().iter().map(|node| node["state"].as_str().unwrap()).collect()
}

fn pid(value: &Value) -> u64 {
    value["pid"].as_u64().unwrap()
}

#[test]
fn a_cluster_starts_loses_and_regains_nodes_stops_and_starts_again_where_it_was() {
    let dev = Dev::new();
    assert_eq!(dev.code(&["status"]), Some(3));

    let up = dev.run(&["up", "--nodes", "3"]);
    assert_eq!(states(&up), ["running"; 3]);
    assert!(up["gateway"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    assert!(Path::new(up["outbox"].as_str().unwrap()).is_dir());
    assert_eq!(dev.run(&["status"]), up, "status says what up said");
    assert_eq!(dev.run(&["up"]), up, "what runs is left alone");

    let stopped = dev.run(&["stop-node", "1", "--kill"]);
    assert_eq!((stopped["state"].as_str(), &stopped["pid"]), (Some("stopped"), &Value::Null));
    assert_eq!(states(&dev.run(&["status"])), ["running", "stopped", "running"]);
    dev.run(&["stop-node", "1"]);
    dev.run(&["stop-node", "2"]);
    assert_eq!(states(&dev.run(&["status"])), ["running", "stopped", "stopped"]);
    assert_eq!(dev.code(&["stop-node", "3"]), Some(3));

    let started = dev.run(&["start-node", "1"]);
    assert_eq!(started["state"], "running");
    assert_eq!(started["address"], up["nodes"][1]["address"], "a node keeps its port");
    assert_eq!(dev.run(&["start-node", "1"]), started, "what runs is left alone");

    let again = dev.run(&["up"]);
    assert_eq!(states(&again), ["running"; 3]);
    assert_eq!(pid(&again["server"]), pid(&up["server"]));
    assert_eq!(pid(&again["nodes"][0]), pid(&up["nodes"][0]));
    assert_ne!(pid(&again["nodes"][2]), pid(&up["nodes"][2]));

    let down = dev.run(&["down"]);
    assert_eq!(states(&down), ["stopped"; 3]);
    assert_eq!(down["server"]["state"], "stopped");
    dev.run(&["down"]);

    let larger = dev.run(&["up", "--nodes", "4"]);
    assert_eq!(states(&larger), ["running"; 4]);
    assert_eq!(larger["gateway"], up["gateway"], "the server keeps its port");
    assert_eq!(larger["nodes"][2]["address"], up["nodes"][2]["address"]);
    assert_eq!(dev.code(&["up", "--nodes", "2"]), Some(2), "nodes are not taken away");
    assert_eq!(dev.code(&["up", "--port", "1"]), Some(2), "the port is not changed");

    dev.run(&["down", "--wipe"]);
    assert!(!dev.dir().exists());
    assert_eq!(dev.code(&["status"]), Some(3));
}

#[test]
fn who_gives_arguments_to_what_runs_already_is_told_that_they_wait() {
    let dev = Dev::new();
    let up = |args: &[&str]| {
        let output = dev.output(&[&["up", "--json"], args].concat());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{args:?}: {errors}");
        errors
    };
    assert_eq!(up(&["--nodes", "1", "--server-arg=--job-seconds=77"]), "", "it is started with them");
    assert_eq!(up(&["--server-arg=--job-seconds=77"]), "", "it has them");
    // As long as it has not got them, and not only the first time.
    for _ in 0..2 {
        let said = up(&["--server-arg=--job-seconds=78"]);
        assert!(said.starts_with("cyx: warning: the server runs already, and gets --server-arg at the next"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let said = up(&["--node-arg=--tls"]);
    assert!(said.starts_with("cyx: warning: nodes run already, and get --node-arg at the next"), "{said}");
    dev.run(&["down"]);
    assert_eq!(up(&["--server-arg=--job-seconds=78", "--node-arg=--tls"]), "", "they are started with them");
    let said = up(&["--server-arg=", "--node-arg="]);
    assert!(said.contains("get --server-arg and --node-arg at the next"), "what they have is taken away: {said}");
}

#[test]
fn a_start_that_fails_leaves_nothing_running() {
    let dev = Dev::new();
    let output = dev.output(&["up", "--nodes", "2", "--node-arg=--no-such-option"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("node-0") && errors.contains("instead of becoming ready"), "{errors}");
    let status = dev.run(&["status"]);
    assert_eq!(states(&status), ["stopped"; 2]);
    assert_eq!(status["server"]["state"], "stopped");
}
