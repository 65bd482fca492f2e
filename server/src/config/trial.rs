//! What a start would refuse, found without starting, making or changing anything.

use std::fs::{File, TryLockError};
use std::io;
use std::net::TcpListener;
use std::path::Path;

use rustix::fs::{Access, access};

use super::{Config, ConfigError, MailRoute, ProcessRole, invalid};
use crate::app::StartError;
use crate::backup::ship::{self, ShipError};
use crate::db::{Db, Location};
use crate::http::tls;
use crate::keys::file::look;
use crate::run::{self, LOCK_FILE, RunError};
use crate::{mail, tokens};

impl Config {
    /// Whether a start would succeed now, without one: as [`Self::try_out`], with what is in the database and with the ports. These come last,
    /// so that all else was looked at beside a server which has them, and they are its own while it has the data folder.
    ///
    /// # Errors
    /// [`RunError`], as the start would end with.
    pub async fn try_start(&self) -> Result<(), RunError> {
        self.try_out()?;
        Db::must_be_known(&self.database).await.map_err(StartError::from)?;
        // On PostgreSQL nothing says whether it is this server that has them.
        if self.is_served() || matches!(self.database.location, Location::Postgres(_)) {
            return Ok(());
        }
        if let Location::Sqlite(database) = &self.database.location
            && is_locked(&run::lock_of(database))
        {
            return Err(RunError::DatabaseBusy { database: database.clone() });
        }
        if let Some(folder) = self.ship_wal.as_ref().filter(|folder| is_locked(&folder.join(ship::LOCK))) {
            return Err(ShipError::Taken(folder.clone()).into());
        }
        for (_, address) in self.listeners() {
            TcpListener::bind(address).map_err(|source| RunError::Listen { address, source })?;
        }
        Ok(())
    }

    /// Whether a server has the data folder.
    fn is_served(&self) -> bool {
        is_locked(&self.data_dir.join(LOCK_FILE))
    }

    /// Looks at what else a start would read or make: certificate and key, secrets and signing keys, folders, the addresses of mail server and
    /// database.
    ///
    /// # Errors
    /// [`StartError`], as the start would end with.
    pub fn try_out(&self) -> Result<(), StartError> {
        self.tls.as_ref().map(tls::load).transpose()?;
        tokens::try_secret(self)?;
        folder(&self.data_dir)?;
        if self.role != ProcessRole::Identity {
            look(&self.data_dir)?;
        }
        match &self.mail {
            MailRoute::Outbox(outbox) => folder(outbox)?,
            MailRoute::Smtp(smtp) => mail::check_server(smtp)?,
        }
        if let Some(payouts) = &self.payouts {
            folder(payouts)?;
        }
        match (&self.ship_wal, &self.database.location) {
            (Some(_), _) if matches!(self.role, ProcessRole::Identity | ProcessRole::Rebalancer) => {}
            (Some(shipped), Location::Sqlite(_)) => folder(shipped)?,
            (Some(_), Location::Postgres(_)) => {
                return Err(invalid("ship-wal", "is for the embedded database; PostgreSQL has tools of its own").into());
            }
            (None, _) => {}
        }
        if let Location::Sqlite(path) = &self.database.location {
            path.parent().map(folder).transpose()?;
            if path.is_dir() {
                return Err(file_error(path, io::ErrorKind::IsADirectory.into()).into());
            }
        }
        Ok(self.database.check()?)
    }
}

fn is_locked(path: &Path) -> bool {
    let lock = File::open(path).map(|file| file.try_lock_shared());
    matches!(lock, Ok(Err(TryLockError::WouldBlock)))
}

fn file_error(path: &Path, source: io::Error) -> ConfigError {
    ConfigError::File { path: path.to_owned(), source }
}

