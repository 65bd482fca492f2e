//! The end of a mount: what is dirty is sent, then the mount is taken off.
//!
//! | who ends it | open files | changes that cannot be sent | whoever is ending it already |
//! |---|---|---|---|
//! | `cyx umount` | it stays | it stays, and says how many files are pending | is waited for |
//! | `cyx umount --force` | fail from then on | stay in the journal | stops sending, and says so |
//! | SIGTERM, SIGINT, SIGHUP | fail from then on | are tried as long as it helps, then stay in the journal | is waited for |
//! | `umount`, `fusermount3 -u` | the kernel decides | as with a signal | as with a signal |
//!
//! Nothing that is in the journal is lost: the next mount with the same cache directory sends it.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{MutexGuard, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::control::{Refusal, Reply, Service, Status};
use super::point;
use super::ready::Manager;
use crate::errno::Errno;
use crate::sync::progress::WITHOUT_PROGRESS;
use crate::vfs::{Filesystem, MountState};

/// A forced end waits this long altogether.
const FORCED: Duration = Duration::from_secs(10);
/// How often it is said how far it is.
const REPORT: Duration = Duration::from_millis(500);
/// The kernel lets go of a mount that is not in use within this time.
const LETTING_GO: Duration = Duration::from_secs(60);

/// While it lives, nobody sends changes but whoever ends the mount by force.
struct Forcing<'a>(&'a watch::Sender<u32>);

impl<'a> Forcing<'a> {
    fn begin(forced: &'a watch::Sender<u32>) -> Self {
        forced.send_modify(|count| *count += 1);
        Self(forced)
    }
}

impl Drop for Forcing<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// The end of one mount.
pub(super) struct Ending {
    fs: Filesystem,
    mountpoint: PathBuf,
    /// Held by whoever is ending it.
    turn: tokio::sync::Mutex<()>,
    /// How many want to end it by force.
    forced: watch::Sender<u32>,
    /// Requests to end it that have not got their last word.
    requests: TaskTracker,
    /// The kernel has let go.
    released: watch::Receiver<bool>,
    /// It is off, with so many files pending.
    done: watch::Sender<Option<u64>>,
    /// How it was before it let go of everything.
    end: OnceLock<Status>,
}

impl Ending {
    pub(super) fn new(fs: Filesystem, mountpoint: PathBuf, ended: oneshot::Receiver<()>) -> Self {
        let (released, receiver) = watch::channel(false);
        tokio::spawn(async move {
            // An error means that the session is gone without a word: it is over all the same.
            let _ = ended.await;
            released.send_replace(true);
        });
        let done = watch::Sender::new(None);
        Self {
            fs,
            mountpoint,
            turn: tokio::sync::Mutex::default(),
            forced: watch::Sender::new(0),
            requests: TaskTracker::new(),
            released: receiver,
            done,
            end: OnceLock::new(),
        }
    }

    /// Takes off a mount that nobody has used yet.
    pub(super) async fn abandon(&self) {
        if let Err(error) = self.take_off(true).await {
            tracing::warn!(%error, "the mount could not be taken off");
        }
        self.shut_down().await;
    }

    /// Waits until the mount ends, by whatever means. Returns the number of files that stay in the journal.
    pub(super) async fn wait(&self, manager: &Manager) -> u64 {
        let pending = self.end(manager).await;
        // Whoever asked for the end as well hears of it before the process is gone.
        self.done.send_replace(Some(pending));
        self.requests.close();
        let _ = tokio::time::timeout(FORCED, self.requests.wait()).await;
        pending
    }

