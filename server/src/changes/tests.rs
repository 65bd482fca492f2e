//! Subscribers miss nothing and hear nothing twice.

use std::time::Duration;

use cyx_core::ids::{BucketId, InodeId, Random as _};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use pb::event::Event as Pb;

use super::feed::Feed;
use super::log::{self, Since};
use super::{Bus, Notice};
use crate::db::DbError;
use crate::tree::model::InodeKind::File;
use crate::tree::tests::support::TestTree;
use crate::tree::write_lease::{self, Acquired, Recalled};

async fn begin(tree: &TestTree, bus: &Bus, after: Option<u64>) -> Feed {
    let from = after.map(|after| (tree.bucket, after)).into_iter().collect();
    Feed::begin(tree.test.db.clone(), bus, tree.actor.account, &from).await.unwrap()
}

fn recall(bucket: BucketId, fencing: u64) -> Notice {
    Notice::Recall { bucket, recalled: Recalled { fencing, expires_at: 30 } }
}

/// Makes a file; the changes are returned, not published.
async fn change(tree: &TestTree, name: &str) -> Vec<pb::Change> {
    let before = tree.sequence().await;
    tree.make(tree.root, name, File).await;
    let mut read = tree.test.db.read().await.unwrap();
    match log::since(&mut read, tree.bucket, before, 10).await.unwrap() {
        Since::Changes(changes) => changes,
        other => panic!("the log is as it was made: {other:?}"),
    }
}

async fn next(feed: &mut Feed) -> Pb {
    let event = tokio::time::timeout(Duration::from_secs(60), feed.next()).await.expect("an event comes");
    event.unwrap().event.unwrap()
}

async fn next_sequence(feed: &mut Feed) -> u64 {
    match next(feed).await {
        Pb::Change(change) => change.sequence,
        other => panic!("{other:?} instead of a change"),
    }
}

#[tokio::test]
async fn a_feed_begins_now_or_where_it_stopped() {
    let (tree, bus) = (TestTree::new().await, Bus::default());
    for name in ["a", "b", "c"] {
        change(&tree, name).await;
    }
    let mut resumed = begin(&tree, &bus, Some(1)).await;
    let mut fresh = begin(&tree, &bus, None).await;
    bus.publish_changes(tree.bucket, change(&tree, "d").await);
    for expected in [2, 3, 4] {
        assert_eq!(next_sequence(&mut resumed).await, expected);
    }
    assert_eq!(next_sequence(&mut fresh).await, 4);
}

#[tokio::test]
async fn order_and_completeness_come_from_the_log() {
    let (tree, bus) = (TestTree::new().await, Bus::default());
    let mut feed = begin(&tree, &bus, None).await;
    let (first, second, third) = (change(&tree, "a").await, change(&tree, "b").await, change(&tree, "c").await);
    // Announced out of order, twice, and one not at all.
    bus.publish_changes(tree.bucket, third);
    bus.publish_changes(tree.bucket, first.clone());
    bus.publish_changes(tree.bucket, first);
    drop(second);
    bus.publish_changes(tree.bucket, change(&tree, "d").await);
    for expected in [1, 2, 3, 4] {
        assert_eq!(next_sequence(&mut feed).await, expected);
    }
}

#[tokio::test]
async fn a_slow_subscriber_reads_the_log() {
    let (tree, bus) = (TestTree::new().await, Bus::default());
    let mut feed = begin(&tree, &bus, None).await;
    change(&tree, "a").await;
    for _ in 0..3000 {
        bus.publish(Notice::Released { bucket: BucketId::random() });
    }
    assert_eq!(next_sequence(&mut feed).await, 1);
}

#[tokio::test]
async fn what_is_not_kept_means_reading_again() {
    let (tree, bus) = (TestTree::new().await, Bus::default());
    change(&tree, "a").await;
    tree.pass_seconds(8 * 24 * 3600);
    change(&tree, "b").await;
    tree.collect().await;
    let mut feed = begin(&tree, &bus, Some(0)).await;
    let Pb::Resync(resync) = next(&mut feed).await else { panic!("the first change is gone") };
    assert_eq!(resync.sequence, 2);
    bus.publish_changes(tree.bucket, change(&tree, "c").await);
    assert_eq!(next_sequence(&mut feed).await, 3);
    // A position from the future: the database was restored.
    let mut feed = begin(&tree, &bus, Some(99)).await;
    assert!(matches!(next(&mut feed).await, Pb::Resync(resync) if resync.sequence == 3));
    tree.check().await;
}

#[tokio::test]
async fn a_hole_is_noticed_wherever_it_is() {
    let tree = TestTree::new().await;
    for name in ["a", "b", "c", "d"] {
        change(&tree, name).await;
    }
    let deleted: Result<(), DbError> = tree
        .test
        .db
        .write(|conn| {
            Box::pin(async move {
                sqlx::query("DELETE FROM change WHERE sequence = 3").execute(conn).await?;
                Ok(())
            })
        })
        .await;
    deleted.unwrap();
    let mut read = tree.test.db.read().await.unwrap();
    assert_eq!(log::since(&mut read, tree.bucket, 1, 10).await.unwrap(), Since::Gap(4));
}

