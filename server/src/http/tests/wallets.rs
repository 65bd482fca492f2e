//! Logging in with a wallet.

use cyx_core::wallet::{Intent, SignIn, WalletAddress, show_signature};

use super::*;

fn wallet(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn address(key: &SigningKey) -> String {
    WalletAddress(key.verifying_key().to_bytes()).to_string()
}

/// The signature of a text that the server gave, and the text's id.
fn sign(key: &SigningKey, text: &Answer) -> Value {
    use ed25519_dalek::Signer as _;
    assert_eq!(text.status, StatusCode::OK, "{}", text.body);
    let signature = key.sign(text.text("message").as_bytes()).to_bytes();
    json!({"challenge_id": text.text("challenge_id"), "signature": show_signature(&signature)})
}

fn merged(mut first: Value, second: &Value) -> Value {
    first.as_object_mut().unwrap().extend(second.as_object().unwrap().clone());
    first
}

impl Person<'_> {
    async fn text(&self, key: &SigningKey) -> Answer {
        self.post("/api/v1/auth/challenge", json!({"wallet": address(key)})).await
    }

    async fn link_text(&self, token: &str, key: &SigningKey) -> Answer {
        self.send("/api/auth/wallets/challenge", token, json!({"wallet": address(key)})).await
    }

    async fn link(&self, session: &Session, key: &SigningKey) -> Answer {
        let signed = sign(key, &self.link_text(&session.access, key).await);
        let body = merged(signed, &self.mailed_confirmation(&session.access).await);
        self.send("/api/auth/wallets", &session.access, body).await
    }

    async fn log_in_with(&self, signed: &Value) -> Answer {
        let device =
            json!({"session_public_key": base64(self.key.verifying_key().as_bytes()), "device_name": "a miner"});
        self.post("/api/v1/auth/wallet", merged(device, signed)).await
    }
}

#[tokio::test]
async fn a_linked_wallet_logs_in_without_keys_and_is_unlinked_with_its_sessions() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let key = wallet(1);
    let stranger = ada.log_in_with(&sign(&key, &ada.text(&key).await)).await;
    assert_eq!((stranger.status, stranger.code()), (StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS"));

    let linked = ada.link(&session, &key).await;
    assert_eq!((linked.status, linked.text("wallet")), (StatusCode::OK, address(&key)));
    ada.await_letter("A wallet can log in to your cyx account").await;
    assert_eq!(ada.link(&session, &key).await.code(), "ALREADY_EXISTS");

    let signed = sign(&key, &ada.text(&key).await);
    let done = ada.log_in_with(&signed).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.body);
    assert_eq!(done.body["account"], session.verified["account"]);
    for secret in ["wrapped_account_key", "wrapped_private_keys"] {
        assert_eq!(done.body[secret], Value::Null, "a wallet opens nothing");
    }
    assert_eq!(ada.log_in_with(&signed).await.code(), "OTP_EXPIRED", "a text counts once");

    let token = done.text("access_token");
    assert_eq!(ada.get("/api/auth/device-key", &token).await.code(), "NOT_FOUND");
    let keys = |token: &str, auth_key: [u8; 32]| {
        let (ada, token) = (&ada, token.to_owned());
        async move { ada.send("/api/auth/keys", &token, json!({"auth_key": base64(&auth_key)})).await }
    };
    let refused = keys(&token, [1; 32]).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS"));
    let opened = keys(&token, ada.auth_key).await;
    assert_eq!(opened.text("wrapped_account_key"), base64(b"wrapped"), "with the password they are there");
    let other = keys(&session.access, ada.auth_key).await;
    assert_eq!((other.status, other.code()), (StatusCode::FORBIDDEN, "PERMISSION_DENIED"), "that is for wallets alone");
    let valid = ada.post("/api/auth/validate", json!({"token": token})).await;
    assert_eq!((&valid.body["valid"], valid.text("wallet")), (&json!(true), address(&key)));
    let refreshed = ada.refresh(&done.text("refresh_token")).await;
    let valid = ada.post("/api/auth/validate", json!({"token": refreshed.text("access_token")})).await;
    assert_eq!(valid.text("wallet"), address(&key), "also after a refresh");
    let by_password = ada.post("/api/auth/validate", json!({"token": session.access})).await;
    assert_eq!(by_password.body["wallet"], Value::Null);

    let listed = ada.get("/api/auth/wallets", &session.access).await;
    assert_eq!(listed.body["wallets"][0]["wallet"], address(&key));
    assert!(listed.body["wallets"][0]["last_used_at"].is_string());
    assert_eq!(listed.body["wallets"].as_array().unwrap().len(), 1);

    let body = merged(json!({"wallet": address(&key)}), &ada.mailed_confirmation(&session.access).await);
    let removed = ada.send("/api/auth/wallets/remove", &session.access, body).await;
    assert_eq!(removed.status, StatusCode::OK, "{}", removed.body);
    ada.await_letter("A wallet cannot log in to your cyx account any more").await;
    assert_eq!(ada.get("/api/identity", &token).await.code(), "INVALID_CREDENTIALS", "what it logged in is over");
    assert_eq!(ada.get("/api/identity", &session.access).await.status, StatusCode::OK);
    assert_eq!(ada.log_in_with(&sign(&key, &ada.text(&key).await)).await.code(), "INVALID_CREDENTIALS");
    let log = ada.get("/api/v1/audit", &session.access).await.body.to_string();
    for action in ["wallet_linked", "wallet_login", "wallet_removed"] {
        assert!(log.contains(action), "{action} is not in the log");
    }
}

