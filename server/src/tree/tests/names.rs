//! Operations on names, and their refusals.

use std::sync::Arc;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{BucketId, InodeId, Random as _};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;
use pb::unlink::Mode;

use super::support::*;
use crate::tree::TreeError;
use crate::tree::model::InodeKind::{Directory, Fifo, File, Symlink};
use crate::tree::model::{EntryRow, InodeRow, Token};
use crate::tree::namespace::{inode, insert_entries, insert_inodes};
use crate::tree::rename::path_to;

#[tokio::test]
async fn all_kinds_can_be_made_and_found() {
    let tree = TestTree::new().await;
    for (name, kind) in [("f", File), ("d", Directory), ("l", Symlink), ("p", Fifo)] {
        let id = tree.make(tree.root, name, kind).await;
        let found = tree.lookup(tree.root, name).await.unwrap();
        assert_eq!(found.entry.unwrap().child, bytes_of(id));
        let inode = found.inode.unwrap();
        assert_eq!(inode.kind, i32::from(kind));
        assert_eq!(inode.attributes, Some(attributes()));
        assert_eq!(inode.nlink, if kind == Directory { 2 } else { 1 });
    }
    assert!(tree.lookup(tree.root, "x").await.is_none());
    let root = tree.inode(tree.root).await.unwrap();
    assert_eq!((root.nlink, root.mtime_ns, root.ctime_ns), (3, tree.now(), tree.now()));
    tree.check().await;
}

#[tokio::test]
async fn a_name_is_taken_under_any_of_its_epochs() {
    let tree = TestTree::new().await;
    let first = tree.make(tree.root, "old", File).await;
    let both = vec![token("old"), pb::NameToken { epoch: 1, name: b"new".to_vec().into() }];
    let Op::Create(mut again) = create(InodeId::random(), tree.root, "x", File) else { unreachable!() };
    again.names = both.clone();
    let refused = tree.one(Op::Create(again.clone())).await;
    assert_eq!(code(&refused), Some(ErrorCode::AlreadyExists));
    assert_eq!(refused.operations[0].inode.as_ref().unwrap().id, bytes_of(first));
    // The newest spelling is stored, and the old one then still finds the entry when it is asked with all.
    let rename = pb::Rename { new_names: both, ..rename_of((tree.root, "old"), first, (tree.root, "old")) };
    let renamed = tree.one(Op::Rename(rename)).await;
    ok(&renamed);
    assert_eq!(renamed.operations[0].entry.as_ref().unwrap().name.as_ref().unwrap().epoch, 1);
    assert!(tree.lookup(tree.root, "old").await.is_none());
    again.inode = bytes_of(InodeId::random());
    assert_eq!(code(&tree.one(Op::Create(again)).await), Some(ErrorCode::AlreadyExists));
    tree.check().await;
}

#[tokio::test]
async fn creating_needs_a_directory_and_fresh_ids() {
    let tree = TestTree::new().await;
    let file = tree.make(tree.root, "f", File).await;
    let id = InodeId::random();
    let refused = [
        (create(id, InodeId::random(), "a", File), ErrorCode::NotFound),
        (create(id, file, "a", File), ErrorCode::NotDirectory),
        (create(file, tree.root, "a", File), ErrorCode::AlreadyExists),
        (create(id, tree.root, "f", File), ErrorCode::AlreadyExists),
    ];
    for (operation, expected) in refused {
        assert_eq!(code(&tree.one(operation).await), Some(expected));
    }
    let removed = tree.make(tree.root, "d", Directory).await;
    ok(&tree.one(unlink(tree.root, "d", removed, Mode::Directory)).await);
    assert_eq!(code(&tree.one(create(id, removed, "a", File)).await), Some(ErrorCode::NotFound));
    tree.check().await;
}

#[tokio::test]
async fn hard_links_count_and_directories_have_none() {
    let tree = TestTree::new().await;
    let dir = tree.make(tree.root, "d", Directory).await;
    let file = tree.make_small(tree.root, "a", 10).await;
    ok(&tree.one(link(file, dir, "b")).await);
    assert_eq!(tree.inode(file).await.unwrap().nlink, 2);
    assert_eq!(code(&tree.one(link(dir, tree.root, "e")).await), Some(ErrorCode::IsDirectory));
    assert_eq!(code(&tree.one(link(file, dir, "b")).await), Some(ErrorCode::AlreadyExists));
    assert_eq!(code(&tree.one(link(InodeId::random(), dir, "c")).await), Some(ErrorCode::NotFound));
    ok(&tree.one(unlink(tree.root, "a", file, Mode::File)).await);
    assert_eq!(tree.inode(file).await.unwrap().deleted_ns, 0);
    assert_eq!(tree.bytes().await, (sealed(10), 0, 0));
    ok(&tree.one(unlink(dir, "b", file, Mode::File)).await);
    let inode = tree.inode(file).await.unwrap();
    assert_eq!((inode.nlink, inode.deleted_ns), (0, tree.now()));
    assert_eq!(tree.bytes().await, (0, sealed(10), 0));
    assert_eq!(code(&tree.one(link(file, dir, "c")).await), Some(ErrorCode::NotFound));
    tree.check().await;
}

