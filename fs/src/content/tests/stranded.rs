//! Changes of a bucket that was deleted.

use super::*;

const OTHER: BucketId = BucketId([8; 16]);

fn small(folder: &std::path::Path) -> StoreOptions {
    StoreOptions {
        journal: Limits {
            total: 64 << 10,
            file: 8 << 10,
            patience: Duration::from_secs(60),
            recent: 0,
            lock: Duration::ZERO,
        },
        ..quiet(folder)
    }
}

/// Fills the journal several times with what can be committed.
async fn go_on(mount: &Mount, number: u8) {
    let id = FileId { bucket: OTHER, inode: InodeId([number; 16]) };
    let content = mount.store.content_of(id, facts(number));
    for at in 0..100_u64 {
        content.write(at * 4096, Bytes::from(vec![number; 4096])).await.unwrap();
    }
    content.commit().await.unwrap();
}

#[tokio::test]
async fn what_can_never_be_committed_is_kept_beside_and_survives() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let options = small(folder.path());
    let (mount, _) = open(&remote, &options).await;
    let content = mount.store.content_of(file(1), facts(1));
    for at in 0..10_u8 {
        content.write(u64::from(at) * 4096, Bytes::from(vec![at; 4096])).await.unwrap();
    }
    let expected = all(&content).await;
    mount.store.strand(BUCKET).unwrap();
    let status = mount.store.status();
    assert_eq!((status.dirty_files, status.gone_files, status.gone_bytes), (0, 1, 40_960));
    assert!(matches!(content.write(0, Bytes::from_static(b"more")).await, Err(ContentError::Gone)));
    // More than the journal could hold beside it, and nobody waits for it.
    go_on(&mount, 2).await;
    mount.store.drain(Duration::from_secs(3600)).await.unwrap();
    assert_eq!(all(&content).await, expected);
    mount.store.abandon();
    drop((content, mount));

    // As after a crash.
    let (mount, recovered) = open(&remote, &options).await;
    assert_eq!(recovered.buckets, [BUCKET]);
    mount.store.strand(BUCKET).unwrap();
    assert_eq!((mount.store.stranded(), mount.store.status().gone_bytes), (vec![file(1)], 40_960));
    go_on(&mount, 3).await;
    let content = mount.store.existing(BUCKET, file(1).inode).unwrap();
    assert_eq!(all(&content).await, expected);
    mount.store.abandon();
    drop((content, mount));

    // The bucket is there again.
    let (mount, _) = open(&remote, &options).await;
    let content = mount.store.resume(BUCKET).unwrap().pop().unwrap();
    content.commit().await.unwrap();
    assert_eq!(remote.content(file(1)), expected);
}

#[tokio::test]
async fn what_is_let_go_of_does_not_come_back() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let options = small(folder.path());
    let (mount, _) = open(&remote, &options).await;
    for number in 1..4 {
        let content = mount.store.content_of(file(number), facts(number));
        content.write(0, Bytes::from(vec![number; 5000])).await.unwrap();
    }
    let kept = mount.store.content_of(FileId { bucket: OTHER, ..file(9) }, facts(9));
    kept.write(0, Bytes::from_static(b"kept")).await.unwrap();
    mount.store.abandon();
    drop((kept, mount));
    let (mount, _) = open(&remote, &options).await;
    mount.store.strand(BUCKET).unwrap();
    assert_eq!(mount.store.stranded().len(), 3);
    mount.store.discard_stranded().await.unwrap();
    assert_eq!((mount.store.stranded().len(), mount.store.status().gone_bytes), (0, 0));
    mount.store.abandon();
    drop(mount);
    let (mount, recovered) = open(&remote, &options).await;
    assert_eq!(recovered.buckets, [OTHER]);
    assert_eq!(all(&mount.store.resume(OTHER).unwrap()[0]).await, b"kept");
}
