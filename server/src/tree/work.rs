//! One transaction on one bucket.
//!
//! [`Work::open`] locks the bucket's row, which puts all changes of a bucket in one order on both databases. Operations then run one after
//! the other; [`Work::finish`] writes the counters, the change log and the new sequence in one go. A mutation that is refused is rolled
//! back to its savepoint, and [`Mark`] takes the counters back with it.

use std::collections::HashSet;

use cyx_core::ids::{AccountId, BucketId, SessionId};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use sqlx::Executor as _;
use sqlx::any::AnyRow;

use super::error::TreeError;
use super::model::BucketRow;
use super::{BUCKET_COLUMNS, Settings, sql};
use crate::changes;
use crate::db::{Backend, Conn, DbError};
use crate::quota;

/// Who changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor {
    /// The account.
    pub account: AccountId,
    /// Its session.
    pub session: SessionId,
}

impl Actor {
    /// The server itself, in its collecting jobs.
    pub const SERVER: Self = Self { account: AccountId([0; 16]), session: SessionId([0; 16]) };
}

/// A transaction on a bucket.
pub struct Work<'c> {
    pub(super) conn: &'c mut Conn,
    pub(super) backend: Backend,
    /// As it is by now.
    pub(super) bucket: BucketRow,
    pub(super) actor: Actor,
    /// Unix nanoseconds.
    pub(super) now: i64,
    /// What times of inodes become: `now`, or when a mutation was decided by its caller's clock.
    pub(super) stamp: i64,
    pub(super) settings: Settings,
    /// Inodes that this transaction may still clear away at once; the rest is left to the collecting job.
    pub(super) purge_budget: usize,
    found: (i64, i64),
    changes: Vec<pb::Change>,
    usage: Option<quota::Usage>,
}

/// A point to go back to.
pub(super) struct Mark {
    bucket: BucketRow,
    changes: usize,
}

/// What a finished transaction changed, for those who watch.
pub type Changes = Vec<pb::Change>;

impl<'c> Work<'c> {
    /// Locks a bucket that the actor is a member of.
    ///
    /// # Errors
    /// `NOT_FOUND` also for buckets that exist and are none of the actor's business.
    pub async fn open(
        conn: &'c mut Conn,
        backend: Backend,
        bucket: BucketId,
        actor: Actor,
        settings: Settings,
        now: i64,
    ) -> Result<Self, TreeError> {
        let row = lock(conn, backend, bucket).await?.filter(|bucket| bucket.deleted_ns == 0);
        let member = super::buckets::is_member(conn, bucket, actor.account).await?;
        match row {
            Some(bucket) if member => Ok(Self::of(conn, backend, bucket, actor, settings, now)),
            _ => Err(no_such_bucket()),
        }
    }

    /// Locks a bucket for several accounts at once. With it come those of them that are its members; `None` if there is no such bucket. Who
    /// acts is still to be said: until then it is the server.
    pub(super) async fn open_for(
        conn: &'c mut Conn,
        backend: Backend,
        bucket: BucketId,
        accounts: &[AccountId],
        settings: Settings,
        now: i64,
    ) -> Result<Option<(Self, HashSet<AccountId>)>, DbError> {
        let Some(bucket) = lock(conn, backend, bucket).await?.filter(|bucket| bucket.deleted_ns == 0) else {
            return Ok(None);
        };
        let members = super::buckets::members(conn, bucket.id, accounts).await?;
        Ok(Some((Self::of(conn, backend, bucket, Actor::SERVER, settings, now), members)))
    }

    /// Locks any bucket, deleted ones too, for the server's own jobs.
    ///
    /// # Errors
    /// Only those of the database; `None` if it is gone.
    pub async fn open_for_server(
        conn: &'c mut Conn,
        backend: Backend,
        bucket: BucketId,
        settings: Settings,
        now: i64,
    ) -> Result<Option<Self>, DbError> {
        let row = lock(conn, backend, bucket).await?;
        Ok(row.map(|bucket| Self::of(conn, backend, bucket, Actor::SERVER, settings, now)))
    }

    fn of(conn: &'c mut Conn, backend: Backend, bucket: BucketRow, actor: Actor, settings: Settings, now: i64) -> Self {
        let found = (bucket.used_bytes, bucket.superseded_bytes);
        let purge_budget = super::purge::AT_ONCE;
        Self {
            conn,
            backend,
            bucket,
            actor,
            now,
            stamp: now,
            settings,
            purge_budget,
            found,
            changes: Vec::new(),
            usage: None,
        }
    }

