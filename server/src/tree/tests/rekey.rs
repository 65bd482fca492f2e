//! New keys: what they must not leave behind, and who is told that a key was replaced.

use std::sync::Arc;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{ApiKeyId, BucketId, InodeId, Random as _, TrashId};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;
use pb::unlink::Mode;

use super::support::*;
use crate::tree::TreeError;
use crate::tree::model::InodeKind::{Directory, File};
use crate::tree::model::Token;
use crate::tree::read;
use crate::tree::rekey::{Rotation, path};

fn newer(name: &str, epoch: u32) -> pb::NameToken {
    pb::NameToken { epoch, name: format!("{name}-{epoch}").into_bytes().into() }
}

/// The edge of a name that is under the first key, under a newer one.
async fn edge(tree: &TestTree, directory: InodeId, name: &str, epoch: u32) -> pb::RekeyedEdge {
    let entry = tree.list(directory).await.into_iter().find(|(entry, _)| entry.token.name == name.as_bytes());
    let version = entry.map_or(0, |(entry, _)| entry.version);
    pb::RekeyedEdge {
        directory: bytes_of(directory),
        name: Some(token(name)),
        version,
        new_name: Some(newer(name, epoch)),
        wrapped_key: vec![6; 60].into(),
        ..pb::RekeyedEdge::default()
    }
}

fn rekey(inode: InodeId, expected: u32, epoch: u32, edges: Vec<pb::RekeyedEdge>) -> pb::Rekey {
    let key_history = if epoch > expected { vec![4; 81].into() } else { bytes::Bytes::new() };
    pb::Rekey { inode: bytes_of(inode), expected_epoch: expected, epoch, key_history, edges }
}

fn rotation(tree: &TestTree, expected: u32, epoch: u32, api_keys: Vec<pb::RotatedApiKey>) -> pb::RotateBucketRequest {
    pb::RotateBucketRequest {
        bucket: bytes_of(tree.bucket),
        expected_epoch: expected,
        epoch,
        sealed_name: vec![2; 50].into(),
        wrapped_root_key: vec![u8::try_from(epoch).unwrap(); 80].into(),
        key_history: vec![u8::try_from(epoch).unwrap(); 81].into(),
        api_keys,
        ..pb::RotateBucketRequest::default()
    }
}

async fn rotate(tree: &TestTree, request: pb::RotateBucketRequest) -> Result<u64, ErrorCode> {
    let rotation = Arc::new(Rotation::check(request).map_err(|error| TreeError::from(error).code())?);
    let done = tree.in_bucket(move |work| {
        let rotation = Arc::clone(&rotation);
        Box::pin(async move { work.rotate(&rotation).await })
    });
    done.await.map_err(|error| error.code())
}

async fn look(tree: &TestTree, directory: InodeId, name: pb::NameToken) -> Result<bool, ErrorCode> {
    let mut read = tree.test.db.read().await.unwrap();
    let question = vec![Token { name: name.name, epoch: name.epoch }];
    let answer = read::lookup(&mut read, tree.bucket, directory, &[question]).await;
    answer.map(|mut answers| answers.remove(0).entry.is_some()).map_err(|error| error.code())
}

#[tokio::test]
async fn everything_of_an_inode_changes_together_and_no_time_does() {
    let tree = TestTree::new().await;
    let dir = tree.make(tree.root, "d", Directory).await;
    let file = tree.make_small(tree.root, "f", 10).await;
    ok(&tree.one(link(file, dir, "g")).await);
    let trashed = tree.one(unlink(dir, "g", file, Mode::Trash)).await;
    ok(&trashed);
    let trash = TrashId::try_from(&trashed.operations[0].trash[..]).unwrap();
    let before = tree.inode(file).await.unwrap();

    let named = edge(&tree, tree.root, "f", 2).await;
    let in_trash = pb::RekeyedEdge { trash: bytes_of(trash), ..edge(&tree, dir, "g", 2).await };
    let half = tree.one(Op::Rekey(rekey(file, 0, 2, vec![named.clone()]))).await;
    assert_eq!(code(&half), Some(ErrorCode::Retry), "an edge was left out, and would not open any more");
    let twice = tree.one(Op::Rekey(rekey(file, 0, 2, vec![named.clone(), named.clone()]))).await;
    assert_eq!(code(&twice), Some(ErrorCode::Retry));
    tree.pass_seconds(60);
    let done = tree.one(Op::Rekey(rekey(file, 0, 2, vec![named.clone(), in_trash]))).await;
    ok(&done);
    let after = tree.inode(file).await.unwrap();
    assert_eq!((after.key_epoch, after.key_history.len()), (2, 81));
    assert_eq!((after.mtime_ns, after.ctime_ns), (before.mtime_ns, before.ctime_ns));
    assert!(!look(&tree, tree.root, token("f")).await.unwrap());
    assert!(look(&tree, tree.root, newer("f", 2)).await.unwrap());
    let again = tree.one(Op::Rekey(rekey(file, 0, 3, vec![named]))).await;
    assert_eq!(code(&again), Some(ErrorCode::Retry), "its key is another by now");
    tree.check().await;
}

