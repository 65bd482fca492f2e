//! Local directories: what is in each, sorted by name.
//!
//! Below the directory that a user names everything is reached from its descriptor, and no symbolic link is followed on the way: what was
//! found to be a file or a directory may be something else by the time it is opened.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Filter;
use super::folder::mtime_ns;
use crate::error::{Error, Result};

/// Something in the local filesystem.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    pub(crate) path: PathBuf,
    /// Its name in its directory.
    pub(crate) name: Vec<u8>,
    pub(crate) kind: LocalKind,
    pub(crate) mode: u32,
    pub(crate) mtime_ns: i64,
    /// The tree it was found in; absent if a user named it.
    tree: Option<Tree>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LocalKind {
    File {
        size: u64,
    },
    Folder,
    Symlink {
        target: Vec<u8>,
    },
    /// A device, a socket, a pipe: never opened.
    Special,
}

impl Local {
    /// What a path that a user names leads to: links are followed.
    pub(crate) fn at(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(Error::local(path))?;
        Ok(Self {
            kind: kind(&metadata),
            mode: metadata.permissions().mode() & 0o7777,
            mtime_ns: metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
            path: path.to_owned(),
            name: path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default(),
            tree: None,
        })
    }

    /// Opens the file to read it. Does not wait: what stands there by now may be a pipe.
    ///
    /// # Errors
    /// [`Error::Changing`] if it is not the file any more that was found; [`Error::Local`].
    pub(crate) fn open(&self) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match &self.tree {
            Some(tree) => tree.reach(&self.path, flags),
            None => rustix::fs::open(&self.path, flags, Mode::empty()),
        };
        let file = File::from(opened.map_err(|errno| unopened(&self.path, errno))?);
        let is_file = file.metadata().map_err(Error::local(&self.path))?.is_file();
        if is_file { Ok(file) } else { Err(changing(&self.path)) }
    }
}

fn kind(metadata: &Metadata) -> LocalKind {
    if metadata.is_file() {
        LocalKind::File { size: metadata.len() }
    } else if metadata.is_dir() {
        LocalKind::Folder
    } else {
        LocalKind::Special
    }
}

pub(super) fn changing(path: &Path) -> Error {
    Error::Changing(crate::tree::path::shown(path.as_os_str().as_bytes()))
}

/// Something that cannot be opened because it is not what it was when it was found, or for another reason.
fn unopened(path: &Path, errno: Errno) -> Error {
    match errno {
        // A link; no directory; a socket; a file that another process just lets go of.
        Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::WOULDBLOCK => changing(path),
        errno => Error::local(path)(errno.into()),
    }
}

/// A directory that a user named, with all that is below it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    fd: Arc<OwnedFd>,
    path: Arc<Path>,
}

impl Tree {
    /// Opens the directory; links on the way to it are the user's own.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::local(path)(errno.into()))?;
        Ok(Self { fd: Arc::new(fd), path: path.into() })
    }

    /// Opens what is below it, or itself.
    fn reach(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let below = path.strip_prefix(&self.path).map_err(|_| Errno::INVAL)?;
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat2(&self.fd, below, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            // Not every kernel has the call, nor lets every container make it.
            Err(Errno::NOSYS | Errno::PERM) => self.reach_by_steps(below, flags),
            opened => opened,
        }
    }

    /// Opens what is below it, one name after the other.
    fn reach_by_steps(&self, below: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder = None;
        for name in below.parent().unwrap_or(Path::new("")) {
            folder = Some(rustix::fs::openat(folder.as_ref().unwrap_or(&*self.fd), name, way, Mode::empty())?);
        }
        let name = below.file_name().unwrap_or(below.as_os_str());
        rustix::fs::openat(folder.as_ref().unwrap_or(&*self.fd), name, flags, Mode::empty())
    }
}

/// An entry, or the name of one that cannot be looked at.
pub(crate) type Entry = std::result::Result<Local, (Vec<u8>, Error)>;

