//! Why a command failed: one sentence, perhaps a second one with advice, and an exit code.

use std::fmt;
use std::io;

use cyx_core::error::ErrorCode;
use thiserror::Error;
use tokio::signal::unix::SignalKind;

use crate::dev;

/// Short for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Exit code of a usage error.
pub const EXIT_USAGE: u8 = 2;
/// Exit code when some of many items failed.
pub const EXIT_PARTLY: u8 = 8;

/// Exit code after a signal, as shells have it: 130 after Ctrl-C.
#[must_use]
pub fn signalled(signal: SignalKind) -> u8 {
    u8::try_from(128 + signal.as_raw_value()).unwrap_or(1)
}

/// Why a command failed.
#[derive(Debug, Error)]
pub enum Error {
    /// The engine failed.
    #[error(transparent)]
    Client(cyx_client::Error),
    /// This machine's processor is too old.
    #[error(transparent)]
    Cpu(#[from] cyx_core::erasure::UnsupportedCpu),
    /// The development cluster failed.
    #[error(transparent)]
    Dev(#[from] dev::Error),
    /// What was typed does not make sense.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What would be right.
        advice: Option<String>,
    },
    /// A directory was named where only `-r` takes one.
    #[error("{0} is a directory")]
    NeedsRecursive(String),
    /// Nothing of this key or id is in the trash.
    #[error("{0} is not in the trash")]
    NotInTrash(String),
    /// Standard input or output failed.
    #[error("cannot {action}: {source}")]
    Stream {
        /// What was tried, for example `read the password`.
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something was made that is shown only once, and it could not be printed.
    #[error("{what} could not be printed{}", because(source))]
    Undelivered {
        /// What is lost.
        what: &'static str,
        /// Why.
        source: Box<Error>,
        /// How to get another.
        advice: String,
    },
    /// Some of many items failed; each was reported when it happened.
    #[error("{failed} of {total} failed")]
    Partly {
        /// Items that failed.
        failed: u64,
        /// All items.
        total: u64,
        /// Exit code if nothing succeeded.
        worst: u8,
    },
    /// A file cannot be read any more, or not all of its shards are healthy although they should be.
    #[error("{0}")]
    Unhealthy(String),
    /// The server's audit log was changed.
    #[error("the audit log is broken: entry {0} does not follow the one before it")]
    AuditBroken(u64),
    /// The storage node of this machine cannot be started, stopped or asked.
    #[error("{message}")]
    Node {
        /// Why.
        message: String,
        /// What would help.
        advice: Option<&'static str>,
    },
    /// Earnings do not follow from their facts.
    #[error("{0} things do not add up")]
    Unsettled(u64),
    /// Mounting failed.
    #[error(transparent)]
    Mount(#[from] cyx_fs::mount::Error),
    /// A process in the background failed, and said why in one or two sentences.
    #[error("{message}")]
    Elsewhere {
        /// What it said.
        message: String,
        /// The exit code it would have had.
        exit_code: u8,
    },
    /// A mount cannot be taken off.
    #[error("{message}")]
    Stays {
        /// Why.
        message: String,
        /// What would help.
        advice: &'static str,
    },
    /// Nothing of ours is mounted there.
    #[error("nothing is mounted on {0} by this program")]
    NotMounted(String),
    /// Whoever read the standard output has closed it, as `head` does.
    #[error("standard output was closed")]
    OutputClosed,
    /// The answer to a call was lost that may have been carried out.
    #[error("{source}")]
    Unanswered {
        /// How.
        source: cyx_client::Error,
        /// How to find out.
        advice: String,
    },
    /// The user pressed Ctrl-C, or the process was asked to end in another way.
    #[error("interrupted")]
    Interrupted {
        /// The signal.
        signal: SignalKind,
        /// A re-run goes on where it was.
        resumable: bool,
    },
}

impl From<cyx_client::Error> for Error {
    fn from(error: cyx_client::Error) -> Self {
        match error {
            cyx_client::Error::Local { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => Self::OutputClosed,
            other => Self::Client(other),
        }
    }
}

impl Error {
    /// A usage error without advice.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), advice: None }
    }

    /// A usage error with a sentence of advice.
    #[must_use]
    pub fn usage_with(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), advice: Some(advice.into()) }
    }

    /// Standard input or output failed; a closed standard output is an error of its own.
    pub fn stream(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Stream { action, source },
        }
    }

    /// What is shown only once could not be printed: how to get another.
    pub fn undelivered(what: &'static str, advice: impl Into<String>) -> impl FnOnce(Self) -> Self {
        move |source| Self::Undelivered { what, source: Box::new(source), advice: advice.into() }
    }

