//! Epochs: one follows the other, and the last one is open.

use cyx_core::earnings::Rates;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{PayOptions, signed, unsigned};
use crate::db::{Backend, Conn, DbError};

/// An epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// Counted from 1.
    pub id: i64,
    /// Unix second.
    pub begins: u64,
    /// Unix second behind its last.
    pub ends: u64,
    /// What is paid in it.
    pub rates: Rates,
    /// Of an operator's pay, so many hundredths are held.
    pub hold_percent: u64,
    /// Unix nanoseconds; 0 while it is open.
    pub closed_ns: i64,
}

/// Begins every query that [`read`] understands.
pub(super) const SELECT: &str =
    "SELECT id, begins, ends, storage_rate, traffic_rate, hold_percent, closed_ns FROM ledger_epoch";

/// An epoch from its row.
pub(super) fn read(row: &AnyRow) -> Result<Epoch, DbError> {
    Ok(Epoch {
        id: row.try_get(0)?,
        begins: unsigned(row, 1)?,
        ends: unsigned(row, 2)?,
        rates: Rates { storage: unsigned(row, 3)?, traffic: unsigned(row, 4)? },
        hold_percent: unsigned(row, 5)?,
        closed_ns: row.try_get(6)?,
    })
}

/// The open epoch, as a snapshot shows it.
///
/// # Errors
/// [`DbError`].
pub async fn open(conn: &mut Conn) -> Result<Epoch, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} WHERE closed_ns = 0 ORDER BY id DESC LIMIT 1"));
    let row = sqlx::query(text).fetch_optional(conn).await?;
    read(&row.ok_or(DbError::Corrupt("there is no open epoch"))?)
}

/// The id of the open epoch, which cannot be closed before the transaction ends.
///
/// # Errors
/// [`DbError`].
pub(super) async fn keep_open(conn: &mut Conn, backend: Backend) -> Result<i64, DbError> {
    let lock = backend.for_share();
    // Whoever waited for the lock finds a row that is closed meanwhile, and looks for the one that came after it.
    for _ in 0..3 {
        let text = format!("SELECT id FROM ledger_epoch WHERE closed_ns = 0{lock}");
        if let Some(id) = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_optional(&mut *conn).await? {
            return Ok(id);
        }
    }
    Err(DbError::Corrupt("there is no open epoch"))
}

/// Makes the first epoch, in which `now` (Unix seconds) lies, if there is none. What was kept before is not paid for.
pub(crate) async fn ensure(conn: &mut Conn, options: PayOptions, now: u64) -> Result<(), DbError> {
    sqlx::query("INSERT INTO ledger_meter (id, until) VALUES (1, $1) ON CONFLICT (id) DO NOTHING")
        .bind(signed(now))
        .execute(&mut *conn)
        .await?;
    let any = sqlx::query("SELECT 1 FROM ledger_epoch LIMIT 1").fetch_optional(&mut *conn).await?;
    if any.is_some() {
        return Ok(());
    }
    // Days begin at midnight, UTC, and other lengths as regularly.
    let begins = now - now % options.epoch_seconds.max(1);
    insert(conn, options, 1, begins).await
}

/// Opens an epoch that begins at a Unix second.
pub(super) async fn insert(conn: &mut Conn, options: PayOptions, id: i64, begins: u64) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO ledger_epoch (id, begins, ends, storage_rate, traffic_rate, hold_percent, closed_ns) \
         VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT (id) DO NOTHING",
    )
    .bind(id)
    .bind(signed(begins))
    .bind(signed(begins.saturating_add(options.epoch_seconds.max(1))))
    .bind(signed(options.rates.storage))
    .bind(signed(options.rates.traffic))
    .bind(signed(options.hold_percent))
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the facts of epochs that were closed before (Unix nanoseconds).
pub(super) async fn forget_lines(conn: &mut Conn, before: i64) -> Result<(), DbError> {
    for table in ["ledger_period", "ledger_order"] {
        let text = format!(
            "DELETE FROM {table} WHERE epoch IN (SELECT id FROM ledger_epoch WHERE closed_ns <> 0 AND closed_ns < $1)"
        );
        sqlx::query(sqlx::AssertSqlSafe(text)).bind(before).execute(&mut *conn).await?;
    }
    Ok(())
}
