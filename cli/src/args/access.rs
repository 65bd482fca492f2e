//! Who and what may use an account: passwords, second factors, logged-in machines, API keys, recovery.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// A fresh password and code, which a login alone does not replace where an account is at stake.
#[derive(Debug, Clone, Args)]
pub struct Confirm {
    /// Reads the password from standard input, up to the first line end.
    #[arg(long, conflicts_with = "session")]
    pub password_stdin: bool,
    /// Only checks the password and has a code sent; prints what `--session` needs.
    #[arg(long, conflicts_with_all = ["session", "otp"])]
    pub begin: bool,
    /// Goes on with what `--begin` began.
    #[arg(long, value_name = "ID", requires = "otp")]
    pub session: Option<String>,
    /// The one-time code; without --session only that of an authenticator app, or a backup code.
    #[arg(long, value_name = "CODE")]
    pub otp: Option<String>,
}

/// Sets up an authenticator app as the second factor of logins.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  cyx otp enroll
  cyx otp list
  cyx otp remove

Without an app, codes come by mail. Changing factors needs your password and a code, not only a login.")]
#[expect(missing_docs, reason = "the text on each command's struct is its help")]
pub enum Otp {
    Enroll(Enroll),
    List(OtpList),
    Remove(OtpRemove),
    BackupCodes(BackupCodes),
}

/// Sets up an authenticator app: shows a QR code to scan, and takes a code of the app to confirm it.
///
/// Nothing changes before that code was right. Then logins ask for the app's codes instead of mailing one, and ten backup codes are
/// shown, once: each of them stands in for one code if the app is lost. Scripts do it in three steps, as the examples show.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx otp enroll
  cyx otp enroll --begin --json                              has a code sent
  cyx otp enroll --session 5b0c… --otp 123456 --json         prints the app's secret and its otpauth:// address
  cyx otp enroll --confirm 654321 --json                     takes a code of the app, prints the backup codes

The password may also come from the variable CYXCLOUD_PASSWORD. An app that was set up before is replaced.")]
pub struct Enroll {
    /// The current password and a code.
    #[command(flatten)]
    pub confirm: Confirm,
    /// A code of the app, which puts it in force.
    #[arg(long = "confirm", value_name = "CODE", conflicts_with_all = ["session", "otp", "begin", "password_stdin"])]
    pub code: Option<String>,
}

/// Shows where the codes of logins come from, and how many backup codes are left.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx otp list\n  cyx otp list --json | jq .backup_codes_left")]
pub struct OtpList {}

/// Removes the authenticator app and its backup codes; codes come by mail again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx otp remove
  printf %s \"$PASSWORD\" | cyx otp remove --password-stdin --otp 123456

If the app is lost, give a backup code.")]
pub struct OtpRemove {
    /// The current password and a code.
    #[command(flatten)]
    pub confirm: Confirm,
}

/// Replaces the backup codes and shows the new ones, once.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx otp backup-codes\n  cyx otp backup-codes --otp 123456 --json")]
pub struct BackupCodes {
    /// The current password and a code.
    #[command(flatten)]
    pub confirm: Confirm,
}

/// Links wallets that log in to the account without password and code, for miners.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  cyx wallet link --keypair ~/.config/solana/id.json
  cyx wallet list
  cyx wallet remove 7xKXtg2CW87d97TXJSDpbD5jBkheTqA83TZRuJosgAsU

A wallet opens no files: whoever logs in with it sees the account and can run storage nodes for it, and no more.")]
#[expect(missing_docs, reason = "the text on each command's struct is its help")]
pub enum Wallet {
    Text(WalletText),
    Link(WalletLink),
    List(WalletList),
    Remove(WalletRemove),
}

/// Prints the text that a wallet has to sign to be linked, for wallets whose key is not in a file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx wallet text 7xKXtg2CW87d97TXJSDpbD5jBkheTqA83TZRuJosgAsU
  cyx wallet text 7xKX… --json | jq -r .message > message.txt

Have the wallet sign the message as it stands, then go on with `cyx wallet link --text ID --signature SIGNATURE`.")]
pub struct WalletText {
    /// The wallet's address.
    #[arg(value_name = "ADDRESS")]
    pub wallet: String,
}

