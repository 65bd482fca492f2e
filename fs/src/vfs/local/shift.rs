//! Notes in a full journal. One that cannot be sent yet keeps its file from being removed, and all that came behind it: so they are written again
//! at the end, and the space is free for what can be sent.
//!
//! Notes of a bucket are in the order in which they were decided, so all of them move. They are written again in that order, as what they are by
//! now, and then those before are finished all at once: of two with the same transaction the first counts, so a crash leaves the ones or the
//! others.

use cyx_core::ids::BucketId;
use prost::Message as _;

use super::Local;
use super::note::Note;
use super::queue::Item;
use crate::journal::{Journal, JournalError, Position, Record};
use crate::vfs::Inner;
use crate::vfs::node::lock;

/// Bytes of a record besides what it is about, roughly.
const AROUND: u64 = 100;

/// Bytes of a note in the journal, roughly.
pub(super) fn length(note: &Record) -> u64 {
    match note {
        Record::Note { data, .. } => data.len() as u64 + AROUND,
        _ => AROUND,
    }
}

/// Moves notes to the end, if one of them lies in this file and they are little: half of the journal at most. Each with its places before, and
/// their places after that.
pub(in crate::vfs) fn shift(
    journal: &Journal,
    file: u64,
    notes: &[(Vec<Position>, Record)],
) -> Result<Option<Vec<Position>>, JournalError> {
    let bytes: u64 = notes.iter().map(|(_, record)| length(record)).sum();
    let before: Vec<Position> = notes.iter().flat_map(|(at, _)| at).copied().collect();
    if bytes.saturating_mul(2) > journal.used() || !before.iter().any(|at| at.file == file) {
        return Ok(None);
    }
    let mut moved = Vec::with_capacity(notes.len());
    for (_, record) in notes {
        match journal.append_moved(record) {
            Ok(at) => moved.push(at),
            Err(error) => {
                // They stay where they are.
                let _ = journal.finish_all(&moved);
                return Err(error);
            }
        }
    }
    if let Err(error) = journal.finish_all(&before) {
        // They are at both places, and the first counts.
        tracing::warn!(%error, "what was moved in the journal is there twice");
    }
    Ok(Some(moved))
}

impl Item {
    /// As it is noted by now.
    pub(super) fn note(&self, bucket: BucketId) -> Note {
        let Self { mutation, after, known, last, named, .. } = self;
        let changes = u8::try_from(self.changes).unwrap_or(u8::MAX);
        Note {
            bucket,
            mutation: mutation.clone(),
            changes,
            after: *after,
            known: *known,
            last: *last,
            named: named.clone(),
        }
    }
}

impl Local {
    /// Moves the notes of what is not sent yet, if one lies in this file of the journal.
    fn shift(&self, bucket: BucketId, journal: &Journal, file: u64) -> Result<(), JournalError> {
        // Held all the time: what is decided meanwhile comes behind.
        let mut state = lock(&self.state);
        if !state.queue.iter().flat_map(|item| &item.notes).any(|note| note.file == file) {
            return Ok(());
        }
        let size: usize = state.queue.iter().map(|item| item.mutation.encoded_len()).sum();
        if (size as u64).saturating_mul(2) > journal.used() {
            return Ok(());
        }
        let notes: Vec<(Vec<Position>, Record)> =
            state.queue.iter().map(|item| (item.notes.clone(), item.note(bucket).record())).collect();
        if let Some(moved) = shift(journal, file, &notes)? {
            state.queue.iter_mut().zip(moved).for_each(|(item, at)| item.notes = vec![at]);
        }
        Ok(())
    }
}

