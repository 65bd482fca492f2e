//! A server whose words would drive a terminal.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

/// Copies something into the clipboard, in many terminals.
const EVIL: &str = "no\u{1b}]52;c;AAAA\u{7}\u{9b}2J";

/// Reads all of a request: whoever closes a connection before that resets it, and its answer may be lost.
fn read_request(client: &mut TcpStream) {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let head = request.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let lines = String::from_utf8(request[..head].to_ascii_lowercase()).unwrap();
            let length = lines.lines().find_map(|line| line.strip_prefix("content-length:"));
            if request.len() >= head + length.map_or(0, |length| length.trim().parse().unwrap()) {
                return;
            }
        }
        match client.read(&mut part) {
            Ok(count @ 1..) => request.extend_from_slice(&part[..count]),
            _ => return,
        }
    }
}

#[test]
fn the_words_of_a_server_do_not_drive_the_terminal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let body = serde_json::json!({ "error": { "code": "PERMISSION_DENIED", "message": EVIL } }).to_string();
            let head = format!("HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            read_request(&mut client);
            let _ = client.write_all((head + &body).as_bytes());
        }
    });
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cyx"));
    command.env_clear().env("HOME", home.path()).env("CYXCLOUD_GATEWAY", format!("http://{address}"));
    command.env("CYXCLOUD_PASSWORD", "Quarz-Lattice7-umbral").stdin(Stdio::null());
    let output = command.args(["login", "--email", "ada@example.org", "--begin"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.starts_with("cyx: no\\u{1b}]52;c;AAAA\\u{7}\\u{9b}2J"), "{said}");
}
