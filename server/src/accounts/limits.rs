//! Counting of failures and mails in windows of time, in the database: limits hold across processes and restarts.
//!
//! A counter is named by what it counts, for example failed logins of one account. Once it reaches its limit it stays there for a
//! whole window. What is counted exists for unknown accounts just as for known ones.

use std::net::IpAddr;
use std::time::Duration;

use cyx_core::error::ErrorCode;
use sqlx::Row as _;

use crate::db::{Conn, DbError};
use crate::error::ApiError;
use crate::time::{nanos, now_ns};

/// A limit.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    name: &'static str,
    count: i64,
    window: Duration,
}

/// Logins of an account that wait for a code, and codes mailed for it.
pub const LOGIN_CODES: Limit = Limit { name: "login code", count: 30, window: Duration::from_secs(15 * 60) };
/// Recoveries of an account, and changes of its address, that were asked for.
pub const RECOVERIES: Limit = Limit { name: "recovery", count: 5, window: Duration::from_secs(3600) };
/// Recoveries that were asked for from an address.
pub const RECOVERIES_FROM: Limit = Limit { name: "recovery from", count: 50, window: Duration::from_secs(3600) };
/// Exports of an account.
pub const EXPORTS: Limit = Limit { name: "export", count: 10, window: Duration::from_secs(24 * 3600) };
/// Texts for wallets to sign, from an address or for an account.
pub const WALLET_TEXTS: Limit = Limit { name: "wallet text", count: 100, window: Duration::from_secs(15 * 60) };
/// Registration mails to one email address.
pub const REGISTRATION_MAILS: Limit = Limit { name: "registration mail", count: 5, window: Duration::from_secs(3600) };
/// Registrations from an address.
pub const REGISTRATIONS: Limit = Limit { name: "registration", count: 200, window: Duration::from_secs(3600) };
/// Failed attempts with machine keys or enrolment tokens from an address.
pub const FAILED_MACHINES: Limit = Limit { name: "failed machine", count: 30, window: Duration::from_secs(15 * 60) };

/// The name of a counter, which says nothing about whose it is to who reads the database alone.
pub(super) fn key(name: &str, who: &str) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new_derive_key("cyx v1 server counters");
    hasher.update(name.as_bytes()).update(&[0]).update(who.as_bytes());
    hasher.finalize().as_bytes()[..16].to_vec()
}

impl Limit {
    fn key(&self, who: &str) -> Vec<u8> {
        key(self.name, who)
    }

