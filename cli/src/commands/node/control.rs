//! Starting and stopping the storage node of this machine.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cyx_client::{Gateway, Session};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::local::{Ready, State, ca_file, file, home, make_folder};
use crate::args::node::{Start, Stop};
use crate::commands::Context;
use crate::dev::launch::{Log, find_program};
use crate::dev::process::Process;
use crate::error::{Error, Result};
use crate::output::names;
use crate::prompt;

/// Environment variable of the token with which a node joins.
const TOKEN_VARIABLE: &str = "CYXWIZ_ENROLL_TOKEN";
/// Port of servers for nodes.
const CENTRAL_PORT: u16 = 50_052;
/// Where a node says that it is ready.
const READY_FILE: &str = "node.ready";
/// How often a starting node is looked at.
const POLL: Duration = Duration::from_millis(50);
/// A node that is asked to finish gets this long: it lets transfers end and makes everything durable.
const GRACE: Duration = Duration::from_secs(60);
/// One that is not ready has no transfers.
const START_GRACE: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct Started<'a> {
    node_id: &'a str,
    pid: u32,
    metrics: String,
    /// None if node.toml says it.
    storage_path: Option<String>,
}

#[derive(Serialize)]
struct Stopped {
    stopped: bool,
}

/// A node that was started. Dropped before it is ready, by a failure, by Ctrl-C or by SIGTERM, it is ended and forgotten: nobody waits for it any more,
/// and the next start would find its folder in use.
struct Starting<'a> {
    child: Child,
    home: &'a Path,
    /// What was remembered of the last one.
    before: Option<State>,
    ready: bool,
}

impl Starting<'_> {
    /// Asks it to finish, and ends it by force if it does not.
    fn end(&mut self) {
        // Once it was waited for, its id may be another's.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let deadline = Instant::now() + START_GRACE;
        let asked = Process::find(self.child.id()).is_some_and(|process| process.terminate().is_ok());
        while asked && Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(POLL),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.home.join(READY_FILE));
        if !self.ready {
            self.end();
            let _ = self.before.as_ref().map_or_else(|| State::forget(self.home), |before| before.save(self.home));
        }
    }
}

/// `cyx node start`
pub(super) async fn start(context: &Context, args: &Start) -> Result<()> {
    let home = home(context, &args.place)?;
    let before = State::load(&home)?;
    if let Some(state) = before.as_ref().filter(|state| state.process.is_running()) {
        let id = state.node_id.as_ref().map_or_else(String::new, |id| format!(" {id}"));
        return Err(Error::Node {
            message: format!("the storage node{id} runs already, as process {}", state.process.pid),
            advice: Some("`cyx node status` shows how it is, `cyx node stop` stops it."),
        });
    }
    make_folder(&home)?;
    let settings = Settings::load(&home)?;
    let gateway = gateway(context, &settings)?;
    let (token, node_port) = token(context, &home, &gateway).await?;
    let central_server = match args.central_server.clone().or_else(|| settings.central_server.clone()) {
        Some(named) => named,
        None => match before.as_ref().filter(|before| node_port.is_none() && before.gateway == gateway.as_str()) {
            Some(before) => before.central_server.clone(),
            None => central(None, &gateway, node_port),
        },
    };
    let program = find_program("cyx-node")?;
    let ready_file = home.join(READY_FILE);
    let log = home.join("node.log");
    let _ = fs::remove_file(&ready_file);
    let out = OpenOptions::new().create(true).append(true).mode(0o600).open(&log).map_err(file("open", &log))?;
    let log = Log::behind(log, &out);
    let storage_path = match &args.storage_path {
        Some(path) => Some(std::path::absolute(path).map_err(file("find", path))?),
        None => settings.folder(&home, before.as_ref()),
    };
    let mut command = Command::new(&program);
    command
        .args(arguments(args, &home, &gateway, &central_server, storage_path.as_deref()))
        .arg("--ready-file")
        .arg(&ready_file);
    if let Some(file) = ca_file(context)? {
        command.arg("--ca-file").arg(file);
    }
    command.args(&args.node_args);
    // A Ctrl-C on this terminal is not meant for the node.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(out).current_dir(&home).process_group(0);
    prompt::forget_secrets(&mut command);
    // A node has a token of its own.
    command.env_remove("CYXCLOUD_TOKEN");
    if let Some(token) = &token {
        command.env(TOKEN_VARIABLE, token.as_str());
    }
    let child = command.spawn().map_err(file("start", &program))?;
    let mut starting = Starting { child, home: &home, before, ready: false };
    let Some(process) = Process::find(starting.child.id()) else {
        let status = starting.child.wait().map_err(file("wait for", &log.path))?;
        return Err(ended(&status.to_string(), &log));
    };
    let mut state = State {
        process,
        node_id: None,
        metrics: None,
        storage_path,
        gateway: gateway.as_str().to_owned(),
        central_server,
    };
    // Even if this command is killed now, `cyx node stop` finds what it started.
    state.save(&home)?;
    let Ready { node_id, metrics } =
        wait(&mut starting.child, &ready_file, &log, Duration::from_secs(args.timeout)).await?;
    (state.node_id, state.metrics) = (Some(node_id.clone()), Some(metrics));
    state.save(&home)?;
    starting.ready = true;
    drop(starting);
    let (pid, node_id) = (state.process.pid, node_id.as_str());
    if context.output.json() {
        let storage_path = state.storage_path.as_ref().map(|path| path.display().to_string());
        return context.output.document(&Started { node_id, pid, metrics: metrics.to_string(), storage_path });
    }
    context.output.line(format!(
        "The storage node {} is registered and runs as process {pid}.",
        names::escape(node_id.as_bytes())
    ))?;
    context.output.note(format!("Its log is {}. `cyx node status --watch` shows how it is.", log.path.display()));
    Ok(())
}

