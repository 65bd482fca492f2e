//! Contents against a plain vector of bytes, over a server that lives in memory and can be made to fail.

mod ahead;
mod due;
mod failing;
mod memory;
mod model;
mod prefetch;
mod room;
mod share;
mod stranded;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cyx_core::ids::{BucketId, InodeId};
use cyx_crypto::keys::{AccountKey, InodeKey, MountKey};
use cyx_crypto::wrap::InodeKeyring;
use memory::{Behaviour, MemoryRemote};

use super::options::StoreOptions;
use super::store::{Recovered, Store, StoreEvent};
use super::{Content, ContentError, InodeFacts};
use crate::journal::{FileId, JournalError, Limits};
use crate::vfs::Seek;

const BUCKET: BucketId = BucketId([7; 16]);

fn key() -> MountKey {
    AccountKey::from_bytes([0x61; 32]).derive_mount_key()
}

fn file(number: u8) -> FileId {
    FileId { bucket: BUCKET, inode: InodeId([number; 16]) }
}

fn facts(number: u8) -> InodeFacts {
    let keys = InodeKeyring::single(InodeKey::from_parts(1, [number; 32]));
    InodeFacts { id: InodeId([number; 16]), keys, version: 0, size: 0, what: format!("file {number}") }
}

/// Nothing is committed unless it is asked for.
fn quiet(folder: &std::path::Path) -> StoreOptions {
    StoreOptions {
        idle: Duration::from_secs(3600),
        age: Duration::from_secs(3600),
        journal: Limits {
            total: 8 << 20,
            file: 2048,
            patience: Duration::from_secs(20),
            recent: 0,
            lock: Duration::ZERO,
        },
        share_from: 20,
        ahead_from: 100,
        ahead_least: 40,
        ahead_piece: 40,
        ..StoreOptions::new(folder.to_owned())
    }
}

struct Mount {
    store: Store,
    events: tokio::sync::mpsc::UnboundedReceiver<StoreEvent>,
    _folder: Option<tempfile::TempDir>,
}

/// Opens a store, as soon as an earlier one has let go of the folder.
async fn open(remote: &Arc<MemoryRemote>, options: &StoreOptions) -> (Mount, Recovered) {
    for _ in 0..2000 {
        let remote: Arc<dyn super::remote::Remote> = Arc::<MemoryRemote>::clone(remote);
        match Store::open_with(key(), remote, options.clone()) {
            Ok((store, recovered, events)) => return (Mount { store, events, _folder: None }, recovered),
            Err(ContentError::Journal(JournalError::InUse(_))) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("an earlier store does not let go of the folder");
}

async fn fresh(remote: &Arc<MemoryRemote>) -> Mount {
    let folder = tempfile::tempdir().unwrap();
    let (mut mount, _) = open(remote, &quiet(folder.path())).await;
    mount._folder = Some(folder);
    mount
}

async fn all(content: &Content) -> Vec<u8> {
    content.read(0, 1 << 30).await.unwrap().to_vec()
}

#[tokio::test]
async fn what_was_cut_off_does_not_come_back() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    content.write(0, Bytes::from_static(b"secret secret")).await.unwrap();
    content.commit().await.unwrap();
    content.set_len(3).await.unwrap();
    content.set_len(10).await.unwrap();
    assert_eq!(all(&content).await, b"sec\0\0\0\0\0\0\0");
    content.commit().await.unwrap();
    assert_eq!(all(&content).await, b"sec\0\0\0\0\0\0\0");
    assert_eq!(remote.content(file(1)), b"sec\0\0\0\0\0\0\0");
    assert_eq!(content.seek(0, Seek::Hole).await.unwrap(), 3, "and takes no room");
}

#[tokio::test]
async fn what_cannot_be_stored_is_told_once_unless_it_passes_by_itself() {
    let remote = Arc::new(MemoryRemote::default());
    let mut mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    content.write(0, Bytes::from_static(b"a")).await.unwrap();
    for (behaviour, said) in [(Behaviour::IsFull, [1, 1, 1, 1, 1]), (Behaviour::Refuses, [0, 0, 0, 1, 1])] {
        remote.behave(behaviour);
        let mut heard = 0;
        for said in said {
            content.commit().await.unwrap_err();
            while let Ok(event) = mount.events.try_recv() {
                assert!(matches!(event, StoreEvent::Failing { .. }));
                heard += 1;
            }
            assert_eq!(heard, said, "{behaviour:?}");
        }
        remote.behave(Behaviour::Works);
        content.commit().await.unwrap();
        while mount.events.try_recv().is_ok() {}
        content.write(0, Bytes::from_static(b"b")).await.unwrap();
    }
    // What does not pass may come after what might have.
    for behaviour in [Behaviour::Refuses, Behaviour::Refuses, Behaviour::IsFull, Behaviour::IsFull, Behaviour::Refuses]
    {
        remote.behave(behaviour);
        content.commit().await.unwrap_err();
    }
    let said: Vec<StoreEvent> = std::iter::from_fn(|| mount.events.try_recv().ok()).collect();
    assert!(matches!(&said[..], [StoreEvent::Failing { .. }]), "{}", said.len());
}

#[tokio::test]
async fn changes_during_a_commit_lie_over_the_new_version() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    content.write(0, Bytes::from_static(b"aaaaaaaa")).await.unwrap();
    let gate = remote.pause();
    let committing = tokio::spawn({
        let content = Arc::clone(&content);
        async move { content.commit().await }
    });
    remote.arrived().await;
    content.write(2, Bytes::from_static(b"bb")).await.unwrap();
    content.set_len(6).await.unwrap();
    content.set_len(7).await.unwrap();
    drop(gate);
    committing.await.unwrap().unwrap();
    assert_eq!(remote.content(file(1)), b"aaaaaaaa");
    assert_eq!(all(&content).await, b"aabbaa\0");
    assert!(content.is_dirty());
    content.commit().await.unwrap();
    assert_eq!(remote.content(file(1)), b"aabbaa\0");
    assert!(!content.is_dirty() && mount.store.dirty().is_empty());
}

