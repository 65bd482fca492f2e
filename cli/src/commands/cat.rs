//! `cyx cat`.

use cyx_client::transfer::{Silent, Transfer, Tuning};
use cyx_client::{Bucket, TreePath};

use super::{Context, Failures};
use crate::args::tree::Cat;
use crate::error::{Error, Result};
use crate::streams;

/// Writes files to standard output, one after the other.
///
/// # Errors
/// If the bucket or a key does not exist, or is not a file; integrity and network errors.
pub async fn run(context: &Context, args: &Cat) -> Result<()> {
    let bucket = context.bucket(&args.bucket).await?;
    let transfer = Transfer::new(bucket.client(), Some(&context.config.home), Tuning::default());
    let end = args.length.map_or(u64::MAX, |length| args.offset.saturating_add(length));
    let mut failures = Failures::among(args.keys.len());
    for key in &args.keys {
        failures.count();
        let key = key.as_encoded_bytes();
        match write(context, &transfer, &bucket, key, args.offset..end).await {
            Err(Error::OutputClosed) => return Err(Error::OutputClosed),
            Err(error) => failures.add(context, key, error),
            Ok(()) => {}
        }
    }
    failures.result()
}

async fn write(
    context: &Context,
    transfer: &Transfer,
    bucket: &Bucket,
    key: &[u8],
    range: std::ops::Range<u64>,
) -> Result<()> {
    let path = TreePath::parse(key)?;
    let located = bucket.resolve(&path).await?;
    if located.is_directory() {
        return Err(Error::usage_with(
            format!("{path} is a directory"),
            "Use `cyx download -r` to get what it contains.",
        ));
    }
    let reader = transfer.open_at(bucket, &located, range.clone()).await?;
    let out = streams::output().map_err(Error::stream("write to standard output"))?;
    let copied = reader.copy_to(range, out, &Silent).await;
    super::warn_of_liars(&context.output, &reader.liars());
    copied?;
    Ok(())
}
