//! Names: what leads where, and what does not.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Dir, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};
use rustix::io::Errno;

use super::{checks, fails};
use crate::Over;
use crate::mount::rootless;

checks![
    names_have_up_to_255_bytes_of_any_kind,
    what_does_not_exist_is_not_found,
    a_file_is_no_directory_on_the_way,
    what_exists_is_not_made_again,
    directories_are_removed_only_when_empty,
    rename_replaces_what_it_may,
    rename_exchanges_and_refuses_to_replace,
    a_directory_does_not_go_below_itself,
    links_lead_and_loops_end,
    hard_links_are_one_file,
    every_kind_of_node_can_be_made,
    paths_can_be_deep,
    listings_are_complete_and_survive_removals,
    dots_are_the_directory_and_the_one_above,
    an_unlinked_file_lives_while_it_is_open,
    a_file_saved_by_rename_is_never_missing,
];

fn write(path: &Path, content: &str) {
    fs::write(path, content).expect("a file");
}

fn names_have_up_to_255_bytes_of_any_kind(dir: &Path) {
    for name in
        ["x".repeat(255), "ä".repeat(127), " leading and trailing ".to_owned(), "a\nb".to_owned(), "-rf".to_owned()]
    {
        write(&dir.join(&name), "x");
        assert_eq!(fs::read_to_string(dir.join(&name)).unwrap(), "x", "{name:?}");
    }
    let bytes: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    write(&dir.join(OsStr::from_bytes(&bytes[..200])), "bytes");
    let listed: BTreeSet<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(listed.len(), 6);
    assert!(listed.contains(OsStr::from_bytes(&bytes[..200])));
    let long = dir.join("x".repeat(256));
    fails(File::create(&long), Errno::NAMETOOLONG, "create");
    fails(File::open(&long), Errno::NAMETOOLONG, "open");
    fails(fs::create_dir(&long), Errno::NAMETOOLONG, "mkdir");
    fails(fs::remove_file(&long), Errno::NAMETOOLONG, "unlink");
    fails(symlink("x", &long), Errno::NAMETOOLONG, "symlink");
    fails(fs::rename(dir.join("-rf"), &long), Errno::NAMETOOLONG, "rename");
    fails(fs::hard_link(dir.join("-rf"), &long), Errno::NAMETOOLONG, "link");
}

fn what_does_not_exist_is_not_found(dir: &Path) {
    let absent = dir.join("absent");
    fails(File::open(&absent), Errno::NOENT, "open");
    fails(fs::metadata(&absent), Errno::NOENT, "stat");
    fails(fs::remove_file(&absent), Errno::NOENT, "unlink");
    fails(fs::remove_dir(&absent), Errno::NOENT, "rmdir");
    fails(fs::read_dir(&absent), Errno::NOENT, "opendir");
    fails(fs::read_link(&absent), Errno::NOENT, "readlink");
    fails(fs::rename(&absent, dir.join("other")), Errno::NOENT, "rename");
    fails(fs::hard_link(&absent, dir.join("other")), Errno::NOENT, "link");
    fails(fs::create_dir(absent.join("x")), Errno::NOENT, "mkdir below");
    fails(symlink("x", absent.join("x")), Errno::NOENT, "symlink below");
    fails(File::create(absent.join("x")), Errno::NOENT, "create below");
    write(&dir.join("file"), "");
    fails(fs::rename(dir.join("file"), absent.join("x")), Errno::NOENT, "rename below");
    // What was not found before is found as soon as it exists.
    write(&absent, "now");
    assert_eq!(fs::read_to_string(&absent).unwrap(), "now");
}

