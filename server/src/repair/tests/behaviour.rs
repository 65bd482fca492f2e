//! What is repaired, when, and where to.

use cyx_core::scheme::Scheme;

use super::*;
use crate::nodes::damage::{Damage, WalkLimiter};
use crate::nodes::{ClusterEvent, Liveness};

#[tokio::test]
async fn two_lost_nodes_are_replaced_and_one_is_waited_with() {
    let mut world = World::new(1..=16, 1).await;
    let segment = world.upload_to(Scheme::DEFAULT, &ids(1..=14)).await;
    world.nodes.get_mut(&node(3).id).unwrap().up = false;
    world.pass(5 * HOUR);
    assert_eq!(world.registry().get(node(3).id).unwrap().state, Liveness::Lost);
    world.settle().await;
    assert_eq!((world.count("repair").await, world.count("repair WHERE due = 1").await), (1, 0), "13 of 14 are enough");

    let mut events = world.registry().subscribe();
    world.nodes.get_mut(&node(7).id).unwrap().up = false;
    world.pass(5 * HOUR);
    world.settle().await;
    let found = world.segment(segment).await;
    let mut fresh = [found.holder(2).unwrap(), found.holder(6).unwrap()];
    fresh.sort();
    let mut spares = ids([15, 16]);
    spares.sort();
    assert_eq!(fresh[..], spares[..]);
    assert_eq!(world.intact(&world.uploads[0]).await.len(), 14);
    assert_eq!((world.count("repair").await, world.count("repair_task").await), (0, 0));
    let kinds: Vec<&str> = std::iter::from_fn(|| events.try_recv().ok())
        .filter_map(|event| match event {
            ClusterEvent::ReplicationStarted { .. } => Some("started"),
            ClusterEvent::ReplicationComplete { chunk_id, target_node, .. } => {
                assert!(world.nodes[&target_node].chunks.contains_key(&chunk_id));
                Some("complete")
            }
            ClusterEvent::ReplicationFailed { .. } => Some("failed"),
            _ => None,
        })
        .collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "started").count(), 2);
    assert_eq!(kinds.iter().filter(|kind| **kind == "complete").count(), 2);
    assert!(!kinds.contains(&"failed"));
}

#[tokio::test]
async fn a_node_that_comes_back_in_time_changes_nothing() {
    let mut world = World::new(1..=16, 2).await;
    let segment = world.upload_to(Scheme::DEFAULT, &ids(1..=14)).await;
    let before = world.segment(segment).await;
    world.nodes.get_mut(&node(3).id).unwrap().up = false;
    world.pass(5 * HOUR);
    world.settle().await;
    assert_eq!(world.count("repair WHERE reason = 'gone'").await, 1);
    world.nodes.get_mut(&node(3).id).unwrap().up = true;
    world.pass(MINUTE);
    world.settle().await;
    assert_eq!(world.count("repair").await, 0);
    assert_eq!(world.segment(segment).await, before);
}

#[tokio::test]
async fn three_nodes_offline_are_too_many_to_wait_for() {
    let mut world = World::new(1..=18, 3).await;
    let segment = world.upload_to(Scheme::DEFAULT, &ids(1..=14)).await;
    for number in [2, 5] {
        world.nodes.get_mut(&node(number).id).unwrap().up = false;
    }
    world.pass(20 * MINUTE);
    world.settle().await;
    assert_eq!(world.count("repair").await, 0, "two nodes that are offline are waited for");
    world.nodes.get_mut(&node(9).id).unwrap().up = false;
    world.pass(20 * MINUTE);
    assert_eq!(world.registry().get(node(9).id).unwrap().state, Liveness::Offline);
    world.settle().await;
    let nodes = world.nodes_now();
    let health = world.segment(segment).await.health(&nodes);
    assert!(health.reachable >= 12, "{health:?}");
    assert_eq!(world.count("repair").await, 0);
}

#[tokio::test]
async fn what_an_upload_left_out_is_made_when_there_is_a_node_for_it() {
    let mut world = World::new(1..=12, 4).await;
    let segment = world.upload_to(Scheme::DEFAULT, &ids(1..=12)).await;
    let steps = world.settle().await;
    assert!(steps.iter().any(|step| step.planned.homeless == 2), "{steps:?}");
    world.join(13).await;
    world.join(14).await;
    world.pass(MINUTE);
    world.settle().await;
    let found = world.segment(segment).await;
    assert_eq!(found.present, (1 << 14) - 1);
    assert_eq!(world.intact(&world.uploads[0]).await.len(), 14);
}

