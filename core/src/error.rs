//! The stable error codes: one word that means the same in a JSON body, a gRPC status, a log and an exit code.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $http:literal, $exit:literal;)*) => {
        /// A stable error code. Its text never changes; new codes may be added.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code, for documents and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it stands in error bodies.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status that carries it.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$name => $http,)* }
            }

            /// The exit code of `cyx` when this ends a command.
            #[must_use]
            pub const fn exit_code(self) -> u8 {
                match self { $(Self::$name => $exit,)* }
            }

            /// Finds a code by its text.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// The user name breaks the rules.
    InvalidUsername = "INVALID_USERNAME", 400, 2;
    /// The email address breaks the rules.
    InvalidEmail = "INVALID_EMAIL", 400, 2;
    /// The password breaks the rules.
    WeakPassword = "WEAK_PASSWORD", 400, 2;
    /// Another field of the request is not valid.
    InvalidArgument = "INVALID_ARGUMENT", 400, 2;
    /// Email, password or token is wrong.
    InvalidCredentials = "INVALID_CREDENTIALS", 401, 4;
    /// The one-time code is wrong.
    OtpInvalid = "OTP_INVALID", 401, 4;
    /// The one-time code is too old or was tried too often.
    OtpExpired = "OTP_EXPIRED", 401, 4;
    /// The access token is too old; refresh it.
    TokenExpired = "TOKEN_EXPIRED", 401, 4;
    /// Too many requests; try again later.
    RateLimited = "RATE_LIMITED", 429, 4;
    /// Too many failed logins; try again later.
    AccountLocked = "ACCOUNT_LOCKED", 423, 4;
    /// The caller may not do this.
    PermissionDenied = "PERMISSION_DENIED", 403, 4;
    /// Storing this would exceed the plan.
    QuotaExceeded = "QUOTA_EXCEEDED", 403, 5;
    /// There is no such thing.
    NotFound = "NOT_FOUND", 404, 3;
    /// The name is taken.
    AlreadyExists = "ALREADY_EXISTS", 409, 7;
    /// Somebody else changed it first; the answer names the winner.
    Conflict = "CONFLICT", 409, 7;
    /// What the caller saw is out of date; look again and repeat.
    Retry = "RETRY", 409, 7;
    /// Staged segments were collected meanwhile; stage them again.
    Restage = "RESTAGE", 409, 7;
    /// The directory is not empty.
    NotEmpty = "NOT_EMPTY", 409, 7;
    /// It is a directory.
    IsDirectory = "IS_DIRECTORY", 409, 7;
    /// It is not a directory.
    NotDirectory = "NOT_DIRECTORY", 409, 2;
    /// A directory would end up below itself.
    Loop = "LOOP", 409, 2;
    /// A write lease was lost to somebody else.
    StaleLease = "STALE_LEASE", 409, 7;
    /// The key that the caller has of a directory or a file was replaced: get the new one and repeat.
    StaleKey = "STALE_KEY", 409, 7;
    /// The request or the file is too large.
    TooLarge = "TOO_LARGE", 413, 2;
    /// Too few storage nodes answer.
    TooFewNodes = "TOO_FEW_NODES", 503, 6;
    /// A node offers too little space.
    InsufficientStorage = "INSUFFICIENT_STORAGE", 507, 5;
    /// The other side cannot serve now.
    Unavailable = "UNAVAILABLE", 503, 6;
    /// What was received is not what its owner wrote.
    Integrity = "INTEGRITY", 500, 1;
    /// The other side failed; its log has the details under the request id.
    Internal = "INTERNAL", 500, 1;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_text() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
        }
        assert_eq!(ErrorCode::parse("NO_SUCH_CODE"), None);
    }
}
