//! Guessing that is stopped, and answers that tell nothing by what they cause.

use std::collections::BTreeMap;

use super::*;

impl Person<'_> {
    /// The same person at another address.
    fn at(&self, from: String) -> Person<'_> {
        Person { from: from.leak(), web: self.web.clone(), key: self.key.clone(), email: self.email.clone(), ..*self }
    }
}

#[tokio::test]
async fn a_brute_force_run_from_everywhere_gets_five_guesses() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, session) = Person::verified(&server, "ada").await;
    // Each guess from an address of its own, twenty at a time: no limit of addresses helps here.
    let mut codes = BTreeMap::<String, usize>::new();
    for round in 0..10_u8 {
        let guesses = (0..20_u8).map(|n| {
            let auth_key = [round.wrapping_mul(20).wrapping_add(n); 32];
            let guess = Person { auth_key, ..ada.at(format!("203.0.{round}.{n}")) };
            async move { guess.begin().await.code().to_owned() }
        });
        for code in futures_util::future::join_all(guesses).await {
            *codes.entry(code).or_default() += 1;
        }
    }
    assert_eq!(codes, BTreeMap::from([("INVALID_CREDENTIALS".into(), 5), ("ACCOUNT_LOCKED".into(), 195)]));

    let body = json!({"email": ada.email, "auth_key": base64(&ada.auth_key), "device_name": "a test"});
    let request = ada.web.post(server.url("/api/auth/login")).header("x-forwarded-for", "192.0.2.50").json(&body);
    let locked = request.send().await.unwrap();
    assert_eq!(locked.status(), StatusCode::from_u16(423).unwrap_or(locked.status()), "the right password neither");
    let wait: u64 = locked.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=901).contains(&wait), "{wait}");
    ada.await_letter("Your cyx account is locked for a while").await;
    assert_eq!(ada.get("/api/identity", &session.access).await.status, StatusCode::OK, "who is logged in stays so");
    let log = ada.get("/api/v1/audit", &session.access).await.body.to_string();
    assert!(log.contains("\"locked\""), "{log}");
}

/// Rows of the tables that answers without a login write to.
async fn rows(server: &TestServer) -> BTreeMap<&'static str, i64> {
    let mut tx = server.running.app.db.read().await.unwrap();
    let mut counts = BTreeMap::new();
    for table in ["audit", "lockout", "attempt", "login", "challenge", "session", "account"] {
        let text = sqlx::AssertSqlSafe(format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}"));
        counts.insert(table, sqlx::query_scalar(text).fetch_one(&mut *tx).await.unwrap());
    }
    counts
}

#[tokio::test]
async fn an_address_with_an_account_and_one_without_cause_the_same_work() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, _) = Person::verified(&server, "ada").await;
    let mut written = Vec::new();
    for (email, from) in [(ada.email.as_str(), "192.0.2.1"), ("nobody@example.org", "192.0.2.2")] {
        let wrong = Person { auth_key: [1; 32], email: email.to_owned(), ..ada.at(from.into()) };
        let before = rows(&server).await;
        assert_eq!(wrong.post("/api/auth/prelogin", json!({"email": email})).await.status, StatusCode::OK);
        assert_eq!(wrong.begin().await.code(), "INVALID_CREDENTIALS");
        assert_eq!(wrong.post("/api/auth/recover", json!({"email": email})).await.status, StatusCode::ACCEPTED);
        let after = rows(&server).await;
        let delta: BTreeMap<_, _> = after.iter().map(|(table, count)| (*table, count - before[table])).collect();
        written.push(delta);
    }
    assert_eq!(written[0], written[1]);
    assert!(written[0]["audit"] > 0 && written[0]["lockout"] == 2 && written[0]["challenge"] == 1, "{written:?}");
}

#[tokio::test]
async fn what_looks_like_sql_is_text() {
    const HOSTILE: [&str; 4] = [
        "x' OR '1'='1",
        "x'; DELETE FROM account; --",
        "x\\'; UPDATE account SET role = 'admin'; --",
        "%' UNION SELECT * FROM account --",
    ];
    let server = TestServer::with(|config| {
        config.behind_proxy = true;
        config.admins = vec!["root@example.org".into()];
    })
    .await;
    let (root, admin) = Person::verified(&server, "root").await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let before = rows(&server).await;
    for (number, text) in HOSTILE.into_iter().enumerate() {
        let at = ada.at(format!("203.0.113.{number}"));
        let key = base64(ada.key.verifying_key().as_bytes());
        // Whatever is looked up, nothing is found; whatever is kept, is kept as it came or refused.
        let hostile = Person { email: text.to_owned(), ..at.at(format!("203.0.114.{number}")) };
        assert_eq!(hostile.begin().await.code(), "INVALID_CREDENTIALS");
        assert_eq!(at.post("/api/auth/recover", json!({"email": text})).await.status, StatusCode::ACCEPTED);
        let mut registration = at.registration(text);
        assert_eq!(at.post("/api/auth/register", registration.clone()).await.code(), "INVALID_USERNAME");
        (registration["username"], registration["email"]) = (json!("somebody"), json!(text));
        assert_eq!(at.post("/api/auth/register", registration).await.code(), "INVALID_EMAIL");
        assert_eq!(at.refresh(text).await.code(), "INVALID_CREDENTIALS");
        assert_eq!(at.post("/api/auth/validate", json!({"token": text})).await.body, json!({"valid": false}));
        assert_eq!(at.verify(text, text).await.code(), "OTP_EXPIRED");
        let exchanged = json!({"id": text, "auth": base64(&[1; 32]), "session_public_key": key});
        assert_eq!(at.post("/api/auth/api-keys/token", exchanged).await.code(), "INVALID_CREDENTIALS");
        assert_eq!(at.post("/api/v1/auth/challenge", json!({"wallet": text})).await.code(), "INVALID_ARGUMENT");
        let mut search = reqwest::Url::parse(&server.url("/api/v1/admin/users")).unwrap();
        search.query_pairs_mut().append_pair("search", text);
        let found = root.web.get(search).bearer_auth(&admin.access).send().await.unwrap();
        assert_eq!(found.json::<Value>().await.unwrap()["users"], json!([]), "{text}");
        let mut user = reqwest::Url::parse(&server.url("/api/v1/admin/users")).unwrap();
        user.path_segments_mut().unwrap().push(text);
        let found = root.web.get(user).bearer_auth(&admin.access).send().await.unwrap();
        assert_eq!(found.status(), StatusCode::NOT_FOUND, "{text}");
    }
    let device = json!({"email": ada.email, "auth_key": base64(&ada.auth_key), "device_name": HOSTILE[1]});
    let login = ada.post("/api/auth/login", device).await.text("session_id");
    let code = server.running.app.tokens.otp(login.parse().unwrap());
    assert_eq!(ada.verify(&login, &code).await.status, StatusCode::OK);
    let devices = ada.get("/api/auth/sessions", &session.access).await.body;
    assert!(devices.to_string().contains(HOSTILE[1]), "it is kept as it came: {devices}");
    assert_eq!(ada.get("/api/identity", &session.access).await.text("role"), "basic");
    let after = rows(&server).await;
    assert_eq!((after["account"], after["session"]), (before["account"], before["session"] + 1));
}
