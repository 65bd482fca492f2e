//! Tests through the listener, as a client sees the server.

mod abuse;
mod account_key;
mod api_keys;
mod calls;
mod confirmed;
mod devices;
pub(crate) mod documented;
mod factors;
mod gate;
mod grpc;
mod login;
mod machines;
mod nodes;
mod openapi;
mod privacy;
mod recovery;
mod roles;
mod siblings;
mod smtp;
mod socket;
mod split;
mod tls;
mod wallets;

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::test_support::TestServer;

/// How long a test waits for something that certainly comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A status and a body.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or("")
    }

    fn text(&self, field: &str) -> String {
        self.body[field].as_str().unwrap_or_else(|| panic!("no text {field} in {}", self.body)).to_owned()
    }
}

/// A person with a server.
struct Person<'a> {
    server: &'a TestServer,
    web: reqwest::Client,
    email: String,
    auth_key: [u8; 32],
    key: SigningKey,
    /// What a proxy says of where they come from.
    from: &'static str,
}

/// Tokens of a login.
struct Session {
    access: String,
    refresh: String,
    verified: Value,
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

impl<'a> Person<'a> {
    fn new(server: &'a TestServer, name: &str) -> Self {
        Self {
            server,
            web: reqwest::Client::new(),
            email: format!("{name}@example.org"),
            auth_key: *blake3::hash(name.as_bytes()).as_bytes(),
            key: SigningKey::from_bytes(blake3::hash(name.as_bytes()).as_bytes()),
            from: "198.51.100.1",
        }
    }

    /// A person who logged in once, so that the address is known to be theirs.
    async fn verified(server: &'a TestServer, name: &str) -> (Self, Session) {
        let person = Self::new(server, name);
        assert_eq!(person.register(name).await.status, StatusCode::ACCEPTED);
        let session = person.log_in().await;
        (person, session)
    }

    async fn call(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> Answer {
        let mut request = self.web.request(method, self.server.url(path)).header("x-forwarded-for", self.from);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.call(Method::GET, path, Some(token), None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, None, Some(body)).await
    }

    fn registration(&self, username: &str) -> Value {
        json!({
            "username": username,
            "email": self.email,
            "salt": base64(&[7; 16]),
            "params": {"memory_kib": 65536, "passes": 3, "lanes": 1},
            "auth_key": base64(&self.auth_key),
            "wrapped_account_key": base64(b"wrapped"),
            "recovery_wrapped_account_key": base64(b"recovery"),
            "signing_public_key": base64(self.key.verifying_key().as_bytes()),
            "exchange_public_key": base64(&[9; 32]),
            "wrapped_private_keys": base64(b"private"),
        })
    }

    async fn register(&self, username: &str) -> Answer {
        self.post("/api/auth/register", self.registration(username)).await
    }

    async fn begin(&self) -> Answer {
        let body = json!({"email": self.email, "auth_key": base64(&self.auth_key), "device_name": "a test"});
        self.post("/api/auth/login", body).await
    }

    async fn verify(&self, login: &str, otp: &str) -> Answer {
        let key = base64(self.key.verifying_key().as_bytes());
        self.post("/api/auth/login/verify", json!({"session_id": login, "otp": otp, "session_public_key": key})).await
    }

    /// Logs in with the code from the mail. Letters are sent after the answer and may overtake each
    /// other, so it is the code of this login that is awaited, not the next letter.
    async fn log_in(&self) -> Session {
        let begun = self.begin().await;
        assert_eq!(begun.status, StatusCode::OK, "{}", begun.body);
        let code = self.server.running.app.tokens.otp(begun.text("session_id").parse().unwrap());
        self.await_code(&code).await;
        let verified = self.verify(&begun.text("session_id"), &code).await;
        assert_eq!(verified.status, StatusCode::OK, "{}", verified.body);
        Session {
            access: verified.text("access_token"),
            refresh: verified.text("refresh_token"),
            verified: verified.body,
        }
    }

    /// Waits for the letter with a code.
    async fn await_code(&self, code: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.codes().iter().any(|mailed| mailed == code) {
            assert!(Instant::now() < deadline, "no code came");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for a letter with these words in its subject.
    async fn await_letter(&self, subject: &str) {
        let deadline = Instant::now() + PATIENCE;
        let has = |letter: &String| letter.lines().any(|line| line.starts_with("Subject: ") && line.contains(subject));
        while !self.letters().iter().any(has) {
            assert!(Instant::now() < deadline, "no letter came: {subject}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Letters to this person, oldest first.
    fn letters(&self) -> Vec<String> {
        let mut paths: Vec<_> = std::fs::read_dir(self.server.outbox())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
            .collect();
        paths.sort();
        let texts = paths.iter().map(|path| std::fs::read_to_string(path).unwrap());
        let to = format!("To: {}", self.email);
        texts.filter(|text| text.lines().any(|line| line.trim_end() == to)).collect()
    }

    fn codes(&self) -> Vec<String> {
        let is_code = |line: &&str| line.len() == 6 && line.bytes().all(|b| b.is_ascii_digit());
        let code = |letter: &String| letter.lines().map(str::trim).find(is_code).map(str::to_owned);
        self.letters().iter().filter_map(code).collect()
    }

    async fn refresh(&self, token: &str) -> Answer {
        self.post("/api/auth/refresh", json!({"refresh_token": token})).await
    }
}
