//! What uploads and downloads did, said once at the end.

use cyx_client::local::Summary;
use cyx_core::error::ErrorCode;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Context;
use crate::error::{Error, Result};
use crate::output::human;
use crate::output::names::{self, Key};

/// The words for a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the nodes.
    Up,
    /// From the nodes.
    Down,
}

#[derive(Serialize)]
struct Document {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    files: u64,
    bytes: u64,
    unchanged: u64,
    skipped: u64,
    directories: u64,
    failed: Vec<Map<String, Value>>,
    /// Uploads: each file and symbolic link with where it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    uploaded: Option<Vec<Uploaded>>,
    /// Dry runs: the files that would be transferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    planned: Option<Vec<Map<String, Value>>>,
    /// Uploads: nodes that may be lost without losing any file; absent if no node holds any.
    #[serde(skip_serializing_if = "Option::is_none")]
    survives: Option<usize>,
    /// Uploads: shards that are left to repair.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_shards: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    /// Downloads: files and directories whose set-user-ID and set-group-ID bits were left out.
    #[serde(skip_serializing_if = "is_zero")]
    special_modes: u64,
    /// Storage nodes that sent wrong bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    liars: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Serialize)]
struct Uploaded {
    #[serde(flatten)]
    key: Key,
    size: u64,
    version: u64,
    inode: String,
    survives: Option<usize>,
    missing_shards: usize,
}

/// Reports what was done and what failed.
///
/// # Errors
/// What the command ends with: the only failure, why it stopped, or that some of many failed.
pub fn report(context: &Context, direction: Direction, summary: Summary, planned: Option<&[Vec<u8>]>) -> Result<()> {
    let output = &context.output;
    if let Some(warning) = &summary.warning {
        output.warn(warning);
    }
    super::warn_of_liars(output, &summary.liars);
    if summary.special_modes > 0 {
        let what = human::count(summary.special_modes, "file or directory", "files and directories");
        output.warn(format!(
            "the set-user-ID and set-group-ID bits of {what} were left out: the server could have set them"
        ));
    }
    let printed = if output.json() {
        output.document(&document(direction, &summary, planned))
    } else {
        let would = if direction == Direction::Up { "would upload " } else { "would download " };
        let printed = planned.unwrap_or_default().iter().try_for_each(|path| output.name_line(would, path, ""));
        // A single failure is the command's own error, and says all there is to say.
        let says_all = is_single(&summary) && summary.failed.len() == 1;
        // What stopped everything before anything was done says so itself.
        let did_nothing = summary.stopped.is_some() && total(&summary) == summary.failed.len() as u64;
        if !says_all && !did_nothing {
            output.note(sentence(direction, &summary, planned.is_some()));
        }
        printed
    };
    // A failure counts for more than that it could not be said on standard output.
    end(context, summary).and(printed)
}

fn total(summary: &Summary) -> u64 {
    summary.failed.len() as u64 + summary.files + summary.unchanged + summary.skipped
}

/// There was one thing to do.
fn is_single(summary: &Summary) -> bool {
    total(summary) == 1
}

fn end(context: &Context, mut summary: Summary) -> Result<()> {
    let failed = summary.failed.len() as u64;
    let total = total(&summary);
    if summary.stopped.is_none()
        && is_single(&summary)
        && let Some(failure) = summary.failed.pop()
    {
        return Err(failure.error.into());
    }
    let mut worst = 0;
    let stopped = summary.stopped.as_ref().map(ToString::to_string);
    for failure in summary.failed {
        let error = Error::from(failure.error);
        // What stopped everything is said once, at the end.
        if stopped.as_ref().is_none_or(|stopped| *stopped != error.to_string()) {
            context.output.failure(&failure.path, &error);
        }
        // Of different failures the first decides: there is no order among exit codes.
        if worst == 0 {
            worst = error.exit_code();
        }
    }
    match summary.stopped {
        Some(error) => Err(error.into()),
        None if failed > 0 => Err(Error::Partly { failed, total, worst }),
        None => Ok(()),
    }
}

fn document(direction: Direction, summary: &Summary, planned: Option<&[Vec<u8>]>) -> Document {
    let named = |path: &[u8]| {
        let mut object = Map::new();
        names::insert(&mut object, "path", path);
        object
    };
    let failed = summary.failed.iter().map(|failure| {
        let code: ErrorCode = failure.error.code();
        let mut object = named(&failure.path);
        object.insert("code".to_owned(), code.as_str().into());
        object.insert("message".to_owned(), failure.error.to_string().into());
        object
    });
    let uploaded = summary.uploaded.iter().map(|(path, put)| Uploaded {
        key: Key::new(path),
        size: put.size,
        version: put.version,
        inode: put.inode.to_string(),
        survives: put.survives(),
        missing_shards: put.missing_shards(),
    });
    let up = direction == Direction::Up;
    Document {
        dry_run: planned.is_some(),
        files: summary.files,
        bytes: summary.bytes,
        unchanged: summary.unchanged,
        skipped: summary.skipped,
        directories: summary.directories,
        failed: failed.collect(),
        uploaded: (up && planned.is_none()).then(|| uploaded.collect()),
        planned: planned.map(|paths| paths.iter().map(|path| named(path)).collect()),
        survives: summary.survives,
        missing_shards: up.then_some(summary.missing_shards),
        warning: summary.warning.clone(),
        special_modes: summary.special_modes,
        liars: summary.liars.iter().map(ToString::to_string).collect(),
    }
}

fn sentence(direction: Direction, summary: &Summary, dry_run: bool) -> String {
    let verb = match (direction, dry_run) {
        (Direction::Up, false) => "Uploaded",
        (Direction::Up, true) => "Would upload",
        (Direction::Down, false) => "Downloaded",
        (Direction::Down, true) => "Would download",
    };
    let mut text = format!("{verb} {} ({})", human::count(summary.files, "file", "files"), human::bytes(summary.bytes));
    if summary.unchanged > 0 {
        text += &format!(", {} unchanged", summary.unchanged);
    }
    if summary.skipped > 0 {
        text += &format!(", {} left out", summary.skipped);
    }
    if !summary.failed.is_empty() {
        text += &format!(", {} failed", summary.failed.len());
    }
    text += if summary.stopped.is_some() { " before it stopped." } else { "." };
    if summary.missing_shards > 0
        && let Some(survives) = summary.survives
    {
        let shards = human::count(summary.missing_shards as u64, "shard is", "shards are");
        let nodes = human::count(survives as u64, "node", "nodes");
        text += &format!(" {shards} left to repair; what was uploaded survives the loss of {nodes} now.");
    }
    text
}
