//! Copies of the server's database, and coming back from them.
//!
//! The database holds every wrapped key: losing it would lose everything since the last copy. There are two kinds of copies of an embedded
//! database, and both take the secrets of the data folder along:
//! - [`online`]: one complete copy of a running server's database, into a folder;
//! - [`ship`]: a copy and, from then on, every committed change within a second, into a folder that best lies on another disk.
//!
//! [`restore`] makes a new data folder of either. It draws a new incarnation, because what nodes and clients saw after the copy was made
//! is unknown to the restored database. A PostgreSQL database is copied with its own tools; after restoring one,
//! `cyx-server new-incarnation` says so.
//!
//! | file | what it does |
//! |---|---|
//! | [`wal`] | reading SQLite's write-ahead log |
//! | [`piece`], [`generation`] | the layout of the folder that it is shipped to |
//! | [`end`] | what a clean stop leaves, so that shipping goes on |
//! | [`tail`] | following a log that is being written |
//! | [`ship`] | generations, checkpoints, the task |
//! | [`online`] | complete copies |
//! | [`restore`], [`replay`] | back again |
//! | [`copy`] | durable copies of files; which secrets belong to a backup |

pub mod copy;
pub mod end;
pub mod generation;
pub mod online;
pub mod piece;
pub mod replay;
pub mod restore;
pub mod ship;
pub mod tail;
pub mod wal;

/// Name of the database in a data folder and in a backup.
pub const DATABASE: &str = "cyx.db";

#[cfg(test)]
mod tests;
