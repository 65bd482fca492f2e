//! Whose a folder is.

use super::*;

fn other() -> MountKey {
    AccountKey::from_bytes([0x62; 32]).derive_mount_key()
}

/// All files of a folder with what is in them, but the lock.
fn all(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    all.sort_unstable();
    all
}

/// A folder with a change that is not sent, and a commit that was on its way.
async fn unsent(folder: &Path) {
    let (journal, _) = Journal::open(folder, key(), small()).unwrap();
    journal.append(&base(3, 0)).await.unwrap();
    let at = journal.append(&write(0, b"unsent")).await.unwrap();
    journal.sync().await.unwrap();
    let (txn, root) = (TxnId([0x74; 16]), PageId([0x73; 32]));
    journal.intend(vec![Intent { file: FILE, txn, version: 4, size: 9, root, upto: at.sequence }]).await.unwrap();
    journal.end().unwrap();
}

#[tokio::test]
async fn what_is_not_sent_is_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    unsent(folder.path()).await;
    let before = all(folder.path());
    let refused = Journal::open(folder.path(), other(), small()).err();
    assert!(matches!(refused, Some(JournalError::Foreign(_))), "{refused:?}");
    assert!(all(folder.path()) == before, "nothing was changed");
    let (journal, replayed) = Journal::open(folder.path(), key(), small()).unwrap();
    assert_eq!((replayed.files.len(), replayed.files[0].intents.len(), replayed.damaged.len()), (1, 1, 0));
    drop(journal);

    // So it is where nothing says whose it is, because it is from before that was said.
    std::fs::remove_file(folder.path().join("owner")).unwrap();
    let refused = Journal::open(folder.path(), other(), small()).err();
    assert!(matches!(refused, Some(JournalError::Foreign(_))), "{refused:?}");
    let (_, replayed) = Journal::open(folder.path(), key(), small()).unwrap();
    assert_eq!((replayed.files.len(), replayed.taken_over), (1, false));
    assert!(folder.path().join("owner").exists());
}

#[tokio::test]
async fn a_folder_of_which_everything_is_sent_is_anybodys() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), key(), small()).unwrap();
    let mut pins = Pins::default();
    pins.add(journal.append(&base(3, 0)).await.unwrap());
    let written = journal.append(&write(0, b"sent")).await.unwrap();
    pins.add(written);
    pins.add(journal.append(&base(4, written.sequence)).await.unwrap());
    journal.release(pins);
    journal.sync().await.unwrap();
    journal.end().unwrap();
    let late = journal.append(&write(0, b"late")).await;
    assert!(matches!(late, Err(JournalError::Broken)), "{late:?}");
    drop(journal);
    assert!(std::fs::metadata(&folder_files(folder.path())[0]).unwrap().len() > 100, "records are there all the same");

    // Nor does it become somebody's by a mount that comes to nothing.
    drop(Journal::open(folder.path(), key(), small()).unwrap());
    let (journal, replayed) = Journal::open(folder.path(), other(), small()).unwrap();
    assert!(replayed.taken_over && replayed.files.is_empty() && replayed.damaged.is_empty() && replayed.lost == 0);
    journal.append(&base(1, 0)).await.unwrap();
    journal.append(&write(0, b"of the other one")).await.unwrap();
    journal.sync().await.unwrap();
    drop(journal);
    assert!(matches!(Journal::open(folder.path(), key(), small()), Err(JournalError::Foreign(_))));
    // A key that replaced the other one is the same account's.
    let (_, replayed) = Journal::open_with_older(folder.path(), key(), &[other()], small()).unwrap();
    assert_eq!((replayed.files.len(), replayed.taken_over), (1, false));
    assert!(matches!(Journal::open(folder.path(), other(), small()), Err(JournalError::Foreign(_))));
}
