//! Buckets: making, finding and deleting them, their members, their writer lists.

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, BucketId, InodeId};
use cyx_core::sign;
use cyx_core::writers::{WriterAction, WriterEntry, WriterList};
use cyx_proto::convert::{self, bytes_of};
use cyx_proto::meta::v1 as pb;
use pb::change::Kind;
use sqlx::any::AnyRow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::TreeError;
use super::model::{BucketRow, InodeKind};
use super::namespace::{insert_inodes, new_inode};
use super::request::{self, Create, NAME_TOKEN_MAX};
use super::work::{Actor, Work};
use super::{BUCKET_COLUMNS, sql};
use crate::accounts::account_key::{REPLACED, is_newest};
use crate::accounts::api_keys::writer_closed;
use crate::db::{Backend, Conn, DbError};

/// Most buckets of an account.
pub const BUCKETS_MAX: i64 = 1000;
pub(super) const SEALED_NAME_MAX: usize = 1024;
pub(super) const WRAPPED_ROOT_KEY_MAX: usize = 1024;

/// A bucket as one of its members sees it.
#[derive(Debug, Clone)]
pub struct Membership {
    /// The bucket.
    pub bucket: BucketRow,
    /// Its name under a key of the account, for lookup.
    pub name_token: bytes::Bytes,
    /// Its root key as wrapped for the account.
    pub wrapped_root_key: bytes::Bytes,
}

impl Membership {
    fn read(row: &AnyRow) -> Result<Self, DbError> {
        let at = BucketRow::COLUMNS;
        Ok(Self {
            bucket: BucketRow::read(row, 0)?,
            name_token: sql::bytes(row, at)?.into(),
            wrapped_root_key: sql::bytes(row, at + 1)?.into(),
        })
    }

    /// As on the wire.
    #[must_use]
    pub fn to_pb(&self) -> pb::Bucket {
        let Self { bucket, name_token, wrapped_root_key } = self;
        pb::Bucket {
            id: bytes_of(bucket.id),
            root: bytes_of(bucket.root),
            name_token: name_token.clone(),
            sealed_name: bucket.sealed_name.clone(),
            wrapped_root_key: wrapped_root_key.clone(),
            owner: bytes_of(bucket.owner),
            owner_key: bytes::Bytes::copy_from_slice(&bucket.owner_key),
            sequence: bucket.sequence,
            created_ns: bucket.created_ns,
            durable: bucket.durable,
            used_bytes: u64::try_from(bucket.used_bytes).unwrap_or(0),
            files: u64::try_from(bucket.files).unwrap_or(0),
            ended_writers: Vec::new(),
            writers: Vec::new(),
        }
    }
}

/// Whether an account may see a bucket.
///
/// # Errors
/// [`DbError`].
pub async fn is_member(conn: &mut Conn, bucket: BucketId, account: AccountId) -> Result<bool, DbError> {
    let found = sqlx::query("SELECT 1 FROM bucket_member WHERE bucket = $1 AND account = $2")
        .bind(bucket.to_vec())
        .bind(account.to_vec())
        .fetch_optional(conn)
        .await?;
    Ok(found.is_some())
}

/// Those of the accounts that may see a bucket.
pub(super) async fn members(
    conn: &mut Conn,
    bucket: BucketId,
    accounts: &[AccountId],
) -> Result<HashSet<AccountId>, DbError> {
    let keys: Vec<[u8; 16]> = accounts.iter().map(|account| account.0).collect();
    let head = "SELECT account FROM bucket_member WHERE bucket = $1 AND account IN (";
    let rows = sql::fetch_in(conn, head, ")", &[sql::Value::Bytes(&bucket.0)], &keys).await?;
    rows.iter().map(|row| sql::id(row, 0)).collect()
}

