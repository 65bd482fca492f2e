//! Placements and leases in the database.

use std::collections::{BTreeSet, HashSet};

use cyx_core::ids::{AccountId, BucketId, ID_LEN, LeaseId, NodeId, PlacementId, SessionId};
use cyx_core::scheme::Scheme;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::Placement;
use super::lease::LeaseError;
use crate::db::{Backend, Conn, DbError, insert_many};
use crate::nodes::NodeRecord;
use crate::orders;
use crate::tree::sql::{self, Value};

/// After so many seconds without use a lease's allowance does not count any more. Longer than it takes to fill a segment.
pub const IDLE_SECONDS: u64 = 180;

/// A lease as it was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// Who may use it.
    pub session: SessionId,
    /// Whose quota it counts against.
    pub account: AccountId,
    /// For which bucket.
    pub bucket: BucketId,
    /// Where.
    pub placement: PlacementId,
    /// Nodes that may take the place of those of the placement.
    pub spares: Vec<NodeId>,
    /// Sealed bytes, before coding.
    pub allowance: u64,
    /// Of which so many were committed or staged.
    pub used: u64,
    /// Unix seconds.
    pub expires: u64,
}

/// Placements that new leases may use.
pub(super) async fn load_open(conn: &mut Conn) -> Result<Vec<Placement>, DbError> {
    let rows = sqlx::query("SELECT id, k, m, nodes FROM placement WHERE open = 1").fetch_all(conn).await?;
    rows.iter().map(placement).collect()
}

/// One placement.
///
/// # Errors
/// [`DbError`].
pub async fn load(conn: &mut Conn, id: PlacementId) -> Result<Option<Placement>, DbError> {
    let row =
        sqlx::query("SELECT id, k, m, nodes FROM placement WHERE id = $1").bind(&id.0[..]).fetch_optional(conn).await?;
    row.as_ref().map(placement).transpose()
}

/// The nodes of a placement, in the order of the shards.
///
/// # Errors
/// [`DbError`], also if one of them is unknown, which never happens.
pub async fn nodes(conn: &mut Conn, id: PlacementId) -> Result<Vec<NodeRecord>, DbError> {
    let Some(placement) = load(conn, id).await? else { return Ok(Vec::new()) };
    let found = crate::nodes::rows::load(conn, &placement.nodes).await?;
    if found.len() == placement.nodes.len() { Ok(found) } else { Err(DbError::Corrupt("placement.nodes")) }
}

/// Writes a placement down that is to be used, or takes it into use again, and keeps it so until the transaction ends. Two servers that write
/// the same one agree.
pub(crate) async fn insert(
    conn: &mut Conn,
    backend: Backend,
    placement: &Placement,
    now_ns: i64,
) -> Result<(), DbError> {
    // Almost every lease is for one that is there, and few placements are shared by all: who only uses one keeps nobody else from that.
    let text = format!("SELECT 1 FROM placement WHERE id = $1 AND open = 1{}", backend.for_share());
    let is_there = sqlx::query(sqlx::AssertSqlSafe(&text[..])).bind(&placement.id.0[..]).fetch_optional(&mut *conn);
    if is_there.await?.is_some() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO placement (id, k, m, nodes, open, created_ns) VALUES ($1, $2, $3, $4, 1, $5) \
         ON CONFLICT (id) DO UPDATE SET open = 1",
    )
    .bind(&placement.id.0[..])
    .bind(count(placement.scheme.k()))
    .bind(count(placement.scheme.m()))
    .bind(concat(&placement.nodes))
    .bind(now_ns)
    .execute(&mut *conn)
    .await?;
    let rows: Vec<(NodeId, i64)> = placement.nodes.iter().copied().zip(0..).collect();
    let id = placement.id.to_vec();
    let head = "INSERT INTO placement_node (node, placement, shard)";
    insert_many(conn, head, 3, "ON CONFLICT DO NOTHING", &rows, |statement, (node, shard)| {
        statement.bind(node.to_vec()).bind(id.clone()).bind(*shard)
    })
    .await?;
    Ok(())
}

/// The placement of exactly these nodes, if there is one.
pub(crate) async fn find(
    conn: &mut Conn,
    (k, m): (usize, usize),
    nodes: &[NodeId],
) -> Result<Option<PlacementId>, DbError> {
    let row = sqlx::query("SELECT id FROM placement WHERE k = $1 AND m = $2 AND nodes = $3 ORDER BY id LIMIT 1")
        .bind(count(k))
        .bind(count(m))
        .bind(concat(nodes))
        .fetch_optional(conn)
        .await?;
    row.map(|row| sql::id(&row, 0)).transpose()
}

