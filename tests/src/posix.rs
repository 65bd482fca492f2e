//! What POSIX and Linux promise of a filesystem, as checks on a directory. They run on a local directory first: a check that
//! fails there is wrong itself.
//!
//! The areas are those of pjdfstest; `tests/tests/mount/rules.rs` runs that suite as well where it is installed.

#![allow(clippy::unwrap_used, reason = "a check ends by panicking")]

mod attributes;
mod content;
mod names;
mod permissions;

use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use crate::mount::rootless;

/// A check: its name, and what it does in an empty directory.
pub type Check = (&'static str, fn(&Path));

/// Lists functions by name.
macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        /// The checks of this module.
        pub(super) const CHECKS: &[super::Check] = &[$((stringify!($name), $name)),*];
    };
}
use checks;

/// Runs every check in a directory of its own below `dir`. Checks of permissions need root, to be somebody else, and are
/// skipped otherwise.
///
/// # Panics
/// If a check fails; its name is said before. As [`crate::skip::skip`].
#[expect(clippy::print_stderr, reason = "says which check failed")]
pub fn run_all(dir: &Path) {
    let mut all = [names::CHECKS, attributes::CHECKS, content::CHECKS].concat();
    if !rootless() {
        all.extend_from_slice(permissions::CHECKS);
    }
    for (name, check) in all {
        let own = dir.join(name);
        fs::create_dir(&own).expect("a directory for the check");
        let result = std::panic::catch_unwind(|| check(&own));
        if let Err(panic) = result {
            eprintln!("the check {name} failed in {}", own.display());
            std::panic::resume_unwind(panic);
        }
        fs::remove_dir_all(&own).unwrap_or_else(|error| panic!("what {name} left cannot be removed: {error}"));
    }
}

/// Asserts that something fails with this number.
fn fails<T>(result: Result<T, impl Into<io::Error>>, errno: Errno, what: &str) {
    let found = result.err().map(Into::into).and_then(|error: io::Error| error.raw_os_error());
    assert_eq!(found, Some(errno.raw_os_error()), "{what}");
}