#[tokio::test]
async fn who_uses_a_replaced_key_is_told_so() {
    let tree = TestTree::new().await;
    let dir = tree.make(tree.root, "d", Directory).await;
    let file = tree.make_small(tree.root, "f", 10).await;
    for (inode, name) in [(dir, "d"), (file, "f")] {
        let edges = vec![edge(&tree, tree.root, name, 2).await];
        ok(&tree.one(Op::Rekey(rekey(inode, 0, 2, edges))).await);
    }
    let stale = Some(ErrorCode::StaleKey);
    // Names in a directory, under its key of before.
    assert_eq!(look(&tree, dir, token("x")).await, Err(ErrorCode::StaleKey));
    assert_eq!(code(&tree.one(create(InodeId::random(), dir, "x", File)).await), stale);
    assert_eq!(code(&tree.one(unlink(dir, "x", file, Mode::File)).await), stale);
    let into = pb::Rename { names: vec![newer("f", 2)], ..rename_of((tree.root, "f"), file, (dir, "f")) };
    assert_eq!(code(&tree.one(Op::Rename(into.clone())).await), stale);
    // A key of the file that has a newer one: wrapped alone, it would lose that.
    let under = pb::Rename { new_names: vec![newer("f", 2)], ..into };
    assert_eq!(code(&tree.one(Op::Rename(under.clone())).await), stale);
    let Op::Link(mut second) = link(file, dir, "g") else { unreachable!() };
    second.names = vec![newer("g", 2)];
    assert_eq!(code(&tree.one(Op::Link(second.clone())).await), stale);
    // Content and attributes.
    assert_eq!(code(&tree.one(Op::Commit(tree.small(file, 1, 20))).await), stale);
    let meta = pb::SetMeta { inode: bytes_of(file), sealed_meta: vec![1; 40].into(), ..pb::SetMeta::default() };
    assert_eq!(code(&tree.one(Op::SetMeta(meta.clone())).await), stale);

    ok(&tree.one(Op::Link(pb::Link { key_epoch: 2, ..second })).await);
    ok(&tree.one(Op::Rename(pb::Rename { key_epoch: 2, ..under })).await);
    ok(&tree.one(Op::Commit(pb::Commit { key_epoch: 2, ..tree.small(file, 1, 20) })).await);
    ok(&tree.one(Op::SetMeta(pb::SetMeta { key_epoch: 2, ..meta })).await);
    tree.check().await;
}

#[tokio::test]
async fn runs_of_small_files_are_checked_as_single_ones() {
    let mut tree = TestTree::new().await;
    let dir = tree.make(tree.root, "d", Directory).await;
    let edges = vec![edge(&tree, tree.root, "d", 2).await];
    ok(&tree.one(Op::Rekey(rekey(dir, 0, 2, edges))).await);
    for fast in [true, false] {
        tree.fast = fast;
        let files = (0..8).map(|number| {
            let id = InodeId::random();
            let Op::Create(mut create) = create(id, dir, "x", File) else { unreachable!() };
            let epoch = if number % 2 == 0 { 2 } else { 0 };
            create.names = vec![pb::NameToken { epoch, name: format!("{fast}{number}").into_bytes().into() }];
            mutation(vec![Op::Create(create), Op::Commit(tree.small(id, 0, 10))])
        });
        let results = tree.apply(files.collect()).await;
        let codes: Vec<_> = results.iter().map(code).collect();
        assert_eq!(codes, [None, Some(ErrorCode::StaleKey)].repeat(4), "{fast}");
    }
    tree.check().await;
}

#[tokio::test]
async fn what_comes_from_the_trash_is_named_under_the_newest_key() {
    let tree = TestTree::new().await;
    let dir = tree.make(tree.root, "d", Directory).await;
    let file = tree.make_small(dir, "f", 10).await;
    let trashed = tree.one(unlink(dir, "f", file, Mode::Trash)).await;
    let trash = trashed.operations[0].trash.clone();
    let edges = vec![edge(&tree, tree.root, "d", 2).await];
    ok(&tree.one(Op::Rekey(rekey(dir, 0, 2, edges))).await);
    let restore = pb::TrashRestore { trash, ..pb::TrashRestore::default() };
    assert_eq!(code(&tree.one(Op::TrashRestore(restore.clone())).await), Some(ErrorCode::StaleKey));
    let anew = pb::TrashRestore { names: vec![newer("f", 2)], wrapped_key: vec![3; 60].into(), ..restore };
    ok(&tree.one(Op::TrashRestore(anew)).await);
    assert!(look(&tree, dir, newer("f", 2)).await.unwrap());
    tree.check().await;
}

