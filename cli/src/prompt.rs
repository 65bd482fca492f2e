//! Everything that is asked. Nothing is ever asked unless standard input is a terminal.

use std::env;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::task::{Context, Poll, Waker};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcsetattr,
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::{Error, Result};
use crate::output::names;
use crate::signals::{EndsAtOnce, Signals};

/// Longest answer in bytes.
const LONGEST: usize = 4096;
/// Holds the password for scripts that cannot use standard input.
const PASSWORD_VARIABLE: &str = "CYXCLOUD_PASSWORD";
/// Holds the next password where the current one is needed too.
const NEW_PASSWORD_VARIABLE: &str = "CYXCLOUD_NEW_PASSWORD";
/// Holds the recovery words.
const WORDS_VARIABLE: &str = "CYXCLOUD_RECOVERY_WORDS";

/// Takes the secrets that this program may have been given out of the environment of a process that lives long and whose environment can be
/// read.
pub fn forget_secrets(command: &mut std::process::Command) {
    for variable in [PASSWORD_VARIABLE, NEW_PASSWORD_VARIABLE, WORDS_VARIABLE] {
        command.env_remove(variable);
    }
}

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
            format!("the {} is missing, and there is no terminal to ask on", question.to_lowercase()),
            advice,
        ));
    }
    answer(question)
}

/// Asks whether `what` is meant, which `--yes` says too.
///
/// # Errors
/// A usage error without a terminal.
pub fn confirmation(what: &str, question: &str) -> Result<String> {
    if !possible() {
        let message = format!("{what} has to be confirmed, and there is no terminal to ask on");
        return Err(Error::usage_with(message, "Use --yes."));
    }
    answer(question)
}

fn answer(question: &str) -> Result<String> {
    let mut signals = Signals::new()?;
    // A user name in it is what the server says.
    show(&format!("{}: ", names::harmless(question)))?;
    let line = text(typed_line(&mut signals, "read the answer")?)?;
    Ok(line.trim().to_owned())
}

fn show(question: &str) -> Result<()> {
    let mut error = io::stderr().lock();
    error.write_all(question.as_bytes()).and_then(|()| error.flush()).map_err(Error::stream("ask"))
}

/// How often it is looked whether Ctrl-C was pressed.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A line from the terminal.
fn typed_line(signals: &mut Signals, action: &'static str) -> Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    // No more than that at a time: what is typed ahead is for the next question, or for the shell.
    let mut byte = Zeroizing::new([0_u8]);
    while line.last() != Some(&b'\n') {
        if line.len() == LONGEST {
            return Err(Error::usage(format!("what is typed may have {LONGEST} bytes at most")));
        }
        // Before each read: Ctrl-D hands over half a line, too.
        await_input(signals, action)?;
        match rustix::io::read(io::stdin(), &mut *byte) {
            Ok(0) => break,
            Ok(_) => line.push(byte[0]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Error::stream(action)(error.into())),
        }
    }
    Ok(line)
}

/// Waits until something can be read. A read alone would not end by Ctrl-C: whoever handles that waits for this very answer.
fn await_input(signals: &mut Signals, action: &'static str) -> Result<()> {
    let stdin = io::stdin();
    loop {
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut ready, Some(&LOOK)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(Error::stream(action)(error.into())),
        }
        if let Poll::Ready(signal) = signals.poll(&mut Context::from_waker(Waker::noop())) {
            return Err(Error::Interrupted { signal, resumable: false });
        }
    }
}

/// While this is there the terminal does not show what is typed.
///
/// `rpassword` does the same, but raises Ctrl-C before it puts the terminal back, and knows of no other signal: a process that ends by
/// one would leave a terminal behind that shows nothing.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn new() -> Result<Self> {
        let failed = |error: Errno| Error::stream("ask for the password")(error.into());
        let before = tcgetattr(io::stdin()).map_err(failed)?;
        let mut hidden = before.clone();
        hidden.local_modes -= LocalModes::ECHO;
        // The end of the line is shown.
        hidden.local_modes |= LocalModes::ECHONL;
        // Whoever comes back after Ctrl-Z finds a terminal that shows everything, and nobody hears of Ctrl-\. Zero is no key.
        hidden.special_codes[SpecialCodeIndex::VSUSP] = 0;
        hidden.special_codes[SpecialCodeIndex::VQUIT] = 0;
        tcsetattr(io::stdin(), OptionalActions::Now, &hidden).map_err(failed)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Asks for something that is not shown.
