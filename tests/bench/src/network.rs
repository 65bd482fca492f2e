//! Long, narrow and lossy ways between the client and everything else: what passes over them, how often somebody waits for an answer, and
//! what they do to large transfers and to small reads. See [`crate::ways`] for what the ways are.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use cyx_client::transfer::{PutOptions, Silent, Source, Transfer, Tuning};
use cyx_client::tree::change::RenameOptions;
use cyx_client::{Bucket, TreePath};
use cyx_tests::noise;

use crate::bench::{BUCKET, Bench, runtime, timed, times_figure};
use crate::local::{make_files, text, write_noise};
use crate::raw::median;
use crate::reads::{READ, Reads};
use crate::report::{Budget, Figure, Report};
use crate::ways::{Conditions, Ways};
use crate::{Plan, Result, say, usage};

const WIRE: &str = "on the wire";
const WAITS: &str = "waits for an answer";
const LINK: &str = "link of 200 Mbit/s";
const SLOW_NODE: &str = "upload with one node at 1 Mbit/s";
/// Bytes a second of the link.
const WIDTH: f64 = 200e6 / 8.0;
/// Of the slow node.
const TRICKLE: f64 = 1e6 / 8.0;
/// Bytes of the large file.
const SIZE: u64 = 256 << 20;
/// Bytes that are moved over a link for each millisecond of its round trip: its beginning, which takes some round trips, is then as small a part
/// of each transfer. Bare connections are measured after theirs.
const ROUND_TRIP_BYTES: u64 = 12 << 20;
/// Round trip at which waits are counted: long beside everything else.
const FAR: Duration = Duration::from_millis(100);
/// Round trips in milliseconds, and shares of packets that are lost.
const LINKS: [(u64, f64); 4] = [(20, 0.0), (100, 0.0), (20, 0.01), (100, 0.01)];
/// Clients that make small reads at the same time; each knows only its own connections.
const READERS: usize = 4;
/// Bare connections beside which the link's figures are shown: as many as a segment has shards to read.
const CONNECTIONS: usize = 10;

pub(crate) fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    if ![WIRE, WAITS, LINK, SLOW_NODE].iter().any(|name| plan.wants_some(name)) {
        return Ok(());
    }
    let (bench, ways) = Ways::to_cluster(plan)?;
    let far = Far { bench, ways };
    if plan.wants_some(WIRE) {
        far.wire(report)?;
    }
    if plan.wants_some(WAITS) {
        far.waits(report)?;
    }
    if plan.wants_some(LINK) {
        for (round_trip, loss) in LINKS {
            // Nothing is lost in proxies.
            if loss == 0.0 || far.ways.link().is_some() {
                far.link(round_trip, loss, report)?;
            }
        }
    }
    if plan.wants(SLOW_NODE) {
        far.slow_node(report)?;
    }
    Ok(())
}

struct Far<'a> {
    bench: Bench<'a>,
    // The last to go: the cluster is stopped from where it can be reached.
    ways: Ways,
}

/// Bytes that went to the server and came from it, to the nodes and from them, and how many nodes were asked.
#[derive(Clone, Copy)]
struct Passed {
    server: [u64; 2],
    nodes: [u64; 2],
    asked: usize,
}

