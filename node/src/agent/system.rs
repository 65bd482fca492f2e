//! What the node says about its machine.

use serde::Serialize;

/// A machine's hardware, as the registration wants it.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Hardware {
    /// Processors.
    pub(crate) cpus: usize,
    /// Graphics processors; a storage node uses none.
    pub(crate) gpus: usize,
    /// Memory in MiB.
    pub(crate) ram_mb: u64,
}

/// The machine's hardware.
#[must_use]
pub(crate) fn hardware() -> Hardware {
    let info = rustix::system::sysinfo();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let unit = u64::from(info.mem_unit).max(1);
    Hardware { cpus, gpus: 0, ram_mb: (info.totalram.saturating_mul(unit)) >> 20 }
}

/// The machine's name.
#[must_use]
pub(crate) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().chars().filter(|c| !c.is_control()).take(255).collect()
}

/// The load average of the last minute.
#[must_use]
pub(crate) fn load() -> f64 {
    // The kernel counts in units of 2^-16.
    #[expect(clippy::cast_precision_loss, reason = "a load average has few digits")]
    let load = rustix::system::sysinfo().loads[0] as f64;
    load / 65536.0
}