    async fn end(&self, manager: &Manager) -> u64 {
        let mut signals = Signals::new();
        let mut done = self.done.subscribe();
        let mut released = self.released.clone();
        tokio::select! {
            // It was a request that ended it, and everything is done.
            Ok(pending) = done.wait_for(Option::is_some) => return pending.unwrap_or_default(),
            () = signals.next() => tracing::info!("asked to end by a signal"),
            _ = released.wait_for(|released| *released) => {}
        }
        let mut asked_twice = false;
        let (pending, _turn) = loop {
            // A request may be ending it in this moment; then its end is the end.
            let turn = tokio::select! {
                biased;
                Ok(pending) = done.wait_for(Option::is_some) => return pending.unwrap_or_default(),
                turn = self.turn() => Some(turn),
                () = signals.next() => { asked_twice = true; None }
                () = tokio::time::sleep(WITHOUT_PROGRESS) => None,
            };
            if asked_twice {
                // Whoever asks twice does not want to wait.
                break (self.fs.state().dirty_files, turn);
            }
            manager.stopping("sending changes", WITHOUT_PROGRESS * 2);
            tokio::select! {
                pending = self.drain_while_it_helps(manager) => break (pending, turn),
                () = signals.next() => break (self.fs.state().dirty_files, turn),
                () = self.overtaken() => {}
            }
        };
        if let Err(error) = self.take_off(true).await {
            tracing::warn!(%error, "the mount could not be taken off");
        }
        self.shut_down().await;
        if pending > 0 {
            tracing::warn!(
                files = pending,
                "changes are not sent yet; the next mount with this cache directory sends them"
            );
        }
        pending
    }

    /// Waits until nobody else is ending it, or is about to by force.
    async fn turn(&self) -> MutexGuard<'_, ()> {
        loop {
            // The sender is here, so this ends with nothing but that.
            let _ = self.forced.subscribe().wait_for(|count| *count == 0).await;
            let turn = self.turn.lock().await;
            if *self.forced.borrow() == 0 {
                return turn;
            }
        }
    }

    /// Returns when somebody ends it by force.
    async fn overtaken(&self) {
        let _ = self.forced.subscribe().wait_for(|count| *count > 0).await;
    }

    /// Sends what is dirty until everything is sent or nothing more gets through.
    async fn drain_while_it_helps(&self, manager: &Manager) -> u64 {
        let tell = |state: &MountState| {
            manager.stopping(&format!("sending {} bytes", state.dirty_bytes), WITHOUT_PROGRESS * 2);
        };
        self.pending(self.fs.drain(&tell).await)
    }

    fn pending(&self, drained: Result<u64, Errno>) -> u64 {
        drained.unwrap_or_else(|error| {
            tracing::warn!(%error, "changes could not be sent");
            self.fs.state().dirty_files.max(1)
        })
    }

    /// Takes the mount off, unless the kernel has let go already.
    async fn take_off(&self, lazily: bool) -> io::Result<()> {
        if *self.released.borrow() {
            return Ok(());
        }
        let mountpoint = self.mountpoint.clone();
        // Answers to what is flushed by this call come from other threads of this process.
        let result = tokio::task::spawn_blocking(move || point::unmount(&mountpoint, lazily)).await;
        result.unwrap_or_else(|error| Err(io::Error::other(error)))?;
        if !lazily {
            let mut released = self.released.clone();
            let _ = tokio::time::timeout(LETTING_GO, released.wait_for(|released| *released)).await;
        }
        Ok(())
    }

    /// Ends it at the request of a program. Says what became of it, which may be that somebody else was faster.
    async fn end_by_request(&self, force: bool) -> Reply {
        let forcing = force.then(|| Forcing::begin(&self.forced));
        let mut done = self.done.subscribe();
        let turn = async { if forcing.is_some() { self.turn.lock().await } else { self.turn().await } };
        let _turn = tokio::select! {
            biased;
            Ok(pending) = done.wait_for(Option::is_some) => {
                return self.gone(pending.unwrap_or_default());
            }
            turn = turn => turn,
        };
        match self.send_and_take_off(force).await {
            Ok(pending_files) => {
                // Before anybody else has a turn.
                self.done.send_replace(Some(pending_files));
                self.gone(pending_files)
            }
            Err((reason, pending_files)) => Reply::Refused { reason, pending_files },
        }
    }

    fn gone(&self, pending_files: u64) -> Reply {
        Reply::Gone { pending_files, end: Box::new(self.end.get().cloned().unwrap_or_default()) }
    }

    async fn shut_down(&self) {
        self.end.get_or_init(|| self.status());
        self.fs.shutdown().await;
    }

    async fn send_and_take_off(&self, force: bool) -> Result<u64, (Refusal, u64)> {
        let until = Instant::now() + FORCED;
        let mut pending = self.drain_until(until, force).await?;
        match self.take_off(force).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Err((Refusal::Busy, pending)),
            Err(error) => {
                tracing::warn!(%error, "the mount could not be taken off");
                return Err((Refusal::System, pending));
            }
        }
        // What was written between the last look and the end.
        if self.fs.state().dirty_files > 0 {
            let until = if force { until } else { Instant::now() + FORCED };
            let late = tokio::time::timeout_at(until, self.fs.drain(&|_| {})).await;
            pending = late.map_or_else(|_| self.fs.state().dirty_files, |drained| self.pending(drained));
        } else if !force {
            pending = 0;
        }
        self.shut_down().await;
        Ok(pending)
    }

    async fn drain_until(&self, until: Instant, force: bool) -> Result<u64, (Refusal, u64)> {
        let drained = self.fs.drain(&|_| {});
        let limit = async { if force { tokio::time::sleep_until(until).await } else { std::future::pending().await } };
        let pending = tokio::select! {
            drained = drained => self.pending(drained),
            () = limit => self.fs.state().dirty_files,
            () = self.overtaken(), if !force => return Err((Refusal::Overtaken, self.fs.state().dirty_files)),
        };
        if pending > 0 && !force { Err((Refusal::Pending, pending)) } else { Ok(pending) }
    }

    /// Says how far it is, for as long as somebody listens.
    async fn report_to(&self, replies: &mpsc::Sender<Reply>) {
        let mut interval = tokio::time::interval(REPORT);
        loop {
            interval.tick().await;
            if replies.send(Reply::Ending(Box::new(self.status()))).await.is_err() {
                return;
            }
        }
    }
}

