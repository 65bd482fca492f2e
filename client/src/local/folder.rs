//! A local folder by its descriptor: names in it are one component, and no symbolic link is ever followed.
//!
//! A tree is downloaded into such folders, so that a link that was there before, that comes with the tree or that somebody puts
//! there meanwhile cannot lead anything out of the target.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyx_core::ids::random_bytes;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Ends the names of files that are not complete.
pub(crate) const PARTIAL: &str = ".cyx-partial";

/// An open folder. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Folder {
    fd: Arc<std::os::fd::OwnedFd>,
    path: PathBuf,
}

/// A filesystem, and what went wrong with it since this was opened.
pub(crate) struct Filesystem(std::os::fd::OwnedFd);

impl Filesystem {
    /// Makes everything durable that it has. Whether it did.
    pub(crate) fn sync(&self) -> bool {
        sync_all(&self.0)
    }
}

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    File { size: u64, mtime_ns: i64 },
    Folder,
    Symlink,
    Special,
}

impl Folder {
    /// Opens the folder that a user names; links on the way there are the user's own.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| local(path, errno))?;
        Ok(Self { fd: Arc::new(fd), path: path.to_owned() })
    }

    /// Where a name in it is, for messages.
    pub(crate) fn path_of(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsString::from_vec(name.to_vec()))
    }

    fn error(&self, name: &[u8]) -> impl FnOnce(Errno) -> Error {
        let path = self.path_of(name);
        move |errno| local(&path, errno)
    }

    /// What stands under a name, if anything does.
    pub(crate) fn find(&self, name: &[u8]) -> Result<Option<Found>> {
        let stat = match rustix::fs::statat(&*self.fd, component(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.error(name)(errno)),
        };
        Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                Found::File { size: u64::try_from(stat.st_size).unwrap_or(0), mtime_ns: mtime_ns(&stat) }
            }
            FileType::Directory => Found::Folder,
            FileType::Symlink => Found::Symlink,
            _ => Found::Special,
        }))
    }

    /// Opens a folder in it, which is made if it is not there. A new one is its owner's alone until it is [`set`](Self::set): what is in it may
    /// have to stay between them.
    pub(crate) fn enter(&self, name: &[u8]) -> Result<Self> {
        let component = component(name)?;
        match rustix::fs::mkdirat(&*self.fd, &*component, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(self.error(name)(errno)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&*self.fd, component, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => Error::NotDirectory(self.path_of(name).display().to_string()),
            errno => self.error(name)(errno),
        })?;
        Ok(Self { fd: Arc::new(fd), path: self.path_of(name) })
    }

    /// Makes a new file beside `name` that gets that name when it is complete, and says what it is called until then. Only its
    /// owner can read it if it is `private`; otherwise its mode is that of any new file.
    pub(crate) fn begin(&self, name: &[u8], private: bool) -> Result<(File, Vec<u8>)> {
        let unique = format!(".{}{PARTIAL}", hex::encode(random_bytes::<4>()));
        let room = cyx_core::units::NAME_MAX - unique.len();
        let partial = [&name[..name.len().min(room)], unique.as_bytes()].concat();
        let mode = Mode::from_raw_mode(if private { 0o600 } else { 0o666 });
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&*self.fd, component(&partial)?, flags, mode);
        // Whoever asked for it knows only the name.
        Ok((File::from(fd.map_err(self.error(name))?), partial))
    }

    /// Opens what an earlier run began, if it is still there and is a file.
    pub(crate) fn reopen(&self, partial: &[u8]) -> Option<File> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(&*self.fd, component(partial).ok()?, flags, Mode::empty()).ok()?;
        let file = File::from(fd);
        file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some(file)
    }

    /// Gives a complete file its name. With `keep`, whatever has the name already keeps it.
    pub(crate) fn finish(&self, partial: &[u8], name: &[u8], keep: bool) -> Result<()> {
        use rustix::fs::RenameFlags;
        let (from, to) = (component(partial)?, component(name)?);
        let renamed = if keep {
            match rustix::fs::renameat_with(&*self.fd, &*from, &*self.fd, &*to, RenameFlags::NOREPLACE) {
                // Not every filesystem can: then a link, which never replaces anything, does the same.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    rustix::fs::linkat(&*self.fd, &*from, &*self.fd, &*to, AtFlags::empty())
                        .and_then(|()| rustix::fs::unlinkat(&*self.fd, &*from, AtFlags::empty()))
                }
                other => other,
            }
        } else {
            rustix::fs::renameat(&*self.fd, &*from, &*self.fd, &*to)
        };
        renamed.map_err(self.error(name))
    }

    /// Makes a symbolic link with a time, in the place of a file or link that has the name.
    pub(crate) fn link(&self, name: &[u8], target: &[u8], mtime_ns: Option<i64>) -> Result<()> {
        let target = CString::new(target).map_err(|_| Error::invalid("a link's target has a NUL byte"))?;
        let unique = format!(".{}{PARTIAL}", hex::encode(random_bytes::<8>())).into_bytes();
        let error = self.error(name);
        let made = rustix::fs::symlinkat(&*target, &*self.fd, component(&unique)?).and_then(|()| {
            if let Some(mtime_ns) = mtime_ns {
                self.set_link_time(&unique, mtime_ns)?;
            }
            let to = component_checked(name)?;
            rustix::fs::renameat(&*self.fd, component_checked(&unique)?, &*self.fd, to)
        });
        if made.is_err() {
            self.discard(&unique);
        }
        made.map_err(error)
    }

    /// Not every filesystem keeps times of links; such a link is still one.
    fn set_link_time(&self, name: &[u8], mtime_ns: i64) -> std::result::Result<(), Errno> {
        let times = timestamps(mtime_ns);
        match rustix::fs::utimensat(&*self.fd, component_checked(name)?, &times, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => Ok(()),
            set => set,
        }
    }

    /// Whether a symbolic link of this name leads exactly there.
    pub(crate) fn links_to(&self, name: &[u8], target: &[u8]) -> bool {
        let Ok(component) = component(name) else { return false };
        rustix::fs::readlinkat(&*self.fd, component, Vec::new()).is_ok_and(|found| found.as_bytes() == target)
    }

    /// Removes a file; it does not matter whether it is there.
    pub(crate) fn discard(&self, name: &[u8]) {
        if let Ok(component) = component(name) {
            let _ = rustix::fs::unlinkat(&*self.fd, component, AtFlags::empty());
        }
    }

    /// Sets the mode and the time of a folder that is complete.
    pub(crate) fn set(&self, mode: Option<u32>, mtime_ns: Option<i64>) -> Result<()> {
        if let Some(mode) = mode {
            rustix::fs::fchmod(&*self.fd, safe_mode(mode)).map_err(|errno| local(&self.path, errno))?;
        }
        if let Some(mtime_ns) = mtime_ns {
            rustix::fs::futimens(&*self.fd, &timestamps(mtime_ns)).map_err(|errno| local(&self.path, errno))?;
        }
        Ok(())
    }

    /// Whether this is the same open folder.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.fd, &other.fd)
    }

    /// The number of its filesystem, if that can make all that it has durable at once.
    pub(crate) fn syncs_together(&self) -> Option<u64> {
        if !syncs_all(&self.fd) {
            return None;
        }
        #[expect(clippy::useless_conversion, reason = "the types differ between platforms")]
        rustix::fs::fstat(&*self.fd).ok().and_then(|stat| u64::try_from(stat.st_dev).ok())
    }

    /// Its filesystem.
    pub(crate) fn filesystem(&self) -> Option<Filesystem> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&*self.fd, c".", flags, Mode::empty()).ok().map(Filesystem)
    }

    /// Makes the names in it durable.
    pub(crate) fn sync(&self) -> Result<()> {
        rustix::fs::fsync(&*self.fd).map_err(|errno| local(&self.path, errno))
    }
}

