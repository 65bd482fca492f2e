//! Two machines on one bucket: what one does the other sees, and nothing is lost when both do the same.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cyx_fs::vfs::{Durability, Invalidator, Options, RenameFlags};
use cyx_fs::{Errno, Ino, SetAttr, SetTime};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;

use super::alone::{alone, names};
use super::support::{ME, Machine, WRITE, World, bucket, content, list, open_of, put, until, walk, write_at};

/// Remembers what the kernel was told.
#[derive(Default)]
struct Told {
    entries: Mutex<Vec<(Ino, String)>>,
    inodes: Mutex<Vec<(Ino, Range<u64>)>>,
    overtaken: AtomicUsize,
    /// What is to be done when it has forgotten content.
    then: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl Told {
    fn has(&self, parent: Ino, name: &str) -> bool {
        self.entries.lock().unwrap().iter().any(|(at, told)| *at == parent && told == name)
    }

    fn entries_but(&self, names: &[&str]) -> Vec<String> {
        let entries = self.entries.lock().unwrap();
        entries.iter().map(|(_, name)| name.clone()).filter(|name| !names.contains(&name.as_str())).collect()
    }

    fn forgotten(&self) {
        let then = std::mem::take(&mut *self.then.lock().unwrap());
        assert!(!then.is_empty());
        then.into_iter().for_each(|then| then());
    }
}

impl Invalidator for Told {
    fn overtake(&self) {
        self.overtaken.fetch_add(1, Ordering::SeqCst);
    }

    fn inode(&self, ino: Ino, range: Range<u64>) {
        self.inodes.lock().unwrap().push((ino, range));
    }

    fn inode_then(&self, ino: Ino, then: Box<dyn FnOnce() + Send>) {
        self.inode(ino, 0..u64::MAX);
        self.then.lock().unwrap().push(then);
    }

    fn entry(&self, parent: Ino, name: &[u8]) {
        self.entries.lock().unwrap().push((parent, String::from_utf8(name.to_vec()).unwrap()));
    }

