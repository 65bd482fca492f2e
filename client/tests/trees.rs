//! Whole trees up and down: what is kept, what is left out, what is never followed, and what a second run leaves alone.

#![allow(clippy::unwrap_used, reason = "tests")]

mod gateway;
#[allow(unreachable_pub, reason = "shared by test files")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cyx_client::local::{All, DownloadOptions, Filter, Summary, UploadOptions};
use cyx_client::nodes::SessionProof as _;
use cyx_client::transfer::{FileOutcome, Progress, Silent, Transfer, Tuning};
use cyx_client::tree::change::{NewKind, RemoveOptions, attributes_now, mutation};
use cyx_client::tree::copy::CopyOptions;
use cyx_client::{Bucket, Error, TreePath};
use cyx_core::error::ErrorCode;
use cyx_core::grant::Operations;
use cyx_core::ids::{Random as _, TrashId};
use ed25519_dalek::SigningKey;
use gateway::Gateway;
use support::node::FakeNode;
use tempfile::TempDir;

#[tokio::test]
async fn what_was_done_before_a_call_failed_is_not_forgotten() {
    let world = gateway::world::World::new().await;
    let bucket = &world.bucket;
    let root = bucket.root_directory();
    let paths: Vec<TreePath> = (0..1500).map(|number| gateway::world::path(&format!("file-{number}"))).collect();
    let made = paths.iter().map(|path| {
        bucket.prepare(&root, path.name().unwrap(), NewKind::File, attributes_now(0o644)).unwrap().operation
    });
    bucket.apply(vec![mutation(made.collect())]).await.unwrap().remove(0).unwrap();

    world.gateway.state().applies_left = Some(1);
    let removed = bucket.remove_many(&paths, RemoveOptions::default()).await.unwrap();
    let (done, failed) = removed.split_at(1000);
    assert!(done.iter().all(Result::is_ok));
    assert!(failed.iter().all(|result| result.as_ref().is_err_and(|error| error.code() == ErrorCode::Internal)));
    assert_eq!((failed.len(), world.gateway.state().trash.len()), (500, 1000));

    // Of the first call everything is known: nothing was done.
    let refused = bucket.remove_many(&paths[1000..], RemoveOptions::default()).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::Internal);
}

#[tokio::test]
async fn entries_of_the_trash_that_are_gone_are_told_from_those_that_are_left() {
    let world = gateway::world::World::new().await;
    world.gateway.state().applies_left = Some(1);
    // As many as go in one call, and one more.
    let ids: Vec<TrashId> = (0..500_001).map(|_| TrashId::random()).collect();
    let purged = world.bucket.purge(&ids).await;
    assert_eq!((purged.deleted, purged.left), (500_000, 1));
    assert_eq!(purged.error.unwrap().code(), ErrorCode::Internal);
}

struct World {
    gateway: Gateway,
    nodes: Vec<FakeNode>,
    home: TempDir,
    bucket: Bucket,
}

impl World {
    async fn new() -> Self {
        let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
        let client = gateway.client(home.path()).await;
        let (server, key) = (SigningKey::from_bytes(&[1; 32]), client.session.public_key());
        let mut nodes = Vec::new();
        for seed in 1..=3 {
            nodes.push(FakeNode::start(seed).await);
        }
        let all = Operations::STORE.and(Operations::READ);
        gateway.state().storage.nodes = nodes.iter().map(|node| node.access(&server, key, all)).collect();
        let bucket = client.create_bucket("b", false).await.unwrap();
        Self { gateway, nodes, home, bucket }
    }

    fn engine(&self) -> Transfer {
        let tuning = Tuning {
            memory: 16 << 20,
            large_file: 1 << 20,
            frames_large: 20,
            frames: 20,
            outage: Duration::ZERO,
            ..Tuning::default()
        };
        Transfer::new(self.bucket.client(), Some(self.home.path()), tuning)
    }

    async fn up(&self, from: &Path, to: &str, options: UploadOptions, filter: Arc<dyn Filter>) -> Summary {
        let uploads = self.engine().uploads(&self.bucket);
        let items = vec![(from.to_owned(), TreePath::parse(to).unwrap())];
        let summary = uploads.upload(items, options, filter, Arc::new(Silent)).await;
        uploads.finish().await;
        summary
    }

