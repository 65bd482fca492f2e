//! The steps of starting and stopping a cluster.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::launch::{Launch, Starting, find_program, free_port, wait_until_free};
use super::process::Process;
use super::state::{Cluster, Folder, Lock, Node};
use super::{Error, Result};
use crate::args::dev::Up;

/// Nodes of a new cluster: the default scheme 10+4 fully placed.
const DEFAULT_NODES: u32 = 14;
/// A program that is asked to finish gets this long before it is killed.
const GRACE: Duration = Duration::from_secs(30);
/// A killed process is gone after this long, or something is very wrong.
const DEATH: Duration = Duration::from_secs(30);
/// A program that was started before waits this long for its ports, should somebody else hold them.
const PATIENCE: Duration = Duration::from_secs(20);
/// Starts of a new program with other ports, should somebody take a free one before the program does.
const ATTEMPTS: u32 = 3;

/// When a server of a cluster for development takes notice: soon enough that what a killed node held is made anew within a minute, late
/// enough for a busy machine. Variables, so that an argument for the server wins over them.
const TIMINGS: [(&str, &str); 7] = [
    ("CYX_REPAIR_EAGER", "true"),
    ("CYX_HEARTBEAT_SECONDS", "2"),
    ("CYX_NODE_SUSPECT_SECONDS", "10"),
    ("CYX_NODE_OFFLINE_SECONDS", "15"),
    ("CYX_NODE_LOST_SECONDS", "25"),
    ("CYX_NODE_AUDIT_SECONDS", "10"),
    ("CYX_NODE_AUDIT_RECHECK_SECONDS", "5"),
];

/// A cluster that this command alone works on.
pub(crate) struct Manager {
    folder: Folder,
    cluster: Cluster,
    _lock: Lock,
}

impl Manager {
    /// Opens the cluster of a folder.
    pub(crate) fn open(folder: Folder) -> Result<Self> {
        let lock = folder.lock()?;
        let cluster = folder.load()?;
        Ok(Self { folder, cluster, _lock: lock })
    }

