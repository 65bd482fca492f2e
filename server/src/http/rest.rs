//! REST handlers, one module per area.

pub mod account;
pub mod account_key;
pub mod admin;
pub mod admin_nodes;
pub mod api_keys;
pub mod audit_log;
pub mod auth;
pub mod credentials;
pub mod devices;
pub mod factors;
pub mod identity;
pub mod leaving;
pub mod machines;
pub mod nodes;
pub mod reinstate;
pub mod system;
pub mod wallets;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{NodeId, SessionId};
use serde::Serialize;

use crate::error::ApiError;

/// What a handler returns: a body as JSON, or why not.
type Answer<T> = Result<axum::Json<T>, ApiError>;

/// An answer without content: `{}`.
#[derive(Debug, Serialize)]
pub struct Empty {}

/// A count that is never negative in a body.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A node, as a path or a parameter names it.
fn node_id(text: &str) -> Result<NodeId, ApiError> {
    text.parse().map_err(|_| ApiError::invalid("a node is named by its id"))
}

/// The id of something that waits for a code. A malformed one is as wrong as an unknown one.
pub(super) fn challenge_id(text: &str) -> Result<SessionId, ApiError> {
    let over = "the code is too old, was used or was tried too often; begin again";
    text.parse().map_err(|_| ApiError::new(ErrorCode::OtpExpired, over))
}
