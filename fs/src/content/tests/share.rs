//! Copies by reference.

use super::*;

async fn stored(remote: &Arc<MemoryRemote>, mount: &Mount, number: u8, bytes: &[u8]) -> Arc<Content> {
    let content = mount.store.content_of(file(number), facts(number));
    content.write(0, Bytes::copy_from_slice(bytes)).await.unwrap();
    content.commit().await.unwrap();
    assert_eq!(remote.content(file(number)), bytes);
    content
}

fn letters(count: usize) -> Vec<u8> {
    (0..count).map(|at| b'a' + u8::try_from(at % 26).unwrap()).collect()
}

#[tokio::test]
async fn what_is_stored_is_copied_without_its_bytes() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let bytes = letters(200);
    let source = stored(&remote, &mount, 1, &bytes).await;
    source.punch(50..60, true).await.unwrap();
    source.write(100, Bytes::from_static(b"NEW")).await.unwrap();
    let copy = mount.store.content_of(file(2), facts(2));
    assert_eq!(copy.clone_range(&source, 0..1000, 7).await.unwrap(), 200);
    assert_eq!(copy.dirty_bytes(), 3, "what was written and is not stored, and nothing else");
    let expected = [&[0; 7], &all(&source).await[..]].concat();
    assert_eq!(all(&copy).await, expected);
    assert_eq!(copy.read(60, 20).await.unwrap(), expected[60..80]);
    assert_eq!(copy.seek(10, Seek::Hole).await.unwrap(), 57, "holes are holes");
    // A copy of the copy refers to the same version, and parts of it may be written over.
    let third = mount.store.content_of(file(3), facts(3));
    assert_eq!(third.clone_range(&copy, 120..207, 0).await.unwrap(), 87);
    third.write(10, Bytes::from_static(b"over")).await.unwrap();
    assert_eq!(third.dirty_bytes(), 4);
    copy.commit().await.unwrap();
    third.commit().await.unwrap();
    assert_eq!(remote.content(file(2)), expected);
    assert_eq!(remote.content(file(3)), [&expected[120..130], b"over", &expected[134..207]].concat());
    let sent: u64 = remote.sent().iter().skip(1).flat_map(|(data, _)| data).map(|range| range.end - range.start).sum();
    assert_eq!(sent, 7);
    assert_eq!(all(&third).await, remote.content(file(3)), "through the new version");
}

#[tokio::test]
async fn few_bytes_are_copied_unless_they_are_all() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let source = stored(&remote, &mount, 1, b"short").await;
    let copy = mount.store.content_of(file(2), facts(2));
    copy.clone_range(&source, 0..5, 0).await.unwrap();
    assert_eq!(copy.dirty_bytes(), 0);
    copy.clone_range(&source, 1..3, 10).await.unwrap();
    assert_eq!(copy.dirty_bytes(), 2);
    assert_eq!(all(&copy).await, b"short\0\0\0\0\0ho");
}

#[tokio::test]
async fn a_copy_by_reference_survives_a_crash_and_what_becomes_of_the_source() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let (mount, _) = open(&remote, &quiet(folder.path())).await;
    let bytes = letters(300);
    let source = stored(&remote, &mount, 1, &bytes).await;
    let copy = mount.store.content_of(file(2), facts(2));
    copy.clone_range(&source, 100..300, 0).await.unwrap();
    copy.write(5, Bytes::from_static(b"mine")).await.unwrap();
    source.write(0, Bytes::from(vec![b'-'; 300])).await.unwrap();
    source.commit().await.unwrap();
    let mut expected = bytes[100..].to_vec();
    expected[5..9].copy_from_slice(b"mine");
    assert_eq!(all(&copy).await, expected);
    mount.store.journal().sync().await.unwrap();
    drop((source, copy));
    mount.store.abandon();
    drop(mount);
    let (mount, recovered) = open(&remote, &quiet(folder.path())).await;
    assert!(recovered.damaged.is_empty());
    let copy = mount.store.resume(BUCKET).unwrap().pop().unwrap();
    assert_eq!((all(&copy).await, copy.dirty_bytes()), (expected.clone(), 4));
    copy.commit().await.unwrap();
    assert_eq!(remote.content(file(2)), expected);
}

