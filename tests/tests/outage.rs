//! A moment in which no storage node can be reached, as when a laptop changes its network.

use std::time::Duration;

use cyx_tests::{Cluster, noise};

#[test]
fn uploads_and_downloads_wait_for_the_way_to_the_nodes() {
    let cluster = Cluster::start(3);
    let user = cluster.user("traveller");
    user.ok(["bucket", "create", "work"]);
    let content = noise(1, 20_000_000);
    let (source, target) = (user.path("source"), user.path("target"));
    std::fs::write(&source, &content).unwrap();
    let (source, target) = (source.to_str().unwrap(), target.to_str().unwrap());
    let commands: [&[&str]; 2] = [
        &["upload", source, "--bucket", "work", "--key", "a", "--durability", "all"],
        &["download", "work", "--key", "a", "-o", target],
    ];
    for command in commands {
        (0..3).for_each(|node| cluster.kill_node(node));
        std::thread::scope(|scope| {
            let moving = scope.spawn(|| user.ok(command));
            std::thread::sleep(Duration::from_secs(3));
            (0..3).for_each(|node| cluster.start_node(node));
            moving.join().unwrap();
        });
    }
    assert!(std::fs::read(target).unwrap() == content);
}
