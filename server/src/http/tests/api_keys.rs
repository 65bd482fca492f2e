//! Keys of programs.

use cyx_core::error::ErrorCode;
use cyx_core::ids::{ApiKeyId, BucketId, Random as _};
use cyx_core::writers::{WriterAction, WriterList};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::meta_service_client::MetaServiceClient;
use cyx_proto::status::error_code;

use super::grpc::{channel, make_bucket, with_token};
use super::*;
use crate::tokens::stored_hash;

const AUTH: [u8; 32] = [4; 32];

pub(super) fn new_key(id: ApiKeyId, permissions: &[&str], bucket: Option<BucketId>) -> Value {
    json!({
        "id": id.to_string(),
        "name": "ci",
        "permissions": permissions,
        "bucket": bucket.map(|bucket| bucket.to_string()),
        "auth_hash": base64(&stored_hash(&AUTH)),
        "wrapped_keys": base64(b"what it may open"),
    })
}

impl Person<'_> {
    pub(super) async fn exchange(&self, id: ApiKeyId, auth: &[u8]) -> Answer {
        let key = base64(self.key.verifying_key().as_bytes());
        let body = json!({"id": id.to_string(), "auth": base64(auth), "session_public_key": key});
        self.post("/api/auth/api-keys/token", body).await
    }

    /// Makes a key and exchanges it.
    pub(super) async fn program(&self, session: &Session, permissions: &[&str], bucket: Option<BucketId>) -> Answer {
        let id = ApiKeyId::random();
        let body = new_key(id, permissions, bucket);
        let made = self.send_confirmed("/api/auth/api-keys", &session.access, body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        self.exchange(id, &AUTH).await
    }
}

#[tokio::test]
async fn a_key_is_made_exchanged_listed_and_revoked() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let id = ApiKeyId::random();
    let new = || new_key(id, &["storage:read"], None);
    let made = ada.send_confirmed("/api/auth/api-keys", &session.access, new()).await;
    assert_eq!((made.status, made.text("name").as_str()), (StatusCode::CREATED, "ci"));
    assert_eq!((&made.body["last_used_at"], &made.body["bucket"]), (&Value::Null, &Value::Null));
    ada.await_letter("Your cyx account has a new API key").await;
    let again = ada.send_confirmed("/api/auth/api-keys", &session.access, new()).await;
    assert_eq!((again.status, again.code()), (StatusCode::CONFLICT, "ALREADY_EXISTS"));

    let exchanged = ada.exchange(id, &AUTH).await;
    assert_eq!(exchanged.text("wrapped_keys"), base64(b"what it may open"));
    assert_eq!(exchanged.text("wrapped_private_keys"), base64(b"private"));
    assert_eq!(exchanged.body["permissions"], json!(["storage:read"]));
    let token = exchanged.text("access_token");
    let valid = ada.post("/api/auth/validate", json!({"token": token})).await;
    assert_eq!((&valid.body["user_type"], &valid.body["permissions"]), (&json!("api_key"), &json!(["storage:read"])));
    assert_eq!(ada.get("/api/identity", &token).await.text("username"), "ada");
    let listed = ada.get("/api/auth/api-keys", &session.access).await.body;
    assert!(listed["api_keys"][0]["last_used_at"].is_string(), "{listed}");
    let sessions = ada.get("/api/auth/sessions", &session.access).await.body;
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1, "a key's sessions are not devices");

    for path in ["/api/auth/api-keys", "/api/auth/sessions", "/api/v1/audit", "/api/auth/factors"] {
        assert_eq!(ada.get(path, &token).await.code(), "PERMISSION_DENIED", "{path}");
    }
    let revoke = |token: String| {
        let ada = &ada;
        async move { ada.call(Method::DELETE, &format!("/api/auth/api-keys/{id}"), Some(&token), None).await }
    };
    let (_, foreign) = Person::verified(&server, "grace").await;
    assert_eq!(revoke(foreign.access).await.code(), "NOT_FOUND");
    assert_eq!(revoke(session.access.clone()).await.body, json!({}));
    ada.await_letter("An API key of your cyx account was revoked").await;
    assert_eq!(revoke(session.access.clone()).await.code(), "NOT_FOUND");
    assert_eq!(ada.get("/api/identity", &token).await.code(), "INVALID_CREDENTIALS", "its tokens end at once");
    assert_eq!(ada.exchange(id, &AUTH).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(ada.get("/api/auth/api-keys", &session.access).await.body, json!({"api_keys": []}));
    let mut tx = server.running.app.db.read().await.unwrap();
    let kept: i64 = sqlx::query_scalar("SELECT CAST(COUNT(*) AS BIGINT) FROM api_key WHERE wrapped_keys IS NOT NULL")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(kept, 0, "what it could open is deleted");
}

