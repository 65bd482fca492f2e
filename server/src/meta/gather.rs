//! Batches for the same bucket that wait at the same time are done in one job.
//!
//! Every change of a bucket begins with the same questions and ends with the same writes, whoever asks for it. So what callers want of a
//! bucket waits in its lane, and a job takes its share of that ([`Lane::most`]) at the moment when it begins: while one group is made
//! durable, the next one gathers. On SQLite that moment is the writer's turn; on PostgreSQL a lane has one job at a time, because the
//! others would only wait for the bucket's row, each with a connection.
//!
//! Nobody suffers for others: if the job fails, every batch of it is done again alone.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cyx_core::ids::BucketId;
use tokio::sync::oneshot;

use crate::changes::Bus;
use crate::db::{Backend, Db, DbError};
use crate::time::now_ns;
use crate::tree::TreeError;
use crate::tree::apply::{self, Batch, Outcome, Together};

/// Most batches of one job.
const BATCHES_MAX: usize = 256;
/// Most mutations of one job, unless a single batch has more: others wait for the writer meanwhile.
const MUTATIONS_MAX: usize = 1024;
/// So many mutations are not worth dividing.
const FEW: usize = 16;

/// The lanes of all buckets. Cheap to clone.
#[derive(Clone)]
pub(super) struct Gathering(Arc<Shared>);

struct Shared {
    db: Db,
    changes: Bus,
    lanes: Mutex<HashMap<BucketId, Lane>>,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Waiting>,
    /// A job is on its way that takes what waits.
    coming: bool,
    /// Mutations that the last job took, if the lane has not been empty since.
    taken: usize,
}

struct Waiting {
    batch: Arc<Batch>,
    reply: oneshot::Sender<Result<Outcome, TreeError>>,
}

impl Lane {
    /// Most mutations that the next job takes: half of what is under way, so that one half is answered and comes back while the database works
    /// on the other. Callers that were all served by one job would all come back at once, and they and the database would take turns.
    fn most(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(|waiting| waiting.batch.mutations.len()).sum();
        (waiting + self.taken).div_ceil(2).clamp(FEW, MUTATIONS_MAX)
    }
}

impl Waiting {
    fn answer(self, outcome: Result<Outcome, TreeError>) {
        // The caller may have stopped waiting.
        let _ = self.reply.send(outcome);
    }
}

/// What a job took; taken once, however often the job is repeated.
type Taken = Mutex<Option<Vec<Waiting>>>;

impl Gathering {
    pub(super) fn new(db: Db, changes: Bus) -> Self {
        Self(Arc::new(Shared { db, changes, lanes: Mutex::default() }))
    }

    /// Does a batch, with others of its bucket that wait. It happens even if the caller stops waiting.
    ///
    /// # Errors
    /// As [`apply::apply`].
    pub(super) async fn apply(&self, batch: Arc<Batch>) -> Result<Outcome, TreeError> {
        let (reply, answer) = oneshot::channel();
        let bucket = batch.bucket;
        let begins = {
            let mut lanes = self.0.lanes();
            let lane = lanes.entry(bucket).or_default();
            lane.waiting.push_back(Waiting { batch, reply });
            !std::mem::replace(&mut lane.coming, true)
        };
        if begins {
            tokio::spawn(Arc::clone(&self.0).job(bucket));
        }
        answer.await.unwrap_or_else(|_| Err(DbError::Closed.into()))
    }
}

impl Shared {
    fn lanes(&self) -> MutexGuard<'_, HashMap<BucketId, Lane>> {
        // Consistent after any panic: every change of it is one call.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Jobs of a lane until nobody waits in it.
    async fn job(self: Arc<Self>, bucket: BucketId) {
        loop {
            let taken: Arc<Taken> = Arc::default();
            let done = {
                let (shared, taken, backend) = (Arc::clone(&self), Arc::clone(&taken), self.db.backend());
                let job = self.db.write(move |conn| {
                    let batches = shared.take(bucket, &taken);
                    Box::pin(async move { apply::together(conn, backend, &batches, now_ns()).await })
                });
                job.await
            };
            // A job that never began leaves its lane to be emptied here: nobody else would.
            let batches = locked(&taken).take();
            let began = batches.is_some();
            self.settle(bucket, batches.unwrap_or_else(|| self.drain(bucket)), done);
            if (began && self.db.backend() == Backend::Sqlite) || !self.goes_on(bucket) {
                return;
            }
        }
    }

    /// The batches of a job: those that wait, when it begins for the first time.
    fn take(self: &Arc<Self>, bucket: BucketId, taken: &Taken) -> Vec<Arc<Batch>> {
        let mut taken = locked(taken);
        let taken = taken.get_or_insert_with(|| self.board(bucket));
        taken.iter().map(|waiting| Arc::clone(&waiting.batch)).collect()
    }