#[tokio::test]
async fn a_bucket_gets_its_root_key_once() {
    let tree = TestTree::new().await;
    assert!(rotate(&tree, rotation(&tree, 0, 2, Vec::new())).await.is_ok());
    let sequence = tree.sequence().await;
    // A call whose answer was lost, and somebody who did not know.
    assert_eq!(rotate(&tree, rotation(&tree, 0, 2, Vec::new())).await, Ok(sequence));
    assert_eq!(tree.sequence().await, sequence);
    let other = pb::RotateBucketRequest { key_history: vec![9; 81].into(), ..rotation(&tree, 0, 2, Vec::new()) };
    assert_eq!(rotate(&tree, other).await, Err(ErrorCode::Retry));
    for backwards in [rotation(&tree, 2, 2, Vec::new()), rotation(&tree, 3, 2, Vec::new())] {
        assert_eq!(rotate(&tree, backwards).await, Err(ErrorCode::InvalidArgument));
    }
    assert_eq!(tree.inode(tree.root).await.unwrap().key_epoch, 2);
    assert_eq!(look(&tree, tree.root, token("x")).await, Err(ErrorCode::StaleKey));
    let edges = vec![edge(&tree, tree.root, "x", 3).await];
    let root = tree.one(Op::Rekey(rekey(tree.root, 2, 3, edges))).await;
    assert_eq!(code(&root), Some(ErrorCode::InvalidArgument));
    tree.check().await;
}

#[tokio::test]
async fn every_living_api_key_of_a_bucket_gets_the_new_root_key() {
    let tree = TestTree::new().await;
    let (alive, ended, other) = (ApiKeyId::random(), ApiKeyId::random(), ApiKeyId::random());
    let (account, bucket, now) = (tree.actor.account, tree.bucket, tree.now());
    for (id, bucket, expires) in [(alive, bucket, now + 1), (ended, bucket, now), (other, BucketId::random(), now + 1)]
    {
        let insert = tree.test.db.write::<(), TreeError, _>(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO api_key (id, account, name, permissions, bucket, auth_hash, wrapped_keys, created_ns, expires_ns) \
                     VALUES ($1, $2, 'k', 'storage:read', $3, $4, $4, 0, $5)",
                )
                .bind(id.to_vec())
                .bind(account.to_vec())
                .bind(bucket.to_vec())
                .bind(vec![1_u8; 32])
                .bind(expires)
                .execute(conn)
                .await?;
                Ok(())
            })
        });
        insert.await.unwrap();
    }
    let given = |ids: &[ApiKeyId]| {
        let key = |id: &ApiKeyId| pb::RotatedApiKey { id: bytes_of(*id), wrapped_keys: vec![8; 90].into() };
        rotation(&tree, 0, 2, ids.iter().map(key).collect())
    };
    for wrong in [vec![], vec![alive, ended], vec![other], vec![alive, alive]] {
        assert_eq!(rotate(&tree, given(&wrong)).await, Err(ErrorCode::Retry), "{wrong:?}");
    }
    assert!(rotate(&tree, given(&[alive])).await.is_ok());
    let mut read = tree.test.db.read().await.unwrap();
    let kept: Vec<u8> = sqlx::query_scalar("SELECT wrapped_keys FROM api_key WHERE id = $1")
        .bind(alive.to_vec())
        .fetch_one(&mut *read)
        .await
        .unwrap();
    assert_eq!(kept, [8; 90]);
}

#[tokio::test]
async fn the_way_to_an_inode_is_found_by_its_id() {
    let tree = TestTree::new().await;
    let dir = tree.make(tree.root, "d", Directory).await;
    let file = tree.make(dir, "f", File).await;
    let mut read = tree.test.db.read().await.unwrap();
    let way = path(&mut read, tree.bucket, tree.root, file).await.unwrap();
    let children: Vec<_> = way.iter().map(|(entry, inode)| (entry.child, inode.id)).collect();
    assert_eq!(children, [(dir, dir), (file, file)]);
    assert!(path(&mut read, tree.bucket, tree.root, tree.root).await.unwrap().is_empty());
    let unknown = path(&mut read, tree.bucket, tree.root, InodeId::random()).await;
    assert_eq!(unknown.unwrap_err().code(), ErrorCode::NotFound);
}
