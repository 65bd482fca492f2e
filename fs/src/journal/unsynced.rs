//! Of which files of the journal nobody was promised anything yet.
//!
//! A full file is not made durable before the next one is begun: much is written once, sent, and needed no more. So a power cut may take the end
//! of a file and leave what was written behind it to the next one. What happened later must not be done without what came before: a file must
//! not take the place of another one without its content. Therefore a file is *fresh* until everything up to its end was made durable once,
//! and an empty file beside it, made before it and of the same number, says so. Where records are missing before a fresh file, power was cut before
//! anybody was promised anything of it, and it is left out as a torn end is. Where they are missing before another one, that is damage.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::JournalError;
use super::replay::numbered;

/// What the names of marks end with.
pub(super) const ENDING: &str = "fresh";

fn mark(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}.{ENDING}"))
}

/// A file of this number is about to be begun.
pub(super) fn begin(folder: &Path, number: u64) -> io::Result<()> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(mark(folder, number)).map(drop)
}

/// Everything up to the end of this file is durable, or it is not there. So is that, once the folder is.
pub(super) fn end(folder: &Path, number: u64) -> io::Result<()> {
    match std::fs::remove_file(mark(folder, number)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The fresh files that an earlier run left.
pub(super) fn found(folder: &Path) -> Result<BTreeSet<u64>, JournalError> {
    Ok(numbered(folder, ENDING)?.into_iter().map(|(number, _)| number).collect())
}
