//! Batches of several callers in one transaction leave the same rows and give the same answers as each in one of its own.

use std::sync::Arc;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, InodeId, SessionId, TxnId};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;

use super::fast::{dump, small_file};
use super::support::*;
use crate::db::DbError;
use crate::tree::apply::{self, Batch, Outcome};
use crate::tree::model::InodeKind::{Directory, File};
use crate::tree::write_lease::{self, Acquired};
use crate::tree::{Actor, TreeError};

/// Who asks, with which write lease, for what.
struct Call {
    actor: Actor,
    lease: Option<([u8; 16], u64)>,
    mutations: Vec<pb::Mutation>,
}

/// The results and the newest change, or why nothing was done.
type Answer = Result<(Vec<pb::MutationResult>, u64), ErrorCode>;

async fn batch(tree: &TestTree, call: Call) -> Arc<Batch> {
    let (write_lease, fencing) =
        call.lease.map(|(lease, fencing)| (lease.to_vec().into(), fencing)).unwrap_or_default();
    let request = pb::ApplyRequest { bucket: bytes_of(tree.bucket), mutations: call.mutations, write_lease, fencing };
    let context = tree.context().await.unwrap();
    Arc::new(Batch::check(request, call.actor, tree.settings, &context).unwrap())
}

async fn transaction(tree: &TestTree, batches: Vec<Arc<Batch>>) -> Vec<Answer> {
    let (backend, now, batches) = (tree.test.db.backend(), tree.now(), Arc::new(batches));
    let job = tree.test.db.write(move |conn| {
        let batches = Arc::clone(&batches);
        Box::pin(async move { apply::together(conn, backend, &batches, now).await })
    });
    let done: Result<apply::Together, DbError> = job.await;
    let answer = |outcome: Result<Outcome, TreeError>| match outcome {
        Ok(Outcome::Applied(applied)) => Ok((applied.results, applied.sequence)),
        Ok(Outcome::Held(_)) => Err(ErrorCode::Retry),
        Err(error) => Err(error.code()),
    };
    done.unwrap().outcomes.into_iter().map(answer).collect()
}

/// Does the same calls both ways and compares everything.
async fn both_ways(calls: impl Fn(&TestTree) -> Vec<Call>, held: bool) -> Vec<Answer> {
    let mut outcomes = Vec::new();
    for together in [true, false] {
        let tree = TestTree::new().await;
        let mut setup = mutation(vec![create(InodeId([99; 16]), tree.root, "dir", Directory)]);
        setup.txn = bytes_of(TxnId([255; 16]));
        tree.apply(vec![setup]).await.iter().for_each(ok);
        if held {
            let acquired = tree.in_bucket(|work| Box::pin(write_lease::acquire(work, "host"))).await.unwrap();
            assert!(matches!(acquired, Acquired::Lease(_)));
        }
        let mut batches = Vec::new();
        for call in calls(&tree) {
            batches.push(batch(&tree, call).await);
        }
        let mut answers = Vec::new();
        if together {
            answers = transaction(&tree, batches).await;
        } else {
            for batch in batches {
                answers.append(&mut transaction(&tree, vec![batch]).await);
            }
        }
        tree.check().await;
        outcomes.push((answers, dump(&tree).await));
    }
    let (apart, rows_apart) = outcomes.pop().unwrap();
    let (together, rows) = outcomes.pop().unwrap();
    assert_eq!(together, apart);
    assert_eq!(rows, rows_apart);
    together
}

fn session(tree: &TestTree, number: u8) -> Actor {
    Actor { session: SessionId([number; 16]), ..tree.actor }
}

fn stranger() -> Actor {
    Actor { account: AccountId([77; 16]), session: SessionId([77; 16]) }
}

fn empty(number: u8, directory: InodeId, name: &str) -> pb::Mutation {
    let made = mutation(vec![create(InodeId([number; 16]), directory, name, Directory)]);
    pb::Mutation { txn: bytes_of(TxnId([number; 16])), ..made }
}

