//! Changes of names in buckets that are not there any more, or not open to this account. They can never be sent, and are kept until somebody says
//! that they may go, as what was written there is ([`crate::content`]). If a bucket is there again, the next run sends them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use cyx_core::ids::BucketId;

use super::note::{Note, subject};
use super::queue::Item;
use super::shift::{length, shift};
use super::{Local, State};
use crate::journal::{FileId, Journal, JournalError, Position, Record, Watch};
use crate::vfs::node::lock;

/// A change that is kept.
pub(crate) struct Kept {
    /// Its note in the journal, behind those of changes that it superseded. None if it is superseded itself.
    notes: Vec<Position>,
    note: Note,
    /// So that the next run knows which versions of the file that loses a name are this machine's.
    _watch: Option<Arc<Watch>>,
}

impl Kept {
    /// What an earlier run decided.
    pub(crate) fn recovered(at: Position, note: Note) -> Self {
        Self { notes: vec![at], note, _watch: None }
    }

    fn of(item: Item, bucket: BucketId) -> Self {
        let note = item.note(bucket);
        Self { notes: item.notes, note, _watch: item.watch }
    }
}

/// What is kept, by bucket, in the order in which it was decided.
#[derive(Default)]
pub(crate) struct KeptNames {
    buckets: Mutex<HashMap<BucketId, Vec<Kept>>>,
}

impl KeptNames {
    pub(crate) fn add(&self, bucket: BucketId, kept: Vec<Kept>) {
        if !kept.is_empty() {
            lock(&self.buckets).entry(bucket).or_default().extend(kept);
        }
    }

    /// What the changes are about.
    pub(crate) fn files(&self) -> HashSet<FileId> {
        let buckets = lock(&self.buckets);
        let inodes = |kept: &[Kept]| kept.iter().filter_map(|kept| subject(&kept.note.mutation)).collect::<Vec<_>>();
        buckets
            .iter()
            .flat_map(|(bucket, kept)| inodes(kept).into_iter().map(|inode| FileId { bucket: *bucket, inode }))
            .collect()
    }

    /// Bytes that they have in the journal, about.
    pub(crate) fn bytes(&self) -> u64 {
        lock(&self.buckets).values().flatten().map(|kept| length(&kept.note.record())).sum()
    }

    /// Keeps nothing any more. Where the notes lie.
    pub(crate) fn take(&self) -> Vec<Position> {
        let buckets = std::mem::take(&mut *lock(&self.buckets));
        buckets.into_values().flatten().flat_map(|kept| kept.notes).collect()
    }

    /// Moves the notes of each bucket of which one lies in this file of the journal.
    pub(super) fn shift(&self, journal: &Journal, file: u64) -> Result<(), JournalError> {
        for kept in lock(&self.buckets).values_mut() {
            let records: Vec<(Vec<Position>, Record)> =
                kept.iter().map(|kept| (kept.notes.clone(), kept.note.record())).collect();
            if let Some(moved) = shift(journal, file, &records)? {
                kept.iter_mut().zip(moved).for_each(|(kept, at)| kept.notes = vec![at]);
            }
        }
        Ok(())
    }
}

impl Local {
    /// The bucket is not there any more: from now on nothing is decided here, and nothing is sent. What was decided and not sent.
    pub(crate) fn close(&self, bucket: BucketId) -> Vec<Kept> {
        let mut state = lock(&self.state);
        // In one step: what is decided meanwhile is in the queue, or finds that it is too late.
        self.closed.cancel();
        let next = state.next;
        let State { queue, .. } = std::mem::replace(&mut *state, State { next, ..State::default() });
        drop(state);
        self.done.fetch_add(queue.len() as u64, Ordering::AcqRel);
        self.shorter.notify_waiters();
        queue.into_iter().map(|item| Kept::of(item, bucket)).collect()
    }

    /// Returns when the bucket is not there any more.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use cyx_core::ids::{InodeId, Random as _, TxnId};
    use cyx_crypto::keys::AccountKey;
    use cyx_proto::convert::bytes_of;
    use cyx_proto::meta::v1 as pb;
    use pb::operation::Operation as Op;

