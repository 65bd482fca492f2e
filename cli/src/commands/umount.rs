//! `cyx umount` and `cyx mounts`.

use std::io;
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use cyx_fs::mount::control::{Live, Record, Refusal, Registry, Reply, Status};
use cyx_fs::mount::point::{self, Found};
use cyx_fs::vfs::Problem;
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde::Serialize;

use super::Context;
use crate::args::mount::Umount;
use crate::error::{Error, Result};
use crate::output::{human, names};

/// What is said of a mount whose server is not the one that it knows.
const RESTORED: &str = "nothing works here since the server was restored from a backup, and newer changes may be missing there: if its \
                        operator confirms it, take this mount off (with --force, if something cannot be sent), run \
                        `cyx login --accept-changes` and mount again";

/// What is said of a mount whose process could not be asked.
const UNKNOWN: &str = "nobody could be asked what is pending: the journal of that mount may hold changes that were not sent; the next mount with \
                       the same cache directory sends them";

#[derive(Serialize)]
struct Gone<'a> {
    mountpoint: &'a Path,
    /// Unknown if nobody could be asked.
    pending_files: Option<u64>,
}

/// Takes a mount off.
///
/// # Errors
/// If there is none; if it stays, why.
pub async fn umount(context: &Context, args: &Umount) -> Result<()> {
    let path = match point::resolve(&args.dir) {
        // Where nothing is, nothing is mounted.
        Err(cyx_fs::mount::Error::Mountpoint { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NotMounted(names::escape(args.dir.as_os_str().as_encoded_bytes())));
        }
        resolved => resolved?,
    };
    let shown = names::escape(path.as_os_str().as_encoded_bytes());
    let registry = Registry::new(&context.config.home);
    let live = registry.find(&path).map_err(Error::stream("look for mounts"))?;
    let pending_files = match live {
        Some(live) => ask(context, &live, args.force, &shown).await?,
        None => {
            take_off(&path, args.force, &shown)?;
            // Its process was killed, or is that of another home: only the journal knows.
            context.output.warn(UNKNOWN);
            None
        }
    };
    if let Some(files) = pending_files.filter(|files| *files > 0) {
        context.output.warn(pending(files));
    }
    if context.output.json() {
        return context.output.document(&Gone { mountpoint: &path, pending_files });
    }
    context.output.note(format!("Took {shown} off."));
    Ok(())
}

/// What is said about changes that were not sent.
#[must_use]
pub fn pending(files: u64) -> String {
    let files = human::count(files, "changed file is", "changed files are");
    format!("{files} not sent yet; the next mount with the same cache directory sends the changes")
}

/// What is said about changes that can never be sent. Whether a bucket was deleted or only taken from the account cannot be told from here.
fn deleted(status: &Status) -> Option<String> {
    let files = human::count(status.deleted_files, "file", "files");
    let bytes = human::bytes(status.deleted_bytes);
    let said = format!(
        "of buckets that were deleted, or are not open to this account any more, {bytes} in {files} are kept; \
         `cyx mount --discard-deleted` lets go of them"
    );
    (status.deleted_files > 0).then_some(said)
}

/// Asks the mount itself. Returns how many files were not sent, if that can be known.
async fn ask(context: &Context, live: &Live, force: bool, shown: &str) -> Result<Option<u64>> {
    let bar = context.output.progress().then(|| {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    });
    let said = Mutex::new(false);
    let before = OnceLock::new();
    let progress = |status: &Status| {
        if status.dirty_bytes == 0 && status.dirty_files == 0 {
            return;
        }
        let (files, bytes) = (human::count(status.dirty_files, "file", "files"), human::bytes(status.dirty_bytes));
        let message = format!("Sending {files}, {bytes}.");
        let sent = status.sent_bytes.saturating_sub(*before.get_or_init(|| status.sent_bytes));
        match &bar {
            // What is dirty is not less before a whole file is stored.
            Some(bar) if sent > 0 => bar.set_message(format!("{message} {} went out.", human::bytes(sent))),
            Some(bar) => bar.set_message(message),
            None => {
                let mut said = said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if !std::mem::replace(&mut *said, true) {
                    context.output.note(message);
                }
            }
        }
    };
    let reply = live.unmount(force, progress).await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let stays = |message: String, advice: &'static str| Err(Error::Stays { message, advice });
    match reply {
        Ok(Reply::Gone { pending_files, end }) => {
            if let Some(kept) = deleted(&end) {
                context.output.warn(kept);
            }
            Ok(Some(pending_files))
        }
        Ok(Reply::Refused { reason: Refusal::Busy, .. }) => {
            stays(format!("{shown} is in use"), "Close what is open in it (`fuser -vm` shows who), or use --force.")
        }
        Ok(Reply::Refused { reason: Refusal::Pending, pending_files }) => stays(
            format!("{} of {shown} could not be sent", human::count(pending_files, "changed file", "changed files")),
            "Look at `cyx mounts`; with --force the changes stay in the journal and the next mount sends them.",
        ),
        Ok(Reply::Refused { reason: Refusal::Overtaken, pending_files }) => stays(
            format!(
                "{shown} is taken off by somebody else's --force, before {} could be sent",
                human::count(pending_files, "changed file", "changed files")
            ),
            "What is not sent stays in the journal, and the next mount with the same cache directory sends it.",
        ),
        Ok(_) => stays(format!("{shown} cannot be taken off"), "The log of the mount says why; try --force."),
        // A process that is stopped or hangs need not agree.
        Err(_) if force => {
            let path = &live.record.mountpoint;
            let listed = point::table().into_iter().rfind(|mount| mount.point == *path);
            // It may have ended meanwhile.
            if listed.is_some_and(|mount| mount.fstype == point::FSTYPE) {
                point::unmount(path, true).map_err(Error::stream("take the mount off"))?;
                context.output.warn(format!(
                    "process {} did not answer and still has the cache directory; when it is ended, the next mount with \
                     the same cache directory sends what is in the journal",
                    live.record.pid
                ));
            }
            Ok(None)
        }
        Err(error) => stays(
            format!("the mount {shown} (process {}) does not answer: {error}", live.record.pid),
            "If it does not recover, use --force or end the process; the next mount sends what is in the journal.",
        ),
    }
}

