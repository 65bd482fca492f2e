//! Orders that a node hands in, checked and counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cyx_core::ids::{GrantId, NodeId};
use cyx_core::order::{Order, OrderError};
use cyx_proto::node::v1 as pb;

use super::rows::{self, Grown, Issued};
use crate::db::{Backend, Conn, Db, DbError};
use crate::error::ApiError;
use crate::ledger::traffic;
use crate::time::now_seconds;

/// Most orders of one call.
pub const ORDERS_MAX: usize = 1000;
/// Orders that are counted in one transaction.
const BATCH: usize = 100;

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It counts, with so many bytes more than the grant had before.
    Counted { grown: u64, settled: u64 },
    /// It does not count.
    Refused { why: &'static str, settled: u64 },
}

/// Takes a node's orders, each on its own. Handing one in twice changes nothing.
///
/// # Errors
/// [`ApiError`] if the database fails, or for too many at once.
pub async fn hand_in(db: &Db, node: NodeId, orders: Vec<Bytes>) -> Result<Vec<pb::OrderResult>, ApiError> {
    if orders.len() > ORDERS_MAX {
        return Err(ApiError::invalid(format!("at most {ORDERS_MAX} orders at once")));
    }
    let backend = db.backend();
    let mut outcomes = Vec::with_capacity(orders.len());
    for batch in orders.chunks(BATCH) {
        let batch: Arc<[Bytes]> = batch.into();
        let now = now_seconds();
        let done = db.write(move |conn| {
            let batch = Arc::clone(&batch);
            Box::pin(async move { take(conn, backend, node, &batch, now).await })
        });
        outcomes.extend(done.await?);
    }
    Ok(outcomes.into_iter().map(|outcome| report(node, outcome)).collect())
}

async fn take(
    conn: &mut Conn,
    backend: Backend,
    node: NodeId,
    batch: &[Bytes],
    now: u64,
) -> Result<Vec<Outcome>, DbError> {
    let grants: Vec<Option<GrantId>> =
        batch.iter().map(|bytes| Some(Order::read_unchecked(bytes).ok()?.grant)).collect();
    let issued = rows::issued(conn, backend, &grants.iter().flatten().copied().collect()).await?;
    let mut grown = BTreeMap::new();
    let mut outcomes = Vec::with_capacity(batch.len());
    for (bytes, grant) in batch.iter().zip(grants) {
        let issued = grant.and_then(|grant| issued.get(&grant));
        outcomes.push(match issued {
            Some(issued) => count(issued, node, bytes, &mut grown),
            None if grant.is_none() => Outcome::Refused { why: "malformed", settled: 0 },
            None => Outcome::Refused { why: "unknown_grant", settled: 0 },
        });
    }
    let grown: Vec<Grown<'_>> = grown.into_values().collect();
    rows::settle(conn, &grown, now).await?;
    traffic::note(conn, backend, &grown).await?;
    Ok(outcomes)
}

/// Checks one order and notes what its grant grows to. Others of the same batch may have been for the same grant.
fn count<'a>(issued: &Issued, node: NodeId, bytes: &'a [u8], grown: &mut BTreeMap<GrantId, Grown<'a>>) -> Outcome {
    let grant = issued.terms.grant;
    let settled = grown.get(&grant).map_or(issued.settled, |grown| grown.traffic);
    let refused = |why, settled| Outcome::Refused { why, settled };
    if issued.terms.node != node {
        return refused("other_node", 0);
    }
    let order = match Order::verify(bytes, &issued.terms) {
        Ok(order) => order,
        Err(OrderError::Malformed(_)) => return refused("malformed", settled),
        Err(OrderError::OtherNode | OrderError::OtherGrant) => return refused("other_node", settled),
        Err(OrderError::OverLimit) => return refused("over_limit", settled),
        Err(OrderError::BadSignature) => return refused("bad_signature", settled),
    };
    if order.traffic <= settled {
        return refused("already_counted", settled);
    }
    grown.insert(grant, Grown { issued: *issued, traffic: order.traffic, order: bytes });
    Outcome::Counted { grown: order.traffic - settled, settled: order.traffic }
}

fn report(node: NodeId, outcome: Outcome) -> pb::OrderResult {
    match outcome {
        Outcome::Counted { grown, settled } => {
            metrics::counter!("cyx_orders_total", "result" => "counted").increment(1);
            metrics::counter!("cyx_traffic_settled_bytes_total").increment(grown);
            pb::OrderResult { refused: String::new(), settled_bytes: settled }
        }
        Outcome::Refused { why, settled } => {
            metrics::counter!("cyx_orders_total", "result" => why).increment(1);
            if why != "already_counted" {
                tracing::warn!(%node, why, "an order does not count");
            }
            pb::OrderResult { refused: why.to_owned(), settled_bytes: settled }
        }
    }
}
