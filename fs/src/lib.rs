//! The filesystem over a client: what every operation of a local filesystem means here, without a kernel type in sight.
//!
//! | module | what it does |
//! |---|---|
//! | [`vfs`] | every operation: names, attributes, handles, extended attributes |
//! | [`attributes`] | what an inode looks like from outside |
//! | [`errno`] | the one place where errors become numbers |
//! | `sync` | in step with all other machines: events, commits, conflict copies |
//! | [`content`] | what files hold: committed versions, changes over them, reading ahead, commits |
//! | [`journal`] | what was promised and is not committed yet, encrypted, on this machine's disk |
//! | [`cache`] | what was read, as sealed frames on this machine's disk |
//! | [`fuse`] | the adapter to the kernel, and the only module with types of `fuser` |
//! | [`mount`] | the life of a mount: options, readiness, requests of other programs, the end |

pub mod attributes;
pub mod cache;
pub mod content;
pub mod errno;
pub mod fuse;
#[cfg(test)]
#[path = "../../client/tests/gateway/mod.rs"]
mod gateway;
pub mod journal;
pub mod mount;
mod repeats;
mod sync;
pub mod vfs;

pub use attributes::{Attr, Caller, Ino, Kind, ROOT_INO, SetAttr, SetTime};
pub use errno::Errno;
pub use vfs::{Filesystem, Handle, Invalidator};