/// Links a wallet to the account: from then on a signature of it logs in, without password and code.
///
/// Needs the password and a code. The key file is read to sign one text, and is neither kept nor sent.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx wallet link --keypair ~/.config/solana/id.json
  cyx wallet link --text 5b0c… --signature 4sGjMW1s…
  cyx wallet link --begin --json                                    has a code sent
  cyx wallet link --keypair id.json --session 5b0c… --otp 123456 --json")]
pub struct WalletLink {
    /// The wallet's key, in a file as solana-keygen writes it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["text", "signature"])]
    pub keypair: Option<PathBuf>,
    /// The text that was signed, as `cyx wallet text` names it.
    #[arg(long, value_name = "ID", requires = "signature")]
    pub text: Option<String>,
    /// The wallet's signature of it, in base58.
    #[arg(long, value_name = "SIGNATURE", requires = "text")]
    pub signature: Option<String>,
    /// The current password and a code.
    #[command(flatten)]
    pub confirm: Confirm,
}

/// Lists the wallets that log in to the account.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx wallet list\n  cyx wallet list --json | jq -r .wallet")]
pub struct WalletList {}

/// Ends the link of a wallet, and the logins that it made. Needs the password and a code.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx wallet remove 7xKXtg2CW87d97TXJSDpbD5jBkheTqA83TZRuJosgAsU
  cyx wallet remove 7xKX… --session 5b0c… --otp 123456 --json")]
pub struct WalletRemove {
    /// The wallet's address.
    #[arg(value_name = "ADDRESS")]
    pub wallet: String,
    /// The current password and a code.
    #[command(flatten)]
    pub confirm: Confirm,
}

/// Lists and ends logins of other machines.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  cyx sessions list
  cyx sessions revoke 5b0c41…
  cyx sessions revoke --others")]
#[expect(missing_docs, reason = "the text on each command's struct is its help")]
pub enum Sessions {
    List(SessionsList),
    Revoke(SessionsRevoke),
}

/// Lists the machines that are logged in, the one used last first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx sessions list\n  cyx sessions list --json | jq -r .device_name")]
pub struct SessionsList {}

/// Ends logins: the server forgets the keys it kept for these machines, and they can do nothing more.
///
/// What such a machine has already downloaded it still has.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx sessions revoke 5b0c41d2a7e94c3f8e1b6d0f92a3c754
  cyx sessions revoke --others            all but this machine
  cyx sessions revoke --all               this machine too")]
pub struct SessionsRevoke {
    /// Ids, as `cyx sessions list` shows them.
    #[arg(value_name = "ID", required_unless_present_any = ["all", "others"])]
    pub ids: Vec<String>,
    /// Ends every login, that of this machine too.
    #[arg(long, conflicts_with_all = ["ids", "others"])]
    pub all: bool,
    /// Ends every login but that of this machine.
    #[arg(long, conflicts_with = "ids")]
    pub others: bool,
}

/// Makes, lists and revokes API keys, with which scripts and machines work without a login.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  cyx apikey create --name ci --permissions storage:read --bucket builds --expires 90d
  cyx apikey list
  cyx apikey revoke 5b0c41…

With its token in the variable CYXCLOUD_TOKEN the commands for buckets and files work without a login. \
Those that manage the account need one.")]
#[expect(missing_docs, reason = "the text on each command's struct is its help")]
pub enum ApiKey {
    Create(ApiKeyCreate),
    List(ApiKeyList),
    Revoke(ApiKeyRevoke),
}

/// Makes an API key and shows its token, once.
///
/// With --bucket the key can decrypt that bucket and nothing else, whatever the server does. Without it, the key can decrypt
/// everything the account has. Part of the token is a secret that is never sent, not even to the server.
///
/// Needs the password and a code. Scripts do it in two steps, with the same arguments in both, as the examples show.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx apikey create --name backup --expires 1y
  cyx apikey create --name backup --begin --json                    has a code sent
  cyx apikey create --name backup --session 5b0c… --otp 123456 --json
  cyx apikey create --name ci --permissions storage:read --bucket builds --expires 90d
  CYXCLOUD_TOKEN=$(cat token) cyx upload report.pdf --bucket builds")]
