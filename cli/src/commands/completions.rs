//! `cyx completions`, and the hidden command behind `scripts/generate`.

use std::fs;

use crate::args::{Completions, Generate};
use crate::error::{Error, Result};
use crate::{generate, output};

/// Prints a completion script.
///
/// # Errors
/// If standard output fails.
pub fn run(args: &Completions) -> Result<()> {
    output::write_out(&generate::completions(args.shell))
}

/// Writes every man page and completion script.
///
/// # Errors
/// If a file cannot be written.
pub fn generate(args: &Generate) -> Result<()> {
    let write = || {
        fs::create_dir_all(args.dir.join("completions"))?;
        generate::all()?.into_iter().try_for_each(|file| fs::write(args.dir.join(file.path), file.content))
    };
    write().map_err(Error::stream("write the man pages"))
}
