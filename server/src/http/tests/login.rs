//! Registration, login, tokens.

use super::*;

#[tokio::test]
async fn a_person_registers_logs_in_with_the_mailed_code_and_out_again() {
    let server = TestServer::new().await;
    let person = Person::new(&server, "ada");
    let registered = person.register("ada").await;
    assert_eq!((registered.status, registered.text("message").as_str()), (StatusCode::ACCEPTED, "check your mail"));

    let prelogin = person.post("/api/auth/prelogin", json!({"email": "ADA@example.org"})).await;
    assert_eq!(prelogin.text("salt"), base64(&[7; 16]));
    assert_eq!(prelogin.body["params"]["memory_kib"], 65536);

    let session = person.log_in().await;
    let body = &session.verified;
    assert_eq!(body["wrapped_account_key"], base64(b"wrapped"));
    assert_eq!(body["wrapped_private_keys"], base64(b"private"));
    assert_eq!(body["signing_public_key"], base64(person.key.verifying_key().as_bytes()));
    assert_eq!(body["account"]["username"], "ada");
    assert_eq!(body["incarnation"].as_str().unwrap().len(), 32);

    for path in ["/api/identity", "/api/v1/identity"] {
        let identity = person.get(path, &session.access).await;
        assert_eq!(identity.body, body["account"]);
        assert_eq!(identity.body["quota"]["limit_bytes"], 5_000_000_000_u64);
        assert_eq!(identity.body["permissions"], json!(["storage:read", "storage:write"]));
        assert!(identity.text("created_at").ends_with('Z'));
    }
    let quota = person.get("/api/v1/quota", &session.access).await;
    assert_eq!((&quota.body["plan"], &quota.body["used_bytes"]), (&json!("free"), &json!(0)));
    assert_eq!(person.get("/api/v1/buckets", &session.access).await.body, json!({"buckets": []}));
    assert_eq!(person.get("/api/v1/nodes", &session.access).await.body["nodes"], json!([]));

    let valid = person.post("/api/auth/validate", json!({"token": session.access})).await;
    assert_eq!((&valid.body["valid"], &valid.body["user_type"]), (&json!(true), &json!("user")));
    assert_eq!(valid.body["account_id"], body["account"]["id"]);
    let by_header = person.call(Method::POST, "/api/auth/validate", Some(&session.access), None).await;
    assert_eq!(by_header.body["valid"], true);

    let out = person.call(Method::POST, "/api/auth/logout", Some(&session.access), None).await;
    assert_eq!((out.status, out.body), (StatusCode::OK, json!({})));
    for path in ["/api/identity", "/api/v1/quota", "/api/v1/buckets", "/api/v1/nodes", "/api/auth/device-key"] {
        let refused = person.get(path, &session.access).await;
        assert_eq!((refused.status, refused.code()), (StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS"), "{path}");
    }
    assert_eq!(person.refresh(&session.refresh).await.code(), "INVALID_CREDENTIALS");
    let valid = person.post("/api/auth/validate", json!({"token": session.access})).await;
    assert_eq!(valid.body, json!({"valid": false}));
}

#[tokio::test]
async fn answers_do_not_say_whether_an_address_has_an_account() {
    let server = TestServer::new().await;
    let (ada, _) = Person::verified(&server, "ada").await;
    let nobody = Person::new(&server, "nobody");

    let fake = nobody.post("/api/auth/prelogin", json!({"email": "nobody@example.org"})).await;
    let again = nobody.post("/api/auth/prelogin", json!({"email": "Nobody@example.org"})).await;
    assert_eq!((fake.status, &fake.body), (StatusCode::OK, &again.body));
    let real = ada.post("/api/auth/prelogin", json!({"email": ada.email})).await;
    assert_eq!(
        real.body.as_object().unwrap().keys().collect::<Vec<_>>(),
        fake.body.as_object().unwrap().keys().collect::<Vec<_>>()
    );

    let wrong = Person { auth_key: [1; 32], ..Person::new(&server, "ada") };
    let (known, unknown) = (wrong.begin().await, nobody.begin().await);
    assert_eq!(known.status, unknown.status);
    assert_eq!(known.body["error"]["message"], unknown.body["error"]["message"]);
    assert_eq!((known.code(), unknown.code()), ("INVALID_CREDENTIALS", "INVALID_CREDENTIALS"));

    let letters = ada.letters().len();
    let second = Person { auth_key: [2; 32], ..Person::new(&server, "ada") };
    let answer = second.register("somebody_else").await;
    assert_eq!((answer.status, answer.text("message").as_str()), (StatusCode::ACCEPTED, "check your mail"));
    let deadline = Instant::now() + PATIENCE;
    while ada.letters().len() == letters {
        assert!(Instant::now() < deadline, "the owner was not told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(ada.letters()[letters].contains("already has one"));
    assert_eq!(second.begin().await.code(), "INVALID_CREDENTIALS", "the account was not changed");
    ada.log_in().await;
}

#[tokio::test]
async fn an_account_that_was_never_used_gives_way_and_user_names_are_unique() {
    let server = TestServer::new().await;
    let first = Person { auth_key: [1; 32], ..Person::new(&server, "ada") };
    assert_eq!(first.register("ada").await.status, StatusCode::ACCEPTED);
    let stale_login = first.begin().await.text("session_id");
    let second = Person { auth_key: [2; 32], ..Person::new(&server, "ada") };
    assert_eq!(second.register("ADA").await.status, StatusCode::ACCEPTED);

    assert_eq!(first.begin().await.code(), "INVALID_CREDENTIALS");
    let code = server.running.app.tokens.otp(stale_login.parse().unwrap());
    assert_eq!(
        first.verify(&stale_login, &code).await.code(),
        "OTP_EXPIRED",
        "the login of the replaced account is gone"
    );
    second.log_in().await;

    let other = Person::new(&server, "grace");
    let taken = other.register("Ada").await;
    assert_eq!((taken.status, taken.code()), (StatusCode::CONFLICT, "ALREADY_EXISTS"));
    assert_eq!(other.register("grace").await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn every_bad_field_of_a_registration_is_refused() {
    let server = TestServer::new().await;
    let person = Person::new(&server, "ada");
    let cases = [
        ("username", json!("a"), "INVALID_USERNAME"),
        ("username", json!("with space"), "INVALID_USERNAME"),
        ("email", json!("nowhere"), "INVALID_EMAIL"),
        ("email", json!("a@b\r\nBcc: everybody@example.org"), "INVALID_EMAIL"),
        ("salt", json!(base64(&[0; 15])), "INVALID_ARGUMENT"),
        ("salt", json!("***"), "INVALID_ARGUMENT"),
        ("params", json!({"memory_kib": 8, "passes": 3, "lanes": 1}), "INVALID_ARGUMENT"),
        ("params", json!({"memory_kib": 65536, "passes": 100, "lanes": 1}), "INVALID_ARGUMENT"),
        ("auth_key", json!(base64(&[0; 31])), "INVALID_ARGUMENT"),
        ("wrapped_account_key", json!(""), "INVALID_ARGUMENT"),
        ("wrapped_account_key", json!(base64(&[0; 1025])), "INVALID_ARGUMENT"),
        ("recovery_wrapped_account_key", json!(""), "INVALID_ARGUMENT"),
        ("signing_public_key", json!(base64(&[0; 32])), "INVALID_ARGUMENT"),
        ("exchange_public_key", json!(base64(&[0; 33])), "INVALID_ARGUMENT"),
        ("wrapped_private_keys", json!(base64(&[0; 4097])), "INVALID_ARGUMENT"),
        ("email", json!(5), "INVALID_ARGUMENT"),
    ];
    for (field, value, code) in cases {
        let mut body = person.registration("ada");
        body[field] = value;
        let answer = person.post("/api/auth/register", body).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, code), "{field}: {}", answer.body);
    }
    let mut body = person.registration("ada");
    body.as_object_mut().unwrap().remove("salt");
    let answer = person.post("/api/auth/register", body).await;
    assert_eq!(
        (answer.code(), answer.body["error"]["message"].as_str().unwrap()),
        ("INVALID_ARGUMENT", "the field salt is missing")
    );
    assert!(person.letters().is_empty());
}

#[tokio::test]
async fn five_failures_lock_an_account_wherever_they_come_from() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, _) = Person::verified(&server, "ada").await;
    for (known, froms) in [
        ("ada", ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"]),
        ("nobody", ["192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14", "192.0.2.15"]),
    ] {
        for from in froms {
            let wrong = Person { auth_key: [1; 32], from, ..Person::new(&server, known) };
            assert_eq!(wrong.begin().await.code(), "INVALID_CREDENTIALS");
        }
        let locked = Person { from: "192.0.2.99", ..Person::new(&server, known) }.begin().await;
        assert_eq!((locked.status.as_u16(), locked.code()), (423, "ACCOUNT_LOCKED"), "{known}");
    }
    let (grace, _) = Person::verified(&server, "grace").await;
    grace.log_in().await;
    assert_eq!(ada.begin().await.code(), "ACCOUNT_LOCKED");
}

#[tokio::test]
async fn five_failures_lock_an_address_whichever_account_they_try() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, _) = Person::verified(&server, "ada").await;
    for name in ["n1", "n2", "n3", "n4", "n5"] {
        let stranger = Person { from: "192.0.2.7", ..Person::new(&server, name) };
        assert_eq!(stranger.begin().await.code(), "INVALID_CREDENTIALS");
    }
    let from_there = Person { from: "192.0.2.7", ..Person::new(&server, "ada") };
    let limited = from_there.begin().await;
    assert_eq!((limited.status.as_u16(), limited.code()), (429, "RATE_LIMITED"));
    ada.log_in().await;
}

#[tokio::test]
async fn a_code_can_be_tried_five_times_and_used_once() {
    // Each guess comes from elsewhere, or the address would be locked first.
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, _) = Person::verified(&server, "ada").await;
    let login = ada.begin().await.text("session_id");
    let right = server.running.app.tokens.otp(login.parse().unwrap());
    let wrong = if right == "000000" { "000001" } else { "000000" };
    for from in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"] {
        let guess = Person { from, ..Person::new(&server, "ada") };
        let answer = guess.verify(&login, wrong).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::UNAUTHORIZED, "OTP_INVALID"));
    }
    assert_eq!(ada.verify(&login, &right).await.code(), "OTP_EXPIRED", "the sixth try is refused even if it is right");
    assert_eq!(ada.begin().await.code(), "ACCOUNT_LOCKED", "wrong codes are failed logins");

    let (grace, _) = Person::verified(&server, "grace").await;
    let login = grace.begin().await.text("session_id");
    let code = server.running.app.tokens.otp(login.parse().unwrap());
    assert_eq!(grace.verify(&login, &code).await.status, StatusCode::OK);
    assert_eq!(grace.verify(&login, &code).await.code(), "OTP_EXPIRED");
    assert_eq!(grace.verify("not an id", &code).await.code(), "OTP_EXPIRED");
    assert_eq!(grace.verify(&"0".repeat(32), &code).await.code(), "OTP_EXPIRED");
}

