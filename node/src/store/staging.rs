//! The buffer between chunks and a volume: contiguous, aligned, written in large pieces.
//!
//! Writes bypass the page cache where the filesystem can do it: every byte of a volume is written once and made durable at
//! once, so caching it costs a copy and a page for nothing. Direct writes need aligned memory and whole blocks, which is what
//! this buffer gives them. Small records that wait together leave in one write.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use super::record::ALIGN;
use super::volume::{DiskIo, Volume};

/// Bytes of one write, at most.
const WINDOW: usize = 1 << 20;
const BLOCK: usize = 4096;
const _: () = assert!(BLOCK as u64 == ALIGN && WINDOW.is_multiple_of(BLOCK));

/// The file behind a volume as it is written: directly if possible.
pub(crate) struct Output {
    file: File,
    direct: bool,
}

impl Output {
    /// Opens volume `number` for writing.
    pub(crate) fn open(directory: &Path, number: u32, direct: bool) -> io::Result<Self> {
        let path = Volume::path(directory, number);
        if direct {
            let flags = i32::try_from(OFlags::DIRECT.bits()).unwrap_or(0);
            if let Ok(file) = OpenOptions::new().write(true).custom_flags(flags).open(&path) {
                return Ok(Self { file, direct: true });
            }
        }
        Ok(Self { file: OpenOptions::new().write(true).open(path)?, direct: false })
    }

    /// Writes all bytes, which are whole blocks in aligned memory, at a multiple of a block.
    fn write(&mut self, io: &dyn DiskIo, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match io.write_at(&self.file, &[IoSlice::new(bytes)], offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    offset += written as u64;
                }
                // Some filesystems say only now that they cannot do it, or after a short write that ended within a block.
                Err(error) if self.direct && error.kind() == io::ErrorKind::InvalidInput => self.end_direct()?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn end_direct(&mut self) -> io::Result<()> {
        tracing::info!("the filesystem takes no direct writes: volumes are written through its cache");
        let flags = rustix::fs::fcntl_getfl(&self.file)?;
        rustix::fs::fcntl_setfl(&self.file, flags - OFlags::DIRECT)?;
        self.direct = false;
        Ok(())
    }
}

/// Bytes that follow each other in a volume and are not all written yet.
pub(crate) struct Staging {
    memory: Vec<u8>,
    /// Where aligned memory begins.
    start: usize,
    filled: usize,
    /// Where in the volume the first byte belongs.
    base: u64,
}

impl Staging {
    /// An empty buffer for what follows at `base`, a multiple of a block.
    pub(crate) fn new(base: u64) -> Self {
        let memory = vec![0; WINDOW + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        Self { memory, start, filled: 0, base }
    }

    /// Where in the volume the next byte belongs.
    pub(crate) fn position(&self) -> u64 {
        self.base + self.filled as u64
    }

    /// Whether something is not written yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Appends bytes; writes whenever the window is full.
    pub(crate) fn put(&mut self, mut bytes: &[u8], out: &mut Output, io: &dyn DiskIo) -> io::Result<()> {
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(WINDOW - self.filled));
            let at = self.start + self.filled;
            self.memory[at..at + head.len()].copy_from_slice(head);
            self.filled += head.len();
            bytes = rest;
            if self.filled == WINDOW {
                self.write(out, io)?;
            }
        }
        Ok(())
    }

    /// Fills the block that was begun with zeros.
    pub(crate) fn pad(&mut self, out: &mut Output, io: &dyn DiskIo) -> io::Result<()> {
        let end = self.filled.next_multiple_of(BLOCK);
        self.memory[self.start + self.filled..self.start + end].fill(0);
        self.filled = end;
        if self.filled == WINDOW { self.write(out, io) } else { Ok(()) }
    }

    /// Writes what is there; the end has to be that of a block.
    pub(crate) fn write(&mut self, out: &mut Output, io: &dyn DiskIo) -> io::Result<()> {
        out.write(io, &self.memory[self.start..self.start + self.filled], self.base)?;
        self.base += self.filled as u64;
        self.filled = 0;
        Ok(())
    }

