//! A server that lies: whatever it swaps, hides or brings back, the client says so and goes no further.

#![allow(clippy::unwrap_used, reason = "tests")]

mod gateway;

use std::time::Duration;

use cyx_client::tree::change::{NewKind, RemoveOptions, RenameOptions, attributes_now, mutation};
use cyx_client::tree::copy::CopyOptions;
use cyx_client::tree::list::Walked;
use cyx_client::{Bucket, Error, IntegrityError, Located, TreePath};
use cyx_core::error::ErrorCode;
use cyx_core::extent::tree::build;
use cyx_core::extent::{BlobHeader, Extent, PageId};
use cyx_core::ids::{BlobId, Random as _};
use cyx_core::writers::{WriterAction, WriterList};
use cyx_crypto::keys::BlobKey;
use cyx_crypto::wrap::{open_blob_key, seal_blob_key};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;
use ed25519_dalek::SigningKey;
use gateway::world::{World, path};

impl World {
    /// Commits a version whose content is one blob of `len` bytes; returns the blob's key.
    async fn write(&self, name: &str, len: u64) -> BlobKey {
        let (above, last) = path(name).split().map(|(above, last)| (above, last.to_vec())).unwrap();
        let directory = self.bucket.open_directory(&above).await.unwrap();
        let mut operations = Vec::new();
        let (id, key, base) = match self.bucket.lookup_one(&directory, &last).await.unwrap() {
            Some(file) => (file.id, file.key, file.inode.version),
            None => {
                let new = self.bucket.prepare(&directory, &last, NewKind::File, attributes_now(0o644)).unwrap();
                operations.push(new.operation);
                (new.id, new.key, 0)
            }
        };
        let (blob, blob_key, header) = (BlobId::random(), BlobKey::make(), BlobHeader::new(len).unwrap());
        let wrapped_key = seal_blob_key(&key, blob, header, &blob_key);
        let extent = Extent { file_offset: 0, len, blob, blob_offset: 0, key_epoch: key.epoch(), header, wrapped_key };
        let built = build(&[extent]).unwrap();
        let signed = self.bucket.sign_commit(id, base, len, built.root);
        let pages =
            built.pages.into_iter().map(|(id, content)| pb::Page { id: id.to_vec().into(), content: content.into() });
        let commit = pb::Commit {
            inode: bytes_of(id),
            base_version: base,
            size: len,
            root_page: built.root.to_vec().into(),
            pages: pages.collect(),
            writer: bytes_of(signed.commit.writer),
            signature: signed.signature.to_vec().into(),
            ..pb::Commit::default()
        };
        operations.push(pb::Operation { operation: Some(Op::Commit(commit)) });
        self.bucket.apply(vec![mutation(operations)]).await.unwrap().pop().unwrap().unwrap();
        blob_key
    }

    fn entry(&self, located: &Located) -> usize {
        self.gateway.state().entries.iter().position(|entry| entry.child == located.entry.child).unwrap()
    }

    /// What the server has of a file now.
    fn stored(&self, file: &Located) -> (pb::Inode, pb::VersionRecord) {
        let state = self.gateway.state();
        (state.inodes[&file.entry.child].clone(), state.versions[&file.entry.child].clone())
    }

    async fn read(&self, bucket: &Bucket, name: &str) -> Result<u64, Error> {
        let file = bucket.resolve(&path(name)).await?;
        let (version, mut pages, _) = bucket.fetch_file(file.id, 0..u64::MAX, name).await?;
        let extents = bucket.extents(&version, 0..u64::MAX, &mut pages).await?;
        assert_eq!(extents.iter().map(|extent| extent.len).sum::<u64>(), version.size());
        Ok(version.size())
    }
}

fn integrity<T>(result: Result<T, Error>) -> IntegrityError {
    match result {
        Err(Error::Integrity(error)) => error,
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("it was believed"),
    }
}

