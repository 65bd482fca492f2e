//! A server that is connected and does not answer: it is noticed, and then names are decided as without one. What it was asked for and may have
//! done is not done twice.

use std::collections::BTreeMap;

use cyx_fs::vfs::{RenameFlags, SetXattr};
use cyx_fs::{Errno, Filesystem, Ino, SetAttr};
use cyx_tests::Gate;

use super::alone::names;
use super::support::{ME, NEW, World, bucket, content, list, open_of, put, until, walk, write_at};

const PLAIN: RenameFlags = RenameFlags { no_replace: false, exchange: false };
const EXCHANGE: RenameFlags = RenameFlags { no_replace: false, exchange: true };

/// One of each change, in directories of their own, so that all are asked at the same time.
const PLACES: [&str; 8] = ["made", "new", "removed", "renamed", "saved", "exchanged", "linked", "attributes"];

async fn prepare(fs: &Filesystem, work: Ino) -> BTreeMap<&'static str, Ino> {
    let mut places = BTreeMap::new();
    for place in PLACES {
        places.insert(place, fs.mkdir(work, place.as_bytes(), 0o755, ME).await.unwrap().ino);
    }
    let removed = put(fs, places["removed"], "one", b"of two names").await;
    fs.link(removed, places["removed"], b"two").await.unwrap();
    put(fs, places["renamed"], "old", b"renamed").await;
    for name in ["document", "document.new"] {
        put(fs, places["saved"], name, name.as_bytes()).await;
    }
    for name in ["a", "b"] {
        put(fs, places["exchanged"], name, name.as_bytes()).await;
    }
    put(fs, places["linked"], "one", b"linked").await;
    put(fs, places["attributes"], "file", b"attributed").await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    for at in places.values() {
        list(fs, *at).await;
    }
    list(fs, work).await;
    places
}

/// All changes at once.
async fn change(fs: &Filesystem, places: &BTreeMap<&'static str, Ino>) {
    let linked = fs.lookup(places["linked"], b"one").await.unwrap().ino;
    let attributed = fs.lookup(places["attributes"], b"file").await.unwrap().ino;
    let mode = SetAttr { mode: Some(0o600), ..SetAttr::default() };
    let at = |place: &str| places[place];
    let done = tokio::join!(
        fs.mkdir(at("made"), b"dir", 0o755, ME),
        fs.create(at("new"), b"file", 0o644, NEW, ME),
        fs.unlink(at("removed"), b"one"),
        fs.rename(at("renamed"), b"old", at("renamed"), b"new", PLAIN),
        fs.rename(at("saved"), b"document.new", at("saved"), b"document", PLAIN),
        fs.rename(at("exchanged"), b"a", at("exchanged"), b"b", EXCHANGE),
        fs.link(linked, at("linked"), b"two"),
        async {
            fs.setattr(attributed, mode, ME).await?;
            fs.setxattr(attributed, b"user.a", b"1", SetXattr::Create).await
        },
    );
    done.0.unwrap();
    let (_, handle) = done.1.unwrap();
    write_at(fs, handle, 0, b"written in silence").await;
    fs.fsync(handle, false).await.unwrap();
    fs.release(handle).await;
    assert_eq!(
        (done.2, done.3, done.4, done.5, done.6.map(|_| ()), done.7),
        (Ok(()), Ok(()), Ok(()), Ok(()), Ok(()), Ok(()))
    );
}

/// What there has to be afterwards.
async fn check(fs: &Filesystem, work: Ino) {
    let mut found = BTreeMap::new();
    for place in PLACES {
        let at = walk(fs, work, place).await.unwrap().ino;
        found.insert(place, names(fs, at).await.join(" "));
    }
    let wanted = [
        ("made", "dir"),
        ("new", "file"),
        ("removed", "two"),
        ("renamed", "new"),
        ("saved", "document"),
        ("exchanged", "a b"),
        ("linked", "one two"),
        ("attributes", "file"),
    ];
    assert_eq!(found, wanted.into_iter().map(|(place, names)| (place, names.to_owned())).collect());
    let file = walk(fs, work, "attributes/file").await.unwrap();
    assert_eq!(file.mode, 0o600);
    assert_eq!(fs.getxattr(file.ino, b"user.a").await.unwrap(), &b"1"[..]);
    assert_eq!(walk(fs, work, "removed/two").await.unwrap().nlink, 1);
    assert_eq!(walk(fs, work, "linked/two").await.unwrap().nlink, 2);
}

