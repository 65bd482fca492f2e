//! The disk store on disks that fail: syncs that fail once, sectors that cannot be read.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "not every test file uses all of it")]
mod conformance;

use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use conformance::{HandClock, chunk, content, read_all};
use cyx_core::ids::{ChunkId, Random as _};
use cyx_core::units::NODE_TRASH_SECONDS;
use cyx_node::store::volume::{DiskIo, RealIo};
use cyx_node::store::{ChunkStore as _, DiskOptions, DiskStore, Health, StoreError};
use rustix::io::Errno;

fn options(io: Arc<dyn DiskIo>) -> DiskOptions {
    DiskOptions { margin: 0, direct: false, io, ..DiskOptions::default() }
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}

/// Once told to, fails one sync, when it may; says when that has begun, and when something was written after that.
struct FailsOnce {
    armed: Mutex<Option<(Sender<()>, Receiver<()>)>>,
    failing: Mutex<Option<Sender<()>>>,
}

impl DiskIo for FailsOnce {
    fn write_at(&self, file: &File, bytes: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let written = RealIo.write_at(file, bytes, offset)?;
        if let Some(wrote) = &*self.failing.lock().unwrap() {
            wrote.send(()).unwrap();
        }
        Ok(written)
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        let Some((begun, may_fail)) = self.armed.lock().unwrap().take() else { return RealIo.sync(file) };
        begun.send(()).unwrap();
        may_fail.recv().unwrap();
        Err(broken())
    }
    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// As Linux does: an error of writing back is told to one sync, and the next succeeds although the bytes are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_while_a_sync_failed_is_not_acknowledged_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(FailsOnce { armed: Mutex::default(), failing: Mutex::default() });
    let store = Arc::new(DiskStore::open(folder.path(), options(disk.clone())).unwrap());
    let storing = || {
        let (store, bytes) = (Arc::clone(&store), content(1, 1000));
        tokio::spawn(async move { store.store(chunk(ChunkId::random(), &bytes)).await })
    };
    let heard = |from: Receiver<()>| tokio::task::spawn_blocking(move || from.recv().unwrap());
    let ((begun, begins), (fail, may_fail)) = (mpsc::channel(), mpsc::channel());
    *disk.armed.lock().unwrap() = Some((begun, may_fail));
    let first = storing();
    heard(begins).await.unwrap();
    let (wrote, written) = mpsc::channel();
    *disk.failing.lock().unwrap() = Some(wrote);
    let second = storing();
    heard(written).await.unwrap();
    *disk.failing.lock().unwrap() = None;
    fail.send(()).unwrap();
    for refused in [first.await.unwrap(), second.await.unwrap()] {
        assert!(matches!(refused, Err(StoreError::ReadOnly(_))), "{refused:?}");
    }
    assert_eq!(store.usage().chunks, 0);
}

/// A disk with sectors that cannot be read: inodes, and ranges of bytes.
#[derive(Default)]
struct BadSectors(Mutex<Vec<(u64, Range<u64>)>>);

impl BadSectors {
    fn spoil(&self, file: &Path, range: Range<u64>) {
        self.0.lock().unwrap().push((file.metadata().unwrap().ino(), range));
    }
    fn heal(&self) {
        self.0.lock().unwrap().clear();
    }
}

impl DiskIo for BadSectors {
    fn write_at(&self, file: &File, bytes: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        RealIo.write_at(file, bytes, offset)
    }
    fn read_at(&self, file: &File, bytes: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
        let end = offset + (bytes.capacity() - bytes.len()) as u64;
        let inode = file.metadata()?.ino();
        let bad = self.0.lock().unwrap();
        match bad.iter().any(|(of, range)| *of == inode && range.start < end && offset < range.end) {
            true => Err(broken()),
            false => RealIo.read_at(file, bytes, offset),
        }
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        RealIo.sync(file)
    }
    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// A disk, and on it a store with one chunk in each of three volumes, which is closed.
struct Stored {
    disk: Arc<BadSectors>,
    folder: tempfile::TempDir,
    chunks: Vec<(ChunkId, Vec<u8>)>,
}

impl Stored {
    async fn with_volumes_of(volume_max: u64) -> Self {
        let (disk, folder) = (Arc::new(BadSectors::default()), tempfile::tempdir().unwrap());
        let chunks: Vec<_> = (0..3).map(|seed| (ChunkId::random(), content(seed, 40_000))).collect();
        let store = DiskStore::open(folder.path(), DiskOptions { volume_max, ..options(disk.clone()) }).unwrap();
        for (id, bytes) in &chunks {
            store.store(chunk(*id, bytes)).await.unwrap();
        }
        store.close().await.unwrap();
        Self { disk, folder, chunks }
    }

