//! The trash: entries that were taken out of the tree with all below them and can be put back.
//!
//! Only the topmost entry moves; what lies below a trashed directory stays as it is and counts as before. What was taken out of that
//! directory earlier stays an entry of its own, can be put back once the directory is back, and goes with it for good.

use cyx_core::ids::{BucketId, InodeId, TrashId};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use pb::change::Kind;
use std::collections::HashMap;

use super::error::TreeError;
use super::model::{EntryRow, InodeRow, TrashRow};
use super::namespace::{named, newest, result_of};
use super::purge::Place;
use super::rekey::{require_newest, require_newest_of};
use super::rename::{DEPTH_MAX, path_to};
use super::request::TrashRestore;
use super::work::Work;
use super::{INODE_COLUMNS, TRASH_COLUMNS};
use crate::db::{Conn, DbError};

impl Work<'_> {
    pub(super) async fn trash_row(&mut self, id: TrashId) -> Result<Option<TrashRow>, DbError> {
        let text = format!("SELECT {TRASH_COLUMNS} FROM trash t WHERE t.bucket = $1 AND t.id = $2");
        let row = sqlx::query(sqlx::AssertSqlSafe(text))
            .bind(self.bucket.id.to_vec())
            .bind(id.to_vec())
            .fetch_optional(&mut *self.conn)
            .await?;
        row.map(|row| TrashRow::read(&row, 0)).transpose()
    }

    async fn drop_trash(&mut self, id: TrashId) -> Result<(), DbError> {
        sqlx::query("DELETE FROM trash WHERE bucket = $1 AND id = $2")
            .bind(self.bucket.id.to_vec())
            .bind(id.to_vec())
            .execute(&mut *self.conn)
            .await?;
        Ok(())
    }

    pub(super) async fn trash_restore(&mut self, restore: &TrashRestore) -> Result<pb::OperationResult, TreeError> {
        let Some(trash) = self.trash_row(restore.trash).await? else {
            return Err(TreeError::not_found("the trash has no such entry"));
        };
        let directory = trash.entry.directory;
        let directory_row = self.directory(directory).await?;
        let mut entry = EntryRow { version: self.next_sequence(), ..trash.entry };
        let mut names = vec![entry.token.clone()];
        if let Some((new_names, wrapped_key)) = &restore.renamed {
            names.clone_from(new_names);
            entry.token = newest(new_names)?.clone();
            entry.wrapped_key = wrapped_key.clone();
        }
        require_newest(&directory_row, entry.token.epoch)?;
        if let Some(taken) = self.entry(directory, &names).await? {
            self.refuse_taken(&taken).await?;
        }
        let mut inode = self.inode_or_refuse(entry.child).await?;
        if restore.renamed.is_some() {
            require_newest_of(&inode, restore.key_epoch)?;
        }
        if inode.is_directory() {
            // Its former directory may have been moved below it meanwhile.
            self.refuse_loop(inode.id, directory).await?;
        } else {
            inode.nlink += 1;
        }
        let way = way_to(self.conn, self.bucket.id, self.bucket.root, directory).await?;
        if way.is_none_or(|way| way.trashed) {
            return Err(TreeError::not_found("the directory is not in the tree"));
        }
        inode.trashed = inode.trashed.saturating_sub(1);
        inode.deleted_ns = 0;
        inode.ctime_ns = self.stamp;
        self.drop_trash(trash.id).await?;
        self.put_entry(&entry).await?;
        self.put_links(&inode).await?;
        self.touch_directory(directory, i64::from(inode.is_directory())).await?;
        self.record(named(Kind::Restored, &entry));
        Ok(result_of(&entry, &inode))
    }

    /// Takes entries out of the trash for good. Those that are gone already are no reason to refuse.
    pub(super) async fn trash_purge(&mut self, ids: &[TrashId]) -> Result<pb::OperationResult, TreeError> {
        for id in ids {
            let Some(trash) = self.trash_row(*id).await? else { continue };
            self.purge_trash(&trash).await?;
        }
        Ok(pb::OperationResult::default())
    }

    /// Some of what was thrown away from a directory that goes for good goes as well. How many entries.
    pub(super) async fn purge_trash_of(&mut self, directory: InodeId, limit: usize) -> Result<usize, TreeError> {
        let text = format!("SELECT {TRASH_COLUMNS} FROM trash t WHERE t.bucket = $1 AND t.directory = $2 LIMIT $3");
        let rows = sqlx::query(sqlx::AssertSqlSafe(text))
            .bind(self.bucket.id.to_vec())
            .bind(directory.to_vec())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&mut *self.conn)
            .await?;
        let trash: Vec<TrashRow> = rows.iter().map(|row| TrashRow::read(row, 0)).collect::<Result<_, _>>()?;
        for row in &trash {
            self.drop_trash(row.id).await?;
            self.record(named(Kind::Purged, &row.entry));
        }
        let entries: Vec<EntryRow> = trash.into_iter().map(|row| row.entry).collect();
        self.cut_off(&entries, Place::Trash).await?;
        Ok(entries.len())
    }

    pub(super) async fn purge_trash(&mut self, trash: &TrashRow) -> Result<(), TreeError> {
        self.drop_trash(trash.id).await?;
        let mut inode = self.inode_or_refuse(trash.entry.child).await?;
        inode.trashed = inode.trashed.saturating_sub(1);
        self.give_up(&mut inode).await?;
        self.record(named(Kind::Purged, &trash.entry));
        Ok(())
    }
}

