//! Trash, purging in steps, deleted buckets.

use cyx_core::error::ErrorCode;
use cyx_core::ids::{BucketId, InodeId, Random as _, TrashId};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;
use pb::unlink::Mode;

use super::support::*;
use crate::db::DbError;
use crate::tree::model::InodeKind::{Directory, File};
use crate::tree::trash;

async fn listed(tree: &TestTree) -> Vec<pb::TrashEntry> {
    let mut read = tree.test.db.read().await.unwrap();
    trash::list_pb(&mut read, tree.bucket, tree.root, None, 1000).await.unwrap()
}

async fn throw_away(tree: &TestTree, directory: InodeId, name: &str, child: InodeId) -> TrashId {
    let result = tree.one(unlink(directory, name, child, Mode::Trash)).await;
    ok(&result);
    TrashId::try_from(&result.operations[0].trash[..]).unwrap()
}

fn restore(id: TrashId) -> pb::TrashRestore {
    pb::TrashRestore { trash: bytes_of(id), ..pb::TrashRestore::default() }
}

#[tokio::test]
async fn what_is_in_the_trash_counts_and_comes_back_whole() {
    let tree = TestTree::new().await;
    let outer = tree.make(tree.root, "outer", Directory).await;
    let dir = tree.make(outer, "d", Directory).await;
    let file = tree.make_small(dir, "f", 100).await;
    let id = throw_away(&tree, outer, "d", dir).await;
    assert!(tree.lookup(outer, "d").await.is_none());
    assert_eq!(tree.bytes().await, (sealed(100), 0, 0));
    assert_eq!(tree.inode(outer).await.unwrap().nlink, 2);
    let entries = listed(&tree).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].id, bytes_of(id));
    assert_eq!(entries[0].expires_ns - entries[0].deleted_ns, 30 * 24 * 3600 * 1_000_000_000);
    // The way from the root to the directory it was in.
    let way: Vec<_> = entries[0].ancestors.iter().map(|entry| entry.child.clone()).collect();
    assert_eq!(way, [bytes_of(outer)]);
    tree.check().await;
    ok(&tree.one(Op::TrashRestore(restore(id))).await);
    assert_eq!(tree.lookup(outer, "d").await.unwrap().entry.unwrap().child, bytes_of(dir));
    assert_eq!(tree.lookup(dir, "f").await.unwrap().entry.unwrap().child, bytes_of(file));
    assert_eq!(code(&tree.one(Op::TrashRestore(restore(id))).await), Some(ErrorCode::NotFound));
    tree.check().await;
}

#[tokio::test]
async fn what_was_thrown_away_before_its_directory_is_shown_and_comes_back_behind_it() {
    let tree = TestTree::new().await;
    let outer = tree.make(tree.root, "outer", Directory).await;
    let dir = tree.make(outer, "d", Directory).await;
    let inner = tree.make(dir, "i", Directory).await;
    let (one, two) = (tree.make_small(dir, "1", 100).await, tree.make_small(inner, "2", 200).await);
    let (one_id, two_id) = (throw_away(&tree, dir, "1", one).await, throw_away(&tree, inner, "2", two).await);
    let dir_id = throw_away(&tree, outer, "d", dir).await;
    let ways = async || {
        let mut found: Vec<_> = listed(&tree).await;
        found.retain(|entry| entry.id != bytes_of(dir_id));
        found.sort_by_key(|entry| entry.ancestors.len());
        let way = |entry: pb::TrashEntry| {
            (entry.ancestors.into_iter().map(|entry| entry.child).collect::<Vec<_>>(), entry.below_trash)
        };
        found.into_iter().map(way).collect::<Vec<_>>()
    };
    let way = |ids: &[InodeId]| ids.iter().map(|id| bytes_of(*id)).collect::<Vec<_>>();
    assert_eq!(ways().await, [(way(&[outer, dir]), true), (way(&[outer, dir, inner]), true)]);
    for id in [one_id, two_id] {
        assert_eq!(code(&tree.one(Op::TrashRestore(restore(id))).await), Some(ErrorCode::NotFound));
    }
    ok(&tree.one(Op::TrashRestore(restore(dir_id))).await);
    assert_eq!(ways().await, [(way(&[outer, dir]), false), (way(&[outer, dir, inner]), false)]);
    for id in [two_id, one_id] {
        ok(&tree.one(Op::TrashRestore(restore(id))).await);
    }
    assert_eq!(tree.lookup(inner, "2").await.unwrap().entry.unwrap().child, bytes_of(two));
    tree.check().await;
}

