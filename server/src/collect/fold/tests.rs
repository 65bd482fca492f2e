//! Folding changes rows, never places.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::collect::holdings;
use crate::collect::retire::delete_unused;
use crate::nodes::testing::{execute, literal, node, number, placement, segment, server_with};
use crate::test_support::TestApp;
use crate::time::now_ns;

fn scheme() -> Scheme {
    Scheme::new(4, 2).unwrap()
}

async fn override_shard(test: &TestApp, id: SegmentId, shard: u8, node: NodeId) {
    let (segment, node) = (literal(test, &id.0), literal(test, &node.0));
    let text = format!("INSERT INTO segment_override (segment, shard, node) VALUES ({segment}, {shard}, {node})");
    execute(test, &[text]).await;
}

/// Every shard at its node, as keep-lists and reports of damage see it.
async fn places(test: &TestApp, nodes: &[NodeId]) -> BTreeSet<(NodeId, SegmentId, u8)> {
    let mut found = BTreeSet::new();
    let mut read = test.app.db.read().await.unwrap();
    for node in nodes {
        holdings::walk(&mut read, *node, |held| {
            assert!(found.insert((*node, held.segment, held.shard)), "a shard comes twice");
        })
        .await
        .unwrap();
    }
    found
}

async fn overrides(test: &TestApp) -> i64 {
    number(test, "SELECT CAST(COUNT(*) AS BIGINT) FROM segment_override").await
}

async fn placements(test: &TestApp) -> i64 {
    number(test, "SELECT CAST(COUNT(*) AS BIGINT) FROM placement").await
}

async fn fold_for(test: &TestApp, worth: u64) -> u64 {
    fold(&test.app.db, worth, now_ns()).await.unwrap()
}

#[tokio::test]
async fn many_alike_get_a_placement_and_few_keep_their_overrides() {
    let test = server_with([], |_| {}).await;
    let ids: Vec<NodeId> = (1..=9).map(|number| node(number).id).collect();
    let old = placement(&test, scheme(), &ids[..6]).await;
    let mut alike = Vec::new();
    for number in 0..12 {
        let id = SegmentId::random();
        segment(&test, id, &old).await;
        // Node 2 failed, and its shards were repaired to node 7; two segments had bad luck with node 3 too.
        override_shard(&test, id, 1, ids[6]).await;
        if number >= 10 {
            override_shard(&test, id, 2, ids[7]).await;
        }
        alike.push(id);
    }
    let before = places(&test, &ids).await;
    assert_eq!(fold_for(&test, 11).await, 0, "not worth it");
    assert_eq!(placements(&test).await, 1);
    assert_eq!(fold_for(&test, 10).await, 10);
    assert_eq!((placements(&test).await, overrides(&test).await), (2, 4));
    assert_eq!(places(&test, &ids).await, before);
    assert_eq!(fold_for(&test, 10).await, 0, "and that is it");
    // The new one is not given out, and the old one goes when nothing is left of it.
    assert_eq!(number(&test, "SELECT CAST(COUNT(*) AS BIGINT) FROM placement WHERE open = 1").await, 1);
    assert_eq!(fold_for(&test, 2).await, 2);
    assert_eq!((placements(&test).await, overrides(&test).await), (3, 0));
    assert_eq!(places(&test, &ids).await, before);
}

#[tokio::test]
async fn a_placement_that_exists_takes_even_one_segment() {
    let test = server_with([], |_| {}).await;
    let ids: Vec<NodeId> = (1..=7).map(|number| node(number).id).collect();
    let narrow = placement(&test, scheme(), &ids[..5]).await;
    let wide = placement(&test, scheme(), &ids[..6]).await;
    let grown = SegmentId::random();
    segment(&test, grown, &narrow).await;
    // The shard that had no node got one.
    override_shard(&test, grown, 5, ids[5]).await;
    let before = places(&test, &ids).await;
    assert_eq!(fold_for(&test, WORTH).await, 1);
    let id = literal(&test, &wide.id.0);
    let of_wide = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM segment WHERE placement = {id}");
    assert_eq!((number(&test, &of_wide).await, overrides(&test).await), (1, 0));
    assert_eq!(places(&test, &ids).await, before);
}

#[tokio::test]
async fn what_no_placement_can_say_stays() {
    let test = server_with([], |_| {}).await;
    let ids: Vec<NodeId> = (1..=7).map(|number| node(number).id).collect();
    let narrow = placement(&test, Scheme::new(4, 3).unwrap(), &ids[..5]).await;
    let (gap, twice) = (SegmentId::random(), SegmentId::random());
    segment(&test, gap, &narrow).await;
    override_shard(&test, gap, 6, ids[6]).await;
    segment(&test, twice, &narrow).await;
    override_shard(&test, twice, 0, ids[1]).await;
    assert_eq!((fold_for(&test, 1).await, overrides(&test).await), (0, 2));
}

