//! Whether everything adds up: statements follow from their facts, postings from statements, payouts from postings.

use std::collections::{BTreeMap, BTreeSet};

use cyx_core::earnings::Work;
use cyx_core::ids::NodeId;
use sqlx::Row as _;

use super::close::work_in;
use super::epoch::{self, Epoch};
use super::unsigned;
use crate::auth::column_id;
use crate::db::{Conn, DbError};

/// One sentence for each contradiction in the books; none if there is none.
///
/// # Errors
/// [`DbError`].
pub async fn check(conn: &mut Conn) -> Result<Vec<String>, DbError> {
    let mut findings = Vec::new();
    let text = sqlx::AssertSqlSafe(format!("{} ORDER BY id", epoch::SELECT));
    let epochs: Vec<Epoch> =
        sqlx::query(text).fetch_all(&mut *conn).await?.iter().map(epoch::read).collect::<Result<_, _>>()?;
    for pair in epochs.windows(2) {
        if pair[1].begins != pair[0].ends || pair[1].id != pair[0].id + 1 {
            findings.push(format!("epoch {} does not begin where epoch {} ends", pair[1].id, pair[0].id));
        }
    }
    if epochs.iter().filter(|epoch| epoch.closed_ns == 0).count() != 1 {
        findings.push("not exactly one epoch is open".to_owned());
    }
    for epoch in epochs.iter().filter(|epoch| epoch.closed_ns != 0) {
        check_epoch(conn, epoch, &mut findings).await?;
    }
    for row in
        sqlx::query("SELECT epoch, grant_id FROM ledger_order WHERE traffic < paid_before OR traffic > allowance")
            .fetch_all(&mut *conn)
            .await?
    {
        let (epoch, grant): (i64, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
        findings.push(format!("an order of grant {} in epoch {epoch} pays for what it is not for", hex::encode(grant)));
    }
    let below = sqlx::query(
        "SELECT node FROM ledger_posting WHERE reason IN ('held', 'released', 'forfeited') GROUP BY node \
         HAVING SUM(CASE reason WHEN 'held' THEN micros ELSE -micros END) < 0",
    );
    for row in below.fetch_all(conn).await? {
        findings
            .push(format!("more was released than was held of node {}", hex::encode(row.try_get::<Vec<u8>, _>(0)?)));
    }
    Ok(findings)
}

struct Statement {
    work: Work,
    storage: u64,
    traffic: u64,
    operator: u64,
    platform: u64,
    held: u64,
}

async fn statements(conn: &mut Conn, epoch: i64) -> Result<BTreeMap<NodeId, Statement>, DbError> {
    let rows = sqlx::query(
        "SELECT node, user_byte_seconds, reserved_byte_seconds, traffic_bytes, storage_micros, traffic_micros, operator_micros, \
         platform_micros, held_micros FROM ledger_statement WHERE epoch = $1",
    )
    .bind(epoch)
    .fetch_all(conn)
    .await?;
    let mut found = BTreeMap::new();
    for row in &rows {
        let decimal = |column: usize| -> Result<u128, DbError> {
            row.try_get::<String, _>(column)?.parse().map_err(|_| DbError::Corrupt("ledger_statement"))
        };
        let work = Work {
            user_byte_seconds: decimal(1)?,
            reserved_byte_seconds: decimal(2)?,
            traffic_bytes: unsigned(row, 3)?,
        };
        let statement = Statement {
            work,
            storage: unsigned(row, 4)?,
            traffic: unsigned(row, 5)?,
            operator: unsigned(row, 6)?,
            platform: unsigned(row, 7)?,
            held: unsigned(row, 8)?,
        };
        found.insert(column_id(row, 0)?, statement);
    }
    Ok(found)
}

async fn check_epoch(conn: &mut Conn, epoch: &Epoch, findings: &mut Vec<String>) -> Result<(), DbError> {
    let id = epoch.id;
    let statements = statements(conn, id).await?;
    let work = work_in(conn, id).await?;
    let postings = amounts(conn, "SELECT node, reason, micros FROM ledger_posting WHERE epoch = $1", id).await?;
    let payouts = amounts(conn, "SELECT node, 'due', micros FROM ledger_payout WHERE epoch = $1", id).await?;
    let settled =
        amounts(conn, "SELECT node, 'settled', micros FROM ledger_payout WHERE epoch = $1 AND settled_ns <> 0", id)
            .await?;
    let posted = |node: NodeId, reason: &str| postings.get(&(node, reason.to_owned())).copied().unwrap_or(0);
    // Facts are forgotten after a while; then the statement is all there is.
    let has_lines = !work.is_empty();
    let nodes: BTreeSet<NodeId> = statements.keys().chain(work.keys()).copied().collect();
    for node in nodes {
        let mut wrong = |what: &str| findings.push(format!("epoch {id}, node {node}: {what}"));
        let Some(statement) = statements.get(&node) else {
            wrong("it did something and has no statement");
            continue;
        };
        if has_lines && work.get(&node).copied().unwrap_or_default() != statement.work {
            wrong("its statement is not what its facts come to");
        }
        let pay = statement.work.pay(epoch.rates);
        let stated = (statement.storage, statement.traffic, statement.operator, statement.platform);
        if (pay.storage, pay.traffic, pay.operator, pay.platform) != stated {
            wrong("its statement is not computed by the rates");
        }
        if posted(node, "earned") + posted(node, "held") != statement.operator
            || posted(node, "held") != statement.held
            || posted(node, "fee") != statement.platform
        {
            wrong("its postings are not what its statement says");
        }
        let due = payouts.get(&(node, "due".to_owned())).copied().unwrap_or(0);
        if due != posted(node, "earned") + posted(node, "released") {
            wrong("what is paid out is not what was earned and released");
        }
        if settled.get(&(node, "settled".to_owned())).copied().unwrap_or(0) != posted(node, "paid") {
            wrong("what was settled is not what was posted as paid");
        }
    }
    Ok(())
}

async fn amounts(conn: &mut Conn, text: &'static str, epoch: i64) -> Result<BTreeMap<(NodeId, String), u64>, DbError> {
    let rows = sqlx::query(text).bind(epoch).fetch_all(conn).await?;
    rows.iter().map(|row| Ok(((column_id(row, 0)?, row.try_get(1)?), unsigned(row, 2)?))).collect()
}

/// Balances of all accounts: what they were given less what was taken. They sum up to nothing.
///
/// # Errors
/// [`DbError`].
pub async fn balances(conn: &mut Conn) -> Result<BTreeMap<String, i128>, DbError> {
    let mut found: BTreeMap<String, i128> = BTreeMap::new();
    for row in sqlx::query("SELECT debit, credit, micros FROM ledger_posting").fetch_all(conn).await? {
        let micros = i128::from(unsigned(&row, 2)?);
        *found.entry(row.try_get(0)?).or_default() -= micros;
        *found.entry(row.try_get(1)?).or_default() += micros;
    }
    Ok(found)
}
