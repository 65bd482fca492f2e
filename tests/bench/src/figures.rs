//! The programs on a cluster of their own: what transfers cost, and how fast many small things go.
//!
//! Costs are processor time, summed over the client, the server and all nodes, user and system, with what they do shortly
//! afterwards. The cluster lies in a temporary folder and is gone in the end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use cyx_client::{Client, Config, Overrides};
use cyx_tests::{Cluster, User, noise};

use crate::raw::median;
use crate::report::{Budget, Figure, Report};
use crate::segments::{self, SEGMENTS};
use crate::usage::{self, Used, total_time};
use crate::{Plan, Result, say};

/// Nodes note things a second after they were asked the last time; this is counted too.
pub(crate) const AFTERWARDS: Duration = Duration::from_millis(1500);
const BUCKET: &str = "bench";
const SMALL: usize = 4096;
const CPU: &str = "CPU-s/GiB";

const UPLOAD: &str = "upload of a large file";
const DOWNLOAD: &str = "download of a large file";
const DEGRADED: &str = "download with dead nodes";
const UPLOAD_TLS: &str = "upload of a large file, TLS";
const DOWNLOAD_TLS: &str = "download of a large file, TLS";
const SMALL_UP: &str = "files of 4 KiB up";
const SMALL_DOWN: &str = "files of 4 KiB down";
const CALLS: &str = "server calls for a warm 4 KiB put";
const LIST_CLI: &str = "listing by the program";
const LIST_INSIDE: &str = "listing inside a program";

pub(crate) fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let bench = Bench::start(plan, &[])?;
    if [UPLOAD, DOWNLOAD, DEGRADED].iter().any(|name| plan.wants(name)) {
        bench.large(report)?;
    }
    if plan.wants(SEGMENTS) {
        say(SEGMENTS);
        let source = bench.user.path("segments.bin");
        write_noise(&source, plan.size)?;
        segments::measure(&bench, &source, report)?;
        std::fs::remove_file(&source)?;
        bench.user.ok(["delete", BUCKET, "segments", "--permanent"]);
    }
    if [SMALL_UP, SMALL_DOWN, CALLS].iter().any(|name| plan.wants(name)) {
        bench.small(report)?;
    }
    if [LIST_CLI, LIST_INSIDE].iter().any(|name| plan.wants(name)) {
        bench.listing(report)?;
    }
    drop(bench);
    if [UPLOAD_TLS, DOWNLOAD_TLS].iter().any(|name| plan.wants(name)) {
        Bench::start(plan, &["--tls"])?.encrypted(report)?;
    }
    Ok(())
}

/// What one command cost, and where.
#[derive(Debug, Clone, Copy)]
struct Cost {
    client: Used,
    server: Duration,
    nodes: Duration,
}

impl Cost {
    fn cpu(&self) -> f64 {
        (self.client.cpu + self.server + self.nodes).as_secs_f64()
    }
}

pub(crate) struct Bench<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) cluster: Cluster,
    pub(crate) user: User,
}

impl<'a> Bench<'a> {
    fn start(plan: &'a Plan, node_args: &[&str]) -> Result<Self> {
        say(&format!("starts a server and {} nodes", plan.nodes));
        let cluster = Cluster::start_with(plan.nodes, &["--plan=enterprise"], node_args);
        let user = cluster.user("bench");
        user.ok(["bucket", "create", BUCKET]);
        Ok(Self { plan, cluster, user })
    }

    /// Runs a command of the user and sums up what all programs spend on it.
    fn cost(&self, args: &[&str]) -> Result<Cost> {
        let (server, nodes) = self.pids()?;
        let before = (total_time(&server)?, total_time(&nodes)?);
        let mut command = self.user.command(args.iter().copied().chain(["--quiet"]));
        let client = usage::run(command.stdout(Stdio::null()))?;
        std::thread::sleep(AFTERWARDS);
        let after = (total_time(&server)?, total_time(&nodes)?);
        Ok(Cost { client, server: after.0.saturating_sub(before.0), nodes: after.1.saturating_sub(before.1) })
    }

