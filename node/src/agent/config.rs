//! What a node is told to do: flags over environment over `node.toml` over defaults.

use std::fmt;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use cyx_core::ids::NodeId;
use cyx_core::units::{GIB, MIB};
use serde::Deserialize;
use thiserror::Error;
use zeroize::Zeroizing;

use super::storage::{BucketKey, Storage, StorageOptions};
use crate::repair::RepairOptions;

/// Name of the configuration file in the home folder.
pub const FILE: &str = "node.toml";
const API_URL: &str = "http://localhost:8080";
const CENTRAL: &str = "http://localhost:50052";
const GRPC_PORT: u16 = 50_051;
const METRICS_PORT: u16 = 9090;
const WORKER_THREADS: usize = 2;
/// A terabyte in a day and a half.
const SCRUB_MIB: u64 = 8;
const REPAIR_TASKS: usize = 2;
/// Three shards of an ordinary segment a second.
const REPAIR_MIB: u64 = 32;

/// A text that is never shown.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// The file holds a secret that others can read.
    #[error("{path} holds a password or an enrolment token and can be read by others: run chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// There is no home folder.
    #[error("there is no home folder: set CYXCLOUD_HOME or pass --home")]
    NoHome,
    /// A value is not valid.
    #[error("{0}")]
    Invalid(String),
}

/// The options of `cyx-node`.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Folder of node.toml and node_credentials.json [default: ~/.cyxcloud]
    #[arg(long, env = "CYXCLOUD_HOME", value_name = "DIR", global = true)]
    pub home: Option<PathBuf>,
    /// Folder of the chunks, the index and the node's key [default: ./data]
    #[arg(long, env = "STORAGE_PATH", value_name = "DIR", global = true)]
    pub storage_path: Option<PathBuf>,
    /// Where the chunks are: disk, or s3://BUCKET/PREFIX for an S3-compatible bucket; the index stays in the folder [default: disk]
    #[arg(long, env = "STORAGE_BACKEND", value_name = "PLACE")]
    pub storage: Option<String>,
    /// Address of the bucket's service, if it is not Amazon's
    #[arg(long, env = "S3_ENDPOINT", value_name = "URL")]
    pub s3_endpoint: Option<String>,
    /// Region of the bucket [default: us-east-1]
    #[arg(long, env = "AWS_REGION", value_name = "WORD")]
    pub s3_region: Option<String>,
    /// File (mode 0600) with access_key_id and secret_access_key, instead of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
    #[arg(long, env = "S3_CREDENTIALS_FILE", value_name = "FILE")]
    pub s3_credentials: Option<PathBuf>,
    /// The bucket's key; only from the environment
    #[arg(skip)]
    pub s3_key: Option<BucketKey>,
    /// GiB to offer, at least 3; 2 of them are the network's reserve; 0 is all free space [default: 0]
    #[arg(long, env = "STORAGE_CAPACITY_GB", value_name = "N")]
    pub storage_gb: Option<u64>,
    /// Where people and machines log in [default: http://localhost:8080]
    #[arg(long, visible_alias = "api-url", env = "CYXWIZ_API_URL", value_name = "URL")]
    pub gateway: Option<String>,
    /// Where nodes register and report [default: http://localhost:50052]
    #[arg(long, env = "CENTRAL_SERVER_ADDR", value_name = "URL")]
    pub central_server: Option<String>,
    /// PEM file of the certificate authorities to trust for both, instead of the system's
    #[arg(long, env = "CYXCLOUD_CA_FILE", value_name = "FILE", global = true)]
    pub ca_file: Option<PathBuf>,
    /// Where clients reach this node, host or host:port; checked by the server [default: the address of the way to the server]
    #[arg(long, env = "PUBLIC_ADDR", value_name = "ADDR")]
    pub public_addr: Option<String>,
    /// Address to listen on for chunks; plain text on loopback, TLS elsewhere [default: 0.0.0.0]
    #[arg(long, env = "GRPC_HOST", value_name = "IP")]
    pub grpc_host: Option<IpAddr>,
    /// Port to listen on for chunks; 0 is any free one [default: 50051]
    #[arg(long, env = "GRPC_PORT", value_name = "PORT")]
    pub grpc_port: Option<u16>,
    /// Address to listen on for metrics and health [default: that of --grpc-host]
    #[arg(long, env = "METRICS_HOST", value_name = "IP")]
    pub metrics_host: Option<IpAddr>,
    /// Port to listen on for metrics and health; 0 is any free one [default: 9090]
    #[arg(long, env = "METRICS_PORT", value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// Use TLS on loopback too
    #[arg(long)]
    pub tls: bool,
    /// Region of this node, a word such as eu-west
    #[arg(long, env = "NODE_REGION", value_name = "WORD")]
    pub region: Option<String>,
    /// Where the operator wants to be paid, a word such as an account number or a wallet address
    #[arg(long, env = "NODE_PAYOUT_ADDRESS", value_name = "WORD")]
    pub payout_address: Option<String>,
    /// The id this node is expected to have; it refuses to start under another key
    #[arg(long, env = "NODE_ID", value_name = "ID")]
    pub node_id: Option<NodeId>,
    /// Enrolment token, instead of a login
    #[arg(long, env = "CYXWIZ_ENROLL_TOKEN", value_name = "TOKEN", hide_env_values = true, value_parser = secret)]
    pub enroll_token: Option<Secret>,
    /// Email of the operator's account, for the first login
    #[arg(long, env = "CYXWIZ_EMAIL", value_name = "EMAIL")]
    pub email: Option<String>,
    /// Password of the operator's account; only from the environment
    #[arg(skip)]
    pub password: Option<Secret>,
    /// One-time code of the login; asked for on a terminal otherwise; only from the environment
    #[arg(skip)]
    pub otp: Option<Secret>,
    /// Send credentials over plain HTTP to another machine, as in a private network of containers
    #[arg(long, env = "CYX_NODE_ALLOW_PLAIN_HTTP")]
    pub allow_plain_http: bool,
    /// Seconds between heartbeats, instead of what the server says
    #[arg(long, value_name = "SECONDS")]
    pub heartbeat_seconds: Option<u64>,
    /// MiB a second that the slow check of all chunks may read; 0 is none [default: 8, and 0 for a bucket]
    #[arg(long, env = "SCRUB_MIB_PER_SECOND", value_name = "N")]
    pub scrub_mib_per_second: Option<u64>,
    /// Chunks that this node makes anew from those of others at a time; 0 is none [default: 2]
    #[arg(long, env = "REPAIR_TASKS", value_name = "N")]
    pub repair_tasks: Option<usize>,
    /// MiB a second that this node reads from others for that; 0 is as many as come [default: 32]
    #[arg(long, env = "REPAIR_MIB_PER_SECOND", value_name = "N")]
    pub repair_mib_per_second: Option<u64>,
    /// Seconds that running transfers get at the end [default: 20]
    #[arg(long, value_name = "SECONDS")]
    pub grace_seconds: Option<u64>,
    /// Threads of the runtime [default: 2]
    #[arg(long, value_name = "N")]
    pub worker_threads: Option<usize>,
    /// Print one JSON line with the node's id and addresses on standard output when it is registered and ready
    #[arg(long)]
    pub print_ready: bool,
    /// Write the same line to this file
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