#[tokio::test]
async fn wrong_old_and_malformed_keys_are_refused_alike() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let id = ApiKeyId::random();
    ada.send_confirmed("/api/auth/api-keys", &session.access, new_key(id, &["storage:read"], None)).await;
    for (from, id, auth) in
        [("192.0.2.1", id, [5; 32]), ("192.0.2.2", ApiKeyId::random(), AUTH), ("192.0.2.3", id, [0; 32])]
    {
        let stranger = Person { from, ..Person::new(&server, "ada") };
        let refused = stranger.exchange(id, &auth).await;
        assert_eq!((refused.status, refused.code()), (StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS"));
    }
    let aged = server.running.app.db.write::<(), crate::db::DbError, _>(|c| {
        Box::pin(async move {
            sqlx::query("UPDATE api_key SET expires_ns = 1").execute(c).await?;
            Ok(())
        })
    });
    aged.await.unwrap();
    assert_eq!(ada.exchange(id, &AUTH).await.code(), "INVALID_CREDENTIALS");

    let cases = [
        ("id", json!("x")),
        ("name", json!("")),
        ("name", json!("two\nlines")),
        ("permissions", json!([])),
        ("permissions", json!(["admin"])),
        ("permissions", json!(["storage:read", "storage:read"])),
        ("bucket", json!("x")),
        ("expires_at", json!(1)),
        ("expires_at", json!(9_999_999_999_u64)),
        ("auth_hash", json!(base64(&[0; 31]))),
        ("wrapped_keys", json!("")),
        ("wrapped_keys", json!(base64(&[0; 4097]))),
        ("signing_public_key", json!(base64(&[0; 32]))),
    ];
    let confirmed = ada.confirmed(&session.access, new_key(ApiKeyId::random(), &["storage:read"], None)).await;
    for (field, value) in cases {
        let mut body = confirmed.clone();
        body[field] = value;
        let answer = ada.send("/api/auth/api-keys", &session.access, body).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT"), "{field}");
    }
    let body = new_key(ApiKeyId::random(), &["storage:read"], Some(BucketId::random()));
    assert_eq!(ada.send_confirmed("/api/auth/api-keys", &session.access, body).await.code(), "NOT_FOUND");
}

#[tokio::test]
async fn guessing_keys_locks_the_address() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let id = ApiKeyId::random();
    ada.send_confirmed("/api/auth/api-keys", &session.access, new_key(id, &["storage:read"], None)).await;
    for n in 10..15 {
        assert_eq!(ada.exchange(id, &[n; 32]).await.code(), "INVALID_CREDENTIALS");
    }
    assert_eq!(ada.exchange(id, &AUTH).await.code(), "RATE_LIMITED");
}

