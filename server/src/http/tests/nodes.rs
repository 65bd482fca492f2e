//! What operators and administrators see of nodes, and say about them.

use cyx_core::ids::AccountId;

use super::*;
use crate::nodes::testing::node;
use crate::nodes::{Leaving, NodeRecord, rows};

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

#[tokio::test]
async fn an_owner_ends_a_node_and_takes_that_back() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let (grace, other) = Person::verified(&server, "grace").await;
    let account: AccountId = ada.get("/api/identity", &session.access).await.text("id").parse().unwrap();
    let own = add(&server, 1, account).await;
    let path = format!("/api/v1/nodes/{}/exit", own.id);
    let put = |exit: bool| ada.call(Method::PUT, &path, Some(&session.access), Some(json!({ "exit": exit })));

    let before = ada.get(&path, &session.access).await;
    assert_eq!((before.status, &before.body["leaving"]), (StatusCode::OK, &json!("none")));
    let begun = put(true).await;
    assert_eq!((begun.status, &begun.body["leaving"]), (StatusCode::OK, &json!("exiting")), "{}", begun.body);
    assert_eq!((&begun.body["chunks_left"], &begun.body["receipt"]), (&json!(0), &json!(null)));
    assert_eq!(put(true).await.body["leaving"], "exiting", "twice is once");
    // It is emptied for whoever looks, and nobody else can say what becomes of it.
    assert_eq!(ada.get("/api/v1/nodes/own", &session.access).await.body["nodes"][0]["leaving"], "exiting");
    let foreign = grace.call(Method::PUT, &path, Some(&other.access), Some(json!({"exit": false}))).await;
    assert_eq!(foreign.code(), "NOT_FOUND");
    assert_eq!(grace.get(&path, &other.access).await.code(), "NOT_FOUND");
    assert_eq!(ada.get(&path.replace(&own.id.to_string(), "x"), &session.access).await.code(), "INVALID_ARGUMENT");
    assert_eq!(put(false).await.body["leaving"], "none");
    assert_eq!(ada.get(&path, &session.access).await.body["leaving"], "none");

    // What an administrator drains goes on being drained, whatever its owner takes back.
    let app = &server.running.app;
    crate::repair::leave::set(app, own.id, Leaving::Draining, 1).await.unwrap();
    assert_eq!(put(false).await.body["leaving"], "draining");
    let log = ada.get("/api/v1/audit?limit=100", &session.access).await.body;
    let said: Vec<&str> = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["action"] == "node_leaving")
        .map(|entry| entry["detail"].as_str().unwrap().rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(said, ["exiting", "exiting", "none", "draining"], "{log}");
}

#[tokio::test]
async fn administrators_see_all_nodes_page_by_page_and_those_that_they_ask_for() {
    let server = TestServer::with(|config| config.admins = vec!["root@example.org".into()]).await;
    let (root, admin) = Person::verified(&server, "root").await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let account: AccountId = ada.get("/api/identity", &session.access).await.text("id").parse().unwrap();
    let mut all = Vec::new();
    for number in 1..=5 {
        let owner = if number < 3 { account } else { AccountId([number; 16]) };
        all.push(add(&server, number, owner).await.id.to_string());
    }
    all.sort();
    crate::repair::leave::set(&server.running.app, all[3].parse().unwrap(), Leaving::Draining, 1_000_000_000)
        .await
        .unwrap();
    let get = async |query: &str| {
        root.call(Method::GET, &format!("/api/v1/admin/nodes{query}"), Some(&admin.access), None).await
    };
    let ids = |body: &Value| -> Vec<String> {
        body["nodes"].as_array().unwrap().iter().map(|node| node["node_id"].as_str().unwrap().to_owned()).collect()
    };

    let mut seen = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = get(&query).await.body;
        assert!(ids(&page).len() <= 2);
        seen.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=2&after={next}");
    }
    assert_eq!(seen, all);
    let owned = get("?owner=ada").await.body;
    assert_eq!(ids(&owned).len(), 2);
    assert!(owned["nodes"].as_array().unwrap().iter().all(|node| node["owner"] == "ada"));
    assert_eq!(ids(&get("?leaving=draining").await.body), all[3..4]);
    assert_eq!(ids(&get("?leaving=none").await.body).len(), 4);
    for (query, found) in [("?standing=suspended", 0), ("?region=nowhere", 0)] {
        assert_eq!(ids(&get(query).await.body).len(), found, "{query}");
    }
    let online = get("?state=online").await.body;
    assert!(online["nodes"].as_array().unwrap().iter().all(|node| node["state"] == "online"));
    for bad in ["?state=well", "?standing=good", "?leaving=soon", "?limit=0", "?limit=501", "?after=x", "?limit=-1"] {
        assert_eq!(get(bad).await.code(), "INVALID_ARGUMENT", "{bad}");
    }
    assert_eq!(get("?owner=nobody").await.code(), "NOT_FOUND");

    let one = get(&format!("/{}", all[3])).await.body;
    assert_eq!(
        (&one["leaving"], &one["leaving_progress"]["since"]),
        (&json!("draining"), &json!("1970-01-01T00:00:01Z"))
    );
    assert_eq!((&one["audits"], &one["held_micros"], &one["repairs_queued"]), (&json!(null), &json!(0), &json!(0)));
    assert_eq!(get(&format!("/{}", "0".repeat(32))).await.code(), "NOT_FOUND");
    assert_eq!(get("/x").await.code(), "INVALID_ARGUMENT");
    assert_eq!(ada.get("/api/v1/admin/nodes", &session.access).await.code(), "PERMISSION_DENIED");
    // Everybody's list has pages as well.
    let first = ada.get("/api/v1/nodes?limit=3", &session.access).await.body;
    let rest = ada.get(&format!("/api/v1/nodes?after={}", first["next"].as_str().unwrap()), &session.access).await.body;
    assert_eq!((ids(&first), ids(&rest), &rest["next"]), (all[..3].to_vec(), all[3..].to_vec(), &json!(null)));
    assert_eq!(ada.get("/api/v1/nodes?limit=0", &session.access).await.code(), "INVALID_ARGUMENT");
}
