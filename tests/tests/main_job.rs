//! The main job, as a person does it: register, log in, upload, lose nodes, download, delete.

#![allow(clippy::unwrap_used, missing_docs)]

use cyx_tests::{Cluster, noise, tree};

#[test]
fn a_directory_tree_survives_the_loss_of_four_nodes() {
    let cluster = Cluster::start(14);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);

    user.file("tree/empty", b"");
    user.file("tree/small.txt", b"hello\n");
    user.file("tree/sub/4096", &noise(1, 4096));
    user.file("tree/sub/4097", &noise(2, 4097));
    user.file("tree/sub/medium", &noise(3, 200_000));
    user.file("tree/sub/deep/large", &noise(4, 23_000_001));
    std::os::unix::fs::symlink("../small.txt", user.path("tree/sub/link")).unwrap();
    let source = user.path("tree");
    // With fewer shards than all it would survive the loss of fewer.
    let upload = ["upload".as_ref(), source.as_os_str(), "--bucket".as_ref(), "docs".as_ref(), "-r".as_ref()];
    user.ok(upload.into_iter().chain(["--durability".as_ref(), "all".as_ref()]));

    for index in [0, 5, 9, 13] {
        cluster.kill_node(index);
    }
    let target = user.path("back");
    user.ok([
        "download".as_ref(),
        "docs".as_ref(),
        "--key".as_ref(),
        "tree".as_ref(),
        "-r".as_ref(),
        "-o".as_ref(),
        target.as_os_str(),
    ]);
    let found = if target.join("tree").is_dir() { target.join("tree") } else { target };
    tree::assert_same(&source, &found);
}

#[test]
fn what_was_deleted_is_gone_and_what_was_trashed_comes_back() {
    let cluster = Cluster::start(3);
    let user = cluster.user("grace");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "a.txt", b"first");
    user.write("docs", "b.txt", b"second");
    user.ok(["delete", "docs", "a.txt"]);
    user.fails(3, ["download", "docs", "--key", "a.txt", "-o", "-"]);

    let trash = user.ok(["trash", "list", "docs", "--json"]).json_lines();
    assert_eq!(trash.len(), 1, "{trash:?}");
    let id = trash[0]["id"].as_str().unwrap();
    user.ok(["trash", "restore", "docs", id]);
    assert_eq!(user.read("docs", "a.txt"), b"first");

    user.ok(["delete", "docs", "b.txt", "--permanent"]);
    user.fails(3, ["stat", "docs", "b.txt"]);
    assert!(user.ok(["trash", "list", "docs", "--json"]).json_lines().is_empty());
}

#[test]
fn what_was_deleted_before_its_directory_comes_back_behind_it() {
    let cluster = Cluster::start(3);
    let user = cluster.user("barbara");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "a/b/one", b"first");
    user.write("docs", "a/b/two", b"second");
    user.ok(["delete", "docs", "a/b/one"]);
    user.ok(["delete", "docs", "a", "--recursive"]);
    let listed = || {
        let trash = user.ok(["trash", "list", "docs", "--json"]).json_lines();
        trash.iter().map(|entry| entry["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(), ["a", "a/b/one"]);
    let refused = user.fails(3, ["trash", "restore", "docs", "a/b/one"]);
    assert!(refused.stderr.contains("Restore the directory first"), "{refused:?}");
    user.ok(["trash", "restore", "docs", "a", "a/b/one"]);
    assert_eq!((user.read("docs", "a/b/one"), user.read("docs", "a/b/two")), (b"first".to_vec(), b"second".to_vec()));

    // For good it goes with the directory, because nobody could read its name without.
    user.ok(["delete", "docs", "a/b/one"]);
    user.ok(["delete", "docs", "a", "--recursive"]);
    user.ok(["trash", "empty", "docs", "a"]);
    assert_eq!(listed(), [""; 0]);
    let bucket = user.ok(["bucket", "list", "--json"]).json_lines();
    assert_eq!(bucket[0]["files"], 0, "{bucket:?}");
}

#[test]
fn another_machine_sees_the_same_files() {
    let cluster = Cluster::start(3);
    let user = cluster.user("edsger");
    user.ok(["bucket", "create", "docs"]);
    let content = noise(7, 300_000);
    user.write("docs", "notes/one", &content);
    let other = user.elsewhere(&cluster);
    assert_eq!(other.read("docs", "notes/one"), content);
}
