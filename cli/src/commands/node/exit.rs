//! `cyx node exit`: leaving for good. The node's own program asks, because the machine's credentials are its alone.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::local::{State, ca_file, file, home};
use crate::args::node::Exit;
use crate::commands::Context;
use crate::commands::leaving::{Look, stands, watch};
use crate::dev::launch::find_program;
use crate::error::{Error, Result};
use crate::output::{human, names};
use crate::prompt;

/// What `cyx-node exit` prints.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    node_id: String,
    leaving: String,
    chunks_left: u64,
    bytes_left: u64,
    chunks_moved: u64,
    bytes_moved: u64,
    receipt: Option<String>,
}

/// Does the command.
///
/// # Errors
/// [`Error::Node`] if no node was started here, or the server refuses; a usage error if nobody can be asked, or says no.
pub(super) async fn run(context: &Context, args: &Exit) -> Result<()> {
    let home = home(context, &args.place)?;
    let state = State::load(&home)?.ok_or(Error::Node {
        message: "`cyx node start` has not started a storage node here".to_owned(),
        advice: Some("A node that systemd or a container runs is asked with `cyx-node exit`."),
    })?;
    let flag = match (args.status, args.cancel) {
        (true, _) => "--status",
        (false, true) => "--cancel",
        (false, false) => "--yes",
    };
    let leaves = flag == "--yes";
    if leaves && !args.yes {
        // Who is leaving already has said so, and only wants to see it.
        let now = ask(context, &home, &state, "--status").await?;
        if !matches!(now.leaving.as_str(), "exiting" | "exited") {
            confirm(&now)?;
        }
    }
    let progress = ask(context, &home, &state, flag).await?;
    let waits = leaves && !args.no_wait;
    let say = |progress: &Progress, look: &Look| match look {
        Look::Moved => show(context, progress),
        Look::Stands(time) => {
            let left = stands(progress.chunks_left, progress.bytes_left, *time);
            context.output.note(format!("{left} Others take it when they have room; does this node still run?"));
            Ok(())
        }
    };
    let is_over = |progress: &Progress| !waits || progress.leaving != "exiting";
    watch(progress, say, is_over, async || ask(context, &home, &state, "--status").await).await
}

/// Asks whether the node shall leave.
fn confirm(now: &Progress) -> Result<()> {
    let node = names::escape(now.node_id.as_bytes());
    let question = format!("Node {node} cannot come back once everything is moved. Let it leave for good? Type yes");
    let answer = prompt::confirmation("leaving the network for good", &question)?;
    if answer.eq_ignore_ascii_case("yes") { Ok(()) } else { Err(Error::usage("nothing was changed")) }
}

fn show(context: &Context, progress: &Progress) -> Result<()> {
    if context.output.json() {
        return context.output.document(progress);
    }
    let Progress { leaving, chunks_left, bytes_left, chunks_moved, bytes_moved, receipt, .. } = progress;
    let chunks = |count, bytes| format!("{} ({})", human::count(count, "chunk", "chunks"), human::bytes(bytes));
    let (left, moved) = (chunks(*chunks_left, *bytes_left), chunks(*chunks_moved, *bytes_moved));
    context.output.line(match leaving.as_str() {
        "none" => "The node is not leaving.".to_owned(),
        "exited" => format!("The node has left: {moved} handed over. It may be stopped now."),
        other => format!("{}: {left} left, {moved} moved", names::escape(other.as_bytes())),
    })?;
    if let Some(receipt) = receipt {
        context.output.line(format!("Receipt: {}", names::escape(receipt.as_bytes())))?;
    }
    Ok(())
}

async fn ask(context: &Context, home: &Path, state: &State, flag: &'static str) -> Result<Progress> {
    let program = find_program("cyx-node")?;
    let mut command = Command::new(&program);
    command.arg("exit").arg(flag).arg("--home").arg(home);
    if let Some(path) = &state.storage_path {
        command.arg("--storage-path").arg(path);
    }
    if let Some(file) = ca_file(context)? {
        command.arg("--ca-file").arg(file);
    }
    command.env("CYXWIZ_API_URL", &state.gateway).env("CENTRAL_SERVER_ADDR", &state.central_server);
    command.current_dir(home).stdin(Stdio::null());
    let asked = tokio::task::spawn_blocking(move || command.output()).await;
    let output = asked.map_err(std::io::Error::other).and_then(|output| output).map_err(file("run", &program))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let words = words.trim().strip_prefix("cyx-node: ").unwrap_or(words.trim());
        return Err(Error::Node { message: names::escape(words.as_bytes()), advice: None });
    }
    let progress = serde_json::from_slice(&output.stdout).map_err(std::io::Error::other);
    progress.map_err(file("understand", &program))
}
