//! Error numbers: what a system call returns, and the one place where errors of the client become such numbers.

use std::fmt;

use cyx_client::Error;
use cyx_core::error::ErrorCode;
use rustix::io::Errno as Os;

use crate::repeats::is_news;

/// Why an operation failed, as the kernel is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident = $os:ident;)*) => {
        impl Errno {
            $($(#[$doc])* pub const $name: Self = Self(Os::$os.raw_os_error());)*
        }

        impl fmt::Debug for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name => f.write_str(stringify!($name)),)*
                    Self(other) => write!(f, "errno {other}"),
                }
            }
        }
    };
}

numbers! {
    /// Not permitted, whatever the mode bits say.
    EPERM = PERM;
    /// There is no such name.
    ENOENT = NOENT;
    /// It could not be read or written.
    EIO = IO;
    /// The handle is not open, or not for this.
    EBADF = BADF;
    /// Mode bits or the account forbid it.
    EACCES = ACCESS;
    /// In use.
    EBUSY = BUSY;
    /// The name is taken.
    EEXIST = EXIST;
    /// Between two buckets.
    EXDEV = XDEV;
    /// Not a directory.
    ENOTDIR = NOTDIR;
    /// A directory.
    EISDIR = ISDIR;
    /// An argument makes no sense here.
    EINVAL = INVAL;
    /// The file would become too large.
    EFBIG = FBIG;
    /// No space.
    ENOSPC = NOSPC;
    /// Over the account's quota.
    EDQUOT = DQUOT;
    /// Mounted read-only.
    EROFS = ROFS;
    /// Too many links.
    EMLINK = MLINK;
    /// The buffer is too small.
    ERANGE = RANGE;
    /// The name is too long.
    ENAMETOOLONG = NAMETOOLONG;
    /// Not implemented: the kernel stops asking.
    ENOSYS = NOSYS;
    /// The directory is not empty.
    ENOTEMPTY = NOTEMPTY;
    /// Too many symbolic links.
    ELOOP = LOOP;
    /// There is no such extended attribute.
    ENODATA = NODATA;
    /// Not supported on this file.
    EOPNOTSUPP = OPNOTSUPP;
    /// Too late.
    ETIMEDOUT = TIMEDOUT;
    /// The file is gone.
    ESTALE = STALE;
    /// An extended attribute is too large.
    E2BIG = TOOBIG;
    /// Nothing there: no data or hole behind this offset.
    ENXIO = NXIO;
    /// Interrupted.
    EINTR = INTR;
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&std::io::Error::from_raw_os_error(self.0), f)
    }
}

impl std::error::Error for Errno {}

impl From<&Error> for Errno {
    fn from(error: &Error) -> Self {
        match error {
            Error::Local { source, .. } => source.raw_os_error().map_or(Self::EIO, Self),
            Error::NotLoggedIn { .. } | Error::OtherGateway { .. } => Self::EACCES,
            // Not over in a moment, as a conflict with somebody else's change is.
            Error::IncarnationChanged { .. } => Self::EIO,
            other => Self::from(other.code()),
        }
    }
}

impl From<Error> for Errno {
    fn from(error: Error) -> Self {
        let errno = Self::from(&error);
        // What an application did to itself needs no line in the log; what failed behind its back does.
        if matches!(errno, Self::EIO | Self::ETIMEDOUT | Self::EDQUOT | Self::EACCES) && is_news(&error.to_string()) {
            tracing::warn!(%error, "an operation failed");
        } else {
            tracing::debug!(%error, %errno, "an operation was refused");
        }
        errno
    }
}

impl From<ErrorCode> for Errno {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::NotFound => Self::ENOENT,
            ErrorCode::AlreadyExists => Self::EEXIST,
            ErrorCode::NotEmpty => Self::ENOTEMPTY,
            ErrorCode::IsDirectory => Self::EISDIR,
            ErrorCode::NotDirectory => Self::ENOTDIR,
            // rename(2) of a directory below itself.
            ErrorCode::Loop | ErrorCode::InvalidArgument => Self::EINVAL,
            ErrorCode::TooLarge => Self::EFBIG,
            ErrorCode::QuotaExceeded => Self::EDQUOT,
            ErrorCode::InsufficientStorage => Self::ENOSPC,
            ErrorCode::PermissionDenied | ErrorCode::InvalidCredentials | ErrorCode::TokenExpired => Self::EACCES,
            ErrorCode::Retry | ErrorCode::Conflict | ErrorCode::StaleLease => Self::EBUSY,
            _ => Self::EIO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: ErrorCode) -> Error {
        Error::Server { code, message: "refused".into(), request_id: None }
    }

    #[test]
    fn refusals_of_the_server_become_the_numbers_that_programs_know() {
        for (code, errno) in [
            (ErrorCode::NotFound, Errno::ENOENT),
            (ErrorCode::NotEmpty, Errno::ENOTEMPTY),
            (ErrorCode::Loop, Errno::EINVAL),
            (ErrorCode::QuotaExceeded, Errno::EDQUOT),
            (ErrorCode::Integrity, Errno::EIO),
            (ErrorCode::TooFewNodes, Errno::EIO),
        ] {
            assert_eq!(Errno::from(&server(code)), errno, "{code}");
        }
    }

    #[test]
    fn a_server_that_was_restored_is_not_busy() {
        assert_eq!(Errno::from(&Error::IncarnationChanged { gateway: "http://localhost:1".into() }), Errno::EIO);
    }

    #[test]
    fn numbers_of_this_machine_are_kept() {
        let full = std::io::Error::from_raw_os_error(Errno::ENOSPC.0);
        assert_eq!(Errno::from(&Error::local("/cache")(full)), Errno::ENOSPC);
    }
}