#[tokio::test]
async fn concurrent_guesses_get_no_more_than_five_tries() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, _) = Person::verified(&server, "ada").await;
    let login = ada.begin().await.text("session_id");
    let right = server.running.app.tokens.otp(login.parse().unwrap());
    let wrong = if right == "000000" { "000001" } else { "000000" };
    let froms: Vec<&'static str> = (1..=20).map(|n| &*format!("192.0.2.{n}").leak()).collect();
    let guesses = froms.into_iter().map(|from| {
        let guess = Person { from, ..Person::new(&server, "ada") };
        let login = login.clone();
        async move { guess.verify(&login, wrong).await.code().to_owned() }
    });
    let codes = futures_util::future::join_all(guesses).await;
    assert_eq!(codes.iter().filter(|code| *code == "OTP_INVALID").count(), 5, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| *code == "OTP_EXPIRED").count(), 15, "{codes:?}");
}

#[tokio::test]
async fn an_old_code_and_a_bad_session_key_are_refused() {
    let server = TestServer::new().await;
    let (ada, _) = Person::verified(&server, "ada").await;
    let login = ada.begin().await.text("session_id");
    let code = server.running.app.tokens.otp(login.parse().unwrap());
    let body = json!({"session_id": login, "otp": code, "session_public_key": base64(&[0; 32])});
    assert_eq!(ada.post("/api/auth/login/verify", body).await.code(), "INVALID_ARGUMENT");
    let aged: Result<(), crate::db::DbError> = server
        .running
        .app
        .db
        .write(|c| {
            Box::pin(async move {
                sqlx::query("UPDATE login SET expires_ns = 1").execute(c).await?;
                Ok(())
            })
        })
        .await;
    aged.unwrap();
    assert_eq!(ada.verify(&login, &code).await.code(), "OTP_EXPIRED");
}

