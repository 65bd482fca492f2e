//! Every path with every kind of caller; what administrators do.

use cyx_core::ids::{ApiKeyId, Random as _};

use super::*;
use crate::auth::Permission;
use crate::http::access::Access;
use crate::http::router::routes;
use crate::test_support::TestServer;
use crate::tokens::{Subject, UserType};

async fn with_admin() -> TestServer {
    TestServer::with(|config| {
        config.behind_proxy = true;
        config.admins = vec!["root@example.org".into()];
    })
    .await
}

/// A kind of caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nobody,
    Basic,
    Premium,
    Admin,
    ReadKey,
    WriteKey,
    Sibling,
    Machine,
}

/// What the table must say: written down once more, by kind, so that neither is wrong alone.
fn may(kind: Kind, access: Access) -> bool {
    match access {
        Access::Public | Access::Anyone => true,
        Access::Member => !matches!(kind, Kind::Nobody | Kind::Machine),
        Access::MemberWith(Permission::StorageRead) => {
            may(kind, Access::Person) || matches!(kind, Kind::ReadKey | Kind::Sibling)
        }
        Access::MemberWith(Permission::StorageWrite) => {
            may(kind, Access::Person) || matches!(kind, Kind::WriteKey | Kind::Sibling)
        }
        Access::Person | Access::Confirmed => matches!(kind, Kind::Basic | Kind::Premium | Kind::Admin),
        Access::Admin => kind == Kind::Admin,
        Access::Machine => kind == Kind::Machine,
    }
}

#[tokio::test]
async fn every_path_lets_in_whom_its_rule_names_and_nobody_else() {
    let server = with_admin().await;
    let (root, admin) = Person::verified(&server, "root").await;
    let (ada, basic) = Person::verified(&server, "ada").await;
    let (grace, premium) = Person::verified(&server, "grace").await;
    let put =
        root.call(Method::PUT, "/api/v1/admin/users/grace/plan", Some(&admin.access), Some(json!({"plan": "pro"})));
    assert_eq!(put.await.text("role"), "premium");
    let read_key = ada.program(&basic, &["storage:read"], None).await.text("access_token");
    let write_key = ada.program(&basic, &["storage:write"], None).await.text("access_token");
    let body = json!({"hostname": "h", "os": "o"});
    let machine = ada.call(Method::POST, "/api/machines/register", Some("enrol for tests"), Some(body)).await;
    let machine = machine.text("access_token");
    let id = basic.verified["account"]["id"].as_str().unwrap().to_owned();
    let permissions = ["storage:read", "storage:write"].map(str::to_owned).to_vec();
    let subject = Subject { id, permissions, ..Subject::default() };
    let sibling = server.running.app.tokens.jwt.issue(UserType::User, subject, Duration::from_secs(3600)).unwrap();
    // What would end a session that is still needed gets one of its own below.
    let spare = [(Kind::Basic, &ada), (Kind::Premium, &grace), (Kind::Admin, &root)];

    for route in routes() {
        let path = route.path.replace("{id}", &"0".repeat(32)).replace("{user}", "nobody_at_all");
        for kind in [
            Kind::Nobody,
            Kind::Basic,
            Kind::Premium,
            Kind::Admin,
            Kind::ReadKey,
            Kind::WriteKey,
            Kind::Sibling,
            Kind::Machine,
        ] {
            let ends = path == "/api/auth/logout" || (path == "/api/auth/sessions" && route.method == Method::DELETE);
            let own = spare.iter().find(|(of, _)| *of == kind);
            let token = match (kind, own) {
                (_, Some((_, person))) if ends => Some(person.log_in().await.access),
                (Kind::Nobody, _) => None,
                (Kind::Basic, _) => Some(basic.access.clone()),
                (Kind::Premium, _) => Some(premium.access.clone()),
                (Kind::Admin, _) => Some(admin.access.clone()),
                (Kind::ReadKey, _) => Some(read_key.clone()),
                (Kind::WriteKey, _) => Some(write_key.clone()),
                (Kind::Sibling, _) => Some(sibling.token.clone()),
                (Kind::Machine, _) => Some(machine.clone()),
            };
            // An empty body is refused by whoever reads it, after the rule; what takes none must leave the sessions alone.
            let keep = path == "/api/auth/sessions" && route.method == Method::DELETE;
            let asked = if keep { format!("{path}?keep_current=perhaps") } else { path.clone() };
            let body = (route.method != Method::GET && route.method != Method::DELETE).then(|| json!({}));
            let answer = ada.call(route.method.clone(), &asked, token.as_deref(), body).await;
            let refused = match kind {
                Kind::Nobody => answer.code() == "INVALID_CREDENTIALS",
                _ => answer.code() == "PERMISSION_DENIED",
            };
            let needs_other_token = route.access == Access::Anyone;
            if !needs_other_token {
                let expected = !may(kind, route.access);
                assert_eq!(refused, expected, "{kind:?} {} {path}: {}", route.method, answer.body);
            }
            assert!(!answer.status.is_server_error(), "{kind:?} {} {path}: {}", route.method, answer.body);
        }
    }
}

