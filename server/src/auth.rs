//! Who is calling.
//!
//! A bearer token is a JSON web token; it is good only while its session is. Sessions are looked up in the database, so that a
//! revoked one is refused at once. On SQLite, where this process is the only one that can revoke, what was looked up is
//! remembered until it is revoked here.

mod revocations;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, BucketId, MachineId, SessionId};
use cyx_proto::status::READER_KEY;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use sqlx::Row as _;
use tokio::sync::broadcast;
use tracing::Instrument as _;

use self::revocations::REVOCATIONS_MAX;
pub use self::revocations::Revocations;
use crate::accounts::role::Role;
use crate::app::{App, AppState};
use crate::db::{Backend, Conn, DbError};
use crate::error::ApiError;
use crate::time::{now_ns, now_seconds};
use crate::tokens::{Claims, UserType};

/// One thing a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Read buckets.
    StorageRead,
    /// Change buckets.
    StorageWrite,
}

impl Permission {
    /// As it stands in tokens.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StorageRead => "storage:read",
            Self::StorageWrite => "storage:write",
        }
    }

    /// Finds a permission by its name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        ALL_PERMISSIONS.into_iter().find(|permission| permission.as_str() == text)
    }
}

/// What a person's own devices may do.
pub const ALL_PERMISSIONS: [Permission; 2] = [Permission::StorageRead, Permission::StorageWrite];

/// What of an account's data a caller may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Account,
    /// One bucket: its key was made for that.
    Bucket(BucketId),
}

impl Scope {
    /// Whether a bucket lies in it.
    #[must_use]
    pub fn has(self, bucket: BucketId) -> bool {
        match self {
            Self::Account => true,
            Self::Bucket(only) => only == bucket,
        }
    }
}

/// A caller whose token and session are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose data.
    pub account: AccountId,
    /// The logged-in device.
    pub session: SessionId,
    /// The device's Ed25519 key, which grants are bound to.
    pub session_key: [u8; 32],
    /// Kind of caller.
    pub user_type: UserType,
    /// Role of its account, as it is now.
    pub role: Role,
    /// What of the account's data it may see.
    pub scope: Scope,
    /// What it may do, as in its token.
    pub permissions: Vec<String>,
    /// End of the token's life, Unix seconds.
    pub expires_at: u64,
    /// Which of the session's programs it says it is; zeros if it says nothing.
    pub reader: [u8; 16],
}

impl Caller {
    /// Insists that it is a person's own device: programs with keys do not touch the account itself.
    ///
    /// # Errors
    /// [`ErrorCode::PermissionDenied`].
    pub fn require_person(&self) -> Result<(), ApiError> {
        match self.user_type {
            UserType::User => Ok(()),
            UserType::ApiKey | UserType::Node => Err(ApiError::denied("this needs a login; a key does not suffice")),
        }
    }

    /// Insists that it is an administrator's own device.
    ///
    /// # Errors
    /// [`ErrorCode::PermissionDenied`].
    pub fn require_admin(&self) -> Result<(), ApiError> {
        self.require_person()?;
        if self.role == Role::Admin { Ok(()) } else { Err(ApiError::denied("this needs an administrator")) }
    }

    /// Insists that a bucket lies in its scope.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], as for a bucket that does not exist.
    pub fn require_bucket(&self, bucket: BucketId) -> Result<(), ApiError> {
        if self.scope.has(bucket) { Ok(()) } else { Err(ApiError::not_found("there is no such bucket")) }
    }

    /// Insists that it may do something.
    ///
    /// # Errors
    /// [`ErrorCode::PermissionDenied`].
    pub fn require(&self, permission: Permission) -> Result<(), ApiError> {
        require(&self.permissions, permission)
    }
}

