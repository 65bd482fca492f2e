//! What an account may still be promised.
//!
//! This is the one place where the plan's traffic is enforced: whoever issues grants calls [`promise`] first.

use cyx_core::error::ErrorCode;
use cyx_core::ids::AccountId;
use cyx_core::units::{GIB, MIB};

use super::rows::{self, NewGrant, Traffic};
use crate::db::{Backend, Conn};
use crate::error::ApiError;

/// Most bytes of one grant to read.
const READ_MAX: u64 = GIB;
/// Least bytes of one grant to read: the largest shard, and as much again for a reader that begins anew. The last grants before the limit
/// may exceed it by so much for each node.
pub const READ_MIN: u64 = 8 * MIB;

/// Grants for one session, to be written down.
#[derive(Debug, Clone)]
pub struct Promise {
    /// Whose traffic it is.
    pub account: AccountId,
    /// The key that the grants are bound to, and that signs the orders.
    pub session_key: [u8; 32],
    /// The grants.
    pub grants: Vec<NewGrant>,
}

/// Bytes of each of `nodes` new grants to read: a quarter of what is left for all of them, so that a session that reads does not
/// keep another one from it. `None` if nothing is left.
#[must_use]
pub fn read_share(traffic: &Traffic, nodes: usize) -> Option<u64> {
    let share = traffic.left() / 4 / (nodes.max(1) as u64);
    (traffic.left() > 0).then(|| share.clamp(READ_MIN, READ_MAX))
}

/// An account's traffic, which nobody else can promise until the transaction ends.
///
/// # Errors
/// [`ApiError`] of the database.
pub async fn check(conn: &mut Conn, backend: Backend, account: AccountId, now: u64) -> Result<Traffic, ApiError> {
    rows::lock(conn, backend, account).await?;
    Ok(rows::of_account(conn, account, now).await?)
}

/// Writes grants down, in the transaction in which [`check`] found that they fit.
///
/// # Errors
/// [`ApiError`] of the database.
pub async fn promise(conn: &mut Conn, promise: &Promise) -> Result<(), ApiError> {
    Ok(rows::insert(conn, promise.account, promise.session_key, &promise.grants).await?)
}

/// Says that the plan's traffic is used up.
#[must_use]
pub fn exceeded(traffic: &Traffic) -> ApiError {
    let Traffic { limit, settled, promised } = traffic;
    let message = match promised {
        0 => format!("this month's traffic of the plan is used up: {settled} of {limit} bytes"),
        _ => format!(
            "this month's traffic of the plan does not suffice: {settled} of {limit} bytes are used and {promised} are reserved by transfers \
             under way, for at most an hour"
        ),
    };
    ApiError::new(ErrorCode::QuotaExceeded, message)
}
