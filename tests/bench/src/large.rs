//! Large files: up, down, with dead nodes, several at a time, over encrypted connections.

use std::path::Path;

use crate::bench::{BUCKET, Bench, CPU, Cost, middle};
use crate::local::{same, text, write_noise};
use crate::report::{Budget, Figure, Report};
use crate::segments::{self, SEGMENTS};
use crate::{Plan, Result, say};

const UPLOAD: &str = "upload of a large file";
const DOWNLOAD: &str = "download of a large file";
const DEGRADED: &str = "download with dead nodes";
const UPLOAD_QUARTER: &str = "upload of a quarter of it";
const DOWNLOAD_QUARTER: &str = "download of a quarter of it";
const UPLOAD_PARALLEL: &str = "ten uploads at once";
const DOWNLOAD_PARALLEL: &str = "ten downloads at once";
const UPLOAD_TLS: &str = "upload of a large file, TLS";
const DOWNLOAD_TLS: &str = "download of a large file, TLS";
/// Files that are moved at the same time.
const PARALLEL: u64 = 10;

/// What is moved and may cost.
struct Moved {
    bytes: u64,
    /// Processor seconds per GiB, of everybody and of the client.
    budgets: Option<(f64, Option<f64>)>,
    floor: f64,
}

pub(crate) fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let any = |names: &[&str]| names.iter().any(|name| plan.wants(name));
    let plain = [UPLOAD, DOWNLOAD, DEGRADED, UPLOAD_QUARTER, DOWNLOAD_QUARTER, UPLOAD_PARALLEL, DOWNLOAD_PARALLEL];
    if any(&plain) || any(&[SEGMENTS]) {
        let bench = Bench::start(plan, &[], &[])?;
        if any(&[UPLOAD, DOWNLOAD, DEGRADED]) {
            bench.large(report)?;
        }
        if any(&[UPLOAD_QUARTER, DOWNLOAD_QUARTER]) {
            bench.quarter(report)?;
        }
        if any(&[UPLOAD_PARALLEL, DOWNLOAD_PARALLEL]) {
            bench.parallel(report)?;
        }
        if any(&[SEGMENTS]) {
            say(SEGMENTS);
            let source = bench.user.path("segments.bin");
            write_noise(&source, plan.size)?;
            segments::measure(&bench, &source, report)?;
            std::fs::remove_file(&source)?;
            bench.user.ok(["delete", BUCKET, "segments", "--permanent"]);
        }
    }
    if any(&[UPLOAD_TLS, DOWNLOAD_TLS]) {
        Bench::start(plan, &[], &["--tls"])?.encrypted(report)?;
    }
    Ok(())
}

