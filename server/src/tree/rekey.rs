//! New keys for inodes and buckets, in place of those that somebody may have kept.
//!
//! The server sees epochs and opaque bytes. It makes sure of three things: every edge that leads to an inode changes with it, so that no
//! edge is left with a key that does not open the history; nobody replaces a key that is not the newest; and whoever names
//! something in a directory, or wraps a blob's key, without the newest key is told so ([`ErrorCode::StaleKey`]) instead of going on
//! under a key that was given up.

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{ApiKeyId, BucketId, InodeId, TrashId};
use cyx_proto::convert::{self, InvalidField, bytes_of};
use cyx_proto::meta::v1 as pb;
use pb::change::Kind;
use sqlx::Row as _;

use super::ENTRY_COLUMNS;
use super::buckets::{SEALED_NAME_MAX, WRAPPED_ROOT_KEY_MAX};
use super::error::TreeError;
use super::model::{EntryRow, InodeRow, Token, TrashRow};
use super::namespace::{entries, inode, named, result_of};
use super::rename::path_to;
use super::request;
use super::work::Work;
use crate::accounts::account_key::{REPLACED, is_newest};
use crate::accounts::api_keys::{LivingKey, WRAPPED_MAX, living_of_bucket, rewrap};
use crate::audit_log::{self, Action, Actor, Event};
use crate::db::{Conn, DbError};

/// Longest history: 1,024 older keys.
const HISTORY_MAX: usize = 80 * 1024;
/// Most edges of one inode that can get a new key together.
const EDGES_MAX: usize = 4096;
/// Most API keys of one bucket.
const API_KEYS_MAX: usize = 1000;

/// See [`pb::Rekey`].
#[derive(Debug)]
pub struct Rekey {
    /// What gets a new key.
    pub inode: InodeId,
    /// The epoch that it replaces.
    pub expected_epoch: u32,
    /// The new one.
    pub epoch: u32,
    /// Opaque; empty if it stays.
    pub key_history: Bytes,
    /// Every edge.
    pub edges: Vec<Edge>,
}

/// See [`pb::RekeyedEdge`].
#[derive(Debug)]
pub struct Edge {
    /// Where.
    pub directory: InodeId,
    /// As it is stored.
    pub token: Token,
    /// In the trash.
    pub trash: Option<TrashId>,
    /// Version of the entry.
    pub version: u64,
    /// The name anew.
    pub new_token: Token,
    /// Opaque.
    pub wrapped_key: Bytes,
}

impl Rekey {
    /// Checks a message.
    ///
    /// # Errors
    /// [`InvalidField`].
    pub fn check(rekey: pb::Rekey) -> Result<Self, InvalidField> {
        let renewed = rekey.epoch > rekey.expected_epoch;
        if rekey.key_history.len() > HISTORY_MAX || rekey.key_history.is_empty() == renewed {
            return Err(InvalidField { field: "key_history" });
        }
        if rekey.epoch < rekey.expected_epoch {
            return Err(InvalidField { field: "epoch" });
        }
        if rekey.edges.is_empty() || rekey.edges.len() > EDGES_MAX {
            return Err(InvalidField { field: "edges" });
        }
        Ok(Self {
            inode: convert::id(&rekey.inode, "inode")?,
            expected_epoch: rekey.expected_epoch,
            epoch: rekey.epoch,
            key_history: rekey.key_history,
            edges: rekey.edges.into_iter().map(Edge::check).collect::<Result<_, _>>()?,
        })
    }
}

impl Edge {
    fn check(edge: pb::RekeyedEdge) -> Result<Self, InvalidField> {
        Ok(Self {
            directory: convert::id(&edge.directory, "directory")?,
            token: request::token(convert::required(edge.name, "name")?, "name")?,
            trash: if edge.trash.is_empty() { None } else { Some(convert::id(&edge.trash, "trash")?) },
            version: edge.version,
            new_token: request::token(convert::required(edge.new_name, "new_name")?, "new_name")?,
            wrapped_key: request::wrapped_key(edge.wrapped_key, "wrapped_key")?,
        })
    }
}

