//! Commits: what is accepted, what is refused, and what the counters say afterwards.

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::extent::{Child, Page, PageId, PageMap, tree as extent_tree};
use cyx_core::ids::{BlobId, InodeId, Random as _};
use cyx_core::writers::WriterAction;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;
use pb::unlink::Mode;

use super::support::*;
use crate::tree::file;
use crate::tree::model::InodeKind::{Directory, File, Symlink};

/// Pages of a version as a map, for building the next one.
async fn pages_of(tree: &TestTree, inode: InodeId) -> (PageMap, PageId) {
    let mut read = tree.test.db.read().await.unwrap();
    let found = file::file(&mut read, tree.bucket, inode, 0, 0..u64::MAX).await.unwrap().answer;
    assert!(found.complete);
    let pages = found.pages.iter().map(|page| (PageId::of(&page.content), Page::decode(&page.content).unwrap()));
    (pages.collect(), PageId::try_from(&found.version.unwrap().root_page[..]).unwrap())
}

#[tokio::test]
async fn versions_follow_each_other() {
    let tree = TestTree::new().await;
    let file = tree.make(tree.root, "f", File).await;
    let first = tree.one(Op::Commit(tree.small(file, 0, 100))).await;
    ok(&first);
    let inode = first.operations[0].inode.as_ref().unwrap();
    assert_eq!((inode.version, inode.size, inode.attributes.unwrap().mtime_ns), (1, 100, 77));
    ok(&tree.one(Op::Commit(tree.small(file, 1, 200))).await);
    assert_eq!(tree.bytes().await, (sealed(200), sealed(100), 0));
    // A file without extents.
    let empty = extent_tree::Built { root: PageId::EMPTY, pages: Vec::new() };
    ok(&tree.one(Op::Commit(tree.commit_built(file, 2, 5000, empty, Vec::new()))).await);
    assert_eq!(tree.bytes().await, (0, sealed(200) + sealed(100), 0));
    tree.check().await;
    let mut read = tree.test.db.read().await.unwrap();
    for (version, size, blobs) in [(1, 100, 1), (2, 200, 1), (3, 5000, 0), (0, 5000, 0)] {
        let found = file::file(&mut read, tree.bucket, file, version, 0..u64::MAX).await.unwrap().answer;
        assert_eq!((found.version.unwrap().size, found.blobs.len()), (size, blobs));
    }
    assert!(file::file(&mut read, tree.bucket, file, 4, 0..1).await.is_err());
    drop(read);
    tree.pass_seconds(24 * 3600 + 1);
    assert_eq!(tree.collect().await.versions, 2);
    assert_eq!(tree.bytes().await, (0, 0, 0));
    tree.check().await;
}

#[tokio::test]
async fn of_two_commits_on_one_base_one_wins() {
    let tree = TestTree::new().await;
    let file = tree.make(tree.root, "f", File).await;
    let [mut one, mut other] = [10, 20].map(|len| mutation(vec![Op::Commit(tree.small(file, 0, len))]));
    let (a, b) = tokio::join!(tree.apply(vec![one.clone()]), tree.apply(vec![other.clone()]));
    let (winner, loser) = if a[0].fault.is_none() { (&a[0], &b[0]) } else { (&b[0], &a[0]) };
    if a[0].fault.is_some() {
        std::mem::swap(&mut one, &mut other);
    }
    ok(winner);
    assert_eq!(code(loser), Some(ErrorCode::Conflict));
    let state = &loser.operations[0];
    let Some(Op::Commit(won)) = &one.operations[0].operation else { unreachable!() };
    assert_eq!(state.winner.as_ref().unwrap().root_page, won.root_page);
    assert_eq!(state.winner.as_ref().unwrap().signature, won.signature);
    assert_eq!(state.inode.as_ref().unwrap().version, 1);
    // The winner's reply was lost: the same again changes nothing.
    let again = tree.apply(vec![one]).await;
    assert!(again[0].replayed && again[0].operations == winner.operations);
    tree.check().await;
}

