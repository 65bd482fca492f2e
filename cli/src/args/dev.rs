//! A whole cluster on this machine.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Runs a whole cluster on this machine: one server and several storage nodes.
///
/// They are the production programs as separate processes on loopback. Nothing needs root, and nothing but the folder is touched.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  cyx dev up
  export CYXCLOUD_GATEWAY=\"$(cyx dev status --json | jq -r .gateway)\"
  cyx dev stop-node 3 --kill
  cyx dev start-node 3
  cyx dev down --wipe

Mail that the server sends, such as login codes, lies as *.eml in the folder's outbox/; logs are in logs/.")]
#[expect(missing_docs, reason = "the text on each command's struct is its help")]
pub enum Dev {
    Up(Up),
    Status(Status),
    StopNode(StopNode),
    StartNode(StartNode),
    Down(Down),
}

/// Which cluster.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The cluster's folder; default: dev/ in ~/.cyxcloud (or CYXCLOUD_HOME).
    #[arg(long, value_name = "DIR", env = "CYXCLOUD_DEV_DIR", hide_env_values = true)]
    pub dir: Option<PathBuf>,
}

/// Starts the cluster and returns when it is ready; leaves it running.
///
/// In a folder that has a cluster already, starts what is down and keeps ports and data.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx dev up\n  cyx dev up --dir /tmp/cluster --nodes 20 --port 8080 --json")]
pub struct Up {
    /// Which cluster.
    #[command(flatten)]
    pub place: Place,
    /// Number of storage nodes; default 14, or as many as the folder has.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub nodes: Option<u32>,
    /// Port of the server; default: a free one.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Seconds to wait for the cluster to become ready.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
    /// Passes an argument to cyx-server, now and at later starts; may be repeated. Takes the place of all that were given to an earlier `up`; an
    /// empty one gives none.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub server_arg: Vec<String>,
    /// Passes an argument to every cyx-node, as --server-arg does to the server.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub node_arg: Vec<String>,
}

/// Shows what is running.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx dev status\n  cyx dev status --json | jq -r .gateway")]
pub struct Status {
    /// Which cluster.
    #[command(flatten)]
    pub place: Place,
}

/// Stops one storage node.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx dev stop-node 0\n  cyx dev stop-node 3 --kill")]
pub struct StopNode {
    /// Index of the node, counted from 0.
    pub index: u32,
    /// Which cluster.
    #[command(flatten)]
    pub place: Place,
    /// Kills it (SIGKILL) as a crash would, instead of letting it finish.
    #[arg(long)]
    pub kill: bool,
}

/// Starts a storage node that was stopped.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cyx dev start-node 3")]
pub struct StartNode {
    /// Index of the node, counted from 0.
    pub index: u32,
    /// Which cluster.
    #[command(flatten)]
    pub place: Place,
    /// Seconds to wait for the node to become ready.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
}

/// Stops the cluster.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx dev down\n  cyx dev down --wipe")]
pub struct Down {
    /// Which cluster.
    #[command(flatten)]
    pub place: Place,
    /// Deletes the cluster's data as well.
    #[arg(long)]
    pub wipe: bool,
}
