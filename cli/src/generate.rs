//! Man pages and completions, generated from the definitions that parse.

use std::io;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell as Generator;

use crate::args::{Cli, Shell};

/// A file to be kept in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// Its path below `man/`.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// Every man page and completion script.
///
/// # Errors
/// Never in practice: writing to memory does not fail.
pub fn all() -> io::Result<Vec<Generated>> {
    let mut files = Vec::new();
    let mut root = Cli::command();
    root.build();
    man_pages(&root, &mut files)?;
    for (shell, name) in [
        (Shell::Bash, "cyx.bash"),
        (Shell::Elvish, "cyx.elv"),
        (Shell::Fish, "cyx.fish"),
        (Shell::Powershell, "_cyx.ps1"),
        (Shell::Zsh, "_cyx"),
    ] {
        files.push(Generated { path: format!("completions/{name}"), content: completions(shell) });
    }
    Ok(files)
}

/// The completion script of a shell.
#[must_use]
pub fn completions(shell: Shell) -> Vec<u8> {
    let generator = match shell {
        Shell::Bash => Generator::Bash,
        Shell::Elvish => Generator::Elvish,
        Shell::Fish => Generator::Fish,
        Shell::Powershell => Generator::PowerShell,
        Shell::Zsh => Generator::Zsh,
    };
    let mut content = Vec::new();
    clap_complete::generate(generator, &mut Cli::command(), "cyx", &mut content);
    content
}

fn man_pages(command: &Command, files: &mut Vec<Generated>) -> io::Result<()> {
    let page = clap_mangen::Man::new(command.clone());
    let mut content = Vec::new();
    page.render(&mut content)?;
    files.push(Generated { path: page.get_filename(), content });
    for child in command.get_subcommands().filter(|child| !child.is_hide_set() && child.get_name() != "help") {
        man_pages(child, files)?;
    }
    Ok(())
}
