//! What sets room free in the journal.

use futures_util::future::{BoxFuture, FutureExt as _};

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
    mount.store.commit_all(None).await.unwrap();
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
    mount.store.commit_all(None).await.unwrap();
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

#[tokio::test]
async fn much_that_is_needed_of_the_oldest_file_keeps_no_full_journal_from_going_on() {
    let remote = Arc::new(MemoryRemote::default());
    remote.behave(Behaviour::Refuses);
    let folder = tempfile::tempdir().unwrap();
    let quiet = quiet(folder.path());
    let journal = Limits { total: 24 << 20, file: 8 << 20, ..quiet.journal };
    let (mount, _) = open(&remote, &StoreOptions { journal, ..quiet }).await;
    let content = mount.store.content_of(file(1), facts(1));
    content.write(1 << 20, Bytes::from(vec![1; 7 << 20])).await.unwrap();
    for round in 0..40 {
        content.write(0, Bytes::from(vec![round; 1 << 20])).await.unwrap();
    }
    let found = all(&content).await;
    assert!(found.len() == 8 << 20 && found[..1 << 20].iter().all(|byte| *byte == 39));
    assert!(found[1 << 20..].iter().all(|byte| *byte == 1));
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_recognised_after_what_is_known_of_it_moved() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let options = crowded(folder.path(), 64 << 10);
    let journal = Limits { file: 4 << 10, patience: Duration::from_secs(20), ..options.journal };
    let options = StoreOptions { journal, ..options };
    let (mount, _) = open(&remote, &options).await;
    let content = mount.store.content_of(file(1), facts(1));
    content.write(0, Bytes::from_static(b"first")).await.unwrap();
    remote.behave(Behaviour::LosesAnswers);
    content.commit().await.unwrap_err();
    mount.store.abandon();
    drop((content, mount));
    remote.behave(Behaviour::Refuses);
    let (mount, _) = open(&remote, &options).await;
    let content = mount.store.resume(BUCKET).unwrap().pop().unwrap();
    for round in 0..200 {
        content.write(5, Bytes::from(vec![round; 2000])).await.unwrap();
    }
    mount.store.abandon();
    drop((content, mount));
    remote.behave(Behaviour::Works);
    let (mount, _) = open(&remote, &options).await;
    let content = mount.store.resume(BUCKET).unwrap().pop().unwrap();
    content.commit().await.unwrap();
    assert_eq!(remote.content(file(1)), [b"first".to_vec(), vec![199; 2000]].concat());
}

#[tokio::test]
async fn a_copy_of_what_lost_a_race_is_made_in_a_journal_that_has_no_room_for_it() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let (mount, _) = open(&remote, &crowded(folder.path(), LIMIT)).await;
    let [content, copy] = [1, 2].map(|number| mount.store.content_of(file(number), facts(number)));
    remote.behave(Behaviour::Refuses);
    content.write(0, Bytes::from(vec![1; 6 << 20])).await.unwrap();
    assert!(copy.write(0, Bytes::from(vec![1; 6 << 20])).await.unwrap().end < 2 << 20, "there is no room for it");
    copy.discard().await.unwrap();
    copy.set_filling(true);
    assert_eq!(copy.clone_range(&content, 0..6 << 20, 0).await.unwrap(), 6 << 20);
    copy.set_filling(false);
    content.discard().await.unwrap();
    remote.behave(Behaviour::Works);
    copy.commit().await.unwrap();
    assert!(remote.content(file(2)) == vec![1; 6 << 20]);
}

#[tokio::test]
async fn what_waits_for_room_is_appended_to_the_version_that_came_meanwhile() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let quiet = quiet(folder.path());
    let journal = Limits { total: 64 << 10, file: 8 << 10, patience: Duration::from_secs(60), ..quiet.journal };
    let (mount, _) = open(&remote, &StoreOptions { journal, ..quiet }).await;
    let [content, grown, cut, filler] = [1, 2, 3, 4].map(|number| mount.store.content_of(file(number), facts(number)));
    for content in [&content, &grown, &cut] {
        content.write(0, Bytes::from_static(b"one")).await.unwrap();
        content.commit().await.unwrap();
    }
    remote.behave(Behaviour::Refuses);
    let mut end = 0;
    for step in [1000, 1] {
        let write = |at| filler.write(at, Bytes::from(vec![1; step]));
        while let Ok(written) = tokio::time::timeout(Duration::from_millis(500), write(end)).await {
            end = written.unwrap().end;
        }
    }
    let begin = |content: &Arc<Content>, what: fn(Arc<Content>) -> BoxFuture<'static, ()>| {
        tokio::spawn(what(Arc::clone(content)))
    };
    let waiting = [
        begin(&content, |content| {
            async move { assert_eq!(content.append(Bytes::from_static(b"!")).await.unwrap(), 6..7) }.boxed()
        }),
        begin(&grown, |grown| async move { grown.allocate(0..5, false).await.unwrap() }.boxed()),
        begin(&cut, |cut| async move { cut.punch(2..9, true).await.unwrap() }.boxed()),
    ];
    tokio::time::sleep(Duration::from_millis(50)).await;
    for (number, content) in [(1, &content), (2, &grown), (3, &cut)] {
        remote.commit_elsewhere(file(number), b"longer");
        assert!(content.refresh().await.unwrap(), "it is clean");
    }
    remote.behave(Behaviour::Works);
    mount.store.commit_all(None).await.unwrap();
    for waiting in waiting {
        waiting.await.unwrap();
    }
    assert_eq!(all(&content).await, b"longer!");
    assert_eq!(all(&grown).await, b"longer", "it is long enough");
    assert_eq!(all(&cut).await, b"lo\0\0\0\0");
}

#[tokio::test]
async fn what_was_copied_before_there_was_no_room_left_counts() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let (mount, _) = open(&remote, &crowded(folder.path(), LIMIT)).await;
    let [content, copy] = [1, 2].map(|number| mount.store.content_of(file(number), facts(number)));
    remote.behave(Behaviour::Refuses);
    let bytes: Vec<u8> = (0..5 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
    content.write(0, Bytes::from(bytes.clone())).await.unwrap();
    let len = bytes.len() as u64;
    assert_eq!(copy.copy_range(&content, 0..len, 0, 1000).await.unwrap(), 1000, "that many are wanted");
    let copied = copy.copy_range(&content, 1000..len, 1000, u64::MAX).await.unwrap();
    assert!((1 << 20..len - 1000).contains(&copied), "{copied}");
    let found = all(&copy).await;
    assert!(found == bytes[..found.len()] && found.len() as u64 == copied + 1000);
    let none = copy.copy_range(&content, copied + 1000..len, copied + 1000, u64::MAX).await;
    assert!(matches!(none, Err(ContentError::Journal(JournalError::Full))));
}
