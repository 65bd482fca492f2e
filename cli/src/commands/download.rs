//! `cyx download`.

use std::cell::Cell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyx_client::local::DownloadOptions;
use cyx_client::transfer::{Transfer, Tuning};
use cyx_client::{Bucket, Located, TreePath};

use super::filter::Filter;
use super::progress::Bar;
use super::summary::{Direction, report};
use super::{Context, until_interrupted};
use crate::args::transfer::Download;
use crate::error::{Error, Result};
use crate::streams;

/// Downloads files and directories.
///
/// # Errors
/// Usage errors; what the downloads fail with.
pub async fn run(context: &Context, args: &Download) -> Result<()> {
    let resumable = Cell::new(false);
    let done = until_interrupted(false, Box::pin(download(context, args, &resumable))).await;
    done.map_err(|error| match error {
        Error::Interrupted { signal, .. } => Error::Interrupted { signal, resumable: resumable.get() },
        other => other,
    })
}

/// Says when it goes on where it was if it is interrupted and run again.
async fn download(context: &Context, args: &Download, resumable: &Cell<bool>) -> Result<()> {
    let to_stdout = args.output.as_deref().is_some_and(|output| output.as_os_str() == "-");
    if to_stdout && args.recursive {
        return Err(Error::usage("a directory cannot be written to standard output"));
    }
    let filter = Filter::new(&args.filter)?;
    let key = args.key.as_deref().map_or(&b""[..], |key| key.as_encoded_bytes());
    let path = TreePath::parse(key)?;
    let bucket = context.bucket(&args.bucket).await?;
    let located = if path.is_root() { None } else { Some(bucket.resolve(&path).await?) };
    if located.as_ref().is_none_or(Located::is_directory) && !args.recursive {
        return Err(Error::NeedsRecursive(path.to_string()));
    }
    let transfer = Transfer::new(bucket.client(), Some(&context.config.home), Tuning::default());
    if let (true, Some(located)) = (to_stdout, &located) {
        return to_standard_output(context, args, &transfer, &bucket, located).await;
    }
    let large = transfer.tuning().large_file;
    resumable
        .set(!args.dry_run && located.as_ref().is_none_or(|found| found.is_directory() || found.inode.size >= large));
    let target = target(args, located.as_ref(), &bucket.name);
    let options = DownloadOptions { no_clobber: args.no_clobber, dry_run: args.dry_run };
    let bar = Arc::new(Bar::new(&context.output, false, args.dry_run));
    let summary = transfer.download(&bucket, &path, &target, options, Arc::new(filter), Arc::clone(&bar) as _).await;
    bar.finish();
    report(context, Direction::Down, summary, bar.planned().as_deref())
}

/// Where a file or the content of a directory goes.
fn target(args: &Download, located: Option<&Located>, bucket: &str) -> PathBuf {
    let own_name = located.map_or_else(|| OsStr::new(bucket), |located| OsStr::from_bytes(&located.name));
    match &args.output {
        None => PathBuf::from(own_name),
        Some(output) if located.is_some_and(|located| !located.is_directory()) && is_folder(output) => {
            output.join(own_name)
        }
        Some(output) => output.clone(),
    }
}

/// It is a directory, or is written like one.
fn is_folder(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.is_dir()
}

async fn to_standard_output(
    context: &Context,
    args: &Download,
    transfer: &Transfer,
    bucket: &Bucket,
    located: &Located,
) -> Result<()> {
    if args.dry_run {
        return Ok(());
    }
    let reader = transfer.open(bucket, located).await?;
    let bar = Bar::of_bytes(&context.output, reader.size());
    let out = streams::output().map_err(Error::stream("write to standard output"))?;
    let copied = reader.copy_to(0..reader.size(), out, &bar).await;
    bar.finish();
    super::warn_of_liars(&context.output, &reader.liars());
    copied?;
    Ok(())
}
