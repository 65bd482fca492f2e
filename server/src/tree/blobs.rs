//! The counters of blobs, the bytes they stand for, and the segments they lie in.
//!
//! A blob's bytes are *used* while something live refers to it, *superseded* while only old versions or unlinked inodes do, and *pending*
//! while it is staged and nothing refers to it yet. A segment counts its blobs; what no blob was placed in is its *slack* and is used,
//! so that nobody stores for free what no blob names. With its last blob a segment is freed.

use std::collections::HashMap;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{BlobId, SegmentId, TxnId};

use super::error::TreeError;
use super::model::Place;
use super::plan::NewBlob;
use super::refs::{Counters, Delta, NewContent};
use super::sql::{self, Value};
use super::work::Work;
use crate::db::{Conn, DbError, insert_many};

struct BlobState {
    length: u64,
    segment: Option<SegmentId>,
    counters: Counters,
    found: Option<Counters>,
    staged: Option<TxnId>,
}

/// How the blobs of a segment change.
#[derive(Default, Clone, Copy)]
pub(super) struct SegmentStep {
    /// Blobs more or fewer.
    pub(super) blobs: i64,
    /// Bytes that blobs were placed in.
    pub(super) placed: u64,
    /// Highest byte behind a placed blob.
    pub(super) end: u64,
}

/// A blob to be written.
pub(super) struct BlobInsert<'a> {
    pub(super) blob: &'a NewBlob,
    pub(super) counters: Counters,
    pub(super) staged: Option<TxnId>,
}

