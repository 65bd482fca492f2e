//! Everything that is asked. Nothing is ever asked unless standard input is a terminal.

use std::env;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use zeroize::{Zeroize as _, Zeroizing};

use crate::error::{Error, Result};

/// Longest answer in bytes.
const LONGEST: usize = 4096;
/// Holds the password for scripts that cannot use standard input.
const PASSWORD_VARIABLE: &str = "CYXCLOUD_PASSWORD";

/// Somebody can be asked.
#[must_use]
pub fn possible() -> bool {
    io::stdin().is_terminal()
}

/// Asks for something that may be seen.
///
/// # Errors
/// A usage error with `advice` without a terminal.
pub fn ask(question: &str, advice: &str) -> Result<String> {
    if !possible() {
        return Err(Error::usage_with(
            format!("{} is missing, and there is no terminal to ask on", question.to_lowercase()),
            advice,
        ));
    }
    let mut error = io::stderr().lock();
    write!(error, "{question}: ").and_then(|()| error.flush()).map_err(Error::stream("ask"))?;
    let line = read_line("read the answer")?;
    Ok(line.trim().to_owned())
}

/// The password of an account: from standard input if `from_stdin`, else from the variable, else asked for.
///
/// With `twice` a password that is asked for has to be repeated.
///
/// # Errors
/// A usage error if there is none and nobody can be asked.
pub fn password(from_stdin: bool, twice: bool) -> Result<Zeroizing<String>> {
    if from_stdin {
        let line = read_line("read the password from standard input")?;
        return if line.is_empty() { Err(Error::usage("there is no password on standard input")) } else { Ok(line) };
    }
    if let Some(password) = env::var_os(PASSWORD_VARIABLE).filter(|value| !value.is_empty()) {
        return password
            .into_string()
            .map(Zeroizing::new)
            .map_err(|_| Error::usage(format!("the variable {PASSWORD_VARIABLE} is not UTF-8")));
    }
    if !possible() {
        return Err(Error::usage_with(
            "the password is missing, and there is no terminal to ask on",
            format!("Use --password-stdin or set {PASSWORD_VARIABLE}."),
        ));
    }
    let hidden = |question: &str| {
        rpassword::prompt_password(question).map(Zeroizing::new).map_err(Error::stream("ask for the password"))
    };
    let password = hidden("Password: ")?;
    if twice && *hidden("The same again: ")? != *password {
        return Err(Error::usage("the passwords differ"));
    }
    Ok(password)
}

/// A line of standard input without its end.
fn read_line(action: &'static str) -> Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
    io::stdin().lock().take(LONGEST as u64).read_until(b'\n', &mut bytes).map_err(Error::stream(action))?;
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(line) => Ok(Zeroizing::new(line)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(Error::usage("what was typed is not UTF-8"))
        }
    }
}
