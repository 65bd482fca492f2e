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
///
/// With --account the account key is replaced, which a lost device or an API key for all buckets had, and with it the identity keys and the
/// recovery words: 24 new ones are shown. It takes your password and a code. All other logins end, and API keys for all buckets; this
/// machine goes on, and so do API keys of single buckets. Either all of it happens or nothing. The keys of the buckets stay as they were: add
/// --all-buckets to replace them too, in turn. If somebody may know the password, change it first, with `cyx passwd`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx apikey revoke 5b0c… && cyx rotate photos
  cyx rotate
  cyx rotate --resume photos
  cyx rotate --json | jq -r '.bucket + \" \" + (.epoch | tostring)'
  cyx rotate --account --all-buckets
  cyx rotate --account --begin --json                                      has a code sent
  printf %s \"$PASSWORD\" | cyx rotate --account --password-stdin --session 5b0c… --otp 123456 --yes --json

What each of them is good for stands under \"What rotating keys does\" in docs/security.md. With --json, --account prints account_key_epoch, \
recovery_words, ended_sessions and ended_api_keys before the buckets. The password may also come from the variable CYXCLOUD_PASSWORD.")]
pub struct Rotate {
    /// The buckets; all of the account if none is named.
    #[arg(value_name = "BUCKET")]
    pub buckets: Vec<OsString>,
    /// Goes on with what was interrupted on this machine, instead of replacing the keys once more.
    #[arg(long)]
    pub resume: bool,
    /// Replaces the account key, the identity keys and the recovery words.
    #[arg(long, conflicts_with_all = ["buckets", "resume"])]
    pub account: bool,
    /// Then replaces the keys of all buckets.
    #[arg(long, requires = "account")]
    pub all_buckets: bool,
    /// Does not ask whether other logins and API keys may end.
    #[arg(long, short, requires = "account")]
    pub yes: bool,
    /// Reads the password from standard input, up to the first line end.
    #[arg(long, requires = "account")]
    pub password_stdin: bool,
    /// Only checks the password and has a code sent; prints what `--session` needs.
    #[arg(long, requires = "account", conflicts_with_all = ["session", "otp"])]
    pub begin: bool,
    /// Goes on with what `--begin` began; the password is needed once more.
    #[arg(long, value_name = "ID", requires_all = ["account", "otp"])]
    pub session: Option<String>,
    /// The one-time code; without --session only that of an authenticator app, or a backup code.
    #[arg(long, value_name = "CODE", requires = "account")]
    pub otp: Option<String>,
}
