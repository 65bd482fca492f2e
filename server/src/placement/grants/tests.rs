//! Grants to read against a real database: to whom they are given, how they grow, and what the plan's traffic allows of them.

use std::collections::{HashMap, HashSet};

use cyx_core::ids::SessionId;
use cyx_core::units::MIB;

use super::*;
use crate::db::DbError;
use crate::nodes::testing::{account, execute, node, number, server_with};
use crate::orders::Traffic;
use crate::orders::limit::{FIRST_MAX, FIRST_MIN};
use crate::placement::{LeaseRequest, Session};
use crate::test_support::TestApp;
use cyx_core::error::ErrorCode;

const OWNER: AccountId = AccountId([7; 16]);
const BUCKET: BucketId = BucketId([8; 16]);
const READER: ReaderOf = ReaderOf { account: OWNER, session_key: [6; 32], program: [1; 16] };
/// Traffic of the plan free.
const FREE: u64 = 10_000_000_000;
/// A small file under 10+4.
const SMALL: u64 = 30_000;

async fn cluster(nodes: u8, traffic_limit: u64) -> TestApp {
    let test = server_with((1..=nodes).map(node), |_| {}).await;
    account(&test, OWNER, 1 << 40).await;
    execute(&test, &[format!("UPDATE account SET traffic_limit_bytes = {traffic_limit}")]).await;
    test
}

/// Reads so many bytes from each of the first nodes.
async fn read(
    placements: &Placements,
    reader: ReaderOf,
    bucket: BucketId,
    (nodes, bytes): (u8, u64),
    spent: &[GrantId],
) -> Result<Vec<Grant>, ApiError> {
    let nodes: Vec<ReadFrom> = (1..=nodes).map(|number| ReadFrom { node: node(number).id, bytes }).collect();
    let answer = placements.read_access(reader, bucket, &nodes, spent).await?;
    Ok(answer.iter().map(|access| Grant::read_unchecked(&access.grant).unwrap()).collect())
}

async fn two(test: &TestApp, reader: ReaderOf, bucket: BucketId, spent: &[GrantId]) -> Vec<Grant> {
    read(&test.app.network.placements, reader, bucket, (2, SMALL), spent).await.unwrap()
}

async fn lease(test: &TestApp, bytes: u64) -> Result<pb::LeasePlacementResponse, ApiError> {
    let session = Session { id: SessionId([5; 16]), key: [6; 32] };
    let avoid = HashSet::new();
    let request = LeaseRequest { bucket: BUCKET, owner: OWNER, durable: false, bytes, avoid, at_most: None, count: 1 };
    test.app.network.placements.lease(session, &request).await
}

async fn traffic(test: &TestApp) -> Traffic {
    orders::of_account(&mut test.app.db.read().await.unwrap(), OWNER, now_seconds()).await.unwrap()
}

fn ids(grants: &[Grant]) -> Vec<GrantId> {
    grants.iter().map(|grant| grant.id).collect()
}

#[tokio::test]
async fn they_are_signed_once_per_session_bucket_and_node() {
    let test = cluster(3, FREE).await;
    let first = two(&test, READER, BUCKET, &[]).await;
    assert!(first.iter().all(|grant| (grant.operations, grant.allowance) == (Operations::READ, FIRST_MIN)));
    assert_eq!(two(&test, READER, BUCKET, &[]).await, first);
    let other_session = ReaderOf { session_key: [9; 32], ..READER };
    assert_ne!(two(&test, other_session, BUCKET, &[]).await[0].id, first[0].id);
    assert_ne!(two(&test, READER, BucketId([1; 16]), &[]).await[0].id, first[0].id);
    assert_eq!(number(&test, "SELECT CAST(COUNT(*) AS BIGINT) FROM traffic_grant").await, 6);
    let unknown = ReadFrom { node: NodeId([0; 16]), bytes: 1 };
    let placements = &test.app.network.placements;
    assert!(placements.read_access(READER, BUCKET, &[unknown], &[]).await.unwrap().is_empty(), "it is left out");
    // A node that is named twice gets one.
    let twice = [ReadFrom { node: node(3).id, bytes: 1 }; 2];
    let answer = placements.read_access(READER, BUCKET, &twice, &[]).await.unwrap();
    assert_eq!(answer[0], answer[1]);
}