fn call(actor: Actor, mutations: Vec<pb::Mutation>) -> Call {
    Call { actor, lease: None, mutations }
}

#[tokio::test]
async fn callers_see_what_those_before_them_did() {
    let answers = both_ways(
        |tree| {
            let first = vec![empty(1, tree.root, "a"), empty(2, tree.root, "b"), small_file(tree, 3, tree.root, "c")];
            let again = vec![first[1].clone(), empty(4, InodeId([1; 16]), "in a")];
            let gone = pb::Unlink {
                directory: bytes_of(tree.root),
                names: tokens("c"),
                expected: expect(InodeId([3; 16])),
                mode: pb::unlink::Mode::File.into(),
            };
            let mut unlinked = mutation(vec![Op::Unlink(gone)]);
            unlinked.txn = bytes_of(TxnId([5; 16]));
            let mut second = mutation(vec![Op::Commit(tree.small(InodeId([3; 16]), 0, 10))]);
            second.txn = bytes_of(TxnId([6; 16]));
            let malformed = pb::Mutation { txn: bytes_of(TxnId([8; 16])), ..pb::Mutation::default() };
            vec![
                call(session(tree, 10), first),
                call(session(tree, 11), again),
                call(stranger(), vec![empty(7, tree.root, "not seen")]),
                call(session(tree, 12), vec![unlinked, second, malformed]),
                call(session(tree, 10), Vec::new()),
                call(session(tree, 13), vec![small_file(tree, 9, tree.root, "c"), empty(14, tree.root, "a")]),
            ]
        },
        false,
    )
    .await;
    let faults = |at: usize| answers[at].as_ref().unwrap().0.iter().map(code).collect::<Vec<_>>();
    assert_eq!(faults(0), [None; 3]);
    assert_eq!(faults(1), [None; 2]);
    assert!(answers[1].as_ref().unwrap().0[0].replayed);
    assert_eq!(answers[2], Err(ErrorCode::NotFound));
    assert_eq!(faults(3), [None, Some(ErrorCode::Conflict), Some(ErrorCode::InvalidArgument)]);
    assert_eq!(faults(5), [None, Some(ErrorCode::AlreadyExists)]);
    let newest: Vec<u64> = answers.iter().flatten().map(|answer| answer.1).collect();
    assert_eq!(newest.len(), 5);
    assert!(newest.is_sorted(), "{newest:?}");
}

#[tokio::test]
async fn each_is_held_to_the_write_lease_it_names() {
    let answers = both_ways(
        |tree| {
            let named = |lease| Call { lease: Some((lease, 1)), ..call(tree.actor, vec![empty(1, tree.root, "a")]) };
            vec![
                call(session(tree, 10), vec![empty(2, tree.root, "b")]),
                named([9; 16]),
                call(session(tree, 11), vec![empty(3, tree.root, "c")]),
            ]
        },
        true,
    )
    .await;
    assert_eq!(answers, [Err(ErrorCode::Retry), Err(ErrorCode::StaleLease), Err(ErrorCode::Retry)]);
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_not_there_for_anybody() {
    let tree = TestTree::new().await;
    let other = TestTree::new().await;
    let mut batches = Vec::new();
    for number in [1, 2] {
        let mutations = vec![mutation(vec![create(InodeId([number; 16]), tree.root, "name", File)])];
        batches.push(batch(&tree, call(tree.actor, mutations)).await);
    }
    other
        .test
        .db
        .write::<(), DbError, _>(|conn| {
            Box::pin(async move {
                sqlx::query("UPDATE bucket SET deleted_ns = 1").execute(conn).await?;
                Ok(())
            })
        })
        .await
        .unwrap();
    assert_eq!(transaction(&other, batches).await, [Err(ErrorCode::NotFound), Err(ErrorCode::NotFound)]);
}