    /// Writes whole blocks of aligned memory from where they lie, behind everything that was put before.
    pub(crate) fn pass(&mut self, blocks: &[u8], out: &mut Output, io: &dyn DiskIo) -> io::Result<()> {
        self.write(out, io)?;
        out.write(io, blocks, self.base)?;
        self.base += blocks.len() as u64;
        Ok(())
    }

    /// Forgets everything from a block boundary on. What was written from there on is overwritten later or cut off.
    pub(crate) fn rewind(&mut self, to: u64) {
        match to.checked_sub(self.base).and_then(|filled| usize::try_from(filled).ok()) {
            Some(filled) if filled <= self.filled => self.filled = filled,
            _ => {
                self.base = to;
                self.filled = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::volume::RealIo;

    fn read(folder: &Path) -> Vec<u8> {
        std::fs::read(Volume::path(folder, 1)).unwrap()
    }

    #[test]
    fn what_is_put_arrives_in_order_directly_and_not() {
        for direct in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(Volume::path(folder.path(), 1), b"").unwrap();
            let mut out = Output::open(folder.path(), 1, direct).unwrap();
            let mut staging = Staging::new(0);
            let bytes: Vec<u8> = (0..WINDOW * 2 + 5000).map(|at| u8::try_from(at % 251).unwrap()).collect();
            for part in bytes.chunks(70_001) {
                staging.put(part, &mut out, &RealIo).unwrap();
            }
            staging.pad(&mut out, &RealIo).unwrap();
            staging.write(&mut out, &RealIo).unwrap();
            let found = read(folder.path());
            assert!(found[..bytes.len()] == bytes);
            assert!(found[bytes.len()..].iter().all(|byte| *byte == 0));
            assert_eq!(found.len() % BLOCK, 0);
            assert_eq!(staging.position(), found.len() as u64);
        }
    }

    #[test]
    fn what_was_rewound_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(Volume::path(folder.path(), 1), b"").unwrap();
        let mut out = Output::open(folder.path(), 1, true).unwrap();
        let mut staging = Staging::new(0);
        staging.put(&[1; BLOCK], &mut out, &RealIo).unwrap();
        // Once within the window, once with a part of it written already.
        for len in [BLOCK * 3, WINDOW + BLOCK] {
            staging.put(&vec![2; len], &mut out, &RealIo).unwrap();
            staging.rewind(BLOCK as u64);
            assert_eq!(staging.position(), BLOCK as u64);
        }
        staging.put(&[3; BLOCK], &mut out, &RealIo).unwrap();
        staging.write(&mut out, &RealIo).unwrap();
        let found = read(folder.path());
        assert!(found[..BLOCK].iter().all(|byte| *byte == 1), "what stood before stays");
        assert!(found[BLOCK..2 * BLOCK].iter().all(|byte| *byte == 3));
    }

    /// A filesystem that accepts the flag and refuses the first direct write.
    #[test]
    fn a_filesystem_that_takes_no_direct_writes_is_written_through_its_cache() {
        struct Picky;
        impl DiskIo for Picky {
            fn write_at(&self, file: &File, bytes: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
                match rustix::fs::fcntl_getfl(file)?.contains(OFlags::DIRECT) {
                    true => Err(io::Error::from_raw_os_error(22)),
                    false => RealIo.write_at(file, bytes, offset),
                }
            }
            fn sync(&self, file: &File) -> io::Result<()> {
                RealIo.sync(file)
            }
            fn free(&self, directory: &Path) -> io::Result<u64> {
                RealIo.free(directory)
            }
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(Volume::path(folder.path(), 1), b"").unwrap();
        let mut out = Output::open(folder.path(), 1, true).unwrap();
        let mut staging = Staging::new(0);
        staging.put(&[9; BLOCK], &mut out, &Picky).unwrap();
        staging.write(&mut out, &Picky).unwrap();
        assert_eq!(read(folder.path()), [9; BLOCK]);
    }
}
