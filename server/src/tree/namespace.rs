//! Names and what they lead to: create, link, unlink.
//!
//! A caller names what it believes a name leads to (the child and the version of the entry), because the entry holds a key wrapped
//! for exactly that child: where it is wrong, nothing happens and the answer says what is there.

use std::collections::HashMap;

use cyx_core::error::ErrorCode;
use cyx_core::extent::PageId;
use cyx_core::ids::{BucketId, InodeId, Random as _, TrashId};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use pb::change::Kind;

use super::error::TreeError;
use super::model::{EntryRow, InodeKind, InodeRow, Token};
use super::refs::{NewContent, RootStep};
use super::rekey::{require_newest, require_newest_of};
use super::request::{Create, Expected, Link, Unlink, UnlinkMode};
use super::work::Work;
use super::{ENTRY_COLUMNS, INODE_COLUMNS, after, sql};
use crate::db::{Conn, DbError, insert_many};

/// One inode.
pub(super) async fn inode(conn: &mut Conn, bucket: BucketId, id: InodeId) -> Result<Option<InodeRow>, DbError> {
    Ok(inodes(conn, bucket, &[id]).await?.remove(&id))
}

/// Those of the inodes that exist.
pub(super) async fn inodes(
    conn: &mut Conn,
    bucket: BucketId,
    ids: &[InodeId],
) -> Result<HashMap<InodeId, InodeRow>, DbError> {
    let head = const_format(INODE_COLUMNS, " FROM inode i WHERE i.bucket = $1 AND i.id IN (");
    let keys: Vec<&[u8]> = ids.iter().map(|id| &id.0[..]).collect();
    let rows = sql::fetch_in(conn, &head, ")", &[sql::Value::Bytes(&bucket.0)], &keys).await?;
    let rows = rows.iter().map(|row| InodeRow::read(row, 0).map(|inode| (inode.id, inode)));
    rows.collect()
}

fn const_format(columns: &str, rest: &str) -> String {
    ["SELECT ", columns, rest].concat()
}

/// The entries of a directory that have one of these names under one of these epochs.
pub(super) async fn entries(
    conn: &mut Conn,
    bucket: BucketId,
    directory: InodeId,
    tokens: &[Token],
) -> Result<HashMap<Token, EntryRow>, DbError> {
    let head = const_format(ENTRY_COLUMNS, " FROM entry e WHERE e.bucket = $1 AND e.directory = $2 AND e.name IN (");
    let values = [sql::Value::Bytes(&bucket.0), sql::Value::Bytes(&directory.0)];
    let names = sql::distinct(tokens.iter().map(|token| &token.name[..]));
    let rows = sql::fetch_in(conn, &head, ")", &values, &names).await?;
    let rows = rows.iter().map(|row| EntryRow::read(row, 0).map(|entry| (entry.token.clone(), entry)));
    rows.collect()
}

/// The entry that has this name under any of its epochs.
pub(super) async fn entry(
    conn: &mut Conn,
    bucket: BucketId,
    directory: InodeId,
    names: &[Token],
) -> Result<Option<EntryRow>, DbError> {
    let mut found = entries(conn, bucket, directory, names).await?;
    Ok(names.iter().rev().find_map(|token| found.remove(token)))
}

/// Binds the columns of an inode, the bucket first.
pub(super) const INSERT_INODE: &str = "INSERT INTO inode (bucket, id, kind, mode, uid, gid, rdev, mtime_ns, ctime_ns, atime_ns, nlink, \
     trashed, size, version, root_page, sealed_target, sealed_meta, meta_version, key_history, created_ns, deleted_ns, key_epoch)";
/// Binds the columns of an entry, the bucket first.
pub(super) const INSERT_ENTRY: &str =
    "INSERT INTO entry (bucket, directory, name, epoch, child, kind, wrapped_key, version)";

/// Writes inodes that are not there yet. How many were written.
pub(super) async fn insert_inodes(conn: &mut Conn, bucket: BucketId, rows: &[InodeRow]) -> Result<u64, DbError> {
    let columns = InodeRow::COLUMNS + 1;
    insert_many(conn, INSERT_INODE, columns, "ON CONFLICT DO NOTHING", rows, |statement, row| {
        statement
            .bind(bucket.to_vec())
            .bind(row.id.to_vec())
            .bind(i64::from(i32::from(row.kind)))
            .bind(i64::from(row.mode))
            .bind(i64::from(row.uid))
            .bind(i64::from(row.gid))
            .bind(sql::as_int(row.rdev))
            .bind(row.mtime_ns)
            .bind(row.ctime_ns)
            .bind(row.atime_ns)
            .bind(i64::from(row.nlink))
            .bind(i64::from(row.trashed))
            .bind(sql::as_int(row.size))
            .bind(sql::as_int(row.version))
            .bind(row.root_page.to_vec())
            .bind(row.sealed_target.to_vec())
            .bind(row.sealed_meta.to_vec())
            .bind(sql::as_int(row.meta_version))
            .bind(row.key_history.to_vec())
            .bind(row.created_ns)
            .bind(row.deleted_ns)
            .bind(i64::from(row.key_epoch))
    })
    .await
}

