use bytes::Bytes;
use cyx_core::extent::PageId;
use cyx_core::ids::{BucketId, InodeId, TxnId};
use cyx_crypto::keys::{AccountKey, InodeKey};
use cyx_crypto::mount::salvage::{Salvaged, salvage};
use proptest::prelude::*;

use super::format::WRITE_MAX;
use super::*;

mod broken;
mod cut;
mod intents;
mod owner;

const FILE: FileId = FileId { bucket: BucketId([1; 16]), inode: InodeId([2; 16]) };

fn key() -> MountKey {
    AccountKey::from_bytes([0x61; 32]).derive_mount_key()
}

fn base(version: u64, upto: u64) -> Record {
    let keys = vec![InodeKey::from_parts(2, [0x6b; 32]), InodeKey::from_parts(1, [0x6a; 32])];
    Record::Base(Base { file: FILE, version, size: 10, root: PageId([0x72; 32]), keys, upto })
}

fn write(offset: u64, data: &'static [u8]) -> Record {
    Record::Write { file: FILE, offset, time_ns: -5, data: Bytes::from_static(data) }
}

fn samples() -> Vec<Record> {
    vec![
        base(3, 0),
        write(7, b"written"),
        Record::Length { file: FILE, len: 5000, time_ns: 6 },
        Record::Hole { file: FILE, start: 1, end: 3, time_ns: 7 },
        Record::Time { file: FILE, mtime_ns: 8 },
        Record::Intent(Intent {
            file: FILE,
            txn: TxnId([0x74; 16]),
            version: 4,
            size: 99,
            root: PageId([0x73; 32]),
            upto: 5,
        }),
        Record::Note { tag: 9, data: Bytes::from_static(b"note") },
        Record::Done { sequences: vec![7] },
        Record::Share(Share {
            file: FILE,
            offset: 40,
            len: 20,
            time_ns: 9,
            inode: InodeId([0x75; 16]),
            version: 6,
            size: 1000,
            root: PageId([0x76; 32]),
            from: 300,
            keys: vec![InodeKey::from_parts(3, [0x6c; 32])],
        }),
    ]
}

fn small() -> Limits {
    Limits { total: 1 << 20, file: 4096, patience: Duration::from_millis(1), recent: 0, lock: Duration::ZERO }
}

fn folder_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "journal"))
        .collect();
    files.sort();
    files
}

/// Bytes of a file with some records, as this program writes it.
fn sealed(id: [u8; 16], first: u64, records: &[Record]) -> Vec<u8> {
    let cipher = RecordCipher::new(&key(), &id);
    let mut bytes = format::file_header(&id, first);
    for (sequence, record) in (first..).zip(records) {
        bytes.extend(format::seal(&cipher, sequence, record).unwrap());
    }
    bytes
}

fn parse(bytes: &[u8]) -> Option<Salvaged> {
    salvage(bytes, |id| RecordCipher::new(&key(), id)).ok()
}

fn hex_vector(text: &str) -> Vec<u8> {
    hex::decode(text.split_whitespace().collect::<String>()).unwrap()
}

/// The vector was made by an independent program: account key 32 bytes of 0x61, file 16 of 0x66, sequences from 100 on.
#[test]
fn the_layout_is_frozen() {
    let golden = hex_vector(include_str!("../../../crypto/tests/vectors/mount-journal.hex"));
    assert_eq!(hex::encode(sealed([0x66; 16], 100, &samples())), hex::encode(&golden));
    let parsed = parse(&golden).unwrap();
    assert_eq!((parsed.first, parsed.torn, parsed.damaged.len()), (100, 0, 0));
    assert!(parsed.records.into_iter().map(|found| found.record).eq(samples()));
}

#[test]
fn what_a_record_must_not_hold_is_refused() {
    let malformed = include_str!("../../../crypto/tests/vectors/mount-journal.malformed");
    let mut count = 0;
    for line in malformed.lines() {
        let (what, bytes) = line.split_once(": ").unwrap();
        assert!(Record::decode(&hex::decode(bytes).unwrap()).is_err(), "{what}");
        count += 1;
    }
    assert!(count >= 15);
}

