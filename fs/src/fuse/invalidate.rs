//! Telling the kernel what to forget.
//!
//! The kernel takes locks of the inode or directory while it forgets, and whoever holds one of them may be waiting for an answer of
//! ours. Therefore calls only put a note into a queue, and threads of their own wait for the kernel: some for names, some for
//! inodes, so that one that waits does not hold up the others. What concerns one inode, or names in one directory, keeps its order.
//!
//! An answer that was computed before a change may be sent after the kernel was told to forget; the kernel would then remember
//! something old for as long as the answer allows. [`Epoch`] closes that gap: an answer that a change overtook allows nothing.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use fuser::{INodeNo, Notifier};

use crate::attributes::Ino;
use crate::vfs::Invalidator;

/// Counts changes of others, and what the kernel was told to forget.
#[derive(Debug, Default)]
pub(super) struct Epoch {
    count: AtomicU64,
    /// Inodes of which the kernel has content that it is yet to be told to forget, and how often.
    stale: Mutex<HashMap<Ino, u32>>,
    /// Read-held while an answer is sent; taken once between a change and its notice.
    sending: RwLock<()>,
}

impl Epoch {
    /// The present count; taken before an answer is computed.
    pub(super) fn now(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Sends an answer that may be remembered for `ttl`, or not at all if anything was changed by others `since`.
    pub(super) fn answer(&self, since: u64, ttl: Duration, send: impl FnOnce(Duration)) {
        let _sending = self.sending.read().unwrap_or_else(PoisonError::into_inner);
        send(if self.now() == since { ttl } else { Duration::ZERO });
    }

    /// Whether the kernel may have content of an inode that is not of now. It does not keep that when the file is opened.
    pub(super) fn is_stale(&self, ino: Ino) -> bool {
        self.stale().contains_key(&ino)
    }

    fn stale(&self) -> MutexGuard<'_, HashMap<Ino, u32>> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, ino: Ino) {
        *self.stale().entry(ino).or_default() += 1;
    }

    fn told(&self, ino: Ino) {
        if let Entry::Occupied(mut waiting) = self.stale().entry(ino) {
            *waiting.get_mut() -= 1;
            if *waiting.get() == 0 {
                waiting.remove();
            }
        }
    }

    fn advance(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until answers that do not know of the change yet have been sent. Writing them does not wait for anybody.
    fn pass(&self) {
        drop(self.sending.write().unwrap_or_else(PoisonError::into_inner));
    }
}

enum Name {
    Changed { parent: Ino, name: Vec<u8> },
    Deleted { parent: Ino, ino: Ino, name: Vec<u8> },
}

/// What the kernel can be told to forget.
trait Kernel: Clone + Send + 'static {
    /// Attributes and content.
    fn forget_inode(&self, ino: Ino, range: &Range<u64>) -> io::Result<()>;
    /// A name.
    fn forget_name(&self, parent: Ino, name: &[u8]) -> io::Result<()>;
    /// A name that leads nowhere any more.
    fn delete_name(&self, parent: Ino, ino: Ino, name: &[u8]) -> io::Result<()>;
}

impl Kernel for Notifier {
    fn forget_inode(&self, ino: Ino, range: &Range<u64>) -> io::Result<()> {
        let (offset, len) = kernel_range(range);
        self.inval_inode(INodeNo(ino), offset, len)
    }

    fn forget_name(&self, parent: Ino, name: &[u8]) -> io::Result<()> {
        self.inval_entry(INodeNo(parent), OsStr::from_bytes(name))
    }

    fn delete_name(&self, parent: Ino, ino: Ino, name: &[u8]) -> io::Result<()> {
        self.delete(INodeNo(parent), INodeNo(ino), OsStr::from_bytes(name))
    }
}

/// Threads that wait for the kernel, for inodes and for names each. It may keep one waiting for as long as a request takes.
const THREADS: u64 = 4;

/// Queues with a thread behind each, which ends when they are dropped.
struct Queues<T>(Vec<Sender<T>>);

impl<T: Send + 'static> Queues<T> {
    fn start(name: &str, serve: impl Fn(&Receiver<T>) + Clone + Send + 'static) -> io::Result<Self> {
        let start = |_| {
            let (sender, queue) = mpsc::channel();
            let serve = serve.clone();
            thread::Builder::new().name(name.to_owned()).spawn(move || serve(&queue))?;
            Ok(sender)
        };
        (0..THREADS).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// What is put in with the same number is done in order.
    fn put(&self, ino: Ino, what: T) {
        let queue = usize::try_from(ino % THREADS).ok().and_then(|at| self.0.get(at));
        // The threads end with the mount: nobody is left who remembers anything.
        let _ = queue.map(|queue| queue.send(what));
    }
}

/// What is to be forgotten of an inode.
struct Content {
    ino: Ino,
    range: Range<u64>,
    /// Called when it is forgotten.
    then: Option<Box<dyn FnOnce() + Send>>,
}

/// The queues in front of the kernel. Ends its threads when dropped.
pub(super) struct KernelInvalidator {
    epoch: Arc<Epoch>,
    inodes: Queues<Content>,
    names: Queues<Name>,
}

