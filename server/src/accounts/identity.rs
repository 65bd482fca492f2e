//! Who the caller is.

use cyx_core::ids::AccountId;
use sqlx::Row as _;

use crate::app::App;
use crate::error::ApiError;

/// An account as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its id.
    pub id: AccountId,
    /// User name.
    pub username: String,
    /// Email address.
    pub email: String,
    /// Plan.
    pub plan: String,
    /// Role.
    pub role: String,
    /// Bytes that may be stored.
    pub limit_bytes: i64,
    /// Bytes that are.
    pub used_bytes: i64,
    /// Unix nanoseconds.
    pub created_ns: i64,
    /// When it will be deleted, Unix nanoseconds.
    pub delete_ns: Option<i64>,
}

/// Reads it.
///
/// # Errors
/// [`cyx_core::error::ErrorCode::NotFound`] if the account is gone.
pub async fn profile(app: &App, account: AccountId) -> Result<Profile, ApiError> {
    let mut tx = app.db.read().await?;
    let row = sqlx::query(
        "SELECT username, email, plan, role, limit_bytes, used_bytes, created_ns, delete_ns FROM account WHERE id = $1",
    )
    .bind(account.to_vec())
    .fetch_optional(&mut *tx)
    .await?;
    let row = row.ok_or_else(|| ApiError::not_found("this account does not exist any more"))?;
    Ok(Profile {
        id: account,
        username: row.try_get(0)?,
        email: row.try_get(1)?,
        plan: row.try_get(2)?,
        role: row.try_get(3)?,
        limit_bytes: row.try_get(4)?,
        used_bytes: row.try_get(5)?,
        created_ns: row.try_get(6)?,
        delete_ns: row.try_get(7)?,
    })
}
