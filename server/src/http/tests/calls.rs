//! Every gRPC method with every kind of caller; limits of calls.
//!
//! Methods are read from the .proto files: one without a rule fails the test.

use cyx_core::error::ErrorCode;
use cyx_core::ids::{BucketId, Random as _};
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::meta_service_client::MetaServiceClient;
use cyx_proto::node::v1::HandInOrdersRequest;
use cyx_proto::node::v1::node_service_client::NodeServiceClient;
use cyx_proto::status::{error_code, retry_after};

use super::grpc::{channel, make_bucket, make_named_bucket, with_token};
use super::*;
use crate::http::arriving::{CALLER_MAX, Who};
use crate::http::calls::{Calls, rule};
use crate::tokens::{Subject, UserType};

/// A kind of caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nobody,
    Nonsense,
    Basic,
    Premium,
    Admin,
    ReadKey,
    WriteKey,
    BucketKey,
    Sibling,
    Machine,
}

/// What the table must say: written down once more, by kind, so that neither is wrong alone.
fn may(kind: Kind, rule: Calls) -> bool {
    let person = matches!(kind, Kind::Basic | Kind::Premium | Kind::Admin);
    match rule {
        Calls::Read => person || matches!(kind, Kind::ReadKey | Kind::BucketKey),
        Calls::Write => person || matches!(kind, Kind::WriteKey | Kind::BucketKey),
        Calls::WriteAll => person || kind == Kind::WriteKey,
        Calls::Machine => kind == Kind::Machine,
    }
}

/// A method as its .proto file has it.
struct Method {
    path: String,
    /// Number of the field that says which bucket it is about.
    bucket: Option<u8>,
}

