//! `cyx rotate`: new keys for buckets.

use cyx_client::Client;
use cyx_client::tree::rotate::Rotated;
use serde::Serialize;

use super::{Context, Failures, bucket_name};
use crate::args::rotate::Rotate;
use crate::error::Result;
use crate::output::progress::Count;
use crate::output::{human, names};

#[derive(Serialize)]
struct Document<'a> {
    bucket: &'a str,
    epoch: u32,
    inodes: u64,
    api_keys: u64,
    resumed: bool,
    broken: u64,
}

/// Replaces the keys of the buckets that were named, or of all.
///
/// # Errors
/// As [`Client::rotate_bucket`]; if some failed, the others are done.
pub async fn run(context: &Context, args: &Rotate) -> Result<()> {
    let client = context.client().await?;
    let buckets = match args.buckets.as_slice() {
        [] => own_buckets(context, &client, args.resume).await?,
        named => named.iter().map(|name| bucket_name(name).map(str::to_owned)).collect::<Result<_>>()?,
    };
    let mut failures = Failures::among(buckets.len());
    for bucket in &buckets {
        failures.count();
        match rotate(context, &client, bucket, args.resume).await {
            Ok(rotated) => report(context, bucket, &rotated)?,
            Err(error) => failures.add(context, bucket.as_bytes(), error),
        }
    }
    failures.result()
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
