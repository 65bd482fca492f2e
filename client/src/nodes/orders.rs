//! What this client signs about its traffic: nodes are paid by orders and serve only a little ahead of them.
//!
//! Traffic is counted per grant when a request begins, with all bytes that it is about. The first request under a grant brings an
//! order, and then whenever the traffic has grown by [`cyx_core::order::step`]; every request brings the newest order again, so that
//! one that got lost holds nothing up.
//!
//! Nodes count per grant too, so a grant must not be used by two programs that do not know of each other: the server gives each program
//! grants of its own ([`cyx_proto::status::READER_KEY`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cyx_core::ids::{GrantId, NodeId};
use cyx_core::order::{Order, step};

use super::access::AccessGrant;
use super::{Problem, SessionProof};
use crate::clock::unix_seconds;

/// Above so many grants those that are over are forgotten.
const REMEMBERED: usize = 4096;

#[derive(Default)]
struct Account {
    /// Bytes of all requests that were begun.
    moved: u64,
    signed: u64,
    order: Bytes,
    expires: u64,
}

/// The traffic under all grants that one program has for a session.
#[derive(Default)]
pub struct Orders {
    accounts: Mutex<HashMap<GrantId, Account>>,
}

/// Traffic that was counted. Dropping it leaves it counted: the node counts what it began to send, whoever breaks off.
pub(crate) struct Counted<'a> {
    orders: &'a Orders,
    grant: GrantId,
    bytes: u64,
    /// The newest order, for the request.
    pub(crate) order: Bytes,
}

impl Counted<'_> {
    /// The node refused the request before anything moved.
    pub(crate) fn refused(self) {
        if let Some(account) = self.orders.accounts().get_mut(&self.grant) {
            // What is signed for is paid, moved or not; the next requests use it up.
            account.moved = account.moved.saturating_sub(self.bytes);
        }
    }
}

impl Orders {
    /// Counts a request that is about to begin and signs for it if it is time to.
    ///
    /// # Errors
    /// [`Problem::UsedUp`] if the grant does not allow a read of so many bytes any more; what may be stored, its node decides.
    pub(crate) fn begin(
        &self,
        session: &Arc<dyn SessionProof>,
        (node, grant): (NodeId, &AccessGrant),
        bytes: u64,
        reads: bool,
    ) -> Result<Counted<'_>, Problem> {
        let mut accounts = self.accounts();
        if accounts.len() >= REMEMBERED {
            let now = unix_seconds();
            accounts.retain(|_, account| account.expires > now);
        }
        let fresh = || Account { expires: grant.expires, ..Account::default() };
        let account = accounts.entry(grant.id).or_insert_with(fresh);
        let moved = account.moved.saturating_add(bytes);
        if reads && moved > grant.allowance {
            return Err(Problem::UsedUp);
        }
        account.moved = moved;
        // Chunks that are sent once more can exceed the allowance, which no order may.
        let due = moved.min(grant.allowance);
        if account.order.is_empty() || due > account.signed.saturating_add(step(account.signed)) {
            let order = Order { node, grant: grant.id, traffic: due.max(account.signed) };
            account.signed = order.traffic;
            let body = order.body();
            account.order = [&body[..], &session.order(&body)].concat().into();
        }
        let order = account.order.clone();
        drop(accounts);
        Ok(Counted { orders: self, grant: grant.id, bytes, order })
    }

    /// Whether a grant still allows a read of so many bytes.
    pub(crate) fn allows(&self, grant: &AccessGrant, bytes: u64) -> bool {
        let moved = self.accounts().get(&grant.id).map_or(0, |account| account.moved);
        moved.saturating_add(bytes) <= grant.allowance
    }

    /// Whether half of what a grant allows was moved.
    pub(crate) fn is_half_spent(&self, grant: &AccessGrant) -> bool {
        self.accounts().get(&grant.id).is_some_and(|account| account.moved >= grant.allowance / 2)
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<GrantId, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::ids::BucketTag;
    use cyx_core::order::{ORDER_SLACK, ORDER_STEP, Terms};
    use cyx_core::sign::{self, Purpose, SIGNATURE_LEN};
    use cyx_core::units::MIB;
    use ed25519_dalek::SigningKey;

    const NODE: NodeId = NodeId([1; 16]);

    struct Key(SigningKey);

    impl SessionProof for Key {
        fn public_key(&self) -> [u8; 32] {
            self.0.verifying_key().to_bytes()
        }
        fn prove(&self, _body: &[u8]) -> [u8; SIGNATURE_LEN] {
            unreachable!("nothing is proven here")
        }
        fn order(&self, body: &[u8]) -> [u8; SIGNATURE_LEN] {
            sign::sign(&self.0, Purpose::Order, body)
        }
    }

    fn session() -> Arc<dyn SessionProof> {
        Arc::new(Key(SigningKey::from_bytes(&[5; 32])))
    }

    fn grant(allowance: u64) -> AccessGrant {
        let (id, tag) = (GrantId([3; 16]), BucketTag([4; 16]));
        AccessGrant { bytes: Bytes::new(), id, not_before: 0, expires: u64::MAX, allowance, tag }
    }

    fn read(order: &[u8], allowance: u64) -> u64 {
        let terms = Terms { node: NODE, grant: GrantId([3; 16]), session_key: session().public_key(), allowance };
        Order::verify(order, &terms).unwrap().traffic
    }

    #[test]
    fn signatures_are_few_and_what_is_not_signed_stays_small() {
        let (orders, session, grant) = (Orders::default(), session(), grant(1 << 40));
        let (mut signatures, mut last) = (0, Bytes::new());
        let piece = 512 * 1024;
        for count in 1..=2048_u64 {
            let counted = orders.begin(&session, (NODE, &grant), piece, true).unwrap();
            signatures += u32::from(counted.order != last);
            last = counted.order.clone();
            let (moved, signed) = (count * piece, read(&last, u64::MAX));
            assert!(signed <= moved && moved - signed <= (signed / 4).clamp(64 * 1024, ORDER_STEP));
        }
        assert!(signatures < 300, "{signatures} for a GiB");
    }

    #[test]
    fn every_request_brings_the_newest_order() {
        let (orders, session, grant) = (Orders::default(), session(), grant(1 << 40));
        let first = orders.begin(&session, (NODE, &grant), MIB, true).unwrap().order;
        let second = orders.begin(&session, (NODE, &grant), 1, true).unwrap().order;
        assert_eq!(first, second);
        assert_eq!(read(&first, MIB), MIB);
    }

    #[test]
    fn reads_end_with_the_allowance_and_orders_never_exceed_it() {
        let (orders, session, grant) = (Orders::default(), session(), grant(100));
        drop(orders.begin(&session, (NODE, &grant), 60, true).unwrap());
        assert!(matches!(orders.begin(&session, (NODE, &grant), 41, true), Err(Problem::UsedUp)));
        assert!(orders.is_half_spent(&grant) && orders.allows(&grant, 40) && !orders.allows(&grant, 41));
        drop(orders.begin(&session, (NODE, &grant), 40, true).unwrap());
        let resent = orders.begin(&session, (NODE, &grant), ORDER_SLACK, false).unwrap();
        assert!(read(&resent.order, 100) <= 100);
    }

    #[test]
    fn what_was_refused_does_not_count() {
        let (orders, session, grant) = (Orders::default(), session(), grant(100));
        orders.begin(&session, (NODE, &grant), 100, true).unwrap().refused();
        drop(orders.begin(&session, (NODE, &grant), 100, true).unwrap());
    }
}
