//! What tests need: a configuration, a database of their own, an account.
//!
//! Tests run on SQLite, in a temporary folder each. With `CYX_TEST_POSTGRES_URL` set they run on PostgreSQL instead, in a schema each.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::accounts::plan::Plan;
use crate::app::{App, AppState};
use crate::config::{Config, JwtConfig, MailRoute, ProcessRole, Secret};
use crate::db::{Db, DbConfig, Location};

/// Names the PostgreSQL server for tests, for example `postgres://user:password@localhost/database`.
pub const POSTGRES_VARIABLE: &str = "CYX_TEST_POSTGRES_URL";

/// A configuration for tests in a folder, with an embedded database.
#[must_use]
pub fn config(folder: &Path) -> Config {
    let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let location = Location::Sqlite(folder.join("cyx.db"));
    Config {
        role: ProcessRole::All,
        domain: "cyx.test".into(),
        account_calls_per_second: 3000,
        data_dir: folder.to_owned(),
        http: loopback,
        grpc: loopback,
        identity: None,
        database: DbConfig { location, connections: 4 },
        tls: None,
        behind_proxy: false,
        mail: MailRoute::Outbox(folder.join("outbox")),
        mail_from: "cyx <no-reply@cyx.test>".into(),
        jwt: JwtConfig {
            secret: Some(Secret::new(b"a secret for tests only".to_vec())),
            issuer: "cyxwiz-api".into(),
            accepted_issuers: vec!["cyxwiz-api".into()],
            skip_issuer_validation: false,
        },
        enroll_token: Some(Secret::new(b"enrol for tests".to_vec())),
        plan: Plan::Free,
        plan_free_bytes: Plan::Free.storage_bytes(),
        plan_free_traffic_bytes: Plan::Free.traffic_bytes(),
        admins: Vec::new(),
        account_grace: Duration::from_secs(7 * 24 * 3600),
        audit: Duration::from_secs(365 * 24 * 3600),
        allow_colocated: true,
        max_file_bytes: cyx_core::units::FILE_MAX,
        access_token: Duration::from_secs(3600),
        refresh_token: Duration::from_secs(7 * 24 * 3600),
        node_token: Duration::from_secs(24 * 3600),
        grant: Duration::from_secs(3600),
        heartbeat: Duration::from_secs(30),
        node_suspect: Duration::from_secs(90),
        node_offline: Duration::from_secs(300),
        node_lost: Duration::from_secs(4 * 3600),
        repair_tasks: 256,
        repair_eager: false,
        repair_tasks_per_node: 8,
        node_audit: Duration::from_secs(600),
        node_audit_slices: 5,
        node_audit_recheck: Duration::from_secs(300),
        trash: Duration::from_secs(30 * 24 * 3600),
        superseded: Duration::from_secs(24 * 3600),
        staged: Duration::from_secs(7 * 24 * 3600),
        changes: Duration::from_secs(7 * 24 * 3600),
        keep_list_margin: Duration::from_secs(48 * 3600),
        job: Duration::from_secs(600),
        epoch: Duration::from_secs(24 * 3600),
        storage_rate: 1500,
        traffic_rate: 2000,
        hold_percent: 10,
        payouts: None,
        write_lease: Duration::from_secs(30),
        ship_wal: None,
        ship_wal_keep: Duration::from_secs(7 * 24 * 3600),
        log_json: false,
        print_ready: false,
    }
}

/// A database of one test. Gone when dropped.
pub struct TestDb {
    /// The database.
    pub db: Db,
    /// How it was opened, for a test that opens it again.
    pub config: DbConfig,
    _place: Place,
}

impl TestDb {
    /// Makes one.
    ///
    /// # Panics
    /// If there is no database to be had.
    pub async fn new() -> Self {
        Self::at(Place::new().await).await
    }

    /// Makes one in SQLite whatever the other tests run on, for what is SQLite's alone.
    ///
    /// # Panics
    /// If there is no room for it.
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::at(Place { folder, schema: None }).await
    }

    async fn at(place: Place) -> Self {
        let config = DbConfig { location: place.location(), connections: 4 };
        let db = Db::open(&config).await.expect("the test database opens");
        Self { db, config, _place: place }
    }
}