/// A page of a trash, by id.
///
/// # Errors
/// [`DbError`].
pub async fn list(
    conn: &mut Conn,
    bucket: BucketId,
    after: Option<TrashId>,
    limit: i64,
) -> Result<Vec<(TrashRow, InodeRow)>, DbError> {
    let text = format!(
        "SELECT {TRASH_COLUMNS}, {INODE_COLUMNS} FROM trash t CROSS JOIN inode i WHERE i.bucket = $1 AND i.id = t.child \
         AND t.bucket = $1 AND t.id > $2 ORDER BY t.id LIMIT $3"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(bucket.to_vec())
        .bind(after.map_or_else(Vec::new, TrashId::to_vec))
        .bind(limit)
        .fetch_all(&mut *conn)
        .await?;
    rows.iter().map(|row| Ok((TrashRow::read(row, 0)?, InodeRow::read(row, TrashRow::COLUMNS)?))).collect()
}

/// Most directories of a way that are in the trash each for themselves. Every one costs two questions to the database, for every entry below it.
const TRASHED_MAX: usize = 16;

/// How to get from the root to a directory.
#[derive(Clone, Default)]
struct Way {
    /// The entries that lead there, the highest first.
    entries: Vec<EntryRow>,
    /// One of them is in the trash.
    trashed: bool,
}

/// The way to a directory, also through the trash. `None` if there is none any more, or if it leads through the trash too often.
async fn way_to(conn: &mut Conn, bucket: BucketId, root: InodeId, directory: InodeId) -> Result<Option<Way>, DbError> {
    let mut way = Way::default();
    let (mut top, mut trashed) = (directory, 0);
    while top != root {
        let Some(mut above) = path_to(conn, bucket, top).await? else { return Ok(None) };
        if above.is_empty() {
            let text = format!("SELECT {TRASH_COLUMNS} FROM trash t WHERE t.bucket = $1 AND t.child = $2");
            let statement = sqlx::query(sqlx::AssertSqlSafe(text)).bind(bucket.to_vec()).bind(top.to_vec());
            let Some(row) = statement.fetch_optional(&mut *conn).await? else { return Ok(None) };
            above.push(TrashRow::read(&row, 0)?.entry);
            (way.trashed, trashed) = (true, trashed + 1);
        }
        above.append(&mut way.entries);
        way.entries = above;
        top = way.entries[0].directory;
        // Moved by turns, directories may have ended below each other.
        let is_circle = top == directory || way.entries.iter().any(|entry| entry.child == top);
        if is_circle || trashed > TRASHED_MAX || way.entries.len() > DEPTH_MAX {
            return Ok(None);
        }
    }
    Ok(Some(way))
}

/// The same as messages, with the way from the root to each directory.
///
/// # Errors
/// [`DbError`].
pub async fn list_pb(
    conn: &mut Conn,
    bucket: BucketId,
    root: InodeId,
    after: Option<TrashId>,
    limit: i64,
) -> Result<Vec<pb::TrashEntry>, DbError> {
    let rows = list(conn, bucket, after, limit).await?;
    let mut ways: HashMap<InodeId, Way> = HashMap::new();
    let mut answer = Vec::with_capacity(rows.len());
    for (trash, inode) in rows {
        let directory = trash.entry.directory;
        if let std::collections::hash_map::Entry::Vacant(vacant) = ways.entry(directory) {
            vacant.insert(way_to(conn, bucket, root, directory).await?.unwrap_or_default());
        }
        let way = &ways[&directory];
        answer.push(pb::TrashEntry {
            id: bytes_of(trash.id),
            entry: Some(trash.entry.to_pb()),
            inode: Some(inode.to_pb()),
            deleted_ns: trash.deleted_ns,
            expires_ns: trash.expires_ns,
            ancestors: way.entries.iter().map(EntryRow::to_pb).collect(),
            below_trash: way.trashed,
        });
    }
    Ok(answer)
}

/// The trash entries of a bucket that have expired, the oldest first.
pub(super) async fn expired(conn: &mut Conn, bucket: BucketId, now: i64, limit: i64) -> Result<Vec<TrashRow>, DbError> {
    let text = format!(
        "SELECT {TRASH_COLUMNS} FROM trash t WHERE t.bucket = $1 AND t.expires_ns <= $2 ORDER BY t.expires_ns LIMIT $3"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(bucket.to_vec())
        .bind(now)
        .bind(limit)
        .fetch_all(&mut *conn)
        .await?;
    rows.iter().map(|row| TrashRow::read(row, 0)).collect()
}
