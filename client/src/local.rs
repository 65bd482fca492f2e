//! Whole trees between the local filesystem and a bucket.
//!
//! [`Uploads::upload`](crate::transfer::Uploads::upload) takes files and directories up,
//! [`Transfer::download`](crate::transfer::Transfer::download) down. What fails does not stop the rest, unless nothing else could
//! succeed either: every outcome is in the [`Summary`].

use std::sync::Arc;

use crate::error::Error;
use crate::transfer::Put;

pub mod download;
pub(crate) mod folder;
pub mod upload;
pub(crate) mod walk;

pub use download::DownloadOptions;
pub use upload::UploadOptions;

/// Which parts of a tree are meant. Paths are relative to the directory that was named.
pub trait Filter: Send + Sync {
    /// Whether a file or a link is meant.
    fn takes(&self, path: &[u8]) -> bool;
    /// Whether what is below a directory is looked at.
    fn enters(&self, path: &[u8]) -> bool;
    /// Whether directories matter only for what is taken of them, so that none is made for nothing.
    fn is_partial(&self) -> bool {
        false
    }
}

/// Everything is meant.
#[derive(Debug, Clone, Copy, Default)]
pub struct All;

impl Filter for All {
    fn takes(&self, _path: &[u8]) -> bool {
        true
    }

    fn enters(&self, _path: &[u8]) -> bool {
        true
    }
}

/// A filter that many tasks use.
pub type SharedFilter = Arc<dyn Filter>;

/// One thing that failed.
#[derive(Debug)]
pub struct Failure {
    /// Its path, as it was named and below that.
    pub path: Vec<u8>,
    /// Why.
    pub error: Error,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Summary {
    /// Files and links that were transferred, or would have been.
    pub files: u64,
    /// Their plain bytes.
    pub bytes: u64,
    /// Files and links that were there already.
    pub unchanged: u64,
    /// Directories that were made, or would have been.
    pub directories: u64,
    /// Devices, sockets and the like, and names that exist and were to be kept.
    pub skipped: u64,
    /// What failed.
    pub failed: Vec<Failure>,
    /// Every file and link that was uploaded, with its path; empty for trees of which only the numbers were asked for.
    pub uploaded: Vec<(Vec<u8>, Put)>,
    /// How many nodes may be lost without losing any of the uploaded files; `None` if no node holds any.
    pub survives: Option<usize>,
    /// Shards that are not durable yet and are left to repair.
    pub missing_shards: usize,
    /// What can be lost, if fewer nodes are alive than a bucket asks for.
    pub warning: Option<String>,
    /// Downloaded files and directories whose set-user-ID and set-group-ID bits were not taken over.
    pub special_modes: u64,
    /// Storage nodes that sent wrong bytes.
    pub liars: Vec<cyx_core::ids::NodeId>,
    /// Why it ended early: nothing else could have succeeded.
    pub stopped: Option<Error>,
}

impl Summary {
    pub(crate) fn add_put(&mut self, path: Vec<u8>, put: Put, keep: bool) {
        self.files += 1;
        self.bytes += put.size;
        self.survives = match (self.survives, put.survives()) {
            (Some(all), Some(this)) => Some(all.min(this)),
            (all, this) => all.or(this),
        };
        self.missing_shards += put.missing_shards();
        if self.warning.is_none() {
            self.warning.clone_from(&put.warning);
        }
        if keep {
            self.uploaded.push((path, put));
        }
    }

    pub(crate) fn add_failure(&mut self, path: Vec<u8>, error: Error) {
        self.failed.push(Failure { path, error });
    }

    /// The error that a program ends with: the only one there is, or that some of many failed.
    #[must_use]
    pub fn into_error(mut self) -> Option<Error> {
        if let Some(stopped) = self.stopped {
            return Some(stopped);
        }
        let failed = self.failed.len() as u64;
        let total = failed + self.files + self.unchanged + self.skipped;
        match failed {
            0 => None,
            1 if total == 1 => self.failed.pop().map(|failure| failure.error),
            _ => Some(Error::Partial { failed, total }),
        }
    }
}

/// Whether after this error nothing else can succeed.
pub(crate) fn stops_all(error: &Error) -> bool {
    use cyx_core::error::ErrorCode;
    matches!(
        error,
        Error::Network { .. } | Error::NotLoggedIn { .. } | Error::IncarnationChanged { .. } | Error::Interrupted
    ) || matches!(error.code(), ErrorCode::QuotaExceeded | ErrorCode::RateLimited)
}