/// Whoever may ask about an account and its storage: a [`Caller`], or somebody whom a service beside this one vouches for.
///
/// A token of such a service is signed with the shared secret and names an account, but no session of this server. So it can be held to
/// the account's state and its own permissions, and to nothing else: nobody here can end it, and no grant can be bound to a
/// session's key. It shows what there is; it changes nothing and moves no data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Whose data.
    pub account: AccountId,
    /// Kind of caller.
    pub user_type: UserType,
    /// What of the account's data it may see.
    pub scope: Scope,
    /// What it may do, as in its token.
    pub permissions: Vec<String>,
}

impl Member {
    /// Insists that it may do something.
    ///
    /// # Errors
    /// [`ErrorCode::PermissionDenied`].
    pub fn require(&self, permission: Permission) -> Result<(), ApiError> {
        require(&self.permissions, permission)
    }
}

impl From<Caller> for Member {
    fn from(caller: Caller) -> Self {
        let Caller { account, user_type, scope, permissions, .. } = caller;
        Self { account, user_type, scope, permissions }
    }
}

fn require(given: &[String], permission: Permission) -> Result<(), ApiError> {
    if given.iter().any(|given| given == permission.as_str()) {
        return Ok(());
    }
    Err(ApiError::denied(format!("this token lacks the permission {}", permission.as_str())))
}

/// A machine whose token is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The machine.
    pub id: MachineId,
    /// Whose it is; nobody's if the server's own operator enrolled it.
    pub owner: Option<AccountId>,
}

/// The bearer token of a request.
///
/// # Errors
/// [`ErrorCode::InvalidCredentials`] if there is none.
pub fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let value = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    token.ok_or_else(|| ApiError::new(ErrorCode::InvalidCredentials, "a bearer token is needed"))
}

/// The caller of a gRPC request, by its headers.
///
/// # Errors
/// As [`authenticate`]; [`ErrorCode::RateLimited`].
pub async fn caller_calling(app: &App, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let caller = authenticate(app, bearer(headers)?).await?;
    app.throttle.calls_of(caller.account)?;
    let reader = headers.get(READER_KEY).and_then(|reader| hex::decode(reader.as_bytes()).ok()?.try_into().ok());
    Ok(Caller { reader: reader.unwrap_or_default(), ..caller })
}

/// The caller of a gRPC request.
///
/// # Errors
/// As [`caller_calling`].
pub async fn caller_of<T>(app: &App, request: &tonic::Request<T>) -> Result<Caller, ApiError> {
    // The rule of the method has looked already.
    match request.extensions().get::<Caller>() {
        Some(caller) => Ok(caller.clone()),
        None => caller_calling(app, request.metadata().as_ref()).await,
    }
}

/// The machine behind a node's gRPC request, by its headers.
///
/// # Errors
/// As [`authenticate_machine`]; [`ErrorCode::RateLimited`].
pub async fn machine_calling(app: &App, headers: &HeaderMap) -> Result<Machine, ApiError> {
    let machine = authenticate_machine(app, bearer(headers)?).await?;
    app.throttle.machine(machine.id)?;
    Ok(machine)
}

/// The machine behind a node's gRPC request.
///
/// # Errors
/// As [`machine_calling`].
pub async fn machine_of<T>(app: &App, request: &tonic::Request<T>) -> Result<Machine, ApiError> {
    // The rule of the method has looked already.
    match request.extensions().get::<Machine>() {
        Some(machine) => Ok(machine.clone()),
        None => machine_calling(app, request.metadata().as_ref()).await,
    }
}

/// Checks the access token of a person's device or program.
///
/// # Errors
/// [`ErrorCode::TokenExpired`], [`ErrorCode::InvalidCredentials`] (also for a revoked session), [`ErrorCode::PermissionDenied`] for a
/// disabled account, a machine's token, or one of another service.
pub async fn authenticate(app: &App, token: &str) -> Result<Caller, ApiError> {
    of_claims(app, app.tokens.jwt.check(token)?).await
}

async fn of_claims(app: &App, claims: Claims) -> Result<Caller, ApiError> {
    match (claims.user_type, claims.sid.clone()) {
        (UserType::Node, _) => Err(ApiError::denied("this is a storage node's token")),
        (UserType::User | UserType::ApiKey, Some(session)) => with_session(app, claims, &session).await,
        (UserType::User, None) => {
            Err(ApiError::denied("this needs a login here; another service's token does not suffice"))
        }
        (UserType::ApiKey, None) => Err(refused()),
    }
}

