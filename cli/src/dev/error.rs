//! Why a command on a cluster failed.

use std::io;
use std::path::{Path, PathBuf};

use cyx_core::error::ErrorCode;
use thiserror::Error;

/// Short for results of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command on a cluster failed.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no cluster in the folder.
    #[error("there is no cluster in {}", dir.display())]
    NoCluster {
        /// The folder.
        dir: PathBuf,
    },
    /// There is no such node.
    #[error("there is no node {index}, only 0 to {last}")]
    NoSuchNode {
        /// What was asked for.
        index: u32,
        /// The last one.
        last: usize,
    },
    /// The folder is for something else, or there is none to be found.
    #[error("{0}")]
    Usage(String),
    /// A program is not installed.
    #[error("the program {name} is neither next to this one nor in PATH")]
    ProgramMissing {
        /// Its name.
        name: &'static str,
    },
    /// There is no free port.
    #[error("no free port was found")]
    NoPort,
    /// A program ended instead of becoming ready.
    #[error("{name} ended ({status}) instead of becoming ready, and its last words are: {last}")]
    Ended {
        /// Which one.
        name: String,
        /// How it ended.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The last line of its log.
        last: String,
    },
    /// A program did not become ready in time.
    #[error("{name} did not become ready in time; its log is {}", log.display())]
    NotReady {
        /// Which one.
        name: String,
        /// Its log.
        log: PathBuf,
    },
    /// A program cannot be ended.
    #[error("{name} cannot be ended")]
    Stubborn {
        /// Which one.
        name: String,
    },
    /// The file that describes the cluster cannot be understood.
    #[error("{}: {reason}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or program of this machine.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => ErrorCode::InvalidArgument.exit_code(),
            Self::NoCluster { .. } | Self::NoSuchNode { .. } => ErrorCode::NotFound.exit_code(),
            _ => 1,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        match self {
            Self::NoCluster { .. } => Some("Start one with `cyx dev up`."),
            Self::ProgramMissing { .. } => {
                Some("Build all programs with `cargo build --release`, or install them together.")
            }
            Self::State { .. } => {
                Some("If none of its programs run any more, remove the folder and begin with `cyx dev up`.")
            }
            Self::Ended { .. } => Some("The folder logs/ of the cluster has more."),
            _ => None,
        }
    }
}
