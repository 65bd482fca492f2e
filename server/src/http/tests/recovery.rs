//! New passwords, recovery words, new email addresses.

use cyx_core::auth::{StretchParams, recovery_body};
use cyx_core::sign::{Purpose, sign};

use super::*;

pub(super) fn new_password(auth_key: &[u8; 32]) -> Value {
    json!({
        "salt": base64(&[8; 16]),
        "params": {"memory_kib": 65536, "passes": 3, "lanes": 1},
        "auth_key": base64(auth_key),
        "wrapped_account_key": base64(b"wrapped again"),
    })
}

/// What somebody sends who has the words, and so the account's identity key.
fn finish(key: &SigningKey, recovery: &str, auth_key: &[u8; 32]) -> Value {
    let body = recovery_body(
        recovery.parse().unwrap(),
        &[8; 16],
        StretchParams::DEFAULT,
        auth_key,
        b"wrapped again",
        b"under new words",
    );
    json!({
        "recovery_id": recovery,
        "new": new_password(auth_key),
        "recovery_wrapped_account_key": base64(b"under new words"),
        "signature": base64(&sign(key, Purpose::Recovery, &body)),
    })
}

impl Person<'_> {
    /// Begins a recovery and shows its mailed code.
    async fn recover(&self) -> (String, Answer) {
        let begun = self.post("/api/auth/recover", json!({"email": self.email})).await;
        assert_eq!((begun.status, begun.text("message").as_str()), (StatusCode::ACCEPTED, "check your mail"));
        let id = begun.text("recovery_id");
        let code = self.server.running.app.tokens.codes.mailed(id.parse().unwrap());
        self.await_code(&code).await;
        let verified = self.post("/api/auth/recover/verify", json!({"recovery_id": id, "otp": code})).await;
        (id, verified)
    }
}

#[tokio::test]
async fn a_new_password_ends_every_other_session_and_keeps_this_one() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let other = ada.log_in().await;
    let pending = ada.begin().await.text("session_id");
    let body = ada.confirmed(&session.access, json!({"new": new_password(&[9; 32])})).await;
    let mut weak = body.clone();
    weak["new"]["params"]["passes"] = json!(1);
    assert_eq!(ada.send("/api/auth/password", &session.access, weak).await.code(), "INVALID_ARGUMENT");

    let changed = ada.send("/api/auth/password", &session.access, body).await;
    assert_eq!(changed.body, json!({"revoked_sessions": 1}));
    assert_eq!(ada.get("/api/identity", &session.access).await.status, StatusCode::OK);
    assert_eq!(ada.get("/api/identity", &other.access).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(ada.refresh(&other.refresh).await.code(), "INVALID_CREDENTIALS");
    let code = server.running.app.tokens.otp(pending.parse().unwrap());
    assert_eq!(ada.verify(&pending, &code).await.code(), "OTP_EXPIRED", "a login with the old password is over");
    assert_eq!(ada.begin().await.code(), "INVALID_CREDENTIALS");

    let renewed = Person { auth_key: [9; 32], ..Person::new(&server, "ada") };
    let prelogin = renewed.post("/api/auth/prelogin", json!({"email": ada.email})).await;
    assert_eq!(prelogin.text("salt"), base64(&[8; 16]));
    assert_eq!(renewed.log_in().await.verified["wrapped_account_key"], base64(b"wrapped again"));
    ada.await_letter("The password of your cyx account was changed").await;
}

#[tokio::test]
async fn the_recovery_words_set_a_password_and_end_every_session() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let (app, _) = ada.enrol(&session).await;
    let (id, verified) = ada.recover().await;
    assert_eq!(verified.text("recovery_wrapped_account_key"), base64(b"recovery"));
    assert_eq!(verified.text("wrapped_private_keys"), base64(b"private"));

    let mut body = finish(&ada.key, &id, &[9; 32]);
    let answer = ada.post("/api/auth/recover/finish", body.clone()).await;
    assert_eq!(answer.body, json!({}), "{}", answer.body);
    assert_eq!(ada.post("/api/auth/recover/finish", body.clone()).await.code(), "OTP_EXPIRED", "it is used up");
    assert_eq!(ada.get("/api/identity", &session.access).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(ada.begin().await.code(), "INVALID_CREDENTIALS");
    ada.await_letter("Your cyx account was recovered").await;
    let renewed = Person { auth_key: [9; 32], ..Person::new(&server, "ada") };
    let login = renewed.begin().await;
    assert_eq!(login.text("otp_method"), "totp", "the app stays unless it is to go");
    assert_eq!(renewed.verify(&login.text("session_id"), &app.code(1)).await.status, StatusCode::OK);

    let (id, _) = ada.recover().await;
    body = finish(&ada.key, &id, &[10; 32]);
    body["remove_totp"] = json!(true);
    assert_eq!(ada.post("/api/auth/recover/finish", body).await.body, json!({}));
    Person { auth_key: [10; 32], ..Person::new(&server, "ada") }.log_in().await;
}

