//! Writer lists: whose commits count in a bucket.
//!
//! ```text
//! entry: "cyxL" 1 | bucket 16 | index u32 | BLAKE3 of the entry before 32 | action u8 | Ed25519 public key 32
//!                 | sequence u64 | signature 64
//! ```
//! A list only grows. Each entry is signed by the bucket's owner and names the hash of the one before it (zeros for the first),
//! so a server can withhold the newest entries but cannot leave out, reorder or invent any. Action 1 adds a key: it may sign
//! changes from bucket sequence `sequence` on. Action 2 removes it: what it signed up to `sequence` still counts. Action 3 hands the
//! list over to the owner's next key: the key of before is removed and this one added, both as of `sequence`, and entries behind it
//! are signed by this one. So the key that a list begins with names the bucket's owner for good, whatever key the owner has now.

use ed25519_dalek::SigningKey;
use thiserror::Error;

use crate::commit::{self, Commit};
use crate::grant::split_signature;
use crate::ids::{BucketId, KeyId};
use crate::sign::{self, BadSignature, Purpose, SIGNATURE_LEN};
use crate::wire::{DecodeError, Reader, Writer};

const MAGIC: &[u8; 4] = b"cyxL";
const VERSION: u8 = 1;
/// Bytes of an entry, signature included.
pub const ENTRY_LEN: usize = 5 + 16 + 4 + 32 + 1 + 32 + 8 + SIGNATURE_LEN;
/// Most entries of a list.
pub const ENTRIES_MAX: usize = 4096;
/// What the first entry names as the one before it.
pub const NO_ENTRY: [u8; 32] = [0; 32];

/// What an entry does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriterAction {
    /// The key may sign changes from the entry's sequence on.
    Add,
    /// The key may not sign changes beyond the entry's sequence.
    Remove,
    /// The key takes the place of the owner's: as a writer, and as the one that signs the list.
    HandOver,
}

/// What an entry says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WriterEntry {
    /// The bucket.
    pub bucket: BucketId,
    /// Its place in the list, from 0.
    pub index: u32,
    /// [`hash`] of the entry before it, [`NO_ENTRY`] for the first.
    pub previous: [u8; 32],
    /// What it does.
    pub action: WriterAction,
    /// To which Ed25519 public key.
    pub key: [u8; 32],
    /// First (to add) or last (to remove) bucket sequence that the key may sign. Handing over: the last of the key of before; the key
    /// itself may sign what comes behind it.
    pub sequence: u64,
}

/// Why a writer list is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WriterListError {
    /// An entry is not one.
    #[error("writer entry {index} is {error}")]
    Malformed {
        /// Which entry.
        index: usize,
        /// What is wrong.
        error: DecodeError,
    },
    /// An entry is not signed by the owner.
    #[error("writer entry {0} is not signed by the bucket's owner")]
    BadSignature(usize),
    /// An entry is for another bucket, out of its place, or does not follow the one before it.
    #[error("writer entry {0} does not belong there")]
    OutOfPlace(usize),
    /// An entry adds a key that is in the list, removes one that is not, or goes back in time.
    #[error("writer entry {0} contradicts those before it")]
    Contradiction(usize),
    /// The list has more entries than any may have.
    #[error("the writer list has more than {ENTRIES_MAX} entries")]
    TooLong,
}

/// BLAKE3 of a signed entry.
#[must_use]
pub fn hash(entry: &[u8]) -> [u8; 32] {
    *blake3::hash(entry).as_bytes()
}

impl WriterEntry {
    /// Encodes and signs with the owner's key.
    #[must_use]
    pub fn sign(&self, owner: &SigningKey) -> Vec<u8> {
        let mut writer = Writer::new(MAGIC, VERSION);
        writer.raw(&self.bucket.0).u32(self.index).raw(&self.previous);
        writer.u8(match self.action {
            WriterAction::Add => 1,
            WriterAction::Remove => 2,
            WriterAction::HandOver => 3,
        });
        writer.raw(&self.key).u64(self.sequence);
        let mut bytes = writer.finish();
        let signature = sign::sign(owner, Purpose::WriterList, &bytes);
        bytes.extend_from_slice(&signature);
        bytes
    }

