//! Random operations on one file, compared with a vector of bytes: what fsx does, with holes, clones and reopening, but without
//! mapped memory (the program fsx does that where it is installed).

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{FallocateFlags, SeekFrom, copy_file_range, fallocate, seek};

use crate::noise;

/// Largest file, in bytes.
const MOST: u64 = 600_000;

/// A file and what must be in it.
pub struct Exerciser {
    file: File,
    model: Vec<u8>,
    state: u64,
    /// The last operations, for messages.
    recent: Vec<String>,
}

impl Exerciser {
    /// Makes the file; the seed decides everything.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(path: &Path, seed: u64) -> Self {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).expect("a file");
        Self { file, model: Vec::new(), state: seed, recent: Vec::new() }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state = self.state.wrapping_add(1);
        let bytes = noise(self.state.wrapping_mul(0x2545_f491_4f6c_dd1d), 8);
        u64::from_le_bytes(bytes.try_into().expect("eight bytes")) % below.max(1)
    }

    /// A range within the largest size, mostly small, sometimes aligned.
    fn range(&mut self) -> (usize, usize) {
        let most = [200, 5_000, 70_000][usize::try_from(self.random(3)).expect("small")];
        let mut offset = self.random(MOST - most);
        if self.random(4) == 0 {
            offset &= !4095;
        }
        let len = 1 + self.random(most - 1);
        (usize::try_from(offset).expect("small"), usize::try_from(len).expect("small"))
    }

    fn grow(&mut self, len: usize) {
        if self.model.len() < len {
            self.model.resize(len, 0);
        }
    }

    /// Does one operation and checks what it returns.
    ///
    /// # Panics
    /// If it fails or returns something else than the model.
    pub fn step(&mut self) {
        let (offset, len) = self.range();
        let end = offset + len;
        let at = offset as u64;
        let what = self.random(100);
        self.recent.push(format!("{what} at {offset} for {len}, length {}", self.model.len()));
        if self.recent.len() > 20 {
            self.recent.remove(0);
        }
        match what {
            0..40 => {
                let data = noise(self.state, len);
                self.file.write_all_at(&data, at).expect("write");
                self.grow(end);
                self.model[offset..end].copy_from_slice(&data);
            }
            40..70 => self.check(offset, len),
            70..78 => {
                self.file.set_len(at).expect("truncate");
                self.model.resize(offset, 0);
            }
            78..85 => {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(&self.file, flags, at, len as u64).expect("punch a hole");
                let until = end.min(self.model.len());
                if offset < until {
                    self.model[offset..until].fill(0);
                }
            }
            85..88 => {
                fallocate(&self.file, FallocateFlags::empty(), at, len as u64).expect("allocate");
                self.grow(end);
            }
            88..94 => self.clone_range(offset, len),
            94..97 => {
                self.file.sync_all().expect("fsync");
            }
            _ => self.seek_data(at),
        }
        assert_eq!(self.file.metadata().expect("stat").len(), self.model.len() as u64, "{:#?}", self.recent);
    }

    fn check(&self, offset: usize, len: usize) {
        let mut data = vec![0xaa; len];
        let mut have = 0;
        while have < len {
            match self.file.read_at(&mut data[have..], (offset + have) as u64).expect("read") {
                0 => break,
                more => have += more,
            }
        }
        let want = self.model.get(offset..(offset + len).min(self.model.len())).unwrap_or_default();
        assert_eq!(have, want.len(), "{:#?}", self.recent);
        let differs = data.iter().zip(want).position(|(have, want)| have != want);
        assert_eq!(differs, None, "at {offset} + this, after {:#?}", self.recent);
    }

    /// Copies within the file, to a place that does not overlap.
    fn clone_range(&mut self, offset: usize, len: usize) {
        let (into, _) = self.range();
        let len = len.min(self.model.len().saturating_sub(offset));
        if len == 0 || into.abs_diff(offset) < len {
            return;
        }
        let (mut from, mut to) = (offset as u64, into as u64);
        let mut left = len;
        while left > 0 {
            let copied = copy_file_range(&self.file, Some(&mut from), &self.file, Some(&mut to), left).expect("copy");
            assert!(copied > 0, "{:#?}", self.recent);
            left -= copied;
        }
        self.grow(into + len);
        self.model.copy_within(offset..offset + len, into);
    }

    /// Between an offset and the data that is found next there are zeros only.
    fn seek_data(&self, offset: u64) {
        let len = self.model.len() as u64;
        let found = match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(found) => found,
            Err(rustix::io::Errno::NXIO) => len,
            Err(error) => panic!("SEEK_DATA: {error}"),
        };
        if offset < len {
            let skipped = usize::try_from(offset).expect("small")..usize::try_from(found.min(len)).expect("small");
            assert!(self.model[skipped].iter().all(|byte| *byte == 0), "{:#?}", self.recent);
        }
    }

    /// Checks the whole file through another descriptor.
    ///
    /// # Panics
    /// If it differs.
    pub fn check_all(&self, path: &Path) {
        let content = fs::read(path).expect("read");
        let differs = content.iter().zip(&self.model).position(|(have, want)| have != want);
        assert_eq!((content.len(), differs), (self.model.len(), None), "{:#?}", self.recent);
    }

    /// What must be in the file.
    #[must_use]
    pub fn into_model(self) -> Vec<u8> {
        self.model
    }
}
