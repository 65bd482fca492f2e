//! What an operator is asked at a terminal, and signals while nobody answers.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rexpect::session::spawn_command;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

/// How long something may take that certainly comes, in milliseconds.
const PATIENCE: Option<u64> = Some(120_000);

#[test]
fn a_node_ends_by_signals_while_it_asks_and_hides_the_password_alone() {
    for question in ["account: ", "Password: "] {
        for signal in [Signal::INT, Signal::TERM] {
            let home = tempfile::tempdir().unwrap();
            // The shell is what the terminal belongs to, and outlives the node.
            let mut shell = Command::new("/bin/sh");
            shell.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("PS1", "").current_dir(home.path());
            let mut session = spawn_command(shell, PATIENCE).unwrap();
            let program = env!("CARGO_BIN_EXE_cyx-node");
            let options = "--home . --storage-path store --gateway http://127.0.0.1:9 --grpc-port 0 --metrics-port 0";
            let node = format!("/bin/sh -c 'echo $$ > pid; exec {program} {options}'; echo 'ended''='$?");
            session.send_line(&format!("stty sane; {node}; stty -a; echo 'set''tings'")).unwrap();
            session.exp_string("account: ").unwrap();
            if question == "Password: " {
                session.send_line("ada@example.org").unwrap();
                session.exp_string(question).unwrap();
            }
            if signal == Signal::INT {
                session.send("half a secr").unwrap();
                session.send_control('c').unwrap();
            } else {
                let id = std::fs::read_to_string(home.path().join("pid")).unwrap();
                kill_process(Pid::from_raw(id.trim().parse().unwrap()).unwrap(), signal).unwrap();
            }
            let shown = session.exp_string("ended=0").unwrap();
            assert!(question == "account: " || !shown.contains("half"), "{signal:?}: {shown}");
            let settings = session.exp_string("settings").unwrap();
            let settings: Vec<_> = settings.split_whitespace().collect();
            assert!(["echo", "icanon", "isig"].iter().all(|setting| settings.contains(setting)), "{settings:?}");
            let _ = session.send_line("exit");
        }
    }
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
