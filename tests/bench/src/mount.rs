//! What programs get from a mount, beside what the commands and a local disk give: streams, listings, small files, syncs, memory.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cyx_tests::mount::{Mount, unavailable};
use cyx_tests::noise;

use crate::bench::{BUCKET, Bench};
use crate::local::{at_page, file_path, make_files, text, write_noise};
use crate::proxy::Roads;
use crate::raw::median;
use crate::report::{Budget, Figure, Report};
use crate::usage::{self, total_time};
use crate::{Plan, Result, say};

const READ: &str = "mount: sequential read";
const WRITE: &str = "mount: sequential write";
const LIST: &str = "mount: ls -l";
const CREATE: &str = "mount: create, write 4 KiB, close";
const CACHED: &str = "mount: cached reads of 4 KiB";
const SYNC: &str = "mount: write 4 KiB and fsync";
const UNTAR: &str = "mount: untar of small files";
const MEMORY: &str = "mount: memory with four streams";
const PIECE: usize = 1 << 20;
const SMALL: usize = 4096;
/// Files in each folder of the archive.
const PER_FOLDER: usize = 20;
const SYNCS: usize = 200;
/// Round trip to the server, with which unpacking is shown too.
const FAR: Duration = Duration::from_millis(50);

pub(crate) fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    if unavailable() {
        return Err("nothing can be mounted here".into());
    }
    let any = |names: &[&str]| names.iter().any(|name| plan.wants(name));
    let bench = Bench::start(plan, &[], &[])?;
    if any(&[READ, WRITE]) {
        bench.streams(report)?;
    }
    if any(&[LIST]) {
        bench.ls(report)?;
    }
    if any(&[CREATE, CACHED, SYNC]) {
        bench.small_work(report)?;
    }
    if any(&[MEMORY]) {
        bench.memory(report)?;
    }
    if any(&[UNTAR]) {
        bench.untar(UNTAR, report)?;
        drop(bench);
        let roads = Roads::new()?;
        let (bench, built) = Bench::start_far(plan, &roads)?;
        if let Some(to_server) = built.first() {
            to_server.set_round_trip(FAR);
        }
        bench.untar(&format!("{UNTAR}, {} ms to the server", FAR.as_millis()), report)?;
        if let Some(to_server) = built.first() {
            to_server.set_round_trip(Duration::ZERO);
        }
    }
    Ok(())
}

/// Time and processor time of something.
#[derive(Clone, Copy)]
struct Spent {
    wall: f64,
    cpu: f64,
}

