//! `cyx dev`: a whole cluster of the production programs on this machine.
//!
//! The folder of a cluster:
//! ```text
//! cluster.json   ports, process ids and their start times; written before and after every step
//! enroll-token   with which the nodes join
//! lock           held while a command works
//! outbox/        mail
//! logs/          a log and a ready file per program
//! server/  nodes/00/  nodes/01/  …   data
//! ```

mod cluster;
pub mod launch;
pub mod process;
pub mod state;

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

use crate::args::dev::{Dev, Place, Up};
use crate::output::Output;
use cluster::Manager;
use state::{Cluster, Folder};

/// Short for results of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command on a cluster failed.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no cluster in the folder.
    #[error("there is no cluster in {}", dir.display())]
    NoCluster {
        /// The folder.
        dir: PathBuf,
    },
    /// There is no such node.
    #[error("there is no node {index}, only 0 to {last}")]
    NoSuchNode {
        /// What was asked for.
        index: u32,
        /// The last one.
        last: usize,
    },
    /// The folder is for something else, or there is none to be found.
    #[error("{0}")]
    Usage(String),
    /// A program is not installed.
    #[error("the program {name} is neither next to this one nor in PATH")]
    ProgramMissing {
        /// Its name.
        name: &'static str,
    },
    /// There is no free port.
    #[error("no free port was found")]
    NoPort,
    /// A program ended instead of becoming ready.
    #[error("{name} ended ({status}) instead of becoming ready, and its last words are: {last}")]
    Ended {
        /// Which one.
        name: String,
        /// How it ended.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The last line of its log.
        last: String,
    },
    /// A program did not become ready in time.
    #[error("{name} did not become ready in time; its log is {}", log.display())]
    NotReady {
        /// Which one.
        name: String,
        /// Its log.
        log: PathBuf,
    },
    /// A program cannot be ended.
    #[error("{name} cannot be ended")]
    Stubborn {
        /// Which one.
        name: String,
    },
    /// The file that describes the cluster cannot be understood.
    #[error("{}: {reason}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or program of this machine.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => crate::error::EXIT_USAGE,
            Self::NoCluster { .. } | Self::NoSuchNode { .. } => cyx_core::error::ErrorCode::NotFound.exit_code(),
            _ => 1,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        match self {
            Self::NoCluster { .. } => Some("Start one with `cyx dev up`."),
            Self::ProgramMissing { .. } => {
                Some("Build all programs with `cargo build --release`, or install them together.")
            }
            Self::Ended { .. } => Some("The folder logs/ of the cluster has more."),
            _ => None,
        }
    }
}

/// Does one of the commands.
///
/// # Errors
/// As the commands say.
pub fn run(command: Dev, output: &Output) -> crate::error::Result<()> {
    match command {
        Dev::Up(args) => up(&args, output),
        Dev::Status(args) => {
            let folder = folder(&args.place)?;
            let cluster = folder.load()?;
            show(&Status::of(&folder, &cluster), output)
        }
        Dev::StopNode(args) => {
            let mut manager = Manager::open(folder(&args.place)?)?;
            manager.stop_node(args.index, args.kill)?;
            changed(&manager, args.index, output)
        }
        Dev::StartNode(args) => {
            let mut manager = Manager::open(folder(&args.place)?)?;
            manager.start_node(args.index, Duration::from_secs(args.timeout))?;
            changed(&manager, args.index, output)
        }
        Dev::Down(args) => {
            let mut manager = Manager::open(folder(&args.place)?)?;
            manager.down()?;
            let status = Status::of(manager.folder(), manager.cluster());
            if args.wipe {
                manager.folder().wipe()?;
            }
            if output.json() {
                return output.document(&status);
            }
            output.note(if args.wipe {
                "The cluster is stopped and deleted."
            } else {
                "The cluster is stopped; its data is kept."
            });
            Ok(())
        }
    }
}

fn up(args: &Up, output: &Output) -> crate::error::Result<()> {
    let mut manager = Manager::create(folder(&args.place)?, args)?;
    manager.up(Duration::from_secs(args.timeout), &|text| output.detail(text))?;
    let status = Status::of(manager.folder(), manager.cluster());
    if output.json() {
        return output.document(&status);
    }
    output.note(format!("A server and {} nodes are running. To use them:", status.nodes.len()));
    output.line(format!("export CYXCLOUD_GATEWAY={}", status.gateway))?;
    output.note(format!("Mail, such as login codes, lies in {}; stop all with `cyx dev down`.", status.outbox));
    Ok(())
}

