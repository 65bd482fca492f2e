//! Memory by permits: whoever wants a buffer waits until there is room for it, so that a transfer's size never shows in the
//! size of the process. Buffers are kept and lent again, because fresh memory costs a page fault for every 4 KiB.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cyx_core::units::KIB;
use memmap2::MmapMut;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Large buffers are made in multiples of this, so that few different sizes are about.
const GRAIN: usize = 256 * 1024;

/// Bytes of the buffer that is made when one of `len` is asked for: for large ones a little more, so that sealed and plain bytes of
/// the same content take the same buffers in turn.
const fn room_for(len: usize) -> usize {
    if len < GRAIN { len } else { (len + len / 256).next_multiple_of(GRAIN) }
}

/// As [`room_for`], for a buffer that arrives and one beside it. What arrives waits in the windows of connections, which are memory as well:
/// of ten pieces that were read at once, a quarter was seen there.
const fn room_to_read(arrives: usize, beside: usize) -> usize {
    room_for(arrives).saturating_add(arrives / 4).saturating_add(room_for(beside))
}

/// Smaller buffers than this are not kept: the allocator has them at hand.
const KEPT_MIN: usize = 64 * 1024;
/// So many buffers are kept at most, so that looking for one takes no time.
const KEPT_COUNT: usize = 64;

/// The memory of an engine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Budget {
    shared: Arc<Shared>,
}

struct Shared {
    permits: Arc<Semaphore>,
    /// All permits, one for each KiB.
    total: u32,
    idle: Mutex<Idle>,
}

/// Buffers that nobody uses.
#[derive(Default)]
struct Idle {
    /// The one that was given back last at the end, each with what `returned` was then.
    buffers: Vec<(Memory, u64)>,
    /// Bytes of all buffers that were ever given back.
    returned: u64,
}

/// Memory that the kernel has given, or the allocator. Large buffers are mappings of their own: the C library would keep what is freed of
/// them, the more the larger they are, and beyond every bound that is kept here. They begin at a page, so that disks can be written to
/// from them directly.
enum Memory {
    Allocated(Vec<u8>),
    Mapped(MmapMut),
}

/// A buffer to write to, as long as was asked for. What is in it is left over from earlier use.
pub(crate) struct Buffer {
    memory: Memory,
    len: usize,
}

/// A buffer that goes back when this is dropped.
pub(crate) struct PooledBuffer {
    pub(crate) bytes: Buffer,
    permit: Option<OwnedSemaphorePermit>,
    shared: Arc<Shared>,
}

/// A buffer that is only read any more, and may be shared. Its room is free when this is dropped, and it goes back when nobody else
/// reads it either.
pub(crate) struct FrozenBuffer {
    bytes: Bytes,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Room for several buffers, taken at once: those who would take them one by one could each hold what the others wait for.
pub(crate) struct Room {
    permit: OwnedSemaphorePermit,
    shared: Arc<Shared>,
}

impl Budget {
    /// Lends at most `bytes` at a time.
    pub(crate) fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes / KIB).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 3);
        let permits = Arc::new(Semaphore::new(total as usize));
        Self { shared: Arc::new(Shared { permits, total, idle: Mutex::default() }) }
    }

    /// Waits for a buffer of `len` bytes. Whoever asked first is served first. One that is larger than the whole budget waits
    /// until everything else is back.
    pub(crate) async fn lend(&self, len: usize) -> PooledBuffer {
        let permit = self.lend_permit(room_for(len)).await;
        self.shared.fill(len, Some(permit))
    }

    /// Two buffers at once, so that nobody waits for the second while others hold what is left: for what arrives, and for what becomes
    /// of it. The second may be empty.
    pub(crate) async fn lend_two(&self, first: usize, second: usize) -> (PooledBuffer, PooledBuffer) {
        let both = self.lend_permit(room_to_read(first, second)).await;
        self.fill_two(first, second, both)
    }

    /// As [`Self::lend_two`], if there is room now.
    pub(crate) fn try_lend_two(&self, first: usize, second: usize) -> Option<(PooledBuffer, PooledBuffer)> {
        let wanted = self.permits_for(room_to_read(first, second));
        let both = Arc::clone(&self.shared.permits).try_acquire_many_owned(wanted).ok()?;
        Some(self.fill_two(first, second, both))
    }

    fn fill_two(&self, first: usize, second: usize, mut both: OwnedSemaphorePermit) -> (PooledBuffer, PooledBuffer) {
        // If the two are larger than the whole budget, the permit is smaller than they are.
        let split = both.split(permits(room_for(second)) as usize);
        (self.shared.fill(first, Some(both)), self.shared.fill(second, split))
    }

    /// Waits for room for `count` buffers of `len` bytes. Of more than the whole budget there is no room twice at a time.
    pub(crate) async fn room(&self, count: usize, len: usize) -> Room {
        let permit = self.lend_permit(room_for(len).saturating_mul(count)).await;
        Room { permit, shared: Arc::clone(&self.shared) }
    }

    fn permits_for(&self, len: usize) -> u32 {
        permits(len).clamp(1, self.shared.total)
    }

    async fn lend_permit(&self, len: usize) -> OwnedSemaphorePermit {
        let wanted = self.permits_for(len);
        loop {
            // The semaphore is never closed.
            if let Ok(permit) = Arc::clone(&self.shared.permits).acquire_many_owned(wanted).await {
                return permit;
            }
        }
    }

    /// A buffer for somebody who holds one already and will give that one back in exchange. It is not waited for, because
    /// what is waited for may be held by others who do the same; so it may exceed the budget for as long as both exist.
    pub(crate) fn lend_beside(&self, len: usize) -> PooledBuffer {
        let permit = Arc::clone(&self.shared.permits).try_acquire_many_owned(permits(room_for(len))).ok();
        self.shared.fill(len, permit)
    }
}