impl KernelInvalidator {
    pub(super) fn start(notifier: Notifier, epoch: Arc<Epoch>) -> io::Result<Self> {
        Self::start_for(notifier, epoch)
    }

    fn start_for<K: Kernel>(kernel: K, epoch: Arc<Epoch>) -> io::Result<Self> {
        let (inode_kernel, inode_epoch) = (kernel.clone(), Arc::clone(&epoch));
        let inodes = Queues::start("cyx-inval-inode", move |queue| forget_inodes(queue, &inode_kernel, &inode_epoch))?;
        let name_epoch = Arc::clone(&epoch);
        let names = Queues::start("cyx-inval-name", move |queue| forget_names(queue, &kernel, &name_epoch))?;
        Ok(Self { epoch, inodes, names })
    }

    fn forget(&self, ino: Ino, range: Range<u64>, then: Option<Box<dyn FnOnce() + Send>>) {
        if !range.is_empty() {
            self.epoch.put(ino);
        }
        self.epoch.advance();
        self.inodes.put(ino, Content { ino, range, then });
    }
}

impl Invalidator for KernelInvalidator {
    fn overtake(&self) {
        self.epoch.advance();
    }

    fn inode(&self, ino: Ino, range: Range<u64>) {
        self.forget(ino, range, None);
    }

    fn inode_then(&self, ino: Ino, then: Box<dyn FnOnce() + Send>) {
        self.forget(ino, 0..u64::MAX, Some(then));
    }

    fn entry(&self, parent: Ino, name: &[u8]) {
        self.epoch.advance();
        self.names.put(parent, Name::Changed { parent, name: name.to_vec() });
    }

    fn delete(&self, parent: Ino, ino: Ino, name: &[u8]) {
        self.epoch.advance();
        self.names.put(parent, Name::Deleted { parent, ino, name: name.to_vec() });
    }
}

fn forget_inodes(queue: &Receiver<Content>, kernel: &impl Kernel, epoch: &Epoch) {
    let mut again = Again::default();
    loop {
        let (Content { ino, range, then }, tries) = match again.due(Instant::now()) {
            Due::Now((ino, range, tries)) => (Content { ino, range, then: None }, tries),
            Due::Never => match queue.recv() {
                Ok(content) => (content, 0),
                Err(_) => return,
            },
            Due::In(pause) => match queue.recv_timeout(pause) {
                Ok(content) => (content, 0),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            },
        };
        epoch.pass();
        let forgot = kernel.forget_inode(ino, &range);
        if tries == 0 && !range.is_empty() {
            epoch.told(ino);
        }
        if let Some(then) = then {
            then();
        }
        let is_unknown = forgot.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        again.put(ino, if is_unknown { range } else { 0..0 }, tries, Instant::now());
        note(forgot);
    }
}

/// When the kernel is told once more to forget the attributes of an inode. Whoever looks it up may have been sent the answer and not have
/// made the inode of it yet: what is to be forgotten then is not known, or is forgotten and set to the answer afterwards (Linux 6.18
/// showed such sizes until the answer's time was over). Names have no such gap, for a lookup holds the lock of the directory.
const AGAIN: [Duration; 3] = [Duration::from_millis(10), Duration::from_millis(100), Duration::from_secs(1)];

/// Inodes that are to be forgotten again; those that are due first come first in each list.
#[derive(Default)]
struct Again {
    lists: [VecDeque<(Instant, Ino, Range<u64>)>; AGAIN.len()],
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Now((Ino, Range<u64>, usize)),
    In(Duration),
    Never,
}

impl Again {
    fn put(&mut self, ino: Ino, range: Range<u64>, tries: usize, now: Instant) {
        if let (Some(list), Some(pause)) = (self.lists.get_mut(tries), AGAIN.get(tries)) {
            list.push_back((now + *pause, ino, range));
        }
    }

    fn due(&mut self, now: Instant) -> Due {
        let mut first: Option<Instant> = None;
        for (tries, list) in self.lists.iter_mut().enumerate() {
            let Some((at, ..)) = list.front() else { continue };
            if *at > now {
                first = Some(first.map_or(*at, |first| first.min(*at)));
            } else if let Some((_, ino, range)) = list.pop_front() {
                return Due::Now((ino, range, tries + 1));
            }
        }
        first.map_or(Due::Never, |first| Due::In(first - now))
    }
}

fn forget_names(queue: &Receiver<Name>, kernel: &impl Kernel, epoch: &Epoch) {
    while let Ok(name) = queue.recv() {
        epoch.pass();
        note(match name {
            Name::Changed { parent, name } => kernel.forget_name(parent, &name),
            // The name leads elsewhere by now, or something in it is in use: then it is only looked up again.
            Name::Deleted { parent, ino, name } => {
                kernel.delete_name(parent, ino, &name).or_else(|_| kernel.forget_name(parent, &name))
            }
        });
    }
}

