//! What sets room free in the journal.

use super::*;
use crate::content::store::groups;

/// Keys of each file: what is noted of one takes some KiB, so that few files are many notes.
const KEYS: u32 = 100;
const LIMIT: u64 = 8 << 20;

/// Writes to files until the journal is full; says how many there are.
async fn fill(mount: &Mount) -> usize {
    let key = |version| InodeKey::from_parts(version, [7; 32]);
    let keys = InodeKeyring::from_keys(key(KEYS), (1..KEYS).rev().map(key).collect());
    for number in 0_u64.. {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let facts = InodeFacts { id: InodeId(id), keys: keys.clone(), ..facts(1) };
        let content = mount.store.content_of(FileId { bucket: BUCKET, inode: facts.id }, facts);
        match content.write(0, Bytes::from_static(b"x")).await {
            Ok(_) => {}
            Err(ContentError::Journal(JournalError::Full)) => return usize::try_from(number).unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

fn crowded(folder: &std::path::Path, total: u64) -> StoreOptions {
    let quiet = quiet(folder);
    let journal = Limits { total, file: 256 << 10, patience: Duration::from_millis(1), ..quiet.journal };
    StoreOptions { journal, ..quiet }
}

#[tokio::test]
async fn many_small_files_in_a_full_journal_are_committed_oldest_first() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let (mount, _) = open(&remote, &crowded(folder.path(), LIMIT)).await;
    // Somebody asks for room meanwhile, so that some are committed in the background.
    let gate = remote.pause();
    let files = fill(&mount).await;
    assert!(files > 1500 && mount.store.dirty().len() == files, "{files}");
    let order: Vec<Option<u64>> =
        groups(mount.store.dirty()).iter().flat_map(|(_, group)| group.iter().map(|one| one.oldest_kept())).collect();
    assert!(order.is_sorted() && order.len() == files);
    drop(gate);
    for _ in 0..3 {
        mount.store.commit_all(None).await.unwrap();
    }
    assert!(mount.store.dirty().is_empty(), "{} of {files}", mount.store.dirty().len());
    mount.store.journal().remove_free().await.unwrap();
    assert!(mount.store.journal().used() < 1024);
}

#[tokio::test]
async fn a_journal_beyond_its_bounds_opens_and_becomes_empty() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let (mount, _) = open(&remote, &crowded(folder.path(), LIMIT)).await;
    remote.behave(Behaviour::Refuses);
    fill(&mount).await;
    mount.store.commit_all(None).await.unwrap_err();
    mount.store.abandon();
    drop(mount);
    remote.behave(Behaviour::Works);
    let (mount, recovered) = open(&remote, &crowded(folder.path(), LIMIT / 8)).await;
    assert_eq!(recovered.lost, 0);
    assert!(mount.store.resume(BUCKET).unwrap().iter().any(|content| content.is_attempted()));
    for _ in 0..3 {
        mount.store.commit_all(None).await.unwrap();
    }
    assert!(mount.store.dirty().is_empty(), "{}", mount.store.dirty().len());
}

#[tokio::test]
async fn who_gives_up_while_others_are_committed_keeps_no_room_in_the_journal() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let [first, second] = [1, 2].map(|number| mount.store.content_of(file(number), facts(number)));
    second.write(0, Bytes::from_static(b"x")).await.unwrap();
    let gate = remote.pause();
    let committing = tokio::spawn({
        let second = Arc::clone(&second);
        async move { second.commit().await }
    });
    remote.arrived().await;
    second.write(0, Bytes::from_static(b"y")).await.unwrap();
    for at in 0..5 {
        first.write(at * 1024, Bytes::from(vec![1; 1024])).await.unwrap();
    }
    // The first one is frozen by then, and the second one is waited for.
    tokio::time::timeout(Duration::from_millis(50), mount.store.commit_all(None)).await.unwrap_err();
    drop(gate);
    committing.await.unwrap().unwrap();
    mount.store.commit_all(None).await.unwrap();
    assert!(mount.store.dirty().is_empty());
    mount.store.journal().remove_free().await.unwrap();
    let used = mount.store.journal().used();
    assert!(used < 1024, "{used} bytes of what is committed");
}