#[tokio::test]
async fn a_way_leads_through_the_trash_only_so_often() {
    let tree = TestTree::new().await;
    let mut chain = vec![tree.root];
    for number in 0..18 {
        chain.push(tree.make(chain[number], "d", Directory).await);
    }
    for pair in chain.windows(2).rev() {
        throw_away(&tree, pair[0], "d", pair[1]).await;
    }
    let mut ways: Vec<usize> = listed(&tree).await.into_iter().map(|entry| entry.ancestors.len()).collect();
    ways.sort_unstable();
    // The deepest has none; the highest was in the root.
    assert_eq!(ways, [vec![0], (0..17).collect()].concat());
}

#[tokio::test]
async fn what_was_thrown_away_goes_with_its_directory() {
    let tree = TestTree::new().await;
    let dir = tree.make(tree.root, "d", Directory).await;
    let thrown = tree.make(dir, "t", Directory).await;
    let (one, two) = (tree.make_small(dir, "1", 100).await, tree.make_small(thrown, "2", 200).await);
    // Another name of it stays.
    ok(&tree.one(link(one, tree.root, "other")).await);
    throw_away(&tree, thrown, "2", two).await;
    throw_away(&tree, dir, "t", thrown).await;
    throw_away(&tree, dir, "1", one).await;
    ok(&tree.one(unlink(tree.root, "d", dir, Mode::Purge)).await);
    assert_eq!(listed(&tree).await, []);
    assert_eq!(tree.bytes().await, (sealed(100), 0, 0));
    assert!(tree.inode(two).await.is_none() && tree.inode(thrown).await.is_none());
    tree.check().await;
}

#[tokio::test]
async fn a_taken_name_needs_another_one_and_its_key() {
    let tree = TestTree::new().await;
    let file = tree.make_small(tree.root, "f", 10).await;
    let id = throw_away(&tree, tree.root, "f", file).await;
    let other = tree.make(tree.root, "f", File).await;
    let refused = tree.one(Op::TrashRestore(restore(id))).await;
    assert_eq!(code(&refused), Some(ErrorCode::AlreadyExists));
    assert_eq!(refused.operations[0].inode.as_ref().unwrap().id, bytes_of(other));
    let keyless = pb::TrashRestore { names: tokens("g"), ..restore(id) };
    assert_eq!(code(&tree.one(Op::TrashRestore(keyless.clone())).await), Some(ErrorCode::InvalidArgument));
    ok(&tree.one(Op::TrashRestore(pb::TrashRestore { wrapped_key: vec![3; 60].into(), ..keyless })).await);
    let entry = tree.lookup(tree.root, "g").await.unwrap().entry.unwrap();
    assert_eq!((entry.child, &entry.wrapped_key[..]), (bytes_of(file), &[3; 60][..]));
    tree.check().await;
}

#[tokio::test]
async fn a_directory_is_not_restored_below_itself() {
    let tree = TestTree::new().await;
    let parent = tree.make(tree.root, "p", Directory).await;
    let dir = tree.make(parent, "d", Directory).await;
    let sub = tree.make(dir, "s", Directory).await;
    let id = throw_away(&tree, parent, "d", dir).await;
    ok(&tree.one(Op::Rename(rename_of((tree.root, "p"), parent, (sub, "p")))).await);
    assert_eq!(code(&tree.one(Op::TrashRestore(restore(id))).await), Some(ErrorCode::Loop));
    tree.check().await;
}

