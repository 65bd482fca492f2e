//! The read cache: sealed frames on this machine's disk, as the storage nodes keep them, in slots of one file. Bounded; what was
//! not used for longest makes room. It is not believed: a frame that does not authenticate is dropped by whoever opens it, so
//! neither writes nor the index have to be durable. What leads to frames is beside it, in [`pages`].
//!
//! ```text
//! frames: slots of 16,400 bytes, each one sealed frame (the rest of a slot is left over)
//! index:  "cyxF" 1 | zeros 27 | for each slot: blob 16 | frame u64 | length u32 | zeros 4 (length 0: nothing)
//! ```

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cyx_client::transfer::FrameCache;
use cyx_core::extent::PageId;
use cyx_core::ids::BlobId;
use cyx_core::units::FRAME_SEALED;
use cyx_core::wire::Reader;

pub mod pages;
#[cfg(test)]
mod tests;

use pages::PageStore;

const MAGIC: &[u8; 5] = b"cyxF\x01";
const ENTRY_LEN: usize = 32;
const NONE: u32 = u32::MAX;

type Key = (BlobId, u64);

#[derive(Clone, Copy)]
struct Slot {
    key: Key,
    len: u32,
    /// Neighbours in the order of use.
    newer: u32,
    older: u32,
}

/// Which frame is in which slot, and in which order they were used.
struct Table {
    found: HashMap<Key, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    capacity: u32,
}

/// Frames on disk.
pub struct FrameStore {
    frames: File,
    index: File,
    table: Mutex<Table>,
    pages: Option<Arc<PageStore>>,
}

impl FrameStore {
    /// Opens the cache in a folder, which the caller has locked, or begins one, of at most `capacity` bytes. What cannot be
    /// understood is an empty cache. Blocks the thread.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(folder: &Path, capacity: u64) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let open = |name: &str| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(folder.join(name))
        };
        let (frames, index) = (open("frames")?, open("index")?);
        let capacity =
            u32::try_from(capacity / (FRAME_SEALED + ENTRY_LEN as u64)).unwrap_or(NONE - 1).clamp(1, NONE - 1);
        let mut table = Table::new(capacity);
        if !table.load(&index)? {
            frames.set_len(0)?;
            index.set_len(0)?;
            let mut header = [0; ENTRY_LEN];
            header[..MAGIC.len()].copy_from_slice(MAGIC);
            index.write_all_at(&header, 0)?;
        }
        if frames.metadata()?.len() > u64::from(capacity) * FRAME_SEALED {
            frames.set_len(u64::from(capacity) * FRAME_SEALED)?;
            index.set_len((u64::from(capacity) + 1) * ENTRY_LEN as u64)?;
        }
        Ok(Self { frames, index, table: Mutex::new(table), pages: None })
    }

    /// Extent pages are kept as well, there.
    #[must_use]
    pub fn with_pages(self, pages: Arc<PageStore>) -> Self {
        Self { pages: Some(pages), ..self }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of frames in it.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.table().found.len() as u64 * FRAME_SEALED
    }

    /// Bytes of frames that it may hold.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        u64::from(self.table().capacity) * FRAME_SEALED
    }

    fn write(&self, slot: u32, key: Key, sealed: &[u8]) -> io::Result<()> {
        self.frames.write_all_at(sealed, u64::from(slot) * FRAME_SEALED)?;
        self.write_entry(slot, key, u32::try_from(sealed.len()).unwrap_or(0))
    }

    fn write_entry(&self, slot: u32, key: Key, len: u32) -> io::Result<()> {
        let mut entry = [0; ENTRY_LEN];
        entry[..16].copy_from_slice(&key.0.0);
        entry[16..24].copy_from_slice(&key.1.to_le_bytes());
        entry[24..28].copy_from_slice(&len.to_le_bytes());
        self.index.write_all_at(&entry, (u64::from(slot) + 1) * ENTRY_LEN as u64)
    }
}

impl FrameCache for FrameStore {
    fn has(&self, blob: BlobId, frames: Range<u64>) -> bool {
        let table = self.table();
        frames.into_iter().all(|frame| table.found.contains_key(&(blob, frame)))
    }

    fn get(&self, blob: BlobId, frame: u64, sealed: &mut [u8]) -> bool {
        let slot = {
            let mut table = self.table();
            let Some(slot) = table.found.get(&(blob, frame)).copied() else { return false };
            if table.slots[slot as usize].len as usize != sealed.len() {
                return false;
            }
            table.touch(slot);
            slot
        };
        // If the slot is taken by another frame meanwhile, what is read does not authenticate.
        self.frames.read_exact_at(sealed, u64::from(slot) * FRAME_SEALED).is_ok()
    }

