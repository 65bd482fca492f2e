//! What belongs to a registration beside who and where the node is: where its operator wants to be paid, what of its space the network
//! reserves, and by what the node recognises the server.

use bytes::Bytes;
use cyx_core::ids::NodeId;
use cyx_core::units::NODE_RESERVATION;
use cyx_proto::node::v1 as pb;

use crate::db::{Conn, DbError};
use crate::error::ApiError;
use crate::tokens::Tokens;

/// Longest payout address.
pub const PAYOUT_MAX: usize = 128;

/// Checks a payout address. What it means is up to settlement.
///
/// # Errors
/// [`cyx_core::error::ErrorCode::InvalidArgument`].
pub fn check_payout(address: &str) -> Result<(), ApiError> {
    if address.len() > PAYOUT_MAX || !address.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ApiError::invalid(format!(
            "the payout address is at most {PAYOUT_MAX} printable ASCII characters"
        )));
    }
    Ok(())
}

/// Writes a node's payout address down, in the transaction that registers it. An empty one changes nothing: an operator who leaves the
/// option out of a new installation does not give up being paid.
///
/// # Errors
/// [`DbError`].
pub async fn set_payout(conn: &mut Conn, node: NodeId, address: &str) -> Result<(), DbError> {
    if !address.is_empty() {
        sqlx::query("UPDATE node SET payout_address = $2 WHERE id = $1")
            .bind(&node.0[..])
            .bind(address)
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// What the reserve of every node is for.
#[must_use]
pub fn reservations() -> Vec<pb::Reservation> {
    let all = NODE_RESERVATION.iter();
    all.map(|(category, bytes)| pb::Reservation { category: (*category).to_owned(), bytes: *bytes }).collect()
}

/// The server's identity key, and its signature over the keys that the node is told to believe.
#[must_use]
pub fn vouch(tokens: &Tokens, node: NodeId, issued_at: u64, keys: &[pb::ServerKey]) -> (Bytes, Bytes) {
    let keys: Vec<[u8; 32]> = keys.iter().filter_map(|key| key.public_key[..].try_into().ok()).collect();
    let signature = tokens.vouch(node, issued_at, &keys);
    (Bytes::copy_from_slice(&tokens.identity_key()), Bytes::copy_from_slice(&signature))
}