fn hidden_answer(question: &str) -> Result<Zeroizing<String>> {
    // Heard of from before the terminal is changed.
    let mut signals = Signals::new()?;
    let _hidden = Hidden::new()?;
    show(question)?;
    let line = typed_line(&mut signals, "read the password").inspect_err(|_| {
        // Half a password would become the next thing that the shell reads, and shows.
        let _ = tcflush(io::stdin(), QueueSelector::IFlush);
        let _ = show("\n");
    })?;
    text(line)
}

/// The password of an account: from standard input if `from_stdin`, else from the variable, else asked for.
///
/// With `twice` a password that is asked for has to be repeated.
///
/// # Errors
/// A usage error if there is none and nobody can be asked.
pub fn password(from_stdin: bool, twice: bool) -> Result<Zeroizing<String>> {
    let question = Question { text: "Password: ", option: "--password-stdin", variable: PASSWORD_VARIABLE };
    secret(&question, from_stdin, twice)
}

/// The current password where a new one is asked for too; as [`password`].
///
/// # Errors
/// As [`password`].
pub fn current_password(from_stdin: bool) -> Result<Zeroizing<String>> {
    let question = Question { text: "Current password: ", option: "--password-stdin", variable: PASSWORD_VARIABLE };
    secret(&question, from_stdin, false)
}

/// The next password where the current one is asked for too, to be typed twice.
///
/// # Errors
/// As [`password`].
pub fn new_password(from_stdin: bool) -> Result<Zeroizing<String>> {
    let question = Question { text: "New password: ", option: "--new-password-stdin", variable: NEW_PASSWORD_VARIABLE };
    secret(&question, from_stdin, true)
}

/// The recovery words. They are seen while they are typed: nobody types 24 words blindly.
///
/// # Errors
/// As [`password`].
pub fn words(from_stdin: bool) -> Result<Zeroizing<String>> {
    let question = Question { text: "Recovery words: ", option: "--words-stdin", variable: WORDS_VARIABLE };
    if let Some(words) = given(&question, from_stdin)? {
        return Ok(words);
    }
    ask("Recovery words, all 24 in one line", "").map(Zeroizing::new)
}

/// [`password`] would ask, and can be asked again.
#[must_use]
pub fn asks_for_password(from_stdin: bool) -> bool {
    asks_for(PASSWORD_VARIABLE, from_stdin)
}

/// [`words`] would ask, and can be asked again.
#[must_use]
pub fn asks_for_words(from_stdin: bool) -> bool {
    asks_for(WORDS_VARIABLE, from_stdin)
}

fn asks_for(variable: &str, from_stdin: bool) -> bool {
    !from_stdin && env::var_os(variable).is_none_or(|value| value.is_empty()) && possible()
}

/// Where a secret comes from.
struct Question {
    text: &'static str,
    option: &'static str,
    variable: &'static str,
}

/// A secret from standard input or the variable; `None` if it has to be asked for and can be.
fn given(question: &Question, from_stdin: bool) -> Result<Option<Zeroizing<String>>> {
    let Question { option, variable, .. } = question;
    if from_stdin {
        let _ends = EndsAtOnce::new()?;
        let line = text(given_line()?)?;
        return match line.is_empty() {
            true => Err(Error::usage(format!("there is nothing on standard input for {option}"))),
            false => Ok(Some(line)),
        };
    }
    if let Some(secret) = env::var_os(variable).filter(|value| !value.is_empty()) {
        let text = secret.into_string().map_err(|_| Error::usage(format!("the variable {variable} is not UTF-8")))?;
        return Ok(Some(Zeroizing::new(text)));
    }
    if !possible() {
        let what = question.text.trim_end_matches(": ").to_lowercase();
        return Err(Error::usage_with(
            format!(
                "the {what} {} missing, and there is no terminal to ask on",
                if what.ends_with('s') { "are" } else { "is" }
            ),
            format!("Use {option} or set {variable}."),
        ));
    }
    Ok(None)
}

fn secret(question: &Question, from_stdin: bool, twice: bool) -> Result<Zeroizing<String>> {
    if let Some(secret) = given(question, from_stdin)? {
        return Ok(secret);
    }
    let password = hidden_answer(question.text)?;
    if twice && *hidden_answer("The same again: ")? != *password {
        return Err(Error::usage("the passwords differ"));
    }
    Ok(password)
}

/// A line of standard input.
fn given_line() -> Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    let read = io::stdin().lock().take(LONGEST as u64).read_until(b'\n', &mut line);
    read.map_err(Error::stream("read from standard input"))?;
    Ok(line)
}

/// A line without its end.
fn text(mut line: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>> {
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    match String::from_utf8(std::mem::take(&mut *line)) {
        Ok(line) => Ok(Zeroizing::new(line)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(Error::usage("what was typed is not UTF-8"))
        }
    }
}
