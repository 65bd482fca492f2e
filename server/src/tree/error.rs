//! Why the tree does not do what it was asked to.

use std::borrow::Cow;

use cyx_core::error::ErrorCode;
use cyx_proto::convert::InvalidField;
use cyx_proto::meta::v1 as pb;
use thiserror::Error;

use crate::db::DbError;

/// A refusal that the caller gets to see, with the present state where that helps to go on.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Stable code.
    pub code: ErrorCode,
    /// One sentence.
    pub message: Cow<'static, str>,
    /// After `CONFLICT`, `RETRY` and `ALREADY_EXISTS`: what is there instead.
    pub state: Vec<pb::OperationResult>,
}

/// Refused by a rule, or failed below it.
#[derive(Debug, Error)]
pub enum TreeError {
    /// A rule of the tree says no. Only the mutation that asked is undone.
    #[error("{}: {}", .0.code, .0.message)]
    Refused(Box<Refusal>),
    /// The database failed. The whole call fails.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl TreeError {
    /// A refusal without state.
    pub fn refused(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused(Box::new(Refusal { code, message: message.into(), state: Vec::new() }))
    }

    /// A refusal that tells what is there instead.
    pub fn refused_with(code: ErrorCode, message: impl Into<Cow<'static, str>>, state: pb::OperationResult) -> Self {
        Self::Refused(Box::new(Refusal { code, message: message.into(), state: vec![state] }))
    }

    /// `INVALID_ARGUMENT`.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(ErrorCode::InvalidArgument, message)
    }

    /// `NOT_FOUND`.
    pub fn not_found(message: &'static str) -> Self {
        Self::refused(ErrorCode::NotFound, message)
    }

    /// The code that a caller gets.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::Database(_) => ErrorCode::Internal,
        }
    }
}

impl From<sqlx::Error> for TreeError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<InvalidField> for TreeError {
    fn from(error: InvalidField) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<cyx_core::extent::ExtentTreeError> for TreeError {
    fn from(error: cyx_core::extent::ExtentTreeError) -> Self {
        Self::invalid(error.to_string())
    }
}
