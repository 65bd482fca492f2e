//! Reading ahead: who reads on where it stopped gets a window that doubles, and what is in the window is brought to this machine
//! before it is asked for. Someone who jumps around pays for nothing but what is read. Over a slow link the window stays as small as what arrives
//! soon.
//!
//! What is brought goes to the cache and, as far as the budget goes, stays in memory until it was read once: most of it is read a moment
//! later, and would have to be read back and opened again for that.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cyx_client::transfer::KnownVersion;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::remote::{Brought, Version};

/// Readers of one file that are told apart.
const STREAMS: usize = 4;
/// First window.
const WINDOW_MIN: u64 = 512 * 1024;
/// Largest window before anything arrived: a reader of what is in the cache may come to its end at any time, and the way is not known then.
const REACH_FIRST: u64 = 4 << 20;
/// Largest window.
const WINDOW_MAX: u64 = 64 << 20;
/// Brought over in one go, at most: less is more requests to the nodes for the same bytes.
const PIECE: u64 = 16 << 20;
/// How far a reader may be ahead of or behind where it was expected: the kernel reads ahead itself, several requests of up to 512 KiB at
/// a time, and not in order.
const SLACK: u64 = 1 << 20;
/// About so long a piece, and all of a window, may take to arrive: who reads waits for the whole of a piece.
const SOON: Duration = Duration::from_secs(5);
/// Bytes that one permit of the budget stands for.
const PERMIT: u64 = 64 * 1024;
/// So long what was brought waits in memory for its reader.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the readers of all files may have ahead of them.
pub(super) struct Budget {
    coming: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Bytes that arrive soon, as those did that arrived last.
    reach: Arc<AtomicU64>,
}

#[derive(Clone, Copy)]
struct Stream {
    /// Where it is expected to go on.
    next: u64,
    window: u64,
    /// Up to here everything was asked for.
    ahead: u64,
    used: u64,
}

/// What is in memory and waits to be read.
struct Waiting {
    version: KnownVersion,
    range: Range<u64>,
    bytes: Bytes,
    /// Bytes of it that nobody read yet.
    left: u64,
    _permit: OwnedSemaphorePermit,
}

#[derive(Default)]
struct State {
    streams: Vec<Stream>,
    clock: u64,
    coming: Vec<(Range<u64>, watch::Receiver<()>)>,
    waiting: Vec<Waiting>,
}

/// What is read ahead of one file.
#[derive(Default)]
pub(super) struct Prefetch {
    state: Arc<Mutex<State>>,
}

impl Budget {
    /// So many bytes on their way, and so many in memory that wait to be read.
    pub(super) fn new(coming: u64, waiting: u64) -> Self {
        let permits = |bytes: u64| usize::try_from(bytes / PERMIT).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self {
            coming: Arc::new(Semaphore::new(permits(coming).max(1))),
            waiting: Arc::new(Semaphore::new(permits(waiting))),
            reach: Arc::new(AtomicU64::new(REACH_FIRST)),
        }
    }
}

/// Of how many bytes it says something how long they took: of a piece of which so many arrived, `None` if that failed. What is in the cache says
/// nothing of the way, nor do few bytes, which take as long as an answer does, or what fails at once.
fn tells(arrived: Option<u64>, piece: u64, took: Duration) -> Option<u64> {
    match arrived {
        Some(bytes) => (bytes > 0 && (bytes >= WINDOW_MIN || took >= SOON)).then_some(bytes),
        None => (took > SOON).then_some(piece),
    }
}

/// Takes note of how long so many bytes took. It grows slowly: a moment's luck says little about the link.
fn note_arrival(reach: &AtomicU64, bytes: u64, took: Duration) {
    let soon = u128::from(bytes) * SOON.as_millis() / took.as_millis().max(1);
    let most = reach.load(Ordering::Relaxed).saturating_mul(2).min(WINDOW_MAX);
    reach.store(u64::try_from(soon).unwrap_or(u64::MAX).clamp(WINDOW_MIN, most), Ordering::Relaxed);
}

/// Room for so many bytes, if there is some now.
fn try_room(budget: &Arc<Semaphore>, bytes: u64) -> Option<OwnedSemaphorePermit> {
    let permits = u32::try_from(bytes.div_ceil(PERMIT)).unwrap_or(u32::MAX);
    Arc::clone(budget).try_acquire_many_owned(permits).ok()
}

