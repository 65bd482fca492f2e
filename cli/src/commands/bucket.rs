//! `cyx bucket`, and `cyx list` without a bucket.

use cyx_client::buckets::BucketInfo;
use serde::Serialize;

use super::{Context, bucket_name};
use crate::args::bucket::{Bucket, Create, Delete};
use crate::error::{Error, Result};
use crate::output::human;

#[derive(Serialize)]
struct Created<'a> {
    id: String,
    name: &'a str,
    durable: bool,
}

#[derive(Serialize)]
struct Deleted<'a> {
    name: &'a str,
    deleted: bool,
}

#[derive(Serialize)]
struct Listed<'a> {
    id: String,
    name: &'a str,
    owner: String,
    durable: bool,
    used_bytes: u64,
    files: u64,
    created_at: String,
}

/// Does one of the commands.
///
/// # Errors
/// As the commands say.
pub async fn run(context: &Context, command: Bucket) -> Result<()> {
    match command {
        Bucket::Create(args) => create(context, &args).await,
        Bucket::List(_) => list(context, true).await,
        Bucket::Delete(args) => delete(context, &args).await,
    }
}

async fn create(context: &Context, args: &Create) -> Result<()> {
    let name = bucket_name(&args.name)?;
    let bucket = context.client().await?.create_bucket(name, args.durable).await?;
    if context.output.json() {
        return context.output.document(&Created { id: bucket.id.to_string(), name, durable: bucket.durable });
    }
    context.output.note(format!("Created the bucket {name}."));
    Ok(())
}

async fn delete(context: &Context, args: &Delete) -> Result<()> {
    let name = bucket_name(&args.name)?;
    context.client().await?.delete_bucket(name, args.force).await?;
    if context.output.json() {
        return context.output.document(&Deleted { name, deleted: true });
    }
    context.output.note(format!("Deleted the bucket {name}."));
    Ok(())
}

/// Lists the buckets; with `long` their sizes too.
///
/// # Errors
/// If one of them is not authentic; the others are listed.
pub async fn list(context: &Context, long: bool) -> Result<()> {
    let (mut total, mut failed, mut worst) = (0, 0, 0);
    for bucket in context.client().await?.buckets().await? {
        total += 1;
        match bucket {
            Ok(bucket) => show(context, &bucket, long)?,
            Err(error) => {
                failed += 1;
                let error = Error::from(error);
                worst = error.exit_code();
                context.output.failure(b"a bucket", &error);
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(Error::Partly { failed, total, worst }) }
}

fn show(context: &Context, bucket: &BucketInfo, long: bool) -> Result<()> {
    if context.output.json() {
        return context.output.document(&Listed {
            id: bucket.id.to_string(),
            name: &bucket.name,
            owner: bucket.owner.to_string(),
            durable: bucket.durable,
            used_bytes: bucket.used_bytes,
            files: bucket.files,
            created_at: human::rfc3339(bucket.created_ns),
        });
    }
    let before = if long {
        let created = human::local_time(bucket.created_ns);
        let files = human::count(bucket.files, "file", "files");
        format!("{created}  {:>10}  {files:>14}  ", human::bytes(bucket.used_bytes))
    } else {
        String::new()
    };
    context.output.name_line(&before, bucket.name.as_bytes(), "")
}
