//! A disk that takes some records and not others.

use super::*;

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
