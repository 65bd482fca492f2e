//! Numbers for Prometheus, if an address was given.
//!
//! One page of a dozen numbers, asked for every few seconds: an HTTP server of a handful of lines does, and no other is linked.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::control::{Service, Status};
use crate::fuse::Counters;

/// Longest request that is read.
const LONGEST_REQUEST: usize = 8 << 10;
/// Time for a request and its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listens on an address.
///
/// # Errors
/// If it is taken.
pub(super) async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers until it is dropped.
pub(super) async fn serve(listener: TcpListener, service: Arc<impl Service>, counters: Arc<Counters>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let page = page(&service.status(), &counters);
        tokio::spawn(tokio::time::timeout(PATIENCE, answer(stream, page)));
    }
}

async fn answer(mut stream: TcpStream, page: String) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > LONGEST_REQUEST || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    stream.write_all(response(&request, page).as_bytes()).await?;
    stream.shutdown().await
}

/// The answer to a request.
fn response(request: &[u8], page: String) -> String {
    let mut words = request.split(|byte| byte.is_ascii_whitespace());
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    // Whoever asks may be configured to add parameters.
    let path = target.split(|byte| *byte == b'?').next();
    let (status, body) = match (method, path) {
        (b"GET" | b"HEAD", Some(b"/metrics")) => ("200 OK", page),
        (b"GET" | b"HEAD", _) => ("404 Not Found", "The numbers are at /metrics.\n".to_owned()),
        _ => ("405 Method Not Allowed\r\nallow: GET, HEAD", String::new()),
    };
    let length = body.len();
    let body = if method == b"HEAD" { "" } else { &body };
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn page(status: &Status, counters: &Counters) -> String {
    let (requests, failed, late) = counters.read();
    let mut page = String::new();
    let numbers = [
        ("dirty_bytes", "gauge", "Written bytes that are not committed yet.", status.dirty_bytes),
        ("dirty_files", "gauge", "Files with such bytes, or names or attributes not sent yet.", status.dirty_files),
        ("sent_bytes_total", "counter", "Bytes that went to storage nodes.", status.sent_bytes),
        ("cache_bytes", "gauge", "Bytes in the read cache.", status.cache_bytes),
        ("journal_bytes", "gauge", "Bytes of the journal on disk.", status.journal_bytes),
        ("deleted_bytes", "gauge", "Bytes kept of buckets that are not there any more.", status.deleted_bytes),
        ("deleted_files", "gauge", "Files with such bytes, names or attributes.", status.deleted_files),
        ("connected", "gauge", "1 while changes of others arrive as they are made.", u64::from(status.connected)),
        ("open_files", "gauge", "Open files and directories.", status.open),
        ("inodes", "gauge", "Inodes that the kernel knows.", status.inodes),
        ("conflicts_total", "counter", "Conflict copies made.", status.conflicts),
        ("write_leases", "gauge", "Buckets whose only writer it is.", status.leases),
        ("requests_total", "counter", "Requests of the kernel.", requests),
        ("requests_failed_total", "counter", "Requests that were answered with an input/output error.", failed),
        ("requests_late_total", "counter", "Requests that were given up at their deadline.", late),
    ];
    for (name, kind, help, value) in numbers {
        // Writing to a String does not fail.
        let _ =
            writeln!(page, "# HELP cyx_mount_{name} {help}\n# TYPE cyx_mount_{name} {kind}\ncyx_mount_{name} {value}");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_at_one_address() {
        let answer = |request: &[u8]| response(request, "page\n".to_owned());
        for request in [&b"GET /metrics HTTP/1.1\r\n\r\n"[..], b"GET /metrics?job=a HTTP/1.1\r\nhost: b\r\n\r\n"] {
            let answer = answer(request);
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\npage\n"), "{answer}");
        }
        let head = answer(b"HEAD /metrics HTTP/1.1\r\n\r\n");
        assert!(head.contains("\r\ncontent-length: 5\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(answer(b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(answer(b"GET /metricsx HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(answer(b"POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(answer(b"\r\n\r\n").starts_with("HTTP/1.1 405 "));
    }

    #[test]
    fn the_page_has_a_line_per_number() {
        let status = Status { dirty_bytes: 12, connected: true, ..Status::default() };
        let page = page(&status, &Counters::default());
        assert!(page.contains("\ncyx_mount_dirty_bytes 12\n"), "{page}");
        assert!(page.contains("\ncyx_mount_connected 1\n"), "{page}");
        assert!(page.contains("# TYPE cyx_mount_requests_total counter\n"), "{page}");
    }

    #[test]
    fn every_number_is_documented() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md")).unwrap();
        let page = page(&Status::default(), &Counters::default());
        let names: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert_eq!(names.len(), 15);
        for name in names {
            assert!(docs.contains(&format!("`{name}`")), "{name} is not in docs/operations.md");
        }
    }
}
