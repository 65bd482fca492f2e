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
    let (status, body) = match request.split(|byte| *byte == b' ').nth(1) {
        Some(b"/metrics") => ("200 OK", page),
        _ => ("404 Not Found", "The numbers are at /metrics.\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

fn page(status: &Status, counters: &Counters) -> String {
    let (requests, failed, late) = counters.read();
    let mut page = String::new();
    let numbers = [
        ("dirty_bytes", "gauge", "Written bytes that are not committed yet.", status.dirty_bytes),
        ("dirty_files", "gauge", "Files with such bytes.", status.dirty_files),
        ("cache_bytes", "gauge", "Bytes in the read cache.", status.cache_bytes),
        ("journal_bytes", "gauge", "Bytes of the journal on disk.", status.journal_bytes),
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
    fn the_page_has_a_line_per_number() {
        let status = Status { dirty_bytes: 12, connected: true, ..Status::default() };
        let page = page(&status, &Counters::default());
        assert!(page.contains("\ncyx_mount_dirty_bytes 12\n"), "{page}");
        assert!(page.contains("\ncyx_mount_connected 1\n"), "{page}");
        assert!(page.contains("# TYPE cyx_mount_requests_total counter\n"), "{page}");
    }
}
