//! Durable copies of files, and which files of a data folder belong to a backup beside the database.

use std::fs;
use std::io::{self, Seek as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::keys::file::FOLDER as KEYS;
use crate::tokens::SECRET_FILE;

/// Files in the data folder that hold secrets.
const SECRET_FILES: [&str; 1] = [SECRET_FILE];

/// Copies a file: when this returns, the copy is durable, complete and readable by its owner only. An existing one is replaced.
///
/// # Errors
/// Those of the file system.
pub fn file(from: &Path, to: &Path) -> io::Result<()> {
    opened(&fs::File::open(from)?, to)
}

/// As [`file`], of one that is open and stays open.
///
/// # Errors
/// Those of the file system.
pub fn opened(mut source: &fs::File, to: &Path) -> io::Result<()> {
    let temporary = to.with_extension("part");
    source.rewind()?;
    let mut target = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    io::copy(&mut source, &mut target)?;
    target.sync_all()?;
    fs::rename(&temporary, to)?;
    sync_parent(to)
}

/// Makes the name of a file durable.
///
/// # Errors
/// Those of the file system.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        // A bare name lies in the working directory.
        Some(folder) if folder.as_os_str().is_empty() => fs::File::open(".")?.sync_all(),
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Makes a folder that only its owner can enter.
///
/// # Errors
/// Those of the file system.
pub fn private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes an empty file that only its owner can read.
///
/// # Errors
/// Those of the file system, also if it exists.
pub fn empty_private_file(path: &Path) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// Writes a file durably; only its owner can read it.
///
/// # Errors
/// Those of the file system.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("part");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_parent(path)
}

/// Length and BLAKE3, in hexadecimal digits, of a file.
///
/// # Errors
/// Those of the file system.
pub fn hash(path: &Path) -> io::Result<(u64, String)> {
    let mut hasher = blake3::Hasher::new();
    let length = io::copy(&mut fs::File::open(path)?, &mut hasher)?;
    Ok((length, hasher.finalize().to_hex().to_string()))
}

/// Copies everything a server cannot do without beside its database: signing keys, and the secret of its tokens if it drew one.
///
/// # Errors
/// Those of the file system.
pub fn secrets(from: &Path, to: &Path) -> io::Result<()> {
    private_folder(to)?;
    for path in secret_files(from)? {
        let target = to.join(&path);
        if let Some(folder) = target.parent() {
            private_folder(folder)?;
        }
        file(&from.join(&path), &target)?;
    }
    sync_parent(to)
}

/// Paths inside the data folder.
fn secret_files(data_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> =
        SECRET_FILES.iter().map(PathBuf::from).filter(|name| data_dir.join(name).is_file()).collect();
    match fs::read_dir(data_dir.join(KEYS)) {
        Ok(entries) => {
            for entry in entries {
                let name = entry?.file_name();
                if Path::new(&name).extension().is_some_and(|extension| extension == "key") {
                    found.push(Path::new(KEYS).join(name));
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::keys::file::load_or_create;

    #[test]
    fn the_folder_of_a_bare_name_is_the_working_directory() {
        for path in ["bare", "./bare", "/"] {
            sync_parent(Path::new(path)).unwrap();
        }
    }

    #[test]
    fn keys_and_secrets_are_copied_and_private_and_nothing_else_is() {
        let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let key = load_or_create(from.path(), 1).unwrap().remove(0).id();
        fs::write(from.path().join("jwt.secret"), b"s").unwrap();
        fs::write(from.path().join("other"), b"o").unwrap();
        fs::create_dir(from.path().join("outbox")).unwrap();
        let target = to.path().join("secrets");
        secrets(from.path(), &target).unwrap();
        assert_eq!(load_or_create(&target, 2).unwrap().remove(0).id(), key);
        let mut names: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["jwt.secret", KEYS]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&target), 0o700);
        assert_eq!(mode(&target.join("jwt.secret")), 0o600);
        assert_eq!(mode(&target.join(KEYS).join(format!("{key}.key"))), 0o600);
    }
}
