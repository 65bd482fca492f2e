//! What can go wrong in a client, in one enum, with the stable code that decides a program's exit code.
//!
//! Errors of lower layers change their form here once. Messages are one sentence without a full stop; [`Error::advice`] has
//! the second sentence, where there is something that a person can do.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cyx_core::error::ErrorCode;
use cyx_core::extent::ExtentTreeError;
use cyx_core::wire::DecodeError;
use cyx_proto::connect_error::UNTRUSTED;
use cyx_proto::convert::InvalidField;
use thiserror::Error;

use crate::tree::path::shown;

/// Short for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Characters of the server's words that are shown.
const SAID_MAX: usize = 1000;

/// Why a call of this crate failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused; it names the reason.
    #[error("{message}")]
    Server {
        /// The stable code.
        code: ErrorCode,
        /// The server's sentence.
        message: String,
        /// Under which the server's log has the details.
        request_id: Option<String>,
    },
    /// The server refuses for a while, and says for how long.
    #[error("{message}")]
    Later {
        /// The stable code.
        code: ErrorCode,
        /// The server's sentence.
        message: String,
        /// When to try again.
        advice: String,
    },
    /// Nothing useful came back: no connection, no answer in time, or an answer that is none of ours.
    #[error("{what}: {reason}")]
    Network {
        /// What was tried, for example `cannot reach http://localhost:8080`.
        what: String,
        /// What the transport said.
        reason: String,
    },
    /// Too few storage nodes hold or take what is needed.
    #[error("{what}: {reachable} shards are reachable, {needed} are needed")]
    TooFewNodes {
        /// What was tried, for example `cannot read photos/a.jpg`.
        what: String,
        /// Shards whose nodes answer.
        reachable: usize,
        /// Shards without which it is impossible.
        needed: usize,
    },
    /// So many shards are damaged or lost that the rest is not enough, whoever comes back.
    #[error("{what}: {lost} shards are damaged or lost, {left} are left at most, {needed} are needed")]
    Lost {
        /// What was tried, for example `cannot read photos/a.jpg`.
        what: String,
        /// Shards that their nodes do not have any more, or not as they were stored.
        lost: usize,
        /// All others, whether their nodes answer or not.
        left: usize,
        /// Shards without which it is impossible.
        needed: usize,
    },
    /// What was received is not what its owner wrote.
    #[error("integrity error: {0}")]
    Integrity(#[from] IntegrityError),
    /// There are no credentials for this home folder, or the server no longer takes them.
    #[error("not logged in{}", if *.ended { ": the session has ended" } else { "" })]
    NotLoggedIn {
        /// There were credentials once, and the server refused them.
        ended: bool,
    },
    /// The server does not take the API key.
    #[error("the API key was refused: it is unknown, expired or revoked")]
    ApiKeyRefused,
    /// A gateway was named that is not the one logged in to.
    #[error("logged in to {logged_in}, therefore nothing is sent to {asked}")]
    OtherGateway {
        /// The gateway of the credentials.
        logged_in: String,
        /// The one that was named.
        asked: String,
    },
    /// The gateway's address cannot be used.
    #[error("the gateway {url} is not usable: {reason}")]
    Gateway {
        /// The address.
        url: String,
        /// Why not.
        reason: &'static str,
    },
    /// The server's database was restored from a backup since this machine last saw it.
    #[error("the server at {gateway} was restored from a backup")]
    IncarnationChanged {
        /// The gateway.
        gateway: String,
    },
    /// A value given by the user breaks a rule that this program checks itself.
    #[error("{message}")]
    Invalid {
        /// The stable code.
        code: ErrorCode,
        /// What is wrong, in one sentence.
        message: String,
        /// What would be right.
        advice: Option<String>,
    },
    /// There is no such bucket, file or directory.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The name is taken.
    #[error("{0} exists already")]
    AlreadyExists(String),
    /// A directory stands where something else is needed.
    #[error("{0} is a directory")]
    IsDirectory(String),
    /// Something else stands where a directory is needed.
    #[error("{0} is not a directory")]
    NotDirectory(String),
    /// Somebody else changed it first.
    #[error("{0} was changed by somebody else at the same time")]
    Conflict(String),
    /// A local file was written to each time that it was read.
    #[error("{0} changed while it was read")]
    Changing(String),
    /// A file or folder of this machine.
    #[error("{}: {source}", shown(path.as_os_str().as_bytes()))]
    Local {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file of this program's own cannot be understood.
    #[error("{}: {reason}", shown(path.as_os_str().as_bytes()))]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file in which this machine remembers something of a server cannot be understood.
    #[error("{}: {reason}", shown(path.as_os_str().as_bytes()))]
    Memory {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Some of many items failed; the others are done.
    #[error("{failed} of {total} failed")]
    Partial {
        /// Items that failed.
        failed: u64,
        /// All items.
        total: u64,
    },
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
    /// A defect of this program.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

/// What exactly is not as its owner wrote it. Failed decryption says nothing more than that.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IntegrityError {
    /// A name does not decrypt, or to something that is no name.
    #[error("a name in directory {0} is not authentic")]
    Name(String),
    /// A wrapped key does not belong to its directory, name, child and kind.
    #[error("the key of {0} is not authentic")]
    WrappedKey(String),
    /// A sealed field (link target, metadata, bucket name, private keys) does not decrypt.
    #[error("the {0} is not authentic")]
    Sealed(&'static str),
    /// An answer is about something else than what was asked.
    #[error("the server answered about something else: {0}")]
    Mismatch(&'static str),
    /// A signature is wrong or of somebody who may not write.
    #[error("version {version} of {what} is not signed by a writer of its bucket")]
    Signature {
        /// The file.
        what: String,
        /// The version.
        version: u64,
    },
    /// The writer list is broken.
    #[error("the bucket's writer list is not authentic")]
    Writers,
    /// A bucket's owner key is not the one seen before.
    #[error("the owner's key of the bucket is not the one known to this machine")]
    OwnerKey,
    /// An older version than one that was already seen.
    #[error("the server shows version {shown} of {what}, but version {seen} was already seen")]
    RolledBack {
        /// The file.
        what: String,
        /// What it shows.
        shown: u64,
        /// What was seen.
        seen: u64,
    },
    /// The same version with other content than before.
    #[error("the server shows two different contents as version {version} of {what}")]
    Forked {
        /// The file.
        what: String,
        /// The version.
        version: u64,
    },
    /// Extent pages are broken, missing or misplaced.
    #[error("the extents of a file are broken: {0}")]
    Extents(String),
    /// Content does not decrypt.
    #[error("the content of {0} is not authentic")]
    Content(String),
    /// The server asks for weaker password protection than allowed or than before.
    #[error("the server asks for weaker password protection than this account has")]
    WeakParameters,
    /// The server asks for so much work that it would exhaust this machine.
    #[error("the server asks for more password work than this program allows")]
    CostlyParameters,
    /// Foreign bytes cannot be decoded.
    #[error("{what} is {why}")]
    Decode {
        /// What was decoded.
        what: &'static str,
        /// Why it failed.
        why: DecodeError,
    },
    /// A field of a message is missing or impossible.
    #[error("{0}")]
    Field(InvalidField),
}

impl Error {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Server { code, .. } | Self::Later { code, .. } | Self::Invalid { code, .. } => *code,
            Self::Network { .. } => ErrorCode::Unavailable,
            Self::TooFewNodes { .. } => ErrorCode::TooFewNodes,
            Self::Integrity(_) | Self::Lost { .. } => ErrorCode::Integrity,
            Self::NotLoggedIn { .. } | Self::ApiKeyRefused => ErrorCode::InvalidCredentials,
            Self::OtherGateway { .. } => ErrorCode::PermissionDenied,
            Self::Gateway { .. } | Self::Config { .. } => ErrorCode::InvalidArgument,
            Self::IncarnationChanged { .. } | Self::Conflict(_) | Self::Changing(_) => ErrorCode::Conflict,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::AlreadyExists(_) => ErrorCode::AlreadyExists,
            Self::IsDirectory(_) => ErrorCode::IsDirectory,
            Self::NotDirectory(_) => ErrorCode::NotDirectory,
            Self::Local { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => ErrorCode::NotFound,
                io::ErrorKind::AlreadyExists => ErrorCode::AlreadyExists,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorCode::InsufficientStorage,
                _ => ErrorCode::Internal,
            },
            Self::Memory { .. } | Self::Partial { .. } | Self::Interrupted | Self::Internal(_) => ErrorCode::Internal,
        }
    }

    /// The exit code of a program that ends with this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Partial { .. } => 8,
            Self::Interrupted => 130,
            Self::IncarnationChanged { .. } => ErrorCode::PermissionDenied.exit_code(),
            other => other.code().exit_code(),
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        match self {
            Self::Invalid { advice, .. } => advice.as_deref(),
            Self::Later { advice, .. } => Some(advice),
            Self::NotLoggedIn { .. } => Some("Run `cyx login`."),
            Self::ApiKeyRefused => {
                Some("Make a new one with `cyx apikey create`, or unset CYXCLOUD_TOKEN to use your login.")
            }
            Self::OtherGateway { .. } => Some("Run `cyx logout` first, or leave out --gateway."),
            Self::Gateway { .. } => {
                Some("Use https://, or http:// for a server on this machine, for example http://localhost:8080.")
            }
            Self::IncarnationChanged { .. } => Some(
                "Newer changes may be missing there. If its operator confirms it, go on with `cyx login --accept-changes`.",
            ),
            Self::Integrity(IntegrityError::RolledBack { .. } | IntegrityError::Forked { .. }) => {
                Some("The server or somebody on it may be hiding newer data; do not overwrite the file.")
            }
            Self::Network { reason, .. } if reason == UNTRUSTED => {
                Some("If the server's authority is a private one, name its certificate with --ca-file.")
            }
            Self::Network { .. } => Some("Check the connection and the gateway's address, then try again."),
            Self::TooFewNodes { .. } => Some("Try again later, when more storage nodes are online."),
            Self::Memory { .. } => Some(
                "By it a server cannot go back unnoticed. If you trust the server, remove the file: what is missing is remembered anew.",
            ),
            Self::Changing(_) => Some(
                "Upload it when nothing writes to it, or a snapshot of it; what standard input has (`cyx upload -`) is taken as it comes.",
            ),
            Self::Lost { .. } => Some("Waiting does not bring them back: if there is another copy, upload it again."),
            Self::Server { code, .. } => match code {
                ErrorCode::QuotaExceeded => Some(
                    "`cyx quota` shows what is used up: space is freed by deleting (`cyx trash empty` frees it at once), what is kept for uploads that broke off by running them again or with `cyx upload --abort`, traffic begins anew with the month.",
                ),
                ErrorCode::RateLimited | ErrorCode::AccountLocked => Some("Wait some minutes, then try again."),
                ErrorCode::OtpInvalid => Some("Check the newest mail or the app; each code works once."),
                ErrorCode::OtpExpired => Some("Begin again to get a new code."),
                ErrorCode::TooFewNodes => Some("Try again later, when more storage nodes are online."),
                _ => None,
            },
            _ => None,
        }
    }

    /// The same once more, for each of several things that failed together.
    #[must_use]
    pub fn repeated(&self) -> Self {
        match self {
            Self::Server { code, message, request_id } => {
                Self::Server { code: *code, message: message.clone(), request_id: request_id.clone() }
            }
            Self::Later { code, message, advice } => {
                Self::Later { code: *code, message: message.clone(), advice: advice.clone() }
            }
            Self::Network { what, reason } => Self::Network { what: what.clone(), reason: reason.clone() },
            Self::TooFewNodes { what, reachable, needed } => {
                Self::TooFewNodes { what: what.clone(), reachable: *reachable, needed: *needed }
            }
            Self::Lost { what, lost, left, needed } => {
                Self::Lost { what: what.clone(), lost: *lost, left: *left, needed: *needed }
            }
            Self::Integrity(error) => Self::Integrity(error.clone()),
            Self::NotLoggedIn { ended } => Self::NotLoggedIn { ended: *ended },
            Self::OtherGateway { logged_in, asked } => {
                Self::OtherGateway { logged_in: logged_in.clone(), asked: asked.clone() }
            }
            Self::Gateway { url, reason } => Self::Gateway { url: url.clone(), reason },
            Self::IncarnationChanged { gateway } => Self::IncarnationChanged { gateway: gateway.clone() },
            Self::Invalid { code, message, advice } => {
                Self::Invalid { code: *code, message: message.clone(), advice: advice.clone() }
            }
            Self::NotFound(what) => Self::NotFound(what.clone()),
            Self::AlreadyExists(what) => Self::AlreadyExists(what.clone()),
            Self::IsDirectory(what) => Self::IsDirectory(what.clone()),
            Self::NotDirectory(what) => Self::NotDirectory(what.clone()),
            Self::Conflict(what) => Self::Conflict(what.clone()),
            Self::Changing(what) => Self::Changing(what.clone()),
            Self::Local { path, source } => {
                let again = io::Error::new(source.kind(), source.to_string());
                Self::Local { path: path.clone(), source: again }
            }
            Self::Config { path, reason } => Self::Config { path: path.clone(), reason: reason.clone() },
            Self::Memory { path, reason } => Self::Memory { path: path.clone(), reason: reason.clone() },
            Self::Interrupted => Self::Interrupted,
            Self::Internal(what) => Self::Internal(what),
            // The others stop everything, so that nothing is left that could fail together with them.
            other => Self::Server { code: other.code(), message: other.to_string(), request_id: None },
        }
    }

    /// A refusal of the server, which may have said when it is worth trying again.
    pub(crate) fn refused(code: ErrorCode, message: &str, request_id: Option<String>, pause: Option<Duration>) -> Self {
        let message = said(message);
        match pause {
            Some(pause) if matches!(code, ErrorCode::RateLimited | ErrorCode::AccountLocked) => {
                let message = message.strip_suffix("; try again later").unwrap_or(&message).to_owned();
                Self::Later { code, message, advice: format!("Try again in {}.", in_words(pause)) }
            }
            _ => Self::Server { code, message, request_id },
        }
    }

    /// Trying the same again later may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.code(), ErrorCode::Unavailable)
    }

    /// Whether a call that failed like this may have been carried out all the same: the server's decision was not heard.
    #[must_use]
    pub fn leaves_open(&self) -> bool {
        match self {
            Self::Network { .. } | Self::Interrupted => true,
            Self::Server { code, .. } | Self::Later { code, .. } => {
                matches!(code, ErrorCode::Unavailable | ErrorCode::Internal)
            }
            Self::Integrity(IntegrityError::Mismatch(_)) => true,
            _ => false,
        }
    }

    /// Names the local file or folder of an input/output error.
    pub fn local(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Local { path: path.as_ref().to_owned(), source }
    }

    /// A value given by the user is not valid.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { code: ErrorCode::InvalidArgument, message: message.into(), advice: None }
    }

    /// Foreign bytes cannot be decoded.
    pub fn decode(what: &'static str) -> impl FnOnce(DecodeError) -> Self {
        move |why| Self::Integrity(IntegrityError::Decode { what, why })
    }
}

