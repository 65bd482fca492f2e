//! Processor time and memory of processes, from `/proc` (proc(5)) and the clocks of this process and thread.

use std::fs;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::Result;

/// Processor time that this thread has used.
pub(crate) fn thread_time() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// Processor time that this process has used, all threads together.
pub(crate) fn process_time() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

fn clock(id: ClockId) -> Duration {
    let now = clock_gettime(id);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// Processor time of running processes, user and system.
pub(crate) fn total_time(pids: &[u32]) -> Result<Duration> {
    pids.iter().map(|pid| stat_time(&pid.to_string(), 11)).sum()
}

/// Processor time of the children of this process that have ended and were waited for.
fn children_time() -> Result<Duration> {
    stat_time("self", 13)
}

/// The sum of two neighbouring fields of `/proc/PID/stat`, counted from 0 behind the program's name: 11 is `utime`, 13 is
/// `cutime`.
fn stat_time(pid: &str, field: usize) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    let mut ticks = 0;
    for value in fields.skip(field).take(2) {
        ticks += value.parse::<u64>()?;
    }
    Ok(Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second())?)
}

/// What a program used that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    /// From its start to its end.
    pub(crate) wall: Duration,
    /// User and system time.
    pub(crate) cpu: Duration,
    /// Most bytes that were resident.
    pub(crate) peak: u64,
}

/// Runs a program that must succeed, and nothing else that ends meanwhile.
pub(crate) fn run(command: &mut Command) -> Result<Used> {
    run_while(command, |_| Ok(()))
}

/// The same, with something to do while it runs, such as reading what it writes.
pub(crate) fn run_while(command: &mut Command, work: impl FnOnce(&mut Child) -> Result<()>) -> Result<Used> {
    let before = children_time()?;
    let ended = AtomicBool::new(false);
    let began = Instant::now();
    let mut child = command.spawn()?;
    let pid = child.id();
    let (worked, status, wall, peak) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch_peak(pid, &ended));
        let worked = work(&mut child);
        let status = wait(&mut child);
        let wall = began.elapsed();
        ended.store(true, Ordering::Relaxed);
        (worked, status, wall, watcher.join().unwrap_or_default())
    });
    let status = status?;
    if !status.success() {
        return Err(format!("{:?} ended with {status}", command.get_args().collect::<Vec<_>>()).into());
    }
    worked?;
    Ok(Used { wall, cpu: children_time()?.saturating_sub(before), peak })
}

fn wait(child: &mut Child) -> std::io::Result<std::process::ExitStatus> {
    child.wait()
}

/// The kernel keeps the peak itself, but forgets it with the process; what is missed is the growth of the last moments.
fn watch_peak(pid: u32, ended: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !ended.load(Ordering::Relaxed) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        peak = peak.max(peak_in(&status).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(10));
    }
    peak
}

/// Most bytes of this process that were resident since [`forget_peak`].
pub(crate) fn own_peak() -> Result<u64> {
    peak_of(std::process::id())
}

/// Begins anew to look for the peak.
pub(crate) fn forget_peak() -> Result<()> {
    forget_peak_of(std::process::id())
}

/// Most bytes of a process that were resident since [`forget_peak_of`].
pub(crate) fn peak_of(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    peak_in(&status).ok_or_else(|| "the kernel does not tell what a process uses".into())
}

/// Begins anew to look for the peak of a process.
pub(crate) fn forget_peak_of(pid: u32) -> Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

fn peak_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_works_has_used_time_and_memory() {
        let used = run(Command::new("sh").args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"])).unwrap();
        assert!(used.cpu > Duration::ZERO && used.wall > Duration::ZERO && used.peak > 0, "{used:?}");
    }

    #[test]
    fn a_child_that_fails_is_an_error() {
        assert!(run(&mut Command::new("false")).is_err());
    }
}
