//! Mutations and staging.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cyx_core::error::ErrorCode;
use cyx_core::ids::{BucketId, KeyId, TxnId};
use cyx_core::writers::WriterList;
use cyx_proto::convert::{self, bytes_of};
use cyx_proto::meta::v1 as pb;
use prost::Message as _;
use tokio::sync::broadcast;

use super::{MetaServer, actor};
use crate::auth::Caller;
use crate::changes::Notice;
use crate::db::Backend;
use crate::error::ApiError;
use crate::time::now_seconds;
use crate::tree::apply::{Applied, Batch, Outcome};
use crate::tree::model::Place;
use crate::tree::plan::{PlanContext, UploadPlan};
use crate::tree::write_lease::Recalled;
use crate::tree::{Settings, staging};

/// How long after the life of a write lease a call gives up waiting for one to end.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often is looked whether a lease was released, where other servers may have done it.
const LOOK: Duration = Duration::from_secs(1);

/// Most bytes of inodes in an answer. A longer one could not be sent, and whoever repeats its call for want of an answer would get it again.
const INODES_BYTES: usize = 32 * 1024 * 1024;

/// Leaves out inodes that would be too much; who needs one can ask for it.
fn shorten(results: &mut [pb::MutationResult]) {
    let mut bytes = 0;
    for done in results.iter_mut().flat_map(|result| &mut result.operations) {
        bytes += done.inode.as_ref().map_or(0, pb::Inode::encoded_len);
        if bytes > INODES_BYTES {
            done.inode = None;
        }
    }
}

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
        Ok(self.context_with(bucket.id, self.app.writers.get(&mut read, &bucket).await?))
    }

    fn context_with(&self, bucket: BucketId, writers: Arc<WriterList>) -> PlanContext {
        PlanContext {
            bucket,
            writers,
            network: Arc::clone(&self.app.network.placements) as _,
            file_max: self.app.config.max_file_bytes,
            now: now_seconds(),
        }
    }

    /// As [`Self::plan_context`], without asking the database if the keys that sign are known from earlier calls. Who may see the bucket, and
    /// whether a key may still sign, is decided in the transaction; nothing that was checked before is told to those who may not.
    async fn context_of(
        &self,
        caller: &Caller,
        bucket: BucketId,
        signed_by: &[KeyId],
    ) -> Result<PlanContext, ApiError> {
        let known = match signed_by {
            [] => Some(Arc::new(WriterList::empty(bucket))),
            keys => self.app.writers.known(bucket).filter(|list| keys.iter().all(|key| list.ever(*key).is_some())),
        };
        match known {
            Some(writers) => Ok(self.context_with(bucket, writers)),
            None => self.plan_context(caller, bucket).await,
        }
    }

    pub(super) async fn apply_batch(
        &self,
        caller: &Caller,
        request: pb::ApplyRequest,
    ) -> Result<pb::ApplyResponse, ApiError> {
        let bucket = convert::id(&request.bucket, "bucket")?;
        let signed_by = signed_by(&request);
        let context = self.context_of(caller, bucket, &signed_by).await?;
        let (actor, settings) = (actor(caller), Settings::from(&self.app.config));
        let check = move || Batch::check(request, actor, settings, &context);
        let batch = if signed_by.is_empty() {
            // Nothing in it takes long.
            check()?
        } else {
            tokio::task::spawn_blocking(check).await.map_err(ApiError::internal)??
        };
        let batch = Arc::new(batch);
        self.in_turn(bucket, || self.attempt(Arc::clone(&batch))).await
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

    async fn attempt(&self, batch: Arc<Batch>) -> Result<Turn<pb::ApplyResponse>, ApiError> {
        Ok(match self.gathering.apply(batch).await? {
            Outcome::Applied(Applied { mut results, sequence }) => {
                shorten(&mut results);
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

/// The keys that a request says signed its commits. What is no key at all stands for one that nobody has, so that the check refuses it.
fn signed_by(request: &pb::ApplyRequest) -> Vec<KeyId> {
    let operations = request.mutations.iter().flat_map(|mutation| &mutation.operations);
    let commits = operations.filter_map(|operation| match &operation.operation {
        Some(pb::operation::Operation::Commit(commit)) => Some(&commit.writer),
        _ => None,
    });
    let keys: HashSet<KeyId> = commits.map(|writer| KeyId::try_from(&writer[..]).unwrap_or(KeyId([0; 16]))).collect();
    keys.into_iter().collect()
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
