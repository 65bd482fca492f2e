//! Mounting, asking, taking off; what stands in the way; what a crash leaves behind.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use cyx_tests::mount::{Mount, bounded, run, unavailable};
use cyx_tests::{Cluster, free_port, noise, wait_until};
use rustix::process::Signal;

fn options_of(path: &Path) -> String {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.split(' ').nth(4).is_some_and(|point| Path::new(point) == path));
    line.unwrap_or_else(|| panic!("{} is not mounted", path.display())).to_owned()
}

#[test]
fn a_mount_lives_from_the_command_to_the_command() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("life");
    user.ok(["bucket", "create", "photos"]);
    user.write("photos", "cat.jpg", &noise(1, 300_000));
    let mut mount = Mount::start(&user, "cloud", &[]);
    let line = options_of(mount.path());
    assert!(line.contains("nosuid") && line.contains("nodev") && line.contains(" - fuse.cyx cyx "), "{line}");

    // Buckets are the top-level directories, and what was uploaded is there.
    assert!(fs::read(mount.join("photos/cat.jpg")).unwrap() == noise(1, 300_000));
    fs::create_dir(mount.join("photos/pets")).unwrap();
    fs::write(mount.join("photos/pets/dog.txt"), "woof").unwrap();
    wait_until("it is connected", || mount.status()["connected"] == true);
    let status = mount.status();
    assert_eq!((&status["answers"], &status["read_only"]), (&true.into(), &false.into()));
    assert!(status["inodes"].as_u64().unwrap() > 2, "{status}");
    let space = rustix::fs::statvfs(mount.path()).unwrap();
    assert_eq!((space.f_files > 0, space.f_ffree), (true, space.f_files), "there is no limit to come near to");

    // A second mount on the place or on the cache is refused, in words.
    let taken = user.fails(7, [Path::new("mount"), mount.path()]);
    assert!(taken.stderr.contains("is a mountpoint already"), "{taken:?}");
    let other = user.path("other");
    fs::create_dir(&other).unwrap();
    let shared = user.cyx([Path::new("mount"), &other]);
    // Somebody was first: a service tries again, because it may be over in a moment.
    assert!(shared.code == 7 && shared.stderr.contains("is used by another mount"), "{shared:?}");

    // In use it stays; then it goes, and everything is committed.
    let open = File::open(mount.join("photos/cat.jpg")).unwrap();
    let busy = user.fails(1, [Path::new("umount"), mount.path()]);
    assert!(busy.stderr.contains("is in use"), "{busy:?}");
    drop(open);
    mount.unmount();
    assert_eq!(user.read("photos", "pets/dog.txt"), b"woof");
    assert!(fs::read_dir(mount.path()).unwrap().next().is_none());
    assert!(user.ok(["mounts", "--json"]).stdout.is_empty());
    let gone = user.fails(3, [Path::new("umount"), mount.path()]);
    assert!(gone.stderr.contains("nothing is mounted"), "{gone:?}");
    fs::write(user.path("plain"), "a file").unwrap();
    let plain = user.fails(3, [Path::new("umount"), &user.path("plain")]);
    assert!(plain.stderr.contains("nothing is mounted"), "{plain:?}");
    let absent = user.fails(3, [Path::new("umount"), &user.path("absent")]);
    assert!(absent.stderr.contains("nothing is mounted"), "{absent:?}");
}

