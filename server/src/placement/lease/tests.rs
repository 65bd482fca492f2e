use std::time::Duration;

use cyx_core::grant::{Grant, Operations};
use cyx_core::ids::AccountId;

use super::*;
use crate::nodes::testing::{account, execute, node, number, server_with};
use crate::test_support::TestApp;

const OWNER: AccountId = AccountId([7; 16]);
const SESSION: Session = Session { id: SessionId([5; 16]), key: [6; 32] };
const BUCKET: BucketId = BucketId([8; 16]);

async fn cluster(nodes: u8, limit: u64) -> TestApp {
    let test = server_with((1..=nodes).map(node), |_| {}).await;
    account(&test, OWNER, limit).await;
    test
}

fn request(bytes: u64, count: usize) -> LeaseRequest {
    LeaseRequest { bucket: BUCKET, owner: OWNER, durable: false, bytes, avoid: HashSet::new(), at_most: None, count }
}

async fn lease(test: &TestApp, request: &LeaseRequest) -> Result<Vec<pb::PlacementLease>, ApiError> {
    Ok(test.app.network.placements.lease(SESSION, request).await?.leases)
}

async fn consume(
    test: &TestApp,
    id: LeaseId,
    session: SessionId,
    bucket: BucketId,
    bytes: u64,
) -> Result<Lease, LeaseError> {
    test.app.db.write(move |conn| Box::pin(rows::consume(conn, id, session, bucket, bytes, now_seconds()))).await
}

fn id_of(lease: &pb::PlacementLease) -> LeaseId {
    LeaseId::try_from(&lease.lease[..]).unwrap()
}

fn scheme_of(lease: &pb::PlacementLease) -> String {
    convert::scheme(lease.scheme, "scheme").unwrap().to_string()
}

#[tokio::test]
async fn a_lease_has_a_grant_for_every_node_and_spare_that_fits_it() {
    let test = cluster(18, 1 << 40).await;
    let network = &test.app.network;
    let lease = lease(&test, &request(100 * MIB, 1)).await.unwrap().remove(0);
    assert_eq!(scheme_of(&lease), "10+4");
    assert_eq!((lease.nodes.len(), lease.spares.len(), lease.warning.as_str()), (14, 4, ""));
    let key = |id| network.keys.announced().iter().find(|key| key.id == id).map(|key| key.public);
    let mut seen = HashSet::new();
    for access in lease.nodes.iter().chain(&lease.spares) {
        let node = NodeId::try_from(&access.node[..]).unwrap();
        let grant = Grant::verify(&access.grant, key, node, now_seconds()).unwrap();
        assert_eq!(grant.session_key, SESSION.key);
        assert_eq!(grant.operations, Operations::STORE);
        assert_eq!(grant.tags, [network.keys.tag(node, BUCKET)]);
        assert_eq!(&access.bucket_tag[..], &grant.tags[0].0[..]);
        assert!(grant.allowance > 10 * MIB && grant.allowance < 15 * MIB);
        assert_eq!(grant.expires, lease.expires_at);
        assert_eq!(grant.id, network.placements.store_grant_id(id_of(&lease), node));
        assert!(seen.insert(node));
    }
    let placement = cyx_core::ids::PlacementId::try_from(&lease.placement[..]).unwrap();
    let nodes = rows::nodes(&mut test.app.db.read().await.unwrap(), placement).await.unwrap();
    let order: Vec<&[u8]> = lease.nodes.iter().map(|access| &access.node[..]).collect();
    assert_eq!(nodes.iter().map(|node| &node.id.0[..]).collect::<Vec<_>>(), order);
}

#[tokio::test]
async fn fewer_nodes_give_a_narrower_scheme_and_say_what_can_be_lost() {
    for (nodes, scheme, warning) in [
        (14, "10+4", ""),
        (
            12,
            "10+4",
            "only 12 storage nodes are usable together (of 14 wanted), so 10+4 is used: this data survives the loss of 2 of them",
        ),
        (
            10,
            "6+3",
            "only 9 storage nodes are usable together (of 14 wanted), so 6+3 is used: this data survives the loss of 3 of them",
        ),
        (
            3,
            "2+1",
            "only 3 storage nodes are usable together (of 14 wanted), so 2+1 is used: this data survives the loss of 1 of them",
        ),
        (
            1,
            "1+0",
            "only 1 storage node is usable together (of 14 wanted), so 1+0 is used: this data has a single copy there, and losing the node loses it",
        ),
    ] {
        let test = cluster(nodes, 1 << 40).await;
        let lease = lease(&test, &request(MIB, 1)).await.unwrap().remove(0);
        assert_eq!((scheme_of(&lease).as_str(), lease.warning.as_str()), (scheme, warning));
        assert_eq!(test.app.network.placements.present_scheme().unwrap().to_string(), scheme);
    }
    let test = cluster(0, 1 << 40).await;
    assert_eq!(lease(&test, &request(MIB, 1)).await.unwrap_err().code, ErrorCode::TooFewNodes);
}

