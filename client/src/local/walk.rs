//! One local directory: what is in it, sorted by name.

use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::Filter;
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
    /// What a path leads to. A link that a user names is followed, one that is found is not.
    pub(crate) fn at(path: &Path, follow: bool) -> Result<Self> {
        let metadata = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
        let metadata = metadata.map_err(Error::local(path))?;
        let name = path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
        Ok(Self {
            kind: kind(path, &metadata)?,
            mode: metadata.permissions().mode() & 0o7777,
            mtime_ns: metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
            path: path.to_owned(),
            name,
        })
    }
}

fn kind(path: &Path, metadata: &Metadata) -> Result<LocalKind> {
    let file_type = metadata.file_type();
    Ok(if file_type.is_file() {
        LocalKind::File { size: metadata.len() }
    } else if file_type.is_dir() {
        LocalKind::Folder
    } else if file_type.is_symlink() {
        let target = fs::read_link(path).map_err(Error::local(path))?;
        LocalKind::Symlink { target: target.into_os_string().into_vec() }
    } else {
        LocalKind::Special
    })
}

/// An entry, or the name of one that cannot be looked at.
pub(crate) type Entry = std::result::Result<Local, (Vec<u8>, Error)>;

/// Reads a directory. Entries that vanish meanwhile are left out, others that fail are errors in their place.
pub(crate) fn read_folder(path: &Path) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::local(path))? {
        let entry = entry.map_err(Error::local(path))?;
        match Local::at(&entry.path(), false) {
            Ok(local) => found.push(Ok(local)),
            Err(Error::Local { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => found.push(Err((entry.file_name().into_vec(), error))),
        }
    }
    fn name(entry: &Entry) -> &[u8] {
        match entry {
            Ok(local) => &local.name,
            Err((name, _)) => name,
        }
    }
    found.sort_by(|a, b| name(a).cmp(name(b)));
    Ok(found)
}

/// Joins a name to a relative path.
pub(crate) fn below(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// Whether anything below a directory is meant. One that cannot be read is looked at again, and then said.
pub(crate) fn has_wanted(path: PathBuf, relative: Vec<u8>, filter: &dyn Filter) -> bool {
    let mut waiting = vec![(path, relative)];
    while let Some((path, relative)) = waiting.pop() {
        let Ok(entries) = read_folder(&path) else { return true };
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
        let found: Vec<_> = read_folder(temp.path()).unwrap().into_iter().map(|entry| entry.unwrap().kind).collect();
        let target = b"/nowhere/at all".to_vec();
        let expected =
            [LocalKind::Folder, LocalKind::File { size: 5 }, LocalKind::Symlink { target }, LocalKind::Special];
        assert_eq!(found, expected);
        assert_eq!(below(b"", b"x"), b"x");
        assert_eq!(below(b"a/b", b"x"), b"a/b/x");
    }
}
