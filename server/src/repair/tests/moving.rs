//! Nodes that are emptied, that are too full, and that are too close together.

use cyx_core::exit::ExitReceipt;
use cyx_core::scheme::Scheme;

use super::*;
use crate::nodes::Leaving;
use crate::repair::leave;
use crate::repair::moves::{Bounds, Scan};

#[tokio::test]
async fn an_exiting_node_hands_over_everything_and_gets_a_receipt() {
    let mut world = World::new(1..=16, 21).await;
    for _ in 0..5 {
        world.upload_to(Scheme::DEFAULT, &ids(1..=14)).await;
    }
    let app = world.test.app.clone();
    let leaver = node(4).id;
    let begun = leave::set(&app, leaver, Leaving::Exiting, world.now()).await.unwrap();
    assert_eq!((begun.leaving, begun.chunks_left, begun.chunks_moved), (Leaving::Exiting, 5, 0));
    assert!(begun.bytes_left > 0 && begun.receipt.is_empty());
    world.pass(MINUTE);
    world.settle().await;
    let ended = leave::progress(&app, leaver).await.unwrap();
    assert_eq!((ended.leaving, ended.chunks_left, ended.chunks_moved), (Leaving::Exited, 0, 5));
    assert_eq!(ended.bytes_moved, begun.bytes_left);
    let keys = app.network.keys.announced();
    let find = |id| keys.iter().find(|key| key.id == id).map(|key| key.public);
    let receipt = ExitReceipt::verify(&ended.receipt, find, leaver).unwrap();
    assert_eq!((receipt.chunks, receipt.bytes), (5, begun.bytes_left));
    for upload in &world.uploads {
        assert_eq!(world.intact(upload).await.len(), 14);
        let holders: Vec<NodeId> = {
            let segment = world.segment(upload.id).await;
            segment.shards().filter_map(|shard| segment.holder(shard)).collect()
        };
        assert!(!holders.contains(&leaver));
    }
    assert!(leave::set(&app, leaver, Leaving::None, world.now()).await.is_err(), "an exit is for good");
    // Whatever a late commit still puts there is made anew elsewhere.
    assert!(world.registry().get(leaver).unwrap().is_gone());
}

/// An upload that began before may be committed after everything that lay on the node was queued.
#[tokio::test]
async fn what_a_late_commit_brings_to_a_leaving_node_is_moved_before_it_has_left() {
    let mut world = World::new(1..=16, 24).await;
    world.upload_to(Scheme::DEFAULT, &ids(1..=14)).await;
    let leaver = node(4).id;
    leave::set(&world.test.app, leaver, Leaving::Exiting, world.now()).await.unwrap();
    let now = world.now();
    world.worker.step(now).await.unwrap();
    assert_eq!(world.count("repair WHERE reason = 'leaving'").await, 1);
    let late = world.upload_to(Scheme::DEFAULT, &ids(1..=14)).await;
    for _ in 0..3 {
        world.pass(Duration::from_secs(5));
        world.settle().await;
    }
    let ended = leave::progress(&world.test.app, leaver).await.unwrap();
    assert_eq!((ended.leaving, ended.chunks_moved), (Leaving::Exited, 2));
    let segment = world.segment(late).await;
    assert!(segment.shards().filter_map(|shard| segment.holder(shard)).all(|holder| holder != leaver));
}

