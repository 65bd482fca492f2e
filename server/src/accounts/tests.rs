//! Sessions as a state machine, and what is removed when it is over.

mod counters;
mod races;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use cyx_core::auth::StretchParams;
use cyx_core::error::ErrorCode;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::closing;
use super::confirm::{self, Confirmation};
use super::login::{self, LoggedIn};
use super::register::{Password, Registration, register};
use super::sessions::refresh;
use crate::app::{App, AppState};
use crate::auth::authenticate;
use crate::db::{Conn, DbError};
use crate::test_support::TestApp;
use crate::tokens::stored_hash;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const AUTH_KEY: [u8; 32] = [3; 32];

fn signing_key() -> Vec<u8> {
    SigningKey::from_bytes(&[5; 32]).verifying_key().to_bytes().to_vec()
}

async fn registered(app: &App) {
    let registration = Registration {
        username: "ada".into(),
        email: "ada@example.org".into(),
        password: Password {
            salt: vec![1; 16],
            params: StretchParams::DEFAULT,
            auth_hash: stored_hash(&AUTH_KEY),
            wrapped_account_key: vec![1],
        },
        recovery_wrapped_account_key: vec![2],
        signing_public_key: signing_key(),
        exchange_public_key: vec![6; 32],
        wrapped_private_keys: vec![3],
    };
    register(app, registration, HERE).await.unwrap();
}

async fn log_in(app: &App) -> LoggedIn {
    let begun = login::begin(app, "ada@example.org", &AUTH_KEY, "test", HERE).await.unwrap();
    login::verify(app, begun.login, &app.tokens.otp(begun.login), &signing_key(), HERE).await.unwrap()
}

async fn change(app: &App, text: &'static str) {
    let changed: Result<(), DbError> = app
        .db
        .write(move |c: &mut Conn| {
            Box::pin(async move {
                sqlx::query(text).execute(c).await?;
                Ok(())
            })
        })
        .await;
    changed.unwrap();
}

async fn count(app: &App, text: &'static str) -> i64 {
    sqlx::query_scalar(text).fetch_one(&mut *app.db.read().await.unwrap()).await.unwrap()
}

/// What the rules say, without hashes and transactions.
#[derive(Default)]
struct Model {
    /// The newest generation that was given out; `None` once the session ended.
    newest: usize,
    ended: bool,
}

impl Model {
    /// Whether the token of a generation is exchanged; the session's state afterwards.
    fn refresh(&mut self, generation: usize) -> bool {
        if self.ended {
            return false;
        }
        if generation == self.newest {
            self.newest += 1;
            return true;
        }
        if generation + 1 == self.newest {
            return true;
        }
        self.ended = true;
        false
    }
}

