//! A disk that takes some records and not others.

use super::*;
use crate::errno::Errno;

/// Every record gets a file of its own.
fn scattered(folder: &std::path::Path) -> StoreOptions {
    let quiet = quiet(folder);
    StoreOptions { journal: Limits { file: 1, ..quiet.journal }, ..quiet }
}

/// The journal cannot begin the file of this number: it is there already.
fn obstruct(folder: &std::path::Path, number: u64) {
    std::fs::write(folder.join("journal").join(format!("{number:016x}.journal")), b"").unwrap();
}

#[tokio::test]
async fn a_write_of_which_only_one_record_can_be_appended_is_none_and_the_next_one_is_committed() {
    for failing in 1..=2 {
        let remote = Arc::new(MemoryRemote::default());
        let folder = tempfile::tempdir().unwrap();
        let options = scattered(folder.path());
        let (mount, _) = open(&remote, &options).await;
        let content = mount.store.content_of(file(1), facts(1));
        obstruct(folder.path(), failing);
        assert!(content.write(0, Bytes::from_static(b"refused")).await.is_err());
        assert_eq!((content.is_dirty(), content.len()), (false, 0), "the program was told that it was not written");
        content.write(0, Bytes::from_static(b"taken")).await.unwrap();
        assert_eq!(mount.store.status().dirty_files, 1);
        content.sync_local().await.unwrap();
        drop(content);
        mount.store.abandon();
        drop(mount);
        // As after a crash.
        let (mount, _) = open(&remote, &options).await;
        let content = mount.store.resume(BUCKET).unwrap().pop().unwrap();
        assert_eq!(all(&content).await, b"taken");
        content.write(5, Bytes::from_static(b" as well")).await.unwrap();
        mount.store.commit_all(None).await.unwrap();
        assert_eq!(remote.content(file(1)), b"taken as well");
        assert_eq!(mount.store.status().dirty_files, 0);
    }
}

#[tokio::test]
async fn what_is_committed_and_could_not_be_noted_as_such_is_noted_later() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let options = scattered(folder.path());
    let (mount, _) = open(&remote, &options).await;
    let content = mount.store.content_of(file(1), facts(1));
    content.write(0, Bytes::from_static(b"one")).await.unwrap();
    obstruct(folder.path(), 3);
    content.commit().await.unwrap();
    assert_eq!(remote.content(file(1)), b"one");
    mount.store.drain(Duration::from_secs(20)).await.unwrap();
    assert_eq!(mount.store.status().dirty_files, 0);
    assert_eq!(mount.store.journal().oldest_pinned(), None);
    drop(content);
    mount.store.abandon();
    drop(mount);
    let (_, recovered) = open(&remote, &options).await;
    assert!(recovered.buckets.is_empty() && recovered.damaged.is_empty());
}

#[tokio::test]
async fn what_is_written_over_a_version_that_was_not_noted_is_based_on_it_after_a_crash() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let options = scattered(folder.path());
    let (mount, _) = open(&remote, &options).await;
    let content = mount.store.content_of(file(1), facts(1));
    content.write(0, Bytes::from_static(b"one")).await.unwrap();
    obstruct(folder.path(), 3);
    content.commit().await.unwrap();
    content.write(3, Bytes::from_static(b" two")).await.unwrap();
    content.sync_local().await.unwrap();
    drop(content);
    mount.store.abandon();
    drop(mount);
    let (mount, _) = open(&remote, &options).await;
    let content = mount.store.resume(BUCKET).unwrap().pop().unwrap();
    assert_eq!(content.version().map(|known| known.version), Some(1));
    content.commit().await.unwrap();
    assert_eq!(remote.content(file(1)), b"one two");
}

#[tokio::test]
async fn a_long_write_for_which_there_is_not_room_enough_says_how_much_was_written() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let quiet = quiet(folder.path());
    let journal = Limits { total: 700 << 10, file: 1 << 20, patience: Duration::from_millis(20), ..quiet.journal };
    let (mount, _) = open(&remote, &StoreOptions { journal, ..quiet }).await;
    let content = mount.store.content_of(file(1), facts(1));
    let gate = remote.pause();
    let bytes = Bytes::from(vec![7; 1 << 20]);
    assert_eq!(content.write(0, bytes.clone()).await.unwrap(), 0..512 << 10);
    assert_eq!(content.len(), 512 << 10);
    let full = content.append(bytes.clone()).await.unwrap_err();
    assert!(matches!(full, ContentError::Journal(JournalError::Full)), "{full}");
    drop(gate);
    content.commit().await.unwrap();
    assert_eq!(remote.content(file(1)), bytes[..512 << 10]);
}

#[tokio::test]
async fn who_waited_in_vain_hears_what_failed_last() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    content.write(0, Bytes::from_static(b"one")).await.unwrap();
    remote.behave(Behaviour::IsFull);
    content.commit().await.unwrap_err();
    let gate = remote.pause();
    let late = mount.store.drain(Duration::from_millis(50)).await.unwrap_err();
    assert!(late.to_string().starts_with("too late") && late.to_string().contains("the plan is used up"), "{late}");
    assert_eq!(Errno::from(late), Errno::ETIMEDOUT);
    remote.behave(Behaviour::Works);
    drop(gate);
    mount.store.drain(Duration::from_secs(20)).await.unwrap();
    // That is over now.
    content.write(0, Bytes::from_static(b"two")).await.unwrap();
    let gate = remote.pause();
    let late = mount.store.drain(Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(late, ContentError::Deadline), "{late}");
    drop(gate);
    mount.store.drain(Duration::from_secs(20)).await.unwrap();
}

#[tokio::test]
async fn who_gave_up_waiting_for_a_commit_leaves_none_behind_to_be_tried() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    content.write(0, Bytes::from_static(b"x")).await.unwrap();
    let gate = remote.pause();
    let first = tokio::spawn({
        let content = Arc::clone(&content);
        async move { content.commit().await }
    });
    remote.arrived().await;
    content.write(1, Bytes::from_static(b"y")).await.unwrap();
    for _ in 0..20 {
        tokio::time::timeout(Duration::from_millis(1), content.commit()).await.unwrap_err();
    }
    remote.behave(Behaviour::Refuses);
    drop(gate);
    first.await.unwrap().unwrap_err();
    content.discard().await.unwrap();
    // Whoever had stayed behind would have had a turn before that.
    assert_eq!(remote.tried(), 1);
}
