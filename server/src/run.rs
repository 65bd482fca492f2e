//! From a configuration to a running server, and down again. [`identity`] is the one that serves accounts alone, [`rebalancer`] the one that
//! does the regular work alone.

pub mod identity;
pub mod rebalancer;

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use crate::app::{App, AppState, StartError};
use crate::backup::copy;
use crate::backup::ship::{ShipError, ShipOptions, Shipper};
use crate::config::{Config, ProcessRole};
use crate::db::Location;
use crate::http::server::Server;
use crate::http::{router, tls};
use crate::meta::MetaServer;
use crate::nodes::service::NodeServer;
use crate::{accounts, audits, jobs, mail, metrics, repair};
use cyx_proto::node::v1::node_service_server::NodeServiceServer;

use self::identity::IdentityServer;
use self::rebalancer::Rebalancer;

/// How often samples of metrics are merged.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long background work may take to end.
const GRACE: Duration = Duration::from_secs(20);
/// How long the rest of the log may take to be shipped.
const SHIP_GRACE: Duration = Duration::from_secs(30);
/// Name of the file in the data folder that a server on the embedded database locks.
pub(crate) const LOCK_FILE: &str = "server.lock";
/// How long a server waits for its predecessor to end.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Why the server ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// It could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Another server uses the same embedded database.
    #[error("another cyx-server uses the data folder {}", folder.display())]
    Busy {
        /// Which folder.
        folder: PathBuf,
    },
    /// Another server uses the embedded database.
    #[error("another cyx-server uses the database {}", database.display())]
    DatabaseBusy {
        /// Which database.
        database: PathBuf,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The log of the database cannot be shipped.
    #[error(transparent)]
    Ship(#[from] ShipError),
    /// The operating system refuses something else.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A server with its listeners bound.
pub struct Running {
    /// The shared state.
    pub app: AppState,
    /// Where users come in.
    pub http: SocketAddr,
    /// Where nodes come in.
    pub grpc: SocketAddr,
    /// Where accounts and machines alone are served.
    pub identity: Option<SocketAddr>,
    tasks: TaskTracker,
    shipping: Option<Shipping>,
    /// Held until the server stopped.
    _locks: Vec<File>,
}

/// The log is shipped until after the last write, so it does not end with the other tasks.
struct Shipping {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Shipping {
    /// Lets the rest be shipped, for so long.
    async fn end(self, grace: Duration) {
        self.stop.cancel();
        match tokio::time::timeout(grace, self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the last changes were not shipped"),
            Err(_elapsed) => tracing::warn!(?grace, "shipping did not end in time; the last changes may be missing"),
        }
    }
}

impl Running {
    /// Opens everything and starts to serve.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn start(config: Config) -> Result<Self, RunError> {
        metrics::install();
        let locks = lock(&config).await?;
        let tls = config.tls.as_ref().map(tls::load).transpose().map_err(StartError::from)?;
        let app = App::open(config).await?;
        let shipping = start_shipping(&app).await?;
        let users = bind(&app, app.config.http, router::users(&app, user_services(&app)), tls.clone()).await?;
        let nodes = bind(&app, app.config.grpc, router::nodes(&app, node_services(&app)), tls.clone()).await?;
        let (http, grpc) = (users.local_addr()?, nodes.local_addr()?);
        let tasks = TaskTracker::new();
        let mut identity = None;
        if let Some(address) = app.config.identity {
            let server = bind(&app, address, router::identity(&app), tls).await?;
            identity = Some(server.local_addr()?);
            tasks.spawn(server.serve(app.shutdown.clone()));
        }
        tasks.spawn(users.serve(app.shutdown.clone()));
        tasks.spawn(nodes.serve(app.shutdown.clone()));
        start_background(&app, &tasks);
        tracing::info!(%http, %grpc, version = env!("CARGO_PKG_VERSION"), "the server is ready");
        Ok(Self { app, http, grpc, identity, tasks, shipping, _locks: locks })
    }

    /// Lets requests and background work end, then closes the database.
    pub async fn stop(self) {
        wind_down(&self.app, &self.tasks).await;
        if let Some(shipping) = self.shipping {
            shipping.end(SHIP_GRACE).await;
        }
        tracing::info!("the server stopped");
    }
}

/// Lets requests and background work end, then closes the database.
async fn wind_down(app: &AppState, tasks: &TaskTracker) {
    app.shutdown.cancel();
    tasks.close();
    if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
        tracing::warn!("background work was cut off");
    }
    app.db.close().await;
}

/// Two servers on one embedded database would not hear of each other's changes and revocations. Besides the data folder the database has a lock
/// of its own: `DATABASE_URL` may name one that lies elsewhere, perhaps in another server's folder.
async fn lock(config: &Config) -> Result<Vec<File>, RunError> {
    let Location::Sqlite(database) = &config.database.location else { return Ok(Vec::new()) };
    let folder = &config.data_dir;
    copy::private_folder(folder)?;
    if let Some(folder) = database.parent() {
        copy::private_folder(folder)?;
    }
    let of_folder = hold(&folder.join(LOCK_FILE), || RunError::Busy { folder: folder.clone() }).await?;
    let of_database = hold(&lock_of(database), || RunError::DatabaseBusy { database: database.clone() }).await?;
    Ok(vec![of_folder, of_database])
}

/// The lock of an embedded database: beside the file, by its own name, whatever leads to it. The file may not be there yet.
pub(crate) fn lock_of(database: &Path) -> PathBuf {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    let mut path = real(database).unwrap_or_else(|| match (database.parent(), database.file_name()) {
        (Some(folder), Some(name)) => {
            real(&Path::new(".").join(folder)).map_or_else(|| database.to_owned(), |real| real.join(name))
        }
        _ => database.to_owned(),
    });
    path.as_mut_os_string().push(".lock");
    path
}

/// Locks a file, which is made if it is not there.
async fn hold(path: &Path, busy: impl Fn() -> RunError) -> Result<File, RunError> {
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => tokio::time::sleep(LOCK_PAUSE).await,
            Err(TryLockError::WouldBlock) => return Err(busy()),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

/// gRPC services on the users' address.
fn user_services(app: &AppState) -> Routes {
    Routes::new(MetaServer::service(app.clone()))
}

/// gRPC services on the nodes' address.
fn node_services(app: &AppState) -> Routes {
    Routes::new(NodeServiceServer::new(NodeServer::new(app.clone())))
}

fn start_background(app: &AppState, tasks: &TaskTracker) {
    tasks.spawn(mail::deliver(app.clone()));
    tasks.spawn(accounts::housekeeping::run(app.clone()));
    app.network.start(&app.db, tasks, &app.shutdown);
    start_jobs(app, tasks);
    start_upkeep(app, tasks);
}

/// Regular work, of which leases decide who does it.
fn start_jobs(app: &AppState, tasks: &TaskTracker) {
    tasks.spawn(jobs::run(app.clone()));
    tasks.spawn(audits::run(app.clone()));
    tasks.spawn(repair::run::run(app.clone()));
}

fn start_upkeep(app: &AppState, tasks: &TaskTracker) {
    let stop = app.shutdown.clone();
    tasks.spawn(async move {
        while tokio::time::timeout(UPKEEP, stop.cancelled()).await.is_err() {
            metrics::upkeep();
        }
    });
}

async fn start_shipping(app: &AppState) -> Result<Option<Shipping>, ShipError> {
    let Some(folder) = app.config.ship_wal.clone() else {
        app.db.checkpoint_by_itself().await?;
        return Ok(None);
    };
    let options = ShipOptions { folder, data_dir: app.config.data_dir.clone(), keep: app.config.ship_wal_keep };
    let shipper = Shipper::start(&app.db, options).await?;
    let stop = CancellationToken::new();
    let task = tokio::spawn(shipper.run(stop.clone()));
    Ok(Some(Shipping { stop, task }))
}

async fn bind(
    app: &App,
    address: SocketAddr,
    router: axum::Router,
    tls: Option<std::sync::Arc<rustls::ServerConfig>>,
) -> Result<Server, RunError> {
    let server = Server::bind(address, router, tls).await.map_err(|source| RunError::Listen { address, source })?;
    Ok(server.behind_proxy(app.config.trusts_forwarded()))
}

/// Allows this process as many open files as it may have: every connection takes one, and the usual limit is 1024.
fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// [`RunError`].
pub async fn run(config: Config) -> Result<(), RunError> {
    allow_open_files();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (print_ready, role) = (config.print_ready, config.role);
    let ended = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    match role {
        ProcessRole::All | ProcessRole::Gateway => {
            let running = Running::start(config).await?;
            if print_ready {
                let addresses =
                    [("http", Some(running.http)), ("grpc", Some(running.grpc)), ("identity", running.identity)];
                print_ready_line(&running.app, &addresses)?;
            }
            ended.await;
            running.stop().await;
        }
        ProcessRole::Rebalancer => {
            let running = Rebalancer::start(config).await?;
            if print_ready {
                print_ready_line(&running.app, &[("http", Some(running.address))])?;
            }
            ended.await;
            running.stop().await;
        }
        ProcessRole::Identity => {
            let running = IdentityServer::start(config).await?;
            if print_ready {
                print_ready_line(&running.app, &[("identity", Some(running.address))])?;
            }
            ended.await;
            running.stop().await;
        }
    }
    Ok(())
}

/// The line by which a script learns the addresses.
fn print_ready_line(app: &AppState, addresses: &[(&str, Option<SocketAddr>)]) -> std::io::Result<()> {
    let incarnation = hex::encode(app.network.keys.incarnation().to_bytes());
    let mut line = serde_json::json!({ "ready": true, "incarnation": incarnation });
    for (name, address) in addresses.iter().filter_map(|(name, address)| Some((name, (*address)?))) {
        line[*name] = address.to_string().into();
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::config;

    #[tokio::test]
    async fn a_folder_that_hangs_does_not_keep_a_server_from_stopping() {
        let (stop, task) = (CancellationToken::new(), tokio::spawn(std::future::pending()));
        Shipping { stop, task }.end(Duration::ZERO).await;
    }

    #[tokio::test]
    async fn of_two_servers_on_one_file_the_second_does_not_start_wherever_its_data_folder_is() {
        let dir = tempfile::tempdir().unwrap();
        let [mut one, mut other] = ["one", "other"].map(|name| config(&dir.path().join(name)));
        let file = dir.path().join("shared/cyx.db");
        one.database.location = Location::Sqlite(file.clone());
        std::os::unix::fs::symlink(dir.path(), dir.path().join("link")).unwrap();
        other.database.location = Location::Sqlite(dir.path().join("link/shared/cyx.db"));
        let locks = lock(&one).await.unwrap();
        std::fs::write(&file, "").unwrap();
        for refused in [lock(&other).await.map(drop).unwrap_err(), other.try_start().await.unwrap_err()] {
            assert!(matches!(refused, RunError::DatabaseBusy { .. }), "{refused}");
        }
        drop(locks);
        let locks = lock(&other).await.unwrap();
        // The other way round: the folder that the database lies in is somebody's data folder.
        let owner = config(&dir.path().join("shared"));
        assert!(matches!(lock(&owner).await.unwrap_err(), RunError::DatabaseBusy { .. }));
        let mut beside = config(&dir.path().join("beside"));
        beside.database.location = Location::Sqlite(dir.path().join("shared/beside.db"));
        lock(&beside).await.unwrap();
        drop(locks);
        let _locks = lock(&owner).await.unwrap();
        assert!(matches!(lock(&one).await.unwrap_err(), RunError::DatabaseBusy { .. }));
    }
}
