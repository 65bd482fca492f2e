//! The one place that lets a test pass without running, where this machine lacks what it needs.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Words of [`skip`], with spaces between them: what has to be here. `scripts/test` sets it to what it installed or found, so that a test that
/// skips itself all the same is a mistake and not an accident that nobody sees.
const REQUIRED: &str = "CYX_TEST_REQUIRE";

/// Names a file that has a line for all that is skipped: what a test says itself is shown only when it fails. `scripts/test` shows it at the end.
const SKIPPED: &str = "CYX_TEST_SKIPPED";

/// Says that a test is skipped because `what` is missing, and why that is known.
///
/// # Panics
/// If it is required, or the file of [`SKIPPED`] cannot be written.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub fn skip(what: &str, reason: &str) {
    let required = std::env::var(REQUIRED).unwrap_or_default();
    assert!(!is_required(&required, what), "{reason}; {REQUIRED} says that {what} is here");
    let thread = std::thread::current();
    let line = format!("skipped: {} ({reason})\n", thread.name().unwrap_or("a part of a test"));
    eprint!("{line}");
    if let Some(path) = std::env::var_os(SKIPPED) {
        let mut file = OpenOptions::new().append(true).create(true).open(path).expect("the file of what is skipped");
        // At once: others write to it at the same time.
        file.write_all(line.as_bytes()).expect("a line of what is skipped");
    }
}

fn is_required(required: &str, what: &str) -> bool {
    required.split_whitespace().any(|word| word == what || word == "all")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LACKS_SOMETHING: &str = "skip::tests::a_test_that_lacks_something";

    #[test]
    fn only_what_is_named_is_required() {
        for (required, what, expected) in
            [("", "fsx", false), ("git fsx", "fsx", true), ("fsx2 git", "fsx", false), ("all", "fsx", true)]
        {
            assert_eq!(is_required(required, what), expected, "{required} {what}");
        }
    }

    #[test]
    fn a_test_is_not_skipped_for_want_of_what_is_required() {
        // The same program again, with the variable: those of this process are every test's.
        let folder = tempfile::tempdir().expect("a folder");
        let said = folder.path().join("skipped");
        let again = |required: &str| {
            let mut command = std::process::Command::new(std::env::current_exe().expect("a test knows its own path"));
            command.args(["--exact", "--ignored", LACKS_SOMETHING]).env(SKIPPED, &said);
            command.env(REQUIRED, required).output().expect("the test runs").status.success()
        };
        assert!(again("") && again("other"));
        assert!(!again("other something"));
        // Those that were skipped, however little is shown of tests that pass.
        let line = format!("skipped: {LACKS_SOMETHING} (there is no such thing)\n");
        assert_eq!(std::fs::read_to_string(said).expect("something was skipped"), line.repeat(2));
    }

    #[test]
    #[ignore = "fails or passes as it is told"]
    fn a_test_that_lacks_something() {
        skip("something", "there is no such thing");
    }
}