#[expect(clippy::unnecessary_wraps, reason = "what clap wants of a parser")]
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(text.to_owned().into())
}

/// `node.toml`: the same names as the flags, with underscores.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct FileOptions {
    storage_path: Option<PathBuf>,
    storage: Option<String>,
    s3_endpoint: Option<String>,
    s3_region: Option<String>,
    s3_credentials: Option<PathBuf>,
    storage_gb: Option<u64>,
    gateway: Option<String>,
    central_server: Option<String>,
    ca_file: Option<PathBuf>,
    public_addr: Option<String>,
    grpc_host: Option<IpAddr>,
    grpc_port: Option<u16>,
    metrics_host: Option<IpAddr>,
    metrics_port: Option<u16>,
    tls: bool,
    region: Option<String>,
    payout_address: Option<String>,
    node_id: Option<NodeId>,
    enroll_token: Option<Secret>,
    email: Option<String>,
    password: Option<Secret>,
    allow_plain_http: bool,
    heartbeat_seconds: Option<u64>,
    scrub_mib_per_second: Option<u64>,
    repair_tasks: Option<usize>,
    repair_mib_per_second: Option<u64>,
    grace_seconds: Option<u64>,
    worker_threads: Option<usize>,
}

/// An example of `node.toml` with every option.
pub const EXAMPLE: &str = include_str!("node.example.toml");

