//! What a mount meets every day: a full journal, files that are opened past every cache, `/etc/fstab`.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::Command;

use cyx_tests::mount::{Mount, bounded, run, unavailable};
use cyx_tests::{Cluster, User, noise, program, wait_until};
use rustix::fs::OFlags;
use rustix::io::Errno;

#[test]
fn a_full_journal_makes_writers_wait_and_fail_and_is_emptied_when_it_can_be() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("full");
    user.ok(["bucket", "create", "work"]);
    let mut mount = Mount::start(&user, "m", &["--bucket", "work", "--cache-size", "64M"]);
    let kept = noise(1, 500_000);
    fs::write(mount.join("kept"), &kept).unwrap();
    mount.settle();
    (0..3).for_each(|node| cluster.kill_node(node));
    let mut file = File::create(mount.join("large")).unwrap();
    let (block, mut written) = (noise(2, 1 << 20), 0);
    let error = loop {
        match file.write_all(&block) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 64, "a journal is no larger than its limit");
    };
    assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
    assert!(written > 8, "{written}");
    // What was written can be read, and names can be given.
    let mut read = vec![0; 1 << 20];
    File::open(mount.join("large")).unwrap().read_exact_at(&mut read, 5 << 20).unwrap();
    assert!(read == block);
    fs::create_dir(mount.join("dir")).unwrap();
    drop(file);
    // What is not needed any more makes room at once.
    fs::remove_file(mount.join("large")).unwrap();
    fs::write(mount.join("dir/later"), &block).unwrap();
    (0..3).for_each(|node| cluster.start_node(node));
    mount.settle();
    wait_until("the journal is empty", || mount.status()["journal_bytes"].as_u64().unwrap() < 100_000);
    mount.unmount();
    assert!(user.read("work", "kept") == kept);
    assert!(user.read("work", "dir/later") == block);
}

#[test]
fn files_are_read_and_written_past_the_caches_of_the_kernel() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("direct");
    user.ok(["bucket", "create", "work"]);
    let mut mount = Mount::start(&user, "m", &["--bucket", "work"]);
    let path = mount.join("file");
    let direct = |write: bool| {
        let mut options = OpenOptions::new();
        options.read(true).write(write).create(write).custom_flags(OFlags::DIRECT.bits().cast_signed());
        options.open(&path).unwrap()
    };
    let content = noise(3, 1 << 20);
    direct(true).write_all(&content).unwrap();
    let mut found = Vec::new();
    direct(false).read_to_end(&mut found).unwrap();
    assert!(found == content);
    // The other way's writes are seen by each.
    fs::write(&path, b"short").unwrap();
    let mut found = [0; 5];
    direct(false).read_exact(&mut found).unwrap();
    assert_eq!(&found, b"short");
    direct(true).write_all_at(b"S", 0).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"Short");
    mount.unmount();
    assert_eq!(user.read("work", "file"), b"Short");
}

/// Runs the helper as mount(8) does.
fn helper(user: &User, args: &[&str], at: &Path) -> cyx_tests::Run {
    bounded(helper_command(args, at).env("HOME", user.home()))
}

fn helper_command(args: &[&str], at: &Path) -> Command {
    let folder = program("cyx").parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path))).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/mount.cyx");
    let mut command = Command::new("sh");
    command.arg(script).arg(args[0]).arg(at).args(&args[1..]);
    command.env_clear().env("PATH", path);
    command
}

#[test]
fn the_helper_of_mount_mounts_as_a_line_of_fstab_says() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("fstab");
    user.ok(["bucket", "create", "work"]);
    user.write("work", "file", b"content");
    let point = user.path("m");
    fs::create_dir(&point).unwrap();
    let options = format!("rw,noauto,user,_netdev,noatime,nofail,home={}", user.home().display());
    assert_eq!(helper(&user, &["work"], &point).code, 32, "whose login it is was not said");
    assert_eq!(helper(&user, &["nothing", "-o", &options], &point).code, 32);
    assert_eq!(helper(&user, &["work", "-o", "nonsense"], &point).code, 1);
    let homeless = bounded(&mut helper_command(&["work", "-o", "rw"], &point));
    assert_eq!((homeless.code, homeless.stderr.contains("option home=")), (1, true), "{homeless:?}");
    let again = helper(&user, &["work", "-o", &format!("remount,{options}")], &point);
    assert_eq!((again.code, again.stderr.contains("cannot be changed")), (1, true), "{again:?}");
    assert_eq!(helper(&user, &["work", "-f", "-o", &options], &point).code, 0, "it only pretends");
    assert!(!point.join("file").exists());
    // A folder that happens to have the bucket's name made a path of it; the table has to show what mount(8) looks for later.
    assert_eq!(helper(&user, &["/srv/work", "-n", "-o", &options], &point).code, 0);
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.split(' ').nth(4).is_some_and(|found| Path::new(found) == point));
    assert!(line.is_some_and(|line| line.contains(" - fuse.cyx /srv/work ")), "{line:?}");
    assert_eq!(fs::read(point.join("file")).unwrap(), b"content");
    fs::write(point.join("mine"), "mine").unwrap();
    run(user.command(["umount"]).arg(&point));
    assert!(!point.join("file").exists());
    assert_eq!(user.read("work", "mine"), b"mine");
}
