//! Deleting an account: after a grace period in which its owner can change their mind.
//!
//! Then everything that says who it was goes at once: names, keys, sessions, machines, and the key of its entries in the audit log.
//! Its buckets are deleted and cleared away by the collecting jobs as any other; a nameless row remains until the last of them is
//! gone, because what they take counts against it.

use std::net::IpAddr;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, BucketId, SessionId};
use sqlx::{AssertSqlSafe, Row as _};

use super::confirm::{Confirmation, confirmed_and_forget, run};
use super::password::told;
use super::{api_keys, devices};
use crate::app::{App, AppState};
use crate::audit_log::{self, Action, Actor, Event};
use crate::auth::{Caller, column_id};
use crate::changes::Notice as Changed;
use crate::db::{Backend, Conn, DbError};
use crate::error::ApiError;
use crate::mail::{self, Letter, Notice};
use crate::time::{nanos, now_ns, rfc3339, to_seconds};
use crate::tree::{Actor as TreeActor, Settings, TreeError, Work};

/// Plans the deletion of the caller's account. Its other sessions and all API keys end. Returns when it will be deleted, Unix seconds. One whose
/// time has come gets no other time: some of its buckets may be gone already.
///
/// # Errors
/// As [`confirmed`].
pub async fn ask(app: &AppState, caller: &Caller, confirmation: Confirmation, ip: IpAddr) -> Result<u64, ApiError> {
    let now = now_ns();
    let wanted_ns = now.saturating_add(nanos(app.config.account_grace));
    let delete_ns = confirmed_and_forget(app, caller, confirmation, ip, move |c, asker| {
        Box::pin(async move {
            let text = "UPDATE account SET delete_ns = CASE WHEN delete_ns <= $2 THEN delete_ns ELSE $3 END WHERE id = $1 RETURNING delete_ns";
            let delete_ns: i64 = sqlx::query_scalar(text)
                .bind(asker.account.to_vec())
                .bind(now)
                .bind(wanted_ns)
                .fetch_one(&mut *c)
                .await?;
            devices::end_all(c, asker.account, Some(asker.session)).await?;
            api_keys::revoke_all(c, asker.account).await?;
            let event = Event::owner(asker.account, Action::DeletionAsked, asker.ip);
            audit_log::record(c, event.with(rfc3339(delete_ns))).await?;
            let letter = Letter::Notice { notice: Notice::DeletionPlanned, detail: rfc3339(delete_ns) };
            mail::enqueue_to(c, asker.account, &letter).await?;
            Ok(Ok(delete_ns))
        })
    })
    .await?;
    Ok(to_seconds(delete_ns))
}

/// The caller's account stays. Its time must not have come, or some of its buckets may be gone already.
///
/// # Errors
/// [`ErrorCode::NotFound`] if it is not to be deleted, [`ErrorCode::Conflict`] if it is too late.
pub async fn cancel(app: &App, caller: &Caller, ip: IpAddr) -> Result<(), ApiError> {
    let account = caller.account;
    run(app, move |c| {
        Box::pin(async move {
            let changed = sqlx::query("UPDATE account SET delete_ns = NULL WHERE id = $1 AND delete_ns > $2")
                .bind(account.to_vec())
                .bind(now_ns())
                .execute(&mut *c)
                .await?;
            if changed.rows_affected() == 0 {
                return Ok(Err(too_late_or_never(c, account).await?));
            }
            audit_log::record(c, Event::owner(account, Action::DeletionCancelled, ip)).await?;
            told(c, account, Notice::DeletionCancelled, ip).await?;
            Ok(Ok(()))
        })
    })
    .await
}

/// Why an account cannot stay.
async fn too_late_or_never(c: &mut Conn, account: AccountId) -> Result<ApiError, DbError> {
    let due = sqlx::query("SELECT 1 FROM account WHERE id = $1 AND delete_ns IS NOT NULL")
        .bind(account.to_vec())
        .fetch_optional(c)
        .await?;
    Ok(match due {
        Some(_) => ApiError::new(ErrorCode::Conflict, "the account is being deleted"),
        None => ApiError::not_found("the account is not to be deleted"),
    })
}

/// Erases the accounts whose time has come, and forgets those that nothing hangs on any more. One that cannot be erased keeps no other from it.
///
/// # Errors
/// [`TreeError`]: the first.
pub async fn erase_due(app: &App) -> Result<(), TreeError> {
    let mut tx = app.db.read().await?;
    let rows = sqlx::query("SELECT id FROM account WHERE delete_ns <= $1 AND erased_ns IS NULL ORDER BY delete_ns")
        .bind(now_ns())
        .fetch_all(&mut *tx)
        .await
        .map_err(DbError::from)?;
    drop(tx);
    let mut first = Ok(());
    for row in rows {
        let account = column_id(&row, 0)?;
        let erased = erase(app, account).await;
        if let Err(error) = &erased {
            tracing::warn!(%account, %error, "an account could not be erased; it is tried again");
        }
        first = first.and(erased);
    }
    let forgotten = app.db.write::<(), TreeError, _>(|c| Box::pin(async move { Ok(forget(c).await?) })).await;
    first.and(forgotten)
}

