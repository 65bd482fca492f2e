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

mod behind;
pub mod pages;
mod slots;
#[cfg(test)]
mod tests;

use behind::{Behind, Copied, GROUP, OnTheirWay, SLOT};
use pages::PageStore;
use slots::SlotFile;

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
    /// Those whose frames are not in the file yet.
    on_their_way: OnTheirWay,
}

/// Removes what is in a folder of somebody else's read cache.
pub(crate) fn clear(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What is on disk, and what is known of it.
struct Files {
    frames: SlotFile,
    index: File,
    table: Mutex<Table>,
    /// Held while a copy is written, and while files are cut.
    writing: Mutex<()>,
}

/// Frames on disk.
pub struct FrameStore {
    files: Arc<Files>,
    behind: Behind,
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
        let frames = SlotFile::open(&folder.join("frames"))?;
        let mut options = OpenOptions::new();
        let index =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(folder.join("index"))?;
        let capacity =
            u32::try_from(capacity / (FRAME_SEALED + ENTRY_LEN as u64)).unwrap_or(NONE - 1).clamp(1, NONE - 1);
        let mut table = Table::new(capacity);
        if !table.load(&index, frames.len()?)? {
            frames.set_len(0)?;
            index.set_len(0)?;
            let mut header = [0; ENTRY_LEN];
            header[..MAGIC.len()].copy_from_slice(MAGIC);
            index.write_all_at(&header, 0)?;
        }
        if frames.len()? > u64::from(capacity) * FRAME_SEALED {
            frames.set_len(u64::from(capacity) * FRAME_SEALED)?;
            index.set_len((u64::from(capacity) + 1) * ENTRY_LEN as u64)?;
        }
        let files = Arc::new(Files { frames, index, table: Mutex::new(table), writing: Mutex::default() });
        Ok(Self { behind: Behind::start(&files)?, files, pages: None })
    }

    /// Extent pages are kept as well, there.
    #[must_use]
    pub fn with_pages(self, pages: Arc<PageStore>) -> Self {
        Self { pages: Some(pages), ..self }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.files.table()
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

    /// The disk is full, and others need it more: half of what it has goes, and does not come back in this run. Blocks the
    /// thread.
    pub fn give_way(&self) {
        let files = &self.files;
        let _writing = files.writing();
        let slots = {
            let mut table = files.table();
            let slots = table.slots.len() / 2;
            table.cut(u32::try_from(slots).unwrap_or(NONE - 1));
            slots
        };
        let cut = files.frames.set_len(slots as u64 * FRAME_SEALED);
        if let Err(error) = cut.and_then(|()| files.index.set_len((slots as u64 + 1) * ENTRY_LEN as u64)) {
            tracing::debug!(%error, "the read cache does not give way");
        }
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
        // Neighbours are written in one go, as far as a copy of them has room.
        slots.sort_unstable();
        let placed: Vec<(u32, u64, &[u8])> =
            slots.iter().zip(&is_new).map(|(slot, (at, bytes))| (*slot, *at, *bytes)).collect();
        let fills = |one: &[u8]| one.len() as u64 == FRAME_SEALED;
        let follows = |before: &(u32, u64, &[u8]), next: &(u32, u64, &[u8])| {
            before.0 + 1 == next.0 && before.1 + 1 == next.1 && fills(before.2) && !next.0.is_multiple_of(GROUP)
        };
        for run in placed.chunk_by(follows) {
            let Some((slot, at, _)) = run.first() else { continue };
            let from = usize::try_from(at - first).unwrap_or(usize::MAX).saturating_mul(frame);
            let len = run.iter().map(|(_, _, bytes)| bytes.len()).sum();
            let bytes = sealed.get(from..).and_then(|rest| rest.get(..len)).unwrap_or_default();
            self.place(*slot, (blob, *at), frame, bytes);
        }
    }

    /// Puts frames into slots that follow each other, each of which but the last they fill.
    fn place(&self, slot: u32, key: Key, frame: usize, bytes: &[u8]) {
        let files = &self.files;
        let copied = if files.frames.is_direct() { self.behind.copy(slot, key, bytes) } else { None };
        let written = if copied.is_some() { Ok(()) } else { files.write(slot, key, frame, bytes, false) };
        if let Err(error) = &written {
            tracing::debug!(%error, "frames are not cached");
        }
        {
            let mut table = files.table();
            for ((slot, at), bytes) in (slot..).zip(key.1..).zip(bytes.chunks(frame)) {
                // Somebody else may have been faster.
                if slot >= table.capacity {
                    // It gave way meanwhile.
                } else if written.is_err() || table.found.contains_key(&(key.0, at)) {
                    table.free.push(slot);
                } else {
                    table.insert(slot, (key.0, at), u32::try_from(bytes.len()).unwrap_or(0));
                    if let Some(copied) = &copied {
                        table.on_their_way.insert(slot, Arc::clone(copied));
                    }
                }
            }
        }
        if let Some(copied) = copied {
            self.behind.write(copied);
        }
    }
}

impl Files {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes frames to slots that follow each other, each of which but the last they fill.
    fn write(&self, slot: u32, key: Key, frame: usize, sealed: &[u8], direct: bool) -> io::Result<()> {
        let offset = u64::from(slot) * FRAME_SEALED;
        if direct {
            self.frames.write_direct(sealed, offset)?;
        } else {
            self.frames.write_all_at(sealed, offset)?;
        }
        let mut entries = Vec::with_capacity(sealed.len().div_ceil(frame) * ENTRY_LEN);
        for (at, bytes) in (key.1..).zip(sealed.chunks(frame)) {
            entries.extend_from_slice(&entry((key.0, at), u32::try_from(bytes.len()).unwrap_or(0)));
        }
        self.index.write_all_at(&entries, (u64::from(slot) + 1) * ENTRY_LEN as u64)
    }

    /// Writes what slots still point to of a copy, and then they point to it no more.
    fn write_copy(&self, copied: &Arc<Copied>) {
        let _writing = self.writing();
        let slots = self.table().waiting_for(copied);
        for run in slots.chunk_by(|before, next| before + 1 == *next) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let key = (copied.key.0, copied.key.1 + u64::from(first - copied.slot));
            let bytes = copied.of_slots(&(*first..last + 1));
            let written = self.write(*first, key, SLOT, bytes, true);
            if let Err(error) = &written {
                tracing::debug!(%error, "frames are not cached");
            }
            self.table().arrived(copied, run, written.is_ok());
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
                slots.push((slot, table.on_their_way.get(&slot).map(Arc::clone)));
            }
        }
        // If a slot is taken by another frame meanwhile, what is read does not authenticate.
        let mut rest = sealed;
        let fills = frame as u64 == FRAME_SEALED;
        let together = |before: &(u32, Option<Arc<Copied>>), next: &(u32, Option<Arc<Copied>>)| {
            fills && before.0 + 1 == next.0 && before.1.is_none() && next.1.is_none()
        };
        let mut at = first;
        for run in slots.chunk_by(together) {
            let Some((room, behind)) = rest.split_at_mut_checked((run.len() * frame).min(rest.len())) else { break };
            let frames = at..at + run.len() as u64;
            at = frames.end;
            let read = match &run[0] {
                (slot, Some(copied)) => {
                    let frame = copied.frame(*slot).filter(|bytes| bytes.len() == room.len());
                    frame.map(|bytes| room.copy_from_slice(bytes))
                }
                (slot, None) => self.files.frames.read_exact_at(room, u64::from(*slot) * FRAME_SEALED).ok(),
            };
            if read.is_none() {
                // Otherwise it would never be replaced.
                self.forget(blob, frames);
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
                    table.on_their_way.remove(&slot);
                    table.free.push(slot);
                }
                slot
            };
            if let Some(slot) = slot
                && let Err(error) = self
                    .files
                    .index
                    .write_all_at(&entry((BlobId([0; 16]), 0), 0), (u64::from(slot) + 1) * ENTRY_LEN as u64)
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
        let (found, on_their_way) = (HashMap::new(), HashMap::new());
        Self { found, slots: Vec::new(), free: Vec::new(), newest: NONE, oldest: NONE, capacity, on_their_way }
    }

    /// Reads an index of frames in a file of so many bytes; `false` if it is none.
    fn load(&mut self, index: &File, frames: u64) -> io::Result<bool> {
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
            // After a power loss there may be less than the index says.
            let is_there = |len: u32| u64::from(slot) * FRAME_SEALED + u64::from(len) <= frames;
            match decode(entry).filter(|(key, len)| is_there(*len) && !self.found.contains_key(key)) {
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
        self.on_their_way.remove(&oldest);
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
        self.on_their_way.retain(|slot, _| *slot < slots);
        self.capacity = slots;
    }

    /// The slots that point to a copy, in order.
    fn waiting_for(&self, copied: &Arc<Copied>) -> Vec<u32> {
        let is_its = |slot: &u32| self.on_their_way.get(slot).is_some_and(|other| Arc::ptr_eq(other, copied));
        (copied.slot..copied.slot.saturating_add(GROUP)).filter(is_its).collect()
    }

    /// Slots of a copy have their frames in the file now, or never will.
    fn arrived(&mut self, copied: &Arc<Copied>, slots: &[u32], is_written: bool) {
        for slot in slots {
            // Another frame may have it by now.
            if self.on_their_way.get(slot).is_none_or(|other| !Arc::ptr_eq(other, copied)) {
                continue;
            }
            self.on_their_way.remove(slot);
            if !is_written {
                let key = self.slots[*slot as usize].key;
                self.found.remove(&key);
                self.unlink(*slot);
                self.free.push(*slot);
            }
        }
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
