//! What a mounted filesystem relies on: long ordered batches that depend on themselves, times decided elsewhere, what open files need.

use cyx_core::error::ErrorCode;
use cyx_core::ids::{InodeId, Random as _};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;
use pb::unlink::Mode;

use super::support::*;
use crate::tree::file;
use crate::tree::model::InodeKind::{self, Directory, File, Symlink};
use crate::tree::model::InodeRow;

fn at(time: i64, operations: Vec<Op>) -> pb::Mutation {
    pb::Mutation { time_ns: Some(time), ..mutation(operations) }
}

fn times(inode: &InodeRow) -> (i64, i64) {
    (inode.mtime_ns, inode.ctime_ns)
}

#[tokio::test]
async fn a_full_batch_may_depend_on_itself() {
    let tree = TestTree::new().await;
    let mut batch = Vec::new();
    let mut files = Vec::new();
    // A directory, a child in it, its content, a new name for it over an older child, a link, other attributes: 128 times.
    for number in 0..128 {
        let (directory, old, new) = (InodeId::random(), InodeId::random(), InodeId::random());
        files.push((directory, new));
        let replace =
            pb::Rename { replaced: expect(old), ..rename_of((directory, "temporary"), new, (directory, "file")) };
        let attributes = pb::SetAttributes { inode: bytes_of(new), mode: Some(0o600), ..Default::default() };
        let steps = [
            create(directory, tree.root, &format!("directory {number}"), Directory),
            create(old, directory, "file", File),
            create(new, directory, "temporary", File),
            Op::Commit(tree.small(new, 0, 100)),
            Op::Rename(replace),
            link(new, directory, "link"),
            Op::SetAttributes(attributes),
            Op::Commit(tree.small(new, 1, 50)),
        ];
        batch.extend(steps.into_iter().map(|step| mutation(vec![step])));
    }
    assert_eq!(batch.len(), 1024);
    tree.apply(batch).await.iter().for_each(ok);
    for (directory, new) in files {
        let list = tree.list(directory).await;
        let names: Vec<_> = list.iter().map(|(entry, _)| (&entry.token.name[..], entry.child)).collect();
        assert_eq!(names, [(&b"file"[..], new), (b"link", new)]);
        let inode = tree.inode(new).await.unwrap();
        assert_eq!((inode.mode, inode.nlink, inode.version, inode.size), (0o600, 2, 2, 50));
    }
    tree.check().await;
}

#[tokio::test]
async fn times_are_those_of_the_caller() {
    let tree = TestTree::new().await;
    let (directory, file) = (InodeId::random(), InodeId::random());
    let batch = vec![
        at(1_000, vec![create(directory, tree.root, "d", Directory)]),
        at(2_000, vec![create(file, directory, "f", File)]),
        at(3_000, vec![Op::Commit(pb::Commit { mtime_ns: 2_500, ..tree.small(file, 0, 10) })]),
    ];
    tree.apply(batch).await.iter().for_each(ok);
    assert_eq!(times(&tree.inode(tree.root).await.unwrap()), (1_000, 1_000));
    assert_eq!(times(&tree.inode(directory).await.unwrap()), (2_000, 2_000));
    assert_eq!(times(&tree.inode(file).await.unwrap()), (2_500, 3_000));
    let meta = pb::SetMeta { inode: bytes_of(file), sealed_meta: vec![1; 40].into(), ..pb::SetMeta::default() };
    ok(&tree.apply(vec![at(4_000, vec![Op::SetMeta(meta.clone())])]).await[0]);
    assert_eq!(times(&tree.inode(file).await.unwrap()), (2_500, 4_000));
    assert_eq!(code(&tree.one(Op::SetMeta(meta)).await), Some(ErrorCode::Retry), "it has another version by now");
    ok(&tree.apply(vec![at(5_000, vec![link(file, tree.root, "g")])]).await[0]);
    ok(&tree.apply(vec![at(6_000, vec![unlink(directory, "f", file, Mode::File)])]).await[0]);
    let inode = tree.inode(file).await.unwrap();
    assert_eq!((times(&inode), inode.nlink), ((2_500, 6_000), 1));
    assert_eq!(times(&tree.inode(directory).await.unwrap()), (6_000, 6_000));
    let set = pb::SetAttributes {
        inode: bytes_of(file),
        uid: Some(7),
        gid: Some(8),
        mtime_ns: Some(-5),
        atime_ns: Some(9),
        ..Default::default()
    };
    ok(&tree.apply(vec![at(7_000, vec![Op::SetAttributes(set.clone())])]).await[0]);
    let inode = tree.inode(file).await.unwrap();
    assert_eq!((inode.uid, inode.gid, inode.atime_ns, times(&inode)), (7, 8, 9, (-5, 7_000)));
    let set = pb::SetAttributes { ctime_ns: Some(8_000), ..set };
    ok(&tree.apply(vec![at(7_500, vec![Op::SetAttributes(set)])]).await[0]);
    assert_eq!(tree.inode(file).await.unwrap().ctime_ns, 8_000);
    // What expires goes by the server's clock, and whoever says nothing gets it too.
    ok(&tree.apply(vec![at(1, vec![unlink(tree.root, "g", file, Mode::File)])]).await[0]);
    assert_eq!(tree.inode(file).await.unwrap().deleted_ns, tree.now());
    tree.make(directory, "h", File).await;
    assert_eq!(times(&tree.inode(directory).await.unwrap()), (tree.now(), tree.now()));
    tree.check().await;
}

