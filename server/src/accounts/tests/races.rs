//! What happens at the same moment: logins while their reason is taken away, and callers that stop waiting.

use cyx_core::ids::{ApiKeyId, Random as _};
use cyx_core::wallet::{WalletAddress, show_signature};
use ed25519_dalek::Signer as _;
use sqlx::{Connection as _, Executor as _};
use tokio::task::JoinHandle;

use super::*;
use crate::accounts::confirm::{self, Confirmation};
use crate::accounts::{api_keys, wallet};
use crate::auth::Caller;
use crate::db::Backend;

/// Where somebody else is: attempts from one address wait for each other.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// What the API key logs in with.
const AUTH: [u8; 32] = [4; 32];

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

/// Takes the reason of a login away between the moment at which the login has looked at it and the one at which it writes its session.
/// Returns what the login gave.
async fn taken_away_meanwhile<T, F>(app: &AppState, login: F, removal: impl FnOnce() -> JoinHandle<()>) -> T
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let mut connection = app.db.connect().await.unwrap();
    let mut holding = connection.begin().await.unwrap();
    // A session refers to its account, so it cannot be written.
    holding.execute("SELECT id FROM account FOR UPDATE").await.unwrap();
    let login = tokio::spawn(login);
    while blocked(app).await < 1 {
        tokio::task::yield_now().await;
    }
    let removal = removal();
    while !removal.is_finished() && blocked(app).await < 2 {
        tokio::task::yield_now().await;
    }
    holding.rollback().await.unwrap();
    removal.await.unwrap();
    login.await.unwrap()
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
    let revoke =
        || tokio::spawn(async move { api_keys::revoke(&app, &caller, key, ELSEWHERE).await.unwrap() });
    let exchanged = taken_away_meanwhile(&test.app, exchange, revoke).await.unwrap();
    let refused = authenticate(&test.app, &exchanged.access.token).await.unwrap_err();
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
    let unlink = || {
        tokio::spawn(async move { wallet::unlink(&app, &caller, address, confirmation, ELSEWHERE).await.unwrap() })
    };
    let logged_in = taken_away_meanwhile(&test.app, log_in, unlink).await.unwrap();
    let refused = authenticate(&test.app, &logged_in.access.token).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidCredentials);
}
