//! The disk store: the conformance suite, crashes, damage, full and failing disks.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that cannot go on has failed")]

mod conformance;

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use conformance::{FIRST, HandClock, LAST, chunk, content, keep_list, read_all};
use cyx_core::ids::{ChunkId, Random as _};
use cyx_core::units::{MIB, NODE_TRASH_SECONDS};
use cyx_node::store::volume::{DiskIo, RealIo};
use cyx_node::store::{ChunkState, ChunkStore as _, DiskOptions, DiskStore, Health, StoreError};

fn options() -> DiskOptions {
    DiskOptions { margin: 0, ..DiskOptions::default() }
}

fn open(path: &Path) -> DiskStore {
    DiskStore::open(path, options()).unwrap()
}

fn volumes(path: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        std::fs::read_dir(path.join("volumes")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// What a crash leaves: the files as they are now, without the running process.
fn crash_image(from: &Path) -> tempfile::TempDir {
    let image = tempfile::tempdir().unwrap();
    std::fs::create_dir(image.path().join("volumes")).unwrap();
    std::fs::copy(from.join("index.redb"), image.path().join("index.redb")).unwrap();
    for volume in volumes(from) {
        std::fs::copy(&volume, image.path().join("volumes").join(volume.file_name().unwrap())).unwrap();
    }
    image
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_store_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    conformance::suite(|clock| {
        count += 1;
        DiskStore::open(&folder.path().join(count.to_string()), DiskOptions { clock, ..options() }).unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_store_conforms_with_tiny_volumes() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    conformance::suite(|clock| {
        count += 1;
        let options = DiskOptions { clock, volume_max: 1, checkpoint: 0, ..options() };
        DiskStore::open(&folder.path().join(count.to_string()), options).unwrap()
    })
    .await;
}

#[tokio::test]
async fn one_process_per_directory() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    assert!(matches!(DiskStore::open(folder.path(), options()), Err(StoreError::InUse(_))));
    drop(store);
    open(folder.path());
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let [live, trashed] = [ChunkId::random(), ChunkId::random()];
    let bytes = content(1, 100_000);
    {
        let store = open(folder.path());
        store.store(chunk(live, &bytes)).await.unwrap();
        store.store(chunk(trashed, &bytes)).await.unwrap();
        store.trash(vec![trashed], u64::MAX).await.unwrap();
    }
    let store = open(folder.path());
    assert_eq!(read_all(&store, live).await.unwrap(), bytes);
    assert_eq!(store.stat(trashed).await.unwrap().unwrap().state, ChunkState::Trashed);
    assert_eq!((store.usage().chunks, store.usage().trash_chunks), (1, 1));
}

/// Whatever was acknowledged is found again although the index was not durable yet.
#[tokio::test]
async fn a_crash_right_after_the_acknowledgement_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut stored = Vec::new();
    for seed in 0..20 {
        let (id, bytes) = (ChunkId::random(), content(seed, 3000 * (seed as usize + 1)));
        store.store(chunk(id, &bytes)).await.unwrap();
        stored.push((id, bytes));
        let image = crash_image(folder.path());
        let recovered = open(image.path());
        for (id, bytes) in &stored {
            assert_eq!(read_all(&recovered, *id).await.unwrap(), *bytes);
        }
        assert_eq!(recovered.usage().chunks, stored.len() as u64);
    }
}

/// A volume cut anywhere inside its last record gives back all records before it, and takes new ones.
#[tokio::test]
async fn a_tail_cut_at_any_byte_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = [(ChunkId::random(), content(1, 5000)), (ChunkId::random(), content(2, 300))];
    {
        let store = open(folder.path());
        for (id, bytes) in [&first, &second] {
            store.store(chunk(*id, bytes)).await.unwrap();
        }
    }
    let volume = std::fs::read(&volumes(folder.path())[0]).unwrap();
    let begin = 4096 + 8192;
    assert_eq!(volume.len(), begin + 4096);
    for cut in (begin..begin + 500).chain([volume.len()]) {
        let image = tempfile::tempdir().unwrap();
        std::fs::create_dir(image.path().join("volumes")).unwrap();
        std::fs::write(image.path().join("volumes/00000001.cyxvol"), &volume[..cut]).unwrap();
        let store = open(image.path());
        assert_eq!(read_all(&store, first.0).await.unwrap(), first.1, "cut at {cut}");
        let found = store.stat(second.0).await.unwrap();
        assert_eq!(found.is_some(), cut >= begin + 128 + 300, "cut at {cut}");
        store.store(chunk(second.0, &second.1)).await.unwrap();
        assert_eq!(read_all(&store, second.0).await.unwrap(), second.1, "cut at {cut}");
    }
}

/// A flipped bit anywhere in a record that is not indexed yet costs at most this record.
#[tokio::test]
async fn a_bit_flipped_before_a_recovery_costs_at_most_its_own_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let chunks: Vec<_> = (0..3).map(|seed| (ChunkId::random(), content(seed, 200))).collect();
    {
        let store = open(folder.path());
        for (id, bytes) in &chunks {
            store.store(chunk(*id, bytes)).await.unwrap();
        }
    }
    let volume = std::fs::read(&volumes(folder.path())[0]).unwrap();
    for at in 0..128 + 200 {
        let mut changed = volume.clone();
        changed[4096 + 4096 + at] ^= 1 << (at % 8);
        let image = tempfile::tempdir().unwrap();
        std::fs::create_dir(image.path().join("volumes")).unwrap();
        std::fs::write(image.path().join("volumes/00000001.cyxvol"), &changed).unwrap();
        let store = open(image.path());
        assert_eq!(read_all(&store, chunks[0].0).await.unwrap(), chunks[0].1);
        assert!(store.stat(chunks[1].0).await.unwrap().is_none(), "byte {at}");
        assert_eq!(read_all(&store, chunks[2].0).await.unwrap(), chunks[2].1);
    }
}

