//! `cyx trash`.

use std::collections::HashSet;
use std::ffi::OsString;

use cyx_client::TreePath;
use cyx_client::tree::trash::{Purged, Trashed, Unreadable};
use cyx_core::error::ErrorCode;
use cyx_core::ids::TrashId;
use serde::Serialize;

use super::{Context, Failures, kind_name, kind_word};
use crate::args::trash::{Empty, List, Restore, Trash};
use crate::error::{Error, Result};
use crate::output::human;
use crate::output::names::{self, Key};

#[derive(Serialize)]
struct Document<'a> {
    id: String,
    /// Absent if it cannot be known any more.
    #[serde(flatten)]
    key: Option<Key>,
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
            // Nothing is wrong: its directory is not there any more, or far down in the trash itself.
            Err(gone) if gone.error.code() == ErrorCode::NotFound => show_nameless(context, &gone)?,
            Err(Unreadable { id, error, .. }) => failures.add(context, id.to_string().as_bytes(), error.into()),
        }
    }
    failures.result()
}

fn show(context: &Context, trashed: &Trashed) -> Result<()> {
    let kind = kind_word(&trashed.located);
    if context.output.json() {
        return context.output.document(&Document {
            id: trashed.id.to_string(),
            key: Some(Key::new(&trashed.path)),
            kind,
            size: trashed.located.inode.size,
            deleted_at: human::rfc3339(trashed.deleted_ns),
            expires_at: human::rfc3339(trashed.expires_ns),
        });
    }
    let after = match (kind, trashed.below_trash) {
        ("directory", false) => "/",
        ("directory", true) => "/  (its directory is in the trash)",
        (_, false) => "",
        (_, true) => "  (its directory is in the trash)",
    };
    let head = head(trashed.id, trashed.deleted_ns, trashed.expires_ns);
    context.output.name_line(&head, &trashed.path, after)
}

fn show_nameless(context: &Context, gone: &Unreadable) -> Result<()> {
    if context.output.json() {
        return context.output.document(&Document {
            id: gone.id.to_string(),
            key: None,
            kind: kind_name(gone.kind),
            size: gone.size,
            deleted_at: human::rfc3339(gone.deleted_ns),
            expires_at: human::rfc3339(gone.expires_ns),
        });
    }
    let head = head(gone.id, gone.deleted_ns, gone.expires_ns);
    context.output.line(format!(
        "{head}(a {} whose directory is not to be found: it cannot be restored as things are)",
        kind_name(gone.kind)
    ))
}

fn head(id: TrashId, deleted_ns: i64, expires_ns: i64) -> String {
    format!("{id}  {} until {}  ", human::local_time(deleted_ns), human::local_time(expires_ns))
}

async fn restore(context: &Context, args: &Restore) -> Result<()> {
    if args.rename.is_some() && args.keys.len() > 1 {
        return Err(Error::usage("--as goes with one key only"));
    }
    let bucket = context.bucket(&args.bucket).await?;
    let new_name = args.rename.as_deref().map(|name| name.as_encoded_bytes());
    let mut trash: Vec<Trashed> = bucket.trash().await?.into_iter().filter_map(Result::ok).collect();
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
        let (mut trash, mut nameless) = (Vec::new(), HashSet::new());
        for trashed in bucket.trash().await? {
            match trashed {
                Ok(trashed) => trash.push(trashed),
                Err(unreadable) => drop(nameless.insert(unreadable.id)),
            }
        }
        let mut ids = Vec::new();
        for key in &args.keys {
            if let Some(id) = id_of(key).and_then(|id| nameless.take(&id)) {
                ids.push(id);
                continue;
            }
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

fn id_of(key: &OsString) -> Option<TrashId> {
    key.to_str()?.parse().ok()
}

/// Takes out the entry of this id or, if there is none, the newest of this key.
fn take(trash: &mut Vec<Trashed>, key: &OsString) -> Result<Trashed> {
    let id = id_of(key);
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