    /// Reads an entry without believing it; only a whole list can be believed, see [`WriterList::verify`].
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn read_unchecked(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (body, _) = split_signature(bytes)?;
        let mut reader = Reader::new(body, MAGIC, VERSION, "writer entry")?;
        let entry = Self {
            bucket: BucketId(reader.array()?),
            index: reader.u32()?,
            previous: reader.array()?,
            action: match reader.u8()? {
                1 => WriterAction::Add,
                2 => WriterAction::Remove,
                3 => WriterAction::HandOver,
                _ => return Err(DecodeError::Invalid("writer action")),
            },
            key: reader.array()?,
            sequence: reader.u64()?,
        };
        reader.end()?;
        Ok(entry)
    }
}

/// One stay of a key in a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WriterStay {
    /// Ed25519 public key.
    pub key: [u8; 32],
    /// First bucket sequence it may sign.
    pub from: u64,
    /// Last bucket sequence it may sign; `None` while it is not removed.
    pub until: Option<u64>,
}

/// A writer list that was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WriterList {
    bucket: BucketId,
    stays: Vec<WriterStay>,
    hashes: Vec<[u8; 32]>,
    /// Keys to which the list was handed over, the newest last.
    heirs: Vec<[u8; 32]>,
}

impl WriterList {
    /// A list without entries.
    #[must_use]
    pub const fn empty(bucket: BucketId) -> Self {
        Self { bucket, stays: Vec::new(), hashes: Vec::new(), heirs: Vec::new() }
    }

    /// Checks a whole list against the public key that its owner had when it was begun.
    ///
    /// # Errors
    /// [`WriterListError`].
    pub fn verify<E: AsRef<[u8]>>(bucket: BucketId, owner: &[u8; 32], entries: &[E]) -> Result<Self, WriterListError> {
        let mut list = Self::empty(bucket);
        for entry in entries {
            list.append(owner, entry.as_ref())?;
        }
        Ok(list)
    }

    /// Checks one more entry and takes it in. `owner` is the key that the list began with.
    ///
    /// # Errors
    /// [`WriterListError`]; then the list is as it was.
    pub fn append(&mut self, owner: &[u8; 32], bytes: &[u8]) -> Result<(), WriterListError> {
        let index = self.hashes.len();
        if index >= ENTRIES_MAX {
            return Err(WriterListError::TooLong);
        }
        let malformed = |error| WriterListError::Malformed { index, error };
        let entry = WriterEntry::read_unchecked(bytes).map_err(malformed)?;
        let (body, signature) = split_signature(bytes).map_err(malformed)?;
        let signer = self.owner(owner);
        sign::verify(&signer, Purpose::WriterList, body, signature)
            .map_err(|BadSignature| WriterListError::BadSignature(index))?;
        if entry.bucket != self.bucket || entry.index as usize != index || entry.previous != self.head() {
            return Err(WriterListError::OutOfPlace(index));
        }
        let last = self.stays.iter_mut().rev().find(|stay| stay.key == entry.key);
        match (entry.action, last) {
            (WriterAction::HandOver, None) => {
                let before = self.stays.iter_mut().rev().find(|stay| stay.key == signer && stay.until.is_none());
                match before {
                    Some(stay) if stay.from > entry.sequence => return Err(WriterListError::Contradiction(index)),
                    Some(stay) => stay.until = Some(entry.sequence),
                    None => {}
                }
                let from = entry.sequence.saturating_add(1);
                self.stays.push(WriterStay { key: entry.key, from, until: None });
                self.heirs.push(entry.key);
            }
            (WriterAction::Add, None) => {
                self.stays.push(WriterStay { key: entry.key, from: entry.sequence, until: None });
            }
            (WriterAction::Add, Some(WriterStay { until: Some(until), .. })) if *until < entry.sequence => {
                self.stays.push(WriterStay { key: entry.key, from: entry.sequence, until: None });
            }
            (WriterAction::Remove, Some(stay)) if stay.until.is_none() => stay.until = Some(entry.sequence),
            _ => return Err(WriterListError::Contradiction(index)),
        }
        self.hashes.push(hash(bytes));
        Ok(())
    }