/// Bytes of a chunk that look like a record are not taken for one.
#[tokio::test]
async fn a_chunk_cannot_smuggle_records_in() {
    let folder = tempfile::tempdir().unwrap();
    let forger = tempfile::tempdir().unwrap();
    let forged = ChunkId::random();
    {
        let store = open(forger.path());
        store.store(chunk(forged, &content(1, 100))).await.unwrap();
    }
    let foreign = std::fs::read(&volumes(forger.path())[0]).unwrap();
    // The foreign record lies at a multiple of 4 KiB of the file; the chunk around it is then torn.
    let mut bytes = content(2, 4096 - 128);
    bytes.extend_from_slice(&foreign[4096..]);
    bytes.extend_from_slice(&content(3, 40_000));
    {
        let store = open(folder.path());
        store.store(chunk(ChunkId::random(), &bytes)).await.unwrap();
    }
    std::fs::remove_file(folder.path().join("index.redb")).unwrap();
    let file = OpenOptions::new().write(true).open(&volumes(folder.path())[0]).unwrap();
    file.set_len(30_000).unwrap();
    let store = open(folder.path());
    assert!(store.stat(forged).await.unwrap().is_none());
    assert_eq!(store.usage().chunks, 0);
}

#[tokio::test]
async fn a_lost_index_is_rebuilt_from_the_volumes() {
    let folder = tempfile::tempdir().unwrap();
    let chunks: Vec<_> = (0..30).map(|seed| (ChunkId::random(), content(seed, 20_000))).collect();
    {
        let store = DiskStore::open(folder.path(), DiskOptions { volume_max: 100_000, ..options() }).unwrap();
        for (id, bytes) in &chunks {
            store.store(chunk(*id, bytes)).await.unwrap();
        }
    }
    assert!(volumes(folder.path()).len() > 3);
    std::fs::remove_file(folder.path().join("index.redb")).unwrap();
    let store = open(folder.path());
    for (id, bytes) in &chunks {
        assert_eq!(read_all(&store, *id).await.unwrap(), *bytes);
    }
    assert_eq!(store.usage().chunks, 30);
}

