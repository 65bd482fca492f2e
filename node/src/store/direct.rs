//! Large reads past the page cache, into memory that is lent again and again.
//!
//! A chunk is usually read once and then for a long time not again, and volumes are written past the page cache. So a large read through
//! the cache would fill fresh pages, copy them, and push out of the cache what small reads and the index need there. What is
//! read again and again within a short time does go through the cache, so that it is read from the disk only once more. Scrubs never do.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustix::fs::OFlags;

use super::READ_MAX;
use super::record::ALIGN;
use super::volume::Volume;

/// Direct reads begin and end at multiples of this, in the file and in memory.
const BLOCK: usize = 4096;
const _: () = assert!(BLOCK as u64 == ALIGN);
/// Shorter reads go through the cache: there the kernel reads ahead, and may have it already.
pub(crate) const WORTH: usize = 128 * 1024;
/// Bytes of a buffer: the longest read, wherever it begins and ends within a block.
#[expect(clippy::cast_possible_truncation, reason = "1 MiB")]
const BUFFER: usize = READ_MAX as usize + 2 * BLOCK;
/// Buffers that are kept while nobody uses them.
const IDLE_MAX: usize = 4;
/// A place that was read so often lately is wanted in the cache.
const OFTEN: u8 = 3;
/// Places that are remembered, twice: the newer ones, and those before them.
const PLACES_MAX: usize = 2048;

/// Direct reads of the volumes in a folder.
pub(crate) struct Direct {
    folder: PathBuf,
    /// Nobody said yet that the filesystem cannot do it.
    possible: AtomicBool,
    pool: Arc<Pool>,
    lately: Mutex<Lately>,
}

impl Direct {
    pub(crate) fn new(folder: PathBuf, wanted: bool) -> Self {
        Self { folder, possible: AtomicBool::new(wanted), pool: Arc::default(), lately: Mutex::default() }
    }

    /// Whether a place in a volume was read so often lately that it should be in the cache; counts this read.
    pub(crate) fn is_popular(&self, volume: u32, offset: u64) -> bool {
        self.lately.lock().unwrap_or_else(PoisonError::into_inner).count((volume, offset)) > OFTEN
    }

    /// Reads exactly `len` bytes at `offset` of a volume; `None` if they have to be read through the cache.
    pub(crate) fn read(&self, volume: u32, offset: u64, len: usize) -> Option<io::Result<Bytes>> {
        if !self.possible.load(Ordering::Relaxed) {
            return None;
        }
        let before = usize::try_from(offset % BLOCK as u64).ok()?;
        let span = before.checked_add(len)?.checked_next_multiple_of(BLOCK).filter(|span| *span <= BUFFER)?;
        let flags = i32::try_from(OFlags::DIRECT.bits()).ok()?;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(Volume::path(&self.folder, volume)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return self.give_up(),
            // A volume that went away has no name any more; whoever has it open reads on.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            // Nothing was read, so this says nothing about the bytes. The file that is open already needs no descriptor.
            Err(error) => {
                tracing::warn!(volume, %error, "a volume cannot be opened for direct reads: it is read through the cache");
                return None;
            }
        };
        let mut lent = self.pool.lend();
        match fill(&file, lent.block(span), offset - before as u64, before + len) {
            Ok(()) => Some(Ok(lent.share(before..before + len))),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.give_up(),
            Err(error) => Some(Err(error)),
        }
    }

    /// Tries no direct reads any more.
    fn give_up<R>(&self) -> Option<R> {
        if self.possible.swap(false, Ordering::Relaxed) {
            tracing::info!("the filesystem takes no direct reads: volumes are read through its cache");
        }
        None
    }
}

