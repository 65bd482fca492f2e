//! A machine without its server for longer than its write lease lasts: names are decided on what is known, and when the server is back everything
//! is sent; what others did meanwhile is kept as well. And content that cannot be stored, which holds up nothing else.

use cyx_fs::vfs::{RenameFlags, SetXattr};
use cyx_fs::{Errno, Filesystem, Ino, SetAttr};

use super::alone::{alone, names};
use super::support::{ME, NEW, World, bucket, content, list, put, until, walk, write_at};

pub(crate) const PLAIN: RenameFlags = RenameFlags { no_replace: false, exchange: false };
pub(crate) const SHORT: &str = "--write-lease-seconds=3";

/// Kills the server and waits until names are not decided under a lease any more.
pub(crate) async fn without_server(world: &World, fs: &Filesystem, root: Ino) {
    alone(fs, root).await;
    world.cluster.kill_server();
    until("the lease is over", async || fs.state().leases == 0).await;
    until("it is known to be away", async || fs.lookup(root, b"never asked for").await == Err(Errno::ENOENT)).await;
}

/// What a person reads through the command line, from this file and its conflict copies.
async fn copies(fs: &Filesystem, at: Ino, name: &str) -> Vec<(bool, Vec<u8>)> {
    let mut found = Vec::new();
    for (listed, _, attr) in list(fs, at).await {
        let beside = listed.starts_with(&format!("{name} (conflict desk "));
        if beside || listed == name {
            found.push((beside, content(fs, attr.ino).await));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn names_are_decided_for_as_long_as_the_server_is_away() {
    let world = World::with(&[SHORT]);
    let folder = tempfile::tempdir().unwrap();
    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    put(&fs, work, "document", b"old").await;
    put(&fs, work, "gone", b"").await;
    let unseen = fs.mkdir(work, b"unseen", 0o755, ME).await.unwrap();
    put(&fs, unseen.ino, "inside", b"").await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    fs.shutdown().await;
    drop(fs);
    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    list(&fs, work).await;
    without_server(&world, &fs, work).await;

    // A program saves as editors do, in a new directory and in an old one.
    let dir = fs.mkdir(work, b"dir", 0o750, ME).await.unwrap();
    let (attr, handle) = fs.create(dir.ino, b"new", 0o600, NEW, ME).await.unwrap();
    write_at(&fs, handle, 0, b"written without a server").await;
    fs.fsync(handle, false).await.unwrap();
    fs.release(handle).await;
    fs.rename(dir.ino, b"new", work, b"document", PLAIN).await.unwrap();
    fs.link(attr.ino, dir.ino, b"second").await.unwrap();
    fs.setxattr(attr.ino, b"user.a", b"1", SetXattr::Create).await.unwrap();
    fs.setattr(attr.ino, SetAttr { mode: Some(0o640), ..SetAttr::default() }, ME).await.unwrap();
    fs.unlink(work, b"gone").await.unwrap();
    assert_eq!(fs.mkdir(work, b"dir", 0o755, ME).await.map(|_| ()), Err(Errno::EEXIST));
    assert_eq!(fs.rmdir(work, b"dir").await, Err(Errno::ENOTEMPTY));
    // What is not known here nobody can say.
    let inside = walk(&fs, work, "unseen").await.unwrap().ino;
    assert_eq!(fs.lookup(inside, b"inside").await.map(|_| ()), Err(Errno::EIO));
    assert_eq!(fs.mkdir(inside, b"x", 0o755, ME).await.map(|_| ()), Err(Errno::EIO));
    assert_eq!(fs.rmdir(work, b"unseen").await, Err(Errno::EIO), "it may be empty or not");
    let promised = ["dir", "document", "unseen"];
    assert_eq!(names(&fs, work).await, promised);
    fs.shutdown().await;
    drop(fs);

    world.cluster.up();
    let fs = world.open(folder.path(), |_| {}).await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    let state = fs.state();
    assert_eq!((state.conflicts, state.last_error), (0, None));
    let other = world.machine(|_| {}).await;
    let seen = bucket(&other.fs, "work").await;
    assert_eq!(names(&other.fs, seen).await, promised);
    let document = walk(&other.fs, seen, "document").await.unwrap();
    assert_eq!((document.ino, document.mode, document.nlink), (attr.ino, 0o640, 2));
    assert_eq!(content(&other.fs, document.ino).await, b"written without a server");
    assert_eq!(other.fs.getxattr(document.ino, b"user.a").await.unwrap(), &b"1"[..]);
    fs.shutdown().await;
    other.fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_others_wrote_while_this_machine_was_away_is_kept_beside_what_it_did() {
    let world = World::with(&[SHORT]);
    let folder = tempfile::tempdir().unwrap();
    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    for name in ["document", "removed", "both", "moved", "plain"] {
        put(&fs, work, name, name.as_bytes()).await;
    }
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    list(&fs, work).await;
    without_server(&world, &fs, work).await;
    put(&fs, work, "document.new", b"my document").await;
    fs.rename(work, b"document.new", work, b"document", PLAIN).await.unwrap();
    put(&fs, work, "plain.new", b"my plain").await;
    fs.rename(work, b"plain.new", work, b"plain", PLAIN).await.unwrap();
    fs.unlink(work, b"removed").await.unwrap();
    fs.unlink(work, b"both").await.unwrap();
    fs.rename(work, b"moved", work, b"taken", PLAIN).await.unwrap();
    fs.shutdown().await;
    drop(fs);

    // Somebody else is at it meanwhile.
    world.cluster.up();
    world.user.write("work", "document", b"their document");
    world.user.write("work", "removed", b"their changes");
    world.user.ok(["delete", "work", "both"]);
    world.user.write("work", "taken", b"theirs");

    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    let kept = [(false, b"their document".to_vec()), (true, b"my document".to_vec())];
    assert_eq!(copies(&fs, work, "document").await, kept);
    assert_eq!(copies(&fs, work, "removed").await, [(false, b"their changes".to_vec())], "it is not removed");
    assert_eq!(copies(&fs, work, "taken").await, [(false, b"theirs".to_vec()), (true, b"moved".to_vec())]);
    assert_eq!(copies(&fs, work, "plain").await, [(false, b"my plain".to_vec())], "nobody else touched it");
    assert_eq!(list(&fs, work).await.len(), 6, "and nothing else is there");
    assert_eq!(fs.state().conflicts, 2);
    fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_decided_under_keys_that_were_replaced_since_is_sealed_anew() {
    let world = World::with(&[SHORT]);
    let folder = tempfile::tempdir().unwrap();
    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    for name in ["document", "gone", "linked", "attributed", "a", "b"] {
        put(&fs, work, name, name.as_bytes()).await;
    }
    let dir = fs.mkdir(work, b"dir", 0o755, ME).await.unwrap();
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    list(&fs, work).await;
    list(&fs, dir.ino).await;
    without_server(&world, &fs, work).await;
    let made = fs.mkdir(dir.ino, b"made", 0o755, ME).await.unwrap();
    put(&fs, made.ino, "inside", b"of something new").await;
    for saved in [&b"an earlier one"[..], b"new document"] {
        put(&fs, dir.ino, "document.new", saved).await;
        fs.rename(dir.ino, b"document.new", work, b"document", PLAIN).await.unwrap();
    }
    fs.unlink(work, b"gone").await.unwrap();
    let linked = walk(&fs, work, "linked").await.unwrap().ino;
    fs.link(linked, dir.ino, b"second").await.unwrap();
    let attributed = walk(&fs, work, "attributed").await.unwrap().ino;
    fs.setxattr(attributed, b"user.a", b"1", SetXattr::Create).await.unwrap();
    fs.setxattr(attributed, b"user.b", b"2", SetXattr::Create).await.unwrap();
    fs.rename(work, b"a", work, b"b", RenameFlags { no_replace: false, exchange: true }).await.unwrap();
    fs.symlink(dir.ino, b"link", b"made/inside", ME).await.unwrap();
    fs.shutdown().await;
    drop(fs);

    world.cluster.up();
    world.user.ok(["rotate", "work"]);
    let fs = world.open(folder.path(), |_| {}).await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    let state = fs.state();
    assert_eq!((state.conflicts, state.last_error), (0, None));
    let other = world.machine(|_| {}).await;
    let work = bucket(&other.fs, "work").await;
    assert_eq!(names(&other.fs, work).await, ["a", "attributed", "b", "dir", "document", "linked"]);
    let read = async |path: &str| content(&other.fs, walk(&other.fs, work, path).await.unwrap().ino).await;
    assert_eq!(read("dir/made/inside").await, b"of something new");
    assert_eq!(read("document").await, b"new document");
    assert_eq!(read("dir/second").await, b"linked");
    assert_eq!((read("a").await, read("b").await), (b"b".to_vec(), b"a".to_vec()));
    let link = walk(&other.fs, work, "dir/link").await.unwrap().ino;
    assert_eq!(other.fs.readlink(link).await.unwrap(), b"made/inside");
    for (name, value) in [(&b"user.a"[..], &b"1"[..]), (b"user.b", b"2")] {
        assert_eq!(other.fs.getxattr(attributed, name).await.unwrap(), value);
    }
    // And it can be worked with.
    put(&other.fs, walk(&other.fs, work, "dir/made").await.unwrap().ino, "more", b"more").await;
    assert_eq!(other.fs.drain(&|_| {}).await, Ok(0));
    fs.shutdown().await;
    other.fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn content_that_cannot_be_stored_holds_up_only_what_is_built_on_it() {
    let world = World::with(&["--write-lease-seconds=600"]);
    let machine = world.machine(|_| {}).await;
    let fs = &machine.fs;
    let work = bucket(fs, "work").await;
    put(fs, work, "document", b"old").await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    list(fs, work).await;
    alone(fs, work).await;
    world.cluster.kill_node(0);
    let large = cyx_tests::noise(5, 300_000);
    put(fs, work, "document.new", &large).await;
    fs.rename(work, b"document.new", work, b"document", PLAIN).await.unwrap();
    fs.mkdir(work, b"later", 0o755, ME).await.unwrap();
    let later = walk(fs, work, "later").await.unwrap().ino;
    // Its content needs no node.
    put(fs, later, "small", b"small").await;
    fs.rename(later, b"small", work, b"renamed", PLAIN).await.unwrap();
    let other = world.machine(|_| {}).await;
    let seen = bucket(&other.fs, "work").await;
    // Listing it asks for the write lease's end: what can be sent is, and nobody waits for the rest.
    until("what came later is there", async || {
        names(&other.fs, seen).await == ["document", "document.new", "later", "renamed"]
    })
    .await;
    let document = walk(&other.fs, seen, "document").await.unwrap();
    assert_eq!(content(&other.fs, document.ino).await, b"old", "no empty file takes its place");
    world.cluster.start_node(0);
    until("everything is sent", async || fs.drain(&|_| {}).await == Ok(0)).await;
    until("and seen", async || names(&other.fs, seen).await == ["document", "later", "renamed"]).await;
    let document = walk(&other.fs, seen, "document").await.unwrap();
    assert!(content(&other.fs, document.ino).await == large);
    other.fs.shutdown().await;
    machine.fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_others_wrote_behind_the_end_of_a_lease_is_kept_beside_what_was_decided_under_it() {
    let world = World::with(&[SHORT]);
    let folder = tempfile::tempdir().unwrap();
    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    for name in ["document", "removed", "twice", "plain"] {
        put(&fs, work, name, name.as_bytes()).await;
    }
    let twice = walk(&fs, work, "twice").await.unwrap().ino;
    fs.link(twice, work, b"again").await.unwrap();
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    list(&fs, work).await;
    alone(&fs, work).await;
    world.cluster.kill_server();
    for name in ["document", "plain"] {
        put(&fs, work, "new", format!("my {name}").as_bytes()).await;
        fs.rename(work, b"new", work, name.as_bytes(), PLAIN).await.unwrap();
    }
    for name in ["removed", "twice", "again"] {
        fs.unlink(work, name.as_bytes()).await.unwrap();
    }
    assert_eq!(names(&fs, work).await, ["document", "plain"]);
    fs.shutdown().await;
    drop(fs);

    world.cluster.up();
    world.user.write("work", "document", b"their document");
    world.user.write("work", "removed", b"their changes");
    world.user.write("work", "twice", b"theirs as well");

    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    let kept = [(false, b"their document".to_vec()), (true, b"my document".to_vec())];
    assert_eq!(copies(&fs, work, "document").await, kept);
    assert_eq!(copies(&fs, work, "removed").await, [(false, b"their changes".to_vec())], "it is not removed");
    assert_eq!(copies(&fs, work, "plain").await, [(false, b"my plain".to_vec())], "nobody else touched it");
    let left: Vec<String> = names(&fs, work).await;
    assert_eq!(left.iter().filter(|name| ["twice", "again"].contains(&name.as_str())).count(), 1, "{left:?}");
    assert_eq!((left.len(), fs.state().conflicts), (5, 1), "{left:?}");
    fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_this_machine_committed_since_is_not_taken_for_somebody_elses() {
    let world = World::with(&[SHORT]);
    let folder = tempfile::tempdir().unwrap();
    let mut fs = world.open(folder.path(), |_| {}).await;
    let mut work = bucket(&fs, "work").await;
    for name in ["saved", "written", "removed"] {
        put(&fs, work, name, b"as it was").await;
    }
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    for round in 0..3 {
        list(&fs, work).await;
        alone(&fs, work).await;
        world.cluster.kill_server();
        // What is to be replaced is written to before, and so is what replaces it: both may be committed before names change.
        put(&fs, work, "written", format!("lost in round {round}").as_bytes()).await;
        for save in 0..5 {
            for name in ["saved", "written"] {
                put(&fs, work, "new", format!("{name} {round} {save}").as_bytes()).await;
                fs.rename(work, b"new", work, name.as_bytes(), PLAIN).await.unwrap();
            }
        }
        put(&fs, work, "removed", b"written to before it goes").await;
        fs.unlink(work, b"removed").await.unwrap();
        put(&fs, work, "removed", format!("made in round {round}").as_bytes()).await;
        fs.shutdown().await;
        drop(fs);
        world.cluster.up();
        // Its process ends before everything is sent: each of these goes on with what the one before has left.
        for _ in 0..2 {
            let begun = world.open(folder.path(), |_| {}).await;
            bucket(&begun, "work").await;
            begun.shutdown().await;
        }
        fs = world.open(folder.path(), |_| {}).await;
        work = bucket(&fs, "work").await;
        assert_eq!(fs.drain(&|_| {}).await, Ok(0));
        assert_eq!(names(&fs, work).await, ["removed", "saved", "written"], "round {round}");
        for name in ["saved", "written"] {
            let found = copies(&fs, work, name).await;
            assert_eq!(found, [(false, format!("{name} {round} 4").into_bytes())]);
        }
        assert_eq!(fs.state().conflicts, 0);
    }
    fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn so_many_changes_wait_for_the_server_and_no_more() {
    const MOST: usize = 16_384;
    let world = World::with(&[SHORT]);
    let machine = world.machine(|_| {}).await;
    let fs = &machine.fs;
    let work = bucket(fs, "work").await;
    list(fs, work).await;
    without_server(&world, fs, work).await;
    let mut made = 0;
    let refused = loop {
        match fs.mkdir(work, made.to_string().as_bytes(), 0o755, ME).await {
            Ok(attr) => fs.forget(attr.ino, 1),
            Err(error) => break error,
        }
        made += 1;
    };
    // The one that showed that names are decided here may wait as well.
    assert!((MOST - 1..=MOST).contains(&made), "{made}");
    assert_eq!(refused, Errno::ENOSPC);
    assert_eq!(fs.rmdir(work, b"0").await, Err(Errno::ENOSPC), "whatever it is");
    world.cluster.up();
    until("the server is heard again", async || fs.state().connected).await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    fs.mkdir(work, b"one more", 0o755, ME).await.unwrap();
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    assert_eq!(world.user.ok(["list", "work", "--json"]).json_lines().len(), made + 1);
    fs.shutdown().await;
}
