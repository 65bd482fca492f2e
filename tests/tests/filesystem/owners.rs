//! One cache directory and several accounts.

use std::time::Duration;

use cyx_fs::Filesystem;
use cyx_fs::vfs::Options;

use super::support::{World, bucket, client_of, content, open_of, put, walk};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_account_did_not_send_another_one_leaves_alone() {
    let world = World::new();
    let other = world.cluster.user("bob");
    other.ok(["bucket", "create", "own"]);
    let folder = tempfile::tempdir().unwrap();
    let late = |options: &mut Options| {
        let hour = Duration::from_secs(3600);
        (options.store.idle, options.store.age) = (hour, hour);
    };
    let fs = world.open(folder.path(), late).await;
    let work = bucket(&fs, "work").await;
    put(&fs, work, "file", b"not sent").await;
    fs.shutdown().await;
    drop(fs);

    let opened = Filesystem::open(client_of(&other).await, Options::new(folder.path().to_owned())).await;
    let refused = opened.err().unwrap();
    assert_eq!(refused.exit_code(), 2, "{refused}");
    assert!(refused.to_string().contains("another account") && refused.advice().unwrap().contains("--cache-dir"));
    let fs = world.open(folder.path(), |_| {}).await;
    assert_eq!((fs.drain(&|_| {}).await, fs.state().last_error), (Ok(0), None));
    assert_eq!(world.user.read("work", "file"), b"not sent");
    fs.shutdown().await;
    drop(fs);

    // Nothing is left, so it is anybody's.
    let fs = open_of(&other, folder.path(), late).await;
    assert_eq!(fs.state().last_error, None);
    let own = bucket(&fs, "own").await;
    put(&fs, own, "theirs", b"not sent either").await;
    fs.shutdown().await;
    drop(fs);
    assert!(Filesystem::open(world.client().await, Options::new(folder.path().to_owned())).await.is_err());
    let fs = open_of(&other, folder.path(), |_| {}).await;
    let theirs = walk(&fs, bucket(&fs, "own").await, "theirs").await.unwrap();
    assert_eq!(content(&fs, theirs.ino).await, b"not sent either");
    fs.shutdown().await;
}
