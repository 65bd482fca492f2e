//! `cyx admin`.

mod nodes;

use cyx_client::Session;
use cyx_client::identity::admin::{Leaving, User};
use serde_json::Value;

use super::Context;
use super::account::{show_entry, since};
use super::leaving::{Look, stands, watch};
use crate::args::admin::{Admin, AdminAudit, Drain, Plan, Users};
use crate::error::{Error, Result};
use crate::output::{human, names};

const GB: u64 = 1_000_000_000;

/// Does one of the commands.
///
/// # Errors
/// As the commands say; `PERMISSION_DENIED` unless the caller is an administrator.
pub async fn run(context: &Context, command: Admin) -> Result<()> {
    let session = Session::connect(&context.config).await?;
    match command {
        Admin::Users(args) => users(context, &session, &args).await,
        Admin::Plan(args) => plan(context, &session, &args).await,
        Admin::Role(args) => show_user(context, &session.set_role(&args.user, &args.role).await?),
        Admin::Disable(args) => show_user(context, &session.set_disabled(&args.user, !args.undo).await?),
        Admin::Audit(args) => audit(context, &session, &args).await,
        Admin::Nodes(args) => nodes::run(context, &session, args).await,
        Admin::Drain(args) => drain(context, &session, &args).await,
        Admin::Reinstate(args) => {
            let done = session.reinstate_node(&args.node).await?;
            if context.output.json() {
                return context.output.document(&done);
            }
            let proven = done.get("proven").and_then(Value::as_u64).unwrap_or(0);
            let slices = human::count(proven, "slice", "slices");
            context.output.note(format!("The node proved {slices} and is being vetted again."));
            Ok(())
        }
    }
}

async fn users(context: &Context, session: &Session, args: &Users) -> Result<()> {
    let mut after: Option<String> = None;
    loop {
        let page = session.users(args.search.as_deref(), after.as_deref()).await?;
        page.users.iter().try_for_each(|user| show_user(context, user))?;
        match page.next {
            Some(next) if !page.users.is_empty() => after = Some(next),
            _ => return Ok(()),
        }
    }
}

async fn plan(context: &Context, session: &Session, args: &Plan) -> Result<()> {
    let bytes = |gb: Option<u64>| gb.map(|gb| gb.saturating_mul(GB));
    let user = session.set_plan(&args.user, &args.plan, bytes(args.limit_gb), bytes(args.traffic_gb)).await?;
    show_user(context, &user)
}

fn show_user(context: &Context, user: &User) -> Result<()> {
    if context.output.json() {
        return context.output.document(user);
    }
    let User { id, username, email, role, plan, used_bytes, limit_bytes, disabled, verified, delete_at, .. } = user;
    let mut line = format!(
        "{id}  {:<8}  {:<10}  {:>9} of {:>9}  {username} <{}>",
        names::escape(role.as_bytes()),
        names::escape(plan.as_bytes()),
        human::bytes(*used_bytes),
        human::bytes(*limit_bytes),
        names::escape(email.as_bytes()),
    );
    for (holds, word) in [(*disabled, "disabled"), (!*verified, "not verified"), (delete_at.is_some(), "to be deleted")]
    {
        if holds {
            line.push_str(&format!("  ({word})"));
        }
    }
    context.output.line(line)
}

async fn audit(context: &Context, session: &Session, args: &AdminAudit) -> Result<()> {
    if args.check {
        let check = session.check_audit().await?;
        if context.output.json() {
            context.output.document(&check)?;
        } else if check.intact {
            let entries = human::count(check.entries, "entry", "entries");
            context.output.line(format!("intact: {entries}, head {}", names::escape(check.head.as_bytes())))?;
        }
        return if check.intact { Ok(()) } else { Err(Error::AuditBroken(check.broken_at.unwrap_or_default())) };
    }
    let since = since(args.since.as_deref())?;
    let mut after = None;
    loop {
        let page = session.audit_of_all(args.account.as_deref(), since, after).await?;
        page.entries.iter().try_for_each(|entry| show_entry(context, entry))?;
        match page.next {
            Some(next) if Some(next) > after => after = Some(next),
            _ => return Ok(()),
        }
    }
}

async fn drain(context: &Context, session: &Session, args: &Drain) -> Result<()> {
    let progress = match args.status {
        true => session.node_drain(&args.node).await?,
        false => session.drain_node(&args.node, !args.cancel).await?,
    };
    let say = |progress: &Leaving, look: &Look| match look {
        Look::Moved => show_drain(context, progress),
        Look::Stands(time) => {
            let left = stands(progress.chunks_left, progress.bytes_left, *time);
            context.output.note(format!("{left} Have enough other nodes room? `cyx admin nodes` shows them."));
            Ok(())
        }
    };
    let is_over = |progress: &Leaving| !args.wait || progress.leaving == "none" || progress.chunks_left == 0;
    watch(progress, say, is_over, async || Ok(session.node_drain(&args.node).await?)).await
}

fn show_drain(context: &Context, progress: &Leaving) -> Result<()> {
    if context.output.json() {
        return context.output.document(progress);
    }
    let Leaving { node_id, leaving, chunks_left, bytes_left, chunks_moved, bytes_moved, .. } = progress;
    context.output.line(format!(
        "{}  {:<8}  {} ({}) left, {} ({}) moved",
        names::escape(node_id.as_bytes()),
        names::escape(leaving.as_bytes()),
        human::count(*chunks_left, "chunk", "chunks"),
        human::bytes(*bytes_left),
        human::count(*chunks_moved, "chunk", "chunks"),
        human::bytes(*bytes_moved),
    ))
}
