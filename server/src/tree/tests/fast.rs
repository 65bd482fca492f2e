//! The short way for runs of small files leaves the same rows and gives the same answers as the general one.

use cyx_core::error::ErrorCode;
use cyx_core::ids::{BlobId, InodeId, TxnId};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;
use sqlx::{Column as _, Row as _, ValueRef as _};

use super::support::*;
use crate::tree::model::InodeKind::{self, Directory, File};

/// A mutation like those that are taken the short way, with ids that follow from a number.
pub(super) fn small_file(tree: &TestTree, number: u8, directory: InodeId, name: &str) -> pb::Mutation {
    let inode = InodeId([number; 16]);
    let extent = extent_of(0, BlobId([number; 16]), 100 + u64::from(number));
    let length = extent.header.sealed_len();
    let place = Some(pb::blob::Place::Inline(vec![number; usize::try_from(length).unwrap()].into()));
    let blob = pb::Blob { id: bytes_of(extent.blob), length, place };
    let mut commit = tree.commit(inode, 0, &[extent], vec![blob]);
    if number.is_multiple_of(2) {
        tree.sign_after(&mut commit, 0);
    }
    let operations = [create(inode, directory, name, File), Op::Commit(commit)];
    let operations = operations.into_iter().map(|operation| pb::Operation { operation: Some(operation) }).collect();
    pb::Mutation { txn: bytes_of(TxnId([number; 16])), operations, time_ns: Some(i64::from(number)) }
}

/// All rows of all tables that mutations write, as text.
pub(super) async fn dump(tree: &TestTree) -> Vec<String> {
    let mut read = tree.test.db.read().await.unwrap();
    let mut lines = Vec::new();
    for (table, order) in [
        ("bucket", "id"),
        ("inode", "id"),
        ("entry", "directory, name"),
        ("version", "inode, version"),
        ("extent_page", "id"),
        ("blob", "id"),
        ("change", "sequence"),
        ("mutation_result", "txn"),
        ("account", "id"),
    ] {
        let text = format!("SELECT * FROM {table} ORDER BY {order}");
        for row in sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(&mut *read).await.unwrap() {
            let mut line = table.to_owned();
            for column in row.columns() {
                let at = column.ordinal();
                let value = if row.try_get_raw(at).unwrap().is_null() {
                    "null".to_owned()
                } else if let Ok(bytes) = row.try_get::<Vec<u8>, _>(at) {
                    hex::encode(bytes)
                } else if let Ok(text) = row.try_get::<String, _>(at) {
                    text
                } else {
                    row.try_get::<i64, _>(at).unwrap().to_string()
                };
                line.push_str(&format!(" {}={value}", column.name()));
            }
            lines.push(line);
        }
    }
    lines
}

/// Does the same batch both ways and compares everything.
async fn both_ways(batch: impl Fn(&TestTree) -> Vec<pb::Mutation>, limit: i64) -> Vec<pb::MutationResult> {
    let mut outcomes = Vec::new();
    for fast in [true, false] {
        let mut tree = TestTree::with_limit(limit).await;
        tree.fast = fast;
        let directory = InodeId([99; 16]);
        let mut setup = mutation(vec![create(directory, tree.root, "dir", Directory)]);
        setup.txn = bytes_of(TxnId([255; 16]));
        tree.apply(vec![setup]).await.iter().for_each(ok);
        let results = tree.apply(batch(&tree)).await;
        tree.check().await;
        outcomes.push((results, dump(&tree).await));
    }
    let (slow_results, slow_rows) = outcomes.pop().unwrap();
    let (fast_results, fast_rows) = outcomes.pop().unwrap();
    assert_eq!(fast_results, slow_results);
    assert_eq!(fast_rows, slow_rows);
    fast_results
}

/// A new inode without content, with an id that follows from a number.
fn empty(number: u8, directory: InodeId, name: &str, kind: InodeKind) -> pb::Mutation {
    let made = mutation(vec![create(InodeId([number; 16]), directory, name, kind)]);
    pb::Mutation { txn: bytes_of(TxnId([number; 16])), time_ns: Some(i64::from(number % 3)), ..made }
}

const ENOUGH: i64 = 1 << 40;

#[tokio::test]
async fn a_run_of_new_files() {
    let results = both_ways(
        |tree| {
            let directory = |number| if number % 3 == 0 { tree.root } else { InodeId([99; 16]) };
            (1..=20).map(|number| small_file(tree, number, directory(number), &format!("n{number}"))).collect()
        },
        ENOUGH,
    )
    .await;
    results.iter().for_each(ok);
}

#[tokio::test]
async fn runs_between_other_mutations() {
    let results = both_ways(
        |tree| {
            let mut batch: Vec<pb::Mutation> =
                (1..=15).map(|number| small_file(tree, number, tree.root, &format!("n{number}"))).collect();
            let mut other = mutation(vec![create(InodeId([50; 16]), tree.root, "other", File)]);
            other.txn = bytes_of(TxnId([50; 16]));
            batch.insert(7, other);
            batch.insert(12, batch[3].clone());
            batch.push(pb::Mutation { txn: bytes_of(TxnId([51; 16])), ..pb::Mutation::default() });
            batch
        },
        ENOUGH,
    )
    .await;
    assert!(results[12].replayed);
    assert_eq!(code(results.last().unwrap()), Some(ErrorCode::InvalidArgument));
    assert_eq!(results.iter().filter(|result| result.fault.is_none()).count(), 17);
}

