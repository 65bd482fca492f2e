//! `cyx completions`.

use crate::args::Completions;
use crate::error::Result;
use crate::{generate, output};

/// Prints a completion script.
///
/// # Errors
/// If standard output fails.
pub fn run(args: &Completions) -> Result<()> {
    output::write_out(&generate::completions(args.shell))
}
