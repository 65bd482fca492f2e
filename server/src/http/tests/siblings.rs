//! Tokens of services that share the secret.

use std::time::Duration;

use cyx_core::ids::{AccountId, Random as _};
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::meta_service_client::MetaServiceClient;
use cyx_proto::status::error_code;

use super::grpc::{channel, with_token};
use super::*;
use crate::config::Config;
use crate::tokens::{Subject, Tokens, UserType};

const READ: &str = "storage:read";

async fn with_sibling() -> TestServer {
    TestServer::with(|config| {
        config.behind_proxy = true;
        config.jwt.accepted_issuers.push("sibling".into());
    })
    .await
}

/// A token as another service signs it.
fn token_of(issuer: &str, config: &Config, account: &str, permissions: &[&str], life: u64) -> String {
    let mut config = config.clone();
    config.jwt.issuer = issuer.into();
    let permissions = permissions.iter().map(|&permission| permission.to_owned()).collect();
    let subject = Subject { id: account.to_owned(), session: None, permissions, wallet: None };
    let tokens = Tokens::load(&config).unwrap();
    tokens.jwt.issue(UserType::User, subject, Duration::from_secs(life)).unwrap().token
}

fn account_of(session: &Session) -> String {
    session.verified["account"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_sibling_vouches_for_who_it_is_about_and_for_what_it_may() {
    let server = with_sibling().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let id = account_of(&session);
    let token = token_of("sibling", &server.config, &id, &[READ], 3600);

    let identity = ada.get("/api/identity", &token).await;
    assert_eq!((identity.status, identity.text("username").as_str()), (StatusCode::OK, "ada"));
    assert_eq!(identity.body["permissions"], json!([READ]), "those of the token, not all that the account has");
    let valid = ada.post("/api/auth/validate", json!({"token": token})).await;
    assert_eq!((&valid.body["valid"], valid.text("account_id")), (&json!(true), id.clone()));
    for path in ["/api/v1/identity", "/api/v1/quota", "/api/v1/nodes", "/api/v1/buckets"] {
        assert_eq!(ada.get(path, &token).await.status, StatusCode::OK, "{path}");
    }
    let without = token_of("sibling", &server.config, &id, &[], 3600);
    assert_eq!(ada.get("/api/v1/buckets", &without).await.code(), "PERMISSION_DENIED");
    assert_eq!(ada.get("/api/identity", &without).await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_a_session_nothing_is_changed_and_no_data_is_moved() {
    let server = with_sibling().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let token = token_of("sibling", &server.config, &account_of(&session), &[READ, "storage:write"], 3600);
    for (method, path) in [
        (Method::GET, "/api/auth/sessions"),
        (Method::DELETE, "/api/auth/sessions"),
        (Method::GET, "/api/auth/device-key"),
        (Method::GET, "/api/v1/account/export"),
        (Method::GET, "/api/v1/admin/users"),
        (Method::POST, "/api/machines/register"),
    ] {
        let body = (method == Method::POST).then(|| json!({"hostname": "h", "os": "o"}));
        let refused = ada.call(method, path, Some(&token), body).await;
        assert_eq!((refused.status, refused.code()), (StatusCode::FORBIDDEN, "PERMISSION_DENIED"), "{path}");
    }
    let mut meta = MetaServiceClient::new(channel(server.running.http).await);
    let refused = meta.get_quota(with_token(pb::GetQuotaRequest {}, &token)).await.unwrap_err();
    assert_eq!(error_code(&refused), cyx_core::error::ErrorCode::PermissionDenied);
    assert_eq!(ada.get("/api/auth/sessions", &session.access).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_a_sibling_may_not_say_is_refused() {
    let server = with_sibling().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let id = account_of(&session);
    let stranger = token_of("somebody", &server.config, &id, &[READ], 3600);
    let long = token_of("sibling", &server.config, &id, &[READ], 25 * 3600);
    let nobody = token_of("sibling", &server.config, &AccountId::random().to_string(), &[READ], 3600);
    let unreadable = token_of("sibling", &server.config, "ada", &[READ], 3600);
    let mut other_secret = server.config.clone();
    other_secret.jwt.secret = Some(crate::config::Secret::new(b"another secret than ours".to_vec()));
    let forged = token_of("sibling", &other_secret, &id, &[READ], 3600);
    for (what, token) in
        [("issuer", stranger), ("life", long), ("account", nobody), ("subject", unreadable), ("secret", forged)]
    {
        let refused = ada.get("/api/identity", &token).await;
        assert_eq!((refused.status, refused.code()), (StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS"), "{what}");
        assert_eq!(
            ada.post("/api/auth/validate", json!({"token": token})).await.body,
            json!({"valid": false}),
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_disabled_account_is_nobody_whoever_vouches_for_it() {
    let server = TestServer::with(|config| config.admins = vec!["root@example.org".into()]).await;
    let (root, admin) = Person::verified(&server, "root").await;
    let (ada, session) = Person::verified(&server, "ada").await;
    // The server's own issuer is accepted too: a sibling may share its name as well as its secret.
    let token = token_of("cyxwiz-api", &server.config, &account_of(&session), &[READ], 60);
    assert_eq!(ada.get("/api/identity", &token).await.status, StatusCode::OK);
    let body = Some(json!({"disabled": true}));
    root.call(Method::PUT, "/api/v1/admin/users/ada/disabled", Some(&admin.access), body).await;
    assert_eq!(ada.get("/api/identity", &token).await.code(), "PERMISSION_DENIED");
    assert_eq!(ada.post("/api/auth/validate", json!({"token": token})).await.body, json!({"valid": false}));
}

#[tokio::test]
async fn our_own_tokens_serve_a_sibling_that_knows_the_secret() {
    let server = TestServer::new().await;
    let (_, session) = Person::verified(&server, "ada").await;
    // What any library for JSON web tokens does with the shared secret.
    let key = jsonwebtoken::DecodingKey::from_secret(server.config.jwt.secret.as_ref().unwrap().expose());
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    rules.set_issuer(&["cyxwiz-api"]);
    let claims = jsonwebtoken::decode::<Value>(&session.access, &key, &rules).unwrap().claims;
    assert_eq!((&claims["sub"], &claims["user_type"]), (&json!(account_of(&session)), &json!("user")));
    assert_eq!(claims["permissions"], json!([READ, "storage:write"]));
    for claim in ["exp", "iat", "nbf"] {
        assert!(claims[claim].is_u64(), "{claim}");
    }
    assert!(claims["jti"].is_string());
}
