//! Events over WebSocket.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::grpc::{make_bucket, make_directory};
use super::*;
use crate::nodes::ClusterEvent;

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn open(server: &TestServer, query: &str, token: Option<&str>) -> Result<Socket, WsError> {
    let url = format!("ws://{}/ws{query}", server.running.http);
    let mut request = url.into_client_request().unwrap();
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    tokio_tungstenite::connect_async(request).await.map(|(socket, _)| socket)
}

async fn next(socket: &mut Socket) -> Value {
    let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("an event in time");
    serde_json::from_str(message.unwrap().unwrap().to_text().unwrap()).unwrap()
}

/// The next event that is not a heartbeat.
async fn next_event(socket: &mut Socket) -> Value {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let event = next(socket).await;
        if event["type"] != "Heartbeat" {
            return event;
        }
    }
    panic!("nothing but heartbeats came");
}

fn left(server: &TestServer, number: u8) {
    let node_id = cyx_core::ids::NodeId([number; 16]);
    server.running.app.network.registry.publish(ClusterEvent::NodeLeft { node_id, reason: "test".into() });
}

#[tokio::test]
async fn the_token_comes_by_header_parameter_or_first_message() {
    let server = TestServer::new().await;
    let (_, session) = Person::verified(&server, "ada").await;
    let mut by_header = open(&server, "", Some(&session.access)).await.unwrap();
    let mut by_parameter = open(&server, &format!("?token={}", session.access), None).await.unwrap();
    let mut by_message = open(&server, "", None).await.unwrap();
    by_message.send(Message::text(json!({"token": session.access}).to_string())).await.unwrap();
    for socket in [&mut by_header, &mut by_parameter, &mut by_message] {
        let first = next(socket).await;
        assert_eq!(first["type"], "Heartbeat");
        assert!(first["data"]["timestamp"].as_u64().unwrap() > 1_700_000_000);
    }
}

#[tokio::test]
async fn bad_tokens_and_parameters_are_refused() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let status = |result: Result<Socket, WsError>| match result {
        Err(WsError::Http(response)) => response.status().as_u16(),
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(status(open(&server, "", Some("nonsense")).await), 401);
    assert_eq!(status(open(&server, "?token=nonsense", None).await), 401);
    assert_eq!(status(open(&server, "?topics=everything", Some(&session.access)).await), 400);
    assert_eq!(status(open(&server, "?since=x", Some(&session.access)).await), 400);
    assert_eq!(ada.get("/ws", &session.access).await.code(), "INVALID_ARGUMENT", "not a WebSocket request");

    for first in [json!({"token": "nonsense"}), json!({"hello": 1})] {
        let mut socket = open(&server, "", None).await.unwrap();
        socket.send(Message::text(first.to_string())).await.unwrap();
        let event = next(&mut socket).await;
        assert_eq!((&event["type"], &event["data"]["code"]), (&json!("Error"), &json!("INVALID_CREDENTIALS")));
    }
}

#[tokio::test]
async fn topics_choose_what_is_heard() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let mut all = open(&server, "", Some(&session.access)).await.unwrap();
    let mut cluster = open(&server, "?topics=cluster", Some(&session.access)).await.unwrap();
    let mut file = open(&server, "?topics=file", Some(&session.access)).await.unwrap();
    for socket in [&mut all, &mut cluster, &mut file] {
        assert_eq!(next(socket).await["type"], "Heartbeat");
    }
    let bucket = make_bucket(&ada, &session.access).await;
    make_directory(&ada, &session.access, bucket).await;
    let created = next_event(&mut file).await;
    assert_eq!((&created["type"], &created["data"]["key"]), (&json!("FileCreated"), &json!(base64(b"name"))));
    assert_eq!(created["data"]["bucket"], bucket.to_string(), "{created}");
    assert_eq!(next_event(&mut all).await, created);
    left(&server, 5);
    let event = next_event(&mut cluster).await;
    assert_eq!((&event["type"], &event["data"]["reason"]), (&json!("NodeLeft"), &json!("test")));
    assert_eq!(event["data"]["node_id"], "05".repeat(16));
}

#[tokio::test]
async fn a_watcher_goes_on_where_it_was() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let bucket = make_bucket(&ada, &session.access).await;
    make_directory(&ada, &session.access, bucket).await;
    let mut socket = open(&server, &format!("?topics=file&since={bucket}:0"), Some(&session.access)).await.unwrap();
    let event = next_event(&mut socket).await;
    assert_eq!((&event["data"]["bucket"], &event["data"]["sequence"]), (&json!(bucket.to_string()), &json!(1)));
}

#[tokio::test]
async fn nobody_hears_of_other_peoples_buckets() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let (_, other) = Person::verified(&server, "grace").await;
    let mut socket = open(&server, "", Some(&other.access)).await.unwrap();
    assert_eq!(next(&mut socket).await["type"], "Heartbeat");
    let bucket = make_bucket(&ada, &session.access).await;
    make_directory(&ada, &session.access, bucket).await;
    left(&server, 6);
    assert_eq!(next_event(&mut socket).await["type"], "NodeLeft", "the bucket's event would have come first");
}

#[tokio::test]
async fn a_session_that_ends_hears_nothing_more() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let other = ada.log_in().await;
    let mut ended = open(&server, "", Some(&session.access)).await.unwrap();
    let mut stays = open(&server, "", Some(&other.access)).await.unwrap();
    for socket in [&mut ended, &mut stays] {
        assert_eq!(next(socket).await["type"], "Heartbeat");
    }
    ada.call(Method::POST, "/api/auth/logout", Some(&session.access), None).await;
    let event = next(&mut ended).await;
    assert_eq!((&event["type"], &event["data"]["code"]), (&json!("Error"), &json!("INVALID_CREDENTIALS")));
    left(&server, 3);
    assert_eq!(next_event(&mut stays).await["type"], "NodeLeft");
}

#[tokio::test]
async fn a_stopping_server_says_so() {
    let server = TestServer::new().await;
    let (_, session) = Person::verified(&server, "ada").await;
    let mut socket = open(&server, "", Some(&session.access)).await.unwrap();
    assert_eq!(next(&mut socket).await["type"], "Heartbeat");
    let stopping = tokio::spawn(server.stop());
    let event = next_event(&mut socket).await;
    assert_eq!((&event["type"], &event["data"]["code"]), (&json!("Error"), &json!("UNAVAILABLE")));
    stopping.await.unwrap();
}