#[tokio::test]
async fn links_into_other_buckets_are_refused() {
    let mut tree = TestTree::new().await;
    let file = tree.make_small(tree.root, "a", 10).await;
    let root = InodeId::random();
    tree.bucket = tree.make_bucket("other", BucketId::random(), root).await.unwrap();
    assert_eq!(code(&tree.one(link(file, root, "a")).await), Some(ErrorCode::NotFound));
    assert_eq!(code(&tree.one(Op::Commit(tree.small(file, 1, 5))).await), Some(ErrorCode::NotFound));
    // The same ids may exist in both buckets without meeting.
    ok(&tree.one(create(file, root, "a", File)).await);
    tree.check().await;
}

#[tokio::test]
async fn unlinking_follows_posix() {
    let tree = TestTree::new().await;
    let dir = tree.make(tree.root, "d", Directory).await;
    let file = tree.make(dir, "f", File).await;
    let refused = [
        (unlink(tree.root, "d", dir, Mode::File), ErrorCode::IsDirectory),
        (unlink(tree.root, "d", dir, Mode::Directory), ErrorCode::NotEmpty),
        (unlink(dir, "f", file, Mode::Directory), ErrorCode::NotDirectory),
        (unlink(dir, "x", file, Mode::File), ErrorCode::NotFound),
        (unlink(dir, "f", dir, Mode::File), ErrorCode::Retry),
    ];
    for (operation, expected) in refused {
        assert_eq!(code(&tree.one(operation).await), Some(expected));
    }
    tree.check().await;
    ok(&tree.one(Op::Commit(tree.small(file, 0, 100))).await);
    ok(&tree.one(unlink(dir, "f", file, Mode::File)).await);
    ok(&tree.one(unlink(tree.root, "d", dir, Mode::Directory)).await);
    assert_eq!(tree.inode(tree.root).await.unwrap().nlink, 2);
    // Unlinked files stay readable for the grace period, and take no content that nobody could find.
    assert_eq!(code(&tree.one(Op::Commit(tree.small(file, 1, 100))).await), Some(ErrorCode::Conflict));
    assert_eq!(tree.bytes().await, (0, sealed(100), 0));
    tree.check().await;
    tree.pass_seconds(31 * 24 * 3600);
    tree.collect().await;
    assert!(tree.inode(file).await.is_none());
    assert!(tree.inode(dir).await.is_none());
    assert_eq!(tree.bytes().await, (0, 0, 0));
    tree.check().await;
}

#[tokio::test]
async fn what_a_name_leads_to_must_be_known_exactly() {
    let tree = TestTree::new().await;
    let id = InodeId::random();
    let made = tree.one(create(id, tree.root, "a", File)).await;
    let version = made.operations[0].entry.as_ref().unwrap().version;
    let stale = pb::Expected { child: bytes_of(id), entry_version: version + 1 };
    let Op::Unlink(mut request) = unlink(tree.root, "a", id, Mode::File) else { unreachable!() };
    request.expected = Some(stale);
    let refused = tree.one(Op::Unlink(request.clone())).await;
    assert_eq!(code(&refused), Some(ErrorCode::Retry));
    assert_eq!(refused.operations[0].entry.as_ref().unwrap().version, version);
    request.expected = Some(pb::Expected { child: bytes_of(id), entry_version: version });
    ok(&tree.one(Op::Unlink(request)).await);
}

