//! The encrypted tree as its owner sees it: paths, names and keys instead of tokens and wrapped bytes.

pub mod path;
pub mod types;
