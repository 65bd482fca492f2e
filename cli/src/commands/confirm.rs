//! A fresh password and code before something that a login alone must not do.

use cyx_client::Session;
use cyx_client::identity::factors::{Confirmation, Proof};
use cyx_core::error::ErrorCode;
use serde::Serialize;
use zeroize::Zeroizing;

use super::Context;
use crate::args::access::Confirm;
use crate::error::{Error, Result};
use crate::prompt;

/// What `--begin` prints, here and at a login.
#[derive(Serialize)]
pub(super) struct Begun<'a> {
    pub(super) session_id: &'a str,
    pub(super) otp_method: &'a str,
    pub(super) otp_expires_at: u64,
}

/// Proves the password, gets a code, and does something with both; `None` if only the first was asked for.
///
/// A code that is wrong is asked for again on a terminal.
///
/// # Errors
/// What proving and doing refuse; a usage error if something is missing and nobody can be asked.
pub(super) async fn confirmed<T>(
    context: &Context,
    session: &Session,
    args: &Confirm,
    command: &str,
    action: impl AsyncFn(Proof<'_>) -> Result<T>,
) -> Result<Option<T>> {
    confirmed_by(context, session, args, command, || prompt::password(args.password_stdin, false), action).await
}

/// As [`confirmed`], with the password from somewhere else.
///
/// # Errors
/// As [`confirmed`].
pub(super) async fn confirmed_by<T>(
    context: &Context,
    session: &Session,
    args: &Confirm,
    command: &str,
    password: impl FnOnce() -> Result<Zeroizing<String>>,
    action: impl AsyncFn(Proof<'_>) -> Result<T>,
) -> Result<Option<T>> {
    if let (Some(id), Some(code)) = (&args.session, &args.otp) {
        return action(Proof::new(id, code)).await.map(Some);
    }
    check_possible(args)?;
    let password = password()?;
    let begun = session.begin_confirmation(&password).await?;
    drop(password);
    if args.begin {
        report_begun(context, &begun, command)?;
        return Ok(None);
    }
    if let Some(code) = &args.otp {
        if begun.otp_method != "totp" {
            return Err(Error::usage_with(
                "codes of this account come by mail, and this one belongs to nothing that was begun",
                "Do it in two steps: --begin, then --session with --otp.",
            ));
        }
        return action(Proof::new(&begun.id, code)).await.map(Some);
    }
    note_source(context, &begun.otp_method, session.email());
    loop {
        let code = prompt::ask("Code", "Use --session and --otp.")?;
        match action(Proof::new(&begun.id, &code)).await {
            Err(Error::Client(error)) if error.code() == ErrorCode::OtpInvalid => {
                context.output.note("That is not the code.");
            }
            other => return other.map(Some),
        }
    }
}

/// Checks that a code was given, or can be asked for.
///
/// # Errors
/// A usage error.
pub(super) fn check_possible(args: &Confirm) -> Result<()> {
    if args.begin || args.otp.is_some() || prompt::possible() {
        return Ok(());
    }
    Err(Error::usage_with(
        "the one-time code is missing, and there is no terminal to ask on",
        "Do it in two steps: --begin, then --session with --otp.",
    ))
}

/// Says where the code comes from.
pub(super) fn note_source(context: &Context, method: &str, email: &str) {
    context.output.note(match method {
        "totp" => "Take the code from your authenticator app, or use a backup code.".to_owned(),
        _ => format!("A code is on its way to {email}."),
    });
}

fn report_begun(context: &Context, begun: &Confirmation, command: &str) -> Result<()> {
    let document = Begun { session_id: &begun.id, otp_method: &begun.otp_method, otp_expires_at: begun.otp_expires_at };
    if context.output.json() {
        return context.output.document(&document);
    }
    context.output.note(match begun.otp_method.as_str() {
        "totp" => "Go on with a code of your authenticator app:",
        _ => "A code is on its way. Go on with:",
    });
    context.output.line(format!("{command} --session {} --otp CODE", begun.id))
}
