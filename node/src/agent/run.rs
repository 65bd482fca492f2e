//! From the start of a node to its orderly end.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cyx_core::error::ErrorCode;
use cyx_core::ids::NodeId;
use cyx_core::units::{MIB, NODE_MINIMUM, NODE_RESERVED};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::config::Config;
use super::error::Error;
use super::keep::Follower;
use super::link::{Caller, Instructions, Link, Profile, remembered_keys};
use super::session::Session;
use super::standing::Standing;
use super::storage::{BucketPlace, Storage};
use super::{api::Api, channel, credentials, orders, scrub, upkeep};
use crate::http;
use crate::repair::worker;
use crate::service::access::Access;
use crate::service::identity::Identity;
use crate::service::ledger::Ledger;
use crate::service::{self, Node};
use crate::store::{BucketOptions, BucketStore, ChunkStore, Clock, DiskOptions, DiskStore};

/// Name of the ledger's file in the data directory.
const LEDGER_FILE: &str = "ledger.redb";
/// Bytes of the filesystem that a node leaves free.
const MARGIN: u64 = 256 * MIB;
/// Between heartbeats, if the server does not say.
const HEARTBEAT_SECONDS: u64 = 30;
/// The first pause after a failure; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A running node. Dropping it stops it without ceremony; [`Self::stop`] lets it end in order.
pub struct Running {
    node: Arc<Node>,
    grpc: SocketAddr,
    metrics: SocketAddr,
    parts: Parts,
}

/// What `--print-ready` prints.
#[derive(Serialize)]
struct Ready {
    ready: bool,
    node_id: NodeId,
    grpc: SocketAddr,
    metrics: SocketAddr,
    pid: u32,
}

/// The running parts of a node. They end when this is dropped.
struct Parts {
    node: Arc<Node>,
    stop: watch::Sender<bool>,
    grpc: JoinHandle<Result<(), service::ServeError>>,
    metrics: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
    grace: Duration,
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.grpc.abort();
        self.metrics.abort();
        for part in &self.others {
            part.abort();
        }
    }
}

/// Runs a node until `shutdown`; says when it is ready if it was asked to.
///
/// # Errors
/// [`Error`]: why it could not start, or what failed while it ran.
pub async fn run(config: Config, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
    let (print, file) = (config.print_ready, config.ready_file.clone());
    tokio::pin!(shutdown);
    let mut running = start(config, &mut shutdown).await?;
    running.announce(print, file.as_deref())?;
    tokio::select! {
        () = &mut shutdown => running.stop().await,
        ended = &mut running.parts.grpc => match ended {
            Ok(Ok(())) => Err(Error::Task("the gRPC service".to_owned())),
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(Error::Task(error.to_string())),
        },
    }
}

