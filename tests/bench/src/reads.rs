//! Small reads of large files that nothing is known of: what each costs, and how many nodes it asks.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use cyx_client::transfer::{Transfer, Tuning};
use cyx_client::{Bucket, Located, TreePath};
use cyx_tests::noise;

use crate::bench::{BUCKET, Bench, runtime, timed, times_figure};
use crate::local::{text, write_noise};
use crate::report::{Budget, Figure, Report};
use crate::usage;
use crate::{Plan, Result, say};

pub(crate) const COLD: &str = "cold read of 4 KiB";
const DEGRADED: &str = "cold read with 4 nodes dead, 4 KiB";
/// Nodes that are dead then.
const DEAD: usize = 4;
/// Bytes that are read at once.
pub(crate) const READ: u64 = 4096;
const SIZE: u64 = 256 << 20;

pub(crate) fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    if ![COLD, DEGRADED].iter().any(|name| plan.wants(name)) {
        return Ok(());
    }
    let bench = Bench::start(plan, &[], &[])?;
    let size = SIZE.min(plan.size);
    let source = bench.user.path("read.bin");
    write_noise(&source, size)?;
    bench.user.ok(["upload", &text(&source)?, "--bucket", BUCKET, "--key", "read", "--durability", "all", "--quiet"]);
    if plan.wants(COLD) {
        report.add(bench.cold_reads(COLD, &source, size)?.budget(Budget::AtMost(3.0)));
    }
    if plan.wants(DEGRADED) {
        (0..DEAD.min(plan.nodes)).for_each(|node| bench.cluster.kill_node(node));
        report.add(bench.cold_reads(DEGRADED, &source, size)?);
    }
    Ok(())
}

impl Bench<'_> {
    fn cold_reads(&self, name: &str, source: &Path, size: u64) -> Result<Figure> {
        say(name);
        let (server, nodes) = self.pids()?;
        let count = self.plan.reads;
        runtime()?.block_on(Box::pin(async {
            let reads = Reads::open(&self.bucket().await?, "read", source).await?;
            let before = (usage::process_time(), usage::total_time(&server)?, usage::total_time(&nodes)?);
            let times = reads.times(count, size).await?;
            let each = |used: Duration| used.as_secs_f64() * 1e6 / count as f64;
            let figure = times_figure(name, &times);
            let figure = figure.part("CPU-us: client", each(usage::process_time() - before.0));
            let figure = figure.part("server", each(usage::total_time(&server)? - before.1));
            Ok(figure.part("nodes", each(usage::total_time(&nodes)? - before.2)))
        }))
    }
}

/// A file and a client that knows the nodes and nothing of the file.
pub(crate) struct Reads {
    /// What was uploaded.
    source: File,
    transfer: Transfer,
    bucket: Bucket,
    located: Located,
}

impl Reads {
    pub(crate) async fn open(bucket: &Bucket, path: &str, source: &Path) -> Result<Self> {
        let transfer = Transfer::new(bucket.client(), None, Tuning::default());
        let located = bucket.resolve(&TreePath::parse(path)?).await?;
        let reads = Self { source: File::open(source)?, transfer, bucket: bucket.clone(), located };
        // Connects to all nodes.
        let reader = reads.transfer.open(&reads.bucket, &reads.located).await?;
        reader.read_range(0..(64 << 20).min(reader.size())).await?;
        Ok(reads)
    }

    /// Milliseconds of reads here and there, each of which asks the server first; the bytes are those that were uploaded.
    pub(crate) async fn times(&self, count: usize, size: u64) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for index in 0..count {
            let at = place(index, size);
            let range = at..at + READ;
            let reading = async {
                let reader = self.transfer.open_at(&self.bucket, &self.located, range.clone()).await?;
                Ok(reader.read_range(range.clone()).await?)
            };
            let (bytes, time) = timed(reading).await?;
            compare(&self.source, at, &bytes, READ.min(size - at))?;
            times.push(time);
        }
        Ok(times)
    }
}

/// Whether a read of `len` bytes gave what was uploaded.
fn compare(source: &File, at: u64, bytes: &[u8], len: u64) -> Result<()> {
    let mut uploaded = vec![0; usize::try_from(len)?];
    source.read_exact_at(&mut uploaded, at)?;
    if bytes == uploaded { Ok(()) } else { Err(format!("a read at {at} gave other bytes").into()) }
}

/// Where the read of this number begins: anywhere, and the same in every run.
fn place(index: usize, size: u64) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&noise(index as u64 ^ 0x5eed, 8));
    u64::from_le_bytes(number) % size.saturating_sub(READ).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_what_was_uploaded_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("source");
        std::fs::write(&path, b"what was uploaded").unwrap();
        let source = File::open(path).unwrap();
        compare(&source, 5, b"was", 3).unwrap();
        for (at, bytes) in [(5, &b"is "[..]), (6, b"was"), (5, b"was ")] {
            compare(&source, at, bytes, 3).unwrap_err();
        }
    }

    #[test]
    fn reads_lie_inside_the_file_and_differ() {
        let places: std::collections::BTreeSet<u64> = (0..100).map(|index| place(index, 1 << 20)).collect();
        assert!(places.len() > 90 && places.iter().all(|at| at + READ <= 1 << 20));
    }
}