#[test]
fn a_file_begins_where_there_is_room_to_count() {
    assert_eq!(parse(&format::file_header(&[1; 16], 1 << 62)).unwrap().first, 1 << 62);
    for first in [(1 << 62) + 1, u64::MAX] {
        assert!(parse(&format::file_header(&[1; 16], first)).is_none(), "{first}");
    }
}

#[test]
fn every_record_says_again_what_was_written() {
    let cipher = RecordCipher::new(&key(), &[1; 16]);
    for record in samples() {
        let sealed = format::seal(&cipher, 3, &record).unwrap();
        let plain = format::open(&cipher, 3, sealed.clone()).unwrap();
        assert!(Record::decode(&plain).unwrap() == record);
        assert!(format::open(&cipher, 4, sealed).is_err(), "it opens in its place only");
        for cut in 0..plain.len() {
            // A write and a note may be shorter; everything else has one length.
            let shorter = Record::decode(&plain[..cut]);
            assert!(shorter.is_err() || matches!(record, Record::Write { .. } | Record::Note { .. }), "cut at {cut}");
        }
    }
}

#[test]
fn notes_are_done_all_at_once_or_none() {
    let plain = hex::decode("080700000000000000feffffffffffffff").unwrap();
    let done = Record::Done { sequences: vec![7, u64::MAX - 1] };
    assert!(Record::decode(&plain).unwrap() == done);
    let cipher = RecordCipher::new(&key(), &[1; 16]);
    let sealed = format::seal(&cipher, 3, &done).unwrap();
    assert_eq!(format::open(&cipher, 3, sealed).unwrap()[..], plain[..]);
    for cut in (0..plain.len()).filter(|cut| *cut != 9) {
        assert!(Record::decode(&plain[..cut]).is_err(), "cut at {cut}");
    }
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), key(), small()).unwrap();
    let notes: Vec<Position> = (0..3)
        .map(|tag| journal.offer(&Record::Note { tag, data: Bytes::from_static(b"note") }).unwrap().unwrap())
        .collect();
    let before = journal.used();
    journal.finish_all(&[notes[0], notes[2]]).unwrap();
    let after = journal.used();
    drop(journal);
    let path = folder.path().join(file_name(1));
    let bytes = std::fs::read(&path).unwrap();
    for cut in before..=after {
        let copy = tempfile::tempdir().unwrap();
        std::fs::write(copy.path().join(file_name(1)), &bytes[..usize::try_from(cut).unwrap()]).unwrap();
        let (_, replayed) = Journal::open(copy.path(), key(), small()).unwrap();
        let left: Vec<u8> = replayed.notes.iter().map(|(_, tag, _)| *tag).collect();
        assert_eq!(left, if cut < after { vec![0, 1, 2] } else { vec![1] }, "cut at {cut}");
    }
}

#[test]
fn whole_records_survive_every_cut() {
    let bytes = sealed([0x66; 16], 1, &samples());
    let ends: Vec<usize> = parse(&bytes).unwrap().records.iter().map(|found| found.at + found.len).collect();
    for cut in 0..bytes.len() {
        let found = parse(&bytes[..cut]).map_or(0, |parsed| parsed.records.len());
        assert_eq!(found, ends.iter().filter(|end| **end <= cut).count(), "cut at {cut}");
    }
}

#[test]
fn nothing_is_readable_without_the_key() {
    let secret = b"the secret bytes of a file";
    let bytes = sealed([0x66; 16], 1, &[base(1, 0), write(0, secret)]);
    assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    assert!(!bytes.windows(32).any(|window| window == [0x6b; 32]), "nor is the file's key");
    let other = AccountKey::from_bytes([0x62; 32]).derive_mount_key();
    let parsed = salvage(&bytes, |id| RecordCipher::new(&other, id)).unwrap();
    assert!(parsed.records.is_empty());
}

