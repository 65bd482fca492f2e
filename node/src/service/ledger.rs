//! How much of each grant's allowance is used, so that a grant cannot be used twice, not even across a crash.
//!
//! What stands on disk is always ahead of what is used: a block is reserved durably before its first byte is used. After a
//! crash all that was reserved counts as used; at most a block is forfeited. An orderly end writes the exact figures.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cyx_core::grant::Grant;
use cyx_core::ids::GrantId;
use cyx_core::units::MIB;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use thiserror::Error;
use tokio_util::task::TaskTracker;

use super::facts::Facts;
use super::orders::Orders;
use crate::store::Clock;

/// Bytes reserved at a time.
pub const BLOCK: u64 = 64 * MIB;
/// Grants are forgotten this many seconds after their end, when no clock can still take them for valid.
const FORGET_SECONDS: u64 = 3600;
const CACHE: usize = 1 << 20;

/// Grant id → (bytes reserved, end of the grant).
const GRANTS: TableDefinition<'static, &[u8; 16], (u64, u64)> = TableDefinition::new("grants.v1");
const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta.v1");

/// Why nothing may be stored under a grant any more, or it cannot be noted.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The allowance is used up.
    #[error("the grant's allowance is used up")]
    Exhausted,
    /// The ledger's file failed.
    #[error("the ledger failed: {0}")]
    File(#[from] Box<redb::Error>),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Stopped,
}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for LedgerError {
            fn from(error: $error) -> Self {
                Self::File(Box::new(error.into()))
            }
        })*
    };
}
from_redb!(redb::DatabaseError, redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);

#[derive(Clone, Copy)]
struct Account {
    used: u64,
    reserved: u64,
    expires: u64,
}

struct Shared {
    db: Arc<Database>,
    reserving: Mutex<()>,
    accounts: Mutex<HashMap<GrantId, Account>>,
    clock: Clock,
}

/// The ledger of one node.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
    orders: Orders,
    facts: Facts,
    /// Work on other threads, which goes on when whoever asked for it is gone.
    work: TaskTracker,
}

/// Allowance that was taken. Dropping it gives it back unless it was [kept](Self::keep).
#[must_use = "dropping it gives the allowance back"]
pub struct Taken {
    shared: Arc<Shared>,
    grant: GrantId,
    bytes: u64,
}

impl Taken {
    /// The bytes are used for good.
    pub fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.bytes > 0
            && let Some(account) = self.shared.accounts().get_mut(&self.grant)
        {
            account.used = account.used.saturating_sub(self.bytes);
        }
    }
}

impl Ledger {
    /// Opens or makes the ledger's file.
    ///
    /// # Errors
    /// [`LedgerError::File`].
    pub fn open(path: &Path, clock: Clock) -> Result<Self, LedgerError> {
        let db = Arc::new(Database::builder().set_cache_size(CACHE).create(path)?);
        let txn = db.begin_write()?;
        let mut accounts = HashMap::new();
        {
            let table = txn.open_table(GRANTS)?;
            for item in table.iter()? {
                let (id, row) = item?;
                let (reserved, expires) = row.value();
                accounts.insert(GrantId(*id.value()), Account { used: reserved, reserved, expires });
            }
            txn.open_table(META)?;
        }
        txn.commit()?;
        let facts = Facts::open(Arc::clone(&db))?;
        let work = TaskTracker::new();
        let orders = Orders::open(Arc::clone(&db), clock.clone(), work.clone())?;
        let shared = Shared { db, reserving: Mutex::default(), accounts: Mutex::new(accounts), clock };
        Ok(Self { shared: Arc::new(shared), orders, facts, work })
    }

    /// What clients signed for.
    #[must_use]
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// What the node is paid for, as it remembers it.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Takes `bytes` of a grant's allowance, having reserved them durably before.
    ///
    /// # Errors
    /// [`LedgerError::Exhausted`] if they would exceed it.
    pub async fn take(&self, grant: &Grant, bytes: u64) -> Result<Taken, LedgerError> {
        if self.shared.take_reserved(grant, bytes)? {
            return Ok(self.taken(grant, bytes));
        }
        let (shared, grant_id) = (Arc::clone(&self.shared), grant.id);
        let (allowance, expires) = (grant.allowance, grant.expires);
        let work = move || shared.reserve_and_take(grant_id, bytes, allowance, expires);
        self.work.spawn_blocking(work).await.map_err(|_| LedgerError::Stopped)??;
        Ok(self.taken(grant, bytes))
    }