#[tokio::test]
async fn trash_expires() {
    let tree = TestTree::new().await;
    let dir = tree.make(tree.root, "d", Directory).await;
    tree.make_small(dir, "f", 100).await;
    throw_away(&tree, tree.root, "d", dir).await;
    tree.pass_seconds(29 * 24 * 3600);
    tree.collect().await;
    assert_eq!(listed(&tree).await.len(), 1);
    tree.pass_seconds(24 * 3600);
    assert_eq!(tree.collect().await.trash, 1);
    assert!(listed(&tree).await.is_empty());
    assert_eq!(tree.bytes().await, (0, 0, 0));
    tree.check().await;
}

#[tokio::test]
async fn purging_keeps_what_has_another_name() {
    let tree = TestTree::new().await;
    let dir = tree.make(tree.root, "d", Directory).await;
    let shared = tree.make_small(dir, "f", 100).await;
    ok(&tree.one(link(shared, dir, "again")).await);
    ok(&tree.one(link(shared, tree.root, "kept")).await);
    let thrown = tree.make_small(dir, "t", 50).await;
    let id = throw_away(&tree, dir, "t", thrown).await;
    ok(&tree.one(unlink(tree.root, "d", dir, Mode::Purge)).await);
    assert_eq!(tree.inode(shared).await.unwrap().nlink, 1);
    assert!(tree.inode(dir).await.is_none());
    // What was thrown away from it is gone as well; to purge that is no mistake.
    assert_eq!(tree.bytes().await, (sealed(100), 0, 0));
    tree.check().await;
    assert_eq!(code(&tree.one(Op::TrashRestore(restore(id))).await), Some(ErrorCode::NotFound));
    ok(&tree.one(Op::TrashPurge(pb::TrashPurge { trash: vec![bytes_of(id)] })).await);
    assert_eq!(tree.bytes().await, (sealed(100), 0, 0));
    tree.check().await;
}

/// A directory with more below it than one step clears away.
async fn large(tree: &TestTree, parent: InodeId, name: &str) -> InodeId {
    let top = tree.make(parent, name, Directory).await;
    for number in 0..3 {
        let dir = tree.make(top, &format!("d{number}"), Directory).await;
        let files = (0..500).map(|number| {
            let id = InodeId::random();
            mutation(vec![create(id, dir, &format!("f{number}"), File), Op::Commit(tree.small(id, 0, 10))])
        });
        tree.apply(files.collect()).await.iter().for_each(ok);
    }
    top
}

#[tokio::test]
async fn large_subtrees_go_in_steps() {
    let tree = TestTree::new().await;
    let top = large(&tree, tree.root, "top").await;
    assert_eq!(tree.bytes().await.0, 1500 * sealed(10));
    ok(&tree.one(unlink(tree.root, "top", top, Mode::Purge)).await);
    let left = tree.bytes().await.0;
    assert!(left > 0 && left < 1500 * sealed(10), "{left}");
    tree.check().await;
    tree.collect().await;
    assert_eq!(tree.bytes().await, (0, 0, 0));
    assert!(tree.inode(top).await.is_none());
    tree.check().await;
}

