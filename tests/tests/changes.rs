//! Replacing, racing and refusing: what a second writer and a second upload see.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use cyx_tests::{Cluster, noise};

#[test]
fn preconditions_are_kept() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "f", b"one");
    let source = user.file("f", b"two");
    let upload = |extra: &[&str]| {
        let mut args = vec!["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref()];
        args.extend(extra.iter().map(std::ffi::OsStr::new));
        user.cyx(args)
    };
    assert_eq!(upload(&["--if-absent"]).code, 7);
    assert_eq!(user.read("docs", "f"), b"one");
    let version = user.ok(["stat", "docs", "f", "--json"]).json()["version"].as_u64().unwrap();
    assert_eq!(upload(&["--if-match", &(version + 1).to_string()]).code, 7);
    assert_eq!(user.read("docs", "f"), b"one");
    let run = upload(&["--if-match", &version.to_string()]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(user.read("docs", "f"), b"two");
}

#[test]
fn of_two_uploads_at_once_one_wins_whole() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let contents = [noise(1, 400_000), noise(2, 500_000)];
    let sources = [user.file("one", &contents[0]), user.file("two", &contents[1])];
    std::thread::scope(|scope| {
        for source in &sources {
            scope.spawn(|| {
                let args = ["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref()];
                let run = user.cyx(args.into_iter().chain(["--key".as_ref(), "f".as_ref()]));
                assert!([0, 7].contains(&run.code), "{run:?}");
            });
        }
    });
    let found = user.read("docs", "f");
    assert!(contents.contains(&found), "{} bytes of neither", found.len());
}

#[test]
fn missing_things_are_not_found_and_nothing_is_made_in_passing() {
    let cluster = Cluster::start(1);
    let user = cluster.user("ada");
    let source = user.file("f", b"x");
    user.fails(3, ["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "nowhere".as_ref()]);
    assert!(user.ok(["bucket", "list", "--json"]).stdout.is_empty(), "uploads never create buckets");
    user.ok(["bucket", "create", "docs"]);
    user.fails(7, ["bucket", "create", "docs"]);
    user.fails(3, ["download", "docs", "--key", "f", "-o", "-"]);
    user.fails(3, ["delete", "docs", "f"]);
    user.fails(3, ["list", "nowhere"]);
    user.write("docs", "f", b"x");
    user.fails(7, ["bucket", "delete", "docs"]);
}

#[test]
fn moving_copying_and_listing_do_what_their_names_say() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let content = noise(5, 100_000);
    user.write("docs", "a/b/one", &content);
    user.ok(["mkdir", "docs", "c"]);
    user.ok(["mv", "docs", "a/b", "c/moved"]);
    assert_eq!(user.read("docs", "c/moved/one"), content);
    user.fails(3, ["stat", "docs", "a/b/one"]);
    user.ok(["cp", "docs", "c/moved/one", "copy"]);
    user.write("docs", "other", b"other");
    user.fails(7, ["mv", "docs", "other", "copy", "--no-clobber"]);
    user.ok(["mv", "docs", "copy", "other"]);
    assert_eq!(user.read("docs", "other"), content);
    let trash = user.ok(["trash", "list", "docs", "--json"]).json_lines();
    assert_eq!(trash.len(), 1, "{trash:?}");
    user.ok(["trash", "restore", "docs", trash[0]["id"].as_str().unwrap(), "--as", "copy"]);
    assert_eq!(user.read("docs", "copy"), b"other");
    // A directory replaces no file, and a file no directory.
    user.fails(2, ["mv", "docs", "c", "copy"]);
    assert_eq!(user.read("docs", "copy"), b"other");
    user.ok(["mv", "docs", "other", "copy"]);
    user.ok(["delete", "docs", "c", "-r", "--permanent"]);
    assert_eq!(user.read("docs", "copy"), content);
    let keys: Vec<String> = user
        .ok(["list", "docs", "-r", "--json"])
        .json_lines()
        .iter()
        .map(|item| item["key"].as_str().unwrap().trim_end_matches('/').to_owned())
        .collect();
    assert!(keys.contains(&"copy".to_owned()), "{keys:?}");
    assert!(!keys.iter().any(|key| key.starts_with("c/")), "{keys:?}");
}

#[test]
fn a_copied_tree_keeps_modes_and_takes_the_place_of_files_and_links() {
    let cluster = Cluster::start(3);
    let user = cluster.user("ada");
    for bucket in ["docs", "other"] {
        user.ok(["bucket", "create", bucket]);
    }
    let plant = |name: &str, file: &str, link: &str| {
        let tree = user.path(name).join("tree");
        fs::create_dir_all(tree.join("private")).unwrap();
        for (path, mode) in [("", 0o711), ("private", 0o700)] {
            fs::set_permissions(tree.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::write(tree.join(file), name).unwrap();
        symlink(name, tree.join(link)).unwrap();
        symlink(name, tree.join("private/link")).unwrap();
        tree
    };
    let (tree, before) = (plant("new", "a", "b"), plant("old", "b", "a"));
    let upload = |tree: &Path, bucket: &str| {
        user.ok(["upload".as_ref(), "-r".as_ref(), tree.as_os_str(), "--bucket".as_ref(), bucket.as_ref()]);
    };
    upload(&tree, "docs");
    upload(&before, "other");
    user.ok(["mkdir", "docs", "within"]);
    user.ok(["cp", "docs", "tree", "fresh", "-r"]);
    // What is there already is left alone, and what differs is replaced.
    user.ok(["cp", "docs", "tree", "within", "-r"]);
    user.ok(["cp", "docs", "tree", "within", "-r"]);
    user.ok(["cp", "docs", "tree", "", "-r", "--to-bucket", "other"]);
    user.ok(["cp", "docs", "tree", "", "-r", "--to-bucket", "other"]);
    user.fails(7, ["cp", "docs", "tree/b", "tree/b", "--no-clobber", "--to-bucket", "other"]);
    for (bucket, key) in [("docs", "fresh"), ("docs", "within/tree"), ("other", "tree")] {
        let found = user.path(&format!("found-{bucket}-{}", key.replace('/', "-")));
        user.ok([
            "download".as_ref(),
            bucket.as_ref(),
            "-r".as_ref(),
            "--key".as_ref(),
            key.as_ref(),
            "-o".as_ref(),
            found.as_os_str(),
        ]);
        let found = if found.join("tree").is_dir() { found.join("tree") } else { found };
        for (path, mode) in [("", 0o711), ("private", 0o700)] {
            let is = fs::metadata(found.join(path)).unwrap().permissions().mode() & 0o7777;
            assert_eq!(is, mode, "{bucket} {key} {path}");
        }
        assert_eq!(fs::read(found.join("a")).unwrap(), b"new", "{bucket} {key}");
        for link in ["b", "private/link"] {
            assert_eq!(fs::read_link(found.join(link)).unwrap(), Path::new("new"), "{bucket} {key} {link}");
        }
    }
}

#[test]
fn two_people_see_nothing_of_each_other() {
    let cluster = Cluster::start(3);
    let (ada, eve) = (cluster.user("ada"), cluster.user("eve"));
    ada.ok(["bucket", "create", "docs"]);
    ada.write("docs", "secret", b"for ada only");
    assert!(eve.ok(["bucket", "list", "--json"]).stdout.is_empty());
    eve.fails(3, ["list", "docs"]);
    eve.ok(["bucket", "create", "docs"]);
    eve.fails(3, ["download", "docs", "--key", "secret", "-o", "-"]);
}