#[tokio::test]
async fn what_was_sealed_under_a_key_of_before_is_found_and_new_files_are_under_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), key(), small()).unwrap();
    journal.append(&base(3, 0)).await.unwrap();
    let one = journal.append(&write(0, b"one")).await.unwrap();
    journal.sync().await.unwrap();
    drop(journal);

    let newer = AccountKey::from_bytes([0x63; 32]).derive_mount_key();
    let stranger = AccountKey::from_bytes([0x64; 32]).derive_mount_key();
    let older = [stranger.clone(), key()];
    let (journal, replayed) = Journal::open_with_older(folder.path(), newer.clone(), &older, small()).unwrap();
    assert_eq!((replayed.files.len(), replayed.lost), (1, 0));
    assert!(replayed.damaged.is_empty());
    assert_eq!(&journal.read(one).unwrap()[format::WRITE_DATA_AT..], b"one");
    journal.append(&write(5, b"two")).await.unwrap();
    journal.sync().await.unwrap();
    drop(journal);
    let (_, replayed) = Journal::open_with_older(folder.path(), newer, &[key()], small()).unwrap();
    assert_eq!((replayed.files[0].changes.len(), replayed.lost), (2, 0));
    assert!(replayed.damaged.is_empty());
    // The key of before alone does not open what came later.
    let other = tempfile::tempdir().unwrap();
    for path in folder_files(folder.path()) {
        std::fs::copy(&path, other.path().join(path.file_name().unwrap())).unwrap();
    }
    let (_, replayed) = Journal::open(other.path(), key(), small()).unwrap();
    assert_eq!(replayed.files[0].changes.len(), 1);
}

#[tokio::test]
async fn changes_are_found_again_until_a_version_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, replayed) = Journal::open(folder.path(), key(), small()).unwrap();
    assert!(replayed.files.is_empty() && replayed.notes.is_empty());
    journal.append(&base(3, 0)).await.unwrap();
    journal.append(&write(0, b"one")).await.unwrap();
    let two = journal.append(&write(5, b"two")).await.unwrap();
    journal.sync().await.unwrap();
    drop(journal);

    let (journal, replayed) = Journal::open(folder.path(), key(), small()).unwrap();
    assert_eq!(replayed.files.len(), 1);
    let file = &replayed.files[0];
    assert_eq!((file.base.version, file.changes.len()), (3, 2));
    assert_eq!(file.changes[1], (two, Change::Write { offset: 5, len: 3, time_ns: -5 }));
    assert_eq!(&journal.read(two).unwrap()[format::WRITE_DATA_AT..], b"two");
    // A version has the first change and not what came later.
    journal.append(&base(4, two.sequence - 1)).await.unwrap();
    drop(journal);
    let (journal, replayed) = Journal::open(folder.path(), key(), small()).unwrap();
    assert_eq!((replayed.files[0].base.version, replayed.files[0].changes.len()), (4, 1));
    journal.append(&base(5, two.sequence)).await.unwrap();
    drop(journal);
    assert!(Journal::open(folder.path(), key(), small()).unwrap().1.files.is_empty());
}

#[tokio::test]
async fn notes_stay_in_order_until_they_are_done() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), key(), small()).unwrap();
    let note = |tag| Record::Note { tag, data: Bytes::from_static(b"x") };
    let mut notes = Vec::new();
    for tag in 0..5 {
        notes.push(journal.append(&note(tag)).await.unwrap());
    }
    journal.finish(notes[1]).unwrap();
    journal.finish(notes[3]).unwrap();
    drop(journal);
    let (_, replayed) = Journal::open(folder.path(), key(), small()).unwrap();
    assert_eq!(replayed.notes.iter().map(|(_, tag, _)| *tag).collect::<Vec<_>>(), [0, 2, 4]);
}

#[tokio::test]
async fn one_mount_uses_a_journal_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), key(), small()).unwrap();
    assert!(matches!(Journal::open(folder.path(), key(), small()), Err(JournalError::InUse(_))));
    // Whoever comes while the one before is ending waits for it.
    let (entered, entering) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn({
        let folder = folder.path().to_owned();
        move || {
            entered.send(()).unwrap();
            Journal::open(&folder, key(), Limits { lock: Duration::from_secs(60), ..small() }).map(drop)
        }
    });
    entering.recv().unwrap();
    drop(journal);
    waiting.join().unwrap().unwrap();
}