impl Prefetch {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes note of a read of a version, and brings over what will probably be read next, as far as the budget goes.
    pub(super) fn note(&self, version: &Arc<dyn Version>, read: Range<u64>, budget: &Budget) {
        let known = version.known();
        let reach = budget.reach.load(Ordering::Relaxed);
        let wanted = {
            let mut state = self.state();
            state.advance(read, known.size, reach)
        };
        let mut at = wanted.start;
        while at < wanted.end {
            let piece = at..wanted.end.min(at + PIECE.min(reach));
            at = piece.end;
            // What does not fit the budget is read when it is asked for.
            let Some(permit) = try_room(&budget.coming, piece.end - piece.start) else { return };
            let (done, coming) = watch::channel(());
            self.state().coming.push((piece.clone(), coming));
            let (version, state) = (Arc::clone(version), Arc::downgrade(&self.state));
            let (waiting, reach) = (Arc::clone(&budget.waiting), Arc::clone(&budget.reach));
            tokio::spawn(async move {
                let began = Instant::now();
                let brought = version.warm(piece.clone()).await;
                let took = began.elapsed();
                let arrived = brought.as_ref().ok();
                let arrived = arrived.map(|brought| brought.iter().map(|(range, _)| range.end - range.start).sum());
                if let Some(bytes) = tells(arrived, piece.end - piece.start, took) {
                    note_arrival(&reach, bytes, took);
                }
                match (brought, state.upgrade()) {
                    (Ok(brought), Some(state)) => lock(&state).keep(known, brought, &waiting),
                    (Ok(_), None) => return,
                    (Err(error), _) => {
                        tracing::debug!(%error, "something was not read ahead");
                        return;
                    }
                }
                drop((permit, done));
                tokio::time::sleep(PATIENCE).await;
                if let Some(state) = state.upgrade() {
                    lock(&state).give_up(&piece);
                }
            });
        }
    }

    /// Waits for what is on its way of a range, so that it is not fetched twice.
    pub(super) async fn settle(&self, range: &Range<u64>) {
        let coming: Vec<watch::Receiver<()>> = {
            let mut state = self.state();
            state.coming.retain(|(_, coming)| coming.has_changed().is_ok());
            let touched = state.coming.iter().filter(|(piece, _)| piece.start < range.end && range.start < piece.end);
            touched.map(|(_, coming)| coming.clone()).collect()
        };
        for mut coming in coming {
            // It ends with an error when the sender is gone.
            let _ = coming.changed().await;
        }
    }

    /// The bytes of a range of a version, if all of it waits in memory. What was read once leaves it.
    pub(super) fn take(&self, version: &KnownVersion, range: &Range<u64>) -> Option<Bytes> {
        self.state().take(version, range)
    }

