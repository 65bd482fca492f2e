//! What administrators see and change: accounts with their plans and roles, never their data.
//!
//! Administrators are named in the configuration (`--admin`) and become such with their next login, or are made by another one. Who
//! is one is looked up with every call. Each change is recorded in the audit log of the account it is about.

use std::net::IpAddr;

use cyx_core::error::ErrorCode;
use cyx_core::ids::AccountId;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use crate::accounts::confirm::{Outcome, granted, run_and_forget};
use crate::accounts::plan::Plan;
use crate::accounts::role::Role;
use crate::accounts::rules;
use crate::app::{App, AppState};
use crate::audit_log::{self, Action, Actor, Event};
use crate::auth::{self, Caller, Sessions, column_id};
use crate::db::{Conn, DbError};
use crate::error::ApiError;
use crate::time::now_ns;

/// Most accounts of a page.
pub const PAGE_MAX: i64 = 500;

/// An account as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: AccountId,
    /// User name.
    pub username: String,
    /// Email address.
    pub email: String,
    /// Whether it was ever logged in to.
    pub verified: bool,
    /// Whether logins are refused.
    pub disabled: bool,
    /// Role.
    pub role: String,
    /// Plan.
    pub plan: String,
    /// Bytes that may be stored.
    pub limit_bytes: i64,
    /// Bytes that are.
    pub used_bytes: i64,
    /// Bytes that may be moved in a month.
    pub traffic_limit_bytes: i64,
    /// Unix nanoseconds.
    pub created_ns: i64,
    /// When it will be deleted, Unix nanoseconds.
    pub delete_ns: Option<i64>,
    /// Devices that are logged in.
    pub sessions: i64,
    /// API keys that work.
    pub api_keys: i64,
}

/// `$1` is the present time.
const SELECT: &str = "SELECT a.id, a.username, a.email, a.verified, a.disabled, a.role, a.plan, a.limit_bytes, a.used_bytes, \
     a.traffic_limit_bytes, a.created_ns, a.delete_ns, \
     (SELECT CAST(COUNT(*) AS BIGINT) FROM session s WHERE s.account = a.id AND s.revoked_ns IS NULL AND s.expires_ns > $1 \
      AND s.api_key IS NULL), \
     (SELECT CAST(COUNT(*) AS BIGINT) FROM api_key k WHERE k.account = a.id AND k.revoked_ns IS NULL AND k.expires_ns > $1) \
     FROM account a WHERE a.erased_ns IS NULL";

fn read(row: &AnyRow) -> Result<User, DbError> {
    Ok(User {
        id: column_id(row, 0)?,
        username: row.try_get(1)?,
        email: row.try_get(2)?,
        verified: row.try_get::<i64, _>(3)? != 0,
        disabled: row.try_get::<i64, _>(4)? != 0,
        role: row.try_get(5)?,
        plan: row.try_get(6)?,
        limit_bytes: row.try_get(7)?,
        used_bytes: row.try_get(8)?,
        traffic_limit_bytes: row.try_get(9)?,
        created_ns: row.try_get(10)?,
        delete_ns: row.try_get(11)?,
        sessions: row.try_get(12)?,
        api_keys: row.try_get(13)?,
    })
}

/// Accounts by id, after one, whose user name or email address contains a text.
///
/// # Errors
/// [`ErrorCode::Internal`].
pub async fn users(app: &App, search: &str, after: Option<AccountId>, limit: i64) -> Result<Vec<User>, ApiError> {
    let mut tx = app.db.read().await?;
    let text = format!(
        "{SELECT} AND a.id > $2 AND (a.username_key LIKE $3 ESCAPE '!' OR a.email_key LIKE $3 ESCAPE '!') ORDER BY a.id LIMIT $4"
    );
    let escaped = rules::key(search).replace('!', "!!").replace('%', "!%").replace('_', "!_");
    let rows = sqlx::query(AssertSqlSafe(text))
        .bind(now_ns())
        .bind(after.map(AccountId::to_vec).unwrap_or_default())
        .bind(format!("%{escaped}%"))
        .bind(limit.clamp(1, PAGE_MAX))
        .fetch_all(&mut *tx)
        .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// The account with this id, user name or email address.
///
/// # Errors
/// [`ErrorCode::NotFound`].
pub async fn user(app: &App, who: &str) -> Result<User, ApiError> {
    let found = find(&mut *app.db.read().await?, who).await?;
    found.ok_or_else(no_account)
}

fn no_account() -> ApiError {
    ApiError::not_found("there is no such account")
}

async fn find(c: &mut Conn, who: &str) -> Result<Option<User>, DbError> {
    // User names are shorter than ids and have no "@".
    let id = who.parse().map(AccountId::to_vec).unwrap_or_default();
    let text = format!("{SELECT} AND (a.id = $2 OR a.username_key = $3 OR a.email_key = $3)");
    let key = rules::key(who);
    let row = sqlx::query(AssertSqlSafe(text)).bind(now_ns()).bind(id).bind(key).fetch_optional(c).await?;
    row.as_ref().map(read).transpose()
}

/// What is changed of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Its plan, and limits that differ from the plan's.
    Plan {
        /// Plan.
        plan: Plan,
        /// Bytes that may be stored.
        limit_bytes: i64,
        /// Bytes that may be moved in a month.
        traffic_limit_bytes: i64,
    },
    /// Its role.
    Role(Role),
    /// Whether logins are refused. Disabling ends all sessions.
    Disabled(bool),
}