    fn delete(&self, parent: Ino, _ino: Ino, name: &[u8]) {
        self.entry(parent, name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_machine_does_the_other_sees_and_its_kernel_is_told_exactly_that() {
    let world = World::new();
    let (here, there) = (world.machine(|_| {}).await, world.machine(|_| {}).await);
    let (a, b) = (bucket(&here.fs, "work").await, bucket(&there.fs, "work").await);
    let (here, there) = (&here.fs, &there.fs);
    put(here, a, "still", b"the same").await;
    assert_eq!(here.drain(&|_| {}).await, Ok(0));
    until("the first file is seen", async || there.lookup(b, b"still").await.is_ok_and(|attr| attr.size == 8)).await;
    let told = Arc::new(Told::default());
    there.set_invalidator(Arc::<Told>::clone(&told));

    // What was known not to exist.
    assert_eq!(there.lookup(b, b"dir").await, Err(Errno::ENOENT));
    list(there, b).await;
    let dir = here.mkdir(a, b"dir", 0o755, ME).await.unwrap();
    until("the directory is seen", async || there.lookup(b, b"dir").await.is_ok()).await;
    until("the kernel is told", async || told.has(b, "dir")).await;
    put(here, dir.ino, "file", b"one").await;
    assert_eq!(here.drain(&|_| {}).await, Ok(0));
    until("the file is seen with its content", async || match walk(there, b, "dir/file").await {
        Ok(attr) => attr.size == 3 && content(there, attr.ino).await == b"one",
        Err(_) => false,
    })
    .await;

    // What is not known there may be asked for just now: such answers are not to be remembered either.
    let unknown = here.create(dir.ino, b"unknown", 0o644, WRITE, ME).await.unwrap();
    assert_eq!(here.drain(&|_| {}).await, Ok(0));
    let known = walk(there, b, "dir").await.unwrap().ino;
    until("its name is told", async || told.has(known, "unknown")).await;
    let overtaken = || told.overtaken.load(Ordering::SeqCst);
    let before = overtaken();
    write_at(here, unknown.1, 0, b"unheard of").await;
    here.release(unknown.1).await;
    assert_eq!(here.drain(&|_| {}).await, Ok(0));
    until("the kernel is told of the unknown", async || overtaken() > before).await;

    // Attributes and content of what is open there.
    let file = walk(there, b, "dir/file").await.unwrap();
    let handle = there.open_file(file.ino, WRITE).await.unwrap();
    let mine = walk(here, a, "dir/file").await.unwrap().ino;
    here.setattr(mine, SetAttr { mode: Some(0o600), ..SetAttr::default() }, ME).await.unwrap();
    until("the mode is seen", async || there.getattr(file.ino, None).await.unwrap().mode == 0o600).await;
    let changed = here.open_file(mine, WRITE).await.unwrap();
    write_at(here, changed, 0, b"two, longer").await;
    here.release(changed).await;
    assert_eq!(here.drain(&|_| {}).await, Ok(0));
    until("the content is seen through a file that was open", async || {
        there.read(handle, 0, 100).await.unwrap() == b"two, longer"[..]
    })
    .await;
    until("the kernel is told", async || told.inodes.lock().unwrap().contains(&(file.ino, 0..u64::MAX))).await;
    there.release(handle).await;

    // Moved, exchanged, removed.
    here.rename(dir.ino, b"file", a, b"moved", RenameFlags::default()).await.unwrap();
    until("the move is seen", async || {
        there.lookup(b, b"moved").await.is_ok() && walk(there, b, "dir/file").await == Err(Errno::ENOENT)
    })
    .await;
    assert_eq!(walk(there, b, "moved").await.unwrap().ino, file.ino);
    here.unlink(a, b"moved").await.unwrap();
    until("the removal is seen", async || there.lookup(b, b"moved").await == Err(Errno::ENOENT)).await;
    here.unlink(dir.ino, b"unknown").await.unwrap();
    here.rmdir(a, b"dir").await.unwrap();
    until("the directory is gone", async || there.lookup(b, b"dir").await == Err(Errno::ENOENT)).await;
    assert_eq!(told.entries_but(&["dir", "file", "unknown", "moved"]), [] as [&str; 0], "nothing else was touched");
    here.shutdown().await;
    there.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_of_the_command_line_are_seen_although_it_has_the_same_session() {
    let world = World::new();
    let machine = world.machine(|_| {}).await;
    let fs = &machine.fs;
    let work = bucket(fs, "work").await;
    list(fs, work).await;
    assert_eq!(fs.lookup(work, b"uploaded").await, Err(Errno::ENOENT));
    world.user.write("work", "uploaded", b"from elsewhere");
    until("the upload is seen", async || match fs.lookup(work, b"uploaded").await {
        Ok(attr) => content(fs, attr.ino).await == b"from elsewhere",
        Err(_) => false,
    })
    .await;
    world.user.write("work", "uploaded", b"again, and longer");
    let ino = walk(fs, work, "uploaded").await.unwrap().ino;
    until("the new version is seen", async || content(fs, ino).await == b"again, and longer").await;
    world.user.ok(["delete", "work", "uploaded"]);
    until("the deletion is seen", async || fs.lookup(work, b"uploaded").await == Err(Errno::ENOENT)).await;
    fs.shutdown().await;
}

/// Ends the write lease of a machine without its knowledge, as the server's clock does while the machine sleeps.
async fn end_lease(world: &World, machine: &Machine, name: &str) {
    let client = world.client().await;
    let bucket = client.bucket(name).await.unwrap().id;
    // In its place: whoever has its session and its name as a holder gets a lease anew.
    let holder = std::fs::read_to_string(machine.folder.path().join("holder")).unwrap();
    let request = pb::AcquireWriteLeaseRequest { bucket: bytes_of(bucket), holder };
    let lease = client.meta.acquire_write_lease(request).await.unwrap();
    let request = pb::ReleaseWriteLeaseRequest { bucket: bytes_of(bucket), lease: lease.lease };
    client.meta.release_write_lease(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_others_do_after_the_lease_ended_unnoticed_is_not_taken_for_this_machines_own() {
    // It is not renewed before the end of the test.
    let world = World::with(&["--write-lease-seconds=7200"]);
    let here = world.machine(|_| {}).await;
    let folder = tempfile::tempdir().unwrap();
    let there = open_of(&world.user.elsewhere(&world.cluster), folder.path(), |_| {}).await;
    let (a, b) = (bucket(&here.fs, "work").await, bucket(&there, "work").await);
    put(&here.fs, a, "old", b"").await;
    put(&here.fs, a, "file", b"before").await;
    assert_eq!(here.fs.drain(&|_| {}).await, Ok(0));
    until("the other has the file", async || walk(&there, b, "file").await.is_ok_and(|attr| attr.size == 6)).await;
    alone(&here.fs, a).await;
    assert_eq!(names(&here.fs, a).await, ["file", "old"]);

    end_lease(&world, &here, "work").await;
    there.rename(b, b"old", b, b"new", RenameFlags::default()).await.unwrap();
    let handle = there.open_file(walk(&there, b, "file").await.unwrap().ino, WRITE).await.unwrap();
    write_at(&there, handle, 0, b"and afterwards").await;
    there.release(handle).await;
    assert_eq!(there.drain(&|_| {}).await, Ok(0));
    until("the rename is seen", async || names(&here.fs, a).await == ["file", "new"]).await;
    let file = walk(&here.fs, a, "file").await.unwrap().ino;
    until("the content is seen", async || content(&here.fs, file).await == b"and afterwards").await;

    // Whoever has the same session cannot be told from this machine, until the server says that the lease is over.
    world.user.write("work", "uploaded", b"by the command line");
    there.mkdir(b, b"mark", 0o755, ME).await.unwrap();
    until("what came behind it is seen", async || here.fs.lookup(a, b"mark").await.is_ok()).await;
    here.fs.mkdir(a, b"mine", 0o755, ME).await.unwrap();
    assert_eq!(here.fs.drain(&|_| {}).await, Ok(0));
    until("all of it is seen", async || names(&here.fs, a).await == ["file", "mark", "mine", "new", "uploaded"]).await;
    here.fs.shutdown().await;
    there.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_kernel_forgets_what_it_keeps_of_an_append_that_went_elsewhere() {
    let world = World::new();
    let here = world.machine(|_| {}).await;
    let work = bucket(&here.fs, "work").await;
    let file = put(&here.fs, work, "log", b"12345678").await;
    assert_eq!(here.fs.drain(&|_| {}).await, Ok(0));
    let told = Arc::new(Told::default());
    here.fs.set_invalidator(Arc::<Told>::clone(&told));
    let handle = here.fs.open_file(file, WRITE).await.unwrap();
    assert_eq!(here.fs.append(handle, 8, Bytes::from_static(b"abc")).await, Ok(3));
    assert_eq!(*told.inodes.lock().unwrap(), []);
    // It does not know of the last ones yet.
    assert_eq!(here.fs.append(handle, 8, Bytes::from_static(b"def")).await, Ok(3));
    assert_eq!(*told.inodes.lock().unwrap(), [(file, 0..u64::MAX)]);
    here.fs.release(handle).await;
    assert_eq!(content(&here.fs, file).await, b"12345678abcdef");
    here.fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_machine_goes_on_where_it_was_after_the_server_was_away() {
    let world = World::new();
    let (here, there) = (world.machine(|_| {}).await, world.machine(|_| {}).await);
    let (a, b) = (bucket(&here.fs, "work").await, bucket(&there.fs, "work").await);
    put(&here.fs, a, "before", b"1").await;
    assert_eq!(here.fs.drain(&|_| {}).await, Ok(0));
    until("the first file is seen", async || there.fs.lookup(b, b"before").await.is_ok_and(|attr| attr.size == 1))
        .await;
    assert_eq!(list(&there.fs, b).await.len(), 1);
    world.cluster.kill_server();
    until("the loss is noticed", async || !there.fs.state().connected).await;
    // What is known is still there, whoever asks, as long as it takes.
    assert_eq!(bucket(&there.fs, "work").await, b);
    assert_eq!(walk(&there.fs, b, "before").await.unwrap().size, 1);
    assert_eq!(list(&there.fs, b).await.len(), 1);
    // And what is done is kept until it can be sent.
    until("it is known to be away", async || there.fs.mkdir(b, b"new", 0o755, ME).await.is_ok()).await;
    assert_eq!(there.fs.mkdir(b, b"new", 0o755, ME).await.map(|_| ()), Err(Errno::EEXIST));
    world.cluster.up();
    until("what was made meanwhile is seen", async || here.fs.lookup(a, b"new").await.is_ok()).await;
    put(&here.fs, a, "after", b"2").await;
    until("what came after is seen", async || there.fs.lookup(b, b"after").await.is_ok()).await;
    until("the stream stands again", async || there.fs.state().connected && here.fs.state().connected).await;
    here.fs.unlink(a, b"before").await.unwrap();
    until("and goes on", async || there.fs.lookup(b, b"before").await == Err(Errno::ENOENT)).await;
    here.fs.shutdown().await;
    there.fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_machines_that_write_one_file_keep_both() {
    let world = World::new();
    // This one commits only when it is told to.
    let slow = world
        .machine(|options| {
            options.store.idle = Duration::from_secs(3600);
            options.store.age = Duration::from_secs(3600);
        })
        .await;
    let fast = world.machine(|_| {}).await;
    let (a, b) = (bucket(&slow.fs, "work").await, bucket(&fast.fs, "work").await);
    let dir = slow.fs.mkdir(a, b"dir", 0o755, ME).await.unwrap();
    let mine = put(&slow.fs, dir.ino, "notes.txt", b"common").await;
    assert_eq!(slow.fs.drain(&|_| {}).await, Ok(0));
    until("both have the file", async || walk(&fast.fs, b, "dir/notes.txt").await.is_ok_and(|attr| attr.size == 6))
        .await;

    let handle = slow.fs.open_file(mine, WRITE).await.unwrap();
    write_at(&slow.fs, handle, 0, b"written by the slow one").await;
    let theirs = walk(&fast.fs, b, "dir/notes.txt").await.unwrap().ino;
    let other = fast.fs.open_file(theirs, WRITE).await.unwrap();
    write_at(&fast.fs, other, 0, b"written by the fast one, which wins").await;
    fast.fs.release(other).await;
    assert_eq!(fast.fs.drain(&|_| {}).await, Ok(0));
    slow.fs.release(handle).await;
    assert_eq!(slow.fs.drain(&|_| {}).await, Ok(0), "the copy is committed too");

    assert_eq!(slow.fs.state().conflicts, 1);
    until("the winner is what the file holds", async || {
        content(&slow.fs, mine).await == b"written by the fast one, which wins"
    })
    .await;
    for (fs, root) in [(&slow.fs, a), (&fast.fs, b)] {
        until("the copy is seen", async || {
            let Ok(dir) = walk(fs, root, "dir").await else { return false };
            let listed = list(fs, dir.ino).await;
            let copy = listed.iter().find(|(name, ..)| name.starts_with("notes.txt (conflict desk "));
            match copy {
                Some((_, _, attr)) => content(fs, attr.ino).await == b"written by the slow one",
                None => false,
            }
        })
        .await;
    }
    slow.fs.shutdown().await;
    fast.fs.shutdown().await;
    drop((slow.folder, fast.folder));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mapped_pages_of_an_older_version_do_not_replace_what_somebody_else_wrote() {
    let world = World::new();
    let mapping = world.machine(|_| {}).await;
    let other = world.machine(|_| {}).await;
    let kernel = Arc::new(Told::default());
    mapping.fs.set_invalidator(Arc::<Told>::clone(&kernel));
    let (a, b) = (bucket(&mapping.fs, "work").await, bucket(&other.fs, "work").await);
    let mine = put(&mapping.fs, a, "pages", b"common to both").await;
    assert_eq!(mapping.fs.drain(&|_| {}).await, Ok(0));
    let handle = mapping.fs.open_file(mine, WRITE).await.unwrap();
    until("the other one has it", async || walk(&other.fs, b, "pages").await.is_ok_and(|attr| attr.size == 14)).await;

    let theirs = walk(&other.fs, b, "pages").await.unwrap().ino;
    let over = other.fs.open_file(theirs, WRITE).await.unwrap();
    write_at(&other.fs, over, 0, b"written by the other one").await;
    other.fs.release(over).await;
    assert_eq!(other.fs.drain(&|_| {}).await, Ok(0));
    until("its version is known", async || walk(&mapping.fs, a, "pages").await.is_ok_and(|attr| attr.size == 24)).await;
    // As the kernel does when it is told to forget the pages, and finds that a program has changed them.
    assert_eq!(mapping.fs.write_back(handle, 0, Bytes::from_static(b"mapped, common")).await, Ok(14));
    mapping.fs.release(handle).await;
    assert_eq!(mapping.fs.drain(&|_| {}).await, Ok(0));

    assert_eq!(mapping.fs.state().conflicts, 1);
    until("theirs stays", async || content(&mapping.fs, mine).await == b"written by the other one").await;
    assert_eq!(content(&other.fs, theirs).await, b"written by the other one");
    let listed = list(&mapping.fs, a).await;
    let (name, _, copy) = listed.iter().find(|(name, ..)| name.starts_with("pages (conflict desk ")).unwrap();
    assert_eq!(content(&mapping.fs, copy.ino).await, b"mapped, common");

    // Programs may go on changing pages of the copied version until the kernel has forgotten them.
    let handle = mapping.fs.open_file(mine, WRITE).await.unwrap();
    assert_eq!(mapping.fs.write_back(handle, 0, Bytes::from_static(b"MAPPED")).await, Ok(6));
    assert_eq!(content(&mapping.fs, copy.ino).await, b"MAPPED, common");
    mapping.fs.release(handle).await;
    assert_eq!(mapping.fs.drain(&|_| {}).await, Ok(0));
    assert_eq!(content(&mapping.fs, mine).await, b"written by the other one");
    let theirs = walk(&other.fs, b, name).await.unwrap().ino;
    until("the copy is committed", async || content(&other.fs, theirs).await == b"MAPPED, common").await;

    // The pages are read anew then, and belong to the version that is here.
    kernel.forgotten();
    let handle = mapping.fs.open_file(mine, WRITE).await.unwrap();
    assert_eq!(mapping.fs.write_back(handle, 0, Bytes::from_static(b"mapped!")).await, Ok(7));
    mapping.fs.release(handle).await;
    assert_eq!(mapping.fs.drain(&|_| {}).await, Ok(0));
    assert_eq!(content(&mapping.fs, mine).await, b"mapped! by the other one");
    assert_eq!(mapping.fs.state().conflicts, 1);
    mapping.fs.shutdown().await;
    other.fs.shutdown().await;
    drop((mapping.folder, other.folder));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_close_remote_a_cut_is_committed_when_the_file_is_closed_or_was_named() {
    let world = World::new();
    let here = world.machine(|options| options.close = Durability::Remote).await;
    let work = bucket(&here.fs, "work").await;
    let file = put(&here.fs, work, "file", b"some text").await;
    let cut = |size, handle| SetAttr { size: Some(size), handle, ..SetAttr::default() };
    here.fs.setattr(file, cut(4, None), ME).await.unwrap();
    assert_eq!((here.fs.state().dirty_files, world.user.read("work", "file")), (0, b"some".to_vec()));
    let handle = here.fs.open_file(file, WRITE).await.unwrap();
    here.fs.setattr(file, cut(2, Some(handle)), ME).await.unwrap();
    here.fs.flush(handle).await.unwrap();
    assert_eq!((here.fs.state().dirty_files, world.user.read("work", "file")), (0, b"so".to_vec()));
    here.fs.release(handle).await;
    // As the kernel opens a file that is to be cut: nobody sees it without what is written then.
    let handle = here.fs.open_file(file, WRITE).await.unwrap();
    here.fs.setattr(file, cut(0, None), ME).await.unwrap();
    assert_eq!((here.fs.state().dirty_files, world.user.read("work", "file")), (1, b"so".to_vec()));
    write_at(&here.fs, handle, 0, b"another").await;
    here.fs.flush(handle).await.unwrap();
    assert_eq!((here.fs.state().dirty_files, world.user.read("work", "file")), (0, b"another".to_vec()));
    here.fs.release(handle).await;
    let handle = here.fs.open_file(file, WRITE).await.unwrap();
    here.fs.setattr(file, cut(0, None), ME).await.unwrap();
    here.fs.flush(handle).await.unwrap();
    assert_eq!((here.fs.state().dirty_files, world.user.read("work", "file")), (0, Vec::new()));
    here.fs.release(handle).await;

    // What cannot be committed is cut here, whatever the kernel makes of the error.
    let told = Arc::new(Told::default());
    here.fs.set_invalidator(Arc::<Told>::clone(&told));
    let frozen = world.cluster.freeze_server();
    assert_eq!(here.fs.setattr(file, cut(7, None), ME).await, Err(Errno::EIO));
    assert!(told.inodes.lock().unwrap().contains(&(file, 0..0)));
    assert_eq!(here.fs.getattr(file, None).await.unwrap().size, 7);
    drop(frozen);
    until("the cut is committed", async || world.user.read("work", "file") == [0; 7]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_that_a_killed_mount_did_not_come_to_write_is_gone_on_with_unless_somebody_wrote_to_it() {
    const COPY: &str = "notes.txt (conflict desk 2026-11-26 221530)";
    const SECOND: &str = "notes.txt (conflict desk 2026-11-26 221530 2)";
    let world = World::new();
    let fast = world.machine(|_| {}).await;
    let b = bucket(&fast.fs, "work").await;
    let dir = fast.fs.mkdir(b, b"dir", 0o755, ME).await.unwrap().ino;
    for theirs in [&b""[..], b"somebody's"] {
        let folder = tempfile::tempdir().unwrap();
        let late = |options: &mut Options| {
            options.store.idle = Duration::from_secs(3600);
            options.store.age = Duration::from_secs(3600);
        };
        let original = put(&fast.fs, dir, "notes.txt", b"common").await;
        assert_eq!(fast.fs.drain(&|_| {}).await, Ok(0));
        let slow = world.open(folder.path(), late).await;
        let mine = walk(&slow, bucket(&slow, "work").await, "dir/notes.txt").await.unwrap().ino;
        let handle = slow.open_file(mine, WRITE).await.unwrap();
        write_at(&slow, handle, 0, b"written by the slow one").await;
        // The name of the copy tells when it was written.
        let mtime = Some(SetTime::At(1_795_731_330_000_000_000));
        slow.setattr(mine, SetAttr { mtime, ..SetAttr::default() }, ME).await.unwrap();
        slow.fsync(handle, false).await.unwrap();
        slow.shutdown().await;
        drop(slow);

        let handle = fast.fs.open_file(original, WRITE).await.unwrap();
        write_at(&fast.fs, handle, 0, b"written by the fast one").await;
        fast.fs.release(handle).await;
        put(&fast.fs, dir, COPY, theirs).await;
        assert_eq!(fast.fs.drain(&|_| {}).await, Ok(0));

        let slow = world.open(folder.path(), |_| {}).await;
        assert_eq!(slow.drain(&|_| {}).await, Ok(0));
        let work = bucket(&slow, "work").await;
        assert_eq!(names(&slow, work).await, ["dir"]);
        let mut wanted = vec![("notes.txt", &b"written by the fast one"[..])];
        if theirs.is_empty() {
            wanted.push((COPY, b"written by the slow one"));
        } else {
            wanted.extend([(SECOND, &b"written by the slow one"[..]), (COPY, theirs)]);
        }
        let found = names(&slow, walk(&slow, work, "dir").await.unwrap().ino).await;
        assert_eq!(found, wanted.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        for (name, data) in wanted {
            let path = format!("dir/{name}");
            assert_eq!(content(&slow, walk(&slow, work, &path).await.unwrap().ino).await, data, "{path}");
            slow.unlink(walk(&slow, work, "dir").await.unwrap().ino, name.as_bytes()).await.unwrap();
        }
        assert_eq!(slow.drain(&|_| {}).await, Ok(0));
        slow.shutdown().await;
    }
    fast.fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_close_remote_whoever_closes_waits_for_what_was_written_by_another_way() {
    let world = World::new();
    let change = |options: &mut Options| {
        options.close = Durability::Remote;
        options.store.idle = Duration::from_secs(3600);
    };
    let here = world.machine(change).await;
    let work = bucket(&here.fs, "work").await;
    let file = put(&here.fs, work, "file", b"some text").await;
    let first = here.fs.open_file(file, WRITE).await.unwrap();
    let second = here.fs.open_file(file, WRITE).await.unwrap();
    write_at(&here.fs, first, 0, b"more").await;
    here.fs.flush(second).await.unwrap();
    assert_eq!((here.fs.state().dirty_files, world.user.read("work", "file")), (0, b"more text".to_vec()));
    here.fs.release(first).await;
    here.fs.release(second).await;
    here.fs.shutdown().await;
}