impl Bench<'_> {
    fn large(&self, report: &mut Report) -> Result<()> {
        let source = self.user.path("large.bin");
        let bytes = self.plan.size;
        write_noise(&source, bytes)?;
        let costs = self.uploads(UPLOAD, &text(&source)?)?;
        let budgets = Some((2.5, Some(1.0)));
        add_costs(report, UPLOAD, &costs, &Moved { bytes, budgets, floor: report.raw.upload_floor() });
        if ![DOWNLOAD, DEGRADED].iter().any(|name| self.plan.wants(name)) {
            return self.forget(&source);
        }

        let healthy = self.downloads(DOWNLOAD, &source)?;
        let floor = report.raw.download_floor();
        let reached = add_costs(report, DOWNLOAD, &healthy, &Moved { bytes, budgets: Some((2.0, None)), floor });
        if self.plan.wants(DEGRADED) {
            let dead = (self.plan.nodes * 2 / 7).min(4);
            (0..dead).for_each(|node| self.cluster.kill_node(node));
            let name = format!("{DEGRADED}: {dead} of {}", self.plan.nodes);
            let degraded = self.downloads(&name, &source)?;
            add_costs(report, &name, &degraded, &Moved { bytes, budgets: Some((1.5 * reached, None)), floor });
            (0..dead).for_each(|node| self.cluster.start_node(node));
        }
        self.forget(&source)
    }

    /// Whether a smaller file costs as much per GiB.
    fn quarter(&self, report: &mut Report) -> Result<()> {
        let source = self.user.path("quarter.bin");
        let bytes = self.plan.size / 4;
        write_noise(&source, bytes)?;
        let costs = self.uploads(UPLOAD_QUARTER, &text(&source)?)?;
        let moved = Moved { bytes, budgets: Some((2.5, Some(1.0))), floor: report.raw.upload_floor() };
        add_costs(report, UPLOAD_QUARTER, &costs, &moved);
        let costs = self.downloads(DOWNLOAD_QUARTER, &source)?;
        let moved = Moved { bytes, budgets: Some((2.0, None)), floor: report.raw.download_floor() };
        add_costs(report, DOWNLOAD_QUARTER, &costs, &moved);
        self.forget(&source)
    }

    /// Ten files of a tenth in one command each way.
    fn parallel(&self, report: &mut Report) -> Result<()> {
        let folder = self.user.path("ten");
        std::fs::create_dir_all(&folder)?;
        let each = (self.plan.size / PARALLEL).max(1);
        for index in 0..PARALLEL {
            write_noise(&folder.join(format!("{index}.bin")), each)?;
        }
        let folder_text = text(&folder)?;
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for round in 0..self.plan.rounds {
            say(&format!("{UPLOAD_PARALLEL} ({})", round + 1));
            let key = format!("ten-{round}");
            let args = ["upload", &folder_text, "--bucket", BUCKET, "--key", &key, "-r", "--durability", "all"];
            up.push(self.cost(&args)?);
            let back = self.user.path("ten-back");
            down.push(self.cost(&["download", BUCKET, "--key", &key, "-r", "-o", &text(&back)?])?);
            for index in 0..PARALLEL {
                let name = format!("{index}.bin");
                if !same(&folder.join(&name), &back.join(&name))? {
                    return Err(format!("{DOWNLOAD_PARALLEL}: other bytes came back").into());
                }
            }
            std::fs::remove_dir_all(&back)?;
            self.user.ok(["delete", BUCKET, &key, "-r", "--permanent"]);
        }
        let bytes = each * PARALLEL;
        let moved = Moved { bytes, budgets: Some((2.5, Some(1.0))), floor: report.raw.upload_floor() };
        add_costs(report, UPLOAD_PARALLEL, &up, &moved);
        let moved = Moved { bytes, budgets: Some((2.0, None)), floor: report.raw.download_floor() };
        add_costs(report, DOWNLOAD_PARALLEL, &down, &moved);
        std::fs::remove_dir_all(&folder)?;
        Ok(())
    }

    /// The same over connections to the nodes that are encrypted, as they are off loopback.
    fn encrypted(&self, report: &mut Report) -> Result<()> {
        let source = self.user.path("large.bin");
        let bytes = self.plan.size;
        write_noise(&source, bytes)?;
        let uploads = self.uploads(UPLOAD_TLS, &text(&source)?)?;
        add_costs(report, UPLOAD_TLS, &uploads, &Moved { bytes, budgets: None, floor: report.raw.upload_floor() });
        let downloads = self.downloads(DOWNLOAD_TLS, &source)?;
        let moved = Moved { bytes, budgets: None, floor: report.raw.download_floor() };
        add_costs(report, DOWNLOAD_TLS, &downloads, &moved);
        self.forget(&source)
    }

    /// Uploads `source` in every round; the first one stays, as `large-0`.
    fn uploads(&self, name: &str, source: &str) -> Result<Vec<Cost>> {
        let mut costs = Vec::new();
        for round in 0..self.plan.rounds {
            say(&format!("{name} ({})", round + 1));
            let key = format!("large-{round}");
            costs.push(self.cost(&["upload", source, "--bucket", BUCKET, "--key", &key, "--durability", "all"])?);
            if round > 0 {
                self.user.ok(["delete", BUCKET, &key, "--permanent"]);
            }
        }
        Ok(costs)
    }

    /// Downloads `large-0` in every round and compares it with what was uploaded.
    fn downloads(&self, name: &str, source: &Path) -> Result<Vec<Cost>> {
        let back = self.user.path("back.bin");
        let back_text = text(&back)?;
        let mut costs = Vec::new();
        for round in 0..self.plan.rounds {
            say(&format!("{name} ({})", round + 1));
            costs.push(self.cost(&["download", BUCKET, "--key", "large-0", "-o", &back_text])?);
            if !same(source, &back)? {
                return Err(format!("{name}: other bytes came back").into());
            }
            std::fs::remove_file(&back)?;
        }
        Ok(costs)
    }

    fn forget(&self, source: &Path) -> Result<()> {
        std::fs::remove_file(source)?;
        self.user.ok(["delete", BUCKET, "large-0", "--permanent"]);
        Ok(())
    }
}

/// Adds the cost and everybody's memory; returns the cost.
fn add_costs(report: &mut Report, name: &str, costs: &[Cost], moved: &Moved) -> f64 {
    let gib = moved.bytes as f64 / (1 << 30) as f64;
    let total = middle(costs, |cost| cost.cpu() / gib);
    let client = middle(costs, |cost| cost.client.cpu.as_secs_f64() / gib);
    let mut figure = Figure::new(name, total, CPU).limit(moved.floor);
    if let Some((budget, _)) = moved.budgets {
        figure = figure.budget(Budget::AtMost((budget * 100.0).round() / 100.0));
    }
    let figure = figure
        .part("client", client)
        .part("server", middle(costs, |cost| cost.server.as_secs_f64() / gib))
        .part("nodes", middle(costs, |cost| cost.nodes.as_secs_f64() / gib))
        .part("seconds of time", middle(costs, |cost| cost.client.wall.as_secs_f64()))
        .part("first round", costs.first().map_or(f64::NAN, |cost| cost.cpu() / gib));
    report.add(figure);
    if let Some((_, Some(budget))) = moved.budgets {
        report.add(Figure::new(format!("{name}: the client's part"), client, CPU).budget(Budget::AtMost(budget)));
    }
    let most =
        |value: &dyn Fn(&Cost) -> u64| costs.iter().map(value).max().unwrap_or_default() as f64 / (1 << 20) as f64;
    let memory = Figure::new(format!("{name}: the client's memory"), most(&|cost| cost.client.peak), "MiB");
    report.add(memory.budget(Budget::AtMost(128.0)).part("the server's", most(&|cost| cost.server_peak)));
    let memory = Figure::new(format!("{name}: a node's memory"), most(&|cost| cost.node_peak), "MiB");
    report.add(memory.budget(Budget::AtMost(64.0)));
    total
}
