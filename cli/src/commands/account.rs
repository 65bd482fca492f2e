//! `cyx account` and `cyx audit`.

use std::path::{Path, PathBuf};

use cyx_client::Session;
use cyx_client::identity::audit::AuditEntry;
use cyx_client::identity::factors::Proof;
use cyx_client::identity::password::check_email;
use cyx_core::error::ErrorCode;
use cyx_core::ids::SessionId;
use serde::Serialize;

use super::Context;
use super::confirm::{check_possible, confirmed};
use super::register::show_words;
use super::unanswered::Unanswered;
use crate::args::account::{Account, Audit, DeleteAccount, Email, Export, Words};
use crate::error::{Error, Result};
use crate::output::{human, names};
use crate::{prompt, when};

#[derive(Serialize)]
struct Exported {
    file: String,
    bytes: u64,
}

#[derive(Serialize)]
struct Deletion {
    delete_at: String,
}

#[derive(Serialize)]
struct Kept {
    kept: bool,
}

#[derive(Serialize)]
struct NewEmail<'a> {
    email: &'a str,
}

#[derive(Serialize)]
struct NewWords<'a> {
    recovery_words: &'a str,
}

/// Does one of the commands of `cyx account`.
///
/// # Errors
/// As the commands say.
pub async fn run(context: &Context, command: Account) -> Result<()> {
    let session = Session::connect(&context.config).await?;
    match command {
        Account::Email(args) => email(context, &session, &args).await,
        Account::Export(args) => export(context, &session, args).await,
        Account::Delete(args) => delete(context, &session, &args).await,
        Account::Keep(_) => keep(context, &session).await,
        Account::Words(args) => words(context, &session, &args).await,
    }
}

async fn email(context: &Context, session: &Session, args: &Email) -> Result<()> {
    if let (Some(id), Some(old), Some(new)) = (&args.change, &args.otp_old, &args.otp_new) {
        let id: SessionId = id.parse().map_err(|_| Error::usage("--change takes what was printed as change_id"))?;
        let email = session.finish_email_change(id, old, new).await.map_err(unheard_email())?;
        return report_email(context, &email);
    }
    let Some(new) = &args.email else { return Err(Error::usage("the new address is missing")) };
    // Before anybody is asked for a password and a code.
    check_email(new)?;
    let begin = async |proof: Proof<'_>| Ok(session.begin_email_change(new, proof).await?);
    let Some(pending) = confirmed(context, session, &args.confirm, "cyx account email EMAIL", begin).await? else {
        return Ok(());
    };
    if !prompt::possible() {
        if context.output.json() {
            return context.output.document(&pending);
        }
        context.output.note("Codes are on their way to the old and to the new address. Go on with:");
        let id = pending.change_id;
        return context.output.line(format!("cyx account email --change {id} --otp-old CODE --otp-new CODE"));
    }
    context.output.note("Further codes are on their way to the old and to the new address.");
    loop {
        let old_code = prompt::ask("Code from the old address", "Use --change, --otp-old and --otp-new.")?;
        let new_code = prompt::ask("Code from the new address", "Use --change, --otp-old and --otp-new.")?;
        match session.finish_email_change(pending.change_id, &old_code, &new_code).await {
            Err(error) if error.code() == ErrorCode::OtpInvalid => context.output.note("One of the codes is wrong."),
            other => return report_email(context, &other.map_err(unheard_email())?),
        }
    }
}

fn unheard_email() -> impl FnOnce(cyx_client::Error) -> Error {
    Error::call("which address counts", "see `cyx whoami`.")
}

fn report_email(context: &Context, email: &str) -> Result<()> {
    if context.output.json() {
        return context.output.document(&NewEmail { email });
    }
    context.output.note(format!("The address is {} now; log in with it from now on.", names::escape(email.as_bytes())));
    Ok(())
}

async fn export(context: &Context, session: &Session, args: Export) -> Result<()> {
    let target = match args.output {
        Some(target) => target,
        None => PathBuf::from(format!("cyx-account-{}.ndjson", session.known_identity().await?.username)),
    };
    if target == Path::new("-") {
        session.export_to(&mut tokio::io::stdout(), Path::new("standard output")).await?;
        return Ok(());
    }
    let bytes = session.export_account(&target).await?;
    let file = target.to_string_lossy().into_owned();
    if context.output.json() {
        return context.output.document(&Exported { file, bytes });
    }
    context.output.note(format!("Wrote {} to {}.", human::bytes(bytes), names::escape(file.as_bytes())));
    Ok(())
}

