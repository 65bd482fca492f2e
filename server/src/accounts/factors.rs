//! Second factors: codes by mail, or an authenticator app with backup codes.
//!
//! Everybody begins with codes by mail. An app counts once a code of it was shown; from then on no codes are mailed for logins and
//! confirmations. Each change needs a fresh password and code ([`super::confirm`]) and is told to the owner by a letter.

use std::net::IpAddr;
use std::time::Duration;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, random_bytes};
use sqlx::Row as _;

use super::codes::Method;
use super::confirm::{Asker, Confirmation, Outcome, confirmed, granted, over, run, wrong_code};
use super::guard::Attempt;
use crate::app::App;
use crate::audit_log::{self, Action, Event};
use crate::auth::{Caller, column_array};
use crate::db::{Conn, DbError, insert_many};
use crate::error::ApiError;
use crate::mail::{self, Letter, Notice};
use crate::time::{nanos, now_ns, now_seconds, to_seconds};
use crate::tokens::make_backup_code;

/// How long an app may take to show its first code.
const PENDING: Duration = Duration::from_secs(15 * 60);
/// Backup codes of an account.
const BACKUP_CODES: usize = 10;

/// An account's factors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factors {
    /// Where codes come from.
    pub method: Method,
    /// When the app came into force, Unix nanoseconds.
    pub app_since_ns: Option<i64>,
    /// When a code of it was last taken, Unix nanoseconds.
    pub app_used_ns: Option<i64>,
    /// Backup codes that are left.
    pub backup_codes: i64,
}

/// Reads them.
///
/// # Errors
/// [`ErrorCode::Internal`].
pub async fn list(app: &App, account: AccountId) -> Result<Factors, ApiError> {
    let mut tx = app.db.read().await?;
    let row = sqlx::query(
        "SELECT totp_enrolment, totp_created_ns, totp_used_ns, \
         (SELECT CAST(COUNT(*) AS BIGINT) FROM backup_code b WHERE b.account = account.id) FROM account WHERE id = $1",
    )
    .bind(account.to_vec())
    .fetch_one(&mut *tx)
    .await?;
    let has_app = row.try_get::<Option<Vec<u8>>, _>(0)?.is_some();
    Ok(Factors {
        method: if has_app { Method::Totp } else { Method::Email },
        app_since_ns: row.try_get::<Option<i64>, _>(1)?.filter(|_| has_app),
        app_used_ns: row.try_get::<Option<i64>, _>(2)?.filter(|_| has_app),
        backup_codes: row.try_get(3)?,
    })
}

/// What an app is given.
#[derive(Clone)]
pub struct Enrolment {
    /// Base32, to be typed.
    pub secret: String,
    /// `otpauth://…`, to be scanned.
    pub uri: String,
    /// Until when a code of it must be shown, Unix seconds.
    pub expires_at: u64,
}

/// Draws a secret for an app. It changes nothing until [`confirm_app`].
///
/// # Errors
/// As [`confirmed`].
pub async fn enrol_app(
    app: &App,
    caller: &Caller,
    confirmation: Confirmation,
    ip: IpAddr,
) -> Result<Enrolment, ApiError> {
    let enrolment = random_bytes::<16>();
    confirmed(app, caller, confirmation, ip, move |c, asker| {
        Box::pin(async move {
            let expires_ns = now_ns().saturating_add(nanos(PENDING));
            let row = sqlx::query(
                "UPDATE account SET totp_pending = $2, totp_pending_expires_ns = $3 WHERE id = $1 RETURNING email",
            )
            .bind(asker.account.to_vec())
            .bind(&enrolment[..])
            .bind(expires_ns)
            .fetch_one(c)
            .await?;
            let secret = asker.keys.app_secret(asker.account, &enrolment);
            let label = percent_encode(&row.try_get::<String, _>(0)?);
            let uri =
                format!("otpauth://totp/cyx:{label}?secret={secret}&issuer=cyx&algorithm=SHA1&digits=6&period=30");
            Ok(Ok(Enrolment { secret, uri, expires_at: to_seconds(expires_ns) }))
        })
    })
    .await
}

fn percent_encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// The app's first code: from now on it is what logins ask for. Gives the backup codes, once.
///
/// # Errors
/// [`ErrorCode::OtpInvalid`], [`ErrorCode::OtpExpired`] if there is no enrolment, [`ErrorCode::AccountLocked`].
pub async fn confirm_app(app: &App, caller: &Caller, otp: String, ip: IpAddr) -> Result<Vec<String>, ApiError> {
    let (asker, codes) = (Asker::new(app, caller, ip), make_codes());
    let shown = codes.clone();
    run(app, move |c| {
        let (asker, codes, otp) = (asker.clone(), codes.clone(), otp.clone());
        Box::pin(async move { put_in_force(c, &asker, &codes, &otp).await })
    })
    .await?;
    Ok(shown)
}

