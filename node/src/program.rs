//! The command line of `cyx-node`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use cyx_proto::node::v1::exit_request::Action;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing_subscriber::EnvFilter;

use crate::agent::config::{Config, EXAMPLE, Options};
use crate::agent::error::Error;
use crate::agent::{exit, run, upkeep};
use crate::service::identity::Identity;

const ABOUT: &str = "\
Offers disk space to a cyx network: keeps encrypted chunks, serves them to whoever holds a grant of the server, and proves \
what it holds. A node never sees a file name, a key or a byte of plain content.

The first start enrols this machine: with CYXWIZ_ENROLL_TOKEN, with CYXWIZ_EMAIL and CYXWIZ_PASSWORD (and CYXWIZ_OTP from an \
authenticator), or by asking on a terminal. After that, ~/.cyxcloud/node_credentials.json is enough. Options come from flags, \
then the environment, then ~/.cyxcloud/node.toml, then defaults.";

const EXAMPLES: &str = "\
Examples:
  CYXWIZ_ENROLL_TOKEN=… cyx-node --gateway https://cloud.example.org --central-server https://cloud.example.org:50052 \\
      --storage-path /var/lib/cyx-node --storage-gb 100 --public-addr node.example.org
  curl http://localhost:9090/health
  cyx-node trash confirm --storage-path /var/lib/cyx-node

Exit codes: 0 ended in order, 64 usage, 66 no node in the folder, 69 address or server not available, 70 internal, 74 disk, \
75 try again later, 76 the server makes no sense, 77 not enrolled or refused, 78 configuration or too little space.";

/// `cyx-node`
#[derive(Parser)]
#[command(name = "cyx-node", version, about = "A storage node of a cyx network", long_about = ABOUT, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Command {
    /// Look at what waits to be deleted for good, or allow it after the server was restored
    Trash(Trash),
    /// Leave the network for good: have everything that this node keeps moved to others
    Exit(Exit),
    /// Print an example of node.toml with every option
    ExampleConfig,
    /// Print the manual page
    Man,
}

#[derive(Args)]
struct Trash {
    #[command(subcommand)]
    command: TrashCommand,
}

#[derive(Args)]
#[command(after_help = EXIT_HELP)]
struct Exit {
    /// Only say how far it is
    #[arg(long)]
    status: bool,
    /// Stay after all; possible until everything is moved
    #[arg(long, conflicts_with = "status")]
    cancel: bool,
    /// Do not ask whether the node shall leave
    #[arg(long, short, conflicts_with_all = ["status", "cancel"])]
    yes: bool,
}

const EXIT_HELP: &str = "\
The node has to go on running until `leaving` is `exited`: others copy from it. Then `receipt` is the server's signed word that it owes \
nothing, and what was held of its pay is paid with the next epoch. It asks first; where nobody can be asked it needs --yes. Servers are named by CYXWIZ_API_URL and CENTRAL_SERVER_ADDR, or by \
node.toml. Prints one JSON line.";

#[derive(Subcommand)]
enum TrashCommand {
    /// Say whether deleting waits for a confirmation, and for which
    Status,
    /// Confirm that the restored server is right: chunks in the trash may be deleted for good again
    Confirm,
}

/// The largest buffer that the allocator keeps for the next use.
const KEPT_MEMORY: usize = 16 << 20;

/// Lets the C library keep what is freed. Its allocator gives large buffers back to the kernel when they are freed, and every next one is
/// then made of new pages, 64 for each piece of a chunk that arrives: measured, a quarter of what receiving costs. It learns from the
/// largest buffer that it ever gave back that buffers up to this size come and go, and keeps twice as much.
fn keep_freed_memory() {
    drop(std::hint::black_box(vec![0_u8; KEPT_MEMORY]));
}

