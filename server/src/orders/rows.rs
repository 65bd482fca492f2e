//! Grants and sums in the database.

use cyx_core::ids::{AccountId, GrantId, LeaseId, NodeId, SessionId};
use cyx_core::order::Terms;
use sqlx::Row as _;

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

/// An account's traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that the plan allows in a month.
    pub limit: u64,
    /// Bytes that clients signed for this month.
    pub settled: u64,
    /// Bytes that living grants still allow.
    pub promised: u64,
}

impl Traffic {
    /// Bytes that may still be promised.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.settled).saturating_sub(self.promised)
    }
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
         CAST(COALESCE((SELECT bytes FROM traffic_account WHERE account = $1 AND month = $2), 0) AS BIGINT), \
         CAST(COALESCE((SELECT SUM(allowance - settled) FROM traffic_grant WHERE account = $1 AND promised_until > $3), 0) \
         AS BIGINT) FROM account WHERE id = $1",
    )
    .bind(&account.0[..])
    .bind(month(now))
    .bind(signed(now))
    .fetch_optional(conn)
    .await?;
    let row = row.ok_or(DbError::Corrupt("an account does not exist"))?;
    let bytes =
        |column: usize| -> Result<u64, DbError> { Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0)) };
    Ok(Traffic { limit: bytes(0)?, settled: bytes(1)?, promised: bytes(2)? })
}

/// Keeps others from promising traffic of an account until the transaction ends.
///
/// # Errors
/// [`DbError`].
pub async fn lock(conn: &mut Conn, backend: Backend, account: AccountId) -> Result<(), DbError> {
    if backend == Backend::Postgres {
        sqlx::query("SELECT 1 FROM account WHERE id = $1 FOR UPDATE").bind(&account.0[..]).fetch_optional(conn).await?;
    }
    Ok(())
}

/// What a session's leases that were ended at `now` still allowed is no longer promised. What is signed for it all the same counts.
///
/// # Errors
/// [`DbError`].
pub async fn release_ended(conn: &mut Conn, session: SessionId, now: u64) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE traffic_grant SET promised_until = $1 WHERE promised_until > $1 AND lease IN \
         (SELECT id FROM lease WHERE session = $2 AND expires = $1)",
    )
    .bind(signed(now))
    .bind(&session.0[..])
    .execute(conn)
    .await?;
    Ok(())
}

/// What grants to read still allowed, which their session says are spent or which newer ones replace, is no longer promised.
///
/// # Errors
/// [`DbError`].
pub async fn release_spent(conn: &mut Conn, session_key: [u8; 32], spent: &[GrantId], now: u64) -> Result<(), DbError> {
    for grant in spent {
        sqlx::query(
            "UPDATE traffic_grant SET promised_until = $1 WHERE id = $2 AND session_key = $3 AND promised_until > $1",
        )
        .bind(signed(now))
        .bind(grant.to_vec())
        .bind(session_key.to_vec())
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// A grant that was issued, locked until the transaction ends.
pub(super) async fn issued(conn: &mut Conn, backend: Backend, grant: GrantId) -> Result<Option<Issued>, DbError> {
    let text = format!(
        "SELECT account, node, session_key, allowance, settled FROM traffic_grant WHERE id = $1{}",
        backend.for_update()
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(text)).bind(grant.to_vec()).fetch_optional(&mut *conn).await?;
    let Some(row) = row else { return issued_for_repair(conn, backend, grant).await };
    let account = row.try_get::<Vec<u8>, _>(0)?;
    let node = row.try_get::<Vec<u8>, _>(1)?;
    let key = row.try_get::<Vec<u8>, _>(2)?;
    let bytes =
        |column: usize| -> Result<u64, DbError> { Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0)) };
    let terms = Terms {
        node: NodeId::try_from(&node[..]).map_err(|_| DbError::Corrupt("traffic_grant.node"))?,
        grant,
        session_key: key.try_into().map_err(|_| DbError::Corrupt("traffic_grant.session_key"))?,
        allowance: bytes(3)?,
    };
    let account = AccountId::try_from(&account[..]).map_err(|_| DbError::Corrupt("traffic_grant.account"))?;
    Ok(Some(Issued { terms, account: Some(account), settled: bytes(4)? }))
}

/// As [`issued`], among the grants by which nodes read from each other.
async fn issued_for_repair(conn: &mut Conn, backend: Backend, grant: GrantId) -> Result<Option<Issued>, DbError> {
    let text =
        format!("SELECT node, session_key, allowance, settled FROM repair_grant WHERE id = $1{}", backend.for_update());
    let row = sqlx::query(sqlx::AssertSqlSafe(text)).bind(grant.to_vec()).fetch_optional(conn).await?;
    let Some(row) = row else { return Ok(None) };
    let terms =
        Terms { node: sql::id(&row, 0)?, grant, session_key: sql::array(&row, 1)?, allowance: sql::uint(&row, 2)? };
    Ok(Some(Issued { terms, account: None, settled: sql::uint(&row, 3)? }))
}

/// Raises the settled traffic of a grant and adds what is new to both sums.
pub(super) async fn settle(conn: &mut Conn, issued: &Issued, traffic: u64, now: u64) -> Result<(), DbError> {
    let Issued { terms, account, settled } = issued;
    let grown = signed(traffic.saturating_sub(*settled));
    let text = match account {
        Some(_) => "UPDATE traffic_grant SET settled = $1 WHERE id = $2",
        None => "UPDATE repair_grant SET settled = $1 WHERE id = $2",
    };
    sqlx::query(text).bind(signed(traffic)).bind(&terms.grant.0[..]).execute(&mut *conn).await?;
    let of_account = account.map(|account| {
        let text = "INSERT INTO traffic_account (account, month, bytes) VALUES ($1, $2, $3) \
                    ON CONFLICT (account, month) DO UPDATE SET bytes = traffic_account.bytes + excluded.bytes";
        (text, account.0)
    });
    let of_node = (
        "INSERT INTO traffic_node (node, month, bytes) VALUES ($1, $2, $3) \
         ON CONFLICT (node, month) DO UPDATE SET bytes = traffic_node.bytes + excluded.bytes",
        terms.node.0,
    );
    for (text, id) in of_account.into_iter().chain([of_node]) {
        sqlx::query(text).bind(id.to_vec()).bind(month(now)).bind(grown).execute(&mut *conn).await?;
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
