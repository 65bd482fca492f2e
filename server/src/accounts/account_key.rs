//! A new account key in place of one that somebody may have kept, and everything that was under the old one.
//!
//! The client makes the new key and wraps anew what the old one wrapped: for the password, for the recovery words, for its own device; the
//! private identity keys, the root keys and names of the account's buckets, and what lets API keys of one bucket get that bucket's
//! next key. All of it changes in one transaction, or nothing does: it is a compare-and-swap on the account key's epoch, and on what the
//! client has seen of each bucket. With the key the identity may change; then each bucket's writer list is handed over to the new one by an
//! entry that the old one signed.
//!
//! What cannot go on ends: all other sessions, and API keys for all buckets, since each had the old key under a secret of its own. Whatever
//! still wraps something under the old key afterwards is told [`ErrorCode::StaleKey`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, ApiKeyId, BucketId};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::api_keys::revoke_one;
use super::confirm::{Asker, Confirmation, Outcome, granted};
use super::password::{replace as replace_password, replace_words, told};
use super::register::{Password, WRAPPED_PRIVATE_KEYS_MAX, fields, is_signing_key, is_wrapped_key};
use crate::app::AppState;
use crate::audit_log::{self, Action, Event};
use crate::auth::{self, Caller, Sessions, column_id};
use crate::db::{Backend, Conn, DbError};
use crate::error::ApiError;
use crate::mail::Notice;
use crate::time::now_ns;
use crate::tree::buckets::{self, BUCKETS_MAX};
use crate::tree::{Actor, Changes, Settings, TreeError, Work};

/// Most bytes of a history: the client keeps 32 keys of 74 bytes.
const HISTORY_MAX: usize = 4096;
/// Most bytes of a bucket's name under the account key: the longest name and its tag.
const NAME_TOKEN_MAX: usize = 512;
/// Most API keys of buckets.
const API_KEYS_MAX: usize = 1000;
/// What somebody is told who wraps something under an account key that was replaced.
pub(crate) const REPLACED: &str = "the account has a newer key by now";

/// Which account key something is wrapped under or is, and those of before. Opaque but for the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lineage {
    /// Keys that were replaced.
    pub epoch: u32,
    /// Each sealed under the next; empty before the first replacement.
    pub history: Vec<u8>,
}

impl Lineage {
    /// Reads the columns `key_epoch` and `key_history`.
    pub(super) fn read(row: &AnyRow, at: usize) -> Result<Self, DbError> {
        let history: Option<Vec<u8>> = row.try_get(at + 1)?;
        Ok(Self { epoch: to_epoch(row.try_get(at)?)?, history: history.unwrap_or_default() })
    }
}

fn to_epoch(value: i64) -> Result<u32, DbError> {
    u32::try_from(value).map_err(|_| DbError::Corrupt("an epoch out of range"))
}

/// The epoch of an account's key.
///
/// # Errors
/// [`DbError`].
pub async fn epoch(c: &mut Conn, account: AccountId) -> Result<u32, DbError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT key_epoch FROM account WHERE id = $1")
        .bind(account.to_vec())
        .fetch_optional(c)
        .await?;
    to_epoch(found.unwrap_or_default())
}

/// Whether an account's key is of this epoch; it stays so until the transaction ends. An account that was erased has none: its sessions are
/// gone, but a call that was let in before may still be under way.
pub(crate) async fn is_newest(c: &mut Conn, backend: Backend, account: AccountId, epoch: u32) -> Result<bool, DbError> {
    let text =
        format!("SELECT key_epoch FROM account WHERE id = $1 AND erased_ns IS NULL{}", backend.for_no_key_update());
    let found: Option<i64> = sqlx::query_scalar(AssertSqlSafe(text)).bind(account.to_vec()).fetch_optional(c).await?;
    Ok(found.map(to_epoch).transpose()? == Some(epoch))
}

/// Refuses what is wrapped under an account key that was replaced.
pub(super) async fn require_newest(c: &mut Conn, backend: Backend, account: AccountId, epoch: u32) -> Outcome<()> {
    let newest = is_newest(c, backend, account, epoch).await?;
    Ok(if newest { Ok(()) } else { Err(ApiError::new(ErrorCode::StaleKey, REPLACED)) })
}

