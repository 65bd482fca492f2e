//! Stable error codes over gRPC: a [`Status`] carries the code in the metadata key `cyx-code`.

use std::time::Duration;

use cyx_core::error::ErrorCode;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

/// Metadata key of the stable code.
pub const CODE_KEY: &str = "cyx-code";
/// Metadata key of the request id.
pub const REQUEST_ID_KEY: &str = "x-request-id";
/// Metadata key of the database's incarnation, in hexadecimal digits: every answer names it, and calls name the one that the caller knows.
pub const INCARNATION_KEY: &str = "cyx-incarnation";
/// Metadata key of the seconds after which it is worth trying again, as the header `Retry-After` of HTTP.
pub const RETRY_AFTER_KEY: &str = "retry-after";
/// Metadata key under which a client says which of its session's programs it is: 16 bytes that it drew when it began, in hexadecimal
/// digits. Grants to read are of one program each, because each counts for itself what it moves under them.
pub const READER_KEY: &str = "cyx-reader";

/// The gRPC code that goes with a stable code.
#[must_use]
pub const fn grpc_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::InvalidCredentials | ErrorCode::OtpInvalid | ErrorCode::OtpExpired | ErrorCode::TokenExpired => {
            Code::Unauthenticated
        }
        ErrorCode::PermissionDenied | ErrorCode::AccountLocked => Code::PermissionDenied,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::AlreadyExists => Code::AlreadyExists,
        ErrorCode::QuotaExceeded | ErrorCode::RateLimited | ErrorCode::InsufficientStorage => Code::ResourceExhausted,
        ErrorCode::Conflict | ErrorCode::Retry | ErrorCode::Restage | ErrorCode::StaleLease | ErrorCode::StaleKey => {
            Code::Aborted
        }
        ErrorCode::NotEmpty | ErrorCode::IsDirectory | ErrorCode::NotDirectory | ErrorCode::Loop => {
            Code::FailedPrecondition
        }
        ErrorCode::TooFewNodes | ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::Integrity => Code::DataLoss,
        ErrorCode::Internal => Code::Internal,
        _ => Code::InvalidArgument,
    }
}

/// A status that carries a stable code.
#[must_use]
pub fn status(code: ErrorCode, message: impl Into<String>) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(CODE_KEY, MetadataValue::from_static(code.as_str()));
    Status::with_metadata(grpc_code(code), message, metadata)
}

/// Adds when it is worth trying again: rather a moment later than a moment too early.
pub fn set_retry_after(status: &mut Status, pause: Duration) {
    status.metadata_mut().insert(RETRY_AFTER_KEY, pause.as_secs().saturating_add(1).into());
}

/// When it is worth trying again, if the status says so.
#[must_use]
pub fn retry_after(status: &Status) -> Option<Duration> {
    let seconds = status.metadata().get(RETRY_AFTER_KEY)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The stable code of a status. One that carries none, because it comes from the transport or from a proxy, is judged by its
/// gRPC code.
#[must_use]
pub fn error_code(status: &Status) -> ErrorCode {
    let carried = status.metadata().get(CODE_KEY).and_then(|value| value.to_str().ok()).and_then(ErrorCode::parse);
    carried.unwrap_or(match status.code() {
        Code::Unauthenticated => ErrorCode::InvalidCredentials,
        Code::PermissionDenied => ErrorCode::PermissionDenied,
        Code::NotFound => ErrorCode::NotFound,
        Code::AlreadyExists => ErrorCode::AlreadyExists,
        Code::ResourceExhausted => ErrorCode::RateLimited,
        Code::Aborted => ErrorCode::Retry,
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => ErrorCode::InvalidArgument,
        Code::DataLoss => ErrorCode::Integrity,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => ErrorCode::Unavailable,
        _ => ErrorCode::Internal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire() {
        for code in ErrorCode::ALL {
            assert_eq!(error_code(&status(*code, "x")), *code);
        }
    }

    #[test]
    fn a_pause_is_rounded_up_and_read_again() {
        let mut refused = status(ErrorCode::RateLimited, "x");
        assert_eq!(retry_after(&refused), None);
        set_retry_after(&mut refused, Duration::from_millis(2500));
        assert_eq!(retry_after(&refused), Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_foreign_status_is_judged_by_its_grpc_code() {
        assert_eq!(error_code(&Status::unavailable("refused")), ErrorCode::Unavailable);
    }
}