/// Starts a node inside this process: for tests and for programs that embed one. Returns when it is registered.
///
/// # Errors
/// [`Error`]; [`Error::Ended`] if `abandon` came first. What was being opened by then may go on for a while on other threads.
pub async fn start(config: Config, abandon: impl Future<Output = ()>) -> Result<Running, Error> {
    let config = Arc::new(config);
    let clock = Clock::system();
    tokio::pin!(abandon);
    // Reading all volumes, or taking over a bucket, can take hours. Whatever is cut off is done again by the next start, as after a crash.
    let (node, capacity) = tokio::select! {
        opened = open(&config, &clock) => opened?,
        () = &mut abandon => return Err(Error::Ended),
    };
    let listening = async { Ok((listen(config.grpc).await?, listen(config.metrics).await?)) };
    let (grpc, metrics) = match listening.await {
        Ok(listeners) => listeners,
        Err(error) => {
            node.store.close().await?;
            return Err(error);
        }
    };
    let local = |listener: &TcpListener, asked| {
        listener.local_addr().map_err(|source| Error::Listen { address: asked, source })
    };
    let (grpc_address, metrics_address) = (local(&grpc, config.grpc)?, local(&metrics, config.metrics)?);
    let tls = config.tls || !service::listen::may_be_plain(grpc_address);

    tracing::info!(grpc = %grpc_address, metrics = %metrics_address, tls, "listening");
    let (stop, stopped) = watch::channel(false);
    let stopping = || {
        let mut stopped = stopped.clone();
        async move {
            // The sender is gone only when everything is.
            let _ = stopped.wait_for(|stop| *stop).await;
        }
    };
    let serving = service::serve(Arc::clone(&node), grpc, tls, stopping());
    let standing = Arc::new(Standing::default());
    let (applied, current) = watch::channel(None);
    let mut parts = Parts {
        node: Arc::clone(&node),
        stop,
        grpc: tokio::spawn(serving),
        metrics: tokio::spawn(http::serve(metrics, Arc::clone(&node), Arc::clone(&standing), stopping())),
        others: vec![
            tokio::spawn(upkeep::run(Arc::clone(&node), Arc::from(config.storage_path.as_path()), current)),
            tokio::spawn(orders::save(Arc::clone(&node))),
        ],
        grace: config.grace,
    };

    if let Some(rate) = config.scrub {
        parts.others.push(tokio::spawn(scrub::run(Arc::clone(&node), rate)));
    }

    let joining = async {
        let address = public_address(&config, grpc_address).await?;
        let (region, payout_address) = (config.region.clone(), config.payout_address.clone());
        let takes_no_tasks = config.repair.tasks == 0;
        let profile = Profile { address, tls, region, payout_address, capacity, takes_no_tasks };
        join(&config, &clock, &node, profile).await
    };
    let joined = tokio::select! {
        joined = joining => joined,
        () = &mut abandon => Err(Error::Ended),
    };
    match joined {
        Ok((link, instructions)) => {
            standing.accepted(between(config.heartbeat, &instructions));
            // A home folder that cannot be written any more is no reason not to serve.
            if let Err(error) = credentials::note_node(&config.home, node.identity.id()) {
                tracing::warn!(%error, "it is not noted which node this machine is");
            }
            let (announce, announced) = watch::channel(0);
            parts.others.push(tokio::spawn(Follower::new(link.caller().clone(), applied).run(announced)));
            let interval = config.heartbeat.map_or(orders::HAND_IN, |heartbeat| heartbeat.min(orders::HAND_IN));
            parts.others.push(tokio::spawn(orders::hand_in(link.caller().clone(), interval)));
            let (tell, told) = watch::channel(instructions.tasks_wait);
            parts.others.push(tokio::spawn(worker::run(link.caller().clone(), config.repair, told)));
            parts.others.push(tokio::spawn(beat(link, instructions, config.heartbeat, standing, (announce, tell))));
            Ok(Running { node, grpc: grpc_address, metrics: metrics_address, parts })
        }
        Err(error) => {
            parts.end().await?;
            Err(error)
        }
    }
}

impl Running {
    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.node.identity.id()
    }

    /// Where chunks are served.
    #[must_use]
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where metrics and health are served.
    #[must_use]
    pub fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// Its inside, for tests.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Takes no more calls, finishes the running ones within the grace period, and makes everything durable.
    ///
    /// # Errors
    /// [`Error`] if the store or the ledger cannot be closed.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.parts.end().await
    }

    fn announce(&self, print: bool, file: Option<&Path>) -> Result<(), Error> {
        let ready =
            Ready { ready: true, node_id: self.id(), grpc: self.grpc, metrics: self.metrics, pid: std::process::id() };
        let line = serde_json::to_string(&ready).map_err(|error| Error::Task(error.to_string()))? + "\n";
        let failed = |path: String| move |source| Error::File { doing: "write", path, source };
        if let Some(path) = file {
            // Renamed into place, so that whoever waits for the file never reads half of it.
            let fresh = path.with_extension("new");
            std::fs::write(&fresh, &line)
                .and_then(|()| std::fs::rename(&fresh, path))
                .map_err(failed(path.display().to_string()))?;
        }
        if print {
            use std::io::Write as _;
            let mut out = std::io::stdout().lock();
            out.write_all(line.as_bytes()).and_then(|()| out.flush()).map_err(failed("standard output".to_owned()))?;
        }
        Ok(())
    }
}

impl Parts {
    async fn end(&mut self) -> Result<(), Error> {
        for part in &self.others {
            part.abort();
        }
        self.stop.send_replace(true);
        for part in self.others.drain(..) {
            // It holds the node until it is gone, and that it was told to go is all it can say.
            let _ = part.await;
        }
        let serving = async { tokio::join!(&mut self.grpc, &mut self.metrics) };
        if tokio::time::timeout(self.grace, serving).await.is_err() {
            tracing::warn!("what was still being served is cut off");
            self.grpc.abort();
            self.metrics.abort();
        }
        let closed = self.node.store.close().await;
        self.node.ledger.close().await?;
        Ok(closed?)
    }
}

