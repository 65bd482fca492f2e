//! What all nodes together have room for, and what of one node its operator sees beyond what everybody does.

use cyx_core::ids::{AccountId, NodeId};
use cyx_core::units::MIB;
use serde::Serialize;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::registry::CAPACITY_MAX;
use crate::auth::column_id;
use crate::db::{Conn, DbError};
use crate::orders::month;

/// Room of all nodes together, from the view `node_storage_summary`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StorageSummary {
    /// How many.
    pub nodes: u64,
    /// Offered in all.
    pub total_bytes: u64,
    /// Kept back for the network's own needs.
    pub reserved_bytes: u64,
    /// `total − reserved`.
    pub allocatable_bytes: u64,
    /// Bytes of live chunks.
    pub used_bytes: u64,
    /// What can still be stored.
    pub available_bytes: u64,
    /// `used / allocatable`.
    pub utilization: f64,
}

/// Adds up the room of all nodes.
///
/// # Errors
/// [`DbError`].
pub async fn storage(conn: &mut Conn) -> Result<StorageSummary, DbError> {
    // Nodes of before there was a limit may have claimed more than any can have. And the bytes of thousands of large nodes do not fit into the
    // databases' numbers: those are added up as whole MiB and the rest.
    let sum = |column| {
        let room = format!("CASE WHEN {column} < {CAPACITY_MAX} THEN {column} ELSE {CAPACITY_MAX} END");
        ["/", "%"].map(|part| format!("CAST(COALESCE(SUM(({room}) {part} {MIB}), 0) AS BIGINT)")).join(", ")
    };
    let columns = ["total_bytes", "reserved_bytes", "allocatable_bytes", "used_bytes", "available_bytes"].map(sum);
    let text = format!(
        "SELECT CAST(COUNT(*) AS BIGINT), {} FROM node_storage_summary WHERE state <> 'lost'",
        columns.join(", ")
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_one(conn).await?;
    let bytes =
        |column| Ok::<_, DbError>(number(&row, column)?.saturating_mul(MIB).saturating_add(number(&row, column + 1)?));
    let (allocatable_bytes, used_bytes) = (bytes(5)?, bytes(7)?);
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    let utilization = if allocatable_bytes == 0 { 1.0 } else { used_bytes as f64 / allocatable_bytes as f64 };
    Ok(StorageSummary {
        nodes: number(&row, 0)?,
        total_bytes: bytes(1)?,
        reserved_bytes: bytes(3)?,
        allocatable_bytes,
        used_bytes,
        available_bytes: bytes(9)?,
        utilization,
    })
}

/// How a node did in its audits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audits {
    /// `vetting`, `trusted`, `suspended` or `disqualified`.
    pub standing: String,
    /// Thousandths.
    pub score: u64,
    /// Slices that were proven.
    pub passed: u64,
    /// Slices of chunks that it does not have.
    pub lost: u64,
    /// Slices that were not what was stored.
    pub corrupt: u64,
    /// Slices that did not come in time.
    pub timed_out: u64,
    /// Slices that it would not show.
    pub refused: u64,
    /// Rounds in which it could not be reached.
    pub unreachable: u64,
}

/// What an operator sees of one of their nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The node.
    pub node: NodeId,
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
    /// How it did in its audits; none if there were none.
    pub audits: Option<Audits>,
}

/// The nodes of an account, by id. `now` in Unix seconds.
///
/// # Errors
/// [`DbError`].
pub async fn own(conn: &mut Conn, operator: AccountId, now: u64) -> Result<Vec<Own>, DbError> {
    let machines = sqlx::query("SELECT id, hostname, os, hardware FROM machine WHERE owner = $1")
        .bind(operator.to_vec())
        .fetch_all(&mut *conn)
        .await?;
    let mut known = std::collections::HashMap::with_capacity(machines.len());
    for row in &machines {
        let texts: [String; 3] = [row.try_get(1)?, row.try_get(2)?, row.try_get(3)?];
        known.insert(hex::encode(row.try_get::<Vec<u8>, _>(0)?), texts);
    }
    let rows = sqlx::query(
        "SELECT n.id, n.machine, n.payout_address, CAST(COALESCE(t.bytes, 0) AS BIGINT), COALESCE(a.standing, ''), \
         COALESCE(a.score, 0), COALESCE(a.passed, 0), COALESCE(a.lost, 0), COALESCE(a.corrupt, 0), COALESCE(a.timed_out, 0), \
         COALESCE(a.refused, 0), COALESCE(a.unreachable, 0) FROM node n \
         LEFT JOIN traffic_node t ON t.node = n.id AND t.month = $2 LEFT JOIN node_audit a ON a.node = n.id \
         WHERE n.operator = $1 ORDER BY n.id",
    )
    .bind(operator.to_vec())
    .bind(month(now))
    .fetch_all(conn)
    .await?;
    let read = |row: &AnyRow| {
        let machine: String = row.try_get(1)?;
        let [hostname, os, hardware] = known.get(&machine).cloned().unwrap_or_default();
        Ok(Own {
            node: column_id(row, 0)?,
            machine,
            hostname,
            os,
            hardware,
            payout_address: row.try_get(2)?,
            traffic_month_bytes: number(row, 3)?,
            audits: audits(row)?,
        })
    };
    rows.iter().map(read).collect()
}

