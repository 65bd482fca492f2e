//! gRPC beside REST.

use cyx_core::error::ErrorCode;
use cyx_core::ids::{BucketId, InodeId, Random as _};
use cyx_core::writers::{WriterAction, WriterList};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::meta_service_client::MetaServiceClient;
use cyx_proto::status::error_code;
use tonic::Request;
use tonic::transport::Channel;

use super::*;

pub(super) async fn channel(address: std::net::SocketAddr) -> Channel {
    let url = format!("http://{address}");
    tonic::transport::Endpoint::from_shared(url).unwrap().connect().await.unwrap()
}

pub(super) fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// Makes a bucket; returns its id.
pub(super) async fn make_bucket(person: &Person<'_>, token: &str) -> BucketId {
    make_named_bucket(person, token, b"token").await
}

/// Makes a bucket with a name; returns its id.
pub(super) async fn make_named_bucket(person: &Person<'_>, token: &str, name: &'static [u8]) -> BucketId {
    let (id, root) = (BucketId::random(), InodeId::random());
    let public = person.key.verifying_key().to_bytes();
    let first_writer = WriterList::empty(id).next(WriterAction::Add, public, 0).sign(&person.key);
    let request = pb::CreateBucketRequest {
        id: bytes_of(id),
        root: bytes_of(root),
        name_token: name.into(),
        sealed_name: b"sealed".as_slice().into(),
        wrapped_root_key: vec![1; 60].into(),
        first_writer: first_writer.into(),
        root_attributes: Some(pb::Attributes { mode: 0o755, ..Default::default() }),
        durable: false,
        ..pb::CreateBucketRequest::default()
    };
    let mut meta = MetaServiceClient::new(channel(person.server.running.http).await);
    meta.create_bucket(with_token(request, token)).await.unwrap();
    id
}

/// Makes a directory in a bucket's root.
pub(super) async fn make_directory(person: &Person<'_>, token: &str, bucket: BucketId) {
    let mut meta = MetaServiceClient::new(channel(person.server.running.http).await);
    let buckets = meta.list_buckets(with_token(pb::ListBucketsRequest::default(), token)).await.unwrap().into_inner();
    let create = pb::Create {
        inode: bytes_of(InodeId::random()),
        kind: pb::InodeKind::Directory.into(),
        directory: buckets.buckets[0].root.clone(),
        names: vec![pb::NameToken { epoch: 0, name: b"name".as_slice().into() }],
        wrapped_key: vec![1; 60].into(),
        attributes: Some(pb::Attributes { mode: 0o755, ..Default::default() }),
        ..Default::default()
    };
    let operation = pb::Operation { operation: Some(pb::operation::Operation::Create(create)) };
    let mutation = pb::Mutation { txn: vec![7; 16].into(), operations: vec![operation], time_ns: None };
    let request = pb::ApplyRequest { bucket: bytes_of(bucket), mutations: vec![mutation], ..Default::default() };
    let answer = meta.apply(with_token(request, token)).await.unwrap().into_inner();
    assert_eq!(answer.results[0].fault, None);
}

#[tokio::test]
async fn the_same_port_serves_both_and_both_refuse_a_session_that_ended() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let bucket = make_bucket(&ada, &session.access).await;
    let over_rest = ada.get("/api/v1/buckets", &session.access).await;
    assert_eq!(over_rest.body["buckets"][0]["id"], bucket.to_string());
    assert_eq!(over_rest.body["buckets"][0]["sealed_name"], base64(b"sealed"));

    let mut meta = MetaServiceClient::new(channel(server.running.http).await);
    let answer = meta.get_quota(with_token(pb::GetQuotaRequest {}, &session.access)).await.unwrap();
    assert_eq!(answer.metadata().get("cyx-incarnation").unwrap().len(), 32);
    assert!(answer.metadata().contains_key("x-request-id"));
    assert_eq!(answer.into_inner().quota.unwrap().limit_bytes, 5_000_000_000);

    ada.call(Method::POST, "/api/auth/logout", Some(&session.access), None).await;
    let refused = meta.get_quota(with_token(pb::GetQuotaRequest {}, &session.access)).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::InvalidCredentials);
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    let refused = meta.get_quota(Request::new(pb::GetQuotaRequest {})).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::InvalidCredentials);
}

#[tokio::test]
async fn calls_that_are_meant_for_another_incarnation_do_nothing() {
    let server = TestServer::new().await;
    let (_ada, session) = Person::verified(&server, "ada").await;
    let mut meta = MetaServiceClient::new(channel(server.running.http).await);
    let mut ask = async |incarnation: &str| {
        let mut request = with_token(pb::GetQuotaRequest {}, &session.access);
        request.metadata_mut().insert("cyx-incarnation", incarnation.parse().unwrap());
        meta.get_quota(request).await
    };
    let present = hex::encode(server.running.app.network.keys.incarnation().to_bytes());
    ask(&present).await.unwrap();
    let refused = ask(&"5".repeat(32)).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::Conflict);
    assert_eq!(refused.metadata().get("cyx-incarnation").unwrap(), &present.as_str());
}

#[tokio::test]
async fn a_service_that_does_not_exist_is_unimplemented() {
    let server = TestServer::new().await;
    let mut nodes_at_users_port =
        cyx_proto::node::v1::node_service_client::NodeServiceClient::new(channel(server.running.http).await);
    let answer = nodes_at_users_port.heartbeat(cyx_proto::node::v1::HeartbeatRequest::default()).await.unwrap_err();
    assert_eq!(answer.code(), tonic::Code::Unimplemented);
    let mut users_at_nodes_port = MetaServiceClient::new(channel(server.running.grpc).await);
    let answer = users_at_nodes_port.get_quota(Request::new(pb::GetQuotaRequest {})).await.unwrap_err();
    assert_eq!(answer.code(), tonic::Code::Unimplemented);
}