/// Opens everything that is kept. Returns the node and the bytes it offers in all.
async fn open(config: &Arc<Config>, clock: &Clock) -> Result<(Arc<Node>, u64), Error> {
    http::install_metrics();
    let path = &config.storage_path;
    // The mountpoint of a disk that is not mounted looks like a node's first start.
    if !Identity::exists(path)
        && let Some(expected) = credentials::noted_node(&config.home)?
    {
        let note = credentials::node_note(&config.home).display().to_string();
        return Err(Error::KeyGone { path: path.display().to_string(), expected, note });
    }
    let failed = |source| Error::File { doing: "make", path: path.display().to_string(), source };
    // Other people's chunks and the node's key are nobody's on this machine. A folder that is there has the mode that somebody chose.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let identity = Identity::open(path)?;
    if let Some(expected) = config.node_id.filter(|expected| *expected != identity.id()) {
        return Err(Error::OtherNode { path: path.display().to_string(), found: identity.id(), expected });
    }
    let (store, capacity): (Arc<dyn ChunkStore>, u64) = match &config.storage {
        Storage::Disk => {
            let (config, clock) = (Arc::clone(config), clock.clone());
            let opening = tokio::task::spawn_blocking(move || open_disk(&config, clock));
            let (store, capacity) = opening.await.map_err(|error| Error::Task(error.to_string()))??;
            (Arc::new(store), capacity)
        }
        Storage::Bucket(place) => {
            let (store, capacity) = open_bucket(config, place, identity.id(), clock.clone()).await?;
            (Arc::new(store), capacity)
        }
    };
    let ledger = Ledger::open(&path.join(LEDGER_FILE), clock.clone())?;
    let access = Access::new(identity.id(), &remembered_keys(&ledger)?);
    Ok((Arc::new(Node::new(identity, store, access, ledger, clock.clone())), capacity))
}

fn open_disk(config: &Config, clock: Clock) -> Result<(DiskStore, u64), Error> {
    let options = DiskOptions { capacity: u64::MAX, margin: MARGIN, clock, ..DiskOptions::default() };
    let store = DiskStore::open(&config.storage_path, options)?;
    // What the filesystem has for this node: what is free, and what the node's chunks take already.
    let possible = store.taken_bytes().saturating_add(store.usage().free_bytes);
    let offered = config.capacity.map_or(possible, |wanted| wanted.min(possible));
    let capacity = enough(config, offered, store.taken_bytes())?;
    store.set_capacity(capacity - NODE_RESERVED);
    Ok((store, capacity))
}

async fn open_bucket(
    config: &Config,
    place: &BucketPlace,
    owner: NodeId,
    clock: Clock,
) -> Result<(BucketStore, u64), Error> {
    let client = place.client()?;
    let offered = config.capacity.unwrap_or(0);
    let options = BucketOptions {
        prefix: place.prefix(owner),
        // What is less is refused below unless there are chunks, and then taken for the least.
        capacity: offered.max(NODE_MINIMUM) - NODE_RESERVED,
        margin: MARGIN,
        clock,
        ..BucketOptions::new(owner)
    };
    let store = BucketStore::open(&config.storage_path, client, options).await?;
    match enough(config, offered, store.taken_bytes()) {
        Ok(capacity) => Ok((store, capacity)),
        Err(error) => {
            store.close().await?;
            Err(error)
        }
    }
}