#[tokio::test]
#[allow(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]
async fn only_what_was_written_is_sent() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    content.write(1000, Bytes::from(vec![1; 100])).await.unwrap();
    content.commit().await.unwrap();
    assert_eq!(remote.sent(), [([1000..1100].to_vec(), [].to_vec())]);
    for at in [1010, 1012, 1014] {
        content.write(at, Bytes::from(vec![2; 2])).await.unwrap();
    }
    content.write(5000, Bytes::from(vec![3; 5])).await.unwrap();
    content.punch(1050..1060, true).await.unwrap();
    content.commit().await.unwrap();
    assert_eq!(remote.sent().pop().unwrap(), ([1010..1016, 5000..5005].to_vec(), [1050..1060].to_vec()));
}

#[tokio::test]
async fn times_of_changes_travel_with_the_commit() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    assert!(!content.set_mtime(5).await.unwrap(), "without changes it is an attribute like others");
    content.write(0, Bytes::from_static(b"x")).await.unwrap();
    let (mtime, changed) = content.times().unwrap();
    assert_eq!(mtime, changed);
    assert!(content.set_mtime(12_345).await.unwrap());
    content.commit().await.unwrap();
    assert_eq!(remote.times(file(1)), (12_345, changed));
    assert_eq!(content.times(), None);
}

#[tokio::test]
async fn a_lost_race_keeps_the_changes_and_tells() {
    let remote = Arc::new(MemoryRemote::default());
    let mut mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    content.write(0, Bytes::from_static(b"mine")).await.unwrap();
    remote.commit_elsewhere(file(1), b"theirs");
    assert!(matches!(content.commit().await, Err(ContentError::Lost)));
    let lost = mount.events.try_recv();
    assert!(matches!(lost, Ok(StoreEvent::Lost { file: lost }) if lost == file(1)));
    assert_eq!(all(&content).await, b"mine", "it is still there to be copied");
    assert!(matches!(content.commit().await, Err(ContentError::Lost)), "and is not tried again");
    let copy = mount.store.content_of(file(2), facts(2));
    assert_eq!(copy.clone_range(&content, 0..u64::MAX, 0).await.unwrap(), 4);
    content.discard().await.unwrap();
    assert!(content.refresh().await.unwrap());
    assert_eq!(all(&content).await, b"theirs");
    copy.commit().await.unwrap();
    assert_eq!(remote.content(file(2)), b"mine");
    assert!(mount.store.dirty().is_empty());
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_recognised() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    content.write(0, Bytes::from_static(b"first")).await.unwrap();
    remote.behave(Behaviour::LosesAnswers);
    assert!(content.commit().await.is_err());
    remote.behave(Behaviour::Works);
    content.write(5, Bytes::from_static(b" second")).await.unwrap();
    // The first attempt turns out to be the version; what came later is committed behind it.
    content.commit().await.unwrap();
    assert_eq!(all(&content).await, b"first second");
    assert_eq!(remote.content(file(1)), b"first second");
    assert!(!content.is_dirty());
}