    /// Forgets all readers: the content is another one.
    pub(super) fn reset(&self) {
        let mut state = self.state();
        state.streams.clear();
        state.waiting.clear();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// What should be brought over now that this was read, of a file of this size; no window is larger than `reach`.
    fn advance(&mut self, read: Range<u64>, size: u64, reach: u64) -> Range<u64> {
        self.clock += 1;
        let clock = self.clock;
        let near = |stream: &&mut Stream| {
            read.start.saturating_add(SLACK) >= stream.next && read.start <= stream.next.saturating_add(SLACK)
        };
        let Some(stream) = self.streams.iter_mut().find(near) else {
            if self.streams.len() >= STREAMS {
                let oldest = self.streams.iter().enumerate().min_by_key(|(_, stream)| stream.used);
                if let Some(oldest) = oldest.map(|(at, _)| at) {
                    self.streams.swap_remove(oldest);
                }
            }
            self.streams.push(Stream { next: read.end, window: 0, ahead: read.end, used: clock });
            return 0..0;
        };
        stream.used = clock;
        if read.end <= stream.next {
            return 0..0;
        }
        stream.next = read.end;
        stream.ahead = stream.ahead.max(stream.next);
        // Half a window is still to come: no need to ask for more yet.
        if stream.window > 0 && stream.ahead - stream.next >= stream.window / 2 {
            return 0..0;
        }
        stream.window = (stream.window * 2).clamp(WINDOW_MIN, reach.clamp(WINDOW_MIN, WINDOW_MAX));
        let wanted = stream.ahead..stream.next.saturating_add(stream.window).min(size);
        if wanted.is_empty() {
            return 0..0;
        }
        stream.ahead = wanted.end;
        wanted
    }

    /// Keeps what was brought of a version, as far as the budget goes.
    fn keep(&mut self, version: KnownVersion, brought: Brought, budget: &Arc<Semaphore>) {
        for (range, bytes) in brought {
            let left = range.end - range.start;
            if bytes.len() as u64 == left
                && let Some(permit) = try_room(budget, left)
            {
                let at = self.waiting.partition_point(|waiting| waiting.range.start < range.start);
                self.waiting.insert(at, Waiting { version, range, bytes, left, _permit: permit });
            }
        }
    }

    fn take(&mut self, version: &KnownVersion, range: &Range<u64>) -> Option<Bytes> {
        let mut at = range.start;
        let mut found = Vec::new();
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.version == *version) {
            let common = waiting.range.start.max(range.start)..waiting.range.end.min(range.end);
            if common.is_empty() {
                continue;
            }
            // Whether all of the range is here or not: nobody will ask for it again.
            waiting.left = waiting.left.saturating_sub(common.end - common.start);
            if common.start == at {
                let local = |at: u64| usize::try_from(at - waiting.range.start).unwrap_or(usize::MAX);
                found.push(waiting.bytes.slice(local(common.start)..local(common.end)));
                at = common.end;
            }
        }
        self.waiting.retain(|waiting| waiting.left > 0);
        match &found[..] {
            _ if at < range.end => None,
            [one] => Some(one.clone()),
            several => Some(several.concat().into()),
        }
    }

    /// Nobody came for it.
    fn give_up(&mut self, piece: &Range<u64>) {
        self.waiting.retain(|waiting| waiting.range.start < piece.start || piece.end < waiting.range.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_of_a_reader_in_order_grows_and_covers_everything_once() {
        let mut state = State::default();
        let (step, size) = (128 * 1024, 200 << 20);
        let mut covered = 0..step;
        assert!(state.advance(0..step, size, WINDOW_MAX).is_empty(), "the first read may be the only one");
        let mut largest = 0;
        for at in (step..size).step_by(usize::try_from(step).unwrap()) {
            let wanted = state.advance(at..at + step, size, WINDOW_MAX);
            covered.end = covered.end.max(at + step);
            if !wanted.is_empty() {
                assert!(wanted.start >= covered.end || wanted.start == covered.end, "nothing twice");
                assert!(wanted.end <= size);
                covered.end = wanted.end;
                largest = largest.max(wanted.end - wanted.start);
            }
        }
        assert!(largest > 8 << 20 && largest <= WINDOW_MAX, "{largest}");
    }

    #[test]
    fn of_the_way_is_learnt_from_what_came_over_it() {
        let (soon, late) = (Duration::from_secs(1), SOON * 2);
        for (arrived, took, learnt) in [
            (Some(0), soon, None),
            (Some(0), late, None),
            (Some(1000), soon, None),
            (Some(1000), late, Some(1000)),
            (Some(WINDOW_MIN), soon, Some(WINDOW_MIN)),
            (None, soon, None),
            (None, late, Some(PIECE)),
        ] {
            assert_eq!(tells(arrived, PIECE, took), learnt, "{arrived:?} in {took:?}");
        }
    }

    #[test]
    fn who_jumps_around_reads_nothing_ahead() {
        let mut state = State::default();
        for at in [900_u64, 3, 500, 77, 1_000, 250, 640, 31] {
            let start = at << 20;
            assert!(state.advance(start..start + 4096, 1 << 40, WINDOW_MAX).is_empty());
        }
    }

    #[test]
    fn several_readers_have_windows_of_their_own() {
        let mut state = State::default();
        let mut asked = [0_u64; 3];
        for step in 0..40_u64 {
            for (reader, asked) in (0..3_u64).zip(&mut asked) {
                let at = (reader << 32) + step * 65_536;
                let wanted = state.advance(at..at + 65_536, 1 << 40, WINDOW_MAX);
                assert!(wanted.is_empty() || wanted.start >> 32 == reader);
                *asked += wanted.end - wanted.start;
            }
        }
        assert!(asked.iter().all(|asked| *asked > 2 << 20), "{asked:?}");
    }
}
