//! What a stolen session must not be able to do: every change that needs a fresh password and code, with every kind of confirmation that
//! is not good enough.

use std::collections::{BTreeMap, BTreeSet};

use cyx_core::ids::{ApiKeyId, Random as _};
use sqlx::Row as _;

use super::*;
use crate::http::access::Access;
use crate::http::router::routes;

/// What a person's session alone may change, and why that is good enough. A path with another method than GET that is neither here nor
/// of the rule `Confirmed` fails the test.
const SESSION_SUFFICES: &[(&str, &str, &str)] = &[
    ("PUT", "/api/auth/device-key", "what this device may open, sealed under its own secret"),
    ("POST", "/api/auth/logout", "takes away"),
    ("POST", "/api/auth/confirm", "takes the password itself, and changes nothing"),
    ("POST", "/api/auth/keys", "takes the password itself, after a wallet's signature, and changes nothing"),
    ("POST", "/api/auth/factors/totp/confirm", "takes a code of an app whose enrolment was confirmed"),
    ("POST", "/api/auth/wallets/challenge", "a text to sign; linking needs a confirmation"),
    ("POST", "/api/auth/email/confirm", "takes codes of both mailboxes for a change that was confirmed"),
    ("DELETE", "/api/auth/sessions", "takes away"),
    ("DELETE", "/api/auth/sessions/{id}", "takes away"),
    ("DELETE", "/api/auth/api-keys/{id}", "takes away"),
    ("POST", "/api/v1/account/delete/cancel", "keeps the account"),
    ("POST", "/api/machines/enrolments", "lets a node join, which opens nothing"),
    ("PUT", "/api/v1/nodes/{node}/exit", "about a node, which can turn back"),
];

/// A body that would do, but for the confirmation.
fn body_of(path: &str) -> Value {
    match path {
        "/api/auth/factors/totp"
        | "/api/auth/factors/totp/remove"
        | "/api/auth/factors/backup-codes"
        | "/api/v1/account/delete" => json!({}),
        "/api/auth/wallets" => json!({"challenge_id": "0".repeat(32), "signature": "1".repeat(64)}),
        "/api/auth/wallets/remove" => json!({"wallet": "1".repeat(32)}),
        "/api/auth/password" => json!({"new": recovery::new_password(&[9; 32])}),
        "/api/auth/account-key" => {
            account_key::replacement(SigningKey::from_bytes(&[21; 32]).verifying_key().as_bytes())
        }
        "/api/auth/recovery" => json!({"recovery_wrapped_account_key": base64(b"new")}),
        "/api/auth/email" => json!({"email": "new@example.org"}),
        "/api/auth/api-keys" => api_keys::new_key(ApiKeyId::random(), &["storage:read"], None),
        other => panic!("the test does not know what {other} takes"),
    }
}

/// What such a change would change, and the letters that wait to be sent.
async fn state(server: &TestServer) -> BTreeMap<&'static str, String> {
    let mut tx = server.running.app.db.read().await.unwrap();
    let mut found = BTreeMap::new();
    for (name, text) in [
        (
            "account",
            "SELECT id, email, auth_hash, wrapped_account_key, recovery_wrapped_account_key, totp_enrolment, totp_pending, \
             CAST(COALESCE(delete_ns, 0) AS TEXT) FROM account ORDER BY id",
        ),
        ("keys", "SELECT id FROM api_key ORDER BY id"),
        ("backup codes", "SELECT hash FROM backup_code ORDER BY hash"),
        ("wallets", "SELECT address FROM wallet ORDER BY address"),
        ("new addresses", "SELECT id FROM challenge WHERE kind = 'email'"),
    ] {
        let rows = sqlx::query(text).fetch_all(&mut *tx).await.unwrap();
        let mut lines = String::new();
        for row in rows {
            for column in 0..row.len() {
                let bytes = row.try_get::<Option<Vec<u8>>, _>(column).map(Option::unwrap_or_default);
                lines += &bytes.map_or_else(|_| row.try_get::<String, _>(column).unwrap(), hex::encode);
                lines.push(' ');
            }
        }
        found.insert(name, lines);
    }
    found
}