impl Room {
    /// A buffer of what was taken. One that was not foreseen is not waited for, and is not kept afterwards.
    pub(crate) fn lend(&mut self, len: usize) -> PooledBuffer {
        let part = self.permit.split(permits(room_for(len)) as usize);
        self.shared.fill(len, part)
    }
}

/// Permits for so many bytes.
fn permits(len: usize) -> u32 {
    u32::try_from((len as u64).div_ceil(KIB)).unwrap_or(u32::MAX)
}

impl Memory {
    fn new(room: usize) -> Self {
        let mapped = if room >= GRAIN { MmapMut::map_anon(room).ok() } else { None };
        mapped.map_or_else(|| Self::Allocated(vec![0; room]), Self::Mapped)
    }

    fn len(&self) -> usize {
        self.bytes().len()
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Allocated(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory.bytes()[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let bytes: &mut [u8] = match &mut self.memory {
            Memory::Allocated(bytes) => bytes,
            Memory::Mapped(bytes) => bytes,
        };
        &mut bytes[..self.len]
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(self: &Arc<Self>, len: usize, permit: Option<OwnedSemaphorePermit>) -> PooledBuffer {
        let found = self.idle().take(len);
        let memory = found.unwrap_or_else(|| {
            // What lies idle has no permit of its own: it has to fit beside what is lent.
            let room = self.permits.available_permits().saturating_mul(1024);
            let removed = self.idle().make_room(len, room);
            drop(removed);
            Memory::new(room_for(len))
        });
        PooledBuffer { bytes: Buffer { memory, len }, permit, shared: Arc::clone(self) }
    }

    fn give_back(&self, memory: Memory) {
        if memory.len() >= KEPT_MIN {
            let removed = self.idle().put(memory, u64::from(self.total) * KIB);
            drop(removed);
        }
    }
}

/// What is removed is given to the caller, who frees it when the others need not wait for that.
impl Idle {
    /// One that fits.
    fn take(&mut self, len: usize) -> Option<Memory> {
        let fits = |memory: &Memory| memory.len() >= len && memory.len() <= len.saturating_mul(2);
        // The one that was used last is the one that is still in the processor's cache.
        let at = self.buffers.iter().rposition(|(memory, _)| fits(memory))?;
        Some(self.buffers.remove(at).0)
    }

    /// Removes those in whose place one for `len` bytes is made: of their sizes most likely nobody needs as many any more. Those that stay
    /// take no more than `room`.
    fn make_room(&mut self, len: usize, room: usize) -> Vec<(Memory, u64)> {
        let mut kept: usize = self.buffers.iter().map(|(memory, _)| memory.len()).sum();
        let mut replaced = room_for(len);
        let goes = |(memory, _): &mut (Memory, u64)| {
            let goes = kept > room || memory.len() <= replaced;
            if goes {
                kept -= memory.len();
                replaced = replaced.saturating_sub(memory.len());
            }
            goes
        };
        self.buffers.extract_if(.., goes).collect()
    }

    /// Keeps one. Removes those that nobody needed while `total` bytes came back.
    fn put(&mut self, memory: Memory, total: u64) -> Vec<(Memory, u64)> {
        self.returned += memory.len() as u64;
        let returned = self.returned;
        self.buffers.push((memory, returned));
        let surplus = self.buffers.len().saturating_sub(KEPT_COUNT);
        let old = self.buffers.partition_point(|(_, at)| returned - at > total);
        self.buffers.drain(..old.max(surplus)).collect()
    }
}

/// What is read of a buffer. It goes back with the last who reads it.
struct Read {
    bytes: Buffer,
    /// Where to, unless it was exceptional: that is not kept.
    home: Option<Arc<Shared>>,
}

impl AsRef<[u8]> for Read {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.give_back(self.bytes.take());
        }
    }
}

impl Buffer {
    fn take(&mut self) -> Memory {
        self.len = 0;
        std::mem::replace(&mut self.memory, Memory::Allocated(Vec::new()))
    }
}

impl PooledBuffer {
    /// Ends the writing.
    pub(crate) fn freeze(mut self) -> FrozenBuffer {
        let permit = self.permit.take();
        let home = permit.is_some().then(|| Arc::clone(&self.shared));
        let len = self.bytes.len;
        let bytes = Bytes::from_owner(Read { bytes: Buffer { memory: self.bytes.take(), len }, home });
        FrozenBuffer { bytes, _permit: permit }
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        // Without a permit it was exceptional, and is not kept.
        if self.permit.is_some() {
            self.shared.give_back(self.bytes.take());
        }
    }
}

impl FrozenBuffer {
    /// The bytes, to be shared.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Deref for FrozenBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use cyx_core::scheme::Scheme;
    use cyx_core::units::FRAME_SEALED;