impl Far<'_> {
    fn near(&self) {
        self.ways.set(Conditions::default());
    }

    async fn passed<T>(&self, work: impl Future<Output = Result<T>>) -> Result<(T, Passed)> {
        let before = self.ways.counts();
        let value = Box::pin(work).await?;
        let after = self.ways.counts().into_iter();
        let mut grown = after.zip(before).map(|(after, before)| [after[0] - before[0], after[1] - before[1]]);
        let mut passed = Passed { server: grown.next().unwrap_or_default(), nodes: [0; 2], asked: 0 };
        for [there, back] in grown {
            passed.nodes = [passed.nodes[0] + there, passed.nodes[1] + back];
            // Less than this is upkeep of a connection.
            passed.asked += usize::from(back > READ / 2);
        }
        Ok((value, passed))
    }

    // ---- What passes ----

    fn wire(&self, report: &mut Report) -> Result<()> {
        self.near();
        let size = SIZE.min(self.bench.plan.size);
        let source = self.bench.user.path("wire.bin");
        write_noise(&source, size)?;
        let folder = self.bench.user.path("wire");
        let count = self.bench.plan.entries.iter().copied().min().unwrap_or(1).min(10_000);
        make_files(&folder, count, 16)?;
        self.bench.user.ok(["upload", &text(&folder)?, "--bucket", BUCKET, "--key", "wire", "-r", "--quiet"]);
        runtime()?.block_on(Box::pin(async {
            let bucket = self.bench.bucket().await?;
            let mut add = |name: &str, passed: Passed, divisor: f64, unit: &'static str| {
                let all: u64 = passed.server.iter().chain(&passed.nodes).sum();
                report.add(
                    Figure::new(format!("{WIRE}: {name}"), all as f64 / divisor, unit)
                        .part("to the server", passed.server[0] as f64 / divisor)
                        .part("from it", passed.server[1] as f64 / divisor)
                        .part("to the nodes", passed.nodes[0] as f64 / divisor)
                        .part("from them", passed.nodes[1] as f64 / divisor)
                        .part("nodes that sent something", passed.asked as f64),
                );
            };
            say(&format!("{WIRE}: bytes"));
            let path = TreePath::parse("large")?;
            let (_, passed) = self.passed(put(&bucket, &path, &source, size, true)).await?;
            add("upload of a large file, of its size", passed, size as f64, "times");
            let (_, passed) = self.passed(get(&bucket, &path)).await?;
            add("download of it, of its size", passed, size as f64, "times");
            let reads = Reads::open(&bucket, "large", &source).await?;
            let (_, passed) = self.passed(reads.times(1, size)).await?;
            add("one cold read of 4 KiB", passed, 1.0, "bytes");
            put_small(&bucket, "first").await?;
            let (_, passed) = self.passed(put_small(&bucket, "second")).await?;
            add("one put of 4 KiB", passed, 1.0, "bytes");
            let listing = async { Ok(bucket.list(b"wire/", false).await?.collect().await?) };
            let (_, passed) = self.passed(listing).await?;
            add("a listing, each entry", passed, count as f64, "bytes");
            Ok(())
        }))
    }

    // ---- How often somebody waits ----

    fn waits(&self, report: &mut Report) -> Result<()> {
        self.near();
        let folder = self.bench.user.path("waits");
        make_files(&folder, 20, 5000)?;
        let folder_text = text(&folder)?;
        self.bench.user.ok(["upload", &folder_text, "--bucket", BUCKET, "--key", "waits", "-r", "--quiet"]);
        let one = text(&crate::local::file_path(&folder, 1))?;
        let back = text(&self.bench.user.path("waits-back"))?;
        let programs: [(&str, Vec<&str>); 4] = [
            ("cyx list", vec!["list", BUCKET, "--prefix", "waits/"]),
            ("cyx upload, one file", vec!["upload", &one, "--bucket", BUCKET, "--key", "waits/one", "--checksum"]),
            ("cyx download, one file", vec!["download", BUCKET, "--key", "waits/file-000002", "-o", &back]),
            ("cyx upload -r, 20 files", vec!["upload", &folder_text, "--bucket", BUCKET, "--key", "again", "-r"]),
        ];
        for (name, args) in programs {
            if !self.bench.plan.wants(&format!("{WAITS}: {name}")) {
                continue;
            }
            say(&format!("{WAITS}: {name}"));
            let run = |_| {
                let _ = std::fs::remove_file(&back);
                if name.contains("-r") {
                    // May not be there yet.
                    let _ = self.bench.user.cyx(["delete", BUCKET, "again", "-r", "--permanent"]);
                }
                let mut command = self.bench.user.command(args.iter().copied().chain(["--quiet"]));
                Ok(usage::run(command.stdout(Stdio::null()))?.wall.as_secs_f64())
            };
            let [near, far] = self.both(|| (0..3).map(run).collect::<Result<Vec<f64>>>())?;
            report.add(waits_figure(name, near, far));
        }
        let runtime = runtime()?;
        let bucket = runtime.block_on(self.bench.bucket())?;
        let mut number = 0;
        for name in ["look a name up", "put 4 KiB", "rename", "list a directory", "cold read of 4 KiB"] {
            if !self.bench.plan.wants(&format!("{WAITS}: {name}")) {
                continue;
            }
            say(&format!("{WAITS}: {name}"));
            let [near, far] = self.both(|| {
                let mut times = Vec::new();
                for _ in 0..3 {
                    number += 1;
                    times.push(runtime.block_on(operation(name, &bucket, &folder, number))? / 1e3);
                }
                Ok(times)
            })?;
            report.add(waits_figure(name, near, far));
        }
        Ok(())
    }

    /// Seconds at home and far away, the medians.
    fn both(&self, mut times: impl FnMut() -> Result<Vec<f64>>) -> Result<[f64; 2]> {
        let mut medians = [0.0; 2];
        for (place, round_trip) in [Duration::ZERO, FAR].into_iter().enumerate() {
            self.ways.set(Conditions { round_trip, ..Conditions::default() });
            medians[place] = median(times()?);
        }
        self.near();
        Ok(medians)
    }

    // ---- A long link ----

    fn link(&self, round_trip: u64, loss: f64, report: &mut Report) -> Result<()> {
        let lost = if loss > 0.0 { format!(", {:.0} % lost", loss * 100.0) } else { String::new() };
        let name = |what: &str| format!("{LINK}, {round_trip} ms{lost}: {what}");
        let (up, down, reads, slow) =
            (name("upload fills"), name("download fills"), name("cold reads of 4 KiB"), name("p99 of them"));
        let (moves, asks) =
            ([&up, &down].iter().any(|name| self.bench.plan.wants(name)), self.bench.plan.wants(&reads));
        if !moves && !asks {
            return Ok(());
        }
        let size = (ROUND_TRIP_BYTES * round_trip).min(self.bench.plan.size);
        let source = self.bench.user.path("link.bin");
        write_noise(&source, size)?;
        let conditions = Conditions {
            round_trip: Duration::from_millis(round_trip),
            width: Some(WIDTH),
            loss,
            ..Conditions::default()
        };
        self.ways.set(conditions);
        let bare = if moves { self.bare(&name("bare TCP"))? } else { Vec::new() };
        let path = TreePath::parse(format!("link-{round_trip}-{:.0}", loss * 100.0))?;
        let runtime = runtime()?;
        let bucket = runtime.block_on(self.bench.bucket())?;
        say(&name("one stream each way"));
        let share = |bytes: f64, milliseconds: f64| bytes / (milliseconds / 1e3) / WIDTH * 100.0;
        // Parity is content too, and all of it is stored when the upload is done. What is lost and sent again, and the heads of packets, are
        // none.
        let coded = if self.bench.plan.nodes >= 14 { 1.4 } else { f64::NAN };
        let figure = |name: &str, bytes: f64, time: f64, passed: u64| {
            let figure = Figure::new(name, share(bytes, time), "%").budget(Budget::AtLeast(85.0));
            let figure = bare.iter().fold(figure, |figure, (name, value)| figure.part(name, *value));
            figure.part("seconds", time / 1e3).part("with heads and what was sent again", share(passed as f64, time))
        };
        let ((_, time), passed) = runtime.block_on(self.passed(timed(put(&bucket, &path, &source, size, true))))?;
        if moves {
            report.add(figure(&up, size as f64 * coded, time, passed.nodes[0]));
            let ((_, time), passed) = runtime.block_on(self.passed(timed(get(&bucket, &path))))?;
            report.add(figure(&down, size as f64, time, passed.nodes[1]));
        }
        if asks {
            say(&reads);
            let times = runtime.block_on(self.small_reads(&path, &source, size))?;
            let figure = times_figure(reads, &times);
            let late = figure.value_of("p99") / median(times);
            report.add(figure);
            report.add(Figure::new(slow, late, "times p50").budget(Budget::AtMost(3.0)));
        }
        std::fs::remove_file(&source)?;
        self.near();
        Ok(())
    }

    /// How much of the link bare connections fill with each congestion control, in percent.
    fn bare(&self, name: &str) -> Result<Vec<(String, f64)>> {
        let Some(link) = self.ways.link() else { return Ok(Vec::new()) };
        let usual = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")?;
        let mut shares = Vec::new();
        for control in ["cubic", "reno", "bbr"] {
            say(&format!("{name}, {control}"));
            // Not every kernel has every one, or lets namespaces choose it.
            if link.set_congestion(control).is_ok() {
                shares.push((format!("bare TCP, {control}"), link.bare(CONNECTIONS)? / WIDTH * 100.0));
            }
        }
        link.set_congestion(usual.trim())?;
        Ok(shares)
    }

    /// Milliseconds of small reads by several clients.
    async fn small_reads(&self, path: &TreePath, source: &Path, size: u64) -> Result<Vec<f64>> {
        let mut readers = Vec::new();
        for _ in 0..READERS {
            readers.push(Reads::open(&self.bench.bucket().await?, &path.to_string(), source).await?);
        }
        let count = (self.bench.plan.reads / 10).max(10);
        let reading = readers.iter().map(|reads| reads.times(count, size));
        let times: Vec<Vec<f64>> = futures_util::future::try_join_all(reading).await?;
        Ok(times.concat())
    }

    // ---- One slow node ----

    fn slow_node(&self, report: &mut Report) -> Result<()> {
        let size = SIZE.min(self.bench.plan.size);
        let source = self.bench.user.path("slow.bin");
        write_noise(&source, size)?;
        let mut times = [Vec::new(), Vec::new()];
        runtime()?.block_on(Box::pin(async {
            for round in 0..self.bench.plan.rounds.max(2) {
                for slow in [false, true] {
                    say(&format!("{SLOW_NODE}: {} ({})", if slow { "slow" } else { "healthy" }, round + 1));
                    self.ways.set(Conditions {
                        round_trip: Duration::from_millis(20),
                        width: Some(WIDTH),
                        slow_node: slow.then_some((0, TRICKLE)),
                        ..Conditions::default()
                    });
                    // A client that knows nothing of the nodes yet.
                    let bucket = self.bench.bucket().await?;
                    let path = TreePath::parse(format!("slow-{round}-{slow}"))?;
                    let ((), time) = timed(put(&bucket, &path, &source, size, false)).await?;
                    times[usize::from(slow)].push(time / 1e3);
                }
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        }))?;
        self.near();
        std::fs::remove_file(&source)?;
        let [healthy, slow] = times.map(median);
        let figure = Figure::new(SLOW_NODE, slow / healthy, "times").budget(Budget::AtMost(1.1));
        report.add(figure.part("seconds", slow).part("without it", healthy));
        Ok(())
    }
}

