//! `cyx otp`: the second factor of logins.

use cyx_client::Session;
use cyx_client::identity::factors::{Enrollment, OneTimeCodes, Proof};
use cyx_core::error::ErrorCode;
use serde::Serialize;

use super::Context;
use super::confirm::confirmed;
use crate::args::access::{BackupCodes, Enroll, Otp, OtpRemove};
use crate::error::{Error, Result};
use crate::output::{human, qr};
use crate::prompt;

#[derive(Serialize)]
struct Enrolled<'a> {
    secret: &'a str,
    uri: &'a str,
    expires_at: u64,
}

#[derive(Serialize)]
struct Codes<'a> {
    backup_codes: Vec<&'a str>,
}

#[derive(Serialize)]
struct Removed {
    removed: bool,
}

/// Does one of the commands.
///
/// # Errors
/// As the commands say.
pub async fn run(context: &Context, command: Otp) -> Result<()> {
    let session = Session::connect(&context.config).await?;
    match command {
        Otp::Enroll(args) => enroll(context, &session, &args).await,
        Otp::List(_) => list(context, &session).await,
        Otp::Remove(args) => remove(context, &session, &args).await,
        Otp::BackupCodes(args) => renew(context, &session, &args).await,
    }
}

async fn enroll(context: &Context, session: &Session, args: &Enroll) -> Result<()> {
    if let Some(code) = &args.code {
        return show_codes(context, &session.confirm_totp(code).await.map_err(unheard_app())?);
    }
    let enroll = async |proof: Proof<'_>| Ok(session.enroll_totp(proof).await?);
    let Some(enrollment) = confirmed(context, session, &args.confirm, "cyx otp enroll", enroll).await? else {
        return Ok(());
    };
    show_enrollment(context, &enrollment)?;
    if !prompt::possible() {
        context.output.note("Go on with: cyx otp enroll --confirm CODE");
        return Ok(());
    }
    loop {
        let code = prompt::ask("Code of the app", "Use --confirm.")?;
        match session.confirm_totp(&code).await {
            Err(error) if error.code() == ErrorCode::OtpInvalid => {
                context
                    .output
                    .note("That is not the code; if it keeps happening, check the clock of the app's machine.");
            }
            other => return show_codes(context, &other.map_err(unheard_app())?),
        }
    }
}

fn unheard_app() -> impl FnOnce(cyx_client::Error) -> Error {
    let how = "see `cyx otp list`, and if it does, get backup codes with `cyx otp backup-codes`.";
    Error::call("whether the app counts", how)
}

fn show_enrollment(context: &Context, enrollment: &Enrollment) -> Result<()> {
    let output = &context.output;
    let lost = || Error::undelivered("the secret of the app", "Begin again with `cyx otp enroll`.");
    if output.json() {
        let Enrollment { secret, uri, expires_at } = enrollment;
        return output.document(&Enrolled { secret, uri, expires_at: *expires_at }).map_err(lost());
    }
    if output.is_terminal() {
        output.note("Scan this with your authenticator app, or type the secret below it.");
        if let Some(code) = qr::code(&enrollment.uri) {
            output.drawing(&code)?;
        }
    }
    output.line(format!("secret {}", *enrollment.secret)).map_err(lost())?;
    if output.is_terminal() { Ok(()) } else { output.line(format!("uri {}", *enrollment.uri)).map_err(lost()) }
}

fn show_codes(context: &Context, codes: &OneTimeCodes) -> Result<()> {
    let output = &context.output;
    let lost = Error::undelivered("the backup codes", "Make others with `cyx otp backup-codes`.");
    if output.json() {
        let codes = Codes { backup_codes: codes.0.iter().map(|code| code.as_str()).collect() };
        return output.document(&codes).map_err(lost);
    }
    output.note(
        "These backup codes each stand in for one code if the app is lost. Nobody can show them again: keep them now.",
    );
    codes.0.iter().try_for_each(|code| output.line(code.as_str())).map_err(lost)
}

async fn list(context: &Context, session: &Session) -> Result<()> {
    let factors = session.factors().await?;
    if context.output.json() {
        return context.output.document(&factors);
    }
    match &factors.totp {
        None => context.output.line("email"),
        Some(totp) => {
            let used = match &totp.last_used_at {
                Some(time) => format!("last used {}", human::shown_time(time)),
                None => "not used yet".into(),
            };
            let since = human::shown_time(&totp.created_at);
            context.output.line(format!("authenticator app  since {since}, {used}"))?;
            context.output.line(format!("backup codes       {} left", factors.backup_codes_left))
        }
    }
}

async fn remove(context: &Context, session: &Session, args: &OtpRemove) -> Result<()> {
    let lost = || Error::call("whether the app still counts", "see `cyx otp list`.");
    let remove = async |proof: Proof<'_>| session.remove_totp(proof).await.map_err(lost());
    if confirmed(context, session, &args.confirm, "cyx otp remove", remove).await?.is_none() {
        return Ok(());
    }
    if context.output.json() {
        return context.output.document(&Removed { removed: true });
    }
    context.output.note("Removed. Codes come by mail again.");
    Ok(())
}

async fn renew(context: &Context, session: &Session, args: &BackupCodes) -> Result<()> {
    let lost = || Error::call("whether the backup codes of before still count", "run it again to get others.");
    let renew = async |proof: Proof<'_>| session.renew_backup_codes(proof).await.map_err(lost());
    match confirmed(context, session, &args.confirm, "cyx otp backup-codes", renew).await? {
        Some(codes) => show_codes(context, &codes),
        None => Ok(()),
    }
}
