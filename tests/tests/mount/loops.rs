//! Things are killed while programs work in a mount, over and over: the mount itself, storage nodes, the server. What was done is
//! there afterwards, and nobody waits for ever.
//!
//! Each loop takes some seconds; `CYX_TEST_LOOP_SECONDS` lets it go on for longer.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cyx_tests::mount::{Mount, unavailable};
use cyx_tests::workload::Workload;
use cyx_tests::{Cluster, Over, noise};

/// How long a loop goes on, unless something else is asked for.
const SECONDS: u64 = 25;

fn budget() -> Duration {
    let asked = std::env::var("CYX_TEST_LOOP_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(SECONDS))
}

/// Between a quarter of a second and two seconds.
fn pause(seed: u64) -> Duration {
    Duration::from_millis(250 + 7 * u64::from(noise(seed, 1)[0]))
}

#[test]
fn a_mount_that_is_killed_over_and_over_loses_nothing_that_was_done() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(3);
    let user = cluster.user("loop");
    user.ok(["bucket", "create", "work"]);
    let args = ["--bucket", "work"];
    let mut mount = Mount::start(&user, "m", &args);
    let mut workloads: Vec<Workload> =
        (1..3).map(|seed| Workload::new(&mount.join(&format!("d{seed}")), seed)).collect();
    let begun = Instant::now();
    for round in 0_u64.. {
        if round >= 3 && begun.elapsed() > budget() {
            break;
        }
        thread::scope(|scope| {
            for workload in &mut workloads {
                scope.spawn(move || {
                    let error = workload.work();
                    // Only what a mount that is gone answers.
                    let gone = [rustix::io::Errno::NOTCONN, rustix::io::Errno::CONNABORTED, rustix::io::Errno::INTR];
                    let code = rustix::io::Errno::from_io_error(&error);
                    assert!(code.is_some_and(|code| gone.contains(&code)), "round {round}: {error}");
                });
            }
            thread::sleep(pause(round));
            mount.signal(rustix::process::Signal::KILL);
        });
        // At once, without waiting for the killed process: its locks may be there for a moment yet. What was read is lost too.
        mount.forget_process();
        let _ = fs::remove_dir_all(mount.cache_dir().join("cache"));
        mount.again(&args);
        for workload in &mut workloads {
            workload.check(&format!("after round {round}"));
        }
    }
    mount.settle();
    mount.unmount();
    fs::remove_dir_all(mount.cache_dir().join("cache")).unwrap();
    mount.again(&args);
    for workload in &mut workloads {
        workload.check("at the end");
        let (done, failed) = (workload.done, workload.failed);
        assert!(failed < done, "{failed} operations were cut off beside {done}");
    }
    mount.unmount();
    cluster.assert_consistent();
}

#[test]
fn nodes_and_server_that_are_killed_under_load_cost_patience_and_nothing_else() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(4);
    let user = cluster.user("chaos");
    user.ok(["bucket", "create", "work"]);
    let args = ["--bucket", "work"];
    let mut mount = Mount::start(&user, "m", &args);
    let mut workloads: Vec<Workload> =
        (1..3).map(|seed| Workload::new(&mount.join(&format!("d{seed}")), seed + 100)).collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = &over;
        for workload in &mut workloads {
            scope.spawn(move || {
                while !over.load(Ordering::Acquire) {
                    if let Err(error) = workload.step() {
                        let code = rustix::io::Errno::from_io_error(&error);
                        let patient = [rustix::io::Errno::IO, rustix::io::Errno::TIMEDOUT];
                        assert!(code.is_some_and(|code| patient.contains(&code)), "{error}");
                    }
                }
            });
        }
        let _ending = Over(over);
        let begun = Instant::now();
        for round in 0_u64.. {
            if round >= 4 && begun.elapsed() > budget() {
                break;
            }
            thread::sleep(pause(round));
            if round % 4 == 3 {
                cluster.kill_server();
                thread::sleep(pause(round + 1000));
                cluster.up();
            } else {
                let node = usize::from(noise(round, 1)[0]) % 4;
                cluster.kill_node(node);
                thread::sleep(pause(round + 1000));
                cluster.start_node(node);
            }
        }
    });
    mount.settle();
    for workload in &mut workloads {
        workload.check("when all is well again");
        let (done, failed) = (workload.done, workload.failed);
        assert!(failed < done, "{failed} operations failed beside {done}");
    }
    mount.unmount();
    fs::remove_dir_all(mount.cache_dir().join("cache")).unwrap();
    mount.again(&args);
    workloads.iter_mut().for_each(|workload| workload.check("through an empty cache"));
    mount.unmount();
    cluster.assert_consistent();
}
