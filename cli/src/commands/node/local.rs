//! The storage node of this machine: where it is remembered, and what it says of itself.
//!
//! `node-state.json` in the node's folder names the process that `cyx node start` started last, and where it answers and registers.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::args::node::Place;
use crate::commands::Context;
use crate::dev::process::Process;
use crate::error::{Error, Result};

const STATE_FILE: &str = "node-state.json";
/// A node answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of an answer.
const ANSWER_MAX: u64 = 1 << 20;

/// A node that `cyx node start` started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// Its process.
    pub(super) process: Process,
    /// Its id; none before it was registered.
    pub(super) node_id: Option<String>,
    /// Where it answers `/status`; none before it was registered.
    pub(super) metrics: Option<SocketAddr>,
    /// Folder of its chunks; none if node.toml says it.
    pub(super) storage_path: Option<PathBuf>,
    /// Where it logs in.
    pub(super) gateway: String,
    /// Where it registers.
    pub(super) central_server: String,
}

/// What a node writes when it is ready.
#[derive(Debug, Deserialize)]
pub(super) struct Ready {
    pub(super) node_id: String,
    pub(super) metrics: SocketAddr,
}

/// `/status` of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Status {
    pub(super) node_id: String,
    pub(super) version: String,
    pub(super) registered: bool,
    pub(super) uptime_seconds: u64,
    pub(super) offered_bytes: u64,
    pub(super) reserved_bytes: u64,
    pub(super) allocatable_bytes: u64,
    pub(super) used_bytes: u64,
    pub(super) available_bytes: u64,
    pub(super) trash_bytes: u64,
    pub(super) chunks: u64,
    pub(super) damaged_chunks: u64,
    pub(super) stored_bytes_total: u64,
    pub(super) served_bytes_total: u64,
    pub(super) orders_waiting_bytes: u64,
}

/// What a node remembers of an hour.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Hour {
    pub(super) begins: u64,
    pub(super) counted_bytes: u64,
    /// None if it was not looked at.
    #[serde(default)]
    pub(super) held_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Hours {
    hours: Vec<Hour>,
}

/// Folder of the node's state, log and settings.
pub(super) fn home(context: &Context, place: &Place) -> Result<PathBuf> {
    let home = place.home.clone().unwrap_or_else(|| context.config.home.clone());
    std::path::absolute(&home).map_err(file("find", &home))
}

/// The authorities that vouch for the server, for a node that runs in another folder.
pub(super) fn ca_file(context: &Context) -> Result<Option<PathBuf>> {
    let absolute = |path: &PathBuf| std::path::absolute(path).map_err(file("find", path));
    context.config.ca_file.as_ref().map(absolute).transpose()
}

/// An error about a file.
pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::Node { message: format!("cannot {action} {path}: {source}"), advice: None }
}

impl State {
    /// What is remembered, whether it still runs or not.
    pub(super) fn load(home: &Path) -> Result<Option<Self>> {
        let path = home.join(STATE_FILE);
        match fs::read(&path) {
            // A file that is no state is as good as none: the next start writes it anew.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(file("read", &path)(source)),
        }
    }

    /// Remembers it.
    pub(super) fn save(&self, home: &Path) -> Result<()> {
        let (path, fresh) = (home.join(STATE_FILE), home.join(format!(".{STATE_FILE}.new")));
        let write = || {
            let text = serde_json::to_vec_pretty(self)?;
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        };
        write().map_err(file("write", &path))
    }

    /// Forgets a first start that failed.
    pub(super) fn forget(home: &Path) -> Result<()> {
        let path = home.join(STATE_FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("remove", &path)(error)),
            _ => Ok(()),
        }
    }
}

/// Makes a folder that is its owner's alone, unless it is there.
pub(super) fn make_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(file("make", path))
}

/// What a node says of itself.
///
/// # Errors
/// [`Error::Node`] if it does not answer.
pub(super) async fn status(at: SocketAddr) -> Result<Status> {
    get(at, "/status".to_owned()).await
}

/// What a node remembers between two Unix seconds.
///
/// # Errors
/// As [`status`].
pub(super) async fn facts(at: SocketAddr, from: u64, to: u64) -> Result<Vec<Hour>> {
    Ok(get::<Hours>(at, format!("/facts?from={from}&to={to}")).await?.hours)
}

async fn get<T: DeserializeOwned + Send + 'static>(at: SocketAddr, path: String) -> Result<T> {
    let asked = tokio::task::spawn_blocking(move || ask(at, &path));
    let body = asked.await.map_err(io::Error::other).and_then(|answer| answer);
    let parsed = body.and_then(|body| serde_json::from_slice(&body).map_err(io::Error::other));
    parsed.map_err(|error| Error::Node {
        message: format!("the storage node does not answer at {at}: {error}"),
        advice: Some("`cyx node start` starts one; --metrics says where one answers."),
    })
}

/// A GET over plain HTTP/1.0, whose answer ends with the connection.
fn ask(at: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let mut at = at;
    if at.ip().is_unspecified() {
        at.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {at}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    body(&answer).map(<[u8]>::to_vec).ok_or_else(|| io::Error::other("this is no storage node"))
}

/// The body of an answer with status 200.
fn body(answer: &[u8]) -> Option<&[u8]> {
    let head_end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = answer.split_at(head_end + 4);
    let status = head.strip_prefix(b"HTTP/1.")?.split(|byte| *byte == b' ').nth(1)?;
    (status == b"200").then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_good_answers_have_a_body() {
        assert_eq!(body(b"HTTP/1.0 200 OK\r\ncontent-type: x\r\n\r\n{}"), Some(&b"{}"[..]));
        for bad in [&b"HTTP/1.1 503 Service Unavailable\r\n\r\n{}"[..], b"HTTP/1.0 200 OK\r\n", b"", b"SSH-2.0\r\n\r\n"]
        {
            assert_eq!(body(bad), None);
        }
    }

    #[test]
    fn a_state_survives_and_a_damaged_one_is_none() {
        let home = tempfile::tempdir().unwrap();
        assert!(State::load(home.path()).unwrap().is_none());
        let process = Process::find(std::process::id()).unwrap();
        let mut state = State {
            process,
            node_id: None,
            metrics: None,
            storage_path: None,
            gateway: String::new(),
            central_server: String::new(),
        };
        state.save(home.path()).unwrap();
        assert_eq!(State::load(home.path()).unwrap().unwrap().node_id, None);
        state.node_id = Some("ab".into());
        state.metrics = Some("127.0.0.1:1".parse().unwrap());
        state.save(home.path()).unwrap();
        let loaded = State::load(home.path()).unwrap().unwrap();
        assert_eq!((loaded.node_id.as_deref(), loaded.process), (Some("ab"), state.process));
        assert_eq!(loaded.metrics, state.metrics);
        fs::write(home.path().join(STATE_FILE), "{").unwrap();
        assert!(State::load(home.path()).unwrap().is_none());
        State::forget(home.path()).unwrap();
        State::forget(home.path()).unwrap();
    }
}
