//! What happens at the same moment: logins while their reason is taken away, and callers that stop waiting.

mod log_order;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cyx_core::ids::{ApiKeyId, Random as _};
use cyx_core::wallet::{WalletAddress, show_signature};
use ed25519_dalek::Signer as _;
use sqlx::{Connection as _, Executor as _};
use tokio::sync::{Notify, Semaphore};

use super::*;
use crate::accounts::confirm::{self, Confirmation};
use crate::accounts::sessions::logout;
use crate::accounts::{api_keys, devices, recovery, wallet};
use crate::auth::Caller;
use crate::db::Backend;

/// Where somebody else is: attempts from one address wait for each other.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// What the API key logs in with.
const AUTH: [u8; 32] = [4; 32];

/// How long a test waits for something that certainly comes.
const PATIENCE: Duration = Duration::from_secs(20);

async fn caller(app: &AppState) -> Caller {
    let token = log_in(app).await.access.token;
    authenticate(app, &token).await.unwrap()
}

async fn insert_key(app: &AppState, caller: &Caller) -> ApiKeyId {
    let (key, account) = (ApiKeyId::random(), caller.account);
    let made: Result<(), DbError> = app
        .db
        .write(move |c: &mut Conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO api_key (id, account, name, permissions, auth_hash, wrapped_keys, created_ns, expires_ns) \
                     VALUES ($1, $2, 'ci', 'storage:read', $3, $3, 1, $4)",
                )
                .bind(key.to_vec())
                .bind(account.to_vec())
                .bind(&stored_hash(&AUTH)[..])
                .bind(i64::MAX)
                .execute(c)
                .await?;
                Ok(())
            })
        })
        .await;
    made.unwrap();
    key
}

/// How many transactions of this test wait for a lock.
async fn blocked(app: &App) -> i64 {
    count(
        app,
        "SELECT CAST(COUNT(*) AS BIGINT) FROM pg_stat_activity \
         WHERE application_name = current_setting('application_name') AND wait_event_type = 'Lock'",
    )
    .await
}

/// Holds a row that both need, until the first waits for it and the second does too or is through.
async fn meeting<A, B>(
    app: &AppState,
    row: &'static str,
    first: impl Future<Output = A> + Send + 'static,
    second: impl Future<Output = B> + Send + 'static,
) -> (A, B)
where
    A: Send + 'static,
    B: Send + 'static,
{
    let mut connection = app.db.connect().await.unwrap();
    let mut holding = connection.begin().await.unwrap();
    holding.execute(row).await.unwrap();
    let first = tokio::spawn(first);
    while blocked(app).await < 1 {
        tokio::task::yield_now().await;
    }
    let second = tokio::spawn(second);
    while !second.is_finished() && blocked(app).await < 2 {
        tokio::task::yield_now().await;
    }
    holding.rollback().await.unwrap();
    (first.await.unwrap(), second.await.unwrap())
}