    use super::super::Decided;
    use super::super::note::read_all;
    use super::*;
    use crate::journal::Limits;

    const BUCKET: BucketId = BucketId([1; 16]);
    const LIMIT: u64 = 100_000;

    /// On another thread: what the journal before still has to do goes on meanwhile.
    async fn open(folder: &std::path::Path) -> (Journal, Vec<(Position, Note)>) {
        let key = AccountKey::from_bytes([0x61; 32]).derive_mount_key();
        let limits = Limits {
            total: LIMIT,
            file: 4096,
            patience: Duration::from_millis(1),
            recent: 0,
            lock: Duration::from_secs(60),
        };
        let folder = folder.to_owned();
        let opened = tokio::task::spawn_blocking(move || Journal::open(&folder, key, limits)).await;
        let (journal, replayed) = opened.unwrap().unwrap();
        (journal, read_all(&replayed.notes).changes.remove(&BUCKET).unwrap_or_default())
    }

    fn decide(local: &Local, journal: &Journal, byte: u8) -> Decided {
        let create = pb::Create { inode: bytes_of(InodeId([byte; 16])), ..pb::Create::default() };
        let operations = vec![pb::Operation { operation: Some(Op::Create(create)) }];
        let mutation = pb::Mutation { txn: bytes_of(TxnId::random()), operations, time_ns: Some(1) };
        let note = Note { bucket: BUCKET, mutation, changes: 1, after: None, known: None, last: false, named: None };
        let record = note.record();
        local.decide(local.turn(), note, None, || journal.offer(&record), |_| {}).unwrap()
    }

    /// Fills the journal more than once with what is done with at once.
    async fn go_on(journal: &Journal, kept: &KeptNames) {
        let filler = Record::Note { tag: 9, data: Bytes::from(vec![7; 2000]) };
        for _ in 0..200 {
            let at = match journal.offer(&filler).unwrap() {
                Some(at) => at,
                None => {
                    kept.shift(journal, journal.oldest_pinned().unwrap()).unwrap();
                    journal.remove_free().await.unwrap();
                    journal.offer(&filler).unwrap().expect("what is kept takes no room from others")
                }
            };
            journal.finish(at).unwrap();
        }
    }

    #[tokio::test]
    async fn names_in_a_bucket_that_is_gone_are_kept_beside_and_survive() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = open(folder.path()).await;
        let local = Local::default();
        local.health.set_offline();
        for byte in 1..6 {
            assert!(matches!(decide(&local, &journal, byte), Decided::Here));
        }
        let kept = KeptNames::default();
        kept.add(BUCKET, local.close(BUCKET));
        local.closed().await;
        assert!(!local.is_pending() && !local.touches(&[InodeId([1; 16])]) && local.held_contents().is_empty());
        // Nothing more is taken that could never be sent, whatever became of the lease or the server.
        assert!(matches!(decide(&local, &journal, 9), Decided::Late) && !local.turn().is_here());
        assert_eq!(kept.files().len(), 5);
        journal.make_room(kept.bytes());
        assert_eq!(journal.limit(), LIMIT + kept.bytes());
        go_on(&journal, &kept).await;
        drop((journal, kept));

        // As after a crash; the next run does not find the bucket either.
        let (journal, notes) = open(folder.path()).await;
        let inodes: Vec<InodeId> = notes.iter().filter_map(|(_, note)| subject(&note.mutation)).collect();
        assert_eq!(inodes, (1..6).map(|byte| InodeId([byte; 16])).collect::<Vec<_>>(), "in their order");
        let kept = KeptNames::default();
        kept.add(BUCKET, notes.into_iter().map(|(at, note)| Kept::recovered(at, note)).collect());
        journal.make_room(kept.bytes());
        go_on(&journal, &kept).await;
        journal.finish_all(&kept.take()).unwrap();
        assert!(kept.files().is_empty() && kept.bytes() == 0);
        drop(journal);
        assert!(open(folder.path()).await.1.is_empty());
    }
}
