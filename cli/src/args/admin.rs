//! What administrators do.

use clap::{Args, Subcommand};

/// Looks after the accounts of a server. For administrators.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  cyx admin users --search example.org
  cyx admin plan ada pro
  cyx admin disable mallory

An administrator sees accounts, never what is in them. The first one is named to the server: `cyx-server --admin EMAIL`.")]
#[expect(missing_docs, reason = "the text on each command's struct is its help")]
pub enum Admin {
    Users(Users),
    Plan(Plan),
    Role(Role),
    Disable(Disable),
    Audit(AdminAudit),
    Nodes(Nodes),
    Reinstate(Reinstate),
    Drain(Drain),
}

/// Lists accounts.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx admin users\n  cyx admin users --search ada --json | jq .used_bytes")]
pub struct Users {
    /// Only those whose user name or email address contains this.
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
}

/// Gives an account a plan.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx admin plan ada pro
  cyx admin plan ada enterprise --limit-gb 20000 --traffic-gb 50000")]
pub struct Plan {
    /// User name, email address or id.
    pub user: String,
    /// The plan.
    #[arg(value_parser = ["free", "starter", "pro", "enterprise"])]
    pub plan: String,
    /// Space in GB, if it is not that of the plan.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    pub limit_gb: Option<u64>,
    /// Monthly traffic in GB, if it is not that of the plan.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    pub traffic_gb: Option<u64>,
}

/// Gives an account a role.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cyx admin role grace admin")]
pub struct Role {
    /// User name, email address or id.
    pub user: String,
    /// The role.
    #[arg(value_parser = ["basic", "premium", "admin"])]
    pub role: String,
}

/// Disables an account: its logins and API keys end at once. What it has stored stays.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx admin disable mallory\n  cyx admin disable mallory --undo")]
pub struct Disable {
    /// User name, email address or id.
    pub user: String,
    /// Lets it work again.
    #[arg(long)]
    pub undo: bool,
}

/// Shows the audit log of the server, or checks that it is whole.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx admin audit --since 24h
  cyx admin audit --account 9c5d… --json
  cyx admin audit --check")]
pub struct AdminAudit {
    /// Only what happened since: a time ago (7d, 12h) or a day (2026-11-01).
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only what concerns the account of this id.
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
    /// Checks the chain of all entries instead; exit code 1 if it is broken.
    #[arg(long, conflicts_with_all = ["since", "account"])]
    pub check: bool,
}

/// Lists the storage nodes: how they are, whose they are, what they hold.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  cyx admin nodes
  cyx admin nodes --state offline
  cyx admin nodes --standing suspended --json | jq -r '.owner + \" \" + .node_id'
  cyx admin nodes show 8d4f0c9ae51b4c62b7f0a3d1c5e69f27"
)]
pub struct Nodes {
    /// One node instead of all.
    #[command(subcommand)]
    pub command: Option<NodesCommand>,
    /// Only those in this state.
    #[arg(long, value_parser = ["online", "suspect", "offline", "lost", "read-only"])]
    pub state: Option<String>,
    /// Only those with this standing, which follows from their audits.
    #[arg(long, value_parser = ["vetting", "trusted", "suspended", "disqualified"])]
    pub standing: Option<String>,
    /// Only those that leave in this way, or not at all.
    #[arg(long, value_parser = ["none", "draining", "exiting", "exited"])]
    pub leaving: Option<String>,
    /// Only those of this account: user name, email address or id.
    #[arg(long, value_name = "ACCOUNT")]
    pub owner: Option<String>,
    /// Only those in this region.
    #[arg(long)]
    pub region: Option<String>,
}

/// What is to be done with one node.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the text on each command's struct is its help")]
pub enum NodesCommand {
    Show(NodesShow),
}

/// Shows everything that is known of a storage node.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx admin nodes show 8d4f0c9ae51b4c62b7f0a3d1c5e69f27
  cyx admin nodes show 8d4f0c9ae51b4c62b7f0a3d1c5e69f27 --json | jq .audits")]
pub struct NodesShow {
    /// Id of the node, as `cyx admin nodes` shows it.
    pub node: String,
}

/// Takes a disqualified storage node back if it proves what it holds.
///
/// The node has to prove up to 200 random slices at once, and all of them must hold. Then it begins anew, as one that is being vetted. A
/// suspended node needs nobody for that: it comes back by itself with what it proves.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cyx admin reinstate 8d4f0c9ae51b4c62b7f0a3d1c5e69f27")]
pub struct Reinstate {
    /// Id of the node, as `cyx admin nodes` shows it.
    pub node: String,
}

/// Empties a storage node: it gets nothing new, and everything on it is moved to others.
///
/// It is read from as before, and nothing is lost if it dies meanwhile. Once it is empty it can be stopped, or stay after all with
/// `--cancel`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx admin drain 8d4f0c9ae51b4c62b7f0a3d1c5e69f27 --wait
  cyx admin drain 8d4f0c9ae51b4c62b7f0a3d1c5e69f27 --status --json | jq .chunks_left
  cyx admin drain 8d4f0c9ae51b4c62b7f0a3d1c5e69f27 --cancel")]
pub struct Drain {
    /// Id of the node, as `cyx admin nodes` shows it.
    pub node: String,
    /// Lets it stay after all.
    #[arg(long, conflicts_with_all = ["status", "wait"])]
    pub cancel: bool,
    /// Only shows how far it is.
    #[arg(long)]
    pub status: bool,
    /// Returns when nothing is left on it.
    #[arg(long)]
    pub wait: bool,
}