#[tokio::test]
async fn reported_damage_is_repaired_without_further_nodes() {
    for (scheme, lost) in [(Scheme::DEFAULT, &[1_u8, 2][..]), (Scheme::new(2, 1).unwrap(), &[1])] {
        let count = u8::try_from(scheme.n()).unwrap();
        let mut world = World::new(1..=count, 5).await;
        let segment = world.upload_to(scheme, &ids(1..=count)).await;
        let damage = Damage::new(WalkLimiter::default());
        for shard in lost {
            let holder = node(shard + 1).id;
            let chunk = chunk_id(segment, *shard);
            world.nodes.get_mut(&holder).unwrap().chunks.remove(&chunk);
            assert_eq!(damage.mark_missing(&world.test.app.db, holder, [chunk].into(), world.now()).await.unwrap(), 1);
        }
        world.settle().await;
        // A node may get back what it lost, if nobody else can take it.
        assert_eq!(world.intact(&world.uploads[0]).await.len(), scheme.n());
        world.check_places().await;
        assert_eq!(world.count("repair").await, 0);
    }
}

#[tokio::test]
async fn the_segments_at_the_greatest_risk_come_first() {
    let mut world =
        World::with((1..=20).map(|number| (number, node(number))), 6, |config| config.repair_tasks = 1).await;
    let safe = world.upload_to(Scheme::DEFAULT, &ids([1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])).await;
    let risky = world.upload_to(Scheme::DEFAULT, &ids(1..=14)).await;
    for number in 1..=4 {
        world.nodes.get_mut(&node(number).id).unwrap().up = false;
    }
    world.pass(5 * HOUR);
    let now = world.now();
    world.worker.step(now).await.unwrap();
    let mut read = world.test.app.db.read().await.unwrap();
    let planned: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT segment FROM repair_task").fetch_all(&mut *read).await.unwrap();
    drop(read);
    assert_eq!(planned, [risky.0.to_vec()], "four shards are lost of one and two of the other ({safe})");
}

#[tokio::test]
async fn liars_are_read_around() {
    let mut world = World::new(1..=16, 7).await;
    let segment = world.upload_to(Scheme::DEFAULT, &ids(1..=14)).await;
    for number in [1, 2] {
        world.nodes.get_mut(&node(number).id).unwrap().lies = true;
    }
    for number in [13, 14] {
        world.nodes.get_mut(&node(number).id).unwrap().up = false;
    }
    world.pass(5 * HOUR);
    world.settle().await;
    assert_eq!(world.segment(segment).await.health(&world.nodes_now()).kept, 14);
    // The two that lie are still believed: finding them is what audits are for.
    assert_eq!(world.intact(&world.uploads[0]).await.len(), 12);
}

#[tokio::test]
async fn a_paused_network_plans_nothing() {
    let mut world =
        World::with((1..=16).map(|number| (number, node(number))), 8, |config| config.repair_tasks = 0).await;
    world.upload_to(Scheme::DEFAULT, &ids(1..=14)).await;
    for number in [1, 2, 3] {
        world.nodes.get_mut(&node(number).id).unwrap().up = false;
    }
    world.pass(5 * HOUR);
    world.settle().await;
    assert_eq!((world.count("repair WHERE due = 1").await, world.count("repair_task").await), (3, 0));
}

#[tokio::test]
async fn a_task_whose_node_dies_is_given_to_another() {
    let mut world = World::new(1..=16, 9).await;
    let segment = world.upload_to(Scheme::DEFAULT, &ids(1..=14)).await;
    for number in [1, 2] {
        world.nodes.get_mut(&node(number).id).unwrap().up = false;
    }
    world.pass(5 * HOUR);
    let now = world.now();
    world.worker.step(now).await.unwrap();
    assert_eq!(world.count("repair_task").await, 2);
    let handed = world.fetch(node(15).id, 4).await.tasks.len() + world.fetch(node(16).id, 4).await.tasks.len();
    assert_eq!(handed, 2, "each of the two nodes without a shard has one");
    world.nodes.get_mut(&node(15).id).unwrap().up = false;
    world.join(17).await;
    world.pass(20 * MINUTE);
    world.settle().await;
    world.pass(20 * MINUTE);
    world.settle().await;
    let found = world.segment(segment).await;
    let mut fresh: Vec<NodeId> = [0, 1].map(|shard| found.holder(shard).unwrap()).into();
    fresh.sort();
    let mut expected = ids([16, 17]);
    expected.sort();
    assert_eq!(fresh, expected);
}