    use super::super::coded::buffer_len;
    use super::super::direct::BLOCK;
    use super::super::tuning::Tuning;
    use super::*;

    /// One is made, one is sent, and the last shards of one arrive.
    #[test]
    fn three_segments_of_a_large_file_fit() {
        let tuning = Tuning::default();
        let usual = Scheme::LADDER.into_iter().filter(|scheme| 2 * scheme.n() <= 3 * scheme.k());
        for scheme in usual.chain([Scheme::DEFAULT]) {
            let sealed = tuning.segment_frames(scheme, u64::MAX) * FRAME_SEALED;
            let one = room_for(buffer_len(scheme, sealed).unwrap());
            assert!(3 * one as u64 <= tuning.memory, "{scheme}: {one}");
        }
    }

    fn idle(budget: &Budget) -> Vec<usize> {
        budget.shared.idle().buffers.iter().map(|(memory, _)| memory.len()).collect()
    }

    #[tokio::test]
    async fn what_is_not_there_is_waited_for() {
        let budget = Budget::new(10 * KIB);
        let first = budget.lend(8 * 1024).await;
        let mut second = Box::pin(budget.lend(4 * 1024));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first.freeze());
        assert_eq!(second.await.bytes.len(), 4 * 1024);
    }

    #[tokio::test]
    async fn more_than_everything_gets_everything() {
        let budget = Budget::new(10 * KIB);
        assert_eq!(budget.lend(100 * 1024).await.bytes.len(), 100 * 1024);
    }

    #[tokio::test]
    async fn sealed_and_plain_bytes_take_the_same_buffers_in_turn() {
        let budget = Budget::new(4096 * KIB);
        let (plain, sealed) = (64 * 16 * 1024, 64 * (16 * 1024 + 16));
        let first = budget.lend(plain).await.freeze();
        let address = first.as_ptr();
        drop(first);
        let second = budget.lend(sealed).await.freeze();
        assert_eq!((second.as_ptr(), second.len()), (address, sealed));
        drop(second);
        assert_eq!(budget.lend(plain).await.bytes.as_ptr(), address);
    }

