//! What people are told by a cluster of five nodes: sentences, and exit codes of what was typed wrong.

#![allow(clippy::unwrap_used)]

use cyx_tests::{Cluster, Run, User, noise};

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn tree(user: &User) {
    user.ok(["bucket", "create", "docs"]);
    user.file("photos/a", b"a");
    std::os::unix::fs::symlink("a", user.path("photos/link")).unwrap();
    let photos = user.path("photos");
    let run = user.ok(["upload".as_ref(), photos.as_os_str(), "-b".as_ref(), "docs".as_ref(), "-r".as_ref()]);
    assert!(run.stderr.contains("Uploaded 2 files"), "{run:?}");
}

#[test]
fn mistakes_are_usage_errors_whichever_command_they_are_made_with() {
    let cluster = Cluster::start(5);
    let user = cluster.user("ada");
    tree(&user);
    for (typed, said) in [
        ("download docs -k photos", "photos is a directory. Use -r"),
        ("cp docs photos others", "photos is a directory. Use -r"),
        ("delete docs photos", "photos is a directory. Use -r"),
        ("cat docs photos", "photos is a directory. Use `cyx download -r`"),
        ("cp docs photos photos/in -r", "photos cannot be copied below itself"),
        ("mv docs photos photos/in", "photos cannot be moved below itself"),
        ("mv docs photos/a photos/a", "photos/a cannot be moved to itself"),
        ("mv docs photos/a photos", "photos/a cannot be moved to itself"),
        ("stat docs photos/a/in", "photos/a is not a directory"),
        ("register", "the user name is missing, and there is no terminal to ask on"),
        (
            "account delete",
            "deleting all files of ada has to be confirmed, and there is no terminal to ask on. Use --yes.",
        ),
    ] {
        let run = user.fails(2, words(typed));
        assert!(run.stderr.contains(said), "cyx {typed}: {run:?}");
    }

    let file = user.path("photos/a").to_str().unwrap().to_owned();
    let onto = user.fails(2, ["upload", &file, "-b", "docs", "-k", "photos"]);
    assert!(onto.stderr.contains("photos is a directory"), "{onto:?}");

    let kept = user.fails(7, words("cp docs photos/link photos/a --no-clobber"));
    assert!(kept.stderr.contains("photos/a exists already"), "{kept:?}");

    // Every link that was counted is listed too.
    let photos = user.path("photos").to_str().unwrap().to_owned();
    let run = user.ok(["upload", &photos, "-b", "docs", "-k", "again", "-r", "--json"]).json();
    let mut keys: Vec<&str> =
        run["uploaded"].as_array().unwrap().iter().map(|file| file["key"].as_str().unwrap()).collect();
    keys.sort_unstable();
    assert_eq!((&run["files"], keys), (&2.into(), vec!["again/a", "again/link"]));
    let found = user.ok(["stat", "docs", "again/link", "--json"]).json();
    let link = run["uploaded"].as_array().unwrap().iter().find(|file| file["key"] == "again/link").unwrap();
    assert_eq!((&link["inode"], &link["size"], &link["version"]), (&found["inode"], &found["size"], &found["version"]));
}

#[test]
fn what_five_nodes_survive_is_said_as_it_is_and_not_at_all_if_nothing_is_to_be_said() {
    let cluster = Cluster::start(5);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);
    let run = user.ok(["status"]);
    let status = String::from_utf8(run.stdout).unwrap();
    assert!(
        status.contains("stored 4+2, for want of nodes with 1 shard left to repair, and survives the loss of 1 node"),
        "{status}"
    );
    assert_eq!(user.ok(["status", "--json"]).json()["survives"], 1);

    let file = user.file("large", &noise(1, 500_000)).to_str().unwrap().to_owned();
    let warned = user.ok(["upload", &file, "-b", "docs"]).stderr;
    assert!(warned.contains("cyx: warning: only 5 storage nodes are usable together"), "{warned}");
    let quiet = user.ok(["upload", &file, "-b", "docs", "-k", "quiet", "-q"]);
    assert_eq!((quiet.stdout, quiet.stderr.as_str()), (Vec::new(), ""));

    // Whoever guesses passwords is told how long to wait.
    let guess = || {
        let mut command = user.command(["login", "--begin"]);
        command.env("CYXCLOUD_PASSWORD", "Wrong-Lattice7-umbral");
        Run::of(command)
    };
    let locked = (0..10).map(|_| guess()).find(|run| run.stderr.contains("too many failed logins")).unwrap();
    assert_eq!(locked.code, 4, "{locked:?}");
    assert!(locked.stderr.trim_end().ends_with("Try again in 15 minutes."), "{locked:?}");
    assert!(!locked.stderr.contains("try again later"), "{locked:?}");
}
