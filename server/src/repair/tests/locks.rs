//! Whoever locks several segments does it in the order of their ids, and a segment before its tasks, so that no two wait for each other.

use sqlx::{AssertSqlSafe, Connection as _};

use super::*;
use crate::collect::holdings::Held;
use crate::db::{Backend, Db, DbError};
use crate::nodes::damage;
use crate::repair::queue;
use crate::tree::collect::forget_segments;

/// A network with two segments of nodes 1 and 2, the lower one first. SQLite has one writer: nobody waits for a row there.
async fn with_two(seed: u64) -> Option<(World, [SegmentId; 2])> {
    let mut world = World::new(1..=4, seed).await;
    let mut segments =
        [world.upload_to(two_of_three(), &ids(1..=2)).await, world.upload_to(two_of_three(), &ids(1..=2)).await];
    segments.sort_unstable();
    (world.test.app.db.backend() == Backend::Postgres).then_some((world, segments))
}

fn two_of_three() -> Scheme {
    Scheme::new(2, 1).unwrap()
}

async fn is_free(db: &Db, table: &str, id: &[u8; 16]) -> bool {
    let mut other = db.connect().await.unwrap();
    let text = format!("SELECT id FROM {table} WHERE id = $1 FOR UPDATE SKIP LOCKED");
    let found = sqlx::query(AssertSqlSafe(text)).bind(&id[..]).fetch_optional(&mut other).await.unwrap();
    other.close().await.unwrap();
    found.is_some()
}

