//! The filesystem over a client: what every operation of a local filesystem means here, without a kernel type in sight.
//!
//! | module | what it does |
//! |---|---|
//! | [`vfs`] | every operation: names, attributes, handles, extended attributes |
//! | [`attributes`] | what an inode looks like from outside |
//! | [`errno`] | the one place where errors become numbers |

pub mod attributes;
pub mod errno;
pub mod vfs;

pub use attributes::{Attr, Caller, Ino, Kind, ROOT_INO, SetAttr, SetTime};
pub use errno::Errno;
pub use vfs::{Filesystem, Handle, Invalidator};
