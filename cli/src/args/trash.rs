//! The trash of a bucket.

use std::ffi::OsString;

use clap::{Args, Subcommand};

/// Lists, restores and empties the trash of a bucket.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  cyx trash list photos
  cyx trash restore photos pets/tom.jpg
  cyx trash empty photos")]
#[expect(missing_docs, reason = "the text on each command's struct is its help")]
pub enum Trash {
    List(List),
    Restore(Restore),
    Empty(Empty),
}

/// Lists what is in the trash of a bucket, newest first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx trash list photos\n  cyx trash list photos --json | jq -r .id")]
pub struct List {
    /// The bucket.
    pub bucket: OsString,
}

/// Restores from the trash to where it was.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx trash restore photos pets/tom.jpg
  cyx trash restore photos 0f3a…                 by its id, if several have the same key
  cyx trash restore photos pets/tom.jpg --as tom-old.jpg")]
pub struct Restore {
    /// The bucket.
    pub bucket: OsString,
    /// Keys or ids of trash entries; of several with the same key the newest is restored.
    #[arg(required = true, value_name = "KEY")]
    pub keys: Vec<OsString>,
    /// Restores under another name in the same directory; with one key only.
    #[arg(long = "as", value_name = "NAME")]
    pub rename: Option<OsString>,
}

/// Deletes what is in the trash for good.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx trash empty photos\n  cyx trash empty photos pets/tom.jpg")]
pub struct Empty {
    /// The bucket.
    pub bucket: OsString,
    /// Keys or ids of trash entries; without them, all.
    #[arg(value_name = "KEY")]
    pub keys: Vec<OsString>,
}