impl Bench<'_> {
    /// Mounts the bucket anew: nothing is cached, by the kernel or by the mount.
    fn fresh(&self, extra: &[&str]) -> Result<Mount<'_>> {
        let cache = self.user.home().join("cache");
        if cache.exists() {
            fs::remove_dir_all(&cache)?;
        }
        Ok(self.again(extra))
    }

    fn again(&self, extra: &[&str]) -> Mount<'_> {
        let args = [&["--bucket", BUCKET], extra].concat();
        Mount::start(&self.user, "mnt", &args)
    }

    /// What everybody spends on work on a mount, with what is sent behind it.
    fn spent(&self, mount: &Mount<'_>, work: impl FnOnce() -> Result<()>) -> Result<Spent> {
        let pids = self.everybody(mount)?;
        let before = (total_time(&pids)?, usage::process_time(), Instant::now());
        work()?;
        let (wall, own) = (before.2.elapsed(), usage::process_time() - before.1);
        std::thread::sleep(crate::bench::AFTERWARDS);
        let cpu = total_time(&pids)? - before.0 + own;
        Ok(Spent { wall: wall.as_secs_f64(), cpu: cpu.as_secs_f64() })
    }

    /// What everybody spends on a command whose output this program reads as it reads through a file, and drops.
    fn piped(&self, args: &[&str], size: u64) -> Result<Spent> {
        let before = usage::process_time();
        let cost = self.cost_while(args, Stdio::piped(), |child| {
            drop_all(child.stdout.take().ok_or("the command has no output")?, size)
        })?;
        let own = usage::process_time() - before;
        Ok(Spent { wall: cost.client.wall.as_secs_f64(), cpu: cost.cpu() + own.as_secs_f64() })
    }

    fn everybody(&self, mount: &Mount<'_>) -> Result<Vec<u32>> {
        let (server, nodes) = self.pids()?;
        Ok([server, nodes, vec![pid(mount)?]].concat())
    }

    // ---- Streams ----

    fn streams(&self, report: &mut Report) -> Result<()> {
        let size = self.plan.size;
        let source = self.user.path("stream.bin");
        write_noise(&source, size)?;
        let (source_text, back) = (text(&source)?, self.user.path("stream-back.bin"));
        let back_text = text(&back)?;
        let [mut up, mut written, mut down, mut read] = [const { Vec::new() }; 4];
        for round in 0..self.plan.rounds {
            say(&format!("{WRITE}, {READ} ({})", round + 1));
            let cost = self.cost(&["upload", &source_text, "--bucket", BUCKET, "--key", "stream"])?;
            up.push(Spent { wall: cost.client.wall.as_secs_f64(), cpu: cost.cpu() });
            let mut mount = self.fresh(&["--fsync", "remote"])?;
            let path = mount.join("written");
            written.push(self.spent(&mount, || copy_in(&source, &path))?);
            mount.unmount();

            self.user.ok(["download", BUCKET, "--key", "written", "-o", &back_text]);
            if !crate::local::same(&source, &back)? {
                return Err(format!("{WRITE}: other bytes came back").into());
            }
            fs::remove_file(&back)?;
            down.push(self.piped(&["download", BUCKET, "--key", "written", "-o", "-"], size)?);
            let mut mount = self.fresh(&[])?;
            let path = mount.join("stream");
            read.push(self.spent(&mount, || read_through(&path, size, 0))?);
            mount.unmount();
            self.user.ok(["delete", BUCKET, "stream", "written", "--permanent"]);
        }
        fs::remove_file(&source)?;
        let mut add = |name: &str, command: &str, mount: &[Spent], program: &[Spent], goal: f64| {
            let of = |spent: &[Spent], value: &dyn Fn(&Spent) -> f64| median(spent.iter().map(value).collect());
            let wall = of(program, &|spent| spent.wall) / of(mount, &|spent| spent.wall) * 100.0;
            let gib = size as f64 / (1 << 30) as f64;
            report.add(
                Figure::new(format!("{name}, of the speed of {command}"), wall, "%")
                    .budget(Budget::AtLeast(goal))
                    .part("seconds", of(mount, &|spent| spent.wall))
                    .part("the command's seconds", of(program, &|spent| spent.wall))
                    .part("CPU-s/GiB", of(mount, &|spent| spent.cpu) / gib)
                    .part("the command's CPU-s/GiB", of(program, &|spent| spent.cpu) / gib),
            );
        };
        add(WRITE, "cyx upload", &written, &up, 80.0);
        add(READ, "cyx download -o -", &read, &down, 90.0);
        Ok(())
    }

    // ---- A large directory ----

    fn ls(&self, report: &mut Report) -> Result<()> {
        let count = self.plan.entries.iter().copied().min().unwrap_or(1);
        say(&format!("{LIST}: {count} entries"));
        let folder = self.user.path("entries");
        make_files(&folder, count, 16)?;
        self.user.ok(["upload", &text(&folder)?, "--bucket", BUCKET, "--key", "entries", "-r", "--quiet"]);
        let (mut cold, mut warm, mut local) = (Vec::new(), Vec::new(), Vec::new());
        ls_time(&folder)?;
        for _ in 0..self.plan.rounds.max(3) {
            let mut mount = self.fresh(&[])?;
            let path = mount.join("entries");
            cold.push(ls_time(&path)?);
            warm.push(ls_time(&path)?);
            local.push(ls_time(&folder)?);
            mount.unmount();
        }
        fs::remove_dir_all(&folder)?;
        let (cold, warm, local) = (median(cold), median(warm), median(local));
        let figure = Figure::new(format!("{LIST} of {count} files, cold"), cold, "ms");
        report.add(figure.budget(Budget::AtMost(400.0)).limit(local));
        let figure = Figure::new(format!("{LIST} of {count} files, warm"), warm / local, "times");
        report.add(figure.budget(Budget::AtMost(1.5)).part("ms", warm).part("on a local disk", local));
        Ok(())
    }

    // ---- Small work ----

    fn small_work(&self, report: &mut Report) -> Result<()> {
        let count = self.plan.files.iter().copied().min().unwrap_or(1);
        let mut mount = self.fresh(&[])?;
        if self.plan.wants(CREATE) {
            say(CREATE);
            let (mut here, mut there) = (Vec::new(), Vec::new());
            for round in 0..self.plan.rounds {
                let local = self.user.path(&format!("local-{round}"));
                let mounted = mount.join(&format!("made-{round}"));
                there.push(count as f64 / make_small(&local, count)?);
                here.push(count as f64 / make_small(&mounted, count)?);
                mount.settle();
                fs::remove_dir_all(&local)?;
            }
            let figure = Figure::new(CREATE, median(here), "files/s").budget(Budget::AtLeast(2000.0));
            report.add(figure.part("on a local disk", median(there)));
        }
        if self.plan.wants(CACHED) {
            say(CACHED);
            let path = mount.join("cached");
            let size = (64 << 20).min(self.plan.size);
            write_noise(&path, size)?;
            mount.settle();
            for (name, flags) in [("", 0), (", past the kernel's cache", rustix::fs::OFlags::DIRECT.bits())] {
                let flags = flags.cast_signed();
                read_through(&path, size, flags)?;
                let rate = random_reads(&path, size, flags)?;
                report.add(Figure::new(format!("{CACHED}{name}"), rate, "/s").budget(Budget::AtLeast(20_000.0)));
            }
        }
        if self.plan.wants(SYNC) {
            say(SYNC);
            let here = syncs(&mount.join("synced"))?;
            // The journal lies in the home folder.
            let there = syncs(&self.user.path("synced"))?;
            let figure = Figure::new(SYNC, here / there, "times the disk").budget(Budget::AtMost(2.0));
            report.add(figure.part("ms", here).part("the disk's", there));
        }
        mount.settle();
        mount.unmount();
        Ok(())
    }

    fn untar(&self, name: &str, report: &mut Report) -> Result<()> {
        say(name);
        let (folder, archive) = (self.user.path("archive"), self.user.path("archive.tar"));
        for index in 0..self.plan.archive.div_ceil(PER_FOLDER) {
            make_files(&folder.join(format!("folder-{index:03}")), PER_FOLDER, SMALL)?;
        }
        run(Command::new("tar").arg("cf").arg(&archive).arg("-C").arg(&folder).arg("."))?;
        let mut mount = self.fresh(&[])?;
        let into = mount.join("untar");
        fs::create_dir(&into)?;
        let unpack = |into: &Path| {
            let began = Instant::now();
            run(Command::new("tar").arg("xf").arg(&archive).arg("-C").arg(into))?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(began.elapsed().as_secs_f64())
        };
        let here = unpack(&into)?;
        let began = Instant::now();
        mount.settle();
        let drained = began.elapsed().as_secs_f64();
        cyx_tests::tree::assert_same(&folder, &into);
        let local = self.user.path("untar");
        fs::create_dir(&local)?;
        let there = unpack(&local)?;
        mount.unmount();
        for path in [&folder, &local] {
            fs::remove_dir_all(path)?;
        }
        fs::remove_file(&archive)?;
        let count = (self.plan.archive.div_ceil(PER_FOLDER) * PER_FOLDER) as f64;
        let figure = Figure::new(name, count / here, "files/s").budget(Budget::AtLeast(1500.0));
        report.add(figure.part("on a local disk", count / there).part("seconds until committed", drained));
        Ok(())
    }

    fn memory(&self, report: &mut Report) -> Result<()> {
        say(MEMORY);
        let size = self.plan.size / 4;
        let source = self.user.path("four.bin");
        write_noise(&source, size)?;
        let mut mount = self.fresh(&[])?;
        for name in ["up-0", "up-1"] {
            copy_in(&source, &mount.join(name))?;
        }
        mount.settle();
        mount.unmount();
        let mut mount = self.fresh(&[])?;
        let pid = pid(&mount)?;
        usage::forget_peak_of(pid)?;
        std::thread::scope(|scope| {
            let mut streams = Vec::new();
            for index in 0..2 {
                let (read, written) = (mount.join(&format!("up-{index}")), mount.join(&format!("more-{index}")));
                streams.push(scope.spawn(move || read_through(&read, size, 0)));
                let source = &source;
                streams.push(scope.spawn(move || copy_in(source, &written)));
            }
            streams.into_iter().try_for_each(|stream| stream.join().unwrap_or_else(|_| Err("a stream panicked".into())))
        })?;
        mount.settle();
        let peak = usage::peak_of(pid)? as f64 / (1 << 20) as f64;
        mount.unmount();
        fs::remove_file(&source)?;
        report.add(Figure::new(MEMORY, peak, "MiB").budget(Budget::AtMost(512.0)));
        Ok(())
    }
}