#[tokio::test]
async fn a_damaged_chunk_is_never_served_and_can_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (id, bytes) = (ChunkId::random(), content(1, 100_000));
    store.store(chunk(id, &bytes)).await.unwrap();
    let file = OpenOptions::new().write(true).open(&volumes(folder.path())[0]).unwrap();
    let at = 4096 + 128 + 50_000;
    file.write_all_at(&[bytes[50_000] ^ 1], at).unwrap();
    // Other groups still verify; the damage is noticed where it is.
    assert_eq!(store.read(id, 0..100).await.unwrap(), bytes[..100]);
    assert!(matches!(store.read(id, 49_999..50_001).await, Err(StoreError::Damaged)));
    assert!(matches!(store.read(id, 0..100).await, Err(StoreError::Damaged)), "not served any more");
    assert_eq!(store.damaged(None, 9).await.unwrap(), [id]);
    assert_eq!((store.usage().chunks, store.usage().damaged_chunks), (0, 1));
    assert!(matches!(store.scrub(id).await, Err(StoreError::Damaged)));
    // It heals if the bytes come back, and is replaced if it is stored again.
    file.write_all_at(&[bytes[50_000]], at).unwrap();
    store.scrub(id).await.unwrap();
    assert_eq!(read_all(&store, id).await.unwrap(), bytes);
    file.write_all_at(&[bytes[50_000] ^ 1], at).unwrap();
    assert!(matches!(store.scrub(id).await, Err(StoreError::Damaged)));
    store.store(chunk(id, &bytes)).await.unwrap();
    assert_eq!(read_all(&store, id).await.unwrap(), bytes);
    assert_eq!((store.usage().chunks, store.usage().damaged_chunks), (1, 0));
    assert!(store.damaged(None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_damaged_chunk_in_the_trash_stays_a_damaged_one() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = DiskStore::open(folder.path(), DiskOptions { clock: clock.clock(), ..options() }).unwrap();
    conformance::the_trash_does_not_mend(&store, &clock, async || {
        let file = OpenOptions::new().write(true).open(&volumes(folder.path())[0]).unwrap();
        file.write_all_at(b"no", 4096 + 128 + 20_000).unwrap();
    })
    .await;
}

#[tokio::test]
async fn damage_to_the_stored_hashes_alone_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (id, bytes) = (ChunkId::random(), content(1, 100_000));
    store.store(chunk(id, &bytes)).await.unwrap();
    let file = OpenOptions::new().write(true).open(&volumes(folder.path())[0]).unwrap();
    file.write_all_at(&[0; 64], 4096 + 128 + 100_000).unwrap();
    assert_eq!(read_all(&store, id).await.unwrap(), bytes);
    assert_eq!(store.usage().damaged_chunks, 0);
}

#[tokio::test]
async fn a_vanished_volume_is_damage_not_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (id, bytes) = (ChunkId::random(), content(1, 1000));
    {
        let store = open(folder.path());
        store.store(chunk(id, &bytes)).await.unwrap();
    }
    std::fs::remove_file(&volumes(folder.path())[0]).unwrap();
    let store = open(folder.path());
    assert!(matches!(store.read(id, 0..1).await, Err(StoreError::Damaged)));
    store.store(chunk(id, &bytes)).await.unwrap();
    assert_eq!(read_all(&store, id).await.unwrap(), bytes);
}

#[tokio::test]
async fn purged_chunks_give_their_space_back() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let options = DiskOptions { clock: clock.clock(), volume_max: 4 * MIB, ..options() };
    let store = DiskStore::open(folder.path(), options.clone()).unwrap();
    let chunks: Vec<_> = (0..12).map(|seed| (ChunkId::random(), content(seed, 1 << 20))).collect();
    for (id, bytes) in &chunks {
        store.store(chunk(*id, bytes)).await.unwrap();
    }
    let on_disk = || volumes(folder.path()).iter().map(|path| path.metadata().unwrap().blocks() * 512).sum::<u64>();
    let (before, files) = (on_disk(), volumes(folder.path()).len());
    assert!(files >= 4 && before >= 12 * MIB);
    // All of the first volume, and one of a later one.
    let dead: Vec<_> = [0, 1, 2, 7].map(|at: usize| chunks[at].0).to_vec();
    store.trash(dead.clone(), u64::MAX).await.unwrap();
    clock.pass(NODE_TRASH_SECONDS);
    assert_eq!(store.expire_trash(Some(clock.now())).await.unwrap(), 4 * MIB);
    assert_eq!(volumes(folder.path()).len(), files - 1, "a volume in which nothing is left is deleted");
    assert!(on_disk() <= before - 4 * MIB, "{} of {before} are left", on_disk());
    drop(store);
    let store = DiskStore::open(folder.path(), options).unwrap();
    for (id, bytes) in &chunks {
        match dead.contains(id) {
            true => assert!(store.stat(*id).await.unwrap().is_none()),
            false => assert_eq!(read_all(&store, *id).await.unwrap(), *bytes),
        }
    }
}

