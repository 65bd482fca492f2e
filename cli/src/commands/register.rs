//! `cyx register`.

use cyx_client::identity;
use serde::Serialize;
use zeroize::Zeroizing;

use super::Context;
use crate::args::identity::Register;
use crate::error::{Error, Result};
use crate::prompt;

/// Times that recovery words are asked back before the program gives up.
const ROUNDS: u32 = 3;
/// Recovery words that are asked back at a time.
const ASKED: usize = 3;

#[derive(Serialize)]
struct Document<'a> {
    email: &'a str,
    username: &'a str,
    gateway: &'a str,
    recovery_words: &'a str,
}

/// Creates an account and shows its recovery words.
///
/// # Errors
/// As [`identity::register`]; a usage error if something is missing and nobody can be asked.
pub async fn run(context: &Context, args: Register) -> Result<()> {
    let email = match args.email.or_else(|| context.config.email.clone()) {
        Some(email) => email,
        None => prompt::ask("Email address", "Use --email.")?,
    };
    let username = match args.username {
        Some(username) => username,
        None => prompt::ask("User name", "Use --username.")?,
    };
    let password = prompt::password(args.password_stdin, true)?;
    let registered = identity::register(&context.config, &username, &email, &password).await?;
    let words = &registered.recovery_words;
    let output = &context.output;
    let lost = || {
        Error::undelivered(
            "the recovery words",
            "The account is registered: log in, and make other words with `cyx account words`.",
        )
    };
    if output.json() {
        let document =
            Document { email: &email, username: &username, gateway: &registered.gateway, recovery_words: words };
        return output.document(&document).map_err(lost());
    }
    note_words(context);
    show(context, words).map_err(lost())?;
    if prompt::possible() {
        ask_back(context, words)?;
    }
    output.note(format!("Registered. Check the mail for {email}, then go on with: cyx login --email {email}"));
    Ok(())
}

/// Shows new recovery words, and on a terminal asks some of them back.
///
/// # Errors
/// If standard output fails.
pub(super) fn show_words(context: &Context, words: &str) -> Result<()> {
    note_words(context);
    show(context, words)?;
    if prompt::possible() { ask_back(context, words) } else { Ok(()) }
}

fn note_words(context: &Context) {
    context.output.note(
        "These 24 words open your files if you lose your password. Nobody can show them again: write them down now.",
    );
}

/// Six lines of four numbered words, or one line where a program reads it.
fn show(context: &Context, words: &str) -> Result<()> {
    if !context.output.is_terminal() {
        return context.output.line(words);
    }
    let numbered: Vec<Zeroizing<String>> = words
        .split_whitespace()
        .enumerate()
        .map(|(index, word)| Zeroizing::new(format!("{:>2} {word:<10}", index + 1)))
        .collect();
    for row in numbered.chunks(4) {
        let row = Zeroizing::new(row.iter().map(|word| word.as_str()).collect::<Vec<_>>().join("  "));
        context.output.line(row.trim_end())?;
    }
    Ok(())
}

/// Asks for some of the words, which shows whether they were written down. After a wrong one they are shown once more, and others are
/// asked for.
fn ask_back(context: &Context, text: &str) -> Result<()> {
    let words: Vec<&str> = text.split_whitespace().collect();
    for round in 1..=ROUNDS {
        if round > 1 {
            context.output.note("That is not the word. These are the words, once more:");
            show(context, text)?;
        }
        let mut right = true;
        for index in some_of(words.len())? {
            let answer = Zeroizing::new(prompt::ask(&format!("To check, word number {}", index + 1), "")?);
            right = words.get(index).is_some_and(|word| answer.eq_ignore_ascii_case(word));
            if !right {
                break;
            }
        }
        if right {
            return Ok(());
        }
    }
    context.output.warn("the words may not have been written down; without them a lost password means lost files");
    Ok(())
}

/// [`ASKED`] different numbers below `count`, in order; fewer if there are not so many.
fn some_of(count: usize) -> Result<Vec<usize>> {
    let mut some = Vec::with_capacity(ASKED);
    while some.len() < ASKED.min(count) {
        let mut random = [0; 4];
        getrandom::fill(&mut random)
            .map_err(|error| Error::Stream { action: "draw a random number", source: error.into() })?;
        let number = usize::try_from(u32::from_le_bytes(random)).unwrap_or(0) % count;
        if !some.contains(&number) {
            some.push(number);
        }
    }
    some.sort_unstable();
    Ok(some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_words_are_asked_for_in_their_order() {
        for _ in 0..100 {
            let some = some_of(24).unwrap();
            assert!(
                some.len() == ASKED && some.is_sorted_by(|a, b| a < b) && some.iter().all(|word| *word < 24),
                "{some:?}"
            );
        }
        assert_eq!(some_of(2).unwrap(), [0, 1]);
    }
}