/// A bucket's keys under the new account key.
#[derive(Debug, Clone)]
pub struct RewrappedBucket {
    /// The bucket.
    pub bucket: BucketId,
    /// The root key as it was wrapped for the account when the client saw it.
    pub replaces: Vec<u8>,
    /// The name, for lookup.
    pub name_token: Vec<u8>,
    /// The root key.
    pub wrapped_root_key: Vec<u8>,
    /// The signed entry that hands the writer list over to the new identity.
    pub hand_over: Option<Vec<u8>>,
}

/// Everything that a new account key comes with.
#[derive(Clone)]
pub struct Replacement {
    /// SHA-256 of the present auth key: who types the password wrongly would be locked out by the new wrap.
    pub auth_hash: [u8; 32],
    /// The epoch that is replaced.
    pub expected_epoch: u32,
    /// The keys of before.
    pub history: Vec<u8>,
    /// The same password with another salt, or another password.
    pub password: Password,
    /// The new key under the recovery words.
    pub recovery_wrapped_account_key: Vec<u8>,
    /// The new key under the secret of the caller's device.
    pub device_wrapped_account_key: Vec<u8>,
    /// Ed25519.
    pub signing_public_key: Vec<u8>,
    /// X25519.
    pub exchange_public_key: Vec<u8>,
    /// Both private keys under the new key.
    pub wrapped_private_keys: Vec<u8>,
    /// Every bucket of the account.
    pub buckets: Vec<RewrappedBucket>,
    /// Every living API key of one bucket that its owner can renew: what opens it for the owner.
    pub api_keys: Vec<(ApiKeyId, Vec<u8>)>,
}

impl Replacement {
    fn epoch(&self) -> Result<u32, ApiError> {
        let next = self.expected_epoch.checked_add(1);
        next.ok_or_else(|| ApiError::invalid("the field expected_epoch is not valid"))
    }

    fn check(&self) -> Result<[u8; 32], ApiError> {
        self.password.check()?;
        let bounded = |bytes: &[u8], max: usize| (1..=max).contains(&bytes.len());
        let of_bucket = |bucket: &RewrappedBucket| {
            is_wrapped_key(&bucket.replaces)
                && is_wrapped_key(&bucket.wrapped_root_key)
                && bounded(&bucket.name_token, NAME_TOKEN_MAX)
                && bucket.hand_over.as_deref().is_none_or(is_wrapped_key)
        };
        let most = usize::try_from(BUCKETS_MAX).unwrap_or(usize::MAX);
        let ids: BTreeSet<BucketId> = self.buckets.iter().map(|bucket| bucket.bucket).collect();
        let keys: BTreeSet<ApiKeyId> = self.api_keys.iter().map(|(id, _)| *id).collect();
        fields(&[
            ("account_key_history", bounded(&self.history, HISTORY_MAX)),
            ("recovery_wrapped_account_key", is_wrapped_key(&self.recovery_wrapped_account_key)),
            ("device_wrapped_account_key", is_wrapped_key(&self.device_wrapped_account_key)),
            ("signing_public_key", is_signing_key(&self.signing_public_key)),
            ("exchange_public_key", self.exchange_public_key.len() == 32),
            ("wrapped_private_keys", bounded(&self.wrapped_private_keys, WRAPPED_PRIVATE_KEYS_MAX)),
            ("buckets", ids.len() == self.buckets.len() && ids.len() <= most && self.buckets.iter().all(of_bucket)),
            ("api_keys", keys.len() == self.api_keys.len() && keys.len() <= API_KEYS_MAX),
            ("api_keys", self.api_keys.iter().all(|(_, wrapped)| is_wrapped_key(wrapped))),
        ])?;
        let key = self.signing_public_key.as_slice().try_into();
        key.map_err(|_| ApiError::invalid("the field signing_public_key is not valid"))
    }
}

/// What the transaction did.
struct Done {
    epoch: u32,
    changes: Vec<(BucketId, Changes)>,
}

