//! Orders by which traffic is paid: the highest of each grant in each epoch, as the client signed it.
//!
//! An order is for all traffic under its grant, so the one of an epoch pays for what it is more than the one before. Written in the
//! transaction in which the order counts.

use cyx_core::order::Terms;

use super::{epoch, signed};
use crate::db::{Backend, Conn, DbError};

/// Notes that an order counts: under its terms `before` bytes had been counted, and now it is `traffic`.
///
/// # Errors
/// [`DbError`].
pub async fn note(
    conn: &mut Conn,
    backend: Backend,
    terms: &Terms,
    before: u64,
    traffic: u64,
    order: &[u8],
) -> Result<(), DbError> {
    let epoch = epoch::keep_open(conn, backend).await?;
    sqlx::query(
        "INSERT INTO ledger_order (epoch, grant_id, node, session_key, allowance, paid_before, traffic, content) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (epoch, grant_id) DO UPDATE SET traffic = excluded.traffic, content = excluded.content",
    )
    .bind(epoch)
    .bind(terms.grant.to_vec())
    .bind(terms.node.to_vec())
    .bind(terms.session_key.to_vec())
    .bind(signed(terms.allowance))
    .bind(signed(before))
    .bind(signed(traffic))
    .bind(order.to_vec())
    .execute(conn)
    .await?;
    Ok(())
}