    /// The key that signs the next entry, in a list that began with the key `first`.
    #[must_use]
    pub fn owner(&self, first: &[u8; 32]) -> [u8; 32] {
        *self.heirs.last().unwrap_or(first)
    }

    /// Whether this was a key of the owner, who has another by now. `first` is the key that the list began with.
    #[must_use]
    pub fn was_replaced(&self, first: &[u8; 32], key: KeyId) -> bool {
        let before = self.heirs.split_last().map_or(&[][..], |(_, before)| before);
        !self.heirs.is_empty() && std::iter::once(first).chain(before).any(|owner| sign::key_id(owner) == key)
    }

    /// The bucket.
    #[must_use]
    pub const fn bucket(&self) -> BucketId {
        self.bucket
    }

    /// Every stay of every key, in order of addition.
    #[must_use]
    pub fn writers(&self) -> &[WriterStay] {
        &self.stays
    }

    /// How many entries there are: the index of the next one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Hash of the newest entry: what the next one names.
    #[must_use]
    pub fn head(&self) -> [u8; 32] {
        self.hashes.last().copied().unwrap_or(NO_ENTRY)
    }

    /// Whether this list continues one of `len` entries that ended with `head`. A client remembers both, so that a server
    /// cannot show it an older or another list later.
    #[must_use]
    pub fn continues(&self, len: usize, head: &[u8; 32]) -> bool {
        match len.checked_sub(1) {
            None => *head == NO_ENTRY,
            Some(last) => self.hashes.get(last) == Some(head),
        }
    }

    /// The entry that would add or remove a key next, to be signed by the owner.
    #[must_use]
    pub fn next(&self, action: WriterAction, key: [u8; 32], sequence: u64) -> WriterEntry {
        let index = u32::try_from(self.len()).unwrap_or(u32::MAX);
        WriterEntry { bucket: self.bucket, index, previous: self.head(), action, key, sequence }
    }

    /// The public key of this id, if it may sign a change that takes the bucket to `sequence`.
    #[must_use]
    pub fn may_sign(&self, key: KeyId, sequence: u64) -> Option<[u8; 32]> {
        self.find(key, |stay| stay.from <= sequence && stay.until.is_none_or(|until| sequence <= until))
    }

    /// The public key of this id, if it is in the list and was not removed.
    #[must_use]
    pub fn may_sign_now(&self, key: KeyId) -> Option<[u8; 32]> {
        self.find(key, |stay| stay.until.is_none())
    }

    /// The public key of this id, if it was ever in the list.
    #[must_use]
    pub fn ever(&self, key: KeyId) -> Option<[u8; 32]> {
        self.find(key, |_| true)
    }

    fn find(&self, key: KeyId, allowed: impl Fn(&WriterStay) -> bool) -> Option<[u8; 32]> {
        self.stays.iter().find(|stay| allowed(stay) && sign::key_id(&stay.key) == key).map(|stay| stay.key)
    }

    /// The public key of this id, if it may sign some change behind `seen`.
    #[must_use]
    pub fn may_sign_after(&self, key: KeyId, seen: u64) -> Option<[u8; 32]> {
        self.find(key, |stay| stay.until.is_none_or(|until| until > seen))
    }

