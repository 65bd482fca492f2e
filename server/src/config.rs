//! What the server was told: flags over environment over `server.toml` over defaults.
//!
//! Every option stands once, in the table at the end of [`options`]; its flag, its environment variable, its key in the file, its
//! place in `--help` and its line in the generated example follow from that. [`Config`] is what comes out: checked and complete.
//! Secrets have no flags, since other users of a machine can read those: they come from the environment or from a file.

mod options;
mod secrets;
mod trial;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cyx_core::wallet::is_domain;
use thiserror::Error;
use zeroize::Zeroizing;

pub use self::options::{Options, example};
pub use self::secrets::Secret;

use crate::audits::round::SLICES_MAX;

use crate::accounts::plan::Plan;
use crate::accounts::rules;
use crate::db::{DbConfig, Location};

/// Why the server does not start with this configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration file is not valid.
    #[error("{}: {reason}", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A value makes no sense, alone or with others.
    #[error("{0}")]
    Value(String),
}

/// How mail leaves the server.
#[derive(Debug, Clone)]
pub enum MailRoute {
    /// Into a folder of `.eml` files.
    Outbox(PathBuf),
    /// To a mail server.
    Smtp(SmtpConfig),
}

/// A mail server.
#[derive(Debug, Clone)]
pub struct SmtpConfig {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub security: SmtpSecurity,
    /// User name and password, if it asks for them.
    pub credentials: Option<(String, Secret)>,
}

/// How a connection to the mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// TLS from the first byte (port 465).
    Tls,
    /// TLS after `STARTTLS`, insisted on (port 587).
    StartTls,
    /// None: only for a mail server on the same machine.
    Plain,
}

/// Certificate chain and key in PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// JSON web tokens.
#[derive(Debug, Clone)]
pub struct JwtConfig {
    /// The shared secret. Absent: one is drawn and kept in the data folder.
    pub secret: Option<Secret>,
    /// Who issues tokens, `iss`.
    pub issuer: String,
    /// Whose tokens are accepted.
    pub accepted_issuers: Vec<String>,
    /// Whether `iss` is not looked at.
    pub skip_issuer_validation: bool,
}

/// The role of a process: what it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessRole {
    /// Everything.
    All,
    /// Users and nodes, without regular work: rebalancers on the same PostgreSQL do that.
    Gateway,
    /// Accounts and machines alone, beside other processes on the same PostgreSQL.
    Identity,
    /// Jobs alone (repairs, moves, collections, audits), beside other processes on the same PostgreSQL.
    Rebalancer,
}

/// Longest epoch in seconds.
const EPOCH_MAX: u64 = 31 * 24 * 3600;
/// Where the identity part listens if nothing else is said.
const IDENTITY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 3002);

