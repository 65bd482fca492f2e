//! The figures of the project in one run: what the real programs reach on a cluster of their own, beside the raw limits of
//! the machine, so that every figure is a ratio. `scripts/bench` builds all of it and runs this.
//!
//! | file | what it does |
//! |---|---|
//! | [`raw`] | limits of the machine: cipher, hash, code, memory, disk |
//! | [`wire`] | limits of the machine: bytes over loopback, bare and as gRPC |
//! | [`pipeline`] | the client's own work on content, on one core |
//! | [`bench`] | a cluster, and what a command costs on it |
//! | [`large`], [`segments`] | large files; segments of several sizes |
//! | [`small`], [`reads`] | many small files; small reads of a large one |
//! | [`listing`], [`metadata`] | large directories, also one that grows; names made and looked up |
//! | [`network`] | long, narrow and lossy ways |
//! | [`ways`], [`link`], [`proxy`] | how they are made |
//! | [`mount`] | what programs get from a mount |
//! | [`repair`] | what a lost node held is made anew |
//! | [`local`] | files to upload |
//! | [`usage`] | processor time and memory of processes |
//! | [`report`], [`history`] | table and JSON; recorded runs |

mod bench;
mod history;
mod large;
mod link;
mod listing;
mod local;
mod metadata;
mod mount;
mod network;
mod pipeline;
mod proxy;
mod raw;
mod reads;
mod repair;
mod report;
mod segments;
mod small;
mod usage;
mod ways;
mod wire;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use report::Report;

/// Anything that can go wrong; it ends the run.
type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Measures cyx on this machine: a server, 14 storage nodes and a client on loopback, beside the raw limits of the machine.
#[derive(Debug, Parser)]
#[command(name = "cyx-bench", version)]
struct Options {
    /// What to measure; default: all but network, mount and repair.
    groups: Vec<Group>,
    /// Writes the figures as JSON too; `-` for standard output, instead of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Small sizes and short times: shows that everything works; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// MiB of the large file.
    #[arg(long, value_name = "MIB")]
    size: Option<u64>,
    /// Small files in a folder, for one or more folders.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    files: Vec<usize>,
    /// Entries of the directories that are listed.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    entries: Vec<usize>,
    /// How often transfers are measured; the median counts.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Storage nodes.
    #[arg(long, value_name = "N", default_value_t = 14)]
    nodes: usize,
    /// Only the raw limits and the pipeline, without a cluster.
    #[arg(long, conflicts_with_all = ["only", "groups"])]
    raw: bool,
    /// Only figures whose name contains this; may be repeated.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Recorded runs, one JSON document per line.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Adds the run to the history.
    #[arg(long, requires = "history")]
    record: bool,
    /// Shows each figure beside the last one in the history.
    #[arg(long, requires = "history")]
    compare: bool,
    /// What was built, for the history.
    #[arg(long, value_name = "TEXT")]
    commit: Option<String>,
}

/// Figures that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Large files.
    Large,
    /// Many small files.
    Small,
    /// Small reads of a large file.
    Reads,
    /// Large directories, one that grows, and the start of the program.
    Listing,
    /// Names made and looked up, by 1, 16 and 64 clients; on PostgreSQL too if DATABASE_URL names an empty database.
    Metadata,
    /// Long and narrow ways; takes some minutes more.
    Network,
    /// A mount; needs /dev/fuse.
    Mount,
    /// A node is lost, and what it held is made anew.
    Repair,
}

impl Group {
    const USUAL: [Self; 5] = [Self::Large, Self::Small, Self::Reads, Self::Listing, Self::Metadata];

    fn measure(self, plan: &Plan, report: &mut Report) -> Result<()> {
        match self {
            Self::Large => large::measure(plan, report),
            Self::Small => small::measure(plan, report),
            Self::Reads => reads::measure(plan, report),
            Self::Listing => listing::measure(plan, report),
            Self::Metadata => metadata::measure(plan, report),
            Self::Network => network::measure(plan, report),
            Self::Mount => mount::measure(plan, report),
            Self::Repair => repair::measure(plan, report),
        }
    }
}

