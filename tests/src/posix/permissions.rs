//! What somebody else may do: programs that run as the user and group 65534.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use super::checks;
use crate::mount::bounded;

checks![
    others_read_and_write_what_they_may,
    directories_without_permission_cannot_be_entered,
    only_owners_change_attributes,
    sticky_directories_protect_their_entries,
    writing_takes_the_set_user_id_bit_away,
    new_entries_belong_to_who_made_them,
];

const NOBODY: u32 = 65534;

/// Runs a shell command as somebody else; what it said, or that it worked.
fn nobody(dir: &Path, script: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir("/").env("LC_ALL", "C").env("D", dir);
    command.uid(NOBODY).gid(NOBODY);
    let run = bounded(&mut command);
    if run.code == 0 { "ok".to_owned() } else { run.stderr }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

fn denied(said: &str) -> bool {
    said.contains("Permission denied")
}

fn not_permitted(said: &str) -> bool {
    said.contains("not permitted")
}

/// Everything above has to be open for others, or nothing is tested.
fn reachable(dir: &Path) {
    mode(dir, 0o755);
    assert_eq!(nobody(dir, "cd \"$D\""), "ok", "others cannot get to {}", dir.display());
}

fn others_read_and_write_what_they_may(dir: &Path) {
    reachable(dir);
    fs::write(dir.join("file"), "secret\n").unwrap();
    for (bits, read, write) in [(0o600, false, false), (0o604, true, false), (0o602, false, true), (0o606, true, true)]
    {
        mode(&dir.join("file"), bits);
        let reads = nobody(dir, "cat \"$D/file\" >/dev/null");
        let writes = nobody(dir, "echo more >>\"$D/file\"");
        assert!(if read { reads == "ok" } else { denied(&reads) }, "{bits:o}: {reads}");
        assert!(if write { writes == "ok" } else { denied(&writes) }, "{bits:o}: {writes}");
    }
    // The group counts before the others.
    chown(dir.join("file"), None, Some(NOBODY)).unwrap();
    mode(&dir.join("file"), 0o606);
    assert!(denied(&nobody(dir, "cat \"$D/file\"")));
    for script in [
        "touch \"$D/new\"",
        "mkdir \"$D/new\"",
        "ln -s x \"$D/new\"",
        "mkfifo \"$D/new\"",
        "rm -f \"$D/file\"",
        "mv \"$D/file\" \"$D/new\"",
    ] {
        let said = nobody(dir, script);
        assert!(denied(&said), "{script}: {said}");
    }
}

fn directories_without_permission_cannot_be_entered(dir: &Path) {
    reachable(dir);
    let sub = dir.join("sub");
    fs::create_dir(&sub).unwrap();
    fs::write(sub.join("file"), "x").unwrap();
    mode(&sub, 0o700);
    assert!(denied(&nobody(dir, "ls \"$D/sub\"")));
    assert!(denied(&nobody(dir, "cat \"$D/sub/file\"")));
    mode(&sub, 0o701);
    assert_eq!(nobody(dir, "cat \"$D/sub/file\" >/dev/null"), "ok");
    assert!(denied(&nobody(dir, "ls \"$D/sub\"")));
    mode(&sub, 0o704);
    assert!(denied(&nobody(dir, "cat \"$D/sub/file\"")));
}

fn only_owners_change_attributes(dir: &Path) {
    reachable(dir);
    fs::write(dir.join("file"), "x").unwrap();
    mode(&dir.join("file"), 0o666);
    for script in [
        "chmod 600 \"$D/file\"",
        "chown 65534 \"$D/file\"",
        "chgrp 65534 \"$D/file\"",
        "touch -d 2001-01-01 \"$D/file\"",
    ] {
        let said = nobody(dir, script);
        assert!(not_permitted(&said), "{script}: {said}");
    }
    assert_eq!(nobody(dir, "touch \"$D/file\""), "ok", "who may write may say that it was now");
    chown(dir.join("file"), Some(NOBODY), Some(NOBODY)).unwrap();
    assert_eq!(nobody(dir, "chmod 640 \"$D/file\" && touch -d 2001-01-01 \"$D/file\""), "ok");
    assert_eq!(fs::metadata(dir.join("file")).unwrap().mode() & 0o777, 0o640);
    assert!(not_permitted(&nobody(dir, "chown 0 \"$D/file\"")));
}

fn sticky_directories_protect_their_entries(dir: &Path) {
    reachable(dir);
    let shared = dir.join("shared");
    fs::create_dir(&shared).unwrap();
    mode(&shared, 0o1777);
    fs::write(shared.join("mine"), "x").unwrap();
    assert!(not_permitted(&nobody(dir, "rm -f \"$D/shared/mine\"")));
    assert!(not_permitted(&nobody(dir, "mv \"$D/shared/mine\" \"$D/shared/yours\"")));
    assert_eq!(
        nobody(dir, "touch \"$D/shared/own\" && mv \"$D/shared/own\" \"$D/shared/b\" && rm \"$D/shared/b\""),
        "ok"
    );
    mode(&shared, 0o777);
    assert_eq!(nobody(dir, "rm -f \"$D/shared/mine\""), "ok");
}

fn writing_takes_the_set_user_id_bit_away(dir: &Path) {
    reachable(dir);
    let file = dir.join("file");
    fs::write(&file, "x").unwrap();
    let found = || fs::metadata(&file).unwrap().mode() & 0o7777;
    for script in ["echo more >>\"$D/file\"", "echo less >\"$D/file\"", "truncate -s 3 \"$D/file\""] {
        mode(&file, 0o6777);
        assert_eq!(nobody(dir, script), "ok");
        assert_eq!(found(), 0o777, "{script}");
        mode(&file, 0o1777);
        assert_eq!(nobody(dir, script), "ok");
        assert_eq!(found(), 0o1777, "{script} takes no other bit");
    }
    mode(&file, 0o4777);
    fs::write(&file, "by root").unwrap();
    assert_eq!(found(), 0o4777, "root may");
    assert_eq!(nobody(dir, "cat \"$D/file\" >/dev/null"), "ok");
    assert_eq!(found(), 0o4777, "reading is no change");
    mode(&file, 0o6777);
    chown(&file, Some(1000), Some(1000)).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o777, "so does a new owner");
}

fn new_entries_belong_to_who_made_them(dir: &Path) {
    reachable(dir);
    let shared = dir.join("shared");
    fs::create_dir(&shared).unwrap();
    mode(&shared, 0o777);
    assert_eq!(
        nobody(dir, "umask 027; echo x >\"$D/shared/file\"; mkdir \"$D/shared/dir\"; ln -s x \"$D/shared/link\""),
        "ok"
    );
    let found = |name: &str| fs::symlink_metadata(shared.join(name)).unwrap();
    for (name, bits) in [("file", 0o640), ("dir", 0o750)] {
        assert_eq!(
            (found(name).uid(), found(name).gid(), found(name).mode() & 0o777),
            (NOBODY, NOBODY, bits),
            "{name}"
        );
    }
    assert_eq!(found("link").uid(), NOBODY);
    // In a directory with the set-group-id bit the group is inherited.
    chown(&shared, None, Some(4321)).unwrap();
    mode(&shared, 0o2777);
    assert_eq!(nobody(dir, "echo x >\"$D/shared/inherits\"; mkdir \"$D/shared/inner\""), "ok");
    assert_eq!(found("inherits").gid(), 4321);
    assert_eq!((found("inner").gid(), found("inner").mode() & 0o2000), (4321, 0o2000));
}
