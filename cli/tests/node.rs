//! `cyx node` with a node that never gets ready: whatever ends a start, nothing runs that nobody sees; and one that leaves and is not emptied.
//! None of this needs a server.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, as tests do")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cyx_cli::dev::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The node: it writes down its arguments and waits, and answers who asks how far its leaving is; the third time it has left. It is not leaving while there is a file
/// `cyx-node.stays`.
const NODE: &str = r#"#!/bin/sh
env > "$0.env"
echo "$@" > "$0.typed"
[ "$1" = exit ] || exec sleep 600
if [ "$2" = --status ] && [ -e "$0.stays" ]; then
    echo '{"node_id":"ab","leaving":"none","chunks_left":2,"bytes_left":2048,"chunks_moved":0,"bytes_moved":0,"receipt":null}'
    exit
fi
echo >> "$0.asked"
if [ "$(wc -l < "$0.asked")" -lt 3 ]; then
    echo '{"node_id":"ab","leaving":"exiting","chunks_left":2,"bytes_left":2048,"chunks_moved":1,"bytes_moved":1024,"receipt":null}'
else
    echo '{"node_id":"ab","leaving":"exited","chunks_left":0,"bytes_left":0,"chunks_moved":3,"bytes_moved":3072,"receipt":"00"}'
fi
"#;

const START: &str = "--gateway http://127.0.0.1:1 node start --timeout 600";

/// The program beside a `cyx-node` that only waits.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (cyx, node) = (dir.path().join("cyx"), dir.path().join("cyx-node"));
        let built = env!("CARGO_BIN_EXE_cyx");
        fs::hard_link(built, &cyx).or_else(|_| fs::copy(built, &cyx).map(drop)).unwrap();
        fs::write(&node, NODE).unwrap();
        fs::set_permissions(&node, fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    fn command(&self, typed: &str) -> Command {
        let mut command = Command::new(self.dir.path().join("cyx"));
        command.args(typed.split(' ')).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.dir.path());
        command.env("CYXWIZ_ENROLL_TOKEN", "a token").stdin(Stdio::null());
        command
    }

    fn run(&self, typed: &str) -> Output {
        self.command(typed).output().unwrap()
    }

    /// Starts the node so, and ends that once the node has written down what it was given.
    fn given(&self, command: Command) {
        let (mut command, _) = self.start_by(command);
        let deadline = Instant::now() + PATIENCE;
        while !fs::read(self.dir.path().join("cyx-node.typed")).is_ok_and(|typed| typed.ends_with(b"\n")) {
            assert!(Instant::now() < deadline, "the node does not run");
            sleep(Duration::from_millis(20));
        }
        kill_process(Pid::from_child(&command), Signal::TERM).unwrap();
        assert_eq!(command.wait().unwrap().code(), Some(143));
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join(".cyxcloud/node-state.json")
    }

    /// Begins to start the node; returns when it runs, with its process.
    fn start(&self) -> (Child, Process) {
        self.start_by(self.command(START))
    }

    #[expect(clippy::zombie_processes, reason = "whoever gets it waits for it; a test that fails ends anyway")]
    fn start_by(&self, mut command: Command) -> (Child, Process) {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "the process is not written down");
            let state = fs::read(self.state()).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
            if let Some(pid) = state.and_then(|state| state["process"]["pid"].as_u64()) {
                return (child, Process::find(pid.try_into().unwrap()).unwrap());
            }
            sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_start_that_is_interrupted_ends_what_it_started() {
    let machine = Machine::new();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (mut command, node) = machine.start();
        kill_process(Pid::from_child(&command), signal).unwrap();
        assert_eq!(command.wait().unwrap().code(), Some(code), "{signal:?}");
        assert!(!node.is_running(), "{signal:?}");
        assert!(!machine.state().exists(), "{signal:?}");
    }
}

