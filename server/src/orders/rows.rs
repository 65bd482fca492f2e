//! Grants and sums in the database.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cyx_core::ids::{AccountId, GrantId, LeaseId, NodeId, SessionId};
use cyx_core::order::Terms;
use cyx_core::units::GRANT_LIFETIME_SECONDS;
use sqlx::any::AnyRow;

use super::limit::Traffic;
use super::month;
use crate::db::{Backend, Conn, DbError, insert_many};
use crate::tree::sql;

/// For so many seconds after its end a grant's orders can be handed in: nodes may have been without their server for days.
pub const HAND_IN_SECONDS: u64 = 8 * 24 * 3600;

/// A grant that was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issued {
    /// What its orders are checked against.
    pub terms: Terms,
    /// Whose traffic it is; `None` for that of nodes that repair, which counts for the node that was read from and for no account.
    pub account: Option<AccountId>,
    /// The highest order so far.
    pub settled: u64,
}

/// A grant whose orders count for more than before.
#[derive(Debug, Clone, Copy)]
pub struct Grown<'a> {
    /// As it was before.
    pub issued: Issued,
    /// The highest order now.
    pub traffic: u64,
    /// That order, as the client signed it.
    pub order: &'a [u8],
}

/// A grant about to be issued.
#[derive(Debug, Clone, Copy)]
pub struct NewGrant {
    /// Its id.
    pub id: GrantId,
    /// Its node.
    pub node: NodeId,
    /// The lease that it belongs to, if it is one to store.
    pub lease: Option<LeaseId>,
    /// Most bytes that may be moved under it.
    pub allowance: u64,
    /// Unix second of its end.
    pub expires: u64,
}

/// Writes issued grants down.
pub(super) async fn insert(
    conn: &mut Conn,
    account: AccountId,
    session_key: [u8; 32],
    grants: &[NewGrant],
) -> Result<(), DbError> {
    let head = "INSERT INTO traffic_grant (id, account, node, session_key, lease, allowance, settled, promised_until, expires)";
    insert_many(conn, head, 9, "", grants, |statement, grant| {
        statement
            .bind(grant.id.to_vec())
            .bind(account.to_vec())
            .bind(grant.node.to_vec())
            .bind(session_key.to_vec())
            .bind(grant.lease.map_or_else(Vec::new, |lease| lease.to_vec()))
            .bind(signed(grant.allowance))
            .bind(0_i64)
            .bind(signed(grant.expires))
            .bind(signed(grant.expires))
    })
    .await?;
    Ok(())
}

/// An account's traffic at `now` (Unix seconds).
///
/// # Errors
/// [`DbError`].
pub async fn of_account(conn: &mut Conn, account: AccountId, now: u64) -> Result<Traffic, DbError> {
    let row = sqlx::query(
        "SELECT traffic_limit_bytes, \
         CAST(COALESCE((SELECT bytes FROM traffic_account WHERE account = $1 AND month = $2), 0) AS BIGINT) \
         FROM account WHERE id = $1",
    )
    .bind(&account.0[..])
    .bind(month(now))
    .fetch_optional(&mut *conn)
    .await?;
    let row = row.ok_or(DbError::Corrupt("an account does not exist"))?;
    // No grant outlives its promise by more than its life: by that the index leads to the living ones.
    let living = sqlx::query(
        "SELECT CAST(COALESCE(SUM(CASE WHEN length(lease) > 0 AND promised_until > $2 THEN allowance - settled ELSE 0 END), 0) AS BIGINT), \
         CAST(COALESCE(SUM(CASE WHEN length(lease) = 0 AND promised_until > $2 THEN allowance - settled ELSE 0 END), 0) AS BIGINT), \
         CAST(COALESCE(SUM(CASE WHEN promised_until <= $2 THEN allowance - settled ELSE 0 END), 0) AS BIGINT) \
         FROM traffic_grant WHERE account = $1 AND promised_until > $3 AND expires > $2",
    )
    .bind(&account.0[..])
    .bind(signed(now))
    .bind(signed(now.saturating_sub(GRANT_LIFETIME_SECONDS)))
    .fetch_one(conn)
    .await?;
    let (limit, settled) = (sql::uint(&row, 0)?, sql::uint(&row, 1)?);
    let (leased, reads, given_back) = (sql::uint(&living, 0)?, sql::uint(&living, 1)?, sql::uint(&living, 2)?);
    Ok(Traffic { limit, settled, leased, reads, given_back })
}

