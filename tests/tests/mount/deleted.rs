//! What was changed in a bucket that somebody else deletes, or that is taken from the account, before it could be sent.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use cyx_tests::mount::{Mount, missing, run, unavailable};
use cyx_tests::{Cluster, Gate, User, noise, wait_until};

const ARGS: [&str; 2] = ["--cache-size", "64M"];

#[test]
fn what_was_written_to_a_deleted_bucket_is_kept_until_it_may_go_and_stands_in_nobodys_way() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("deleted");
    user.ok(["bucket", "create", "gone"]);
    user.ok(["bucket", "create", "work"]);
    let mut mount = Mount::start(&user, "m", &ARGS);
    fs::create_dir(mount.join("gone/dir")).unwrap();
    mount.settle();
    cluster.kill_node(0);
    let content = noise(1, 500_000);
    let mut file = File::create(mount.join("gone/dir/file")).unwrap();
    file.write_all(&content).unwrap();
    file.sync_all().unwrap();
    user.ok(["bucket", "delete", "gone", "--force"]);
    cluster.start_node(0);
    wait_until("it is noticed", || mount.status()["deleted_files"] == 1);
    let status = mount.status();
    assert_eq!((&status["deleted_bytes"], &status["dirty_files"]), (&500_000.into(), &0.into()), "{status}");
    assert!(String::from_utf8_lossy(&user.ok(["mounts"]).stdout).contains("cyx mount --discard-deleted"));
    // Nothing more is taken that could never be sent.
    let refused = file.write_all(&content).and_then(|()| file.sync_all()).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(rustix::io::Errno::STALE.raw_os_error()), "{refused}");
    drop(file);
    let off = user.ok([Path::new("umount"), mount.path()]);
    assert!(off.stderr.contains("kept") && off.stderr.contains("--discard-deleted"), "{off:?}");
    mount.wait_gone();

    // The next mount keeps it as well, in a journal that is filled more than once.
    mount.again(&ARGS);
    assert_eq!(mount.status()["deleted_bytes"], 500_000);
    assert!(!mount.join("gone").exists());
    let block = noise(2, 1 << 20);
    let mut file = File::create(mount.join("work/large")).unwrap();
    for _ in 0..80 {
        file.write_all(&block).unwrap();
    }
    drop(file);
    mount.settle();
    let status = mount.status();
    assert_eq!(status["deleted_bytes"], 500_000);
    assert!(status["journal_bytes"].as_u64().unwrap() < 40 << 20, "{status}");
    mount.kill();

    mount.again(&ARGS);
    assert_eq!(mount.status()["deleted_bytes"], 500_000);
    mount.unmount();
    mount.again(&[&ARGS[..], &["--discard-deleted"]].concat());
    assert_eq!((&mount.status()["deleted_files"], &mount.status()["deleted_bytes"]), (&0.into(), &0.into()));
    wait_until("the journal is empty", || mount.status()["journal_bytes"].as_u64().unwrap() < 100_000);
    let off = user.ok([Path::new("umount"), mount.path()]);
    assert!(!off.stderr.contains("kept"), "{off:?}");
    mount.wait_gone();
    mount.again(&ARGS);
    assert_eq!(mount.status()["deleted_files"], 0);
    assert_eq!(fs::metadata(mount.join("work/large")).unwrap().len(), 80 << 20);
    mount.unmount();
}

/// A user with two buckets, the same one behind a way on which answers can be held back, and that.
fn user_behind_a_gate(cluster: &Cluster, name: &str) -> (User, User, Gate) {
    let user = cluster.user(name);
    user.ok(["bucket", "create", "gone"]);
    user.ok(["bucket", "create", "work"]);
    let gate = Gate::to(&cluster.gateway());
    let far = user.elsewhere_via(cluster, gate.url());
    (user, far, gate)
}

/// Changes names in the bucket `gone`, those of five files, while the server is away.
fn change_names(mount: &Mount<'_>, gate: &Gate) {
    fs::create_dir(mount.join("gone/old")).unwrap();
    fs::write(mount.join("gone/removed"), "content").unwrap();
    mount.settle();
    assert_eq!(fs::read_dir(mount.join("gone")).unwrap().count(), 2);
    gate.hold();
    wait_until("the server is known to be away", || mount.status()["connected"] == false);
    for name in ["a", "b", "c"] {
        fs::create_dir(mount.join("gone").join(name)).unwrap();
    }
    fs::rename(mount.join("gone/old"), mount.join("gone/a/moved")).unwrap();
    fs::remove_file(mount.join("gone/removed")).unwrap();
    assert_eq!(mount.status()["dirty_files"], 5);
}