    /// The bucket.
    #[must_use]
    pub const fn id(&self) -> BucketId {
        self.bucket.id
    }

    /// The number that the next change gets.
    pub(super) const fn next_sequence(&self) -> u64 {
        self.bucket.sequence + 1
    }

    /// Appends a change and returns its number.
    pub(super) fn record(&mut self, change: pb::Change) -> u64 {
        self.bucket.sequence += 1;
        self.changes.push(pb::Change {
            bucket: bytes_of(self.bucket.id),
            sequence: self.bucket.sequence,
            session: bytes_of(self.actor.session),
            at_ns: self.now,
            ..change
        });
        self.bucket.sequence
    }

    /// Nobody is left to tell about changes.
    pub(super) fn forget_changes(&mut self) {
        self.changes.clear();
    }

    /// Begins something that can be undone.
    pub(super) async fn mark(&mut self) -> Result<Mark, DbError> {
        self.conn.execute("SAVEPOINT mutation").await?;
        Ok(Mark { bucket: self.bucket.clone(), changes: self.changes.len() })
    }

    /// Keeps what was done since the mark.
    pub(super) async fn keep(&mut self) -> Result<(), DbError> {
        self.conn.execute("RELEASE SAVEPOINT mutation").await?;
        Ok(())
    }

    /// Undoes what was done since the mark.
    pub(super) async fn undo(&mut self, mark: Mark) -> Result<(), DbError> {
        self.conn.execute("ROLLBACK TO SAVEPOINT mutation").await?;
        self.conn.execute("RELEASE SAVEPOINT mutation").await?;
        self.bucket = mark.bucket;
        self.changes.truncate(mark.changes);
        self.forget_pending();
        Ok(())
    }

    /// Leases or staged bytes have changed: they have to be summed up again before the next check.
    pub(super) fn forget_pending(&mut self) {
        if let Some(usage) = &mut self.usage {
            usage.pending = None;
        }
    }

    /// Refuses if the owner's used and pending bytes exceed the limit.
    pub(super) async fn check_quota(&mut self) -> Result<(), TreeError> {
        let own = self.bucket.used_bytes - self.found.0;
        let mut usage = match self.usage.take() {
            Some(usage) => usage,
            None => quota::lock(self.conn, self.backend, self.bucket.owner).await?,
        };
        let pending = match usage.pending {
            Some(pending) => pending,
            None => quota::pending(self.conn, self.bucket.owner, self.now).await?,
        };
        usage.pending = Some(pending);
        let total = usage.used.saturating_add(own).saturating_add(pending.total());
        let limit = usage.limit;
        self.usage = Some(usage);
        if total > limit {
            return Err(quota::beyond(limit, total, pending));
        }
        Ok(())
    }

    /// Writes the counters and the change log. What it returns is to be published once the transaction is durable.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn finish(self) -> Result<Changes, DbError> {
        let bucket = &self.bucket;
        sqlx::query(
            "UPDATE bucket SET sequence = $2, used_bytes = $3, superseded_bytes = $4, files = $5, writers = $6 WHERE id = $1",
        )
        .bind(bucket.id.to_vec())
        .bind(sql::as_int(bucket.sequence))
        .bind(bucket.used_bytes)
        .bind(bucket.superseded_bytes)
        .bind(bucket.files)
        .bind(sql::as_int(bucket.writers))
        .execute(&mut *self.conn)
        .await?;
        let (used, superseded) = (bucket.used_bytes - self.found.0, bucket.superseded_bytes - self.found.1);
        quota::charge(self.conn, bucket.owner, used, superseded).await?;
        changes::log::append(self.conn, bucket.id, &self.changes).await?;
        Ok(self.changes)
    }
}

/// What everybody is told who has no business with a bucket.
pub(super) fn no_such_bucket() -> TreeError {
    TreeError::not_found("there is no such bucket")
}

async fn lock(conn: &mut Conn, backend: Backend, bucket: BucketId) -> Result<Option<BucketRow>, DbError> {
    let text = format!("SELECT {BUCKET_COLUMNS} FROM bucket b WHERE b.id = $1{}", backend.for_update());
    let row: Option<AnyRow> =
        sqlx::query(sqlx::AssertSqlSafe(text)).bind(bucket.to_vec()).fetch_optional(&mut *conn).await?;
    row.map(|row| BucketRow::read(&row, 0)).transpose()
}
