//! Removes what is over: logins without a code, ended sessions, old counters; old enrolment tokens; accounts whose owners
//! left.

use std::sync::Arc;
use std::time::Duration;

use super::growth;
use crate::app::App;
use crate::audit_log;
use crate::db::{Conn, DbError};
use crate::time::{nanos, now_ns};

/// A session that ended is shown for this long.
const SESSIONS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// No window of a limit is longer.
const COUNTERS_KEPT: Duration = Duration::from_secs(24 * 3600);
/// How often.
const PERIOD: Duration = Duration::from_secs(600);

/// Runs until the server stops.
pub async fn run(app: Arc<App>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = app.shutdown.cancelled() => return,
        }
        if let Err(error) = app.db.write::<(), DbError, _>(|c| Box::pin(clean(c))).await {
            tracing::error!(%error, "what is over could not be removed");
        }
        if let Err(error) = app.db.write::<(), DbError, _>(|c| Box::pin(growth::measure(c, now_ns()))).await {
            tracing::error!(%error, "what accounts store could not be taken down");
        }
        if let Err(error) = super::closing::erase_due(&app).await {
            tracing::error!(%error, "accounts could not be erased");
        }
        let oldest = now_ns().saturating_sub(nanos(app.config.audit));
        if let Err(error) = app.db.write::<(), DbError, _>(move |c| Box::pin(audit_log::prune(c, oldest))).await {
            tracing::error!(%error, "old rows of the audit log could not be removed");
        }
    }
}

pub(super) async fn clean(c: &mut Conn) -> Result<(), DbError> {
    let now = now_ns();
    let ended = now.saturating_sub(nanos(SESSIONS_KEPT));
    for text in ["DELETE FROM login WHERE expires_ns < $1", "DELETE FROM challenge WHERE expires_ns < $1"] {
        sqlx::query(text).bind(now).execute(&mut *c).await?;
    }
    sqlx::query("DELETE FROM lockout WHERE since_ns < $1 AND until_ns < $1")
        .bind(now.saturating_sub(nanos(super::guard::FORGET)))
        .execute(&mut *c)
        .await?;
    sqlx::query("DELETE FROM enrolment WHERE expires_ns < $1")
        .bind(now.saturating_sub(nanos(super::enrolment::KEPT)))
        .execute(&mut *c)
        .await?;
    sqlx::query("DELETE FROM session WHERE expires_ns < $1").bind(ended).execute(&mut *c).await?;
    sqlx::query("DELETE FROM attempt WHERE since_ns < $1")
        .bind(now.saturating_sub(nanos(COUNTERS_KEPT)))
        .execute(c)
        .await?;
    Ok(())
}
