//! A disk that fails.

use super::*;

/// Takes the place of the newest file, which is given back: takes what is written, and cannot be made durable.
fn replace(journal: &Journal, with: Arc<File>) -> Arc<File> {
    let mut state = journal.state();
    let active = state.active.unwrap();
    std::mem::replace(&mut state.segments.get_mut(&active).unwrap().file, with)
}

fn failing() -> Arc<File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
    file.sync_data().unwrap_err();
    Arc::new(file)
}

#[tokio::test]
async fn after_a_sync_that_failed_nothing_is_promised_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), key(), small()).unwrap();
    journal.append(&base(0, 0)).await.unwrap();
    journal.append(&write(0, b"durable")).await.unwrap();
    journal.sync().await.unwrap();
    let disk = replace(&journal, failing());
    journal.append(&write(7, b"lost")).await.unwrap();
    let failed = journal.sync().await;
    assert!(matches!(failed, Err(JournalError::Disk { .. })), "{failed:?}");
    // The kernel says so once: from then on the disk seems to be well, and what it lost is missing.
    replace(&journal, disk);
    let failed = journal.sync().await;
    assert!(matches!(failed, Err(JournalError::Broken)), "{failed:?}");
    let failed = journal.append(&write(7, b"more")).await;
    assert!(matches!(failed, Err(JournalError::Broken)), "{failed:?}");
    drop(journal);
    let (_, replayed) = Journal::open(folder.path(), key(), small()).unwrap();
    assert_eq!(replayed.files[0].changes.len(), 1, "what was promised is there");
}