/// What a node does.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of `node_credentials.json`.
    pub home: PathBuf,
    /// Folder of the chunks, the index and the node's key.
    pub storage_path: PathBuf,
    /// Where the chunks are.
    pub storage: Storage,
    /// Bytes to offer; `None` is all free space.
    pub capacity: Option<u64>,
    /// Base address of the REST API, without a slash at the end.
    pub api_url: String,
    /// Base address of the gRPC service for nodes.
    pub central: String,
    /// The authorities that vouch for both, if not the system's.
    pub ca_file: Option<PathBuf>,
    /// Where clients reach the node.
    pub public_addr: Option<String>,
    /// Where chunks are served.
    pub grpc: SocketAddr,
    /// Where metrics and health are served.
    pub metrics: SocketAddr,
    /// TLS on loopback too.
    pub tls: bool,
    /// A word, or empty.
    pub region: String,
    /// A word, or empty.
    pub payout_address: String,
    /// The id that is expected.
    pub node_id: Option<NodeId>,
    /// Enrolment token.
    pub enroll_token: Option<Secret>,
    /// Email of the operator's account.
    pub email: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// Its one-time code.
    pub otp: Option<Secret>,
    /// Interval of heartbeats, if not the server's.
    pub heartbeat: Option<Duration>,
    /// Bytes a second that the slow check of all chunks may read; `None`: no check.
    pub scrub: Option<u64>,
    /// What is done for repairs.
    pub repair: RepairOptions,
    /// Time that running transfers get at the end.
    pub grace: Duration,
    /// Threads of the runtime.
    pub worker_threads: usize,
    /// Print a line when ready.
    pub print_ready: bool,
    /// Write that line to a file.
    pub ready_file: Option<PathBuf>,
}

impl Config {
    /// Settles every option.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn resolve(options: Options) -> Result<Self, ConfigError> {
        let home = match options.home {
            Some(home) => home,
            None => std::env::home_dir().ok_or(ConfigError::NoHome)?.join(".cyxcloud"),
        };
        let file = read_file(&home.join(FILE))?;
        let grpc_host = options.grpc_host.or(file.grpc_host).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let metrics_host = options.metrics_host.or(file.metrics_host).unwrap_or(grpc_host);
        let seconds = |value: Option<u64>, name: &str| match value {
            Some(0) => Err(ConfigError::Invalid(format!("{name} has to be at least 1"))),
            other => Ok(other.map(Duration::from_secs)),
        };
        let api_url = options.gateway.or(file.gateway).unwrap_or_else(|| API_URL.to_owned());
        let central = options.central_server.or(file.central_server).unwrap_or_else(|| CENTRAL.to_owned());
        let plain = options.allow_plain_http || file.allow_plain_http;
        // A region that the environment has for other programs says nothing without a bucket.
        let place = options.storage.or(file.storage);
        let region = options.s3_region.filter(|_| place.is_some()).or(file.s3_region);
        let storage = Storage::resolve(StorageOptions {
            place,
            endpoint: options.s3_endpoint.or(file.s3_endpoint),
            region,
            key: options.s3_key,
            key_file: options.s3_credentials.or(file.s3_credentials),
            allow_plain_http: plain,
        })?;
        let in_bucket = matches!(storage, Storage::Bucket(_));
        let gib = options.storage_gb.or(file.storage_gb).unwrap_or(0);
        // Reading a bucket costs money, and what keeps it looks after the bytes itself.
        let scrub = options.scrub_mib_per_second.or(file.scrub_mib_per_second);
        let scrub = scrub.unwrap_or(if in_bucket { 0 } else { SCRUB_MIB });
        Ok(Self {
            storage_path: options.storage_path.or(file.storage_path).unwrap_or_else(|| PathBuf::from("data")),
            storage,
            capacity: match gib {
                0 if in_bucket => {
                    return Err(ConfigError::Invalid(
                        "a bucket has no end: say what to offer with --storage-gb".to_owned(),
                    ));
                }
                0 => None,
                gib => Some(gib.saturating_mul(GIB)),
            },
            api_url: base_url(&api_url, plain)?,
            central: base_url(&central, plain)?,
            ca_file: options.ca_file.or(file.ca_file).filter(|file| !file.as_os_str().is_empty()),
            public_addr: options.public_addr.or(file.public_addr),
            grpc: SocketAddr::new(grpc_host, options.grpc_port.or(file.grpc_port).unwrap_or(GRPC_PORT)),
            metrics: SocketAddr::new(metrics_host, options.metrics_port.or(file.metrics_port).unwrap_or(METRICS_PORT)),
            tls: options.tls || file.tls,
            region: options.region.or(file.region).unwrap_or_default(),
            payout_address: options.payout_address.or(file.payout_address).unwrap_or_default(),
            node_id: options.node_id.or(file.node_id),
            enroll_token: options.enroll_token.or(file.enroll_token),
            email: options.email.or(file.email),
            password: options.password.or(file.password),
            otp: options.otp,
            heartbeat: seconds(options.heartbeat_seconds.or(file.heartbeat_seconds), "heartbeat_seconds")?,
            scrub: match scrub {
                0 => None,
                mib => Some(mib.saturating_mul(MIB)),
            },
            repair: RepairOptions {
                tasks: options.repair_tasks.or(file.repair_tasks).unwrap_or(REPAIR_TASKS),
                rate: match options.repair_mib_per_second.or(file.repair_mib_per_second).unwrap_or(REPAIR_MIB) {
                    0 => None,
                    mib => Some(mib.saturating_mul(MIB)),
                },
            },
            grace: Duration::from_secs(options.grace_seconds.or(file.grace_seconds).unwrap_or(20)),
            worker_threads: options.worker_threads.or(file.worker_threads).unwrap_or(WORKER_THREADS).max(1),
            print_ready: options.print_ready,
            ready_file: options.ready_file,
            home,
        })
    }
}