#[tokio::test]
async fn a_durable_bucket_gets_more_parity_when_nodes_suffice() {
    let durable = LeaseRequest { durable: true, ..request(MIB, 1) };
    for (nodes, scheme) in [(20, "10+10"), (15, "10+10"), (14, "10+4")] {
        let test = cluster(nodes, 1 << 40).await;
        assert_eq!(scheme_of(&lease(&test, &durable).await.unwrap()[0]), scheme);
    }
}

#[tokio::test]
async fn failed_nodes_are_avoided_and_a_narrower_scheme_can_be_asked_for() {
    let test = cluster(14, 1 << 40).await;
    let avoid: HashSet<NodeId> = (1..=4).map(|number| node(number).id).collect();
    let lease_without =
        lease(&test, &LeaseRequest { avoid: avoid.clone(), ..request(MIB, 1) }).await.unwrap().remove(0);
    assert_eq!(scheme_of(&lease_without), "6+3");
    assert!(lease_without.nodes.iter().all(|access| !avoid.contains(&NodeId::try_from(&access.node[..]).unwrap())));
    let narrower = LeaseRequest { at_most: Some(Scheme::new(4, 2).unwrap()), ..request(MIB, 1) };
    assert_eq!(scheme_of(&lease(&test, &narrower).await.unwrap()[0]), "4+2");
}

#[tokio::test]
async fn leases_share_few_placements() {
    let test = cluster(14, 1 << 40).await;
    let mut placements = HashSet::new();
    for _ in 0..20 {
        for lease in lease(&test, &request(MIB, 8)).await.unwrap() {
            placements.insert(lease.placement);
        }
    }
    assert!(placements.len() <= 4, "{}", placements.len());
    assert_eq!(
        number(&test, "SELECT CAST(COUNT(*) AS BIGINT) FROM placement").await,
        i64::try_from(placements.len()).unwrap()
    );
    assert_eq!(number(&test, "SELECT CAST(COUNT(*) AS BIGINT) FROM lease WHERE expires > 1").await, 160);
}

#[tokio::test]
async fn a_placement_that_another_process_deleted_or_closed_is_there_when_it_is_leased() {
    let test = cluster(14, 1 << 40).await;
    let placement = lease(&test, &request(MIB, 1)).await.unwrap().remove(0).placement;
    for gone in [
        &["DELETE FROM lease", "DELETE FROM placement_node", "DELETE FROM placement"][..],
        &["UPDATE placement SET open = 0"],
    ] {
        execute(&test, &gone.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).await;
        // As often as it takes to get the same one again.
        while lease(&test, &request(MIB, 1)).await.unwrap().remove(0).placement != placement {}
        let key = crate::nodes::testing::literal(&test, &placement);
        let open = format!("SELECT COUNT(*) FROM placement WHERE open = 1 AND id = {key}");
        let nodes = format!("SELECT COUNT(*) FROM placement_node WHERE placement = {key}");
        assert_eq!((number(&test, &open).await, number(&test, &nodes).await), (1, 14));
    }
}