async fn check_contents(fs: &Filesystem, work: Ino) {
    for (path, wanted) in [
        ("new/file", "written in silence"),
        ("saved/document", "document.new"),
        ("exchanged/a", "b"),
        ("exchanged/b", "a"),
        ("renamed/new", "renamed"),
    ] {
        let ino = walk(fs, work, path).await.unwrap().ino;
        assert_eq!(content(fs, ino).await, wanted.as_bytes(), "{path}");
    }
}

/// Somebody else has changed something last, so that this machine has to ask.
async fn not_alone(fs: &Filesystem, world: &World, name: &str) {
    world.user.write("work", name, b"by somebody else");
    until("it is not the only writer", async || fs.state().leases == 0).await;
}

/// Waits until the server is heard again and has everything, which it takes as it is.
async fn everything_is_sent(fs: &Filesystem) {
    until("the stream of events stands again", async || fs.state().connected).await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    let state = fs.state();
    assert_eq!((state.conflicts, state.last_error), (0, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_asked_of_a_server_whose_answers_do_not_come_is_done_once() {
    let world = World::new();
    let gate = Gate::to(&world.cluster.gateway());
    let far = world.user.elsewhere_via(&world.cluster, gate.url());
    let folder = tempfile::tempdir().unwrap();
    let fs = open_of(&far, folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    let places = prepare(&fs, work).await;
    not_alone(&fs, &world, "other").await;
    let unseen = walk(&fs, work, "made").await.unwrap().ino;
    gate.hold();
    Box::pin(change(&fs, &places)).await;
    check(&fs, work).await;
    // What is built on it is decided as well.
    let dir = walk(&fs, work, "made/dir").await.unwrap().ino;
    put(&fs, dir, "inside", b"inside").await;
    fs.rename(unseen, b"dir", work, b"moved", PLAIN).await.unwrap();
    fs.rename(work, b"moved", unseen, b"dir", PLAIN).await.unwrap();
    assert_eq!(fs.mkdir(unseen, b"dir", 0o755, ME).await.map(|_| ()), Err(Errno::EEXIST));
    assert!(!fs.state().connected);

    gate.release();
    everything_is_sent(&fs).await;
    let other = world.machine(|_| {}).await;
    for fs in [&fs, &other.fs] {
        let work = bucket(fs, "work").await;
        check(fs, work).await;
        check_contents(fs, work).await;
        let inside = walk(fs, work, "made/dir/inside").await.unwrap().ino;
        assert_eq!(content(fs, inside).await, b"inside");
    }
    fs.shutdown().await;
    other.fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_frozen_is_one_that_is_away_until_it_goes_on() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    let places = prepare(&fs, work).await;
    not_alone(&fs, &world, "other").await;
    // Of this directory something changes that is not looked at before the server is gone: it is shown as it was known last.
    world.user.write("work", "made/late", b"");
    until("it is heard of", async || fs.lookup(places["made"], b"late").await.is_ok()).await;
    world.user.ok(["delete", "work", "made/late", "--permanent"]);
    let frozen = world.cluster.freeze_server();
    Box::pin(change(&fs, &places)).await;
    assert!(!fs.state().connected);
    let made = names(&fs, places["made"]).await;
    assert!(made.contains(&"dir".to_owned()), "{made:?}");
    drop(frozen);
    everything_is_sent(&fs).await;
    let other = world.machine(|_| {}).await;
    for fs in [&fs, &other.fs] {
        let work = bucket(fs, "work").await;
        check(fs, work).await;
        check_contents(fs, work).await;
    }
    // And changes of others are heard again.
    put(&other.fs, bucket(&other.fs, "work").await, "heard", b"").await;
    until("a change is heard", async || fs.lookup(work, b"heard").await.is_ok()).await;
    fs.shutdown().await;
    other.fs.shutdown().await;
}