#[tokio::test]
async fn deleted_buckets_vanish_at_once_and_are_cleared_away() {
    let tree = TestTree::new().await;
    large(&tree, tree.root, "top").await;
    let file = tree.make_small(tree.root, "f", 10).await;
    ok(&tree.one(Op::Commit(tree.small(file, 1, 20))).await);
    throw_away(&tree, tree.root, "f", file).await;
    let orphan = tree.make_small(tree.root, "o", 10).await;
    ok(&tree.one(unlink(tree.root, "o", orphan, Mode::File)).await);
    let (_, blob) = inline(0, 30);
    tree.stage(cyx_core::ids::TxnId::random(), vec![], vec![blob], &[]).await.unwrap();
    let delete = |with_content| tree.in_bucket(move |work| Box::pin(work.delete_bucket(with_content)));
    assert_eq!(delete(false).await.unwrap_err().code(), ErrorCode::NotEmpty);
    delete(true).await.unwrap();
    let gone = tree.in_bucket(|_| Box::pin(async { Ok(()) })).await;
    assert_eq!(gone.unwrap_err().code(), ErrorCode::NotFound);
    tree.check().await;
    assert_eq!(tree.collect().await.buckets, 1);
    assert_eq!(tree.bytes().await, (0, 0, 0));
    tree.check().await;
    let mut read = tree.test.db.read().await.unwrap();
    for table in
        ["bucket", "bucket_member", "writer_entry", "inode", "entry", "blob", "change", "mutation_result", "staged"]
    {
        let text = sqlx::AssertSqlSafe(format!("SELECT 1 FROM {table}"));
        assert!(sqlx::query(text).fetch_optional(&mut *read).await.unwrap().is_none(), "{table}");
    }
    drop(read);
    // Its name and id are free again.
    tree.make_bucket("bucket", tree.bucket, tree.root).await.unwrap();
    tree.check().await;
}

#[tokio::test]
async fn buckets_are_found_by_name_and_made_once() {
    let tree = TestTree::new().await;
    // A lost reply.
    tree.make_bucket("bucket", tree.bucket, tree.root).await.unwrap();
    let other = cyx_core::ids::BucketId::random();
    let taken = tree.make_bucket("bucket", other, InodeId::random()).await;
    assert_eq!(taken.unwrap_err().code(), ErrorCode::AlreadyExists);
    let taken = tree.make_bucket("other", tree.bucket, InodeId::random()).await;
    assert_eq!(taken.unwrap_err().code(), ErrorCode::AlreadyExists);
    tree.make_bucket("other", other, InodeId::random()).await.unwrap();
    let mut read = tree.test.db.read().await.unwrap();
    let list = crate::tree::buckets::list(&mut read, tree.actor.account, b"").await.unwrap();
    assert_eq!(list.len(), 2);
    let found = crate::tree::buckets::list(&mut read, tree.actor.account, b"other").await.unwrap();
    assert_eq!(found[0].bucket.id, other);
    drop(read);
    tree.check().await;
}

#[tokio::test]
async fn a_bucket_that_contradicts_itself_keeps_no_other_from_being_collected() {
    let mut tree = TestTree::new().await;
    // Collected before the other one.
    let broken = (BucketId([0; 16]), InodeId::random());
    let places = [(tree.bucket, tree.root), broken];
    tree.make_bucket("broken", broken.0, broken.1).await.unwrap();
    for (bucket, root) in places {
        (tree.bucket, tree.root) = (bucket, root);
        let file = tree.make_small(root, "f", 100).await;
        throw_away(&tree, root, "f", file).await;
    }
    tree.in_bucket(move |work| {
        Box::pin(async move {
            let text = "DELETE FROM extent_page WHERE bucket = $1";
            sqlx::query(text).bind(broken.0.to_vec()).execute(&mut *work.conn).await.map_err(DbError::from)?;
            Ok(())
        })
    })
    .await
    .unwrap();
    tree.pass_seconds(31 * 24 * 3600);
    let bus = crate::changes::Bus::default();
    let (collected, outcome) = crate::tree::collect::collect(&tree.test.db, &bus, tree.settings, tree.now()).await;
    assert!(outcome.is_err(), "{outcome:?}");
    assert_eq!(collected.trash, 1);
    for (bucket, left) in [(places[0], 0), (broken, 1)] {
        (tree.bucket, tree.root) = bucket;
        assert_eq!(listed(&tree).await.len(), left);
    }
}
