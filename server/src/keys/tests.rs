use cyx_core::ids::Random as _;

use super::*;
use crate::test_support::TestDb;

#[tokio::test]
async fn identity_and_keys_stay_and_a_new_incarnation_is_later_and_holds() {
    let (test, dir) = (TestDb::new().await, tempfile::tempdir().unwrap());
    let db = &test.db;
    let first = ServerKeys::load(db, dir.path()).await.unwrap();
    let again = ServerKeys::load(db, dir.path()).await.unwrap();
    assert_eq!(first.incarnation(), again.incarnation());
    assert_eq!(first.id(), again.id());
    assert_eq!(first.announced().len(), 1);
    let (node, bucket) = (NodeId::random(), BucketId::random());
    assert_eq!(first.tag(node, bucket), again.tag(node, bucket));
    assert_ne!(first.tag(node, bucket), first.tag(NodeId::random(), bucket));

    let new = db.write(|conn| Box::pin(new_incarnation(conn))).await.unwrap();
    assert!(new.time > first.incarnation().time);
    let third = ServerKeys::load(db, dir.path()).await.unwrap();
    assert_eq!(third.incarnation(), new);
    assert_eq!(third.tag(node, bucket), first.tag(node, bucket), "chunks must stay readable after a restore");
    let mut read = db.read().await.unwrap();
    let held: i64 = sqlx::query_scalar("SELECT held FROM network").fetch_one(&mut *read).await.unwrap();
    assert_eq!(held, 1);
}

#[tokio::test]
async fn servers_of_one_database_announce_each_others_keys() {
    let (test, dir) = (TestDb::new().await, tempfile::tempdir().unwrap());
    let db = &test.db;
    let other_dir = tempfile::tempdir().unwrap();
    let first = ServerKeys::load(db, dir.path()).await.unwrap();
    let second = ServerKeys::load(db, other_dir.path()).await.unwrap();
    assert_ne!(first.id(), second.id());
    assert_eq!(second.announced().len(), 2);
    first.refresh(&mut db.read().await.unwrap()).await.unwrap();
    assert!(first.announced().iter().any(|key| key.id == second.id()));
    let [lease, other] = [(); 2].map(|()| LeaseId::random());
    let node = NodeId::random();
    assert_eq!(first.store_grant_id(lease, node), second.store_grant_id(lease, node));
    assert_ne!(first.store_grant_id(lease, node), first.store_grant_id(other, node));
}