#[tokio::test]
async fn every_kind_of_inode_is_kept_as_it_is() {
    let tree = TestTree::new().await;
    let kinds = [InodeKind::Fifo, InodeKind::Socket, InodeKind::CharDevice, InodeKind::BlockDevice, Symlink];
    for (rdev, kind) in (0x0801_u64..).zip(kinds) {
        let id = InodeId::random();
        let Op::Create(plain) = create(id, tree.root, &format!("{kind:?}"), kind) else { unreachable!() };
        let made = Op::Create(pb::Create { attributes: Some(pb::Attributes { rdev, ..attributes() }), ..plain });
        ok(&tree.one(made.clone()).await);
        let inode = tree.inode(id).await.unwrap();
        assert_eq!((inode.kind, inode.rdev, inode.nlink), (kind, rdev, 1));
        // O_EXCL, with what is there.
        let Op::Create(again) = made else { unreachable!() };
        let refused = tree.one(Op::Create(pb::Create { inode: bytes_of(InodeId::random()), ..again })).await;
        assert_eq!(code(&refused), Some(ErrorCode::AlreadyExists));
        assert_eq!(refused.operations[0].inode.as_ref().unwrap().id, bytes_of(id));
        assert_eq!(code(&tree.one(Op::Commit(tree.small(id, 0, 1))).await), Some(ErrorCode::InvalidArgument));
    }
    tree.check().await;
}

#[tokio::test]
async fn an_open_file_outlives_its_name() {
    let tree = TestTree::new().await;
    let file = tree.make_small(tree.root, "f", 100).await;
    ok(&tree.one(unlink(tree.root, "f", file, Mode::File)).await);
    let mut read = tree.test.db.read().await.unwrap();
    let found = file::file(&mut read, tree.bucket, file, 0, 0..u64::MAX).await.unwrap();
    assert_eq!(found.answer.inode.unwrap().nlink, 0);
    assert_eq!(found.answer.version.unwrap().version, 1);
    drop(read);
    // Nobody would find what is written now: whoever wrote it is told what is there.
    let refused = tree.one(Op::Commit(tree.small(file, 1, 200))).await;
    assert_eq!(code(&refused), Some(ErrorCode::Conflict));
    let state = &refused.operations[0];
    assert_eq!((state.inode.as_ref().unwrap().nlink, state.winner.as_ref().unwrap().version), (0, 1));
    let set = pb::SetAttributes { inode: bytes_of(file), mode: Some(0o400), ..Default::default() };
    ok(&tree.one(Op::SetAttributes(set)).await);
    let inode = tree.inode(file).await.unwrap();
    assert_eq!((inode.size, inode.version, inode.mode), (100, 1, 0o400));
    assert_eq!(code(&tree.one(link(file, tree.root, "g")).await), Some(ErrorCode::NotFound));
    tree.pass_seconds(31 * 24 * 3600);
    tree.collect().await;
    assert!(tree.inode(file).await.is_none());
    tree.check().await;
}
