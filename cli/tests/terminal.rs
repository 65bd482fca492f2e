//! What people type at a terminal: questions, secrets that are not shown, Ctrl-C.
//!
//! Commands run under a shell on a pseudo-terminal, so that what they leave behind in its settings can be seen.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use cyx_tests::Cluster;
use cyx_tests::user::PASSWORD;
use rexpect::session::{PtySession, spawn_command};
use tempfile::TempDir;

/// How long something may take that certainly comes, in milliseconds.
const PATIENCE: Option<u64> = Some(120_000);
/// What the shell says when a command has ended, with its exit code.
const ENDED: &str = "ended=";

/// A shell at a terminal, with a home folder.
struct Terminal {
    session: PtySession,
    shown: String,
    home: TempDir,
}

impl Terminal {
    fn new(gateway: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut shell = Command::new("/bin/sh");
        // Asked for nothing itself, and with a prompt of its own that cannot be mistaken.
        shell.env_clear().env("HOME", home.path()).env("PATH", std::env::var_os("PATH").unwrap()).env("PS1", "");
        shell.env("CYXCLOUD_GATEWAY", gateway).env("TERM", "dumb").current_dir(home.path());
        let mut terminal = Self { session: spawn_command(shell, PATIENCE).unwrap(), shown: String::new(), home };
        // As people have it: what is typed is shown.
        terminal.type_line("stty sane; echo 're''ady'");
        terminal.wait("ready");
        terminal.shown.clear();
        terminal
    }

    /// Runs a command; how it ended is said after it.
    fn run(&mut self, arguments: &str) {
        self.run_after("", arguments);
    }

    /// [`Terminal::run`], with something of the shell before it.
    fn run_after(&mut self, before: &str, arguments: &str) {
        let program = env!("CARGO_BIN_EXE_cyx");
        // Its id is what signals are sent to.
        let command = format!("/bin/sh -c 'echo $$ > pid; {before} exec {program} {arguments}'");
        self.session.send_line(&format!("{command}; echo 'ended''='$?")).unwrap();
        // What was typed is shown by the terminal itself.
        self.wait("ended''=");
        self.wait("\n");
    }

    /// Waits until something is shown. What was shown before it is kept.
    fn wait(&mut self, text: &str) {
        let before = self.session.exp_string(text).unwrap_or_else(|error| panic!("{text}: {error}\n{}", self.shown));
        self.shown.push_str(&before);
        self.shown.push_str(text);
    }

    fn type_line(&mut self, text: &str) {
        self.session.send_line(text).unwrap();
    }

    fn press_control_c(&mut self) {
        self.session.send_control('c').unwrap();
    }

