//! Paying out.
//!
//! How money gets to operators is behind a trait. The one that is always there writes files for whoever pays by bank or otherwise.
//! It may be asked twice for the same payouts, if the server ends in between: it has to do the same again.

use std::io;
use std::path::{Path, PathBuf};

use cyx_core::ids::{AccountId, NodeId};
use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use thiserror::Error;

use super::close::{Books, operator_account, paid_account};
use super::unsigned;
use crate::auth::column_id;
use crate::backup::copy;
use crate::db::{Conn, Db, DbError};
use crate::time::{now_ns, rfc3339};

/// What is due to an operator for one node and epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Payout {
    /// The epoch.
    pub epoch: i64,
    /// When it ended, RFC 3339.
    pub epoch_ended: String,
    /// The node.
    pub node: NodeId,
    /// Its operator's account.
    pub operator: AccountId,
    /// Where the operator wants to be paid; empty: not said.
    pub address: String,
    /// Millionths of the currency's unit.
    pub micros: u64,
}

/// Why nothing was paid out.
#[derive(Debug, Error)]
pub enum SettlementError {
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The epoch has a file already, with other contents.
    #[error(
        "{} is there already and says something else, as after a restore: nothing of this epoch is written or counts as paid. Move the \
         epoch's files elsewhere, and pay only what the new ones say beyond what was paid by the old ones", .0.display()
    )]
    Exists(PathBuf),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A way in which money gets to operators.
pub trait Settlement: Send + Sync {
    /// Pays out one epoch. Returns under what name it can be found later. To be asked twice for the same is the same as once.
    fn settle<'a>(&'a self, epoch: i64, payouts: &'a [Payout]) -> BoxFuture<'a, Result<String, SettlementError>>;
}

/// Writes each epoch's payouts as CSV and JSON.
pub struct Exporter {
    folder: PathBuf,
}

impl Exporter {
    /// Writes to a folder, which is made when it is needed.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn write(&self, epoch: i64, payouts: &[Payout]) -> Result<String, SettlementError> {
        let name = format!("epoch-{epoch:08}");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SettlementError::File { path, source }
        };
        // All of it is durable before the ledger says that it was paid, the names too.
        copy::private_folder(&self.folder)
            .and_then(|()| match copy::sync_parent(&self.folder) {
                // Whoever may not read the folder above did not make this one.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                synced => synced,
            })
            .map_err(failed(&self.folder))?;
        let json =
            serde_json::to_string_pretty(payouts).map_err(io::Error::other).map_err(failed(&self.folder))? + "\n";
        let files = [("csv", csv(payouts)), ("json", json)]
            .map(|(extension, text)| (self.folder.join(format!("{name}.{extension}")), text));
        // Somebody may have paid by what is there: a server that was restored closes epochs once more, perhaps with other sums.
        for (path, text) in &files {
            match std::fs::read(path) {
                Ok(old) if old != text.as_bytes() => return Err(SettlementError::Exists(path.clone())),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(path)(error)),
                _ => {}
            }
        }
        for (path, text) in files {
            // Whoever pays never reads half a file.
            copy::write_private(&path, text.as_bytes()).map_err(failed(&path))?;
        }
        Ok(name)
    }
}

impl Settlement for Exporter {
    fn settle<'a>(&'a self, epoch: i64, payouts: &'a [Payout]) -> BoxFuture<'a, Result<String, SettlementError>> {
        Box::pin(async move { self.write(epoch, payouts) })
    }
}

/// Payouts as a table (RFC 4180). Addresses come from operators: one that a spreadsheet would take for a formula is marked as text.
#[must_use]
pub fn csv(payouts: &[Payout]) -> String {
    let mut text = String::from("epoch,epoch_ended,node,operator,address,micros\r\n");
    for payout in payouts {
        let Payout { epoch, epoch_ended, node, operator, address, micros } = payout;
        let mark = if address.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
        let address = format!("\"{mark}{}\"", address.replace('"', "\"\""));
        text.push_str(&format!("{epoch},{epoch_ended},{node},{operator},{address},{micros}\r\n"));
    }
    text
}

const SELECT: &str = "SELECT p.epoch, e.ends, p.node, p.operator, p.address, p.micros FROM ledger_payout p \
                      JOIN ledger_epoch e ON e.id = p.epoch";

fn read(row: &AnyRow) -> Result<Payout, DbError> {
    let ended = row.try_get::<i64, _>(1)?.saturating_mul(1_000_000_000);
    Ok(Payout {
        epoch: row.try_get(0)?,
        epoch_ended: rfc3339(ended),
        node: column_id(row, 2)?,
        operator: column_id(row, 3)?,
        address: row.try_get(4)?,
        micros: unsigned(row, 5)?,
    })
}

/// The payouts of an epoch, or those that are due.
///
/// # Errors
/// [`DbError`].
pub async fn payouts(conn: &mut Conn, epoch: Option<i64>) -> Result<Vec<Payout>, DbError> {
    let condition = if epoch.is_some() { "p.epoch = $1" } else { "p.settled_ns = $1" };
    let text = format!("{SELECT} WHERE {condition} ORDER BY p.epoch, p.node");
    let rows = sqlx::query(sqlx::AssertSqlSafe(text)).bind(epoch.unwrap_or(0)).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// Pays out what is due, epoch by epoch; how many micros that was. An epoch whose files somebody has to move first holds up no later one.
///
/// # Errors
/// [`SettlementError`]; what was paid out stays noted.
pub async fn settle_due(db: &Db, settlement: &dyn Settlement) -> Result<u64, SettlementError> {
    let due = payouts(&mut *db.read().await?, None).await?;
    let (mut paid, mut held_up) = (0_u64, None);
    for payouts in due.chunk_by(|a, b| a.epoch == b.epoch) {
        let Some(first) = payouts.first() else { continue };
        let reference = match settlement.settle(first.epoch, payouts).await {
            Err(error @ SettlementError::Exists(_)) => {
                held_up.get_or_insert(error);
                continue;
            }
            other => other?,
        };
        let (payouts, now) = (payouts.to_vec(), now_ns());
        paid = paid.saturating_add(payouts.iter().map(|payout| payout.micros).sum());
        db.write::<(), DbError, _>(move |conn| {
            let (payouts, reference) = (payouts.clone(), reference.clone());
            Box::pin(async move {
                for payout in &payouts {
                    note(conn, payout, &reference, now).await?;
                }
                Ok(())
            })
        })
        .await?;
    }
    held_up.map_or(Ok(paid), Err)
}

async fn note(conn: &mut Conn, payout: &Payout, reference: &str, now: i64) -> Result<(), DbError> {
    let noted = sqlx::query(
        "UPDATE ledger_payout SET reference = $1, settled_ns = $2 WHERE epoch = $3 AND node = $4 AND settled_ns = 0",
    )
    .bind(reference)
    .bind(now)
    .bind(payout.epoch)
    .bind(payout.node.to_vec())
    .execute(&mut *conn)
    .await?;
    if noted.rows_affected() == 1 {
        let books = Books { epoch: payout.epoch, node: payout.node, now };
        let (from, to) = (operator_account(payout.operator), paid_account(payout.operator));
        books.post(conn, "paid", &from, &to, payout.micros).await?;
    }
    Ok(())
}
