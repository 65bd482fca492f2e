//! One file per concern: arguments in, calls of the engine, output out.

pub mod account;
pub mod admin;
pub mod apikey;
pub mod bucket;
pub mod cat;
pub mod change;
pub mod completions;
mod confirm;
pub mod dev;
pub mod download;
pub mod filter;
pub mod identity;
mod leaving;
pub mod list;
pub mod login;
pub mod mount;
pub mod node;
pub mod otp;
pub mod passwd;
pub mod progress;
pub mod recover;
pub mod register;
pub mod rotate;
pub mod sessions;
pub mod stat;
pub mod summary;
pub mod trash;
pub mod umount;
mod unanswered;
pub mod upload;
pub mod verify;
pub mod wallet;

use std::ffi::OsStr;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use cyx_client::meta::MetaClient;
use cyx_client::{Bucket, Client, Config, Located, Overrides};
use cyx_core::ids::NodeId;
use cyx_core::inode::InodeKind;

use crate::args::admin::Admin;
use crate::args::node::Node;
use crate::args::{self, Cli, Command, Global, access};
use crate::error::{Error, Result};
use crate::output::{Output, names};
use crate::signals::Signals;

/// How long a download that is interrupted waits for files that are being made whole or removed. Others may be reading standard input, which cannot
/// be cut off, and wait for nothing.
const FAREWELL: Duration = Duration::from_secs(10);

/// What every command that talks to a server needs.
pub struct Context {
    /// Where the server and the credentials are.
    pub config: Config,
    /// How to print.
    pub output: Output,
}

impl Context {
    fn new(global: &Global, output: Output) -> Result<Self> {
        Ok(Self { config: Config::load(overrides(global))?, output })
    }

    /// A logged-in client.
    ///
    /// # Errors
    /// If nobody is logged in, or the server cannot be reached.
    pub async fn client(&self) -> Result<Client> {
        Ok(Client::open(&self.config).await?)
    }

    /// The server as whoever is logged in sees it, also without keys.
    ///
    /// # Errors
    /// As [`Self::client`].
    pub async fn meta(&self) -> Result<MetaClient> {
        Ok(MetaClient::open(&self.config).await?)
    }

    /// A bucket, opened by a logged-in client.
    ///
    /// # Errors
    /// A usage error for a name that a bucket cannot have; as [`Self::client`]; if it does not exist.
    pub async fn bucket(&self, name: &OsStr) -> Result<Bucket> {
        let name = bucket_name(name)?;
        Ok(self.client().await?.bucket(name).await?)
    }
}

/// What the options that every command takes say about where the server is.
fn overrides(global: &Global) -> Overrides {
    Overrides {
        gateway: global.gateway.clone().filter(|gateway| !gateway.is_empty()),
        ca_file: global.ca_file.clone().filter(|file| !file.as_os_str().is_empty()),
        ..Overrides::default()
    }
}

/// Does what was typed.
///
/// # Errors
/// As the commands say. That standard output was closed is a failure, except of commands that only show something.
pub fn run(cli: Cli, output: Output) -> Result<()> {
    let shows = only_shows(&cli.command);
    match run_command(cli, output) {
        Err(Error::OutputClosed) if !shows => {
            Err(Error::Stream { action: "write to standard output", source: std::io::ErrorKind::BrokenPipe.into() })
        }
        done => done,
    }
}

/// Whoever closes the standard output of such a command has seen what it wanted; behind one that changes something, somebody waits to
/// hear of it.
fn only_shows(command: &Command) -> bool {
    match command {
        Command::Whoami(_) | Command::Quota(_) | Command::Status(_) | Command::Mounts(_) | Command::Audit(_) => true,
        Command::List(_) | Command::Stat(_) | Command::Cat(_) | Command::Completions(_) => true,
        Command::Otp(access::Otp::List(_)) | Command::Wallet(access::Wallet::List(_)) => true,
        Command::Sessions(access::Sessions::List(_)) | Command::Apikey(access::ApiKey::List(_)) => true,
        Command::Bucket(args::bucket::Bucket::List(_)) | Command::Trash(args::trash::Trash::List(_)) => true,
        Command::Node(Node::List(_) | Node::Status(_)) | Command::Dev(args::dev::Dev::Status(_)) => true,
        Command::Admin(Admin::Users(_) | Admin::Nodes(_)) => true,
        // What a check finds is its exit code.
        Command::Node(Node::Earnings(args)) => !args.verify,
        Command::Admin(Admin::Audit(args)) => !args.check,
        Command::Admin(Admin::Drain(args)) => args.status,
        Command::Upload(args) => args.dry_run,
        Command::Download(args) => args.dry_run || is_standard_output(args.output.as_deref()),
        Command::Account(args::account::Account::Export(args)) => is_standard_output(args.output.as_deref()),
        _ => false,
    }
}

