//! A new account key, as the server sees it: opaque bytes that change together or not at all.

use cyx_core::error::ErrorCode;
use cyx_core::ids::{ApiKeyId, BucketId, Random as _};
use cyx_core::writers::{WriterAction, WriterList};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::meta_service_client::MetaServiceClient;
use cyx_proto::status::error_code;
use tonic::transport::Channel;

use super::api_keys::new_key;
use super::grpc::{channel, make_bucket, with_token};
use super::*;

const PATH: &str = "/api/auth/account-key";
const AUTH: [u8; 32] = [4; 32];
/// Of the password that comes with the new key.
const NEW_AUTH_KEY: [u8; 32] = [11; 32];

/// A new key of the account `ada`, without buckets and API keys.
pub(super) fn replacement(signing_key: &[u8; 32]) -> Value {
    json!({
        "auth_key": base64(blake3::hash(b"ada").as_bytes()),
        "expected_epoch": 0,
        "account_key_history": base64(b"history 1"),
        "new": recovery::new_password(&NEW_AUTH_KEY),
        "recovery_wrapped_account_key": base64(b"new by words"),
        "device_wrapped_account_key": base64(b"new by device"),
        "signing_public_key": base64(signing_key),
        "exchange_public_key": base64(&[19; 32]),
        "wrapped_private_keys": base64(b"new private"),
        "buckets": [],
        "api_keys": [],
    })
}

/// An account with a bucket.
struct World<'a> {
    ada: Person<'a>,
    session: Session,
    bucket: BucketId,
    meta: MetaServiceClient<Channel>,
    next: SigningKey,
}

impl<'a> World<'a> {
    async fn new(server: &'a TestServer) -> Self {
        let (ada, session) = Person::verified(server, "ada").await;
        let bucket = make_bucket(&ada, &session.access).await;
        let meta = MetaServiceClient::new(channel(server.running.http).await);
        Self { ada, session, bucket, meta, next: SigningKey::from_bytes(&[21; 32]) }
    }

    fn first_owner(&self) -> [u8; 32] {
        self.ada.key.verifying_key().to_bytes()
    }

    async fn list(&mut self) -> pb::ListBucketsResponse {
        let request = with_token(pb::ListBucketsRequest::default(), &self.session.access);
        self.meta.list_buckets(request).await.unwrap().into_inner()
    }

    async fn writers(&mut self) -> WriterList {
        let request = pb::GetWritersRequest { bucket: bytes_of(self.bucket) };
        let entries = self.meta.get_writers(with_token(request, &self.session.access)).await.unwrap().into_inner();
        WriterList::verify(self.bucket, &self.first_owner(), &entries.entries).unwrap()
    }

    /// What a client would send now.
    async fn body(&mut self, api_keys: Value) -> Value {
        let row = self.list().await.buckets.remove(0);
        let key = self.next.verifying_key().to_bytes();
        let entry = self.writers().await.next(WriterAction::HandOver, key, row.sequence).sign(&self.ada.key);
        let mut body = replacement(&key);
        body["buckets"] = json!([{
            "id": self.bucket,
            "replaces": base64(&row.wrapped_root_key),
            "name_token": base64(b"new token"),
            "wrapped_root_key": base64(&[2; 60]),
            "hand_over": base64(&entry),
        }]);
        body["api_keys"] = api_keys;
        body
    }

