//! The end of an epoch: statements and postings, from its facts and nothing else.

use std::collections::{BTreeMap, HashMap};

use cyx_core::earnings::{Pay, Work, held};
use cyx_core::ids::{AccountId, NodeId};
use cyx_core::units::NODE_RESERVED;
use sqlx::Row as _;

use super::epoch::{self, Epoch};
use super::{PayOptions, signed, unsigned};
use crate::auth::column_id;
use crate::db::{Conn, DbError};

/// Who pays for everything.
pub const NETWORK: &str = "network";
/// Whose share is what operators do not get.
pub const PLATFORM: &str = "platform";

/// The account of an operator: what is due.
#[must_use]
pub fn operator_account(operator: AccountId) -> String {
    format!("operator:{operator}")
}

/// The account of what was paid out to an operator.
#[must_use]
pub fn paid_account(operator: AccountId) -> String {
    format!("paid:{operator}")
}

/// The account of what is held until a node has left.
#[must_use]
pub fn held_account(node: NodeId) -> String {
    format!("held:{node}")
}

/// What a node did in an epoch, as its facts say.
///
/// # Errors
/// [`DbError`].
pub async fn work_in(conn: &mut Conn, epoch: i64) -> Result<BTreeMap<NodeId, Work>, DbError> {
    let mut found: BTreeMap<NodeId, Work> = BTreeMap::new();
    let periods = sqlx::query("SELECT node, byte_seconds, reserved_seconds FROM ledger_period WHERE epoch = $1")
        .bind(epoch)
        .fetch_all(&mut *conn)
        .await?;
    for row in &periods {
        let work = found.entry(column_id(row, 0)?).or_default();
        *work = work.and(Work {
            user_byte_seconds: unsigned(row, 1)?.into(),
            reserved_byte_seconds: reserved(unsigned(row, 2)?),
            traffic_bytes: 0,
        });
    }
    let orders = sqlx::query(
        "SELECT node, CAST(SUM(traffic - paid_before) AS BIGINT) FROM ledger_order WHERE epoch = $1 GROUP BY node",
    )
    .bind(epoch)
    .fetch_all(conn)
    .await?;
    for row in &orders {
        let work = found.entry(column_id(row, 0)?).or_default();
        *work = work.and(Work { traffic_bytes: unsigned(row, 1)?, ..Work::default() });
    }
    Ok(found)
}

/// The reserve for so many seconds.
pub(super) fn reserved(seconds: u64) -> u128 {
    u128::from(NODE_RESERVED) * u128::from(seconds)
}

/// What is known of a node when its epoch is closed.
struct Party {
    operator: AccountId,
    address: String,
    /// It has handed everything over.
    has_left: bool,
    /// It failed its audits.
    is_disqualified: bool,
}

async fn parties(conn: &mut Conn) -> Result<HashMap<NodeId, Party>, DbError> {
    let rows = sqlx::query(
        "SELECT n.id, n.operator, n.payout_address, n.leaving, COALESCE(a.standing, '') FROM node n \
         LEFT JOIN node_audit a ON a.node = n.id",
    )
    .fetch_all(conn)
    .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let party = Party {
            operator: column_id(row, 1)?,
            address: row.try_get(2)?,
            has_left: row.try_get::<String, _>(3)? == "exited",
            is_disqualified: row.try_get::<String, _>(4)? == "disqualified",
        };
        found.insert(column_id(row, 0)?, party);
    }
    Ok(found)
}

/// What is held of each node.
///
/// # Errors
/// [`DbError`].
pub async fn held_balances(conn: &mut Conn) -> Result<BTreeMap<NodeId, u64>, DbError> {
    let rows = sqlx::query(
        "SELECT node, CAST(SUM(CASE reason WHEN 'held' THEN micros ELSE -micros END) AS BIGINT) FROM ledger_posting \
         WHERE reason IN ('held', 'released', 'forfeited') GROUP BY node",
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| Ok((column_id(row, 0)?, unsigned(row, 1)?)))
        .filter(|held| !matches!(held, Ok((_, 0))))
        .collect()
}

