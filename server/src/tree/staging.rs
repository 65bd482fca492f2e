//! Staging: segments of a long upload, handed over before their commit.
//!
//! Staged blobs have a row without references; their bytes count as pending and their segments are kept. A commit that names the staging
//! transaction takes the blobs it uses. What is left goes when the transaction is aborted, or when nobody called it for 7 days.

use std::collections::HashMap;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{BlobId, BucketId, SegmentId, TxnId};

use super::blobs::{BlobInsert, SegmentStep, insert_new_blobs, place};
use super::error::TreeError;
use super::model::{BlobRow, Place};
use super::plan::{NewBlob, NewSegment, UploadPlan};
use super::refs::Counters;
use super::sql::{self, Value};
use super::work::Work;
use crate::db::{Conn, DbError};

/// What is staged under a transaction.
#[derive(Debug, Default)]
pub struct Staged {
    /// Segments that staged blobs lie in.
    pub segments: Vec<SegmentId>,
    /// The blobs; inline ones too.
    pub blobs: Vec<BlobRow>,
}

/// Reads what is staged.
///
/// # Errors
/// [`DbError`].
pub async fn staged(conn: &mut Conn, bucket: BucketId, txn: TxnId) -> Result<Staged, DbError> {
    let text = format!("{} WHERE bucket = $1 AND staged = $2", BlobRow::SELECT);
    let rows =
        sqlx::query(sqlx::AssertSqlSafe(text)).bind(bucket.to_vec()).bind(txn.to_vec()).fetch_all(&mut *conn).await?;
    let blobs: Vec<BlobRow> = rows.iter().map(BlobRow::read).collect::<Result<_, _>>()?;
    let segments = blobs.iter().filter_map(|blob| match blob.place {
        Place::Inline(_) => None,
        Place::Segment { segment, .. } => Some(segment),
    });
    Ok(Staged { segments: sql::distinct(segments), blobs })
}

impl Work<'_> {
    /// Stages segments and blobs. Repeating a call whose reply was lost changes nothing.
    ///
    /// # Errors
    /// [`TreeError`].
    pub async fn stage(&mut self, txn: TxnId, upload: &UploadPlan) -> Result<(), TreeError> {
        let (segments, blobs) = self.not_staged_yet(txn, upload).await?;
        let used_before = self.bucket.used_bytes;
        self.add_segments(&segments).await?;
        let mut steps: HashMap<SegmentId, SegmentStep> = HashMap::new();
        let mut bytes: u64 = 0;
        for blob in &blobs {
            place(&mut steps, blob);
            bytes = bytes.saturating_add(blob.length);
        }
        let rows: Vec<BlobInsert<'_>> =
            blobs.iter().map(|blob| BlobInsert { blob, counters: Counters::default(), staged: Some(txn) }).collect();
        insert_new_blobs(self.conn, &self.bucket.id.0, &rows).await?;
        self.step_segments(&steps).await?;
        if segments.iter().any(|segment| !steps.contains_key(&segment.id)) {
            return Err(TreeError::invalid("no blob lies in one of the segments"));
        }
        sqlx::query(
            "INSERT INTO staged (bucket, txn, account, bytes, last_call_ns) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (bucket, txn) DO UPDATE SET bytes = staged.bytes + excluded.bytes, \
             last_call_ns = excluded.last_call_ns",
        )
        .bind(self.bucket.id.to_vec())
        .bind(txn.to_vec())
        .bind(self.bucket.owner.to_vec())
        .bind(sql::as_int(bytes))
        .bind(self.now)
        .execute(&mut *self.conn)
        .await?;
        self.forget_pending();
        if bytes > 0 || self.bucket.used_bytes > used_before {
            self.check_quota().await?;
        }
        Ok(())
    }

    /// What of an upload is new. What is staged under the same transaction already must be the same.
    async fn not_staged_yet(
        &mut self,
        txn: TxnId,
        upload: &UploadPlan,
    ) -> Result<(Vec<NewSegment>, Vec<NewBlob>), TreeError> {
        let bucket = self.bucket.id.0;
        let keys: Vec<[u8; 16]> = upload.blobs.keys().map(|id| id.0).collect();
        let head = format!("{} WHERE bucket = $1 AND id IN (", BlobRow::SELECT);
        let mut found: HashMap<BlobId, BlobRow> = HashMap::new();
        for row in sql::fetch_in(self.conn, &head, ")", &[Value::Bytes(&bucket)], &keys).await? {
            let blob = BlobRow::read(&row)?;
            found.insert(blob.id, blob);
        }
        for (id, there) in &found {
            let same =
                upload.blobs.get(id).is_some_and(|sent| sent.length == there.length && sent.place == there.place);
            if there.staged != Some(txn) || !same {
                return Err(TreeError::refused(ErrorCode::AlreadyExists, format!("the id of blob {id} is in use")));
            }
        }
        let keys: Vec<[u8; 16]> = upload.segments.iter().map(|segment| segment.id.0).collect();
        let head = "SELECT id FROM segment WHERE bucket = $1 AND freed_ns = 0 AND id IN (";
        let there = sql::fetch_in(self.conn, head, ")", &[Value::Bytes(&bucket)], &keys).await?;
        let there: Vec<SegmentId> = there.iter().map(|row| sql::id(row, 0)).collect::<Result<_, _>>()?;
        // A segment that is there counts as staged by this call's transaction if all that the call puts into it is.
        let repeated = |segment: &&NewSegment| {
            let mut inside = upload.blobs.values().filter(|blob| lies_in(blob, segment.id)).peekable();
            there.contains(&segment.id) && inside.peek().is_some() && inside.all(|blob| found.contains_key(&blob.id))
        };
        let segments = upload.segments.iter().filter(|segment| !repeated(segment)).cloned().collect();
        let blobs = upload.blobs.values().filter(|blob| !found.contains_key(&blob.id)).cloned().collect();
        Ok((segments, blobs))
    }

    /// Drops what is staged under a transaction. One that is not there is no reason to complain.
    ///
    /// # Errors
    /// [`TreeError`].
    pub async fn abort_staged(&mut self, txn: TxnId) -> Result<(), TreeError> {
        let staged = staged(self.conn, self.bucket.id, txn).await?;
        let mut steps: HashMap<SegmentId, SegmentStep> = HashMap::new();
        for blob in &staged.blobs {
            if let Place::Segment { segment, .. } = blob.place {
                steps.entry(segment).or_default().blobs -= 1;
            }
        }
        let keys: Vec<[u8; 16]> = staged.blobs.iter().map(|blob| blob.id.0).collect();
        self.delete_blobs(&keys).await?;
        self.step_segments(&steps).await?;
        sqlx::query("DELETE FROM staged WHERE bucket = $1 AND txn = $2")
            .bind(self.bucket.id.to_vec())
            .bind(txn.to_vec())
            .execute(&mut *self.conn)
            .await?;
        self.forget_pending();
        Ok(())
    }

    /// Somebody still works under a transaction: its time begins anew.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn touch_staged(&mut self, txn: TxnId) -> Result<(), DbError> {
        sqlx::query("UPDATE staged SET last_call_ns = $3 WHERE bucket = $1 AND txn = $2")
            .bind(self.bucket.id.to_vec())
            .bind(txn.to_vec())
            .bind(self.now)
            .execute(&mut *self.conn)
            .await?;
        Ok(())
    }
}

fn lies_in(blob: &NewBlob, segment: SegmentId) -> bool {
    matches!(blob.place, Place::Segment { segment: inside, .. } if inside == segment)
}