#[test]
fn a_terminal_that_is_closed_interrupts_unless_that_is_ignored() {
    let machine = Machine::new();
    let (heard, ignored) = (&[Signal::HUP][..], &[Signal::HUP, Signal::TERM][..]);
    for (disposition, signals, code) in [("--default-signal=HUP", heard, 129), ("--ignore-signal=HUP", ignored, 143)] {
        let cyx = machine.command(START);
        let mut command = Command::new("/usr/bin/env");
        command.arg(disposition).arg(cyx.get_program()).args(cyx.get_args()).stdin(Stdio::null());
        command.env_clear().envs(cyx.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let (mut command, node) = machine.start_by(command);
        for signal in signals {
            kill_process(Pid::from_child(&command), *signal).unwrap();
        }
        assert_eq!(command.wait().unwrap().code(), Some(code), "{disposition}");
        assert!(!node.is_running(), "{disposition}");
    }
}

#[test]
fn a_node_is_not_given_the_secrets_of_its_owner() {
    let machine = Machine::new();
    let mut command = machine.command(START);
    for variable in ["CYXCLOUD_PASSWORD", "CYXCLOUD_NEW_PASSWORD", "CYXCLOUD_RECOVERY_WORDS"] {
        command.env(variable, "secret");
    }
    let part = "A".repeat(43);
    command.env("CYXCLOUD_TOKEN", format!("{}.{part}.{part}", "1".repeat(32)));
    machine.given(command);
    let given = fs::read_to_string(machine.dir.path().join("cyx-node.env")).unwrap();
    assert!(given.contains("CYXWIZ_ENROLL_TOKEN=a token") && !given.contains("secret"), "{given}");
    assert!(!given.contains("CYXCLOUD_TOKEN"), "{given}");
}

#[test]
fn a_start_that_takes_too_long_ends_what_it_started() {
    let machine = Machine::new();
    // What an earlier one said is no reason.
    fs::create_dir(machine.state().parent().unwrap()).unwrap();
    fs::write(machine.state().with_file_name("node.log"), "no room\n").unwrap();
    let output = machine.run("--gateway http://127.0.0.1:1 node start --timeout 1");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("was not registered within 1 seconds and was ended: it said nothing. "), "{said}");
    assert!(!machine.state().exists());
}

#[test]
fn what_a_killed_start_leaves_behind_is_seen_and_stopped() {
    let machine = Machine::new();
    let (mut command, node) = machine.start();
    command.kill().unwrap();
    command.wait().unwrap();
    let status = machine.run("node status --json");
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&status["running"], &status["pid"]), (&true.into(), &node.pid.into()));
    let again = machine.run("--gateway http://127.0.0.1:1 node start");
    assert!(String::from_utf8_lossy(&again.stderr).contains("runs already"), "{again:?}");
    assert!(machine.run("node stop").status.success());
    assert!(!node.is_running());
    let stopped: Value = serde_json::from_slice(&machine.run("node status --json").stdout).unwrap();
    assert_eq!((&stopped["running"], &stopped["pid"]), (&false.into(), &Value::Null));
    let remembered: Value = serde_json::from_slice(&fs::read(machine.state()).unwrap()).unwrap();
    assert_eq!(remembered["central_server"], "http://127.0.0.1:50052", "where the next start registers");
}

#[test]
fn who_waits_for_a_node_to_leave_is_shown_how_far_it_is_once_each_time_and_its_receipt() {
    let machine = Machine::new();
    let (mut command, _) = machine.start();
    command.kill().unwrap();
    command.wait().unwrap();
    let output = machine.run("node exit");
    assert!(machine.run("node stop").status.success());
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    let [first, second, receipt] = &shown.lines().collect::<Vec<_>>()[..] else { panic!("{shown}") };
    assert!(first.starts_with("exiting: 2 chunks (") && second.starts_with("The node has left: 3 chunks ("), "{shown}");
    assert_eq!(*receipt, "Receipt: 00");
}

#[test]
fn no_node_leaves_for_good_without_a_word() {
    let machine = Machine::new();
    let (mut command, _) = machine.start();
    command.kill().unwrap();
    command.wait().unwrap();
    fs::write(machine.dir.path().join("cyx-node.stays"), "").unwrap();
    let refused = machine.run("node exit");
    let asked = machine.dir.path().join("cyx-node.asked").exists();
    let meant = machine.run("node exit --yes --no-wait --json");
    assert!(machine.run("node stop").status.success());
    assert_eq!((refused.status.code(), asked), (Some(2), false), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("leaving the network for good has to be confirmed") && said.contains("Use --yes."), "{said}");
    let progress: Value = serde_json::from_slice(&meant.stdout).unwrap();
    assert_eq!(progress["leaving"], "exiting");
}

#[test]
fn a_node_trusts_the_authorities_that_its_starter_trusts() {
    let machine = Machine::new();
    machine.given(machine.command("--gateway https://localhost:1 --ca-file /a/ca.pem node start --timeout 600"));
    let typed = fs::read_to_string(machine.dir.path().join("cyx-node.typed")).unwrap();
    assert!(typed.contains(" --ca-file /a/ca.pem"), "{typed}");
}
