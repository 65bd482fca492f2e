//! The command line of `cyx-server`.

mod maintenance;
mod simulate;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, Options, example};
use crate::db::DbError;
use crate::keys::KeyError;
use crate::run::run;

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 66 the data folder or the database is not one of a server: only starting one makes it.";

/// The cyx server: accounts, the encrypted tree, and where the pieces of files are.
///
/// Without a command it serves. Options come from flags, then from the environment, then from server.toml, then from defaults.
#[derive(Debug, Parser)]
#[command(name = "cyx-server", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How.
    #[command(flatten)]
    pub options: Options,
}

/// Something else than serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// About the configuration
    Config {
        /// What about it.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Copy the database of a running or stopped server, with its keys, into a new folder
    Backup {
        /// The folder
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Make a new data folder (--data-dir) from a backup or from shipped logs
    Restore {
        /// Folder of the backup, or the one given to --ship-wal
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// Restore the state of this time (RFC 3339 or Unix seconds) instead of the newest; from shipped logs only
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
        /// Also restore a copy that has no secrets: the server draws new ones
        #[arg(long)]
        without_secrets: bool,
    },
    /// Say that the database was restored by other means, so that clients ask and nodes drop nothing
    NewIncarnation,
    /// Draw a new key for grants and keep-lists; nodes hear of it after a restart, and it signs an hour later
    RotateKey,
    /// Collect trash and unused segments now, and begin new rounds of keep-lists
    Collect {
        /// Also let keep-lists begin again after a restore
        #[arg(long)]
        resume: bool,
    },
    /// Recompute every counter, link and statement of the database and say where it contradicts itself
    Check,
    /// Print what is to be paid out to operators, or was in an epoch; the server writes the same to the folder of --payouts
    Payouts {
        /// The epoch; without it, what is not paid out yet
        #[arg(long, value_name = "N")]
        epoch: Option<i64>,
        /// csv or json
        #[arg(long, value_name = "WORD", default_value = "csv", value_parser = ["csv", "json"])]
        format: String,
    },
    /// Show how likely a segment is lost over the years, by a closed form and by simulation
    Simulate(simulate::Simulate),
}

/// About the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print an example of server.toml with every option
    Example,
    /// Print the manual page
    Man,
    /// Say whether the configuration is valid, with the files and addresses in it, and start nothing
    Check,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "cyx-server: {error}");
            exit_code(&*error)
        }
    }
}

type Failure = Box<dyn std::error::Error>;

/// Prints what was asked for. Whoever reads it may have enough, as `head` has: that is no failure.
fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed?),
    }
}

/// Exit code of a command about an installation where there is none (`EX_NOINPUT` of `sysexits.h`).
const NO_INSTALLATION: u8 = 66;

fn exit_code(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    let no_database = matches!(error.downcast_ref(), Some(DbError::Missing(_)));
    let no_key = matches!(error.downcast_ref(), Some(KeyError::Missing(_)));
    if no_database || no_key { ExitCode::from(NO_INSTALLATION) } else { ExitCode::FAILURE }
}

fn execute(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Some(Command::Config { command: ConfigCommand::Example }) => print(example().as_bytes()),
        Some(Command::Config { command: ConfigCommand::Man }) => print(&manual()?),
        Some(Command::Config { command: ConfigCommand::Check }) => {
            let config = Config::resolve(cli.options)?;
            runtime()?.block_on(config.try_start())?;
            print(b"the configuration is valid\n")
        }
        Some(Command::Backup { to }) => {
            maintain(cli.options, async |config| maintenance::run_backup(&config, &to).await)
        }
        Some(Command::Restore { from, at, without_secrets }) => maintain(cli.options, async |config| {
            maintenance::run_restore(&config, &from, at.as_deref(), without_secrets).await
        }),
        Some(Command::NewIncarnation) => {
            maintain(cli.options, async |config| maintenance::run_new_incarnation(&config).await)
        }
        Some(Command::RotateKey) => maintain(cli.options, async |config| maintenance::run_rotate_key(&config)),
        Some(Command::Collect { resume }) => {
            maintain(cli.options, async |config| maintenance::run_collect(config, resume).await)
        }
        Some(Command::Simulate(simulate)) => simulate.run(),
        Some(Command::Payouts { epoch, format }) => {
            maintain(cli.options, async |config| maintenance::run_payouts(&config, epoch, &format).await)
        }
        Some(Command::Check) => maintain(cli.options, async |config| maintenance::run_check(&config).await),
        None => {
            let config = Config::resolve(cli.options)?;
            start_logging(config.log_json);
            let runtime = runtime()?;
            let outcome = runtime.block_on(run(config));
            // What still waits for a folder that does not answer is not waited for.
            runtime.shutdown_background();
            Ok(outcome?)
        }
    }
}

/// The manual page, from the same source as `--help`.
fn manual() -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    Ok(page)
}

/// Runs a command that needs the configuration and the database.
fn maintain(options: Options, command: impl AsyncFnOnce(Config) -> Result<(), Failure>) -> Result<(), Failure> {
    let config = Config::resolve(options)?;
    start_logging(config.log_json);
    runtime()?.block_on(command(config))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Logs go to standard error; `RUST_LOG` says how much.
fn start_logging(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // That a line cannot be written would be said on the same standard error, by what panics if that fails too.
    let builder = builder.log_internal_errors(false);
    // A second subscriber in one process can only be a test's; the first one stays.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_generated_is_up_to_date() {
        let kept = |path: &str| std::fs::read(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_default();
        assert!(kept("man/cyx-server.1") == manual().unwrap(), "man/cyx-server.1: run scripts/generate");
        assert!(kept("deploy/server.toml") == example().into_bytes(), "deploy/server.toml: run scripts/generate");
    }

    #[test]
    fn options_stand_before_or_behind_a_command() {
        for arguments in [
            ["cyx-server", "--job-seconds", "5", "config", "check"],
            ["cyx-server", "config", "check", "--job-seconds", "5"],
        ] {
            assert_eq!(Cli::try_parse_from(arguments).unwrap().options.job_seconds, Some(5));
        }
    }
}
