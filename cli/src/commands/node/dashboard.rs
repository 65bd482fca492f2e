//! `cyx node status`: how the storage node of this machine is, once or again and again.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use cyx_client::Session;
use cyx_client::identity::nodes::{Earnings, OwnNode};
use cyx_core::ids::NodeId;
use serde::Serialize;

use super::earnings::money;
use super::local::{self, State, home};
use crate::args::node::Status as Args;
use crate::commands::Context;
use crate::error::{Error, Result};
use crate::output::{human, names, write_out};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// Looks at the node between two at the server, which has more to do.
const LOOKS_PER_SERVER: u32 = 5;
/// Moves the cursor to the top left corner; the next two clear to the end of the line, and of the screen.
const TOP: &str = "\x1b[H";
const LINE_END: &str = "\x1b[K";
const SCREEN_END: &str = "\x1b[J";

/// Everything that is known.
#[derive(Serialize)]
struct Document {
    running: bool,
    pid: Option<u32>,
    metrics: Option<SocketAddr>,
    local: Option<local::Status>,
    /// What the server knows; none if nobody is logged in here, or it cannot be reached.
    server: Option<OwnNode>,
    earnings: Option<Earned>,
}

#[derive(Clone, Serialize)]
struct Earned {
    /// In the open epoch so far, micros of the operator's share.
    open_micros: u64,
    /// In the newest closed epoch.
    last_micros: Option<u64>,
    /// Held until the node has left in order.
    held_micros: u64,
}

impl From<Earnings> for Earned {
    fn from(earnings: Earnings) -> Self {
        Self {
            open_micros: earnings.open.operator_micros,
            last_micros: earnings.epochs.first().map(|epoch| epoch.operator_micros),
            held_micros: earnings.held_micros,
        }
    }
}

/// Where the node is and what was learned of the server last.
struct Watched {
    state: Option<State>,
    at: Option<SocketAddr>,
    session: Option<Session>,
    server: Option<(OwnNode, Option<Earned>)>,
}

