//! The one error that leaves the server.
//!
//! A module's own errors become an [`ApiError`] at the border: a stable code and a sentence for the caller. What must not leave (text of
//! the database, paths) is logged here, once, inside the request's span, so the log line carries the request id that the caller
//! gets too.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use cyx_core::error::ErrorCode;
use cyx_proto::convert::InvalidField;
use http::StatusCode;
use thiserror::Error;

use crate::db::DbError;

/// What a caller is told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// The stable code.
    pub code: ErrorCode,
    /// One sentence for people.
    pub message: String,
    /// When it is worth trying again.
    pub retry_after: Option<Duration>,
}

impl ApiError {
    /// An error with a sentence.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    /// Says when it is worth trying again: the header, or the metadata, `retry-after`.
    #[must_use]
    pub const fn after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// [`ErrorCode::InvalidArgument`].
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// [`ErrorCode::NotFound`].
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// [`ErrorCode::PermissionDenied`].
    #[must_use]
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::PermissionDenied, message)
    }

    /// A failure whose reason goes to the log and not to the caller.
    #[must_use]
    pub fn internal(reason: impl std::fmt::Display) -> Self {
        tracing::error!(%reason, "a request failed");
        Self::new(ErrorCode::Internal, "the server failed; its log has the details under this request id")
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Closed => Self::new(ErrorCode::Unavailable, "the server is stopping"),
            other => Self::internal(other),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        DbError::from(error).into()
    }
}

impl From<InvalidField> for ApiError {
    fn from(error: InvalidField) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<ApiError> for tonic::Status {
    fn from(error: ApiError) -> Self {
        let mut status = cyx_proto::status::status(error.code, error.message);
        if let Some(pause) = error.retry_after {
            cyx_proto::status::set_retry_after(&mut status, pause);
        }
        status
    }
}

/// The body of an error over HTTP. The middleware adds the request id.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// The content of an [`ErrorBody`].
#[derive(Debug, Clone, serde::Serialize)]
pub struct ErrorDetail {
    /// The stable code.
    pub code: &'static str,
    /// One sentence for people.
    pub message: String,
    /// The id under which the server's log speaks of this request.
    pub request_id: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let request_id = crate::http::request_id::current();
        let detail = ErrorDetail { code: self.code.as_str(), message: self.message, request_id };
        let mut response = (status, Json(ErrorBody { error: detail })).into_response();
        // For the log.
        response.extensions_mut().insert(self.code);
        if let Some(pause) = self.retry_after {
            // A moment later rather than a moment too early.
            let seconds = pause.as_secs().saturating_add(1);
            response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
