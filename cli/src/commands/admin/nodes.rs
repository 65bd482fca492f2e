//! `cyx admin nodes`.

use cyx_client::Session;
use cyx_client::identity::admin::NodeFilter;
use serde_json::Value;

use super::Context;
use crate::args::admin::{Nodes, NodesCommand};
use crate::error::Result;
use crate::output::{human, names};

/// Millionths of the currency's unit.
const MICROS: u64 = 1_000_000;

/// Lists nodes, or shows one.
pub(super) async fn run(context: &Context, session: &Session, args: Nodes) -> Result<()> {
    let Nodes { command, state, standing, leaving, owner, region } = args;
    if let Some(NodesCommand::Show(show)) = command {
        let node = session.node_of_all(&show.node).await?;
        if context.output.json() {
            return context.output.document(&node);
        }
        return lines(&Seen(&node)).into_iter().try_for_each(|line| context.output.line(line));
    }
    let filter = NodeFilter { state, standing, leaving, owner, region };
    let mut after: Option<String> = None;
    loop {
        let page = session.nodes_of_all(&filter, after.as_deref()).await?;
        for node in &page.nodes {
            if context.output.json() {
                context.output.document(node)?;
            } else {
                context.output.line(line(&Seen(node)))?;
            }
        }
        match page.next {
            Some(next) if !page.nodes.is_empty() => after = Some(next),
            _ => return Ok(()),
        }
    }
}

/// A node as the server described it. What a server does not say is shown as `-`.
struct Seen<'a>(&'a Value);

impl Seen<'_> {
    fn text(&self, field: &str) -> String {
        let text = self.0.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        names::escape(text.unwrap_or("-").as_bytes())
    }

    fn number(&self, field: &str) -> u64 {
        self.0.get(field).and_then(Value::as_u64).unwrap_or(0)
    }

    fn bytes(&self, field: &str) -> String {
        human::bytes(self.number(field))
    }

    fn share(&self, field: &str) -> String {
        self.0.get(field).and_then(Value::as_f64).map_or_else(|| "-".to_owned(), |share| format!("{share:.3}"))
    }

    fn time(&self, field: &str) -> String {
        match self.0.get(field).and_then(Value::as_str) {
            Some(text) => names::escape(human::shown_time(text).as_bytes()),
            None => "-".to_owned(),
        }
    }

    fn heard(&self) -> String {
        human::local_time_seconds(self.number("last_heartbeat"))
    }

    /// Whether it leaves; empty if not.
    fn leaving(&self) -> String {
        match self.0.get("leaving").and_then(Value::as_str) {
            None | Some("none") => String::new(),
            Some(how) => names::escape(how.as_bytes()),
        }
    }

    fn part(&self, field: &str) -> Option<Seen<'_>> {
        self.0.get(field).filter(|part| part.is_object()).map(Seen)
    }
}

/// One node in the list.
fn line(node: &Seen<'_>) -> String {
    let leaving = node.leaving();
    let leaving = if leaving.is_empty() { leaving } else { format!("  ({leaving})") };
    format!(
        "{}  {:<9}  {:<12}  {}  {:>9} of {:>9}  {:<8}  {}  {:<8}  {:<12}  {}{leaving}",
        node.text("node_id"),
        node.text("state"),
        node.text("standing"),
        node.share("audit_score"),
        node.bytes("used_bytes"),
        node.bytes("allocatable_bytes"),
        node.text("version"),
        node.heard(),
        node.text("region"),
        node.text("owner"),
        node.text("address"),
    )
}