#[tokio::test]
async fn a_power_cut_at_any_byte_leaves_a_beginning_of_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), key(), small()).unwrap();
    journal.append(&base(1, 0)).await.unwrap();
    for offset in 0..6 {
        journal.append(&write(offset, b"w")).await.unwrap();
    }
    drop(journal);
    let whole = std::fs::read(&folder_files(folder.path())[0]).unwrap();
    let mut last = 0;
    for cut in 0..=whole.len() {
        let other = tempfile::tempdir().unwrap();
        super::owner::take(other.path(), &key(), &[]).unwrap();
        std::fs::write(other.path().join(file_name(1)), &whole[..cut]).unwrap();
        let (journal, replayed) = Journal::open(other.path(), key(), small()).unwrap();
        let found = replayed.files.first().map_or(0, |file| file.changes.len());
        assert!(found >= last && replayed.damaged.is_empty(), "cut at {cut}");
        last = found;
        // What is written after it is found as well: the torn record is no gap.
        journal.append(&base(1, 0)).await.unwrap();
        journal.append(&write(100, b"later")).await.unwrap();
        drop(journal);
        let (_, replayed) = Journal::open(other.path(), key(), small()).unwrap();
        assert_eq!(replayed.files[0].changes.len(), found + 1, "cut at {cut}");
    }
    assert_eq!(last, 6);
}

/// A journal of several files, of two contents; every file begins with what the changes in it are based on.
async fn several_files(folder: &Path) -> Vec<Vec<u8>> {
    let (journal, _) = Journal::open(folder, key(), Limits { file: 700, ..small() }).unwrap();
    for offset in 0..9 {
        if offset % 3 == 0 {
            journal.append(&base(1, 0)).await.unwrap();
        }
        journal.append(&write(offset * 10, b"written")).await.unwrap();
    }
    drop(journal);
    folder_files(folder).iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// The same files with one byte changed.
fn with_flipped_byte(files: &[Vec<u8>], file: usize, at: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (number, bytes) in files.iter().enumerate() {
        let mut bytes = bytes.clone();
        if number == file {
            bytes[at] ^= 0x10;
        }
        std::fs::write(folder.path().join(file_name(number as u64 + 1)), bytes).unwrap();
    }
    folder
}

#[tokio::test]
async fn a_flipped_byte_anywhere_costs_one_record_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let files = several_files(folder.path()).await;
    assert!(files.len() >= 2);
    let frames: Vec<Vec<(usize, usize)>> = files
        .iter()
        .map(|bytes| parse(bytes).unwrap().records.iter().map(|found| (found.at, found.at + found.len)).collect())
        .collect();
    for (file, bytes) in files.iter().enumerate() {
        for at in 0..bytes.len() {
            let other = with_flipped_byte(&files, file, at);
            let (journal, replayed) = Journal::open(other.path(), key(), small()).unwrap();
            let found = replayed.files.first().map_or(0, |file| file.changes.len());
            if (5..21).contains(&at) {
                // The id, without which a file has no key.
                assert!(found >= 3, "file {file} byte {at}: the other files are read");
            } else {
                assert!(found >= 8, "file {file} byte {at}: {found} of 9");
            }
            for (position, change) in &replayed.files[0].changes {
                let Change::Write { len, .. } = change else { panic!("a write") };
                assert_eq!(
                    journal.read(*position).unwrap().len(),
                    format::WRITE_DATA_AT + usize::try_from(*len).unwrap()
                );
            }
            // A last record that claims to be longer looks like one whose end was never written.
            let last = frames.last().and_then(|frames| frames.last()).unwrap().0;
            let grown = file == files.len() - 1 && (last + 5..last + 9).contains(&at);
            assert!(grown || !replayed.damaged.is_empty(), "file {file} byte {at} is told");
            assert!(replayed.damaged.iter().all(|path| path.exists()), "nothing is thrown away");
            // The journal goes on from there, and tells again as long as the damaged file is needed.
            let told = replayed.damaged.clone();
            let next = journal.append(&write(500, b"later")).await.unwrap();
            drop(journal);
            let (_, replayed) = Journal::open(other.path(), key(), small()).unwrap();
            assert_eq!(replayed.files[0].changes.len(), found + 1, "file {file} byte {at}");
            assert!(replayed.files[0].changes.iter().all(|(position, _)| position.sequence <= next.sequence));
            assert!(told.iter().all(|path| path.exists()));
        }
    }
}

