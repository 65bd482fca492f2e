//! How a disqualified node comes back: an administrator has it prove many slices at once, and all of them must hold.
//!
//! A suspended node needs nobody for that: it is audited on, more than others, and its score recovers with what it proves. Disqualified is
//! final by itself, because what the node held is being rebuilt elsewhere and it is asked for nothing any more.

use std::net::IpAddr;
use std::sync::Arc;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, NodeId};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::probe::{Auditor, Outcome, ProbeOptions};
use super::rows::{self, Record};
use super::sample;
use super::score::Standing;
use crate::app::App;
use crate::audit_log::{self, Action, Actor, Event};
use crate::db::DbError;
use crate::error::ApiError;
use crate::time::now_ns;

/// Slices that are to be proven, or as many as there are chunks. Of a node that lost 3 %, all of them hold with a chance of 0.2 %.
const SLICES: usize = 200;

/// What a node that was taken back proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reinstated {
    /// Slices.
    pub proven: usize,
    /// Its standing now.
    pub standing: Standing,
    /// Its score in thousandths.
    pub score: u32,
}

/// Has a disqualified node prove what it should still hold, and takes it back as a new one if it does.
///
/// # Errors
/// [`ErrorCode::NotFound`]; [`ErrorCode::Conflict`] if it is not disqualified, holds nothing any more, or cannot prove a slice.
pub async fn reinstate(app: &App, node: NodeId, admin: AccountId, ip: IpAddr) -> Result<Reinstated, ApiError> {
    let network = &app.network;
    let record = network.registry.get(node).ok_or_else(|| ApiError::not_found("there is no such node"))?;
    let conflict = |message: &str| ApiError::new(ErrorCode::Conflict, message);
    if record.standing != Standing::Disqualified {
        return Err(conflict(
            "this node is not disqualified; a suspended one comes back by proving what it is asked for",
        ));
    }
    let mut read = app.db.read().await?;
    let holdings = sample::count(&mut read).await?.remove(&node).unwrap_or_default();
    let mut rng = StdRng::from_rng(&mut rand::rng());
    let slices = sample::draw(&mut read, node, &holdings, SLICES, &mut rng).await?;
    drop(read);
    if slices.is_empty() {
        return Err(conflict(
            "nothing is on this node any more that it could prove: it can join anew with an empty folder",
        ));
    }
    let probing =
        ProbeOptions { allow_loopback: network.options.allow_colocated, patience: network.options.audits.patience };
    let outcomes = Auditor::default().ask(&network.keys, &record, &slices, probing).await;
    if let Some(failed) = outcomes.iter().find(|outcome| **outcome != Outcome::Passed) {
        let proven = outcomes.iter().filter(|outcome| **outcome == Outcome::Passed).count();
        let message =
            format!("the node proved {proven} of {} slices; the first failure was: {}", slices.len(), failed.as_str());
        return Err(conflict(&message));
    }
    let what: Arc<str> = format!("node {node} proved {} slices", slices.len()).into();
    let saved: Record = app
        .db
        .write::<_, DbError, _>(move |conn| {
            let what = Arc::clone(&what);
            Box::pin(async move {
                let now = now_ns();
                let mut record = rows::load(conn, node).await?.unwrap_or_else(|| Record::new(now));
                record.reputation = record.reputation.reinstated();
                (record.standing_ns, record.last_ns, record.last_outcome) = (now, now, Outcome::Passed);
                (record.unreachable_ns, record.alarm_ns) = (0, 0);
                rows::save(conn, node, &record).await?;
                let event = Event::new(Some(admin), Actor::Admin, Action::NodeReinstated, Some(ip));
                audit_log::record(conn, event.with(&*what)).await?;
                Ok(record)
            })
        })
        .await?;
    let (standing, score) = (saved.reputation.standing, saved.reputation.thousandths());
    network.registry.set_standing(node, standing, score);
    Ok(Reinstated { proven: slices.len(), standing, score })
}
