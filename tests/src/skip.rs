//! The one place that lets a test pass without running, where this machine lacks what it needs.

/// Words of [`skip`], with spaces between them: what has to be here. `scripts/test` sets it to what it installed or found, so that a test that
/// skips itself all the same is a mistake and not an accident that nobody sees.
const REQUIRED: &str = "CYX_TEST_REQUIRE";

/// Says that a test is skipped because `what` is missing, and why that is known.
///
/// # Panics
/// If it is required.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub fn skip(what: &str, reason: &str) {
    let required = std::env::var(REQUIRED).unwrap_or_default();
    assert!(!is_required(&required, what), "{reason}; {REQUIRED} says that {what} is here");
    eprintln!("skipped: {reason}");
}

fn is_required(required: &str, what: &str) -> bool {
    required.split_whitespace().any(|word| word == what || word == "all")
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let again = |required: &str| {
            let mut command = std::process::Command::new(std::env::current_exe().expect("a test knows its own path"));
            command.args(["--exact", "--ignored", "skip::tests::a_test_that_lacks_something"]);
            command.env(REQUIRED, required).output().expect("the test runs").status.success()
        };
        assert!(again("") && again("other"));
        assert!(!again("other something"));
    }

    #[test]
    #[ignore = "fails or passes as it is told"]
    fn a_test_that_lacks_something() {
        skip("something", "there is no such thing");
    }
}