/// Takes off what no mount of this user answers for.
fn take_off(path: &Path, force: bool, shown: &str) -> Result<()> {
    let lazily = match point::look(path) {
        Ok(Found::Stale) => true,
        Ok(Found::Mounted(fstype)) if fstype == point::FSTYPE => force,
        // Also what could not be a mountpoint, such as a file.
        _ => return Err(Error::NotMounted(shown.to_owned())),
    };
    point::unmount(path, lazily).map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => Error::Stays {
            message: format!("{shown} is in use"),
            advice: "Close what is open in it (`fuser -vm` shows who), or use --force.",
        },
        _ => Error::Stream { action: "take the mount off", source: error },
    })
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    record: &'a Record,
    answers: bool,
    #[serde(flatten)]
    status: Option<&'a Status>,
}

/// Lists the mounts.
///
/// # Errors
/// If the registry cannot be read.
pub async fn mounts(context: &Context) -> Result<()> {
    let registry = Registry::new(&context.config.home);
    for live in registry.live().map_err(Error::stream("look for mounts"))? {
        let status = live.status().await;
        if context.output.json() {
            let document = Document { record: &live.record, answers: status.is_ok(), status: status.as_ref().ok() };
            context.output.document(&document)?;
            continue;
        }
        show(context, &live.record, status)?;
    }
    Ok(())
}

fn show(context: &Context, record: &Record, status: io::Result<Status>) -> Result<()> {
    let what = record.bucket.as_deref().map_or("all buckets".to_owned(), |bucket| format!("bucket {bucket}"));
    let mode = if record.read_only { ", read-only" } else { "" };
    context.output.name_line("", record.mountpoint.as_os_str().as_encoded_bytes(), "")?;
    context.output.line(format!("  {what} of {}{mode}, process {}", record.gateway, record.pid))?;
    let status = match status {
        Ok(status) => status,
        Err(error) => return context.output.line(format!("  does not answer: {error}")),
    };
    let stream = if status.connected { "connected to the server" } else { "cut off from the server" };
    let ending = if status.ending { ", being taken off" } else { "" };
    let alone = match status.leases {
        0 => String::new(),
        count => format!(", the only writer of {}", human::count(count, "bucket", "buckets")),
    };
    context.output.line(format!("  {stream}{alone}{ending}"))?;
    if status.restored {
        context.output.line(format!("  {RESTORED}"))?;
    }
    let files = human::count(status.dirty_files, "file", "files");
    context.output.line(format!(
        "  to be sent: {} in {files}; journal {}; cache {}",
        human::bytes(status.dirty_bytes),
        human::bytes(status.journal_bytes),
        human::bytes(status.cache_bytes),
    ))?;
    if let Some(kept) = deleted(&status) {
        context.output.line(format!("  {kept}"))?;
    }
    if status.conflicts > 0 {
        context.output.line(format!("  {}", human::count(status.conflicts, "conflict copy", "conflict copies")))?;
    }
    if !status.problems.is_empty() {
        context.output.line("  the latest problems:")?;
    }
    for Problem { at, what } in &status.problems {
        let at = human::local_time_seconds(*at);
        context.output.line(format!("    {at}  {}", names::escape(what.as_bytes())))?;
    }
    Ok(())
}