/// Runs something that needs both segments while the higher one is held, until it has locked the lower one; whether it did. The holder does
/// something else before it lets go.
async fn locks_the_lower_first<F>(world: &World, [lower, higher]: [SegmentId; 2], then: &str, needs: F) -> bool
where
    F: Future<Output = ()> + Send + 'static,
{
    let db = &world.test.app.db;
    let mut holder = db.connect().await.unwrap();
    sqlx::query("BEGIN").execute(&mut holder).await.unwrap();
    let held = sqlx::query("SELECT id FROM segment WHERE id = $1 FOR UPDATE").bind(higher.to_vec());
    held.fetch_one(&mut holder).await.unwrap();
    let waiting = tokio::spawn(needs);
    let mut is_locked = false;
    for _ in 0..400 {
        is_locked = !is_free(db, "segment", &lower.0).await;
        if is_locked {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(!waiting.is_finished(), "it had to wait");
    if !then.is_empty() {
        sqlx::query(AssertSqlSafe(then)).execute(&mut holder).await.unwrap();
    }
    sqlx::query("COMMIT").execute(&mut holder).await.unwrap();
    waiting.await.unwrap();
    is_locked
}

#[tokio::test]
async fn shards_that_are_lost_are_marked_in_the_order_of_their_segments() {
    let Some((world, segments)) = with_two(51).await else { return };
    let [lower, higher] = segments;
    let (db, from, now) = (world.test.app.db.clone(), ids([1])[0], world.now());
    let marks = async move {
        let job = db.write(move |conn| {
            let shards = [higher, lower].map(|segment| Held { segment, shard: 0 });
            Box::pin(async move { damage::mark(conn, from, &shards, "lost", now).await })
        });
        assert_eq!(job.await.unwrap(), 1, "the other one lies elsewhere by now");
    };
    let (key, other) = (literal(&world.test, &higher.0), literal(&world.test, &ids([3])[0].0));
    let moved = format!("INSERT INTO segment_override (segment, shard, node) VALUES ({key}, 0, {other})");
    assert!(locks_the_lower_first(&world, segments, &moved, marks).await);
    assert_eq!(world.segment(higher).await.holder(0), Some(ids([3])[0]));
}

#[tokio::test]
async fn segments_are_forgotten_in_the_order_of_their_ids() {
    let Some((world, segments)) = with_two(55).await else { return };
    let higher = literal(&world.test, &segments[1].0);
    execute(
        &world.test,
        &[
            "UPDATE segment SET live_blobs = 0, freed_ns = 2".to_owned(),
            format!("UPDATE segment SET freed_ns = 1 WHERE id = {higher}"),
        ],
    )
    .await;
    let db = world.test.app.db.clone();
    let forgets = async move {
        let job = db.write(move |conn| Box::pin(async move { forget_segments(conn, 2).await }));
        assert_eq!(job.await.unwrap(), 2);
    };
    assert!(locks_the_lower_first(&world, segments, "", forgets).await);
}

#[tokio::test]
async fn shards_are_queued_in_the_order_of_their_segments() {
    let Some((world, segments)) = with_two(52).await else { return };
    let [lower, higher] = segments;
    let (db, from, now) = (world.test.app.db.clone(), ids([1])[0], world.now());
    let queues = async move {
        let job = db.write(move |conn| {
            let shards = [higher, lower].map(|segment| Held { segment, shard: 0 });
            Box::pin(async move { queue::queue_shards(conn, from, &shards, "gone", now).await })
        });
        job.await.unwrap();
    };
    assert!(locks_the_lower_first(&world, segments, "", queues).await);
}

#[tokio::test]
async fn tasks_are_handed_out_in_the_order_of_their_segments() {
    let Some((mut world, segments)) = with_two(53).await else { return };
    let now = world.now();
    world.worker.step(now).await.unwrap();
    // The older task, which is handed out first, is that of the higher segment.
    let target = ids([3])[0];
    let (key, node) = (literal(&world.test, &segments[1].0), literal(&world.test, &target.0));
    let older = format!("UPDATE repair_task SET created_ns = created_ns - 1 WHERE segment = {key}");
    execute(&world.test, &[format!("UPDATE repair_task SET target = {node}"), older]).await;
    let (app, record) = (world.test.app.clone(), world.registry().get(target).unwrap());
    let fetches = async move {
        let request = pb::FetchTasksRequest { most: 4, ..Default::default() };
        assert_eq!(hand::fetch(&app, &record, &request, now).await.unwrap().tasks.len(), 2);
    };
    assert!(locks_the_lower_first(&world, segments, "", fetches).await);
}

#[tokio::test]
async fn a_task_is_reported_under_the_lock_of_its_segment() {
    let Some((mut world, [_, segment])) = with_two(54).await else { return };
    let now = world.now();
    world.worker.step(now).await.unwrap();
    let mut read = world.test.app.db.read().await.unwrap();
    let text = "SELECT id, target FROM repair_task WHERE segment = $1";
    let row = sqlx::query(text).bind(segment.to_vec()).fetch_one(&mut *read).await.unwrap();
    drop(read);
    let (task, target): ([u8; 16], NodeId) =
        (crate::tree::sql::array(&row, 0).unwrap(), crate::tree::sql::id(&row, 1).unwrap());
    let db = world.test.app.db.clone();
    let held = db.clone();
    let (app, record) = (world.test.app.clone(), world.registry().get(target).unwrap());
    let job = db.write(move |conn| {
        let (app, record, held) = (app.clone(), record.clone(), held.clone());
        Box::pin(async move {
            let text = "SELECT id FROM segment WHERE id = $1 FOR UPDATE";
            sqlx::query(text).bind(segment.to_vec()).fetch_one(&mut *conn).await?;
            let request = pb::ReportTaskRequest { task_id: task.to_vec().into(), ..Default::default() };
            let reports = tokio::spawn(async move { report::take(&app, &record, request, now).await });
            // Whoever has the segment may take its tasks back, however long a report of one waits.
            let mut free = true;
            for _ in 0..20 {
                free &= is_free(&held, "repair_task", &task).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(!reports.is_finished(), "it has to wait");
            Ok::<_, DbError>((free, reports))
        })
    });
    let (free, reports) = job.await.unwrap();
    assert!(free, "the task was locked first");
    assert!(!reports.await.unwrap().unwrap().counts);
    assert_eq!(world.count("repair WHERE attempts = 1").await, 1);
}
