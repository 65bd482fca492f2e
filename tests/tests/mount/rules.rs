//! The rules of POSIX, first on a local directory, then on a mount.

use std::fs;

use cyx_tests::exerciser::Exerciser;
use cyx_tests::mount::{Mount, bounded, missing, rootless, run, unavailable};
use cyx_tests::{Cluster, posix};

/// Somewhere that others may enter, for checks of permissions.
fn local() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn the_checks_hold_on_a_local_directory() {
    posix::run_all(local().path());
}

#[test]
fn the_checks_hold_on_a_mount() {
    use std::os::unix::fs::PermissionsExt as _;
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("posix");
    user.ok(["bucket", "create", "work"]);
    // Others have to get to the mountpoint.
    let home = user.path("");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
    let mut args = vec!["--bucket", "work"];
    // Nobody else tries it out, and fusermount3 lets few do this.
    if rustix::process::geteuid().is_root() {
        args.extend(["-o", "allow_other"]);
    }
    let mut mount = Mount::start(&user, "m", &args);
    posix::run_all(mount.path());
    mount.settle();
    mount.unmount();
    cluster.assert_consistent();
}

#[test]
fn random_operations_do_what_they_do_locally() {
    if unavailable() {
        return;
    }
    let control = local();
    let path = control.path().join("file");
    let mut exerciser = Exerciser::new(&path, 1);
    (0..2000).for_each(|_| exerciser.step());
    exerciser.check_all(&path);

    let cluster = Cluster::start(3);
    let user = cluster.user("random");
    user.ok(["bucket", "create", "work"]);
    let mut mount = Mount::start(&user, "m", &["--bucket", "work"]);
    let mut left = Vec::new();
    for seed in [2, 3] {
        let path = mount.join(&format!("file-{seed}"));
        let mut exerciser = Exerciser::new(&path, seed);
        (0..1500).for_each(|_| exerciser.step());
        exerciser.check_all(&path);
        left.push((path, exerciser.into_model()));
    }
    mount.unmount();
    fs::remove_dir_all(mount.cache_dir().join("cache")).unwrap();
    mount.again(&["--bucket", "work"]);
    for (path, model) in left {
        assert!(fs::read(&path).unwrap() == model, "{} through an empty cache", path.display());
    }
    mount.unmount();
}

/// Operations of one run of fsx. It maps the file anew for every tenth or so and never takes those maps away; after 65,530 it would fail
/// on any filesystem, and grows slower with each.
const AT_ONCE: u32 = 200_000;

#[test]
fn the_program_fsx_finds_nothing() {
    if unavailable() || missing("fsx") {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("fsx");
    user.ok(["bucket", "create", "work"]);
    let mut mount = Mount::start(&user, "m", &["--bucket", "work"]);
    let asked = std::env::var("CYX_TEST_FSX_OPERATIONS").ok().and_then(|text| text.parse().ok());
    let operations: u32 = asked.unwrap_or(3000);
    let mut left = Vec::new();
    for seed in 1..=3_u32 {
        for part in 0..operations.div_ceil(AT_ONCE) {
            let path = mount.join(&format!("file-{seed}-{part}"));
            let count = AT_ONCE.min(operations - part * AT_ONCE).to_string();
            let seed = (seed + 3 * part).to_string();
            let mut command = std::process::Command::new("fsx");
            command.args(["-N", &count, "-S", &seed, "-P"]).arg(user.path("")).arg(&path);
            run(&mut command);
            let content = fs::read(&path).unwrap();
            left.push((path, content));
        }
    }
    mount.unmount();
    fs::remove_dir_all(mount.cache_dir().join("cache")).unwrap();
    mount.again(&["--bucket", "work"]);
    for (path, content) in left {
        assert!(fs::read(&path).unwrap() == content, "{} through an empty cache", path.display());
    }
    mount.unmount();
}

/// Of what pjdfstest 0.2.2 tries as root, at least so much is tried: it skips what it takes for impossible, and would be content with nothing.
const RULES: u32 = 200;

/// A number in the last line of pjdfstest: `Summary: 0 failed, 1 skipped, 2 passed, …`.
fn summed_up(text: &str, what: &str) -> Option<u32> {
    let summary = text.lines().find_map(|line| line.strip_prefix("Summary: "))?;
    summary.split(", ").find_map(|part| part.strip_suffix(what)?.trim().parse().ok())
}

#[test]
fn the_program_pjdfstest_finds_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    if unavailable() || missing("pjdfstest") || rootless() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("pjdfstest");
    user.ok(["bucket", "create", "work"]);
    fs::set_permissions(user.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let mut mount = Mount::start(&user, "m", &["--bucket", "work", "-o", "allow_other,suid,dev"]);
    fs::set_permissions(mount.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let features = "[features]\nposix_fallocate = {}\nrename_ctime = {}\nutimensat = {}\nutime_now = {}\n\n\
        [dummy_auth]\nentries = [[\"nobody\", \"nogroup\"], [\"games\", \"games\"], [\"mail\", \"mail\"]]\n";
    let settings = user.file("pjdfstest.toml", features.as_bytes());
    let mut command = std::process::Command::new("pjdfstest");
    command.arg("-c").arg(settings).arg("-p").arg(mount.path()).current_dir(user.path(""));
    let result = bounded(&mut command);
    let text = String::from_utf8_lossy(&result.stdout);
    // Several thousand rules hold; the report of one that does not should not drown among them.
    let left: Vec<&str> = text.lines().filter(|line| !line.ends_with(" ok") && !line.ends_with(" skipped")).collect();
    assert!(result.code == 0 && text.contains("Summary: 0 failed"), "{}\n{}", left.join("\n"), result.stderr);
    let (passed, skipped) = (summed_up(&text, "passed"), summed_up(&text, "skipped"));
    assert!(passed.is_some_and(|passed| passed >= RULES), "{passed:?} rules were tried and {skipped:?} skipped");
    mount.unmount();
}