/// Nothing was written but names.
#[test]
fn names_that_were_changed_in_a_deleted_bucket_are_kept_until_they_may_go() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start_with(1, &["--write-lease-seconds=3"], &[]);
    let (user, far, gate) = user_behind_a_gate(&cluster, "names");
    let mut mount = Mount::start(&far, "m", &ARGS);
    change_names(&mount, &gate);
    user.ok(["bucket", "delete", "gone", "--force"]);
    gate.release();
    let kept = |mount: &Mount<'_>| {
        let status = mount.status();
        (status["deleted_files"].as_u64(), status["deleted_bytes"].as_u64(), status["dirty_files"].as_u64())
    };
    wait_until("it is noticed", || kept(&mount) == (Some(5), Some(0), Some(0)));
    let said = String::from_utf8_lossy(&far.ok(["mounts"]).stdout).into_owned();
    assert!(said.contains("in 5 files are kept") && said.contains("cyx mount --discard-deleted"), "{said}");
    // Nothing more is taken that could never be sent, and nobody else is disturbed.
    assert!(fs::create_dir(mount.join("gone/late")).is_err());
    fs::write(mount.join("work/file"), "beside").unwrap();
    wait_until("it is sent", || mount.status()["dirty_files"] == 0);
    assert_eq!(kept(&mount), (Some(5), Some(0), Some(0)));
    let off = far.ok([Path::new("umount"), mount.path()]);
    assert!(off.stderr.contains("in 5 files are kept") && off.stderr.contains("--discard-deleted"), "{off:?}");
    mount.wait_gone();

    mount.again(&ARGS);
    assert_eq!(kept(&mount), (Some(5), Some(0), Some(0)));
    mount.kill();
    mount.again(&[&ARGS[..], &["--discard-deleted"]].concat());
    assert_eq!(kept(&mount), (Some(0), Some(0), Some(0)));
    let off = far.ok([Path::new("umount"), mount.path()]);
    assert!(!off.stderr.contains("kept"), "{off:?}");
    mount.wait_gone();
    mount.again(&ARGS);
    assert_eq!(kept(&mount), (Some(0), Some(0), Some(0)));
    mount.unmount();
    assert_eq!(user.read("work", "file"), b"beside");
}

/// There is no command for that yet: the server's database is told.
#[test]
fn what_was_changed_in_a_bucket_that_was_taken_from_the_account_is_sent_when_it_is_back() {
    if unavailable() || missing("sqlite3") {
        return;
    }
    let cluster = Cluster::start_with(1, &["--write-lease-seconds=3"], &[]);
    let (user, far, gate) = user_behind_a_gate(&cluster, "taken");
    let _somebody = cluster.user("somebody");
    let data = cluster.status()["server"]["data_dir"].as_str().unwrap().to_owned();
    // Everything that one of the two has is the other's then.
    let exchange = || {
        let mut command = Command::new("sqlite3");
        command.args(["-cmd", ".timeout 60000"]).arg(Path::new(&data).join("cyx.db"));
        command.arg("UPDATE bucket_member SET account = (SELECT id FROM account WHERE id <> bucket_member.account)");
        run(&mut command);
    };
    let mut mount = Mount::start(&far, "m", &ARGS);
    change_names(&mount, &gate);
    fs::write(mount.join("gone/b/new"), "content").unwrap();
    exchange();
    gate.release();
    wait_until("it is noticed", || mount.status()["deleted_files"] == 6);
    let said = String::from_utf8_lossy(&far.ok(["mounts"]).stdout).into_owned();
    assert!(said.contains("not open to this account any more"), "{said}");
    mount.unmount();
    exchange();
    mount.again(&ARGS);
    mount.settle();
    let status = mount.status();
    assert!(status["deleted_files"] == 0 && status["conflicts"] == 0 && status["last_error"].is_null(), "{status}");
    mount.unmount();
    assert_eq!(user.read("gone", "b/new"), b"content");
    let listed = String::from_utf8_lossy(&user.ok(["list", "gone", "--recursive"]).stdout).into_owned();
    assert!(listed.contains("a/moved") && !listed.contains("removed"), "{listed}");
}
