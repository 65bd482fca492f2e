//! A process that does the regular work alone, beside others on the same PostgreSQL: repairs and moves, collections, audits.
//!
//! It serves nobody but those who watch it. Leases in the database see to it that no job runs twice, so any number of these and of ordinary
//! servers may run together; when the one that does a job dies, another one goes on. What it knows of the nodes it reads from the
//! database, to which the servers that hear them write.

use std::net::SocketAddr;

use tokio_util::task::TaskTracker;

use super::{RunError, bind, start_jobs, start_upkeep, wind_down};
use crate::app::{App, AppState, StartError};
use crate::config::Config;
use crate::http::{router, tls};
use crate::metrics;

/// A running process of this kind.
pub struct Rebalancer {
    /// The shared state.
    pub app: AppState,
    /// Where it shows how it is.
    pub address: SocketAddr,
    tasks: TaskTracker,
}

impl Rebalancer {
    /// Opens everything and starts to work.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn start(config: Config) -> Result<Self, RunError> {
        metrics::install();
        let tls = config.tls.as_ref().map(tls::load).transpose().map_err(StartError::from)?;
        let app = App::open(config).await?;
        let server = bind(&app, app.config.http, router::status(&app), tls).await?;
        let address = server.local_addr()?;
        let tasks = TaskTracker::new();
        tasks.spawn(server.serve(app.shutdown.clone()));
        app.network.start(&app.db, &tasks, &app.shutdown);
        start_jobs(&app, &tasks);
        start_upkeep(&app, &tasks);
        tracing::info!(http = %address, version = env!("CARGO_PKG_VERSION"), "the rebalancer is ready");
        Ok(Self { app, address, tasks })
    }

    /// Lets work end, then closes the database.
    pub async fn stop(self) {
        wind_down(&self.app, &self.tasks).await;
        tracing::info!("the rebalancer stopped");
    }
}