#[tokio::test]
async fn each_program_of_a_session_has_its_own() {
    let test = cluster(3, FREE).await;
    let first = two(&test, READER, BUCKET, &[]).await;
    for program in 2..10 {
        let other = ReaderOf { program: [program; 16], ..READER };
        let grants = two(&test, other, BUCKET, &[]).await;
        assert!(grants.iter().zip(&first).all(|(one, two)| one.id != two.id));
        assert_eq!(two(&test, other, BUCKET, &[]).await, grants);
    }
    // They do not take each other's away.
    assert_eq!(two(&test, READER, BUCKET, &[]).await, first);
}

#[tokio::test]
async fn spent_ones_are_replaced_by_larger_ones() {
    let test = cluster(3, FREE).await;
    let first = two(&test, READER, BUCKET, &[]).await;
    let spent = ids(&first);
    // Somebody else's word about them does not count.
    let other = ReaderOf { session_key: [9; 32], ..READER };
    assert_eq!(two(&test, other, BucketId([1; 16]), &spent).await[0].allowance, FIRST_MIN);
    // Of two only one is spent.
    let second = two(&test, READER, BUCKET, &spent[..1]).await;
    assert_eq!((second[0].allowance, &second[1]), (4 * FIRST_MIN, &first[1]));
    // A second reader that finds out the same gets what the first one got.
    assert_eq!(two(&test, READER, BUCKET, &spent[..1]).await, second);
    assert_eq!(two(&test, READER, BUCKET, &[]).await, second);
}

#[tokio::test]
async fn how_they_grow_does_not_depend_on_the_server_that_is_asked() {
    let test = cluster(3, FREE).await;
    let first = two(&test, READER, BUCKET, &[]).await;
    let here = &test.app.network.placements;
    let load = || Placements::load(here.db.clone(), here.keys.clone(), here.registry.clone(), here.options);
    let mut spent = ids(&first);
    for allowance in [4 * FIRST_MIN, 16 * FIRST_MIN] {
        let restarted = load().await.unwrap();
        let next = read(&restarted, READER, BUCKET, (2, SMALL), &spent).await.unwrap();
        assert_eq!(next[0].allowance, allowance);
        spent = ids(&next);
    }
    // All that were given still count.
    let found = traffic(&test).await;
    assert_eq!((found.reads, found.given_back), (2 * 16 * FIRST_MIN, 2 * 5 * FIRST_MIN));
}

#[tokio::test]
async fn small_reads_by_many_sessions_in_many_buckets_leave_the_plan_to_uploads() {
    let test = cluster(14, FREE).await;
    let small = |reader, bucket| read(&test.app.network.placements, reader, bucket, (14, SMALL), &[]);
    for bucket in 0..15 {
        small(READER, BucketId([bucket; 16])).await.unwrap();
    }
    for session in 10..16 {
        // Somebody who logs in anew and opens a large file.
        let reader = ReaderOf { session_key: [session; 32], ..READER };
        read(&test.app.network.placements, reader, BUCKET, (14, FIRST_MAX / 2), &[]).await.unwrap();
    }
    for program in 0..100 {
        small(ReaderOf { program: [program; 16], ..READER }, BUCKET).await.unwrap();
    }
    let found = traffic(&test).await;
    assert_eq!((found.left(), found.reserved()), (FREE, 0), "{found:?}");
    assert_eq!(lease(&test, 4096 * MIB).await.unwrap().leases.len(), 1);
}

#[tokio::test]
async fn only_a_sessions_newest_count_as_reads_and_the_older_ones_as_given_back() {
    let test = cluster(14, FREE).await;
    let large = |program, session_key| {
        let reader = ReaderOf { program: [program; 16], session_key, ..READER };
        let placements = Arc::clone(&test.app.network.placements);
        async move { read(&placements, reader, BUCKET, (14, 6 * MIB), &[]).await.unwrap() }
    };
    let each = 14 * 6 * MIB;
    let other = large(0, [9; 32]).await;
    // More than a quarter of the plan, if they added up.
    for program in 0..40 {
        large(program, READER.session_key).await;
    }
    let found = traffic(&test).await;
    assert_eq!((found.reads, found.given_back), (2 * each, 39 * each), "of both sessions the newest");
    assert_eq!((found.left(), found.reserved()), (FREE, 0));
    // The others can still be used, and are handed out.
    assert_eq!(large(0, [9; 32]).await, other);
    large(0, READER.session_key).await;
    assert_eq!(traffic(&test).await, found);
    // Those of a session that has ended count as given back at once.
    let ended = test.app.db.write(|conn| {
        Box::pin(async move {
            let id = SessionId([4; 16]);
            let text = "INSERT INTO session (id, account, device_name, public_key, generation, created_ns, expires_ns) \
                        VALUES ($1, $2, 'laptop', $3, 0, 0, 0)";
            let row = sqlx::query(text).bind(id.to_vec()).bind(OWNER.to_vec()).bind(vec![9_u8; 32]);
            row.execute(&mut *conn).await.map_err(DbError::from)?;
            crate::auth::revoke(conn, id).await
        })
    });
    ended.await.unwrap();
    let found = traffic(&test).await;
    assert_eq!((found.reads, found.given_back), (each, 40 * each));
}

