//! What was written to a bucket that somebody else deletes before it could be sent.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use cyx_tests::mount::{Mount, unavailable};
use cyx_tests::{Cluster, noise, wait_until};

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
