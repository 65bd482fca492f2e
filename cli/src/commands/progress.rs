//! The engine's progress on this program's bar.

use std::sync::{Mutex, MutexGuard, PoisonError};

use cyx_client::transfer::{FileOutcome, Progress};

use crate::output::progress::Progress as Shown;
use crate::output::{Output, names};

/// Shows the progress of a transfer and its notices, and remembers what a dry run would have transferred.
pub struct Bar {
    output: Output,
    shown: Shown,
    notices: Mutex<Vec<String>>,
    planned: Option<Mutex<Vec<Vec<u8>>>>,
    names_skipped: bool,
}

impl Bar {
    /// A bar whose total grows as files are found; an `open` one has no total.
    #[must_use]
    pub fn new(output: &Output, open: bool, dry_run: bool) -> Self {
        let total = if open { None } else { Some(0) };
        Self {
            output: *output,
            shown: Shown::new(output, total),
            notices: Mutex::default(),
            planned: dry_run.then(Mutex::default),
            names_skipped: false,
        }
    }

    /// Names what is left out, also without `-v`: for an upload, after which somebody may rely on everything being there.
    #[must_use]
    pub fn naming_skipped(self) -> Self {
        Self { names_skipped: true, ..self }
    }

    /// A bar for a number of bytes.
    #[must_use]
    pub fn of_bytes(output: &Output, bytes: u64) -> Self {
        let shown = Shown::new(output, Some(bytes));
        Self { output: *output, shown, notices: Mutex::default(), planned: None, names_skipped: false }
    }

    /// A dry run would transfer this.
    pub fn plan(&self, path: &[u8]) {
        if let Some(planned) = &self.planned {
            lock(planned).push(path.to_vec());
        }
    }

    /// What a dry run would have transferred, sorted; `None` if this is none.
    #[must_use]
    pub fn planned(&self) -> Option<Vec<Vec<u8>>> {
        let mut planned = std::mem::take(&mut *lock(self.planned.as_ref()?));
        planned.sort();
        Some(planned)
    }

    /// Runs something that prints, without tearing the bar.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.shown.suspend(print)
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.shown.finish();
    }
}

impl Progress for Bar {
    fn bytes(&self, bytes: u64) {
        self.shown.add(bytes);
    }

    fn begins(&self, path: &[u8], _size: Option<u64>) {
        self.shown.name(path);
    }

    fn ends(&self, path: &[u8], outcome: &FileOutcome) {
        if *outcome == FileOutcome::Done {
            self.plan(path);
        }
        if let FileOutcome::Skipped(why) = outcome
            && self.names_skipped
        {
            self.shown.suspend(|| self.output.warn(format!("{} is left out: {why}", names::escape(path))));
            return;
        }
        if !self.output.verbose() {
            return;
        }
        let text = match outcome {
            FileOutcome::Done => "done".to_owned(),
            FileOutcome::Unchanged => "unchanged".to_owned(),
            FileOutcome::Skipped(why) => format!("left out: {why}"),
            // Said at the end, with advice.
            FileOutcome::Failed(_) => return,
        };
        self.shown.suspend(|| self.output.detail(format!("{}: {text}", names::escape(path))));
    }

    fn found(&self, _files: u64, bytes: u64) {
        self.shown.add_total(bytes);
    }

    fn notice(&self, message: &str) {
        let mut notices = lock(&self.notices);
        // The same about a thousand files is said once.
        if !notices.iter().any(|known| known == message) {
            notices.push(message.to_owned());
            self.shown.suspend(|| self.output.note(message));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