async fn with_session(app: &App, claims: Claims, session: &str) -> Result<Caller, ApiError> {
    let session: SessionId = id(session)?;
    let account: AccountId = id(&claims.sub)?;
    let known = match app.sessions.get(session) {
        Some(known) => known,
        None => look_up(app, session).await?,
    };
    if known.account != account || known.user_type != claims.user_type {
        return Err(refused());
    }
    let Claims { permissions, exp, .. } = claims;
    Ok(Caller {
        account,
        session,
        session_key: known.public_key,
        user_type: known.user_type,
        role: known.role,
        scope: known.scope,
        permissions,
        expires_at: exp,
        reader: [0; 16],
    })
}

/// Longest life that the token of another service may have left, in seconds. Nobody here can end it sooner.
const SIBLING_LIFE_MAX: u64 = 24 * 3600;

/// Checks an access token that only has to say whose account it is about: one with a session, or one of a service that shares the secret.
///
/// # Errors
/// As [`authenticate`]; of another service's token also [`ErrorCode::InvalidCredentials`] if it names no account, or lives too long.
pub async fn authenticate_member(app: &App, token: &str) -> Result<Member, ApiError> {
    let claims = app.tokens.jwt.check(token)?;
    if claims.user_type != UserType::User || claims.sid.is_some() {
        return Ok(of_claims(app, claims).await?.into());
    }
    if claims.exp.saturating_sub(now_seconds()) > SIBLING_LIFE_MAX {
        let text = "an access token without a session must end within 24 hours";
        return Err(ApiError::new(ErrorCode::InvalidCredentials, text));
    }
    let account: AccountId = id(&claims.sub)?;
    let mut tx = app.db.read().await?;
    let disabled: Option<i64> = sqlx::query_scalar("SELECT disabled FROM account WHERE id = $1 AND verified <> 0")
        .bind(account.to_vec())
        .fetch_optional(&mut *tx)
        .await?;
    match disabled {
        None => Err(refused()),
        Some(0) => {
            Ok(Member { account, user_type: claims.user_type, scope: Scope::Account, permissions: claims.permissions })
        }
        Some(_) => Err(ApiError::denied("this account is disabled")),
    }
}

async fn look_up(app: &App, session: SessionId) -> Result<Known, ApiError> {
    let mark = app.sessions.mark();
    let mut tx = app.db.read().await?;
    let row = sqlx::query(
        "SELECT s.account, s.public_key, s.revoked_ns, a.disabled, a.role, s.api_key, k.bucket FROM session s \
         JOIN account a ON a.id = s.account LEFT JOIN api_key k ON k.id = s.api_key WHERE s.id = $1",
    )
    .bind(session.to_vec())
    .fetch_optional(&mut *tx)
    .await?;
    drop(tx);
    let Some(row) = row else { return Err(refused()) };
    if row.try_get::<Option<i64>, _>(2)?.is_some() {
        return Err(ApiError::new(ErrorCode::InvalidCredentials, "this session was logged out or revoked"));
    }
    if row.try_get::<i64, _>(3)? != 0 {
        return Err(ApiError::denied("this account is disabled"));
    }
    let scope = match row.try_get::<Option<Vec<u8>>, _>(6)? {
        Some(_) => Scope::Bucket(column_id(&row, 6)?),
        None => Scope::Account,
    };
    let is_program = row.try_get::<Option<Vec<u8>>, _>(5)?.is_some();
    let role = row.try_get::<String, _>(4)?.parse().map_err(|_| DbError::Corrupt("a role that does not exist"))?;
    let known = Known {
        account: column_id(&row, 0)?,
        public_key: column_array(&row, 1)?,
        user_type: if is_program { UserType::ApiKey } else { UserType::User },
        role,
        scope,
    };
    if app.db.backend() == Backend::Sqlite {
        app.sessions.put(session, known, mark);
    }
    Ok(known)
}