#[tokio::test]
async fn what_is_leased_counts_against_the_quota_until_it_is_used_released_or_over() {
    let test = cluster(3, 100 * MIB).await;
    let leases = lease(&test, &request(40 * MIB, 3)).await.unwrap();
    assert_eq!(leases.len(), 2, "as many as fit");
    let refused = lease(&test, &request(21 * MIB, 1)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::QuotaExceeded);
    assert_eq!(
        refused.message,
        "22020096 bytes more do not fit: of 104857600 bytes of the plan 0 are used, 83886080 are reserved by uploads under way or \
         broken off less than 3 minutes ago"
    );
    let rest = lease(&test, &request(20 * MIB, 1)).await.unwrap();
    let full = lease(&test, &request(1, 1)).await.unwrap_err().message;
    assert!(full.starts_with("the plan is full: of 104857600 bytes 0 are used, 104857600 are reserved"), "{full}");
    test.app.network.placements.release(SESSION.id, vec![id_of(&rest[0])]).await.unwrap();
    // Releasing somebody else's lease does nothing.
    let placements = &test.app.network.placements;
    placements.release(SessionId([99; 16]), vec![id_of(&leases[0])]).await.unwrap();
    assert!(lease(&test, &request(21 * MIB, 1)).await.is_err());
    placements.release(SESSION.id, vec![id_of(&leases[0])]).await.unwrap();
    assert_eq!(lease(&test, &request(60 * MIB, 1)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_lease_allows_what_it_says_to_its_session_and_bucket() {
    let test = cluster(3, 1 << 40).await;
    let leases = lease(&test, &request(10, 1)).await.unwrap();
    let id = id_of(&leases[0]);
    assert_eq!(consume(&test, id, SESSION.id, BUCKET, 6).await.unwrap().used, 6);
    assert!(matches!(consume(&test, id, SESSION.id, BUCKET, 5).await, Err(LeaseError::Exhausted)));
    assert!(matches!(consume(&test, id, SessionId([1; 16]), BUCKET, 1).await, Err(LeaseError::Unknown)));
    assert!(matches!(consume(&test, id, SESSION.id, BucketId([1; 16]), 1).await, Err(LeaseError::Unknown)));
    let mut read = test.app.db.read().await.unwrap();
    assert_eq!(rows::pending_bytes(&mut read, OWNER, now_seconds()).await.unwrap(), 4);
    drop(read);
    // What was stored in time can be committed after the end.
    test.app.network.placements.release(SESSION.id, vec![id]).await.unwrap();
    let used_up = consume(&test, id, SESSION.id, BUCKET, 4).await.unwrap();
    assert_eq!((used_up.used, used_up.allowance), (10, 10));
    let forgotten = test.app.db.write(|conn| Box::pin(rows::forget_leases(conn, now_seconds() + 1))).await.unwrap();
    assert_eq!(forgotten, 1);
}

#[tokio::test]
async fn a_session_that_asks_for_too_many_leases_loses_its_oldest() {
    let test = cluster(3, 1 << 40).await;
    for _ in 0..5 {
        lease(&test, &request(MIB, 8)).await.unwrap();
    }
    let mut read = test.app.db.read().await.unwrap();
    let pending = rows::pending_bytes(&mut read, OWNER, now_seconds()).await.unwrap();
    assert_eq!(pending, HELD_MAX as u64 * MIB);
}

#[tokio::test]
async fn leases_end_with_their_grants() {
    let test = server_with((1..=3).map(node), |config| config.grant = Duration::from_secs(100)).await;
    account(&test, OWNER, 1 << 40).await;
    let lease = lease(&test, &request(MIB, 1)).await.unwrap().remove(0);
    assert!(lease.expires_at.abs_diff(now_seconds() + 100) <= 5);
}

async fn traffic(test: &TestApp) -> orders::Traffic {
    orders::of_account(&mut test.app.db.read().await.unwrap(), OWNER, now_seconds()).await.unwrap()
}

#[tokio::test]
async fn leases_are_promised_out_of_the_plans_traffic() {
    let test = cluster(3, 1 << 40).await;
    // 2+1 on three nodes: each may get half of a lease, an eighth of that and 1 MiB more.
    let each = 3 * (8 * MIB + MIB + MIB);
    let limit = 2 * each + MIB;
    execute(&test, &[format!("UPDATE account SET traffic_limit_bytes = {limit}")]).await;
    let leases = lease(&test, &request(16 * MIB, 3)).await.unwrap();
    assert_eq!(leases.len(), 2, "as many as fit");
    assert_eq!(traffic(&test).await, orders::Traffic { limit, leased: 2 * each, ..Default::default() });
    let refused = lease(&test, &request(16 * MIB, 1)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::QuotaExceeded);
    assert!(refused.message.contains("traffic"), "{}", refused.message);
    // Leases that are given back unused release what they held.
    test.app.network.placements.release(SESSION.id, vec![id_of(&leases[0])]).await.unwrap();
    let given_back = orders::Traffic { limit, leased: each, given_back: each, ..Default::default() };
    assert_eq!(traffic(&test).await, given_back);
    assert_eq!(lease(&test, &request(16 * MIB, 1)).await.unwrap().len(), 1);
}

#[test]
fn small_leases_leave_little_when_they_are_given_back() {
    let of_node = |bytes| node_allowance(Scheme::DEFAULT, bytes);
    assert_eq!([0, 10 * MIB, 100 * MIB].map(of_node), [64 * KIB, 2 * MIB + MIB / 8, 12 * MIB + MIB / 4]);
    // Thousands of uploads of one small file each in an hour stay below what may be given back without counting, the traffic of the plan free.
    let nodes = (Scheme::DEFAULT.n() + SPARES) as u64;
    assert!(5000 * nodes * of_node(256 * KIB) < 10_000_000_000);
}

#[tokio::test]
async fn promises_end_with_their_grants() {
    let test = cluster(3, 1 << 40).await;
    lease(&test, &request(MIB, 1)).await.unwrap();
    let later = now_seconds() + 3601;
    let found = orders::of_account(&mut test.app.db.read().await.unwrap(), OWNER, later).await.unwrap();
    assert_eq!((found.leased, found.given_back), (0, 0));
    assert!(traffic(&test).await.leased > 0);
}

#[test]
fn foreign_requests_are_checked() {
    let check = |change: fn(&mut pb::LeasePlacementRequest)| {
        let mut request = pb::LeasePlacementRequest { bytes: 1, ..Default::default() };
        change(&mut request);
        LeaseRequest::new(&request, BUCKET, OWNER, false)
    };
    assert_eq!(check(|_| {}).unwrap().count, 1);
    assert_eq!(check(|r| r.count = 100).unwrap().count, 8);
    assert!(check(|r| r.bytes = 0).is_err());
    assert!(check(|r| r.bytes = u64::MAX).is_err());
    assert!(check(|r| r.avoid = vec![Bytes::from_static(b"x")]).is_err());
    assert!(check(|r| r.avoid = vec![Bytes::from_static(&[0; 16]); 257]).is_err());
    assert!(check(|r| r.at_most = Some(pb::Scheme { k: 0, m: 1 })).is_err());
}
