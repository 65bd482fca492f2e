//! Memory by permits: whoever wants a buffer waits until there is room for it, so that a transfer's size never shows in the
//! size of the process. Buffers are kept and lent again, because fresh memory costs a page fault for every 4 KiB.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use cyx_core::units::KIB;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Large buffers are made in multiples of this, so that few different sizes are about.
const GRAIN: usize = 256 * 1024;

/// Bytes of the buffer that is made when one of `len` is asked for: for large ones a little more, so that sealed and plain bytes of
/// the same content take the same buffers in turn.
const fn room_for(len: usize) -> usize {
    if len < GRAIN { len } else { (len + len / 256).next_multiple_of(GRAIN) }
}

/// The memory of an engine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Budget {
    shared: Arc<Shared>,
}

struct Shared {
    permits: Arc<Semaphore>,
    /// All permits, one for each KiB.
    total: u32,
    idle: Mutex<Vec<BytesMut>>,
}

/// A buffer to write to.
pub(crate) struct Lent {
    /// Its bytes, as many as were asked for. What is in it is left over from earlier use.
    pub(crate) bytes: BytesMut,
    hold: Hold,
}

/// A buffer that is only read any more, and may be shared. It goes back when this is dropped and nobody else reads it.
pub(crate) struct Shelved {
    bytes: Bytes,
    hold: Option<Hold>,
}

struct Hold {
    permit: Option<OwnedSemaphorePermit>,
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
    pub(crate) async fn lend(&self, len: usize) -> Lent {
        let permit = self.lend_permit(room_for(len)).await;
        self.fill(len, Some(permit))
    }

    /// Two buffers at once, so that nobody waits for the second while others hold what is left.
    pub(crate) async fn lend_two(&self, first: usize, second: usize) -> (Lent, Lent) {
        let both = self.lend_permit(room_for(first).saturating_add(room_for(second))).await;
        self.fill_two(first, second, both)
    }

    /// As [`Self::lend_two`], if there is room now.
    pub(crate) fn try_lend_two(&self, first: usize, second: usize) -> Option<(Lent, Lent)> {
        let wanted = self.permits_for(room_for(first).saturating_add(room_for(second)));
        let both = Arc::clone(&self.shared.permits).try_acquire_many_owned(wanted).ok()?;
        Some(self.fill_two(first, second, both))
    }

    fn fill_two(&self, first: usize, second: usize, mut both: OwnedSemaphorePermit) -> (Lent, Lent) {
        // If the two are larger than the whole budget, the first has all of the permit.
        let split = both.split((room_for(second) as u64).div_ceil(KIB).try_into().unwrap_or(usize::MAX));
        (self.fill(first, Some(both)), self.fill(second, split))
    }

    fn permits_for(&self, len: usize) -> u32 {
        u32::try_from((len as u64).div_ceil(KIB)).unwrap_or(u32::MAX).clamp(1, self.shared.total)
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

    fn fill(&self, len: usize, permit: Option<OwnedSemaphorePermit>) -> Lent {
        let mut bytes = self.shared.take_idle(len).unwrap_or_else(|| BytesMut::with_capacity(room_for(len)));
        bytes.resize(len, 0);
        Lent { bytes, hold: Hold { permit, shared: Arc::clone(&self.shared) } }
    }

    /// A buffer for somebody who holds one already and will give that one back in exchange. It is not waited for, because
    /// what is waited for may be held by others who do the same; so it may exceed the budget for as long as both exist.
    pub(crate) fn lend_beside(&self, len: usize) -> Lent {
        let wanted = u32::try_from((len as u64).div_ceil(KIB)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.shared.permits).try_acquire_many_owned(wanted).ok();
        Lent { bytes: BytesMut::zeroed(len), hold: Hold { permit, shared: Arc::clone(&self.shared) } }
    }
}

impl Shared {
    fn take_idle(&self, len: usize) -> Option<BytesMut> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |bytes: &BytesMut| bytes.capacity() >= len && bytes.capacity() <= len.saturating_mul(2);
        match idle.iter().position(fits) {
            Some(at) => Some(idle.swap_remove(at)),
            None => {
                // What lies idle is not covered by a permit any more, so it must not stay beside a fresh buffer.
                idle.clear();
                None
            }
        }
    }

    fn give_back(&self, bytes: BytesMut) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

impl Lent {
    /// Ends the writing.
    pub(crate) fn shelve(self) -> Shelved {
        Shelved { bytes: self.bytes.freeze(), hold: Some(self.hold) }
    }
}

impl Shelved {
    /// The bytes, to be shared.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Deref for Shelved {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Shelved {
    fn drop(&mut self) {
        // Without a permit it was exceptional, and is not kept.
        if let Some(hold) = self.hold.take().filter(|hold| hold.permit.is_some())
            && let Ok(bytes) = std::mem::take(&mut self.bytes).try_into_mut()
        {
            hold.shared.give_back(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_there_is_waited_for() {
        let budget = Budget::new(10 * KIB);
        let first = budget.lend(8 * 1024).await;
        let mut second = Box::pin(budget.lend(4 * 1024));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first.shelve());
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
        let first = budget.lend(plain).await.shelve();
        let address = first.as_ptr();
        drop(first);
        let second = budget.lend(sealed).await.shelve();
        assert_eq!((second.as_ptr(), second.len()), (address, sealed));
        drop(second);
        assert_eq!(budget.lend(plain).await.bytes.as_ptr(), address);
    }

    #[tokio::test]
    async fn buffers_are_lent_again_but_not_while_they_are_read() {
        let budget = Budget::new(1024 * KIB);
        let first = budget.lend(8 * 1024).await.shelve();
        let address = first.as_ptr();
        drop(first);
        let again = budget.lend(8 * 1024).await.shelve();
        assert_eq!(again.as_ptr(), address);
        let reader = again.bytes().clone();
        drop(again);
        let other = budget.lend(8 * 1024).await.shelve();
        assert_ne!(other.as_ptr(), reader.as_ptr());
    }
}
