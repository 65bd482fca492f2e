//! `cyx node`.

mod control;
mod dashboard;
mod earnings;
mod exit;
mod local;

use cyx_client::Session;
use cyx_client::identity::nodes::OwnNode;
use cyx_core::ids::NodeId;
use serde::Serialize;

use super::Context;
use crate::args::node::{Enroll, Node};
use crate::error::{Error, Result};
use crate::output::{human, names};

/// Does one of the commands.
///
/// # Errors
/// As the commands say.
pub async fn run(context: &Context, command: Node) -> Result<()> {
    match command {
        Node::Enroll(args) => enroll(context, &args).await,
        Node::Start(args) => control::start(context, &args).await,
        Node::Stop(args) => control::stop(context, &args).await,
        Node::Status(args) => dashboard::run(context, &args).await,
        Node::Exit(args) => exit::run(context, &args).await,
        Node::List(_) => list(context).await,
        Node::Earnings(args) => earnings::run(context, &args).await,
    }
}

#[derive(Serialize)]
struct Enrolled<'a> {
    token: &'a str,
    fingerprint: &'a str,
    expires_at: String,
    gateway: &'a str,
    central_server: &'a str,
    /// None if the server does not name it: then the port of `central_server` is a guess, unless it was typed.
    node_port: Option<u16>,
}

async fn enroll(context: &Context, args: &Enroll) -> Result<()> {
    let session = Session::connect(&context.config).await?;
    let made = session.make_enrolment(&args.label, Some(args.expires_hours.saturating_mul(3600))).await?;
    let gateway = session.gateway();
    let central_server = control::central(args.central_server.as_deref(), gateway, made.node_port);
    let lost = Error::undelivered("the token of the node", "Make another with `cyx node enroll`.");
    if context.output.json() {
        let printed = context.output.document(&Enrolled {
            token: &made.token,
            fingerprint: &made.fingerprint,
            expires_at: human::rfc3339_seconds(made.expires_at),
            gateway: gateway.as_str(),
            central_server: &central_server,
            node_port: made.node_port,
        });
        return printed.map_err(lost);
    }
    let until = human::local_time_seconds(made.expires_at);
    context
        .output
        .note(format!("This token lets one machine join as your storage node, until {until}. It is shown once."));
    context.output.line(made.token.as_str()).map_err(lost)?;
    // A node looks for both addresses on its own machine unless it is told.
    let command = format!("cyx-node --gateway {gateway} --central-server {central_server}");
    context.output.note(format!("On that machine: CYXWIZ_ENROLL_TOKEN=… {command}"));
    Ok(())
}

async fn list(context: &Context) -> Result<()> {
    let session = Session::connect(&context.config).await?;
    for node in session.own_nodes().await? {
        if context.output.json() {
            context.output.document(&node)?;
        } else {
            context.output.line(line(&node))?;
        }
    }
    Ok(())
}

fn line(node: &OwnNode) -> String {
    let text = |text: &str| names::escape(text.as_bytes());
    let standing = node.audits.as_ref().map_or("new", |audits| &audits.standing);
    format!(
        "{}  {:<9}  {:<12}  {:<22}  {} of {}  {}",
        text(&node.node_id),
        text(&node.state),
        text(standing),
        text(&node.address),
        human::bytes(node.used_bytes),
        human::bytes(node.allocatable_bytes),
        text(&node.hostname),
    )
}

/// The node that a command is about: the one named, that of this machine, or the only one of the account.
async fn which(session: &Session, named: Option<&str>, local: Option<&str>) -> Result<NodeId> {
    let parse = |text: &str| {
        text.parse::<NodeId>()
            .map_err(|_| Error::usage(format!("{} is not the id of a node", names::escape(text.as_bytes()))))
    };
    if let Some(text) = named.or(local) {
        return parse(text);
    }
    match &session.own_nodes().await?[..] {
        [node] => parse(&node.node_id),
        [] => Err(Error::usage_with("this account has no storage node", "`cyx node start` makes this machine one.")),
        _ => Err(Error::usage_with(
            "this account has several storage nodes",
            "Name one with --node; `cyx node list` shows them.",
        )),
    }
}
