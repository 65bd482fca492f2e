//! `cyx upload`.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;
use std::time::Duration;

use cyx_client::local::{Filter as _, Summary, UploadOptions};
use cyx_client::transfer::{Condition, OnConflict, PutOptions, Source, Transfer, Tuning, Uploads};
use cyx_client::{Bucket, TreePath};
use cyx_core::units::INLINE_MAX;
use serde::Serialize;

use super::filter::Filter;
use super::progress::Bar;
use super::summary::{Direction, report};
use super::{Context, ends_with_slash, until_interrupted};
use crate::args::transfer::{Durability, Upload};
use crate::error::{Error, Result};
use crate::output::human;
use crate::streams;

/// How long giving leases back may take at the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Uploads files and directories, or standard input.
///
/// # Errors
/// Usage errors; what the uploads fail with.
pub async fn run(context: &Context, args: &Upload) -> Result<()> {
    let from_stdin = args.paths.iter().any(|path| is_stdin(path));
    let filter = Filter::new(&args.filter)?;
    let items = if from_stdin { vec![(PathBuf::new(), stdin_key(args)?)] } else { targets(args)? };
    let bucket = context.bucket(&args.bucket).await?;
    let transfer = Transfer::new(bucket.client(), Some(&context.config.home), Tuning::default());
    let uploads = transfer.uploads(&bucket);
    if args.abort {
        return until_interrupted(false, abort(context, &uploads, items, &filter)).await;
    }
    let bar = Arc::new(Bar::new(&context.output, from_stdin, args.dry_run).naming_skipped());
    let large = transfer.tuning().large_file;
    let is_large = |path: &Path| path.metadata().is_ok_and(|found| found.is_dir() || found.len() >= large);
    let resumable = !from_stdin && !args.dry_run && (items.len() > 1 || items.iter().any(|(path, _)| is_large(path)));
    let work = async {
        if from_stdin {
            stdin(args, &uploads, &items[0].1, &bar).await
        } else {
            Ok(files(context, args, &uploads, items, filter, &bar).await)
        }
    };
    let done = until_interrupted(resumable, Box::pin(work)).await;
    finish(&uploads).await;
    bar.finish();
    report(context, Direction::Up, done?, bar.planned().as_deref())
}

/// Gives back what was leased or staged and is not used, also after Ctrl-C: until then it counts against the quota.
pub(super) async fn finish(uploads: &Uploads) {
    if tokio::time::timeout(FAREWELL, uploads.finish()).await.is_err() {
        tracing::debug!("what is not used was not given back in time; it expires");
    }
}

