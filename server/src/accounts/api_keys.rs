//! Keys of programs: `id.auth.secret`, of which only `id.auth` is ever sent, and the secret never.
//!
//! The server keeps the SHA-256 of `auth`, and what the key may decrypt wrapped under `secret`: without the key nobody opens it, and
//! on revocation it is deleted. A key is exchanged for a short access token, whose session belongs to the key and ends with it. A
//! key may be for one bucket only: that is checked where every call passes ([`crate::auth::Scope`]).

use std::net::IpAddr;
use std::time::Duration;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, ApiKeyId, BucketId, Random as _, SessionId};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use subtle::ConstantTimeEq as _;

use super::account_key::{Lineage, require_newest};
use super::confirm::{Confirmation, Outcome, confirmed, granted, run, run_and_forget};
use super::guard::Attempt;
use super::register::{WRAPPED_PRIVATE_KEYS_MAX, fields, is_signing_key, is_wrapped_key};
use crate::app::{App, AppState};
use crate::audit_log::{self, Action, Actor, Event};
use crate::auth::{self, Caller, Permission, Sessions, column_array, column_id};
use crate::db::{Backend, Conn, DbError};
use crate::error::ApiError;
use crate::mail::{self, Letter, Notice};
use crate::time::{nanos, now_ns, now_seconds, to_seconds};
use crate::tokens::{Issued, stored_hash};
use crate::tree;

/// Keys of an account that are not revoked.
const KEYS_MAX: i64 = 100;
/// How long a key lives if nothing else is said.
const LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long it may live.
const LIFE_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Most bytes of what it may decrypt, wrapped.
pub(crate) const WRAPPED_MAX: usize = WRAPPED_PRIVATE_KEYS_MAX;
/// Longest name.
const NAME_MAX: usize = 64;

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Chosen by who makes it.
    pub id: ApiKeyId,
    /// For people.
    pub name: String,
    /// What it may do, as in tokens.
    pub permissions: Vec<String>,
    /// The only bucket it may see.
    pub bucket: Option<BucketId>,
    /// Unix seconds.
    pub expires_at: Option<u64>,
    /// SHA-256 of what it logs in with.
    pub auth_hash: Vec<u8>,
    /// What it may decrypt, under the secret that is never sent.
    pub wrapped_keys: Vec<u8>,
    /// What opens that for the owner, under the account key; for a key of one bucket.
    pub owner_wrapped_kek: Option<Vec<u8>>,
    /// Its own key in writer lists.
    pub signing_public_key: Option<Vec<u8>>,
    /// Of the account key that is in it, or that is what opens it for the owner.
    pub account_key_epoch: u32,
}

impl NewKey {
    fn check(&self) -> Result<[u8; 32], ApiError> {
        let now = now_seconds();
        let known = |name: &String| Permission::parse(name).is_some();
        let distinct = self.permissions.iter().collect::<std::collections::HashSet<_>>().len();
        fields(&[
            ("name", is_name(&self.name)),
            ("permissions", distinct == self.permissions.len() && distinct > 0 && self.permissions.iter().all(known)),
            ("expires_at", self.expires_at.is_none_or(|at| at > now && at - now <= LIFE_MAX.as_secs())),
            ("wrapped_keys", (1..=WRAPPED_MAX).contains(&self.wrapped_keys.len())),
            ("owner_wrapped_kek", self.owner_wrapped_kek.as_deref().is_none_or(is_wrapped_key)),
            ("signing_public_key", self.signing_public_key.as_deref().is_none_or(is_signing_key)),
        ])?;
        self.auth_hash.as_slice().try_into().map_err(|_| ApiError::invalid("the field auth_hash is not valid"))
    }
}

/// Printable ASCII, since it is shown in mails and terminals.
fn is_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len())
        && text.trim() == text
        && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

/// A key as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// For people.
    pub name: String,
    /// What it may do.
    pub permissions: Vec<String>,
    /// The only bucket it may see.
    pub bucket: Option<BucketId>,
    /// Its own key in writer lists.
    pub signing_public_key: Option<Vec<u8>>,
    /// Unix nanoseconds.
    pub created_ns: i64,
    /// Unix nanoseconds.
    pub expires_ns: i64,
    /// Unix nanoseconds.
    pub last_used_ns: Option<i64>,
    /// From where it was last used; empty if never.
    pub last_address: String,
}

