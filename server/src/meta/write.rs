//! Mutations and staging.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cyx_core::error::ErrorCode;
use cyx_core::ids::{BucketId, TxnId};
use cyx_proto::convert::{self, bytes_of};
use cyx_proto::meta::v1 as pb;
use tokio::sync::broadcast;

use super::{MetaServer, actor};
use crate::auth::Caller;
use crate::changes::Notice;
use crate::db::Backend;
use crate::error::ApiError;
use crate::time::{now_ns, now_seconds};
use crate::tree::apply::{self, Applied, Batch, Outcome};
use crate::tree::model::Place;
use crate::tree::plan::{PlanContext, UploadPlan};
use crate::tree::write_lease::Recalled;
use crate::tree::{Settings, TreeError, staging};

/// How long after the life of a write lease a call gives up waiting for one to end.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often is looked whether a lease was released, where other servers may have done it.
const LOOK: Duration = Duration::from_secs(1);

/// What a call that changes a bucket meets.
pub(super) enum Turn<T> {
    /// It was its turn, and it is done.
    Done(T),
    /// Nothing was done: a write lease stands, and is recalled now.
    Held(Recalled),
}

impl MetaServer {
    /// What has to be known before a call that changes a bucket can be checked.
    async fn plan_context(&self, caller: &Caller, bucket: BucketId) -> Result<PlanContext, ApiError> {
        let (mut read, bucket) = self.open(caller, bucket).await?;
        Ok(PlanContext {
            bucket: bucket.id,
            writers: self.app.writers.get(&mut read, &bucket).await?,
            network: Arc::clone(&self.app.network.placements) as _,
            file_max: self.app.config.max_file_bytes,
            now: now_seconds(),
        })
    }

    pub(super) async fn apply_batch(
        &self,
        caller: &Caller,
        request: pb::ApplyRequest,
    ) -> Result<pb::ApplyResponse, ApiError> {
        let bucket = convert::id(&request.bucket, "bucket")?;
        let context = self.plan_context(caller, bucket).await?;
        let (actor, settings) = (actor(caller), Settings::from(&self.app.config));
        let check = move || Batch::check(request, actor, settings, &context);
        let batch = tokio::task::spawn_blocking(check).await.map_err(ApiError::internal)??;
        let batch = Arc::new(batch);
        self.in_turn(bucket, || self.attempt(bucket, Arc::clone(&batch))).await
    }

    /// Does something that needs the bucket to be without a foreign write lease: recalls it and waits for its end, if there is one.
    pub(super) async fn in_turn<T, F, A>(&self, bucket: BucketId, attempt: F) -> Result<T, ApiError>
    where
        F: Fn() -> A,
        A: Future<Output = Result<Turn<T>, ApiError>>,
    {
        let patience = Instant::now() + self.app.config.write_lease + PATIENCE;
        loop {
            // Watching begins before the attempt, so that a release in between is not missed.
            let mut watch = self.app.changes.watch();
            match attempt().await? {
                Turn::Done(done) => return Ok(done),
                Turn::Held(_) if Instant::now() >= patience => {
                    return Err(ApiError::new(ErrorCode::Retry, "the bucket's write lease does not end"));
                }
                Turn::Held(recalled) => {
                    self.app.changes.publish(Notice::Recall { bucket, recalled });
                    let mut wait =
                        Duration::from_secs(recalled.expires_at.saturating_sub(now_seconds()).saturating_add(1));
                    if self.app.db.backend() == Backend::Postgres {
                        wait = wait.min(LOOK);
                    }
                    wait_for_release(&mut watch, bucket, wait).await;
                }
            }
        }
    }

    async fn attempt(&self, bucket: BucketId, batch: Arc<Batch>) -> Result<Turn<pb::ApplyResponse>, ApiError> {
        let backend = self.app.db.backend();
        let outcome: Result<Outcome, TreeError> = self
            .app
            .db
            .write(move |conn| {
                let batch = Arc::clone(&batch);
                Box::pin(async move { apply::apply(conn, backend, &batch, now_ns()).await })
            })
            .await;
        Ok(match outcome? {
            Outcome::Applied(Applied { results, sequence, changes }) => {
                self.app.changes.publish_changes(bucket, changes);
                Turn::Done(pb::ApplyResponse { results, sequence })
            }
            Outcome::Held(recalled) => Turn::Held(recalled),
        })
    }

    pub(super) async fn stage_upload(
        &self,
        caller: &Caller,
        request: pb::StageRequest,
    ) -> Result<pb::StageResponse, ApiError> {
        let bucket = convert::id(&request.bucket, "bucket")?;
        let txn: TxnId = convert::id(&request.txn, "txn")?;
        let context = self.plan_context(caller, bucket).await?;
        let check = move || {
            let pb::StageRequest { segments, blobs, receipts, .. } = request;
            UploadPlan::check(segments, blobs, &receipts, &*context.network, context.now)
        };
        let upload = tokio::task::spawn_blocking(check).await.map_err(ApiError::internal)??;
        let upload = Arc::new(upload);
        self.in_bucket(caller, bucket, move |work| {
            let upload = Arc::clone(&upload);
            Box::pin(async move { work.stage(txn, &upload).await })
        })
        .await?;
        Ok(pb::StageResponse {})
    }

    pub(super) async fn staged(
        &self,
        caller: &Caller,
        request: pb::GetStagedRequest,
    ) -> Result<pb::GetStagedResponse, ApiError> {
        let bucket = convert::id(&request.bucket, "bucket")?;
        let txn: TxnId = convert::id(&request.txn, "txn")?;
        // Whoever asks goes on with the upload, so its time begins anew.
        self.in_bucket(caller, bucket, move |work| Box::pin(async move { Ok(work.touch_staged(txn).await?) })).await?;
        let (mut read, bucket) = self.open(caller, bucket).await?;
        let staged = staging::staged(&mut read, bucket.id, txn).await?;
        let blobs = staged.blobs.iter().map(|blob| match blob.place {
            Place::Inline(_) => {
                let place = Some(pb::blob::Place::Inline(bytes::Bytes::new()));
                pb::Blob { id: bytes_of(blob.id), length: blob.length, place }
            }
            Place::Segment { .. } => blob.to_pb(),
        });
        Ok(pb::GetStagedResponse {
            blobs: blobs.collect(),
            segments: staged.segments.iter().map(|segment| bytes_of(*segment)).collect(),
        })
    }

    pub(super) async fn drop_staged(
        &self,
        caller: &Caller,
        request: pb::AbortStagedRequest,
    ) -> Result<pb::AbortStagedResponse, ApiError> {
        let bucket = convert::id(&request.bucket, "bucket")?;
        let txn: TxnId = convert::id(&request.txn, "txn")?;
        self.in_bucket(caller, bucket, move |work| Box::pin(work.abort_staged(txn))).await?;
        Ok(pb::AbortStagedResponse {})
    }
}

/// Waits until a recalled lease is released, for so long at most.
async fn wait_for_release(watch: &mut broadcast::Receiver<Notice>, bucket: BucketId, at_most: Duration) {
    let released = async {
        loop {
            match watch.recv().await {
                Ok(Notice::Released { bucket: released }) if released == bucket => return,
                // Something may have been missed; better to try once too often.
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                Ok(_) => {}
            }
        }
    };
    // Running out of patience is the other way to be done.
    let _ = tokio::time::timeout(at_most, released).await;
}
