//! A person with a home folder who types commands.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::run::bounded_with_input;
use crate::{Cluster, Run, program};

/// A password that passes the rules.
pub const PASSWORD: &str = "Quarz-Lattice7-umbral";

/// A registered user with a home folder of their own.
pub struct User {
    home: TempDir,
    gateway: String,
    /// The address they registered with.
    pub email: String,
}

impl User {
    /// Registers and logs in with the mailed code.
    #[must_use]
    pub fn register(cluster: &Cluster, name: &str) -> Self {
        let user = Self::new(cluster, name);
        user.ok(["register", "--username", name, "--json"]);
        user.login(cluster);
        user
    }

    /// Registers and logs in at another address of the server than its own, such as that of a proxy.
    #[must_use]
    pub fn register_via(cluster: &Cluster, name: &str, gateway: String) -> Self {
        let user = Self { gateway, ..Self::new(cluster, name) };
        user.ok(["register", "--username", name, "--json"]);
        user.login(cluster);
        user
    }

    /// Somebody who has not registered yet.
    ///
    /// # Panics
    /// If there is no room for a home folder.
    #[must_use]
    pub fn new(cluster: &Cluster, name: &str) -> Self {
        Self {
            home: tempfile::tempdir().expect("a temporary folder"),
            gateway: cluster.gateway(),
            email: format!("{name}@example.org"),
        }
    }

    /// The same person on another machine: same account, empty home folder, logged in there too.
    #[must_use]
    pub fn elsewhere(&self, cluster: &Cluster) -> Self {
        self.elsewhere_via(cluster, self.gateway.clone())
    }

    /// The same, at another address of the server.
    ///
    /// # Panics
    /// If there is no room for a home folder.
    #[must_use]
    pub fn elsewhere_via(&self, cluster: &Cluster, gateway: String) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let other = Self { home, gateway, email: self.email.clone() };
        other.login(cluster);
        other
    }

    /// Address of the server for them.
    #[must_use]
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Logs in with the mailed code.
    ///
    /// # Panics
    /// If the login is refused.
    pub fn login(&self, cluster: &Cluster) {
        self.login_with(cluster, &[]);
    }

    /// Logs in with the mailed code, beginning with further arguments.
    ///
    /// # Panics
    /// If the login is refused.
    pub fn login_with(&self, cluster: &Cluster, extra: &[&str]) {
        let known = cluster.mails_with_codes(&self.email);
        let begun = self.ok(["login", "--begin", "--json"].iter().chain(extra)).json();
        let session = begun["session_id"].as_str().expect("a session id").to_owned();
        let code = cluster.new_code(&self.email, &known);
        let run = self.cyx(["login", "--session", &session, "--otp", &code, "--json"]);
        assert_eq!(run.code, 0, "login: {run:?}");
    }

    /// Runs a command that needs a password and a code, in its two steps, with the mailed code.
    ///
    /// # Panics
    /// If no code comes. What the command refuses in either step is what is returned.
    pub fn confirmed(&self, cluster: &Cluster, args: &[&str]) -> Run {
        self.confirmed_with(cluster, args, &[])
    }

    /// As [`Self::confirmed`], with further variables.
    ///
    /// # Panics
    /// As [`Self::confirmed`].
    pub fn confirmed_with(&self, cluster: &Cluster, args: &[&str], variables: &[(&str, &str)]) -> Run {
        let run = |more: &[&str]| {
            let mut command = self.command([args, more].concat());
            command.envs(variables.iter().copied());
            Run::of(command)
        };
        let known = cluster.mails_with_codes(&self.email);
        let json: &[&str] = if args.contains(&"--json") { &["--begin"] } else { &["--begin", "--json"] };
        let begun = run(json);
        if begun.code != 0 {
            return begun;
        }
        let id = begun.json()["session_id"].as_str().expect("a session id").to_owned();
        run(&["--session", &id, "--otp", &cluster.new_code(&self.email, &known)])
    }

    /// A command of this user, ready to be spawned.
    #[must_use]
    pub fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Command {
        let mut command = Command::new(program("cyx"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home.path()).env("CYXCLOUD_HOME", self.home());
        command.env("CYXCLOUD_GATEWAY", &self.gateway).env("CYXCLOUD_EMAIL", &self.email);
        command.env("CYXCLOUD_PASSWORD", PASSWORD).env("RUST_BACKTRACE", "1");
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Runs a command and reports what it did.
    ///
    /// # Panics
    /// If `cyx` cannot be started or does not end.
    pub fn cyx<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Run {
        Run::of(self.command(args))
    }

    /// Runs a command that reads `input` from standard input.
    ///
    /// # Panics
    /// If `cyx` cannot be started or does not end.
    pub fn cyx_with_input<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I, input: &[u8]) -> Run {
        bounded_with_input(&mut self.command(args), input)
    }

    /// Runs a command that must succeed.
    ///
    /// # Panics
    /// If it does not.
    pub fn ok<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Run {
        let run = self.cyx(args);
        assert_eq!(run.code, 0, "{run:?}");
        run
    }

    /// Runs a command that must fail with this exit code.
    ///
    /// # Panics
    /// If it ends otherwise.
    pub fn fails<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, code: i32, args: I) -> Run {
        let run = self.cyx(args);
        assert_eq!(run.code, code, "{run:?}");
        run
    }

    /// Downloads one file and gives its bytes.
    ///
    /// # Panics
    /// If it cannot be downloaded.
    #[must_use]
    pub fn read(&self, bucket: &str, key: &str) -> Vec<u8> {
        self.ok(["download", bucket, "--key", key, "-o", "-"]).stdout
    }

    /// Uploads bytes as one file.
    ///
    /// # Panics
    /// If the upload fails.
    pub fn write(&self, bucket: &str, key: &str, content: &[u8]) {
        let run = self.cyx_with_input(["upload", "-", "--bucket", bucket, "--key", key], content);
        assert_eq!(run.code, 0, "{run:?}");
    }

    /// Uploads bytes as one file, all of whose shards are stored when it is done: an upload is acknowledged before on a slow machine.
    ///
    /// # Panics
    /// If the upload fails.
    pub fn write_whole(&self, bucket: &str, key: &str, content: &[u8]) {
        let args = ["upload", "-", "--bucket", bucket, "--key", key, "--durability", "all"];
        let run = self.cyx_with_input(args, content);
        assert_eq!(run.code, 0, "{run:?}");
    }

    /// The folder in `CYXCLOUD_HOME`.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.home.path().join(".cyxcloud")
    }

    /// A path for the user's own files.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a local file and gives its path.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder");
        std::fs::write(&path, content).expect("a file");
        path
    }
}