fn a_file_is_no_directory_on_the_way(dir: &Path) {
    let (file, below) = (dir.join("file"), dir.join("file/below"));
    write(&file, "");
    fails(File::open(&below), Errno::NOTDIR, "open");
    fails(File::create(&below), Errno::NOTDIR, "create");
    fails(fs::create_dir(&below), Errno::NOTDIR, "mkdir");
    fails(fs::remove_file(&below), Errno::NOTDIR, "unlink");
    fails(fs::remove_dir(&below), Errno::NOTDIR, "rmdir below");
    fails(fs::remove_dir(&file), Errno::NOTDIR, "rmdir");
    fails(fs::read_dir(&file), Errno::NOTDIR, "opendir");
    fails(symlink("x", &below), Errno::NOTDIR, "symlink");
    fails(fs::hard_link(&file, &below), Errno::NOTDIR, "link");
    fails(fs::rename(&file, &below), Errno::NOTDIR, "rename");
}

fn what_exists_is_not_made_again(dir: &Path) {
    write(&dir.join("file"), "");
    fs::create_dir(dir.join("dir")).unwrap();
    symlink("nowhere", dir.join("link")).unwrap();
    for name in ["file", "dir", "link"] {
        let path = dir.join(name);
        fails(fs::create_dir(&path), Errno::EXIST, "mkdir");
        fails(symlink("x", &path), Errno::EXIST, "symlink");
        fails(fs::hard_link(dir.join("file"), &path), Errno::EXIST, "link");
        fails(OpenOptions::new().write(true).create_new(true).open(&path), Errno::EXIST, "O_EXCL");
        fails(mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0), Errno::EXIST, "mkfifo");
    }
    assert_eq!(fs::metadata(dir.join("file")).unwrap().nlink(), 1);
}

fn directories_are_removed_only_when_empty(dir: &Path) {
    let full = dir.join("full");
    fs::create_dir(&full).unwrap();
    write(&full.join("file"), "");
    fails(fs::remove_dir(&full), Errno::NOTEMPTY, "rmdir");
    fails(fs::remove_file(&full), Errno::ISDIR, "unlink of a directory");
    fails(fs::remove_dir(full.join(".")), Errno::INVAL, "rmdir of .");
    fails(OpenOptions::new().write(true).open(&full), Errno::ISDIR, "open for writing");
    fs::remove_file(full.join("file")).unwrap();
    let open = File::open(&full).unwrap();
    fs::remove_dir(&full).unwrap();
    fails(fs::metadata(&full), Errno::NOENT, "stat");
    // Nothing can be made in a directory that is gone, even where it is still open.
    fails(mknodat(&open, "x", FileType::RegularFile, Mode::RUSR, 0), Errno::NOENT, "create in a removed directory");
}

fn rename_replaces_what_it_may(dir: &Path) {
    let path = |name: &str| dir.join(name);
    write(&path("a"), "a");
    write(&path("b"), "b");
    let (inode, mut replaced) = (fs::metadata(path("a")).unwrap().ino(), File::open(path("b")).unwrap());
    fs::rename(path("a"), path("b")).unwrap();
    assert_eq!(fs::read_to_string(path("b")).unwrap(), "a");
    assert_eq!(fs::metadata(path("b")).unwrap().ino(), inode);
    fails(fs::metadata(path("a")), Errno::NOENT, "the old name");
    let mut old = String::new();
    replaced.read_to_string(&mut old).unwrap();
    assert_eq!(old, "b", "what was replaced is readable while it is open");
    for name in ["empty", "full", "dir"] {
        fs::create_dir(path(name)).unwrap();
    }
    write(&path("full/x"), "");
    fails(fs::rename(path("b"), path("dir")), Errno::ISDIR, "a file over a directory");
    fails(fs::rename(path("dir"), path("b")), Errno::NOTDIR, "a directory over a file");
    fails(fs::rename(path("dir"), path("full")), Errno::NOTEMPTY, "over a full directory");
    fs::rename(path("full"), path("empty")).unwrap();
    assert!(path("empty/x").exists() && !path("full").exists());
    // Two names of one file: nothing happens, and both stay.
    fs::hard_link(path("b"), path("c")).unwrap();
    fs::rename(path("b"), path("c")).unwrap();
    assert!(path("b").exists() && path("c").exists());
    fs::rename(path("b"), path("b")).unwrap();
}