/// A folder that can be written to, or made where there is nothing.
fn folder(path: &Path) -> Result<(), ConfigError> {
    // A bare name lies in the present folder, which has an empty path.
    let there = path.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    for ancestor in there {
        match std::fs::metadata(ancestor) {
            Ok(found) if found.is_dir() => {
                let usable = access(ancestor, Access::WRITE_OK | Access::EXEC_OK);
                return usable.map_err(|errno| file_error(path, errno.into()));
            }
            Ok(_) => return Err(file_error(path, io::ErrorKind::NotADirectory.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file_error(path, error)),
        }
    }
    Err(file_error(path, io::ErrorKind::NotFound.into()))
}

#[cfg(test)]
mod tests {
    use super::super::{JwtConfig, Secret};
    use super::*;
    use crate::db::DbError;
    use crate::test_support::config;

    #[test]
    fn what_a_start_would_refuse_is_found_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let good = config(&dir.path().join("data"));
        good.try_out().unwrap();
        let outbox = |path: &str| Config { mail: MailRoute::Outbox(path.into()), ..good.clone() };
        let jwt = JwtConfig { secret: Some(Secret::new(b"short".to_vec())), ..good.jwt.clone() };
        for bad in [
            outbox("/dev/null"),
            outbox("/dev/null/below"),
            Config { jwt, ..good.clone() },
            Config { ship_wal: Some("/dev/null".into()), ..good.clone() },
            Config { data_dir: "/dev/null/data".into(), ..good.clone() },
        ] {
            bad.try_out().unwrap_err();
        }
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }

    #[tokio::test]
    async fn a_port_in_use_is_found_unless_the_server_of_the_folder_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let free = config(&dir.path().join("data"));
        free.try_start().await.unwrap();
        let address = taken.local_addr().unwrap();
        for busy in [Config { http: address, ..free.clone() }, Config { grpc: address, ..free.clone() }] {
            let error = busy.try_start().await.unwrap_err();
            assert!(matches!(error, RunError::Listen { address: found, .. } if found == address), "{error}");
        }
        let elsewhere = Config { role: ProcessRole::Rebalancer, grpc: address, ..free.clone() };
        elsewhere.try_start().await.unwrap();
        assert!(!free.data_dir.exists());

        std::fs::create_dir(&free.data_dir).unwrap();
        let lock = File::create(free.data_dir.join(LOCK_FILE)).unwrap();
        let busy = Config { http: address, ..free };
        busy.try_start().await.unwrap_err();
        lock.lock().unwrap();
        busy.try_start().await.unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_another_server_ships_into_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { ship_wal: Some(dir.path().to_owned()), ..config(&dir.path().join("data")) };
        let lock = File::create(dir.path().join(ship::LOCK)).unwrap();
        config.try_start().await.unwrap();
        lock.lock().unwrap();
        let error = config.try_start().await.unwrap_err();
        assert!(matches!(error, RunError::Ship(ShipError::Taken(_))), "{error}");
    }

    #[tokio::test]
    async fn a_database_of_a_newer_version_is_found_and_nothing_changes() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let db = Db::open(&config.database).await.unwrap();
        config.try_start().await.unwrap();
        let newer = db.write(|conn| {
            let text = "INSERT INTO schema_migration (number, hash) VALUES (1000000, x'00')";
            Box::pin(async move { Ok::<_, DbError>(sqlx::query(text).execute(conn).await?.rows_affected()) })
        });
        newer.await.unwrap();
        let refused = async || {
            let error = config.try_start().await.unwrap_err();
            let newer = |error: &_| matches!(error, RunError::Start(StartError::Db(DbError::Newer { .. })));
            assert!(newer(&error), "{error}");
        };
        // It is still in the log.
        refused().await;
        db.close().await;
        let files = || {
            let entries = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| (std::fs::read(&path).unwrap(), path)).collect::<std::collections::BTreeSet<_>>()
        };
        let before = files();
        refused().await;
        assert!(files() == before);
    }

    #[test]
    fn damaged_secrets_of_the_data_folder_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        config.jwt.secret = None;
        config.try_out().unwrap();
        std::fs::write(dir.path().join("jwt.secret"), "short").unwrap();
        config.try_out().unwrap_err();
        std::fs::remove_file(dir.path().join("jwt.secret")).unwrap();
        std::fs::create_dir(dir.path().join("signing-keys")).unwrap();
        std::fs::write(dir.path().join("signing-keys/a.key"), "damaged").unwrap();
        config.try_out().unwrap_err();
    }
}