/// After a restore from a backup two versions may have the same number.
#[tokio::test]
async fn a_commit_replaces_the_version_whose_root_it_names() {
    let tree = TestTree::new().await;
    let file = tree.make(tree.root, "f", File).await;
    let first = tree.small(file, 0, 10);
    ok(&tree.one(Op::Commit(first.clone())).await);
    let lost = tree.small(file, 0, 10).root_page;
    let second = |base_root: &Bytes| pb::Commit { base_root: base_root.clone(), ..tree.small(file, 1, 20) };
    let refused = tree.one(Op::Commit(second(&lost))).await;
    assert_eq!(code(&refused), Some(ErrorCode::Conflict));
    assert_eq!(refused.operations[0].winner.as_ref().unwrap().root_page, first.root_page);
    ok(&tree.one(Op::Commit(second(&first.root_page))).await);
    tree.check().await;
}

#[tokio::test]
async fn only_files_have_content() {
    let tree = TestTree::new().await;
    let [dir, link] = [tree.make(tree.root, "d", Directory).await, tree.make(tree.root, "l", Symlink).await];
    assert_eq!(code(&tree.one(Op::Commit(tree.small(dir, 0, 1))).await), Some(ErrorCode::IsDirectory));
    assert_eq!(code(&tree.one(Op::Commit(tree.small(link, 0, 1))).await), Some(ErrorCode::InvalidArgument));
    let nobody = tree.small(InodeId::random(), 0, 1);
    assert_eq!(code(&tree.one(Op::Commit(nobody)).await), Some(ErrorCode::NotFound));
}

#[tokio::test]
async fn malformed_commits_are_refused_and_leave_nothing() {
    let tree = TestTree::new().await;
    let file = tree.make(tree.root, "f", File).await;
    let good = tree.small(file, 0, 100);
    let changed = |change: &dyn Fn(&mut pb::Commit), resign: bool| {
        let mut commit = good.clone();
        change(&mut commit);
        if resign {
            tree.sign(&mut commit);
        }
        Op::Commit(commit)
    };
    let flip = |bytes: &Bytes| {
        let mut bytes = bytes.to_vec();
        bytes[7] ^= 1;
        Bytes::from(bytes)
    };
    let (stray_extent, stray_blob) = inline(0, 9);
    let stray_page = Page::Leaf(vec![stray_extent.clone()]).encode();
    let stray_page = pb::Page { id: PageId::of(&stray_page).to_vec().into(), content: stray_page.into() };
    let missing = tree.commit(file, 0, &[stray_extent], vec![]);
    let cases: Vec<(&str, Op)> = vec![
        ("page content", changed(&|c| c.pages[0].content = flip(&c.pages[0].content), false)),
        ("page id", changed(&|c| c.pages[0].id = flip(&c.pages[0].id), false)),
        ("root", changed(&|c| c.root_page = flip(&c.root_page), true)),
        ("no pages", changed(&|c| c.pages.clear(), false)),
        ("page twice", changed(&|c| c.pages.push(c.pages[0].clone()), false)),
        ("page that nothing leads to", changed(&|c| c.pages.push(stray_page.clone()), false)),
        ("size below the extents", changed(&|c| c.size = 99, true)),
        ("blob without extent", changed(&|c| c.blobs.push(stray_blob.clone()), false)),
        ("blob twice", changed(&|c| c.blobs.push(c.blobs[0].clone()), false)),
        ("blob shorter than said", changed(&|c| c.blobs[0].length += 1, false)),
        ("blob without place", changed(&|c| c.blobs[0].place = None, false)),
        ("blob that does not exist", Op::Commit(missing)),
        ("signature", changed(&|c| c.signature = flip(&c.signature), false)),
        ("signed for another size", changed(&|c| c.size += 1, false)),
        ("writer", changed(&|c| c.writer = flip(&c.writer), false)),
        ("base", changed(&|c| c.base_version = u64::MAX, false)),
        ("root of no base", changed(&|c| c.base_root = c.root_page.clone(), false)),
        ("no root", changed(&|c| (c.base_version, c.base_root) = (1, c.root_page.slice(1..)), true)),
    ];
    for (what, operation) in cases {
        let result = tree.one(operation).await;
        let expected = if what == "writer" { ErrorCode::PermissionDenied } else { ErrorCode::InvalidArgument };
        assert_eq!(code(&result), Some(expected), "{what}");
    }
    let huge = changed(&|c| c.size = u64::MAX, true);
    assert_eq!(code(&tree.one(huge).await), Some(ErrorCode::TooLarge));
    assert_eq!(tree.bytes().await, (0, 0, 0));
    tree.check().await;
    ok(&tree.one(Op::Commit(good)).await);
}