    /// Checks a commit. With the bucket sequence that the commit made, its writer must have been allowed to sign that one, and must not
    /// have seen it or a later one before; without, any writer will do that was in the list after what it had seen, or ever if its
    /// signature does not tell.
    ///
    /// # Errors
    /// [`BadSignature`] if its writer is not in the list, or did not sign it, or if it is for another bucket.
    pub fn verify_commit(&self, commit: &Commit, signature: &[u8], sequence: Option<u64>) -> Result<(), BadSignature> {
        if commit.bucket != self.bucket {
            return Err(BadSignature);
        }
        let key = match (sequence, commit::seen(signature)) {
            (Some(sequence), Some(seen)) if seen >= sequence => None,
            (Some(sequence), _) => self.may_sign(commit.writer, sequence),
            (None, Some(seen)) => self.may_sign_after(commit.writer, seen),
            (None, None) => self.ever(commit.writer),
        };
        commit.verify(&key.ok_or(BadSignature)?, signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extent::PageId;
    use crate::ids::InodeId;

    const BUCKET: BucketId = BucketId([8; 16]);

    fn key(byte: u8) -> (SigningKey, [u8; 32]) {
        let key = SigningKey::from_bytes(&[byte; 32]);
        let public = key.verifying_key().to_bytes();
        (key, public)
    }

    /// Appends entries for keys of the given bytes.
    fn list(owner: u8, changes: &[(WriterAction, u8, u64)]) -> (WriterList, Vec<Vec<u8>>) {
        let (owner, owner_public) = key(owner);
        let (mut list, mut entries) = (WriterList::empty(BUCKET), Vec::new());
        for (action, who, sequence) in changes {
            entries.push(list.next(*action, key(*who).1, *sequence).sign(&owner));
            list.append(&owner_public, &entries[entries.len() - 1]).unwrap();
        }
        (list, entries)
    }

    const STORY: [(WriterAction, u8, u64); 4] = [
        (WriterAction::Add, 1, 0),
        (WriterAction::Add, 2, 5),
        (WriterAction::Remove, 2, 9),
        (WriterAction::Add, 2, 20),
    ];

    #[test]
    fn keys_may_sign_while_they_are_listed() {
        let (list, _) = list(1, &STORY);
        let id = sign::key_id(&key(2).1);
        let allowed: Vec<u64> = (0..25).filter(|sequence| list.may_sign(id, *sequence).is_some()).collect();
        assert_eq!(allowed, [5, 6, 7, 8, 9, 20, 21, 22, 23, 24]);
        assert_eq!(list.may_sign_now(id), Some(key(2).1));
        assert_eq!(list.ever(sign::key_id(&key(3).1)), None);
    }

    #[test]
    fn a_list_is_checked_as_a_whole() {
        let (built, entries) = list(1, &STORY);
        let owner = key(1).1;
        assert_eq!(WriterList::verify(BUCKET, &owner, &entries), Ok(built.clone()));
        assert!(built.continues(3, &hash(&entries[2])));
        assert!(!built.continues(3, &hash(&entries[1])));
        assert!(built.continues(0, &NO_ENTRY));
        assert!(!built.continues(5, &hash(&entries[3])));

        let without_second = [&entries[0], &entries[2], &entries[3]];
        assert_eq!(WriterList::verify(BUCKET, &owner, &without_second), Err(WriterListError::OutOfPlace(1)));
        let swapped = [&entries[1], &entries[0]];
        assert_eq!(WriterList::verify(BUCKET, &owner, &swapped), Err(WriterListError::OutOfPlace(0)));
        assert_eq!(WriterList::verify(BucketId([9; 16]), &owner, &entries), Err(WriterListError::OutOfPlace(0)));
        assert_eq!(WriterList::verify(BUCKET, &key(2).1, &entries), Err(WriterListError::BadSignature(0)));
    }

    #[test]
    fn contradictions_are_refused() {
        let (owner, public) = key(1);
        for (action, who, sequence) in
            [(WriterAction::Add, 1, 30), (WriterAction::Remove, 3, 30), (WriterAction::Remove, 1, 3)]
        {
            let (mut list, _) = list(1, &STORY);
            if action == WriterAction::Remove && who == 1 {
                let removal = list.next(action, key(who).1, sequence).sign(&owner);
                list.append(&public, &removal).unwrap();
                let again = list.next(WriterAction::Add, key(who).1, sequence).sign(&owner);
                assert_eq!(list.append(&public, &again), Err(WriterListError::Contradiction(5)));
                continue;
            }
            let entry = list.next(action, key(who).1, sequence).sign(&owner);
            assert_eq!(list.append(&public, &entry), Err(WriterListError::Contradiction(4)));
        }
    }

    #[test]
    fn a_list_that_is_handed_over_goes_on_under_the_next_key_alone() {
        let (owner, first) = key(1);
        let (heir, second) = key(7);
        let (mut begun, mut entries) = list(1, &STORY);
        let mut handed = begun.clone();
        let hand_over = handed.next(WriterAction::HandOver, second, 30);
        entries.push(hand_over.sign(&owner));
        handed.append(&first, &entries[4]).unwrap();
        assert_eq!((begun.owner(&first), handed.owner(&first)), (first, second));
        let (of_first, of_second) = (sign::key_id(&first), sign::key_id(&second));
        assert!(handed.was_replaced(&first, of_first) && !handed.was_replaced(&first, of_second));
        assert!(!begun.was_replaced(&first, of_first));
        let may = |id| (29..33).filter(|sequence| handed.may_sign(id, *sequence).is_some()).collect::<Vec<u64>>();
        assert_eq!((may(of_first), may(of_second)), (vec![29, 30], vec![31, 32]));
        assert!(handed.continues(4, &begun.head()));

        // The key of before signs nothing more, and the new one nothing of before.
        let late = handed.next(WriterAction::Add, key(8).1, 31);
        assert_eq!(handed.clone().append(&first, &late.sign(&owner)), Err(WriterListError::BadSignature(5)));
        entries.push(late.sign(&heir));
        handed.append(&first, &entries[5]).unwrap();
        assert_eq!(WriterList::verify(BUCKET, &first, &entries), Ok(handed.clone()));
        assert_eq!(WriterList::verify(BUCKET, &second, &entries), Err(WriterListError::BadSignature(0)));
        assert_eq!(begun.append(&first, &hand_over.sign(&heir)), Err(WriterListError::BadSignature(4)));
        // Without the entry that hands over, what follows it belongs nowhere.
        entries.remove(4);
        assert_eq!(WriterList::verify(BUCKET, &first, &entries), Err(WriterListError::BadSignature(4)));

        let taken = handed.next(WriterAction::HandOver, key(2).1, 40).sign(&heir);
        assert_eq!(handed.clone().append(&first, &taken), Err(WriterListError::Contradiction(6)));
        let back = handed.next(WriterAction::HandOver, first, 40).sign(&heir);
        assert_eq!(handed.clone().append(&first, &back), Err(WriterListError::Contradiction(6)));
        let early = handed.next(WriterAction::HandOver, key(9).1, 30).sign(&heir);
        assert_eq!(handed.clone().append(&first, &early), Err(WriterListError::Contradiction(6)));
        let third = handed.next(WriterAction::HandOver, key(9).1, 31).sign(&heir);
        handed.append(&first, &third).unwrap();
        assert_eq!(handed.owner(&first), key(9).1);
        assert!(handed.was_replaced(&first, of_first) && handed.was_replaced(&first, of_second));
    }

    #[test]
    fn a_commit_counts_if_its_writer_was_listed_then() {
        let (list, _) = list(1, &STORY);
        let (writer, public) = key(2);
        let commit = Commit {
            bucket: BUCKET,
            inode: InodeId([1; 16]),
            version: 1,
            base: 0,
            size: 0,
            root: PageId::EMPTY,
            writer: sign::key_id(&public),
        };
        let signature = commit.sign(&writer);
        assert_eq!(list.verify_commit(&commit, &signature, Some(9)), Ok(()));
        assert_eq!(list.verify_commit(&commit, &signature, Some(10)), Err(BadSignature));
        assert_eq!(list.verify_commit(&commit, &signature, None), Ok(()));
        // What its writer had seen limits what the server can say about when it was made, and what it can leave out.
        let late = commit.sign_after(9, &writer);
        assert_eq!(list.verify_commit(&commit, &late, Some(9)), Err(BadSignature));
        assert_eq!(list.verify_commit(&commit, &late, Some(20)), Ok(()), "it was added again");
        let (removed, _) = self::list(1, &STORY[..3]);
        for (seen, expected) in [(8, Ok(())), (9, Err(BadSignature)), (12, Err(BadSignature))] {
            assert_eq!(removed.verify_commit(&commit, &commit.sign_after(seen, &writer), None), expected, "{seen}");
        }
        let elsewhere = Commit { bucket: BucketId([9; 16]), ..commit };
        assert_eq!(list.verify_commit(&elsewhere, &elsewhere.sign(&writer), Some(9)), Err(BadSignature));
    }
}