#[tokio::test]
async fn renaming_moves_and_replaces() {
    let tree = TestTree::new().await;
    let dir = tree.make(tree.root, "d", Directory).await;
    let moved = tree.make_small(tree.root, "a", 10).await;
    let other = tree.make_small(dir, "b", 20).await;
    let rename = rename_of((tree.root, "a"), moved, (dir, "b"));
    // Something is there that the caller did not expect.
    let refused = tree.one(Op::Rename(rename.clone())).await;
    assert_eq!(code(&refused), Some(ErrorCode::Retry));
    assert_eq!(refused.operations[0].inode.as_ref().unwrap().id, bytes_of(other));
    let no_replace = pb::Rename { no_replace: true, ..rename.clone() };
    assert_eq!(code(&tree.one(Op::Rename(no_replace)).await), Some(ErrorCode::AlreadyExists));
    ok(&tree.one(Op::Rename(pb::Rename { replaced: expect(other), ..rename.clone() })).await);
    assert_eq!(tree.lookup(dir, "b").await.unwrap().entry.unwrap().child, bytes_of(moved));
    assert!(tree.lookup(tree.root, "a").await.is_none());
    assert_eq!(tree.inode(other).await.unwrap().nlink, 0);
    assert_eq!(tree.bytes().await, (sealed(10), sealed(20), 0));
    // Nothing is there although the caller expected something.
    let back = rename_of((dir, "b"), moved, (tree.root, "z"));
    assert_eq!(
        code(&tree.one(Op::Rename(pb::Rename { replaced: expect(other), ..back.clone() })).await),
        Some(ErrorCode::Retry)
    );
    ok(&tree.one(Op::Rename(back)).await);
    tree.check().await;
}

#[tokio::test]
async fn directories_replace_empty_directories_only() {
    let tree = TestTree::new().await;
    let [a, b] = [tree.make(tree.root, "a", Directory).await, tree.make(tree.root, "b", Directory).await];
    let file = tree.make(tree.root, "f", File).await;
    let inside = tree.make(b, "inside", File).await;
    let over = |from: (InodeId, &str), child, to: (InodeId, &str), replaced| {
        Op::Rename(pb::Rename { replaced: expect(replaced), ..rename_of(from, child, to) })
    };
    let refused = [
        (over((tree.root, "a"), a, (tree.root, "f"), file), ErrorCode::NotDirectory),
        (over((tree.root, "f"), file, (tree.root, "a"), a), ErrorCode::IsDirectory),
        (over((tree.root, "a"), a, (tree.root, "b"), b), ErrorCode::NotEmpty),
    ];
    for (operation, expected) in refused {
        assert_eq!(code(&tree.one(operation).await), Some(expected));
    }
    ok(&tree.one(unlink(b, "inside", inside, Mode::File)).await);
    ok(&tree.one(over((tree.root, "a"), a, (tree.root, "b"), b)).await);
    assert_eq!(tree.inode(tree.root).await.unwrap().nlink, 3);
    tree.check().await;
}

#[tokio::test]
async fn a_directory_never_ends_up_below_itself() {
    let tree = TestTree::new().await;
    let a = tree.make(tree.root, "a", Directory).await;
    let b = tree.make(a, "b", Directory).await;
    let c = tree.make(b, "c", Directory).await;
    let file = tree.make(c, "f", File).await;
    for target in [a, b, c] {
        let refused = tree.one(Op::Rename(rename_of((tree.root, "a"), a, (target, "x")))).await;
        assert_eq!(code(&refused), Some(ErrorCode::Loop));
    }
    let swap = |from: (InodeId, &str), child, to: (InodeId, &str), other| pb::Rename {
        exchange: true,
        replaced: expect(other),
        exchanged_wrapped_key: vec![6; 60].into(),
        ..rename_of(from, child, to)
    };
    // Exchanging a directory with what is below it, from either side.
    assert_eq!(code(&tree.one(Op::Rename(swap((tree.root, "a"), a, (b, "c"), c))).await), Some(ErrorCode::Loop));
    assert_eq!(code(&tree.one(Op::Rename(swap((c, "f"), file, (tree.root, "a"), a))).await), Some(ErrorCode::Loop));
    tree.check().await;
}

