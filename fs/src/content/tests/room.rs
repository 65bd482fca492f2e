//! What sets room free in the journal.

use super::*;

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
