//! What can go wrong with content, and which number a program gets.

use std::io;

use cyx_core::error::ErrorCode;
use thiserror::Error;

use crate::errno::Errno;
use crate::journal::JournalError;

/// Why something about content failed.
#[derive(Debug, Error)]
pub enum ContentError {
    /// The client failed.
    #[error(transparent)]
    Client(#[from] cyx_client::Error),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It took too long.
    #[error("too late")]
    Deadline,
    /// It took too long, and had failed before.
    #[error("too late; what failed last: {0}")]
    Late(String),
    /// No file can be that long.
    #[error("beyond the largest file")]
    TooLarge,
    /// There is no data, or no hole, behind this offset.
    #[error("nothing there")]
    Nothing,
    /// Somebody else committed first; the changes wait to become a conflict copy.
    #[error("somebody else committed the file first")]
    Lost,
    /// It has only a part of what it is to have.
    #[error("the file is not whole yet")]
    Filling,
    /// The bucket is not there any more.
    #[error("the bucket of the file was deleted, or is not open to this account any more")]
    Gone,
    /// The folder of the mount cannot be used.
    #[error("{0}")]
    Folder(io::Error),
}

impl From<ContentError> for Errno {
    fn from(error: ContentError) -> Self {
        let errno = match error {
            ContentError::Client(error) => return Self::from(error),
            ContentError::Deadline | ContentError::Late(_) => Self::ETIMEDOUT,
            ContentError::TooLarge => Self::EFBIG,
            ContentError::Nothing => Self::ENXIO,
            ContentError::Journal(JournalError::Full) => Self::ENOSPC,
            ContentError::Journal(JournalError::InUse(_)) | ContentError::Filling => Self::EBUSY,
            ContentError::Lost | ContentError::Gone => Self::ESTALE,
            ContentError::Journal(_) | ContentError::Folder(_) => Self::EIO,
        };
        if errno == Self::EIO {
            tracing::error!(%error, "content could not be kept");
        }
        errno
    }
}

/// Whether server or nodes were away: what failed so may succeed a moment later.
pub(crate) fn is_outage(error: &cyx_client::Error) -> bool {
    error.is_transient() || error.code() == ErrorCode::TooFewNodes
}

/// What the journal says, as an error of the client.
pub(crate) fn journal_error(error: JournalError) -> cyx_client::Error {
    let source = match error {
        JournalError::Full => io::Error::from_raw_os_error(Errno::ENOSPC.0),
        other => io::Error::other(other),
    };
    cyx_client::Error::local("the journal of the mount")(source)
}

/// Short for results of this module.
pub type Result<T, E = ContentError> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_journal_is_a_full_disk_for_whoever_waits_for_a_commit() {
        assert_eq!(Errno::from(journal_error(JournalError::Full)), Errno::ENOSPC);
        assert_eq!(Errno::from(ContentError::from(JournalError::Full)), Errno::ENOSPC);
        assert_eq!(Errno::from(journal_error(JournalError::Broken)), Errno::EIO);
    }
}