/// How a node did, from the columns 4 to 11.
pub(super) fn audits(row: &AnyRow) -> Result<Option<Audits>, DbError> {
    let standing: String = row.try_get(4)?;
    if standing.is_empty() {
        return Ok(None);
    }
    Ok(Some(Audits {
        standing,
        score: number(row, 5)?,
        passed: number(row, 6)?,
        lost: number(row, 7)?,
        corrupt: number(row, 8)?,
        timed_out: number(row, 9)?,
        refused: number(row, 10)?,
        unreachable: number(row, 11)?,
    }))
}

fn number(row: &AnyRow, column: usize) -> Result<u64, DbError> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::testing::{execute, literal, node, server_with};
    use cyx_core::units::{GIB, NODE_RESERVED};

    #[tokio::test]
    async fn room_is_added_up_and_lost_nodes_have_none() {
        let test = server_with((1..=3).map(node), |_| {}).await;
        let lost = literal(&test, &node(3).id.0);
        let used = literal(&test, &node(1).id.0);
        execute(
            &test,
            &[
                format!("UPDATE node SET state = 'lost' WHERE id = {lost}"),
                format!("UPDATE node SET used = {GIB} WHERE id = {used}"),
            ],
        )
        .await;
        let found = storage(&mut test.app.db.read().await.unwrap()).await.unwrap();
        let allocatable = 2 * (100 * GIB - NODE_RESERVED);
        assert_eq!((found.nodes, found.total_bytes, found.reserved_bytes), (2, 200 * GIB, 2 * NODE_RESERVED));
        assert_eq!(
            (found.allocatable_bytes, found.used_bytes, found.available_bytes),
            (allocatable, GIB, allocatable - GIB)
        );
        assert!((found.utilization - 1.0 / 196.0).abs() < 1e-9);
    }

    #[tokio::test]
    async fn nodes_that_claimed_the_impossible_do_not_overflow_the_sum() {
        let test = server_with((1..=3).map(node), |_| {}).await;
        let claim = format!("UPDATE node SET capacity = {max}, used = {max}, free = {max}", max = i64::MAX);
        execute(&test, &[claim]).await;
        let found = storage(&mut test.app.db.read().await.unwrap()).await.unwrap();
        assert_eq!((found.total_bytes, found.used_bytes), (3 * CAPACITY_MAX, 3 * CAPACITY_MAX));
    }

    #[tokio::test]
    async fn the_sum_of_many_large_nodes_is_more_than_a_database_counts() {
        let test = server_with([], |_| {}).await;
        let (none, all) = (literal(&test, &[]), 8200_u64);
        let row = |number: u64| {
            let id = literal(&test, &u128::from(number).to_be_bytes());
            format!(
                "({id}, {none}, {none}, '', '', '', 1, '', '', {CAPACITY_MAX}, 5, 0, 0, 0, 0, '', 'online', 1000, 1, 1)"
            )
        };
        let statements: Vec<String> = (0..all / 1025)
            .map(|part| {
                let rows: Vec<String> = (part * 1025..(part + 1) * 1025).map(row).collect();
                format!(
                    "INSERT INTO node (id, public_key, operator, machine, address, ip, tls, version, region, capacity, used, trash, \
                     free, chunks, damaged, read_only, state, score, registered_ns, last_heartbeat_ns) VALUES {}",
                    rows.join(", ")
                )
            })
            .collect();
        execute(&test, &statements).await;
        let found = storage(&mut test.app.db.read().await.unwrap()).await.unwrap();
        let allocatable = all * (CAPACITY_MAX - NODE_RESERVED);
        assert!(allocatable > i64::MAX.unsigned_abs());
        assert_eq!((found.nodes, found.total_bytes, found.used_bytes), (all, all * CAPACITY_MAX, all * 5));
        assert_eq!((found.allocatable_bytes, found.available_bytes), (allocatable, allocatable - all * 5));
    }

    #[tokio::test]
    async fn an_operator_sees_their_own_nodes_alone() {
        let test = server_with((1..=2).map(node), |_| {}).await;
        let found = own(&mut test.app.db.read().await.unwrap(), node(2).operator, 0).await.unwrap();
        assert_eq!(found.iter().map(|own| own.node).collect::<Vec<_>>(), [node(2).id]);
        assert_eq!((found[0].traffic_month_bytes, &found[0].audits), (0, &None));
    }
}