/// The buckets of an account; with a token only the one of that name.
///
/// # Errors
/// [`DbError`].
pub async fn list(conn: &mut Conn, account: AccountId, name_token: &[u8]) -> Result<Vec<Membership>, DbError> {
    let condition = if name_token.is_empty() { "" } else { " AND m.name_token = $2" };
    let text = format!(
        "SELECT {BUCKET_COLUMNS}, m.name_token, m.wrapped_root_key FROM bucket_member m JOIN bucket b ON b.id = m.bucket \
         WHERE m.account = $1 AND b.deleted_ns = 0{condition} ORDER BY b.created_ns, b.id"
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(account.to_vec());
    if !name_token.is_empty() {
        query = query.bind(name_token.to_vec());
    }
    query.fetch_all(conn).await?.iter().map(Membership::read).collect()
}

/// One bucket of an account.
///
/// # Errors
/// `NOT_FOUND` also for buckets that are none of the account's business.
pub async fn open(conn: &mut Conn, account: AccountId, bucket: BucketId) -> Result<BucketRow, TreeError> {
    let text = format!(
        "SELECT {BUCKET_COLUMNS} FROM bucket_member m JOIN bucket b ON b.id = m.bucket \
         WHERE m.bucket = $1 AND m.account = $2 AND b.deleted_ns = 0"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(bucket.to_vec())
        .bind(account.to_vec())
        .fetch_optional(conn)
        .await?;
    match row {
        Some(row) => Ok(BucketRow::read(&row, 0)?),
        None => Err(TreeError::not_found("there is no such bucket")),
    }
}

/// The newest change numbers of an account's buckets.
///
/// # Errors
/// [`DbError`].
pub async fn positions(conn: &mut Conn, account: AccountId) -> Result<Vec<(BucketId, u64)>, DbError> {
    let rows = sqlx::query(
        "SELECT b.id, b.sequence FROM bucket_member m JOIN bucket b ON b.id = m.bucket \
         WHERE m.account = $1 AND b.deleted_ns = 0",
    )
    .bind(account.to_vec())
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((sql::id(row, 0)?, sql::uint(row, 1)?))).collect()
}

/// The signed entries of a writer list.
///
/// # Errors
/// [`DbError`].
pub async fn writer_entries(conn: &mut Conn, bucket: BucketId) -> Result<Vec<Vec<u8>>, DbError> {
    let rows = sqlx::query("SELECT entry FROM writer_entry WHERE bucket = $1 ORDER BY position")
        .bind(bucket.to_vec())
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| sql::bytes(row, 0)).collect()
}

/// The writer list of a bucket. Its entries were checked when they were appended and are checked again.
///
/// # Errors
/// [`DbError`].
pub async fn writer_list(conn: &mut Conn, bucket: &BucketRow) -> Result<WriterList, DbError> {
    let entries = writer_entries(conn, bucket.id).await?;
    WriterList::verify(bucket.id, &bucket.owner_key, &entries).map_err(|_| DbError::Corrupt("a writer list"))
}

/// Writer lists that were checked already. A list only grows, so its length says which one it is.
#[derive(Debug, Default)]
pub struct WriterCache(Mutex<HashMap<BucketId, Arc<WriterList>>>);

impl WriterCache {
    const MAX: usize = 4096;

    /// The list of a bucket as it was when somebody asked for it last. It may have grown.
    #[must_use]
    pub fn known(&self, bucket: BucketId) -> Option<Arc<WriterList>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&bucket).cloned()
    }

    /// The list of a bucket as its row says it is.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn get(&self, conn: &mut Conn, bucket: &BucketRow) -> Result<Arc<WriterList>, DbError> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&bucket.id).cloned();
        if let Some(list) = known.filter(|list| list.len() as u64 == bucket.writers) {
            return Ok(list);
        }
        let list = Arc::new(writer_list(conn, bucket).await?);
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= Self::MAX {
            cache.clear();
        }
        cache.insert(bucket.id, Arc::clone(&list));
        Ok(list)
    }
}

/// A checked request for a new bucket.
#[derive(Debug, Clone)]
pub struct NewBucket {
    id: BucketId,
    root: Create,
    name_token: bytes::Bytes,
    sealed_name: bytes::Bytes,
    wrapped_root_key: bytes::Bytes,
    first_writer: bytes::Bytes,
    owner_key: [u8; 32],
    durable: bool,
    account_key_epoch: u32,
}

impl NewBucket {
    /// Checks a request of the account with this signing key. The first writer entry must add that very key.
    ///
    /// # Errors
    /// [`TreeError::Refused`].
    pub fn check(request: pb::CreateBucketRequest, owner_key: [u8; 32]) -> Result<Self, TreeError> {
        let field = |field| TreeError::from(convert::InvalidField { field });
        let id: BucketId = convert::id(&request.id, "id")?;
        let root: InodeId = convert::id(&request.root, "root")?;
        if request.name_token.is_empty() || request.name_token.len() > NAME_TOKEN_MAX {
            return Err(field("name_token"));
        }
        if request.sealed_name.is_empty() || request.sealed_name.len() > SEALED_NAME_MAX {
            return Err(field("sealed_name"));
        }
        if request.wrapped_root_key.is_empty() || request.wrapped_root_key.len() > WRAPPED_ROOT_KEY_MAX {
            return Err(field("wrapped_root_key"));
        }
        let list = WriterList::verify(id, &owner_key, &[&request.first_writer[..]])
            .map_err(|error| TreeError::invalid(format!("the writer list is not valid: {error}")))?;
        if list.may_sign_now(sign::key_id(&owner_key)).is_none() {
            return Err(TreeError::invalid("the first writer is not the owner"));
        }
        let root = Create {
            inode: root,
            kind: InodeKind::Directory,
            directory: root,
            names: Vec::new(),
            wrapped_key: bytes::Bytes::new(),
            attributes: request::attributes(request.root_attributes)?,
            sealed_target: bytes::Bytes::new(),
            sealed_meta: bytes::Bytes::new(),
        };
        Ok(Self {
            id,
            root,
            name_token: request.name_token,
            sealed_name: request.sealed_name,
            wrapped_root_key: request.wrapped_root_key,
            first_writer: request.first_writer,
            owner_key,
            durable: request.durable,
            account_key_epoch: request.account_key_epoch,
        })
    }

