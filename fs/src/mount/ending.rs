//! The end of a mount: what is dirty is sent, then the mount is taken off.
//!
//! | who ends it | open files | changes that cannot be sent |
//! |---|---|---|
//! | `cyx umount` | it stays | it stays, and says how many files are pending |
//! | `cyx umount --force` | go on until they are closed | stay in the journal |
//! | SIGTERM, SIGINT, SIGHUP | go on until they are closed | are tried as long as it helps, then stay in the journal |
//! | `umount`, `fusermount3 -u` | the kernel decides | as with a signal |
//!
//! Nothing that is in the journal is lost: the next mount with the same cache directory sends it.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use super::control::{Refusal, Reply, Service, Status};
use super::point;
use super::ready::Manager;
use crate::errno::Errno;
use crate::vfs::{Filesystem, MountState};

/// A mount that ends by a signal waits for the network as long as something is sent within this time.
const WITHOUT_PROGRESS: Duration = Duration::from_secs(30);
/// A forced end waits this long altogether.
const FORCED: Duration = Duration::from_secs(10);
/// How often it is said how far it is.
const REPORT: Duration = Duration::from_millis(500);
/// The kernel lets go of a mount that is not in use within this time.
const LETTING_GO: Duration = Duration::from_secs(60);

/// The end of one mount.
pub(super) struct Ending {
    fs: Filesystem,
    mountpoint: PathBuf,
    /// Somebody is ending it.
    begun: AtomicBool,
    /// The kernel has let go.
    released: watch::Receiver<bool>,
    /// It was taken off by a request, with so many files pending.
    done: watch::Sender<Option<u64>>,
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
        Self { fs, mountpoint, begun: AtomicBool::new(false), released: receiver, done }
    }

    /// Takes off a mount that nobody has used yet.
    pub(super) async fn abandon(&self) {
        if let Err(error) = self.take_off(true).await {
            tracing::warn!(%error, "the mount could not be taken off");
        }
        self.fs.shutdown().await;
    }

    /// Waits until the mount ends, by whatever means. Returns the number of files that stay in the journal.
    pub(super) async fn wait(&self, manager: &Manager) -> u64 {
        let mut signals = Signals::new();
        let mut done = self.done.subscribe();
        let mut released = self.released.clone();
        tokio::select! {
            // It was a request that ended it, and everything is done.
            Ok(pending) = done.wait_for(Option::is_some) => return pending.unwrap_or_default(),
            () = signals.next() => tracing::info!("asked to end by a signal"),
            _ = released.wait_for(|released| *released) => {}
        }
        // A request may be ending it in this moment; then its end is the end.
        if self.begun.swap(true, Ordering::SeqCst) {
            tokio::select! {
                Ok(pending) = done.wait_for(Option::is_some) => return pending.unwrap_or_default(),
                () = signals.next() => {}
                () = tokio::time::sleep(WITHOUT_PROGRESS) => {}
            }
        }
        manager.stopping("sending changes", WITHOUT_PROGRESS * 2);
        let pending = tokio::select! {
            pending = self.drain_while_it_helps(manager) => pending,
            // Whoever asks twice does not want to wait.
            () = signals.next() => self.fs.state().dirty_files,
        };
        if let Err(error) = self.take_off(true).await {
            tracing::warn!(%error, "the mount could not be taken off");
        }
        self.fs.shutdown().await;
        if pending > 0 {
            tracing::warn!(
                files = pending,
                "changes are not sent yet; the next mount with this cache directory sends them"
            );
        }
        pending
    }

    /// Sends what is dirty until everything is sent or nothing more gets through.
    async fn drain_while_it_helps(&self, manager: &Manager) -> u64 {
        let progress = Progress::new();
        let tell = |state: &MountState| {
            if progress.note(state) {
                manager.stopping(&format!("sending {} bytes", state.dirty_bytes), WITHOUT_PROGRESS * 2);
            }
        };
        let drained = self.fs.drain(&tell);
        tokio::select! {
            drained = drained => self.pending(drained),
            () = progress.stalled() => self.fs.state().dirty_files,
        }
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

    /// Ends it at the request of a program that listens to `replies`; if it stops listening, the mount stays.
    async fn end_by_request(&self, force: bool, replies: &mpsc::Sender<Reply>) -> Result<u64, (Refusal, u64)> {
        let mut pending = self.drain_for(force, replies).await?;
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
            let late = tokio::time::timeout(FORCED, self.fs.drain(&|_| {})).await;
            pending = late.map_or_else(|_| self.fs.state().dirty_files, |drained| self.pending(drained));
        } else if !force {
            pending = 0;
        }
        self.fs.shutdown().await;
        Ok(pending)
    }

    async fn drain_for(&self, force: bool, replies: &mpsc::Sender<Reply>) -> Result<u64, (Refusal, u64)> {
        let drained = self.fs.drain(&|_| {});
        let reports = async {
            let mut interval = tokio::time::interval(REPORT);
            loop {
                interval.tick().await;
                let _ = replies.send(Reply::Ending(Box::new(self.status()))).await;
            }
        };
        let limit = async { if force { tokio::time::sleep(FORCED).await } else { std::future::pending().await } };
        let pending = tokio::select! {
            drained = drained => self.pending(drained),
            () = limit => self.fs.state().dirty_files,
            () = replies.closed() => return Err((Refusal::Pending, self.fs.state().dirty_files)),
            () = reports => 0,
        };
        if pending > 0 && !force { Err((Refusal::Pending, pending)) } else { Ok(pending) }
    }
}

