//! What belongs to a person: the whole account, its log.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::access::Confirm;

/// Changes the address, takes the account along, ends it, or makes new recovery words.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  cyx account email new@example.org\n  cyx account export\n  cyx account words\n  cyx account delete"
)]
#[expect(missing_docs, reason = "the text on each command's struct is its help")]
pub enum Account {
    Email(Email),
    Export(Export),
    Delete(DeleteAccount),
    Keep(Keep),
    Words(Words),
}

/// Changes the email address, which is what you log in with.
///
/// Needs the password and a code, as every change that matters; then two more codes, of which one is mailed to the old address and one to
/// the new. Nothing changes before both were given. Files, other logins and API keys stay as they are. Scripts do it in three steps, as
/// the examples show.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx account email new@example.org
  printf %s \"$PASSWORD\" | cyx account email new@example.org --password-stdin --begin --json
  cyx account email new@example.org --session 5b0c… --otp 123456 --json                         prints a change_id
  cyx account email --change 91d2… --otp-old 234561 --otp-new 345612 --json

Who has lost the old mailbox cannot change the address: log in while you still can read it.")]
pub struct Email {
    /// The new address.
    #[arg(value_name = "EMAIL", required_unless_present = "change")]
    pub email: Option<String>,
    /// The current password and a code.
    #[command(flatten)]
    pub confirm: Confirm,
    /// Finishes the change that was printed as change_id.
    #[arg(
        long,
        value_name = "ID",
        requires = "otp_old",
        requires = "otp_new",
        conflicts_with_all = ["email", "session", "otp", "begin", "password_stdin"]
    )]
    pub change: Option<String>,
    /// The code from the old address.
    #[arg(long, value_name = "CODE", requires = "change")]
    pub otp_old: Option<String>,
    /// The code from the new address.
    #[arg(long, value_name = "CODE", requires = "change")]
    pub otp_new: Option<String>,
}

/// Writes everything that the server holds about the account to a file, one JSON document per line.
///
/// Names and contents in it are encrypted, as they are on the server; to take your files along use `cyx download`. The file can be read by
/// you alone. It never overwrites another.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx account export\n  cyx account export -o - | gzip > account.ndjson.gz")]
pub struct Export {
    /// The file; `-` for standard output. Default: cyx-account-NAME.ndjson in this folder.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Has the account and all its files deleted for good, after a time of grace.
///
/// Until then `cyx account keep` takes it back. Needs the password and a code; all other logins and API keys end at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx account delete
  cyx account delete --begin --json
  cyx account delete --session 5b0c… --otp 123456 --yes --json")]
pub struct DeleteAccount {
    /// The current password and a code.
    #[command(flatten)]
    pub confirm: Confirm,
    /// Does not ask whether you mean it; needed where nobody can be asked.
    #[arg(long)]
    pub yes: bool,
}

/// Keeps an account that was to be deleted.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cyx account keep")]
pub struct Keep {}

/// Makes new recovery words and shows them, once; the old ones open nothing any more. Needs the password and a code.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx account words
  printf %s \"$PASSWORD\" | cyx account words --password-stdin --begin --json
  cyx account words --session 5b0c… --otp 123456 --json | jq -r .recovery_words")]
pub struct Words {
    /// The current password and a code.
    #[command(flatten)]
    pub confirm: Confirm,
}

/// Shows what happened to the account: logins, refusals, changes of factors, keys and passwords.
///
/// The server keeps this log append-only, each entry chained to the one before. Names of files are not in it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx audit --since 7d
  cyx audit --since 2026-11-01 --json | jq -r 'select(.outcome == \"refused\") | .time + \" \" + .action'")]
pub struct Audit {
    /// Only what happened since: a time ago (7d, 12h) or a day (2026-11-01).
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
}
