//! Bytes: reading, writing, holes, cloning, locks.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FallocateFlags, FlockOperation, copy_file_range, fallocate, fcntl_lock, flock};
use rustix::io::Errno;

use super::{checks, fails};
use crate::noise;

checks![
    what_is_written_is_read,
    appending_writes_at_the_end,
    lengths_grow_with_zeros_and_shrink,
    holes_are_punched_and_found,
    space_is_allocated_ahead,
    ranges_are_copied_by_the_kernel,
    every_sync_works,
    what_does_not_append_any_more_is_written_where_it_should_be,
    locks_of_this_machine_work,
    many_small_files_are_what_was_written,
];

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).expect("a file")
}

fn what_is_written_is_read(dir: &Path) {
    let path = dir.join("file");
    let content = noise(1, 3_000_001);
    fs::write(&path, &content).unwrap();
    assert!(fs::read(&path).unwrap() == content);
    let file = open(&path);
    for (index, offset) in [0_u64, 4095, 65_536, 1_048_575, 2_999_999].into_iter().enumerate() {
        let piece = noise(10 + index as u64, 7001);
        file.write_all_at(&piece, offset).unwrap();
        let mut back = vec![0; piece.len()];
        file.read_exact_at(&mut back, offset).unwrap();
        assert!(back == piece, "at {offset}");
    }
    assert_eq!(file.metadata().unwrap().len(), 3_007_000);
    let mut end = [0; 10];
    assert_eq!(file.read_at(&mut end, 3_007_000).unwrap(), 0, "behind the end is nothing");
    fails(File::open(&path).unwrap().write(b"x"), Errno::BADF, "writing to a file open for reading");
    assert!(file.metadata().unwrap().blocks() > 0);
}

fn appending_writes_at_the_end(dir: &Path) {
    let path = dir.join("log");
    let append = || OpenOptions::new().append(true).create(true).open(&path).unwrap();
    let (mut one, mut two) = (append(), append());
    for round in 0..20 {
        writeln!(one, "one {round}").unwrap();
        writeln!(two, "two {round}").unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 40);
    assert_eq!((lines[0], lines[39]), ("one 0", "two 19"));
}

fn lengths_grow_with_zeros_and_shrink(dir: &Path) {
    let file = open(&dir.join("file"));
    file.write_all_at(b"abc", 0).unwrap();
    file.set_len(100_000).unwrap();
    let mut content = vec![1; 100_000];
    file.read_exact_at(&mut content, 0).unwrap();
    assert!(content[..3] == *b"abc" && content[3..].iter().all(|byte| *byte == 0));
    file.write_all_at(b"xyz", 50_000).unwrap();
    file.set_len(2).unwrap();
    file.set_len(60_000).unwrap();
    let mut content = vec![1; 60_000];
    file.read_exact_at(&mut content, 0).unwrap();
    assert!(
        content[..2] == *b"ab" && content[2..].iter().all(|byte| *byte == 0),
        "what was cut off does not come back"
    );
    file.write_all_at(b"end", 1_000_000).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 1_000_003);
    fails(File::open(dir).unwrap().set_len(0), Errno::INVAL, "a directory has no length to set");
}

fn holes_are_punched_and_found(dir: &Path) {
    let mut file = open(&dir.join("sparse"));
    const MIB: u64 = 1 << 20;
    file.write_all_at(&noise(3, 1 << 20), 2 * MIB).unwrap();
    file.set_len(8 * MIB).unwrap();
    assert_eq!(file.seek(SeekFrom::Start(0)).unwrap(), 0);
    let seek = |what: fn(u64) -> rustix::fs::SeekFrom, at| rustix::fs::seek(&file, what(at));
    assert_eq!(seek(rustix::fs::SeekFrom::Data, 0).unwrap(), 2 * MIB);
    assert_eq!(seek(rustix::fs::SeekFrom::Hole, 2 * MIB).unwrap(), 3 * MIB);
    assert_eq!(seek(rustix::fs::SeekFrom::Hole, 0).unwrap(), 0);
    fails(seek(rustix::fs::SeekFrom::Data, 3 * MIB), Errno::NXIO, "no data behind the last");
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, punch, 2 * MIB + 4096, 100_000).unwrap();
    let mut content = vec![1; 100_000];
    file.read_exact_at(&mut content, 2 * MIB + 4096).unwrap();
    assert!(content.iter().all(|byte| *byte == 0), "a punched hole is zeros");
    assert_eq!(file.metadata().unwrap().len(), 8 * MIB);
    let mut around = vec![0; 4096];
    file.read_exact_at(&mut around, 2 * MIB).unwrap();
    assert!(around == noise(3, 4096), "what is beside the hole stays");
}

