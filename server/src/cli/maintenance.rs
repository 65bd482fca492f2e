//! Commands for whoever runs the server: copies of the database, coming back from them, collecting.

use std::path::Path;

use super::{Failure, print};
use crate::app::App;
use crate::backup::online::backup;
use crate::backup::restore::{Secrets, restore};
use crate::collect::{Pace, collect, resume};
use crate::config::Config;
use crate::db::{Db, DbError, Location};
use crate::jobs::record;
use crate::keys::file::{KeyFile, must_exist};
use crate::keys::new_incarnation;
use crate::ledger::settle;
use crate::time::{now_seconds, rfc3339};

/// `cyx-server backup --to DIR`
pub(super) async fn run_backup(config: &Config, to: &Path) -> Result<(), Failure> {
    let db = Db::open_to_copy(&config.database).await?;
    let outcome = backup(&db, &config.data_dir, to).await;
    db.close().await;
    let manifest = outcome?;
    say(&format!("{} bytes in {}", manifest.length, to.display()))
}

/// `cyx-server restore --from DIR [--at TIME] [--without-secrets] --data-dir NEW`
pub(super) async fn run_restore(
    config: &Config,
    from: &Path,
    at: Option<&str>,
    without_secrets: bool,
) -> Result<(), Failure> {
    if matches!(config.database.location, Location::Postgres(_)) {
        return Err(
            "a PostgreSQL database is restored with its own tools; afterwards run `cyx-server new-incarnation`".into(),
        );
    }
    let at = at.map(parse_time).transpose()?;
    let secrets = match &config.jwt.secret {
        _ if without_secrets => Secrets::Any,
        Some(_) => Secrets::SigningKeys,
        None => Secrets::All,
    };
    let restored = restore(from, at, &config.data_dir, secrets).await?;
    let until = i64::try_from(restored.until).unwrap_or(0).saturating_mul(1_000_000);
    say(&format!("{} holds the state of {}", config.data_dir.display(), rfc3339(until)))?;
    say("its incarnation is new: clients ask before they go on, and nodes drop nothing")?;
    say("once the server runs and everything is as it should be, run `cyx-server collect --resume`")
}

/// `cyx-server new-incarnation`
pub(super) async fn run_new_incarnation(config: &Config) -> Result<(), Failure> {
    let db = Db::open_existing(&config.database).await?;
    let outcome = db.write(|conn| Box::pin(new_incarnation(conn))).await;
    db.close().await;
    let incarnation: cyx_core::keeplist::Incarnation = outcome.map_err(|error: DbError| error)?;
    say(&format!(
        "the incarnation is {} now; restart every server of this database",
        hex::encode(incarnation.to_bytes())
    ))
}

/// `cyx-server rotate-key`
pub(super) fn run_rotate_key(config: &Config) -> Result<(), Failure> {
    // The key is for an installation, and the folder of one that was mistyped has none.
    must_exist(&config.data_dir)?;
    let key = KeyFile::random(now_seconds());
    let path = key.store(&config.data_dir)?;
    say(&format!(
        "{} is there; restart the server, which announces it to nodes at once and signs with it in an hour",
        path.display()
    ))
}

/// `cyx-server collect [--resume]`
pub(super) async fn run_collect(config: Config, resume_first: bool) -> Result<(), Failure> {
    let db = Db::open_existing(&config.database).await?;
    // With PostgreSQL the folder is another matter: keep-lists that a new key signs are believed by nobody.
    must_exist(&config.data_dir)?;
    let app = App::open_on(config, db).await?;
    let outcome = async {
        if resume_first {
            resume(&app).await?;
        }
        record(&app.db, &app.network.registry, "collect", collect(&app, Pace::Now)).await
    }
    .await;
    app.db.close().await;
    say(&outcome?.to_string())
}

/// `cyx-server check`: one line per contradiction, and a failure if there is any.
pub(super) async fn run_check(config: &Config) -> Result<(), Failure> {
    let db = Db::open_existing(&config.database).await?;
    let outcome = async {
        let mut tx = db.read().await?;
        let mut findings = crate::tree::check::check(&mut tx).await?;
        findings.extend(crate::ledger::books::check(&mut tx).await?);
        Ok::<_, DbError>(findings)
    }
    .await;
    db.close().await;
    let findings = outcome?;
    for finding in &findings {
        say(finding)?;
    }
    match findings.len() {
        0 => say("the database agrees with itself"),
        _ => Err("the database contradicts itself".into()),
    }
}

/// `cyx-server payouts [--epoch N] [--format csv|json]`
pub(super) async fn run_payouts(config: &Config, epoch: Option<i64>, format: &str) -> Result<(), Failure> {
    let db = Db::open_existing(&config.database).await?;
    let outcome = async { settle::payouts(&mut *db.read().await?, epoch).await }.await;
    db.close().await;
    let payouts = outcome?;
    let text = match format {
        "json" => serde_json::to_string_pretty(&payouts)? + "\n",
        _ => settle::csv(&payouts),
    };
    print(text.as_bytes())
}

/// RFC 3339, or seconds since 1970; milliseconds. A time without fraction means all of its second.
fn parse_time(text: &str) -> Result<u64, Failure> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(seconds.saturating_mul(1000).saturating_add(999));
    }
    let time: jiff::Timestamp = text.parse().map_err(|error| format!("--at: {error}"))?;
    let ms = u64::try_from(time.as_millisecond()).map_err(|_| "--at: before 1970")?;
    Ok(if ms % 1000 == 0 { ms + 999 } else { ms })
}

fn say(line: &str) -> Result<(), Failure> {
    print(format!("{line}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_or_unix_seconds() {
        assert_eq!(parse_time("5").unwrap(), 5999);
        assert_eq!(parse_time("1970-01-01T00:00:05Z").unwrap(), 5999);
        assert_eq!(parse_time("1970-01-01T01:00:05.25+01:00").unwrap(), 5250);
        assert!(parse_time("yesterday").is_err());
    }
}
