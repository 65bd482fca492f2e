//! What the collecting jobs do to trees: small transactions that can stop and go on anywhere.
//!
//! Nothing here touches a chunk. Segments that nothing refers to any more are marked freed; their rows, and with them their places in
//! keep-lists, go later ([`forget_segments`]), when no node may still be asked for them.

use std::collections::BTreeSet;

use cyx_core::extent::PageId;
use cyx_core::ids::{AccountId, BucketId, SegmentId, TxnId};
use futures_util::future::BoxFuture;

use super::error::TreeError;
use super::model::InodeRow;
use super::refs::{NewContent, RootStep};
use super::sql::{self, Value};
use super::work::{Changes, Work};
use super::{INODE_COLUMNS, Settings, before, trash};
use crate::changes::{self, Bus};
use crate::db::{Conn, Db, DbError};
use crate::repair::segment;

/// Rows per transaction.
const STEP: i64 = 500;

/// What a collection did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Trash entries that expired.
    pub trash: u64,
    /// Inodes that were cleared away.
    pub inodes: u64,
    /// Superseded versions that were dropped.
    pub versions: u64,
    /// Staged transactions that were given up.
    pub staged: u64,
    /// Deleted buckets that are gone.
    pub buckets: u64,
    /// Old changes and answers that were forgotten.
    pub history: u64,
}

/// Expires trash, superseded versions, unlinked inodes, staged transactions, old changes and answers, and clears away what was
/// purged or deleted, until there is nothing left to do. `now` in Unix nanoseconds. What a bucket cannot do keeps nothing else from being
/// done: with what was done comes the first error, if there was one.
pub async fn collect(db: &Db, bus: &Bus, settings: Settings, now: i64) -> (Collected, Result<(), DbError>) {
    let mut collected = Collected::default();
    let buckets = collect_buckets(db, bus, settings, now, &mut collected).await;
    let accounts = collect_accounts(db, bus, settings, now, &mut collected).await;
    let history = forget_history(db, before(now, settings.history_seconds)).await;
    let history = history.map(|forgotten| collected.history += forgotten);
    (collected, buckets.and(accounts).and(history))
}

async fn collect_buckets(
    db: &Db,
    bus: &Bus,
    settings: Settings,
    now: i64,
    collected: &mut Collected,
) -> Result<(), DbError> {
    let mut first = Ok(());
    for bucket in buckets_with_work(db, settings, now).await? {
        first = first.and(collect_bucket(db, bus, bucket, settings, now, collected).await);
    }
    first
}

async fn collect_accounts(
    db: &Db,
    bus: &Bus,
    settings: Settings,
    now: i64,
    collected: &mut Collected,
) -> Result<(), DbError> {
    let mut first = Ok(());
    for account in accounts_over_cap(db).await? {
        let dropped = drop_oldest_superseded(db, bus, account, settings, now).await;
        first = first.and(dropped.map(|dropped| collected.versions += dropped));
    }
    first
}

async fn buckets_with_work(db: &Db, settings: Settings, now: i64) -> Result<Vec<BucketId>, DbError> {
    let mut read = db.read().await?;
    let questions = [
        ("SELECT DISTINCT bucket FROM trash WHERE expires_ns <= $1", now),
        ("SELECT DISTINCT bucket FROM purge WHERE queued_ns <= $1", i64::MAX),
        (
            "SELECT DISTINCT bucket FROM version WHERE superseded_ns <> 0 AND superseded_ns <= $1",
            before(now, settings.superseded_seconds),
        ),
        (
            "SELECT DISTINCT bucket FROM inode WHERE deleted_ns <> 0 AND deleted_ns <= $1",
            before(now, settings.trash_seconds),
        ),
        ("SELECT DISTINCT bucket FROM staged WHERE last_call_ns <= $1", before(now, settings.staged_seconds)),
        ("SELECT id FROM bucket WHERE deleted_ns <> 0 AND deleted_ns <= $1", i64::MAX),
    ];
    let mut found = Vec::new();
    for (text, time) in questions {
        for row in sqlx::query(text).bind(time).fetch_all(&mut *read).await? {
            found.push(sql::id(&row, 0)?);
        }
    }
    Ok(sql::distinct(found))
}

