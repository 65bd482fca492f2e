//! The list of sessions, and ending them.

use futures_util::FutureExt as _;

use super::*;

#[tokio::test]
async fn sessions_are_listed_with_place_and_last_use_and_ended_one_by_one() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, first) = Person::verified(&server, "ada").await;
    let elsewhere = Person { from: "203.0.113.5", ..Person::new(&server, "ada") };
    let second = elsewhere.log_in().await;
    let (grace, foreign) = Person::verified(&server, "grace").await;

    let list = ada.get("/api/auth/sessions", &first.access).await.body;
    let sessions = list["sessions"].as_array().unwrap();
    let seen: Vec<_> =
        sessions.iter().map(|s| (s["address"].as_str().unwrap(), s["current"].as_bool().unwrap())).collect();
    assert_eq!(seen, [("203.0.113.5", false), ("198.51.100.1", true)], "the newest use comes first");
    assert_eq!(sessions[0]["device_name"], "a test");

    let roaming = Person { from: "203.0.113.77", ..Person::new(&server, "ada") };
    let renewed = roaming.refresh(&second.refresh).await.text("access_token");
    let list = ada.get("/api/auth/sessions", &first.access).await.body;
    assert_eq!(list["sessions"][0]["address"], "203.0.113.77");

    let id = |session: &Session| session.verified["session_id"].as_str().unwrap().to_owned();
    let app = &server.running.app;
    let (account, mut revocations) =
        (crate::auth::authenticate(app, &first.access).await.unwrap().account, app.sessions.revocations());
    let end = |person: &Person<'_>, token: &str, id: String| {
        let (web, url, token) = (person.web.clone(), server.url(&format!("/api/auth/sessions/{id}")), token.to_owned());
        async move { web.delete(url).bearer_auth(token).send().await.unwrap().status() }
    };
    assert_eq!(end(&ada, &first.access, id(&foreign)).await, StatusCode::NOT_FOUND, "somebody else's");
    assert_eq!(end(&ada, &first.access, "no id".into()).await, StatusCode::NOT_FOUND);
    assert!(revocations.of(account).now_or_never().is_none(), "nothing was revoked");
    assert_eq!(end(&ada, &first.access, id(&second)).await, StatusCode::OK);
    assert!(revocations.of(account).now_or_never().is_some());
    assert_eq!(end(&ada, &first.access, id(&second)).await, StatusCode::NOT_FOUND, "it is over already");
    assert!(revocations.of(account).now_or_never().is_none());
    assert_eq!(ada.get("/api/identity", &renewed).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(grace.get("/api/identity", &foreign.access).await.status, StatusCode::OK);
}

#[tokio::test]
async fn all_sessions_end_or_all_but_this_one() {
    let server = TestServer::new().await;
    let (ada, first) = Person::verified(&server, "ada").await;
    let (second, third) = (ada.log_in().await, ada.log_in().await);
    let (_, foreign) = Person::verified(&server, "grace").await;
    let path = "/api/auth/sessions?keep_current=true";
    let ended = ada.call(Method::DELETE, path, Some(&second.access), None).await;
    assert_eq!(ended.body, json!({"revoked": 2}));
    ada.await_letter("Devices were logged out of your cyx account").await;
    for gone in [&first, &third] {
        assert_eq!(ada.get("/api/identity", &gone.access).await.code(), "INVALID_CREDENTIALS");
        assert_eq!(ada.refresh(&gone.refresh).await.code(), "INVALID_CREDENTIALS");
    }
    let bad = ada.call(Method::DELETE, "/api/auth/sessions?keep_current=perhaps", Some(&second.access), None).await;
    assert_eq!(bad.code(), "INVALID_ARGUMENT");
    let ended = ada.call(Method::DELETE, "/api/auth/sessions", Some(&second.access), None).await;
    assert_eq!(ended.body, json!({"revoked": 1}));
    assert_eq!(ada.get("/api/identity", &second.access).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(ada.get("/api/identity", &foreign.access).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_happened_is_read_by_whom_it_is_about() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let wrong = Person { auth_key: [1; 32], ..Person::new(&server, "ada") };
    assert_eq!(wrong.begin().await.code(), "INVALID_CREDENTIALS");
    let (_, foreign) = Person::verified(&server, "grace").await;
    let seen = |body: &Value| -> Vec<(String, String)> {
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
        body["entries"].as_array().unwrap().iter().map(|e| (text(e, "action"), text(e, "outcome"))).collect()
    };
    let own = ada.get("/api/v1/audit", &session.access).await.body;
    let expected = [("registered", "ok"), ("password", "ok"), ("login", "ok"), ("password", "refused")];
    assert_eq!(seen(&own), expected.map(|(action, outcome)| (action.to_owned(), outcome.to_owned())));
    assert_eq!((&own["entries"][2]["detail"], &own["next"]), (&json!("a test"), &Value::Null));
    let first = ada.get("/api/v1/audit?limit=2", &session.access).await.body;
    let rest = ada.get(&format!("/api/v1/audit?after={}", first["next"]), &session.access).await.body;
    assert_eq!([seen(&first), seen(&rest)].concat(), seen(&own));
    assert_eq!(ada.get("/api/v1/audit?limit=0", &session.access).await.code(), "INVALID_ARGUMENT");
    assert_eq!(ada.get("/api/v1/audit?since=4000000000", &session.access).await.body["entries"], json!([]));
    let other = ada.get("/api/v1/audit", &foreign.access).await.body;
    assert_eq!(seen(&other).len(), 3, "nothing of anybody else: {other}");
}