#[tokio::test]
async fn inline_blobs_are_small() {
    let tree = TestTree::new().await;
    let file = tree.make(tree.root, "f", File).await;
    ok(&tree.one(Op::Commit(tree.small(file, 0, 4096))).await);
    assert_eq!(code(&tree.one(Op::Commit(tree.small(file, 1, 4097))).await), Some(ErrorCode::InvalidArgument));
    assert_eq!(code(&tree.one(Op::Commit(tree.small(file, 1, 20_000))).await), Some(ErrorCode::InvalidArgument));
}

#[tokio::test]
async fn large_trees_share_what_did_not_change() {
    let tree = TestTree::new().await;
    let file = tree.make(tree.root, "f", File).await;
    let (extents, blobs): (Vec<_>, Vec<_>) = (0..700).map(|at| inline(at * 10, 10)).unzip();
    ok(&tree.one(Op::Commit(tree.commit(file, 0, &extents, blobs))).await);
    tree.check().await;
    let (pages, root) = pages_of(&tree, file).await;
    let (extent, blob) = inline(3000, 20);
    let built = extent_tree::replace(&pages, root, 3000..3020, std::slice::from_ref(&extent)).unwrap();
    assert!(built.pages.len() < pages.len(), "something is shared");
    ok(&tree.one(Op::Commit(tree.commit_built(file, 1, 7000, built, vec![blob.clone()]))).await);
    // Two blobs of ten bytes were replaced, one of twenty came.
    assert_eq!(tree.bytes().await, (698 * sealed(10) + sealed(20), 2 * sealed(10), 0));
    tree.check().await;
    // Only what the range touches is answered.
    let mut read = tree.test.db.read().await.unwrap();
    let part = file::file(&mut read, tree.bucket, file, 0, 3005..3025).await.unwrap().answer;
    drop(read);
    assert!(part.complete);
    assert_eq!(part.pages.len(), 2);
    assert_eq!(part.blobs.len(), 2);
    assert_eq!(part.blobs[0].id, blob.id);
    // A copy of the whole tree under another inode costs nothing; cutting it keeps the original whole.
    let copy = tree.make(tree.root, "copy", File).await;
    let (pages, root) = pages_of(&tree, file).await;
    let whole = extent_tree::Built { root, pages: Vec::new() };
    ok(&tree.one(Op::Commit(tree.commit_built(copy, 0, 7000, whole, vec![]))).await);
    let cut = extent_tree::truncate(&pages, root, 2995).unwrap();
    ok(&tree.one(Op::Commit(tree.commit_built(copy, 1, 2995, cut, vec![]))).await);
    assert_eq!(tree.bytes().await.0, 698 * sealed(10) + sealed(20));
    tree.check().await;
    ok(&tree.one(unlink(tree.root, "f", file, Mode::Purge)).await);
    assert_eq!(tree.bytes().await.0, 300 * sealed(10), "what the copy uses stays");
    tree.check().await;
}