/// Begins something whose job waits for the writer, and stops waiting for it before the writer comes to it.
async fn begin_and_hang_up<T>(app: &AppState, ending: impl Future<Output = T>) {
    let (busy, free) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let holding = tokio::spawn({
        let (app, busy, free) = (app.clone(), Arc::clone(&busy), Arc::clone(&free));
        async move {
            app.db
                .write::<(), DbError, _>(move |_| {
                    let (busy, free) = (Arc::clone(&busy), Arc::clone(&free));
                    Box::pin(async move {
                        busy.notify_one();
                        let _until_it_may_end = free.acquire().await;
                        Ok(())
                    })
                })
                .await
        }
    });
    busy.notified().await;
    let mut ending = Box::pin(ending);
    while app.db.waiting() == 0 {
        assert!(futures_util::poll!(ending.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    drop(ending);
    free.add_permits(1);
    holding.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_session_is_refused_even_if_who_ended_it_did_not_wait() {
    let test = TestApp::new().await;
    let app = &test.app;
    if app.db.backend() == Backend::Postgres {
        // Every call looks the session up there.
        return;
    }
    registered(app).await;
    let (own, first, second) = (log_in(app).await, log_in(app).await, log_in(app).await);
    let caller = authenticate(app, &own.access.token).await.unwrap();
    for token in [&first.access.token, &second.access.token] {
        authenticate(app, token).await.unwrap();
    }
    begin_and_hang_up(app, devices::end(app, &caller, first.session, HERE)).await;
    await_refusal(app, &first.access.token).await;
    begin_and_hang_up(app, devices::end_others(app, &caller, true, HERE)).await;
    await_refusal(app, &second.access.token).await;
    begin_and_hang_up(app, logout(app, &caller, HERE)).await;
    await_refusal(app, &own.access.token).await;
}

async fn await_refusal(app: &App, token: &str) {
    let deadline = Instant::now() + PATIENCE;
    while authenticate(app, token).await.is_ok() {
        assert!(Instant::now() < deadline, "the session goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_key_that_is_revoked_while_it_is_exchanged_leaves_no_session() {
    let test = TestApp::new().await;
    if test.app.db.backend() == Backend::Sqlite {
        // Its one writer does one after the other.
        return;
    }
    registered(&test.app).await;
    let caller = caller(&test.app).await;
    let key = insert_key(&test.app, &caller).await;
    let app = test.app.clone();
    let exchange = async move { api_keys::exchange(&app, key, &AUTH, &signing_key(), HERE).await };
    let app = test.app.clone();
    let revoke = async move { api_keys::revoke(&app, &caller, key, ELSEWHERE).await };
    // A session refers to its account: the exchange has looked at the key and cannot write its session yet.
    let (exchanged, revoked) = meeting(&test.app, "SELECT id FROM account FOR UPDATE", exchange, revoke).await;
    revoked.unwrap();
    let refused = authenticate(&test.app, &exchanged.unwrap().access.token).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidCredentials);
}

#[tokio::test]
async fn a_wallet_that_is_unlinked_while_it_logs_in_leaves_no_session() {
    let test = TestApp::new().await;
    if test.app.db.backend() == Backend::Sqlite {
        return;
    }
    registered(&test.app).await;
    let caller = caller(&test.app).await;
    let key = SigningKey::from_bytes(&[7; 32]);
    let address = WalletAddress(key.verifying_key().to_bytes());
    let (account, linked) = (caller.account, address.to_string());
    let made: Result<(), DbError> = test
        .app
        .db
        .write(move |c: &mut Conn| {
            let linked = linked.clone();
            Box::pin(async move {
                sqlx::query("INSERT INTO wallet (address, account, created_ns) VALUES ($1, $2, 1)")
                    .bind(linked)
                    .bind(account.to_vec())
                    .execute(c)
                    .await?;
                Ok(())
            })
        })
        .await;
    made.unwrap();
    let offer = wallet::challenge(&test.app, &address.to_string(), HERE).await.unwrap();
    let signature = show_signature(&key.sign(offer.message.as_bytes()).to_bytes());
    let signed = wallet::Signed::parse(&offer.id.to_string(), &signature).unwrap();
    let begun = confirm::begin(&test.app, &caller, &AUTH_KEY, ELSEWHERE).await.unwrap();
    let confirmation = Confirmation { id: begun.id, otp: test.app.tokens.codes.mailed(begun.id) };

    let login = wallet::Login { signed, public_key: signing_key(), device: "a miner".into() };
    let app = test.app.clone();
    let log_in = async move { wallet::log_in(&app, login, HERE).await };
    let app = test.app.clone();
    let unlink = async move { wallet::unlink(&app, &caller, address, confirmation, ELSEWHERE).await };
    // Both write to the log: the login has looked at the link, which is removed before it gets further.
    let (unlinked, logged_in) = meeting(&test.app, "SELECT id FROM audit_head FOR UPDATE", unlink, log_in).await;
    unlinked.unwrap();
    if let Ok(logged_in) = logged_in {
        let refused = authenticate(&test.app, &logged_in.access.token).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidCredentials);
    }
    let left = "SELECT CAST(COUNT(*) AS BIGINT) FROM session WHERE wallet IS NOT NULL AND revoked_ns IS NULL";
    assert_eq!(count(&test.app, left).await, 0);
}

#[tokio::test]
async fn calls_at_the_same_moment_do_not_pass_a_limit_together() {
    let test = TestApp::new().await;
    if test.app.db.backend() == Backend::Sqlite {
        return;
    }
    for _ in 1..5 {
        recovery::begin(&test.app, "ada@example.org", HERE).await.unwrap();
    }
    let ask = |last| {
        let app = test.app.clone();
        async move { recovery::begin(&app, "ada@example.org", IpAddr::from([192, 0, 2, last])).await }
    };
    // One more is allowed: both have come to the counter and none has counted.
    let (first, second) = meeting(&test.app, "SELECT key FROM attempt FOR UPDATE", ask(1), ask(2)).await;
    let refused = [first.err(), second.err()].into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(refused.iter().map(|error| error.code).collect::<Vec<_>>(), [ErrorCode::RateLimited]);
    assert_eq!(count(&test.app, "SELECT CAST(COUNT(*) AS BIGINT) FROM challenge").await, 5);
}