/// Allowances of grants to read that their session says are spent, by node: the largest of each.
///
/// # Errors
/// [`DbError`].
pub async fn allowances_of(
    conn: &mut Conn,
    session_key: [u8; 32],
    grants: &[GrantId],
) -> Result<HashMap<NodeId, u64>, DbError> {
    let head = "SELECT node, allowance FROM traffic_grant WHERE session_key = $1 AND length(lease) = 0 AND id IN (";
    let ids: Vec<[u8; 16]> = grants.iter().map(|grant| grant.0).collect();
    let mut found = HashMap::new();
    for row in &sql::fetch_in(conn, head, ")", &[sql::Value::Bytes(&session_key)], &ids).await? {
        let largest: &mut u64 = found.entry(sql::id(row, 0)?).or_default();
        *largest = sql::uint::<u64>(row, 1)?.max(*largest);
    }
    Ok(found)
}

/// Keeps others from promising traffic of an account until the transaction ends.
///
/// # Errors
/// [`DbError`].
pub async fn lock(conn: &mut Conn, backend: Backend, account: AccountId) -> Result<(), DbError> {
    if backend == Backend::Postgres {
        let text = format!("SELECT 1 FROM account WHERE id = $1{}", backend.for_no_key_update());
        sqlx::query(sqlx::AssertSqlSafe(text)).bind(&account.0[..]).fetch_optional(conn).await?;
    }
    Ok(())
}

/// What a session's leases that were ended at `now` still allow counts as given back. What is signed for it all the same counts.
///
/// # Errors
/// [`DbError`].
pub async fn release_ended(conn: &mut Conn, session: SessionId, now: u64) -> Result<(), DbError> {
    let which = "promised_until > $1 AND lease IN (SELECT id FROM lease WHERE session = $2 AND expires = $1)";
    let text = release(which, Backend::of(conn));
    sqlx::query(sqlx::AssertSqlSafe(text)).bind(signed(now)).bind(&session.0[..]).execute(conn).await?;
    Ok(())
}

/// What a session's grants to read still allow counts as given back from `now` on: newer ones follow. What is signed for them all the same
/// counts; they may be those of another program of the session that goes on reading.
///
/// # Errors
/// [`DbError`].
pub async fn release_reads(
    conn: &mut Conn,
    account: AccountId,
    session_key: [u8; 32],
    now: u64,
) -> Result<(), DbError> {
    let text =
        release("account = $2 AND promised_until > $1 AND session_key = $3 AND length(lease) = 0", Backend::of(conn));
    sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(signed(now))
        .bind(&account.0[..])
        .bind(&session_key[..])
        .execute(conn)
        .await?;
    Ok(())
}

/// As [`release_reads`], for a session that ends: nobody reads on who keeps to it.
///
/// # Errors
/// [`DbError`].
pub async fn release_reads_of(conn: &mut Conn, session: SessionId, now: u64) -> Result<(), DbError> {
    let row = sqlx::query("SELECT account, public_key FROM session WHERE id = $1")
        .bind(&session.0[..])
        .fetch_optional(&mut *conn)
        .await?;
    let Some(row) = row else { return Ok(()) };
    release_reads(conn, sql::id(&row, 0)?, sql::array(&row, 1)?, now).await
}

/// The statement that gives grants back from `$1` on. It locks them as [`issued`] does.
fn release(which: &str, backend: Backend) -> String {
    match backend {
        Backend::Sqlite => format!("UPDATE traffic_grant SET promised_until = $1 WHERE {which}"),
        Backend::Postgres => format!(
            "UPDATE traffic_grant SET promised_until = $1 WHERE id IN \
             (SELECT id FROM traffic_grant WHERE {which} ORDER BY id FOR NO KEY UPDATE)"
        ),
    }
}