#[tokio::test]
async fn pages_are_reused_only_where_they_fit() {
    let tree = TestTree::new().await;
    let file = tree.make(tree.root, "f", File).await;
    let (extents, blobs): (Vec<_>, Vec<_>) = (0..600).map(|at| inline(at * 10, 10)).unzip();
    ok(&tree.one(Op::Commit(tree.commit(file, 0, &extents, blobs))).await);
    let (pages, root) = pages_of(&tree, file).await;
    let children = pages[&root].children().to_vec();
    assert!(children.len() >= 3);
    let branch = |level, children: Vec<Child>| {
        let content = Page::Branch { level, children }.encode();
        extent_tree::Built { root: PageId::of(&content), pages: vec![(PageId::of(&content), content)] }
    };
    let moved = Child { first_offset: children[1].first_offset + 1, ..children[1] };
    let early = Child { first_offset: children[0].first_offset, id: children[1].id };
    let stranger = Child { first_offset: 0, id: PageId([9; 32]) };
    let crossing = {
        // Its neighbour begins before it ends.
        let (extent, _) = inline(children[0].first_offset + 15, 5);
        let leaf = Page::Leaf(vec![extent.clone()]).encode();
        let next = Child { first_offset: extent.file_offset, id: PageId::of(&leaf) };
        let mut built = branch(1, vec![children[0], next]);
        built.pages.insert(0, (next.id, leaf));
        built
    };
    let cases = [
        ("another offset", branch(1, vec![children[0], moved])),
        ("at its neighbour's place", branch(1, vec![early])),
        ("another level", branch(2, vec![children[0]])),
        ("a page that does not exist", branch(1, vec![stranger])),
        ("beyond the end", branch(1, children.clone())),
        ("over its neighbour", crossing),
    ];
    for (what, built) in cases {
        let size = if what == "beyond the end" { 5999 } else { 6000 };
        let result = tree.one(Op::Commit(tree.commit_built(file, 1, size, built, vec![]))).await;
        assert_eq!(code(&result), Some(ErrorCode::InvalidArgument), "{what}");
    }
    ok(&tree
        .one(Op::Commit(tree.commit_built(file, 1, 6000, branch(1, vec![children[0], children[2]]), vec![])))
        .await);
    tree.check().await;
}

#[tokio::test]
async fn blob_ids_are_used_once_and_lengths_agree() {
    let tree = TestTree::new().await;
    let file = tree.make(tree.root, "f", File).await;
    let (extent, blob) = inline(0, 100);
    ok(&tree.one(Op::Commit(tree.commit(file, 0, std::slice::from_ref(&extent), vec![blob.clone()]))).await);
    // The same id with other content.
    let second = cyx_core::extent::Extent { wrapped_key: [4; 60], ..extent.clone() };
    let reused = tree.commit(file, 1, std::slice::from_ref(&second), vec![blob]);
    assert_eq!(code(&tree.one(Op::Commit(reused)).await), Some(ErrorCode::AlreadyExists));
    // The same blob with another length.
    let longer = cyx_core::extent::Extent { header: cyx_core::extent::BlobHeader::new(101).unwrap(), ..second.clone() };
    let lying = tree.commit(file, 1, &[longer], vec![]);
    assert_eq!(code(&tree.one(Op::Commit(lying)).await), Some(ErrorCode::InvalidArgument));
    // The same blob twice in one file counts once.
    let shifted = cyx_core::extent::Extent { file_offset: 100, ..second.clone() };
    ok(&tree.one(Op::Commit(tree.commit(file, 1, &[second, shifted], vec![]))).await);
    assert_eq!(tree.bytes().await, (sealed(100), 0, 0));
    tree.check().await;
}

