//! `cyx node earnings`: what a node earned, and whether that follows from its facts.

use std::net::SocketAddr;

use cyx_client::Session;
use cyx_client::identity::earnings::check;
use cyx_client::identity::nodes::Statement;
use cyx_core::ids::NodeId;
use serde::Serialize;

use super::local::{self, Hour, State, home};
use super::which;
use crate::args::node::Earnings as Args;
use crate::commands::Context;
use crate::error::{Error, Result};
use crate::output::{human, names};

/// Micros of one unit of the currency.
const UNIT: u64 = 1_000_000;
/// Seconds of the hours by which a node remembers.
const HOUR: u64 = 3600;

#[derive(Serialize)]
struct Document<'a> {
    node_id: NodeId,
    /// The epoch is not over.
    open: bool,
    #[serde(flatten)]
    statement: &'a Statement,
    /// With --verify: nothing contradicts.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
    /// With --verify, on the node's own machine: bytes times seconds of all live chunks, in the hours of which the node is certain. More
    /// than is paid, because chunks that no file refers to (any more) lie here for some days.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_byte_seconds: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<String>,
}

/// An amount in the currency's unit: `1.234567`.
#[must_use]
pub(super) fn money(micros: u64) -> String {
    format!("{}.{:06}", micros / UNIT, micros % UNIT)
}

/// Does the command.
///
/// # Errors
/// [`Error::Unsettled`] if something does not add up; if nobody is logged in, or the server cannot be reached.
pub(super) async fn run(context: &Context, args: &Args) -> Result<()> {
    let state = State::load(&home(context, &args.place)?)?;
    let session = Session::connect(&context.config).await?;
    let local = state.as_ref().and_then(|state| state.node_id.as_deref());
    let node = which(&session, args.node.as_deref(), local).await?;
    let earnings = session.earnings(node, None, args.epochs).await?;
    let is_this = |state: &State| state.node_id.as_deref() == Some(node.to_string().as_str());
    let running = state.filter(|state| state.process.is_running() && is_this(state));
    let answers = running.and_then(|state| state.metrics);
    let mut wrong = 0_u64;
    for (at, statement) in std::iter::once(&earnings.open).chain(&earnings.epochs).enumerate() {
        let verified = match args.verify {
            true => Some(verify(&session, node, statement, at > 0, answers).await?),
            false => None,
        };
        wrong += verified.as_ref().map_or(0, |verified| verified.findings.len() as u64);
        show(context, node, statement, at == 0, verified)?;
    }
    if !context.output.json() {
        context.output.note(format!("{} is held until the node has left in order.", money(earnings.held_micros)));
    }
    match wrong {
        0 if args.verify && !context.output.json() => {
            context.output.note("Every order is signed, and every amount follows from the facts and the rates.");
            Ok(())
        }
        0 => Ok(()),
        count => Err(Error::Unsettled(count)),
    }
}

/// What holding a statement against its facts and the node's memory came to.
#[derive(Default)]
struct Verified {
    findings: Vec<String>,
    /// Bytes times seconds of which the node is certain.
    held: Option<u128>,
}

async fn verify(
    session: &Session,
    node: NodeId,
    statement: &Statement,
    closed: bool,
    answers: Option<SocketAddr>,
) -> Result<Verified> {
    let lines = session.earning_lines(node, statement.epoch).await?;
    let has_facts = !lines.periods.is_empty() || !lines.orders.is_empty();
    let did_something = statement.traffic_bytes > 0 || statement.user_byte_seconds != "0";
    if closed && !has_facts && did_something {
        let findings =
            vec!["its facts are not kept any more; they are for 90 days after the end of an epoch".to_owned()];
        return Ok(Verified { findings, held: None });
    }
    // The open epoch goes on between the two questions, so only what is certain is compared.
    let mut verified = Verified::default();
    if closed {
        verified.findings = check(node, statement, &lines);
    }
    if let (true, Some(at)) = (closed, answers) {
        let hours = local::facts(at, statement.begins.saturating_sub(HOUR), statement.ends + HOUR).await?;
        let held = certainly_held(statement, &hours);
        verified.findings.extend(missing(statement, &hours).into_iter().chain(unpaid(statement, held)?));
        verified.held = Some(held);
    }
    Ok(verified)
}

/// Bytes times seconds that the node certainly held: an hour counts with the fewer bytes of its beginning and its end, if both were noted
/// and all of it lies in the epoch. A note is made in the first minutes of an hour, or when the node starts.
fn certainly_held(statement: &Statement, hours: &[Hour]) -> u128 {
    let inside = |hour: &Hour| hour.begins >= statement.begins && hour.begins + HOUR <= statement.ends;
    let follow = |pair: &&[Hour]| pair[1].begins == pair[0].begins + HOUR && inside(&pair[0]);
    let least = |pair: &[Hour]| Some(u128::from(pair[0].held_bytes?.min(pair[1].held_bytes?)) * u128::from(HOUR));
    hours.windows(2).filter(follow).filter_map(least).sum()
}

