//! The figures of the project in one run: what the real programs reach on a cluster of their own, beside the raw limits of
//! the machine, so that every figure is a ratio. `scripts/bench` builds all of it and runs this.
//!
//! | file | what it does |
//! |---|---|
//! | [`raw`] | limits of the machine: cipher, hash, code, memory, disk |
//! | [`wire`] | limits of the machine: bytes over loopback, bare and as gRPC |
//! | [`pipeline`] | the client's own work on content, on one core |
//! | [`figures`] | the programs on a cluster |
//! | [`segments`] | large files in segments of several sizes |
//! | [`usage`] | processor time and memory of processes |
//! | [`report`] | table and JSON |

mod figures;
mod pipeline;
mod raw;
mod report;
mod segments;
mod usage;
mod wire;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use report::Report;

/// Anything that can go wrong; it ends the run.
type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Measures cyx on this machine: a server, 14 storage nodes and a client on loopback, beside the raw limits of the machine.
#[derive(Debug, Parser)]
#[command(name = "cyx-bench", version)]
struct Options {
    /// Writes the figures as JSON too; `-` for standard output, instead of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Small sizes and short times: shows that everything works; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// MiB of the large file.
    #[arg(long, value_name = "MIB")]
    size: Option<u64>,
    /// Files of 4 KiB.
    #[arg(long, value_name = "N")]
    files: Option<usize>,
    /// Entries of the directory that is listed.
    #[arg(long, value_name = "N")]
    entries: Option<usize>,
    /// How often transfers of the large file are measured; the median counts.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Storage nodes.
    #[arg(long, value_name = "N", default_value_t = 14)]
    nodes: usize,
    /// Only the raw limits and the pipeline, without a cluster.
    #[arg(long, conflicts_with = "only")]
    raw: bool,
    /// Only figures whose name contains this; may be repeated.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
}

/// How much is measured.
#[derive(Debug, Clone)]
struct Plan {
    size: u64,
    files: usize,
    entries: usize,
    rounds: usize,
    nodes: usize,
    /// How long a raw limit is measured.
    raw_time: Duration,
    /// Bytes that are moved or written for a raw limit.
    raw_bytes: u64,
    only: Vec<String>,
}

impl Plan {
    fn of(options: &Options) -> Self {
        let choose = |quick, full| if options.quick { quick } else { full };
        let mib = options.size.unwrap_or(choose(64, 1024));
        let usize_of = |quick, full| if options.quick { quick } else { full };
        Self {
            size: mib.max(1) << 20,
            files: options.files.unwrap_or(usize_of(100, 1000)).max(1),
            entries: options.entries.unwrap_or(usize_of(300, 10_000)).max(1),
            rounds: options.rounds.unwrap_or(usize_of(1, 3)).max(1),
            nodes: options.nodes,
            raw_time: Duration::from_millis(choose(50, 700)),
            raw_bytes: choose(64, 1024) << 20,
            only: options.only.clone(),
        }
    }

    /// Whether a figure of this name was asked for.
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part))
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
    pipeline::measure(&plan, &mut report)?;
    if !options.raw {
        figures::measure(&plan, &mut report)?;
    }
    match &options.json {
        Some(path) if path.as_os_str() == "-" => {
            writeln!(std::io::stdout(), "{:#}", report.json(&plan))?;
        }
        Some(path) => {
            std::fs::write(path, format!("{:#}\n", report.json(&plan)))?;
            report.print(&mut std::io::stdout().lock())?;
        }
        None => report.print(&mut std::io::stdout().lock())?,
    }
    Ok(())
}

/// Says on standard error what is being measured.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "bench: {text}");
}