    /// A call failed; if its answer was lost, `what` is not known.
    pub fn call(what: &str, how: &str) -> impl FnOnce(cyx_client::Error) -> Self {
        move |source| match source.leaves_open() {
            true => Self::Unanswered { source, advice: format!("It is not known {what}: {how}") },
            false => source.into(),
        }
    }

    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Client(error) if error.code() == ErrorCode::IsDirectory => EXIT_USAGE,
            Self::Client(error) => error.exit_code(),
            Self::Dev(error) => error.exit_code(),
            Self::Usage { .. } | Self::NeedsRecursive(_) => EXIT_USAGE,
            Self::Mount(error) if is_no_mountpoint(error) => EXIT_USAGE,
            Self::Mount(error) => error.exit_code(),
            Self::Elsewhere { exit_code, .. } => *exit_code,
            Self::Stays { .. } | Self::Node { .. } | Self::Unsettled(_) => 1,
            Self::Unanswered { source, .. } => source.exit_code(),
            // What was asked for is not done if nobody hears of it.
            Self::Undelivered { source, .. } => source.exit_code().max(1),
            Self::NotInTrash(_) | Self::NotMounted(_) => ErrorCode::NotFound.exit_code(),
            Self::Stream { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                ErrorCode::InsufficientStorage.exit_code()
            }
            Self::Stream { .. } | Self::Cpu(_) | Self::AuditBroken(_) | Self::Unhealthy(_) => 1,
            Self::Partly { failed, total, worst } if failed == total => *worst,
            Self::Partly { .. } => EXIT_PARTLY,
            // The reader has what it wanted; of commands that change something it is made a failure before.
            Self::OutputClosed => 0,
            Self::Interrupted { signal, .. } => signalled(*signal),
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        match self {
            Self::Client(error) => error.advice(),
            Self::Dev(error) => error.advice(),
            Self::Mount(error) => error.advice(),
            Self::Stays { advice, .. } => Some(advice),
            Self::Undelivered { advice, .. } => Some(advice),
            Self::Node { advice, .. } => *advice,
            Self::Unsettled(_) => Some("Ask whoever runs the server, and show them the lines above."),
            Self::Usage { advice, .. } => advice.as_deref(),
            Self::Unanswered { advice, .. } => Some(advice),
            Self::Interrupted { resumable: true, .. } => Some("Run it again to go on where it was."),
            Self::NeedsRecursive(_) => Some("Use -r to take it with all it contains."),
            _ => None,
        }
    }

    /// Nothing needs to be said about it.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::OutputClosed)
    }
}

/// A closed standard output is no reason that anybody needs to hear of.
fn because(source: &Error) -> String {
    match source {
        Error::Stream { source, .. } => format!(": {source}"),
        _ => String::new(),
    }
}

/// What was named is there, and nothing can be mounted on it.
fn is_no_mountpoint(error: &cyx_fs::mount::Error) -> bool {
    match error {
        cyx_fs::mount::Error::NotEmpty(_) => true,
        cyx_fs::mount::Error::Mountpoint { source, .. } => source.kind() == io::ErrorKind::NotADirectory,
        _ => false,
    }
}

/// An error as it is shown: `cyx: what happened. What to do.`
pub struct Report<'a>(pub &'a Error);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.0.to_string();
        let stop = if message.ends_with(['.', '!', '?']) { "" } else { "." };
        write!(f, "cyx: {message}{stop}")?;
        match self.0.advice() {
            Some(advice) => write!(f, " {advice}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_sentence_and_advice() {
        let error = Error::usage_with("there is no terminal to ask on", "Use --password-stdin.");
        assert_eq!(Report(&error).to_string(), "cyx: there is no terminal to ask on. Use --password-stdin.");
        assert_eq!(Report(&Error::usage("no.")).to_string(), "cyx: no.");
    }

    #[test]
    fn partly_done_is_told_from_all_failed() {
        assert_eq!(Error::Partly { failed: 1, total: 2, worst: 3 }.exit_code(), 8);
        assert_eq!(Error::Partly { failed: 2, total: 2, worst: 3 }.exit_code(), 3);
    }

    #[test]
    fn what_names_the_wrong_thing_is_a_usage_error() {
        use cyx_fs::mount::Error as Mount;
        let mountpoint = |kind| Error::Mount(Mount::Mountpoint { path: "/m".into(), source: io::Error::from(kind) });
        assert_eq!(Error::NeedsRecursive("photos".into()).exit_code(), EXIT_USAGE);
        assert_eq!(Error::Mount(Mount::NotEmpty("/m".into())).exit_code(), EXIT_USAGE);
        assert_eq!(mountpoint(io::ErrorKind::NotADirectory).exit_code(), EXIT_USAGE);
        assert_eq!(mountpoint(io::ErrorKind::NotFound).exit_code(), 3);
        assert_eq!(mountpoint(io::ErrorKind::PermissionDenied).exit_code(), 1);
    }

    #[test]
    fn an_output_without_space_says_so() {
        assert_eq!(Error::stream("write")(io::Error::from(io::ErrorKind::StorageFull)).exit_code(), 5);
    }

    #[test]
    fn what_is_shown_once_and_could_not_be_printed_says_why() {
        let lost = |kind| Error::undelivered("it", "Make another.")(Error::stream("write")(io::Error::from(kind)));
        let full = lost(io::ErrorKind::StorageFull);
        assert_eq!(full.exit_code(), 5);
        assert_eq!(Report(&full).to_string(), "cyx: it could not be printed: no storage space. Make another.");
        let closed = lost(io::ErrorKind::BrokenPipe);
        assert_eq!(closed.exit_code(), 1);
        assert_eq!(Report(&closed).to_string(), "cyx: it could not be printed. Make another.");
    }

    #[test]
    fn a_lost_answer_is_told_from_a_refusal() {
        use cyx_client::Error as Client;
        let call = Error::call("whether it is done", "look.");
        let lost = call(Client::Network { what: "cannot reach it".into(), reason: "no answer in time".into() });
        assert_eq!((lost.exit_code(), lost.advice()), (6, Some("It is not known whether it is done: look.")));
        let refused = Error::call("whether it is done", "look.")(Client::NotFound("it".into()));
        assert!(matches!(refused, Error::Client(_)));
    }

    #[test]
    fn a_closed_output_is_no_failure() {
        let error = Error::stream("write")(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((error.exit_code(), error.is_silent()), (0, true));
    }
}
