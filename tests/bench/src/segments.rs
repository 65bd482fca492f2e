//! How large the segments of large files should be: the same file up and down in segments of several sizes, by a client inside
//! this program. [`cyx_client::transfer::Tuning`] has what came of it.

use std::path::Path;
use std::time::Duration;

use cyx_client::TreePath;
use cyx_client::transfer::{PutOptions, Silent, Source, Transfer, Tuning};
use cyx_core::units::{FRAMES_PER_SHARD, FRAMES_PER_SHARD_MAX, MIB};

use crate::Result;
use crate::bench::{BUCKET, Bench, runtime};
use crate::raw::median;
use crate::report::{Figure, Report};
use crate::usage;

pub(crate) const SEGMENTS: &str = "segments of";

/// Frames of each of the ten data shards.
const SIZES: [u64; 4] = [FRAMES_PER_SHARD, 2 * FRAMES_PER_SHARD, 4 * FRAMES_PER_SHARD, FRAMES_PER_SHARD_MAX];

/// What one direction cost.
struct Cost {
    client: Duration,
    nodes: Duration,
    wall: Duration,
}

pub(crate) fn measure(bench: &Bench<'_>, source: &Path, report: &mut Report) -> Result<()> {
    let runtime = runtime()?;
    for frames in SIZES {
        let segment = frames * 10 * cyx_core::units::FRAME_PLAIN / MIB;
        let mut costs = (Vec::new(), Vec::new());
        let mut peak = 0;
        for _ in 0..bench.plan.rounds {
            usage::forget_peak()?;
            let (up, down) = runtime.block_on(round(bench, source, frames))?;
            costs.0.push(up);
            costs.1.push(down);
            peak = peak.max(usage::own_peak()?);
        }
        for (direction, costs) in [("up", costs.0), ("down", costs.1)] {
            let gib = bench.plan.size as f64 / (1 << 30) as f64;
            let middle = |value: &dyn Fn(&Cost) -> Duration| {
                median(costs.iter().map(|cost| value(cost).as_secs_f64()).collect())
            };
            let total = middle(&|cost| cost.client + cost.nodes) / gib;
            let figure = Figure::new(format!("{SEGMENTS} {segment} MiB, {direction}"), total, "CPU-s/GiB")
                .part("client", middle(&|cost| cost.client) / gib)
                .part("nodes", middle(&|cost| cost.nodes) / gib)
                .part("seconds of time", middle(&|cost| cost.wall))
                .part("MiB of memory, both ways", peak as f64 / MIB as f64);
            report.add(figure);
        }
    }
    Ok(())
}

/// One file up and down again.
async fn round(bench: &Bench<'_>, source: &Path, frames: u64) -> Result<(Cost, Cost)> {
    let client = bench.client().await?;
    let bucket = client.bucket(BUCKET).await?;
    let tuning = Tuning::default();
    // At least two coded segments, so that one is sealed while another is sent.
    let coded = frames * 14 * cyx_core::units::FRAME_SEALED;
    let tuning = Tuning { frames_large: frames * 10, memory: tuning.memory.max(2 * coded + 2 * MIB), ..tuning };
    let transfer = Transfer::new(&client, None, tuning);
    let path = TreePath::parse(b"segments")?;

    let uploads = transfer.uploads(&bucket);
    let place = uploads.place(&path).await?;
    let options = PutOptions { all_shards: true, ..PutOptions::default() };
    let up = bench
        .inside(async {
            let file = std::fs::File::open(source)?;
            uploads.put(place, Source::File(file), Some(bench.plan.size), &options, &Silent).await?;
            uploads.finish().await;
            Ok(())
        })
        .await?;
    let located = bucket.resolve(&path).await?;
    let down = bench
        .inside(async {
            let reader = transfer.open(&bucket, &located).await?;
            reader.copy_to(0..reader.size(), std::io::sink(), &Silent).await?;
            Ok(())
        })
        .await?;
    Ok((up, down))
}

impl Bench<'_> {
    /// What a transfer inside this program costs.
    async fn inside(&self, work: impl Future<Output = Result<()>>) -> Result<Cost> {
        let (_, nodes) = self.pids()?;
        let (began, before) = (std::time::Instant::now(), (usage::process_time(), usage::total_time(&nodes)?));
        work.await?;
        let (wall, client) = (began.elapsed(), usage::process_time().saturating_sub(before.0));
        tokio::time::sleep(crate::bench::AFTERWARDS).await;
        Ok(Cost { client, nodes: usage::total_time(&nodes)?.saturating_sub(before.1), wall })
    }
}
