//! New keys for buckets.

use std::ffi::OsString;

use clap::Args;

/// Replaces the keys of buckets, in case somebody kept them who had an API key, a login or a share.
///
/// A bucket gets a new root key, and every directory and file in it a new key: what is stored from then on, and every name, is sealed under keys
/// that nobody has who was revoked before. No content is uploaded again. What somebody could read before, they may have copied; that is
/// not undone. Other programs and mounts go on working; API keys of the buckets keep working with the new keys. Revoke first what is not
/// to get them.
///
/// If it is interrupted, run it again: it begins anew, or with --resume goes on where it was. Both are safe; begin anew if something was
/// revoked in between.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx apikey revoke 5b0c… && cyx rotate photos
  cyx rotate
  cyx rotate --resume photos
  cyx rotate --json | jq -r '.bucket + \" \" + (.epoch | tostring)'

A login, or an API key for all buckets, also had the account key, and that stays: see \"What rotating keys does\" in docs/security.md.")]
pub struct Rotate {
    /// The buckets; all of the account if none is named.
    #[arg(value_name = "BUCKET")]
    pub buckets: Vec<OsString>,
    /// Goes on with what was interrupted on this machine, instead of replacing the keys once more.
    #[arg(long)]
    pub resume: bool,
}
