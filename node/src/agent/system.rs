//! What the node says about its machine.

use std::path::Path;

use serde::Serialize;

/// PCI classes of devices that draw or compute: VGA-compatible, XGA, 3D.
const GPU_CLASSES: [&str; 3] = ["0x0300", "0x0301", "0x0302"];

/// A machine's hardware, as the registration wants it.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Hardware {
    /// Processors.
    pub(crate) cpus: usize,
    /// Graphics processors; a storage node uses none.
    pub(crate) gpus: usize,
    /// Memory in MiB.
    pub(crate) ram_mb: u64,
    /// Size of the filesystem of the data directory in MiB.
    pub(crate) disk_mb: u64,
}

/// The machine's hardware, with the disk that `storage` lies on.
#[must_use]
pub(crate) fn hardware(storage: &Path) -> Hardware {
    let info = rustix::system::sysinfo();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let unit = u64::from(info.mem_unit).max(1);
    let disk = rustix::fs::statvfs(storage).map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
    let gpus = gpus(Path::new("/sys/bus/pci/devices"));
    Hardware { cpus, gpus, ram_mb: (info.totalram.saturating_mul(unit)) >> 20, disk_mb: disk >> 20 }
}

/// Graphics processors among the PCI devices that the kernel shows in a folder; none where it shows none.
fn gpus(devices: &Path) -> usize {
    let Ok(devices) = std::fs::read_dir(devices) else { return 0 };
    let class = |device: std::fs::DirEntry| std::fs::read_to_string(device.path().join("class")).unwrap_or_default();
    let is_gpu = |class: &String| GPU_CLASSES.iter().any(|prefix| class.starts_with(prefix));
    devices.flatten().map(class).filter(is_gpu).count()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_is_what_the_kernel_shows() {
        let folder = tempfile::tempdir().unwrap();
        let found = hardware(folder.path());
        assert!(found.cpus > 0 && found.ram_mb > 0 && found.disk_mb > 0, "{found:?}");
        for (name, class) in [("a", "0x030000\n"), ("b", "0x030200\n"), ("c", "0x010601\n"), ("d", "0x038000\n")] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("class"), class).unwrap();
        }
        assert_eq!(gpus(folder.path()), 2);
        assert_eq!(gpus(&folder.path().join("nowhere")), 0);
    }
}
