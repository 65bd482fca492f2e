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