/// Whether the server paid for much less than the node held. It pays for what files refer to; chunks that no commit named yet, or no file
/// any more, lie on a node for some days without pay, so only a difference by half is a finding.
fn unpaid(statement: &Statement, held: u128) -> Result<Option<String>> {
    let paid = statement.work()?.user_byte_seconds;
    Ok((paid < held / 2).then(|| {
        format!("the node remembers {held} byte-seconds of chunks, and {paid} are paid: less than half of what it kept")
    }))
}

/// Whether the server paid less traffic than the node remembers. Hours at the ends of an epoch belong to both sides of it.
fn missing(statement: &Statement, hours: &[Hour]) -> Option<String> {
    let is_inside = |hour: &&Hour| hour.begins >= statement.begins + HOUR && hour.begins + 2 * HOUR <= statement.ends;
    let certain: u64 = hours.iter().filter(is_inside).map(|hour| hour.counted_bytes).sum();
    (certain > statement.traffic_bytes).then(|| {
        format!("the node remembers {certain} bytes of counted traffic, and {} are paid", statement.traffic_bytes)
    })
}

fn show(context: &Context, node: NodeId, statement: &Statement, open: bool, outcome: Option<Verified>) -> Result<()> {
    let verified = outcome.as_ref().filter(|_| !open).map(|outcome| outcome.findings.is_empty());
    let Verified { findings, held } = outcome.unwrap_or_default();
    if context.output.json() {
        let held_byte_seconds = held.map(|held| held.to_string());
        let document = Document { node_id: node, open, statement, verified, held_byte_seconds, findings };
        return context.output.document(&document);
    }
    let work = statement.work()?;
    let seconds = u128::from(statement.ends.saturating_sub(statement.begins).max(1));
    let average = u64::try_from(work.user_byte_seconds / seconds).unwrap_or(u64::MAX);
    let paid = match (&statement.paid_at, open) {
        (_, true) => "so far".to_owned(),
        (Some(at), _) => format!("paid {}", human::shown_time(at)),
        (None, _) => "due".to_owned(),
    };
    let mark = match verified {
        Some(true) => "  verified",
        Some(false) => "  DOES NOT ADD UP",
        None => "",
    };
    context.output.line(format!(
        "epoch {:<6} {}  {:>14}  of {:>14}  {:>9} kept, {:>9} moved  {}{mark}",
        statement.epoch,
        human::local_time_seconds(statement.begins),
        money(statement.operator_micros),
        money(statement.operator_micros.saturating_add(statement.platform_micros)),
        human::bytes(average),
        human::bytes(statement.traffic_bytes),
        names::escape(paid.as_bytes()),
    ))?;
    findings.iter().try_for_each(|finding| context.output.line(format!("  {}", names::escape(finding.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_six_decimals() {
        assert_eq!(
            [0, 1, 1_500_000, u64::MAX].map(money),
            ["0.000000", "0.000001", "1.500000", "18446744073709.551615"]
        );
    }

    fn statement() -> Statement {
        Statement {
            epoch: 1,
            begins: 10 * HOUR,
            ends: 20 * HOUR,
            storage_rate: 0,
            traffic_rate: 0,
            hold_percent: 0,
            user_byte_seconds: "0".to_owned(),
            reserved_byte_seconds: "0".to_owned(),
            traffic_bytes: 100,
            storage_micros: 0,
            traffic_micros: 0,
            operator_micros: 0,
            platform_micros: 0,
            held_micros: 0,
            paid_at: None,
        }
    }

    #[test]
    fn bytes_that_are_not_paid_are_noticed() {
        let mut statement = statement();
        let hour = |hour, held_bytes| Hour { begins: hour * HOUR, counted_bytes: 0, held_bytes };
        // Hours 12 and 13 are certain, with the fewer bytes of both ends; what lies outside the epoch or was not noted is not.
        let hours = [
            hour(8, Some(900)),
            hour(9, Some(900)),
            hour(12, Some(50)),
            hour(13, Some(40)),
            hour(14, Some(70)),
            hour(16, None),
        ];
        let held = certainly_held(&statement, &hours);
        assert_eq!(held, 80 * u128::from(HOUR));
        assert!(unpaid(&statement, held).unwrap().is_some());
        statement.user_byte_seconds = (40 * HOUR).to_string();
        assert_eq!(unpaid(&statement, held).unwrap(), None);
        assert_eq!(certainly_held(&statement, &[hour(19, Some(5)), hour(20, Some(5))]), 5 * u128::from(HOUR));
        assert_eq!(certainly_held(&statement, &[hour(20, Some(5)), hour(21, Some(5))]), 0);
    }

    #[test]
    fn traffic_that_is_not_paid_is_noticed() {
        let statement = statement();
        let hour = |hour, counted_bytes| Hour { begins: hour * HOUR, counted_bytes, held_bytes: None };
        assert_eq!(missing(&statement, &[hour(12, 60), hour(13, 40)]), None);
        assert!(missing(&statement, &[hour(12, 60), hour(13, 41)]).is_some());
        // What may belong to the epochs before and after says nothing.
        assert_eq!(missing(&statement, &[hour(9, 500), hour(10, 500), hour(19, 500), hour(20, 500)]), None);
    }
}
