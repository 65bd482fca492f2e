//! `/api/v1/audit`: what happened to the caller's account.

use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use super::Answer;
use crate::app::AppState;
use crate::audit_log::{self, Entry, PAGE_MAX, Page};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::time::rfc3339;

/// Entries of a page if nothing else is said.
const PAGE: i64 = 100;

/// Which entries.
#[derive(Deserialize)]
pub struct PageRequest {
    pub(super) since: Option<i64>,
    pub(super) after: Option<i64>,
    pub(super) limit: Option<i64>,
}

impl PageRequest {
    pub(super) fn page(&self) -> Result<Page, ApiError> {
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(ApiError::invalid(format!("limit is from 1 to {PAGE_MAX}")));
        }
        let since_ns = self.since.unwrap_or(0).saturating_mul(1_000_000_000);
        Ok(Page { since_ns, after: self.after.unwrap_or(0), limit })
    }
}

/// An entry of the audit log.
#[derive(Serialize)]
pub struct EntryBody {
    seq: i64,
    time: String,
    actor: String,
    action: String,
    outcome: String,
    address: String,
    detail: String,
}

impl From<Entry> for EntryBody {
    fn from(entry: Entry) -> Self {
        Self {
            seq: entry.seq,
            time: rfc3339(entry.time_ns),
            actor: entry.actor,
            action: entry.action,
            outcome: entry.outcome,
            address: entry.address,
            detail: entry.detail,
        }
    }
}

/// Answer of `GET /api/v1/audit`.
#[derive(Serialize)]
pub struct EntriesResponse {
    entries: Vec<EntryBody>,
    next: Option<i64>,
}

/// The number to go on after, if there may be more.
pub(super) fn next(entries: &[Entry], page: Page) -> Option<i64> {
    let is_full = i64::try_from(entries.len()).is_ok_and(|count| count >= page.limit);
    entries.last().filter(|_| is_full).map(|entry| entry.seq)
}

/// `GET /api/v1/audit`
pub async fn own(
    State(app): State<AppState>,
    request: Result<Query<PageRequest>, axum::extract::rejection::QueryRejection>,
    caller: Caller,
) -> Answer<EntriesResponse> {
    let Query(request) = request.map_err(|_| ApiError::invalid("since, after and limit are numbers"))?;
    let page = request.page()?;
    let entries = audit_log::of_account(&mut *app.db.read().await?, caller.account, page).await?;
    let next = next(&entries, page);
    Ok(axum::Json(EntriesResponse { entries: entries.into_iter().map(EntryBody::from).collect(), next }))
}