/// The methods of a file's service.
fn methods(file: &str, service: &str) -> Vec<Method> {
    let text = std::fs::read_to_string(format!("{}/../proto/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let package = text.lines().find_map(|line| line.strip_prefix("package ")).unwrap().trim_end_matches(';');
    let calls = text.lines().filter_map(|line| line.trim().strip_prefix("rpc "));
    let method = |call: &str| {
        let (name, rest) = call.split_once('(').unwrap();
        let request = rest.split_once(')').unwrap().0.trim_start_matches("stream ");
        let body = text.split_once(&format!("message {request} {{")).map_or("", |(_, body)| body);
        let body = body.split_once('}').map_or("", |(body, _)| body);
        let field = body.lines().find_map(|line| line.trim().strip_prefix("bytes bucket = "));
        let bucket = field.map(|field| field.split_once(';').unwrap().0.parse().unwrap());
        Method { path: format!("/{package}.{service}/{name}"), bucket }
    };
    calls.map(method).collect()
}

/// Calls a method with an empty message, or one that names a bucket. Gives the code and the message of a refusal that comes
/// before anything else; of what was let in, nothing.
async fn call(
    server: &TestServer,
    at: std::net::SocketAddr,
    method: &Method,
    token: &str,
    bucket: Option<BucketId>,
) -> (String, String) {
    let mut message = Vec::new();
    if let (Some(field), Some(bucket)) = (method.bucket, bucket) {
        message.extend([(field << 3) | 2, 16]);
        message.extend(bucket.to_vec());
    }
    let mut body = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
    body.extend(message);
    let web = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let mut request = web
        .post(format!("http://{at}{}", method.path))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    let response = request.body(body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{}", method.path);
    let header = |name: &str| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    assert_ne!(header("grpc-status"), "12", "{} is not served at {at} ({})", method.path, server.running.http);
    assert_ne!(header("grpc-status"), "13", "{}: {}", method.path, header("grpc-message"));
    (header("cyx-code"), header("grpc-message"))
}

#[tokio::test]
async fn every_method_lets_in_whom_its_rule_names_and_nobody_else() {
    let server = TestServer::with(|config| {
        config.behind_proxy = true;
        config.admins = vec!["root@example.org".into()];
    })
    .await;
    let (root, admin) = Person::verified(&server, "root").await;
    let (ada, basic) = Person::verified(&server, "ada").await;
    let (_, premium) = Person::verified(&server, "grace").await;
    let plan = Some(json!({"plan": "pro"}));
    root.call(reqwest::Method::PUT, "/api/v1/admin/users/grace/plan", Some(&admin.access), plan).await;
    let bucket = make_bucket(&ada, &basic.access).await;
    let both = ["storage:read", "storage:write"];
    let enrol = Some(json!({"hostname": "h", "os": "o"}));
    let machine = ada.call(reqwest::Method::POST, "/api/machines/register", Some("enrol for tests"), enrol).await;
    let id = basic.verified["account"]["id"].as_str().unwrap().to_owned();
    let subject = Subject { id, permissions: both.map(str::to_owned).to_vec(), ..Subject::default() };
    let life = Duration::from_secs(3600);
    let sibling = server.running.app.tokens.jwt.issue(UserType::User, subject, life).unwrap().token;
    let callers = [
        (Kind::Nobody, String::new()),
        (Kind::Nonsense, "nonsense".to_owned()),
        (Kind::Basic, basic.access.clone()),
        (Kind::Premium, premium.access.clone()),
        (Kind::Admin, admin.access.clone()),
        (Kind::ReadKey, ada.program(&basic, &both[..1], None).await.text("access_token")),
        (Kind::WriteKey, ada.program(&basic, &both[1..], None).await.text("access_token")),
        (Kind::BucketKey, ada.program(&basic, &both, Some(bucket)).await.text("access_token")),
        (Kind::Sibling, sibling),
        (Kind::Machine, machine.text("access_token")),
    ];

    let users =
        methods("cyx/meta/v1/meta.proto", "MetaService").into_iter().map(|method| (server.running.http, method));
    let nodes =
        methods("cyx/node/v1/node.proto", "NodeService").into_iter().map(|method| (server.running.grpc, method));
    let all: Vec<_> = users.chain(nodes).collect();
    assert!(all.len() > 30, "the .proto files are read");
    for (at, method) in all {
        let rule = rule(&method.path).unwrap_or_else(|| panic!("{} has no rule", method.path));
        assert_eq!(rule == Calls::Machine, at == server.running.grpc, "{}", method.path);
        for (kind, token) in &callers {
            let (code, message) = call(&server, at, &method, token, Some(bucket)).await;
            let refused = match kind {
                Kind::Nobody | Kind::Nonsense => code == "INVALID_CREDENTIALS",
                _ => code == "PERMISSION_DENIED",
            };
            assert_eq!(refused, !may(*kind, rule), "{kind:?} {}: {code} {message}", method.path);
        }
    }
}

#[tokio::test]
async fn a_foreign_bucket_is_one_that_does_not_exist() {
    let server = TestServer::new().await;
    let (ada, own) = Person::verified(&server, "ada").await;
    let (grace, foreign) = Person::verified(&server, "grace").await;
    let (mine, hers) = (make_bucket(&ada, &own.access).await, make_bucket(&grace, &foreign.access).await);
    // A key of one bucket must not see another of the same account either.
    let key = ada.program(&own, &["storage:read", "storage:write"], Some(mine)).await.text("access_token");
    let second = make_named_bucket(&ada, &own.access, b"second").await;
    let (mut walked, mut unseen) = (0, 0);
    for method in methods("cyx/meta/v1/meta.proto", "MetaService") {
        if method.bucket.is_none() {
            continue;
        }
        walked += 1;
        for (token, other) in [(&own.access, hers), (&key, second), (&key, hers)] {
            let there = call(&server, server.running.http, &method, token, Some(other)).await;
            let nowhere = call(&server, server.running.http, &method, token, Some(BucketId::random())).await;
            assert_eq!(there, nowhere, "{}", method.path);
            assert_ne!(there.0, "", "{} lets in", method.path);
            unseen += usize::from(there.0 == "NOT_FOUND");
        }
    }
    assert!(walked > 15, "only {walked} methods name a bucket");
    // The others want more in their message before they look for the bucket.
    assert!(unseen > walked, "{unseen} of {walked} found nothing");
}

#[tokio::test]
async fn too_many_calls_are_refused_with_the_time_to_wait() {
    let server = TestServer::with(|config| {
        config.behind_proxy = true;
        config.account_calls_per_second = 1;
    })
    .await;
    let (_, own) = Person::verified(&server, "ada").await;
    let (_, other) = Person::verified(&server, "grace").await;
    let mut meta = MetaServiceClient::new(channel(server.running.http).await);
    let mut quota = async |token: &str, from: &'static str| {
        let mut request = with_token(pb::GetQuotaRequest {}, token);
        request.metadata_mut().insert("x-forwarded-for", from.parse().unwrap());
        meta.get_quota(request).await.map(drop)
    };
    // Ten are saved up; more come back one a second, so that many at once must find the end.
    let mut refused = None;
    for _ in 0..1000 {
        if let Err(status) = quota(&own.access, "198.51.100.1").await {
            refused = Some(status);
            break;
        }
    }
    let refused = refused.expect("there is an end");
    assert_eq!((refused.code(), error_code(&refused)), (tonic::Code::ResourceExhausted, ErrorCode::RateLimited));
    assert!(retry_after(&refused).is_some_and(|pause| pause >= Duration::from_secs(1)));
    quota(&other.access, "198.51.100.2").await.expect("others are not concerned");

    // Without any token the address has its own end.
    let mut refused = None;
    for _ in 0..1000 {
        let status = quota("nonsense", "198.51.100.3").await.unwrap_err();
        if error_code(&status) != ErrorCode::InvalidCredentials {
            refused = Some(status);
            break;
        }
    }
    assert_eq!(error_code(&refused.expect("there is an end")), ErrorCode::RateLimited);
    quota(&other.access, "198.51.100.4").await.expect("other addresses are not concerned");
}

#[tokio::test]
async fn what_has_no_rule_is_not_served() {
    let server = TestServer::new().await;
    let (_, session) = Person::verified(&server, "ada").await;
    for path in ["/cyx.meta.v1.MetaService/Invented", "/cyx.meta.v1.MetaService/", "/cyx.meta.v1.MetaService/Apply/x"] {
        let web = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
        let request =
            web.post(server.url(path)).header("content-type", "application/grpc").bearer_auth(&session.access);
        let response = request.body(vec![0; 5]).send().await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "12", "{path}");
    }
}

#[tokio::test]
async fn lists_of_nothing_are_refused_before_there_is_room_for_them() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let mut meta = MetaServiceClient::new(channel(server.running.http).await);
    let refused = |status: tonic::Status| {
        assert_eq!(error_code(&status), ErrorCode::TooLarge, "{status}");
        assert!(status.message().contains("more memory than any call needs"), "decoded all the same: {status}");
    };
    let mutations = vec![pb::Mutation::default(); 500_000];
    let request = pb::ApplyRequest { mutations, ..pb::ApplyRequest::default() };
    refused(meta.apply(with_token(request, &session.access)).await.unwrap_err());
    let names = vec![pb::NameQuestion { tokens: vec![pb::NameToken::default()] }; 400_000];
    let request = pb::LookupRequest { names, ..pb::LookupRequest::default() };
    refused(meta.lookup(with_token(request, &session.access)).await.unwrap_err());
    meta.get_quota(with_token(pb::GetQuotaRequest {}, &session.access))
        .await
        .expect("the connection is as good as before");

    let enrol = Some(json!({"hostname": "h", "os": "o"}));
    let machine = ada.call(reqwest::Method::POST, "/api/machines/register", Some("enrol for tests"), enrol).await;
    let mut nodes = NodeServiceClient::new(channel(server.running.grpc).await);
    let request = HandInOrdersRequest { orders: vec![Default::default(); 1_100_000], ..Default::default() };
    refused(nodes.hand_in_orders(with_token(request, &machine.text("access_token"))).await.unwrap_err());
}