#[tokio::test]
async fn a_capacity_is_a_capacity_and_ends_when_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let options = DiskOptions { clock: clock.clock(), capacity: 5 * MIB, ..options() };
    let store = DiskStore::open(folder.path(), options).unwrap();
    let mut stored = Vec::new();
    loop {
        let (id, bytes) = (ChunkId::random(), content(stored.len() as u64, 1 << 20));
        match store.store(chunk(id, &bytes)).await {
            Ok(_) => stored.push((id, bytes)),
            Err(StoreError::Full) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(stored.len(), 4);
    assert!(store.usage().free_bytes < MIB);
    for (id, bytes) in &stored {
        assert_eq!(read_all(&store, *id).await.unwrap(), *bytes);
    }
    store.trash(vec![stored[0].0], u64::MAX).await.unwrap();
    assert!(
        matches!(store.store(chunk(ChunkId::random(), &stored[0].1)).await, Err(StoreError::Full)),
        "trash takes room"
    );
    clock.pass(NODE_TRASH_SECONDS);
    store.expire_trash(Some(clock.now())).await.unwrap();
    store.store(chunk(ChunkId::random(), &stored[0].1)).await.unwrap();
}

/// A disk that can be told to be full or to fail.
#[derive(Default)]
struct Faulty {
    left: AtomicU64,
    fail_sync: AtomicBool,
    fail_write: AtomicBool,
}

impl DiskIo for Faulty {
    fn write_at(&self, file: &File, bytes: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        if self.fail_write.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let wanted = bytes.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let left = self.left.load(Ordering::SeqCst);
        if left == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // Like a real one, it writes what fits before it complains.
        let all: Vec<u8> = bytes.iter().flat_map(|piece| piece.iter().copied()).collect();
        let fits = usize::try_from(wanted.min(left)).unwrap();
        self.left.fetch_sub(fits as u64, Ordering::SeqCst);
        file.write_all_at(&all[..fits], offset)?;
        Ok(fits)
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        match self.fail_sync.load(Ordering::SeqCst) {
            true => Err(io::Error::from_raw_os_error(5)),
            false => RealIo.sync(file),
        }
    }
    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

#[tokio::test]
async fn a_disk_that_fills_up_in_the_middle_of_a_record_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Faulty::default());
    disk.left.store(250_000, Ordering::SeqCst);
    let store = DiskStore::open(folder.path(), DiskOptions { io: disk.clone(), direct: false, ..options() }).unwrap();
    let [first, second] = [(ChunkId::random(), content(1, 100_000)), (ChunkId::random(), content(2, 200_000))];
    store.store(chunk(first.0, &first.1)).await.unwrap();
    assert!(matches!(store.store(chunk(second.0, &second.1)).await, Err(StoreError::Full)));
    assert_eq!(store.health(), Health::Full);
    assert_eq!(store.usage().free_bytes, 0);
    assert_eq!(read_all(&store, first.0).await.unwrap(), first.1);
    let recovered = crash_image(folder.path());
    assert_eq!(read_all(&open(recovered.path()), first.0).await.unwrap(), first.1);
    disk.left.store(u64::MAX, Ordering::SeqCst);
    store.store(chunk(second.0, &second.1)).await.unwrap();
    assert_eq!(store.health(), Health::Writable);
    for (id, bytes) in [first, second] {
        assert_eq!(read_all(&store, id).await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_failed_sync_is_never_acknowledged_and_final() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Faulty::default());
    disk.left.store(u64::MAX, Ordering::SeqCst);
    let store = DiskStore::open(folder.path(), DiskOptions { io: disk.clone(), direct: false, ..options() }).unwrap();
    let (id, bytes) = (ChunkId::random(), content(1, 1000));
    store.store(chunk(id, &bytes)).await.unwrap();
    disk.fail_sync.store(true, Ordering::SeqCst);
    let refused = store.store(chunk(ChunkId::random(), &content(2, 1000))).await;
    assert!(matches!(refused, Err(StoreError::ReadOnly(_))));
    disk.fail_sync.store(false, Ordering::SeqCst);
    assert!(matches!(store.store(chunk(ChunkId::random(), &bytes)).await, Err(StoreError::ReadOnly(_))));
    assert!(matches!(store.health(), Health::Failed(_)));
    assert_eq!(read_all(&store, id).await.unwrap(), bytes, "what is there is still served");
    drop(store);
    let store = open(folder.path());
    assert_eq!(read_all(&store, id).await.unwrap(), bytes);
    store.store(chunk(ChunkId::random(), &bytes)).await.unwrap();
}

#[tokio::test]
async fn a_failed_write_makes_the_store_read_only() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Faulty::default());
    disk.left.store(u64::MAX, Ordering::SeqCst);
    let store = DiskStore::open(folder.path(), DiskOptions { io: disk.clone(), direct: false, ..options() }).unwrap();
    disk.fail_write.store(true, Ordering::SeqCst);
    assert!(matches!(store.store(chunk(ChunkId::random(), b"x")).await, Err(StoreError::ReadOnly(_))));
    assert!(matches!(store.health(), Health::Failed(reason) if reason.contains("cannot write")));
}