pub struct ApiKeyCreate {
    /// What it is for; shown in lists and in the audit log.
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// What it may do: storage:read, storage:write, or both with a comma.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_values_t = ["storage:read".to_owned(), "storage:write".to_owned()],
    )]
    pub permissions: Vec<String>,
    /// The only bucket it may open.
    #[arg(long, value_name = "BUCKET")]
    pub bucket: Option<OsString>,
    /// When it ends: a time from now (90d, 12h, 1y) or a day (2027-01-31). Default: a year.
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    /// The current password and a code.
    #[command(flatten)]
    pub confirm: Confirm,
}

/// Lists the API keys and when each was last used.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx apikey list\n  cyx apikey list --json | jq -r '.id + \" \" + .name'")]
pub struct ApiKeyList {}

/// Revokes API keys: their tokens are refused, and the server forgets the keys it kept for them.
///
/// Whoever had such a token may have kept what it could decrypt until now.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cyx apikey revoke 5b0c41d2a7e94c3f8e1b6d0f92a3c754")]
pub struct ApiKeyRevoke {
    /// Ids, as `cyx apikey list` shows them.
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
}

/// Changes the password.
///
/// All other machines are logged out. No file is touched: the password wraps one key, and that is wrapped anew. The recovery words
/// stay as they are. Needs the current password and a code. Scripts do it in two steps, as the examples show; with an authenticator
/// app one is enough.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx passwd
  printf %s \"$OLD\" | cyx passwd --password-stdin --begin --json                    has a code sent
  printf %s \"$NEW\" | cyx passwd --session 5b0c… --otp 123456 --new-password-stdin
  printf '%s\\n%s\\n' \"$OLD\" \"$NEW\" | cyx passwd --password-stdin --new-password-stdin --otp 123456

The current password may also come from the variable CYXCLOUD_PASSWORD, the new one from CYXCLOUD_NEW_PASSWORD.
If you have forgotten the current one, use `cyx recover`.")]
pub struct Passwd {
    /// The current password and a code.
    #[command(flatten)]
    pub confirm: Confirm,
    /// Reads the new password from standard input, behind the current one if that is read from there too.
    #[arg(long)]
    pub new_password_stdin: bool,
    /// Revokes all API keys too.
    #[arg(long)]
    pub revoke_api_keys: bool,
}

/// Sets a new password with the 24 recovery words.
///
/// A code is mailed first, so that the words alone are not enough; and the new password is signed with a key that only the words open,
/// so that reading your mail is not enough either. All logins end, and API keys too unless you keep them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx recover --email me@example.org
  cyx recover --email me@example.org --begin --json          has a code sent
  printf '%s\\n%s\\n' \"$WORDS\" \"$NEW\" | cyx recover --email me@example.org --session 5b0c… --otp 123456 \\
      --words-stdin --password-stdin

The words may also come from the variable CYXCLOUD_RECOVERY_WORDS, the new password from CYXCLOUD_PASSWORD.")]
pub struct Recover {
    /// Email address of the account.
    #[arg(long, short, env = "CYXCLOUD_EMAIL", hide_env_values = true, value_name = "EMAIL")]
    pub email: Option<String>,
    /// Only has a code sent; prints what `--session` needs.
    #[arg(long, conflicts_with_all = ["session", "otp"])]
    pub begin: bool,
    /// Finishes the recovery that `--begin` began.
    #[arg(long, value_name = "ID", requires = "otp")]
    pub session: Option<String>,
    /// The mailed code.
    #[arg(long, value_name = "CODE", requires = "session")]
    pub otp: Option<String>,
    /// Reads the recovery words from standard input, up to the first line end.
    #[arg(long)]
    pub words_stdin: bool,
    /// Reads the new password from standard input, behind the words if they are read from there too.
    #[arg(long)]
    pub password_stdin: bool,
    /// Makes new recovery words and shows them; the old ones open nothing any more.
    #[arg(long)]
    pub new_words: bool,
    /// Removes the authenticator app too, because it was lost.
    #[arg(long)]
    pub remove_factors: bool,
    /// Keeps API keys working.
    #[arg(long)]
    pub keep_api_keys: bool,
}
