//! One directory that grows: what an entry costs to make, to list and to find, and how much memory that takes, at several sizes.
//! Entries are empty files that are made in large batches, because uploading a million files would measure the local disk.

use std::time::{Duration, Instant};

use cyx_client::tree::change::{MUTATIONS_PER_CALL, NewKind, attributes_now, mutation};
use cyx_client::tree::list::Walked;
use cyx_client::{Bucket, Directory, TreePath};

use crate::bench::{Bench, runtime, times_figure};
use crate::report::{Figure, Report};
use crate::{Result, say, usage};

/// Beginning of the names of all figures.
pub(super) const GROWING: &str = "a directory that grows";
const NAME: &str = "growing";
/// Names that are looked up, from all over the directory.
const LOOKUPS: usize = 2000;

/// Measures at each of the counts, the smallest first; smaller ones are part of larger ones.
pub(super) fn measure(bench: &Bench<'_>, counts: &[usize], report: &mut Report) -> Result<()> {
    let mut counts = counts.to_vec();
    counts.sort_unstable();
    counts.dedup();
    let (server, _) = bench.pids()?;
    runtime()?.block_on(async {
        let bucket = bench.bucket().await?;
        let directory = bucket.make_directory(&TreePath::parse(NAME)?, 0o755).await?;
        let growing = Growing { bucket, directory, server };
        let mut made = 0;
        for count in counts {
            say(&format!("{GROWING}: {count} entries"));
            let step = Step::begin(&growing.server)?;
            growing.make(made, count).await?;
            report.add(step.end("made", made, count)?);
            made = count;

            let step = Step::begin(&growing.server)?;
            growing.list(count).await?;
            report.add(step.end("listed", 0, count)?);

            let before = usage::total_time(&growing.server)?;
            let times = growing.look_up(count).await?;
            let used = (usage::total_time(&growing.server)? - before).as_secs_f64() * 1e6 / times.len() as f64;
            let figure = times_figure(format!("{GROWING}, looked up: {count} entries"), &times);
            report.add(figure.part("the server's CPU-us each", used));
        }
        Ok(())
    })
}

struct Growing {
    bucket: Bucket,
    directory: Directory,
    server: Vec<u32>,
}

impl Growing {
    async fn make(&self, from: usize, to: usize) -> Result<()> {
        let mut at = from;
        while at < to {
            let end = to.min(at + MUTATIONS_PER_CALL);
            let mutations = (at..end).map(|number| {
                let name = name(number);
                let new =
                    self.bucket.prepare(&self.directory, name.as_bytes(), NewKind::File, attributes_now(0o644))?;
                Ok(mutation(vec![new.operation]))
            });
            let mutations = mutations.collect::<Result<Vec<_>>>()?;
            for result in self.bucket.apply(mutations).await? {
                result?;
            }
            at = end;
        }
        Ok(())
    }

    async fn list(&self, count: usize) -> Result<()> {
        let mut walk = self.bucket.list(format!("{NAME}/").as_bytes(), false).await?;
        let mut found = 0;
        while let Some(next) = walk.next().await {
            match next {
                Walked::Item(_) => found += 1,
                Walked::Failed { error, .. } => return Err(error.into()),
            }
        }
        if found != count {
            return Err(format!("{found} of {count} entries were listed").into());
        }
        Ok(())
    }

    /// Milliseconds of each.
    async fn look_up(&self, count: usize) -> Result<Vec<f64>> {
        let mut times = Vec::with_capacity(LOOKUPS);
        for turn in 0..LOOKUPS.min(count) {
            let name = name(turn * count / LOOKUPS.min(count));
            let began = Instant::now();
            if self.bucket.lookup_one(&self.directory, name.as_bytes()).await?.is_none() {
                return Err("an entry that was made is not there".into());
            }
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    }
}

fn name(number: usize) -> String {
    format!("entry-{number:07}")
}

/// What this program and the server use from here on.
struct Step<'a> {
    server: &'a [u32],
    began: Instant,
    own: Duration,
    servers: Duration,
}

impl<'a> Step<'a> {
    fn begin(server: &'a [u32]) -> Result<Self> {
        usage::forget_peak()?;
        server.iter().try_for_each(|pid| usage::forget_peak_of(*pid))?;
        Ok(Self { server, began: Instant::now(), own: usage::process_time(), servers: usage::total_time(server)? })
    }

    /// The figure of the entries between two numbers.
    fn end(self, what: &str, from: usize, to: usize) -> Result<Figure> {
        let entries = to.saturating_sub(from).max(1) as f64;
        let each = |used: Duration| used.as_secs_f64() * 1e6 / entries;
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let figure = Figure::new(format!("{GROWING}, {what}: {to} entries"), each(self.began.elapsed()), "us each");
        let figure = figure.part("its CPU-us", each(usage::process_time().saturating_sub(self.own)));
        let servers = usage::total_time(self.server)?.saturating_sub(self.servers);
        let figure = figure.part("the server's CPU-us", each(servers)).part("its MiB", mebibytes(usage::own_peak()?));
        let peaks = self.server.iter().map(|pid| usage::peak_of(*pid)).collect::<Result<Vec<_>>>()?;
        Ok(figure.part("the server's MiB", mebibytes(peaks.into_iter().max().unwrap_or_default())))
    }
}
