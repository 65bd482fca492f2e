//! Rename, replace, exchange: one operation that moves an entry.

use cyx_core::error::ErrorCode;
use cyx_core::ids::{BucketId, InodeId};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use pb::change::Kind;

use super::ENTRY_COLUMNS;
use super::error::TreeError;
use super::model::{EntryRow, InodeRow};
use super::namespace::{named, newest, result_of};
use super::rekey::require_newest_of;
use super::request::{Collision, Rename};
use super::work::Work;
use crate::db::{Conn, DbError};

/// Deepest directory that can be moved, or moved into. No path that a system call can name is as deep.
pub(super) const DEPTH_MAX: usize = 4096;

/// The entries from the root (or from where a directory was cut off) down to a directory, the highest first. `None` if it lies
/// deeper than [`DEPTH_MAX`].
pub(super) async fn path_to(
    conn: &mut Conn,
    bucket: BucketId,
    directory: InodeId,
) -> Result<Option<Vec<EntryRow>>, DbError> {
    // CROSS JOIN makes SQLite keep the order of the tables: from the directory up, never over all entries of the bucket.
    let text = format!(
        "WITH RECURSIVE up (child, directory, name, epoch, depth) AS (\
         SELECT child, directory, name, epoch, CAST(1 AS BIGINT) FROM entry WHERE bucket = $1 AND child = $2 UNION ALL \
         SELECT n.child, n.directory, n.name, n.epoch, up.depth + 1 FROM up CROSS JOIN entry n \
         WHERE n.bucket = $1 AND n.child = up.directory AND up.depth <= $3) \
         SELECT {ENTRY_COLUMNS} FROM up CROSS JOIN entry e WHERE e.bucket = $1 AND e.directory = up.directory \
         AND e.name = up.name AND e.epoch = up.epoch ORDER BY up.depth DESC"
    );
    let most = i64::try_from(DEPTH_MAX).unwrap_or(i64::MAX);
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(bucket.to_vec())
        .bind(directory.to_vec())
        .bind(most)
        .fetch_all(conn)
        .await?;
    if rows.len() > DEPTH_MAX {
        return Ok(None);
    }
    rows.iter().map(|row| EntryRow::read(row, 0)).collect::<Result<_, _>>().map(Some)
}

