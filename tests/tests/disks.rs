//! Disks that fill up: a node's, the client's, and that of a mount's journal.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cyx_crypto::keys::AccountKey;
use cyx_fs::journal::{Journal, Limits, Record};
use cyx_tests::mount::{Mount, bounded, missing, rootless, unavailable};
use cyx_tests::skip::skip;
use cyx_tests::{Cluster, User, noise, wait_until};
use rustix::io::Errno;

const MIB: usize = 1 << 20;

/// A filesystem of its own; gone when dropped.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts a filesystem on a folder; `None` where that is not to be had, and the test is skipped (`root`, `mount`).
    fn mount(args: &[&str], folder: &Path) -> Option<Self> {
        if rootless() {
            return None;
        }
        let mount = bounded(Command::new("mount").args(args).arg(folder));
        if mount.code == 0 {
            return Some(Self { folder: folder.to_owned() });
        }
        skip("mount", &format!("mount {args:?}: {}", mount.stderr.trim()));
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: programs that still run in it go on until they end.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_client_whose_disk_is_full_says_so_and_leaves_nothing() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let content = noise(1, 12 * MIB);
    user.write("docs", "file", &content);
    let small = user.path("small");
    std::fs::create_dir_all(&small).unwrap();
    let Some(_disk) = Disk::mount(&["-t", "tmpfs", "-o", "size=5m", "tmpfs"], &small) else { return };
    let target = small.join("file");
    let download = ["download".as_ref(), "docs".as_ref(), "--key".as_ref(), "file".as_ref(), "-o".as_ref()];
    let run = user.fails(5, download.into_iter().chain([target.as_os_str()]));
    assert!(run.stderr.contains("space"), "{run:?}");
    assert!(run.stderr.contains(small.to_str().unwrap()), "it names the place: {run:?}");
    assert!(!target.exists(), "nothing may stand under the final name");
    // With room it goes on.
    let larger = ["-o", "remount,size=40m"];
    assert!(Command::new("mount").args(larger).arg(&small).status().unwrap().success());
    user.ok(download.into_iter().chain([target.as_os_str()]));
    assert_eq!(std::fs::read(&target).unwrap(), content);
    let left: Vec<_> = std::fs::read_dir(&small).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["file"], "no partial file is left");
}

#[test]
fn standard_output_that_is_full_is_an_error() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "file", &noise(1, MIB));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = user.command(["download", "docs", "--key", "file", "-o", "-"]);
    let output = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("space"), "{said}");
}

#[test]
fn a_node_whose_disk_is_full_takes_nothing_more_and_uploads_go_on_elsewhere() {
    if rootless() || missing("mkfs.ext4") {
        return;
    }
    // Reports so rare that the server does not know what happens to the disk: the node itself has to refuse.
    let cluster = Cluster::start_with(
        3,
        &["--heartbeat-seconds=3600", "--node-suspect-seconds=7200", "--node-offline-seconds=7200"],
        &[],
    );
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    // Node 0 moves to a disk of its own.
    cluster.stop_node(0);
    let (data, image) = (cluster.node_dir(0), user.path("disk.img"));
    let aside = user.path("aside");
    run("cp", &["-a", data.to_str().unwrap(), aside.to_str().unwrap()]);
    std::fs::File::create(&image).unwrap().set_len(4 << 30).unwrap();
    run("mkfs.ext4", &["-q", "-F", "-m", "0", image.to_str().unwrap()]);
    let Some(disk) = Disk::mount(&["-o", "loop", image.to_str().unwrap()], &data) else { return };
    run("cp", &["-a", &format!("{}/.", aside.display()), data.to_str().unwrap()]);
    cluster.start_node(0);
    let before = noise(1, 3 * MIB);
    user.write("docs", "before", &before);
    let kept = cluster.metric(0, "cyx_node_chunks");
    assert!(kept > 0, "it is one of three nodes of a 2+1 file");

    // Somebody else fills the disk: the node keeps 256 MiB of it free.
    let ballast = data.join("ballast");
    let room = free_bytes(&data) - (256 << 20);
    run("fallocate", &["-l", &room.to_string(), ballast.to_str().unwrap()]);
    let content = noise(2, 40 * MIB);
    user.write("docs", "during", &content);
    assert_eq!(cluster.metric(0, "cyx_node_read_only"), 1);
    assert!(free_bytes(&data) > 200 << 20, "it leaves free what it has to");
    assert_eq!(user.read("docs", "during"), content);
    assert_eq!(user.read("docs", "before"), before);
    let survives = |key: &str| user.ok(["stat", "docs", key, "--scrub", "--json"]).json()["survives"].as_u64();
    assert_eq!((survives("before"), survives("during")), (Some(1), Some(1)));

    // It also comes back like this, and serves what it has.
    cluster.stop_node(0);
    cluster.start_node(0);
    assert_eq!(survives("before"), Some(1));

    // And takes chunks again when there is room.
    std::fs::remove_file(&ballast).unwrap();
    cluster.stop_node(0);
    cluster.start_node(0);
    user.write("docs", "after", &before);
    assert_eq!(cluster.metric(0, "cyx_node_chunks"), 2 * kept);
    drop(cluster);
    drop(disk);
}

/// Writes to a file until there is no room; says how many bytes there was room for.
fn fill(path: &Path, block: &[u8]) -> usize {
    let mut file = File::create(path).unwrap();
    let mut written = 0;
    loop {
        match file.write(block) {
            Ok(more) => written += more,
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()), "{error}");
                return written;
            }
        }
    }
}