async fn files(
    context: &Context,
    args: &Upload,
    uploads: &Uploads,
    items: Vec<(PathBuf, TreePath)>,
    filter: Filter,
    bar: &Arc<Bar>,
) -> Summary {
    let options = tree_options(context, args);
    // What lies in folders is not known yet.
    let named = items.iter().filter_map(|(path, _)| path.metadata().ok()).filter(|found| found.is_file());
    let bytes: u64 = named.map(|found| found.len()).filter(|size| *size > INLINE_MAX).sum();
    if bytes > 0 && !args.dry_run {
        uploads.expect(bytes);
    }
    let progress = Arc::clone(bar) as _;
    let mut summary = Box::pin(uploads.upload(items.clone(), options, Arc::new(filter), progress)).await;
    for (path, _) in &mut summary.uploaded {
        *path = key_of(path, &items);
    }
    summary
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The key that standard input is stored under.
fn stdin_key(args: &Upload) -> Result<TreePath> {
    if args.paths.len() > 1 {
        return Err(Error::usage("standard input cannot be uploaded together with other paths"));
    }
    if args.abort {
        return Err(Error::usage("an upload of standard input leaves nothing to drop"));
    }
    let Some(key) = &args.key else {
        return Err(Error::usage_with("standard input has no name of its own", "Name it with --key."));
    };
    let path = TreePath::parse(key.as_encoded_bytes())?;
    if path.is_root() || ends_with_slash(key) {
        return Err(Error::usage("standard input is stored as a file, so its --key names one"));
    }
    Ok(path)
}

/// Where each path goes.
fn targets(args: &Upload) -> Result<Vec<(PathBuf, TreePath)>> {
    let single = args.paths.len() == 1;
    let mut targets = Vec::with_capacity(args.paths.len());
    let mut taken = HashMap::with_capacity(args.paths.len());
    for path in &args.paths {
        let is_directory = path.is_dir();
        if is_directory && !args.recursive {
            return Err(Error::usage_with(
                format!("{} is a directory", path.display()),
                "Use -r to upload it with all it contains.",
            ));
        }
        let target = match &args.key {
            Some(key) if single && is_directory && key.is_empty() => TreePath::root(),
            Some(key) if single && !key.is_empty() && !ends_with_slash(key) => TreePath::parse(key.as_encoded_bytes())?,
            Some(key) => TreePath::parse(key.as_encoded_bytes())?.join(&own_name(path)?)?,
            None => TreePath::root().join(&own_name(path)?)?,
        };
        if let Some(other) = taken.insert(target.to_bytes(), path) {
            if is_same(other, path) {
                continue;
            }
            // The second would replace the first, and nobody would hear of it.
            return Err(Error::usage_with(
                format!("{} and {} would both be stored as {target}", other.display(), path.display()),
                "Upload them one at a time, each with a --key of its own.",
            ));
        }
        targets.push((path.clone(), target));
    }
    Ok(targets)
}

/// Whether two paths are the same as they are written, such as `a` and `./a`. Links are not followed.
fn is_same(one: &Path, other: &Path) -> bool {
    matches!((absolute(one), absolute(other)), (Ok(one), Ok(other)) if one == other)
}

/// The last name of a path; of `.` and the like, that of the directory they stand for.
fn own_name(path: &Path) -> Result<Vec<u8>> {
    let name = path.file_name().map(OsStr::to_owned);
    let name = name.or_else(|| path.canonicalize().ok()?.file_name().map(OsStr::to_owned));
    name.map(|name| name.as_encoded_bytes().to_vec())
        .ok_or_else(|| Error::usage_with(format!("{} has no name of its own", path.display()), "Name it with --key."))
}

/// The key of a local path that lies at or below one of those that were named.
fn key_of(path: &[u8], items: &[(PathBuf, TreePath)]) -> Vec<u8> {
    let below = items.iter().filter_map(|(named, target)| {
        let rest = path.strip_prefix(named.as_os_str().as_encoded_bytes())?;
        (rest.is_empty() || rest.starts_with(b"/") || named.as_os_str().as_encoded_bytes().ends_with(b"/"))
            .then_some((rest, target))
    });
    // Of several that it lies below, the nearest.
    let Some((rest, target)) = below.min_by_key(|(rest, _)| rest.len()) else { return path.to_vec() };
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    match (target.is_root(), rest.is_empty()) {
        (true, _) => rest.to_vec(),
        (false, true) => target.to_bytes(),
        (false, false) => [&target.to_bytes()[..], rest].join(&b'/'),
    }
}

fn conditions(args: &Upload) -> (Condition, OnConflict) {
    match (args.if_absent, args.if_match) {
        (true, _) => (Condition::IfAbsent, OnConflict::Fail),
        (false, Some(version)) => (Condition::IfVersion(version), OnConflict::Fail),
        // The last upload wins; the other one is the superseded version.
        (false, None) => (Condition::Replace, OnConflict::Replace),
    }
}

fn tree_options(context: &Context, args: &Upload) -> UploadOptions {
    let (condition, on_conflict) = conditions(args);
    UploadOptions {
        condition,
        on_conflict,
        all_shards: args.durability == Durability::All,
        checksum: args.checksum,
        dry_run: args.dry_run,
        list_uploaded: context.output.json(),
    }
}

async fn stdin(args: &Upload, uploads: &Uploads, path: &TreePath, bar: &Bar) -> Result<Summary> {
    if args.dry_run {
        bar.plan(&path.to_bytes());
        return Ok(Summary { files: 1, ..Summary::default() });
    }
    let (condition, on_conflict) = conditions(args);
    let all_shards = args.durability == Durability::All;
    let options = PutOptions { condition, on_conflict, all_shards, ..PutOptions::default() };
    let place = uploads.place(path).await?;
    let source = Source::File(streams::input().map_err(Error::stream("read standard input"))?);
    let put = uploads.put(place, source, None, &options, bar).await?;
    Ok(Summary {
        files: 1,
        bytes: put.size,
        survives: put.survives(),
        missing_shards: put.missing_shards(),
        warning: put.warning.clone(),
        uploaded: vec![(path.to_bytes(), put)],
        ..Summary::default()
    })
}

#[derive(Serialize)]
struct Dropped {
    dropped: u64,
}

/// Drops what interrupted uploads of these paths left behind.
async fn abort(context: &Context, uploads: &Uploads, items: Vec<(PathBuf, TreePath)>, filter: &Filter) -> Result<()> {
    let mut dropped = 0;
    let mut waiting: Vec<_> = items.into_iter().map(|(path, target)| (path, target, Vec::new())).collect();
    while let Some((path, target, relative)) = waiting.pop() {
        if (relative.is_empty() || !path.is_symlink()) && path.is_dir() {
            let listed = std::fs::read_dir(&path).map_err(cyx_client::Error::local(&path))?;
            for entry in listed {
                let name = entry.map_err(cyx_client::Error::local(&path))?.file_name();
                let below =
                    [&relative[..], name.as_encoded_bytes()].join(if relative.is_empty() { &b""[..] } else { b"/" });
                if filter.enters(&below) {
                    waiting.push((path.join(&name), target.clone().join(name.as_encoded_bytes())?, below));
                }
            }
        } else if abort_one(uploads.bucket(), uploads, &target).await? {
            dropped += 1;
        }
    }
    if context.output.json() {
        return context.output.document(&Dropped { dropped });
    }
    let what = human::count(dropped, "interrupted upload", "interrupted uploads");
    context.output.note(format!("Dropped {what}."));
    Ok(())
}

async fn abort_one(bucket: &Bucket, uploads: &Uploads, target: &TreePath) -> Result<bool> {
    let Some((above, name)) = target.split() else { return Ok(false) };
    match bucket.open_directory(&above).await {
        Ok(directory) => Ok(uploads.abort(&directory, name).await?),
        Err(cyx_client::Error::NotFound(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn parsed(words: &[&str]) -> Upload {
        let cli = crate::args::Cli::parse_from([&["cyx", "upload", "--bucket", "b"], words].concat());
        match cli.command {
            crate::args::Command::Upload(args) => args,
            _ => panic!("not an upload"),
        }
    }

    fn target(words: &[&str]) -> Vec<String> {
        targets(&parsed(words)).unwrap().into_iter().map(|(_, target)| target.to_string()).collect()
    }

    #[test]
    fn a_file_is_stored_under_its_name_or_its_key() {
        assert_eq!(target(&["a/b.txt"]), ["b.txt"]);
        assert_eq!(target(&["a/b.txt", "--key", "x/y"]), ["x/y"]);
        assert_eq!(target(&["a/b.txt", "--key", "x/"]), ["x/b.txt"]);
        assert_eq!(target(&["a/b.txt", "c", "--key", "x"]), ["x/b.txt", "x/c"]);
    }

    #[test]
    fn what_is_named_twice_is_uploaded_once_and_two_files_for_one_key_are_refused() {
        assert_eq!(target(&["a.jpg", "b.jpg", "a.jpg", "./b.jpg"]), ["a.jpg", "b.jpg"]);
        assert_eq!(target(&["x/a", "x//a", "--key", "y"]), ["y/a"]);
        let here = std::env::current_dir().unwrap().join("a");
        assert_eq!(target(&["a", here.to_str().unwrap()]), ["a"]);
        for other in ["x/a", "../a", "a/../a"] {
            assert_eq!(targets(&parsed(&["a", other])).unwrap_err().exit_code(), 2, "{other}");
        }
    }

    #[test]
    fn a_directory_goes_to_its_key_or_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        let tree = tree.to_str().unwrap();
        assert_eq!(target(&[tree, "-r"]), ["tree"]);
        assert_eq!(target(&[&format!("{tree}/."), "-r"]), ["tree"]);
        assert_eq!(target(&[&format!("{tree}/../tree/"), "-r"]), ["tree"]);
        assert_eq!(target(&[tree, "-r", "--key", ""]), ["/"]);
        assert_eq!(target(&[tree, "-r", "--key", "x"]), ["x"]);
        assert_eq!(target(&[tree, "-r", "--key", "x/"]), ["x/tree"]);
        assert_eq!(targets(&parsed(&[tree])).unwrap_err().exit_code(), 2, "without -r");
    }

    #[test]
    fn a_local_path_is_reported_under_its_key() {
        let items = |pairs: &[(&str, &str)]| -> Vec<(PathBuf, TreePath)> {
            pairs.iter().map(|(path, key)| (PathBuf::from(path), TreePath::parse(key).unwrap())).collect()
        };
        let key = |path: &str, pairs| String::from_utf8(key_of(path.as_bytes(), &items(pairs))).unwrap();
        assert_eq!(key("/t/a/b", &[("/t", "x")]), "x/a/b");
        assert_eq!(key("/t/a", &[("/t/", "")]), "a");
        assert_eq!(key("f", &[("f", "x/y")]), "x/y");
        assert_eq!(key("ab/c", &[("a", "x"), ("ab", "y")]), "y/c");
        assert_eq!(key("a/b/c", &[("a", "x"), ("a/b", "y")]), "y/c");
    }

    #[test]
    fn standard_input_needs_the_key_of_a_file() {
        assert_eq!(stdin_key(&parsed(&["-", "--key", "a/b"])).unwrap().to_string(), "a/b");
        for words in [&["-"][..], &["-", "--key", ""], &["-", "--key", "a/"], &["-", "c", "--key", "a"]] {
            assert_eq!(stdin_key(&parsed(words)).unwrap_err().exit_code(), 2, "{words:?}");
        }
    }
}