impl Work<'_> {
    /// Refuses if `directory` is `moved` or lies below it.
    pub(super) async fn refuse_loop(&mut self, moved: InodeId, directory: InodeId) -> Result<(), TreeError> {
        let Some(path) = path_to(self.conn, self.bucket.id, directory).await? else {
            return Err(TreeError::refused(ErrorCode::TooLarge, "the directory is nested too deeply"));
        };
        if directory == moved || path.iter().any(|entry| entry.directory == moved) {
            return Err(TreeError::refused(ErrorCode::Loop, "a directory cannot be moved below itself"));
        }
        Ok(())
    }

    pub(super) async fn rename(&mut self, rename: &Rename) -> Result<pb::OperationResult, TreeError> {
        let Some(source) = self.entry(rename.directory, &rename.names).await? else {
            return Err(self.no_such_name(rename.directory, &rename.names).await?);
        };
        self.expect(&source, rename.expected).await?;
        self.directory_for(rename.directory, &rename.names).await?;
        self.directory_for(rename.new_directory, &rename.new_names).await?;
        let target = self.entry(rename.new_directory, &rename.new_names).await?;
        // The entry itself under another spelling of its name: only its name and key are renewed.
        let target = match target {
            Some(target) if is_same_entry(&target, &source) && rename.collision != Collision::NoReplace => None,
            other => other,
        };
        self.check_collision(&rename.collision, target.as_ref()).await?;
        let mut moved = self.inode_or_refuse(source.child).await?;
        require_newest_of(&moved, rename.key_epoch)?;
        if moved.is_directory() && rename.directory != rename.new_directory {
            self.refuse_loop(moved.id, rename.new_directory).await?;
        }
        if let Some(target) = &target
            && target.child == source.child
        {
            // rename(2) between two names of one file does nothing.
            return Ok(result_of(&source, &moved));
        }
        match (&rename.collision, target) {
            (Collision::Exchange { wrapped_key, key_epoch, .. }, Some(target)) => {
                let other = self.inode_or_refuse(target.child).await?;
                require_newest_of(&other, *key_epoch)?;
                self.exchange(rename, source, target, &mut moved, wrapped_key.clone()).await
            }
            (_, target) => self.replace(rename, source, target, &mut moved).await,
        }
    }

    async fn check_collision(&mut self, collision: &Collision, target: Option<&EntryRow>) -> Result<(), TreeError> {
        match (collision, target) {
            (Collision::NoReplace, None) | (Collision::Replace(None), None) => Ok(()),
            (Collision::NoReplace, Some(taken)) => self.refuse_taken(taken).await,
            (Collision::Exchange { expected, .. } | Collision::Replace(Some(expected)), Some(target)) => {
                self.expect(target, *expected).await
            }
            (Collision::Exchange { .. }, None) => Err(TreeError::not_found("there is nothing to exchange with")),
            (Collision::Replace(Some(_)), None) => {
                let state = pb::OperationResult::default();
                Err(TreeError::refused_with(ErrorCode::Retry, "the new name leads to nothing by now", state))
            }
            (Collision::Replace(None), Some(target)) => {
                let state = self.state_of(Some(target)).await?;
                Err(TreeError::refused_with(ErrorCode::Retry, "the new name leads to something by now", state))
            }
        }
    }

    async fn replace(
        &mut self,
        rename: &Rename,
        source: EntryRow,
        target: Option<EntryRow>,
        moved: &mut InodeRow,
    ) -> Result<pb::OperationResult, TreeError> {
        let mut lost_directory = 0;
        if let Some(target) = &target {
            let mut replaced = self.inode_or_refuse(target.child).await?;
            match (moved.is_directory(), replaced.is_directory()) {
                (true, false) => {
                    return Err(TreeError::refused(
                        ErrorCode::NotDirectory,
                        "a directory cannot replace what is not one",
                    ));
                }
                (false, true) => {
                    return Err(TreeError::refused(ErrorCode::IsDirectory, "only a directory can replace a directory"));
                }
                (true, true) => lost_directory = 1,
                (false, false) => {}
            }
            self.drop_entry(target).await?;
            self.lose_entry(&mut replaced).await?;
            self.record(named(Kind::Unlinked, target));
        }
        self.drop_entry(&source).await?;
        let entry = EntryRow {
            directory: rename.new_directory,
            token: newest(&rename.new_names)?.clone(),
            wrapped_key: rename.new_wrapped_key.clone(),
            version: self.next_sequence(),
            ..source.clone()
        };
        self.put_entry(&entry).await?;
        let directory = i64::from(moved.is_directory());
        if rename.directory == rename.new_directory {
            self.touch_directory(rename.directory, -lost_directory).await?;
        } else {
            self.touch_directory(rename.directory, -directory).await?;
            self.touch_directory(rename.new_directory, directory - lost_directory).await?;
        }
        self.touch(moved).await?;
        self.record(renamed(&source, &entry));
        Ok(result_of(&entry, moved))
    }

    async fn exchange(
        &mut self,
        rename: &Rename,
        source: EntryRow,
        target: EntryRow,
        moved: &mut InodeRow,
        wrapped_key: bytes::Bytes,
    ) -> Result<pb::OperationResult, TreeError> {
        let mut other = self.inode_or_refuse(target.child).await?;
        let across = rename.directory != rename.new_directory;
        if other.is_directory() && across {
            self.refuse_loop(other.id, rename.directory).await?;
        }
        self.drop_entry(&source).await?;
        self.drop_entry(&target).await?;
        let there = EntryRow {
            directory: rename.new_directory,
            token: newest(&rename.new_names)?.clone(),
            wrapped_key: rename.new_wrapped_key.clone(),
            version: self.next_sequence(),
            ..source.clone()
        };
        self.put_entry(&there).await?;
        self.record(renamed(&source, &there));
        let here = EntryRow {
            directory: rename.directory,
            token: newest(&rename.names)?.clone(),
            wrapped_key,
            version: self.next_sequence(),
            ..target.clone()
        };
        self.put_entry(&here).await?;
        self.record(renamed(&target, &here));
        let (mine, others) = (i64::from(moved.is_directory()), i64::from(other.is_directory()));
        if across {
            self.touch_directory(rename.directory, others - mine).await?;
            self.touch_directory(rename.new_directory, mine - others).await?;
        } else {
            self.touch_directory(rename.directory, 0).await?;
        }
        self.touch(moved).await?;
        self.touch(&mut other).await?;
        Ok(result_of(&there, moved))
    }

    /// An inode's entry changed. The row is read anew because a directory's counts may have changed with it.
    async fn touch(&mut self, inode: &mut InodeRow) -> Result<(), TreeError> {
        sqlx::query("UPDATE inode SET ctime_ns = $3 WHERE bucket = $1 AND id = $2")
            .bind(self.bucket.id.to_vec())
            .bind(inode.id.to_vec())
            .bind(self.stamp)
            .execute(&mut *self.conn)
            .await?;
        *inode = self.inode_or_refuse(inode.id).await?;
        Ok(())
    }
}

fn is_same_entry(a: &EntryRow, b: &EntryRow) -> bool {
    a.directory == b.directory && a.token == b.token
}

fn renamed(from: &EntryRow, to: &EntryRow) -> pb::Change {
    pb::Change { new_directory: bytes_of(to.directory), new_name: Some(to.token.to_pb()), ..named(Kind::Renamed, from) }
}