/// Closes an epoch and opens the next one, in the transaction that wrote its last period.
pub(super) async fn close(conn: &mut Conn, options: PayOptions, epoch: &Epoch, now: i64) -> Result<(), DbError> {
    // First, so that orders which are on their way wait for the next epoch.
    let closed = sqlx::query("UPDATE ledger_epoch SET closed_ns = $1 WHERE id = $2 AND closed_ns = 0")
        .bind(now)
        .bind(epoch.id)
        .execute(&mut *conn)
        .await?;
    if closed.rows_affected() == 0 {
        return Ok(());
    }
    let mut work = work_in(conn, epoch.id).await?;
    let (parties, held_before) = (parties(conn).await?, held_balances(conn).await?);
    for (node, party) in &parties {
        // What is held of a node is settled even if it did nothing any more.
        if (party.has_left || party.is_disqualified) && held_before.contains_key(node) {
            work.entry(*node).or_default();
        }
    }
    for (node, work) in work {
        let Some(party) = parties.get(&node) else { continue };
        let pay = work.pay(epoch.rates);
        let hold = if party.has_left { 0 } else { held(pay.operator, epoch.hold_percent) };
        state(conn, epoch.id, node, party, work, pay, hold).await?;
        let ledger = Books { epoch: epoch.id, node, now };
        let operator = operator_account(party.operator);
        ledger.post(conn, "fee", NETWORK, PLATFORM, pay.platform).await?;
        ledger.post(conn, "earned", NETWORK, &operator, pay.operator - hold).await?;
        ledger.post(conn, "held", NETWORK, &held_account(node), hold).await?;
        let all_held = held_before.get(&node).copied().unwrap_or(0).saturating_add(hold);
        let released = if party.has_left && !party.is_disqualified { all_held } else { 0 };
        ledger.post(conn, "released", &held_account(node), &operator, released).await?;
        if party.is_disqualified {
            ledger.post(conn, "forfeited", &held_account(node), PLATFORM, all_held).await?;
        }
        let due = (pay.operator - hold).saturating_add(released);
        pay_out(conn, epoch.id, node, party, due).await?;
    }
    epoch::insert(conn, options, epoch.id + 1, epoch.ends).await?;
    metrics::counter!("cyx_ledger_epochs_closed_total").increment(1);
    Ok(())
}

async fn state(
    conn: &mut Conn,
    epoch: i64,
    node: NodeId,
    party: &Party,
    work: Work,
    pay: Pay,
    hold: u64,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO ledger_statement (epoch, node, operator, payout_address, user_byte_seconds, reserved_byte_seconds, traffic_bytes, \
         storage_micros, traffic_micros, operator_micros, platform_micros, held_micros) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(epoch)
    .bind(node.to_vec())
    .bind(party.operator.to_vec())
    .bind(&party.address)
    .bind(work.user_byte_seconds.to_string())
    .bind(work.reserved_byte_seconds.to_string())
    .bind(signed(work.traffic_bytes))
    .bind(signed(pay.storage))
    .bind(signed(pay.traffic))
    .bind(signed(pay.operator))
    .bind(signed(pay.platform))
    .bind(signed(hold))
    .execute(conn)
    .await?;
    Ok(())
}

/// Where postings about a node's epoch go.
pub(super) struct Books {
    pub(super) epoch: i64,
    pub(super) node: NodeId,
    pub(super) now: i64,
}

impl Books {
    /// Takes an amount from one account and gives it to another.
    pub(super) async fn post(
        &self,
        conn: &mut Conn,
        reason: &str,
        debit: &str,
        credit: &str,
        micros: u64,
    ) -> Result<(), DbError> {
        if micros == 0 {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO ledger_posting (epoch, node, reason, debit, credit, micros, at_ns) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(self.epoch)
        .bind(self.node.to_vec())
        .bind(reason)
        .bind(debit)
        .bind(credit)
        .bind(signed(micros))
        .bind(self.now)
        .execute(conn)
        .await?;
        Ok(())
    }
}

async fn pay_out(conn: &mut Conn, epoch: i64, node: NodeId, party: &Party, due: u64) -> Result<(), DbError> {
    if due == 0 {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO ledger_payout (epoch, node, operator, address, micros, reference, settled_ns) VALUES ($1, $2, $3, $4, $5, '', 0)",
    )
    .bind(epoch)
    .bind(node.to_vec())
    .bind(party.operator.to_vec())
    .bind(&party.address)
    .bind(signed(due))
    .execute(conn)
    .await?;
    Ok(())
}