    async fn key(&self, bucket: Option<BucketId>) -> ApiKeyId {
        let id = ApiKeyId::random();
        let mut body = new_key(id, &["storage:read"], bucket);
        body["owner_wrapped_kek"] = bucket.map(|_| base64(b"old kek")).into();
        let made = self.ada.send_confirmed("/api/auth/api-keys", &self.session.access, body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        id
    }

    async fn keks(&self) -> Value {
        let path = format!("/api/auth/api-keys/buckets/{}", self.bucket);
        self.ada.get(&path, &self.session.access).await.body["api_keys"].clone()
    }
}

#[tokio::test]
async fn everything_under_an_account_key_changes_together_and_what_had_it_ends() {
    let server = TestServer::new().await;
    let mut world = World::new(&server).await;
    let elsewhere = world.ada.log_in().await;
    let (of_bucket, of_account, expired) =
        (world.key(Some(world.bucket)).await, world.key(None).await, world.key(Some(world.bucket)).await);
    let program = world.ada.exchange(of_account, &AUTH).await.text("access_token");
    let expire = server.running.app.db.write::<(), crate::db::DbError, _>(move |conn| {
        Box::pin(async move {
            sqlx::query("UPDATE api_key SET expires_ns = 1 WHERE id = $1").bind(expired.to_vec()).execute(conn).await?;
            Ok(())
        })
    });
    expire.await.unwrap();

    let new_kek = json!([{"id": of_bucket, "owner_wrapped_kek": base64(b"new kek")}]);
    let body = world.body(new_kek).await;
    let done = world.ada.send_confirmed(PATH, &world.session.access, body.clone()).await;
    assert_eq!((done.status, &done.body), (StatusCode::OK, &json!({"account_key_epoch": 1})));
    // Its answer was lost: the same again, whatever has become of the confirmation.
    let mut again = body.clone();
    (again["confirmation_id"], again["otp"]) = (json!("0".repeat(32)), json!("000000"));
    assert_eq!(world.ada.send(PATH, &world.session.access, again).await.body, json!({"account_key_epoch": 1}));

    // This device goes on, with the new key; what else had the old one has ended.
    let keys = world.ada.get("/api/auth/device-key", &world.session.access).await;
    assert_eq!(keys.text("wrapped_account_key"), base64(b"new by device"));
    assert_eq!(keys.text("account_key_history"), base64(b"history 1"));
    assert_eq!(
        (&keys.body["account_key_epoch"], keys.text("wrapped_private_keys")),
        (&json!(1), base64(b"new private"))
    );
    assert_eq!(world.ada.get("/api/identity", &elsewhere.access).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(world.ada.refresh(&elsewhere.refresh).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(world.ada.get("/api/identity", &program).await.code(), "INVALID_CREDENTIALS");
    assert_eq!(world.ada.exchange(of_account, &AUTH).await.code(), "INVALID_CREDENTIALS");
    let exchanged = world.ada.exchange(of_bucket, &AUTH).await;
    assert_eq!((exchanged.status, exchanged.text("wrapped_keys")), (StatusCode::OK, base64(b"what it may open")));
    let keks = world.keks().await;
    assert_eq!((keks.as_array().unwrap().len(), &keks[0]["owner_wrapped_kek"]), (1, &json!(base64(b"new kek"))));

    let rows = world.list().await;
    assert_eq!((rows.account_key_epoch, &rows.buckets[0].name_token[..]), (1, &b"new token"[..]));
    assert_eq!((&rows.buckets[0].wrapped_root_key[..], rows.buckets[0].sequence), (&[2; 60][..], 1));
    let (list, first) = (world.writers().await, world.first_owner());
    assert_eq!(list.owner(&first), world.next.verifying_key().to_bytes());
    world.ada.await_letter("Your cyx account has a new account key").await;
    // Nothing that the old key opened is left in any row.
    let mut tx = server.running.app.db.read().await.unwrap();
    for text in [
        "SELECT COUNT(*) FROM api_key WHERE owner_wrapped_kek IS NOT NULL AND owner_wrapped_kek <> $1",
        "SELECT COUNT(*) FROM api_key WHERE wrapped_keys IS NOT NULL AND owner_wrapped_kek IS DISTINCT FROM $1",
    ] {
        let left: i64 = sqlx::query_scalar(text).bind(&b"new kek"[..]).fetch_one(&mut *tx).await.unwrap();
        assert_eq!(left, 0, "{text}");
    }
    drop(tx);

    // The old password logs in no more, the one that came with the key does.
    assert_eq!(world.ada.begin().await.code(), "INVALID_CREDENTIALS");
    let after = Person { auth_key: NEW_AUTH_KEY, ..Person::new(&server, "ada") };
    let verified = after.log_in().await.verified;
    assert_eq!(verified["wrapped_account_key"], base64(b"wrapped again"));
    assert_eq!(
        (&verified["account_key_epoch"], &verified["account_key_history"]),
        (&json!(1), &json!(base64(b"history 1")))
    );
}

#[tokio::test]
async fn what_changed_meanwhile_is_told_and_uses_up_nothing() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let mut world = World::new(&server).await;
    let key = world.key(Some(world.bucket)).await;
    let kek = json!([{"id": key, "owner_wrapped_kek": base64(b"new kek")}]);
    let right = world.body(kek).await;
    let confirmed = world.ada.mailed_confirmation(&world.session.access).await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = right.clone();
        change(&mut body);
        (body["confirmation_id"], body["otp"]) = (confirmed["confirmation_id"].clone(), confirmed["otp"].clone());
        body
    };
    let before = (world.list().await, world.keks().await);
    let early = world.writers().await.next(WriterAction::HandOver, world.next.verifying_key().to_bytes(), 7);
    let stolen = world.writers().await.next(WriterAction::HandOver, world.next.verifying_key().to_bytes(), 0);
    let early = base64(&early.sign(&world.ada.key));
    let stolen = base64(&stolen.sign(&world.next));
    for (what, code, body) in [
        ("another root key", "RETRY", with(&|body| body["buckets"][0]["replaces"] = json!(base64(&[9; 60])))),
        ("a bucket that is left out", "RETRY", with(&|body| body["buckets"] = json!([]))),
        ("another bucket", "RETRY", with(&|body| body["buckets"][0]["id"] = json!("0".repeat(32)))),
        ("an API key that is left out", "RETRY", with(&|body| body["api_keys"] = json!([]))),
        ("another sequence", "RETRY", with(&|body| body["buckets"][0]["hand_over"] = json!(early))),
        ("another epoch", "STALE_KEY", with(&|body| body["expected_epoch"] = json!(3))),
        ("a list that stays behind", "INVALID_ARGUMENT", with(&|body| body["buckets"][0]["hand_over"] = Value::Null)),
        ("a list that is taken", "INVALID_ARGUMENT", with(&|body| body["buckets"][0]["hand_over"] = json!(stolen))),
        ("no history", "INVALID_ARGUMENT", with(&|body| body["account_key_history"] = json!(""))),
        ("a wrong password", "INVALID_CREDENTIALS", with(&|body| body["auth_key"] = json!(base64(&[1; 32])))),
        ("a wrong code", "OTP_INVALID", {
            let mut body = with(&|_| {});
            body["otp"] = json!(if confirmed["otp"] == "000000" { "000001" } else { "000000" });
            body
        }),
    ] {
        let refused = world.ada.send(PATH, &world.session.access, body).await;
        assert_eq!(refused.code(), code, "{what}: {}", refused.body);
        assert_eq!((world.list().await, world.keks().await), before, "{what}");
    }
    assert!(world.ada.begin().await.status.is_success(), "the password is the one of before");
    let done = world.ada.send(PATH, &world.session.access, with(&|_| {})).await;
    assert_eq!(done.status, StatusCode::OK, "the code still counts: {}", done.body);
}

#[tokio::test]
async fn who_wraps_something_under_a_replaced_account_key_is_told_so() {
    let server = TestServer::with(|config| config.behind_proxy = true).await;
    let mut world = World::new(&server).await;
    let body = world.body(json!([])).await;
    let access = world.session.access.clone();
    assert_eq!(world.ada.send_confirmed(PATH, &access, body).await.status, StatusCode::OK);
    // The same person, who proves the password of now.
    let ada = Person { auth_key: NEW_AUTH_KEY, ..Person::new(&server, "ada") };
    let key = new_key(ApiKeyId::random(), &["storage:read"], None);
    let password = json!({"new": recovery::new_password(&[9; 32])});
    let words = json!({"recovery_wrapped_account_key": base64(b"old by words")});
    for (method, path, mut body) in [
        (Method::POST, "/api/auth/api-keys", key),
        (Method::POST, "/api/auth/password", password),
        (Method::PUT, "/api/auth/recovery", words),
    ] {
        let confirmed = ada.mailed_confirmation(&access).await;
        (body["confirmation_id"], body["otp"]) = (confirmed["confirmation_id"].clone(), confirmed["otp"].clone());
        let stale = ada.call(method.clone(), path, Some(&access), Some(body.clone())).await;
        assert_eq!((stale.status, stale.code()), (StatusCode::CONFLICT, "STALE_KEY"), "{path}");
        let confirmed = ada.mailed_confirmation(&access).await;
        (body["confirmation_id"], body["otp"]) = (confirmed["confirmation_id"].clone(), confirmed["otp"].clone());
        body["account_key_epoch"] = json!(1);
        let done = ada.call(method, path, Some(&access), Some(body)).await;
        assert!(done.status.is_success(), "{path}: {}", done.body);
        if path == "/api/auth/password" {
            break;
        }
    }

    let owner = world.next.verifying_key().to_bytes();
    let request = |epoch| {
        let id = BucketId([80; 16]);
        pb::CreateBucketRequest {
            id: bytes_of(id),
            root: vec![81; 16].into(),
            name_token: b"another".as_slice().into(),
            sealed_name: b"sealed".as_slice().into(),
            wrapped_root_key: vec![1; 60].into(),
            first_writer: WriterList::empty(id).next(WriterAction::Add, owner, 0).sign(&world.next).into(),
            root_attributes: Some(pb::Attributes { mode: 0o755, ..Default::default() }),
            account_key_epoch: epoch,
            ..pb::CreateBucketRequest::default()
        }
    };
    let mut meta = MetaServiceClient::new(channel(server.running.http).await);
    let stale = meta.create_bucket(with_token(request(0), &access)).await.unwrap_err();
    assert_eq!(error_code(&stale), ErrorCode::StaleKey);
    meta.create_bucket(with_token(request(1), &access)).await.unwrap();
    let rotate = |account_key_epoch| pb::RotateBucketRequest {
        bucket: bytes_of(world.bucket),
        expected_epoch: 0,
        epoch: 2,
        sealed_name: b"sealed".as_slice().into(),
        wrapped_root_key: vec![3; 60].into(),
        key_history: vec![4; 81].into(),
        account_key_epoch,
        ..pb::RotateBucketRequest::default()
    };
    let stale = meta.rotate_bucket(with_token(rotate(0), &access)).await.unwrap_err();
    assert_eq!(error_code(&stale), ErrorCode::StaleKey);
    meta.rotate_bucket(with_token(rotate(1), &access)).await.unwrap();
}