/// The server's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The role of this process.
    pub role: ProcessRole,
    /// Folder of everything the server keeps.
    pub data_dir: PathBuf,
    /// Where users come in.
    pub http: SocketAddr,
    /// Where nodes come in.
    pub grpc: SocketAddr,
    /// Where accounts and machines alone are served, if anywhere else than at `http`.
    pub identity: Option<SocketAddr>,
    /// The database.
    pub database: DbConfig,
    /// Certificate of both listeners.
    pub tls: Option<TlsFiles>,
    /// Whether a proxy in front ends TLS and adds `X-Forwarded-For`.
    pub behind_proxy: bool,
    /// How mail leaves.
    pub mail: MailRoute,
    /// Sender of mail.
    pub mail_from: String,
    /// Tokens.
    pub jwt: JwtConfig,
    /// The host in the texts that wallets sign.
    pub domain: String,
    /// gRPC calls per second and account in the long run.
    pub account_calls_per_second: u32,
    /// Enrols any number of machines.
    pub enroll_token: Option<Secret>,
    /// Plan of new accounts.
    pub plan: Plan,
    /// Bytes that an account of the plan free may store.
    pub plan_free_bytes: u64,
    /// Bytes that accounts of the plan free may move in a month.
    pub plan_free_traffic_bytes: u64,
    /// Email addresses, in lower case, whose accounts are administrators from their next login on.
    pub admins: Vec<String>,
    /// How long an account goes on after its owner wanted it deleted.
    pub account_grace: Duration,
    /// How long the audit log is kept.
    pub audit: Duration,
    /// Whether several shards of a segment may lie on one machine or network.
    pub allow_colocated: bool,
    /// Largest file in bytes.
    pub max_file_bytes: u64,
    /// Life of an access token.
    pub access_token: Duration,
    /// Life of a refresh token.
    pub refresh_token: Duration,
    /// Life of a node's token.
    pub node_token: Duration,
    /// Life of a grant.
    pub grant: Duration,
    /// How often nodes report.
    pub heartbeat: Duration,
    /// After how long a silent node is suspect.
    pub node_suspect: Duration,
    /// After how long it is offline.
    pub node_offline: Duration,
    /// After how long it is lost.
    pub node_lost: Duration,
    /// Repairs and moves under way at a time.
    pub repair_tasks: u64,
    /// Whether every shard that is lost is made anew at once.
    pub repair_eager: bool,
    /// Of those, how many may read from one node.
    pub repair_tasks_per_node: u64,
    /// How often nodes are audited.
    pub node_audit: Duration,
    /// Slices that each of them proves then.
    pub node_audit_slices: u32,
    /// How long after a failure the same is asked once more.
    pub node_audit_recheck: Duration,
    /// How long trash is kept.
    pub trash: Duration,
    /// How long replaced content stays readable.
    pub superseded: Duration,
    /// How long staged segments are kept after the last call of their transaction.
    pub staged: Duration,
    /// How long changes are kept for subscribers that come back.
    pub changes: Duration,
    /// Chunks younger than this are never in question when nodes clean up.
    pub keep_list_margin: Duration,
    /// How often the collecting jobs run.
    pub job: Duration,
    /// Length of the epochs that nodes are paid by.
    pub epoch: Duration,
    /// Micros for a gigabyte kept for a month.
    pub storage_rate: u64,
    /// Micros for a gigabyte moved.
    pub traffic_rate: u64,
    /// Of an operator's pay, so many hundredths are held until the node has left in order.
    pub hold_percent: u64,
    /// Where payouts are written to, if not into the data folder.
    pub payouts: Option<PathBuf>,
    /// Life of a write lease, from when it was acquired or renewed.
    pub write_lease: Duration,
    /// Where the log of the embedded database is shipped to.
    pub ship_wal: Option<PathBuf>,
    /// How long superseded generations of shipped logs are kept.
    pub ship_wal_keep: Duration,
    /// Whether logs are JSON lines.
    pub log_json: bool,
    /// Whether a line on standard output says when and where the server listens.
    pub print_ready: bool,
}

impl Config {
    /// Completes options with their file and defaults, reads secrets from the environment and from files, and checks everything.
    ///
    /// # Errors
    /// [`ConfigError`], naming the option or file.
    pub fn resolve(flags: Options) -> Result<Self, ConfigError> {
        let options = flags.with_file()?;
        let secret = |variable: &str, file: Option<&PathBuf>| secrets::find(variable, file.map(PathBuf::as_path));
        let data_dir = options.data_dir()?;
        let database = database(&options, &data_dir)?;
        let seconds = Duration::from_secs;
        let role = match options.role()?.as_str() {
            "all" => ProcessRole::All,
            "gateway" => ProcessRole::Gateway,
            "identity" => ProcessRole::Identity,
            "rebalancer" => ProcessRole::Rebalancer,
            _ => return Err(invalid("role", "must be all, gateway, identity or rebalancer")),
        };
        let identity = options.identity.or((role == ProcessRole::Identity).then_some(IDENTITY));
        let config = Self {
            role,
            http: options.http()?,
            grpc: options.grpc()?,
            identity,
            database,
            tls: tls(&options)?,
            behind_proxy: options.behind_proxy(),
            mail: mail_route(&options, &data_dir)?,
            mail_from: options.mail_from()?,
            jwt: JwtConfig {
                secret: secret("JWT_SECRET", options.jwt_secret_file.as_ref())?,
                issuer: options.jwt_issuer()?,
                accepted_issuers: list(&options.jwt_accepted_issuers()?),
                skip_issuer_validation: options.jwt_skip_issuer_validation(),
            },
            domain: options.domain()?,
            account_calls_per_second: options.account_calls_per_second()?,
            enroll_token: secret("CYX_ENROLL_TOKEN", options.enroll_token_file.as_ref())?,
            plan: options.plan()?.parse().map_err(|_| invalid("plan", "no such plan"))?,
            plan_free_bytes: options.plan_free_bytes()?,
            plan_free_traffic_bytes: options.plan_free_traffic_bytes()?,
            admins: list(&options.admin.clone().unwrap_or_default().to_lowercase()),
            account_grace: seconds(options.account_grace_seconds()?),
            audit: seconds(options.audit_seconds()?),
            allow_colocated: options.allow_colocated(),
            max_file_bytes: options.max_file_bytes()?,
            access_token: seconds(options.access_token_seconds()?),
            refresh_token: seconds(options.refresh_token_seconds()?),
            node_token: seconds(options.node_token_seconds()?),
            grant: seconds(options.grant_seconds()?),
            heartbeat: seconds(options.heartbeat_seconds()?),
            node_suspect: seconds(options.node_suspect_seconds()?),
            node_offline: seconds(options.node_offline_seconds()?),
            node_lost: seconds(options.node_lost_seconds()?),
            repair_tasks: options.repair_tasks()?,
            repair_eager: options.repair_eager(),
            repair_tasks_per_node: options.repair_tasks_per_node()?,
            node_audit: seconds(options.node_audit_seconds()?),
            node_audit_slices: options.node_audit_slices()?,
            node_audit_recheck: seconds(options.node_audit_recheck_seconds()?),
            trash: seconds(options.trash_seconds()?),
            superseded: seconds(options.superseded_seconds()?),
            staged: seconds(options.staged_seconds()?),
            changes: seconds(options.changes_seconds()?),
            keep_list_margin: seconds(options.keep_list_margin_seconds()?),
            job: seconds(options.job_seconds()?),
            epoch: seconds(options.epoch_seconds()?),
            storage_rate: options.storage_rate()?,
            traffic_rate: options.traffic_rate()?,
            hold_percent: options.hold_percent()?,
            payouts: options.payouts.clone(),
            write_lease: seconds(options.write_lease_seconds()?),
            ship_wal: options.ship_wal.clone(),
            ship_wal_keep: seconds(options.ship_wal_keep_seconds()?),
            log_json: options.log_json(),
            print_ready: options.print_ready(),
            data_dir,
        };
        config.check()?;
        Ok(config)
    }

