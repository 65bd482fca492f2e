//! The secret behind all tokens.

use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use cyx_core::ids::random_bytes;

use crate::config::{Config, ConfigError, Secret};

/// Least bytes of a secret that was given.
const LEN_MIN: usize = 16;
/// Name in the data folder.
pub(crate) const FILE: &str = "jwt.secret";

/// The configured secret, or the one in the data folder, drawn on the first start.
pub(super) fn load(config: &Config) -> Result<Secret, ConfigError> {
    if let Some(secret) = find(config)? {
        return Ok(secret);
    }
    let path = config.data_dir.join(FILE);
    draw(&config.data_dir, &path).map_err(|source| ConfigError::File { path, source })
}

/// The configured secret, or the one in the data folder, if there is one.
pub(super) fn find(config: &Config) -> Result<Option<Secret>, ConfigError> {
    if let Some(secret) = &config.jwt.secret {
        if secret.expose().len() < LEN_MIN {
            return Err(ConfigError::Value(format!("JWT_SECRET has fewer than {LEN_MIN} characters")));
        }
        return Ok(Some(secret.clone()));
    }
    let path = config.data_dir.join(FILE);
    kept(&path).map_err(|source| ConfigError::File { path, source })
}

fn kept(path: &Path) -> io::Result<Option<Secret>> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= LEN_MIN => Ok(Some(Secret::new(text.trim().as_bytes().to_vec()))),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "the secret is too short")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn draw(folder: &Path, path: &Path) -> io::Result<Secret> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Complete under its final name, or not there: a half-written secret would end all sessions on the next start.
    let text = hex::encode(random_bytes::<32>());
    let temporary = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(Secret::new(text.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn it_is_drawn_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = crate::test_support::config(folder.path());
        config.jwt.secret = None;
        let first = load(&config).unwrap();
        assert_eq!(load(&config).unwrap().expose(), first.expose());
        let mode = std::fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_short_one_is_refused() {
        let mut config = crate::test_support::config(Path::new("/nonexistent"));
        config.jwt.secret = Some(Secret::new(b"short".to_vec()));
        assert!(load(&config).is_err());
    }
}