/// What a step of a bucket did, and whether there may be more to do.
struct Step {
    done: Collected,
    more: bool,
}

async fn collect_bucket(
    db: &Db,
    bus: &Bus,
    bucket: BucketId,
    settings: Settings,
    now: i64,
    collected: &mut Collected,
) -> Result<(), DbError> {
    loop {
        let step = in_bucket(db, bus, bucket, settings, now, |work| {
            Box::pin(async move {
                let done = Collected {
                    trash: work.expire_trash().await?,
                    versions: work.expire_versions(before(work.now, work.settings.superseded_seconds), STEP).await?,
                    staged: work.expire_staged().await?,
                    inodes: work.expire_orphans(before(work.now, work.settings.trash_seconds), STEP).await?
                        + work.purge_some(super::purge::AT_ONCE).await? as u64,
                    ..Collected::default()
                };
                let mut more = done != Collected::default();
                let mut buckets = 0;
                if work.bucket.deleted_ns != 0 {
                    match work.clear_deleted(super::purge::AT_ONCE).await? {
                        true => buckets = 1,
                        false => more = true,
                    }
                }
                Ok(Step { done: Collected { buckets, ..done }, more: more && buckets == 0 })
            })
        })
        .await?;
        let Some(Step { done, more }) = step else { return Ok(()) };
        collected.trash += done.trash;
        collected.versions += done.versions;
        collected.staged += done.staged;
        collected.inodes += done.inodes;
        collected.buckets += done.buckets;
        if !more {
            return Ok(());
        }
    }
}

/// Runs a step in a transaction on a bucket and publishes what it changed. `None`: the bucket is gone.
async fn in_bucket<T, F>(
    db: &Db,
    bus: &Bus,
    bucket: BucketId,
    settings: Settings,
    now: i64,
    step: F,
) -> Result<Option<T>, DbError>
where
    T: Send + 'static,
    F: for<'w, 'c> Fn(&'w mut Work<'c>) -> BoxFuture<'w, Result<T, TreeError>> + Send + Sync + Clone + 'static,
{
    let backend = db.backend();
    let outcome: Result<Option<(T, Changes)>, TreeError> = db
        .write(move |conn| {
            let step = step.clone();
            Box::pin(async move {
                let Some(mut work) = Work::open_for_server(conn, backend, bucket, settings, now).await? else {
                    return Ok(None);
                };
                let done = step(&mut work).await?;
                Ok(Some((done, work.finish().await?)))
            })
        })
        .await;
    match outcome {
        Ok(Some((done, changes))) => {
            bus.publish_changes(bucket, changes);
            Ok(Some(done))
        }
        Ok(None) => Ok(None),
        Err(TreeError::Database(error)) => {
            tracing::error!(%bucket, %error, "a bucket cannot be collected");
            Err(error)
        }
        Err(TreeError::Refused(refusal)) => {
            tracing::error!(%bucket, code = %refusal.code, reason = %refusal.message, "a bucket cannot be collected");
            Err(DbError::Corrupt("a bucket contradicts itself; run the check"))
        }
    }
}