#[tokio::test]
async fn a_key_for_one_bucket_sees_no_other() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let mine = make_bucket(&ada, &session.access).await;
    let mut meta = MetaServiceClient::new(channel(server.running.http).await);
    let program = ada.program(&session, &["storage:read", "storage:write"], Some(mine)).await;
    assert_eq!(program.text("bucket"), mine.to_string());
    assert_eq!(program.text("wrapped_private_keys"), "", "it could not open them");
    let only = program.text("access_token");
    let everything = ada.program(&session, &["storage:read"], None).await.text("access_token");

    // The bucket of somebody else's account, and a second one of the same account.
    let (grace, foreign) = Person::verified(&server, "grace").await;
    let foreign = make_bucket(&grace, &foreign.access).await;
    let second = {
        let rename = server.running.app.db.write::<(), crate::db::DbError, _>(|c| {
            Box::pin(async move {
                // Both buckets of this test have the same name.
                sqlx::query("UPDATE bucket_member SET name_token = bucket").execute(c).await?;
                Ok(())
            })
        });
        rename.await.unwrap();
        make_bucket(&ada, &session.access).await
    };
    let buckets = |token: &str| {
        let request = with_token(pb::ListBucketsRequest::default(), token);
        let mut meta = meta.clone();
        async move { meta.list_buckets(request).await.unwrap().into_inner().buckets.len() }
    };
    assert_eq!((buckets(&only).await, buckets(&everything).await), (1, 2));
    let rest = ada.get("/api/v1/buckets", &only).await.body;
    assert_eq!(rest["buckets"].as_array().unwrap().len(), 1);
    for (bucket, expected) in [(mine, None), (second, Some(ErrorCode::NotFound)), (foreign, Some(ErrorCode::NotFound))]
    {
        let request = pb::GetWritersRequest { bucket: bytes_of(bucket) };
        let answer = meta.get_writers(with_token(request, &only)).await;
        assert_eq!(answer.err().map(|status| error_code(&status)), expected);
        let request = pb::LeasePlacementRequest { bucket: bytes_of(bucket), bytes: 1, count: 1, ..Default::default() };
        let answer = meta.lease_placement(with_token(request, &only)).await;
        let code = answer.err().map(|status| error_code(&status));
        assert_eq!(code == Some(ErrorCode::NotFound), expected.is_some(), "{code:?}");
    }
    let delete = pb::DeleteBucketRequest { id: bytes_of(mine), with_content: true };
    let refused = meta.delete_bucket(with_token(delete, &only)).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::PermissionDenied, "it is not for the account as a whole");
    let write = pb::LeasePlacementRequest { bucket: bytes_of(mine), bytes: 1, count: 1, ..Default::default() };
    let refused = meta.lease_placement(with_token(write, &everything)).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::PermissionDenied, "a key that only reads does not write");
}

#[tokio::test]
async fn writers_of_keys_that_ended_are_named_until_their_owner_closes_them() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let bucket = make_bucket(&ada, &session.access).await;
    let writer = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    let public = writer.verifying_key().to_bytes();
    let id = ApiKeyId::random();
    let mut body = new_key(id, &["storage:read", "storage:write"], Some(bucket));
    body["signing_public_key"] = json!(base64(&public));
    let made = ada.send_confirmed("/api/auth/api-keys", &session.access, body).await;
    assert_eq!(made.status, StatusCode::CREATED);

    let mut client = MetaServiceClient::new(channel(server.running.http).await);
    let mut ended = async || {
        let request = with_token(pb::ListBucketsRequest::default(), &session.access);
        let rows = client.list_buckets(request).await.unwrap().into_inner().buckets;
        rows[0].ended_writers.clone()
    };
    let owner_key = ada.key.verifying_key().to_bytes();
    let mut changing = MetaServiceClient::new(channel(server.running.http).await);
    let mut append = async |action| {
        let request = with_token(pb::GetWritersRequest { bucket: bytes_of(bucket) }, &session.access);
        let entries = changing.get_writers(request).await.unwrap().into_inner().entries;
        let list = WriterList::verify(bucket, &owner_key, &entries).unwrap();
        let entry = list.next(action, public, 0).sign(&ada.key);
        let request = pb::AppendWriterRequest { bucket: bytes_of(bucket), entry: entry.into() };
        changing.append_writer(with_token(request, &session.access)).await.unwrap();
    };
    append(WriterAction::Add).await;
    assert!(ended().await.is_empty(), "it lives");
    let expire = server.running.app.db.write::<(), crate::db::DbError, _>(|conn| {
        Box::pin(async move {
            sqlx::query("UPDATE api_key SET expires_ns = 1").execute(conn).await?;
            Ok(())
        })
    });
    expire.await.unwrap();
    assert_eq!(ended().await, [public.to_vec()]);

    append(WriterAction::Remove).await;
    assert!(ended().await.is_empty(), "it was closed");
}
