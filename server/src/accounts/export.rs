//! What the server holds about an account, as lines of JSON: `{"table": …, "row": {…}}`.
//!
//! Bytes are base64. Left out is what would help to break in: hashes of secrets, and what secrets are derived from; what lives for minutes or
//! until it is sent: logins and changes that wait for a code, letters; and orders for the account's nodes, which others signed. What is
//! encrypted comes encrypted: only the owner can open it. Read page by page, so that no export holds up the database; what
//! changes meanwhile may be there in its old or its new form.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cyx_core::ids::AccountId;
use serde_json::{Map, Value, json};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Column as _, Row as _};

use super::confirm::{granted, run};
use super::limits::EXPORTS;
use crate::app::App;
use crate::audit_log::{self, Action, Event, PAGE_MAX, Page};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::time::{now_ns, rfc3339};

/// Rows of a page.
const PAGE: i64 = 500;

/// A table: its name, what of it is the account's (`$1`), and its order.
struct Table(&'static str, &'static str, &'static str);

const OWN_BUCKETS: &str = "bucket IN (SELECT id FROM bucket WHERE owner = $1)";

const OWN_NODES: &str = "node IN (SELECT id FROM node WHERE operator = $1)";

const TABLES: &[Table] = &[
    Table("account", "id = $1", "id"),
    Table("session", "account = $1", "id"),
    Table("api_key", "account = $1", "id"),
    Table("wallet", "account = $1", "address"),
    Table("storage_day", "account = $1", "day"),
    Table("machine", "owner = $1", "id"),
    Table("enrolment", "owner = $1", "token_hash"),
    Table("node", "operator = $1", "id"),
    Table("node_audit", OWN_NODES, "node"),
    Table("traffic_node", OWN_NODES, "node, month"),
    Table("ledger_period", OWN_NODES, "node, begins"),
    Table("ledger_posting", OWN_NODES, "epoch, node, reason"),
    Table("ledger_statement", "operator = $1", "epoch, node"),
    Table("ledger_payout", "operator = $1", "epoch, node"),
    Table("traffic_account", "account = $1", "month"),
    Table("traffic_grant", "account = $1", "id"),
    Table("lease", "account = $1", "id"),
    Table("bucket", "owner = $1", "id"),
    Table("bucket_member", "account = $1", "bucket"),
    Table("writer_entry", OWN_BUCKETS, "bucket, position"),
    Table("inode", OWN_BUCKETS, "bucket, id"),
    Table("entry", OWN_BUCKETS, "bucket, directory, name, epoch"),
    Table("version", OWN_BUCKETS, "bucket, inode, version"),
    Table("extent_page", OWN_BUCKETS, "bucket, id"),
    Table("blob", OWN_BUCKETS, "bucket, id"),
    Table("segment", OWN_BUCKETS, "id"),
    Table("trash", OWN_BUCKETS, "bucket, id"),
    Table("staged", OWN_BUCKETS, "bucket, txn"),
    Table("change", OWN_BUCKETS, "bucket, sequence"),
];

/// Columns that never leave the server.
const KEPT_BACK: [&str; 6] = ["auth_hash", "api_key_hash", "token_hash", "totp_enrolment", "totp_pending", "totp_step"];

/// Counts an export and writes it down.
///
/// # Errors
/// [`cyx_core::error::ErrorCode::RateLimited`].
pub async fn begin(app: &App, caller: &Caller, ip: IpAddr) -> Result<(), ApiError> {
    let account = caller.account;
    run(app, move |c| {
        Box::pin(async move {
            let who = format!("export {account}");
            granted!(EXPORTS.take(c, &who, "too many exports; try again later").await?);
            audit_log::record(c, Event::owner(account, Action::Exported, ip)).await?;
            Ok(Ok(()))
        })
    })
    .await
}

/// An export that is being read.
pub struct Export {
    account: AccountId,
    /// Which table, and how many rows of it were read; after the tables comes the audit log.
    table: usize,
    offset: i64,
    audit_after: i64,
    began: bool,
    done: bool,
}

impl Export {
    /// Begins one.
    #[must_use]
    pub const fn new(account: AccountId) -> Self {
        Self { account, table: 0, offset: 0, audit_after: 0, began: false, done: false }
    }

    /// The next lines; `None` at the end.
    ///
    /// # Errors
    /// [`cyx_core::error::ErrorCode::Internal`].
    pub async fn next(&mut self, app: &App) -> Result<Option<String>, ApiError> {
        if !self.began {
            self.began = true;
            let head =
                json!({"export": "cyx account", "version": 1, "account": self.account, "time": rfc3339(now_ns())});
            return Ok(Some(format!("{head}\n")));
        }
        while let Some(table) = TABLES.get(self.table) {
            let rows = self.page(app, table).await?;
            let full = i64::try_from(rows.len()).is_ok_and(|count| count == PAGE);
            if full {
                self.offset += PAGE;
            } else {
                (self.table, self.offset) = (self.table + 1, 0);
            }
            if !rows.is_empty() {
                return Ok(Some(rows.iter().map(|row| line(table.0, row)).collect()));
            }
        }
        if self.done {
            return Ok(None);
        }
        let page = Page { since_ns: 0, after: self.audit_after, limit: PAGE_MAX };
        let entries = audit_log::of_account(&mut *app.db.read().await?, self.account, page).await?;
        let Some(last) = entries.last() else {
            self.done = true;
            return Ok(None);
        };
        self.audit_after = last.seq;
        let lines = entries.iter().map(|entry| {
            let row = json!({
                "seq": entry.seq, "time": rfc3339(entry.time_ns), "subject": hex::encode(entry.subject), "actor": entry.actor,
                "action": entry.action, "outcome": entry.outcome, "address": entry.address, "detail": entry.detail,
                "hash": hex::encode(&entry.hash),
            });
            format!("{}\n", json!({"table": "audit", "row": row}))
        });
        Ok(Some(lines.collect()))
    }

    async fn page(&self, app: &App, table: &Table) -> Result<Vec<AnyRow>, ApiError> {
        let Table(name, condition, order) = table;
        let text = format!("SELECT * FROM {name} WHERE {condition} ORDER BY {order} LIMIT {PAGE} OFFSET $2");
        let mut tx = app.db.read().await?;
        let query = sqlx::query(AssertSqlSafe(text)).bind(self.account.to_vec()).bind(self.offset);
        Ok(query.fetch_all(&mut *tx).await?)
    }
}

fn line(table: &str, row: &AnyRow) -> String {
    let mut fields = Map::new();
    for (index, column) in row.columns().iter().enumerate() {
        if !KEPT_BACK.contains(&column.name()) {
            fields.insert(column.name().to_owned(), value(row, index));
        }
    }
    format!("{}\n", json!({"table": table, "row": fields}))
}

/// Columns are whole numbers, texts or bytes.
fn value(row: &AnyRow, index: usize) -> Value {
    if let Ok(number) = row.try_get::<Option<i64>, _>(index) {
        return number.map_or(Value::Null, Value::from);
    }
    if let Ok(text) = row.try_get::<Option<String>, _>(index) {
        return text.map_or(Value::Null, Value::from);
    }
    let bytes = row.try_get::<Option<Vec<u8>>, _>(index).ok().flatten();
    bytes.map_or(Value::Null, |bytes| Value::from(STANDARD.encode(bytes)))
}

#[cfg(test)]
mod tests;
