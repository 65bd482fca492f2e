//! Mountpoints: what is mounted where, what a crash left behind, and taking a mount off.
//!
//! Nothing here asks a live mount of this process anything: the answer would have to come from this very process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{Error, Result};

/// The type under which mounts of ours are listed.
pub const FSTYPE: &str = "fuse.cyx";
/// The source under which they are listed.
pub const SOURCE: &str = "cyx";

/// What the kernel reads ahead, in KiB. As much is read around a page of a mapped file, wherever that is, so it is not its largest request.
const READ_AHEAD_KIB: &str = "512";

/// A mount that works opens its top at once. One whose process is stopped does not, ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// A line of the table of mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub point: PathBuf,
    /// Type of the filesystem.
    pub fstype: String,
    /// Its device, `major:minor`.
    pub device: String,
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A directory that is no mountpoint.
    Free,
    /// A mount of ours whose process is gone.
    Stale,
    /// A mount of this type, which works or is slow to answer.
    Mounted(String),
}

/// The path as the kernel lists it: absolute, without links. Works on mountpoints whose process is gone or does not answer.
///
/// # Errors
/// If it does not exist, or is not UTF-8: tables and messages could not name it.
pub fn resolve(path: &Path) -> Result<PathBuf> {
    let resolved = fs::canonicalize(path).or_else(|error| {
        if !is_disconnected(&error) {
            return Err(error);
        }
        // The last component is what does not answer; those above do.
        let whole = std::path::absolute(path)?;
        match (whole.parent(), whole.file_name()) {
            (Some(parent), Some(name)) => Ok(fs::canonicalize(parent)?.join(name)),
            _ => Err(error),
        }
    });
    let resolved = resolved.map_err(|source| Error::Mountpoint { path: path.to_owned(), source })?;
    if resolved.to_str().is_none() {
        return Err(Error::NotUtf8(resolved));
    }
    Ok(resolved)
}

/// Looks at a resolved path.
///
/// # Errors
/// If it cannot be looked at, or is not a directory.
pub fn look(path: &Path) -> Result<Found> {
    let wrong = |source| Error::Mountpoint { path: path.to_owned(), source };
    let mounted = table().into_iter().rev().find(|mount| mount.point == path);
    let Some(mount) = mounted else {
        let found = fs::metadata(path).map_err(wrong)?;
        return if found.is_dir() { Ok(Found::Free) } else { Err(wrong(io::ErrorKind::NotADirectory.into())) };
    };
    if mount.fstype == FSTYPE && is_stale(path.to_owned()) {
        Ok(Found::Stale)
    } else {
        Ok(Found::Mounted(mount.fstype))
    }
}

/// Nobody answers for the mount there any more.
fn is_stale(path: PathBuf) -> bool {
    let (tell, answer) = mpsc::channel();
    // Opening is asked of the process; attributes the kernel may still remember from one that is gone. If the answer never comes, the
    // thread that waits for it ends with this process.
    let ask = move || tell.send(fs::File::open(path).is_err_and(|error| is_disconnected(&error)));
    let asking = thread::Builder::new().name("look".to_owned()).spawn(ask);
    asking.is_ok() && answer.recv_timeout(PATIENCE).unwrap_or(false)
}

/// The directory has no entries.
///
/// # Errors
/// If it cannot be read.
pub fn is_empty(path: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(path).map_err(|source| Error::Mountpoint { path: path.to_owned(), source })?;
    Ok(entries.next().is_none())
}

/// Takes the mount off. With `lazily` the path is free at once and files that are open go on working until they are closed.
///
/// # Errors
/// [`io::ErrorKind::ResourceBusy`] if files are open and it is not lazy; others of umount(2).
pub fn unmount(path: &Path, lazily: bool) -> io::Result<()> {
    match unmount_directly(path, lazily) {
        // Only root may; for others there is a helper that checks whose mount it is.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => unmount_by_helper(path, lazily),
        other => other,
    }
}