async fn erase(app: &App, account: AccountId) -> Result<(), TreeError> {
    let mut tx = app.db.read().await?;
    let rows = sqlx::query("SELECT id FROM bucket WHERE owner = $1 AND deleted_ns = 0")
        .bind(account.to_vec())
        .fetch_all(&mut *tx)
        .await
        .map_err(DbError::from)?;
    drop(tx);
    for row in rows {
        delete_bucket(app, account, column_id(&row, 0)?).await?;
    }
    let backend = app.db.backend();
    let erased = app
        .db
        .write::<bool, TreeError, _>(move |c| Box::pin(async move { Ok(scrub(c, backend, account).await?) }))
        .await?;
    app.sessions.forget_account(account);
    if erased {
        app.mailer.wake();
        tracing::info!(%account, "an account was erased");
    }
    Ok(())
}

async fn delete_bucket(app: &App, account: AccountId, bucket: BucketId) -> Result<(), TreeError> {
    let (backend, settings) = (app.db.backend(), Settings::from(&app.config));
    let actor = TreeActor { account, session: SessionId([0; 16]) };
    let changes = app
        .db
        .write::<_, TreeError, _>(move |c| {
            Box::pin(async move {
                let mut work = Work::open(c, backend, bucket, actor, settings, now_ns()).await?;
                work.delete_bucket(true).await?;
                Ok(work.finish().await?)
            })
        })
        .await?;
    app.changes.publish_changes(bucket, changes);
    app.changes.publish(Changed::Deleted { bucket });
    Ok(())
}

/// Removes what says who it was. `false` if it is not due, or must be tried again because a bucket was made meanwhile: nobody could delete
/// that one any more.
pub(crate) async fn scrub(c: &mut Conn, backend: Backend, account: AccountId) -> Result<bool, DbError> {
    let now = now_ns();
    // Whoever makes a bucket locks the account first.
    let text = format!(
        "SELECT email FROM account WHERE id = $1 AND delete_ns <= $2 AND erased_ns IS NULL{}",
        backend.for_update()
    );
    let row = sqlx::query(AssertSqlSafe(text)).bind(account.to_vec()).bind(now).fetch_optional(&mut *c).await?;
    let Some(row) = row else { return Ok(false) };
    let left = sqlx::query("SELECT 1 FROM bucket WHERE owner = $1 AND deleted_ns = 0 LIMIT 1")
        .bind(account.to_vec())
        .fetch_optional(&mut *c)
        .await?;
    if left.is_some() {
        return Ok(false);
    }
    let letter = Letter::Notice { notice: Notice::Deleted, detail: rfc3339(now) };
    mail::enqueue(c, &row.try_get::<String, _>(0)?, &letter).await?;
    for text in [
        "DELETE FROM session WHERE account = $1",
        "DELETE FROM login WHERE account = $1",
        "DELETE FROM challenge WHERE account = $1",
        "DELETE FROM api_key WHERE account = $1",
        "DELETE FROM backup_code WHERE account = $1",
        "DELETE FROM wallet WHERE account = $1",
        "DELETE FROM storage_day WHERE account = $1",
        "DELETE FROM machine WHERE owner = $1",
        "DELETE FROM enrolment WHERE owner = $1",
        "DELETE FROM bucket_member WHERE account = $1",
    ] {
        sqlx::query(text).bind(account.to_vec()).execute(&mut *c).await?;
    }
    // No user name has a space and no address has two, so nobody can have registered this.
    let nobody = format!("erased account {account}");
    let none: &[u8] = &[];
    sqlx::query(
        "UPDATE account SET username = $2, username_key = $2, email = $2, email_key = $2, disabled = 1, role = 'basic', salt = $3, \
         auth_hash = $4, wrapped_account_key = $3, recovery_wrapped_account_key = $3, signing_public_key = $4, \
         exchange_public_key = $4, wrapped_private_keys = $3, key_history = NULL, totp_enrolment = NULL, totp_pending = NULL, \
         delete_ns = NULL, erased_ns = $5 WHERE id = $1",
    )
    .bind(account.to_vec())
    .bind(nobody)
    .bind(none)
    .bind(&[0_u8; 32][..])
    .bind(now)
    .execute(&mut *c)
    .await?;
    // The last entry under the account's key, which ends with it.
    audit_log::record(c, Event::new(Some(account), Actor::Server, Action::Erased, None)).await?;
    sqlx::query("DELETE FROM audit_subject WHERE account = $1").bind(account.to_vec()).execute(c).await?;
    Ok(true)
}

/// Removes the rows of erased accounts whose buckets are all gone.
async fn forget(c: &mut Conn) -> Result<(), DbError> {
    sqlx::query(
        "DELETE FROM account WHERE erased_ns IS NOT NULL AND NOT EXISTS (SELECT 1 FROM bucket b WHERE b.owner = account.id) \
         AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.account = account.id) \
         AND NOT EXISTS (SELECT 1 FROM staged s WHERE s.account = account.id)",
    )
    .execute(c)
    .await?;
    Ok(())
}