#[tokio::test]
async fn nothing_of_somebody_elses_account_is_found() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, own) = Person::verified(&server, "ada").await;
    let (grace, foreign) = Person::verified(&server, "grace").await;
    let key = ApiKeyId::random();
    let new = api_keys::new_key(key, &["storage:read"], None);
    let made = grace.send_confirmed("/api/auth/api-keys", &foreign.access, new).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let session = foreign.verified["session_id"].as_str().unwrap();
    for path in [format!("/api/auth/sessions/{session}"), format!("/api/auth/api-keys/{key}")] {
        let absent = path.replace(session, &"0".repeat(32)).replace(&key.to_string(), &"0".repeat(32));
        let theirs = ada.call(Method::DELETE, &path, Some(&own.access), None).await;
        let nobodys = ada.call(Method::DELETE, &absent, Some(&own.access), None).await;
        assert_eq!((theirs.status, theirs.code()), (StatusCode::NOT_FOUND, "NOT_FOUND"), "{path}");
        assert_eq!(theirs.body["error"]["message"], nobodys.body["error"]["message"]);
    }
    for path in ["/api/auth/sessions", "/api/auth/api-keys", "/api/v1/audit", "/api/v1/account/export", "/api/identity"]
    {
        let text = ada.get(path, &own.access).await.body.to_string();
        for secret in [session, &key.to_string(), "grace"] {
            assert!(!text.contains(secret), "{path} shows {secret}");
        }
    }
    assert_eq!(grace.get("/api/identity", &foreign.access).await.status, StatusCode::OK);
}

#[tokio::test]
async fn administrators_are_named_by_the_configuration_and_by_each_other() {
    let server = with_admin().await;
    let (root, admin) = Person::verified(&server, "root").await;
    let (ada, session) = Person::verified(&server, "ada").await;
    assert_eq!(root.get("/api/identity", &admin.access).await.text("role"), "admin");
    assert_eq!(ada.get("/api/v1/admin/users", &session.access).await.code(), "PERMISSION_DENIED");
    let put = |who: &str, what: &str, body: Value| {
        let path = format!("/api/v1/admin/users/{who}/{what}");
        let (root, token) = (&root, admin.access.clone());
        async move { root.call(Method::PUT, &path, Some(&token), Some(body)).await }
    };
    assert_eq!(put("root", "role", json!({"role": "basic"})).await.code(), "CONFLICT", "nobody else could undo it");
    assert_eq!(put("ADA@example.org", "role", json!({"role": "admin"})).await.text("role"), "admin");
    assert_eq!(ada.get("/api/v1/admin/users", &session.access).await.status, StatusCode::OK, "at once");
    assert_eq!(put("ada", "role", json!({"role": "basic"})).await.text("role"), "basic");
    assert_eq!(ada.get("/api/v1/admin/users", &session.access).await.code(), "PERMISSION_DENIED", "at once");
    for (what, body) in [("role", json!({"role": "king"})), ("plan", json!({"plan": "gold"})), ("disabled", json!({}))]
    {
        assert_eq!(put("ada", what, body).await.code(), "INVALID_ARGUMENT", "{what}");
    }
    assert_eq!(put("nobody", "role", json!({"role": "basic"})).await.code(), "NOT_FOUND");
}

