//! A new version of a file, as far as it needs the database: compare-and-swap, references, counters.
//!
//! `plan.rs` has checked everything else. In order: the file still has a name and the base is still its newest version, or what is there is
//! returned; the writer may sign now; segments are proven and written; reused pages exist and fit where they are used; the counters of pages and blobs move,
//! which also finds blobs that do not exist; the version and the inode are written; the quota holds.

use std::collections::HashMap;

use cyx_core::error::ErrorCode;
use cyx_core::extent::PageId;
use cyx_core::ids::{BucketId, InodeId};
use cyx_core::writers::WriterList;
use cyx_proto::meta::v1 as pb;
use pb::change::Kind;
use std::sync::Arc;

use super::attributes::of_inode;
use super::error::TreeError;
use super::model::{InodeKind, InodeRow, VersionRow};
use super::plan::CommitPlan;
use super::refs::{NewContent, RootStep};
use super::rekey::require_newest_of;
use super::sql::{self, Value};
use super::work::Work;
use crate::db::{Conn, DbError, insert_many};

const VERSION_COLUMNS: &str = "version, base, size, root_page, writer, signature, committed_ns, sequence";

/// A version of a file; 0 is the newest.
pub(super) async fn version(
    conn: &mut Conn,
    bucket: BucketId,
    inode: InodeId,
    version: u64,
) -> Result<Option<VersionRow>, DbError> {
    let condition = if version == 0 { "superseded_ns = $3" } else { "version = $3" };
    let text = format!("SELECT {VERSION_COLUMNS} FROM version WHERE bucket = $1 AND inode = $2 AND {condition}");
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(bucket.to_vec())
        .bind(inode.to_vec())
        .bind(sql::as_int(version))
        .fetch_optional(&mut *conn)
        .await?;
    row.as_ref().map(VersionRow::read).transpose()
}

/// The newest versions of those of the files that have one.
pub(super) async fn newest_versions(
    conn: &mut Conn,
    bucket: BucketId,
    files: &[InodeId],
) -> Result<HashMap<InodeId, VersionRow>, DbError> {
    let keys: Vec<[u8; 16]> = files.iter().map(|id| id.0).collect();
    let head =
        format!("SELECT {VERSION_COLUMNS}, inode FROM version WHERE bucket = $1 AND superseded_ns = 0 AND inode IN (");
    let rows = sql::fetch_in(conn, &head, ")", &[Value::Bytes(&bucket.0)], &keys).await?;
    rows.iter().map(|row| Ok((sql::id(row, VersionRow::COLUMNS)?, VersionRow::read(row)?))).collect()
}

/// A version to be written as its file's newest.
pub(super) struct NewVersion<'a> {
    pub(super) plan: &'a CommitPlan,
    /// Number of the change.
    pub(super) sequence: u64,
}