    /// Runs what may wait for the disk where waiting is allowed.
    ///
    /// # Errors
    /// Those of the work, and [`LedgerError::Stopped`].
    pub(crate) async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<R, LedgerError> + Send + 'static,
    ) -> Result<R, LedgerError> {
        let ledger = self.clone();
        self.work.spawn_blocking(move || work(&ledger)).await.map_err(|_| LedgerError::Stopped)?
    }

    /// As [`Self::settle`], when what was asked of it is done: dropping it frees its file then.
    ///
    /// # Errors
    /// [`LedgerError::File`].
    pub(crate) async fn close(&self) -> Result<(), LedgerError> {
        self.work.close();
        self.work.wait().await;
        self.blocking(Self::settle).await
    }

    fn taken(&self, grant: &Grant, bytes: u64) -> Taken {
        Taken { shared: Arc::clone(&self.shared), grant: grant.id, bytes }
    }

    /// Writes what is really used, so that an orderly end forfeits nothing. Nothing may be taken after it.
    ///
    /// # Errors
    /// [`LedgerError::File`].
    pub fn settle(&self) -> Result<(), LedgerError> {
        self.orders.save_now()?;
        let _reserving = self.shared.reserving.lock().unwrap_or_else(PoisonError::into_inner);
        let mut accounts = self.shared.accounts();
        let txn = self.shared.db.begin_write()?;
        {
            let mut table = txn.open_table(GRANTS)?;
            for (id, account) in accounts.iter() {
                table.insert(&id.0, (account.used, account.expires))?;
            }
        }
        txn.commit()?;
        for account in accounts.values_mut() {
            account.reserved = account.used;
        }
        Ok(())
    }

    /// Remembers a fact that has to survive a restart.
    ///
    /// # Errors
    /// [`LedgerError::File`].
    pub fn set_meta(&self, name: &str, value: &[u8]) -> Result<(), LedgerError> {
        let txn = self.shared.db.begin_write()?;
        txn.open_table(META)?.insert(name, value)?;
        Ok(txn.commit()?)
    }

    /// A fact remembered before.
    ///
    /// # Errors
    /// [`LedgerError::File`].
    pub fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        let table = self.shared.db.begin_read()?.open_table(META)?;
        Ok(table.get(name)?.map(|value| value.value().to_vec()))
    }
}

impl Shared {
    fn accounts(&self) -> MutexGuard<'_, HashMap<GrantId, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is reserved already. `false` if more has to be reserved first.
    fn take_reserved(&self, grant: &Grant, bytes: u64) -> Result<bool, LedgerError> {
        let mut accounts = self.accounts();
        let Some(account) = accounts.get_mut(&grant.id) else { return Ok(false) };
        let wanted = account.used.checked_add(bytes).filter(|wanted| *wanted <= grant.allowance);
        let wanted = wanted.ok_or(LedgerError::Exhausted)?;
        if wanted > account.reserved {
            return Ok(false);
        }
        account.used = wanted;
        Ok(true)
    }