fn changed(manager: &Manager, index: u32, output: &Output) -> crate::error::Result<()> {
    let status = Status::of(manager.folder(), manager.cluster());
    let Some(node) = status.nodes.into_iter().find(|node| node.index == index as usize) else { return Ok(()) };
    if output.json() {
        return output.document(&node);
    }
    output.note(format!("Node {index} is {}.", node.state));
    Ok(())
}

fn show(status: &Status, output: &Output) -> crate::error::Result<()> {
    if output.json() {
        return output.document(status);
    }
    output.line(format!("gateway  {}", status.gateway))?;
    output.line(format!("grpc     {}", status.grpc))?;
    output.line(format!("outbox   {}", status.outbox))?;
    output.line(format!("server   {}  {}", status.server.state, shown_pid(status.server.pid)))?;
    for node in &status.nodes {
        output.line(format!("node {:<3} {}  {}  {}", node.index, node.state, shown_pid(node.pid), node.address))?;
    }
    Ok(())
}

fn shown_pid(pid: Option<u32>) -> String {
    pid.map_or_else(|| "-".to_owned(), |pid| format!("pid {pid}"))
}

fn folder(place: &Place) -> Result<Folder> {
    if let Some(dir) = &place.dir {
        return Folder::new(dir);
    }
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("CYXCLOUD_HOME").or_else(|| set("HOME").map(|home| home.join(".cyxcloud")));
    match home {
        Some(home) => Folder::new(&home.join("dev")),
        None => Err(Error::Usage("there is no home folder: use --dir or set CYXCLOUD_HOME".to_owned())),
    }
}

/// A cluster as `cyx dev status --json` prints it.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Address of the server for users.
    pub gateway: String,
    /// Address of the server for nodes.
    pub grpc: String,
    /// The cluster's folder.
    pub dir: String,
    /// Where mail goes.
    pub outbox: String,
    /// The server.
    pub server: ServerStatus,
    /// The nodes.
    pub nodes: Vec<NodeStatus>,
}

/// The server in [`Status`].
#[derive(Debug, Serialize)]
pub struct ServerStatus {
    /// Its process; absent if it is stopped.
    pub pid: Option<u32>,
    /// `running` or `stopped`.
    pub state: &'static str,
    /// Its data.
    pub data_dir: String,
}

/// A node in [`Status`].
#[derive(Debug, Serialize)]
pub struct NodeStatus {
    /// Its index.
    pub index: usize,
    /// Its process; absent if it is stopped.
    pub pid: Option<u32>,
    /// Where clients reach it.
    pub address: String,
    /// `running` or `stopped`.
    pub state: &'static str,
    /// Its data.
    pub data_dir: String,
    /// Where its metrics are.
    pub metrics: String,
}

impl Status {
    fn of(folder: &Folder, cluster: &Cluster) -> Self {
        let pid = |process: &Option<process::Process>| process.as_ref().filter(|p| p.is_running()).map(|p| p.pid);
        let state = |pid: Option<u32>| if pid.is_some() { "running" } else { "stopped" };
        let shown = |path: &Path| path.to_string_lossy().into_owned();
        let server = pid(&cluster.server);
        let node = |(index, node): (usize, &state::Node)| {
            let pid = pid(&node.process);
            NodeStatus {
                index,
                pid,
                address: format!("127.0.0.1:{}", node.grpc_port),
                state: state(pid),
                data_dir: shown(&folder.node(index)),
                metrics: format!("http://127.0.0.1:{}/metrics", node.metrics_port),
            }
        };
        Self {
            gateway: format!("http://127.0.0.1:{}", cluster.http_port),
            grpc: format!("http://127.0.0.1:{}", cluster.grpc_port),
            dir: shown(folder.path()),
            outbox: shown(&folder.outbox()),
            server: ServerStatus { pid: server, state: state(server), data_dir: shown(&folder.server()) },
            nodes: cluster.nodes.iter().enumerate().map(node).collect(),
        }
    }
}
