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

/// Removes what is in a folder of somebody else's read cache.
pub(crate) fn clear(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
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

    /// The disk is full, and others need it more: half of what it has goes, and does not come back in this run.
    pub fn give_way(&self) {
        let mut table = self.table();
        let slots = table.slots.len() / 2;
        table.cut(u32::try_from(slots).unwrap_or(NONE - 1));
        let cut = self.frames.set_len(slots as u64 * FRAME_SEALED);
        if let Err(error) = cut.and_then(|()| self.index.set_len((slots as u64 + 1) * ENTRY_LEN as u64)) {
            tracing::debug!(%error, "the read cache does not give way");
        }
    }

    /// Writes frames to slots that follow each other, each of which but the last it fills.
    fn write(&self, slot: u32, key: Key, frame: usize, sealed: &[u8]) -> io::Result<()> {
        self.frames.write_all_at(sealed, u64::from(slot) * FRAME_SEALED)?;
        let mut entries = Vec::with_capacity(sealed.len().div_ceil(frame) * ENTRY_LEN);
        for (at, bytes) in (key.1..).zip(sealed.chunks(frame)) {
            entries.extend_from_slice(&entry((key.0, at), u32::try_from(bytes.len()).unwrap_or(0)));
        }
        self.index.write_all_at(&entries, (u64::from(slot) + 1) * ENTRY_LEN as u64)
    }

    /// Puts frames into slots that nobody has.
    fn fill(&self, blob: BlobId, first: u64, frame: usize, sealed: &[u8]) {
        let is_new: Vec<(u64, &[u8])> = {
            let table = self.table();
            let new = |(at, _): &(u64, &[u8])| !table.found.contains_key(&(blob, *at));
            (first..).zip(sealed.chunks(frame)).filter(new).collect()
        };
        let mut slots: Vec<u32> = {
            let mut table = self.table();
            is_new.iter().map_while(|_| table.take_slot()).collect()
        };
        // Neighbours are written in one go.
        slots.sort_unstable();
        let placed: Vec<(u32, u64, &[u8])> =
            slots.iter().zip(&is_new).map(|(slot, (at, bytes))| (*slot, *at, *bytes)).collect();
        let fills = |one: &[u8]| one.len() as u64 == FRAME_SEALED;
        let follows = |before: &(u32, u64, &[u8]), next: &(u32, u64, &[u8])| {
            before.0 + 1 == next.0 && before.1 + 1 == next.1 && fills(before.2)
        };
        for run in placed.chunk_by(follows) {
            let Some((slot, at, _)) = run.first() else { continue };
            let from = usize::try_from(at - first).unwrap_or(usize::MAX).saturating_mul(frame);
            let len = run.iter().map(|(_, _, bytes)| bytes.len()).sum();
            let bytes = sealed.get(from..).and_then(|rest| rest.get(..len)).unwrap_or_default();
            let written = self.write(*slot, (blob, *at), frame, bytes);
            if let Err(error) = &written {
                tracing::debug!(%error, "frames are not cached");
            }
            let mut table = self.table();
            for (slot, at, bytes) in run {
                // Somebody else may have been faster.
                if *slot >= table.capacity {
                    // It gave way meanwhile.
                } else if written.is_err() || table.found.contains_key(&(blob, *at)) {
                    table.free.push(*slot);
                } else {
                    table.insert(*slot, (blob, *at), u32::try_from(bytes.len()).unwrap_or(0));
                }
            }
        }
    }
}

impl FrameCache for FrameStore {
    fn has(&self, blob: BlobId, frames: Range<u64>) -> bool {
        let table = self.table();
        frames.into_iter().all(|frame| table.found.contains_key(&(blob, frame)))
    }

    fn get(&self, blob: BlobId, frame: u64, sealed: &mut [u8]) -> bool {
        self.get_run(blob, frame, sealed.len(), sealed)
    }

    fn get_run(&self, blob: BlobId, first: u64, frame: usize, sealed: &mut [u8]) -> bool {
        if frame == 0 {
            return false;
        }
        let mut slots = Vec::with_capacity(sealed.len().div_ceil(frame));
        {
            let mut table = self.table();
            for (at, room) in (first..).zip(sealed.chunks(frame)) {
                let Some(slot) = table.found.get(&(blob, at)).copied() else { return false };
                if table.slots[slot as usize].len as usize != room.len() {
                    return false;
                }
                table.touch(slot);
                slots.push(slot);
            }
        }
        // If a slot is taken by another frame meanwhile, what is read does not authenticate.
        let mut rest = sealed;
        let fills = frame as u64 == FRAME_SEALED;
        for run in slots.chunk_by(|before, next| fills && before + 1 == *next) {
            let Some((room, behind)) = rest.split_at_mut_checked((run.len() * frame).min(rest.len())) else { break };
            if self.frames.read_exact_at(room, u64::from(run[0]) * FRAME_SEALED).is_err() {
                return false;
            }
            rest = behind;
        }
        true
    }

    fn put(&self, blob: BlobId, frame: u64, sealed: &[u8]) {
        self.put_run(blob, frame, sealed.len(), sealed);
    }

    fn put_run(&self, blob: BlobId, first: u64, frame: usize, sealed: &[u8]) {
        if frame > 0 && frame as u64 <= FRAME_SEALED {
            self.fill(blob, first, frame, sealed);
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
                && let Err(error) =
                    self.index.write_all_at(&entry((BlobId([0; 16]), 0), 0), (u64::from(slot) + 1) * ENTRY_LEN as u64)
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

    /// Forgets all slots but the first ones, and never has more again.
    fn cut(&mut self, slots: u32) {
        let gone: Vec<Key> = self.found.iter().filter(|(_, slot)| **slot >= slots).map(|(key, _)| *key).collect();
        for slot in gone.iter().filter_map(|key| self.found.remove(key)).collect::<Vec<_>>() {
            self.unlink(slot);
        }
        self.slots.truncate(slots as usize);
        self.free.retain(|slot| *slot < slots);
        self.capacity = slots;
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

fn entry(key: Key, len: u32) -> [u8; ENTRY_LEN] {
    let mut entry = [0; ENTRY_LEN];
    entry[..16].copy_from_slice(&key.0.0);
    entry[16..24].copy_from_slice(&key.1.to_le_bytes());
    entry[24..28].copy_from_slice(&len.to_le_bytes());
    entry
}

fn decode(entry: &[u8]) -> Option<(Key, u32)> {
    let mut reader = Reader::bare(entry);
    let key = (BlobId(reader.array().ok()?), reader.u64().ok()?);
    let len = reader.u32().ok()?;
    (len > 0 && u64::from(len) <= FRAME_SEALED && reader.u32().ok()? == 0).then_some((key, len))
}
