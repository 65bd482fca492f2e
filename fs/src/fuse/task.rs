//! One request of the kernel: done at once, or a task with a deadline.
//!
//! At its deadline a request is answered with `ETIMEDOUT`, so that the program that made it goes on, and with `EINTR` once that program
//! was killed, so that it can end. What it began is not cut off but finished behind its back, and what it left behind – a counted
//! lookup, an open handle – is given back, because the kernel does not know of it. What the kernel keeps of what it changed is forgotten.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::runtime::Handle as Runtime;
use tokio::time::{Instant, timeout};

use super::killed::is_killed;
use crate::attributes::{Attr, Ino};
use crate::errno::Errno;
use crate::journal::blocking::may_wait;
use crate::vfs::{DirEntry, Filesystem, Handle, Remember};

/// Deadline of requests that a program expects to be quick.
pub(super) const SHORT: Duration = Duration::from_secs(60);
/// Deadline of requests that may have to move much content: reads and writes under load, fsync, close, cloning.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// How often it is looked whether the program that waits was killed. Most requests are done long before the first time.
const LOOK: Duration = Duration::from_millis(500);

/// Counts requests.
#[derive(Debug, Default)]
pub struct Counters {
    requests: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
}

impl Counters {
    /// All requests, those answered with `EIO`, those given up at their deadline.
    #[must_use]
    pub fn read(&self) -> (u64, u64, u64) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (of(&self.requests), of(&self.failed), of(&self.late))
    }

    pub(super) fn begin(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    fn end<T>(&self, result: &Result<T, Errno>) {
        if matches!(result, Err(Errno::EIO)) {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a request leaves behind if nobody gets to know of its result.
pub(super) trait Outcome: Send {
    /// Gives it back.
    fn give_back(self, fs: &Filesystem) -> impl Future<Output = ()> + Send;
}

/// A result that leaves nothing behind.
pub(super) struct Plain<T>(pub(super) T);

impl<T: Send> Outcome for Plain<T> {
    async fn give_back(self, _fs: &Filesystem) {}
}

/// What the kernel keeps of something that was changed.
pub(super) enum Kept {
    /// The content of a file.
    Content(Ino),
    /// Names in directories.
    Names(Vec<(Ino, Vec<u8>)>),
}

/// The result of a change. The kernel takes one that was given up for one that was not made, and keeps what it has.
pub(super) struct Changed<T>(pub(super) T, pub(super) Kept);

impl<T: Send> Outcome for Changed<T> {
    async fn give_back(self, fs: &Filesystem) {
        match self.1 {
            Kept::Content(ino) => fs.forget_content(ino),
            Kept::Names(names) => names.iter().for_each(|(parent, name)| fs.forget_name(*parent, name)),
        }
    }
}

/// Attributes of something that was looked up or made: a lookup is counted.
pub(super) struct Counted(pub(super) Attr);

impl Outcome for Counted {
    async fn give_back(self, fs: &Filesystem) {
        fs.forget(self.0.ino, 1);
    }
}

/// An open file.
pub(super) struct Opened(pub(super) Handle);

impl Outcome for Opened {
    async fn give_back(self, fs: &Filesystem) {
        fs.release(self.0).await;
    }
}

/// A file that was made and opened.
pub(super) struct Created(pub(super) Attr, pub(super) Handle);

impl Outcome for Created {
    async fn give_back(self, fs: &Filesystem) {
        fs.release(self.1).await;
        fs.forget(self.0.ino, 1);
    }
}

/// An open directory, and what the kernel may do with its listing.
pub(super) struct OpenedDir(pub(super) Handle, pub(super) Remember);

impl Outcome for OpenedDir {
    async fn give_back(self, fs: &Filesystem) {
        fs.releasedir(self.0);
    }
}

/// Entries whose lookups were counted.
pub(super) struct Listed(pub(super) Vec<DirEntry>);

impl Outcome for Listed {
    async fn give_back(self, fs: &Filesystem) {
        forget_entries(fs, &self.0);
    }
}

/// Gives back the lookups of entries that the kernel is not told of.
pub(super) fn forget_entries(fs: &Filesystem, entries: &[DirEntry]) {
    for entry in entries {
        let dots = entry.name == b"." || entry.name == b"..";
        if entry.attr.is_some() && !dots {
            fs.forget(entry.ino, 1);
        }
    }
}

/// Does as much as can be done without waiting, and the rest as a task of the runtime.
pub(super) fn begin(runtime: &Runtime, task: impl Future<Output = ()> + Send + 'static) {
    let _inside = runtime.enter();
    let mut task = Box::pin(task);
    // A task that panics fails alone; the thread that takes requests has to go on as well.
    let mut first = || task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let polled = catch_unwind(AssertUnwindSafe(|| may_wait(&mut first)));
    match polled {
        Ok(polled) if polled.is_pending() => {
            // It is polled again there, and then says whom to wake.
            runtime.spawn(task);
        }
        Ok(_) => {}
        // Its answer is dropped with it, which tells the kernel of an error.
        Err(_) => tracing::error!("a request was cut off"),
    }
}

/// Does an operation for the thread `caller`, answers with what it returns, with `EINTR` if that thread is killed meanwhile, or with
/// `ETIMEDOUT` at the deadline.
pub(super) async fn run<T: Outcome>(
    fs: &Filesystem,
    counters: &Counters,
    caller: u32,
    limit: Duration,
    operation: impl Future<Output = Result<T, Errno>> + Send,
    answer: impl FnOnce(Result<T, Errno>) + Send,
) {
    if let Some(outcome) = answered(counters, caller, limit, operation, answer).await {
        outcome.give_back(fs).await;
    }
}

/// As [`run`]. What came of it behind the answer, of which nobody gets to know.
async fn answered<T>(
    counters: &Counters,
    caller: u32,
    limit: Duration,
    operation: impl Future<Output = Result<T, Errno>> + Send,
    answer: impl FnOnce(Result<T, Errno>) + Send,
) -> Option<T> {
    let mut operation = std::pin::pin!(operation);
    let deadline = Instant::now() + limit;
    let reason = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if let Ok(result) = timeout(left.min(LOOK), &mut operation).await {
            counters.end(&result);
            answer(result);
            return None;
        }
        if is_killed(caller) {
            break Errno::EINTR;
        }
        if left <= LOOK {
            counters.late.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(seconds = limit.as_secs(), "a request was given up at its deadline");
            break Errno::ETIMEDOUT;
        }
    };
    answer(Err(reason));
    operation.await.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread::{self, ThreadId};

    use tokio::sync::oneshot;

    use super::*;

    fn where_it_runs(runtime: &Runtime, wait: Option<oneshot::Receiver<()>>) -> oneshot::Receiver<ThreadId> {
        let (told, hear) = oneshot::channel();
        begin(runtime, async move {
            if let Some(wait) = wait {
                let _ = wait.await;
            }
            let _ = told.send(thread::current().id());
        });
        hear
    }

    #[test]
    fn what_need_not_wait_is_done_at_once_and_the_rest_goes_on() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut done = where_it_runs(runtime.handle(), None);
        assert_eq!(done.try_recv().unwrap(), thread::current().id());
        let (go, wait) = oneshot::channel();
        let mut waiting = where_it_runs(runtime.handle(), Some(wait));
        assert!(waiting.try_recv().is_err(), "it waits");
        go.send(()).unwrap();
        assert_ne!(runtime.block_on(waiting).unwrap(), thread::current().id());
    }

    #[tokio::test(start_paused = true)]
    async fn at_its_deadline_a_request_is_answered_and_what_it_leaves_behind_is_found_when_it_is_done() {
        const MOMENT: Duration = Duration::from_millis(1);
        const HOUR: Duration = Duration::from_secs(3600);
        for limit in [SHORT, LONG] {
            for (takes, result, behind) in [
                (limit - MOMENT, Ok(7), None),
                (limit + HOUR, Ok(7), Some(7)),
                (limit + HOUR, Err(Errno::ENOENT), None),
            ] {
                let (counters, began, mut answers) = (Counters::default(), Instant::now(), Vec::new());
                let operation = async {
                    tokio::time::sleep(takes).await;
                    result
                };
                // Nobody is ever killed as this one.
                let left = answered(&counters, 0, limit, operation, |answer| answers.push((answer, began.elapsed())));
                assert_eq!((left.await, began.elapsed()), (behind, takes));
                let is_late = takes > limit;
                let answer = if is_late { (Err(Errno::ETIMEDOUT), limit) } else { (result, takes) };
                assert_eq!((answers, counters.read().2), (vec![answer], u64::from(is_late)));
            }
        }
    }

    #[test]
    fn time_passes_for_what_waits() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (told, hear) = oneshot::channel();
        begin(runtime.handle(), async move {
            let late = timeout(Duration::from_millis(1), std::future::pending::<()>()).await.is_err();
            let _ = told.send(late);
        });
        assert!(runtime.block_on(hear).unwrap());
    }

    #[test]
    fn a_request_that_panics_ends_nothing_else() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let dropped = Arc::new(AtomicBool::new(false));
        struct Reply(Arc<AtomicBool>);
        impl Drop for Reply {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let reply = Reply(Arc::clone(&dropped));
        begin(runtime.handle(), async move {
            let _reply = reply;
            panic!("on purpose");
        });
        assert!(dropped.load(Ordering::Relaxed));
        assert!(where_it_runs(runtime.handle(), None).try_recv().is_ok());
    }
}