/// Everything about one node.
fn lines(node: &Seen<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |name: &str, text: String| lines.push(format!("{name:<10} {text}"));
    add("node", node.text("node_id"));
    add("owner", format!("{} (account {})", node.text("owner"), node.text("operator")));
    add("machine", format!("{}, {} ({})", node.text("hostname"), node.text("os"), node.text("machine_id")));
    add("address", format!("{}, region {}", node.text("address"), node.text("region")));
    add("version", node.text("version"));
    add("registered", node.time("registered_at"));
    let skew = node.0.get("clock_skew_seconds").and_then(Value::as_i64).unwrap_or(0);
    let clock = if skew == 0 { String::new() } else { format!(", its clock is {skew:+} s from the server's") };
    add("state", format!("{}, heard of {}{clock}", node.text("state"), node.heard()));
    if node.text("read_only_reason") != "-" {
        add("read-only", node.text("read_only_reason"));
    }
    let (used, all) = (node.number("used_bytes"), node.number("allocatable_bytes"));
    let room = format!("{}  {} of {}", human::bar(used, all), human::bytes(used), human::bytes(all));
    add("room", format!("{room}, {} free, {} in the trash", node.bytes("available_bytes"), node.bytes("trash_bytes")));
    let damaged = match node.number("damaged_chunks") {
        0 => String::new(),
        count => format!(", {} DAMAGED", human::count(count, "chunk", "chunks")),
    };
    let queued = node.number("repairs_queued");
    add("chunks", format!("{}{damaged}, {queued} queued for repair or to be moved", node.number("chunks")));
    add("score", format!("{} for serving, {} for proving", node.share("score"), node.share("audit_score")));
    add("standing", format!("{} since {}", node.text("standing"), node.time("standing_since")));
    match node.part("audits") {
        Some(audits) => {
            let counts = ["passed", "lost", "corrupt", "timed_out", "refused", "unreachable"]
                .map(|field| format!("{} {}", audits.number(field), field.replace('_', " ")));
            let last = format!("the last {}: {}", node.time("last_audit"), node.text("last_audit_outcome"));
            add("audits", format!("{}; {last}", counts.join(", ")));
        }
        None => add("audits", "none yet".to_owned()),
    }
    let held = node.number("held_micros");
    add("held pay", format!("{}.{:06}, to be paid to {}", held / MICROS, held % MICROS, node.text("payout_address")));
    add("traffic", format!("{} this month", node.bytes("traffic_month_bytes")));
    if let Some(progress) = node.part("leaving_progress") {
        add(
            "leaving",
            format!(
                "{} since {}: {} ({}) left, {} ({}) moved",
                node.leaving(),
                progress.time("since"),
                human::count(progress.number("chunks_left"), "chunk", "chunks"),
                progress.bytes("bytes_left"),
                human::count(progress.number("chunks_moved"), "chunk", "chunks"),
                progress.bytes("bytes_moved"),
            ),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_is_shown_and_foreign_text_is_harmless() {
        let node = json!({
            "node_id": "8d4f", "owner": null, "operator": "00", "machine_id": "m", "hostname": "h\u{1b}[2J", "os": "Linux",
            "address": "192.0.2.1:50051", "region": "eu", "version": "0.1.0", "registered_at": "2026-11-01T00:00:00Z",
            "state": "online", "last_heartbeat": 1, "clock_skew_seconds": -130, "read_only_reason": "", "used_bytes": 1024,
            "allocatable_bytes": 2048, "available_bytes": 1024, "trash_bytes": 0, "damaged_chunks": 2, "chunks": 7,
            "repairs_queued": 3, "score": 0.5, "audit_score": 0.987, "standing": "trusted", "standing_since": null,
            "audits": {"passed": 9, "lost": 1, "corrupt": 0, "timed_out": 0, "refused": 0, "unreachable": 0},
            "last_audit": null, "last_audit_outcome": "passed", "held_micros": 1_000_001, "payout_address": "",
            "traffic_month_bytes": 0, "leaving": "draining",
            "leaving_progress": {"since": "2026-11-02T00:00:00Z", "chunks_left": 1, "bytes_left": 5, "chunks_moved": 2, "bytes_moved": 9},
        });
        let text = lines(&Seen(&node)).join("\n");
        for part in [
            "-130 s",
            "2 chunks DAMAGED",
            "9 passed, 1 lost",
            "1.000001",
            "draining since",
            "1 chunk (",
            "0.987 for proving",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains('\u{1b}') && !line(&Seen(&node)).contains('\u{1b}'));
        assert!(line(&Seen(&node)).ends_with("192.0.2.1:50051  (draining)"));
        // A server that says less is no reason to fail.
        assert!(lines(&Seen(&json!({}))).len() > 8);
    }
}
