//! `cyx sessions`: machines that are logged in.

use cyx_client::Session;
use cyx_client::identity::{self, devices::Device};
use cyx_core::ids::SessionId;
use serde::Serialize;

use super::{Context, Failures};
use crate::args::access::{Sessions, SessionsRevoke};
use crate::error::{Error, Result};
use crate::output::{human, names};

#[derive(Serialize)]
struct Revoked<'a> {
    id: &'a str,
    revoked: bool,
}

#[derive(Serialize)]
struct RevokedAll {
    revoked: u64,
}

/// Does one of the commands.
///
/// # Errors
/// As the commands say.
pub async fn run(context: &Context, command: Sessions) -> Result<()> {
    let session = Session::connect(&context.config).await?;
    match command {
        Sessions::List(_) => list(context, &session).await,
        Sessions::Revoke(args) => revoke(context, &session, &args).await,
    }
}

async fn list(context: &Context, session: &Session) -> Result<()> {
    for device in session.devices().await? {
        if context.output.json() {
            context.output.document(&device)?;
        } else {
            context.output.line(line(&device))?;
        }
    }
    Ok(())
}

fn line(device: &Device) -> String {
    let Device { id, device_name, last_used_at, address, current, .. } = device;
    let here = if *current { "  (this machine)" } else { "" };
    let (name, used) = (names::escape(device_name.as_bytes()), human::shown_time(last_used_at));
    format!("{id}  {used}  {:<15}  {name}{here}", names::escape(address.as_bytes()))
}

async fn revoke(context: &Context, session: &Session, args: &SessionsRevoke) -> Result<()> {
    if args.all || args.others {
        let revoked = session.revoke_all_devices(args.others).await?;
        if args.all {
            identity::logout(&context.config).await?;
        }
        if context.output.json() {
            return context.output.document(&RevokedAll { revoked });
        }
        context.output.note(format!("Ended {}.", human::count(revoked, "login", "logins")));
        return Ok(());
    }
    let mut failures = Failures::among(args.ids.len());
    for text in &args.ids {
        failures.count();
        match revoke_one(context, session, text).await {
            Ok(()) if context.output.json() => {
                failures.said(context.output.document(&Revoked { id: text, revoked: true }));
            }
            Ok(()) => context.output.note(format!("Ended {text}.")),
            Err(error) => failures.add(context, text.as_bytes(), error),
        }
    }
    failures.result()
}

async fn revoke_one(context: &Context, session: &Session, text: &str) -> Result<()> {
    let id: SessionId =
        text.parse().map_err(|_| Error::usage(format!("{} is not an id", names::escape(text.as_bytes()))))?;
    if id == session.id() {
        // This machine forgets its part as well.
        identity::logout(&context.config).await?;
        return Ok(());
    }
    Ok(session.revoke_device(id).await?)
}
