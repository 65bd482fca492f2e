//! A mount that is killed again and again: what `fsync` promised is there, through an empty read cache.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;

use cyx_tests::mount::{Mount, unavailable};
use cyx_tests::{Cluster, noise};

/// What a file must hold: what was synced last, or anything that was written since.
struct Promise {
    synced: Vec<u8>,
    /// The whole content after each write that was not synced.
    since: Vec<Vec<u8>>,
}

#[test]
fn nothing_that_was_synced_is_lost_when_a_mount_is_killed() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("crash");
    user.ok(["bucket", "create", "work"]);
    let args = ["--bucket", "work"];
    let mut mount = Mount::start(&user, "m", &args);
    let mut promises: BTreeMap<String, Promise> = BTreeMap::new();
    for round in 0..6_u64 {
        for step in 0..12_u64 {
            let seed = round * 1000 + step;
            let name = format!("file-{}", noise(seed, 1)[0] % 8);
            let path = mount.join(&name);
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
            let promise = promises.entry(name).or_insert_with(|| Promise { synced: Vec::new(), since: Vec::new() });
            let mut content = promise.since.last().unwrap_or(&promise.synced).clone();
            let random = noise(seed + 500, 4);
            let (offset, len) = (usize::from(random[0]) * 300, 1 + usize::from(random[1]) * 150);
            let data = noise(seed + 700, len);
            file.write_all_at(&data, offset as u64).unwrap();
            if content.len() < offset + len {
                content.resize(offset + len, 0);
            }
            content[offset..offset + len].copy_from_slice(&data);
            if random[2].is_multiple_of(2) {
                file.sync_all().unwrap();
                *promise = Promise { synced: content, since: Vec::new() };
            } else {
                promise.since.push(content);
            }
        }
        mount.kill();
        fs::remove_dir_all(mount.cache_dir().join("cache")).unwrap();
        mount.again(&args);
        for (name, promise) in &mut promises {
            let found = fs::read(mount.join(name)).unwrap_or_else(|error| panic!("{name} in round {round}: {error}"));
            let known = found == promise.synced || promise.since.contains(&found);
            assert!(known, "{name} in round {round} has {} bytes that it never had", found.len());
            *promise = Promise { synced: found, since: Vec::new() };
        }
    }
    mount.settle();
    mount.unmount();
    for (name, promise) in &promises {
        assert!(user.read("work", name) == promise.synced, "{name} as every other machine sees it");
    }
    cluster.assert_consistent();
}

#[test]
fn a_rename_never_overtakes_what_was_synced_into_the_new_file() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("saver");
    user.ok(["bucket", "create", "work"]);
    let args = ["--bucket", "work"];
    let mut mount = Mount::start(&user, "m", &args);
    let content = |version: u64| noise(version, 20_000 + usize::try_from(version).unwrap());
    fs::write(mount.join("document"), content(0)).unwrap();
    File::open(mount.join("document")).unwrap().sync_all().unwrap();
    for version in 1..4 {
        let new = mount.join("document.new");
        fs::write(&new, content(version)).unwrap();
        File::open(&new).unwrap().sync_all().unwrap();
        fs::rename(&new, mount.join("document")).unwrap();
        mount.kill();
        mount.again(&args);
        let found = fs::read(mount.join("document")).unwrap();
        assert!(
            found == content(version) || found == content(version - 1),
            "neither the old nor the new in version {version}"
        );
        fs::write(mount.join("document"), content(version)).unwrap();
        File::open(mount.join("document")).unwrap().sync_all().unwrap();
    }
    mount.unmount();
}
