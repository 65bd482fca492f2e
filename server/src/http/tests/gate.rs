//! What every request passes.

use super::*;

#[tokio::test]
async fn a_request_id_is_kept_or_made_and_stands_in_errors() {
    let server = TestServer::new().await;
    let web = reqwest::Client::new();
    let response = web.get(server.url("/nowhere")).header("x-request-id", "from-the-cli.7").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(response.headers()["x-request-id"], "from-the-cli.7");
    let body: Value = response.json().await.unwrap();
    assert_eq!((&body["error"]["code"], &body["error"]["request_id"]), (&json!("NOT_FOUND"), &json!("from-the-cli.7")));

    let response = web.get(server.url("/health")).header("x-request-id", "two words").send().await.unwrap();
    assert_ne!(response.headers()["x-request-id"], "two words");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["cyx-incarnation"].len(), 32);
}

#[tokio::test]
async fn wrong_methods_types_and_sizes_are_refused_as_json() {
    let server = TestServer::new().await;
    let person = Person::new(&server, "ada");
    let answer = person.call(Method::DELETE, "/api/identity", None, None).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::METHOD_NOT_ALLOWED, "INVALID_ARGUMENT"));

    let web = reqwest::Client::new();
    let post = |body: Vec<u8>, kind: &'static str| {
        let request = web.post(server.url("/api/auth/prelogin")).header("content-type", kind).body(body);
        async move {
            let response = request.send().await.unwrap();
            let status = response.status();
            (status, response.json::<Value>().await.unwrap()["error"]["code"].as_str().unwrap().to_owned())
        }
    };
    assert_eq!(post(b"{}".to_vec(), "text/plain").await, (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT".into()));
    assert_eq!(post(b"{".to_vec(), "application/json").await, (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT".into()));
    let large = format!("{{\"email\":\"{}\"}}", "x".repeat(300 * 1024)).into_bytes();
    assert_eq!(post(large, "application/json").await, (StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE".into()));
}

#[tokio::test]
async fn the_server_speaks_of_itself() {
    let server = TestServer::new().await;
    let person = Person::new(&server, "ada");
    assert_eq!(person.call(Method::GET, "/health", None, None).await.body, json!({"status": "ok"}));
    let version = person.call(Method::GET, "/version", None, None).await;
    assert_eq!(version.body, json!({"name": "cyx-server", "version": env!("CARGO_PKG_VERSION")}));
    let metrics = person.call(Method::GET, "/metrics", None, None).await;
    let text = metrics.body.as_str().unwrap();
    assert!(text.contains("cyx_requests_total{path=\"/health\",method=\"GET\",status=\"200\"}"), "{text}");
}

#[tokio::test]
async fn nothing_that_callers_make_up_becomes_a_label_of_metrics() {
    let server = TestServer::new().await;
    let person = Person::new(&server, "ada");
    let grpc = |method: Method, path: String| {
        let request = person.web.request(method, server.url(&path)).header("content-type", "application/grpc");
        request.header("cyx-incarnation", "another").send()
    };
    for n in 0..50 {
        let made_up = Method::from_bytes(format!("MADEUP{n}").as_bytes()).unwrap();
        person.call(made_up, "/health", None, None).await;
        grpc(Method::POST, format!("/cyx.meta.v1.MetaService/MadeUp{n}")).await.unwrap();
        grpc(Method::DELETE, format!("/api/auth/sessions/madeup{n}")).await.unwrap();
    }
    grpc(Method::POST, "/cyx.meta.v1.MetaService/GetQuota".into()).await.unwrap();
    let metrics = person.call(Method::GET, "/metrics", None, None).await;
    let text = metrics.body.as_str().unwrap();
    let found: Vec<&str> = text.lines().filter(|line| line.to_lowercase().contains("madeup")).collect();
    assert_eq!(found, [""; 0]);
    for label in [
        "path=\"/health\",method=\"other\"",
        "path=\"/api/auth/sessions/{id}\",method=\"DELETE\"",
        "path=\"/cyx.meta.v1.MetaService/GetQuota\",method=\"POST\",status=\"grpc-",
    ] {
        assert!(text.contains(label), "{label}: {text}");
    }
}

#[tokio::test]
async fn without_a_good_token_nothing_of_an_account_is_shown() {
    let server = TestServer::new().await;
    let person = Person::new(&server, "ada");
    for route in crate::http::router::routes() {
        if matches!(route.access, crate::http::access::Access::Anyone | crate::http::access::Access::Public) {
            continue;
        }
        let body = (route.method != Method::GET).then(|| json!({}));
        let path = route.path.replace("{id}", &"0".repeat(32)).replace("{user}", "ada");
        for token in [None, Some("nonsense")] {
            let answer = person.call(route.method.clone(), &path, token, body.clone()).await;
            assert_eq!((answer.status, answer.code()), (StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS"), "{path}");
        }
    }
}

#[tokio::test]
async fn health_fails_when_the_database_is_gone() {
    let server = TestServer::new().await;
    server.running.app.db.close().await;
    let person = Person::new(&server, "ada");
    let answer = person.call(Method::GET, "/health", None, None).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"));
}

#[tokio::test]
async fn a_server_that_stops_takes_no_more_connections() {
    let server = TestServer::new().await;
    let (person, session) = Person::verified(&server, "ada").await;
    let url = server.url("/health");
    // The pooled connection of this client is idle and must not keep the server from stopping.
    assert_eq!(person.get("/api/identity", &session.access).await.status, StatusCode::OK);
    let web = person.web.clone();
    drop(person);
    server.stop().await;
    assert!(web.get(url).send().await.is_err());
}

#[tokio::test]
async fn the_identity_address_serves_accounts_and_machines_alone() {
    let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let server = TestServer::with(|config| config.identity = Some(anywhere)).await;
    let (_, session) = Person::verified(&server, "ada").await;
    let identity = server.running.identity.unwrap();
    let web = reqwest::Client::new();
    for (path, status) in [("/api/identity", 200), ("/health", 200), ("/api/v1/buckets", 404), ("/ws", 404)] {
        let response = web.get(format!("http://{identity}{path}")).bearer_auth(&session.access).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_does_not_start() {
    // It is the lock of SQLite's folder that is tried.
    let sqlite = |config: &mut crate::config::Config| {
        config.database.location = crate::db::Location::Sqlite(config.data_dir.join("cyx.db"));
    };
    let server = TestServer::with(sqlite).await;
    let second = crate::run::Running::start(server.config.clone()).await;
    let Err(error) = second else { panic!("it started") };
    assert!(error.to_string().starts_with("another cyx-server uses the data folder"), "{error}");
    // Once the first one stopped, another may start.
    server.restart().await.stop().await;
}
