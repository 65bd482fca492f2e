//! New keys for buckets, and who goes on working with them.

use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::process::Command;

use cyx_tests::mount::{Mount, unavailable};
use cyx_tests::{Cluster, Run, User, program};
use serde_json::Value;

use crate::support::{run, text};

fn rotate(user: &User, bucket: &str) -> Value {
    user.ok(["rotate", bucket, "--json"]).json()
}

/// A machine that has nothing but a token.
fn with_token(cluster: &Cluster, token: &str, args: &[&str]) -> Run {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(program("cyx"));
    command.env_clear().env("HOME", home.path()).env("CYXCLOUD_GATEWAY", cluster.gateway());
    command.env("CYXCLOUD_TOKEN", token).args(args).stdin(std::process::Stdio::null());
    run(command)
}

#[test]
fn everything_is_there_after_a_rotation_and_so_is_everybody_who_may() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let large = cyx_tests::noise(7, 600_000);
    user.ok(["mkdir", "docs", "a/b", "-p"]);
    user.write("docs", "a/b/small", b"small");
    user.write("docs", "a/large", &large);
    user.write("docs", "a/b/thrown", b"thrown away");
    user.ok(["delete", "docs", "a/b/thrown"]);
    let key = user.ok(["apikey", "create", "--json", "--name", "ci", "--bucket", "docs"]).json();
    let token = text(&key, "token");
    assert_eq!(with_token(&cluster, &token, &["cat", "docs", "a/b/small"]).stdout, b"small");

    let done = rotate(&user, "docs");
    // Two directories, two files and one in the trash.
    assert_eq!((&done["epoch"], &done["inodes"], &done["api_keys"]), (&2.into(), &5.into(), &1.into()), "{done}");
    assert_eq!((&done["resumed"], &done["broken"]), (&false.into(), &0.into()), "{done}");
    assert_eq!(user.read("docs", "a/b/small"), b"small");
    assert_eq!(user.read("docs", "a/large"), large, "what was stored before is not sent again and stays readable");
    user.write("docs", "a/b/small", b"changed");
    user.write("docs", "a/new", b"new");
    user.ok(["mv", "docs", "a/b", "moved"]);
    user.ok(["trash", "restore", "docs", "moved/thrown"]);
    user.ok(["cp", "docs", "a/large", "copy"]);
    assert_eq!(user.read("docs", "copy"), large);

    let read = |name: &str| with_token(&cluster, &token, &["cat", "docs", name]);
    assert_eq!(read("moved/small").stdout, b"changed", "an API key that was not revoked has the new keys");
    assert_eq!(read("moved/thrown").stdout, b"thrown away");
    assert_eq!(with_token(&cluster, &token, &["mkdir", "docs", "by-key"]).code, 0);
    assert_eq!(user.ok(["list", "docs"]).stdout, b"a/\nby-key/\ncopy\nmoved/\n");

    let again = rotate(&user, "docs");
    assert_eq!((&again["epoch"], &again["broken"]), (&3.into(), &0.into()), "{again}");
    assert_eq!(user.read("docs", "a/large"), large);
    assert_eq!(read("moved/small").stdout, b"changed");
    assert_eq!(String::from_utf8_lossy(&user.ok(["list", "docs", "-r"]).stdout).lines().count(), 8);
}

#[test]
fn more_rotations_than_a_name_has_epochs_lose_nothing() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "file", b"content");
    user.ok(["delete", "docs", "file"]);
    user.write("docs", "file", b"other");
    for _ in 0..18 {
        rotate(&user, "docs");
    }
    assert_eq!(user.read("docs", "file"), b"other");
    user.fails(7, ["trash", "restore", "docs", "file"]);
    user.ok(["mv", "docs", "file", "kept"]);
    user.ok(["trash", "restore", "docs", "file"]);
    assert_eq!(user.read("docs", "file"), b"content");
}

#[test]
fn all_buckets_get_new_keys_and_foreign_ones_do_not_exist() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    for bucket in ["one", "two"] {
        user.ok(["bucket", "create", bucket]);
    }
    let done = user.ok(["rotate", "--json"]).json_lines();
    let buckets: Vec<&str> = done.iter().map(|done| done["bucket"].as_str().unwrap()).collect();
    assert_eq!(buckets, ["one", "two"]);
    assert!(done.iter().all(|done| done["epoch"] == 2), "{done:?}");
    user.fails(3, ["rotate", "missing"]);
    let partly = user.cyx(["rotate", "one", "missing", "--json"]);
    assert_eq!((partly.code, partly.json()["epoch"].as_u64()), (8, Some(3)), "{partly:?}");
    let eve = cluster.user("eve");
    eve.fails(3, ["rotate", "one"]);
    assert!(eve.ok(["rotate", "--json"]).stdout.is_empty());
    let script = user.ok(["apikey", "create", "--json", "--name", "all"]).json();
    let refused = with_token(&cluster, &text(&script, "token"), &["rotate", "one"]);
    assert_eq!(refused.code, 4, "keys of programs replace no keys: {refused:?}");
}

#[test]
fn a_mount_goes_on_while_keys_are_replaced() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    let elsewhere = user.elsewhere(&cluster);
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "before", b"before");
    let mut mount = Mount::start(&user, "cloud", &["--bucket", "docs"]);
    fs::create_dir_all(mount.join("a/b")).unwrap();
    let mut open = fs::File::options().create_new(true).read(true).write(true).open(mount.join("a/open")).unwrap();
    open.write_all(b"first ").unwrap();
    open.sync_all().unwrap();
    mount.settle();
    for round in 0..3_u64 {
        let done = rotate(&elsewhere, "docs");
        assert_eq!((done["epoch"].as_u64(), &done["broken"]), (Some(round + 2), &0.into()), "{done}");
        // What is open, what is known, and what is new, in directories whose keys this machine had.
        open.write_all(format!("{round} ").as_bytes()).unwrap();
        open.sync_all().unwrap();
        assert_eq!(fs::read(mount.join("before")).unwrap(), b"before");
        fs::write(mount.join(&format!("a/b/new{round}")), round.to_string()).unwrap();
        fs::create_dir(mount.join(&format!("a/dir{round}"))).unwrap();
        fs::hard_link(mount.join("a/open"), mount.join(&format!("a/dir{round}/link"))).unwrap();
        fs::rename(mount.join(&format!("a/b/new{round}")), mount.join(&format!("a/dir{round}/moved"))).unwrap();
        std::os::unix::fs::symlink("target", mount.join(&format!("link{round}"))).unwrap();
        mount.settle();
        let there = elsewhere.ok(["cat", "docs", &format!("a/dir{round}/moved")]);
        assert_eq!(there.stdout, round.to_string().as_bytes());
        elsewhere.write("docs", "a/from-elsewhere", round.to_string().as_bytes());
        cyx_tests::wait_until("the mount shows what was written elsewhere", || {
            fs::read(mount.join("a/from-elsewhere")).is_ok_and(|found| found == round.to_string().as_bytes())
        });
    }
    let mut content = String::new();
    open.rewind().unwrap();
    open.read_to_string(&mut content).unwrap();
    assert_eq!(content, "first 0 1 2 ");
    drop(open);
    mount.unmount();
    assert_eq!(elsewhere.read("docs", "a/open"), b"first 0 1 2 ");
    assert_eq!(elsewhere.read("docs", "a/dir0/link"), b"first 0 1 2 ");
    assert_eq!(rotate(&elsewhere, "docs")["broken"], 0);
    assert_eq!(user.read("docs", "a/dir2/moved"), b"2");
    cluster.assert_consistent();
}