/// Who holds a lease may be storing on the node.
#[tokio::test]
async fn a_node_has_left_only_when_nobody_may_store_there_any_more() {
    let mut world = World::new(1..=16, 25).await;
    let place = placement(&world.test, Scheme::DEFAULT, &ids(1..=14)).await;
    let app = world.test.app.clone();
    let (lease, spares) = (literal(&world.test, &[9; 16]), literal(&world.test, &node(15).id.0));
    let (place, now) = (literal(&world.test, &place.id.0), to_seconds(world.now()));
    execute(
        &world.test,
        &[format!(
            "INSERT INTO lease (id, session, account, bucket, placement, spares, allowance, used, expires, touched) \
             VALUES ({lease}, {lease}, {lease}, {lease}, {place}, {spares}, 100, 0, {}, {now})",
            now + 3600
        )],
    )
    .await;
    for number in [4, 15, 16] {
        leave::set(&app, node(number).id, Leaving::Exiting, world.now()).await.unwrap();
    }
    world.pass(Duration::from_secs(1));
    world.settle().await;
    let mut leaving = Vec::new();
    for number in [4, 15, 16] {
        leaving.push(leave::progress(&app, node(number).id).await.unwrap().leaving);
    }
    assert_eq!(leaving, [Leaving::Exiting, Leaving::Exiting, Leaving::Exited], "in the placement, a spare, not named");
    // A lease that nobody uses keeps nobody.
    world.pass(MINUTE * 4);
    world.settle().await;
    assert_eq!(leave::progress(&app, node(4).id).await.unwrap().leaving, Leaving::Exited);
}

#[tokio::test]
async fn nodes_that_take_no_tasks_get_none() {
    let mut world = World::new(1..=16, 26).await;
    world.upload_to(Scheme::DEFAULT, &ids(1..=14)).await;
    world.nodes.get_mut(&node(15).id).unwrap().takes_no_tasks = true;
    leave::set(&world.test.app, node(4).id, Leaving::Draining, world.now()).await.unwrap();
    world.pass(MINUTE);
    let now = world.now();
    world.worker.step(now).await.unwrap();
    assert_eq!(world.with_tasks().await, [node(16).id]);
    // One that was planned before goes to another.
    world.nodes.get_mut(&node(15).id).unwrap().takes_no_tasks = false;
    world.nodes.get_mut(&node(16).id).unwrap().takes_no_tasks = true;
    world.pass(MINUTE);
    world.settle().await;
    world.pass(MINUTE);
    world.settle().await;
    assert_eq!(leave::progress(&world.test.app, node(4).id).await.unwrap().chunks_left, 0);
}

#[tokio::test]
async fn a_drain_that_is_taken_back_moves_nothing_more() {
    let mut world =
        World::with((1..=16).map(|number| (number, node(number))), 22, |config| config.repair_tasks = 1).await;
    for _ in 0..5 {
        world.upload_to(Scheme::DEFAULT, &ids(1..=14)).await;
    }
    let app = world.test.app.clone();
    let drained = node(4).id;
    leave::set(&app, drained, Leaving::Draining, world.now()).await.unwrap();
    world.pass(MINUTE);
    let now = world.now();
    world.worker.step(now).await.unwrap();
    assert_eq!((world.count("repair WHERE reason = 'leaving'").await, world.count("repair_task").await), (5, 1));
    assert!(!world.registry().get(drained).unwrap().can_take(0), "it gets nothing new");
    leave::set(&app, drained, Leaving::None, world.now()).await.unwrap();
    world.settle().await;
    assert_eq!(world.count("repair").await, 0);
    assert!(world.registry().get(drained).unwrap().can_take(0));
    let left = leave::progress(&app, drained).await.unwrap().chunks_left;
    assert!(left >= 4, "{left} are left");
}

#[tokio::test]
async fn a_node_that_dies_while_it_leaves_is_replaced() {
    let mut world = World::new(1..=17, 23).await;
    world.upload_to(Scheme::DEFAULT, &ids(1..=14)).await;
    leave::set(&world.test.app, node(4).id, Leaving::Exiting, world.now()).await.unwrap();
    for number in [4, 5] {
        world.nodes.get_mut(&node(number).id).unwrap().up = false;
        world.nodes.get_mut(&node(number).id).unwrap().chunks.clear();
    }
    world.pass(5 * HOUR);
    world.settle().await;
    assert_eq!(world.intact(&world.uploads[0]).await.len(), 14);
    assert_eq!(world.count("repair").await, 0);
}