impl Work<'_> {
    async fn expire_trash(&mut self) -> Result<u64, TreeError> {
        let expired = trash::expired(self.conn, self.bucket.id, self.now, STEP).await?;
        for entry in &expired {
            self.purge_trash(entry).await?;
        }
        Ok(expired.len() as u64)
    }

    /// Drops superseded versions from before `time`, the oldest first.
    async fn expire_versions(&mut self, time: i64, limit: i64) -> Result<u64, TreeError> {
        let rows = sqlx::query(
            "SELECT inode, version, root_page FROM version WHERE bucket = $1 AND superseded_ns <> 0 AND superseded_ns <= $2 \
             ORDER BY superseded_ns LIMIT $3",
        )
        .bind(self.bucket.id.to_vec())
        .bind(time)
        .bind(limit)
        .fetch_all(&mut *self.conn)
        .await?;
        let mut steps = Vec::with_capacity(rows.len());
        for row in &rows {
            steps.push(RootStep::new(PageId(sql::array(row, 2)?), -1, 0));
            sqlx::query("DELETE FROM version WHERE bucket = $1 AND inode = $2 AND version = $3")
                .bind(self.bucket.id.to_vec())
                .bind(sql::bytes(row, 0)?)
                .bind(sql::int(row, 1)?)
                .execute(&mut *self.conn)
                .await?;
        }
        self.adjust(&steps, &NewContent::default()).await?;
        Ok(rows.len() as u64)
    }

    /// Clears away inodes that were unlinked before `time`, the oldest first.
    async fn expire_orphans(&mut self, time: i64, limit: i64) -> Result<u64, TreeError> {
        let text = format!(
            "SELECT {INODE_COLUMNS} FROM inode i WHERE i.bucket = $1 AND i.deleted_ns <> 0 AND i.deleted_ns <= $2 \
             AND i.nlink = 0 AND i.trashed = 0 AND NOT EXISTS (SELECT 1 FROM purge p WHERE p.bucket = i.bucket AND p.inode = i.id) \
             ORDER BY i.deleted_ns LIMIT $3"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(text))
            .bind(self.bucket.id.to_vec())
            .bind(time)
            .bind(limit)
            .fetch_all(&mut *self.conn)
            .await?;
        let dead: Vec<(InodeRow, bool)> =
            rows.iter().map(|row| InodeRow::read(row, 0).map(|inode| (inode, false))).collect::<Result<_, _>>()?;
        self.destroy(&dead).await?;
        Ok(dead.len() as u64)
    }

    async fn expire_staged(&mut self) -> Result<u64, TreeError> {
        let old = before(self.now, self.settings.staged_seconds);
        self.abort_staged_before(old, STEP).await
    }

    async fn abort_staged_before(&mut self, time: i64, limit: i64) -> Result<u64, TreeError> {
        let rows = sqlx::query("SELECT txn FROM staged WHERE bucket = $1 AND last_call_ns <= $2 LIMIT $3")
            .bind(self.bucket.id.to_vec())
            .bind(time)
            .bind(limit)
            .fetch_all(&mut *self.conn)
            .await?;
        let txns: Vec<TxnId> = rows.iter().map(|row| sql::id(row, 0)).collect::<Result<_, _>>()?;
        for txn in &txns {
            self.abort_staged(*txn).await?;
        }
        Ok(txns.len() as u64)
    }

    /// Clears away a deleted bucket. Whether it is gone; if not, there is more to do.
    pub(super) async fn clear_deleted(&mut self, budget: usize) -> Result<bool, TreeError> {
        let limit = i64::try_from(budget).unwrap_or(i64::MAX);
        let mut done = self.purge_some(budget).await? as u64;
        for entry in trash::expired(self.conn, self.bucket.id, i64::MAX, limit).await? {
            self.purge_trash(&entry).await?;
            done += 1;
        }
        done += self.expire_orphans(i64::MAX, limit).await?;
        done += self.expire_versions(i64::MAX, limit).await?;
        done += self.abort_staged_before(i64::MAX, limit).await?;
        if done > 0 {
            return Ok(false);
        }
        self.bury().await?;
        Ok(true)
    }

    /// Removes the rows of a bucket that has nothing left. Its freed segments stay until they may be forgotten.
    async fn bury(&mut self) -> Result<(), DbError> {
        self.forget_changes();
        for text in [
            "DELETE FROM writer_entry WHERE bucket = $1",
            "DELETE FROM change WHERE bucket = $1",
            "DELETE FROM mutation_result WHERE bucket = $1",
            "DELETE FROM bucket WHERE id = $1",
        ] {
            sqlx::query(text).bind(self.bucket.id.to_vec()).execute(&mut *self.conn).await?;
        }
        Ok(())
    }
}

/// Accounts with more superseded bytes than their whole quota.
async fn accounts_over_cap(db: &Db) -> Result<Vec<AccountId>, DbError> {
    let mut read = db.read().await?;
    let rows = sqlx::query("SELECT id FROM account WHERE superseded_bytes > limit_bytes").fetch_all(&mut *read).await?;
    rows.iter().map(|row| sql::id(row, 0)).collect()
}