impl Inner {
    /// The journal is full: moves the notes that keep this file of it.
    pub(crate) fn shift_notes(&self, file: u64) {
        let journal = self.store.journal();
        let mut failed = None;
        for root in self.buckets.roots() {
            failed = root.home.local.shift(root.home.id, journal, file).err().or(failed);
        }
        failed = self.kept.shift(journal, file).err().or(failed);
        failed = self.shift_orphans(file).err().or(failed);
        // Of buckets that are not open, and those that nothing can be made of.
        for notes in lock(&self.notes).values_mut() {
            let records: Vec<(Vec<Position>, Record)> =
                notes.iter().map(|(at, note)| (vec![*at], note.record())).collect();
            match shift(journal, file, &records) {
                Ok(Some(moved)) => notes.iter_mut().zip(moved).for_each(|((at, _), moved)| *at = moved),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        let mut strays = lock(&self.strays);
        let records: Vec<(Vec<Position>, Record)> =
            strays.iter().map(|(at, record)| (vec![*at], record.clone())).collect();
        match shift(journal, file, &records) {
            Ok(Some(moved)) => strays.iter_mut().zip(moved).for_each(|((at, _), moved)| *at = moved),
            Ok(None) => {}
            Err(error) => failed = Some(error),
        }
        if let Some(error) = failed {
            tracing::warn!(%error, "what is not sent stays where it is in the journal");
        }
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

    use super::*;
    use crate::journal::Limits;
    use crate::vfs::local::note::read_all;

    const BUCKET: BucketId = BucketId([1; 16]);

    /// On another thread: what the journal before still has to do goes on meanwhile.
    async fn open(folder: &std::path::Path, file: u64) -> (Journal, Vec<(Position, Note)>) {
        let key = AccountKey::from_bytes([0x61; 32]).derive_mount_key();
        let limits = Limits {
            total: 100_000,
            file,
            patience: Duration::from_millis(1),
            recent: 0,
            lock: Duration::from_secs(60),
        };
        let folder = folder.to_owned();
        let opened = tokio::task::spawn_blocking(move || Journal::open(&folder, key, limits)).await;
        let (journal, replayed) = opened.unwrap().unwrap();
        let mut notes = read_all(&replayed.notes);
        assert!(notes.strange.is_empty());
        notes.again.iter().for_each(|at| journal.finish(*at).unwrap());
        (journal, notes.changes.remove(&BUCKET).unwrap_or_default())
    }

    /// Decides three changes while the server is away.
    fn decide(journal: &Journal) -> (Local, Vec<Bytes>) {
        let local = Local::default();
        local.health.set_offline();
        let txns: Vec<Bytes> = (1..4).map(|_| bytes_of(TxnId::random())).collect();
        for (byte, txn) in (1..).zip(&txns) {
            let create = pb::Create { inode: bytes_of(InodeId([byte; 16])), ..pb::Create::default() };
            let operations = vec![pb::Operation { operation: Some(Op::Create(create)) }];
            let mutation = pb::Mutation { txn: txn.clone(), operations, time_ns: Some(1) };
            let note =
                Note { bucket: BUCKET, mutation, changes: 1, after: None, known: None, last: false, named: None };
            let record = note.record();
            assert!(local.decide(local.turn(), note, None, || journal.offer(&record), |_| {}).is_ok());
        }
        (local, txns)
    }

    fn txns(notes: &[(Position, Note)]) -> Vec<Bytes> {
        notes.iter().map(|(_, note)| note.mutation.txn.clone()).collect()
    }

    #[tokio::test]
    async fn what_cannot_be_sent_does_not_keep_a_journal_full() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = open(folder.path(), 4096).await;
        let (local, wanted) = decide(&journal);
        let filler = Record::Note { tag: 9, data: Bytes::from(vec![7; 2000]) };
        while let Some(at) = journal.offer(&filler).unwrap() {
            journal.finish(at).unwrap();
        }
        journal.remove_free().await.unwrap();
        assert!(journal.offer(&filler).unwrap().is_none(), "everything behind them stays");
        let oldest = journal.oldest_pinned().unwrap();
        local.shift(BUCKET, &journal, oldest + 1).unwrap();
        assert_eq!(journal.oldest_pinned(), Some(oldest), "they are not in that file");
        local.shift(BUCKET, &journal, oldest).unwrap();
        journal.remove_free().await.unwrap();
        assert!(journal.used() < 20_000, "{}", journal.used());
        let first = local.batch()[0].clone();
        assert!(first.notes[0].file > oldest);
        // What is done with is finished where it lies now.
        let (notes, _) = local.take(first.number).unwrap();
        journal.finish_all(&notes).unwrap();
        journal.sync().await.unwrap();
        drop(journal);
        let (_journal, found) = open(folder.path(), 4096).await;
        assert_eq!(txns(&found), wanted[1..]);
    }

    #[tokio::test]
    async fn a_crash_while_notes_move_leaves_each_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = open(folder.path(), 1 << 20).await;
        let (local, wanted) = decide(&journal);
        // So much that they are little.
        for _ in 0..3 {
            journal.offer(&Record::Note { tag: 1, data: Bytes::from(vec![7; 2000]) }).unwrap().unwrap();
        }
        let before = journal.used();
        local.shift(BUCKET, &journal, local.batch()[0].notes[0].file).unwrap();
        let after = journal.used();
        assert!(after > before, "they moved");
        drop(journal);
        let file = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let file = file.filter(|path| path.extension().is_some_and(|it| it == "journal")).max().unwrap();
        let bytes = std::fs::read(&file).unwrap();
        for cut in before..=after {
            let crashed = tempfile::tempdir().unwrap();
            let cut = &bytes[..usize::try_from(cut).unwrap()];
            std::fs::write(crashed.path().join(file.file_name().unwrap()), cut).unwrap();
            for _ in 0..2 {
                // The second time with what was finished the first time.
                let key = AccountKey::from_bytes([0x61; 32]).derive_mount_key();
                let (journal, replayed) = Journal::open(crashed.path(), key, Limits::default()).unwrap();
                let notes = read_all(&replayed.notes);
                assert_eq!(txns(&notes.changes[&BUCKET]), wanted, "cut at {}", cut.len());
                assert_eq!(notes.strange.len(), 3);
                notes.again.iter().for_each(|at| journal.finish(*at).unwrap());
            }
        }
    }
}
