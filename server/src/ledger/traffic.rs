//! Orders by which traffic is paid: the highest of each grant in each epoch, as the client signed it.
//!
//! An order is for all traffic under its grant, so the one of an epoch pays for what it is more than the one before. Written in the
//! transaction in which the order counts.

use super::{epoch, signed};
use crate::db::{Backend, Conn, DbError, insert_many};
use crate::orders::Grown;

/// Notes what orders count for, one for each grant.
///
/// # Errors
/// [`DbError`].
pub async fn note(conn: &mut Conn, backend: Backend, grown: &[Grown<'_>]) -> Result<(), DbError> {
    if grown.is_empty() {
        return Ok(());
    }
    let epoch = epoch::keep_open(conn, backend).await?;
    let head =
        "INSERT INTO ledger_order (epoch, grant_id, node, session_key, allowance, paid_before, traffic, content)";
    let tail = "ON CONFLICT (epoch, grant_id) DO UPDATE SET traffic = excluded.traffic, content = excluded.content";
    insert_many(conn, head, 8, tail, grown, |statement, grown| {
        let terms = &grown.issued.terms;
        statement
            .bind(epoch)
            .bind(terms.grant.to_vec())
            .bind(terms.node.to_vec())
            .bind(terms.session_key.to_vec())
            .bind(signed(terms.allowance))
            .bind(signed(grown.issued.settled))
            .bind(signed(grown.traffic))
            .bind(grown.order.to_vec())
    })
    .await?;
    Ok(())
}