/// See [`pb::RotateBucketRequest`].
#[derive(Debug)]
pub struct Rotation {
    expected_epoch: u32,
    epoch: u32,
    sealed_name: Bytes,
    wrapped_root_key: Bytes,
    key_history: Bytes,
    api_keys: Vec<(ApiKeyId, Bytes)>,
    account_key_epoch: u32,
}

impl Rotation {
    /// Checks a message.
    ///
    /// # Errors
    /// [`InvalidField`].
    pub fn check(request: pb::RotateBucketRequest) -> Result<Self, InvalidField> {
        let bounded = |bytes: &Bytes, max: usize, field| match bytes.len() {
            len if (1..=max).contains(&len) => Ok(()),
            _ => Err(InvalidField { field }),
        };
        bounded(&request.sealed_name, SEALED_NAME_MAX, "sealed_name")?;
        bounded(&request.wrapped_root_key, WRAPPED_ROOT_KEY_MAX, "wrapped_root_key")?;
        bounded(&request.key_history, HISTORY_MAX, "key_history")?;
        if request.epoch <= request.expected_epoch {
            return Err(InvalidField { field: "epoch" });
        }
        if request.api_keys.len() > API_KEYS_MAX {
            return Err(InvalidField { field: "api_keys" });
        }
        let api_key = |key: pb::RotatedApiKey| {
            bounded(&key.wrapped_keys, WRAPPED_MAX, "wrapped_keys")?;
            Ok((convert::id(&key.id, "api_keys")?, key.wrapped_keys))
        };
        Ok(Self {
            expected_epoch: request.expected_epoch,
            epoch: request.epoch,
            sealed_name: request.sealed_name,
            wrapped_root_key: request.wrapped_root_key,
            key_history: request.key_history,
            api_keys: request.api_keys.into_iter().map(api_key).collect::<Result<_, InvalidField>>()?,
            account_key_epoch: request.account_key_epoch,
        })
    }
}

/// Refuses names that are not under the newest key of their directory.
///
/// # Errors
/// `STALE_KEY`.
pub fn require_newest(directory: &InodeRow, epoch: u32) -> Result<(), TreeError> {
    if epoch < directory.key_epoch { Err(stale("directory")) } else { Ok(()) }
}

/// Refuses to wrap or to use a key of an inode that has a newer one: the newer one would be lost, or not be used.
pub(super) fn require_newest_of(inode: &InodeRow, epoch: u32) -> Result<(), TreeError> {
    if epoch < inode.key_epoch { Err(stale("inode")) } else { Ok(()) }
}

/// The key that somebody used was replaced.
fn stale(what: &str) -> TreeError {
    TreeError::refused(ErrorCode::StaleKey, format!("the {what} has a newer key by now"))
}

fn changed() -> TreeError {
    TreeError::refused(ErrorCode::Retry, "what was to get a new key has changed meanwhile")
}

/// The entries that lead from the root to an inode, with what each leads to. Empty for the root.
///
/// # Errors
/// `NOT_FOUND` if none do.
pub async fn path(
    conn: &mut Conn,
    bucket: BucketId,
    root: InodeId,
    id: InodeId,
) -> Result<Vec<(EntryRow, InodeRow)>, TreeError> {
    let lost = || TreeError::not_found("nothing leads to this inode");
    if id == root {
        return Ok(Vec::new());
    }
    let text = format!("SELECT {ENTRY_COLUMNS} FROM entry e WHERE e.bucket = $1 AND e.child = $2 LIMIT 1");
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(bucket.to_vec())
        .bind(id.to_vec())
        .fetch_optional(&mut *conn)
        .await?;
    let last = EntryRow::read(&row.ok_or_else(lost)?, 0)?;
    let mut way = path_to(conn, bucket, last.directory).await?.ok_or_else(lost)?;
    way.push(last);
    if way.first().is_none_or(|first| first.directory != root) {
        return Err(lost());
    }
    let ids: Vec<InodeId> = way.iter().map(|entry| entry.child).collect();
    let mut inodes = super::namespace::inodes(conn, bucket, &ids).await?;
    way.into_iter().map(|entry| inodes.remove(&entry.child).map(|inode| (entry, inode)).ok_or_else(lost)).collect()
}