#[tokio::test]
async fn a_cut_at_any_byte_of_an_older_file_is_damage_and_of_the_newest_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let files = several_files(folder.path()).await;
    for file in 0..files.len() {
        for cut in (29..files[file].len()).step_by(3) {
            let other = tempfile::tempdir().unwrap();
            for (number, bytes) in (1..).zip(&files) {
                let end = if number == file as u64 + 1 { cut } else { bytes.len() };
                std::fs::write(other.path().join(file_name(number)), &bytes[..end]).unwrap();
            }
            let (_, replayed) = Journal::open(other.path(), key(), small()).unwrap();
            let newest = file == files.len() - 1;
            assert_eq!(replayed.damaged.is_empty() && replayed.lost == 0, newest, "file {file} cut at {cut}");
            let whole = parse(&files[file][..cut]).map_or(0, |parsed| parsed.records.len());
            let of = parse(&files[file]).unwrap().records.len();
            assert!(newest || replayed.lost == (of - whole) as u64, "file {file} cut at {cut}");
        }
    }
}

#[tokio::test]
async fn a_record_whose_write_failed_gives_way_to_the_one_with_its_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let first = sealed([1; 16], 1, &[base(1, 0), write(0, b"kept"), write(9, b"failed")]);
    let second = sealed([2; 16], 3, &[write(0, b"instead")]);
    std::fs::write(folder.path().join(file_name(1)), first).unwrap();
    std::fs::write(folder.path().join(file_name(2)), second).unwrap();
    let (journal, replayed) = Journal::open(folder.path(), key(), small()).unwrap();
    assert!(replayed.damaged.is_empty() && replayed.lost == 0);
    let texts: Vec<Vec<u8>> = replayed.files[0]
        .changes
        .iter()
        .map(|(position, _)| journal.read(*position).unwrap()[format::WRITE_DATA_AT..].to_vec())
        .collect();
    assert_eq!(texts, [b"kept".to_vec(), b"instead".to_vec()]);
}

#[tokio::test]
async fn a_file_that_takes_no_record_does_not_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), key(), small()).unwrap();
    journal.append(&base(1, 0)).await.unwrap();
    let used = journal.used();
    for _ in 0..3 {
        let mut state = journal.state();
        let number = journal.begin_file(&mut state).unwrap();
        let segment = state.segments.get_mut(&number).unwrap();
        // It can be read only.
        segment.file = Arc::new(File::open(&segment.path).unwrap());
        drop(state);
        assert!(matches!(journal.offer(&write(0, b"refused")), Err(JournalError::Disk { .. })));
        assert_eq!((folder_files(folder.path()).len(), journal.used()), (1, used));
    }
    // Nor one that cannot be begun: there is another one.
    std::fs::create_dir(folder.path().join(file_name(5))).unwrap();
    assert!(journal.begin_file(&mut journal.state()).is_err());
    assert_eq!(unsynced::found(folder.path()).unwrap().into_iter().collect::<Vec<_>>(), [1]);
    std::fs::remove_dir(folder.path().join(file_name(5))).unwrap();
    journal.append(&write(0, b"taken")).await.unwrap();
    drop(journal);
    let (_, replayed) = Journal::open(folder.path(), key(), small()).unwrap();
    assert_eq!((replayed.files[0].changes.len(), replayed.damaged.len(), replayed.lost), (1, 0, 0));
}

#[tokio::test]
async fn files_of_another_order_and_changes_of_unknown_files_are_kept_and_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(file_name(1)), sealed([1; 16], 50, &[base(1, 0), write(0, b"new")])).unwrap();
    std::fs::write(folder.path().join(file_name(2)), sealed([2; 16], 7, &[write(0, b"old")])).unwrap();
    let (_, replayed) = Journal::open(folder.path(), key(), small()).unwrap();
    assert_eq!((replayed.files[0].changes.len(), replayed.damaged.len()), (1, 1));
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join(file_name(1)), sealed([1; 16], 1, &[write(0, b"whose?")])).unwrap();
    let (_, replayed) = Journal::open(other.path(), key(), small()).unwrap();
    assert!(replayed.files.is_empty() && replayed.lost == 1 && replayed.damaged[0].exists());
}