    /// Process ids of the server and of the nodes that run.
    pub(crate) fn pids(&self) -> Result<(Vec<u32>, Vec<u32>)> {
        let status = self.cluster.status();
        let pid = |value: &serde_json::Value| value["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        let server = pid(&status["server"]).ok_or("the server does not run")?;
        let nodes = status["nodes"].as_array().ok_or("the status has no nodes")?;
        Ok((vec![server], nodes.iter().filter_map(pid).collect()))
    }

    // ---- One large file ----

    fn large(&self, report: &mut Report) -> Result<()> {
        let source = self.user.path("large.bin");
        write_noise(&source, self.plan.size)?;
        let source_text = text(&source)?;
        let costs = self.uploads(UPLOAD, &source_text)?;
        self.add_costs(report, UPLOAD, &costs, 3.5, report.raw.upload_floor());

        let healthy = self.downloads(DOWNLOAD, &source)?;
        let floor = report.raw.download_floor();
        let reached = self.add_costs(report, DOWNLOAD, &healthy, 3.0, floor);
        if self.plan.wants(DEGRADED) {
            let dead = (self.plan.nodes * 2 / 7).min(4);
            (0..dead).for_each(|node| self.cluster.kill_node(node));
            let degraded = self.downloads(&format!("{DEGRADED}: {dead} of {}", self.plan.nodes), &source)?;
            self.add_costs(
                report,
                &format!("{DEGRADED} ({dead} of {})", self.plan.nodes),
                &degraded,
                1.5 * reached,
                floor,
            );
            (0..dead).for_each(|node| self.cluster.start_node(node));
        }
        std::fs::remove_file(&source)?;
        self.user.ok(["delete", BUCKET, "large-0", "--permanent"]);
        Ok(())
    }

    /// The same over connections to the nodes that are encrypted, as they are off loopback.
    fn encrypted(&self, report: &mut Report) -> Result<()> {
        let source = self.user.path("large.bin");
        write_noise(&source, self.plan.size)?;
        let uploads = self.uploads(UPLOAD_TLS, &text(&source)?)?;
        self.add_costs(report, UPLOAD_TLS, &uploads, 3.5, report.raw.upload_floor());
        let downloads = self.downloads(DOWNLOAD_TLS, &source)?;
        self.add_costs(report, DOWNLOAD_TLS, &downloads, 3.0, report.raw.download_floor());
        Ok(())
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

    /// Adds the cost and the client's memory; returns the cost.
    fn add_costs(&self, report: &mut Report, name: &str, costs: &[Cost], budget: f64, floor: f64) -> f64 {
        let gib = self.plan.size as f64 / (1 << 30) as f64;
        let middle = |value: &dyn Fn(&Cost) -> f64| median(costs.iter().map(value).collect());
        let total = middle(&|cost| cost.cpu() / gib);
        let figure = Figure::new(name, total, CPU).budget(Budget::AtMost(round(budget))).limit(floor);
        let figure = figure
            .part("client", middle(&|cost| cost.client.cpu.as_secs_f64() / gib))
            .part("server", middle(&|cost| cost.server.as_secs_f64() / gib))
            .part("nodes", middle(&|cost| cost.nodes.as_secs_f64() / gib))
            .part("seconds of time", middle(&|cost| cost.client.wall.as_secs_f64()))
            .part("first round", costs.first().map_or(f64::NAN, |cost| cost.cpu() / gib));
        report.add(figure);
        let peak = costs.iter().map(|cost| cost.client.peak).max().unwrap_or_default();
        let memory = Figure::new("  its client's memory", peak as f64 / (1 << 20) as f64, "MiB");
        report.add(memory.budget(Budget::AtMost(200.0)));
        total
    }

    // ---- Many small files ----

    fn small(&self, report: &mut Report) -> Result<()> {
        let count = self.plan.files;
        let folder = self.user.path("small");
        make_files(&folder, count, SMALL)?;
        let folder_text = text(&folder)?;
        say(SMALL_UP);
        let mut up = Vec::new();
        for round in 0..self.plan.rounds {
            up.push(self.cost(&[
                "upload",
                &folder_text,
                "--bucket",
                BUCKET,
                "--key",
                &format!("small-{round}"),
                "-r",
            ])?);
        }
        report.add(self.per_second(SMALL_UP, &up).budget(Budget::AtLeast(1500.0)));

        say(SMALL_DOWN);
        let mut down = Vec::new();
        for round in 0..self.plan.rounds {
            let back = self.user.path("small-back");
            down.push(self.cost(&[
                "download",
                BUCKET,
                "--key",
                &format!("small-{round}"),
                "-r",
                "-o",
                &text(&back)?,
            ])?);
            cyx_tests::tree::assert_same(&folder, &back);
            std::fs::remove_dir_all(&back)?;
        }
        report.add(self.per_second(SMALL_DOWN, &down));

        if self.plan.wants(CALLS) {
            say(CALLS);
            let (few, many) = (self.user.path("few"), self.user.path("many"));
            make_files(&few, 1, SMALL)?;
            make_files(&many, 1 + count, SMALL)?;
            let few = self.calls(&["upload", &text(&few)?, "--bucket", BUCKET, "-r"])?;
            let many = self.calls(&["upload", &text(&many)?, "--bucket", BUCKET, "-r"])?;
            let more = (many.0 - few.0) / count as f64;
            let figure = Figure::new(CALLS, more, "calls").budget(Budget::AtMost(1.0));
            report.add(figure.part("of a whole program run with one file", few.0).part("metrics counted", few.1));
        }
        std::fs::remove_dir_all(&folder)?;
        Ok(())
    }

    fn per_second(&self, name: &str, costs: &[Cost]) -> Figure {
        let count = self.plan.files as f64;
        let middle = |value: &dyn Fn(&Cost) -> f64| median(costs.iter().map(value).collect());
        Figure::new(name, middle(&|cost| count / cost.client.wall.as_secs_f64()), "files/s")
            .part("CPU-ms per file: client", middle(&|cost| cost.client.cpu.as_secs_f64() * 1e3 / count))
            .part("server", middle(&|cost| cost.server.as_secs_f64() * 1e3 / count))
            .part("nodes", middle(&|cost| cost.nodes.as_secs_f64() * 1e3 / count))
    }

    /// Requests that the server answers for a command, and how many of its counters were summed up.
    fn calls(&self, args: &[&str]) -> Result<(f64, f64)> {
        let before = self.requests()?;
        usage::run(self.user.command(args.iter().copied().chain(["--quiet"])).stdout(Stdio::null()))?;
        let after = self.requests()?;
        Ok((after.0 - before.0, after.1))
    }

    /// The server's counters of requests, all methods together but for the question itself.
    fn requests(&self) -> Result<(f64, f64)> {
        let page = http_get(&self.cluster.gateway(), "/metrics")?;
        let mut sum = 0.0;
        let mut counters = 0.0;
        for line in page.lines().filter(|line| line.starts_with("cyx_requests_total") && !line.contains("/metrics")) {
            sum += line.rsplit(' ').next().unwrap_or_default().parse::<f64>()?;
            counters += 1.0;
        }
        if counters > 0.0 { Ok((sum, counters)) } else { Err("the server's metrics count no requests".into()) }
    }

    // ---- A large directory ----

    fn listing(&self, report: &mut Report) -> Result<()> {
        let count = self.plan.entries;
        let folder = self.user.path("entries");
        make_files(&folder, count, 16)?;
        say(&format!("makes {count} entries"));
        self.user.ok(["upload", &text(&folder)?, "--bucket", BUCKET, "--key", "entries", "-r", "--quiet"]);
        say(LIST_CLI);
        let mut walls = Vec::new();
        let mut cpus = Vec::new();
        for _ in 0..5 {
            let cost = self.cost(&["list", BUCKET, "--prefix", "entries/"])?;
            walls.push(cost.client.wall.as_secs_f64() * 1e3);
            cpus.push(cost.client.cpu.as_secs_f64() * 1e3);
        }
        let empty =
            usage::run(self.user.command(["list", BUCKET, "--prefix", "nothing/", "--quiet"]).stdout(Stdio::null()));
        let start = empty.map_or(f64::NAN, |used| used.wall.as_secs_f64() * 1e3);
        let figure =
            Figure::new(format!("{LIST_CLI}: {count} entries"), median(walls), "ms").budget(Budget::AtMost(150.0));
        report.add(figure.part("its CPU-ms", median(cpus)).part("of an empty directory", start));

        say(LIST_INSIDE);
        let times = self.list_inside(count)?;
        report.add(
            Figure::new(format!("{LIST_INSIDE}: {count} entries"), median(times), "ms").budget(Budget::AtMost(150.0)),
        );
        std::fs::remove_dir_all(&folder)?;
        Ok(())
    }

    /// Milliseconds of several listings by a client that is at work already.
    fn list_inside(&self, count: usize) -> Result<Vec<f64>> {
        let (home, gateway) = (self.user.home(), self.cluster.gateway());
        let variable = |name: &str| match name {
            "CYXCLOUD_HOME" => Some(home.clone().into_os_string()),
            "CYXCLOUD_GATEWAY" => Some(gateway.clone().into()),
            _ => None,
        };
        let config = Config::load_from(Overrides::default(), &variable)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async {
            let client = Client::open(&config).await?;
            let bucket = client.bucket(BUCKET).await?;
            let mut times = Vec::new();
            for _ in 0..5 {
                let began = Instant::now();
                let items = bucket.list(b"entries/", false).await?.collect().await?;
                times.push(began.elapsed().as_secs_f64() * 1e3);
                if items.len() != count {
                    return Err(format!("{} of {count} entries were listed", items.len()).into());
                }
            }
            Ok(times)
        })
    }
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| "the temporary folder has an odd name".into())
}

