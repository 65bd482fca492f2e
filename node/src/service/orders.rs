//! Traffic and what clients signed for it: nobody gets more than a little without an order, and no order is lost.
//!
//! A request counts when it begins, with all bytes that it is about. It is let through if the grant's traffic then stays within
//! [`ORDER_SLACK`] of the newest order. Orders are verified here, without asking anyone; only the highest of a grant is kept. They are
//! written down together, every second and at the latest after [`UNSAVED_MAX`] bytes, so a crash loses no more than that, and less if
//! the client goes on, because it sends its newest order with every request. [`Orders::waiting`] are handed in to the server.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::grant::Grant;
use cyx_core::ids::GrantId;
use cyx_core::order::{ORDER_SLACK, Order, OrderError, Terms};
use cyx_core::units::MIB;
use cyx_proto::status::status;
use redb::{Database, ReadableTable as _, TableDefinition};
use thiserror::Error;
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::facts;
use super::ledger::LedgerError;
use crate::store::Clock;

/// Bytes that orders may grow before they are written down, of all grants together.
pub const UNSAVED_MAX: u64 = 64 * MIB;
/// An order that was handed in is forgotten so many seconds after its grant's end, when nobody can use the grant any more.
const FORGET_SECONDS: u64 = 3600;
/// An order that could not be handed in for so long is worth nothing any more: the server has forgotten the grant.
const WORTHLESS_SECONDS: u64 = 8 * 24 * 3600;

/// Grant id → (its highest order, traffic that the server has counted, end of the grant).
const ORDERS: TableDefinition<'static, &[u8; 16], (&[u8], u64, u64)> = TableDefinition::new("orders.v1");

/// Why nothing is moved.
#[derive(Debug, Error)]
pub enum TrafficError {
    /// The order is not believed.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// More was moved than is signed for.
    #[error("sign an order for the traffic under this grant first")]
    Unsigned,
    /// The grant allows no more.
    #[error("the grant's traffic is used up")]
    UsedUp,
    /// The order cannot be written down.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl TrafficError {
    /// The stable code. What another grant may help against is a denial, because this grant does not do.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Order(OrderError::Malformed(_)) => ErrorCode::InvalidArgument,
            Self::Order(_) | Self::Unsigned | Self::UsedUp => ErrorCode::PermissionDenied,
            Self::Ledger(LedgerError::Stopped) => ErrorCode::Unavailable,
            Self::Ledger(_) => ErrorCode::Internal,
        }
    }

    /// The words for whoever asked. What failed inside stays in the log.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Ledger(LedgerError::File(error)) => {
                tracing::error!(%error, "orders cannot be written down");
                "the node cannot write orders down".to_owned()
            }
            other => other.to_string(),
        }
    }
}

impl From<TrafficError> for Status {
    fn from(error: TrafficError) -> Self {
        super::count_error(error.code());
        status(error.code(), error.words())
    }
}

/// What is known of a grant.
#[derive(Default)]
struct Account {
    /// Bytes of all requests that were begun.
    moved: u64,
    /// Bytes that the client signed for.
    signed: u64,
    /// With this.
    order: Bytes,
    /// What stands on disk: bytes signed for, and bytes counted by the server.
    saved: (u64, u64),
    /// Bytes that the server has counted, or never will.
    counted: u64,
    expires: u64,
}

impl Account {
    const fn is_saved(&self) -> bool {
        self.saved.0 == self.signed && self.saved.1 == self.counted
    }

    const fn is_over(&self, now: u64) -> bool {
        let keep = if self.counted >= self.signed { FORGET_SECONDS } else { WORTHLESS_SECONDS };
        now > self.expires.saturating_add(keep)
    }
}

#[derive(Default)]
struct State {
    accounts: HashMap<GrantId, Account>,
    /// Bytes by which orders grew since they were written down.
    unsaved: u64,
    /// By hour, bytes that the server counted and that stand on disk only as counted of their grants.
    tally: BTreeMap<u64, u64>,
}

