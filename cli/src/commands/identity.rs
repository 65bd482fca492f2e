//! `cyx logout`, `cyx whoami`, `cyx quota` and `cyx status`.

use cyx_client::identity::{self, Identity};
use cyx_core::scheme::Scheme;
use serde::Serialize;

use super::Context;
use crate::error::Result;
use crate::output::growth::Growth;
use crate::output::human;

#[derive(Serialize)]
struct LoggedOut {
    logged_out: bool,
}

/// Ends the session of this machine.
///
/// # Errors
/// If the credentials cannot be removed.
pub async fn logout(context: &Context) -> Result<()> {
    let logged_out = identity::logout(&context.config).await?;
    if context.output.json() {
        return context.output.document(&LoggedOut { logged_out });
    }
    context.output.note(if logged_out { "Logged out." } else { "Nobody was logged in." });
    Ok(())
}

/// Shows the account.
///
/// # Errors
/// If nobody is logged in, or the server cannot be reached.
pub async fn whoami(context: &Context) -> Result<()> {
    let account = identity::whoami(&context.config).await?;
    if context.output.json() {
        return context.output.document(&account);
    }
    let Identity { id, username, email, plan, role, .. } = account;
    context.output.line(format!("{username} <{email}>"))?;
    context.output.line(format!("plan {plan}, role {role}"))?;
    context.output.line(format!("account {id}"))
}

#[derive(Serialize)]
struct Quota {
    plan: String,
    limit_bytes: u64,
    used_bytes: u64,
    pending_bytes: u64,
    superseded_bytes: u64,
    traffic_limit_bytes: u64,
    traffic_used_bytes: u64,
    traffic_pending_bytes: u64,
    /// What was used at an earlier time, and what follows from it.
    measured_bytes: u64,
    measured_at: Option<String>,
    full_at: Option<String>,
    traffic_forecast_bytes: Option<u64>,
}

/// Shows how much space and traffic is used.
///
/// # Errors
/// If nobody is logged in, or the server cannot be reached.
pub async fn quota(context: &Context) -> Result<()> {
    let found = context.meta().await?.quota().await?;
    let now = jiff::Timestamp::now();
    let taken = found.used_bytes.saturating_add(found.pending_bytes);
    let growth = Growth::of(found.measured_bytes, found.measured_ns, taken, now);
    let full_ns = growth.and_then(|growth| growth.full_ns(taken, found.limit_bytes, now));
    let quota = Quota {
        plan: found.plan,
        limit_bytes: found.limit_bytes,
        used_bytes: found.used_bytes,
        pending_bytes: found.pending_bytes,
        superseded_bytes: found.superseded_bytes,
        traffic_limit_bytes: found.traffic_limit_bytes,
        traffic_used_bytes: found.traffic_used_bytes,
        traffic_pending_bytes: found.traffic_pending_bytes,
        measured_bytes: found.measured_bytes,
        measured_at: (found.measured_ns != 0).then(|| human::rfc3339(found.measured_ns)),
        full_at: full_ns.map(human::rfc3339),
        traffic_forecast_bytes: human::month_forecast(found.traffic_used_bytes, now),
    };
    if context.output.json() {
        return context.output.document(&quota);
    }
    let free = quota.limit_bytes.saturating_sub(quota.used_bytes).saturating_sub(quota.pending_bytes);
    let line = |name: &str, bytes| context.output.line(format!("{name:<11}{:>10}", human::bytes(bytes)));
    context.output.line(format!("{:<11}{:>10}", "plan", quota.plan))?;
    line("limit", quota.limit_bytes)?;
    let used = human::bytes(quota.used_bytes);
    context.output.line(format!("{:<11}{used:>10}  {}", "used", human::bar(taken, quota.limit_bytes)))?;
    line("pending", quota.pending_bytes)?;
    line("free", free)?;
    line("superseded", quota.superseded_bytes)?;
    if let Some(growth) = growth {
        let text = growth.text(full_ns, now);
        context.output.line(format!("{:<11}{:>10} {text}", "growth", human::bytes(growth.per_day())))?;
    }
    let traffic = human::bytes(quota.traffic_used_bytes);
    let bar = human::bar(quota.traffic_used_bytes, quota.traffic_limit_bytes);
    let limit = human::bytes(quota.traffic_limit_bytes);
    context.output.line(format!("{:<11}{traffic:>10}  {bar} of {limit} this month", "traffic"))?;
    if quota.traffic_pending_bytes > 0 {
        let reserved = human::bytes(quota.traffic_pending_bytes);
        context.output.line(format!("{:<11}{reserved:>10} by transfers under way, for at most an hour", "reserved"))?;
    }
    match quota.traffic_forecast_bytes {
        Some(bytes) => {
            context.output.line(format!("{:<11}{:>10} by the end of the month", "forecast", human::bytes(bytes)))
        }
        None => Ok(()),
    }
}

