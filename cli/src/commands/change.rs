//! `cyx delete`, `cyx mkdir`, `cyx mv` and `cyx cp`.

use std::cell::OnceCell;

use cyx_client::TreePath;
use cyx_client::transfer::{Silent, Transfer, Tuning, Uploads};
use cyx_client::tree::change::RemoveOptions;
use cyx_client::tree::copy::CopyOptions;
use serde::Serialize;

use super::{Context, Failures, ends_with_slash, until_interrupted, upload};
use crate::args::tree::{Cp, Delete, Mkdir, Mv};
use crate::error::{Error, Result};
use crate::output::names::{self, Key};

/// Mode of new directories.
const DIRECTORY_MODE: u32 = 0o755;

#[derive(Serialize)]
struct Deleted {
    #[serde(flatten)]
    key: Key,
    /// Id in the trash; absent if it was deleted for good.
    trash: Option<String>,
}

/// Deletes keys.
///
/// # Errors
/// If the bucket or a key does not exist, or a key is a directory and `-r` was not given.
pub async fn delete(context: &Context, args: &Delete) -> Result<()> {
    let keys: Vec<&[u8]> = args.keys.iter().map(|key| key.as_encoded_bytes()).collect();
    let paths = keys.iter().map(TreePath::parse).collect::<Result<Vec<_>, _>>()?;
    if paths.iter().any(TreePath::is_root) {
        return Err(Error::usage_with(
            "the root of a bucket cannot be deleted",
            "To delete a bucket with all it contains use `cyx bucket delete --force`.",
        ));
    }
    let bucket = context.bucket(&args.bucket).await?;
    let options = RemoveOptions { recursive: args.recursive, permanent: args.permanent };
    let mut failures = Failures::among(paths.len());
    for (path, result) in paths.iter().zip(bucket.remove_many(&paths, options).await?) {
        failures.count();
        let key = path.to_bytes();
        match result {
            Ok(trash) if context.output.json() => {
                let deleted = Deleted { key: Key::new(&key), trash: trash.map(|id| id.to_string()) };
                failures.said(context.output.document(&deleted));
            }
            Ok(Some(_)) => context.output.note(format!("Moved {} to the trash.", names::escape(&key))),
            Ok(None) => context.output.note(format!("Deleted {}.", names::escape(&key))),
            Err(cyx_client::Error::IsDirectory(_)) => {
                failures.add(context, &key, Error::NeedsRecursive(names::escape(&key)));
            }
            Err(error) => failures.add(context, &key, error.into()),
        }
    }
    failures.result()
}

#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    key: Key,
    inode: String,
}

/// Makes directories.
///
/// # Errors
/// If the bucket does not exist; without `-p` if a directory exists or the one above does not.
pub async fn mkdir(context: &Context, args: &Mkdir) -> Result<()> {
    let paths = args.keys.iter().map(|key| TreePath::parse(key.as_encoded_bytes())).collect::<Result<Vec<_>, _>>()?;
    let bucket = context.bucket(&args.bucket).await?;
    let mut failures = Failures::among(paths.len());
    for path in paths {
        failures.count();
        let key = path.to_bytes();
        let made = if args.parents {
            bucket.make_directories(&path).await
        } else {
            bucket.make_directory(&path, DIRECTORY_MODE).await
        };
        match made {
            Ok(directory) if context.output.json() => {
                let made = Made { key: Key::new(&key), inode: directory.id.to_string() };
                failures.said(context.output.document(&made));
            }
            Ok(_) => context.output.detail(format!("Made {}.", names::escape(&key))),
            Err(error) => failures.add(context, &key, error.into()),
        }
    }
    failures.result()
}

/// Renames or moves.
///
/// # Errors
/// If the key or the directory to move into does not exist, or with `--no-clobber` if the new key does.
pub async fn mv(context: &Context, args: &Mv) -> Result<()> {
    let from = TreePath::parse(args.from.as_encoded_bytes())?;
    let to = TreePath::parse(args.to.as_encoded_bytes())?;
    let bucket = context.bucket(&args.bucket).await?;
    if ends_with_slash(&args.to) {
        bucket.open_directory(&to).await?;
    }
    let target = bucket.move_to(&from, &to, args.no_clobber).await?;
    super::report_pair(context, "Moved", &from.to_bytes(), &target.to_bytes())
}

/// Copies within a bucket or to another.
///
/// # Errors
/// If the key or the directory to copy into does not exist, or with `--no-clobber` if the new key does.
pub async fn cp(context: &Context, args: &Cp) -> Result<()> {
    let uploads = OnceCell::new();
    let done = until_interrupted(false, Box::pin(copy(context, args, &uploads))).await;
    if let Some(uploads) = uploads.get() {
        upload::finish(uploads).await;
    }
    done
}

async fn copy(context: &Context, args: &Cp, uploads: &OnceCell<Uploads>) -> Result<()> {
    let from = TreePath::parse(args.from.as_encoded_bytes())?;
    let to = TreePath::parse(args.to.as_encoded_bytes())?;
    let bucket = context.bucket(&args.bucket).await?;
    let other = match &args.to_bucket {
        Some(name) => bucket.client().bucket(super::bucket_name(name)?).await?,
        None => bucket.clone(),
    };
    if ends_with_slash(&args.to) {
        other.open_directory(&to).await?;
    }
    let options = CopyOptions { recursive: args.recursive, no_clobber: args.no_clobber };
    let copied = if other.id == bucket.id {
        bucket.copy_with(&from, &to, options).await
    } else {
        let transfer = Transfer::new(bucket.client(), Some(&context.config.home), Tuning::default());
        let uploads = uploads.get_or_init(|| transfer.uploads(&other));
        Box::pin(uploads.copy_from(&bucket, &from, &to, options, &Silent)).await
    };
    let (target, _) = copied.map_err(|error| match error {
        // Of what exists in the way it says so itself.
        cyx_client::Error::IsDirectory(key) if !args.recursive && key == from.to_string() => Error::NeedsRecursive(key),
        other => other.into(),
    })?;
    super::report_pair(context, "Copied", &from.to_bytes(), &target.to_bytes())
}