    /// Reserves blocks until the bytes can be taken. One at a time, so that streams of one grant do not reserve past each other.
    fn reserve_and_take(&self, grant: GrantId, bytes: u64, allowance: u64, expires: u64) -> Result<(), LedgerError> {
        let _reserving = self.reserving.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let reserved = {
                let mut accounts = self.accounts();
                let account = accounts.entry(grant).or_insert(Account { used: 0, reserved: 0, expires });
                let wanted = account.used.checked_add(bytes).filter(|wanted| *wanted <= allowance);
                let wanted = wanted.ok_or(LedgerError::Exhausted)?;
                if wanted <= account.reserved {
                    account.used = wanted;
                    return Ok(());
                }
                wanted.max(account.reserved.saturating_add(BLOCK)).min(allowance)
            };
            self.reserve(grant, reserved, expires)?;
        }
    }

    fn reserve(&self, grant: GrantId, reserved: u64, expires: u64) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let is_old = |account: &Account| now > account.expires.saturating_add(FORGET_SECONDS);
        let forget = |(id, account): (&GrantId, &Account)| (*id != grant && is_old(account)).then_some(*id);
        let old: Vec<GrantId> = self.accounts().iter().filter_map(forget).collect();
        let txn = self.db.begin_write()?;
        {
            let mut table = txn.open_table(GRANTS)?;
            table.insert(&grant.0, (reserved, expires))?;
            for id in &old {
                table.remove(&id.0)?;
            }
        }
        txn.commit()?;
        let mut accounts = self.accounts();
        for id in old {
            accounts.remove(&id);
        }
        if let Some(account) = accounts.get_mut(&grant) {
            account.reserved = reserved;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::grant::Operations;
    use cyx_core::ids::{KeyId, NodeId, Random as _};

    fn grant(allowance: u64) -> Grant {
        Grant {
            key: KeyId([0; 16]),
            id: GrantId::random(),
            node: NodeId([0; 16]),
            session_key: [0; 32],
            operations: Operations::STORE,
            allowance,
            not_before: 0,
            expires: 1000,
            tags: vec![],
        }
    }

    fn open(folder: &tempfile::TempDir, now: u64) -> Ledger {
        Ledger::open(&folder.path().join("ledger"), Clock::new(move || now)).unwrap()
    }

    async fn use_up(ledger: &Ledger, grant: &Grant, bytes: u64) -> Result<(), LedgerError> {
        ledger.take(grant, bytes).await.map(Taken::keep)
    }

    #[tokio::test]
    async fn an_allowance_is_never_exceeded_by_a_byte() {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, grant) = (open(&folder, 0), grant(3 * BLOCK + 5));
        for _ in 0..3 {
            use_up(&ledger, &grant, BLOCK).await.unwrap();
        }
        assert!(matches!(use_up(&ledger, &grant, 6).await, Err(LedgerError::Exhausted)));
        use_up(&ledger, &grant, 5).await.unwrap();
        assert!(matches!(use_up(&ledger, &grant, 1).await, Err(LedgerError::Exhausted)));
        assert!(matches!(use_up(&ledger, &grant, u64::MAX).await, Err(LedgerError::Exhausted)));
    }

    #[tokio::test]
    async fn what_is_given_back_can_be_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, grant) = (open(&folder, 0), grant(100));
        drop(ledger.take(&grant, 100).await.unwrap());
        use_up(&ledger, &grant, 100).await.unwrap();
        assert!(use_up(&ledger, &grant, 1).await.is_err());
    }

    #[tokio::test]
    async fn a_crash_forfeits_a_block_at_most_and_gives_nothing_back() {
        let folder = tempfile::tempdir().unwrap();
        let grant = grant(3 * BLOCK);
        let ledger = open(&folder, 0);
        use_up(&ledger, &grant, 10).await.unwrap();
        drop(ledger);
        let ledger = open(&folder, 0);
        assert!(matches!(use_up(&ledger, &grant, 2 * BLOCK + 1).await, Err(LedgerError::Exhausted)));
        use_up(&ledger, &grant, 2 * BLOCK).await.unwrap();
    }

    #[tokio::test]
    async fn an_orderly_end_forfeits_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let grant = grant(BLOCK);
        let ledger = open(&folder, 0);
        use_up(&ledger, &grant, 10).await.unwrap();
        ledger.settle().unwrap();
        drop(ledger);
        let ledger = open(&folder, 0);
        assert!(matches!(use_up(&ledger, &grant, BLOCK - 9).await, Err(LedgerError::Exhausted)));
        use_up(&ledger, &grant, BLOCK - 10).await.unwrap();
    }

    #[tokio::test]
    async fn grants_are_forgotten_long_after_their_end() {
        let folder = tempfile::tempdir().unwrap();
        let ended = grant(100);
        use_up(&open(&folder, 0), &ended, 50).await.unwrap();
        let ledger = open(&folder, 1000 + FORGET_SECONDS);
        use_up(&ledger, &grant(1), 1).await.unwrap();
        assert_eq!(ledger.shared.accounts().len(), 2);
        let ledger = {
            drop(ledger);
            open(&folder, 1001 + FORGET_SECONDS)
        };
        use_up(&ledger, &grant(1), 1).await.unwrap();
        assert!(!ledger.shared.accounts().contains_key(&ended.id));
    }
}
