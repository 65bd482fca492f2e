//! `cyx rotate`: new keys for buckets, and for the account.

use cyx_client::Client;
use cyx_client::identity::account_key::ReplacedKey;
use cyx_client::identity::factors::Proof;
use cyx_client::tree::rotate::Rotated;
use serde::Serialize;

use super::confirm::{check_possible, confirmed, confirmed_by};
use super::register::show_words;
use super::unanswered::Unanswered;
use super::{Context, Failures, bucket_name};
use crate::args::access::Confirm;
use crate::args::rotate::Rotate;
use crate::error::{Error, Result};
use crate::output::progress::Count;
use crate::output::{human, names};
use crate::prompt;

/// What `--begin` says to go on with.
const COMMAND: &str = "cyx rotate --account --yes";

#[derive(Serialize)]
struct Document<'a> {
    bucket: &'a str,
    epoch: u32,
    inodes: u64,
    api_keys: u64,
    resumed: bool,
    broken: u64,
}

#[derive(Serialize)]
struct AccountDocument<'a> {
    account_key_epoch: u32,
    recovery_words: &'a str,
    ended_sessions: usize,
    ended_api_keys: usize,
}

/// Replaces the keys of the buckets that were named, or of all; or those of the account.
///
/// # Errors
/// As [`Client::rotate_bucket`], if some failed, the others are done; as [`Client::replace_account_key`].
pub async fn run(context: &Context, args: &Rotate) -> Result<()> {
    let client = context.client().await?;
    if args.account && !Box::pin(account(context, &client, args)).await? {
        return Ok(());
    }
    let buckets = match args.buckets.as_slice() {
        [] => own_buckets(context, &client, args.resume || args.account).await?,
        named => named.iter().map(|name| bucket_name(name).map(str::to_owned)).collect::<Result<_>>()?,
    };
    let mut failures = Failures::among(buckets.len());
    for bucket in &buckets {
        failures.count();
        match rotate(context, &client, bucket, args.resume || args.account).await {
            Ok(rotated) => failures.said(report(context, bucket, &rotated)),
            Err(error) => failures.add(context, bucket.as_bytes(), error),
        }
    }
    failures.result()
}

/// Replaces the account key. Whether the buckets are to follow.
async fn account(context: &Context, client: &Client, args: &Rotate) -> Result<bool> {
    let session = &client.session;
    let confirm = Confirm {
        password_stdin: args.password_stdin,
        begin: args.begin,
        session: args.session.clone(),
        otp: args.otp.clone(),
    };
    // Before anything is asked: who is no person is refused by this.
    let ending = Ending::of(client).await?;
    if args.begin {
        let nothing = async |_: Proof<'_>| Ok(());
        confirmed(context, session, &confirm, COMMAND, nothing).await?;
        return Ok(false);
    }
    check_possible(&confirm)?;
    if !args.yes {
        ending.ask(context)?;
    }
    let password = prompt::password(args.password_stdin, false)?;
    let new = client.make_account_key().await?;
    if !context.output.json() {
        context.output.note("These recovery words take the place of the old ones once the key is replaced.");
        show_words(context, new.words())?;
    }
    let sending = Unanswered::new(context, new.words());
    let replace = async |proof: Proof<'_>| {
        let before = if args.all_buckets { Some(client.plan_rotations().await?) } else { None };
        let replaced = sending.send(client.replace_account_key(&new, &password, proof)).await;
        if let (Err(_), false, Some(before)) = (&replaced, sending.is_open(), before)
            && let Err(error) = client.restore_planned_rotations(&before)
        {
            context.output.warn(error.to_string());
        }
        Ok(replaced?)
    };
    let known = || Ok(password.clone());
    let replaced = confirmed_by(context, session, &confirm, COMMAND, known, replace).await;
    if replaced.is_err() && !sending.is_open() {
        context.output.note("The key was not replaced: the recovery words of before still count.");
    }
    let Some(ReplacedKey { epoch, unkept }) = replaced? else { return Ok(false) };
    let Ending { sessions, api_keys } = ending;
    if context.output.json() {
        let replaced = AccountDocument {
            account_key_epoch: epoch,
            recovery_words: new.words(),
            ended_sessions: sessions.len(),
            ended_api_keys: api_keys.len(),
        };
        context.output.document(&replaced).map_err(Error::undelivered(
            "the new recovery words",
            "The account key is replaced: make other words with `cyx account words`, and go on with `cyx rotate --resume`.",
        ))?;
    } else {
        context.output.note("The account key is replaced; other logins and API keys for all buckets have ended.");
        if !args.all_buckets {
            context.output.note("The buckets have the keys of before. Replace those too with: cyx rotate");
        }
    }
    match unkept {
        None => Ok(args.all_buckets),
        Some(error) => {
            context.output.warn("the account key is replaced, but this machine could not take note of it");
            if args.all_buckets {
                context
                    .output
                    .note("The buckets still have the keys of before; `cyx rotate --resume` goes on with them.");
            }
            Err(error.into())
        }
    }
}