#[test]
fn what_stands_in_the_way_is_said() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("obstacles");
    let point = user.path("cloud");
    let mount = |args: &[&str]| user.cyx([&["mount", point.to_str().unwrap()], args].concat());
    assert_eq!(mount(&[]).code, 3, "no directory");
    fs::create_dir(&point).unwrap();
    let inside = mount(&["--cache-dir", point.join("cache").to_str().unwrap()]);
    assert!(inside.code == 2 && inside.stderr.contains("lies below the mountpoint"), "{inside:?}");
    for wrong in ["raed_only", "sync", "remount,ro", "bucket", "ro=1", "uid=4294967295"] {
        assert_eq!(mount(&["-o", wrong]).code, 2, "{wrong}");
    }
    assert_eq!(mount(&["--uid", "4294967295"]).code, 2);
    let nowhere = user.path("nowhere");
    let home = mount(&["-o", &format!("home={}", nowhere.display())]);
    assert!(home.code == 2 && home.stderr.contains("which is no directory"), "{home:?}");
    assert!(!nowhere.exists(), "nothing is made there");
    if rustix::process::geteuid().is_root() {
        let of_another = user.path("of-another");
        fs::create_dir(&of_another).unwrap();
        std::os::unix::fs::chown(&of_another, Some(12_345), None).unwrap();
        let home = mount(&["-o", &format!("home={}", of_another.display())]);
        assert!(home.code == 2 && home.stderr.contains("belongs to the user 12345"), "{home:?}");
        assert!(fs::read_dir(&of_another).unwrap().next().is_none(), "nothing is made there");
    }
    let bucket = mount(&["--bucket", "absent"]);
    assert!(bucket.code == 3 && bucket.stderr.contains("absent"), "{bucket:?}");
    fs::write(point.join("file"), "x").unwrap();
    let full = mount(&[]);
    assert!(full.code == 2 && full.stderr.contains("is not empty"), "{full:?}");
    fs::remove_file(point.join("file")).unwrap();
    user.ok(["logout"]);
    let nobody = mount(&[]);
    assert!(nobody.code == 4 && nobody.stderr.contains("not logged in"), "{nobody:?}");
    assert!(user.ok(["mounts", "--json"]).stdout.is_empty());
}

#[test]
fn a_mount_for_reading_cannot_be_written_to() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("reader");
    user.ok(["bucket", "create", "docs"]);
    user.write("docs", "a.txt", b"text");
    let mut mount = Mount::start(
        &user,
        "m",
        &["--bucket", "docs", "--read-only", "--uid", "1000", "--gid", "1001", "--umask", "077"],
    );
    assert_eq!(fs::read(mount.join("a.txt")).unwrap(), b"text");
    let found = fs::metadata(mount.join("a.txt")).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o077), (1000, 1001, 0));
    let errors = [
        fs::write(mount.join("b.txt"), "x").unwrap_err(),
        fs::write(mount.join("a.txt"), "x").unwrap_err(),
        fs::remove_file(mount.join("a.txt")).unwrap_err(),
        fs::create_dir(mount.join("d")).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    }
    mount.unmount();
}

#[test]
fn what_a_killed_mount_left_is_recovered() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("stale");
    user.ok(["bucket", "create", "docs"]);
    let mut mount = Mount::start(&user, "m", &["--bucket", "docs"]);
    fs::write(mount.join("kept"), "x").unwrap();
    File::open(mount.join("kept")).unwrap().sync_all().unwrap();
    mount.kill();
    assert!(fs::read_dir(mount.path()).is_err(), "it does not answer");
    assert!(user.ok(["mounts", "--json"]).stdout.is_empty());
    mount.again(&["--bucket", "docs"]);
    assert_eq!(fs::read(mount.join("kept")).unwrap(), b"x");
    mount.kill();
    // Or it is only taken off.
    run(user.command(["umount"]).arg(mount.path()));
    assert!(fs::read_dir(mount.path()).unwrap().next().is_none());
}

