//! Taking a mount off while nothing can be sent, or while somebody else is taking it off already.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use cyx_tests::mount::{Mount, unavailable};
use cyx_tests::{Cluster, Frozen, User, noise, wait_until};
use rustix::process::{Pid, Signal, kill_process};

const ARGS: [&str; 2] = ["--bucket", "work"];

/// Writes something that cannot be sent because the server is frozen, and begins to take the mount off.
fn begin_an_end<T>(cluster: &Cluster, mount: &Mount<'_>, content: &[u8], begin: impl FnOnce() -> T) -> (Frozen, T) {
    let mut file = File::create(mount.join("file")).unwrap();
    mount.settle();
    let frozen = cluster.freeze_server();
    file.write_all(content).unwrap();
    file.sync_all().unwrap();
    drop(file);
    assert_eq!(mount.status()["ending"], false);
    let begun = begin();
    wait_until("somebody takes it off", || mount.status()["ending"] == true);
    (frozen, begun)
}

/// A `cyx umount` that has been heard.
struct Umount {
    child: Child,
    said: BufReader<ChildStderr>,
}

fn umount(user: &User, mount: &Mount<'_>) -> Umount {
    let mut command = user.command(["umount"]);
    let mut child = command.arg(mount.path()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.starts_with("Sending 1 file"), "{line}");
    Umount { child, said }
}

impl Umount {
    /// How it ended, and what it said last.
    fn ended(mut self) -> (Option<i32>, String) {
        wait_until("`cyx umount` ends", || self.child.try_wait().unwrap().is_some());
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

/// The next mount sends what a forced end left.
fn is_sent_by_the_next(user: &User, mount: &mut Mount<'_>, content: &[u8]) {
    mount.wait_gone();
    mount.again(&ARGS);
    assert!(fs::read(mount.join("file")).unwrap() == content);
    mount.settle();
    mount.unmount();
    assert!(user.read("work", "file") == content);
}

#[test]
fn a_forced_end_overtakes_one_that_cannot_send() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("overtaken");
    user.ok(["bucket", "create", "work"]);
    let mut mount = Mount::start(&user, "m", &ARGS);
    let content = noise(1, 100_000);
    let (frozen, first) = begin_an_end(&cluster, &mount, &content, || umount(&user, &mount));
    let second = umount(&user, &mount);
    let forced = user.ok([Path::new("umount"), Path::new("--force"), mount.path()]);
    assert!(forced.stderr.contains("1 changed file is not sent yet"), "{forced:?}");
    let (code, said) = first.ended();
    assert!(code == Some(1) && said.contains("somebody else's --force") && said.contains("1 changed file"), "{said}");
    // It had not begun: what became of the mount is what it wanted.
    let (code, said) = second.ended();
    assert!(code == Some(0) && said.contains("not sent yet"), "{said}");
    drop(frozen);
    is_sent_by_the_next(&user, &mut mount, &content);
}

#[test]
fn a_forced_end_overtakes_one_by_a_signal() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("signalled");
    user.ok(["bucket", "create", "work"]);
    let mut mount = Mount::start(&user, "m", &ARGS);
    let content = noise(2, 100_000);
    let (frozen, ()) = begin_an_end(&cluster, &mount, &content, || mount.signal(Signal::TERM));
    let forced = user.ok([Path::new("umount"), Path::new("--force"), mount.path()]);
    assert!(forced.stderr.contains("1 changed file is not sent yet"), "{forced:?}");
    drop(frozen);
    is_sent_by_the_next(&user, &mut mount, &content);
}

#[test]
fn who_takes_off_what_is_being_taken_off_waits_for_the_same_end() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("together");
    user.ok(["bucket", "create", "work"]);
    let mut mount = Mount::start(&user, "m", &ARGS);
    let content = noise(3, 100_000);
    let (frozen, ()) = begin_an_end(&cluster, &mount, &content, || mount.signal(Signal::TERM));
    let waiting = [umount(&user, &mount), umount(&user, &mount)];
    drop(frozen);
    for child in waiting {
        let (code, said) = child.ended();
        assert!(code == Some(0) && !said.contains("not sent yet"), "{said}");
    }
    mount.wait_gone();
    assert!(user.read("work", "file") == content);
}

/// Half a minute without progress ends it, and not less.
fn took_its_time(since: Instant) {
    let took = since.elapsed();
    assert!(took >= Duration::from_secs(29), "{took:?}");
}

#[test]
fn who_cannot_send_says_so_after_half_a_minute_and_the_mount_stays() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("refused");
    user.ok(["bucket", "create", "work"]);
    let mut mount = Mount::start(&user, "m", &ARGS);
    let content = noise(4, 100_000);
    let began = Instant::now();
    let (frozen, waiting) = begin_an_end(&cluster, &mount, &content, || umount(&user, &mount));
    let (code, said) = waiting.ended();
    took_its_time(began);
    assert!(code == Some(1) && said.contains("1 changed file of ") && said.contains("could not be sent"), "{said}");
    let status = mount.status();
    assert!(status["ending"] == false && status["dirty_files"] == 1, "{status}");
    let reason = status["last_error"].as_str().unwrap_or_default();
    assert!(reason.starts_with("1 files are not committed: "), "{status}");
    assert!(fs::read(mount.join("file")).unwrap() == content);
    mount.kill();
    drop(frozen);
    mount.again(&ARGS);
    mount.settle();
    mount.unmount();
    assert!(user.read("work", "file") == content);
}

/// A mount that is a child of the test.
struct Foreground {
    child: Child,
    point: PathBuf,
}

impl Drop for Foreground {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            let _ = Command::new("umount").arg("-l").arg(&self.point).output();
        }
    }
}

#[test]
fn a_signal_ends_a_mount_that_cannot_send_after_half_a_minute() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("terminated");
    user.ok(["bucket", "create", "work"]);
    let point = user.path("m");
    fs::create_dir(&point).unwrap();
    let mut command = user.command(["mount", "--foreground", "--bucket", "work"]);
    let child = command.arg(&point).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut mount = Foreground { child, point: point.clone() };
    let dirty = || user.ok(["mounts", "--json"]).json_lines().first().and_then(|mount| mount["dirty_files"].as_u64());
    wait_until("it is mounted", || dirty().is_some());
    let mut file = File::create(point.join("file")).unwrap();
    wait_until("its name is sent", || dirty() == Some(0));
    let frozen = cluster.freeze_server();
    let content = noise(5, 100_000);
    file.write_all(&content).unwrap();
    drop(file);
    let began = Instant::now();
    kill_process(Pid::from_child(&mount.child), Signal::TERM).unwrap();
    wait_until("the mount ends", || mount.child.try_wait().unwrap().is_some());
    took_its_time(began);
    let mut said = String::new();
    mount.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(mount.child.wait().unwrap().code() == Some(0) && said.contains("1 changed file is not sent yet"), "{said}");
    drop(frozen);
    let mut next = Mount::start(&user, "m", &ARGS);
    assert!(fs::read(next.join("file")).unwrap() == content);
    next.settle();
    next.unmount();
    assert!(user.read("work", "file") == content);
}
