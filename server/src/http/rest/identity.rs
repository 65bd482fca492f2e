//! `/api/identity`, `/api/v1/quota`, `/api/v1/buckets`: what belongs to the caller.

use axum::extract::State;
use cyx_core::ids::AccountId;
use serde::Serialize;

use super::{Answer, unsigned};
use crate::accounts::identity;
use crate::app::{App, AppState};
use crate::auth::{Member, Permission};
use crate::error::ApiError;
use crate::http::body::Base64;
use crate::time::{now_ns, rfc3339, to_seconds};
use crate::{quota as quotas, tree};

/// An account as its owner sees it.
#[derive(Serialize)]
pub struct AccountBody {
    id: AccountId,
    username: String,
    email: String,
    plan: String,
    role: String,
    permissions: Vec<String>,
    quota: QuotaBody,
    created_at: String,
    delete_at: Option<u64>,
}

/// Space of an account.
#[derive(Serialize)]
pub struct QuotaBody {
    limit_bytes: u64,
    used_bytes: u64,
}

/// The caller's account.
pub(super) async fn account_body(app: &App, caller: &Member) -> Result<AccountBody, ApiError> {
    let profile = identity::profile(app, caller.account).await?;
    Ok(AccountBody {
        id: profile.id,
        username: profile.username,
        email: profile.email,
        plan: profile.plan,
        role: profile.role,
        permissions: caller.permissions.clone(),
        quota: QuotaBody { limit_bytes: unsigned(profile.limit_bytes), used_bytes: unsigned(profile.used_bytes) },
        created_at: rfc3339(profile.created_ns),
        delete_at: profile.delete_ns.map(to_seconds),
    })
}

/// `GET /api/identity`
pub async fn identity(State(app): State<AppState>, caller: Member) -> Answer<AccountBody> {
    Ok(axum::Json(account_body(&app, &caller).await?))
}

/// Answer of `GET /api/v1/quota`.
#[derive(Serialize)]
pub struct FullQuota {
    plan: String,
    limit_bytes: u64,
    used_bytes: u64,
    pending_bytes: u64,
    superseded_bytes: u64,
    traffic_limit_bytes: u64,
    traffic_used_bytes: u64,
    traffic_pending_bytes: u64,
    measured_bytes: u64,
    measured_at: Option<String>,
}

/// `GET /api/v1/quota`
pub async fn quota(State(app): State<AppState>, caller: Member) -> Answer<FullQuota> {
    let mut tx = app.db.read().await?;
    let quota = quotas::of_account(&mut tx, caller.account, now_ns()).await?;
    Ok(axum::Json(FullQuota {
        plan: quota.plan,
        limit_bytes: quota.limit_bytes,
        used_bytes: quota.used_bytes,
        pending_bytes: quota.pending_bytes,
        superseded_bytes: quota.superseded_bytes,
        traffic_limit_bytes: quota.traffic_limit_bytes,
        traffic_used_bytes: quota.traffic_used_bytes,
        traffic_pending_bytes: quota.traffic_pending_bytes,
        measured_bytes: quota.measured_bytes,
        measured_at: (quota.measured_ns != 0).then(|| rfc3339(quota.measured_ns)),
    }))
}

/// A bucket. Its name is sealed: only its members can read it.
#[derive(Serialize)]
pub struct BucketBody {
    id: String,
    root: String,
    sealed_name: Base64,
    name_token: Base64,
    wrapped_root_key: Base64,
    owner: String,
    owner_key: Base64,
    sequence: u64,
    created_at: String,
    durable: bool,
    used_bytes: u64,
    files: u64,
}

/// Answer of `GET /api/v1/buckets`.
#[derive(Serialize)]
pub struct BucketsResponse {
    buckets: Vec<BucketBody>,
}

/// `GET /api/v1/buckets`
pub async fn buckets(State(app): State<AppState>, caller: Member) -> Answer<BucketsResponse> {
    caller.require(Permission::StorageRead)?;
    let mut tx = app.db.read().await?;
    let memberships = tree::buckets::list(&mut tx, caller.account, &[]).await?;
    let visible = memberships.iter().filter(|membership| caller.scope.has(membership.bucket.id));
    let buckets = visible.map(|membership| {
        let bucket = membership.to_pb();
        BucketBody {
            id: hex::encode(&bucket.id),
            root: hex::encode(&bucket.root),
            sealed_name: bucket.sealed_name.to_vec().into(),
            name_token: bucket.name_token.to_vec().into(),
            wrapped_root_key: bucket.wrapped_root_key.to_vec().into(),
            owner: hex::encode(&bucket.owner),
            owner_key: bucket.owner_key.to_vec().into(),
            sequence: bucket.sequence,
            created_at: rfc3339(bucket.created_ns),
            durable: bucket.durable,
            used_bytes: bucket.used_bytes,
            files: bucket.files,
        }
    });
    Ok(axum::Json(BucketsResponse { buckets: buckets.collect() }))
}
