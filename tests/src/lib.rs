//! End-to-end tests: the real programs as separate processes.
//!
//! A test starts a [`Cluster`] (one `cyx-server`, some `cyx-node`s, by `cyx dev up`), makes a [`User`] and then does what a
//! person would do: runs `cyx`. What it checks is what a person sees: bytes, exit codes, sentences. The suites are in
//! `tests/tests/`, one file per concern.
//!
//! The programs are those of the same build profile as the test itself; `scripts/test` builds them first, and the harness
//! says so if they are missing.

pub mod admin;
pub mod cluster;
pub mod exerciser;
pub mod gate;
pub mod mount;
mod over;
pub mod posix;
pub mod postgres;
mod run;
pub mod s3;
pub mod skip;
pub mod tree;
pub mod user;
pub mod workload;

pub use cluster::{Cluster, Frozen};
pub use gate::Gate;
pub use over::Over;
pub use run::{Run, bounded_with_input};
pub use user::User;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Path of a program of this build.
///
/// # Panics
/// If it was not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a test knows its own path");
    // A program of this workspace lies beside the others, a test one folder below.
    let found = this.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: run `cargo build --workspace --bins` first"))
}

/// Waits until `condition` holds. The limit is generous: it ends a test that would hang, it measures nothing.
///
/// # Panics
/// If it does not hold within five minutes.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(300);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A port of loopback that nobody listens on and that no outgoing connection is given by default, so that a program may have it, end, and have
/// it again.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> SocketAddr {
    const PORTS: std::ops::Range<u64> = 15_000..30_000;
    let random = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), ());
    let port = || u16::try_from(PORTS.start + random() % (PORTS.end - PORTS.start)).expect("below 30,000");
    let mut some = std::iter::repeat_with(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port()))).take(1000);
    some.find(|address| TcpListener::bind(address).is_ok()).expect("a port is free")
}

/// Bytes that look random and are the same for the same seed (SplitMix64, Steele et al. 2014).
#[must_use]
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_free_is_below_those_of_outgoing_connections() {
        for _ in 0..20 {
            let address = free_port();
            assert!((15_000..30_000).contains(&address.port()), "{address}");
        }
    }
}