#[tokio::test]
async fn a_wrong_key_on_another_child_is_an_integrity_error() {
    let world = World::new().await;
    world.write("a", 10).await;
    world.write("b", 20).await;
    let (a, b) = (world.bucket.resolve(&path("a")).await.unwrap(), world.bucket.resolve(&path("b")).await.unwrap());
    let (at_a, at_b) = (world.entry(&a), world.entry(&b));
    let honest = world.gateway.state().entries.clone();

    world.gateway.state().entries[at_a].wrapped_key = b.entry.wrapped_key.clone();
    assert_eq!(integrity(world.bucket.resolve(&path("a")).await), IntegrityError::WrappedKey("a".into()));
    assert!(world.bucket.resolve(&path("b")).await.is_ok());

    world.gateway.state().entries = honest.clone();
    world.gateway.state().entries[at_a].child = b.entry.child.clone();
    assert_eq!(integrity(world.bucket.resolve(&path("a")).await), IntegrityError::WrappedKey("a".into()));

    // Both names change places: what each leads to was wrapped for the other name.
    world.gateway.state().entries = honest.clone();
    world.gateway.state().entries[at_a].name = b.entry.name.clone();
    world.gateway.state().entries[at_b].name = a.entry.name.clone();
    assert_eq!(integrity(world.bucket.resolve(&path("a")).await), IntegrityError::WrappedKey("a".into()));
}

#[tokio::test]
async fn a_listing_reports_what_is_not_authentic_and_goes_on() {
    let world = World::new().await;
    world.bucket.make_directory(&path("sub"), 0o755).await.unwrap();
    for name in ["a", "b", "sub/c"] {
        world.write(name, 10).await;
    }
    let b = world.bucket.resolve(&path("b")).await.unwrap();
    let at = world.entry(&b);
    let mut key = b.entry.wrapped_key.to_vec();
    *key.last_mut().unwrap() ^= 1;
    world.gateway.state().entries[at].wrapped_key = key.into();

    let mut walk = world.bucket.walk(&TreePath::root(), true).await.unwrap();
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    while let Some(walked) = walk.next().await {
        match walked {
            Walked::Item(item) => found.push(String::from_utf8(item.path).unwrap()),
            Walked::Failed { error, .. } => failed.push(integrity::<()>(Err(error))),
        }
    }
    found.sort();
    assert_eq!(found, ["a", "sub", "sub/c"]);
    assert_eq!(failed, [IntegrityError::WrappedKey("b".into())]);
}

#[tokio::test]
async fn an_older_version_is_refused_also_by_the_next_process() {
    let world = World::new().await;
    world.write("a", 10).await;
    let file = world.bucket.resolve(&path("a")).await.unwrap();
    let old = world.stored(&file);
    world.write("a", 20).await;
    assert_eq!(world.read(&world.bucket, "a").await.unwrap(), 20);

    world.gateway.state().inodes.insert(file.entry.child.clone(), old.0);
    world.gateway.state().versions.insert(file.entry.child.clone(), old.1);
    let expected = IntegrityError::RolledBack { what: "a".into(), shown: 1, seen: 2 };
    assert_eq!(integrity(world.read(&world.bucket, "a").await), expected);
    let again = world.reopened().await;
    assert_eq!(integrity(world.read(&again, "a").await), expected);

    // Pretending that nothing was ever committed is no way out.
    {
        let mut state = world.gateway.state();
        state.versions.clear();
        let inode = state.inodes.get_mut(&file.entry.child).unwrap();
        (inode.version, inode.size, inode.root_page) = (0, 0, PageId::EMPTY.to_vec().into());
    }
    let expected = IntegrityError::RolledBack { what: "a".into(), shown: 0, seen: 2 };
    assert_eq!(integrity(world.read(&world.bucket, "a").await), expected);
}

#[tokio::test]
async fn accepting_a_restored_server_also_accepts_its_older_versions() {
    let world = World::new().await;
    world.write("a", 10).await;
    let file = world.bucket.resolve(&path("a")).await.unwrap();
    let old = world.stored(&file);
    world.write("a", 20).await;
    assert_eq!(world.read(&world.bucket, "a").await.unwrap(), 20);
    world.gateway.state().inodes.insert(file.entry.child.clone(), old.0);
    world.gateway.state().versions.insert(file.entry.child.clone(), old.1);
    world.gateway.state().incarnation = "cc03".into();
    world.gateway.log_in(world.home.path(), true).await.unwrap();
    let again = world.reopened().await;
    assert_eq!(world.read(&again, "a").await.unwrap(), 10);
}

