//! `cyx login`: password, then a one-time code; in one go on a terminal, in two steps in scripts.

use cyx_client::identity::{self, Identity};
use serde::Serialize;

use super::Context;
use super::confirm::{Begun, note_source};
use crate::args::account::Login;
use crate::error::{Error, Result};
use crate::prompt;

#[derive(Serialize)]
struct Done<'a> {
    id: String,
    username: &'a str,
    email: &'a str,
}

/// Logs in, or does the step that was asked for.
///
/// # Errors
/// As [`identity::begin_login`] and [`identity::finish_login`]; a usage error if something is missing and nobody can be asked.
pub async fn run(context: &Context, args: Login) -> Result<()> {
    let accept = args.accept_changes;
    if let (Some(session), Some(code)) = (&args.session, &args.otp) {
        let account = identity::finish_login(&context.config, session, code, accept).await?;
        return report(context, &account);
    }
    let email = match args.email.or_else(|| context.config.email.clone()) {
        Some(email) => email,
        None => prompt::ask("Email address", "Use --email.")?,
    };
    if !args.begin && args.otp.is_none() && !prompt::possible() {
        return Err(Error::usage_with(
            "the one-time code is missing, and there is no terminal to ask on",
            "Log in in two steps: --begin, then --session with --otp.",
        ));
    }
    if args.otp.is_some() {
        return Err(Error::usage_with(
            "a one-time code belongs to a login that was begun",
            "Name it with --session; `cyx login --begin` prints it.",
        ));
    }
    let password = prompt::password(args.password_stdin, false)?;
    let pending = identity::begin_login(&context.config, &email, &password, accept).await?;
    drop(password);
    if args.begin {
        let begun = Begun {
            session_id: &pending.session_id,
            otp_method: &pending.otp_method,
            otp_expires_at: pending.otp_expires_at,
        };
        if context.output.json() {
            return context.output.document(&begun);
        }
        note_source(context, &pending.otp_method, &email);
        context.output.note("Go on with:");
        return context.output.line(format!("cyx login --session {} --otp CODE", pending.session_id));
    }
    note_source(context, &pending.otp_method, &email);
    loop {
        let code = prompt::ask("Code", "Use --session and --otp.")?;
        match identity::finish_login(&context.config, &pending.session_id, &code, accept).await {
            // The login still waits: a typing mistake should not cost another mail.
            Err(error) if error.code() == cyx_core::error::ErrorCode::OtpInvalid => {
                context.output.note("That is not the code.");
            }
            other => return report(context, &other?),
        }
    }
}

fn report(context: &Context, account: &Identity) -> Result<()> {
    if context.output.json() {
        let done = Done { id: account.id.to_string(), username: &account.username, email: &account.email };
        return context.output.document(&done);
    }
    context.output.note(format!("Logged in as {}.", account.username));
    Ok(())
}
