//! A process that serves accounts and machines alone, beside others on the same PostgreSQL and with the same `JWT_SECRET`.
//!
//! What it does counts everywhere at once, because sessions stand in the database and nobody on PostgreSQL remembers them: who logs in
//! here is logged in there. It sends the letters that are due, and leaves nodes, grants and all regular work to the others.

use std::net::SocketAddr;

use tokio_util::task::TaskTracker;

use super::{RunError, bind, start_upkeep, wind_down};
use crate::app::{App, AppState, StartError};
use crate::config::{Config, ConfigError};
use crate::http::{router, tls};
use crate::{mail, metrics};

/// A running process of this kind.
pub struct IdentityServer {
    /// The shared state.
    pub app: AppState,
    /// Where it listens.
    pub address: SocketAddr,
    tasks: TaskTracker,
}

impl IdentityServer {
    /// Opens everything and starts to serve.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn start(config: Config) -> Result<Self, RunError> {
        metrics::install();
        let tls = config.tls.as_ref().map(tls::load).transpose().map_err(StartError::from)?;
        let missing = || StartError::from(ConfigError::Value("--identity: an address is needed".to_owned()));
        let address = config.identity.ok_or_else(missing)?;
        let app = App::open(config).await?;
        let server = bind(&app, address, router::identity(&app), tls).await?;
        let address = server.local_addr()?;
        let tasks = TaskTracker::new();
        tasks.spawn(server.serve(app.shutdown.clone()));
        tasks.spawn(mail::deliver(app.clone()));
        start_upkeep(&app, &tasks);
        tracing::info!(identity = %address, version = env!("CARGO_PKG_VERSION"), "the identity part is ready");
        Ok(Self { app, address, tasks })
    }

    /// Lets requests end, then closes the database.
    pub async fn stop(self) {
        wind_down(&self.app, &self.tasks).await;
        tracing::info!("the identity part stopped");
    }
}