    fn volume(&self, number: u32) -> PathBuf {
        self.folder.path().join(format!("volumes/{number:08}.cyxvol"))
    }

    fn lose_index(&self) {
        std::fs::remove_file(self.folder.path().join("index.redb")).unwrap();
    }

    /// Whether each of the chunks is there, and right; and another can be stored.
    async fn held(&self) -> Vec<bool> {
        let store = DiskStore::open(self.folder.path(), options(self.disk.clone())).unwrap();
        let mut held = Vec::new();
        for (id, bytes) in &self.chunks {
            held.push(match read_all(&store, *id).await {
                Ok(read) => {
                    assert!(read == *bytes);
                    true
                }
                Err(StoreError::NotFound) => false,
                Err(error) => panic!("{error}"),
            });
        }
        let (id, bytes) = (ChunkId::random(), content(9, 100));
        store.store(chunk(id, &bytes)).await.unwrap();
        assert_eq!(read_all(&store, id).await.unwrap(), bytes);
        store.close().await.unwrap();
        held
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_in_a_recovery_costs_its_own_chunk_and_stays_where_it_is() {
    // With its header and the values, each chunk takes ten blocks behind that of the volume.
    let blocks = |at: u64| 4096 * (1 + 10 * at);
    for (at, sector) in [(0, 0), (1, 0), (1, 20_000), (2, 0), (2, 40_000)] {
        let stored = Stored::with_volumes_of(1 << 30).await;
        let has_all = || stored.volume(1).metadata().unwrap().len().next_multiple_of(4096) == blocks(3);
        assert!(has_all());
        let bad = blocks(at) + sector;
        stored.disk.spoil(&stored.volume(1), bad..bad + 512);
        stored.lose_index();
        let expected: Vec<_> = (0..3).map(|other| other != at).collect();
        assert_eq!(stored.held().await, expected, "sector {sector} of {at}");
        assert!(has_all(), "nothing is cut off or appended");
        // Should the disk have second thoughts, everything is still there.
        stored.disk.heal();
        stored.lose_index();
        assert_eq!(stored.held().await, [true; 3], "sector {sector} of {at}");
    }
}

#[tokio::test]
async fn a_volume_header_that_cannot_be_read_costs_nothing() {
    for volume_max in [1, 1 << 30] {
        let stored = Stored::with_volumes_of(volume_max).await;
        let number = if volume_max == 1 { 2 } else { 1 };
        stored.disk.spoil(&stored.volume(number), 0..4096);
        assert_eq!(stored.held().await, [true; 3]);
    }
}

#[tokio::test]
async fn an_index_is_rebuilt_although_a_volume_header_cannot_be_read() {
    let stored = Stored::with_volumes_of(1).await;
    stored.disk.spoil(&stored.volume(1), 0..4096);
    stored.lose_index();
    assert_eq!(stored.held().await, [true; 3]);
    // The key of the store is in these headers only: without it, nothing may be begun that would make them unreadable for good.
    for number in 1..=3 {
        stored.disk.spoil(&stored.volume(number), 0..4096);
    }
    stored.lose_index();
    assert!(DiskStore::open(stored.folder.path(), options(stored.disk.clone())).is_err());
    stored.disk.heal();
    assert_eq!(stored.held().await, [true; 3]);
}

/// Notes how many volumes there were whenever their names were made durable, which fails if told to.
#[derive(Default)]
struct Names {
    volumes: Mutex<Vec<usize>>,
    fails: Mutex<Option<Errno>>,
}

impl DiskIo for Names {
    fn write_at(&self, file: &File, bytes: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        RealIo.write_at(file, bytes, offset)
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        RealIo.sync(file)
    }
    fn sync_names(&self, directory: &Path) -> io::Result<()> {
        self.volumes.lock().unwrap().push(std::fs::read_dir(directory)?.count());
        match *self.fails.lock().unwrap() {
            Some(error) => Err(error.into()),
            None => RealIo.sync_names(directory),
        }
    }
    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

#[tokio::test]
async fn too_many_open_files_refuse_a_chunk_and_the_next_is_taken() {
    for passing in [Errno::MFILE, Errno::NFILE] {
        let (disk, folder) = (Arc::new(Names::default()), tempfile::tempdir().unwrap());
        let store = DiskStore::open(folder.path(), DiskOptions { volume_max: 1, ..options(disk.clone()) }).unwrap();
        let chunks: Vec<_> = (0..3).map(|seed| (ChunkId::random(), content(seed, 40_000))).collect();
        let stored = async |at: usize| store.store(chunk(chunks[at].0, &chunks[at].1)).await;
        stored(0).await.unwrap();
        *disk.fails.lock().unwrap() = Some(passing);
        let refused = stored(1).await;
        assert!(matches!(refused, Err(StoreError::Io { .. })), "{refused:?}");
        assert_eq!(store.health(), Health::Writable);
        *disk.fails.lock().unwrap() = None;
        for at in [1, 2] {
            stored(at).await.unwrap();
        }
        for (id, bytes) in &chunks {
            assert_eq!(read_all(&store, *id).await.unwrap(), *bytes);
        }
    }
}

/// Else a volume could be back after a power failure that the index knows nothing of, and with it chunks that are deleted for good.
#[tokio::test]
async fn a_deleted_volume_is_forgotten_when_its_name_is_gone_for_good() {
    let (disk, folder, clock) = (Arc::new(Names::default()), tempfile::tempdir().unwrap(), HandClock::new());
    let open = || {
        let options = DiskOptions { clock: clock.clock(), volume_max: 1, ..options(disk.clone()) };
        DiskStore::open(folder.path(), options)
    };
    let store = open().unwrap();
    let ids: Vec<_> = (0..3).map(|_| ChunkId::random()).collect();
    for (seed, id) in (0..).zip(&ids) {
        store.store(chunk(*id, &content(seed, 40_000))).await.unwrap();
    }
    store.trash(vec![ids[0]], u64::MAX).await.unwrap();
    clock.pass(NODE_TRASH_SECONDS);
    disk.volumes.lock().unwrap().clear();
    *disk.fails.lock().unwrap() = Some(Errno::IO);
    assert!(store.expire_trash(Some(clock.now())).await.is_err());
    *disk.fails.lock().unwrap() = None;
    store.expire_trash(Some(clock.now())).await.unwrap();
    assert_eq!(*disk.volumes.lock().unwrap(), [2, 2], "deleted first, and tried again until it is durable");
    store.expire_trash(Some(clock.now())).await.unwrap();
    assert_eq!(disk.volumes.lock().unwrap().len(), 2, "then it is forgotten");

    // The same if a store ends in between: the next one finds the file gone, and cannot know for how long.
    store.trash(vec![ids[1]], u64::MAX).await.unwrap();
    clock.pass(NODE_TRASH_SECONDS);
    let fails = |error| *disk.fails.lock().unwrap() = error;
    fails(Some(Errno::IO));
    assert!(store.expire_trash(Some(clock.now())).await.is_err());
    store.close().await.unwrap();
    drop(store);
    disk.volumes.lock().unwrap().clear();
    assert!(open().is_err());
    fails(None);
    let store = open().unwrap();
    assert_eq!(*disk.volumes.lock().unwrap(), [1, 1, 2], "before it is forgotten, and then for a new one");
    store.close().await.unwrap();
    drop(store);
    disk.volumes.lock().unwrap().clear();
    open().unwrap();
    assert_eq!(*disk.volumes.lock().unwrap(), [3], "it is forgotten");
}