proptest! {
    // Each case logs in on a database that all of them share.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn refresh_tokens_rotate_as_the_model_says(back in proptest::collection::vec(0_usize..4, 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let test = TestApp::new().await;
            registered(&test.app).await;
            let logged_in = log_in(&test.app).await;
            let mut tokens = vec![logged_in.refresh_token.clone()];
            let mut model = Model::default();
            for back in back {
                // Mostly the newest token, sometimes one that is some generations old.
                let generation = (tokens.len() - 1).saturating_sub(back.saturating_sub(1));
                let answer = refresh(&test.app, &tokens[generation], HERE).await;
                prop_assert_eq!(answer.is_ok(), model.refresh(generation));
                match answer {
                    Ok(refreshed) => {
                        prop_assert!(authenticate(&test.app, &refreshed.access.token).await.is_ok());
                        let next = generation + 1;
                        if next == tokens.len() {
                            tokens.push(refreshed.refresh_token);
                        } else {
                            prop_assert_eq!(&refreshed.refresh_token, &tokens[next], "a repeated answer is the same");
                        }
                    }
                    Err(error) => prop_assert_eq!(error.code, ErrorCode::InvalidCredentials),
                }
                let access = authenticate(&test.app, &logged_in.access.token).await;
                prop_assert_eq!(access.is_err(), model.ended, "an ended session is refused at once");
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn many_at_once_get_the_same_successor() {
    let test = TestApp::new().await;
    registered(&test.app).await;
    let token = log_in(&test.app).await.refresh_token;
    let answers = futures_util::future::join_all((0..20).map(|_| refresh(&test.app, &token, HERE))).await;
    let mut seen = HashMap::new();
    for answer in answers {
        *seen.entry(answer.unwrap().refresh_token).or_insert(0) += 1;
    }
    assert_eq!(seen.values().copied().collect::<Vec<i32>>(), [20]);
}

#[tokio::test]
async fn one_session_ending_leaves_the_others() {
    let test = TestApp::new().await;
    registered(&test.app).await;
    let (first, second) = (log_in(&test.app).await, log_in(&test.app).await);
    let one = refresh(&test.app, &first.refresh_token, HERE).await.unwrap();
    refresh(&test.app, &one.refresh_token, HERE).await.unwrap();
    assert!(refresh(&test.app, &first.refresh_token, HERE).await.is_err(), "reuse");
    assert!(authenticate(&test.app, &first.access.token).await.is_err());
    assert!(authenticate(&test.app, &second.access.token).await.is_ok());
    refresh(&test.app, &second.refresh_token, HERE).await.unwrap();
}

#[tokio::test]
async fn unknown_and_old_tokens_are_refused() {
    let test = TestApp::new().await;
    registered(&test.app).await;
    let token = log_in(&test.app).await.refresh_token;
    for unknown in ["", "cyxr_00", &token[1..], &token.to_uppercase()] {
        assert_eq!(refresh(&test.app, unknown, HERE).await.err().unwrap().code, ErrorCode::InvalidCredentials);
    }
    change(&test.app, "UPDATE session SET expires_ns = 1").await;
    assert_eq!(refresh(&test.app, &token, HERE).await.err().unwrap().code, ErrorCode::InvalidCredentials);
}

#[tokio::test]
async fn nothing_that_could_be_used_lies_in_the_database() {
    let test = TestApp::new().await;
    registered(&test.app).await;
    let begun = login::begin(&test.app, "ada@example.org", &AUTH_KEY, "test", HERE).await.unwrap();
    let logged_in = log_in(&test.app).await;
    // The letters are still waiting, since nobody delivers them here.
    assert_eq!(count(&test.app, "SELECT CAST(COUNT(*) AS BIGINT) FROM mail").await, 3);
    let mut tx = test.app.db.read().await.unwrap();
    let hashes: Vec<Vec<u8>> = sqlx::query_scalar("SELECT hash FROM refresh_token").fetch_all(&mut *tx).await.unwrap();
    assert_eq!(hashes, [stored_hash(logged_in.refresh_token.as_bytes()).to_vec()]);
    let auth: Vec<u8> = sqlx::query_scalar("SELECT auth_hash FROM account").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(auth, stored_hash(&AUTH_KEY));
    let details: Vec<String> = sqlx::query_scalar("SELECT detail FROM mail").fetch_all(&mut *tx).await.unwrap();
    let code = test.app.tokens.otp(begun.login);
    // By itself: among the digits of ids it is found by chance.
    let mut words = details.iter().flat_map(|detail| detail.split(|c: char| !c.is_ascii_alphanumeric()));
    assert!(words.all(|word| word != code));
}

#[tokio::test]
async fn what_is_over_is_removed_and_what_is_not_stays() {
    let test = TestApp::new().await;
    registered(&test.app).await;
    log_in(&test.app).await;
    login::begin(&test.app, "ada@example.org", &AUTH_KEY, "test", HERE).await.unwrap();
    let clean =
        || async { test.app.db.write::<(), DbError, _>(|c| Box::pin(super::housekeeping::clean(c))).await.unwrap() };
    clean().await;
    let tables = ["login", "session", "refresh_token"];
    let counts = [
        "SELECT CAST(COUNT(*) AS BIGINT) FROM login",
        "SELECT CAST(COUNT(*) AS BIGINT) FROM session",
        "SELECT CAST(COUNT(*) AS BIGINT) FROM refresh_token",
    ];
    for (table, text) in tables.iter().zip(counts) {
        assert_eq!(count(&test.app, text).await, 1, "{table}");
    }
    change(&test.app, "UPDATE login SET expires_ns = 1").await;
    change(&test.app, "UPDATE session SET expires_ns = 1").await;
    change(&test.app, "UPDATE attempt SET since_ns = 1").await;
    clean().await;
    for (table, text) in tables.iter().zip(counts) {
        assert_eq!(count(&test.app, text).await, 0, "{table}");
    }
    assert_eq!(count(&test.app, "SELECT CAST(COUNT(*) AS BIGINT) FROM attempt").await, 0);
    assert_eq!(count(&test.app, "SELECT CAST(COUNT(*) AS BIGINT) FROM account").await, 1);
}

#[tokio::test]
async fn an_account_whose_time_has_come_gets_no_other_time() {
    let test = TestApp::new().await;
    registered(&test.app).await;
    let caller = authenticate(&test.app, &log_in(&test.app).await.access.token).await.unwrap();
    let ask = async || {
        let begun = confirm::begin(&test.app, &caller, &AUTH_KEY, HERE).await.unwrap();
        let confirmation = Confirmation { id: begun.id, otp: test.app.tokens.otp(begun.id) };
        closing::ask(&test.app, &caller, confirmation, HERE).await.unwrap()
    };
    assert!(ask().await > crate::time::now_seconds());
    change(&test.app, "UPDATE account SET delete_ns = 5000000000").await;
    // Its buckets are being deleted: it cannot be kept by asking once more and taking that back.
    assert_eq!(ask().await, 5);
    assert_eq!(closing::cancel(&test.app, &caller, HERE).await.unwrap_err().code, ErrorCode::Conflict);
}
