//! A mount without its server.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use cyx_tests::mount::{Mount, missing, run, unavailable};
use cyx_tests::{Cluster, noise, wait_until};

#[test]
fn what_is_cached_is_read_without_a_server_also_after_mounting_again() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("offline");
    user.ok(["bucket", "create", "work"]);
    let args = ["--bucket", "work"];
    let mut mount = Mount::start(&user, "m", &args);
    let (small, large) = (noise(1, 700), noise(2, 3_000_000));
    fs::write(mount.join("small"), &small).unwrap();
    fs::write(mount.join("large"), &large).unwrap();
    mount.settle();
    mount.unmount();
    mount.again(&args);
    // Names and attributes are known; nothing was opened since.
    assert_eq!(fs::metadata(mount.join("small")).unwrap().len(), 700);
    assert_eq!(fs::metadata(mount.join("large")).unwrap().len(), 3_000_000);
    cluster.kill_server();
    (0..3).for_each(|node| cluster.kill_node(node));
    assert!(fs::read(mount.join("small")).unwrap() == small);
    assert!(fs::read(mount.join("large")).unwrap() == large);
    cluster.up();
    mount.unmount();
}

/// The write lease is over, and so is everything that was decided under it.
#[test]
fn programs_go_on_without_a_server_and_everything_is_sent_when_it_is_back() {
    if unavailable() || missing("git") {
        return;
    }
    let cluster = Cluster::start_with(3, &["--write-lease-seconds=3"], &[]);
    let user = cluster.user("traveller");
    user.ok(["bucket", "create", "work"]);
    let mut mount = Mount::start(&user, "m", &["--bucket", "work"]);
    fs::write(mount.join("document"), "old").unwrap();
    fs::create_dir(mount.join("unseen")).unwrap();
    mount.settle();
    let names = |at: &Path| {
        let found = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut found: Vec<String> = found.collect();
        found.sort();
        found
    };
    assert_eq!(names(mount.path()), ["document", "unseen"]);
    cluster.kill_server();
    (0..3).for_each(|node| cluster.kill_node(node));
    wait_until("the lease is over", || mount.status()["leases"] == 0);

    // As an editor saves, as tar unpacks, as git works.
    fs::write(mount.join("document.new"), "new").unwrap();
    File::open(mount.join("document.new")).unwrap().sync_all().unwrap();
    fs::rename(mount.join("document.new"), mount.join("document")).unwrap();
    run(std::process::Command::new("git").args(["init", "-q"]).arg(mount.join("repository")));
    fs::create_dir_all(mount.join("a/b")).unwrap();
    for number in 0..50 {
        fs::write(mount.join(&format!("a/b/{number}")), noise(number, 10_000)).unwrap();
    }
    fs::rename(mount.join("a/b"), mount.join("moved")).unwrap();
    fs::remove_dir(mount.join("a")).unwrap();
    std::os::unix::fs::symlink("moved/7", mount.join("link")).unwrap();
    assert!(fs::read(mount.join("link")).unwrap() == noise(7, 10_000));
    assert_eq!(names(mount.path()), ["document", "link", "moved", "repository", "unseen"]);
    // The machine is switched off before the server is back.
    mount.kill();
    cluster.up();
    mount.again(&["--bucket", "work"]);
    mount.settle();
    assert_eq!(names(mount.path()), ["document", "link", "moved", "repository", "unseen"]);
    run(std::process::Command::new("git").arg("-C").arg(mount.join("repository")).arg("status"));
    assert!(mount.status()["last_error"].is_null(), "{}", mount.status());
    mount.unmount();
    assert_eq!(user.read("work", "document"), b"new");
    assert!(user.read("work", "moved/49") == noise(49, 10_000));
}

/// It is there, and does not answer.
#[test]
fn programs_go_on_while_the_server_is_frozen() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("frozen");
    user.ok(["bucket", "create", "work"]);
    let mut mount = Mount::start(&user, "m", &["--bucket", "work"]);
    fs::write(mount.join("document"), "old").unwrap();
    fs::create_dir(mount.join("old")).unwrap();
    fs::write(mount.join("old/a"), "a").unwrap();
    mount.settle();
    assert_eq!(fs::read_dir(mount.join("old")).unwrap().count(), 1);
    // Somebody else has written last: this machine has to ask.
    user.write("work", "other", b"by somebody else");
    wait_until("it is not the only writer", || mount.status()["leases"] == 0 && mount.join("other").exists());
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 3);
    // As every program does that walks a tree or wants to know whether something fits.
    let space = || rustix::fs::statvfs(mount.path()).map(|space| space.f_blocks);
    let known = space().unwrap();
    // Somebody else's: where its bytes are was never asked.
    let read = fs::File::open(mount.join("other")).unwrap();
    let written = fs::OpenOptions::new().write(true).open(mount.join("other")).unwrap();
    let frozen = cluster.freeze_server();
    fs::create_dir(mount.join("new")).unwrap();
    fs::write(mount.join("new/b"), "b").unwrap();
    fs::rename(mount.join("old/a"), mount.join("new/a")).unwrap();
    fs::remove_dir(mount.join("old")).unwrap();
    fs::write(mount.join("document.new"), "new").unwrap();
    fs::rename(mount.join("document.new"), mount.join("document")).unwrap();
    let names = |at: &Path| {
        let found = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut found: Vec<String> = found.collect();
        found.sort();
        found
    };
    assert_eq!(names(mount.path()), ["document", "new", "other"]);
    assert_eq!(names(&mount.join("new")), ["a", "b"]);
    assert_eq!(mount.status()["connected"], false);
    assert_eq!(space(), Ok(known));
    // What cannot be known is told at once, not at the deadline of the request.
    let errors = [
        fs::copy(mount.join("other"), mount.join("copy")).map(drop),
        read.read_exact_at(&mut [0; 5], 0),
        written.write_all_at(b"mine", 3),
        written.set_len(2),
        rustix::fs::seek(&read, rustix::fs::SeekFrom::Hole(0)).map(drop).map_err(Into::into),
    ];
    for error in errors {
        assert_eq!(error.unwrap_err().raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    }
    fs::remove_file(mount.join("copy")).unwrap();
    drop((read, written));
    drop(frozen);
    mount.settle();
    assert!(mount.status()["last_error"].is_null(), "{}", mount.status());
    assert_eq!(names(mount.path()), ["document", "new", "other"]);
    mount.unmount();
    assert_eq!(user.read("work", "document"), b"new");
    assert_eq!(user.read("work", "new/a"), b"a");
    assert_eq!(user.read("work", "new/b"), b"b");
}
