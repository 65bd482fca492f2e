//! Accounts: registering, logging in and out, who am I, what is left.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

/// Creates an account.
///
/// Asks for what is missing on a terminal. The password must have at least 12 characters with upper and lower case, a digit
/// and a special character; it is turned into keys on this machine and never sent. Prints 24 recovery words: they are the only way
/// back to the files if the password is lost, and they are shown once. On a terminal three of them are asked back. A script has to keep them
/// itself: with `--json` they are the field recovery_words, else they are all that is on standard output, in one line.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx register --email me@example.org --username my_name
  printf %s \"$PASSWORD\" | cyx register --email me@example.org --username my_name --password-stdin --json

Then log in with `cyx login`: the first login with the mailed code confirms the address.")]
pub struct Register {
    /// Email address; codes for logging in go there.
    #[arg(long, short, env = "CYXCLOUD_EMAIL", hide_env_values = true, value_name = "EMAIL")]
    pub email: Option<String>,
    /// User name: 3 to 32 letters, digits and underscores.
    #[arg(long, short, value_name = "NAME")]
    pub username: Option<String>,
    /// Reads the password from standard input, up to the first line end.
    #[arg(long)]
    pub password_stdin: bool,
}

/// Logs this machine in: password, then a one-time code; or a wallet.
///
/// On a terminal it asks for both. Scripts do it in two steps, as the examples show: `--begin` checks the password and has the code sent,
/// `--session` finishes. The password may also come from the variable CYXCLOUD_PASSWORD.
///
/// A wallet that `cyx wallet link` linked takes the place of password and code, but opens no files. So the password is asked for still, to
/// open the keys, unless this machine is logged in to the account already and has them; with --without-keys nobody asks, which is
/// enough to run nodes and to look at the account. For a wallet whose key is in no file, `--begin` prints the text to sign.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("proof").args(["otp", "signature"]))]
#[command(after_help = "\
Examples:
  cyx login --email me@example.org
  printf %s \"$PASSWORD\" | cyx login --email me@example.org --password-stdin --begin --json
  cyx login --session 5b0c… --otp 123456
  cyx login --wallet ~/.config/solana/id.json
  cyx login --wallet-address 7xKX… --begin --json
  cyx login --session 5b0c… --signature 4sGjMW1s… --without-keys

The login is remembered in ~/.cyxcloud (or CYXCLOUD_HOME), readable by you alone, and used with this server only. It takes the place of the \
one before, which ends: a mount that works with that has to be taken off and made again.")]
pub struct Login {
    /// Email address of the account.
    #[arg(long, short, env = "CYXCLOUD_EMAIL", hide_env_values = true, value_name = "EMAIL")]
    pub email: Option<String>,
    /// Reads the password from standard input, up to the first line end.
    #[arg(long)]
    pub password_stdin: bool,
    /// Only checks the password and has the code sent; prints what `--session` needs.
    #[arg(long, conflicts_with_all = ["session", "otp"])]
    pub begin: bool,
    /// Finishes the login that `--begin` began.
    #[arg(long, value_name = "ID", requires = "proof")]
    pub session: Option<String>,
    /// The one-time code.
    #[arg(long, value_name = "CODE")]
    pub otp: Option<String>,
    /// Logs in with the wallet whose key is in this file, as solana-keygen writes it. Nobody else may be able to read the file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["begin", "session", "otp", "wallet_address"])]
    pub wallet: Option<PathBuf>,
    /// With --begin: prints the text that the wallet of this address is to sign.
    #[arg(long, value_name = "ADDRESS", requires = "begin", conflicts_with = "password_stdin")]
    pub wallet_address: Option<String>,
    /// The wallet's signature of that text, in base58.
    #[arg(long, value_name = "SIGNATURE", requires = "session")]
    pub signature: Option<String>,
    /// Does without the keys of the account: files cannot be opened by this login.
    #[arg(long, conflicts_with_all = ["otp", "begin", "password_stdin"])]
    pub without_keys: bool,
    /// Goes on although the server was restored from a backup or changed its parameters for this account.
    ///
    /// The program says so when it notices; files changed after the backup may be back in their older state.
    #[arg(long)]
    pub accept_changes: bool,
}

/// Logs this machine out: the server forgets the session, this machine its keys.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cyx logout")]
pub struct Logout {}

/// Shows the account that is logged in.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx whoami\n  cyx whoami --json | jq -r .email")]
pub struct Whoami {}

/// Shows how much of the plan is used.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx quota
  cyx quota --json

Pending is what running uploads have set aside. Superseded is replaced content that can still be read for a day; it does not count.")]
pub struct Quota {}

/// Shows the server, the storage nodes and what a new upload would survive.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cyx status\n  cyx status --json | jq .scheme")]
pub struct Status {}