#[tokio::test]
async fn who_only_asks_about_chunks_reserves_nothing() {
    let test = cluster(2, FREE).await;
    let placements = &test.app.network.placements;
    let asks = || async { read(placements, READER, BUCKET, (2, 0), &[]).await.unwrap() };
    let grants = asks().await;
    assert!(grants.iter().all(|grant| (grant.operations, grant.allowance) == (Operations::READ, 0)));
    assert_eq!(number(&test, "SELECT CAST(COUNT(*) AS BIGINT) FROM traffic_grant").await, 0);
    // Who reads does not get them; who asks after that gets what there is.
    let reads = two(&test, READER, BUCKET, &ids(&grants)).await;
    assert!(reads.iter().all(|grant| grant.allowance == FIRST_MIN));
    assert_eq!(asks().await, reads);
    // Nothing is needed of a plan that is used up.
    settle_all(&test).await;
    execute(&test, &["UPDATE account SET traffic_limit_bytes = 1".to_owned()]).await;
    let elsewhere = BucketId([1; 16]);
    assert!(read(placements, READER, elsewhere, (2, 1), &[]).await.is_err());
    assert_eq!(read(placements, READER, elsewhere, (2, 0), &[]).await.unwrap().len(), 2);
}

#[tokio::test]
async fn whatever_a_client_does_the_limit_is_exceeded_by_the_slacks_at_most() {
    let limit = 8000 * MIB;
    let test = cluster(3, limit).await;
    let mut last: HashMap<u8, Vec<GrantId>> = HashMap::new();
    let (mut refused, mut rounds) = (0, 0_u8);
    while refused < 17 {
        refused = 0;
        // New sessions, buckets and programs, and every grant is said to be spent.
        for number in 0..16 {
            let reader = ReaderOf { session_key: [number / 4; 32], program: [rounds; 16], ..READER };
            let spent = last.entry(number / 4).or_default();
            let placements = &test.app.network.placements;
            match read(placements, reader, BucketId([number % 4; 16]), (3, MIB << rounds), spent).await {
                Ok(grants) => *spent = ids(&grants),
                Err(error) => {
                    assert_eq!(error.code, ErrorCode::QuotaExceeded);
                    refused += 1;
                }
            }
        }
        // Leases are given back and their grants kept.
        match lease(&test, 64 * MIB).await {
            Ok(given) => {
                let ids = vec![LeaseId::try_from(&given.leases[0].lease[..]).unwrap()];
                test.app.network.placements.release(SessionId([5; 16]), ids).await.unwrap();
            }
            Err(_) => refused += 1,
        }
        if rounds == 3 {
            settle_all(&test).await;
        }
        rounds += 1;
        let found = traffic(&test).await;
        let possible = found.settled + found.leased + found.reads + found.given_back;
        assert!(possible <= limit + found.read_slack() + found.given_back_slack(), "{found:?}");
    }
    assert!(rounds > 4, "{rounds} rounds");
    assert_eq!(traffic(&test).await.settled, settled(&test).await);
}

/// Everything is moved that may be.
async fn settle_all(test: &TestApp) {
    let now = now_seconds();
    execute(
        test,
        &[
            format!(
                "INSERT INTO traffic_account (account, month, bytes) SELECT account, {}, SUM(allowance) FROM traffic_grant GROUP BY account",
                orders::month(now)
            ),
            "UPDATE traffic_grant SET settled = allowance".to_owned(),
        ],
    )
    .await;
}

async fn settled(test: &TestApp) -> u64 {
    let sum = number(test, "SELECT CAST(COALESCE(SUM(settled), 0) AS BIGINT) FROM traffic_grant").await;
    u64::try_from(sum).unwrap()
}
