//! The task that empties the queue.

use std::time::Duration;

use sqlx::Row as _;

use super::Letter;
use crate::app::App;
use crate::db::{Conn, DbError};
use crate::time::{nanos, now_ns};

/// Letters taken at once.
const BATCH: usize = 16;
/// A letter that was taken and neither sent nor returned, because the server died, is taken again after this time.
const CLAIM: Duration = Duration::from_secs(120);
/// How long the queue is left alone when nobody puts anything in.
const IDLE: Duration = Duration::from_secs(10);
/// Longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Sends letters until the server stops.
pub async fn deliver(app: std::sync::Arc<App>) {
    while !app.shutdown.is_cancelled() {
        let more = match deliver_batch(&app).await {
            Ok(sent) => sent == BATCH,
            Err(error) => {
                tracing::error!(%error, "the mail queue cannot be read");
                false
            }
        };
        if more {
            continue;
        }
        tokio::select! {
            () = app.mailer.waiting.notified() => {}
            () = tokio::time::sleep(IDLE) => {}
            () = app.shutdown.cancelled() => {}
        }
    }
}

/// A letter taken from the queue.
struct Taken {
    id: Vec<u8>,
    recipient: String,
    kind: String,
    detail: String,
    attempts: i64,
}

/// Sends what is due. Returns how many letters were taken.
pub(super) async fn deliver_batch(app: &App) -> Result<usize, DbError> {
    let letters: Vec<Taken> = app.db.write::<_, DbError, _>(|c| Box::pin(take(c))).await?;
    let count = letters.len();
    for letter in letters {
        let outcome = send(app, &letter).await;
        if let Err(error) = &outcome {
            metrics::counter!("cyx_mail_failures_total").increment(1);
            tracing::warn!(%error, letter = %letter.kind, attempts = letter.attempts, "a letter was not sent yet");
        }
        let (id, sent, attempts) = (letter.id, outcome.is_ok(), letter.attempts);
        app.db.write::<(), DbError, _>(move |c| Box::pin(settle(c, id.clone(), sent, attempts))).await?;
    }
    Ok(count)
}

async fn take(connection: &mut Conn) -> Result<Vec<Taken>, DbError> {
    let now = now_ns();
    sqlx::query("DELETE FROM mail WHERE expires_ns <= $1").bind(now).execute(&mut *connection).await?;
    // The time is compared outside too: on PostgreSQL two servers may have picked the same rows.
    let rows = sqlx::query(
        "UPDATE mail SET next_ns = $2, attempts = attempts + 1 WHERE next_ns <= $1 AND id IN \
         (SELECT id FROM mail WHERE next_ns <= $1 ORDER BY next_ns LIMIT 16) RETURNING id, recipient, letter, detail, attempts",
    )
    .bind(now)
    .bind(now.saturating_add(nanos(CLAIM)))
    .fetch_all(connection)
    .await?;
    let taken = rows.into_iter().map(|row| {
        Ok(Taken {
            id: row.try_get(0)?,
            recipient: row.try_get(1)?,
            kind: row.try_get(2)?,
            detail: row.try_get(3)?,
            attempts: row.try_get(4)?,
        })
    });
    taken.collect()
}

async fn send(app: &App, taken: &Taken) -> Result<(), super::MailError> {
    let letter = Letter::from_columns(&taken.kind, &taken.detail)
        .ok_or_else(|| super::MailError("a letter of an unknown kind".into()))?;
    let message = letter.write(&app.mailer.sender, &taken.recipient, &app.tokens)?;
    app.mailer.transport.send(&message).await?;
    metrics::counter!("cyx_mails_total").increment(1);
    Ok(())
}

async fn settle(connection: &mut Conn, id: Vec<u8>, sent: bool, attempts: i64) -> Result<(), DbError> {
    if sent {
        sqlx::query("DELETE FROM mail WHERE id = $1").bind(id).execute(connection).await?;
        return Ok(());
    }
    let doublings = u32::try_from(attempts.clamp(0, 16)).unwrap_or(0);
    let pause = Duration::from_secs(1 << doublings).min(PAUSE_MAX);
    sqlx::query("UPDATE mail SET next_ns = $2 WHERE id = $1")
        .bind(id)
        .bind(now_ns().saturating_add(nanos(pause)))
        .execute(connection)
        .await?;
    Ok(())
}
