//! Pauses after failures: who fails five times within 15 minutes waits, and each time in a row twice as long.
//!
//! Accounts and network addresses are counted alike, and accounts that do not exist just like those that do. The owner of a locked
//! account gets a letter; devices that are logged in go on working.

use std::net::IpAddr;
use std::time::Duration;

use cyx_core::error::ErrorCode;
use cyx_core::ids::AccountId;
use sqlx::{AssertSqlSafe, Row as _};

use super::limits;
use crate::audit_log::{self, Action, Event};
use crate::db::{Backend, Conn, DbError};
use crate::error::ApiError;
use crate::mail::{self, Letter, Notice};
use crate::time::{nanos, now_ns};

/// Failures that are allowed in a row.
const FAILURES: i64 = 5;
/// Failures further apart than this are not in a row. Also the first pause.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Most doublings of an account's pause: 4 hours. Somebody else may cause it, so it must not become a way to keep the owner out.
const ACCOUNT_LEVELS: i64 = 4;
/// Most doublings of an address's pause: an hour, since many may share it.
const ADDRESS_LEVELS: i64 = 2;
/// After so much time without a pause, the next one is short again.
pub(super) const FORGET: Duration = Duration::from_secs(24 * 3600);

/// What sqlx calls that backend.
const POSTGRES: &str = "PostgreSQL";
/// A row without failures, if there is none.
const NOTHING_YET: &str = "INSERT INTO lockout (key, failures, since_ns, level, until_ns) VALUES ($1, 0, $2, 0, 0) ON CONFLICT (key) DO NOTHING";

/// Who tries something that needs a secret.
#[derive(Debug, Clone)]
pub struct Attempt {
    account: String,
    address: String,
    ip: IpAddr,
}

/// What a failure led to.
struct Counted {
    locked_now: bool,
}

impl Attempt {
    /// An attempt at the account with this address, which may not exist.
    #[must_use]
    pub fn new(email_key: &str, ip: IpAddr) -> Self {
        Self { account: limits::account(email_key), address: limits::address(ip), ip }
    }

    /// An attempt at something that no account belongs to.
    #[must_use]
    pub fn from_address(ip: IpAddr) -> Self {
        Self { account: String::new(), address: limits::address(ip), ip }
    }

    /// Whether it may be made. The inner result is the answer.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn check(&self, c: &mut Conn) -> Result<Result<(), ApiError>, DbError> {
        take_turn(c, &self.address).await?;
        if let Some(pause) = pause(c, &self.address).await? {
            let text = "too many failed logins from this address; try again later";
            return Ok(Err(ApiError::new(ErrorCode::RateLimited, text).after(pause)));
        }
        if self.account.is_empty() {
            return Ok(Ok(()));
        }
        take_turn(c, &self.account).await?;
        if let Some(pause) = pause(c, &self.account).await? {
            let text = "too many failed logins; this account is locked for a while";
            return Ok(Err(ApiError::new(ErrorCode::AccountLocked, text).after(pause)));
        }
        Ok(Ok(()))
    }

    /// It failed. Locks what failed too often, and tells the account's owner.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn failed(&self, c: &mut Conn, backend: Backend, owner: Option<AccountId>) -> Result<(), DbError> {
        count(c, backend, &self.address, ADDRESS_LEVELS).await?;
        if self.account.is_empty() {
            return Ok(());
        }
        let counted = count(c, backend, &self.account, ACCOUNT_LEVELS).await?;
        let Some(owner) = owner.filter(|_| counted.locked_now) else { return Ok(()) };
        metrics::counter!("cyx_account_lockouts_total").increment(1);
        audit_log::record(c, Event::anyone(Some(owner), Action::Locked, self.ip)).await?;
        mail::enqueue_to(c, owner, &Letter::Notice { notice: Notice::Locked, detail: self.ip.to_string() }).await
    }

    /// It succeeded completely: what the account failed before is forgotten. The address stays counted, or whoever has one
    /// account could try others for ever.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn passed(&self, c: &mut Conn) -> Result<(), DbError> {
        sqlx::query("DELETE FROM lockout WHERE key = $1")
            .bind(limits::key("lockout", &self.account))
            .execute(c)
            .await?;
        Ok(())
    }
}