/// A key that is for one bucket, as far as its owner needs it to give it the bucket's next root key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivingKey {
    id: ApiKeyId,
    /// For people.
    pub name: String,
    /// What it may decrypt, under its secret.
    pub wrapped_keys: Vec<u8>,
    /// What opens that for the owner; none for keys that were made before there was such a thing.
    pub owner_wrapped_kek: Option<Vec<u8>>,
}

impl LivingKey {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> ApiKeyId {
        self.id
    }
}

const COLUMNS: &str =
    "id, name, permissions, bucket, signing_public_key, created_ns, expires_ns, last_used_ns, last_address";

fn read(row: &AnyRow) -> Result<ApiKey, DbError> {
    let permissions: String = row.try_get(2)?;
    let bucket = match row.try_get::<Option<Vec<u8>>, _>(3)? {
        Some(_) => Some(column_id(row, 3)?),
        None => None,
    };
    Ok(ApiKey {
        id: column_id(row, 0)?,
        name: row.try_get(1)?,
        permissions: permissions.split(' ').map(str::to_owned).collect(),
        bucket,
        signing_public_key: row.try_get(4)?,
        created_ns: row.try_get(5)?,
        expires_ns: row.try_get(6)?,
        last_used_ns: row.try_get(7)?,
        last_address: row.try_get(8)?,
    })
}

