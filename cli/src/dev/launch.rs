//! Starting the programs of a cluster, detached from this one, and waiting until they say they are ready.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::process::Process;
use super::state::Folder;
use super::{Error, Result};

/// How often a starting program is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Ports are taken from here because operating systems do not give them to outgoing connections by default: a port that was
/// free at the first start is then still free at the next.
const PORTS: std::ops::Range<u16> = 15_000..30_000;

/// Variables that a cluster's programs inherit. Others, such as `DATABASE_URL` or `CYXWIZ_EMAIL`, are meant for other
/// installations.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "LLVM_PROFILE_FILE",
    "LD_LIBRARY_PATH",
];

/// Finds a program next to this one, otherwise in `PATH`.
///
/// # Errors
/// [`Error::ProgramMissing`].
pub fn find_program(name: &'static str) -> Result<PathBuf> {
    let own = env::current_exe().ok();
    let own = own.iter().filter_map(|path| path.parent()).map(Path::to_owned);
    let paths = env::var_os("PATH").unwrap_or_default();
    own.chain(env::split_paths(&paths))
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
        .ok_or(Error::ProgramMissing { name })
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Finds a port of loopback on which nobody listens and which is none of `taken`.
///
/// # Errors
/// [`Error::NoPort`].
pub fn free_port(taken: &[u16]) -> Result<u16> {
    for _ in 0..1000 {
        let mut random = [0; 2];
        getrandom::fill(&mut random).map_err(|_| Error::NoPort)?;
        let port = PORTS.start + u16::from_le_bytes(random) % (PORTS.end - PORTS.start);
        if !taken.contains(&port) && is_free(port) {
            return Ok(port);
        }
    }
    Err(Error::NoPort)
}

/// Waits until nobody listens on some ports, but not beyond `deadline`: what was ended a moment ago may hold its own for a
/// while, and so may the cluster of somebody else that came in between.
pub fn wait_until_free(ports: &[u16], deadline: Instant) {
    while !ports.iter().all(|port| is_free(*port)) && Instant::now() < deadline {
        thread::sleep(POLL);
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A program to start.
pub struct Launch<'a> {
    /// For messages and names of logs, for example `node-03`.
    pub name: String,
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables beside the inherited ones.
    pub variables: Vec<(&'static str, OsString)>,
}

/// A program that was started and is not known to be ready.
#[derive(Debug)]
pub struct Starting {
    name: String,
    child: Child,
    process: Process,
    ready_file: PathBuf,
    log: Log,
}

/// A log to which a program appends what it says, behind what was said before it began.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) path: PathBuf,
    begins: u64,
}

#[derive(Deserialize)]
struct ReadyLine {
    ready: bool,
}

impl Launch<'_> {
    /// Starts it in a process group of its own, with standard error appended to its log.
    ///
    /// # Errors
    /// If a log cannot be opened or the program cannot be started.
    pub fn start(self, folder: &Folder) -> Result<Starting> {
        let log = folder.log(&format!("{}.log", self.name));
        let ready_file = folder.log(&format!("{}.ready", self.name));
        let errors = OpenOptions::new().create(true).append(true).open(&log).map_err(Error::io(&log))?;
        let log = Log::behind(log, &errors);
        let ready = File::create(&ready_file).map_err(Error::io(&ready_file))?;
        let child = Command::new(self.program)
            .args(self.args)
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .envs(self.variables)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(ready)
            .stderr(errors)
            // A Ctrl-C on this terminal is not meant for the cluster.
            .process_group(0)
            .spawn()
            .map_err(Error::io(self.program))?;
        // A child that was not waited for keeps its id, so this is ours even if it has ended.
        match Process::find(child.id()) {
            Some(process) => Ok(Starting { name: self.name, child, process, ready_file, log }),
            None => Err(Error::Ended {
                name: self.name,
                status: "at once".to_owned(),
                last: log.last_words().unwrap_or_else(|| "nothing".to_owned()),
                log: log.path,
            }),
        }
    }
}

impl Starting {
    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits for the line in which it says that it is ready. If it does not come, the program is ended.
    ///
    /// # Errors
    /// [`Error::Ended`] or [`Error::NotReady`].
    pub fn wait(mut self, deadline: Instant) -> Result<Process> {
        loop {
            // The order matters: a program that is ready and then ends has been ready.
            let ended = self.child.try_wait().map_err(Error::io(&self.log.path))?;
            if said_ready(&self.ready_file) {
                return Ok(self.process);
            }
            if let Some(status) = ended {
                let last = self.log.last_words().unwrap_or_else(|| "nothing".to_owned());
                return Err(Error::Ended { name: self.name, status: status.to_string(), log: self.log.path, last });
            }
            if Instant::now() >= deadline {
                // It is our child, so this is no other process.
                let _ = self.child.kill();
                let _ = self.child.wait();
                return Err(Error::NotReady { name: self.name, log: self.log.path });
            }
            thread::sleep(POLL);
        }
    }
}

fn said_ready(path: &Path) -> bool {
    let Ok(text) = fs::read_to_string(path) else { return false };
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete.lines().any(|line| serde_json::from_str::<ReadyLine>(line).is_ok_and(|line| line.ready))
}

impl Log {
    /// The log at a path, opened a moment ago for a program that is about to begin.
    pub(crate) fn behind(path: PathBuf, opened: &File) -> Self {
        Self { path, begins: opened.metadata().map_or(0, |log| log.len()) }
    }

    /// What the program said last. Of a usage error that is what is wrong, not where to read more.
    pub(crate) fn last_words(&self) -> Option<String> {
        let text = fs::read(&self.path).unwrap_or_default();
        let begins = usize::try_from(self.begins).unwrap_or(usize::MAX);
        let text = String::from_utf8_lossy(text.get(begins..).unwrap_or_default());
        let mut lines = text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
        let last = lines.next()?;
        if !last.starts_with("For more information, try ") {
            return Some(last.to_owned());
        }
        let mut below = "";
        for line in lines {
            if let Some(wrong) = line.strip_prefix("error: ") {
                // What is missing stands on the next line.
                return Some(if wrong.ends_with(':') { format!("{wrong} {below}") } else { wrong.to_owned() });
            }
            below = line;
        }
        Some(last.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(script: &str) -> (tempfile::TempDir, Folder, Result<Starting>) {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::new(parent.path()).unwrap();
        folder.create().unwrap();
        let launch = Launch {
            name: "program".to_owned(),
            program: Path::new("/bin/sh"),
            args: vec!["-c".into(), script.into()],
            variables: vec![("COLOUR", "blue".into())],
        };
        let started = launch.start(&folder);
        (parent, folder, started)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn a_program_is_ready_when_it_says_so() {
        let (_parent, _folder, started) = launch(r#"echo starting; echo '{"ready":true}'; exec sleep 600"#);
        let process = started.unwrap().wait(soon()).unwrap();
        assert!(process.is_running());
        process.kill().unwrap();
    }

    #[test]
    fn a_program_that_ends_is_reported_with_its_last_words() {
        let (_parent, _folder, started) = launch("sleep 0.2; echo \"no $COLOUR paint\" >&2; exit 3");
        match started.unwrap().wait(soon()) {
            Err(Error::Ended { last, .. }) => assert_eq!(last, "no blue paint"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_words_about_an_argument_name_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log { path: folder.path().join("log"), begins: 5 };
        let said = |text: &str| {
            fs::write(&log.path, format!("once\n{text}")).unwrap();
            log.last_words()
        };
        let more = "Usage: x [OPTIONS]\n\nFor more information, try '--help'.\n";
        let wrong = format!("error: an older one\nstarted\nerror: unexpected argument '--bogus' found\n\n{more}");
        assert_eq!(said(&wrong).unwrap(), "unexpected argument '--bogus' found");
        let missing = format!("error: the following required arguments were not provided:\n  --data <DIR>\n\n{more}");
        assert_eq!(said(&missing).unwrap(), "the following required arguments were not provided: --data <DIR>");
        assert_eq!(said("error: one\nit is over\n\n").unwrap(), "it is over");
        assert_eq!(said(more).unwrap(), "For more information, try '--help'.");
        assert_eq!(said(""), None);
    }

    #[test]
    fn a_program_that_never_gets_ready_is_ended() {
        let (_parent, _folder, started) = launch("exec sleep 600");
        let started = started.unwrap();
        let process = started.process().clone();
        assert!(matches!(started.wait(Instant::now()), Err(Error::NotReady { .. })));
        assert!(!process.is_running());
    }

    #[test]
    fn half_a_line_is_not_ready() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        fs::write(&path, r#"{"ready":true}"#).unwrap();
        assert!(!said_ready(&path));
        fs::write(&path, "{\"ready\":true}\n").unwrap();
        assert!(said_ready(&path));
        fs::write(&path, "{\"ready\":false}\nready\n").unwrap();
        assert!(!said_ready(&path));
    }

    #[test]
    fn ports_in_use_are_not_offered() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
        let busy = listener.local_addr().unwrap().port();
        let began = Instant::now();
        wait_until_free(&[busy], began + Duration::from_millis(50));
        assert!(began.elapsed() >= Duration::from_millis(50), "it is waited for");
        let holder = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            drop(listener);
        });
        wait_until_free(&[busy], began + Duration::from_secs(600));
        assert!(is_free(busy));
        holder.join().unwrap();
        let port = free_port(&[]).unwrap();
        assert!(PORTS.contains(&port));
        assert!(matches!(free_port(&PORTS.collect::<Vec<_>>()), Err(Error::NoPort)));
    }
}