/// Replaces the account key. Returns the new epoch; a call that is repeated because its answer was lost gets the same one.
///
/// # Errors
/// [`ErrorCode::Retry`] if anything of the account is not as the client saw it, without using up the confirmation;
/// [`ErrorCode::StaleKey`] if the key was replaced already; [`ErrorCode::InvalidCredentials`], [`ErrorCode::OtpInvalid`], [`ErrorCode::OtpExpired`],
/// [`ErrorCode::AccountLocked`], [`ErrorCode::InvalidArgument`].
pub async fn replace(
    app: &AppState,
    caller: &Caller,
    new: Replacement,
    confirmation: Confirmation,
    ip: IpAddr,
) -> Result<u32, ApiError> {
    new.epoch()?;
    let signing_key = new.check()?;
    let (asker, settings) = (Asker::new(app, caller, ip), Settings::from(&app.config));
    let new = Arc::new(new);
    // An error undoes everything; a refusal of the code keeps what it counted, and comes before anything is changed.
    let account = caller.account;
    let forget =
        move |sessions: &Sessions, _: &Result<Result<Done, ApiError>, ApiError>| sessions.forget_account(account);
    let outcome = auth::write_and_forget(app, forget, move |c| {
        let (asker, new, confirmation) = (asker.clone(), Arc::clone(&new), confirmation.clone());
        Box::pin(async move { swap(c, &asker, &new, &signing_key, &confirmation, settings).await })
    })
    .await?;
    app.mailer.wake();
    let Done { epoch, changes } = outcome?;
    for (bucket, changes) in changes {
        app.changes.publish_changes(bucket, changes);
    }
    Ok(epoch)
}

async fn swap(
    c: &mut Conn,
    asker: &Asker,
    new: &Replacement,
    signing_key: &[u8; 32],
    confirmation: &Confirmation,
    settings: Settings,
) -> Result<Result<Done, ApiError>, ApiError> {
    let (account, epoch) = (asker.account, new.epoch()?);
    if was_done(c, account, epoch, &new.history).await? {
        return Ok(Ok(Done { epoch, changes: Vec::new() }));
    }
    // Buckets first, in order, then the account: as every commit locks them.
    let text = format!("SELECT id FROM bucket WHERE owner = $1 ORDER BY id{}", asker.backend.for_update());
    sqlx::query(AssertSqlSafe(text)).bind(account.to_vec()).fetch_all(&mut *c).await?;
    if !is_newest(c, asker.backend, account, new.expected_epoch).await? {
        return Err(ApiError::new(ErrorCode::StaleKey, REPLACED));
    }
    let own = check_buckets(c, account, new).await?;
    let api_keys = ApiKeys::read(c, account, new).await?;
    granted!(asker.password(c, &new.auth_hash).await?);
    let taken = granted!(asker.confirmed(c, confirmation).await?);

    let mut changes = Vec::with_capacity(new.buckets.len());
    for bucket in &new.buckets {
        sqlx::query(
            "UPDATE bucket_member SET name_token = $3, wrapped_root_key = $4 WHERE bucket = $1 AND account = $2",
        )
        .bind(bucket.bucket.to_vec())
        .bind(account.to_vec())
        .bind(&bucket.name_token[..])
        .bind(&bucket.wrapped_root_key[..])
        .execute(&mut *c)
        .await?;
        if own.contains(&bucket.bucket) {
            let done = hand_over(c, asker, bucket, signing_key, settings).await?;
            changes.push((bucket.bucket, done));
        }
    }
    api_keys.go_on(c, new).await?;
    write_account(c, asker, new, epoch).await?;
    asker.note_confirmed(c, taken).await?;
    audit_log::record(c, Event::owner(account, Action::AccountKeyReplaced, asker.ip).with(format!("epoch {epoch}")))
        .await?;
    told(c, account, Notice::AccountKeyReplaced, asker.ip).await?;
    Ok(Ok(Done { epoch, changes }))
}

/// Whether this very replacement was made before: a history is one that nobody else can make.
async fn was_done(c: &mut Conn, account: AccountId, epoch: u32, history: &[u8]) -> Result<bool, DbError> {
    let row = sqlx::query("SELECT key_epoch, key_history FROM account WHERE id = $1")
        .bind(account.to_vec())
        .fetch_one(c)
        .await?;
    Ok(Lineage::read(&row, 0)? == Lineage { epoch, history: history.to_vec() })
}

fn changed(what: &str) -> ApiError {
    ApiError::new(ErrorCode::Retry, format!("the account's {what} have changed meanwhile"))
}