fn pid(mount: &Mount<'_>) -> Result<u32> {
    let pid = mount.status()["pid"].as_u64().ok_or("the mount does not tell its process")?;
    Ok(u32::try_from(pid)?)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}").into()) }
}

fn copy_in(source: &Path, path: &Path) -> Result<()> {
    let (mut from, mut to) = (File::open(source)?, File::create(path)?);
    let mut room = Vec::new();
    let piece = at_page(&mut room, PIECE);
    loop {
        let read = from.read(piece)?;
        if read == 0 {
            break;
        }
        to.write_all(&piece[..read])?;
    }
    Ok(to.sync_all()?)
}

fn opened(path: &Path, flags: i32) -> Result<File> {
    Ok(OpenOptions::new().read(true).custom_flags(flags).open(path)?)
}

fn read_through(path: &Path, size: u64, flags: i32) -> Result<()> {
    drop_all(opened(path, flags)?, size)
}

/// Reads `size` bytes to their end and drops them.
fn drop_all(mut from: impl Read, size: u64) -> Result<()> {
    let mut room = Vec::new();
    let piece = at_page(&mut room, PIECE);
    let mut total = 0;
    loop {
        match from.read(piece)? {
            0 => break,
            read => total += read as u64,
        }
    }
    if total == size { Ok(()) } else { Err(format!("{total} of {size} bytes were read").into()) }
}

