//! What is on its way to the file of the slots. Who brings frames goes on as soon as there is a copy of them, which a thread writes: nobody
//! who reads waits for this machine's disk. Until they are written they are read from the copy.
//!
//! ```text
//! bring a long run -> copy, if there is room for it -> slots point to the copy -> written -> slots point to the file
//!                     no room: the disk is slower than the nodes -> through the page cache, at once
//! ```

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cyx_core::units::FRAME_SEALED;

use super::slots::BLOCK;
use super::{Files, Key};

/// Runs are cut before slots of whose numbers this is a factor: they begin where a block does.
pub(super) const GROUP: u32 = 256;
/// Shorter runs are not worth a copy.
const WORTH: usize = 256 << 10;
/// Bytes of a slot.
#[expect(clippy::cast_possible_truncation, reason = "16,400")]
pub(super) const SLOT: usize = FRAME_SEALED as usize;
/// Room for the longest run, wherever in a block it begins, and to begin where a block does.
const ROOM: usize = GROUP as usize * SLOT + 2 * BLOCK;
/// Copies at a time.
const ROOMS: usize = 8;
/// So long after the last copy their memory is given back.
const PATIENCE: Duration = Duration::from_secs(2);

/// A copy of frames that go into slots one behind the other, all of which are as long as a slot but the last.
pub(super) struct Copied {
    pub(super) slot: u32,
    pub(super) key: Key,
    room: Vec<u8>,
    place: Range<usize>,
}

impl Copied {
    /// The frame of a slot.
    pub(super) fn frame(&self, slot: u32) -> Option<&[u8]> {
        let at = usize::try_from(slot.checked_sub(self.slot)?).ok()?;
        self.bytes().chunks(SLOT).nth(at)
    }

    fn bytes(&self) -> &[u8] {
        &self.room[self.place.clone()]
    }

    /// The bytes of some of its slots.
    pub(super) fn of_slots(&self, slots: &Range<u32>) -> &[u8] {
        let at = |slot: u32| (slot.saturating_sub(self.slot) as usize).saturating_mul(SLOT);
        let bytes = self.bytes();
        &bytes[at(slots.start).min(bytes.len())..at(slots.end).min(bytes.len())]
    }
}

/// Which slots point to copies.
pub(super) type OnTheirWay = HashMap<u32, Arc<Copied>>;

/// Memory for copies.
#[derive(Default)]
struct Rooms {
    free: Vec<Vec<u8>>,
    lent: usize,
}

/// The thread that writes them. What it was given is written before this is gone.
pub(super) struct Behind {
    rooms: Arc<Mutex<Rooms>>,
    queue: Option<Sender<Arc<Copied>>>,
    writer: Option<JoinHandle<()>>,
}

impl Behind {
    pub(super) fn start(files: &Arc<Files>) -> io::Result<Self> {
        let (queue, coming) = mpsc::channel();
        let rooms = Arc::<Mutex<Rooms>>::default();
        let (files, free) = (Arc::clone(files), Arc::clone(&rooms));
        let writer = std::thread::Builder::new()
            .name("cyx-cache".to_owned())
            .spawn(move || write_all(&files, &free, &coming))?;
        Ok(Self { rooms, queue: Some(queue), writer: Some(writer) })
    }

    /// Copies frames that go into slots from `slot` on, if they are worth it and there is room.
    pub(super) fn copy(&self, slot: u32, key: Key, sealed: &[u8]) -> Option<Arc<Copied>> {
        if sealed.len() < WORTH || sealed.len() > ROOM - 2 * BLOCK {
            return None;
        }
        let mut room = {
            let mut rooms = lock(&self.rooms);
            if rooms.lent >= ROOMS {
                return None;
            }
            rooms.lent += 1;
            rooms.free.pop()
        }
        .unwrap_or_else(|| vec![0; ROOM]);
        // As far behind a block's beginning as it goes in the file.
        let behind = usize::try_from(u64::from(slot) * FRAME_SEALED % BLOCK as u64).unwrap_or(0);
        let start = room.as_ptr().align_offset(BLOCK) + behind;
        let place = start..start + sealed.len();
        room[place.clone()].copy_from_slice(sealed);
        Some(Arc::new(Copied { slot, key, room, place }))
    }

    /// Has a copy written, to which its slots point.
    pub(super) fn write(&self, copied: Arc<Copied>) {
        if let Some(queue) = &self.queue {
            // The thread ends with this.
            let _ = queue.send(copied);
        }
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn write_all(files: &Files, rooms: &Mutex<Rooms>, coming: &Receiver<Arc<Copied>>) {
    loop {
        let has_rooms = !lock(rooms).free.is_empty();
        let next = if has_rooms { coming.recv_timeout(PATIENCE) } else { coming.recv().map_err(Into::into) };
        match next {
            Ok(copied) => {
                files.write_copy(&copied);
                let mut rooms = lock(rooms);
                rooms.lent -= 1;
                // Whoever reads it still gives its memory back to the allocator.
                rooms.free.extend(Arc::into_inner(copied).map(|copied| copied.room));
            }
            Err(RecvTimeoutError::Timeout) => lock(rooms).free.clear(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn lock(rooms: &Mutex<Rooms>) -> MutexGuard<'_, Rooms> {
    rooms.lock().unwrap_or_else(PoisonError::into_inner)
}