fn waits_figure(name: &str, near: f64, far: f64) -> Figure {
    let waits = (far - near) / FAR.as_secs_f64();
    Figure::new(format!("{WAITS}: {name}"), waits, "trips").part("ms at home", near * 1e3).part("far away", far * 1e3)
}

/// Uploads a file with an engine of its own; with `all_shards` nothing of it is on its way any more when this returns.
async fn put(bucket: &Bucket, path: &TreePath, source: &Path, size: u64, all_shards: bool) -> Result<()> {
    let transfer = Transfer::new(bucket.client(), None, Tuning::default());
    let uploads = transfer.uploads(bucket);
    let place = uploads.place(path).await?;
    let file = std::fs::File::open(source)?;
    let options = PutOptions { all_shards, ..PutOptions::default() };
    uploads.put(place, Source::File(file), Some(size), &options, &Silent).await?;
    uploads.finish().await;
    Ok(())
}

async fn put_small(bucket: &Bucket, name: &str) -> Result<()> {
    let transfer = Transfer::new(bucket.client(), None, Tuning::default());
    let uploads = transfer.uploads(bucket);
    let place = uploads.place(&TreePath::parse(name)?).await?;
    let source = Source::Bytes(Bytes::from(noise(1, 4096)));
    uploads.put(place, source, Some(4096), &PutOptions::default(), &Silent).await?;
    Ok(())
}

