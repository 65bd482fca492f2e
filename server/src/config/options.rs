//! The table of options, and what is made of it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ConfigError;

/// One option as the example file shows it.
struct Described {
    key: &'static str,
    env: &'static str,
    default: Option<&'static str>,
    doc: &'static [&'static str],
}

macro_rules! options {
    (
        values { $($(#[doc = $doc:literal])+ $name:ident: $type:ty, $key:literal, $env:literal, $default:expr;)* }
        optional { $($(#[doc = $odoc:literal])+ $oname:ident: $otype:ty, $okey:literal, $oenv:literal;)* }
        flags { $($(#[doc = $fdoc:literal])+ $fname:ident, $fkey:literal, $fenv:literal;)* }
    ) => {
        /// Options as they were given: all of them may be absent.
        #[derive(Debug, Clone, Default, clap::Args, Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
        pub struct Options {
            /// Configuration file
            ///
            /// Without it, `server.toml` in the data folder is read if there is one.
            #[arg(long, env = "CYX_CONFIG", global = true, value_name = "FILE")]
            #[serde(skip)]
            pub config: Option<PathBuf>,
            $($(#[doc = $doc])+
              #[arg(long, env = $env, global = true, help = concat!($($doc,)+ " [default: ", $default, "]").trim())]
              pub $name: Option<$type>,)*
            $($(#[doc = $odoc])+ #[arg(long, env = $oenv, global = true)] pub $oname: Option<$otype>,)*
            $($(#[doc = $fdoc])+
              #[arg(long, env = $fenv, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
              pub $fname: Option<bool>,)*
        }

        impl Options {
            /// Takes from `other` what is absent here.
            fn or(self, other: Self) -> Self {
                Self {
                    config: self.config,
                    $($name: self.$name.or(other.$name),)*
                    $($oname: self.$oname.or(other.$oname),)*
                    $($fname: self.$fname.or(other.$fname),)*
                }
            }

            $(pub(super) fn $name(&self) -> Result<$type, ConfigError> {
                match &self.$name {
                    Some(value) => Ok(value.clone()),
                    None => default($key, $default),
                }
            })*
            $(pub(super) fn $fname(&self) -> bool {
                self.$fname.unwrap_or(false)
            })*
        }

        const DESCRIBED: &[Described] = &[
            $(Described { key: $key, env: $env, default: Some($default), doc: &[$($doc),+] },)*
            $(Described { key: $okey, env: $oenv, default: None, doc: &[$($odoc),+] },)*
            $(Described { key: $fkey, env: $fenv, default: Some("false"), doc: &[$($fdoc),+] },)*
        ];
    };
}

fn default<T: std::str::FromStr>(key: &str, text: &str) -> Result<T, ConfigError> {
    text.parse().map_err(|_| ConfigError::Value(format!("the default of {key} is not valid")))
}

options! {
    values {
        /// Folder of everything the server keeps
        data_dir: PathBuf, "data-dir", "CYX_DATA_DIR", "./data";
        /// Address for users: REST, WebSocket and gRPC
        http: SocketAddr, "http", "CYX_HTTP", "127.0.0.1:8080";
        /// Address for storage nodes: gRPC
        grpc: SocketAddr, "grpc", "CYX_GRPC", "127.0.0.1:50052";
        /// Most connections to the database at once
        database_connections: u32, "database-connections", "CYX_DATABASE_CONNECTIONS", "8";
        /// Encryption of the connection to the mail server: tls, starttls or none
        smtp_security: String, "smtp-security", "SMTP_SECURITY", "starttls";
        /// Sender of mail
        mail_from: String, "mail-from", "SMTP_FROM", "cyx <no-reply@localhost>";
        /// Issuer of access tokens
        jwt_issuer: String, "jwt-issuer", "JWT_ISSUER", "cyxwiz-api";
        /// Issuers whose access tokens are accepted, separated by commas
        jwt_accepted_issuers: String, "jwt-accepted-issuers", "JWT_ACCEPTED_ISSUERS", "cyxwiz-api";
        /// Plan of new accounts: free, starter, pro or enterprise
        plan: String, "plan", "CYX_PLAN", "free";
        /// Bytes that accounts of the plan free may store
        plan_free_bytes: u64, "plan-free-bytes", "CYX_PLAN_FREE_BYTES", "5000000000";
        /// Bytes that accounts of the plan free may move in a month
        plan_free_traffic_bytes: u64, "plan-free-traffic-bytes", "CYX_PLAN_FREE_TRAFFIC_BYTES", "10000000000";
        /// How long an account goes on after its owner wanted it deleted, in seconds
        account_grace_seconds: u64, "account-grace-seconds", "CYX_ACCOUNT_GRACE_SECONDS", "604800";
        /// How long the audit log is kept, in seconds
        audit_seconds: u64, "audit-seconds", "CYX_AUDIT_SECONDS", "31536000";
        /// Largest file in bytes
        max_file_bytes: u64, "max-file-bytes", "CYX_MAX_FILE_BYTES", "100000000000";
        /// Whose sign-in a wallet shows when it is asked to sign: the host that people reach the server by, with its port if it has one
        domain: String, "domain", "CYX_DOMAIN", "localhost";
        /// What this process does: all; on PostgreSQL also gateway (all but regular work), identity (accounts and machines alone) or rebalancer (regular work alone: repairs, moves, collections, audits)
        role: String, "role", "CYX_ROLE", "all";
        /// Calls per second and account over gRPC in the long run; ten times as many at once
        account_calls_per_second: u32, "account-calls-per-second", "CYX_ACCOUNT_CALLS_PER_SECOND", "3000";
        /// Life of an access token in seconds
        access_token_seconds: u64, "access-token-seconds", "CYX_ACCESS_TOKEN_SECONDS", "3600";
        /// Life of a refresh token in seconds
        refresh_token_seconds: u64, "refresh-token-seconds", "CYX_REFRESH_TOKEN_SECONDS", "604800";
        /// Life of a storage node's access token in seconds
        node_token_seconds: u64, "node-token-seconds", "CYX_NODE_TOKEN_SECONDS", "86400";
        /// Life of a grant, the right to store or read at a node, in seconds; at most 3600
        grant_seconds: u64, "grant-seconds", "CYX_GRANT_SECONDS", "3600";
        /// How often storage nodes report, in seconds
        heartbeat_seconds: u64, "heartbeat-seconds", "CYX_HEARTBEAT_SECONDS", "30";
        /// After how many seconds of silence a storage node is suspect: it gets nothing new
        node_suspect_seconds: u64, "node-suspect-seconds", "CYX_NODE_SUSPECT_SECONDS", "90";
        /// After how many seconds of silence a storage node is offline: nobody waits for it
        node_offline_seconds: u64, "node-offline-seconds", "CYX_NODE_OFFLINE_SECONDS", "300";
        /// After how many seconds of silence a storage node is lost: what it holds is made anew elsewhere
        node_lost_seconds: u64, "node-lost-seconds", "CYX_NODE_LOST_SECONDS", "14400";
        /// Repairs and moves under way at a time, in the whole network; 0 pauses them
        repair_tasks: u64, "repair-tasks", "CYX_REPAIR_TASKS", "256";
        /// Repairs and moves under way that may read from one storage node at a time
        repair_tasks_per_node: u64, "repair-tasks-per-node", "CYX_REPAIR_TASKS_PER_NODE", "8";
        /// How often storage nodes have to prove random slices of what they hold, in seconds
        node_audit_seconds: u64, "node-audit-seconds", "CYX_NODE_AUDIT_SECONDS", "600";
        /// Slices of 16 KiB that each storage node proves then; 0 audits nobody
        node_audit_slices: u32, "node-audit-slices", "CYX_NODE_AUDIT_SLICES", "5";
        /// How long after a failed audit the same slice is asked for once more, before the node is blamed, in seconds
        node_audit_recheck_seconds: u64, "node-audit-recheck-seconds", "CYX_NODE_AUDIT_RECHECK_SECONDS", "300";
        /// How long deleted files stay in the trash, in seconds
        trash_seconds: u64, "trash-seconds", "CYX_TRASH_SECONDS", "2592000";
        /// How long replaced content stays readable, in seconds
        superseded_seconds: u64, "superseded-seconds", "CYX_SUPERSEDED_SECONDS", "86400";
        /// How long the parts of an unfinished upload are kept after its last call, in seconds
        staged_seconds: u64, "staged-seconds", "CYX_STAGED_SECONDS", "604800";
        /// How long changes are kept for programs that reconnect, in seconds
        changes_seconds: u64, "changes-seconds", "CYX_CHANGES_SECONDS", "604800";
        /// Chunks younger than this many seconds are never in question when storage nodes clean up
        keep_list_margin_seconds: u64, "keep-list-margin-seconds", "CYX_KEEP_LIST_MARGIN_SECONDS", "172800";
        /// How often trash and unused segments are collected, in seconds
        job_seconds: u64, "job-seconds", "CYX_JOB_SECONDS", "600";
        /// Length of the epochs that storage nodes are paid by, in seconds
        epoch_seconds: u64, "epoch-seconds", "CYX_EPOCH_SECONDS", "86400";
        /// Pay for a gigabyte kept for 30 days, in millionths of the currency's unit; 90 hundredths of it are the operator's
        storage_rate: u64, "storage-rate", "CYX_STORAGE_RATE", "1500";
        /// Pay for a gigabyte moved, in millionths of the currency's unit; 90 hundredths of it are the operator's
        traffic_rate: u64, "traffic-rate", "CYX_TRAFFIC_RATE", "2000";
        /// Of an operator's pay, so many hundredths are held until the storage node has left in order
        hold_percent: u64, "hold-percent", "CYX_HOLD_PERCENT", "10";
        /// How long the right to decide a bucket's names locally lasts after it was renewed, in seconds
        write_lease_seconds: u64, "write-lease-seconds", "CYX_WRITE_LEASE_SECONDS", "30";
        /// How long superseded copies and logs are kept in the folder of --ship-wal, in seconds
        ship_wal_keep_seconds: u64, "ship-wal-keep-seconds", "CYX_SHIP_WAL_KEEP_SECONDS", "604800";
    }
    optional {
        /// Email addresses of administrators, separated by commas; an account becomes one with its next login
        admin: String, "admin", "CYX_ADMINS";
        /// Address for accounts and machines alone, beside the others, for example 127.0.0.1:3002
        identity: SocketAddr, "identity", "CYX_IDENTITY";
        /// File with the PostgreSQL URL; without it and without DATABASE_URL an embedded database is used
        database_url_file: PathBuf, "database-url-file", "DATABASE_URL_FILE";
        /// TLS certificate chain of both addresses, PEM
        tls_cert: PathBuf, "tls-cert", "CYX_TLS_CERT";
        /// TLS key of both addresses, PEM
        tls_key: PathBuf, "tls-key", "CYX_TLS_KEY";
        /// Folder that mail is written to as .eml files, if there is no mail server; default: outbox in the data folder
        outbox: PathBuf, "outbox", "CYX_OUTBOX";
        /// Mail server
        smtp_host: String, "smtp-host", "SMTP_HOST";
        /// Port of the mail server; default: 465 (tls), 587 (starttls) or 25 (none)
        smtp_port: u16, "smtp-port", "SMTP_PORT";
        /// User name at the mail server; its password comes from SMTP_PASSWORD or from the file below
        smtp_username: String, "smtp-username", "SMTP_USERNAME";
        /// File with the password at the mail server
        smtp_password_file: PathBuf, "smtp-password-file", "SMTP_PASSWORD_FILE";
        /// File with the secret of access tokens; without it and without JWT_SECRET one is drawn and kept in the data folder
        jwt_secret_file: PathBuf, "jwt-secret-file", "JWT_SECRET_FILE";
        /// File with a token that enrols any number of storage nodes; also from CYX_ENROLL_TOKEN
        enroll_token_file: PathBuf, "enroll-token-file", "CYX_ENROLL_TOKEN_FILE";
        /// Folder that payouts are written to, as CSV and JSON; default: payouts in the data folder
        payouts: PathBuf, "payouts", "CYX_PAYOUTS";
        /// Folder, best on another disk, that every change of the embedded database is copied to within a second
        ship_wal: PathBuf, "ship-wal", "CYX_SHIP_WAL";
    }
    flags {
        /// A proxy in front of the server ends TLS and sets X-Forwarded-For
        behind_proxy, "behind-proxy", "CYX_BEHIND_PROXY";
        /// Allow several pieces of a file on one machine or network: for clusters on one machine
        allow_colocated, "allow-colocated", "CYX_ALLOW_COLOCATED";
        /// Make every lost piece of a file anew at once, instead of waiting until several of one are lost
        repair_eager, "repair-eager", "CYX_REPAIR_EAGER";
        /// Accept access tokens of any issuer
        jwt_skip_issuer_validation, "jwt-skip-issuer-validation", "JWT_SKIP_ISSUER_VALIDATION";
        /// Write logs as JSON lines
        log_json, "log-json", "CYX_LOG_JSON";
        /// Print one JSON line with the addresses on standard output once the server listens
        print_ready, "print-ready", "CYX_PRINT_READY";
    }
}

impl Options {
    /// Takes what was not given from the configuration file.
    pub(super) fn with_file(self) -> Result<Self, ConfigError> {
        let (path, must_exist) = match &self.config {
            Some(path) => (path.clone(), true),
            None => (self.data_dir()?.join("server.toml"), false),
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(self.or(parse(&path, &text)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => Ok(self),
            Err(source) => Err(ConfigError::File { path, source }),
        }
    }
}

fn parse(path: &Path, text: &str) -> Result<Options, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::Syntax { path: path.to_owned(), reason: error.to_string() })
}

/// An example of the configuration file: every option with its meaning, its variable and its default, commented out.
#[must_use]
pub fn example() -> String {
    let mut text = String::from(
        "# Configuration of cyx-server. Flags and environment variables win over this file, but a file that is named here for a secret over its variable.\n\
         # Secrets come from the environment (JWT_SECRET, SMTP_PASSWORD, CYX_ENROLL_TOKEN, DATABASE_URL) or from files of their own.\n",
    );
    for option in DESCRIBED {
        text.push('\n');
        for line in option.doc {
            let _ = writeln!(text, "# {}.", line.trim());
        }
        let _ = writeln!(text, "# Environment: {}", option.env);
        let value = option.default.map_or_else(|| "\"\"".to_owned(), toml_value);
        let _ = writeln!(text, "#{} = {value}", option.key);
    }
    text
}

/// Numbers and truth values as they are, everything else as a string.
fn toml_value(text: &str) -> String {
    if text.parse::<u64>().is_ok() || text.parse::<bool>().is_ok() { text.to_owned() } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_with_all_lines_active_is_a_valid_file() {
        let text = example();
        // The optional ones have no default to show; those that are not strings get a value here.
        let active: String = text
            .lines()
            .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
            .map(|line| match line {
                "smtp-port = \"\"" => "smtp-port = 25\n".to_owned(),
                "identity = \"\"" => "identity = \"127.0.0.1:3002\"\n".to_owned(),
                other => format!("{other}\n"),
            })
            .collect();
        let options = parse(Path::new("server.toml"), &active).unwrap();
        assert_eq!(options.heartbeat_seconds, Some(30));
        assert_eq!(options.behind_proxy, Some(false));
        assert_eq!(options.http, Some("127.0.0.1:8080".parse().unwrap()));
    }

    #[test]
    fn every_default_is_valid() {
        let none = Options::default();
        for (name, seconds) in
            [("grant", none.grant_seconds()), ("trash", none.trash_seconds()), ("job", none.job_seconds())]
        {
            assert!(seconds.is_ok_and(|seconds| seconds > 0), "{name}");
        }
        assert!(none.http().is_ok() && none.grpc().is_ok() && none.data_dir().is_ok());
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = parse(Path::new("x"), "job-seconds = 5\nheartbeat-seconds = 6\n").unwrap();
        let flags = Options { job_seconds: Some(7), ..Options::default() };
        let merged = flags.or(file);
        assert_eq!((merged.job_seconds, merged.heartbeat_seconds), (Some(7), Some(6)));
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let error = parse(Path::new("server.toml"), "jobseconds = 5").unwrap_err();
        assert!(error.to_string().contains("jobseconds"), "{error}");
    }
}