/// Does the command.
///
/// # Errors
/// [`Error::Node`] if the node does not run; a usage error for an address that is none.
pub(super) async fn run(context: &Context, args: &Args) -> Result<()> {
    let state = State::load(&home(context, &args.place)?)?;
    let parse = |text: &str| text.parse().map_err(|_| Error::usage("--metrics is an address like 127.0.0.1:9090"));
    let given: Option<SocketAddr> = args.metrics.as_deref().map(parse).transpose()?;
    let running = state.as_ref().filter(|state| state.process.is_running());
    let at = given.or(running.and_then(|state| state.metrics));
    // Nobody has to be logged in for a look at the node itself.
    let session = Session::connect(&context.config).await.ok();
    let mut watched = Watched { state, at, session, server: None };
    if !args.watch {
        let document = watched.look(true).await;
        show(context, &document)?;
        return if document.running { Ok(()) } else { Err(not_running()) };
    }
    for look in 0_u32.. {
        let document = watched.look(look % LOOKS_PER_SERVER == 0).await;
        if context.output.json() {
            context.output.document(&document)?;
        } else if context.output.is_terminal() {
            redraw(&lines(&document), look == 0)?;
        } else {
            show(context, &document)?;
        }
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}

fn not_running() -> Error {
    Error::Node {
        message: "no storage node runs here".to_owned(),
        advice: Some("`cyx node start` starts one; --metrics says where one answers that was started otherwise."),
    }
}

impl Watched {
    async fn look(&mut self, ask_server: bool) -> Document {
        let local = match self.at {
            Some(at) => local::status(at).await.ok(),
            None => None,
        };
        let remembered = self.state.as_ref().and_then(|state| state.node_id.as_ref());
        let id = local.as_ref().map(|local| &local.node_id).or(remembered);
        if let (true, Some(session), Some(id)) = (ask_server, &self.session, id.and_then(|id| id.parse().ok())) {
            // What cannot be learned now stays as it was known last.
            if let Some(found) = ask(session, id).await {
                self.server = Some(found);
            }
        }
        let running = self.state.as_ref().filter(|state| state.process.is_running());
        Document {
            running: local.is_some() || running.is_some(),
            pid: running.map(|state| state.process.pid),
            metrics: self.at,
            local,
            server: self.server.as_ref().map(|(node, _)| node.clone()),
            earnings: self.server.as_ref().and_then(|(_, earned)| earned.clone()),
        }
    }
}

async fn ask(session: &Session, id: NodeId) -> Option<(OwnNode, Option<Earned>)> {
    let text = id.to_string();
    let node = session.own_nodes().await.ok()?.into_iter().find(|node| node.node_id == text)?;
    let earned = session.earnings(id, None, 1).await.ok().map(Earned::from);
    Some((node, earned))
}

fn show(context: &Context, document: &Document) -> Result<()> {
    if context.output.json() {
        return context.output.document(document);
    }
    lines(document).iter().try_for_each(|line| context.output.line(line))
}

/// Draws over what was drawn before, so that nothing flickers.
fn redraw(lines: &[String], first: bool) -> Result<()> {
    let mut screen = Vec::new();
    let _ = write!(screen, "{}{TOP}", if first { "\x1b[2J" } else { "" });
    for line in lines {
        let _ = write!(screen, "{line}{LINE_END}\r\n");
    }
    let _ = write!(screen, "{LINE_END}\r\nCtrl-C ends this; the node goes on.{SCREEN_END}");
    write_out(&screen)
}

fn lines(document: &Document) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |name: &str, text: String| lines.push(format!("{name:<10} {text}"));
    match &document.local {
        Some(local) => {
            let state = if local.registered { "registered" } else { "not registered" };
            let pid = document.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
            let since = duration(local.uptime_seconds);
            add("node", format!("{}  {state}, up {since}{pid}", names::escape(local.node_id.as_bytes())));
            let (used, all) = (local.used_bytes, local.allocatable_bytes);
            add(
                "room",
                format!(
                    "{}  {} of {}, {} free",
                    human::bar(used, all),
                    human::bytes(used),
                    human::bytes(all),
                    human::bytes(local.available_bytes)
                ),
            );
            let (offered, reserved) = (human::bytes(local.offered_bytes), human::bytes(local.reserved_bytes));
            add("offered", format!("{offered}, of which {reserved} for the network"));
            let damaged = match local.damaged_chunks {
                0 => String::new(),
                count => format!(", {} DAMAGED", human::count(count, "chunk", "chunks")),
            };
            let trash = human::bytes(local.trash_bytes);
            add("chunks", format!("{}, {trash} in the trash{damaged}", local.chunks));
            let (stored, served) = (human::bytes(local.stored_bytes_total), human::bytes(local.served_bytes_total));
            let waiting = human::bytes(local.orders_waiting_bytes);
            add("traffic", format!("{stored} stored, {served} served since the start; {waiting} not handed in yet"));
        }
        None if document.running => add("node", "runs, and does not answer".to_owned()),
        None => add("node", "does not run".to_owned()),
    }
    let Some(server) = &document.server else {
        // Where no node is, there is nothing to ask the server about.
        if document.running || document.local.is_some() {
            add("server", "not asked: nobody is logged in here, or it cannot be reached".to_owned());
        }
        return lines;
    };
    let text = |text: &str| names::escape(text.as_bytes());
    let leaving = if server.leaving == "none" { String::new() } else { format!(", {}", text(&server.leaving)) };
    add("server", format!("sees it {} at {}{leaving}", text(&server.state), text(&server.address)));
    match &server.audits {
        Some(audits) => {
            let bad = audits.lost + audits.corrupt + audits.timed_out + audits.refused;
            let (whole, tenth) = (audits.score / 10, audits.score % 10);
            add("score", format!("{whole}.{tenth} of 100, {}", text(&audits.standing)));
            add("audits", format!("{} passed, {bad} failed, {} missed", audits.passed, audits.unreachable));
        }
        None => add("audits", "none yet".to_owned()),
    }
    add("month", format!("{} moved", human::bytes(server.traffic_month_bytes)));
    if let Some(earned) = &document.earnings {
        let last =
            earned.last_micros.map(|micros| format!(", {} in the last epoch", money(micros))).unwrap_or_default();
        let (open, held) = (money(earned.open_micros), money(earned.held_micros));
        add("earned", format!("{open} in this epoch{last}; {held} held"));
    }
    lines
}

/// `3 d 4 h`, `5 h 6 min`, `7 min`.
fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> local::Status {
        local::Status {
            node_id: "ab\u{1b}".to_owned(),
            version: "x".to_owned(),
            registered: true,
            uptime_seconds: 100_000,
            offered_bytes: 3 << 30,
            reserved_bytes: 2 << 30,
            allocatable_bytes: 1 << 30,
            used_bytes: 1 << 29,
            available_bytes: 1 << 29,
            trash_bytes: 0,
            chunks: 7,
            damaged_chunks: 1,
            stored_bytes_total: 1,
            served_bytes_total: 2,
            orders_waiting_bytes: 3,
        }
    }

    #[test]
    fn what_is_known_is_shown_and_terminals_are_safe() {
        let document =
            Document { running: true, pid: Some(5), metrics: None, local: Some(local()), server: None, earnings: None };
        let text = lines(&document).join("\n");
        for part in ["registered, up 1 d 3 h, process 5", "50 %", "512 MiB of 1.00 GiB", "1 chunk DAMAGED", "not asked"]
        {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
        let nothing = Document { running: false, pid: None, metrics: None, local: None, server: None, earnings: None };
        let text = lines(&nothing).join("\n");
        assert!(text.contains("does not run") && !text.contains("server"), "nobody is to blame: {text}");
    }

    #[test]
    fn times_are_short() {
        assert_eq!([59, 3600, 86_400 * 2].map(duration), ["0 min", "1 h 0 min", "2 d 0 h"]);
    }
}
