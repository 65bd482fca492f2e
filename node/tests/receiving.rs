//! Clients of the chunk service that store without keeping to what is usual: they say nothing, or are gone in the middle.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "not every test file uses all of it")]
mod cluster;

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use cluster::{AT_MOST, Client, Running, TAG, chunk_parts, content, open, pass, session};
use cyx_core::error::ErrorCode;
use cyx_core::grant::Operations;
use cyx_core::ids::{ChunkId, Random as _};
use cyx_node::service::ledger::LedgerError;
use cyx_node::store::volume::{DiskIo, RealIo};
use cyx_proto::chunk::v1::StoreChunkRequest;
use cyx_proto::status::error_code;
use tokio_stream::wrappers::ReceiverStream;

#[tokio::test]
async fn a_stream_that_nobody_opens_ends() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(folder.path(), false).await;
    let mut client = Client::new(node.channel().await);
    let (_parts, sent) = tokio::sync::mpsc::channel::<StoreChunkRequest>(1);
    let mut answers = client.rpc.store_chunk(ReceiverStream::new(sent)).await.unwrap().into_inner();
    pass(61).await;
    let end = tokio::time::timeout(AT_MOST, answers.message()).await.unwrap();
    assert_eq!(error_code(&end.unwrap_err()), ErrorCode::Unavailable);
}

/// Who is told what happens, and allows each sync.
type Holder = (Sender<&'static str>, Arc<Mutex<Receiver<()>>>);

/// Once it is told how, says when a write has ended and a sync begins, and syncs only when it may.
#[derive(Default)]
struct Held(Mutex<Option<Holder>>);

impl DiskIo for Held {
    fn write_at(&self, file: &File, bytes: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let written = RealIo.write_at(file, bytes, offset)?;
        if let Some((says, _)) = &*self.0.lock().unwrap() {
            let _ = says.send("written");
        }
        Ok(written)
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        let held = self.0.lock().unwrap().clone();
        if let Some((says, may_sync)) = held {
            let _ = says.send("syncs");
            let _ = may_sync.lock().unwrap().recv();
        }
        RealIo.sync(file)
    }
    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

#[tokio::test]
async fn what_a_client_stored_that_is_gone_by_then_is_used_of_its_allowance() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), Arc::new(Held::default()));
    let node = Running::start_on(folder.path(), false, disk.clone()).await;
    let grant = node.grant(&session(), Operations::STORE, 2000);
    let mut client = node.client(&session()).await;
    let ((says, said), (sync, may_sync)) = (mpsc::channel(), mpsc::channel());
    *disk.0.lock().unwrap() = Some((says, Arc::new(Mutex::new(may_sync))));
    let said = Arc::new(Mutex::new(said));
    let hears = async |word| {
        let said = Arc::clone(&said);
        assert_eq!(tokio::task::spawn_blocking(move || said.lock().unwrap().recv().unwrap()).await.unwrap(), word);
    };
    let (parts, sent) = tokio::sync::mpsc::channel(4);
    let send = async |sent: Vec<_>| {
        for part in sent {
            parts.send(StoreChunkRequest { part: Some(part) }).await.unwrap();
        }
    };
    // The second chunk is written while the first is synced, so it is synced later.
    send(vec![open(&grant)]).await;
    let answers = client.rpc.store_chunk(ReceiverStream::new(sent)).await.unwrap();
    send(chunk_parts(ChunkId::random(), TAG, &content(1, 1000))).await;
    hears("written").await;
    hears("syncs").await;
    send(chunk_parts(ChunkId::random(), TAG, &content(2, 1000))).await;
    hears("written").await;
    drop((parts, answers));
    // What came later on the same connection is answered, so the node knows by then.
    client.prove(&session()).await.unwrap();
    sync.send(()).unwrap();
    while node.node.counters.stored() < 1000 {
        tokio::task::yield_now().await;
    }
    let used_up = async || matches!(node.node.ledger.take(&grant, 1).await, Err(LedgerError::Exhausted));
    assert!(used_up().await, "the other one is on its way to the disk");
    drop(sync);
    while node.node.counters.stored() < 2000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.node.store.usage().chunks, 2);
    assert!(used_up().await);
}
