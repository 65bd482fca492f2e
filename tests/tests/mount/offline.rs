//! A mount without its server.

use std::fs;

use cyx_tests::mount::{Mount, unavailable};
use cyx_tests::{Cluster, noise};

#[test]
fn what_is_cached_is_read_without_a_server_also_after_mounting_again() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("offline");
    user.ok(["bucket", "create", "work"]);
    let args = ["--bucket", "work"];
    let mut mount = Mount::start(&user, "m", &args);
    let (small, large) = (noise(1, 700), noise(2, 3_000_000));
    fs::write(mount.join("small"), &small).unwrap();
    fs::write(mount.join("large"), &large).unwrap();
    mount.settle();
    mount.unmount();
    mount.again(&args);
    // Names and attributes are known; nothing was opened since.
    assert_eq!(fs::metadata(mount.join("small")).unwrap().len(), 700);
    assert_eq!(fs::metadata(mount.join("large")).unwrap().len(), 3_000_000);
    cluster.kill_server();
    (0..3).for_each(|node| cluster.kill_node(node));
    assert!(fs::read(mount.join("small")).unwrap() == small);
    assert!(fs::read(mount.join("large")).unwrap() == large);
    cluster.up();
    mount.unmount();
}