    /// The port where nodes register, as far as this process knows it: not if a proxy stands in front, if others serve nodes, or if the system
    /// chooses the port.
    #[must_use]
    pub fn node_port(&self) -> Option<u16> {
        let serves_nodes = matches!(self.role, ProcessRole::All | ProcessRole::Gateway);
        (serves_nodes && !self.behind_proxy).then_some(self.grpc.port()).filter(|port| *port != 0)
    }

    /// Where this process listens, by option.
    fn listeners(&self) -> Vec<(&'static str, SocketAddr)> {
        let listeners = [("http", Some(self.http)), ("grpc", Some(self.grpc)), ("identity", self.identity)];
        let listeners = match self.role {
            ProcessRole::All | ProcessRole::Gateway => &listeners[..],
            ProcessRole::Identity => &listeners[2..],
            ProcessRole::Rebalancer => &listeners[..1],
        };
        listeners.iter().filter_map(|(name, address)| Some((*name, (*address)?))).collect()
    }

    fn check(&self) -> Result<(), ConfigError> {
        let addresses = self.listeners();
        for (at, (name, address)) in addresses.iter().enumerate() {
            if let Some((other, _)) = addresses[..at].iter().find(|(_, other)| clash(*other, *address)) {
                return Err(invalid(
                    name,
                    &format!("{address} is taken by --{other}; each listener needs a port of its own"),
                ));
            }
            if self.tls.is_none() && !self.behind_proxy && !address.ip().is_loopback() {
                return Err(invalid(
                    name,
                    "plain text is refused off loopback: give --tls-cert and --tls-key, or --behind-proxy if a proxy adds TLS",
                ));
            }
        }
        if self.grant > Duration::from_secs(cyx_core::units::GRANT_LIFETIME_SECONDS) {
            return Err(invalid("grant-seconds", "nodes refuse grants that live longer than an hour"));
        }
        crate::mail::sender(&self.mail_from)?;
        if let Some(admin) = self.admins.iter().find(|admin| rules::email(admin).is_err()) {
            return Err(invalid("admin", &format!("{admin:?} is not an email address")));
        }
        if !is_domain(&self.domain) {
            return Err(invalid("domain", "is a host, perhaps with a port, and nothing else"));
        }
        if self.account_calls_per_second == 0 {
            return Err(invalid("account-calls-per-second", "must be at least 1"));
        }
        if self.role == ProcessRole::Identity {
            // Otherwise it would have accounts and tokens of its own, which nobody else accepts.
            if !matches!(self.database.location, Location::Postgres(_)) {
                return Err(invalid(
                    "role",
                    "identity needs PostgreSQL, which the other processes use too (DATABASE_URL)",
                ));
            }
            if self.jwt.secret.is_none() {
                return Err(invalid("role", "identity needs the JWT_SECRET of the other processes"));
            }
        }
        if self.repair_tasks_per_node == 0 {
            return Err(invalid("repair-tasks-per-node", "must be at least 1; --repair-tasks=0 pauses repairs"));
        }
        if matches!(self.role, ProcessRole::Gateway | ProcessRole::Rebalancer)
            && !matches!(self.database.location, Location::Postgres(_))
        {
            return Err(invalid(
                "role",
                "gateway and rebalancer need PostgreSQL, which the other processes use too (DATABASE_URL)",
            ));
        }
        let at_least_one = [
            ("access-token-seconds", self.access_token),
            ("refresh-token-seconds", self.refresh_token),
            ("node-token-seconds", self.node_token),
            ("grant-seconds", self.grant),
            ("heartbeat-seconds", self.heartbeat),
            ("node-suspect-seconds", self.node_suspect),
            ("node-offline-seconds", self.node_offline),
            ("node-lost-seconds", self.node_lost),
            ("node-audit-seconds", self.node_audit),
            ("job-seconds", self.job),
            ("epoch-seconds", self.epoch),
            ("write-lease-seconds", self.write_lease),
        ];
        for (name, value) in at_least_one {
            if value.is_zero() {
                return Err(invalid(name, "must be at least 1"));
            }
        }
        if self.hold_percent > 100 {
            return Err(invalid("hold-percent", "at most 100"));
        }
        if self.epoch > Duration::from_secs(EPOCH_MAX) {
            return Err(invalid("epoch-seconds", "an epoch has at most 31 days"));
        }
        if self.node_audit_slices > SLICES_MAX {
            return Err(invalid("node-audit-slices", "at most 64"));
        }
        Ok(())
    }

