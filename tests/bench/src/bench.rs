//! The programs on a cluster of their own, what a command of theirs costs, and a client inside this program.
//!
//! Costs are processor time, summed over the client, the server and all nodes, user and system, with what they do shortly
//! afterwards. The cluster lies in a temporary folder and is gone in the end.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use cyx_client::{Bucket, Client, Config, Overrides};
use cyx_tests::{Cluster, User};
use tokio::runtime::Runtime;

use crate::proxy::{Road, Roads};
use crate::raw::median;
use crate::report::Figure;
use crate::usage::{self, Used, total_time};
use crate::{Plan, Result, say};

/// Nodes note things a second after they were asked the last time; this is counted too.
pub(crate) const AFTERWARDS: Duration = Duration::from_millis(1500);
/// One person asks here as many do elsewhere. Nodes report and prove what they hold as seldom as elsewhere, not as for development:
/// that would be most of what an idle cluster costs.
const SERVER: [&str; 8] = [
    "--plan=enterprise",
    "--account-calls-per-second=1000000",
    "--heartbeat-seconds=30",
    "--node-suspect-seconds=90",
    "--node-offline-seconds=300",
    "--node-lost-seconds=14400",
    "--node-audit-seconds=600",
    "--node-audit-recheck-seconds=300",
];
pub(crate) const BUCKET: &str = "bench";
pub(crate) const CPU: &str = "CPU-s/GiB";

/// What one command cost, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) client: Used,
    pub(crate) server: Duration,
    pub(crate) nodes: Duration,
    /// Most bytes that the server held in memory meanwhile.
    pub(crate) server_peak: u64,
    /// Most bytes that one of the nodes held.
    pub(crate) node_peak: u64,
}

impl Cost {
    pub(crate) fn cpu(&self) -> f64 {
        (self.client.cpu + self.server + self.nodes).as_secs_f64()
    }
}

/// The median of something over several runs.
pub(crate) fn middle(costs: &[Cost], value: impl Fn(&Cost) -> f64) -> f64 {
    median(costs.iter().map(value).collect())
}

/// A cluster and somebody who uses it.
pub(crate) struct Bench<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) cluster: Cluster,
    pub(crate) user: User,
    /// Address under which the user knows the server.
    gateway: String,
}

impl<'a> Bench<'a> {
    /// Starts a cluster.
    pub(crate) fn start(plan: &'a Plan, server_args: &[&str], node_args: &[&str]) -> Result<Self> {
        Self::of_cluster(plan, Self::cluster(plan, server_args, node_args))
    }

    /// A cluster that runs, and somebody who uses it from here.
    pub(crate) fn of_cluster(plan: &'a Plan, cluster: Cluster) -> Result<Self> {
        let user = cluster.user(&name());
        let gateway = cluster.gateway();
        Self::with(plan, cluster, user, gateway)
    }

    /// Starts a cluster that its user, and everybody else, reaches over `roads` alone: the first leads to the server, the others to
    /// the nodes.
    pub(crate) fn start_far(plan: &'a Plan, roads: &Roads) -> Result<(Self, Vec<Road>)> {
        let cluster = Self::cluster(plan, &[], &[]);
        let status = cluster.status();
        let to_server = roads.build(address(cluster.gateway().trim_start_matches("http://"))?)?;
        let mut built = Vec::new();
        for node in status["nodes"].as_array().ok_or("the status has no nodes")? {
            let road = roads.build(address(node["address"].as_str().unwrap_or_default())?)?;
            let folder = node["data_dir"].as_str().ok_or("the status has no folder of a node")?;
            let line = format!("public_addr = \"{}\"\n", road.entrance());
            std::fs::write(std::path::Path::new(folder).join("node.toml"), line)?;
            built.push(road);
        }
        // Nodes say where they are when they start.
        cluster.dev(&["down"]);
        cluster.up();
        let gateway = format!("http://{}", to_server.entrance());
        let user = User::register_via(&cluster, &name(), gateway.clone());
        built.insert(0, to_server);
        Ok((Self::with(plan, cluster, user, gateway)?, built))
    }

    pub(crate) fn cluster(plan: &Plan, server_args: &[&str], node_args: &[&str]) -> Cluster {
        say(&format!("starts a server and {} nodes", plan.nodes));
        let name = |arg: &str| arg.split('=').next().map(str::to_owned);
        let usual = SERVER.iter().filter(|arg| server_args.iter().all(|other| name(other) != name(arg)));
        let server_args: Vec<&str> = usual.chain(server_args).copied().collect();
        Cluster::start_with(plan.nodes, &server_args, node_args)
    }

    fn with(plan: &'a Plan, cluster: Cluster, user: User, gateway: String) -> Result<Self> {
        user.ok(["bucket", "create", BUCKET]);
        Ok(Self { plan, cluster, user, gateway })
    }

    /// Runs a command of the user and sums up what all programs spend on it.
    pub(crate) fn cost(&self, args: &[&str]) -> Result<Cost> {
        self.cost_while(args, Stdio::null(), |_| Ok(()))
    }

