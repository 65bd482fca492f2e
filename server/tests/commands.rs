//! Commands about an installation, run as programs: on one that is there, and on a folder where none is.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, as tests do")]

use std::path::Path;
use std::process::{Command, Output};

use cyx_server::config::{Config, Options};
use cyx_server::db::{Db, DbConfig, DbError, Location};
use cyx_server::run::Running;

/// Every command that works on what a server made.
const ABOUT_AN_INSTALLATION: [&[&str]; 7] = [
    &["backup", "--to", "copy"],
    &["new-incarnation"],
    &["rotate-key"],
    &["collect"],
    &["collect", "--resume"],
    &["check"],
    &["payouts"],
];
/// What they end with where there is none.
const NO_INSTALLATION: i32 = 66;

fn run(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cyx-server"))
        .args(arguments)
        .current_dir(dir)
        .env("RUST_LOG", "warn")
        .env_remove("DATABASE_URL")
        .output()
        .unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What a server makes when it is started for the first time.
async fn installation(data_dir: &Path) {
    let loopback = Some("127.0.0.1:0".parse().unwrap());
    let options = Options { data_dir: Some(data_dir.to_owned()), http: loopback, grpc: loopback, ..Options::default() };
    Running::start(Config::resolve(options).unwrap()).await.unwrap().stop().await;
}

#[test]
fn a_mistyped_data_folder_is_refused_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    for command in ABOUT_AN_INSTALLATION {
        for folder in ["typo", "empty"] {
            let output = run(dir.path(), &[command, &["--data-dir", folder]].concat());
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(NO_INSTALLATION), "{command:?} {folder}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(said.contains(folder) && said.contains("only starting the server makes"), "{said}");
            assert!(output.stdout.is_empty());
            assert_eq!(names(dir.path()), ["empty"], "{command:?}");
            assert!(names(&dir.path().join("empty")).is_empty(), "{command:?}");
        }
    }
}

#[test]
fn a_database_of_something_else_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("cyx.db"), b"").unwrap();
    for command in ABOUT_AN_INSTALLATION {
        let output = run(dir.path(), &[command, &["--data-dir", "."]].concat());
        assert_eq!(output.status.code(), Some(NO_INSTALLATION), "{command:?}");
        assert_eq!(names(dir.path()), ["cyx.db"], "{command:?}");
        assert!(std::fs::read(dir.path().join("cyx.db")).unwrap().is_empty(), "{command:?}");
    }
}

#[tokio::test]
async fn an_installation_is_worked_on_and_folders_may_be_bare_names() {
    let dir = tempfile::tempdir().unwrap();
    installation(&dir.path().join("data")).await;
    for command in ABOUT_AN_INSTALLATION {
        let output = run(dir.path(), &[command, &["--data-dir", "data"]].concat());
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let output = run(dir.path(), &["restore", "--from", "copy", "--data-dir", "again"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(run(dir.path(), &["check", "--data-dir", "again"]).status.success());
    assert_eq!(names(dir.path()), ["again", "copy", "data"]);
}

/// Changes what the database in a data folder says about its tables.
async fn pretend(data_dir: &Path, statement: &'static str) {
    let location = Location::Sqlite(data_dir.join("cyx.db"));
    let db = Db::open_existing(&DbConfig { location, connections: 1 }).await.unwrap();
    let changed: Result<(), DbError> = db
        .write(move |c| {
            Box::pin(async move {
                sqlx::raw_sql(statement).execute(c).await?;
                Ok(())
            })
        })
        .await;
    changed.unwrap();
    db.close().await;
}

fn is_refused(output: &Output, because: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(because), "{said}");
}

#[tokio::test]
async fn an_older_database_is_copied_as_it_is_and_otherwise_left_to_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    installation(&data).await;
    let older = "ALTER TABLE repair DROP COLUMN unreadable; DELETE FROM schema_migration WHERE number = 22";
    pretend(&data, older).await;
    // Twice: none of them brings the tables up to date for the others.
    for command in ABOUT_AN_INSTALLATION.repeat(2) {
        if !["backup", "rotate-key"].contains(&command[0]) {
            is_refused(&run(dir.path(), &[command, &["--data-dir", "data"]].concat()), "older than this program");
        }
    }
    let output = run(dir.path(), &["backup", "--to", "copy", "--data-dir", "data"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for folder in ["copy", "data"] {
        is_refused(&run(dir.path(), &["check", "--data-dir", folder]), "older than this program");
    }
    let output = run(dir.path(), &["restore", "--from", "copy", "--data-dir", "again"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(run(dir.path(), &["check", "--data-dir", "again"]).status.success());
    installation(&data).await;
    assert!(run(dir.path(), &["check", "--data-dir", "data"]).status.success());
}

#[tokio::test]
async fn a_newer_database_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    installation(&data).await;
    pretend(&data, "INSERT INTO schema_migration (number, hash) VALUES (1000000, x'00')").await;
    for command in ABOUT_AN_INSTALLATION.iter().filter(|command| command[0] != "rotate-key") {
        is_refused(&run(dir.path(), &[command, &["--data-dir", "data"][..]].concat()), "newer than this program");
    }
    assert_eq!(names(dir.path()), ["data"]);
}

#[test]
fn who_stops_reading_what_is_printed_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [&["simulate", "--segments", "0"][..], &["config", "example"], &["config", "man"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let command = Command::new(env!("CARGO_BIN_EXE_cyx-server"))
            .args(arguments)
            .current_dir(dir.path())
            .stdout(writer)
            .output()
            .unwrap();
        assert!(command.status.success() && command.stderr.is_empty(), "{arguments:?}: {command:?}");
    }
}