/// Checks the access token of a storage node's machine.
///
/// # Errors
/// As [`authenticate`].
pub async fn authenticate_machine(app: &App, token: &str) -> Result<Machine, ApiError> {
    let claims = app.tokens.jwt.check(token)?;
    if claims.user_type != UserType::Node {
        return Err(ApiError::denied("a storage node's token is needed"));
    }
    let machine: MachineId = id(&claims.sub)?;
    let mut tx = app.db.read().await?;
    let row = sqlx::query(
        "SELECT m.owner, a.disabled FROM machine m LEFT JOIN account a ON a.id = m.owner WHERE m.id = $1 AND m.revoked_ns IS NULL",
    )
    .bind(machine.to_vec())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Err(refused()) };
    if row.try_get::<Option<i64>, _>(1)?.is_some_and(|disabled| disabled != 0) {
        return Err(ApiError::denied("the account of this machine is disabled"));
    }
    let owner = row.try_get::<Option<Vec<u8>>, _>(0)?;
    let owner = owner.map(|bytes| AccountId::try_from(&bytes[..])).transpose();
    Ok(Machine { id: machine, owner: owner.map_err(|_| DbError::Corrupt("owner of a machine"))? })
}

fn refused() -> ApiError {
    ApiError::new(ErrorCode::InvalidCredentials, "the access token is not valid")
}

fn id<T: FromStr>(text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|_| refused())
}

/// An id in a row.
///
/// # Errors
/// [`DbError::Corrupt`] if it has a wrong length.
pub(crate) fn column_id<T>(row: &sqlx::any::AnyRow, index: usize) -> Result<T, DbError>
where
    T: for<'a> TryFrom<&'a [u8]>,
{
    let bytes: Vec<u8> = row.try_get(index)?;
    T::try_from(&bytes[..]).map_err(|_| DbError::Corrupt("an id of a wrong length"))
}

/// Bytes of a fixed length in a row.
///
/// # Errors
/// [`DbError::Corrupt`] if they have a wrong length.
pub(crate) fn column_array<const N: usize>(row: &sqlx::any::AnyRow, index: usize) -> Result<[u8; N], DbError> {
    let bytes: Vec<u8> = row.try_get(index)?;
    bytes.try_into().map_err(|_| DbError::Corrupt("bytes of a wrong length"))
}

/// What is remembered of a good session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    account: AccountId,
    public_key: [u8; 32],
    user_type: UserType,
    role: Role,
    scope: Scope,
}

/// Most sessions that are remembered.
const KNOWN_MAX: usize = 100_000;

/// Good sessions that were seen before. Whoever revokes a session forgets it here after the commit and before the answer: see
/// [`write_and_forget`].
pub struct Sessions {
    known: Mutex<HashMap<SessionId, Known>>,
    /// Counts revocations: a lookup that began before one must not be remembered after it.
    count: AtomicU64,
    /// Whose sessions were revoked: streams of the account look at their session again.
    revocations: broadcast::Sender<AccountId>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { known: Mutex::default(), count: AtomicU64::new(0), revocations: broadcast::Sender::new(REVOCATIONS_MAX) }
    }
}

