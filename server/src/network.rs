//! The storage network's part of the server, put together: who the server is to its nodes, the nodes, where shards go.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audits::AuditOptions;
use crate::config::{Config, ProcessRole};
use crate::db::Db;
use crate::jobs::lease::JobLeases;
use crate::keys::{self, KeyError, ServerKeys};
use crate::nodes::registry::Patience;
use crate::nodes::{NetworkOptions, Registry, rows, watch};
use crate::placement::Placements;
use crate::repair::Waiting;

/// The parts.
pub struct Network {
    /// The server's keys and identity.
    pub keys: Arc<ServerKeys>,
    /// All nodes.
    pub registry: Registry,
    /// Leases, grants, read access.
    pub placements: Arc<Placements>,
    /// What an administrator decided.
    pub options: NetworkOptions,
    /// For whom tasks wait.
    pub repair: Waiting,
    /// The leases of jobs that only one server may run.
    pub job_leases: JobLeases,
}

impl Network {
    /// Loads everything from the database and the data folder. Starts nothing.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn open(db: &Db, data_dir: &Path, options: NetworkOptions) -> Result<Self, KeyError> {
        Self::with(db, ServerKeys::load(db, data_dir).await?, options).await
    }

    /// As [`Network::open`], for a process that neither serves nodes nor hands out grants.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn open_silent(db: &Db, options: NetworkOptions) -> Result<Self, KeyError> {
        Self::with(db, ServerKeys::load_silent(db).await?, options).await
    }

    async fn with(db: &Db, keys: ServerKeys, options: NetworkOptions) -> Result<Self, KeyError> {
        let keys = Arc::new(keys);
        let records = rows::load_all(&mut *db.read().await?).await?;
        let registry = Registry::new(
            records,
            Patience::of_seconds(
                options.node_suspect_seconds,
                options.node_offline_seconds,
                options.node_lost_seconds,
                options.heartbeat_seconds,
            ),
            Instant::now(),
        );
        let placements = Placements::load(db.clone(), Arc::clone(&keys), registry.clone(), options).await?;
        let repair = Waiting::default();
        let job_leases =
            if options.regular_work { JobLeases::of_server(db.clone()) } else { JobLeases::abstaining(db.clone()) };
        Ok(Self { keys, registry, placements: Arc::new(placements), options, repair, job_leases })
    }

    /// Starts watching the nodes, and keeps them told of this server's keys.
    pub fn start(&self, db: &Db, tasks: &TaskTracker, stop: &CancellationToken) {
        let (keys, registry, diversity) = (Arc::clone(&self.keys), self.registry.clone(), self.placements.diversity());
        tasks.spawn(watch::watch(db.clone(), keys, registry, diversity, stop.clone()));
        tasks.spawn(keys::stay_announced(db.clone(), Arc::clone(&self.keys), stop.clone()));
    }
}

impl From<&Config> for NetworkOptions {
    fn from(config: &Config) -> Self {
        Self {
            allow_colocated: config.allow_colocated,
            heartbeat_seconds: u32::try_from(config.heartbeat.as_secs()).unwrap_or(u32::MAX),
            node_suspect_seconds: config.node_suspect.as_secs(),
            node_offline_seconds: config.node_offline.as_secs(),
            node_lost_seconds: config.node_lost.as_secs(),
            repair_tasks: config.repair_tasks,
            repair_eager: config.repair_eager,
            repair_tasks_per_node: config.repair_tasks_per_node,
            grant_seconds: config.grant.as_secs(),
            keep_list_margin_seconds: config.keep_list_margin.as_secs(),
            job_seconds: config.job.as_secs(),
            audits: AuditOptions {
                every: config.node_audit,
                slices: config.node_audit_slices,
                recheck: config.node_audit_recheck,
                ..AuditOptions::default()
            },
            regular_work: config.role != ProcessRole::Gateway,
        }
    }
}