#[test]
fn every_change_by_a_person_is_confirmed_or_says_why_not() {
    let by_persons: BTreeSet<(String, &str)> = routes()
        .iter()
        .filter(|route| route.access == Access::Person && route.method != Method::GET)
        .map(|route| (route.method.to_string(), route.path))
        .collect();
    let excused: BTreeSet<(String, &str)> =
        SESSION_SUFFICES.iter().map(|(method, path, _)| ((*method).to_owned(), *path)).collect();
    assert_eq!(by_persons, excused);
}

#[tokio::test]
async fn no_sensitive_change_without_a_fresh_password_and_code() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let other = ada.log_in().await;
    let (grace, foreign) = Person::verified(&server, "grace").await;
    let sensitive: Vec<_> = routes().into_iter().filter(|route| route.access == Access::Confirmed).collect();
    assert!(sensitive.len() >= 10, "{}", sensitive.len());
    let before = state(&server).await;
    for (number, route) in sensitive.iter().enumerate() {
        // Each path from an address of its own, or the failures of one would lock out the next.
        let from: &'static str = Box::leak(format!("203.0.113.{number}").into_boxed_str());
        let ada = Person { from, ..Person::new(&server, "ada") };
        let call = |body: Value| ada.call(route.method.clone(), route.path, Some(&session.access), Some(body));
        let without = call(body_of(route.path)).await;
        assert_eq!((without.status, without.code()), (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT"), "{}", route.path);
        assert!(without.body.to_string().contains("confirmation_id is missing"), "{}: {}", route.path, without.body);

        let with = |id: &str, otp: &str| {
            let mut body = body_of(route.path);
            (body["confirmation_id"], body["otp"]) = (json!(id), json!(otp));
            body
        };
        // The password alone is not enough, nor the code of a login, nor what belongs to another session or person.
        let id = ada.confirmation(&session.access).await;
        let right = server.running.app.tokens.codes.mailed(id.parse().unwrap());
        let wrong = if right == "000000" { "000001" } else { "000000" };
        assert_eq!(call(with(&id, "")).await.code(), "OTP_INVALID", "{}", route.path);
        assert_eq!(call(with(&id, wrong)).await.code(), "OTP_INVALID", "{}", route.path);
        for nobodys in ["", "no id", &"0".repeat(32)] {
            assert_eq!(call(with(nobodys, &right)).await.code(), "OTP_EXPIRED", "{}", route.path);
        }
        let login = ada.begin().await.text("session_id");
        let code = server.running.app.tokens.otp(login.parse().unwrap());
        assert_eq!(call(with(&login, &code)).await.code(), "OTP_EXPIRED", "{}", route.path);
        for (person, token) in [(&ada, &other.access), (&grace, &foreign.access)] {
            let theirs = person.mailed_confirmation(token).await;
            let (id, otp) = (theirs["confirmation_id"].as_str().unwrap(), theirs["otp"].as_str().unwrap());
            assert_eq!(call(with(id, otp)).await.code(), "OTP_EXPIRED", "{}", route.path);
        }
        assert_eq!(state(&server).await, before, "{}", route.path);
        // A success, or the failures of all paths together would lock the account; and what it was mailed is forgotten.
        ada.log_in().await;
        let forget = server.running.app.db.write::<(), crate::db::DbError, _>(|c| {
            Box::pin(async move {
                sqlx::query("DELETE FROM attempt").execute(c).await?;
                Ok(())
            })
        });
        forget.await.unwrap();
    }
}

#[tokio::test]
async fn with_an_app_its_codes_are_asked_for_and_no_mail_will_do() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let (app, _) = ada.enrol(&session).await;
    let id = ada.confirmation(&session.access).await;
    let mailed = server.running.app.tokens.codes.mailed(id.parse().unwrap());
    let body = |otp: &str| json!({"confirmation_id": id, "otp": otp, "new": recovery::new_password(&[9; 32])});
    if mailed != app.code(0) && mailed != app.code(1) {
        assert_eq!(ada.send("/api/auth/password", &session.access, body(&mailed)).await.code(), "OTP_INVALID");
    }
    let changed = ada.send("/api/auth/password", &session.access, body(&app.code(1))).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
}