#[tokio::test]
async fn what_is_forgotten_leaves_no_hole_whatever_the_clock_did() {
    let tree = TestTree::new().await;
    let day = 24 * 3600;
    // The second is from the future; then the clock is set back.
    for (name, days) in [("a", 0), ("b", 100), ("c", -100), ("d", 8)] {
        tree.pass_seconds(days * day);
        change(&tree, name).await;
    }
    assert_eq!(tree.collect().await.history, 1 + 2, "a change, and the answers to two");
    tree.check().await;
    let mut read = tree.test.db.read().await.unwrap();
    let Since::Changes(kept) = log::since(&mut read, tree.bucket, 1, 10).await.unwrap() else {
        panic!("nothing is missing")
    };
    assert_eq!(kept.iter().map(|change| change.sequence).collect::<Vec<_>>(), [2, 3, 4]);
}

#[tokio::test]
async fn only_ones_own_buckets_are_heard() {
    let (mut tree, bus) = (TestTree::new().await, Bus::default());
    let owner = tree.actor;
    tree.actor.account = cyx_core::ids::AccountId([9; 16]);
    let mut stranger = begin(&tree, &bus, Some(0)).await;
    tree.actor = owner;
    let changes = change(&tree, "a").await;
    let mut read = tree.test.db.read().await.unwrap();
    assert!(matches!(log::since(&mut read, BucketId::random(), 0, 10).await.unwrap(), Since::Gone));
    drop(read);
    bus.publish_changes(tree.bucket, changes);
    bus.publish(recall(tree.bucket, 1));
    // A notice that it is not meant for does not let it in either.
    bus.publish(Notice::Joined { account: cyx_core::ids::AccountId([9; 16]), bucket: tree.bucket });
    let heard = tokio::time::timeout(Duration::from_millis(300), stranger.next()).await;
    assert!(heard.is_err(), "{heard:?}");
}

#[tokio::test]
async fn new_buckets_join_and_recalls_are_passed_on() {
    let (mut tree, bus) = (TestTree::new().await, Bus::default());
    let mut feed = begin(&tree, &bus, None).await;
    let root = InodeId::random();
    tree.bucket = tree.make_bucket("second", BucketId::random(), root).await.unwrap();
    tree.root = root;
    change(&tree, "a").await;
    bus.publish(Notice::Joined { account: tree.actor.account, bucket: tree.bucket });
    let Pb::Change(first) = next(&mut feed).await else { panic!("the new bucket has a change") };
    assert_eq!((first.bucket, first.sequence), (bytes_of(tree.bucket), 1));
    for fencing in [1, 1, 2] {
        bus.publish(recall(tree.bucket, fencing));
    }
    for fencing in [1, 2] {
        let Pb::Recall(recall) = next(&mut feed).await else { panic!("a recall comes, once") };
        assert_eq!((recall.bucket, recall.fencing, recall.expires_at), (bytes_of(tree.bucket), fencing, 30));
    }
}

#[tokio::test]
async fn a_beat_comes_after_everything_before_it_and_tells_what_moved() {
    let (tree, bus) = (TestTree::new().await, Bus::default());
    let mut feed = begin(&tree, &bus, None).await;
    // Nobody announces these, as if another server had made them.
    change(&tree, "a").await;
    change(&tree, "b").await;
    feed.ask_for_beat().await.unwrap();
    assert_eq!((next_sequence(&mut feed).await, next_sequence(&mut feed).await), (1, 2));
    let Pb::Beat(beat) = next(&mut feed).await else { panic!("a beat comes") };
    assert_eq!(beat.positions, [pb::Position { bucket: bytes_of(tree.bucket), sequence: 2 }]);
    feed.ask_for_beat().await.unwrap();
    let Pb::Beat(beat) = next(&mut feed).await else { panic!("a beat comes") };
    assert_eq!(beat.positions, []);
    bus.publish_changes(tree.bucket, change(&tree, "c").await);
    feed.ask_for_beat().await.unwrap();
    assert_eq!(next_sequence(&mut feed).await, 3);
    let Pb::Beat(beat) = next(&mut feed).await else { panic!("a beat comes") };
    assert_eq!(beat.positions, [pb::Position { bucket: bytes_of(tree.bucket), sequence: 3 }]);
}

#[tokio::test]
async fn a_recall_during_a_broken_stream_is_told_to_the_next() {
    let mut tree = TestTree::new().await;
    tree.settings.write_lease_seconds = 3600;
    let bus = Bus::default();
    // The feed goes by the clock of the machine.
    tree.pass_seconds((crate::time::now_ns() - tree.now()) / 1_000_000_000);
    let acquired =
        tree.in_bucket(|work| Box::pin(async move { write_lease::acquire(work, "host").await })).await.unwrap();
    let Acquired::Lease(lease) = acquired else { panic!("nobody holds it") };
    let before = tree.in_bucket(|work| Box::pin(write_lease::check(work, None))).await.unwrap();
    assert_eq!(before, Some(Recalled { fencing: lease.fencing, expires_at: lease.expires_at }));
    let mut feed = begin(&tree, &bus, None).await;
    for _ in 0..2 {
        feed.ask_for_beat().await.unwrap();
    }
    let Pb::Recall(recall) = next(&mut feed).await else { panic!("the lease is recalled") };
    assert_eq!((recall.fencing, recall.expires_at), (lease.fencing, lease.expires_at));
    assert!(matches!(next(&mut feed).await, Pb::Beat(_)), "and only once");
}
