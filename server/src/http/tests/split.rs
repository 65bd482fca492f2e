//! The identity part as a process of its own.

use super::*;
use crate::config::ProcessRole;
use crate::db::Backend;
use crate::run::identity::IdentityServer;

#[tokio::test]
async fn who_logs_in_at_the_identity_part_is_logged_in_at_the_others() {
    let server = TestServer::new().await;
    if server.running.app.db.backend() == Backend::Sqlite {
        // One process holds an embedded database; the configuration refuses this there.
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut config = server.config.clone();
    config.role = ProcessRole::Identity;
    config.identity = Some(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    config.data_dir = folder.path().to_owned();
    let part = IdentityServer::start(config).await.unwrap();
    let (ada, _) = Person::verified(&server, "ada").await;
    let web = reqwest::Client::new();
    let at = |path: &str| format!("http://{}{path}", part.address);
    let login = json!({"email": ada.email, "auth_key": base64(&ada.auth_key), "device_name": "elsewhere"});
    let begun: Value = web.post(at("/api/auth/login")).json(&login).send().await.unwrap().json().await.unwrap();
    let id = begun["session_id"].as_str().unwrap();
    let key = base64(ada.key.verifying_key().as_bytes());
    let otp = server.running.app.tokens.otp(id.parse().unwrap());
    let body = json!({"session_id": id, "otp": otp, "session_public_key": key});
    let done = web.post(at("/api/auth/login/verify")).json(&body).send().await.unwrap();
    assert_eq!(done.headers()["cyx-incarnation"].to_str().unwrap().len(), 32);
    let done: Value = done.json().await.unwrap();
    let token = done["access_token"].as_str().unwrap();
    let incarnation = hex::encode(server.running.app.network.keys.incarnation().to_bytes());
    assert_eq!(done["incarnation"], json!(incarnation));

    assert_eq!(ada.get("/api/v1/quota", token).await.status, StatusCode::OK, "the others know it");
    for (path, status) in [("/api/identity", 200), ("/health", 200), ("/api/v1/buckets", 404), ("/ws", 404)] {
        assert_eq!(web.get(at(path)).bearer_auth(token).send().await.unwrap().status(), status, "{path}");
    }
    let announced = server.running.app.network.keys.announced().len();
    server.running.app.network.keys.refresh(&mut server.running.app.db.read().await.unwrap()).await.unwrap();
    assert_eq!(server.running.app.network.keys.announced().len(), announced, "nodes are told of no key of its own");
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "it keeps nothing");

    ada.call(Method::POST, "/api/auth/logout", Some(token), None).await;
    let refused = web.get(at("/api/identity")).bearer_auth(token).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "and it hears of what they end");
    part.stop().await;
}
