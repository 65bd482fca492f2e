//! The disk store under many hands at once, and the bytes of its first version.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "not every test file uses all of it")]
mod conformance;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use conformance::{HandClock, chunk, content, read_all};
use cyx_core::ids::{ChunkId, random_bytes};
use cyx_core::units::NODE_TRASH_SECONDS;
use cyx_node::store::{ChunkStore as _, DiskOptions, DiskStore, StoreError};

fn options(clock: &HandClock) -> DiskOptions {
    DiskOptions { margin: 0, clock: clock.clock(), volume_max: 200_000, checkpoint: 300_000, ..DiskOptions::default() }
}

const CHUNKS: u64 = 24;

fn named(at: u64) -> (ChunkId, Vec<u8>) {
    (ChunkId([at as u8; 16]), content(at, 1000 + at as usize * 1500))
}

/// Writers store and trash their own chunks, a janitor purges at once, readers read everything.
///
/// Whatever a reader gets is right, nothing is ever taken for damaged, and in the end exactly those chunks are there whose last
/// change was a store, also for whoever opens the files without the index having been told to be durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_trash_purges_and_reads_do_not_get_into_each_others_way() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let store = Arc::new(DiskStore::open(folder.path(), options(&clock)).unwrap());
    let done = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));

    let helpers: Vec<_> = (0..3_u64)
        .map(|helper| {
            let (store, clock, done, reads) =
                (Arc::clone(&store), clock.clone(), Arc::clone(&done), Arc::clone(&reads));
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    if helper == 0 {
                        clock.pass(NODE_TRASH_SECONDS);
                        store.expire_trash(Some(clock.now())).await.unwrap();
                        tokio::task::yield_now().await;
                        continue;
                    }
                    let (id, bytes) = named(u64::from(random_bytes::<1>()[0]) % CHUNKS);
                    match read_all(&*store, id).await {
                        Ok(read) => assert!(read == bytes),
                        Err(StoreError::NotFound | StoreError::Trashed) => {}
                        Err(error) => panic!("{error}"),
                    }
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let writers: Vec<_> = (0..4_u64)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                // Each chunk belongs to one writer, so each writer knows how its chunks end.
                let mut stored = vec![false; CHUNKS as usize];
                for _ in 0..120 {
                    let [pick, kind] = random_bytes::<2>();
                    let at = u64::from(pick) % (CHUNKS / 4) * 4 + writer;
                    let (id, bytes) = named(at);
                    if kind % 3 == 0 {
                        store.trash(vec![id], u64::MAX).await.unwrap();
                        stored[at as usize] = false;
                    } else {
                        store.store(chunk(id, &bytes)).await.unwrap();
                        stored[at as usize] = true;
                    }
                }
                stored
            })
        })
        .collect();
    let mut stored = vec![false; CHUNKS as usize];
    for writer in writers {
        for (at, there) in writer.await.unwrap().into_iter().enumerate() {
            stored[at] |= there;
        }
    }
    done.store(true, Ordering::SeqCst);
    for helper in helpers {
        helper.await.unwrap();
    }
    assert!(reads.load(Ordering::SeqCst) > 0);
    clock.pass(NODE_TRASH_SECONDS);
    store.expire_trash(Some(clock.now())).await.unwrap();
    assert_eq!(store.usage().damaged_chunks, 0);
    agrees(&store, &stored).await;
    let expected = store.usage();
    drop(store);
    let again = DiskStore::open(folder.path(), options(&clock)).unwrap();
    agrees(&again, &stored).await;
    let usage = again.usage();
    assert_eq!((usage.chunks, usage.used_bytes), (expected.chunks, expected.used_bytes));
    drop(again);
    // What was purged does not come back even if the index is lost: its records are gone from the volumes.
    std::fs::remove_file(folder.path().join("index.redb")).unwrap();
    agrees(&DiskStore::open(folder.path(), options(&clock)).unwrap(), &stored).await;
}

async fn agrees(store: &DiskStore, stored: &[bool]) {
    for (at, there) in stored.iter().enumerate() {
        let (id, bytes) = named(at as u64);
        match read_all(store, id).await {
            Ok(read) => assert!(*there && read == bytes, "chunk {at}"),
            Err(StoreError::NotFound) => assert!(!there, "chunk {at}"),
            Err(error) => panic!("chunk {at}: {error}"),
        }
    }
}

fn golden() -> [(ChunkId, Vec<u8>); 2] {
    [(ChunkId([1; 16]), content(1, 100)), (ChunkId([2; 16]), content(2, 16_385))]
}

/// A volume that the first version wrote is read by every later one.
#[tokio::test]
async fn the_first_versions_volume_is_still_read() {
    let volume = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/00000001.cyxvol");
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    if std::env::var_os("CYX_WRITE_GOLDEN").is_some() {
        let store = DiskStore::open(folder.path(), options(&clock)).unwrap();
        for (id, bytes) in golden() {
            store.store(chunk(id, &bytes)).await.unwrap();
        }
        drop(store);
        std::fs::copy(folder.path().join("volumes/00000001.cyxvol"), &volume).unwrap();
        std::fs::remove_dir_all(folder.path().join("volumes")).unwrap();
        std::fs::remove_file(folder.path().join("index.redb")).unwrap();
    }
    std::fs::create_dir_all(folder.path().join("volumes")).unwrap();
    std::fs::copy(&volume, folder.path().join("volumes/00000001.cyxvol")).unwrap();
    let store = DiskStore::open(folder.path(), options(&clock)).unwrap();
    for (id, bytes) in golden() {
        assert_eq!(read_all(&store, id).await.unwrap(), bytes);
        assert_eq!(store.stat(id).await.unwrap().unwrap().stored_at, 1_000_000_000);
    }
    assert_eq!(store.usage().chunks, 2);
}