/// A server's shared state on a database of its own.
pub struct TestApp {
    /// The state.
    pub app: AppState,
    place: Place,
}

impl TestApp {
    /// Makes one.
    ///
    /// # Panics
    /// If there is no database to be had.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// Makes one with a changed configuration.
    ///
    /// # Panics
    /// If there is no database to be had.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let place = Place::new().await;
        let mut config = config(place.folder.path());
        config.database.location = place.location();
        change(&mut config);
        let app = App::open(config).await.expect("the test server opens");
        Self { app, place }
    }

    /// Makes one that sends letters in another way.
    ///
    /// # Panics
    /// If there is no database to be had.
    pub async fn with_mail_transport(transport: Box<dyn crate::mail::MailTransport>) -> Self {
        let place = Place::new().await;
        let mut config = config(place.folder.path());
        config.database.location = place.location();
        let mailer = crate::mail::Mailer::with(transport, &config.mail_from).expect("the sender is an address");
        let app = App::open_with(config, mailer).await.expect("the test server opens");
        Self { app, place }
    }

    /// Its data folder.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.place.folder.path().to_owned()
    }
}

/// A whole server that listens on loopback, on a database of its own.
pub struct TestServer {
    /// The running server.
    pub running: crate::run::Running,
    /// Its configuration, for a test that starts it again.
    pub config: Config,
    place: Place,
}

impl TestServer {
    /// Starts one.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts one with a changed configuration.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let place = Place::new().await;
        let mut config = config(place.folder.path());
        config.database.location = place.location();
        change(&mut config);
        let running = crate::run::Running::start(config.clone()).await.expect("the test server starts");
        Self { running, config, place }
    }

    /// Stops it and starts another one on the same database and folder.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn restart(self) -> Self {
        let Self { running, config, place } = self;
        running.stop().await;
        let running = crate::run::Running::start(config.clone()).await.expect("the test server starts again");
        Self { running, config, place }
    }

    /// Stops it.
    pub async fn stop(self) {
        self.running.stop().await;
    }

    /// Its outbox.
    #[must_use]
    pub fn outbox(&self) -> PathBuf {
        self.place.folder.path().join("outbox")
    }

    /// The address of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.config.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.running.http)
    }
}

/// Where a test keeps its things.
struct Place {
    folder: tempfile::TempDir,
    schema: Option<Schema>,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let schema = match std::env::var(POSTGRES_VARIABLE) {
            Ok(url) if !url.is_empty() => Some(Schema::create(url).await),
            _ => None,
        };
        Self { folder, schema }
    }

    fn location(&self) -> Location {
        match &self.schema {
            Some(schema) => Location::Postgres(schema.url()),
            None => Location::Sqlite(self.folder.path().join("cyx.db")),
        }
    }
}

/// A PostgreSQL schema that is dropped with its test.
struct Schema {
    server: String,
    name: String,
}

impl Schema {
    async fn create(server: String) -> Self {
        sqlx::any::install_default_drivers();
        let name = format!("cyx_test_{}", hex::encode(cyx_core::ids::random_bytes::<8>()));
        let mut connection =
            sqlx::AnyConnection::connect(&server).await.expect("the PostgreSQL server for tests answers");
        let text = format!("CREATE SCHEMA {name}");
        connection.execute(sqlx::raw_sql(AssertSqlSafe(text))).await.expect("a schema for the test");
        connection.close().await.expect("the connection closes");
        Self { server, name }
    }

    fn url(&self) -> String {
        let sign = if self.server.contains('?') { '&' } else { '?' };
        format!("{}{sign}application_name={}&options[search_path]={}", self.server, self.name, self.name)
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), &self.name);
        // Connections that the test leaves open would hold locks on what is dropped.
        let text = format!(
            "DO $$ BEGIN PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'; END $$; \
             DROP SCHEMA {name} CASCADE"
        );
        // A runtime of its own, since dropping cannot wait inside the test's.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| {
                runtime.block_on(async {
                    if let Ok(mut connection) = sqlx::AnyConnection::connect(&server).await {
                        let _ = connection.execute(sqlx::raw_sql(AssertSqlSafe(text))).await;
                    }
                });
            })
        });
        let _ = dropped.join();
    }
}
