//! What the kernel asks for while programs read and write: each request is a visit to another process and back.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use cyx_tests::mount::{Mount, unavailable};
use cyx_tests::{Cluster, free_port};

const TIMES: u64 = 100;
/// Requests that may come in between: the first of a kind, and attributes that are asked for again.
const FEW: u64 = 20;

/// How many requests of the kernel a mount has had.
pub(crate) fn requests(metrics: SocketAddr) -> u64 {
    let mut stream = TcpStream::connect(metrics).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("cyx_mount_requests_total "));
    line.unwrap_or_else(|| panic!("no requests in {page}")).parse().unwrap()
}

#[test]
fn what_programs_do_over_and_over_takes_as_few_requests_as_can_be() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("requests");
    user.ok(["bucket", "create", "work"]);
    let metrics = free_port();
    let mut mount = Mount::start(&user, "m", &["--bucket", "work", "-o", &format!("metrics={metrics}")]);
    let path = mount.join("file");
    let counted = |work: &mut dyn FnMut()| {
        let before = requests(metrics);
        (0..TIMES).for_each(|_| work());
        requests(metrics) - before
    };
    let mut file = File::create(&path).unwrap();
    let written = counted(&mut || file.write_all(b"line\n").unwrap());
    assert!(written <= TIMES + FEW, "{written} requests for {TIMES} writes");
    let synced = counted(&mut || {
        file.write_all(b"line\n").unwrap();
        file.sync_data().unwrap();
    });
    assert!(synced <= 2 * TIMES + FEW, "{synced} requests for {TIMES} writes that are durable each");
    drop(file);
    mount.settle();
    let content = fs::read(&path).unwrap();
    let read = counted(&mut || assert!(File::open(&path).is_ok_and(|file| file.metadata().is_ok())));
    assert!(read <= 2 * TIMES + FEW, "{read} requests for {TIMES} times of opening and closing");
    assert_eq!(fs::read(&path).unwrap(), content);
    mount.unmount();
}
