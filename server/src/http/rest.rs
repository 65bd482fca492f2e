//! REST handlers, one module per area.

pub mod account;
pub mod auth;
pub mod machines;
pub mod system;

use serde::Serialize;

/// An answer without content: `{}`.
#[derive(Debug, Serialize)]
pub struct Empty {}

/// A count that is never negative in a body.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