#[tokio::test]
async fn who_has_the_mail_but_not_the_words_changes_nothing() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let thief = Person { from: "192.0.2.66", ..Person::new(&server, "ada") };
    let (id, _) = thief.recover().await;
    let other = SigningKey::from_bytes(&[66; 32]);
    let forged = thief.post("/api/auth/recover/finish", finish(&other, &id, &[66; 32])).await;
    assert_eq!((forged.status, forged.code()), (StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS"));
    // A signature is for one recovery and for one password.
    let mut moved = finish(&ada.key, &"0".repeat(32), &[66; 32]);
    moved["recovery_id"] = json!(id);
    assert_eq!(thief.post("/api/auth/recover/finish", moved).await.code(), "INVALID_CREDENTIALS");
    let mut changed = finish(&ada.key, &id, &[66; 32]);
    changed["new"]["auth_key"] = json!(base64(&[67; 32]));
    assert_eq!(thief.post("/api/auth/recover/finish", changed).await.code(), "INVALID_CREDENTIALS");
    // Without the code there is nothing to finish.
    let begun = thief.post("/api/auth/recover", json!({"email": ada.email})).await.text("recovery_id");
    let early = thief.post("/api/auth/recover/finish", finish(&ada.key, &begun, &[66; 32])).await;
    assert_eq!(early.code(), "OTP_EXPIRED");
    assert_eq!(ada.get("/api/identity", &session.access).await.status, StatusCode::OK);
    ada.log_in().await;
}

#[tokio::test]
async fn recovering_an_unknown_address_looks_like_recovering_a_known_one() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, _) = Person::verified(&server, "ada").await;
    let mut seen = Vec::new();
    for (name, froms) in [("ada", ["192.0.2.1", "192.0.2.2"]), ("nobody", ["192.0.2.3", "192.0.2.4"])] {
        let person = Person { from: froms[0], ..Person::new(&server, name) };
        let begun = person.post("/api/auth/recover", json!({"email": person.email})).await;
        let id = begun.text("recovery_id");
        let right = server.running.app.tokens.codes.mailed(id.parse().unwrap());
        let wrong = if right == "000000" { "000001" } else { "000000" };
        let mut codes = Vec::new();
        for try_number in 0..6 {
            let from = froms[try_number / 3];
            let guess = Person { from, ..Person::new(&server, name) };
            let body = json!({"recovery_id": id, "otp": wrong});
            codes.push(guess.post("/api/auth/recover/verify", body).await.code().to_owned());
        }
        let begun: Vec<String> = begun.body.as_object().unwrap().keys().cloned().collect();
        let locked = Person { from: "192.0.2.99", ..Person::new(&server, name) }.begin().await.code().to_owned();
        seen.push((begun, codes, locked));
    }
    assert_eq!(seen[0], seen[1]);
    let [.., last] = &seen[0].1[..] else { panic!("six answers") };
    assert_eq!((last.as_str(), seen[0].2.as_str()), ("OTP_EXPIRED", "ACCOUNT_LOCKED"));
    assert!(Person::new(&server, "nobody").letters().is_empty());
    drop(ada);
}

#[tokio::test]
async fn recoveries_of_an_address_are_limited_whether_it_is_known_or_not() {
    let server = TestServer::new().await;
    let (ada, _) = Person::verified(&server, "ada").await;
    for email in ["ada@example.org", "nobody@example.org"] {
        for _ in 0..5 {
            assert_eq!(ada.post("/api/auth/recover", json!({"email": email})).await.status, StatusCode::ACCEPTED);
        }
        assert_eq!(ada.post("/api/auth/recover", json!({"email": email})).await.code(), "RATE_LIMITED", "{email}");
    }
}

#[tokio::test]
async fn new_words_take_the_place_of_the_old_ones() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let confirmed = ada.mailed_confirmation(&session.access).await;
    let put = |wrapped: &'static [u8]| {
        let mut body = confirmed.clone();
        body["recovery_wrapped_account_key"] = json!(base64(wrapped));
        ada.call(Method::PUT, "/api/auth/recovery", Some(&session.access), Some(body))
    };
    assert_eq!(put(b"").await.code(), "INVALID_ARGUMENT");
    assert_eq!(put(b"new").await.body, json!({}));
    assert_eq!(put(b"again").await.code(), "OTP_EXPIRED", "a confirmation is good for one change");
    assert_eq!(ada.recover().await.1.text("recovery_wrapped_account_key"), base64(b"new"));
    ada.await_letter("new recovery words").await;
}

