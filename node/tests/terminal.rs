//! What an operator is asked at a terminal, and signals while nobody answers.

#![allow(clippy::unwrap_used)]

mod server;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rexpect::session::{PtySession, spawn_command};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use server::{CODE, EMAIL, PASSWORD, Server};

/// How long something may take that certainly comes, in milliseconds.
const PATIENCE: Option<u64> = Some(120_000);
/// Servers that do not answer.
const NOWHERE: &str = "--gateway http://127.0.0.1:9";

/// A node at the terminal of a shell, which outlives it and shows then how it ended and how the terminal is. `before` is something of the
/// shell.
fn node_at_a_terminal(home: &Path, before: &str, servers: &str) -> PtySession {
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("PS1", "").current_dir(home);
    let mut session = spawn_command(shell, PATIENCE).unwrap();
    let program = env!("CARGO_BIN_EXE_cyx-node");
    let options = format!("--home . --storage-path store {servers} --grpc-port 0 --metrics-port 0");
    let node = format!("/bin/sh -c 'echo $$ > pid; {before} exec {program} {options}'; echo 'ended''='$?");
    // As people have it: what is typed is shown, by the terminal itself.
    session.send_line("stty sane; echo 're''ady'").unwrap();
    session.exp_string("ready").unwrap();
    session.send_line(&format!("{node}; stty -a; echo 'set''tings'")).unwrap();
    session.exp_string("set''tings'").unwrap();
    session
}

fn terminate(home: &Path) {
    let id = std::fs::read_to_string(home.join("pid")).unwrap();
    kill_process(Pid::from_raw(id.trim().parse().unwrap()).unwrap(), Signal::TERM).unwrap();
}

/// Waits for the end of a node that was told to end, and looks how it left the terminal. Returns what was shown until then.
fn ended(session: &mut PtySession) -> String {
    let shown = session.exp_string("ended=0").unwrap();
    let settings = session.exp_string("settings").unwrap();
    let settings: Vec<_> = settings.split_whitespace().collect();
    assert!(["echo", "icanon", "isig"].iter().all(|setting| settings.contains(setting)), "{settings:?}");
    let _ = session.send_line("exit");
    shown
}

#[test]
fn a_node_ends_by_signals_while_it_asks_and_hides_the_password_alone() {
    for question in ["account: ", "Password: "] {
        for signal in [Signal::INT, Signal::TERM] {
            let home = tempfile::tempdir().unwrap();
            let mut session = node_at_a_terminal(home.path(), "", NOWHERE);
            session.exp_string("account: ").unwrap();
            if question == "Password: " {
                session.send_line("ada@example.org").unwrap();
                session.exp_string(question).unwrap();
            }
            if signal == Signal::INT {
                session.send("half a secr").unwrap();
                session.send_control('c').unwrap();
            } else {
                terminate(home.path());
            }
            let shown = ended(&mut session);
            assert!(question == "account: " || !shown.contains("half"), "{signal:?}: {shown}");
        }
    }
}

#[test]
fn a_node_hears_signals_behind_half_an_answer_that_ctrl_d_handed_over() {
    for (question, typed) in [("account: ", "half\x04"), ("Password: ", "ada@example.org\nhalf\x04 a secr")] {
        for signal in [Signal::INT, Signal::TERM] {
            let home = tempfile::tempdir().unwrap();
            // Typed before it is asked for, so that the node has it when the signal comes.
            let mut session = node_at_a_terminal(home.path(), "read begin;", NOWHERE);
            session.send(&format!("\n{typed}")).unwrap();
            session.flush().unwrap();
            session.exp_string("half").unwrap();
            session.exp_string(question).unwrap();
            match signal {
                Signal::INT => session.send_control('c').unwrap(),
                _ => terminate(home.path()),
            }
            ended(&mut session);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_typed_ahead_of_the_password_is_the_next_answer() {
    let (server, home) = (Server::start(), tempfile::tempdir().unwrap());
    let servers = format!("--gateway http://{} --central-server http://{}", server.rest, server.grpc);
    let mut session = node_at_a_terminal(home.path(), "read begin;", &servers);
    session.send(&format!("\n{EMAIL}\n{PASSWORD}\n{CODE}\n")).unwrap();
    session.flush().unwrap();
    server.until("an enrolment", |book| !book.heartbeats.is_empty()).await;
    terminate(home.path());
    ended(&mut session);
}

#[test]
fn a_node_ends_by_a_signal_while_it_opens_what_it_keeps() {
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join("store");
    std::fs::create_dir_all(store.join("volumes")).unwrap();
    // Whoever opens this to read it waits for a writer, and there is none.
    let volume = store.join("volumes/00000001.cyxvol");
    mknodat(CWD, &volume, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut node = Command::new(env!("CARGO_BIN_EXE_cyx-node"));
    node.args(["--home", ".", "--storage-path", "store", "--gateway", "http://127.0.0.1:9"]);
    node.args(["--grpc-port", "0", "--metrics-port", "0"]).env_clear().current_dir(home.path());
    let mut node = node.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let id = Pid::from_raw(node.id().try_into().unwrap()).unwrap();
    // It listens to signals before it opens anything.
    while !store.join("index.redb").exists() {
        assert_eq!(node.try_wait().unwrap(), None);
        std::thread::yield_now();
    }
    kill_process(id, Signal::TERM).unwrap();
    let (ended, ends) = mpsc::channel();
    std::thread::spawn(move || ended.send(node.wait().unwrap()));
    let end = ends.recv_timeout(Duration::from_secs(60));
    if end.is_err() {
        kill_process(id, Signal::KILL).unwrap();
    }
    assert!(end.unwrap().success());
}
