//! A journal that is full of what cannot be stored, because the plan is full as well: what sets room free is done all the same.

use std::time::Duration;

use bytes::Bytes;
use cyx_fs::vfs::OpenFlags;
use cyx_fs::{Errno, Filesystem, Handle, SetAttr};

use super::support::{ME, WRITE, World, bucket, content, list, put, until};

/// Appends until there is no room.
async fn fill(fs: &Filesystem, handle: Handle, step: usize) {
    let mut end = 0;
    loop {
        match fs.append(handle, end, Bytes::from(vec![7; step])).await {
            Ok(written) => end += u64::from(written),
            Err(errno) => return assert_eq!(errno, Errno::ENOSPC),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn removing_and_cutting_work_when_nothing_can_be_written_any_more() {
    let world = World::with(&["--plan-free-bytes=3000000"]);
    let machine = world
        .machine(|options| {
            options.store.journal.total = 4 << 20;
            options.store.journal.file = 1 << 20;
            options.store.journal.patience = Duration::from_secs(1);
        })
        .await;
    let fs = &machine.fs;
    let work = bucket(fs, "work").await;
    put(fs, work, "stored", &[1; 2_000_000]).await;
    until("it is stored", async || fs.state().dirty_bytes == 0).await;
    put(fs, work, "cut", &[2; 300_000]).await;
    let (filler, handle) = fs.create(work, b"filler", 0o644, WRITE, ME).await.unwrap();
    for step in [100_000, 1_000, 1] {
        fill(fs, handle, step).await;
    }
    fs.release(handle).await;

    // What needs more room than there is goes on to fail; what sets some free does not.
    let cut = fs.lookup(work, b"cut").await.unwrap().ino;
    fs.setattr(cut, SetAttr { size: Some(10), ..SetAttr::default() }, ME).await.unwrap();
    let flags = OpenFlags { truncate: true, ..WRITE };
    let handle = fs.open_file(cut, flags).await.unwrap();
    fs.release(handle).await;
    fs.mkdir(work, b"kept", 0o755, ME).await.unwrap();
    fs.unlink(work, b"filler").await.unwrap();
    fs.forget(filler.ino, 1);
    fs.unlink(work, b"stored").await.unwrap();
    until("the rest is stored", async || fs.state().dirty_bytes == 0).await;
    put(fs, work, "new", b"there is room again").await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    let there = world.machine(|_| {}).await;
    let work = bucket(&there.fs, "work").await;
    let found = list(&there.fs, work).await;
    let names: Vec<(&str, u64)> = found.iter().map(|(name, _, attr)| (name.as_str(), attr.size)).collect();
    assert_eq!((names[0], names[1].0, names[2]), (("cut", 0), "kept", ("new", 19)));
    assert_eq!(content(&there.fs, found[2].2.ino).await, b"there is room again");
}
