//! What it costs to make anew what a lost node held.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::bench::{BUCKET, Bench, CPU};
use crate::local::{same, text, write_noise};
use crate::report::{Figure, Report};
use crate::usage::total_time;
use crate::{Plan, Result, say};

const REPAIR: &str = "repair of a lost node";
const KEY: &str = "repair";
/// A repair that takes longer never ends.
const DEADLINE: Duration = Duration::from_secs(1800);
/// How often it is asked whether everything is whole again: asking costs time that is counted.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    if !plan.wants(REPAIR) {
        return Ok(());
    }
    // Somebody has to take what is made anew.
    let plan = Plan { nodes: plan.nodes + 1, ..plan.clone() };
    let bench = Bench::start(&plan, &[], &[])?;
    let source = bench.user.path("repair.bin");
    write_noise(&source, plan.size)?;
    bench.user.ok(["upload", &text(&source)?, "--bucket", BUCKET, "--key", KEY, "--durability", "all", "--quiet"]);
    say(REPAIR);
    let lost = bench.fullest()?;
    let made_before = bench.metric("cyx_repaired_bytes_total")?;
    bench.cluster.kill_node(lost);
    let (server, nodes) = bench.pids()?;
    let (began, before) = (Instant::now(), (total_time(&server)?, total_time(&nodes)?));
    let made = bench.wait_until_whole(made_before)?;
    let gib = made / (1 << 30) as f64;
    let server = (total_time(&server)?.saturating_sub(before.0)).as_secs_f64();
    let nodes = (total_time(&nodes)?.saturating_sub(before.1)).as_secs_f64();
    let figure = Figure::new(REPAIR, (server + nodes) / gib, CPU)
        .part("server", server / gib)
        .part("nodes", nodes / gib)
        .part("GiB made anew", gib)
        .part("seconds of time, with noticing the loss", began.elapsed().as_secs_f64());
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

    /// Waits until the file is as whole as it was, and says how many bytes of chunks were made for it.
    fn wait_until_whole(&self, made_before: f64) -> Result<f64> {
        let began = Instant::now();
        while began.elapsed() < DEADLINE {
            std::thread::sleep(PAUSE);
            let made = self.metric("cyx_repaired_bytes_total")? - made_before;
            if made <= 0.0 {
                continue;
            }
            let found = self.user.ok(["stat", BUCKET, KEY, "--json"]).json();
            let reachable = found["nodes_unreachable"].as_array().is_some_and(Vec::is_empty);
            if reachable && found["shards_healthy"] == found["shards_total"] {
                return Ok(self.metric("cyx_repaired_bytes_total")? - made_before);
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
