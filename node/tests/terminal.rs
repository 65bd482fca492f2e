//! What an operator is asked at a terminal, and signals while nobody answers.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use rexpect::session::spawn_command;
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
