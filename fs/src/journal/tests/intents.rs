//! Commits on their way, and files that are removed without having become durable.

use super::*;

fn intent(version: u64, upto: u64) -> Intent {
    Intent { file: FILE, txn: TxnId([0x74; 16]), version, size: 9, root: PageId([0x73; 32]), upto }
}

fn open(folder: &Path) -> (Journal, Replayed) {
    Journal::open(folder, key(), small()).unwrap()
}

fn named(folder: &Path, ending: &str) -> Vec<PathBuf> {
    replay::numbered(folder, ending).unwrap().into_iter().map(|(_, path)| path).collect()
}

fn intents(replayed: &Replayed) -> Vec<(u64, u64)> {
    replayed.files[0].intents.iter().map(|(_, intent)| (intent.version, intent.upto)).collect()
}

#[tokio::test]
async fn a_commit_on_its_way_is_known_at_every_start_until_its_end_is() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.append(&base(3, 0)).await.unwrap();
    let one = journal.append(&write(0, b"one")).await.unwrap();
    journal.intend(vec![intent(4, one.sequence)]).await.unwrap();
    assert!(!journal.unsynced(0).unwrap().files.is_empty(), "what is long does not have to be durable for that");
    let two = journal.append(&write(5, b"two")).await.unwrap();
    // Of version 4 nothing was heard, and 5 was asked for: it may be that both were committed.
    journal.intend(vec![intent(5, two.sequence)]).await.unwrap();
    for _ in 0..3 {
        let (copy, replayed) = open_copy(folder.path());
        assert_eq!(intents(&replayed), [(4, one.sequence), (5, two.sequence)]);
        assert!(replayed.damaged.is_empty() && replayed.lost == 0);
        assert!(named(copy.path(), "intents").is_empty(), "they are in the journal now");
    }
    journal.append(&base(4, one.sequence)).await.unwrap();
    assert_eq!(intents(&open_copy(folder.path()).1), [(5, two.sequence)], "a version that is known is no question");
    journal.append(&base(5, two.sequence)).await.unwrap();
    assert!(open_copy(folder.path()).1.files.is_empty());
}

/// What a program would find if the one that runs were killed now, and the next one again with what that start has made of it.
fn open_copy(folder: &Path) -> (tempfile::TempDir, Replayed) {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    drop(open(copy.path()));
    let (_, replayed) = open(copy.path());
    (copy, replayed)
}

#[tokio::test]
async fn what_is_written_after_a_power_cut_is_not_part_of_a_commit_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.append(&base(3, 0)).await.unwrap();
    let kept = journal.append(&write(0, b"kept")).await.unwrap();
    let len = journal.used();
    let mut last = kept;
    for _ in 0..9 {
        last = journal.append(&write(9, b"gone")).await.unwrap();
    }
    journal.intend(vec![intent(4, last.sequence)]).await.unwrap();
    drop(journal);
    // The intent is durable, the newest records are not.
    let path = &named(folder.path(), "journal")[0];
    OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
    let (journal, replayed) = open(folder.path());
    assert_eq!(intents(&replayed), [(4, kept.sequence)]);
    for _ in 0..9 {
        journal.append(&write(20, b"new")).await.unwrap();
    }
    drop(journal);
    let (_, replayed) = open(folder.path());
    assert_eq!(intents(&replayed), [(4, kept.sequence)]);
    assert_eq!((replayed.files[0].changes.len(), replayed.lost), (10, 0));
}

#[tokio::test]
async fn intents_survive_every_cut_behind_them() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.append(&base(3, 0)).await.unwrap();
    let written = journal.append(&write(0, b"one")).await.unwrap();
    let mut ends = Vec::new();
    for version in 4..7 {
        journal.intend(vec![intent(version, written.sequence)]).await.unwrap();
        ends.push(std::fs::metadata(&named(folder.path(), "intents")[0]).unwrap().len());
    }
    drop(journal);
    let path = named(folder.path(), "intents").remove(0);
    let whole = std::fs::read(&path).unwrap();
    let records = std::fs::read(&named(folder.path(), "journal")[0]).unwrap();
    for cut in 0..=whole.len() {
        let copy = tempfile::tempdir().unwrap();
        std::fs::write(copy.path().join(file_name(1)), &records).unwrap();
        std::fs::write(copy.path().join(path.file_name().unwrap()), &whole[..cut]).unwrap();
        let (_, replayed) = open(copy.path());
        assert_eq!(
            replayed.files[0].intents.len(),
            ends.iter().filter(|end| **end <= cut as u64).count(),
            "cut at {cut}"
        );
    }
}

