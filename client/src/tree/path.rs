//! Paths inside a bucket: names of directories and at last of something in them, as bytes.
//!
//! A path is written with `/` between its names. Leading, trailing and repeated slashes mean nothing; a name is 1 to 255 bytes
//! without NUL and is neither `.` nor `..`, since a bucket has no working directory to be relative to.

use std::fmt;

use cyx_core::error::ErrorCode;
use cyx_core::units::NAME_MAX;

use crate::error::{Error, Result};

/// Deeper trees cannot be named. The kernel's own limit of 4,096 bytes allows no more either.
const DEPTH_MAX: usize = 2048;

/// A checked path; the root has no names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TreePath {
    names: Vec<Vec<u8>>,
}

impl TreePath {
    /// The bucket's root.
    #[must_use]
    pub const fn root() -> Self {
        Self { names: Vec::new() }
    }

    /// Checks a path given by a person or a program.
    ///
    /// # Errors
    /// [`Error::Invalid`] that says which name is not possible.
    pub fn parse(path: impl AsRef<[u8]>) -> Result<Self> {
        let mut checked = Self::root();
        for name in path.as_ref().split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            checked = checked.join(name)?;
        }
        Ok(checked)
    }

    /// The path of `name` in the directory of this path.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is not possible.
    pub fn join(mut self, name: &[u8]) -> Result<Self> {
        check_name(name)?;
        if self.names.len() >= DEPTH_MAX {
            return Err(invalid(format!("a path has more than {DEPTH_MAX} names"), None));
        }
        self.names.push(name.to_vec());
        Ok(self)
    }

    /// The names from the root on.
    #[must_use]
    pub fn names(&self) -> &[Vec<u8>] {
        &self.names
    }

    /// It is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.names.is_empty()
    }

    /// The directory and the name in it; `None` for the root.
    #[must_use]
    pub fn split(&self) -> Option<(Self, &[u8])> {
        let (name, directory) = self.names.split_last()?;
        Some((Self { names: directory.to_vec() }, name))
    }

    /// The last name.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        self.names.last().map(Vec::as_slice)
    }

    /// This path is `other` or lies below it.
    #[must_use]
    pub fn starts_with(&self, other: &Self) -> bool {
        self.names.starts_with(&other.names)
    }

    /// The names joined by `/`; empty for the root.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.names.join(&b'/')
    }
}

impl fmt::Display for TreePath {
    /// With `�` where a name is not UTF-8: for messages, not for use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str("/") } else { f.write_str(&shown(&self.to_bytes())) }
    }
}

/// A name or path in a message: `�` where it is not UTF-8, control characters escaped.
#[must_use]
pub fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name)
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

/// Checks one name.
///
/// # Errors
/// [`Error::Invalid`] unless it has 1 to 255 bytes without `/` and NUL and is neither `.` nor `..`.
pub fn check_name(name: &[u8]) -> Result<()> {
    if name.is_empty() {
        return Err(invalid("a name is empty".into(), None));
    }
    if name.len() > NAME_MAX {
        let advice = format!("Names have at most {NAME_MAX} bytes.");
        return Err(invalid(format!("the name {} is too long", shown(name)), Some(advice)));
    }
    if name == b"." || name == b".." {
        let advice = "Paths in a bucket begin at its root.".to_owned();
        return Err(invalid(format!("{} cannot be part of a path in a bucket", shown(name)), Some(advice)));
    }
    if name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(invalid(format!("the name {} contains a slash or a NUL byte", shown(name)), None));
    }
    Ok(())
}

fn invalid(message: String, advice: Option<String>) -> Error {
    Error::Invalid { code: ErrorCode::InvalidArgument, message, advice }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(path: &[u8]) -> Vec<Vec<u8>> {
        TreePath::parse(path).unwrap().names().to_vec()
    }

    #[test]
    fn slashes_separate_and_otherwise_mean_nothing() {
        assert_eq!(names(b"a/b/c"), [b"a", b"b", b"c"]);
        assert_eq!(names(b"//a///b/"), [b"a", b"b"]);
        assert!(TreePath::parse(b"").unwrap().is_root());
        assert!(TreePath::parse(b"///").unwrap().is_root());
    }

    #[test]
    fn any_other_byte_is_part_of_a_name() {
        let all: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
        assert_eq!(names(&all), std::slice::from_ref(&all));
        assert_eq!(names(b"-rf/...\n"), [&b"-rf"[..], b"...\n"]);
        assert!(check_name(&[b'x'; 255]).is_ok());
    }

    #[test]
    fn impossible_names_are_refused() {
        for path in [&b"a/../b"[..], b"..", ".".as_bytes(), b"a\0b", &[b'x'; 256]] {
            assert!(matches!(TreePath::parse(path), Err(Error::Invalid { .. })), "{path:?}");
        }
        assert!(check_name(b"").is_err());
        assert!(TreePath::parse("a/".repeat(DEPTH_MAX)).is_ok());
        assert!(TreePath::parse("a/".repeat(DEPTH_MAX + 1)).is_err());
    }

    #[test]
    fn a_path_is_below_its_directories_and_not_below_names_that_begin_alike() {
        let path = |text: &str| TreePath::parse(text).unwrap();
        assert!(path("a/b/c").starts_with(&path("a/b")));
        assert!(path("a").starts_with(&TreePath::root()));
        assert!(!path("ab").starts_with(&path("a")));
        let whole = path("a/b");
        let (directory, name) = whole.split().unwrap();
        assert_eq!((directory, name), (path("a"), &b"b"[..]));
        assert!(TreePath::root().split().is_none());
    }

    #[test]
    fn messages_cannot_move_the_cursor() {
        assert_eq!(shown(b"a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(shown(b"\xff"), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn a_parsed_path_is_the_same_after_another_round(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(path) = TreePath::parse(&bytes) {
                prop_assert_eq!(&TreePath::parse(path.to_bytes()).unwrap(), &path);
                for name in path.names() {
                    prop_assert!(check_name(name).is_ok());
                }
                if let Some((directory, name)) = path.split() {
                    prop_assert_eq!(directory.join(name).unwrap(), path);
                }
            }
        }
    }
}
