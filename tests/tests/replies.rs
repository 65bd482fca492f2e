//! A reply that is lost after the server did what it was asked: the repetition changes nothing more.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{ErrorKind, Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use cyx_tests::{Cluster, User, noise};

/// Larger than every request of a small upload but the one that commits it.
const COMMIT: usize = 2500;

/// A proxy that can lose one reply: it waits for a large HTTP/2 request, lets the server answer it, and then cuts the connection
/// instead of passing the answer on.
struct Proxy {
    gateway: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// How many replies are still to be lost.
    armed: AtomicUsize,
    lost: AtomicUsize,
}

impl Proxy {
    fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gateway = format!("http://{}", listener.local_addr().unwrap());
        let (state, server) = (Arc::<State>::default(), server.trim_start_matches("http://").to_owned());
        let shared = Arc::clone(&state);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (state, server) = (Arc::clone(&shared), server.clone());
                std::thread::spawn(move || serve(&client, &TcpStream::connect(server).unwrap(), &state));
            }
        });
        Self { gateway, state }
    }

    fn lose_the_next_commit(&self) {
        self.state.armed.store(1, Ordering::SeqCst);
    }

    fn lost(&self) -> usize {
        self.state.lost.load(Ordering::SeqCst)
    }
}

fn serve(client: &TcpStream, server: &TcpStream, state: &State) {
    // Stream whose reply is to be lost; 0: none.
    let doomed = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pump(client, server, |frame| {
                let large = frame.kind == 0 && frame.length >= COMMIT;
                let armed = || state.armed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                if large && armed().is_ok() {
                    doomed.store(frame.stream, Ordering::SeqCst);
                }
                true
            });
            let _ = server.shutdown(Shutdown::Both);
        });
        pump(server, client, |frame| {
            let reply = frame.stream != 0 && frame.stream == doomed.load(Ordering::SeqCst);
            // Headers of the reply, not the flow control of the request.
            let lose = reply && frame.kind == 1;
            state.lost.fetch_add(usize::from(lose), Ordering::SeqCst);
            !lose
        });
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    });
}

/// The header of an HTTP/2 frame.
struct Frame {
    length: usize,
    kind: u8,
    stream: u32,
}

/// Passes bytes on frame by frame until `keep` says no. Connections that do not speak HTTP/2 are passed on as they are.
fn pump(mut from: &TcpStream, mut to: &TcpStream, keep: impl Fn(&Frame) -> bool) {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut waiting: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let (mut begun, mut plain) = (false, false);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        waiting.extend_from_slice(&buffer[..read]);
        if !begun {
            if waiting.starts_with(PREFACE) {
                if to.write_all(PREFACE).is_err() {
                    return;
                }
                waiting.drain(..PREFACE.len());
                begun = true;
            } else if PREFACE.starts_with(&waiting) {
                continue;
            } else {
                // A server's first frame is SETTINGS, type 4 on stream 0; HTTP/1.1 is text.
                plain = waiting.first().is_some_and(u8::is_ascii_alphabetic);
                begun = true;
            }
        }
        if plain {
            if to.write_all(&waiting).is_err() {
                return;
            }
            waiting.clear();
            continue;
        }
        while let Some(head) = waiting.first_chunk::<9>().copied() {
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
            if waiting.len() < 9 + length {
                break;
            }
            let frame: Vec<u8> = waiting.drain(..9 + length).collect();
            if !keep(&Frame { length, kind: head[3], stream }) || to.write_all(&frame).is_err() {
                return;
            }
        }
    }
}

#[test]
fn a_commit_whose_reply_was_lost_is_repeated_and_happens_once() {
    let cluster = Cluster::start(3);
    let proxy = Proxy::start(&cluster.gateway());
    let user = User::register_via(&cluster, "ada", proxy.gateway.clone());
    user.ok(["bucket", "create", "docs"]);
    // A small file, in the server's database; the same again; a large one, on nodes.
    for (round, size) in [4000, 3900, 12_000_000].into_iter().enumerate() {
        let (key, version) = if round < 2 { ("small", round as u64 + 1) } else { ("large", 1) };
        let content = noise(round as u64, size);
        let before = user.ok(["quota", "--json"]).json()["used_bytes"].as_u64().unwrap();
        proxy.lose_the_next_commit();
        user.write("docs", key, &content);
        assert_eq!(proxy.lost(), round + 1, "the reply to a commit was lost");
        assert_eq!(user.read("docs", key), content);
        let stat = user.ok(["stat", "docs", key, "--json"]).json();
        assert_eq!(stat["version"], version, "committed once: {stat}");
        let after = user.ok(["quota", "--json"]).json()["used_bytes"].as_u64().unwrap();
        assert!(after < before + size as u64 * 3 / 2, "{before} and {after} bytes for one copy of {size}");
    }
    let keys = user.ok(["list", "docs", "-r", "--json"]).json_lines();
    assert_eq!(keys.len(), 2, "{keys:?}");
    cluster.assert_consistent();
}