struct Shared {
    db: Arc<Database>,
    /// Held while orders are written down.
    saving: Mutex<()>,
    state: Mutex<State>,
    clock: Clock,
}

/// The orders of one node.
#[derive(Clone)]
pub struct Orders {
    shared: Arc<Shared>,
    /// That of the ledger.
    work: TaskTracker,
}

/// Traffic that was let through. Dropping it takes it back unless it was [kept](Self::keep).
#[must_use = "dropping it takes the traffic back"]
pub struct Charged {
    shared: Arc<Shared>,
    grant: GrantId,
    bytes: u64,
}

impl Charged {
    /// The bytes are moved, or the client has been told that they will be.
    pub fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        if self.bytes > 0
            && let Some(account) = self.shared.state().accounts.get_mut(&self.grant)
        {
            account.moved = account.moved.saturating_sub(self.bytes);
        }
    }
}

/// An order that the server has not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its grant.
    pub grant: GrantId,
    /// Bytes that it is for.
    pub traffic: u64,
    /// As the client signed it.
    pub order: Bytes,
}

impl Orders {
    /// Reads what was written down before.
    pub(super) fn open(db: Arc<Database>, clock: Clock, work: TaskTracker) -> Result<Self, LedgerError> {
        let txn = db.begin_write()?;
        let mut state = State::default();
        for item in txn.open_table(ORDERS)?.iter()? {
            let (id, row) = item?;
            let (order, counted, expires) = row.value();
            let order = Bytes::copy_from_slice(order);
            // What this program wrote is readable; a row that is not cannot be handed in either.
            let Ok(Order { traffic, .. }) = Order::read_unchecked(&order) else { continue };
            let saved = (traffic, counted);
            let account = Account { moved: traffic, signed: traffic, order, saved, counted, expires };
            state.accounts.insert(GrantId(*id.value()), account);
        }
        txn.commit()?;
        Ok(Self { shared: Arc::new(Shared { db, saving: Mutex::default(), state: Mutex::new(state), clock }), work })
    }

    /// Takes an order that came with a request, if it is one and newer than the one at hand.
    ///
    /// # Errors
    /// [`TrafficError`].
    pub async fn take(&self, grant: &Grant, order: &Bytes) -> Result<(), TrafficError> {
        if order.is_empty() {
            return Ok(());
        }
        let read = Order::read_unchecked(order).map_err(OrderError::from)?;
        let known = self.shared.state().accounts.get(&grant.id).map_or(0, |account| account.signed);
        if read.grant == grant.id && read.traffic <= known {
            return Ok(());
        }
        let Order { traffic, .. } = Order::verify(order, &Terms::from(grant))?;
        let unsaved = {
            let mut state = self.shared.state();
            let account = state.account(grant);
            let grown = traffic.saturating_sub(account.signed);
            if grown > 0 {
                account.signed = traffic;
                // A copy, because the bytes are a part of a larger message.
                account.order = Bytes::copy_from_slice(order);
                metrics::counter!("cyx_node_orders_total").increment(1);
                metrics::counter!("cyx_node_ordered_bytes_total").increment(grown);
            }
            state.unsaved = state.unsaved.saturating_add(grown);
            state.unsaved
        };
        if unsaved >= UNSAVED_MAX { Ok(self.save().await?) } else { Ok(()) }
    }

    /// Lets a read of so many bytes through.
    ///
    /// # Errors
    /// [`TrafficError::UsedUp`], [`TrafficError::Unsigned`].
    pub fn read(&self, grant: &Grant, bytes: u64) -> Result<Charged, TrafficError> {
        self.charge(grant, bytes, grant.allowance)
    }

