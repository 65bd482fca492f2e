//! A PostgreSQL of one test's own, where there is one to be had.

use std::process::Command;

use crate::skip::skip;

/// Starts and stops it as `scripts/test` does.
const LIBRARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/lib/postgres");
/// A PostgreSQL that runs already, whose user may create databases.
const GIVEN: &str = "CYX_TEST_POSTGRES_URL";

/// An empty database; gone when dropped, unless its server was there before.
pub struct Postgres {
    url: String,
    /// Folder of the server, if it is this test's own.
    folder: Option<String>,
}

impl Postgres {
    /// A new database, or none where PostgreSQL is not installed, which is said.
    ///
    /// # Panics
    /// If it is installed and does not start; as [`skip`].
    #[must_use]
    pub fn start(name: &str) -> Option<Self> {
        let given = std::env::var(GIVEN).unwrap_or_default();
        // A name of its own where the server is shared with earlier runs.
        let name = format!("cyx_{name}_{}", std::process::id());
        let script = "set -euo pipefail; source \"$1\"
            if [ -n \"$3\" ]; then POSTGRES_URL=$3
            elif ! postgres_programs >/dev/null; then exit 77
            else postgres_start; fi
            postgres_create \"$2\"
            echo \"$POSTGRES_DATABASE_URL $POSTGRES_DIR\"";
        let output = bash(script, &[LIBRARY, &name, &given]);
        if output.status.code() == Some(77) {
            skip("postgresql", &format!("PostgreSQL is not installed, and {GIVEN} names none"));
            return None;
        }
        assert!(output.status.success(), "PostgreSQL: {}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = said.split_whitespace();
        let url = words.next().expect("a URL").to_owned();
        Some(Self { url, folder: words.next().map(str::to_owned) })
    }

    /// Where programs find it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The one value that a query finds, as text.
    ///
    /// # Panics
    /// If the query fails.
    #[must_use]
    pub fn value(&self, query: &str) -> String {
        let script =
            "source \"$1\"; \"$(postgres_programs)/psql\" --no-psqlrc -At -v ON_ERROR_STOP=1 -d \"$2\" -c \"$3\"";
        let output = bash(script, &[LIBRARY, &self.url, query]);
        assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = bash("source \"$1\"; POSTGRES_DIR=$2; postgres_stop", &[LIBRARY, folder]);
        }
    }
}

fn bash(script: &str, args: &[&str]) -> std::process::Output {
    Command::new("bash").arg("-c").arg(script).arg("postgres").args(args).output().expect("bash runs")
}
