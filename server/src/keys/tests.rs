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
async fn a_rotated_key_is_announced_at_once_and_old_grants_stay_good() {
    let (test, dir) = (TestDb::new().await, tempfile::tempdir().unwrap());
    let first = ServerKeys::load(&test.db, dir.path()).await.unwrap();
    let new = file::KeyFile::random(now_seconds() + 1);
    new.store(dir.path()).unwrap();
    let second = ServerKeys::load(&test.db, dir.path()).await.unwrap();
    assert_eq!(second.id(), first.id(), "nodes have to hear of the new one first");
    assert!(second.announced().iter().any(|key| key.id == new.id()));
    let older = file::KeyFile::random(now_seconds() - 2 * ANNOUNCE_SECONDS);
    older.store(dir.path()).unwrap();
    let third = ServerKeys::load(&test.db, dir.path()).await.unwrap();
    assert_eq!(third.id(), older.id(), "announced long enough");
    let grant = Grant {
        key: first.id(),
        id: GrantId::random(),
        node: NodeId::random(),
        session_key: [1; 32],
        operations: cyx_core::grant::Operations::READ,
        allowance: 0,
        not_before: now_seconds(),
        expires: now_seconds() + 100,
        tags: vec![],
    };
    let find = |id| third.announced().iter().find(|key| key.id == id).map(|key| key.public);
    assert!(Grant::verify(&third.sign_grant(&grant), find, grant.node, now_seconds()).is_ok());
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

#[tokio::test]
async fn a_server_that_runs_stays_announced_however_many_others_are_started() {
    let (test, dir) = (TestDb::new().await, tempfile::tempdir().unwrap());
    let db = &test.db;
    // A key of before, which signs nothing any more, and one in use.
    let [older, used] = [3, 2].map(|hours| file::KeyFile::random(now_seconds() - hours * ANNOUNCE_SECONDS));
    older.store(dir.path()).unwrap();
    used.store(dir.path()).unwrap();
    let running = ServerKeys::load(db, dir.path()).await.unwrap();
    for _ in 0..3 {
        for _ in 0..ANNOUNCED_MAX / 2 {
            ServerKeys::load(db, tempfile::tempdir().unwrap().path()).await.unwrap();
        }
        running.renew(db).await.unwrap();
    }
    running.refresh(&mut db.read().await.unwrap()).await.unwrap();
    let announced = running.announced();
    assert_eq!(announced.len(), ANNOUNCED_MAX);
    assert!(announced.iter().any(|key| key.id == used.id()), "it runs");
    assert!(announced.iter().all(|key| key.id != older.id()), "what it signed is long over");

    let gone: Result<(), DbError> = db
        .write(|conn| {
            Box::pin(async move {
                sqlx::query("DELETE FROM server_key").execute(conn).await?;
                Ok(())
            })
        })
        .await;
    gone.unwrap();
    running.renew(db).await.unwrap();
    running.refresh(&mut db.read().await.unwrap()).await.unwrap();
    assert_eq!(running.announced().len(), 0, "what somebody deleted stays so");
}

#[tokio::test]
async fn a_server_whose_keys_faded_while_it_was_away_announces_them_at_once() {
    let test = TestDb::sqlite().await;
    let folder = tempfile::tempdir().unwrap();
    drop(ServerKeys::load(&test.db, folder.path()).await.unwrap());
    let later = test.db.write(|conn| {
        Box::pin(async move {
            for number in 0..2 * ANNOUNCED_MAX {
                let (id, key) = (vec![u8::try_from(number).unwrap(); 16], vec![7_u8; 32]);
                sqlx::query("INSERT INTO server_key (id, public_key, created) VALUES ($1, $2, $3)")
                    .bind(id)
                    .bind(key)
                    .bind(i64::try_from(now_seconds()).unwrap() + 10)
                    .execute(&mut *conn)
                    .await?;
            }
            Ok::<_, DbError>(())
        })
    });
    later.await.unwrap();
    let keys = Arc::new(ServerKeys::load(&test.db, folder.path()).await.unwrap());
    let is_told = || keys.announced().iter().any(|key| key.id == keys.id());
    assert!(!is_told());
    let stop = CancellationToken::new();
    stop.cancel();
    stay_announced(test.db.clone(), Arc::clone(&keys), stop).await;
    keys.refresh(&mut test.db.read().await.unwrap()).await.unwrap();
    assert!(is_told());
}