    /// Opens the cluster of a folder or makes one, and applies the options.
    pub(crate) fn create(folder: Folder, args: &Up) -> Result<Self> {
        folder.create()?;
        let lock = folder.lock()?;
        let mut cluster = match folder.load() {
            Ok(cluster) => cluster,
            Err(Error::NoCluster { .. }) => new_cluster(args)?,
            Err(error) => return Err(error),
        };
        if let Some(port) = args.port.filter(|port| *port != cluster.http_port) {
            return Err(Error::Usage(format!(
                "this cluster keeps its port {}, so it cannot get port {port}",
                cluster.http_port
            )));
        }
        let wanted = args.nodes.unwrap_or(DEFAULT_NODES) as usize;
        if args.nodes.is_some_and(|_| wanted < cluster.nodes.len()) {
            let present = cluster.nodes.len();
            return Err(Error::Usage(format!("this cluster has {present} nodes already, more than {wanted}")));
        }
        if cluster.nodes.is_empty() || args.nodes.is_some() {
            while cluster.nodes.len() < wanted {
                let mut taken = cluster.ports();
                let grpc_port = free_port(&taken)?;
                taken.push(grpc_port);
                let metrics_port = free_port(&taken)?;
                cluster.nodes.push(Node { grpc_port, metrics_port, process: None, settled: false });
            }
        }
        if !args.server_arg.is_empty() {
            cluster.server_args = meant(&args.server_arg);
        }
        if !args.node_arg.is_empty() {
            cluster.node_args = meant(&args.node_arg);
        }
        folder.save(&cluster)?;
        Ok(Self { folder, cluster, _lock: lock })
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What does not get the arguments that were given now, because it runs already with others; `None` if everything has them.
    pub(crate) fn unheeded(&self, args: &Up) -> Option<String> {
        let others = |process: Option<&Process>, arguments: Vec<OsString>| {
            process.is_some_and(|process| process.is_running() && process.has_arguments(&arguments) != Some(true))
        };
        let server = !args.server_arg.is_empty() && others(self.cluster.server.as_ref(), self.server_args());
        let node = |index: usize| {
            others(self.cluster.nodes[index].process.as_ref(), self.node_args(index, self.folder.node(index)))
        };
        let nodes = !args.node_arg.is_empty() && (0..self.cluster.nodes.len()).any(node);
        match (server, nodes) {
            (true, true) => Some("the server and nodes run already, and get --server-arg and --node-arg".to_owned()),
            (true, false) => Some("the server runs already, and gets --server-arg".to_owned()),
            (false, true) => Some("nodes run already, and get --node-arg".to_owned()),
            (false, false) => None,
        }
    }

    /// Starts what is down. If that fails, ends what it started.
    pub(crate) fn up(&mut self, limit: Duration, say: &dyn Fn(&str)) -> Result<()> {
        let deadline = Instant::now() + limit;
        let server_was_down = !running(self.cluster.server.as_ref());
        let down: Vec<usize> =
            (0..self.cluster.nodes.len()).filter(|i| !running(self.cluster.nodes[*i].process.as_ref())).collect();
        let started = self.start_server(deadline).and_then(|()| {
            say("The server is ready.");
            self.start_nodes(&down, deadline)
        });
        if started.is_err() {
            for index in down {
                let _ = self.stop_node_at(index, true);
            }
            if server_was_down {
                let _ = self.stop_server();
            }
        }
        started
    }

    /// Starts a node unless it runs.
    pub(crate) fn start_node(&mut self, index: u32, limit: Duration) -> Result<()> {
        let index = self.index(index)?;
        if running(self.cluster.nodes[index].process.as_ref()) {
            return Ok(());
        }
        self.start_nodes(&[index], Instant::now() + limit)
    }

    /// Stops a node unless it is stopped.
    pub(crate) fn stop_node(&mut self, index: u32, kill: bool) -> Result<()> {
        let index = self.index(index)?;
        self.stop_node_at(index, kill)
    }

    /// Stops all: nodes first, because they say goodbye to the server.
    pub(crate) fn down(&mut self) -> Result<()> {
        for process in self.cluster.nodes.iter().filter_map(|node| node.process.as_ref()) {
            process.terminate().map_err(Error::io(self.folder.path()))?;
        }
        for index in 0..self.cluster.nodes.len() {
            self.stop_node_at(index, false)?;
        }
        self.stop_server()
    }

    fn index(&self, index: u32) -> Result<usize> {
        let count = self.cluster.nodes.len();
        let missing = Error::NoSuchNode { index, last: count.saturating_sub(1) };
        usize::try_from(index).ok().filter(|index| *index < count).ok_or(missing)
    }

    fn start_server(&mut self, deadline: Instant) -> Result<()> {
        if running(self.cluster.server.as_ref()) {
            return Ok(());
        }
        let program = find_program("cyx-server")?;
        let token = self.folder.enroll_token()?;
        if self.cluster.server_settled {
            wait_until_free(&[self.cluster.http_port, self.cluster.grpc_port], deadline.min(Instant::now() + PATIENCE));
        }
        for attempt in 1.. {
            let starting = Launch {
                name: "server".to_owned(),
                program: &program,
                args: self.server_args(),
                variables: [("CYX_ENROLL_TOKEN", token.clone().into()), ("CYXCLOUD_HOME", self.folder.server().into())]
                    .into_iter()
                    .chain(TIMINGS.iter().map(|(name, value)| (*name, OsString::from(value))))
                    .collect(),
            }
            .start(&self.folder)?;
            self.cluster.server = Some(starting.process().clone());
            self.folder.save(&self.cluster)?;
            match starting.wait(deadline) {
                Ok(_) => break,
                Err(Error::Ended { .. }) if !self.cluster.server_settled && attempt < ATTEMPTS => {
                    self.cluster.grpc_port = free_port(&self.cluster.ports())?;
                    if !self.cluster.http_port_fixed {
                        self.cluster.http_port = free_port(&self.cluster.ports())?;
                    }
                }
                Err(error) => {
                    self.cluster.server = None;
                    self.folder.save(&self.cluster)?;
                    return Err(error);
                }
            }
        }
        self.cluster.server_settled = true;
        self.folder.save(&self.cluster)
    }

    /// Starts nodes side by side.
    fn start_nodes(&mut self, indices: &[usize], deadline: Instant) -> Result<()> {
        let program = find_program("cyx-node")?;
        let token = self.folder.enroll_token()?;
        let mut waiting: Vec<usize> = indices.to_vec();
        let settled = indices.iter().map(|index| &self.cluster.nodes[*index]).filter(|node| node.settled);
        let ports: Vec<u16> = settled.flat_map(|node| [node.grpc_port, node.metrics_port]).collect();
        wait_until_free(&ports, deadline.min(Instant::now() + PATIENCE));
        for attempt in 1.. {
            let mut starting = Vec::new();
            for index in waiting.drain(..) {
                let started = self.launch_node(index, &program, &token)?;
                self.cluster.nodes[index].process = Some(started.process().clone());
                starting.push((index, started));
            }
            self.folder.save(&self.cluster)?;
            let mut failure = None;
            for (index, started) in starting {
                match started.wait(deadline) {
                    Ok(_) => self.cluster.nodes[index].settled = true,
                    Err(Error::Ended { .. }) if !self.cluster.nodes[index].settled && attempt < ATTEMPTS => {
                        self.cluster.nodes[index].process = None;
                        self.cluster.nodes[index].grpc_port = free_port(&self.cluster.ports())?;
                        self.cluster.nodes[index].metrics_port = free_port(&self.cluster.ports())?;
                        waiting.push(index);
                    }
                    Err(error) => {
                        self.cluster.nodes[index].process = None;
                        failure.get_or_insert(error);
                    }
                }
            }
            self.folder.save(&self.cluster)?;
            if let Some(error) = failure {
                return Err(error);
            }
            if waiting.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn launch_node(&self, index: usize, program: &std::path::Path, token: &str) -> Result<Starting> {
        let data = self.folder.node(index);
        Launch {
            name: format!("node-{index:02}"),
            program,
            args: self.node_args(index, data.clone()),
            variables: vec![("CYXWIZ_ENROLL_TOKEN", token.into()), ("CYXCLOUD_HOME", data.into())],
        }
        .start(&self.folder)
    }

    fn server_args(&self) -> Vec<OsString> {
        let cluster = &self.cluster;
        let mut args: Vec<OsString> = vec![
            "--data-dir".into(),
            self.folder.server().into(),
            "--http".into(),
            format!("127.0.0.1:{}", cluster.http_port).into(),
            "--grpc".into(),
            format!("127.0.0.1:{}", cluster.grpc_port).into(),
            "--outbox".into(),
            self.folder.outbox().into(),
            "--allow-colocated".into(),
            "--print-ready".into(),
        ];
        args.extend(cluster.server_args.iter().map(OsString::from));
        args
    }

    fn node_args(&self, index: usize, data: PathBuf) -> Vec<OsString> {
        let (cluster, node) = (&self.cluster, &self.cluster.nodes[index]);
        let mut args: Vec<OsString> = vec![
            "--storage-path".into(),
            data.into(),
            "--grpc-host".into(),
            "127.0.0.1".into(),
            "--grpc-port".into(),
            node.grpc_port.to_string().into(),
            "--metrics-port".into(),
            node.metrics_port.to_string().into(),
            "--gateway".into(),
            format!("http://127.0.0.1:{}", cluster.http_port).into(),
            "--central-server".into(),
            format!("http://127.0.0.1:{}", cluster.grpc_port).into(),
            "--print-ready".into(),
        ];
        args.extend(cluster.node_args.iter().map(OsString::from));
        args
    }

    fn stop_node_at(&mut self, index: usize, kill: bool) -> Result<()> {
        if let Some(process) = &self.cluster.nodes[index].process {
            stop(process, &format!("node {index}"), kill)?;
        }
        self.cluster.nodes[index].process = None;
        self.folder.save(&self.cluster)
    }

    fn stop_server(&mut self) -> Result<()> {
        if let Some(process) = &self.cluster.server {
            stop(process, "the server", false)?;
        }
        self.cluster.server = None;
        self.folder.save(&self.cluster)
    }
}

/// What is to be passed on. An empty argument stands for none, so that what was kept can be taken away.
fn meant(typed: &[String]) -> Vec<String> {
    typed.iter().filter(|argument| !argument.is_empty()).cloned().collect()
}

fn new_cluster(args: &Up) -> Result<Cluster> {
    let http_port = match args.port {
        Some(port) => port,
        None => free_port(&[])?,
    };
    let mut cluster = Cluster::new(http_port, free_port(&[http_port])?);
    cluster.http_port_fixed = args.port.is_some();
    Ok(cluster)
}

fn running(process: Option<&Process>) -> bool {
    process.is_some_and(Process::is_running)
}

fn stop(process: &Process, name: &str, kill: bool) -> Result<()> {
    let failed = |_| Error::Stubborn { name: name.to_owned() };
    if !kill {
        process.terminate().map_err(failed)?;
        if process.wait_gone(GRACE) {
            return Ok(());
        }
    }
    process.kill().map_err(failed)?;
    if process.wait_gone(DEATH) { Ok(()) } else { Err(Error::Stubborn { name: name.to_owned() }) }
}