async fn put_in_force(c: &mut Conn, asker: &Asker, codes: &[String], otp: &str) -> Outcome<()> {
    let row = sqlx::query("SELECT email_key, totp_pending, totp_pending_expires_ns FROM account WHERE id = $1")
        .bind(asker.account.to_vec())
        .fetch_one(&mut *c)
        .await?;
    let attempt = Attempt::new(&row.try_get::<String, _>(0)?, asker.ip);
    granted!(attempt.check(c).await?);
    let expires_ns = row.try_get::<Option<i64>, _>(2)?.unwrap_or(0);
    if row.try_get::<Option<Vec<u8>>, _>(1)?.is_none() || expires_ns <= now_ns() {
        return Ok(Err(over()));
    }
    let enrolment = column_array(&row, 1)?;
    let Some(step) = asker.keys.app_step(asker.account, &enrolment, otp, now_seconds()) else {
        attempt.failed(c, asker.backend, Some(asker.account)).await?;
        audit_log::record(c, Event::owner(asker.account, Action::TotpEnrolled, asker.ip).refused()).await?;
        return Ok(Err(wrong_code()));
    };
    let now = now_ns();
    sqlx::query(
        "UPDATE account SET totp_enrolment = totp_pending, totp_pending = NULL, totp_pending_expires_ns = NULL, totp_step = $2, \
         totp_created_ns = $3, totp_used_ns = $3 WHERE id = $1",
    )
    .bind(asker.account.to_vec())
    .bind(step)
    .bind(now)
    .execute(&mut *c)
    .await?;
    replace_backup_codes(c, asker, codes).await?;
    changed(c, asker, Action::TotpEnrolled, Notice::AppEnrolled).await?;
    Ok(Ok(()))
}

/// Codes come by mail again.
///
/// # Errors
/// As [`confirmed`]; [`ErrorCode::NotFound`] if there is no app.
pub async fn remove_app(app: &App, caller: &Caller, confirmation: Confirmation, ip: IpAddr) -> Result<(), ApiError> {
    confirmed(app, caller, confirmation, ip, move |c, asker| {
        Box::pin(async move {
            granted!(has_app(c, asker.account).await?);
            forget_app(c, asker.account).await?;
            changed(c, &asker, Action::TotpRemoved, Notice::AppRemoved).await?;
            Ok(Ok(()))
        })
    })
    .await
}

/// Forgets an account's app, enrolment and backup codes.
pub(super) async fn forget_app(c: &mut Conn, account: AccountId) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE account SET totp_enrolment = NULL, totp_pending = NULL, totp_pending_expires_ns = NULL, totp_step = 0, \
         totp_created_ns = NULL, totp_used_ns = NULL WHERE id = $1",
    )
    .bind(account.to_vec())
    .execute(&mut *c)
    .await?;
    sqlx::query("DELETE FROM backup_code WHERE account = $1").bind(account.to_vec()).execute(c).await?;
    Ok(())
}

/// Makes new backup codes; the old ones end.
///
/// # Errors
/// As [`remove_app`].
pub async fn renew_backup_codes(
    app: &App,
    caller: &Caller,
    confirmation: Confirmation,
    ip: IpAddr,
) -> Result<Vec<String>, ApiError> {
    let codes = make_codes();
    let shown = codes.clone();
    confirmed(app, caller, confirmation, ip, move |c, asker| {
        let codes = codes.clone();
        Box::pin(async move {
            granted!(has_app(c, asker.account).await?);
            replace_backup_codes(c, &asker, &codes).await?;
            changed(c, &asker, Action::BackupCodes, Notice::BackupCodes).await?;
            Ok(Ok(()))
        })
    })
    .await?;
    Ok(shown)
}

async fn has_app(c: &mut Conn, account: AccountId) -> Outcome<()> {
    Ok(match super::codes::method(c, account).await? {
        Method::Totp => Ok(()),
        Method::Email => Err(ApiError::new(ErrorCode::NotFound, "there is no authenticator app")),
    })
}

fn make_codes() -> Vec<String> {
    (0..BACKUP_CODES).map(|_| make_backup_code()).collect()
}

async fn replace_backup_codes(c: &mut Conn, asker: &Asker, codes: &[String]) -> Result<(), DbError> {
    sqlx::query("DELETE FROM backup_code WHERE account = $1").bind(asker.account.to_vec()).execute(&mut *c).await?;
    let hashes: Vec<_> = codes.iter().filter_map(|code| asker.keys.backup_hash(asker.account, code)).collect();
    let account = asker.account.to_vec();
    insert_many(c, "INSERT INTO backup_code (account, hash)", 2, "", &hashes, |query, hash| {
        query.bind(account.clone()).bind(hash.to_vec())
    })
    .await?;
    Ok(())
}

async fn changed(c: &mut Conn, asker: &Asker, action: Action, notice: Notice) -> Result<(), DbError> {
    audit_log::record(c, Event::owner(asker.account, action, asker.ip)).await?;
    mail::enqueue_to(c, asker.account, &Letter::Notice { notice, detail: asker.ip.to_string() }).await
}