/// Writes entries whose names are free. How many were written.
pub(super) async fn insert_entries(conn: &mut Conn, bucket: BucketId, rows: &[EntryRow]) -> Result<u64, DbError> {
    insert_many(conn, INSERT_ENTRY, EntryRow::COLUMNS + 1, "ON CONFLICT DO NOTHING", rows, |statement, row| {
        statement
            .bind(bucket.to_vec())
            .bind(row.directory.to_vec())
            .bind(row.token.name.to_vec())
            .bind(i64::from(row.token.epoch))
            .bind(row.child.to_vec())
            .bind(i64::from(i32::from(row.kind)))
            .bind(row.wrapped_key.to_vec())
            .bind(sql::as_int(row.version))
    })
    .await
}

/// The inode that a create makes.
pub(super) fn new_inode(create: &Create, now: i64) -> InodeRow {
    let attributes = &create.attributes;
    InodeRow {
        id: create.inode,
        kind: create.kind,
        mode: attributes.mode,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: attributes.rdev,
        mtime_ns: attributes.mtime_ns,
        ctime_ns: attributes.ctime_ns,
        atime_ns: attributes.atime_ns,
        nlink: if create.kind == InodeKind::Directory { 2 } else { 1 },
        trashed: 0,
        size: 0,
        version: 0,
        root_page: PageId::EMPTY,
        sealed_target: create.sealed_target.clone(),
        sealed_meta: create.sealed_meta.clone(),
        meta_version: 0,
        key_history: bytes::Bytes::new(),
        created_ns: now,
        deleted_ns: 0,
        key_epoch: 0,
    }
}

/// The newest of a name's tokens: the one that is stored.
pub(super) fn newest(names: &[Token]) -> Result<&Token, TreeError> {
    names.last().ok_or_else(|| TreeError::invalid("a name has no token"))
}

