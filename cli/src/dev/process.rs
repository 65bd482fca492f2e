//! Processes that outlive the command that started them.
//!
//! A process id alone may long belong to somebody else. Therefore each is recorded with the time it was started, and nothing is
//! signalled unless both still agree.

use std::ffi::OsString;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// How often a process is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(20);

/// A process, told from later ones with the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// When it was started, in words of the operating system.
    started: String,
}

impl Process {
    /// The running process of this id; `None` if there is none, or only a zombie.
    #[must_use]
    pub fn find(pid: u32) -> Option<Self> {
        start_time(pid).map(|started| Self { pid, started })
    }

    /// It runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        start_time(self.pid).as_ref() == Some(&self.started)
    }

    /// Whether it was started with exactly these arguments; `None` if that cannot be told.
    #[must_use]
    pub fn has_arguments(&self, arguments: &[OsString]) -> Option<bool> {
        command_line(self.pid).filter(|_| self.is_running()).map(|line| line.get(1..) == Some(arguments))
    }

    /// Asks it to finish.
    ///
    /// # Errors
    /// If the operating system refuses; not if it is gone.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// If the operating system refuses; not if it is gone.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Waits until it is gone. False if it is still there after `limit`.
    #[must_use]
    pub fn wait_gone(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_running() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(POLL);
        }
        true
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
        match send(self, pid, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => other.map_err(Into::into),
        }
    }
}

/// The handle is taken before the check, so the id cannot pass to another process in between.
#[cfg(target_os = "linux")]
fn send(process: &Process, pid: Pid, signal: Signal) -> rustix::io::Result<()> {
    use rustix::process::{PidfdFlags, kill_process, pidfd_open, pidfd_send_signal};
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) if process.is_running() => pidfd_send_signal(handle, signal),
        Ok(_) => Ok(()),
        // Kernels before 5.3 and some sandboxes.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) if process.is_running() => kill_process(pid, signal),
        Err(error) => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
fn send(process: &Process, pid: Pid, signal: Signal) -> rustix::io::Result<()> {
    if process.is_running() { rustix::process::kill_process(pid, signal) } else { Ok(()) }
}

/// Boot id and clock ticks since boot, from `/proc/PID/stat` (proc(5), fields 3 and 22).
#[cfg(target_os = "linux")]
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may itself contain anything.
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let fields: Vec<&str> = std::str::from_utf8(&stat[after_name..]).ok()?.split_ascii_whitespace().collect();
    let (state, ticks) = (fields.first()?, fields.get(19)?);
    if matches!(*state, "Z" | "X" | "x") {
        return None;
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Some(format!("{}:{ticks}", boot.trim()))
}

#[cfg(not(target_os = "linux"))]
fn start_time(pid: u32) -> Option<String> {
    let output =
        std::process::Command::new("ps").args(["-o", "stat=,lstart=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (state, started) = text.trim().split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then(|| started.trim().to_owned())
}

/// The program and its arguments.
#[cfg(target_os = "linux")]
fn command_line(pid: u32) -> Option<Vec<OsString>> {
    use std::os::unix::ffi::OsStringExt as _;
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    // Each ends with a zero byte, the last one too.
    Some(line.strip_suffix(b"\0")?.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect())
}

#[cfg(not(target_os = "linux"))]
fn command_line(_pid: u32) -> Option<Vec<OsString>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn sleeper() -> (Child, Process) {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::find(child.id()).unwrap();
        (child, process)
    }

    #[test]
    fn a_process_is_found_until_it_is_gone_even_as_a_zombie() {
        let (mut child, process) = sleeper();
        assert!(process.is_running());
        process.kill().unwrap();
        // Not waited for yet: it stays in the process table.
        assert!(process.wait_gone(Duration::from_secs(60)));
        assert_eq!(Process::find(process.pid), None);
        child.wait().unwrap();
        process.terminate().unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_is_asked_what_it_was_started_with() {
        let (mut child, process) = sleeper();
        // The kernel wakes who started it before it has written them down.
        while process.has_arguments(&[]).is_none() {
            thread::sleep(POLL);
        }
        assert_eq!(process.has_arguments(&["600".into()]), Some(true));
        for other in [&[][..], &["60".into()], &["600".into(), "".into()]] {
            assert_eq!(process.has_arguments(other), Some(false), "{other:?}");
        }
        process.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(process.has_arguments(&["600".into()]), None);
    }

    #[test]
    fn a_process_that_only_has_the_same_id_is_left_alone() {
        let (mut child, process) = sleeper();
        let other = Process { pid: process.pid, started: "earlier".to_owned() };
        assert!(!other.is_running());
        other.kill().unwrap();
        assert!(process.is_running());
        process.kill().unwrap();
        child.wait().unwrap();
    }
}