fn rename_exchanges_and_refuses_to_replace(dir: &Path) {
    let path = |name: &str| dir.join(name);
    write(&path("file"), "file");
    fs::create_dir(path("dir")).unwrap();
    write(&path("dir/inside"), "inside");
    let rename = |from: &str, to: &str, flags| renameat_with(CWD, path(from), CWD, path(to), flags);
    fails(rename("file", "dir", RenameFlags::NOREPLACE), Errno::EXIST, "NOREPLACE");
    fails(rename("file", "none", RenameFlags::EXCHANGE), Errno::NOENT, "EXCHANGE with nothing");
    rename("file", "dir", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(fs::read_to_string(path("dir")).unwrap(), "file");
    assert_eq!(fs::read_to_string(path("file/inside")).unwrap(), "inside");
    rename("file", "new", RenameFlags::NOREPLACE).unwrap();
    assert_eq!(fs::read_to_string(path("new/inside")).unwrap(), "inside");
}

fn a_directory_does_not_go_below_itself(dir: &Path) {
    fs::create_dir_all(dir.join("a/b/c")).unwrap();
    fails(fs::rename(dir.join("a"), dir.join("a/b/c/d")), Errno::INVAL, "rename below itself");
    fails(fs::rename(dir.join("a"), dir.join("a/x")), Errno::INVAL, "rename into itself");
    fails(fs::rename(dir.join("a/b/c"), dir.join("a")), Errno::NOTEMPTY, "rename over an ancestor");
    fs::rename(dir.join("a/b/c"), dir.join("c")).unwrap();
    assert!(dir.join("c/../a/b").exists(), "the moved directory knows its new parent");
}

fn links_lead_and_loops_end(dir: &Path) {
    write(&dir.join("file"), "content");
    symlink("file", dir.join("link")).unwrap();
    assert_eq!(fs::read_to_string(dir.join("link")).unwrap(), "content");
    assert_eq!(fs::read_link(dir.join("link")).unwrap(), Path::new("file"));
    assert_eq!(fs::symlink_metadata(dir.join("link")).unwrap().len(), 4);
    let long = "x/".repeat(2000);
    symlink(&long, dir.join("long")).unwrap();
    assert_eq!(fs::read_link(dir.join("long")).unwrap().as_os_str(), OsStr::new(&long));
    symlink("b", dir.join("a")).unwrap();
    symlink("a", dir.join("b")).unwrap();
    fails(File::open(dir.join("a")), Errno::LOOP, "open");
    fails(fs::create_dir(dir.join("a/x")), Errno::LOOP, "mkdir");
    fails(fs::read_link(dir.join("file")), Errno::INVAL, "readlink of a file");
    fs::remove_file(dir.join("link")).unwrap();
    assert!(dir.join("file").exists());
}

fn hard_links_are_one_file(dir: &Path) {
    let (a, b) = (dir.join("a"), dir.join("b"));
    write(&a, "one");
    fs::create_dir(dir.join("dir")).unwrap();
    fs::hard_link(&a, &b).unwrap();
    fs::hard_link(&b, dir.join("dir/c")).unwrap();
    let (first, second) = (fs::metadata(&a).unwrap(), fs::metadata(dir.join("dir/c")).unwrap());
    assert_eq!((first.ino(), first.nlink()), (second.ino(), 3));
    OpenOptions::new().append(true).open(&b).unwrap().write_all(b" two").unwrap();
    assert_eq!(fs::read_to_string(&a).unwrap(), "one two");
    fs::remove_file(&a).unwrap();
    assert_eq!(fs::metadata(&b).unwrap().nlink(), 2);
    fails(fs::hard_link(dir.join("dir"), dir.join("e")), Errno::PERM, "link of a directory");
}

fn every_kind_of_node_can_be_made(dir: &Path) {
    let make = |name: &str, kind, device| mknodat(CWD, dir.join(name), kind, Mode::from_raw_mode(0o640), device);
    make("fifo", FileType::Fifo, 0).unwrap();
    make("file", FileType::RegularFile, 0).unwrap();
    make("socket", FileType::Socket, 0).unwrap();
    let kind = |name: &str| fs::symlink_metadata(dir.join(name)).unwrap().file_type();
    assert!(kind("fifo").is_fifo() && kind("file").is_file() && kind("socket").is_socket());
    if !rootless() {
        make("char", FileType::CharacterDevice, makedev(1, 3)).unwrap();
        make("block", FileType::BlockDevice, makedev(7, 300)).unwrap();
        assert!(kind("char").is_char_device() && kind("block").is_block_device());
        assert_eq!(fs::metadata(dir.join("char")).unwrap().rdev(), makedev(1, 3));
        assert_eq!(fs::metadata(dir.join("block")).unwrap().rdev(), makedev(7, 300));
    }
}

fn paths_can_be_deep(dir: &Path) {
    let mut path = dir.to_path_buf();
    for depth in 0..30 {
        path.push(format!("{depth}-{}", "d".repeat(60)));
    }
    fs::create_dir_all(&path).unwrap();
    write(&path.join("file"), "deep");
    assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "deep");
}