async fn delete(context: &Context, session: &Session, args: &DeleteAccount) -> Result<()> {
    if !args.yes && !args.confirm.begin {
        let name = session.known_identity().await?.username;
        let question = format!("This deletes all files of {name}. Type the user name to go on");
        if prompt::confirmation(&format!("deleting all files of {name}"), &question)? != name {
            return Err(Error::usage("that is not the user name; nothing was changed"));
        }
    }
    let how = "`cyx account keep` takes it back if it will, and running this again makes sure that it will.";
    let lost = || Error::call("whether the account will be deleted", how);
    let delete = async |proof: Proof<'_>| session.delete_account(proof).await.map_err(lost());
    let Some(at) = confirmed(context, session, &args.confirm, "cyx account delete --yes", delete).await? else {
        return Ok(());
    };
    if context.output.json() {
        return context.output.document(&Deletion { delete_at: human::rfc3339_seconds(at) });
    }
    let at = human::local_time_seconds(at);
    context.output.note(format!("The account will be deleted {at}. Until then `cyx account keep` takes it back."));
    Ok(())
}

async fn keep(context: &Context, session: &Session) -> Result<()> {
    session.keep_account().await?;
    if context.output.json() {
        return context.output.document(&Kept { kept: true });
    }
    context.output.note("The account is kept.");
    Ok(())
}

async fn words(context: &Context, session: &Session, args: &Words) -> Result<()> {
    let command = "cyx account words";
    if args.confirm.begin {
        let nothing = async |_: Proof<'_>| Ok(());
        return confirmed(context, session, &args.confirm, command, nothing).await.map(drop);
    }
    check_possible(&args.confirm)?;
    let new = session.make_recovery_words().await?;
    let json = context.output.json();
    if !json {
        context.output.note("These recovery words take the place of the old ones once the code is confirmed.");
        show_words(context, new.words())?;
    }
    let sending = Unanswered::new(context, new.words());
    let renew = async |proof: Proof<'_>| Ok(sending.send(session.renew_recovery_words(&new, proof)).await?);
    let renewed = confirmed(context, session, &args.confirm, command, renew).await;
    if renewed.is_err() && !sending.is_open() {
        context.output.note("The recovery words of before still count.");
    }
    renewed?;
    if json {
        let lost = Error::undelivered("the new recovery words", "Make others with `cyx account words`.");
        return context.output.document(&NewWords { recovery_words: new.words() }).map_err(lost);
    }
    context.output.note("The new recovery words count; the old ones open nothing any more.");
    Ok(())
}

/// Shows the log of the account.
///
/// # Errors
/// A usage error for a time that is none; if nobody is logged in, or the server cannot be reached.
pub async fn audit(context: &Context, args: &Audit) -> Result<()> {
    let since = since(args.since.as_deref())?;
    let session = Session::connect(&context.config).await?;
    let mut after = None;
    loop {
        let page = session.audit(since, after).await?;
        page.entries.iter().try_for_each(|entry| show_entry(context, entry))?;
        match page.next {
            // A server must not make this endless.
            Some(next) if Some(next) > after => after = Some(next),
            _ => return Ok(()),
        }
    }
}

/// `--since` as Unix seconds.
///
/// # Errors
/// A usage error for a time that is none.
pub(super) fn since(text: Option<&str>) -> Result<Option<u64>> {
    text.map(|text| when::past(text, jiff::Timestamp::now())).transpose()
}

/// Shows an entry of an audit log.
pub(super) fn show_entry(context: &Context, entry: &AuditEntry) -> Result<()> {
    if context.output.json() {
        return context.output.document(entry);
    }
    let escaped = |text: &str| names::escape(text.as_bytes());
    let whose = entry.account.as_deref().or(entry.pseudonym.as_deref()).map(|whose| format!("  {}", escaped(whose)));
    let line = format!(
        "{}  {:<7}  {:<22}  {:<8}  {:<15}{}  {}",
        human::shown_time(&entry.time),
        escaped(&entry.outcome),
        escaped(&entry.action),
        escaped(&entry.actor),
        escaped(&entry.address),
        whose.unwrap_or_default(),
        escaped(&entry.detail),
    );
    context.output.line(line.trim_end())
}
