//! `cyx login`: password, then a one-time code; in one go on a terminal, in two steps in scripts. Or a wallet.

use cyx_client::identity::recovery::AccountSecrets;
use cyx_client::identity::wallet_login::{WalletLogin, begin_wallet_session, wallet_login_text};
use cyx_client::identity::wallets::{WalletKey, WalletText};
use cyx_client::identity::{self, Identity};
use serde::Serialize;

use super::Context;
use super::confirm::{Begun, note_source};
use crate::args::identity::Login;
use crate::error::{Error, Result};
use crate::output::human;
use crate::prompt;

#[derive(Serialize)]
struct Done<'a> {
    id: String,
    username: &'a str,
    email: &'a str,
}

#[derive(Serialize)]
struct ToSign<'a> {
    session_id: &'a str,
    message: &'a str,
    expires_at: u64,
}

/// Logs in, or does the step that was asked for.
///
/// # Errors
/// As [`identity::begin_login`] and [`identity::finish_login`]; a usage error if something is missing and nobody can be asked.
pub async fn run(context: &Context, args: Login) -> Result<()> {
    let accept = args.accept_changes;
    if let Some(file) = &args.wallet {
        let key = WalletKey::read(file)?;
        let text = wallet_login_text(&context.config, key.address()).await?;
        return by_wallet(context, &args, &text.id, &key.sign(&text)).await;
    }
    if let Some(address) = &args.wallet_address {
        return begin_by_wallet(context, address).await;
    }
    if let (Some(text), Some(signature)) = (&args.session, &args.signature) {
        return by_wallet(context, &args, text, signature).await;
    }
    if args.without_keys {
        return Err(Error::usage("--without-keys is for logins with a wallet"));
    }
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

/// Prints the text that a wallet has to sign.
async fn begin_by_wallet(context: &Context, address: &str) -> Result<()> {
    let address = address.parse().map_err(|_| Error::usage("that is not the address of a wallet"))?;
    let WalletText { id, message, expires_at } = wallet_login_text(&context.config, address).await?;
    if context.output.json() {
        return context.output.document(&ToSign { session_id: &id, message: &message, expires_at });
    }
    context.output.line(&message)?;
    let until = human::local_time_seconds(expires_at);
    context.output.note(format!("Have the wallet sign this as it stands until {until}, then go on with:"));
    context.output.note(format!("cyx login --session {id} --signature SIGNATURE"));
    Ok(())
}

/// Logs in with a signature; the keys come from this machine or from the password.
async fn by_wallet(context: &Context, args: &Login, text: &str, signature: &str) -> Result<()> {
    let config = &context.config;
    let login = begin_wallet_session(config, text, signature).await?;
    let secrets = match keys(context, args, &login).await {
        Ok(secrets) => secrets,
        Err(error) => {
            login.end().await;
            return Err(error);
        }
    };
    let account = login.keep(config, secrets.as_ref(), args.accept_changes).await?;
    if secrets.is_none() {
        context.output.note("This login has no keys: it can run nodes and look at the account, and opens no files.");
    }
    report(context, &account)
}

async fn keys(context: &Context, args: &Login, login: &WalletLogin) -> Result<Option<AccountSecrets>> {
    if args.without_keys {
        return Ok(None);
    }
    if let Some(secrets) = login.keys_of_this_machine(&context.config).await {
        return Ok(Some(secrets));
    }
    let password = prompt::password(args.password_stdin, false)?;
    Ok(Some(login.keys_by_password(&context.config, &password).await?))
}

fn report(context: &Context, account: &Identity) -> Result<()> {
    if context.output.json() {
        let done = Done { id: account.id.to_string(), username: &account.username, email: &account.email };
        return context.output.document(&done);
    }
    context.output.note(format!("Logged in as {}.", account.username));
    Ok(())
}