fn listings_are_complete_and_survive_removals(dir: &Path) {
    const MANY: usize = 700;
    for index in 0..MANY {
        write(&dir.join(format!("file-{index}")), "");
    }
    let names: BTreeSet<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), MANY);
    // Each entry that exists all the time is listed exactly once, whatever happens to others.
    let mut seen = BTreeSet::new();
    for (index, entry) in fs::read_dir(dir).unwrap().enumerate() {
        let name = entry.unwrap().file_name();
        assert!(seen.insert(name.clone()), "{} was listed twice", name.display());
        if index % 2 == 0 {
            fs::remove_file(dir.join(&name)).unwrap();
        }
    }
    assert_eq!(seen.len(), MANY);
    assert_eq!(fs::read_dir(dir).unwrap().count(), MANY / 2);
}

fn dots_are_the_directory_and_the_one_above(dir: &Path) {
    let below = dir.join("below");
    fs::create_dir(&below).unwrap();
    let number = |path: &Path| fs::metadata(path).unwrap().ino();
    let listed = Dir::new(File::open(&below).unwrap()).unwrap().map(Result::unwrap);
    let mut dots: Vec<(Vec<u8>, u64)> =
        listed.map(|entry| (entry.file_name().to_bytes().to_vec(), entry.ino())).collect();
    dots.sort_unstable();
    assert_eq!(dots, [(b".".to_vec(), number(&below)), (b"..".to_vec(), number(dir))]);
}

fn an_unlinked_file_lives_while_it_is_open(dir: &Path) {
    let path = dir.join("file");
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    file.write_all(b"before").unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    file.write_all(b" after").unwrap();
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "before after");
    file.set_len(3).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 3);
    // The name is free again, for another file.
    write(&path, "another");
    assert_eq!(file.metadata().unwrap().len(), 3);
}

fn a_file_saved_by_rename_is_never_missing(dir: &Path) {
    let path = dir.join("document");
    write(&path, "0");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0_u32;
            while !done.load(Ordering::Acquire) {
                let text = fs::read_to_string(&path).expect("an editor that saves by rename never takes the file away");
                assert!(!text.is_empty(), "a half-written file was seen");
                reads += 1;
            }
            reads
        });
        let ending = Over(&done);
        for version in 1..100 {
            let new = dir.join(format!(".document.{version}"));
            write(&new, &version.to_string());
            fs::rename(new, &path).unwrap();
        }
        drop(ending);
        assert!(reader.join().unwrap() > 0);
    });
    assert_eq!(fs::read_to_string(&path).unwrap(), "99");
}
