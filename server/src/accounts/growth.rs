//! How accounts grow: what each stored when the server first looked on a day. From this an account foresees when its space will be full.

use cyx_core::ids::AccountId;
use sqlx::Row as _;

use crate::db::{Conn, DbError};

const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;
/// How many days are looked back on, and kept.
const DAYS: i64 = 30;

/// What an account stored at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Bytes.
    pub used_bytes: u64,
    /// Unix nanoseconds.
    pub time_ns: i64,
}

/// Takes down what accounts store, once a day each, and forgets what is old. `now` in Unix nanoseconds.
pub(super) async fn measure(c: &mut Conn, now: i64) -> Result<(), DbError> {
    let today = now.div_euclid(DAY_NS);
    sqlx::query(
        "INSERT INTO storage_day (account, day, time_ns, used_bytes) SELECT id, CAST($1 AS BIGINT), CAST($2 AS BIGINT), used_bytes FROM account a \
         WHERE erased_ns IS NULL AND NOT EXISTS (SELECT 1 FROM storage_day d WHERE d.account = a.id AND d.day = $1) \
         ON CONFLICT (account, day) DO NOTHING",
    )
    .bind(today)
    .bind(now)
    .execute(&mut *c)
    .await?;
    sqlx::query("DELETE FROM storage_day WHERE day < $1").bind(today - DAYS).execute(c).await?;
    Ok(())
}

/// The oldest measure of the last 30 days. An account that is younger had nothing when it began.
pub async fn oldest(c: &mut Conn, account: AccountId, now: i64) -> Result<Option<Measure>, DbError> {
    let created: Option<i64> = sqlx::query_scalar("SELECT created_ns FROM account WHERE id = $1")
        .bind(account.to_vec())
        .fetch_optional(&mut *c)
        .await?;
    if let Some(time_ns) = created.filter(|created| created.saturating_add(DAYS * DAY_NS) > now) {
        return Ok(Some(Measure { used_bytes: 0, time_ns }));
    }
    let row = sqlx::query(
        "SELECT used_bytes, time_ns FROM storage_day WHERE account = $1 AND day >= $2 ORDER BY day LIMIT 1",
    )
    .bind(account.to_vec())
    .bind(now.div_euclid(DAY_NS) - DAYS)
    .fetch_optional(c)
    .await?;
    let measure = |row: sqlx::any::AnyRow| -> Result<Measure, DbError> {
        let used_bytes = u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0);
        Ok(Measure { used_bytes, time_ns: row.try_get(1)? })
    };
    row.map(measure).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::testing::{execute, literal};
    use crate::test_support::TestApp;
    use cyx_core::ids::Random as _;

    const NOW: i64 = 1_800_000_000_000_000_000;

    /// An account that was made so many days before [`NOW`].
    async fn account(test: &TestApp, days: i64) -> AccountId {
        let id = AccountId::random();
        let (row, none) = (literal(test, &id.0), literal(test, &[]));
        let made = NOW - days * DAY_NS;
        let text = format!(
            "INSERT INTO account (id, username, username_key, email, email_key, verified, role, plan, limit_bytes, traffic_limit_bytes, \
             salt, memory_kib, passes, lanes, auth_hash, wrapped_account_key, recovery_wrapped_account_key, signing_public_key, \
             exchange_public_key, wrapped_private_keys, created_ns) VALUES ({row}, '{id}', '{id}', '{id}', '{id}', 1, 'basic', 'free', \
             1000, 1000, {none}, 1, 1, 1, {none}, {none}, {none}, {none}, {none}, {none}, {made})"
        );
        execute(test, &[text]).await;
        id
    }

    async fn look(test: &TestApp, account: AccountId, used: i64, now: i64) -> Option<Measure> {
        let row = literal(test, &account.0);
        execute(test, &[format!("UPDATE account SET used_bytes = {used} WHERE id = {row}")]).await;
        test.app.db.write::<(), DbError, _>(move |c| Box::pin(measure(c, now))).await.unwrap();
        oldest(&mut test.app.db.read().await.unwrap(), account, now).await.unwrap()
    }

    #[tokio::test]
    async fn the_oldest_look_of_thirty_days_counts_and_there_is_one_a_day() {
        let test = TestApp::new().await;
        let ada = account(&test, 100).await;
        let first = Some(Measure { used_bytes: 10, time_ns: NOW });
        assert_eq!(look(&test, ada, 10, NOW).await, first);
        assert_eq!(look(&test, ada, 20, NOW + 1).await, first, "a second look on the same day changes nothing");
        assert_eq!(look(&test, ada, 30, NOW + 29 * DAY_NS).await, first);
        let later = NOW + 31 * DAY_NS;
        let second = Measure { used_bytes: 30, time_ns: NOW + 29 * DAY_NS };
        assert_eq!(look(&test, ada, 40, later).await, Some(second), "what is older is forgotten");
        let kept: i64 = sqlx::query_scalar("SELECT CAST(COUNT(*) AS BIGINT) FROM storage_day")
            .fetch_one(&mut *test.app.db.read().await.unwrap())
            .await
            .unwrap();
        assert_eq!(kept, 2);
    }

    #[tokio::test]
    async fn a_young_account_began_with_nothing() {
        let test = TestApp::new().await;
        let ada = account(&test, 2).await;
        let began = Some(Measure { used_bytes: 0, time_ns: NOW - 2 * DAY_NS });
        assert_eq!(look(&test, ada, 10, NOW).await, began);
    }
}