/// A keep-list that a crash cut short is applied again under the same sequence.
#[tokio::test]
async fn an_unfinished_keep_list_may_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let options = || DiskOptions { clock: clock.clock(), ..options() };
    let list = {
        let store = DiskStore::open(folder.path(), options()).unwrap();
        store.store(chunk(ChunkId([1; 16]), b"x")).await.unwrap();
        clock.pass(10);
        let list = keep_list(3, clock.now(), FIRST, LAST);
        store.apply_keep_list(list.clone(), vec![]).await.unwrap();
        list
    };
    let store = DiskStore::open(folder.path(), options()).unwrap();
    assert!(matches!(store.apply_keep_list(list, vec![]).await, Err(StoreError::StaleKeepList)), "durably refused");
}

/// Stores until it is killed, naming what was acknowledged on its standard output. Run by the test below.
#[test]
fn child_that_stores() {
    let Ok(path) = std::env::var("CYX_TEST_STORE") else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = DiskOptions { volume_max: MIB, checkpoint: 512 * 1024, ..options() };
        let store = Arc::new(DiskStore::open(Path::new(&path), options).unwrap());
        let seeds = Arc::new(AtomicU64::new(u64::from(std::process::id()) << 32));
        let tasks = (0..4).map(|_| {
            let (store, seeds) = (Arc::clone(&store), Arc::clone(&seeds));
            tokio::spawn(async move {
                loop {
                    let seed = seeds.fetch_add(1, Ordering::SeqCst);
                    let (id, bytes) = generated(seed);
                    store.store(chunk(id, &bytes)).await.unwrap();
                    let mut out = io::stdout().lock();
                    writeln!(out, "stored {seed}").unwrap();
                    out.flush().unwrap();
                }
            })
        });
        // None of them ends by itself: the first error does.
        futures_util::future::try_join_all(tasks).await.unwrap();
    });
}

fn generated(seed: u64) -> (ChunkId, Vec<u8>) {
    let len = 1 + usize::try_from(seed * 7919 % 60_000).unwrap();
    (ChunkId(content(seed, 16).try_into().unwrap()), content(seed, len))
}

#[tokio::test]
async fn everything_acknowledged_survives_sigkill_in_a_loop() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..6_usize {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_stores", "--nocapture"])
            .env("CYX_TEST_STORE", folder.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let out = io::BufReader::new(child.stdout.take().unwrap());
        let mut seen = 0;
        for line in io::BufRead::lines(out) {
            // The last line may be cut short by the kill: only whole ones count.
            if let Some(seed) = line.unwrap().strip_prefix("stored ").and_then(|seed| seed.parse().ok()) {
                acknowledged.push(seed);
                seen += 1;
            }
            if seen == 20 + round * 35 {
                child.kill().unwrap();
                break;
            }
        }
        child.wait().unwrap();
        assert!(seen > 0, "the child stored nothing");
        let store = open(folder.path());
        for seed in &acknowledged {
            let (id, bytes) = generated(*seed);
            assert_eq!(read_all(&store, id).await.unwrap(), bytes, "chunk {seed} after round {round}");
        }
        assert_eq!(store.usage().damaged_chunks, 0);
    }
}

/// Large reads open the volume anew. That this does not work, for want of file descriptors say, is no damage.
#[tokio::test]
async fn a_volume_that_cannot_be_opened_again_is_read_through_the_open_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (id, bytes) = (ChunkId::random(), content(1, MIB as usize));
    store.store(chunk(id, &bytes)).await.unwrap();
    let volume = &volumes(folder.path())[0];
    std::fs::rename(volume, volume.with_extension("away")).unwrap();
    std::os::unix::fs::symlink(volume, volume).unwrap();
    assert!(read_all(&store, id).await.unwrap() == bytes);
    store.scrub(id).await.unwrap();
    assert_eq!(store.damaged(None, 9).await.unwrap(), []);
    assert_eq!(store.stat(id).await.unwrap().unwrap().state, ChunkState::Live);
}