#[derive(Serialize)]
struct Status<'a> {
    gateway: &'a str,
    version: &'a str,
    scheme: Option<String>,
    survives: Option<usize>,
    nodes: Vec<Node<'a>>,
}

#[derive(Serialize)]
struct Node<'a> {
    node: String,
    address: &'a str,
    state: &'a str,
    version: &'a str,
    region: &'a str,
    allocatable_bytes: u64,
    used_bytes: u64,
    last_heartbeat: String,
}

/// How many shards of a scheme have a node, by what the server says: older ones say 0.
fn shards(scheme: Scheme, said: u32) -> usize {
    match usize::try_from(said) {
        Ok(said @ 1..) => said.min(scheme.n()),
        _ => scheme.n(),
    }
}

/// Shows the server and the storage nodes.
///
/// # Errors
/// If nobody is logged in, or the server cannot be reached.
pub async fn status(context: &Context) -> Result<()> {
    let meta = context.meta().await?;
    let cluster = meta.cluster().await?;
    let scheme = cluster.scheme.and_then(|scheme| Scheme::new(scheme.k, scheme.m).ok());
    let nodes = cluster.nodes.iter().map(|node| Node {
        node: hex::encode(&node.node),
        address: &node.address,
        state: &node.state,
        version: &node.version,
        region: &node.region,
        allocatable_bytes: node.allocatable_bytes,
        used_bytes: node.used_bytes,
        last_heartbeat: human::rfc3339(node.last_heartbeat_ns),
    });
    let status = Status {
        gateway: meta.gateway().as_str(),
        version: &cluster.version,
        scheme: scheme.map(|scheme| scheme.to_string()),
        survives: scheme.and_then(|scheme| scheme.survives(shards(scheme, cluster.shards))),
        nodes: nodes.collect(),
    };
    if context.output.json() {
        return context.output.document(&status);
    }
    let missing = scheme.map_or(0, |scheme| scheme.n() - shards(scheme, cluster.shards));
    context.output.line(format!("server {} (version {})", status.gateway, status.version))?;
    let alive = status.nodes.iter().filter(|node| node.state == "online").count();
    context
        .output
        .line(format!("{alive} of {} are alive", human::count(status.nodes.len() as u64, "node", "nodes")))?;
    match (&status.scheme, status.survives) {
        (Some(scheme), Some(survives)) => {
            let losses = human::count(survives as u64, "node", "nodes");
            let missing = match missing {
                0 => String::new(),
                missing => {
                    let missing = human::count(missing as u64, "shard", "shards");
                    format!(", for want of nodes with {missing} left to repair,")
                }
            };
            context
                .output
                .line(format!("a new upload is stored {scheme}{missing} and survives the loss of {losses}"))?;
        }
        _ => context.output.line("nothing can be uploaded")?,
    }
    for node in &status.nodes {
        let space = format!("{} of {}", human::bytes(node.used_bytes), human::bytes(node.allocatable_bytes));
        context.output.name_line("", format!("{:<10} {:<22} {space}", node.state, node.address).as_bytes(), "")?;
    }
    Ok(())
}
