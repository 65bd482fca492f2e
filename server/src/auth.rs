//! Who is calling.
//!
//! A bearer token is a JSON web token; it is good only while its session is. Sessions are looked up in the database, so that a
//! revoked one is refused at once. On SQLite, where this process is the only one that can revoke, what was looked up is
//! remembered until it is revoked here.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Mutex;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, MachineId, SessionId};
use http::HeaderMap;
use sqlx::Row as _;
use tokio::sync::watch;

use crate::app::App;
use crate::db::{Backend, DbError};
use crate::error::ApiError;
use crate::time::now_ns;
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
}

/// What a person's own devices may do.
pub const ALL_PERMISSIONS: [Permission; 2] = [Permission::StorageRead, Permission::StorageWrite];

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
    /// What it may do, as in its token.
    pub permissions: Vec<String>,
    /// End of the token's life, Unix seconds.
    pub expires_at: u64,
}

impl Caller {
    /// Whether it may do something.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.iter().any(|given| given == permission.as_str())
    }

    /// Insists that it may do something.
    ///
    /// # Errors
    /// [`ErrorCode::PermissionDenied`].
    pub fn require(&self, permission: Permission) -> Result<(), ApiError> {
        if self.may(permission) {
            return Ok(());
        }
        Err(ApiError::denied(format!("this token lacks the permission {}", permission.as_str())))
    }
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

/// The caller of a gRPC request.
///
/// # Errors
/// As [`authenticate`].
pub async fn caller_of(app: &App, metadata: &tonic::metadata::MetadataMap) -> Result<Caller, ApiError> {
    authenticate(app, bearer(metadata.as_ref())?).await
}

/// The machine behind a node's gRPC request.
///
/// # Errors
/// As [`authenticate_machine`].
pub async fn machine_of(app: &App, metadata: &tonic::metadata::MetadataMap) -> Result<Machine, ApiError> {
    authenticate_machine(app, bearer(metadata.as_ref())?).await
}

/// Checks the access token of a person's device or program.
///
/// # Errors
/// [`ErrorCode::TokenExpired`], [`ErrorCode::InvalidCredentials`] (also for a revoked session), [`ErrorCode::PermissionDenied`] for a
/// disabled account or a machine's token.
pub async fn authenticate(app: &App, token: &str) -> Result<Caller, ApiError> {
    let claims = app.tokens.jwt.check(token)?;
    if claims.user_type == UserType::Node {
        return Err(ApiError::denied("this is a storage node's token"));
    }
    let session: SessionId = id(claims.sid.as_deref().unwrap_or_default())?;
    let account: AccountId = id(&claims.sub)?;
    let known = match app.sessions.get(session) {
        Some(known) => known,
        None => look_up(app, session).await?,
    };
    if known.account != account {
        return Err(refused());
    }
    Ok(caller(claims, account, session, known.public_key))
}

fn caller(claims: Claims, account: AccountId, session: SessionId, session_key: [u8; 32]) -> Caller {
    let Claims { user_type, permissions, exp, .. } = claims;
    Caller { account, session, session_key, user_type, permissions, expires_at: exp }
}

async fn look_up(app: &App, session: SessionId) -> Result<Known, ApiError> {
    let mark = app.sessions.mark();
    let mut tx = app.db.read().await?;
    let row = sqlx::query(
        "SELECT s.account, s.public_key, s.revoked_ns, a.disabled FROM session s JOIN account a ON a.id = s.account WHERE s.id = $1",
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
    let known = Known { account: column_id(&row, 0)?, public_key: column_array(&row, 1)? };
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
}

/// Most sessions that are remembered.
const KNOWN_MAX: usize = 100_000;

/// Good sessions that were seen before. Whoever revokes a session calls [`Sessions::forget`] after the commit and before the answer.
pub struct Sessions {
    known: Mutex<HashMap<SessionId, Known>>,
    /// Counts revocations: a lookup that began before one must not be remembered after it, and streams look at their session again.
    revocations: watch::Sender<u64>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { known: Mutex::default(), revocations: watch::Sender::new(0) }
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
        *self.revocations.borrow()
    }

    /// Changes with every revocation: whoever serves a stream then authenticates its token again.
    #[must_use]
    pub fn revocations(&self) -> watch::Receiver<u64> {
        self.revocations.subscribe()
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

    /// Forgets one session.
    pub fn forget(&self, session: SessionId) {
        let mut map = self.locked();
        map.remove(&session);
        self.revocations.send_modify(|count| *count += 1);
    }

    /// Forgets all sessions of an account.
    pub fn forget_account(&self, account: AccountId) {
        let mut map = self.locked();
        map.retain(|_, known| known.account != account);
        self.revocations.send_modify(|count| *count += 1);
    }
}

/// Marks a session as revoked and takes away its wrapped key. The caller forgets it in [`Sessions`] after the commit.
///
/// # Errors
/// [`DbError`].
pub async fn revoke(connection: &mut crate::db::Conn, session: SessionId) -> Result<(), DbError> {
    sqlx::query("UPDATE session SET revoked_ns = COALESCE(revoked_ns, $2), wrapped_account_key = NULL WHERE id = $1")
        .bind(session.to_vec())
        .bind(now_ns())
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM refresh_token WHERE session = $1").bind(session.to_vec()).execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::ids::Random as _;

    fn known() -> Known {
        Known { account: AccountId::random(), public_key: [1; 32] }
    }

    #[test]
    fn a_lookup_that_overlaps_a_revocation_is_not_remembered() {
        let sessions = Sessions::default();
        let session = SessionId::random();
        let mark = sessions.mark();
        sessions.forget(session);
        sessions.put(session, known(), mark);
        assert_eq!(sessions.get(session), None);

        let (entry, mark) = (known(), sessions.mark());
        sessions.put(session, entry, mark);
        assert_eq!(sessions.get(session), Some(entry));
        sessions.forget_account(entry.account);
        assert_eq!(sessions.get(session), None);
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