/// The keys of an account that work, oldest first.
///
/// # Errors
/// [`ErrorCode::Internal`].
pub async fn list(app: &App, account: AccountId) -> Result<Vec<ApiKey>, ApiError> {
    let mut tx = app.db.read().await?;
    let text = format!(
        "SELECT {COLUMNS} FROM api_key WHERE account = $1 AND revoked_ns IS NULL AND expires_ns > $2 ORDER BY created_ns, id"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(text)).bind(account.to_vec()).bind(now_ns()).fetch_all(&mut *tx).await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// The keys that are for one bucket and work.
pub(crate) async fn living_of_bucket(c: &mut Conn, bucket: BucketId, now: i64) -> Result<Vec<LivingKey>, DbError> {
    let rows = sqlx::query(
        "SELECT id, name, wrapped_keys, owner_wrapped_kek FROM api_key \
         WHERE bucket = $1 AND revoked_ns IS NULL AND expires_ns > $2 ORDER BY created_ns, id",
    )
    .bind(bucket.to_vec())
    .bind(now)
    .fetch_all(c)
    .await?;
    let read = |row: &AnyRow| {
        Ok(LivingKey {
            id: column_id(row, 0)?,
            name: row.try_get(1)?,
            wrapped_keys: row.try_get::<Option<Vec<u8>>, _>(2)?.unwrap_or_default(),
            owner_wrapped_kek: row.try_get(3)?,
        })
    };
    rows.iter().map(read).collect()
}

/// As [`living_of_bucket`], for the account that owns the keys.
///
/// # Errors
/// [`ErrorCode::NotFound`] for a bucket that is none of the account's business.
pub async fn of_bucket(app: &App, caller: &Caller, bucket: BucketId) -> Result<Vec<LivingKey>, ApiError> {
    let mut tx = app.db.read().await?;
    if !tree::buckets::is_member(&mut tx, bucket, caller.account).await? {
        return Err(ApiError::not_found("there is no such bucket"));
    }
    Ok(living_of_bucket(&mut tx, bucket, now_ns()).await?)
}

/// What a key may decrypt, sealed anew by its owner.
pub(crate) async fn rewrap(c: &mut Conn, key: ApiKeyId, wrapped_keys: &[u8]) -> Result<(), DbError> {
    sqlx::query("UPDATE api_key SET wrapped_keys = $2 WHERE id = $1 AND revoked_ns IS NULL")
        .bind(key.to_vec())
        .bind(wrapped_keys)
        .execute(c)
        .await?;
    Ok(())
}

/// The writers of an account's buckets that belong to keys which ended, by expiry or revocation, and whose place in the writer list
/// was not closed yet.
pub(crate) async fn ended_writers(c: &mut Conn, account: AccountId) -> Result<Vec<(BucketId, [u8; 32])>, DbError> {
    let rows = sqlx::query(
        "SELECT bucket, signing_public_key FROM api_key WHERE account = $1 AND bucket IS NOT NULL \
         AND signing_public_key IS NOT NULL AND writer_closed_ns IS NULL AND (revoked_ns IS NOT NULL OR expires_ns <= $2)",
    )
    .bind(account.to_vec())
    .bind(now_ns())
    .fetch_all(c)
    .await?;
    rows.iter().map(|row| Ok((column_id(row, 0)?, column_array(row, 1)?))).collect()
}

/// The owner took a writer off the list of a bucket.
pub(crate) async fn writer_closed(c: &mut Conn, bucket: BucketId, public_key: &[u8; 32]) -> Result<(), DbError> {
    sqlx::query("UPDATE api_key SET writer_closed_ns = $3 WHERE bucket = $1 AND signing_public_key = $2")
        .bind(bucket.to_vec())
        .bind(&public_key[..])
        .bind(now_ns())
        .execute(c)
        .await?;
    Ok(())
}

/// Makes a key.
///
/// # Errors
/// As [`confirmed`]; [`ErrorCode::InvalidArgument`], [`ErrorCode::NotFound`] for a bucket that is none of the account's business,
/// [`ErrorCode::AlreadyExists`] for an id that is taken, [`ErrorCode::Conflict`] for too many keys.
pub async fn create(
    app: &App,
    caller: &Caller,
    new: NewKey,
    confirmation: Confirmation,
    ip: IpAddr,
) -> Result<ApiKey, ApiError> {
    let (auth_hash, backend) = (new.check()?, app.db.backend());
    confirmed(app, caller, confirmation, ip, move |c, asker| {
        let new = new.clone();
        Box::pin(async move {
            granted!(require_newest(c, backend, asker.account, new.account_key_epoch).await?);
            insert(c, asker.account, &new, &auth_hash, ip).await
        })
    })
    .await
}

async fn insert(c: &mut Conn, account: AccountId, new: &NewKey, hash: &[u8; 32], ip: IpAddr) -> Outcome<ApiKey> {
    let now = now_ns();
    let live: i64 = sqlx::query_scalar(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM api_key WHERE account = $1 AND revoked_ns IS NULL AND expires_ns > $2",
    )
    .bind(account.to_vec())
    .bind(now)
    .fetch_one(&mut *c)
    .await?;
    if live >= KEYS_MAX {
        return Ok(Err(ApiError::new(ErrorCode::Conflict, format!("an account has at most {KEYS_MAX} API keys"))));
    }
    if let Some(bucket) = new.bucket
        && !tree::buckets::is_member(c, bucket, account).await?
    {
        return Ok(Err(ApiError::not_found("there is no such bucket")));
    }
    let expires_ns = match new.expires_at {
        Some(seconds) => nanos(Duration::from_secs(seconds)),
        None => now.saturating_add(nanos(LIFE)),
    };
    let text = format!(
        "INSERT INTO api_key (id, account, name, permissions, bucket, auth_hash, wrapped_keys, signing_public_key, created_ns, expires_ns, \
         owner_wrapped_kek) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING RETURNING {COLUMNS}"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(new.id.to_vec())
        .bind(account.to_vec())
        .bind(&new.name)
        .bind(new.permissions.join(" "))
        .bind(new.bucket.map(BucketId::to_vec))
        .bind(&hash[..])
        .bind(&new.wrapped_keys[..])
        .bind(new.signing_public_key.clone())
        .bind(now)
        .bind(expires_ns)
        .bind(new.owner_wrapped_kek.clone())
        .fetch_optional(&mut *c)
        .await?;
    let Some(row) = row else {
        return Ok(Err(ApiError::new(ErrorCode::AlreadyExists, "this id is taken")));
    };
    let key = read(&row)?;
    audit_log::record(c, Event::owner(account, Action::ApiKeyCreated, ip).with(format!("{} {}", key.id, key.name)))
        .await?;
    mail::enqueue_to(c, account, &Letter::Notice { notice: Notice::ApiKeyCreated, detail: key.name.clone() }).await?;
    Ok(Ok(key))
}

/// Revokes a key: its tokens end at once, and what it could decrypt is deleted.
///
/// # Errors
/// [`ErrorCode::NotFound`] if the account has no such key.
pub async fn revoke(app: &AppState, caller: &Caller, key: ApiKeyId, ip: IpAddr) -> Result<(), ApiError> {
    let account = caller.account;
    let forget = move |sessions: &Sessions, outcome: &Outcome<()>| {
        if !matches!(outcome, Ok(Err(_))) {
            sessions.forget_account(account);
        }
    };
    run_and_forget(app, forget, move |c| {
        Box::pin(async move {
            let found = sqlx::query("SELECT name FROM api_key WHERE id = $1 AND account = $2 AND revoked_ns IS NULL")
                .bind(key.to_vec())
                .bind(account.to_vec())
                .fetch_optional(&mut *c)
                .await?;
            let Some(found) = found else { return Ok(Err(ApiError::not_found("there is no such API key"))) };
            let name: String = found.try_get(0)?;
            revoke_one(c, key).await?;
            audit_log::record(c, Event::owner(account, Action::ApiKeyRevoked, ip).with(format!("{key} {name}")))
                .await?;
            let letter = Letter::Notice { notice: Notice::ApiKeyRevoked, detail: name };
            mail::enqueue_to(c, account, &letter).await?;
            Ok(Ok(()))
        })
    })
    .await
}

pub(super) async fn revoke_one(c: &mut Conn, key: ApiKeyId) -> Result<(), DbError> {
    sqlx::query("UPDATE api_key SET revoked_ns = $2, wrapped_keys = NULL, owner_wrapped_kek = NULL WHERE id = $1")
        .bind(key.to_vec())
        .bind(now_ns())
        .execute(&mut *c)
        .await?;
    let rows = sqlx::query("SELECT id FROM session WHERE api_key = $1 AND revoked_ns IS NULL")
        .bind(key.to_vec())
        .fetch_all(&mut *c)
        .await?;
    for row in rows {
        auth::revoke(c, column_id(&row, 0)?).await?;
    }
    Ok(())
}

/// Revokes all keys of an account. The caller forgets their sessions after the commit.
pub(super) async fn revoke_all(c: &mut Conn, account: AccountId) -> Result<(), DbError> {
    let rows = sqlx::query("SELECT id FROM api_key WHERE account = $1 AND revoked_ns IS NULL")
        .bind(account.to_vec())
        .fetch_all(&mut *c)
        .await?;
    for row in rows {
        revoke_one(c, column_id(&row, 0)?).await?;
    }
    Ok(())
}

/// What a key is exchanged for.
#[derive(Clone)]
pub struct Exchanged {
    /// The session of this exchange.
    pub session: SessionId,
    /// Its access token; there is no refresh token, since the key can be exchanged again.
    pub access: Issued,
    /// The key.
    pub key: ApiKey,
    /// What it may decrypt, under its secret.
    pub wrapped_keys: Vec<u8>,
    /// Ed25519 of the account.
    pub signing_public_key: Vec<u8>,
    /// X25519 of the account.
    pub exchange_public_key: Vec<u8>,
    /// The account's private keys under the account key; empty for a key that is for one bucket, which cannot open them.
    pub wrapped_private_keys: Vec<u8>,
    /// Which account key it is, for a key of the whole account.
    pub lineage: Lineage,
}

/// Exchanges a key for an access token, bound to an Ed25519 key of the program.
///
/// # Errors
/// [`ErrorCode::InvalidCredentials`] for anything wrong, revoked or expired, [`ErrorCode::RateLimited`],
/// [`ErrorCode::PermissionDenied`] for a disabled account, [`ErrorCode::InvalidArgument`] for a bad public key.
pub async fn exchange(
    app: &App,
    key: ApiKeyId,
    auth: &[u8],
    public_key: &[u8],
    ip: IpAddr,
) -> Result<Exchanged, ApiError> {
    if !is_signing_key(public_key) {
        return Err(ApiError::invalid("the field session_public_key is not valid"));
    }
    let exchange = Exchange {
        key,
        auth_hash: stored_hash(auth),
        public_key: public_key.to_vec(),
        session: SessionId::random(),
        life_ns: nanos(app.config.access_token),
        backend: app.db.backend(),
        ip,
    };
    let session = exchange.session;
    let opened = run(app, move |c| {
        let exchange = exchange.clone();
        Box::pin(async move { open(c, &exchange).await })
    })
    .await?;
    let permissions = opened.key.permissions.clone();
    let life = Duration::from_nanos(u64::try_from(opened.expires_ns.saturating_sub(now_ns())).unwrap_or(0));
    let access = app.tokens.api_key(opened.account, session, permissions, life)?;
    Ok(Exchanged {
        session,
        access,
        key: opened.key,
        wrapped_keys: opened.wrapped_keys,
        signing_public_key: opened.signing_public_key,
        exchange_public_key: opened.exchange_public_key,
        wrapped_private_keys: opened.wrapped_private_keys,
        lineage: opened.lineage,
    })
}

#[derive(Clone)]
struct Exchange {
    key: ApiKeyId,
    auth_hash: [u8; 32],
    public_key: Vec<u8>,
    session: SessionId,
    life_ns: i64,
    backend: Backend,
    ip: IpAddr,
}

struct Opened {
    account: AccountId,
    key: ApiKey,
    expires_ns: i64,
    wrapped_keys: Vec<u8>,
    signing_public_key: Vec<u8>,
    exchange_public_key: Vec<u8>,
    wrapped_private_keys: Vec<u8>,
    lineage: Lineage,
}

async fn open(c: &mut Conn, exchange: &Exchange) -> Outcome<Opened> {
    let attempt = Attempt::from_address(exchange.ip);
    granted!(attempt.check(c).await?);
    let refused = || ApiError::new(ErrorCode::InvalidCredentials, "the API key is not valid");
    // Locked, so that whoever revokes the key sees the session of this exchange, or this exchange sees that the key was revoked.
    let text = format!(
        "SELECT {COLUMNS}, auth_hash, wrapped_keys, account FROM api_key \
         WHERE id = $1 AND revoked_ns IS NULL AND expires_ns > $2{}",
        exchange.backend.for_update()
    );
    let now = now_ns();
    let row =
        sqlx::query(sqlx::AssertSqlSafe(text)).bind(exchange.key.to_vec()).bind(now).fetch_optional(&mut *c).await?;
    let stored = row.as_ref().map(|row| column_array::<32>(row, 9)).transpose()?;
    let equal = bool::from(stored.unwrap_or_default().ct_eq(&exchange.auth_hash));
    let Some(row) = row.filter(|_| equal) else {
        attempt.failed(c, exchange.backend, None).await?;
        return Ok(Err(refused()));
    };
    let (key, account): (ApiKey, AccountId) = (read(&row)?, column_id(&row, 11)?);
    let Some(wrapped_keys) = row.try_get::<Option<Vec<u8>>, _>(10)? else { return Ok(Err(refused())) };
    let owner = sqlx::query(
        "SELECT disabled, signing_public_key, exchange_public_key, wrapped_private_keys, key_epoch, key_history FROM account WHERE id = $1",
    )
    .bind(account.to_vec())
    .fetch_one(&mut *c)
    .await?;
    if owner.try_get::<i64, _>(0)? != 0 {
        return Ok(Err(ApiError::denied("this account is disabled")));
    }
    let expires_ns = now.saturating_add(exchange.life_ns).min(key.expires_ns);
    let address = exchange.ip.to_canonical().to_string();
    sqlx::query(
        "INSERT INTO session (id, account, device_name, public_key, generation, created_ns, last_used_ns, expires_ns, last_address, \
         api_key) VALUES ($1, $2, $3, $4, 1, $5, $5, $6, $7, $8)",
    )
    .bind(exchange.session.to_vec())
    .bind(account.to_vec())
    .bind(&key.name)
    .bind(&exchange.public_key[..])
    .bind(now)
    .bind(expires_ns)
    .bind(&address)
    .bind(key.id.to_vec())
    .execute(&mut *c)
    .await?;
    sqlx::query("UPDATE api_key SET last_used_ns = $2, last_address = $3 WHERE id = $1")
        .bind(key.id.to_vec())
        .bind(now)
        .bind(address)
        .execute(&mut *c)
        .await?;
    let event = Event::new(Some(account), Actor::ApiKey, Action::ApiKeyUsed, Some(exchange.ip));
    audit_log::record(c, event.with(format!("{} {}", key.id, key.name))).await?;
    let (wrapped_private_keys, lineage) = match key.bucket {
        Some(_) => (Vec::new(), Lineage::default()),
        None => (owner.try_get(3)?, Lineage::read(&owner, 4)?),
    };
    Ok(Ok(Opened {
        account,
        key,
        expires_ns,
        wrapped_keys,
        signing_public_key: owner.try_get(1)?,
        exchange_public_key: owner.try_get(2)?,
        wrapped_private_keys,
        lineage,
    }))
}

/// When a key ends, Unix seconds.
#[must_use]
pub fn expires_at(key: &ApiKey) -> u64 {
    to_seconds(key.expires_ns)
}