impl Service for Ending {
    fn status(&self) -> Status {
        Status::new(self.fs.state(), self.begun.load(Ordering::SeqCst))
    }

    fn unmount(self: Arc<Self>, force: bool, replies: mpsc::Sender<Reply>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            if self.begun.swap(true, Ordering::SeqCst) {
                let refused = Reply::Refused { reason: Refusal::Ending, pending_files: self.fs.state().dirty_files };
                let _ = replies.send(refused).await;
                return;
            }
            match self.end_by_request(force, &replies).await {
                Ok(pending_files) => {
                    let _ = replies.send(Reply::Gone { pending_files }).await;
                    // The process ends next; the word has to be out before.
                    let _ = tokio::time::timeout(FORCED, replies.closed()).await;
                    self.done.send_replace(Some(pending_files));
                }
                Err((reason, pending_files)) => {
                    self.begun.store(false, Ordering::SeqCst);
                    let _ = replies.send(Reply::Refused { reason, pending_files }).await;
                }
            }
        })
    }
}

/// Notices when nothing gets through any more.
struct Progress {
    last: Mutex<(u64, Instant)>,
}

impl Progress {
    fn new() -> Self {
        Self { last: Mutex::new((u64::MAX, Instant::now())) }
    }

    /// True if less is dirty than ever before.
    fn note(&self, state: &MountState) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let less = state.dirty_bytes < last.0;
        if less {
            *last = (state.dirty_bytes, Instant::now());
        }
        less
    }

    async fn stalled(&self) {
        loop {
            let since = self.last.lock().unwrap_or_else(PoisonError::into_inner).1;
            let left = WITHOUT_PROGRESS.saturating_sub(since.elapsed());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
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

    #[test]
    fn progress_is_when_less_is_dirty() {
        let progress = Progress::new();
        let dirty = |dirty_bytes| MountState { dirty_bytes, ..MountState::default() };
        assert!(progress.note(&dirty(10)));
        assert!(!progress.note(&dirty(10)));
        assert!(!progress.note(&dirty(20)));
        assert!(progress.note(&dirty(9)));
    }

    #[tokio::test]
    async fn a_network_that_takes_nothing_is_not_waited_for_for_ever() {
        // Set back instead of being waited for.
        let progress = Progress::new();
        if let Some(past) = Instant::now().checked_sub(WITHOUT_PROGRESS) {
            *progress.last.lock().unwrap() = (5, past);
            progress.stalled().await;
        }
    }
}