#[tokio::test]
async fn the_quota_is_kept() {
    let tree = TestTree::with_limit(i64::try_from(sealed(1000) + sealed(500)).unwrap()).await;
    let file = tree.make_small(tree.root, "f", 1000).await;
    let other = tree.make_small(tree.root, "g", 500).await;
    let refused = tree.one(Op::Commit(tree.small(other, 1, 501))).await;
    assert_eq!(code(&refused), Some(ErrorCode::QuotaExceeded));
    assert_eq!(tree.bytes().await, (sealed(1000) + sealed(500), 0, 0));
    // Becoming smaller is always possible, and what is superseded does not count.
    ok(&tree.one(Op::Commit(tree.small(file, 1, 999))).await);
    ok(&tree.one(Op::Commit(tree.small(other, 1, 501))).await);
    // What a lease promises counts too.
    tree.pass_seconds(24 * 3600 + 1);
    tree.collect().await;
    ok(&tree.one(unlink(tree.root, "g", other, Mode::Purge)).await);
    let lease = tree.lease(cyx_core::scheme::Scheme::SINGLE, sealed(501)).await;
    assert_eq!(tree.bytes().await, (sealed(999), 0, sealed(501)));
    let id = InodeId::random();
    let more = mutation(vec![create(id, tree.root, "h", File), Op::Commit(tree.small(id, 0, 10))]);
    assert_eq!(code(&tree.apply(vec![more.clone()]).await[0]), Some(ErrorCode::QuotaExceeded));
    assert!(tree.lookup(tree.root, "h").await.is_none());
    tree.pass_seconds(3601);
    let _ = lease;
    ok(&tree.apply(vec![more]).await[0]);
    tree.check().await;
}

#[tokio::test]
async fn superseded_bytes_are_capped_oldest_first() {
    let tree = TestTree::with_limit(i64::try_from(3 * sealed(1000)).unwrap()).await;
    let file = tree.make_small(tree.root, "f", 1000).await;
    for base in 1..6 {
        tree.pass_seconds(10);
        ok(&tree.one(Op::Commit(tree.small(file, base, 1000))).await);
    }
    assert_eq!(tree.bytes().await, (sealed(1000), 5 * sealed(1000), 0));
    tree.collect().await;
    assert_eq!(tree.bytes().await, (sealed(1000), 3 * sealed(1000), 0));
    let mut read = tree.test.db.read().await.unwrap();
    for (version, there) in [(1, false), (2, false), (3, true), (4, true), (5, true), (6, true)] {
        assert_eq!(file::file(&mut read, tree.bucket, file, version, 0..1).await.is_ok(), there, "version {version}");
    }
    drop(read);
    tree.check().await;
}

#[tokio::test]
async fn an_owner_who_signs_with_the_key_of_before_is_told_so() {
    let mut tree = TestTree::new().await;
    let file = tree.make(tree.root, "f", File).await;
    ok(&tree.one(Op::Commit(tree.small(file, 0, 1))).await);
    let (before, next) = (tree.key.clone(), ed25519_dalek::SigningKey::from_bytes(&[78; 32]));
    let public = next.verifying_key().to_bytes();
    let sequence = tree.sequence().await;
    let list = tree.context().await.unwrap().writers;
    let entry = list.next(WriterAction::HandOver, public, sequence).sign(&before);
    let appended = entry.clone();
    let refused = tree.in_bucket(move |work| {
        let entry = appended.clone();
        Box::pin(async move { work.append_writer(&entry).await })
    });
    assert!(refused.await.is_err(), "not without the account's own key");
    tree.in_bucket(move |work| {
        let entry = entry.clone();
        Box::pin(async move { work.hand_over(Some(&entry), &public).await })
    })
    .await
    .unwrap();
    assert_eq!(code(&tree.one(Op::Commit(tree.small(file, 1, 2))).await), Some(ErrorCode::StaleKey));
    tree.key = next;
    ok(&tree.one(Op::Commit(tree.small(file, 1, 2))).await);
}