fn is_standard_output(path: Option<&Path>) -> bool {
    path.is_some_and(|path| path == Path::new("-"))
}

fn run_command(cli: Cli, output: Output) -> Result<()> {
    match cli.command {
        Command::Completions(args) => completions::run(&args),
        Command::Dev(command) => dev::run(command, &output),
        Command::Mount(args) => {
            cyx_core::erasure::check_cpu()?;
            mount::run(&cli.global, &output, &args)
        }
        command => {
            cyx_core::erasure::check_cpu()?;
            let context = Context::new(&cli.global, output)?;
            let farewell = if matches!(command, Command::Download(_)) { FAREWELL } else { Duration::ZERO };
            run_async(dispatch(context, command), farewell)
        }
    }
}

async fn dispatch(context: Context, command: Command) -> Result<()> {
    match command {
        Command::Upload(args) => Box::pin(upload::run(&context, &args)).await,
        Command::Download(args) => Box::pin(download::run(&context, &args)).await,
        Command::Cp(args) => Box::pin(change::cp(&context, &args)).await,
        other => until_interrupted(false, Box::pin(dispatch_short(context, other))).await,
    }
}

/// Commands that leave nothing to tidy up if they are interrupted.
async fn dispatch_short(context: Context, command: Command) -> Result<()> {
    match command {
        Command::Register(args) => register::run(&context, args).await,
        Command::Login(args) => login::run(&context, args).await,
        Command::Logout(_) => identity::logout(&context).await,
        Command::Whoami(_) => identity::whoami(&context).await,
        Command::Quota(_) => identity::quota(&context).await,
        Command::Status(_) => identity::status(&context).await,
        Command::Passwd(args) => passwd::run(&context, &args).await,
        Command::Recover(args) => recover::run(&context, args).await,
        Command::Otp(command) => otp::run(&context, command).await,
        Command::Wallet(command) => wallet::run(&context, command).await,
        Command::Sessions(command) => sessions::run(&context, command).await,
        Command::Apikey(command) => apikey::run(&context, command).await,
        Command::Rotate(args) => rotate::run(&context, &args).await,
        Command::Account(command) => account::run(&context, command).await,
        Command::Audit(args) => account::audit(&context, &args).await,
        Command::Admin(command) => admin::run(&context, command).await,
        Command::Bucket(command) => bucket::run(&context, command).await,
        Command::List(args) => list::run(&context, &args).await,
        Command::Delete(args) => change::delete(&context, &args).await,
        Command::Stat(args) => stat::run(&context, &args).await,
        Command::Verify(args) => verify::run(&context, &args).await,
        Command::Cat(args) => cat::run(&context, &args).await,
        Command::Mv(args) => change::mv(&context, &args).await,
        Command::Mkdir(args) => change::mkdir(&context, &args).await,
        Command::Umount(args) => umount::umount(&context, &args).await,
        Command::Mounts(_) => umount::mounts(&context).await,
        Command::Node(command) => Box::pin(node::run(&context, command)).await,
        Command::Trash(command) => trash::run(&context, command).await,
        // Done before a server is looked for, or by the caller.
        Command::Upload(_) | Command::Download(_) | Command::Cp(_) | Command::Mount(_) => Ok(()),
        Command::Completions(_) | Command::Dev(_) => Ok(()),
    }
}