    async fn down(&self, from: &str, to: &Path, options: DownloadOptions) -> Summary {
        let from = TreePath::parse(from).unwrap();
        self.engine().download(&self.bucket, &from, to, options, Arc::new(All), Arc::new(Silent)).await
    }
}

/// A tree with a little of everything.
fn plant(root: &Path) {
    fs::create_dir_all(root.join("deep/er/est")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("nothing"), b"").unwrap();
    fs::write(root.join("inline"), b"small").unwrap();
    fs::write(root.join("deep/packed"), vec![7; 50_000]).unwrap();
    fs::write(root.join("deep/er/alone"), (0..1_500_000_u32).map(|at| (at % 251) as u8).collect::<Vec<u8>>()).unwrap();
    fs::write(root.join("deep/er/est/run"), b"#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("deep/er/est/run"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("../inline", root.join("deep/link")).unwrap();
    symlink("/nowhere", root.join("dangling")).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    fs::File::open(root.join("inline")).unwrap().set_modified(long_ago).unwrap();
    fs::File::open(root.join("deep/er")).unwrap().set_modified(long_ago).unwrap();
}

/// Everything that should come back: kind, mode, time and content by path.
fn describe(root: &Path) -> BTreeMap<String, (String, u32, i64, Vec<u8>)> {
    fn visit(root: &Path, at: &Path, found: &mut BTreeMap<String, (String, u32, i64, Vec<u8>)>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let time = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let mode = metadata.mode() & 0o7777;
            let value = if metadata.is_symlink() {
                ("link".to_owned(), 0, time, fs::read_link(&path).unwrap().to_str().unwrap().as_bytes().to_vec())
            } else if metadata.is_dir() {
                visit(root, &path, found);
                ("directory".to_owned(), mode, time, Vec::new())
            } else {
                ("file".to_owned(), mode, time, fs::read(&path).unwrap())
            };
            found.insert(name, value);
        }
    }
    let mut found = BTreeMap::new();
    visit(root, root, &mut found);
    found
}

/// Writes to a file whenever a part of it was sent.
struct Writes {
    path: std::path::PathBuf,
    times: std::sync::atomic::AtomicU32,
}

