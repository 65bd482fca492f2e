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
        [] => own_buckets(context, &client).await?,
        named => named.iter().map(|name| bucket_name(name).map(str::to_owned)).collect::<Result<_>>()?,
    };
    let mut failures = Failures::among(buckets.len());
    for bucket in &buckets {
        failures.count();
        match rotate(context, &client, bucket).await {
            Ok(rotated) => report(context, bucket, &rotated)?,
            Err(error) => failures.add(context, bucket.as_bytes(), error),
        }
    }
    failures.result()
}

async fn own_buckets(context: &Context, client: &Client) -> Result<Vec<String>> {
    let mut own = Vec::new();
    for bucket in client.buckets().await? {
        match bucket {
            Ok(bucket) if bucket.owner == client.account() => own.push(bucket.name),
            Ok(_) => {}
            Err(error) => context.output.warn(format!("a bucket is left out: {error}")),
        }
    }
    Ok(own)
}

async fn rotate(context: &Context, client: &Client, bucket: &str) -> Result<Rotated> {
    let count = Count::new(&context.output, bucket.as_bytes());
    let rotated = client.rotate_bucket(bucket, &|rotated| count.set(rotated.inodes)).await;
    count.finish();
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