#[tokio::test]
async fn forged_and_mixed_versions_are_refused() {
    let world = World::new().await;
    world.write("a", 10).await;
    world.write("b", 10).await;
    let a = world.bucket.resolve(&path("a")).await.unwrap().entry.child;
    let b = world.bucket.resolve(&path("b")).await.unwrap().entry.child;
    let inodes = world.gateway.state().inodes.clone();
    let versions = world.gateway.state().versions.clone();
    let unsigned = |version| IntegrityError::Signature { what: "a".into(), version };

    // Another file's whole version.
    world.gateway.state().versions.insert(a.clone(), versions[&b].clone());
    world.gateway.state().inodes.get_mut(&a).unwrap().root_page = inodes[&b].root_page.clone();
    assert_eq!(integrity(world.read(&world.bucket, "a").await), unsigned(1));

    // A shorter file, consistently.
    world.gateway.state().inodes = inodes.clone();
    world.gateway.state().versions = versions.clone();
    world.gateway.state().inodes.get_mut(&a).unwrap().size = 5;
    world.gateway.state().versions.get_mut(&a).unwrap().size = 5;
    assert_eq!(integrity(world.read(&world.bucket, "a").await), unsigned(1));

    // The inode says something else than the commit.
    world.gateway.state().versions = versions.clone();
    assert!(matches!(integrity(world.read(&world.bucket, "a").await), IntegrityError::Mismatch(_)));

    // A number from the future.
    world.gateway.state().inodes = inodes.clone();
    {
        let mut state = world.gateway.state();
        state.inodes.get_mut(&a).unwrap().version = 9;
        let record = state.versions.get_mut(&a).unwrap();
        (record.version, record.base) = (9, 8);
    }
    assert_eq!(integrity(world.read(&world.bucket, "a").await), unsigned(9));

    // Signed by a stranger.
    world.gateway.state().inodes = inodes;
    {
        let stranger = SigningKey::from_bytes(&[9; 32]);
        let mut state = world.gateway.state();
        let record = state.versions.get_mut(&a).unwrap();
        *record = versions[&a].clone();
        let commit = cyx_core::commit::Commit {
            bucket: world.bucket.id,
            inode: a[..].try_into().unwrap(),
            version: 1,
            base: 0,
            size: 10,
            root: record.root_page[..].try_into().unwrap(),
            writer: cyx_core::sign::key_id(&stranger.verifying_key().to_bytes()),
        };
        record.writer = bytes_of(commit.writer);
        record.signature = commit.sign(&stranger).to_vec().into();
    }
    assert_eq!(integrity(world.read(&world.bucket, "a").await), unsigned(1));
}

#[tokio::test]
async fn a_removed_writers_late_commit_is_refused() {
    let world = World::new().await;
    world.write("a", 10).await;
    let friend = SigningKey::from_bytes(&[9; 32]);
    let public = friend.verifying_key().to_bytes();
    // They might sign up to the bucket's ninth change.
    let identity = world.client.secrets().identity.clone();
    let mut list = WriterList::clone(&world.bucket.writers());
    for (action, sequence) in [(WriterAction::Add, 5), (WriterAction::Remove, 9)] {
        let entry = identity.sign_writer(&list.next(action, public, sequence));
        list.append(&identity.public().signing, &entry).unwrap();
        world.gateway.state().writers.get_mut(&bytes_of(world.bucket.id)).unwrap().push(entry.into());
    }
    let a = world.bucket.resolve(&path("a")).await.unwrap().entry.child;
    // The server shows a version of theirs: what they had seen when they signed, and when the server says that it was made.
    let show = |seen: Option<u64>, sequence: u64| {
        let mut state = world.gateway.state();
        state.inodes.get_mut(&a).unwrap().version = 2;
        let record = state.versions.get_mut(&a).unwrap();
        let commit = cyx_core::commit::Commit {
            bucket: world.bucket.id,
            inode: a[..].try_into().unwrap(),
            version: 2,
            base: 1,
            size: 10,
            root: record.root_page[..].try_into().unwrap(),
            writer: cyx_core::sign::key_id(&public),
        };
        (record.version, record.base, record.sequence) = (2, 1, sequence);
        record.writer = bytes_of(commit.writer);
        record.signature = match seen {
            Some(seen) => commit.sign_after(seen, &friend).to_vec().into(),
            None => commit.sign(&friend).to_vec().into(),
        };
    };
    for (seen, sequence) in [(Some(8), 10), (Some(9), 9), (Some(9), 0), (Some(12), 7), (None, 10), (None, 4)] {
        show(seen, sequence);
        let refused = integrity(world.read(&world.bucket, "a").await);
        assert!(matches!(refused, IntegrityError::Signature { version: 2, .. }), "{seen:?} {sequence}: {refused}");
    }
    show(Some(8), 9);
    assert_eq!(world.read(&world.bucket, "a").await.unwrap(), 10);
}

