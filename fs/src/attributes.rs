//! What an inode looks like from outside, and how that is changed.

pub use cyx_core::inode::InodeKind as Kind;

use crate::vfs::Handle;

/// Number of an inode, as `st_ino`. The same file has the same number in every mount, unless two files collide in 62 bits.
pub type Ino = u64;

/// The top of the mount.
pub const ROOT_INO: Ino = 1;

/// Bytes that a block counts, whatever the block size of a file is.
pub const BLOCK: u64 = 512;

/// Attributes of an inode. Times are Unix nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Its number.
    pub ino: Ino,
    /// Its kind.
    pub kind: Kind,
    /// Permission, sticky and suid bits: `0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names that lead to it; of a directory 2 and one for each directory in it.
    pub nlink: u32,
    /// Device number of a device node, as `st_rdev` encodes it.
    pub rdev: u32,
    /// Bytes.
    pub size: u64,
    /// Blocks of [`BLOCK`] bytes.
    pub blocks: u64,
    /// Last access.
    pub atime_ns: i64,
    /// Last change of the content.
    pub mtime_ns: i64,
    /// Last change of anything.
    pub ctime_ns: i64,
}

/// The mode of a file that somebody without privileges has written to, or that belongs to somebody else now: it does not run as its owner or
/// its group any more. Without permission for the group to run it, the set-group-id bit is none.
#[must_use]
pub const fn without_set_id(mode: u32) -> u32 {
    const SET_GROUP_ID: u32 = 0o2010;
    let mode = mode & !0o4000;
    if mode & SET_GROUP_ID == SET_GROUP_ID { mode & !0o2000 } else { mode }
}

/// A time that is to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// The present.
    Now,
    /// Unix nanoseconds.
    At(i64),
}

/// A change of attributes. What is absent stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetAttr {
    /// Permission, sticky and suid bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length of a file.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<SetTime>,
    /// Last change of the content.
    pub mtime: Option<SetTime>,
    /// Last change of anything.
    pub ctime: Option<SetTime>,
    /// A file does not run as its owner or group any more ([`without_set_id`]).
    pub clear_set_id: bool,
    /// The open file through which it is changed (ftruncate).
    pub handle: Option<Handle>,
}

/// On whose behalf something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Process.
    pub pid: u32,
    /// Bits that the kernel took away from the mode already.
    pub umask: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_to_runs_as_who_starts_it() {
        for (before, after) in [
            (0o4755, 0o755),
            (0o2755, 0o755),
            (0o6777, 0o777),
            (0o6745, 0o2745),
            (0o2644, 0o2644),
            (0o1777, 0o1777),
            (0o644, 0o644),
        ] {
            assert_eq!(without_set_id(before), after, "{before:o}");
        }
    }
}
