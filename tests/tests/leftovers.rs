//! What a test leaves behind that is ended in the middle is ended by `scripts/test`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::Path;
use std::process::Command;

use cyx_tests::mount::{bounded, rootless, run};
use cyx_tests::program;
use cyx_tests::skip::skip;
use serde_json::Value;

/// Runs functions of the script's own.
fn end_leftovers(folder: &Path) {
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/lib/leftovers");
    let script = "set -euo pipefail; source \"$1\"; end_leftovers \"$2\"";
    run(Command::new("bash").args(["-c", script, "leftovers", library]).arg(folder));
}

/// A folder with a mount on it cannot be removed.
fn mount(point: &Path) {
    fs::create_dir(point).unwrap();
    if rootless() {
        return;
    }
    let mounted = bounded(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(point));
    if mounted.code != 0 {
        skip("mount", &format!("mount: {}", mounted.stderr.trim()));
    }
}

fn runs(started: &Value) -> bool {
    let pid = started["pid"].as_u64().unwrap_or_else(|| panic!("no process in {started}"));
    // What ended and is waited for by nobody has no command line.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| !words.is_empty())
}

#[test]
fn clusters_and_mounts_of_tests_that_were_killed_are_ended() {
    let outer = tempfile::tempdir().unwrap();
    let (folder, other) = (outer.path().join("tests"), outer.path().join("tests-of-others"));
    let up = |folder: &Path| {
        let home = folder.join("home");
        fs::create_dir_all(&home).unwrap();
        let mut command = Command::new(program("cyx"));
        command.env("HOME", &home).env("CYXCLOUD_HOME", home.join("cyx"));
        run(command.args(["dev", "up", "--nodes", "1", "--json", "--dir"]).arg(folder.join("cluster"))).json()
    };
    let (ours, theirs) = (up(&folder), up(&other));
    assert!(runs(&ours["server"]) && runs(&ours["nodes"][0]));
    mount(&folder.join("home/mountpoint"));
    end_leftovers(&folder);
    assert!(!runs(&ours["server"]) && !runs(&ours["nodes"][0]) && !folder.exists());
    assert!(runs(&theirs["server"]) && runs(&theirs["nodes"][0]));
    end_leftovers(&other);
    assert!(!runs(&theirs["server"]) && !other.exists());
}
