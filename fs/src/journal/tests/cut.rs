//! Power cuts while the journal goes on from one file to the next.

use super::*;

/// What a power cut leaves behind if it takes the end of a file and what was written later is there already.
#[tokio::test]
async fn a_power_cut_that_leaves_a_later_file_leaves_a_beginning_of_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let files = several_files(folder.path()).await;
    for file in 0..files.len() - 1 {
        for cut in (0..files[file].len()).step_by(3) {
            let other = tempfile::tempdir().unwrap();
            for entry in std::fs::read_dir(folder.path()).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), other.path().join(entry.file_name())).unwrap();
            }
            let path = other.path().join(file_name(file as u64 + 1));
            let mut left = files[file][..cut].to_vec();
            if cut % 2 == 0 {
                left.resize(files[file].len(), 0);
            }
            if parse(&left).is_some_and(|parsed| !parsed.damaged.is_empty()) {
                // The tag of a record is there in part, which no disk does that writes whole sectors.
                continue;
            }
            // The zeros may be what stood there, as the last bytes of a tag are now and then.
            let same = files[file].iter().zip(&left).take_while(|(was, is)| was == is).count();
            std::fs::write(&path, left).unwrap();
            let is_write = |found: &&cyx_crypto::mount::salvage::Found| matches!(found.record, Record::Write { .. });
            let writes = |bytes: &[u8]| parse(bytes).map_or(0, |parsed| parsed.records.iter().filter(is_write).count());
            let wanted = files[..file].iter().map(|bytes| writes(bytes)).sum::<usize>() + writes(&files[file][..same]);
            let (journal, replayed) = Journal::open(other.path(), key(), small()).unwrap();
            let found = replayed.files.first().map_or(0, |file| file.changes.len());
            assert_eq!((found, replayed.damaged.len(), replayed.lost), (wanted, 0, 0), "file {file} cut at {cut}");
            // What is promised from now on is found, and nothing of what was cut off.
            journal.append(&base(1, 0)).await.unwrap();
            journal.append(&write(500, b"later")).await.unwrap();
            journal.sync().await.unwrap();
            drop(journal);
            let (_, replayed) = Journal::open(other.path(), key(), small()).unwrap();
            assert_eq!((replayed.files[0].changes.len(), replayed.damaged.len()), (wanted + 1, 0), "{file} {cut}");
        }
    }
}

/// A process was killed before anything was promised, and then the disk lost something: that is no power cut.
#[tokio::test]
async fn a_flipped_byte_in_fresh_files_costs_one_record_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let files = several_files(folder.path()).await;
    for (file, bytes) in files.iter().enumerate() {
        let last = parse(bytes).unwrap().records.last().map(|found| found.at).unwrap();
        for at in 0..bytes.len() {
            let other = with_flipped_byte(&files, file, at);
            (1..=files.len() as u64).for_each(|number| unsynced::begin(other.path(), number).unwrap());
            let (_, replayed) = Journal::open(other.path(), key(), small()).unwrap();
            if (last + 5..last + 9).contains(&at) {
                // A last record that claims to be longer looks like one whose end was never written.
                continue;
            }
            let found = replayed.files.first().map_or(0, |file| file.changes.len());
            // Without the id a file has no key.
            let least = if (5..21).contains(&at) { 9 - count_writes(bytes) } else { 8 };
            assert!(found >= least, "file {file} byte {at}: {found} of {least}");
            assert!(!replayed.damaged.is_empty(), "file {file} byte {at} is told");
            assert!(replayed.damaged.iter().all(|path| path.exists()), "nothing is thrown away");
        }
    }
}

fn count_writes(bytes: &[u8]) -> usize {
    let found = parse(bytes).unwrap().records;
    found.iter().filter(|found| matches!(found.record, Record::Write { .. })).count()
}

#[tokio::test]
async fn a_file_is_fresh_until_what_is_in_it_is_promised() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), key(), Limits { file: 64, ..small() }).unwrap();
    let fresh = || unsynced::found(folder.path()).unwrap().into_iter().collect::<Vec<_>>();
    journal.append(&base(1, 0)).await.unwrap();
    for offset in 0..2 {
        journal.append(&write(offset, b"w")).await.unwrap();
    }
    assert_eq!(fresh(), [1, 2, 3]);
    journal.sync().await.unwrap();
    assert!(fresh().is_empty());
    journal.append(&write(2, b"w")).await.unwrap();
    assert_eq!(fresh(), [4]);
    drop(journal);
    // The process alone was killed.
    let (journal, replayed) = Journal::open(folder.path(), key(), small()).unwrap();
    assert_eq!((replayed.files[0].changes.len(), fresh()), (3, vec![4]));
    journal.sync().await.unwrap();
    assert!(fresh().is_empty());
}

#[tokio::test]
async fn a_mark_that_cannot_be_removed_fails_a_sync_and_not_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), key(), small()).unwrap();
    journal.append(&base(1, 0)).await.unwrap();
    // A directory in its place.
    let mark = folder.path().join(format!("{:016x}.{}", 1, unsynced::ENDING));
    std::fs::remove_file(&mark).unwrap();
    std::fs::create_dir(&mark).unwrap();
    assert!(matches!(journal.sync().await, Err(JournalError::Disk { .. })));
    journal.append(&write(0, b"taken")).await.unwrap();
    std::fs::remove_dir(&mark).unwrap();
    journal.sync().await.unwrap();
    drop(journal);
    let (_, replayed) = Journal::open(folder.path(), key(), small()).unwrap();
    assert_eq!(replayed.files[0].changes.len(), 1);
}

#[tokio::test]
async fn a_first_record_whose_write_failed_takes_nothing_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let failed = sealed([1; 16], 1, &[write(0, b"failed")]);
    let second = sealed([2; 16], 1, &[base(1, 0), write(0, b"instead")]);
    std::fs::write(folder.path().join(file_name(1)), &failed[..failed.len() - 9]).unwrap();
    std::fs::write(folder.path().join(file_name(2)), second).unwrap();
    // The process was killed before anything was promised.
    (1..3).for_each(|number| unsynced::begin(folder.path(), number).unwrap());
    let (_, replayed) = Journal::open(folder.path(), key(), small()).unwrap();
    assert_eq!((replayed.files[0].changes.len(), replayed.damaged.len(), replayed.lost), (1, 0, 0));
}
