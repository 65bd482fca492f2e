//! What every request handler shares.

use std::sync::Arc;

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::auth::Sessions;
use crate::changes::Bus;
use crate::config::{Config, ConfigError, ProcessRole};
use crate::db::{Db, DbError};
use crate::http::arriving::Arriving;
use crate::http::throttle::Throttle;
use crate::keys::KeyError;
use crate::ledger;
use crate::mail::Mailer;
use crate::network::Network;
use crate::tokens::Tokens;
use crate::tree::buckets::WriterCache;

/// The shared state, as handlers hold it.
pub type AppState = Arc<App>;

/// The server's parts. Made once by [`App::open`].
pub struct App {
    /// What it was told.
    pub config: Config,
    /// The database.
    pub db: Db,
    /// Makes and checks tokens.
    pub tokens: Tokens,
    /// Sessions that are known to be good.
    pub sessions: Sessions,
    /// Who asked how often.
    pub throttle: Throttle,
    /// What is there of calls that are not answered yet.
    pub arriving: Arriving,
    /// Sends letters to people.
    pub mailer: Mailer,
    /// The storage network.
    pub network: Network,
    /// Tells those who watch what changed.
    pub changes: Bus,
    /// Writer lists that were checked.
    pub writers: WriterCache,
    /// Ends everything that runs in the background.
    pub shutdown: CancellationToken,
}

/// Why the server does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

impl App {
    /// Opens the database, loads secrets and makes the shared state. Starts nothing.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(config: Config) -> Result<AppState, StartError> {
        let mailer = Mailer::open(&config)?;
        Self::open_with(config, mailer).await
    }

    /// As [`App::open`], with a mailer of the caller's choice.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open_with(config: Config, mailer: Mailer) -> Result<AppState, StartError> {
        // First, so that a secret that is no good leaves no database behind.
        let tokens = Tokens::load(&config)?;
        let db = Db::open(&config.database).await?;
        Self::with(config, mailer, tokens, db).await
    }

    /// As [`App::open`], on a database that is open already.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open_on(config: Config, db: Db) -> Result<AppState, StartError> {
        let mailer = Mailer::open(&config)?;
        let tokens = Tokens::load(&config)?;
        Self::with(config, mailer, tokens, db).await
    }

    async fn with(config: Config, mailer: Mailer, tokens: Tokens, db: Db) -> Result<AppState, StartError> {
        let network = match config.role {
            ProcessRole::All | ProcessRole::Gateway | ProcessRole::Rebalancer => {
                Network::open(&db, &config.data_dir, (&config).into()).await?
            }
            ProcessRole::Identity => Network::open_silent(&db, (&config).into()).await?,
        };
        ledger::begin(&db, (&config).into()).await?;
        let (sessions, shutdown) = (Sessions::default(), CancellationToken::new());
        let throttle = Throttle::new(config.account_calls_per_second);
        let (changes, writers) = (Bus::default(), WriterCache::default());
        Ok(Arc::new(Self {
            config,
            db,
            tokens,
            sessions,
            throttle,
            arriving: Arriving::default(),
            mailer,
            network,
            changes,
            writers,
            shutdown,
        }))
    }
}