/// Reads a directory of a tree. Entries that vanish meanwhile are left out, others that fail are errors in their place.
pub(crate) fn read_folder(tree: &Tree, path: &Path) -> Result<Vec<Entry>> {
    let failed = |errno: Errno| Error::local(path)(errno.into());
    let fd = tree.reach(path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(|errno| unopened(path, errno))?;
    let mut folder = Dir::new(fd).map_err(failed)?;
    let mut names = Vec::new();
    while let Some(entry) = folder.read() {
        let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort_unstable();
    let fd = folder.fd().map_err(failed)?;
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let path = path.join(std::ffi::OsString::from_vec(name.clone()));
        let looked = || -> rustix::io::Result<Local> {
            let stat = rustix::fs::statat(fd, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
            let kind = match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => LocalKind::File { size: u64::try_from(stat.st_size).unwrap_or(0) },
                FileType::Directory => LocalKind::Folder,
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(fd, &*name, Vec::new())?;
                    LocalKind::Symlink { target: target.into_bytes() }
                }
                _ => LocalKind::Special,
            };
            let (mode, mtime_ns) = (stat.st_mode & 0o7777, mtime_ns(&stat));
            Ok(Local { path: path.clone(), name: name.clone(), kind, mode, mtime_ns, tree: Some(tree.clone()) })
        };
        match looked() {
            Ok(local) => found.push(Ok(local)),
            Err(Errno::NOENT) => {}
            Err(errno) => found.push(Err((name, Error::local(path)(io::Error::from(errno))))),
        }
    }
    Ok(found)
}

/// Joins a name to a relative path.
pub(crate) fn below(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// Whether anything below a directory is meant. One that cannot be read is looked at again, and then said.
pub(crate) fn has_wanted(tree: &Tree, path: PathBuf, relative: Vec<u8>, filter: &dyn Filter) -> bool {
    let mut waiting = vec![(path, relative)];
    while let Some((path, relative)) = waiting.pop() {
        let Ok(entries) = read_folder(tree, &path) else { return true };
        for entry in entries {
            let Ok(local) = entry else { return true };
            let relative = below(&relative, &local.name);
            match local.kind {
                LocalKind::Folder if filter.enters(&relative) => waiting.push((local.path, relative)),
                LocalKind::File { .. } | LocalKind::Symlink { .. } if filter.takes(&relative) => return true,
                _ => {}
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_in_order_without_following_or_opening_anything() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("b"), b"12345").unwrap();
        fs::create_dir(temp.path().join("a")).unwrap();
        std::os::unix::fs::symlink("/nowhere/at all", temp.path().join("c")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(temp.path().join("d")).unwrap();
        let tree = Tree::open(temp.path()).unwrap();
        let found = read_folder(&tree, temp.path()).unwrap().into_iter();
        let found: Vec<_> = found.map(|entry| entry.unwrap().kind).collect();
        let target = b"/nowhere/at all".to_vec();
        let expected =
            [LocalKind::Folder, LocalKind::File { size: 5 }, LocalKind::Symlink { target }, LocalKind::Special];
        assert_eq!(found, expected);
        assert_eq!(below(b"", b"x"), b"x");
        assert_eq!(below(b"a/b", b"x"), b"a/b/x");
    }
    #[test]
    fn nothing_is_followed_that_was_put_in_the_place_of_what_was_found() {
        let (temp, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("secret"), b"secret").unwrap();
        fs::create_dir(temp.path().join("folder")).unwrap();
        for name in ["folder/secret", "link", "pipe", "socket", "same"] {
            fs::write(temp.path().join(name), b"public").unwrap();
        }
        let tree = Tree::open(temp.path()).unwrap();
        let all = |path: &Path| -> Vec<Local> { read_folder(&tree, path).unwrap().into_iter().flatten().collect() };
        let (top, below) = (all(temp.path()), all(&temp.path().join("folder")));
        let named = |name: &str| top.iter().find(|local| local.name == name.as_bytes()).unwrap();

        for name in ["folder", "link", "pipe", "socket"] {
            fs::rename(temp.path().join(name), temp.path().join(format!("{name}-before"))).unwrap();
        }
        std::os::unix::fs::symlink(outside.path(), temp.path().join("folder")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), temp.path().join("link")).unwrap();
        let pipe = temp.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(temp.path().join("socket")).unwrap();
        for local in [named("link"), named("pipe"), named("socket"), &below[0]] {
            let opened = local.open();
            assert!(matches!(opened, Err(Error::Changing(_))), "{}: {opened:?}", local.path.display());
        }
        assert!(matches!(read_folder(&tree, &named("folder").path), Err(Error::Changing(_))));
        named("same").open().unwrap();
        let by_steps = |below: &str| tree.reach_by_steps(Path::new(below), OFlags::RDONLY | OFlags::NOFOLLOW);
        for replaced in ["folder/secret", "folder", "link"] {
            let errno = by_steps(replaced).unwrap_err();
            assert!(matches!(errno, Errno::LOOP | Errno::NOTDIR), "{replaced}: {errno}");
        }
        for there in ["folder-before/secret", "folder-before", "same", "."] {
            by_steps(there).unwrap();
        }
        // What a user names may be a link, and is opened as what it leads to.
        Local::at(&temp.path().join("link")).unwrap().open().unwrap();
    }
}