/// Filesystems that make everything durable in one go, with what they owe the disk in the end, and tell of errors. A filesystem in a program
/// (FUSE) or on another machine may do less than that, so only what is known is named here.
#[cfg(target_os = "linux")]
fn syncs_all(fd: &std::os::fd::OwnedFd) -> bool {
    /// ext2 to ext4, XFS, Btrfs, F2FS, and those of memory.
    const KNOWN: [u32; 6] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994, 0x8584_58f6];
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "32 bits in a type that differs between platforms"
    )]
    rustix::fs::fstatfs(fd).is_ok_and(|found| KNOWN.contains(&(found.f_type as u32)))
}

#[cfg(target_os = "linux")]
fn sync_all(fd: &std::os::fd::OwnedFd) -> bool {
    rustix::fs::syncfs(fd).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn syncs_all(_fd: &std::os::fd::OwnedFd) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn sync_all(_fd: &std::os::fd::OwnedFd) -> bool {
    false
}

/// Sets the mode and the time of a file that is complete.
pub(crate) fn set_file(file: &File, mode: Option<u32>, mtime_ns: Option<i64>) -> io::Result<()> {
    if let Some(mode) = mode {
        rustix::fs::fchmod(file, safe_mode(mode))?;
    }
    if let Some(mtime_ns) = mtime_ns {
        rustix::fs::futimens(file, &timestamps(mtime_ns))?;
    }
    Ok(())
}

/// Bits that give the owner's rights to whoever runs a file, or a group to what is made in a directory.
const SPECIAL_BITS: u32 = 0o6000;

/// Whether a mode is not taken over as it is.
pub(crate) const fn is_special(mode: u32) -> bool {
    mode & SPECIAL_BITS != 0
}

/// The server may have altered a mode, so nothing that gives somebody else's rights away is taken over.
fn safe_mode(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777 & !SPECIAL_BITS)
}

