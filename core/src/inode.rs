//! What a name can lead to.

use std::fmt;

use crate::wire::DecodeError;

/// The kind of an inode. The numbers are those of the wire and part of what an edge's key is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum InodeKind {
    /// A regular file.
    File = 1,
    /// A directory.
    Directory = 2,
    /// A symbolic link.
    Symlink = 3,
    /// A named pipe.
    Fifo = 4,
    /// A socket.
    Socket = 5,
    /// A character device.
    CharDevice = 6,
    /// A block device.
    BlockDevice = 7,
}

impl InodeKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::File, Self::Directory, Self::Symlink, Self::Fifo, Self::Socket, Self::CharDevice, Self::BlockDevice];

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind of a number.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] for a number that no kind has.
    pub fn from_number(number: i32) -> Result<Self, DecodeError> {
        let found = Self::ALL.into_iter().find(|kind| i32::from(kind.number()) == number);
        found.ok_or(DecodeError::Invalid("kind of inode"))
    }
}

impl fmt::Display for InodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::CharDevice => "char device",
            Self::BlockDevice => "block device",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for kind in InodeKind::ALL {
            assert_eq!(InodeKind::from_number(i32::from(kind.number())), Ok(kind));
        }
        assert!(InodeKind::from_number(0).is_err());
        assert!(InodeKind::from_number(8).is_err());
        assert!(InodeKind::from_number(257).is_err());
    }
}
