//! What an operator sees of the ledger: what a node earned, and the facts that it follows from.

use cyx_core::earnings::Work;
use cyx_core::ids::{AccountId, GrantId, NodeId};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::close::reserved;
use super::epoch::{self, Epoch};
use super::unsigned;
use crate::auth::{column_array, column_id};
use crate::db::{Conn, DbError};

/// Most orders of a page.
pub const ORDERS_MAX: i64 = 500;
/// Most epochs of a page.
pub const EPOCHS_MAX: i64 = 400;

/// What an epoch came to for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    /// The epoch.
    pub epoch: Epoch,
    /// What the node did.
    pub work: Work,
    /// Of the operator's pay, so much is held.
    pub held: u64,
    /// Unix nanoseconds at which the operator was paid; 0: not yet.
    pub settled_ns: i64,
}

/// A part of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodLine {
    /// Unix second.
    pub begins: u64,
    /// Unix second behind its last.
    pub ends: u64,
    /// Shards at its end.
    pub shards: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes times seconds.
    pub byte_seconds: u64,
    /// For how long the reserve was kept.
    pub reserved_seconds: u64,
}

/// An order that is paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLine {
    /// The grant.
    pub grant: GrantId,
    /// Who signed.
    pub session_key: [u8; 32],
    /// Most that the grant allowed.
    pub allowance: u64,
    /// Traffic that earlier epochs paid.
    pub paid_before: u64,
    /// All of it.
    pub traffic: u64,
    /// As it was signed.
    pub content: Vec<u8>,
}

/// Whose node it is.
///
/// # Errors
/// [`DbError`].
pub async fn operator_of(conn: &mut Conn, node: NodeId) -> Result<Option<AccountId>, DbError> {
    let row = sqlx::query("SELECT operator FROM node WHERE id = $1").bind(node.to_vec()).fetch_optional(conn).await?;
    row.map(|row| column_id(&row, 0)).transpose()
}

/// A node's statements of closed epochs with an id below `before`, the newest first.
///
/// # Errors
/// [`DbError`].
pub async fn statements(conn: &mut Conn, node: NodeId, before: i64, limit: i64) -> Result<Vec<Statement>, DbError> {
    let rows = sqlx::query(
        "SELECT e.id, e.begins, e.ends, e.storage_rate, e.traffic_rate, e.hold_percent, e.closed_ns, s.user_byte_seconds, \
         s.reserved_byte_seconds, s.traffic_bytes, s.held_micros, COALESCE(p.settled_ns, 0) FROM ledger_statement s \
         JOIN ledger_epoch e ON e.id = s.epoch LEFT JOIN ledger_payout p ON p.epoch = s.epoch AND p.node = s.node \
         WHERE s.node = $1 AND s.epoch < $2 ORDER BY s.epoch DESC LIMIT $3",
    )
    .bind(node.to_vec())
    .bind(before)
    .bind(limit.clamp(1, EPOCHS_MAX))
    .fetch_all(conn)
    .await?;
    let read = |row: &AnyRow| {
        let decimal = |column: usize| -> Result<u128, DbError> {
            row.try_get::<String, _>(column)?.parse().map_err(|_| DbError::Corrupt("ledger_statement"))
        };
        let work = Work {
            user_byte_seconds: decimal(7)?,
            reserved_byte_seconds: decimal(8)?,
            traffic_bytes: unsigned(row, 9)?,
        };
        Ok(Statement { epoch: epoch::read(row)?, work, held: unsigned(row, 10)?, settled_ns: row.try_get(11)? })
    };
    rows.iter().map(read).collect()
}

/// What a node did in the open epoch so far.
///
/// # Errors
/// [`DbError`].
pub async fn so_far(conn: &mut Conn, node: NodeId) -> Result<(Epoch, Work), DbError> {
    let epoch = epoch::open(conn).await?;
    let mut work = Work::default();
    for line in periods(conn, node, epoch.id).await? {
        work = work.and(Work {
            user_byte_seconds: line.byte_seconds.into(),
            reserved_byte_seconds: reserved(line.reserved_seconds),
            traffic_bytes: 0,
        });
    }
    let traffic: i64 = sqlx::query_scalar(
        "SELECT CAST(COALESCE(SUM(traffic - paid_before), 0) AS BIGINT) FROM ledger_order WHERE epoch = $1 AND node = $2",
    )
    .bind(epoch.id)
    .bind(node.to_vec())
    .fetch_one(conn)
    .await?;
    work.traffic_bytes = u64::try_from(traffic).unwrap_or(0);
    Ok((epoch, work))
}

/// An epoch by its id.
///
/// # Errors
/// [`DbError`].
pub async fn epoch(conn: &mut Conn, id: i64) -> Result<Option<Epoch>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{} WHERE id = $1", epoch::SELECT));
    sqlx::query(text).bind(id).fetch_optional(conn).await?.as_ref().map(epoch::read).transpose()
}

/// What is held of a node.
///
/// # Errors
/// [`DbError`].
pub async fn held(conn: &mut Conn, node: NodeId) -> Result<u64, DbError> {
    let held: i64 = sqlx::query_scalar(
        "SELECT CAST(COALESCE(SUM(CASE reason WHEN 'held' THEN micros ELSE -micros END), 0) AS BIGINT) FROM ledger_posting \
         WHERE node = $1 AND reason IN ('held', 'released', 'forfeited')",
    )
    .bind(node.to_vec())
    .fetch_one(conn)
    .await?;
    Ok(u64::try_from(held).unwrap_or(0))
}

/// The periods of an epoch in which a node was heard of, in order.
///
/// # Errors
/// [`DbError`].
pub async fn periods(conn: &mut Conn, node: NodeId, epoch: i64) -> Result<Vec<PeriodLine>, DbError> {
    let rows = sqlx::query(
        "SELECT begins, ends, shards, bytes, byte_seconds, reserved_seconds FROM ledger_period WHERE epoch = $1 AND node = $2 \
         ORDER BY begins",
    )
    .bind(epoch)
    .bind(node.to_vec())
    .fetch_all(conn)
    .await?;
    let read = |row: &AnyRow| {
        Ok(PeriodLine {
            begins: unsigned(row, 0)?,
            ends: unsigned(row, 1)?,
            shards: unsigned(row, 2)?,
            bytes: unsigned(row, 3)?,
            byte_seconds: unsigned(row, 4)?,
            reserved_seconds: unsigned(row, 5)?,
        })
    };
    rows.iter().map(read).collect()
}

/// Orders of a node that an epoch pays, by grant, behind one.
///
/// # Errors
/// [`DbError`].
pub async fn orders(
    conn: &mut Conn,
    node: NodeId,
    epoch: i64,
    after: Option<GrantId>,
) -> Result<Vec<OrderLine>, DbError> {
    let rows = sqlx::query(
        "SELECT grant_id, session_key, allowance, paid_before, traffic, content FROM ledger_order \
         WHERE node = $1 AND epoch = $2 AND grant_id > $3 ORDER BY grant_id LIMIT $4",
    )
    .bind(node.to_vec())
    .bind(epoch)
    .bind(after.map(GrantId::to_vec).unwrap_or_default())
    .bind(ORDERS_MAX)
    .fetch_all(conn)
    .await?;
    let read = |row: &AnyRow| {
        Ok(OrderLine {
            grant: column_id(row, 0)?,
            session_key: column_array(row, 1)?,
            allowance: unsigned(row, 2)?,
            paid_before: unsigned(row, 3)?,
            traffic: unsigned(row, 4)?,
            content: row.try_get(5)?,
        })
    };
    rows.iter().map(read).collect()
}
