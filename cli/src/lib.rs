//! The command line of cyx: arguments, output, exit codes.
//!
//! | module | what is in it |
//! |---|---|
//! | [`args`] | what can be typed, one file per concern |
//! | [`commands`] | one file per command: arguments in, calls of the engine, output out |
//! | [`output`] | everything that is printed |
//! | [`prompt`] | everything that is asked |
//! | [`when`] | times as they are typed |
//! | [`error`] | why a command failed, and the exit code |
//! | [`dev`] | a whole cluster on this machine |
//! | [`generate`] | man pages and completions from [`args`] |
//!
//! Encryption, coding and transfer are the business of `cyx-client`.

pub mod args;
pub mod commands;
pub mod dev;
pub mod error;
pub mod generate;
pub mod output;
pub mod prompt;
mod signals;
mod streams;
pub mod when;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use args::Cli;
use error::Report;
use output::{Output, write_err};

/// The largest buffer that the allocator keeps for the next use.
const KEPT_MEMORY: usize = 8 << 20;

/// Lets the C library keep what is freed: its allocator gives large buffers back to the kernel when they are freed, and every next one is
/// then made of new pages. Measured, that is a quarter of what a download costs. It learns from the largest buffer that it ever gave back
/// that buffers up to this size come and go, and keeps twice as much.
fn keep_freed_memory() {
    drop(std::hint::black_box(vec![0_u8; KEPT_MEMORY]));
}

/// Parses the arguments of this process, does what they say and returns the exit code.
#[must_use]
pub fn run() -> ExitCode {
    keep_freed_memory();
    let cli = Cli::parse();
    start_logging(&cli);
    let output = Output::new(&cli.global);
    match commands::run(cli, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_silent() {
                write_err(&Report(&error).to_string());
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// Logs go to standard error. Without `-v` there are none: what a person should know is said in sentences. A mount has nobody to say
/// them to, and always keeps a log.
fn start_logging(cli: &Cli) {
    let mount = matches!(cli.command, args::Command::Mount(_));
    let default = match (cli.global.quiet, cli.global.verbose) {
        (true, _) if mount => "error",
        (false, 0) if mount => "warn,cyx_fs=info",
        (true, _) | (false, 0) => "off",
        (false, 1) => "warn",
        (false, 2) => "warn,cyx_cli=debug,cyx_client=debug,cyx_fs=debug",
        (false, _) => "debug,cyx_cli=trace,cyx_client=trace,cyx_fs=trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // That a line cannot be written would be said on the same standard error, by what panics if that fails too.
    log.with_ansi(io::stderr().is_terminal()).log_internal_errors(false).init();
}
