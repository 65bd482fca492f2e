//! A segment, where its shards lie and how they are.

use std::collections::BTreeSet;

use cyx_core::chunk::{Root, chunk_id};
use cyx_core::ids::{BucketId, ChunkId, NodeId, PlacementId, SegmentId};
use cyx_core::scheme::Scheme;
use cyx_core::segment::shard_len;

use super::Nodes;
use super::policy::{Health, ShardState};
use crate::db::{Backend, Conn, DbError};
use crate::nodes::Leaving;
use crate::placement::rows;
use crate::tree::sql;

/// Keeps segments, and what is queued for them, from being changed by others until the transaction ends, in the order of all locks: see
/// `db/postgres.rs`.
///
/// # Errors
/// [`DbError`].
pub async fn lock(conn: &mut Conn, segments: &BTreeSet<SegmentId>) -> Result<(), DbError> {
    let backend = Backend::of(conn);
    if backend == Backend::Postgres {
        let keys: Vec<[u8; 16]> = segments.iter().map(|segment| segment.0).collect();
        let tail = format!(") ORDER BY id{}", backend.for_no_key_update());
        sql::fetch_in(conn, "SELECT 1 FROM segment WHERE id IN (", &tail, &[], &keys).await?;
    }
    Ok(())
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its id.
    pub id: SegmentId,
    /// Whose it is.
    pub bucket: BucketId,
    /// How it was coded.
    pub scheme: Scheme,
    /// Sealed bytes.
    pub length: u64,
    /// Bit i: shard i is stored.
    pub present: u64,
    /// Whether nothing refers to it any more.
    pub is_freed: bool,
    /// What its placement says about shard i.
    pub placed: Vec<NodeId>,
    /// Where shard i is to be found, if it is stored.
    places: Vec<Option<NodeId>>,
    roots: Vec<u8>,
}

impl Segment {
    /// Loads one, with the row locked if `backend` is given. `None` if there is none. Whoever needs several calls [`lock`] first.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn load(conn: &mut Conn, id: SegmentId, lock: Option<Backend>) -> Result<Option<Self>, DbError> {
        let text = format!(
            "SELECT bucket, k, m, length, placement, present, roots, freed_ns FROM segment WHERE id = $1{}",
            lock.map_or("", Backend::for_no_key_update)
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(text)).bind(id.to_vec()).fetch_optional(&mut *conn).await?;
        let Some(row) = row else { return Ok(None) };
        let scheme =
            Scheme::new(sql::uint(&row, 1)?, sql::uint(&row, 2)?).map_err(|_| DbError::Corrupt("segment.k"))?;
        let placement: PlacementId = sql::id(&row, 4)?;
        let placed = rows::load(conn, placement).await?.ok_or(DbError::Corrupt("segment.placement"))?.nodes;
        let overrides = sqlx::query("SELECT shard, node FROM segment_override WHERE segment = $1")
            .bind(id.to_vec())
            .fetch_all(conn)
            .await?;
        let mut places: Vec<Option<NodeId>> = placed.iter().copied().map(Some).collect();
        places.resize(scheme.n(), None);
        for row in &overrides {
            let shard: usize = sql::uint(row, 0)?;
            *places.get_mut(shard).ok_or(DbError::Corrupt("segment_override.shard"))? = Some(sql::id(row, 1)?);
        }
        let roots = sql::bytes(&row, 6)?;
        if roots.len() != 32 * scheme.n() {
            return Err(DbError::Corrupt("segment.roots"));
        }
        Ok(Some(Self {
            id,
            bucket: sql::id(&row, 0)?,
            scheme,
            length: sql::uint(&row, 3)?,
            present: sql::uint(&row, 5)?,
            is_freed: sql::int(&row, 7)? != 0,
            placed,
            places,
            roots,
        }))
    }

    /// All of its shards.
    pub fn shards(&self) -> impl Iterator<Item = u8> + use<> {
        0..u8::try_from(self.scheme.n()).unwrap_or(u8::MAX)
    }

    /// Whether a shard is stored.
    #[must_use]
    pub fn has(&self, shard: u8) -> bool {
        self.present.checked_shr(u32::from(shard)).unwrap_or(0) & 1 == 1
    }

    /// Where a shard is, or was before it was lost.
    #[must_use]
    pub fn place(&self, shard: u8) -> Option<NodeId> {
        self.places.get(usize::from(shard)).copied().flatten()
    }

    /// The node that holds a shard.
    #[must_use]
    pub fn holder(&self, shard: u8) -> Option<NodeId> {
        self.place(shard).filter(|_| self.has(shard))
    }

    /// The nodes that hold shards other than this one.
    pub fn others(&self, shard: u8) -> impl Iterator<Item = NodeId> + use<'_> {
        self.shards().filter(move |other| *other != shard).filter_map(|other| self.holder(other))
    }

    /// Bytes of each shard.
    #[must_use]
    pub fn shard_len(&self) -> u64 {
        shard_len(self.scheme, self.length)
    }

    /// What a node knows a shard by.
    #[must_use]
    pub fn chunk(&self, shard: u8) -> ChunkId {
        chunk_id(self.id, shard)
    }

    /// The hash of a shard.
    ///
    /// # Errors
    /// [`DbError::Corrupt`].
    pub fn root(&self, shard: u8) -> Result<Root, DbError> {
        let (roots, _) = self.roots.as_chunks::<32>();
        roots.get(usize::from(shard)).copied().ok_or(DbError::Corrupt("segment.roots"))
    }

    /// How a shard is.
    #[must_use]
    pub fn state(&self, shard: u8, nodes: &Nodes) -> ShardState {
        let Some(holder) = self.holder(shard) else { return ShardState::Missing };
        match nodes.get(holder) {
            None => ShardState::Gone,
            Some(node) if node.is_gone() => ShardState::Gone,
            Some(node) if !node.state.is_reachable() => ShardState::Away,
            Some(node) if node.leaving != Leaving::None => ShardState::Leaving,
            Some(_) => ShardState::Sound,
        }
    }

    /// How it is.
    #[must_use]
    pub fn health(&self, nodes: &Nodes) -> Health {
        Health::of(self.scheme, self.shards().map(|shard| self.state(shard, nodes)), nodes.eager)
    }
}