impl Work<'_> {
    /// A directory that an entry of these names can be put into.
    pub(super) async fn directory_for(&mut self, id: InodeId, names: &[Token]) -> Result<InodeRow, TreeError> {
        let directory = self.directory(id).await?;
        require_newest(&directory, newest(names)?.epoch)?;
        Ok(directory)
    }

    /// There is no entry of these names: because there is none, or because they are not of the newest key.
    pub(super) async fn no_such_name(&mut self, directory: InodeId, names: &[Token]) -> Result<TreeError, TreeError> {
        if let Some(directory) = inode(self.conn, self.bucket.id, directory).await? {
            require_newest(&directory, newest(names)?.epoch)?;
        }
        Ok(TreeError::not_found("there is no such name"))
    }

    /// A directory that entries can be put into.
    pub(super) async fn directory(&mut self, id: InodeId) -> Result<InodeRow, TreeError> {
        match inode(self.conn, self.bucket.id, id).await? {
            Some(inode) if inode.kind != InodeKind::Directory => {
                Err(TreeError::refused(ErrorCode::NotDirectory, "this is not a directory"))
            }
            Some(inode) if inode.deleted_ns == 0 => Ok(inode),
            _ => Err(TreeError::not_found("there is no such directory")),
        }
    }

    pub(super) async fn inode_or_refuse(&mut self, id: InodeId) -> Result<InodeRow, TreeError> {
        let found = inode(self.conn, self.bucket.id, id).await?;
        found.ok_or_else(|| TreeError::not_found("there is no such inode in this bucket"))
    }

    pub(super) async fn entry(&mut self, directory: InodeId, names: &[Token]) -> Result<Option<EntryRow>, TreeError> {
        Ok(entry(self.conn, self.bucket.id, directory, names).await?)
    }

    /// What is there, for a caller who believed something else.
    pub(super) async fn state_of(&mut self, entry: Option<&EntryRow>) -> Result<pb::OperationResult, TreeError> {
        let inode = match entry {
            Some(entry) => inode(self.conn, self.bucket.id, entry.child).await?,
            None => None,
        };
        Ok(pb::OperationResult {
            entry: entry.map(EntryRow::to_pb),
            inode: inode.as_ref().map(InodeRow::to_pb),
            ..pb::OperationResult::default()
        })
    }

    /// Refuses unless the entry is what the caller expects.
    pub(super) async fn expect(&mut self, entry: &EntryRow, expected: Expected) -> Result<(), TreeError> {
        let same =
            entry.child == expected.child && (expected.entry_version == 0 || entry.version == expected.entry_version);
        if same {
            return Ok(());
        }
        let state = self.state_of(Some(entry)).await?;
        Err(TreeError::refused_with(ErrorCode::Retry, "the name leads to something else by now", state))
    }

    pub(super) async fn refuse_taken(&mut self, entry: &EntryRow) -> Result<(), TreeError> {
        let state = self.state_of(Some(entry)).await?;
        Err(TreeError::refused_with(ErrorCode::AlreadyExists, "the name is taken", state))
    }

    /// A directory got or lost an entry, and `subdirectories` directories.
    pub(super) async fn touch_directory(&mut self, id: InodeId, subdirectories: i64) -> Result<(), DbError> {
        sqlx::query("UPDATE inode SET mtime_ns = $3, ctime_ns = $3, nlink = nlink + $4 WHERE bucket = $1 AND id = $2")
            .bind(self.bucket.id.to_vec())
            .bind(id.to_vec())
            .bind(self.stamp)
            .bind(subdirectories)
            .execute(&mut *self.conn)
            .await?;
        Ok(())
    }

    pub(super) async fn put_entry(&mut self, entry: &EntryRow) -> Result<(), TreeError> {
        if insert_entries(self.conn, self.bucket.id, std::slice::from_ref(entry)).await? == 1 {
            return Ok(());
        }
        Err(TreeError::refused(ErrorCode::AlreadyExists, "the name is taken"))
    }

    pub(super) async fn drop_entry(&mut self, entry: &EntryRow) -> Result<(), DbError> {
        sqlx::query("DELETE FROM entry WHERE bucket = $1 AND directory = $2 AND name = $3 AND epoch = $4")
            .bind(self.bucket.id.to_vec())
            .bind(entry.directory.to_vec())
            .bind(entry.token.name.to_vec())
            .bind(i64::from(entry.token.epoch))
            .execute(&mut *self.conn)
            .await?;
        Ok(())
    }

    /// Writes the link counts and the deletion time of an inode.
    pub(super) async fn put_links(&mut self, inode: &InodeRow) -> Result<(), DbError> {
        sqlx::query(
            "UPDATE inode SET nlink = $3, trashed = $4, deleted_ns = $5, ctime_ns = $6 WHERE bucket = $1 AND id = $2",
        )
        .bind(self.bucket.id.to_vec())
        .bind(inode.id.to_vec())
        .bind(i64::from(inode.nlink))
        .bind(i64::from(inode.trashed))
        .bind(inode.deleted_ns)
        .bind(inode.ctime_ns)
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }

    pub(super) async fn create(&mut self, create: &Create) -> Result<pb::OperationResult, TreeError> {
        self.directory_for(create.directory, &create.names).await?;
        if let Some(taken) = self.entry(create.directory, &create.names).await? {
            self.refuse_taken(&taken).await?;
        }
        let inode = new_inode(create, self.now);
        if insert_inodes(self.conn, self.bucket.id, std::slice::from_ref(&inode)).await? == 0 {
            return Err(TreeError::refused(ErrorCode::AlreadyExists, "the inode id is in use"));
        }
        let entry = EntryRow {
            directory: create.directory,
            token: newest(&create.names)?.clone(),
            child: create.inode,
            kind: create.kind,
            wrapped_key: create.wrapped_key.clone(),
            version: self.next_sequence(),
        };
        self.put_entry(&entry).await?;
        self.touch_directory(create.directory, i64::from(inode.is_directory())).await?;
        self.bucket.files += i64::from(create.kind == InodeKind::File);
        self.record(named(Kind::Created, &entry));
        Ok(result_of(&entry, &inode))
    }

    pub(super) async fn link(&mut self, link: &Link) -> Result<pb::OperationResult, TreeError> {
        self.directory_for(link.directory, &link.names).await?;
        let mut inode = self.inode_or_refuse(link.inode).await?;
        if inode.is_directory() {
            return Err(TreeError::refused(ErrorCode::IsDirectory, "a directory has one name only"));
        }
        if inode.nlink == 0 {
            return Err(TreeError::not_found("the file was deleted"));
        }
        require_newest_of(&inode, link.key_epoch)?;
        if let Some(taken) = self.entry(link.directory, &link.names).await? {
            self.refuse_taken(&taken).await?;
        }
        let entry = EntryRow {
            directory: link.directory,
            token: newest(&link.names)?.clone(),
            child: inode.id,
            kind: inode.kind,
            wrapped_key: link.wrapped_key.clone(),
            version: self.next_sequence(),
        };
        self.put_entry(&entry).await?;
        inode.nlink += 1;
        inode.ctime_ns = self.stamp;
        self.put_links(&inode).await?;
        self.touch_directory(link.directory, 0).await?;
        self.record(named(Kind::Linked, &entry));
        Ok(result_of(&entry, &inode))
    }

    pub(super) async fn unlink(&mut self, unlink: &Unlink) -> Result<pb::OperationResult, TreeError> {
        let Some(entry) = self.entry(unlink.directory, &unlink.names).await? else {
            return Err(self.no_such_name(unlink.directory, &unlink.names).await?);
        };
        self.expect(&entry, unlink.expected).await?;
        let mut inode = self.inode_or_refuse(entry.child).await?;
        self.drop_entry(&entry).await?;
        self.touch_directory(entry.directory, -i64::from(inode.is_directory())).await?;
        let mut trash = bytes::Bytes::new();
        let kind = match unlink.mode {
            UnlinkMode::File if inode.is_directory() => {
                return Err(TreeError::refused(ErrorCode::IsDirectory, "this is a directory"));
            }
            UnlinkMode::Directory if !inode.is_directory() => {
                return Err(TreeError::refused(ErrorCode::NotDirectory, "this is not a directory"));
            }
            UnlinkMode::File | UnlinkMode::Directory => {
                self.lose_entry(&mut inode).await?;
                Kind::Unlinked
            }
            UnlinkMode::Trash => {
                trash = bytes_of(self.put_into_trash(&entry, &mut inode).await?);
                Kind::Trashed
            }
            UnlinkMode::Purge => {
                self.lose_entry_for_good(&mut inode).await?;
                Kind::Purged
            }
        };
        self.record(named(kind, &entry));
        Ok(pb::OperationResult { inode: Some(inode.to_pb()), trash, ..pb::OperationResult::default() })
    }

    /// An entry of the inode was removed. What has none left stays readable by id for the grace period.
    pub(super) async fn lose_entry(&mut self, inode: &mut InodeRow) -> Result<(), TreeError> {
        inode.ctime_ns = self.stamp;
        if inode.is_directory() {
            if self.has_entries(inode.id).await? {
                return Err(TreeError::refused(ErrorCode::NotEmpty, "the directory is not empty"));
            }
            inode.nlink = 0;
        } else {
            inode.nlink = inode.nlink.saturating_sub(1);
        }
        if inode.nlink == 0 {
            inode.deleted_ns = self.now;
        }
        self.put_links(inode).await?;
        if !inode.is_live() {
            self.content_died(inode).await?;
        }
        Ok(())
    }

    /// The newest version of a file stops counting, because nothing leads to the file any more.
    pub(super) async fn content_died(&mut self, inode: &InodeRow) -> Result<(), TreeError> {
        if inode.kind == InodeKind::File {
            self.bucket.files -= 1;
            self.adjust(&[RootStep::new(inode.root_page, 0, -1)], &NewContent::default()).await?;
        }
        Ok(())
    }

    pub(super) async fn has_entries(&mut self, directory: InodeId) -> Result<bool, DbError> {
        let found = sqlx::query("SELECT 1 FROM entry WHERE bucket = $1 AND directory = $2 LIMIT 1")
            .bind(self.bucket.id.to_vec())
            .bind(directory.to_vec())
            .fetch_optional(&mut *self.conn)
            .await?;
        Ok(found.is_some())
    }

    async fn put_into_trash(&mut self, entry: &EntryRow, inode: &mut InodeRow) -> Result<TrashId, TreeError> {
        let id = TrashId::random();
        inode.ctime_ns = self.stamp;
        inode.trashed += 1;
        if !inode.is_directory() {
            inode.nlink = inode.nlink.saturating_sub(1);
        }
        if inode.is_directory() || inode.nlink == 0 {
            inode.deleted_ns = self.now;
        }
        self.put_links(inode).await?;
        sqlx::query(
            "INSERT INTO trash (bucket, id, directory, name, epoch, child, kind, wrapped_key, deleted_ns, expires_ns) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(self.bucket.id.to_vec())
        .bind(id.to_vec())
        .bind(entry.directory.to_vec())
        .bind(entry.token.name.to_vec())
        .bind(i64::from(entry.token.epoch))
        .bind(entry.child.to_vec())
        .bind(i64::from(i32::from(entry.kind)))
        .bind(entry.wrapped_key.to_vec())
        .bind(self.now)
        .bind(after(self.now, self.settings.trash_seconds))
        .execute(&mut *self.conn)
        .await?;
        Ok(id)
    }
}

/// A change that concerns one entry.
pub(super) fn named(kind: Kind, entry: &EntryRow) -> pb::Change {
    pb::Change {
        kind: kind.into(),
        inode: bytes_of(entry.child),
        directory: bytes_of(entry.directory),
        name: Some(entry.token.to_pb()),
        ..pb::Change::default()
    }
}

/// The answer of an operation on an entry.
pub(super) fn result_of(entry: &EntryRow, inode: &InodeRow) -> pb::OperationResult {
    pb::OperationResult { entry: Some(entry.to_pb()), inode: Some(inode.to_pb()), ..pb::OperationResult::default() }
}