/// Waits until attempts of the same account or address are over, as they come: otherwise many at the same moment would all be let in
/// before the first was counted. SQLite has one writer, which is turn enough.
async fn take_turn(c: &mut Conn, who: &str) -> Result<(), DbError> {
    if c.backend_name() != POSTGRES {
        return Ok(());
    }
    let key = limits::key("lockout", who);
    sqlx::query(NOTHING_YET).bind(&key[..]).bind(now_ns()).execute(&mut *c).await?;
    sqlx::query("SELECT key FROM lockout WHERE key = $1 FOR UPDATE").bind(&key[..]).execute(c).await?;
    Ok(())
}

/// How long somebody still has to wait.
async fn pause(c: &mut Conn, who: &str) -> Result<Option<Duration>, DbError> {
    let until: Option<i64> = sqlx::query_scalar("SELECT until_ns FROM lockout WHERE key = $1")
        .bind(limits::key("lockout", who))
        .fetch_optional(c)
        .await?;
    let left = until.unwrap_or(0).saturating_sub(now_ns());
    Ok(u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_nanos))
}

async fn count(c: &mut Conn, backend: Backend, who: &str, levels: i64) -> Result<Counted, DbError> {
    let (key, now) = (limits::key("lockout", who), now_ns());
    sqlx::query(NOTHING_YET).bind(&key[..]).bind(now).execute(&mut *c).await?;
    let text =
        format!("SELECT failures, since_ns, level, until_ns FROM lockout WHERE key = $1{}", backend.for_update());
    let row = sqlx::query(AssertSqlSafe(text)).bind(&key[..]).fetch_one(&mut *c).await?;
    let (mut failures, mut since): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let (mut level, mut until): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
    if since.saturating_add(nanos(WINDOW)) <= now {
        (failures, since) = (0, now);
    }
    failures += 1;
    let locked_now = failures >= FAILURES;
    if locked_now {
        level = if until.saturating_add(nanos(FORGET)) < now { 0 } else { (level + 1).min(levels) };
        let pause = nanos(WINDOW).saturating_mul(1 << level);
        (failures, since, until) = (0, now, now.saturating_add(pause));
    }
    sqlx::query("UPDATE lockout SET failures = $2, since_ns = $3, level = $4, until_ns = $5 WHERE key = $1")
        .bind(&key[..])
        .bind(failures)
        .bind(since)
        .bind(level)
        .bind(until)
        .execute(c)
        .await?;
    Ok(Counted { locked_now })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::TestApp;

    async fn fail(test: &TestApp, times: usize) {
        for _ in 0..times {
            let backend = test.app.db.backend();
            let done = test.app.db.write::<(), DbError, _>(move |c| {
                Box::pin(async move {
                    Attempt::new("ada@example.org", IpAddr::from([192, 0, 2, 1])).failed(c, backend, None).await
                })
            });
            done.await.unwrap();
        }
    }

    async fn wait(test: &TestApp) -> Option<u64> {
        let mut tx = test.app.db.read().await.unwrap();
        let pause = pause(&mut tx, &limits::account("ada@example.org")).await.unwrap();
        // Rounded to minutes, so that it does not matter how long the test takes.
        pause.map(|pause| pause.as_secs().div_ceil(60))
    }

    async fn forward(test: &TestApp, by: Duration) {
        let by = nanos(by);
        let done = test.app.db.write::<(), DbError, _>(move |c| {
            Box::pin(async move {
                sqlx::query("UPDATE lockout SET since_ns = since_ns - $1, until_ns = until_ns - $1")
                    .bind(by)
                    .execute(c)
                    .await?;
                Ok(())
            })
        });
        done.await.unwrap();
    }

    #[tokio::test]
    async fn each_pause_in_a_row_is_twice_as_long_up_to_a_limit() {
        let test = TestApp::new().await;
        for minutes in [15, 30, 60, 120, 240, 240] {
            fail(&test, 4).await;
            assert_eq!(wait(&test).await, None);
            fail(&test, 1).await;
            assert_eq!(wait(&test).await, Some(minutes));
            forward(&test, Duration::from_secs(minutes * 60)).await;
        }
        forward(&test, FORGET + WINDOW).await;
        fail(&test, 5).await;
        assert_eq!(wait(&test).await, Some(15), "what is long ago is forgotten");
    }

    #[tokio::test]
    async fn failures_far_apart_lock_nothing() {
        let test = TestApp::new().await;
        for _ in 0..4 {
            fail(&test, 4).await;
            forward(&test, WINDOW).await;
        }
        assert_eq!(wait(&test).await, None);
    }
}
