//! Writes the man pages and completions that are kept in the repository, for `scripts/generate`: not a command of `cyx`, because completions
//! would offer it.

use std::fs;
use std::io;
use std::path::PathBuf;

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| io::Error::other("the folder to write to is missing"))?;
    fs::create_dir_all(folder.join("completions"))?;
    cyx_cli::generate::all()?.into_iter().try_for_each(|file| fs::write(folder.join(file.path), file.content))
}
