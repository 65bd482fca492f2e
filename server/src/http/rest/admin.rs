//! `/api/v1/admin/*`: for administrators.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use cyx_core::ids::AccountId;
use serde::{Deserialize, Serialize};

use super::audit_log::{EntryBody, PageRequest, next};
use super::{Answer, unsigned};
use crate::admin::{self, Change, PAGE_MAX, User};
use crate::app::AppState;
use crate::audit_log;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::http::body::Json;
use crate::http::extract::{ClientIp, Path};
use crate::time::rfc3339;

/// Accounts of a page if nothing else is said.
const PAGE: i64 = 100;

/// An account.
#[derive(Serialize)]
pub struct UserBody {
    id: AccountId,
    username: String,
    email: String,
    verified: bool,
    disabled: bool,
    role: String,
    plan: String,
    limit_bytes: u64,
    used_bytes: u64,
    traffic_limit_bytes: u64,
    created_at: String,
    delete_at: Option<String>,
    sessions: u64,
    api_keys: u64,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            username: user.username,
            email: user.email,
            verified: user.verified,
            disabled: user.disabled,
            role: user.role,
            plan: user.plan,
            limit_bytes: unsigned(user.limit_bytes),
            used_bytes: unsigned(user.used_bytes),
            traffic_limit_bytes: unsigned(user.traffic_limit_bytes),
            created_at: rfc3339(user.created_ns),
            delete_at: user.delete_ns.map(rfc3339),
            sessions: unsigned(user.sessions),
            api_keys: unsigned(user.api_keys),
        }
    }
}

/// Which accounts.
#[derive(Deserialize)]
pub struct UsersRequest {
    #[serde(default)]
    search: String,
    after: Option<String>,
    limit: Option<i64>,
}

/// Answer of `GET /api/v1/admin/users`.
#[derive(Serialize)]
pub struct UsersResponse {
    users: Vec<UserBody>,
    next: Option<AccountId>,
}

/// `GET /api/v1/admin/users`
pub async fn users(
    State(app): State<AppState>,
    request: Result<Query<UsersRequest>, QueryRejection>,
) -> Answer<UsersResponse> {
    let Query(request) = request.map_err(|_| ApiError::invalid("limit is a number"))?;
    let limit = request.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) || request.search.len() > 256 {
        return Err(ApiError::invalid(format!("limit is from 1 to {PAGE_MAX}, search has at most 256 bytes")));
    }
    let after = request.after.map(|after| after.parse()).transpose();
    let after = after.map_err(|_| ApiError::invalid("after is an id"))?;
    let users = admin::users(&app, &request.search, after, limit).await?;
    let is_full = i64::try_from(users.len()).is_ok_and(|count| count >= limit);
    let next = users.last().filter(|_| is_full).map(|user| user.id);
    Ok(axum::Json(UsersResponse { users: users.into_iter().map(UserBody::from).collect(), next }))
}

/// `GET /api/v1/admin/users/{user}`
pub async fn user(State(app): State<AppState>, Path(who): Path<String>) -> Answer<UserBody> {
    Ok(axum::Json(admin::user(&app, &who).await?.into()))
}

/// Body of `PUT /api/v1/admin/users/{user}/plan`.
#[derive(Deserialize)]
pub struct PlanRequest {
    plan: String,
    #[serde(default)]
    limit_bytes: Option<u64>,
    #[serde(default)]
    traffic_limit_bytes: Option<u64>,
}

/// `PUT /api/v1/admin/users/{user}/plan`
pub async fn plan(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Path(who): Path<String>,
    caller: Caller,
    Json(body): Json<PlanRequest>,
) -> Answer<UserBody> {
    let plan = body.plan.parse().map_err(|_| ApiError::invalid("the plans are free, starter, pro and enterprise"))?;
    let change = Change::plan(&app, plan, body.limit_bytes, body.traffic_limit_bytes)?;
    Ok(axum::Json(admin::change(&app, &caller, &who, change, ip).await?.into()))
}

/// Body of `PUT /api/v1/admin/users/{user}/role`.
#[derive(Deserialize)]
pub struct RoleRequest {
    role: String,
}

/// `PUT /api/v1/admin/users/{user}/role`
pub async fn role(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Path(who): Path<String>,
    caller: Caller,
    Json(body): Json<RoleRequest>,
) -> Answer<UserBody> {
    let role = body.role.parse().map_err(|_| ApiError::invalid("the roles are basic, premium and admin"))?;
    Ok(axum::Json(admin::change(&app, &caller, &who, Change::Role(role), ip).await?.into()))
}

/// Body of `PUT /api/v1/admin/users/{user}/disabled`.
#[derive(Deserialize)]
pub struct DisabledRequest {
    disabled: bool,
}

/// `PUT /api/v1/admin/users/{user}/disabled`
pub async fn disabled(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Path(who): Path<String>,
    caller: Caller,
    Json(body): Json<DisabledRequest>,
) -> Answer<UserBody> {
    Ok(axum::Json(admin::change(&app, &caller, &who, Change::Disabled(body.disabled), ip).await?.into()))
}

/// An entry of the audit log, as administrators see it.
#[derive(Serialize)]
pub struct AdminEntryBody {
    subject: String,
    account: Option<AccountId>,
    hash: String,
    #[serde(flatten)]
    entry: EntryBody,
}

/// Answer of `GET /api/v1/admin/audit`.
#[derive(Serialize)]
pub struct AdminEntriesResponse {
    entries: Vec<AdminEntryBody>,
    next: Option<i64>,
}

/// Which entries.
#[derive(Deserialize)]
pub struct AdminAuditRequest {
    account: Option<String>,
    since: Option<i64>,
    after: Option<i64>,
    limit: Option<i64>,
}

/// `GET /api/v1/admin/audit`
pub async fn audit_log(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    request: Result<Query<AdminAuditRequest>, QueryRejection>,
    caller: Caller,
) -> Answer<AdminEntriesResponse> {
    let Query(request) = request.map_err(|_| ApiError::invalid("since, after and limit are numbers"))?;
    let page = PageRequest { since: request.since, after: request.after, limit: request.limit }.page()?;
    let account = match &request.account {
        Some(who) => Some(admin::user(&app, who).await?.id),
        None => None,
    };
    admin::looked(&app, &caller, "audit log", ip).await?;
    let mut tx = app.db.read().await?;
    let entries = match account {
        Some(account) => audit_log::of_account(&mut tx, account, page).await?,
        None => audit_log::all(&mut tx, page).await?,
    };
    let next = next(&entries, page);
    let bodies = entries.into_iter().map(|entry| AdminEntryBody {
        subject: hex::encode(entry.subject),
        account: entry.account,
        hash: hex::encode(&entry.hash),
        entry: entry.into(),
    });
    Ok(axum::Json(AdminEntriesResponse { entries: bodies.collect(), next }))
}

/// Answer of `GET /api/v1/admin/audit/check`.
#[derive(Serialize)]
pub struct CheckResponse {
    intact: bool,
    entries: u64,
    first: i64,
    last: i64,
    head: String,
    broken_at: Option<i64>,
}

/// `GET /api/v1/admin/audit/check`
pub async fn audit_check(State(app): State<AppState>) -> Answer<CheckResponse> {
    let verdict = audit_log::check(&mut *app.db.read().await?).await?;
    Ok(axum::Json(CheckResponse {
        intact: verdict.broken_at.is_none(),
        entries: unsigned(verdict.entries),
        first: verdict.first,
        last: verdict.last,
        head: hex::encode(verdict.head),
        broken_at: verdict.broken_at,
    }))
}
