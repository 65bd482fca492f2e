//! Orders against a real database: what counts, what does not, and where it is added up.

use std::time::Duration;

use bytes::Bytes;
use cyx_core::ids::{AccountId, GrantId, NodeId};
use cyx_core::order::Order;
use cyx_core::units::MIB;
use ed25519_dalek::SigningKey;
use sqlx::{AssertSqlSafe, Connection as _};

use super::rows::{HAND_IN_SECONDS, NewGrant};
use super::*;
use crate::db::{Backend, Db, DbError};
use crate::error::ApiError;
use crate::nodes::testing::{account, node, number, server_with};
use crate::test_support::TestApp;
use crate::time::now_seconds;

const OWNER: AccountId = AccountId([7; 16]);
const GRANT: GrantId = GrantId([1; 16]);
/// One whose id is lower than that of an older one.
const LOWER: GrantId = GrantId([0; 16]);

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
    assert_eq!((traffic.settled, traffic.reads), (100, 0));
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
    assert_eq!((traffic().await.settled, traffic().await.reads), (0, 100));
    results(&test, node_id(1), &[order(node_id(1), GRANT, 30)]).await;
    assert_eq!((traffic().await.settled, traffic().await.reads), (30, 70));
    let later = now_seconds() + 61 + HAND_IN_SECONDS;
    let forgotten = test.app.db.write(move |conn| Box::pin(forget_grants(conn, later))).await.unwrap();
    assert_eq!(forgotten, 1);
    assert_eq!((traffic().await.settled, traffic().await.reads), (30, 0));
    assert_eq!(results(&test, node_id(1), &[order(node_id(1), GRANT, 40)]).await, [result("unknown_grant", 0)]);
}

/// SQLite has one writer: nobody waits for a row there.
fn rows_are_locked(test: &TestApp) -> bool {
    test.app.db.backend() == Backend::Postgres
}

#[tokio::test]
async fn orders_count_while_others_are_promised_traffic() {
    let test = server().await;
    if !rows_are_locked(&test) {
        return;
    }
    let db = test.app.db.clone();
    let job = test.app.db.write(move |conn| {
        let db = db.clone();
        Box::pin(async move {
            lock(conn, db.backend(), OWNER).await?;
            // The account has no sum of this month yet. Whoever promises waits for grants next, so nobody may wait for the account with one.
            let orders = vec![order(node_id(1), GRANT, 10)];
            let done = tokio::time::timeout(Duration::from_secs(20), hand_in(&db, node_id(1), orders)).await;
            Ok::<_, DbError>(done.is_ok())
        })
    });
    assert!(job.await.unwrap(), "it waits for the account");
}

