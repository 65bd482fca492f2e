//! The account keys of before: each sealed under the one that took its place.
//!
//! ```text
//! history: "cyxA" 1 | count u16 | boxes of 74 bytes, the oldest key first
//! box (purpose 14): key: account history key of the newer account key, its epoch
//!                   bound to: account 16
//!                   holds: older key's epoch u32 | older key 32
//! ```
//! An account whose key was never replaced has no history: no bytes at all, and the epoch 0. What a machine has sealed for itself under a
//! key of before (journals, say) stays readable for its owner. The newest box says of which epoch the newest key is, so that a server
//! cannot pass an older key off as a newer one. Only so many keys are kept; the oldest go first.

use cyx_core::ids::AccountId;
use cyx_core::wire::{Reader, Writer};

use super::{BOX_OVERHEAD, Purpose, epoch_of, key_plain, open, seal, split_key};
use crate::Undecryptable;
use crate::keys::{AccountKey, KEY_LEN};

const MAGIC: &[u8; 4] = b"cyxA";
const VERSION: u8 = 1;
const BOX_LEN: usize = BOX_OVERHEAD + 4 + KEY_LEN;
/// Older keys of an account that are kept.
pub const ACCOUNT_KEYS_KEPT: usize = 32;

fn split(history: &[u8]) -> Result<Vec<&[u8]>, Undecryptable> {
    if history.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new(history, MAGIC, VERSION, "account key history").map_err(|_| Undecryptable)?;
    let count = usize::from(reader.u16().map_err(|_| Undecryptable)?);
    if count == 0 || count > ACCOUNT_KEYS_KEPT || reader.remaining() != count * BOX_LEN {
        return Err(Undecryptable);
    }
    (0..count).map(|_| reader.take(BOX_LEN).map_err(|_| Undecryptable)).collect()
}

/// The history after `newer` has taken the place of `older`, which is of the epoch `epoch`.
///
/// # Errors
/// [`Undecryptable`] if `history` is not one, or if there are no epochs left.
pub fn extend_account_history(
    history: &[u8],
    account: AccountId,
    older: &AccountKey,
    epoch: u32,
    newer: &AccountKey,
) -> Result<Vec<u8>, Undecryptable> {
    let mut boxes = split(history)?;
    let next = epoch.checked_add(1).ok_or(Undecryptable)?;
    let plain = key_plain(epoch, older.expose());
    let added = seal(Purpose::OlderAccountKey, next, newer.derive_history_key().bytes(), &account.0, &*plain);
    boxes.push(&added);
    let kept = boxes.len().saturating_sub(ACCOUNT_KEYS_KEPT);
    let mut writer = Writer::new(MAGIC, VERSION);
    writer.u16(u16::try_from(boxes.len() - kept).unwrap_or(u16::MAX));
    for sealed in &boxes[kept..] {
        writer.raw(sealed);
    }
    Ok(writer.finish())
}

/// The keys of before, the newest first, of an account whose newest key is `newest` and said to be of the epoch `epoch`.
///
/// # Errors
/// [`Undecryptable`], also if the key is of another epoch.
pub fn open_account_history(
    newest: &AccountKey,
    epoch: u32,
    account: AccountId,
    history: &[u8],
) -> Result<Vec<AccountKey>, Undecryptable> {
    let boxes = split(history)?;
    if boxes.is_empty() != (epoch == 0) {
        return Err(Undecryptable);
    }
    let mut found: Vec<AccountKey> = Vec::with_capacity(boxes.len());
    let mut next = epoch;
    for sealed in boxes.iter().rev() {
        if epoch_of(sealed)? != next {
            return Err(Undecryptable);
        }
        let key = found.last().unwrap_or(newest).derive_history_key();
        let (older, bytes) = split_key(&open(Purpose::OlderAccountKey, next, key.bytes(), &account.0, sealed)?)?;
        if older.checked_add(1) != Some(next) {
            return Err(Undecryptable);
        }
        found.push(AccountKey::from_bytes(bytes));
        next = older;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: AccountId = AccountId([5; 16]);

    /// Keys from the oldest to the newest, and their history.
    fn keys(count: u8) -> (Vec<AccountKey>, Vec<u8>) {
        let keys: Vec<AccountKey> = (1..=count).map(|byte| AccountKey::from_bytes([byte; 32])).collect();
        let mut history = Vec::new();
        for (epoch, pair) in (0..).zip(keys.windows(2)) {
            history = extend_account_history(&history, ACCOUNT, &pair[0], epoch, &pair[1]).unwrap();
        }
        (keys, history)
    }

    #[test]
    fn who_has_the_newest_key_has_those_of_before_and_nobody_the_other_way() {
        let (keys, history) = keys(4);
        let found = open_account_history(&keys[3], 3, ACCOUNT, &history).unwrap();
        assert!(found.iter().eq(keys[..3].iter().rev()));
        assert!(open_account_history(&keys[0], 0, ACCOUNT, &[]).unwrap().is_empty());
        for older in &keys[..3] {
            for epoch in 0..4 {
                assert!(open_account_history(older, epoch, ACCOUNT, &history).is_err());
            }
        }
    }

    #[test]
    fn an_older_key_is_not_passed_off_as_a_newer_one() {
        let (keys, history) = keys(3);
        assert!(open_account_history(&keys[2], 2, ACCOUNT, &history).is_ok());
        for (key, epoch, history) in [
            (&keys[2], 3, &history[..]),
            (&keys[2], 1, &history[..]),
            (&keys[2], 0, &history[..]),
            (&keys[2], 2, &[][..]),
            (&keys[0], 2, &[][..]),
            (&keys[2], 2, &history[..history.len() - 1]),
        ] {
            assert!(open_account_history(key, epoch, ACCOUNT, history).is_err(), "epoch {epoch}");
        }
        assert!(open_account_history(&keys[2], 2, AccountId([6; 16]), &history).is_err());
        for at in 0..history.len() {
            let mut changed = history.clone();
            changed[at] ^= 1;
            assert!(open_account_history(&keys[2], 2, ACCOUNT, &changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn only_so_many_keys_are_kept() {
        let (keys, history) = keys(40);
        let found = open_account_history(&keys[39], 39, ACCOUNT, &history).unwrap();
        assert_eq!(found.len(), ACCOUNT_KEYS_KEPT);
        assert!(found.iter().eq(keys[39 - ACCOUNT_KEYS_KEPT..39].iter().rev()));
    }
}