/// No new lease may use a placement any more.
pub(crate) async fn close(conn: &mut Conn, placement: PlacementId) -> Result<(), DbError> {
    sqlx::query("UPDATE placement SET open = 0 WHERE id = $1").bind(&placement.0[..]).execute(conn).await?;
    Ok(())
}

/// Writes new leases down.
pub(super) async fn insert_leases(conn: &mut Conn, leases: &[Lease], now: u64) -> Result<(), DbError> {
    let head = "INSERT INTO lease (id, session, account, bucket, placement, spares, allowance, used, expires, touched)";
    insert_many(conn, head, 10, "", leases, |statement, lease| {
        statement
            .bind(lease.id.to_vec())
            .bind(lease.session.to_vec())
            .bind(lease.account.to_vec())
            .bind(lease.bucket.to_vec())
            .bind(lease.placement.to_vec())
            .bind(concat(&lease.spares))
            .bind(signed(lease.allowance))
            .bind(signed(lease.used))
            .bind(signed(lease.expires))
            .bind(signed(now))
    })
    .await?;
    Ok(())
}

/// Uses `bytes` sealed bytes of a lease: for a commit or for staging, in its transaction. A lease whose time is over still counts what
/// was stored in time, because its nodes refused everything later. `now` in Unix seconds.
///
/// # Errors
/// [`LeaseError::Unknown`] if there is no such lease of this session and bucket, [`LeaseError::Exhausted`] if it allows less.
pub async fn consume(
    conn: &mut Conn,
    lease: LeaseId,
    session: SessionId,
    bucket: BucketId,
    bytes: u64,
    now: u64,
) -> Result<Lease, LeaseError> {
    let row = sqlx::query(
        "UPDATE lease SET used = used + $1, touched = $5 WHERE id = $2 AND session = $3 AND bucket = $4 AND allowance - used >= $1 \
         RETURNING id, session, account, bucket, placement, spares, allowance, used, expires",
    )
    .bind(signed(bytes))
    .bind(&lease.0[..])
    .bind(&session.0[..])
    .bind(&bucket.0[..])
    .bind(signed(now))
    .fetch_optional(&mut *conn)
    .await
    .map_err(DbError::from)?;
    if let Some(row) = row {
        return Ok(lease_of(&row)?);
    }
    let exists = sqlx::query("SELECT 1 FROM lease WHERE id = $1 AND session = $2 AND bucket = $3")
        .bind(&lease.0[..])
        .bind(&session.0[..])
        .bind(&bucket.0[..])
        .fetch_optional(conn)
        .await
        .map_err(DbError::from)?;
    Err(if exists.is_some() { LeaseError::Exhausted } else { LeaseError::Unknown })
}

/// Sealed bytes that an account's leases may still use: they count against its quota. Those of a lease that nobody used for
/// [`IDLE_SECONDS`] do not, until it is used again: whoever had it may have died, and must not keep the account from going on.
///
/// # Errors
/// [`DbError`].
pub async fn pending_bytes(conn: &mut Conn, account: AccountId, now: u64) -> Result<u64, DbError> {
    let sum: i64 = sqlx::query_scalar(
        "SELECT CAST(COALESCE(SUM(allowance - used), 0) AS BIGINT) FROM lease WHERE account = $1 AND expires > $2 AND touched > $3",
    )
    .bind(&account.0[..])
    .bind(signed(now))
    .bind(signed(now.saturating_sub(IDLE_SECONDS)))
    .fetch_one(conn)
    .await?;
    Ok(u64::try_from(sum).unwrap_or(0))
}

/// Keeps those of the leases that are a session's from being changed by others until the transaction ends. Whoever needs several begins with
/// this.
///
/// # Errors
/// [`DbError`].
pub async fn lock(conn: &mut Conn, session: SessionId, leases: &BTreeSet<LeaseId>) -> Result<(), DbError> {
    let backend = Backend::of(conn);
    if backend == Backend::Postgres && leases.len() > 1 {
        let keys: Vec<[u8; 16]> = leases.iter().map(|lease| lease.0).collect();
        let tail = format!(") ORDER BY id{}", backend.for_no_key_update());
        let head = "SELECT 1 FROM lease WHERE session = $1 AND id IN (";
        sql::fetch_in(conn, head, &tail, &[Value::Bytes(&session.0)], &keys).await?;
    }
    Ok(())
}

/// Ends all but the `keep` youngest leases of a session. What they promise is given back by [`orders::release_ended`].
pub(super) async fn end_oldest(conn: &mut Conn, session: SessionId, keep: usize, now: u64) -> Result<(), DbError> {
    let rows = sqlx::query("SELECT id FROM lease WHERE session = $1 AND expires > $2 ORDER BY expires DESC, id")
        .bind(&session.0[..])
        .bind(signed(now))
        .fetch_all(&mut *conn)
        .await?;
    let oldest: BTreeSet<LeaseId> = rows.iter().skip(keep).map(|row| sql::id(row, 0)).collect::<Result<_, _>>()?;
    end_each(conn, session, &oldest, now).await
}