/// Whoever asks about a mount whose process does not run gets an answer, and when it runs again everything goes on.
#[test]
fn a_mount_whose_process_is_stopped_holds_nobody_up() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let (user, other) = (cluster.user("stopped"), cluster.user("neighbour"));
    user.ok(["bucket", "create", "docs"]);
    let mut mount = Mount::start(&user, "m", &["--bucket", "docs"]);
    fs::write(mount.join("file"), "x").unwrap();
    mount.settle();
    mount.signal(Signal::STOP);
    let silent = mount.status();
    let taken = [&user, &other].map(|user| bounded(user.command(["mount"]).arg(mount.path())));
    mount.signal(Signal::CONT);
    assert_eq!(silent["answers"], false, "{silent}");
    for taken in taken {
        assert!(taken.code == 7 && taken.stderr.contains("is a mountpoint already"), "{taken:?}");
    }
    assert_eq!(fs::read(mount.join("file")).unwrap(), b"x");
    assert_eq!(mount.status()["answers"], true);
    fs::write(mount.join("file"), "y").unwrap();
    mount.signal(Signal::STOP);
    let forced = user.ok([Path::new("umount"), Path::new("--force"), mount.path()]);
    assert!(forced.stderr.contains("did not answer") && !mount.join("file").exists(), "{forced:?}");
    // It finds out that it was taken off, and ends as ever.
    mount.signal(Signal::CONT);
    mount.wait_gone();
    assert_eq!(user.read("docs", "file"), b"y");
}

#[test]
fn a_signal_ends_a_mount_after_sending_what_was_written() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("signal");
    user.ok(["bucket", "create", "docs"]);
    let mut mount = Mount::start(&user, "m", &["--bucket", "docs"]);
    let content = noise(4, 3_000_000);
    fs::write(mount.join("large"), &content).unwrap();
    // Open files do not keep it from ending.
    let _open = File::open(mount.join("large")).unwrap();
    mount.signal(Signal::TERM);
    mount.wait_gone();
    assert!(user.read("docs", "large") == content);
}

#[test]
fn without_a_server_a_mount_stays_or_keeps_what_was_written() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("offline");
    user.ok(["bucket", "create", "docs"]);
    let mut mount = Mount::start(&user, "m", &["--bucket", "docs"]);
    let content = noise(8, 100_000);
    let mut file = File::create(mount.join("file")).unwrap();
    mount.settle();
    cluster.kill_server();
    file.write_all(&content).unwrap();
    file.sync_all().unwrap();
    drop(file);
    let forced = user.ok([Path::new("umount"), Path::new("--force"), mount.path()]);
    assert!(forced.stderr.contains("not sent yet"), "{forced:?}");
    mount.wait_gone();
    cluster.up();
    mount.again(&["--bucket", "docs"]);
    assert!(fs::read(mount.join("file")).unwrap() == content);
    mount.settle();
    mount.unmount();
    assert!(user.read("docs", "file") == content);
}

#[test]
fn prometheus_and_systemd_are_told() {
    use std::os::unix::net::UnixDatagram;
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("service");
    user.ok(["bucket", "create", "docs"]);
    let point = user.path("m");
    fs::create_dir(&point).unwrap();
    let notify = UnixDatagram::bind(user.path("notify")).unwrap();
    notify.set_read_timeout(Some(std::time::Duration::from_secs(300))).unwrap();
    let port = free_port();
    let mut command = user.command(["mount", "--foreground", "--json", "-o", &format!("metrics={port}")]);
    command.arg(&point).env("NOTIFY_SOCKET", user.path("notify")).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut message = [0; 512];
    let length = notify.recv(&mut message).unwrap();
    let said = String::from_utf8_lossy(&message[..length]).into_owned();
    let page = || {
        let mut stream = TcpStream::connect(port).ok()?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        Some(page)
    };
    let mut last = String::new();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(300);
    while !last.contains("\ncyx_mount_connected 1\n") && std::time::Instant::now() < deadline {
        last = page().unwrap_or_default();
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let umount = user.cyx([Path::new("umount"), &point]);
    if umount.code != 0 {
        let _ = child.kill();
        let _ = std::process::Command::new("umount").arg("-l").arg(&point).output();
    }
    wait_until("the foreground process ends with its mount", || child.try_wait().unwrap().is_some());
    assert_eq!(umount.code, 0, "{umount:?}");
    assert!(said.starts_with("READY=1\n"), "{said}");
    assert!(last.starts_with("HTTP/1.1 200 OK\r\n") && last.contains("\ncyx_mount_connected 1\n"), "{last}");
}