/// Offset and length as the kernel takes them: a negative offset means attributes only, a length of zero all that follows.
fn kernel_range(range: &Range<u64>) -> (i64, i64) {
    if range.start >= range.end {
        return (-1, 0);
    }
    let Ok(offset) = i64::try_from(range.start) else { return (-1, 0) };
    (offset, i64::try_from(range.end - range.start).unwrap_or(0))
}

/// What the kernel does not know it need not forget; nor has it anything to forget once it is unmounted.
fn note(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "the kernel did not forget");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tells what it was told to forget, and keeps whoever names the inode or directory [`BUSY`] waiting.
    #[derive(Clone)]
    struct SlowKernel {
        told: Sender<(Ino, String)>,
        go: Arc<Mutex<Receiver<()>>>,
    }

    const BUSY: Ino = 100;

    impl SlowKernel {
        fn hear(&self, ino: Ino, what: String) -> io::Result<()> {
            if ino == BUSY {
                let _ = self.go.lock().unwrap().recv();
            }
            let _ = self.told.send((ino, what));
            Ok(())
        }
    }

    impl Kernel for SlowKernel {
        fn forget_inode(&self, ino: Ino, range: &Range<u64>) -> io::Result<()> {
            // Those that are forgotten again have no content.
            if range.is_empty() { Ok(()) } else { self.hear(ino, range.start.to_string()) }
        }

        fn forget_name(&self, parent: Ino, name: &[u8]) -> io::Result<()> {
            self.hear(parent, String::from_utf8_lossy(name).into_owned())
        }

        fn delete_name(&self, _parent: Ino, _ino: Ino, _name: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::DirectoryNotEmpty.into())
        }
    }

    #[test]
    fn what_the_kernel_is_slow_to_forget_holds_up_little_else_and_keeps_its_order() {
        let ((told, heard), (go, wait)) = (mpsc::channel(), mpsc::channel());
        let kernel = SlowKernel { told, go: Arc::new(Mutex::new(wait)) };
        let epoch = Arc::new(Epoch::default());
        let invalidator = KernelInvalidator::start_for(kernel, Arc::clone(&epoch)).unwrap();
        let next = || heard.recv_timeout(Duration::from_secs(20)).expect("nothing else is held up");
        invalidator.inode(BUSY, 1..9);
        invalidator.inode(BUSY, 2..9);
        invalidator.inode(BUSY + 1, 3..9);
        assert_eq!(next(), (BUSY + 1, "3".to_owned()));
        invalidator.entry(BUSY, b"first");
        invalidator.delete(BUSY, 7, b"second");
        invalidator.delete(BUSY + 1, 8, b"other");
        assert_eq!(next(), (BUSY + 1, "other".to_owned()));
        assert!(epoch.is_stale(BUSY), "whoever opens it has the kernel forget it");
        drop(go);
        let mut late: Vec<String> = (0..4).map(|_| next().1).collect();
        // Names and inodes have no order among each other.
        late.sort_by_key(|what| what.parse::<u64>().is_err());
        assert_eq!(late, ["1", "2", "first", "second"]);
        drop(invalidator);
        assert_eq!(heard.recv(), Err(mpsc::RecvError), "the threads end");
        assert!(!epoch.is_stale(BUSY) && !epoch.is_stale(BUSY + 1));
    }

    #[test]
    fn ranges_are_what_the_kernel_takes() {
        assert_eq!(kernel_range(&(0..0)), (-1, 0));
        assert_eq!(kernel_range(&(0..u64::MAX)), (0, 0));
        assert_eq!(kernel_range(&(4096..8192)), (4096, 4096));
        assert_eq!(kernel_range(&(u64::MAX - 1..u64::MAX)), (-1, 0));
    }

    #[test]
    fn what_is_forgotten_is_forgotten_again_later_and_later() {
        let (mut again, start) = (Again::default(), Instant::now());
        assert_eq!(again.due(start), Due::Never);
        again.put(7, 0..9, 0, start);
        again.put(8, 0..0, 1, start);
        assert_eq!(again.due(start), Due::In(AGAIN[0]));
        assert_eq!(again.due(start + AGAIN[0]), Due::Now((7, 0..9, 1)));
        assert_eq!(again.due(start + AGAIN[0]), Due::In(AGAIN[1] - AGAIN[0]));
        assert_eq!(again.due(start + AGAIN[1]), Due::Now((8, 0..0, 2)));
        again.put(7, 0..9, AGAIN.len(), start);
        assert_eq!(again.due(start + Duration::from_secs(60)), Due::Never, "it is given up");
    }

    #[test]
    fn an_answer_that_a_change_overtook_is_not_remembered() {
        let epoch = Epoch::default();
        let long = Duration::from_secs(60);
        let since = epoch.now();
        let mut allowed = None;
        epoch.answer(since, long, |ttl| allowed = Some(ttl));
        assert_eq!(allowed, Some(long));
        epoch.advance();
        epoch.answer(since, long, |ttl| allowed = Some(ttl));
        assert_eq!(allowed, Some(Duration::ZERO));
        epoch.pass();
        epoch.answer(epoch.now(), long, |ttl| allowed = Some(ttl));
        assert_eq!(allowed, Some(long));
    }
}