#[tokio::test]
async fn over_full_nodes_give_some_away_to_emptier_ones() {
    let mut world =
        World::with((1..=6).map(|number| (number, node(number))), 24, |config| config.job = Duration::from_secs(60))
            .await;
    let scheme = Scheme::new(2, 1).unwrap();
    for _ in 0..10 {
        world.upload_to(scheme, &ids(1..=3)).await;
    }
    for number in 1..=3 {
        world.nodes.get_mut(&node(number).id).unwrap().used = 80 * GIB;
    }
    world.pass(MINUTE);
    world.settle().await;
    let moved = world.count("segment_override").await;
    assert!(moved > 0);
    for upload in &world.uploads {
        assert_eq!(world.intact(upload).await.len(), 3);
    }
    world.check_places().await;
    // Equally full nodes are left alone.
    for node in world.nodes.values_mut() {
        node.used = 50 * GIB;
    }
    world.pass(MINUTE);
    world.settle().await;
    assert_eq!((world.count("segment_override").await, world.count("repair").await), (moved, 0));
}

#[tokio::test]
async fn shards_of_one_operator_are_moved_apart() {
    let taken_over = NodeRecord { operator: node(1).operator, ..node(2) };
    let nodes = [(1, node(1)), (2, taken_over), (3, node(3)), (4, node(4))];
    let mut world = World::with(nodes, 25, |config| config.job = Duration::from_secs(60)).await;
    let segment = world.upload_to(Scheme::new(2, 1).unwrap(), &ids(1..=3)).await;
    world.pass(MINUTE);
    world.settle().await;
    let found = world.segment(segment).await;
    let holders: BTreeSet<NodeId> = found.shards().filter_map(|shard| found.holder(shard)).collect();
    assert_eq!(holders.len(), 3);
    assert!(!(holders.contains(&node(1).id) && holders.contains(&node(2).id)), "{holders:?}");
    assert_eq!(world.intact(&world.uploads[0]).await.len(), 3);
}

#[tokio::test]
async fn a_segment_in_danger_is_repaired_beside_its_own_operator_and_moved_on_later() {
    let beside = NodeRecord { operator: node(1).operator, ..node(4) };
    let nodes = [(1, node(1)), (2, node(2)), (3, node(3)), (4, beside)];
    let mut world = World::with(nodes, 26, |config| config.job = Duration::from_secs(60)).await;
    let segment = world.upload_to(Scheme::new(2, 1).unwrap(), &ids(1..=3)).await;
    let lost = world.nodes.get_mut(&node(3).id).unwrap();
    lost.up = false;
    lost.chunks.clear();
    world.pass(5 * HOUR);
    world.settle().await;
    assert_eq!(world.segment(segment).await.holder(2), Some(node(4).id), "better than nothing");
    let better = world.join(5).await;
    world.pass(2 * MINUTE);
    world.settle().await;
    let found = world.segment(segment).await;
    let holders: BTreeSet<NodeId> = found.shards().filter_map(|shard| found.holder(shard)).collect();
    assert!(holders.contains(&better) && holders.len() == 3, "{holders:?}");
    assert_eq!(world.intact(&world.uploads[0]).await.len(), 3);
}