    /// Whether the limit is reached.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn is_reached(&self, connection: &mut Conn, who: &str) -> Result<bool, DbError> {
        Ok(self.pause(connection, who).await?.is_some())
    }

    /// How long it stays reached; `None` if it is not.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn pause(&self, connection: &mut Conn, who: &str) -> Result<Option<Duration>, DbError> {
        let (now, window) = (now_ns(), nanos(self.window));
        let since: Option<i64> =
            sqlx::query_scalar("SELECT since_ns FROM attempt WHERE key = $1 AND since_ns > $2 AND count >= $3")
                .bind(self.key(who))
                .bind(now.saturating_sub(window))
                .bind(self.count)
                .fetch_optional(connection)
                .await?;
        let left = since.map(|since| since.saturating_add(window).saturating_sub(now));
        Ok(left.and_then(|left| u64::try_from(left).ok()).map(Duration::from_nanos))
    }

    /// [`ErrorCode::RateLimited`] with the time to wait, if the limit is reached; the inner result is the answer.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn check(&self, connection: &mut Conn, who: &str, text: &str) -> Result<Result<(), ApiError>, DbError> {
        Ok(match self.pause(connection, who).await? {
            Some(pause) => Err(ApiError::new(ErrorCode::RateLimited, text).after(pause)),
            None => Ok(()),
        })
    }

    /// Counts one that is to be allowed; [`ErrorCode::RateLimited`] with the time to wait, if the limit was reached before. It is counted
    /// first: whoever counts at the same moment waits, so that not all of them find room for one.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn take(&self, connection: &mut Conn, who: &str, text: &str) -> Result<Result<(), ApiError>, DbError> {
        let (count, since) = self.add(connection, who).await?;
        if count <= self.count {
            return Ok(Ok(()));
        }
        let left = since.saturating_add(nanos(self.window)).saturating_sub(now_ns());
        let pause = Duration::from_nanos(u64::try_from(left).unwrap_or(0));
        Ok(Err(ApiError::new(ErrorCode::RateLimited, text).after(pause)))
    }

    /// Counts one.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn count(&self, connection: &mut Conn, who: &str) -> Result<(), DbError> {
        self.add(connection, who).await.map(drop)
    }

    /// The new count, and since when. The count that reaches the limit starts the window anew, so that the lock lasts a whole window.
    async fn add(&self, connection: &mut Conn, who: &str) -> Result<(i64, i64), DbError> {
        let now = now_ns();
        let row = sqlx::query(
            "INSERT INTO attempt (key, count, since_ns) VALUES ($1, 1, $2) ON CONFLICT (key) DO UPDATE SET \
             count = CASE WHEN attempt.since_ns > $3 THEN attempt.count + 1 ELSE 1 END, \
             since_ns = CASE WHEN attempt.since_ns > $3 AND attempt.count + 1 <> $4 THEN attempt.since_ns ELSE $2 END \
             RETURNING count, since_ns",
        )
        .bind(self.key(who))
        .bind(now)
        .bind(now.saturating_sub(nanos(self.window)))
        .bind(self.count)
        .fetch_one(connection)
        .await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    /// Forgets what was counted.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn clear(&self, connection: &mut Conn, who: &str) -> Result<(), DbError> {
        sqlx::query("DELETE FROM attempt WHERE key = $1").bind(self.key(who)).execute(connection).await?;
        Ok(())
    }
}

/// How an account is named in counters: by its email address, whether it exists or not.
#[must_use]
pub fn account(email_key: &str) -> String {
    format!("account {email_key}")
}

/// How a network address is named in counters. One household often has a whole IPv6 /64.
#[must_use]
pub fn address(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => format!("address {v4}"),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("address {a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::TestDb;

    const LIMIT: Limit = Limit { name: "test", count: 3, window: Duration::from_secs(900) };

    async fn with<T: Send + 'static>(
        test: &TestDb,
        job: impl for<'c> Fn(&'c mut Conn) -> futures_util::future::BoxFuture<'c, Result<T, DbError>>
        + Send
        + Sync
        + 'static,
    ) -> T {
        test.db.write(job).await.unwrap()
    }

    #[tokio::test]
    async fn a_limit_is_reached_per_name_and_forgotten_when_cleared_or_old() {
        let test = TestDb::new().await;
        for _ in 0..2 {
            with(&test, |c| Box::pin(LIMIT.count(c, "a"))).await;
        }
        assert!(!with(&test, |c| Box::pin(LIMIT.is_reached(c, "a"))).await);
        with(&test, |c| Box::pin(LIMIT.count(c, "a"))).await;
        assert!(with(&test, |c| Box::pin(LIMIT.is_reached(c, "a"))).await);
        assert!(!with(&test, |c| Box::pin(LIMIT.is_reached(c, "b"))).await);
        with(&test, |c| Box::pin(LIMIT.clear(c, "a"))).await;
        assert!(!with(&test, |c| Box::pin(LIMIT.is_reached(c, "a"))).await);

        for _ in 0..3 {
            with(&test, |c| Box::pin(LIMIT.count(c, "a"))).await;
        }
        with(&test, |c| {
            Box::pin(async move {
                sqlx::query("UPDATE attempt SET since_ns = since_ns - 900000000001").execute(c).await?;
                Ok(())
            })
        })
        .await;
        assert!(!with(&test, |c| Box::pin(LIMIT.is_reached(c, "a"))).await);
        with(&test, |c| Box::pin(LIMIT.count(c, "a"))).await;
        assert!(!with(&test, |c| Box::pin(LIMIT.is_reached(c, "a"))).await, "the old count does not come back");
    }

    #[test]
    fn addresses_of_one_household_count_together() {
        let of = |text: &str| address(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