#[tokio::test]
async fn new_words_end_a_recovery_with_the_old_ones() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let (id, verified) = ada.recover().await;
    assert_eq!(verified.status, StatusCode::OK);
    let body = ada.confirmed(&session.access, json!({"recovery_wrapped_account_key": base64(b"under others")})).await;
    let changed = ada.call(Method::PUT, "/api/auth/recovery", Some(&session.access), Some(body)).await;
    assert_eq!(changed.body, json!({}));
    let late = ada.post("/api/auth/recover/finish", finish(&ada.key, &id, &[9; 32])).await;
    assert_eq!((late.status, late.code()), (StatusCode::UNAUTHORIZED, "OTP_EXPIRED"));
    ada.log_in().await;
}

#[tokio::test]
async fn a_new_address_ends_what_waits_for_codes_that_the_old_one_got() {
    let server = TestServer::new().await;
    let (ada, session) = &Person::verified(&server, "ada").await;
    let codes = &server.running.app.tokens.codes;
    let begin = |email: &'static str| async move {
        let begun = ada.send_confirmed("/api/auth/email", &session.access, json!({"email": email})).await;
        begun.text("change_id")
    };
    let confirm = |id: String| {
        let (old, new) = (codes.mailed(id.parse().unwrap()), codes.mailed_elsewhere(id.parse().unwrap()));
        let body = json!({"change_id": id, "otp_old": old, "otp_new": new});
        ada.call(Method::POST, "/api/auth/email/confirm", Some(&session.access), Some(body))
    };
    let (recovery, _) = ada.recover().await;
    let login = ada.begin().await.text("session_id");
    let (stolen, own) = (begin("thief@example.org").await, begin("lovelace@example.org").await);
    assert_eq!(confirm(own).await.body, json!({}));

    assert_eq!(confirm(stolen).await.code(), "OTP_EXPIRED");
    assert_eq!(ada.verify(&login, &codes.mailed(login.parse().unwrap())).await.code(), "OTP_EXPIRED");
    let late = ada.post("/api/auth/recover/finish", finish(&ada.key, &recovery, &[9; 32])).await;
    assert_eq!(late.code(), "OTP_EXPIRED");
    assert_eq!(ada.get("/api/identity", &session.access).await.text("email"), "lovelace@example.org");
}

#[tokio::test]
async fn an_address_is_changed_by_codes_from_both_mailboxes() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let new = Person { auth_key: ada.auth_key, ..Person::new(&server, "lovelace") };
    let confirmed = ada.mailed_confirmation(&session.access).await;
    let begin = |email: &str| {
        let mut body = confirmed.clone();
        body["email"] = json!(email);
        ada.call(Method::POST, "/api/auth/email", Some(&session.access), Some(body))
    };
    assert_eq!(begin("nowhere").await.code(), "INVALID_EMAIL");
    let begun = begin(&new.email).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED);
    let id = begun.text("change_id");
    let codes = &server.running.app.tokens.codes;
    let (old_code, new_code) = (codes.mailed(id.parse().unwrap()), codes.mailed_elsewhere(id.parse().unwrap()));
    ada.await_code(&old_code).await;
    new.await_code(&new_code).await;

    let confirm = |old: &str, new: &str| {
        let body = json!({"change_id": id, "otp_old": old, "otp_new": new});
        ada.call(Method::POST, "/api/auth/email/confirm", Some(&session.access), Some(body))
    };
    if old_code != new_code {
        assert_eq!(confirm(&old_code, &old_code).await.code(), "OTP_INVALID");
        assert_eq!(confirm(&new_code, &new_code).await.code(), "OTP_INVALID");
    }
    assert_eq!(confirm(&old_code, &new_code).await.body, json!({}));
    assert_eq!(confirm(&old_code, &new_code).await.code(), "OTP_EXPIRED");
    assert_eq!(ada.get("/api/identity", &session.access).await.text("email"), new.email);
    assert_eq!(ada.begin().await.code(), "INVALID_CREDENTIALS");
    new.log_in().await;
    ada.await_letter("The email address of your cyx account was changed").await;
    new.await_letter("The email address of your cyx account was changed").await;
}

#[tokio::test]
async fn an_address_that_has_an_account_cannot_be_taken_and_is_not_given_away() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let (grace, _) = Person::verified(&server, "grace").await;
    let begun = ada.send_confirmed("/api/auth/email", &session.access, json!({"email": grace.email})).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "the answer is the same");
    grace.await_letter("already has a cyx account").await;
    let id = begun.text("change_id");
    let codes = &server.running.app.tokens.codes;
    let (old, new) = (codes.mailed(id.parse().unwrap()), codes.mailed_elsewhere(id.parse().unwrap()));
    assert!(!grace.codes().contains(&new), "no code was sent");
    let body = json!({"change_id": id, "otp_old": old, "otp_new": new});
    let refused = ada.send("/api/auth/email/confirm", &session.access, body).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, "CONFLICT"));
    grace.log_in().await;
}
