//! An operator's own nodes and what they earn.

use cyx_core::ids::AccountId;

use super::*;
use crate::nodes::testing::node;
use crate::nodes::{NodeRecord, rows};

/// Adds a node of an account as if it had registered.
async fn add(server: &TestServer, number: u8, operator: AccountId) -> NodeRecord {
    let record = NodeRecord { operator, ..node(number) };
    let app = &server.running.app;
    let row = record.clone();
    let write = app.db.write(move |conn| {
        let row = row.clone();
        Box::pin(async move { rows::register(conn, &row).await })
    });
    write.await.unwrap();
    app.network.registry.merge(vec![record.clone()], std::time::Instant::now(), record.last_heartbeat_ns);
    record
}

#[tokio::test]
async fn an_operator_sees_their_own_nodes_and_their_earnings() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let (grace, other) = Person::verified(&server, "grace").await;
    let account: AccountId = ada.get("/api/identity", &session.access).await.text("id").parse().unwrap();
    let own = add(&server, 1, account).await;
    add(&server, 2, AccountId([9; 16])).await;

    let all = ada.get("/api/v1/nodes", &session.access).await.body;
    assert_eq!((all["nodes"].as_array().unwrap().len(), &all["summary"]["nodes"]), (2, &json!(2)));
    let reservation = all["reservation"].as_object().unwrap();
    assert_eq!(reservation.values().map(|bytes| bytes.as_u64().unwrap()).sum::<u64>(), 2_147_483_648);
    assert_eq!(all["summary"]["reserved_bytes"], json!(2 * 2_147_483_648_u64));

    let mine = ada.get("/api/v1/nodes/own", &session.access).await.body;
    assert_eq!(mine["nodes"].as_array().unwrap().len(), 1);
    assert_eq!((&mine["nodes"][0]["node_id"], &mine["nodes"][0]["leaving"]), (&json!(own.id), &json!("none")));
    assert_eq!(grace.get("/api/v1/nodes/own", &other.access).await.body, json!({"nodes": []}));

    let path = format!("/api/v1/nodes/{}/earnings", own.id);
    let earnings = ada.get(&path, &session.access).await;
    assert_eq!(earnings.status, StatusCode::OK, "{}", earnings.body);
    assert_eq!((&earnings.body["epochs"], &earnings.body["open"]["operator_micros"]), (&json!([]), &json!(0)));
    let lines = ada.get(&format!("{path}/1"), &session.access).await;
    assert_eq!(
        (&lines.body["periods"], &lines.body["orders"], &lines.body["next"]),
        (&json!([]), &json!([]), &json!(null))
    );
    assert_eq!(ada.get(&format!("{path}/2"), &session.access).await.code(), "NOT_FOUND");
    assert_eq!(ada.get(&format!("{path}/x"), &session.access).await.code(), "NOT_FOUND");
    // Somebody else's node is as absent as one that does not exist.
    let foreign = grace.get(&path, &other.access).await;
    let absent = grace.get(&path.replace(&own.id.to_string(), &"0".repeat(32)), &other.access).await;
    assert_eq!((foreign.code(), &foreign.body["error"]["message"]), ("NOT_FOUND", &absent.body["error"]["message"]));
    assert_eq!(grace.get(&format!("{path}/1"), &other.access).await.code(), "NOT_FOUND");
}
