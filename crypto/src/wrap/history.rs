//! The older keys of an inode: each sealed under the next, so that whoever has the newest has them all.
//!
//! ```text
//! history: "cyxH" 1 | count u16 | boxes of 74 bytes, the oldest key first
//! box (purpose 8): key: history key of the newer inode key, its epoch
//!                  bound to: inode 16
//!                  holds: older key's epoch u32 | older key 32
//! ```
//! An inode that never changed its key has no history: no bytes at all. Who has an older key than the newest opens what is behind that
//! one: the boxes of newer keys are left alone.

use cyx_core::ids::InodeId;
use cyx_core::wire::{Reader, Writer};

use super::{BOX_OVERHEAD, Purpose, epoch_of, key_plain, open, seal, split_key};
use crate::Undecryptable;
use crate::keys::{InodeKey, KEY_LEN};

const MAGIC: &[u8; 4] = b"cyxH";
const VERSION: u8 = 1;
const OLDER_KEY_BOX_LEN: usize = BOX_OVERHEAD + 4 + KEY_LEN;
/// Most older keys of one inode.
const HISTORY_MAX: usize = 1024;

/// All keys of one inode, found by epoch.
#[derive(Clone)]
pub struct InodeKeyring {
    newest: InodeKey,
    /// From newer to older.
    older: Vec<InodeKey>,
}

impl InodeKeyring {
    /// A keyring of one key.
    #[must_use]
    pub fn single(key: InodeKey) -> Self {
        Self { newest: key, older: Vec::new() }
    }

    /// A keyring that was kept elsewhere: the newest key and the others from newer to older, as [`Self::all`] gives them.
    #[must_use]
    pub const fn from_keys(newest: InodeKey, older: Vec<InodeKey>) -> Self {
        Self { newest, older }
    }

    /// The key for everything new.
    #[must_use]
    pub const fn newest(&self) -> &InodeKey {
        &self.newest
    }

    /// The key of an epoch.
    ///
    /// # Errors
    /// [`Undecryptable`] if there is none.
    pub fn of_epoch(&self, epoch: u32) -> Result<&InodeKey, Undecryptable> {
        self.all().find(|key| key.epoch() == epoch).ok_or(Undecryptable)
    }

    /// Every key, the newest first.
    pub fn all(&self) -> impl Iterator<Item = &InodeKey> {
        std::iter::once(&self.newest).chain(&self.older)
    }
}

fn split_history(history: &[u8]) -> Result<Vec<&[u8]>, Undecryptable> {
    if history.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new(history, MAGIC, VERSION, "key history").map_err(|_| Undecryptable)?;
    let count = usize::from(reader.u16().map_err(|_| Undecryptable)?);
    if count == 0 || count > HISTORY_MAX || reader.remaining() != count * OLDER_KEY_BOX_LEN {
        return Err(Undecryptable);
    }
    (0..count).map(|_| reader.take(OLDER_KEY_BOX_LEN).map_err(|_| Undecryptable)).collect()
}

/// The history after `newer` has taken the place of `older`.
///
/// # Errors
/// [`Undecryptable`] if `history` is not one or is full.
pub fn extend_history(
    history: &[u8],
    inode: InodeId,
    older: &InodeKey,
    newer: &InodeKey,
) -> Result<Vec<u8>, Undecryptable> {
    let mut boxes = split_history(history)?;
    let plain = key_plain(older.epoch(), older.expose());
    let added = seal(Purpose::OlderKey, newer.epoch(), newer.derive_history_key().bytes(), &inode.0, &*plain);
    boxes.push(&added);
    if boxes.len() > HISTORY_MAX {
        return Err(Undecryptable);
    }
    let mut writer = Writer::new(MAGIC, VERSION);
    writer.u16(u16::try_from(boxes.len()).unwrap_or(u16::MAX));
    for sealed in boxes {
        writer.raw(sealed);
    }
    Ok(writer.finish())
}

/// Every key of an inode that is as old as the newest one known, from that and the history.
///
/// # Errors
/// [`Undecryptable`], also if epochs do not fall.
pub fn open_history(newest: InodeKey, inode: InodeId, history: &[u8]) -> Result<InodeKeyring, Undecryptable> {
    let mut found: Vec<InodeKey> = Vec::new();
    for sealed in split_history(history)?.iter().rev() {
        // The key was changed meanwhile, and the newer one is not known here yet.
        if found.is_empty() && epoch_of(sealed)? > newest.epoch() {
            continue;
        }
        let newer = found.last().unwrap_or(&newest);
        let key = newer.derive_history_key();
        let (epoch, older) = split_key(&open(Purpose::OlderKey, newer.epoch(), key.bytes(), &inode.0, sealed)?)?;
        if epoch >= newer.epoch() {
            return Err(Undecryptable);
        }
        found.push(InodeKey::from_parts(epoch, older));
    }
    Ok(InodeKeyring { newest, older: found })
}
