//! What administrators see of a node beyond what everybody does: whose it is, how its audits went, what is held of its pay, what waits.

use cyx_core::ids::{AccountId, NodeId};
use sqlx::Row as _;

use super::summary::{Audits, audits};
use crate::auth::column_id;
use crate::db::{Conn, DbError};
use crate::ledger;
use crate::orders::month;
use crate::tree::sql;

/// A node, as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// The account it belongs to.
    pub operator: AccountId,
    /// Its user name; none for machines of whoever runs the server, and of accounts that are no more.
    pub owner: Option<String>,
    /// Its machine.
    pub machine: String,
    /// What the machine calls itself.
    pub hostname: String,
    /// Its operating system.
    pub os: String,
    /// What it says about its hardware, JSON.
    pub hardware: String,
    /// Where the operator wants to be paid.
    pub payout_address: String,
    /// Bytes that were moved this month.
    pub traffic_month_bytes: u64,
    /// What is held of its pay, in micros.
    pub held_micros: u64,
    /// How it did in its audits; none if there were none.
    pub audits: Option<Audits>,
    /// Since when it has its standing, Unix nanoseconds; 0: it was never audited.
    pub standing_ns: i64,
    /// Its newest audit, Unix nanoseconds; 0: none.
    pub last_audit_ns: i64,
    /// What became of it.
    pub last_audit_outcome: String,
    /// Shards that wait for repair or to be moved because of it.
    pub queued: u64,
    /// Since when it is emptied, or has exited, Unix nanoseconds; 0: it stays.
    pub leaving_ns: i64,
}

/// One node; none if there is none. `now` in Unix seconds.
///
/// # Errors
/// [`DbError`].
pub async fn detail(conn: &mut Conn, node: NodeId, now: u64) -> Result<Option<Detail>, DbError> {
    let row = sqlx::query(
        "SELECT n.id, n.machine, n.payout_address, CAST(COALESCE(t.bytes, 0) AS BIGINT), COALESCE(a.standing, ''), \
         COALESCE(a.score, 0), COALESCE(a.passed, 0), COALESCE(a.lost, 0), COALESCE(a.corrupt, 0), COALESCE(a.timed_out, 0), \
         COALESCE(a.refused, 0), COALESCE(a.unreachable, 0), n.operator, COALESCE(u.username, ''), COALESCE(a.standing_ns, 0), \
         COALESCE(a.last_ns, 0), COALESCE(a.last_outcome, ''), n.leaving_ns, \
         CAST((SELECT COUNT(*) FROM repair r WHERE r.node = n.id) AS BIGINT) FROM node n \
         LEFT JOIN traffic_node t ON t.node = n.id AND t.month = $2 LEFT JOIN node_audit a ON a.node = n.id \
         LEFT JOIN account u ON u.id = n.operator WHERE n.id = $1",
    )
    .bind(node.to_vec())
    .bind(month(now))
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let machine: String = row.try_get(1)?;
    let known = sqlx::query("SELECT hostname, os, hardware FROM machine WHERE id = $1")
        .bind(hex::decode(&machine).unwrap_or_default())
        .fetch_optional(&mut *conn)
        .await?;
    let [hostname, os, hardware] = match known {
        Some(row) => [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?],
        None => Default::default(),
    };
    let owner: String = row.try_get(13)?;
    Ok(Some(Detail {
        operator: column_id(&row, 12)?,
        owner: Some(owner).filter(|owner| !owner.is_empty()),
        machine,
        hostname,
        os,
        hardware,
        payout_address: row.try_get(2)?,
        traffic_month_bytes: sql::uint(&row, 3)?,
        held_micros: held(conn, node).await?,
        audits: audits(&row)?,
        standing_ns: row.try_get(14)?,
        last_audit_ns: row.try_get(15)?,
        last_audit_outcome: row.try_get(16)?,
        queued: sql::uint(&row, 18)?,
        leaving_ns: row.try_get(17)?,
    }))
}

/// What is held of a node's pay: the balance of the account that it is held on.
async fn held(conn: &mut Conn, node: NodeId) -> Result<u64, DbError> {
    let held: i64 = sqlx::query_scalar(
        "SELECT CAST(COALESCE((SELECT SUM(micros) FROM ledger_posting WHERE credit = $1), 0) \
         - COALESCE((SELECT SUM(micros) FROM ledger_posting WHERE debit = $1), 0) AS BIGINT)",
    )
    .bind(ledger::close::held_account(node))
    .fetch_one(conn)
    .await?;
    Ok(u64::try_from(held).unwrap_or(0))
}
