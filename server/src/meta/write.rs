//! Mutations and staging.

use std::sync::Arc;
use std::time::Duration;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{BucketId, TxnId};
use cyx_proto::convert::{self, bytes_of};
use cyx_proto::meta::v1 as pb;
use tokio::sync::broadcast;

use super::{MetaServer, actor};
use crate::auth::Caller;
use crate::changes::Notice;
use crate::error::ApiError;
use crate::time::{now_ns, now_seconds};
use crate::tree::apply::{self, Applied, Batch, Outcome};
use crate::tree::model::Place;
use crate::tree::plan::{PlanContext, UploadPlan};
use crate::tree::{Settings, TreeError, staging};

/// How often a call waits for a write lease to end before it gives up.
const ATTEMPTS: usize = 3;

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
        for _ in 0..ATTEMPTS {
            // Watching begins before the attempt, so that a release in between is not missed.
            let mut watch = self.app.changes.watch();
            match self.attempt(Arc::clone(&batch)).await? {
                Outcome::Applied(Applied { results, sequence, changes }) => {
                    self.app.changes.publish_changes(bucket, changes);
                    return Ok(pb::ApplyResponse { results, sequence });
                }
                Outcome::Held { until } => {
                    self.app.changes.publish(Notice::Recall { bucket });
                    wait_for_release(&mut watch, bucket, until).await;
                }
            }
        }
        Err(ApiError::new(ErrorCode::Retry, "others hold the bucket's write lease again and again"))
    }

    async fn attempt(&self, batch: Arc<Batch>) -> Result<Outcome, TreeError> {
        let backend = self.app.db.backend();
        self.app
            .db
            .write(move |conn| {
                let batch = Arc::clone(&batch);
                Box::pin(async move { apply::apply(conn, backend, &batch, now_ns()).await })
            })
            .await
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

/// Waits until a recalled lease is released or over, `until` in Unix seconds.
async fn wait_for_release(watch: &mut broadcast::Receiver<Notice>, bucket: BucketId, until: u64) {
    let rest = Duration::from_secs(until.saturating_sub(now_seconds()).saturating_add(1));
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
    let _ = tokio::time::timeout(rest, released).await;
}