#[tokio::test]
async fn a_version_of_somebody_else_is_taken_over_by_a_clean_content_only() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    content.write(0, Bytes::from_static(b"one")).await.unwrap();
    content.commit().await.unwrap();
    assert!(!content.refresh().await.unwrap(), "there is nothing newer");
    remote.commit_elsewhere(file(1), b"longer");
    assert_eq!(all(&content).await, b"one");
    assert!(content.refresh().await.unwrap());
    assert_eq!((all(&content).await, content.len()), (b"longer".to_vec(), 6));
    content.write(0, Bytes::from_static(b"L")).await.unwrap();
    remote.commit_elsewhere(file(1), b"other");
    assert!(!content.refresh().await.unwrap());
    assert_eq!(all(&content).await, b"Longer");
}

#[tokio::test]
async fn what_was_not_opened_yet_opens_the_version_that_is_known_by_then() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    remote.commit_elsewhere(file(1), b"one");
    let content = mount.store.content_of(file(1), InodeFacts { version: 1, size: 3, ..facts(1) });
    assert_eq!(content.len(), 3);
    // Between opening and reading somebody else is heard to have written.
    remote.commit_elsewhere(file(1), b"longer");
    content.expect(2, 6);
    assert_eq!(content.len(), 6);
    assert_eq!(all(&content).await, b"longer");
    content.expect(3, 9);
    assert_eq!(content.len(), 6, "what is opened stays what it is until it is refreshed");
}

#[tokio::test]
async fn held_content_waits_until_it_may_be_committed() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    content.hold();
    content.write(0, Bytes::from_static(b"x")).await.unwrap();
    content.upload_soon();
    mount.store.commit_all(None).await.unwrap();
    assert!(content.is_dirty());
    content.allow();
    mount.store.commit_all(None).await.unwrap();
    assert!(!content.is_dirty());
}

#[tokio::test]
async fn a_closed_file_is_committed_in_the_background() {
    let remote = Arc::new(MemoryRemote::default());
    let mut mount = fresh(&remote).await;
    for number in 1..20 {
        let content = mount.store.content_of(file(number), facts(number));
        content.write(0, Bytes::from(vec![number; 100])).await.unwrap();
        content.upload_soon();
    }
    for _ in 1..20 {
        let event = tokio::time::timeout(Duration::from_secs(60), mount.events.recv()).await.unwrap().unwrap();
        assert!(matches!(event, StoreEvent::Committed { version: 1, size: 100, .. }));
    }
    assert!((1..20).all(|number| remote.content(file(number)) == vec![number; 100]));
}

#[tokio::test]
async fn a_full_journal_is_emptied_by_commits() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        journal: Limits {
            total: 64 << 10,
            file: 8 << 10,
            patience: Duration::from_secs(60),
            recent: 0,
            lock: Duration::ZERO,
        },
        ..quiet(folder.path())
    };
    let (mount, _) = open(&remote, &options).await;
    let content = mount.store.content_of(file(1), facts(1));
    for at in 0..100_u64 {
        content.write(at * 4096, Bytes::from(vec![u8::try_from(at).unwrap(); 4096])).await.unwrap();
    }
    mount.store.commit_all(None).await.unwrap();
    let found = remote.content(file(1));
    assert!((0..100).all(|at| found[at * 4096..(at + 1) * 4096].iter().all(|byte| usize::from(*byte) == at)));
}