/// How much is measured.
#[derive(Debug, Clone)]
struct Plan {
    size: u64,
    files: Vec<usize>,
    entries: Vec<usize>,
    rounds: usize,
    nodes: usize,
    /// Small reads of a large file.
    reads: usize,
    /// Small files in the archive that is unpacked in a mount.
    archive: usize,
    /// How long names are made by each number of clients.
    metadata_time: Duration,
    /// How long a raw limit is measured.
    raw_time: Duration,
    /// Bytes that are moved or written for a raw limit.
    raw_bytes: u64,
    only: Vec<String>,
}

impl Plan {
    fn of(options: &Options) -> Self {
        let choose = |quick, full| if options.quick { quick } else { full };
        let counts = |asked: &[usize], quick: &[usize], full: &[usize]| {
            let usual = if options.quick { quick } else { full };
            let chosen = if asked.is_empty() { usual } else { asked };
            chosen.iter().map(|count| (*count).max(1)).collect()
        };
        Self {
            size: options.size.unwrap_or(choose(64, 1024)).max(1) << 20,
            files: counts(&options.files, &[100], &[1000, 10_000]),
            entries: counts(&options.entries, &[300], &[10_000, 100_000]),
            rounds: options.rounds.unwrap_or(if options.quick { 1 } else { 3 }).max(1),
            nodes: options.nodes,
            reads: if options.quick { 50 } else { 1000 },
            archive: if options.quick { 40 } else { 2000 },
            metadata_time: Duration::from_millis(choose(500, 4000)),
            raw_time: Duration::from_millis(choose(50, 700)),
            raw_bytes: choose(64, 1024) << 20,
            only: options.only.clone(),
        }
    }

    /// Whether a figure of this name was asked for.
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part))
    }

    /// Whether figures were asked for whose names begin like this.
    fn wants_some(&self, beginning: &str) -> bool {
        self.wants(beginning) || self.only.iter().any(|part| part.contains(beginning))
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    cyx_core::erasure::check_cpu()?;
    let plan = Plan::of(options);
    let raw = raw::measure(&plan)?;
    let mut report = Report::new(raw);
    if options.groups.is_empty() {
        pipeline::measure(&plan, &mut report)?;
    }
    let groups = match (options.raw, options.groups.is_empty()) {
        (true, _) => &[][..],
        (false, true) => &Group::USUAL[..],
        (false, false) => &options.groups[..],
    };
    for group in groups {
        group.measure(&plan, &mut report)?;
    }
    let run = report.json(&plan);
    let out = &mut std::io::stdout().lock();
    match &options.json {
        Some(path) if path.as_os_str() == "-" => {
            writeln!(out, "{run:#}")?;
        }
        Some(path) => {
            std::fs::write(path, format!("{run:#}\n"))?;
            report.print(out)?;
        }
        None => report.print(out)?,
    }
    remember(options, &run, &mut std::io::stderr().lock())
}

/// Compares a run with those before and records it, if that was asked for.
fn remember(options: &Options, run: &serde_json::Value, out: &mut impl std::io::Write) -> Result<()> {
    let Some(path) = &options.history else { return Ok(()) };
    if options.compare {
        history::compare(path, run, out)?;
    }
    if options.record {
        history::record(path, run, options.commit.as_deref())?;
    }
    Ok(())
}

/// Says on standard error what is being measured.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "bench: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_recorded_if_that_was_asked_for_and_not_because_it_is_compared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let options = |flag| Options::parse_from(["cyx-bench".as_ref(), "--history".as_ref(), path.as_os_str(), flag]);
        let run = serde_json::json!({"figures": []});
        remember(&options("--compare".as_ref()), &run, &mut Vec::new()).unwrap();
        assert!(!path.exists());
        remember(&options("--record".as_ref()), &run, &mut Vec::new()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }
}
