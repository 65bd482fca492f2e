//! Takes away files of the journal that nothing needs any more.
//!
//! Much is written once, sent, and needed no more: it should not have to become durable for that. So the files that stay are made durable,
//! then a mark says with which of them the journal begins, and what lies before the mark may be removed at any time.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::replay::numbered;
use super::{Journal, JournalError, Pins, State, disk, is_worth, unsynced};

/// A mark is an empty file, or one that was of the journal before, with the number of the file that the journal begins with, and this ending.
const ENDING: &str = "begin";

impl Journal {
    /// Gives up pins. Files that nothing needs any more are removed soon.
    pub fn release(&self, pins: Pins) {
        if pins.is_empty() {
            return;
        }
        let is_worth_it = {
            let mut state = self.state();
            for (file, count) in pins.count {
                if let Some(segment) = state.segments.get_mut(&file) {
                    segment.pinned = segment.pinned.saturating_sub(count);
                }
            }
            // While something is needed, what stays has to become durable first: then it is done when it sets much free.
            let all = state.segments.values().all(|segment| segment.pinned == 0);
            if all {
                self.recent().clear();
            }
            let is_scarce = state.reserve.is_disk_full() || state.used.saturating_mul(2) > self.shared.limits.total;
            (all || is_scarce) && oldest_is_free(&state)
        };
        if is_worth_it {
            self.remove_soon();
        }
    }

    /// Removes what can be removed, if there is anything.
    pub(super) fn remove_soon(&self) {
        if oldest_is_free(&self.state()) && tokio::runtime::Handle::try_current().is_ok() {
            let journal = self.clone();
            tokio::spawn(async move {
                if let Err(error) = journal.remove_free().await {
                    tracing::warn!(%error, "old files of the journal stay");
                }
            });
        }
    }

    /// Removes files that nothing needs, after what made them superfluous is durable or superfluous itself.
    ///
    /// # Errors
    /// [`JournalError::Disk`].
    pub async fn remove_free(&self) -> Result<(), JournalError> {
        let _one = self.shared.removing.lock().await;
        while let Some((begin, free)) = self.free_files()? {
            self.sync_from(begin).await?;
            let folder = self.shared.folder.clone();
            let removing = tokio::task::spawn_blocking(move || remove(&folder, begin, &free));
            removing
                .await
                .unwrap_or_else(|_| Err(disk(&self.shared.folder)(io::Error::other("the work was cut off"))))?;
            {
                let mut state = self.state();
                let stays = state.segments.split_off(&begin);
                let gone = std::mem::replace(&mut state.segments, stays);
                let freed: u64 = gone.values().map(|segment| segment.len).sum();
                state.used = state.used.saturating_sub(freed);
            }
            self.shared.freed.notify_waiters();
        }
        Ok(())
    }

    /// The file that the journal may begin with, and those before it; nothing is added to them any more.
    fn free_files(&self) -> Result<Option<(u64, Vec<PathBuf>)>, JournalError> {
        let mut state = self.state();
        if !oldest_is_free(&state) {
            return Ok(None);
        }
        if state.segments.values().all(|segment| segment.pinned == 0) {
            // There has to be one to begin with, which goes on with the order of these.
            state.active = None;
            match self.begin_file(&mut state) {
                // On a full disk whatever comes next is the one.
                Ok(_) | Err(JournalError::Full) => {}
                Err(error) => return Err(error),
            }
        }
        let stays = |(number, segment): (&u64, &super::Segment)| segment.pinned > 0 || state.active == Some(*number);
        let begin = state.segments.iter().find(|one| stays(*one)).map(|(number, _)| *number);
        let begin = begin.unwrap_or(state.next_file);
        let free: Vec<PathBuf> = state.segments.range(..begin).map(|(_, segment)| segment.path.clone()).collect();
        Ok((!free.is_empty()).then_some((begin, free)))
    }
}

/// Whether there is a file that can be removed.
pub(super) fn oldest_is_free(state: &State) -> bool {
    let oldest = state.segments.iter().next();
    oldest.is_some_and(|(number, segment)| segment.pinned == 0 && (state.active != Some(*number) || is_worth(segment)))
}

fn remove(folder: &Path, begin: u64, free: &[PathBuf]) -> Result<(), JournalError> {
    let before = numbered(folder, ENDING)?;
    let mark = folder.join(format!("{begin:016x}.{ENDING}"));
    let made = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&mark).map_err(disk(&mark));
    let older = before.iter().map(|(_, path)| path).chain(free).find(|path| path.exists());
    match (made, older) {
        // A full disk may have no room for another name: what goes gives its own.
        (Err(JournalError::Full), Some(older)) => std::fs::rename(older, &mark).map_err(disk(&mark))?,
        (made, _) => drop(made?),
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk(folder))?;
    cut(&mark)?;
    let fresh = numbered(folder, unsynced::ENDING)?;
    let old = before.into_iter().chain(fresh).filter(|(number, _)| *number < begin).map(|(_, path)| path);
    free.iter().cloned().chain(old).try_for_each(|path| remove_file(&path))
}

/// A mark that was a file of the journal gives up its room, unless it is kept under another name because it is damaged.
fn cut(mark: &Path) -> Result<(), JournalError> {
    let cut = || {
        let mark = OpenOptions::new().write(true).open(mark)?;
        if mark.metadata()?.nlink() == 1 { mark.set_len(0) } else { Ok(()) }
    };
    cut().map_err(disk(mark))
}

/// Removes a file; an earlier attempt may have done so.
fn remove_file(path: &Path) -> Result<(), JournalError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk(path)(error)),
        _ => Ok(()),
    }
}

/// Removes what an earlier run was about to remove; says with which file the journal begins.
pub(super) fn finish(folder: &Path) -> Result<u64, JournalError> {
    let Some((begin, mark)) = numbered(folder, ENDING)?.pop() else { return Ok(0) };
    cut(&mark)?;
    for ending in [super::replay::ENDING, unsynced::ENDING, ENDING] {
        for (_, path) in numbered(folder, ending)?.into_iter().filter(|(number, _)| *number < begin) {
            remove_file(&path)?;
        }
    }
    Ok(begin)
}