    fn board(self: &Arc<Self>, bucket: BucketId) -> Vec<Waiting> {
        let mut lanes = self.lanes();
        let Some(lane) = lanes.get_mut(&bucket) else { return Vec::new() };
        let most = lane.most();
        let (mut batches, mut mutations) = (Vec::new(), 0);
        while let Some(next) = lane.waiting.front() {
            let more = mutations + next.batch.mutations.len();
            if batches.len() == BATCHES_MAX || (!batches.is_empty() && more > most) {
                break;
            }
            mutations = more;
            batches.extend(lane.waiting.pop_front());
        }
        lane.taken = mutations;
        if self.db.backend() == Backend::Sqlite {
            // Whoever comes from now on needs another job; it waits for the writer while this one is made durable.
            if lane.waiting.is_empty() {
                lanes.remove(&bucket);
            } else {
                tokio::spawn(Arc::clone(self).job(bucket));
            }
        }
        batches
    }

    /// Whether somebody waits in the lane, for whom its job goes on; otherwise the lane ends.
    fn goes_on(&self, bucket: BucketId) -> bool {
        let mut lanes = self.lanes();
        let waits = lanes.get(&bucket).is_some_and(|lane| !lane.waiting.is_empty());
        if !waits {
            lanes.remove(&bucket);
        }
        waits
    }

    fn drain(&self, bucket: BucketId) -> Vec<Waiting> {
        let lane = self.lanes().get_mut(&bucket).map(|lane| std::mem::take(&mut lane.waiting));
        lane.unwrap_or_default().into()
    }

    /// Answers everybody whose batch a job took.
    fn settle(self: &Arc<Self>, bucket: BucketId, mut batches: Vec<Waiting>, done: Result<Together, DbError>) {
        match done {
            Ok(Together { outcomes, changes }) => {
                self.changes.publish_changes(bucket, changes);
                batches.into_iter().zip(outcomes).for_each(|(waiting, outcome)| waiting.answer(outcome));
            }
            Err(error) if batches.len() == 1 => {
                if let Some(only) = batches.pop() {
                    only.answer(Err(error.into()));
                }
            }
            Err(DbError::Closed) => batches.into_iter().for_each(|waiting| waiting.answer(Err(DbError::Closed.into()))),
            Err(error) => {
                tracing::warn!(%error, batches = batches.len(), "a job of several batches failed; each is repeated alone");
                for waiting in batches {
                    tokio::spawn(Arc::clone(self).alone(waiting));
                }
            }
        }
    }

    async fn alone(self: Arc<Self>, waiting: Waiting) {
        let (batch, backend) = (Arc::clone(&waiting.batch), self.db.backend());
        let job = self.db.write(move |conn| {
            let batch = Arc::clone(&batch);
            Box::pin(async move { apply::together(conn, backend, &[batch], now_ns()).await })
        });
        let done = job.await;
        self.settle(waiting.batch.bucket, vec![waiting], done);
    }
}

