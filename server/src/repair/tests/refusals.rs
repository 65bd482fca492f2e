//! What nodes say that is not believed.

use cyx_core::scheme::Scheme;

use super::*;

/// A network with one task that is handed out: the node that has it, and the task.
async fn with_a_task(seed: u64) -> (World, SegmentId, NodeId, pb::Task, Vec<u8>) {
    let mut world = World::new(1..=14, seed).await;
    let scheme = Scheme::new(2, 1).unwrap();
    let segment = world.upload_to(scheme, &ids(1..=2)).await;
    let now = world.now();
    world.worker.step(now).await.unwrap();
    for id in ids(3..=14) {
        let answer = world.fetch(id, 1).await;
        if let Some(task) = answer.tasks.into_iter().next() {
            let (made, _) = world.make(id, &task, &answer.peers);
            return (world, segment, id, task, made.unwrap());
        }
    }
    panic!("nobody has a task");
}

#[tokio::test]
async fn only_the_nodes_own_receipt_for_this_task_and_chunk_counts() {
    let (world, segment, id, task, bytes) = with_a_task(1).await;
    let before = world.segment(segment).await;
    let good = world.receipt(id, &task, &bytes, Vec::new());
    let stranger = ids([1])[0];
    // Another node cannot report it.
    let record = world.registry().get(stranger).unwrap();
    let stolen = world.receipt(stranger, &task, &bytes, Vec::new());
    assert!(report::take(&world.test.app, &record, stolen, world.now()).await.is_err());
    assert_eq!(world.count("repair_task").await, 1, "the task is still its node's");
    assert_eq!(world.segment(segment).await, before);
    assert!(world.report(id, good.clone()).await);
    assert!(!world.report(id, good).await, "once is enough");
}

#[tokio::test]
async fn false_receipts_change_nothing_and_the_shard_is_tried_again() {
    for (seed, harm) in [(2, 0), (3, 1), (4, 2), (5, 3)] {
        let (world, segment, id, task, bytes) = with_a_task(seed).await;
        let before = world.segment(segment).await;
        let request = match harm {
            0 => {
                let mut other = bytes.clone();
                other[0] ^= 1;
                world.receipt(id, &task, &other, Vec::new())
            }
            1 => {
                let other = pb::Task { task_id: vec![9; 16].into(), ..task.clone() };
                pb::ReportTaskRequest { task_id: task.task_id.clone(), ..world.receipt(id, &other, &bytes, Vec::new()) }
            }
            2 => {
                let signed = world.receipt(id, &task, &bytes, Vec::new());
                let mut forged = signed.receipt.to_vec();
                let last = forged.len() - 1;
                forged[last] ^= 1;
                pb::ReportTaskRequest { receipt: forged.into(), ..signed }
            }
            _ => pb::ReportTaskRequest {
                receipt: NOTHING,
                error: "no".to_owned(),
                task_id: task.task_id.clone(),
                ..Default::default()
            },
        };
        assert!(!world.report(id, request).await, "{harm}");
        assert_eq!(world.segment(segment).await, before, "{harm}");
        assert_eq!(world.count("repair_task").await, 0, "{harm}");
        assert_eq!(world.count("repair WHERE attempts = 1").await, 1, "{harm}");
    }
}

#[tokio::test]
async fn a_shard_that_is_elsewhere_by_now_stays_there() {
    let (world, segment, id, task, bytes) = with_a_task(6).await;
    let place = literal(&world.test, &ids([14])[0].0);
    let key = literal(&world.test, &segment.0);
    execute(
        &world.test,
        &[
            format!("INSERT INTO segment_override (segment, shard, node) VALUES ({key}, 2, {place})"),
            format!("UPDATE segment SET present = 7 WHERE id = {key}"),
        ],
    )
    .await;
    let before = world.segment(segment).await;
    let request = world.receipt(id, &task, &bytes, Vec::new());
    assert!(!world.report(id, request).await);
    assert_eq!(world.segment(segment).await, before);
}

#[tokio::test]
async fn a_segment_that_was_freed_is_not_repaired() {
    let (mut world, segment, id, task, bytes) = with_a_task(7).await;
    let key = literal(&world.test, &segment.0);
    execute(&world.test, &[format!("UPDATE segment SET freed_ns = 1 WHERE id = {key}")]).await;
    assert!(!world.report(id, world.receipt(id, &task, &bytes, Vec::new())).await);
    world.settle().await;
    assert_eq!((world.count("repair").await, world.count("repair_task").await), (0, 0));
}

#[tokio::test]
async fn a_report_after_the_deadline_is_too_late() {
    let (mut world, segment, id, task, bytes) = with_a_task(8).await;
    let before = world.segment(segment).await;
    world.pass(HOUR);
    let now = world.now();
    world.worker.step(now).await.unwrap();
    assert!(!world.report(id, world.receipt(id, &task, &bytes, Vec::new())).await);
    assert_eq!(world.segment(segment).await, before);
}

#[tokio::test]
async fn a_node_that_asks_again_and_again_gets_no_more_time() {
    let (mut world, _, id, task, _) = with_a_task(10).await;
    let mut again = Vec::new();
    for _ in 0..3 {
        world.pass(10 * MINUTE);
        again.push(world.fetch(id, 16).await.tasks.into_iter().find(|other| other.task_id == task.task_id));
        let now = world.now();
        world.worker.step(now).await.unwrap();
    }
    // What it lost by a restart it is told once more, and that it is as urgent as before.
    assert_eq!(again[0].as_ref().map(|again| again.deadline), Some(task.deadline));
    assert_eq!(&again[1..], [None, None], "it had its time");
    let key = literal(&world.test, &task.task_id);
    assert_eq!(world.count(&format!("repair_task WHERE id = {key}")).await, 0);
    assert_eq!(world.count("repair WHERE attempts = 1").await, 1);
}

#[tokio::test]
async fn what_a_node_says_of_others_is_a_hint_only_if_it_was_told_to_read_there() {
    let (world, segment, id, task, bytes) = with_a_task(9).await;
    let [first, other, stranger] = [1, 2, 9].map(|number| node(number).id);
    let said = |shard: u32, node: NodeId, reason: Reason, offset: u64| pb::FailedSource {
        shard,
        node: convert::bytes_of(node),
        reason: reason.into(),
        offset,
    };
    let failed = vec![
        said(0, first, Reason::Corrupt, 7),
        // Not where it lies, not a shard, nobody that it was told to ask, an offset behind the end, no reason.
        said(1, first, Reason::Corrupt, 0),
        said(300, first, Reason::Corrupt, 0),
        said(0, stranger, Reason::Missing, 0),
        said(1, other, Reason::Corrupt, 1 << 40),
        said(1, other, Reason::Unspecified, 0),
    ];
    assert!(world.report(id, world.receipt(id, &task, &bytes, failed)).await, "its own work counts all the same");
    let mut read = world.test.app.db.read().await.unwrap();
    let hints = crate::audits::rows::hinted(&mut read, 10).await.unwrap();
    let hints: Vec<_> = hints.iter().map(|hint| (hint.held.segment, hint.held.shard, hint.node, hint.offset)).collect();
    assert_eq!(hints, [(segment, 0, first, 7)]);
    assert!(crate::audits::rows::due(&mut read, i64::MAX, 10).await.unwrap().is_empty(), "no round counts it");
}
