//! Real mounts: started, watched, and taken off whatever happens.
//!
//! A test must never hang and never leave a mount behind. Every program runs with a limit; a watchdog kills the mount's process when a
//! test takes too long, after which the kernel fails all that waits for it; and what is dropped takes off its own mountpoint, by
//! process id and path.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub use crate::run::{bounded, run};
use crate::run::{patience, try_bounded};
use crate::skip::skip;
use crate::{User, wait_until};

/// A process that was killed does not hold its locks for longer.
const LAST_BREATH: Duration = Duration::from_secs(60);
/// Exit code of a mount whose cache or place is another's.
const TAKEN: i32 = 7;
/// No mount of a test lives longer.
const LIFE: Duration = Duration::from_secs(1800);

/// True if nothing can be mounted here; the test is skipped then (`fuse`).
///
/// # Panics
/// As [`skip`].
#[must_use]
pub fn unavailable() -> bool {
    let device = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let reason = match device {
        Err(error) => format!("/dev/fuse: {error}"),
        Ok(_) if rustix::process::geteuid().is_root() || found("fusermount3") => return false,
        Ok(_) => "neither root nor fusermount3".to_owned(),
    };
    skip("fuse", &format!("nothing can be mounted here ({reason})"));
    true
}

/// True if a program is missing; the test, or a part of it, is skipped then.
///
/// # Panics
/// As [`skip`].
#[must_use]
pub fn missing(program: &str) -> bool {
    let missing = !found(program);
    if missing {
        skip(program, &format!("the program {program} is not installed"));
    }
    missing
}

/// True if this is somebody else than root; the test is skipped then (`root`).
///
/// # Panics
/// As [`skip`].
#[must_use]
pub fn rootless() -> bool {
    let rootless = !rustix::process::geteuid().is_root();
    if rootless {
        skip("root", "this takes root");
    }
    rootless
}

fn found(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(program).is_file())
}

/// A mount of a user. Dropped before the user, whose home folder it lies in.
pub struct Mount<'a> {
    user: &'a User,
    path: PathBuf,
    pid: Option<Pid>,
    /// A process before was killed and not waited for.
    follows_killed: bool,
    /// Dropped to call the watchdog off.
    watchdog: Option<Sender<()>>,
}

impl<'a> Mount<'a> {
    /// Mounts on a folder of the user's.
    ///
    /// # Panics
    /// If it does not work.
    #[must_use]
    pub fn start(user: &'a User, name: &str, args: &[&str]) -> Self {
        let mut mount = Self { user, path: user.path(name), pid: None, follows_killed: false, watchdog: None };
        fs::create_dir_all(&mount.path).expect("a mountpoint");
        mount.again(args);
        mount
    }

    /// Mounts again on the same folder.
    ///
    /// # Panics
    /// If it does not work.
    pub fn again(&mut self, args: &[&str]) {
        let deadline = Instant::now() + LAST_BREATH * patience();
        let started = loop {
            let mut command = self.user.command(["mount", "--json"]);
            let started = bounded(command.arg(&self.path).args(args));
            if started.code == TAKEN && self.follows_killed && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(100));
                continue;
            }
            assert_eq!(started.code, 0, "{command:?}: {started:?}");
            break started.json();
        };
        self.follows_killed = false;
        let pid = started["pid"].as_i64().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.unwrap_or_else(|| panic!("no process in {started}"));
        let (watchdog, called_off) = channel::<()>();
        thread::spawn(move || {
            if called_off.recv_timeout(LIFE * patience()) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        (self.pid, self.watchdog) = (Some(pid), Some(watchdog));
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What it says of itself.
    ///
    /// # Panics
    /// If it is not listed.
    #[must_use]
    pub fn status(&self) -> Value {
        let mounts = run(&mut self.user.command(["mounts", "--json"])).json_lines();
        let path = fs::canonicalize(self.path.parent().expect("a home"))
            .expect("the home")
            .join(self.path.file_name().expect("a name"));
        let mine = mounts.into_iter().find(|mount| mount["mountpoint"].as_str().map(Path::new) == Some(&path));
        mine.unwrap_or_else(|| panic!("{} is not listed", path.display()))
    }

    /// Waits until everything that was written is committed.
    pub fn settle(&self) {
        wait_until("everything is committed", || {
            let status = self.status();
            status["dirty_files"] == 0 && status["dirty_bytes"] == 0
        });
    }

    /// Takes it off as a person does.
    ///
    /// # Panics
    /// If it stays.
    pub fn unmount(&mut self) {
        run(self.user.command(["umount"]).arg(&self.path));
        self.wait_gone();
    }

    /// Ends its process without notice, as a crash would. The mountpoint stays and does not answer.
    ///
    /// # Panics
    /// If it had ended before.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait_gone();
    }

    /// Sends its process a signal.
    ///
    /// # Panics
    /// If it has ended before.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid.expect("a process"), signal).expect("the mount's process is there");
    }

    /// Its process was killed and is waited for by nobody: what comes next meets what it may still hold.
    pub fn forget_process(&mut self) {
        self.pid = None;
        self.follows_killed = true;
        self.watchdog = None;
    }

    /// Waits until its process is gone.
    ///
    /// # Panics
    /// If it stays.
    pub fn wait_gone(&mut self) {
        let pid = self.pid.expect("a process");
        wait_until("the mount's process is gone", || !alive(pid));
        // Not before: one that stays is killed when this is dropped.
        (self.pid, self.watchdog) = (None, None);
    }

    /// The folder of its journal and cache.
    #[must_use]
    pub fn cache_dir(&self) -> PathBuf {
        self.user.home().join("cache")
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            if thread::panicking() {
                let _ = kill_process(pid, Signal::KILL);
            } else {
                let _ = try_bounded(self.user.command(["umount", "--force"]).arg(&self.path), None);
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        // Of this path only, and only if something is mounted there.
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        if mounts.lines().any(|line| line.split(' ').nth(4).is_some_and(|point| Path::new(point) == self.path)) {
            let _ = try_bounded(Command::new("umount").arg("-l").arg(&self.path), None);
        }
    }
}

/// A thread of the process is left. The process itself may be a zombie while its last threads still hold locks.
fn alive(pid: Pid) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())) else { return false };
    threads.filter_map(Result::ok).any(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
    })
}