pub(super) async fn insert_versions(
    conn: &mut Conn,
    bucket: BucketId,
    rows: &[NewVersion<'_>],
    now: i64,
) -> Result<(), DbError> {
    let head = "INSERT INTO version (bucket, inode, version, base, size, root_page, writer, signature, committed_ns, superseded_ns, sequence)";
    insert_many(conn, head, 11, "", rows, |statement, NewVersion { plan, sequence }| {
        statement
            .bind(bucket.to_vec())
            .bind(plan.inode.to_vec())
            .bind(sql::as_int(plan.base + 1))
            .bind(sql::as_int(plan.base))
            .bind(sql::as_int(plan.size))
            .bind(plan.root.to_vec())
            .bind(plan.writer.to_vec())
            .bind(plan.signature.to_vec())
            .bind(now)
            .bind(0_i64)
            .bind(sql::as_int(*sequence))
    })
    .await?;
    Ok(())
}

impl Work<'_> {
    pub(super) async fn commit(
        &mut self,
        plan: &CommitPlan,
        writers: &Arc<WriterList>,
    ) -> Result<pb::OperationResult, TreeError> {
        let mut inode = self.inode_or_refuse(plan.inode).await?;
        match inode.kind {
            InodeKind::File => {}
            InodeKind::Directory => {
                return Err(TreeError::refused(ErrorCode::IsDirectory, "a directory has no content"));
            }
            _ => return Err(TreeError::invalid("only files have content")),
        }
        if inode.nlink == 0 {
            // Nobody could find it. Whoever wrote it may keep it under another name.
            return Err(self.lost_race(&inode, "the file was removed meanwhile").await?);
        }
        let replaces_another = plan.base_root.is_some_and(|root| root != inode.root_page);
        if inode.version != plan.base || replaces_another {
            return Err(self.lost_race(&inode, "another version was committed first").await?);
        }
        let brings_content = !plan.upload.blobs.is_empty() || plan.staged.is_some();
        if brings_content {
            require_newest_of(&inode, plan.key_epoch)?;
        }
        self.check_writer(plan, writers).await?;
        let used_before = self.bucket.used_bytes;
        self.add_segments(&plan.upload.segments).await?;
        let ends = self.check_places(plan).await?;
        let live = i64::from(inode.is_live());
        let content = NewContent {
            pages: plan.pages.iter().map(|page| (page.id, (page, ends.get(&page.id).copied().unwrap_or(0)))).collect(),
            blobs: plan.upload.blobs.iter().map(|(id, blob)| (*id, blob)).collect(),
            lengths: Some(&plan.used),
            staged: plan.staged,
        };
        let steps = [RootStep::new(plan.root, 1, live), RootStep::new(inode.root_page, 0, -live)];
        self.adjust(&steps, &content).await?;
        self.refuse_empty_segments(plan).await?;
        self.put_version(plan, &mut inode).await?;
        if self.bucket.used_bytes > used_before {
            self.check_quota().await?;
        }
        self.record(of_inode(Kind::Content, &inode));
        Ok(pb::OperationResult { inode: Some(inode.to_pb()), ..pb::OperationResult::default() })
    }

    /// Somebody else was faster: with what is there.
    async fn lost_race(&mut self, inode: &InodeRow, message: &'static str) -> Result<TreeError, TreeError> {
        let winner = version(self.conn, self.bucket.id, inode.id, 0).await?;
        let state = pb::OperationResult {
            inode: Some(inode.to_pb()),
            winner: winner.as_ref().map(VersionRow::to_pb),
            ..pb::OperationResult::default()
        };
        Ok(TreeError::refused_with(ErrorCode::Conflict, message, state))
    }

    /// The signature was checked against a key of the list; here it is made sure that the key may sign this very change.
    pub(super) async fn check_writer(&mut self, plan: &CommitPlan, writers: &Arc<WriterList>) -> Result<(), TreeError> {
        let sequence = self.next_sequence();
        if !plan.may_make(sequence) {
            return Err(TreeError::invalid("the commit claims to come after changes that did not happen"));
        }
        let newer;
        let list: &WriterList = if writers.len() as u64 == self.bucket.writers {
            writers
        } else {
            newer = super::buckets::writer_list(self.conn, &self.bucket).await?;
            &newer
        };
        match list.may_sign(plan.writer, sequence) {
            Some(_) => Ok(()),
            // The owner's program has not heard yet that the account has other keys.
            None if list.was_replaced(&self.bucket.owner_key, plan.writer) => {
                Err(TreeError::refused(ErrorCode::StaleKey, "the bucket's owner signs with a newer key by now"))
            }
            None => {
                Err(TreeError::refused(ErrorCode::PermissionDenied, "this key may not sign for the bucket any more"))
            }
        }
    }

    /// Checks the pages that are reused and computes where every new page ends.
    async fn check_places(&mut self, plan: &CommitPlan) -> Result<HashMap<PageId, u64>, TreeError> {
        let keys: Vec<[u8; 32]> = plan.reused.iter().map(|reused| reused.id.0).collect();
        let head = "SELECT id, level, first_offset, end_offset FROM extent_page WHERE bucket = $1 AND id IN (";
        let mut found: HashMap<PageId, (u8, u64, u64)> = HashMap::with_capacity(keys.len());
        for row in sql::fetch_in(self.conn, head, ")", &[Value::Bytes(&self.bucket.id.0)], &keys).await? {
            let place = (sql::uint(&row, 1)?, sql::uint(&row, 2)?, sql::uint(&row, 3)?);
            found.insert(PageId(sql::array(&row, 0)?), place);
        }
        let mut ends = HashMap::with_capacity(plan.pages.len());
        for reused in &plan.reused {
            let Some((level, first, end)) = found.get(&reused.id) else {
                return Err(TreeError::invalid(format!("there is no page {} in this bucket", reused.id)));
            };
            let fits = reused.level.is_none_or(|wanted| wanted == *level)
                && reused.first_offset.is_none_or(|wanted| wanted == *first)
                && *end <= reused.upper;
            if !fits {
                return Err(TreeError::invalid(format!("page {} does not fit where it is used", reused.id)));
            }
            ends.insert(reused.id, *end);
        }
        // The plan has the higher pages first; their ends follow from the lower ones.
        for page in plan.pages.iter().rev() {
            let end = match page.page.children().last() {
                Some(last) => ends.get(&last.id).copied().unwrap_or(0),
                None => page.page.extents().last().map_or(0, cyx_core::extent::Extent::end),
            };
            ends.insert(page.id, end);
        }
        Ok(ends)
    }

    async fn refuse_empty_segments(&mut self, plan: &CommitPlan) -> Result<(), TreeError> {
        let keys: Vec<[u8; 16]> = plan.upload.segments.iter().map(|segment| segment.id.0).collect();
        let head = "SELECT id FROM segment WHERE live_blobs = 0 AND id IN (";
        if sql::fetch_in(self.conn, head, ")", &[], &keys).await?.is_empty() {
            return Ok(());
        }
        Err(TreeError::invalid("no blob lies in one of the segments"))
    }

    async fn put_version(&mut self, plan: &CommitPlan, inode: &mut InodeRow) -> Result<(), DbError> {
        if inode.version > 0 {
            sqlx::query("UPDATE version SET superseded_ns = $4 WHERE bucket = $1 AND inode = $2 AND version = $3")
                .bind(self.bucket.id.to_vec())
                .bind(inode.id.to_vec())
                .bind(sql::as_int(inode.version))
                .bind(self.now)
                .execute(&mut *self.conn)
                .await?;
        }
        insert_versions(self.conn, self.bucket.id, &[NewVersion { plan, sequence: self.next_sequence() }], self.now)
            .await?;
        inode.version = plan.base + 1;
        inode.size = plan.size;
        inode.root_page = plan.root;
        inode.mtime_ns = plan.mtime_ns;
        // Content is decided when it is written and committed later: an attribute that was changed in between is newer.
        inode.ctime_ns = inode.ctime_ns.max(self.stamp);
        sqlx::query(
            "UPDATE inode SET version = $3, size = $4, root_page = $5, mtime_ns = $6, ctime_ns = $7 \
             WHERE bucket = $1 AND id = $2",
        )
        .bind(self.bucket.id.to_vec())
        .bind(inode.id.to_vec())
        .bind(sql::as_int(inode.version))
        .bind(sql::as_int(inode.size))
        .bind(inode.root_page.to_vec())
        .bind(inode.mtime_ns)
        .bind(inode.ctime_ns)
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }
}