#[tokio::test]
async fn extents_that_were_tampered_with_are_refused() {
    let world = World::new().await;
    world.write("a", 10).await;
    let a = world.bucket.resolve(&path("a")).await.unwrap().entry.child;
    let root = world.gateway.state().inodes[&a].root_page.clone();
    let honest = world.gateway.state().pages[&root].clone();
    let mut content = honest.content.to_vec();
    content[20] ^= 1;
    world.gateway.state().pages.get_mut(&root).unwrap().content = content.into();
    assert!(matches!(integrity(world.read(&world.bucket, "a").await), IntegrityError::Extents(_)));
    world.gateway.state().pages.clear();
    assert!(matches!(integrity(world.read(&world.bucket, "a").await), IntegrityError::Extents(_)));
    world.gateway.state().pages.insert(root, honest);
    assert_eq!(world.read(&world.bucket, "a").await.unwrap(), 10);
}

#[tokio::test]
async fn buckets_cannot_change_names_owners_or_writers() {
    let world = World::new().await;
    world.client.create_bucket("music", false).await.unwrap();
    let honest = world.gateway.state().buckets.clone();

    {
        let mut state = world.gateway.state();
        let (first, second) = state.buckets.split_at_mut(1);
        std::mem::swap(&mut first[0].name_token, &mut second[0].name_token);
    }
    assert!(matches!(integrity(world.client.bucket("photos").await), IntegrityError::Mismatch(_)));
    assert!(world.client.buckets().await.unwrap().iter().all(Result::is_err));

    // Another owner, with a writer list that fits it.
    let other = SigningKey::from_bytes(&[7; 32]);
    let public = other.verifying_key().to_bytes();
    world.gateway.state().buckets = honest.clone();
    world.gateway.state().buckets[0].owner_key = public.to_vec().into();
    let forged = WriterList::empty(world.bucket.id).next(WriterAction::Add, public, 0).sign(&other);
    world.gateway.state().writers.insert(honest[0].id.clone(), vec![forged.into()]);
    assert_eq!(integrity(world.client.bucket("photos").await), IntegrityError::OwnerKey);
    world.gateway.state().buckets = honest.clone();
    assert_eq!(integrity(world.client.bucket("photos").await), IntegrityError::Writers);
    world.gateway.state().writers.insert(honest[0].id.clone(), Vec::new());
    assert_eq!(integrity(world.client.bucket("photos").await), IntegrityError::Writers);

    // The root key of another bucket.
    world.gateway.state().buckets[0].wrapped_root_key = honest[1].wrapped_root_key.clone();
    assert!(matches!(integrity(world.client.bucket("photos").await), IntegrityError::Sealed(_)));
}

#[tokio::test]
async fn a_writer_list_cannot_be_cut_back() {
    let world = World::new().await;
    let id = bytes_of(world.bucket.id);
    let entry = world.bucket.writers().next(WriterAction::Add, [3; 32], 5);
    let signed = world.client.secrets().identity.sign_writer(&entry);
    world
        .client
        .meta
        .append_writer(pb::AppendWriterRequest { bucket: id.clone(), entry: signed.into() })
        .await
        .unwrap();
    assert_eq!(world.reopened().await.writers().len(), 2);
    world.gateway.state().writers.get_mut(&id).unwrap().pop();
    assert_eq!(integrity(world.client.bucket("photos").await), IntegrityError::Writers);
}

