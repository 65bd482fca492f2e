//! Long listings: what the kernel keeps of them, and that it is of now.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use cyx_tests::mount::{Mount, run, unavailable};
use cyx_tests::{Cluster, free_port, wait_until};

use crate::requests::requests;

const FILES: usize = 400;

fn ls(path: &Path) -> usize {
    let mut command = Command::new("ls");
    let listed = run(command.arg("-l").arg(path).env("LC_ALL", "C").stdin(Stdio::null()));
    // One line more: the blocks of all.
    listed.stdout.iter().filter(|byte| **byte == b'\n').count() - 1
}

fn names(path: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let listed: Vec<String> = names.collect();
    let set: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(set.len(), listed.len(), "a name is listed twice");
    set
}

#[test]
fn a_listing_that_is_known_is_the_kernels_alone() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("long");
    user.ok(["bucket", "create", "long"]);
    let folder = user.path("entries");
    fs::create_dir(&folder).unwrap();
    (0..FILES).for_each(|number| fs::write(folder.join(format!("file-{number}")), "text").unwrap());
    user.ok(["upload", folder.to_str().unwrap(), "--bucket", "long", "--key", "entries", "-r", "--quiet"]);
    let metrics = free_port();
    let mut mount = Mount::start(&user, "m", &["--bucket", "long", "-o", &format!("metrics={metrics}")]);
    wait_until("changes are heard of", || mount.status()["connected"] == true);
    let path = mount.join("entries");
    let counted = |listing: &dyn Fn()| {
        let before = requests(metrics);
        listing();
        requests(metrics) - before
    };
    // Names and attributes come many at a time, and nothing is asked about a single file.
    let cold = counted(&|| assert_eq!(ls(&path), FILES));
    assert!(cold < FILES as u64 / 4, "{cold} requests for {FILES} files");
    let warm = counted(&|| assert_eq!(ls(&path), FILES));
    assert!(warm < 10, "{warm} requests for what is known");
    mount.unmount();
}

#[test]
fn a_listing_that_the_kernel_keeps_is_of_now() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("kept");
    let there = user.elsewhere(&cluster);
    user.ok(["bucket", "create", "kept"]);
    let args = ["--bucket", "kept"];
    let (mut a, mut b) = (Mount::start(&user, "a", &args), Mount::start(&there, "b", &args));
    for mount in [&a, &b] {
        wait_until("changes are heard of", || mount.status()["connected"] == true);
    }
    let (here, other) = (a.join("dir"), b.join("dir"));
    fs::create_dir(&here).unwrap();
    let mut expected: BTreeSet<String> = BTreeSet::new();
    for round in 0..20 {
        let made = format!("made-{round}");
        // In turns here and there, each time after both have listed what was there before.
        let by = if round % 3 == 2 { &other } else { &here };
        wait_until("the directory is there", || by.is_dir());
        fs::write(by.join(&made), "text").unwrap();
        expected.insert(made);
        if round % 4 == 3 {
            let (gone, moved) = (format!("made-{}", round - 1), format!("moved-{round}"));
            fs::rename(by.join(&gone), by.join(&moved)).unwrap();
            expected.remove(&gone);
            expected.insert(moved);
        }
        assert_eq!(names(by), expected, "whoever changes it sees it at once, in round {round}");
        for mount in [&here, &other] {
            wait_until("both see the same", || mount.is_dir() && names(mount) == expected);
            assert_eq!(names(mount), expected, "and go on to, in round {round}");
        }
    }
    // One that was opened before and begins again is of now as well.
    let open = rustix::fs::open(&other, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    let mut dir = rustix::fs::Dir::read_from(&open).unwrap();
    let mut count = || {
        dir.rewind();
        std::iter::from_fn(|| dir.next()).map(Result::unwrap).count() - 2
    };
    assert_eq!(count(), expected.len());
    fs::write(here.join("last"), "text").unwrap();
    wait_until("it is seen through the one that is open", || count() == expected.len() + 1);
    // What is open keeps the mount from being taken off.
    drop((dir, open));
    a.unmount();
    b.unmount();
    cluster.assert_consistent();
}
