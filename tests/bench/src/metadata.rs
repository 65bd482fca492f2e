//! How many names a second the server makes durable and finds, for several numbers of clients, each with a connection of its own.

use std::time::{Duration, Instant};

use cyx_client::tree::change::{NewKind, attributes_now};
use cyx_client::{Bucket, Directory, TreePath};

use crate::bench::{Bench, runtime, times_figure};
use crate::report::{Budget, Figure, Report};
use crate::usage;
use crate::{Plan, Result, say};

const CREATES: &str = "names made, each durable";
const LOOKUPS: &str = "names looked up";
const CLIENTS: [usize; 3] = [1, 16, 64];
/// Commits a second that the server should reach.
const GOAL: f64 = 5000.0;

pub(crate) fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    if ![CREATES, LOOKUPS].iter().any(|name| plan.wants(name)) {
        return Ok(());
    }
    on(&Bench::start(plan, &[], &[])?, "SQLite", report)?;
    // An empty database; what is measured stays in it.
    if let Some(url) = std::env::var_os("DATABASE_URL") {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("url");
        std::fs::write(&file, url.as_encoded_bytes())?;
        let argument = format!("--database-url-file={}", file.display());
        on(&Bench::start(plan, &[&argument], &[])?, "PostgreSQL", report)?;
    }
    Ok(())
}

fn on(bench: &Bench<'_>, database: &str, report: &mut Report) -> Result<()> {
    let (server, _) = bench.pids()?;
    runtime()?.block_on(async {
        for clients in CLIENTS {
            say(&format!("metadata, {clients} clients, {database}"));
            let mut callers = Vec::new();
            for index in 0..clients {
                callers.push(Caller::open(bench, &format!("{clients}-{index}")).await?);
            }
            for (what, make) in [(CREATES, true), (LOOKUPS, false)] {
                let before = usage::total_time(&server)?;
                let (times, rate) = all(&mut callers, make, bench.plan.metadata_time).await?;
                let used = usage::total_time(&server)? - before;
                let figure = Figure::new(format!("{what}: {clients} clients, {database}"), rate, "/s");
                let figure = if make && clients == 64 { figure.budget(Budget::AtLeast(GOAL)) } else { figure };
                let figure = figure.parts_of(&times_figure("", &times), "median ms");
                report.add(figure.part("the server's CPU-us each", used.as_secs_f64() * 1e6 / times.len() as f64));
            }
        }
        Ok(())
    })
}

/// One client with a directory of its own.
struct Caller {
    bucket: Bucket,
    directory: Directory,
    made: u64,
}

impl Caller {
    async fn open(bench: &Bench<'_>, name: &str) -> Result<Self> {
        let bucket = bench.bucket().await?;
        let directory = bucket.make_directory(&TreePath::parse(name)?, 0o755).await?;
        Ok(Self { bucket, directory, made: 0 })
    }

    async fn make(&mut self) -> Result<()> {
        let name = format!("name-{}", self.made);
        let new = self.bucket.prepare(&self.directory, name.as_bytes(), NewKind::Directory, attributes_now(0o755))?;
        self.bucket.apply_one(vec![new.operation]).await?;
        self.made += 1;
        Ok(())
    }

    async fn look_up(&self, number: u64) -> Result<()> {
        let name = format!("name-{}", number % self.made.max(1));
        match self.bucket.lookup_one(&self.directory, name.as_bytes()).await? {
            Some(_) => Ok(()),
            None => Err("a name that was made is not there".into()),
        }
    }

    /// Milliseconds of one call after the other until `end`.
    async fn run(mut self, make: bool, end: Instant) -> Result<(Self, Vec<f64>)> {
        let mut times = Vec::new();
        while Instant::now() < end {
            let began = Instant::now();
            match make {
                true => self.make().await?,
                false => self.look_up(times.len() as u64).await?,
            }
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        Ok((self, times))
    }
}

/// All clients at once: how long each call took, and calls a second.
async fn all(callers: &mut Vec<Caller>, make: bool, time: Duration) -> Result<(Vec<f64>, f64)> {
    let began = Instant::now();
    let tasks: Vec<_> = callers.drain(..).map(|caller| tokio::spawn(caller.run(make, began + time))).collect();
    let mut times = Vec::new();
    for task in tasks {
        let (caller, its) = task.await??;
        callers.push(caller);
        times.extend(its);
    }
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    Ok((times, rate))
}
