//! Large files are written past the page cache where the filesystem can do it: a download writes every byte once, makes it durable and
//! then does not want it in the cache, so a copy to pages of the cache, most of them fresh, is work for nothing. Direct writes need whole
//! blocks in aligned memory, which [`super::budget`] lends; everything else goes through the cache.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// Direct writes begin and end at multiples of this, in the file and in memory.
pub(crate) const BLOCK: usize = 4096;
/// Less than this is not worth waiting for the disk.
const WORTH: usize = 1 << 20;

/// A file that is written from one thread at a time.
#[derive(Clone)]
pub(super) struct Output {
    file: Arc<File>,
    state: Arc<State>,
}

struct State {
    /// Nobody said yet that it cannot be done.
    possible: AtomicBool,
    /// The file's writes are direct now.
    on: AtomicBool,
}

impl Output {
    /// Writes to `file`, directly if that is `wanted`.
    pub(super) fn new(file: Arc<File>, wanted: bool) -> Self {
        let state = State { possible: AtomicBool::new(wanted), on: AtomicBool::new(false) };
        Self { file, state: Arc::new(state) }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Writes all of it.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (whole, rest) = bytes.split_at(self.direct_part(bytes, offset));
        if !whole.is_empty() {
            let written = self.turn(true).and_then(|()| self.file.write_all_at(whole, offset));
            match written {
                Ok(()) => {}
                // Some filesystems say only now that they cannot do it.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.state.possible.store(false, Ordering::Relaxed);
                    self.turn(false)?;
                    self.file.write_all_at(whole, offset)?;
                }
                Err(error) => return Err(error),
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        self.turn(false)?;
        self.file.write_all_at(rest, offset.saturating_add(whole.len() as u64))
    }

    /// How many of the first bytes can and should be written directly.
    fn direct_part(&self, bytes: &[u8], offset: u64) -> usize {
        let aligned = bytes.as_ptr().align_offset(BLOCK) == 0 && offset.is_multiple_of(BLOCK as u64);
        let whole = bytes.len() - bytes.len() % BLOCK;
        if aligned && whole >= WORTH && self.state.possible.load(Ordering::Relaxed) { whole } else { 0 }
    }

    fn turn(&self, on: bool) -> io::Result<()> {
        if self.state.on.load(Ordering::Relaxed) != on {
            let flags = fcntl_getfl(&self.file)?;
            fcntl_setfl(&self.file, if on { flags | OFlags::DIRECT } else { flags - OFlags::DIRECT })?;
            self.state.on.store(on, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cyx_core::units::MIB;

    use super::*;
    use crate::transfer::budget::Budget;

    fn is_direct(output: &Output) -> bool {
        fcntl_getfl(output.file()).unwrap().contains(OFlags::DIRECT)
    }

    /// Whether the filesystem of temporary files can do it decides how it is written, and never what.
    #[tokio::test]
    async fn every_byte_arrives_however_it_is_written() {
        let budget = Budget::new(64 * MIB);
        let len = 3 * WORTH + 100;
        let mut lent = budget.lend(len).await;
        for (at, byte) in lent.bytes.iter_mut().enumerate() {
            *byte = u8::try_from(at % 251).unwrap();
        }
        for wanted in [true, false] {
            let output = Output::new(Arc::new(tempfile::tempfile().unwrap()), wanted);
            // Whole blocks, then a tail; then what begins within a block, and what is not aligned in memory.
            output.write(&lent.bytes[..2 * WORTH], 0).unwrap();
            output.write(&lent.bytes[2 * WORTH..], 2 * WORTH as u64).unwrap();
            assert!(!is_direct(&output), "the tail went through the cache");
            output.write(&lent.bytes[1..=WORTH], len as u64).unwrap();
            let mut back = vec![0; len + WORTH];
            output.file().read_exact_at(&mut back, 0).unwrap();
            assert!(back[..len] == lent.bytes[..] && back[len..] == lent.bytes[1..=WORTH], "wanted: {wanted}");
        }
    }

    #[test]
    fn what_is_not_aligned_or_too_short_goes_through_the_cache() {
        let output = Output::new(Arc::new(tempfile::tempfile().unwrap()), true);
        let memory = vec![0; 3 * WORTH];
        let aligned = &memory[memory.as_ptr().align_offset(BLOCK)..];
        assert_eq!(output.direct_part(&aligned[..WORTH + 5], 0), WORTH);
        assert_eq!(output.direct_part(&aligned[..WORTH - 1], 0), 0);
        assert_eq!(output.direct_part(&aligned[1..=WORTH], 0), 0);
        assert_eq!(output.direct_part(&aligned[..WORTH], 512), 0);
        output.state.possible.store(false, Ordering::Relaxed);
        assert_eq!(output.direct_part(&aligned[..WORTH], 0), 0);
    }
}
