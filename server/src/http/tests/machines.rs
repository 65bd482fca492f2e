//! Machines of storage nodes.

use super::*;

async fn register(person: &Person<'_>, token: &str) -> Answer {
    let body = json!({"hostname": "rack-1", "os": "linux", "hardware": {"cpus": 2, "gpus": 0, "ram_mb": 4096}});
    person.call(Method::POST, "/api/machines/register", Some(token), Some(body)).await
}

#[tokio::test]
async fn a_machine_registers_with_a_persons_or_an_enrolment_token_and_reports() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    for (token, owner) in [(session.access.as_str(), true), ("enrol for tests", false)] {
        let registered = register(&ada, token).await;
        assert_eq!(registered.status, StatusCode::OK, "{}", registered.body);
        let (id, api_key, access) =
            (registered.text("machine_id"), registered.text("api_key"), registered.text("access_token"));
        let machine = crate::auth::authenticate_machine(&server.running.app, &access).await.unwrap();
        assert_eq!((machine.id.to_string(), machine.owner.is_some()), (id.clone(), owner));

        let again = ada.post("/api/machines/token", json!({"machine_id": id, "api_key": api_key})).await;
        let access = again.text("access_token");
        let life = again.body["expires_at"].as_u64().unwrap() - crate::time::now_seconds();
        assert!((86_000..=86_400).contains(&life), "{life}");

        let beat = json!({"address": "192.0.2.1:50051", "version": "1", "load": 0.5});
        let path = format!("/api/machines/{id}/heartbeat");
        let answer = ada.call(Method::POST, &path, Some(&access), Some(beat.clone())).await;
        assert_eq!((answer.status, answer.body), (StatusCode::OK, json!({})));
        let other = format!("/api/machines/{}/heartbeat", "0".repeat(32));
        assert_eq!(ada.call(Method::POST, &other, Some(&access), Some(beat.clone())).await.code(), "PERMISSION_DENIED");
        assert_eq!(ada.call(Method::POST, &path, Some(&session.access), Some(beat)).await.code(), "PERMISSION_DENIED");

        assert_eq!(ada.get("/api/identity", &access).await.code(), "PERMISSION_DENIED", "a node is not a person");
        assert_eq!(register(&ada, &access).await.code(), "PERMISSION_DENIED");
        let valid = ada.post("/api/auth/validate", json!({"token": access})).await;
        assert_eq!((&valid.body["user_type"], &valid.body["account_id"]), (&json!("node"), &json!(id)));
    }
}

#[tokio::test]
async fn wrong_keys_are_refused_and_soon_not_even_looked_at() {
    let server = TestServer::new().await;
    let person = Person::new(&server, "ada");
    let id = register(&person, "enrol for tests").await.text("machine_id");
    for _ in 0..15 {
        assert_eq!(register(&person, "enrol for test").await.code(), "INVALID_CREDENTIALS");
        let body = json!({"machine_id": id, "api_key": "cyxm_wrong"});
        assert_eq!(person.post("/api/machines/token", body).await.code(), "INVALID_CREDENTIALS");
    }
    assert_eq!(register(&person, "enrol for tests").await.code(), "RATE_LIMITED");
    let body = json!({"machine_id": "no id", "api_key": ""});
    assert_eq!(person.post("/api/machines/token", body).await.code(), "INVALID_CREDENTIALS");
}

#[tokio::test]
async fn descriptions_are_bounded() {
    let server = TestServer::new().await;
    let person = Person::new(&server, "ada");
    for (field, value) in
        [("hostname", json!("x".repeat(257))), ("os", json!("x".repeat(257))), ("hardware", json!("x".repeat(5000)))]
    {
        let mut body = json!({"hostname": "h", "os": "o", "hardware": {}});
        body[field] = value;
        let answer = person.call(Method::POST, "/api/machines/register", Some("enrol for tests"), Some(body)).await;
        assert_eq!(answer.code(), "INVALID_ARGUMENT", "{field}");
    }
}

async fn enrol(person: &Person<'_>, session: &Session, body: Value) -> Answer {
    person.call(Method::POST, "/api/machines/enrolments", Some(&session.access), Some(body)).await
}