    /// Lets a chunk of so many bytes in. What may be stored is the ledger's business; chunks that are sent once more need some room beyond it.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn store(&self, grant: &Grant, bytes: u64) -> Result<Charged, TrafficError> {
        self.charge(grant, bytes, grant.allowance.saturating_add(ORDER_SLACK))
    }

    fn charge(&self, grant: &Grant, bytes: u64, most: u64) -> Result<Charged, TrafficError> {
        let mut state = self.shared.state();
        let account = state.account(grant);
        let moved = account.moved.saturating_add(bytes);
        if moved > most {
            return Err(TrafficError::UsedUp);
        }
        if moved > account.signed.saturating_add(ORDER_SLACK) {
            return Err(TrafficError::Unsigned);
        }
        account.moved = moved;
        Ok(Charged { shared: Arc::clone(&self.shared), grant: grant.id, bytes })
    }

    /// Orders that the server has not counted, at most `limit`, those of the oldest grants first.
    #[must_use]
    pub fn waiting(&self, limit: usize) -> Vec<Waiting> {
        let state = self.shared.state();
        let mut found: Vec<(u64, Waiting)> = state
            .accounts
            .iter()
            .filter(|(_, account)| account.signed > account.counted)
            .map(|(grant, account)| {
                (account.expires, Waiting { grant: *grant, traffic: account.signed, order: account.order.clone() })
            })
            .collect();
        drop(state);
        found.sort_unstable_by_key(|(expires, waiting)| (*expires, waiting.grant));
        found.into_iter().take(limit).map(|(_, waiting)| waiting).collect()
    }

    /// The server counted an order, or (`pays` is false) refused it for good.
    pub fn counted(&self, waiting: &Waiting, pays: bool) {
        let hour = self.shared.clock.now() / facts::HOUR;
        let mut state = self.shared.state();
        let Some(account) = state.accounts.get_mut(&waiting.grant) else { return };
        let grown = waiting.traffic.saturating_sub(account.counted);
        account.counted = account.counted.max(waiting.traffic);
        if pays && grown > 0 {
            *state.tally.entry(hour).or_default() += grown;
        }
    }

    /// Bytes that clients signed for and the server has not counted.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        let waits = |account: &Account| account.signed.saturating_sub(account.counted);
        self.shared.state().accounts.values().map(waits).fold(0, u64::saturating_add)
    }

    /// Whether something is to be written down.
    #[must_use]
    pub fn is_saved(&self) -> bool {
        let state = self.shared.state();
        state.tally.is_empty() && state.accounts.values().all(Account::is_saved)
    }

    /// Writes everything down.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn save(&self) -> Result<(), LedgerError> {
        let orders = self.clone();
        self.work.spawn_blocking(move || orders.save_now()).await.map_err(|_| LedgerError::Stopped)?
    }

    /// As [`Self::save`]; blocks.
    ///
    /// # Errors
    /// [`LedgerError::File`].
    pub fn save_now(&self) -> Result<(), LedgerError> {
        let _saving = self.shared.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.shared.clock.now();
        let (dirty, old, unsaved, tally) = {
            let state = self.shared.state();
            let row = |(id, account): (&GrantId, &Account)| {
                (*id, account.order.clone(), account.signed, account.counted, account.expires)
            };
            let dirty: Vec<_> =
                state.accounts.iter().filter(|(_, a)| !a.is_saved() && !a.is_over(now)).map(row).collect();
            let old: Vec<GrantId> = state.accounts.iter().filter(|(_, a)| a.is_over(now)).map(|(id, _)| *id).collect();
            (dirty, old, state.unsaved, state.tally.clone())
        };
        if dirty.is_empty() && old.is_empty() && tally.is_empty() {
            return Ok(());
        }
        let txn = self.shared.db.begin_write()?;
        {
            let mut table = txn.open_table(ORDERS)?;
            for (id, order, _, counted, expires) in &dirty {
                table.insert(&id.0, (&order[..], *counted, *expires))?;
            }
            for id in &old {
                table.remove(&id.0)?;
            }
        }
        facts::add_counted(&txn, &tally)?;
        txn.commit()?;
        let mut state = self.shared.state();
        for (hour, bytes) in tally {
            if let Some(left) = state.tally.get_mut(&hour) {
                *left = left.saturating_sub(bytes);
            }
        }
        state.tally.retain(|_, bytes| *bytes > 0);
        state.unsaved = state.unsaved.saturating_sub(unsaved);
        for (id, _, signed, counted, _) in dirty {
            if let Some(account) = state.accounts.get_mut(&id) {
                account.saved = (signed, counted);
            }
        }
        for id in old {
            state.accounts.remove(&id);
        }
        Ok(())
    }
}