/// Milliseconds of the program.
fn ls_time(path: &Path) -> Result<f64> {
    let began = Instant::now();
    run(Command::new("ls").arg("-l").arg(path).env("LC_ALL", "C"))?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// Seconds to make files of 4 KiB in a new folder.
fn make_small(folder: &Path, count: usize) -> Result<f64> {
    let content = noise(7, SMALL);
    fs::create_dir(folder)?;
    let began = Instant::now();
    for index in 0..count {
        let mut file = File::create(file_path(folder, index))?;
        file.write_all(&content)?;
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Reads a second, here and there in a file that was read before.
fn random_reads(path: &Path, size: u64, flags: i32) -> Result<f64> {
    const READS: u64 = 20_000;
    let file = opened(path, flags)?;
    let mut room = Vec::new();
    // Filesystems of disks want it for reads past the kernel's cache, too.
    let buffer = at_page(&mut room, SMALL);
    let began = Instant::now();
    for index in 0..READS {
        let at = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (size / SMALL as u64) * SMALL as u64;
        file.read_exact_at(buffer, at)?;
    }
    Ok(READS as f64 / began.elapsed().as_secs_f64())
}

/// Milliseconds of an append and its sync, the median.
fn syncs(path: &Path) -> Result<f64> {
    let mut file = File::create(path)?;
    file.seek(SeekFrom::End(0))?;
    let content = noise(9, SMALL);
    let mut times = Vec::new();
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&content)?;
        file.sync_all()?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(times))
}