/// Runs something that locks two grants while the one with the higher id, which is the older row, is held. Whether the other one is locked
/// meanwhile.
async fn locks_the_lower_first<F>(test: &TestApp, locks: impl FnOnce(Db) -> F) -> bool
where
    F: Future<Output = ()> + Send + 'static,
{
    issue(test, NewGrant { id: LOWER, node: node_id(1), lease: None, allowance: 100, expires: now_seconds() + 60 })
        .await;
    let db = test.app.db.clone();
    let mut holder = db.connect().await.unwrap();
    let lock = |skip| format!("SELECT id FROM traffic_grant WHERE id = $1 FOR UPDATE{skip}");
    sqlx::query("BEGIN").execute(&mut holder).await.unwrap();
    let held = sqlx::query(AssertSqlSafe(lock(""))).bind(GRANT.to_vec()).fetch_optional(&mut holder).await.unwrap();
    assert!(held.is_some());
    let waiting = tokio::spawn(locks(db.clone()));
    let mut is_locked = false;
    for _ in 0..400 {
        let mut other = db.connect().await.unwrap();
        let free = sqlx::query(AssertSqlSafe(lock(" SKIP LOCKED"))).bind(LOWER.to_vec()).fetch_optional(&mut other);
        is_locked = free.await.unwrap().is_none();
        other.close().await.unwrap();
        if is_locked {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(!waiting.is_finished(), "it had to wait");
    sqlx::query("ROLLBACK").execute(&mut holder).await.unwrap();
    waiting.await.unwrap();
    is_locked
}

#[tokio::test]
async fn whoever_locks_several_grants_does_it_in_the_order_of_their_ids() {
    let test = server().await;
    if !rows_are_locked(&test) {
        return;
    }
    let orders = vec![order(node_id(1), GRANT, 10), order(node_id(1), LOWER, 10)];
    let hands_in = async |db: Db| drop(hand_in(&db, node_id(1), orders).await.unwrap());
    assert!(locks_the_lower_first(&test, hands_in).await);

    let test = server().await;
    let session_key = session().verifying_key().to_bytes();
    let releases = async move |db: Db| {
        let now = now_seconds();
        db.write(move |conn| Box::pin(release_reads(conn, OWNER, session_key, now))).await.unwrap();
    };
    assert!(locks_the_lower_first(&test, releases).await);
}

#[tokio::test]
async fn orders_of_one_batch_are_added_up_by_account_and_node() {
    let test = server().await;
    const OTHER: AccountId = AccountId([3; 16]);
    account(&test, OTHER, 1 << 40).await;
    let expires = now_seconds() + 60;
    let grants: Vec<GrantId> = (10..150).map(|number| GrantId([number; 16])).collect();
    for (owner, grants) in [(OWNER, &grants[..100]), (OTHER, &grants[100..])] {
        let new = |id: &GrantId| NewGrant { id: *id, node: node_id(1), lease: None, allowance: 100, expires };
        let (session_key, grants) = (session().verifying_key().to_bytes(), grants.iter().map(new).collect::<Vec<_>>());
        let job = test.app.db.write(move |conn| {
            let promise_ = Promise { account: owner, session_key, grants: grants.clone() };
            Box::pin(async move { promise(conn, &promise_).await })
        });
        job.await.unwrap();
    }
    let orders: Vec<Bytes> = grants.iter().rev().map(|grant| order(node_id(1), *grant, 3)).collect();
    assert_eq!(results(&test, node_id(1), &orders).await, vec![result("", 3); 140]);
    let of = async |owner: AccountId| {
        of_account(&mut test.app.db.read().await.unwrap(), owner, now_seconds()).await.unwrap().settled
    };
    assert_eq!((of(OWNER).await, of(OTHER).await, sums(&test).await), (300, 120, [420, 420]));
    let noted = "SELECT CAST(SUM(traffic - paid_before) AS BIGINT) FROM ledger_order";
    assert_eq!(number(&test, noted).await, 420);
}

#[test]
fn months_are_those_of_utc() {
    assert_eq!([0, 1_700_000_000, 1_704_067_199, 1_704_067_200].map(month), [197_001, 202_311, 202_312, 202_401]);
}

fn first(bytes: u64) -> ReadWish {
    ReadWish { bytes, spent: None }
}

#[test]
fn first_grants_are_for_what_is_read_and_later_ones_grow() {
    let traffic = Traffic { limit: 1 << 50, ..Traffic::default() };
    let allowance = |wish: ReadWish| read_allowances(&traffic, &[wish]).unwrap()[0];
    assert_eq!([1, MIB / 2, MIB].map(|bytes| allowance(first(bytes))), [limit::FIRST_MIN, MIB, limit::FIRST_MAX]);
    assert_eq!(allowance(first(6 * MIB)), 6 * MIB, "who says so gets enough for a chunk at once");
    let (mut spent, mut sizes) = (limit::FIRST_MIN, Vec::new());
    while spent < 1024 * MIB {
        spent = allowance(ReadWish { bytes: MIB, spent: Some(spent) });
        sizes.push(spent / MIB);
    }
    assert_eq!(sizes, [2, 8, 16, 32, 64, 128, 256, 512, 1024], "few questions until they are large");
    assert_eq!(allowance(ReadWish { bytes: MIB, spent: Some(u64::MAX) }), 1024 * MIB);
    assert_eq!(allowance(ReadWish { bytes: 60 * MIB, spent: Some(MIB) }), 120 * MIB, "it has to suffice for a chunk");
    // Who only asks needs no traffic, whatever there is of it.
    let used_up = Traffic { limit: 1, settled: 1, ..Traffic::default() };
    assert_eq!(read_allowances(&used_up, &[first(0), ReadWish { bytes: 0, spent: Some(MIB) }]), Some(vec![0, 0]));
}

#[test]
fn readers_share_what_is_left() {
    let of = |limit, settled| Traffic { limit, settled, ..Traffic::default() };
    let large = [ReadWish { bytes: 1, spent: Some(1024 * MIB) }; 10];
    assert_eq!(read_allowances(&of(1000 * MIB, 0), &large), Some(vec![25 * MIB; 10]));
    let last = limit::READ_MIN;
    assert_eq!(read_allowances(&of(1000 * MIB, 999 * MIB), &large), Some(vec![last; 10]), "a little beyond the limit");
    assert_eq!(read_allowances(&of(1000 * MIB, 1000 * MIB), &[first(1)]), None);
    assert_eq!(read_allowances(&of(100 * MIB, 99 * MIB), &large), None, "not beyond the slack");
}

#[test]
fn reading_does_not_keep_an_account_from_storing() {
    let mut traffic = Traffic { limit: 1000 * MIB, settled: 200 * MIB, leased: 100 * MIB, ..Traffic::default() };
    traffic.reads = traffic.read_slack();
    assert_eq!((traffic.left(), traffic.reserved()), (700 * MIB, 100 * MIB), "the slack does not count");
    while let Some(allowances) = read_allowances(&traffic, &[ReadWish { bytes: 1, spent: Some(1024 * MIB) }]) {
        traffic.reads += allowances[0];
    }
    assert!(traffic.left() >= 350 * MIB, "{traffic:?}");
    // Nor do leases that fill the plan keep it from reading.
    let stored = Traffic { limit: 1000 * MIB, leased: 1000 * MIB, ..Traffic::default() };
    assert!(read_allowances(&stored, &[first(MIB)]).is_some());
}

#[test]
fn what_goes_from_reads_to_given_back_reserves_nothing_more() {
    let limit = 1000 * MIB;
    for given_back in [0, 600 * MIB, limit, 1200 * MIB, 1600 * MIB] {
        for reads in [0, 100 * MIB, 250 * MIB, 400 * MIB] {
            let before = Traffic { limit, reads, given_back, ..Traffic::default() };
            let after = Traffic { reads: 0, given_back: given_back + reads, ..before };
            assert!(after.reserved() <= before.reserved(), "{before:?}");
            // What is not reserved is within the slacks.
            let most = before.reserved() + before.read_slack() + before.given_back_slack();
            assert!(reads + given_back <= most, "{before:?}");
        }
    }
}

#[test]
fn a_refusal_says_what_is_used_and_reserved() {
    let used_up = exceeded(&Traffic { limit: 10, settled: 10, reads: 5, ..Traffic::default() });
    assert_eq!(used_up.message, "this month's traffic of the plan is used up: 10 of 10 bytes");
    let reserved = exceeded(&Traffic { limit: 10, settled: 4, leased: 5, reads: 2, ..Traffic::default() });
    assert!(reserved.message.contains("4 of 10 bytes are used and 7 are reserved"), "{}", reserved.message);
}