    /// Sends SIGTERM to the command that was run last.
    fn terminate(&self) {
        let id = std::fs::read_to_string(self.home.path().join("pid")).unwrap();
        let id = rustix::process::Pid::from_raw(id.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }

    /// The exit code of the command.
    fn code(&mut self) -> i32 {
        self.wait(ENDED);
        let line = self.session.read_line().unwrap();
        self.shown.push_str(&line);
        line.trim().parse().unwrap()
    }

    /// Whether the terminal shows what is typed and makes Ctrl-C an interrupt, as it did at first.
    fn is_as_before(&mut self) -> bool {
        self.type_line("stty -a; echo 'set''tings'");
        self.wait("set''tings'");
        let settings = self.session.exp_string("settings").unwrap();
        ["echo", "icanon", "isig"].iter().all(|setting| settings.split_whitespace().any(|word| word == *setting))
    }
}

impl Drop for Terminal {
    /// Ends the shell, which would outlive the signal that it gets otherwise, and be waited for.
    fn drop(&mut self) {
        let _ = self.session.send_line("exit");
    }
}

#[test]
fn ctrl_c_at_a_password_ends_the_command_and_puts_the_terminal_back() {
    let mut terminal = Terminal::new("http://127.0.0.1:9");
    assert!(terminal.is_as_before(), "the shell's own");
    terminal.run("login --email ada@example.org");
    terminal.wait("Password: ");
    terminal.session.send("half a secr").unwrap();
    terminal.press_control_c();
    assert_eq!(terminal.code(), 130);
    assert!(!terminal.shown.contains("half"), "{}", terminal.shown);
    assert!(terminal.is_as_before());
}

#[test]
fn a_signal_at_a_password_leaves_a_terminal_that_shows_what_is_typed_and_nothing_of_the_password() {
    let mut terminal = Terminal::new("http://127.0.0.1:9");
    // Typed before it is asked for, since nothing shows when it has arrived later.
    terminal.run_after("read begin;", "login --email ada@example.org");
    terminal.session.send("\nhalf a secr").unwrap();
    terminal.session.flush().unwrap();
    terminal.wait("half a secr");
    terminal.wait("Password: ");
    // Does not stop it: who comes back would find a terminal that shows the password.
    terminal.session.send_control('z').unwrap();
    terminal.terminate();
    assert_eq!(terminal.code(), 143);
    assert!(terminal.is_as_before());
    assert!(!terminal.shown.contains("not found"), "the shell read it: {}", terminal.shown);
}

#[test]
fn signals_are_heard_behind_half_an_answer_that_ctrl_d_handed_over() {
    for (arguments, question) in [("login --email ada@example.org", "Password: "), ("login", "Email address: ")] {
        for code in [130, 143] {
            let mut terminal = Terminal::new("http://127.0.0.1:9");
            // Typed before it is asked for, so that the command has it when the signal comes.
            terminal.run_after("read begin;", arguments);
            let rest = if question == "Password: " { " secr" } else { "" };
            terminal.session.send(&format!("\nhalf a\x04{rest}")).unwrap();
            terminal.session.flush().unwrap();
            terminal.wait(&format!("half a{rest}"));
            terminal.wait(question);
            match code {
                130 => terminal.press_control_c(),
                _ => terminal.terminate(),
            }
            assert_eq!(terminal.code(), code, "{question}");
            assert!(terminal.is_as_before(), "{question}");
            assert!(!terminal.shown.contains("not found"), "the shell read it: {}", terminal.shown);
        }
    }
}

#[test]
fn an_answer_that_is_handed_over_in_parts_is_one_and_the_next_line_is_the_next_answer() {
    let mut terminal = Terminal::new("http://127.0.0.1:9");
    terminal.run_after("read begin;", "register --username ada --email ada@example.org");
    terminal.session.send("\nLän\x04ger als 1 Wort\x04\nLänger als 1 Wort\n").unwrap();
    terminal.session.flush().unwrap();
    terminal.wait("The same again: ");
    assert_eq!(terminal.code(), 6, "{}", terminal.shown);
    assert!(!terminal.shown.contains("differ"), "{}", terminal.shown);
}

#[test]
fn ctrl_c_at_a_question_ends_the_command_at_once() {
    let mut terminal = Terminal::new("http://127.0.0.1:9");
    terminal.run("login");
    terminal.wait("Email address: ");
    terminal.session.send("ada@exa").unwrap();
    terminal.press_control_c();
    assert_eq!(terminal.code(), 130);
    assert!(terminal.is_as_before());
}

#[test]
fn passwords_are_typed_blindly_and_codes_after_a_mistake_once_more() {
    let cluster = Cluster::start(1);
    let mut terminal = Terminal::new(&cluster.gateway());
    terminal.run("register --username ada --email ada@example.org");
    terminal.wait("Password: ");
    terminal.type_line(PASSWORD);
    terminal.wait("The same again: ");
    terminal.type_line("something else");
    assert_eq!(terminal.code(), 2, "{}", terminal.shown);
    assert!(terminal.shown.contains("the passwords differ"), "{}", terminal.shown);

    // Registered by a script, since the recovery words that are asked back have a test of their own.
    let user = cyx_tests::User::register(&cluster, "grace");
    let known = cluster.mails_with_codes(&user.email);
    terminal.run(&format!("login --email {}", user.email));
    terminal.wait("Password: ");
    terminal.type_line(PASSWORD);
    terminal.wait("Code: ");
    terminal.type_line("000000x");
    terminal.wait("That is not the code.");
    terminal.wait("Code: ");
    let code = cluster.new_code(&user.email, &known);
    terminal.type_line(&code);
    assert_eq!(terminal.code(), 0, "{}", terminal.shown);
    for secret in [PASSWORD, "something else"] {
        assert!(!terminal.shown.contains(secret), "{}", terminal.shown);
    }
    assert!(terminal.shown.contains("Logged in as grace."), "{}", terminal.shown);
    assert!(terminal.is_as_before());
}

/// The recovery words as they were shown: numbered, four in a line.
fn words_in(shown: &str) -> Vec<String> {
    let text: Vec<&str> = shown.split_whitespace().collect();
    let numbered =
        |number: usize| text.windows(2).rfind(|pair| pair[0] == number.to_string()).map(|pair| pair[1].to_owned());
    (1..=24).map(|number| numbered(number).unwrap_or_else(|| panic!("no word {number}: {shown}"))).collect()
}

#[test]
fn three_recovery_words_are_asked_back_and_shown_again_after_a_mistake() {
    let cluster = Cluster::start(1);
    let mut terminal = Terminal::new(&cluster.gateway());
    terminal.run("register --username ada --email ada@example.org");
    terminal.wait("Password: ");
    terminal.type_line(PASSWORD);
    terminal.wait("The same again: ");
    terminal.type_line(PASSWORD);
    terminal.wait("To check, word number ");
    let words = words_in(&terminal.shown);
    terminal.wait(": ");
    terminal.type_line("wrong");
    terminal.wait("These are the words, once more:");
    let before = terminal.shown.len();
    let mut asked = Vec::new();
    for _ in 0..3 {
        terminal.wait("To check, word number ");
        let number = terminal.session.exp_string(": ").unwrap();
        let number: usize = number.trim().parse().unwrap();
        asked.push(number);
        let word = words[number - 1].clone();
        terminal.type_line(&word);
    }
    assert_eq!(terminal.code(), 0, "{}", terminal.shown);
    assert!(asked.is_sorted_by(|a, b| a < b), "{asked:?}");
    assert_eq!(words_in(&terminal.shown[before..]), words);
    assert!(terminal.shown.contains("Registered."), "{}", terminal.shown);
}

#[test]
fn recovery_words_that_nobody_was_asked_for_are_refused_once() {
    let cluster = Cluster::start(1);
    let user = cyx_tests::User::register(&cluster, "grace");
    let known = cluster.mails_with_codes(&user.email);
    let mut terminal = Terminal::new(&cluster.gateway());
    terminal.run_after("CYXCLOUD_RECOVERY_WORDS=abandon", &format!("recover --email {}", user.email));
    terminal.wait("Code: ");
    let code = cluster.new_code(&user.email, &known);
    terminal.type_line(&code);
    assert_eq!(terminal.code(), 2, "{}", terminal.shown);
    assert!(terminal.shown.contains("there must be 24 recovery words, not 1"), "{}", terminal.shown);
}