impl Progress for Writes {
    fn bytes(&self, _: u64) {
        use std::io::Write as _;
        use std::sync::atomic::Ordering::Relaxed;
        if self.times.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            fs::File::options().append(true).open(&self.path).unwrap().write_all(b"more").unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_read_is_read_again_and_never_stored_torn() {
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("log");
    fs::write(&path, vec![7; 1_200_000]).unwrap();
    let upload = async |times| {
        let uploads = world.engine().uploads(&world.bucket);
        let items = vec![(path.clone(), TreePath::parse("log").unwrap())];
        let writes = Arc::new(Writes { path: path.clone(), times: std::sync::atomic::AtomicU32::new(times) });
        let summary = uploads.upload(items, UploadOptions::default(), Arc::new(All), writes).await;
        uploads.finish().await;
        summary
    };

    let mut summary = upload(u32::MAX).await;
    assert!(matches!(summary.failed.pop().unwrap().error, Error::Changing(name) if name == "log"));
    assert!(world.bucket.try_resolve(&TreePath::parse("log").unwrap()).await.unwrap().is_none());

    let summary = upload(1).await;
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    let target = folder.path().join("back");
    world.down("log", &target, DownloadOptions::default()).await;
    assert!(fs::read(&target).unwrap() == fs::read(&path).unwrap());
    let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    assert_eq!(time(&target), time(&path), "so the next run finds it unchanged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_comes_back_with_modes_times_and_links() {
    let (world, source, target) = (World::new().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(source.path());
    fs::set_permissions(source.path(), fs::Permissions::from_mode(0o750)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(source.path().join("socket")).unwrap();
    let summary = world.up(source.path(), "tree", UploadOptions::default(), Arc::new(All)).await;
    assert!(summary.failed.is_empty() && summary.stopped.is_none(), "{:?}", summary.failed);
    assert_eq!((summary.files, summary.directories, summary.skipped), (7, 4, 1));
    let summary = world.down("tree", &target.path().join("new"), DownloadOptions::default()).await;
    assert!(summary.failed.is_empty() && summary.stopped.is_none(), "{:?}", summary.failed);
    let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    assert_eq!(time(&target.path().join("new")), time(source.path()));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode();
    assert_eq!(mode(&target.path().join("new")), mode(source.path()));
    fs::remove_file(source.path().join("socket")).unwrap();
    assert_eq!(describe(&target.path().join("new")), describe(source.path()));
}

/// Takes down which modes directories have whenever a file is done.
struct Modes {
    directories: Vec<std::path::PathBuf>,
    seen: std::sync::Mutex<Vec<u32>>,
}

impl Progress for Modes {
    fn ends(&self, _: &[u8], _: &FileOutcome) {
        let modes = self.directories.iter().map(|path| fs::metadata(path).unwrap().mode() & 0o7777);
        self.seen.lock().unwrap().extend(modes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_that_are_not_complete_are_open_to_their_owner_alone() {
    let (world, source, target) = (World::new().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let local = source.path().join("tree");
    fs::create_dir_all(local.join("deep/er")).unwrap();
    fs::write(local.join("deep/er/file"), b"x").unwrap();
    for directory in [&local, &local.join("deep"), &local.join("deep/er")] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    world.up(&local, "tree", UploadOptions::default(), Arc::new(All)).await;

    let to = target.path().join("new");
    let modes = Arc::new(Modes {
        directories: vec![to.clone(), to.join("deep"), to.join("deep/er")],
        seen: std::sync::Mutex::default(),
    });
    let (from, options) = (TreePath::parse("tree").unwrap(), DownloadOptions::default());
    let summary = world.engine().download(&world.bucket, &from, &to, options, Arc::new(All), modes.clone()).await;
    assert_eq!((summary.files, summary.failed.len()), (1, 0));
    assert_eq!(*modes.seen.lock().unwrap(), [0o700; 3]);
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&to), 0o755);
    assert_eq!(describe(&to), describe(&local));

    // As a run leaves it that did not come to its end: the next one opens what is in the tree.
    fs::set_permissions(to.join("deep"), fs::Permissions::from_mode(0o700)).unwrap();
    world.down("tree", &to, options).await;
    assert_eq!(describe(&to), describe(&local));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_moves_only_what_changed() {
    let (world, source, target) = (World::new().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(source.path());
    world.up(source.path(), "", UploadOptions::default(), Arc::new(All)).await;
    fs::write(source.path().join("inline"), b"other").unwrap();
    let summary = world.up(source.path(), "", UploadOptions::default(), Arc::new(All)).await;
    assert_eq!((summary.files, summary.unchanged), (1, 6));
    // The same time and size but another content is found by comparing contents.
    let path = source.path().join("deep/packed");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, vec![8; 50_000]).unwrap();
    fs::File::open(&path).unwrap().set_modified(time).unwrap();
    assert_eq!(world.up(source.path(), "", UploadOptions::default(), Arc::new(All)).await.files, 0);
    let careful = UploadOptions { checksum: true, ..UploadOptions::default() };
    let summary = world.up(source.path(), "", careful, Arc::new(All)).await;
    assert_eq!((summary.files, summary.failed.len()), (1, 0));

    assert_eq!(world.down("", target.path(), DownloadOptions::default()).await.files, 7);
    fs::write(target.path().join("inline"), b"altered").unwrap();
    let keep = DownloadOptions { no_clobber: true, ..DownloadOptions::default() };
    assert_eq!(world.down("", target.path(), keep).await.files, 0);
    let again = world.down("", target.path(), DownloadOptions::default()).await;
    assert_eq!((again.files, again.unchanged), (1, 6));
    assert_eq!(fs::read(target.path().join("inline")).unwrap(), b"other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_takes_over_the_time_of_a_link_and_makes_none_anew() {
    let (world, source, target) = (World::new().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = source.path().join("link");
    symlink("/nowhere", &path).unwrap();
    world.up(source.path(), "", UploadOptions::default(), Arc::new(All)).await;
    let before = describe(source.path());
    fs::remove_file(&path).unwrap();
    symlink("/nowhere", &path).unwrap();
    assert_ne!(describe(source.path()), before, "the new one has another time");
    for (dry_run, name, expected) in [(true, "dry", before), (false, "done", describe(source.path()))] {
        let options = UploadOptions { dry_run, ..UploadOptions::default() };
        let summary = world.up(source.path(), "", options, Arc::new(All)).await;
        assert_eq!((summary.files, summary.unchanged, summary.failed.len()), (0, 1, 0));
        let back = target.path().join(name);
        fs::create_dir(&back).unwrap();
        world.down("", &back, DownloadOptions::default()).await;
        assert_eq!(describe(&back), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_and_changes_nothing() {
    let (world, source, target) = (World::new().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(source.path());
    let dry = UploadOptions { dry_run: true, ..UploadOptions::default() };
    let summary = world.up(source.path(), "tree", dry, Arc::new(All)).await;
    assert_eq!((summary.files, summary.directories), (7, 4));
    assert!(world.gateway.state().entries.is_empty());
    world.up(source.path(), "tree", UploadOptions::default(), Arc::new(All)).await;
    let to = target.path().join("new");
    let dry = DownloadOptions { dry_run: true, ..DownloadOptions::default() };
    assert_eq!(world.down("tree", &to, dry).await.files, 7);
    assert!(!to.exists());
}

struct NoDeep;

impl Filter for NoDeep {
    fn takes(&self, path: &[u8]) -> bool {
        path != b"inline"
    }

    fn enters(&self, path: &[u8]) -> bool {
        path != b"deep"
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_leaves_out_stays_out() {
    let (world, source) = (World::new().await, tempfile::tempdir().unwrap());
    plant(source.path());
    let summary = world.up(source.path(), "", UploadOptions::default(), Arc::new(NoDeep)).await;
    assert_eq!((summary.files, summary.directories), (2, 1));
}

/// Files called `run` and directories on the way to them.
struct OnlyRun;

impl Filter for OnlyRun {
    fn takes(&self, path: &[u8]) -> bool {
        path.ends_with(b"/run")
    }

    fn enters(&self, _path: &[u8]) -> bool {
        true
    }

    fn is_partial(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_directory_is_made_that_gets_no_file() {
    let (world, source, target) = (World::new().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(source.path());
    let dry = UploadOptions { dry_run: true, ..UploadOptions::default() };
    let summary = world.up(source.path(), "part", dry, Arc::new(OnlyRun)).await;
    assert_eq!((summary.files, summary.directories), (1, 3));
    let summary = world.up(source.path(), "part", UploadOptions::default(), Arc::new(OnlyRun)).await;
    assert_eq!((summary.files, summary.directories), (1, 3), "deep, deep/er and deep/er/est; not empty");
    assert!(world.bucket.try_resolve(&TreePath::parse("part/empty").unwrap()).await.unwrap().is_none());

    world.up(source.path(), "whole", UploadOptions::default(), Arc::new(All)).await;
    let from = TreePath::parse("whole").unwrap();
    for dry_run in [true, false] {
        let options = DownloadOptions { dry_run, ..DownloadOptions::default() };
        let (filter, progress) = (Arc::new(OnlyRun), Arc::new(Silent));
        let summary = world.engine().download(&world.bucket, &from, target.path(), options, filter, progress).await;
        assert!(summary.failed.is_empty(), "{:?}", summary.failed);
        assert_eq!((summary.files, summary.directories), (1, 3));
    }
    let found = describe(target.path());
    assert_eq!(found.keys().collect::<Vec<_>>(), ["deep", "deep/er", "deep/er/est", "deep/er/est/run"]);
    assert_eq!(found["deep/er"].2, 1_000_000_000_123_456_789, "its time is set all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn bits_that_give_away_rights_are_left_out_and_counted() {
    let (world, source, target) = (World::new().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(source.path().join("shared")).unwrap();
    for (name, mode) in [("suid", 0o4755), ("sgid", 0o2755), ("plain", 0o755)] {
        fs::write(source.path().join(name), name).unwrap();
        fs::set_permissions(source.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(source.path().join("shared"), fs::Permissions::from_mode(0o2775)).unwrap();
    world.up(source.path(), "", UploadOptions::default(), Arc::new(All)).await;
    let summary = world.down("", target.path(), DownloadOptions::default()).await;
    assert_eq!((summary.files, summary.special_modes), (3, 3));
    let modes: Vec<u32> = describe(target.path()).values().map(|(_, mode, _, _)| *mode).collect();
    assert_eq!(modes, [0o755, 0o755, 0o775, 0o755]);
}

/// Ends the session as soon as a directory is found.
struct Ending(Arc<std::sync::Mutex<gateway::State>>);

impl Filter for Ending {
    fn takes(&self, _path: &[u8]) -> bool {
        true
    }

    fn enters(&self, _path: &[u8]) -> bool {
        self.0.lock().unwrap().ended = true;
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_stops_early_lists_all_that_is_missing() {
    let (world, source, target) = (World::new().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(source.path());
    world.up(source.path(), "tree", UploadOptions::default(), Arc::new(All)).await;
    let from = TreePath::parse("tree").unwrap();
    let ending = Arc::new(Ending(Arc::clone(&world.gateway.state)));
    let summary = world
        .engine()
        .download(&world.bucket, &from, target.path(), DownloadOptions::default(), ending, Arc::new(Silent))
        .await;
    let failed = |summary: &Summary| {
        let mut failed: Vec<String> =
            summary.failed.iter().map(|failure| String::from_utf8(failure.path.clone()).unwrap()).collect();
        failed.sort();
        failed
    };
    // Files that were found, and directories that could not be read any more.
    assert_eq!(failed(&summary), ["dangling", "deep", "empty", "inline", "nothing"]);
    assert_eq!(summary.files, 0);
    assert!(matches!(summary.stopped, Some(Error::NotLoggedIn { .. })), "{:?}", summary.stopped);
    for failure in &summary.failed {
        assert!(matches!(failure.error, Error::NotLoggedIn { .. }), "{}", failure.error);
    }
    // What was named could not even be looked for.
    for (from, listed) in [("tree/inline", "tree/inline"), ("tree", "tree"), ("", "")] {
        let summary = world.down(from, &target.path().join("again"), DownloadOptions::default()).await;
        assert_eq!(failed(&summary), [listed], "{from}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_together_fails_for_the_same_reason() {
    let (world, source) = (World::new().await, tempfile::tempdir().unwrap());
    for name in ["a", "b", "c"] {
        fs::write(source.path().join(name), vec![1; 20_000]).unwrap();
    }
    world.nodes.iter().for_each(FakeNode::kill);
    let summary = world.up(source.path(), "", UploadOptions::default(), Arc::new(All)).await;
    assert_eq!(summary.failed.len(), 3);
    for failure in &summary.failed {
        assert!(matches!(failure.error, Error::TooFewNodes { .. }), "{}", failure.error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_copied_to_another_bucket() {
    let (world, source, target) = (World::new().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(source.path());
    world.up(source.path(), "tree", UploadOptions::default(), Arc::new(All)).await;
    let other = world.bucket.client().create_bucket("other", false).await.unwrap();
    let engine = world.engine();
    let uploads = engine.uploads(&other);
    let (from, to) = (TreePath::parse("tree").unwrap(), TreePath::parse("copy").unwrap());
    let all = CopyOptions { recursive: true, ..CopyOptions::default() };
    let (at, copied) = uploads.copy_from(&world.bucket, &from, &to, all, &Silent).await.unwrap();
    assert_eq!((at, copied.files, copied.directories), (to.clone(), 7, 5));
    let filter = Arc::new(All);
    let down = engine.download(&other, &to, target.path(), DownloadOptions::default(), filter, Arc::new(Silent)).await;
    assert!(down.failed.is_empty(), "{:?}", down.failed);
    let content = |root: &Path| -> Vec<(String, String, Vec<u8>)> {
        describe(root).into_iter().map(|(name, (kind, _, _, content))| (name, kind, content)).collect()
    };
    assert_eq!(content(target.path()), content(source.path()));

    // A file on its own; what exists stays if it is to.
    let (file, into) = (TreePath::parse("tree/deep/er/alone").unwrap(), TreePath::parse("copy/deep").unwrap());
    let keep = CopyOptions { no_clobber: true, ..CopyOptions::default() };
    let (at, copied) = uploads.copy_from(&world.bucket, &file, &into, keep, &Silent).await.unwrap();
    assert_eq!((at.to_string().as_str(), copied.bytes), ("copy/deep/alone", 1_500_000));
    let again = uploads.copy_from(&world.bucket, &file, &into, keep, &Silent).await;
    assert!(matches!(again, Err(Error::AlreadyExists(_))), "{again:?}");
    let whole = uploads.copy_from(&world.bucket, &from, &into, keep, &Silent).await;
    assert!(matches!(whole, Err(Error::IsDirectory(_))), "{whole:?}");

    // What cannot be read to its end is not there in part.
    world.nodes.iter().for_each(FakeNode::kill);
    let broken = TreePath::parse("copy/broken").unwrap();
    let failed = uploads.copy_from(&world.bucket, &file, &broken, keep, &Silent).await;
    assert!(failed.is_err());
    assert!(other.try_resolve(&broken).await.unwrap().is_none());
    uploads.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_stand_in_the_target_are_not_followed() {
    let (world, source, target) = (World::new().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let outside = tempfile::tempdir().unwrap();
    plant(source.path());
    world.up(source.path(), "", UploadOptions::default(), Arc::new(All)).await;
    symlink(outside.path(), target.path().join("deep")).unwrap();
    symlink(outside.path().join("victim"), target.path().join("inline")).unwrap();
    fs::write(outside.path().join("victim"), b"untouched").unwrap();
    let summary = world.down("", target.path(), DownloadOptions::default()).await;
    let failed: Vec<_> = summary.failed.iter().map(|failure| failure.path.clone()).collect();
    assert_eq!(failed, [b"deep".to_vec()]);
    assert!(matches!(summary.failed[0].error, Error::NotDirectory(_)));
    assert_eq!(fs::read(outside.path().join("victim")).unwrap(), b"untouched");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(fs::read(target.path().join("inline")).unwrap(), b"small");
    assert!(matches!(summary.into_error(), Some(Error::Partial { failed: 1, .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_too_few_nodes_nothing_appears_under_the_final_name() {
    let (world, source, target) = (World::new().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(source.path());
    world.up(source.path(), "", UploadOptions::default(), Arc::new(All)).await;
    world.nodes[..2].iter().for_each(FakeNode::kill);
    let summary = world.down("deep/er/alone", &target.path().join("alone"), DownloadOptions::default()).await;
    let error = summary.into_error().unwrap();
    assert!(matches!(error, Error::TooFewNodes { reachable: 1, needed: 2, .. }), "{error}");
    assert!(!target.path().join("alone").exists());
    // Files in the server's database need no node.
    let summary = world.down("inline", &target.path().join("inline"), DownloadOptions::default()).await;
    assert_eq!(summary.files, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_download_fetches_only_what_is_missing() {
    let (world, source, target) = (World::new().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(source.path());
    world.up(source.path(), "", UploadOptions::default(), Arc::new(All)).await;
    let to = target.path().join("alone");
    // All but the first segments cannot be read.
    let kept: Vec<_> = {
        let state = world.gateway.state();
        let lengths = |length: u64| state.storage.segments.values().filter(|it| it.length == length).count();
        assert!(lengths(20 * 16_400) >= 4);
        world.nodes.iter().map(|node| node.state.chunks.lock().unwrap().clone()).collect()
    };
    let last = {
        let state = world.gateway.state();
        let mut short: Vec<_> = state.storage.segments.values().filter(|it| it.length < 20 * 16_400).collect();
        // The last segment of the large file is the only one that is neither full nor the pack.
        short.sort_by_key(|segment| segment.length);
        short.pop().unwrap().clone()
    };
    let id = cyx_core::ids::SegmentId::try_from(&last.id[..]).unwrap();
    for node in &world.nodes {
        let mut chunks = node.state.chunks.lock().unwrap();
        (0..3).for_each(|index| drop(chunks.remove(&cyx_core::chunk::chunk_id(id, index))));
    }
    let failed = world.down("deep/er/alone", &to, DownloadOptions::default()).await;
    // Every node answers, so waiting for others would not help.
    let error = failed.into_error().unwrap();
    assert!(matches!(error, Error::Lost { lost: 3, left: 0, needed: 2, .. }), "{error}");
    assert!(!to.exists());
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1, "what came is kept beside it");

    let reads =
        || world.nodes.iter().map(|node| node.state.reads.load(std::sync::atomic::Ordering::SeqCst)).sum::<u64>();
    for (node, chunks) in world.nodes.iter().zip(kept) {
        *node.state.chunks.lock().unwrap() = chunks;
    }
    let before = reads();
    let summary = world.down("deep/er/alone", &to, DownloadOptions::default()).await;
    assert_eq!(summary.files, 1);
    assert!(reads() - before <= 3, "only the last segment is read");
    assert!(fs::read(&to).unwrap() == fs::read(source.path().join("deep/er/alone")).unwrap());
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_not_said_to_be_where_it_shall_go() {
    let world = World::new().await;
    let (from, root) = (TreePath::parse("nope").unwrap(), TreePath::root());
    for to in [root, from.clone(), from.clone().join(b"below").unwrap()] {
        let refused = world.bucket.move_to(&from, &to, false).await.unwrap_err();
        assert!(matches!(&refused, Error::NotFound(name) if name == "nope"), "{to}: {refused}");
    }
}