#[tokio::test]
async fn what_changed_meanwhile_is_left_alone() {
    let test = server_with([], |_| {}).await;
    let ids: Vec<NodeId> = (1..=9).map(|number| node(number).id).collect();
    let old = placement(&test, scheme(), &ids[..6]).await;
    let id = SegmentId::random();
    segment(&test, id, &old).await;
    override_shard(&test, id, 1, ids[6]).await;
    let seen = Overridden { segment: id, placement: old.id, overrides: vec![(1, ids[6])] };
    let targets = Arc::new(plan(&test.app.db, 1, now_ns()).await.unwrap());
    assert_eq!(targets.len(), 1);
    // A repair moves another shard before the batch is done.
    override_shard(&test, id, 3, ids[8]).await;
    let before = places(&test, &ids).await;
    assert_eq!(fold_one(&test, seen, &targets).await, 0);
    assert_eq!(places(&test, &ids).await, before);
}

/// What a run does with a segment that it found, after it made its plan.
async fn fold_one(test: &TestApp, seen: Overridden, targets: &Arc<Targets>) -> u64 {
    let (batch, targets, backend) = (Arc::new([seen]), Arc::clone(targets), test.app.db.backend());
    let folded: Result<u64, DbError> = test
        .app
        .db
        .write(move |conn| {
            let (batch, targets) = (Arc::clone(&batch), Arc::clone(&targets));
            Box::pin(async move { fold_batch(conn, backend, &*batch, &targets).await })
        })
        .await;
    folded.unwrap()
}

#[tokio::test]
async fn a_placement_that_another_collection_deleted_takes_no_segment() {
    let test = server_with([], |_| {}).await;
    let ids: Vec<NodeId> = (1..=7).map(|number| node(number).id).collect();
    let old = placement(&test, scheme(), &ids[..6]).await;
    let id = SegmentId::random();
    segment(&test, id, &old).await;
    override_shard(&test, id, 1, ids[6]).await;
    let before = places(&test, &ids).await;
    let seen = Overridden { segment: id, placement: old.id, overrides: vec![(1, ids[6])] };
    let targets = Arc::new(plan(&test.app.db, 1, now_ns()).await.unwrap());
    assert_eq!((targets.len(), placements(&test).await), (1, 2));
    let backend = test.app.db.backend();
    let delete = || test.app.db.write(move |conn| Box::pin(async move { delete_unused(conn, backend).await }));
    assert_eq!(delete().await.unwrap(), 1);
    assert_eq!(fold_one(&test, seen.clone(), &targets).await, 0);
    assert_eq!((placements(&test).await, overrides(&test).await), (1, 1));
    assert_eq!(places(&test, &ids).await, before);
    // The next run makes another one. Once that is in use it stays.
    let targets = Arc::new(plan(&test.app.db, 1, now_ns()).await.unwrap());
    assert_eq!(fold_one(&test, seen, &targets).await, 1);
    assert_eq!(delete().await.unwrap(), 0);
    assert_eq!(places(&test, &ids).await, before);
}

#[tokio::test]
async fn random_overrides_are_folded_without_moving_a_shard() {
    let test = server_with([], |_| {}).await;
    let ids: Vec<NodeId> = (1..=10).map(|number| node(number).id).collect();
    let mut rng = StdRng::seed_from_u64(7);
    let bases = [placement(&test, scheme(), &ids[..6]).await, placement(&test, scheme(), &ids[2..7]).await];
    for _ in 0..60 {
        let base = &bases[rng.random_range(0..bases.len())];
        let id = SegmentId::random();
        segment(&test, id, base).await;
        let mut free: Vec<NodeId> = ids.iter().copied().filter(|id| !base.nodes.contains(id)).collect();
        for shard in 0..6 {
            if rng.random_range(0..3) == 0 && !free.is_empty() {
                // Few choices, so that some agree.
                override_shard(&test, id, shard, free.remove(0)).await;
            }
        }
    }
    let (before, rows, sets) = (places(&test, &ids).await, overrides(&test).await, placements(&test).await);
    let folded = fold_for(&test, 3).await;
    assert!(folded > 0 && overrides(&test).await < rows, "{folded} of {rows}");
    let made = placements(&test).await - sets;
    assert!(made > 0 && made <= i64::try_from(MADE_MAX).unwrap() && made * 3 <= i64::try_from(folded).unwrap());
    assert_eq!(places(&test, &ids).await, before);
    assert_eq!(number(&test, "SELECT CAST(COUNT(*) AS BIGINT) FROM placement_node").await, {
        number(&test, "SELECT CAST(SUM(LENGTH(nodes)) / 16 AS BIGINT) FROM placement").await
    });
}