fn locked(taken: &Taken) -> MutexGuard<'_, Option<Vec<Waiting>>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cyx_core::error::ErrorCode;
    use cyx_core::ids::{InodeId, Random as _};
    use cyx_proto::convert::bytes_of;
    use cyx_proto::meta::v1 as pb;

    use super::*;
    use crate::changes::Notice;
    use crate::tree::model::InodeKind::Directory;
    use crate::tree::tests::support::{TestTree, create, mutation, ok};

    async fn batch(tree: &TestTree, mutations: Vec<pb::Mutation>) -> Arc<Batch> {
        let request = pb::ApplyRequest { bucket: bytes_of(tree.bucket), mutations, ..pb::ApplyRequest::default() };
        let context = tree.context().await.unwrap();
        Arc::new(Batch::check(request, tree.actor, tree.settings, &context).unwrap())
    }

    fn directory(tree: &TestTree, name: &str) -> pb::Mutation {
        mutation(vec![create(InodeId::random(), tree.root, name, Directory)])
    }

    /// Keeps the bucket until somebody sends or drops what comes back.
    async fn occupy(tree: &TestTree) -> oneshot::Sender<()> {
        let (go, wait) = oneshot::channel::<()>();
        let (began, begins) = oneshot::channel::<()>();
        let ends = Arc::new(Mutex::new(Some((began, wait))));
        let (db, backend, bucket) = (tree.test.db.clone(), tree.test.db.backend(), tree.bucket);
        tokio::spawn(async move {
            db.write::<(), DbError, _>(move |conn| {
                let ends = Arc::clone(&ends);
                Box::pin(async move {
                    let text = format!("SELECT 1 FROM bucket WHERE id = $1{}", backend.for_update());
                    sqlx::query(sqlx::AssertSqlSafe(text)).bind(bucket.to_vec()).fetch_one(&mut *conn).await?;
                    let ends = ends.lock().unwrap().take();
                    if let Some((began, wait)) = ends {
                        began.send(()).unwrap();
                        let _ = wait.await;
                    }
                    Ok(())
                })
            })
            .await
        });
        begins.await.unwrap();
        go
    }

    /// Waits until the bucket has a lane in which so many batches wait.
    async fn until_waiting(gathering: &Gathering, tree: &TestTree, wanted: usize) {
        for _ in 0..6000 {
            let waiting = gathering.0.lanes().get(&tree.bucket).map(|lane| lane.waiting.len());
            if waiting == Some(wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nobody waits");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_job_takes_half_of_what_is_under_way() {
        let tree = TestTree::new().await;
        let gathering = Gathering::new(tree.test.db.clone(), Bus::default());
        let _occupied = occupy(&tree).await;
        let callers = 3 * FEW;
        for number in 0..callers {
            let (gathering, batch) =
                (gathering.clone(), batch(&tree, vec![directory(&tree, &number.to_string())]).await);
            tokio::spawn(async move { gathering.apply(batch).await });
        }
        // On PostgreSQL a job has taken one or more of them already and waits for the bucket.
        let under_way = |lane: &Lane| lane.waiting.len() + lane.taken;
        for _ in 0..6000 {
            if gathering.0.lanes().get(&tree.bucket).map(under_way) == Some(callers) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let shared = Arc::clone(&gathering.0);
        assert_eq!(shared.board(tree.bucket).len(), callers / 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_waits_for_a_bucket_is_served_together_and_nobody_suffers_for_others() {
        let tree = TestTree::new().await;
        let broken = tree.make_small(tree.root, "broken", 100).await;
        tree.test
            .db
            .write::<(), DbError, _>(|conn| {
                Box::pin(async move {
                    sqlx::query("UPDATE extent_page SET refs = 0, live_refs = 0").execute(conn).await?;
                    Ok(())
                })
            })
            .await
            .unwrap();
        let bus = Bus::default();
        let mut watch = bus.watch();
        let gathering = Gathering::new(tree.test.db.clone(), bus);
        let occupied = occupy(&tree).await;
        let spoilt = mutation(vec![pb::operation::Operation::Commit(tree.small(broken, 1, 50))]);
        let mutations = [directory(&tree, "a"), spoilt, directory(&tree, "b"), directory(&tree, "a")];
        let mut callers = Vec::new();
        for (at, mutation) in mutations.into_iter().enumerate() {
            let (gathering, batch) = (gathering.clone(), batch(&tree, vec![mutation]).await);
            let caller = gathering.clone();
            callers.push(tokio::spawn(async move { caller.apply(batch).await }));
            // On PostgreSQL the first one's job has a connection, takes it and waits for the bucket; on SQLite it waits for the writer.
            let taken = usize::from(tree.test.db.backend() == Backend::Postgres);
            until_waiting(&gathering, &tree, at + 1 - taken).await;
        }
        drop(occupied);
        let mut outcomes = Vec::new();
        for caller in callers {
            outcomes.push(match caller.await.unwrap() {
                Ok(Outcome::Applied(applied)) => Ok(applied.results),
                Ok(Outcome::Held(_)) => panic!("nobody has a lease"),
                Err(error) => Err(error.code()),
            });
        }
        assert_eq!(outcomes[1].as_ref().unwrap_err(), &ErrorCode::Internal);
        let results: Vec<_> = [0, 2, 3].map(|at| outcomes[at].as_ref().unwrap()[0].clone()).into();
        // Those that are repeated alone may come in any order.
        assert_eq!(results.iter().filter(|result| result.fault.is_none()).count(), 2);
        ok(&results[1]);
        for name in ["a", "b"] {
            assert!(tree.lookup(tree.root, name).await.unwrap().entry.is_some(), "{name}");
        }
        let mut published = 0;
        while published < 2 {
            match watch.recv().await.unwrap() {
                Notice::Changes { changes, .. } => published += changes.len(),
                other => panic!("{other:?}"),
            }
        }
        // The next caller finds the lane as it was in the beginning.
        let after = gathering.apply(batch(&tree, vec![directory(&tree, "c")]).await).await.unwrap();
        assert!(matches!(after, Outcome::Applied(applied) if applied.results[0].fault.is_none()));
        // Callers have their answer before the job looks whether somebody else waits.
        for _ in 0..6000 {
            if gathering.0.lanes().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the lane goes on for nobody");
    }
}