/// What ends with the account key.
struct Ending {
    sessions: Vec<String>,
    api_keys: Vec<String>,
}

impl Ending {
    async fn of(client: &Client) -> Result<Self> {
        let sessions = client.session.devices().await?.into_iter().filter(|device| !device.current);
        let api_keys = client.session.api_keys().await?.into_iter().filter(|key| key.bucket.is_none());
        Ok(Self {
            sessions: sessions.map(|device| device.device_name).collect(),
            api_keys: api_keys.map(|key| key.name).collect(),
        })
    }

    /// Shows it and asks whether it may end.
    fn ask(&self, context: &Context) -> Result<()> {
        let shown = |names: &[String]| {
            let names: Vec<String> = names.iter().map(|name| names::escape(name.as_bytes())).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        context.output.note(format!("Other logins that end: {}.", shown(&self.sessions)));
        context.output.note(format!("API keys for all buckets that end: {}.", shown(&self.api_keys)));
        let answer = prompt::confirmation("replacing the account key", "Replace the account key? Type yes")?;
        if answer.eq_ignore_ascii_case("yes") {
            return Ok(());
        }
        Err(Error::usage("nothing was changed"))
    }
}

/// All buckets of the account; with `interrupted` those whose rotation was interrupted on this machine.
async fn own_buckets(context: &Context, client: &Client, interrupted: bool) -> Result<Vec<String>> {
    let mut own = Vec::new();
    for bucket in client.buckets().await? {
        match bucket {
            Ok(bucket) if bucket.owner != client.account() => {}
            Ok(bucket) if interrupted && !client.may_resume_rotation(&bucket.name).await? => {}
            Ok(bucket) => own.push(bucket.name),
            Err(error) => context.output.warn(format!("a bucket is left out: {error}")),
        }
    }
    Ok(own)
}

async fn rotate(context: &Context, client: &Client, bucket: &str, resume: bool) -> Result<Rotated> {
    let count = Count::new(&context.output, bucket.as_bytes());
    let rotated = client.rotate_bucket(bucket, resume, &|rotated| count.set(rotated.inodes)).await;
    count.finish();
    if rotated.is_err() && client.may_resume_rotation(bucket).await.unwrap_or(false) {
        let shown = names::escape(bucket.as_bytes());
        context
            .output
            .note(format!("The keys of {shown} are replaced in part; `cyx rotate --resume {shown}` goes on."));
    }
    Ok(rotated?)
}

fn report(context: &Context, bucket: &str, rotated: &Rotated) -> Result<()> {
    let Rotated { epoch, inodes, api_keys, resumed, broken } = *rotated;
    if context.output.json() {
        return context.output.document(&Document { bucket, epoch, inodes, api_keys, resumed, broken });
    }
    let items = human::count(inodes, "file or directory has", "files and directories have");
    let went_on = if resumed { " after an interruption" } else { "" };
    context.output.note(format!(
        "{}: {items} a new key{went_on}; the bucket's keys are of epoch {epoch} now.",
        names::escape(bucket.as_bytes())
    ));
    if broken > 0 {
        let entries = human::count(broken, "entry is", "entries are");
        context.output.warn(format!("{entries} not authentic and kept the older keys"));
    }
    Ok(())
}