#[tokio::test]
async fn paths_lead_from_the_root_and_have_a_bound() {
    let tree = TestTree::new().await;
    // A chain of directories below the root, written at once.
    let ids: Arc<[InodeId]> = (0..4097).map(|_| InodeId::random()).collect();
    let (bucket, root, chain) = (tree.bucket, tree.root, Arc::clone(&ids));
    let written: Result<u64, TreeError> = tree
        .test
        .db
        .write(move |conn| {
            let chain = Arc::clone(&chain);
            Box::pin(async move {
                let template = inode(conn, bucket, root).await?.unwrap();
                let inodes: Vec<InodeRow> = chain.iter().map(|id| InodeRow { id: *id, ..template.clone() }).collect();
                let parents = std::iter::once(root).chain(chain.iter().copied());
                let entry = |(directory, child): (InodeId, &InodeId)| EntryRow {
                    directory,
                    token: Token { name: b"d".as_slice().into(), epoch: 0 },
                    child: *child,
                    kind: Directory,
                    wrapped_key: vec![1].into(),
                    version: 1,
                };
                let entries: Vec<EntryRow> = parents.zip(chain.iter()).map(entry).collect();
                Ok(insert_inodes(conn, bucket, &inodes).await? + insert_entries(conn, bucket, &entries).await?)
            })
        })
        .await;
    assert_eq!(written.unwrap(), 2 * 4097);
    let mut read = tree.test.db.read().await.unwrap();
    let path = path_to(&mut read, tree.bucket, ids[4095]).await.unwrap().unwrap();
    assert_eq!((path.len(), path[0].directory, path[4095].child), (4096, tree.root, ids[4095]));
    assert!(path.is_sorted_by(|above, below| above.child == below.directory));
    assert_eq!(path_to(&mut read, tree.bucket, ids[4096]).await.unwrap(), None);
    drop(read);
    let moved = tree.make(tree.root, "m", Directory).await;
    let into = |directory| Op::Rename(rename_of((tree.root, "m"), moved, (directory, "m")));
    assert_eq!(code(&tree.one(into(ids[4096])).await), Some(ErrorCode::TooLarge));
    ok(&tree.one(into(ids[4095])).await);
}

#[tokio::test]
async fn exchanging_swaps_children_and_keys() {
    let tree = TestTree::new().await;
    let dir = tree.make(tree.root, "d", Directory).await;
    let sub = tree.make(dir, "s", Directory).await;
    let file = tree.make(tree.root, "f", File).await;
    let rename = pb::Rename {
        exchange: true,
        replaced: expect(sub),
        exchanged_wrapped_key: vec![6; 60].into(),
        ..rename_of((tree.root, "f"), file, (dir, "s"))
    };
    ok(&tree.one(Op::Rename(rename)).await);
    let here = tree.lookup(tree.root, "f").await.unwrap().entry.unwrap();
    let there = tree.lookup(dir, "s").await.unwrap().entry.unwrap();
    assert_eq!((here.child, &here.wrapped_key[..]), (bytes_of(sub), &[6; 60][..]));
    assert_eq!((there.child, &there.wrapped_key[..]), (bytes_of(file), &[7; 60][..]));
    assert_eq!(tree.inode(tree.root).await.unwrap().nlink, 4);
    assert_eq!(tree.inode(dir).await.unwrap().nlink, 2);
    tree.check().await;
}

#[tokio::test]
async fn a_rename_between_two_names_of_one_file_does_nothing() {
    let tree = TestTree::new().await;
    let file = tree.make_small(tree.root, "a", 10).await;
    ok(&tree.one(link(file, tree.root, "b")).await);
    let rename = pb::Rename { replaced: expect(file), ..rename_of((tree.root, "a"), file, (tree.root, "b")) };
    ok(&tree.one(Op::Rename(rename)).await);
    assert_eq!(tree.list(tree.root).await.len(), 2);
    assert_eq!(tree.inode(file).await.unwrap().nlink, 2);
    tree.check().await;
}

#[tokio::test]
async fn attributes_and_metadata_are_set() {
    let tree = TestTree::new().await;
    let file = tree.make(tree.root, "a", File).await;
    tree.pass_seconds(1);
    let set = pb::SetAttributes { inode: bytes_of(file), mode: Some(0o4755), mtime_ns: Some(-3), ..Default::default() };
    let result = tree.one(Op::SetAttributes(set)).await;
    let attributes = result.operations[0].inode.as_ref().unwrap().attributes.unwrap();
    assert_eq!((attributes.mode, attributes.mtime_ns, attributes.ctime_ns), (0o4755, -3, tree.now()));
    let bad = pb::SetAttributes { inode: bytes_of(file), mode: Some(0o10_0644), ..Default::default() };
    assert_eq!(code(&tree.one(Op::SetAttributes(bad)).await), Some(ErrorCode::InvalidArgument));
    let meta = |expected| {
        Op::SetMeta(pb::SetMeta {
            inode: bytes_of(file),
            sealed_meta: vec![1].into(),
            expected_meta_version: expected,
            key_epoch: 0,
        })
    };
    ok(&tree.one(meta(0)).await);
    let refused = tree.one(meta(0)).await;
    assert_eq!(code(&refused), Some(ErrorCode::Retry));
    assert_eq!(refused.operations[0].inode.as_ref().unwrap().meta_version, 1);
    ok(&tree.one(meta(1)).await);
    assert_eq!(tree.inode(file).await.unwrap().meta_version, 2);
}