#[tokio::test]
async fn names_ids_and_directories_that_do_not_fit() {
    type Spoil = fn(&TestTree, &mut Vec<pb::Mutation>);
    let spoils: [(ErrorCode, Spoil); 5] = [
        (ErrorCode::AlreadyExists, |tree, batch| batch[4] = small_file(tree, 5, tree.root, "n2")),
        (ErrorCode::AlreadyExists, |tree, batch| batch[4] = small_file(tree, 5, tree.root, "dir")),
        (ErrorCode::NotFound, |tree, batch| batch[4] = small_file(tree, 5, InodeId([77; 16]), "n5")),
        (ErrorCode::AlreadyExists, |tree, batch| {
            batch[4] = small_file(tree, 99, tree.root, "n5");
        }),
        (ErrorCode::AlreadyExists, |tree, batch| {
            let mut twice = small_file(tree, 2, tree.root, "n5");
            twice.txn = bytes_of(TxnId([60; 16]));
            batch[4] = twice;
        }),
    ];
    for (expected, spoil) in spoils {
        let results = both_ways(
            move |tree| {
                let mut batch: Vec<pb::Mutation> =
                    (1..=8).map(|number| small_file(tree, number, tree.root, &format!("n{number}"))).collect();
                spoil(tree, &mut batch);
                batch
            },
            ENOUGH,
        )
        .await;
        let faults: Vec<Option<ErrorCode>> = results.iter().map(code).collect();
        assert_eq!(faults.iter().filter(|fault| fault.is_some()).count(), 1, "{faults:?}");
        assert_eq!(faults[4], Some(expected));
    }
}

#[tokio::test]
async fn a_quota_that_ends_within_the_run() {
    let results = both_ways(
        |tree| (1..=8).map(|number| small_file(tree, number, tree.root, &format!("n{number}"))).collect(),
        i64::try_from(sealed(101) + sealed(102) + sealed(103)).unwrap(),
    )
    .await;
    let faults: Vec<Option<ErrorCode>> = results.iter().map(code).collect();
    assert_eq!(faults[..3], [None; 3]);
    assert!(faults[3..].iter().all(|fault| *fault == Some(ErrorCode::QuotaExceeded)));
}

#[tokio::test]
async fn directories_and_empty_files_among_small_ones() {
    let results = both_ways(
        |tree| {
            let kind = |number: u8| if number.is_multiple_of(4) { File } else { Directory };
            let directory = |number: u8| if number.is_multiple_of(3) { tree.root } else { InodeId([99; 16]) };
            let mut batch: Vec<pb::Mutation> =
                (1..=20).map(|n| empty(n, directory(n), &format!("n{n}"), kind(n))).collect();
            // What lies in a directory that the batch makes, and what is made before its directory is.
            batch.push(empty(30, InodeId([1; 16]), "in", Directory));
            batch.push(small_file(tree, 31, InodeId([1; 16]), "in too"));
            batch.push(empty(32, InodeId([33; 16]), "too early", File));
            batch.push(empty(33, tree.root, "late", Directory));
            batch.push(small_file(tree, 34, tree.root, "last"));
            batch
        },
        ENOUGH,
    )
    .await;
    let faults: Vec<Option<ErrorCode>> = results.iter().map(code).collect();
    assert_eq!(faults[22], Some(ErrorCode::NotFound));
    assert_eq!(faults.iter().flatten().count(), 1, "{faults:?}");
}

#[tokio::test]
async fn what_collides_keeps_nobody_else_from_the_short_way() {
    for taken in [&[40][..], &[0], &[63], &[5, 6, 40, 41], &[1, 9, 17, 25, 33, 41, 49, 57, 60, 61]] {
        let results = both_ways(
            |tree| {
                let name = |n: u8| if taken.contains(&n) { "dir".to_owned() } else { format!("n{n}") };
                (0..64).map(|n| empty(100 + n, tree.root, &name(n), Directory)).collect()
            },
            ENOUGH,
        )
        .await;
        for (at, result) in results.iter().enumerate() {
            let expected = taken.iter().any(|taken| usize::from(*taken) == at).then_some(ErrorCode::AlreadyExists);
            assert_eq!(code(result), expected, "{at} of {taken:?}");
        }
    }
}

#[tokio::test]
async fn a_name_that_is_taken_under_an_older_key_is_found_by_both() {
    let results = both_ways(
        |tree| {
            let mut batch: Vec<pb::Mutation> =
                (1..=6).map(|n| empty(n, tree.root, &format!("n{n}"), Directory)).collect();
            let mut twice = empty(7, tree.root, "dir", Directory);
            if let Some(Op::Create(create)) = &mut twice.operations[0].operation {
                create.names.push(pb::NameToken { epoch: 1, name: b"newer".as_slice().into() });
            }
            batch.insert(3, twice);
            batch
        },
        ENOUGH,
    )
    .await;
    let faults: Vec<Option<ErrorCode>> = results.iter().map(code).collect();
    assert_eq!(faults[3], Some(ErrorCode::AlreadyExists));
    assert_eq!(faults.iter().flatten().count(), 1, "{faults:?}");
}