    /// The same, with something to do while the command runs. What this program spends on that is not counted.
    pub(crate) fn cost_while(
        &self,
        args: &[&str],
        output: Stdio,
        work: impl FnOnce(&mut Child) -> Result<()>,
    ) -> Result<Cost> {
        let (server, nodes) = self.pids()?;
        let all = [&server[..], &nodes[..]].concat();
        all.iter().try_for_each(|pid| usage::forget_peak_of(*pid))?;
        let before = (total_time(&server)?, total_time(&nodes)?);
        let mut command = self.user.command(args.iter().copied().chain(["--quiet"]));
        let client = usage::run_while(command.stdout(output), work)?;
        std::thread::sleep(AFTERWARDS);
        let after = (total_time(&server)?, total_time(&nodes)?);
        let peak = |pids: &[u32]| pids.iter().filter_map(|pid| usage::peak_of(*pid).ok()).max().unwrap_or_default();
        Ok(Cost {
            client,
            server: after.0.saturating_sub(before.0),
            nodes: after.1.saturating_sub(before.1),
            server_peak: peak(&server),
            node_peak: peak(&nodes),
        })
    }

    /// Process ids of the server and of the nodes that run.
    pub(crate) fn pids(&self) -> Result<(Vec<u32>, Vec<u32>)> {
        let status = self.cluster.status();
        let pid = |value: &serde_json::Value| value["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        let server = pid(&status["server"]).ok_or("the server does not run")?;
        let nodes = status["nodes"].as_array().ok_or("the status has no nodes")?;
        Ok((vec![server], nodes.iter().filter_map(pid).collect()))
    }

    /// A client of the user inside this program.
    pub(crate) async fn client(&self) -> Result<Client> {
        let variable = |name: &str| match name {
            "CYXCLOUD_HOME" => Some(self.user.home().into_os_string()),
            "CYXCLOUD_GATEWAY" => Some(self.gateway.clone().into()),
            _ => None,
        };
        Ok(Client::open(&Config::load_from(Overrides::default(), &variable)?).await?)
    }

    /// The bucket, opened by a client of its own.
    pub(crate) async fn bucket(&self) -> Result<Bucket> {
        Ok(self.client().await?.bucket(BUCKET).await?)
    }

    /// Requests that the server answers for a command, and how many of its counters were summed up.
    pub(crate) fn calls(&self, args: &[&str]) -> Result<(f64, f64)> {
        let before = self.requests()?;
        usage::run(self.user.command(args.iter().copied().chain(["--quiet"])).stdout(Stdio::null()))?;
        let after = self.requests()?;
        Ok((after.0 - before.0, after.1))
    }

    /// The server's counters of requests, all methods together but for the question itself.
    fn requests(&self) -> Result<(f64, f64)> {
        let values = self.metrics(|line| line.starts_with("cyx_requests_total") && !line.contains("/metrics"))?;
        if values.is_empty() {
            return Err("the server's metrics count no requests".into());
        }
        Ok((values.iter().sum(), values.len() as f64))
    }

    /// A figure of the server's, all its labels together.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        Ok(self.metrics(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))?.iter().sum())
    }

    fn metrics(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<f64>> {
        let page = http_get(&self.cluster.gateway(), "/metrics")?;
        let value = |line: &str| Ok(line.rsplit(' ').next().unwrap_or_default().parse::<f64>()?);
        page.lines().filter(|line| wanted(line)).map(value).collect()
    }
}

/// A runtime as the programs have it.
pub(crate) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Milliseconds of a future.
pub(crate) async fn timed<T>(work: impl Future<Output = Result<T>>) -> Result<(T, f64)> {
    let began = Instant::now();
    // Boxed: what transfers have to remember is large.
    let value = Box::pin(work).await?;
    Ok((value, began.elapsed().as_secs_f64() * 1e3))
}

/// A figure of how long things take, with its slow end: `times` are milliseconds.
pub(crate) fn times_figure(name: impl Into<String>, times: &[f64]) -> Figure {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |percent: usize| sorted.get(sorted.len() * percent / 100).copied().unwrap_or(f64::NAN);
    Figure::new(name, at(50), "ms").part("p99", at(99)).part("asked", times.len() as f64)
}

/// Somebody of whom a database that is kept has not heard.
fn name() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("bench_{}", now.as_millis())
}

fn address(text: &str) -> Result<std::net::SocketAddr> {
    Ok(text.parse()?)
}

/// A page over plain HTTP; `base` is `http://HOST:PORT`.
fn http_get(base: &str, path: &str) -> Result<String> {
    use std::io::{Read as _, Write as _};
    let address = base.strip_prefix("http://").ok_or("the gateway is not plain HTTP")?;
    let mut stream = std::net::TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    if page.starts_with("HTTP/1.1 200") { Ok(page) } else { Err(format!("{path} is not there").into()) }
}