impl Work<'_> {
    /// Changes the counters of blobs, moves their bytes between used and superseded, and removes what nothing refers to.
    pub(super) async fn adjust_blobs(
        &mut self,
        steps: &HashMap<BlobId, Delta>,
        new: &NewContent<'_>,
    ) -> Result<(), TreeError> {
        let mut blobs = self.load_blobs(steps, new).await?;
        let mut segments: HashMap<SegmentId, SegmentStep> = HashMap::new();
        let mut unstaged: HashMap<TxnId, (i64, Vec<[u8; 16]>)> = HashMap::new();
        for (id, delta) in steps {
            let Some(blob) = blobs.get_mut(id) else { continue };
            let length = i64::try_from(blob.length).unwrap_or(i64::MAX);
            let before = blob.counters;
            blob.counters.apply(*delta)?;
            self.move_bytes(length, before, blob.counters);
            if blob.counters.refs > 0
                && let Some(txn) = blob.staged.take()
            {
                let entry = unstaged.entry(txn).or_default();
                entry.0 += length;
                entry.1.push(id.0);
            }
            if let (Some(segment), Some(_), 0) = (blob.segment, blob.found, blob.counters.refs) {
                segments.entry(segment).or_default().blobs -= 1;
            }
        }
        for blob in steps.keys().filter_map(|id| new.blobs.get(id).filter(|_| is_new(&blobs, id))) {
            place(&mut segments, blob);
        }
        self.write_blobs(&blobs, new).await?;
        self.unstage(unstaged).await?;
        self.step_segments(&segments).await
    }

    fn move_bytes(&mut self, length: i64, before: Counters, after: Counters) {
        let used = |counters: Counters| i64::from(counters.live > 0);
        let superseded = |counters: Counters| i64::from(counters.refs > 0 && counters.live == 0);
        self.bucket.used_bytes += length * (used(after) - used(before));
        self.bucket.superseded_bytes += length * (superseded(after) - superseded(before));
    }

    async fn load_blobs(
        &mut self,
        steps: &HashMap<BlobId, Delta>,
        new: &NewContent<'_>,
    ) -> Result<HashMap<BlobId, BlobState>, TreeError> {
        let keys: Vec<[u8; 16]> = steps.keys().map(|id| id.0).collect();
        let head = "SELECT id, length, segment, refs, live_refs, staged FROM blob WHERE bucket = $1 AND id IN (";
        let mut blobs = HashMap::with_capacity(keys.len());
        for row in sql::fetch_in(self.conn, head, ")", &[Value::Bytes(&self.bucket.id.0)], &keys).await? {
            let counters = Counters { refs: sql::int(&row, 3)?, live: sql::int(&row, 4)? };
            let state = BlobState {
                length: sql::uint(&row, 1)?,
                segment: sql::optional_id(&row, 2)?,
                counters,
                found: Some(counters),
                staged: sql::optional_id(&row, 5)?,
            };
            blobs.insert(sql::id::<BlobId>(&row, 0)?, state);
        }
        for id in steps.keys() {
            match (blobs.get(id), new.blobs.get(id)) {
                (Some(found), sent) => check_found(*id, found, sent.copied(), new)?,
                (None, Some(sent)) => {
                    let segment = match sent.place {
                        Place::Inline(_) => None,
                        Place::Segment { segment, .. } => Some(segment),
                    };
                    let counters = Counters::default();
                    let state = BlobState { length: sent.length, segment, counters, found: None, staged: None };
                    blobs.insert(*id, state);
                }
                (None, None) if new.staged.is_some() => {
                    return Err(TreeError::refused(ErrorCode::Restage, format!("blob {id} is not staged any more")));
                }
                (None, None) => return Err(TreeError::invalid(format!("there is no blob {id} in this bucket"))),
            }
        }
        Ok(blobs)
    }

    async fn write_blobs(&mut self, blobs: &HashMap<BlobId, BlobState>, new: &NewContent<'_>) -> Result<(), DbError> {
        let mut gone = Vec::new();
        let mut changed: HashMap<Counters, Vec<[u8; 16]>> = HashMap::new();
        let mut fresh = Vec::new();
        for (id, state) in blobs {
            match state.found {
                None => {
                    if let Some(blob) = new.blobs.get(id) {
                        fresh.push(BlobInsert { blob, counters: state.counters, staged: None });
                    }
                }
                Some(_) if state.counters.refs == 0 => gone.push(id.0),
                Some(found) if found != state.counters => changed.entry(state.counters).or_default().push(id.0),
                Some(_) => {}
            }
        }
        let bucket = self.bucket.id.0;
        insert_new_blobs(self.conn, &bucket, &fresh).await?;
        for (counters, keys) in changed {
            let head = "UPDATE blob SET refs = $2, live_refs = $3 WHERE bucket = $1 AND id IN (";
            let values = [Value::Bytes(&bucket), Value::Int(counters.refs), Value::Int(counters.live)];
            sql::execute_in(self.conn, head, ")", &values, &keys).await?;
        }
        self.delete_blobs(&gone).await
    }

    pub(super) async fn delete_blobs(&mut self, keys: &[[u8; 16]]) -> Result<(), DbError> {
        let head = "DELETE FROM blob WHERE bucket = $1 AND id IN (";
        sql::execute_in(self.conn, head, ")", &[Value::Bytes(&self.bucket.id.0)], keys).await?;
        Ok(())
    }

    /// Blobs got their first reference: they do not wait any more.
    async fn unstage(&mut self, unstaged: HashMap<TxnId, (i64, Vec<[u8; 16]>)>) -> Result<(), DbError> {
        for (txn, (bytes, keys)) in unstaged {
            let head = "UPDATE blob SET staged = NULL WHERE bucket = $1 AND id IN (";
            sql::execute_in(self.conn, head, ")", &[Value::Bytes(&self.bucket.id.0)], &keys).await?;
            self.shrink_staged(txn, bytes).await?;
        }
        Ok(())
    }

    /// Takes bytes off a staged transaction, which ends with its last.
    pub(super) async fn shrink_staged(&mut self, txn: TxnId, bytes: i64) -> Result<(), DbError> {
        let bucket = self.bucket.id.to_vec();
        sqlx::query("UPDATE staged SET bytes = bytes - $3 WHERE bucket = $1 AND txn = $2")
            .bind(bucket.clone())
            .bind(txn.to_vec())
            .bind(bytes)
            .execute(&mut *self.conn)
            .await?;
        sqlx::query("DELETE FROM staged WHERE bucket = $1 AND txn = $2 AND bytes = 0")
            .bind(bucket)
            .bind(txn.to_vec())
            .execute(&mut *self.conn)
            .await?;
        self.forget_pending();
        Ok(())
    }

    /// Places blobs in segments and takes others out.
    pub(super) async fn step_segments(&mut self, steps: &HashMap<SegmentId, SegmentStep>) -> Result<(), TreeError> {
        let mut keys: Vec<[u8; 16]> = steps.keys().map(|id| id.0).collect();
        let head = "SELECT id, length, slack, live_blobs, freed_ns FROM segment WHERE bucket = $1 AND id IN (";
        // Repairs lock segments in the order of their ids.
        keys.sort_unstable();
        let rows = sql::fetch_in(self.conn, head, ") ORDER BY id", &[Value::Bytes(&self.bucket.id.0)], &keys).await?;
        if rows.len() != keys.len() {
            return Err(TreeError::invalid("a blob lies in a segment that this bucket does not have"));
        }
        for row in rows {
            let id: SegmentId = sql::id(&row, 0)?;
            let (length, slack) = (sql::uint::<u64>(&row, 1)?, sql::int(&row, 2)?);
            let (live, freed) = (sql::int(&row, 3)?, sql::int(&row, 4)?);
            let Some(step) = steps.get(&id).copied() else { continue };
            let placed = i64::try_from(step.placed).unwrap_or(i64::MAX);
            if step.placed > 0 && (step.end > length || placed > slack) {
                return Err(TreeError::invalid(format!("the blobs of segment {id} do not fit into it")));
            }
            if step.placed > 0 && freed != 0 {
                return Err(TreeError::refused(ErrorCode::Restage, format!("segment {id} was collected")));
            }
            let (live, slack) = (live + step.blobs, slack - placed);
            if live < 0 {
                return Err(DbError::Corrupt("a segment has fewer blobs than none").into());
            }
            let freed = if live == 0 { self.now } else { 0 };
            self.bucket.used_bytes -= if live == 0 { slack + placed } else { placed };
            sqlx::query("UPDATE segment SET slack = $2, live_blobs = $3, freed_ns = $4 WHERE id = $1")
                .bind(id.to_vec())
                .bind(slack)
                .bind(live)
                .bind(freed)
                .execute(&mut *self.conn)
                .await?;
        }
        Ok(())
    }
}

