//! Buckets.

use std::ffi::OsString;

use clap::{Args, Subcommand};

/// Creates, lists and deletes buckets.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  cyx bucket create photos\n  cyx bucket list\n  cyx bucket delete photos")]
#[expect(missing_docs, reason = "the text on each command's struct is its help")]
pub enum Bucket {
    Create(Create),
    List(List),
    Delete(Delete),
}

/// Creates a bucket.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx bucket create photos\n  cyx bucket create archive --durable")]
pub struct Create {
    /// Name of the new bucket; the server does not learn it.
    pub name: OsString,
    /// Stores 10+10 instead of 10+4 shards: any 10 of 20 nodes may vanish, for twice the space.
    #[arg(long)]
    pub durable: bool,
}

/// Lists the buckets.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx bucket list\n  cyx bucket list --json | jq -r .name")]
pub struct List {}

/// Deletes a bucket, which must be empty unless --force is given.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx bucket delete photos
  cyx bucket delete scratch --force

--force deletes the bucket with all it contains, its trash included: it cannot be restored.")]
pub struct Delete {
    /// Name of the bucket.
    pub name: OsString,
    /// Deletes all that is in it, for good.
    #[arg(long)]
    pub force: bool,
}
