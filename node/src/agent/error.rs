//! Why a node does not run, and which exit code says so (those of `sysexits.h`).

use cyx_core::error::ErrorCode;
use thiserror::Error;

use super::config::ConfigError;
use crate::service::ServeError;
use crate::service::identity::IdentityError;
use crate::service::ledger::LedgerError;
use crate::store::StoreError;

/// Why a node does not run (any more).
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The chunk store cannot be opened or closed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node has no identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The ledger cannot be opened or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The gRPC service failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The key in the data directory is not the one that was expected.
    #[error("the key in {path} belongs to node {found}, not to {expected}")]
    OtherNode {
        /// The data directory.
        path: String,
        /// The id of the key.
        found: cyx_core::ids::NodeId,
        /// The id that was expected.
        expected: cyx_core::ids::NodeId,
    },
    /// The data directory has no key, and there was one.
    #[error(
        "there is no node.key in {path}, but this machine was node {expected}: is the disk mounted? \
         To start another node there, remove {note}"
    )]
    KeyGone {
        /// The data directory.
        path: String,
        /// The node that this machine was.
        expected: cyx_core::ids::NodeId,
        /// Where that is noted.
        note: String,
    },
    /// A folder in which no node was ever started.
    #[error("there is no storage node in {} (--storage-path)", .0.display())]
    NoNode(std::path::PathBuf),
    /// The node offers too little.
    #[error(
        "Insufficient storage: a node has to offer at least 3 GiB (2 reserved for the network and 1 to fill), \
         and {path} has {offered} bytes for it"
    )]
    InsufficientStorage {
        /// The data directory.
        path: String,
        /// Bytes that could be offered.
        offered: u64,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is nothing to log in with.
    #[error(
        "this node is not enrolled: set CYXWIZ_ENROLL_TOKEN, or CYXWIZ_EMAIL and CYXWIZ_PASSWORD, \
         or start it once on a terminal"
    )]
    NotEnrolled,
    /// This machine's credentials are another server's.
    #[error("this node is enrolled at {saved} and not at {asked}: check the address of the gateway")]
    OtherGateway {
        /// The gateway of the credentials.
        saved: String,
        /// The one that was named.
        asked: String,
    },
    /// What cannot be undone was not confirmed.
    #[error("{0}")]
    Unconfirmed(&'static str),
    /// A login needs a one-time code and there is nobody to ask.
    #[error("the login needs a one-time code: set CYXWIZ_OTP, or start the node once on a terminal")]
    NoCode,
    /// The server is not the one that the enrolment token is from.
    #[error(
        "the server at {at} is not the one that made this enrolment token; check the address, or get a token from that server"
    )]
    OtherServer {
        /// Where.
        at: String,
    },
    /// The server refused.
    #[error("the server refused {what}: {message}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// The stable code.
        code: ErrorCode,
        /// The server's sentence.
        message: String,
    },
    /// The server does not answer.
    #[error("cannot reach {at}: {reason}")]
    Unreachable {
        /// Where.
        at: String,
        /// Why.
        reason: String,
    },
    /// The server's answer makes no sense.
    #[error("the server's answer to {what} makes no sense: {reason}")]
    Nonsense {
        /// What was asked.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {doing} {path}: {source}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The password cannot be stretched.
    #[error(transparent)]
    Password(#[from] cyx_core::auth::StretchError),
    /// A part of the node ended unexpectedly.
    #[error("a part of the node ended unexpectedly: {0}")]
    Task(String),
    /// The node was told to end before it was ready.
    #[error("ended before it was ready")]
    Ended,
}

impl Error {
    /// Whether trying again later may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { code, .. } => matches!(
                code,
                ErrorCode::Unavailable
                    | ErrorCode::RateLimited
                    | ErrorCode::Internal
                    | ErrorCode::TokenExpired
                    | ErrorCode::Retry
            ),
            _ => false,
        }
    }

    /// Whether the server does not know (any more) who calls.
    #[must_use]
    pub fn is_unknown_caller(&self) -> bool {
        matches!(self, Self::Refused { code: ErrorCode::InvalidCredentials | ErrorCode::TokenExpired, .. })
    }

    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unconfirmed(_) => 64,
            Self::NoNode(_) | Self::KeyGone { .. } => 66,
            Self::Config(_) => 78,
            Self::OtherNode { .. } | Self::InsufficientStorage { .. } => 78,
            Self::NotEnrolled | Self::OtherGateway { .. } | Self::NoCode | Self::Password(_) => 77,
            Self::Refused { code, .. } => match code {
                ErrorCode::InsufficientStorage | ErrorCode::InvalidArgument => 78,
                _ => 77,
            },
            Self::Unreachable { .. } | Self::Listen { .. } => 69,
            Self::Nonsense { .. } | Self::OtherServer { .. } => 76,
            Self::Store(StoreError::InUse(_) | StoreError::Away) | Self::Ended => 75,
            Self::Store(StoreError::Elsewhere(_)) => 78,
            Self::Store(_) | Self::Ledger(_) | Self::File { .. } => 74,
            Self::Identity(_) | Self::Serve(_) | Self::Task(_) => 70,
        }
    }
}
