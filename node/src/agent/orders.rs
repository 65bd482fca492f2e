//! What becomes of clients' orders: written down every second, handed in to the server every few seconds.

use std::sync::Arc;
use std::time::Duration;

use cyx_proto::convert;
use cyx_proto::node::v1::HandInOrdersRequest;

use super::error::Error;
use super::link::Caller;
use crate::service::Node;

/// Between two looks at whether something is to be written down.
const SAVE: Duration = Duration::from_secs(1);
/// Between two times that orders are handed in.
pub(crate) const HAND_IN: Duration = Duration::from_secs(5);
/// Orders of one call.
const BATCH: usize = 1000;

/// Writes orders down until it is dropped.
pub(crate) async fn save(node: Arc<Node>) {
    loop {
        tokio::time::sleep(SAVE).await;
        let orders = node.ledger.orders();
        if !orders.is_saved()
            && let Err(error) = orders.save().await
        {
            tracing::error!(%error, "orders cannot be written down");
        }
    }
}

/// Hands orders in until it is dropped. What the server does not take now is handed in later.
pub(crate) async fn hand_in(mut caller: Caller, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        if let Err(error) = hand_in_now(&mut caller).await {
            metrics::counter!("cyx_node_hand_in_failures_total").increment(1);
            tracing::warn!(%error, "orders were not handed in");
        }
    }
}

/// Hands in what waits.
///
/// # Errors
/// [`Error`].
pub(crate) async fn hand_in_now(caller: &mut Caller) -> Result<(), Error> {
    let what = "orders for traffic";
    loop {
        let waiting = caller.node.ledger.orders().waiting(BATCH);
        if waiting.is_empty() {
            return Ok(());
        }
        let message = HandInOrdersRequest {
            node_id: convert::bytes_of(caller.node.identity.id()),
            orders: waiting.iter().map(|waiting| waiting.order.clone()).collect(),
        };
        let request = caller.with_token(message).await?;
        let results = match caller.rpc.hand_in_orders(request).await {
            Ok(answer) => answer.into_inner().results,
            Err(status) => return Err(caller.refused(what, status).await),
        };
        if results.len() != waiting.len() {
            return Err(Error::Nonsense { what, reason: "it answers for others than were handed in".to_owned() });
        }
        for (waiting, result) in waiting.iter().zip(results) {
            let pays = matches!(&*result.refused, "" | "already_counted");
            if !pays {
                let why: String = result.refused.chars().filter(char::is_ascii_graphic).take(40).collect();
                metrics::counter!("cyx_node_orders_refused_total").increment(1);
                tracing::warn!(grant = %waiting.grant, bytes = waiting.traffic, why, "the server refused an order");
            }
            // What was refused is refused for good, and is not handed in again.
            caller.node.ledger.orders().counted(waiting, pays);
        }
    }
}