impl Work<'_> {
    pub(super) async fn rekey(&mut self, rekey: &Rekey) -> Result<pb::OperationResult, TreeError> {
        let mut inode = self.inode_or_refuse(rekey.inode).await?;
        if inode.id == self.bucket.root {
            return Err(TreeError::invalid("the key of the root directory follows from the bucket's"));
        }
        if inode.key_epoch != rekey.expected_epoch {
            return Err(changed());
        }
        if self.edges_of(inode.id).await? != rekey.edges.len() {
            return Err(changed());
        }
        let mut last = None;
        for edge in &rekey.edges {
            let directory = self.inode_or_refuse(edge.directory).await?;
            require_newest(&directory, edge.new_token.epoch)?;
            let entry = match edge.trash {
                Some(trash) => self.rekey_trashed(trash, edge, inode.id).await?,
                None => self.rekey_entry(edge, inode.id).await?,
            };
            last = Some(entry);
        }
        if rekey.epoch > inode.key_epoch {
            inode.key_epoch = rekey.epoch;
            inode.key_history = rekey.key_history.clone();
            self.put_key(&inode).await?;
        }
        let entry = last.ok_or_else(changed)?;
        Ok(result_of(&entry, &inode))
    }

    /// How many entries and trash entries lead to an inode.
    async fn edges_of(&mut self, id: InodeId) -> Result<usize, TreeError> {
        let count: i64 = sqlx::query_scalar(
            "SELECT CAST((SELECT COUNT(*) FROM entry WHERE bucket = $1 AND child = $2) \
             + (SELECT COUNT(*) FROM trash WHERE bucket = $1 AND child = $2) AS BIGINT)",
        )
        .bind(self.bucket.id.to_vec())
        .bind(id.to_vec())
        .fetch_one(&mut *self.conn)
        .await?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    async fn rekey_entry(&mut self, edge: &Edge, child: InodeId) -> Result<EntryRow, TreeError> {
        let token = std::slice::from_ref(&edge.token);
        let found = entries(self.conn, self.bucket.id, edge.directory, token).await?.remove(&edge.token);
        let found = found.filter(|entry| entry.child == child && entry.version == edge.version);
        let before = found.ok_or_else(changed)?;
        self.drop_entry(&before).await?;
        let entry = EntryRow {
            token: edge.new_token.clone(),
            wrapped_key: edge.wrapped_key.clone(),
            version: self.next_sequence(),
            ..before.clone()
        };
        self.put_entry(&entry).await?;
        self.record(pb::Change {
            new_directory: bytes_of(entry.directory),
            new_name: Some(entry.token.to_pb()),
            ..named(Kind::Keys, &before)
        });
        Ok(entry)
    }

    async fn rekey_trashed(&mut self, trash: TrashId, edge: &Edge, child: InodeId) -> Result<EntryRow, TreeError> {
        let found: Option<TrashRow> = self.trash_row(trash).await?;
        let same = |row: &TrashRow| {
            row.entry.child == child && row.entry.directory == edge.directory && row.entry.token == edge.token
        };
        let before = found.filter(same).ok_or_else(changed)?.entry;
        sqlx::query("UPDATE trash SET name = $3, epoch = $4, wrapped_key = $5 WHERE bucket = $1 AND id = $2")
            .bind(self.bucket.id.to_vec())
            .bind(trash.to_vec())
            .bind(edge.new_token.name.to_vec())
            .bind(i64::from(edge.new_token.epoch))
            .bind(edge.wrapped_key.to_vec())
            .execute(&mut *self.conn)
            .await?;
        Ok(EntryRow { token: edge.new_token.clone(), wrapped_key: edge.wrapped_key.clone(), ..before })
    }

    async fn put_key(&mut self, inode: &InodeRow) -> Result<(), DbError> {
        sqlx::query("UPDATE inode SET key_epoch = $3, key_history = $4 WHERE bucket = $1 AND id = $2")
            .bind(self.bucket.id.to_vec())
            .bind(inode.id.to_vec())
            .bind(i64::from(inode.key_epoch))
            .bind(inode.key_history.to_vec())
            .execute(&mut *self.conn)
            .await?;
        Ok(())
    }

    /// Gives the bucket a new root key.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` for anybody but the owner, `RETRY` if the key is another by now or the bucket has other API keys than
    /// those named, `STALE_KEY` if the account key was replaced.
    pub async fn rotate(&mut self, rotation: &Rotation) -> Result<u64, TreeError> {
        if self.actor.account != self.bucket.owner {
            return Err(TreeError::refused(ErrorCode::PermissionDenied, "only its owner changes a bucket's keys"));
        }
        let root = inode(self.conn, self.bucket.id, self.bucket.root).await?;
        let mut root = root.ok_or(DbError::Corrupt("a bucket without a root"))?;
        let again = root.key_epoch == rotation.epoch && root.key_history == rotation.key_history;
        if again {
            // Its answer was lost; a new key comes with a history that nobody else can make.
            return Ok(self.bucket.sequence);
        }
        if !is_newest(self.conn, self.backend, self.bucket.owner, rotation.account_key_epoch).await? {
            return Err(TreeError::refused(ErrorCode::StaleKey, REPLACED));
        }
        if root.key_epoch != rotation.expected_epoch || self.members().await? != 1 {
            return Err(changed());
        }
        let mut living: Vec<ApiKeyId> =
            living_of_bucket(self.conn, self.bucket.id, self.now).await?.iter().map(LivingKey::id).collect();
        let mut given: Vec<ApiKeyId> = rotation.api_keys.iter().map(|(id, _)| *id).collect();
        living.sort_unstable();
        given.sort_unstable();
        if living != given {
            return Err(TreeError::refused(ErrorCode::Retry, "the bucket has other API keys by now"));
        }
        for (id, wrapped) in &rotation.api_keys {
            rewrap(self.conn, *id, wrapped).await?;
        }
        sqlx::query("UPDATE bucket SET sealed_name = $2 WHERE id = $1")
            .bind(self.bucket.id.to_vec())
            .bind(rotation.sealed_name.to_vec())
            .execute(&mut *self.conn)
            .await?;
        sqlx::query("UPDATE bucket_member SET wrapped_root_key = $3 WHERE bucket = $1 AND account = $2")
            .bind(self.bucket.id.to_vec())
            .bind(self.bucket.owner.to_vec())
            .bind(rotation.wrapped_root_key.to_vec())
            .execute(&mut *self.conn)
            .await?;
        root.key_epoch = rotation.epoch;
        root.key_history = rotation.key_history.clone();
        self.put_key(&root).await?;
        let event = Event::new(Some(self.bucket.owner), Actor::Owner, Action::KeysRotated, None);
        audit_log::record(self.conn, event.with(self.bucket.id.to_string())).await?;
        Ok(self.record(pb::Change { kind: Kind::Keys.into(), inode: bytes_of(root.id), ..pb::Change::default() }))
    }

    async fn members(&mut self) -> Result<i64, DbError> {
        let row = sqlx::query("SELECT CAST(COUNT(*) AS BIGINT) FROM bucket_member WHERE bucket = $1")
            .bind(self.bucket.id.to_vec())
            .fetch_one(&mut *self.conn)
            .await?;
        Ok(row.try_get(0)?)
    }
}
