//! What is sent while a file is written, and what becomes of it when the file changes.

use super::super::ahead::AT_ONCE;
use super::*;

/// Appends, and waits until so many pieces have arrived.
async fn append(remote: &MemoryRemote, content: &Content, bytes: &[u8], pieces: usize) {
    for part in bytes.chunks(17) {
        content.append(Bytes::copy_from_slice(part)).await.unwrap();
    }
    for _ in 0..2000 {
        if remote.ahead() >= pieces {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} of {pieces} pieces arrived", remote.ahead());
}

/// Time that is paused goes on only when nobody has anything to do: whatever was to be sent by now has been, and was looked for again.
async fn nothing_goes_on() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

#[tokio::test]
async fn a_long_file_is_sent_while_it_is_written() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    let bytes: Vec<u8> = (0..230_u8).collect();
    append(&remote, &content, &bytes[..90], 0).await;
    assert_eq!(remote.ahead(), 0, "too short to begin");
    append(&remote, &content, &bytes[90..], 5).await;
    content.commit().await.unwrap();
    assert_eq!((remote.content(file(1)), remote.used()), (bytes.clone(), 5));
    append(&remote, &content, &bytes, 10).await;
    content.commit().await.unwrap();
    assert_eq!(
        (remote.content(file(1)), remote.used()),
        ([&bytes[..], &bytes].concat(), 10),
        "it goes on behind a commit"
    );
}

#[tokio::test]
async fn it_is_sent_while_more_waits_to_be_committed_than_may_be_at_a_time() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let gate = remote.pause();
    let mut waiting = Vec::new();
    // Contents of different buckets are not committed together.
    for number in 1..=5_u8 {
        let of = FileId { bucket: BucketId([number; 16]), ..file(number) };
        let content = mount.store.content_of(of, facts(number));
        content.write(0, Bytes::from_static(b"x")).await.unwrap();
        content.upload_soon();
        waiting.push(content);
    }
    while remote.tried() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let content = mount.store.content_of(file(9), facts(9));
    append(&remote, &content, &[1; 240], 6).await;
    assert_eq!(remote.tried(), 3);
    drop(gate);
    mount.store.commit_all(None).await.unwrap();
    assert!(waiting.iter().all(|content| !content.is_dirty()));
    assert_eq!(remote.content(file(9)), [1; 240]);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_committed_is_not_sent() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    content.hold();
    append(&remote, &content, &[1; 240], 0).await;
    nothing_goes_on().await;
    assert_eq!(remote.ahead(), 0);
    content.allow();
    append(&remote, &content, &[], 6).await;
    content.commit().await.unwrap();
    assert_eq!((remote.content(file(1)), remote.used()), (vec![1; 240], 6));
}

#[tokio::test]
async fn a_piece_that_was_changed_is_sent_again() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    append(&remote, &content, &[1; 240], 6).await;
    content.write(85, Bytes::from_static(b"other")).await.unwrap();
    content.punch(130..150, true).await.unwrap();
    content.set_len(205).await.unwrap();
    content.commit().await.unwrap();
    let mut expected = [&[1; 85][..], b"other", &[1; 40], &[0; 20], &[1; 55]].concat();
    assert_eq!(remote.content(file(1)), expected);
    assert_eq!(remote.used(), 3, "the first two, and the one between hole and end");
    append(&remote, &content, &[2; 120], 9).await;
    content.discard().await.unwrap();
    append(&remote, &content, &[3; 120], 12).await;
    content.commit().await.unwrap();
    expected.extend([3; 120]);
    assert_eq!((remote.content(file(1)), remote.used()), (expected, 6), "what was given up is not found again");
}

#[tokio::test(start_paused = true)]
async fn a_piece_that_cannot_be_stored_is_sent_with_the_rest() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    remote.behave(Behaviour::Refuses);
    append(&remote, &content, &[1; 240], 0).await;
    while remote.refused() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    append(&remote, &content, &[2; 400], 0).await;
    nothing_goes_on().await;
    assert!(remote.refused() <= AT_ONCE, "it is not tried again and again: {}", remote.refused());
    remote.behave(Behaviour::Works);
    content.commit().await.unwrap();
    assert_eq!((remote.content(file(1)), remote.used()), ([&[1; 240][..], &[2; 400]].concat(), 0));
}

#[tokio::test]
async fn what_was_written_just_now_is_sent_from_where_it_lies() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let mut options = quiet(folder.path());
    options.journal.recent = 1 << 20;
    (options.ahead_from, options.ahead_least, options.ahead_piece) = (100_000, 100_000, 150_000);
    let (mount, _) = open(&remote, &options).await;
    let content = mount.store.content_of(file(1), facts(1));
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    for part in bytes[..600_000].chunks(70_001) {
        content.append(Bytes::copy_from_slice(part)).await.unwrap();
        tokio::task::yield_now().await;
    }
    append(&remote, &content, &[], 3).await;
    assert!(remote.held() > 0);
    // Short writes are not kept in memory.
    let held = remote.held();
    append(&remote, &content, &bytes[600_000..600_340], 0).await;
    for part in bytes[600_340..].chunks(70_001) {
        content.append(Bytes::copy_from_slice(part)).await.unwrap();
    }
    append(&remote, &content, &[], 6).await;
    assert!(remote.held() > held && remote.held() < remote.ahead(), "{} of {}", remote.held(), remote.ahead());
    content.commit().await.unwrap();
    assert_eq!(remote.content(file(1)), bytes);
}