#[tokio::test]
async fn a_long_file_of_intents_is_begun_anew_with_those_that_are_still_on_their_way() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.append(&base(3, 0)).await.unwrap();
    let written = journal.append(&write(0, b"one")).await.unwrap();
    journal.intend(vec![intent(4, written.sequence)]).await.unwrap();
    let other = FileId { inode: InodeId([9; 16]), ..FILE };
    for round in 0..30 {
        let others = (0..100).map(|at| Intent { file: other, ..intent(1, round * 100 + at) });
        journal.intend(others.collect()).await.unwrap();
        journal.intended(other, round * 100 + 99);
    }
    let left = named(folder.path(), "intents");
    assert_eq!(left.len(), 1);
    assert!(!left[0].ends_with("0000000000000001.intents"), "it was begun anew");
    assert!(std::fs::metadata(&left[0]).unwrap().len() < 256 * 1024);
    assert_eq!(intents(&open_copy(folder.path()).1), [(4, written.sequence)]);
}

/// What a power cut leaves at least: of the journal's files what was made durable.
fn after_a_power_cut(journal: &Journal, folder: &Path) -> (tempfile::TempDir, Journal, Replayed) {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    for segment in journal.state().segments.values() {
        let path = copy.path().join(segment.path.file_name().unwrap());
        OpenOptions::new().write(true).open(path).unwrap().set_len(segment.synced).unwrap();
    }
    let (journal, replayed) = open(copy.path());
    (copy, journal, replayed)
}

#[tokio::test]
async fn a_commit_is_forgotten_only_after_what_took_its_place_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.append(&base(3, 0)).await.unwrap();
    let written = journal.append(&write(0, b"one")).await.unwrap();
    let note = journal.append(&Record::Note { tag: 1, data: Bytes::from_static(b"x") }).await.unwrap();
    let watch = journal.watch(FILE);
    journal.sync().await.unwrap();
    let made = intent(4, written.sequence);
    journal.intend(vec![made]).await.unwrap();
    // It was committed, and what waited for it is done.
    journal.append_now(&base(4, written.sequence)).unwrap();
    journal.intended(FILE, written.sequence);
    journal.finish(note).unwrap();
    drop(watch);
    let other = FileId { inode: InodeId([9; 16]), ..FILE };
    for round in 0..30 {
        let others = (0..100).map(|at| Intent { file: other, ..intent(1, round * 100 + at) });
        journal.intend(others.collect()).await.unwrap();
        journal.intended(other, round * 100 + 99);
        let (_folder, after, replayed) = after_a_power_cut(&journal, folder.path());
        let is_known = replayed.files.is_empty() || intents(&replayed) == [(4, written.sequence)];
        assert!(is_known, "round {round}: nobody knows whose version 4 is");
        let watch = after.watch(FILE);
        assert!(
            replayed.notes.is_empty() || watch.made(4, made.root),
            "round {round}: nor does who goes on with the note"
        );
    }
    assert!(!named(folder.path(), "intents")[0].ends_with("0000000000000001.intents"), "it was begun anew");
}

#[tokio::test]
async fn files_before_the_mark_are_not_part_of_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { file: 64, ..small() };
    let (journal, _) = Journal::open(folder.path(), key(), limits).unwrap();
    let mut pins = Pins::default();
    for offset in 0..4 {
        pins.add(journal.append(&write(offset, b"w")).await.unwrap());
    }
    let last = journal.append(&base(1, 4)).await.unwrap();
    let before: Vec<(PathBuf, Vec<u8>)> =
        named(folder.path(), "journal").into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    journal.release(pins);
    journal.remove_free().await.unwrap();
    assert_eq!(named(folder.path(), "begin").len(), 1);
    drop(journal);
    // Power is lost before they are removed for good, and they were never durable.
    for (path, bytes) in before.iter().take(4) {
        std::fs::write(path, &bytes[..bytes.len() - 3]).unwrap();
    }
    let (journal, replayed) = Journal::open(folder.path(), key(), limits).unwrap();
    assert!(replayed.files.is_empty() && replayed.damaged.is_empty() && replayed.lost == 0);
    assert!(before.iter().take(4).all(|(path, _)| !path.exists()));
    assert_eq!(journal.append(&write(9, b"w")).await.unwrap().sequence, last.sequence + 1, "the order goes on");
}