#[tokio::test]
async fn fsync_of_a_copy_by_reference_waits_until_it_is_committed() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let source = stored(&remote, &mount, 1, &letters(100)).await;
    let copy = mount.store.content_of(file(2), facts(2));
    copy.clone_range(&source, 0..100, 0).await.unwrap();
    remote.behave(Behaviour::Refuses);
    assert!(copy.sync_local().await.is_err(), "it is durable nowhere else");
    remote.behave(Behaviour::LosesAnswers);
    assert!(copy.sync_local().await.is_err());
    remote.behave(Behaviour::Works);
    copy.clone_range(&source, 0..100, 100).await.unwrap();
    copy.sync_local().await.unwrap();
    assert_eq!(remote.content(file(2)), [letters(100), letters(100)].concat());
    copy.write(0, Bytes::from_static(b"x")).await.unwrap();
    remote.behave(Behaviour::Refuses);
    copy.sync_local().await.unwrap();
    assert!(copy.is_dirty(), "what is in the journal waits for nothing else");
}

#[tokio::test]
async fn a_reference_moves_out_of_the_oldest_file_of_the_journal() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        journal: Limits {
            total: 64 << 10,
            file: 4 << 10,
            patience: Duration::from_secs(60),
            recent: 0,
            lock: Duration::ZERO,
        },
        ..quiet(folder.path())
    };
    let (mount, _) = open(&remote, &options).await;
    let source = stored(&remote, &mount, 1, &letters(1000)).await;
    remote.behave(Behaviour::Refuses);
    let copy = mount.store.content_of(file(2), facts(2));
    copy.clone_range(&source, 0..1000, 3000).await.unwrap();
    copy.write(3500, Bytes::from_static(b"between")).await.unwrap();
    for round in 0..200_u8 {
        copy.write(0, Bytes::from(vec![round; 2000])).await.unwrap();
    }
    let expected = all(&copy).await;
    assert_eq!(expected[3000..3500], letters(1000)[..500]);
    mount.store.journal().sync().await.unwrap();
    drop((source, copy));
    mount.store.abandon();
    drop(mount);
    remote.behave(Behaviour::Works);
    let (mount, _) = open(&remote, &options).await;
    let copy = mount.store.resume(BUCKET).unwrap().pop().unwrap();
    assert_eq!(all(&copy).await, expected);
    copy.commit().await.unwrap();
    assert_eq!(remote.content(file(2)), expected);
}

#[tokio::test]
async fn a_copy_of_what_is_gone_at_the_server_brings_its_bytes_if_they_are_here() {
    let remote = Arc::new(MemoryRemote::default());
    let mut mount = fresh(&remote).await;
    let source = stored(&remote, &mount, 1, &letters(300)).await;
    let copy = mount.store.content_of(file(2), facts(2));
    copy.clone_range(&source, 0..300, 10).await.unwrap();
    copy.write(5, Bytes::from_static(b"over the edge")).await.unwrap();
    let (expected, times) = (all(&copy).await, copy.times().unwrap().0);
    // Nobody can read it: it stays as it is, and that is told.
    remote.behave(Behaviour::LosesShared);
    assert!(copy.commit().await.is_err());
    let committed = mount.events.recv().await;
    assert!(
        matches!(committed, Some(StoreEvent::Committed { content, version: 1, size: 300 }) if content.id() == file(1))
    );
    let told = mount.events.recv().await;
    assert!(matches!(told, Some(StoreEvent::Unreadable { file: unreadable }) if unreadable == file(2)));
    assert!(copy.is_dirty() && copy.shares());
    remote.behave(Behaviour::LacksShared);
    while copy.commit().await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(remote.content(file(2)), expected);
    assert_eq!(remote.times(file(2)).0, times, "it is as old as it was");
    assert!(!copy.is_dirty() && !copy.shares());
    // Whoever waits until it is durable does not hear of that.
    let other = mount.store.content_of(file(3), facts(3));
    other.clone_range(&source, 0..300, 0).await.unwrap();
    other.sync_local().await.unwrap();
    assert_eq!(remote.content(file(3)), letters(300));
}
