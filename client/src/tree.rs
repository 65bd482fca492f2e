//! The encrypted tree as its owner sees it: paths, names and keys instead of tokens and wrapped bytes.
//!
//! | module | what it does |
//! |---|---|
//! | [`path`] | paths and names, checked |
//! | [`types`] | what the modules hand to each other |
//! | [`meta`] | extended attributes as they are sealed |
//! | [`names`] | names to tokens and back, keys of entries |
//! | [`resolve`] | from paths to entries |
//! | [`list`] | directories and whole trees, as streams |
//! | [`change`] | new inodes, directories, renaming, removing, attributes |
//! | [`trash`] | what was removed |
//! | [`rotate`] | new keys in place of those that somebody may have kept |
//! | [`version`] | commits: signing and verifying them, extents of a version |
//! | [`copy`] | copies that share their content |
//!
//! Everything here is a method of [`types::Bucket`].

pub mod change;
pub mod copy;
pub mod list;
pub mod meta;
pub mod names;
pub mod path;
pub mod resolve;
pub mod rotate;
pub mod trash;
pub mod types;
pub mod version;