#[tokio::test]
async fn a_copy_shares_the_blobs_under_its_own_key() {
    let world = World::new().await;
    let blob_key = world.write("a", 10).await;
    world.bucket.make_directory(&path("sub"), 0o755).await.unwrap();
    let (target, copied) = world.bucket.copy(&path("a"), &path("sub"), false).await.unwrap();
    assert_eq!((target, copied.files, copied.bytes), (path("sub/a"), 1, 10));
    assert_eq!(world.read(&world.bucket, "sub/a").await.unwrap(), 10);
    let (old, new) =
        (world.bucket.resolve(&path("a")).await.unwrap(), world.bucket.resolve(&path("sub/a")).await.unwrap());
    assert!(old.id != new.id && old.key != new.key);
    let (version, mut pages, _) = world.bucket.fetch_file(new.id, 0..u64::MAX, "copy").await.unwrap();
    let extent = world.bucket.extents(&version, 0..10, &mut pages).await.unwrap().remove(0);
    let opened = open_blob_key(&new.key, extent.blob, extent.header, &extent.wrapped_key).unwrap();
    assert!(opened == blob_key);
    assert!(open_blob_key(&old.key, extent.blob, extent.header, &extent.wrapped_key).is_err());

    let (_, copied) = world.bucket.copy(&path("sub"), &path("tree/deep"), true).await.unwrap();
    assert_eq!((copied.files, copied.directories), (1, 1));
    assert_eq!(world.read(&world.bucket, "tree/deep/a").await.unwrap(), 10);
    assert!(world.bucket.copy(&path("sub"), &path("sub/x"), true).await.is_err());
    let keep = CopyOptions { no_clobber: true, ..CopyOptions::default() };
    let kept = world.bucket.copy_with(&path("a"), &path("sub"), keep).await;
    assert!(matches!(kept, Err(Error::AlreadyExists(_))), "{kept:?}");
    let (target, _) = world.bucket.copy_with(&path("a"), &path("fresh"), keep).await.unwrap();
    assert_eq!(target, path("fresh"));
    assert!(matches!(world.bucket.copy(&path("sub"), &path("y"), false).await, Err(Error::IsDirectory(_))));
}

#[tokio::test]
async fn things_are_moved_removed_and_restored() {
    let world = World::new().await;
    let bucket = &world.bucket;
    bucket.make_directories(&path("one/two/three")).await.unwrap();
    world.write("one/two/three/file", 10).await;
    assert!(matches!(bucket.make_directory(&path("one"), 0o755).await, Err(Error::AlreadyExists(_))));
    assert!(matches!(bucket.make_directory(&path("x/y"), 0o755).await, Err(Error::NotFound(_))));
    assert!(matches!(bucket.make_directories(&path("one/two/three/file/x")).await, Err(Error::NotDirectory(_))));

    assert_eq!(bucket.move_to(&path("one/two"), &path("two"), false).await.unwrap(), path("two"));
    assert_eq!(world.read(bucket, "two/three/file").await.unwrap(), 10);
    assert_eq!(bucket.move_to(&path("two/three/file"), &path("one"), false).await.unwrap(), path("one/file"));
    assert_eq!(world.read(bucket, "one/file").await.unwrap(), 10);
    let below = bucket.rename(&path("one"), &path("one/below"), RenameOptions::default()).await;
    assert_eq!(below.unwrap_err().code(), cyx_core::error::ErrorCode::Loop);
    world.write("other", 20).await;
    let no_replace = RenameOptions { no_replace: true, exchange: false };
    let taken = bucket.rename(&path("other"), &path("one/file"), no_replace).await;
    assert!(matches!(taken, Err(Error::AlreadyExists(_))));
    bucket.rename(&path("other"), &path("one/file"), RenameOptions::default()).await.unwrap();
    assert_eq!(world.read(bucket, "one/file").await.unwrap(), 20);
    assert_eq!(world.gateway.state().trash.drain(..).count(), 1, "what was replaced");

    let gone = bucket.remove_many(&[path("one/file"), path("nothing"), path("one")], RemoveOptions::default()).await;
    let gone = gone.unwrap();
    assert!(matches!(
        (&gone[0], &gone[1], &gone[2]),
        (Ok(Some(_)), Err(Error::NotFound(_)), Err(Error::IsDirectory(_)))
    ));
    // The way from the root to the directory, as an honest server sends it.
    let one = bucket.resolve(&path("one")).await.unwrap();
    world.gateway.state().trash[0].ancestors = vec![one.entry];
    let trashed = bucket.trash().await.unwrap().remove(0).unwrap();
    assert_eq!(trashed.path, b"one/file");
    assert_eq!(bucket.restore(&trashed, Some(b"back")).await.unwrap(), path("one/back"));
    assert_eq!(world.read(bucket, "one/back").await.unwrap(), 20);
}