    /// The bucket's id.
    #[must_use]
    pub const fn id(&self) -> BucketId {
        self.id
    }
}

/// Makes a bucket. Repeating a call whose reply was lost gives the same bucket.
///
/// # Errors
/// `ALREADY_EXISTS` if the account has a bucket of this name, or the id is in use; `STALE_KEY` if it is wrapped under an account key
/// that was replaced.
pub async fn create(
    conn: &mut Conn,
    backend: Backend,
    actor: Actor,
    new: &NewBucket,
    now: i64,
) -> Result<Membership, TreeError> {
    if !is_newest(conn, backend, actor.account, new.account_key_epoch).await? {
        return Err(TreeError::refused(ErrorCode::StaleKey, REPLACED));
    }
    let same_name = list(conn, actor.account, &new.name_token).await?;
    if let Some(found) = same_name.into_iter().next() {
        let same = found.bucket.id == new.id && found.wrapped_root_key == new.wrapped_root_key;
        return if same {
            Ok(found)
        } else {
            Err(TreeError::refused(ErrorCode::AlreadyExists, "there is a bucket of this name"))
        };
    }
    let count: i64 =
        sqlx::query_scalar("SELECT CAST(COUNT(*) AS BIGINT) FROM bucket WHERE owner = $1 AND deleted_ns = 0")
            .bind(actor.account.to_vec())
            .fetch_one(&mut *conn)
            .await?;
    if count >= BUCKETS_MAX {
        return Err(TreeError::refused(ErrorCode::TooLarge, "an account has at most 1,000 buckets"));
    }
    let written = sqlx::query(
        "INSERT INTO bucket (id, owner, owner_key, root, sealed_name, durable, sequence, writers, fencing, used_bytes, \
         superseded_bytes, files, created_ns, deleted_ns) VALUES ($1, $2, $3, $4, $5, $6, 0, 1, 0, 0, 0, 0, $7, 0) \
         ON CONFLICT DO NOTHING",
    )
    .bind(new.id.to_vec())
    .bind(actor.account.to_vec())
    .bind(&new.owner_key[..])
    .bind(new.root.inode.to_vec())
    .bind(new.sealed_name.to_vec())
    .bind(i64::from(new.durable))
    .bind(now)
    .execute(&mut *conn)
    .await?
    .rows_affected();
    if written == 0 {
        return Err(TreeError::refused(ErrorCode::AlreadyExists, "the id of the bucket is in use"));
    }
    let member = sqlx::query(
        "INSERT INTO bucket_member (bucket, account, name_token, wrapped_root_key) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(new.id.to_vec())
    .bind(actor.account.to_vec())
    .bind(new.name_token.to_vec())
    .bind(new.wrapped_root_key.to_vec())
    .execute(&mut *conn)
    .await?
    .rows_affected();
    if member == 0 {
        return Err(TreeError::refused(ErrorCode::AlreadyExists, "there is a bucket of this name"));
    }
    put_writer(conn, new.id, 0, &new.first_writer).await?;
    insert_inodes(conn, new.id, &[new_inode(&new.root, now)]).await?;
    let made = list(conn, actor.account, &new.name_token).await?.into_iter().next();
    made.ok_or_else(|| DbError::Corrupt("a bucket vanished").into())
}

async fn put_writer(conn: &mut Conn, bucket: BucketId, position: u64, entry: &[u8]) -> Result<(), DbError> {
    sqlx::query("INSERT INTO writer_entry (bucket, position, entry) VALUES ($1, $2, $3)")
        .bind(bucket.to_vec())
        .bind(sql::as_int(position))
        .bind(entry.to_vec())
        .execute(conn)
        .await?;
    Ok(())
}

impl Work<'_> {
    /// Appends to the writer list. Appending what is its newest entry already changes nothing.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` for anybody but the owner, `RETRY` if the entry does not follow the newest one.
    pub async fn append_writer(&mut self, bytes: &[u8]) -> Result<(), TreeError> {
        if self.actor.account != self.bucket.owner {
            return Err(TreeError::refused(
                ErrorCode::PermissionDenied,
                "only its owner changes a bucket's writer list",
            ));
        }
        let entries = writer_entries(self.conn, self.bucket.id).await?;
        if entries.last().is_some_and(|last| last == bytes) {
            return Ok(());
        }
        let owner = self.bucket.owner_key;
        let mut list =
            WriterList::verify(self.bucket.id, &owner, &entries).map_err(|_| DbError::Corrupt("a writer list"))?;
        let entry =
            WriterEntry::read_unchecked(bytes).map_err(|error| TreeError::invalid(format!("the entry is {error}")))?;
        if entry.index as usize != list.len() || entry.previous != list.head() {
            return Err(TreeError::refused(ErrorCode::Retry, "the writer list has grown meanwhile"));
        }
        if entry.action == WriterAction::HandOver {
            return Err(TreeError::invalid("a list is handed over together with the account's keys"));
        }
        list.append(&owner, bytes).map_err(|error| TreeError::invalid(error.to_string()))?;
        if entry.action == WriterAction::Remove && entry.sequence > self.bucket.sequence {
            // Until then the removed key could go on signing.
            return Err(TreeError::invalid("a writer is removed as of a change that has not happened yet"));
        }
        put_writer(self.conn, self.bucket.id, self.bucket.writers, bytes).await?;
        if entry.action == WriterAction::Remove {
            writer_closed(self.conn, self.bucket.id, &entry.key).await?;
        }
        self.bucket.writers += 1;
        self.record(pb::Change { kind: Kind::Writers.into(), ..pb::Change::default() });
        Ok(())
    }

    /// Hands the writer list over to the next identity key of its owner, with the entry that says so. Without an entry, makes sure that
    /// the list is in the hands of this key already.
    ///
    /// # Errors
    /// `RETRY` if the entry does not follow the newest one, or is not about the newest change; `INVALID_ARGUMENT`.
    pub async fn hand_over(&mut self, entry: Option<&[u8]>, key: &[u8; 32]) -> Result<(), TreeError> {
        let owner = self.bucket.owner_key;
        let mut list = writer_list(self.conn, &self.bucket).await?;
        if let Some(bytes) = entry {
            let said = WriterEntry::read_unchecked(bytes);
            let said = said.map_err(|error| TreeError::invalid(format!("the entry is {error}")))?;
            if said.index as usize != list.len()
                || said.previous != list.head()
                || said.sequence != self.bucket.sequence
            {
                return Err(TreeError::refused(ErrorCode::Retry, "the bucket has changed meanwhile"));
            }
            list.append(&owner, bytes).map_err(|error| TreeError::invalid(error.to_string()))?;
        }
        if list.owner(&owner) != *key {
            return Err(TreeError::invalid("a writer list would be in other hands than the account's"));
        }
        let Some(bytes) = entry else { return Ok(()) };
        put_writer(self.conn, self.bucket.id, self.bucket.writers, bytes).await?;
        self.bucket.writers += 1;
        self.record(pb::Change { kind: Kind::Writers.into(), ..pb::Change::default() });
        Ok(())
    }

    /// Deletes the bucket: it is gone at once for its members, and its content is cleared away step by step.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` for anybody but the owner, `NOT_EMPTY` if it has entries or trash and `with_content` is not set.
    pub async fn delete_bucket(&mut self, with_content: bool) -> Result<(), TreeError> {
        if self.actor.account != self.bucket.owner {
            return Err(TreeError::refused(ErrorCode::PermissionDenied, "only its owner deletes a bucket"));
        }
        if !with_content {
            let trash = sqlx::query("SELECT 1 FROM trash WHERE bucket = $1 LIMIT 1")
                .bind(self.bucket.id.to_vec())
                .fetch_optional(&mut *self.conn)
                .await?;
            if trash.is_some() || self.has_entries(self.bucket.root).await? {
                return Err(TreeError::refused(ErrorCode::NotEmpty, "the bucket is not empty"));
            }
        }
        for text in ["DELETE FROM bucket_member WHERE bucket = $1", "DELETE FROM write_lease WHERE bucket = $1"] {
            sqlx::query(text).bind(self.bucket.id.to_vec()).execute(&mut *self.conn).await?;
        }
        sqlx::query("UPDATE bucket SET deleted_ns = $2 WHERE id = $1")
            .bind(self.bucket.id.to_vec())
            .bind(self.now)
            .execute(&mut *self.conn)
            .await?;
        let root = self.bucket.root;
        self.queue_purge(&[root]).await?;
        self.clear_deleted(super::purge::AT_ONCE).await?;
        Ok(())
    }
}