    #[tokio::test]
    async fn buffers_are_lent_again_but_not_while_they_are_read() {
        let budget = Budget::new(1024 * KIB);
        let first = budget.lend(80 * 1024).await.freeze();
        let address = first.as_ptr();
        drop(first);
        let again = budget.lend(80 * 1024).await.freeze();
        assert_eq!(again.as_ptr(), address);
        let reader = again.bytes().clone();
        drop(again);
        let other = budget.lend(80 * 1024).await.freeze();
        assert_ne!(other.as_ptr(), reader.as_ptr());
    }

    #[tokio::test]
    async fn a_buffer_that_was_never_read_is_lent_again_too() {
        let budget = Budget::new(1024 * KIB);
        let first = budget.lend(300 * 1024).await;
        let address = first.bytes.as_ptr();
        drop(first);
        assert_eq!(budget.lend(300 * 1024).await.bytes.as_ptr(), address);
    }

    #[tokio::test]
    async fn large_buffers_begin_at_a_block_whenever_they_are_lent() {
        let budget = Budget::new(4096 * KIB);
        let aligned = |bytes: &[u8]| bytes.as_ptr().align_offset(BLOCK) == 0;
        let lent = budget.lend(GRAIN + 5).await;
        assert!(aligned(&lent.bytes));
        drop(lent.freeze());
        let again = budget.lend(GRAIN + 100).await;
        assert!(aligned(&again.bytes) && idle(&budget).is_empty(), "the same one");
    }

    #[tokio::test]
    async fn idle_and_lent_buffers_together_stay_within_the_budget() {
        let budget = Budget::new(4096 * KIB);
        for _ in 0..3 {
            for len in [300 << 10, 700 << 10, 1 << 20, 2 << 20, 3 << 20] {
                let lent = budget.lend(len).await;
                let idle: usize = idle(&budget).iter().sum();
                assert!(idle + lent.bytes.memory.len() <= 4096 << 10, "{len}: {idle} idle");
            }
        }
        assert!(!idle(&budget).is_empty());
    }

    #[tokio::test]
    async fn buffers_of_another_size_replace_those_that_nobody_needs() {
        let budget = Budget::new(16 * 1024 * KIB);
        let small = [budget.lend(1 << 20).await, budget.lend(1 << 20).await, budget.lend(1 << 20).await];
        drop(small);
        let one = room_for(1 << 20);
        assert_eq!(idle(&budget), [one; 3]);
        let large = budget.lend(2 << 20).await;
        assert_eq!(idle(&budget), [one; 2], "two would be more than it");
        drop(large);
        drop(budget.lend(300 << 10).await);
        assert_eq!(idle(&budget).len(), 4, "none of them could have been that one");
    }

    #[tokio::test]
    async fn buffers_that_nobody_needs_for_long_are_not_kept() {
        let budget = Budget::new(4 * 1024 * KIB);
        drop(budget.lend(1 << 20).await);
        drop(budget.lend(300 << 10).await);
        for _ in 0..6 {
            drop(budget.lend(300 << 10).await);
            assert_eq!(idle(&budget).len(), 2);
        }
        drop(budget.lend(300 << 10).await);
        drop(budget.lend(300 << 10).await);
        assert_eq!(idle(&budget), [room_for(300 << 10)]);
    }

    #[tokio::test]
    async fn room_is_taken_at_once_and_buffers_are_cut_from_it() {
        let budget = Budget::new(1024 * KIB);
        let mut room = budget.room(3, 256 * 1024).await;
        assert!(budget.try_lend_two(512 * 1024, 0).is_none(), "all of the room is taken before anything of it is lent");
        let lent: Vec<PooledBuffer> = (0..3).map(|_| room.lend(256 * 1024)).collect();
        drop(room);
        assert!(budget.try_lend_two(512 * 1024, 0).is_none(), "what is lent stays taken");
        drop(lent);
        assert!(budget.try_lend_two(512 * 1024, 0).is_some());
        // More than was foreseen is had all the same.
        let mut room = budget.room(1, 256 * 1024).await;
        let lent = [room.lend(256 * 1024), room.lend(256 * 1024)];
        assert_eq!(lent.map(|lent| lent.bytes.len()), [256 * 1024; 2]);
    }
}
