//! A filesystem whose `fsync` waits for nodes and server.

use cyx_fs::Errno;
use cyx_fs::vfs::{Durability, RenameFlags, SetXattr};
use cyx_tests::noise;

use super::support::{ME, WRITE, World, bucket, content, list, put, until, walk, write_at};

/// So much that it needs nodes.
const MUCH: usize = 300_000;
const LONG: std::time::Duration = std::time::Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_synced_is_committed_and_what_cannot_be_is_not_said_to_be() {
    let world = World::new();
    // Nothing is sent because of the time.
    let machine = world
        .machine(|options| {
            options.fsync = Durability::Remote;
            (options.store.idle, options.store.age) = (LONG, LONG);
        })
        .await;
    let fs = &machine.fs;
    let work = bucket(fs, "work").await;
    let mut wanted = noise(1, MUCH);
    let (attr, handle) = fs.create(work, b"file", 0o644, WRITE, ME).await.unwrap();
    for round in 0..3 {
        let part = noise(10 + round, 1000);
        let at = usize::try_from(round).unwrap() * 5000;
        wanted[at..at + part.len()].copy_from_slice(&part);
        let (at, bytes) = if round == 0 { (0, &wanted[..]) } else { (at, &part[..]) };
        write_at(fs, handle, at as u64, bytes).await;
        fs.fsync(handle, round == 1).await.unwrap();
        assert!(world.user.read("work", "file") == wanted, "round {round}: somebody else reads other bytes");
    }
    fs.mkdir(work, b"dir", 0o755, ME).await.unwrap();
    let (listing, _) = fs.opendir(work).await.unwrap();
    fs.fsyncdir(listing, false).await.unwrap();
    fs.releasedir(listing);
    world.user.ok(["stat", "work", "dir"]);

    world.cluster.kill_node(0);
    let new = noise(2, MUCH);
    write_at(fs, handle, 0, &new).await;
    assert_eq!(fs.fsync(handle, false).await, Err(Errno::EIO));
    assert!(content(fs, attr.ino).await == new, "it is in the journal");
    world.cluster.start_node(0);
    until("nodes are back", async || fs.fsync(handle, false).await.is_ok()).await;
    assert!(world.user.read("work", "file") == new, "what was synced is what everybody reads");
    fs.release(handle).await;
    fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_synced_after_somebody_else_was_faster_is_committed_in_its_copy() {
    let world = World::new();
    let slow = world
        .machine(|options| {
            options.fsync = Durability::Remote;
            (options.store.idle, options.store.age) = (LONG, LONG);
        })
        .await;
    let fast = world.machine(|_| {}).await;
    let (a, b) = (bucket(&slow.fs, "work").await, bucket(&fast.fs, "work").await);
    let mine = put(&slow.fs, a, "notes", b"common").await;
    slow.fs.setxattr(mine, b"user.note", b"kept", SetXattr::Any).await.unwrap();
    assert_eq!(slow.fs.drain(&|_| {}).await, Ok(0));
    until("both have the file", async || walk(&fast.fs, b, "notes").await.is_ok_and(|attr| attr.size == 6)).await;

    let wanted = noise(3, MUCH);
    let handle = slow.fs.open_file(mine, WRITE).await.unwrap();
    write_at(&slow.fs, handle, 0, &wanted).await;
    let theirs = walk(&fast.fs, b, "notes").await.unwrap().ino;
    let other = fast.fs.open_file(theirs, WRITE).await.unwrap();
    write_at(&fast.fs, other, 0, b"the winner").await;
    fast.fs.release(other).await;
    assert_eq!(fast.fs.drain(&|_| {}).await, Ok(0));
    slow.fs.fsync(handle, false).await.unwrap();
    assert_eq!((slow.fs.state().dirty_files, slow.fs.state().conflicts), (0, 1));
    let listed = list(&slow.fs, a).await;
    let copy = listed.iter().find(|(name, ..)| name.starts_with("notes (conflict ")).unwrap();
    assert!(world.user.read("work", &copy.0) == wanted, "it is what others read");
    slow.fs.release(handle).await;
    // What else the file had its copy has as well, for others too.
    let name = copy.0.clone();
    until("the copy is seen", async || walk(&fast.fs, b, &name).await.is_ok()).await;
    let seen = walk(&fast.fs, b, &name).await.unwrap().ino;
    assert_eq!(fast.fs.getxattr(seen, b"user.note").await.unwrap(), &b"kept"[..]);
    slow.fs.shutdown().await;
    fast.fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn to_sync_a_directory_is_nothing_to_other_buckets() {
    let world = World::new();
    world.user.ok(["bucket", "create", "other"]);
    let machine = world
        .machine(|options| {
            options.fsync = Durability::Remote;
            (options.store.idle, options.store.age) = (LONG, LONG);
        })
        .await;
    let fs = &machine.fs;
    let (work, other) = (bucket(fs, "work").await, bucket(fs, "other").await);
    put(fs, work, "file", b"small").await;
    put(fs, other, "old", b"small").await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    until("names are decided here", async || fs.state().leases == 2).await;
    // What cannot be stored holds up what is built on it.
    world.cluster.kill_node(0);
    put(fs, other, "new", &noise(4, MUCH)).await;
    fs.rename(other, b"new", other, b"old", RenameFlags::default()).await.unwrap();
    fs.mkdir(work, b"dir", 0o755, ME).await.unwrap();
    let ((here, _), (there, _)) = (fs.opendir(work).await.unwrap(), fs.opendir(other).await.unwrap());
    fs.fsyncdir(here, false).await.unwrap();
    world.user.ok(["stat", "work", "dir"]);
    assert!(fs.fsyncdir(there, false).await.is_err(), "what cannot be sent there is said to who asks for that");
    fs.releasedir(here);
    fs.releasedir(there);
    world.cluster.start_node(0);
    fs.shutdown().await;
}