fn write_noise(path: &Path, size: u64) -> Result<()> {
    use std::io::Write as _;
    const PIECE: u64 = 16 << 20;
    let mut file = std::fs::File::create(path)?;
    for at in 0..size.div_ceil(PIECE) {
        file.write_all(&noise(at, usize::try_from(PIECE.min(size - at * PIECE))?))?;
    }
    // Written to the disk now and not while something is measured.
    file.sync_all()?;
    Ok(())
}

fn make_files(folder: &Path, count: usize, size: usize) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for index in 0..count {
        std::fs::write(file_path(folder, index), noise(index as u64, size))?;
    }
    rustix::fs::sync();
    Ok(())
}

fn file_path(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("file-{index:06}"))
}

fn same(left: &Path, right: &Path) -> Result<bool> {
    use std::io::Read as _;
    let (mut left, mut right) = (std::fs::File::open(left)?, std::fs::File::open(right)?);
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    let mut buffers = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = left.read(&mut buffers.0)?;
        if count == 0 {
            return Ok(true);
        }
        right.read_exact(&mut buffers.1[..count])?;
        if buffers.0[..count] != buffers.1[..count] {
            return Ok(false);
        }
    }
}

/// A page over plain HTTP; `base` is `http://HOST:PORT`.
fn http_get(base: &str, path: &str) -> Result<String> {
    use std::io::{Read as _, Write as _};
    let address = base.strip_prefix("http://").ok_or("the gateway is not plain HTTP")?;
    let mut stream = std::net::TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    if page.starts_with("HTTP/1.1 200") { Ok(page) } else { Err(format!("{path} is not there").into()) }
}
