//! From our types to those of the kernel's protocol and back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, TimeOrNow, WriteFlags};
use rustix::fs::OFlags;

use crate::attributes::{Attr, Kind, SetTime};
use crate::errno::Errno;
use crate::vfs::OpenFlags;

/// Preferred size of reads and writes that `stat` reports, in bytes.
const BLOCK_SIZE: u32 = 4096;

/// An error as the kernel is told.
pub(super) fn errno(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.0)
}

/// A kind as directory entries and attributes carry it.
pub(super) const fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

/// The kind that `mknod(2)` asks for; no type bits mean a regular file.
pub(super) const fn kind_of_mode(mode: u32) -> Option<Kind> {
    match mode & 0o170_000 {
        0 | 0o100_000 => Some(Kind::File),
        0o010_000 => Some(Kind::Fifo),
        0o140_000 => Some(Kind::Socket),
        0o020_000 => Some(Kind::CharDevice),
        0o060_000 => Some(Kind::BlockDevice),
        _ => None,
    }
}

/// Attributes as `stat` shows them.
pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime_ns),
        mtime: system_time(attr.mtime_ns),
        ctime: system_time(attr.ctime_ns),
        crtime: UNIX_EPOCH,
        kind: file_type(attr.kind),
        perm: permissions(attr.mode),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// Attributes of an entry whose inode nobody asked for: number and kind.
pub(super) fn bare_attr(ino: u64, kind: Kind) -> FileAttr {
    file_attr(&Attr {
        ino,
        kind,
        mode: 0,
        uid: 0,
        gid: 0,
        nlink: 1,
        rdev: 0,
        size: 0,
        blocks: 0,
        atime_ns: 0,
        mtime_ns: 0,
        ctime_ns: 0,
    })
}

const fn permissions(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

fn system_time(ns: i64) -> SystemTime {
    let distance = Duration::from_nanos(ns.unsigned_abs());
    let time = if ns < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

/// A time that a program sets. Those outside of what nanoseconds in 64 bits can say (1677 to 2262) are clamped, as filesystems
/// with a range do.
pub(super) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(nanoseconds(time)),
    }
}

/// Of a time before 1970, `fuser` 0.18 takes the nanoseconds away from the seconds instead of adding them
/// (`system_time_from_time`): -2 s + 0.8 s arrives as 2.8 s before 1970. Seconds and nanoseconds themselves arrive unharmed.
pub(super) fn nanoseconds(time: SystemTime) -> i64 {
    let (seconds, fraction, sign) = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (after.as_secs(), after.subsec_nanos(), 1),
        Err(before) => (before.duration().as_secs(), before.duration().subsec_nanos(), -1),
    };
    let whole = i128::from(seconds) * 1_000_000_000 * sign + i128::from(fraction);
    i64::try_from(whole).unwrap_or(if sign < 0 { i64::MIN } else { i64::MAX })
}

/// What a write comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteFrom {
    /// A call, which says where.
    Offset,
    /// A call of a descriptor that appends at this moment: it goes to the end of the file, wherever that is by now.
    End,
    /// Pages of a mapping that the kernel writes back: they go where they were mapped, whichever descriptor they come through.
    Mapping,
}

pub(super) fn write_from(flags: i32, write: WriteFlags) -> WriteFrom {
    // Without the writeback cache nothing else comes from the kernel's pages.
    if write.contains(WriteFlags::FUSE_WRITE_CACHE) {
        WriteFrom::Mapping
    } else if OFlags::from_bits_retain(flags.cast_unsigned()).contains(OFlags::APPEND) {
        WriteFrom::End
    } else {
        WriteFrom::Offset
    }
}

/// The flags of `open(2)` that matter to the filesystem.
pub(super) fn open_flags(flags: i32) -> OpenFlags {
    let flags = OFlags::from_bits_retain(flags.cast_unsigned());
    let access = flags & OFlags::ACCMODE;
    OpenFlags {
        read: access != OFlags::WRONLY,
        write: access == OFlags::WRONLY || access == OFlags::RDWR,
        truncate: flags.contains(OFlags::TRUNC),
        exclusive: flags.contains(OFlags::EXCL),
        // O_SYNC contains the bit of O_DSYNC.
        sync: flags.contains(OFlags::DSYNC),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_are_what_the_program_said() {
        // What fuser makes of (-2 s, 800 ms), which is 1.2 s before 1970.
        let received = UNIX_EPOCH - Duration::new(2, 800_000_000);
        assert_eq!(nanoseconds(received), -1_200_000_000);
        assert_eq!(nanoseconds(UNIX_EPOCH - Duration::from_secs(3)), -3_000_000_000);
        assert_eq!(nanoseconds(UNIX_EPOCH + Duration::new(1, 5)), 1_000_000_005);
        assert_eq!(nanoseconds(UNIX_EPOCH), 0);
    }

    #[test]
    fn times_out_of_range_are_clamped() {
        assert_eq!(nanoseconds(UNIX_EPOCH + Duration::from_secs(1 << 40)), i64::MAX);
        assert_eq!(nanoseconds(UNIX_EPOCH - Duration::from_secs(1 << 40)), i64::MIN);
        for ns in [0, 1, -1, i64::MAX, i64::MIN, -1_200_000_000] {
            let time = system_time(ns);
            let back = match time.duration_since(UNIX_EPOCH) {
                Ok(after) => i128::try_from(after.as_nanos()).unwrap(),
                Err(before) => -i128::try_from(before.duration().as_nanos()).unwrap(),
            };
            assert_eq!(back, i128::from(ns));
        }
    }

    #[test]
    fn flags_of_open_are_told_apart() {
        let append = OFlags::APPEND.bits().cast_signed();
        assert_eq!(write_from(append, WriteFlags::empty()), WriteFrom::End);
        assert_eq!(write_from(0, WriteFlags::empty()), WriteFrom::Offset);
        assert_eq!(
            write_from(append, WriteFlags::FUSE_WRITE_CACHE),
            WriteFrom::Mapping,
            "what is mapped stays where it is"
        );
        let write = open_flags((OFlags::WRONLY | OFlags::TRUNC).bits().cast_signed());
        assert!(write.write && write.truncate && !write.read && !write.sync);
        let both = open_flags((OFlags::RDWR | OFlags::SYNC).bits().cast_signed());
        assert!(both.write && both.read && both.sync && !both.truncate);
        assert!(open_flags(0).read && !open_flags(0).write);
    }

    #[test]
    fn every_kind_has_a_type_and_every_type_of_mknod_a_kind() {
        for (mode, kind) in [
            (0o100_644, Kind::File),
            (0o644, Kind::File),
            (0o010_600, Kind::Fifo),
            (0o140_777, Kind::Socket),
            (0o020_600, Kind::CharDevice),
            (0o060_600, Kind::BlockDevice),
        ] {
            assert_eq!(kind_of_mode(mode), Some(kind));
        }
        assert_eq!(kind_of_mode(0o040_755), None);
        assert_eq!(permissions(0o104_755), 0o4755);
    }
}