/// A look takes what it may, and the next ones go on behind it until everything was seen.
#[tokio::test]
async fn looks_for_shards_that_lie_too_close_are_bounded_and_go_on_where_the_last_one_ended() {
    let taken_over = NodeRecord { operator: node(1).operator, ..node(2) };
    let nodes = [(1, node(1)), (2, taken_over), (3, node(3)), (4, node(4))];
    let mut world = World::with(nodes, 27, |_| {}).await;
    let scheme = Scheme::new(2, 1).unwrap();
    let place = placement(&world.test, scheme, &ids(1..=3)).await;
    for _ in 0..10 {
        world.upload(&place).await;
    }
    // And five that lie well by their placement and too close by an override.
    let apart = placement(&world.test, scheme, &ids([1, 3, 4])).await;
    for _ in 0..5 {
        let segment = world.upload(&apart).await;
        let segment = literal(&world.test, &segment.0);
        let to = literal(&world.test, &node(2).id.0);
        let text = format!("INSERT INTO segment_override (segment, shard, node) VALUES ({segment}, 1, {to})");
        execute(&world.test, &[text]).await;
    }
    let (app, now) = (world.test.app.clone(), world.now());
    let held = app.network.job_leases.hold("repair", now, 1 << 60).await.unwrap().unwrap();
    let nodes = world.nodes_now();
    let bounds = Bounds { placements: 1, segments: 3 };
    let mut scan = Scan::anywhere();
    for look in 0..24 {
        let found = scan.look(&app.db, held, &nodes, bounds, now).await.unwrap();
        // Twice each, where it goes around the end of the ids.
        assert!(found <= 4 * 3, "look {look} found {found}");
    }
    assert_eq!(world.count("repair WHERE reason = 'diversity'").await, 15);
    // A restart begins elsewhere and sees everything at once if it may.
    execute(&world.test, &["DELETE FROM repair".to_owned()]).await;
    assert_eq!(Scan::anywhere().look(&app.db, held, &nodes, Bounds::default(), now).await.unwrap(), 15);
    assert_eq!(world.count("repair WHERE reason = 'diversity'").await, 15);
    // What is corrupt is passed over.
    let (corrupt, roots) = (literal(&world.test, &world.uploads[0].id.0), literal(&world.test, &[1; 64]));
    execute(&world.test, &[format!("UPDATE segment SET roots = {roots} WHERE id = {corrupt}")]).await;
    assert_eq!(Scan::anywhere().look(&app.db, held, &nodes, Bounds::default(), now).await.unwrap(), 14);
}

/// Each time all that the node holds is queued and taken back, which others wait for.
#[tokio::test]
async fn an_exit_that_was_taken_back_begins_again_only_after_an_hour() {
    let mut world = World::new(1..=3, 28).await;
    let (app, leaver) = (world.test.app.clone(), node(1).id);
    let begin = async |now| leave::set(&app, leaver, Leaving::Exiting, now).await;
    begin(world.now()).await.unwrap();
    assert_eq!(leave::cancel_exit(&app, leaver, world.now()).await.unwrap().leaving, Leaving::None);
    world.pass(59 * MINUTE);
    assert_eq!(begin(world.now()).await.unwrap_err().code, cyx_core::error::ErrorCode::Conflict);
    // An administrator may always.
    leave::set(&app, leaver, Leaving::Draining, world.now()).await.unwrap();
    leave::set(&app, leaver, Leaving::None, world.now()).await.unwrap();
    world.pass(61 * MINUTE);
    assert_eq!(begin(world.now()).await.unwrap().leaving, Leaving::Exiting);
}

#[tokio::test]
async fn a_drain_that_was_taken_back_keeps_no_operator_from_an_exit() {
    let mut world = World::new(1..=3, 28).await;
    let (app, leaver) = (world.test.app.clone(), node(1).id);
    leave::set(&app, leaver, Leaving::Draining, world.now()).await.unwrap();
    world.pass(MINUTE);
    leave::set(&app, leaver, Leaving::None, world.now()).await.unwrap();
    let began = world.now();
    leave::set(&app, leaver, Leaving::Exiting, began).await.unwrap();
    // The exit counts, however soon it is taken back.
    leave::cancel_exit(&app, leaver, world.now()).await.unwrap();
    world.pass(59 * MINUTE);
    let again = leave::set(&app, leaver, Leaving::Exiting, world.now()).await;
    assert_eq!(again.unwrap_err().code, cyx_core::error::ErrorCode::Conflict);
}
