//! Modes, owners, times, counts, extended attributes.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, XattrFlags, getxattr, listxattr, removexattr, setxattr,
    statvfs, utimensat,
};
use rustix::io::Errno;

use super::{checks, fails};

checks![
    modes_are_kept_with_all_their_bits,
    owners_are_kept,
    times_are_kept_to_the_nanosecond,
    times_tell_what_happened,
    directories_count_their_directories,
    extended_attributes_are_kept,
    space_is_reported,
];

fn changed(path: &Path) -> (i64, i64) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.ctime(), found.ctime_nsec())
}

fn modified(path: &Path) -> (i64, i64) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.mtime(), found.mtime_nsec())
}

/// Does something after the clock has moved on, which is coarse in some kernels.
fn later(action: impl FnOnce()) {
    std::thread::sleep(std::time::Duration::from_millis(20));
    action();
}

fn modes_are_kept_with_all_their_bits(dir: &Path) {
    let file = dir.join("file");
    fs::write(&file, "").unwrap();
    for mode in [0o644, 0o000, 0o777, 0o4755, 0o2755, 0o1777, 0o6711, 0o600] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, mode, "{mode:o}");
    }
    let sub = dir.join("sub");
    fs::create_dir(&sub).unwrap();
    fs::set_permissions(&sub, Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(fs::metadata(&sub).unwrap().mode() & 0o7777, 0o1777);
}

fn owners_are_kept(dir: &Path) {
    let file = dir.join("file");
    fs::write(&file, "").unwrap();
    let mine = fs::metadata(&file).unwrap();
    assert_eq!(mine.uid(), rustix::process::geteuid().as_raw());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(1234), None).unwrap();
        std::os::unix::fs::chown(&file, None, Some(4321)).unwrap();
        let found = fs::metadata(&file).unwrap();
        assert_eq!((found.uid(), found.gid()), (1234, 4321));
        symlink("file", dir.join("link")).unwrap();
        std::os::unix::fs::lchown(dir.join("link"), Some(7), Some(8)).unwrap();
        assert_eq!(fs::symlink_metadata(dir.join("link")).unwrap().uid(), 7);
        assert_eq!(fs::metadata(&file).unwrap().uid(), 1234);
    }
}

fn times_are_kept_to_the_nanosecond(dir: &Path) {
    let file = dir.join("file");
    fs::write(&file, "").unwrap();
    let set = |access: Timespec, modification: Timespec| {
        let times = Timestamps { last_access: access, last_modification: modification };
        utimensat(CWD, &file, &times, AtFlags::empty()).unwrap();
        fs::metadata(&file).unwrap()
    };
    let at = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    for (seconds, nanos) in
        [(1_000_000_000, 123_456_789), (0, 1), (4_000_000_000, 999_999_999), (-1, 500_000_000), (-5, 0)]
    {
        let found = set(at(seconds, nanos), at(seconds + 1, nanos));
        assert_eq!((found.atime(), found.atime_nsec()), (seconds, nanos));
        assert_eq!((found.mtime(), found.mtime_nsec()), (seconds + 1, nanos));
    }
    let before = set(at(5, 5), at(6, 6));
    let omitted = set(at(0, UTIME_OMIT), at(7, 7));
    assert_eq!((omitted.atime(), omitted.mtime()), (before.atime(), 7));
    let now = set(at(0, UTIME_NOW), at(0, UTIME_OMIT));
    assert!(now.atime() > 1_000_000_000);
    assert_eq!(now.mtime(), 7);
}