    /// Whether a peer's `X-Forwarded-For` is believed.
    #[must_use]
    pub const fn trusts_forwarded(&self) -> bool {
        self.behind_proxy
    }
}

fn invalid(option: &str, reason: &str) -> ConfigError {
    ConfigError::Value(format!("--{option}: {reason}"))
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn database(options: &Options, data_dir: &Path) -> Result<DbConfig, ConfigError> {
    let connections = options.database_connections()?;
    // DATABASE_URL is a secret in so far as it holds a password, hence its own file option.
    let url = secrets::find("DATABASE_URL", options.database_url_file.as_deref())?;
    let location = match url {
        Some(url) => {
            let text = Zeroizing::new(String::from_utf8_lossy(url.expose()).into_owned());
            match text.strip_prefix("sqlite:") {
                Some(path) => Location::Sqlite(PathBuf::from(path.trim_start_matches("//"))),
                None if text.starts_with("postgres://") || text.starts_with("postgresql://") => {
                    Location::Postgres(text.to_string())
                }
                None => return Err(invalid("database-url-file", "the URL begins with postgres:// or sqlite:")),
            }
        }
        None => Location::Sqlite(data_dir.join("cyx.db")),
    };
    Ok(DbConfig { location, connections })
}

fn tls(options: &Options) -> Result<Option<TlsFiles>, ConfigError> {
    match (options.tls_cert.clone(), options.tls_key.clone()) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        _ => Err(invalid("tls-cert", "--tls-cert and --tls-key belong together")),
    }
}

fn mail_route(options: &Options, data_dir: &Path) -> Result<MailRoute, ConfigError> {
    let security = match options.smtp_security()?.as_str() {
        "tls" => SmtpSecurity::Tls,
        "starttls" => SmtpSecurity::StartTls,
        "none" => SmtpSecurity::Plain,
        _ => return Err(invalid("smtp-security", "is tls, starttls or none")),
    };
    let Some(host) = options.smtp_host.clone() else {
        return Ok(MailRoute::Outbox(options.outbox.clone().unwrap_or_else(|| data_dir.join("outbox"))));
    };
    if options.outbox.is_some() {
        return Err(invalid("outbox", "mail goes either to --smtp-host or to --outbox"));
    }
    let port = options.smtp_port.unwrap_or(match security {
        SmtpSecurity::Tls => 465,
        SmtpSecurity::StartTls => 587,
        SmtpSecurity::Plain => 25,
    });
    let password = secrets::find("SMTP_PASSWORD", options.smtp_password_file.as_deref())?;
    let credentials = match (options.smtp_username.clone(), password) {
        (Some(user), Some(password)) => Some((user, password)),
        (None, None) => None,
        _ => {
            return Err(invalid(
                "smtp-username",
                "a user name needs SMTP_PASSWORD or --smtp-password-file, and the other way round",
            ));
        }
    };
    if credentials.is_some() && security == SmtpSecurity::Plain && !is_local(&host) {
        return Err(invalid("smtp-security", "a password is not sent in the clear to another machine"));
    }
    Ok(MailRoute::Smtp(SmtpConfig { host, port, security, credentials }))
}

/// Whether only one can listen on both addresses. Port 0 is another one every time; whether all of IPv6 takes IPv4 too is up to the machine.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip(), other.ip());
    let same = a == b || a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified());
    one.port() != 0 && one.port() == other.port() && same
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests;