impl Change {
    /// A plan with its own limits, unless others are given.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for limits that are too large to count.
    pub fn plan(app: &App, plan: Plan, limit: Option<u64>, traffic: Option<u64>) -> Result<Self, ApiError> {
        let (storage, moved) = match plan {
            Plan::Free => (app.config.plan_free_bytes, app.config.plan_free_traffic_bytes),
            other => (other.storage_bytes(), other.traffic_bytes()),
        };
        let bytes = |bytes: u64| i64::try_from(bytes).map_err(|_| ApiError::invalid("a limit is too large"));
        let (limit_bytes, traffic_limit_bytes) = (bytes(limit.unwrap_or(storage))?, bytes(traffic.unwrap_or(moved))?);
        Ok(Self::Plan { plan, limit_bytes, traffic_limit_bytes })
    }
}

/// Changes an account. Returns it as it is then.
///
/// # Errors
/// [`ErrorCode::NotFound`]; [`ErrorCode::Conflict`] for taking the last administrator's role, or for disabling oneself.
pub async fn change(app: &AppState, admin: &Caller, who: &str, change: Change, ip: IpAddr) -> Result<User, ApiError> {
    let (by, who) = (admin.account, who.to_owned());
    let forget = |sessions: &Sessions, outcome: &Outcome<User>| {
        if let Ok(Ok(user)) = outcome {
            sessions.forget_account(user.id);
        }
    };
    run_and_forget(app, forget, move |c| {
        let who = who.clone();
        Box::pin(async move { apply(c, by, &who, change, ip).await })
    })
    .await
}

async fn apply(c: &mut Conn, by: AccountId, who: &str, change: Change, ip: IpAddr) -> Outcome<User> {
    let Some(user) = find(c, who).await? else { return Ok(Err(no_account())) };
    let role: Role = user.role.parse().map_err(|_| DbError::Corrupt("a role that does not exist"))?;
    let (action, detail) = match change {
        Change::Plan { plan, limit_bytes, traffic_limit_bytes } => {
            sqlx::query(
                "UPDATE account SET plan = $2, limit_bytes = $3, traffic_limit_bytes = $4, role = $5 WHERE id = $1",
            )
            .bind(user.id.to_vec())
            .bind(plan.as_str())
            .bind(limit_bytes)
            .bind(traffic_limit_bytes)
            .bind(role.with_plan(plan).as_str())
            .execute(&mut *c)
            .await?;
            (Action::PlanChanged, format!("{} to {}, {limit_bytes} bytes", user.plan, plan.as_str()))
        }
        Change::Role(new) => {
            if role == Role::Admin && new != Role::Admin {
                granted!(another_admin(c, user.id).await?);
            }
            sqlx::query("UPDATE account SET role = $2 WHERE id = $1")
                .bind(user.id.to_vec())
                .bind(new.as_str())
                .execute(&mut *c)
                .await?;
            (Action::RoleChanged, format!("{} to {}", role.as_str(), new.as_str()))
        }
        Change::Disabled(disabled) => {
            if disabled && user.id == by {
                return Ok(Err(ApiError::new(ErrorCode::Conflict, "nobody disables their own account")));
            }
            sqlx::query("UPDATE account SET disabled = $2 WHERE id = $1")
                .bind(user.id.to_vec())
                .bind(i64::from(disabled))
                .execute(&mut *c)
                .await?;
            if disabled {
                end_sessions(c, user.id).await?;
            }
            (Action::DisabledChanged, if disabled { "disabled" } else { "enabled" }.to_owned())
        }
    };
    let event = Event::new(Some(user.id), Actor::Admin, action, Some(ip));
    audit_log::record(c, event.with(format!("by {by}: {detail}"))).await?;
    Ok(find(c, &user.id.to_string()).await?.ok_or_else(no_account))
}

/// Insists that somebody else is an administrator too, or nobody could undo it.
async fn another_admin(c: &mut Conn, but: AccountId) -> Outcome<()> {
    let other = sqlx::query("SELECT 1 FROM account WHERE role = 'admin' AND id <> $1 AND disabled = 0")
        .bind(but.to_vec())
        .fetch_optional(c)
        .await?;
    Ok(if other.is_some() { Ok(()) } else { Err(ApiError::new(ErrorCode::Conflict, "this is the last administrator")) })
}

/// Ends all sessions of an account, those of API keys too; the keys work again once the account does.
async fn end_sessions(c: &mut Conn, account: AccountId) -> Result<(), DbError> {
    let rows = sqlx::query("SELECT id FROM session WHERE account = $1 AND revoked_ns IS NULL")
        .bind(account.to_vec())
        .fetch_all(&mut *c)
        .await?;
    for row in rows {
        auth::revoke(c, column_id(&row, 0)?).await?;
    }
    Ok(())
}

/// Records that an administrator read something about others.
///
/// # Errors
/// [`ErrorCode::Internal`].
pub async fn looked(app: &App, admin: &Caller, what: &'static str, ip: IpAddr) -> Result<(), ApiError> {
    let account = admin.account;
    app.db
        .write::<(), ApiError, _>(move |c| {
            Box::pin(async move {
                let event = Event::new(Some(account), Actor::Admin, Action::AdminRead, Some(ip));
                Ok(audit_log::record(c, event.with(what)).await?)
            })
        })
        .await
}
