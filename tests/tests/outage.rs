//! A moment in which no storage node can be reached, as when a laptop changes its network.

#![allow(clippy::unwrap_used)]

use std::net::TcpListener;

use cyx_tests::{Cluster, noise, wait_until};

/// Listens where the storage nodes that do not run were, and hangs up on whoever comes.
struct NobodyThere(Vec<(TcpListener, u32)>);

impl NobodyThere {
    fn instead_of_nodes(cluster: &Cluster) -> Self {
        let status = cluster.status();
        let listen = |node: &serde_json::Value| {
            let listener = TcpListener::bind(node["address"].as_str().unwrap()).unwrap();
            listener.set_nonblocking(true).unwrap();
            (listener, 0)
        };
        Self(status["nodes"].as_array().unwrap().iter().map(listen).collect())
    }

    /// Whether somebody came to one of them, and again after that.
    fn is_tried_again(&mut self) -> bool {
        for (listener, tries) in &mut self.0 {
            *tries += u32::from(listener.accept().is_ok());
        }
        self.0.iter().any(|(_, tries)| *tries > 1)
    }
}

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
        let mut nobody = NobodyThere::instead_of_nodes(&cluster);
        std::thread::scope(|scope| {
            let moving = scope.spawn(|| user.ok(command));
            wait_until("it tries again", || nobody.is_tried_again() || moving.is_finished());
            drop(nobody);
            (0..3).for_each(|node| cluster.start_node(node));
            moving.join().unwrap();
        });
    }
    assert!(std::fs::read(target).unwrap() == content);
}
