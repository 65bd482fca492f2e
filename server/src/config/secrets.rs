//! Values that are read once and never shown.

use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

use super::ConfigError;

/// A secret: overwritten when dropped, never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Wraps bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the one place that needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// From a file, if one is given, or from the environment. Line ends around it are cut off. An empty variable counts as absent; a file that is
/// named and empty is a mistake, such as a secret that is not mounted.
pub(super) fn find(variable: &str, file: Option<&Path>) -> Result<Option<Secret>, ConfigError> {
    let text = match file {
        Some(path) => {
            let read = std::fs::read_to_string(path);
            let read = read.and_then(|text| match text.trim() {
                "" => Err(std::io::Error::other("it is empty")),
                _ => Ok(Some(text)),
            });
            read.map_err(|source| ConfigError::File { path: path.to_owned(), source })?
        }
        None => std::env::var(variable).ok(),
    };
    let text = text.map(Zeroizing::new);
    Ok(text.filter(|text| !text.trim().is_empty()).map(|text| Secret::new(text.trim().as_bytes().to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_named_and_empty_is_a_mistake() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for empty in ["", "\n", " \n"] {
            std::fs::write(file.path(), empty).unwrap();
            assert!(matches!(find("CYX_NO_SUCH_VARIABLE", Some(file.path())), Err(ConfigError::File { .. })));
        }
        std::fs::write(file.path(), "a secret\n").unwrap();
        assert!(find("CYX_NO_SUCH_VARIABLE", Some(file.path())).unwrap().is_some());
        assert!(find("CYX_NO_SUCH_VARIABLE", None).unwrap().is_none());
    }
}