#[tokio::test]
async fn administrators_set_plans_disable_and_read_the_log() {
    let server = with_admin().await;
    let (root, admin) = Person::verified(&server, "root").await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let put = |who: &str, what: &str, body: Value| {
        let path = format!("/api/v1/admin/users/{who}/{what}");
        let (root, token) = (&root, admin.access.clone());
        async move { root.call(Method::PUT, &path, Some(&token), Some(body)).await }
    };
    let changed = put("ada", "plan", json!({"plan": "starter"})).await;
    assert_eq!((&changed.body["limit_bytes"], &changed.body["role"]), (&json!(100_000_000_000_u64), &json!("premium")));
    let changed = put("ada", "plan", json!({"plan": "free", "limit_bytes": 7})).await;
    assert_eq!((&changed.body["limit_bytes"], &changed.body["role"]), (&json!(7), &json!("basic")));
    assert_eq!(ada.get("/api/v1/quota", &session.access).await.body["limit_bytes"], 7);

    let users = root.get("/api/v1/admin/users?search=AD", &admin.access).await.body;
    assert_eq!(users["users"].as_array().unwrap().len(), 1, "{users}");
    let users = root.get("/api/v1/admin/users?search=%25", &admin.access).await.body;
    assert_eq!(users["users"], json!([]), "the search takes no wild cards");
    let first = root.get("/api/v1/admin/users?limit=1", &admin.access).await.body;
    let after = format!("/api/v1/admin/users?after={}", first["next"].as_str().unwrap());
    let rest = root.get(&after, &admin.access).await.body;
    assert_eq!((rest["users"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    assert!(!first.to_string().contains("auth"), "no secrets: {first}");

    assert_eq!(put("root", "disabled", json!({"disabled": true})).await.code(), "CONFLICT");
    assert_eq!(put("ada", "disabled", json!({"disabled": true})).await.body["disabled"], true);
    assert_eq!(ada.get("/api/identity", &session.access).await.status, StatusCode::UNAUTHORIZED, "at once");
    assert_eq!(ada.begin().await.code(), "PERMISSION_DENIED");
    assert_eq!(put("ada", "disabled", json!({"disabled": false})).await.body["sessions"], 0);
    let session = ada.log_in().await;

    let own = ada.get("/api/v1/audit", &session.access).await.body.to_string();
    assert!(own.contains("plan_changed") && own.contains("disabled_changed"), "{own}");
    let log = root.get("/api/v1/admin/audit?account=ada", &admin.access).await.body;
    assert!(
        log["entries"].as_array().unwrap().iter().all(|entry| entry["account"] == session.verified["account"]["id"])
    );
    let check = root.get("/api/v1/admin/audit/check", &admin.access).await.body;
    assert_eq!((&check["intact"], &check["broken_at"]), (&json!(true), &Value::Null));
    assert_eq!(root.get("/api/v1/admin/nodes", &admin.access).await.body["nodes"], json!([]));
}

#[tokio::test]
async fn too_many_requests_are_refused_with_the_time_to_wait_and_browsers_get_no_leave() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let web = reqwest::Client::new();
    let mut refused = None;
    for _ in 0..5_000 {
        let request = web.post(server.url("/api/auth/prelogin")).header("x-forwarded-for", "192.0.2.1");
        let response = request.json(&json!({"email": "x@example.org"})).send().await.unwrap();
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.expect("the flood was never refused");
    assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], "RATE_LIMITED");
    let elsewhere = web.post(server.url("/api/auth/prelogin")).header("x-forwarded-for", "192.0.2.2");
    let elsewhere = elsewhere.header("origin", "https://evil.example").json(&json!({"email": "x@example.org"}));
    let answer = elsewhere.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!answer.headers().contains_key("access-control-allow-origin"), "no other site may read answers");
    let preflight = web.request(Method::OPTIONS, server.url("/api/auth/prelogin"));
    let answer = preflight.header("origin", "https://evil.example").send().await.unwrap();
    assert!(!answer.status().is_success() && !answer.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn who_has_no_good_token_or_asks_about_the_server_is_limited_too() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let web = reqwest::Client::new();
    let get = async |path: &str, from: &str| {
        let request = web.get(server.url(path)).header("x-forwarded-for", from).bearer_auth("not a token");
        request.send().await.unwrap().status()
    };
    for (path, from) in [("/api/v1/quota", "192.0.2.1"), ("/api/auth/sessions", "192.0.2.2"), ("/version", "192.0.2.3")]
    {
        let first = get(path, from).await;
        assert_ne!(first, StatusCode::TOO_MANY_REQUESTS);
        let mut last = first;
        for _ in 0..5_000 {
            last = get(path, from).await;
            if last != first {
                break;
            }
        }
        assert_eq!(last, StatusCode::TOO_MANY_REQUESTS, "{path}");
        assert_eq!(get(path, "192.0.2.9").await, first, "others are not concerned");
    }
    assert_eq!(get("/health", "192.0.2.1").await, StatusCode::OK, "whoever watches does not suffer from it");
    assert_eq!(get("/version", "192.0.2.1").await, StatusCode::OK);
}

#[tokio::test]
async fn a_lock_says_how_long_it_lasts() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let web = reqwest::Client::new();
    let login = |n: usize| {
        let body = json!({"email": "nobody@example.org", "auth_key": base64(&[1; 32])});
        let request = web.post(server.url("/api/auth/login")).header("x-forwarded-for", format!("192.0.2.{n}"));
        async move { request.json(&body).send().await.unwrap() }
    };
    for n in 0..5 {
        assert_eq!(login(n).await.status(), StatusCode::UNAUTHORIZED);
    }
    let locked = login(9).await;
    assert_eq!(locked.status().as_u16(), 423);
    let seconds: u64 = locked.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=901).contains(&seconds), "{seconds}");
}