/// The server: the one named, that of node.toml, the one logged in to, or the default.
fn gateway(context: &Context, settings: &Settings) -> Result<Gateway> {
    match (&context.config.gateway, &settings.gateway) {
        (Some(gateway), _) => Ok(gateway.clone()),
        (None, Some(named)) => Ok(named.parse()?),
        (None, None) => match Session::open(&context.config) {
            Ok(session) => Ok(session.gateway().clone()),
            Err(_) => Ok(context.config.gateway_or_default()?),
        },
    }
}

/// A token, if this machine is not known to the server: the one of the environment, or a new one of whoever is logged in. With a new one
/// the server may name its port for nodes.
async fn token(context: &Context, home: &Path, gateway: &Gateway) -> Result<(Option<Zeroizing<String>>, Option<u16>)> {
    let given = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
    if given.is_some() || std::env::var_os("CYXWIZ_PASSWORD").is_some() || is_enrolled(home, gateway) {
        return Ok((given.map(Zeroizing::new), None));
    }
    let session = Session::connect(&context.config).await.map_err(|error| match error {
        cyx_client::Error::NotLoggedIn { .. } => Error::Node {
            message: "this machine is not enrolled as a storage node".to_owned(),
            advice: Some("Log in with `cyx login`, or put a token of `cyx node enroll` into CYXWIZ_ENROLL_TOKEN."),
        },
        other => other.into(),
    })?;
    let made = session.make_enrolment("cyx node start", Some(3600)).await?;
    Ok((Some(made.token), made.node_port))
}

/// Whether the node has credentials of this server. They are the node's own; only the address is looked at here.
fn is_enrolled(home: &Path, gateway: &Gateway) -> bool {
    let Ok(text) = fs::read_to_string(home.join("node_credentials.json")).map(Zeroizing::new) else { return false };
    let stored: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    stored.is_some_and(|stored| stored["gateway"].as_str().is_some_and(|stored| stored == gateway.as_str()))
}

/// Of node.toml, what is needed here.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct Settings {
    gateway: Option<String>,
    central_server: Option<String>,
    storage_path: Option<PathBuf>,
    /// There is such a file.
    #[serde(skip)]
    exists: bool,
}