/// Makes sure that the client has seen all buckets as they are. Returns those that the account owns.
async fn check_buckets(c: &mut Conn, account: AccountId, new: &Replacement) -> Result<BTreeSet<BucketId>, ApiError> {
    let present = buckets::list(c, account, &[]).await?;
    let given: BTreeMap<BucketId, &[u8]> =
        new.buckets.iter().map(|bucket| (bucket.bucket, &bucket.replaces[..])).collect();
    let seen = |found: &buckets::Membership| given.get(&found.bucket.id) == Some(&&found.wrapped_root_key[..]);
    if present.len() != given.len() || !present.iter().all(seen) {
        return Err(changed("buckets"));
    }
    let own = present.iter().filter(|found| found.bucket.owner == account);
    Ok(own.map(|found| found.bucket.id).collect())
}

async fn hand_over(
    c: &mut Conn,
    asker: &Asker,
    bucket: &RewrappedBucket,
    signing_key: &[u8; 32],
    settings: Settings,
) -> Result<Changes, ApiError> {
    let actor = Actor { account: asker.account, session: asker.session };
    let handed: Result<Changes, TreeError> = async {
        let mut work = Work::open(c, asker.backend, bucket.bucket, actor, settings, now_ns()).await?;
        work.hand_over(bucket.hand_over.as_deref(), signing_key).await?;
        Ok(work.finish().await?)
    }
    .await;
    Ok(handed?)
}

/// What becomes of the account's API keys.
struct ApiKeys {
    /// They had the account key, or their bucket is gone, or they have expired: what the old key opens of them goes.
    end: Vec<ApiKeyId>,
}

impl ApiKeys {
    async fn read(c: &mut Conn, account: AccountId, new: &Replacement) -> Result<Self, ApiError> {
        let rows = sqlx::query(
            "SELECT id, bucket, expires_ns, owner_wrapped_kek FROM api_key WHERE account = $1 AND revoked_ns IS NULL",
        )
        .bind(account.to_vec())
        .fetch_all(c)
        .await?;
        let buckets: BTreeSet<BucketId> = new.buckets.iter().map(|bucket| bucket.bucket).collect();
        let (mut end, mut go_on) = (Vec::new(), BTreeSet::new());
        for row in rows {
            let id: ApiKeyId = column_id(&row, 0)?;
            let bucket = match row.try_get::<Option<Vec<u8>>, _>(1)? {
                Some(_) => Some(column_id::<BucketId>(&row, 1)?),
                None => None,
            };
            let lives = row.try_get::<i64, _>(2)? > now_ns() && bucket.is_some_and(|bucket| buckets.contains(&bucket));
            if !lives {
                end.push(id);
            } else if row.try_get::<Option<Vec<u8>>, _>(3)?.is_some() {
                go_on.insert(id);
            }
        }
        let given: BTreeSet<ApiKeyId> = new.api_keys.iter().map(|(id, _)| *id).collect();
        if go_on == given { Ok(Self { end }) } else { Err(changed("API keys")) }
    }

    async fn go_on(self, c: &mut Conn, new: &Replacement) -> Result<(), DbError> {
        for key in self.end {
            revoke_one(c, key).await?;
        }
        for (id, wrapped) in &new.api_keys {
            sqlx::query("UPDATE api_key SET owner_wrapped_kek = $2 WHERE id = $1")
                .bind(id.to_vec())
                .bind(&wrapped[..])
                .execute(&mut *c)
                .await?;
        }
        Ok(())
    }
}

async fn write_account(c: &mut Conn, asker: &Asker, new: &Replacement, epoch: u32) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE account SET key_epoch = $2, key_history = $3, signing_public_key = $4, exchange_public_key = $5, \
         wrapped_private_keys = $6 WHERE id = $1",
    )
    .bind(asker.account.to_vec())
    .bind(i64::from(epoch))
    .bind(&new.history[..])
    .bind(&new.signing_public_key[..])
    .bind(&new.exchange_public_key[..])
    .bind(&new.wrapped_private_keys[..])
    .execute(&mut *c)
    .await?;
    replace_words(c, asker.account, &new.recovery_wrapped_account_key).await?;
    sqlx::query("UPDATE session SET wrapped_account_key = $2 WHERE id = $1")
        .bind(asker.session.to_vec())
        .bind(&new.device_wrapped_account_key[..])
        .execute(&mut *c)
        .await?;
    // Logins and recoveries that wait were begun for the key of before; they end with the other sessions.
    replace_password(c, asker.account, &new.password, Some(asker.session), false).await?;
    Ok(())
}