    fn put(&self, blob: BlobId, frame: u64, sealed: &[u8]) {
        let Some(len) = u32::try_from(sealed.len()).ok().filter(|len| *len > 0 && u64::from(*len) <= FRAME_SEALED)
        else {
            return;
        };
        let key = (blob, frame);
        let slot = {
            let mut table = self.table();
            if table.found.contains_key(&key) {
                return;
            }
            table.take_slot()
        };
        let Some(slot) = slot else { return };
        let written = self.write(slot, key, sealed);
        let mut table = self.table();
        if let Err(error) = &written {
            tracing::debug!(%error, "a frame is not cached");
        }
        if written.is_err() || table.found.contains_key(&key) {
            table.free.push(slot);
        } else {
            table.insert(slot, key, len);
        }
    }

    fn forget(&self, blob: BlobId, frames: Range<u64>) {
        for frame in frames {
            let slot = {
                let mut table = self.table();
                let slot = table.found.remove(&(blob, frame));
                if let Some(slot) = slot {
                    table.unlink(slot);
                    table.free.push(slot);
                }
                slot
            };
            if let Some(slot) = slot
                && let Err(error) = self.write_entry(slot, (BlobId([0; 16]), 0), 0)
            {
                tracing::debug!(%error, "a frame that is not authentic stays in the cache's index");
            }
        }
    }

    fn has_page(&self, id: PageId) -> bool {
        self.pages.as_ref().is_some_and(|pages| pages.has(&id.0))
    }

    fn page(&self, id: PageId) -> Option<Vec<u8>> {
        self.pages.as_ref()?.page(id).map(|plain| plain.to_vec())
    }

    fn put_page(&self, id: PageId, content: &[u8]) {
        if let Some(pages) = &self.pages {
            pages.put(id.0, content);
        }
    }
}

impl Table {
    fn new(capacity: u32) -> Self {
        Self { found: HashMap::new(), slots: Vec::new(), free: Vec::new(), newest: NONE, oldest: NONE, capacity }
    }

    /// Reads an index; `false` if it is none.
    fn load(&mut self, index: &File) -> io::Result<bool> {
        let most = (self.capacity as usize + 1).saturating_mul(ENTRY_LEN);
        let len = usize::try_from(index.metadata()?.len()).unwrap_or(usize::MAX).min(most);
        let mut bytes = vec![0; len];
        index.read_exact_at(&mut bytes, 0)?;
        let Some((header, entries)) = bytes.split_at_checked(ENTRY_LEN) else { return Ok(false) };
        if !header.starts_with(MAGIC) || header[MAGIC.len()..].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        for entry in entries.chunks_exact(ENTRY_LEN) {
            let slot = u32::try_from(self.slots.len()).unwrap_or(NONE);
            self.slots.push(Slot { key: (BlobId([0; 16]), 0), len: 0, newer: NONE, older: NONE });
            match decode(entry).filter(|(key, _)| !self.found.contains_key(key)) {
                Some((key, len)) => self.insert(slot, key, len),
                None => self.free.push(slot),
            }
        }
        Ok(true)
    }

    fn insert(&mut self, slot: u32, key: Key, len: u32) {
        self.slots[slot as usize] = Slot { key, len, newer: NONE, older: NONE };
        self.found.insert(key, slot);
        self.link(slot);
    }

    /// A slot that belongs to nobody: a new one, a free one, or that of the frame that was not used for longest.
    fn take_slot(&mut self) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        let next = u32::try_from(self.slots.len()).unwrap_or(NONE);
        if next < self.capacity {
            self.slots.push(Slot { key: (BlobId([0; 16]), 0), len: 0, newer: NONE, older: NONE });
            return Some(next);
        }
        let oldest = self.oldest;
        let key = self.slots.get(oldest as usize)?.key;
        self.found.remove(&key);
        self.unlink(oldest);
        Some(oldest)
    }

    fn touch(&mut self, slot: u32) {
        if self.newest != slot {
            self.unlink(slot);
            self.link(slot);
        }
    }

    fn link(&mut self, slot: u32) {
        let before = std::mem::replace(&mut self.newest, slot);
        let entry = &mut self.slots[slot as usize];
        (entry.newer, entry.older) = (NONE, before);
        match self.slots.get_mut(before as usize) {
            Some(before) => before.newer = slot,
            None => self.oldest = slot,
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Slot { newer, older, .. } = self.slots[slot as usize];
        match self.slots.get_mut(newer as usize) {
            Some(neighbour) => neighbour.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(older as usize) {
            Some(neighbour) => neighbour.newer = newer,
            None => self.oldest = newer,
        }
    }
}

fn decode(entry: &[u8]) -> Option<(Key, u32)> {
    let mut reader = Reader::bare(entry);
    let key = (BlobId(reader.array().ok()?), reader.u64().ok()?);
    let len = reader.u32().ok()?;
    (len > 0 && u64::from(len) <= FRAME_SEALED && reader.u32().ok()? == 0).then_some((key, len))
}
