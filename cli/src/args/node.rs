//! Storage nodes of one's own.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Offers disk space to a network, looks after the storage node of this machine, and shows what it earns.
///
/// A node sees ciphertext, sizes, and which chunks belong to the same bucket; never names, keys or content.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  cyx login --email me@example.org
  cyx node start --storage-gb 100 --public-addr node.example.org
  cyx node status --watch
  cyx node earnings --verify
  cyx node stop

On a machine without a login: `cyx node enroll` elsewhere, then here with the token in CYXWIZ_ENROLL_TOKEN.
A node that shall start with the machine is better run by systemd: deploy/cyx-node.service.")]
#[expect(missing_docs, reason = "the text on each command's struct is its help")]
pub enum Node {
    Enroll(Enroll),
    Start(Box<Start>),
    Stop(Stop),
    Status(Status),
    Exit(Exit),
    List(ListNodes),
    Earnings(Earnings),
}

/// Makes a token with which one machine joins as a storage node of this account, and shows it, once.
///
/// The token carries the fingerprint of the server's key: the machine sends it to no other server.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx node enroll --label \"rack 1\"
  CYXWIZ_ENROLL_TOKEN=$(cyx node enroll -q) cyx-node --gateway https://cloud.example.org \\
      --central-server https://cloud.example.org:50052 --storage-gb 100
  cyx node enroll --expires-hours 1 --json | jq -r .token")]
pub struct Enroll {
    /// What it is for; shown to you alone.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub label: String,
    /// For how many hours the token is good.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=720))]
    pub expires_hours: u64,
    /// Where nodes register, for the command that is shown; default: the port that the server names, or else 50052.
    #[arg(long, value_name = "URL", env = "CENTRAL_SERVER_ADDR", hide_env_values = true)]
    pub central_server: Option<String>,
}

/// Which local node.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// Folder of the node's state, log and settings; default: CYXCLOUD_HOME or ~/.cyxcloud.
    #[arg(long, value_name = "DIR")]
    pub home: Option<PathBuf>,
}

/// Starts a storage node on this machine and returns when it is registered; leaves it running.
///
/// The first start makes the machine known to the server: with the token in CYXWIZ_ENROLL_TOKEN, or else for the account that is logged
/// in here. Options that are not given come from node.toml.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx node start --storage-gb 100
  cyx node start --storage-gb 500 --storage-path /srv/cyx --public-addr node.example.org:50051 --region eu-west
  cyx node start -- --tls --scrub-mib-per-second 20")]
pub struct Start {
    /// Which local node.
    #[command(flatten)]
    pub place: Place,
    /// GiB to offer, at least 3; 2 of them are the network's reserve.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(3..))]
    pub storage_gb: Option<u64>,
    /// Folder of the chunks and the node's key; default: what node.toml says, where it was the last time, or else node-data in the node's
    /// folder.
    #[arg(long, value_name = "DIR")]
    pub storage_path: Option<PathBuf>,
    /// Where nodes register; default: what node.toml says, the port that the server names when it is asked for a token, where this node
    /// registered last, or else port 50052 of the server.
    #[arg(long, value_name = "URL", env = "CENTRAL_SERVER_ADDR", hide_env_values = true)]
    pub central_server: Option<String>,
    /// Where clients reach this node, host or host:port; the server checks it.
    #[arg(long, value_name = "ADDR")]
    pub public_addr: Option<String>,
    /// Region of this node, a word such as eu-west.
    #[arg(long, value_name = "WORD")]
    pub region: Option<String>,
    /// Where you want to be paid, a word such as an account number.
    #[arg(long, value_name = "WORD")]
    pub payout_address: Option<String>,
    /// Port for chunks; 0 is any free one.
    #[arg(long, value_name = "PORT")]
    pub grpc_port: Option<u16>,
    /// Port for metrics, health and `cyx node status`; 0 is any free one.
    #[arg(long, value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// Seconds to wait for the node to become ready.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub timeout: u64,
    /// Further arguments of cyx-node, behind --.
    #[arg(last = true, value_name = "ARG")]
    pub node_args: Vec<String>,
}

/// Stops the storage node of this machine. What it keeps stays, and is served again after the next start.
///
/// A node that is away for hours counts as lost, and its work is given to others.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cyx node stop")]
pub struct Stop {
    /// Which local node.
    #[command(flatten)]
    pub place: Place,
}

/// Shows how the storage node of this machine is: room, traffic, audits, score, earnings.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx node status
  cyx node status --watch
  cyx node status --json | jq .local.used_bytes

What the server knows of the node is shown if somebody is logged in here. Exit code 1 if the node does not run.")]
pub struct Status {
    /// Which local node.
    #[command(flatten)]
    pub place: Place,
    /// Shows it anew every two seconds until Ctrl-C.
    #[arg(long, short)]
    pub watch: bool,
    /// Where the node answers, if `cyx node start` did not start it, for example 127.0.0.1:9090.
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<String>,
}

/// Leaves the network for good: everything that this machine's node keeps is moved to others, verified, before it may go.
///
/// The node has to go on running meanwhile. At the end the server signs a receipt, and what was held of the pay is paid; from then on the
/// node cannot come back. `cyx node stop` is not this: a node that is only stopped counts as lost after some hours.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx node exit
  cyx node exit --yes --no-wait --json
  cyx node exit --status --json | jq .bytes_left
  cyx node exit --cancel")]
pub struct Exit {
    /// Which local node.
    #[command(flatten)]
    pub place: Place,
    /// Only shows how far it is.
    #[arg(long)]
    pub status: bool,
    /// Stays after all; possible until everything is moved.
    #[arg(long, conflicts_with = "status")]
    pub cancel: bool,
    /// Does not ask whether the node shall leave.
    #[arg(long, short, conflicts_with_all = ["status", "cancel"])]
    pub yes: bool,
    /// Returns at once instead of waiting until everything is moved.
    #[arg(long)]
    pub no_wait: bool,
}

/// Lists the storage nodes of the account, wherever they run.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx node list\n  cyx node list --json | jq -r .node_id")]
pub struct ListNodes {}

/// Shows what a storage node earned, and computes it again from signed orders and measured time.
///
/// Amounts are in the currency's unit; 90 hundredths of what a node earns are its operator's.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx node earnings
  cyx node earnings --verify
  cyx node earnings --node 9c5d41… --epochs 30 --json | jq .operator_micros

With --verify: every order's signature, every sum and every rate is checked, and on the node's own machine also against what the \
node remembers. Exit code 1 if anything does not add up.")]
pub struct Earnings {
    /// Which local node.
    #[command(flatten)]
    pub place: Place,
    /// The node; default: that of this machine, or the only one of the account.
    #[arg(long, value_name = "ID")]
    pub node: Option<String>,
    /// How many epochs, the newest first.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=400))]
    pub epochs: u64,
    /// Computes every statement again from its facts.
    #[arg(long)]
    pub verify: bool,
}