impl Settings {
    /// What node.toml says. The node itself reports a file that is damaged.
    fn load(home: &Path) -> Result<Self> {
        let path = home.join("node.toml");
        match fs::read_to_string(&path).map(Zeroizing::new) {
            Ok(text) => Ok(Self { exists: true, ..toml::from_str(&text).unwrap_or_default() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(file("read", &path)(source)),
        }
    }

    /// Folder of the chunks, if none was typed: where they were last, because in another one it would be another node. None if the node
    /// finds it in its settings.
    fn folder(&self, home: &Path, before: Option<&State>) -> Option<PathBuf> {
        if self.storage_path.is_some() {
            return None;
        }
        let last = before.and_then(|before| before.storage_path.clone());
        last.or_else(|| (!self.exists).then(|| home.join("node-data")))
    }
}

/// Where nodes register: as typed, or at the port that the server says, or at the usual one.
pub(super) fn central(typed: Option<&str>, gateway: &Gateway, port: Option<u16>) -> String {
    let scheme = if gateway.tls() { "https" } else { "http" };
    let host = gateway.host();
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    typed.map_or_else(|| format!("{scheme}://{host}:{}", port.unwrap_or(CENTRAL_PORT)), str::to_owned)
}

fn arguments(
    args: &Start,
    home: &Path,
    gateway: &Gateway,
    central_server: &str,
    storage_path: Option<&Path>,
) -> Vec<OsString> {
    let mut found: Vec<OsString> = vec!["--home".into(), home.into()];
    found.extend(["--gateway".into(), gateway.as_str().into(), "--central-server".into(), central_server.into()]);
    if let Some(path) = storage_path {
        found.extend(["--storage-path".into(), path.into()]);
    }
    let numbers = [
        ("--storage-gb", args.storage_gb),
        ("--grpc-port", args.grpc_port.map(u64::from)),
        ("--metrics-port", args.metrics_port.map(u64::from)),
    ];
    let words =
        [("--public-addr", &args.public_addr), ("--region", &args.region), ("--payout-address", &args.payout_address)];
    for (flag, value) in numbers.into_iter().filter_map(|(flag, value)| Some((flag, value?))) {
        found.extend([flag.into(), value.to_string().into()]);
    }
    for (flag, value) in words.into_iter().filter_map(|(flag, value)| Some((flag, value.as_ref()?))) {
        found.extend([flag.into(), value.into()]);
    }
    found
}

/// Waits until the node says that it is registered.
async fn wait(child: &mut Child, ready: &Path, log: &Log, limit: Duration) -> Result<Ready> {
    let deadline = Instant::now() + limit;
    loop {
        // The order matters: a node that is ready and then ends has been ready.
        let status = child.try_wait().map_err(file("wait for", &log.path))?;
        if let Some(ready) = fs::read(ready).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(ready);
        }
        if let Some(status) = status {
            return Err(ended(&status.to_string(), log));
        }
        if Instant::now() >= deadline {
            let seconds = limit.as_secs();
            return Err(Error::Node {
                message: format!(
                    "the storage node was not registered within {seconds} seconds and was ended: {}",
                    last_words(log)
                ),
                advice: Some("Is the server reachable? --timeout waits longer."),
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

fn ended(status: &str, log: &Log) -> Error {
    Error::Node { message: format!("the storage node ended ({status}): {}", last_words(log)), advice: None }
}

/// The last words of a log, made harmless.
fn last_words(log: &Log) -> String {
    let last = log.last_words().unwrap_or_else(|| "it said nothing".to_owned());
    names::escape(last.strip_prefix("cyx-node: ").unwrap_or(&last).as_bytes())
}

/// `cyx node stop`
pub(super) async fn stop(context: &Context, args: &Stop) -> Result<()> {
    let home = home(context, &args.place)?;
    let running = State::load(&home)?.filter(|state| state.process.is_running());
    if let Some(state) = &running {
        let process = state.process.clone();
        let stopped = tokio::task::spawn_blocking(move || process.terminate().map(|()| process.wait_gone(GRACE)));
        let stubborn = |why: String| Error::Node {
            message: format!("the storage node, process {}, does not stop{why}", state.process.pid),
            advice: Some("Its log may say why."),
        };
        match stopped.await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err(stubborn(String::new())),
            Ok(Err(error)) => return Err(stubborn(format!(": {error}"))),
            Err(error) => return Err(stubborn(format!(": {error}"))),
        }
    }
    if context.output.json() {
        return context.output.document(&Stopped { stopped: running.is_some() });
    }
    context.output.note(if running.is_some() {
        "The storage node has stopped."
    } else {
        "No storage node was running."
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command as Typed};
    use clap::Parser as _;

    fn typed(line: &str) -> Start {
        match Cli::try_parse_from(line.split(' ')).unwrap().command {
            Typed::Node(crate::args::node::Node::Start(args)) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn passed(line: &str) -> String {
        let gateway = "https://cloud.example.org".parse().unwrap();
        let found = arguments(&typed(line), Path::new("/h"), &gateway, "http://[::1]:7", Some(Path::new("/s")));
        found.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_what_was_typed_is_passed_on() {
        assert_eq!(
            passed("cyx node start --storage-gb 5"),
            "--home /h --gateway https://cloud.example.org --central-server http://[::1]:7 --storage-path /s --storage-gb 5"
        );
        assert_eq!(
            passed("cyx node start --region eu -- --tls"),
            "--home /h --gateway https://cloud.example.org --central-server http://[::1]:7 --storage-path /s --region eu"
        );
        assert_eq!(typed("cyx node start -- --tls").node_args, ["--tls"]);
        assert!(Cli::try_parse_from(["cyx", "node", "start", "--storage-gb", "2"]).is_err());
    }

    #[test]
    fn nodes_register_where_it_is_known_or_else_at_the_usual_port() {
        let gateway: Gateway = "https://cloud.example.org".parse().unwrap();
        assert_eq!(central(None, &gateway, None), "https://cloud.example.org:50052");
        assert_eq!(central(None, &gateway, Some(7000)), "https://cloud.example.org:7000", "as the server says");
        assert_eq!(central(Some("http://[::1]:7"), &gateway, Some(7000)), "http://[::1]:7");
        assert_eq!(central(None, &"http://[::1]:80".parse().unwrap(), Some(7)), "http://[::1]:7");
    }

    #[test]
    fn what_node_toml_says_is_used() {
        let home = tempfile::tempdir().unwrap();
        let load = |text: &str| {
            fs::write(home.path().join("node.toml"), text).unwrap();
            Settings::load(home.path()).unwrap()
        };
        assert_eq!(
            load("gateway = 'http://x:2'\ncentral_server = 'http://x:1'\npassword = 'p'"),
            Settings {
                gateway: Some("http://x:2".into()),
                central_server: Some("http://x:1".into()),
                storage_path: None,
                exists: true
            }
        );
        let nothing = Settings { exists: true, ..Settings::default() };
        assert_eq!((&load("storage_gb = 3"), &load("central_server =")), (&nothing, &nothing));
    }

    #[test]
    fn chunks_are_looked_for_where_they_were() {
        let home = Path::new("/h");
        let before = |path: Option<&str>| State {
            process: Process::find(std::process::id()).unwrap(),
            node_id: None,
            metrics: None,
            storage_path: path.map(PathBuf::from),
            gateway: String::new(),
            central_server: String::new(),
        };
        let none = Settings::default();
        assert_eq!(none.folder(home, None), Some(home.join("node-data")));
        assert_eq!(none.folder(home, Some(&before(Some("/srv")))), Some("/srv".into()));
        let silent = Settings { exists: true, ..Settings::default() };
        assert_eq!((silent.folder(home, None), silent.folder(home, Some(&before(None)))), (None, None));
        assert_eq!(silent.folder(home, Some(&before(Some("/srv")))), Some("/srv".into()));
        let says = Settings { exists: true, storage_path: Some("/d".into()), ..Settings::default() };
        assert_eq!(says.folder(home, Some(&before(Some("/srv")))), None, "a node that was moved");
    }

    #[test]
    fn credentials_of_another_server_are_none() {
        let home = tempfile::tempdir().unwrap();
        let (here, there): (Gateway, Gateway) =
            ("http://localhost:1".parse().unwrap(), "http://localhost:2".parse().unwrap());
        assert!(!is_enrolled(home.path(), &here));
        fs::write(home.path().join("node_credentials.json"), r#"{"gateway":"http://localhost:1"}"#).unwrap();
        assert!(is_enrolled(home.path(), &here) && !is_enrolled(home.path(), &there));
    }
}