#[tokio::test]
async fn a_listing_that_breaks_goes_on_behind_its_last_entry() {
    let world = World::new().await;
    let root = world.bucket.root_directory();
    let mutations = (0..250)
        .map(|number| {
            let name = format!("file-{number:03}");
            let new = world.bucket.prepare(&root, name.as_bytes(), NewKind::File, attributes_now(0o644)).unwrap();
            mutation(vec![new.operation])
        })
        .collect();
    assert!(world.bucket.apply(mutations).await.unwrap().iter().all(Result::is_ok));
    assert_eq!(world.gateway.state().calls["apply"], 1);
    world.gateway.state().break_listing_after = Some(70);
    let all = world.bucket.read_all(&root).await.unwrap();
    let names: Vec<String> = all.iter().map(|located| String::from_utf8(located.name.clone()).unwrap()).collect();
    assert_eq!(names, (0..250).map(|number| format!("file-{number:03}")).collect::<Vec<_>>());
    assert!(world.gateway.state().calls["read_directory"] >= 4);

    world.gateway.state().break_listing_after = None;
    let mut found: Vec<Vec<u8>> = world
        .bucket
        .list(b"file-01", true)
        .await
        .unwrap()
        .collect()
        .await
        .unwrap()
        .into_iter()
        .map(|item| item.path)
        .collect();
    found.sort();
    assert_eq!((found.len(), found[0].as_slice()), (10, &b"file-010"[..]));
    assert!(world.bucket.list(b"nowhere/x", true).await.unwrap().collect().await.unwrap().is_empty());
}

#[tokio::test]
async fn many_names_of_a_directory_are_one_call() {
    let world = World::new().await;
    world.bucket.make_directory(&path("d"), 0o755).await.unwrap();
    for name in ["d/a", "d/b"] {
        world.write(name, 10).await;
    }
    let again = world.reopened().await;
    world.gateway.state().lookups.clear();
    let paths = [path("d/a"), path("d/missing"), path("d/b"), path("e/x"), TreePath::root()];
    let found = again.resolve_many(&paths).await.unwrap();
    assert_eq!(found[0].as_ref().map(|located| located.name.clone()).ok(), Some(b"a".to_vec()));
    assert!(matches!(&found[1], Err(Error::NotFound(_))));
    assert_eq!(found[2].as_ref().map(|located| located.name.clone()).ok(), Some(b"b".to_vec()));
    assert!(matches!(&found[3], Err(Error::NotFound(_))));
    assert!(matches!(&found[4], Err(Error::Invalid { .. })));
    // One for the directory, one for the names in it, one for the directory that is not there.
    assert_eq!(world.gateway.state().lookups.len(), 3);
}

#[tokio::test]
async fn names_of_large_inodes_are_asked_for_in_several_calls() {
    let world = World::new().await;
    let (bucket, root) = (&world.bucket, world.bucket.root_directory());
    let paths: Vec<TreePath> = (0..900).map(|number| path(&format!("file-{number}"))).collect();
    let made = paths.iter().map(|path| {
        bucket.prepare(&root, path.name().unwrap(), NewKind::File, attributes_now(0o644)).unwrap().operation
    });
    bucket.apply(vec![mutation(made.collect())]).await.unwrap().remove(0).unwrap();
    {
        let mut state = world.gateway.state();
        state.inodes.values_mut().for_each(|inode| inode.sealed_meta = vec![0; 4096].into());
        state.answer_max = Some(1 << 20);
        state.lookups.clear();
    }
    let found = bucket.resolve_many(&paths).await.unwrap();
    assert!(found.iter().zip(&paths).all(|(found, path)| found.as_ref().unwrap().name == path.name().unwrap()));
    // All, two halves, four quarters.
    assert_eq!(world.gateway.state().lookups.len(), 7);
}

#[tokio::test]
async fn a_subscription_goes_on_where_it_was() {
    use cyx_client::events::Notice;
    let world = World::new().await;
    let change = |sequence| pb::Event {
        event: Some(pb::event::Event::Change(pb::Change {
            bucket: bytes_of(world.bucket.id),
            sequence,
            ..pb::Change::default()
        })),
    };
    world.gateway.state().events = vec![change(4), change(5)];
    let mut subscription = world.client.subscribe([(world.bucket.id, 3)]);
    let mut seen = Vec::new();
    assert_eq!(subscription.next().await.unwrap(), Notice::Connected);
    for _ in 0..2 {
        let Notice::Change(change) = subscription.next().await.unwrap() else { panic!("no change") };
        seen.push(change.sequence);
    }
    // The first stream ends here. The server repeats the last change, which must not be delivered twice.
    world.gateway.state().events = vec![change(5), change(6)];
    assert_eq!(subscription.next().await.unwrap(), Notice::Disconnected);
    assert!(!subscription.is_connected());
    assert_eq!(subscription.next().await.unwrap(), Notice::Connected);
    let Notice::Change(change) = subscription.next().await.unwrap() else { panic!("no change") };
    seen.push(change.sequence);
    assert_eq!(seen, [4, 5, 6]);
    let asked: Vec<u64> = world.gateway.state().subscriptions.iter().map(|from| from[0].sequence).collect();
    assert_eq!(asked, [3, 5]);
}