impl Service for Ending {
    fn status(&self) -> Status {
        Status::new(self.fs.state(), self.turn.try_lock().is_err())
    }

    fn unmount(self: Arc<Self>, force: bool, replies: mpsc::Sender<Reply>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let _waits_for_its_word = self.requests.token();
            let last = tokio::select! {
                last = self.end_by_request(force) => last,
                // Nobody waits for it any more: the mount stays.
                () = self.report_to(&replies) => return,
            };
            let _ = replies.send(last).await;
            let _ = tokio::time::timeout(FORCED, replies.closed()).await;
        })
    }
}

/// The signals that ask a program to end.
struct Signals {
    all: Vec<Signal>,
}

impl Signals {
    fn new() -> Self {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let all = kinds.into_iter().filter_map(|kind| signal(kind).inspect_err(|error| tracing::warn!(%error)).ok());
        Self { all: all.collect() }
    }

    async fn next(&mut self) {
        if self.all.is_empty() {
            std::future::pending::<()>().await;
        }
        let waiting = self.all.iter_mut().map(|signal| Box::pin(signal.recv()));
        let _ = futures_util::future::select_all(waiting).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_forced_end_is_noticed_at_once_and_forgotten_when_it_is_given_up() {
        let forced = watch::Sender::new(0);
        let (first, second) = (Forcing::begin(&forced), Forcing::begin(&forced));
        let mut seen = forced.subscribe();
        assert_eq!(*seen.wait_for(|count| *count > 0).await.unwrap(), 2);
        drop(first);
        assert!(seen.has_changed().unwrap() && *seen.borrow() == 1);
        drop(second);
        assert_eq!(*seen.borrow(), 0);
    }
}