#[cfg(target_os = "linux")]
fn unmount_directly(path: &Path, lazily: bool) -> io::Result<()> {
    use rustix::mount::{UnmountFlags, unmount};
    let flags = if lazily { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    Ok(unmount(path, flags | UnmountFlags::NOFOLLOW)?)
}

#[cfg(not(target_os = "linux"))]
fn unmount_directly(_path: &Path, _lazily: bool) -> io::Result<()> {
    Err(io::ErrorKind::PermissionDenied.into())
}

fn unmount_by_helper(path: &Path, lazily: bool) -> io::Result<()> {
    let mut missing = io::Error::from(io::ErrorKind::NotFound);
    for program in ["fusermount3", "fusermount"] {
        let mut command = Command::new(program);
        command.arg("-u").args(lazily.then_some("-z")).arg("--").arg(path).stdin(Stdio::null());
        match command.output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                let busy = said.to_ascii_lowercase().contains("busy");
                let kind = if busy { io::ErrorKind::ResourceBusy } else { io::ErrorKind::Other };
                return Err(io::Error::new(kind, said));
            }
            Err(error) => missing = error,
        }
    }
    Err(missing)
}

/// The kernel says that nobody answers for this mount any more.
fn is_disconnected(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(rustix::io::Errno::from_raw_os_error),
        Some(rustix::io::Errno::NOTCONN | rustix::io::Errno::CONNABORTED)
    )
}

/// What is mounted, in the order in which it was. Empty where the kernel has no such table.
#[must_use]
pub fn table() -> Vec<Mounted> {
    parse_table(&fs::read("/proc/self/mountinfo").unwrap_or_default())
}

/// Lets the kernel ask for more at once when files of a mount are read in order. Only root may; for others a mount works with the
/// kernel's usual 128 KiB.
pub fn read_further_ahead(point: &Path) {
    let Some(mount) = table().into_iter().rev().find(|mount| mount.point == point) else { return };
    let setting = Path::new("/sys/class/bdi").join(&mount.device).join("read_ahead_kb");
    if let Err(error) = fs::write(&setting, READ_AHEAD_KIB) {
        tracing::debug!(%error, setting = %setting.display(), "the kernel reads ahead as usual");
    }
}

/// Parses `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn parse_table(bytes: &[u8]) -> Vec<Mounted> {
    String::from_utf8_lossy(bytes)
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut fields = before.split(' ').skip(2);
            let (device, point) = (fields.next()?.to_owned(), fields.nth(1)?);
            Some(Mounted { point: unescape(point).into(), fstype: after.split(' ').next()?.to_owned(), device })
        })
        .collect()
}

/// Spaces, tabs, line feeds and backslashes are written as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_mounts_is_understood() {
        let lines = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
            40 36 0:50 / /home/a\\040b\\134c rw,nosuid,nodev - fuse.cyx cyx rw,user_id=0\nnonsense\n";
        let mounts = parse_table(lines);
        assert_eq!(mounts.len(), 2);
        let expected = Mounted { point: "/home/a b\\c".into(), fstype: FSTYPE.to_owned(), device: "0:50".to_owned() };
        assert_eq!(mounts[1], expected);
    }

    #[test]
    fn escapes_that_are_none_stay() {
        assert_eq!(unescape("a\\04"), "a\\04");
        assert_eq!(unescape("\\\\"), "\\\\");
        assert_eq!(unescape("\\9"), "\\9");
    }

    #[test]
    fn a_plain_directory_is_free_and_a_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = resolve(folder.path()).unwrap();
        assert_eq!(look(&path).unwrap(), Found::Free);
        assert!(is_empty(&path).unwrap());
        fs::write(path.join("file"), "x").unwrap();
        assert!(!is_empty(&path).unwrap());
        assert!(matches!(look(&path.join("file")), Err(Error::Mountpoint { .. })));
        assert!(matches!(resolve(&path.join("absent")), Err(Error::Mountpoint { .. })));
    }

    #[test]
    fn a_link_is_followed_to_where_it_leads() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, folder.path().join("link")).unwrap();
        assert_eq!(resolve(&folder.path().join("link")).unwrap(), fs::canonicalize(real).unwrap());
    }
}
