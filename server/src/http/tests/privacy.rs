//! Everything about an account, and leaving.

use std::collections::BTreeSet;

use cyx_core::ids::AccountId;

use super::grpc::{make_bucket, make_directory, make_named_bucket};
use super::*;

async fn execute(server: &TestServer, text: &'static str) {
    let done = server.running.app.db.write::<(), crate::db::DbError, _>(move |c| {
        Box::pin(async move {
            sqlx::query(text).execute(c).await?;
            Ok(())
        })
    });
    done.await.unwrap();
}

async fn count(server: &TestServer, text: &'static str) -> i64 {
    sqlx::query_scalar(text).fetch_one(&mut *server.running.app.db.read().await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_export_has_everything_of_an_account_but_what_breaks_in() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let bucket = make_bucket(&ada, &session.access).await;
    make_directory(&ada, &session.access, bucket).await;
    ada.program(&session, &["storage:read"], Some(bucket)).await;
    ada.enrol(&session).await;
    let text = ada.get("/api/v1/account/export", &session.access).await.body;
    let lines: Vec<Value> = text.as_str().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0]["export"], &lines[0]["account"]),
        (&json!("cyx account"), &session.verified["account"]["id"])
    );
    let tables: BTreeSet<&str> = lines[1..].iter().map(|line| line["table"].as_str().unwrap()).collect();
    for table in [
        "account",
        "session",
        "api_key",
        "bucket",
        "bucket_member",
        "writer_entry",
        "inode",
        "entry",
        "change",
        "audit",
    ] {
        assert!(tables.contains(table), "no {table} in {tables:?}");
    }
    let account = lines.iter().find(|line| line["table"] == "account").unwrap();
    assert_eq!(
        (&account["row"]["email"], &account["row"]["wrapped_account_key"]),
        (&json!(ada.email), &json!(base64(b"wrapped")))
    );
    for column in ["auth_hash", "totp_enrolment"] {
        assert!(lines.iter().all(|line| line["row"].get(column).is_none()), "{column} left the server");
    }
    for _ in 0..9 {
        assert_eq!(ada.get("/api/v1/account/export", &session.access).await.status, StatusCode::OK);
    }
    assert_eq!(ada.get("/api/v1/account/export", &session.access).await.code(), "RATE_LIMITED");
}