impl State {
    fn account(&mut self, grant: &Grant) -> &mut Account {
        let fresh = || Account { expires: grant.expires, ..Account::default() };
        self.accounts.entry(grant.id).or_insert_with(fresh)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Ledger;
    use super::*;
    use cyx_core::grant::Operations;
    use cyx_core::ids::{KeyId, NodeId, Random as _};
    use ed25519_dalek::SigningKey;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[3; 32])
    }

    fn grant(allowance: u64) -> Grant {
        Grant {
            key: KeyId([0; 16]),
            id: GrantId::random(),
            node: NodeId([7; 16]),
            session_key: key().verifying_key().to_bytes(),
            operations: Operations::READ,
            allowance,
            not_before: 0,
            expires: 1000,
            tags: vec![],
        }
    }

    fn order(grant: &Grant, traffic: u64) -> Bytes {
        Order { node: grant.node, grant: grant.id, traffic }.sign(&key()).into()
    }

    fn open(folder: &tempfile::TempDir, now: u64) -> Orders {
        Ledger::open(&folder.path().join("ledger"), Clock::new(move || now)).unwrap().orders().clone()
    }

    #[tokio::test]
    async fn nobody_gets_more_than_the_slack_beyond_an_order() {
        let folder = tempfile::tempdir().unwrap();
        let (orders, grant) = (open(&folder, 0), grant(1 << 30));
        orders.read(&grant, ORDER_SLACK).unwrap().keep();
        assert!(matches!(orders.read(&grant, 1), Err(TrafficError::Unsigned)));
        orders.take(&grant, &order(&grant, 10)).await.unwrap();
        orders.read(&grant, 10).unwrap().keep();
        assert!(matches!(orders.store(&grant, 1), Err(TrafficError::Unsigned)));
        // An older order takes nothing back.
        orders.take(&grant, &order(&grant, 5)).await.unwrap();
        drop(orders.read(&grant, 0).unwrap());
    }

    #[tokio::test]
    async fn what_was_not_moved_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let (orders, grant) = (open(&folder, 0), grant(1 << 30));
        drop(orders.read(&grant, ORDER_SLACK).unwrap());
        orders.read(&grant, ORDER_SLACK).unwrap().keep();
    }

    #[tokio::test]
    async fn reads_end_with_the_allowance_and_chunks_may_be_sent_again() {
        let folder = tempfile::tempdir().unwrap();
        let (orders, grant) = (open(&folder, 0), grant(100));
        orders.take(&grant, &order(&grant, 100)).await.unwrap();
        orders.read(&grant, 100).unwrap().keep();
        assert!(matches!(orders.read(&grant, 1), Err(TrafficError::UsedUp)));
        orders.store(&grant, ORDER_SLACK).unwrap().keep();
        assert!(matches!(orders.store(&grant, 1), Err(TrafficError::UsedUp)));
    }

    #[tokio::test]
    async fn foreign_and_excessive_orders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (orders, grant, other) = (open(&folder, 0), grant(100), grant(100));
        let forged: Bytes =
            Order { node: grant.node, grant: grant.id, traffic: 5 }.sign(&SigningKey::from_bytes(&[4; 32])).into();
        let cases = [
            (order(&grant, 101), OrderError::OverLimit),
            (order(&other, 5), OrderError::OtherGrant),
            (order(&Grant { node: NodeId([8; 16]), ..grant.clone() }, 5), OrderError::OtherNode),
            (forged, OrderError::BadSignature),
        ];
        for (order, why) in cases {
            let refused = orders.take(&grant, &order).await.unwrap_err();
            assert!(matches!(refused, TrafficError::Order(error) if error == why), "{refused}");
        }
        assert!(orders.take(&grant, &Bytes::from_static(b"nonsense")).await.is_err());
        assert!(orders.waiting(9).is_empty());
    }

    #[tokio::test]
    async fn the_highest_order_survives_a_crash_once_it_is_written_down() {
        let folder = tempfile::tempdir().unwrap();
        let grant = grant(1 << 30);
        let orders = open(&folder, 0);
        orders.take(&grant, &order(&grant, 5)).await.unwrap();
        orders.take(&grant, &order(&grant, 7)).await.unwrap();
        assert!(!orders.is_saved());
        orders.save().await.unwrap();
        assert!(orders.is_saved());
        orders.take(&grant, &order(&grant, 9)).await.unwrap();
        drop(orders);
        let orders = open(&folder, 0);
        let waiting = orders.waiting(9);
        assert_eq!(waiting, [Waiting { grant: grant.id, traffic: 7, order: order(&grant, 7) }]);
        // What is on disk bounds what is given away again.
        assert!(matches!(orders.read(&grant, ORDER_SLACK + 1), Err(TrafficError::Unsigned)));
        orders.read(&grant, ORDER_SLACK).unwrap().keep();
    }

    #[tokio::test]
    async fn much_traffic_is_written_down_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let grant = grant(1 << 40);
        let orders = open(&folder, 0);
        orders.take(&grant, &order(&grant, UNSAVED_MAX)).await.unwrap();
        assert!(orders.is_saved());
    }

    #[tokio::test]
    async fn what_the_server_counted_is_remembered_by_the_hour() {
        let folder = tempfile::tempdir().unwrap();
        let (paid, refused) = (grant(100), grant(100));
        let ledger = Ledger::open(&folder.path().join("ledger"), Clock::new(|| 7 * facts::HOUR)).unwrap();
        let orders = ledger.orders();
        for (grant, pays) in [(&paid, true), (&refused, false)] {
            orders.take(grant, &order(grant, 50)).await.unwrap();
            let waiting = orders.waiting(9).remove(0);
            orders.counted(&waiting, pays);
            // To be told twice is the same as once.
            orders.counted(&waiting, pays);
        }
        orders.take(&paid, &order(&paid, 60)).await.unwrap();
        assert_eq!(orders.waiting_bytes(), 10);
        orders.counted(&orders.waiting(9).remove(0), true);
        orders.save().await.unwrap();
        assert!(orders.is_saved());
        orders.save().await.unwrap();
        let hours = ledger.facts().between(0, u64::MAX).unwrap();
        assert_eq!(
            hours.iter().map(|hour| (hour.begins, hour.counted_bytes)).collect::<Vec<_>>(),
            [(7 * facts::HOUR, 60)]
        );
    }

    #[tokio::test]
    async fn counted_orders_wait_no_more_and_are_forgotten_after_their_grant() {
        let folder = tempfile::tempdir().unwrap();
        let (counted, never) = (grant(100), grant(100));
        let orders = open(&folder, 0);
        for grant in [&counted, &never] {
            orders.take(grant, &order(grant, 50)).await.unwrap();
        }
        let first = orders.waiting(9).into_iter().find(|waiting| waiting.grant == counted.id).unwrap();
        orders.counted(&first, true);
        assert_eq!(orders.waiting(9).len(), 1);
        // More traffic makes it wait again.
        orders.take(&counted, &order(&counted, 60)).await.unwrap();
        assert_eq!(orders.waiting(9).len(), 2);
        orders.counted(&Waiting { traffic: 60, ..first }, true);
        orders.save().await.unwrap();
        drop(orders);
        let orders = open(&folder, 1001 + FORGET_SECONDS);
        orders.save().await.unwrap();
        assert_eq!(orders.shared.state().accounts.keys().collect::<Vec<_>>(), [&never.id]);
        drop(orders);
        let orders = open(&folder, 1001 + WORTHLESS_SECONDS);
        orders.save().await.unwrap();
        assert!(orders.waiting(9).is_empty());
    }
}
