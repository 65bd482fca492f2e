//! Programs that people use every day, working in a mount.

use std::fs;
use std::path::Path;
use std::process::Command;

use cyx_tests::mount::{Mount, missing, run, unavailable};
use cyx_tests::{Cluster, User, noise, tree};

fn shell(dir: &Path, script: &str) -> String {
    let mut command = Command::new("sh");
    command
        .args(["-ec", script])
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    for (name, value) in [("NAME", "A"), ("EMAIL", "a@example.org")] {
        command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    String::from_utf8_lossy(&run(&mut command).stdout).into_owned()
}

fn user_with_bucket(cluster: &Cluster, name: &str) -> User {
    let user = cluster.user(name);
    user.ok(["bucket", "create", "work"]);
    user
}

#[test]
fn a_git_repository_is_cloned_packed_and_sound() {
    if unavailable() || missing("git") {
        return;
    }
    let cluster = Cluster::start(3);
    let user = user_with_bucket(&cluster, "git");
    // Somewhere else a repository with some history.
    let origin = user.path("origin");
    fs::create_dir(&origin).unwrap();
    shell(&origin, "git init -q -b main .");
    for round in 0..12 {
        for file in 0..8 {
            let path = origin.join(format!("dir{file}/file"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, noise(round * 8 + file, 3000)).unwrap();
        }
        shell(&origin, &format!("git add -A && git commit -qm {round}"));
    }
    let mut mount = Mount::start(&user, "m", &["--bucket", "work"]);
    shell(mount.path(), "git clone -q --no-hardlinks ../origin clone");
    let clone = mount.join("clone");
    fs::write(clone.join("new"), "line\n").unwrap();
    shell(
        &clone,
        "git checkout -q -b topic && git add new && git commit -qm new && git checkout -q main && git merge -q topic",
    );
    shell(&clone, "git gc -q && git fsck --strict --no-progress");
    assert_eq!(shell(&clone, "git status --porcelain"), "");
    mount.unmount();
    fs::remove_dir_all(mount.cache_dir().join("cache")).unwrap();
    mount.again(&["--bucket", "work"]);
    shell(
        &clone,
        "git fsck --strict --no-progress && test -z \"$(git status --porcelain)\" && test \"$(git log --oneline | wc -l)\" = 13",
    );
    mount.unmount();
}

#[test]
fn a_crate_is_built_and_run() {
    if unavailable() || missing("cargo") {
        return;
    }
    let cluster = Cluster::start(3);
    let user = user_with_bucket(&cluster, "cargo");
    let mut mount = Mount::start(&user, "m", &["--bucket", "work"]);
    let dir = mount.join("small");
    fs::create_dir_all(dir.join("src")).unwrap();
    fs::write(
        dir.join("Cargo.toml"),
        "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n",
    )
    .unwrap();
    fs::write(dir.join("src/lib.rs"), "pub fn answer() -> u32 { 42 }\n").unwrap();
    fs::write(dir.join("src/main.rs"), "fn main() { println!(\"{}\", small::answer()); }\n").unwrap();
    let cargo = |args: &[&str]| {
        let mut command = Command::new("cargo");
        command.args(args).args(["--offline", "--quiet"]).current_dir(&dir).env_remove("CARGO_TARGET_DIR");
        String::from_utf8_lossy(&run(&mut command).stdout).into_owned()
    };
    assert_eq!(cargo(&["run"]), "42\n");
    fs::write(dir.join("src/lib.rs"), "pub fn answer() -> u32 { 43 }\n").unwrap();
    assert_eq!(cargo(&["run"]), "43\n", "a change is noticed by its time");
    cargo(&["test"]);
    mount.unmount();
}

#[test]
fn a_database_keeps_its_integrity() {
    if unavailable() || missing("sqlite3") {
        return;
    }
    let cluster = Cluster::start(3);
    let user = user_with_bucket(&cluster, "sqlite");
    let mut mount = Mount::start(&user, "m", &["--bucket", "work"]);
    let sql = |script: &str| {
        let mut command = Command::new("sqlite3");
        command.arg(mount.join("data.db")).arg(script);
        String::from_utf8_lossy(&run(&mut command).stdout).trim().to_owned()
    };
    // The journal in a file of its own, then a log with shared memory.
    for mode in ["delete", "wal"] {
        assert_eq!(sql(&format!("PRAGMA journal_mode={mode};")), mode);
        sql("CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b TEXT);");
        for _ in 0..5 {
            sql("BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500) \
                 INSERT INTO t(b) SELECT hex(randomblob(50)) FROM n; UPDATE t SET b=upper(b) WHERE a%7=0; \
                 DELETE FROM t WHERE a%11=0; COMMIT;");
        }
        sql("VACUUM;");
        assert_eq!(sql("PRAGMA integrity_check;"), "ok");
    }
    let rows = sql("SELECT count(*), sum(length(b)) FROM t;");
    let path = mount.join("data.db");
    mount.unmount();
    fs::remove_dir_all(mount.cache_dir().join("cache")).unwrap();
    mount.again(&["--bucket", "work"]);
    let mut command = Command::new("sqlite3");
    command.arg(path).arg("PRAGMA integrity_check; SELECT count(*), sum(length(b)) FROM t;");
    assert_eq!(String::from_utf8_lossy(&run(&mut command).stdout).trim(), format!("ok\n{rows}"));
    mount.unmount();
}

#[test]
fn archives_and_mirrors_are_the_same_afterwards() {
    if unavailable() || missing("tar") {
        return;
    }
    let cluster = Cluster::start(3);
    let user = user_with_bucket(&cluster, "tar");
    let source = user.path("source");
    for index in 0..120_u64 {
        let path = source.join(format!("d{}/e{}/f{index}", index % 7, index % 3));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, noise(index, usize::try_from(index * index % 20_000).unwrap())).unwrap();
    }
    std::os::unix::fs::symlink("f0", source.join("d0/e0/link")).unwrap();
    let mut mount = Mount::start(&user, "m", &["--bucket", "work"]);
    shell(
        &user.path(""),
        "tar -cf a.tar source && tar -xf a.tar -C m && tar -cf m/b.tar -C m source && tar --compare -f m/b.tar -C m",
    );
    tree::assert_same(&source, &mount.join("source"));
    if !missing("rsync") {
        fs::write(source.join("d1/new"), "new").unwrap();
        fs::remove_file(source.join("d0/e0/link")).unwrap();
        shell(&user.path(""), "rsync -a --delete --inplace source/ m/mirror && rsync -a --delete source/ m/source");
        tree::assert_same(&source, &mount.join("mirror"));
        tree::assert_same(&source, &mount.join("source"));
        assert_eq!(
            shell(&user.path(""), "rsync -ani --delete source/ m/mirror"),
            "",
            "times and modes are the same too"
        );
    }
    mount.unmount();
    let download = user.path("download");
    user.ok(["download", "work", "--key", "source", "-r", "-o", download.to_str().unwrap()]);
    tree::assert_same(&download, &source);
    fs::remove_dir_all(mount.cache_dir().join("cache")).unwrap();
    mount.again(&["--bucket", "work"]);
    tree::assert_same(&mount.join("source"), &source);
    mount.unmount();
}
