//! Limits of which one call needs several.

use super::*;
use crate::accounts::limits::{Limit, REGISTRATION_MAILS};
use crate::accounts::{email, limits, recovery};
use crate::auth::Caller;

/// More calls than the limits of an account and of an address allow in an hour.
const OFTEN: usize = 60;

async fn use_up(app: &App, limit: Limit, email: &'static str) {
    let used: Result<(), DbError> = app
        .db
        .write(move |c: &mut Conn| {
            Box::pin(async move {
                while !limit.is_reached(c, &limits::account(email)).await? {
                    limit.count(c, &limits::account(email)).await?;
                }
                Ok(())
            })
        })
        .await;
    used.unwrap();
}

async fn change_to(app: &AppState, caller: &Caller, new: &str) -> Result<email::Begun, ErrorCode> {
    let begun = confirm::begin(app, caller, &AUTH_KEY, HERE).await.unwrap();
    let confirmation = Confirmation { id: begun.id, otp: app.tokens.codes.mailed(begun.id) };
    email::begin(app, caller, new, confirmation, HERE).await.map_err(|error| error.code)
}

#[tokio::test]
async fn changes_that_the_new_address_refuses_use_up_no_recoveries() {
    let test = TestApp::new().await;
    let app = &test.app;
    registered(app).await;
    let token = log_in(app).await.access.token;
    let caller = authenticate(app, &token).await.unwrap();
    use_up(app, REGISTRATION_MAILS, "new@example.org").await;
    for _ in 0..6 {
        assert_eq!(change_to(app, &caller, "new@example.org").await, Err(ErrorCode::RateLimited));
    }
    for _ in 0..5 {
        recovery::begin(app, "ada@example.org", HERE).await.unwrap();
    }
    // The other way round: what the account is refused does not use up the mails of an address.
    for _ in 0..6 {
        assert_eq!(change_to(app, &caller, "other@example.org").await, Err(ErrorCode::RateLimited));
    }
    let counted = "SELECT CAST(COUNT(*) AS BIGINT) FROM attempt";
    let before = count(app, counted).await;
    use_up(app, REGISTRATION_MAILS, "other@example.org").await;
    assert_eq!(count(app, counted).await, before + 1, "nothing was counted for the address");
}

#[tokio::test]
async fn recoveries_that_an_account_refuses_use_up_no_address() {
    let test = TestApp::new().await;
    for _ in 0..5 {
        recovery::begin(&test.app, "ada@example.org", HERE).await.unwrap();
    }
    for _ in 0..OFTEN {
        let refused = recovery::begin(&test.app, "ada@example.org", HERE).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::RateLimited);
    }
    recovery::begin(&test.app, "eve@example.org", HERE).await.unwrap();
}