/// Those of the grants that were issued, locked until the transaction ends. Whoever locks several does it in the order of their ids, so that no
/// two wait for each other.
pub(super) async fn issued(
    conn: &mut Conn,
    backend: Backend,
    grants: &BTreeSet<GrantId>,
) -> Result<HashMap<GrantId, Issued>, DbError> {
    let tail = format!(") ORDER BY id{}", backend.for_no_key_update());
    let ids: Vec<[u8; 16]> = grants.iter().map(|grant| grant.0).collect();
    let head = "SELECT id, node, session_key, allowance, settled, account FROM traffic_grant WHERE id IN (";
    let mut found = HashMap::with_capacity(ids.len());
    for row in &sql::fetch_in(conn, head, &tail, &[], &ids).await? {
        let terms = terms_of(row)?;
        let account = Some(sql::id(row, 5)?);
        found.insert(terms.grant, Issued { terms, account, settled: sql::uint(row, 4)? });
    }
    // The others may be those by which nodes read from each other.
    let ids: Vec<[u8; 16]> = grants.iter().filter(|grant| !found.contains_key(grant)).map(|grant| grant.0).collect();
    let head = "SELECT id, node, session_key, allowance, settled FROM repair_grant WHERE id IN (";
    for row in &sql::fetch_in(conn, head, &tail, &[], &ids).await? {
        let terms = terms_of(row)?;
        found.insert(terms.grant, Issued { terms, account: None, settled: sql::uint(row, 4)? });
    }
    Ok(found)
}

fn terms_of(row: &AnyRow) -> Result<Terms, DbError> {
    Ok(Terms {
        grant: sql::id(row, 0)?,
        node: sql::id(row, 1)?,
        session_key: sql::array(row, 2)?,
        allowance: sql::uint(row, 3)?,
    })
}

/// Raises the settled traffic of grants and adds what is new to the sums of accounts and nodes.
pub(super) async fn settle(conn: &mut Conn, grown: &[Grown<'_>], now: u64) -> Result<(), DbError> {
    // In the order of their ids, for the same reason.
    let (mut of_accounts, mut of_nodes) = (BTreeMap::<AccountId, i64>::new(), BTreeMap::<NodeId, i64>::new());
    for Grown { issued: Issued { terms, account, settled }, traffic, .. } in grown {
        let text = match account {
            Some(_) => "UPDATE traffic_grant SET settled = $1 WHERE id = $2",
            None => "UPDATE repair_grant SET settled = $1 WHERE id = $2",
        };
        sqlx::query(text).bind(signed(*traffic)).bind(&terms.grant.0[..]).execute(&mut *conn).await?;
        let more = signed(traffic.saturating_sub(*settled));
        for sum in account
            .map(|account| of_accounts.entry(account).or_default())
            .into_iter()
            .chain([of_nodes.entry(terms.node).or_default()])
        {
            *sum = sum.saturating_add(more);
        }
    }
    let of_accounts = of_accounts.into_iter().map(|(account, bytes)| {
        let text = "INSERT INTO traffic_account (account, month, bytes) VALUES ($1, $2, $3) \
                    ON CONFLICT (account, month) DO UPDATE SET bytes = traffic_account.bytes + excluded.bytes";
        (text, account.0, bytes)
    });
    let of_nodes = of_nodes.into_iter().map(|(node, bytes)| {
        let text = "INSERT INTO traffic_node (node, month, bytes) VALUES ($1, $2, $3) \
                    ON CONFLICT (node, month) DO UPDATE SET bytes = traffic_node.bytes + excluded.bytes";
        (text, node.0, bytes)
    });
    for (text, id, bytes) in of_accounts.chain(of_nodes) {
        sqlx::query(text).bind(id.to_vec()).bind(month(now)).bind(bytes).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Forgets grants whose orders are not taken any more; how many.
///
/// # Errors
/// [`DbError`].
pub async fn forget_grants(conn: &mut Conn, now: u64) -> Result<u64, DbError> {
    let before = now.saturating_sub(HAND_IN_SECONDS);
    sqlx::query("DELETE FROM repair_grant WHERE expires < $1").bind(signed(before)).execute(&mut *conn).await?;
    let done = sqlx::query("DELETE FROM traffic_grant WHERE expires < $1").bind(signed(before)).execute(conn).await?;
    Ok(done.rows_affected())
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