/// Allows this process as many open files as it may have. The usual limit of 1024 is small for a node: every volume, connection and
/// large read takes one.
fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Runs the program and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    keep_freed_memory();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not mistakes.
            let code = if error.use_stderr() { 64 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let result = match cli.command {
        None => Config::resolve(cli.options.with_secrets_of_environment()).map_err(Error::from).and_then(serve),
        Some(Command::Trash(trash)) => {
            Config::resolve(cli.options).map_err(Error::from).and_then(|config| trash.run(&config))
        }
        Some(Command::Exit(exit)) => {
            Config::resolve(cli.options).map_err(Error::from).and_then(|config| exit.run(&config))
        }
        Some(Command::ExampleConfig) => print(EXAMPLE.as_bytes()),
        Some(Command::Man) => manual().map_err(|error| Error::Task(error.to_string())).and_then(|page| print(&page)),
    };
    match result {
        Ok(()) | Err(Error::Ended) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// The manual page, from the same source as `--help`. `cyx-node.1` is that of the command `cyx node`.
fn manual() -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).section("8").render(&mut page)?;
    Ok(page)
}

/// Prints what was asked for. Whoever reads it may have enough, as `head` has: that is no failure.
fn print(text: &[u8]) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(|source| Error::File { doing: "write", path: "standard output".to_owned(), source }),
    }
}

fn say(line: &str) -> Result<(), Error> {
    print(format!("{line}\n").as_bytes())
}

fn complain(error: &Error) {
    // Nobody may hear it; the exit code says it too.
    let _ = writeln!(std::io::stderr(), "cyx-node: {error}");
}

fn serve(config: Config) -> Result<(), Error> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // That a line cannot be written would be said on the same standard error, by what panics if that fails too.
    log.log_internal_errors(false).init();
    allow_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.worker_threads)
        .max_blocking_threads(8)
        .thread_name("cyx-node")
        .enable_all()
        .build()
        .map_err(|error| Error::Task(format!("cannot start the runtime: {error}")))?;
    let ended = runtime.block_on(async {
        let signal = signals()?;
        run::run(config, signal).await
    });
    if matches!(ended, Err(Error::Ended)) {
        // What is being opened holds a thread that nothing stops but the end of the process.
        runtime.shutdown_background();
    }
    ended
}

/// Completes at the first SIGTERM or SIGINT.
fn signals() -> Result<impl Future<Output = ()> + Send, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| Error::Task(format!("cannot listen to signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("ending");
    })
}

impl Exit {
    fn run(&self, config: &Config) -> Result<(), Error> {
        let action = match (self.status, self.cancel) {
            (true, _) => Action::Unspecified,
            (false, true) => Action::Cancel,
            (false, false) => Action::Begin,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::Task(format!("cannot start the runtime: {error}")))?;
        if action == Action::Begin && !self.yes {
            // Who is leaving already has said so, and only wants to see it.
            let now = runtime.block_on(exit::ask(config, Action::Unspecified))?;
            if !matches!(now.leaving.as_str(), "exiting" | "exited") {
                runtime.block_on(exit::confirm(&now))?;
            }
        }
        let progress = runtime.block_on(exit::ask(config, action))?;
        say(&serde_json::to_string(&progress).map_err(|error| Error::Task(error.to_string()))?)
    }
}

impl Trash {
    fn run(&self, config: &Config) -> Result<(), Error> {
        let held = upkeep::held(&config.storage_path)?;
        // Nothing waits where no node is, and that says nothing about the node that was meant.
        if !Identity::exists(&config.storage_path) {
            return Err(Error::NoNode(config.storage_path.clone()));
        }
        match (&self.command, held) {
            (_, None) => say("Nothing waits for a confirmation."),
            (TrashCommand::Status, Some(held)) => {
                let since = held.since;
                say(&format!(
                    "Incarnation {} (began at Unix second {since}) waits for `cyx-node trash confirm`.",
                    held.incarnation
                ))
            }
            (TrashCommand::Confirm, Some(held)) => {
                upkeep::confirm(&config.storage_path, &held)?;
                say("Confirmed. A running node takes it within seconds, a stopped one when it starts.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn as_many_files_may_be_open_as_the_system_allows() {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(256), ..limit }).unwrap();
        allow_open_files();
        assert_eq!(getrlimit(Resource::Nofile).current, limit.maximum);
    }

    #[test]
    fn the_manual_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../man/cyx-node.8");
        let kept = std::fs::read(path).unwrap_or_default();
        assert!(kept == manual().unwrap(), "man/cyx-node.8: run scripts/generate");
    }
}