#[tokio::test]
async fn who_has_sent_much_that_is_not_answered_yet_waits_with_large_messages() {
    let server = TestServer::new().await;
    let (_, own) = Person::verified(&server, "ada").await;
    let (_, other) = Person::verified(&server, "grace").await;
    let account = own.verified["account"]["id"].as_str().unwrap().parse().unwrap();
    let mut meta = MetaServiceClient::new(channel(server.running.http).await);
    let large = pb::GetInodesRequest { ids: vec![vec![7; 16].into(); 60_000], ..pb::GetInodesRequest::default() };
    let elsewhere = server.running.app.arriving.call(Who::Account(account));
    elsewhere.count(CALLER_MAX).unwrap();
    let refused = meta.get_inodes(with_token(large.clone(), &own.access)).await.unwrap_err();
    assert_eq!((refused.code(), error_code(&refused)), (tonic::Code::ResourceExhausted, ErrorCode::RateLimited));
    assert!(retry_after(&refused).is_some());
    // Short, but with lists that are not.
    let lists = pb::GetInodesRequest { ids: vec![Default::default(); 10_000], ..pb::GetInodesRequest::default() };
    let refused = meta.get_inodes(with_token(lists, &own.access)).await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::RateLimited);
    meta.get_quota(with_token(pb::GetQuotaRequest {}, &own.access)).await.expect("small ones are not concerned");
    let mut ask = async |token: &str| error_code(&meta.get_inodes(with_token(large.clone(), token)).await.unwrap_err());
    assert_eq!(ask(&other.access).await, ErrorCode::TooLarge, "others are not concerned");
    drop(elsewhere);
    for _ in 0..60 {
        assert_eq!(ask(&own.access).await, ErrorCode::TooLarge, "what is answered does not count any more");
    }
}
