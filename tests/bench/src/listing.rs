//! Listing large directories, by the program and by a client that is at work already, and what starting the program takes.

mod growing;

use std::process::Stdio;

use crate::bench::{BUCKET, Bench, runtime, timed};
use crate::local::{make_files, text};
use crate::raw::median;
use crate::report::{Budget, Figure, Report};
use crate::usage::{self, Used};
use crate::{Plan, Result, say};

const START: &str = "start of the program, to an empty listing";
const PROGRAM: &str = "listing by the program";
const INSIDE: &str = "listing inside a program";
const ROUNDS: usize = 7;

pub(crate) fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    if ![START, PROGRAM, INSIDE, growing::GROWING].iter().any(|name| plan.wants(name)) {
        return Ok(());
    }
    let bench = Bench::start(plan, &[], &[])?;
    if plan.wants(START) {
        say(START);
        let runs = bench.lists("nothing/")?;
        let figure = Figure::new(START, wall(&runs), "ms").budget(Budget::AtMost(50.0));
        report.add(figure.part("its CPU-ms", cpu(&runs)));
    }
    if [PROGRAM, INSIDE].iter().any(|name| plan.wants(name)) {
        for count in &plan.entries {
            bench.listing(*count, report)?;
        }
    }
    if plan.wants(growing::GROWING) {
        growing::measure(&bench, &plan.entries, report)?;
    }
    Ok(())
}

impl Bench<'_> {
    fn listing(&self, count: usize, report: &mut Report) -> Result<()> {
        let key = format!("entries-{count}");
        let folder = self.user.path(&key);
        say(&format!("makes {count} entries"));
        make_files(&folder, count, 16)?;
        self.user.ok(["upload", &text(&folder)?, "--bucket", BUCKET, "--key", &key, "-r", "--quiet"]);
        std::fs::remove_dir_all(&folder)?;
        // In proportion to the ten thousand for which they are stated.
        let budget = |milliseconds: f64| Budget::AtMost(milliseconds * (count as f64 / 10_000.0).max(1.0));

        say(&format!("{PROGRAM}: {count} entries"));
        let (server, _) = self.pids()?;
        let before = usage::total_time(&server)?;
        let runs = self.lists(&format!("{key}/"))?;
        let on_server = (usage::total_time(&server)? - before).as_secs_f64() * 1e3 / ROUNDS as f64;
        let figure = Figure::new(format!("{PROGRAM}: {count} entries"), wall(&runs), "ms").budget(budget(150.0));
        report.add(figure.part("its CPU-ms", cpu(&runs)).part("the server's CPU-ms", on_server));

        say(&format!("{INSIDE}: {count} entries"));
        let before = (usage::process_time(), usage::total_time(&server)?);
        let times = runtime()?.block_on(self.list_inside(&format!("{key}/"), count))?;
        let each = |used: std::time::Duration| used.as_secs_f64() * 1e3 / ROUNDS as f64;
        let figure = Figure::new(format!("{INSIDE}: {count} entries"), median(times), "ms").budget(budget(80.0));
        let figure = figure.part("its CPU-ms", each(usage::process_time() - before.0));
        report.add(figure.part("the server's CPU-ms", each(usage::total_time(&server)? - before.1)));
        Ok(())
    }

    /// What several runs of the program use.
    fn lists(&self, prefix: &str) -> Result<Vec<Used>> {
        let run = |_| {
            let mut command = self.user.command(["list", BUCKET, "--prefix", prefix, "--quiet"]);
            usage::run(command.stdout(Stdio::null()))
        };
        (0..ROUNDS).map(run).collect()
    }

    /// Milliseconds of several listings by one client.
    async fn list_inside(&self, prefix: &str, count: usize) -> Result<Vec<f64>> {
        let bucket = self.bucket().await?;
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let listing = async { Ok(bucket.list(prefix.as_bytes(), false).await?.collect().await?) };
            let (items, time) = timed(listing).await?;
            if items.len() != count {
                return Err(format!("{} of {count} entries were listed", items.len()).into());
            }
            times.push(time);
        }
        Ok(times)
    }
}

fn wall(runs: &[Used]) -> f64 {
    median(runs.iter().map(|used| used.wall.as_secs_f64() * 1e3).collect())
}

fn cpu(runs: &[Used]) -> f64 {
    median(runs.iter().map(|used| used.cpu.as_secs_f64() * 1e3).collect())
}