impl Sessions {
    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Known>> {
        // The map is consistent after any panic: every change of it is one call.
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn get(&self, session: SessionId) -> Option<Known> {
        self.locked().get(&session).copied()
    }

    fn mark(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Hears of every revocation: whoever serves a stream of the account then authenticates its token again.
    #[must_use]
    pub fn revocations(&self) -> Revocations {
        Revocations::new(self.revocations.subscribe())
    }

    fn put(&self, session: SessionId, known: Known, mark: u64) {
        let mut map = self.locked();
        if self.mark() != mark {
            return;
        }
        if map.len() >= KNOWN_MAX {
            map.clear();
        }
        map.insert(session, known);
    }

    /// Forgets one session of an account.
    pub fn forget(&self, account: AccountId, session: SessionId) {
        let mut map = self.locked();
        map.remove(&session);
        self.tell(account);
    }

    fn tell(&self, account: AccountId) {
        self.count.fetch_add(1, Ordering::SeqCst);
        // Nobody may be listening.
        let _ = self.revocations.send(account);
    }

    /// Forgets all sessions of an account.
    pub fn forget_account(&self, account: AccountId) {
        let mut map = self.locked();
        map.retain(|_, known| known.account != account);
        self.tell(account);
    }
}

/// Runs a job that may revoke sessions, and then has them forgotten. Both are done even if the caller stops waiting, as a handler does whose
/// client hangs up: the job would be done all the same, and what it revoked would go on here.
///
/// # Errors
/// As [`crate::db::Db::write`].
pub(crate) async fn write_and_forget<T, E, F>(
    app: &AppState,
    forget: impl FnOnce(&Sessions, &Result<T, E>) + Send + 'static,
    job: F,
) -> Result<T, E>
where
    F: for<'c> Fn(&'c mut Conn) -> BoxFuture<'c, Result<T, E>> + Send + Sync + 'static,
    T: Send + 'static,
    E: From<DbError> + Send + 'static,
{
    let app = Arc::clone(app);
    let both = async move {
        let outcome = app.db.write(job).await;
        forget(&app.sessions, &outcome);
        outcome
    };
    tokio::spawn(both.in_current_span()).await.unwrap_or_else(|_| Err(DbError::Closed.into()))
}

/// Marks a session as revoked and takes away its wrapped key. The caller runs it in [`write_and_forget`].
///
/// # Errors
/// [`DbError`].
pub async fn revoke(connection: &mut Conn, session: SessionId) -> Result<(), DbError> {
    sqlx::query("UPDATE session SET revoked_ns = COALESCE(revoked_ns, $2), wrapped_account_key = NULL WHERE id = $1")
        .bind(session.to_vec())
        .bind(now_ns())
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM refresh_token WHERE session = $1")
        .bind(session.to_vec())
        .execute(&mut *connection)
        .await?;
    crate::orders::release_reads_of(connection, session, crate::time::now_seconds()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::ids::Random as _;
    use futures_util::FutureExt as _;

    fn known() -> Known {
        let (user_type, role, scope) = (UserType::User, Role::Basic, Scope::Account);
        Known { account: AccountId::random(), public_key: [1; 32], user_type, role, scope }
    }

    #[test]
    fn a_lookup_that_overlaps_a_revocation_is_not_remembered() {
        let sessions = Sessions::default();
        let session = SessionId::random();
        let mark = sessions.mark();
        sessions.forget(AccountId::random(), session);
        sessions.put(session, known(), mark);
        assert_eq!(sessions.get(session), None);

        let (entry, mark) = (known(), sessions.mark());
        sessions.put(session, entry, mark);
        assert_eq!(sessions.get(session), Some(entry));
        sessions.forget_account(entry.account);
        assert_eq!(sessions.get(session), None);
    }

    #[test]
    fn only_streams_of_the_account_hear_of_a_revocation() {
        let sessions = Sessions::default();
        let [one, other] = [AccountId::random(), AccountId::random()];
        let hear = |revocations: &mut Revocations, account| revocations.of(account).now_or_never().is_some();
        let mut revocations = sessions.revocations();
        sessions.forget(one, SessionId::random());
        assert!(!hear(&mut revocations, other));
        sessions.forget_account(one);
        assert!(hear(&mut revocations, one) && !hear(&mut revocations, one));
        for _ in 0..=REVOCATIONS_MAX {
            sessions.forget_account(one);
        }
        assert!(hear(&mut revocations, other), "some were missed");
    }

    #[test]
    fn only_bearer_tokens_are_taken() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(with("Bearer abc").unwrap(), "abc");
        assert_eq!(with("bearer abc").unwrap(), "abc");
        assert!(with("Basic abc").is_err());
        assert!(with("abc").is_err());
        assert!(bearer(&HeaderMap::new()).is_err());
    }
}
