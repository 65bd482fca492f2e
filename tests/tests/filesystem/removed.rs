//! Files and directories that somebody else removes while something in them is not sent yet: it is kept beside, under a name that says so.
//! What this machine removed itself nobody misses.

use std::time::Duration;

use cyx_fs::{Errno, Filesystem, Ino, Kind};
use cyx_tests::Gate;

use super::alone::{alone, names};
use super::away::{PLAIN, SHORT, without_server};
use super::support::{ME, READ, WRITE, World, bucket, content, list, open_of, put, until, walk, write_at};

/// The conflict copies of a directory: the names that they are of, their kind, and what is in those that are files.
async fn copies(fs: &Filesystem, at: Ino) -> Vec<(String, Kind, Vec<u8>)> {
    let mut found = Vec::new();
    for (name, kind, attr) in list(fs, at).await {
        if let Some((of, _)) = name.split_once(" (conflict desk ") {
            let data = if kind == Kind::File { content(fs, attr.ino).await } else { Vec::new() };
            found.push((of.to_owned(), kind, data));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn file(of: &str, data: &[u8]) -> (String, Kind, Vec<u8>) {
    (of.to_owned(), Kind::File, data.to_vec())
}

/// No answer of the server comes any more, which others go on to use; waits until names are not decided under a lease any more.
async fn without_answers(gate: &Gate, fs: &Filesystem, root: Ino) {
    alone(fs, root).await;
    gate.hold();
    until("the lease is over", async || fs.state().leases == 0).await;
    until("it is known to be away", async || fs.lookup(root, b"never asked for").await == Err(Errno::ENOENT)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_written_to_a_file_that_somebody_else_removes_is_kept() {
    let world = World::new();
    let there = world.machine(|options| options.host = "elsewhere".to_owned()).await;
    let here = world.machine(|options| options.store.idle = std::time::Duration::from_secs(3600)).await;
    let (a, b) = (bucket(&there.fs, "work").await, bucket(&here.fs, "work").await);
    for name in ["removed", "replaced", "trashed", "seen"] {
        put(&there.fs, a, name, b"as it was").await;
    }
    put(&there.fs, a, "new", b"what replaces it").await;
    assert_eq!(there.fs.drain(&|_| {}).await, Ok(0));
    let mut open = Vec::new();
    for name in ["removed", "replaced", "trashed", "seen"] {
        let ino = walk(&here.fs, b, name).await.unwrap().ino;
        let handle = here.fs.open_file(ino, WRITE).await.unwrap();
        write_at(&here.fs, handle, 3, name.as_bytes()).await;
        here.fs.fsync(handle, false).await.unwrap();
        open.push((ino, handle));
    }
    there.fs.unlink(a, b"removed").await.unwrap();
    there.fs.unlink(a, b"seen").await.unwrap();
    there.fs.rename(a, b"new", a, b"replaced", PLAIN).await.unwrap();
    assert_eq!(there.fs.drain(&|_| {}).await, Ok(0));
    world.user.ok(["delete", "work", "trashed"]);
    until("it is known here", async || here.fs.getattr(open[3].0, None).await.is_ok_and(|attr| attr.nlink == 0)).await;
    for (_, handle) in &open[..3] {
        here.fs.release(*handle).await;
    }
    here.fs.flush(open[3].1).await.unwrap();
    let wanted = [
        file("removed", b"as removed"),
        file("replaced", b"as replaced"),
        file("seen", b"as seenas"),
        file("trashed", b"as trashed"),
    ];
    until("copies are made", async || copies(&here.fs, b).await.len() == wanted.len()).await;
    // Who has it open still reads what was written, and goes on: that is a file without a name then.
    let (_, handle) = open[3];
    write_at(&here.fs, handle, 0, b"to").await;
    assert_eq!(here.fs.read(handle, 0, 100).await.unwrap(), &b"to seenas"[..]);
    here.fs.release(handle).await;
    for (ino, _) in &open {
        here.fs.forget(*ino, 1);
    }
    assert_eq!(here.fs.drain(&|_| {}).await, Ok(0));
    until("they are seen elsewhere", async || copies(&there.fs, a).await == wanted).await;
    assert_eq!(content(&there.fs, walk(&there.fs, a, "replaced").await.unwrap().ino).await, b"what replaces it");
    assert_eq!((names(&there.fs, a).await.len(), here.fs.state().conflicts), (5, 4));
    here.fs.shutdown().await;
    there.fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_removed_here_leaves_nothing_behind_not_even_after_a_crash() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let mut fs = world.open(folder.path(), |_| {}).await;
    for crash in [false, true] {
        let work = bucket(&fs, "work").await;
        put(&fs, work, "file", b"as it was").await;
        assert_eq!(fs.drain(&|_| {}).await, Ok(0));
        let ino = walk(&fs, work, "file").await.unwrap().ino;
        let handle = fs.open_file(ino, WRITE).await.unwrap();
        write_at(&fs, handle, 0, b"before").await;
        fs.unlink(work, b"file").await.unwrap();
        write_at(&fs, handle, 0, b"behind").await;
        fs.fsync(handle, false).await.unwrap();
        assert_eq!(fs.drain(&|_| {}).await, Ok(0));
        assert_eq!(fs.state().dirty_files, 1, "it is open");
        assert_eq!(fs.read(handle, 0, 100).await.unwrap(), &b"behindwas"[..]);
        if crash {
            fs.shutdown().await;
            drop(fs);
            fs = world.open(folder.path(), |_| {}).await;
        } else {
            fs.release(handle).await;
            fs.forget(ino, 3);
        }
        assert_eq!(fs.drain(&|_| {}).await, Ok(0));
        until("nothing is dirty", async || fs.state().dirty_files == 0).await;
        let state = fs.state();
        assert_eq!((state.conflicts, state.last_error), (0, None));
        assert_eq!(names(&fs, bucket(&fs, "work").await).await, [] as [&str; 0]);
    }
    fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_removal_that_is_refused_gives_back_what_was_written() {
    let world = World::with(&[SHORT]);
    let gate = Gate::to(&world.cluster.gateway());
    let far = world.user.elsewhere_via(&world.cluster, gate.url());
    let folder = tempfile::tempdir().unwrap();
    for restart in [true, false] {
        let mut fs = open_of(&far, folder.path(), |_| {}).await;
        let work = bucket(&fs, "work").await;
        put(&fs, work, "file", b"as it was").await;
        assert_eq!(fs.drain(&|_| {}).await, Ok(0));
        list(&fs, work).await;
        if restart {
            without_server(&world, &fs, work).await;
        } else {
            without_answers(&gate, &fs, work).await;
        }
        let ino = walk(&fs, work, "file").await.unwrap().ino;
        let handle = fs.open_file(ino, WRITE).await.unwrap();
        write_at(&fs, handle, 0, b"written").await;
        fs.release(handle).await;
        fs.unlink(work, b"file").await.unwrap();
        let moves = ["mv", "work", "file", "moved"];
        if restart {
            fs.shutdown().await;
            drop(fs);
            world.cluster.up();
            world.user.ok(moves);
            fs = open_of(&far, folder.path(), |_| {}).await;
        } else {
            world.user.ok(moves);
            gate.release();
            until("the server is heard again", async || fs.state().connected).await;
        }
        let work = bucket(&fs, "work").await;
        assert_eq!(fs.drain(&|_| {}).await, Ok(0));
        until("it is sent", async || world.user.read("work", "moved") == b"writtenas").await;
        until("it is seen here", async || names(&fs, work).await == ["moved"]).await;
        assert_eq!(fs.state().conflicts, 0, "restarted: {restart}");
        fs.unlink(work, b"moved").await.unwrap();
        assert_eq!(fs.drain(&|_| {}).await, Ok(0));
        fs.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_removed_here_stays_so_if_the_mount_ends_before_the_kernel_has_forgotten_it() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        world.open(folder.path(), |options| {
            // Nothing is committed before it is removed.
            options.store.idle = Duration::from_secs(3600);
            options.store.age = Duration::from_secs(3600);
        })
    };
    let fs = open().await;
    let work = bucket(&fs, "work").await;
    let ino = put(&fs, work, "file", b"as it was").await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    let handle = fs.open_file(ino, WRITE).await.unwrap();
    alone(&fs, work).await;
    world.cluster.kill_server();
    write_at(&fs, handle, 0, b"written").await;
    fs.release(handle).await;
    fs.unlink(work, b"file").await.unwrap();
    world.cluster.up();
    until("the removal is sent", async || world.user.ok(["list", "work", "--json"]).json_lines().is_empty()).await;
    // And the answer is here, but for which it would be sent again.
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    fs.shutdown().await;
    drop(fs);
    let fs = open().await;
    let work = bucket(&fs, "work").await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    assert_eq!((names(&fs, work).await, fs.state().conflicts), (vec![], 0));
    fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_new_in_a_directory_that_somebody_else_removed_is_kept_above_it() {
    let world = World::with(&[SHORT]);
    let folder = tempfile::tempdir().unwrap();
    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    for name in ["removed", "trashed"] {
        fs.mkdir(work, name.as_bytes(), 0o755, ME).await.unwrap();
    }
    put(&fs, work, "plain", b"stays").await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    list(&fs, work).await;
    for name in ["removed", "trashed"] {
        let ino = walk(&fs, work, name).await.unwrap().ino;
        list(&fs, ino).await;
    }
    without_server(&world, &fs, work).await;
    for name in ["removed", "trashed"] {
        let at = walk(&fs, work, name).await.unwrap().ino;
        put(&fs, at, &format!("written in {name}"), name.as_bytes()).await;
        put(&fs, at, &format!("empty in {name}"), b"").await;
        fs.symlink(at, format!("link in {name}").as_bytes(), b"somewhere", ME).await.unwrap();
        let sub = fs.mkdir(at, format!("sub of {name}").as_bytes(), 0o755, ME).await.unwrap();
        put(&fs, sub.ino, "below", name.as_bytes()).await;
    }
    let trashed = walk(&fs, work, "trashed").await.unwrap().ino;
    fs.rename(work, b"plain", trashed, b"plain", PLAIN).await.unwrap();
    fs.shutdown().await;
    drop(fs);

    world.cluster.up();
    world.user.ok(["delete", "work", "trashed", "--recursive"]);
    let other = world.machine(|_| {}).await;
    let there = bucket(&other.fs, "work").await;
    other.fs.rmdir(there, b"removed").await.unwrap();
    assert_eq!(other.fs.drain(&|_| {}).await, Ok(0));

    let fs = world.open(folder.path(), |_| {}).await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    let mut wanted = Vec::new();
    for name in ["removed", "trashed"] {
        wanted.push(file(&format!("empty in {name}"), b""));
        wanted.push((format!("link in {name}"), Kind::Symlink, Vec::new()));
        wanted.push((format!("sub of {name}"), Kind::Directory, Vec::new()));
        wanted.push(file(&format!("written in {name}"), name.as_bytes()));
    }
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    until("they are seen elsewhere", async || copies(&other.fs, there).await == wanted).await;
    for (name, kind, attr) in list(&other.fs, there).await {
        if kind == Kind::Directory {
            let of = if name.starts_with("sub of removed") { "removed" } else { "trashed" };
            assert_eq!(content(&other.fs, walk(&other.fs, attr.ino, "below").await.unwrap().ino).await, of.as_bytes());
        }
    }
    // What was to be moved there stays where it was.
    assert_eq!(content(&other.fs, walk(&other.fs, there, "plain").await.unwrap().ino).await, b"stays");
    assert_eq!(names(&other.fs, there).await.len(), 9);
    let handle = fs.open_file(walk(&fs, bucket(&fs, "work").await, "plain").await.unwrap().ino, READ).await.unwrap();
    assert_eq!(fs.read(handle, 0, 100).await.unwrap(), &b"stays"[..]);
    fs.release(handle).await;
    other.fs.shutdown().await;
    fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_still_had_a_name_here_is_kept() {
    let world = World::with(&[SHORT]);
    let folder = tempfile::tempdir().unwrap();
    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    for name in ["one", "linked", "saved", "gone", "old", "first"] {
        put(&fs, work, name, b"as it was").await;
    }
    for (name, second) in [("one", "other"), ("gone", "gone too"), ("first", "second")] {
        let ino = walk(&fs, work, name).await.unwrap().ino;
        fs.link(ino, work, second.as_bytes()).await.unwrap();
    }
    let dir = fs.mkdir(work, b"dir", 0o755, ME).await.unwrap();
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    list(&fs, work).await;
    list(&fs, dir.ino).await;
    without_server(&world, &fs, work).await;
    let write = async |name: &str| {
        let ino = walk(&fs, work, name).await.unwrap().ino;
        let handle = fs.open_file(ino, WRITE).await.unwrap();
        write_at(&fs, handle, 0, b"here").await;
        fs.release(handle).await;
        ino
    };
    // One of two names is removed here, the other one elsewhere.
    write("one").await;
    fs.unlink(work, b"one").await.unwrap();
    // The same, of content that is committed.
    fs.unlink(work, b"first").await.unwrap();
    // A file is named anew by a link, as mail programs do, and the name is taken; or the directory is gone.
    let linked = write("linked").await;
    fs.link(linked, work, b"mail").await.unwrap();
    fs.unlink(work, b"linked").await.unwrap();
    let saved = write("saved").await;
    fs.link(saved, dir.ino, b"mail").await.unwrap();
    fs.unlink(work, b"saved").await.unwrap();
    let old = walk(&fs, work, "old").await.unwrap().ino;
    fs.link(old, work, b"post").await.unwrap();
    fs.unlink(work, b"old").await.unwrap();
    // All names are removed here.
    write("gone").await;
    fs.unlink(work, b"gone").await.unwrap();
    fs.unlink(work, b"gone too").await.unwrap();
    fs.shutdown().await;
    drop(fs);

    world.cluster.up();
    for path in ["other", "dir", "second"] {
        world.user.ok(["delete", "work", path, "--recursive"]);
    }
    for name in ["mail", "post"] {
        world.user.write("work", name, b"theirs");
    }
    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    let mut kept: Vec<Vec<u8>> = copies(&fs, work).await.into_iter().map(|(_, _, data)| data).collect();
    kept.sort();
    assert_eq!(kept, [b"as it was", b"heret was", b"heret was"], "{:?}", names(&fs, work).await);
    assert_eq!(names(&fs, work).await.len(), 7);
    // These keep the name that was to go: nothing else leads to what is in them.
    for (name, data) in [("first", b"as it was"), ("one", b"heret was")] {
        assert_eq!(content(&fs, walk(&fs, work, name).await.unwrap().ino).await, data);
    }
    assert_eq!(copies(&fs, work).await.iter().filter(|(name, ..)| name == "mail").count(), 2);
    assert_eq!(fs.state().dirty_files, 0);
    fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_done_to_something_that_got_another_name_is_done_to_it() {
    let world = World::with(&[SHORT]);
    let folder = tempfile::tempdir().unwrap();
    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    let dir = fs.mkdir(work, b"dir", 0o755, ME).await.unwrap();
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    list(&fs, work).await;
    list(&fs, dir.ino).await;
    without_server(&world, &fs, work).await;
    // Made and removed again, where the name is taken or the directory is gone.
    for at in [work, dir.ino] {
        put(&fs, at, "brief", b"brief").await;
        fs.unlink(at, b"brief").await.unwrap();
        fs.mkdir(at, b"short", 0o755, ME).await.unwrap();
        fs.rmdir(at, b"short").await.unwrap();
        // Saved as editors do, four times.
        for save in 0..4 {
            put(&fs, at, ".doc.tmp", format!("saved {save}").as_bytes()).await;
            fs.rename(at, b".doc.tmp", at, b"doc", PLAIN).await.unwrap();
        }
    }
    // Named on, to where nothing is.
    put(&fs, work, "first", b"named on").await;
    fs.rename(work, b"first", work, b"last", PLAIN).await.unwrap();
    put(&fs, dir.ino, "inside", b"moved out").await;
    fs.rename(dir.ino, b"inside", work, b"outside", PLAIN).await.unwrap();
    // Saved over by something that is made later.
    put(&fs, work, "taken", b"").await;
    put(&fs, work, "taken.new", b"saved over").await;
    fs.rename(work, b"taken.new", work, b"taken", PLAIN).await.unwrap();
    fs.shutdown().await;
    drop(fs);

    world.cluster.up();
    world.user.ok(["delete", "work", "dir", "--recursive"]);
    for name in ["brief", "short", "doc", "first", "taken"] {
        world.user.write("work", name, b"theirs");
    }
    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    let doc = file("doc", b"saved 3");
    assert_eq!(copies(&fs, work).await, [doc.clone(), doc, file("taken", b"saved over")]);
    for (name, data) in [("last", &b"named on"[..]), ("outside", b"moved out"), ("first", b"theirs")] {
        assert_eq!(content(&fs, walk(&fs, work, name).await.unwrap().ino).await, data);
    }
    assert_eq!(names(&fs, work).await.len(), 5 + 2 + 3, "{:?}", names(&fs, work).await);
    fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_written_to_a_replaced_file_that_got_another_name_elsewhere_is_kept() {
    let world = World::with(&["--write-lease-seconds=600"]);
    let (here, there) = (world.machine(|_| {}).await, world.machine(|_| {}).await);
    let (a, b) = (bucket(&here.fs, "work").await, bucket(&there.fs, "work").await);
    put(&here.fs, a, "file", b"as it was").await;
    put(&here.fs, a, "other", b"what replaces it").await;
    alone(&here.fs, a).await;
    assert_eq!(here.fs.drain(&|_| {}).await, Ok(0));
    // Whoever else wants to write ends that, and for a while nobody decides alone.
    there.fs.mkdir(b, b"dir", 0o755, ME).await.unwrap();
    until("it is not alone any more", async || here.fs.state().leases == 0).await;
    let file = walk(&here.fs, a, "file").await.unwrap();
    walk(&here.fs, a, "other").await.unwrap();
    let handle = here.fs.open_file(file.ino, WRITE).await.unwrap();
    let linked = walk(&there.fs, b, "file").await.unwrap().ino;
    there.fs.link(linked, b, b"second").await.unwrap();
    assert_eq!(there.fs.drain(&|_| {}).await, Ok(0));
    // Before its attributes are asked for again.
    here.fs.rename(a, b"other", a, b"file", PLAIN).await.unwrap();
    assert_eq!(here.fs.state().leases, 0);
    write_at(&here.fs, handle, 0, b"AS").await;
    here.fs.fsync(handle, false).await.unwrap();
    here.fs.release(handle).await;
    assert_eq!(here.fs.drain(&|_| {}).await, Ok(0));
    assert_eq!(world.user.read("work", "second"), b"AS it was");
    assert_eq!(world.user.read("work", "file"), b"what replaces it");
    here.fs.shutdown().await;
    there.fs.shutdown().await;
}
