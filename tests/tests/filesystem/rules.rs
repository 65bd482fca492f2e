//! What single operations promise: numbers of errors, times, counts, what open files see.

use std::time::Duration;

use bytes::Bytes;
use cyx_client::tree::change::NewKind;
use cyx_fs::vfs::{RenameFlags, Seek, SetXattr};
use cyx_fs::{Caller, Errno, Kind, ROOT_INO, SetAttr, SetTime};
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;

use super::alone::{alone, names};
use super::support::{ME, NEW, READ, WRITE, World, bucket, content, list, put, until, walk, write_at};

const PLAIN: RenameFlags = RenameFlags { no_replace: false, exchange: false };
const NO_REPLACE: RenameFlags = RenameFlags { no_replace: true, exchange: false };
const EXCHANGE: RenameFlags = RenameFlags { no_replace: false, exchange: true };

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_rule_of_names_and_open_files_is_kept() {
    let world = World::new();
    let machine = world.machine(|_| {}).await;
    let fs = &machine.fs;
    let work = bucket(fs, "work").await;

    // Names.
    let long = [b'x'; 256];
    assert_eq!(fs.lookup(work, &long).await, Err(Errno::ENAMETOOLONG));
    assert_eq!(fs.mkdir(work, &long, 0o755, ME).await, Err(Errno::ENAMETOOLONG));
    let longest = fs.mkdir(work, &long[..255], 0o755, ME).await.unwrap();
    assert_eq!(fs.lookup(work, &long[..255]).await.unwrap().ino, longest.ino);
    fs.rmdir(work, &long[..255]).await.unwrap();
    assert_eq!(fs.lookup(work, b"nothing").await, Err(Errno::ENOENT));
    assert_eq!(fs.mkdir(work, b"..", 0o755, ME).await, Err(Errno::EEXIST));
    assert_eq!(fs.symlink(work, b"l", &[b'x'; 4096], ME).await, Err(Errno::ENAMETOOLONG));

    // Kinds.
    let file = put(fs, work, "file", b"content").await;
    let dir = fs.mkdir(work, b"dir", 0o750, ME).await.unwrap();
    let link = fs.symlink(work, b"link", b"../else/where", ME).await.unwrap();
    let fifo = fs.mknod(work, b"fifo", Kind::Fifo, 0o600, 7, ME).await.unwrap();
    let device = fs.mknod(work, b"device", Kind::CharDevice, 0o600, 0x0103, ME).await.unwrap();
    assert_eq!((dir.kind, dir.mode, dir.nlink, dir.uid, dir.gid), (Kind::Directory, 0o750, 2, 1000, 100));
    assert_eq!((link.kind, link.size), (Kind::Symlink, 13));
    assert_eq!(fs.readlink(link.ino).await.unwrap(), b"../else/where");
    assert_eq!(fs.readlink(file).await, Err(Errno::EINVAL));
    assert_eq!((fifo.kind, fifo.rdev, device.rdev), (Kind::Fifo, 0, 0x0103));
    assert_eq!(fs.getattr(work, None).await.unwrap().nlink, 3);
    assert_eq!(fs.lookup(file, b"x").await, Err(Errno::ENOTDIR));
    assert_eq!(fs.create(work, b"file", 0o644, NEW, ME).await.map(|_| ()), Err(Errno::EEXIST));
    assert_eq!(fs.create(work, b"dir", 0o644, WRITE, ME).await.map(|_| ()), Err(Errno::EISDIR));
    assert_eq!(fs.unlink(work, b"dir").await, Err(Errno::EISDIR));
    assert_eq!(fs.rmdir(work, b"file").await, Err(Errno::ENOTDIR));
    assert_eq!(fs.rmdir(work, b"nothing").await, Err(Errno::ENOENT));

    // A directory with the set-group-id bit.
    let set = SetAttr { mode: Some(0o2775), gid: Some(77), ..SetAttr::default() };
    fs.setattr(dir.ino, set, ME).await.unwrap();
    let below = fs.mkdir(dir.ino, b"below", 0o755, ME).await.unwrap();
    assert_eq!((below.mode, below.gid), (0o2755, 77));
    let plain = fs.mknod(dir.ino, b"plain", Kind::File, 0o644, 0, ME).await.unwrap();
    assert_eq!((plain.mode, plain.gid), (0o644, 77));
    assert_eq!(fs.rmdir(work, b"dir").await, Err(Errno::ENOTEMPTY));

    // Links.
    let linked = fs.link(file, dir.ino, b"second").await.unwrap();
    assert_eq!((linked.ino, linked.nlink), (file, 2));
    assert_eq!(fs.link(dir.ino, work, b"no").await, Err(Errno::EPERM));
    assert_eq!(fs.link(file, dir.ino, b"second").await, Err(Errno::EEXIST));
    assert_eq!(fs.rename(work, b"file", dir.ino, b"second", PLAIN).await, Ok(()), "two names of one file");
    assert_eq!(fs.getattr(file, None).await.unwrap().nlink, 2);
    fs.unlink(dir.ino, b"second").await.unwrap();
    assert_eq!(fs.getattr(file, None).await.unwrap().nlink, 1);

    // Renames.
    assert_eq!(fs.rename(work, b"file", work, b"dir", PLAIN).await, Err(Errno::EISDIR));
    assert_eq!(fs.rename(work, b"dir", work, b"file", PLAIN).await, Err(Errno::ENOTDIR));
    assert_eq!(fs.rename(work, b"dir", below.ino, b"x", PLAIN).await, Err(Errno::EINVAL), "below itself");
    assert_eq!(fs.rename(work, b"file", work, b"link", NO_REPLACE).await, Err(Errno::EEXIST));
    assert_eq!(fs.rename(work, b"file", work, b"no", EXCHANGE).await, Err(Errno::ENOENT));
    fs.rename(work, b"file", dir.ino, b"plain", EXCHANGE).await.unwrap();
    assert_eq!(fs.lookup(work, b"file").await.unwrap().ino, plain.ino);
    assert_eq!(fs.lookup(dir.ino, b"plain").await.unwrap().ino, file);
    fs.rename(dir.ino, b"plain", work, b"file", PLAIN).await.unwrap();
    assert_eq!(content(fs, walk(fs, work, "file").await.unwrap().ino).await, b"content");
    fs.mkdir(work, b"empty", 0o755, ME).await.unwrap();
    fs.rename(dir.ino, b"below", work, b"empty", PLAIN).await.unwrap();
    assert_eq!(fs.lookup(work, b"empty").await.unwrap().ino, below.ino);
    assert_eq!(fs.getattr(dir.ino, None).await.unwrap().nlink, 2);
    assert_eq!(fs.rmdir(work, b"dir").await, Ok(()));

    // Removed and still open.
    let handle = fs.open_file(file, WRITE).await.unwrap();
    fs.unlink(work, b"file").await.unwrap();
    assert_eq!(fs.lookup(work, b"file").await, Err(Errno::ENOENT));
    write_at(fs, handle, 7, b" and more").await;
    assert_eq!(fs.read(handle, 0, 100).await.unwrap(), &b"content and more"[..]);
    let gone = fs.getattr(file, Some(handle)).await.unwrap();
    assert_eq!((gone.nlink, gone.size), (0, 16));
    fs.release(handle).await;

    // Times of what surrounds a change.
    let times = async |ino| {
        let attr = fs.getattr(ino, None).await.unwrap();
        (attr.mtime_ns, attr.ctime_ns)
    };
    let before = times(work).await;
    put(fs, work, "timed", b"x").await;
    let after = times(work).await;
    assert!(after.0 > before.0 && after.1 > before.1);
    assert_eq!(fs.unlink(work, b"nothing").await, Err(Errno::ENOENT));
    assert_eq!(times(work).await, after, "a failure changes nothing");
    let timed = walk(fs, work, "timed").await.unwrap();
    let set = SetAttr { mtime: Some(SetTime::At(1_000_000_001)), atime: Some(SetTime::At(5)), ..SetAttr::default() };
    let set = fs.setattr(timed.ino, set, ME).await.unwrap();
    assert_eq!((set.mtime_ns, set.atime_ns), (1_000_000_001, 5));
    assert!(set.ctime_ns > timed.ctime_ns);
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    let committed = fs.getattr(timed.ino, None).await.unwrap();
    assert_eq!(committed.mtime_ns, 1_000_000_001, "the commit carries the time that was set");

    // Length.
    let cut = SetAttr { size: Some(0), ..SetAttr::default() };
    assert_eq!(fs.setattr(timed.ino, cut, ME).await.unwrap().size, 0);
    assert_eq!(fs.setattr(work, cut, ME).await, Err(Errno::EISDIR));
    let handle = fs.open_file(timed.ino, WRITE).await.unwrap();
    write_at(fs, handle, 100_000, b"end").await;
    assert_eq!(fs.lseek(handle, 0, Seek::Data).await, Ok(100_000));
    assert_eq!(fs.lseek(handle, 100_003, Seek::Data).await, Err(Errno::ENXIO));
    fs.fallocate(handle, 0x03, 100_000, 2).await.unwrap();
    assert_eq!(fs.read(handle, 99_999, 10).await.unwrap(), &b"\0\0\0d"[..]);
    assert_eq!(fs.fallocate(handle, 0x08, 0, 4096).await, Err(Errno::EOPNOTSUPP));
    fs.release(handle).await;

    // Extended attributes.
    let of = |name: &'static [u8]| async move { fs.getxattr(timed.ino, name).await };
    assert_eq!(of(b"user.a").await, Err(Errno::ENODATA));
    assert_eq!(fs.setxattr(timed.ino, b"user.a", b"1", SetXattr::Replace).await, Err(Errno::ENODATA));
    fs.setxattr(timed.ino, b"user.a", b"1", SetXattr::Create).await.unwrap();
    assert_eq!(fs.setxattr(timed.ino, b"user.a", b"2", SetXattr::Create).await, Err(Errno::EEXIST));
    fs.setxattr(timed.ino, b"user.a", b"2", SetXattr::Any).await.unwrap();
    fs.setxattr(timed.ino, b"user.b", b"", SetXattr::Any).await.unwrap();
    assert_eq!(of(b"user.a").await.unwrap(), &b"2"[..]);
    fs.setxattr(timed.ino, b"trusted.a", b"1", SetXattr::Any).await.unwrap();
    assert_eq!(fs.listxattr(timed.ino, ME).await.unwrap(), &b"user.a\0user.b\0"[..]);
    let root = Caller { uid: 0, ..ME };
    assert_eq!(fs.listxattr(timed.ino, root).await.unwrap(), &b"trusted.a\0user.a\0user.b\0"[..]);
    fs.removexattr(timed.ino, b"trusted.a").await.unwrap();
    assert_eq!(fs.setxattr(timed.ino, b"user.c", &vec![0; 65_537], SetXattr::Any).await, Err(Errno::E2BIG));
    assert_eq!(fs.setxattr(timed.ino, b"system.posix_acl_access", b"", SetXattr::Any).await, Err(Errno::EOPNOTSUPP));
    fs.removexattr(timed.ino, b"user.a").await.unwrap();
    assert_eq!(fs.removexattr(timed.ino, b"user.a").await, Err(Errno::ENODATA));
    assert_eq!(of(b"user.b").await.unwrap(), &b""[..]);

    // The list of buckets.
    let second = fs.mkdir(ROOT_INO, b"second", 0o755, ME).await.unwrap();
    assert_eq!(fs.mkdir(ROOT_INO, b"second", 0o755, ME).await, Err(Errno::EEXIST));
    assert_eq!(fs.create(ROOT_INO, b"file", 0o644, WRITE, ME).await.map(|_| ()), Err(Errno::EPERM));
    assert_eq!(fs.unlink(ROOT_INO, b"second").await, Err(Errno::EPERM));
    assert_eq!(fs.rename(ROOT_INO, b"second", ROOT_INO, b"third", PLAIN).await, Err(Errno::EPERM));
    assert_eq!(fs.rename(work, b"timed", second.ino, b"timed", PLAIN).await, Err(Errno::EXDEV));
    assert_eq!(fs.link(timed.ino, second.ino, b"timed").await, Err(Errno::EXDEV));
    put(fs, second.ino, "file", b"1").await;
    assert_eq!(fs.rmdir(ROOT_INO, b"second").await, Err(Errno::ENOTEMPTY));
    fs.unlink(second.ino, b"file").await.unwrap();
    fs.rmdir(ROOT_INO, b"second").await.unwrap();
    assert_eq!(fs.lookup(ROOT_INO, b"second").await, Err(Errno::ENOENT));
    let names: Vec<String> = list(fs, ROOT_INO).await.into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["work"]);
    let space = fs.statfs().await.unwrap();
    assert!(space.free > 0 && space.free <= space.blocks);
    fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_changed_through_a_read_only_mount() {
    let world = World::new();
    world.user.write("work", "file", b"content");
    let machine = world.machine(|options| options.read_only = true).await;
    let fs = &machine.fs;
    let work = bucket(fs, "work").await;
    let file = walk(fs, work, "file").await.unwrap().ino;
    assert_eq!(content(fs, file).await, b"content");
    assert_eq!(fs.open_file(file, WRITE).await.map(|_| ()), Err(Errno::EROFS));
    assert_eq!(fs.create(work, b"new", 0o644, WRITE, ME).await.map(|_| ()), Err(Errno::EROFS));
    assert_eq!(fs.mkdir(work, b"new", 0o755, ME).await, Err(Errno::EROFS));
    assert_eq!(fs.unlink(work, b"file").await, Err(Errno::EROFS));
    assert_eq!(fs.rename(work, b"file", work, b"new", PLAIN).await, Err(Errno::EROFS));
    assert_eq!(fs.link(file, work, b"new").await, Err(Errno::EROFS));
    assert_eq!(fs.setattr(file, SetAttr { mode: Some(0), ..SetAttr::default() }, ME).await, Err(Errno::EROFS));
    assert_eq!(fs.setxattr(file, b"user.a", b"", SetXattr::Any).await, Err(Errno::EROFS));
    assert_eq!(fs.mkdir(ROOT_INO, b"new", 0o755, ME).await, Err(Errno::EROFS));
    fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_synced_is_there_after_a_crash_and_is_committed_then() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let slow = |options: &mut cyx_fs::vfs::Options| {
        options.store.idle = std::time::Duration::from_secs(3600);
        options.store.age = std::time::Duration::from_secs(3600);
    };
    let fs = world.open(folder.path(), slow).await;
    let work = bucket(&fs, "work").await;
    let (attr, handle) = fs.create(work, b"file", 0o644, NEW, ME).await.unwrap();
    // Its name may be decided here, and is sent behind it.
    until("the server knows it", async || world.user.cyx(["stat", "work", "file"]).code == 0).await;
    write_at(&fs, handle, 0, b"promised").await;
    fs.fsync(handle, false).await.unwrap();
    // Nothing is closed, drained or committed.
    fs.shutdown().await;
    drop(fs);
    assert_eq!(world.user.read("work", "file"), b"");

    let fs = world.open(folder.path(), slow).await;
    let work = bucket(&fs, "work").await;
    let found = walk(&fs, work, "file").await.unwrap();
    assert_eq!((found.ino, found.size), (attr.ino, 8), "the same file has the same number");
    assert_eq!(content(&fs, found.ino).await, b"promised");
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    assert_eq!(world.user.read("work", "file"), b"promised");
    fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rename_over_a_file_is_never_seen_before_its_content() {
    let world = World::new();
    let writer = world.machine(|_| {}).await;
    let reader = world.machine(|_| {}).await;
    let (work, seen) = (bucket(&writer.fs, "work").await, bucket(&reader.fs, "work").await);
    put(&writer.fs, work, "notes", b"version 0").await;
    assert_eq!(writer.fs.drain(&|_| {}).await, Ok(0));
    until("the reader sees the first version", async || match walk(&reader.fs, seen, "notes").await {
        Ok(attr) => content(&reader.fs, attr.ino).await == b"version 0",
        Err(_) => false,
    })
    .await;
    let writing = async {
        for version in 1..=10 {
            put(&writer.fs, work, ".notes.tmp", format!("version {version}").as_bytes()).await;
            writer.fs.rename(work, b".notes.tmp", work, b"notes", PLAIN).await.unwrap();
        }
    };
    let reading = async {
        let mut newest = 0;
        while newest < 10 {
            // There is always a file, and it is never empty.
            let attr = reader.fs.lookup(seen, b"notes").await.unwrap();
            let handle = reader.fs.open_file(attr.ino, READ).await.unwrap();
            let text = String::from_utf8(reader.fs.read(handle, 0, 100).await.unwrap().to_vec()).unwrap();
            reader.fs.release(handle).await;
            reader.fs.forget(attr.ino, 1);
            let version: u32 =
                text.strip_prefix("version ").and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{text:?}"));
            assert!(version >= newest, "{version} after {newest}");
            newest = version;
        }
    };
    tokio::join!(writing, reading);
    writer.fs.shutdown().await;
    reader.fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_link_without_a_target_is_listed_with_its_neighbours_and_can_be_removed() {
    let world = World::new();
    let client = world.client().await;
    let there = client.bucket("work").await.unwrap();
    let prepare = |name: &[u8]| {
        let kind = NewKind::Symlink(b"target");
        there.prepare(&there.root_directory(), name, kind, pb::Attributes::default()).unwrap().operation
    };
    let mut broken = prepare(b"broken");
    let other = prepare(b"other");
    // Sealed for another link.
    let (Some(Op::Create(create)), Some(Op::Create(of))) = (&mut broken.operation, &other.operation) else {
        unreachable!("both are made")
    };
    create.sealed_target = of.sealed_target.clone();
    there.apply_one(vec![broken]).await.unwrap();
    there.apply_one(vec![other]).await.unwrap();

    let machine = world.machine(|_| {}).await;
    let fs = &machine.fs;
    let work = bucket(fs, "work").await;
    put(fs, work, "file", b"content").await;
    assert_eq!(names(fs, work).await, ["broken", "file", "other"]);
    let link = fs.lookup(work, b"broken").await.unwrap();
    assert_eq!((link.kind, link.size), (Kind::Symlink, 0));
    assert_eq!(fs.readlink(link.ino).await, Err(Errno::EIO));
    fs.forget(link.ino, 1);
    fs.unlink(work, b"broken").await.unwrap();
    assert_eq!(names(fs, work).await, ["file", "other"]);
    fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn removing_a_directory_and_moving_out_of_it_do_not_wait_for_each_other() {
    const TIMES: u32 = 5000;
    // Only ends a test that would hang.
    const LIMIT: Duration = Duration::from_secs(300);
    let world = World::with(&["--write-lease-seconds=600"]);
    let machine = world.machine(|_| {}).await;
    let fs = &machine.fs;
    let work = bucket(fs, "work").await;
    // Directories are locked in the order of their numbers, which are random: one lies above another that comes before it.
    let mut number = 0;
    let (above, below) = loop {
        number += 1;
        let above = fs.mkdir(work, format!("above-{number}").as_bytes(), 0o755, ME).await.unwrap().ino;
        let below = fs.mkdir(above, b"below", 0o755, ME).await.unwrap().ino;
        if below < above {
            break (above, below);
        }
    };
    put(fs, below, "file", b"").await;
    alone(fs, work).await;
    let removing = tokio::spawn({
        let fs = fs.clone();
        async move {
            for _ in 0..TIMES {
                assert_eq!(fs.rmdir(above, b"below").await, Err(Errno::ENOTEMPTY));
            }
        }
    });
    let moving = tokio::spawn({
        let fs = fs.clone();
        async move {
            for _ in 0..TIMES {
                assert_eq!(fs.rename(below, b"nothing", above, b"x", PLAIN).await, Err(Errno::ENOENT));
            }
        }
    });
    for task in [removing, moving] {
        tokio::time::timeout(LIMIT, task).await.expect("neither waits for the other").unwrap();
    }
    fs.shutdown().await;
}

/// `fallocate(2)`: zeros.
const ZERO_RANGE: i32 = 0x10;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_grows_to_its_largest_size_and_not_beyond_not_even_by_a_hole() {
    const MOST: u64 = 100_000_000_000;
    let world = World::new();
    let long = Duration::from_secs(3600);
    let machine = world.machine(|options| (options.store.idle, options.store.age) = (long, long)).await;
    let fs = &machine.fs;
    let work = bucket(fs, "work").await;
    let source = put(fs, work, "source", b"ab").await;
    let from = fs.open_file(source, READ).await.unwrap();
    let (attr, to) = fs.create(work, b"file", 0o644, WRITE, ME).await.unwrap();
    let resize = async |size| {
        fs.setattr(attr.ino, SetAttr { size: Some(size), ..SetAttr::default() }, ME).await.map(|attr| attr.size)
    };
    let size = async || fs.getattr(attr.ino, None).await.unwrap().size;

    assert_eq!(fs.write(to, MOST - 1, Bytes::from_static(b"ab")).await, Err(Errno::EFBIG));
    assert_eq!(resize(MOST + 1).await, Err(Errno::EFBIG));
    assert_eq!(fs.fallocate(to, 0, MOST, 1).await, Err(Errno::EFBIG));
    assert_eq!(fs.fallocate(to, ZERO_RANGE, MOST - 1, 2).await, Err(Errno::EFBIG));
    assert_eq!(fs.copy_file_range(from, 0, to, MOST - 1, 2).await, Err(Errno::EFBIG));
    assert_eq!(size().await, 0, "nothing of that was done");

    assert_eq!(fs.write(to, MOST - 1, Bytes::from_static(b"a")).await, Ok(1));
    assert_eq!(fs.append(to, MOST, Bytes::from_static(b"b")).await, Err(Errno::EFBIG));
    assert_eq!((size().await, resize(0).await), (MOST, Ok(0)));
    assert_eq!(resize(MOST).await, Ok(MOST));
    assert_eq!(resize(0).await, Ok(0));
    assert_eq!(fs.fallocate(to, 0, MOST - 1, 1).await, Ok(()));
    assert_eq!((size().await, resize(0).await), (MOST, Ok(0)));
    assert_eq!(fs.fallocate(to, ZERO_RANGE, MOST - 2, 2).await, Ok(()));
    assert_eq!((size().await, resize(0).await), (MOST, Ok(0)));
    assert_eq!(fs.copy_file_range(from, 0, to, MOST - 2, 2).await, Ok(2));
    assert_eq!((size().await, resize(0).await), (MOST, Ok(0)));
    fs.release(to).await;
    fs.release(from).await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    fs.shutdown().await;
}
