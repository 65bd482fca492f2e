//! `--include` and `--exclude`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::args::transfer::Filter as Patterns;
use crate::error::{Error, Result};

/// Decides which files of a directory tree are meant.
#[derive(Debug, Clone)]
pub struct Filter {
    /// `None`: everything.
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Filter {
    /// Reads the patterns.
    ///
    /// # Errors
    /// A usage error for one that is no pattern.
    pub fn new(patterns: &Patterns) -> Result<Self> {
        let include = if patterns.include.is_empty() { None } else { Some(set(&patterns.include)?) };
        Ok(Self { include, exclude: set(&patterns.exclude)? })
    }
}

impl cyx_client::local::Filter for Filter {
    fn takes(&self, path: &[u8]) -> bool {
        let path = OsStr::from_bytes(path);
        !self.exclude.is_match(path) && self.include.as_ref().is_none_or(|include| include.is_match(path))
    }

    fn enters(&self, path: &[u8]) -> bool {
        !self.exclude.is_match(OsStr::from_bytes(path))
    }

    fn is_partial(&self) -> bool {
        self.include.is_some()
    }
}

fn set(patterns: &[String]) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let refuse = |error: globset::Error| {
            Error::usage_with(
                format!("{pattern} is not a pattern: {}", error.kind()),
                "Quote it so that the shell leaves it alone.",
            )
        };
        let trimmed = pattern.trim_end_matches('/');
        let anchored = match trimmed.strip_prefix('/') {
            Some(rest) => rest.to_owned(),
            None if trimmed.contains('/') => trimmed.to_owned(),
            None => format!("**/{trimmed}"),
        };
        set.add(GlobBuilder::new(&anchored).literal_separator(true).backslash_escape(true).build().map_err(refuse)?);
    }
    set.build().map_err(|error| Error::usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_client::local::Filter as _;

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let owned = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        Filter::new(&Patterns { include: owned(include), exclude: owned(exclude) }).unwrap()
    }

    #[test]
    fn without_patterns_everything_is_meant() {
        let all = filter(&[], &[]);
        assert!(all.takes(b"a/b") && all.takes(b".hidden") && all.takes(b"\xff") && all.enters(b"a"));
    }

    #[test]
    fn a_pattern_without_a_slash_matches_at_any_depth() {
        let rust = filter(&["*.rs"], &[]);
        assert!(rust.takes(b"main.rs") && rust.takes(b"a/b/main.rs"));
        assert!(!rust.takes(b"main.rs.bak") && !rust.takes(b"a.rs/x"));
        assert!(rust.enters(b"a"), "directories are searched whatever they are called");
    }

    #[test]
    fn a_pattern_with_a_slash_begins_at_the_directory_named() {
        let anchored = filter(&[], &["/build", "docs/*.md"]);
        assert!(!anchored.enters(b"build") && anchored.enters(b"a/build"));
        assert!(!anchored.takes(b"docs/a.md") && anchored.takes(b"docs/b/a.md") && anchored.takes(b"x/docs/a.md"));
    }

    #[test]
    fn exclusion_wins_and_cuts_off_directories() {
        let both = filter(&["*.rs"], &["target/", "generated.rs"]);
        assert!(!both.enters(b"target") && !both.enters(b"a/target"));
        assert!(both.takes(b"a.rs") && !both.takes(b"a/generated.rs"));
    }

    #[test]
    fn a_broken_pattern_is_a_usage_error() {
        let patterns = Patterns { include: vec!["[".to_owned()], exclude: vec![] };
        assert_eq!(Filter::new(&patterns).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn names_are_bytes() {
        assert!(filter(&["a?b"], &[]).takes(b"a\xffb"));
    }
}