async fn get(bucket: &Bucket, path: &TreePath) -> Result<()> {
    let transfer = Transfer::new(bucket.client(), None, Tuning::default());
    let reader = transfer.open(bucket, &bucket.resolve(path).await?).await?;
    reader.copy_to(0..reader.size(), std::io::sink(), &Silent).await?;
    Ok(())
}

/// Milliseconds of something that a client at work does.
///
/// `folder` is what was uploaded as `waits`.
async fn operation(name: &str, bucket: &Bucket, folder: &Path, number: u64) -> Result<f64> {
    let index = usize::try_from(number % 20)?;
    let path = TreePath::parse(format!("waits/file-{index:06}"))?;
    let ((), time) = match name {
        "look a name up" => timed(async { Ok(bucket.resolve(&path).await.map(drop)?) }).await?,
        "put 4 KiB" => timed(put_small(bucket, &format!("waits/put-{number}"))).await?,
        "rename" => {
            let (from, to) = (format!("waits/from-{number}"), TreePath::parse(format!("waits/to-{number}"))?);
            put_small(bucket, &from).await?;
            let from = TreePath::parse(from)?;
            timed(async { Ok(bucket.rename(&from, &to, RenameOptions::default()).await?) }).await?
        }
        "list a directory" => {
            timed(async { Ok(bucket.list(b"waits/", false).await?.collect().await.map(drop)?) }).await?
        }
        _ => {
            // Warm connections, an unknown file.
            let source = crate::local::file_path(folder, index);
            let reads = Reads::open(bucket, &path.to_string(), &source).await?;
            ((), reads.times(1, 5000).await?[0])
        }
    };
    Ok(time)
}
