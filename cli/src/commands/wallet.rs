//! `cyx wallet`: wallets that log in to the account.

use cyx_client::Session;
use cyx_client::identity::factors::Proof;
use cyx_client::identity::wallets::{Wallet as Linked, WalletKey, WalletText as TextToSign};
use cyx_core::wallet::WalletAddress;
use serde::Serialize;

use super::Context;
use super::confirm::confirmed;
use crate::args::access::{Wallet, WalletLink, WalletRemove, WalletText};
use crate::error::{Error, Result};
use crate::output::{human, names};

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
    message: &'a str,
    expires_at: u64,
}

#[derive(Serialize)]
struct Done<'a> {
    wallet: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
}

/// Does one of the commands.
///
/// # Errors
/// As the commands say.
pub async fn run(context: &Context, command: Wallet) -> Result<()> {
    let session = Session::connect(&context.config).await?;
    match command {
        Wallet::Text(args) => text(context, &session, &args).await,
        Wallet::Link(args) => link(context, &session, &args).await,
        Wallet::List(_) => list(context, &session).await,
        Wallet::Remove(args) => remove(context, &session, &args).await,
    }
}

fn address(text: &str) -> Result<WalletAddress> {
    text.parse().map_err(|_| Error::usage("that is not the address of a wallet"))
}

async fn text(context: &Context, session: &Session, args: &WalletText) -> Result<()> {
    let TextToSign { id, message, expires_at } = session.wallet_link_text(address(&args.wallet)?).await?;
    if context.output.json() {
        return context.output.document(&Text { text: &id, message: &message, expires_at });
    }
    context.output.line(&message)?;
    let until = human::local_time_seconds(expires_at);
    context.output.note(format!("Have the wallet sign this as it stands until {until}, then go on with:"));
    context.output.note(format!("cyx wallet link --text {id} --signature SIGNATURE"));
    Ok(())
}

async fn link(context: &Context, session: &Session, args: &WalletLink) -> Result<()> {
    let key = args.keypair.as_deref().map(WalletKey::read).transpose()?;
    let signed = args.text.as_deref().zip(args.signature.as_deref());
    if key.is_none() && signed.is_none() && !args.confirm.begin {
        return Err(Error::usage_with(
            "nothing says which wallet",
            "Use --keypair, or `cyx wallet text` and then --text with --signature.",
        ));
    }
    let lost = || Error::call("whether the wallet is linked", "see `cyx wallet list`.");
    let link = async |proof: Proof<'_>| match (&key, signed) {
        (Some(key), _) => {
            let text = session.wallet_link_text(key.address()).await?;
            session.link_wallet(&text.id, &key.sign(&text), proof).await.map_err(lost())
        }
        (None, Some((text, signature))) => session.link_wallet(text, signature, proof).await.map_err(lost()),
        // Only `--begin` comes here without either, and it ends before a code is used.
        (None, None) => Err(Error::usage("nothing says which wallet")),
    };
    let Some(wallet) = confirmed(context, session, &args.confirm, "cyx wallet link --keypair FILE", link).await? else {
        return Ok(());
    };
    if context.output.json() {
        return context.output.document(&Done { wallet: &wallet, removed: false });
    }
    context
        .output
        .note(format!("Linked. {} can log in from now on; it opens no files.", names::escape(wallet.as_bytes())));
    Ok(())
}

async fn list(context: &Context, session: &Session) -> Result<()> {
    let wallets = session.wallets().await?;
    if wallets.is_empty() && !context.output.json() {
        context.output.note("No wallet is linked.");
    }
    wallets.iter().try_for_each(|wallet| show(context, wallet))
}

fn show(context: &Context, wallet: &Linked) -> Result<()> {
    if context.output.json() {
        return context.output.document(wallet);
    }
    let used = match &wallet.last_used_at {
        Some(time) => {
            let place = names::escape(wallet.last_address.as_bytes());
            format!("last login {} from {place}", human::shown_time(time))
        }
        None => "no login yet".into(),
    };
    let (address, since) = (names::escape(wallet.wallet.as_bytes()), human::shown_time(&wallet.created_at));
    context.output.line(format!("{address}  since {since}, {used}"))
}

async fn remove(context: &Context, session: &Session, args: &WalletRemove) -> Result<()> {
    let wallet = address(&args.wallet)?;
    let command = format!("cyx wallet remove {wallet}");
    let lost = || Error::call("whether the wallet can still log in", "see `cyx wallet list`.");
    let remove = async |proof: Proof<'_>| session.unlink_wallet(wallet, proof).await.map_err(lost());
    if confirmed(context, session, &args.confirm, &command, remove).await?.is_none() {
        return Ok(());
    }
    if context.output.json() {
        return context.output.document(&Done { wallet: &args.wallet, removed: true });
    }
    context.output.note("Removed. It does not log in any more, and what it logged in is ended.");
    Ok(())
}