/// Reads until at least `needed` bytes are there. Behind the end of the file the rest of a block is missing.
fn fill(file: &File, block: &mut [u8], offset: u64, needed: usize) -> io::Result<()> {
    let mut filled = 0;
    while filled < needed {
        // What was cut off within a block is at the end of the file or is read again: only whole blocks can be continued.
        filled -= filled % BLOCK;
        match rustix::io::pread(file, &mut block[filled..], offset + filled as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(came) if filled + came < needed && came < BLOCK => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(came) => filled += came,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Buffers for direct reads.
#[derive(Default)]
struct Pool {
    idle: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    fn lend(self: &Arc<Self>) -> PooledBuffer {
        let memory = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let memory = memory.unwrap_or_else(|| vec![0; BUFFER + BLOCK]);
        let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        PooledBuffer { memory, start, shared: 0..0, pool: Arc::clone(self) }
    }
}

/// A buffer, which goes back when this is dropped. What is in it is left over from earlier reads.
struct PooledBuffer {
    memory: Vec<u8>,
    /// Where the first block begins.
    start: usize,
    /// The bytes that others see.
    shared: Range<usize>,
    pool: Arc<Pool>,
}

impl PooledBuffer {
    /// The first blocks.
    fn block(&mut self, span: usize) -> &mut [u8] {
        &mut self.memory[self.start..self.start + span]
    }

    /// A part of the blocks, to be read by anybody.
    fn share(mut self, range: Range<usize>) -> Bytes {
        self.shared = self.start + range.start..self.start + range.end;
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.shared.clone()]
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(std::mem::take(&mut self.memory));
        }
    }
}

/// How often places were read, as far as it is remembered.
#[derive(Default)]
struct Lately {
    now: HashMap<(u32, u64), u8>,
    before: HashMap<(u32, u64), u8>,
}

impl Lately {
    fn count(&mut self, place: (u32, u64)) -> u8 {
        if self.now.len() >= PLACES_MAX && !self.now.contains_key(&place) {
            self.before = std::mem::take(&mut self.now);
        }
        let count = self.now.entry(place).or_insert_with(|| self.before.get(&place).copied().unwrap_or(0));
        *count = count.saturating_add(1);
        *count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A volume of numbered bytes and what reads it.
    fn volume(len: usize) -> (tempfile::TempDir, Direct, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
        std::fs::write(Volume::path(folder.path(), 1), &bytes).unwrap();
        let direct = Direct::new(folder.path().to_owned(), true);
        (folder, direct, bytes)
    }

    /// Filesystems that cannot read directly say so, and then there is nothing to compare.
    #[test]
    fn every_range_is_read_wherever_it_begins_and_ends() {
        let len = (2 << 20) + 100;
        let (_folder, direct, bytes) = volume(len);
        for range in [0..1, 128..128 + (1 << 20), 4095..4097, 4096..8192, len - 200_000..len, len - 1..len] {
            if let Some(read) = direct.read(1, range.start as u64, range.len()) {
                assert!(read.unwrap() == bytes[range.clone()], "{range:?}");
            }
        }
        for beyond in [len - 10..len + 1, len..len + 1, len + 5000..len + 5001] {
            if let Some(read) = direct.read(1, beyond.start as u64, beyond.len()) {
                assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{beyond:?}");
            }
        }
        assert!(direct.read(1, 0, BUFFER + 1).is_none(), "more than a buffer holds");
        assert!(direct.read(2, 0, 1).is_none(), "no such volume");
    }

    #[test]
    fn buffers_are_lent_again_but_not_while_they_are_read() {
        let pool = Arc::<Pool>::default();
        let lend = || {
            let mut lent = pool.lend();
            lent.block(1)[0] = 7;
            lent.share(0..1)
        };
        let first = lend();
        let (address, reader) = (first.as_ptr(), first.clone());
        assert_eq!(address.align_offset(BLOCK), 0);
        drop(first);
        assert_ne!(lend().as_ptr(), address, "somebody reads it still");
        drop(reader);
        assert_eq!(lend().as_ptr(), address);
        let many: Vec<Bytes> = (0..2 * IDLE_MAX).map(|_| lend()).collect();
        drop(many);
        assert_eq!(pool.idle.lock().unwrap().len(), IDLE_MAX);
    }

    #[test]
    fn what_is_read_again_and_again_is_popular_until_it_is_forgotten() {
        let (_folder, direct, _) = volume(1);
        for _ in 0..OFTEN {
            assert!(!direct.is_popular(1, 4096));
        }
        assert!(direct.is_popular(1, 4096));
        let others = u64::try_from(PLACES_MAX).unwrap();
        assert!((0..others).all(|other| !direct.is_popular(2, other)));
        assert!(direct.is_popular(1, 4096), "remembered among those before");
        assert!((0..3 * others).all(|other| !direct.is_popular(3, other)));
        assert!(!direct.is_popular(1, 4096));
    }
}