/// Drops superseded versions and unlinked files, the oldest first, until the account is below its cap.
async fn drop_oldest_superseded(
    db: &Db,
    bus: &Bus,
    account: AccountId,
    settings: Settings,
    now: i64,
) -> Result<u64, DbError> {
    let mut dropped = 0;
    loop {
        let Some((bucket, oldest)) = oldest_superseded(&mut *db.read().await?, account).await? else {
            return Ok(dropped);
        };
        // A few of one bucket at a time, so that the order holds across buckets.
        let step = in_bucket(db, bus, bucket, settings, now, move |work| {
            Box::pin(async move {
                let time = oldest.saturating_add(super::SECOND_NS);
                Ok(work.expire_versions(time, 16).await? + work.expire_orphans(time, 16).await?)
            })
        })
        .await?;
        match step {
            Some(count) if count > 0 => dropped += count,
            _ => return Ok(dropped),
        }
    }
}

/// Bucket and time of what an account superseded or unlinked first, while it has more superseded than it may.
async fn oldest_superseded(conn: &mut Conn, account: AccountId) -> Result<Option<(BucketId, i64)>, DbError> {
    let over = sqlx::query("SELECT 1 FROM account WHERE id = $1 AND superseded_bytes > limit_bytes")
        .bind(account.to_vec())
        .fetch_optional(&mut *conn)
        .await?;
    if over.is_none() {
        return Ok(None);
    }
    let mut oldest: Option<(BucketId, i64)> = None;
    for text in [
        "SELECT v.bucket, v.superseded_ns FROM version v JOIN bucket b ON b.id = v.bucket WHERE b.owner = $1 \
         AND v.superseded_ns <> 0 ORDER BY v.superseded_ns LIMIT 1",
        "SELECT i.bucket, i.deleted_ns FROM inode i JOIN bucket b ON b.id = i.bucket WHERE b.owner = $1 \
         AND i.deleted_ns <> 0 AND i.nlink = 0 AND i.trashed = 0 ORDER BY i.deleted_ns LIMIT 1",
    ] {
        let row = sqlx::query(text).bind(account.to_vec()).fetch_optional(&mut *conn).await?;
        if let Some(row) = row {
            let found = (sql::id(&row, 0)?, sql::int(&row, 1)?);
            oldest = Some(oldest.map_or(found, |other| if other.1 <= found.1 { other } else { found }));
        }
    }
    Ok(oldest)
}

async fn forget_history(db: &Db, old: i64) -> Result<u64, DbError> {
    db.write(move |conn| {
        Box::pin(async move {
            let answers =
                sqlx::query("DELETE FROM mutation_result WHERE at_ns < $1").bind(old).execute(&mut *conn).await?;
            Ok(changes::log::forget(conn, old).await? + answers.rows_affected())
        })
    })
    .await
}

/// Forgets segments that were freed before `before` (Unix nanoseconds): from then on keep-lists do not name their chunks. Up to a
/// few thousand; how many.
///
/// # Errors
/// [`DbError`].
pub async fn forget_segments(conn: &mut Conn, before: i64) -> Result<u64, DbError> {
    let rows = sqlx::query(
        "SELECT s.id FROM segment s WHERE s.freed_ns <> 0 AND s.freed_ns <= $1 AND s.live_blobs = 0 \
         AND NOT EXISTS (SELECT 1 FROM blob b WHERE b.segment = s.id) ORDER BY s.freed_ns LIMIT 4096",
    )
    .bind(before)
    .fetch_all(&mut *conn)
    .await?;
    let segments: BTreeSet<SegmentId> = rows.iter().map(|row| sql::id(row, 0)).collect::<Result<_, _>>()?;
    segment::lock(conn, &segments).await?;
    let keys: Vec<[u8; 16]> = segments.iter().map(|segment| segment.0).collect();
    let none: [Value<'_>; 0] = [];
    for head in [
        "DELETE FROM segment_override WHERE segment IN (",
        "DELETE FROM repair WHERE segment IN (",
        "DELETE FROM repair_task WHERE segment IN (",
        "DELETE FROM segment WHERE id IN (",
    ] {
        sql::execute_in(conn, head, ")", &none, &keys).await?;
    }
    Ok(keys.len() as u64)
}
