//! What is gone for good: files with their versions at once, directories step by step.
//!
//! A directory that no name leads to any more and that is to go with all below it is queued in `purge`. A step takes some of its entries:
//! files lose a link and go with their last one, subdirectories are cut off and queued themselves. What was thrown away from it goes likewise,
//! and then the empty directory with its row in the queue. Every step is bounded and a transaction of its own, so it can stop and go on anywhere.

use std::collections::HashMap;

use cyx_core::extent::PageId;
use cyx_core::ids::InodeId;

use super::ENTRY_COLUMNS;
use super::error::TreeError;
use super::model::{EntryRow, InodeKind, InodeRow};
use super::namespace::inodes;
use super::refs::{NewContent, RootStep};
use super::sql::{self, Value};
use super::work::Work;
use crate::db::DbError;

/// Inodes that one transaction clears away before it leaves the rest to the collecting job.
pub(super) const AT_ONCE: usize = 1000;
/// Entries per statement of a step.
const STEP: usize = 250;

/// Where an entry was that led to an inode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Tree,
    Trash,
}

impl Work<'_> {
    /// The last entry of an inode is gone and is not to be kept: nothing of it stays, unless another link or the trash has it.
    pub(super) async fn lose_entry_for_good(&mut self, inode: &mut InodeRow) -> Result<(), TreeError> {
        if !inode.is_directory() {
            inode.nlink = inode.nlink.saturating_sub(1);
        }
        self.give_up(inode).await
    }

    /// Destroys an inode that has neither links nor trash entries left; directories go with all below them.
    pub(super) async fn give_up(&mut self, inode: &mut InodeRow) -> Result<(), TreeError> {
        inode.ctime_ns = self.stamp;
        if inode.is_directory() {
            inode.deleted_ns = self.now;
            self.put_links(inode).await?;
            self.queue_purge(&[inode.id]).await?;
            let done = self.purge_some(self.purge_budget).await?;
            self.purge_budget = self.purge_budget.saturating_sub(done);
            return Ok(());
        }
        if inode.nlink == 0 && inode.trashed > 0 && inode.deleted_ns == 0 {
            inode.deleted_ns = self.now;
        }
        if inode.is_live() {
            self.put_links(inode).await?;
            return Ok(());
        }
        // The link or trash entry that it just lost made its content count.
        self.destroy(&[(inode.clone(), true)]).await
    }

    pub(super) async fn queue_purge(&mut self, directories: &[InodeId]) -> Result<(), DbError> {
        let (bucket, now) = (self.bucket.id, self.now);
        let head = "INSERT INTO purge (bucket, inode, queued_ns)";
        crate::db::insert_many(self.conn, head, 3, "ON CONFLICT DO NOTHING", directories, |statement, id| {
            statement.bind(bucket.to_vec()).bind(id.to_vec()).bind(now)
        })
        .await?;
        Ok(())
    }

    /// Clears away up to `budget` inodes of queued directories. How many there were.
    pub(super) async fn purge_some(&mut self, budget: usize) -> Result<usize, TreeError> {
        let mut done = 0;
        while done < budget {
            let row = sqlx::query("SELECT inode FROM purge WHERE bucket = $1 LIMIT 1")
                .bind(self.bucket.id.to_vec())
                .fetch_optional(&mut *self.conn)
                .await?;
            let Some(row) = row else { break };
            done += self.purge_step(sql::id(&row, 0)?).await?;
        }
        Ok(done)
    }

    async fn purge_step(&mut self, directory: InodeId) -> Result<usize, TreeError> {
        let text = format!("SELECT {ENTRY_COLUMNS} FROM entry e WHERE e.bucket = $1 AND e.directory = $2 LIMIT $3");
        let rows = sqlx::query(sqlx::AssertSqlSafe(text))
            .bind(self.bucket.id.to_vec())
            .bind(directory.to_vec())
            .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
            .fetch_all(&mut *self.conn)
            .await?;
        let entries: Vec<EntryRow> = rows.iter().map(|row| EntryRow::read(row, 0)).collect::<Result<_, _>>()?;
        if entries.is_empty() {
            let thrown_away = self.purge_trash_of(directory, STEP).await?;
            if thrown_away == 0 {
                self.remove_directory(directory).await?;
                return Ok(1);
            }
            return Ok(thrown_away);
        }
        for entry in &entries {
            self.drop_entry(entry).await?;
        }
        self.cut_off(&entries, Place::Tree).await?;
        Ok(entries.len())
    }

    /// Entries are gone; what they led to follows.
    pub(super) async fn cut_off(&mut self, entries: &[EntryRow], from: Place) -> Result<(), TreeError> {
        let children = sql::distinct(entries.iter().map(|entry| entry.child));
        let mut found = inodes(self.conn, self.bucket.id, &children).await?;
        let mut directories = Vec::new();
        for entry in entries {
            let Some(inode) = found.get_mut(&entry.child) else {
                return Err(DbError::Corrupt("an entry leads to nothing").into());
            };
            if from == Place::Trash {
                inode.trashed = inode.trashed.saturating_sub(1);
            } else if !inode.is_directory() {
                inode.nlink = inode.nlink.saturating_sub(1);
            }
            if inode.is_directory() {
                inode.deleted_ns = self.now;
                directories.push(inode.id);
            }
        }
        self.queue_purge(&directories).await?;
        let mut dead = Vec::new();
        for inode in found.into_values() {
            if inode.is_directory() || inode.is_live() {
                let deleted_ns = if inode.is_directory() || inode.nlink == 0 { self.now } else { 0 };
                self.put_links(&InodeRow { deleted_ns, ctime_ns: self.stamp, ..inode }).await?;
            } else {
                dead.push((inode, true));
            }
        }
        self.destroy(&dead).await
    }

    async fn remove_directory(&mut self, directory: InodeId) -> Result<(), DbError> {
        for text in
            ["DELETE FROM purge WHERE bucket = $1 AND inode = $2", "DELETE FROM inode WHERE bucket = $1 AND id = $2"]
        {
            sqlx::query(text).bind(self.bucket.id.to_vec()).bind(directory.to_vec()).execute(&mut *self.conn).await?;
        }
        Ok(())
    }

    /// Removes inodes that nothing leads to, with all their versions. `true`: the newest version counted until now.
    pub(super) async fn destroy(&mut self, inodes: &[(InodeRow, bool)]) -> Result<(), TreeError> {
        let keys: Vec<[u8; 16]> = inodes.iter().map(|(inode, _)| inode.id.0).collect();
        let bucket = self.bucket.id.0;
        let mut roots: HashMap<PageId, (i64, i64)> = HashMap::new();
        for (inode, counted) in inodes.iter().filter(|(inode, _)| inode.kind == InodeKind::File) {
            if *counted {
                self.bucket.files -= 1;
                roots.entry(inode.root_page).or_default().1 -= 1;
            }
        }
        let head = "SELECT root_page FROM version WHERE bucket = $1 AND inode IN (";
        for row in sql::fetch_in(self.conn, head, ")", &[Value::Bytes(&bucket)], &keys).await? {
            roots.entry(PageId(sql::array(&row, 0)?)).or_default().0 -= 1;
        }
        let steps: Vec<RootStep> =
            roots.into_iter().map(|(root, (refs, live))| RootStep::new(root, refs, live)).collect();
        self.adjust(&steps, &NewContent::default()).await?;
        for head in
            ["DELETE FROM version WHERE bucket = $1 AND inode IN (", "DELETE FROM inode WHERE bucket = $1 AND id IN ("]
        {
            sql::execute_in(self.conn, head, ")", &[Value::Bytes(&bucket)], &keys).await?;
        }
        Ok(())
    }
}
