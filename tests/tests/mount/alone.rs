//! A mount that is the only writer of its bucket, and mounts that take turns.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use cyx_tests::mount::{Mount, unavailable};
use cyx_tests::{Cluster, noise, wait_until};

/// Waits until the mount decides names by itself. The lease is asked for when somebody changes something.
fn alone(mount: &Mount<'_>) {
    let mode = fs::metadata(mount.path()).unwrap().permissions();
    wait_until("it is the only writer", || {
        fs::set_permissions(mount.path(), mode.clone()).unwrap();
        mount.status()["leases"] == 1
    });
}

fn names(mount: &Mount<'_>, path: &str) -> Vec<String> {
    let listed = fs::read_dir(mount.join(path)).unwrap();
    let mut names: Vec<String> = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_only_writer_decides_names_and_they_survive_kill_9() {
    if unavailable() {
        return;
    }
    // So long that no machine is too slow for it.
    let cluster = Cluster::start_with(3, &["--write-lease-seconds=600"], &[]);
    let user = cluster.user("alone");
    user.ok(["bucket", "create", "work"]);
    let args = ["--bucket", "work"];
    let mut mount = Mount::start(&user, "m", &args);
    fs::write(mount.join("document"), "version 0").unwrap();
    mount.settle();
    assert_eq!(names(&mount, ""), ["document"]);
    alone(&mount);

    cluster.kill_server();
    let large = noise(5, 300_000);
    fs::create_dir(mount.join("dir")).unwrap();
    for number in 0..40 {
        fs::write(mount.join(&format!("dir/{number}")), format!("content of {number}")).unwrap();
    }
    fs::write(mount.join("dir/large"), &large).unwrap();
    fs::hard_link(mount.join("dir/1"), mount.join("dir/linked")).unwrap();
    symlink("dir/1", mount.join("link")).unwrap();
    fs::set_permissions(mount.join("dir/1"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::remove_file(mount.join("dir/2")).unwrap();
    fs::rename(mount.join("dir/3"), mount.join("moved")).unwrap();
    fs::write(mount.join("document.new"), "version 1").unwrap();
    fs::rename(mount.join("document.new"), mount.join("document")).unwrap();
    // Everything before it is promised with it.
    File::open(mount.join("dir")).unwrap().sync_all().unwrap();
    let promised = names(&mount, "dir");
    mount.kill();
    cluster.up();
    fs::remove_dir_all(mount.cache_dir().join("cache")).unwrap();
    mount.again(&args);

    assert_eq!(names(&mount, ""), ["dir", "document", "link", "moved"]);
    assert_eq!(names(&mount, "dir"), promised);
    assert_eq!(fs::read(mount.join("document")).unwrap(), b"version 1");
    assert_eq!(fs::read(mount.join("moved")).unwrap(), b"content of 3");
    assert_eq!(fs::read(mount.join("link")).unwrap(), b"content of 1");
    assert!(fs::read(mount.join("dir/large")).unwrap() == large);
    let linked = fs::metadata(mount.join("dir/linked")).unwrap();
    assert_eq!((linked.mode() & 0o7777, linked.nlink()), (0o640, 2));
    mount.settle();
    mount.unmount();
    assert_eq!(user.read("work", "document"), b"version 1");
    assert!(user.read("work", "dir/large") == large);
    for number in 4..40 {
        assert_eq!(user.read("work", &format!("dir/{number}")), format!("content of {number}").as_bytes());
    }
    cluster.assert_consistent();
}

#[test]
fn two_mounts_take_turns() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("turns");
    let there = user.elsewhere(&cluster);
    user.ok(["bucket", "create", "shared"]);
    let args = ["--bucket", "shared"];
    let (mut a, mut b) = (Mount::start(&user, "a", &args), Mount::start(&there, "b", &args));
    alone(&a);
    for number in 0..30 {
        fs::create_dir(a.join(&format!("a-{number}"))).unwrap();
    }
    // What the other does comes after what was decided, and both see the same then.
    assert!(fs::create_dir(b.join("a-7")).is_err(), "it is there already");
    for number in 0..30 {
        fs::rename(b.join(&format!("a-{number}")), b.join(&format!("b-{number}"))).unwrap();
    }
    wait_until("the first sees what the other did", || names(&a, "").iter().all(|name| name.starts_with("b-")));
    alone(&b);
    fs::remove_dir(b.join("b-0")).unwrap();
    fs::write(b.join("b-1/file"), "by b").unwrap();
    fs::write(a.join("b-2/file"), "by a").unwrap();
    wait_until("both see both", || {
        let seen = |mount: &Mount<'_>| {
            fs::read(mount.join("b-1/file")).is_ok_and(|text| text == b"by b")
                && fs::read(mount.join("b-2/file")).is_ok_and(|text| text == b"by a")
        };
        seen(&a) && seen(&b) && names(&a, "").len() == 29 && names(&b, "").len() == 29
    });
    a.unmount();
    b.unmount();
    cluster.assert_consistent();
}
