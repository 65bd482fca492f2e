//! Records of a transfer's journal: what a machine must remember to resume an upload or a download, file keys included.
//!
//! | purpose | key | bound to | holds |
//! |---|---|---|---|
//! | 10 | account's journal key | journal 16, number u64 | one record |
//!
//! A journal's id is drawn when it is begun, so records cannot be moved to another journal or to another place in theirs.

use zeroize::Zeroizing;

use super::{Purpose, open, seal};
use crate::Undecryptable;
use crate::keys::JournalKey;

fn context(journal: [u8; 16], number: u64) -> [u8; 24] {
    let mut context = [0; 24];
    context[..16].copy_from_slice(&journal);
    context[16..].copy_from_slice(&number.to_le_bytes());
    context
}

/// Seals record `number` of a journal.
#[must_use]
pub fn seal_journal_record(key: &JournalKey, journal: [u8; 16], number: u64, plain: &[u8]) -> Vec<u8> {
    seal(Purpose::JournalRecord, 0, key.bytes(), &context(journal, number), plain)
}

/// Opens record `number` of a journal.
///
/// # Errors
/// [`Undecryptable`].
pub fn open_journal_record(
    key: &JournalKey,
    journal: [u8; 16],
    number: u64,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Undecryptable> {
    open(Purpose::JournalRecord, 0, key.bytes(), &context(journal, number), sealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::AccountKey;

    #[test]
    fn a_record_opens_in_its_place_only() {
        let key = AccountKey::make().derive_journal_key();
        let sealed = seal_journal_record(&key, [1; 16], 3, b"record");
        assert_eq!(open_journal_record(&key, [1; 16], 3, &sealed).unwrap().as_slice(), b"record");
        assert!(open_journal_record(&key, [1; 16], 4, &sealed).is_err());
        assert!(open_journal_record(&key, [2; 16], 3, &sealed).is_err());
        let other = AccountKey::make().derive_journal_key();
        assert!(open_journal_record(&other, [1; 16], 3, &sealed).is_err());
    }
}
