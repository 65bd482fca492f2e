//! Buckets, writer lists, write leases.

use std::sync::Arc;

use cyx_core::error::ErrorCode;
use cyx_core::ids::BucketId;
use cyx_core::sign;
use cyx_core::writers::ENTRY_LEN;
use cyx_proto::convert;
use cyx_proto::meta::v1 as pb;
use futures_util::future::BoxFuture;

use super::write::Turn;
use super::{MetaServer, actor};
use crate::accounts::account_key;
use crate::accounts::api_keys::ended_writers;
use crate::auth::Caller;
use crate::changes::Notice;
use crate::error::ApiError;
use crate::time::now_ns;
use crate::tree::buckets::{self, Membership, NewBucket};
use crate::tree::rekey::Rotation;
use crate::tree::write_lease::{self, Acquired};
use crate::tree::{Changes, Settings, TreeError, Work};

impl MetaServer {
    /// Does something in a transaction on a bucket and publishes what it changed.
    pub(super) async fn in_bucket<T, F>(&self, caller: &Caller, bucket: BucketId, job: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: for<'w, 'c> Fn(&'w mut Work<'c>) -> BoxFuture<'w, Result<T, TreeError>> + Send + Sync + 'static,
    {
        let (backend, actor) = (self.app.db.backend(), actor(caller));
        let settings = Settings::from(&self.app.config);
        let job = Arc::new(job);
        let done: Result<(T, Changes), TreeError> = self
            .app
            .db
            .write(move |conn| {
                let job = Arc::clone(&job);
                Box::pin(async move {
                    let mut work = Work::open(conn, backend, bucket, actor, settings, now_ns()).await?;
                    let value = job(&mut work).await?;
                    Ok((value, work.finish().await?))
                })
            })
            .await;
        let (value, changes) = done?;
        self.app.changes.publish_changes(bucket, changes);
        Ok(value)
    }

    pub(super) async fn make_bucket(
        &self,
        caller: &Caller,
        request: pb::CreateBucketRequest,
    ) -> Result<pb::CreateBucketResponse, ApiError> {
        let owner_key = signing_key(&mut *self.app.db.read().await?, caller).await?;
        let new = NewBucket::check(request, owner_key)?;
        let (actor, id, account, backend) = (actor(caller), new.id(), caller.account, self.app.db.backend());
        let new = Arc::new(new);
        let made: Result<Membership, TreeError> = self
            .app
            .db
            .write(move |conn| {
                let new = Arc::clone(&new);
                Box::pin(async move { buckets::create(conn, backend, actor, &new, now_ns()).await })
            })
            .await;
        let bucket = made?.to_pb();
        self.app.changes.publish(Notice::Joined { account, bucket: id });
        Ok(pb::CreateBucketResponse { bucket: Some(bucket) })
    }

    pub(super) async fn all_buckets(
        &self,
        caller: &Caller,
        request: pb::ListBucketsRequest,
    ) -> Result<pb::ListBucketsResponse, ApiError> {
        let mut read = self.app.db.read().await?;
        let found = buckets::list(&mut read, caller.account, &request.name_token).await?;
        let mut buckets: Vec<pb::Bucket> = found.iter().map(Membership::to_pb).collect();
        if request.with_writers && !request.name_token.is_empty() {
            for (row, found) in buckets.iter_mut().zip(&found) {
                let entries = buckets::writer_entries(&mut read, found.bucket.id).await?;
                row.writers = entries.into_iter().map(Into::into).collect();
            }
        }
        for (bucket, writer) in ended_writers(&mut read, caller.account).await? {
            let owned = |found: &Membership| found.bucket.id == bucket && found.bucket.owner == caller.account;
            let Some(at) = found.iter().position(owned) else { continue };
            // It may have been taken off before that was written down.
            let list = self.app.writers.get(&mut read, &found[at].bucket).await?;
            if list.may_sign_now(sign::key_id(&writer)).is_some() {
                buckets[at].ended_writers.push(bytes::Bytes::copy_from_slice(&writer));
            }
        }
        let account_key_epoch = account_key::epoch(&mut read, caller.account).await?;
        Ok(pb::ListBucketsResponse { buckets, account_key_epoch })
    }

    pub(super) async fn remove_bucket(
        &self,
        caller: &Caller,
        request: pb::DeleteBucketRequest,
    ) -> Result<pb::DeleteBucketResponse, ApiError> {
        let bucket = convert::id(&request.id, "id")?;
        let with_content = request.with_content;
        // What the holder of a write lease has decided decides whether the bucket is empty.
        self.in_turn(bucket, || {
            self.in_bucket(caller, bucket, move |work| {
                Box::pin(async move {
                    if let Some(recalled) = write_lease::check(work, None).await? {
                        return Ok(Turn::Held(recalled));
                    }
                    work.delete_bucket(with_content).await.map(Turn::Done)
                })
            })
        })
        .await?;
        self.app.changes.publish(Notice::Deleted { bucket });
        Ok(pb::DeleteBucketResponse {})
    }

    pub(super) async fn writers(
        &self,
        caller: &Caller,
        request: pb::GetWritersRequest,
    ) -> Result<pb::GetWritersResponse, ApiError> {
        let (mut read, bucket) = self.open(caller, convert::id(&request.bucket, "bucket")?).await?;
        let entries = buckets::writer_entries(&mut read, bucket.id).await?;
        Ok(pb::GetWritersResponse { entries: entries.into_iter().map(Into::into).collect() })
    }

    pub(super) async fn add_writer(
        &self,
        caller: &Caller,
        request: pb::AppendWriterRequest,
    ) -> Result<pb::AppendWriterResponse, ApiError> {
        let bucket = convert::id(&request.bucket, "bucket")?;
        if request.entry.len() != ENTRY_LEN {
            return Err(convert::InvalidField { field: "entry" }.into());
        }
        let entry = request.entry;
        self.in_bucket(caller, bucket, move |work| {
            let entry = entry.clone();
            Box::pin(async move { work.append_writer(&entry).await })
        })
        .await?;
        Ok(pb::AppendWriterResponse {})
    }

    pub(super) async fn rotate(
        &self,
        caller: &Caller,
        request: pb::RotateBucketRequest,
    ) -> Result<pb::RotateBucketResponse, ApiError> {
        let bucket = convert::id(&request.bucket, "bucket")?;
        let rotation = Arc::new(Rotation::check(request)?);
        // What the holder of a write lease has decided was named under the keys of before.
        let sequence = self
            .in_turn(bucket, || {
                let rotation = Arc::clone(&rotation);
                self.in_bucket(caller, bucket, move |work| {
                    let rotation = Arc::clone(&rotation);
                    Box::pin(async move {
                        if let Some(recalled) = write_lease::check(work, None).await? {
                            return Ok(Turn::Held(recalled));
                        }
                        work.rotate(&rotation).await.map(Turn::Done)
                    })
                })
            })
            .await?;
        Ok(pb::RotateBucketResponse { sequence })
    }

    pub(super) async fn acquire(
        &self,
        caller: &Caller,
        request: pb::AcquireWriteLeaseRequest,
    ) -> Result<pb::WriteLease, ApiError> {
        let bucket = convert::id(&request.bucket, "bucket")?;
        let holder = request.holder;
        let acquired = self
            .in_bucket(caller, bucket, move |work| {
                let holder = holder.clone();
                Box::pin(async move { write_lease::acquire(work, &holder).await })
            })
            .await?;
        match acquired {
            Acquired::Lease(lease) => Ok(lease),
            Acquired::Refused { held, until } => {
                let why = if held { "somebody else holds the write lease" } else { "several write in this bucket" };
                Err(ApiError::new(ErrorCode::Retry, format!("{why}; not before Unix second {until}")))
            }
        }
    }

    pub(super) async fn renew(
        &self,
        caller: &Caller,
        request: pb::RenewWriteLeaseRequest,
    ) -> Result<pb::WriteLease, ApiError> {
        let bucket = convert::id(&request.bucket, "bucket")?;
        let lease = convert::array(&request.lease, "lease")?;
        self.in_bucket(caller, bucket, move |work| Box::pin(write_lease::renew(work, lease))).await
    }

    pub(super) async fn release(
        &self,
        caller: &Caller,
        request: pb::ReleaseWriteLeaseRequest,
    ) -> Result<pb::ReleaseWriteLeaseResponse, ApiError> {
        let bucket = convert::id(&request.bucket, "bucket")?;
        let lease = convert::array(&request.lease, "lease")?;
        self.in_bucket(caller, bucket, move |work| Box::pin(write_lease::release(work, lease))).await?;
        self.app.changes.publish(Notice::Released { bucket });
        Ok(pb::ReleaseWriteLeaseResponse {})
    }
}

/// The caller's identity key, which a new bucket's writer list begins with.
async fn signing_key(conn: &mut crate::db::Conn, caller: &Caller) -> Result<[u8; 32], ApiError> {
    let row = sqlx::query("SELECT signing_public_key FROM account WHERE id = $1")
        .bind(caller.account.to_vec())
        .fetch_optional(conn)
        .await?;
    let row = row.ok_or_else(|| ApiError::not_found("there is no such account"))?;
    Ok(crate::tree::sql::array(&row, 0)?)
}
