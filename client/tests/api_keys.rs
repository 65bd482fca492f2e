//! API keys against a gateway that can be made to lie: what is sent of them, what they open, what they refuse.

#![allow(clippy::unwrap_used)]

mod gateway;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cyx_client::config::Token;
use cyx_client::{Client, Config, Error, IntegrityError};
use cyx_core::ids::{BucketId, Random as _};
use cyx_crypto::apikey::ApiToken;
use cyx_crypto::keys::RootKey;
use cyx_crypto::wrap::{AccountKek, BucketAccess, open_root_key, seal_account_key};
use gateway::Gateway;
use serde_json::json;

fn config(gateway: &Gateway, home: &Path, token: &ApiToken) -> Config {
    Config { token: Some(Token(token.clone())), ..gateway.config(home) }
}

/// A gateway with an account that has the buckets `docs` and `other`, and its owner's client.
async fn account(home: &Path) -> (Gateway, Client) {
    let gateway = Gateway::start().await;
    let owner = gateway.client(home).await;
    owner.create_bucket("docs", false).await.unwrap();
    owner.create_bucket("other", false).await.unwrap();
    (gateway, owner)
}

/// Access to `docs`, made from what its owner is shown.
fn access_to_docs(gateway: &Gateway, owner: &Client) -> BucketAccess {
    let row = gateway.state().buckets[0].clone();
    let id = BucketId::try_from(&row.id[..]).unwrap();
    let owner_key = <[u8; 32]>::try_from(&row.owner_key[..]).unwrap();
    let secrets = owner.secrets();
    let root = open_root_key(&secrets.key, &row.wrapped_root_key, id, &owner_key, owner.account()).ok().unwrap();
    BucketAccess::make(id, owner_key, root)
}

fn keep(gateway: &Gateway, bucket: Option<BucketId>, wrapped: &[u8]) {
    let answer = json!({ "bucket": bucket, "permissions": ["storage:read"], "wrapped_keys": STANDARD.encode(wrapped) });
    gateway.state().api_key = Some(answer);
}

#[tokio::test]
async fn a_key_of_the_account_opens_it_alone_and_its_secret_stays_here() {
    let (home, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (gateway, owner) = account(home.path()).await;
    let token = ApiToken::make();
    keep(&gateway, None, &seal_account_key(AccountKek::Device(&token.device_key()), &owner.secrets().key));

    let config = config(&gateway, elsewhere.path(), &token);
    let client = Client::open(&config).await.unwrap();
    let names: Vec<_> = client.buckets().await.unwrap().into_iter().map(|bucket| bucket.unwrap().name).collect();
    assert_eq!(names, ["docs", "other"]);
    assert!(!elsewhere.path().join("credentials.json").exists());

    let text = token.to_text();
    let secret = text.rsplit('.').next().unwrap();
    let sent = format!("{:?}", gateway.state().exchanges);
    assert!(sent.contains(&STANDARD.encode(token.auth())));
    assert!(!sent.contains(secret));
    assert!(!sent.contains(&STANDARD.encode(URL_SAFE_NO_PAD.decode(secret).unwrap())));

    // A token that was taken for too old is exchanged anew.
    gateway.state().expire = true;
    client.buckets().await.unwrap();
    assert_eq!(gateway.state().exchanges.len(), 2);
}

#[tokio::test]
async fn a_key_that_is_refused_says_so() {
    let home = tempfile::tempdir().unwrap();
    let gateway = Gateway::start().await;
    let error = Client::open(&config(&gateway, home.path(), &ApiToken::make())).await.err().unwrap();
    assert!(matches!(error, Error::ApiKeyRefused) && error.exit_code() == 4, "{error}");
}

#[tokio::test]
async fn a_key_of_one_bucket_opens_that_one_and_has_no_account_key() {
    let (home, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (gateway, owner) = account(home.path()).await;
    let (access, token) = (access_to_docs(&gateway, &owner), ApiToken::make());
    keep(&gateway, Some(access.bucket), &access.seal(&token.device_key(), token.id()));
    let everything = gateway.state().buckets.clone();
    gateway.state().buckets.truncate(1);

    let config = config(&gateway, elsewhere.path(), &token);
    let client = Client::open(&config).await.unwrap();
    assert!(client.secrets().key != owner.secrets().key);
    assert_ne!(client.secrets().identity.public(), owner.secrets().identity.public());
    assert_eq!(client.bucket("docs").await.unwrap().id, access.bucket);
    assert!(matches!(client.bucket("other").await, Err(Error::NotFound(_))));
    // The same bucket without its owner's key in the box.
    gateway.state().buckets[0].owner_key = vec![7; 32].into();
    let refused = client.bucket("docs").await.err().unwrap();
    assert!(matches!(refused, Error::Integrity(IntegrityError::OwnerKey)), "{refused}");
    // A server that shows another bucket in its place.
    gateway.state().buckets = everything[1..].to_vec();
    let refused = client.bucket("other").await.err().unwrap();
    assert!(matches!(refused, Error::Integrity(IntegrityError::Mismatch(_))), "{refused}");
}

#[tokio::test]
async fn a_key_that_was_swapped_does_not_open() {
    let (home, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (gateway, owner) = account(home.path()).await;
    let (access, token) = (access_to_docs(&gateway, &owner), ApiToken::make());
    let config = config(&gateway, elsewhere.path(), &token);
    let sealed = access.seal(&token.device_key(), token.id());

    let refused = |error: Option<Error>| matches!(error, Some(Error::Integrity(_)));
    keep(&gateway, Some(BucketId::random()), &sealed);
    assert!(refused(Client::open(&config).await.err()), "for another bucket than the server says");
    keep(&gateway, None, &sealed);
    assert!(refused(Client::open(&config).await.err()), "a bucket's key for the account's");
    let foreign = BucketAccess::make(access.bucket, access.owner, RootKey::make());
    keep(&gateway, Some(access.bucket), &foreign.seal(&ApiToken::make().device_key(), token.id()));
    assert!(refused(Client::open(&config).await.err()), "sealed by somebody else");
}

#[tokio::test]
async fn a_key_goes_to_the_gateway_of_the_last_login_unless_another_is_named() {
    let home = tempfile::tempdir().unwrap();
    let (gateway, owner) = account(home.path()).await;
    let token = ApiToken::make();
    keep(&gateway, None, &seal_account_key(AccountKek::Device(&token.device_key()), &owner.secrets().key));
    let client = Client::open(&Config { gateway: None, ..config(&gateway, home.path(), &token) }).await.unwrap();
    assert_eq!(client.session.gateway().to_string(), owner.session.gateway().to_string());

    let other = Gateway::start().await;
    let refused = Client::open(&config(&other, home.path(), &token)).await.err().unwrap();
    assert!(matches!(refused, Error::ApiKeyRefused), "{refused}");

    // Where the last login was cannot be read: that is no reason to show the key to anybody else.
    std::fs::write(home.path().join("credentials.json"), "{").unwrap();
    let unknown = Config { gateway: None, ..config(&gateway, home.path(), &token) };
    let refused = Client::open(&unknown).await.err().unwrap();
    assert!(matches!(refused, Error::Config { .. }), "{refused}");
    Client::open(&config(&gateway, home.path(), &token)).await.unwrap();
}