#[tokio::test]
async fn a_wrong_signature_uses_the_text_up_and_many_lock_the_address() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (mut ada, session) = Person::verified(&server, "ada").await;
    let (key, other) = (wallet(1), wallet(2));
    assert_eq!(ada.link(&session, &key).await.status, StatusCode::OK);
    ada.from = "198.51.100.2";
    for attempt in 0..5 {
        let text = ada.text(&key).await;
        assert_eq!(ada.log_in_with(&sign(&other, &text)).await.code(), "INVALID_CREDENTIALS", "{attempt}");
        let late = ada.log_in_with(&sign(&key, &text)).await;
        assert_eq!(late.code(), if attempt < 4 { "OTP_EXPIRED" } else { "RATE_LIMITED" });
    }
    let locked = ada.log_in_with(&sign(&key, &ada.text(&key).await)).await;
    assert_eq!((locked.status, locked.code()), (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED"));
    ada.from = "198.51.100.3";
    assert_eq!(ada.log_in_with(&sign(&key, &ada.text(&key).await)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_text_serves_the_one_who_asked_for_the_one_purpose() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let (grace, foreign) = Person::verified(&server, "grace").await;
    let key = wallet(1);
    // A text to be linked does not log in, and one to log in does not link.
    let to_link = sign(&key, &ada.link_text(&session.access, &key).await);
    assert_eq!(ada.log_in_with(&to_link).await.code(), "OTP_EXPIRED");
    let to_log_in = sign(&key, &ada.text(&key).await);
    let body = merged(to_log_in, &ada.mailed_confirmation(&session.access).await);
    assert_eq!(ada.send("/api/auth/wallets", &session.access, body).await.code(), "OTP_EXPIRED");
    // Nor does a text of ada's link the wallet to another account: its signer read her name.
    let signed = sign(&key, &ada.link_text(&session.access, &key).await);
    let body = merged(signed, &grace.mailed_confirmation(&foreign.access).await);
    let refused = grace.send("/api/auth/wallets", &foreign.access, body).await;
    assert_eq!(refused.code(), "INVALID_CREDENTIALS");
    // A signature of the right text under another domain, as a page elsewhere would get it.
    let text = ada.text(&key).await;
    let parts = SignIn {
        domain: "cyx.evil",
        address: address(&key).parse().unwrap(),
        intent: Intent::LogIn,
        nonce: text.text("nonce").parse().unwrap(),
        issued_at: text.body["issued_at"].as_u64().unwrap(),
        expires_at: text.body["expires_at"].as_u64().unwrap(),
    };
    assert_eq!(SignIn { domain: "cyx.test", ..parts }.text(), text.text("message"));
    let elsewhere = json!({"challenge_id": text.text("challenge_id"), "signature": show_signature(&parts.sign(&key))});
    assert_eq!(ada.log_in_with(&elsewhere).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(ada.get("/api/auth/wallets", &session.access).await.body, json!({"wallets": []}));
}

#[tokio::test]
async fn linking_needs_a_code_and_texts_are_counted() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let key = wallet(1);
    let signed = sign(&key, &ada.link_text(&session.access, &key).await);
    let confirmed = ada.mailed_confirmation(&session.access).await;
    let mut wrong = merged(signed.clone(), &confirmed);
    let code = confirmed["otp"].as_str().unwrap();
    wrong["otp"] = json!(if code == "000000" { "111111" } else { "000000" });
    assert_eq!(ada.send("/api/auth/wallets", &session.access, wrong).await.code(), "OTP_INVALID");
    let body = merged(signed, &confirmed);
    let linked = ada.send("/api/auth/wallets", &session.access, body).await;
    assert_eq!(linked.status, StatusCode::OK, "a mistyped code costs no signature: {}", linked.body);

    for bad in ["", "0OIl", "abc"] {
        let answer = ada.post("/api/v1/auth/challenge", json!({"wallet": bad})).await;
        assert_eq!(answer.code(), "INVALID_ARGUMENT", "{bad}");
    }
    let mut last = ada.text(&key).await;
    for _ in 0..100 {
        last = ada.text(&key).await;
    }
    assert_eq!((last.status, last.code()), (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED"));
}
