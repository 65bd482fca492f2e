//! What runs of a cluster, as people and scripts see it.

use std::path::Path;

use serde::Serialize;

use super::process::Process;
use super::state::{Cluster, Folder, Node};

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
    /// As things are now.
    #[must_use]
    pub fn of(folder: &Folder, cluster: &Cluster) -> Self {
        let pid = |process: &Option<Process>| process.as_ref().filter(|p| p.is_running()).map(|p| p.pid);
        let state = |pid: Option<u32>| if pid.is_some() { "running" } else { "stopped" };
        let shown = |path: &Path| path.to_string_lossy().into_owned();
        let server = pid(&cluster.server);
        let node = |(index, node): (usize, &Node)| {
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
