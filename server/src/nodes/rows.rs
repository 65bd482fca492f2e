//! Nodes in the database.

use std::net::{IpAddr, Ipv4Addr};

use cyx_core::ids::{AccountId, NodeId};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::registry::{AHEAD_MAX_NS, CAPACITY_MAX, Leaving, Liveness, NodeRecord, Report};
use crate::audits::Standing;
use crate::db::{Conn, DbError};
use crate::time::now_ns;

const COLUMNS: &str = "SELECT n.id, n.public_key, n.operator, n.machine, n.address, n.ip, n.tls, n.version, n.region, n.capacity, \
                       n.used, n.trash, n.free, n.chunks, n.damaged, n.read_only, n.state, n.score, n.registered_ns, \
                       n.last_heartbeat_ns, COALESCE(r.sequence, 0), n.leaving, \
                       COALESCE(a.standing, 'vetting'), COALESCE(a.score, 1000), n.skew, n.takes_no_tasks FROM node n \
                       LEFT JOIN keep_list_round r ON r.node = n.id LEFT JOIN node_audit a ON a.node = n.id";

/// Every node.
///
/// # Errors
/// [`DbError`].
pub async fn load_all(conn: &mut Conn) -> Result<Vec<NodeRecord>, DbError> {
    sqlx::query(COLUMNS).fetch_all(conn).await?.iter().map(from_row).collect()
}

/// Some nodes, by id. Those that do not exist are left out.
///
/// # Errors
/// [`DbError`].
pub async fn load(conn: &mut Conn, ids: &[NodeId]) -> Result<Vec<NodeRecord>, DbError> {
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let text = sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE n.id = $1"));
        if let Some(row) = sqlx::query(text).bind(&id.0[..]).fetch_optional(&mut *conn).await? {
            found.push(from_row(&row)?);
        }
    }
    Ok(found)
}

/// Writes a registration down.
///
/// # Errors
/// [`DbError`].
pub async fn register(conn: &mut Conn, node: &NodeRecord) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO node (id, public_key, operator, machine, address, ip, tls, version, region, capacity, used, trash, free, chunks, \
         damaged, read_only, state, score, registered_ns, last_heartbeat_ns) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) \
         ON CONFLICT (id) DO UPDATE SET operator = excluded.operator, machine = excluded.machine, address = excluded.address, \
         ip = excluded.ip, tls = excluded.tls, version = excluded.version, region = excluded.region, capacity = excluded.capacity, \
         state = excluded.state, last_heartbeat_ns = CASE WHEN excluded.last_heartbeat_ns > node.last_heartbeat_ns \
         OR node.last_heartbeat_ns > excluded.last_heartbeat_ns + $21 \
         THEN excluded.last_heartbeat_ns ELSE node.last_heartbeat_ns + 1 END",
    )
    .bind(&node.id.0[..])
    .bind(&node.public_key[..])
    .bind(&node.operator.0[..])
    .bind(&node.machine)
    .bind(&node.address)
    .bind(node.ip.to_string())
    .bind(i64::from(node.tls))
    .bind(&node.version)
    .bind(&node.region)
    .bind(signed(node.capacity))
    .bind(signed(node.report.used))
    .bind(signed(node.report.trash))
    .bind(signed(node.report.free))
    .bind(signed(node.report.chunks))
    .bind(signed(node.report.damaged))
    .bind(&node.report.read_only)
    .bind(node.state.as_str())
    .bind(i64::from(node.score))
    .bind(node.registered_ns)
    .bind(node.last_heartbeat_ns)
    .bind(AHEAD_MAX_NS)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down what heartbeats said. A server that knows less does not undo what another wrote, unless a clock that was far ahead told when.
///
/// # Errors
/// [`DbError`].
pub async fn write_reports(conn: &mut Conn, nodes: &[NodeRecord]) -> Result<(), DbError> {
    let ahead = now_ns().saturating_add(AHEAD_MAX_NS);
    for node in nodes {
        sqlx::query(
            "UPDATE node SET version = $1, used = $2, trash = $3, free = $4, chunks = $5, damaged = $6, read_only = $7, state = $8, \
             score = $9, last_heartbeat_ns = $10, skew = $12, takes_no_tasks = $13 WHERE id = $11 \
             AND (last_heartbeat_ns <= $10 OR last_heartbeat_ns > $14)",
        )
        .bind(&node.version)
        .bind(signed(node.report.used))
        .bind(signed(node.report.trash))
        .bind(signed(node.report.free))
        .bind(signed(node.report.chunks))
        .bind(signed(node.report.damaged))
        .bind(&node.report.read_only)
        .bind(node.state.as_str())
        .bind(i64::from(node.score))
        .bind(node.last_heartbeat_ns)
        .bind(&node.id.0[..])
        .bind(node.report.skew)
        .bind(i64::from(node.report.takes_no_tasks))
        .bind(ahead)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

fn from_row(row: &AnyRow) -> Result<NodeRecord, DbError> {
    let id = row.try_get::<Vec<u8>, _>(0)?;
    let operator = row.try_get::<Vec<u8>, _>(2)?;
    Ok(NodeRecord {
        id: NodeId::try_from(&id[..]).map_err(|_| DbError::Corrupt("node.id"))?,
        public_key: row.try_get::<Vec<u8>, _>(1)?.try_into().map_err(|_| DbError::Corrupt("node.public_key"))?,
        operator: AccountId::try_from(&operator[..]).map_err(|_| DbError::Corrupt("node.operator"))?,
        machine: row.try_get(3)?,
        address: row.try_get(4)?,
        ip: row.try_get::<String, _>(5)?.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        tls: row.try_get::<i64, _>(6)? != 0,
        version: row.try_get(7)?,
        region: row.try_get(8)?,
        capacity: unsigned(row.try_get(9)?).min(CAPACITY_MAX),
        report: Report {
            used: unsigned(row.try_get(10)?),
            trash: unsigned(row.try_get(11)?),
            free: unsigned(row.try_get(12)?),
            chunks: unsigned(row.try_get(13)?),
            damaged: unsigned(row.try_get(14)?),
            read_only: row.try_get(15)?,
            skew: row.try_get(24)?,
            takes_no_tasks: row.try_get::<i64, _>(25)? != 0,
        },
        state: Liveness::parse(&row.try_get::<String, _>(16)?),
        score: u32::try_from(row.try_get::<i64, _>(17)?).unwrap_or(0),
        registered_ns: row.try_get(18)?,
        last_heartbeat_ns: row.try_get(19)?,
        keep_list_sequence: unsigned(row.try_get(20)?),
        leaving: Leaving::parse(&row.try_get::<String, _>(21)?),
        standing: Standing::parse(&row.try_get::<String, _>(22)?),
        audit_score: u32::try_from(row.try_get::<i64, _>(23)?).unwrap_or(0),
    })
}

/// As the database has it: numbers that are too large to be true are the largest that fits.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
