//! The node's own record of what it is paid for, hour by hour: traffic that the server counted, and bytes that were held.
//!
//! The server's statements can be held against it (`cyx node earnings --verify`). It is the node's memory, not a proof: what proves
//! traffic are the orders.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};
use serde::Serialize;

use super::ledger::LedgerError;

/// Seconds of an hour.
pub const HOUR: u64 = 3600;
/// Hours that are remembered: two years and a bit.
const REMEMBERED: u64 = 800 * 24;
/// Most hours of one answer.
const HOURS_MAX: usize = 24 * 32;

/// Hours since 1970 → bytes of orders that the server counted in it.
const COUNTED: TableDefinition<'static, u64, u64> = TableDefinition::new("counted.v1");
/// Hours since 1970 → bytes of live chunks, as they were in it.
const HELD: TableDefinition<'static, u64, u64> = TableDefinition::new("held.v1");

/// What is remembered of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Hour {
    /// Unix second at which it begins.
    pub begins: u64,
    /// Bytes of orders that the server counted.
    pub counted_bytes: u64,
    /// Bytes of live chunks, if they were looked at.
    pub held_bytes: Option<u64>,
}

/// The record.
#[derive(Clone)]
pub struct Facts {
    db: Arc<Database>,
}

impl Facts {
    pub(super) fn open(db: Arc<Database>) -> Result<Self, LedgerError> {
        let txn = db.begin_write()?;
        txn.open_table(COUNTED)?;
        txn.open_table(HELD)?;
        txn.commit()?;
        Ok(Self { db })
    }

    /// Remembers how many bytes are held at `now` (Unix seconds), once an hour, and forgets what is very old.
    ///
    /// # Errors
    /// [`LedgerError::File`].
    pub fn note_held(&self, now: u64, bytes: u64) -> Result<(), LedgerError> {
        let hour = now / HOUR;
        if self.db.begin_read()?.open_table(HELD)?.get(hour)?.is_some() {
            return Ok(());
        }
        let txn = self.db.begin_write()?;
        txn.open_table(HELD)?.insert(hour, bytes)?;
        for table in [HELD, COUNTED] {
            txn.open_table(table)?.retain_in(..hour.saturating_sub(REMEMBERED), |_, _| false)?;
        }
        Ok(txn.commit()?)
    }

    /// What is remembered of the hours that touch `[from, to)` (Unix seconds), the first of them if they are very many.
    ///
    /// # Errors
    /// [`LedgerError::File`].
    pub fn between(&self, from: u64, to: u64) -> Result<Vec<Hour>, LedgerError> {
        let txn = self.db.begin_read()?;
        let range = from / HOUR..to.div_ceil(HOUR).max(from / HOUR);
        let mut found: BTreeMap<u64, Hour> = BTreeMap::new();
        for item in txn.open_table(COUNTED)?.range(range.clone())?.take(HOURS_MAX) {
            let (hour, bytes) = item?;
            found.entry(hour.value()).or_default().counted_bytes = bytes.value();
        }
        for item in txn.open_table(HELD)?.range(range)?.take(HOURS_MAX) {
            let (hour, bytes) = item?;
            found.entry(hour.value()).or_default().held_bytes = Some(bytes.value());
        }
        let hours = found.into_iter().take(HOURS_MAX);
        Ok(hours.map(|(hour, found)| Hour { begins: hour.saturating_mul(HOUR), ..found }).collect())
    }
}

/// Adds bytes that were counted, in the transaction that writes the orders down.
pub(super) fn add_counted(txn: &WriteTransaction, counted: &BTreeMap<u64, u64>) -> Result<(), LedgerError> {
    let mut table = txn.open_table(COUNTED)?;
    for (hour, bytes) in counted {
        let before = table.get(*hour)?.map_or(0, |bytes| bytes.value());
        table.insert(*hour, before.saturating_add(*bytes))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Ledger;
    use super::*;
    use crate::store::Clock;

    #[test]
    fn an_hour_is_looked_at_once_and_forgotten_after_years() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&folder.path().join("ledger"), Clock::new(|| 0)).unwrap();
        let facts = ledger.facts();
        facts.note_held(2 * HOUR, 5).unwrap();
        facts.note_held(2 * HOUR + 3599, 6).unwrap();
        facts.note_held(3 * HOUR, 7).unwrap();
        let held = |hour: u64, bytes| Hour { begins: hour * HOUR, counted_bytes: 0, held_bytes: Some(bytes) };
        assert_eq!(facts.between(0, 10 * HOUR).unwrap(), [held(2, 5), held(3, 7)]);
        assert_eq!(facts.between(2 * HOUR + 1, 2 * HOUR + 2).unwrap(), [held(2, 5)]);
        assert_eq!(facts.between(4 * HOUR, 10 * HOUR).unwrap(), []);
        assert_eq!(facts.between(10 * HOUR, 0).unwrap(), []);
        facts.note_held((REMEMBERED + 3) * HOUR, 8).unwrap();
        assert_eq!(facts.between(0, 10 * HOUR).unwrap(), [held(3, 7)]);
    }
}