#[tokio::test]
async fn a_node_that_starts_again_is_told_its_tasks_again() {
    let mut world = World::new(1..=15, 10).await;
    world.upload_to(Scheme::DEFAULT, &ids(1..=12)).await;
    let now = world.now();
    world.worker.step(now).await.unwrap();
    let holders: Vec<NodeId> = ids([13, 14, 15]);
    let mut first = Vec::new();
    for holder in &holders {
        first.extend(world.fetch(*holder, 4).await.tasks.into_iter().map(|task| (*holder, task)));
    }
    assert_eq!(first.len(), 2);
    for (holder, task) in &first {
        let again = world.fetch(*holder, 4).await.tasks;
        assert_eq!(again.iter().map(|task| &task.task_id).collect::<Vec<_>>(), [&task.task_id]);
        let record = world.registry().get(*holder).unwrap();
        let request = pb::FetchTasksRequest { most: 4, running: vec![task.task_id.clone()], ..Default::default() };
        let known = hand::fetch(&world.test.app, &record, &request, world.now()).await.unwrap();
        assert!(known.tasks.is_empty(), "it says that it works on it");
    }
}

#[tokio::test]
async fn a_segment_whose_rows_are_corrupt_keeps_no_other_from_being_repaired() {
    let mut world = World::new(1..=8, 13).await;
    let two_of_three = Scheme::new(2, 1).unwrap();
    let broken = world.upload_to(two_of_three, &ids(1..=2)).await;
    let good = world.upload_to(two_of_three, &ids(3..=4)).await;
    let (key, nothing) = (literal(&world.test, &broken.0), literal(&world.test, &[7; 16]));
    execute(&world.test, &[format!("UPDATE segment SET placement = {nothing} WHERE id = {key}")]).await;
    world.settle().await;
    assert!(world.segment(good).await.holder(2).is_some());
    // It is still known that something is to be done about it.
    let left = format!("repair WHERE due = 0 AND segment = {key}");
    assert_eq!((world.count(&left).await, world.count("repair").await), (1, 1));
    // Also if it was found to be due before.
    execute(&world.test, &["UPDATE repair SET due = 1".to_owned()]).await;
    let late = world.upload_to(two_of_three, &ids(5..=6)).await;
    world.settle().await;
    assert!(world.segment(late).await.holder(2).is_some());
    assert_eq!((world.count(&left).await, world.count("repair").await), (1, 1));
}

#[tokio::test]
async fn a_segment_that_becomes_corrupt_keeps_no_other_from_being_handed_out_and_reported() {
    let mut world = World::new(1..=4, 14).await;
    let two_of_three = Scheme::new(2, 1).unwrap();
    let broken = [world.upload_to(two_of_three, &ids(1..=2)).await, world.upload_to(two_of_three, &ids(1..=2)).await];
    let good = world.upload_to(two_of_three, &ids(1..=2)).await;
    let now = world.now();
    world.worker.step(now).await.unwrap();
    let (target, [first, second]) = (ids([3])[0], broken.map(|segment| literal(&world.test, &segment.0)));
    let node = literal(&world.test, &target.0);
    let other = literal(&world.test, &ids([4])[0].0);
    let text = format!("UPDATE repair_task SET target = CASE WHEN segment = {second} THEN {other} ELSE {node} END");
    execute(&world.test, &[text]).await;
    let short = |key: &str| {
        let roots = literal(&world.test, &[1; 64]);
        format!("UPDATE segment SET roots = {roots} WHERE id = {key}")
    };
    // One before its task is handed out, and one after that.
    execute(&world.test, &[short(&first)]).await;
    let answer = world.fetch(target, 4).await;
    let handed: Vec<ChunkId> = answer.tasks.iter().map(chunk_of).collect();
    assert_eq!(handed, [chunk_id(good, 2)]);
    execute(&world.test, &[format!("UPDATE repair_task SET target = {node} WHERE segment = {second}")]).await;
    let late = world.fetch(target, 4).await.tasks;
    let task = late.iter().find(|task| chunk_of(task) == chunk_id(broken[1], 2)).unwrap();
    let (made, _) = world.make(target, &answer.tasks[0], &answer.peers);
    execute(&world.test, &[short(&second)]).await;
    assert!(!world.report(target, world.receipt(target, task, &made.unwrap(), Vec::new())).await);
    assert_eq!(world.count("repair_task").await, 1, "that of the good one is left");
    assert_eq!(world.count("repair WHERE due = 0").await, 2, "it is known that something is wrong with the others");
}

