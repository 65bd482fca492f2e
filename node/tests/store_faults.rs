//! The disk store on disks that fail: syncs that fail once, sectors that cannot be read.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "not every test file uses all of it")]
mod conformance;

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use conformance::{chunk, content};
use cyx_core::ids::{ChunkId, Random as _};
use cyx_node::store::volume::{DiskIo, RealIo};
use cyx_node::store::{ChunkStore as _, DiskOptions, DiskStore, StoreError};

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
