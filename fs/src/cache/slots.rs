//! The file of the slots. Most of it is written past the page cache where the filesystem can do it: what is read ahead is taken from memory a
//! moment later, so pages of the cache, most of them fresh, would be filled for nobody. Direct writes need whole blocks in aligned memory. The
//! parts of blocks around them go through the cache, of which the kernel drops what is written directly.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;

/// Direct writes begin and end at multiples of this, in the file and in memory.
pub(super) const BLOCK: usize = 4096;

pub(super) struct SlotFile {
    file: File,
    /// The same file, opened for direct writes.
    direct: Option<File>,
    /// Nobody said yet that it cannot be done.
    possible: AtomicBool,
}

impl SlotFile {
    /// Opens the file, or makes one that only its owner may read.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let flags = i32::try_from(OFlags::DIRECT.bits()).unwrap_or(0);
        let direct = OpenOptions::new().write(true).custom_flags(flags).open(path).ok();
        Ok(Self { file, direct, possible: AtomicBool::new(true) })
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    pub(super) fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    /// Writes through the page cache.
    pub(super) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Whether anything can be written past the page cache, as far as is known.
    pub(super) fn is_direct(&self) -> bool {
        self.direct.is_some() && self.possible.load(Ordering::Relaxed)
    }

    /// Writes past the page cache, as far as can be, what lies in memory as far behind a block's beginning as it goes in the file.
    pub(super) fn write_direct(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let blocks = whole_blocks(bytes.len(), offset);
        let (head, rest) = bytes.split_at(blocks.start);
        let (whole, tail) = rest.split_at(blocks.len());
        let at = |part: usize| offset.saturating_add(part as u64);
        self.file.write_all_at(head, offset)?;
        let direct = self.direct.as_ref().filter(|_| self.is_direct() && whole.as_ptr().align_offset(BLOCK) == 0);
        match direct.map(|direct| direct.write_all_at(whole, at(blocks.start))) {
            Some(Ok(())) => {}
            Some(Err(error)) if error.kind() != io::ErrorKind::InvalidInput => return Err(error),
            // Some filesystems say only now that they cannot do it.
            refused => {
                self.possible.fetch_and(refused.is_none(), Ordering::Relaxed);
                self.file.write_all_at(whole, at(blocks.start))?;
            }
        }
        self.file.write_all_at(tail, at(blocks.end))
    }
}

/// Which of so many bytes at `offset` are whole blocks.
fn whole_blocks(len: usize, offset: u64) -> Range<usize> {
    let head = usize::try_from(offset.next_multiple_of(BLOCK as u64) - offset).unwrap_or(len).min(len);
    head..head + (len - head) / BLOCK * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the filesystem of temporary files can do it decides how it is written, and never what.
    #[test]
    fn what_is_written_past_the_page_cache_is_found_through_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = SlotFile::open(&folder.path().join("frames")).unwrap();
        let mut expected = vec![7; 40 * BLOCK];
        file.write_all_at(&expected, 0).unwrap();
        let memory: Vec<u8> = (0..20 * BLOCK).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let start = memory.as_ptr().align_offset(BLOCK);
        // What is aligned like its place, what is not, and what has no whole block.
        for (shift, offset, len) in [
            (16, 16, 5 * BLOCK),
            (0, 8 * BLOCK, 4 * BLOCK),
            (1, 14 * BLOCK, 3 * BLOCK),
            (20, 20, 50),
            (4000, BLOCK - 96, BLOCK),
        ] {
            let bytes = &memory[start + shift..start + shift + len];
            file.write_direct(bytes, offset as u64).unwrap();
            expected[offset..offset + len].copy_from_slice(bytes);
            let mut back = vec![0; expected.len()];
            file.read_exact_at(&mut back, 0).unwrap();
            assert!(back == expected, "{shift}, {offset}, {len}");
        }
    }

    #[test]
    fn blocks_are_whole() {
        for (len, offset, whole) in
            [(0, 0, 0..0), (4096, 0, 0..4096), (9000, 4095, 1..8193), (4000, 1, 4000..4000), (4100, 4090, 6..6)]
        {
            assert_eq!(whole_blocks(len, offset), whole, "{len} at {offset}");
        }
    }
}
