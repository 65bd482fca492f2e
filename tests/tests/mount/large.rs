//! Large files: written and read at random places, and copied by reference.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use cyx_tests::mount::{Mount, missing, run, unavailable};
use cyx_tests::{Cluster, User, noise, wait_until};

const PATCH: usize = 12 << 20;

fn random(seed: u64, below: usize) -> usize {
    usize::try_from(u64::from_le_bytes(noise(seed, 8).try_into().unwrap())).unwrap() % below
}

/// Compares ranges at random places, and a few at borders of patches.
fn compare(file: &File, model: &[u8], seed: u64) {
    let borders = (1..4).map(|patch| patch * PATCH - 5000);
    let places = (0..40).map(|step| random(seed + step, model.len())).chain(borders);
    for (step, at) in (0..).zip(places.filter(|at| *at < model.len())) {
        let len = (1 + random(seed + 1000 + step, 300_000)).min(model.len() - at);
        let mut found = vec![0; len];
        file.read_exact_at(&mut found, at as u64).unwrap();
        assert!(found == model[at..at + len], "{len} bytes at {at}");
    }
}

/// Bytes that the nodes have taken.
fn stored(cluster: &Cluster) -> u64 {
    let status = cluster.status();
    let folders = status["nodes"].as_array().unwrap().iter().map(|node| node["data_dir"].as_str().unwrap().to_owned());
    let volumes = folders.flat_map(|folder| fs::read_dir(Path::new(&folder).join("volumes")).unwrap());
    volumes.map(|volume| volume.unwrap().metadata().unwrap().len()).sum()
}

fn used(user: &User, bucket: &str) -> u64 {
    let list = user.ok(["bucket", "list", "--json"]).json_lines();
    list.iter().find(|found| found["name"] == bucket).unwrap()["used_bytes"].as_u64().unwrap()
}

#[test]
fn a_large_file_is_written_and_read_at_random_places() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("large");
    user.ok(["bucket", "create", "work"]);
    let mut mount = Mount::start(&user, "m", &["--bucket", "work"]);
    let path = mount.join("large");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    let mut model: Vec<u8> = Vec::new();
    // In disorder, overlapping, with holes between, some committed before the next is written.
    for (step, at) in (0..).zip([30 << 20, 0, (11 << 20) + 77, (45 << 20) + 1, (25 << 20) + 4096]) {
        let data = noise(step, PATCH);
        file.write_all_at(&data, at as u64).unwrap();
        if model.len() < at + PATCH {
            model.resize(at + PATCH, 0);
        }
        model[at..at + PATCH].copy_from_slice(&data);
        if step % 2 == 1 {
            file.sync_all().unwrap();
            mount.settle();
        }
        compare(&file, &model, 10_000 * (step + 1));
    }
    for step in 0..30 {
        let (at, len) = (random(step + 70, model.len() - 200_000), 1 + random(step + 170, 200_000));
        let data = noise(step + 270, len);
        file.write_all_at(&data, at as u64).unwrap();
        model[at..at + len].copy_from_slice(&data);
    }
    drop(file);
    mount.unmount();
    fs::remove_dir_all(mount.cache_dir().join("cache")).unwrap();
    mount.again(&["--bucket", "work"]);
    let file = File::open(&path).unwrap();
    compare(&file, &model, 900_000);
    assert!(fs::read(&path).unwrap() == model, "all of it in order");
    drop(file);
    mount.unmount();
    assert!(user.read("work", "large") == model, "as every other machine sees it");
}

