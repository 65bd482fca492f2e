//! A directory with more names than are remembered, and a file that is longer than what is kept of what was written.

use std::collections::BTreeSet;

use cyx_fs::vfs::RenameFlags;
use cyx_fs::{Errno, Filesystem, Ino, Kind};

use super::alone::alone;
use super::support::{ME, WRITE, World, bucket, content, put, until, walk, write_at};

/// More than the 50,000 that are remembered of one directory.
const NAMES: usize = 52_000;

/// More than a large file has.
const LONG: usize = 66 << 20;

fn name(number: usize) -> String {
    format!("file-{number:05}")
}

async fn all(fs: &Filesystem, at: Ino) -> BTreeSet<String> {
    let (handle, _) = fs.opendir(at).await.unwrap();
    let (mut all, mut cookie) = (BTreeSet::new(), 0);
    loop {
        let part = fs.readdir(handle, cookie, false, 5000).await.unwrap();
        let Some(last) = part.last() else { break };
        cookie = last.cookie;
        all.extend(part.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()));
    }
    fs.releasedir(handle);
    all.remove(".");
    all.remove("..");
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_directory_of_many_names_is_worked_in_and_little_of_it_is_remembered() {
    let world = World::with(&["--write-lease-seconds=600"]);
    let machine = world.machine(|_| {}).await;
    let fs = &machine.fs;
    let work = bucket(fs, "work").await;
    alone(fs, work).await;
    let dir = fs.mkdir(work, b"dir", 0o755, ME).await.unwrap().ino;
    for number in 0..NAMES {
        let made = fs.mknod(dir, name(number).as_bytes(), Kind::File, 0o644, 0, ME).await.unwrap();
        // As the kernel does when it needs the memory.
        fs.forget(made.ino, 1);
    }
    assert_eq!(fs.mkdir(dir, name(7).as_bytes(), 0o755, ME).await.map(|_| ()), Err(Errno::EEXIST));
    assert_eq!(fs.lookup(dir, name(NAMES).as_bytes()).await, Err(Errno::ENOENT));
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    assert!(fs.state().inodes < NAMES as u64, "{}", fs.state().inodes);
    assert_eq!(all(fs, dir).await.len(), NAMES);

    // It is worked in as in any other, without the server too.
    alone(fs, work).await;
    world.cluster.kill_server();
    put(fs, dir, "new", b"new content").await;
    fs.rename(dir, b"new", dir, b"renamed", RenameFlags { no_replace: true, exchange: false }).await.unwrap();
    assert_eq!(fs.lookup(dir, b"new").await, Err(Errno::ENOENT));
    assert_eq!(fs.lookup(dir, b"never there").await, Err(Errno::ENOENT));
    world.cluster.up();
    until("the server is back", async || fs.state().connected).await;
    for number in (0..NAMES).step_by(1000) {
        fs.unlink(dir, name(number).as_bytes()).await.unwrap();
        assert_eq!(fs.unlink(dir, name(number).as_bytes()).await, Err(Errno::ENOENT));
    }
    assert_eq!(fs.rmdir(work, b"dir").await, Err(Errno::ENOTEMPTY));
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    let other = world.machine(|_| {}).await;
    let seen = walk(&other.fs, bucket(&other.fs, "work").await, "dir").await.unwrap().ino;
    let mut wanted: BTreeSet<String> = (0..NAMES).filter(|number| number % 1000 != 0).map(name).collect();
    wanted.insert("renamed".to_owned());
    assert!(all(&other.fs, seen).await == wanted);
    assert!(all(fs, dir).await == wanted);
    let renamed = other.fs.lookup(seen, b"renamed").await.unwrap().ino;
    assert_eq!(content(&other.fs, renamed).await, b"new content");
    // Somebody else's changes are seen in it.
    other.fs.unlink(seen, name(1).as_bytes()).await.unwrap();
    until("the removal is seen", async || fs.lookup(dir, name(1).as_bytes()).await == Err(Errno::ENOENT)).await;
    assert_eq!((fs.state().conflicts, fs.state().last_error), (0, None));
    other.fs.shutdown().await;
    machine.fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_written_in_long_runs_is_cached_only_when_it_is_read() {
    let world = World::new();
    let machine = world.machine(|_| {}).await;
    let fs = &machine.fs;
    let work = bucket(fs, "work").await;
    let cached = || fs.state().cache_bytes;
    let short = cyx_tests::noise(1, 3 << 20);
    put(fs, work, "short", &short).await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    let before = cached();
    assert!(before >= short.len() as u64, "{before}");

    let long = cyx_tests::noise(2, LONG);
    let (made, handle) = fs.create(work, b"long", 0o644, WRITE, ME).await.unwrap();
    // It is known to be long, whenever the first part of it is sent.
    fs.fallocate(handle, 0, 0, LONG as u64).await.unwrap();
    for (at, part) in (0..).step_by(1 << 20).zip(long.chunks(1 << 20)) {
        write_at(fs, handle, at, part).await;
    }
    fs.flush(handle).await.unwrap();
    fs.release(handle).await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    // Short ends of parts may be kept.
    assert!(cached() - before < LONG as u64 / 2, "{} after {before}", cached());
    assert!(content(fs, made.ino).await == long);
    assert!(cached() - before >= LONG as u64, "{} after {before}", cached());
    machine.fs.shutdown().await;
}