#[tokio::test]
async fn a_mutation_happens_as_a_whole_or_not_at_all_and_once() {
    let tree = TestTree::new().await;
    let [a, b] = [InodeId::random(), InodeId::random()];
    let broken = mutation(vec![create(a, tree.root, "a", File), create(b, tree.root, "a", File)]);
    let fine = mutation(vec![create(a, tree.root, "a", Directory), create(b, a, "b", File)]);
    let results = tree.apply(vec![broken.clone(), fine.clone()]).await;
    assert_eq!((code(&results[0]), results[0].operation), (Some(ErrorCode::AlreadyExists), 1));
    ok(&results[1]);
    assert_eq!(tree.list(tree.root).await.len(), 1);
    // A lost reply: the same transaction again, alone and twice in one batch.
    let again = tree.apply(vec![fine.clone(), fine, broken]).await;
    for answer in &again[..2] {
        assert!(answer.replayed);
        assert_eq!(answer.operations, results[1].operations);
    }
    assert_eq!(code(&again[2]), Some(ErrorCode::AlreadyExists));
    tree.check().await;
}

#[tokio::test]
async fn listings_go_on_where_they_stopped() {
    let tree = TestTree::new().await;
    let names: Vec<String> = (0..25).map(|number| format!("n{number:02}")).collect();
    let operations = names.iter().map(|name| mutation(vec![create(InodeId::random(), tree.root, name, File)]));
    tree.apply(operations.collect()).await.iter().for_each(ok);
    assert_eq!(pages(&tree, 10).await, (names, vec![10, 10, 5]));
}

#[tokio::test]
async fn a_page_of_a_listing_has_few_large_inodes() {
    let tree = TestTree::new().await;
    let names: Vec<String> = (0..250).map(|number| format!("n{number:03}")).collect();
    let ids: Vec<InodeId> = names.iter().map(|_| InodeId::random()).collect();
    let operations = ids.iter().zip(&names).map(|(id, name)| mutation(vec![create(*id, tree.root, name, File)]));
    tree.apply(operations.collect()).await.iter().for_each(ok);
    let enlarge = |id: InodeId| {
        tree.test.db.write::<_, crate::db::DbError, _>(move |c| {
            Box::pin(async move {
                let text = "UPDATE inode SET sealed_meta = $2 WHERE id = $1";
                sqlx::query(text).bind(id.to_vec()).bind(vec![1; 80_000]).execute(c).await?;
                Ok(())
            })
        })
    };
    assert_eq!(pages(&tree, 1000).await, (names.clone(), vec![250]));
    enlarge(ids[150]).await.unwrap();
    assert_eq!(pages(&tree, 1000).await, (names.clone(), vec![150, 100, 0]));
    enlarge(ids[20]).await.unwrap();
    assert_eq!(pages(&tree, 1000).await, (names.clone(), vec![100, 100, 50]));
    assert_eq!(pages(&tree, 30).await.0, names);
}

/// The names of the root, and how many come in each page.
async fn pages(tree: &TestTree, most: u32) -> (Vec<String>, Vec<usize>) {
    let mut read = tree.test.db.read().await.unwrap();
    let (mut after, mut seen, mut sizes) = (None, Vec::new(), Vec::new());
    loop {
        let page = crate::tree::read::page(&mut read, tree.bucket, tree.root, after.as_ref(), most).await.unwrap();
        sizes.push(page.rows.len());
        after = page.rows.last().map(|(entry, _)| entry.token.clone());
        seen.extend(page.rows.into_iter().map(|(entry, _)| String::from_utf8(entry.token.name.to_vec()).unwrap()));
        if page.is_last {
            return (seen, sizes);
        }
    }
}

#[tokio::test]
async fn strangers_see_no_bucket() {
    let mut tree = TestTree::new().await;
    tree.actor.account = cyx_core::ids::AccountId([9; 16]);
    let request = pb::ApplyRequest { bucket: bytes_of(tree.bucket), ..pb::ApplyRequest::default() };
    assert_eq!(tree.attempt(request).await.unwrap_err().code(), ErrorCode::NotFound);
    assert_eq!(tree.in_bucket(|_| Box::pin(async { Ok(()) })).await.unwrap_err().code(), ErrorCode::NotFound);
}
