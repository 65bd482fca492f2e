//! Orders against a real database: what counts, what does not, and where it is added up.

use bytes::Bytes;
use cyx_core::ids::{AccountId, GrantId, NodeId};
use cyx_core::order::Order;
use cyx_core::units::MIB;
use ed25519_dalek::SigningKey;

use super::rows::{HAND_IN_SECONDS, NewGrant};
use super::*;
use crate::error::ApiError;
use crate::nodes::testing::{account, node, number, server_with};
use crate::test_support::TestApp;
use crate::time::now_seconds;

const OWNER: AccountId = AccountId([7; 16]);
const GRANT: GrantId = GrantId([1; 16]);

fn session() -> SigningKey {
    SigningKey::from_bytes(&[6; 32])
}

fn node_id(number: u8) -> NodeId {
    node(number).id
}

async fn server() -> TestApp {
    let test = server_with((1..=2).map(node), |_| {}).await;
    account(&test, OWNER, 1 << 40).await;
    issue(&test, NewGrant { id: GRANT, node: node_id(1), lease: None, allowance: 100, expires: now_seconds() + 60 })
        .await;
    test
}

async fn issue(test: &TestApp, grant: NewGrant) {
    let written = test.app.db.write(move |conn| {
        Box::pin(async move {
            let session_key = session().verifying_key().to_bytes();
            promise(conn, &Promise { account: OWNER, session_key, grants: vec![grant] }).await
        })
    });
    written.await.unwrap();
}

fn order(node: NodeId, grant: GrantId, traffic: u64) -> Bytes {
    Order { node, grant, traffic }.sign(&session()).into()
}

async fn results(test: &TestApp, node: NodeId, orders: &[Bytes]) -> Vec<(String, u64)> {
    let results = hand_in(&test.app.db, node, orders.to_vec()).await.unwrap();
    results.into_iter().map(|result| (result.refused, result.settled_bytes)).collect()
}

fn result(refused: &str, settled: u64) -> (String, u64) {
    (refused.to_owned(), settled)
}

async fn sums(test: &TestApp) -> [i64; 2] {
    let sum = |table| format!("SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM {table}");
    [number(test, &sum("traffic_account")).await, number(test, &sum("traffic_node")).await]
}

#[tokio::test]
async fn the_highest_order_counts_once_for_the_account_and_the_node() {
    let test = server().await;
    let orders = [10, 40, 40, 30, 100].map(|traffic| order(node_id(1), GRANT, traffic));
    assert_eq!(
        results(&test, node_id(1), &orders).await,
        [result("", 10), result("", 40), result("already_counted", 40), result("already_counted", 40), result("", 100)]
    );
    assert_eq!(results(&test, node_id(1), &orders[4..]).await, [result("already_counted", 100)]);
    assert_eq!(sums(&test).await, [100, 100]);
    let traffic = of_account(&mut test.app.db.read().await.unwrap(), OWNER, now_seconds()).await.unwrap();
    assert_eq!((traffic.settled, traffic.promised), (100, 0));
}

#[tokio::test]
async fn forged_foreign_and_excessive_orders_do_not_count() {
    let test = server().await;
    let forged = Order { node: node_id(1), grant: GRANT, traffic: 50 }.sign(&SigningKey::from_bytes(&[8; 32]));
    let orders = [
        Bytes::from(forged),
        order(node_id(1), GRANT, 101),
        order(node_id(1), GrantId([2; 16]), 50),
        order(node_id(2), GRANT, 50),
        Bytes::from_static(b"nonsense"),
        // Of one bad order the good ones beside it do not suffer.
        order(node_id(1), GRANT, 7),
    ];
    assert_eq!(
        results(&test, node_id(1), &orders).await,
        [
            result("bad_signature", 0),
            result("over_limit", 0),
            result("unknown_grant", 0),
            result("other_node", 0),
            result("malformed", 0),
            result("", 7)
        ]
    );
    // Another node cannot be paid for it.
    assert_eq!(results(&test, node_id(2), &[order(node_id(1), GRANT, 50)]).await, [result("other_node", 0)]);
    assert_eq!(sums(&test).await, [7, 7]);
}

#[tokio::test]
async fn a_call_is_bounded() {
    let test = server().await;
    let refused: ApiError =
        hand_in(&test.app.db, node_id(1), vec![Bytes::new(); hand_in::ORDERS_MAX + 1]).await.unwrap_err();
    assert!(refused.message.contains("at most"));
}

#[tokio::test]
async fn what_is_settled_is_no_longer_promised_and_stays_when_the_grant_is_forgotten() {
    let test = server().await;
    let traffic = async || of_account(&mut test.app.db.read().await.unwrap(), OWNER, now_seconds()).await.unwrap();
    assert_eq!((traffic().await.settled, traffic().await.promised), (0, 100));
    results(&test, node_id(1), &[order(node_id(1), GRANT, 30)]).await;
    assert_eq!((traffic().await.settled, traffic().await.promised), (30, 70));
    let later = now_seconds() + 61 + HAND_IN_SECONDS;
    let forgotten = test.app.db.write(move |conn| Box::pin(forget_grants(conn, later))).await.unwrap();
    assert_eq!(forgotten, 1);
    assert_eq!((traffic().await.settled, traffic().await.promised), (30, 0));
    assert_eq!(results(&test, node_id(1), &[order(node_id(1), GRANT, 40)]).await, [result("unknown_grant", 0)]);
}

#[test]
fn months_are_those_of_utc() {
    assert_eq!([0, 1_700_000_000, 1_704_067_199, 1_704_067_200].map(month), [197_001, 202_311, 202_312, 202_401]);
}

#[test]
fn readers_share_what_is_left() {
    let left = |limit| Traffic { limit, settled: 0, promised: 0 };
    assert_eq!(read_share(&left(1000 * MIB), 10), Some(25 * MIB));
    assert_eq!(read_share(&left(u64::MAX), 10), Some(1024 * MIB));
    assert_eq!(read_share(&left(1), 10), Some(limit::READ_MIN), "the last grants may exceed the limit a little");
    assert_eq!(read_share(&left(0), 10), None);
    assert_eq!(read_share(&Traffic { limit: 10, settled: 8, promised: 5 }, 1), None);
}
