//! A server that was restored from a backup, which nobody on this machine has accepted.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cyx_tests::mount::{Mount, bounded, run, unavailable};
use cyx_tests::{Cluster, User, wait_until};

#[test]
fn nothing_is_mounted_on_a_restored_server_and_a_mount_says_why_nothing_works() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("restored");
    user.ok(["bucket", "create", "docs"]);
    let mut mount = Mount::start(&user, "m", &[]);
    fs::write(mount.join("docs/file"), "text").unwrap();
    mount.settle();
    assert_eq!(mount.status()["restored"], false);

    cluster.kill_server();
    let again = cluster.server_command(&["new-incarnation"]);
    assert_eq!(again.code, 0, "{again:?}");
    cluster.up();
    wait_until("the mount knows", || mount.status()["restored"] == true);
    let said = String::from_utf8(user.ok(["mounts"]).stdout).unwrap();
    assert!(said.contains("restored from a backup") && said.contains("--accept-changes"), "{said}");
    // A bucket, which only the server can make.
    let error = fs::create_dir(mount.join("more")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    mount.unmount();

    let refused = user.fails(4, ["list", "docs"]);
    assert!(refused.stderr.contains("--accept-changes"), "{refused:?}");
    for args in [&[][..], &["--bucket", "docs"]] {
        let mounting = bounded(user.command(["mount"]).arg(mount.path()).args(args));
        assert_eq!((mounting.code, &mounting.stderr), (4, &refused.stderr), "{args:?}");
    }
    user.login_with(&cluster, &["--accept-changes"]);
    mount.again(&[]);
    assert_eq!(fs::read(mount.join("docs/file")).unwrap(), b"text");
    mount.unmount();
}

/// Nothing that was written is lost by a login: the mount that worked with the one before says that it cannot go on, and the next one does.
#[test]
fn what_was_written_at_a_restored_server_is_there_after_mounting_again() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("restored");
    user.ok(["bucket", "create", "docs"]);
    let mut mount = Mount::start(&user, "m", &[]);
    let mut file = File::create(mount.join("docs/file")).unwrap();
    file.write_all(b"one").unwrap();
    mount.settle();

    cluster.kill_server();
    let again = cluster.server_command(&["new-incarnation"]);
    assert_eq!(again.code, 0, "{again:?}");
    cluster.up();
    wait_until("the mount knows", || mount.status()["restored"] == true);
    file.write_all(b", two").unwrap();
    file.sync_all().unwrap();
    drop(file);
    // It is due after half a second.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(user.elsewhere(&cluster).read("docs", "file"), b"one", "nothing is sent before that is accepted");
    user.login_with(&cluster, &["--accept-changes"]);
    assert!(fs::create_dir(mount.join("more")).is_err());
    mount.kill();

    mount.again(&[]);
    mount.settle();
    assert_eq!(user.read("docs", "file"), b"one, two");
    mount.unmount();
}

/// A mount with a change in its journal that is based on a version which a restored server does not have; it has another one of
/// that number, by somebody else.
fn behind_a_restore<'a>(cluster: &'a Cluster, user: &'a User, version: &[u8], change: impl FnOnce(&Path)) -> Mount<'a> {
    user.ok(["bucket", "create", "docs"]);
    let mut mount = Mount::start(user, "m", &[]);
    fs::write(mount.join("docs/file"), "before").unwrap();
    mount.settle();
    let backup = tempfile::tempdir().unwrap();
    let copy = backup.path().join("copy");
    let made = cluster.server_command(&["backup", "--to", copy.to_str().unwrap()]);
    assert_eq!(made.code, 0, "{made:?}");
    fs::write(mount.join("docs/file"), version).unwrap();
    mount.settle();
    cluster.kill_server();
    change(&mount.join("docs/file"));
    mount.kill();

    fs::remove_dir_all(cluster.server_dir()).unwrap();
    let mut restore = Command::new(cyx_tests::program("cyx-server"));
    run(restore.arg("restore").arg("--from").arg(&copy).arg("--data-dir").arg(cluster.server_dir()));
    cluster.up();
    user.elsewhere(cluster).write("docs", "file", b"theirs");
    user.login_with(cluster, &["--accept-changes"]);
    mount.again(&[]);
    mount.settle();
    mount
}

fn contents(mount: &Mount<'_>) -> Vec<Vec<u8>> {
    let files = fs::read_dir(mount.join("docs")).unwrap();
    let mut found: Vec<Vec<u8>> = files.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    found.sort();
    found
}

#[test]
fn what_others_wrote_at_a_restored_server_is_kept_beside_what_is_in_the_journal() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("restored");
    let write = |path: &Path| fs::write(path, "mine, later").unwrap();
    let mut mount = behind_a_restore(&cluster, &user, b"mine", write);
    assert_eq!(contents(&mount), [b"mine, later".to_vec(), b"theirs".to_vec()]);
    mount.unmount();
}

/// The journal has a part of the file. The rest is on the nodes still, though the server does not know it.
#[test]
fn a_change_of_a_version_that_a_restored_server_lacks_is_kept_once_with_the_rest_of_the_file() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("restored");
    let mut version = vec![b'm'; 3 << 20];
    let mut mount = behind_a_restore(&cluster, &user, &version, |path| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(b"later", 1 << 20).unwrap();
        file.sync_all().unwrap();
    });
    version[1 << 20..][..5].copy_from_slice(b"later");
    let found = contents(&mount);
    assert!(found == [version, b"theirs".to_vec()], "{:?}", found.iter().map(Vec::len).collect::<Vec<_>>());
    mount.unmount();
}
