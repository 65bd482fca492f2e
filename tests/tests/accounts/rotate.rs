//! New keys for buckets, and who goes on working with them.

use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::process::Command;

use cyx_tests::mount::{Mount, unavailable};
use cyx_tests::{Cluster, Run, User, program};
use serde_json::Value;

use crate::support::{register, text};

fn rotate(user: &User, bucket: &str) -> Value {
    user.ok(["rotate", bucket, "--json"]).json()
}

/// A machine that has nothing but a token.
fn with_token(cluster: &Cluster, token: &str, args: &[&str]) -> Run {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(program("cyx"));
    command.env_clear().env("HOME", home.path()).env("CYXCLOUD_GATEWAY", cluster.gateway());
    command.env("CYXCLOUD_TOKEN", token).args(args).stdin(std::process::Stdio::null());
    Run::of(command)
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
    let key = user.confirmed(&cluster, &["apikey", "create", "--json", "--name", "ci", "--bucket", "docs"]).json();
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
    let script = user.confirmed(&cluster, &["apikey", "create", "--json", "--name", "all"]).json();
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

/// Replaces the account key; what was printed of it and of the buckets.
fn replace_account_key(cluster: &Cluster, user: &User, more: &[&str]) -> Vec<Value> {
    let args = [&["rotate", "--account", "--yes", "--json"], more].concat();
    let done = user.confirmed(cluster, &args);
    assert_eq!(done.code, 0, "{done:?}");
    done.json_lines()
}

#[test]
fn a_new_account_key_cuts_off_what_had_the_old_one_and_nobody_else() {
    let cluster = Cluster::start(1);
    let (user, words) = register(&cluster, "ada");
    let elsewhere = user.elsewhere(&cluster);
    for bucket in ["docs", "music"] {
        user.ok(["bucket", "create", bucket]);
        user.write(bucket, "before", b"before");
    }
    let key = |name: &str, more: &[&str]| {
        let args = [&["apikey", "create", "--json", "--name", name], more].concat();
        text(&user.confirmed(&cluster, &args).json(), "token")
    };
    let (of_all, of_docs) = (key("all", &[]), key("docs", &["--bucket", "docs"]));

    user.fails(2, ["rotate", "--account", "--json"]);
    user.fails(2, ["rotate", "--account", "docs"]);
    user.fails(2, ["rotate", "--all-buckets"]);
    let refused = with_token(&cluster, &of_all, &["rotate", "--account", "--begin"]);
    assert_eq!(refused.code, 4, "keys of programs replace no keys: {refused:?}");
    let wrong = [("CYXCLOUD_PASSWORD", "Another-Tramway-31-Okra")];
    let begun = user.confirmed_with(&cluster, &["rotate", "--account", "--yes", "--json"], &wrong);
    assert_eq!(begun.code, 4, "{begun:?}");
    assert_eq!(elsewhere.read("docs", "before"), b"before", "nothing has happened");

    let done = replace_account_key(&cluster, &user, &["--all-buckets"]);
    assert_eq!((&done[0]["account_key_epoch"], done.len()), (&1.into(), 3), "{done:?}");
    assert_eq!((&done[0]["ended_sessions"], &done[0]["ended_api_keys"]), (&1.into(), &1.into()), "{done:?}");
    let new_words = text(&done[0], "recovery_words");
    assert_eq!((new_words.split(' ').count(), new_words == words), (24, false));
    assert!(done[1..].iter().all(|bucket| bucket["epoch"] == 2), "{done:?}");

    elsewhere.fails(4, ["list", "docs"]);
    assert_eq!(with_token(&cluster, &of_all, &["list", "docs"]).code, 4);
    let read = |name: &str| with_token(&cluster, &of_docs, &["cat", "docs", name]);
    assert_eq!(read("before").stdout, b"before");
    assert_eq!(with_token(&cluster, &of_docs, &["mkdir", "docs", "by-key"]).code, 0);
    assert_eq!(user.read("docs", "before"), b"before");
    user.write("docs", "before", b"after");
    user.write("docs", "new", b"new");
    assert_eq!((read("before").stdout, read("new").stdout), (b"after".to_vec(), b"new".to_vec()));
    user.ok(["bucket", "create", "photos"]);
    let second = text(&user.confirmed(&cluster, &["apikey", "create", "--json", "--name", "new"]).json(), "token");
    assert_eq!(with_token(&cluster, &second, &["cat", "docs", "new"]).stdout, b"new");

    // The password is the same, and opens the new key.
    elsewhere.login(&cluster);
    assert_eq!(elsewhere.read("docs", "before"), b"after");
    elsewhere.write("music", "before", b"from elsewhere");
    assert_eq!(user.read("music", "before"), b"from elsewhere");
    let again = replace_account_key(&cluster, &elsewhere, &[]);
    assert_eq!((&again[0]["account_key_epoch"], again.len()), (&2.into(), 1));
    assert_eq!(elsewhere.read("docs", "new"), b"new");
    assert_eq!(read("new").stdout, b"new");
    cluster.assert_consistent();
}

#[test]
fn a_mount_goes_on_while_the_account_key_is_replaced() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "before", b"before");
    let mut mount = Mount::start(&user, "cloud", &["--bucket", "docs"]);
    let mut open = fs::File::options().create_new(true).read(true).write(true).open(mount.join("open")).unwrap();
    open.write_all(b"first ").unwrap();
    open.sync_all().unwrap();
    mount.settle();
    for (round, more) in [(0, &[][..]), (1, &["--all-buckets"][..])] {
        replace_account_key(&cluster, &user, more);
        open.write_all(format!("{round} ").as_bytes()).unwrap();
        open.sync_all().unwrap();
        assert_eq!(fs::read(mount.join("before")).unwrap(), b"before");
        fs::create_dir(mount.join(&format!("dir{round}"))).unwrap();
        fs::write(mount.join(&format!("dir{round}/new")), round.to_string()).unwrap();
        mount.settle();
        assert_eq!(user.read("docs", &format!("dir{round}/new")), round.to_string().as_bytes());
    }
    drop(open);
    mount.unmount();
    assert_eq!(user.read("docs", "open"), b"first 0 1 ");
    cluster.assert_consistent();
}

#[test]
fn a_mount_that_was_cut_off_keeps_its_journal_until_somebody_logs_in_again() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    let elsewhere = user.elsewhere(&cluster);
    user.ok(["bucket", "create", "docs"]);
    let mut mount = Mount::start(&elsewhere, "cloud", &["--bucket", "docs"]);
    let mut open = fs::File::options().create_new(true).read(true).write(true).open(mount.join("open")).unwrap();
    open.write_all(b"sent, ").unwrap();
    open.sync_all().unwrap();
    mount.settle();
    replace_account_key(&cluster, &user, &["--all-buckets"]);
    elsewhere.fails(4, ["list", "docs"]);
    open.write_all(b"and kept").unwrap();
    open.sync_all().unwrap();
    drop(open);
    mount.kill();
    assert_eq!(user.read("docs", "open"), b"sent, ");
    elsewhere.login(&cluster);
    mount.again(&["--bucket", "docs"]);
    mount.settle();
    assert_eq!(fs::read(mount.join("open")).unwrap(), b"sent, and kept");
    mount.unmount();
    assert_eq!(user.read("docs", "open"), b"sent, and kept");
    cluster.assert_consistent();
}
