//! A cluster of real processes in a temporary folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::run::{bounded, try_bounded};
use crate::{User, program};

/// A cluster; stopped and wiped when dropped.
pub struct Cluster {
    folder: TempDir,
}

/// A server or node that was stopped; it goes on when this is dropped.
pub struct Frozen(Pid);

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

impl Cluster {
    /// Starts a server and `nodes` nodes.
    #[must_use]
    pub fn start(nodes: usize) -> Self {
        Self::start_with(nodes, &[], &[])
    }

    /// Starts them with further arguments, given as they would be typed.
    ///
    /// # Panics
    /// If the cluster does not start.
    #[must_use]
    pub fn start_with(nodes: usize, server_args: &[&str], node_args: &[&str]) -> Self {
        let cluster = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let mut args = vec!["up".to_owned(), "--nodes".to_owned(), nodes.to_string()];
        args.extend(server_args.iter().map(|arg| format!("--server-arg={arg}")));
        args.extend(node_args.iter().map(|arg| format!("--node-arg={arg}")));
        cluster.dev(&args.iter().map(String::as_str).collect::<Vec<_>>());
        cluster
    }

    /// The cluster's folder.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }

    /// Runs `cyx dev …` on this cluster.
    ///
    /// # Panics
    /// If it fails.
    pub fn dev(&self, args: &[&str]) -> Value {
        let mut command = Command::new(program("cyx"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.folder.path()).env("CYXCLOUD_HOME", self.folder.path().join("home"));
        command.args(["dev"]).args(args).arg("--dir").arg(self.dir()).arg("--json");
        let run = bounded(&mut command);
        assert_eq!(run.code, 0, "cyx dev {args:?}: {}\n{}", run.stderr, self.log_tail("server.log"));
        serde_json::from_slice(&run.stdout).unwrap_or(Value::Null)
    }

    /// `cyx dev status --json`.
    #[must_use]
    pub fn status(&self) -> Value {
        self.dev(&["status"])
    }

    /// Address of the server for users.
    ///
    /// # Panics
    /// If the status has none.
    #[must_use]
    pub fn gateway(&self) -> String {
        self.status()["gateway"].as_str().expect("the status has a gateway").to_owned()
    }

    /// Sends SIGKILL to a node.
    pub fn kill_node(&self, index: usize) {
        self.dev(&["stop-node", &index.to_string(), "--kill"]);
    }

    /// Starts a node that was stopped.
    pub fn start_node(&self, index: usize) {
        self.dev(&["start-node", &index.to_string()]);
    }

    /// Sends SIGKILL to the server and waits until it is gone.
    ///
    /// # Panics
    /// If there is no server.
    pub fn kill_server(&self) {
        let pid = self.server();
        kill_process(pid, Signal::KILL).expect("the server is ours");
        crate::wait_until("the server is gone", || rustix::process::test_kill_process(pid).is_err() || is_zombie(pid));
    }

    /// Stops the server in the middle of whatever it does: connections to it stand, and it says nothing, until what is returned is dropped.
    ///
    /// # Panics
    /// If there is no server.
    #[must_use]
    pub fn freeze_server(&self) -> Frozen {
        freeze(self.server())
    }

    /// Stops a storage node in the same way.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn freeze_node(&self, index: usize) -> Frozen {
        freeze(pid(&self.status()["nodes"][index]))
    }

    fn server(&self) -> Pid {
        pid(&self.status()["server"])
    }

    /// Starts again whatever is down; ports and data stay.
    pub fn up(&self) {
        self.dev(&["up"]);
    }

    /// Starts again whatever is down, the server with other arguments than before, given as they would be typed.
    ///
    /// # Panics
    /// If there are none.
    pub fn up_with(&self, server_args: &[&str]) {
        assert!(!server_args.is_empty(), "without any it keeps what it has");
        let args: Vec<String> = server_args.iter().map(|arg| format!("--server-arg={arg}")).collect();
        let all: Vec<&str> = ["up"].into_iter().chain(args.iter().map(String::as_str)).collect();
        self.dev(&all);
    }

    /// A registered and logged-in user.
    #[must_use]
    pub fn user(&self, name: &str) -> User {
        User::register(self, name)
    }

    /// The mails with a code to an address, and their codes.
    #[must_use]
    pub fn mails_with_codes(&self, email: &str) -> BTreeMap<PathBuf, String> {
        let Ok(outbox) = fs::read_dir(self.dir().join("outbox")) else { return BTreeMap::new() };
        let paths = outbox.flatten().map(|entry| entry.path());
        paths.filter_map(|path| code_in(&path, email).map(|code| (path, code))).collect()
    }

    /// The code of a mail that is not among those `known` before something had it sent: never a stale one, each of which would
    /// count as a failed login.
    ///
    /// # Panics
    /// If none arrives.
    #[must_use]
    pub fn new_code(&self, email: &str, known: &BTreeMap<PathBuf, String>) -> String {
        let mut code = None;
        crate::wait_until("a mail with a new code arrives", || {
            code = self.mails_with_codes(email).into_iter().find(|(path, _)| !known.contains_key(path));
            code.is_some()
        });
        code.expect("just found").1
    }

    /// The newest code that was mailed to an address.
    ///
    /// # Panics
    /// If none arrives.
    #[must_use]
    pub fn mailed_code(&self, email: &str) -> String {
        let mut code = None;
        crate::wait_until("a mail with a code arrives", || {
            code = newest_code(&self.dir().join("outbox"), email);
            code.is_some()
        });
        code.expect("just found")
    }

    /// The last lines of a log, for messages of failed assertions.
    #[must_use]
    pub fn log_tail(&self, name: &str) -> String {
        let text = fs::read_to_string(self.dir().join("logs").join(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Cluster {
    #[expect(clippy::print_stderr, reason = "a failed test shows its output, and the log is gone with the cluster")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprint!("{}", self.last_words());
        }
        let mut command = Command::new(program("cyx"));
        command.args(["dev", "down", "--wipe", "--dir"]).arg(self.dir());
        command.env("CYXCLOUD_HOME", self.folder.path().join("home"));
        let _ = try_bounded(&mut command, None);
    }
}

impl Cluster {
    fn last_words(&self) -> String {
        format!("--- last lines of the server's log ---\n{}\n", self.log_tail("server.log"))
    }
}

fn pid(program: &Value) -> Pid {
    let pid = program["pid"].as_i64().expect("it runs");
    Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("not zero")
}

fn freeze(pid: Pid) -> Frozen {
    kill_process(pid, Signal::STOP).expect("the program is ours");
    Frozen(pid)
}

fn is_zombie(pid: rustix::process::Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('Z'))
}

fn newest_code(outbox: &Path, email: &str) -> Option<String> {
    let mut mails: Vec<_> = fs::read_dir(outbox)
        .ok()?
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "eml"))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    mails.sort();
    mails.iter().rev().find_map(|(_, path)| code_in(path, email))
}

/// The code in a mail, if it is to this address.
fn code_in(path: &Path, email: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    if !text.contains(email) {
        return None;
    }
    let is_code = |line: &&str| line.len() == 6 && line.bytes().all(|byte| byte.is_ascii_digit());
    text.lines().map(str::trim).find(is_code).map(str::to_owned)
}
