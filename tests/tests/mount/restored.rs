//! A server that was restored from a backup, which nobody on this machine has accepted.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use cyx_tests::mount::{Mount, bounded, run, unavailable};
use cyx_tests::{Cluster, wait_until};

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

/// Numbers of versions come again after a restore: what others wrote under one is not what the journal is based on.
#[test]
fn what_others_wrote_at_a_restored_server_is_kept_beside_what_is_in_the_journal() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("restored");
    user.ok(["bucket", "create", "docs"]);
    let mut mount = Mount::start(&user, "m", &[]);
    fs::write(mount.join("docs/file"), "before").unwrap();
    mount.settle();
    let backup = tempfile::tempdir().unwrap();
    let copy = backup.path().join("copy");
    let made = cluster.server_command(&["backup", "--to", copy.to_str().unwrap()]);
    assert_eq!(made.code, 0, "{made:?}");
    fs::write(mount.join("docs/file"), "mine").unwrap();
    mount.settle();
    cluster.kill_server();
    fs::write(mount.join("docs/file"), "mine, later").unwrap();
    mount.kill();

    fs::remove_dir_all(cluster.server_dir()).unwrap();
    let mut restore = Command::new(cyx_tests::program("cyx-server"));
    run(restore.arg("restore").arg("--from").arg(&copy).arg("--data-dir").arg(cluster.server_dir()));
    cluster.up();
    let other = user.elsewhere(&cluster);
    other.write("docs", "file", b"theirs");
    user.login_with(&cluster, &["--accept-changes"]);
    mount.again(&[]);
    mount.settle();
    let mut found: Vec<Vec<u8>> =
        fs::read_dir(mount.join("docs")).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    found.sort();
    assert_eq!(found, [b"mine, later".to_vec(), b"theirs".to_vec()]);
    mount.unmount();
}