#[test]
fn a_long_file_that_changes_while_it_is_sent_is_what_was_written_last() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("long");
    user.ok(["bucket", "create", "work"]);
    let mut mount = Mount::start(&user, "m", &["--bucket", "work"]);
    for (round, name) in (0..).zip(["killed", "sent"]) {
        let before = stored(&cluster);
        let path = mount.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        let mut model = noise(round, 100 << 20);
        for (at, part) in (0..).step_by(1 << 20).zip(model.chunks(1 << 20)) {
            file.write_all_at(part, at).unwrap();
        }
        // As long as something is written, nothing is due for some seconds; pieces are sent all the same.
        wait_until("pieces of it are sent", || {
            file.write_all_at(b"more", model.len() as u64).unwrap();
            model.extend_from_slice(b"more");
            stored(&cluster) >= before + (25 << 20)
        });
        let other = noise(round + 10, 3 << 20);
        for at in [5 << 20, (19 << 20) + 77, 50 << 20] {
            file.write_all_at(&other, at as u64).unwrap();
            model[at..at + other.len()].copy_from_slice(&other);
        }
        model.truncate((90 << 20) + 5);
        file.set_len(model.len() as u64).unwrap();
        model.extend(noise(round + 20, 30 << 20));
        file.write_all_at(&model[(90 << 20) + 5..], (90 << 20) + 5).unwrap();
        file.sync_all().unwrap();
        compare(&file, &model, 1_000_000 * (round + 1));
        drop(file);
        if name == "killed" {
            mount.kill();
        } else {
            mount.unmount();
            assert!(user.read("work", name) == model, "as every other machine sees it");
        }
        fs::remove_dir_all(mount.cache_dir().join("cache")).unwrap();
        mount.again(&["--bucket", "work"]);
        assert!(fs::read(&path).unwrap() == model, "{name}");
    }
    mount.unmount();
    cluster.assert_consistent();
}

#[test]
fn a_copy_takes_no_room_at_the_nodes_and_outlives_its_source() {
    if unavailable() || missing("cp") {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("copies");
    user.ok(["bucket", "create", "work"]);
    let mut mount = Mount::start(&user, "m", &["--bucket", "work"]);
    let content = noise(5, (20 << 20) + 12_345);
    fs::write(mount.join("source"), &content).unwrap();
    mount.settle();
    let (bytes, quota) = (stored(&cluster), used(&user, "work"));
    assert!(bytes > 20 << 20 && quota > 20 << 20);
    run(Command::new("cp").arg("--reflink=auto").arg(mount.join("source")).arg(mount.join("copy")));
    let copy = OpenOptions::new().read(true).write(true).open(mount.join("copy")).unwrap();
    copy.sync_all().unwrap();
    assert_eq!(mount.status()["dirty_bytes"], 0, "no byte was written");
    mount.settle();
    assert_eq!((stored(&cluster), used(&user, "work")), (bytes, quota), "each byte is kept and counted once");
    // A part of it into the middle of another file, which goes on as its own.
    fs::write(mount.join("other"), noise(6, 1 << 20)).unwrap();
    let other = OpenOptions::new().read(true).write(true).open(mount.join("other")).unwrap();
    let (mut from, mut to) = (3 << 20, 500_000);
    let mut left = 5 << 20;
    while left > 0 {
        left -= rustix::fs::copy_file_range(&copy, Some(&mut from), &other, Some(&mut to), left).unwrap();
    }
    other.write_all_at(b"written over", 600_000).unwrap();
    copy.write_all_at(b"changed later", 3 << 20).unwrap();
    drop((copy, other));
    fs::remove_file(mount.join("source")).unwrap();
    mount.settle();
    let mut expected = noise(6, 1 << 20);
    expected.truncate(500_000);
    expected.extend_from_slice(&content[3 << 20..8 << 20]);
    expected[600_000..600_012].copy_from_slice(b"written over");
    mount.unmount();
    user.ok(["trash", "empty", "work"]);
    assert!(user.read("work", "other") == expected);
    let mut changed = content;
    changed[3 << 20..(3 << 20) + 13].copy_from_slice(b"changed later");
    fs::remove_dir_all(mount.cache_dir().join("cache")).unwrap();
    mount.again(&["--bucket", "work"]);
    assert!(fs::read(mount.join("copy")).unwrap() == changed);
    mount.unmount();
    cluster.assert_consistent();
}