/// A mount whose journal and cache lie on a disk of their own, of some megabytes.
fn mount_on<'a>(user: &'a User, size: &str) -> Option<(Disk, Mount<'a>)> {
    user.ok(["bucket", "create", "work"]);
    let cache = user.home().join("cache");
    fs::create_dir_all(&cache).unwrap();
    let disk = Disk::mount(&["-t", "tmpfs", "-o", size, "tmpfs"], &cache)?;
    Some((disk, Mount::start(user, "m", &["--bucket", "work", "--cache-size", "1G"])))
}

fn is_emptied(mount: &Mount<'_>) {
    mount.settle();
    wait_until("the journal is empty", || mount.status()["journal_bytes"].as_u64().unwrap() < 100_000);
}

#[test]
fn a_journal_that_filled_its_disk_is_emptied_and_takes_more() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    let Some((disk, mut mount)) = mount_on(&user, "size=40m") else { return };
    let small: Vec<Vec<u8>> = (0..200).map(|seed| noise(seed, 3000)).collect();
    (0..3).for_each(|node| cluster.kill_node(node));
    for (at, content) in small.iter().enumerate() {
        fs::write(mount.join(&format!("small-{at}")), content).unwrap();
    }
    let block = noise(1000, MIB);
    let written = fill(&mount.join("large"), &block);
    assert!((20 * MIB..40 * MIB).contains(&written), "{written}");
    // Down to the last byte, and it stays there.
    fill(&disk.folder.join("ballast"), &[0; 4096]);
    (0..3).for_each(|node| cluster.start_node(node));
    is_emptied(&mount);
    assert!(free_bytes(&disk.folder) > 20 << 20, "what the journal had is free");
    fs::write(mount.join("later"), &block).unwrap();
    is_emptied(&mount);
    mount.unmount();
    for (at, content) in small.iter().enumerate() {
        assert!(user.read("work", &format!("small-{at}")) == *content, "{at}");
    }
    // There may have been room for a part of the write that failed.
    let large = user.read("work", "large");
    assert!((written..written + MIB).contains(&large.len()), "{} of {written}", large.len());
    assert!(large == block.repeat(written / MIB + 2)[..large.len()]);
    assert!(user.read("work", "later") == block);
}

#[test]
fn what_is_in_a_journal_is_committed_when_somebody_else_fills_its_disk() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    let Some((disk, mut mount)) = mount_on(&user, "size=40m") else { return };
    let content = noise(1, 3 * MIB);
    (0..3).for_each(|node| cluster.kill_node(node));
    for at in 0..50 {
        fs::write(mount.join(&format!("small-{at}")), &content[at..2000]).unwrap();
    }
    fs::write(mount.join("large"), &content).unwrap();
    fill(&disk.folder.join("ballast"), &[0; 4096]);
    assert_eq!(free_bytes(&disk.folder), 0);
    // Also if it is another run that finds it like this.
    mount.kill();
    mount.again(&["--bucket", "work", "--cache-size", "1G"]);
    (0..3).for_each(|node| cluster.start_node(node));
    is_emptied(&mount);
    fs::write(mount.join("later"), &content[..MIB]).unwrap();
    is_emptied(&mount);
    mount.unmount();
    for at in 0..50 {
        assert!(user.read("work", &format!("small-{at}")) == content[at..2000], "{at}");
    }
    assert!(user.read("work", "large") == content);
    assert!(user.read("work", "later") == content[..MIB]);
}

/// Takes all room on a disk, that for names as well.
fn take_all(folder: &Path, name: &str) {
    let mut block = File::create(folder.join(name)).ok();
    for at in 0.. {
        if File::create(folder.join(format!("{name}-{at}"))).is_err() {
            break;
        }
    }
    while block.as_mut().is_some_and(|block| block.write(&[0; 4096]).is_ok()) {}
}

#[tokio::test]
async fn a_journal_is_emptied_where_there_is_not_even_room_for_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_disk) = Disk::mount(&["-t", "tmpfs", "-o", "size=1m,nr_inodes=60", "tmpfs"], folder.path()) else {
        return;
    };
    let key = AccountKey::from_bytes([0x61; 32]).derive_mount_key();
    let limits = Limits { file: 64 << 10, patience: Duration::from_millis(1), ..Limits::default() };
    let path = folder.path().join("journal");
    let (journal, _) = Journal::open(&path, key.clone(), limits).unwrap();
    let note = Record::Note { tag: 9, data: vec![7; 4000].into() };
    let notes: Vec<_> = (0..100).map(|_| journal.offer(&note).unwrap().unwrap()).collect();
    take_all(folder.path(), "ballast");
    while journal.offer(&note).unwrap().is_some_and(|at| journal.finish(at).is_ok()) {}
    // Nothing is removed meanwhile: that is for a task.
    notes.iter().for_each(|note| journal.finish(*note).unwrap());
    take_all(folder.path(), "more");
    assert!(journal.offer(&note).unwrap().is_none(), "what is new has to wait");
    journal.remove_free().await.unwrap();
    assert!(journal.used() == 0 && free_bytes(folder.path()) > 400_000);
    journal.offer(&note).unwrap().expect("there is room again");
    journal.sync().await.unwrap();
    drop(journal);
    // On another thread: what was to remove files goes on meanwhile.
    let opening = tokio::task::spawn_blocking(move || Journal::open(&path, key, limits));
    let (_, replayed) = opening.await.unwrap().unwrap();
    assert_eq!((replayed.notes.len(), replayed.damaged.len(), replayed.lost), (1, 0, 0));
}

fn free_bytes(folder: &Path) -> u64 {
    let stat = rustix::fs::statvfs(folder).unwrap();
    stat.f_bavail * stat.f_frsize
}