fn timestamps(mtime_ns: i64) -> Timestamps {
    let (seconds, nanos) = (mtime_ns.div_euclid(1_000_000_000), mtime_ns.rem_euclid(1_000_000_000));
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos },
    }
}

#[expect(clippy::unnecessary_cast, clippy::cast_possible_wrap, reason = "the types differ between platforms")]
pub(super) fn mtime_ns(stat: &Stat) -> i64 {
    (stat.st_mtime as i64).saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64)
}

fn local(path: &Path, errno: Errno) -> Error {
    Error::Local { path: path.to_owned(), source: errno.into() }
}

fn component_checked(name: &[u8]) -> std::result::Result<CString, Errno> {
    let is_component = !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/');
    CString::new(name).ok().filter(|_| is_component).ok_or(Errno::INVAL)
}

/// One component of a path and nothing else.
fn component(name: &[u8]) -> Result<CString> {
    component_checked(name).map_err(|_| Error::invalid("a name is not one component of a path"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn a_file_appears_under_its_name_only_when_it_is_complete() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        let (mut file, partial) = folder.begin(b"name", false).unwrap();
        file.write_all(b"content").unwrap();
        assert_eq!(folder.find(b"name").unwrap(), None);
        set_file(&file, Some(0o4640), Some(-1)).unwrap();
        folder.finish(&partial, b"name", true).unwrap();
        assert_eq!(folder.find(b"name").unwrap(), Some(Found::File { size: 7, mtime_ns: -1 }));
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
        assert_eq!(mode & 0o7777, 0o640, "set-user-id is not taken over");
        let (_, second) = folder.begin(b"name", false).unwrap();
        assert!(folder.finish(&second, b"name", true).is_err());
        folder.finish(&second, b"name", false).unwrap();
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn links_are_made_and_never_followed() {
        let temp = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        folder.link(b"link", outside.path().as_os_str().as_bytes(), Some(-1)).unwrap();
        let times = std::fs::symlink_metadata(temp.path().join("link")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::mtime_nsec(&times), 999_999_999, "just before 1970");
        assert!(folder.links_to(b"link", outside.path().as_os_str().as_bytes()));
        assert!(matches!(folder.enter(b"link"), Err(Error::NotDirectory(_))));
        assert!(folder.reopen(b"link").is_none());
        let (_, partial) = folder.begin(b"link", false).unwrap();
        folder.finish(&partial, b"link", false).unwrap();
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        for name in [&b".."[..], b".", b"", b"a/b", b"a\0b"] {
            assert!(folder.find(name).is_err());
            assert!(folder.enter(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_longest_name_has_a_partial_name_too() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        let name = [b'n'; 255];
        let (_, partial) = folder.begin(&name, true).unwrap();
        folder.finish(&partial, &name, true).unwrap();
        assert!(folder.find(&name).unwrap().is_some());
    }
}