fn is_new(blobs: &HashMap<BlobId, BlobState>, id: &BlobId) -> bool {
    blobs.get(id).is_some_and(|blob| blob.found.is_none())
}

/// Notes that a blob is placed in its segment, if it has one.
pub(super) fn place(segments: &mut HashMap<SegmentId, SegmentStep>, blob: &NewBlob) {
    if let Place::Segment { segment, offset } = blob.place {
        let step = segments.entry(segment).or_default();
        step.blobs += 1;
        step.placed = step.placed.saturating_add(blob.length);
        step.end = step.end.max(offset.saturating_add(blob.length));
    }
}

/// A blob that is there may be used if it is committed already, or staged under the transaction that the commit names.
fn check_found(id: BlobId, found: &BlobState, sent: Option<&NewBlob>, new: &NewContent<'_>) -> Result<(), TreeError> {
    let Some(lengths) = new.lengths else { return Ok(()) };
    if let Some(length) = lengths.get(&id)
        && *length != found.length
    {
        return Err(TreeError::invalid(format!("blob {id} has another length than its extents say")));
    }
    let staged_elsewhere = found.staged.is_some() && found.staged != new.staged;
    if staged_elsewhere || (sent.is_some() && found.staged.is_none()) {
        return Err(TreeError::refused(ErrorCode::AlreadyExists, format!("the id of blob {id} is in use")));
    }
    Ok(())
}

/// Writes blobs that are not there yet. How many were written.
pub(super) async fn insert_blobs(conn: &mut Conn, bucket: &[u8; 16], rows: &[BlobInsert<'_>]) -> Result<u64, DbError> {
    let head = "INSERT INTO blob (bucket, id, length, inline_bytes, segment, segment_offset, refs, live_refs, staged)";
    insert_many(conn, head, 9, "ON CONFLICT DO NOTHING", rows, |statement, row| {
        let (inline, segment, offset) = match &row.blob.place {
            Place::Inline(bytes) => (Some(bytes.to_vec()), None, 0),
            Place::Segment { segment, offset } => (None, Some(segment.to_vec()), *offset),
        };
        statement
            .bind(bucket.to_vec())
            .bind(row.blob.id.to_vec())
            .bind(sql::as_int(row.blob.length))
            .bind(inline)
            .bind(segment)
            .bind(sql::as_int(offset))
            .bind(row.counters.refs)
            .bind(row.counters.live)
            .bind(row.staged.map(cyx_core::ids::TxnId::to_vec))
    })
    .await
}

/// Writes blobs of which the transaction knows that they are not there.
pub(super) async fn insert_new_blobs(
    conn: &mut Conn,
    bucket: &[u8; 16],
    rows: &[BlobInsert<'_>],
) -> Result<(), DbError> {
    if insert_blobs(conn, bucket, rows).await? == rows.len() as u64 {
        return Ok(());
    }
    Err(DbError::Corrupt("blobs appeared in a locked bucket"))
}