#[tokio::test]
async fn an_account_is_deleted_after_its_grace_and_nothing_says_whose_it_was() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let (grace, kept) = Person::verified(&server, "grace").await;
    let other = ada.log_in().await;
    let bucket = make_bucket(&ada, &session.access).await;
    make_directory(&ada, &session.access, bucket).await;
    let theirs = make_bucket(&grace, &kept.access).await;
    let program = ada.program(&session, &["storage:read"], None).await.text("access_token");

    assert_eq!(ada.send("/api/v1/account/delete/cancel", &session.access, json!({})).await.code(), "NOT_FOUND");
    let confirmed = ada.mailed_confirmation(&session.access).await;
    let planned = ada.send("/api/v1/account/delete", &session.access, confirmed).await;
    let delete_at = planned.body["delete_at"].as_u64().unwrap();
    assert!(delete_at > crate::time::now_seconds() + 6 * 24 * 3600);
    assert_eq!(ada.get("/api/identity", &session.access).await.body["delete_at"], delete_at);
    for gone in [&other.access, &program] {
        assert_eq!(ada.get("/api/identity", gone).await.code(), "INVALID_CREDENTIALS");
    }
    ada.await_letter("Your cyx account will be deleted").await;
    assert_eq!(ada.send("/api/v1/account/delete/cancel", &session.access, json!({})).await.body, json!({}));
    assert_eq!(ada.get("/api/identity", &session.access).await.body["delete_at"], Value::Null);
    crate::accounts::closing::erase_due(&server.running.app).await.unwrap();
    let session = ada.log_in().await;
    ada.send("/api/machines/enrolments", &session.access, json!({"label": "ada's rack"})).await;
    let enrolments = "SELECT CAST(COUNT(*) AS BIGINT) FROM enrolment";
    assert_eq!(count(&server, enrolments).await, 1);

    let confirmed = ada.mailed_confirmation(&session.access).await;
    ada.send("/api/v1/account/delete", &session.access, confirmed).await;
    crate::accounts::closing::erase_due(&server.running.app).await.unwrap();
    assert_eq!(ada.get("/api/identity", &session.access).await.status, StatusCode::OK, "its time has not come");
    execute(&server, "UPDATE account SET delete_ns = 1 WHERE delete_ns IS NOT NULL").await;
    crate::accounts::closing::erase_due(&server.running.app).await.unwrap();
    assert_eq!(ada.get("/api/identity", &session.access).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(ada.begin().await.code(), "INVALID_CREDENTIALS");
    ada.await_letter("Your cyx account is deleted").await;
    let named = "SELECT CAST(COUNT(*) AS BIGINT) FROM account WHERE email LIKE '%ada%' OR username LIKE '%ada%'";
    assert_eq!(count(&server, named).await, 0);
    assert_eq!(count(&server, enrolments).await, 0);
    assert_eq!(count(&server, "SELECT CAST(COUNT(*) AS BIGINT) FROM audit_subject").await, 1);
    assert_eq!(count(&server, "SELECT CAST(COUNT(*) AS BIGINT) FROM bucket_member").await, 1);
    let check = crate::audit_log::check(&mut server.running.app.db.read().await.unwrap()).await.unwrap();
    assert_eq!(check.broken_at, None, "the log still holds");

    // Once its buckets are cleared away the nameless row goes too, and the name is free again.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let settings = crate::tree::Settings::from(&server.running.app.config);
        let app = &server.running.app;
        let now = crate::time::now_ns() + (1 << 60);
        crate::tree::collect::collect(&app.db, &app.changes, settings, now).await.1.unwrap();
        crate::accounts::closing::erase_due(app).await.unwrap();
        if count(&server, "SELECT CAST(COUNT(*) AS BIGINT) FROM account").await == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "the row of the account stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(Person::new(&server, "ada").register("ada").await.status, StatusCode::ACCEPTED);
    let buckets = grace.get("/api/v1/buckets", &kept.access).await.body;
    assert_eq!(buckets["buckets"][0]["id"], theirs.to_string(), "others keep what they have");
}

#[tokio::test]
async fn an_account_whose_time_has_come_does_not_stay() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    make_named_bucket(&ada, &session.access, b"one").await;
    make_named_bucket(&ada, &session.access, b"two").await;
    let confirmed = ada.mailed_confirmation(&session.access).await;
    ada.send("/api/v1/account/delete", &session.access, confirmed).await;
    execute(&server, "UPDATE account SET delete_ns = 1").await;
    execute(&server, "UPDATE bucket SET deleted_ns = 1 WHERE id = (SELECT id FROM bucket ORDER BY id LIMIT 1)").await;
    let late = ada.send("/api/v1/account/delete/cancel", &session.access, json!({})).await;
    assert_eq!((late.status, late.code()), (StatusCode::CONFLICT, "CONFLICT"));
    crate::accounts::closing::erase_due(&server.running.app).await.unwrap();
    assert_eq!(ada.get("/api/identity", &session.access).await.code(), "INVALID_CREDENTIALS");
}

#[tokio::test]
async fn no_bucket_is_left_with_an_erased_account() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let account: AccountId = session.verified["account"]["id"].as_str().unwrap().parse().unwrap();
    let db = &server.running.app.db;
    let backend = db.backend();
    let scrub = || async {
        let job = db.write(move |c| Box::pin(crate::accounts::closing::scrub(c, backend, account)));
        job.await.unwrap()
    };
    execute(&server, "UPDATE account SET delete_ns = 1").await;
    // One that was made after the account's buckets were listed.
    make_bucket(&ada, &session.access).await;
    assert!(!scrub().await, "it is tried again");
    assert_eq!(ada.get("/api/identity", &session.access).await.status, StatusCode::OK);
    execute(&server, "UPDATE bucket SET deleted_ns = 1").await;
    assert!(scrub().await);
    // Whoever makes one after that was let in before, and is refused by this.
    let known = db.write(move |c| Box::pin(crate::accounts::account_key::is_newest(c, backend, account, 0)));
    assert!(!known.await.unwrap());
}