/// What a node offers, if that is enough.
fn enough(config: &Config, offered: u64, taken: u64) -> Result<u64, Error> {
    if offered >= NODE_MINIMUM {
        return Ok(offered);
    }
    if taken == 0 {
        return Err(Error::InsufficientStorage { path: config.storage_path.display().to_string(), offered });
    }
    // Somebody else filled the disk. What is kept here has to be served all the same; that there is no room for more is
    // found out whenever a chunk comes.
    tracing::warn!(offered, "the disk has less room than a node has to offer");
    Ok(NODE_MINIMUM)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

/// Where clients reach the node: what the operator says, the address it listens on, or the one that leads to the server.
async fn public_address(config: &Config, grpc: SocketAddr) -> Result<String, Error> {
    if let Some(address) = &config.public_addr {
        let has_port = address
            .rsplit_once(':')
            .is_some_and(|(host, port)| port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')));
        return Ok(match (has_port, address.parse::<std::net::Ipv6Addr>()) {
            (true, _) => address.clone(),
            (false, Ok(v6)) => format!("[{v6}]:{}", grpc.port()),
            (false, Err(_)) => format!("{address}:{}", grpc.port()),
        });
    }
    if !grpc.ip().is_unspecified() {
        return Ok(grpc.to_string());
    }
    let unreachable = |reason: String| Error::Unreachable { at: config.central.clone(), reason };
    let (host, port, _) =
        channel::host_and_port(&config.central).ok_or_else(|| unreachable("no address".to_owned()))?;
    let mut pause = PAUSE;
    loop {
        match way_to(&host, port).await {
            Ok(ip) => return Ok(SocketAddr::new(ip, grpc.port()).to_string()),
            Err(error) => tracing::warn!(server = config.central, %error, "the way to the server is not known yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The address of this machine from which it would speak to a host. Nothing is sent.
async fn way_to(host: &str, port: u16) -> std::io::Result<IpAddr> {
    let mut found = tokio::net::lookup_host((host, port)).await?;
    let target = found.next().ok_or(std::io::ErrorKind::NotFound)?;
    let any: SocketAddr = if target.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = tokio::net::UdpSocket::bind(any).await?;
    socket.connect(target).await?;
    Ok(socket.local_addr()?.ip())
}

/// Enrols and registers, however long the server is away. What the server refuses for good ends it.
async fn join(
    config: &Arc<Config>,
    clock: &Clock,
    node: &Arc<Node>,
    profile: Profile,
) -> Result<(Link, Instructions), Error> {
    let api = Api::new(&config.api_url, config.ca_file.as_deref())?;
    let mut pause = PAUSE;
    let mut link: Option<Link> = None;
    loop {
        let attempt = async {
            if link.is_none() {
                let session = Session::open(api.clone(), Arc::clone(config), clock.clone()).await?;
                let channel = channel::open(&config.central, config.ca_file.as_deref())?;
                let caller = Caller::new(Arc::clone(node), session, channel, config.central.clone());
                link = Some(Link::new(caller, profile.clone()));
            }
            match &mut link {
                Some(link) => {
                    link.register().await?;
                    link.heartbeat().await
                }
                None => Err(Error::Ended),
            }
        };
        match attempt.await {
            Ok(instructions) => match link {
                Some(link) => return Ok((link, instructions)),
                None => return Err(Error::Ended),
            },
            Err(error) if error.is_passing() => tracing::warn!(%error, "not registered yet, trying again"),
            Err(error) => {
                // A node that has left does not register any more, and is paid for what it moved before.
                if let (Error::Refused { code: ErrorCode::Conflict, .. }, Some(link)) = (&error, &link)
                    && let Err(error) = orders::hand_in_now(&mut link.caller().clone()).await
                {
                    tracing::warn!(%error, "orders were not handed in");
                }
                return Err(error);
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The time between two heartbeats: what was configured, or else what the server wishes.
fn between(interval: Option<Duration>, instructions: &Instructions) -> Duration {
    interval.unwrap_or_else(|| {
        let seconds =
            if instructions.heartbeat_seconds == 0 { HEARTBEAT_SECONDS } else { instructions.heartbeat_seconds };
        Duration::from_secs(seconds.clamp(1, 3600))
    })
}

/// Reports for ever, registers again when the server has forgotten the node, and passes on which keep-lists there are and whether tasks wait.
async fn beat(
    mut link: Link,
    mut instructions: Instructions,
    interval: Option<Duration>,
    standing: Arc<Standing>,
    (announce, tell): (watch::Sender<u64>, watch::Sender<bool>),
) {
    let mut pause = PAUSE;
    let mut forgotten = false;
    loop {
        let regular = between(interval, &instructions);
        let done = async {
            if forgotten {
                link.register().await?;
            }
            link.heartbeat().await
        };
        match done.await {
            Ok(next) => {
                announce.send_replace(next.keep_list_sequence);
                tell.send_replace(next.tasks_wait);
                (instructions, forgotten, pause) = (next, false, PAUSE);
                standing.accepted(between(interval, &instructions));
                tokio::time::sleep(regular).await;
            }
            Err(error) => {
                metrics::counter!("cyx_node_heartbeat_failures_total").increment(1);
                standing.failed(&error);
                forgotten |=
                    matches!(error, Error::Refused { code: ErrorCode::NotFound | ErrorCode::PermissionDenied, .. });
                tracing::warn!(%error, "a heartbeat failed");
                tokio::time::sleep(pause.min(regular)).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}
