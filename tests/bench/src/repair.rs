//! What it costs to make anew what a lost node held.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::bench::{AFTERWARDS, BUCKET, Bench, CPU};
use crate::local::{same, text, write_noise};
use crate::report::{Figure, Report};
use crate::usage::total_time;
use crate::{Plan, Result, say};

const REPAIR: &str = "repair of a lost node";
const KEY: &str = "repair";
/// Times the size of a large file: a node holds a tenth of what is uploaded.
const FILES: u64 = 3;
/// A node is noticed to be lost soon; it is still asked for proofs as seldom as elsewhere.
const NOTICE: [&str; 4] =
    ["--heartbeat-seconds=2", "--node-suspect-seconds=10", "--node-offline-seconds=15", "--node-lost-seconds=25"];
/// A repair that takes longer never ends.
const DEADLINE: Duration = Duration::from_secs(1800);
/// How often it is asked how much was made.
const PAUSE: Duration = Duration::from_secs(1);
/// So often nothing was made: it may be done.
const STILL: u32 = 4;
/// What the cluster costs when nothing happens is watched for so long.
const IDLE: Duration = Duration::from_secs(10);

/// Processor seconds of the server and of the nodes.
type Spent = [f64; 2];

pub(crate) fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    if !plan.wants(REPAIR) {
        return Ok(());
    }
    // Somebody has to take what is made anew.
    let plan = Plan { nodes: plan.nodes + 1, ..plan.clone() };
    let bench = Bench::start(&plan, &NOTICE, &[])?;
    let source = bench.user.path("repair.bin");
    write_noise(&source, plan.size * FILES)?;
    bench.user.ok(["upload", &text(&source)?, "--bucket", BUCKET, "--key", KEY, "--durability", "all", "--quiet"]);
    say(REPAIR);
    let lost = bench.fullest()?;
    let made_before = bench.metric("cyx_repaired_bytes_total")?;
    bench.cluster.kill_node(lost);
    let idle = bench.idle()?;
    let (began, before) = (Instant::now(), bench.spent_by_all()?);
    let made = bench.wait_until_whole(made_before)?;
    let (time, after) = (began.elapsed().as_secs_f64(), bench.spent_by_all()?);
    let gib = made / (1 << 30) as f64;
    let [server, nodes] = [0, 1].map(|part| (after[part] - before[part] - idle[part] * time).max(0.0) / gib);
    let figure = Figure::new(REPAIR, server + nodes, CPU)
        .part("server", server)
        .part("nodes", nodes)
        .part("GiB per CPU-s", 1.0 / (server + nodes))
        .part("GiB made anew", gib)
        .part("seconds of time, with noticing the loss", time)
        .part("CPU-s a second when nothing happens, left out", idle[0] + idle[1]);
    report.add(figure);
    let back = bench.user.path("back.bin");
    bench.user.ok(["download", BUCKET, "--key", KEY, "-o", &text(&back)?, "--quiet"]);
    if same(&source, &back)? { Ok(()) } else { Err("other bytes came back after the repair".into()) }
}

impl Bench<'_> {
    /// The node with the most bytes of chunks.
    fn fullest(&self) -> Result<usize> {
        let sizes: Vec<u64> = (0..self.plan.nodes)
            .map(|index| size_of(&self.cluster.node_dir(index).join("volumes")))
            .collect::<Result<_>>()?;
        let fullest = sizes.iter().enumerate().max_by_key(|(_, size)| **size);
        Ok(fullest.ok_or("there is no node")?.0)
    }

    fn spent_by_all(&self) -> Result<Spent> {
        let (server, nodes) = self.pids()?;
        Ok([total_time(&server)?.as_secs_f64(), total_time(&nodes)?.as_secs_f64()])
    }

    /// Processor seconds a second while nothing happens: heartbeats, and being asked how much was made.
    fn idle(&self) -> Result<Spent> {
        std::thread::sleep(AFTERWARDS);
        let (began, before) = (Instant::now(), self.spent_by_all()?);
        while began.elapsed() < IDLE {
            std::thread::sleep(PAUSE);
            self.metric("cyx_repaired_bytes_total")?;
        }
        let (time, after) = (began.elapsed().as_secs_f64(), self.spent_by_all()?);
        Ok([0, 1].map(|part| (after[part] - before[part]) / time))
    }

    /// Waits until the file is as whole as it was, and says how many bytes of chunks were made for it.
    fn wait_until_whole(&self, made_before: f64) -> Result<f64> {
        let (began, mut last, mut still) = (Instant::now(), 0.0, 0);
        while began.elapsed() < DEADLINE {
            std::thread::sleep(PAUSE);
            let made = self.metric("cyx_repaired_bytes_total")? - made_before;
            still = if made > last { 0 } else { still + 1 };
            last = made;
            // Looking at the file costs more than looking at a figure.
            if made <= 0.0 || still < STILL {
                continue;
            }
            still = 0;
            let found = self.user.ok(["stat", BUCKET, KEY, "--json"]).json();
            let reachable = found["nodes_unreachable"].as_array().is_some_and(Vec::is_empty);
            if reachable && found["shards_healthy"] == found["shards_total"] {
                return Ok(made);
            }
        }
        Err("what a lost node held is not made anew".into())
    }
}

fn size_of(folder: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in std::fs::read_dir(folder)? {
        size += entry?.metadata()?.len();
    }
    Ok(size)
}
