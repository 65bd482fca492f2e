//! Removes what is over: logins without a code, ended sessions, old counters.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
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
    }
}

pub(super) async fn clean(c: &mut Conn) -> Result<(), DbError> {
    let now = now_ns();
    let ended = now.saturating_sub(nanos(SESSIONS_KEPT));
    sqlx::query("DELETE FROM login WHERE expires_ns < $1").bind(now).execute(&mut *c).await?;
    sqlx::query("DELETE FROM session WHERE expires_ns < $1").bind(ended).execute(&mut *c).await?;
    sqlx::query("DELETE FROM attempt WHERE since_ns < $1")
        .bind(now.saturating_sub(nanos(COUNTERS_KEPT)))
        .execute(c)
        .await?;
    Ok(())
}