/// Ends leases of a session.
pub(super) async fn end(
    conn: &mut Conn,
    session: SessionId,
    leases: &BTreeSet<LeaseId>,
    now: u64,
) -> Result<(), DbError> {
    end_each(conn, session, leases, now).await?;
    orders::release_ended(conn, session, now).await
}

async fn end_each(conn: &mut Conn, session: SessionId, leases: &BTreeSet<LeaseId>, now: u64) -> Result<(), DbError> {
    for lease in leases {
        sqlx::query("UPDATE lease SET expires = $1 WHERE id = $2 AND session = $3 AND expires > $1")
            .bind(signed(now))
            .bind(&lease.0[..])
            .bind(&session.0[..])
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Whether somebody may be storing on a node now: a lease that is in use names it, in its placement or among its spares.
///
/// # Errors
/// [`DbError`].
pub async fn is_promised(conn: &mut Conn, node: NodeId, now: u64) -> Result<bool, DbError> {
    let rows = sqlx::query(
        "SELECT l.spares, CAST((SELECT COUNT(*) FROM placement_node p WHERE p.placement = l.placement AND p.node = $1) AS BIGINT) \
         FROM lease l WHERE l.expires > $2 AND l.touched > $3 AND l.used < l.allowance",
    )
    .bind(node.to_vec())
    .bind(signed(now))
    .bind(signed(now.saturating_sub(IDLE_SECONDS)))
    .fetch_all(conn)
    .await?;
    for row in &rows {
        if row.try_get::<i64, _>(1)? > 0 || split(&row.try_get::<Vec<u8>, _>(0)?)?.contains(&node) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Those of the nodes that have left for good.
///
/// # Errors
/// [`DbError`].
pub async fn exited(conn: &mut Conn) -> Result<HashSet<NodeId>, DbError> {
    let rows = sqlx::query("SELECT id FROM node WHERE leaving = 'exited'").fetch_all(conn).await?;
    rows.iter().map(|row| sql::id(row, 0)).collect()
}

/// Forgets leases that ended before `before` (Unix seconds); how many.
///
/// # Errors
/// [`DbError`].
pub async fn forget_leases(conn: &mut Conn, before: u64) -> Result<u64, DbError> {
    let done = sqlx::query("DELETE FROM lease WHERE expires < $1").bind(signed(before)).execute(conn).await?;
    Ok(done.rows_affected())
}

fn placement(row: &AnyRow) -> Result<Placement, DbError> {
    let id: Vec<u8> = row.try_get(0)?;
    let [k, m] = [row.try_get::<i64, _>(1)?, row.try_get(2)?].map(|value| u32::try_from(value).unwrap_or(u32::MAX));
    let nodes: Vec<u8> = row.try_get(3)?;
    Ok(Placement {
        id: PlacementId::try_from(&id[..]).map_err(|_| DbError::Corrupt("placement.id"))?,
        scheme: Scheme::new(k, m).map_err(|_| DbError::Corrupt("placement.k"))?,
        nodes: split(&nodes)?,
    })
}

fn lease_of(row: &AnyRow) -> Result<Lease, DbError> {
    let id = |column: usize| -> Result<[u8; ID_LEN], DbError> {
        row.try_get::<Vec<u8>, _>(column)?.try_into().map_err(|_| DbError::Corrupt("lease.id"))
    };
    let number = |column: usize| -> Result<u64, DbError> {
        u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| DbError::Corrupt("lease.allowance"))
    };
    Ok(Lease {
        id: LeaseId(id(0)?),
        session: SessionId(id(1)?),
        account: AccountId(id(2)?),
        bucket: BucketId(id(3)?),
        placement: PlacementId(id(4)?),
        spares: split(&row.try_get::<Vec<u8>, _>(5)?)?,
        allowance: number(6)?,
        used: number(7)?,
        expires: number(8)?,
    })
}

fn concat(nodes: &[NodeId]) -> Vec<u8> {
    nodes.iter().flat_map(|node| node.0).collect()
}

fn split(bytes: &[u8]) -> Result<Vec<NodeId>, DbError> {
    let (parts, rest) = bytes.as_chunks::<ID_LEN>();
    if rest.is_empty() {
        Ok(parts.iter().copied().map(NodeId).collect())
    } else {
        Err(DbError::Corrupt("a list of nodes"))
    }
}

fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
