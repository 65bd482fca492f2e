//! A stream far longer than memory goes up and down, and the client's memory stays flat.
//!
//! The stream is mostly zeros with noise here and there, made and checked as it flows, so that the test itself keeps nothing
//! either. It has 384 MiB; `CYX_TEST_STREAM_MIB` makes it longer (20480 for the 20 GiB that are promised; that needs as much
//! space in the temporary folder).

use std::io::{Read, Write};
use std::process::{Child, Stdio};

use cyx_tests::{Cluster, noise};

const MIB: usize = 1 << 20;

/// What the client may hold whatever the length, the program itself and its libraries included.
const MEMORY_KIB: u64 = 200 * 1024;

/// Part number `index` of the stream: every eighth is noise, and each says its number, so that no two are alike.
fn part(index: usize) -> Vec<u8> {
    let mut part = if index.is_multiple_of(8) { noise(index as u64, MIB) } else { vec![0; MIB] };
    part[..8].copy_from_slice(&(index as u64).to_le_bytes());
    part
}

/// The most memory that a process has had so far, in KiB.
fn peak_kib(process: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line on memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_stream_longer_than_memory_leaves_the_memory_of_the_client_flat() {
    let parts = std::env::var("CYX_TEST_STREAM_MIB").map_or(384, |text| text.parse().expect("a number of MiB"));
    let cluster = Cluster::start_with(1, &["--plan=enterprise"], &[]);
    let user = cluster.user("ada");
    user.ok(["bucket", "create", "docs"]);

    let mut up = user.command(["upload", "-", "--bucket", "docs", "--key", "stream"]);
    let mut up = up.stdin(Stdio::piped()).spawn().expect("cyx runs");
    let mut input = up.stdin.take().expect("a pipe");
    for index in 0..parts {
        input.write_all(&part(index)).expect("cyx reads on");
    }
    let peak = peak_kib(&up);
    drop(input);
    assert!(up.wait().expect("cyx ends").success());
    assert!(peak <= MEMORY_KIB, "an upload of {parts} MiB took {peak} KiB");

    let mut down = user.command(["download", "docs", "--key", "stream", "-o", "-"]);
    let mut down = down.stdout(Stdio::piped()).spawn().expect("cyx runs");
    let mut output = down.stdout.take().expect("a pipe");
    let mut got = vec![0; MIB];
    let mut peak = 0;
    for index in 0..parts {
        // Before the last part is read the client cannot end.
        peak = peak_kib(&down);
        output.read_exact(&mut got).expect("cyx writes on");
        assert!(got == part(index), "part {index} came back otherwise");
    }
    assert_eq!(output.read(&mut got).expect("the end"), 0, "the stream came back longer");
    assert!(down.wait().expect("cyx ends").success());
    assert!(peak <= MEMORY_KIB, "a download of {parts} MiB took {peak} KiB");
}