/// The server's words as they may reach a terminal or a log: no more than a sentence or two, and nothing that drives a terminal.
pub(crate) fn said(words: &str) -> String {
    let end = words.char_indices().nth(SAID_MAX).map_or(words.len(), |(end, _)| end);
    shown(words.get(..end).unwrap_or_default().as_bytes())
}

/// A time to wait, rounded up.
fn in_words(pause: Duration) -> String {
    let seconds = pause.as_secs().max(1);
    let (count, unit) = match seconds {
        0..=90 => (seconds, "second"),
        91..=5_400 => (seconds.div_ceil(60), "minute"),
        _ => (seconds.div_ceil(3_600), "hour"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

impl From<InvalidField> for Error {
    fn from(error: InvalidField) -> Self {
        Self::Integrity(IntegrityError::Field(error))
    }
}

impl From<ExtentTreeError> for Error {
    fn from(error: ExtentTreeError) -> Self {
        Self::Integrity(IntegrityError::Extents(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_stable_codes() {
        assert_eq!(Error::NotLoggedIn { ended: false }.exit_code(), 4);
        assert_eq!(Error::NotFound("a".into()).exit_code(), 3);
        assert_eq!(Error::Conflict("a".into()).exit_code(), 7);
        assert_eq!(Error::Partial { failed: 1, total: 2 }.exit_code(), 8);
        assert_eq!(Error::TooFewNodes { what: "x".into(), reachable: 9, needed: 10 }.exit_code(), 6);
        assert_eq!(Error::Integrity(IntegrityError::Writers).exit_code(), 1);
        let quota = Error::Server { code: ErrorCode::QuotaExceeded, message: "full".into(), request_id: None };
        assert_eq!(quota.exit_code(), 5);
        for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert_eq!(Error::local("/a")(full.into()).exit_code(), 5, "{full}");
        }
    }

    #[test]
    fn too_few_nodes_names_the_counts() {
        let error = Error::TooFewNodes { what: "cannot read a".into(), reachable: 9, needed: 10 };
        assert_eq!(error.to_string(), "cannot read a: 9 shards are reachable, 10 are needed");
    }

    #[test]
    fn a_repeated_error_says_and_advises_the_same() {
        let errors = [
            Error::Server { code: ErrorCode::QuotaExceeded, message: "full".into(), request_id: Some("7".into()) },
            Error::Later { code: ErrorCode::RateLimited, message: "wait".into(), advice: "Try again.".into() },
            Error::Local { path: "/a".into(), source: io::Error::from(io::ErrorKind::NotFound) },
            Error::Lost { what: "cannot read a".into(), lost: 5, left: 9, needed: 10 },
            Error::Integrity(IntegrityError::Writers),
        ];
        for error in errors {
            let again = error.repeated();
            assert_eq!((again.to_string(), again.code()), (error.to_string(), error.code()));
            assert_eq!(again.advice(), error.advice());
        }
    }

    #[test]
    fn who_has_to_wait_is_told_how_long() {
        let refused = |code, seconds: Option<u64>| {
            Error::refused(code, "too many failed logins; try again later", None, seconds.map(Duration::from_secs))
        };
        let locked = refused(ErrorCode::RateLimited, Some(840));
        assert_eq!((locked.to_string().as_str(), locked.exit_code()), ("too many failed logins", 4));
        for (seconds, advice) in [
            (0, "Try again in 1 second."),
            (90, "Try again in 90 seconds."),
            (91, "Try again in 2 minutes."),
            (840, "Try again in 14 minutes."),
            (5_401, "Try again in 2 hours."),
        ] {
            assert_eq!(refused(ErrorCode::AccountLocked, Some(seconds)).advice(), Some(advice));
        }
        assert_eq!(refused(ErrorCode::RateLimited, None).advice(), Some("Wait some minutes, then try again."));
        assert!(matches!(refused(ErrorCode::Unavailable, Some(1)), Error::Server { .. }));
    }

    #[test]
    fn neither_the_server_nor_a_name_drives_a_terminal() {
        let evil = "full\u{1b}]52;c;AAAA\u{7}\u{9b}2J\n";
        let escaped = "full\\u{1b}]52;c;AAAA\\u{7}\\u{9b}2J\\n";
        for pause in [None, Some(Duration::from_secs(5))] {
            assert_eq!(Error::refused(ErrorCode::RateLimited, evil, None, pause).to_string(), escaped);
        }
        let path = PathBuf::from("/a\u{1b}[2J");
        let reason = || "it is damaged".to_owned();
        let errors = [
            Error::local(&path)(io::ErrorKind::NotFound.into()),
            Error::Config { path: path.clone(), reason: reason() },
            Error::Memory { path, reason: reason() },
        ];
        for error in errors {
            assert!(error.to_string().starts_with("/a\\u{1b}[2J: "), "{error}");
        }
        let long = "x".repeat(100_000);
        assert_eq!(Error::refused(ErrorCode::Internal, &long, None, None).to_string().len(), SAID_MAX);
    }

    #[test]
    fn an_ended_session_is_told_from_a_missing_one() {
        assert_eq!(Error::NotLoggedIn { ended: false }.to_string(), "not logged in");
        assert_eq!(Error::NotLoggedIn { ended: true }.to_string(), "not logged in: the session has ended");
    }
}
