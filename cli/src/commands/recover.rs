//! `cyx recover`: a new password from the recovery words.

use cyx_client::identity::recovery::{
    AccountSecrets, NewWords, Recovery, RecoveryChoices, begin_recovery, check_words, verify_recovery,
};
use cyx_core::error::ErrorCode;
use cyx_core::ids::SessionId;
use serde::Serialize;
use zeroize::Zeroizing;

use super::Context;
use super::confirm::Begun;
use super::register::show_words;
use super::unanswered::Unanswered;
use crate::args::access::Recover;
use crate::error::{Error, Result};
use crate::prompt;

#[derive(Serialize)]
struct Recovered<'a> {
    recovered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_words: Option<&'a str>,
}

/// Sets a new password, or does the step that was asked for.
///
/// # Errors
/// As [`begin_recovery`], [`verify_recovery`] and [`Recovery::finish`]; a usage error if something is missing and nobody can be asked.
pub async fn run(context: &Context, args: Recover) -> Result<()> {
    let email = match args.email.clone().or_else(|| context.config.email.clone()) {
        Some(email) => email,
        None => prompt::ask("Email address", "Use --email.")?,
    };
    if let (Some(id), Some(code)) = (&args.session, &args.otp) {
        let id: SessionId = id.parse().map_err(|_| Error::usage("--session takes what --begin printed"))?;
        // Everything that can be wrong here is found before the code is used up.
        let words = prompt::words(args.words_stdin)?;
        check_words(&words)?;
        let password = prompt::password(args.password_stdin, true)?;
        let recovery = verify_recovery(&context.config, &email, id, code).await?;
        let secrets = recovery.open(&words)?;
        let new_words = new_words(context, &args, &recovery, &secrets)?;
        return finish(context, &args, &recovery, &secrets, new_words.as_ref(), &password).await;
    }
    if !args.begin && !prompt::possible() {
        return Err(Error::usage_with(
            "the mailed code is missing, and there is no terminal to ask on",
            "Recover in two steps: --begin, then --session with --otp.",
        ));
    }
    let pending = begin_recovery(&context.config, &email).await?;
    let id = pending.recovery_id.to_string();
    if args.begin {
        if context.output.json() {
            let begun = Begun { session_id: &id, otp_method: "email", otp_expires_at: pending.otp_expires_at };
            return context.output.document(&begun);
        }
        context.output.note("If the address has an account, a code is on its way. Go on with:");
        return context.output.line(format!("cyx recover --email {email} --session {id} --otp CODE"));
    }
    context.output.note(format!("If {email} has an account, a code is on its way."));
    let recovery = loop {
        let code = prompt::ask("Code", "Use --session and --otp.")?;
        match verify_recovery(&context.config, &email, pending.recovery_id, &code).await {
            Err(error) if error.code() == ErrorCode::OtpInvalid => context.output.note("That is not the code."),
            other => break other?,
        }
    };
    let secrets = loop {
        let words = prompt::words(args.words_stdin)?;
        match recovery.open(&words) {
            // What nobody was asked for would be the same again.
            Err(error) if error.code() == ErrorCode::InvalidArgument && prompt::asks_for_words(args.words_stdin) => {
                context.output.note(format!("{error}."));
            }
            other => break other?,
        }
    };
    let new_words = new_words(context, &args, &recovery, &secrets)?;
    loop {
        let password = prompt::password(args.password_stdin, true);
        let result = match password {
            Ok(password) => finish(context, &args, &recovery, &secrets, new_words.as_ref(), &password).await,
            Err(error) => Err(error),
        };
        match result {
            // Better another try than the whole way once more.
            Err(error) if error.exit_code() == 2 && prompt::asks_for_password(args.password_stdin) => {
                context.output.note(crate::error::Report(&error).to_string());
            }
            other => return other,
        }
    }
}

/// The new recovery words, if there are to be any: shown before they count, because the answer by which they do may be lost.
fn new_words(
    context: &Context,
    args: &Recover,
    recovery: &Recovery,
    secrets: &AccountSecrets,
) -> Result<Option<NewWords>> {
    let new = args.new_words.then(|| recovery.make_words(secrets));
    if let Some(new) = new.as_ref().filter(|_| !context.output.json()) {
        context.output.note("These recovery words take the place of the old ones once the password is set.");
        show_words(context, new.words())?;
    }
    Ok(new)
}

async fn finish(
    context: &Context,
    args: &Recover,
    recovery: &Recovery,
    secrets: &AccountSecrets,
    new_words: Option<&NewWords>,
    password: &Zeroizing<String>,
) -> Result<()> {
    let choices = RecoveryChoices { remove_factors: args.remove_factors, revoke_api_keys: !args.keep_api_keys };
    let call = recovery.finish(&context.config, secrets, password, new_words, choices);
    match new_words {
        None => call.await.map_err(Error::call(
            "whether the new password counts",
            "try it with `cyx login`; the recovery words are still the same.",
        ))?,
        Some(new) => {
            let sending = Unanswered::new(context, new.words());
            let finished = sending.send(call).await;
            if finished.is_err() && !sending.is_open() {
                context.output.note("The recovery words of before still count.");
            }
            finished?;
        }
    }
    if context.output.json() {
        let recovery_words = new_words.map(|new| new.words().as_str());
        let printed = context.output.document(&Recovered { recovered: true, recovery_words });
        return match recovery_words {
            None => printed,
            Some(_) => printed.map_err(Error::undelivered(
                "the new recovery words",
                "The password is set: log in, and make others with `cyx account words`.",
            )),
        };
    }
    let email = recovery.email();
    context
        .output
        .note(format!("The password is set, and all logins have ended. Go on with: cyx login --email {email}"));
    Ok(())
}