fn times_tell_what_happened(dir: &Path) {
    let (file, other) = (dir.join("file"), dir.join("other"));
    fs::write(&file, "x").unwrap();
    let steps: [(&str, &dyn Fn()); 6] = [
        ("chmod", &|| fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap()),
        ("link", &|| fs::hard_link(&file, &other).unwrap()),
        ("unlink", &|| fs::remove_file(&other).unwrap()),
        ("rename", &|| fs::rename(&file, &other).and_then(|()| fs::rename(&other, &file)).unwrap()),
        ("write", &|| fs::write(&file, "y").unwrap()),
        ("truncate", &|| File::options().write(true).open(&file).unwrap().set_len(0).unwrap()),
    ];
    for (what, step) in steps {
        let before = (changed(&file), modified(&file));
        later(step);
        assert!(changed(&file) > before.0, "{what} changes ctime");
        let content = matches!(what, "write" | "truncate");
        assert_eq!(modified(&file) > before.1, content, "{what} and mtime");
    }
    let steps: [(&str, &dyn Fn()); 5] = [
        ("create", &|| fs::write(&other, "").unwrap()),
        ("unlink", &|| fs::remove_file(&other).unwrap()),
        ("mkdir", &|| fs::create_dir(&other).unwrap()),
        ("rmdir", &|| fs::remove_dir(&other).unwrap()),
        ("symlink", &|| symlink("x", &other).unwrap()),
    ];
    for (what, step) in steps {
        let before = (changed(dir), modified(dir));
        later(step);
        assert!(changed(dir) > before.0 && modified(dir) > before.1, "{what} changes the directory's times");
    }
    // What fails changes nothing.
    let before = (changed(dir), modified(dir));
    later(|| assert!(fs::create_dir(&other).is_err()));
    assert_eq!((changed(dir), modified(dir)), before);
}

fn directories_count_their_directories(dir: &Path) {
    let links = || fs::metadata(dir).unwrap().nlink();
    let before = links();
    fs::create_dir(dir.join("a")).unwrap();
    fs::create_dir(dir.join("b")).unwrap();
    fs::write(dir.join("file"), "").unwrap();
    assert_eq!(links(), before + 2);
    fs::rename(dir.join("a"), dir.join("b/a")).unwrap();
    assert_eq!(links(), before + 1);
    assert_eq!(fs::metadata(dir.join("b")).unwrap().nlink(), 3);
    fs::remove_dir(dir.join("b/a")).unwrap();
    fs::remove_dir(dir.join("b")).unwrap();
    assert_eq!(links(), before);
}

fn extended_attributes_are_kept(dir: &Path) {
    let file = dir.join("file");
    fs::write(&file, "").unwrap();
    let mut buffer = vec![0; 4096];
    fails(getxattr(&file, "user.absent", &mut buffer[..]), Errno::NODATA, "get of none");
    fails(removexattr(&file, "user.absent"), Errno::NODATA, "remove of none");
    fails(setxattr(&file, "user.a", b"1", XattrFlags::REPLACE), Errno::NODATA, "replace of none");
    fails(setxattr(&file, "user.", b"1", XattrFlags::empty()), Errno::INVAL, "a kind without a name");
    let value = crate::noise(5, 2000);
    setxattr(&file, "user.a", &value, XattrFlags::CREATE).unwrap();
    fails(setxattr(&file, "user.a", b"1", XattrFlags::CREATE), Errno::EXIST, "create of one");
    setxattr(&file, "user.b", b"", XattrFlags::empty()).unwrap();
    assert_eq!(getxattr(&file, "user.a", &mut buffer[..]).unwrap(), value.len());
    assert_eq!(&buffer[..value.len()], value);
    assert_eq!(getxattr(&file, "user.b", &mut buffer[..]).unwrap(), 0);
    fails(getxattr(&file, "user.a", &mut buffer[..10]), Errno::RANGE, "a small buffer");
    let length = listxattr(&file, &mut buffer[..]).unwrap();
    let mut names: Vec<_> =
        buffer[..length].split(|byte| *byte == 0).filter(|name| name.starts_with(b"user.")).collect();
    names.sort_unstable();
    assert_eq!(names, [b"user.a", b"user.b"]);
    setxattr(&file, "user.a", b"new", XattrFlags::REPLACE).unwrap();
    assert_eq!(getxattr(&file, "user.a", &mut buffer[..]).unwrap(), 3);
    removexattr(&file, "user.a").unwrap();
    fails(getxattr(&file, "user.a", &mut buffer[..]), Errno::NODATA, "get of a removed one");
}

fn space_is_reported(dir: &Path) {
    let space = statvfs(dir).unwrap();
    assert_eq!(space.f_namemax, 255);
    assert!(space.f_blocks >= space.f_bavail && space.f_frsize > 0 && space.f_bavail > 0);
}
