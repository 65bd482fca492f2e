//! What the tests of this side share.

use std::net::IpAddr;
use std::time::Instant;

use cyx_core::ids::{AccountId, NodeId, PlacementId, Random as _, SegmentId};
use cyx_core::scheme::Scheme;
use cyx_core::units::GIB;
use ed25519_dalek::SigningKey;

use crate::audits::Standing;
use crate::config::Config;
use crate::db::{Backend, DbError};
use crate::placement::Placement;
use crate::test_support::TestApp;

use super::registry::{Leaving, Liveness, NodeRecord, Report, SCORE_FULL};

/// Key of the node with this number.
pub(crate) fn node_key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// A healthy node, alone in its network and with an operator of its own.
pub(crate) fn node(number: u8) -> NodeRecord {
    let public_key = node_key(number).verifying_key().to_bytes();
    NodeRecord {
        id: NodeId::from_public_key(&public_key),
        public_key,
        operator: AccountId([number; 16]),
        machine: format!("machine-{number}"),
        address: format!("10.0.{number}.1:50051"),
        ip: IpAddr::from([10, 0, number, 1]),
        tls: true,
        version: "0.1.0".to_owned(),
        region: String::new(),
        capacity: 100 * GIB,
        report: Report { free: 100 * GIB, ..Report::default() },
        state: Liveness::Online,
        score: SCORE_FULL,
        audit_score: SCORE_FULL,
        standing: Standing::Trusted,
        registered_ns: 1,
        last_heartbeat_ns: 1_000,
        keep_list_sequence: 0,
        leaving: Leaving::None,
    }
}

/// A server with nodes that are there from the start, each alone in its network unless `allow_colocated`.
pub(crate) async fn server_with(
    nodes: impl IntoIterator<Item = NodeRecord>,
    change: impl FnOnce(&mut Config),
) -> TestApp {
    let test = TestApp::with(|config| {
        config.allow_colocated = false;
        change(config);
    })
    .await;
    for record in nodes {
        add(&test, record).await;
    }
    test
}

/// Adds a node as if it had registered.
pub(crate) async fn add(test: &TestApp, record: NodeRecord) {
    let row = record.clone();
    let write = test.app.db.write(move |conn| {
        let row = row.clone();
        Box::pin(async move { super::rows::register(conn, &row).await })
    });
    write.await.unwrap();
    test.app.network.registry.merge(vec![record.clone()], Instant::now(), record.last_heartbeat_ns);
}

/// Runs statements, each in its own transaction.
pub(crate) async fn execute(test: &TestApp, statements: &[String]) {
    for statement in statements {
        let statement = statement.clone();
        let write = test.app.db.write(move |conn| {
            let statement = statement.clone();
            Box::pin(async move {
                sqlx::query(sqlx::AssertSqlSafe(statement)).execute(conn).await?;
                Ok::<_, DbError>(())
            })
        });
        write.await.unwrap();
    }
}

/// One number from the database.
pub(crate) async fn number(test: &TestApp, query: &str) -> i64 {
    let mut read = test.app.db.read().await.unwrap();
    sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned())).fetch_one(&mut *read).await.unwrap()
}

/// Bytes as both databases understand them.
pub(crate) fn literal(test: &TestApp, bytes: &[u8]) -> String {
    match test.app.db.backend() {
        Backend::Sqlite => format!("x'{}'", hex::encode(bytes)),
        Backend::Postgres => format!("'\\x{}'::bytea", hex::encode(bytes)),
    }
}

/// An account with a quota.
pub(crate) async fn account(test: &TestApp, id: AccountId, limit: u64) {
    let (key, none) = (literal(test, &id.0), literal(test, &[]));
    let traffic = 1_u64 << 50;
    let text = format!(
        "INSERT INTO account (id, username, username_key, email, email_key, verified, role, plan, limit_bytes, traffic_limit_bytes, salt, \
         memory_kib, passes, lanes, auth_hash, wrapped_account_key, recovery_wrapped_account_key, signing_public_key, \
         exchange_public_key, wrapped_private_keys, created_ns) VALUES ({key}, '{id}', '{id}', '{id}', '{id}', 1, 'basic', 'free', \
         {limit}, {traffic}, {none}, 1, 1, 1, {none}, {none}, {none}, {none}, {none}, {none}, 1)"
    );
    execute(test, &[text]).await;
}

/// A segment of one placement, with every shard present.
pub(crate) async fn segment(test: &TestApp, id: SegmentId, placement: &Placement) {
    let (k, m) = (placement.scheme.k(), placement.scheme.m());
    let present = (1_u64 << placement.nodes.len()) - 1;
    let (id, place, none) = (literal(test, &id.0), literal(test, &placement.id.0), literal(test, &[]));
    let roots = literal(test, &vec![0; 32 * (k + m)]);
    let text = format!(
        "INSERT INTO segment (id, bucket, k, m, length, slack, placement, present, roots, live_blobs, created_ns, freed_ns) \
         VALUES ({id}, {none}, {k}, {m}, 1, 0, {place}, {present}, {roots}, 1, 1, 0)"
    );
    execute(test, &[text]).await;
}

/// A placement of nodes in this order.
pub(crate) async fn placement(test: &TestApp, scheme: Scheme, nodes: &[NodeId]) -> Placement {
    let placement = Placement { id: PlacementId::random(), scheme, nodes: nodes.to_vec() };
    let (row, backend) = (placement.clone(), test.app.db.backend());
    let write = test.app.db.write(move |conn| {
        let row = row.clone();
        Box::pin(async move { crate::placement::rows::insert(conn, backend, &row, 1).await })
    });
    write.await.unwrap();
    placement
}