#[tokio::test]
async fn a_device_key_is_kept_for_its_session_alone_and_goes_with_it() {
    let server = TestServer::new().await;
    let (ada, first) = Person::verified(&server, "ada").await;
    let second = ada.log_in().await;
    let none = ada.get("/api/auth/device-key", &first.access).await;
    assert_eq!((none.status, none.code()), (StatusCode::NOT_FOUND, "NOT_FOUND"));
    let put = |token: String, key: Vec<u8>| {
        let body = json!({"wrapped_account_key": base64(&key)});
        let ada = &ada;
        async move { ada.call(Method::PUT, "/api/auth/device-key", Some(&token), Some(body)).await }
    };
    assert_eq!(put(first.access.clone(), b"first".to_vec()).await.body, json!({}));
    let kept = ada.get("/api/auth/device-key", &first.access).await;
    assert_eq!(kept.text("wrapped_account_key"), base64(b"first"));
    assert_eq!(kept.text("wrapped_private_keys"), base64(b"private"));
    assert_eq!(ada.get("/api/auth/device-key", &second.access).await.code(), "NOT_FOUND");
    assert_eq!(put(first.access.clone(), Vec::new()).await.code(), "INVALID_ARGUMENT");
    assert_eq!(put(first.access.clone(), vec![0; 1025]).await.code(), "INVALID_ARGUMENT");

    ada.call(Method::POST, "/api/auth/logout", Some(&first.access), None).await;
    assert_eq!(ada.get("/api/identity", &second.access).await.status, StatusCode::OK, "only one session ended");
    let mut tx = server.running.app.db.read().await.unwrap();
    let left: i64 =
        sqlx::query_scalar("SELECT CAST(COUNT(*) AS BIGINT) FROM session WHERE wrapped_account_key IS NOT NULL")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_disabled_account_is_refused_at_every_door() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let app = &server.running.app;
    let disabled: Result<(), crate::db::DbError> = app
        .db
        .write(|c| {
            Box::pin(async move {
                sqlx::query("UPDATE account SET disabled = 1").execute(c).await?;
                Ok(())
            })
        })
        .await;
    disabled.unwrap();
    let account: cyx_core::ids::AccountId = session.verified["account"]["id"].as_str().unwrap().parse().unwrap();
    app.sessions.forget_account(account);
    assert_eq!(ada.get("/api/identity", &session.access).await.code(), "PERMISSION_DENIED");
    assert_eq!(ada.begin().await.code(), "PERMISSION_DENIED");
}

#[tokio::test]
async fn a_session_survives_a_restart_of_the_server() {
    let mut server = TestServer::new().await;
    let (_, session) = Person::verified(&server, "ada").await;
    server = server.restart().await;
    let ada = Person::new(&server, "ada");
    assert_eq!(ada.get("/api/identity", &session.access).await.status, StatusCode::OK);
    assert_eq!(ada.refresh(&session.refresh).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_access_token_ends_and_is_refreshed() {
    let server = TestServer::with(|config| config.access_token = Duration::from_secs(1)).await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ada.get("/api/identity", &session.access).await;
        if answer.code() == "TOKEN_EXPIRED" {
            break;
        }
        assert!(Instant::now() < deadline, "the token never ended");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let refreshed = ada.refresh(&session.refresh).await;
    assert_ne!(refreshed.text("access_token"), session.access);
    assert_ne!(refreshed.text("refresh_token"), session.refresh);
    assert!(refreshed.body["access_expires_at"].as_u64().unwrap() > 1_700_000_000);
}