fn space_is_allocated_ahead(dir: &Path) {
    let file = open(&dir.join("file"));
    fallocate(&file, FallocateFlags::empty(), 0, 10_000).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 10_000);
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 50_000).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 10_000);
    file.write_all_at(b"kept", 5000).unwrap();
    fallocate(&file, FallocateFlags::empty(), 0, 20_000).unwrap();
    let mut kept = [0; 4];
    file.read_exact_at(&mut kept, 5000).unwrap();
    assert_eq!(&kept, b"kept");
    assert_eq!(file.metadata().unwrap().len(), 20_000);
}

fn ranges_are_copied_by_the_kernel(dir: &Path) {
    let (from, to) = (open(&dir.join("from")), open(&dir.join("to")));
    let content = noise(7, 500_000);
    from.write_all_at(&content, 0).unwrap();
    to.write_all_at(&[9; 10], 0).unwrap();
    let (mut at, mut into) = (1000, 4);
    while at < 400_000 {
        let left = usize::try_from(400_000 - at).unwrap();
        assert!(copy_file_range(&from, Some(&mut at), &to, Some(&mut into), left).unwrap() > 0);
    }
    let mut back = vec![0; 399_000];
    to.read_exact_at(&mut back, 4).unwrap();
    assert!(back == content[1000..400_000]);
    let mut head = [0; 4];
    to.read_exact_at(&mut head, 0).unwrap();
    assert_eq!(head, [9; 4]);
    assert_eq!(copy_file_range(&from, Some(&mut 500_000), &to, Some(&mut 0), 10).unwrap(), 0, "nothing behind the end");
}

fn what_does_not_append_any_more_is_written_where_it_should_be(dir: &Path) {
    use rustix::fs::OFlags;
    let path = dir.join("file");
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path).unwrap();
    file.write_all(&[b'A'; 8192]).unwrap();
    rustix::fs::fcntl_setfl(&file, OFlags::empty()).unwrap();
    file.write_all_at(b"ZZ", 100).unwrap();
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND).unwrap();
    file.write_all(b"end").unwrap();
    let mut all = vec![0; 8195];
    file.read_exact_at(&mut all, 0).unwrap();
    assert_eq!((file.metadata().unwrap().len(), &all[98..104]), (8195, &b"AAZZAA"[..]));
    assert!(all.ends_with(b"AAend"));
}

fn every_sync_works(dir: &Path) {
    let path = dir.join("file");
    let mut file = open(&path);
    file.write_all(b"1").unwrap();
    file.sync_all().unwrap();
    file.write_all(b"2").unwrap();
    file.sync_data().unwrap();
    File::open(dir).unwrap().sync_all().unwrap();
    let flags = rustix::fs::OFlags::SYNC.bits().cast_signed();
    let mut synced = OpenOptions::new().append(true).custom_flags(flags).open(&path).unwrap();
    synced.write_all(b"3").unwrap();
    let mut text = String::new();
    File::open(&path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "123");
}

fn locks_of_this_machine_work(dir: &Path) {
    let (one, two) = (open(&dir.join("lock")), open(&dir.join("lock")));
    flock(&one, FlockOperation::LockExclusive).unwrap();
    fails(flock(&two, FlockOperation::NonBlockingLockExclusive), Errno::WOULDBLOCK, "flock");
    flock(&one, FlockOperation::Unlock).unwrap();
    flock(&two, FlockOperation::NonBlockingLockShared).unwrap();
    flock(&one, FlockOperation::NonBlockingLockShared).unwrap();
    // Locks of fcntl(2) belong to the process: it cannot lock itself out, but it can lock.
    fcntl_lock(&one, FlockOperation::NonBlockingLockExclusive).unwrap();
    fcntl_lock(&two, FlockOperation::NonBlockingLockExclusive).unwrap();
    fcntl_lock(&one, FlockOperation::Unlock).unwrap();
}

fn many_small_files_are_what_was_written(dir: &Path) {
    let content = |index: u64| noise(index, usize::try_from(index * 37 % 9000).unwrap());
    for index in 0..200 {
        fs::write(dir.join(index.to_string()), content(index)).unwrap();
    }
    for index in 0..200 {
        assert!(fs::read(dir.join(index.to_string())).unwrap() == content(index), "{index}");
    }
}
