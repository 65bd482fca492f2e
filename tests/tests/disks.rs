//! Disks that fill up: a node's, and the client's.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cyx_tests::skip::skip;
use cyx_tests::{Cluster, noise};

const MIB: usize = 1 << 20;

/// A filesystem of its own; gone when dropped.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts a filesystem on a folder; `None` without the rights to do so.
    fn mount(args: &[&str], folder: &Path) -> Option<Self> {
        let mount = Command::new("mount").args(args).arg(folder).stderr(Stdio::null()).status();
        if mount.is_ok_and(|status| status.success()) {
            return Some(Self { folder: folder.to_owned() });
        }
        skip("mount", "mounting a filesystem takes root");
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
    let run = user.fails(1, download.into_iter().chain([target.as_os_str()]));
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
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("space"), "{said}");
}

#[test]
fn a_node_whose_disk_is_full_takes_nothing_more_and_uploads_go_on_elsewhere() {
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

fn free_bytes(folder: &Path) -> u64 {
    let stat = rustix::fs::statvfs(folder).unwrap();
    stat.f_bavail * stat.f_frsize
}
