//! What can be typed, one file per concern.
//!
//! This module stands alone: it knows clap and nothing else of the project, so that the man pages and the shell completions
//! are generated from the same source that parses (`scripts/generate`). Help texts say what a command does, what it never
//! does, and show examples.

pub mod access;
pub mod account;
pub mod admin;
pub mod bucket;
pub mod dev;
pub mod identity;
pub mod mount;
pub mod node;
pub mod rotate;
pub mod transfer;
pub mod trash;
pub mod tree;

use clap::{ArgAction, Args, Parser, Subcommand};

const AFTER_HELP: &str = "\
Getting started:
  cyx register --email me@example.org --username my_name
  cyx login --email me@example.org          the code comes by mail
  cyx bucket create photos
  cyx upload ~/Pictures --bucket photos -r
  cyx list photos
  cyx download photos --key Pictures/cat.jpg
  cyx mount ~/cloud                         the same files as a directory

Without a server at hand, `cyx dev up` starts a whole cluster on this machine.

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 not logged in or refused, 5 quota exceeded,
6 network or too few nodes, 7 conflict, 8 partly done, 130 interrupted
(129 by SIGHUP, 143 by SIGTERM).";

/// An encrypted cloud drive that nobody but its owner can read.
///
/// Files are encrypted and erasure-coded on this machine and go straight to storage nodes; the server never sees a
/// password, a file name, a key or a byte of content.
#[derive(Debug, Parser)]
#[command(name = "cyx", version, after_help = AFTER_HELP, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Address of the server.
    ///
    /// Default: the one of the last login, or http://localhost:8080. Plain http is accepted on loopback only.
    #[arg(
        long,
        global = true,
        env = "CYXCLOUD_GATEWAY",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Global options"
    )]
    pub gateway: Option<String>,
    /// PEM file of the certificate authorities to trust instead of the operating system's.
    #[arg(
        long,
        global = true,
        env = "CYXCLOUD_CA_FILE",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub ca_file: Option<std::path::PathBuf>,
    /// Prints JSON on standard output: one document, or one per line for lists.
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Prints only what was asked for, and errors.
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub quiet: bool,
    /// Says more on standard error; twice for debugging, three times for everything.
    ///
    /// The variable RUST_LOG, if set, decides instead.
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the text on each command's struct is its help")]
pub enum Command {
    Register(identity::Register),
    Login(identity::Login),
    Logout(identity::Logout),
    Whoami(identity::Whoami),
    Quota(identity::Quota),
    Status(identity::Status),
    Passwd(access::Passwd),
    Recover(access::Recover),
    #[command(subcommand)]
    Otp(access::Otp),
    #[command(subcommand)]
    Wallet(access::Wallet),
    #[command(subcommand)]
    Sessions(access::Sessions),
    #[command(subcommand)]
    Apikey(access::ApiKey),
    Rotate(rotate::Rotate),
    #[command(subcommand)]
    Account(account::Account),
    Audit(account::Audit),
    #[command(subcommand)]
    Admin(admin::Admin),
    #[command(subcommand)]
    Bucket(bucket::Bucket),
    Upload(transfer::Upload),
    Download(transfer::Download),
    List(tree::List),
    Delete(tree::Delete),
    Stat(tree::Stat),
    Verify(tree::Verify),
    Cat(tree::Cat),
    Cp(tree::Cp),
    Mv(tree::Mv),
    Mkdir(tree::Mkdir),
    Mount(mount::Mount),
    Umount(mount::Umount),
    Mounts(mount::Mounts),
    #[command(subcommand)]
    Trash(trash::Trash),
    #[command(subcommand)]
    Node(node::Node),
    #[command(subcommand)]
    Dev(dev::Dev),
    Completions(Completions),
}

/// Prints a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cyx completions bash > ~/.local/share/bash-completion/completions/cyx
  cyx completions zsh > ~/.zfunc/_cyx
  cyx completions fish > ~/.config/fish/completions/cyx.fish")]
pub struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Shells that completions can be written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    /// Bourne Again Shell.
    Bash,
    /// Elvish.
    Elvish,
    /// Friendly interactive shell.
    Fish,
    /// PowerShell.
    Powershell,
    /// Z shell.
    Zsh,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_and_command_is_explained() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for argument in command.get_arguments() {
                let explained = argument.get_help().is_some() || argument.is_hide_set();
                assert!(explained, "{} of {} has no help", argument.get_id(), command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        let mut command = Cli::command();
        command.build();
        check(&command);
    }
}