impl Options {
    /// Takes from the environment what has no flag, so that it never shows in a list of processes.
    #[must_use]
    pub fn with_secrets_of_environment(mut self) -> Self {
        let secret = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty()).map(Secret::from);
        self.password = secret("CYXWIZ_PASSWORD");
        self.otp = secret("CYXWIZ_OTP");
        self.s3_key = secret("AWS_ACCESS_KEY_ID").zip(secret("AWS_SECRET_ACCESS_KEY")).map(|(id, key)| BucketKey {
            access_key_id: id,
            secret_access_key: key,
            session_token: secret("AWS_SESSION_TOKEN"),
        });
        self
    }
}

/// What in the file is nobody else's.
const SECRETS: [&str; 2] = ["password", "enroll_token"];

fn read_file(path: &Path) -> Result<FileOptions, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(FileOptions::default()),
        Err(source) => return Err(failed(source)),
    };
    let mode = file.metadata().map_err(failed)?.mode();
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(failed)?;
    let options: FileOptions = toml::from_str(&text)
        .map_err(|error| ConfigError::Syntax { path: path.to_owned(), message: mistake(&text, &error) })?;
    let secrets = [&options.password, &options.enroll_token];
    if mode & 0o077 != 0 && secrets.into_iter().flatten().any(|secret| !secret.expose().is_empty()) {
        return Err(ConfigError::Exposed { path: path.to_owned() });
    }
    Ok(options)
}

/// Where a file is wrong, and why. The parser would show the line, and a value that is no text, which may be a secret.
fn mistake(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let number = at.bytes().filter(|byte| *byte == b'\n').count();
    let line = text.lines().nth(number).unwrap_or_default().trim_start_matches([' ', '\t', '"', '\'']);
    let why = if SECRETS.iter().any(|name| line.starts_with(name)) {
        "this has to be text between quotes"
    } else {
        error.message()
    };
    format!("line {}: {why}", number + 1)
}

