//! Everything that is printed goes through here, so that `--json`, `-q` and terminals are respected in one place.
//!
//! Standard output carries what was asked for and nothing else; remarks, progress and errors go to standard error.

pub mod growth;
pub mod human;
pub mod names;
pub mod progress;
pub mod qr;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::args::Global;
use crate::error::{Error, Result};

/// How to print.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    quiet: bool,
    verbose: bool,
    out_is_terminal: bool,
    err_is_terminal: bool,
}

impl Output {
    /// As the options and the terminal say.
    #[must_use]
    pub fn new(global: &Global) -> Self {
        Self {
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose > 0,
            out_is_terminal: io::stdout().is_terminal(),
            err_is_terminal: io::stderr().is_terminal(),
        }
    }

    /// JSON is wanted.
    #[must_use]
    pub fn json(&self) -> bool {
        self.json
    }

    /// Standard output is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.out_is_terminal
    }

    /// Progress bars make sense.
    #[must_use]
    pub fn progress(&self) -> bool {
        self.err_is_terminal && !self.quiet && !self.json
    }

    /// Details are wanted.
    #[must_use]
    pub fn verbose(&self) -> bool {
        self.verbose
    }

    /// Prints a JSON document on one line of standard output.
    ///
    /// # Errors
    /// If standard output fails.
    pub fn document(&self, value: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(value);
        let line = line.map_err(|error| Error::Stream { action: "write JSON", source: error.into() })?;
        self.drawing(&json_harmless(&line))
    }

    /// Prints a line of standard output. Terminals get it without what would drive them.
    ///
    /// # Errors
    /// If standard output fails.
    pub fn line(&self, text: impl AsRef<str>) -> Result<()> {
        let text = text.as_ref();
        let text = if self.out_is_terminal { names::harmless(text) } else { Cow::Borrowed(text) };
        self.drawing(&text)
    }

    /// Prints a line of standard output as it stands: one with colours of this program's own.
    ///
    /// # Errors
    /// If standard output fails.
    pub fn drawing(&self, text: &str) -> Result<()> {
        let mut line = text.as_bytes().to_vec();
        line.push(b'\n');
        write_out(&line)
    }

    /// Prints bytes that stand on a line of their own: a name. Terminals get it escaped.
    ///
    /// # Errors
    /// If standard output fails.
    pub fn name_line(&self, before: &str, name: &[u8], after: &str) -> Result<()> {
        let mut line = before.as_bytes().to_vec();
        line.extend_from_slice(&self.shown(name));
        line.extend_from_slice(after.as_bytes());
        line.push(b'\n');
        write_out(&line)
    }

    /// A name as it may be printed on standard output.
    #[must_use]
    pub fn shown<'a>(&self, name: &'a [u8]) -> Cow<'a, [u8]> {
        if self.out_is_terminal { Cow::Owned(names::escape(name).into_bytes()) } else { Cow::Borrowed(name) }
    }

    /// Prints a remark on standard error, unless `-q` was given.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            write_err(text.as_ref());
        }
    }

    /// Prints a remark on standard error if `-v` was given.
    pub fn detail(&self, text: impl AsRef<str>) {
        if self.verbose {
            write_err(text.as_ref());
        }
    }

    /// Prints a warning on standard error, unless `-q` was given.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.note(format!("cyx: warning: {}", text.as_ref()));
    }

    /// Prints the failure of one of many items on standard error. The item is named, unless the error begins with its name.
    pub fn failure(&self, what: &[u8], error: &Error) {
        let report = crate::error::Report(error).to_string();
        let sentence = report.strip_prefix("cyx: ").unwrap_or(&report);
        let what = names::escape(what);
        let named = sentence.strip_prefix(&what).is_some_and(|rest| rest.starts_with([' ', ':']));
        write_err(&if named { report } else { format!("cyx: {what}: {sentence}") });
    }
}

/// JSON without the control characters that may stand in its strings as they are: they would drive a terminal.
fn json_harmless(json: &str) -> Cow<'_, str> {
    if !json.contains(char::is_control) {
        return Cow::Borrowed(json);
    }
    let mut harmless = String::with_capacity(json.len() + 8);
    for character in json.chars() {
        match character.is_control() {
            true => drop(write!(harmless, "\\u{:04x}", u32::from(character))),
            false => harmless.push(character),
        }
    }
    Cow::Owned(harmless)
}

/// Writes to standard output and flushes, so that a failure is noticed.
///
/// # Errors
/// If standard output fails.
pub fn write_out(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Error::stream("write to standard output"))
}

/// Writes a line to standard error, without what would drive a terminal. If that fails there is nobody left to tell.
pub fn write_err(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", names::harmless(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_drives_no_terminal_and_says_the_same() {
        let evil = "a\u{1b}b\u{7f}c\u{9b}2J\u{80}\u{9f}\u{e9}\n\"\\";
        let json = serde_json::to_string(&[evil]).unwrap();
        let harmless = json_harmless(&json);
        assert!(!harmless.contains(char::is_control) && harmless.contains("c\\u009b2J"), "{harmless}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&harmless).unwrap(), [evil]);
    }
}