#[tokio::test]
async fn an_enrolment_token_enrols_one_machine_for_the_account_that_made_it() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let made = enrol(&ada, &session, json!({"label": "rack 1"})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let token = made.text("token");
    let read: cyx_core::enrol::EnrolmentToken = token.parse().unwrap();
    assert_eq!(read.fingerprint().to_string(), made.text("fingerprint"));
    assert!(made.body["expires_at"].as_u64().unwrap() > crate::time::now_seconds() + 80_000);
    assert_eq!(made.body.get("node_port"), None, "this server let the system choose its ports");

    let registered = register(&ada, &token).await;
    assert_eq!(registered.status, StatusCode::OK, "{}", registered.body);
    let app = &server.running.app;
    let machine = crate::auth::authenticate_machine(app, &registered.text("access_token")).await.unwrap();
    let account = ada.get("/api/identity", &session.access).await.text("id");
    assert_eq!(machine.owner.map(|owner| owner.to_string()), Some(account));
    assert_eq!(register(&ada, &token).await.code(), "INVALID_CREDENTIALS", "it is used up");
    let wrong = cyx_core::enrol::EnrolmentToken::make(read.fingerprint()).expose();
    assert_eq!(register(&ada, &wrong).await.code(), "INVALID_CREDENTIALS");

    let listed = ada.get("/api/machines/enrolments", &session.access).await.body;
    assert_eq!(listed["enrolments"][0]["label"], "rack 1");
    assert_eq!(listed["enrolments"][0]["machine_id"], registered.body["machine_id"]);
    assert!(!listed.to_string().contains(&token[38..]));
    let (grace, other) = Person::verified(&server, "grace").await;
    assert_eq!(grace.get("/api/machines/enrolments", &other.access).await.body, json!({"enrolments": []}));
}

#[tokio::test]
async fn a_machine_whose_answer_was_lost_asks_again_and_is_the_same_one() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let token = enrol(&ada, &session, json!({})).await.text("token");
    let register = async |attempt: &str| {
        let body = json!({"hostname": "rack-1", "os": "linux", "hardware": {}, "attempt": attempt});
        ada.call(Method::POST, "/api/machines/register", Some(&token), Some(body)).await
    };
    assert_eq!(register("guess").await.code(), "INVALID_ARGUMENT", "it could be guessed");
    let (mine, other) = ("a".repeat(64), "b".repeat(64));
    let [first, again] = [register(&mine).await, register(&mine).await];
    assert_eq!((first.status, again.status), (StatusCode::OK, StatusCode::OK), "{}", again.body);
    assert_eq!(first.text("machine_id"), again.text("machine_id"));
    let key = |answer: &Answer| json!({"machine_id": answer.text("machine_id"), "api_key": answer.text("api_key")});
    assert_eq!(ada.post("/api/machines/token", key(&first)).await.code(), "INVALID_CREDENTIALS", "nobody has that key");
    assert_eq!(ada.post("/api/machines/token", key(&again)).await.status, StatusCode::OK);
    assert_eq!(register(&other).await.code(), "INVALID_CREDENTIALS", "another machine");
    let listed = ada.get("/api/machines/enrolments", &session.access).await.body;
    assert_eq!(listed["enrolments"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn of_two_machines_with_one_token_one_is_enrolled() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let token = enrol(&ada, &session, json!({})).await.text("token");
    let (one, other) = tokio::join!(register(&ada, &token), register(&ada, &token));
    let mut statuses = [one.status, other.status];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::UNAUTHORIZED]);
}

#[tokio::test]
async fn old_tokens_and_those_of_disabled_accounts_enrol_nobody() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    for seconds in [0, 31 * 24 * 3600] {
        let refused = enrol(&ada, &session, json!({"expires_in_seconds": seconds})).await;
        assert_eq!(refused.code(), "INVALID_ARGUMENT", "{seconds}");
    }
    for change in ["UPDATE enrolment SET expires_ns = 1", "UPDATE account SET disabled = 1"] {
        let token = enrol(&ada, &session, json!({})).await.text("token");
        let changed: Result<(), crate::db::DbError> = server
            .running
            .app
            .db
            .write(move |c| {
                Box::pin(async move {
                    sqlx::query(change).execute(c).await?;
                    Ok(())
                })
            })
            .await;
        changed.unwrap();
        assert_eq!(register(&ada, &token).await.code(), "INVALID_CREDENTIALS", "{change}");
    }
}

#[tokio::test]
async fn unused_tokens_are_few() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    for _ in 0..100 {
        assert_eq!(enrol(&ada, &session, json!({})).await.status, StatusCode::CREATED);
    }
    assert_eq!(enrol(&ada, &session, json!({})).await.code(), "CONFLICT");
}

#[tokio::test]
async fn the_server_shows_who_it_is() {
    let server = TestServer::new().await;
    let person = Person::new(&server, "ada");
    let path = format!("/api/machines/server-key?challenge={}", "ab".repeat(32));
    let answer = person.call(Method::GET, &path, None, None).await;
    let bytes = |field: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.decode(answer.text(field)).unwrap()
    };
    let public: [u8; 32] = bytes("public_key").try_into().unwrap();
    let body = cyx_core::enrol::challenge_body(&[0xab; 32]);
    let fingerprint = answer.text("fingerprint").parse().unwrap();
    cyx_core::enrol::verify_identity(fingerprint, &public, &body, &bytes("signature")).unwrap();
    for bad in ["", "?challenge=ab", "?challenge=zz"] {
        let answer = person.call(Method::GET, &format!("/api/machines/server-key{bad}"), None, None).await;
        assert_eq!(answer.code(), "INVALID_ARGUMENT", "{bad}");
    }
}