/// Runs something until it ends, Ctrl-C is pressed or the process is asked to end; then it is dropped.
///
/// # Errors
/// [`Error::Interrupted`], or its own.
pub async fn until_interrupted<T>(resumable: bool, work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut signals = Signals::new()?;
    tokio::select! {
        result = work => result,
        signal = signals.next() => Err(Error::Interrupted { signal, resumable }),
    }
}

/// Runs a command, and waits at most this long for what it had under way on other threads when it ended.
fn run_async(command: impl Future<Output = Result<()>>, farewell: Duration) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Stream { action: "start the runtime", source })?;
    let result = runtime.block_on(command);
    runtime.shutdown_timeout(farewell);
    result
}

/// The name of a bucket as it was typed.
///
/// # Errors
/// A usage error unless it is UTF-8.
pub fn bucket_name(name: &OsStr) -> Result<&str> {
    name.to_str().ok_or_else(|| Error::usage("the name of a bucket must be UTF-8"))
}

/// A key as it was typed ends with a slash: it names a directory.
#[must_use]
pub fn ends_with_slash(key: &OsStr) -> bool {
    key.as_encoded_bytes().ends_with(b"/")
}

/// What kind of thing an entry is, in JSON.
#[must_use]
pub fn kind_word(located: &Located) -> &'static str {
    kind_name(located.inode.kind)
}

fn kind_name(number: i32) -> &'static str {
    match InodeKind::from_number(number) {
        Ok(InodeKind::File) => "file",
        Ok(InodeKind::Directory) => "directory",
        Ok(InodeKind::Symlink) => "symlink",
        Ok(InodeKind::Fifo) => "fifo",
        Ok(InodeKind::Socket) => "socket",
        Ok(InodeKind::CharDevice) => "char-device",
        Ok(InodeKind::BlockDevice) => "block-device",
        Err(_) => "unknown",
    }
}

/// Names nodes that sent wrong bytes.
fn warn_of_liars(output: &Output, liars: &[NodeId]) {
    for node in liars {
        output.warn(format!("the storage node {node} sent wrong bytes; they were noticed and read elsewhere"));
    }
}

/// Reports what went from one key to another.
fn report_pair(context: &Context, done: &str, from: &[u8], to: &[u8]) -> Result<()> {
    if context.output.json() {
        let mut document = serde_json::Map::new();
        names::insert(&mut document, "from", from);
        names::insert(&mut document, "to", to);
        return context.output.document(&document);
    }
    context.output.detail(format!("{done} {} to {}.", names::escape(from), names::escape(to)));
    Ok(())
}

/// Counts what failed among many items; each failure is reported when it happens. Of one item it is the command's own error.
#[derive(Debug, Default)]
pub struct Failures {
    single: bool,
    failed: u64,
    total: u64,
    first: Option<Error>,
    unsaid: Option<Error>,
}

impl Failures {
    /// For a known number of items.
    #[must_use]
    pub fn among(items: usize) -> Self {
        Self { single: items == 1, ..Self::default() }
    }

    /// One more item.
    pub fn count(&mut self) {
        self.total += 1;
    }

    /// It failed.
    pub fn add(&mut self, context: &Context, key: &[u8], error: Error) {
        self.add_many(context, key, 1, error);
    }

    /// So many failed together.
    fn add_many(&mut self, context: &Context, what: &[u8], failed: u64, error: Error) {
        if !self.single {
            context.output.failure(what, &error);
        }
        self.failed += failed;
        self.first.get_or_insert(error);
    }

    /// An item is done, and this became of saying so. The others are done also if nobody hears of it.
    pub fn said(&mut self, printed: Result<()>) {
        if let Err(error) = printed {
            self.unsaid.get_or_insert(error);
        }
    }

    /// What the command ends with.
    ///
    /// # Errors
    /// [`Error::Partly`] if something failed. If everything did, with the exit code of the first failure. Else why not everything could be
    /// said.
    pub fn result(self) -> Result<()> {
        match self.first {
            None => self.unsaid.map_or(Ok(()), Err),
            Some(error) if self.single => Err(error),
            Some(error) => {
                Err(Error::Partly { failed: self.failed, total: self.total.max(self.failed), worst: error.exit_code() })
            }
        }
    }
}
