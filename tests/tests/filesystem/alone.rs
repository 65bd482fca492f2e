//! A machine that is the only writer of a bucket decides names by itself: without the server while its lease lasts, and so that what it
//! told programs is what everybody sees in the end, whatever happens in between.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use cyx_fs::vfs::{Options, RenameFlags, SetXattr, Top};
use cyx_fs::{Errno, Filesystem, Ino, Kind, ROOT_INO, SetAttr};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::model::{Model, Step, dump, is_loop, real, step};
use super::support::{ME, NEW, WRITE, World, bucket, content, list, put, until, walk, write_at};

const PLAIN: RenameFlags = RenameFlags { no_replace: false, exchange: false };

/// Waits until names in a bucket are decided here. The lease is asked for when somebody changes something.
pub(super) async fn alone(fs: &Filesystem, root: Ino) {
    let mode = fs.getattr(root, None).await.unwrap().mode;
    until("it is the only writer", async || {
        fs.setattr(root, SetAttr { mode: Some(mode), ..SetAttr::default() }, ME).await.unwrap();
        fs.state().leases == 1
    })
    .await;
}

pub(super) async fn names(fs: &Filesystem, at: Ino) -> Vec<String> {
    list(fs, at).await.into_iter().map(|(name, ..)| name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn names_are_decided_without_the_server_and_survive_the_process() {
    // So long that no machine is too slow for it.
    let world = World::with(&["--write-lease-seconds=600"]);
    let folder = tempfile::tempdir().unwrap();
    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    put(&fs, work, "old", b"old content").await;
    put(&fs, work, "gone", b"").await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    list(&fs, work).await;
    alone(&fs, work).await;

    world.cluster.kill_server();
    let dir = fs.mkdir(work, b"dir", 0o750, ME).await.unwrap();
    let (attr, handle) = fs.create(dir.ino, b"new", 0o600, NEW, ME).await.unwrap();
    write_at(&fs, handle, 0, b"written without a server").await;
    fs.fsync(handle, false).await.unwrap();
    fs.release(handle).await;
    assert_eq!(fs.create(dir.ino, b"new", 0o600, NEW, ME).await.map(|_| ()), Err(Errno::EEXIST));
    fs.link(attr.ino, work, b"second").await.unwrap();
    fs.symlink(work, b"link", b"dir/new", ME).await.unwrap();
    fs.setxattr(attr.ino, b"user.a", b"1", SetXattr::Create).await.unwrap();
    fs.setxattr(attr.ino, b"user.b", b"2", SetXattr::Create).await.unwrap();
    fs.setattr(attr.ino, SetAttr { mode: Some(0o640), ..SetAttr::default() }, ME).await.unwrap();
    fs.unlink(work, b"gone").await.unwrap();
    assert_eq!(fs.rmdir(work, b"dir").await, Err(Errno::ENOTEMPTY));
    assert_eq!(fs.rename(work, b"dir", dir.ino, b"below", PLAIN).await, Err(Errno::EINVAL), "below itself");
    fs.rename(dir.ino, b"new", work, b"old", PLAIN).await.unwrap();
    let gone = fs.mkdir(dir.ino, b"gone", 0o755, ME).await.unwrap();
    fs.rmdir(dir.ino, b"gone").await.unwrap();
    assert_eq!(fs.mkdir(gone.ino, b"x", 0o755, ME).await, Err(Errno::ENOENT), "in what was removed");
    assert_eq!(fs.link(attr.ino, gone.ino, b"x").await, Err(Errno::ENOENT));
    assert_eq!(fs.rename(work, b"old", gone.ino, b"x", PLAIN).await, Err(Errno::ENOENT));
    fs.mkdir(dir.ino, b"empty", 0o755, ME).await.unwrap();
    fs.rename(dir.ino, b"empty", work, b"moved", PLAIN).await.unwrap();
    let promised = ["dir", "link", "moved", "old", "second"];
    assert_eq!(names(&fs, work).await, promised);
    assert!(fs.state().dirty_files > 0);
    // Its process ends before anything was sent.
    fs.shutdown().await;
    drop(fs);

    world.cluster.up();
    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    assert_eq!(names(&fs, work).await, promised);
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    let other = world.machine(|_| {}).await;
    let seen = bucket(&other.fs, "work").await;
    assert_eq!(names(&other.fs, seen).await, promised);
    let old = walk(&other.fs, seen, "old").await.unwrap();
    assert_eq!((old.ino, old.mode, old.nlink), (attr.ino, 0o640, 2));
    assert_eq!(content(&other.fs, old.ino).await, b"written without a server");
    assert_eq!(other.fs.getxattr(old.ino, b"user.b").await.unwrap(), &b"2"[..]);
    assert_eq!(other.fs.getattr(seen, None).await.unwrap().nlink, 4);
    fs.shutdown().await;
    other.fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_made_before_changes_are_heard_of_is_known_again_afterwards() {
    let world = World::with(&["--write-lease-seconds=600"]);
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(folder.path().to_owned());
    options.top = Top::Bucket("work".to_owned());
    let fs = Filesystem::open(world.client().await, options).await.unwrap();
    // At once: what is known by then is doubted as soon as the stream of changes stands.
    let early = fs.mkdir(ROOT_INO, b"early", 0o755, ME).await.unwrap().ino;
    until("the stream of events stands", async || fs.state().connected).await;
    alone(&fs, ROOT_INO).await;
    for number in 0..4 {
        put(&fs, early, &format!("asked-{number}"), b"").await;
    }
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    // After a few questions all names are known, and what there is not need not be asked for.
    world.cluster.kill_server();
    for number in 0..4 {
        put(&fs, early, &format!("known-{number}"), b"").await;
    }
    assert_eq!(names(&fs, early).await.len(), 8);
    fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_else_wants_to_write_sees_what_was_decided_and_goes_on() {
    let world = World::new();
    let (first, second) = (world.machine(|_| {}).await, world.machine(|_| {}).await);
    let (here, there) = (bucket(&first.fs, "work").await, bucket(&second.fs, "work").await);
    alone(&first.fs, here).await;
    for number in 0..50 {
        first.fs.mkdir(here, format!("dir-{number}").as_bytes(), 0o755, ME).await.unwrap();
    }
    // At once, and of the same name: what was decided earlier counts.
    assert_eq!(second.fs.mkdir(there, b"dir-49", 0o755, ME).await.map(|_| ()), Err(Errno::EEXIST));
    second.fs.rmdir(there, b"dir-48").await.unwrap();
    until("it is not alone any more", async || first.fs.state().leases == 0).await;
    until("the removal is seen", async || first.fs.lookup(here, b"dir-48").await == Err(Errno::ENOENT)).await;
    first.fs.mkdir(here, b"dir-48", 0o700, ME).await.unwrap();
    until("and what came after it", async || {
        second.fs.lookup(there, b"dir-48").await.is_ok_and(|attr| attr.mode == 0o700)
    })
    .await;
    // The program without a mount, in the middle of it.
    alone(&first.fs, here).await;
    put(&first.fs, here, "file", b"by the mount").await;
    world.user.write("work", "uploaded", b"by the command line");
    assert_eq!(first.fs.drain(&|_| {}).await, Ok(0));
    assert_eq!(world.user.read("work", "file"), b"by the mount");
    until("the upload is seen", async || first.fs.lookup(here, b"uploaded").await.is_ok()).await;
    first.fs.shutdown().await;
    second.fs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_does_not_apply_any_more_is_kept_beside_or_reported() {
    let world = World::with(&["--write-lease-seconds=30"]);
    let folder = tempfile::tempdir().unwrap();
    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    put(&fs, work, "old", b"old").await;
    let doomed = fs.mkdir(work, b"doomed", 0o755, ME).await.unwrap();
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    list(&fs, work).await;
    list(&fs, doomed.ino).await;
    alone(&fs, work).await;
    world.cluster.kill_server();
    put(&fs, doomed.ino, "file", b"kept all the same").await;
    put(&fs, work, "same", b"mine").await;
    let dir = fs.mkdir(work, b"dir", 0o755, ME).await.unwrap();
    put(&fs, dir.ino, "inside", b"mine too").await;
    fs.unlink(work, b"old").await.unwrap();
    fs.shutdown().await;
    drop(fs);

    // Somebody else is faster: these wait until the lease is over.
    world.cluster.up();
    world.user.write("work", "same", b"theirs");
    world.user.write("work", "dir/other", b"theirs too");
    world.user.ok(["delete", "work", "doomed", "-r"]);
    world.user.ok(["delete", "work", "old"]);
    world.user.write("work", "old", b"another one");

    let fs = world.open(folder.path(), |_| {}).await;
    let work = bucket(&fs, "work").await;
    let found = list(&fs, work).await;
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    let of = |prefix: &str| {
        let mut found = found.iter().filter(|(name, ..)| name.starts_with(prefix));
        (found.next().unwrap().2.ino, found.next().map(|(_, _, attr)| attr.ino), found.next().is_none())
    };
    let (theirs, mine, no_more) = of("same");
    assert!(no_more);
    assert_eq!(content(&fs, theirs).await, b"theirs");
    assert_eq!(content(&fs, mine.unwrap()).await, b"mine");
    let (theirs, mine, no_more) = of("dir");
    assert!(no_more);
    assert_eq!(names(&fs, theirs).await, ["other"]);
    let inside = fs.lookup(mine.unwrap(), b"inside").await.unwrap();
    assert_eq!(content(&fs, inside.ino).await, b"mine too");
    let (old, none, _) = of("old");
    assert_eq!((content(&fs, old).await, none), (b"another one".to_vec(), None), "what was removed was another file");
    // Where its directory went nobody knows; what was written is there all the same.
    until("the file without a directory is kept", async || fs.state().conflicts == 3).await;
    let mut kept = false;
    for (name, kind, attr) in list(&fs, work).await {
        let is_copy = kind == Kind::File && name.contains("(conflict desk ");
        kept |= is_copy && content(&fs, attr.ino).await == b"kept all the same";
    }
    assert!(kept);
    assert!(found.iter().any(|(name, ..)| name.starts_with("same (conflict desk ")));
    fs.shutdown().await;
}

/// What happens between operations.
#[derive(Debug, Clone)]
enum Event {
    Do(Step),
    /// Somebody else changes something in the bucket.
    Recall,
    /// The process ends; another one goes on with the same folder, with or without what was read.
    Kill(bool),
    /// The server is away while these are done.
    Away(Vec<Step>),
    /// It is away for longer than the lease lasts; half of these are done after its end.
    Expire(Vec<Step>),
}

/// Names and attributes; content of a file that was not read needs the server.
fn by_itself() -> impl Strategy<Value = Vec<Step>> {
    let named = step().prop_filter("names only", |step| {
        !matches!(step, Step::Write(..) | Step::Truncate(..) | Step::Commit) && !is_loop(step)
    });
    prop::collection::vec(named, 1..6)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        30 => step().prop_filter("no loops", |step| !is_loop(step)).prop_map(Event::Do),
        1 => Just(Event::Recall),
        2 => any::<bool>().prop_map(Event::Kill),
        1 => by_itself().prop_map(Event::Away),
        1 => by_itself().prop_map(Event::Expire),
    ]
}

struct Run<'a> {
    world: &'a World,
    folder: &'a Path,
    bucket: String,
    recalls: u32,
}

impl Run<'_> {
    async fn open(&self) -> (Filesystem, Ino) {
        let fs = self.world.open(self.folder, |_| {}).await;
        let root = bucket(&fs, &self.bucket).await;
        (fs, root)
    }

    /// Without the server, also when the lease is over: what fails because it is missing has changed nothing.
    async fn away(&self, fs: &Filesystem, root: Ino, steps: &[Step], over: bool, model: &mut Model) {
        alone(fs, root).await;
        // Everything is known.
        assert_eq!(dump(fs, root).await, model.dump());
        self.world.cluster.kill_server();
        let half = if over { steps.len() / 2 } else { steps.len() };
        for (number, step) in steps.iter().enumerate() {
            if over && number == half {
                until("the lease is over", async || fs.state().leases == 0).await;
            }
            match real(fs, root, step).await {
                Err(Errno::EIO) => {}
                result => assert_eq!(result, model.apply(step), "without the server: {step:?}"),
            }
        }
    }

    async fn go(&mut self, events: &[Event]) {
        let mut model = Model::new();
        let (mut fs, mut root) = self.open().await;
        for (number, event) in events.iter().enumerate() {
            match event {
                Event::Do(step) => {
                    let result = real(&fs, root, step).await;
                    assert_eq!(result, model.apply(step), "event {number}: {step:?}");
                    continue;
                }
                Event::Recall => {
                    self.recalls += 1;
                    let name = format!("recall-{}", self.recalls);
                    self.world.user.write(&self.bucket, &name, b"");
                    self.world.user.ok(["delete", &self.bucket, &name]);
                    until("it is seen and gone", async || fs.lookup(root, name.as_bytes()).await == Err(Errno::ENOENT))
                        .await;
                }
                Event::Kill(forget) => {
                    fs.shutdown().await;
                    drop(fs);
                    if *forget {
                        std::fs::remove_dir_all(self.folder.join("cache")).unwrap();
                    }
                    (fs, root) = self.open().await;
                }
                Event::Away(steps) => {
                    self.away(&fs, root, steps, false, &mut model).await;
                    self.world.cluster.up();
                    until("the server is back", async || fs.state().connected).await;
                }
                Event::Expire(steps) => {
                    self.away(&fs, root, steps, true, &mut model).await;
                    until("the lease is over", async || fs.state().leases == 0).await;
                    self.world.cluster.up();
                    until("the server is back", async || fs.state().connected).await;
                }
            }
            assert_eq!(dump(&fs, root).await, model.dump(), "after event {number}: {event:?}");
        }
        assert_eq!(fs.drain(&|_| {}).await, Ok(0));
        let state = fs.state();
        assert_eq!((state.conflicts, state.last_error), (0, None));
        // As everybody else sees it, who knows nothing from before.
        let other = self.world.machine(|_| {}).await;
        let seen = bucket(&other.fs, &self.bucket).await;
        assert_eq!(dump(&other.fs, seen).await, model.dump());
        other.fs.shutdown().await;
        fs.shutdown().await;
    }
}

#[test]
fn what_was_decided_here_is_what_everybody_sees_in_the_end() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let world = World::with(&["--write-lease-seconds=10"]);
    let number = Cell::new(0);
    let config = Config { cases: 6, max_shrink_iters: 40, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let result = runner.run(&prop::collection::vec(event(), 20..70), |events| {
        number.set(number.get() + 1);
        let bucket = format!("case-{}", number.get());
        world.user.ok(["bucket", "create", &bucket]);
        let folder = tempfile::tempdir().unwrap();
        let mut run = Run { world: &world, folder: folder.path(), bucket, recalls: 0 };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(run.go(&events))));
        // A case that failed may have left it away.
        world.cluster.up();
        outcome.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned());
            TestCaseError::fail(text)
        })
    });
    result.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_removal_of_a_file_that_is_being_uploaded_holds_up_nothing() {
    let world = World::with(&["--write-lease-seconds=600"]);
    let machine = world.machine(|_| {}).await;
    let fs = &machine.fs;
    let work = bucket(fs, "work").await;
    let (attr, handle) = fs.create(work, b"file", 0o644, WRITE, ME).await.unwrap();
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    alone(fs, work).await;
    let frozen = world.cluster.freeze_node(0);
    write_at(fs, handle, 0, &[1; 1 << 20]).await;
    fs.release(handle).await;
    // By then the upload is under way, and hangs.
    tokio::time::sleep(Duration::from_secs(1)).await;
    fs.unlink(work, b"file").await.unwrap();
    fs.forget(attr.ino, 1);
    let names = || world.user.ok(["list", "work", "--json"]).json_lines().len();
    until("the removal is sent", async || names() == 0).await;
    fs.mkdir(work, b"dir", 0o755, ME).await.unwrap();
    until("what comes behind it is sent", async || names() == 1).await;
    assert_eq!(fs.state().dirty_files, 1, "the upload is still under way");
    drop(frozen);
    assert_eq!(fs.drain(&|_| {}).await, Ok(0));
    until("nothing is dirty", async || fs.state().dirty_files == 0).await;
    assert_eq!((fs.state().conflicts, fs.state().last_error), (0, None));
    fs.shutdown().await;
}