#[tokio::test]
async fn removed_writers_commit_no_more() {
    let mut tree = TestTree::new().await;
    let file = tree.make(tree.root, "f", File).await;
    let (owner, other) = (tree.key.clone(), ed25519_dalek::SigningKey::from_bytes(&[77; 32]));
    let public = other.verifying_key().to_bytes();
    tree.key = other;
    assert_eq!(code(&tree.one(Op::Commit(tree.small(file, 0, 1))).await), Some(ErrorCode::PermissionDenied));
    let append = async |tree: &TestTree, action, sequence| {
        let list = tree.context().await.unwrap().writers;
        let entry = list.next(action, public, sequence).sign(&owner);
        tree.in_bucket(move |work| {
            let entry = entry.clone();
            Box::pin(async move { work.append_writer(&entry).await })
        })
        .await
    };
    append(&tree, WriterAction::Add, 0).await.unwrap();
    ok(&tree.one(Op::Commit(tree.small(file, 0, 1))).await);
    // Not in the future: until then it could go on.
    assert!(append(&tree, WriterAction::Remove, 99).await.is_err());
    let sequence = tree.sequence().await;
    // A batch that was checked before the removal.
    let context = tree.context().await.unwrap();
    append(&tree, WriterAction::Remove, sequence).await.unwrap();
    let request = pb::ApplyRequest {
        bucket: bytes_of(tree.bucket),
        mutations: vec![mutation(vec![Op::Commit(tree.small(file, 1, 2))])],
        ..pb::ApplyRequest::default()
    };
    let results = tree.attempt_with(request, &context).await;
    assert_eq!(code(&results[0]), Some(ErrorCode::PermissionDenied));
    assert_eq!(code(&tree.one(Op::Commit(tree.small(file, 1, 2))).await), Some(ErrorCode::PermissionDenied));
    tree.key = owner.clone();
    ok(&tree.one(Op::Commit(tree.small(file, 1, 2))).await);
    tree.check().await;
}

#[tokio::test]
async fn a_version_keeps_when_it_was_made_and_what_its_writer_had_seen() {
    let tree = TestTree::new().await;
    let file = tree.make(tree.root, "f", File).await;
    let commit = |base: u64, seen: u64| {
        let mut commit = tree.small(file, base, 10);
        tree.sign_after(&mut commit, seen);
        Op::Commit(commit)
    };
    let record = async || {
        let mut read = tree.test.db.read().await.unwrap();
        file::file(&mut read, tree.bucket, file, 0, 0..u64::MAX).await.unwrap().answer.version.unwrap()
    };
    // One of the first kind, which says nothing about it.
    ok(&tree.one(Op::Commit(tree.small(file, 0, 10))).await);
    assert_eq!((record().await.sequence, tree.sequence().await), (2, 2));
    assert_eq!(code(&tree.one(commit(1, 3)).await), Some(ErrorCode::InvalidArgument), "the third change is this one");
    ok(&tree.one(commit(1, 2)).await);
    let made = record().await;
    assert_eq!((made.sequence, cyx_core::commit::seen(&made.signature)), (3, Some(2)));
    ok(&tree.one(commit(2, 0)).await);
    assert_eq!(record().await.sequence, 4);
    tree.check().await;
}

#[tokio::test]
async fn a_blob_of_another_bucket_does_not_exist() {
    let mut tree = TestTree::new().await;
    let file = tree.make(tree.root, "f", File).await;
    let (extent, blob) = inline(0, 100);
    ok(&tree.one(Op::Commit(tree.commit(file, 0, std::slice::from_ref(&extent), vec![blob]))).await);
    let root = InodeId::random();
    tree.bucket = tree.make_bucket("other", cyx_core::ids::BucketId::random(), root).await.unwrap();
    let thief = tree.make(root, "t", File).await;
    let commit = tree.commit(thief, 0, &[extent], vec![]);
    assert_eq!(code(&tree.one(Op::Commit(commit)).await), Some(ErrorCode::InvalidArgument));
    let commit = tree.commit(thief, 0, &[extent_of(0, BlobId::random(), 3)], vec![]);
    assert_eq!(code(&tree.one(Op::Commit(commit)).await), Some(ErrorCode::InvalidArgument));
    tree.check().await;
}
