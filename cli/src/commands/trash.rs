//! `cyx trash`.

use std::ffi::OsString;

use cyx_client::tree::trash::{Purged, Trashed};
use cyx_client::{Bucket, TreePath};
use cyx_core::ids::TrashId;
use serde::Serialize;

use super::{Context, Failures, kind_word};
use crate::args::trash::{Empty, List, Restore, Trash};
use crate::error::{Error, Result};
use crate::output::human;
use crate::output::names::{self, Key};

#[derive(Serialize)]
struct Document<'a> {
    id: String,
    #[serde(flatten)]
    key: Key,
    kind: &'a str,
    size: u64,
    deleted_at: String,
    expires_at: String,
}

#[derive(Serialize)]
struct Restored {
    id: String,
    #[serde(flatten)]
    key: Key,
}

#[derive(Serialize)]
struct Emptied {
    deleted: u64,
}

/// Does one of the commands.
///
/// # Errors
/// As the commands say.
pub async fn run(context: &Context, command: Trash) -> Result<()> {
    match command {
        Trash::List(args) => list(context, &args).await,
        Trash::Restore(args) => restore(context, &args).await,
        Trash::Empty(args) => empty(context, &args).await,
    }
}

async fn list(context: &Context, args: &List) -> Result<()> {
    let bucket = context.bucket(&args.bucket).await?;
    let mut failures = Failures::default();
    for trashed in bucket.trash().await? {
        failures.count();
        match trashed {
            Ok(trashed) => show(context, &trashed)?,
            Err(error) => failures.add(context, b"an entry of the trash", error.into()),
        }
    }
    failures.result()
}

fn show(context: &Context, trashed: &Trashed) -> Result<()> {
    let kind = kind_word(&trashed.located);
    if context.output.json() {
        return context.output.document(&Document {
            id: trashed.id.to_string(),
            key: Key::new(&trashed.path),
            kind,
            size: trashed.located.inode.size,
            deleted_at: human::rfc3339(trashed.deleted_ns),
            expires_at: human::rfc3339(trashed.expires_ns),
        });
    }
    let (deleted, expires) = (human::local_time(trashed.deleted_ns), human::local_time(trashed.expires_ns));
    let after = if kind == "directory" { "/" } else { "" };
    context.output.name_line(&format!("{}  {deleted} until {expires}  ", trashed.id), &trashed.path, after)
}

async fn restore(context: &Context, args: &Restore) -> Result<()> {
    if args.rename.is_some() && args.keys.len() > 1 {
        return Err(Error::usage("--as goes with one key only"));
    }
    let bucket = context.bucket(&args.bucket).await?;
    let new_name = args.rename.as_deref().map(|name| name.as_encoded_bytes());
    let mut trash = readable(&bucket).await?;
    let mut failures = Failures::among(args.keys.len());
    for key in &args.keys {
        failures.count();
        let restored = match take(&mut trash, key) {
            Ok(trashed) => bucket.restore(&trashed, new_name).await.map(|path| (trashed, path)).map_err(Error::from),
            Err(error) => Err(error),
        };
        match restored {
            Ok((trashed, path)) if context.output.json() => {
                let restored = Restored { id: trashed.id.to_string(), key: Key::new(&path.to_bytes()) };
                failures.said(context.output.document(&restored));
            }
            Ok((_, path)) => context.output.note(format!("Restored {}.", names::escape(&path.to_bytes()))),
            Err(error) => failures.add(context, key.as_encoded_bytes(), error),
        }
    }
    failures.result()
}

async fn empty(context: &Context, args: &Empty) -> Result<()> {
    let bucket = context.bucket(&args.bucket).await?;
    let mut failures = Failures::among(args.keys.len());
    let purged = if args.keys.is_empty() {
        bucket.empty_trash().await?
    } else {
        let mut trash = readable(&bucket).await?;
        let mut ids = Vec::new();
        for key in &args.keys {
            match take(&mut trash, key) {
                Ok(trashed) => ids.push(trashed.id),
                Err(error) => {
                    failures.count();
                    failures.add(context, key.as_encoded_bytes(), error);
                }
            }
        }
        bucket.purge(&ids).await
    };
    let Purged { deleted, left, error } = purged;
    if context.output.json() {
        failures.said(context.output.document(&Emptied { deleted }));
    } else {
        context.output.note(format!("Deleted {} for good.", human::count(deleted, "entry", "entries")));
    }
    failures.total += deleted + left;
    if let Some(error) = error {
        failures.add_many(context, b"the trash", left, error.into());
    }
    failures.result()
}

/// The entries of the trash that are authentic, newest first.
async fn readable(bucket: &Bucket) -> Result<Vec<Trashed>> {
    Ok(bucket.trash().await?.into_iter().filter_map(Result::ok).collect())
}

/// Takes out the entry of this id or, if there is none, the newest of this key.
fn take(trash: &mut Vec<Trashed>, key: &OsString) -> Result<Trashed> {
    let id = key.to_str().and_then(|text| text.parse::<TrashId>().ok());
    let path = TreePath::parse(key.as_encoded_bytes())?.to_bytes();
    let place = trash
        .iter()
        .position(|trashed| Some(trashed.id) == id)
        .or_else(|| trash.iter().position(|trashed| trashed.path == path));
    match place {
        Some(place) => Ok(trash.remove(place)),
        None => Err(Error::NotInTrash(names::escape(key.as_encoded_bytes()))),
    }
}