#[tokio::test]
async fn a_subscription_outlives_its_access_token_and_not_its_session() {
    use cyx_client::events::Notice;
    let world = World::new().await;
    let mut subscription = world.client.subscribe([]);
    let refreshes = world.gateway.state().refreshes;
    for _ in 0..2 {
        world.gateway.state().end_of_subscription = Some(ErrorCode::TokenExpired);
        assert_eq!(subscription.next().await.unwrap(), Notice::Connected);
        assert_eq!(subscription.next().await.unwrap(), Notice::Disconnected);
        world.gateway.state().expire = true;
    }
    assert_eq!(subscription.next().await.unwrap(), Notice::Connected);
    assert_eq!(world.gateway.state().refreshes, refreshes + 2, "the token was renewed");

    subscription.restart();
    world.gateway.state().ended = true;
    assert!(matches!(subscription.next().await, Err(Error::NotLoggedIn { ended: true })));
}

#[tokio::test]
async fn beats_tell_where_a_subscription_stands_and_what_it_missed() {
    use cyx_client::events::Notice;
    let world = World::new().await;
    let bucket = world.bucket.id;
    let event = |event| pb::Event { event: Some(event) };
    let change = |sequence| pb::Change { bucket: bytes_of(bucket), sequence, ..pb::Change::default() };
    let beat =
        |sequence| pb::Beat { server_time: 1, positions: vec![pb::Position { bucket: bytes_of(bucket), sequence }] };
    let recall = pb::LeaseRecall { bucket: bytes_of(bucket), fencing: 7, expires_at: 1 };
    world.gateway.state().events = vec![
        event(pb::event::Event::Beat(beat(3))),
        event(pb::event::Event::Recall(recall)),
        event(pb::event::Event::Change(change(4))),
        event(pb::event::Event::Beat(beat(4))),
        event(pb::event::Event::Beat(beat(6))),
        event(pb::event::Event::Change(change(7))),
    ];
    let mut subscription = world.client.subscribe([]);
    assert_eq!(subscription.last_heard(), None);
    assert_eq!(subscription.next().await.unwrap(), Notice::Connected);
    assert!(subscription.last_heard().is_some() && subscription.position(bucket).is_none());
    assert_eq!(subscription.next().await.unwrap(), Notice::Beat);
    assert_eq!(subscription.position(bucket), Some(3));
    assert_eq!(subscription.next().await.unwrap(), Notice::LeaseRecall(bucket));
    assert_eq!(subscription.recalled(bucket), Some(7));
    assert!(matches!(subscription.next().await.unwrap(), Notice::Change(change) if change.sequence == 4));
    assert_eq!(subscription.next().await.unwrap(), Notice::Beat);
    assert_eq!(subscription.next().await.unwrap(), Notice::Resync(bucket), "changes 5 and 6 never came");
    assert_eq!(subscription.next().await.unwrap(), Notice::Beat);
    assert!(matches!(subscription.next().await.unwrap(), Notice::Change(change) if change.sequence == 7));
}

#[tokio::test]
async fn who_looks_after_other_things_in_between_is_connected_over_a_long_way_as_well() {
    use cyx_client::events::Notice;
    let world = World::new().await;
    world.gateway.state().way_of_subscriptions = Duration::from_millis(300);
    let mut subscription = world.client.subscribe([]);
    let mut asked = 0;
    let notice = loop {
        asked += 1;
        match tokio::time::timeout(Duration::from_millis(10), subscription.next()).await {
            Ok(notice) => break notice.unwrap(),
            Err(_) => assert!(asked < 10_000, "it is never connected"),
        }
    };
    assert_eq!(notice, Notice::Connected);
    assert!(asked > 1, "it was dropped in between");
    assert_eq!(world.gateway.state().subscriptions.len(), 1, "and not begun anew");
}