#[tokio::test]
async fn while_something_is_needed_little_is_not_removed_and_much_is() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { total: 64 * 1024, file: 1024, ..small() };
    let (journal, _) = Journal::open(folder.path(), key(), limits).unwrap();
    let long = || Record::Write { file: FILE, offset: 0, time_ns: 0, data: Bytes::from(vec![7; 2000]) };
    let mut first = Pins::default();
    for _ in 0..4 {
        first.add(journal.append(&long()).await.unwrap());
    }
    let mut second = Pins::default();
    second.add(journal.append(&long()).await.unwrap());
    journal.release(first);
    // It would have to be done by a task by now; there is none.
    tokio::task::yield_now().await;
    assert_eq!(named(folder.path(), "journal").len(), 5);
    for _ in 0..14 {
        let mut pins = Pins::default();
        pins.add(journal.append(&long()).await.unwrap());
        journal.release(pins);
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while named(folder.path(), "journal").len() > 17 {
        assert!(Instant::now() < deadline, "what is free is removed when it is much");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!named(folder.path(), "journal").is_empty());
}

#[tokio::test]
async fn what_is_watched_is_remembered_beyond_its_end_and_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    let root = |byte| PageId([byte; 32]);
    let made = |version, byte, upto| Intent { root: root(byte), txn: TxnId([byte; 16]), ..intent(version, upto) };
    journal.append(&base(3, 0)).await.unwrap();
    let one = journal.append(&write(0, b"one")).await.unwrap();
    journal.intend(vec![made(4, 1, one.sequence)]).await.unwrap();
    journal.intended(FILE, one.sequence);
    journal.intend(vec![made(5, 2, one.sequence)]).await.unwrap();
    let watch = journal.watch(FILE);
    assert!(!watch.made(4, root(1)), "it was over by then");
    assert!(watch.made(5, root(2)) && !watch.made(5, root(1)) && !watch.made(4, root(2)));
    journal.intended(FILE, one.sequence);
    journal.intend(vec![made(6, 3, one.sequence)]).await.unwrap();
    let again = journal.watch(FILE);
    drop(watch);
    assert!(again.made(5, root(2)) && again.made(6, root(3)));
    drop(again);
    assert!(!journal.watch(FILE).made(5, root(2)) && journal.watch(FILE).made(6, root(3)), "nobody watched");

    // The next runs know of them for as long as there are notes of an earlier one.
    let note = journal.append(&Record::Note { tag: 1, data: Bytes::from_static(b"x") }).await.unwrap();
    journal.intended(FILE, one.sequence);
    journal.append(&base(6, one.sequence)).await.unwrap();
    journal.sync().await.unwrap();
    drop(journal);
    let other = FileId { inode: InodeId([9; 16]), ..FILE };
    for run in 0..3 {
        let (journal, _) = open(folder.path());
        let watch = journal.watch(FILE);
        assert!(watch.made(6, root(3)) && watch.made(5, root(2)), "run {run}");
        // Enough for the file to be begun anew.
        for round in 0..20 {
            let others = (0..100).map(|at| Intent { file: other, ..intent(1, round * 100 + at) });
            journal.intend(others.collect()).await.unwrap();
            journal.intended(other, round * 100 + 99);
        }
    }
    let (journal, _) = open(folder.path());
    journal.forget_intents(|file| *file != FILE);
    assert!(!journal.watch(FILE).made(6, root(3)));
    journal.finish(note).unwrap();
    journal.sync().await.unwrap();
    let (copy, _) = open_copy(folder.path());
    assert!(named(copy.path(), "intents").is_empty(), "no note is left");
}

#[tokio::test]
async fn attempts_that_pile_up_are_bounded_and_the_first_and_the_newest_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.append(&base(3, 0)).await.unwrap();
    let written = journal.append(&write(0, b"one")).await.unwrap();
    let attempt = |number: u64| {
        let mut txn = [0; 16];
        txn[..8].copy_from_slice(&number.to_le_bytes());
        Intent { txn: TxnId(txn), ..intent(4 + number, written.sequence) }
    };
    journal.intend((0..5000).map(attempt).collect()).await.unwrap();
    journal.intend(vec![attempt(5000)]).await.unwrap();
    let files = named(folder.path(), "intents");
    let len: u64 = files.iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(files.len() == 1 && len < 100_000, "{len}");
    drop(journal);
    let found = intents(&open(folder.path()).1);
    let versions: Vec<u64> = found.iter().map(|(version, _)| *version).collect();
    assert!(versions.len() < 300 && versions[..8].iter().copied().eq(4..12), "{versions:?}");
    assert!(versions[versions.len() - 200..].iter().copied().eq(4805..5005), "{versions:?}");
}