/// A base address without a slash at its end. Credentials do not travel in plain text between machines unless asked to.
pub(super) fn base_url(text: &str, allow_plain: bool) -> Result<String, ConfigError> {
    let invalid = || ConfigError::Invalid(format!("{text} is not an http:// or https:// address"));
    let uri: http::Uri = text.parse().map_err(|_| invalid())?;
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else { return Err(invalid()) };
    match scheme {
        "https" => {}
        "http" if allow_plain || is_local(host) => {}
        "http" => {
            return Err(ConfigError::Invalid(format!(
                "{text} would send credentials in plain text to another machine: use https:// or pass --allow-plain-http"
            )));
        }
        _ => return Err(invalid()),
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn resolve(options: Options, file: &str) -> Result<Config, ConfigError> {
        resolve_mode(options, file, 0o600)
    }

    fn resolve_mode(options: Options, file: &str, mode: u32) -> Result<Config, ConfigError> {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FILE);
        std::fs::write(&path, file).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Config::resolve(Options { home: Some(home.path().to_owned()), ..options })
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let options = Options { grpc_port: Some(1), ..Options::default() };
        let config =
            resolve(options, "grpc_port = 2\nmetrics_port = 3\nstorage_gb = 5\ngrpc_host = '127.0.0.1'").unwrap();
        assert_eq!(config.grpc, "127.0.0.1:1".parse().unwrap());
        assert_eq!(config.metrics, "127.0.0.1:3".parse().unwrap());
        assert_eq!(config.capacity, Some(5 * GIB));
        assert_eq!((config.api_url.as_str(), config.central.as_str()), (API_URL, CENTRAL));
        assert_eq!(resolve(Options::default(), "").unwrap().capacity, None);
    }

    #[test]
    fn the_example_file_is_valid_and_has_every_option() {
        let uncommented: String =
            EXAMPLE.lines().map(|line| line.strip_prefix("#= ").unwrap_or(line).to_owned() + "\n").collect();
        let file: FileOptions = toml::from_str(&uncommented).unwrap();
        assert!(file.storage_gb.is_some() && file.node_id.is_some() && file.worker_threads.is_some());
        assert!(resolve(Options::default(), EXAMPLE).is_ok());
    }

    #[test]
    fn a_bucket_needs_a_size_and_is_not_read_for_nothing() {
        assert!(resolve(Options::default(), "storage = 's3://a'").is_err());
        let config = resolve(Options::default(), "storage = 's3://a/b'\nstorage_gb = 9").unwrap();
        assert!(matches!(config.storage, Storage::Bucket(_)) && config.scrub.is_none());
        assert_eq!(resolve(Options::default(), "").unwrap().scrub, Some(SCRUB_MIB * MIB));
        let region = Options { s3_region: Some("eu".to_owned()), ..Options::default() };
        assert!(matches!(resolve(region, "").unwrap().storage, Storage::Disk));
    }

    #[test]
    fn mistakes_are_named() {
        let error = resolve(Options::default(), "grpc_prot = 2").err().unwrap().to_string();
        assert!(error.contains("grpc_prot"), "{error}");
        let zero = Options { heartbeat_seconds: Some(0), ..Options::default() };
        assert!(resolve(zero, "").is_err());
    }

    #[test]
    fn credentials_leave_the_machine_encrypted_or_by_request() {
        for (url, plain, good) in [
            ("http://localhost:8080/", false, true),
            ("http://127.0.0.1:1", false, true),
            ("http://[::1]:1", false, true),
            ("https://cloud.example.org", false, true),
            ("http://cloud.example.org", false, false),
            ("http://cloud.example.org", true, true),
            ("ftp://localhost", true, false),
            ("localhost:8080", true, false),
        ] {
            assert_eq!(base_url(url, plain).is_ok(), good, "{url} {plain}");
        }
    }

    #[test]
    fn a_file_with_a_secret_is_for_its_owner_alone() {
        for secret in ["password = 'hunter2'", "enroll_token = 'tokentoken'"] {
            for mode in [0o644, 0o640, 0o604] {
                let error = resolve_mode(Options::default(), secret, mode).err().unwrap().to_string();
                assert!(error.contains("node.toml") && error.contains("chmod 600"), "{error}");
            }
            assert!(resolve_mode(Options::default(), secret, 0o400).is_ok());
        }
        for harmless in ["storage_gb = 5", "password = ''", EXAMPLE] {
            assert!(resolve_mode(Options::default(), harmless, 0o644).is_ok(), "{harmless}");
        }
    }

    #[test]
    fn a_mistake_is_named_without_what_the_line_says() {
        let cases = [
            ("password = 'hunter2", "line 1: this has to be text between quotes"),
            ("storage_gb = 5\n  password = 1234567", "line 2: this has to be text between quotes"),
            ("enroll_token = hunter2", "line 1: this has to be text between quotes"),
            ("\"password\" = 1234567", "line 1: this has to be text between quotes"),
            ("password = 'hunter2' x\n", "line 1: this has to be text between quotes"),
            ("password = 'hunter2'\nstorage_gb = 'five'", "line 2: invalid type"),
            ("nonsense = 1\npassword = 'hunter2'", "line 1: unknown field `nonsense`"),
        ];
        for (file, wanted) in cases {
            let error = resolve(Options::default(), file).err().unwrap().to_string();
            assert!(error.contains(wanted), "{error}");
            assert!(!error.contains("hunter2") && !error.contains("1234567"), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let config = resolve(Options::default(), "password = 'hunter2'\nenroll_token = 'tokentoken'").unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("tokentoken"));
    }
}
