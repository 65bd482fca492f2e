//! The end of the audit log is locked last: whoever had it and waited for a row would keep everybody waiting, and wait for ever for one who has the
//! row and waits for the log.

use super::*;
use crate::accounts::closing;
use crate::accounts::sessions::refresh;

/// Begins a call while somebody else has the end of the log, and finds these rows locked when it waits for that.
async fn has_its_rows<T: Send + 'static>(
    test: &TestApp,
    what: &str,
    rows: &[&str],
    call: impl Future<Output = T> + Send + 'static,
) -> T {
    let (mut log, mut other) = (test.app.db.connect().await.unwrap(), test.app.db.connect().await.unwrap());
    let mut holding = log.begin().await.unwrap();
    holding.execute("SELECT id FROM audit_head FOR UPDATE").await.unwrap();
    let call = tokio::spawn(call);
    while blocked(&test.app).await < 1 {
        assert!(!call.is_finished(), "{what} writes to the log");
        tokio::task::yield_now().await;
    }
    for row in rows {
        // Whoever only refers to a row does not count.
        let text = format!("SELECT 1 FROM {row} FOR SHARE NOWAIT");
        let found = other.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(text))).await;
        let refused = found.err().and_then(|error| Some(error.as_database_error()?.code()?.into_owned()));
        assert_eq!(refused.as_deref(), Some("55P03"), "{what} waits for the log and has not locked {row}");
    }
    holding.rollback().await.unwrap();
    call.await.unwrap()
}

#[tokio::test]
async fn what_writes_to_the_log_has_locked_its_rows_before() {
    let test = TestApp::new().await;
    if test.app.db.backend() == Backend::Sqlite {
        // Its one writer does one after the other.
        return;
    }
    registered(&test.app).await;
    let keeper = caller(&test.app).await;
    let key = insert_key(&test.app, &keeper).await;
    let caller_of = async |device: &LoggedIn| authenticate(&test.app, &device.access.token).await.unwrap();

    let (app, by) = (test.app.clone(), keeper.clone());
    let revoke = async move { api_keys::revoke(&app, &by, key, HERE).await };
    has_its_rows(&test, "revoking a key", &["api_key"], revoke).await.unwrap();

    let device = log_in(&test.app).await;
    let (app, by, session) = (test.app.clone(), keeper.clone(), device.session);
    let own = format!("session WHERE id = '\\x{}'", hex::encode(session.0));
    let end = async move { devices::end(&app, &by, session, HERE).await };
    has_its_rows(&test, "ending a session", &[&own], end).await.unwrap();

    let device = log_in(&test.app).await;
    let own = format!("session WHERE id = '\\x{}'", hex::encode(device.session.0));
    let (app, by) = (test.app.clone(), caller_of(&device).await);
    let out = async move { logout(&app, &by, HERE).await };
    has_its_rows(&test, "logging out", &[&own], out).await.unwrap();

    let device = log_in(&test.app).await;
    let own = format!("session WHERE id = '\\x{}'", hex::encode(device.session.0));
    let copied = device.refresh_token.clone();
    let mut newest = device.refresh_token;
    for _ in 0..2 {
        newest = refresh(&test.app, &newest, HERE).await.unwrap().refresh_token;
    }
    let app = test.app.clone();
    let again = async move { refresh(&app, &copied, HERE).await };
    assert!(has_its_rows(&test, "a copied token", &[&own], again).await.is_err());

    // There are rows to be locked from the first failure on.
    let guess = |app: AppState| async move { login::begin(&app, "ada@example.org", &[9; 32], "test", ELSEWHERE).await };
    assert!(guess(test.app.clone()).await.is_err());
    let guess = guess(test.app.clone());
    assert!(has_its_rows(&test, "a wrong password", &["lockout"], guess).await.is_err());

    let device = log_in(&test.app).await;
    let own = format!("session WHERE id = '\\x{}'", hex::encode(device.session.0));
    let begun = confirm::begin(&test.app, &keeper, &AUTH_KEY, HERE).await.unwrap();
    let waiting = format!("challenge WHERE id = '\\x{}'", hex::encode(begun.id.0));
    let confirmation = Confirmation { id: begun.id, otp: test.app.tokens.codes.mailed(begun.id) };
    let (app, by) = (test.app.clone(), keeper);
    let ask = async move { closing::ask(&app, &by, confirmation, HERE).await };
    has_its_rows(&test, "a confirmed change", &[&waiting, "account", &own], ask).await.unwrap();
}