#[tokio::test]
async fn a_node_is_read_from_by_few_at_a_time() {
    let mut world =
        World::with((1..=8).map(|number| (number, node(number))), 11, |config| config.repair_tasks_per_node = 2).await;
    let two_of_three = Scheme::new(2, 1).unwrap();
    for _ in 0..6 {
        world.upload_to(two_of_three, &ids(1..=2)).await;
    }
    let now = world.now();
    world.worker.step(now).await.unwrap();
    let mut tasks = 0;
    for id in ids(3..=8) {
        tasks += world.fetch(id, 4).await.tasks.len();
    }
    // Nodes 1 and 2 are the only sources, and each serves two.
    assert_eq!(tasks, 2);
    world.pass(MINUTE);
    world.settle().await;
    assert_eq!(world.count("repair").await, 0, "the others had their turn");
}

/// Segments that cannot be read now, and for how many seconds the oldest shard has been due, as they are shown.
async fn shown(world: &World) -> (i64, i64) {
    let mut read = world.test.app.db.read().await.unwrap();
    let [_, _, unreadable, oldest, _] = run::measure(&mut read, world.now()).await.unwrap();
    (unreadable, oldest)
}

#[tokio::test]
async fn segments_that_cannot_be_read_are_counted_while_too_few_of_their_nodes_answer() {
    let mut world = World::new(1..=16, 31).await;
    world.upload_to(Scheme::DEFAULT, &ids(1..=14)).await;
    let away = |world: &mut World, count: u8, up: bool| {
        for number in 1..=count {
            world.nodes.get_mut(&node(number).id).unwrap().up = up;
        }
        world.pass(20 * MINUTE);
    };
    away(&mut world, 5, false);
    assert_eq!(world.registry().get(node(5).id).unwrap().state, Liveness::Offline);
    world.settle().await;
    assert_eq!(shown(&world).await.0, 1, "nothing is lost, and 9 of 10 are there");
    away(&mut world, 5, true);
    world.settle().await;
    assert_eq!((shown(&world).await.0, world.count("repair").await), (0, 0));

    // Nobody can take the shards that were left out, so they stay due while a node goes and comes back.
    let mut world = World::new(1..=10, 32).await;
    world.upload_to(Scheme::DEFAULT, &ids(1..=10)).await;
    world.settle().await;
    assert_eq!((shown(&world).await.0, world.count("repair WHERE due = 1").await), (0, 4));
    away(&mut world, 1, false);
    world.settle().await;
    assert_eq!(shown(&world).await.0, 1);
    away(&mut world, 1, true);
    world.settle().await;
    assert_eq!(shown(&world).await.0, 0);
}

#[tokio::test]
async fn a_shard_is_late_from_when_it_turned_due() {
    let mut world = World::new(1..=14, 33).await;
    world.upload_to(Scheme::DEFAULT, &ids(1..=14)).await;
    for number in [3, 7] {
        assert_eq!(shown(&world).await.1, 0, "13 of 14 are enough");
        world.nodes.get_mut(&node(number).id).unwrap().up = false;
        world.pass(5 * HOUR);
        world.settle().await;
    }
    assert_eq!(world.count("repair WHERE due = 1").await, 2, "nobody can take them");
    assert_eq!(shown(&world).await.1, 0);
    world.pass(20 * MINUTE);
    world.settle().await;
    assert_eq!(shown(&world).await.1, 20 * 60);
}