#[tokio::test]
async fn overwriting_the_same_bytes_does_not_fill_the_journal_while_nothing_can_be_committed() {
    let remote = Arc::new(MemoryRemote::default());
    remote.behave(Behaviour::Refuses);
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
    let content = mount.store.content_of(file(1), facts(1));
    content.write(100_000, Bytes::from_static(b"the oldest")).await.unwrap();
    content.punch(50_000..60_000, true).await.unwrap();
    content.set_len(90_000).await.unwrap();
    for round in 0..200_u8 {
        content.write(0, Bytes::from(vec![round; 2000])).await.unwrap();
    }
    let expected = all(&content).await;
    assert_eq!((expected.len(), expected[1999], expected[2000]), (90_000, 199, 0));
    content.sync_local().await.unwrap();
    drop(content);
    mount.store.abandon();
    drop(mount);
    remote.behave(Behaviour::Works);
    let (mount, _) = open(&remote, &options).await;
    let content = mount.store.resume(BUCKET).unwrap().pop().unwrap();
    assert_eq!(all(&content).await, expected);
    content.commit().await.unwrap();
    assert_eq!(remote.content(file(1)), expected);
}

#[tokio::test]
async fn long_writes_and_reads_go_through_many_records() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    let bytes: Vec<u8> = (0..1_500_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    content.write(10, Bytes::from(bytes.clone())).await.unwrap();
    assert_eq!(content.read(10, 1_500_000).await.unwrap(), bytes);
    assert_eq!(content.read(300_005, 7).await.unwrap(), bytes[299_995..300_002]);
    content.commit().await.unwrap();
    assert_eq!(remote.content(file(1))[10..], bytes);
}

#[tokio::test]
async fn beyond_the_largest_file_nothing_is_written() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    let most = quiet(std::path::Path::new("")).file_max;
    assert!(matches!(content.write(most, Bytes::from_static(b"x")).await, Err(ContentError::TooLarge)));
    assert!(matches!(content.write(u64::MAX, Bytes::from_static(b"x")).await, Err(ContentError::TooLarge)));
    assert!(matches!(content.set_len(most + 1).await, Err(ContentError::TooLarge)));
    for keep_size in [false, true] {
        assert!(matches!(content.allocate(0..most + 1, keep_size).await, Err(ContentError::TooLarge)));
        assert!(matches!(content.punch(most..most + 1, keep_size).await, Err(ContentError::TooLarge)));
    }
    let source = mount.store.content_of(file(2), facts(2));
    source.write(0, Bytes::from_static(b"two")).await.unwrap();
    assert!(matches!(content.clone_range(&source, 0..2, most - 1).await, Err(ContentError::TooLarge)));
    assert_eq!(content.len(), 0);
    content.write(most - 1, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!((content.len(), content.seek(0, Seek::Data).await.unwrap()), (most, most - 1));
    assert!(matches!(content.seek(most, Seek::Data).await, Err(ContentError::Nothing)));
}

/// Writers, readers and commits in the background, all at once: nothing is lost and nothing is mixed up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_while_commits_go_on() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        idle: Duration::from_millis(1),
        age: Duration::from_millis(3),
        journal: Limits {
            total: 1 << 20,
            file: 16 << 10,
            patience: Duration::from_secs(60),
            recent: 0,
            lock: Duration::ZERO,
        },
        ..quiet(folder.path())
    };
    let (mount, _) = open(&remote, &options).await;
    let mut tasks = Vec::new();
    for writer in 0..4_u8 {
        let content = mount.store.content_of(file(writer / 2), facts(writer / 2));
        tasks.push(tokio::spawn(async move {
            let place = u64::from(writer % 2) * 100_000;
            for round in 0..150_u64 {
                let at = place + (round % 37) * 1000;
                let byte = u8::try_from(round % 250).unwrap() + 1;
                content.write(at, Bytes::from(vec![byte; 700])).await.unwrap();
                let read = content.read(at, 700).await.unwrap();
                assert!(read.len() == 700 && read.iter().all(|found| *found == byte), "round {round}");
                if round % 20 == 0 {
                    content.sync_local().await.unwrap();
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    mount.store.drain(Duration::from_secs(60)).await.unwrap();
    assert_eq!(mount.store.status().dirty_files, 0);
    for number in 0..2 {
        let found = remote.content(file(number));
        for place in [0, 100_000] {
            for slot in 0..37_usize {
                let last = (0..150).filter(|round| round % 37 == slot).max().unwrap();
                let at = place + slot * 1000;
                assert!(found[at..at + 700].iter().all(|byte| usize::from(*byte) == last + 1));
                assert!(found[at + 700..].iter().take(300).all(|byte| *byte == 0));
            }
        }
    }
}
