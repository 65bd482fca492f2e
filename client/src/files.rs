//! Small private files: written whole or not at all, readable by their owner alone, changed under a lock.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// No file of this program's own is larger, except the version memory, which has its own bound.
const PRIVATE_FILE_MAX: u64 = 1024 * 1024;

/// Creates a folder and those above it, for its owner alone.
///
/// # Errors
/// [`Error::Local`].
pub(crate) fn make_private_folder(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::local(path))
}

/// Begins the names of files that are being written.
const NEW: &str = ".new-";

/// Whether a file of this name is being written, or was when its program was ended.
pub(crate) fn is_new(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(NEW.as_bytes())
}

/// Replaces a file so that a reader sees the old or the new content, also after a power cut. Mode 0600.
///
/// # Errors
/// [`Error::Local`].
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().ok_or(Error::Internal("a private file has no folder"))?;
    make_private_folder(folder)?;
    let write = || -> io::Result<()> {
        // `tempfile` creates files with mode 0600.
        let mut file = tempfile::Builder::new().prefix(NEW).tempfile_in(folder)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(Error::local(path))
}

/// A new file of mode 0600 in a folder, to be filled and then given its name; gone when dropped before that.
///
/// # Errors
/// [`Error::Local`].
pub(crate) fn new_private(folder: &Path) -> Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(NEW).tempfile_in(folder).map_err(Error::local(folder))
}

/// Reads a private file; `None` if there is none. A mode that lets others read it is tightened.
///
/// # Errors
/// [`Error::Local`], or [`Error::Config`] for one that is far too large.
pub(crate) fn read_private(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::local(path)(error)),
    };
    let mode = file.metadata().map_err(Error::local(path))?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(Error::local(path))?;
    }
    let mut content = Vec::new();
    file.take(PRIVATE_FILE_MAX + 1).read_to_end(&mut content).map_err(Error::local(path))?;
    if content.len() as u64 > PRIVATE_FILE_MAX {
        return Err(Error::Config { path: path.to_owned(), reason: "it is too large to be what it should be".into() });
    }
    Ok(Some(content))
}

/// Removes a file if it is there.
///
/// # Errors
/// [`Error::Local`].
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::local(path)(error)),
        _ => Ok(()),
    }
}

/// An exclusive lock between processes (and between users of this type in one process); ends when dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock of the file `path`, which is created if it is not there. Blocks the thread.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub(crate) fn acquire(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            make_private_folder(folder)?;
        }
        let open = || OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        let file = open().map_err(Error::local(path))?;
        file.lock().map_err(Error::local(path))?;
        Ok(Self { _file: file })
    }

    /// As [`Self::acquire`], without blocking the async thread.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub(crate) async fn acquire_async(path: PathBuf) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::acquire(&path))
            .await
            .map_err(|_| Error::Internal("waiting for a file lock was cut off"))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn private_files_are_readable_by_their_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("folder/secret");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(read_private(&path).unwrap().unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_mode_that_lets_others_read_is_tightened() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("secret");
        write_private(&path, b"x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        read_private(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_missing_file_is_none_and_can_be_removed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("nothing");
        assert!(read_private(&path).unwrap().is_none());
        remove(&path).unwrap();
    }

    #[test]
    fn one_holds_the_lock_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let (path, inside) = (home.path().join("lock"), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = Lock::acquire(&path).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