#[tokio::test]
async fn files_are_removed_when_nothing_in_them_or_before_them_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), key(), Limits { file: 64, ..small() }).unwrap();
    let mut positions = Vec::new();
    for offset in 0..4 {
        positions.push(journal.append(&write(offset, b"w")).await.unwrap());
    }
    let release = |at: usize| {
        let mut pins = Pins::default();
        pins.add(positions[at]);
        journal.release(pins);
    };
    release(1);
    journal.remove_free().await.unwrap();
    assert_eq!(folder_files(folder.path()).len(), 4, "the oldest is still needed");
    release(0);
    journal.remove_free().await.unwrap();
    assert_eq!(folder_files(folder.path()).len(), 2);
    assert!(journal.read(positions[2]).is_ok() && journal.read(positions[0]).is_err());
    release(2);
    release(3);
    journal.remove_free().await.unwrap();
    let left: u64 = folder_files(folder.path()).iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    assert_eq!(left, journal.used());
    let next = journal.append(&write(9, b"w")).await.unwrap();
    assert_eq!(next.sequence, 5, "the order goes on");
}

#[tokio::test]
async fn a_full_journal_makes_writers_wait_and_then_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { total: 4096, file: 512, patience: Duration::from_millis(20), ..small() };
    let (journal, _) = Journal::open(folder.path(), key(), limits).unwrap();
    let data = Bytes::from(vec![7; 400]);
    let record = Record::Write { file: FILE, offset: 0, time_ns: 0, data };
    let mut pins = Pins::default();
    loop {
        match journal.append(&record).await {
            Ok(position) => pins.add(position),
            Err(JournalError::Full) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(journal.used() <= 4096);
    // What sets room free is taken all the same.
    let last = journal.append_now(&base(1, 0)).unwrap();
    pins.add(last);
    let limits = Limits { patience: Duration::from_secs(60), ..limits };
    drop(journal);
    let (journal, replayed) = Journal::open(folder.path(), key(), limits).unwrap();
    let waiting = tokio::spawn({
        let (journal, record) = (journal.clone(), record.clone());
        async move { journal.append(&record).await }
    });
    journal.hunger().notified().await;
    let mut pins = Pins::default();
    let file = &replayed.files[0];
    pins.add(file.base_at);
    file.changes.iter().for_each(|(position, _)| pins.add(*position));
    journal.release(pins);
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_sets_room_free_asks_for_some_when_there_is_none_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), key(), small()).unwrap();
    let mut attempts = 0;
    let refused = journal.at_any_rate(|| {
        attempts += 1;
        Err::<(), _>(JournalError::Full)
    });
    assert!(matches!(refused, Err(JournalError::Full)) && attempts == 2, "{attempts}");
    tokio::time::timeout(Duration::from_secs(60), journal.hunger().notified()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_keep_their_order_and_share_the_fsyncs() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), key(), small()).unwrap();
    let tasks: Vec<_> = (0..4_u8)
        .map(|tag| {
            let journal = journal.clone();
            tokio::spawn(async move {
                for number in 0..40_u8 {
                    journal.append(&Record::Note { tag, data: Bytes::from(vec![number]) }).await.unwrap();
                    journal.sync().await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    drop(journal);
    let (_, replayed) = Journal::open(folder.path(), key(), small()).unwrap();
    for tag in 0..4 {
        let own = replayed.notes.iter().filter(|(_, own, _)| *own == tag).map(|(.., data)| data[0]);
        assert!(own.eq(0..40));
    }
}

#[test]
fn the_longest_record_is_read_and_a_longer_one_is_not_written() {
    let cipher = RecordCipher::new(&key(), &[1; 16]);
    let longest = Record::Write { file: FILE, offset: 0, time_ns: 0, data: Bytes::from(vec![1; WRITE_MAX]) };
    let sealed = format::seal(&cipher, 1, &longest).unwrap();
    assert!(Record::decode(&format::open(&cipher, 1, sealed).unwrap()).unwrap() == longest);
    let longer = Record::Note { tag: 0, data: Bytes::from(vec![1; format::RECORD_MAX]) };
    assert!(format::seal(&cipher, 1, &longer).is_none());
}

proptest! {
    /// Foreign bytes never panic and never become records.
    #[test]
    fn foreign_bytes_are_no_records(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let with_header = [format::file_header(&[3; 16], 1), bytes.clone()].concat();
        prop_assert!(parse(&with_header).unwrap().records.is_empty());
        let _ = parse(&bytes);
        if let Ok(record) = Record::decode(&bytes) {
            let cipher = RecordCipher::new(&key(), &[1; 16]);
            let sealed = format::seal(&cipher, 1, &record).unwrap();
            let again = Record::decode(&format::open(&cipher, 1, sealed).unwrap());
            prop_assert!(again.unwrap() == record, "what is read is written the same");
        }
    }
}
