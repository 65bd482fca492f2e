//! A mount whose storage nodes, or whose server, say nothing.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cyx_tests::mount::{Mount, unavailable};
use cyx_tests::{Cluster, noise, wait_until};
use rustix::process::Signal;

/// Nothing that it waits for comes, and it must not have to wait for the deadline.
#[test]
fn a_program_that_is_killed_while_it_waits_ends() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("impatient");
    user.ok(["bucket", "create", "work"]);
    user.write_whole("work", "file", &noise(1, 300_000));
    let mut mount = Mount::start(&user, "m", &["--bucket", "work"]);
    assert!(fs::metadata(mount.join("file")).is_ok());
    // Past its own cache, for which the kernel itself lets those go that are killed.
    let input = format!("if={}", mount.join("file").display());
    let reader = || {
        let mut command = Command::new("dd");
        command.args([&input, "of=/dev/null", "bs=1M", "iflag=direct"]).stderr(Stdio::null()).spawn().unwrap()
    };
    // A machine that stands still for longer than nodes are waited for tells nothing.
    let told = (0..5).any(|_| {
        let frozen: Vec<_> = (0..3).map(|node| cluster.freeze_node(node)).collect();
        let (mut killed, mut waiting) = (reader(), reader());
        std::thread::sleep(Duration::from_millis(300));
        killed.kill().unwrap();
        let status = killed.wait().unwrap();
        // Not at about the same time: nothing has come that both waited for.
        std::thread::sleep(Duration::from_secs(1));
        let still_waits = waiting.try_wait().unwrap().is_none();
        drop(frozen);
        let _ = waiting.wait();
        status.signal() == Some(Signal::KILL.as_raw()) && still_waits
    });
    assert!(told, "it ends before an answer comes");
    wait_until("it is read", || fs::read(mount.join("file")).is_ok_and(|found| found == noise(1, 300_000)));
    mount.unmount();
}

/// They are stopped: connections to them stand, new ones too, and nothing is answered.
#[test]
fn frozen_nodes_are_waited_for_once_and_read_from_again_when_they_go_on() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(14);
    let user = cluster.user("patient");
    user.ok(["bucket", "create", "work"]);
    let content = |number: u64| noise(number, 300_000);
    for number in 0..16 {
        user.write_whole("work", &number.to_string(), &content(number));
    }
    let mut mount = Mount::start(&user, "m", &["--bucket", "work"]);
    let read = |number: u64| fs::read(mount.join(&number.to_string()));
    // What was read is in the cache: each is read once. This one connects to the nodes.
    assert!(read(0).unwrap() == content(0));
    // As many as the others make up for.
    let some: Vec<_> = (0..4).map(|node| cluster.freeze_node(node)).collect();
    for number in 1..5 {
        assert!(read(number).unwrap() == content(number));
    }
    let too_many: Vec<_> = (4..6).map(|node| cluster.freeze_node(node)).collect();
    let fails = |number| {
        let began = Instant::now();
        assert_eq!(read(number).unwrap_err().raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
        began.elapsed()
    };
    let patience = fails(5);
    // The patience with them is spent: none of these takes all of it again, unless the machine itself stood still, and not in each of them.
    assert!((6..10).map(fails).min().unwrap() < patience);
    drop((some, too_many));
    wait_until("the nodes are read from again", || read(5).is_ok());
    for number in 5..16 {
        assert!(read(number).unwrap() == content(number));
    }
    mount.unmount();
}

/// All of them are away for a moment while an editor saves. Another machine writes to the bucket as well, so the server decides, and nobody
/// may see the name before the content.
#[test]
fn a_save_waits_for_nodes_that_come_back() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("patient");
    user.ok(["bucket", "create", "work"]);
    let mut mount = Mount::start(&user, "m", &["--bucket", "work"]);
    fs::write(mount.join("document"), "old").unwrap();
    fs::write(mount.join("document.new"), "").unwrap();
    mount.settle();
    // While two take turns nobody is the only writer for long, and less often from turn to turn.
    for turn in 0..6 {
        fs::create_dir(mount.join(&format!("here {turn}"))).unwrap();
        user.ok(["mkdir", "work", &format!("there {turn}")]);
    }
    wait_until("it is not the only writer", || mount.status()["leases"] == 0);
    cluster.kill_node(0);
    // More than what lies in the tree itself.
    fs::write(mount.join("document.new"), noise(1, 100_000)).unwrap();
    assert_eq!(mount.status()["leases"], 0);
    std::thread::scope(|scope| {
        let saving = scope.spawn(|| fs::rename(mount.join("document.new"), mount.join("document")));
        std::thread::sleep(Duration::from_secs(2));
        cluster.start_node(0);
        saving.join().unwrap().unwrap();
    });
    mount.settle();
    assert!(user.read("work", "document") == noise(1, 100_000));
    assert!(fs::read(mount.join("document")).unwrap() == noise(1, 100_000));
    mount.unmount();
}

/// Who mounts at boot is told so after a minute, and nothing is left behind.
#[test]
fn a_server_that_says_nothing_is_given_up_by_who_mounts() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("patient");
    user.ok(["bucket", "create", "work"]);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let frozen = cluster.freeze_server();
    let run = user.fails(6, ["mount", dir, "--bucket", "work"]);
    assert!(run.stderr.starts_with("cyx: cannot reach the server: no answer in time."), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    assert!(!fs::read_to_string("/proc/self/mounts").unwrap().contains(dir));
    drop(frozen);
    user.ok(["mount", dir, "--bucket", "work"]);
    user.ok(["umount", dir]);
}

/// A commit that waits for the server does not hold up who reads the file.
#[test]
fn what_is_here_is_read_while_it_cannot_be_committed() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("patient");
    user.ok(["bucket", "create", "work"]);
    let args = ["--bucket", "work"];
    let mut mount = Mount::start(&user, "m", &args);
    let content = noise(1, 300_000);
    for name in ["cut", "longer", "changed"] {
        fs::write(mount.join(name), &content).unwrap();
    }
    mount.settle();
    mount.unmount();
    // What a commit needs is in the cache and not in memory.
    mount.again(&args);
    let names = fs::read_dir(mount.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    assert_eq!(names.collect::<Vec<_>>(), [300_000; 3]);
    let frozen = cluster.freeze_server();
    let open = |name: &str| OpenOptions::new().write(true).open(mount.join(name)).unwrap();
    open("cut").set_len(100_000).unwrap();
    let mut longer = OpenOptions::new().append(true).open(mount.join("longer")).unwrap();
    longer.write_all(b"more").unwrap();
    drop(longer);
    open("changed").write_all(b"other").unwrap();
    let expected = [
        ("cut", content[..100_000].to_vec()),
        ("longer", [&content[..], b"more"].concat()),
        ("changed", [b"other", &content[5..]].concat()),
    ];
    // Longer than it takes until the commits have begun.
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        for (name, expected) in &expected {
            assert!(read_past_the_kernel(&mount.join(name)) == *expected, "{name}");
        }
    }
    drop(frozen);
    mount.settle();
    for (name, expected) in &expected {
        assert!(user.read("work", name) == *expected, "{name}");
    }
    mount.unmount();
}

pub(crate) fn read_past_the_kernel(path: &Path) -> Vec<u8> {
    let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).unwrap();
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    content
}
